package zone

import (
	"github.com/miekg/dns"

	"geodns/internal/source"
)

// checkSteer checks a name that has STEER: it stands for the addresses there, so nothing that has its own idea of them
// may be beside it, and the name must be one that this zone answers for.
func (z *zoneData) checkSteer(id uint32, types []uint16) {
	r := z.first(z.set(id, typeSTEER))
	for _, t := range types {
		if t == dns.TypeA || t == dns.TypeAAAA || t == dns.TypeCNAME {
			z.errorf(z.place(r), "%s stands beside %s; it takes the place of addresses and CNAME", z.describe(r), typeText(t))
		}
	}
	switch f := z.flags[id]; {
	case f&flagCut != 0:
		z.errorf(z.place(r), "%s stands beside NS records; the name is delegated, its addresses are not this zone's", z.describe(r))
	case f&flagBelowCut != 0:
		z.errorf(z.place(r), "%s is below the delegation of %s; glue cannot be steered", z.describe(r), nameText(z.tree.name(z.cover[id])))
	case f&flagDNAME != 0:
		z.errorf(z.place(r), "%s stands beside a DNAME; a name is steered or redirected, not both", z.describe(r))
	}
}

// check checks what concerns more than one zone.
func (all *zones) check() {
	for _, z := range all.list {
		if z.parent != nil {
			all.checkChild(z)
		}
		all.checkReach(z)
		for i := range z.recs {
			switch r := &z.recs[i]; r.typ {
			case dns.TypeNS:
				all.checkSteeredNS(z, r)
			case dns.TypeHTTPS, dns.TypeSVCB:
				all.checkHints(z, r)
			case typeSTEER:
				if !z.owns(r.name) {
					owner := z.tree.name(r.name)
					z.errorf(z.place(r), "%s is in zone %s, which answers for it; write it in that zone's file", z.describe(r), all.find(owner).text)
				}
			}
		}
	}
}

// checkChild refuses a zone below a DNAME of the zone above it, loaded too, and warns of one that that zone does not delegate:
// resolvers that ask elsewhere do not find it.
func (all *zones) checkChild(z *zoneData) {
	up := z.parent
	id := up.tree.find(z.origin)
	switch f := up.flags[id]; {
	case f&flagBelowDNAME != 0:
		z.errorf(source.WholeFile(z.file), "zone %s is below the DNAME at %s of zone %s, where no names may be",
			z.text, nameText(up.tree.name(up.cover[id])), up.text)
	case f&(flagCut|flagBelowCut) == 0:
		z.warnf(source.WholeFile(z.file), "zone %s is not delegated: zone %s above it has no NS records there", z.text, up.text)
	}
}

// steered gives the name whose STEER answers for host, which a wildcard may hold, or nil.
func (all *zones) steered(host []byte) []byte {
	z := all.find(host)
	if z == nil {
		return nil
	}
	id, kind := z.lookup(host)
	if kind > hitWildcard || z.flags[id]&flagSteer == 0 {
		return nil
	}
	return z.tree.name(id)
}

// checkSteeredNS refuses a name server whose address is steered: it must be the same for everyone, or the delegation's
// glue and the zone disagree.
func (all *zones) checkSteeredNS(z *zoneData, r *record) {
	host := folded(target(r.typ, z.data(r)))
	if by := all.steered(host); by != nil {
		z.errorf(z.place(r), "%s %s is steered by STEER at %s; a name server has fixed addresses", z.describe(r), nameText(host), nameText(by))
	}
}

// checkHints refuses address hints at a steered name, in an HTTPS or SVCB record there or for it: clients would take them
// for what STEER decides.
func (all *zones) checkHints(z *zoneData, r *record) {
	host, params, _ := parseSVCB(z.data(r))
	hint := ""
	for _, p := range params {
		if p.key == svcIPv4Hint || p.key == svcIPv6Hint {
			hint = svcKeyText(p.key)
		}
	}
	if hint == "" {
		return
	}
	owner := z.tree.name(r.name)
	for _, name := range [][]byte{folded(host), owner} {
		if len(name) == 1 && len(owner) > 1 { // "." means the owner (RFC 9460 section 2.5.2)
			continue
		}
		if all.steered(name) != nil {
			z.errorf(z.place(r), "%s has %s for %s, which is steered; leave the hint out", z.describe(r), hint, nameText(name))
			return
		}
	}
}
