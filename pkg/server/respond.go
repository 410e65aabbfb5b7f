package server

import (
	crand "crypto/rand"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"geodns/pkg/dnswire"
	"geodns/pkg/steering"
	"geodns/pkg/zone"
)

// responder answers packets. It is owned by one goroutine; its fields are scratch that is reused from packet to packet.
type responder struct {
	// Fixed after newResponder.
	block         *block
	number        int // of the block
	identity      []byte
	version       []byte
	payload       int // octets of the largest answer over UDP
	cookies       *cookies
	requireCookie bool
	chaosFunc     func(*World, *dnswire.Query, netip.Addr) ([]string, bool)
	chaosAllow    []netip.Prefix

	// Scratch.
	tally       tally
	regions     regionTally
	rng         rand.PCG // for weighted draws: not secret, only different everywhere
	batch       []staged
	steered     []*staged      // those of the batch whose names are steered
	touched     byte           // what read-ahead read; it means nothing
	seconds     uint32         // the time for cookies, read once a batch; 0: not yet
	q           *dnswire.Query // of the packet that is being answered, in batch
	size        int            // octets of its query
	cookieValid bool           // it has our cookie
	verified    bool           // its source is not forged: it has our cookie, or a TCP connection
	limit       int            // octets that its answer may have
	opt         dnswire.OPT
	optLen      int  // octets of it, the extended error apart; 0: the query has none
	dressed     bool // it has options
	badKey      bool // a TSIG goes behind the OPT record
	tsig        dnswire.TSIG
	cookieOut   [cookieLen]byte
	decide      steering.Query
	decision    steering.Decision
}

// staged is one packet of a batch between being read and being answered.
type staged struct {
	query   dnswire.Query
	outcome dnswire.Outcome
	hash    uint64 // of the name to look up; 0: none
	record  uint32 // where its record may be

	// What was read ahead of one whose name is steered.
	policy steering.PolicyID
	client steering.Client
	cell   uint32
}

// newResponder makes the responder that counts in the block of this number and answers size packets at a time.
func newResponder(cfg *Config, b *block, number, size int) *responder {
	var seed [16]byte
	crand.Read(seed[:])
	r := &responder{
		block: b, number: number, identity: []byte(cfg.Identity), version: []byte(cfg.Version), payload: cfg.UDPPayload,
		cookies: cfg.cookies, requireCookie: cfg.RequireCookie, chaosFunc: cfg.Chaos, chaosAllow: cfg.ChaosAllow,
		batch: make([]staged, size), steered: make([]*staged, size),
	}
	r.rng.Seed(binary.LittleEndian.Uint64(seed[:8]), binary.LittleEndian.Uint64(seed[8:]))
	return r
}

// answer answers a batch in place: each packet's query is replaced by its answer, or n is 0 where there is none. It
// takes no lock, makes no allocation and cannot panic on any packet.
//
// Records of a large zone and cells of large geo data lie anywhere in memory, and each look-up would wait for its own. So all
// packets are read first, then all their hash slots, and so on up to the plans of steered names: the waits of one stage overlap.
func (r *responder) answer(v *view, packets []packet) {
	r.seconds = 0
	for len(packets) > 0 {
		now := packets[:min(len(packets), len(r.batch))]
		packets = packets[len(now):]
		for i := range now {
			r.batch[i].read(v.world.set, &now[i])
		}
		if len(now) > 1 {
			r.readAhead(v.world, now, r.batch[:len(now)])
		}
		for i := range now {
			r.answerOne(v, &now[i], &r.batch[i])
		}
	}
	r.tally.flush(r.block)
	r.regions.flush(r.block)
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
func (r *responder) readAhead(w *World, packets []packet, batch []staged) {
	for i := range batch {
		batch[i].record = w.set.Slot(batch[i].hash)
	}
	for i := range batch {
		r.touched ^= w.set.Record(batch[i].record)
	}
	steered := r.steered[:0]
	for i := range batch {
		b := &batch[i]
		if steer, ok := w.set.Steer(b.record); ok {
			steered = append(steered, b)
			b.policy = w.steers[steer].policy
			b.client, _ = clientFor(&b.query, &packets[i])
			w.table.AheadCell(b.client)
		}
	}
	for _, b := range steered {
		b.cell = w.table.AheadKind(b.client)
	}
	for _, b := range steered {
		w.table.AheadPlan(b.policy, b.cell)
	}
}

// count counts an event outside a batch at once.
func (r *responder) count(counter int) {
	r.tally[counter]++
	r.tally.flush(r.block)
}

// answerOne makes one answer: the question stays where it is, octet for octet, and what follows it is written over.
func (r *responder) answerOne(v *view, p *packet, b *staged) {
	r.q, r.size = &b.query, p.n
	q, out := r.q, b.outcome
	p.n = 0
	r.tally.query(p)
	if out.Dropped() {
		r.tally.drop(out)
		return
	}
	cookies := r.prepare(v, p, out)
	msg := p.buf[:q.QuestionEnd]
	var reply zone.Reply
	kind, scope := Failed, uint8(0)
	switch {
	case q.TSIG != 0 && (out == dnswire.OK || out == dnswire.CookieOnly):
		r.unsigned(p, &reply)
	case out == dnswire.CookieOnly && cookies:
		kind = Cookies
		if q.CookieLen > dnswire.CookieClientLen && !r.cookieValid {
			reply.Rcode = dnswire.RcodeBadCookie // RFC 7873 section 5.4
		}
	case out != dnswire.OK:
		r.refuse(out, &reply)
	case cookies && r.requireCookie && !r.verified:
		reply.Rcode, kind = dnswire.RcodeBadCookie, Cookies
	case q.Class == dnswire.ClassCH:
		msg, kind = r.chaos(v.world, p, msg, &reply)
	case q.Class != dnswire.ClassIN:
		reply.Rcode, kind = dnswire.RcodeRefused, Refused
		r.explain(dnswire.EDENotAuthoritative, "no zones of this class")
	case q.Type == dnswire.TypeAXFR || q.Type == dnswire.TypeIXFR:
		reply.Rcode, kind = dnswire.RcodeRefused, Refused
		r.explain(dnswire.EDEProhibited, "zone transfers are not allowed")
	default:
		msg, kind, scope = r.lookUp(v, p, msg, b.hash, &reply)
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

// refuse answers what the parser made of a query that is not to be looked up.
func (r *responder) refuse(out dnswire.Outcome, reply *zone.Reply) {
	switch out {
	case dnswire.NotImp:
		reply.Rcode = dnswire.RcodeNotImp
	case dnswire.BadVers:
		reply.Rcode = dnswire.RcodeBadVers
	case dnswire.CookieOnly: // which is nothing to ask for where cookies are off
		reply.Rcode = dnswire.RcodeFormErr
		r.explain(dnswire.EDEOther, dnswire.FaultCount.String())
	default:
		reply.Rcode = dnswire.RcodeFormErr
		code := dnswire.EDEOther
		if r.q.Fault == dnswire.FaultType && r.q.Type == dnswire.TypeNXNAME {
			code = dnswire.EDEInvalidQueryType // RFC 9824 section 3.5
		}
		r.explain(code, r.q.Fault.String())
	}
}

// unsigned refuses a query with a TSIG, as no key is known here (RFC 8945 section 5.2.1). The record that says so is kept
// aside, as the OPT record may be written over the query's.
func (r *responder) unsigned(p *packet, reply *zone.Reply) {
	if !r.tsig.Read(p.buf[:r.size], r.q) {
		reply.Rcode = dnswire.RcodeFormErr
		r.explain(dnswire.EDEOther, dnswire.FaultTSIG.String())
		return
	}
	reply.Rcode = dnswire.RcodeNotAuth
	if r.badKey = r.q.QuestionEnd+r.tsig.Len() <= r.room(); !r.badKey {
		reply.TC = true
	}
}

// explain adds an extended error (RFC 8914) to the answer, if the query has an OPT record and there is room.
func (r *responder) explain(code uint16, text string) {
	if !r.q.EDNS {
		return
	}
	r.dressed = true
	r.opt.EDE, r.opt.EDECode, r.opt.EDEText = true, code, text
}

// room is the octets that the message may have before its OPT record.
func (r *responder) room() int { return r.limit - r.optLen }

// prepare sets how long the answer may be, and fills its OPT record. It says whether a cookie was answered. An error answer
// echoes no options: the ones of its query were not all read.
func (r *responder) prepare(v *view, p *packet, out dnswire.Outcome) (cookies bool) {
	q, o := r.q, &r.opt
	r.verified, r.cookieValid, r.badKey = p.transport != UDP, false, false
	r.limit = min(len(p.buf), dnswire.MessageMax)
	if p.transport == UDP {
		size := dnswire.UDPMin
		if q.EDNS {
			size = max(size, min(int(q.UDPSize), r.payload))
		}
		r.limit = min(r.limit, size)
	}
	o.UDPSize, o.DO, r.optLen = uint16(r.payload), q.DO, 0
	if r.dressed {
		// Field by field: to clear it whole takes the collector's slow way, as there are pointers in it.
		o.ECS, o.NSID, o.Cookie, o.Keepalive, o.ZoneVersion, o.EDE, r.dressed = nil, nil, nil, false, false, false, false
	}
	if !q.EDNS {
		return false
	}
	r.optLen = dnswire.OPTLen
	if out != dnswire.OK && out != dnswire.CookieOnly || !q.Options {
		return false
	}
	r.dressed = true
	if q.ECS.Present {
		o.ECS = &q.ECS
		r.tally[countECS]++
	}
	if q.NSID {
		o.NSID = v.nsid
	}
	if q.Keepalive && p.transport != UDP {
		o.Keepalive, o.KeepaliveTimeout = true, p.keepalive
	}
	// Until the zone is known the option takes its room.
	o.ZoneVersion = q.ZoneVersion
	cookies = q.CookieLen > 0 && r.cookie(p)
	r.optLen = o.Len()
	return cookies
}

// lookUp answers a question of class IN from the zones, and by a policy where they say so.
func (r *responder) lookUp(v *view, p *packet, msg []byte, hash uint64, reply *zone.Reply) ([]byte, Kind, uint8) {
	q, w := r.q, v.world
	start := msg
	// A chain that reaches a steered name must not be cached for all clients (design: section 5.12).
	msg = w.set.AnswerHashed(msg, q.Name[:q.NameLen], q.Labels, hash, q.Type, r.room(), q.ECS.Present, reply)
	if reply.Kind == zone.Outside {
		reply.Rcode = dnswire.RcodeRefused
		r.explain(dnswire.EDENotAuthoritative, "no zone here has this name")
		return msg, Refused, 0
	}
	if v.ecsOff && q.ECS.Present && v.answering(reply.Zone, q).ecsOff {
		q.ECS.Present, r.opt.ECS = false, nil
		r.optLen = r.opt.Len()
		if reply.TC || reply.AN > 0 { // there is more room now, and a chain goes on
			msg = w.set.AnswerHashed(start, q.Name[:q.NameLen], q.Labels, hash, q.Type, r.room(), false, reply)
		}
	}
	if q.ZoneVersion {
		z := v.answering(reply.Zone, q)
		r.opt.ZoneLabels, r.opt.ZoneSerial = z.labels, z.serial
	}
	var kind Kind
	var scope uint8
	if reply.Kind == zone.Steered {
		msg, kind, scope = r.steer(v, p, msg, reply)
	} else {
		kind = kindOf(reply)
	}
	if reply.AN > 0 && p.transport == UDP && zone.IsMinimal(q.Type) && len(msg)+r.trim(len(msg)) >= 2*r.size {
		// Whoever asks for all that there is shall not make others get it (RFC 8482 section 3).
		*reply = zone.Reply{Kind: zone.Answered, AA: reply.AA, TC: true, Zone: reply.Zone}
		msg = start
	}
	return msg, kind, scope
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

// unverifiedMax is how many times the octets of a query the options may bring an answer to whose source may be forged, so
// that they are of no use to amplify with (as RFC 9000 section 8.1 has it for QUIC).
const unverifiedMax = 3

// trim leaves out of the OPT record what is there to be read by people, where an answer of n octets before it has no room for
// that, and gives the octets of the record; 0 for a query without one.
func (r *responder) trim(n int) int {
	o, limit := &r.opt, r.limit
	if !r.dressed || (!o.EDE && len(o.NSID) == 0 && !o.ZoneVersion) {
		return r.optLen // as prepared
	}
	if !r.verified {
		limit = min(limit, unverifiedMax*r.size)
	}
	if o.EDE && n+o.Len()+o.EDELen() > limit {
		o.EDE = false
	}
	if !r.verified && len(o.NSID) > 0 && n+o.Len()+o.EDELen() > limit {
		o.NSID = nil
	}
	r.optLen = o.Len()
	return r.optLen + o.EDELen()
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
		if o := &r.opt; r.dressed {
			o.Scope = scope
			o.ZoneVersion = o.ZoneVersion && reply.Kind != zone.Outside // no zone, no version
			r.trim(len(msg))
			msg = o.Append(msg, reply.Rcode)
		} else {
			msg = o.AppendBare(msg, reply.Rcode)
		}
		additional++
	}
	if r.badKey {
		msg = r.tsig.AppendError(msg, dnswire.TSIGBadKey)
		additional++
	}
	dnswire.PutHeader(msg, q.AnswerFlags(reply.Rcode, flags), questions, reply.AN, reply.NS, additional)
	p.n = len(msg)
	r.tally[countRcodes+int(reply.Rcode)%rcodesCounted]++
	r.tally[countKinds+int(kind)]++
}
