package dnstest_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"geodns/internal/dnstest"
)

const (
	// mutants is how many queries a run of the test makes, provenMutants the long one: each takes a TCP port for a minute.
	mutants, provenMutants = 2000, 20_000
	// mutationsMax is how often one is changed: more, and hardly any is read past its header.
	mutationsMax = 4
)

// TestRandomProbes sends probes that were changed at random to our server: whatever comes back must be sound, and the query behind
// it answered.
func TestRandomProbes(t *testing.T) {
	rng := rand.New(rand.NewPCG(dnstest.Seed(t), 0))
	n := mutants
	if os.Getenv("GEODNS_PROVE") != "" {
		n = provenMutants
	}
	servers := startOurs(t, probeZones(t))
	probes := slices.Concat(readProbes(t)...)
	for range n {
		p := probes[rng.IntN(len(probes))]
		if f := p.query.framing; f != (framing{}) || !slices.Contains(p.transports, "udp") {
			continue // its framing is what it is about
		}
		s := servers[p.variant]
		msg, err := p.query.build(s.environment("udp"))
		if err != nil {
			t.Fatal(err)
		}
		msg = mutate(rng, msg)
		for _, transport := range []string{"udp", "tcp"} {
			if err := s.survives(msg, transport); err != nil {
				t.Fatalf("from %s, variant %q, over %s: %v", p.name, p.variant, transport, err)
			}
		}
	}
}

// survives sends a message, whatever it is.
func (s *target) survives(msg []byte, transport string) error {
	if len(msg) == 0 && transport == "tcp" {
		return nil // which closes the connection
	}
	q := queryText{raw: hexOf(msg)}
	if len(msg) == 0 {
		q.raw = "''"
	}
	x, err := s.send(&q, s.environment(transport), transport)
	if err != nil {
		return err
	}
	if len(x.answers) > 1 {
		err = fmt.Errorf("%d answers", len(x.answers))
	}
	if !x.alive {
		err = fmt.Errorf("the query behind it is not answered")
	}
	for _, m := range x.answers {
		if sound := x.sound(m); sound != nil {
			err = sound
		}
	}
	if err != nil {
		return fmt.Errorf("%w\nsent %s\n%s", err, hexOf(msg), x)
	}
	return nil
}

// mutate changes a message at random places: an octet, its end, a piece of it twice or not at all. The id stays.
func mutate(rng *rand.Rand, msg []byte) []byte {
	msg = slices.Clone(msg)
	for range 1 + rng.IntN(mutationsMax) {
		if len(msg) < 3 {
			return msg
		}
		i := 2 + rng.IntN(len(msg)-2)
		j := i + rng.IntN(min(len(msg)-i, 32)+1)
		switch rng.IntN(6) {
		case 0:
			msg[i] = byte(rng.Uint32())
		case 1:
			msg[i] ^= 1 << rng.IntN(8)
		case 2: // values at the edge of something
			msg[i] = []byte{0, 1, 0x3F, 0x40, 0x7F, 0x80, 0xC0, 0xFF}[rng.IntN(8)]
		case 3:
			msg = msg[:i]
		case 4:
			msg = slices.Insert(msg, i, slices.Clone(msg[i:j])...)
		case 5:
			msg = slices.Delete(msg, i, j)
		}
	}
	return msg
}
