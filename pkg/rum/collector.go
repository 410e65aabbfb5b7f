package rum

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"geodns/pkg/geo"
)

// Defaults and bounds of a Config.
const (
	IntervalDefault   = 30 * time.Second
	WindowDefault     = 15 * time.Minute
	MinSourcesDefault = 10

	// SketchesDefault is for some 30,000 client networks that measure three regions each: 30 MB where all are busy, and 45 MB for
	// the View where all of them may be shown.
	SketchesDefault = 100_000
	// SketchesMax keeps the memory below a gigabyte and a file of state below what is read again.
	SketchesMax = 2_000_000

	intervalMin = time.Second
	// windowMax: what users measured a day ago says nothing of now.
	windowMax = 24 * time.Hour

	// networkBudget is how many samples of one client network count in a window: more than its quantiles need, and what a
	// sketch's weights hold.
	networkBudget = 384

	// decaySteps is in how many steps at most what was measured decays in a window. Weights are rounded down at each: in many steps
	// that take less than a weight's unit each, all would be gone long before the window is over.
	decaySteps = 30

	// halfLives is how often what was measured halves in a window: at its end an eighth is left.
	halfLives = 3

	// shardCount is how many locks intake is spread over; some per core of a large machine.
	shardBits  = 6
	shardCount = 1 << shardBits

	// groupShare: while memory is full, a network of an ASN that holds more than an eighth of it is less useful than any other.
	// Address space is cheap in IPv6, and else one allocation could push everyone out.
	groupShare = 8

	// heldLogged bounds the lines in the log for the rungs that are held from one interval on: a region that fails moves those of all
	// networks at once.
	heldLogged = 16

	// candidates is how many networks are looked at for the least useful; with eight of a shard it is among the last quarter
	// nine times in ten.
	candidates = 8
)

// Config is what a Collector needs. It is not changed after New.
type Config struct {
	// Place gives the place of a client network in the geo data of now. Called from many goroutines.
	Place func(netip.Addr) geo.Place
	// Regions gives the regions served now by name. Called from many goroutines; the map is not changed.
	Regions func() map[string]Location

	Interval   time.Duration // between two Views, aligned to UTC; zero: IntervalDefault
	Window     time.Duration // what is older does not count; a whole number of intervals; zero: WindowDefault
	MinSources int           // a rung with fewer distinct sources is not shown or used; zero: MinSourcesDefault
	// MaxSketches bounds the pairs of client network and region; the least useful give way. Zero: SketchesDefault.
	MaxSketches int

	Loopback  bool             // clients on loopback count: for tests and a server for its own machine
	StatePath string           // of the state file; empty: nothing is saved
	Now       func() time.Time // nil: time.Now
	Log       *slog.Logger     // nil: nothing is logged
}

// withDefaults fills in what is zero and checks the rest.
func (cfg Config) withDefaults() (Config, error) {
	if cfg.Interval == 0 {
		cfg.Interval = IntervalDefault
	}
	if cfg.Window == 0 {
		cfg.Window = WindowDefault
	}
	if cfg.MinSources == 0 {
		cfg.MinSources = MinSourcesDefault
	}
	if cfg.MaxSketches == 0 {
		cfg.MaxSketches = SketchesDefault
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case cfg.Place == nil || cfg.Regions == nil:
		return cfg, errors.New("rum: Place and Regions are wanted")
	case cfg.Interval < intervalMin:
		return cfg, fmt.Errorf("rum: an interval of %v: at least %v is wanted", cfg.Interval, intervalMin)
	case cfg.Window < cfg.Interval || cfg.Window > windowMax || cfg.Window%cfg.Interval != 0:
		return cfg, fmt.Errorf("rum: a window of %v: a multiple of the interval %v up to %v is wanted", cfg.Window, cfg.Interval, windowMax)
	case cfg.MinSources < 1:
		return cfg, fmt.Errorf("rum: min_sources %d: at least 1 is wanted", cfg.MinSources)
	case cfg.MaxSketches < 1 || cfg.MaxSketches > SketchesMax:
		return cfg, fmt.Errorf("rum: max_sketches %d: 1 to %d are wanted", cfg.MaxSketches, SketchesMax)
	}
	return cfg, nil
}

// Collector counts samples by client network and makes a View of them at each interval. Its methods are safe for concurrent use.
type Collector struct {
	cfg      Config // immutable after New
	shards   [shardCount]shard
	sketches atomic.Int64 // in all shards
	view     atomic.Pointer[View]

	accepted atomic.Uint64
	refused  [len(refusals)]atomic.Uint64

	saves, saveErrors atomic.Uint64
	bytes             atomic.Int64

	ticking sync.Mutex // held by Tick and save; taken before the lock of a shard. It guards the following:
	last    time.Time  // of the last tick
	saved   uint64     // accepted at the last save
}

// shard is a part of the networks, by the hash of their keys.
type shard struct {
	mu       sync.Mutex // guards the following
	networks map[networkKey]*network
	groups   map[group]int // sketches of each
	// seed is the key of the hashes of sources, of this window alone.
	seed maphash.Seed
}

// refusals are the reasons in the order in which they are counted.
var refusals = [...]Refusal{ //nolint:gochecknoglobals // a constant table
	RefusedMalformed, RefusedRegion, RefusedClient, RefusedTime, RefusedImpossible, RefusedSource, RefusedPrefix, RefusedFull,
}

// New makes a Collector and reads the state file, if there is one. What is wrong with that file costs no more than what is in it.
func New(cfg Config) (*Collector, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Collector{cfg: cfg}
	for i := range c.shards {
		c.shards[i] = shard{networks: map[networkKey]*network{}, groups: map[group]int{}, seed: maphash.MakeSeed()}
	}
	now := cfg.Now()
	c.last = now.Truncate(cfg.Interval)
	c.load(now)
	c.Tick(now)
	return c, nil
}

// Add counts samples. Whatever is in one costs no more than that sample.
func (c *Collector) Add(samples []Sample) Counts {
	var counts Counts
	regions, now := c.cfg.Regions(), c.cfg.Now()
	for i := range samples {
		reason := c.addOne(&samples[i], regions, now)
		if reason == "" {
			counts.Accepted++
			continue
		}
		if counts.Refused == nil {
			counts.Refused = map[Refusal]int{}
		}
		counts.Refused[reason]++
	}
	c.accepted.Add(uint64(counts.Accepted))
	for i, reason := range refusals {
		if n := counts.Refused[reason]; n > 0 {
			c.refused[i].Add(uint64(n))
		}
	}
	return counts
}

// addOne counts one sample, or says why not.
func (c *Collector) addOne(s *Sample, regions map[string]Location, now time.Time) Refusal {
	if s.Region == "" || s.Latency < 0 {
		return RefusedMalformed
	}
	region, served := regions[s.Region]
	if !served {
		return RefusedRegion
	}
	client := s.Client.Unmap().WithZone("")
	if !c.client(client) {
		return RefusedClient
	}
	at := s.Time
	if at.IsZero() {
		at = now
	}
	age := now.Sub(at)
	if age < -futureMax || age > c.cfg.Window {
		return RefusedTime
	}
	age = max(age, 0)
	// A late sample weighs what it would if it had come in time.
	weight := uint16(math.Round(weightOne * c.factor(age)))
	return c.shardOf(keyOf(client)).add(c, s, client, region, weight, now.Add(-age))
}

// factor is what is left of a weight after a time.
func (c *Collector) factor(after time.Duration) float64 {
	return math.Exp2(-halfLives * float64(after) / float64(c.cfg.Window))
}

// decayed is the time between two ticks for which weights decay: whole steps, each a whole number of intervals.
func (c *Collector) decayed(from, to time.Time) time.Duration {
	step := (c.cfg.Window/decaySteps + c.cfg.Interval - 1).Truncate(c.cfg.Interval) // rounded up
	return max(to.Truncate(step).Sub(from.Truncate(step)), 0)
}

// shardOf gives the shard of a network.
func (c *Collector) shardOf(key networkKey) *shard {
	// Fibonacci hashing: neighbors come into different shards.
	return &c.shards[uint64(key)*0x9e3779b97f4a7c15>>(64-shardBits)]
}

// add counts a sample that may be true.
func (s *shard) add(c *Collector, sample *Sample, client netip.Addr, region Location, weight uint16, at time.Time) Refusal {
	key := keyOf(client)
	s.mu.Lock()
	defer s.mu.Unlock()
	n, known := s.networks[key]
	if !known {
		n = &network{place: placeOf(c.cfg.Place(client))}
	}
	if !sample.Failed && impossible(&n.place, region, sample.Latency) {
		return RefusedImpossible
	}
	source := client
	if client.Is6() {
		source = netip.PrefixFrom(client, source6Bits).Masked().Addr()
	}
	hash := maphash.Comparable(s.seed, source)
	switch {
	case n.sources.full(hash):
		return RefusedSource
	case n.accepted >= networkBudget:
		return RefusedPrefix
	}
	kept := n.sketch(sample.Region)
	register := uint64(1) << (hash % registers)
	if sample.Failed && kept != nil && kept.failers&register != 0 {
		return RefusedSource
	}
	if kept == nil {
		if !s.room(c, key, n) {
			return RefusedFull
		}
		if !known {
			s.networks[key] = n
		}
		// The name is copied: it may be a part of a whole request.
		n.regions = append(n.regions, sketch{region: strings.Clone(sample.Region)})
		kept = &n.regions[len(n.regions)-1]
	}
	n.sources.add(hash)
	n.accepted++
	n.weight += uint32(weight)
	kept.last = max(kept.last, uint32(at.Unix()))
	kept.heard |= register
	if sample.Failed {
		kept.failers |= register
		kept.failed = saturated(kept.failed, weight)
	} else {
		kept.add(binOf(sample.Latency), weight)
	}
	return ""
}

// room makes room for one more sketch of n, at the cost of a network that is less useful. False: there is none.
func (s *shard) room(c *Collector, key networkKey, n *network) bool {
	mine := n.place.group(key)
	if c.sketches.Add(1) <= int64(c.cfg.MaxSketches) {
		s.groups[mine]++
		return true
	}
	c.sketches.Add(-1)
	share := max(c.cfg.MaxSketches/shardCount/groupShare, 1)
	greedy := s.groups[mine] >= share
	var least networkKey
	var victim *network
	victimGreedy, looked := false, 0
	for k, candidate := range s.networks { // in random order
		if k == key {
			continue
		}
		if g := s.groups[candidate.place.group(k)] > share; victim == nil || g && !victimGreedy ||
			g == victimGreedy && candidate.weight < victim.weight {
			least, victim, victimGreedy = k, candidate, g
		}
		if looked++; looked == candidates {
			break
		}
	}
	if victim == nil || greedy && !victimGreedy {
		return false
	}
	// Useful is what is of a network that has no more than its share, then what weighs more; a fresh sample weighs one.
	if (greedy || !victimGreedy) && victim.weight >= max(n.weight, weightOne) {
		return false
	}
	s.drop(c, least, victim)
	c.sketches.Add(1)
	s.groups[mine]++
	return true
}

// drop forgets a network.
func (s *shard) drop(c *Collector, key networkKey, n *network) {
	delete(s.networks, key)
	s.forget(c, n.place.group(key), len(n.regions))
}

// forget takes sketches of a group off the counts.
func (s *shard) forget(c *Collector, g group, sketches int) {
	c.sketches.Add(-int64(sketches))
	if s.groups[g] -= sketches; s.groups[g] <= 0 {
		delete(s.groups, g)
	}
}

// Tick ages what was measured to now and makes the View of it. Run calls it at each interval.
func (c *Collector) Tick(now time.Time) {
	c.ticking.Lock()
	defer c.ticking.Unlock()
	c.tick(now)
}

// tick is Tick, with the lock held. It gives what was seen of all networks.
func (c *Collector) tick(now time.Time) []seen {
	aligned := now.Truncate(c.cfg.Interval)
	factor := c.factor(c.decayed(c.last, aligned))
	roll := !aligned.Truncate(c.cfg.Window).Equal(c.last.Truncate(c.cfg.Window))
	c.last = aligned
	oldest := uint32(max(now.Add(-c.cfg.Window).Unix(), 0))
	var all []seen
	for i := range c.shards {
		all = c.shards[i].tick(c, factor, roll, oldest, all)
	}
	c.bytes.Store(bytesOf(all))
	prev := c.view.Load()
	view := newView(all, prev, c.cfg.Regions(), c.cfg.MinSources, now)
	c.view.Store(view)
	c.logHeld(view.newlyHeld)
	return all
}

// logHeld logs the rungs that are held from now on. The widest stand for the others, where there are many.
func (c *Collector) logHeld(rungs []Rung) {
	slices.SortFunc(rungs, func(a, b Rung) int { return cmp.Or(cmp.Compare(b.Kind, a.Kind), compareRungs(a, b)) })
	for _, rung := range rungs[:min(len(rungs), heldLogged)] {
		c.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "what users measure has moved faster than is believed: the old summary is held",
			slog.String("rung", rung.String()))
	}
	if more := len(rungs) - heldLogged; more > 0 {
		c.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "what users measure has moved faster than is believed in more networks", slog.Int("rungs", more))
	}
}

// tick ages the networks of a shard and appends what is left of them.
func (s *shard) tick(c *Collector, factor float64, roll bool, oldest uint32, all []seen) []seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, n := range s.networks {
		before := n.place.group(key)
		s.forget(c, before, n.decay(factor, oldest))
		if len(n.regions) == 0 {
			delete(s.networks, key)
			continue
		}
		if roll {
			n.roll()
		}
		// The geo data may be new: what was counted moves to the rungs where it belongs now.
		n.place = placeOf(c.cfg.Place(key.prefix().Addr()))
		if after := n.place.group(key); after != before {
			s.forget(c, before, len(n.regions))
			c.sketches.Add(int64(len(n.regions)))
			s.groups[after] += len(n.regions)
		}
		all = append(all, n.seen(key))
	}
	if roll {
		s.seed = maphash.MakeSeed()
	}
	return all
}

// Run makes a View at each interval, aligned to UTC, and saves what was counted, until ctx ends. It saves once more then.
func (c *Collector) Run(ctx context.Context) error {
	for {
		now := c.cfg.Now()
		timer := time.NewTimer(now.Truncate(c.cfg.Interval).Add(c.cfg.Interval).Sub(now))
		select {
		case <-ctx.Done():
			timer.Stop()
			c.step()
			return nil
		case <-timer.C:
			c.step()
		}
	}
}

// step is what Run does at each interval.
func (c *Collector) step() {
	c.ticking.Lock()
	defer c.ticking.Unlock()
	c.save(c.tick(c.cfg.Now()))
}

// View is what was measured, as of the last interval.
func (c *Collector) View() *View { return c.view.Load() }

// Stats are the counters of a Collector.
type Stats struct {
	Accepted          uint64
	Refused           map[Refusal]uint64 // every reason
	Rungs             map[RungKind]int   // that may be shown, every kind
	Networks          int                // client networks kept, shown or not
	Sketches          int                // pairs of client network and region
	Bytes             int64              // about what they take
	Held              int                // rungs of which an old summary stands for the new one
	Saves, SaveErrors uint64
}

// Stats gives the counters of now; Rungs, Networks, Bytes and Held are of the last interval.
func (c *Collector) Stats() Stats {
	view := c.View()
	s := Stats{
		Accepted: c.accepted.Load(),
		Refused:  make(map[Refusal]uint64, len(refusals)),
		Rungs:    map[RungKind]int{RungPrefix: 0, RungASN: 0, RungCountry: 0, RungContinent: 0},
		Networks: view.networks,
		Sketches: int(c.sketches.Load()),
		Bytes:    c.bytes.Load(),
		Saves:    c.saves.Load(), SaveErrors: c.saveErrors.Load(),
	}
	for i, reason := range refusals {
		s.Refused[reason] = c.refused[i].Load()
	}
	for rung, r := range view.rungs {
		s.Rungs[rung.Kind]++
		if r.held() {
			s.Held++
		}
	}
	return s
}
