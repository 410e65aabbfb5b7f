package health_test

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"geodns/pkg/health"
	"geodns/pkg/steering"
)

// update is asked for by hand; testing needs its flags registered before it parses them.
var update = flag.Bool("update", false, "rewrite what stands below => in testdata/scenarios")

// wallBegin is what the wall clock shows when a simulation begins.
func wallBegin() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// How probes of the simulated world end.
const (
	goodTakes = 10 * time.Millisecond
	badTakes  = time.Millisecond // refused
	// canaryInterval and canaryTimeout are those of the canaries.
	canaryInterval = time.Second
	canaryTimeout  = time.Second
)

// world is a simulated fleet with its targets, canaries, network and clocks.
// Only the fleet is real.
type world struct {
	t     *testing.T
	check health.Check
	nets  int // over which targets are spread
	now   time.Duration
	jump  time.Duration // of the wall clock

	fleet    *health.Fleet
	places   []*place
	canaries []bool // it fails
	cut      bool   // the checker's own uplink is lost
	queue    moments
	sequence int
	run      int  // of the process: what an earlier one planned is void
	away     bool // there is none
	out      bytes.Buffer
}

// place is a target in the simulated world.
type place struct {
	machine *health.Machine
	name    string
	net     string
	bad     func(n int, now time.Duration) bool // how the n-th probe ends
	hangs   bool                                // failed probes take the whole timeout
	takes   time.Duration                       // a good probe
	probes  int
	busy    bool
	next    time.Duration // of the regular probes
}

// moment is something that happens.
type moment struct {
	at       time.Duration
	sequence int
	run      int // -1: of the world itself
	do       func()
}

type moments []*moment

func (q moments) Len() int { return len(q) }
func (q moments) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].at, q[j].at), cmp.Compare(q[i].sequence, q[j].sequence)) < 0
}
func (q moments) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *moments) Push(x any)   { *q = append(*q, x.(*moment)) } //nolint:errcheck,forcetypeassert // nothing else is pushed
func (q *moments) Pop() any {
	last := len(*q) - 1
	m := (*q)[last]
	*q = (*q)[:last]
	return m
}

// at plans something of the process that runs now.
func (w *world) at(at time.Duration, do func()) { w.plan(at, w.run, do) }

// plan plans something.
func (w *world) plan(at time.Duration, run int, do func()) {
	w.sequence++
	heap.Push(&w.queue, &moment{at, w.sequence, run, do})
}

// start starts a process at now, with what an earlier one saved.
func (w *world) start(saved [][]byte) {
	w.fleet, w.away = health.NewFleet(len(w.canaries)), false
	rules := w.check.Rules()
	for i, p := range w.places {
		p.busy = false
		p.machine = health.NewMachine(p.name, rules, []string{p.net}, w.now)
		if saved != nil {
			if err := health.Restore(p.machine, saved[i], w.wall(), w.now); err != nil {
				w.t.Fatal(err)
			}
		}
		w.fleet.Add(p.machine, w.now)
		w.fleet.Take()
		// Spread as the schedule spreads, but evenly: starts are easy to read.
		p.next = w.now + rules.Interval*time.Duration(i)/time.Duration(len(w.places))
		w.at(p.next, func() { w.regular(p) })
	}
	for i := range w.canaries {
		w.at(w.now+canaryInterval*time.Duration(i)/time.Duration(len(w.canaries)), func() { w.canary(i) })
	}
}

// wall is what the wall clock shows.
func (w *world) wall() time.Time { return wallBegin().Add(w.now + w.jump) }

// restart ends the process, and starts it anew after a while.
func (w *world) restart(away time.Duration) {
	saved := make([][]byte, len(w.places))
	for i, p := range w.places {
		var err error
		if saved[i], err = health.Save(p.machine, w.wall(), w.now); err != nil {
			w.t.Fatal(err)
		}
	}
	w.run, w.away = w.run+1, true
	w.plan(w.now+away, w.run, func() {
		w.start(saved)
		for _, p := range w.places {
			w.say(p, "restored")
		}
	})
}

// regular starts a regular probe.
func (w *world) regular(p *place) {
	p.next += w.check.Interval
	w.at(p.next, func() { w.regular(p) })
	if !p.busy {
		w.probe(p)
	}
}

// probe starts a probe.
func (w *world) probe(p *place) {
	p.busy = true
	bad := w.cut || p.bad != nil && p.bad(p.probes, w.now)
	takes := cmp.Or(p.takes, goodTakes)
	switch {
	case bad && (p.hangs || w.cut):
		takes = w.check.Timeout
	case bad:
		takes = badTakes
	}
	p.probes++
	w.at(w.now+takes, func() {
		p.busy = false
		w.fleet.Probe(p.machine, 0, !bad, takes, w.now)
		if after, early := w.fleet.Recheck(p.machine, 0); early {
			w.at(w.now+after, func() {
				if !p.busy && p.next > w.now {
					w.probe(p)
				}
			})
		}
	})
}

// canary probes a canary, and plans its next probe.
func (w *world) canary(i int) {
	began, bad := w.now, w.cut || w.canaries[i]
	w.at(w.now+canaryInterval, func() { w.canary(i) })
	takes := goodTakes
	if bad {
		takes = canaryTimeout
	}
	w.at(w.now+takes, func() { w.fleet.Canary(i, !bad, began, w.now) })
}

// play lets time pass up to end.
func (w *world) play(end time.Duration) {
	for w.step(end) {
		w.tell()
	}
	w.now = end
}

// step does what comes next, at end at the latest; false: nothing is left.
func (w *world) step(end time.Duration) bool {
	next := end + 1
	if len(w.queue) > 0 {
		next = w.queue[0].at
	}
	tick := func() {}
	planned := true
	for _, p := range w.places {
		if at, ok := p.machine.Deadline(w.now); ok && at <= next && !w.away {
			next, planned = at, false
			tick = func() { w.fleet.Tick(p.machine, w.now) }
		}
	}
	if at, ok := w.fleet.Deadline(); ok && at <= next && !w.away {
		next, planned = at, false
		tick = func() { w.fleet.Review(w.now) }
	}
	if next > end {
		return false
	}
	w.now = next
	if !planned {
		tick()
		return true
	}
	m, _ := heap.Pop(&w.queue).(*moment)
	if m.run < 0 || m.run == w.run {
		m.do()
	}
	return true
}

// tell writes down what changed.
func (w *world) tell() {
	changes := w.fleet.Take()
	slices.SortStableFunc(changes, func(a, b health.Changed) int { return cmp.Compare(len(a.Machine.ID), len(b.Machine.ID)) })
	for _, c := range changes {
		i := slices.IndexFunc(w.places, func(p *place) bool { return p.machine == c.Machine })
		if i < 0 || !c.Any() {
			continue
		}
		note := ""
		if c.Verdict() {
			note = fmt.Sprintf("%s -> %s (%s)", c.From, c.To, c.Reason)
			if c.HasOnset {
				note += fmt.Sprintf(" %v after its first failure", (w.now - c.Onset).Round(time.Millisecond))
			}
		}
		w.say(w.places[i], note)
	}
}

// say writes down what answers go by now, and why.
func (w *world) say(p *place, note string) {
	v := p.machine.Verdict()
	ttl := 60
	if v.InDoubt {
		ttl = 15
	}
	line := fmt.Sprintf("%-9s %-4s %-8s admit %3.0f %%  ttl %d", w.now.Round(time.Millisecond), p.name, v.State, 100*float64(v.Admit)/steering.AdmitAll, ttl)
	if v.InDoubt {
		line += "  " + p.machine.Doubt().String()
	}
	if hold := p.machine.Hold(); hold != health.NoHold {
		line += "  held: " + hold.String()
	}
	if doubt := w.fleet.Doubt(); doubt != health.Confident {
		line += "  checker in doubt: " + doubt.String()
	}
	if note != "" {
		line += "  " + note
	}
	w.out.WriteString(line + "\n")
}

// TestScenarios plays the files of testdata/scenarios; its README.md says how
// they are written.
func TestScenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "scenarios", "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			script, want, _ := strings.Cut(string(data), "=>\n")
			got := playScenario(t, path, script)
			if *update {
				if err := os.WriteFile(path, []byte(script+"=>\n"+got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("%s: -update rewrites what follows =>\n--- got\n%s--- want\n%s", path, got, want)
			}
		})
	}
}

// playScenario plays a script and gives what was written down.
func playScenario(t *testing.T, path, script string) string {
	t.Helper()
	w := &world{t: t, nets: 1, check: health.Check{Kind: health.TCP, Port: 1}.WithDefaults()}
	lines := bufio.NewScanner(strings.NewReader(script))
	var end time.Duration
	for number := 1; lines.Scan(); number++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		where := fmt.Sprintf("%s:%d", path, number)
		at, err := time.ParseDuration(fields[0])
		switch {
		case err != nil:
			w.setUp(where, fields)
		case fields[1] == "end":
			end = at
		default:
			w.plan(at, -1, func() { w.happen(where, fields[1:]) })
		}
	}
	w.start(nil)
	w.play(end)
	return w.out.String()
}

// setUp reads a line that says what the world is like.
func (w *world) setUp(where string, fields []string) {
	switch fields[0] {
	case "check":
		for _, field := range fields[1:] {
			w.setCheck(where, field)
		}
		w.check.Damping.Off = w.check.Damping.HalfLife < 0
	case "targets":
		n := w.number(where, fields[1])
		for i := range n {
			w.places = append(w.places, &place{name: "t" + strconv.Itoa(i+1)})
		}
		nets := 1
		if len(fields) > 3 {
			nets = w.number(where, fields[3])
		}
		for i, p := range w.places {
			p.net = strconv.Itoa(i % nets)
		}
	case "canaries":
		w.canaries = make([]bool, w.number(where, fields[1]))
	default:
		w.t.Fatalf("%s: %q is no setting", where, fields[0])
	}
}

// setCheck reads one key=value of a check.
func (w *world) setCheck(where, field string) {
	key, value, _ := strings.Cut(field, "=")
	times := map[string]*time.Duration{
		"interval": &w.check.Interval, "timeout": &w.check.Timeout, "recheck": &w.check.Recheck, "warm_up": &w.check.WarmUp,
		"dwell": &w.check.Dwell, "slow": &w.check.Latency.Slow, "worst": &w.check.Latency.Worst, "half_life": &w.check.Damping.HalfLife,
		"votes_max_age": &w.check.Votes.MaxAge,
	}
	numbers := map[string]*int{"fall": &w.check.Fall, "rise": &w.check.Rise, "votes": &w.check.Votes.Need}
	switch {
	case times[key] != nil:
		*times[key] = w.duration(where, value)
	case numbers[key] != nil:
		*numbers[key] = w.number(where, value)
	case field == "damping=off":
		w.check.Damping.HalfLife = -1
	default:
		w.t.Fatalf("%s: %q is no key of a check", where, key)
	}
	if w.check.Latency.Slow > 0 {
		w.check.Latency.AdmitMin = health.DefaultAdmitMin
	}
}

// happen does what a line of the script says.
func (w *world) happen(where string, words []string) {
	switch words[0] {
	case "start": // the world as it is
	case "uplink":
		w.cut = words[1] == "lost"
	case "canary":
		w.canaries[w.number(where, words[1])-1] = words[2] == "fails"
	case "clock":
		w.jump += w.duration(where, words[1])
	case "restart":
		w.restart(w.duration(where, words[1]))
	case "vote":
		w.vote(where, words)
	case "votes":
		w.plan(w.now+w.duration(where, words[4]), -1, func() { w.happen(where, words) })
		w.vote(where, words)
	default:
		for _, p := range w.chosen(where, words[0]) {
			w.become(where, p, words[1:])
		}
	}
}

// vote pushes a vote: vote POP TARGET STATE.
func (w *world) vote(where string, words []string) {
	states := map[string]steering.State{"up": steering.Up, "degraded": steering.Degraded, "down": steering.Down}
	state, ok := states[words[3]]
	if !ok {
		w.t.Fatalf("%s: %q is no state", where, words[3])
	}
	w.sequence++
	v := health.Vote{PoP: words[1], Boot: 1, Sequence: uint64(w.sequence), State: state, Admit: steering.AdmitAll}
	if err := v.Validate(); err != nil {
		w.t.Fatalf("%s: %v", where, err)
	}
	for _, p := range w.chosen(where, words[2]) {
		w.fleet.Vote(p.machine, &v, w.now)
	}
}

// become changes how a target's probes end.
func (w *world) become(where string, p *place, words []string) {
	switch words[0] {
	case "good":
		p.bad, p.hangs, p.takes = nil, false, 0
	case "fails":
		p.bad, p.hangs = func(int, time.Duration) bool { return true }, false
	case "hangs":
		p.bad, p.hangs = func(int, time.Duration) bool { return true }, true
	case "takes":
		p.takes = w.duration(where, words[1])
	case "toggles":
		p.bad = func(n int, _ time.Duration) bool { return n%2 == 1 }
	case "flaps": // flaps BAD GOOD
		bad, good, from := w.duration(where, words[1]), w.duration(where, words[2]), w.now
		p.bad = func(_ int, now time.Duration) bool { return (now-from)%(bad+good) < bad }
	default:
		w.t.Fatalf("%s: a target cannot %q", where, words[0])
	}
}

// chosen gives the targets of t3, t2-t5 or all.
func (w *world) chosen(where, word string) []*place {
	if word == "all" {
		return w.places
	}
	first, last, _ := strings.Cut(word, "-")
	a := w.number(where, strings.TrimPrefix(first, "t"))
	b := a
	if last != "" {
		b = w.number(where, strings.TrimPrefix(last, "t"))
	}
	if a < 1 || b < a || b > len(w.places) {
		w.t.Fatalf("%s: %q is no target", where, word)
	}
	return w.places[a-1 : b]
}

func (w *world) number(where, text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		w.t.Fatalf("%s: %v", where, err)
	}
	return n
}

func (w *world) duration(where, text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		w.t.Fatalf("%s: %v", where, err)
	}
	return d
}
