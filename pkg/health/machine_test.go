package health_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"geodns/pkg/health"
	"geodns/pkg/steering"
)

// update is asked for by hand; testing needs its flags registered before it parses them.
var update = flag.Bool("update", false, "rewrite what stands behind -> in testdata")

// TestVerdictFile runs the sequences of testdata/verdicts.txt.
func TestVerdictFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join("testdata", "verdicts.txt")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	var rules health.Rules
	var machine health.Machine
	lines := bufio.NewScanner(bytes.NewReader(data))
	for number := 1; lines.Scan(); number++ {
		line := lines.Text()
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || fields[0] == "#" || fields[0] == "==":
		case fields[0] == "rules":
			rules = parseRules(t, line)
		case fields[0] == "start":
			machine = parseStart(t, fields)
		default:
			var change health.Change
			at := parseDuration(t, fields[0])
			machine, change = machine.Step(rules, health.Event{Kind: parseEvent(t, fields[1])}, at)
			line = fmt.Sprintf("%s %s -> %s", fields[0], fields[1], render(rules, machine, change))
			if want := strings.TrimSpace(lines.Text()); line != want && !*update {
				t.Errorf("%s:%d: got %q, want %q", path, number, line, want)
			}
		}
		got.WriteString(line + "\n")
	}
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// render is what stands behind "->".
func render(r health.Rules, m health.Machine, c health.Change) string {
	text := m.State.String()
	if m.Doubt != health.NoDoubt {
		text += ", in doubt: " + m.Doubt.String()
	}
	if c.Verdict() {
		text += ", verdict"
	}
	if at, ok := m.Deadline(r); ok {
		text += ", tick at " + at.String()
	}
	return text
}

func parseRules(t *testing.T, line string) (r health.Rules) {
	t.Helper()
	var interval, maxAge string
	if _, err := fmt.Sscanf(line, "rules fall=%d rise=%d interval=%s max_age=%s", &r.Fall, &r.Rise, &interval, &maxAge); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	r.Interval, r.MaxAge = parseDuration(t, interval), parseDuration(t, maxAge)
	return r
}

func parseStart(t *testing.T, fields []string) health.Machine {
	t.Helper()
	if fields[1] == "unknown" {
		return health.NewMachine(0)
	}
	for _, state := range []steering.State{steering.Up, steering.Degraded, steering.Down} {
		if state.String() == fields[1] {
			probe := parseDuration(t, fields[2])
			return health.RestoreMachine(state, probe-time.Hour, probe)
		}
	}
	t.Fatalf("no such start: %q", fields)
	return health.Machine{}
}

func parseEvent(t *testing.T, word string) health.EventKind {
	t.Helper()
	kind, ok := map[string]health.EventKind{"good": health.ProbeGood, "failed": health.ProbeFailed, "tick": health.Tick}[word]
	if !ok {
		t.Fatalf("no such event: %q", word)
	}
	return kind
}

func parseDuration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// twin is the machine as its definition reads, computed anew from the whole
// history at each look: slow, with no counter and no flag.
type twin struct {
	rules   health.Rules
	start   steering.State
	history []ended
}

// ended is a probe that ended.
type ended struct {
	at time.Duration
	ok bool
}

// look gives the state and the doubt at now.
func (w *twin) look(now time.Duration) (steering.State, health.Doubt) {
	state, verdictAt := w.start, -1
	for i, probe := range w.history {
		next := state
		switch {
		case state == steering.Unknown && probe.ok:
			next = steering.Up
		case state == steering.Unknown:
			next = steering.Down
		case state == steering.Down && allOf(w.history[:i+1], w.rules.Rise, true):
			next = steering.Up
		case state != steering.Down && allOf(w.history[:i+1], w.rules.Fall, false):
			next = steering.Down
		}
		if next != state {
			state, verdictAt = next, i
		}
	}
	if len(w.history) == 0 {
		return state, health.NeverProbed
	}
	if state != steering.Down {
		for i := len(w.history) - 1; i > verdictAt; i-- {
			if w.history[i].ok {
				continue
			}
			behind := w.history[i+1:] // all good
			if len(behind) < w.rules.Rise || now-w.history[i].at < w.rules.Interval {
				return state, health.Contested
			}
			break
		}
	}
	if now-w.history[len(w.history)-1].at >= w.rules.MaxAge {
		return state, health.TooOld
	}
	return state, health.NoDoubt
}

// allOf reports whether the last n probes, no fewer, all ended so.
func allOf(history []ended, n int, ok bool) bool {
	if len(history) < n {
		return false
	}
	for _, probe := range history[len(history)-n:] {
		if probe.ok != ok {
			return false
		}
	}
	return true
}

// rounds is how often a random test is repeated: n times, or fifty times that
// where a long proof is asked for.
func rounds(n int) int {
	if os.Getenv("GEODNS_PROVE") != "" {
		return 50 * n
	}
	return n
}

// TestTwin compares the machine with its twin over random histories, and
// checks Deadline: nothing changes between an event and it, and a tick at it
// changes something.
func TestTwin(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	for range rounds(3000) {
		rules := health.Rules{
			Fall: 1 + random.IntN(4), Rise: 1 + random.IntN(4),
			Interval: 5 * time.Second, MaxAge: time.Duration(10+random.IntN(30)) * time.Second,
		}
		start := steering.State(random.IntN(4))
		machine := health.RestoreMachine(start, -time.Minute, -time.Second)
		if start == steering.Unknown {
			machine = health.NewMachine(0)
		}
		slow := &twin{rules: rules, start: start}
		good := random.Float64()
		now := time.Duration(0)
		for step := range 60 {
			now += time.Duration(random.IntN(7)) * time.Second
			if random.IntN(20) == 0 {
				now += rules.MaxAge
			}
			event := health.Event{Kind: health.Tick}
			if random.IntN(4) > 0 {
				ok := random.Float64() < good
				slow.history = append(slow.history, ended{now, ok})
				event.Kind = health.ProbeFailed
				if ok {
					event.Kind = health.ProbeGood
				}
			}
			before := machine
			var change health.Change
			machine, change = machine.Step(rules, event, now)
			state, doubt := slow.look(now)
			if machine.State != state || machine.Doubt != doubt {
				t.Fatalf("seed %d, step %d at %v: %v %v, twin %v %v\nrules %+v\nstart %v, history %v",
					seed, step, now, machine.State, machine.Doubt, state, doubt, rules, start, slow.history)
			}
			if change != (health.Change{From: before.State, To: state, FromDoubt: before.Doubt, ToDoubt: doubt}) {
				t.Fatalf("seed %d: change %+v from %+v to %+v", seed, change, before, machine)
			}
			checkDeadline(t, rules, machine, slow, now)
			if t.Failed() {
				t.Fatalf("seed %d, step %d at %v, rules %+v, history %v", seed, step, now, rules, slow.history)
			}
		}
	}
}

// checkDeadline compares the machine's deadline with what its twin sees to come.
func checkDeadline(t *testing.T, r health.Rules, m health.Machine, slow *twin, now time.Duration) {
	t.Helper()
	state, doubt := slow.look(now)
	first := time.Duration(-1)
	for at := now; at <= now+r.MaxAge+r.Interval; at += time.Second {
		if s, d := slow.look(at); s != state || d != doubt {
			first = at
			break
		}
	}
	got, ok := m.Deadline(r)
	if ok != (first >= 0) || (ok && got != first) {
		t.Errorf("deadline %v %v, twin %v", got, ok, first)
		return
	}
	if !ok {
		return
	}
	if got <= now {
		t.Errorf("deadline %v is not after %v", got, now)
	}
	if _, change := m.Step(r, health.Event{}, got); change.FromDoubt == change.ToDoubt {
		t.Errorf("a tick at the deadline %v changes nothing", got)
	}
	if same, change := m.Step(r, health.Event{}, got-1); same != m || change.Any() {
		t.Errorf("a tick before the deadline %v changes %+v", got, change)
	}
}

// TestExhaustive compares machine and twin over all histories of up to 12
// probes, an interval apart.
func TestExhaustive(t *testing.T) {
	t.Parallel()
	for fall := 1; fall <= 3; fall++ {
		for rise := 1; rise <= 3; rise++ {
			rules := health.Rules{Fall: fall, Rise: rise, Interval: 5 * time.Second, MaxAge: time.Minute}
			for bits := range 1 << 12 {
				machine := health.NewMachine(0)
				slow := &twin{rules: rules}
				for i := range 12 {
					at := time.Duration(i) * rules.Interval
					ok := bits>>i&1 == 1
					kind := health.ProbeFailed
					if ok {
						kind = health.ProbeGood
					}
					machine, _ = machine.Step(rules, health.Event{Kind: kind}, at)
					slow.history = append(slow.history, ended{at, ok})
				}
				now := 11 * rules.Interval
				if state, doubt := slow.look(now); machine.State != state || machine.Doubt != doubt {
					t.Fatalf("fall %d, rise %d, history %v: %v %v, twin %v %v",
						fall, rise, slow.history, machine.State, machine.Doubt, state, doubt)
				}
			}
		}
	}
}

// TestRulesChange covers thresholds that change under a machine: no verdict
// comes of the change alone, and the next probe is judged by the new ones.
func TestRulesChange(t *testing.T) {
	t.Parallel()
	wide := health.Rules{Fall: 5, Rise: 5, Interval: 5 * time.Second, MaxAge: time.Minute}
	tight := health.Rules{Fall: 2, Rise: 2, Interval: time.Second, MaxAge: time.Minute}
	m := health.NewMachine(0)
	for i, kind := range []health.EventKind{health.ProbeGood, health.ProbeFailed, health.ProbeFailed, health.ProbeFailed} {
		m, _ = m.Step(wide, health.Event{Kind: kind}, time.Duration(i)*time.Second)
	}
	m, change := m.Step(tight, health.Event{Kind: health.Tick}, 4*time.Second)
	if change.Any() || m.State != steering.Up || m.Doubt != health.Contested {
		t.Fatalf("the change alone: %+v, %+v", m, change)
	}
	if m, _ = m.Step(tight, health.Event{Kind: health.ProbeFailed}, 5*time.Second); m.State != steering.Down {
		t.Fatalf("the next probe: %+v", m)
	}
}

// TestCombine covers a target of several addresses against the rule's words.
func TestCombine(t *testing.T) {
	t.Parallel()
	states := []steering.State{steering.Unknown, steering.Up, steering.Degraded, steering.Down}
	for _, a := range states {
		for _, b := range states {
			for doubts := range 4 {
				got := health.Combine([]steering.Verdict{
					{State: a, InDoubt: doubts&1 != 0, Admit: steering.AdmitAll},
					{State: b, InDoubt: doubts&2 != 0, Admit: steering.AdmitAll},
				})
				if (got.State == steering.Up) != (a == steering.Up && b == steering.Up) {
					t.Errorf("%v and %v are %v", a, b, got.State)
				}
				down := a == steering.Down || b == steering.Down
				if (got.State == steering.Down) != down {
					t.Errorf("%v and %v are %v", a, b, got.State)
				}
				unknown := a == steering.Unknown || b == steering.Unknown
				if (got.State == steering.Unknown) != (unknown && !down) {
					t.Errorf("%v and %v are %v", a, b, got.State)
				}
				if got.InDoubt != (doubts != 0) || got.Admit != steering.AdmitAll || got.Drained {
					t.Errorf("doubts %b: %+v", doubts, got)
				}
			}
		}
	}
	one := steering.Verdict{State: steering.Degraded, Admit: 7}
	if got := health.Combine([]steering.Verdict{one}); got != one {
		t.Errorf("one address: %+v", got)
	}
}
