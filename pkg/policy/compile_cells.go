package policy

import (
	"cmp"
	"maps"
	"math/bits"
	"net/netip"
	"slices"

	"geodns/pkg/geo"
	"geodns/pkg/steering"
)

// noSubnet is the subnet number of clients in none of the operator's subnets.
const noSubnet = -1

// subnets numbers all prefixes that rules, maps and overrides name, so that a client's longest one stands for all that
// contain it: they are nested or disjoint.
type subnets struct {
	list   []netip.Prefix // distinct, each behind those that contain it
	parent []int          // by number: the longest other that contains it, or noSubnet
	number map[netip.Prefix]int
}

// newSubnets collects the prefixes of all layouts and of overrides that are longer than blocks.
func newSubnets(layouts []*layout, networks *geo.Networks) *subnets {
	s := &subnets{number: map[netip.Prefix]int{}}
	for _, l := range layouts {
		s.list = slices.AppendSeq(s.list, maps.Keys(l.namedSubnets()))
	}
	for _, long := range networks.Long {
		s.list = append(s.list, long.Prefix)
	}
	slices.SortFunc(s.list, comparePrefix)
	s.list = slices.Compact(s.list)
	for i, p := range s.list {
		s.number[p] = i
		up := i - 1
		for up >= 0 && !containsPrefix(s.list[up], p) {
			up = s.parent[up]
		}
		s.parent = append(s.parent, up)
	}
	return s
}

// comparePrefix orders by family, address and length.
func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(cmp.Compare(a.Addr().BitLen(), b.Addr().BitLen()), a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// containsPrefix says whether all of b is in a.
func containsPrefix(a, b netip.Prefix) bool { return a.Bits() <= b.Bits() && a.Contains(b.Addr()) }

// within says, by subnet number, whether a subnet lies in one of the prefixes.
func (s *subnets) within(prefixes []netip.Prefix) []bool {
	out := make([]bool, len(s.list))
	for _, p := range prefixes {
		out[s.number[p]] = true
	}
	for i, up := range s.parent {
		out[i] = out[i] || (up != noSubnet && out[up])
	}
	return out
}

// longest gives, by subnet number, the longest of a map's subnets around it, as an index; -1: none.
func (s *subnets) longest(orders []SubnetOrder) []int {
	out := make([]int, len(s.list))
	for i := range out {
		out[i] = -1
	}
	for i := range orders {
		out[s.number[orders[i].Prefix]] = i
	}
	for i, up := range s.parent {
		if out[i] < 0 && up != noSubnet {
			out[i] = out[up]
		}
	}
	return out
}

// find gives the longest subnet around a prefix that is no longer than it, or noSubnet.
func (s *subnets) find(p netip.Prefix) int {
	i, exact := slices.BinarySearchFunc(s.list, p, comparePrefix)
	if exact {
		return i
	}
	for i--; i >= 0; i = s.parent[i] {
		if containsPrefix(s.list[i], p) {
			return i
		}
	}
	return noSubnet
}

// longSubnet is an operator's subnet that is longer than a cell can be.
type longSubnet struct {
	prefix netip.Prefix
	client client
	parent int // the longest other around it in Compiled.long, or noSubnet
}

// segment is a run of blocks of one place and subnet.
type segment struct {
	start uint64
	kind  uint32
}

// classify fills layouts with their classes and plans, and the Spec with cells and layouts.
func (c *compiler) classify() {
	kinds := newKinds(c.in.Networks)
	seg4 := c.out.sweep(c.in.Networks.V4, true, kinds)
	seg6 := c.out.sweep(c.in.Networks.V6, false, kinds)
	kinds.mark(seg4, seg6)
	classes := c.classifyKinds(kinds)            // by layout and kind
	merged := make([]uint32, len(kinds.clients)) // kinds that no layout tells apart
	for i := range classes {
		merged = refine(merged, classes[i])
	}
	var first []int // by merged kind: the first kind that it is made of
	for kind, m := range merged {
		if int(m) == len(first) {
			first = append(first, kind)
		}
	}
	var kindOf []uint32 // by cell, IPv4 first
	c.spec.Cells4, kindOf = cut(seg4, merged, steering.CellBitsMax4, nil)
	c.spec.Cells6, kindOf = cut(seg6, merged, steering.CellBitsMax6, kindOf)
	c.spec.GeoLost = c.in.GeoLost
	c.out.long = c.out.longSubnets()
	for i, l := range c.out.layouts {
		s := steering.Layout{ByClient: l.byClient, Classes: make([]uint32, len(kindOf))}
		classOf := make([]uint32, len(first)) // by merged kind
		for m, kind := range first {
			classOf[m] = classes[i][kind]
		}
		for cell, m := range kindOf {
			s.Classes[cell] = classOf[m]
		}
		s.Long = l.longCells(c.out)
		s.Plans = l.numberEntries()
		s.Entries = len(l.used)
		c.spec.Layouts = append(c.spec.Layouts, s)
	}
}

// refine numbers the distinct pairs of two numberings of the same things, in the order in which they first occur.
func refine(a, b []uint32) []uint32 {
	type pair struct{ a, b uint32 }
	number := map[pair]uint32{}
	out := make([]uint32, len(a))
	for i := range a {
		p := pair{a[i], b[i]}
		n, have := number[p]
		if !have {
			n = uint32(len(number))
			number[p] = n
		}
		out[i] = n
	}
	return out
}

// kinds numbers the distinct clients: kind k < len(Places) is Places[k] in no subnet or measured network, those in one follow.
type kinds struct {
	clients []client
	number  map[kindKey]uint32
	exist   []bool // by kind
}

type kindKey struct {
	place           uint32
	subnet, network int
}

func newKinds(n *geo.Networks) *kinds {
	k := &kinds{number: map[kindKey]uint32{}, clients: make([]client, n.Places.Len())}
	for i, p := range n.Places.List() {
		k.clients[i] = client{place: p, subnet: noSubnet, network: noSubnet}
	}
	return k
}

// of gives the kind of clients of a place in a subnet and a measured network.
func (k *kinds) of(place uint32, subnet, network int) uint32 {
	if subnet == noSubnet && network == noSubnet {
		return place
	}
	key := kindKey{place, subnet, network}
	n, have := k.number[key]
	if !have {
		n = uint32(len(k.clients))
		k.number[key] = n
		k.clients = append(k.clients, client{place: k.clients[place].place, subnet: subnet, network: network})
	}
	return n
}

// mark notes which kinds there are: those of segments and, as no database knows everyone, the unknown client. A place
// may be that of an override alone, which then says nothing of clients outside of it.
func (k *kinds) mark(segs ...[]segment) {
	k.exist = make([]bool, len(k.clients))
	k.exist[0] = true
	for _, family := range segs {
		for _, s := range family {
			k.exist[s.kind] = true
		}
	}
}

// blockSpan is a subnet as blocks [from, to) of its family.
type blockSpan struct {
	from, to uint64
	subnet   int
}

// spans lists the prefixes of a family, of some sorted ones, that are no longer than a cell may be; one behind those around it.
func spans(list []netip.Prefix, v4 bool) (out []blockSpan) {
	for i, p := range list {
		c := steering.ClientFrom(p)
		width := cellWidth(c.V4)
		if c.V4 != v4 || c.Bits > width {
			continue
		}
		from := c.Hi >> (64 - width)
		out = append(out, blockSpan{from: from, to: from + 1<<(width-c.Bits), subnet: i})
	}
	return out
}

func cellWidth(v4 bool) uint8 {
	if v4 {
		return steering.CellBitsMax4
	}
	return steering.CellBitsMax6
}

// spanCursor goes through spans in the order of addresses.
type spanCursor struct {
	ahead []blockSpan
	stack []blockSpan // around where it is, the narrowest last
}

// at moves to a block and gives the narrowest span around it, and where that may be another.
func (s *spanCursor) at(block, end uint64) (subnet int, next uint64) {
	for len(s.stack) > 0 && s.stack[len(s.stack)-1].to <= block {
		s.stack = s.stack[:len(s.stack)-1]
	}
	for len(s.ahead) > 0 && s.ahead[0].from <= block {
		s.stack = append(s.stack, s.ahead[0])
		s.ahead = s.ahead[1:]
	}
	subnet, next = noSubnet, end
	if len(s.stack) > 0 {
		subnet, next = s.stack[len(s.stack)-1].subnet, s.stack[len(s.stack)-1].to
	}
	if len(s.ahead) > 0 {
		next = min(next, s.ahead[0].from)
	}
	return subnet, next
}

// sweep joins runs of places with subnets and measured networks into segments that cover a family.
func (c *Compiled) sweep(runs []geo.Run, v4 bool, k *kinds) (out []segment) {
	end := uint64(1) << cellWidth(v4)
	subnets, networks := spanCursor{ahead: spans(c.subnets.list, v4)}, spanCursor{ahead: spans(c.latencies.networks, v4)}
	for at, ri := uint64(0), 0; at < end; {
		for ri+1 < len(runs) && runs[ri+1].Start <= at {
			ri++
		}
		subnet, next := subnets.at(at, end)
		network, change := networks.at(at, end)
		if next = min(next, change); ri+1 < len(runs) {
			next = min(next, runs[ri+1].Start)
		}
		out = append(out, segment{at, k.of(runs[ri].Place, subnet, network)})
		at = next
	}
	return out
}

// cut joins neighboring segments whose kinds were merged and cuts them into cells, whose kinds it appends.
func cut(segs []segment, merged []uint32, width uint8, kindsSoFar []uint32) (cells []steering.Cell, kindOf []uint32) {
	cells, kindOf = make([]steering.Cell, 0, len(segs)), slices.Grow(kindsSoFar, len(segs))
	for i := 0; i < len(segs); {
		m, from, to := merged[segs[i].kind], segs[i].start, uint64(1)<<width
		for i++; i < len(segs); i++ {
			if merged[segs[i].kind] != m {
				to = segs[i].start
				break
			}
		}
		for from < to { // the largest aligned block that begins here and ends by `to`
			n := bits.Len64(to-from) - 1
			if from != 0 {
				n = min(n, bits.TrailingZeros64(from))
			}
			cells = append(cells, steering.Cell{Start: from, Bits: width - uint8(n)})
			kindOf = append(kindOf, m)
			from += 1 << n
		}
	}
	return cells, kindOf
}

// longSubnets lists the subnets that are longer than cells, with the client that each stands for.
func (c *Compiled) longSubnets() (out []longSubnet) {
	for i, p := range c.subnets.list {
		if at := steering.ClientFrom(p); at.Bits <= cellWidth(at.V4) {
			continue
		}
		l := longSubnet{prefix: p, client: c.clientIn(p.Addr(), i), parent: noSubnet}
		for _, o := range c.networks.Long { // sorted: a longer one comes later
			if containsPrefix(o.Prefix, p) {
				l.client.place = c.networks.Places.At(o.Place)
			}
		}
		for j := len(out) - 1; j >= 0; j = out[j].parent {
			if containsPrefix(out[j].prefix, p) {
				l.parent = j
				break
			}
		}
		out = append(out, l)
	}
	return out
}

// clientIn is the client of an address's block in a subnet.
func (c *Compiled) clientIn(a netip.Addr, subnet int) client {
	return client{place: c.networks.At(a), subnet: subnet, network: c.latencies.networkOf(a)}
}

// longCells are the long subnets that a layout has to know: those that it names, and those whose class is not that of
// what lies around them (an override).
func (l *layout) longCells(c *Compiled) (out []steering.LongCell) {
	around := make([]uint32, len(c.long))
	named := l.namedSubnets()
	for i := range c.long {
		sub := &c.long[i]
		class := l.classOf(&sub.client)
		outer := uint32(0)
		if sub.parent != noSubnet {
			outer = around[sub.parent]
		} else {
			block := netip.PrefixFrom(sub.prefix.Addr(), int(cellWidth(sub.prefix.Addr().Is4()))).Masked()
			who := c.clientIn(sub.prefix.Addr(), c.subnets.find(block))
			outer = l.classOf(&who)
		}
		around[i] = class
		if named[sub.prefix] || class != outer {
			out = append(out, steering.LongCell{Prefix: sub.prefix, Class: class})
		}
	}
	return out
}

// namedSubnets is the set of prefixes in the layout's rules and maps.
func (l *layout) namedSubnets() map[netip.Prefix]bool {
	named := map[netip.Prefix]bool{}
	for _, r := range l.policy.Rules {
		for _, p := range r.Subnets {
			named[p] = true
		}
		if m := r.rankMap(); m != nil {
			for i := range m.Subnets {
				named[m.Subnets[i].Prefix] = true
			}
		}
	}
	return named
}
