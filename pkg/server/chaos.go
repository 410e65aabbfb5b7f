package server

import (
	"bytes"
	"net/netip"

	"geodns/pkg/dnswire"
	"geodns/pkg/zone"
)

// The names of class CH that every server knows (RFC 4892, and BIND's older ones), in wire form.
const (
	idServer      = "\x02id\x06server\x00"
	hostnameBind  = "\x08hostname\x04bind\x00"
	versionServer = "\x07version\x06server\x00"
	versionBind   = "\x07version\x04bind\x00"
)

// ownNames is what the names end in that Config.Chaos is asked for.
const ownNames = "\x06geodns\x00"

// TXTStringMax is the octets of one string of a TXT record (RFC 1035 section 3.3.14).
const TXTStringMax = 255

// chaos answers a question of class CH. What is not configured, and every other name or type, is refused.
func (r *responder) chaos(w *World, p *packet, msg []byte, reply *zone.Reply) ([]byte, Kind) {
	q := r.q
	reply.Rcode = dnswire.RcodeRefused
	r.explain(dnswire.EDEProhibited, "not for this client, or no such name")
	if q.Type != dnswire.TypeTXT && q.Type != dnswire.TypeANY {
		return msg, Refused
	}
	var text []byte
	switch string(q.Name[:q.NameLen]) {
	case idServer, hostnameBind:
		text = r.identity
	case versionServer, versionBind:
		text = r.version
	default:
		return r.chaosByFunc(w, p, msg, reply)
	}
	if len(text) == 0 {
		return msg, Refused
	}
	reply.Rcode, reply.AA, reply.AN = dnswire.RcodeNoError, true, 1
	r.opt.EDE = false
	msg = dnswire.AppendRecord(msg, dnswire.HeaderLen, dnswire.TypeTXT, dnswire.ClassCH, 0, 1+len(text))
	return append(append(msg, byte(len(text))), text...), Chaos
}

// mayAsk says whether a source is one that Config.Chaos is there for.
func (r *responder) mayAsk(source netip.Addr) bool {
	for _, p := range r.chaosAllow {
		if p.Contains(source) {
			return r.chaosFunc != nil
		}
	}
	return false
}

// chaosByFunc asks Config.Chaos; a record for each string, so that each is a line of its own in what people read.
func (r *responder) chaosByFunc(w *World, p *packet, msg []byte, reply *zone.Reply) ([]byte, Kind) {
	source := p.source.Addr()
	if !bytes.HasSuffix(r.q.Name[:r.q.NameLen], []byte(ownNames)) || !r.mayAsk(source) {
		return msg, Refused
	}
	if p.transport == UDP {
		// Anyone can write an allowed source on a datagram, and a worker has no time to wait for an answer with. The client
		// comes back over TCP, by itself.
		r.opt.EDE = false
		*reply = zone.Reply{AA: true, TC: true}
		return msg, Chaos
	}
	lines, ok := r.chaosFunc(w, r.q, source)
	if !ok {
		return msg, Refused
	}
	r.opt.EDE = false
	reply.Rcode, reply.AA = dnswire.RcodeNoError, true
	limit := r.room()
	for _, line := range lines {
		line = line[:min(len(line), TXTStringMax)]
		if len(msg)+dnswire.RecordLen(1+len(line)) > limit {
			reply.TC, reply.AN = true, 0
			return msg[:r.q.QuestionEnd], Chaos
		}
		msg = dnswire.AppendRecord(msg, dnswire.HeaderLen, dnswire.TypeTXT, dnswire.ClassCH, 0, 1+len(line))
		msg = append(append(msg, byte(len(line))), line...)
		reply.AN++
	}
	return msg, Chaos
}
