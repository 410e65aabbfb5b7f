package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"geodns/internal/source"
	"geodns/pkg/api"
	"geodns/pkg/health"
	"geodns/pkg/server"
)

// LoadError is a first load that was refused: there is nothing to serve.
type LoadError struct{ findings source.Findings }

// Error gives the first finding and the count of the others.
func (e *LoadError) Error() string { return "loading: " + e.findings.Err().Error() }

// Findings are all findings of the load.
func (e *LoadError) Findings() source.Findings { return e.findings }

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

	// To the writer of the World and to the loader.
	verdicts chan struct{}    // size 1: some verdict changed
	built    chan built       // what the loader compiled
	requests chan loadRequest // of Reload
	touched  chan struct{}    // size 1: some file changed
	stopped  chan struct{}    // closed when Run ends: nobody loads any more

	// The loader's, New's before it.
	read   fingerprint     // of the files of the last load
	logged source.Findings // of the last load

	mu sync.Mutex // guards the following

	current *loaded
	since   time.Time // of the current World
	last    api.Load
	counts  api.LoadCounts
}

// New loads everything and binds all sockets; Run serves. A *LoadError says that zones or policies are wrong; an unreadable
// database is none: the node starts without it, and is not ready.
func New(cfg Config) (*Node, error) {
	n := &Node{
		cfg: cfg, log: cfg.logger(), started: time.Now(), verdicts: make(chan struct{}, 1), built: make(chan built),
		requests: make(chan loadRequest), touched: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
	first := built{began: time.Now()}
	first.loaded, first.findings, n.read = loadStable(&cfg, nil)
	if first.loaded == nil {
		return nil, &LoadError{first.findings}
	}
	n.logged = slices.Clone(first.findings)
	n.logFindings(first.findings)
	statePath, err := stateFile(cfg.State)
	if err != nil {
		return nil, err
	}
	loopback := cfg.onLoopback()
	n.health, err = health.New(health.Config{
		StatePath: statePath, Log: n.log, OnChange: n.verdictsChanged,
		Allow: func(a netip.Addr) error { return health.Allowed(a, loopback, cfg.HealthAllow) },
	})
	if err != nil {
		return nil, fmt.Errorf("health checks: %w", err)
	}
	w, err := n.world(first.loaded)
	if err != nil {
		return nil, err
	}
	n.server, err = server.New(server.Config{Listen: cfg.Listen, Workers: cfg.Workers, Identity: cfg.Node, Version: cfg.Version}, w)
	if err != nil {
		return nil, err
	}
	n.took(first, api.LoadLoaded)
	if err = n.listenAPI(); err != nil {
		return nil, errors.Join(err, n.server.Close())
	}
	n.watch, err = newWatcher()
	if err != nil {
		n.log.Warn("files are not watched; reload by `geodns reload` or SIGHUP", "error", err.Error())
		return n, nil
	}
	n.rewatch()
	signal(n.touched) // for what changed between the load and now
	return n, nil
}

// stateFile is where verdicts are kept; the folder is made if it is not there.
func stateFile(dir string) (string, error) {
	if dir == "" {
		return "", nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making the state folder: %w", err)
	}
	return filepath.Join(dir, "verdicts"), nil
}

// world makes the World of a load: its targets are probed from now on, and its states are the verdicts of now. Parts that do not
// belong together are found before the checker forgets what it probed so far.
func (n *Node) world(l *loaded) (*server.World, error) {
	before, err := l.states(n.health.Verdict)
	if err != nil {
		return nil, fmt.Errorf("target states: %w", err)
	}
	w, err := server.NewWorld(l.zones, l.compiled.Table, before, l.compiled.PolicyIDs())
	if err != nil {
		return nil, fmt.Errorf("joining zones and policies: %w", err)
	}
	n.health.Update(l.healthTargets())
	states, err := l.states(n.health.Verdict)
	if err != nil {
		return nil, fmt.Errorf("target states: %w", err)
	}
	return w.WithStates(states)
}

// listenAPI binds the operators' API.
func (n *Node) listenAPI() error {
	if !n.cfg.API.IsValid() {
		return nil
	}
	var err error
	n.api, err = api.New(api.Config{
		Listen: n.cfg.API, Version: n.cfg.Version, Log: n.log,
		Status: n.status, Targets: n.targets, Ready: n.ready, Explain: n.explain, Reload: n.Reload,
		Metrics: api.Metrics{Health: n.health.Stats, Loads: n.loadCounts, Server: n.server.Stats},
	})
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
		{"dns", n.server.Run}, {"health", n.health.Run}, {"publish", n.publish}, {"load", n.loadLoop},
	}
	if n.api != nil {
		parts = append(parts, part{"api", n.api.Run})
	}
	if n.watch != nil {
		parts = append(parts, part{"watch", n.runWatch})
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
	n.log.Info("serving", "node", n.cfg.Node, "listen", n.Addrs(), "world", n.currentLoad().id())
	wg.Wait()
	close(n.stopped)
	return errors.Join(errs...)
}

// currentLoad is what is served.
func (n *Node) currentLoad() *loaded {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.current
}
