package server

import (
	"errors"
	"net/netip"
	"syscall"
)

// SendFrom sends a packet from the socket of an endpoint, which is what a forger does who writes its address.
func SendFrom(s *Server, endpoint int, packet []byte, to netip.AddrPort) error {
	raw, err := s.endpoints[endpoint].udp[0].SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Control(func(fd uintptr) {
		sent = syscall.Sendto(int(fd), packet, 0, &syscall.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	})
	return errors.Join(err, sent)
}
