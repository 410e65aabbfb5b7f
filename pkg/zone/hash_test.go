package zone_test

import (
	"testing"
)

// TestHashes looks for two names of few labels with one hash: names that repeat labels are alike but for their length.
func TestHashes(t *testing.T) {
	t.Parallel()
	set := loadZones(t, map[string]string{"example.com.zone": apex})
	hashes := map[uint64]string{}
	last := []string{"", "example.com."}
	for range 8 {
		var next []string
		for _, name := range last {
			for _, l := range []string{"a.", "b.", "c."} {
				next = append(next, l+name)
				h := set.Hash(wireName(t, l+name))
				if other, ok := hashes[h]; ok {
					t.Fatalf("%s and %s have the same hash", l+name, other)
				}
				hashes[h] = l + name
			}
		}
		last = next
	}
}
