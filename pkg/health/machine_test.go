package health_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"geodns/internal/dnstest"
	"geodns/pkg/health"
	"geodns/pkg/steering"
)

// ended is a probe that ended.
type ended struct {
	at time.Duration
	ok bool
}

// plainRules are rules without damping, so that fall and rise alone decide.
func plainRules(fall, rise int) health.Rules {
	r := health.Check{Kind: health.TCP, Port: 1, Fall: fall, Rise: rise, Damping: health.Damping{Off: true}}.Rules()
	r.MaxAge = time.Minute
	return r
}

// twin is the machine of one address without votes, damping and self-doubt, as
// its definition reads, computed anew from the whole history at each look:
// slow, with no counter and no flag.
type twin struct {
	rules   health.Rules
	history []ended
}

// look gives the state and the doubt at now.
func (w *twin) look(now time.Duration) (steering.State, health.Doubt) {
	state, verdictAt := steering.Unknown, -1
	for i, probe := range w.history {
		next := state
		switch {
		case state == steering.Unknown && probe.ok:
			next = steering.Up
		case state == steering.Unknown:
			next = steering.Down
		case state == steering.Down && allGood(w.history[:i+1], w.rules.Rise):
			next = steering.Up
		case state == steering.Up && w.row(verdictAt+1, i) >= w.rules.Fall:
			next = steering.Down
		}
		if next != state {
			state, verdictAt = next, i
		}
	}
	if len(w.history) == 0 {
		return state, health.NeverProbed
	}
	if state == steering.Up && w.doubted(verdictAt, now) {
		return state, health.Contested
	}
	if now-w.history[len(w.history)-1].at >= w.rules.MaxAge {
		return state, health.TooOld
	}
	return state, health.NoDoubt
}

// doubted reports whether a probe failed since the verdict and the doubt that
// it made has not ended at any time up to now.
func (w *twin) doubted(verdictAt int, now time.Duration) bool {
	for i := len(w.history) - 1; i > verdictAt; i-- {
		if w.history[i].ok {
			continue
		}
		behind := w.history[i+1:] // all good
		return len(behind) < w.rules.Rise || now-w.history[i].at < w.rules.Interval
	}
	return false
}

// row counts the failed probes in a row up to and with the i-th, back to from
// at most, that end half a recheck apart: the first one, the first one that
// ends so long after it, and so on.
func (w *twin) row(from, i int) int {
	first := i + 1
	for first > from && !w.history[first-1].ok {
		first--
	}
	n, last := 0, time.Duration(0)
	for _, probe := range w.history[first : i+1] {
		if n == 0 || probe.at-last >= w.rules.Recheck/2 {
			n, last = n+1, probe.at
		}
	}
	return n
}

// allGood reports whether the last n probes, no fewer, all were good.
func allGood(history []ended, n int) bool {
	if len(history) < n {
		return false
	}
	for _, probe := range history[len(history)-n:] {
		if !probe.ok {
			return false
		}
	}
	return true
}

// proving reports whether the long versions of tests are asked for.
func proving() bool { return os.Getenv("GEODNS_PROVE") != "" }

// rounds is how often a random test is repeated: n times, or fifty times that
// where a long proof is asked for.
func rounds(n int) int {
	if proving() {
		return 50 * n
	}
	return n
}

// lone is a fleet of one machine with one address.
type lone struct {
	fleet   *health.Fleet
	machine *health.Machine
}

// newLone makes one.
func newLone(r health.Rules) *lone {
	l := &lone{health.NewFleet(0), health.NewMachine("t", r, []string{"n"}, 0)}
	l.fleet.Add(l.machine, 0)
	l.fleet.Take()
	return l
}

// probe hands in a probe and gives the changes.
func (l *lone) probe(ok bool, at time.Duration) []health.Changed {
	l.fleet.Probe(l.machine, 0, ok, time.Millisecond, at)
	return l.fleet.Take()
}

// tick lets time pass and gives the changes.
func (l *lone) tick(at time.Duration) []health.Changed {
	l.fleet.Tick(l.machine, at)
	return l.fleet.Take()
}

// compare checks the machine against its twin.
func (l *lone) compare(slow *twin, now time.Duration) error {
	state, doubt := slow.look(now)
	if got := l.machine.Verdict(); got.State != state || l.machine.Doubt() != doubt {
		return fmt.Errorf("at %v: %v %v, twin %v %v\nrules %+v\nhistory %v", now, got.State, l.machine.Doubt(), state, doubt, slow.rules, slow.history)
	}
	return nil
}

// TestTwin compares the machine with its twin over random histories, and
// checks Deadline: nothing changes between an event and it, and a tick at it
// changes something.
func TestTwin(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(dnstest.Seed(t), 1))
	for range rounds(3000) {
		rules := plainRules(1+random.IntN(4), 1+random.IntN(4))
		rules.MaxAge = time.Duration(10+random.IntN(30)) * time.Second
		l, slow := newLone(rules), &twin{rules: rules}
		good := random.Float64()
		now := time.Duration(0)
		for range 60 {
			now += time.Duration(random.IntN(14)) * 500 * time.Millisecond
			if random.IntN(20) == 0 {
				now += rules.MaxAge
			}
			if random.IntN(4) > 0 {
				ok := random.Float64() < good
				slow.history = append(slow.history, ended{now, ok})
				l.probe(ok, now)
			} else {
				l.tick(now)
			}
			if err := l.compare(slow, now); err != nil {
				t.Fatal(err)
			}
			if err := checkDeadline(l, slow, now); err != nil {
				t.Fatalf("%v\nrules %+v\nhistory %v", err, rules, slow.history)
			}
		}
	}
}

// checkDeadline compares the machine's deadlines with what its twin sees to come.
func checkDeadline(l *lone, slow *twin, now time.Duration) error {
	state, doubt := slow.look(now)
	first := time.Duration(-1)
	for at := now; at <= now+slow.rules.MaxAge+slow.rules.Interval; at += 500 * time.Millisecond {
		if s, d := slow.look(at); s != state || d != doubt {
			first = at
			break
		}
	}
	got, ok := l.machine.Deadline(now)
	switch {
	case ok && got <= now:
		return fmt.Errorf("deadline %v is not after %v", got, now)
	case first >= 0 && (!ok || got > first):
		return fmt.Errorf("deadline %v %v, twin %v", got, ok, first)
	}
	return nil
}

// TestExhaustive compares machine and twin over all histories of up to 12
// probes, an interval apart and a third of a recheck apart.
func TestExhaustive(t *testing.T) {
	t.Parallel()
	for fall := 1; fall <= 3; fall++ {
		for rise := 1; rise <= 3; rise++ {
			rules := plainRules(fall, rise)
			for _, gap := range []time.Duration{rules.Interval, rules.Recheck / 3} {
				for bits := range 1 << 12 {
					l, slow := newLone(rules), &twin{rules: rules}
					for i := range 12 {
						at := time.Duration(i) * gap
						slow.history = append(slow.history, ended{at, bits>>i&1 == 1})
						l.probe(bits>>i&1 == 1, at)
					}
					if err := l.compare(slow, 11*gap); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
}

// TestRulesChange covers thresholds that change under a machine: no verdict
// comes of the change alone, and the next probe is judged by the new ones.
func TestRulesChange(t *testing.T) {
	t.Parallel()
	l := newLone(plainRules(5, 5))
	for i, ok := range []bool{true, false, false, false} {
		l.probe(ok, time.Duration(i)*time.Second)
	}
	l.fleet.Reshape(l.machine, plainRules(2, 2), []int{0}, []string{"n"}, 4*time.Second)
	if changes := l.tick(4 * time.Second); len(changes) > 0 {
		t.Fatalf("the change alone: %+v", changes)
	}
	if l.probe(false, 5*time.Second); l.machine.Verdict().State != steering.Down {
		t.Fatalf("the next probe: %+v", l.machine.Verdict())
	}
}

// TestAddresses covers a target of several addresses: it is down if one is,
// else unknown if one is, and in doubt if one is.
func TestAddresses(t *testing.T) {
	t.Parallel()
	// Of each address: not probed, up, up and contested, down.
	histories := [][]bool{{}, {true}, {true, false}, {false}}
	states := []steering.State{steering.Unknown, steering.Up, steering.Up, steering.Down}
	for a := range histories {
		for b := range histories {
			f := health.NewFleet(0)
			m := health.NewMachine("t", plainRules(3, 4), []string{"n", "n"}, 0)
			f.Add(m, 0)
			for address, history := range [][]bool{histories[a], histories[b]} {
				for i, ok := range history {
					f.Probe(m, address, ok, time.Millisecond, time.Duration(i)*time.Second)
				}
			}
			want := steering.Up
			switch {
			case states[a] == steering.Down || states[b] == steering.Down:
				want = steering.Down
			case states[a] == steering.Unknown || states[b] == steering.Unknown:
				want = steering.Unknown
			}
			doubt := a == 0 || b == 0 || want != steering.Down && (a == 2 || b == 2)
			if got := m.Verdict(); got.State != want || got.InDoubt != doubt || got.Admit != steering.AdmitAll {
				t.Errorf("%v and %v: %+v, want %v, doubt %v", histories[a], histories[b], got, want, doubt)
			}
		}
	}
}

// TestToggles covers a target that toggles at every probe, whatever the
// thresholds, with and without early probes: at most two changes of the answer
// in ten minutes, doubt and admit among them, damping or not.
func TestToggles(t *testing.T) {
	t.Parallel()
	for fall := 1; fall <= 5; fall++ {
		for rise := 1; rise <= 5; rise++ {
			for _, damped := range []bool{false, true} {
				for _, gap := range []time.Duration{time.Second, 5 * time.Second, 7 * time.Second} {
					rules := plainRules(fall, rise)
					rules.Damping = health.Check{Kind: health.TCP, Damping: health.Damping{Off: !damped}}.WithDefaults().Damping
					l := newLone(rules)
					l.probe(true, 0)
					var changes []time.Duration
					for at := gap; at < time.Hour; at += gap {
						for deadline, ok := l.machine.Deadline(at - gap); ok && deadline < at; deadline, ok = l.machine.Deadline(deadline) {
							if len(l.tick(deadline)) > 0 {
								changes = append(changes, deadline)
							}
						}
						if len(l.probe(at/gap%2 == 0, at)) > 0 {
							changes = append(changes, at)
						}
					}
					for i := 2; i < len(changes); i++ {
						if changes[i]-changes[i-2] < 10*time.Minute {
							t.Fatalf("fall %d, rise %d, damped %v, every %v: changes at %v", fall, rise, damped, gap, changes)
						}
					}
				}
			}
		}
	}
}
