package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"geodns/pkg/server"
)

// rawClient is a client's socket by its number: thousands of them cost no memory of this process, of which the server's
// share can so be told.
type rawClient int

// dialRaw connects from an address of the loopback network.
func dialRaw(from [4]byte, to netip.AddrPort, receiveBuffer int) (rawClient, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("making a socket: %w", err)
	}
	c := rawClient(fd)
	wait := unix.Timeval{Sec: int64(patience / time.Second)}
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		// The port is chosen with the peer, so that an address has all of them for each peer.
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
	)
	if receiveBuffer > 0 {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer))
	}
	if err = errors.Join(err, unix.Bind(fd, &unix.SockaddrInet4{Addr: from})); err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
	}
	if err != nil {
		c.close()
		return -1, fmt.Errorf("connecting from %v: %w", from, err)
	}
	return c, nil
}

func (c rawClient) close() { _ = unix.Close(int(c)) }

// send writes what fits, without waiting; false: the connection has ended.
func (c rawClient) send(b []byte) bool {
	err := unix.Sendto(int(c), b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil)
	return err == nil || errors.Is(err, unix.EAGAIN)
}

func (c rawClient) Read(b []byte) (int, error) {
	n, err := unix.Read(int(c), b)
	for errors.Is(err, unix.EINTR) { // a socket with a time-out is not read on after a signal
		n, err = unix.Read(int(c), b)
	}
	if n == 0 && err == nil {
		err = io.EOF
	}
	return max(n, 0), err
}

// descriptors is how many this process has open.
func descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// kernelPages is what the kernel holds for all TCP sockets of the machine.
func kernelPages(t testing.TB) int {
	t.Helper()
	b, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		t.Fatal(err)
	}
	_, b, _ = bytes.Cut(b, []byte("TCP:"))
	b, _, _ = bytes.Cut(b, []byte("\n"))
	_, b, _ = bytes.Cut(b, []byte("mem "))
	n := 0
	if _, err := fmt.Sscan(string(b), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// memory is what this process uses after all that is free was given back.
func memory() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // stacks shrink with the first, pools are emptied by the second
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// crowd is a server and those that are after its connections.
type crowd struct {
	t       *testing.T
	server  *server.Server
	query   []byte
	clients []rawClient
	longest time.Duration // that a new client waited for its answer
}

// from is the address of a client: eight share one.
func (f *crowd) from(kind byte) [4]byte {
	n := len(f.clients) / 8
	return [4]byte{127, kind, byte(n >> 8), byte(n)}
}

func (f *crowd) dial(kind byte, receiveBuffer int) rawClient {
	f.t.Helper()
	c, err := dialRaw(f.from(kind), f.server.Addrs()[0], receiveBuffer)
	if err != nil {
		f.t.Fatal(err)
	}
	f.clients = append(f.clients, c)
	return c
}

// ask is a new client that asks one question, and checks the limit.
func (f *crowd) ask(limit int) {
	f.t.Helper()
	start := time.Now()
	c, err := dialRaw([4]byte{127, 99, byte(len(f.clients) >> 8), byte(len(f.clients))}, f.server.Addrs()[0], 0)
	if err != nil {
		f.t.Fatal(err)
	}
	defer c.close()
	if !c.send(f.query) {
		f.t.Fatal("a new client cannot ask")
	}
	if got := text(f.t, receive(f.t, c)); got != staticText {
		f.t.Fatalf("a new client's answer: %s", got)
	}
	f.longest = max(f.longest, time.Since(start))
	if open := f.server.Stats().TCP.Open; open > uint64(limit) {
		f.t.Fatalf("%d connections are open, of %d", open, limit)
	}
}

// silent opens connections that ask once and then say nothing.
func (f *crowd) silent(n, limit int) {
	for i := range n {
		c := f.dial(1, 0)
		if !c.send(f.query) {
			f.t.Fatal("a client that will be silent cannot ask")
		}
		receive(f.t, c)
		if i%100 == 0 {
			f.ask(limit)
		}
	}
}

// slow opens connections that send an octet now and then, half a message, or queries whose answers they do not read.
// It goes on until the server has closed them.
func (f *crowd) slow(n, limit int) {
	heavy := bytes.Repeat(framed(ask(f.t, "big.example.com.", dns.TypeA)), 100)
	kinds := [][]byte{framed(make([]byte, 1000))[:1], f.query[:len(f.query)/2], heavy}
	var living [3][]rawClient
	for i := range n {
		buffer := 0
		if i%3 == 2 {
			buffer = 4096
		}
		c := f.dial(2, buffer)
		c.send(kinds[i%3])
		living[i%3] = append(living[i%3], c)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	start, pages := time.Now(), 0
	for len(living[0])+len(living[1])+len(living[2]) > 0 {
		for kind, clients := range living {
			var still []rawClient
			for _, c := range clients {
				say := kinds[kind]
				if kind == 1 {
					say = nil // nothing more: only see whether it lives
				}
				if f.lives(c) && (say == nil || c.send(say)) {
					still = append(still, c)
				}
			}
			living[kind] = still
		}
		f.ask(limit)
		pages = max(pages, kernelPages(f.t))
		if time.Since(start) > 3*patience { // each of thousands takes its time
			f.t.Fatalf("slow connections live: %d that trickle, %d with half a message, %d that do not read",
				len(living[0]), len(living[1]), len(living[2]))
		}
		<-tick.C
	}
	f.t.Logf("%d slow connections are closed after %v; the kernel held %d MiB", n, time.Since(start).Round(time.Millisecond), pages*os.Getpagesize()>>20)
}

// lives says whether the server has not closed a connection yet.
func (f *crowd) lives(c rawClient) bool {
	fds := []unix.PollFd{{Fd: int32(c), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(fds, 0)
	return n == 0 || errors.Is(err, unix.EINTR)
}

// TestTCPFlood holds thousands of connections that are silent and slow from many addresses, and asks as a new client all
// the while.
func TestTCPFlood(t *testing.T) {
	silent, slow, limit, short := 3000, 300, server.TCPConnections*3/10, t.Skipf
	if os.Getenv("GEODNS_PROVE") != "" {
		short = t.Fatalf // what shall be proven is not skipped
		silent, slow, limit = 10_000, 1000, server.TCPConnections
	}
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		t.Fatal(err)
	}
	if need := uint64(silent + slow + limit + 500); r.Cur < need { // Go has raised it to the hard limit
		short("needs %d descriptors; the limit is %d (ulimit -n)", need, r.Cur)
	}
	t.Run("A-61 silent and slow", func(t *testing.T) {
		w := testWorld(t)
		fds, goroutines := descriptors(t), runtime.NumGoroutine()
		func() {
			s, err := server.New(server.Config{
				Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, TCP: server.TCPConfig{Connections: limit},
			}, w)
			if err != nil {
				t.Fatal(err)
			}
			defer run(t, s)()
			f := &crowd{t: t, server: s, query: framed(ask(t, "static.example.com.", dns.TypeA))}
			defer func() {
				for _, c := range f.clients {
					c.close()
				}
			}()
			f.clients = make([]rawClient, 0, silent+slow)
			f.ask(limit)
			before := memory()
			f.silent(silent, limit)
			open := s.Stats().TCP.Open
			each := (memory() - before) / int64(open)
			t.Logf("%d connections that asked once and are silent: %d octets each", open, each)
			if each > 12<<10 {
				t.Errorf("a silent connection costs %d octets", each)
			}
			f.slow(slow, limit)
			t.Logf("a new client waited %v at most for connection and answer; %+v", f.longest.Round(time.Microsecond), s.Stats().TCP)
		}()
		poll(t, "the end of all goroutines", func() bool { return runtime.NumGoroutine() <= goroutines })
		if got := descriptors(t); got > fds {
			t.Errorf("%d descriptors are open, %d before", got, fds)
		}
	})
}

// TestTCPOneSource: an address that opens all the connections that it can has its own closed, and nobody else's.
func TestTCPOneSource(t *testing.T) {
	t.Run("A-61 per source", func(t *testing.T) {
		s := serve(t, server.Config{}, testWorld(t))
		query := framed(ask(t, "static.example.com.", dns.TypeA))
		other := dialTCP(t, s)
		write(t, other, query)
		receive(t, other)
		var clients []rawClient
		defer func() {
			for _, c := range clients {
				c.close()
			}
		}()
		for range 3 * server.TCPPerSource {
			c, err := dialRaw([4]byte{127, 0, 0, 2}, s.Addrs()[0], 0)
			if err != nil {
				t.Fatal(err)
			}
			clients = append(clients, c)
		}
		want := server.TCPStats{Open: server.TCPPerSource + 1, Accepted: 3*server.TCPPerSource + 1, Evicted: 2 * server.TCPPerSource}
		poll(t, "the limit", func() bool { return s.Stats().TCP == want })
		write(t, other, query)
		if got := text(t, receive(t, other)); got != staticText {
			t.Errorf("answer %s", got)
		}
	})
}

// TestTCPUnread: the kernel takes only so much for a client that does not read its answers.
func TestTCPUnread(t *testing.T) {
	t.Run("A-61 unread answers", func(t *testing.T) {
		s := serve(t, server.Config{}, testWorld(t))
		query := framed(ask(t, "big.example.com.", dns.TypeA))
		length := 2 + len(receive(t, asking(t, dialTCP(t, s), query)))
		f := &crowd{t: t, server: s}
		c := f.dial(1, 4096)
		defer c.close()
		many := bytes.Repeat(query, 100)
		poll(t, "the end of the connection", func() bool { return !f.lives(c) || !c.send(many) })
		const most = 512 << 10
		if n := int(s.Stats().Kinds[server.Static]) * length; n > most {
			t.Errorf("%d octets of answers were made for a client that read none; want %d at most", n, most)
		}
	})
}

// TestTCPReset ends connections in the middle of everything.
func TestTCPReset(t *testing.T) {
	query := framed(ask(t, "big.example.com.", dns.TypeA))
	for _, c := range []struct {
		about string
		say   []byte
	}{
		{"A-60 reset before a query", nil},
		{"A-60 reset within a query", query[:10]},
		{"A-60 reset within a long message", append([]byte{0xFF, 0xFF}, make([]byte, 10_000)...)},
		{"A-60 reset before the answers", bytes.Repeat(query, 1000)},
	} {
		t.Run(c.about, func(t *testing.T) {
			s := serve(t, server.Config{}, testWorld(t))
			var group sync.WaitGroup
			for range 20 {
				group.Go(func() {
					conn, err := net.Dial("tcp", s.Addrs()[0].String())
					if err != nil {
						t.Error(err)
						return
					}
					_ = conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // the server does not read on for ever
					_, _ = conn.Write(c.say)
					if tcp, ok := conn.(*net.TCPConn); ok {
						_ = tcp.SetLinger(0)
					}
					_ = conn.Close()
				})
			}
			group.Wait()
			poll(t, "the end of all", func() bool { return s.Stats().TCP == server.TCPStats{Accepted: 20} })
			if got := exchange(t, "tcp", s.Addrs()[0], query[2:]); len(got) < 1000 {
				t.Errorf("answer %s", got)
			}
		})
	}
}
