package health_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"

	"geodns/internal/dnstest"
	"geodns/pkg/health"
)

// probedZone is what Knot serves to probes.
const probedZone = `
$ORIGIN probed.example.
@    300 SOA ns hostmaster 1 3600 600 86400 300
@    300 NS  ns
@    300 MX  10 Mail
@    300 TXT "a b" "c"
ns   300 A   192.0.2.53
www  300 A   192.0.2.1
www  300 A   192.0.2.2
www  300 AAAA 2001:db8::1
alias 300 CNAME www
odd  300 TYPE65400 \# 2 ABCD
svc  300 HTTPS 1 . alpn=h2,h3
`

// TestProbeDNS covers the dns kind with Knot.
func TestProbeDNS(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "probed.example.zone")
	if err := os.WriteFile(file, []byte(probedZone), 0o600); err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(dnstest.StartKnot(t, map[string]string{"probed.example.": file}).Addr)
	for _, tt := range []struct {
		name   string
		query  health.DNSQuery
		ok     bool
		reason string
	}{
		{"default type", health.DNSQuery{Name: "www.probed.example"}, true, "answered NOERROR"},
		{"letter case", health.DNSQuery{Name: "WWW.probed.Example.", Type: "aaaa", Rcode: "noerror"}, true, "answered NOERROR"},
		{"address", health.DNSQuery{Name: "www.probed.example", Answers: []string{"192.0.2.2"}}, true, "answered NOERROR"},
		{"both", health.DNSQuery{Name: "www.probed.example", Answers: []string{"192.0.2.2", "192.0.2.1"}}, true, "answered NOERROR"},
		{"other address", health.DNSQuery{Name: "www.probed.example", Answers: []string{"192.0.2.1", "192.0.2.3"}}, false, `NOERROR, but "192.0.2.3" is not in the answer`},
		{"IPv6 in other words", health.DNSQuery{Name: "www.probed.example", Type: "AAAA", Answers: []string{"2001:DB8:0::0001"}}, true, ""},
		{"behind an alias", health.DNSQuery{Name: "alias.probed.example", Answers: []string{"192.0.2.1"}}, true, ""},
		{"name in other case", health.DNSQuery{Name: "probed.example", Type: "MX", Answers: []string{"10 MAIL.Probed.example."}}, true, ""},
		{"text", health.DNSQuery{Name: "probed.example", Type: "TXT", Answers: []string{`"a b" c`}}, true, ""},
		{"other text", health.DNSQuery{Name: "probed.example", Type: "TXT", Answers: []string{`"a b c"`}}, false, "is not in the answer"},
		{"unknown type", health.DNSQuery{Name: "odd.probed.example", Type: "TYPE65400", Answers: []string{`\# 2 abcd`}}, true, ""},
		{"service", health.DNSQuery{Name: "svc.probed.example", Type: "TYPE65", Answers: []string{`1 . alpn="h2,h3"`}}, true, ""},
		{"no data", health.DNSQuery{Name: "ns.probed.example", Type: "AAAA"}, true, "answered NOERROR"},
		{"no data, but expected", health.DNSQuery{Name: "ns.probed.example", Type: "AAAA", Answers: []string{"::1"}}, false, "is not in the answer"},
		{"no name", health.DNSQuery{Name: "gone.probed.example"}, false, "rcode NXDOMAIN, want NOERROR"},
		{"no name, as expected", health.DNSQuery{Name: "gone.probed.example", Rcode: "NXDOMAIN"}, true, "answered NXDOMAIN"},
		{"not served", health.DNSQuery{Name: "example.net", Rcode: "REFUSED"}, true, "answered REFUSED"},
	} {
		for _, tt.query.TCP = range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				wantResult(t, probe(t, health.Check{Kind: health.DNS, Query: tt.query}, at, nil), tt.ok, tt.reason)
			})
		}
	}
}

// datagramServer hands each datagram to serve, which gives those to send back.
func datagramServer(t *testing.T, serve func(query *dns.Msg) [][]byte) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		data := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(data)
			if err != nil {
				return
			}
			query := new(dns.Msg)
			if query.Unpack(data[:n]) != nil {
				continue
			}
			for _, answer := range serve(query) {
				_, _ = conn.WriteToUDPAddrPort(answer, from)
			}
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-ended
	})
	return addressOf(t, conn.LocalAddr())
}

// pack packs a message that is fit for it.
func pack(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	data, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return data
}

// TestProbeDNSDatagrams covers servers that send other things than the answer.
func TestProbeDNSDatagrams(t *testing.T) {
	t.Parallel()
	good := func(q *dns.Msg) *dns.Msg { return new(dns.Msg).SetReply(q) }
	otherID := func(q *dns.Msg) *dns.Msg { m := good(q); m.Id++; return m }
	otherName := func(q *dns.Msg) *dns.Msg { m := good(q); m.Question[0].Name = "other.example."; return m }
	noName := func(q *dns.Msg, rcode int) *dns.Msg { m := new(dns.Msg).SetRcode(q, rcode); m.Question = nil; return m }
	for _, tt := range []struct {
		name   string
		serve  func(q *dns.Msg) [][]byte
		ok     bool
		reason string
	}{
		{"good", func(q *dns.Msg) [][]byte { return [][]byte{pack(t, good(q))} }, true, "answered NOERROR"},
		{"silent", func(*dns.Msg) [][]byte { return nil }, false, "timeout after 1s while waiting for the answer"},
		{"other ID", func(q *dns.Msg) [][]byte { return [][]byte{pack(t, otherID(q))} }, false, "timeout after 1s while waiting for the answer, after 1 datagrams that are no answer"},
		{"good at last", func(q *dns.Msg) [][]byte {
			return [][]byte{{}, {1}, pack(t, q), pack(t, otherID(q)), pack(t, otherName(q)), pack(t, good(q))[:13], pack(t, good(q))}
		}, true, "answered NOERROR"},
		{"no question", func(q *dns.Msg) [][]byte { return [][]byte{pack(t, noName(q, dns.RcodeSuccess))} }, false, "timeout"},
		{"did not read it", func(q *dns.Msg) [][]byte { return [][]byte{pack(t, noName(q, dns.RcodeFormatError))} }, false, "rcode FORMERR, want NOERROR"},
		{"truncated", func(q *dns.Msg) [][]byte { m := good(q); m.Truncated = true; return [][]byte{pack(t, m)} }, true, "answered NOERROR"},
		{"flood", func(*dns.Msg) [][]byte {
			all := make([][]byte, 100)
			for i := range all {
				all[i] = []byte{1}
			}
			return all
		}, false, "100 datagrams came that are no answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			at := datagramServer(t, tt.serve)
			check := health.Check{Kind: health.DNS, Query: health.DNSQuery{Name: "www.example"}, Timeout: timeoutOf(tt.reason)}
			wantResult(t, probe(t, check, at, nil), tt.ok, tt.reason)
		})
	}
	truncated := datagramServer(t, func(q *dns.Msg) [][]byte { m := good(q); m.Truncated = true; return [][]byte{pack(t, m)} })
	check := health.Check{Kind: health.DNS, Query: health.DNSQuery{Name: "www.example", Answers: []string{"192.0.2.1"}}}
	wantResult(t, probe(t, check, truncated, nil), false, `"192.0.2.1" is not in the answer, which is truncated`)
}

// TestProbeDNSElsewhere covers an answer from another address than was asked.
func TestProbeDNSElsewhere(t *testing.T) {
	t.Parallel()
	other, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	asked, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		data := make([]byte, 4096)
		n, from, err := asked.ReadFromUDPAddrPort(data)
		query := new(dns.Msg)
		if err != nil || query.Unpack(data[:n]) != nil {
			return
		}
		_, _ = other.WriteToUDPAddrPort(pack(t, new(dns.Msg).SetReply(query)), from)
	}()
	t.Cleanup(func() {
		_ = asked.Close()
		<-ended
	})
	check := health.Check{Kind: health.DNS, Query: health.DNSQuery{Name: "www.example"}, Timeout: 200 * time.Millisecond}
	wantResult(t, probe(t, check, addressOf(t, asked.LocalAddr()), nil), false, "timeout after 200ms")
}

// TestProbeDNSRefused covers a port where nobody listens, which UDP tells at once.
func TestProbeDNSRefused(t *testing.T) {
	t.Parallel()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	at := addressOf(t, conn.LocalAddr())
	_ = conn.Close()
	check := health.Check{Kind: health.DNS, Query: health.DNSQuery{Name: "www.example"}}
	wantResult(t, probe(t, check, at, nil), false, "connection refused")
}

// TestProbeDNSStream covers bad servers over TCP.
func TestProbeDNSStream(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		answer []byte
		reason string
	}{
		{nil, "connection closed while waiting for the answer"},
		{[]byte{0, 100, 1, 2, 3}, "connection closed while waiting for the answer"},
		{binary.BigEndian.AppendUint16(nil, 0), "what came, 0 bytes, is no answer"},
		{append([]byte{0, 12}, make([]byte, 12)...), "what came, 12 bytes, is no answer"},
	} {
		at := rawServer(t, func(conn net.Conn) {
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			var length [2]byte
			_, _ = io.ReadFull(conn, length[:])
			_, _ = io.ReadFull(conn, make([]byte, binary.BigEndian.Uint16(length[:])))
			_, _ = conn.Write(tt.answer)
		})
		check := health.Check{Kind: health.DNS, Query: health.DNSQuery{Name: "www.example", TCP: true}}
		wantResult(t, probe(t, check, at, nil), false, tt.reason)
	}
}
