package policy_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/miekg/dns"

	"geodns/pkg/geo"
	"geodns/pkg/policy"
	"geodns/pkg/server"
	"geodns/pkg/steering"
	"geodns/pkg/zone"
)

// sharedDir is where test data that is not the project's lies.
func sharedDir() string {
	if dir := os.Getenv("GEODNS_SHARED"); dir != "" {
		return dir
	}
	return filepath.Join("..", "..", "..", "shared")
}

// TestServedMade asks a server whose geo database is made by the test.
func TestServedMade(t *testing.T) { served(t, seeded(t), madeCity(t)) }

// TestServedCity asks a server with MaxMind's City and ASN test databases.
func TestServedCity(t *testing.T) {
	var files []string
	for _, name := range []string{"GeoIP2-City-Test.mmdb", "GeoLite2-ASN-Test.mmdb"} {
		files = append(files, filepath.Join(sharedDir(), "data", "maxmind", "test-data", name))
	}
	if _, err := os.Stat(files[0]); err != nil {
		t.Skipf("MaxMind's test databases are not here: %v", err)
	}
	served(t, seeded(t), files...)
}

// TestServedTor asks a server with Debian's country ranges, 662,000 of them.
func TestServedTor(t *testing.T) {
	files := []string{"/usr/share/tor/geoip", "/usr/share/tor/geoip6"}
	if _, err := os.Stat(files[0]); err != nil {
		t.Skipf("Debian's tor-geoipdb is not installed: %v", err)
	}
	if !prove() {
		t.Skip("long: run with GEODNS_PROVE=1")
	}
	served(t, seeded(t), files...)
}

// madeCity writes a small City database: countries and cities on all continents, in networks of many lengths.
func madeCity(t *testing.T) string {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test-City", RecordSize: 28, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(7, 7))
	for range 3000 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(r.IntN(224)), byte(r.IntN(4)), byte(r.IntN(256)), 0}), 8+r.IntN(20)).Masked()
		if r.IntN(2) == 0 {
			var a [16]byte
			binary.BigEndian.PutUint64(a[:], 0x2a00_0000_0000_0000|uint64(r.IntN(1<<8))<<44|uint64(r.IntN(64))<<10)
			p = netip.PrefixFrom(netip.AddrFrom16(a), 20+r.IntN(40)).Masked()
		}
		place := one(r, "EU DE 50.1 8.7", "EU FR 48.9 2.3", "EU GB 51.5 -0.1", "NA US 37.8 -122.4", "NA US 40.7 -74", "SA BR -23.5 -46.6", "AS JP 35.7 139.7", "AS IN 19 72.8", "OC AU -33.9 151.2", "AF ZA -26.2 28")
		f := strings.Fields(place)
		record := mmdbtype.Map{
			"continent": mmdbtype.Map{"code": mmdbtype.String(f[0])}, "country": mmdbtype.Map{"iso_code": mmdbtype.String(f[1])},
		}
		if r.IntN(3) > 0 {
			record["location"] = mmdbtype.Map{"latitude": mmdbtype.Float64(number(t, f[2])), "longitude": mmdbtype.Float64(number(t, f[3]))}
		}
		if err = w.Insert(&net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}, record); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "city.mmdb")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// number reads a decimal number.
func number(t *testing.T, s string) float64 {
	t.Helper()
	v, _ := twinNumber(s).Float64()
	return v
}

// servedClients is how many clients of each family are asked for.
const servedClients = 5000

// served serves the sample of eight regions over five continents with the geo databases over UDP, asks for random clients of both
// families under changing states, and holds every answer and scope against the twin's.
func served(t *testing.T, r *rand.Rand, databases ...string) {
	t.Helper()
	data, found := geo.Load(geo.Config{Databases: databases}, nil)
	if found.HasErrors() {
		t.Fatal(lines(found))
	}
	set, found := zone.Load(filepath.Join("testdata", "world"), 0)
	if found.HasErrors() {
		t.Fatal(lines(found))
	}
	doc, found := policy.Load(filepath.Join("testdata", "world"))
	if found.HasErrors() {
		t.Fatal(lines(found))
	}
	c, found := policy.Compile(doc, policy.Input{Networks: data.Networks, GeoLost: data.Lost, Zones: set})
	if c == nil {
		t.Fatal(lines(found))
	}
	addrs := func(host string) []netip.Addr { return set.Resolve(host).Addrs }
	w := &twin{doc: doc, networks: data.Networks, addrs: addrs}
	s := &servedWorld{t: t, r: r, twin: w, compiled: c, set: set, owners: map[string]zone.Steer{}}
	for _, steer := range set.Steers() {
		if !strings.Contains(steer.Owner, "*") {
			s.owners[steer.Owner] = steer
		}
	}
	s.start()
	for i := range servedClients {
		if i%250 == 0 {
			s.newStates()
		}
		s.ask(true)
		s.ask(false)
	}
	t.Logf("%d cells, %d layouts; %d answers compared, scopes %v", c.Table.Cells(), c.Table.Layouts(), s.compared, s.scopes)
	if s.compared < servedClients {
		t.Errorf("%d answers alone were compared", s.compared)
	}
}

// servedWorld is the server with its twin.
type servedWorld struct {
	t        *testing.T
	r        *rand.Rand
	twin     *twin
	compiled *policy.Compiled
	set      *zone.Set
	owners   map[string]zone.Steer // by steered name

	server   *server.Server
	client   *dns.Conn
	compared int
	scopes   map[int]int // how often each was published
}

// start runs the server on loopback until the test ends.
func (s *servedWorld) start() {
	s.t.Helper()
	var err error
	s.server, err = server.New(server.Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Workers: 1}, s.world())
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.server.Run(ctx) }()
	conn, err := net.Dial("udp", s.server.Addrs()[0].String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.client = &dns.Conn{Conn: conn, UDPSize: 1232}
	s.scopes = map[int]int{}
	s.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Error(err)
		}
		if err := conn.Close(); err != nil {
			s.t.Error(err)
		}
	})
}

// world has random states, which the twin is told, too. Everything is admitted: what admit does to a weighted draw hangs on the
// server's own random numbers.
func (s *servedWorld) world() *server.World {
	s.t.Helper()
	s.twin.verdicts = map[string]steering.Verdict{}
	bad := s.r.Float64() * 0.7
	for _, target := range s.twin.doc.Targets {
		v := steering.Unchecked()
		if s.r.Float64() < bad {
			v = steering.Verdict{State: steering.State(s.r.IntN(4)), InDoubt: s.r.IntN(2) == 0, Drained: s.r.IntN(5) == 0, Admit: steering.AdmitAll}
		}
		s.twin.verdicts[target.ID] = v
	}
	w, err := server.NewWorld(s.set, s.compiled.Table, states(s.t, s.compiled, s.twin.verdicts), s.compiled.PolicyIDs())
	if err != nil {
		s.t.Fatal(err)
	}
	return w
}

// newStates swaps them.
func (s *servedWorld) newStates() { s.server.Publish(s.world()) }

// clientOf is a random client: half of them of a network that the databases have.
func (s *servedWorld) clientOf(v4 bool) netip.Prefix {
	runs, width := s.twin.networks.V6, 56
	if v4 {
		runs, width = s.twin.networks.V4, 24
	}
	block := s.r.Uint64() >> (64 - width)
	if s.r.IntN(2) == 0 {
		block = runs[s.r.IntN(len(runs))].Start
	} else if !v4 && s.r.IntN(4) > 0 {
		block = block>>3 | 1<<53 // 2000::/3
	}
	a := twinStart(geo.Run{Start: block}, v4)
	length := one(s.r, 56, 56, 48, 32, 60, 64, 128)
	if v4 {
		length = one(s.r, 24, 24, 24, 16, 20, 8, 28, 32)
	}
	p, err := a.Prefix(length)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// ask asks for one client and compares.
func (s *servedWorld) ask(v4 bool) {
	s.t.Helper()
	names := make([]string, 0, len(s.owners))
	for name := range s.owners {
		names = append(names, name)
	}
	slices.Sort(names)
	steer := s.owners[one(s.r, names...)]
	p := s.twin.doc.Policy(steer.Policy)
	q := twinQuestion{policy: p.Name, typ: steering.Type(s.r.IntN(2)), ecs: s.clientOf(v4), ttl: steer.TTL}
	qtype := []uint16{dns.TypeA, dns.TypeAAAA}[q.typ]
	if p.Hosts() && !p.Flatten {
		q.typ = steering.Host
	}
	if !s.compiled.Table.Offers(s.compiled.PolicyIDs()[p.Name], q.typ) {
		return
	}
	answer, scope := s.exchange(steer.Owner, qtype, q.ecs)
	s.compared++
	s.scopes[scope]++
	want := s.twin.answer(&q)
	if want.scope != scope {
		s.t.Fatalf("%s for %s: scope %d, the twin says %d", steer.Owner, q.ecs, scope, want.scope)
	}
	if !s.drawable(p, &q, answer) {
		s.t.Fatalf("%s %s for %s: no draw of the twin gives\n%v\nverdicts %v", steer.Owner, dns.TypeToString[qtype], q.ecs, answer, s.twin.verdicts)
	}
}

// drawable says whether the twin gives the answer: for a stable pick its one answer, else that of some random number.
func (s *servedWorld) drawable(p *policy.Policy, q *twinQuestion, answer *dns.Msg) bool {
	got := records(answer)
	s.twin.noScope = true
	defer func() { s.twin.noScope = false }()
	for range 2000 {
		q.random = s.r.Uint64()
		want := s.twin.answer(q)
		if want.failed {
			return answer.Rcode == dns.RcodeServerFailure && got == ""
		}
		if answer.Rcode == dns.RcodeSuccess && got == s.records(p, q, &want) {
			return true
		}
		if p.Pick == policy.PickHash && !want.close {
			return false
		}
	}
	return false
}

// records writes the twin's answer as records does.
func (s *servedWorld) records(p *policy.Policy, q *twinQuestion, a *twinAnswer) string {
	var out []string
	for _, target := range s.twin.doc.Targets {
		if !slices.Contains(a.targets, target.ID) {
			continue
		}
		all := slices.Concat(target.V4, target.V6)
		if p.Flatten && target.Host != "" {
			all = s.twin.addrs(target.Host)
		}
		for _, addr := range all {
			if addr.Is4() == (q.typ == steering.A) && q.typ != steering.Host {
				out = append(out, addr.String()+" "+ttl(a.ttl))
			}
		}
		if q.typ == steering.Host {
			out = append(out, target.Host+" "+ttl(a.ttl))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// records are an answer's addresses or host names with their TTLs, sorted.
func records(m *dns.Msg) string {
	var out []string
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			out = append(out, netip.AddrFrom4([4]byte(rr.A.To4())).String()+" "+ttl(rr.Hdr.Ttl))
		case *dns.AAAA:
			out = append(out, netip.AddrFrom16([16]byte(rr.AAAA.To16())).String()+" "+ttl(rr.Hdr.Ttl))
		case *dns.CNAME:
			out = append(out, rr.Target+" "+ttl(rr.Hdr.Ttl))
		default:
			out = append(out, rr.String())
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func ttl(seconds uint32) string { return (time.Duration(seconds) * time.Second).String() }

// exchange sends one query with ECS and gives the answer and its scope.
func (s *servedWorld) exchange(name string, qtype uint16, client netip.Prefix) (*dns.Msg, int) {
	s.t.Helper()
	m := new(dns.Msg).SetQuestion(name, qtype)
	m.SetEdns0(1232, false)
	e := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(client.Bits()), Address: client.Addr().AsSlice()}
	if client.Addr().Is6() {
		e.Family = 2
	}
	m.IsEdns0().Option = append(m.IsEdns0().Option, e)
	if err := s.client.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	if err := s.client.WriteMsg(m); err != nil {
		s.t.Fatal(err)
	}
	answer, err := s.client.ReadMsg()
	if err != nil || answer.Id != m.Id {
		s.t.Fatalf("%s: %v, %v", name, answer, err)
	}
	opt := answer.IsEdns0()
	if opt == nil {
		s.t.Fatalf("%s: no OPT in %v", name, answer)
	}
	for _, o := range opt.Option {
		if e, ok := o.(*dns.EDNS0_SUBNET); ok {
			return answer, int(e.SourceScope)
		}
	}
	s.t.Fatalf("%s: no ECS in %v", name, answer)
	return nil, 0
}
