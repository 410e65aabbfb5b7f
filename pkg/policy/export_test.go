package policy

import (
	"net/netip"

	"geodns/pkg/steering"
)

// Covers is what the check for hidden rules goes by.
func (r *Rule) Covers(later *Rule) bool { return newConditions(r).covers(later) }

// ReachesArea is what the check of maps goes by: whether rule number i of a policy surely has clients in an area of m.
func (p *Policy) ReachesArea(i int, m *Map, a *Area) bool {
	x := p.reach(i, m)
	return x.area(a)
}

// ReachesSubnet is the same for a subnet of a map.
func (p *Policy) ReachesSubnet(i int, m *Map, s netip.Prefix) bool {
	x := p.reach(i, m)
	return x.subnet(s)
}

func (p *Policy) reach(i int, m *Map) *reach {
	var conds []*conditions
	for _, r := range p.Rules[:i+1] {
		conds = append(conds, newConditions(r))
	}
	return newReach(conds[i], conds[:i], m)
}

// Draws gives the targets that a question can be answered with over all draws, and the TTLs; no TTL is SERVFAIL.
func Draws(c *Compiled, s *steering.States, q *steering.Query) (targets []string, ttls []uint32, err error) {
	all, err := c.draws(s, q)
	for _, id := range all.targets {
		targets = append(targets, c.Targets[id].ID)
	}
	return targets, all.ttls, err
}

// NetworksIn are the networks that a test of a prefix asks for.
func NetworksIn(p netip.Prefix) []netip.Prefix { return networksIn(p) }

// NewSequences gives a function that numbers runs, and gives what it kept of each.
func NewSequences() func(run []uint16) (n uint32, kept []uint16, added bool) {
	var s sequences
	return func(run []uint16) (uint32, []uint16, bool) {
		n, added := s.number(run)
		return n, s.at(int(n)), added
	}
}
