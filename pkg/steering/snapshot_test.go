package steering_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"geodns/pkg/steering"
)

// randomTables are tables of random policies.
func randomTables(r *rand.Rand, n int) (tables []*steering.Table) {
	for len(tables) < n {
		if table, err := steering.Build(randomSpec(r)); err == nil {
			tables = append(tables, table)
		}
	}
	return tables
}

// some is n in the long version of a test, and a tenth of it else.
func some(n int) int {
	if long() {
		return n
	}
	return n / 10
}

// TestSnapshot gives back each table whole, and refuses it with any part of its end missing, or anything behind.
func TestSnapshot(t *testing.T) {
	r := seeded(t)
	for _, table := range randomTables(r, some(100)) {
		data := table.Encode()
		got, err := steering.Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if got.ID() != table.ID() || !reflect.DeepEqual(got, table) {
			t.Fatalf("table %s came back as %s, and another", table.ID(), got.ID())
		}
		for range 10 {
			if got, err := steering.Decode(data[:r.IntN(len(data))]); err == nil {
				t.Fatalf("a part of table %s is table %s", table.ID(), got.ID())
			}
		}
		if _, err := steering.Decode(append(data, 0)); err == nil {
			t.Fatal("a table with something behind it was taken")
		}
	}
}

// TestKinds builds the same table, with the same id, whatever cells are of one kind: each of its own, all that no layout tells apart, or some
// of them.
func TestKinds(t *testing.T) {
	r := seeded(t)
	for range some(1000) {
		spec := randomSpec(r)
		want, err := steering.Build(spec)
		if err != nil {
			continue
		}
		number, classes, more := map[string]uint32{}, make([][]uint32, len(spec.Layouts)), 1+r.IntN(2)
		for cell := range want.Cells() {
			var what strings.Builder
			fmt.Fprint(&what, r.IntN(more))
			for i := range spec.Layouts {
				fmt.Fprint(&what, " ", spec.Layouts[i].Classes[cell])
			}
			kind, have := number[what.String()]
			if !have {
				kind = uint32(len(number))
				number[what.String()] = kind
				for i := range classes {
					classes[i] = append(classes[i], spec.Layouts[i].Classes[cell])
				}
			}
			spec.Kinds = append(spec.Kinds, kind)
		}
		for i := range classes {
			spec.Layouts[i].Classes = classes[i]
		}
		got, err := steering.Build(spec)
		if err != nil {
			t.Fatal(err)
		}
		if got.ID() != want.ID() || !reflect.DeepEqual(got, want) {
			t.Fatalf("table %s by %d kinds is %s, or another, by %d cells", got.ID(), len(number), want.ID(), want.Cells())
		}
	}
}

// FuzzSnapshot decodes anything: what comes out is the table that it says, and encodes to one that is equal.
func FuzzSnapshot(f *testing.F) {
	for _, table := range randomTables(rand.New(rand.NewPCG(1, 1)), 10) {
		f.Add(table.Encode())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := steering.Decode(data)
		if err != nil {
			return
		}
		again, err := steering.Decode(table.Encode())
		if err != nil || again.ID() != table.ID() {
			t.Fatalf("%v, %v", again, err)
		}
	})
}

// TestSnapshotFlipped decodes tables with some bits turned: it never panics, and what still is a table is the one it says, with its
// id, so that whoever knows the id is never given another.
func TestSnapshotFlipped(t *testing.T) {
	r := seeded(t)
	for _, table := range randomTables(r, some(100)) {
		data := table.Encode()
		for range 20 {
			flipped := bytes.Clone(data)
			for range 1 + r.IntN(3) {
				flipped[r.IntN(len(flipped))] ^= 1 << r.IntN(8)
			}
			if got, err := steering.Decode(flipped); err == nil && got.ID() == table.ID() && !reflect.DeepEqual(got, table) {
				t.Fatalf("another table has the id %s", got.ID())
			}
		}
	}
}
