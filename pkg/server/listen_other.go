//go:build !linux

package server

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
)

// sharedPorts: elsewhere a shared port does not spread datagrams, so workers share the socket.
const sharedPorts = false

func sharePort(int) error { return errors.ErrUnsupported }

func udpOptions(int, netip.Addr) error { return nil }

func tcpOptions(int, netip.Addr) error { return nil }

// newUDPWorker makes the loop of one worker.
func newUDPWorker(
	_ *Config, conn *net.UDPConn, addr netip.Addr, r *responder, v *atomic.Pointer[view], stopping *atomic.Bool,
) (func() error, error) {
	return newPacketWorker(conn, addr, r, v, stopping)
}
