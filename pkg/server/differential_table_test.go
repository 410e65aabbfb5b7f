package server_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"geodns/pkg/zone"
)

// difference says in what two answers differ, "" if in nothing that RFCs do not leave free: the order of records within a set, letter
// case of names, and additional records where no referral wants them. Those, and NS records beside a positive answer, are never
// ours to give (RFC 1034 section 4.3.2 step 6 says may).
func difference(qtype uint16, ours, theirs *diffMessage) string {
	switch {
	case ours.odd != theirs.odd:
		return "odd"
	case len(ours.sections[diffAdditional]) > 0 && !ours.referral():
		return "surplus"
	case ours.rcode != theirs.rcode:
		return "rcode"
	case ours.aa != theirs.aa:
		return "aa"
	case !sameRecords(ours.sections[diffAnswer], theirs.sections[diffAnswer]):
		return "answer"
	case !sameOrder(ours.sections[diffAnswer], theirs.sections[diffAnswer]):
		return "order"
	case !sameRecords(ours.sections[diffAuthority], theirs.sections[diffAuthority]):
		return "authority"
	case !sameRecords(ours.glue(true), theirs.glue(true)):
		return "glue"
	case ours.referral() && !sameRecords(ours.sections[diffAdditional], theirs.sections[diffAdditional]):
		return "additional"
	case ours.size > theirs.size:
		return "size"
	case ours.truncated && !theirs.truncated && !zone.IsMinimal(qtype): // which we truncate to keep them from being large
		return "tc"
	}
	return ""
}

// diffPair is two answers that differ.
type diffPair struct {
	peer         string
	c            *diffCase
	q            diffQuery
	ours, theirs *diffMessage
	kind         string
}

// diffReason is a difference that is meant, and why.
type diffReason struct {
	peers string // names of the peers that show it
	name  string
	why   string
	rare  bool // not every long run shows it
	holds func(p *diffPair) bool
}

// reason gives the name of the entry that explains a difference, "" if there is none.
func (p *diffPair) reason() string {
	for _, e := range diffReasons() {
		if strings.Contains(e.peers, p.peer) && e.holds(p) {
			return p.peer + ": " + e.name
		}
	}
	return ""
}

// diffReasons is the table of all differences that are meant.
func diffReasons() []diffReason {
	return []diffReason{
		{
			peers: "nsd knot bind", name: "types that ask for more than one set",
			why: "RFC 8482 section 4: a responder may answer ANY with one RRset, or with an HINFO made for it; so with RRSIG, MAILA and MAILB",
			holds: func(p *diffPair) bool {
				rrs := p.ours.sections[diffAnswer]
				if n := len(rrs); n > 0 && rrs[n-1].typ == dns.TypeHINFO {
					rrs = rrs[:n-1]
				}
				return zone.IsMinimal(p.q.qtype) && (p.ours.rcode == p.theirs.rcode && subset(rrs, p.theirs.sections[diffAnswer]) || prefixed(p.theirs, p.ours))
			},
		},
		{
			peers: "bind", name: "TTL 0 in NXDOMAIN for SOA",
			why: "RFC 2308 section 3: the SOA's TTL in a negative answer is the lower of its own and its MINIMUM, whatever type was asked for",
			holds: func(p *diffPair) bool {
				soa := p.theirs.sections[diffAuthority]
				return p.kind == "authority" && p.q.qtype == dns.TypeSOA && p.theirs.rcode == dns.RcodeNameError && len(soa) == 1 && soa[0].ttl == 0
			},
		},
		{
			peers: "knot bind", name: "names at or above a zone below that is not delegated",
			why: "RFC 8020 section 2: NXDOMAIN would deny all names below, also those of the zone below, which is served here: so these names exist",
			holds: func(p *diffPair) bool {
				return p.ours.has(diffAuthority, dns.TypeSOA) && p.undelegated()
			},
		},
		{
			peers: "nsd bind", name: "glue left out without TC",
			why: "RFC 9471 section 3.1: all addresses of name servers below the cut that are known, or TC",
			holds: func(p *diffPair) bool {
				return p.kind == "glue" && subset(p.theirs.glue(true), p.ours.glue(true)) && p.addresses() > 1000
			},
		},
		{
			peers: "nsd knot", name: "glue from a wildcard below the cut",
			why: "RFC 1034 section 4.2.1: glue is the address records of the name servers; what a wildcard below a cut stands for is for the zone below to say",
			holds: func(p *diffPair) bool {
				return p.kind == "glue" && slices.ContainsFunc(p.ours.sections[diffAuthority], func(ns diffRR) bool {
					return slices.ContainsFunc(p.c.zones, func(z *diffZone) bool { return z.covers(ns.owner, ns.rdata) })
				})
			},
		},
		{
			peers: "nsd knot bind", name: "addresses of name servers beside the cut",
			why: "RFC 9471 section 3.2: addresses of name servers in another zone below this one may be left out; so where they do not fit",
			holds: func(p *diffPair) bool {
				ours, theirs := p.ours.sections[diffAdditional], p.theirs.sections[diffAdditional]
				return p.kind == "additional" && (subset(theirs, ours) || subset(ours, theirs) && p.addresses() > 1000)
			},
		},
		{
			peers: "bind", name: "chains of more than 11 links",
			why: "RFC 1034 section 3.6.2: chains should be followed; a long one is no failure",
			holds: func(p *diffPair) bool {
				return p.kind == "rcode" && p.theirs.rcode == dns.RcodeServerFailure && p.theirs.cnames() >= 11
			},
		},
		{
			peers: "bind", name: "a loop",
			why: "RFC 1034 section 3.6.2: loops are an error to signal; the loop itself does, and it may be cached, which SERVFAIL is not for long",
			holds: func(p *diffPair) bool {
				return p.kind == "rcode" && p.theirs.rcode == dns.RcodeServerFailure && p.ours.rcode == 0 && p.ours.loops()
			},
		},
		{
			peers: "knot", name: "chains of more than 5 links",
			why: "RFC 1034 section 4.3.2 step 3a: a CNAME is followed; where to stop is left open",
			holds: func(p *diffPair) bool {
				return p.theirs.rcode == 0 && p.theirs.cnames() >= 5 && prefixed(p.theirs, p.ours)
			},
		},
		{
			peers: "nsd knot bind", name: "a DNAME onto names below itself",
			why: "RFC 6672 section 3.2: what it makes is to be looked up again, and leads back to it, each time longer; where to stop is left open",
			holds: func(p *diffPair) bool {
				return slices.ContainsFunc(p.ours.sections[diffAnswer], func(r diffRR) bool { return r.typ == dns.TypeDNAME && wireWithin(r.rdata, r.owner) }) &&
					prefixed(p.ours, p.theirs)
			},
		},
		{
			peers: "nsd knot bind", name: "chains into another zone",
			why: "RFC 1034 section 4.3.2 step 3a: a chain may be followed into another zone; but what is said of that here, the resolver must ask that zone again (RFC 2181 section 5.4.1)",
			holds: func(p *diffPair) bool {
				to := p.reached()
				z := p.zoneOf(to)
				return len(p.ours.sections[diffAnswer]) > 0 && prefixed(p.ours, p.theirs) &&
					(z != p.zoneOf(p.q.name) || p.q.qtype == dns.TypeDS && to.is(z.origin))
			},
		},
		{
			peers: "nsd", name: "names of a zone above, in the zone below",
			why: "RFC 1034 section 4.3.2 step 2: the zone that is the nearest ancestor of the name answers, and with its own data alone",
			holds: func(p *diffPair) bool {
				return p.nested()
			},
		},
		{
			peers: "knot", name: "an SOA left out without TC", rare: true,
			why: "RFC 2308 section 3: the SOA must be in a negative answer, or it cannot be cached; and TC says what does not fit (RFC 2181 section 9)",
			holds: func(p *diffPair) bool {
				return p.kind == "authority" && p.ours.has(diffAuthority, dns.TypeSOA) && len(p.theirs.sections[diffAuthority]) == 0 &&
					p.theirs.size > 1000 && !p.theirs.truncated
			},
		},
		{
			peers: "knot", name: "an SOA left out without TC", rare: true,
			why: "RFC 2308 section 3: the SOA must be in a negative answer, or it cannot be cached; TC says what does not fit (RFC 2181 section 9)",
			holds: func(p *diffPair) bool {
				return p.kind == "authority" && p.ours.has(diffAuthority, dns.TypeSOA) && len(p.theirs.sections[diffAuthority]) == 0 &&
					p.theirs.size > 1000 && !p.theirs.truncated
			},
		},
		{
			peers: "knot", name: "more behind YXDOMAIN",
			why: "RFC 6672 section 3.2: the name that would be too long ends the answer",
			holds: func(p *diffPair) bool {
				return p.ours.rcode == dns.RcodeYXDomain && p.theirs.rcode == dns.RcodeYXDomain && prefixed(p.ours, p.theirs)
			},
		},
		{
			peers: "knot", name: "NXDOMAIN for a name that is too long",
			why: "RFC 6672 section 2.2: a name that a DNAME would make too long is answered with YXDOMAIN",
			holds: func(p *diffPair) bool {
				return p.kind == "rcode" && p.ours.rcode == dns.RcodeYXDomain && p.theirs.rcode == dns.RcodeNameError
			},
		},
		{
			peers: "bind", name: "a set moved before the CNAME that leads to it",
			why: "RFC 1034 section 4.3.2 step 3a: the CNAME, then what it leads to",
			holds: func(p *diffPair) bool {
				return p.kind == "order"
			},
		},
		{
			peers: "bind", name: "NSEC at a cut", rare: true,
			why: "RFC 4035 section 3.1.4.1: DS is what the parent's side of a cut is asked for; all else is referred (RFC 1034 section 4.3.2 step 3b)",
			holds: func(p *diffPair) bool {
				return p.kind == "aa" && p.q.qtype == dns.TypeNSEC && p.ours.referral()
			},
		},
		{
			peers: "knot bind", name: "NSEC at a CNAME is not followed",
			why: "RFC 1034 section 4.3.2 step 3a: a CNAME is followed unless its own type was asked for; it has no NSEC beside it here (RFC 4035 section 2.5)",
			holds: func(p *diffPair) bool {
				return p.q.qtype == dns.TypeNSEC && p.ours.has(diffAnswer, dns.TypeCNAME) && prefixed(p.theirs, p.ours)
			},
		},
		{
			peers: "nsd knot bind", name: "size: labels of the question that are in no name of the zone",
			why: "RFC 1035 section 4.1.4: names may be compressed; answers here are compressed when the zone is loaded, against names that exist",
			holds: func(p *diffPair) bool {
				return p.kind == "size" && p.sharesMore()
			},
		},
		{
			peers: "nsd knot bind", name: "size: labels of the question behind a DNAME",
			why: "RFC 1035 section 4.1.4: names may be compressed; what follows a DNAME was compressed when the zone was loaded, against the name that the DNAME leads to",
			holds: func(p *diffPair) bool {
				return p.kind == "size" && p.ours.has(diffAnswer, dns.TypeDNAME)
			},
		},
		{
			peers: "nsd bind", name: "chains of more than 8 links",
			why: "RFC 1034 section 4.3.2 step 3a: a CNAME is followed; where to stop is left open",
			holds: func(p *diffPair) bool {
				return p.ours.rcode == 0 && p.ours.cnames() >= 8 && prefixed(p.ours, p.theirs)
			},
		},
		{
			peers: "knot bind", name: "DS at a CNAME in the place of a delegation",
			why: "RFC 4035 section 3.1.4.1: the parent answers for DS from the cut; a CNAME is none, and following it says nothing of the zone below",
			holds: func(p *diffPair) bool {
				return p.q.qtype == dns.TypeDS && len(p.ours.sections[diffAnswer]) == 0 && p.theirs.has(diffAnswer, dns.TypeCNAME) &&
					p.zoneOf(p.q.name).origin.is(p.q.name)
			},
		},
		{
			peers: "knot", name: "a DNAME twice",
			why: "RFC 2181 section 5: a record is in a set once",
			holds: func(p *diffPair) bool {
				return p.kind == "answer" && p.q.qtype == dns.TypeDNAME && prefixed(p.ours, p.theirs) &&
					subset(p.theirs.sections[diffAnswer], p.ours.sections[diffAnswer])
			},
		},
		{
			peers: "knot", name: "a loop gone through again",
			why: "RFC 2181 section 5: a record is in a set once",
			holds: func(p *diffPair) bool {
				return p.kind == "answer" && p.ours.loops() && prefixed(p.ours, p.theirs) && subset(p.theirs.sections[diffAnswer], p.ours.sections[diffAnswer])
			},
		},
		{
			peers: "nsd knot bind", name: "a wildcard's CNAME to names that it stands for",
			why: "RFC 1034 section 3.6.2: it is a loop, as what a wildcard leads to is the same for all names that it stands for; where to stop is left open",
			holds: func(p *diffPair) bool {
				return prefixed(p.ours, p.theirs) && p.ours.rcode == 0 && p.covered()
			},
		},
	}
}

// undelegated says whether the name that our answer is about is above a zone of the case, and exists in the zone that answers
// because of that alone; or is below such a name.
func (p *diffPair) undelegated() bool {
	to := p.reached()
	up := p.zoneOf(to)
	if p.q.qtype == dns.TypeDS && len(to) > 0 && up != nil && to.is(up.origin) {
		up = p.zoneOf(to[1:])
	}
	return up != nil && slices.ContainsFunc(p.c.all(), func(z *diffZone) bool {
		if z == up || !z.origin.within(up.origin) {
			return false
		}
		for n := z.origin; len(n) > len(up.origin); n = n[1:] {
			if to.within(n) && !slices.ContainsFunc(up.records, func(r diffRecord) bool { return r.owner.within(n) }) {
				return true
			}
		}
		return false
	})
}

// covers says whether the zone has addresses at a wildcard below a cut, and nothing at a host below it.
func (z *diffZone) covers(cut, host []byte) bool {
	wild := false
	for _, r := range z.records {
		owner := foldedWire(r.owner)
		if bytes.Equal(owner, host) {
			return false
		}
		wild = wild || len(r.owner) > 0 && r.owner[0] == "*" && (r.typ == "A" || r.typ == "AAAA") && wireWithin(owner, cut)
	}
	return wild && wireWithin(host, cut)
}

// addresses gives about how many octets the addresses of a referral's name servers take, with the referral itself.
func (p *diffPair) addresses() int {
	size := p.ours.size
	for _, ns := range p.ours.sections[diffAuthority] {
		for _, z := range p.c.all() {
			for _, r := range z.records {
				if (r.typ == "A" || r.typ == "AAAA") && bytes.Equal(foldedWire(r.owner), ns.rdata) {
					size += 16
				}
			}
		}
	}
	return size
}

// covered says whether a wildcard with a CNAME stands for the owner of a CNAME of our answer, and for the name that it ends at.
func (p *diffPair) covered() bool {
	end := foldedWire(p.reached())
	return slices.ContainsFunc(p.c.all(), func(z *diffZone) bool {
		return slices.ContainsFunc(z.records, func(r diffRecord) bool {
			if r.typ != "CNAME" || r.owner[0] != "*" {
				return false
			}
			parent := foldedWire(r.owner[1:])
			return wireWithin(end, parent) && slices.ContainsFunc(p.ours.sections[diffAnswer], func(rr diffRR) bool {
				return rr.typ == dns.TypeCNAME && wireWithin(rr.owner, parent) && bytes.Equal(foldedWire(r.target), rr.rdata)
			})
		})
	})
}

// sharesMore says whether a name in our answer has more labels of the question's name than any name of the zone, or one that is
// covered by a wildcard, as "*" itself is.
func (p *diffPair) sharesMore() bool {
	z := p.zoneOf(p.q.name)
	if z == nil {
		return false
	}
	known := p.q.name
	for !slices.ContainsFunc(z.records, func(r diffRecord) bool { return r.owner.within(known) }) || len(known) > 0 && known[0] == "*" {
		known = known[1:]
	}
	name := foldedWire(p.q.name)
	shares := func(o []byte) bool {
		for n := name; len(n) > known.size(); n = n[1+int(n[0]):] {
			if wireWithin(o, n) {
				return true
			}
		}
		return false
	}
	for _, rrs := range p.ours.sections {
		for _, r := range rrs {
			skip, names, _ := diffNames(r.typ)
			for data := r.rdata[skip:]; names > 0; names-- {
				if shares(data[:nameLen(data)]) {
					return true
				}
				data = data[nameLen(data):]
			}
			if !bytes.Equal(r.owner, name) && shares(r.owner) {
				return true
			}
		}
	}
	return false
}

// foldedWire is a name in wire form, folded.
func foldedWire(n labels) []byte {
	wire := n.wire()
	for i, c := range wire {
		if c-'A' < 26 {
			wire[i] = c + 0x20
		}
	}
	return wire
}

// reached is the name at the end of our answer's chain: the target of its last CNAME, or the query's name.
func (p *diffPair) reached() labels {
	rrs := p.ours.sections[diffAnswer]
	if len(rrs) == 0 || rrs[len(rrs)-1].typ != dns.TypeCNAME {
		return p.q.name
	}
	var out labels
	for wire := rrs[len(rrs)-1].rdata; wire[0] != 0; wire = wire[1+wire[0]:] {
		out = append(out, string(wire[1:1+wire[0]]))
	}
	return out
}

// zoneOf gives the deepest of the case's zones that a name is in, or nil.
func (p *diffPair) zoneOf(name labels) *diffZone {
	var best *diffZone
	for _, z := range p.c.all() {
		if name.within(z.origin) && (best == nil || len(z.origin) > len(best.origin)) {
			best = z
		}
	}
	return best
}

// loops says whether the last CNAME of the answer leads back to one of it.
func (m *diffMessage) loops() bool {
	rrs := m.sections[diffAnswer]
	return len(rrs) > 0 && slices.ContainsFunc(rrs, func(r diffRR) bool {
		return r.typ == dns.TypeCNAME && rrs[len(rrs)-1].typ == dns.TypeCNAME && bytes.Equal(r.owner, rrs[len(rrs)-1].rdata)
	})
}

// prefixed says whether one answer section begins with another.
func prefixed(short, long *diffMessage) bool {
	a, b := short.sections[diffAnswer], long.sections[diffAnswer]
	return len(a) <= len(b) && slices.EqualFunc(a, b[:len(a)], func(x, y diffRR) bool { return x.equal(&y) })
}

// nested says whether the query's name is in a zone of the case that has another above it, in whose file names at or below its
// origin stand.
func (p *diffPair) nested() bool {
	for _, z := range p.c.zones {
		for _, up := range p.c.zones {
			if z != up && z.origin.within(up.origin) && p.q.name.within(z.origin) &&
				slices.ContainsFunc(up.records, func(r diffRecord) bool { return r.owner.within(z.origin) }) {
				return true
			}
		}
	}
	return false
}

// subset says whether all records of some are among all.
func subset(some, all []diffRR) bool {
	return !slices.ContainsFunc(some, func(r diffRR) bool {
		return !slices.ContainsFunc(all, func(o diffRR) bool { return o.equal(&r) })
	})
}

// diffFinding is an unexplained difference, kept.
type diffFinding struct {
	peer         string
	kind         string
	c            *diffCase
	q            diffQuery
	ours, theirs string
	rcodes       [2]uint8
}

func newFinding(p *diffPair) *diffFinding {
	return &diffFinding{
		peer: p.peer, kind: p.kind, c: p.c, q: p.q, ours: p.ours.String(), theirs: p.theirs.String(), rcodes: [2]uint8{p.ours.rcode, p.theirs.rcode},
	}
}

// signature is what a difference keeps while its case is shrunk.
func (f *diffFinding) signature() string {
	return fmt.Sprintf("%s %s %s/%s", f.peer, f.kind, dns.RcodeToString[int(f.rcodes[0])], dns.RcodeToString[int(f.rcodes[1])])
}
