package server_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"geodns/internal/dnstest"
	"geodns/pkg/server"
)

// stub is a connection that does nothing but close.
type stub struct {
	net.Conn
	from   netip.AddrPort
	closed bool
	reset  bool
}

func (s *stub) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(s.from) }

func (s *stub) Close() error {
	s.closed = true
	return nil
}

func (s *stub) SetLinger(seconds int) error {
	s.reset = s.reset || seconds == 0
	return nil
}

// unserved makes a server of which only the limits are used.
func unserved(t testing.TB, limits server.TCPConfig) (*server.Server, *server.Conns) {
	t.Helper()
	s, err := server.New(server.Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, TCP: limits}, testWorld(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, server.ConnsOf(s)
}

// TestTCPSources: what one source may hold, and what counts as one.
func TestTCPSources(t *testing.T) {
	for _, c := range []struct {
		about string
		from  func(i int) string
		open  uint64 // of 200
	}{
		{"A-61 one IPv4 address", func(int) string { return "192.0.2.1" }, 64},
		{"A-61 one IPv4 address, mapped", func(int) string { return "::ffff:192.0.2.1" }, 64},
		{"A-61 one IPv6 /64", func(i int) string { return fmt.Sprintf("2001:db8:1:2::%x:1", i) }, 64},
		{"A-61 many IPv4 addresses", func(i int) string { return fmt.Sprintf("192.0.2.%d", i) }, 200},
		{"A-61 many IPv6 /64", func(i int) string { return fmt.Sprintf("2001:db8:1:%x::1", i) }, 200},
	} {
		t.Run(c.about, func(t *testing.T) {
			s, conns := unserved(t, server.TCPConfig{})
			other := &stub{from: netip.MustParseAddrPort("198.51.100.1:53")}
			conns.Touch(conns.Admit(other), -time.Hour) // silent longer than all, but of another source
			var all []*stub
			for i := range 200 {
				all = append(all, &stub{from: netip.AddrPortFrom(netip.MustParseAddr(c.from(i)), 53)})
				conns.Touch(conns.Admit(all[i]), time.Duration(i))
			}
			for i, one := range all {
				if want := uint64(i) < 200-c.open; one.closed != want || one.reset != want {
					t.Errorf("connection %d: closed %t, reset %t; want %t", i, one.closed, one.reset, want)
				}
			}
			if other.closed {
				t.Error("the connection of another source is closed")
			}
			if got := s.Stats().TCP; got != (server.TCPStats{Open: c.open + 1, Evicted: 200 - c.open}) {
				t.Errorf("counted %+v", got)
			}
		})
	}
}

// TestTCPDefaultLimits fills a server that has the default limits, and shows who makes room: of a source that is full, the
// connection of its own that was silent longest; else the one of all.
func TestTCPDefaultLimits(t *testing.T) {
	t.Run("A-61 4,096 connections, 64 a source", func(t *testing.T) {
		const limit, perSource, more = 4096, 64, 100
		s, conns := unserved(t, server.TCPConfig{})
		// Numbers are silent in an order that is not the one in which they came: an odd factor makes a permutation.
		order := make([]int, limit)
		held := make([]*stub, limit)
		for i := range held {
			held[i] = &stub{from: spread(i / perSource)}
			silent := i * 1021 % limit
			conns.Touch(conns.Admit(held[i]), time.Hour+time.Duration(silent)) // an hour: later than the clock of the test
			order[silent] = i
		}
		if got := s.Stats().TCP; got != (server.TCPStats{Open: limit}) {
			t.Fatalf("filled, counted %+v", got)
		}
		gone := map[int]bool{}
		evicts := func(from netip.AddrPort, want int) {
			t.Helper()
			conns.Touch(conns.Admit(&stub{from: from}), 2*time.Hour)
			gone[want] = true
			for i, c := range held {
				if c.closed != gone[i] || c.reset != gone[i] {
					t.Fatalf("behind one from %s, connection %d: closed %t, reset %t; want %t", from, i, c.closed, c.reset, gone[i])
				}
			}
		}
		busy := order[0]
		full := order[limit/2] / perSource // not the source of who was silent longest
		own := slices.IndexFunc(order, func(i int) bool { return i/perSource == full })
		evicts(spread(full), order[own])
		conns.Touch(busy, 2*time.Hour) // it asks again, and so stays
		for i, silent := 0, 1; i < more; silent++ {
			if silent != own {
				evicts(spread(limit+i), order[silent])
				i++
			}
		}
		if got := s.Stats().TCP; got != (server.TCPStats{Open: limit, Evicted: 1 + more}) {
			t.Errorf("at the end, counted %+v", got)
		}
	})
}

// TestTCPLongestSilentTwin compares who is evicted with who a search of all would find, while connections come, go and
// are answered at random.
func TestTCPLongestSilentTwin(t *testing.T) {
	seed := dnstest.Seed(t)
	rounds := 3000
	if os.Getenv("GEODNS_PROVE") != "" {
		rounds = 300_000
	}
	t.Run("A-61 longest silent", func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 0))
		const limit, perSource = 20, 6
		_, conns := unserved(t, server.TCPConfig{Connections: limit, PerSource: perSource})
		type twin struct {
			conn   *stub
			number int
			active time.Duration
			source int
		}
		var open []twin
		now := time.Hour // beyond what the real clock gives to connections that are new
		longest := func(source int) int {
			found := -1
			for i, c := range open {
				if (source < 0 || c.source == source) && (found < 0 || c.active < open[found].active) {
					found = i
				}
			}
			return found
		}
		for range rounds {
			now++
			if len(open) > 0 && rng.IntN(10) < 5 {
				i := rng.IntN(len(open))
				open[i].active = now
				conns.Touch(open[i].number, now)
				continue
			}
			if len(open) > 0 && rng.IntN(10) < 2 {
				i := rng.IntN(len(open))
				conns.Leave(open[i].number)
				conns.Leave(open[i].number)
				open = append(open[:i], open[i+1:]...)
				continue
			}
			source, of := rng.IntN(8), 0
			for _, c := range open {
				if c.source == source {
					of++
				}
			}
			victim := -1
			if of >= perSource {
				victim = longest(source)
			} else if len(open) >= limit {
				victim = longest(-1)
			}
			c := twin{conn: &stub{from: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(source)}), 1)}, source: source, active: now}
			c.number = conns.Admit(c.conn)
			conns.Touch(c.number, now)
			if victim >= 0 {
				if !open[victim].conn.closed {
					t.Fatalf("connection %d lives, which was silent longest", open[victim].number)
				}
				open = append(open[:victim], open[victim+1:]...)
			}
			open = append(open, c)
			for _, c := range open {
				if c.conn.closed {
					t.Fatalf("connection %d is closed, which was not silent longest", c.number)
				}
			}
		}
	})
}

// shortListener has no descriptors left for some time.
type shortListener struct {
	net.Listener
	errs  []error
	conns []net.Conn
}

func (l *shortListener) Accept() (net.Conn, error) {
	if len(l.errs) > 0 {
		err := l.errs[0]
		l.errs = l.errs[1:]
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
	}
	if len(l.conns) > 0 {
		c := l.conns[0]
		l.conns = l.conns[1:]
		return c, nil
	}
	return nil, net.ErrClosed
}

// TestTCPDescriptors: when the system is short of descriptors, silent connections make room.
func TestTCPDescriptors(t *testing.T) {
	for _, c := range []struct {
		about   string
		errs    []error
		evicted uint64
		pause   time.Duration
	}{
		{"A-61 no descriptors in the process", []error{syscall.EMFILE, syscall.EMFILE}, 2, 2 * time.Millisecond},
		{"A-61 no descriptors in the system", []error{syscall.ENFILE}, 1, time.Millisecond},
		{"A-61 no connections to close", []error{syscall.EMFILE, syscall.EMFILE, syscall.EMFILE, syscall.EMFILE}, 3, 53 * time.Millisecond},
		{"A-61 no memory", []error{syscall.ENOBUFS}, 0, 50 * time.Millisecond},
	} {
		t.Run(c.about, func(t *testing.T) {
			bubble(t, server.TCPConfig{}, func(t *testing.T, s *server.Server, conns *server.Conns) {
				var clients []net.Conn
				for range 3 {
					clients = append(clients, connect(t, conns, somewhere))
				}
				late, end := net.Pipe()
				start := time.Now()
				if err := conns.Accept(context.Background(), &shortListener{errs: c.errs, conns: []net.Conn{pipeEnd{end, somewhere}}}); err != nil {
					t.Error(err)
				}
				if got := time.Since(start); got != c.pause {
					t.Errorf("waited for %v, want %v", got, c.pause)
				}
				synctest.Wait()
				want := server.TCPStats{Open: 4 - c.evicted, Accepted: 1, Evicted: c.evicted, AcceptErrors: uint64(len(c.errs))}
				if got := s.Stats().TCP; got != want {
					t.Errorf("counted %+v, want %+v", got, want)
				}
				write(t, late, framed(ask(t, "static.example.com.", dns.TypeA)))
				if got := text(t, receive(t, late)); got != staticText {
					t.Errorf("answer %s", got)
				}
				if _, err := clients[0].Write([]byte{0}); (c.evicted > 0) != errors.Is(err, os.ErrClosed) && (c.evicted > 0) != (err != nil) {
					t.Errorf("the first connection: %v", err)
				}
			})
		})
	}
}

// BenchmarkTCPAdmit is a flood of connections at the limit: an op is one that comes and one that goes.
func BenchmarkTCPAdmit(b *testing.B) {
	for _, c := range []struct {
		about  string
		limits server.TCPConfig
		from   func(i int) netip.AddrPort
		busy   int // connections answered for each that comes
	}{
		{"AllSilent", server.TCPConfig{}, spread, 0},
		{"AllBusy", server.TCPConfig{}, spread, 16},
		{"OneSource", server.TCPConfig{}, func(int) netip.AddrPort { return somewhere }, 0},
	} {
		b.Run(c.about, func(b *testing.B) {
			_, conns := unserved(b, c.limits)
			for i := range server.TCPConnections {
				conns.Touch(conns.Admit(&stub{from: c.from(i)}), time.Duration(i))
			}
			i, touched := 0, 0
			for b.Loop() {
				i++
				conns.Admit(&stub{from: c.from(i)})
				for range c.busy {
					touched++
					conns.Touch(touched%(server.TCPConnections+i), time.Hour+time.Duration(touched))
				}
			}
		})
	}
}

// spread is the address of a client of its own.
func spread(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, byte(i >> 16), byte(i >> 8), byte(i)}), 1024)
}
