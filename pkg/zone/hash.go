package zone

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

// hasher is a seeded hash of wire names, eight bytes at a step: the multiply-and-fold of wyhash. Whoever can add names
// to a zone must not be able to choose names that collide, so both secrets come from the seed and none is a constant
// that a name could cancel.
type hasher struct {
	a, b uint64
}

// newHasher derives the secrets of a seed; seed 0 draws one.
func newHasher(seed uint64) hasher {
	if seed == 0 {
		seed = rand.Uint64()
	}
	r := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)) //nolint:gosec // spreads the seed's bits; it is no key
	return hasher{a: r.Uint64(), b: r.Uint64()}
}

// hash hashes a folded name.
func (h hasher) hash(name []byte) uint64 {
	size := uint64(len(name))
	x := h.b
	for len(name) > 16 {
		x = fold128(binary.LittleEndian.Uint64(name)^h.a, binary.LittleEndian.Uint64(name[8:])^x)
		name = name[16:]
	}
	var lo, hi uint64
	switch n := len(name); {
	case n >= 8:
		lo, hi = binary.LittleEndian.Uint64(name), binary.LittleEndian.Uint64(name[n-8:])
	case n >= 4:
		lo, hi = uint64(binary.LittleEndian.Uint32(name)), uint64(binary.LittleEndian.Uint32(name[n-4:]))
	case n > 0:
		lo, hi = uint64(name[0]), uint64(name[n/2])<<8|uint64(name[n-1])
	}
	x = fold128(lo^h.a, hi^x)
	// The length stands by itself: names that repeat a label begin and end alike, and beside an octet it would cancel out.
	return fold128(x^h.b^size, x^h.a^0xa0761d6478bd642f)
}

// fold128 multiplies and folds the product.
func fold128(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
