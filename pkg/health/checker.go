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

	// ProbesMax bounds the probes under way. Each is a socket and up to four
	// goroutines, some 50 kB, so that is 50 MB. With the default interval and
	// timeout, 2,500 addresses may hang at once before another has to wait.
	ProbesMax = 1024

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
	// Dial makes the connections of all probes; nil: the system's sockets and
	// resolver.
	Dial DialFunc
	// RootCAs verify the certificates of back ends; nil: the system's.
	RootCAs *x509.CertPool
	// Log gets each verdict, and trouble with the state file; nil: nothing is logged.
	Log *slog.Logger
	// OnChange is called after any verdict changed or doubt came or went, but
	// not for what Update itself changes. It is called from one goroutine at
	// a time, holding no lock, and must not block: no probe is started
	// meanwhile. nil: nothing is called.
	OnChange func()
}

// Checker probes targets and holds their verdicts. All methods may be called
// from any goroutine, before, during and after Run.
type Checker struct {
	// Immutable after New.
	cfg       Config
	epoch     time.Time // all monotonic times count from here
	boot      string    // distinguishes the decisions of two runs
	probesMax int
	common    *common // of the probers
	probe     func(context.Context, *prober) Result

	// Communication.
	results chan finished // as long as probesMax, so that no probe waits to hand in its result
	kick    chan struct{} // Update has changed the queue
	changed chan struct{} // there are verdicts to be saved
	probes  sync.WaitGroup

	mu sync.Mutex // guards the following

	targets  map[string]*target
	order    []*target // by id
	queue    queue     // every subject while Run runs
	waiting  []*subject
	running  int // probes under way, those of removed subjects included
	started  bool
	sequence uint64 // of decisions
	restored map[verdictKey]savedVerdict
	stats    Stats
	counts   [kindEnd]KindStats // by kind; those of broken checks stand at 0
}

// target is a checked target. Its fields are guarded by Checker.mu.
type target struct {
	id       string
	check    Check // with defaults
	tested   string
	rules    Rules
	subjects []*subject // one or more, as listed
	verdict  steering.Verdict
}

// New makes a Checker and reads the verdicts of an earlier run. It starts
// nothing. A state file that cannot be read is logged and done without.
func New(cfg Config) (*Checker, error) {
	if cfg.MaxAge < 0 {
		return nil, fmt.Errorf("max age %v is negative", cfg.MaxAge)
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = DefaultMaxAge
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Dial == nil {
		cfg.Dial = systemDial(cfg.Allow, nil)
	}
	var boot [4]byte
	_, _ = rand.Read(boot[:]) // never returns an error
	c := &Checker{
		cfg: cfg, epoch: time.Now(), boot: hex.EncodeToString(boot[:]), probesMax: ProbesMax,
		probe:   func(ctx context.Context, p *prober) Result { return p.probe(ctx) },
		results: make(chan finished, ProbesMax), kick: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		common: newCommon(cfg.Dial, cfg.RootCAs), targets: map[string]*target{},
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
	for i := range targets {
		t := &targets[i]
		if _, doubled := c.targets[t.ID]; doubled || t.Check == nil {
			continue
		}
		if made := c.makeTarget(t, old[t.ID], now); made != nil {
			c.targets[t.ID] = made
			c.order = append(c.order, made)
		}
	}
	slices.SortFunc(c.order, func(a, b *target) int { return strings.Compare(a.id, b.id) })
	for _, t := range old {
		for _, s := range t.subjects {
			if s.target == t { // not taken over
				c.drop(s)
			}
		}
	}
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// makeTarget makes the target of t, with the subjects of its predecessor that
// are the same. nil: it has nothing to probe.
func (c *Checker) makeTarget(t *Target, old *target, now time.Duration) *target {
	check := t.Check.WithDefaults()
	check.Status = slices.Clone(check.Status)
	made := &target{id: t.ID, check: check, tested: check.tested(), rules: check.rules(c.cfg.MaxAge)}
	if old != nil && old.tested != made.tested {
		old = nil
	}
	for _, dest := range destinations(t) {
		s := old.subject(dest)
		if s != nil {
			c.carry(s, made, now)
		} else {
			s = c.makeSubject(made, dest, now)
		}
		made.subjects = append(made.subjects, s)
	}
	if len(made.subjects) == 0 {
		return nil
	}
	made.combine()
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

// subject gives the target's subject for dest, nil if there is none.
func (t *target) subject(dest destination) *subject {
	if t == nil {
		return nil
	}
	for _, s := range t.subjects {
		if s.dest == dest {
			return s
		}
	}
	return nil
}

// combine sets the target's verdict from those of its addresses.
func (t *target) combine() {
	verdicts := make([]steering.Verdict, len(t.subjects))
	for i, s := range t.subjects {
		verdicts[i] = s.machine.Verdict()
	}
	t.verdict = combine(verdicts)
}

// Verdict gives the verdict of a target over all its addresses: down if one
// is, else unknown if one is, and in doubt if one is. False: Update was given
// no such target, or one without a check.
func (c *Checker) Verdict(targetID string) (steering.Verdict, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.targets[targetID]
	if t == nil {
		return steering.Verdict{}, false
	}
	return t.verdict, true
}

// Status is what is known of one target.
type Status struct {
	Target    string // its id
	Check     string // the name of its check
	Kind      Kind
	Verdict   steering.Verdict
	Addresses []AddressStatus // as the target lists them
}

// AddressStatus is what is known of one address.
type AddressStatus struct {
	Address  string // or the host name that is probed
	State    steering.State
	Doubt    Doubt
	Since    time.Time     // when State was reached, or the address came to be known
	Decision string        // id of the verdict that State is of; empty if there has been none
	Probe    time.Time     // when the last probe ended, that of an earlier run included; zero: never probed
	OK       bool          // how it ended
	Reason   string        // why
	Latency  time.Duration // of the last probe of this run; 0: none yet
	Good     int           // good probes in a row, in this run
	Failed   int           // failed probes in a row, in this run
}

// Snapshot gives the status of all targets, by id.
func (c *Checker) Snapshot() []Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, now := time.Now(), c.now()
	all := make([]Status, 0, len(c.order))
	for _, t := range c.order {
		status := Status{Target: t.id, Check: t.check.Name, Kind: t.check.Kind, Verdict: t.verdict}
		for _, s := range t.subjects {
			m := s.machine
			address := AddressStatus{
				Address: s.dest.name(), State: m.State, Doubt: m.Doubt, Since: wall.Add(m.Since - now).Round(0),
				Decision: s.decision, OK: s.last.OK, Reason: s.last.Reason, Latency: s.last.Latency,
				Good: m.Good, Failed: m.Failed,
			}
			if m.Probed || m.State != steering.Unknown {
				address.Probe = wall.Add(m.Probe - now).Round(0)
			}
			status.Addresses = append(status.Addresses, address)
		}
		all = append(all, status)
	}
	return all
}

// Stats are the Checker's counts.
type Stats struct {
	Targets   int // checked targets
	Addresses int // of these, each probed by itself
	Running   int // probes under way
	Waiting   int // probes that are due, but wait for one of ProbesMax to end

	// Since New.

	Probes     []KindStats // one for each kind
	Discarded  uint64      // results that came after their target was removed
	Verdicts   uint64      // changes of an address's state
	Saves      uint64      // of the state file
	SaveErrors uint64
}

// KindStats are the counts of the probes of one kind.
type KindStats struct {
	Kind         Kind
	Good, Failed uint64
}

// Stats gives the counts.
func (c *Checker) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	stats := c.stats
	stats.Targets, stats.Running = len(c.order), c.running
	for kind := int(HTTP); kind < kindEnd; kind++ {
		counts := c.counts[kind]
		counts.Kind = Kind(kind)
		stats.Probes = append(stats.Probes, counts)
	}
	for _, t := range c.order {
		stats.Addresses += len(t.subjects)
	}
	for _, s := range c.waiting {
		if !s.removed {
			stats.Waiting++
		}
	}
	return stats
}
