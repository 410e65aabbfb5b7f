package dnstest

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// Seed gives the seed of a random test, a new one for each run unless GEODNS_SEED sets it. It is logged, so that a failure can be
// had again.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("GEODNS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("GEODNS_SEED: %v", err)
		}
	}
	t.Logf("GEODNS_SEED=%d", seed)
	return seed
}
