package rum_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"geodns/pkg/geo"
	"geodns/pkg/rum"
)

// TestConfig covers what a configuration may not say.
func TestConfig(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]rum.Config{
		"Place and Regions":      {},
		"an interval of 1ms":     {Place: place, Regions: regions, Interval: ms},
		"a window of 20s":        {Place: place, Regions: regions, Window: 20 * time.Second},
		"a window of 45s":        {Place: place, Regions: regions, Window: 45 * time.Second},
		"min_sources -1":         {Place: place, Regions: regions, MinSources: -1},
		"max_sketches -1":        {Place: place, Regions: regions, MaxSketches: -1},
		"max_sketches 100000000": {Place: place, Regions: regions, MaxSketches: 100_000_000},
	} {
		if _, err := rum.New(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %q in it", err, name)
		}
	}
}

// TestRefusals covers every reason but a full memory, and what just passes.
func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	now := w.now()
	for _, c := range []struct {
		name string
		s    rum.Sample
		addr string
		want rum.Refusal
	}{
		{"as it should be", rum.Sample{Region: "fra", Latency: 20 * ms}, "20.1.1.1", ""},
		{"failed", rum.Sample{Region: "iad", Failed: true}, "20.1.1.1", ""},
		{"an address of documentation", rum.Sample{Region: "iad", Failed: true}, "203.0.113.7", ""},
		{"4in6", rum.Sample{Region: "fra", Latency: 20 * ms}, "::ffff:20.1.1.1", ""},
		{"IPv6", rum.Sample{Region: "fra", Latency: 20 * ms}, "2a00::1", ""},
		{"no region", rum.Sample{Latency: 20 * ms}, "20.1.1.1", rum.RefusedMalformed},
		{"negative", rum.Sample{Region: "fra", Latency: -1}, "20.1.1.1", rum.RefusedMalformed},
		{"another region", rum.Sample{Region: "mars", Latency: 20 * ms}, "20.1.1.1", rum.RefusedRegion},
		{"loopback", rum.Sample{Region: "fra", Latency: 20 * ms}, "127.0.0.1", rum.RefusedClient},
		{"loopback, IPv6", rum.Sample{Region: "fra", Latency: 20 * ms}, "::1", rum.RefusedClient},
		{"private", rum.Sample{Region: "fra", Latency: 20 * ms}, "192.168.1.1", rum.RefusedClient},
		{"private in IPv6", rum.Sample{Region: "fra", Latency: 20 * ms}, "::ffff:192.168.1.1", rum.RefusedClient},
		{"shared", rum.Sample{Region: "fra", Latency: 20 * ms}, "100.64.0.1", rum.RefusedClient},
		{"multicast", rum.Sample{Region: "fra", Latency: 20 * ms}, "224.0.0.1", rum.RefusedClient},
		{"unspecified", rum.Sample{Region: "fra", Latency: 20 * ms}, "0.0.0.0", rum.RefusedClient},
		{"broadcast", rum.Sample{Region: "fra", Latency: 20 * ms}, "255.255.255.255", rum.RefusedClient},
		{"link-local", rum.Sample{Region: "fra", Latency: 20 * ms}, "fe80::1", rum.RefusedClient},
		{"unique local", rum.Sample{Region: "fra", Latency: 20 * ms}, "fd00::1", rum.RefusedClient},
		{"no address", rum.Sample{Region: "fra", Latency: 20 * ms}, "", rum.RefusedClient},
		{"old", rum.Sample{Region: "fra", Latency: 20 * ms, Time: now.Add(-14 * time.Minute)}, "20.1.1.1", ""},
		{"too old", rum.Sample{Region: "fra", Latency: 20 * ms, Time: now.Add(-16 * time.Minute)}, "20.1.1.1", rum.RefusedTime},
		{"a bit of the future", rum.Sample{Region: "fra", Latency: 20 * ms, Time: now.Add(4 * time.Second)}, "20.1.1.1", ""},
		{"of the future", rum.Sample{Region: "fra", Latency: 20 * ms, Time: now.Add(6 * time.Second)}, "20.1.1.1", rum.RefusedTime},
		{"no time at all", rum.Sample{Region: "fra"}, "20.1.1.1", rum.RefusedImpossible},
		{"longest", rum.Sample{Region: "fra", Latency: time.Minute}, "20.1.1.1", ""},
		{"too long", rum.Sample{Region: "fra", Latency: time.Minute + 1}, "20.1.1.1", rum.RefusedImpossible},
		{"near", rum.Sample{Region: "fra", Latency: ms}, "20.1.1.1", ""},
		// From Germany to Virginia it is 6,500 km; 1,000 of them may be an error of the place.
		{"faster than light", rum.Sample{Region: "iad", Latency: 50 * ms}, "20.1.1.1", rum.RefusedImpossible},
		{"as fast as light", rum.Sample{Region: "iad", Latency: 60 * ms}, "20.1.1.1", ""},
		{"a place not known", rum.Sample{Region: "iad", Latency: ms}, "22.1.1.1", ""},
		{"a region not on the map", rum.Sample{Region: "nowhere", Latency: ms}, "20.1.2.1", ""},
	} {
		if c.addr != "" {
			c.s.Client = netip.MustParseAddr(c.addr)
		}
		if got := w.adds(c.s); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	stats := w.Stats()
	if stats.Accepted != 12 || stats.Refused[rum.RefusedClient] != 11 || len(stats.Refused) != 8 {
		t.Errorf("stats %+v", stats)
	}
	loop := newWorld(t, func(cfg *rum.Config) { cfg.Loopback = true })
	if got := loop.sends("127.0.0.1", "fra", ms); got != "" {
		t.Errorf("loopback where it is allowed: %q", got)
	}
}

// TestBudgets covers what one source and one network may send in a window, and that a new window has new budgets.
func TestBudgets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for i := range 2 * rum.SourceBudget {
		want := rum.Refusal("")
		if i >= rum.SourceBudget {
			want = rum.RefusedSource
		}
		if got := w.sends("20.1.1.1", "fra", 20*ms); got != want {
			t.Fatalf("sample %d: %q, want %q", i, got, want)
		}
	}
	// One household is one source, however many addresses it takes.
	for i := range 2 * rum.SourceBudget {
		if got := w.sends(fmt.Sprintf("2a00::%x", i+1), "fra", 20*ms); (got == rum.RefusedSource) != (i >= rum.SourceBudget) {
			t.Fatalf("sample %d of a /56: %q", i, got)
		}
	}
	accepted, refused := 0, map[rum.Refusal]int{}
	for i := range 20 * 256 {
		reason := w.sends(german(1, 2, i%256), "fra", 20*ms)
		if reason == "" {
			accepted++
		}
		refused[reason]++
	}
	if accepted != rum.NetworkBudget || refused[rum.RefusedPrefix] == 0 {
		t.Errorf("a network: %d samples accepted, want %d; %v", accepted, rum.NetworkBudget, refused)
	}
	w.pass(rum.WindowDefault)
	if got := w.sends("20.1.1.1", "fra", 20*ms); got != "" {
		t.Errorf("in the next window: %q", got)
	}
}

// fill sends samples from as many sources of a network.
func (w *world) fill(network string, sources int, region string, latency time.Duration) {
	w.t.Helper()
	base := netip.MustParseAddr(network).As4()
	for i := range sources {
		base[3] = byte(i)
		if got := w.adds(rum.Sample{Client: netip.AddrFrom4(base), Region: region, Latency: latency}); got != "" {
			w.t.Fatalf("%v: refused by %q", base, got)
		}
	}
}

// fails adds failures until that many count: sources that share a register share its one failure.
func (w *world) fails(network string, count int, region string) {
	w.t.Helper()
	base := netip.MustParseAddr(network).As4()
	for source := 0; count > 0; source++ {
		if source == 256 {
			w.t.Fatalf("%s: %d failures too few count", network, count)
		}
		base[3] = byte(source)
		if w.adds(rum.Sample{Client: netip.AddrFrom4(base), Region: region, Failed: true}) == "" {
			count--
		}
	}
}

// TestLadder covers which rungs speak: enough sources for each, four networks above the prefix.
func TestLadder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	options := rum.Options{Percentile: 75, MinSamples: 10, JitterWeight: 0.5, ErrorWeight: 500 * ms, MaxAge: time.Minute}
	ask := func(prefix string) string {
		p := netip.MustParsePrefix(prefix)
		rung, scores, ok := w.View().Scores(p, place(p.Addr()), options)
		if !ok {
			return "none"
		}
		return rung.String() + " " + scores[0].Region
	}
	both := func(network string, sources int) {
		w.fill(network, sources, "fra", 20*ms)
		w.fill(network, sources, "iad", 100*ms)
		w.Tick(w.now())
	}
	steps := []struct {
		network string
		sources int
		want    map[string]string
	}{
		{"20.1.1.0", 5, map[string]string{"20.1.1.0/24": "none"}},
		{"20.1.2.0", 30, map[string]string{"20.1.1.0/24": "none", "20.1.2.0/24": "20.1.2.0/24 fra", "20.1.2.9/32": "20.1.2.0/24 fra", "20.1.2.0/23": "none"}},
		{"20.1.3.0", 5, map[string]string{"20.1.1.0/24": "none"}},
		{"20.1.4.0", 5, map[string]string{"20.1.1.0/24": "AS1 in DE fra", "20.1.0.0/16": "AS1 in DE fra", "20.2.0.0/16": "DE fra", "21.1.0.0/16": "EU fra", "22.1.0.0/16": "none"}},
	}
	for _, step := range steps {
		both(step.network, step.sources)
		for prefix, want := range step.want {
			if got := ask(prefix); got != want {
				t.Errorf("after %s: %s is told %q, want %q", step.network, prefix, got, want)
			}
		}
	}
	if s, ok := w.View().Summary(rum.Rung{Kind: rum.RungCountry, Code: "DE"}); !ok || s.Prefixes != 4 || s.Sources < 35 || s.Sources > 55 {
		t.Errorf("Germany: %+v", s)
	}
	options.MinSamples = 40
	// The large network is no more than half of the ladder's samples: 15 of 30.
	if got := ask("20.1.1.0/24"); got != "none" {
		t.Errorf("with 40 samples wanted: %q", got)
	}
	options.MinSamples = 30
	if got := ask("20.1.1.0/24"); got != "AS1 in DE fra" {
		t.Errorf("with 30 samples wanted: %q", got)
	}
	w.clock.Add(int64(2 * time.Minute))
	w.Tick(w.now())
	options.MinSamples = 1
	if got := ask("20.1.2.0/24"); got != "none" {
		t.Errorf("after two minutes, with one allowed: %q", got)
	}
}

// TestScores covers how a score is made, and that a region never reached is last.
func TestScores(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for i := range 20 {
		w.adds(rum.Sample{Client: netip.MustParseAddr(german(1, 1, i)), Region: "fra", Latency: 20 * ms})
		w.adds(rum.Sample{Client: netip.MustParseAddr(german(1, 1, 100+i)), Region: "iad", Latency: 100 * ms})
	}
	w.fails("20.1.1.0", 20, "fra")
	w.fails("20.1.1.0", 20, "nowhere")
	w.Tick(w.now())
	p := netip.MustParsePrefix("20.1.1.0/24")
	_, scores, ok := w.View().Scores(p, place(p.Addr()), rum.Options{Percentile: 75, MinSamples: 20, ErrorWeight: 500 * ms, MaxAge: time.Minute})
	if !ok || len(scores) != 3 {
		t.Fatalf("%+v", scores)
	}
	for i, want := range []struct {
		region string
		score  time.Duration
		errors float64
	}{{"iad", 100 * ms, 0}, {"fra", 270 * ms, 0.5}, {"nowhere", 10500 * ms, 1}} {
		if got := scores[i]; got.Region != want.region || !near(got.Score, want.score) || got.Errors != want.errors {
			t.Errorf("place %d: %+v, want %+v", i, got, want)
		}
	}
}

// TestDecay covers that what was measured halves three times in a window and is forgotten after it, with its network.
func TestDecay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.fill("20.1.1.0", 100, "fra", 20*ms)
	w.Tick(w.now())
	for _, want := range []float64{100, 50, 25} {
		if got := w.shown("20.1.1.0/24")["fra"].Samples; got < want*0.96 || got > want {
			t.Errorf("%v samples are left, want %v", got, want)
		}
		w.pass(5 * time.Minute)
	}
	w.pass(time.Minute)
	if stats := w.Stats(); stats.Sketches != 0 || stats.Networks != 0 || w.shown("20.1.1.0/24") != nil {
		t.Errorf("after a window: %+v", stats)
	}
}

// TestVersion covers that each View has another version and that one taken stays as it is.
func TestVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.fill("20.1.1.0", 20, "fra", 20*ms)
	w.Tick(w.now())
	before := w.View()
	summary := fmt.Sprint(before.Rungs())
	w.fill("20.1.1.0", 20, "fra", 200*ms)
	w.pass(rum.IntervalDefault)
	if w.View().Version() != before.Version()+1 || fmt.Sprint(before.Rungs()) != summary || !w.View().At().After(before.At()) {
		t.Errorf("versions %d and %d; %v, want %v", before.Version(), w.View().Version(), before.Rungs(), summary)
	}
}

// TestPrivacy covers that no address is saved or logged, in whatever form, nor shown where there are few sources.
func TestPrivacy(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	path := filepath.Join(t.TempDir(), "rum")
	w := newWorld(t, func(cfg *rum.Config) {
		cfg.StatePath, cfg.Log = path, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	var clients []netip.Addr
	for i := range 9 {
		clients = append(clients, netip.MustParseAddr(german(77, 133, 201+i)), netip.MustParseAddr(fmt.Sprintf("2a00:7133:2f5a:%x::abcd:ef01", 0x4d10+i)))
	}
	for _, client := range clients {
		for _, region := range []string{"fra", "iad"} {
			w.adds(rum.Sample{Client: client, Region: region, Latency: 99 * ms})
		}
	}
	w.Step()
	// A rung that moves is logged.
	w.fill("20.1.1.0", 30, "fra", 10*ms)
	w.pass(rum.IntervalDefault)
	w.fill("20.1.1.0", 100, "fra", 900*ms)
	w.pass(rum.IntervalDefault)
	w.Step()
	saved, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "held") {
		t.Errorf("nothing is logged of what is held: %s", &log)
	}
	for _, text := range [][]byte{saved, log.Bytes()} {
		for _, client := range clients {
			forms := [][]byte{client.AsSlice(), []byte(client.String())}
			if client.Is4() {
				n := binary.BigEndian.Uint32(client.AsSlice())
				forms = append(forms, binary.LittleEndian.AppendUint32(nil, n), binary.AppendUvarint(nil, uint64(n)))
			} else {
				n := binary.BigEndian.Uint64(client.AsSlice())
				forms = append(forms, client.AsSlice()[:8], binary.LittleEndian.AppendUint64(nil, n), binary.AppendUvarint(nil, n))
			}
			for _, form := range forms {
				if bytes.Contains(text, form) {
					t.Errorf("%v is there as %q", client, form)
				}
			}
		}
	}
	for _, s := range w.View().Rungs() {
		if s.Rung.String() == "20.77.133.0/24" || s.Rung.String() == "2a00:7133:2f5a::/48" {
			t.Errorf("%v of 9 sources is shown", s.Rung)
		}
	}
}

// TestMemory covers that a million networks take no more than is allowed, and that those of the present are among them.
func TestMemory(t *testing.T) {
	t.Parallel()
	const most = 20_000
	w := newWorld(t, func(cfg *rum.Config) { cfg.MaxSketches = most })
	random := rand.New(rand.NewPCG(7, 7))
	for round := range 10 {
		for range 40_000 {
			client := netip.AddrFrom4([4]byte{byte(20 + random.IntN(3)), byte(random.IntN(256)), byte(random.IntN(256)), byte(random.IntN(256))})
			w.Add([]rum.Sample{{Client: client, Region: "fra", Latency: 20 * ms}})
		}
		if got := w.Stats().Sketches; got > most {
			t.Fatalf("round %d: %d sketches, at most %d are allowed", round, got, most)
		}
		before := w.Stats().Accepted
		w.pass(rum.IntervalDefault)
		if got := w.sends(german(1, 1, 1), "fra", 20*ms); got != "" {
			t.Errorf("round %d: a new network is refused by %q after %d samples", round, got, before)
		}
	}
	stats := w.Stats()
	if stats.Bytes > most*400 || stats.Refused[rum.RefusedFull] == 0 {
		t.Errorf("stats %+v", stats)
	}
}

// TestGreedy covers that one ASN, however many networks it has, does not push others out of a full memory.
func TestGreedy(t *testing.T) {
	t.Parallel()
	const most = 10_000
	w := newWorld(t, func(cfg *rum.Config) { cfg.MaxSketches = most })
	for i := range 2 * most {
		client := netip.AddrFrom16([16]byte{0x2a, 0, 0, 0, byte(i >> 8), byte(i), 15: 1})
		for range 3 {
			w.Add([]rum.Sample{{Client: client, Region: "fra", Latency: 20 * ms}})
		}
	}
	refused := 0
	for i := range 2000 {
		if got := w.sends(german(i/256, i%256, 1), "fra", 20*ms); got != "" {
			refused++
		}
	}
	// Eight candidates may all be of others, if rarely.
	if refused > 5 {
		t.Errorf("%d of 2000 others are refused", refused)
	}
}

// TestPlacesMove covers that new geo data moves what was counted.
func TestPlacesMove(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	country := "DE"
	w := newWorld(t, func(cfg *rum.Config) {
		cfg.Place = func(netip.Addr) geo.Place {
			mu.Lock()
			defer mu.Unlock()
			return geo.Place{Continent: "EU", Country: country, ASN: 1}
		}
	})
	for i := range 4 {
		w.fill(german(1, i, 0), 10, "fra", 20*ms)
	}
	w.Tick(w.now())
	mu.Lock()
	country = "AT"
	mu.Unlock()
	if w.shown("DE") == nil {
		t.Error("nothing is known of Germany")
	}
	w.pass(rum.IntervalDefault)
	if w.shown("DE") != nil || w.shown("AT") == nil || w.shown("AS1 in AT") == nil {
		t.Error("it is not Austria that is known now")
	}
}

// TestRun covers intake from many goroutines beside ticks and saves, and that Run ends with its context.
func TestRun(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rum")
	c, err := rum.New(rum.Config{Place: place, Regions: regions, Interval: time.Second, Window: time.Minute, StatePath: path, MaxSketches: 100})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	var wait sync.WaitGroup
	for g := range 4 {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 0))
			for range 5000 {
				c.Add([]rum.Sample{{Client: netip.AddrFrom4([4]byte{20, 1, byte(random.IntN(256)), byte(g)}), Region: "fra", Latency: 20 * ms}})
				if random.IntN(500) == 0 {
					c.Tick(time.Now())
					c.View().Rungs()
					c.Stats()
				}
			}
		})
	}
	wait.Wait()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err != nil || c.Stats().Saves == 0 || c.Stats().Sketches > 100 {
		t.Errorf("%v, %+v", err, c.Stats())
	}
}

// BenchmarkAdd is a beacon of three samples, from many networks.
func BenchmarkAdd(b *testing.B) {
	b.Run("room", func(b *testing.B) { benchmarkAdd(b, rum.SketchesMax) })
	b.Run("full", func(b *testing.B) { benchmarkAdd(b, rum.SketchesDefault) })
}

func benchmarkAdd(b *testing.B, sketches int) {
	w := newWorld(b, func(cfg *rum.Config) { cfg.MaxSketches = sketches })
	random := rand.New(rand.NewPCG(1, 1))
	beacons := make([][]rum.Sample, 1<<16)
	for i := range beacons {
		client := netip.AddrFrom4([4]byte{byte(20 + random.IntN(3)), byte(random.IntN(20)), byte(random.IntN(256)), byte(random.IntN(256))})
		for _, region := range []string{"fra", "iad", "nowhere"} {
			beacons[i] = append(beacons[i], rum.Sample{Client: client, Region: region, Latency: time.Duration(60+random.IntN(100)) * ms})
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w.Add(beacons[i%len(beacons)])
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/3, "ns/sample")
}

// BenchmarkTick is an interval of a full memory.
func BenchmarkTick(b *testing.B) {
	w := newWorld(b, nil)
	random := rand.New(rand.NewPCG(1, 1))
	for range 1_000_000 {
		client := netip.AddrFrom4([4]byte{byte(20 + random.IntN(3)), byte(random.IntN(256)), byte(random.IntN(44)), byte(random.IntN(256))})
		for _, region := range []string{"fra", "iad", "nowhere"} {
			w.Add([]rum.Sample{{Client: client, Region: region, Latency: time.Duration(60+random.IntN(100)) * ms}})
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		w.Tick(w.now())
	}
	stats := w.Stats()
	b.ReportMetric(float64(stats.Bytes)/float64(stats.Sketches), "bytes/sketch")
	b.ReportMetric(float64(stats.Sketches), "sketches")
}

// TestDecaySteps covers that short intervals and long windows, of which many go into one another, leave as much as others do.
func TestDecaySteps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ interval, window time.Duration }{
		{time.Second, 15 * time.Minute}, {7 * time.Second, 7 * 61 * time.Second}, {30 * time.Second, 24 * time.Hour}, {5 * time.Minute, 5 * time.Minute},
	} {
		w := newWorld(t, func(cfg *rum.Config) { cfg.Interval, cfg.Window = c.interval, c.window })
		start := w.now().Truncate(c.window).Add(c.window)
		w.clock.Store(start.UnixNano())
		w.Tick(w.now())
		w.fill("20.1.1.0", 100, "fra", 20*ms)
		for w.now().Before(start.Add(c.window/3 - c.interval)) {
			w.clock.Add(int64(c.interval))
			w.Tick(w.now())
		}
		if got := w.shown("20.1.1.0/24")["fra"].Samples; c.interval < c.window && (got < 45 || got > 60) {
			t.Errorf("%v of %v: %v samples of 100 are left after a third, want half", c.interval, c.window, got)
		}
		w.clock.Store(start.Add(c.window + 2*time.Second + c.interval).UnixNano())
		w.Tick(w.now())
		if got := w.Stats().Sketches; got != 0 {
			t.Errorf("%v of %v: %d sketches are left after the window", c.interval, c.window, got)
		}
	}
}

// TestHeldLog covers that a region that fails everywhere does not fill the log.
func TestHeldLog(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	w := newWorld(t, func(cfg *rum.Config) { cfg.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	for i := range 100 {
		w.fill(german(1, i, 0), 20, "fra", 20*ms)
	}
	w.Tick(w.now())
	for i := range 100 {
		w.fails(german(1, i, 0), 40, "fra")
	}
	w.Tick(w.now())
	lines := strings.Count(log.String(), "\n")
	if held := w.Stats().Held; held < 100 || lines > 20 || !strings.Contains(log.String(), "rung=DE\n") || !strings.Contains(log.String(), "rungs=87") {
		t.Errorf("%d rungs are held, with %d lines:\n%s", held, lines, log.String())
	}
}
