package geo

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
)

// address is an address, or a count of addresses, as a 128-bit number. An IPv4
// address is the number below 2^32 that it is.
type address struct{ hi, lo uint64 }

// compare gives -1, 0 or 1 as a is below, at or above b.
func (a address) compare(b address) int {
	switch {
	case a == b:
		return 0
	case a.hi < b.hi || a.hi == b.hi && a.lo < b.lo:
		return -1
	}
	return 1
}

// add gives a + b, modulo 2^128.
func (a address) add(b address) address {
	lo, carry := bits.Add64(a.lo, b.lo, 0)
	hi, _ := bits.Add64(a.hi, b.hi, carry)
	return address{hi, lo}
}

// sub gives a - b, modulo 2^128.
func (a address) sub(b address) address {
	lo, borrow := bits.Sub64(a.lo, b.lo, 0)
	hi, _ := bits.Sub64(a.hi, b.hi, borrow)
	return address{hi, lo}
}

// next gives a + 1, modulo 2^128.
func (a address) next() address { return a.add(address{0, 1}) }

// prev gives a - 1, modulo 2^128.
func (a address) prev() address { return a.sub(address{0, 1}) }

// family is one of the two address families; its value is the length of an
// address in bits.
type family uint8

const (
	ipv4 family = 32
	ipv6 family = 128

	// block4Bits and block6Bits are the lengths of the prefixes at which cells
	// end. Clients send no more than this of their address in ECS (RFC 7871
	// section 11.1), and hosts within a block share a site.
	block4Bits = 24
	block6Bits = 56
)

// String names the family.
func (f family) String() string {
	if f == ipv4 {
		return "IPv4"
	}
	return "IPv6"
}

// max is the highest address of the family.
func (f family) max() address {
	if f == ipv4 {
		return address{0, math.MaxUint32}
	}
	return address{math.MaxUint64, math.MaxUint64}
}

// blockBits is the length of a block's prefix.
func (f family) blockBits() int {
	if f == ipv4 {
		return block4Bits
	}
	return block6Bits
}

// block is the number of the block that holds a.
func (f family) block(a address) uint64 {
	if f == ipv4 {
		return a.lo >> (32 - block4Bits)
	}
	return a.hi >> (64 - block6Bits)
}

// blockRange is the first and the last address of a block.
func (f family) blockRange(block uint64) (first, last address) {
	if f == ipv4 {
		first.lo = block << (32 - block4Bits)
		return first, address{0, first.lo | (1<<(32-block4Bits) - 1)}
	}
	first.hi = block << (64 - block6Bits)
	return first, address{first.hi | (1<<(64-block6Bits) - 1), math.MaxUint64}
}

// addr gives a as an address of the family.
func (f family) addr(a address) netip.Addr {
	if f == ipv4 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(a.lo))
		return netip.AddrFrom4(b)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], a.hi)
	binary.BigEndian.PutUint64(b[8:], a.lo)
	return netip.AddrFrom16(b)
}

// number gives the family of a and its number. An IPv4-mapped IPv6 address is
// IPv6: unmap it first.
func number(a netip.Addr) (family, address) {
	if a.Is4() {
		b := a.As4()
		return ipv4, address{0, uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return ipv6, address{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// last gives the last address of the prefix of that many bits that begins at a.
func (f family) last(a address, prefixBits int) address {
	switch host := int(f) - prefixBits; {
	case host >= 128:
		return address{math.MaxUint64, math.MaxUint64}
	case host > 64:
		return address{a.hi | (1<<(host-64) - 1), math.MaxUint64}
	case host == 64:
		return address{a.hi, math.MaxUint64}
	default:
		return address{a.hi, a.lo | (1<<host - 1)}
	}
}
