package rum

import (
	"math"
	"math/bits"
	"slices"
)

// sources counts the sources of a network in one window and bounds what each of them may send. It is a HyperLogLog of 64 registers
// with, as in HyperLogLog++, the hashes themselves while they are few: whether a network has the sources it needs to be shown is
// then no estimate. Beside each register stands how many samples the sources in it have sent, so that no table of sources is needed
// that an attacker could fill. Sources of one network that share a register share its budget; a network of so many sources has more
// samples than are wanted of it anyway.
//
// A source is known by a hash whose key lives for a window in memory and nowhere else: there is no way back.
type sources struct {
	// registers: the high half of a byte is the register, the low half the samples.
	registers [registers]uint8
	few       [fewMax]uint32 // the first hashes, half of each
	fewCount  uint8          // of few; more than fewMax: there are more, and few is of no use
}

const (
	// registers of the HyperLogLog: a /24 has 256 sources at most, which 64 registers count to some 10 %.
	registers    = 64
	registerBits = 6

	// rankMax is the highest register, in half a byte: for 2^15 times as many sources as there are registers.
	rankMax = 15

	// fewMax is how many sources are counted exactly: more than are usually wanted for a network to be shown.
	fewMax = 16

	// sourceBudget is how many samples of one source count in a window: four page views of three measurements. It fits half a byte.
	sourceBudget = 12
)

// full reports whether the source of that hash has sent its samples.
func (s *sources) full(hash uint64) bool { return s.registers[hash%registers]&0xf >= sourceBudget }

// add counts a sample of the source of that hash, which is not full.
func (s *sources) add(hash uint64) {
	r := &s.registers[hash%registers]
	rank := uint8(min(bits.TrailingZeros64(hash>>registerBits)+1, rankMax))
	*r = max(*r>>4, rank)<<4 | *r&0xf + 1
	if s.fewCount > fewMax {
		return
	}
	short := uint32(hash >> 32)
	if slices.Contains(s.few[:s.fewCount], short) {
		return
	}
	if s.fewCount < fewMax {
		s.few[s.fewCount] = short
	}
	s.fewCount++
}

// count is how many different sources were added: up to fewMax never more than there were, above it an estimate.
func (s *sources) count() int {
	if s.fewCount <= fewMax {
		return int(s.fewCount)
	}
	sum, zero := 0.0, 0
	for _, r := range s.registers {
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
	return max(int(math.Round(estimate)), fewMax+1)
}
