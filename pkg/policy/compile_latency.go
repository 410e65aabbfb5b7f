package policy

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"geodns/pkg/rum"
)

// latencies finds what is measured for clients. What it gives is the same for all clients of a cell: the network that has an
// order of its own, and the place.
type latencies struct {
	orders   *rum.Orders
	options  []rum.Options  // of the Document
	networks []netip.Prefix // with an order of their own, sorted and disjoint in each family
	regions  map[string]int // Region.Index by name
	known    map[*rum.Order]*measured
	finest   rum.RungKind // of the orders
}

// from is what is measured but for the orders of rungs finer than a kind. Networks keep their numbers.
func (x *latencies) from(finest rum.RungKind) *latencies {
	out := *x
	out.orders, out.finest = x.orders.From(finest), finest
	return &out
}

// measured is one order as the compiler ranks by it.
type measured struct {
	order  *rum.Order
	number uint32  // among all, from 1
	known  []known // sorted
	band   float64 // within which regions are one tier, in milliseconds
}

// known is what is known of a region.
type known struct {
	region int     // Region.Index
	ms     float64 // its settled score
}

// value is a region's settled score in milliseconds, NaN where none is known.
func (m *measured) value(region int) float64 {
	i, is := slices.BinarySearchFunc(m.known, region, func(k known, region int) int { return k.region - region })
	if !is {
		return math.NaN()
	}
	return m.known[i].ms
}

// leftOut names the rungs that are finer than those of the orders.
func (x *latencies) leftOut() string {
	return [...]string{"", "networks", "networks and ASNs", "networks, ASNs and countries", "all"}[x.finest]
}

// newLatencies prepares orders for a Document.
func newLatencies(doc *Document, orders *rum.Orders) *latencies {
	x := &latencies{options: LatencyOptions(doc), regions: map[string]int{}, known: map[*rum.Order]*measured{}}
	for i, r := range doc.Regions {
		x.regions[r.Name] = i
	}
	x.orders = orders.Among(func(region string) bool { _, served := x.regions[region]; return served })
	for _, o := range x.options {
		for _, order := range x.orders.All(o) {
			x.known[order] = x.measure(order, o)
			x.known[order].number = uint32(len(x.known))
		}
	}
	x.networks = x.orders.Prefixes(x.options)
	return x
}

// measure reads an order.
func (x *latencies) measure(order *rum.Order, by rum.Options) *measured {
	m := &measured{order: order, band: inMilliseconds(order.Band(by.Band)), known: make([]known, 0, len(order.Regions))}
	for _, r := range order.Regions {
		if region, served := x.regions[r.Region]; served {
			m.known = append(m.known, known{region, inMilliseconds(r.Score)})
		}
	}
	slices.SortFunc(m.known, func(a, b known) int { return a.region - b.region })
	return m
}

// networkOf finds the network around an address that has an order of its own, or noSubnet.
func (x *latencies) networkOf(a netip.Addr) int {
	i, exact := slices.BinarySearchFunc(x.networks, netip.PrefixFrom(a, a.BitLen()), comparePrefix)
	if !exact {
		i--
	}
	if i >= 0 && x.networks[i].Contains(a) {
		return i
	}
	return noSubnet
}

// of gives what is measured for a client, by options, into room if that is large enough.
func (x *latencies) of(c *client, room []*measured) []*measured {
	out := room[:0]
	var network netip.Prefix
	if c.network != noSubnet {
		network = x.networks[c.network]
	}
	for _, o := range x.options {
		var m *measured
		if order := x.orders.For(o, network, c.place); order != nil {
			m = x.known[order]
		}
		out = append(out, m)
	}
	return out
}

// optionsOf numbers the options of a rule's `latency` rankers, each once.
func (x *latencies) optionsOf(r *Rule) (out []int) {
	for _, k := range r.Rank {
		if k.Kind != RankLatency {
			continue
		}
		if o := slices.Index(x.options, k.Latency); !slices.Contains(out, o) {
			out = append(out, o)
		}
	}
	return out
}

// measuredBy gives what is measured for the client at hand under a ranker; nil: no rung knows.
func (r *ranking) measuredBy(k Ranker) *measured {
	return r.view.latency[slices.Index(r.l.measured.options, k.Latency)]
}

// byLatency orders a tier by settled scores; regions of which nothing is known are one tier behind the others.
func (r *ranking) byLatency(k Ranker, tier []uint16) []grounds {
	m := r.measuredBy(k)
	by := "latency"
	if x := r.l.measured; r.explain && x.finest > rum.RungPrefix {
		by += " without the orders of " + x.leftOut() + ", which ecs.max_scopes leaves out,"
	}
	if m == nil {
		return r.whole(tier, by+": nothing measured")
	}
	if r.explain {
		by += " by " + m.order.Rung.String()
	}
	r.values, r.unknown = r.values[:0], r.unknown[:0]
	for _, g := range tier {
		if ms := m.value(r.region(g).Index); math.IsNaN(ms) {
			r.unknown = append(r.unknown, g)
		} else {
			r.values = append(r.values, valued{ms, g})
		}
	}
	known, unknown := tier[:len(r.values)], tier[len(r.values):]
	copy(unknown, r.unknown)
	first := len(r.pool.ends)
	why := r.byValues(known, m.band, " ms", func(v float64) string { return fmt.Sprintf("%s: %g ms", by, v) })
	for i := range why {
		text := ""
		why[i].measured, text = r.measuredOf(k, m, r.pool.tier(first+i))
		why[i].text += " (" + text + ")"
	}
	if len(unknown) == 0 {
		return why
	}
	r.pool.end(len(unknown))
	if r.explain {
		text := by + ": not measured"
		if len(known) == 0 {
			text = by + ": nothing measured of these regions"
		}
		of, _ := r.measuredOf(k, m, unknown)
		why = append(why, grounds{text: text, measured: of})
	}
	return why
}

// measuredOf tells what is measured of a tier's regions, for programs and for people.
func (r *ranking) measuredOf(k Ranker, m *measured, tier []uint16) (out []Measured, text string) {
	order := m.order
	if live := r.l.live.Rung(k.Latency, order.Rung); live != nil && r.l.live.Version() == r.l.measured.orders.Version() {
		order = live
	}
	var texts []string
	for _, name := range r.regionNames(tier) {
		one := Measured{Region: name, Rung: order.Rung.String()}
		if ms := m.value(r.l.measured.regions[name]); !math.IsNaN(ms) {
			one.Settled = ms / 1e3
		}
		said := name + " not measured now"
		if i := slices.IndexFunc(order.Scores, func(s rum.Score) bool { return s.Region == name }); i >= 0 {
			s := &order.Scores[i]
			one.Now = &MeasuredNow{
				Score: s.Score.Seconds(), Quantile: s.Quantile.Seconds(), Jitter: s.Jitter.Seconds(), Errors: s.Errors, Samples: s.Samples, Age: s.Age.Seconds(),
			}
			said = fmt.Sprintf("%s %s ms now: quantile %s ms, jitter %s ms, errors %.3g %%, %.0f samples, the last %s ago", name,
				tenths(s.Score), tenths(s.Quantile), tenths(s.Jitter), s.Errors*100, s.Samples, s.Age.Round(time.Second))
		}
		out, texts = append(out, one), append(texts, said)
	}
	return out, strings.Join(texts, "; ")
}

// byCost orders a tier by its regions' costs, and tells what that pays in time where latency was ranked before.
func (r *ranking) byCost(k Ranker, tier []uint16) []grounds {
	first := len(r.pool.ends)
	why := r.byValue(tier, k.Band, "", func(region *Region) float64 { return region.Cost },
		func(v float64) string { return fmt.Sprintf("cost: %g", v) })
	if !r.explain {
		return why
	}
	rank := r.m.rule.Rank
	before := slices.IndexFunc(rank, func(o Ranker) bool { return o.Kind == RankLatency })
	if before < 0 || before > slices.IndexFunc(rank, func(o Ranker) bool { return o.Kind == RankCost }) {
		return why
	}
	if m := r.measuredBy(rank[before]); m != nil {
		for i := range why {
			if why[i].trade = r.trade(m, tier, r.pool.tier(first+i)); why[i].trade != nil {
				why[i].text += why[i].trade.text()
			}
		}
	}
	return why
}

// trade tells how much slower the quickest of some groups of a tier are than the tier's, and how much cheaper; nil: they are not.
func (r *ranking) trade(m *measured, tier, of []uint16) *Trade {
	quickest := func(among []uint16) *Region {
		best := r.region(among[0])
		for _, g := range among {
			if region := r.region(g); m.value(region.Index) < m.value(best.Index) {
				best = region
			}
		}
		return best
	}
	best, taken := quickest(tier), quickest(of)
	paid, saved := m.value(taken.Index)-m.value(best.Index), best.Cost-taken.Cost
	if math.IsNaN(paid) || saved <= 0 {
		return nil
	}
	return &Trade{Region: taken.Name, Quickest: best.Name, Paid: paid / 1e3, Saved: saved}
}

// text is a trade as it stands behind a cost.
func (t *Trade) text() string {
	return fmt.Sprintf(", %.1f ms slower than %s and %.6g cheaper", t.Paid*1e3, t.Quickest, t.Saved)
}

// tenths writes a time in milliseconds, to a tenth.
func tenths(d time.Duration) string { return fmt.Sprintf("%.1f", inMilliseconds(d)) }
