package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"geodns/pkg/steering"
)

// ranked is tiers of a matcher's groups, with why each stands where it does if that is asked for. Rankers order groups and not targets, and in
// place: it is done for each place on Earth, and for each order that users measured.
type ranked struct {
	groups []uint16  // one tier behind the other, each ascending
	ends   []int     // by tier: where it ends
	why    []grounds // by tier; nil unless explaining
}

// reset leaves the room of what was ranked before.
func (p *ranked) reset() { p.groups, p.ends, p.why = p.groups[:0], p.ends[:0], nil }

// end makes a tier of so many more groups.
func (p *ranked) end(groups int) { p.ends = append(p.ends, p.size()+groups) }

// size is how many groups the tiers hold.
func (p *ranked) size() int {
	if len(p.ends) == 0 {
		return 0
	}
	return p.ends[len(p.ends)-1]
}

// tier gives one of the tiers.
func (p *ranked) tier(i int) []uint16 {
	if i == 0 {
		return p.groups[:p.ends[0]]
	}
	return p.groups[p.ends[i-1]:p.ends[i]]
}

// grounds are why a tier stands where it does, as a text and as what was measured.
type grounds struct {
	text     string
	measured []Measured
	trade    *Trade
}

// and adds a later ranker's.
func (g grounds) and(later grounds) grounds {
	return grounds{g.text + "; " + later.text, slices.Concat(g.measured, later.measured), cmp.Or(later.trade, g.trade)}
}

// ranking orders targets for one client under one rule, and for others after it, using its room again and again.
type ranking struct {
	l       *layout
	m       *matcher
	c       *client
	view    view     // of all regions, if the rule ranks by distance or latency
	led     []ranked // by pool, what lead gave; nil: each ranker is asked
	explain bool

	plan ranked // what comes of it

	pool    ranked // the pool at hand
	name    string // its, for explain
	room    []int
	values  []valued // of the tier at hand
	unknown []uint16
	left    []bool // by group: ranked, and in no tier of the plan yet
	flat    []uint16
}

// valued is a group and the number that it is ranked by.
type valued struct {
	v     float64
	group uint16
}

// rank finds the ordered tiers of a client under a rule.
func (l *layout) rank(rule int, c *client, explain bool) *ranking {
	r := &ranking{l: l, m: &l.matchers[rule], c: c, explain: explain}
	if r.m.distant {
		r.view = l.atlas.viewFrom(c, nil)
	}
	if len(r.m.latency) > 0 {
		r.view.latency = l.measured.of(c, nil)
	}
	r.rank()
	return r
}

// lead ranks by the rankers that look at nothing of the client but its map's order, by pool.
func (r *ranking) lead() (led []ranked) {
	r.led = nil
	for i := range r.m.pools {
		r.rankPool(i, r.m.rule.Rank[:r.m.lead])
		led = append(led, ranked{groups: slices.Clone(r.pool.groups), ends: slices.Clone(r.pool.ends)})
	}
	return led
}

// rank makes the plan: the rule's pool and its fallbacks ranked one behind the other, each tier followed by its regions' pairs, what the
// fence excludes left out, and the last tiers joined (design: section 5, steps 3 and 4).
func (r *ranking) rank() {
	r.plan.reset()
	for i := range r.m.pools {
		from := len(r.plan.ends)
		r.rankPool(i, r.m.rule.Rank)
		r.withPairs()
		if i > 0 && r.explain {
			for t := from; t < len(r.plan.ends); t++ {
				r.plan.why[t].text = "fallback " + r.plan.why[t].text
			}
		}
	}
	// As in any tier all are equally good, so in the last they stand in the order of the file; but a pool stays before its fallback.
	if n := steering.PlanTiersMax; len(r.plan.ends) > n+1 {
		slices.Sort(r.plan.groups[r.plan.ends[n-1]:])
		r.plan.ends = append(r.plan.ends[:n], len(r.plan.groups))
		if r.explain {
			r.plan.why = append(r.plan.why[:n:n], grounds{text: fmt.Sprintf("all behind the first %d tiers", n)})
		}
	}
}

// entries is the plan as one run of numbers: how many tiers there are, and for each its length and entries. The next call overwrites what
// this one gives.
func (r *ranking) entries() []uint16 {
	r.flat = append(r.flat[:0], uint16(len(r.plan.ends)))
	for i := range r.plan.ends {
		n := len(r.flat)
		r.flat = append(r.flat, 0)
		for _, g := range r.plan.tier(i) {
			r.flat = append(r.flat, r.m.groups[g].at...)
		}
		tier := r.flat[n+1:]
		slices.Sort(tier)
		r.flat[n] = uint16(len(tier))
		for j, at := range tier {
			tier[j] = r.m.entries[at]
		}
	}
	return r.flat
}

// rankPool orders the groups of one of the rule's pools by some rankers; those that lead are done where that is known.
func (r *ranking) rankPool(i int, rankers []Ranker) {
	p := r.m.pools[i]
	r.pool.reset()
	if p.from == p.to {
		return
	}
	if r.led != nil {
		r.pool.groups, r.pool.ends = append(r.pool.groups, r.led[i].groups...), append(r.pool.ends, r.led[i].ends...)
		rankers = rankers[r.m.lead:]
	} else {
		for g := p.from; g < p.to; g++ {
			r.pool.groups = append(r.pool.groups, uint16(g))
		}
		r.pool.end(p.to - p.from)
	}
	if r.explain {
		r.name = "pool " + r.l.slots[p.slot].Name
		r.pool.why = []grounds{{text: r.name}}
	}
	for _, k := range rankers {
		if k.Kind == RankMap {
			r.byMap()
		} else {
			r.apply(k)
		}
	}
}

// apply splits each tier by one ranker other than a map.
func (r *ranking) apply(k Ranker) {
	was := r.pool
	r.pool.ends, r.pool.why = r.room[:0], nil
	for i := range was.ends {
		for _, w := range r.split(k, was.tier(i)) {
			r.pool.why = append(r.pool.why, was.why[i].and(w))
		}
	}
	r.room = was.ends
}

// split orders the groups of one tier, ends the tiers that it makes of it, and gives grounds for each if explaining.
func (r *ranking) split(k Ranker, tier []uint16) []grounds {
	switch k.Kind {
	case RankNearest:
		if !r.view.known {
			return r.whole(tier, "nearest: the client's place is not known")
		}
		return r.byValue(tier, k.Band, " km", func(region *Region) float64 { return r.view.km[region.Index] },
			func(v float64) string { return fmt.Sprintf("nearest: %.0f km from %s", v, r.view.from) })
	case RankCost:
		return r.byCost(k, tier)
	case RankListed:
		return r.listed(tier)
	case RankLatency:
		return r.byLatency(k, tier)
	case RankMap:
	}
	return r.whole(tier, "")
}

// region is where a group is.
func (r *ranking) region(g uint16) *Region { return r.m.groups[g].region }

// whole leaves a tier as it is.
func (r *ranking) whole(tier []uint16, why string) []grounds {
	r.pool.end(len(tier))
	if !r.explain {
		return nil
	}
	return []grounds{{text: why}}
}

// listed makes each target a tier, in the file's order; it is a group of its own.
func (r *ranking) listed(tier []uint16) (why []grounds) {
	for i := range tier {
		r.pool.end(1)
		if r.explain {
			why = append(why, grounds{text: fmt.Sprintf("listed: place %d", i+1)})
		}
	}
	return why
}

// bandSlack makes numbers that are a band apart in decimals, such as costs of 0.7 and 0.8 for a band of 0.1, be so in
// binary, where each of the three and their sum are off by at most half of 2^-52.
const bandSlack = 1e-15

// withinBand says whether a number is so little above the best that both are of one tier.
func withinBand(best, v, band float64) bool { return v <= (best+band)*(1+bandSlack) }

// byValue orders a tier by a number.
func (r *ranking) byValue(tier []uint16, band float64, unit string, value func(*Region) float64, text func(float64) string) []grounds {
	r.values = r.values[:0]
	for _, g := range tier {
		r.values = append(r.values, valued{value(r.region(g)), g})
	}
	return r.byValues(tier, band, unit, text)
}

// byValues orders a tier by the numbers at hand, the least first: the best of what remains and all within band of it are one tier, and so on.
func (r *ranking) byValues(tier []uint16, band float64, unit string, text func(float64) string) (why []grounds) {
	vs := r.values
	slices.SortFunc(vs, func(a, b valued) int {
		switch { // none is NaN, which cmp.Compare looks for
		case a.v < b.v:
			return -1
		case a.v > b.v:
			return 1
		}
		return 0
	})
	for i := 0; i < len(vs); {
		first, best := i, vs[i].v
		for ; i < len(vs) && withinBand(best, vs[i].v, band); i++ {
			tier[i] = vs[i].group
		}
		slices.Sort(tier[first:i])
		r.pool.end(i - first)
		if r.explain {
			w := text(best)
			if vs[i-1].v > best {
				w += fmt.Sprintf(" and all within %g%s of it", band, unit)
			}
			why = append(why, grounds{text: w})
		}
	}
	return why
}

// byMap makes a tier of each region that the map lists for the client, and leaves out what it does not list.
func (r *ranking) byMap() {
	order, area := r.m.orderFor(r.c)
	listed := map[*Region]bool{}
	for _, region := range order.Regions {
		listed[region] = true
	}
	all := r.pool
	r.pool = ranked{}
	add := func(what string, in func(*Region) bool) {
		for _, g := range all.groups {
			if in(r.region(g)) {
				r.pool.groups = append(r.pool.groups, g)
			}
		}
		n := len(r.pool.groups) - r.pool.size()
		if n == 0 {
			return
		}
		r.pool.end(n)
		if r.explain {
			r.pool.why = append(r.pool.why, all.why[0].and(grounds{text: fmt.Sprintf("map %s, %s: %s", r.m.rule.rankMap().Name, area, what)}))
		}
	}
	for i := range len(order.Regions) + 1 {
		if i == order.Star {
			add("all other regions", func(region *Region) bool { return !listed[region] })
		}
		if i < len(order.Regions) {
			add(fmt.Sprintf("region %s, place %d", order.Regions[i].Name, i+1), func(region *Region) bool { return region == order.Regions[i] })
		}
	}
}

// withPairs adds the pool's tiers to the plan, and behind each one tier of its regions' pairs, taken out of the tiers behind it.
func (r *ranking) withPairs() {
	if len(r.left) < len(r.m.groups) { // none is left in between
		r.left = make([]bool, len(r.m.groups))
	}
	for _, g := range r.pool.groups {
		r.left[g] = true
	}
	for i := range r.pool.ends {
		tier := r.take(r.pool.tier(i))
		if len(tier) == 0 {
			continue
		}
		if r.explain {
			r.plan.why = append(r.plan.why, r.pool.why[i])
		}
		var room [32]uint16
		pairs := room[:0]
		for _, g := range tier {
			pairs = append(pairs, r.m.groups[g].pairs...)
		}
		slices.Sort(pairs)
		if len(r.take(pairs)) > 0 && r.explain {
			r.plan.why = append(r.plan.why, grounds{text: r.name + "; pair of " + strings.Join(r.regionNames(tier), ", ")})
		}
	}
}

// take makes a tier of the plan of those groups that are left.
func (r *ranking) take(groups []uint16) (tier []uint16) {
	from := len(r.plan.groups)
	for _, g := range groups {
		if r.left[g] {
			r.left[g] = false
			r.plan.groups = append(r.plan.groups, g)
		}
	}
	if tier = r.plan.groups[from:]; len(tier) > 0 {
		r.plan.end(len(tier))
	}
	return tier
}

// regionNames lists a tier's regions, each once.
func (r *ranking) regionNames(tier []uint16) (names []string) {
	for _, g := range tier {
		if n := r.region(g).Name; !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}
