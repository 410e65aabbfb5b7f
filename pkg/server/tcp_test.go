package server_test

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"sync"
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
	message, err := nextMessage(c)
	if err != nil {
		t.Fatal(err)
	}
	return message
}

// nextMessage reads one message; io.EOF where there is none.
func nextMessage(c io.Reader) ([]byte, error) {
	var prefix [2]byte
	if _, err := io.ReadFull(c, prefix[:]); err != nil {
		return nil, fmt.Errorf("reading a length: %w", err)
	}
	message := make([]byte, binary.BigEndian.Uint16(prefix[:]))
	if _, err := io.ReadFull(c, message); err != nil {
		return nil, fmt.Errorf("reading a message of %d octets: %w", len(message), errors.Join(err, io.ErrUnexpectedEOF))
	}
	return message, nil
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

// asking writes a query.
func asking(t testing.TB, c net.Conn, query []byte) net.Conn {
	t.Helper()
	write(t, c, query)
	return c
}

// TestPipelining writes many queries at once, good and bad, and reads their answers in order.
func TestPipelining(t *testing.T) {
	t.Run("A-60 one bad message", testPipelining)
}

func testPipelining(t *testing.T) {
	s := serve(t, server.Config{}, testWorld(t))
	c := dialTCP(t, s)
	good := ask(t, "static.example.com.", dns.TypeA)
	bad, response := bytes.Clone(good[:20]), bytes.Clone(good)
	response[2] |= 0x80
	long := append(bytes.Clone(good), make([]byte, 60_000)...)
	var stream []byte
	var want []string
	for range 40 {
		stream = append(stream, framed(good)...)
		stream = append(stream, framed(bad)...)
		stream = append(stream, framed(good[:5])...) // no whole header: no answer
		stream = append(stream, framed(response)...) // no query: no answer
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
	t.Run("A-60 message sizes", testTCPMessageSizes)
}

func testTCPMessageSizes(t *testing.T) {
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

// TestPipelinedIDs asks a hundred different questions at once, and matches each answer by its ID.
func TestPipelinedIDs(t *testing.T) {
	t.Run("A-60 a hundred queries", func(t *testing.T) {
		const queries = 100
		s := serve(t, server.Config{}, testWorld(t))
		c := dialTCP(t, s)
		asked := map[uint16]string{}
		var stream []byte
		for i := range queries {
			id, name := uint16(i*601), fmt.Sprintf("none%d.example.com.", i)
			asked[id] = name
			stream = append(stream, framed(ask(t, name, dns.TypeA, func(m *dns.Msg) { m.Id = id }))...)
		}
		go func() { _, _ = c.Write(stream) }()
		for range queries {
			var m dns.Msg
			if err := m.Unpack(receive(t, c)); err != nil {
				t.Fatal(err)
			}
			if name := asked[m.Id]; name == "" || m.Rcode != dns.RcodeNameError || len(m.Question) != 1 || m.Question[0].Name != name {
				t.Fatalf("to query %d for %q: %v", m.Id, name, &m)
			}
			delete(asked, m.Id)
		}
	})
}

// TestHalfClose: a client that has sent all its queries may say so at once, and still gets the answers.
func TestHalfClose(t *testing.T) {
	t.Run("A-60 half-close", func(t *testing.T) {
		s := serve(t, server.Config{}, testWorld(t))
		query := framed(ask(t, "static.example.com.", dns.TypeA))
		for _, say := range [][]byte{query, bytes.Repeat(query, 100), append(bytes.Repeat(query, 100), query[:5]...)} {
			c := asking(t, dialTCP(t, s), say)
			if half, ok := c.(*net.TCPConn); !ok || half.CloseWrite() != nil {
				t.Fatal("no half-close")
			}
			for range len(say) / len(query) {
				if got := text(t, receive(t, c)); got != staticText {
					t.Fatalf("answer %s", got)
				}
			}
			if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("instead of the end: %d octets, %v", n, err)
			}
		}
		poll(t, "the end of all", func() bool { return s.Stats().TCP == server.TCPStats{Accepted: 3} })
	})
}

// TestZeroLength: a length of zero closes the connection, after the answers to what came before.
func TestZeroLength(t *testing.T) {
	query := framed(ask(t, "static.example.com.", dns.TypeA))
	for _, c := range []struct {
		about       string
		first, rest []byte
		answers     int
	}{
		{"A-62 zero length", query, []byte{0, 0}, 1},
		{"A-62 zero length at once", nil, []byte{0, 0}, 0},
		{"A-62 zero length behind queries", nil, append(bytes.Repeat(query, 40), 0, 0), 40},
		{"A-62 zero length before more", nil, append(append(bytes.Repeat(query, 40), 0, 0), bytes.Repeat(query, 4000)...), 40},
	} {
		t.Run(c.about, func(t *testing.T) {
			s := serve(t, server.Config{}, testWorld(t))
			conn := dialTCP(t, s)
			if c.first != nil {
				receive(t, asking(t, conn, c.first))
				c.answers--
			}
			write(t, conn, c.rest)
			for range c.answers {
				if got := text(t, receive(t, conn)); got != staticText {
					t.Fatalf("answer %s", got)
				}
			}
			if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("instead of the end: %d octets, %v", n, err)
			}
		})
	}
}

// TestOneWrite: the length and the message arrive together, and so do many.
func TestOneWrite(t *testing.T) {
	query := framed(ask(t, "static.example.com.", dns.TypeA))
	for about, n := range map[string]int{"A-62 one segment": 1, "A-62 five in one segment": 5} {
		t.Run(about, func(t *testing.T) {
			c := asking(t, dialTCP(t, serve(t, server.Config{}, testWorld(t))), bytes.Repeat(query, n))
			buf := make([]byte, 4096)
			got, err := c.Read(buf)
			if err != nil || got != n*(2+int(binary.BigEndian.Uint16(buf))) {
				t.Errorf("the first read gives %d octets, %v", got, err)
			}
		})
	}
}

// TestTCPShutdown ends a server while clients ask as fast as they can: none loses an answer that was begun, or gets half
// of one.
func TestTCPShutdown(t *testing.T) {
	t.Run("A-60 shutdown drains answers", func(t *testing.T) {
		s, err := server.New(server.Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}}, testWorld(t))
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, s)
		query := framed(ask(t, "static.example.com.", dns.TypeA))
		stream := bytes.Repeat(query, 50)
		var clients sync.WaitGroup
		for range 8 {
			c := dialTCP(t, s)
			clients.Go(func() {
				r := bufio.NewReader(c)
				for {
					if _, err := c.Write(stream); err != nil {
						t.Errorf("asking: %v", err)
						return
					}
					for range 50 {
						var m dns.Msg
						b, err := nextMessage(r)
						if errors.Is(err, io.EOF) {
							return
						}
						if err = errors.Join(err, m.Unpack(b)); err != nil || len(m.Answer) != 1 {
							t.Errorf("an answer of %d octets: %v", len(b), err)
							return
						}
					}
				}
			})
		}
		poll(t, "queries of all", func() bool { return s.Stats().TCP.Accepted == 8 && s.Stats().Kinds[server.Static] > 5000 })
		stop()
		clients.Wait()
		if got := s.Stats().TCP; got != (server.TCPStats{Accepted: 8}) {
			t.Errorf("counted %+v", got)
		}
	})
}

// TestEncryptedConn serves a connection with encryption around it: nothing here knows of it.
func TestEncryptedConn(t *testing.T) {
	_, conns := unserved(t, server.TCPConfig{PerSource: 1})
	cert := selfSigned(t)
	encrypted := func() (net.Conn, *tls.Conn) {
		client, end := net.Pipe()
		if !conns.Serve(tls.Server(pipeEnd{end, somewhere}, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})) {
			t.Fatal("the connection is not let in")
		}
		return client, tls.Client(client, &tls.Config{InsecureSkipVerify: true}) // there is no peer to be sure of
	}
	_, first := encrypted()
	go func() { _, _ = first.Write(bytes.Repeat(framed(ask(t, "static.example.com.", dns.TypeA)), 50)) }()
	for range 50 {
		if got := text(t, receive(t, first)); got != staticText {
			t.Fatalf("answer %s", got)
		}
	}
	// Evicted, it must not keep the next one waiting for its goodbye: nobody reads it.
	start := time.Now()
	raw, second := encrypted()
	if time.Since(start) > 4*time.Second { // crypto/tls gives a goodbye five
		t.Error("an eviction waits for the client")
	}
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Error("the first connection lives")
	}
	write(t, second, framed(ask(t, "static.example.com.", dns.TypeA)))
	receive(t, second)
	_ = raw.Close()
	conns.Shutdown()
}

// selfSigned is a certificate that nobody trusts.
func selfSigned(t testing.TB) tls.Certificate {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
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
		{"A-61 no first octet", server.TCPConfig{Read: short, Idle: never}, nil, false},
		{"A-61 one octet", server.TCPConfig{Read: short, Idle: never}, framed(good)[:1], false},
		{"A-61 half a message", server.TCPConfig{Read: short, Idle: never}, framed(good)[:20], false},
		{"A-61 half a long message", server.TCPConfig{Read: short, Idle: never}, append([]byte{0xFF, 0xFF}, good...), false},
		// Not the short time: it runs from the accepting on, and the query must be there within it.
		{"A-61 an answer, then half a message", server.TCPConfig{Read: time.Second, Idle: never}, append(framed(good), 0), true},
		{"A-61 an answer, then nothing", server.TCPConfig{Read: never, Idle: short}, framed(good), true},
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

// TestTCPStall: a client that asks and does not read is closed, and the answers that it left in the way are not kept.
func TestTCPStall(t *testing.T) {
	t.Run("A-61 write stall", testTCPStall)
}

func testTCPStall(t *testing.T) {
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
		"A-61 of all": {Connections: 3, PerSource: 100}, "A-61 of a source": {Connections: 100, PerSource: 3},
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
