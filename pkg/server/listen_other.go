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

// ownThreads: workers wait in the runtime's poller, as any goroutine does.
const ownThreads = false

// ownUDP leaves a socket as it is.
func ownUDP(_ *Config, conn *net.UDPConn) (udpSocket, error) { return conn, nil }

// closeUDP closes a socket, which wakes who waits for it.
func closeUDP(socket udpSocket) error { return socket.Close() }

// newUDPWorker makes the loop of one worker.
func newUDPWorker(
	_ *Config, socket udpSocket, addr netip.Addr, r *responder, v *atomic.Pointer[view], stopping *atomic.Bool,
) (func() error, error) {
	return newPacketWorker(socket, addr, r, v, stopping)
}
