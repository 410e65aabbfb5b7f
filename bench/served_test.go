package bench_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"geodns/pkg/geo"
	"geodns/pkg/policy"
	"geodns/pkg/server"
	"geodns/pkg/steering"
	"geodns/pkg/zone"
)

// names is how many static and how many steered names the zone has.
const names = 1000

// networks is how many /24 the geo data tells apart: a country each.
const networks = 1 << 20

// BenchmarkServed asks one worker over UDP, 32 questions under way: nothing looked up (floor), a static name, and a steered one with
// ECS over a million networks. The ratios to the floor are what the server adds to what sockets cost.
func BenchmarkServed(b *testing.B) {
	b.Run("floor", func(b *testing.B) { ask(b, startFloor(b), questions(b, "h", false)) })
	addr := startServer(b)
	b.Run("static", func(b *testing.B) { ask(b, addr, questions(b, "h", false)) })
	b.Run("steered", func(b *testing.B) { ask(b, addr, questions(b, "g", true)) })
}

// window is how many questions are under way.
const window = 32

// ask keeps window questions under way until b.N are answered.
func ask(b *testing.B, addr netip.AddrPort, queries [][]byte) {
	b.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	buf := make([]byte, 1500)
	b.ReportAllocs()
	b.ResetTimer()
	for sent, answered := 0, 0; answered < b.N; {
		for ; sent < b.N && sent-answered < window; sent++ {
			if _, err := conn.Write(queries[sent%len(queries)]); err != nil {
				b.Fatal(err)
			}
		}
		n, err := conn.Read(buf)
		if err != nil || n < 12 || buf[3]&0xF != 0 || buf[7] == 0 {
			b.Fatalf("answer % x, %v", buf[:n], err)
		}
		answered++
	}
}

// questions asks for random names, with ECS for random clients.
func questions(b *testing.B, prefix string, ecs bool) [][]byte {
	b.Helper()
	out, err := makeQuestions(prefix, ecs)
	if err != nil {
		b.Fatal(err)
	}
	return out
}

// makeQuestions makes them.
func makeQuestions(prefix string, ecs bool) (out [][]byte, err error) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 1 << 14 {
		m := new(dns.Msg).SetQuestion(fmt.Sprintf("%s%d.example.com.", prefix, r.IntN(names)), dns.TypeA)
		m.SetEdns0(1232, false)
		if ecs {
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_SUBNET{
				Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(byte(1+r.IntN(200)), byte(r.IntN(256)), byte(r.IntN(256)), 0).To4(),
			}}
		}
		wire, err := m.Pack()
		if err != nil {
			return nil, err
		}
		out = append(out, wire)
	}
	return out, nil
}

// startFloor answers every packet with itself, made an answer of one record by its header alone.
func startFloor(b *testing.B) netip.AddrPort {
	b.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			buf[2] |= 0x80
			buf[7] = 1
			if _, err := conn.WriteToUDPAddrPort(buf[:n], from); err != nil {
				return
			}
		}
	}()
	b.Cleanup(func() { conn.Close(); <-ended })
	return netip.MustParseAddrPort(conn.LocalAddr().String())
}

// startServer serves static and steered names from one worker.
func startServer(b *testing.B) netip.AddrPort {
	b.Helper()
	w := world(b)
	s, err := server.New(server.Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Workers: 1}, w)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return s.Addrs()[0]
}

// countries are those that the made-up geo data puts networks in, and the policy has targets for.
func countries() []string {
	return strings.Fields("DE FR GB NL IT ES PL US CA MX BR AR CN JP KR IN SG AU ZA RU")
}

// files writes the zone, the policies (a layout that all steered names share) and the geo database.
func files(b *testing.B) (dir, database string) {
	b.Helper()
	dir = b.TempDir()
	var zoneText, pools, policies, areas, regions, targets strings.Builder
	for i, c := range countries() {
		fmt.Fprintf(&regions, "  - {name: r%d}\n", i)
		fmt.Fprintf(&areas, "      %s-%s: [r%d]\n", geo.ContinentOf(c), c, i)
	}
	zoneText.WriteString("$TTL 300\n@ IN SOA ns1 hostmaster 1 7200 1800 259200 300\n@ IN NS ns1\nns1 IN A 192.0.2.1\n")
	for n := range names {
		fmt.Fprintf(&zoneText, "h%d IN A 10.0.%d.%d\ng%d IN STEER g%d\n", n, n/256, n%256, n, n)
		targets.Reset()
		for i := range countries() {
			fmt.Fprintf(&targets, "      - {name: t%d, region: r%d, values: [10.%d.%d.%d]}\n", i, i, i+1, n/256, n%256)
		}
		fmt.Fprintf(&pools, "  - name: g%d\n    targets:\n%s", n, targets.String())
		fmt.Fprintf(&policies, "  - {name: g%d, rules: [{name: all, pool: g%d, rank: [{map: m}]}], all_down: serve-all}\n", n, n)
	}
	var ranges strings.Builder
	r := rand.New(rand.NewPCG(3, 4))
	for n := range uint32(networks) {
		start := n<<8 + 1<<24
		fmt.Fprintf(&ranges, "%d,%d,%s\n", start, start+255, countries()[r.IntN(len(countries()))])
	}
	database = filepath.Join(dir, "countries.csv")
	for name, text := range map[string]string{
		filepath.Join(dir, "zones", "example.com.zone"): zoneText.String(),
		filepath.Join(dir, "zones", "steering.yaml"): "regions:\n" + regions.String() + "maps:\n  - name: m\n    areas:\n      default: [r0]\n" +
			areas.String() + "pools:\n" + pools.String() + "policies:\n" + policies.String(),
		database: ranges.String(),
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return filepath.Join(dir, "zones"), database
}

// world compiles the files.
func world(b *testing.B) *server.World {
	b.Helper()
	dir, database := files(b)
	data, found := geo.Load(geo.Config{Databases: []string{database}}, nil)
	set, zoneFound := zone.Load(dir, 0)
	doc, docFound := policy.Load(dir)
	if found = append(append(found, zoneFound...), docFound...); found.HasErrors() {
		b.Fatal(found.Err())
	}
	c, found := policy.Compile(doc, policy.Input{Networks: data.Networks, Zones: set})
	if found.HasErrors() {
		b.Fatal(found.Err())
	}
	verdicts := make([]steering.Verdict, len(c.Targets))
	for i := range verdicts {
		verdicts[i] = steering.Unchecked()
	}
	states, err := steering.NewStates(c.Table, verdicts)
	if err != nil {
		b.Fatal(err)
	}
	w, err := server.NewWorld(set, c.Table, states, c.PolicyIDs())
	if err != nil {
		b.Fatal(err)
	}
	return w
}

// BenchmarkFind finds the cells of random clients in a table of a million networks, as many at a time as a batch has.
func BenchmarkFind(b *testing.B) {
	w := world(b)
	table, states := w.Table(), w.States()
	r := rand.New(rand.NewPCG(5, 6))
	clients := make([]steering.Client, 1<<16)
	for i := range clients {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], r.Uint32()%networks<<8+1<<24)
		clients[i] = steering.Client4(a, 24)
	}
	var d steering.Decision
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		steering.Decide(table, states, &steering.Query{Policy: steering.PolicyID(i % names), Client: clients[i%len(clients)], ECS: true, TTL: 300}, &d, nil)
	}
}
