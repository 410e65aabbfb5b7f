package server_test

import (
	"bufio"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"geodns/pkg/geo"
)

// growthDatabase is the name of the geo database, where there is one.
const growthDatabase = "networks.csv"

// growthFiles writes the files of a point.
type growthFiles struct {
	b   *testing.B
	dir string
}

// file writes one.
func (g *growthFiles) file(name string, write func(w *bufio.Writer)) {
	g.b.Helper()
	f, err := os.Create(filepath.Join(g.dir, name))
	if err != nil {
		g.b.Fatal(err)
	}
	w := bufio.NewWriter(f)
	write(w)
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		g.b.Fatal(err)
	}
}

// growthApex begins every zone.
const growthApex = "$TTL 300\n@ SOA ns1 hostmaster 1 7200 1800 1209600 300\n@ NS ns1\nns1 A 192.0.2.53\n"

// writeGrowthZones writes zones of one host each.
func writeGrowthZones(g *growthFiles, n int) {
	for i := range n {
		g.file(fmt.Sprintf("zones/z%d.example.zone", i), func(w *bufio.Writer) {
			fmt.Fprintf(w, "%swww A 10.%d.%d.%d\n", growthApex, i>>16&255, i>>8&255, i&255)
		})
	}
}

// writeGrowthNames writes a zone of hosts.
func writeGrowthNames(g *growthFiles, n int) {
	g.file("zones/example.com.zone", func(w *bufio.Writer) {
		fmt.Fprint(w, growthApex)
		for i := range n {
			fmt.Fprintf(w, "host-%d A 10.%d.%d.%d\n", i, i>>16&255, i>>8&255, i&255)
		}
	})
}

// policies writes n steered names with a policy each, over pools of so many targets, which stand in ten regions by turns, and maps, which
// make layouts.
func (g *growthFiles) policies(n, pools, targets, maps int) {
	g.names(n)
	g.file("zones/steering.yaml", func(w *bufio.Writer) {
		fmt.Fprint(w, "regions: [")
		for i := range 10 {
			fmt.Fprintf(w, "{name: r%d}, ", i)
		}
		fmt.Fprint(w, "]\nmaps:\n")
		areas := growthCountries()
		for m := range maps {
			fmt.Fprintf(w, "  - {name: m%d, areas: {default: [r%d, '*']", m, m%10)
			for i, c := range areas {
				fmt.Fprintf(w, ", %s-%s: [r%d, '*']", geo.ContinentOf(c), c, (i+m/10+m%7*i)%10)
			}
			fmt.Fprintf(w, "}, subnets: {10.%d.%d.0/24: [r%d, '*']}}\n", m>>8, m&255, m%10)
		}
		fmt.Fprint(w, "pools:\n")
		for p := range pools {
			fmt.Fprintf(w, "  - name: p%d\n    targets:\n", p)
			for t := range targets {
				fmt.Fprintf(w, "      - {name: t%d, region: r%d, values: [10.%d.%d.%d]}\n", t, t%10, t%256, p>>8, p&255)
			}
		}
		fmt.Fprint(w, "policies:\n")
		for i := range n {
			fmt.Fprintf(w, "  - {name: g%d, rules: [{name: all, pool: p%d, rank: [{map: m%d}]}], all_down: serve-all}\n", i, i%pools, i%maps)
		}
	})
}

// tier writes a steered name with one pool of n targets, all equally good.
func (g *growthFiles) tier(n int) {
	g.names(1)
	g.file("zones/steering.yaml", func(w *bufio.Writer) {
		fmt.Fprint(w, "regions: [{name: r}]\npools:\n  - name: p\n    targets:\n")
		for t := range n {
			fmt.Fprintf(w, "      - {name: t%d, region: r, values: [10.0.%d.%d], weight: %d}\n", t, t>>8, t&255, 1+t%100)
		}
		fmt.Fprint(w, "policies: [{name: g0, rules: [{name: all, pool: p}], all_down: serve-all}]\n")
	})
}

// names writes a zone of steered names.
func (g *growthFiles) names(n int) {
	g.file("zones/example.com.zone", func(w *bufio.Writer) {
		fmt.Fprint(w, growthApex)
		for i := range n {
			fmt.Fprintf(w, "g%d STEER g%d\n", i, i)
		}
	})
}

// growthCountries are those that networks are in; each has an area in a map.
func growthCountries() []string {
	return strings.Fields("DE FR GB NL IT ES PL US CA MX BR AR CN JP KR IN SG AU ZA RU")
}

const (
	growthFirst4 = 1 << 16      // /24: of 1.0.0.0
	growthSpace4 = 223 << 16    // /24: up to 223.255.255.255
	growthFirst6 = 0x2000 << 16 // /32: of 2000::/3
	growthSpace6 = 1 << 29      // /32
	growthEach6  = 64           // networks of a /32: /40, one behind the other
)

// growthSize4 and growthStride6 spread so many networks, of which six of ten are IPv4 as in databases for sale: those side by side, all as
// long, and the /32 of IPv6 evenly over all there are. They give the /24 of a network, and the /32 from one to the next, both powers of
// two, so that networks are prefixes.
func growthSize4(n int) (networks, size int) {
	networks = n * 6 / 10
	return networks, 1 << (bits.Len(uint(growthSpace4/networks)) - 1)
}

func growthStride6(n int) (networks, stride int) {
	networks = n * 4 / 10
	return networks, 1 << (bits.Len(uint(growthSpace6/(1+networks/growthEach6))) - 1)
}

// networks writes a geo database of n networks, no two neighbors in one country.
func (g *growthFiles) networks(n int) {
	r := rand.New(rand.NewPCG(3, uint64(n)))
	country := 0
	next := func() string {
		list := growthCountries()
		country = (country + 1 + r.IntN(len(list)-1)) % len(list)
		return list[country]
	}
	g.file(growthDatabase, func(w *bufio.Writer) {
		networks, size := growthSize4(n)
		for i := range networks {
			start := growthFirst4 + i*size
			fmt.Fprintf(w, "%d,%d,%s\n", start<<8, (start+size)<<8-1, next())
		}
		networks, stride := growthStride6(n)
		for i := range networks {
			at, part := growthFirst6+i/growthEach6*stride, i%growthEach6<<8
			fmt.Fprintf(w, "%x:%x:%x::,%x:%x:%x:ffff:ffff:ffff:ffff:ffff,%s\n", at>>16, at&0xffff, part, at>>16, at&0xffff, part|0xff, next())
		}
	})
}

// growthStatic asks for one of n names.
func growthStatic(name func(i int) string) func(*testing.B, *rand.Rand, int) []byte {
	return func(b *testing.B, r *rand.Rand, n int) []byte {
		b.Helper()
		return ask(b, name(r.IntN(n)), dns.TypeA, edns(1232))
	}
}

// growthSteered asks for one of n steered names, for clients of the first networks.
func growthSteered(b *testing.B, r *rand.Rand, n int) []byte {
	b.Helper()
	return ask(b, fmt.Sprintf("g%d.example.com.", r.IntN(n)), dns.TypeA, edns(1232, ecs(growthClient4(r, growthNetworks))))
}

// growthOne asks for the same steered name again and again, for clients of n networks.
func growthOne(client func(r *rand.Rand, n int) string) func(*testing.B, *rand.Rand, int) []byte {
	return func(b *testing.B, r *rand.Rand, n int) []byte {
		b.Helper()
		return ask(b, "g0.example.com.", dns.TypeA, edns(1232, ecs(client(r, max(n, growthNetworks)))))
	}
}

// growthClient4 is a random /24 in n networks.
func growthClient4(r *rand.Rand, n int) string {
	networks, size := growthSize4(n)
	at := growthFirst4 + r.IntN(networks*size)
	return fmt.Sprintf("%d.%d.%d.0/24", at>>16, at>>8&255, at&255)
}

// growthClient6 is a random /56 in n networks.
func growthClient6(r *rand.Rand, n int) string {
	networks, stride := growthStride6(n)
	i := r.IntN(networks)
	at := growthFirst6 + i/growthEach6*stride
	return fmt.Sprintf("%x:%x:%x:%x::/56", at>>16, at&0xffff, i%growthEach6<<8|r.IntN(256), r.IntN(256)<<8)
}
