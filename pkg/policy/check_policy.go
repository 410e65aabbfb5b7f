package policy

import (
	"slices"

	"geodns/internal/source"
)

// What is checked here is certain from the files alone. Where a fault depends on which clients exist (an area of a map
// that only some clients of a rule could reach, say), it is reported only if such clients surely exist; the compiler,
// which knows all clients, finds the rest.

// families is a set of address families.
type families uint8

const (
	family4 families = 1 << iota
	family6
)

// String gives the set in an operator's words.
func (f families) String() string {
	switch f {
	case family4:
		return "IPv4 addresses alone"
	case family6:
		return "IPv6 addresses alone"
	case family4 | family6:
		return "IPv4 and IPv6 addresses"
	}
	return "a host name"
}

// families are those of a target's addresses; none for a host name.
func (t *Target) families() families {
	var f families
	if len(t.V4) > 0 {
		f |= family4
	}
	if len(t.V6) > 0 {
		f |= family6
	}
	return f
}

// chain is a pool with all its fallbacks: the targets that a plan may hold, summed up by region.
type chain struct {
	sound   bool // nothing in it is broken
	regions []*Region
	offers  map[*Region]families           // of all the region's targets together
	first   [family4 | family6 + 1]*Target // the first target of each set of families; first[0] has a host name
}

// chainOf sums up a pool and its fallbacks.
func (j *joiner) chainOf(p *Pool) *chain {
	if c := j.chains[p]; c != nil {
		return c
	}
	c := &chain{sound: true, offers: map[*Region]families{}}
	for at := p; at != nil; at = at.Fallback {
		if at.broken {
			c.sound = false
			break
		}
		for _, t := range at.Targets {
			if t.Region.broken {
				c.sound = false
			}
			f, seen := c.offers[t.Region]
			if !seen {
				c.regions = append(c.regions, t.Region)
			}
			c.offers[t.Region] = f | t.families()
			if c.first[t.families()] == nil {
				c.first[t.families()] = t
			}
		}
	}
	j.chains[p] = c
	return c
}

// sound says whether nothing is broken in a policy and all that it refers to.
func (j *joiner) sound(p *Policy) bool {
	if p.broken || len(p.Rules) == 0 {
		return false
	}
	for _, r := range p.Rules {
		if r.broken || !j.chainOf(r.Pool).sound {
			return false
		}
		if m := r.rankMap(); m != nil {
			if m.broken {
				return false
			}
			for _, o := range m.orders() {
				if slices.ContainsFunc(o.Regions, func(r *Region) bool { return r.broken }) {
					return false
				}
			}
		}
	}
	return true
}

// checkPolicy checks one policy whose parts are all sound by themselves.
func (j *joiner) checkPolicy(p *Policy) {
	last := p.Rules[len(p.Rules)-1]
	if !last.MatchesAll() {
		j.fs.Errorf(last.Place, "the last rule must match every client, but %q has conditions; "+
			"add a rule behind it without geos, subnets and asns", last.Name)
	}
	conds := make([]*conditions, len(p.Rules))
	var all families
	for i, r := range p.Rules {
		conds[i] = newConditions(r)
		all |= j.chainOf(r.Pool).plan(r, nil)
	}
	j.covered(conds)
	j.fences(p)
	j.kinds(p)
	for i, r := range p.Rules {
		j.located(p, r)
		j.planned(p, conds[:i+1], all)
	}
}

// fences checks that in a policy with a fence nothing is left open by oversight.
func (j *joiner) fences(p *Policy) {
	i := slices.IndexFunc(p.Rules, (*Rule).Fenced)
	if i < 0 {
		return
	}
	fenced, unknown := p.Rules[i], false
	for _, r := range p.Rules {
		if !r.FenceSet {
			j.fs.Errorf(r.Place, "rule %q does not say what its fence is, but rule %q has one: write fence: none, or a list of jurisdictions",
				r.Name, fenced.Name)
		}
		unknown = unknown || r.Unknown && len(r.Geos) == 0 && len(r.Subnets) == 0 && len(r.ASNs) == 0
	}
	if !unknown {
		j.fs.Errorf(p.Place, "policy %q has a fence (rule %q), but no rule for clients that no database places: "+
			"add one with geos: [unknown] alone", p.Name, fenced.Name)
	}
}

// kinds checks that a policy's targets are all host names, or have all the same address families.
func (j *joiner) kinds(p *Policy) {
	var first [family4 | family6 + 1]*Target
	var at [family4 | family6 + 1]source.Place
	var order []families // in the order of the rules
	for _, r := range p.Rules {
		c := j.chainOf(r.Pool)
		for f, t := range c.first {
			if t != nil && first[f] == nil {
				first[f], at[f] = t, r.pool.place
				order = append(order, families(f))
			}
		}
	}
	a := first[order[0]]
	for _, f := range order[1:] {
		b := first[f]
		switch {
		case f == 0 || order[0] == 0:
			j.fs.Errorf(at[f], "policy %q mixes host names and addresses: target %q has %s, target %q has %s; "+
				"all its targets, fallbacks included, must be of one kind", p.Name, a.ID, a.families(), b.ID, b.families())
			return
		case !p.FamiliesSeparate:
			j.fs.Errorf(at[f], "policy %q has targets of different address families: target %q has %s, target %q has %s; "+
				"give them the same, or say families: separate", p.Name, a.ID, a.families(), b.ID, b.families())
			return
		}
	}
	j.hostNames(p, order[0] == 0)
}

// hostNames checks the keys that depend on whether targets are host names.
func (j *joiner) hostNames(p *Policy, hosts bool) {
	switch {
	case !hosts && p.Flatten:
		j.fs.Errorf(p.flattenPlace, "flatten turns host names into addresses, and the targets of policy %q have addresses; leave it out", p.Name)
	case hosts && !p.Flatten && p.Answers > 1:
		j.fs.Errorf(p.answersPlace, "answers %d: a name has one CNAME at most, so a policy whose targets are host names gives 1", p.Answers)
	case hosts && !p.Flatten && p.FamiliesSeparate:
		j.fs.Warnf(p.familiesPlace, "families says nothing where targets are host names")
	}
}

// located checks that `nearest` knows where the regions are that it compares. Those that the fence or the map leaves out
// need no location.
func (j *joiner) located(p *Policy, r *Rule) {
	i := slices.IndexFunc(r.Rank, func(k Ranker) bool { return k.Kind == RankNearest })
	if i < 0 {
		return
	}
	for _, region := range j.chainOf(r.Pool).regions {
		if region.HasLocation || j.unlocated[region] || !r.permits(region) {
			continue
		}
		if m := r.rankMap(); m != nil && !slices.ContainsFunc(m.orders(), func(o *Order) bool { return o.uses(region) }) {
			continue
		}
		j.unlocated[region] = true
		j.fs.Errorf(region.Place, "region %q has no location, which nearest needs in rule %q of policy %q (%s); add location: [latitude, longitude]",
			region.Name, r.Name, p.Name, r.Rank[i].Place)
	}
}

// permits says whether a rule's fence, if it has one, lets a region's targets through.
func (r *Rule) permits(g *Region) bool { return !r.Fenced() || g.Meets(r.Fence) }

// uses says whether an order has a place for a region.
func (o *Order) uses(r *Region) bool { return o.Star >= 0 || slices.Contains(o.Regions, r) }

// deadKey is what a fault of a map's order depends on: one that many rules share is reported once.
type deadKey struct {
	order *Order
	pool  *Pool
	fence string
}

// planned checks that the plans of a policy's rule, the last one of conds, hold targets, and such of every family that
// the name has.
func (j *joiner) planned(p *Policy, conds []*conditions, all families) {
	r := conds[len(conds)-1].rule
	c := j.chainOf(r.Pool)
	if !slices.ContainsFunc(c.regions, r.permits) {
		j.fs.Errorf(r.fencePlace, "no target of pool %q or its fallbacks is in a region of %s: the fence leaves rule %q nothing to answer with",
			r.Pool.Name, quoted(r.Fence), r.Name)
		return
	}
	m := r.rankMap()
	if m == nil {
		if f := c.plan(r, nil); p.FamiliesSeparate && f != all {
			j.fs.Errorf(r.Place, "rule %q of policy %q has targets with %s, but the policy as a whole offers %s: a name offers every client the same types",
				r.Name, p.Name, f, all)
		}
		return
	}
	reach := newReach(conds[len(conds)-1], conds[:len(conds)-1], m)
	for k := range m.Areas {
		if a := &m.Areas[k]; reach.area(a) {
			j.plannedOrder(p, r, &a.Order, a.Place, "area "+a.name(), all)
		}
	}
	for k := range m.Subnets {
		if s := &m.Subnets[k]; reach.subnet(s.Prefix) {
			j.plannedOrder(p, r, &s.Order, s.Place, "subnet "+s.Prefix.String(), all)
		}
	}
}

// plannedOrder checks the plan of a rule for the clients of one order of its map.
func (j *joiner) plannedOrder(p *Policy, r *Rule, o *Order, at source.Place, what string, all families) {
	c := j.chainOf(r.Pool)
	used := slices.ContainsFunc(c.regions, o.uses)
	open := slices.ContainsFunc(c.regions, func(g *Region) bool { return o.uses(g) && r.permits(g) })
	f := c.plan(r, o)
	if open && (f == all || !p.FamiliesSeparate) {
		return
	}
	key := deadKey{o, r.Pool, quoted(r.Fence)}
	if j.dead[key] {
		return
	}
	j.dead[key] = true
	switch {
	case !used:
		j.fs.Errorf(at, "%s leads to no target: pool %q, which rule %q of policy %q ranks by this map, has none in these regions, nor have its fallbacks",
			what, r.Pool.Name, r.Name, p.Name)
	case !open:
		j.fs.Errorf(at, "%s leads to no target: the fence %s of rule %q of policy %q takes all of these regions out", what, quoted(r.Fence), r.Name, p.Name)
	default:
		j.fs.Errorf(at, "%s leads rule %q of policy %q to targets with %s, but the policy as a whole offers %s: a name offers every client the same types",
			what, r.Name, p.Name, f, all)
	}
}

// plan is what the targets offer that a rule's fence, and an order if there is one, leave of a chain.
func (c *chain) plan(r *Rule, o *Order) families {
	var f families
	for _, g := range c.regions {
		if (o == nil || o.uses(g)) && r.permits(g) {
			f |= c.offers[g]
		}
	}
	return f
}

// name is the area as the file has it.
func (a *Area) name() string {
	if a.Default {
		return "default"
	}
	return a.Code.String()
}
