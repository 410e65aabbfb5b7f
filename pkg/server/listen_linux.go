package server

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// sharedPorts: the kernel spreads datagrams over the sockets of a port by the client's address and port.
const sharedPorts = true

const (
	// socketBuffer is the octets of each socket buffer that we ask for; the kernel gives what net.core.rmem_max and
	// wmem_max allow. It bridges a worker's pause of some milliseconds at full load; more would only serve answers
	// that nobody waits for any longer.
	socketBuffer = 1 << 20
	// tcpSocketBuffer is the octets of a connection's socket buffers each way, which its listener's are: room for the
	// longest answer. Without it the kernel lets them grow to megabytes for clients that ask and do not read.
	tcpSocketBuffer = 1 << 16
	// tcpSegment6 is the payload of a TCP segment that fits in IPv6's least MTU, 1280, so that no path needs to tell
	// us its own (RFC 9715 section 3).
	tcpSegment6 = 1220
)

func sharePort(fd int) error { return setOption(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }

// udpOptions: never fragment on a path's word nor believe a forged one (PMTUDISC_OMIT sends at the interface's MTU and
// ignores path MTU messages; our payload fits in it), know the asked address where we listen on all, and one family a
// socket.
func udpOptions(fd int, addr netip.Addr) error {
	// Best effort: the limits are the administrator's.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, socketBuffer)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, socketBuffer)
	if addr.Is4() {
		if err := setOption(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_OMIT); err != nil {
			return err
		}
		if addr.IsUnspecified() {
			return setOption(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		}
		return nil
	}
	if err := setOption(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
		return err
	}
	if err := setOption(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_OMIT); err != nil {
		return err
	}
	if addr.IsUnspecified() {
		return setOption(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	}
	return nil
}

func tcpOptions(fd int, addr netip.Addr) error {
	for _, buffer := range []int{unix.SO_SNDBUF, unix.SO_RCVBUF} {
		if err := setOption(fd, unix.SOL_SOCKET, buffer, tcpSocketBuffer); err != nil {
			return err
		}
	}
	if addr.Is4() {
		return nil
	}
	return setOption(fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG, tcpSegment6)
}

func setOption(fd, level, option, value int) error {
	if err := unix.SetsockoptInt(fd, level, option, value); err != nil {
		return fmt.Errorf("setting socket option %d of level %d to %d: %w", option, level, value, err)
	}
	return nil
}
