package policy_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"geodns/pkg/geo"
	"geodns/pkg/policy"
)

// client is one whom a rule may match.
type client struct {
	place geo.Place
	addr  netip.Addr
}

// everybody is a small world: each place at each address, so that whatever the files leave open does happen.
func everybody() []client {
	places := []geo.Place{{}}
	places = append(places, []geo.Place{
		{Continent: "EU"},
		{Continent: "EU", Country: "DE"},
		{Continent: "EU", Country: "DE", Subdivision: "BY"},
		{Continent: "EU", Country: "DE", Subdivision: "BE"},
		{Continent: "EU", Country: "FR"},
		{Continent: "NA"},
		{Continent: "NA", Country: "US"},
		{Continent: "NA", Country: "US", Subdivision: "CA"},
		{Continent: "NA", Country: "CA"},
		{Continent: "AS"},
		{Continent: "AF"},
		{Continent: "AN"},
		{Continent: "OC"},
		{Continent: "SA"},
	}...)
	var out []client
	for _, p := range places {
		for asn := range uint32(4) {
			p.ASN = asn
			for _, a := range []string{"192.0.2.1", "192.0.2.129", "192.0.3.1", "198.51.100.1", "2001:db8::1", "2001:db8:1::1", "2001:db9::1"} {
				out = append(out, client{p, netip.MustParseAddr(a)})
			}
		}
	}
	return out
}

// matches is the slow twin of everything that compares conditions: whether a rule matches a client.
func matches(r *policy.Rule, c client) bool {
	if len(r.Geos) > 0 || r.Unknown {
		hit := r.Unknown && !c.place.Placed()
		for _, g := range r.Geos {
			hit = hit || g.Matches(c.place)
		}
		if !hit {
			return false
		}
	}
	if len(r.Subnets) > 0 && !slices.ContainsFunc(r.Subnets, func(p netip.Prefix) bool { return p.Contains(c.addr) }) {
		return false
	}
	return len(r.ASNs) == 0 || slices.Contains(r.ASNs, c.place.ASN)
}

// area is the slow twin of a map: the area that a client is in.
func area(m *policy.Map, c client) *policy.Area {
	var best *policy.Area
	for i := range m.Areas {
		a := &m.Areas[i]
		if (a.Default || a.Code.Matches(c.place)) && (best == nil || best.Default || !a.Default && best.Code.Covers(a.Code)) {
			best = a
		}
	}
	return best
}

func someCodes(r *rand.Rand) []geo.Code {
	var out []geo.Code
	for _, s := range []string{"EU", "EU-DE", "EU-DE-BY", "EU-FR", "NA", "NA-US", "NA-US-CA", "AS", "AF"} {
		if r.IntN(3) == 0 {
			c, _ := geo.ParseCode(s)
			out = append(out, c)
		}
	}
	return out
}

func someRule(r *rand.Rand) *policy.Rule {
	rule := &policy.Rule{}
	if r.IntN(3) > 0 {
		rule.Geos, rule.Unknown = someCodes(r), r.IntN(3) == 0
	}
	if r.IntN(3) == 0 {
		for _, s := range []string{"192.0.2.0/24", "192.0.2.128/25", "192.0.2.0/23", "0.0.0.0/0", "198.51.100.0/24", "2001:db8::/32", "2001:db8:1::/48", "::/0"} {
			if r.IntN(3) == 0 {
				rule.Subnets = append(rule.Subnets, netip.MustParsePrefix(s))
			}
		}
	}
	if r.IntN(4) == 0 {
		for asn := uint32(1); asn < 4; asn++ {
			if r.IntN(2) == 0 {
				rule.ASNs = append(rule.ASNs, asn)
			}
		}
	}
	return rule
}

// TestCoversTwin: where one rule is said to cover another, no client of the small world matches the other alone; and of
// rules with geos or asns only, every such pair is found.
func TestCoversTwin(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	world := everybody()
	covered := 0
	for range 5000 {
		a, b := someRule(r), someRule(r)
		truth := true
		for _, c := range world {
			truth = truth && (!matches(b, c) || matches(a, c))
		}
		switch got := a.Covers(b); {
		case got && !truth:
			t.Fatalf("%+v is said to cover %+v", a, b)
		case got:
			covered++
		case truth && len(a.Subnets) == 0 && len(a.Geos) < 4 && len(a.ASNs) < 3:
			t.Fatalf("%+v covers %+v, and that is missed", a, b)
		}
	}
	if covered < 100 {
		t.Errorf("only %d pairs cover", covered)
	}
}

// TestReachTwin: where a rule is said to have clients in an area or subnet of a map, the small world has one. Subnets that
// hold everything are left out: that they take all clients by address is for the compiler to find.
func TestReachTwin(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	world := everybody()
	reached := 0
	for range 3000 {
		p := &policy.Policy{}
		for range 1 + r.IntN(3) {
			rule := someRule(r)
			rule.Subnets = slices.DeleteFunc(rule.Subnets, func(p netip.Prefix) bool { return p.Bits() == 0 })
			p.Rules = append(p.Rules, rule)
		}
		m := &policy.Map{Areas: []policy.Area{{Default: true}}}
		for _, c := range someCodes(r) {
			m.Areas = append(m.Areas, policy.Area{Code: c})
		}
		i := len(p.Rules) - 1
		for k := range m.Areas {
			a := &m.Areas[k]
			if !p.ReachesArea(i, m, a) {
				continue
			}
			reached++
			if !slices.ContainsFunc(world, func(c client) bool { return first(p, c) == i && area(m, c) == a }) {
				t.Fatalf("rule %d of %+v is said to reach area %+v of %+v", i, p.Rules, a, m)
			}
		}
		for _, s := range []string{"192.0.2.0/24", "192.0.2.128/25", "2001:db8:1::/48"} {
			pre := netip.MustParsePrefix(s)
			if p.ReachesSubnet(i, m, pre) && !slices.ContainsFunc(world, func(c client) bool { return first(p, c) == i && pre.Contains(c.addr) }) {
				t.Fatalf("rule %d of %+v is said to reach subnet %s", i, p.Rules, s)
			}
		}
	}
	if reached < 500 {
		t.Errorf("only %d areas are reached", reached)
	}
}

// first is the number of the first rule that matches a client, -1 if none does.
func first(p *policy.Policy, c client) int {
	return slices.IndexFunc(p.Rules, func(r *policy.Rule) bool { return matches(r, c) })
}
