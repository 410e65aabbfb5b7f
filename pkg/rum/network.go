package rum

import (
	"encoding/binary"
	"math"
	"net/netip"
	"slices"

	"geodns/pkg/geo"
)

const (
	// prefix4Bits and prefix6Bits are the client networks: what a site announces and an ISP gives to one site.
	prefix4Bits = 24
	prefix6Bits = 48

	// source6Bits is what counts as one source of IPv6. A household has as many addresses as it likes, and many providers give it a
	// /56 with 256 networks: by the /64 one line would be all the sources that a /48 needs to speak for the other 255.
	source6Bits = 56

	// group4Bits and group6Bits stand for an ASN where none is known: about the size of what a registry gives to one network.
	group4Bits = 16
	group6Bits = 32
)

// networkKey is a client network as a number: the leading 24 bits of an IPv4 address, or the leading 48 of an IPv6 address with
// key6 set.
type networkKey uint64

const key6 networkKey = 1 << 63

// keyOf gives the network of an address that is not 4in6.
func keyOf(a netip.Addr) networkKey {
	if a.Is4() {
		b := a.As4()
		return networkKey(binary.BigEndian.Uint32(b[:]) >> (32 - prefix4Bits))
	}
	b := a.As16()
	return key6 | networkKey(binary.BigEndian.Uint64(b[:8])>>(64-prefix6Bits))
}

// valid reports whether the key is one that keyOf gives.
func (k networkKey) valid() bool {
	if k&key6 == 0 {
		return k < 1<<prefix4Bits
	}
	return k&^key6 < 1<<prefix6Bits
}

// prefix gives the network as people write it.
func (k networkKey) prefix() netip.Prefix {
	if k&key6 == 0 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(k)<<(32-prefix4Bits))
		return netip.PrefixFrom(netip.AddrFrom4(b), prefix4Bits)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(k&^key6)<<(64-prefix6Bits))
	return netip.PrefixFrom(netip.AddrFrom16(b), prefix6Bits)
}

// allocation gives the /32 of an IPv6 network; false for IPv4.
func (k networkKey) allocation() (networkKey, bool) {
	return k >> (prefix6Bits - group6Bits), k&key6 != 0
}

// group is who answers for a network: its ASN, or the allocation that it is in.
type group uint64

// place is what is kept of a geo.Place: codes by value, so that no geo data of the past stays in memory.
type place struct {
	continent, country [2]byte
	asn                uint32
	lat, lon           float32 // NaN where there is no location
}

// placeOf keeps what is wanted of a place.
func placeOf(p geo.Place) place {
	kept := place{asn: p.ASN, lat: float32(math.NaN())}
	copy(kept.continent[:], p.Continent)
	copy(kept.country[:], p.Country)
	if p.HasLocation {
		kept.lat, kept.lon = float32(p.Lat), float32(p.Lon)
	}
	return kept
}

// group gives who answers for the network k in this place.
func (p *place) group(k networkKey) group {
	switch {
	case p.asn != 0:
		return group(p.asn)
	case k&key6 == 0:
		return 1<<62 | group(k>>(prefix4Bits-group4Bits))
	}
	return 1<<63 | group(k&^key6>>(prefix6Bits-group6Bits))
}

// rung gives the rung of the kind above the prefix for networks in this place, false where the place is not known well enough.
func (p *place) rung(kind RungKind) (Rung, bool) {
	country := p.country != [2]byte{}
	switch kind {
	case RungASN:
		return Rung{Kind: kind, ASN: p.asn, Code: string(p.country[:])}, p.asn != 0 && country
	case RungCountry:
		return Rung{Kind: kind, Code: string(p.country[:])}, country
	case RungContinent:
		return Rung{Kind: kind, Code: string(p.continent[:])}, p.continent != [2]byte{}
	case RungPrefix:
	}
	return Rung{}, false
}

// network is what is kept of one client network.
type network struct {
	place    place
	regions  []sketch // a few, in no order
	sources  sources  // of this window
	prior    uint16   // sources of the last window, or of the process before this one
	accepted uint16   // samples in this window
	weight   uint32   // of all sketches, of weightOne: how useful it is to keep the network
}

// distinct is how many sources the network has: of this window or of the last, whichever is more, since a window begins empty.
func (n *network) distinct() int { return max(int(n.prior), n.sources.count()) }

// sketch gives the sketch of a region, nil where there is none.
func (n *network) sketch(region string) *sketch {
	for i := range n.regions {
		if n.regions[i].region == region {
			return &n.regions[i]
		}
	}
	return nil
}

// roll begins a window: the sources of the last one are a number from now on.
func (n *network) roll() {
	n.prior = uint16(min(n.sources.count(), math.MaxUint16))
	n.sources = sources{}
	n.accepted = 0
	for i := range n.regions {
		n.regions[i].roll()
	}
}

// decay makes what was measured count less and forgets sketches with nothing left, or nothing since the time oldest (seconds since
// 1970). It gives how many were forgotten.
func (n *network) decay(factor float64, oldest uint32) (forgotten int) {
	before := len(n.regions)
	n.weight = 0
	n.regions = slices.DeleteFunc(n.regions, func(s sketch) bool { return s.last < oldest })
	for i := range n.regions {
		n.regions[i].decay(factor)
		n.weight += uint32(n.regions[i].total())
	}
	n.regions = slices.DeleteFunc(n.regions, func(s sketch) bool { return len(s.bins) == 0 && s.failed == 0 })
	return before - len(n.regions)
}
