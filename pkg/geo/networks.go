package geo

import "net/netip"

// Networks is all client networks in address order, disjoint, covering
// everything, cut to blocks (/24, /56). Immutable.
type Networks struct {
	// Places holds the distinct places that the lists below refer to; index 0
	// is the zero Place.
	Places Places
	// V4 and V6 are the networks of each family: the first Start is 0, they are
	// sorted, and neighbors differ in Place.
	V4, V6 []Run
	// Long is the operator's overrides that are longer than a block, by address
	// and then length. One matches only where the client is wholly known; the
	// longest that does, decides.
	Long []LongPlace
}

// Run is a run of blocks that have one place: from Start to the block before
// the next run's Start, or to the last.
type Run struct {
	Start uint64 // number of a block: an IPv4 address >> 8, or the top 64 bits of an IPv6 address >> 8
	Place uint32 // index into Networks.Places
}

// LongPlace is an override longer than a block, with all that is known of it:
// the overrides that enclose it and the place of its block included.
type LongPlace struct {
	Prefix netip.Prefix
	Place  uint32 // index into Networks.Places
}

// At gives the place of the block that holds an address, whatever Long says.
func (n *Networks) At(a netip.Addr) Place {
	i, _ := n.run(a.Unmap())
	return n.Places.At(i.Place)
}

// run gives the run that holds an address, and its index.
func (n *Networks) run(a netip.Addr) (Run, int) {
	f, num := number(a)
	runs := n.V6
	if f == ipv4 {
		runs = n.V4
	}
	block := f.block(num)
	lo, hi := 0, len(runs)
	for lo+1 < hi {
		if mid := (lo + hi) / 2; runs[mid].Start <= block {
			lo = mid
		} else {
			hi = mid
		}
	}
	return runs[lo], lo
}
