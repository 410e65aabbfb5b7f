package policy

import (
	"net/netip"

	"geodns/pkg/steering"
)

// The unicast space of IPv4 in /24s, which stands for all clients where no database places any: 0/8, 127/8 and all from 224/4 on
// are nobody's address (RFC 6890, RFC 5771).
const (
	unicastFirst  = 1 << 16
	loopbackFirst = 127 << 16
	loopbackEnd   = 128 << 16
	unicastEnd    = 224 << 16
)

// SampleClients gives n IPv4 client networks, all /24, spread evenly over those that the geo data places, in the order of addresses
// and the same each time: of N placed ones those in the middle of n equal parts. Where fewer are placed some come more than once,
// and where none is, all unicast space stands for them.
func (c *Compiled) SampleClients(n int) []netip.Prefix {
	spans := c.placedSpans()
	var total uint64
	for _, s := range spans {
		total += s.to - s.from
	}
	out := make([]netip.Prefix, 0, n)
	for i, before, at := 0, uint64(0), 0; i < n; i++ {
		want := (2*uint64(i) + 1) * total / (2 * uint64(n)) // how many placed ones lie before it
		for want-before >= spans[at].to-spans[at].from {
			before += spans[at].to - spans[at].from
			at++
		}
		block := spans[at].from + want - before
		out = append(out, netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(block >> 16), byte(block >> 8), byte(block)}), steering.CellBitsMax4))
	}
	return out
}

// placedSpans lists the runs of IPv4 blocks that have a place.
func (c *Compiled) placedSpans() (out []blockSpan) {
	runs := c.in.Networks.V4
	for i, run := range runs {
		to := uint64(1) << steering.CellBitsMax4
		if i+1 < len(runs) {
			to = runs[i+1].Start
		}
		if c.in.Networks.Places.At(run.Place).Placed() {
			out = append(out, blockSpan{from: run.Start, to: to})
		}
	}
	if len(out) == 0 {
		out = []blockSpan{{from: unicastFirst, to: loopbackFirst}, {from: loopbackEnd, to: unicastEnd}}
	}
	return out
}
