package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"geodns/pkg/steering"
)

// ranked is a plan in the making: tiers of entries, with why each stands where it does if that is asked for.
type ranked struct {
	tiers [][]uint16
	why   []grounds // by tier; nil unless explaining
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

// ranking orders targets for one client under one rule.
type ranking struct {
	l       *layout
	m       *matcher
	c       *client
	view    view // of the layout's regions, if the rule ranks by distance or latency
	explain bool
	pool    string // for explain: the pool at hand
}

// plan is the ordered tiers of a client under a rule: the rule's pool and its fallbacks ranked one behind the other,
// each tier followed by its regions' pairs, what the fence excludes left out, and the last tiers joined
// (design: section 5, steps 3 and 4).
func (l *layout) plan(rule int, c *client, explain bool) ranked {
	r := ranking{l: l, m: &l.matchers[rule], c: c, explain: explain}
	if len(r.m.bands) > 0 {
		r.view = l.atlas.viewFrom(c, nil)
	}
	if len(r.m.latency) > 0 {
		r.view.latency = l.measured.from(c, nil)
	}
	return r.plan()
}

func (r *ranking) plan() (out ranked) {
	for i, slot := range r.m.chain {
		pool := r.rankPool(slot)
		for t := range pool.why {
			if i > 0 {
				pool.why[t].text = "fallback " + pool.why[t].text
			}
		}
		out.tiers, out.why = append(out.tiers, pool.tiers...), append(out.why, pool.why...)
	}
	if n := steering.PlanTiersMax; len(out.tiers) > n+1 {
		out.tiers = append(out.tiers[:n:n], r.join(out.tiers[n:]))
		if r.explain {
			out.why = append(out.why[:n:n], grounds{text: fmt.Sprintf("all behind the first %d tiers", n)})
		}
	}
	return out
}

// join makes one tier of several. As in any tier all are equally good, so they stand in the order of the file; but a
// pool stays before its fallback.
func (r *ranking) join(tiers [][]uint16) []uint16 {
	all := slices.Concat(tiers...)
	slices.SortFunc(all, func(a, b uint16) int {
		pools := slices.Index(r.m.chain, r.l.slotOf[a]) - slices.Index(r.m.chain, r.l.slotOf[b])
		return cmp.Or(pools, int(a)-int(b))
	})
	return all
}

// rankPool orders the targets of one pool.
func (r *ranking) rankPool(slot int) ranked {
	all := r.m.open[slot]
	if len(all) == 0 {
		return ranked{}
	}
	p := ranked{tiers: [][]uint16{all}}
	if r.explain {
		r.pool = "pool " + r.l.slots[slot].Name
		p.why = []grounds{{text: r.pool}}
	}
	for _, k := range r.m.rule.Rank {
		p = r.apply(k, p)
	}
	return r.withPairs(p)
}

// apply splits each tier by one ranker.
func (r *ranking) apply(k Ranker, p ranked) ranked {
	if k.Kind == RankMap {
		return r.byMap(p)
	}
	var out ranked
	for i, tier := range p.tiers {
		split, why := r.split(k, tier)
		out.tiers = append(out.tiers, split...)
		for _, w := range why {
			out.why = append(out.why, p.why[i].and(w))
		}
	}
	return out
}

// split divides one tier by a ranker other than a map.
func (r *ranking) split(k Ranker, tier []uint16) ([][]uint16, []grounds) {
	switch k.Kind {
	case RankNearest:
		if !r.view.known {
			return r.whole(tier, "nearest: the client's place is not known")
		}
		return r.byValue(tier, k.Band, " km", func(e uint16) float64 { return r.view.km[r.l.entries[e].Region.Index] },
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

// whole leaves a tier as it is.
func (r *ranking) whole(tier []uint16, why string) ([][]uint16, []grounds) {
	if !r.explain {
		return [][]uint16{tier}, nil
	}
	return [][]uint16{tier}, []grounds{{text: why}}
}

// listed makes each target a tier, in the file's order.
func (r *ranking) listed(tier []uint16) (out [][]uint16, why []grounds) {
	for i := range tier {
		out = append(out, tier[i:i+1:i+1])
		if r.explain {
			why = append(why, grounds{text: fmt.Sprintf("listed: place %d", i+1)})
		}
	}
	return out, why
}

// bandSlack makes numbers that are a band apart in decimals, such as costs of 0.7 and 0.8 for a band of 0.1, be so in
// binary, where each of the three and their sum are off by at most half of 2^-52.
const bandSlack = 1e-15

// withinBand says whether a number is so little above the best that both are of one tier.
func withinBand(best, v, band float64) bool { return v <= (best+band)*(1+bandSlack) }

// byValue orders a tier by a number, the least first: the best of what remains and all within band of it are one tier,
// and so on.
func (r *ranking) byValue(tier []uint16, band float64, unit string, value func(uint16) float64, text func(float64) string) (out [][]uint16, why []grounds) {
	type valued struct {
		v     float64
		entry uint16
	}
	var room [32]valued
	vs := room[:0]
	for _, e := range tier {
		vs = append(vs, valued{value(e), e})
	}
	slices.SortFunc(vs, func(a, b valued) int {
		if c := cmp.Compare(a.v, b.v); c != 0 {
			return c
		}
		return int(a.entry) - int(b.entry)
	})
	all := make([]uint16, len(vs))
	for i := 0; i < len(vs); {
		first, best := i, vs[i].v
		for ; i < len(vs) && withinBand(best, vs[i].v, band); i++ {
			all[i] = vs[i].entry
		}
		slices.Sort(all[first:i])
		out = append(out, all[first:i:i])
		if r.explain {
			w := text(best)
			if vs[i-1].v > best {
				w += fmt.Sprintf(" and all within %g%s of it", band, unit)
			}
			why = append(why, grounds{text: w})
		}
	}
	return out, why
}

// byMap makes a tier of each region that the map lists for the client, and leaves out what it does not list.
func (r *ranking) byMap(p ranked) ranked {
	order, area := r.m.orderFor(r.c)
	all := slices.Concat(p.tiers...)
	listed := map[*Region]bool{}
	for _, region := range order.Regions {
		listed[region] = true
	}
	var out ranked
	add := func(what string, in func(*Region) bool) {
		var tier []uint16
		for _, e := range all {
			if in(r.l.entries[e].Region) {
				tier = append(tier, e)
			}
		}
		if len(tier) == 0 {
			return
		}
		out.tiers = append(out.tiers, tier)
		if r.explain {
			out.why = append(out.why, p.why[0].and(grounds{text: fmt.Sprintf("map %s, %s: %s", r.m.rule.rankMap().Name, area, what)}))
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
	return out
}

// withPairs puts behind each tier one tier of its regions' pairs, taken out of the tiers behind it.
func (r *ranking) withPairs(p ranked) ranked {
	left := make([]bool, len(r.l.entries))            // by entry: ranked, and in no tier yet
	room := make([]uint16, 0, len(r.l.entries))       // for all tiers, each behind the one before
	take := func(from []uint16, paired []bool) bool { // what is left of from, in a region that is paired if that is asked for
		room = room[len(room):]
		for _, e := range from {
			if left[e] && (paired == nil || paired[r.l.regionOf[e]]) {
				left[e] = false
				room = append(room, e)
			}
		}
		return len(room) > 0
	}
	for _, e := range slices.Concat(p.tiers...) {
		left[e] = true
	}
	out := ranked{tiers: make([][]uint16, 0, 2*len(p.tiers))}
	paired := make([]bool, len(r.l.regions))
	for i, tier := range p.tiers {
		if !take(tier, nil) {
			continue
		}
		tier = slices.Clip(room)
		out.tiers = append(out.tiers, tier)
		if r.explain {
			out.why = append(out.why, p.why[i])
		}
		r.pairsOf(tier, paired)
		if !take(r.m.open[r.l.slotOf[tier[0]]], paired) {
			continue
		}
		out.tiers = append(out.tiers, slices.Clip(room))
		if r.explain {
			out.why = append(out.why, grounds{text: r.pool + "; pair of " + strings.Join(r.regionNames(tier), ", ")})
		}
	}
	return out
}

// pairsOf marks the pairs of a tier's regions, by region.
func (r *ranking) pairsOf(tier []uint16, paired []bool) {
	clear(paired)
	for _, e := range tier {
		if pair := r.l.pairOf[r.l.regionOf[e]]; pair != noPair {
			paired[pair] = true
		}
	}
}

// regionNames lists a tier's regions, each once.
func (r *ranking) regionNames(tier []uint16) (names []string) {
	for _, e := range tier {
		if n := r.l.entries[e].Region.Name; !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}
