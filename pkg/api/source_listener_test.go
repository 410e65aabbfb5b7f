package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"

	"geodns/internal/dnstest"
	"geodns/pkg/api"
)

// peers is a listener at which connections of these addresses arrive, and then no more.
type peers []*peer

// Accept gives the next.
func (p *peers) Accept() (net.Conn, error) {
	if len(*p) == 0 {
		return nil, net.ErrClosed
	}
	next := (*p)[0]
	*p = (*p)[1:]
	return next, nil
}
func (*peers) Close() error   { return nil }
func (*peers) Addr() net.Addr { return nil }

// peer is a connection of an address.
type peer struct {
	net.Conn

	from   net.Addr
	closed int
}

func (p *peer) RemoteAddr() net.Addr { return p.from }
func (p *peer) Close() error         { p.closed++; return nil }

// peerAt is one of an address, which is none of TCP if it is empty.
func peerAt(addr string) *peer {
	if addr == "" {
		return &peer{from: &net.UnixAddr{}}
	}
	return &peer{from: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), 1234))}
}

// TestLimitSources: what one source may have is counted by its address, or its /56 of IPv6; a proxy may have more.
func TestLimitSources(t *testing.T) {
	const most = 2
	proxy := netip.MustParsePrefix("10.0.0.0/8")
	for _, tt := range []struct {
		name  string
		peers []string
		taken []int
	}{
		{"an address", []string{"192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"}, []int{0, 1, 3}},
		{"an address as IPv6", []string{"192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.1"}, []int{0, 1}},
		{"a /56", []string{"2001:db8::1", "2001:db8:0:ff::1", "2001:db8:0:7::", "2001:db8:0:100::"}, []int{0, 1, 3}},
		{"an interface's", []string{"fe80::1%eth0", "fe80::1%eth1", "fe80::2"}, []int{0, 1}},
		{"a proxy", []string{"10.0.0.1", "10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1"}, []int{0, 1, 2, 3}},
		{"of no network", []string{"", "", "", ""}, []int{0, 1, 2, 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var all peers
			for _, addr := range tt.peers {
				all = append(all, peerAt(addr))
			}
			coming, refused := slices.Clone(all), new(atomic.Uint64)
			l := api.LimitSources(&coming, most, proxy.Contains, refused)
			for taken := range slices.Values(tt.taken) {
				conn, err := l.Accept()
				if err != nil || conn.RemoteAddr() != all[taken].from {
					t.Fatalf("connection %d: %v, %v", taken, conn, err)
				}
			}
			if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("at the end: %v", err)
			}
			for i, p := range all {
				if (p.closed == 0) != slices.Contains(tt.taken, i) {
					t.Errorf("connection %d is closed %d times", i, p.closed)
				}
			}
			if got := int(refused.Load()); got != len(all)-len(tt.taken) {
				t.Errorf("%d refused", got)
			}
		})
	}
}

// TestLimitSourcesRandom holds the listener against one that counts what is open anew each time, while connections come and are closed,
// some of them twice.
func TestLimitSourcesRandom(t *testing.T) {
	const most = 3
	random := rand.New(rand.NewPCG(dnstest.Seed(t), 0))
	var coming peers
	l := api.LimitSources(&coming, most, func(netip.Addr) bool { return false }, new(atomic.Uint64))
	open := map[net.Conn]string{}
	for range 5000 {
		if random.IntN(2) == 0 {
			for conn := range open { // any
				delete(open, conn)
				for range 1 + random.IntN(2) {
					if err := conn.Close(); err != nil {
						t.Fatal(err)
					}
				}
				break
			}
			continue
		}
		addr := fmt.Sprintf("192.0.2.%d", random.IntN(4))
		had := 0
		for _, of := range open {
			if of == addr {
				had++
			}
		}
		coming = peers{peerAt(addr)}
		conn, err := l.Accept()
		if (err == nil) != (had < most) {
			t.Fatalf("%s has %d: %v", addr, had, err)
		}
		if err == nil {
			open[conn] = addr
		}
	}
	for conn := range open {
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := api.SourcesOpen(l); n != 0 {
		t.Errorf("%d sources are kept when nothing is open", n)
	}
}

// TestBeaconConnections: one host holds what one source may, is turned away beyond that, and keeps no other out; when it lets go it may
// come again.
func TestBeaconConnections(t *testing.T) {
	b := beacons(t, nil)
	s, err := b.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	// dial says whether a connection from an address of this host is served.
	dial := func(from string) (net.Conn, bool) {
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext(ctx, "tcp4", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		answer := make([]byte, 12)
		if _, err = conn.Write([]byte("GET /v1/rum/plan HTTP/1.1\r\nHost: a\r\n\r\n")); err == nil {
			_, err = conn.Read(answer)
		}
		return conn, err == nil && bytes.Equal(answer, fmt.Appendf(nil, "HTTP/1.1 %d", http.StatusOK))
	}
	var held []net.Conn
	for i := range api.BeaconSourceConnectionsMax {
		conn, served := dial("127.0.0.1")
		if held = append(held, conn); !served {
			t.Fatalf("connection %d is not served", i)
		}
	}
	if _, served := dial("127.0.0.1"); served || b.ConnectionsRefused() != 1 {
		t.Errorf("one more is served: %t; %d refused", served, b.ConnectionsRefused())
	}
	if runtime.GOOS == "linux" { // elsewhere loopback is one address
		if _, served := dial("127.0.0.2"); !served {
			t.Error("another host is kept out")
		}
	}
	for _, conn := range held {
		conn.Close()
	}
	eventually(t, "let in again", func() bool {
		_, served := dial("127.0.0.1")
		return served
	})
}
