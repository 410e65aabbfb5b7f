package rum_test

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"geodns/pkg/geo"
	"geodns/pkg/rum"
)

// plainOptions are those that most cases use.
var plainOptions = rum.Options{
	Percentile: 75, Band: 15 * time.Millisecond, Dwell: time.Minute, MinSamples: 50, JitterWeight: 0.5, ErrorWeight: 500 * time.Millisecond, MaxAge: time.Minute,
}

var (
	ordersStart = time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	netherlands = rum.Rung{Kind: rum.RungCountry, Code: "NL"}
)

// scoresOf reads scores such as "fra 41.5, iad 90 x20", x being the number of samples, which is 100 if it is not given.
func scoresOf(t testing.TB, text string) (out []rum.Score) {
	t.Helper()
	for item := range strings.SplitSeq(text, ", ") {
		if item == "" {
			continue
		}
		s, ms := rum.Score{Samples: 100}, 0.0
		spread, noise := 0.0, 0.0
		if n, err := fmt.Sscanf(strings.NewReplacer("~", "x100 ~", "±", "x100 ~0 ±").Replace(item), "%s %g x%g ~%g ±%g", &s.Region, &ms, &s.Samples, &spread, &noise); n < 2 {
			t.Fatalf("%q: %v", item, err)
		}
		s.Spread, s.Noise = time.Duration(spread*float64(time.Millisecond)), time.Duration(noise*float64(time.Millisecond))
		s.Score = time.Duration(ms * float64(time.Millisecond))
		out = append(out, s)
	}
	return out
}

// in is what one rung says.
func in(rung rum.Rung, scores []rum.Score) func(rum.Options) []rum.Scored {
	return func(rum.Options) []rum.Scored {
		if scores == nil {
			return nil
		}
		return []rum.Scored{{Rung: rung, Scores: scores}}
	}
}

// tiersText writes the order of the Netherlands as "fra ams | iad".
func tiersText(o *rum.Orders) string {
	order := o.For(plainOptions, netip.MustParsePrefix("193.0.6.0/24"), geo.Place{Country: "NL"})
	if order == nil {
		return ""
	}
	var tiers []string
	for _, tier := range order.Tiers(plainOptions.Band) {
		tiers = append(tiers, strings.Join(tier, " "))
	}
	return strings.Join(tiers, " | ")
}

// TestDecider has a step each 30 s; the first scores are those with which the Options come into use.
func TestDecider(t *testing.T) {
	flapping := []string{"fra 10, ams 24"}
	for i := range 40 { // a whole minute on either side
		flapping = append(flapping, []string{"fra 10, ams 26", "fra 10, ams 26", "fra 10, ams 26", "fra 10, ams 24", "fra 10, ams 24", "fra 10, ams 24"}[i%6])
	}
	spiky := []string{"fra 10, ams 30"}
	for range 20 {
		spiky = append(spiky, "fra 60, ams 30", "fra 60, ams 30", "fra 10, ams 30")
	}
	slower := "fra 60, ams 30"
	for _, c := range []struct {
		name    string
		steps   []string
		want    string
		changes uint64 // behind the first
	}{
		{"at once where the options are new", []string{"fra 10, ams 24, iad 90"}, "fra ams | iad", 0},
		{"at the band's edge nothing changes", flapping, "fra ams", 0},
		{"shorter than the dwell time nothing changes", spiky, "fra | ams", 0},
		{"not yet after half of the dwell time", []string{"fra 10, ams 30", slower, slower}, "fra | ams", 0},
		{"50 ms slower: once", []string{"fra 10, ams 30", slower, slower, slower, slower, slower, slower}, "ams | fra", 1},
		{"and once back", []string{"fra 10, ams 30", slower, slower, slower, "fra 10, ams 30", "fra 11, ams 30", "fra 12, ams 30", "fra 9, ams 30"}, "fra | ams", 2},
		{"better, but by less than the band", []string{"fra 10, ams 24", "fra 24, ams 10", "fra 24, ams 10", "fra 24, ams 10", "fra 24, ams 10"}, "fra ams", 0},
		{"farther behind is no change", []string{"fra 10, ams 30", "fra 10, ams 300", "fra 10, ams 300", "fra 10, ams 300"}, "fra | ams", 0},
		{"all slower is no change", []string{"fra 10, ams 30", "fra 210, ams 230", "fra 210, ams 230", "fra 210, ams 230"}, "fra | ams", 0},
		{"a new region after the dwell time", []string{"fra 10, iad 90", "fra 10, ams 5, iad 90", "fra 10, ams 5, iad 90"}, "fra | iad", 0},
		{"... and then it stands", []string{"fra 10, iad 90", "fra 10, ams 5, iad 90", "fra 10, ams 5, iad 90", "fra 10, ams 5, iad 90"}, "ams fra | iad", 1},
		{"a region that is missing for once", []string{"fra 10, ams 5, iad 90", "fra 10, iad 90", "fra 10, iad 90", "fra 10, ams 5, iad 90", "fra 10, iad 90", "fra 10, iad 90"}, "ams fra | iad", 0},
		{"nothing is known any more", []string{"fra 10, ams 5", "", "", ""}, "", 1},
		{"one region alone says nothing", []string{"fra 10", "fra 10", "fra 10", "fra 10"}, "", 0},
		{"one region is left alone", []string{"fra 10, ams 5", "fra 10", "fra 10", "fra 10"}, "", 1},
		{"too few samples to begin with", []string{"fra 10, ams 5 x49, iad 90"}, "fra | iad", 0},
		{"half of the samples keep", []string{"fra 10, ams 5 x50", "fra 10, ams 5 x25", "fra 10, ams 5 x25", "fra 10, ams 5 x25"}, "ams fra", 0},
		{"less does not", []string{"fra 10, iad 90, ams 5 x50", "fra 10, iad 90, ams 5 x24", "fra 10, iad 90, ams 5 x24", "fra 10, iad 90, ams 5 x24"}, "fra | iad", 1},
		{"what may be chance changes nothing", []string{"fra 10, ams 30", "fra 60 ±8, ams 30 ±8", "fra 60 ±8, ams 30 ±8", "fra 60 ±8, ams 30 ±8", "fra 60 ±8, ams 30 ±8"}, "fra | ams", 0},
		{"what is sure does", []string{"fra 10, ams 30", "fra 60 ±7, ams 30 ±7", "fra 60 ±7, ams 30 ±7", "fra 60 ±7, ams 30 ±7", "fra 60 ±7, ams 30 ±7"}, "ams | fra", 1},
		{"networks that differ are of one tier", []string{"fra 10 ~20, ams 35 ~20, iad 90 ~20"}, "fra ams | iad", 0},
		{"and those that differ less are not", []string{"fra 10 ~17, ams 35 ~17, iad 90 ~50"}, "fra | ams | iad", 0},
		{"who differ less, by less than the band, are of one tier still", []string{"fra 10 ~20, ams 35 ~20", "fra 10 ~2, ams 35 ~2", "fra 10 ~2, ams 35 ~2", "fra 10 ~2, ams 35 ~2"}, "fra ams", 0},
		{"who differ no more are told apart", []string{"fra 10 ~50, ams 50 ~50", "fra 10 ~2, ams 50 ~2", "fra 10 ~2, ams 50 ~2", "fra 10 ~2, ams 50 ~2"}, "fra | ams", 1},
		{"... once they have moved by the band", []string{"fra 10 ~20, ams 35 ~20", "fra 10 ~2, ams 51 ~2", "fra 10 ~2, ams 51 ~2", "fra 10 ~2, ams 51 ~2"}, "fra | ams", 1},
		{"who comes orders nobody anew", []string{"fra 10, ams 24", "fra 40, ams 26, iad 90", "fra 40, ams 26, iad 90", "fra 40, ams 26, iad 90"}, "fra ams | iad", 1},
		{"one waits while another changes", []string{"fra 10, ams 30", slower, slower, slower + ", iad 1"}, "ams | fra", 1},
		{"one is missed while another changes", []string{"fra 10, ams 30, iad 90", slower + ", iad 90", slower + ", iad 90", slower}, "ams | fra | iad", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := rum.NewDecider()
			var o *rum.Orders
			first := uint64(0)
			for i, text := range c.steps {
				o = d.Step(ordersStart.Add(time.Duration(i)*30*time.Second), []rum.Options{plainOptions}, in(netherlands, scoresOf(t, text)))
				if i == 0 {
					first = o.Version()
				}
				d = saved(t, d)
			}
			if got := tiersText(o); got != c.want || o.Version()-first != c.changes {
				t.Errorf("%q after %d changes; want %q after %d", got, o.Version()-first, c.want, c.changes)
			}
		})
	}
}

// saved is a Decider that was saved and read again.
func saved(t testing.TB, d *rum.Decider) *rum.Decider {
	t.Helper()
	data, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := rum.DecodeDecider(data)
	if err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	twice, err := again.Encode()
	if err != nil || !bytes.Equal(data, twice) {
		t.Fatalf("%v: %s became %s", err, data, twice)
	}
	return again
}

// TestDeciderRungWaits: once Options are in use, a rung that begins to know waits for the dwell time, and a coarser one speaks until then.
func TestDeciderRungWaits(t *testing.T) {
	d := rum.NewDecider()
	country := rum.Scored{Rung: netherlands, Scores: scoresOf(t, "fra 10, ams 30")}
	prefix := rum.Scored{Rung: rum.Rung{Kind: rum.RungPrefix, Prefix: netip.MustParsePrefix("193.0.6.0/24")}, Scores: scoresOf(t, "ams 3, fra 40")}
	var got []string
	for i := range 4 {
		o := d.Step(ordersStart.Add(time.Duration(i)*30*time.Second), []rum.Options{plainOptions}, func(rum.Options) []rum.Scored {
			return []rum.Scored{country, prefix}[:min(2, 1+i)]
		})
		got = append(got, tiersText(o))
	}
	if want := []string{"fra | ams", "fra | ams", "fra | ams", "ams | fra"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestDeciderForgets: the orders of Options that are no longer in use are gone, which is a change if there were any.
func TestDeciderForgets(t *testing.T) {
	d := rum.NewDecider()
	one := d.Step(ordersStart, []rum.Options{plainOptions, plainOptions}, in(netherlands, scoresOf(t, "fra 10, ams 5")))
	two := d.Step(ordersStart, nil, in(netherlands, scoresOf(t, "fra 10, ams 5")))
	if one.Len() != 1 || two.Len() != 0 || two.Version() != one.Version()+1 {
		t.Errorf("%d orders in version %d, then %d in %d", one.Len(), one.Version(), two.Len(), two.Version())
	}
}

// TestOrdersFor: the finest rung that knows speaks.
func TestOrdersFor(t *testing.T) {
	rungs := map[string]rum.Rung{
		"prefix": {Kind: rum.RungPrefix, Prefix: netip.MustParsePrefix("193.0.6.0/24")}, "prefix6": {Kind: rum.RungPrefix, Prefix: netip.MustParsePrefix("2001:db8:1::/48")},
		"asn": {Kind: rum.RungASN, ASN: 3333, Code: "NL"}, "country": netherlands, "continent": {Kind: rum.RungContinent, Code: "EU"},
	}
	o := rum.NewDecider().Step(ordersStart, []rum.Options{plainOptions}, func(rum.Options) (out []rum.Scored) {
		for _, rung := range rungs {
			out = append(out, rum.Scored{Rung: rung, Scores: scoresOf(t, "fra 10, ams 5")})
		}
		return out
	})
	for _, c := range []struct {
		client string
		place  geo.Place
		want   string // "": none
	}{
		{"193.0.6.0/24", geo.Place{}, "prefix"},
		{"193.0.6.77/32", geo.Place{Country: "NL", ASN: 3333}, "prefix"},
		{"193.0.6.0/23", geo.Place{Country: "NL", ASN: 3333}, "asn"},
		{"193.0.7.0/24", geo.Place{Country: "NL", ASN: 3333}, "asn"},
		{"193.0.7.0/24", geo.Place{Country: "DE", ASN: 3333}, "continent"},
		{"193.0.7.0/24", geo.Place{Country: "NL", ASN: 3334}, "country"},
		{"193.0.7.0/24", geo.Place{Continent: "EU", ASN: 3333}, "continent"},
		{"193.0.7.0/24", geo.Place{Continent: "NA", Country: "US", ASN: 3333}, ""},
		{"193.0.7.0/24", geo.Place{}, ""},
		{"2001:db8:1:2::/64", geo.Place{}, "prefix6"},
		{"2001:db8:1::/47", geo.Place{Country: "NL"}, "country"},
	} {
		got := o.For(plainOptions, netip.MustParsePrefix(c.client), c.place)
		if (got == nil) != (c.want == "") || got != nil && got.Rung != rungs[c.want] {
			t.Errorf("%s in %+v: %+v, want %s", c.client, c.place, got, c.want)
		}
	}
	if got := o.Prefixes([]rum.Options{plainOptions}); len(got) != 2 || got[0] != rungs["prefix"].Prefix {
		t.Errorf("prefixes %v", got)
	}
	if got := (*rum.Orders)(nil); got.For(plainOptions, netip.Prefix{}, geo.Place{}) != nil || got.Prefixes(nil) != nil || got.Version() != 0 || got.Len() != 0 {
		t.Error("no orders hold some")
	}
}

// slowDecider decides once more from all that was ever measured: for each region and pair it looks back how long it has been so.
type slowDecider struct {
	settled map[string]int   // 0.1 ms by region
	history []map[string]int // since the last change of each ... the whole; what was known at each step
	held    []map[string]int // what was settled at each step, before it
	first   bool
	age     int // steps for which what was known may be old
}

// step gives the order's scores; known says which regions have samples enough now.
func (s *slowDecider) step(now map[string]int, dwell, band int) map[string]int {
	if s.settled == nil {
		s.settled, s.first = map[string]int{}, true
	}
	s.history, s.held = append(s.history, now), append(s.held, maps.Clone(s.settled))
	if s.first {
		dwell, s.first = 0, false
	}
	stand := func(a, b int) int {
		switch {
		case b-a > band:
			return 1
		case a-b > band:
			return -1
		}
		return 0
	}
	// since counts the steps before this one in which something held as it does now, from the same order.
	since := func(dwell int, holds func(settled, measured map[string]int) bool) bool {
		for back := range dwell + 1 {
			i := len(s.history) - 1 - back
			if i < 0 || !holds(s.held[i], s.history[i]) {
				return false
			}
		}
		return true
	}
	comes := func(r string, dwell int) bool {
		return since(dwell, func(settled, measured map[string]int) bool { _, a := settled[r]; _, b := measured[r]; return !a && b })
	}
	goes := func(r string, dwell int) bool {
		return since(max(dwell, s.age), func(settled, measured map[string]int) bool { _, a := settled[r]; _, b := measured[r]; return a && !b })
	}
	change, pairs, young, late := false, false, false, false
	for r := range now {
		change, late = change || comes(r, dwell), late || comes(r, 2*dwell)
		for q := range now {
			want := stand(now[r], now[q])
			deviates := func(settled, measured map[string]int) bool {
				for _, m := range []map[string]int{settled, measured} {
					if _, a := m[r]; !a {
						return false
					}
					if _, b := m[q]; !b {
						return false
					}
				}
				was, is := settled[q]-settled[r], measured[q]-measured[r]
				moved := max(is-was, was-is)
				return stand(measured[r], measured[q]) == want && stand(settled[r], settled[q]) != want && moved > band
			}
			ripe := since(dwell, deviates)
			pairs = pairs || ripe
			change, young, late = change || ripe, young || since(0, deviates) && !ripe, late || since(2*dwell, deviates)
		}
	}
	for r := range s.settled {
		change, late = change || goes(r, dwell), late || goes(r, 2*dwell)
	}
	if !change || young && !late {
		return s.settled
	}
	// Without a pair that stands otherwise the others stay as they are, and who comes is as far from their mean as it is measured to be.
	keep, off := !pairs && len(s.settled) >= 2, 0.0
	if keep {
		both := 0
		for r, v := range now {
			if was, held := s.settled[r]; held {
				off, both = off+float64(was-v), both+1
			}
		}
		off /= math.Max(float64(both), 1)
	}
	next := map[string]int{}
	for r, v := range now {
		if was, held := s.settled[r]; held && keep {
			v = was
		} else if keep {
			v = max(0, int(math.Round(float64(v)+off)))
		}
		if _, held := s.settled[r]; held || comes(r, dwell) {
			next[r] = v
		}
	}
	for r, v := range s.settled {
		if _, known := now[r]; !known && !goes(r, dwell) {
			next[r] = v
		}
	}
	s.settled = next
	return next
}

// TestDeciderTwin compares with the twin over random walks.
func TestDeciderTwin(t *testing.T) {
	names := []string{"ams", "fra", "iad", "nrt", "sfo"}
	changes := 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 17))
		options := plainOptions
		options.MaxAge = 2 * time.Minute
		d, twin := rum.NewDecider(), &slowDecider{age: 4}
		at := map[string]int{}
		for _, n := range names {
			at[n] = 100 + r.IntN(600)
		}
		version := uint64(0)
		for step := range 60 {
			now, scores := map[string]int{}, []rum.Score(nil)
			for _, n := range names {
				if r.IntN(12) == 0 {
					at[n] = 100 + r.IntN(600)
				}
				at[n] = max(1, at[n]+r.IntN(101)-50)
				if r.IntN(8) == 0 {
					continue
				}
				samples := []float64{24, 30, 80, 80, 80}[r.IntN(5)]
				scores = append(scores, rum.Score{Region: n, Score: time.Duration(at[n]) * 100 * time.Microsecond, Samples: samples})
				if _, held := twin.settled[n]; samples > 50 || held && samples > 25 {
					now[n] = at[n]
				}
			}
			r.Shuffle(len(scores), func(i, j int) { scores[i], scores[j] = scores[j], scores[i] })
			if len(now) < 2 {
				clear(now) // of one alone nothing follows
			}
			before := maps.Clone(twin.settled)
			want := twin.step(now, 2, 150)
			o := d.Step(ordersStart.Add(time.Duration(step)*30*time.Second), []rum.Options{options}, in(netherlands, scores))
			got := map[string]int{}
			if order := o.For(options, netip.Prefix{}, geo.Place{Country: "NL"}); order != nil {
				for _, s := range order.Regions {
					got[s.Region] = int(s.Score / (100 * time.Microsecond))
				}
			}
			if !maps.Equal(got, want) && (len(want) > 1 || len(got) > 0) {
				t.Fatalf("seed %d, step %d: %v, want %v (before %v, measured %v)", seed, step, got, want, before, now)
			}
			if o.Version() < version || o.Version() == version && !maps.Equal(before, want) {
				t.Fatalf("seed %d, step %d: version %d after %d", seed, step, o.Version(), version)
			}
			if o.Version() != version {
				changes++
			}
			version = o.Version()
			if r.IntN(4) == 0 {
				d = saved(t, d)
			}
		}
	}
	if changes < 1000 || changes > 12000 {
		t.Errorf("%d changes in 18000 steps: too few or too many to say anything", changes)
	}
}

// FuzzDecodeDecider: what is read can be stepped and saved.
func FuzzDecodeDecider(f *testing.F) {
	d := rum.NewDecider()
	d.Step(ordersStart, []rum.Options{plainOptions}, in(netherlands, scoresOf(f, "fra 10, ams 24, iad 90")))
	d.Step(ordersStart, []rum.Options{plainOptions}, in(netherlands, scoresOf(f, "fra 10, ams 240")))
	data, err := d.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"Options":[{"Rungs":[{"Rung":{"Kind":0,"Prefix":"10.0.0.0/24"},"Settled":[{"Region":"a","Score":1}]}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := rum.DecodeDecider(data)
		if err != nil {
			return
		}
		saved(t, d)
		d.Step(ordersStart, []rum.Options{plainOptions}, in(netherlands, scoresOf(t, "fra 10, ams 240")))
		saved(t, d)
	})
}

// TestDecodeDeciderRefuses what a Decider cannot rely on.
func TestDecodeDeciderRefuses(t *testing.T) {
	rung := func(text string) string { return `{"Options":[{"Rungs":[` + text + `]}]}` }
	for _, text := range []string{
		"", "[]", `{"Options":[{"Options":{"Band":-1}}]}`, rung(`{"Rung":{"Kind":4}}`), rung(`{"Rung":{"Kind":0}}`), rung(`{"Rung":{"Kind":2,"Prefix":"10.0.0.0/24"}}`),
		rung(`{"Rung":{"Kind":0,"Prefix":"10.0.0.0/23"}}`), rung(`{"Rung":{"Kind":0,"Prefix":"10.0.0.1/24"}}`),
		rung(`{"Rung":{"Kind":2,"Code":"NL"},"Settled":[{"Region":"b","Score":1},{"Region":"a","Score":1}]}`),
		rung(`{"Rung":{"Kind":2,"Code":"NL"},"Settled":[{"Region":"b","Score":-1}]}`),
	} {
		if d, err := rum.DecodeDecider([]byte(text)); err == nil {
			t.Errorf("%s is read as %+v", text, reflect.ValueOf(d).Elem())
		}
	}
}

// TestScored: what all rungs say is what the View says to a client of each, and an order comes of it.
func TestScored(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for network := range 6 {
		for i := range 20 {
			w.adds(rum.Sample{Client: netip.MustParseAddr(german(1, network, i)), Region: "fra", Latency: 20 * ms})
			w.adds(rum.Sample{Client: netip.MustParseAddr(german(1, network, 100+i)), Region: "iad", Latency: 100 * ms})
		}
	}
	w.Tick(w.now())
	o := rum.Options{Percentile: 75, Band: 15 * ms, MinSamples: 20, ErrorWeight: 500 * ms, MaxAge: time.Minute}
	kinds := map[rum.RungKind]int{}
	for _, s := range w.View().Scored(o) {
		kinds[s.Rung.Kind]++
		if s.Rung.Kind != rum.RungPrefix {
			continue
		}
		rung, scores, ok := w.View().Scores(s.Rung.Prefix, place(s.Rung.Prefix.Addr()), o)
		if !ok || rung != s.Rung || !slices.Equal(scores, s.Scores) {
			t.Errorf("%s says %+v, and to a client %+v by %s", s.Rung, s.Scores, scores, rung)
		}
	}
	if want := map[rum.RungKind]int{rum.RungPrefix: 6, rum.RungASN: 1, rum.RungCountry: 1, rum.RungContinent: 1}; !maps.Equal(kinds, want) {
		t.Errorf("rungs %v, want %v", kinds, want)
	}
	order := rum.NewDecider().Step(w.now(), []rum.Options{o}, w.View().Scored).For(o, netip.MustParsePrefix("20.1.99.0/24"), place(netip.MustParseAddr("20.1.99.0")))
	if order == nil || order.Rung.Kind != rum.RungASN || order.Regions[0].Region != "fra" {
		t.Errorf("order %+v", order)
	}
}

// TestDeciderRetain: after a start, an order of which nothing is measured any more is gone at once, and others wait as ever.
func TestDeciderRetain(t *testing.T) {
	d := rum.NewDecider()
	germany := rum.Rung{Kind: rum.RungCountry, Code: "DE"}
	both := func(rum.Options) []rum.Scored {
		return []rum.Scored{{Rung: netherlands, Scores: scoresOf(t, "fra 10, ams 90")}, {Rung: germany, Scores: scoresOf(t, "fra 10, ams 90")}}
	}
	version := d.Step(ordersStart, []rum.Options{plainOptions}, both).Version()
	d = saved(t, d)
	now := in(netherlands, scoresOf(t, "fra 90 x30, ams 10 x30"))
	d.Retain(now)
	orders := d.Step(ordersStart, []rum.Options{plainOptions}, now)
	if orders.Len() != 1 || orders.Rung(plainOptions, germany) != nil || tiersText(orders) != "fra | ams" || orders.Version() == version {
		t.Errorf("%d orders in version %d: %s", orders.Len(), orders.Version(), tiersText(orders))
	}
}

// TestDeciderClockBack: a sample of an hour that a wrong clock had is none for an hour.
func TestDeciderClockBack(t *testing.T) {
	d := rum.NewDecider()
	step := func(at time.Duration, text string) string {
		return tiersText(d.Step(ordersStart.Add(at), []rum.Options{plainOptions}, in(netherlands, scoresOf(t, text))))
	}
	step(time.Hour, "fra 10, ams 5, iad 90")
	for at := time.Duration(0); at <= plainOptions.MaxAge; at += 30 * time.Second {
		if got := step(at, "fra 10, iad 90"); got != "ams fra | iad" {
			t.Fatalf("%s after the clock went back: %q", at, got)
		}
	}
	if got := step(plainOptions.MaxAge+30*time.Second, "fra 10, iad 90"); got != "fra | iad" {
		t.Errorf("a region that nobody measures stands: %q", got)
	}
}
