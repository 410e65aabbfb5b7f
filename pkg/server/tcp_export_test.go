package server

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// TCPInFlight, TCPFirst and TCPBatch are limits that tests go up to.
const (
	TCPInFlight = tcpInFlight
	TCPFirst    = tcpFirst
	TCPBatch    = tcpBatch
)

// Message is one message of a stream; Cut says that it is the header of a longer one.
type Message struct {
	Octets string
	Cut    bool
}

// Messages reads a stream to its end, and gives its whole messages.
func Messages(r io.Reader) []Message {
	buffers := pool[tcpBuffer]{make: func() *tcpBuffer { return new(tcpBuffer) }}
	var in inbox
	var all []Message
	for in.fill(r, &buffers) == nil {
		for in.whole() {
			m, cut := in.take()
			all = append(all, Message{string(m), cut})
		}
		if in.empty() {
			in.free(&buffers)
		}
	}
	return all
}

// Conns is the TCP side of a server that is not run: tests bring the connections.
type Conns struct {
	t     *tcpServer
	group sync.WaitGroup
	conns []*tcpConn
}

// ConnsOf gives the TCP side of a server.
func ConnsOf(s *Server) *Conns { return &Conns{t: s.tcp} }

// Serve serves a connection until it ends. It is false where it is not let in.
func (s *Conns) Serve(c net.Conn) bool {
	conn := s.t.admit(c)
	if conn != nil {
		s.group.Go(func() { s.t.serve(conn) })
	}
	return conn != nil
}

// Accept serves what a listener gives, until it is closed.
func (s *Conns) Accept(ctx context.Context, l net.Listener) error {
	return s.t.accept(ctx, l, &s.group)
}

// Shutdown ends all, and waits for it.
func (s *Conns) Shutdown() {
	s.t.shutdown()
	s.group.Wait()
}

// Admit enters a connection that is not served, and gives its number.
func (s *Conns) Admit(c net.Conn) int {
	s.conns = append(s.conns, s.t.admit(c))
	return len(s.conns) - 1
}

// Touch makes a connection one that was answered at a time since the server was made.
func (s *Conns) Touch(number int, at time.Duration) { s.conns[number].active.Store(int64(at)) }

// Leave ends a connection; twice is once.
func (s *Conns) Leave(number int) { s.t.leave(s.conns[number]) }

// Sources is how many sources have a connection.
func (s *Conns) Sources() int {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	return len(s.t.sources)
}
