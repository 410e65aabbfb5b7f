package node_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"geodns/internal/node"
	"geodns/pkg/dnswire"
	"geodns/pkg/policy"
	"geodns/pkg/server"
)

// chaos asks a TXT question of class CH and gives the lines of the answer, again if it was not made in time: the machine is busy.
func chaos(t *testing.T, n *node.Node, network, name, subnet string) (lines []string, r *dns.Msg) {
	t.Helper()
	eventually(t, name+" is answered in time", func() bool {
		lines, r = chaosOnce(t, n, network, name, subnet)
		return len(lines) != 1 || !strings.HasPrefix(lines[0], "this takes longer than ")
	})
	return lines, r
}

// chaosOnce asks a TXT question of class CH.
func chaosOnce(t *testing.T, n *node.Node, network, name, subnet string) (lines []string, r *dns.Msg) {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, dns.TypeTXT)
	m.Question[0].Qclass = dns.ClassCHAOS
	m.SetEdns0(1232, false)
	if subnet != "" {
		p := netip.MustParsePrefix(subnet)
		e := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(p.Bits()), Address: p.Addr().AsSlice()}
		if p.Addr().Is6() {
			e.Family = 2
		}
		m.IsEdns0().Option = append(m.IsEdns0().Option, e)
	}
	r, _, err := (&dns.Client{Net: network, Timeout: 5 * time.Second}).Exchange(m, n.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	for _, rr := range r.Answer {
		if txt, ok := rr.(*dns.TXT); ok {
			for _, s := range txt.Txt { // in presentation form
				lines = append(lines, strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(s))
			}
		}
	}
	return lines, r
}

// TestExplainOverDig holds the explanation that dig shows against the one of `geodns explain`, and against the answer itself.
func TestExplainOverDig(t *testing.T) {
	b := startBackends(t, "127.0.0.21", "127.0.0.22", "127.0.0.23")
	cfg := config(t, map[string]string{"example.com.zone": zoneText + "*.w IN STEER www\na\\.b IN A 192.0.2.1\n", "www.yaml": steered(b[0].addr.Port())})
	n, _ := run(t, cfg)
	allUp(t, n)
	for _, c := range []struct {
		name, subnet string
		q            policy.Question
	}{
		{"www.example.com.", "203.0.113.0/24", policy.Question{Name: "www.example.com", Client: netip.MustParsePrefix("203.0.113.0/24")}},
		{"www.example.com.", clientEU, policy.Question{Name: "www.example.com", Client: netip.MustParsePrefix(clientEU)}},
		{"WWW.Example.com.", "", policy.Question{Name: "www.example.com", Client: netip.MustParsePrefix("127.0.0.1/32")}},
		{"www.example.com.", "0.0.0.0/0", policy.Question{Name: "www.example.com", Client: netip.MustParsePrefix("127.0.0.1/32")}},
		{"_aaaa.www.example.com.", "2001:db8::/32", policy.Question{Name: "www.example.com", Type: "AAAA", Client: netip.MustParsePrefix("2001:db8::/32")}},
		{"_type65.www.example.com.", "", policy.Question{Name: "www.example.com", Type: "TYPE65", Client: netip.MustParsePrefix("127.0.0.1/32")}},
		{"_a._mx.w.example.com.", "", policy.Question{Name: "_mx.w.example.com", Client: netip.MustParsePrefix("127.0.0.1/32")}},
		{"_https.w.example.com.", "", policy.Question{Name: "_https.w.example.com", Client: netip.MustParsePrefix("127.0.0.1/32")}},
		{"_soa.example.com.", "", policy.Question{Name: "example.com", Type: "SOA", Client: netip.MustParsePrefix("127.0.0.1/32")}},
		{`a\.b.example.com.`, "", policy.Question{Name: `a\.b.example.com`, Client: netip.MustParsePrefix("127.0.0.1/32")}},
		{"no.example.com.", "", policy.Question{Name: "no.example.com", Client: netip.MustParsePrefix("127.0.0.1/32")}},
		{"_ns.", "", policy.Question{Name: ".", Type: "NS", Client: netip.MustParsePrefix("127.0.0.1/32")}},
		{"www.example.org.", "", policy.Question{Name: "www.example.org", Client: netip.MustParsePrefix("127.0.0.1/32")}},
	} {
		lines, r := chaos(t, n, "tcp", c.name+"explain.geodns.", c.subnet)
		e, err := n.Explained(c.q)
		if err != nil {
			t.Fatal(err)
		}
		want := node.FitLines(strings.Split(strings.TrimSuffix(e.Text(), "\n"), "\n"))
		got := withoutProbes(lines[:len(lines)-1])
		if want = withoutProbes(want); r.Rcode != dns.RcodeSuccess || !r.Authoritative || !slices.Equal(got, want) {
			t.Errorf("%s %s: %s\n%s\nwant\n%s", c.name, c.subnet, dns.RcodeToString[r.Rcode], strings.Join(lines, "\n"), strings.Join(want, "\n"))
		}
		if last := lines[len(lines)-1]; !strings.Contains(last, "test, world "+n.World().ID()) {
			t.Errorf("%s: the last line is %q", c.name, last)
		}
	}
	lines, _ := chaos(t, n, "tcp", "www.example.com.explain.geodns.", clientEU)
	answer := ask(t, n, "www.example.com.", dns.TypeA, clientEU)
	want := strings.Join(strings.Fields(answer.Answer[0].String()), " ")
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasSuffix(l, want) }) {
		t.Errorf("no %q in\n%s", want, strings.Join(lines, "\n"))
	}
}

// notes is how far the notes on targets are indented.
const notes = "              "

// withoutProbes leaves out what changes with each probe.
func withoutProbes(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.HasPrefix(l, notes+"own vote: ") })
}

// TestChaosNames shows the other names, and those that are none.
func TestChaosNames(t *testing.T) {
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(1)})
	n, _ := run(t, cfg)
	for name, want := range map[string][]string{
		"status.geodns.":  {"node      test, test, up ", "world     " + n.World().ID(), "zone      example.com. serial 1", "geo       built-in", "targets   up 0, ", "cookies   state, secrets "},
		"Client.GeoDNS.":  {"source    127.0.0.1", "ecs       193.0.0.0/24, which decides", "edns      payload 1232", "place     decided for 193.0.0.0/24: EU"},
		"explain.geodns.": {"ask NAME.explain.geodns", "ask _aaaa.NAME"},
		"id.server.":      {"test"},
	} {
		lines, r := chaos(t, n, "tcp", name, clientEU)
		text := strings.Join(lines, "\n")
		for _, w := range want {
			if r.Rcode != dns.RcodeSuccess || !strings.Contains(text, w) {
				t.Errorf("%s: %s, no %q in\n%s", name, dns.RcodeToString[r.Rcode], w, text)
			}
		}
	}
	for _, name := range []string{"geodns.", ".", "x.status.geodns.", "x.client.geodns.", "other.geodns.", "explain.geodns.example.com.", "explainxgeodns."} {
		if lines, r := chaos(t, n, "tcp", name, ""); r.Rcode != dns.RcodeRefused || len(lines) > 0 {
			t.Errorf("%s: %s, %q", name, dns.RcodeToString[r.Rcode], lines)
		}
	}
}

// TestChaosAllowed shows who may ask, and that nobody gets anything by writing another's address on a datagram.
func TestChaosAllowed(t *testing.T) {
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(1)})
	n, _ := run(t, cfg)
	if lines, r := chaos(t, n, "udp", "status.geodns.", ""); !r.Truncated || len(lines) > 0 {
		t.Errorf("over UDP without a cookie: %q", lines)
	}
	for _, allow := range [][]netip.Prefix{{}, {netip.MustParsePrefix("192.0.2.0/24")}} {
		cfg = config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(1)})
		cfg.ExplainAllow = allow
		n, _ = run(t, cfg)
		for _, network := range []string{"udp", "tcp"} {
			if lines, r := chaos(t, n, network, "status.geodns.", ""); r.Rcode != dns.RcodeRefused || len(lines) > 0 {
				t.Errorf("%v, %s: %s, %q", allow, network, dns.RcodeToString[r.Rcode], lines)
			}
		}
	}
	cfg = config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(1)})
	cfg.Listen = []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:0")}
	cfg.HealthAllow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	n, _ = run(t, cfg)
	m := new(dns.Msg).SetQuestion("status.geodns.", dns.TypeTXT)
	m.Question[0].Qclass = dns.ClassCHAOS
	r, _, err := (&dns.Client{Net: "tcp"}).Exchange(m, fmt.Sprintf("127.0.0.1:%d", n.Addrs()[0].Port()))
	if err != nil || r.Rcode != dns.RcodeRefused {
		t.Errorf("while a listener is open to others, loopback is allowed by itself: %v, %v", r, err)
	}
}

// question is a question of class CH as the server parses it.
func question(t testing.TB, name, subnet string) *dnswire.Query {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, dns.TypeTXT)
	m.Question[0].Qclass = dns.ClassCHAOS
	if subnet != "" {
		p := netip.MustParsePrefix(subnet)
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(p.Bits()), Address: p.Addr().AsSlice()})
	}
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	q := new(dnswire.Query)
	if out := q.Parse(wire); out != dnswire.OK {
		t.Fatalf("%s is parsed with outcome %d", name, out)
	}
	return q
}

// loopback is a source that may ask.
var loopback = netip.MustParseAddr("127.0.0.1")

// TestChaosWorld shows that a question is explained by the world that it met, also when that has just been replaced.
func TestChaosWorld(t *testing.T) {
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(1)})
	n, _ := run(t, cfg)
	old, load := n.World(), n.CurrentLoad()
	q := question(t, "www.example.com.explain.geodns.", clientEU)
	explained := func() string {
		lines, ok := n.Chaos(old, q, loopback)
		if !ok {
			t.Fatal("the question is refused")
		}
		lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, notes) }) // of the checker, which goes on
		return strings.Join(lines, "\n")
	}
	before := explained()
	write(t, cfg.Zones, map[string]string{"example.com.zone": strings.Replace(zoneText, "www  60", "www  17", 1)})
	for range 2 { // the second finds nothing new, as one does that the watcher came before
		if l, err := n.Reload(context.Background(), "test"); err != nil || l.Result == "refused" {
			t.Fatal(l, err)
		}
	}
	after := explained()
	runtime.KeepAlive(load) // until here: a collection follows each load
	if after != before {
		t.Errorf("the world before is explained as\n%s\nand was as\n%s", after, before)
	}
	if lines, _ := chaos(t, n, "tcp", "www.example.com.explain.geodns.", clientEU); !strings.Contains(strings.Join(lines, "\n"), "the record's 17") {
		t.Errorf("the world of now is explained as %s", strings.Join(lines, "\n"))
	}
	write(t, cfg.Zones, map[string]string{"example.com.zone": strings.Replace(zoneText, "www  60", "www  18", 1)})
	if _, err := n.Reload(context.Background(), "test"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a world that nobody has any more is forgotten", func() bool {
		runtime.GC()
		return strings.Contains(explained(), "was just replaced; ask again")
	})
}

// TestChaosFault shows that a panic in an explanation ends there, and is counted.
func TestChaosFault(t *testing.T) {
	var log logText
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(1)})
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	n, _ := run(t, cfg)
	lines, ok := n.Chaos(nil, question(t, "www.example.com.explain.geodns.", ""), loopback)
	if !ok || len(lines) != 1 || !strings.Contains(lines[0], "a fault of this program") || n.Faults() != 1 || log.count("nil pointer") != 1 {
		t.Errorf("%q, %d faults, log %s", lines, n.Faults(), log.text.String())
	}
	if lines, _ = chaos(t, n, "tcp", "status.geodns.", ""); !strings.HasPrefix(lines[len(lines)-1], "faults    1 ") {
		t.Errorf("the status ends in %q", lines[len(lines)-1])
	}
	release := n.HoldAsking()
	lines, ok = n.Chaos(n.World(), question(t, "status.geodns.", ""), loopback)
	release()
	if !ok || len(lines) != 1 || !strings.HasPrefix(lines[0], "busy: ") {
		t.Errorf("with no room for an answer: %q", lines)
	}
	release = n.HoldStatus()
	lines, ok = n.Chaos(n.World(), question(t, "status.geodns.", ""), loopback)
	release()
	if !ok || len(lines) != 1 || !strings.HasPrefix(lines[0], "this takes longer than ") {
		t.Errorf("an answer that is stuck: %q", lines)
	}
}

// TestFitLines shows how long lines go on.
func TestFitLines(t *testing.T) {
	words := strings.Repeat("seventeen letters ", 60)
	got := node.FitLines([]string{"short", words, strings.Repeat("x", 600)})
	if joined := strings.Join(got[1:len(got)-3], " "); strings.Join(strings.Fields(joined), " ") != strings.TrimSpace(words) {
		t.Errorf("the words became %q", joined)
	}
	for _, l := range got {
		if len(l) > server.TXTStringMax {
			t.Errorf("a line of %d octets", len(l))
		}
	}
	for n := node.ChaosLinesMax - 2; n < node.ChaosLinesMax+900; n++ {
		lines := make([]string, n)
		lines[0], lines[n-1] = "first", "last"
		got := node.FitLines(lines)
		if len(got) != min(n, node.ChaosLinesMax) || got[0] != "first" || got[len(got)-1] != "last" {
			t.Errorf("%d lines became %d, %q to %q", n, len(got), got[0], got[len(got)-1])
		}
		left := fmt.Sprintf("and %d lines more here, which the API has", n-node.ChaosLinesMax+1)
		if slices.Contains(got, left) != (n > node.ChaosLinesMax) {
			t.Errorf("%d lines: %q: %t", n, left, slices.Contains(got, left))
		}
	}
}

// FuzzChaos asks for any name with any subnet: an answer has lines that fit, and nothing panics.
func FuzzChaos(f *testing.F) {
	for _, name := range []string{"\x03www\x07example\x03com", "\x05_aaaa\x03www\x07example\x03com", "\x04a.\\b\x07example\x03com", "\x01*\x07example\x03com", "\x07_type65\x00", ""} {
		f.Add([]byte(name), uint64(0xcb007100), uint8(24), false)
		f.Add([]byte(name), uint64(0x20010db800000000), uint8(56), true)
	}
	cfg := config(f, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(1)})
	n, _ := run(f, cfg)
	w := n.World()
	f.Fuzz(func(t *testing.T, name []byte, addr uint64, source uint8, six bool) {
		var q dnswire.Query
		var packet []byte
		packet = append(packet, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1)
		packet = append(append(packet, name...), "\x07explain\x06geodns\x00\x00\x10\x00\x03"...)
		opt := []byte{0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1, source, 0}
		octets := binary.BigEndian.AppendUint64(nil, addr<<32)
		if six {
			octets = binary.BigEndian.AppendUint64(nil, addr)
			opt[16] = 2
		}
		octets = octets[:min(len(octets), (int(source)+7)/8)]
		opt[10], opt[14] = byte(8+len(octets)), byte(4+len(octets))
		if q.Parse(append(append(packet, opt...), octets...)) != dnswire.OK {
			return
		}
		lines, ok := n.AnswerChaos(w, &q, loopback)
		if !ok {
			return // a name that ends before ours
		}
		if n.Faults() > 0 || len(lines) == 0 || len(lines) > node.ChaosLinesMax {
			t.Fatalf("%d faults, %q", n.Faults(), lines)
		}
		for _, l := range lines {
			if len(l) > server.TXTStringMax {
				t.Fatalf("a line of %d octets: %q", len(l), l)
			}
		}
		if strings.Contains(lines[0], "is no domain name") {
			t.Fatalf("%q becomes a name that is none: %s", name, lines[0])
		}
	})
}

// TestECSOff shows that the queries of a zone that ignores ECS are answered by their source, without a subnet in the reply, and are
// explained so.
func TestECSOff(t *testing.T) {
	files := map[string]string{
		"example.com.zone": zoneText, "example.net.zone": zoneText + "sub IN NS ns1\n", "sub.example.net.zone": zoneText, "www.yaml": unprobed,
	}
	cfg := config(t, files)
	cfg.ECSOff = []node.ZoneName{{Name: "example.net."}, {Name: "example.org."}}
	n, _ := run(t, cfg)
	own := addrs(ask(t, n, "www.example.com.", dns.TypeA, ""))
	for zone, off := range map[string]bool{"example.com.": false, "example.net.": true, "sub.example.net.": false} {
		r := ask(t, n, "www."+zone, dns.TypeA, clientEU)
		echoed := slices.ContainsFunc(r.IsEdns0().Option, func(o dns.EDNS0) bool { return o.Option() == dns.EDNS0SUBNET })
		if echoed == off || (addrs(r) == own) != off {
			t.Errorf("%s: subnet echoed: %t, answer %s; a client of our own address gets %s", zone, echoed, addrs(r), own)
		}
		lines, _ := chaos(t, n, "tcp", "www."+zone+"explain.geodns.", clientEU)
		if text := strings.Join(lines, "\n"); strings.Contains(text, "ecs.off has this zone") != off || strings.Contains(text, "(ECS)") == off || strings.Contains(text, " IN A "+own+"\n") != off {
			t.Errorf("%s is explained as\n%s", zone, text)
		}
	}
	// The zone is the one that the answer is from: not by how names end as text, and for DS at an apex the one above.
	for _, c := range []struct {
		name, qtype, zone string
		off               bool
	}{
		{`a\.example.net`, "A", "", false},
		{"example.net", "DS", "example.net.", true},
		{"sub.example.net", "DS", "example.net.", true},
		{"sub.example.net", "SOA", "sub.example.net.", false},
		{"x.sub.example.net", "DS", "sub.example.net.", false},
		{"EXAMPLE.net", "A", "example.net.", true},
	} {
		e, err := n.Explained(policy.Question{Name: c.name, Type: c.qtype, Client: netip.MustParsePrefix(clientEU)})
		if err != nil {
			t.Fatal(err)
		}
		if zone, _, _ := strings.Cut(e.Zone, " "); zone != c.zone || strings.Contains(e.Note, "ecs.off") != c.off || e.ECS == c.off {
			t.Errorf("%s %s: zone %q, ECS %t, note %s", c.name, c.qtype, e.Zone, e.ECS, e.Note)
		}
	}
	if fs := node.Check(cfg).Findings; fs.HasErrors() || len(fs) != 1 || !strings.Contains(fs[0].Message, `ecs.off names "example.org."`) {
		t.Errorf("check says %v", fs)
	}
}

// TestMaxScopes shows that the limit on scopes reaches the compiler.
func TestMaxScopes(t *testing.T) {
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(1)})
	for limit, refused := range map[int]bool{0: false, 2: true, 100_000: false} {
		cfg.MaxScopes = limit
		fs := node.Check(cfg).Findings
		if fs.HasErrors() != refused || (refused && (!strings.HasSuffix(fs[0].File, "www.yaml") || !strings.Contains(fs[0].Message, "ecs.max_scopes, which is 2"))) {
			t.Errorf("max_scopes %d: %v", limit, fs)
		}
	}
}
