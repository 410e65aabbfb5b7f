package server_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/miekg/dns"

	"geodns/pkg/server"
)

// dialTCP opens a connection that the test closes.
func dialTCP(t testing.TB, s *server.Server) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// framed puts the length before a message.
func framed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)
}

// receive reads one message.
func receive(t testing.TB, c io.Reader) []byte {
	t.Helper()
	var prefix [2]byte
	if _, err := io.ReadFull(c, prefix[:]); err != nil {
		t.Fatalf("reading a length: %v", err)
	}
	message := make([]byte, binary.BigEndian.Uint16(prefix[:]))
	if _, err := io.ReadFull(c, message); err != nil {
		t.Fatalf("reading a message of %d octets: %v", len(message), err)
	}
	return message
}

func write(t testing.TB, c io.Writer, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

// closed waits until the server has closed the connection.
func closed(t testing.TB, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection lives: %d octets, %v", n, err)
	}
}

const staticText = "NOERROR aa qr\n= static.example.com. 300 IN A 192.0.2.1\n? static.example.com. A"

// TestPipelining writes many queries at once, good and bad, and reads their answers in order.
func TestPipelining(t *testing.T) {
	s := serve(t, server.Config{}, testWorld(t))
	c := dialTCP(t, s)
	good := ask(t, "static.example.com.", dns.TypeA)
	bad := bytes.Clone(good[:20])
	long := append(bytes.Clone(good), make([]byte, 60_000)...)
	var stream []byte
	var want []string
	for range 40 {
		stream = append(stream, framed(good)...)
		stream = append(stream, framed(bad)...)
		stream = append(stream, framed(good[:5])...) // no whole header: no answer
		want = append(want, staticText, "FORMERR qr")
	}
	stream = append(append(stream, framed(long)...), framed(good)...)
	want = append(want, "FORMERR qr", staticText)
	go func() { _, _ = c.Write(stream) }()
	for i, w := range want {
		if got := text(t, receive(t, c)); got != w {
			t.Fatalf("answer %d: %s, want %s", i, got, w)
		}
	}
}

// TestTCPMessageSizes goes up to and over what a connection buffers, and through every way to cut a stream.
func TestTCPMessageSizes(t *testing.T) {
	s := serve(t, server.Config{}, testWorld(t))
	c := dialTCP(t, s)
	good := ask(t, "static.example.com.", dns.TypeA)
	for size, want := range map[int]string{
		len(good): staticText, server.TCPReadBuffer - 2: staticText, server.TCPReadBuffer - 1: "FORMERR qr", 65535: "FORMERR qr",
	} {
		write(t, c, framed(append(bytes.Clone(good), make([]byte, size-len(good))...)))
		if got := text(t, receive(t, c)); got != want {
			t.Errorf("a message of %d octets: %s, want %s", size, got, want)
		}
	}
	for _, b := range framed(good) {
		write(t, c, []byte{b})
	}
	if got := text(t, receive(t, c)); got != staticText {
		t.Errorf("octet by octet: %s", got)
	}
}

// TestZeroLength closes the connection.
func TestZeroLength(t *testing.T) {
	s := serve(t, server.Config{}, testWorld(t))
	c := dialTCP(t, s)
	write(t, c, framed(ask(t, "static.example.com.", dns.TypeA)))
	receive(t, c)
	write(t, c, []byte{0, 0})
	closed(t, c)
}

// TestOneWrite: the length and the message arrive together.
func TestOneWrite(t *testing.T) {
	s := serve(t, server.Config{}, testWorld(t))
	c := dialTCP(t, s)
	write(t, c, framed(ask(t, "static.example.com.", dns.TypeA)))
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	if err != nil || n != 2+int(binary.BigEndian.Uint16(buf)) {
		t.Errorf("the first read gives %d octets, %v", n, err)
	}
}

// TestTCPSilence: a connection that says nothing, half of something, or nothing more is closed.
func TestTCPSilence(t *testing.T) {
	const short, never = 50 * time.Millisecond, time.Minute
	good := ask(t, "static.example.com.", dns.TypeA)
	for _, c := range []struct {
		about  string
		limits server.TCPConfig
		say    []byte
		answer bool
	}{
		{"no first octet", server.TCPConfig{Read: short, Idle: never}, nil, false},
		{"one octet", server.TCPConfig{Read: short, Idle: never}, framed(good)[:1], false},
		{"half a message", server.TCPConfig{Read: short, Idle: never}, framed(good)[:20], false},
		{"half a long message", server.TCPConfig{Read: short, Idle: never}, append([]byte{0xFF, 0xFF}, good...), false},
		{"an answer, then half a message", server.TCPConfig{Read: short, Idle: never}, append(framed(good), 0), true},
		{"an answer, then nothing", server.TCPConfig{Read: never, Idle: short}, framed(good), true},
	} {
		t.Run(c.about, func(t *testing.T) {
			s := serve(t, server.Config{TCP: c.limits}, testWorld(t))
			conn := dialTCP(t, s)
			write(t, conn, c.say)
			if c.answer {
				receive(t, conn)
			}
			closed(t, conn)
			poll(t, "the count", func() bool { return s.Stats().TCP == server.TCPStats{Accepted: 1, TimedOut: 1} })
		})
	}
}

// TestTCPTrickle: an octet now and then does not put off the end of a message.
func TestTCPTrickle(t *testing.T) {
	s := serve(t, server.Config{TCP: server.TCPConfig{Read: 100 * time.Millisecond, Idle: time.Minute}}, testWorld(t))
	c := dialTCP(t, s)
	start := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	write(t, c, []byte{0, 255})
	for _, err := c.Write([]byte{0}); err == nil; _, err = c.Write([]byte{0}) {
		if <-tick.C; time.Since(start) > patience {
			t.Fatal("the connection lives on a trickle")
		}
	}
}

// TestTCPStall: a client that asks and does not read is closed, and the answers that it left in the way are not kept.
func TestTCPStall(t *testing.T) {
	s := serve(t, server.Config{TCP: server.TCPConfig{Write: 50 * time.Millisecond}}, testWorld(t))
	c := dialTCP(t, s)
	query := bytes.Repeat(framed(ask(t, "many.example.com.", dns.TypeAAAA)), 100)
	for {
		if _, err := c.Write(query); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("the server takes queries, or none, for ever")
			}
			break
		}
	}
	poll(t, "the end of the connection", func() bool { return s.Stats().TCP.Open == 0 })
}

// TestTCPConnections: at the limit the connection that was silent longest goes, and the new one is served.
func TestTCPConnections(t *testing.T) {
	for about, limits := range map[string]server.TCPConfig{
		"of all": {Connections: 3, PerSource: 100}, "of a source": {Connections: 100, PerSource: 3},
	} {
		t.Run(about, func(t *testing.T) {
			s := serve(t, server.Config{TCP: limits}, testWorld(t))
			query := framed(ask(t, "static.example.com.", dns.TypeA))
			var conns []net.Conn
			for range 3 {
				c := dialTCP(t, s)
				write(t, c, query)
				receive(t, c)
				conns = append(conns, c)
			}
			write(t, conns[0], query) // now conns[1] is the one that was silent longest
			receive(t, conns[0])
			fourth := dialTCP(t, s)
			write(t, fourth, query)
			receive(t, fourth)
			closed(t, conns[1])
			for _, c := range []net.Conn{conns[0], conns[2], fourth} {
				write(t, c, query)
				if got := text(t, receive(t, c)); got != staticText {
					t.Errorf("answer %s", got)
				}
			}
			poll(t, "the count", func() bool { return s.Stats().TCP == server.TCPStats{Open: 3, Accepted: 4, Evicted: 1} })
		})
	}
}

func TestSourceOf(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%lo": "fe80::/64",
	} {
		if got := server.SourceOf(netip.MustParseAddr(addr)); got.String() != want {
			t.Errorf("the source of %s is %s, want %s", addr, got, want)
		}
	}
}
