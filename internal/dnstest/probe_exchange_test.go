package dnstest_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"geodns/internal/dnstest"
)

const (
	// answerWait is how long to wait for answers that are sure to come: long on a busy machine.
	answerWait = 3 * time.Second
	// straggle is how long to wait for a probe's answer when the query behind it has been answered already: a server may
	// answer another kind of message by another way. Ours does not: it has one worker here, and answers in order.
	straggle, straggleOurs = 20 * time.Millisecond, time.Millisecond
	// closeWait is how long a connection may stay open that the server should close.
	closeWait = 4 * time.Second
	// probeID is the id of the probe; copies of it count up. goodID is that of the query behind it.
	probeID, goodID = 0x1357, 0xF00D
)

// target is a server that probes are sent to.
type target struct {
	name    string
	version string
	addr    string
	client  string // the address that it is asked from
	ours    bool
	lacks   []string // of what probes need
	cookie  []byte   // its server cookie, once asked for
	pace    pace
}

// pace holds probes back from a server that answers only so many errors a second, of which it would be silent about the rest.
type pace struct {
	most   int // errors a second; 0: any number
	second int64
	errors int
}

// wait waits for the next second where this one has had its errors.
func (p *pace) wait() {
	if p.most == 0 {
		return
	}
	now := time.Now()
	if now.Unix() == p.second && p.errors >= p.most {
		timer := time.NewTimer(time.Unix(now.Unix()+1, 0).Sub(now))
		<-timer.C
		now = time.Now()
	}
	if now.Unix() != p.second {
		p.second, p.errors = now.Unix(), 0
	}
}

// count counts what may have been an error.
func (p *pace) count(x *exchange) {
	if len(x.answers) == 0 || x.answers[0].flags&0xF != 0 {
		p.errors++
	}
}

// exchange is one probe, and all that came back.
type exchange struct {
	target    *target
	transport string
	text      *queryText
	query     []byte
	env       *environment
	answers   []*message
	alive     bool // the good query behind it was answered
	closed    bool // the server closed the connection
	whole     bool // TCP: the first answer did not begin with its length alone
}

// String tells what came back.
func (x *exchange) String() string {
	var b strings.Builder
	for _, m := range x.answers {
		fmt.Fprintf(&b, "got %s\n%s\n", hexText(m.raw), m)
	}
	if len(x.answers) == 0 {
		b.WriteString("got nothing\n")
	}
	fmt.Fprintf(&b, "the query behind it answered: %t; closed: %t", x.alive, x.closed)
	return b.String()
}

// clientCookie is the client cookie of all probes.
func clientCookie() []byte { return []byte("\x24\x64\xc4\xab\xcf\x10\xc9\x57") }

// environment is what words of probes stand for with this server.
func (s *target) environment(transport string) *environment {
	return &environment{
		id: probeID, client: clientCookie(),
		server: func() ([]byte, error) { return s.serverCookie(transport) },
		aged: func(seconds int) []byte {
			return serverCookie(clientCookie(), time.Now().Unix()-int64(seconds), s.client, dnstest.CookieSecret)
		},
	}
}

// serverCookie asks for a server cookie, once.
func (s *target) serverCookie(transport string) ([]byte, error) {
	if s.cookie != nil {
		return s.cookie, nil
	}
	q := queryText{questions: []string{"www.example.com. A"}}
	if err := errors.Join(q.edns(""), q.option("COOKIE client")); err != nil {
		return nil, err
	}
	x, err := s.send(&q, &environment{id: probeID, client: clientCookie()}, transport)
	if err != nil {
		return nil, err
	}
	for _, m := range x.answers {
		if o, ok := m.option(dns.EDNS0COOKIE); ok && len(o) > 8 {
			s.cookie = o[8:]
			return s.cookie, nil
		}
	}
	return nil, fmt.Errorf("no server cookie came for a client cookie\n%s", x)
}

// exchange sends a probe.
func (s *target) exchange(p *probe, transport string) (*exchange, error) {
	return s.send(&p.query, s.environment(transport), transport)
}

// send sends a query, and behind it one that is surely answered.
func (s *target) send(q *queryText, env *environment, transport string) (*exchange, error) {
	msg, err := q.build(env)
	if err != nil {
		return nil, err
	}
	x := &exchange{target: s, transport: transport, text: q, query: msg, env: env}
	s.pace.wait()
	defer s.pace.count(x)
	switch {
	case transport == "udp":
		err = x.udp(msg)
	case q.framing.connections > 0:
		err = x.connections(msg)
	default:
		err = x.tcp(msg)
	}
	return x, err
}

// goodQuery is answered by every server.
func goodQuery(id uint16) []byte {
	q := queryText{questions: []string{"www.example.com. A"}}
	msg, _ := q.build(&environment{id: id}) // it has no words that could be wrong
	return msg
}

// udp sends over UDP. If the answer to the good query comes and none to the probe, a server has nothing to say to that.
func (x *exchange) udp(msg []byte) error {
	conn, err := net.Dial("udp", x.target.addr) //nolint:noctx // closed below
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerWait)); err != nil {
		return err
	}
	for _, m := range [][]byte{msg, goodQuery(goodID)} {
		if _, err := conn.Write(m); err != nil {
			return fmt.Errorf("sending: %w", err)
		}
	}
	return x.collect(conn, func(buf []byte) ([]byte, error) {
		n, err := conn.Read(buf)
		return buf[:n], err
	})
}

// collect takes answers until there are as many as wanted, or none comes any more.
func (x *exchange) collect(conn net.Conn, receive func([]byte) ([]byte, error)) error {
	buf := make([]byte, 1<<16)
	for !x.alive || len(x.answers) < max(x.text.framing.copies, 1) {
		b, err := receive(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			x.closed = true // or reset, which is the same to us
			return nil
		case len(b) >= 2 && binary.BigEndian.Uint16(b) == goodID:
			x.alive = true
			wait := straggle
			if x.target.ours {
				wait = straggleOurs
			}
			if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
				return err
			}
		default:
			x.answers = append(x.answers, readMessage(b))
		}
	}
	return nil
}

// tcp sends over one TCP connection.
func (x *exchange) tcp(msg []byte) error {
	conn, err := net.DialTimeout("tcp", x.target.addr, answerWait)
	if err != nil {
		return err
	}
	defer conn.Close()
	f := &x.text.framing
	wait := answerWait
	if f.hang > 0 {
		wait = closeWait
	}
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	stream, more := f.stream(msg)
	if more {
		stream = append(stream, frame(goodQuery(goodID))...)
	}
	if err := f.write(conn, stream); err != nil {
		x.closed = true // the server did not wait for it all
	}
	if f.close > 0 {
		if tcp, ok := conn.(*net.TCPConn); ok {
			if err := tcp.CloseWrite(); err != nil {
				return err
			}
		}
	}
	return x.collect(conn, x.receiver(conn))
}

// receiver reads messages from a stream, and notes whether the first came in one piece.
func (x *exchange) receiver(conn net.Conn) func([]byte) ([]byte, error) {
	var pending []byte
	first := true
	return func(buf []byte) ([]byte, error) {
		for {
			if len(pending) >= 2 {
				if n := 2 + int(binary.BigEndian.Uint16(pending)); len(pending) >= n {
					m := pending[2:n]
					pending = pending[n:]
					return m, nil
				}
			}
			n, err := conn.Read(buf)
			if err != nil {
				return nil, err
			}
			pending = append(slices.Clip(pending), buf[:n]...)
			if first {
				first = false
				x.whole = n > 2 // how much more comes with the first read is up to the kernel
			}
		}
	}
}

// frame puts the length before a message (RFC 1035 section 4.2.2).
func frame(msg []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
}

// stream is the octets that go over the connection, and whether another query may go behind them.
func (f *framing) stream(msg []byte) (stream []byte, more bool) {
	if f.zero {
		stream = []byte{0, 0}
	}
	for i := range max(f.copies, 1) {
		one := frame(msg)
		if f.copies > 0 && len(one) >= 4 {
			binary.BigEndian.PutUint16(one[2:], probeID+uint16(i))
		}
		if f.lengthSet {
			binary.BigEndian.PutUint16(one, uint16(f.length))
		}
		stream = append(stream, one...)
	}
	for _, n := range []int{f.close, f.hang} {
		if n > 0 && n < len(stream) {
			stream = stream[:n]
		}
	}
	return stream, f.close == 0 && f.hang == 0
}

// write writes a stream: at once, or in the pieces that the probe says.
func (f *framing) write(w io.Writer, stream []byte) error {
	piece := len(stream)
	switch {
	case f.octets:
		piece = 1
	case f.halves:
		if _, err := w.Write(stream[:2]); err != nil {
			return err
		}
		stream = stream[2:]
	}
	for len(stream) > 0 {
		n, err := w.Write(stream[:min(piece, len(stream))])
		if err != nil {
			return err
		}
		stream = stream[n:]
	}
	return nil
}

// connections opens many connections before any of them sends, and then asks on each of them, the newest first.
func (x *exchange) connections(msg []byte) error {
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close() // all is said
		}
	}()
	deadline := time.Now().Add(2 * closeWait)
	for range x.text.framing.connections {
		c, err := net.DialTimeout("tcp", x.target.addr, closeWait) // a full backlog drops a SYN, and the next comes a second later
		if err != nil {
			return err
		}
		conns = append(conns, c)
		if err := c.SetDeadline(deadline); err != nil {
			return err
		}
	}
	buf := make([]byte, 1<<16)
	for _, c := range slices.Backward(conns) {
		if _, err := c.Write(frame(msg)); err != nil {
			continue // the server closed it
		}
		if m, err := x.receiver(c)(buf); err == nil {
			x.answers = append(x.answers, readMessage(m))
		}
	}
	x.alive = len(x.answers) > 0
	return nil
}

// reflect sends an answer back to the server, as another server would that takes it for a query.
func (x *exchange) reflect(m *message) (answers int, err error) {
	back := exchange{target: x.target, transport: x.transport, text: &queryText{}}
	msg := append([]byte(nil), m.raw...)
	if x.transport == "udp" {
		err = back.udp(msg)
	} else {
		err = back.tcp(msg)
	}
	return len(back.answers), err
}
