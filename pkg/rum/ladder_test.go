package rum_test

import (
	"cmp"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"geodns/internal/dnstest"
	"geodns/pkg/geo"
	"geodns/pkg/rum"
)

// twin is the slow, obvious collector: it keeps every sample with its address, and computes each rung when it is asked.
type twin struct{ samples []rum.Sample }

// twinTime is a measured time and its weight in a rung.
type twinTime struct {
	d      time.Duration
	weight float64
}

// member reports whether a client is in a rung.
func member(rung rum.Rung, client netip.Addr, p geo.Place) bool {
	switch rung.Kind {
	case rum.RungPrefix:
		return rung.Prefix.Contains(client)
	case rum.RungASN:
		return p.ASN == rung.ASN && p.Country == rung.Code
	case rum.RungCountry:
		return p.Country == rung.Code
	case rum.RungContinent:
	}
	return p.Continent == rung.Code
}

// networkOf gives the network of a client.
func networkOf(client netip.Addr) netip.Prefix {
	length := 24
	if client.Is6() {
		length = 48
	}
	return netip.PrefixFrom(client, length).Masked()
}

// says gives what a rung says of a region, false where it may not.
func (w *twin) says(rung rum.Rung, region string) (rum.RegionSummary, bool) {
	type heard struct {
		asn    uint32
		times  []time.Duration
		failed float64
		vote   float64
	}
	networks := map[netip.Prefix]*heard{}
	for _, s := range w.samples {
		p := place(s.Client)
		if s.Region != region || !member(rung, s.Client, p) {
			continue
		}
		n := networks[networkOf(s.Client)]
		if n == nil {
			n = &heard{asn: p.ASN, vote: 1}
			networks[networkOf(s.Client)] = n
		}
		if s.Failed {
			n.failed++
		} else {
			n.times = append(n.times, s.Latency)
		}
	}
	if len(networks) == 0 || rung.Kind != rum.RungPrefix && len(networks) < 4 {
		return rum.RegionSummary{}, false
	}
	// One ASN of four or more has half of a country or continent at most.
	asns := map[uint32]float64{}
	for _, n := range networks {
		asns[n.asn]++
	}
	for asn, votes := range asns {
		others := float64(len(networks)) - votes
		if (rung.Kind == rum.RungCountry || rung.Kind == rum.RungContinent) && len(asns) >= 4 && votes > others {
			for _, n := range networks {
				if n.asn == asn {
					n.vote = others / votes
				}
			}
		}
	}
	var out rum.RegionSummary
	var times, errors []twinTime
	most := 0.0
	for _, n := range networks {
		total := float64(len(n.times)) + n.failed
		out.Samples += total
		most = max(most, total)
		errors = append(errors, twinTime{time.Duration(n.failed / total * 1e9), n.vote})
		for _, d := range n.times {
			times = append(times, twinTime{d, n.vote / total})
		}
	}
	if rung.Kind == rum.RungPrefix {
		out.Errors = float64(errors[0].d) / 1e9
	} else {
		out.Samples -= most - min(most, out.Samples-most)
		// A mean of many small steps instead of a sum of parts.
		const steps = 2000
		for i := range steps {
			out.Errors += float64(quantile(errors, rum.Trim+(1-2*rum.Trim)*(float64(i)+0.5)/steps)) / 1e9 / steps
		}
	}
	if len(times) > 0 {
		at := func(p float64) time.Duration { return quantile(times, rum.Trim+(1-2*rum.Trim)*p) }
		out.P50, out.P75, out.P95, out.Jitter = at(0.5), at(0.75), at(0.95), at(0.75)-at(0.25)
	}
	return out, true
}

// quantile gives the first time up to which there is that part of the weight.
func quantile(times []twinTime, part float64) time.Duration {
	slices.SortFunc(times, func(a, b twinTime) int { return cmp.Compare(a.d, b.d) })
	sum, below := 0.0, 0.0
	for _, t := range times {
		sum += t.weight
	}
	for _, t := range times {
		if below += t.weight; below >= sum*part*(1-1e-11) {
			return t.d
		}
	}
	return times[len(times)-1].d
}

// few leaves the regions out of what is wanted that few sources measured: surely with less than half of those that a rung needs, and
// with less than all if they are not in what is got, as a sketch may take two sources for one.
func (w *twin) few(rung rum.Rung, want map[string]rum.RegionSummary, got rum.Summary) {
	for region := range want {
		has := slices.ContainsFunc(got.Regions, func(g rum.RegionSummary) bool { return g.Region == region })
		if n := w.sources(rung, region); 2*n < rum.MinSourcesDefault || n < rum.MinSourcesDefault && !has {
			delete(want, region)
		}
	}
}

// sources counts those of a rung, or those of them that measured a region.
func (w *twin) sources(rung rum.Rung, region ...string) int {
	all := map[netip.Addr]bool{}
	for _, s := range w.samples {
		if len(region) > 0 && s.Region != region[0] {
			continue
		}
		if member(rung, s.Client, place(s.Client)) {
			all[s.Client] = true
		}
	}
	return len(all)
}

// TestLadderTwin compares every rung of random worlds with the twin's.
func TestLadderTwin(t *testing.T) {
	t.Parallel()
	rungs := 0
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 11))
		w := newWorld(t, nil)
		slow := &twin{}
		for range 20 + random.IntN(800) {
			client := netip.AddrFrom4([4]byte{byte(20 + random.IntN(4)), byte(1 + random.IntN(6)*random.IntN(2)), byte(random.IntN(4)), byte(random.IntN(14))})
			if random.IntN(6) == 0 {
				client = netip.AddrFrom16([16]byte{0x2a, 5: byte(random.IntN(5)), 6: byte(random.IntN(14)), 15: 1})
			}
			s := rum.Sample{
				Client: client, Region: []string{"fra", "iad", "nowhere"}[random.IntN(3)],
				Latency: time.Duration((62 + random.ExpFloat64()*50) * float64(ms)), Failed: random.IntN(8) == 0,
			}
			if w.adds(s) == "" {
				slow.samples = append(slow.samples, s)
			}
		}
		w.Tick(w.now())
		candidates := map[rum.Rung]bool{}
		for _, s := range slow.samples {
			p := place(s.Client)
			candidates[rum.Rung{Kind: rum.RungPrefix, Prefix: networkOf(s.Client)}] = true
			if p.Country != "" {
				candidates[rum.Rung{Kind: rum.RungASN, ASN: p.ASN, Code: p.Country}] = true
				candidates[rum.Rung{Kind: rum.RungCountry, Code: p.Country}] = true
				candidates[rum.Rung{Kind: rum.RungContinent, Code: p.Continent}] = true
			}
		}
		shown := map[rum.Rung]rum.Summary{}
		for _, s := range w.View().Rungs() {
			shown[s.Rung] = s
			if !candidates[s.Rung] {
				t.Errorf("seed %d: %v is shown, which nobody is in", seed, s.Rung)
			}
		}
		for rung := range candidates {
			want := map[string]rum.RegionSummary{}
			for region := range regions() {
				if says, ok := slow.says(rung, region); ok {
					want[region] = says
				}
			}
			got, ok := shown[rung]
			slow.few(rung, want, got)
			if wanted := slow.sources(rung) >= rum.MinSourcesDefault && len(want) > 0; ok != wanted {
				t.Errorf("seed %d: %v is shown: %v, want %v", seed, rung, ok, wanted)
				continue
			}
			if !ok {
				continue
			}
			rungs++
			if got.Sources != slow.sources(rung) || len(got.Regions) != len(want) {
				t.Errorf("seed %d: %v has %d sources and %d regions, want %d and %d", seed, rung, got.Sources, len(got.Regions), slow.sources(rung), len(want))
			}
			for _, g := range got.Regions {
				compare(t, seed, rung, g, want[g.Region])
			}
		}
	}
	if rungs < 250 {
		t.Errorf("only %d rungs were compared", rungs)
	}
}

// compare checks what is said of a region.
func compare(t *testing.T, seed uint64, rung rum.Rung, got, want rum.RegionSummary) {
	t.Helper()
	if math.Abs(got.Samples-want.Samples) > 1e-6 || math.Abs(got.Errors-want.Errors) > 2e-3 {
		t.Errorf("seed %d: %v %s: %v samples, %v failed; want %v, %v", seed, rung, got.Region, got.Samples, got.Errors, want.Samples, want.Errors)
	}
	if !near(got.P50, want.P50) || !near(got.P75, want.P75) || !near(got.P95, want.P95) {
		t.Errorf("seed %d: %v %s: %v %v %v, want %v %v %v", seed, rung, got.Region, got.P50, got.P75, got.P95, want.P50, want.P75, want.P95)
	}
	if diff := (got.Jitter - want.Jitter).Abs(); float64(diff) > 2*rum.Accuracy*float64(want.P95) {
		t.Errorf("seed %d: %v %s: jitter %v, want %v", seed, rung, got.Region, got.Jitter, want.Jitter)
	}
}

// TestErrorsAtMostAll: where everything failed the rate is 1 and not a digit more, of whose noise there is no square root.
func TestErrorsAtMostAll(t *testing.T) {
	seed := dnstest.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 1000 {
		weights := make([]float64, 4+r.IntN(40))
		for i := range weights {
			weights[i] = float64(16+r.IntN(113)) / 128
		}
		if got := rum.TrimmedErrors(weights); got > 1 || got < 0.999 {
			t.Fatalf("%.17g of %v", got, weights)
		}
	}
}
