package health_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"geodns/pkg/health"
)

// TestReach covers plain tcp probes over both families: of a listener, of
// nobody, of one that must not be probed.
func TestReach(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("%s: %v", address, err)
			continue
		}
		at := addressOf(t, listener.Addr())
		wantResult(t, health.Reach(t.Context(), at, time.Second, nil), true, "connected")
		forbidden := func(netip.Addr) error { return errors.New("not there") }
		wantResult(t, health.Reach(t.Context(), at, time.Second, forbidden), false, "refused: not there")
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		wantResult(t, health.Reach(t.Context(), at, time.Second, nil), false, "connection refused")
	}
}

// fullListener gives an address at which connections stay under way: its queue
// is full.
func fullListener(t *testing.T) netip.AddrPort {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("a queue of no length is one of Linux")
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err = syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	inet, ok := name.(*syscall.SockaddrInet4)
	if !ok {
		t.Fatalf("bound to %v", name)
	}
	at := netip.AddrPortFrom(netip.AddrFrom4(inet.Addr), uint16(inet.Port))
	// One fits in the queue.
	conn, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return at
}

// TestReachHangs covers a connection that does not come to be: its probe ends
// with the timeout, or when it is stopped.
func TestReachHangs(t *testing.T) {
	t.Parallel()
	at := fullListener(t)
	wantResult(t, health.Reach(t.Context(), at, 200*time.Millisecond, nil), false, "timeout after 200ms while connecting")
	ctx, cancel := context.WithCancel(t.Context())
	stop := time.AfterFunc(100*time.Millisecond, cancel) // most likely while it waits; before, it is stopped as well
	defer stop.Stop()
	wantResult(t, health.Reach(ctx, at, time.Minute, nil), false, "stopped")
}

// TestReachDescriptors covers that probes leave no descriptor behind, however
// they end. It is not parallel: others open some too.
func TestReachDescriptors(t *testing.T) {
	full := fullListener(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	good := addressOf(t, listener.Addr())
	closed := netip.AddrPortFrom(good.Addr(), 1)
	before := descriptors(t)
	for range 20 {
		health.Reach(t.Context(), full, 10*time.Millisecond, nil)
		health.Reach(t.Context(), good, time.Second, nil)
		health.Reach(t.Context(), closed, time.Second, nil)
	}
	if after := descriptors(t); after > before+5 {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

// descriptors counts those of this process.
func descriptors(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc here")
	}
	return len(names)
}
