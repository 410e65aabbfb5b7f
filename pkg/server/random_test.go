//go:build linux

package server_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"geodns/pkg/server"
	"geodns/pkg/steering"
)

// What a whole answer costs when nothing repeats: names and client subnets are drawn at random, more of them than the caches hold, and so
// is memory. The figures of design's budgets are those of batches of 32.

const (
	// randomQueries is how many different queries there are.
	randomQueries = 1 << 18
	// randomCuts4 and randomCuts6 are at how many places address space is cut, which makes about 1.4 and 0.7 million cells.
	randomCuts4, randomCuts6 = 370_000, 23_000
	// randomKinds is how many kinds of cells there are, randomLayouts how many ways to rank, randomPolicies how many policies.
	randomKinds, randomLayouts, randomPolicies = 4000, 16, 64
	// randomRegions is how many tiers a plan has.
	randomRegions = 12
)

// BenchmarkAnswerRandom measures whole answers without sockets; what it takes to put the queries there is in it, and is also measured
// alone as fill. cpu-ns/query is the figure: the thread's, as others may be
// at work beside it.
func BenchmarkAnswerRandom(b *testing.B) {
	table, states := randomTable(b)
	for _, n := range []int{1000, 1_000_000} {
		b.Run(fmt.Sprintf("names=%d", n), func(b *testing.B) {
			w := randomWorld(b, table, states, n)
			for _, kind := range []string{"static", "single", "steered", "steered6", "fill"} {
				b.Run(kind, func(b *testing.B) {
					queries := randomAsks(kind, n)
					for _, batch := range []int{server.BatchMax, 1} {
						b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
							answerRandom(b, w, queries, batch, kind == "fill")
						})
					}
				})
			}
		})
	}
}

// answerRandom answers queries, or only puts them there.
func answerRandom(b *testing.B, w *server.World, queries [][]byte, batch int, fill bool) {
	b.Helper()
	r := (&workload{}).responder(b, w)
	r.Fill(queries[:batch], clientEU)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b.ReportAllocs()
	at, before := 0, threadTime()
	for b.Loop() {
		r.Refill(queries[at:][:batch])
		if !fill {
			r.AnswerBatch()
		}
		at = (at + batch) % len(queries)
	}
	b.ReportMetric(float64((threadTime()-before).Nanoseconds())/float64(b.N*batch), "cpu-ns/query")
}

// BenchmarkWorkers measures what an answer costs each of two workers beside what it costs one that is alone: as much, as they write
// nothing that the other reads.
func BenchmarkWorkers(b *testing.B) {
	table, states := randomTable(b)
	w := randomWorld(b, table, states, 1000)
	queries := randomAsks("steered", 1000)
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			all, err := server.NewResponders(server.Config{}, w, workers)
			if err != nil {
				b.Fatal(err)
			}
			spent := make([]time.Duration, workers)
			var group sync.WaitGroup
			for i, r := range all {
				r.Fill(queries[:server.BatchMax], clientEU)
				group.Go(func() {
					runtime.LockOSThread()
					defer runtime.UnlockOSThread()
					before := threadTime()
					for n := range b.N {
						r.Refill(queries[n*server.BatchMax%len(queries):][:server.BatchMax])
						r.AnswerBatch()
					}
					spent[i] = threadTime() - before
				})
			}
			group.Wait()
			sum := time.Duration(0)
			for _, s := range spent {
				sum += s
			}
			b.ReportMetric(float64(sum.Nanoseconds())/float64(b.N*workers*server.BatchMax), "cpu-ns/query")
		})
	}
}

// randomAsks asks for random names: static ones, or steered ones with the subnets of random clients; single ones have policies that give one
// target, without a draw.
func randomAsks(kind string, names int) [][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	arena, out := make([]byte, 0, 96*randomQueries), make([][]byte, 0, randomQueries)
	for range randomQueries {
		name, optionsLen := "h", 0
		switch kind {
		case "single", "steered":
			name, optionsLen = "g", 4+4+3
		case "steered6":
			name, optionsLen = "g", 4+4+7
		}
		at := len(arena)
		i := r.IntN(names)
		if kind == "single" {
			i &^= 1 // as randomTable numbers policies
		}
		name += fmt.Sprint(i)
		arena = append(arena, byte(at), byte(at>>8), 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, byte(len(name)))
		arena = append(append(arena, name...), "\x07example\x03com\x00\x00\x01\x00\x01\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00"...)
		arena = append(arena, byte(optionsLen))
		switch kind {
		case "single", "steered":
			arena = append(arena, 0, 8, 0, 7, 0, 1, 24, 0, byte(1+r.IntN(223)), byte(r.IntN(256)), byte(r.IntN(256)))
		case "steered6":
			arena = append(arena, 0, 8, 0, 11, 0, 2, 56, 0)
			arena = append(binary.BigEndian.AppendUint32(arena, 1<<29|r.Uint32N(1<<29)), byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256)))
		}
		out = append(out, arena[at:len(arena):len(arena)])
	}
	return out
}

// randomWorld has n static names and n steered ones.
func randomWorld(b *testing.B, table *steering.Table, states *steering.States, n int) *server.World {
	b.Helper()
	var text strings.Builder
	text.WriteString("$TTL 300\n@ SOA ns hostmaster 1 2 3 4 5\n@ NS ns\nns A 192.0.2.53\n")
	policies := map[string]steering.PolicyID{}
	for i := range n {
		fmt.Fprintf(&text, "h%d A 10.%d.%d.%d\ng%d STEER p%d\n", i, i>>16, i>>8&255, i&255, i, i%randomPolicies)
		policies[fmt.Sprint("p", i%randomPolicies)] = steering.PolicyID(i % randomPolicies)
	}
	w, err := server.NewWorld(loadSet(b, map[string]string{"example.com.zone": text.String()}), table, states, policies)
	if err != nil {
		b.Fatal(err)
	}
	return w
}

// randomTable has policies of which half give one target and half draw two of three, for as many cells as a city database has.
func randomTable(b *testing.B) (*steering.Table, *steering.States) {
	b.Helper()
	r := rand.New(rand.NewPCG(3, 4))
	spec := &steering.Spec{
		Pools:  []steering.Pool{{}},
		Cells4: randomCells(r, steering.CellBitsMax4, 0, 0, 1<<24, randomCuts4),
		Cells6: randomCells(r, steering.CellBitsMax6, 1<<53, 1<<53, 1<<56, randomCuts6),
	}
	for cell := range len(spec.Cells4) + len(spec.Cells6) {
		kind := cell // numbered by their first cells
		if kind >= randomKinds {
			kind = r.IntN(randomKinds)
		}
		spec.Kinds = append(spec.Kinds, uint32(kind))
	}
	for i := range randomLayouts {
		width := 1 + i%2*2
		l := steering.Layout{Entries: randomRegions * width, ByClient: true}
		for range randomKinds / 8 {
			var plan steering.Plan
			for _, region := range r.Perm(randomRegions) {
				var tier []uint16
				for j := range width {
					tier = append(tier, uint16(region*width+j))
				}
				plan = append(plan, tier)
			}
			l.Plans = append(l.Plans, plan)
		}
		for range randomKinds {
			l.Classes = append(l.Classes, uint32(r.IntN(len(l.Plans))))
		}
		spec.Layouts = append(spec.Layouts, l)
	}
	for i := range randomPolicies {
		layout := i % randomLayouts
		p := steering.Policy{Hash: r.Uint64(), Layout: uint32(layout), TTLMin: 15, TTLMax: 60, Answers: uint8(1 + layout%2)}
		for range spec.Layouts[layout].Entries {
			id := len(spec.Targets)
			p.Targets = append(p.Targets, steering.TargetID(id))
			spec.Targets = append(spec.Targets, steering.Target{
				Hash: r.Uint64(), Weight: 1, V4: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(id >> 8), byte(id)})},
			})
		}
		spec.Policies = append(spec.Policies, p)
	}
	table, err := steering.Build(spec)
	if err != nil {
		b.Fatal(err)
	}
	return table, testStates(b, table)
}

// randomCells cuts a family's blocks of so many bits at random places between from and from+count, size being all of them.
func randomCells(r *rand.Rand, width uint8, from, count, size uint64, cuts int) (cells []steering.Cell) {
	if count == 0 {
		count = size - from
	}
	ends := []uint64{size}
	for range cuts {
		ends = append(ends, (from+r.Uint64N(count))&^(1<<r.IntN(int(width)/4)-1))
	}
	slices.Sort(ends)
	at := uint64(0)
	for _, end := range slices.Compact(ends) {
		for at < end {
			bits := uint8(0)
			for at%(1<<(width-bits)) != 0 || at+1<<(width-bits) > end {
				bits++
			}
			cells = append(cells, steering.Cell{Start: at, Bits: bits})
			at += 1 << (width - bits)
		}
	}
	return cells
}
