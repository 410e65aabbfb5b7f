package health

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Allowed reports whether a probe may be sent to addr: nil, or the reason why
// not. It is what [Config].Allow is made of. Unspecified and multicast
// addresses are no targets (an unspecified one would reach this very host);
// link-local ones, and the metadata services of clouds, must be in allow;
// loopback ones too, unless the server itself listens on loopback alone, as on
// a developer's machine. An IPv6 address that stands for an IPv4 one (mapped,
// or NAT64) is judged as that is, and allowed by the prefixes of both.
func Allowed(addr netip.Addr, listenOnLoopback bool, allow []netip.Prefix) error {
	addr = addr.WithZone("")
	v4 := embedded(addr)
	switch {
	case !v4.IsValid() || v4.IsUnspecified():
		return fmt.Errorf("address %v is no address of a host", addr)
	case v4.IsMulticast() || v4 == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("address %v stands for many hosts", addr)
	case v4.IsLoopback() && listenOnLoopback:
		return nil
	}
	var what string
	switch {
	case v4.IsLoopback():
		what = "on loopback"
	case v4.IsLinkLocalUnicast():
		what = "link-local"
	case slices.Contains(metadata(), v4):
		what = "the metadata service of a cloud"
	default:
		return nil
	}
	for _, prefix := range allow {
		if prefix.Contains(addr) || prefix.Contains(v4) {
			return nil
		}
	}
	return fmt.Errorf("address %v is %s, and not in health.allow", addr, what)
}

// metadata are the addresses at which clouds tell a host its secrets, apart
// from the link-local one that most share.
func metadata() []netip.Addr {
	return []netip.Addr{
		netip.AddrFrom4([4]byte{100, 100, 100, 200}),                                       // Alibaba
		netip.AddrFrom4([4]byte{168, 63, 129, 16}),                                         // Azure
		netip.AddrFrom4([4]byte{192, 0, 0, 192}),                                           // Oracle
		netip.AddrFrom16([16]byte{0: 0xFD, 1: 0x00, 2: 0x0E, 3: 0xC2, 14: 0x02, 15: 0x54}), // AWS
		netip.AddrFrom16([16]byte{0: 0xFD, 1: 0x20, 2: 0x00, 3: 0xCE, 14: 0x02, 15: 0x54}), // Google
	}
}

// embedded gives the IPv4 address that an IPv6 address stands for, else the
// address itself: mapped ones, and those of NAT64's well-known prefix
// 64:ff9b::/96 (RFC 6052).
func embedded(addr netip.Addr) netip.Addr {
	nat64 := netip.PrefixFrom(netip.AddrFrom16([16]byte{1: 0x64, 2: 0xFF, 3: 0x9B}), 96)
	if nat64.Contains(addr) {
		b := addr.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return addr.Unmap()
}

// systemDial dials over the system's sockets. allow is asked about each
// address before anything is sent to it, so a host name that resolves to a
// forbidden address is refused as that address is. Names are resolved by Go's
// own resolver and the system's configuration for it; a name server that own
// says to be this very server is passed over: it would answer by the verdicts
// that the probes are to make. nil: everything is allowed, nothing is own.
func systemDial(allow func(netip.Addr) error, own func(netip.AddrPort) bool) DialFunc {
	dialer := &net.Dialer{
		KeepAlive: -1, // no connection lives long enough for one
		Resolver:  &net.Resolver{PreferGo: true, Dial: resolverDial(own)},
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			if allow == nil {
				return nil
			}
			// A zone is no part of what is allowed, and ParseAddrPort takes it.
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return unwantedError("refused: " + strings.TrimSpace(err.Error()))
			}
			if err := allow(to.Addr()); err != nil {
				return unwantedError("refused: " + err.Error())
			}
			return nil
		},
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		// Most targets are addresses, and need none of what the dialer does to
		// find and race several.
		if to, err := netip.ParseAddrPort(address); err == nil && network == "tcp" {
			conn, err := dialer.DialTCP(ctx, network, netip.AddrPort{}, to)
			if err != nil {
				return nil, err
			}
			return conn, nil
		}
		return dialer.DialContext(ctx, network, address)
	}
}

// systemReach reaches addresses that allow has nothing against.
func systemReach(allow func(netip.Addr) error) reachFunc {
	return func(ctx context.Context, to netip.AddrPort, deadline time.Time) error {
		if allow != nil {
			if err := allow(to.Addr()); err != nil {
				return unwantedError("refused: " + err.Error())
			}
		}
		return reachTCP(ctx, to, deadline)
	}
}

// resolverDial connects to name servers, but not to this server itself.
func resolverDial(own func(netip.AddrPort) bool) DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if to, err := netip.ParseAddrPort(address); err == nil && own != nil && own(to) {
			return nil, unwantedError("name server " + address + " is this server itself, which probes may not ask")
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}

// OwnListeners gives a func that reports whether an address and port reach a
// server that listens there: the address itself or, where one listens on all
// addresses, any that this host has when it is asked.
func OwnListeners(listen []netip.AddrPort) func(netip.AddrPort) bool {
	listen = slices.Clone(listen)
	return func(to netip.AddrPort) bool {
		addr := to.Addr().Unmap().WithZone("")
		for _, at := range listen {
			if at.Port() != to.Port() {
				continue
			}
			if own := at.Addr().Unmap().WithZone(""); own == addr || (own.IsUnspecified() && ofThisHost(addr)) ||
				(addr.IsUnspecified() && ofThisHost(own)) {
				return true
			}
		}
		return false
	}
}

// ofThisHost reports whether addr is one of this host's. If the system does
// not say, it may be: asking nobody is better than asking oneself.
func ofThisHost(addr netip.Addr) bool {
	if addr.IsUnspecified() || addr.IsLoopback() {
		return true
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	return slices.ContainsFunc(all, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap() == addr
	})
}
