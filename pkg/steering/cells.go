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

// cellIndex finds the cell of a client: IPv4 by counting where cells begin (one read, and 4 MiB at most, which caches hold); IPv6 by a
// search in the sorted starts, narrowed by an index over the bits behind 2000::/3. Cell numbers: IPv4 cells first, then IPv6.
type cellIndex struct {
	starts4 []starts
	shift4  uint8 // the finest IPv4 cell is of 1 << shift4 blocks

	start6  []uint64 // first /56 of each IPv6 cell, sorted
	index6  []uint32 // by the shift6'ed bits behind 2000::/3: how many starts stand at or before its first block
	shift6  uint8
	first6  uint32  // number of the first IPv6 cell
	bits    []uint8 // by number: the cell's length
	numbers uint32
}

// starts says where cells begin in 64 units of the finest cell's size.
type starts struct {
	here   uint64 // by unit: whether one begins there
	before uint32 // how many begin before
}

const (
	// cellsMax is more than there are /24s and routed /48s.
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
		first6: uint32(len(cells4)), bits: make([]uint8, 0, len(cells4)+len(cells6)), numbers: uint32(len(cells4) + len(cells6)),
	}
	for _, c := range cells4 {
		x.bits = append(x.bits, c.Bits)
	}
	x.buildIndex4(cells4)
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

// buildIndex4 enters the IPv4 cells.
func (x *cellIndex) buildIndex4(cells []Cell) {
	finest := slices.Max(x.bits)
	x.shift4 = CellBitsMax4 - finest
	x.starts4 = make([]starts, (uint64(1)<<finest+63)/64)
	for _, c := range cells {
		unit := c.Start >> x.shift4
		x.starts4[unit/64].here |= 1 << (unit % 64)
	}
	before := uint32(0)
	for i := range x.starts4 {
		x.starts4[i].before = before
		before += uint32(bits.OnesCount64(x.starts4[i].here))
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
		unit := block >> x.shift4
		s := &x.starts4[unit/64]
		return s.before + uint32(bits.OnesCount64(s.here<<(63-unit%64))) - 1 // how many begin at or before the unit, less one
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
func publish(out []uint8, cells []Cell, kinds, planOf []uint32, width, floor uint8) (scopes int) {
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
				out[i] = scope
			}
		}
	}
	return scopes
}
