package server

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"geodns/pkg/dnswire"
)

// tcpServer holds the TCP connections of all addresses (RFC 7766). A connection is a goroutine that reads what is there,
// answers the whole queries in it with one write, and only then reads on: what a client asks meanwhile waits in the
// kernel, and one that does not read its answers is not read from either.
//
// Memory: a silent connection holds its goroutine and the few octets of its inbox. One that sends more than that, or has
// an answer to write, holds a tcpBuffer for it meanwhile; only answers that do not fit that hold a whole tcpScratch.
type tcpServer struct {
	// Immutable after New.
	limits  TCPConfig
	view    *atomic.Pointer[view]
	blocks  []numberedBlock
	epoch   time.Time // what tcpConn.active counts from
	scratch pool[tcpScratch]
	buffers pool[tcpBuffer]

	mu sync.Mutex // guards the following; taken when a connection comes or goes, never for a query
	// all is every connection, sources those of each source.
	all     silence
	sources map[netip.Prefix]*silence

	// Written under mu, read by any.
	closing  atomic.Bool
	shedding atomic.Bool // the process is near its limit of connections

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
	active atomic.Int64 // nanoseconds since the epoch: when it came, then when it was last answered
	listed listed       // guarded by tcpServer.mu
	inbox  inbox        // owned by the connection's goroutine
}

// tcpInFlight is how many queries of one connection are answered before their answers are written.
const tcpInFlight = 32

// tcpBatch is how many octets of answers may wait for the next one: little enough that they fit a tcpBuffer with it.
const tcpBatch = tcpReadBuffer * 3 / 4

// tcpBuffer is what one connection reads into, or writes from.
type tcpBuffer [tcpReadBuffer]byte

// tcpScratch is what answering needs, passed from connection to connection.
type tcpScratch struct {
	responder *responder
	batch     [1]packet
	out       [tcpBatch + 2 + dnswire.MessageMax]byte // each answer has room for the longest message
}

// pool is a sync.Pool of one type.
type pool[T any] struct {
	free sync.Pool
	make func() *T
}

func (p *pool[T]) get() *T {
	if x, ok := p.free.Get().(*T); ok {
		return x
	}
	return p.make()
}

func (p *pool[T]) put(x *T) { p.free.Put(x) }

func newTCPServer(cfg *Config, v *atomic.Pointer[view]) *tcpServer {
	t := &tcpServer{limits: cfg.TCP, view: v, epoch: time.Now(), all: silence{by: byAge}, sources: map[netip.Prefix]*silence{}}
	t.buffers.make = func() *tcpBuffer { return new(tcpBuffer) }
	var made atomic.Uint64
	t.scratch.make = func() *tcpScratch {
		b := t.blocks[made.Add(1)%uint64(len(t.blocks))]
		return &tcpScratch{responder: newResponder(cfg, b.block, b.number, 1)}
	}
	return t
}

const (
	// acceptPause is how long accept waits when the system is short of something, so that it does not spin meanwhile.
	acceptPause = 50 * time.Millisecond
	// acceptRetry is how long it waits when it has given back what the system is short of.
	acceptRetry = time.Millisecond
)

// accept takes connections until the listener is closed.
func (t *tcpServer) accept(ctx context.Context, l net.Listener, group *sync.WaitGroup) error {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			t.acceptErrors.Add(1)
			pause := time.NewTimer(t.relieve(err))
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

// relieve makes room after an accept failed, and says how long to wait with the next. With no descriptor left, whoever
// has the connections would keep everyone else out for as long as they like: it is a limit like ours.
func (t *tcpServer) relieve(err error) time.Duration {
	if (errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)) && t.evictAny() {
		return acceptRetry
	}
	return acceptPause
}

// stats is the counters of connections.
func (t *tcpServer) stats() TCPStats {
	t.mu.Lock()
	open := len(t.all.conns)
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
	defer t.leave(c)
	defer c.inbox.free(&t.buffers)
	for wait := t.limits.Read; ; wait = t.idle() {
		err := t.receive(c, wait)
		if err == nil {
			err = t.answer(c)
		}
		switch {
		case errors.Is(err, errZeroLength) || t.closing.Load():
			t.farewell(c)
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			t.timedOut.Add(1)
			return
		case err != nil:
			return
		}
	}
}

// idle is how long a connection may be silent after its answers.
func (t *tcpServer) idle() time.Duration {
	if t.shedding.Load() {
		return min(t.limits.Idle, t.limits.Read)
	}
	return t.limits.Idle
}

// keepalive is what clients are told of it (RFC 7828 section 3.1), in 100 ms; 0, where we are short of connections, asks
// them to close (section 3.3.2).
func (t *tcpServer) keepalive() uint16 {
	if t.shedding.Load() {
		return 0
	}
	return uint16(min(t.limits.Idle/(100*time.Millisecond), 1<<16-1))
}

// receive reads until a whole message is there, waiting for its first octet no longer than wait.
func (t *tcpServer) receive(c *tcpConn, wait time.Duration) error {
	in := &c.inbox
	if in.empty() {
		in.free(&t.buffers)
		if err := t.await(c, wait); err != nil {
			return err
		}
		if err := in.fill(c, &t.buffers); err != nil {
			return err
		}
	}
	if in.whole() {
		return nil
	}
	// One deadline for all that is missing, however it trickles in.
	if err := t.await(c, t.limits.Read); err != nil {
		return err
	}
	for !in.whole() {
		if err := in.fill(c, &t.buffers); err != nil {
			return err
		}
	}
	return nil
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

// answer answers every whole message that is there.
func (t *tcpServer) answer(c *tcpConn) error {
	for c.inbox.whole() {
		s := t.scratch.get()
		out, err := s.compose(t.view.Load(), c, t.keepalive())
		if len(out) > 0 {
			c.active.Store(int64(time.Since(t.epoch)))
		}
		if werr := t.send(c, s, out); werr != nil {
			return werr
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// send writes answers and gives back what they were made in.
func (t *tcpServer) send(c *tcpConn, s *tcpScratch, out []byte) error {
	if len(out) > len(tcpBuffer{}) {
		defer t.scratch.put(s)
		return t.write(c, out)
	}
	// A client that does not read holds a buffer, not a scratch.
	b := t.buffers.get()
	defer t.buffers.put(b)
	n := copy(b[:], out)
	t.scratch.put(s)
	return t.write(c, b[:n])
}

// compose answers the messages at the front of c's inbox, tcpInFlight at most, and gives the answers as they go out: each
// behind its length, and all together in one write, so that no length travels alone (RFC 7766 section 8).
func (s *tcpScratch) compose(v *view, c *tcpConn, keepalive uint16) ([]byte, error) {
	source := clientOf(c.client)
	p := &s.batch[0]
	used := 0
	for n := 0; n < tcpInFlight && used <= tcpBatch && c.inbox.whole(); n++ {
		query, cut := c.inbox.take()
		if len(query) == 0 {
			return s.out[:used], errZeroLength
		}
		buf := s.out[used+2:][:dnswire.MessageMax]
		*p = packet{buf: buf, n: copy(buf, query), cut: cut, transport: TCP, keepalive: keepalive, source: source}
		s.responder.answer(v, s.batch[:])
		if p.n > 0 {
			binary.BigEndian.PutUint16(s.out[used:], uint16(p.n))
			used += 2 + p.n
		}
	}
	return s.out[:used], nil
}

// write writes answers, which the client must take off our hands before the limit. What it did not take is thrown away:
// the kernel would keep it, and try to send it, for minutes.
func (t *tcpServer) write(c *tcpConn, out []byte) error {
	if len(out) == 0 {
		return nil
	}
	if err := c.SetWriteDeadline(time.Now().Add(t.limits.Write)); err != nil {
		return err
	}
	_, err := c.Write(out)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.abort()
	}
	return err
}

// farewell ends a connection from our side without losing the answers that are under way: a socket that is closed with
// something unread in it is reset, and what it had still to send is lost.
func (t *tcpServer) farewell(c *tcpConn) {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	t.mu.Lock() // behind the deadline of a shutdown that is still going on
	err := c.SetReadDeadline(time.Now().Add(t.limits.Write))
	t.mu.Unlock()
	if err == nil {
		_, _ = io.Copy(io.Discard, c)
	}
}

// shutdown ends every connection: those that wait for a query at once, those that are answering after their answers.
func (t *tcpServer) shutdown() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closing.Store(true)
	for _, c := range t.all.conns {
		_ = c.SetReadDeadline(t.epoch) // long ago: a read fails at once
	}
}
