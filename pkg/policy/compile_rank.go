package policy

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"geodns/pkg/geo"
	"geodns/pkg/steering"
)

// ranked is a plan in the making: tiers of entries, with why each stands where it does if that is asked for.
type ranked struct {
	tiers [][]uint16
	why   []string // by tier; nil unless explaining
}

// ranking orders one pool's targets for one client.
type ranking struct {
	l       *layout
	m       *matcher
	c       *client
	explain bool
	pool    string // for explain: the pool at hand
}

// plan is the ordered tiers of a client under a rule: the rule's pool and its fallbacks ranked one behind the other,
// each tier followed by its regions' pairs, what the fence excludes left out, and the last tiers joined
// (design: section 5, steps 3 and 4).
func (l *layout) plan(rule int, c *client, explain bool) ranked {
	r := ranking{l: l, m: &l.matchers[rule], c: c, explain: explain}
	var out ranked
	for i, slot := range l.chains[rule] {
		pool := r.rankPool(slot)
		for t := range pool.why {
			if i > 0 {
				pool.why[t] = "fallback " + pool.why[t]
			}
		}
		out.tiers, out.why = append(out.tiers, pool.tiers...), append(out.why, pool.why...)
	}
	if n := steering.PlanTiersMax; len(out.tiers) > n+1 {
		out.tiers = append(out.tiers[:n:n], slices.Concat(out.tiers[n:]...))
		if explain {
			out.why = append(out.why[:n:n], fmt.Sprintf("all behind the first %d tiers", n))
		}
	}
	return out
}

// rankPool orders the targets of one pool.
func (r *ranking) rankPool(slot int) ranked {
	var all []uint16
	for i, t := range r.l.slots[slot].Targets {
		if !r.m.rule.Fenced() || t.Region.Meets(r.m.rule.Fence) {
			all = append(all, uint16(r.l.slotAt[slot]+i))
		}
	}
	if len(all) == 0 {
		return ranked{}
	}
	p := ranked{tiers: [][]uint16{all}}
	if r.explain {
		r.pool = "pool " + r.l.slots[slot].Name
		p.why = []string{r.pool}
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
			out.why = append(out.why, p.why[i]+"; "+w)
		}
	}
	return out
}

// split divides one tier by a ranker other than a map.
func (r *ranking) split(k Ranker, tier []uint16) ([][]uint16, []string) {
	switch k.Kind {
	case RankNearest:
		from, of, ok := r.c.point()
		if !ok {
			return r.whole(tier, "nearest: the client's place is not known")
		}
		return r.byValue(tier, k.Band, " km", func(t *Target) float64 { return distance(from, pointOf(t.Region.Lat, t.Region.Lon)) },
			func(v float64) string { return fmt.Sprintf("nearest: %.0f km from %s", v, of) })
	case RankCost:
		return r.byValue(tier, k.Band, "", func(t *Target) float64 { return t.Region.Cost },
			func(v float64) string { return fmt.Sprintf("cost: %g", v) })
	case RankListed:
		return r.listed(tier)
	case RankLatency:
		return r.whole(tier, "latency: nothing measured")
	case RankMap:
	}
	return r.whole(tier, "")
}

// whole leaves a tier as it is.
func (r *ranking) whole(tier []uint16, why string) ([][]uint16, []string) {
	if !r.explain {
		return [][]uint16{tier}, nil
	}
	return [][]uint16{tier}, []string{why}
}

// listed makes each target a tier, in the file's order.
func (r *ranking) listed(tier []uint16) (out [][]uint16, why []string) {
	for i := range tier {
		out = append(out, tier[i:i+1:i+1])
		if r.explain {
			why = append(why, fmt.Sprintf("listed: place %d", i+1))
		}
	}
	return out, why
}

// bandSlack makes numbers that are a band apart in decimals, such as costs of 0.7 and 0.8 for a band of 0.1, be so in
// binary, where each of the three and their sum are off by at most half of 2^-52.
const bandSlack = 1e-15

// byValue orders a tier by a number, the least first: the best of what remains and all within band of it are one tier,
// and so on.
func (r *ranking) byValue(tier []uint16, band float64, unit string, value func(*Target) float64, text func(float64) string) (out [][]uint16, why []string) {
	type valued struct {
		entry uint16
		v     float64
	}
	vs := make([]valued, len(tier))
	for i, e := range tier {
		vs[i] = valued{e, value(r.l.entries[e])}
	}
	slices.SortStableFunc(vs, func(a, b valued) int {
		switch {
		case a.v < b.v:
			return -1
		case a.v > b.v:
			return 1
		}
		return 0
	})
	for i := 0; i < len(vs); {
		best := vs[i].v
		var t []uint16
		for ; i < len(vs) && vs[i].v <= (best+band)*(1+bandSlack); i++ {
			t = append(t, vs[i].entry)
		}
		slices.Sort(t)
		out = append(out, t)
		if r.explain {
			w := text(best)
			if last := vs[i-1].v; last > best {
				w += fmt.Sprintf(" and all within %g%s of it", band, unit)
			}
			why = append(why, w)
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
			out.why = append(out.why, fmt.Sprintf("%s; map %s, %s: %s", p.why[0], r.m.rule.rankMap().Name, area, what))
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
	var out ranked
	placed := map[uint16]bool{}
	fresh := func(tier []uint16) (left []uint16) {
		for _, e := range tier {
			if !placed[e] {
				left = append(left, e)
			}
		}
		return left
	}
	add := func(tier []uint16, why string) {
		out.tiers = append(out.tiers, tier)
		for _, e := range tier {
			placed[e] = true
		}
		if r.explain {
			out.why = append(out.why, why)
		}
	}
	all := slices.Concat(p.tiers...)
	for i, tier := range p.tiers {
		tier = fresh(tier)
		if len(tier) == 0 {
			continue
		}
		why := ""
		if r.explain {
			why = p.why[i]
		}
		add(tier, why)
		paired := r.pairsOf(tier)
		pairs := slices.DeleteFunc(fresh(all), func(e uint16) bool { return !slices.Contains(paired, r.l.entries[e].Region) })
		if len(pairs) > 0 {
			slices.Sort(pairs)
			add(pairs, r.pool+"; pair of "+strings.Join(r.regionNames(tier), ", "))
		}
	}
	return out
}

// pairsOf lists the pairs of a tier's regions.
func (r *ranking) pairsOf(tier []uint16) (pairs []*Region) {
	for _, e := range tier {
		if pair := r.l.entries[e].Region.Pair; pair != nil {
			pairs = append(pairs, pair)
		}
	}
	return pairs
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

// point is a place on the unit sphere.
type point [3]float64

// pointOf turns degrees into a point. Products are rounded by conversion before they are added, so that no machine
// fuses them and all nodes agree.
func pointOf(lat, lon float64) point {
	la, lo := lat*(math.Pi/180), lon*(math.Pi/180)
	return point{float64(math.Cos(la) * math.Cos(lo)), float64(math.Cos(la) * math.Sin(lo)), math.Sin(la)}
}

// earthRadius is the mean radius R1 of the Earth in kilometers (IUGG).
const earthRadius = 6371.0088

// distance is the great-circle distance in kilometers, to the nearest 100 m: places are not known better, and rounding
// hides last-bit differences between machines.
func distance(a, b point) float64 {
	var chord2 float64
	for i := range a {
		d := a[i] - b[i]
		chord2 += float64(d * d)
	}
	km := 2 * earthRadius * math.Asin(math.Min(1, math.Sqrt(chord2)/2))
	return math.Round(km*10) / 10
}

// point is where a client is: its own coordinates, else its country's middle, else its continent's; and which of them.
func (c *client) point() (p point, of string, ok bool) {
	if c.place.HasLocation {
		return pointOf(c.place.Lat, c.place.Lon), "the client", true
	}
	if lat, lon, ok := geo.CountryMiddle(c.place.Country); ok {
		return pointOf(lat, lon), "the middle of " + c.place.Country, true
	}
	if lat, lon, ok := geo.ContinentMiddle(c.place.Code().Continent); ok {
		return pointOf(lat, lon), "the middle of " + c.place.Code().Continent, true
	}
	return point{}, "", false
}
