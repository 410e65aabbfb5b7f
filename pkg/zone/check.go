package zone

import (
	"bytes"

	"github.com/miekg/dns"

	"geodns/internal/source"
)

// What the parser does not check. An error is what named-checkzone or nsd-checkzone refuses, a warning what both let
// pass; TestStrictness holds the two against each other.

// check checks one zone by itself. index has run.
func (z *zoneData) check() {
	z.checkApex()
	glue := z.targets(dns.TypeNS)
	for id := range uint32(z.tree.len()) {
		z.checkName(id)
		z.checkHidden(id, glue)
		z.sets(id, func(typ uint16, set rrset) bool {
			z.checkHostNames(id, typ, set)
			z.checkSet(id, typ, set)
			return true
		})
	}
}

// checkSet checks one RRset for what its type asks.
func (z *zoneData) checkSet(id uint32, typ uint16, set rrset) {
	switch typ {
	case dns.TypeNS:
		z.checkNS(id, set)
	case dns.TypeMX:
		z.checkNullMX(set)
		z.checkHosts(typ, set)
	case dns.TypeSRV:
		z.checkHosts(typ, set)
	case dns.TypeCNAME:
		z.checkCNAME(set)
	case dns.TypeSPF:
		z.checkSPF(id)
	case dns.TypeTXT:
		if len(set) > 1 && z.set(id, dns.TypeSPF) == nil {
			z.checkSPF(id)
		}
	case dns.TypeNSEC3, dns.TypeDS, dns.TypeCDS, dns.TypeCDNSKEY:
		z.checkSigned(id, typ, set)
	}
}

// checkApex wants one SOA and at least one NS at the apex, and no SOA elsewhere (RFC 1035 section 5.2).
func (z *zoneData) checkApex() {
	at := source.WholeFile(z.file)
	if soa := z.set(0, dns.TypeSOA); soa == nil {
		if !z.partial {
			z.errorf(at, "zone %s has no SOA record at its apex", z.text)
		}
	} else {
		at = z.place(z.first(soa))
		if len(soa) > 1 {
			z.errorf(z.place(&z.recs[soa[1]]), "zone %s has two SOA records; there is one to a zone", z.text)
		}
	}
	if z.set(0, dns.TypeNS) == nil && !z.partial {
		z.errorf(at, "zone %s has no NS record at its apex", z.text)
	}
	if sig := z.set(0, dns.TypeRRSIG); sig != nil {
		z.warnf(z.place(z.first(sig)), "zone %s is signed, but answers carry no signatures; resolvers that validate will refuse them", z.text)
	}
	if ds := z.set(0, dns.TypeDS); ds != nil {
		z.errorf(z.place(z.first(ds)), "DS records of %s belong into its parent zone, which is the one that is asked for them", z.text)
	}
}

// checkName checks what may stand together at one name.
func (z *zoneData) checkName(id uint32) {
	name := z.tree.name(id)
	var types []uint16
	z.sets(id, func(typ uint16, set rrset) bool {
		types = append(types, typ)
		second := &z.recs[set[min(1, len(set)-1)]]
		switch {
		case typ == dns.TypeSOA && id != 0:
			z.errorf(z.place(second), "SOA at %s, which is not the apex of zone %s", nameText(name), z.text)
		case (typ == dns.TypeCNAME || typ == dns.TypeDNAME || typ == typeSTEER) && len(set) > 1:
			z.errorf(z.place(second), "%s stands twice; a name has one at most", z.describe(second))
		case (typ == dns.TypeDNAME || typ == dns.TypeNS) && isWildcard(name):
			z.errorf(z.place(second), "%s: a wildcard may not have %s records (RFC 4592 section 4)", nameText(name), typeText(typ))
		}
		return true
	})
	if text := innerWildcard(name); text != "" && types != nil {
		z.warnf(z.place(&z.recs[z.order[z.start[id]]]), "%s", text)
	}
	z.checkBeside(id, types)
	if z.flags[id]&flagSteer != 0 {
		z.checkSteer(id, types)
	}
}

// checkBeside refuses data beside a CNAME (RFC 2181 section 10.1), but for DNSSEC's (RFC 4035 section 2.5), and warns of NS
// beside a DNAME below the apex (RFC 6672 section 2.3).
func (z *zoneData) checkBeside(id uint32, types []uint16) {
	if z.flags[id]&flagCNAME != 0 {
		for _, t := range types {
			switch t {
			case dns.TypeCNAME, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeKEY, dns.TypeSIG, dns.TypeNXT, typeSTEER:
				continue
			}
			r := z.first(z.set(id, t))
			z.errorf(z.place(r), "%s stands beside a CNAME; a name with a CNAME has nothing else", z.describe(r))
			break
		}
	}
	if z.flags[id]&(flagCut|flagDNAME) == flagCut|flagDNAME {
		r := z.first(z.set(id, dns.TypeDNAME))
		z.warnf(z.place(r), "%s stands beside NS records; the name is delegated and the DNAME never used", z.describe(r))
	}
}

// checkHidden looks for data that a cut or a DNAME above hides. Below a DNAME none may be (RFC 6672 section 2.4); below a
// cut only glue belongs.
func (z *zoneData) checkHidden(id uint32, glue map[uint32]struct{}) {
	if !z.occluded(id) || z.start[id] == z.start[id+1] {
		return
	}
	r := &z.recs[z.order[z.start[id]]]
	cover := nameText(z.tree.name(z.cover[id]))
	if z.flags[id]&flagBelowDNAME != 0 {
		z.errorf(z.place(r), "%s is below the DNAME at %s, where no names may be", z.describe(r), cover)
		return
	}
	if _, isGlue := glue[id]; !isGlue {
		z.warnf(z.place(r), "%s is below the delegation of %s and no NS names it; it is never answered", z.describe(r), cover)
		return
	}
	z.sets(id, func(typ uint16, set rrset) bool {
		if typ != dns.TypeA && typ != dns.TypeAAAA && typ != typeSTEER {
			r := z.first(set)
			z.warnf(z.place(r), "%s is below the delegation of %s; only addresses are used as glue", z.describe(r), cover)
		}
		return true
	})
}

// targets gives the ids of all names in the zone that records of a type point at.
func (z *zoneData) targets(typ uint16) map[uint32]struct{} {
	ids := map[uint32]struct{}{}
	for i := range z.recs {
		if r := &z.recs[i]; r.typ == typ {
			host := folded(target(typ, z.data(r)))
			if within(host, z.origin) {
				if id := z.tree.find(host); id != none {
					ids[id] = struct{}{}
				}
			}
		}
	}
	return ids
}

// folded gives a folded copy of a name.
func folded(name []byte) []byte {
	name = bytes.Clone(name)
	fold(name)
	return name
}

// hasAddress says whether a name has addresses, static or steered.
func (z *zoneData) hasAddress(id uint32) bool {
	return z.flags[id]&flagSteer != 0 || z.set(id, dns.TypeA) != nil || z.set(id, dns.TypeAAAA) != nil
}

// checkNS checks the hosts of an NS set: no CNAME (RFC 2181 section 10.3), addresses where the zone must have them. At a cut it
// is the child that suffers, so that they are warnings.
func (z *zoneData) checkNS(owner uint32, set rrset) {
	note := z.errorf
	if owner != 0 {
		note = z.warnf
	}
	for _, i := range set {
		r := &z.recs[i]
		host := folded(target(r.typ, z.data(r)))
		if !within(host, z.origin) || z.occluded(owner) {
			continue
		}
		id, kind := z.lookup(host)
		switch kind {
		case hitExact, hitWildcard:
			if z.flags[id]&flagCNAME != 0 {
				note(z.place(r), "%s %s is a CNAME; an NS names a host with addresses", z.describe(r), nameText(host))
			} else if !z.hasAddress(id) {
				z.noAddress(r, host, note)
			}
		case hitNothing:
			z.noAddress(r, host, note)
		case hitDNAME:
			note(z.place(r), "%s %s is below the DNAME at %s; an NS names a host with addresses", z.describe(r), nameText(host), nameText(z.tree.name(id)))
		case hitCut:
			glue := z.tree.find(host)
			if glue != none && z.hasAddress(glue) || z.partial {
				continue
			}
			if id == owner {
				z.warnf(z.place(r), "%s %s has no glue: the delegation cannot be followed without its address", z.describe(r), nameText(host))
			} else {
				z.warnf(z.place(r), "%s %s is below the delegation of %s and has no glue", z.describe(r), nameText(host), nameText(z.tree.name(id)))
			}
		}
	}
}

// noAddress notes that a record names a host of this zone that has no addresses: an error for the zone's name servers, a warning
// for other hosts.
func (z *zoneData) noAddress(r *record, host []byte, note func(at source.Place, format string, a ...any)) {
	if z.partial {
		return
	}
	note(z.place(r), "%s %s has no A or AAAA record in this zone%s", z.describe(r), nameText(host), z.dotHint(host))
}

// dotHint says that a final dot is missing if a name ends with the zone's twice.
func (z *zoneData) dotHint(host []byte) string {
	doubled, ok := bytes.CutSuffix(host, z.origin)
	if ok && len(z.origin) > 1 && bytes.HasSuffix(doubled, z.origin[:len(z.origin)-1]) {
		return "; a final dot is missing"
	}
	return ""
}

// checkHosts checks the hosts of MX and SRV records: they should be no CNAMEs (RFC 2181 section 10.3, RFC 2782), and
// exist. The root as host means that there is none (RFC 7505).
func (z *zoneData) checkHosts(typ uint16, set rrset) {
	for _, i := range set {
		r := &z.recs[i]
		host := folded(target(typ, z.data(r)))
		if len(host) == 1 || !within(host, z.origin) || z.occluded(r.name) {
			continue
		}
		id, kind := z.lookup(host)
		switch {
		case kind == hitNothing, kind <= hitWildcard && z.flags[id]&flagCNAME == 0 && !z.hasAddress(id):
			z.noAddress(r, host, z.warnf)
		case kind <= hitWildcard && z.flags[id]&flagCNAME != 0:
			z.warnf(z.place(r), "%s %s is a CNAME; name the host itself", z.describe(r), nameText(host))
		case kind == hitDNAME:
			z.warnf(z.place(r), "%s %s is below the DNAME at %s; name the host itself", z.describe(r), nameText(host), nameText(z.tree.name(id)))
		}
	}
}

// checkCNAME warns of a CNAME whose target is in the zone and does not exist.
func (z *zoneData) checkCNAME(set rrset) {
	r := z.first(set)
	host := folded(target(r.typ, z.data(r)))
	if !within(host, z.origin) || z.occluded(r.name) || z.partial {
		return
	}
	if _, kind := z.lookup(host); kind == hitNothing && z.children == nil {
		z.warnf(z.place(r), "%s: its target %s does not exist%s", z.describe(r), nameText(host), z.dotHint(host))
	}
}
