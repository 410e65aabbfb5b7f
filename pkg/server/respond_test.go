package server_test

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"geodns/pkg/dnswire"
	"geodns/pkg/server"
)

var (
	clientEU = netip.MustParseAddr("10.9.8.7")      // in the lower half: EU
	clientUS = netip.MustParseAddr("203.0.113.200") // in the upper half: US
)

// ask packs a query; edit may change the message before.
func ask(t testing.TB, name string, qtype uint16, edit ...func(*dns.Msg)) []byte {
	t.Helper()
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Id: 0x4242}, Question: []dns.Question{{Name: name, Qtype: qtype, Qclass: dns.ClassINET}}}
	for _, f := range edit {
		f(m)
	}
	wire, err := m.Pack()
	if err != nil {
		t.Fatalf("packing the query: %v", err)
	}
	return wire
}

func chaosClass(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }

// edns adds an OPT record.
func edns(size uint16, options ...dns.EDNS0) func(*dns.Msg) {
	return func(m *dns.Msg) {
		m.SetEdns0(size, false)
		m.IsEdns0().Option = options
	}
}

// ecs is a client subnet option.
func ecs(prefix string) *dns.EDNS0_SUBNET {
	p := netip.MustParsePrefix(prefix)
	family := uint16(1)
	if p.Addr().Is6() {
		family = 2
	}
	return &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: family, SourceNetmask: uint8(p.Bits()), Address: p.Addr().AsSlice()}
}

// zoneVersion is miekg/dns's ZONEVERSION option as a query has it: empty, which the library cannot write.
var zoneVersion = &dns.EDNS0_LOCAL{Code: dnswire.OptionZoneVersion}

// worldTag is what stands behind the node's name in an NSID.
func worldTag(t testing.TB) string {
	w := testWorld(t)
	return w.Set().ID()[:8] + "-" + w.Table().ID()[:8]
}

// text is an answer in one line a thing: flags and code, then the records of each section, then the OPT record.
func text(t testing.TB, wire []byte) string {
	t.Helper()
	if wire == nil {
		return "dropped"
	}
	var m dns.Msg
	if err := m.Unpack(wire); err != nil {
		t.Fatalf("unpacking the answer %x: %v", wire, err)
	}
	out := []string{dns.RcodeToString[m.Rcode]}
	for flag, set := range map[string]bool{
		"qr": m.Response, "aa": m.Authoritative, "tc": m.Truncated, "rd": m.RecursionDesired, "ra": m.RecursionAvailable,
		"z": m.Zero, "ad": m.AuthenticatedData, "cd": m.CheckingDisabled,
	} {
		if set {
			out[0] += " " + flag
		}
	}
	words := strings.Fields(out[0])
	slices.Sort(words[1:])
	out[0] = strings.Join(words, " ")
	for _, q := range m.Question {
		out = append(out, "? "+q.Name+" "+dns.Type(q.Qtype).String())
	}
	for mark, section := range map[string][]dns.RR{"=": m.Answer, "^": m.Ns, "+": m.Extra} {
		for _, rr := range section {
			if o, ok := rr.(*dns.OPT); ok {
				var line strings.Builder
				line.WriteString("OPT")
				if o.Do() {
					line.WriteString(" do")
				}
				for _, option := range o.Option {
					line.WriteString(" " + option.String())
				}
				out = append(out, line.String())
				continue
			}
			out = append(out, mark+" "+strings.Join(strings.Fields(rr.String()), " "))
		}
	}
	slices.Sort(out[1:])
	return strings.Join(out, "\n")
}

const (
	outside = " 20 (Not Authoritative): (no zone here has this name)"
	soa     = "^ example.com. 60 IN SOA ns1.example.com. hostmaster.example.com. 1 7200 3600 1209600 60"
	hinfo   = `HINFO "RFC8482" ""`
)

func TestAnswer(t *testing.T) {
	cfg := server.Config{Identity: "pop-1", Version: "geodns test"}
	r, err := server.NewResponder(cfg, testWorld(t))
	if err != nil {
		t.Fatal(err)
	}
	opcode := func(n int) func(*dns.Msg) { return func(m *dns.Msg) { m.Opcode = n } }
	class := func(n uint16) func(*dns.Msg) { return func(m *dns.Msg) { m.Question[0].Qclass = n } }
	tsig := func(m *dns.Msg) {
		m.Extra = append(m.Extra, &dns.TSIG{
			Hdr: dns.RR_Header{Name: "key.", Rrtype: dns.TypeTSIG, Class: dns.ClassANY}, Algorithm: dns.HmacSHA256, OrigId: m.Id,
		})
	}
	bits := func(m *dns.Msg) {
		m.RecursionDesired, m.RecursionAvailable, m.CheckingDisabled, m.AuthenticatedData, m.Zero, m.Authoritative = true, true, true, true, true, true
	}
	nsid := &dns.EDNS0_NSID{Code: dns.EDNS0NSID}
	keepalive := &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE}
	for _, c := range []struct {
		about  string
		query  []byte
		source netip.Addr
		tcp    bool
		want   string
	}{
		{"static", ask(t, "static.example.com.", dns.TypeA), clientEU, false, "NOERROR aa qr\n= static.example.com. 300 IN A 192.0.2.1\n? static.example.com. A"},
		{"A-06 header bits", ask(t, "static.example.com.", dns.TypeA, bits), clientEU, false, "NOERROR aa qr rd\n= static.example.com. 300 IN A 192.0.2.1\n? static.example.com. A"},
		{"A-07 letter case", ask(t, "sTaTiC.eXample.COM.", dns.TypeA), clientEU, false, "NOERROR aa qr\n= sTaTiC.eXample.COM. 300 IN A 192.0.2.1\n? sTaTiC.eXample.COM. A"},
		{"A-08 outside", ask(t, "www.example.net.", dns.TypeA), clientEU, false, "REFUSED qr\n? www.example.net. A"},
		{"A-08 the root", ask(t, ".", dns.TypeNS), clientEU, false, "REFUSED qr\n? . NS"},
		{"A-12 class ANY", ask(t, "static.example.com.", dns.TypeA, class(255)), clientEU, false, "REFUSED qr\n? static.example.com. A"},
		{"A-12 class HS", ask(t, "static.example.com.", dns.TypeA, class(4)), clientEU, true, "REFUSED qr\n? static.example.com. A"},
		{"A-14 NXDOMAIN", ask(t, "none.example.com.", dns.TypeA), clientEU, false, "NXDOMAIN aa qr\n? none.example.com. A\n" + soa},
		{"A-14 NODATA", ask(t, "static.example.com.", dns.TypeMX), clientEU, false, "NOERROR aa qr\n? static.example.com. MX\n" + soa},
		{"A-16 wildcard", ask(t, "a.b.star.example.com.", dns.TypeA), clientEU, false, "NOERROR aa qr\n= a.b.star.example.com. 300 IN A 192.0.2.7\n? a.b.star.example.com. A"},
		{"A-19 referral", ask(t, "x.sub.example.com.", dns.TypeA), clientEU, false, "NOERROR qr\n+ ns.sub.example.com. 300 IN A 192.0.2.99\n? x.sub.example.com. A\n^ sub.example.com. 300 IN NS ns.sub.example.com."},
		{"AXFR over TCP", ask(t, "example.com.", dns.TypeAXFR), clientEU, true, "REFUSED qr\n? example.com. AXFR"},
		{"AXFR over UDP", ask(t, "example.com.", dns.TypeAXFR), clientEU, false, "REFUSED qr\n? example.com. AXFR"},
		{"IXFR", ask(t, "example.com.", dns.TypeIXFR), clientEU, true, "REFUSED qr\n? example.com. IXFR"},
		{"TSIG", ask(t, "static.example.com.", dns.TypeA, tsig), clientEU, false, "NOTAUTH qr\n+ ;; TSIG PSEUDOSECTION: ; key. 0 CLASS255 TSIG hmac-sha256. 19700101000000 0 0 16962 17 0\n? static.example.com. A"},
		{"A-05 NOTIFY", ask(t, "example.com.", dns.TypeSOA, opcode(4)), clientEU, false, "NOTIMP qr\n? example.com. SOA"},
		{"A-05 UPDATE", ask(t, "example.com.", dns.TypeSOA, opcode(5)), clientEU, true, "NOTIMP qr\n? example.com. SOA"},
		{"A-05 STATUS with OPT", ask(t, "example.com.", dns.TypeSOA, opcode(2), edns(1232, nsid)), clientEU, false, "NOTIMP qr\n? example.com. SOA\nOPT"},
		{"A-11 NXNAME", ask(t, "static.example.com.", 128, edns(1232)), clientEU, false, "FORMERR qr\n? static.example.com. NXNAME\nOPT 30 (Invalid Query Type): (no name has data of this type)"},

		{"A-43 a transfer", ask(t, "example.com.", dns.TypeAXFR, edns(1232)), clientEU, true, "REFUSED qr\n? example.com. AXFR\nOPT 18 (Prohibited): (zone transfers are not allowed)"},
		{"A-43 no target", ask(t, "dead.example.com.", dns.TypeA, edns(1232)), clientEU, false, "SERVFAIL qr\n? dead.example.com. A\nOPT 0 (Other): (no target is usable for this client)"},
		{"A-43 class CH", ask(t, "www.explain.geodns.", dns.TypeTXT, chaosClass, edns(1232)), clientEU, false, "REFUSED qr\n? www.explain.geodns. TXT\nOPT 18 (Prohibited): (not for this client, or no such name)"},
		{"A-43 not without OPT", ask(t, "www.example.net.", dns.TypeA), clientEU, false, "REFUSED qr\n? www.example.net. A"},
		{"A-42 ZONEVERSION", ask(t, "static.example.com.", dns.TypeA, edns(1232, zoneVersion)), clientEU, false, "NOERROR aa qr\n= static.example.com. 300 IN A 192.0.2.1\n? static.example.com. A\nOPT \x00\x00\x00\x01"},
		{"A-42 no zone, no version", ask(t, "www.example.net.", dns.TypeA, edns(1232, zoneVersion)), clientEU, false, "REFUSED qr\n? www.example.net. A\nOPT" + outside},
		{"A-13 id.server", ask(t, "ID.server.", dns.TypeTXT, chaosClass), clientEU, false, "NOERROR aa qr\n= ID.server. 0 CH TXT \"pop-1\"\n? ID.server. TXT"},
		{"A-13 hostname.bind", ask(t, "hostname.bind.", dns.TypeANY, chaosClass), clientEU, false, "NOERROR aa qr\n= hostname.bind. 0 CH TXT \"pop-1\"\n? hostname.bind. ANY"},
		{"A-13 version.server", ask(t, "version.server.", dns.TypeTXT, chaosClass), clientEU, false, "NOERROR aa qr\n= version.server. 0 CH TXT \"geodns test\"\n? version.server. TXT"},
		{"A-13 version.bind", ask(t, "version.bind.", dns.TypeTXT, chaosClass), clientEU, true, "NOERROR aa qr\n= version.bind. 0 CH TXT \"geodns test\"\n? version.bind. TXT"},
		{"A-13 another type", ask(t, "id.server.", dns.TypeA, chaosClass), clientEU, false, "REFUSED qr\n? id.server. A"},
		{"A-13 another name", ask(t, "static.example.com.", dns.TypeTXT, chaosClass), clientEU, false, "REFUSED qr\n? static.example.com. TXT"},
		{"A-13 id.server of class IN", ask(t, "id.server.", dns.TypeTXT), clientEU, false, "REFUSED qr\n? id.server. TXT"},

		// Code 16 has two names; miekg/dns prints the one of TSIG.
		{"A-30 BADVERS", ask(t, "static.example.com.", dns.TypeA, edns(1232, nsid), func(m *dns.Msg) { m.IsEdns0().SetVersion(1) }), clientEU, false, "BADSIG qr\n? static.example.com. A\nOPT"},
		{"A-32 DO echoed", ask(t, "static.example.com.", dns.TypeA, func(m *dns.Msg) { m.SetEdns0(1232, true) }), clientEU, false, "NOERROR aa qr\n= static.example.com. 300 IN A 192.0.2.1\n? static.example.com. A\nOPT do"},
		{"A-32 unknown option", ask(t, "static.example.com.", dns.TypeA, edns(1232, &dns.EDNS0_LOCAL{Code: 65001, Data: []byte{1}})), clientEU, false, "NOERROR aa qr\n= static.example.com. 300 IN A 192.0.2.1\n? static.example.com. A\nOPT"},
		{"A-34 malformed ECS", ask(t, "static.example.com.", dns.TypeA, edns(1232, &dns.EDNS0_LOCAL{Code: 8, Data: []byte{0, 1, 24, 0, 192}})), clientEU, false, "FORMERR qr\n? static.example.com. A\nOPT 0 (Other): (the client subnet option is malformed)"},
		{"A-35 static ECS", ask(t, "static.example.com.", dns.TypeA, edns(1232, ecs("203.0.113.0/24"))), clientEU, false, "NOERROR aa qr\n= static.example.com. 300 IN A 192.0.2.1\n? static.example.com. A\nOPT 203.0.113.0/24/0"},
		{"A-35 negative ECS", ask(t, "none.example.com.", dns.TypeA, edns(1232, ecs("2001:db8::/48"))), clientEU, false, "NXDOMAIN aa qr\n? none.example.com. A\nOPT [2001:db8::]/48/0\n" + soa},
		{"A-41 NSID", ask(t, "static.example.com.", dns.TypeA, edns(1232, nsid)), clientEU, false, "NOERROR aa qr\n= static.example.com. 300 IN A 192.0.2.1\n? static.example.com. A\nOPT " + hex.EncodeToString([]byte("pop-1/"+worldTag(t)))},
		{"A-45 keepalive over UDP", ask(t, "none.example.net.", dns.TypeA, edns(1232, keepalive)), clientEU, false, "REFUSED qr\n? none.example.net. A\nOPT" + outside},
		{"A-45 keepalive over TCP", ask(t, "none.example.net.", dns.TypeA, edns(1232, keepalive)), clientEU, true, "REFUSED qr\n? none.example.net. A\nOPT use tcp keep-alive, timeout 10000ms" + outside},

		{"steered, source EU", ask(t, "www.example.com.", dns.TypeA), clientEU, false, "NOERROR aa qr\n= www.example.com. 30 IN A 192.0.2.10\n? www.example.com. A"},
		{"steered, source US", ask(t, "www.example.com.", dns.TypeAAAA), clientUS, false, "NOERROR aa qr\n= www.example.com. 30 IN AAAA 2001:db8:2::10\n? www.example.com. AAAA"},
		{"steered by ECS", ask(t, "www.example.com.", dns.TypeA, edns(1232, ecs("203.0.113.0/24"))), clientEU, false, "NOERROR aa qr\n= www.example.com. 30 IN A 198.51.100.10\n? www.example.com. A\nOPT 203.0.113.0/24/8"},
		{"steered by IPv6 ECS", ask(t, "www.example.com.", dns.TypeA, edns(1232, ecs("2001:db8::/32"))), clientUS, false, "NOERROR aa qr\n= www.example.com. 30 IN A 192.0.2.10\n? www.example.com. A\nOPT [2001:db8::]/32/16"},
		{"A-36 SOURCE 0", ask(t, "www.example.com.", dns.TypeA, edns(1232, ecs("0.0.0.0/0"))), clientUS, false, "NOERROR aa qr\n= www.example.com. 30 IN A 198.51.100.10\n? www.example.com. A\nOPT 0.0.0.0/0/0"},
		{"steered wildcard", ask(t, "A.wild.example.com.", dns.TypeA), clientEU, false, "NOERROR aa qr\n= A.wild.example.com. 30 IN A 192.0.2.10\n? A.wild.example.com. A"},
		{"steered, a type that no address policy has", ask(t, "www.example.com.", dns.TypeTXT, edns(1232, ecs("203.0.113.0/24"))), clientEU, false, "NOERROR aa qr\n? www.example.com. TXT\nOPT 203.0.113.0/24/0\n" + soa},
		{"steered, a family that the policy has not", ask(t, "v4.example.com.", dns.TypeAAAA), clientEU, false, "NOERROR aa qr\n? v4.example.com. AAAA\n" + soa},
		{"steered, STEER itself", ask(t, "www.example.com.", 65400), clientEU, false, "NOERROR aa qr\n? www.example.com. TYPE65400\n" + soa},
		{"A-22 ANY at a steered name", ask(t, "www.example.com.", dns.TypeANY), clientEU, false, "NOERROR aa qr\n= www.example.com. 3600 IN " + hinfo + "\n? www.example.com. ANY"},
		{"all down, serve-all", ask(t, "v4.example.com.", dns.TypeA), clientEU, false, "NOERROR aa qr\n= v4.example.com. 15 IN A 203.0.113.1\n? v4.example.com. A"},
		{"all down, servfail", ask(t, "dead.example.com.", dns.TypeA), clientEU, false, "SERVFAIL qr\n? dead.example.com. A"},
		{"host name, A", ask(t, "host.example.com.", dns.TypeA), clientEU, false, "NOERROR aa qr\n= host.example.com. 30 IN CNAME cdn.example.net.\n? host.example.com. A"},
		{"host name, any type", ask(t, "host.example.com.", dns.TypeMX, edns(1232, ecs("203.0.113.0/24"))), clientEU, false, "NOERROR aa qr\n= host.example.com. 30 IN CNAME cdn.example.net.\n? host.example.com. MX\nOPT 203.0.113.0/24/0"},
		{"chain to a steered name", ask(t, "link.example.com.", dns.TypeA), clientUS, false, "NOERROR aa qr\n= link.example.com. 300 IN CNAME www.example.com.\n= www.example.com. 30 IN A 198.51.100.10\n? link.example.com. A"},
		{"chain to a steered name, NODATA", ask(t, "link.example.com.", dns.TypeTXT), clientUS, false, "NOERROR aa qr\n= link.example.com. 300 IN CNAME www.example.com.\n? link.example.com. TXT\n" + soa},
		{"chain with ECS: first link alone", ask(t, "link.example.com.", dns.TypeA, edns(1232, ecs("203.0.113.0/24"))), clientEU, false, "NOERROR aa qr\n= link.example.com. 300 IN CNAME www.example.com.\n? link.example.com. A\nOPT 203.0.113.0/24/0"},
		{"alias out of our zones", ask(t, "far.example.com.", dns.TypeA), clientEU, false, "NOERROR aa qr\n= far.example.com. 300 IN CNAME www.example.org.\n? far.example.com. A"},

		{"steered beyond 512", ask(t, "many.example.com.", dns.TypeA), clientEU, false, "NOERROR aa qr tc\n? many.example.com. A"},
		{"steered beyond 1232", ask(t, "many.example.com.", dns.TypeAAAA, edns(4096)), clientEU, false, "NOERROR aa qr tc\n? many.example.com. AAAA\nOPT"},
		{"static beyond 512", ask(t, "big.example.com.", dns.TypeA), clientEU, false, "NOERROR aa qr tc\n? big.example.com. A"},
		{"A-33 static beyond 1232", ask(t, "big.example.com.", dns.TypeA, edns(65535)), clientEU, false, "NOERROR aa qr tc\n? big.example.com. A\nOPT"},
	} {
		t.Run(c.about, func(t *testing.T) {
			transport, room := server.UDP, server.BufferLen
			if c.tcp {
				transport, room = server.TCP, dnswire.MessageMax
			}
			wire := r.Answer(transport, c.source, c.query, room)
			if got := text(t, wire); got != c.want {
				t.Errorf("answer:\n%s\nwant:\n%s", got, c.want)
			}
			if end := len(ask(t, "a.", 1)); wire != nil && len(wire) >= end && !bytes.Equal(wire[:2], c.query[:2]) {
				t.Errorf("ID %x, want %x", wire[:2], c.query[:2])
			}
			if wire != nil && r.Answer(transport, c.source, wire, room) != nil {
				t.Error("an answer is answered")
			}
		})
	}
}

// TestAnswerRaw is for packets that a DNS library does not make.
func TestAnswerRaw(t *testing.T) {
	r, err := server.NewResponder(server.Config{}, testWorld(t))
	if err != nil {
		t.Fatal(err)
	}
	static := ask(t, "static.example.com.", dns.TypeA)
	set := func(at int, b ...byte) []byte {
		q := bytes.Clone(static)
		copy(q[at:], b)
		return q
	}
	for _, c := range []struct {
		about string
		query []byte
		want  string // hex of the answer
	}{
		{"A-03 11 octets", static[:11], ""},
		{"A-03 header alone", static[:12], "424280010000000000000000"},
		{"A-03 question cut", static[:20], "424280010000000000000000"},
		{"A-04 pointer", set(12, 0xC0, 0x0C), "424280010000000000000000"},
		{"A-02 response", set(2, 0x80), ""},
		{"A-02 RCODE", set(3, 0x05), ""},
		{"A-01 no question", set(4, 0, 0)[:12], "424280010000000000000000"},
		{"A-01 two questions", append(set(4, 0, 2), static[12:]...), "424280010000000000000000"},
		{"A-05 opcode 9 and nothing", set(2, 9<<3, 0, 0, 0)[:12], "4242c8040000000000000000"},
		{"trailing octets", append(bytes.Clone(static), 1, 2, 3), hex.EncodeToString(r.Answer(server.UDP, clientEU, static, 512))},
	} {
		t.Run(c.about, func(t *testing.T) {
			if got := hex.EncodeToString(r.Answer(server.UDP, clientEU, c.query, server.BufferLen)); got != c.want {
				t.Errorf("answer %s, want %s", got, c.want)
			}
		})
	}
	if got := text(t, r.Answer(server.UDP, clientEU, append(bytes.Clone(static), make([]byte, 2000)...), server.BufferLen)); got != "FORMERR qr\n? static.example.com. A" {
		t.Errorf("a query that does not fit its buffer: %s", got)
	}
}

// TestAnswerSize holds every answer to what the requestor takes.
func TestAnswerSize(t *testing.T) {
	r, err := server.NewResponder(server.Config{Identity: strings.Repeat("n", server.IdentityMax), UDPPayload: 1400}, testWorld(t))
	if err != nil {
		t.Fatal(err)
	}
	nsid := &dns.EDNS0_NSID{Code: dns.EDNS0NSID}
	for _, name := range []string{"big", "many", "static", "none", "www", "x.sub", "link"} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT} {
			for _, size := range []uint16{0, 511, 512, 700, 1232, 1300, 1400, 4096} {
				q := ask(t, name+".example.com.", qtype, edns(size, nsid, ecs("2001:db8:1:2:3:4:5:6/128")))
				limit := min(max(int(size), 512), 1400)
				if n := len(r.Answer(server.UDP, clientEU, q, server.BufferLen)); n > limit {
					t.Errorf("%s, type %d: %d octets for a requestor that takes %d", name, qtype, n, size)
				}
				if n := len(r.Answer(server.TCP, clientEU, q, dnswire.MessageMax)); n == 0 {
					t.Errorf("%s, type %d: no answer over TCP", name, qtype)
				}
			}
		}
	}
	whole := r.Answer(server.TCP, clientEU, ask(t, "big.example.com.", dns.TypeA), dnswire.MessageMax)
	if got := strings.Count(text(t, whole), "\n="); got != 100 {
		t.Errorf("%d records over TCP, want 100", got)
	}
	many := r.Answer(server.TCP, clientEU, ask(t, "many.example.com.", dns.TypeAAAA), dnswire.MessageMax)
	if got := strings.Count(text(t, many), "\n="); got != 5*manyCount {
		t.Errorf("%d records over TCP, want %d: all addresses of all targets", got, 5*manyCount)
	}
}

func TestChaosFunc(t *testing.T) {
	long := strings.Repeat("x", 300)
	cfg := server.Config{
		ChaosAllow: []netip.Prefix{netip.PrefixFrom(clientEU, 32)},
		Chaos: func(_ *server.World, q *dnswire.Query, source netip.Addr) ([]string, bool) {
			switch {
			case source != clientEU:
				t.Errorf("asked for %s", source)
			case q.Type == dnswire.TypeTXT && string(q.Name[:q.NameLen]) == "\x04long\x06geodns\x00":
				return slices.Repeat([]string{long}, 400), true
			case string(q.Name[:q.NameLen]) == "\x04none\x06geodns\x00":
				return nil, false
			}
			return []string{"one", long}, true
		},
	}
	r, err := server.NewResponder(cfg, testWorld(t))
	if err != nil {
		t.Fatal(err)
	}
	q := ask(t, "www.explain.geodns.", dns.TypeTXT, chaosClass)
	for _, c := range []struct {
		about     string
		query     []byte
		transport server.Transport
		source    netip.Addr
		want      string
	}{
		{
			"allowed", q, server.TCP, clientEU,
			"NOERROR aa qr\n= www.explain.geodns. 0 CH TXT \"one\"\n= www.explain.geodns. 0 CH TXT \"" + long[:255] + "\"\n? www.explain.geodns. TXT",
		},
		{"over UDP", q, server.UDP, clientEU, "NOERROR aa qr tc\n? www.explain.geodns. TXT"},
		{"over UDP, nothing", ask(t, "none.geodns.", dns.TypeTXT, chaosClass), server.UDP, clientEU, "NOERROR aa qr tc\n? none.geodns. TXT"},
		{"another client, over UDP", q, server.UDP, clientUS, "REFUSED qr\n? www.explain.geodns. TXT"},
		{"another client", q, server.TCP, clientUS, "REFUSED qr\n? www.explain.geodns. TXT"},
		{"too much", ask(t, "long.geodns.", dns.TypeTXT, chaosClass), server.TCP, clientEU, "NOERROR aa qr tc\n? long.geodns. TXT"},
		{"another name", ask(t, "authors.bind.", dns.TypeTXT, chaosClass), server.UDP, clientEU, "REFUSED qr\n? authors.bind. TXT"},
		{"nothing", ask(t, "none.geodns.", dns.TypeTXT, chaosClass), server.TCP, clientEU, "REFUSED qr\n? none.geodns. TXT"},
		{"no identity", ask(t, "id.server.", dns.TypeTXT, chaosClass), server.TCP, clientEU, "REFUSED qr\n? id.server. TXT"},
	} {
		if got := text(t, r.Answer(c.transport, c.source, c.query, dnswire.MessageMax)); got != c.want {
			t.Errorf("%s: answer:\n%s\nwant:\n%s", c.about, got, c.want)
		}
	}
}

// TestStats checks that each thing is counted once.
func TestStats(t *testing.T) {
	r, err := server.NewResponder(server.Config{}, testWorld(t))
	if err != nil {
		t.Fatal(err)
	}
	v6 := netip.MustParseAddr("2001:db8::1")
	for _, q := range [][]byte{
		ask(t, "static.example.com.", dns.TypeA), ask(t, "www.example.com.", dns.TypeA, edns(1232, ecs("10.0.0.0/24"))),
		ask(t, "none.example.com.", dns.TypeA), ask(t, "static.example.com.", dns.TypeMX), ask(t, "x.sub.example.com.", dns.TypeA),
		ask(t, "example.net.", dns.TypeA), ask(t, "dead.example.com.", dns.TypeA), ask(t, "big.example.com.", dns.TypeA),
		{1, 2, 3},
	} {
		r.Answer(server.UDP, clientEU, q, server.BufferLen)
	}
	r.Answer(server.TCP, v6, ask(t, "a.star.example.com.", dns.TypeA), server.BufferLen)
	got := r.Stats()
	if got.Queries != [2][2]uint64{{9, 0}, {0, 1}} {
		t.Errorf("queries %v", got.Queries)
	}
	for kind, want := range map[server.Kind]uint64{
		server.Static: 3, server.Steered: 1, server.Negative: 2, server.Referral: 1, server.Refused: 1, server.Failed: 1, server.Chaos: 0,
	} {
		if got.Kinds[kind] != want {
			t.Errorf("%s answers: %d, want %d", kind, got.Kinds[kind], want)
		}
	}
	for rcode, want := range map[int]uint64{dns.RcodeSuccess: 6, dns.RcodeNameError: 1, dns.RcodeRefused: 1, dns.RcodeServerFailure: 1} {
		if got.Rcodes[rcode] != want {
			t.Errorf("%s answers: %d, want %d", dns.RcodeToString[rcode], got.Rcodes[rcode], want)
		}
	}
	if got.Drops[server.DropShort] != 1 || got.Truncated != 1 || got.ECS != 1 || got.Policies["www"] != 1 || got.Policies["dead"] != 1 || got.Policies["host"] != 0 {
		t.Errorf("stats %+v", got)
	}
}
