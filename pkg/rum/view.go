package rum

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"geodns/pkg/geo"
)

const (
	// prefixesMin is of how many client networks a rung above the prefix needs samples before it speaks of a region.
	prefixesMin = 4

	// movedFactor and movedBy: a P75 that has moved by this factor and this much from one interval to the next is not believed at
	// once. Traffic moved by a route change rarely does either.
	movedFactor = 3
	movedBy     = 100 * time.Millisecond
	// movedErrors is the same for the part of the measurements that failed.
	movedErrors = 0.5
	// heldFor is how long an old summary stands for one that moved so: what lasts longer is true, and health has seen an outage
	// long before.
	heldFor = 5 * time.Minute

	// failedLatency stands for the quantile of a region that was never reached: what a user waits at the most.
	failedLatency = 10 * time.Second

	// regionsMin is how many regions a rung must know: of one alone nothing follows.
	regionsMin = 2
)

// View is what was measured as of one interval. Immutable.
type View struct {
	version   uint64
	at        time.Time
	networks  int
	rungs     map[Rung]*rungView // those with sources enough
	newlyHeld []Rung
}

// rungView is what a rung says.
type rungView struct {
	sources, prefixes int
	regions           []regionView // by name
}

// regionView is what a rung says of a region.
type regionView struct {
	region          string
	samples, errors float64 // errors: part of samples, 0 to 1
	votes           float64 // how many observations those are as good as: samples, or networks above the prefix
	spread          time.Duration
	measured        bool // a time was measured, and dist holds something
	dist            distribution
	last            int64     // when the youngest sample was measured, seconds since 1970
	heldSince       time.Time // zero: this is what was measured now
}

// Summary is what is shown of a rung.
type Summary struct {
	Rung     Rung
	Sources  int    // distinct ones, about
	Prefixes int    // client networks
	Held     string // why an old summary is shown instead of the new one; empty: it is the new one
	Regions  []RegionSummary
}

// RegionSummary is what is shown of a region in a rung. Times are quantiles of what is left when a tenth of the weight is taken from
// either end; above the prefix every client network has one vote.
type RegionSummary struct {
	Region        string
	Samples       float64 // weight after caps and decay, failed ones too
	Errors        float64 // part of them that failed, 0 to 1
	P50, P75, P95 time.Duration
	Jitter        time.Duration // P75 - P25
	Age           time.Duration // of the youngest sample, when the View was made
}

// Version is the number of the View, one more than that of the View before.
func (v *View) Version() uint64 { return v.version }

// At is when the View was made.
func (v *View) At() time.Time { return v.at }

// held reports whether an old summary stands for a new one.
func (r *rungView) held() bool {
	return slices.ContainsFunc(r.regions, func(g regionView) bool { return !g.heldSince.IsZero() })
}

// samples is the weight of all regions.
func (r *rungView) samples() (sum float64) {
	for i := range r.regions {
		sum += r.regions[i].samples
	}
	return sum
}

// Rungs gives the rungs that may be shown, those with most samples first.
func (v *View) Rungs() []Summary {
	all := make([]Summary, 0, len(v.rungs))
	weight := make(map[Rung]float64, len(v.rungs))
	for rung, r := range v.rungs {
		weight[rung] = r.samples()
		all = append(all, v.summary(rung, r))
	}
	slices.SortFunc(all, func(a, b Summary) int {
		return cmp.Or(cmp.Compare(weight[b.Rung], weight[a.Rung]), cmp.Compare(a.Rung.Kind, b.Rung.Kind),
			a.Rung.Prefix.Addr().Compare(b.Rung.Prefix.Addr()), cmp.Compare(a.Rung.ASN, b.Rung.ASN), cmp.Compare(a.Rung.Code, b.Rung.Code))
	})
	return all
}

// Summary gives what is shown of one rung, false where nothing may be.
func (v *View) Summary(rung Rung) (Summary, bool) {
	r, ok := v.rungs[rung]
	if !ok {
		return Summary{}, false
	}
	return v.summary(rung, r), true
}

// summary makes what is shown of a rung.
func (v *View) summary(rung Rung, r *rungView) Summary {
	s := Summary{Rung: rung, Sources: r.sources, Prefixes: r.prefixes, Regions: make([]RegionSummary, 0, len(r.regions))}
	for i := range r.regions {
		g := &r.regions[i]
		shown := RegionSummary{Region: g.region, Samples: g.samples, Errors: g.errors, Age: v.age(g)}
		if g.measured {
			shown.P50, shown.P75, shown.P95, shown.Jitter = g.dist.at(50), g.dist.at(75), g.dist.at(95), g.dist.jitter()
		}
		s.Regions = append(s.Regions, shown)
		if !g.heldSince.IsZero() && s.Held == "" {
			s.Held = fmt.Sprintf("%s moved faster than is believed; held since %s", g.region, g.heldSince.UTC().Format(time.RFC3339))
		}
	}
	return s
}

// age is that of the youngest sample of a region.
func (v *View) age(g *regionView) time.Duration { return max(v.at.Sub(time.Unix(g.last, 0)), 0) }

// Scores gives what the finest rung that knows says of the regions to clients in a network, best first. A rung knows where it has
// samples enough, of them none too old, of two regions at least; regions of which it has not are left out. False: none does.
//
// A network longer than /24 or /48 is that of the /24 or /48 it is in; a shorter one has no rung of its own.
func (v *View) Scores(client netip.Prefix, p geo.Place, o Options) (Rung, []Score, bool) {
	kept := placeOf(p)
	for kind := RungPrefix; kind <= RungContinent; kind++ {
		rung, ok := kept.rung(kind)
		if kind == RungPrefix {
			rung, ok = prefixRung(client)
		}
		if !ok {
			continue
		}
		r, known := v.rungs[rung]
		if !known {
			continue
		}
		if scores := v.scores(r, o); len(scores) >= regionsMin {
			return rung, scores, true
		}
	}
	return Rung{}, nil, false
}

// prefixRung gives the rung of a client network's own, false where it is wider than that.
func prefixRung(client netip.Prefix) (Rung, bool) {
	addr, length := client.Addr(), client.Bits()
	if addr.Is4In6() {
		addr, length = addr.Unmap(), length-96
	}
	if !addr.IsValid() || length < prefix4Bits || addr.Is6() && length < prefix6Bits {
		return Rung{}, false
	}
	return Rung{Kind: RungPrefix, Prefix: keyOf(addr.WithZone("")).prefix()}, true
}

// scores gives what a rung says of the regions it knows, best first.
func (v *View) scores(r *rungView, o Options) []Score {
	var scores []Score
	for i := range r.regions {
		g := &r.regions[i]
		s := Score{Region: g.region, Quantile: failedLatency, Errors: g.errors, Samples: g.samples, Age: v.age(g)}
		if s.Samples < float64(o.MinSamples) || s.Age > o.MaxAge {
			continue
		}
		if g.measured {
			s.Quantile, s.Jitter = g.dist.at(o.Percentile), g.dist.jitter()
		}
		s.Noise, s.Spread = g.noise(o), g.spread
		s.Score = s.Quantile + time.Duration(o.JitterWeight*float64(s.Jitter)) + time.Duration(s.Errors*float64(o.ErrorWeight))
		scores = append(scores, s)
	}
	slices.SortFunc(scores, func(a, b Score) int {
		return cmp.Or(cmp.Compare(a.Score, b.Score), cmp.Compare(a.Region, b.Region))
	})
	return scores
}

// noise is the standard error of a region's score.
func (g *regionView) noise(o Options) time.Duration {
	times := 0.0
	if g.measured {
		times = float64(g.dist.spread(o.Percentile, g.votes)) +
			o.JitterWeight*math.Hypot(float64(g.dist.spread(25, g.votes)), float64(g.dist.spread(75, g.votes)))
	}
	errors := math.Sqrt(g.errors*(1-g.errors)/g.votes) * float64(o.ErrorWeight)
	return time.Duration(math.Hypot(times, errors))
}

// hold puts old summaries in the place of new ones that have moved too fast, and notes the rungs where that is new.
func (v *View) hold(prev *View) {
	for rung, r := range v.rungs {
		old, known := prev.rungs[rung]
		if !known {
			continue
		}
		wasHeld := old.held()
		for i := range r.regions {
			g := &r.regions[i]
			at, found := slices.BinarySearchFunc(old.regions, g.region, func(o regionView, name string) int { return cmp.Compare(o.region, name) })
			if !found || !moved(&old.regions[at], g) {
				continue
			}
			since := old.regions[at].heldSince
			if since.IsZero() || since.After(v.at) { // the clock went back
				since = v.at
			}
			if v.at.Sub(since) < heldFor {
				*g = old.regions[at]
				g.heldSince = since
			}
		}
		if r.held() && !wasHeld {
			v.newlyHeld = append(v.newlyHeld, rung)
		}
	}
}

// moved reports whether what a rung says of a region has moved faster than is believed.
func moved(old, now *regionView) bool {
	if diff := now.errors - old.errors; diff > movedErrors || diff < -movedErrors {
		return true
	}
	if !old.measured || !now.measured {
		return false
	}
	a, b := old.dist.at(75), now.dist.at(75)
	return max(a, b)-min(a, b) > movedBy && max(a, b) > movedFactor*min(a, b)
}
