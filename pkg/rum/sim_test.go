package rum_test

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"geodns/internal/dnstest"
	"geodns/pkg/geo"
	"geodns/pkg/rum"
)

// The whole loop on a latency matrix: client networks send beacons, a Collector counts them, a Decider makes orders of the View, a
// plan follows from the orders, and clients go where their resolver's cached answer sends them. It is driven by a clock of its own.

const (
	simInterval = 30 * time.Second
	simTTL      = 60 * time.Second
	// simBeacons is how many beacons a client sends an hour in the mean of a day: ten page views, of which the plan samples a tenth.
	simBeacons = 1.0
	// simOther is how often a beacon has a third region, one in so many, as a plan has.
	simOther = 4
	// simErrors is one measurement in so many that fails.
	simErrors = 200
)

// simOptions are the defaults of a latency ranker.
var simOptions = rum.Options{
	Percentile: 75, Band: 15 * time.Millisecond, Dwell: 60 * time.Second, MinSamples: 50,
	JitterWeight: 0.5, ErrorWeight: 500 * time.Millisecond, MaxAge: 15 * time.Minute,
}

// simStart is a midnight in UTC; the clients' own clocks follow their longitude.
var simStart = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

// simLiar makes the samples that a network sends instead of what it measured; nil: none do.
type simLiar func(n *simNetwork) []rum.Sample

// simSystem is one loop over a world. Two of one seed have the same clients with the same luck.
type simSystem struct {
	world     *simWorld
	now       time.Time
	collector *rum.Collector
	decider   *rum.Decider
	orders    *rum.Orders
	random    []*rand.Rand // by network
	answers   []int        // the region that a network's own query would be answered
	plans     [][]int      // regions by network, the best first: what its beacons measure
	lies      map[int]simLiar
	counts    rum.Counts
	was       map[rum.Rung]*rum.Order // all orders
	rungs     []int                   // by network: the kind of the rung that answers, simNone: none does
	simChurn
	cached []simCached // by resolver's network
}

// simChurn is what changed.
type simChurn struct {
	moved      int          // answers of networks
	changed    [simNone]int // orders by their kind, in which regions that were known and still are stand otherwise
	grown      int          // orders with a region more or less, and the others as they stood
	came, went int          // orders of rungs that began or ceased to know
}

// simNone stands behind the kinds of rungs for a network of which none knows.
const simNone = int(rum.RungContinent) + 1

// simCached is an answer in a resolver's cache.
type simCached struct {
	region  int
	expires time.Time
}

// newSimSystem makes the loop of a world, the plans by distance.
func newSimSystem(t testing.TB, w *simWorld, seed uint64) *simSystem {
	s := &simSystem{
		world: w, now: simStart, decider: rum.NewDecider(), rungs: make([]int, len(w.networks)),
		answers: make([]int, len(w.networks)), plans: make([][]int, len(w.networks)), cached: make([]simCached, len(w.networks)),
	}
	for i := range w.networks {
		s.random = append(s.random, rand.New(rand.NewPCG(seed, uint64(i))))
		// Caches do not expire together.
		s.cached[i].expires = simStart.Add(time.Duration(s.random[i].Int64N(int64(simTTL))))
		s.cached[i].region = w.networks[i].near[0]
	}
	var err error
	s.collector, err = rum.New(rum.Config{
		Place: func(a netip.Addr) geo.Place {
			i, ok := w.byPrefix[netip.PrefixFrom(a, 24).Masked()]
			if !ok {
				return geo.Place{}
			}
			return w.networks[i].place
		},
		Regions:  func() map[string]rum.Location { return w.locations },
		Interval: simInterval,
		Now:      func() time.Time { return s.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.plan()
	return s
}

// step is one interval: beacons, a View, orders, answers.
func (s *simSystem) step() {
	s.counts = rum.Counts{Refused: map[rum.Refusal]int{}}
	for i := range s.world.networks {
		var got rum.Counts
		if lie := s.lies[i]; lie != nil {
			got = s.collector.Add(lie(&s.world.networks[i]))
		} else {
			got = s.collector.Add(s.beacons(i))
		}
		s.counts.Accepted += got.Accepted
		for reason, n := range got.Refused {
			s.counts.Refused[reason] += n
		}
	}
	s.now = s.now.Add(simInterval)
	s.collector.Tick(s.now)
	before := s.orders.Version()
	s.orders = s.decider.Step(s.now, []rum.Options{simOptions}, s.collector.View().Scored)
	if s.orders.Version() != before {
		s.plan()
	}
}

// simLoad is the part of the mean load that clients at a longitude make at a time: most in the evening, least before dawn.
func simLoad(now time.Time, lon float64) float64 {
	hour := now.Sub(simStart).Hours() + lon/15
	return 1 + 0.7*math.Cos((hour-20)/24*2*math.Pi)
}

// beacons makes the samples of a network's clients in one interval: the best, the second best, now and then another.
func (s *simSystem) beacons(i int) (out []rum.Sample) {
	n, random := &s.world.networks[i], s.random[i]
	rate := n.clients * simBeacons * simLoad(s.now, n.place.Lon) * simInterval.Hours()
	for range simPoisson(random, rate) {
		address := n.prefix.Addr().As4()
		address[3] = byte(1 + random.IntN(254))
		client := netip.AddrFrom4(address)
		plan := s.plans[i]
		measure := []int{plan[0], plan[1]}
		if !slices.Contains(measure, n.near[0]) {
			measure = append(measure, n.near[0])
		}
		if other := random.IntN(simOther * len(plan)); other < len(plan) && !slices.Contains(measure, other) {
			measure = append(measure, other)
		}
		for _, r := range measure {
			noise := newSimNoise(random)
			ms := n.latency(r, noise)
			out = append(out, rum.Sample{
				Client: client, Region: simRegionNames[r],
				Latency: time.Duration(ms * float64(time.Millisecond)), Failed: random.IntN(simErrors) == 0,
			})
		}
	}
	return out
}

// simPoisson draws a number of events by the method of products (Knuth), in parts where the mean is large.
func simPoisson(random *rand.Rand, mean float64) (n int) {
	const part = 30
	for ; mean > part; mean -= part {
		n += simPoisson(random, part)
	}
	limit := math.Exp(-mean)
	for p := random.Float64(); p > limit; p *= random.Float64() {
		n++
	}
	return n
}

// compare counts what became of the orders.
func (s *simSystem) compare() {
	is := map[rum.Rung]*rum.Order{}
	for _, o := range s.orders.All(simOptions) {
		is[o.Rung] = o
		switch was := s.was[o.Rung]; {
		case was == nil:
			s.came++
		case fmt.Sprint(simAmong(was, o)) != fmt.Sprint(simAmong(o, was)):
			s.changed[o.Rung.Kind]++
		case len(was.Regions) != len(o.Regions):
			s.grown++
		}
	}
	for rung := range s.was {
		if is[rung] == nil {
			s.went++
		}
	}
	s.was = is
}

// simAmong is how an order's regions stand that another has too: pair by pair, whether the first is better by more than the band.
func simAmong(o, other *rum.Order) (out []string) {
	for _, a := range o.Regions {
		for _, b := range o.Regions {
			has := func(name string) bool {
				return slices.ContainsFunc(other.Regions, func(r rum.Settled) bool { return r.Region == name })
			}
			if b.Score-a.Score > o.Band(simOptions.Band) && has(a.Region) && has(b.Region) {
				out = append(out, a.Region+" "+b.Region)
			}
		}
	}
	slices.Sort(out)
	return out
}

// plan follows from the orders: rank [{latency: {band: 15ms}}, nearest], regions of which nothing is known behind, by distance.
func (s *simSystem) plan() {
	s.compare()
	for i := range s.world.networks {
		n := &s.world.networks[i]
		plan := slices.Clone(n.near)
		s.rungs[i] = simNone
		if order := s.orders.For(simOptions, n.prefix, n.place); order != nil {
			s.rungs[i] = int(order.Rung.Kind)
			tier := map[int]int{}
			for k, regions := range order.Tiers(simOptions.Band) {
				for _, name := range regions {
					tier[slices.Index(simRegionNames, name)] = k
				}
			}
			of := func(r int) int {
				if k, known := tier[r]; known {
					return k
				}
				return len(simRegionNames)
			}
			slices.SortStableFunc(plan, func(a, b int) int { return cmp.Compare(of(a), of(b)) })
		}
		if s.plans[i] != nil && s.answers[i] != plan[0] {
			s.moved++
		}
		s.plans[i], s.answers[i] = plan, plan[0]
	}
}

// steered is where a client of a network is sent: by its resolver's cache.
func (s *simSystem) steered(i int) int {
	resolver := s.world.networks[i].resolver
	c := &s.cached[resolver]
	if !s.now.Before(c.expires) {
		c.region = s.answers[resolver]
		c.expires = c.expires.Add(s.now.Sub(c.expires).Truncate(simTTL) + simTTL)
	}
	return c.region
}

// simHistogram counts latencies by tenths of a millisecond, up to four seconds.
type simHistogram struct {
	bins [40_000]float64
	sum  float64
}

// add counts a latency.
func (h *simHistogram) add(ms, weight float64) {
	h.bins[min(max(int(ms*10), 0), len(h.bins)-1)] += weight
	h.sum += weight
}

// at gives a quantile, in milliseconds.
func (h *simHistogram) at(quantile float64) float64 {
	below := 0.0
	for i, w := range h.bins {
		if below += w; below >= quantile*h.sum {
			return (float64(i) + 0.5) / 10
		}
	}
	return 0
}

// simMeter is the latency of clients by who chose their region.
type simMeter struct {
	nearest, steered, own, oracle simHistogram
	kinds                         [simNone + 1]simLoss
}

// simLoss is what clients lose to the oracle in the mean, by the kind of the rung that answers them: steered, sent to the nearest, or
// all of the rung to the single region that is best for it, which is as good as a rung can be. Weighted sums, in milliseconds.
type simLoss struct{ weight, steered, nearest, single float64 }

// add counts another.
func (l *simLoss) add(o simLoss) {
	l.weight, l.steered, l.nearest, l.single = l.weight+o.weight, l.steered+o.steered, l.nearest+o.nearest, l.single+o.single
}

// measure counts one request of each network, which weighs what its clients ask now. The luck is the same for all choices.
func (m *simMeter) measure(s *simSystem, random *rand.Rand) {
	for i := range s.world.networks {
		n := &s.world.networks[i]
		noise, weight := newSimNoise(random), n.clients*simLoad(s.now, n.place.Lon)
		m.nearest.add(n.latency(n.near[0], noise), weight)
		m.steered.add(n.latency(s.steered(i), noise), weight)
		m.own.add(n.latency(s.answers[i], noise), weight)
		m.oracle.add(n.latency(n.best(), noise), weight)
		best := n.mean(n.best())
		m.kinds[s.rungs[i]].add(simLoss{
			weight: weight, steered: weight * (n.mean(s.answers[i]) - best), nearest: weight * (n.mean(n.near[0]) - best),
			single: weight * (n.mean(n.single[s.rungs[i]]) - best),
		})
	}
}

// simScale is how much of the simulation a run does.
type simScale struct {
	networks         int
	clients          float64
	warm, rest       time.Duration
	learn, attacking time.Duration
	whole            bool
}

// newSimScale is a day of a million clients where it is asked for, and a fifth of them for less than an hour else.
func newSimScale() simScale {
	if os.Getenv("GEODNS_PROVE") != "" {
		return simScale{
			networks: simNetworks, clients: simClients,
			warm: time.Hour, rest: 24 * time.Hour, learn: 30 * time.Minute, attacking: 30 * time.Minute, whole: true,
		}
	}
	return simScale{
		networks: simNetworks / 5, clients: simClients / 5,
		warm: 20 * time.Minute, rest: 20 * time.Minute, learn: 15 * time.Minute, attacking: 10 * time.Minute,
	}
}

// TestSimSteering has clients steered by what others of them measured, over a day's load, and then a link get slower.
func TestSimSteering(t *testing.T) {
	seed, scale := dnstest.Seed(t), newSimScale()
	w := newSimWorld(t, rand.New(rand.NewPCG(seed, 1<<32)), scale.networks, scale.clients)
	s, luck := newSimSystem(t, w, seed), rand.New(rand.NewPCG(seed, 2<<32))
	for s.now.Before(simStart.Add(scale.warm)) {
		s.step()
	}
	s.simChurn = simChurn{}
	var all simMeter
	var bytes int64
	const bucket = 10 * time.Minute
	latency := simPanel{title: "p95 of latency, ms", from: scale.warm.Hours(), step: bucket.Hours(), series: []simSeries{
		{name: "nearest", color: "#c33"}, {name: "steered", color: "#36c"}, {name: "oracle", color: "#393"},
	}}
	for end := s.now.Add(scale.rest); s.now.Before(end); {
		var part simMeter
		for stop := s.now.Add(bucket); s.now.Before(stop); {
			s.step()
			part.measure(s, luck)
			bytes = max(bytes, s.collector.Stats().Bytes)
		}
		for k, h := range []*simHistogram{&part.nearest, &part.steered, &part.oracle} {
			latency.series[k].points = append(latency.series[k].points, h.at(0.95))
		}
		all.merge(&part)
	}
	stats := s.collector.Stats()
	t.Logf("%d networks, %.0f clients, %d sites, measured matrix %v", len(w.networks), scale.clients, len(w.sites), w.measured)
	t.Logf("%-28s %8s %8s", "latency of clients, ms", "median", "p95")
	for _, row := range []struct {
		name string
		h    *simHistogram
	}{{"nearest by distance", &all.nearest}, {"steered, by resolvers' caches", &all.steered}, {"steered, each by its own", &all.own}, {"oracle", &all.oracle}} {
		t.Logf("%-28s %8.1f %8.1f", row.name, row.h.at(0.5), row.h.at(0.95))
	}
	for kind, l := range all.kinds {
		name := "none"
		if kind < simNone {
			name = rum.RungKind(kind).String()
		}
		t.Logf("answered by %-10s %5.1f %% of clients, %6.2f ms behind the oracle in the mean; %6.2f by distance, %6.2f by the best one region for each rung",
			name, 100*l.weight/all.oracle.sum, l.steered/max(l.weight, 1), l.nearest/max(l.weight, 1), l.single/max(l.weight, 1))
	}
	t.Logf("at rest in %v: of %d orders changed %v (prefix, asn, country, continent), %d learned or lost a region, %d came, %d went; %d answers moved of %d networks; rungs %v",
		scale.rest, s.orders.Len(), s.changed, s.grown, s.came, s.went, s.moved, len(w.networks), stats.Rungs)
	t.Logf("memory: %d sketches, %.1f MB at the most; accepted %d, refused %v, held %d", stats.Sketches, float64(bytes)/1e6, stats.Accepted, stats.Refused, stats.Held)
	simTargets(t, s)
	simGoals(t, s, scale, &all, bytes)

	learned := simLearn(t, s, scale.learn)
	simWritePlot(t, latency, learned)
}

// simGoals holds what was seen against bounds. With few networks a handful of them makes the p95, and so the short run's is wide.
func simGoals(t *testing.T, s *simSystem, scale simScale, all *simMeter, bytes int64) {
	t.Helper()
	// The goal is that no order changes. What is left is pairs that chance set too far apart when an order was taken, which is mended: one
	// an hour of all orders.
	bound, changesMax := 0.25, 0.1
	if scale.whole {
		bound, changesMax = 0.05, 0.002
	}
	changes := 0
	for _, n := range s.changed {
		changes += n
	}
	if each := float64(changes) / scale.rest.Hours() / float64(s.orders.Len()); each > changesMax {
		t.Errorf("%d changes of %d orders at rest in %v: %.2g an order and hour, want %g or less", changes, s.orders.Len(), scale.rest, each, changesMax)
	}
	behind := all.steered.at(0.95)/all.oracle.at(0.95) - 1
	t.Logf("steered clients are %.1f %% behind the oracle at p95, those sent to the nearest %.1f %%", 100*behind, 100*(all.nearest.at(0.95)/all.oracle.at(0.95)-1))
	if behind > bound {
		t.Errorf("steered clients are %.1f %% behind the oracle at p95, want %.0f %% or less", 100*behind, 100*bound)
	}
	// A network that knows by itself is right to the band: what is nearest within it is taken.
	own := all.kinds[rum.RungPrefix]
	if loss := own.steered / own.weight; own.weight < all.oracle.sum/2 || loss > simOptions.Band.Seconds()*1000/2 {
		t.Errorf("%.0f %% of clients are answered by their own network's rung, %.1f ms behind the oracle; want half or more, and half the band or less",
			100*own.weight/all.oracle.sum, loss)
	}
	const bytesEach = 2000
	if bytes > bytesEach*int64(scale.networks) {
		t.Errorf("%d bytes for %d networks, want %d each or less", bytes, scale.networks, bytesEach)
	}
}

// merge adds what another meter counted.
func (m *simMeter) merge(o *simMeter) {
	for _, pair := range [][2]*simHistogram{{&m.nearest, &o.nearest}, {&m.steered, &o.steered}, {&m.own, &o.own}, {&m.oracle, &o.oracle}} {
		for i, weight := range pair[1].bins {
			pair[0].bins[i] += weight
		}
		pair[0].sum += pair[1].sum
	}
	for i := range m.kinds {
		m.kinds[i].add(o.kinds[i])
	}
}

// simTargets fails where an order has a region that is not served, or one twice: RUM orders targets, and their set is not its to change.
func simTargets(t *testing.T, s *simSystem) {
	t.Helper()
	for _, o := range s.orders.All(simOptions) {
		regions := map[string]bool{}
		for _, r := range o.Regions {
			if _, served := s.world.locations[r.Region]; !served || regions[r.Region] {
				t.Fatalf("the order of %v has %s, which is not served, or has it twice: %v", o.Rung, r.Region, o.Regions)
			}
			regions[r.Region] = true
		}
	}
	for i, plan := range s.plans {
		if sorted := slices.Compact(slices.Sorted(slices.Values(plan))); len(sorted) != len(simRegionNames) {
			t.Fatalf("the plan of network %d has %d regions, want all %d", i, len(sorted), len(simRegionNames))
		}
	}
}

// simLearn makes links 50 ms slower, a third of those whose clients would be better off elsewhere, and sees when clients are sent there.
func simLearn(t *testing.T, s *simSystem, limit time.Duration) simPanel {
	const slower = 50
	w := s.world
	links := map[[2]int]bool{} // site and region
	for i := range w.networks {
		n := &w.networks[i]
		best := n.best()
		second := math.Inf(1)
		for r := range n.base {
			if r != best {
				second = min(second, n.mean(r))
			}
		}
		// The gain is twice the band, which leaves room for the jitter in the score.
		if n.site%3 == 0 && s.answers[i] == best && second+2*simOptions.Band.Seconds()*1000 < n.mean(best)+slower {
			links[[2]int{n.site, best}] = true
		}
	}
	affected := map[int]int{} // network: where it was sent
	total := 0.0
	for i := range w.networks {
		n := &w.networks[i]
		before := n.best()
		if !links[[2]int{n.site, before}] || s.answers[i] != before {
			continue
		}
		n.slow[before] = slower
		if n.best() != before && n.mean(n.best())+2*simOptions.Band.Seconds()*1000 < n.mean(before) {
			affected[i] = before
			total += n.clients
		}
	}
	for i := range w.networks {
		for r := range w.networks[i].slow {
			if links[[2]int{w.networks[i].site, r}] {
				w.networks[i].slow[r] = slower
			}
		}
	}
	panel := simPanel{title: "clients sent elsewhere after their link got 50 ms slower, %", step: simInterval.Hours(), series: []simSeries{
		{name: "steered", color: "#36c", points: []float64{0}},
	}}
	half, most := time.Duration(0), time.Duration(0)
	for since := s.now; s.now.Sub(since) < limit; {
		s.step()
		moved := 0.0
		for _, i := range slices.Sorted(maps.Keys(affected)) {
			if s.steered(i) != affected[i] {
				moved += w.networks[i].clients
			}
		}
		part := moved / max(total, 1)
		panel.series[0].points = append(panel.series[0].points, 100*part)
		if part >= 0.5 && half == 0 {
			half = s.now.Sub(since)
		}
		if part >= 0.9 && most == 0 {
			most = s.now.Sub(since)
		}
	}
	points := panel.series[0].points
	t.Logf("%d links 50 ms slower, which %d networks should leave: half of their clients elsewhere after %v, nine of ten after %v, %.1f %% after %v (0s: not within it)",
		len(links), len(affected), half, most, points[len(points)-1], limit)
	return panel
}

// simWritePlot writes the plot where GEODNS_SIM_PLOT says.
func simWritePlot(t *testing.T, panels ...simPanel) {
	path := os.Getenv("GEODNS_SIM_PLOT")
	if path == "" {
		return
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := simPlot(f, panels); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
