package health_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"geodns/internal/dnstest"
	"geodns/pkg/health"
	"geodns/pkg/steering"
)

// schedules is how many random schedules are tried.
func schedules() int {
	if text := os.Getenv("GEODNS_SCHEDULES"); text != "" {
		if n, err := strconv.Atoi(text); err == nil {
			return n
		}
	}
	if proving() {
		return 1_000_000
	}
	return 50_000
}

// schedule is a random run of a fleet, and what a plain look at its events says.
type schedule struct {
	random *rand.Rand
	rules  health.Rules
	fleet  *health.Fleet
	now    time.Duration
	nodes  []*node
	quiet  bool // no canary fails, and too few targets for a mass failure
}

// node is a target with what was seen of it.
type node struct {
	machine *health.Machine
	good    float64         // share of good probes at present
	rows    []int           // failed probes in a row, of each address
	goods   []int           // good ones
	last    []time.Duration // when each address was probed last
	fallen  []bool          // fall failed probes in a row, or a first one, and no rise good ones since
	votes   map[string]vote // by PoP
	downs   []time.Duration // verdicts down of what was up
	since   time.Duration
}

// vote is a vote that was pushed.
type vote struct {
	at    time.Duration
	state steering.State
}

// newSchedule draws one.
func newSchedule(random *rand.Rand) *schedule {
	check := health.Check{
		Kind: health.TCP, Port: 1, Interval: time.Duration(1+random.IntN(10)) * time.Second,
		Fall: 1 + random.IntN(5), Rise: 1 + random.IntN(5),
	}
	if random.IntN(2) == 0 {
		check.Dwell = time.Duration(random.IntN(120)) * time.Second
	}
	if random.IntN(2) == 0 {
		check.WarmUp = time.Duration(random.IntN(120)) * time.Second
	}
	if random.IntN(2) == 0 {
		check.Votes.Need = 1 + random.IntN(3)
	}
	check.Votes.MaxAge = time.Duration(5+random.IntN(60)) * time.Second
	if random.IntN(2) == 0 {
		suppress := 1.1 + 3*random.Float64()
		check.Damping = health.Damping{
			HalfLife: time.Duration(10+random.IntN(600)) * time.Second, Suppress: suppress,
			Reuse: suppress * (0.1 + 0.8*random.Float64()), Ceiling: suppress + 4*random.Float64(),
		}
	}
	canaries := random.IntN(3)
	s := &schedule{random: random, rules: check.Rules(), fleet: health.NewFleet(canaries), quiet: canaries == 0}
	targets := 1 + random.IntN(3)
	if canaries == 0 && random.IntN(4) == 0 { // enough for a mass failure
		targets += 8 + random.IntN(4)
	}
	for i := range targets {
		nets := make([]string, 1+random.IntN(2))
		for address := range nets {
			nets[address] = strconv.Itoa(i % 5)
		}
		n := &node{
			machine: health.NewMachine(strconv.Itoa(i), s.rules, nets, 0), good: random.Float64(),
			rows: make([]int, len(nets)), goods: make([]int, len(nets)), last: make([]time.Duration, len(nets)), fallen: make([]bool, len(nets)), votes: map[string]vote{},
		}
		s.fleet.Add(n.machine, 0)
		s.nodes = append(s.nodes, n)
	}
	for i := range canaries {
		s.fleet.Canary(i, true, 0, 0)
	}
	return s
}

// step does one thing at a random time, ticks on the way there included.
func (s *schedule) step() error {
	to := s.now + time.Duration(s.random.IntN(int(s.rules.Interval)))
	for {
		next, tick := to+1, func() {}
		for _, n := range s.nodes {
			if at, ok := n.machine.Deadline(s.now); ok && at < next {
				next, tick = at, func() { s.fleet.Tick(n.machine, s.now) }
			}
		}
		if next > to {
			break
		}
		if at, ok := s.fleet.Deadline(); ok && at <= next {
			next, tick = at, func() { s.fleet.Review(s.now) }
		}
		s.now = next
		tick()
		if err := s.look(); err != nil {
			return fmt.Errorf("tick: %w", err)
		}
	}
	s.now = to
	n := s.nodes[s.random.IntN(len(s.nodes))]
	switch s.random.IntN(16) {
	case 0:
		n.good = s.random.Float64()
	case 1:
		n.good = float64(s.random.IntN(2))
	case 2:
		if !s.quiet {
			s.fleet.Canary(0, s.random.IntN(2) == 0, s.now-time.Millisecond, s.now)
		}
	case 3:
		s.vote(n)
	default:
		address := s.random.IntN(len(n.rows))
		good := s.random.Float64() < n.good
		n.last[address] = s.now
		n.rows[address]++
		n.goods[address]++
		switch {
		case good:
			n.rows[address] = 0
			n.fallen[address] = n.fallen[address] && n.goods[address] < s.rules.Rise
		case n.rows[address] >= s.rules.Fall || n.machine.View(address, s.now).State == "unknown":
			n.fallen[address] = true
			fallthrough
		default:
			n.goods[address] = 0
		}
		s.fleet.Probe(n.machine, address, good, time.Millisecond, s.now)
	}
	return s.look()
}

// vote pushes a vote of one of three vantage points.
func (s *schedule) vote(n *node) {
	states := []steering.State{steering.Up, steering.Degraded, steering.Down}
	v := health.Vote{
		PoP: string(rune('a' + s.random.IntN(3))), Boot: 1, Sequence: uint64(s.now) + 1, State: states[s.random.IntN(3)],
		Age: time.Duration(s.random.IntN(int(s.rules.Votes.MaxAge))), Admit: uint16(s.random.IntN(1 << 16)),
	}
	if s.fleet.Vote(n.machine, &v, s.now) {
		n.votes[v.PoP] = vote{s.now - v.Age, v.State}
	}
}

// look checks every change against what was seen.
func (s *schedule) look() error {
	for _, change := range s.fleet.Take() {
		i, err := strconv.Atoi(change.Machine.ID)
		if err != nil {
			return err
		}
		n := s.nodes[i]
		if change.Verdict() { // else it is doubt, admit or hold
			if err := s.judge(n, &change.Change); err != nil {
				return fmt.Errorf("at %v target %d: %w: %+v\nrules %+v\nrows %v votes %v downs %v", s.now, i, err, change.Change, s.rules, n.rows, n.votes, n.downs)
			}
		}
	}
	return nil
}

// judge checks a verdict.
func (s *schedule) judge(n *node, c *health.Change) error {
	defer func() { n.since = s.now }()
	if c.To == steering.Down {
		if err := s.mayFall(n); err != nil {
			return err
		}
		if c.From != steering.Unknown {
			n.downs = append(n.downs, s.now)
			return s.damped(n)
		}
		return nil
	}
	if c.Reason == health.Retracted {
		if c.To != steering.Unknown {
			n.downs = n.downs[:len(n.downs)-1]
		}
		return nil
	}
	if c.From == steering.Down && s.now-n.since < s.rules.Dwell {
		return fmt.Errorf("up again after %v", s.now-n.since)
	}
	return nil
}

// mayFall checks that a verdict down has fall failed probes in a row behind
// it, or enough votes.
func (s *schedule) mayFall(n *node) error {
	fresh, down := 0, 0
	for _, v := range n.votes {
		if s.now-v.at < s.rules.Votes.MaxAge {
			fresh++
			if v.state == steering.Down {
				down++
			}
		}
	}
	up, own, lapsed, oldest := true, false, false, s.now
	for address := range n.rows {
		view := n.machine.View(address, s.now).State
		up, own = up && view == "up", own || view == "down"
		if n.last[address] > 0 {
			oldest = min(oldest, n.last[address])
		}
		lapsed = lapsed || view != "down" && n.rows[address] > 0
		if view == "down" && !n.fallen[address] {
			return fmt.Errorf("address %d is down after %d failed probes", address, n.rows[address])
		}
	}
	switch {
	case s.fleet.Doubt() == health.CanariesFail && own, s.fleet.Doubt() != health.Confident && lapsed: // void
	case s.now-oldest >= s.rules.MaxAge: // too old
	case own:
		fresh, down = fresh+1, down+1
	case up:
		fresh++
	}
	need := s.rules.Votes.Need
	if need == 0 {
		need = fresh/2 + 1
	}
	if down < min(need, fresh) || down == 0 {
		return fmt.Errorf("%d votes of %d", down, fresh)
	}
	return nil
}

// damped checks the bound of damping: each verdict down adds 1 to a penalty
// that decays to no less than half within a half-life; so no more than twice
// `suppress` of them, and one, can come within one.
func (s *schedule) damped(n *node) error {
	d := s.rules.Damping
	within := 0
	for _, at := range n.downs {
		if s.now-at < d.HalfLife {
			within++
		}
	}
	if bound := int(math.Ceil(2*d.Suppress)) + 1; within > bound {
		return fmt.Errorf("%d verdicts down within %v, at most %d", within, d.HalfLife, bound)
	}
	// And exactly: the penalty as it is defined, over the whole history.
	penalty, held := 0.0, false
	for i, at := range n.downs {
		if i > 0 {
			penalty *= math.Exp2(-float64(at-n.downs[i-1]) / float64(d.HalfLife))
			held = held && penalty >= d.Reuse
		}
		if held {
			return fmt.Errorf("up although its penalty was %v, down again", penalty)
		}
		penalty = min(penalty+1, d.Ceiling)
		held = penalty >= d.Suppress
	}
	return nil
}

// TestRandomSchedules tries random schedules: probes, votes, canaries and time
// in any order. No verdict comes without enough failed probes or votes, none
// is kept from a target before its time, and flapping is bounded.
func TestRandomSchedules(t *testing.T) {
	t.Parallel()
	seed := dnstest.Seed(t)
	const shards = 8
	for shard := range shards {
		t.Run(strconv.Itoa(shard), func(t *testing.T) {
			t.Parallel()
			for i := shard; i < schedules(); i += shards {
				s := newSchedule(rand.New(rand.NewPCG(seed, uint64(i))))
				for range 120 + 30*len(s.nodes) {
					if err := s.step(); err != nil {
						t.Fatalf("seed %d, schedule %d: %v", seed, i, err)
					}
				}
			}
		})
	}
}

// TestOneBadVantage covers three vantage points of which one is wrong, each of
// them in turn, in any way: nothing changes, TTL and admit included.
func TestOneBadVantage(t *testing.T) {
	t.Parallel()
	seed := dnstest.Seed(t)
	random := rand.New(rand.NewPCG(seed, 3))
	for round := range rounds(300) {
		rules := plainRules(1+random.IntN(4), 1+random.IntN(4))
		rules.Votes.MaxAge = 20 * time.Second
		truth := []steering.State{steering.Up, steering.Down}[random.IntN(2)]
		bad := random.IntN(3) // 0: this node
		f := health.NewFleet(0)
		m := health.NewMachine("t", rules, []string{"n"}, 0)
		f.Add(m, 0)
		sequence := uint64(0)
		push := func(pop int, state steering.State, admit uint16, now time.Duration) {
			sequence++
			f.Vote(m, &health.Vote{PoP: strconv.Itoa(pop), Boot: 1, Sequence: sequence, State: state, Admit: admit}, now)
		}
		// All agree first; this node's probes are many enough for any threshold.
		for i := range 12 {
			f.Probe(m, 0, truth == steering.Up, time.Millisecond, time.Duration(i)*5*time.Second)
		}
		for now := time.Minute; now < 20*time.Minute; now += time.Second {
			for pop := 1; pop < 3; pop++ {
				switch {
				case pop != bad && now%(10*time.Second) == 0:
					push(pop, truth, steering.AdmitAll, now)
				case pop == bad && now > time.Minute && random.IntN(3) == 0:
					push(pop, []steering.State{steering.Up, steering.Degraded, steering.Down}[random.IntN(3)], uint16(random.IntN(1<<16)), now)
				}
			}
			if now == time.Minute {
				f.Take()
			}
			if now%(5*time.Second) == 0 {
				good := truth == steering.Up
				if bad == 0 && now > time.Minute {
					good = random.IntN(2) == 0
				}
				f.Probe(m, 0, good, time.Millisecond, now)
			}
			f.Tick(m, now)
			if changes := f.Take(); len(changes) > 0 {
				t.Fatalf("seed %d, round %d: truth %v, vantage %d is bad, at %v: %+v", seed, round, truth, bad, now, changes)
			}
		}
	}
}

// TestMassFailure covers the bounds of what is a mass failure: one target, one
// network or a little time less, and it is none.
func TestMassFailure(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		targets, nets int
		apart         time.Duration
		doubt         health.SelfDoubt
	}{
		{"as many as it takes", health.MassTargets, health.MassNetworks, 0, health.MassFailure},
		{"within an interval", health.MassTargets, health.MassNetworks, 714 * time.Millisecond, health.MassFailure},
		{"one target less", health.MassTargets - 1, health.MassNetworks, 0, health.Confident},
		{"one network less", health.MassTargets, health.MassNetworks - 1, 0, health.Confident},
		{"a little slower", health.MassTargets, health.MassNetworks, 715 * time.Millisecond, health.Confident},
	} {
		f := health.NewFleet(0)
		var machines []*health.Machine
		for i := range tt.targets {
			m := health.NewMachine(strconv.Itoa(i), plainRules(3, 4), []string{strconv.Itoa(i % tt.nets)}, 0)
			f.Add(m, 0)
			f.Probe(m, 0, true, time.Millisecond, 0)
			machines = append(machines, m)
		}
		now := time.Minute
		for i, m := range machines {
			now = time.Minute + time.Duration(i)*tt.apart
			f.Probe(m, 0, false, time.Millisecond, now)
			if f.Doubt() != health.Confident {
				t.Errorf("%s: in doubt for a single failed probe of target %d", tt.name, i)
			}
			f.Probe(m, 0, false, time.Millisecond, now) // the one at once
		}
		if got := f.Doubt(); got != tt.doubt {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.doubt)
		}
		if _, held := f.Deadline(); held != (tt.doubt == health.MassFailure) {
			t.Errorf("%s: deadline %v", tt.name, held)
		}
		if tt.doubt != health.MassFailure {
			continue
		}
		// Half of them well again, or gone, are not enough; one more is.
		for i, m := range machines[:health.MassTargets/2+1] {
			if f.Doubt() != health.MassFailure {
				t.Errorf("%s: no doubt with %d less", tt.name, i)
			}
			if i%2 == 0 {
				f.Probe(m, 0, true, time.Millisecond, now+time.Second)
			} else {
				f.Remove(m, now+time.Second)
			}
		}
		if f.Doubt() != health.Confident {
			t.Errorf("%s: in doubt with too few", tt.name)
		}
	}
}

// TestHover covers mass failures that come and go without end, of targets that
// fail for a moment: one that is dead among them is called down after two
// minutes, and the doubt does not come and go with each.
func TestHover(t *testing.T) {
	t.Parallel()
	seed := dnstest.Seed(t)
	random := rand.New(rand.NewPCG(seed, 4))
	rules := plainRules(3, 4)
	f := health.NewFleet(0)
	var machines []*health.Machine
	for i := range 400 {
		m := health.NewMachine(strconv.Itoa(i), rules, []string{strconv.Itoa(i / 10)}, 0)
		f.Add(m, 0)
		f.Probe(m, 0, true, time.Millisecond, 0)
		machines = append(machines, m)
	}
	dead, toggles, before := time.Minute, 0, f.Doubt()
	for now := time.Second; now < 10*time.Minute; now += 50 * time.Millisecond {
		if at, ok := f.Deadline(); ok && at <= now {
			f.Review(now)
		}
		i := int(now/(50*time.Millisecond)) % 100 * 4 // each 5 s, as the others with it
		for _, m := range machines[i : i+4] {
			switch {
			case m == machines[0]:
				f.Probe(m, 0, now < dead, time.Millisecond, now)
			case random.IntN(20) == 0: // two failed probes, and a good one
				f.Probe(m, 0, false, time.Millisecond, now)
				f.Probe(m, 0, false, time.Millisecond, now)
			default:
				f.Probe(m, 0, true, time.Millisecond, now)
			}
			f.Tick(m, now)
		}
		if f.Doubt() != before {
			toggles, before = toggles+1, f.Doubt()
		}
		if now > dead+health.MassHold+rules.Interval && machines[0].Verdict().State != steering.Down {
			t.Fatalf("seed %d: %v after it died it is %+v", seed, now-dead, machines[0].Verdict())
		}
	}
	if toggles == 0 || toggles > 60 {
		t.Errorf("seed %d: the doubt came and went %d times", seed, toggles)
	}
}
