package policy

import (
	"cmp"
	"iter"
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
	if c.out.kinds == nil {
		c.out.kinds = newKinds(c.in.Networks.Places.Len())
	}
	k := &measuredKinds{kinds: c.out.kinds, number: map[measuredKind]uint32{}}
	seg4 := c.out.sweep(c.in.Networks.V4, true, k)
	seg6 := c.out.sweep(c.in.Networks.V6, false, k)
	k.settle(seg4, seg6)
	if k.plain == nil {
		c.classifyPlain(k)
	}
	classes, merged := c.classifyMeasured(k)
	c.spec.Cells4, c.spec.Kinds = cut(seg4, merged, steering.CellBitsMax4, nil)
	c.spec.Cells6, c.spec.Kinds = cut(seg6, merged, steering.CellBitsMax6, c.spec.Kinds)
	first := renumber(c.spec.Kinds, merged)
	c.spec.GeoLost = c.in.GeoLost
	c.out.long = c.out.longSubnets()
	for i, l := range c.out.layouts {
		s := steering.Layout{Kept: c.kept(l), Classes: make([]uint32, len(first))}
		for m, kind := range first {
			if l.byOrders {
				s.Classes[m] = classes[i][kind]
			} else {
				s.Classes[m] = l.classBy[k.plain[k.plainOf(kind)]]
			}
		}
		if !s.Kept {
			s.ByClient = l.byClient
			s.Long = l.longCells(c.out)
			s.Plans = l.numberEntries()
			s.Entries = len(l.used)
		}
		c.spec.Layouts = append(c.spec.Layouts, s)
	}
}

// renumber numbers the kinds of cells in the order in which they come, and gives for each a kind that was merged into it.
func renumber(cells, merged []uint32) (first []int) {
	one := make([]int, slices.Max(merged)+1) // by merged kind: a kind that it is made of
	for kind, m := range merged {
		one[m] = kind
	}
	number := make([]uint32, len(one)) // the new one, plus 1
	for i, m := range cells {
		if number[m] == 0 {
			first = append(first, one[m])
			number[m] = uint32(len(first))
		}
		cells[i] = number[m] - 1
	}
	return first
}

// classifyPlain classifies the layouts that orders have no part in, and numbers what they tell apart.
func (c *compiler) classifyPlain(k *measuredKinds) {
	var plain []*layout
	for _, l := range c.out.layouts {
		if !l.byOrders {
			plain = append(plain, l)
		}
	}
	classes := c.classifyKinds(plain, k.clients(c.in.Networks.Places), k.plainExist())
	k.plain = make([]uint32, len(k.keys))
	for i := range plain {
		k.plain = refine(k.plain, classes[i])
	}
	for i, l := range plain {
		l.classBy = make([]uint32, slices.Max(k.plain)+1)
		for kind, n := range k.plain {
			l.classBy[n] = classes[i][kind]
		}
	}
}

// classifyMeasured gives each kind its class in the layouts that orders have a part in, by layout, and numbers the kinds that some layout
// tells apart.
func (c *compiler) classifyMeasured(k *measuredKinds) (classes map[int][]uint32, merged []uint32) {
	var byOrders []*layout
	var at []int
	for i, l := range c.out.layouts {
		if l.byOrders {
			byOrders, at = append(byOrders, l), append(at, i)
		}
	}
	merged = make([]uint32, len(k.exist))
	for kind := range merged {
		merged[kind] = k.plain[k.plainOf(kind)]
	}
	classes = make(map[int][]uint32, len(byOrders))
	for i, of := range c.classifyKinds(byOrders, k.all(c.in.Networks.Places), k.exist) {
		classes[at[i]] = of
		merged = refine(merged, of)
	}
	return classes, merged
}

// refine numbers the distinct pairs of two numberings of the same things, in the order in which they first occur.
func refine(a, b []uint32) []uint32 {
	number := map[uint64]uint32{}
	out := make([]uint32, len(a))
	for i := range a {
		pair := uint64(a[i])<<32 | uint64(b[i])
		n, have := number[pair]
		if !have {
			n = uint32(len(number))
			number[pair] = n
		}
		out[i] = n
	}
	return out
}

// kinds numbers the distinct clients, but for measured networks: kind k < len(Places) is Places[k] in no subnet, those in one follow. Once
// they are numbered they are the same for all orders, and not modified. They are kept as long as the table is: without pointers, of which places
// have many.
type kinds struct {
	keys   []kindKey
	number map[kindKey]uint32
	plain  []uint32 // by kind: a number for those that layouts which orders have no part in tell apart; nil until they are classified
}

type kindKey struct {
	place  uint32
	subnet int
}

func newKinds(places int) *kinds {
	k := &kinds{number: map[kindKey]uint32{}, keys: make([]kindKey, places)}
	for i := range k.keys {
		k.keys[i] = kindKey{uint32(i), noSubnet}
	}
	return k
}

// clients lists the clients by kind.
func (k *kinds) clients(places geo.Places) []client {
	out := make([]client, len(k.keys))
	for i, key := range k.keys {
		out[i] = client{place: places.At(key.place), subnet: key.subnet, network: noSubnet}
	}
	return out
}

// of gives the kind of clients of a place in a subnet.
func (k *kinds) of(place uint32, subnet int) uint32 {
	if subnet == noSubnet {
		return place
	}
	key := kindKey{place, subnet}
	n, have := k.number[key]
	if !have {
		n = uint32(len(k.keys))
		k.number[key] = n
		k.keys = append(k.keys, key)
	}
	return n
}

// measuredKinds numbers the kinds of clients in networks that have an order of their own, behind the other kinds.
type measuredKinds struct {
	*kinds

	list   []measuredKind
	number map[measuredKind]uint32
	exist  []bool // by kind, of all
}

// measuredKind is the clients of a kind in one network.
type measuredKind struct {
	kind    uint32
	network int
}

// inNetwork marks the number of a measuredKind while it is not known how many other kinds there are.
const inNetwork = 1 << 31

// of gives the kind of clients of a place in a subnet and a measured network.
func (k *measuredKinds) of(place uint32, subnet, network int) uint32 {
	kind := k.kinds.of(place, subnet)
	if network == noSubnet {
		return kind
	}
	key := measuredKind{kind, network}
	n, have := k.number[key]
	if !have {
		n = uint32(len(k.list)) | inNetwork
		k.number[key] = n
		k.list = append(k.list, key)
	}
	return n
}

// settle gives the kinds of segments their numbers, and notes which kinds there are: those of segments and, as no database knows
// everyone, the unknown client. A place may be that of an override alone, which then says nothing of clients outside of it.
func (k *measuredKinds) settle(segs ...[]segment) {
	k.exist = make([]bool, len(k.keys)+len(k.list))
	k.exist[0] = true
	for _, family := range segs {
		for i := range family {
			kind := &family[i].kind
			if *kind&inNetwork != 0 {
				*kind = *kind&^inNetwork + uint32(len(k.keys))
			}
			k.exist[*kind] = true
		}
	}
}

// plainOf gives the kind that a kind is but for its network.
func (k *measuredKinds) plainOf(kind int) uint32 {
	if i := kind - len(k.keys); i >= 0 {
		return k.list[i].kind
	}
	return uint32(kind)
}

// plainExist says which kinds there would be without measured networks.
func (k *measuredKinds) plainExist() []bool {
	exist := slices.Clone(k.exist[:len(k.keys)])
	for _, m := range k.list {
		exist[m.kind] = true
	}
	return exist
}

// all lists the clients of all kinds.
func (k *measuredKinds) all(places geo.Places) []client {
	out := slices.Grow(k.clients(places), len(k.list))
	for _, m := range k.list {
		c := out[m.kind]
		c.network = m.network
		out = append(out, c)
	}
	return out
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
func (c *Compiled) sweep(runs []geo.Run, v4 bool, k *measuredKinds) (out []segment) {
	end := uint64(1) << cellWidth(v4)
	subnets, networks := spanCursor{ahead: spans(c.subnets.list, v4)}, spanCursor{ahead: spans(c.latencies.networks, v4)}
	out = make([]segment, 0, len(runs)+2*(len(subnets.ahead)+len(networks.ahead)))
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
	n := 0 // of cells: room that grows would be as much again
	for range blocks(segs, merged, width) {
		n++
	}
	cells, kindOf = make([]steering.Cell, 0, n), slices.Grow(kindsSoFar, n)
	for cell, m := range blocks(segs, merged, width) {
		cells, kindOf = append(cells, cell), append(kindOf, m)
	}
	return cells, kindOf
}

// blocks goes through the cells of segments, with what their kinds were merged into.
func blocks(segs []segment, merged []uint32, width uint8) iter.Seq2[steering.Cell, uint32] {
	return func(yield func(steering.Cell, uint32) bool) {
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
				if !yield(steering.Cell{Start: from, Bits: width - uint8(n)}, m) {
					return
				}
				from += 1 << n
			}
		}
	}
}

// longSubnets lists the subnets that are longer than cells, with the client that each stands for.
func (c *Compiled) longSubnets() (out []longSubnet) {
	for i, p := range c.subnets.list {
		if at := steering.ClientFrom(p); at.Bits <= cellWidth(at.V4) {
			continue
		}
		l := longSubnet{prefix: p, client: c.clientIn(p.Addr(), i), parent: noSubnet}
		for _, o := range c.in.Networks.Long { // sorted: a longer one comes later
			if containsPrefix(o.Prefix, p) {
				l.client.place = c.in.Networks.Places.At(o.Place)
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
	return client{place: c.in.Networks.At(a), subnet: subnet, network: c.latencies.networkOf(a)}
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
