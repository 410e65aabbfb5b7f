package server_test

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"geodns/pkg/server"
)

// TestA33SocketOptions reads back what keeps answers whole: datagrams leave by the interface's MTU alone, whatever a path is
// said to take, and TCP segments over IPv6 fit its least MTU.
func TestA33SocketOptions(t *testing.T) {
	s := serve(t, server.Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0"), netip.MustParseAddrPort("[::1]:0")}}, testWorld(t))
	for _, c := range []struct {
		network       string
		endpoint      int
		level, option int
		want          int
	}{
		{"udp", 0, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_OMIT},
		{"udp", 1, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_OMIT},
		{"udp", 1, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1},
		{"tcp", 1, unix.IPPROTO_TCP, unix.TCP_MAXSEG, 1220},
	} {
		sockets := server.Sockets(s, c.endpoint, c.network)
		if len(sockets) == 0 {
			t.Errorf("%s endpoint %d has no sockets", c.network, c.endpoint)
		}
		for _, raw := range sockets {
			got, err := 0, error(nil)
			if cerr := raw.Control(func(fd uintptr) { got, err = unix.GetsockoptInt(int(fd), c.level, c.option) }); cerr != nil {
				t.Fatal(cerr)
			}
			if err != nil || got != c.want {
				t.Errorf("%s endpoint %d: option %d of level %d is %d (%v), want %d", c.network, c.endpoint, c.option, c.level, got, err, c.want)
			}
		}
	}
}
