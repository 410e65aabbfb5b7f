package zone

import (
	"slices"

	"github.com/miekg/dns"
)

// endKind is what a chain of CNAMEs and DNAMEs comes to.
type endKind uint8

const (
	endStop     endKind = iota // a loop, too many links, or a name that this zone does not answer for
	endName                    // a name of the zone, which may be without data
	endNothing                 // a name that does not exist
	endReferral                // a name at or below a cut
	endOverflow                // a DNAME makes a name that is too long (RFC 6672 section 2.2)
)

// chain is the links from a name with a CNAME and where they lead, followed within the zone only.
type chain struct {
	links []rr
	end   endKind
	id    uint32 // endName: whose data; endReferral: the cut
	name  []byte // endName: the name that was asked for, which a wildcard may have answered; folded

	dnames []uint32 // used so far
}

// follow gives the chain from a name that has a CNAME. The owner of its first link is the question's name (RFC 1034
// section 4.3.2 step 3a).
func (z *zoneData) follow(id uint32) chain {
	c := chain{end: endName, id: id}
	var owner []byte          // of the next link; nil: the question's name
	seen := map[string]bool{} // by name: a wildcard may stand for several of the chain
	if first := z.tree.name(id); !isWildcard(first) {
		seen[string(first)] = true
	}
	for c.end == endName && z.flags[c.id]&flagCNAME != 0 {
		if owner != nil && seen[string(c.name)] || len(c.links) >= chainMax {
			c.end = endStop
			return c
		}
		seen[string(c.name)] = true
		r := z.first(z.set(c.id, dns.TypeCNAME))
		c.links = append(c.links, rr{owner, r.typ, r.ttl, z.data(r)})
		owner = target(r.typ, z.data(r))
		owner = z.step(&c, owner)
	}
	return c
}

// step finds what stands for the target of a link, through DNAMEs too, each of which adds itself and the CNAME that it
// makes; one that comes again is a loop. It gives the name reached, and sets the chain's end.
func (z *zoneData) step(c *chain, name []byte) []byte {
	for {
		c.name = folded(name)
		if !within(c.name, z.origin) {
			c.end = endStop
			return name
		}
		id, kind := z.lookup(c.name)
		if closest, _ := z.tree.closest(c.name); !z.owns(closest) {
			c.end = endStop
			return name
		}
		c.id = id
		switch kind {
		case hitExact, hitWildcard:
			c.end = endName
			return name
		case hitNothing:
			c.end = endNothing
			return name
		case hitCut:
			c.end = endReferral
			return name
		case hitDNAME:
		}
		if len(c.links) >= chainMax || slices.Contains(c.dnames, id) {
			c.end = endStop
			return name
		}
		c.dnames = append(c.dnames, id)
		r := z.first(z.set(id, dns.TypeDNAME))
		c.links = append(c.links, rr{z.tree.name(id), r.typ, r.ttl, z.data(r)})
		prefix := len(name) - len(z.tree.name(id))
		made := append(name[:prefix:prefix], z.data(r)...)
		if len(made) > nameMax {
			c.end = endOverflow
			return name
		}
		c.links = append(c.links, rr{name, dns.TypeCNAME, r.ttl, made})
		name = made
	}
}
