package steering_test

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"geodns/pkg/steering"
)

// The cells of BenchmarkFindCell, as many as of three million networks: IPv4 is cut into /21; of 2000::/3 one /32 in every /17 is cut into
// 64 parts, with what remains of the /17 in cells as large as they can be.
const (
	benchBits4  = 21
	benchBits6  = 17
	benchTaken6 = 32
	benchFine6  = benchTaken6 + 6
)

// benchCells makes them.
func benchCells() (cells4, cells6 []steering.Cell) {
	for i := range uint64(1) << benchBits4 {
		cells4 = append(cells4, steering.Cell{Start: i << (steering.CellBitsMax4 - benchBits4), Bits: benchBits4})
	}
	at := uint64(0)
	add := func(bits uint8) {
		cells6 = append(cells6, steering.Cell{Start: at, Bits: bits})
		at += 1 << (steering.CellBitsMax6 - bits)
	}
	add(3)
	for range 1 << (benchBits6 - 3) {
		for range 1 << (benchFine6 - benchTaken6) {
			add(benchFine6)
		}
		for bits := uint8(benchTaken6); bits > benchBits6; bits-- {
			add(bits)
		}
	}
	add(2)
	add(1)
	return cells4, cells6
}

// BenchmarkFindCell finds the cells of random clients in a table of 3.4 million, one after the other, as a batch does: no look-up waits for
// the one before.
func BenchmarkFindCell(b *testing.B) {
	spec := smallSpec()
	spec.Cells4, spec.Cells6 = benchCells()
	spec.Layouts[0].Classes = make([]uint32, len(spec.Cells4)+len(spec.Cells6))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	table, err := steering.Build(spec)
	if err != nil {
		b.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(spec)
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name   string
		client func() steering.Client
	}{
		{"IPv4", func() steering.Client { return steering.Client{Hi: r.Uint64() &^ (1<<40 - 1), V4: true, Bits: 24} }},
		{"IPv6", func() steering.Client {
			block := uint64(1)<<(benchBits6-3) + r.Uint64N(1<<(benchBits6-3)) // of /17, from 2000::
			return steering.Client{Hi: block<<(64-benchBits6) | r.Uint64N(1<<(64-benchTaken6)), Bits: 56}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			clients := make([]steering.Client, 1<<18)
			for i := range clients {
				clients[i] = c.client()
			}
			b.ReportAllocs()
			b.ResetTimer()
			sum := uint32(0)
			for i := range b.N {
				sum += table.FindCell(clients[i%len(clients)])
			}
			runtime.KeepAlive(sum)
			b.ReportMetric(float64(table.Cells()), "cells")
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MB")
		})
	}
}
