package server

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"geodns/pkg/dnswire"
)

// tcpServer holds the TCP connections of all addresses (RFC 7766). A connection is a goroutine that reads a query,
// answers it and writes the answer, one after another: pipelined queries wait in its buffer and in the kernel's. Memory
// is bounded by Connections times tcpReadBuffer, and a scratch for each that is answering just then.
type tcpServer struct {
	// Immutable after New.
	limits  TCPConfig
	view    *atomic.Pointer[view]
	blocks  []numberedBlock
	scratch sync.Pool // of *tcpScratch
	epoch   time.Time // what conn.active counts from

	mu sync.Mutex // guards the following; taken when a connection comes or goes, never for a query
	// conns is in no order: the longest silent is searched for, at the limit alone.
	conns   map[*tcpConn]struct{}
	sources map[netip.Prefix]int
	closing atomic.Bool // written under mu

	accepted, evicted, timedOut, acceptErrors atomic.Uint64
}

// numberedBlock is a block of counters and its number among the server's.
type numberedBlock struct {
	*block
	number int
}

// tcpConn is one connection.
type tcpConn struct {
	net.Conn
	source netip.Prefix
	client netip.Addr
	active atomic.Int64 // nanoseconds since the epoch at its last query
}

// tcpScratch is what one answer needs, passed from connection to connection.
type tcpScratch struct {
	responder *responder
	batch     [1]packet
	buf       [2 + dnswire.MessageMax]byte // the length, then the message
}

func newTCPServer(cfg *Config, v *atomic.Pointer[view]) *tcpServer {
	t := &tcpServer{
		limits: cfg.TCP, view: v, epoch: time.Now(), conns: map[*tcpConn]struct{}{}, sources: map[netip.Prefix]int{},
	}
	var made atomic.Uint64
	t.scratch.New = func() any {
		b := t.blocks[made.Add(1)%uint64(len(t.blocks))]
		return &tcpScratch{responder: newResponder(cfg, b.block, b.number, 1)}
	}
	return t
}

// acceptPause is how long accept waits when the system is short of something, so that it does not spin meanwhile.
const acceptPause = 50 * time.Millisecond

// accept takes connections until the listener is closed.
func (t *tcpServer) accept(ctx context.Context, l *net.TCPListener, group *sync.WaitGroup) error {
	for {
		c, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			t.acceptErrors.Add(1)
			pause := time.NewTimer(acceptPause)
			select {
			case <-pause.C:
			case <-ctx.Done():
				pause.Stop()
			}
			continue
		}
		t.accepted.Add(1)
		if conn := t.admit(c); conn != nil {
			group.Go(func() { t.serve(conn) })
		}
	}
}

// admit enters a connection; at a limit the one that was silent longest, of its source or of all, is closed for it.
func (t *tcpServer) admit(c *net.TCPConn) *tcpConn {
	client := addrOf(c.RemoteAddr()).Addr().Unmap()
	conn := &tcpConn{Conn: c, client: client, source: sourceOf(client)}
	conn.active.Store(int64(time.Since(t.epoch)))
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closing.Load() {
		_ = c.Close()
		return nil
	}
	if t.sources[conn.source] >= t.limits.PerSource {
		t.evict(conn.source)
	} else if len(t.conns) >= t.limits.Connections {
		t.evict(netip.Prefix{})
	}
	t.conns[conn] = struct{}{}
	t.sources[conn.source]++
	return conn
}

// sourceOf is what counts as one source: an IPv4 address, or the /64 that an IPv6 host has to itself.
func sourceOf(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(a.WithZone(""), bits).Masked()
}

// evict closes the connection of a source, or of any (the zero Prefix), that was silent longest. mu is held.
func (t *tcpServer) evict(source netip.Prefix) {
	var victim *tcpConn
	for c := range t.conns {
		if (!source.IsValid() || c.source == source) && (victim == nil || c.active.Load() < victim.active.Load()) {
			victim = c
		}
	}
	if victim != nil {
		t.evicted.Add(1)
		t.forget(victim)
		_ = victim.Close() // its goroutine's next read or write fails
	}
}

// forget takes a connection out; twice is once. mu is held.
func (t *tcpServer) forget(c *tcpConn) {
	if _, there := t.conns[c]; !there {
		return
	}
	delete(t.conns, c)
	if t.sources[c.source]--; t.sources[c.source] <= 0 {
		delete(t.sources, c.source)
	}
}

// shutdown ends every connection: those that wait for a query at once, those that are answering after their answer.
func (t *tcpServer) shutdown() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closing.Store(true)
	for c := range t.conns {
		_ = c.SetReadDeadline(t.epoch) // long ago: a read fails at once
	}
}

// stats is the counters of connections.
func (t *tcpServer) stats() TCPStats {
	t.mu.Lock()
	open := len(t.conns)
	t.mu.Unlock()
	return TCPStats{
		Open: uint64(open), Accepted: t.accepted.Load(), Evicted: t.evicted.Load(), TimedOut: t.timedOut.Load(),
		AcceptErrors: t.acceptErrors.Load(),
	}
}

// errZeroLength is a message of no octets, which says nothing and closes the connection.
var errZeroLength = errors.New("message of length 0")

// serve is the goroutine of one connection.
func (t *tcpServer) serve(c *tcpConn) {
	defer func() {
		_ = c.Close()
		t.mu.Lock()
		t.forget(c)
		t.mu.Unlock()
	}()
	r := bufio.NewReaderSize(c, tcpReadBuffer)
	for wait := t.limits.Read; ; wait = t.limits.Idle {
		if err := t.exchange(c, r, wait); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) && !t.closing.Load() {
				t.timedOut.Add(1)
			}
			return
		}
	}
}

// exchange reads one query, waiting for its first octet no longer than wait, and answers it. All of a message is read
// before anything is set aside for its answer, so that a slow sender holds no more than its buffer.
func (t *tcpServer) exchange(c *tcpConn, r *bufio.Reader, wait time.Duration) error {
	if r.Buffered() == 0 {
		if err := t.await(c, wait); err != nil {
			return err
		}
		if _, err := r.Peek(1); err != nil {
			return err
		}
	}
	if !buffered(r) {
		// One deadline for all that is missing, however it trickles in.
		if err := t.await(c, t.limits.Read); err != nil {
			return err
		}
	}
	prefix, err := r.Peek(2)
	if err != nil {
		return err
	}
	n := 2 + int(binary.BigEndian.Uint16(prefix))
	if n == 2 {
		return errZeroLength
	}
	if n > tcpReadBuffer {
		return t.exchangeLong(c, r, n)
	}
	message, err := r.Peek(n)
	if err != nil {
		return err
	}
	if err = t.answer(c, message[2:], false); err != nil {
		return err
	}
	_, err = r.Discard(n)
	return err
}

// exchangeLong reads a message of n octets that does not fit the buffer, and answers by its header.
func (t *tcpServer) exchangeLong(c *tcpConn, r *bufio.Reader, n int) error {
	var start [2 + dnswire.HeaderLen]byte
	head, err := r.Peek(len(start))
	if err != nil {
		return err
	}
	copy(start[:], head)
	if _, err := r.Discard(n); err != nil {
		return err
	}
	return t.answer(c, start[2:], true)
}

// buffered says whether a whole message is there already.
func buffered(r *bufio.Reader) bool {
	if r.Buffered() < 2 {
		return false
	}
	prefix, err := r.Peek(2)
	return err == nil && r.Buffered() >= 2+int(binary.BigEndian.Uint16(prefix))
}

// await sets how long reads may take from now on.
func (t *tcpServer) await(c *tcpConn, wait time.Duration) error {
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	if t.closing.Load() { // shutdown's deadline may just have been written over
		return net.ErrClosed
	}
	return nil
}

// keepalive is the idle time that clients are told (RFC 7828 section 3.1).
func (t *tcpServer) keepalive() uint16 {
	return uint16(min(t.limits.Idle/(100*time.Millisecond), 1<<16-1))
}

// answer answers one query and writes length and message at once (RFC 7766 section 8).
func (t *tcpServer) answer(c *tcpConn, query []byte, cut bool) error {
	c.active.Store(int64(time.Since(t.epoch)))
	s, ok := t.scratch.Get().(*tcpScratch)
	if !ok {
		return errors.New("the pool of scratch holds something else")
	}
	defer t.scratch.Put(s)
	p := &s.batch[0]
	*p = packet{buf: s.buf[2:], n: copy(s.buf[2:], query), cut: cut, transport: TCP, keepalive: t.keepalive(), source: clientOf(c.client)}
	s.responder.answer(t.view.Load(), s.batch[:])
	if p.n == 0 {
		return nil
	}
	binary.BigEndian.PutUint16(s.buf[:], uint16(p.n))
	if err := c.SetWriteDeadline(time.Now().Add(t.limits.Write)); err != nil {
		return err
	}
	_, err := c.Write(s.buf[:2+p.n])
	return err
}
