package steering

import (
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

// The primes of XXH64.
const (
	prime1 uint64 = 0x9E3779B185EBCA87
	prime2 uint64 = 0xC2B2AE3D27D4EB4F
	prime3 uint64 = 0x165667B19E3779F9
	prime4 uint64 = 0x85EBCA77C2B2AE63

	begin1 uint64 = 0x60EA27EEADC0B5D6 // prime1 + prime2 in 64 bits: what the first of its four accumulators begins with
	begin4 uint64 = 0x61C8864E7A143579 // -prime1: what the last does
)

// round is XXH64's: an accumulator takes in 8 bytes.
func round(acc, lane uint64) uint64 { return bits.RotateLeft64(acc+lane*prime2, 31) * prime1 }

// merge is XXH64's: the hash takes in an accumulator, of which round with an empty one is given.
func merge(hash, rounded uint64) uint64 { return (hash^rounded)*prime1 + prime4 }

// policyLane and targetLane are what XXH64's accumulators of 32 bytes make of a policy's and of a target's hash: known before there is a query.
func policyLane(hash uint64) uint64 { return round(prime2, hash) }
func targetLane(hash uint64) uint64 { return round(0, hash) }

// drawer makes the draws of one decision for one purpose: XXH64 with all that is the same for each target done.
type drawer struct{ sum, first, second, last uint64 }

// newDrawer begins the draws of a policy, by its policyLane.
func newDrawer(purpose uint32, policy, key uint64) drawer {
	first := round(begin1, drawVersion<<32|uint64(purpose))
	last := round(begin4, key)
	return drawer{
		sum:   bits.RotateLeft64(first, 1) + bits.RotateLeft64(policy, 7) + bits.RotateLeft64(last, 18),
		first: round(0, first), second: round(0, policy), last: round(0, last),
	}
}

// hash is H(version, purpose, policy, target, key) of a target, by its targetLane.
func (d *drawer) hash(target uint64) uint64 {
	h := d.sum + bits.RotateLeft64(target, 12)
	h = merge(merge(merge(merge(h, d.first), d.second), round(0, target)), d.last)
	h += 32 // the length
	h = (h ^ h>>33) * prime2
	h = (h ^ h>>29) * prime3
	return h ^ h>>32
}

// admitted says whether a target that takes admit/AdmitAll of its traffic takes this query; policy and target are lanes.
func admitted(admit uint16, policy, target, key uint64) bool {
	if admit == AdmitAll {
		return true
	}
	d := newDrawer(drawAdmit, policy, key)
	return uint16(d.hash(target)>>48) < admit
}

// WeightMax keeps scores within 64 bits and is far above any ratio that a draw can show.
const WeightMax = 1 << 19

// score is a candidate's place in the draw, of its hash: the lower the better.
func score(weight uint32, hash uint64) uint64 { return negLog2(hash) << 17 / uint64(weight) }

// draw collects candidates and keeps the best: as many as the policy answers with. Scores are computed for many at a time, none of which waits for
// another, and not at all where there are no more candidates than answers.
type draw struct {
	ids    [2 * AnswersMax]TargetID
	scores [2 * AnswersMax]uint64 // of the first, so many
	scored int
	n      int
}

// clear begins a draw. What is in the arrays does not matter.
func (w *draw) clear() { w.n, w.scored = 0, 0 }

// add enters a candidate.
func (w *draw) add(r *decision, id TargetID) {
	if w.n == len(w.ids) {
		w.reduce(r)
	}
	w.ids[w.n] = id
	w.n++
}

// reduce leaves as many candidates as the policy answers with: those with the lowest scores, of equal ones the target with the lower number.
func (w *draw) reduce(r *decision) {
	keep := int(r.p.answers)
	if w.n <= keep {
		return
	}
	d := newDrawer(drawPick, r.p.lane, r.key)
	for i := w.scored; i < w.n; i++ {
		g := &r.t.targets[w.ids[i]]
		w.scores[i] = score(g.weight, d.hash(g.lane))
	}
	for i := range keep {
		best := i
		for j := i + 1; j < w.n; j++ {
			if w.scores[j] < w.scores[best] || (w.scores[j] == w.scores[best] && w.ids[j] < w.ids[best]) {
				best = j
			}
		}
		w.ids[i], w.ids[best] = w.ids[best], w.ids[i]
		w.scores[i], w.scores[best] = w.scores[best], w.scores[i]
	}
	w.n, w.scored = keep, keep
}

// finish hands the drawn targets over, and says how many there are.
func (w *draw) finish(r *decision, d *Decision) int {
	w.reduce(r)
	for i := range w.n { // a few: copy would be a call
		d.Targets[i] = w.ids[i]
	}
	return w.n
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
