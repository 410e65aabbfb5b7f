package steering

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
)

// Cell is a block of client addresses: Start is the number of its first /24 (IPv4, 24 bits) or /56 (IPv6, 56 bits),
// Bits its prefix length, at most CellBitsMax4 or CellBitsMax6.
type Cell struct {
	Start uint64
	Bits  uint8
}

// Prefix is the cell as a prefix of its family.
func (c Cell) Prefix(v4 bool) netip.Prefix {
	if v4 {
		return netip.PrefixFrom(Client{Hi: c.Start << (64 - CellBitsMax4), V4: true}.Addr(), int(c.Bits))
	}
	return netip.PrefixFrom(Client{Hi: c.Start << (64 - CellBitsMax6)}.Addr(), int(c.Bits))
}

// blocks is how many /24 or /56 the cell holds, width being the family's block number width.
func (c Cell) blocks(width uint8) uint64 { return 1 << (width - c.Bits) }

// cellIndex finds the cell of a client: IPv4 by a root of 64 Ki entries and leaves of 256 where a /16 is split (one
// cache miss, and memory only where there is detail); IPv6 by a search in the sorted starts, narrowed by an index over
// the bits behind 2000::/3. Cell numbers: IPv4 cells first, then IPv6.
type cellIndex struct {
	root4 []uint32 // by the upper 16 bits: a cell number, or leafFlag | leaf number
	leaf4 []uint32 // leaves of 256 cell numbers

	start6  []uint64 // first /56 of each IPv6 cell, sorted
	index6  []uint32 // by the shift6'ed bits behind 2000::/3: how many starts stand at or before its first block
	shift6  uint8
	first6  uint32  // number of the first IPv6 cell
	bits    []uint8 // by number: the cell's length
	numbers uint32
}

const (
	leafFlag = 1 << 31
	// cellsMax leaves room for leafFlag and for the fields packed beside a class.
	cellsMax = 1 << 30
	// global6 is 2000::/3, the only space in use, as the upper 3 of 56 bits.
	global6 = 1
	// indexBitsMax6 bounds the IPv6 index at 4 << 22 bytes = 16 MiB.
	indexBitsMax6 = 22
)

// checkCells says why cells do not cover the address space in order, or are too many.
func checkCells(cells4, cells6 []Cell) error {
	if err := covers(cells4, CellBitsMax4); err != nil {
		return fmt.Errorf("IPv4 cells: %w", err)
	}
	if err := covers(cells6, CellBitsMax6); err != nil {
		return fmt.Errorf("IPv6 cells: %w", err)
	}
	if len(cells4)+len(cells6) > cellsMax {
		return fmt.Errorf("%d cells; at most %d fit", len(cells4)+len(cells6), cellsMax)
	}
	return nil
}

// newCellIndex builds the index of checked cells.
func newCellIndex(cells4, cells6 []Cell) *cellIndex {
	x := &cellIndex{
		root4: make([]uint32, 1<<16), first6: uint32(len(cells4)),
		bits: make([]uint8, 0, len(cells4)+len(cells6)), numbers: uint32(len(cells4) + len(cells6)),
	}
	x.leaf4 = make([]uint32, 0, leaves4(cells4)<<8)
	for i, c := range cells4 {
		x.fill4(c, uint32(i))
		x.bits = append(x.bits, c.Bits)
	}
	x.start6 = make([]uint64, len(cells6))
	for i, c := range cells6 {
		x.start6[i] = c.Start
		x.bits = append(x.bits, c.Bits)
	}
	x.buildIndex6()
	return x
}

// has says whether the index is of just these checked cells: where they begin follows from their lengths.
func (x *cellIndex) has(cells4, cells6 []Cell) bool {
	same := func(c Cell, length uint8) bool { return c.Bits == length }
	return slices.EqualFunc(cells4, x.bits[:x.first6], same) && slices.EqualFunc(cells6, x.bits[x.first6:], same)
}

// around gives, for other checked cells, IPv4 cells first, the cell that the first block of each lies in.
func (x *cellIndex) around(cells4, cells6 []Cell) []uint32 {
	in := make([]uint32, 0, len(cells4)+len(cells6))
	add := func(cells []Cell, next uint32, width uint8) {
		end := uint64(0) // of the cell before next
		for _, c := range cells {
			for ; end <= c.Start; next++ {
				end += Cell{Bits: x.bits[next]}.blocks(width)
			}
			in = append(in, next-1)
		}
	}
	add(cells4, 0, CellBitsMax4)
	add(cells6, x.first6, CellBitsMax6)
	return in
}

// covers checks that cells are aligned, disjoint, in order and without a gap.
func covers(cells []Cell, width uint8) error {
	next := uint64(0)
	for i, c := range cells {
		if c.Bits > width || c.Start != next || c.Start%c.blocks(width) != 0 {
			return fmt.Errorf("cell %d (block %#x, /%d) does not follow block %#x", i, c.Start, c.Bits, next)
		}
		next += c.blocks(width)
	}
	if next != 1<<width {
		return fmt.Errorf("%d cells end at block %#x of %#x", len(cells), next, uint64(1)<<width)
	}
	return nil
}

// leaves4 counts the /16s that are split: a leaf grown one by one would end up with room for a quarter more.
func leaves4(cells []Cell) (n int) {
	for _, c := range cells {
		if c.Bits > 16 && c.Start&255 == 0 {
			n++
		}
	}
	return n
}

// fill4 enters one IPv4 cell.
func (x *cellIndex) fill4(c Cell, number uint32) {
	n := c.blocks(CellBitsMax4)
	if n >= 256 {
		for i := c.Start >> 8; i < (c.Start+n)>>8; i++ {
			x.root4[i] = number
		}
		return
	}
	slot := &x.root4[c.Start>>8]
	if *slot&leafFlag == 0 { // cells come in order: the first of this /16
		*slot = leafFlag | uint32(len(x.leaf4)>>8)
		x.leaf4 = x.leaf4[:len(x.leaf4)+256]
	}
	at := uint64(*slot&^leafFlag)<<8 | c.Start&255
	for i := at; i < at+n; i++ {
		x.leaf4[i] = number
	}
}

// buildIndex6 makes about one index entry for each start.
func (x *cellIndex) buildIndex6() {
	k := min(max(bits.Len(uint(len(x.start6))), 4), indexBitsMax6)
	x.shift6 = uint8(CellBitsMax6 - 3 - k)
	x.index6 = make([]uint32, 1<<k+1)
	n := 0
	for i := range x.index6 {
		block := uint64(global6)<<(CellBitsMax6-3) + uint64(i)<<x.shift6
		for n < len(x.start6) && x.start6[n] <= block {
			n++
		}
		x.index6[i] = uint32(n)
	}
}

// find gives the number of the client's cell.
func (x *cellIndex) find(c Client) uint32 {
	block := c.block()
	if c.V4 {
		v := x.root4[block>>8]
		if v&leafFlag != 0 {
			v = x.leaf4[uint64(v&^leafFlag)<<8|block&255]
		}
		return v
	}
	return x.first6 + x.find6(block)
}

// find6 gives the last start at or before block: how many there are, less one.
func (x *cellIndex) find6(block uint64) uint32 {
	lo, hi := uint32(0), uint32(len(x.start6))
	if block>>(CellBitsMax6-3) == global6 {
		i := x.at6(block)
		lo, hi = x.index6[i]-1, x.index6[i+1]
	}
	for hi-lo > 1 {
		mid := lo + (hi-lo)/2
		if x.start6[mid] <= block {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// at6 is where the index has a block of 2000::/3.
func (x *cellIndex) at6(block uint64) uint64 { return block & (1<<(CellBitsMax6-3) - 1) >> x.shift6 }

// prefix is a client's cell, as people write it.
func (x *cellIndex) prefix(c Client, number uint32) netip.Prefix {
	cell := Cell{Bits: x.bits[number]}
	width := uint8(CellBitsMax6)
	if c.V4 {
		width = CellBitsMax4
	}
	cell.Start = c.block() &^ (cell.blocks(width) - 1)
	return cell.Prefix(c.V4)
}

// publish adds to each cell its scope: the length of the shortest prefix around it in which all cells have its plan
// (RFC 7871 section 7.2.1), at least floor. As each is the largest such prefix, two of them are equal or disjoint. It gives the number of different
// ones; a cell that is wider than the floor is published in pieces of it.
func publish(out []uint32, cells []Cell, kinds, planOf []uint32, width, floor uint8) (scopes int) {
	for i := 0; i < len(cells); {
		j, plan := i, planOf[kinds[i]] // cells[i:j] is a run of one plan: blocks [from, to)
		for j < len(cells) && planOf[kinds[j]] == plan {
			j++
		}
		from, to := cells[i].Start, uint64(1)<<width
		if j < len(cells) {
			to = cells[j].Start
		}
		for i < j {
			n, end := cells[i].Bits, cells[i].Start+cells[i].blocks(width)
			for n > floor {
				size := uint64(1) << (width - n + 1)
				wide := cells[i].Start &^ (size - 1)
				if wide < from || wide+size > to {
					break
				}
				n, end = n-1, wide+size
			}
			scope := max(n, floor)
			scopes += 1 << (scope - n)
			for ; i < j && cells[i].Start < end; i++ {
				out[i] |= uint32(scope)
			}
		}
	}
	return scopes
}
