package steering

// A decision reads four places in large memory, each found by the one before: the index of cells, the cell, its word in the policy's
// layout, and the plan. A caller with many queries at hand calls Index for all of them, then Cell, then Word, then Plan, then Decide:
// what one stage reads is there when the next wants it, and the waits of a stage overlap.

// Index reads where a client's cell is looked for. The result means nothing, but that it was read.
func (t *Table) Index(c Client) uint32 {
	x, block := t.cells, c.block()
	if c.V4 {
		return x.root4[block>>8]
	}
	return x.index6[block&(1<<(CellBitsMax6-3)-1)>>x.shift6]
}

// Cell gives the number of a client's cell.
func (t *Table) Cell(c Client) uint32 { return t.cells.find(c) }

// Word reads what a policy's layout says of a cell.
func (t *Table) Word(p PolicyID, cell uint32) uint32 {
	return t.layouts[t.policies[p].layout].cells[cell]
}

// Plan reads the plan that Word leads to. The result means nothing, but that it was read.
func (t *Table) Plan(p PolicyID, word uint32) uint16 {
	l := &t.layouts[t.policies[p].layout]
	return l.plans[l.planAt[word>>classShift]]
}
