package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// errPortTaken is a port of which UDP is free and TCP is not, or the other way round.
var errPortTaken = errors.New("the port is taken: another process serves there; stop it, or listen elsewhere")

// listen binds TCP and UDP of one address. A port that the system chooses for TCP may be taken for UDP, so it tries
// several.
func listen(cfg *Config, addr netip.AddrPort) (*endpoint, error) {
	for try := 1; ; try++ {
		e, err := listenOnce(cfg, addr)
		if err == nil || addr.Port() != 0 || !errors.Is(err, errPortTaken) || try == portTries {
			return e, err
		}
	}
}

func listenOnce(cfg *Config, addr netip.AddrPort) (*endpoint, error) {
	family := "4"
	if addr.Addr().Is6() {
		family = "6"
	}
	ctx := context.Background() // binding a literal address does not wait
	lc := net.ListenConfig{Control: onSocket(func(fd int) error { return tcpOptions(fd, addr.Addr()) }), KeepAlive: -1}
	l, err := lc.Listen(ctx, "tcp"+family, addr.String())
	if err != nil {
		return nil, fmt.Errorf("TCP: %w", taken(err))
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("TCP: a listener of type %T", l), l.Close())
	}
	e := &endpoint{addr: netip.AddrPortFrom(addr.Addr(), addrOf(tcp.Addr()).Port()), tcp: tcp}
	if err := e.listenUDP(ctx, cfg, family); err != nil {
		return nil, errors.Join(fmt.Errorf("UDP: %w", taken(err)), e.close())
	}
	return e, nil
}

// addrOf is the address of a TCP socket's end.
func addrOf(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort()
	}
	return netip.AddrPort{}
}

// listenUDP binds one socket a worker where they can share the port, else one. The first is bound as one that shares
// with nobody, so that a port on which another server was forgotten is refused, not shared with it: only then is
// sharing allowed, and the others join.
func (e *endpoint) listenUDP(ctx context.Context, cfg *Config, family string) error {
	sockets := cfg.Workers
	if cfg.portable || !sharedPorts {
		sockets = 1
	}
	for i := range sockets {
		lc := net.ListenConfig{Control: onSocket(func(fd int) error {
			if i > 0 {
				if err := sharePort(fd); err != nil {
					return err
				}
			}
			return udpOptions(fd, e.addr.Addr())
		})}
		c, err := lc.ListenPacket(ctx, "udp"+family, e.addr.String())
		if err != nil {
			return err
		}
		conn, ok := c.(*net.UDPConn)
		if !ok {
			return errors.Join(fmt.Errorf("a socket of type %T", c), c.Close())
		}
		socket, err := ownUDP(cfg, conn)
		if err != nil {
			return err
		}
		e.udp = append(e.udp, socket)
		if i == 0 && sockets > 1 {
			raw, err := socket.SyscallConn()
			if err != nil {
				return err
			}
			if err := onSocket(sharePort)("", "", raw); err != nil {
				return err
			}
		}
	}
	return nil
}

// onSocket makes f a net.ListenConfig's Control.
func onSocket(f func(fd int) error) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var err error
		if e := c.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
			return e
		}
		return err
	}
}

// taken says what a person can do about a port in use.
func taken(err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w (%w)", errPortTaken, err)
	}
	return err
}
