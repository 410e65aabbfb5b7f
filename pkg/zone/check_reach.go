package zone

import (
	"github.com/miekg/dns"
)

// checkReach warns of a zone whose name servers all lack IPv4 addresses, or all IPv6 ones: every zone is to be reached over both
// (RFC 10001, BCP 91). Nothing is said unless every name server's addresses are in the zones that are loaded.
func (all *zones) checkReach(z *zoneData) {
	set := z.set(0, dns.TypeNS)
	ipv4, ipv6 := false, false
	for _, i := range set {
		r := &z.recs[i]
		v4, v6, known := all.addresses(folded(target(r.typ, z.data(r))))
		if !known {
			return
		}
		ipv4, ipv6 = ipv4 || v4, ipv6 || v6
	}
	lacks, typ := "IPv6", "AAAA"
	switch {
	case set == nil || ipv4 && ipv6:
		return
	case !ipv4:
		lacks, typ = "IPv4", "A"
	}
	z.warnf(z.place(z.first(set)), "zone %s cannot be reached over %s: none of its name servers has %s records (RFC 10001)", z.text, lacks, typ)
}

// addresses says which families of addresses a host has. They are not known if it is in none of the zones, in one that could not
// be read whole, delegated without glue, or not a host with addresses at all, which is found elsewhere.
func (all *zones) addresses(host []byte) (ipv4, ipv6, known bool) {
	z := all.find(host)
	if z == nil || z.partial {
		return false, false, false
	}
	id, kind := z.lookup(host)
	if kind == hitCut {
		id = z.tree.find(host)
		if id == none {
			return false, false, false
		}
	} else if kind > hitWildcard {
		return false, false, false
	}
	ipv4, ipv6 = z.set(id, dns.TypeA) != nil, z.set(id, dns.TypeAAAA) != nil
	return ipv4, ipv6, ipv4 || ipv6
}
