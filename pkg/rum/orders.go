package rum

import (
	"cmp"
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"

	"geodns/pkg/geo"
)

// certainty is by how many of its standard errors the difference of two regions must have moved, beside the band, to be believed after
// the dwell time. What is settled has an error of its own, so that it is 3.5 of what is told apart, a chance of 1:2000: some thousand
// pairs are looked at, and what they are made of is another a dozen times an hour.
const certainty = 5

// scoreUnit is how fine a settled score is: nobody's latency is known better, and nodes that sum in another order agree on it.
const scoreUnit = 100 * time.Microsecond

// Scored is what one rung says of regions under some Options.
type Scored struct {
	Rung   Rung
	Scores []Score
}

// Scored gives what each rung says that knows under some Options, in no order.
func (v *View) Scored(o Options) (out []Scored) {
	for rung, r := range v.rungs {
		if scores := v.scores(r, o); len(scores) >= regionsMin {
			out = append(out, Scored{Rung: rung, Scores: scores})
		}
	}
	return out
}

// Settled is what an order holds of a region, whatever is measured in between.
type Settled struct {
	Region string
	Score  time.Duration
	Last   time.Time // when the youngest sample was measured that it was known by

	noise time.Duration // of what is measured now
}

// Order is what a rung prefers. Immutable.
type Order struct {
	Rung    Rung
	Regions []Settled     // the best first
	Spread  time.Duration // how far the rung's networks differ in how its two best regions compare; differences below it are none
	Scores  []Score       // as measured at the last step, for people; of a region of Regions there may be none
}

// Band is what two regions must differ by to be told apart: the band of a ranker or, if that is more, what the networks of the rung
// differ by: with less, a quarter of them may be better off with the region that is worse for all together.
func (o *Order) Band(band time.Duration) time.Duration { return max(band, o.Spread) }

// Tiers splits the order's regions: the best of what remains and all within Band of it are one tier, and so on.
func (o *Order) Tiers(band time.Duration) (tiers [][]string) {
	for i := 0; i < len(o.Regions); {
		var tier []string
		for limit := o.Regions[i].Score + o.Band(band); i < len(o.Regions) && o.Regions[i].Score <= limit; i++ {
			tier = append(tier, o.Regions[i].Region)
		}
		tiers = append(tiers, tier)
	}
	return tiers
}

// Orders are the orders of all rungs that know, by Options. Immutable. A nil one holds none.
type Orders struct {
	version uint64
	at      time.Time
	by      map[Options]map[Rung]*Order
}

// Version grows with each order that changes, comes or goes; with one Version all orders are the same, but for their Scores.
func (o *Orders) Version() uint64 {
	if o == nil {
		return 0
	}
	return o.version
}

// At is when the orders were looked at last.
func (o *Orders) At() time.Time { return o.at }

// Len is how many orders there are.
func (o *Orders) Len() (n int) {
	if o == nil {
		return 0
	}
	for _, rungs := range o.by {
		n += len(rungs)
	}
	return n
}

// Among leaves the orders of rungs that know two of the regions served now, or more: an order may be of before a region was renamed or
// removed, and of one alone nothing follows.
func (o *Orders) Among(served func(region string) bool) *Orders {
	return o.only(func(order *Order) bool {
		known := 0
		for i := 0; i < len(order.Regions) && known < regionsMin; i++ {
			if served(order.Regions[i].Region) {
				known++
			}
		}
		return known >= regionsMin
	})
}

// From leaves the orders of rungs of a kind and of coarser ones.
func (o *Orders) From(finest RungKind) *Orders {
	return o.only(func(order *Order) bool { return order.Rung.Kind >= finest })
}

// only leaves some of the orders. Where those are all, as mostly, it shares the maps, which take longer to make than orders to look at.
func (o *Orders) only(left func(*Order) bool) *Orders {
	if o == nil {
		return nil
	}
	out := &Orders{version: o.version, at: o.at, by: make(map[Options]map[Rung]*Order, len(o.by))}
	for options, rungs := range o.by {
		var gone []Rung
		for rung, order := range rungs {
			if !left(order) {
				gone = append(gone, rung)
			}
		}
		if len(gone) > 0 {
			rungs = maps.Clone(rungs)
			for _, rung := range gone {
				delete(rungs, rung)
			}
		}
		out.by[options] = rungs
	}
	return out
}

// For finds the order of the finest rung that knows, for a client network and its place; nil: none does. A network shorter than
// a prefix rung has none of its own.
func (o *Orders) For(options Options, client netip.Prefix, p geo.Place) *Order {
	if o == nil {
		return nil
	}
	rungs := o.by[options]
	if len(rungs) == 0 {
		return nil
	}
	ladder, n := rungsOf(client, p)
	for _, rung := range ladder[:n] {
		if order := rungs[rung]; order != nil {
			return order
		}
	}
	return nil
}

// Rung gives the order of one rung; nil: there is none.
func (o *Orders) Rung(options Options, r Rung) *Order {
	if o == nil {
		return nil
	}
	return o.by[options][r]
}

// Prefixes lists the networks that have an order of their own under some of the Options, sorted by family, address and length.
func (o *Orders) Prefixes(options []Options) (out []netip.Prefix) {
	if o == nil {
		return nil
	}
	for _, of := range options {
		for rung := range o.by[of] {
			if rung.Kind == RungPrefix {
				out = append(out, rung.Prefix)
			}
		}
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	return slices.Compact(out)
}

// All gives the orders under some Options, by rung, sorted.
func (o *Orders) All(options Options) []*Order {
	if o == nil {
		return nil
	}
	return slices.SortedFunc(maps.Values(o.by[options]), func(a, b *Order) int { return compareRungs(a.Rung, b.Rung) })
}

// compareRungs orders rungs, the finest first.
func compareRungs(a, b Rung) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()),
		cmp.Compare(a.Code, b.Code), cmp.Compare(a.ASN, b.ASN))
}

// rungsOf is the ladder of a client network in a place, the finest rung first.
func rungsOf(client netip.Prefix, p geo.Place) (ladder [4]Rung, n int) {
	add := func(r Rung) {
		ladder[n] = r
		n++
	}
	if rung, own := prefixRung(client); own {
		add(rung)
	}
	if p.Country != "" && p.ASN != 0 {
		add(Rung{Kind: RungASN, ASN: p.ASN, Code: p.Country})
	}
	if p.Country != "" {
		add(Rung{Kind: RungCountry, Code: p.Country})
	}
	if continent := p.Code().Continent; continent != "" {
		add(Rung{Kind: RungContinent, Code: continent})
	}
	return ladder, n
}

// Decider makes orders of scores, with hysteresis. An order holds the scores of the time when it was taken. It is replaced when two
// regions stand otherwise than it says - one is better than the other by more than the band, or no longer - and the difference
// between them is another by more than the band, and both have been so for the dwell time. So a difference that wavers about the band's edge
// changes nothing, and after a change it takes as much to change back. What is within the band of each other in an order stays one
// tier whatever pool they are in, as ranking splits any subset of regions by the same settled scores.
//
// Both differences are measured, and may be off by chance. So the new one must have moved by its certainty as well, which where few
// measure or networks differ is more than the band.
//
// A region that a rung begins or ceases to know enters or leaves an order after the dwell time too, and one that is known stays so
// with half of the samples that it needed. With less it stands until the youngest sample that it was known by is too old.
//
// It has no clock, and is for one goroutine.
type Decider struct {
	Window time.Duration // for which what is measured counts, as of the Config; zero: WindowDefault

	version uint64
	by      map[Options]map[Rung]*holding
}

// holding is what a Decider holds of one rung.
type holding struct {
	settled []Settled     // by name
	spread  time.Duration // as in their Order
	pending []deviation   // from settled, sorted
}

// deviation is how what is measured differs from an order: for two regions, or of one whether it is known.
type deviation struct {
	A     string
	B     string `json:",omitempty"` // "": of A alone
	Want  int8   // how they stand: -1 A is better by more than the band, 1 B is, 0 neither; of A alone 1: it is known now, 0: it is not
	Since time.Time

	moved, noise time.Duration // of the two regions' difference: by how much it has, and its standard error
	bySpread     bool          // it is another by what networks differ by alone
	ripe         bool
}

// clock is what time it is at a step.
type clock struct {
	now   time.Time
	dwell time.Duration
	half  time.Duration // in which what is measured halves
}

// gone says whether it is of a region that is no longer known.
func (d *deviation) gone() bool { return d.B == "" && d.Want == 0 }

// same says whether two deviations are one, at two times.
func (d *deviation) same(o *deviation) bool { return d.A == o.A && d.B == o.B && d.Want == o.Want }

// NewDecider makes a Decider without orders.
func NewDecider() *Decider { return &Decider{by: map[Options]map[Rung]*holding{}} }

// Step takes what is measured now. options are those in use, the orders of others are forgotten; of those that were not in use at
// the last step orders are taken at once. scored gives all rungs that know under Options, in any order, as View.Scored does. It is asked with half the
// samples that Options want.
func (d *Decider) Step(now time.Time, options []Options, scored func(Options) []Scored) *Orders {
	now = now.Round(0).UTC() // no monotonic clock: times are saved
	out, changed := &Orders{at: now, by: map[Options]map[Rung]*Order{}}, false
	by := make(map[Options]map[Rung]*holding, len(options))
	for _, o := range options {
		if by[o] != nil {
			continue
		}
		rungs, dwell := d.by[o], o.Dwell
		if rungs == nil {
			rungs, dwell = map[Rung]*holding{}, 0
		}
		by[o], out.by[o] = rungs, map[Rung]*Order{}
		half := o
		half.MinSamples = (o.MinSamples + 1) / 2
		measured := map[Rung][]Score{}
		for _, s := range scored(half) {
			measured[s.Rung] = s.Scores
			if rungs[s.Rung] == nil {
				rungs[s.Rung] = &holding{}
			}
		}
		for rung, h := range rungs {
			changed = h.step(clock{now, dwell, cmp.Or(d.Window, WindowDefault) / halfLives}, o, rung.Kind, measured[rung]) || changed
			switch {
			case len(h.settled) >= regionsMin:
				out.by[o][rung] = h.order(rung, measured[rung])
			case len(h.settled)+len(h.pending) == 0:
				delete(rungs, rung)
			}
		}
	}
	for o, rungs := range d.by {
		changed = changed || by[o] == nil && slices.ContainsFunc(slices.Collect(maps.Values(rungs)), func(h *holding) bool { return len(h.settled) > 0 })
	}
	if d.by = by; changed {
		d.version++
	}
	out.version = d.version
	return out
}

// Retain forgets the orders of rungs of which nothing is measured. It is for what was read after a start: how long ago it was saved
// is not known, and what nobody has measured since within a window is no more believed.
func (d *Decider) Retain(scored func(Options) []Scored) {
	changed := false
	for o, rungs := range d.by {
		o.MinSamples = 1
		measured := map[Rung]bool{}
		for _, s := range scored(o) {
			measured[s.Rung] = true
		}
		maps.DeleteFunc(rungs, func(rung Rung, h *holding) bool {
			changed = changed || !measured[rung] && len(h.settled) > 0
			return !measured[rung]
		})
	}
	if changed {
		d.version++
	}
}

// order is what is held of a rung, for others to keep.
func (h *holding) order(rung Rung, scores []Score) *Order {
	o := &Order{Rung: rung, Spread: h.spread, Regions: slices.Clone(h.settled), Scores: scores}
	slices.SortStableFunc(o.Regions, func(a, b Settled) int { return cmp.Compare(a.Score, b.Score) })
	return o
}

// step takes what is measured in a rung now, and says whether its order changed.
func (h *holding) step(at clock, o Options, kind RungKind, scores []Score) bool {
	now, dwell := at.now, at.dwell
	measured := h.known(now, o, scores)
	h.heard(now, measured)
	spread := spreadOfBest(scores, measured)
	next := deviations(h.settled, measured, o.Band, h.spread, spread)
	// A new order is one of all regions: with a pair that only now begins to stand otherwise it waits, for another dwell time at most.
	change, pairs, young, late := false, false, false, false
	for i := range next {
		p := &next[i]
		p.Since = now
		for j := range h.pending {
			if old := &h.pending[j]; old.same(p) && old.Since.Before(now) { // a clock that went back begins anew
				p.Since = old.Since
			}
		}
		p.ripe = h.ripe(p, at, o, kind)
		since := now.Sub(p.Since)
		pairs = pairs || p.ripe && p.B != ""
		change, young, late = change || p.ripe, young || p.B != "" && since < dwell, late || p.ripe && since >= 2*dwell
	}
	if h.pending = next; !change || young && !late {
		return false
	}
	anew := pairs || len(h.settled) < regionsMin
	if anew {
		h.spread = spread
	} else {
		measured = amid(h.settled, measured)
	}
	h.settled = adopt(h.settled, measured, func(region string) bool {
		return slices.ContainsFunc(next, func(p deviation) bool { return p.A == region && p.B == "" && !p.ripe })
	})
	h.pending = slices.DeleteFunc(next, func(p deviation) bool { return p.B != "" && anew || p.ripe })
	return true
}

// heard notes when each region was last known. What a clock that went back has of the future is of now: else a region that is no longer
// known would stand until then.
func (h *holding) heard(now time.Time, measured []Settled) {
	for i := range h.settled {
		s := &h.settled[i]
		if m, still := find(measured, s.Region); still {
			s.Last = m.Last
		}
		if s.Last.After(now) {
			s.Last = now
		}
	}
}

// ripe says whether a deviation has lasted for long enough. What may be chance in a client network has to last for longer, as each
// half-life brings samples that are new. Above the prefix it is chance which networks there are, and those stay the same.
func (h *holding) ripe(p *deviation, at clock, o Options, kind RungKind) bool {
	since := at.now.Sub(p.Since)
	switch {
	case since < at.dwell, p.bySpread && since < o.MaxAge: // of a spread no error is known
		return false
	case p.gone():
		s, held := find(h.settled, p.A)
		return !held || at.now.Sub(s.Last) > o.MaxAge // until then its clients sleep, and what they measured is no less true
	case p.B == "" || p.noise == 0 || p.bySpread:
		return true
	}
	halves := 0.0
	if kind == RungPrefix {
		halves = float64(since) / float64(at.half)
	}
	return float64(p.moved) >= certainty*float64(p.noise)/math.Sqrt(1+halves)
}

// known lists the regions that have samples enough, by name: none if they are too few to order.
func (h *holding) known(now time.Time, o Options, scores []Score) (out []Settled) {
	for _, s := range scores {
		_, held := find(h.settled, s.Region)
		if s.Samples >= float64(o.MinSamples) || held && 2*s.Samples >= float64(o.MinSamples) {
			out = append(out, Settled{Region: s.Region, Score: bounded(s.Score), Last: now.Add(-s.Age), noise: s.Noise})
		}
	}
	slices.SortFunc(out, func(a, b Settled) int { return cmp.Compare(a.Region, b.Region) })
	if out = slices.CompactFunc(out, func(a, b Settled) bool { return a.Region == b.Region }); len(out) < regionsMin {
		return nil
	}
	return out
}

// find looks a region up in a list by name.
func find(list []Settled, region string) (Settled, bool) {
	i, found := slices.BinarySearchFunc(list, region, func(s Settled, name string) int { return cmp.Compare(s.Region, name) })
	if !found {
		return Settled{}, false
	}
	return list[i], true
}

// spreadOfBest is by how much the networks of a rung differ in how the two best of the regions that it knows compare.
func spreadOfBest(scores []Score, known []Settled) time.Duration {
	best := slices.DeleteFunc(slices.Clone(scores), func(s Score) bool { _, is := find(known, s.Region); return !is })
	if len(best) < regionsMin {
		return 0
	}
	slices.SortFunc(best, func(a, b Score) int { return cmp.Or(cmp.Compare(a.Score, b.Score), cmp.Compare(a.Region, b.Region)) })
	return bounded(hypot(best[0].Spread, best[1].Spread))
}

// hypot is what two independent deviations come to.
func hypot(a, b time.Duration) time.Duration {
	return time.Duration(math.Hypot(float64(a), float64(b)))
}

// deviations lists how what is measured differs from what is settled, both by name, with the spreads of both.
func deviations(settled, measured []Settled, band, spreadWas, spreadIs time.Duration) (out []deviation) {
	var was, is []Settled // of the regions in both
	for _, m := range measured {
		if s, held := find(settled, m.Region); held {
			was, is = append(was, s), append(is, m)
		} else {
			out = append(out, deviation{A: m.Region, Want: 1})
		}
	}
	for _, s := range settled {
		if _, still := find(measured, s.Region); !still {
			out = append(out, deviation{A: s.Region})
		}
	}
	for a := range was {
		for b := a + 1; b < len(was); b++ {
			before, now := was[b].Score-was[a].Score, is[b].Score-is[a].Score
			wide, wideWas := max(band, spreadIs), max(band, spreadWas)
			d := deviation{A: was[a].Region, B: was[b].Region, Want: standing(now, wide), moved: (now - before).Abs(), noise: hypot(is[a].noise, is[b].noise)}
			d.bySpread = d.moved <= band
			if d.Want != standing(before, wideWas) && (!d.bySpread || (wide-wideWas).Abs() > band) {
				out = append(out, d)
			}
		}
	}
	return out
}

// standing says how two regions stand whose scores differ by so much: -1 the first is better by more than the band, 1 the second.
func standing(difference, band time.Duration) int8 {
	switch {
	case difference > band:
		return -1
	case difference < -band:
		return 1
	}
	return 0
}

// bounded makes a time one that can be settled.
func bounded(d time.Duration) time.Duration { return min(max(d, 0), scoreMax).Round(scoreUnit) }

// amid puts what is measured of regions that come to be known among the others, which stand as they are settled: they may all be slower
// or quicker now, and a newcomer is no reason to order them anew.
func amid(settled, measured []Settled) (out []Settled) {
	off, n := time.Duration(0), time.Duration(0)
	for _, m := range measured {
		if s, held := find(settled, m.Region); held {
			off, n = off+s.Score-m.Score, n+1
		}
	}
	if n > 0 {
		off /= n
	}
	for _, m := range measured {
		if s, held := find(settled, m.Region); held {
			m = s
		} else {
			m.Score = bounded(m.Score + off)
		}
		out = append(out, m)
	}
	return out
}

// adopt makes a new order of what is measured; what came or went so lately that it waits is as before.
func adopt(settled, measured []Settled, waits func(region string) bool) (out []Settled) {
	for _, m := range measured {
		if _, held := find(settled, m.Region); held || !waits(m.Region) {
			out = append(out, m)
		}
	}
	for _, s := range settled {
		if _, still := find(measured, s.Region); !still && waits(s.Region) {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Settled) int { return cmp.Compare(a.Region, b.Region) })
	return out
}
