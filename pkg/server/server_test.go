package server_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"geodns/internal/dnstest"
	"geodns/pkg/server"
	"geodns/pkg/steering"
)

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// serve runs a server until the test ends, and checks that it ends well. Without Listen it listens on a loopback port.
func serve(t testing.TB, cfg server.Config, w *server.World) *server.Server {
	t.Helper()
	if cfg.Listen == nil {
		cfg.Listen = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	}
	s, err := server.New(cfg, w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run(t, s))
	return s
}

// run runs a server until stop is called, which waits for its end.
func run(t testing.TB, s *server.Server) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() {
		cancel()
		late := time.NewTimer(patience)
		defer late.Stop()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run ends with %v", err)
			}
		case <-late.C:
			t.Error("Run does not end")
		}
	}
}

// exchange asks a server and gives its answer as text.
func exchange(t testing.TB, network string, addr netip.AddrPort, query []byte) string {
	t.Helper()
	answer, err := roundTrip(network, addr, query, patience)
	if err != nil {
		t.Fatalf("asking %s by %s: %v", addr, network, err)
	}
	return text(t, answer)
}

func roundTrip(network string, addr netip.AddrPort, query []byte, wait time.Duration) ([]byte, error) {
	c, err := net.Dial(network, addr.String())
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	if err = c.SetDeadline(time.Now().Add(wait)); err != nil {
		return nil, err
	}
	d := dns.Conn{Conn: c, UDPSize: 65535}
	if _, err = d.Write(query); err != nil {
		return nil, err
	}
	buf := make([]byte, 65535)
	n, err := d.Read(buf)
	return buf[:n], err
}

// paths are the two UDP paths.
func paths(t *testing.T, test func(t *testing.T, cfg server.Config)) {
	t.Run("batches", func(t *testing.T) { test(t, server.Config{Workers: 2}) })
	t.Run("portable", func(t *testing.T) { test(t, server.Portable(server.Config{Workers: 2})) })
}

func TestServe(t *testing.T) {
	w := testWorld(t)
	paths(t, func(t *testing.T, cfg server.Config) {
		cfg.Listen = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0"), netip.MustParseAddrPort("[::1]:0")}
		s := serve(t, cfg, w)
		for _, addr := range s.Addrs() {
			for _, network := range []string{"udp", "tcp"} {
				want := "NOERROR aa qr\n= static.example.com. 300 IN A 192.0.2.1\n? static.example.com. A"
				if got := exchange(t, network, addr, ask(t, "static.example.com.", dns.TypeA)); got != want {
					t.Errorf("%s by %s: %s", addr, network, got)
				}
			}
		}
		stats := s.Stats()
		if stats.Queries != [2][2]uint64{{1, 1}, {1, 1}} || stats.Kinds[server.Static] != 4 || stats.Batches < 2 {
			t.Errorf("stats %+v", stats)
		}
	})
}

// TestTruncationThenTCP is what a resolver does with an answer that does not fit.
func TestTruncationThenTCP(t *testing.T) {
	s := serve(t, server.Config{}, testWorld(t))
	q := ask(t, "big.example.com.", dns.TypeA, edns(4096))
	if got := exchange(t, "udp", s.Addrs()[0], q); got != "NOERROR aa qr tc\n? big.example.com. A\nOPT" {
		t.Errorf("by UDP: %s", got)
	}
	if got := exchange(t, "tcp", s.Addrs()[0], q); strings.Count(got, "\n=") != 100 {
		t.Errorf("by TCP: %s", got)
	}
}

// TestLoad sends many queries at once from several sockets, good and bad mixed, and expects each answer once.
func TestLoad(t *testing.T) {
	w := testWorld(t)
	paths(t, func(t *testing.T, cfg server.Config) {
		s := serve(t, cfg, w)
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				if err := window(s.Addrs()[0], 2000, 60); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		stats := s.Stats()
		if got := stats.Kinds[server.Static]; got != 8000 {
			t.Errorf("%d answers counted, want 8000", got)
		}
	})
}

// window asks n queries with at most `outstanding` unanswered, each followed by a packet that is dropped.
func window(addr netip.AddrPort, n, outstanding int) error {
	c, err := net.Dial("udp", addr.String())
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	query, err := (&dns.Msg{Question: []dns.Question{{Name: "static.example.com.", Qtype: dns.TypeA, Qclass: dns.ClassINET}}}).Pack()
	if err != nil {
		return err
	}
	seen := make([]bool, min(n, 1<<16)) // IDs are used again, long after
	buf := make([]byte, 2048)
	for sent, got := 0, 0; got < n; {
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		for ; sent < n && sent-got < outstanding; sent++ {
			query[0], query[1] = byte(sent>>8), byte(sent)
			if _, err := c.Write(query); err != nil {
				return err
			}
			if _, err := c.Write(query[:5]); err != nil {
				return err
			}
		}
		size, err := c.Read(buf)
		if err != nil {
			return fmt.Errorf("after %d answers: %w", got, err)
		}
		id := int(buf[0])<<8 | int(buf[1])
		if size < 12 || id >= len(seen) || seen[id] {
			return fmt.Errorf("an answer of %d octets to query %d, which is wrong or the second", size, id)
		}
		seen[id] = true
		seen[(id+len(seen)/2)%len(seen)] = false
		got++
	}
	return nil
}

// TestPublish changes the world under a running server.
func TestPublish(t *testing.T) {
	w := testWorld(t)
	s := serve(t, server.Config{}, w)
	q := ask(t, "www.example.com.", dns.TypeA)
	steered := func(want string) {
		t.Helper()
		if got := exchange(t, "udp", s.Addrs()[0], q); !strings.Contains(got, want) {
			t.Errorf("answer %s, want %s", got, want)
		}
	}
	steered("192.0.2.10")
	next, err := w.WithStates(testStates(t, w.Table(), targetEU))
	if err != nil {
		t.Fatal(err)
	}
	s.Publish(next)
	if s.World() != next {
		t.Error("World gives another than was published")
	}
	steered("198.51.100.10")
	s.Publish(nil)
	steered("198.51.100.10")

	// Other zones use other policies under other numbers; what was counted stays.
	for range 3 {
		set := loadSet(t, map[string]string{"example.com.zone": `
@ 60 SOA ns1 hostmaster 1 7200 3600 1209600 60
@ 60 NS ns1
ns1 60 A 192.0.2.53
www 60 STEER dead
`})
		other, err := server.NewWorld(set, w.Table(), testStates(t, w.Table()), testPolicies)
		if err != nil {
			t.Fatal(err)
		}
		s.Publish(other)
		steered("203.0.113.1")
	}
	if got := s.Stats().Policies; got["www"] != 3 || got["dead"] != 3 {
		t.Errorf("policies counted: %v", got)
	}
}

// TestPublishRace publishes while queries are answered: for the race detector.
func TestPublishRace(t *testing.T) {
	w := testWorld(t)
	s := serve(t, server.Config{Workers: 2}, w)
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			next, err := w.WithStates(testStates(t, w.Table(), steering.TargetID(i%2)))
			if err != nil {
				t.Error(err)
				return
			}
			s.Publish(next)
			s.Stats()
			runtime.Gosched()
		}
	})
	if err := window(s.Addrs()[0], 3000, 100); err != nil {
		t.Error(err)
	}
	cancel()
	group.Wait()
}

// TestPortTaken: a forgotten server must not get half of the queries.
func TestPortTaken(t *testing.T) {
	w := testWorld(t)
	for _, workers := range []int{1, 3} {
		first := serve(t, server.Config{Workers: workers}, w)
		_, err := server.New(server.Config{Listen: first.Addrs(), Workers: workers}, w)
		if err == nil || !strings.Contains(err.Error(), first.Addrs()[0].String()) || !strings.Contains(err.Error(), "another process serves there") {
			t.Errorf("a second server on %s: %v", first.Addrs()[0], err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	w := testWorld(t)
	loopback := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	for _, c := range []struct {
		about string
		cfg   server.Config
		want  string
	}{
		{"nowhere to listen", server.Config{}, "no address to listen on"},
		{"no address", server.Config{Listen: make([]netip.AddrPort, 1)}, "listen address 1"},
		{"an address twice", server.Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53"), netip.MustParseAddrPort("[::ffff:127.0.0.1]:53")}}, "stands twice"},
		{"too many addresses", server.Config{Listen: make([]netip.AddrPort, server.ListenMax+1)}, "at most 64"},
		{"too many workers", server.Config{Listen: loopback, Workers: server.WorkersMax + 1}, "1025 workers"},
		{"negative workers", server.Config{Listen: loopback, Workers: -1}, "-1 workers"},
		{"long identity", server.Config{Listen: loopback, Identity: strings.Repeat("x", 47)}, "at most 46"},
		{"cookies required, no secret", server.Config{Listen: loopback, RequireCookie: true}, "no secret"},
		{"three secrets", server.Config{Listen: loopback, CookieSecrets: make([]server.CookieSecret, 3)}, "at most 2"},
		{"long version", server.Config{Listen: loopback, Version: strings.Repeat("x", 256)}, "at most 255"},
		{"small payload", server.Config{Listen: loopback, UDPPayload: 511}, "512 to 1400"},
		{"large payload", server.Config{Listen: loopback, UDPPayload: 1401}, "512 to 1400"},
		{"negative limit", server.Config{Listen: loopback, TCP: server.TCPConfig{Idle: -1}}, "negative TCP limit"},
		{"an address that is not ours", server.Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:0")}}, "192.0.2.1:0"},
	} {
		t.Run(c.about, func(t *testing.T) {
			if s, err := server.New(c.cfg, w); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("New gives %v, %v; want an error with %q", s, err, c.want)
			}
		})
	}
	if _, err := server.New(server.Config{Listen: loopback}, nil); err == nil {
		t.Error("New takes no world")
	}
}

// TestNeverRun: a server that was made and not run leaves its port free.
func TestNeverRun(t *testing.T) {
	w := testWorld(t)
	port, err := dnstest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	cfg := server.Config{Listen: []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))}}
	s, err := server.New(cfg, w)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	serve(t, cfg, w)
}

// TestShutdown ends a server that is busy on all sides; TestMain sees that no goroutine is left.
func TestShutdown(t *testing.T) {
	w := testWorld(t)
	paths(t, func(t *testing.T, cfg server.Config) {
		cfg.Listen = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
		s, err := server.New(cfg, w)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		var group sync.WaitGroup
		addr := s.Addrs()[0]
		for range 3 {
			c, err := net.Dial("tcp", addr.String())
			if err != nil {
				t.Fatal(err)
			}
			group.Go(func() {
				defer func() { _ = c.Close() }()
				if _, err := c.Read(make([]byte, 1)); err == nil {
					t.Error("an octet from nowhere")
				}
			})
			group.Go(func() {
				c, err := net.Dial("udp", addr.String())
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = c.Close() }()
				for ctx.Err() == nil {
					_, _ = c.Write(make([]byte, 5))
					runtime.Gosched()
				}
			})
		}
		poll(t, "connections", func() bool { return s.Stats().TCP.Open == 3 && s.Stats().Drops[server.DropShort] > 100 })
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Run ends with %v", err)
		}
		group.Wait()
		if open := s.Stats().TCP.Open; open != 0 {
			t.Errorf("%d connections are left", open)
		}
	})
}

// poll waits until ok.
func poll(t testing.TB, about string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", about)
		}
	}
}
