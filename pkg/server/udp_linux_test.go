package server_test

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"geodns/pkg/server"
)

// TestAskedAddress: on all addresses at once, an answer leaves from the one that was asked. A connected socket takes no
// other.
func TestAskedAddress(t *testing.T) {
	w := testWorld(t)
	s := serve(t, server.Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:0"), netip.MustParseAddrPort("[::]:0")}, Workers: 2}, w)
	q := ask(t, "static.example.com.", dns.TypeA)
	for _, asked := range []netip.AddrPort{
		netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), s.Addrs()[0].Port()),
		netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), s.Addrs()[0].Port()),
		netip.AddrPortFrom(netip.MustParseAddr("127.1.2.3"), s.Addrs()[0].Port()),
		netip.AddrPortFrom(netip.MustParseAddr("::1"), s.Addrs()[1].Port()),
	} {
		for range 3 { // slots are used again
			for _, network := range []string{"udp", "tcp"} {
				if got := exchange(t, network, asked, q); got != "NOERROR aa qr\n= static.example.com. 300 IN A 192.0.2.1\n? static.example.com. A" {
					t.Errorf("%s by %s: %s", asked, network, got)
				}
			}
		}
	}
	if n := s.Stats().SendErrors; n != 0 {
		t.Errorf("%d send errors", n)
	}
	if _, err := server.New(server.Portable(server.Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:0")}}), w); err == nil {
		t.Error("the portable path takes an unspecified address, whose answers would leave from another")
	}
}

// TestGCWhileWaiting: a worker that waits must not hold up a collection, neither while it keeps its processor, just after
// a query, nor when it has let it go.
func TestGCWhileWaiting(t *testing.T) {
	rounds := 100
	if os.Getenv("GEODNS_PROVE") != "" {
		rounds = 5000
	}
	s := serve(t, server.Config{Workers: 4}, testWorld(t))
	q := ask(t, "static.example.com.", dns.TypeA)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range rounds {
			if _, err := roundTrip("udp", s.Addrs()[0], q, patience); err != nil {
				t.Error(err)
			}
			runtime.GC()
		}
	}()
	late := time.NewTimer(10 * patience)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
		t.Fatal("a collection waits for an idle worker")
	}
	idle(t, 4)
	runtime.GC()
}

// TestStopIdle: a worker that has let its processor go is woken to stop, whether it has ever had a query or not.
func TestStopIdle(t *testing.T) {
	s, err := server.New(server.Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Workers: 3}, testWorld(t))
	if err != nil {
		t.Fatal(err)
	}
	before := runtime.GOMAXPROCS(0)
	stop := run(t, s)
	exchange(t, "udp", s.Addrs()[0], ask(t, "static.example.com.", dns.TypeA))
	if got := runtime.GOMAXPROCS(0); got != before+3 {
		t.Errorf("GOMAXPROCS is %d with 3 workers, %d without", got, before)
	}
	idle(t, 3)
	stop()
	if got := runtime.GOMAXPROCS(0); got != before {
		t.Errorf("GOMAXPROCS is %d afterwards, was %d", got, before)
	}
}

// idle waits until so many goroutines wait in system calls that the scheduler knows of.
func idle(t testing.TB, workers uint64) {
	t.Helper()
	poll(t, "the workers to let their processors go", func() bool {
		sample := []metrics.Sample{{Name: "/sched/goroutines/not-in-go:goroutines"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64() >= workers
	})
}

// BenchmarkCollect collects while workers wait and keep their processors, as they do under load, and without workers, in
// turn; the ratio is of medians. What they add is a signal to each.
func BenchmarkCollect(b *testing.B) {
	s := serve(b, server.Config{Workers: 2}, testWorld(b))
	q := ask(b, "static.example.com.", dns.TypeA)
	var alone, waiting []time.Duration
	collect := func() time.Duration {
		began := time.Now()
		runtime.GC()
		return time.Since(began)
	}
	b.ResetTimer()
	for range b.N {
		for range 3 { // most likely for both
			exchange(b, "udp", s.Addrs()[0], q)
		}
		waiting = append(waiting, collect())
		idle(b, 2)
		alone = append(alone, collect())
	}
	slices.Sort(alone)
	slices.Sort(waiting)
	b.ReportMetric(float64(waiting[len(waiting)/2])/float64(alone[len(alone)/2]), "waiting/idle")
	b.ReportMetric(float64(alone[len(alone)/2].Microseconds()), "idle-µs")
}

// TestBatch fills the socket's queue before the server runs, so that whole batches are there at once, with packets that
// get no answer among them, and checks that all others come back, and nothing of one packet in another's answer.
func TestBatch(t *testing.T) {
	w := testWorld(t)
	for _, n := range []int{1, server.BatchMax - 1, server.BatchMax, server.BatchMax + 1, 5*server.BatchMax + 7} {
		cfg := server.Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Workers: 1}
		s, err := server.New(cfg, w)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("udp", s.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		want := map[uint16]string{}
		for i := range n {
			name, answer := "static.example.com.", "NOERROR aa qr\n= static.example.com. 300 IN A 192.0.2.1\n? static.example.com. A"
			if i%3 == 1 {
				name, answer = "www.example.net.", "REFUSED qr\n? www.example.net. A"
			}
			q := ask(t, name, dns.TypeA, func(m *dns.Msg) { m.Id = uint16(i) })
			if i%5 == 4 {
				q = q[:4] // dropped
			} else {
				want[uint16(i)] = answer
			}
			if _, err := c.Write(q); err != nil {
				t.Fatal(err)
			}
		}
		stop := run(t, s)
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 2048)
		for len(want) > 0 {
			size, err := c.Read(buf)
			if err != nil {
				t.Fatalf("%d packets: %d answers are missing: %v", n, len(want), err)
			}
			id := uint16(buf[0])<<8 | uint16(buf[1])
			if got := text(t, buf[:size]); got != want[id] {
				t.Errorf("packet %d: %s, want %s", id, got, want[id])
			}
			delete(want, id)
		}
		if stats := s.Stats(); stats.Queries[server.UDP][server.IPv4] != uint64(n) || stats.Batches > uint64(n/server.BatchMax+2) {
			t.Errorf("%d packets: stats %+v", n, stats)
		}
		_ = c.Close()
		stop()
	}
}

// TestSendRefused: an answer that the system will not send (to port 0) is counted, and the rest of its batch is sent.
func TestSendRefused(t *testing.T) {
	refused := server.SendTo(t, testWorld(t), ask(t, "static.example.com.", dns.TypeA), 10, 3)
	if refused.Lost != 1 || refused.Sent != 9 {
		t.Errorf("%d answers sent and %d lost of 10, one of them to port 0", refused.Sent, refused.Lost)
	}
}

// TestLongDatagram: what does not fit the buffer is answered FORMERR.
func TestLongDatagram(t *testing.T) {
	paths(t, func(t *testing.T, cfg server.Config) {
		s := serve(t, cfg, testWorld(t))
		q := ask(t, "static.example.com.", dns.TypeA)
		fits := append(slices.Clip(q), make([]byte, server.BufferLen-len(q))...)
		if got := exchange(t, "udp", s.Addrs()[0], fits); got != "NOERROR aa qr\n= static.example.com. 300 IN A 192.0.2.1\n? static.example.com. A" {
			t.Errorf("a datagram of %d octets: %s", len(fits), got)
		}
		if got := exchange(t, "udp", s.Addrs()[0], append(fits, 0)); got != "FORMERR qr\n? static.example.com. A" {
			t.Errorf("a datagram of %d octets: %s", len(fits)+1, got)
		}
	})
}

// TestSharedPort: each worker's socket gets queries. The kernel spreads them by source port.
func TestSharedPort(t *testing.T) {
	s := serve(t, server.Config{Workers: 3}, testWorld(t))
	q := ask(t, "static.example.com.", dns.TypeA)
	poll(t, "each worker to answer", func() bool {
		exchange(t, "udp", s.Addrs()[0], q)
		return server.BusyWorkers(s) == 3
	})
}

// TestPortShared: a UDP port that another process would share is still refused.
func TestPortShared(t *testing.T) {
	lc := net.ListenConfig{Control: server.SharePortControl}
	c, err := lc.ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
	for ; err == nil; c, err = lc.ListenPacket(t.Context(), "udp4", "127.0.0.1:0") {
		defer func() { _ = c.Close() }()
		l, tcpErr := lc.Listen(t.Context(), "tcp4", c.LocalAddr().String())
		if tcpErr == nil { // else it is someone's, and refused for that
			_ = l.Close()
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(c.LocalAddr().String())
	if s, err := server.New(server.Config{Listen: []netip.AddrPort{addr}, Workers: 2}, testWorld(t)); err == nil || !strings.Contains(err.Error(), "UDP") {
		t.Errorf("New on a UDP port in use: %v, %v", s, err)
	}
}

// TestWake: one query at a time from several clients, so that the worker parks and wakes all the time, and each wake must
// find what came meanwhile. A query that was slept through would wait for ever.
func TestWake(t *testing.T) {
	rounds := 2000
	if os.Getenv("GEODNS_PROVE") != "" {
		rounds = 200_000
	}
	s := serve(t, server.Config{Workers: 1}, testWorld(t))
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			if err := window(s.Addrs()[0], rounds, 1); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	t.Logf("%d queries in %d batches", 6*rounds, s.Stats().Batches)
}
