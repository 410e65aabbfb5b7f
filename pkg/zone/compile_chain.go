package zone

import (
	"slices"

	"github.com/miekg/dns"
)

// cname compiles the answers of a name with a CNAME: one for CNAME itself, one for every type at the end of its chain, and
// a default for all other types, whose rcode is that of the chain's last name (RFC 6604 section 3).
func (c *compiler) cname(z *zoneData, id uint32) {
	name := z.tree.name(id)
	z.sets(id, func(typ uint16, set rrset) bool { // what DNSSEC lets stand beside a CNAME, too
		c.set(z, name, typ, set)
		return true
	})
	ch := z.follow(id)
	links := func() {
		c.enc.begin(name, !isWildcard(name))
		for _, l := range ch.links {
			c.enc.record(sectionAnswer, l)
		}
	}
	put := func(typ uint16) {
		if !c.enc.fits() {
			c.tooBig(z, z.first(z.set(id, dns.TypeCNAME)))
			return
		}
		c.setEntry(typ, c.piece())
	}
	switch ch.end {
	case endStop:
		links()
	case endOverflow:
		links()
		c.enc.rcode = dns.RcodeYXDomain
	case endNothing:
		links()
		c.authority(z)
		c.enc.rcode = dns.RcodeNameError
	case endReferral:
		c.chainReferral(z, &ch, links, put)
	case endName:
		c.chainName(z, &ch, links, put)
	}
	put(typeRest)
}

// chainReferral compiles a chain that leaves the zone through a cut, and leaves the default in the encoder. DS at the cut
// itself is still this zone's to answer.
func (c *compiler) chainReferral(z *zoneData, ch *chain, links func(), put func(uint16)) {
	cut := z.tree.name(ch.id)
	if len(ch.name) == len(cut) {
		links()
		if set := z.set(ch.id, dns.TypeDS); set != nil {
			c.answers(z, ch.name, set)
		} else {
			c.authority(z)
		}
		put(dns.TypeDS)
	}
	links()
	c.delegation(z, ch.id)
}

// chainName compiles a chain that ends at a name of the zone, and leaves the default in the encoder: NODATA, or the mark of
// a steered name. What DNSSEC put beside the first CNAME is not written over.
func (c *compiler) chainName(z *zoneData, ch *chain, links func(), put func(uint16)) {
	z.sets(ch.id, func(typ uint16, set rrset) bool {
		known := slices.ContainsFunc(c.entries, func(e entry) bool { return e.typ == typ })
		if typ != typeSTEER && !known {
			links()
			if typ != dns.TypeDNAME || !slices.Contains(ch.dnames, ch.id) { // else it is there already
				c.answers(z, ch.name, set)
			}
			put(typ)
		}
		return true
	})
	nodata := func() {
		links()
		c.authority(z)
	}
	if z.flags[ch.id]&flagSteer == 0 {
		nodata()
		return
	}
	nodata()
	put(typeSTEER)
	links()
	if _, ok := c.enc.recall(ch.name); ok {
		c.enc.steer = c.steer(z, ch.id, ch.name)
	}
}
