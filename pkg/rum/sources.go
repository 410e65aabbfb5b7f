package rum

import (
	"math"
	"math/bits"
)

// sources counts the sources of a network in one window and bounds what each of them may send: a HyperLogLog of 64 registers, and
// beside each register how many samples the sources in it have sent. The high half of a byte is the register, the low half the
// count. Which source is in which register is known by a hash whose key lives for a window in memory: there is no way back.
//
// Sources of one network that share a register share its budget. A network of more sources has more samples than are wanted of it
// anyway, and so no table of sources is needed that an attacker could fill.
type sources [registers]uint8

const (
	// registers of the HyperLogLog: a /24 has 256 sources at most, which 64 registers count to 10 %; 10 of them to 1.
	registers    = 64
	registerBits = 6

	// sourceBudget is how many samples of one source count in a window: four page views of three measurements. It fits half a byte.
	sourceBudget = 12

	// rankMax is the highest register.
	rankMax = 15
)

// full reports whether the source of that hash has sent its samples.
func (s *sources) full(hash uint64) bool { return s[hash%registers]&0xf >= sourceBudget }

// add counts a sample of the source of that hash, which is not full.
func (s *sources) add(hash uint64) {
	r := &s[hash%registers]
	rank := uint8(min(bits.TrailingZeros64(hash>>registerBits)+1, rankMax))
	*r = max(*r>>4, rank)<<4 | *r&0xf + 1
}

// count estimates how many different sources were added.
func (s *sources) count() int {
	sum, zero := 0.0, 0
	for _, r := range s {
		if r == 0 {
			zero++
		}
		sum += math.Exp2(-float64(r >> 4))
	}
	// The constants are those of the HyperLogLog paper (Flajolet et al. 2007) for 64 registers.
	estimate := 0.709 * registers * registers / sum
	if estimate <= 2.5*registers && zero > 0 {
		estimate = registers * math.Log(registers/float64(zero))
	}
	return int(math.Round(estimate))
}
