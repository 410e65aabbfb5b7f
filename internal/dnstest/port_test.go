package dnstest_test

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"geodns/internal/dnstest"
)

// TestFreePort: a port can be listened at, and is none of those that the kernel gives to sockets which ask for any, where it is set up as
// usual.
func TestFreePort(t *testing.T) {
	const usual = 32_768
	kernels := usual
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		if kernels, err = strconv.Atoi(strings.Fields(string(text))[0]); err != nil {
			t.Fatal(err)
		}
	}
	if kernels < usual {
		t.Skipf("the kernel gives ports from %d on here", kernels)
	}
	for range 100 {
		port, err := dnstest.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if port >= kernels {
			t.Fatalf("port %d: a socket may get it meanwhile, which asks for any of %d or above", port, kernels)
		}
		at := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		tcp, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		udp, err := net.ListenPacket("udp", at)
		if err != nil {
			t.Fatal(err)
		}
		tcp.Close()
		udp.Close()
	}
}
