package dnstest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports that FreePort gives. The kernel's own begin at portEnd on Linux (ip_local_port_range in ip(7)), and above it elsewhere.
const portMin, portEnd = 10_000, 32_768

// portTries is how many ports are looked at: most are free.
const portTries = 100

// FreePort gives a port of loopback that is free on UDP and TCP, for a program that has to be told one. It is none that the kernel gives
// to a socket which asks for any: no client of a test beside takes it before the program does, or while the program is started again.
func FreePort() (int, error) {
	for range portTries {
		port := portMin + rand.IntN(portEnd-portMin)
		if at := fmt.Sprintf("127.0.0.1:%d", port); free(at) {
			return port, nil
		}
	}
	return 0, errors.New("no port is free on both UDP and TCP")
}

// free says whether nobody listens at an address.
func free(at string) bool {
	tcp, err := net.Listen("tcp", at) //nolint:noctx // closed at once
	if err != nil {
		return false
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", at) //nolint:noctx // closed at once
	if err != nil {
		return false
	}
	return udp.Close() == nil
}
