package server_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"geodns/pkg/server"
)

// pipeEnd is the server's end of a pipe, with a client's address.
type pipeEnd struct {
	net.Conn
	from netip.AddrPort
}

func (p pipeEnd) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(p.from) }

var somewhere = netip.MustParseAddrPort("192.0.2.77:1024")

// bubble runs a test on a clock of its own, with a server whose connections are pipes: everything takes no time but
// waiting, and that exactly as long as it should.
func bubble(t *testing.T, limits server.TCPConfig, test func(t *testing.T, s *server.Server, conns *server.Conns)) {
	w := testWorld(t)
	synctest.Test(t, func(t *testing.T) {
		s, err := server.New(server.Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, TCP: limits}, w)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}()
		conns := server.ConnsOf(s)
		test(t, s, conns)
		conns.Shutdown()
		if n := conns.Sources(); n != 0 || s.Stats().TCP.Open != 0 {
			t.Errorf("at the end %d sources are left, and %+v", n, s.Stats().TCP)
		}
	})
}

// connect makes the server serve a pipe, and gives the client's end.
func connect(t *testing.T, conns *server.Conns, from netip.AddrPort) net.Conn {
	t.Helper()
	client, end := net.Pipe()
	if !conns.Serve(pipeEnd{end, from}) {
		t.Fatal("the connection is not let in")
	}
	return client
}

// ends waits until the server closes the connection, and says how long that took.
func ends(t *testing.T, c net.Conn) time.Duration {
	t.Helper()
	start := time.Now()
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("instead of the end: %d octets, %v", n, err)
	}
	return time.Since(start)
}

// TestTCPTimes says to the millisecond when a connection is closed for its silence.
func TestTCPTimes(t *testing.T) {
	good := framed(ask(t, "static.example.com.", dns.TypeA))
	long := framed(make([]byte, 60_000))
	asked := func(t *testing.T, c net.Conn) {
		write(t, c, good)
		receive(t, c)
	}
	for _, c := range []struct {
		about string
		do    func(t *testing.T, c net.Conn)
		want  time.Duration // from there to the end
	}{
		{"A-61 no first octet", func(*testing.T, net.Conn) {}, 2 * time.Second},
		{"A-61 half a length", func(t *testing.T, c net.Conn) { write(t, c, good[:1]) }, 2 * time.Second},
		{"A-61 a length alone", func(t *testing.T, c net.Conn) { write(t, c, good[:2]) }, 2 * time.Second},
		{"A-61 half a message", func(t *testing.T, c net.Conn) { write(t, c, good[:20]) }, 2 * time.Second},
		{"A-61 half a long message", func(t *testing.T, c net.Conn) { write(t, c, long[:30_000]) }, 2 * time.Second},
		{"A-61 a first octet that comes late", func(t *testing.T, c net.Conn) {
			<-time.NewTimer(1900 * time.Millisecond).C
			write(t, c, good[:1])
		}, 2 * time.Second},
		{"A-61 an answer, then nothing", asked, 10 * time.Second},
		{"A-61 an answer, and a second one late", func(t *testing.T, c net.Conn) {
			asked(t, c)
			<-time.NewTimer(9900 * time.Millisecond).C
			asked(t, c)
		}, 10 * time.Second},
		{"A-61 an answer, then half a message", func(t *testing.T, c net.Conn) {
			asked(t, c)
			<-time.NewTimer(9900 * time.Millisecond).C
			write(t, c, good[:20])
		}, 2 * time.Second},
		{"A-61 half a message behind another", func(t *testing.T, c net.Conn) {
			write(t, c, append(bytes.Clone(good), good[:20]...))
			receive(t, c)
		}, 2 * time.Second},
		{"A-61 a trickle", func(t *testing.T, c net.Conn) {
			write(t, c, long[:2])
			for range 19 {
				<-time.NewTimer(100 * time.Millisecond).C
				write(t, c, long[2:3])
			}
		}, 100 * time.Millisecond},
		{"A-61 a length, then a trickle", func(t *testing.T, c net.Conn) {
			for i := range 19 {
				write(t, c, good[i:i+1])
				<-time.NewTimer(100 * time.Millisecond).C
			}
		}, 100 * time.Millisecond},
		{"A-61 what is dropped puts off no end", func(t *testing.T, c net.Conn) {
			write(t, c, good[:2])
			<-time.NewTimer(time.Second).C
			write(t, c, good[2:4])
		}, time.Second},
	} {
		t.Run(c.about, func(t *testing.T) {
			bubble(t, server.TCPConfig{}, func(t *testing.T, s *server.Server, conns *server.Conns) {
				client := connect(t, conns, somewhere)
				c.do(t, client)
				if got := ends(t, client); got != c.want {
					t.Errorf("closed after %v, want %v", got, c.want)
				}
				synctest.Wait()
				if got := s.Stats().TCP; got != (server.TCPStats{TimedOut: 1}) {
					t.Errorf("counted %+v", got)
				}
			})
		})
	}
}

// TestTCPWriteTime: a client that does not read is closed, and until then it is not read from.
func TestTCPWriteTime(t *testing.T) {
	t.Run("A-61 write stall", func(t *testing.T) {
		bubble(t, server.TCPConfig{}, func(t *testing.T, s *server.Server, conns *server.Conns) {
			c := connect(t, conns, somewhere)
			write(t, c, framed(ask(t, "static.example.com.", dns.TypeA))) // a pipe holds nothing: the answer waits
			start := time.Now()
			if _, err := c.Write([]byte{0}); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("the server reads on: %v", err)
			}
			if got := time.Since(start); got != 500*time.Millisecond {
				t.Errorf("closed after %v", got)
			}
			synctest.Wait()
			if got := s.Stats().TCP; got != (server.TCPStats{TimedOut: 1}) {
				t.Errorf("counted %+v", got)
			}
		})
	})
}

// TestTCPInFlight looks at each write of a client that asks much at once: what is in flight is what it holds.
func TestTCPInFlight(t *testing.T) {
	const queries = 300
	query := ask(t, "static.example.com.", dns.TypeA)
	var stream []byte
	for id := range queries {
		binary.BigEndian.PutUint16(query, uint16(id))
		stream = append(stream, framed(query)...)
	}
	t.Run("A-61 in flight, A-62 one write", func(t *testing.T) {
		bubble(t, server.TCPConfig{}, func(t *testing.T, _ *server.Server, conns *server.Conns) {
			c := connect(t, conns, somewhere)
			go func() { _, _ = c.Write(stream) }()
			buf := make([]byte, 1<<17)
			most := 0
			for id := 0; id < queries; {
				before := id
				n, err := c.Read(buf) // a pipe gives what was written at once
				if err != nil {
					t.Fatal(err)
				}
				for b := buf[:n]; len(b) > 0; id++ {
					if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
						t.Fatalf("a write ends within an answer: % x", b)
					}
					if got := int(binary.BigEndian.Uint16(b[2:])); got != id {
						t.Fatalf("answer %d instead of %d", got, id)
					}
					b = b[2+int(binary.BigEndian.Uint16(b)):]
				}
				most = max(most, id-before)
			}
			if most != server.TCPInFlight {
				t.Errorf("%d answers in one write, want %d at most and some of that", most, server.TCPInFlight)
			}
			_ = c.Close()
		})
	})
}

// TestTCPBatchBounds asks for answers that are long, so that few of them fit what one write holds.
func TestTCPBatchBounds(t *testing.T) {
	query := framed(ask(t, "big.example.com.", dns.TypeA))
	t.Run("A-61 memory of a write", func(t *testing.T) {
		bubble(t, server.TCPConfig{}, func(t *testing.T, _ *server.Server, conns *server.Conns) {
			c := connect(t, conns, somewhere)
			go func() { _, _ = c.Write(bytes.Repeat(query, 50)) }()
			buf := make([]byte, 1<<17)
			answers, length := 0, 0
			for answers < 50 {
				n, err := c.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				for b := buf[:n]; len(b) > 0; answers++ {
					length = 2 + int(binary.BigEndian.Uint16(b))
					if b[2+2]&2 != 0 {
						t.Fatal("an answer is truncated")
					}
					b = b[length:]
				}
				if n > server.TCPBatch+length {
					t.Errorf("a write of %d octets", n)
				}
			}
			_ = c.Close()
		})
	})
}

// TestTCPKeepalive: clients are told how long they may be silent, and less where connections are short.
func TestTCPKeepalive(t *testing.T) {
	query := framed(ask(t, "static.example.com.", dns.TypeA, edns(1232, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE})))
	told := func(t *testing.T, c net.Conn) uint16 {
		t.Helper()
		write(t, c, query)
		var m dns.Msg
		if err := m.Unpack(receive(t, c)); err != nil {
			t.Fatal(err)
		}
		for _, o := range m.IsEdns0().Option {
			if k, ok := o.(*dns.EDNS0_TCP_KEEPALIVE); ok {
				return k.Timeout
			}
		}
		t.Fatalf("no keepalive option in %v", &m)
		return 0
	}
	t.Run("A-45 keepalive, A-61 shedding", func(t *testing.T) {
		bubble(t, server.TCPConfig{Connections: 16}, func(t *testing.T, _ *server.Server, conns *server.Conns) {
			var clients []net.Conn
			for i := range 14 { // seven eighths
				clients = append(clients, connect(t, conns, somewhere))
				if got := told(t, clients[i]); got != 100 {
					t.Fatalf("with %d connections, clients are told %d", i+1, got)
				}
			}
			synctest.Wait() // until each waits for its next query
			last := connect(t, conns, somewhere)
			if got := told(t, last); got != 0 {
				t.Errorf("near the limit, clients are told %d", got)
			}
			if got := ends(t, last); got != 2*time.Second {
				t.Errorf("near the limit, silence is taken for %v", got)
			}
			synctest.Wait()
			if got := told(t, clients[0]); got != 100 {
				t.Errorf("below it again, clients are told %d", got)
			}
			for _, c := range clients[1:] {
				if got := ends(t, c); got > 8*time.Second {
					t.Errorf("silence is taken for %v more", got)
				}
			}
			if got := ends(t, clients[0]); got != 2*time.Second {
				t.Errorf("silence is taken for %v more", got)
			}
		})
	})
}

// TestTCPDrain: a shutdown lets answers that are being written go out, and closes what waits.
func TestTCPDrain(t *testing.T) {
	query := framed(ask(t, "static.example.com.", dns.TypeA))
	t.Run("A-60 shutdown drains answers", func(t *testing.T) {
		bubble(t, server.TCPConfig{}, func(t *testing.T, s *server.Server, conns *server.Conns) {
			busy, stalled, half, idle := connect(t, conns, somewhere), connect(t, conns, somewhere), connect(t, conns, somewhere), connect(t, conns, somewhere)
			go func() { _, _ = busy.Write(bytes.Repeat(query, 3)) }()
			write(t, stalled, query)
			write(t, half, query[:10])
			write(t, idle, query)
			receive(t, idle)
			synctest.Wait()
			start := time.Now()
			go conns.Shutdown()
			if ends(t, idle)+ends(t, half) != 0 {
				t.Error("connections without an answer under way are not closed at once")
			}
			for range 3 {
				if got := text(t, receive(t, busy)); got != staticText {
					t.Errorf("answer %s", got)
				}
			}
			ends(t, busy)
			<-time.NewTimer(time.Second).C
			ends(t, stalled)
			if got := s.Stats().TCP; got.Open != 0 || got.TimedOut != 0 {
				t.Errorf("counted %+v after %v", got, time.Since(start))
			}
			client, end := net.Pipe()
			if conns.Serve(pipeEnd{end, somewhere}) {
				t.Error("a connection is let in after the shutdown")
			}
			ends(t, client)
		})
	})
}

// TestTCPSplits sends the same stream cut in two at every octet: all answers are the same.
func TestTCPSplits(t *testing.T) {
	good := framed(ask(t, "static.example.com.", dns.TypeA))
	var stream []byte
	for _, size := range []int{0, server.TCPFirst - 2*len(good), 300, 0, 0} {
		m := append(bytes.Clone(good), make([]byte, size)...)
		binary.BigEndian.PutUint16(m, uint16(len(m)-2))
		stream = append(stream, m...)
	}
	long := framed(append(bytes.Clone(good[2:]), make([]byte, server.TCPReadBuffer)...))
	longAt := len(stream)
	stream = append(append(append(stream, long...), good...), good[:12]...)
	binary.BigEndian.PutUint16(stream[len(stream)-12:], 10) // shorter than a header: no answer
	stream = append(stream, good...)
	want := []string{staticText, staticText, staticText, staticText, staticText, "FORMERR qr", staticText, staticText}
	t.Run("A-60 cut at every octet", func(t *testing.T) {
		bubble(t, server.TCPConfig{}, func(t *testing.T, _ *server.Server, conns *server.Conns) {
			for cut := 1; cut < len(stream); cut++ {
				if inLong := cut > longAt+50 && cut < longAt+len(long)-50; inLong && cut%64 > 0 {
					continue // one octet of it is like another
				}
				c := connect(t, conns, somewhere)
				go func() {
					_, _ = c.Write(stream[:cut])
					_, _ = c.Write(stream[cut:])
				}()
				for i, w := range want {
					if got := text(t, receive(t, c)); got != w {
						t.Fatalf("cut at %d, answer %d: %s, want %s", cut, i, got, w)
					}
				}
				_ = c.Close()
			}
		})
	})
}
