package health_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"geodns/pkg/health"
	"geodns/pkg/steering"
)

// spread gives targets of as many networks as targets.
func spread(n int, check *health.Check) []health.Target {
	targets := makeTargets(n, check)
	for i := range targets {
		targets[i].Addrs = []netip.Addr{netip.AddrFrom4([4]byte{10, byte(i / 250), byte(i%250 + 1), 1})}
	}
	return targets
}

// canaries gives canaries that the fleet decides about by their address.
func canaries(addresses ...string) []health.Target {
	var all []health.Target
	for _, a := range addresses {
		all = append(all, health.Target{
			ID: a, Addrs: []netip.Addr{netip.MustParseAddr(a)},
			Check: &health.Check{Kind: health.TCP, Port: 53, Interval: time.Second, Timeout: time.Second},
		})
	}
	return all
}

// TestUplinkLost covers a checker that is cut off, with canaries and without:
// its targets stay up, it says so, and after a recovery it believes again.
func TestUplinkLost(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		canaries []health.Target
		doubt    string
	}{{nil, "mass"}, {canaries("192.0.2.1", "192.0.2.2"), "canaries"}} {
		t.Run(tt.doubt, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet()
				changes := 0
				c := newChecker(t, f, health.Config{Canaries: tt.canaries, OnChange: func() { changes++ }})
				targets := spread(40, webCheck())
				c.Update(targets)
				run(t, c)
				sleep(20 * time.Second)
				everyone := slices.Concat(targets, tt.canaries)
				for _, target := range everyone {
					f.set(target.Addrs[0].String(), true, 0)
				}
				sleep(90 * time.Second)
				stats := c.Stats()
				if stats.InDoubt != tt.doubt || stats.Doubts != 1 || stats.CanariesFailed != len(tt.canaries) {
					t.Errorf("stats %+v", stats)
				}
				for _, target := range targets {
					wantVerdict(t, c, target.ID, steering.Up, true)
				}
				before := stats.Verdicts
				for _, target := range everyone {
					f.set(target.Addrs[0].String(), false, 0)
				}
				sleep(30 * time.Second)
				if stats := c.Stats(); stats.InDoubt != "" || stats.Verdicts != before {
					t.Errorf("after the recovery: %+v", stats)
				}
				for _, target := range targets {
					wantVerdict(t, c, target.ID, steering.Up, false)
				}
				f.set(targets[7].Addrs[0].String(), true, 0)
				sleep(10 * time.Second)
				wantVerdict(t, c, targets[7].ID, steering.Down, false)
				if changes == 0 {
					t.Error("OnChange was not called")
				}
			})
		})
	}
}

// TestMassFailureIsBelieved covers the end of the time in which a mass failure
// is not believed: by the clock alone.
func TestMassFailureIsBelieved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		c := newChecker(t, f, health.Config{})
		targets := spread(40, webCheck())
		c.Update(targets)
		run(t, c)
		sleep(20 * time.Second)
		for _, target := range targets {
			f.set(target.Addrs[0].String(), true, 0)
		}
		sleep(health.MassHold)
		wantVerdict(t, c, targets[0].ID, steering.Up, true)
		sleep(webCheck().Interval)
		for _, target := range targets {
			wantVerdict(t, c, target.ID, steering.Down, false)
		}
		if stats := c.Stats(); stats.InDoubt != "" {
			t.Errorf("stats %+v", stats)
		}
	})
}

// TestConstantWork covers what a fleet costs that fails, wholly or by half, by
// refusing or by hanging: as many regular probes as when it is well, and no
// more early ones than the bucket has.
func TestConstantWork(t *testing.T) {
	t.Parallel()
	const n, seconds = 2000, 60
	for _, share := range []int{0, 2, 1} { // none, half, all
		for _, takes := range []time.Duration{0, time.Hour} {
			t.Run(fmt.Sprintf("every %d takes %v", share, takes), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					f := newFleet()
					c := newChecker(t, f, health.Config{})
					targets := spread(n, webCheck())
					c.Update(targets)
					run(t, c)
					sleep(10 * time.Second)
					for i, target := range targets {
						if share > 0 && i%share == 0 {
							f.set(target.Addrs[0].String(), true, takes)
						}
					}
					before := c.Stats()
					sleep(seconds * time.Second)
					after := c.Stats()
					started := int(after.Lateness.Count() - before.Lateness.Count())
					early := int(after.Rechecks - before.Rechecks)
					if want := n * seconds / 5; started > want+n/5 || started < want-n/5-early {
						t.Errorf("%d regular probes, want %d", started, want)
					}
					if early > 101*(seconds+1) {
						t.Errorf("%d early probes", early)
					}
					if share == 0 && early > 0 || share > 0 && early == 0 {
						t.Errorf("%d early probes", early)
					}
					if late := after.Lateness.Quantile(1); late > 0.0001 {
						t.Errorf("a probe was late: %v", late)
					}
				})
			})
		}
	}
}

// TestVote covers votes from outside through a running checker.
func TestVote(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		var events []health.Event
		c := newChecker(t, f, health.Config{OnEvent: func(e health.Event) { events = append(events, e) }})
		c.Update(makeTargets(2, webCheck()))
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Vote(canceled, "web/t1", health.Vote{PoP: "ams", State: steering.Up}); !errors.Is(err, context.Canceled) {
			t.Errorf("before Run: %v", err)
		}
		stop := run(t, c)
		sleep(10 * time.Second)
		vote := func(pop string, boot, sequence uint64, state steering.State, age time.Duration) (bool, error) {
			return c.Vote(t.Context(), "web/t1", health.Vote{PoP: pop, Boot: boot, Sequence: sequence, State: state, Age: age, Admit: steering.AdmitAll})
		}
		for _, step := range []struct {
			pop            string
			boot, sequence uint64
			state          steering.State
			age            time.Duration
			accepted       bool
			want           steering.State
		}{
			{"ams", 5, 1, steering.Down, 0, true, steering.Up},              // one of two
			{"iad", 5, 1, steering.Down, 0, true, steering.Down},            // two of three
			{"iad", 5, 1, steering.Up, 0, false, steering.Down},             // the same again
			{"iad", 4, 9, steering.Up, 0, false, steering.Down},             // of an earlier boot
			{"iad", 6, 0, steering.Up, time.Minute, false, steering.Down},   // too old
			{"iad", 6, 0, steering.Up, 59 * time.Second, true, steering.Up}, // old, and of a later boot
		} {
			accepted, err := vote(step.pop, step.boot, step.sequence, step.state, step.age)
			if err != nil || accepted != step.accepted {
				t.Errorf("%+v: accepted %v, %v", step, accepted, err)
			}
			if v, _ := c.Verdict("web/t1"); v.State != step.want {
				t.Errorf("%+v: %+v", step, v)
			}
		}
		status := c.Snapshot()[0]
		if len(status.Votes) != 2 || status.Votes[0].PoP != "ams" || !status.Votes[0].Fresh || status.Votes[1].Age != 59*time.Second || status.Need != 2 {
			t.Errorf("status %+v", status)
		}
		sleep(2 * time.Minute)
		if status := c.Snapshot()[0]; status.Votes[0].Fresh || status.Need != 1 {
			t.Errorf("status %+v", status)
		}
		if len(events) != 4 || events[2].Reason != "votes" || !strings.Contains(events[2].Detail, "2 of 3 votes down, 2 needed; ams: down") || events[2].Onset.IsZero() {
			t.Errorf("events %+v", events)
		}
		if got := c.Events(); !slices.Equal(got, events) {
			t.Errorf("kept %+v, told %+v", got, events)
		}
		for _, bad := range []health.Vote{
			{State: steering.Up},
			{PoP: strings.Repeat("x", 64), State: steering.Up},
			{PoP: "a\nb", State: steering.Up},
			{PoP: "ams", State: steering.Unknown},
			{PoP: "ams", State: steering.Up, Age: -1},
			{PoP: "ams", State: steering.Up, Age: 2 * time.Hour},
			{PoP: "ams", State: steering.Degraded, Admit: steering.AdmitAll},
		} {
			if _, err := c.Vote(t.Context(), "web/t1", bad); !errors.Is(err, health.ErrVote) {
				t.Errorf("%+v: %v", bad, err)
			}
		}
		if _, err := c.Vote(t.Context(), "web/t9", health.Vote{PoP: "ams", State: steering.Up}); !errors.Is(err, health.ErrNoTarget) {
			t.Errorf("no target: %v", err)
		}
		if counts := c.Stats().Votes; counts != (health.VoteCounts{Accepted: 3, Stale: 3, Refused: 8}) {
			t.Errorf("counts %+v", counts)
		}
		stop()
		if _, err := vote("ams", 9, 9, steering.Up, 0); err == nil {
			t.Error("no error after Run")
		}
	})
}

// TestVantagesMax covers that votes cannot fill memory: there is room for so
// many, and those that were not heard of for long make room.
func TestVantagesMax(t *testing.T) {
	t.Parallel()
	l := newLone(plainRules(3, 4))
	vote := func(pop int, now time.Duration) bool {
		return l.fleet.Vote(l.machine, &health.Vote{PoP: fmt.Sprint(pop), Sequence: uint64(now), State: steering.Up}, now)
	}
	for pop := range health.VantagesMax {
		if !vote(pop, time.Second) {
			t.Errorf("no room for %d", pop)
		}
	}
	if vote(99, time.Minute) || !vote(3, time.Minute) {
		t.Error("one too many was taken, or a known one was not")
	}
	if !vote(99, 2*time.Hour) {
		t.Error("no room although nobody was heard of")
	}
}

// TestBootOfTheFuture covers a voter whose clock was ahead when it began: it is
// heard again when nothing of it can be under way any more.
func TestBootOfTheFuture(t *testing.T) {
	t.Parallel()
	l := newLone(plainRules(3, 4))
	vote := func(boot uint64, now time.Duration) bool {
		return l.fleet.Vote(l.machine, &health.Vote{PoP: "ams", Boot: boot, State: steering.Up}, now)
	}
	if !vote(4_000_000_000, time.Second) || vote(1_700_000_000, time.Hour) || !vote(1_700_000_000, 2*time.Hour) {
		t.Error("refused too long, or not at all")
	}
}

// TestVotesFallSilentInWarmUp covers a warm-up under a part that votes had last:
// it goes on when they fall silent, and a reload that takes warm_up away ends it.
func TestVotesFallSilentInWarmUp(t *testing.T) {
	t.Parallel()
	rules := plainRules(1, 2)
	rules.WarmUp, rules.Votes.MaxAge = 10*time.Minute, time.Minute
	f := health.NewFleet(1)
	m := health.NewMachine("t", rules, []string{"n"}, 0)
	f.Add(m, 0)
	f.Canary(0, true, 2*time.Second, 2*time.Second)
	f.Probe(m, 0, false, time.Millisecond, time.Second)
	f.Canary(0, true, 3*time.Second, 3*time.Second) // this node calls it down
	for pop := range 2 {
		f.Vote(m, &health.Vote{PoP: fmt.Sprint(pop), Sequence: 1, State: steering.Degraded, Admit: steering.AdmitAll / 2}, 4*time.Second)
	}
	if v := m.Verdict(); v.State != steering.Degraded || v.Admit > steering.AdmitAll/10 {
		t.Fatalf("not warming up: %+v", v)
	}
	f.Canary(0, false, 5*time.Second, 6*time.Second)
	f.Tick(m, 5*time.Minute)
	if v := m.Verdict(); v.State != steering.Degraded || v.Admit < steering.AdmitAll*4/10 || v.Admit > steering.AdmitAll/2 {
		t.Errorf("half way up, and the votes silent: %+v", v)
	}
	rules.WarmUp = 0
	f.Reshape(m, rules, []int{0}, []string{"n"}, 5*time.Minute)
	if at, ok := m.Deadline(5 * time.Minute); ok && at <= 5*time.Minute {
		t.Errorf("deadline %v", at)
	}
	if v := m.Verdict(); v.Admit != steering.AdmitAll/2 && v.Admit != steering.AdmitAll/2+1 {
		t.Errorf("without a warm-up: %+v", v)
	}
}

// TestCanariesGoBeyondSlots covers canaries of a node whose slots are all taken
// by targets that hang: nothing would be believed without them.
func TestCanariesGoBeyondSlots(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		c := newChecker(t, f, health.Config{Canaries: canaries("192.0.2.1")})
		c.SetSlots(4)
		targets := makeTargets(100, webCheck())
		for _, target := range targets {
			f.set(target.Addrs[0].String(), false, time.Hour)
		}
		c.Update(targets)
		run(t, c)
		sleep(20 * time.Second)
		if n := len(f.startsOf("192.0.2.1")); n < 19 {
			t.Errorf("%d probes of the canary in 20 s", n)
		}
	})
}

// TestReasonsAreSwept covers a back end whose reasons are all different: those
// of others are still kept when there is no room for more.
func TestReasonsAreSwept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		c, err := health.New(health.Config{})
		if err != nil {
			t.Fatal(err)
		}
		c.SetProbe(func(_ context.Context, name string, _ health.Check) health.Result {
			if n++; name == "10.0.0.2" && n > 2*health.ReasonsKept {
				return health.Result{OK: true, Reason: "something new"}
			}
			return health.Result{OK: true, Reason: fmt.Sprintf("banner %d", n)}
		})
		check := webCheck()
		check.Interval, check.Timeout = 100*time.Millisecond, 100*time.Millisecond
		c.Update(makeTargets(2, check))
		run(t, c)
		sleep(2 * health.ReasonsKept * 55 * time.Millisecond)
		all, _ := c.History("web/t2")
		if last := all[len(all)-1]; last.Reason != "something new" {
			t.Errorf("kept as %q", last.Reason)
		}
	})
}

// TestReplacedAddress covers a target whose dead host is replaced by another at
// another address: what held the old one down does not hold the new one.
func TestReplacedAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		c := newChecker(t, f, health.Config{})
		check := webCheck()
		check.Dwell = time.Hour
		targets := makeTargets(1, check)
		f.set("10.0.0.1", true, 0)
		c.Update(targets)
		run(t, c)
		sleep(10 * time.Second)
		wantVerdict(t, c, "web/t1", steering.Down, false)
		targets[0].Addrs = []netip.Addr{netip.MustParseAddr("10.0.0.9")}
		c.Update(targets)
		sleep(2 * time.Second)
		wantVerdict(t, c, "web/t1", steering.Up, false)
	})
}

// TestAdmitOfVotes covers the part that a target takes when vantage points
// differ: what so many want at most as could call it down.
func TestAdmitOfVotes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		need  int
		parts []uint16 // of pushed votes; this node has none
		want  uint16
		state steering.State
	}{
		{0, []uint16{100}, 100, steering.Degraded},
		{0, []uint16{0}, 0, steering.Degraded}, // none of its traffic is not down
		{0, []uint16{100, 65535}, 65535, steering.Up},
		{0, []uint16{1, 300, 200}, 200, steering.Degraded},
		{1, []uint16{1, 300, 200}, 1, steering.Degraded},
		{3, []uint16{1, 300, 200}, 300, steering.Degraded},
		{9, []uint16{1, 300, 200}, 300, steering.Degraded},
	} {
		rules := plainRules(3, 4)
		rules.Votes.Need = tt.need
		l := newLone(rules)
		for i, part := range tt.parts {
			l.fleet.Vote(l.machine, &health.Vote{PoP: fmt.Sprint(i), State: steering.Up, Admit: part, Sequence: 1}, time.Second)
		}
		if v := l.machine.Verdict(); v.State != tt.state || v.Admit != tt.want {
			t.Errorf("%+v: %+v", tt, v)
		}
	}
}

// TestServed covers how long answers take to follow a verdict, and that its id
// is in the exemplar, the event and the status.
func TestServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		var c *health.Checker
		c = newChecker(t, f, health.Config{OnChange: func() {
			mark := c.Mark()
			sleep(3 * time.Millisecond) // somebody makes answers of it
			c.Served(mark)
		}})
		c.Update(makeTargets(1, webCheck()))
		stop := run(t, c)
		sleep(10 * time.Second)
		f.set("10.0.0.1", true, 0)
		sleep(10 * time.Second)
		stop()
		stats, events := c.Stats(), c.Events()
		if len(events) != 2 || stats.Publish.Count() != 2 || stats.Publish.Quantile(1) != 0.005 || stats.Detect.Count() != 1 || stats.Detect.Quantile(1) != 2 {
			t.Fatalf("publish %+v, detect %+v, events %+v", stats.Publish, stats.Detect, events)
		}
		id := c.Snapshot()[0].Decision
		if id != events[1].ID || !slices.ContainsFunc(stats.Detect.Exemplars, func(e health.Exemplar) bool { return e.ID == id && e.Value == 2 }) ||
			!slices.ContainsFunc(stats.Publish.Exemplars, func(e health.Exemplar) bool { return e.ID == id }) {
			t.Errorf("%s is not everywhere: %+v, %+v, %+v", id, events, stats.Detect, stats.Publish)
		}
	})
}

// TestHistory covers what is kept of probes: the last ones, oldest first.
func TestHistory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		c := newChecker(t, f, health.Config{})
		targets := makeTargets(1, webCheck())
		targets[0].Addrs = append(targets[0].Addrs, netip.MustParseAddr("10.0.0.9"))
		c.Update(targets)
		run(t, c)
		sleep(2 * time.Hour)
		f.set("10.0.0.9", true, 0)
		sleep(10 * time.Second)
		all, ok := c.History("web/t1")
		if !ok || len(all) != 2*health.HistoryMax || !slices.IsSortedFunc(all, func(a, b health.Probed) int { return a.At.Compare(b.At) }) {
			t.Fatalf("%d probes, %v", len(all), ok)
		}
		counts := map[string]int{}
		for _, p := range all {
			counts[fmt.Sprintf("%s %v %s recheck=%v void=%v", p.Address, p.OK, p.Reason, p.Recheck, p.Void)]++
		}
		if counts["10.0.0.1 true status 200 recheck=false void=false"] != health.HistoryMax ||
			counts["10.0.0.9 false connection refused recheck=true void=false"] != 3 || len(counts) != 4 {
			t.Errorf("kept %v", counts)
		}
		if last := all[len(all)-1]; time.Since(last.At) > 5*time.Second || all[0].At.After(time.Now().Add(-20*time.Minute)) {
			t.Errorf("from %v to %v", all[0].At, last.At)
		}
		if _, ok := c.History("web/t2"); ok {
			t.Error("a history of no target")
		}
	})
}

// TestTune covers a replay: blips and outages of known lengths, through the
// check's own thresholds and others.
func TestTune(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		c := newChecker(t, f, health.Config{})
		check := webCheck()
		check.Interval, check.Timeout, check.Recheck = time.Second, time.Second, time.Second
		c.Update(makeTargets(1, check))
		run(t, c)
		sleep(30 * time.Second)
		fails := func(d time.Duration) {
			f.set("10.0.0.1", true, 0)
			sleep(d)
			f.set("10.0.0.1", false, 0)
			sleep(30 * time.Second)
		}
		fails(1500 * time.Millisecond) // a blip of one or two probes
		fails(6 * time.Second)         // over soon, and long enough for fall 3
		fails(60 * time.Second)        // an outage
		report, ok := c.Tune("web", health.Thresholds{})
		if !ok || report.Failovers != 2 || report.False != 1 || report.Missed != 0 || report.Targets != 1 || report.Fall != 3 || report.Probes == 0 ||
			len(report.Detect) != 2 || report.Detect[1] > 3*time.Second {
			t.Errorf("as it is: %+v", report)
		}
		if verdicts := c.Stats().Verdicts; verdicts != 5 {
			t.Errorf("%d verdicts in truth", verdicts)
		}
		if report, _ = c.Tune("web", health.Thresholds{Fall: 1, NoDamping: true}); report.Failovers != 3 || report.False != 2 || report.Damped || report.Detect[2] != 0 {
			t.Errorf("fall 1: %+v", report)
		}
		if report, _ = c.Tune("web", health.Thresholds{Fall: 20}); report.Failovers != 1 || report.False != 0 {
			t.Errorf("fall 20: %+v", report)
		}
		if report, _ = c.Tune("web", health.Thresholds{Fall: 100}); report.Failovers != 0 || report.Missed != 1 {
			t.Errorf("fall 100: %+v", report)
		}
		if report, _ = c.Tune("web", health.Thresholds{Outage: 5 * time.Second}); report.False != 0 {
			t.Errorf("outage 5 s: %+v", report)
		}
		if report, _ = c.Tune("web", health.Thresholds{Dwell: time.Hour}); report.Failovers != 1 || report.Dwell != time.Hour {
			t.Errorf("dwell 1h: %+v", report)
		}
		if report, _ = c.Tune("web", health.Thresholds{Dwell: health.NoDwell}); report.Failovers != 2 || report.Dwell != 0 {
			t.Errorf("no dwell: %+v", report)
		}
		if _, ok = c.Tune("other", health.Thresholds{}); ok {
			t.Error("a report of no check")
		}
	})
}

// TestDampingSurvives covers a flapping target over a restart of the real
// checker: it is held down as if nothing had been.
func TestDampingSurvives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		cfg := health.Config{StatePath: filepath.Join(t.TempDir(), "verdicts")}
		c := newChecker(t, f, cfg)
		check := webCheck()
		check.Interval, check.Timeout, check.Fall, check.Rise = time.Second, time.Second, 2, 2
		c.Update(makeTargets(1, check))
		stop := run(t, c)
		for range 3 {
			sleep(10 * time.Second)
			f.set("10.0.0.1", true, 0)
			sleep(10 * time.Second)
			f.set("10.0.0.1", false, 0)
		}
		sleep(10 * time.Second)
		before := c.Snapshot()[0]
		if before.Hold != health.Suppressed || before.HoldEnds < 5*time.Minute || c.Stats().Suppressed != 1 {
			t.Fatalf("not held: %+v", before)
		}
		stop()
		c = newChecker(t, f, cfg)
		c.Update(makeTargets(1, check))
		run(t, c)
		sleep(10 * time.Second)
		after := c.Snapshot()[0]
		if after.Hold != health.Suppressed || before.HoldEnds-after.HoldEnds < 9*time.Second || before.HoldEnds-after.HoldEnds > 11*time.Second {
			t.Errorf("after the restart: %+v, before %+v", after, before)
		}
		sleep(after.HoldEnds)
		if now := c.Snapshot()[0]; now.Verdict.State != steering.Up || now.Reason != health.Reused {
			t.Errorf("at its end: %+v", now)
		}
	})
}

// TestBadCanaries covers what New refuses.
func TestBadCanaries(t *testing.T) {
	t.Parallel()
	good := canaries("192.0.2.1")[0]
	noCheck, twoAddresses, noPort := good, good, good
	noCheck.Check = nil
	twoAddresses.Addrs = append(slices.Clone(good.Addrs), netip.MustParseAddr("192.0.2.2"))
	noPort.Check = &health.Check{Kind: health.TCP}
	for _, bad := range [][]health.Target{{noCheck}, {good, twoAddresses}, {noPort}, make([]health.Target, health.CanariesMax+1)} {
		if _, err := health.New(health.Config{Canaries: bad}); err == nil {
			t.Errorf("no error for %+v", bad)
		}
	}
}
