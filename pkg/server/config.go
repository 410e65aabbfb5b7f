package server

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"geodns/pkg/dnswire"
)

// Limits of what the server takes on. The TCP ones are defaults of Config.
const (
	// BatchMax is how many datagrams one receive takes: 8 already save most of the system calls' cost, and past 32
	// the buffers of a batch no longer stay in the first-level cache.
	BatchMax = 32
	// WorkersMax bounds a mistyped number, not a machine.
	WorkersMax = 1024
	// ListenMax is how many addresses one server listens on: each costs a socket a worker.
	ListenMax = 64

	// UDPPayloadDefault is the largest answer over UDP: what fits in IPv6's least MTU of 1280 (RFC 9715), so that no
	// answer is ever fragmented. UDPPayloadMax is how far it may be raised: to what fits in an Ethernet frame with
	// some tunnel around it.
	UDPPayloadDefault = 1232
	UDPPayloadMax     = 1400
	// bufferLen is the octets that a datagram is received into: the payload of an Ethernet frame over IPv4, so that
	// every query that came unfragmented fits. It is an odd number of cache lines, so that the beginnings of a
	// batch's buffers do not share cache sets.
	bufferLen = 1472

	// IdentityMax is the octets of a node's name: with the ids of what it serves behind it, it fits the 64 of an NSID.
	IdentityMax = 64 - worldTagLen
	// VersionMax is the octets of Config.Version, which is one string.
	VersionMax = TXTStringMax

	// TCPIdle is how long a connection may be silent between queries: what Knot gives.
	TCPIdle = 10 * time.Second
	// TCPRead is how long a new connection may wait with its first octet, and a message with its last: a client that
	// has a query to send sends it at once.
	TCPRead = 2 * time.Second
	// TCPWrite is how long an answer may take to be taken off our hands; it only takes longer than none when a client
	// does not read. Knot's default.
	TCPWrite = 500 * time.Millisecond
	// TCPConnections is how many connections a process holds; at the limit the one that was silent longest goes.
	TCPConnections = 4096
	// TCPPerSource is how many of them one source may hold (an IPv4 address or an IPv6 /64): many a resolver behind
	// one translated address, but not all connections for one of them.
	TCPPerSource = 64
	// tcpReadBuffer is what a connection reads into: a query takes under 1,000 octets with every option that there
	// is. Longer messages are read to their end and answered FORMERR, so that the memory of a connection is bounded.
	tcpReadBuffer = 4096

	// portTries is how often a port that the system chose for TCP may turn out to be taken for UDP.
	portTries = 16
)

// Config is how a Server is set up. It is not changed after New.
type Config struct {
	// Listen is where UDP and TCP are served; at least one. Port 0 is a port that the system chooses, the same one
	// for both. An unspecified address (0.0.0.0, ::) is all addresses of its family; answers leave from the address
	// that was asked.
	Listen []netip.AddrPort
	// Workers is how many UDP workers there are for each address; 0 is GOMAXPROCS.
	Workers int
	// Identity names this node: as id.server, and with what it serves in the NSID option. Empty: neither is answered.
	Identity string
	// Version is what version.server says. Empty: it is refused.
	Version string
	// UDPPayload is the largest answer over UDP in octets; 0 is UDPPayloadDefault.
	UDPPayload int
	// TCP bounds connections; zero fields are the defaults above.
	TCP TCPConfig
	// Chaos answers the TXT questions of class CH for names that end in `geodns`; nil refuses them. It is called
	// for sources within ChaosAllow alone and over TCP alone, by the goroutine of the connection: it may take its time, and no
	// source is forged. Over UDP the answer is TC. The strings of the answer are cut at 255 octets; ok false is REFUSED.
	Chaos      func(w *World, q *dnswire.Query, source netip.Addr) (txt []string, ok bool)
	ChaosAllow []netip.Prefix
	// CookieSecrets turns DNS cookies on (RFC 7873): the first makes them, all are accepted; at most CookieSecretsMax.
	CookieSecrets []CookieSecret
	// RequireCookie answers BADCOOKIE over UDP where a query brings a cookie that holds none of ours, or none that is
	// still valid. Clients that do not speak cookies are answered as ever.
	RequireCookie bool
	// ECSOff lists zones for whose names a client subnet is ignored (RFC 7871 section 11.3): origins as zone.Info has them,
	// absolute and in lower case.
	ECSOff []string

	cookies  *cookies
	portable bool // tests: use the path for systems without recvmmsg
}

// TCPConfig bounds TCP connections. A zero field is the default of the same name.
type TCPConfig struct {
	Idle, Read, Write      time.Duration
	Connections, PerSource int
}

// withDefaults checks cfg and fills what was left zero.
func (cfg Config) withDefaults() (Config, error) {
	cfg.TCP = cfg.TCP.withDefaults()
	if cfg.Workers == 0 {
		cfg.Workers = min(processors.others(), WorkersMax)
	}
	if cfg.UDPPayload == 0 {
		cfg.UDPPayload = UDPPayloadDefault
	}
	switch {
	case len(cfg.Listen) == 0:
		return cfg, errors.New("no address to listen on")
	case len(cfg.Listen) > ListenMax:
		return cfg, fmt.Errorf("%d addresses to listen on; at most %d", len(cfg.Listen), ListenMax)
	case cfg.Workers < 0 || cfg.Workers > WorkersMax:
		return cfg, fmt.Errorf("%d workers; 1 to %d, or 0 for one a core", cfg.Workers, WorkersMax)
	case len(cfg.Identity) > IdentityMax:
		return cfg, fmt.Errorf("identity %q has %d octets; at most %d", cfg.Identity, len(cfg.Identity), IdentityMax)
	case len(cfg.Version) > VersionMax:
		return cfg, fmt.Errorf("version %q has %d octets; at most %d", cfg.Version, len(cfg.Version), VersionMax)
	case cfg.UDPPayload < dnswire.UDPMin || cfg.UDPPayload > UDPPayloadMax:
		return cfg, fmt.Errorf("UDP payload of %d octets; %d to %d", cfg.UDPPayload, dnswire.UDPMin, UDPPayloadMax)
	case cfg.RequireCookie && len(cfg.CookieSecrets) == 0:
		return cfg, errors.New("cookies are required, but there is no secret to make them with")
	case cfg.TCP.Idle < 0 || cfg.TCP.Read < 0 || cfg.TCP.Write < 0 || cfg.TCP.Connections < 0 || cfg.TCP.PerSource < 0:
		return cfg, fmt.Errorf("a negative TCP limit: %+v", cfg.TCP)
	}
	if cfg.cookies == nil {
		cfg.cookies = &cookies{now: time.Now}
	}
	if err := cfg.cookies.set(cfg.CookieSecrets); err != nil {
		return cfg, err
	}
	cfg.Listen = slices.Clone(cfg.Listen)
	for i, a := range cfg.Listen {
		if !a.Addr().IsValid() {
			return cfg, fmt.Errorf("listen address %d is not an address", i+1)
		}
		a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		cfg.Listen[i] = a
		for _, b := range cfg.Listen[:i] {
			if a == b && a.Port() != 0 {
				return cfg, fmt.Errorf("listen address %s stands twice", a)
			}
		}
	}
	return cfg, nil
}

func (t TCPConfig) withDefaults() TCPConfig {
	orDuration := func(d *time.Duration, byDefault time.Duration) {
		if *d == 0 {
			*d = byDefault
		}
	}
	orInt := func(n *int, byDefault int) {
		if *n == 0 {
			*n = byDefault
		}
	}
	orDuration(&t.Idle, TCPIdle)
	orDuration(&t.Read, TCPRead)
	orDuration(&t.Write, TCPWrite)
	orInt(&t.Connections, TCPConnections)
	orInt(&t.PerSource, TCPPerSource)
	return t
}
