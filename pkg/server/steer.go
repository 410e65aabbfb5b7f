package server

import (
	"geodns/pkg/dnswire"
	"geodns/pkg/steering"
	"geodns/pkg/zone"
)

// steer answers at a steered name: links of a chain may stand in msg already. It gives the answer's scope.
func (r *responder) steer(v *view, p *packet, msg []byte, reply *zone.Reply) ([]byte, Kind, uint8) {
	q, w, limit := r.q, v.world, r.room()
	b := w.steers[reply.Steer]
	typ, offered := b.typeOf(w.table, q.Type)
	if !offered {
		return r.unsteered(w, msg, limit, reply)
	}
	// Field by field: a literal is built aside and then copied in wider steps than it was written, which stalls.
	s := &r.decide
	s.Policy, s.Type, s.TTL, s.Random = b.policy, typ, reply.TTL, r.rng.Uint64()
	s.Client, s.ECS = clientFor(q, p)
	d := &r.decision
	steering.Decide(w.table, w.states, s, d, nil)
	v.hits[r.number][reply.Steer].Add(1)
	if d.Outcome == steering.Failed {
		*reply = zone.Reply{Kind: zone.Answered, Rcode: dnswire.RcodeServFail}
		r.explain(dnswire.EDEOther, "no target is usable for this client")
		return msg[:q.QuestionEnd], Failed, d.Scope
	}
	reply.AA = true
	msg, fits := appendTargets(msg, limit, w.table, typ, d, reply)
	if !fits {
		*reply = zone.Reply{Kind: zone.Answered, AA: true, TC: true}
		return msg[:q.QuestionEnd], Steered, d.Scope
	}
	for _, id := range d.Targets[:d.N] {
		r.regions.count(w.regions[id])
	}
	return msg, Steered, d.Scope
}

// clientFor is who a query is to be answered for, and whether it says so itself.
func clientFor(q *dnswire.Query, p *packet) (c steering.Client, ecs bool) {
	switch e := &q.ECS; {
	case !e.Present, e.Source == 0:
		// SOURCE 0 asks that the client's address be left out of it (RFC 7871 section 7.1.2).
		return p.source, false
	case e.Family == dnswire.FamilyIPv4:
		return steering.Client4([4]byte(e.Addr[:4]), e.Source), true
	default:
		return steering.Client6(e.Addr, e.Source), true
	}
}

// typeOf is the kind of answer that a policy gives for a query type, if it gives one: host names answer every type.
func (b binding) typeOf(t *steering.Table, qtype uint16) (steering.Type, bool) {
	switch {
	case b.host:
		return steering.Host, true
	case qtype == dnswire.TypeA:
		return steering.A, t.Offers(b.policy, steering.A)
	case qtype == dnswire.TypeAAAA:
		return steering.AAAA, t.Offers(b.policy, steering.AAAA)
	}
	return 0, false
}

// unsteered answers for a type that the policy does not offer. It is the same for every client, so its scope is 0.
func (r *responder) unsteered(w *World, msg []byte, limit int, reply *zone.Reply) ([]byte, Kind, uint8) {
	q := r.q
	if q.Type == dnswire.TypeANY {
		msg = w.set.AppendANY(msg, reply, q.NameLen, limit) // RFC 8482 section 4.2
	} else {
		msg = w.set.NoData(msg, reply, q.NameLen, limit)
	}
	return msg, kindOf(reply), 0
}

// appendTargets appends what the chosen targets answer with, all of it or, with false, too little.
func appendTargets(msg []byte, limit int, t *steering.Table, typ steering.Type, d *steering.Decision, reply *zone.Reply) ([]byte, bool) {
	for _, id := range d.Targets[:d.N] {
		switch typ {
		case steering.A:
			for _, a := range t.Addrs4(id) {
				if len(msg)+dnswire.ALen > limit {
					return msg, false
				}
				msg = dnswire.AppendA(msg, reply.Owner, d.TTL, a)
				reply.AN++
			}
		case steering.AAAA:
			for _, a := range t.Addrs6(id) {
				if len(msg)+dnswire.AAAALen > limit {
					return msg, false
				}
				msg = dnswire.AppendAAAA(msg, reply.Owner, d.TTL, a)
				reply.AN++
			}
		case steering.Host:
			host := t.Host(id)
			if len(msg)+dnswire.RecordLen(len(host)) > limit {
				return msg, false
			}
			reply.AN++
			return dnswire.AppendCNAME(msg, reply.Owner, d.TTL, host), true // one alias at most (RFC 2181 section 10.1)
		}
	}
	return msg, true
}
