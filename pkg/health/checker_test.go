package health_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"geodns/pkg/health"
	"geodns/pkg/steering"
)

// fleet stands in for the network: it decides how probes end, and keeps who
// was probed when. Only for use within a synctest bubble.
type fleet struct {
	mu     sync.Mutex // guards the following
	start  time.Time
	bad    map[string]bool          // by address: probes fail
	takes  map[string]time.Duration // by address: how long a probe takes
	starts map[string][]time.Duration
	ends   map[string][]ended
	busy   int
	peak   int
}

// newFleet makes a fleet in which every probe is good at once.
func newFleet() *fleet {
	return &fleet{
		start: time.Now(), bad: map[string]bool{}, takes: map[string]time.Duration{},
		starts: map[string][]time.Duration{}, ends: map[string][]ended{},
	}
}

// now is the time since the fleet was made.
func (f *fleet) now() time.Duration { return time.Since(f.start) }

// set says how probes of an address end from now on.
func (f *fleet) set(name string, bad bool, takes time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bad[name], f.takes[name] = bad, takes
}

// probe is what the checker calls.
func (f *fleet) probe(ctx context.Context, name string, check health.Check) health.Result {
	f.mu.Lock()
	f.starts[name] = append(f.starts[name], f.now())
	f.busy++
	f.peak = max(f.peak, f.busy)
	takes := f.takes[name]
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, check.Timeout)
	defer cancel()
	stopped := false
	if takes > 0 {
		timer := time.NewTimer(takes)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			stopped = true
		case <-timer.C:
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy--
	ok := !f.bad[name] && !stopped
	f.ends[name] = append(f.ends[name], ended{f.now(), ok})
	if ok {
		return health.Result{OK: true, Reason: "status 200", Latency: takes}
	}
	return health.Result{Reason: "connection refused", Latency: takes}
}

// startsOf is when probes of an address were started.
func (f *fleet) startsOf(name string) []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.starts[name])
}

// newChecker makes a checker whose probes go to the fleet.
func newChecker(t *testing.T, f *fleet, cfg health.Config) *health.Checker {
	t.Helper()
	c, err := health.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.SetProbe(f.probe)
	return c
}

// run runs the checker until the func that it returns is called.
func run(t *testing.T, c *health.Checker) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// webCheck is a check with short times.
func webCheck() *health.Check {
	return &health.Check{
		Name: "web", Kind: health.HTTP, Port: 80,
		Interval: 5 * time.Second, Timeout: 2 * time.Second, Fall: 3, Rise: 4,
	}
}

// makeTargets makes n targets of one address each, 10.0.0.1 and so on.
func makeTargets(n int, check *health.Check) []health.Target {
	targets := make([]health.Target, n)
	for i := range targets {
		targets[i] = health.Target{
			ID:    fmt.Sprintf("web/t%d", i+1),
			Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte((i + 1) >> 8), byte(i + 1)})}, Check: check,
		}
	}
	return targets
}

// wantVerdict checks a target's verdict.
func wantVerdict(t *testing.T, c *health.Checker, id string, state steering.State, inDoubt bool) {
	t.Helper()
	got, ok := c.Verdict(id)
	want := steering.Verdict{State: state, InDoubt: inDoubt, Admit: steering.AdmitAll}
	if !ok || got != want {
		t.Errorf("%s: verdict %+v %v, want %+v", id, got, ok, want)
	}
}

// sleep moves the bubble's clock on and waits until all that follows is done.
func sleep(d time.Duration) {
	<-time.NewTimer(d).C
	synctest.Wait()
}

// endsOf is how and when probes of an address ended, from the n-th on.
func (f *fleet) endsOf(name string, n int) []ended {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ends[name][n:])
}

// TestFirstRound covers the spread of starts: the first round within a second,
// later ones over the whole interval, no gap longer than an interval.
func TestFirstRound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		f := newFleet()
		c := newChecker(t, f, health.Config{})
		c.Update(makeTargets(n, webCheck()))
		sleep(time.Hour) // Run may begin long after Update: the spread counts from there
		f.start = time.Now()
		stop := run(t, c)
		sleep(health.FirstRound)
		first, later := make([]int, 10), make([]int, 10)
		for i := range n {
			wantVerdict(t, c, fmt.Sprintf("web/t%d", i+1), steering.Up, false)
		}
		sleep(29 * time.Second)
		stop()
		for name, starts := range f.starts {
			first[starts[0]/(health.FirstRound/10)]++
			for i := 1; i < len(starts); i++ {
				gap := starts[i] - starts[i-1]
				if gap > 5*time.Second || gap < health.FirstRound || (i > 1 && gap != 5*time.Second) {
					t.Errorf("%s: gap %d is %v", name, i, gap)
				}
			}
			later[starts[4]%(5*time.Second)/(500*time.Millisecond)]++
		}
		for i := range 10 {
			// A tenth each, six deviations around it.
			if first[i] < 43 || first[i] > 157 || later[i] < 43 || later[i] > 157 {
				t.Errorf("uneven spread: first %v, later %v", first, later)
				break
			}
		}
	})
}

// TestFractionStable covers that the spread depends on nothing but the names.
func TestFractionStable(t *testing.T) {
	t.Parallel()
	a := health.Fraction("web/fra1", "192.0.2.10", time.Minute)
	if a != health.Fraction("web/fra1", "192.0.2.10", time.Minute) || a < 0 || a >= time.Minute {
		t.Errorf("fraction %v", a)
	}
	if a == health.Fraction("web/fra1", "192.0.2.11", time.Minute) {
		t.Errorf("two addresses, one fraction %v", a)
	}
}

// TestFailover covers a target that dies and comes back: how long it takes,
// what OnChange sees, and what the log says.
func TestFailover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		var logged bytes.Buffer
		var c *health.Checker
		type seen struct {
			at      time.Duration
			verdict steering.Verdict
		}
		var changes []seen
		check := webCheck()
		check.Interval, check.Timeout, check.Fall, check.Rise = time.Second, 500*time.Millisecond, 2, 2
		c = newChecker(t, f, health.Config{
			Log: slog.New(slog.NewTextHandler(&logged, nil)),
			OnChange: func() {
				v, _ := c.Verdict("web/t1")
				_ = c.Snapshot()
				changes = append(changes, seen{f.now(), v})
			},
		})
		c.Update(makeTargets(1, check))
		wantVerdict(t, c, "web/t1", steering.Unknown, true)
		stop := run(t, c)
		sleep(10 * time.Second)
		f.set("10.0.0.1", true, 0)
		died := f.now()
		sleep(10 * time.Second)
		f.set("10.0.0.1", false, 0)
		back := f.now()
		sleep(10 * time.Second)
		stop()
		up, down := steering.Verdict{State: steering.Up, Admit: steering.AdmitAll}, steering.Verdict{State: steering.Down, Admit: steering.AdmitAll}
		doubted := up
		doubted.InDoubt = true
		want := []steering.Verdict{up, doubted, down, up}
		if len(changes) != len(want) {
			t.Fatalf("changes %+v", changes)
		}
		for i, v := range want {
			if changes[i].verdict != v {
				t.Errorf("change %d: %+v, want %+v", i, changes[i], v)
			}
		}
		if took := changes[2].at - died; took > 2*time.Second {
			t.Errorf("down after %v", took)
		}
		if took := changes[3].at - back; took > 2*time.Second {
			t.Errorf("up after %v", took)
		}
		status := c.Snapshot()[0]
		address := status.Addresses[0]
		if !strings.HasSuffix(status.Decision, "-3") || address.Good < 2 || address.Failed != 0 || status.Reason != health.Rise ||
			!status.Since.Equal(f.start.Add(changes[3].at)) || address.Reason != "status 200" || !address.OK {
			t.Errorf("snapshot %+v", status)
		}
		for _, word := range []string{"id=" + status.Decision, "target=web/t1", "from=up", "to=down", "reason=fall", `detail="10.0.0.1: connection refused"`, "level=WARN"} {
			if !strings.Contains(logged.String(), word) {
				t.Errorf("log lacks %q:\n%s", word, &logged)
			}
		}
		if n := strings.Count(logged.String(), "msg=verdict"); n != 3 {
			t.Errorf("%d verdicts in the log:\n%s", n, &logged)
		}
		stats := c.Stats()
		if stats.Verdicts != 3 || stats.Targets != 1 || stats.Addresses != 1 || stats.Running != 0 ||
			stats.Probes[0].Kind != health.HTTP || stats.Probes[0].Good+stats.Probes[0].Failed != uint64(len(f.starts["10.0.0.1"])) || stats.Probes[0].Failed == 0 {
			t.Errorf("stats %+v", stats)
		}
	})
}

// TestDoubtEndsBetweenProbes covers the tick: doubt ends an interval after the
// last failed probe, not at the next probe; and early probes: the one behind
// the first failed one comes at once, the others a recheck apart.
func TestDoubtEndsBetweenProbes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		check := webCheck()
		check.Rise = 2
		var c *health.Checker
		var doubts []time.Duration
		inDoubt := true
		c = newChecker(t, f, health.Config{OnChange: func() {
			if v, _ := c.Verdict("web/t1"); v.InDoubt != inDoubt {
				inDoubt = v.InDoubt
				doubts = append(doubts, f.now())
			}
		}})
		c.Update(makeTargets(1, check))
		stop := run(t, c)
		sleep(6 * time.Second) // two probes
		f.set("10.0.0.1", true, time.Second)
		sleep(3 * time.Second)
		f.set("10.0.0.1", false, 0)
		sleep(10 * time.Second)
		stop()
		if len(doubts) != 3 {
			t.Fatalf("doubts %v", doubts)
		}
		starts := f.starts["10.0.0.1"]
		first, second := starts[2]+time.Second, starts[3]+time.Second
		if starts[3] != first || starts[4] != second+time.Second || starts[5] != starts[4]+time.Second {
			t.Errorf("starts %v", starts)
		}
		if doubts[1] != first || doubts[2] != second+5*time.Second {
			t.Errorf("doubts %v, the failed probes ended at %v and %v", doubts, first, second)
		}
	})
}

// TestHangingProbe covers a target whose probes run into their timeout: it is
// down, and nobody else is probed later for it.
func TestHangingProbe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		check := webCheck()
		check.Timeout = check.Interval
		f.set("10.0.0.1", false, time.Hour)
		c := newChecker(t, f, health.Config{})
		c.Update(makeTargets(50, check))
		stop := run(t, c)
		sleep(61 * time.Second)
		wantVerdict(t, c, "web/t1", steering.Down, false)
		stop()
		for name, starts := range f.starts {
			for i := 2; i < len(starts); i++ {
				if gap := starts[i] - starts[i-1]; gap != 5*time.Second {
					t.Errorf("%s: gap %d is %v", name, i, gap)
				}
			}
			if len(starts) < 12 {
				t.Errorf("%s: %d probes", name, len(starts))
			}
		}
	})
}

// TestProbesMax covers more hanging targets than probes may be under way: the
// bound holds, and everyone has a turn.
func TestProbesMax(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		for i := range 20 {
			f.set(fmt.Sprintf("10.0.0.%d", i+1), false, time.Hour)
		}
		c := newChecker(t, f, health.Config{})
		c.SetSlots(4)
		targets := makeTargets(25, webCheck())
		c.Update(targets)
		stop := run(t, c)
		sleep(time.Second)
		if stats := c.Stats(); stats.Running != 4 || stats.Waiting == 0 {
			t.Errorf("stats %+v", stats)
		}
		sleep(time.Minute)
		for i := range 25 {
			state := steering.Down
			if i >= 20 {
				state = steering.Up
			}
			wantVerdict(t, c, fmt.Sprintf("web/t%d", i+1), state, false)
		}
		c.Update(targets[20:]) // those that wait are forgotten too
		sleep(10 * time.Second)
		if stats := c.Stats(); stats.Running != 0 || stats.Waiting != 0 || stats.Addresses != 5 {
			t.Errorf("stats %+v", stats)
		}
		stop()
		if f.peak != 4 {
			t.Errorf("%d probes at once", f.peak)
		}
		for name, starts := range f.starts {
			if len(starts) < 4 {
				t.Errorf("%s: probed at %v", name, starts)
			}
		}
	})
}

// TestReloads covers 100 reloads: order, names of checks, timeouts, thresholds
// and other targets change; no state is forgotten and no probe added or lost.
func TestReloads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		c := newChecker(t, f, health.Config{})
		targets := makeTargets(20, webCheck())
		for i := range 5 {
			f.set(targets[i].Addrs[0].String(), true, 0)
		}
		c.Update(targets)
		stop := run(t, c)
		sleep(2 * time.Second)
		before := map[string]health.Status{}
		for _, status := range c.Snapshot() {
			before[status.Target] = status
		}
		for reload := range 100 {
			check := webCheck()
			check.Name = fmt.Sprintf("web%d", reload)
			check.Timeout = time.Duration(1+reload%3) * time.Second
			check.Fall, check.Rise = 1+reload%4, 2+reload%4
			check.Status = []int{200, 204}[:0:0] // not nil, but as empty
			check.Status = nil
			next := makeTargets(20+reload%3, check)
			rand.Shuffle(len(next), func(i, j int) { next[i], next[j] = next[j], next[i] })
			c.Update(next)
			for _, target := range targets {
				state := before[target.ID].Verdict.State
				wantVerdict(t, c, target.ID, state, false)
			}
			sleep(300 * time.Millisecond)
		}
		for _, status := range c.Snapshot() {
			b, known := before[status.Target]
			if known && (status.Verdict != b.Verdict || status.Decision != b.Decision || !status.Since.Equal(b.Since)) {
				t.Errorf("%+v, before %+v", status, b)
			}
		}
		stop()
		for _, target := range targets {
			starts := f.starts[target.Addrs[0].String()]
			for i := 2; i < len(starts); i++ {
				if gap := starts[i] - starts[i-1]; gap != 5*time.Second {
					t.Errorf("%s: gap %d is %v", target.ID, i, gap)
				}
			}
		}
	})
}

// TestIntervalChange covers a new interval: it holds at once, and the spread stays.
func TestIntervalChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 400
		f := newFleet()
		c := newChecker(t, f, health.Config{})
		c.Update(makeTargets(n, webCheck()))
		stop := run(t, c)
		was := 5 * time.Second
		sleep(20 * time.Second)
		for _, interval := range []time.Duration{20 * time.Second, 2 * time.Second, 10 * time.Second} {
			check := webCheck()
			check.Interval = interval
			changed := f.now()
			c.Update(makeTargets(n, check))
			sleep(3 * interval)
			buckets := make([]int, 4)
			for i := range n {
				name := fmt.Sprintf("10.0.%d.%d", (i+1)>>8, (i+1)&255)
				starts := f.startsOf(name)
				last, previous := starts[len(starts)-1], starts[len(starts)-2]
				if last-previous != interval {
					t.Errorf("%s: gap %v at interval %v", name, last-previous, interval)
				}
				buckets[(last-changed)%interval*4/interval]++
				for i := 1; i < len(starts); i++ {
					if gap := starts[i] - starts[i-1]; starts[i] > changed && (gap > max(was, interval) || gap < min(was, interval)) {
						t.Errorf("%s: gap %v from %v to %v", name, gap, was, interval)
					}
				}
			}
			for _, count := range buckets {
				if count < n/8 {
					t.Errorf("interval %v: uneven spread %v", interval, buckets)
				}
			}
			was = interval
		}
		stop()
	})
}

// TestIntervalChangeAtOnce covers a new interval before the first round has
// ended: the round goes on, and soon the interval holds without a crowd.
func TestIntervalChangeAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 400
		f := newFleet()
		c := newChecker(t, f, health.Config{})
		c.Update(makeTargets(n, webCheck()))
		stop := run(t, c)
		sleep(500 * time.Millisecond)
		check := webCheck()
		check.Interval = 20 * time.Second
		c.Update(makeTargets(n, check))
		sleep(85 * time.Second)
		stop()
		buckets := make([]int, 4)
		for name, starts := range f.starts {
			if starts[0] > health.FirstRound || len(starts) < 4 || starts[1]-starts[0] < health.FirstRound/2 {
				t.Errorf("%s: probed at %v", name, starts)
				continue
			}
			buckets[starts[3]%(20*time.Second)/(5*time.Second)]++
			if gap := starts[3] - starts[2]; gap != 20*time.Second {
				t.Errorf("%s: gap %v", name, gap)
			}
		}
		for _, count := range buckets {
			if count > n/2 {
				t.Errorf("uneven spread %v", buckets)
				break
			}
		}
	})
}

// TestChangedTest covers a change of what is tested, and of an address: such a
// subject begins anew, and is probed within a second.
func TestChangedTest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		c := newChecker(t, f, health.Config{})
		targets := makeTargets(2, webCheck())
		c.Update(targets)
		run(t, c)
		sleep(10 * time.Second)
		other := webCheck()
		other.Path = "/other"
		targets[0].Check = other
		targets[1].Addrs = []netip.Addr{netip.MustParseAddr("2001:db8::1"), targets[1].Addrs[0], netip.MustParseAddr("::ffff:10.0.0.2")}
		c.Update(targets)
		wantVerdict(t, c, "web/t1", steering.Unknown, true)
		wantVerdict(t, c, "web/t2", steering.Unknown, true)
		status := c.Snapshot()[1]
		if len(status.Addresses) != 2 || status.Addresses[0].Address != "2001:db8::1" || status.Addresses[1].State != steering.Up {
			t.Errorf("snapshot %+v", status)
		}
		sleep(time.Second)
		wantVerdict(t, c, "web/t1", steering.Up, false)
		wantVerdict(t, c, "web/t2", steering.Up, false)
	})
}

// TestRemoved covers a target that is removed while it is probed: the probe is
// stopped, its result is worth nothing, and a target added again knows nothing.
func TestRemoved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		c := newChecker(t, f, health.Config{})
		check := webCheck()
		check.Interval, check.Timeout = time.Minute, time.Minute
		targets := makeTargets(2, check)
		f.set("10.0.0.1", true, 30*time.Second)
		c.Update(targets)
		run(t, c)
		sleep(2 * time.Second)
		c.Update(targets[1:])
		if _, ok := c.Verdict("web/t1"); ok {
			t.Error("a removed target has a verdict")
		}
		synctest.Wait()
		if stats := c.Stats(); stats.Running != 0 || stats.Discarded != 1 || stats.Targets != 1 {
			t.Errorf("stats %+v", stats)
		}
		f.set("10.0.0.1", false, 0)
		c.Update(targets)
		wantVerdict(t, c, "web/t1", steering.Unknown, true)
		sleep(time.Second)
		wantVerdict(t, c, "web/t1", steering.Up, false)
		wantVerdict(t, c, "web/t2", steering.Up, false)
	})
}

// TestLeftOut covers targets that are not probed.
func TestLeftOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		c := newChecker(t, f, health.Config{})
		targets := makeTargets(4, webCheck())
		targets[0].Check = nil
		targets[1].Addrs = nil
		targets[2].Addrs, targets[2].Host = nil, "lb.example.net."
		targets = append(targets, targets[3])
		c.Update(targets)
		run(t, c)
		sleep(time.Second)
		for _, id := range []string{"web/t1", "web/t2", "web/none"} {
			if v, ok := c.Verdict(id); ok {
				t.Errorf("%s has verdict %+v", id, v)
			}
		}
		if one, known := c.Status(c.Snapshot()[0].Target); !known || !reflect.DeepEqual(one, c.Snapshot()[0]) { // the clock of the test stands
			t.Errorf("status %+v, %t", one, known)
		}
		if got := c.Snapshot(); len(got) != 2 || got[0].Addresses[0].Address != "lb.example.net" {
			t.Errorf("snapshot %+v", got)
		}
		gone := c.Snapshot()[0].Target
		c.Update(nil)
		sleep(time.Minute)
		if _, known := c.Status(gone); known {
			t.Error("a removed target has a status")
		}
		if got := c.Snapshot(); len(got) != 0 {
			t.Errorf("snapshot %+v", got)
		}
	})
}

// TestStop covers the end of Run in the middle of probes: they are stopped,
// and say nothing of their targets.
func TestStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		c := newChecker(t, f, health.Config{})
		c.Update(makeTargets(10, webCheck()))
		stop := run(t, c)
		sleep(6 * time.Second)
		for i := range 10 {
			f.set(fmt.Sprintf("10.0.0.%d", i+1), false, time.Hour)
		}
		sleep(2 * time.Second)
		if c.Stats().Running == 0 {
			t.Fatal("no probe under way")
		}
		stop()
		if f.busy != 0 {
			t.Errorf("%d probes run on", f.busy)
		}
		for i := range 10 {
			wantVerdict(t, c, fmt.Sprintf("web/t%d", i+1), steering.Up, false)
		}
		if err := c.Run(t.Context()); err == nil {
			t.Error("a second Run")
		}
	})
}

// TestUpdateFromOnChange covers that OnChange holds no lock.
func TestUpdateFromOnChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		var c *health.Checker
		targets := makeTargets(3, webCheck())
		c = newChecker(t, f, health.Config{OnChange: func() { c.Update(targets) }})
		c.Update(targets)
		run(t, c)
		sleep(time.Second)
		wantVerdict(t, c, "web/t3", steering.Up, false)
	})
}

// TestSimulation runs a fleet with seeded faults and reloads, and compares
// every state with what the twin makes of the probes that ended.
func TestSimulation(t *testing.T) {
	t.Parallel()
	for range rounds(5) {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { simulate(t, seed) })
		})
	}
}

// simulate runs one simulation.
func simulate(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 2))
	f := newFleet()
	c := newChecker(t, f, health.Config{})
	check := webCheck()
	check.Damping.Off = true // views have none
	all := makeTargets(12, check)
	rules := check.Rules()
	since := map[string]int{} // by address: the probe that ended first under its present subject
	paths := map[string]string{}
	present := map[string]bool{}
	update := func() {
		var targets []health.Target
		synctest.Wait()
		for _, target := range all {
			name := target.Addrs[0].String()
			kept := random.IntN(10) > 0
			own := *check
			own.Path = paths[name]
			if random.IntN(10) == 0 {
				own.Path = fmt.Sprintf("/%d", random.IntN(1000))
			}
			if !kept || !present[name] || own.Path != paths[name] {
				since[name] = -1 // what is under way ends as stopped, and is not counted
			}
			present[name], paths[name] = kept, own.Path
			if kept {
				target.Check = &own
				targets = append(targets, target)
			}
		}
		random.Shuffle(len(targets), func(i, j int) { targets[i], targets[j] = targets[j], targets[i] })
		c.Update(targets)
		synctest.Wait()
		for name, from := range since {
			if from < 0 {
				since[name] = len(f.endsOf(name, 0))
			}
		}
	}
	update()
	run(t, c)
	for range 400 {
		switch random.IntN(8) {
		case 0:
			update()
		case 1, 2:
			name := all[random.IntN(len(all))].Addrs[0].String()
			f.set(name, random.IntN(2) == 0, time.Duration(random.IntN(4))*700*time.Millisecond)
		default:
			sleep(time.Duration(random.IntN(4000)) * time.Millisecond)
		}
		for _, status := range c.Snapshot() {
			address := status.Addresses[0]
			slow := &twin{rules: rules, history: f.endsOf(address.Address, since[address.Address])}
			if state, doubt := slow.look(f.now()); address.State != state || address.Doubt != doubt {
				t.Fatalf("seed %d at %v: %+v, twin %v %v of %v", seed, f.now(), address, state, doubt, slow.history)
			}
		}
	}
}
