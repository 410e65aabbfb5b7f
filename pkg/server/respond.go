package server

import (
	crand "crypto/rand"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"

	"geodns/pkg/dnswire"
	"geodns/pkg/steering"
	"geodns/pkg/zone"
)

// view is what a worker loads once a batch: the world, and where its policies are counted.
type view struct {
	world *World
	hits  hits
}

// responder answers packets. It is owned by one goroutine; its fields are scratch that is reused from packet to packet.
type responder struct {
	// Fixed after newResponder.
	block     *block
	number    int // of the block
	identity  []byte
	version   []byte
	payload   int    // octets of the largest answer over UDP
	keepalive uint16 // TCP idle time in 100 ms
	chaosFunc func(*World, *dnswire.Query, netip.Addr) ([]string, bool)

	// Scratch.
	tally    tally
	rng      rand.PCG // for weighted draws: not secret, only different everywhere
	batch    []staged
	touched  byte           // what read-ahead read; it means nothing
	q        *dnswire.Query // of the packet that is being answered, in batch
	opt      dnswire.OPT
	decide   steering.Query
	decision steering.Decision
}

// staged is one packet of a batch between being read and being answered.
type staged struct {
	query   dnswire.Query
	outcome dnswire.Outcome
	hash    uint64 // of the name to look up; 0: none
	record  uint32 // where its record may be
}

// newResponder makes the responder that counts in the block of this number and answers size packets at a time.
func newResponder(cfg *Config, b *block, number, size int) *responder {
	var seed [16]byte
	crand.Read(seed[:])
	r := &responder{
		block: b, number: number, identity: []byte(cfg.Identity), version: []byte(cfg.Version), payload: cfg.UDPPayload,
		keepalive: uint16(min(cfg.TCP.Idle/(100*time.Millisecond), 1<<16-1)), chaosFunc: cfg.Chaos, batch: make([]staged, size),
	}
	r.rng.Seed(binary.LittleEndian.Uint64(seed[:8]), binary.LittleEndian.Uint64(seed[8:]))
	return r
}

// answer answers a batch in place: each packet's query is replaced by its answer, or n is 0 where there is none. It
// takes no lock, makes no allocation and cannot panic on any packet.
//
// A large zone's records lie anywhere in memory, and each look-up would wait for its own. So all packets are read first,
// then all their hash slots, then all records: the waits of one stage overlap.
func (r *responder) answer(v *view, packets []packet) {
	for len(packets) > 0 {
		now := packets[:min(len(packets), len(r.batch))]
		packets = packets[len(now):]
		for i := range now {
			r.batch[i].read(v.world.set, &now[i])
		}
		if len(now) > 1 {
			r.readAhead(v.world.set, r.batch[:len(now)])
		}
		for i := range now {
			r.answerOne(v, &now[i], &r.batch[i])
		}
	}
	r.tally.flush(r.block)
}

// read parses a packet and hashes the name to look up.
func (b *staged) read(set *zone.Set, p *packet) {
	q := &b.query
	b.outcome, b.hash = cutShort(q.Parse(p.buf[:min(p.n, len(p.buf))]), p.cut), 0
	if b.outcome == dnswire.OK {
		b.hash = set.Hash(q.Name[:q.NameLen])
	}
}

// readAhead reads what the look-ups of a batch will want.
func (r *responder) readAhead(set *zone.Set, batch []staged) {
	for i := range batch {
		batch[i].record = set.Slot(batch[i].hash)
	}
	for i := range batch {
		r.touched ^= set.Record(batch[i].record)
	}
}

// count counts an event outside a batch at once.
func (r *responder) count(counter int) {
	r.tally[counter]++
	r.tally.flush(r.block)
}

// answerOne makes one answer: the question stays where it is, octet for octet, and what follows it is written over.
func (r *responder) answerOne(v *view, p *packet, b *staged) {
	r.q = &b.query
	q, out := r.q, b.outcome
	p.n = 0
	r.tally.query(p)
	if out.Dropped() {
		r.tally.drop(out)
		return
	}
	limit := r.prepare(p, out)
	msg := p.buf[:q.QuestionEnd]
	var reply zone.Reply
	kind, scope := Failed, uint8(0)
	switch {
	case out != dnswire.OK:
		reply.Rcode = rcodeOf(out)
	case q.TSIG:
		reply.Rcode = dnswire.RcodeNotAuth // no key is known here (RFC 8945 section 5.2.1)
	case q.Class == dnswire.ClassCH:
		msg, kind = r.chaos(v.world, p, msg, limit, &reply)
	case q.Class != dnswire.ClassIN || q.Type == dnswire.TypeAXFR || q.Type == dnswire.TypeIXFR:
		reply.Rcode, kind = dnswire.RcodeRefused, Refused
	default:
		msg, kind, scope = r.lookUp(v, p, msg, limit, b.hash, &reply)
	}
	r.finish(p, msg, &reply, kind, scope)
}

// cutShort makes a query that did not fit its buffer malformed: no query is that long.
func cutShort(out dnswire.Outcome, cut bool) dnswire.Outcome {
	if cut && out == dnswire.OK {
		return dnswire.FormErr
	}
	return out
}

// rcodeOf is the response code that an outcome of the parser is answered with.
func rcodeOf(out dnswire.Outcome) uint8 {
	switch out {
	case dnswire.NotImp:
		return dnswire.RcodeNotImp
	case dnswire.BadVers:
		return dnswire.RcodeBadVers
	default:
		return dnswire.RcodeFormErr
	}
}

// prepare fills the answer's OPT record and gives the length that the message may have before it. An error answer
// echoes no options: the ones of its query were not all read.
func (r *responder) prepare(p *packet, out dnswire.Outcome) int {
	q, o := r.q, &r.opt
	limit := min(len(p.buf), dnswire.MessageMax)
	if p.transport == UDP {
		size := dnswire.UDPMin
		if q.EDNS {
			size = max(size, min(int(q.UDPSize), r.payload))
		}
		limit = min(limit, size)
	}
	o.UDPSize, o.DO = uint16(r.payload), q.DO
	o.ECS, o.NSID, o.Keepalive = nil, nil, false
	if !q.EDNS {
		return limit
	}
	if out == dnswire.OK {
		if q.ECS.Present {
			o.ECS = &q.ECS
			r.tally[countECS]++
		}
		if q.NSID {
			o.NSID = r.identity
		}
		if q.Keepalive && p.transport != UDP {
			o.Keepalive, o.KeepaliveTimeout = true, r.keepalive
		}
	}
	return limit - o.Len()
}

// lookUp answers a question of class IN from the zones, and by a policy where they say so.
func (r *responder) lookUp(v *view, p *packet, msg []byte, limit int, hash uint64, reply *zone.Reply) ([]byte, Kind, uint8) {
	q, w := r.q, v.world
	// A chain that reaches a steered name must not be cached for all clients (design: section 5.12).
	msg, *reply = w.set.AnswerHashed(msg, q.Name[:q.NameLen], q.Labels, hash, q.Type, limit, q.ECS.Present)
	switch reply.Kind {
	case zone.Outside:
		reply.Rcode = dnswire.RcodeRefused
		return msg, Refused, 0
	case zone.Steered:
		return r.steer(v, p, msg, limit, reply)
	case zone.Answered:
	}
	return msg, kindOf(reply), 0
}

// kindOf says what a zone's answer is made of.
func kindOf(reply *zone.Reply) Kind {
	switch {
	case reply.Rcode != dnswire.RcodeNoError:
		return Negative
	case !reply.AA:
		return Referral
	case reply.AN == 0 && !reply.TC:
		return Negative
	}
	return Static
}

// finish appends the OPT record, writes the header and counts.
func (r *responder) finish(p *packet, msg []byte, reply *zone.Reply, kind Kind, scope uint8) {
	q := r.q
	flags, questions, additional := uint16(0), uint16(0), reply.AR
	if reply.AA {
		flags = dnswire.FlagAA
	}
	if reply.TC {
		flags |= dnswire.FlagTC
		r.tally[countTruncated]++
	}
	if q.QuestionEnd > dnswire.HeaderLen {
		questions = 1
	}
	if q.EDNS {
		r.opt.Scope = scope
		msg = r.opt.Append(msg, reply.Rcode)
		additional++
	}
	dnswire.PutHeader(msg, q.AnswerFlags(reply.Rcode, flags), questions, reply.AN, reply.NS, additional)
	p.n = len(msg)
	r.tally[countRcodes+int(reply.Rcode)%rcodesCounted]++
	r.tally[countKinds+int(kind)]++
}
