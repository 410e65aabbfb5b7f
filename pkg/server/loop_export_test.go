package server

import "net/netip"

// SendFrom sends a packet from the socket of an endpoint, which is what a forger does who writes its address.
func SendFrom(s *Server, endpoint int, packet []byte, to netip.AddrPort) error {
	_, err := s.endpoints[endpoint].udp[0].WriteToUDPAddrPort(packet, to)
	return err
}
