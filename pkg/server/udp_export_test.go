//go:build linux

package server

import (
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SharePortControl makes a socket one that shares its port.
func SharePortControl(network, address string, c syscall.RawConn) error {
	return onSocket(sharePort)(network, address, c)
}

// BusyWorkers is how many UDP workers have answered.
func BusyWorkers(s *Server) int {
	busy := 0
	for _, b := range s.blocks[:len(s.workers)] {
		if b.n[countBatches].Load() > 0 {
			busy++
		}
	}
	return busy
}

// Sending is what became of a batch.
type Sending struct{ Sent, Lost int }

// SendTo makes a worker answer n copies of a query at once, of which one seems to come from port 0, and counts what arrives.
func SendTo(t *testing.T, w *World, query []byte, n, portZero int) Sending {
	t.Helper()
	cfg, err := Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Workers: 1}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	e, err := listen(&cfg, cfg.Listen[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.close() }()
	client, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()

	var v atomic.Pointer[view]
	v.Store(&view{world: w, hits: newHits(1, len(w.names))})
	b := &block{}
	worker, err := newBatchWorker(e.udp[0], cfg.Listen[0].Addr(), newResponder(&cfg, b, 0, BatchMax), &v, new(atomic.Bool))
	if err != nil {
		t.Fatal(err)
	}
	port := netip.MustParseAddrPort(client.LocalAddr().String()).Port()
	for i := range n {
		copy(worker.buffers[i][:], query)
		worker.headers[i].n = uint32(len(query))
		to := (*unix.RawSockaddrInet4)(unsafe.Pointer(&worker.names[i]))
		to.Family, to.Addr = unix.AF_INET, [4]byte{127, 0, 0, 1}
		if i != portZero {
			to.Port = port>>8 | port<<8
		}
	}
	worker.answer(n)
	if err := worker.conn.Control(worker.flush); err != nil {
		t.Fatal(err)
	}
	got := Sending{Lost: int(b.n[countSendErrors].Load())}
	buf := make([]byte, bufferLen)
	for range n - got.Lost {
		if _, err := client.Read(buf); err != nil {
			t.Fatal(err)
		}
		got.Sent++
	}
	return got
}
