package server_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/miekg/dns"

	"geodns/internal/dnstest"
	"geodns/pkg/geo"
	"geodns/pkg/policy"
	"geodns/pkg/server"
	"geodns/pkg/steering"
	"geodns/pkg/zone"
)

// growthMax is the environment's word for the largest point that BenchmarkGrowth measures; the first of each curve always is.
const growthMax = "GEODNS_GROWTH_MAX"

// growthCurve is one thing of which there may be more and more, all else left small.
type growthCurve struct {
	name   string
	points []int
	write  func(g *growthFiles, n int)
	asked  []growthQuestion
}

// growthQuestion makes random questions of one kind; all have one answer, or none and this rcode.
type growthQuestion struct {
	name  string
	make  func(b *testing.B, r *rand.Rand, n int) []byte
	rcode byte
}

// growthCurves are the curves. In the one of layouts each policy has a map of its own, over the first networks.
func growthCurves() []growthCurve {
	steered := []growthQuestion{{name: "steered", make: growthSteered}}
	return []growthCurve{
		{"zones", []int{1, 10, 100, 1000, 10_000, 100_000}, writeGrowthZones, []growthQuestion{
			{name: "hit", make: growthStatic(func(i int) string { return fmt.Sprintf("www.z%d.example.", i) })},
			{name: "miss", make: growthStatic(func(i int) string { return fmt.Sprintf("nope.z%d.example.", i) }), rcode: dns.RcodeNameError},
		}},
		{"names", []int{10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000}, writeGrowthNames, []growthQuestion{
			{name: "hit", make: growthStatic(func(i int) string { return fmt.Sprintf("host-%d.example.com.", i) })},
			{name: "miss", make: growthStatic(func(i int) string { return fmt.Sprintf("nope-%d.example.com.", i) }), rcode: dns.RcodeNameError},
		}},
		{"policies", []int{10, 100, 1000, 10_000}, func(g *growthFiles, n int) { g.policies(n, 1, 10, 1) }, steered},
		{"layouts", []int{1, 10, 100, 1000}, func(g *growthFiles, n int) { g.networks(growthNetworks); g.policies(n, 1, 10, n) }, steered},
		{
			"networks",
			[]int{growthNetworks, 300_000, 1_000_000, 3_000_000, 10_000_000},
			func(g *growthFiles, n int) { g.networks(n); g.policies(10, 1, 10, 1) },
			[]growthQuestion{{name: "IPv4", make: growthOne(growthClient4)}, {name: "IPv6", make: growthOne(growthClient6)}},
		},
		{
			"targets",
			[]int{10, 100, 1000, 10_000},
			func(g *growthFiles, n int) { g.policies(n/10, n/10, 10, 1) },
			[]growthQuestion{{name: "steered", make: func(b *testing.B, r *rand.Rand, n int) []byte { return growthSteered(b, r, n/10) }}},
		},
		{"tier", []int{1, 10, 100, 1000, 4000}, func(g *growthFiles, n int) { g.tier(n) }, []growthQuestion{{name: "steered", make: growthOne(growthClient4)}}},
	}
}

// growthNetworks is the least number of networks that is measured.
const growthNetworks = 100_000

// BenchmarkGrowth measures what answers, memory, loads and swaps cost as one thing grows: the points of bench/growth. Each is a world of
// its own, made from files; GEODNS_GROWTH_MAX says how far to go. ns/KIND is a query's, whole answers in batches, random ones, with the
// copy of the query into its buffer. Every time is the one that a tenth of its runs stay below, as the machine may have other work.
func BenchmarkGrowth(b *testing.B) {
	most, err := strconv.Atoi(os.Getenv(growthMax))
	if err != nil && os.Getenv(growthMax) != "" {
		b.Fatalf("%s: %v", growthMax, err)
	}
	for _, c := range growthCurves() {
		b.Run(c.name, func(b *testing.B) {
			for i, n := range c.points {
				if i == 0 || n <= most {
					b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkGrowth(b, c, n) })
				}
			}
		})
	}
}

// benchmarkGrowth measures a point.
func benchmarkGrowth(b *testing.B, c growthCurve, n int) {
	b.StopTimer()
	small := loadGrowth(b, b.TempDir(), func(g *growthFiles) { g.policies(1, 1, 1, 1) })
	dir := b.TempDir()
	writeGrowth(b, dir, func(g *growthFiles) { c.write(g, n) })
	before := heapInUse()
	var l *growthLoaded
	load := growthTime(b, func() { l = readGrowth(b, dir) })
	heap := heapInUse() - before
	collect := growthCollect()
	// A server that is never run: Publish is what a swap costs before a worker takes the world up.
	s, err := server.New(server.Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}}, small.world)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	swap := growthTime(b, func() {
		s.Publish(small.world)
		s.Publish(l.join(b))
	})
	verdict := growthTime(b, func() {
		w, err := l.world.WithStates(l.states(b))
		if err != nil {
			b.Fatal(err)
		}
		s.Publish(w)
	})
	times := askGrowth(b, l.world, c, n)
	for i, q := range c.asked {
		b.ReportMetric(float64(undisturbed(times[i]).Nanoseconds())/(growthStretch*server.BatchMax), "ns/"+q.name)
	}
	b.ReportMetric(0, "ns/op") // of a stretch, which says nothing
	b.ReportMetric(float64(heap), "heap-B")
	b.ReportMetric(load.Seconds(), "load-s")
	b.ReportMetric(float64(swap.Nanoseconds())/1e3, "swap-us")
	b.ReportMetric(float64(verdict.Nanoseconds())/1e3, "verdict-us")
	b.ReportMetric(float64(collect.Nanoseconds())/1e3, "gc-us")
	runtime.KeepAlive(l)
}

const (
	// growthQuestions is how many questions are asked in turn: with what they ask for they are more than a cache of 32 MB.
	growthQuestions = 1 << 19
	// growthStretch is how many batches one time is taken of: short beside the time slice of another process.
	growthStretch = 64
)

// askGrowth answers batches of each kind of question by turns, and gives the times of the stretches by kind.
func askGrowth(b *testing.B, w *server.World, c growthCurve, n int) [][]time.Duration {
	b.Helper()
	r, err := server.NewResponder(server.Config{}, w)
	if err != nil {
		b.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	source := netip.MustParseAddr("192.0.2.1")
	queries := make([][][]byte, len(c.asked))
	for i, q := range c.asked {
		for range min(growthQuestions, 1<<16+2*n) &^ (growthStretch*server.BatchMax - 1) {
			queries[i] = append(queries[i], q.make(b, rnd, n))
		}
		for _, query := range queries[i][:server.BatchMax] {
			answer := r.Answer(server.UDP, source, query, server.BufferLen)
			if len(answer) < 12 || answer[3]&15 != q.rcode || int(answer[7]) != map[bool]int{true: 1}[q.rcode == 0] {
				b.Fatalf("%s: %s", q.name, text(b, answer))
			}
		}
	}
	r.Fill(queries[0][:server.BatchMax], source)
	times := make([][]time.Duration, len(c.asked))
	runtime.GC()
	b.StartTimer()
	for at := 0; b.Loop(); at += growthStretch * server.BatchMax {
		for i, all := range queries {
			stretch := all[at%len(all):][:growthStretch*server.BatchMax]
			start := time.Now()
			for j := 0; j < len(stretch); j += server.BatchMax {
				r.Refill(stretch[j:][:server.BatchMax])
				r.AnswerBatch()
			}
			times[i] = append(times[i], time.Since(start))
		}
	}
	b.StopTimer()
	return times
}

// growthTime is what a call of f takes: CPU time where that is long, of all cores. A short one is taken by the wall clock, as the kernel
// counts in ticks.
func growthTime(b *testing.B, f func()) time.Duration {
	b.Helper()
	const enough, most, short = time.Second, 101, 20 * time.Millisecond
	var times []time.Duration
	for total := time.Duration(0); total < enough && len(times) < most; total += times[len(times)-1] {
		runtime.GC()
		start, cpu := time.Now(), dnstest.CPUTime(b)
		f()
		took := time.Since(start)
		if took > short {
			took = dnstest.CPUTime(b) - cpu
		}
		times = append(times, took)
	}
	return undisturbed(times)
}

// growthCollect is the CPU time of a collection of garbage, without what idle cores do of it.
func growthCollect() time.Duration {
	const rounds = 20
	samples := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/gc/mark/idle:cpu-seconds"}}
	var times []time.Duration
	for before, i := 0.0, 0; i <= rounds; i++ {
		runtime.GC()
		metrics.Read(samples)
		now := samples[0].Value.Float64() - samples[1].Value.Float64()
		if i > 0 {
			times = append(times, time.Duration((now-before)*float64(time.Second)))
		}
		before = now
	}
	return undisturbed(times)
}

// undisturbed is the time that a tenth of the times are below.
func undisturbed(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/10]
}

// heapInUse is what is live on the heap, in bytes.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // what the first one finalized
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// growthLoaded is what a node holds.
type growthLoaded struct {
	data     *geo.Data
	zones    *zone.Set
	compiled *policy.Compiled
	world    *server.World
}

// readGrowth makes a world from files, as a load does.
func readGrowth(b *testing.B, dir string) *growthLoaded {
	b.Helper()
	var cfg geo.Config
	database := filepath.Join(dir, growthDatabase)
	if _, err := os.Stat(database); err == nil {
		cfg.Databases = []string{database}
	} else if !errors.Is(err, fs.ErrNotExist) {
		b.Fatal(err)
	}
	data, found := geo.Load(cfg, nil)
	zones, zoneFound := zone.Load(filepath.Join(dir, "zones"), 0)
	doc, docFound := policy.Load(filepath.Join(dir, "zones"))
	if found = append(append(found, zoneFound...), docFound...); found.HasErrors() {
		b.Fatal(found.Err())
	}
	compiled, found := policy.Compile(doc, policy.Input{Networks: data.Networks, Zones: zones})
	if found.HasErrors() {
		b.Fatal(found.Err())
	}
	l := &growthLoaded{data: data, zones: zones, compiled: compiled}
	l.world = l.join(b)
	return l
}

// states makes new states of targets that nothing checks.
func (l *growthLoaded) states(b *testing.B) *steering.States {
	b.Helper()
	states, err := steering.NewStates(l.compiled.Table, slices.Repeat([]steering.Verdict{steering.Unchecked()}, len(l.compiled.Targets)))
	if err != nil {
		b.Fatal(err)
	}
	return states
}

// join makes a world of the parts.
func (l *growthLoaded) join(b *testing.B) *server.World {
	b.Helper()
	w, err := server.NewWorld(l.zones, l.compiled.Table, l.states(b), l.compiled.PolicyIDs())
	if err != nil {
		b.Fatal(err)
	}
	return w
}

// loadGrowth writes files and reads them.
func loadGrowth(b *testing.B, dir string, write func(*growthFiles)) *growthLoaded {
	b.Helper()
	writeGrowth(b, dir, write)
	return readGrowth(b, dir)
}

// writeGrowth writes files.
func writeGrowth(b *testing.B, dir string, write func(*growthFiles)) {
	b.Helper()
	g := &growthFiles{b: b, dir: dir}
	if err := os.Mkdir(filepath.Join(dir, "zones"), 0o755); err != nil {
		b.Fatal(err)
	}
	write(g)
}
