package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"geodns/internal/source"
	"geodns/pkg/api"
	"geodns/pkg/health"
	"geodns/pkg/operator"
	"geodns/pkg/rum"
	"geodns/pkg/server"
)

// LoadError is a first load that was refused: there is nothing to serve.
type LoadError struct{ findings source.Findings }

// Error gives the first finding and the count of the others.
func (e *LoadError) Error() string { return "loading: " + e.findings.Err().Error() }

// Findings are all findings of the load.
func (e *LoadError) Findings() source.Findings { return e.findings }

// errReplaced is said of a World that was swapped out while somebody asked about it.
var errReplaced = errors.New("what is served was just replaced; ask again")

// Node is one running server.
type Node struct {
	// Immutable after New.
	cfg     Config
	log     *slog.Logger
	server  *server.Server
	health  *health.Checker
	api     *api.Server // nil: no API
	started time.Time
	watch   *watcher // nil: files are not watched
	own     *keeper  // of the cookie secret that the node makes itself; nil: it makes none
	events  *api.Events
	lines   lines
	audit   *operator.Log  // nil: no state folder
	book    *operator.Book // of leases; nil likewise
	// unrecordable is why nothing can be recorded, and so nothing changed by operators; nil: it can.
	unrecordable error
	access       *access // who may use the API
	boot         string  // distinguishes the ids of two runs
	regions      *regionTable
	rum          *rum.Collector // of what users measured
	beacons      *api.Beacons   // nil: none come in
	beaconServer *api.Server    // nil likewise

	// Of questions about the node itself.
	served atomic.Pointer[served]     // written before the World of its load is published
	orders atomic.Pointer[rum.Orders] // of the last View
	asking chan struct{}              // holds one for each answer in the making
	askers sync.WaitGroup
	faults atomic.Uint64 // answers that ended in a panic

	// To the writer of the World and to the loader.
	verdicts chan struct{}     // size 1: some verdict changed
	leases   chan chan<- error // leases changed; told when states by them are served
	built    chan built        // what the loader compiled
	requests chan loadRequest  // of Reload
	touched  chan struct{}     // size 1: some file changed
	whole    chan struct{}     // closed when the first load is complete
	stopped  chan struct{}     // closed when the writer of the World ends: nobody loads any more
	ordered  chan ordered      // other orders
	expiry   chan struct{}     // size 1: another lease may be the next to end

	// To the recorder.
	records    chan operator.Entry
	unrecorded atomic.Uint64 // verdicts that found records full

	// The loader's, New's before it.
	read   fingerprint     // of the files of the last load
	logged source.Findings // of the last load

	first   reading  // until it is complete
	kept    tableKey // of the table in the state folder; zero: not known
	decider *rum.Decider
	viewed  uint64 // the View that it made orders of
	tried   triedOrders
	warned  source.Findings // of those that were tried

	mu sync.Mutex // guards the following

	current    *loaded
	since      time.Time // of the current World
	generation uint64    // swaps, the first World included
	last       api.Load
	counts     api.LoadCounts
	cookies    cookieUse
	inputs     inputs
}

// New loads everything and binds all sockets; Run serves. A *LoadError says that zones or policies are wrong; an unreadable
// database is none: the node starts without it, and is not ready.
func New(cfg Config) (*Node, error) {
	n := &Node{
		cfg: cfg, log: cfg.logger(), started: time.Now(), verdicts: make(chan struct{}, 1), built: make(chan built),
		requests: make(chan loadRequest), touched: make(chan struct{}, 1), stopped: make(chan struct{}), whole: make(chan struct{}), asking: make(chan struct{}, chaosAtOnce),
		events: api.NewEvents(), boot: newBoot(), regions: newRegionTable(),
		leases: make(chan chan<- error), ordered: make(chan ordered), expiry: make(chan struct{}, 1), records: make(chan operator.Entry, recordsMax),
	}
	first := built{began: time.Now()}
	first.reading = loadStable(&n.cfg, func() (*loaded, source.Findings) { return loadFirst(&n.cfg) })
	n.first = first.reading
	n.read = first.print
	var ofAccess source.Findings // no load's: they are read again by themselves
	var usable bool
	n.access, usable = newAccess(&n.cfg, n.log, n.rightsChanged, &ofAccess)
	if first.loaded == nil || cfg.Cookies.refused(first.secrets) || !usable {
		return nil, &LoadError{sorted(append(first.findings, ofAccess...))}
	}
	n.logged = slices.Clone(first.findings)
	n.logFindings(first.findings)
	n.logFindings(ofAccess)
	if err := makeState(cfg.State); err != nil { // a server without a memory answers all the same
		n.log.Error("nothing can be kept over a restart", "error", err.Error())
	}
	n.served.Store(&served{now: first.loaded})
	n.firstSecrets(first.secrets)
	n.openOperator()
	n.openOrders()
	if err := n.open(first); err != nil {
		return nil, errors.Join(err, n.closeOperator())
	}
	var err error
	n.watch, err = newWatcher()
	if err != nil {
		n.log.Warn("files are not watched; reload by `geodns reload` or SIGHUP", "error", err.Error())
		return n, nil
	}
	n.rewatch()
	signal(n.touched) // for what changed between the load and now
	return n, nil
}

// open makes the first World, and binds the sockets. It is by what users measured and by what was decided before the start: else the
// answers of all would change twice with every restart.
func (n *Node) open(first built) error {
	if err := n.openRUM(); err != nil {
		return err
	}
	if first.loaded.rest == nil { // else it was restored: it answers now, and the orders come with the rest
		if l := n.beginOrders(first.loaded); l != nil {
			l.plain, l.from = first.loaded.plain, first.loaded.from
			first.loaded = l
			n.served.Store(&served{now: l})
		}
	}
	if err := n.checkHealth(); err != nil {
		return err
	}
	w, err := n.world(first.loaded)
	if err != nil {
		return err
	}
	n.server, err = server.New(n.serverConfig(), w)
	if err != nil {
		return err
	}
	n.generation = 1
	n.took(first, api.LoadLoaded)
	if err = n.listenAPI(); err != nil {
		return errors.Join(err, n.server.Close())
	}
	if err = n.listenRUM(); err != nil {
		err = errors.Join(err, n.server.Close())
		if n.api != nil {
			err = errors.Join(err, n.api.Close())
		}
		return err
	}
	return nil
}

// newBoot draws what distinguishes the ids of one run from those of another.
func newBoot() string {
	var boot [4]byte
	_, _ = rand.Read(boot[:]) // never returns an error
	return hex.EncodeToString(boot[:])
}

// makeState makes the state folder if it is not there.
func makeState(dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the state folder: %w", err)
	}
	return nil
}

// stateFile is where something is kept over a restart; "": nowhere.
func (c *Config) stateFile(name string) string {
	if c.State == "" {
		return ""
	}
	return filepath.Join(c.State, name)
}

// checkHealth makes the checker of the targets' health.
func (n *Node) checkHealth() error {
	var err error
	if n.health, err = health.New(n.healthConfig()); err != nil {
		return fmt.Errorf("health checks: %w", err)
	}
	return nil
}

// world makes the World of a load: its targets are probed from now on, and its states are the verdicts of now. Parts that do not
// belong together are found before the checker forgets what it probed so far.
func (n *Node) world(l *loaded) (*server.World, error) {
	before, err := l.states(n.verdict())
	if err != nil {
		return nil, fmt.Errorf("target states: %w", err)
	}
	w, err := server.NewWorld(l.zones, l.compiled.Table, before, l.compiled.PolicyIDs())
	if err != nil {
		return nil, fmt.Errorf("joining zones and policies: %w", err)
	}
	if w, err = w.WithRegions(n.regions.slotsOf(l)); err != nil {
		return nil, fmt.Errorf("counting by region: %w", err)
	}
	n.health.Update(l.healthTargets())
	states, err := l.states(n.verdict())
	if err != nil {
		return nil, fmt.Errorf("target states: %w", err)
	}
	return w.WithStates(states)
}

// serverConfig is what the sockets are told.
func (n *Node) serverConfig() server.Config {
	return server.Config{
		Listen: n.cfg.Listen, Workers: n.cfg.Workers, Identity: n.cfg.Node, Version: n.cfg.Version, UDPPayload: n.cfg.UDPPayload,
		Chaos: n.chaos, ChaosAllow: n.cfg.explainers(),
		CookieSecrets: serverSecrets(n.cookies.secrets), RequireCookie: n.cfg.Cookies.Require,
		ECSOff: zoneNames(n.cfg.ECSOff),
	}
}

// zoneNames are the names alone.
func zoneNames(zones []ZoneName) []string {
	out := make([]string, len(zones))
	for i, z := range zones {
		out[i] = z.Name
	}
	return out
}

// listenAPI binds the operators' API.
func (n *Node) listenAPI() error {
	if !n.cfg.API.IsValid() {
		return nil
	}
	cfg := api.Config{
		Listen: n.cfg.API, Version: n.cfg.Build, Log: n.log,
		Status: n.status, Targets: n.targets, Ready: n.ready, Explain: n.explain, Reload: n.Reload, Health: n.apiHealth(), Leases: n.apiLeases(), Audit: n.apiAudit(), Listing: n.listing(), RUM: n.apiRUM(),
		Metrics: api.Metrics{Health: n.health.Stats, Loads: n.loadCounts, Server: n.server.Stats, Regions: n.regionAnswers},
	}
	cfg.TargetAttributes = func(id string) api.Attributes {
		return n.attributes(operator.Object{Kind: operator.KindTarget, Name: id})
	}
	cfg.Access, cfg.TLS = n.access.credentials()
	var err error
	n.api, err = api.New(cfg)
	return err
}

// Addrs are the addresses served, ports chosen by the system included.
func (n *Node) Addrs() []netip.AddrPort { return n.server.Addrs() }

// APIAddr is the API's address, zero if there is none.
func (n *Node) APIAddr() netip.AddrPort {
	if n.api == nil {
		return netip.AddrPort{}
	}
	return n.api.Addr()
}

// Run serves until ctx ends or a part of the node breaks, and returns after the last goroutine.
func (n *Node) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type part struct {
		name string
		run  func(context.Context) error
	}
	parts := []part{
		{"dns", n.server.Run},
		{"health", n.health.Run},
		{"publish", n.publish},
		{"load", n.loadLoop},
		{"regions", n.sampleRegions},
		{"measurements", n.whenWhole(n.rum.Run)},
	}
	if n.api != nil {
		parts = append(parts, part{"api", n.whenWhole(n.api.Run)})
	}
	if n.beaconServer != nil {
		parts = append(parts, part{"rum", n.whenWhole(n.beaconServer.Run)})
	}
	if n.api != nil && n.access.oidc != nil {
		parts = append(parts, part{"oidc", n.access.oidc.Run})
	}
	if n.watch != nil {
		parts = append(parts, part{"watch", n.runWatch})
	}
	if n.audit != nil {
		parts = append(parts, part{"audit", n.audit.Run}, part{"record", n.recordLoop})
	}
	if n.book != nil {
		parts = append(parts, part{"leases", n.expireLoop})
	}
	if n.own != nil {
		parts = append(parts, part{"cookies", func(ctx context.Context) error { return n.own.run(ctx, n.useSecrets) }})
	}
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, p := range parts {
		wg.Go(func() {
			defer cancel()
			if err := p.run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				errs[i] = fmt.Errorf("%s: %w", p.name, err)
			}
		})
	}
	n.record(operator.Entry{Kind: operator.EntryStart, Who: whoServer, Object: "node " + n.cfg.Node, ID: n.currentLoad().id(), Why: n.cfg.Build, After: note(map[string]string{"world": n.currentLoad().id()})})
	n.log.Info("serving", "node", n.cfg.Node, "listen", n.Addrs(), "world", n.currentLoad().id())
	wg.Wait()
	n.askers.Wait()
	n.recordWaiting(operator.Entry{Kind: operator.EntryStop, Who: whoServer, Object: "node " + n.cfg.Node, ID: n.currentLoad().id()})
	return errors.Join(append(errs, n.closeOperator())...)
}

// currentLoad is what is served.
func (n *Node) currentLoad() *loaded {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.current
}
