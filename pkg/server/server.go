package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
)

// Server serves a World on its addresses. New binds them, Run serves until its context ends.
type Server struct {
	// Immutable after New.
	cfg       Config
	endpoints []*endpoint
	blocks    []*block // of the UDP workers, then those that TCP connections share
	tcp       *tcpServer
	workers   []func() error // the loops of the UDP workers; each holds a processor while it waits, if ownThreads

	view     atomic.Pointer[view] // written by Publish alone
	stopping atomic.Bool

	mu sync.Mutex // guards the following; the answer path never takes it
	// past is the policy counters of worlds before, by name, and last those of the world just replaced, which a
	// worker may still add to for the rest of its batch.
	past map[string]uint64
	last *view
}

// endpoint is the bound sockets of one address.
type endpoint struct {
	addr netip.AddrPort // its port known
	tcp  *net.TCPListener
	udp  []udpSocket
}

// udpSocket is a *net.UDPConn, or an *os.File where workers wait by themselves.
type udpSocket interface {
	syscall.Conn
	io.Closer
}

// close closes all sockets.
func (e *endpoint) close() error {
	var errs []error
	if e.tcp != nil {
		errs = append(errs, e.tcp.Close())
	}
	for _, c := range e.udp {
		errs = append(errs, closeUDP(c))
	}
	return errors.Join(errs...)
}

// New checks cfg and binds its addresses, but serves nothing before Run. A Server that is never run is closed with Close.
func New(cfg Config, w *World) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	if w == nil {
		return nil, errors.New("server: no world to serve")
	}
	s := &Server{cfg: cfg, past: map[string]uint64{}}
	for _, addr := range cfg.Listen {
		e, err := listen(&s.cfg, addr)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listening on %s: %w", addr, err), s.Close())
		}
		s.endpoints = append(s.endpoints, e)
	}
	for _, e := range s.endpoints {
		for i := range s.cfg.Workers {
			b := s.newBlock()
			conn := e.udp[i%len(e.udp)]
			run, err := newUDPWorker(&s.cfg, conn, e.addr.Addr(), newResponder(&s.cfg, b, len(s.blocks)-1, BatchMax), &s.view, &s.stopping)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("listening on %s: %w", e.addr, err), s.Close())
			}
			s.workers = append(s.workers, run)
		}
	}
	s.tcp = newTCPServer(&s.cfg, &s.view)
	for range s.cfg.Workers {
		b := s.newBlock()
		s.tcp.blocks = append(s.tcp.blocks, numberedBlock{b, len(s.blocks) - 1})
	}
	s.view.Store(newView(&s.cfg, w, newHits(len(s.blocks), len(w.names))))
	return s, nil
}

// newBlock adds a block of counters.
func (s *Server) newBlock() *block {
	b := &block{}
	s.blocks = append(s.blocks, b)
	return b
}

// Addrs is where the server listens, in the order of Config.Listen, ports known.
func (s *Server) Addrs() []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, e := range s.endpoints {
		addrs = append(addrs, e.addr)
	}
	return addrs
}

// Run serves until ctx ends, then closes everything and returns after its last goroutine: with nil, or with what stopped
// it before. It runs once.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	start := func(run func() error) {
		group.Go(func() {
			if err := run(); err != nil {
				cancel(err)
			}
		})
	}
	if ownThreads && !s.cfg.portable {
		processors.add(len(s.workers))
		defer processors.add(-len(s.workers))
	}
	for _, run := range s.workers {
		start(run)
	}
	for _, e := range s.endpoints {
		start(func() error { return s.tcp.accept(ctx, e.tcp, &group) })
	}
	<-ctx.Done()
	err := s.Close()
	s.tcp.shutdown()
	group.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return err
}

// Close closes the sockets: of a Server that is not run. Run closes them itself.
func (s *Server) Close() error {
	s.stopping.Store(true)
	var errs []error
	for _, e := range s.endpoints {
		errs = append(errs, e.close())
	}
	return errors.Join(errs...)
}

// Workers is how many UDP workers there are for each address.
func (s *Server) Workers() int { return s.cfg.Workers }

// World is what is being served.
func (s *Server) World() *World { return s.view.Load().world }

// Publish replaces what is served: each worker takes it up with its next batch. A nil world is ignored. Calls come one
// after another, from the one that builds worlds.
func (s *Server) Publish(w *World) {
	if w == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.view.Load()
	if old.world.set == w.set {
		s.view.Store(old.with(&s.cfg, w)) // the same policies in the same order
		return
	}
	if s.last != nil {
		s.last.sum(s.past)
	}
	s.last = old
	s.view.Store(newView(&s.cfg, w, newHits(len(s.blocks), len(w.names))))
}

// sum adds up the answers by policy.
func (v *view) sum(into map[string]uint64) {
	for i, name := range v.world.names {
		for _, h := range v.hits {
			into[name] += h[i].Load()
		}
	}
}

// Stats sums up all counters.
func (s *Server) Stats() Stats {
	stats := Stats{Policies: map[string]uint64{}}
	for _, b := range s.blocks {
		stats.add(b)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, n := range s.past {
		stats.Policies[name] += n
	}
	if s.last != nil {
		s.last.sum(stats.Policies)
	}
	s.view.Load().sum(stats.Policies)
	stats.TCP = s.tcp.stats()
	return stats
}
