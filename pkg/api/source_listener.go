package api

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// sourceListener is a listener at which one source has no more than so many connections, so that one host cannot hold all there are. What
// comes beyond is closed at once. It waits for nobody, as a bound on all must: who is turned away here has enough already.
type sourceListener struct {
	net.Listener

	// Immutable.
	most    int
	exempt  func(netip.Addr) bool // who may have more, as many stand behind it
	refused *atomic.Uint64        // counts what was closed

	mu   sync.Mutex // guards the following
	open map[netip.Prefix]int
}

// limitSources bounds the connections of each source, and counts those that it turns away.
func limitSources(l net.Listener, most int, exempt func(netip.Addr) bool, refused *atomic.Uint64) *sourceListener {
	return &sourceListener{Listener: l, most: most, exempt: exempt, refused: refused, open: map[netip.Prefix]int{}}
}

// Accept gives the next connection of a source that may have another.
func (l *sourceListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
		if !ok {
			return conn, nil // of no network, such as a pipe
		}
		client := tcp.AddrPort().Addr().Unmap().WithZone("")
		if l.exempt(client) {
			return conn, nil
		}
		source := sourceOf(client)
		if l.enter(source) {
			return &sourceConn{Conn: conn, leave: sync.OnceFunc(func() { l.leave(source) })}, nil
		}
		l.refused.Add(1)
		_ = conn.Close()
	}
}

// enter counts a connection, unless its source has as many as it may have.
func (l *sourceListener) enter(source netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[source] >= l.most {
		return false
	}
	l.open[source]++
	return true
}

// leave takes one out.
func (l *sourceListener) leave(source netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[source]--; l.open[source] == 0 {
		delete(l.open, source)
	}
}

// sourceConn is a connection that counts until it is closed.
type sourceConn struct {
	net.Conn

	leave func() // twice is once
}

// Close closes it.
func (c *sourceConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// sourceOf is what counts as one source: an IPv4 address, or the /56 of IPv6 that many providers give to a household, as for its samples.
func sourceOf(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 56
	}
	return netip.PrefixFrom(a, bits).Masked()
}
