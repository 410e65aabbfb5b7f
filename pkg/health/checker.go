package health

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"geodns/pkg/steering"
)

const (
	// DefaultMaxAge is how long a verdict stands that no probe confirms.
	DefaultMaxAge = 10 * time.Minute

	// ProbesMax bounds the probes under way, by what they cost: a descriptor
	// each and some 20 kB. 10,000 addresses at the default interval and timeout
	// need 4,000 if all of them hang.
	ProbesMax = 8192

	// slotsMin is how many probes may be under way in any case: enough for a
	// small fleet that is probed for the first time, within firstRound.
	slotsMin = 256

	// slotsSpare is what is to be had beside the slots that a fleet takes that
	// hangs as a whole, early probes included, as a part of them: probes are not
	// spread quite evenly.
	slotsSpare = 0.1

	// descriptorsPart: probes take at most one in so many of the descriptors
	// that the process may have; the rest is for queries, the API and files.
	descriptorsPart = 2

	// firstRound is within what time new addresses are probed for the first
	// time: soon, for their first probe decides, but not all at once.
	firstRound = time.Second
)

// Config is what a [Checker] needs. Never modified after New.
type Config struct {
	// StatePath is the file that verdicts are kept in over a restart; empty:
	// they are not kept.
	StatePath string
	// MaxAge is how long a verdict stands that no probe confirms: then it is
	// in doubt, and after a restart forgotten. 0: DefaultMaxAge.
	MaxAge time.Duration
	// Allow says why an address may not be probed; nil error: it may. It is
	// asked before each connection, those to resolved host names included,
	// unless Dial is set. nil: every address may be probed. See [Allowed].
	Allow func(netip.Addr) error
	// Own reports whether a name server is this very server: it is not asked
	// for the addresses of targets that are host names. nil: none is.
	Own func(netip.AddrPort) bool
	// Dial makes the connections of all probes; nil: the system's sockets and
	// resolver.
	Dial DialFunc
	// RootCAs verify the certificates of back ends; nil: the system's.
	RootCAs *x509.CertPool
	// Canaries are addresses of others that are as good as never away: while
	// most of them fail, this node does not believe its failed probes. At most
	// CanariesMax. See [ParseCanary].
	Canaries []Target
	// Log gets each verdict, and trouble with the state file; nil: nothing is logged.
	Log *slog.Logger
	// OnChange is called after any verdict, admit or doubt changed, while Run
	// runs. It is called from one goroutine at a time, holding no lock, and must
	// not block: no probe is started meanwhile. nil: nothing is called.
	OnChange func()
	// OnEvent is called for each verdict, behind OnChange and like it.
	OnEvent func(Event)
}

// Checker probes targets and holds their verdicts. All methods may be called
// from any goroutine, before, during and after Run.
type Checker struct {
	// Immutable after New.
	cfg   Config
	epoch time.Time // all monotonic times count from here
	boot  string    // distinguishes the decisions of two runs
	limit int       // of slots

	common *common // of the probers
	probe  func(context.Context, *prober) Result

	// Communication.
	jobs    chan job         // to workers that have nothing to do
	votes   chan voteRequest // of Vote
	kick    chan struct{}    // the loop has to look again
	changed chan struct{}    // there are verdicts to be saved
	ended   chan struct{}    // closed when Run's loop has ended
	probes  sync.WaitGroup
	tuning  sync.Mutex // held by Tune; taken before mu

	mu sync.Mutex // guards the following

	fleet    *Fleet
	targets  map[string]*target
	order    []*target     // by id
	canaries []*subject    // as configured
	review   timer         // of the fleet's own deadline
	queue    queue         // of all timers while Run runs
	asleep   time.Duration // the loop sleeps until then
	together time.Duration // ... and this long at least
	waiting  []*subject    // due, while all slots are taken
	early    bucket        // bounds the probes that come early
	running  int           // probes under way, those of removed subjects included
	slots    int           // probes that may be
	idle     int           // workers that have nothing to do
	started  bool
	restored map[string]savedTarget // by savedKey
	reasons  reasons
	counts   measured
	doubted  SelfDoubt // as last told
	sequence uint64    // of verdicts
	events   []Event
	unserved []unserved // verdicts that no answer follows yet
	untold   outcome    // what there is to tell
}

// target is a checked target. Its fields are guarded by Checker.mu.
type target struct {
	id       string
	check    Check // with defaults
	tested   string
	machine  *Machine
	subjects []*subject // one or more, as listed; machine's addresses
	decision string     // id of the last verdict
	detail   string     // what it came of, for people
	timer    timer
}

// New makes a Checker and reads the verdicts of an earlier run. It starts
// nothing. A state file that cannot be read is logged and done without.
func New(cfg Config) (*Checker, error) {
	if cfg.MaxAge < 0 {
		return nil, fmt.Errorf("max age %v is negative", cfg.MaxAge)
	}
	if len(cfg.Canaries) > CanariesMax {
		return nil, fmt.Errorf("%d canaries, at most %d are of use", len(cfg.Canaries), CanariesMax)
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = DefaultMaxAge
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	var reach reachFunc
	if cfg.Dial == nil {
		cfg.Dial, reach = systemDial(cfg.Allow, cfg.Own), systemReach(cfg.Allow)
	}
	var boot [4]byte
	_, _ = rand.Read(boot[:]) // never returns an error
	c := &Checker{
		cfg: cfg, epoch: time.Now(), boot: hex.EncodeToString(boot[:]),
		limit: min(ProbesMax, max(1, descriptors()/descriptorsPart)),
		probe: func(ctx context.Context, p *prober) Result { return p.probe(ctx) }, common: newCommon(cfg.Dial, cfg.RootCAs),

		jobs: make(chan job), votes: make(chan voteRequest), kick: make(chan struct{}, 1),
		changed: make(chan struct{}, 1), ended: make(chan struct{}),

		fleet: NewFleet(len(cfg.Canaries)), targets: map[string]*target{}, reasons: newReasons(), counts: newMeasured(),
	}
	c.common.reach = reach
	c.review = timer{index: -1, wake: never}
	c.slots = min(c.limit, slotsMin)
	for i := range cfg.Canaries {
		s, err := c.makeCanary(i, &cfg.Canaries[i])
		if err != nil {
			return nil, err
		}
		c.canaries = append(c.canaries, s)
	}
	c.restored = c.load()
	return c, nil
}

// now is the time since the epoch, monotonic.
func (c *Checker) now() time.Duration { return time.Since(c.epoch) }

// Update replaces the targets. What is known of an address stays as long as
// the target's id, the address and what the check tests stay; new addresses
// begin with the verdict of an earlier run if there is one, else unknown, and
// are probed within a second. Removed ones are forgotten at once, and a probe
// of them that is under way is stopped. Targets without a check are left out,
// and of targets with the same id all but the first.
func (c *Checker) Update(targets []Target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	old := c.targets
	c.targets = make(map[string]*target, len(targets))
	c.order = c.order[:0:0]
	rate, hanging, longest := 0.0, 0.0, time.Duration(0)
	for i := range targets {
		t := &targets[i]
		if _, doubled := c.targets[t.ID]; doubled || t.Check == nil {
			continue
		}
		if made := c.makeTarget(t, old[t.ID], now); made != nil {
			c.targets[t.ID] = made
			c.order = append(c.order, made)
			a := float64(len(made.subjects)) / made.machine.rules.Interval.Seconds()
			rate, hanging, longest = rate+a, hanging+a*made.check.Timeout.Seconds(), max(longest, made.check.Timeout)
		}
	}
	c.early.setRate(rate)
	if c.together = 0; rate >= manyProbes {
		c.together = startsTogether
	}
	// As many as a fleet takes that hangs as a whole: more would only let a
	// back-log of a busy machine fill its memory.
	hanging += c.early.rate * (longest.Seconds() + bucketSeconds)
	c.slots = min(c.limit, max(slotsMin, int((1+slotsSpare)*hanging)))
	slices.SortFunc(c.order, func(a, b *target) int { return strings.Compare(a.id, b.id) })
	for _, t := range old {
		c.dropTarget(t, now)
	}
	c.note(&c.untold, now)
	signal(c.kick)
}

// dropTarget forgets what of a target its successor did not take over.
func (c *Checker) dropTarget(t *target, now time.Duration) {
	for _, s := range t.subjects {
		if s.target == t {
			c.drop(s)
		}
	}
	c.unqueue(&t.timer)
	if made := c.targets[t.id]; made == nil || made.machine != t.machine {
		c.fleet.Remove(t.machine, now)
	}
}

// makeTarget makes the target of t, with what of its predecessor is the same.
// nil: it has nothing to probe.
func (c *Checker) makeTarget(t *Target, old *target, now time.Duration) *target {
	check := t.Check.WithDefaults()
	check.Status = slices.Clone(check.Status)
	made := &target{id: t.ID, check: check, tested: check.tested()}
	made.timer = timer{target: made, index: -1}
	dests := destinations(t)
	if len(dests) == 0 {
		return nil
	}
	// Where nothing of it is the same, what was said of the old target, by
	// whomever, is said of something else.
	if old != nil && (old.tested != made.tested || !slices.ContainsFunc(dests, func(d destination) bool { return old.index(d) >= 0 })) {
		old = nil
	}
	rules := check.rules(c.cfg.MaxAge)
	nets := make([]string, len(dests))
	keep := make([]int, len(dests)) // index among old's, -1: new
	for i, dest := range dests {
		nets[i] = networkOf(dest)
		keep[i] = old.index(dest)
	}
	if old != nil {
		made.machine, made.decision, made.detail = old.machine, old.decision, old.detail
		c.fleet.Reshape(made.machine, rules, keep, nets, now)
	} else {
		made.machine = NewMachine(t.ID, rules, nets, now)
	}
	for i, dest := range dests {
		if keep[i] >= 0 {
			s := old.subjects[keep[i]]
			c.carry(s, made, i, now)
			made.subjects = append(made.subjects, s)
		} else {
			made.subjects = append(made.subjects, c.makeSubject(made, i, dest, now))
		}
	}
	c.restore(made, old == nil, keep, time.Now(), now)
	c.fleet.Add(made.machine, now)
	if c.started {
		c.schedule(made, now)
	}
	return made
}

// destinations are what of a target is probed, each once.
func destinations(t *Target) []destination {
	if len(t.Addrs) == 0 && t.Host != "" {
		return []destination{{host: strings.TrimSuffix(t.Host, ".")}}
	}
	var all []destination
	for _, addr := range t.Addrs {
		dest := destination{addr: addr.Unmap()}
		if addr.IsValid() && !slices.Contains(all, dest) {
			all = append(all, dest)
		}
	}
	return all
}

// index gives where among the target's addresses dest is, -1 if nowhere.
func (t *target) index(dest destination) int {
	if t == nil {
		return -1
	}
	return slices.IndexFunc(t.subjects, func(s *subject) bool { return s.dest == dest })
}

// proberFor makes the prober of a subject, or leaves the one that it has if
// that serves for a check that tests the same.
func (c *Checker) proberFor(s *subject, check *Check) {
	if s.prober == nil || !s.prober.fits(*check) {
		s.prober = newProber(*check, s.dest, c.common)
	}
}

// Verdict gives the verdict of a target over all its addresses. False: Update
// was given no such target, or one without a check.
func (c *Checker) Verdict(targetID string) (steering.Verdict, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.targets[targetID]
	if t == nil {
		return steering.Verdict{}, false
	}
	return t.machine.Verdict(), true
}
