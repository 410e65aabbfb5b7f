package server

import (
	"net"
	"net/netip"
	"time"
)

// shedShare is the share of the connections, in eighths, from which on we are short of them: clients are asked to close
// theirs, and get less time to be silent, before any has to be closed to make room.
const shedShare = 7

// admit enters a connection; at a limit the one that was silent longest, of its source or of all, is closed for it.
func (t *tcpServer) admit(c net.Conn) *tcpConn {
	client := addrOf(c.RemoteAddr()).Addr().Unmap()
	conn := &tcpConn{Conn: c, client: client, source: sourceOf(client)}
	conn.active.Store(int64(time.Since(t.epoch)))
	victim, ok := t.enter(conn)
	if victim != nil {
		t.evicted.Add(1)
		victim.abort() // its goroutine's next read or write fails
	}
	if !ok {
		_ = c.Close()
		return nil
	}
	return conn
}

// enter lists a connection and takes another out where there is no room for both. It is false during a shutdown.
func (t *tcpServer) enter(c *tcpConn) (victim *tcpConn, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closing.Load() {
		return nil, false
	}
	if of := t.sources[c.source]; of != nil && len(of.conns) >= t.limits.PerSource {
		victim = of.longest()
	} else if len(t.all.conns) >= t.limits.Connections {
		victim = t.all.longest()
	}
	if victim != nil {
		t.forget(victim)
	}
	of := t.sources[c.source]
	if of == nil {
		of = &silence{by: bySource}
		t.sources[c.source] = of
	}
	of.add(c)
	t.all.add(c)
	t.shed()
	return victim, true
}

// evictAny closes the connection that was silent longest, if there is any.
func (t *tcpServer) evictAny() bool {
	t.mu.Lock()
	victim := t.all.longest()
	if victim != nil {
		t.forget(victim)
	}
	t.mu.Unlock()
	if victim == nil {
		return false
	}
	t.evicted.Add(1)
	victim.abort()
	return true
}

// leave closes a connection and takes it out, unless it was evicted.
func (t *tcpServer) leave(c *tcpConn) {
	_ = c.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(c)
}

// forget takes a connection out; twice is once. mu is held.
func (t *tcpServer) forget(c *tcpConn) {
	if !c.listed.in {
		return
	}
	t.all.remove(c)
	of := t.sources[c.source]
	if of.remove(c); len(of.conns) == 0 {
		delete(t.sources, c.source)
	}
	c.listed.in = false
	t.shed()
}

// shed notes whether we are short of connections. mu is held.
func (t *tcpServer) shed() {
	// Written when it changes alone: every query reads it.
	if short := len(t.all.conns) > t.limits.Connections*shedShare/8; short != t.shedding.Load() {
		t.shedding.Store(short)
	}
}

// abort closes a connection at once and drops what is still to be sent, instead of leaving it with the kernel until a
// client that is gone, or does not read, has taken it. It is the socket itself that is closed: with encryption around
// it, the connection would first say goodbye, and wait for that.
func (c *tcpConn) abort() {
	conn := c.Conn
	if around, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = around.NetConn()
	}
	if s, ok := conn.(interface{ SetLinger(seconds int) error }); ok {
		_ = s.SetLinger(0)
	}
	_ = conn.Close()
}

// sourceOf is what counts as one source: an IPv4 address, or the /64 that an IPv6 host has to itself.
func sourceOf(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(a.WithZone(""), bits).Masked()
}

// The lists that a connection is in.
const (
	byAge    = iota // of all connections
	bySource        // of those of its source
	lists
)

// listed is where a connection stands in its lists.
type listed struct {
	in    bool
	place [lists]int
	since [lists]int64 // tcpConn.active when the list last looked
}

// silence finds the connection that was silent longest. Queries only store the time in their connection, without a lock
// and without moving anything here. So this is a binary heap by the times that it last saw: never later than the true
// ones, as those only grow. If the connection on top was not active since, it is the one: no other can be older. If it
// was, it sinks to its true place, and the next one is looked at. A query makes its connection sink at most once, so a
// flood of connections costs each of them a few steps, whatever the others do.
type silence struct {
	by    int // which of the lists it is
	conns []*tcpConn
}

// longest is the connection that was silent longest; nil where there is none. It looks at each once at most: those that
// are active while it searches could keep it busy.
func (s *silence) longest() *tcpConn {
	for range s.conns {
		top := s.conns[0]
		active := top.active.Load()
		if active == top.listed.since[s.by] {
			break
		}
		top.listed.since[s.by] = active
		s.sink(0)
	}
	if len(s.conns) == 0 {
		return nil
	}
	return s.conns[0]
}

// add lists a connection.
func (s *silence) add(c *tcpConn) {
	c.listed.in = true
	c.listed.since[s.by] = c.active.Load()
	s.conns = append(s.conns, nil)
	s.set(len(s.conns)-1, c)
	s.rise(len(s.conns) - 1)
}

// remove takes a listed connection out.
func (s *silence) remove(c *tcpConn) {
	i, last := c.listed.place[s.by], len(s.conns)-1
	s.set(i, s.conns[last])
	s.conns[last] = nil
	s.conns = s.conns[:last]
	if i < last {
		s.sink(i)
		s.rise(i)
	}
}

func (s *silence) set(i int, c *tcpConn) {
	s.conns[i] = c
	c.listed.place[s.by] = i
}

func (s *silence) less(i, j int) bool {
	return s.conns[i].listed.since[s.by] < s.conns[j].listed.since[s.by]
}

func (s *silence) swap(i, j int) {
	a, b := s.conns[i], s.conns[j]
	s.set(i, b)
	s.set(j, a)
}

func (s *silence) rise(i int) {
	for parent := (i - 1) / 2; i > 0 && s.less(i, parent); i, parent = parent, (parent-1)/2 {
		s.swap(i, parent)
	}
}

func (s *silence) sink(i int) {
	for child := 2*i + 1; child < len(s.conns); child = 2*i + 1 {
		if child+1 < len(s.conns) && s.less(child+1, child) {
			child++
		}
		if !s.less(child, i) {
			return
		}
		s.swap(i, child)
		i = child
	}
}
