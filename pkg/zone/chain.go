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

	hops int // CNAMEs among links
	// seen is whose they are: a wildcard's is used once, whatever names it stands for, as each of them may be the question's;
	// it leads to the same name again, and is a loop.
	seen   map[string]bool
	dnames []uint32 // whose DNAME is among links
}

// follow gives the chain from a name that has a CNAME. The owner of its first link is the question's name (RFC 1034
// section 4.3.2 step 3a), which is not known here if the name is a wildcard.
func (z *zoneData) follow(id uint32) chain {
	c := chain{end: endName, id: id, seen: map[string]bool{}}
	if first := z.tree.name(id); !isWildcard(first) {
		c.name = first
	}
	var owner []byte // of the next link; nil: the question's name
	for c.end == endName && z.flags[c.id]&flagCNAME != 0 {
		r := z.first(z.set(c.id, dns.TypeCNAME))
		if !c.link(z.tree.name(c.id), rr{owner, r.typ, r.ttl, z.data(r)}) {
			break
		}
		owner = z.step(&c, target(r.typ, z.data(r)))
	}
	return c
}

// link appends a CNAME, and notes whose it is. It is false if the chain ends before: it is too long, or a loop.
func (c *chain) link(whose []byte, r rr) bool {
	if c.hops >= chainMax || c.seen[string(whose)] {
		c.end = endStop
		return false
	}
	c.seen[string(whose)] = true
	c.hops++
	c.links = append(c.links, r)
	return true
}

// step finds what stands for the target of a link, through DNAMEs too, each of which adds itself, once, and the CNAME that it
// makes. It gives the name reached, and sets the chain's end.
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
		made, ok := z.redirect(c, name)
		if !ok {
			return name
		}
		name = made
	}
}

// redirect applies the DNAME at c.id to a name below it, and gives the name that it makes, or false at the chain's end.
func (z *zoneData) redirect(c *chain, name []byte) ([]byte, bool) {
	if c.hops >= chainMax || c.seen[string(c.name)] {
		c.end = endStop
		return nil, false
	}
	r := z.first(z.set(c.id, dns.TypeDNAME))
	switch again := slices.Contains(c.dnames, c.id); {
	case again && within(folded(z.data(r)), z.tree.name(c.id)): // each name that it makes is below it, too, and longer
		c.end = endStop
		return nil, false
	case !again:
		c.dnames = append(c.dnames, c.id)
		c.links = append(c.links, rr{z.tree.name(c.id), r.typ, r.ttl, z.data(r)})
	}
	prefix := len(name) - len(z.tree.name(c.id))
	made := append(name[:prefix:prefix], z.data(r)...)
	if len(made) > nameMax {
		c.end = endOverflow
		return nil, false
	}
	return made, c.link(c.name, rr{name, dns.TypeCNAME, r.ttl, made})
}
