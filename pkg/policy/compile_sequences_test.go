package policy_test

import (
	"fmt"
	"testing"

	"geodns/pkg/policy"
)

// TestSequencesTwin: runs are numbered as they come, and each run has one number, whatever others begin or end with it.
func TestSequencesTwin(t *testing.T) {
	r := seeded(t)
	numbers := policy.NewSequences()
	twin := map[string]uint32{}
	for range 20_000 {
		run := make([]uint16, r.IntN(6))
		for i := range run {
			run[i] = uint16(r.IntN(3)) << (8 * r.IntN(2))
		}
		want, known := twin[fmt.Sprint(run)]
		if !known {
			want = uint32(len(twin))
			twin[fmt.Sprint(run)] = want
		}
		if n, at, added := numbers(run); n != want || added == known || fmt.Sprint(at) != fmt.Sprint(run) {
			t.Fatalf("run %v is number %d, which is %v; added: %t; want number %d", run, n, at, added, want)
		}
	}
}
