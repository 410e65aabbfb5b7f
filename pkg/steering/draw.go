package steering

import (
	"encoding/binary"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// Draws are pure: the same policy, target and key give the same number on every node and in every version that keeps
// drawVersion. They are XXH64 (seed 0) of 32 bytes: version and purpose, policy, target, key, each little-endian, where
// policy and target are XXH64 of their names.
//
// A weighted draw without replacement is weighted rendezvous hashing: each candidate draws an exponentially distributed
// score with its weight as the rate, and the lowest scores win. Removing a target moves only its own clients. The
// logarithm is computed in integers, since floating point may differ between machines.

// drawVersion changes when any draw changes its outcome.
const drawVersion = 1

// The purposes keep draws for different ends apart.
const (
	drawAdmit = 1
	drawPick  = 2
)

// NameHash is the identity of a policy or target in draws.
func NameHash(name string) uint64 { return xxhash.Sum64String(name) }

// drawHash is H(version, purpose, policy, target, key).
func drawHash(purpose uint32, policy, target, key uint64) uint64 {
	var b [32]byte
	binary.LittleEndian.PutUint64(b[0:], drawVersion<<32|uint64(purpose))
	binary.LittleEndian.PutUint64(b[8:], policy)
	binary.LittleEndian.PutUint64(b[16:], target)
	binary.LittleEndian.PutUint64(b[24:], key)
	return xxhash.Sum64(b[:])
}

// admitted says whether a target that takes admit/AdmitAll of its traffic takes this query.
func admitted(admit uint16, policy, target, key uint64) bool {
	return admit == AdmitAll || uint16(drawHash(drawAdmit, policy, target, key)>>48) < admit
}

// WeightMax keeps scores within 64 bits and is far above any ratio that a draw can show.
const WeightMax = 1 << 19

// score is the candidate's place in the draw: the lower the better.
func score(weight uint32, policy, target, key uint64) uint64 {
	return negLog2(drawHash(drawPick, policy, target, key)) << 17 / uint64(weight)
}

const (
	logFraction  = 40 // bits behind the point of negLog2's result
	logTableBits = 10 // one table entry for each 1/1024 of the mantissa; interpolated, the error is below 2^-22
)

// negLog2 is -log2((u|1) / 2^64) in fixed point, 0 < result <= 64 << logFraction.
func negLog2(u uint64) uint64 {
	u |= 1
	lz := bits.LeadingZeros64(u)
	frac := u << lz << 1 // the bits behind the leading 1
	i := frac >> (64 - logTableBits)
	rest := frac << logTableBits >> 32 // how far between entries i and i+1, of 2^32
	lo, hi := log2Table[i], log2Table[i+1]
	return uint64(lz+1)<<logFraction - lo - (hi-lo)*rest>>32
}

// log2Table[i] is log2(1 + i/1024) in fixed point.
var log2Table = makeLog2Table() //nolint:gochecknoglobals // a computed constant

// makeLog2Table computes the logarithms bit by bit: squaring a number in [1, 2) doubles its logarithm.
func makeLog2Table() (table [1<<logTableBits + 1]uint64) {
	for i := range 1 << logTableBits {
		x := uint64(1)<<63 + uint64(i)<<(63-logTableBits) // 1 + i/1024, 63 bits behind the point
		for range logFraction {
			hi, lo := bits.Mul64(x, x) // 126 bits behind the point
			table[i] <<= 1
			if hi>>63 != 0 { // 2 or more
				table[i]++
				x = hi
			} else {
				x = hi<<1 | lo>>63
			}
		}
	}
	table[1<<logTableBits] = 1 << logFraction
	return table
}
