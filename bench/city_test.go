package bench_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"geodns/internal/dnstest"
	"geodns/pkg/geo"
	"geodns/pkg/policy"
	"geodns/pkg/steering"
)

// The made-up City database has about as many networks as the real ones: 1.6 million of IPv4 and 1.4 million of IPv6, at 120,000
// locations. Neighbors are mostly of one country, as registries give them out.
const (
	cityNetworks6 = 1_400_000
	cityLocations = 120_000
)

// cityDatabase gives the path of a database of 3 million networks: the one that GEODNS_BENCH_MMDB names, which is made if it is not
// there, or one that is made for this run, which takes longer than all that is measured with it.
func cityDatabase(b *testing.B) string {
	b.Helper()
	path := os.Getenv("GEODNS_BENCH_MMDB")
	if path == "" {
		path = filepath.Join(b.TempDir(), "city.mmdb")
	}
	if _, err := os.Stat(path); err == nil {
		return path
	}
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := cityTree(b).WriteTo(f); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	return path
}

// cityTree makes the networks, in the order of their addresses, with gaps in between.
func cityTree(b *testing.B) *mmdbwriter.Tree {
	b.Helper()
	r := rand.New(rand.NewPCG(7, 8))
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "GeoLite2-City", IncludeReservedNetworks: true, DisableMetadataPointers: true, KeyGenerator: idKeys{}})
	if err != nil {
		b.Fatal(err)
	}
	locations, byCountry := cityRecords(r)
	country := 0
	insert := func(ip net.IP, bits, width int) {
		if r.IntN(40) == 0 {
			country = r.IntN(len(byCountry))
		}
		of := byCountry[country]
		if err := tree.Insert(&net.IPNet{IP: ip, Mask: net.CIDRMask(bits, width)}, locations[of[r.IntN(len(of))]]); err != nil {
			b.Fatal(err)
		}
	}
	var split func(at uint32, bits int)
	split = func(at uint32, bits int) {
		if bits < 16 || bits < 24 && r.IntN(100) < 70 || bits < 29 && r.IntN(100) < 5 {
			split(at, bits+1)
			split(at|1<<(31-bits), bits+1)
			return
		}
		insert(binary.BigEndian.AppendUint32(nil, at), bits, 32)
	}
	for top := range uint32(223) {
		split((top+1)<<24, 8)
	}
	at := uint64(0x2400) << 48
	for range cityNetworks6 {
		bits := []int{32, 36, 40, 44, 48, 48, 48, 48, 52, 56}[r.IntN(10)]
		for at&(1<<(64-bits)-1) != 0 {
			bits++
		}
		insert(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, at), 0), bits, 128)
		at += 1 << (64 - bits)
		if r.IntN(300) == 0 {
			at = (at>>32 + uint64(1+r.IntN(64))) << 32
		}
	}
	return tree
}

// idKeys tells records apart by their id, which is faster than by all that is in them.
type idKeys struct{}

// Key gives the record's id.
func (idKeys) Key(v mmdbtype.DataType) ([]byte, error) {
	record, _ := v.(mmdbtype.Map)
	id, ok := record["id"].(mmdbtype.String)
	if !ok {
		return nil, fmt.Errorf("a record without an id: %v", v)
	}
	return []byte(id), nil
}

// cityRecords makes the records of the locations, and lists those of each country.
func cityRecords(r *rand.Rand) (records []mmdbtype.Map, byCountry [][]int) {
	byCountry = make([][]int, len(countries()))
	for i := range cityLocations {
		c := i % len(byCountry)
		code := countries()[c]
		byCountry[c] = append(byCountry[c], i)
		records = append(records, mmdbtype.Map{
			"id":           mmdbtype.String(fmt.Sprint(i)),
			"continent":    mmdbtype.Map{"code": mmdbtype.String(geo.ContinentOf(code))},
			"country":      mmdbtype.Map{"iso_code": mmdbtype.String(code), "names": mmdbtype.Map{"en": mmdbtype.String("Country " + code)}},
			"subdivisions": mmdbtype.Slice{mmdbtype.Map{"iso_code": mmdbtype.String(fmt.Sprint(1 + r.IntN(20)))}},
			"city":         mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(fmt.Sprint("City ", i))}},
			"location":     mmdbtype.Map{"latitude": mmdbtype.Float64(r.Float64()*120 - 50), "longitude": mmdbtype.Float64(r.Float64()*360 - 180)},
		})
	}
	return records, byCountry
}

// cityPolicies are four layouts: by country, by distance, by distance within a fence, and by cost among near ones.
func cityPolicies(b *testing.B) *policy.Document {
	b.Helper()
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.yaml"), []byte(cityPolicyText()), 0o600); err != nil {
		b.Fatal(err)
	}
	doc, found := policy.Load(dir)
	if found.HasErrors() {
		b.Fatal(found.Err())
	}
	return doc
}

// cityPolicyText writes them.
func cityPolicyText() string {
	var regions, targets strings.Builder
	for i := range 12 {
		fmt.Fprintf(&regions, "  - {name: r%d, location: [%d, %d], cost: 0.%d, pair: r%d, jurisdictions: [j%d]}\n", i, i*9-50, i*29-170, i%4, i^1, i%2)
		fmt.Fprintf(&targets, "{name: a%d, region: r%d, values: [10.0.%d.1]}, ", i, i, i)
	}
	return "regions:\n" + regions.String() + "pools: [{name: web, targets: [" + targets.String() + "]}]\n" +
		`maps: [{name: m, areas: {default: [r1, "*"], EU: [r5, r6, "*"], NA: [r2, r3, r4], AS-JP: [r11, r10]}, subnets: {192.0.2.0/24: [r5]}}]
policies:
  - {name: map, all_down: serve-all, rules: [{name: all, pool: web, rank: [{map: m}]}]}
  - {name: near, all_down: serve-all, rules: [{name: all, pool: web, rank: [nearest]}]}
  - {name: fence, all_down: serve-all, rules: [{name: eu, geos: [EU], pool: web, rank: [nearest], fence: [j0]}, {name: unplaced, geos: [unknown], pool: web, fence: [j0]}, {name: all, pool: web, rank: [nearest], fence: none}]}
  - {name: cost, all_down: serve-all, rules: [{name: all, pool: web, rank: [{nearest: {band: 500km}}, cost]}]}
`
}

// BenchmarkCity reads a database of three million networks and compiles a table of it: the two halves of what a changed database
// costs. CPU time counts, as it is done in the background. What a collection costs counts beside what it costs with nothing loaded. Then it looks clients up in that table, whose places are nowhere near
// each other, as many at a time as a batch has.
func BenchmarkCity(b *testing.B) {
	path, doc := cityDatabase(b), cityPolicies(b)
	b.Run("gc/empty", collect)
	var data *geo.Data
	b.Run("read", func(b *testing.B) {
		before := dnstest.CPUTime(b)
		for b.Loop() {
			data = loadGeo(b, path)
		}
		b.ReportMetric((dnstest.CPUTime(b)-before).Seconds()/float64(b.N), "cpu-s/op")
		b.ReportMetric(float64(data.Databases()[0].Networks), "networks")
		b.ReportMetric(float64(len(data.Networks.V4)+len(data.Networks.V6)), "runs")
	})
	if data == nil {
		data = loadGeo(b, path)
	}
	var c *policy.Compiled
	b.Run("compile", func(b *testing.B) {
		before := dnstest.CPUTime(b)
		for b.Loop() {
			c = compileCity(b, doc, data)
		}
		b.ReportMetric((dnstest.CPUTime(b)-before).Seconds()/float64(b.N), "cpu-s/op")
		b.ReportMetric(float64(c.Table.Cells()), "cells")
		b.ReportMetric(float64(c.Table.Layouts()), "layouts")
	})
	if c == nil {
		c = compileCity(b, doc, data)
	}
	b.Run("gc", func(b *testing.B) {
		collect(b)
		runtime.KeepAlive(data)
		runtime.KeepAlive(c)
	})
	b.Run("decide4", func(b *testing.B) { decide(b, c.Table, randomClients(true)) })
	b.Run("decide6", func(b *testing.B) { decide(b, c.Table, randomClients(false)) })
}

// collect measures full collections.
func collect(b *testing.B) {
	runtime.GC()
	before := dnstest.CPUTime(b)
	for b.Loop() {
		runtime.GC()
	}
	b.ReportMetric(float64((dnstest.CPUTime(b)-before).Microseconds())/float64(b.N), "cpu-us/op")
}

// loadGeo reads a database.
func loadGeo(b *testing.B, path string) *geo.Data {
	b.Helper()
	data, found := geo.Load(geo.Config{Databases: []string{path}}, nil)
	if found.HasErrors() {
		b.Fatal(found.Err())
	}
	return data
}

// compileCity compiles.
func compileCity(b *testing.B, doc *policy.Document, data *geo.Data) *policy.Compiled {
	b.Helper()
	c, found := policy.Compile(doc, policy.Input{Networks: data.Networks})
	if c == nil {
		b.Fatal(found.Err())
	}
	return c
}

// randomClients are clients in the space where the database has networks.
func randomClients(v4 bool) []steering.Client {
	r := rand.New(rand.NewPCG(9, 10))
	out := make([]steering.Client, 1<<18)
	for i := range out {
		if v4 {
			out[i] = steering.Client{Hi: uint64(1<<24+r.Uint32N(223<<24)) << 32, V4: true, Bits: 24}
			out[i].Hi &^= 1<<40 - 1
			continue
		}
		out[i] = steering.ClientFrom(netip.PrefixFrom(netip.AddrFrom16([16]byte{0x24, byte(r.Uint32N(16)), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())}), 48))
	}
	return out
}

// decide decides for clients, one after the other.
func decide(b *testing.B, table *steering.Table, clients []steering.Client) {
	b.Helper()
	verdicts := make([]steering.Verdict, table.Targets())
	for i := range verdicts {
		verdicts[i] = steering.Unchecked()
	}
	states, err := steering.NewStates(table, verdicts)
	if err != nil {
		b.Fatal(err)
	}
	var d steering.Decision
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		steering.Decide(table, states, &steering.Query{Policy: 1, Client: clients[i%len(clients)], ECS: true, TTL: 300}, &d, nil)
	}
}
