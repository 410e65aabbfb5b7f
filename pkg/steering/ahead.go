package steering

import "unsafe"

// A decision reads large memory at four places, each found by the one before: the index of cells, the cell's number, its word in
// the policy's layout, and the plan. Whoever has many queries at hand calls AheadCell for all of them, then AheadWord, then
// AheadPlan, then Decide: each fetches what the next one reads, and the waits of all queries overlap. None changes what Decide says.

// AheadCell fetches where the number of a client's cell stands.
func (t *Table) AheadCell(c Client) {
	x, block := t.cells, c.block()
	if !c.V4 {
		prefetch(unsafe.Pointer(&x.index6[x.at6(block)]))
		return
	}
	if v := x.root4[block>>8]; v&leafFlag != 0 {
		prefetch(unsafe.Pointer(&x.leaf4[uint64(v&^leafFlag)<<8|block&255]))
	}
}

// AheadWord gives the number of a client's cell and fetches its word in the policy's layout.
func (t *Table) AheadWord(p PolicyID, c Client) (cell uint32) {
	cell = t.cells.find(c)
	prefetch(unsafe.Pointer(&t.layouts[t.policies[p].layout].cells[cell]))
	return cell
}

// AheadPlan fetches the plan of a policy's clients in a cell.
func (t *Table) AheadPlan(p PolicyID, cell uint32) {
	l := &t.layouts[t.policies[p].layout]
	prefetch(unsafe.Pointer(&l.plans[l.planAt[l.cells[cell]>>classShift]]))
}
