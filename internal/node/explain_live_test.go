package node_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"geodns/internal/dnstest"
	"geodns/internal/node"
	"geodns/pkg/policy"
	"geodns/pkg/steering"
)

// The policies of TestExplainIsServed, one of each kind, all over unchecked pools: their states are the test's alone. Targets of pool
// hash and its fallback alone admit a part of their traffic: for them that is no draw of its own for each query.
const livePolicies = `
regions:
  - {name: fra, location: [50.11, 8.68],   pair: ams, jurisdictions: [eu], cost: 0.02}
  - {name: ams, location: [52.37, 4.90],   pair: fra, jurisdictions: [eu], cost: 0.03}
  - {name: iad, location: [39.04, -77.49], jurisdictions: [us], cost: 0.05}
  - {name: sin, location: [1.35, 103.82],  cost: 0.09}
pools:
  - name: web
    fallback: dr
    min_up: 2
    targets:
      - {name: f1, region: fra, values: [192.0.2.1, "2001:db8::1"], weight: 3}
      - {name: f2, region: fra, values: [192.0.2.2, "2001:db8::2"], weight: 1}
      - {name: a1, region: ams, values: [192.0.2.3, "2001:db8::3"], weight: 1}
      - {name: i1, region: iad, values: [192.0.2.4, 192.0.2.104, "2001:db8::4"], weight: 2}
  - name: dr
    targets:
      - {name: s1, region: sin, values: [203.0.113.1, "2001:db8::5"]}
      - {name: i2, region: iad, values: [203.0.113.2, "2001:db8::6"]}
  - name: hash
    fallback: hash-dr
    targets:
      - {name: h1, region: fra, values: [198.51.100.1]}
      - {name: h2, region: iad, values: [198.51.100.2]}
      - {name: h3, region: iad, values: [198.51.100.3]}
      - {name: h4, region: sin, values: [198.51.100.4]}
  - name: hash-dr
    targets: [{name: h5, region: ams, values: [198.51.100.5]}, {name: h6, region: ams, values: [198.51.100.6]}]
  - {name: cdn, targets: [{name: one, region: fra, values: [one.example.net.]}, {name: two, region: sin, values: [two.example.net.]}]}
maps:
  - name: wide
    areas: {default: [iad, fra, "*"], EU: [fra, ams, iad], AS: [sin, iad]}
    subnets: {127.1.0.0/16: [sin], 193.0.1.0/25: [ams, "*"]}
policies:
  - {name: weighted, ttl: {min: 7, max: 45}, all_down: serve-all, rules: [{name: all, pool: web}]}
  - {name: two, answers: 2, ttl: {min: 7, max: 45}, all_down: serve-all, rules: [{name: home, subnets: [127.2.0.0/15], pool: dr}, {name: all, pool: web}]}
  - {name: near, ttl: {min: 7, max: 45}, all_down: serve-first, rules: [{name: all, pool: web, rank: [{nearest: {band: 600km}}, cost]}]}
  - {name: mapped, ttl: {min: 7, max: 45}, all_down: servfail, rules: [{name: all, pool: web, rank: [{map: wide}, listed]}]}
  - name: fenced
    ttl: {min: 7, max: 45}
    all_down: servfail
    rules:
      - {name: unplaced, geos: [unknown], pool: web, rank: [listed], fence: [us]}
      - {name: residents, geos: [EU], pool: web, rank: [nearest], fence: [eu]}
      - {name: others, pool: web, rank: [cost], fence: none}
  - {name: hash, pick: hash, ttl: {min: 7, max: 45}, all_down: serve-all, rules: [{name: asia, geos: [AS], pool: hash, rank: [nearest]}, {name: all, pool: hash}]}
  - {name: cdn, ttl: {min: 7, max: 45}, all_down: servfail, rules: [{name: all, pool: cdn, rank: [{map: wide}, listed]}]}
`

const (
	liveLeast, liveMost = 7, 45 // TTLs of every policy in livePolicies
	liveRound           = 50    // questions between two changes of states
	liveDark            = 5     // in every so many rounds nearly all is down
	liveChaos           = 10    // every so many questions are asked of class CH, too
)

// TestExplainIsServed asks random questions of a running node, and its API for an explanation of each: choice, TTL and scope are what
// came over the wire. What is drawn anew for each query is one of the candidates that the explanation names. And dig is told what the
// API tells.
func TestExplainIsServed(t *testing.T) {
	r := rand.New(rand.NewPCG(dnstest.Seed(t), 0))
	var zone strings.Builder
	zone.WriteString(strings.Replace(zoneText, "www  60 IN STEER www\n", "alias 60 IN CNAME near\nns2 IN A 127.0.0.2\n", 1))
	names := []string{"alias", "ns2"}
	for _, p := range []string{"weighted", "two", "near", "mapped", "fenced", "hash", "cdn"} {
		fmt.Fprintf(&zone, "%s 60 IN STEER %s\n*.%s 60 IN STEER %s\n", p, p, p, p)
		names = append(names, p, p, "any."+p)
	}
	cfg := config(t, map[string]string{"example.com.zone": zone.String(), "www.yaml": livePolicies})
	cfg.Workers = 1
	n, _ := run(t, cfg)
	l := newLive(t, r, n)
	questions := 1_500
	if os.Getenv("GEODNS_PROVE") != "" {
		questions = 100_000
	}
	for i := range questions {
		if i%liveRound == 0 {
			l.newStates(i/liveRound%liveDark == 0)
		}
		l.question(names[r.IntN(len(names))]+".example.com.", i%liveChaos == 0)
	}
	t.Logf("%v", l.seen)
	for _, what := range []string{"static", "SERVFAIL", "NODATA", "drawn", "two drawn", "pass 1", "pass 2", "pass 3", "scope", "ttl least", "ttl most", "ECS", "own", "CNAME", "dig"} {
		if l.seen[what] == 0 {
			t.Errorf("%q was never seen", what)
		}
	}
}

// live asks a node.
type live struct {
	t    *testing.T
	r    *rand.Rand
	n    *node.Node
	api  *http.Client
	from []*dns.Conn // sockets at several addresses
	seen map[string]int
}

// newLive opens the sockets that it asks from, until the test ends.
func newLive(t *testing.T, r *rand.Rand, n *node.Node) *live {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 1}
	t.Cleanup(transport.CloseIdleConnections)
	l := &live{t: t, r: r, n: n, api: &http.Client{Transport: transport, Timeout: soon}, seen: map[string]int{}}
	for _, a := range []string{"127.0.0.1", "127.0.9.1", "127.1.0.1", "127.1.77.2", "127.2.0.1", "127.3.3.3", "127.44.0.9"} {
		dialer := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(a)}}
		conn, err := dialer.DialContext(t.Context(), "udp", n.Addrs()[0].String())
		if err != nil {
			t.Skipf("no socket at %s: %v", a, err) // loopback has one address on some systems
		}
		t.Cleanup(func() { _ = conn.Close() })
		l.from = append(l.from, &dns.Conn{Conn: conn, UDPSize: 4096})
	}
	return l
}

// newStates publishes random states, or such that nearly all targets are down.
func (l *live) newStates(dark bool) {
	bad := l.r.Float64() * 1.1
	err := l.n.PublishStates(func(id string) steering.Verdict {
		v := steering.Unchecked()
		if dark && l.r.IntN(20) > 0 {
			v.State, v.InDoubt = steering.Down, l.r.IntN(2) == 0
			return v
		}
		if l.r.Float64() < bad {
			v = steering.Verdict{State: steering.State(l.r.IntN(4)), InDoubt: l.r.IntN(2) == 0, Drained: l.r.IntN(5) == 0, Admit: steering.AdmitAll}
			switch {
			case l.r.IntN(3) == 0:
				v.Admit = 0
			case strings.HasPrefix(id, "hash") && l.r.IntN(2) == 0:
				v.Admit = uint16(l.r.Uint32())
			}
		}
		return v
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

// subnet is a random client of which more or less is said; half of them near what the policies tell apart.
func (l *live) subnet() netip.Prefix {
	a := netip.AddrFrom4([4]byte{byte(1 + l.r.IntN(222)), byte(l.r.Uint32()), byte(l.r.Uint32()), byte(l.r.Uint32())})
	bits := []int{8, 13, 16, 20, 24, 24, 24, 25, 32}
	if l.r.IntN(2) == 0 {
		near := []string{"127.1.0.9", "127.2.200.1", "193.0.1.4", "193.0.1.130", "193.0.77.1", "8.8.8.8"}
		a = netip.MustParseAddr(near[l.r.IntN(len(near))])
	}
	if l.r.IntN(4) == 0 {
		var b [16]byte
		for i := range b {
			b[i] = byte(l.r.Uint32())
		}
		b[0], b[1] = 0x20|b[0]&0x0f, b[1]&0x0f
		a, bits = netip.AddrFrom16(b), []int{32, 48, 56, 56, 64, 128}
	}
	return netip.PrefixFrom(a, bits[l.r.IntN(len(bits))]).Masked()
}

// question asks one name both ways.
func (l *live) question(name string, chaosToo bool) {
	l.t.Helper()
	qtype := []uint16{dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeTXT}[l.r.IntN(4)]
	conn := l.from[l.r.IntN(len(l.from))]
	source := netip.MustParseAddrPort(conn.LocalAddr().String()).Addr()
	client, subnet := netip.PrefixFrom(source, source.BitLen()), ""
	if l.r.IntN(3) > 0 {
		client = l.subnet()
		if client.IsSingleIP() { // over the API that is the query's own source
			client = netip.PrefixFrom(client.Addr(), client.Bits()-1).Masked()
		}
		subnet = client.String()
	}
	got, scope := l.exchange(conn, name, qtype, subnet)
	var e policy.Explanation
	if err := json.Unmarshal([]byte(l.explain(name, qtype, client, "application/json")), &e); err != nil {
		l.t.Fatal(err)
	}
	if e.Kind == "steered" && e.Name == "alias.example.com." && len(got.Answer) > 0 {
		got.Answer = got.Answer[1:] // its own CNAME
	}
	l.compare(&e, got, scope)
	l.count(&e, subnet)
	drawn := !slices.Contains([]string{"", "hash", "mapped", "cdn"}, e.Policy)
	if !chaosToo || drawn || subnet == "" && source != loopback {
		return
	}
	l.seen["dig"]++
	text := strings.Split(strings.TrimSuffix(l.explain(name, qtype, client, "text/plain"), "\n"), "\n")
	lines, _ := chaos(l.t, l.n, "tcp", "_"+strings.ToLower(dns.TypeToString[qtype])+"."+name+"explain.geodns.", subnet)
	lines = lines[:len(lines)-1]
	if e.Policy == "mapped" { // what takes over from one target may be drawn from two, for each question anew
		text, lines = withoutDraws(text), withoutDraws(lines)
	}
	if diff := cmp.Diff(node.FitLines(text), lines); diff != "" {
		l.t.Fatalf("%s: what the API tells, and what dig is told:\n%s", name, diff)
	}
}

// withoutDraws is an explanation without the lines that tell what would be drawn otherwise.
func withoutDraws(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.HasPrefix(l, "runner-up ") || strings.HasPrefix(l, "flip ") })
}

// compare holds an answer against its explanation.
func (l *live) compare(e *policy.Explanation, got *dns.Msg, scope int) {
	l.t.Helper()
	fail := func(what string, want any) {
		l.t.Helper()
		l.t.Fatalf("%s: want %v, got\n%s\nexplained as\n%s", what, want, got, e.Text())
	}
	if dns.RcodeToString[got.Rcode] != e.Rcode {
		fail("rcode", e.Rcode)
	}
	if e.ECS && scope != int(e.Scope) || !e.ECS && scope >= 0 {
		fail("scope", e.Scope)
	}
	if e.Kind != "steered" || len(e.Choice) == 0 {
		if e.Kind == "steered" && len(got.Answer) > 0 {
			fail("answers", 0)
		}
		return
	}
	values, candidates := map[string]*policy.TieredTarget{}, 0
	for i := range e.Tiers {
		for j := range e.Tiers[i].Targets {
			target := &e.Tiers[i].Targets[j]
			if strings.HasPrefix(target.Result, "chosen") || strings.HasPrefix(target.Result, "lost the draw") {
				candidates++
				for _, v := range target.Values {
					values[v] = target
				}
			}
		}
	}
	if candidates == len(e.Choice) || e.Policy == "hash" { // nothing is drawn for the query
		l.same(e, got, fail)
		return
	}
	l.seen["drawn"]++
	ids := map[string]bool{}
	for _, rr := range got.Answer {
		target := values[value(rr)]
		if target == nil {
			fail("one of the candidates", values)
		}
		ids[target.ID] = true
	}
	ttl, why := uint32(liveMost), e.TTLWhy
	for _, target := range values {
		if ids[target.ID] && target.InDoubt || strings.Contains(why, "a tier before") || strings.Contains(why, "all_down answers") {
			ttl = liveLeast
		}
	}
	if len(ids) != len(e.Choice) || got.Answer[len(got.Answer)-1].Header().Ttl != ttl {
		fail(fmt.Sprintf("%d targets with a ttl", len(e.Choice)), ttl)
	}
	if len(ids) > 1 {
		l.seen["two drawn"]++
	}
}

// same holds an answer of which nothing was drawn against its explanation.
func (l *live) same(e *policy.Explanation, got *dns.Msg, fail func(string, any)) {
	l.t.Helper()
	var have []string
	for _, rr := range got.Answer {
		have = append(have, strings.Join(strings.Fields(rr.String()), " "))
	}
	slices.Sort(have)
	if want := slices.Sorted(slices.Values(e.Answer)); !slices.Equal(have, want) {
		fail("records", want)
	}
}

// count notes what was seen.
func (l *live) count(e *policy.Explanation, subnet string) {
	l.seen[e.Kind]++
	l.seen[e.Rcode]++
	l.seen[map[bool]string{true: "own", false: "ECS"}[subnet == ""]]++
	switch {
	case e.Kind == "steered" && len(e.Tiers) == 0:
		l.seen["NODATA"]++
	case e.Kind != "steered" || len(e.Choice) == 0:
	case strings.HasPrefix(e.Choice[0], "cdn/"):
		l.seen["CNAME"]++
	}
	l.seen[fmt.Sprint("pass ", e.Pass)]++
	if e.Scope > 0 {
		l.seen["scope"]++
	}
	switch e.TTL {
	case liveLeast:
		l.seen["ttl least"]++
	case liveMost:
		l.seen["ttl most"]++
	}
}

// value is an answer's address or host name.
func value(rr dns.RR) string {
	switch rr := rr.(type) {
	case *dns.A:
		return rr.A.String()
	case *dns.AAAA:
		return rr.AAAA.String()
	case *dns.CNAME:
		return rr.Target
	}
	return rr.String()
}

// explain asks the API.
func (l *live) explain(name string, qtype uint16, client netip.Prefix, accept string) string {
	l.t.Helper()
	query := url.Values{"name": {name}, "type": {dns.TypeToString[qtype]}, "client": {client.String()}}
	request, err := http.NewRequestWithContext(l.t.Context(), http.MethodGet, "http://"+l.n.APIAddr().String()+"/v1/explain?"+query.Encode(), nil)
	if err != nil {
		l.t.Fatal(err)
	}
	request.Header.Set("Accept", accept)
	response, err := l.api.Do(request)
	if err != nil {
		l.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		l.t.Fatalf("%s: %s, %v: %s", request.URL, response.Status, err, body)
	}
	return string(body)
}

// exchange asks over UDP; the scope is -1 where none came.
func (l *live) exchange(conn *dns.Conn, name string, qtype uint16, subnet string) (*dns.Msg, int) {
	l.t.Helper()
	m := new(dns.Msg).SetQuestion(name, qtype)
	m.SetEdns0(1232, false)
	if subnet != "" {
		p := netip.MustParsePrefix(subnet)
		e := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(p.Bits()), Address: p.Addr().AsSlice()}
		if p.Addr().Is6() {
			e.Family = 2
		}
		m.IsEdns0().Option = append(m.IsEdns0().Option, e)
	}
	if err := conn.SetDeadline(time.Now().Add(soon)); err != nil {
		l.t.Fatal(err)
	}
	if err := conn.WriteMsg(m); err != nil {
		l.t.Fatal(err)
	}
	got, err := conn.ReadMsg()
	if err != nil || got.Id != m.Id {
		l.t.Fatalf("%s: %v, %v", name, got, err)
	}
	for _, o := range got.IsEdns0().Option {
		if e, ok := o.(*dns.EDNS0_SUBNET); ok {
			return got, int(e.SourceScope)
		}
	}
	return got, -1
}
