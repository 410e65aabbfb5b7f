package policy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"geodns/internal/dnstest"
	"geodns/internal/source"
	"geodns/pkg/geo"
	"geodns/pkg/policy"
	"geodns/pkg/rum"
	"geodns/pkg/steering"
)

// benchNetworks are so many runs of 100,000 located places, of which half of the runs are IPv6.
func benchNetworks(size int) *geo.Networks {
	r := rand.New(rand.NewPCG(1, 1))
	places := []geo.Place{{}}
	countries := []string{"DE", "FR", "GB", "US", "CA", "BR", "JP", "IN", "AU", "ZA"}
	for i := range 100_000 {
		c := countries[r.IntN(len(countries))]
		places = append(places, geo.Place{
			Continent: geo.ContinentOf(c), Country: c, Subdivision: fmt.Sprint(r.IntN(20)), ASN: uint32(i % 1000), HasLocation: true,
			Lat: r.Float64()*120 - 50, Lon: r.Float64()*360 - 180,
		})
	}
	runs := func(first, count uint64, shortest int) (out []geo.Run) {
		starts := []uint64{0}
		for range size / 20 * 11 { // somewhat more, as some are equal; they are the ends of prefixes
			starts = append(starts, (first+r.Uint64N(count))&^(1<<(shortest-r.IntN(min(6, shortest)))-1))
		}
		slices.Sort(starts)
		for _, s := range slices.Compact(starts) {
			out = append(out, geo.Run{Start: s, Place: uint32(1 + r.IntN(len(places)-1))})
		}
		return out
	}
	n := &geo.Networks{Places: geo.NewPlaces(places)}
	n.V4, n.V6 = runs(1, 224<<16, 7), runs(1<<53, 1<<53, 36)
	return n
}

// benchDocument has ten policies, each of a layout of its own, over twelve regions.
func benchDocument(b *testing.B, ranks ...string) *policy.Document {
	b.Helper()
	var text strings.Builder
	text.WriteString("regions:\n")
	for i := range 12 {
		fmt.Fprintf(&text, "  - {name: r%d, location: [%d, %d], cost: 0.%d, pair: r%d}\n", i, i*9-50, i*29-170, i%4, i^1)
	}
	text.WriteString("pools:\n  - {name: dr, targets: [{name: a, region: r3, values: [192.0.2.1]}, {name: b, region: r8, values: [192.0.2.2]}]}\n")
	for i := range 10 {
		fmt.Fprintf(&text, "  - {name: web%d, fallback: dr, targets: [", i)
		for j := range 12 {
			fmt.Fprintf(&text, "{name: a%d, region: r%d, values: [10.0.%d.1]}, {name: b%d, region: r%d, values: [10.0.%d.2]}, ", j, (i+j)%12, j, j, (i*j)%12, j)
		}
		text.WriteString("]}\n")
	}
	text.WriteString(`maps: [{name: m, areas: {default: [r1, "*"], EU: [r5, r6, "*"], NA: [r2, r3, r4], AS-JP: [r11, r10]}, subnets: {192.0.2.0/24: [r5]}}]` + "\npolicies:\n")
	for i := range 10 {
		rank := ranks[i%len(ranks)]
		fmt.Fprintf(&text, "  - {name: p%d, all_down: serve-all, rules: [{name: a, geos: [EU], pool: web%d, rank: [%s]}, {name: b, asns: [7, 8], pool: web%d}, {name: c, pool: web%d, rank: [%s]}]}\n",
			i, i, rank, 9-i, (i+3)%10, rank)
	}
	doc, found := parseText(text.String())
	if doc == nil {
		b.Fatal(lines(found))
	}
	return doc
}

// BenchmarkCompile compiles ten policies, six of which rank by distance, for 200,000 networks at 100,000 places.
func BenchmarkCompile(b *testing.B) {
	doc, networks := benchDocument(b, "nearest", "{nearest: {band: 500km}}, cost", "{map: m}, nearest", "{cost: {band: 0.1}}, {nearest: {band: 100km}}", "{map: m}"), benchNetworks(200_000)
	var c *policy.Compiled
	b.ReportAllocs()
	for b.Loop() {
		compiled, found := policy.Compile(doc, policy.Input{Networks: networks})
		if compiled == nil {
			b.Fatal(lines(found))
		}
		c = compiled
	}
	b.ReportMetric(float64(c.Table.Cells()), "cells")
	b.ReportMetric(float64(c.Table.Layouts()), "layouts")
}

// benchOrders are 20,000 rungs of networks in use, and those of all ASNs and countries, each with scores of its own for twelve regions.
func benchOrders(doc *policy.Document, networks *geo.Networks) *rum.Orders {
	r := rand.New(rand.NewPCG(1, 2))
	rungs := map[rum.Rung]bool{}
	for len(rungs) < 20_000 {
		at := steering.Client{Hi: (1<<16 + r.Uint64N(223<<16)) << 40, V4: true, Bits: 24}
		if len(rungs)%4 == 0 {
			at = steering.Client{Hi: (1<<53 + r.Uint64N(1<<53)) << 8 &^ (1<<16 - 1), Bits: 48}
		}
		rungs[rum.Rung{Kind: rum.RungPrefix, Prefix: at.Prefix()}] = true
	}
	for _, p := range networks.Places.List()[1:] {
		rungs[rum.Rung{Kind: rum.RungASN, ASN: p.ASN, Code: p.Country}] = true
		rungs[rum.Rung{Kind: rum.RungCountry, Code: p.Country}] = true
	}
	var scored []rum.Scored
	for rung := range rungs {
		s := rum.Scored{Rung: rung}
		for i := range 12 {
			s.Scores = append(s.Scores, rum.Score{Region: fmt.Sprint("r", i), Score: time.Duration(r.IntN(300)) * time.Millisecond, Samples: 1e9})
		}
		scored = append(scored, s)
	}
	return rum.NewDecider().Step(time.Unix(0, 0), policy.LatencyOptions(doc), func(rum.Options) []rum.Scored { return scored })
}

// BenchmarkCompileLatency compiles for networks of which 20,000 have an order of their own: ten policies of which one or four rank by
// latency, and ten that all rank alike; all of it, or the orders alone. CPU time is what counts: it is done in the background.
func BenchmarkCompileLatency(b *testing.B) {
	far := "{map: m}, nearest"
	for _, c := range []struct {
		name  string
		ranks []string
	}{
		{"one", []string{"{latency: {band: 15ms}}, cost", "nearest", far, "{map: m}", "nearest", "{cost: {band: 0.1}}, {nearest: {band: 100km}}", far, "{map: m}", far, "nearest"}},
		{"four", []string{"nearest", "{latency: {band: 15ms}}, cost", far, "latency, nearest", "{map: m}"}},
		{"all", []string{"{latency: {band: 15ms}}, cost"}},
	} {
		for _, size := range []int{200_000, 3_000_000} {
			doc, networks := benchDocument(b, c.ranks...), benchNetworks(size)
			orders := benchOrders(doc, networks)
			in := policy.Input{Networks: networks, Orders: orders}
			name := fmt.Sprintf("policies=%s/networks=%d", c.name, size)
			benchmarkOrders(b, name+"/all", orders, func() (*policy.Compiled, source.Findings) { return policy.Compile(doc, in) })
			before, _ := policy.Compile(doc, policy.Input{Networks: networks})
			benchmarkOrders(b, name+"/orders", orders, func() (*policy.Compiled, source.Findings) { return before.WithOrders(orders) })
		}
	}
}

// benchmarkOrders measures one way to compile orders.
func benchmarkOrders(b *testing.B, name string, orders *rum.Orders, compile func() (*policy.Compiled, source.Findings)) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		before, cells := dnstest.CPUTime(b), 0
		for b.Loop() {
			compiled, found := compile()
			if compiled == nil {
				b.Fatal(lines(found))
			}
			cells = compiled.Table.Cells()
		}
		b.ReportMetric((dnstest.CPUTime(b)-before).Seconds()/float64(b.N), "cpu-s/op")
		b.ReportMetric(float64(orders.Len()), "orders")
		b.ReportMetric(float64(cells), "cells")
	})
}
