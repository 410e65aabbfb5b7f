package policy

import (
	"net/netip"

	"geodns/pkg/geo"
)

// codeSet is geo codes, to be asked what covers a code. As a code's country stands behind its own continent, a code is
// covered by itself, its country or its continent, and by nothing else.
type codeSet map[geo.Code]bool

func newCodeSet(codes []geo.Code) codeSet {
	s := make(codeSet, len(codes))
	for _, c := range codes {
		s[c] = true
	}
	return s
}

// widerThan gives a code of the set that covers c and is not c.
func (s codeSet) widerThan(c geo.Code) (geo.Code, bool) {
	if wide := (geo.Code{Continent: c.Continent}); wide != c && s[wide] {
		return wide, true
	}
	if wide := (geo.Code{Continent: c.Continent, Country: c.Country}); wide != c && s[wide] {
		return wide, true
	}
	return geo.Code{}, false
}

// covers says whether one code of the set covers c.
func (s codeSet) covers(c geo.Code) bool {
	_, wider := s.widerThan(c)
	return wider || s[c]
}

// narrowest gives the code of the set that covers c and covers least else.
func (s codeSet) narrowest(c geo.Code) (geo.Code, bool) {
	if s[c] {
		return c, true
	}
	if wide := (geo.Code{Continent: c.Continent, Country: c.Country}); s[wide] {
		return wide, true
	}
	wide := geo.Code{Continent: c.Continent}
	return wide, s[wide]
}

// conditions are a rule's, indexed for comparing it with many others.
type conditions struct {
	rule     *Rule
	geos     codeSet
	subnets  map[netip.Prefix]bool
	asns     map[uint32]bool
	bits     [2][]int // lengths of IPv4 and IPv6 subnets
	hasGeos  bool
	geosOnly bool // no subnets and no asns
}

func newConditions(r *Rule) *conditions {
	c := &conditions{
		rule: r, geos: newCodeSet(r.Geos), subnets: map[netip.Prefix]bool{}, asns: map[uint32]bool{},
		hasGeos: r.hasGeos(), geosOnly: len(r.Subnets) == 0 && len(r.ASNs) == 0,
	}
	seen := map[[2]int]bool{}
	for _, p := range r.Subnets {
		c.subnets[p] = true
		f := familyIndex(p)
		if !seen[[2]int{f, p.Bits()}] {
			seen[[2]int{f, p.Bits()}] = true
			c.bits[f] = append(c.bits[f], p.Bits())
		}
	}
	for _, a := range r.ASNs {
		c.asns[a] = true
	}
	return c
}

// familyIndex is 0 for IPv4 and 1 for IPv6.
func familyIndex(p netip.Prefix) int {
	if p.Addr().Is4() {
		return 0
	}
	return 1
}

// covers says whether every client that r matches also matches these conditions. It may miss such a case (subnets that
// only together cover another's) but never claims one that is none.
func (c *conditions) covers(r *Rule) bool {
	return c.coversGeos(r) && c.coversSubnets(r) && c.coversASNs(r)
}

func (c *conditions) coversGeos(r *Rule) bool {
	if !c.hasGeos {
		return true
	}
	if !r.hasGeos() || r.Unknown && !c.rule.Unknown {
		return false
	}
	for _, g := range r.Geos {
		if !c.geos.covers(g) {
			return false
		}
	}
	return true
}

func (c *conditions) coversSubnets(r *Rule) bool {
	if len(c.subnets) == 0 {
		return true
	}
	if len(r.Subnets) == 0 {
		return false
	}
	for _, p := range r.Subnets {
		if !c.coversSubnet(p) {
			return false
		}
	}
	return true
}

// coversSubnet says whether one of the subnets contains p.
func (c *conditions) coversSubnet(p netip.Prefix) bool {
	for _, n := range c.bits[familyIndex(p)] {
		if n <= p.Bits() && c.subnets[netip.PrefixFrom(p.Addr(), n).Masked()] {
			return true
		}
	}
	return false
}

func (c *conditions) coversASNs(r *Rule) bool {
	if len(c.asns) == 0 {
		return true
	}
	if len(r.ASNs) == 0 {
		return false
	}
	for _, a := range r.ASNs {
		if !c.asns[a] {
			return false
		}
	}
	return true
}

// covered reports rules that no client can reach because an earlier rule takes them all.
func (j *joiner) covered(conds []*conditions) {
	for i, c := range conds {
		for _, e := range conds[:i] {
			if e.covers(c.rule) {
				j.fs.Errorf(c.rule.Place, "rule %q never matches: rule %q, at %d:%d, stands before it and matches every client that it does",
					c.rule.Name, e.rule.Name, e.rule.Place.Line, e.rule.Place.Col)
				break
			}
		}
	}
}

// reach answers which orders of a map a rule's clients surely come to: those that the rule matches, no earlier rule takes,
// and no better area has.
type reach struct {
	rule    *conditions
	earlier []*conditions
	areas   codeSet
}

func newReach(r *conditions, earlier []*conditions, m *Map) *reach {
	x := &reach{rule: r, earlier: earlier, areas: codeSet{}}
	for _, a := range m.Areas {
		if !a.Default {
			x.areas[a.Code] = true
		}
	}
	return x
}

// area says whether clients surely exist that come to an area. Where a rule has subnets or asns, only the geo data knows
// where its clients are.
func (x *reach) area(a *Area) bool {
	if !x.rule.geosOnly {
		return false
	}
	geos := x.rule.rule.Geos
	if !x.rule.hasGeos {
		geos = allContinents()
	}
	if a.Default {
		return x.byDefault(geos)
	}
	for _, g := range geos {
		inner := a.Code // the lesser one of area and condition: the clients that are in both
		switch {
		case g.Covers(a.Code):
		case a.Code.Covers(g):
			inner = g
		default:
			continue
		}
		if best, ok := x.areas.narrowest(inner); ok && best == a.Code && !x.takenCode(inner) {
			return true
		}
	}
	return false
}

// byDefault says whether clients surely exist that come to a map's default: unknown ones, or those of a code that no area
// has.
func (x *reach) byDefault(geos []geo.Code) bool {
	unknown := x.rule.rule.Unknown || !x.rule.hasGeos
	if unknown && !x.taken(func(e *conditions) bool { return e.rule.Unknown }) {
		return true
	}
	for _, g := range geos {
		if !x.areas.covers(g) && !x.takenCode(g) {
			return true
		}
	}
	return false
}

// takenCode says whether an earlier rule takes all clients of a code.
func (x *reach) takenCode(g geo.Code) bool {
	return x.taken(func(e *conditions) bool { return e.geos.covers(g) })
}

// taken says whether an earlier rule takes clients by their place alone.
func (x *reach) taken(takes func(*conditions) bool) bool {
	for _, e := range x.earlier {
		if e.geosOnly && (!e.hasGeos || takes(e)) {
			return true
		}
	}
	return false
}

// subnet says whether the clients of a map's subnet surely come to it. Where a subnet is, only the geo data knows, so it
// is not sure as soon as geos or asns have a say.
func (x *reach) subnet(s netip.Prefix) bool {
	r := x.rule
	if r.hasGeos || len(r.asns) > 0 || len(r.subnets) > 0 && !r.coversSubnet(s) {
		return false
	}
	for _, e := range x.earlier {
		if e.hasGeos || len(e.asns) > 0 || len(e.subnets) == 0 || e.coversSubnet(s) {
			return false
		}
	}
	return true
}

// allContinents are the codes that together have every client but the unknown ones.
func allContinents() []geo.Code {
	names := []string{"AF", "AN", "AS", "EU", "NA", "OC", "SA"}
	out := make([]geo.Code, len(names))
	for i, n := range names {
		out[i] = geo.Code{Continent: n}
	}
	return out
}
