package steering

import (
	"encoding/binary"
	"net/netip"
)

// Cells end at these lengths: finer networks are neither routed (IPv4 /24) nor sent by resolvers (IPv6 /56, RFC 7871
// section 11.1), and an answer's scope is never longer.
const (
	CellBitsMax4 = 24
	CellBitsMax6 = 56
)

// Published scopes are no shorter than these, so that one answer is never cached for a large part of the world.
const (
	ScopeMin4 = 8
	ScopeMin6 = 16
)

// HashBits4 and HashBits6 are the client networks to which `pick: hash` is stable.
const (
	HashBits4 = 24
	HashBits6 = 48
)

// Client is who asks: an address and how many of its leading bits are known. The bits behind them are zero.
type Client struct {
	Hi, Lo uint64 // IPv6: the address in two halves; IPv4: the address in the upper half of Hi
	Bits   uint8  // known bits: 32 or 128 for a query's own source, SOURCE PREFIX-LENGTH with ECS (RFC 7871 section 6)
	V4     bool
}

// ClientFrom makes a Client of a prefix; an IPv4-mapped IPv6 address is taken for the IPv4 address that it holds.
func ClientFrom(p netip.Prefix) Client {
	a, b := p.Addr(), p.Bits()
	if a.Is4In6() && b >= 96 {
		p = netip.PrefixFrom(a.Unmap(), b-96)
	}
	p = p.Masked()
	if p.Addr().Is4() {
		return Client4(p.Addr().As4(), uint8(p.Bits()))
	}
	return Client6(p.Addr().As16(), uint8(p.Bits()))
}

// Client4 makes a Client of an IPv4 address of which bits are known.
func Client4(a [4]byte, bits uint8) Client {
	return Client{Hi: uint64(binary.BigEndian.Uint32(a[:])) << 32, Bits: bits, V4: true}
}

// Client6 makes a Client of an IPv6 address of which bits are known.
func Client6(a [16]byte, bits uint8) Client {
	return Client{Hi: binary.BigEndian.Uint64(a[:8]), Lo: binary.BigEndian.Uint64(a[8:]), Bits: bits}
}

// Prefix is the Client as a prefix, for people.
func (c Client) Prefix() netip.Prefix { return netip.PrefixFrom(c.Addr(), int(c.Bits)) }

// Addr is the Client's address, zero behind the known bits.
func (c Client) Addr() netip.Addr {
	if c.V4 {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], uint32(c.Hi>>32))
		return netip.AddrFrom4(a)
	}
	var a [16]byte
	binary.BigEndian.PutUint64(a[:8], c.Hi)
	binary.BigEndian.PutUint64(a[8:], c.Lo)
	return netip.AddrFrom16(a)
}

// block is the number of the Client's /24 (24 bits) or /56 (56 bits): what cells are found by.
func (c Client) block() uint64 {
	if c.V4 {
		return c.Hi >> (64 - CellBitsMax4)
	}
	return c.Hi >> (64 - CellBitsMax6)
}

// network is the key of `pick: hash`: the /24 or /48, the families apart.
func (c Client) network() uint64 {
	if c.V4 {
		return c.Hi>>(64-HashBits4) | 1<<63
	}
	return c.Hi >> (64 - HashBits6)
}
