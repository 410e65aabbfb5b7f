package health_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"geodns/internal/dnstest"
	"geodns/pkg/health"
	"geodns/pkg/steering"
)

// backEnd is a web server on loopback that can be killed and started again.
type backEnd struct {
	address string
	server  *http.Server
	ended   chan struct{}
}

// start starts it, at the address it had before if any.
func (b *backEnd) start(t *testing.T) netip.AddrPort {
	t.Helper()
	if b.address == "" {
		port, err := dnstest.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		b.address = fmt.Sprintf("127.0.0.1:%d", port)
	}
	listener, err := net.Listen("tcp", b.address)
	if err != nil {
		t.Fatal(err)
	}
	b.address = listener.Addr().String()
	b.server = &http.Server{
		Handler:           http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		ReadHeaderTimeout: time.Second,
	}
	b.ended = make(chan struct{})
	go func() {
		defer close(b.ended)
		_ = b.server.Serve(listener)
	}()
	return addressOf(t, listener.Addr())
}

// kill ends it, connections included.
func (b *backEnd) kill(t *testing.T) {
	t.Helper()
	if err := b.server.Close(); err != nil {
		t.Error(err)
	}
	<-b.ended
}

// TestFailoverOverSockets kills a back end and starts it again: its verdict
// changes, by OnChange alone. It prints how long that took; on a busy machine
// that means little, so it is no part of the test.
func TestFailoverOverSockets(t *testing.T) {
	t.Parallel()
	var live backEnd
	at := live.start(t)
	changes := make(chan struct{}, 100)
	c, err := health.New(health.Config{
		Allow:    func(addr netip.Addr) error { return health.Allowed(addr, true, nil) },
		OnChange: func() { changes <- struct{}{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Update([]health.Target{{ID: "web/t1", Addrs: []netip.Addr{at.Addr()}, Check: &health.Check{
		Kind: health.HTTP, Port: at.Port(), Interval: time.Second, Fall: 2, Rise: 2,
	}}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	waitState := func(want steering.State) {
		t.Helper()
		began := time.Now()
		timer := time.NewTimer(20 * time.Second)
		defer timer.Stop()
		for {
			if v, _ := c.Verdict("web/t1"); v.State == want {
				t.Logf("%v after %v", want, time.Since(began).Round(time.Millisecond))
				return
			}
			select {
			case <-changes:
			case <-timer.C:
				t.Fatalf("never %v: %+v", want, c.Snapshot())
			}
		}
	}
	waitState(steering.Up)
	live.kill(t)
	waitState(steering.Down)
	live.start(t)
	waitState(steering.Up)
	live.kill(t)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
