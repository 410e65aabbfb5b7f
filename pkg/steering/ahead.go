package steering

import "unsafe"

// A decision reads large memory at three places, each found by the one before: the index of cells, the cell's kind, and in the policy's layout the
// kind's plan, beside the cell's scope. Whoever has many queries at hand calls AheadCell for all of them, then AheadKind, then
// AheadPlan, then Decide: each fetches what the next one reads, and the waits of all queries overlap. None changes what Decide says.

// AheadCell fetches where the number of a client's cell stands.
func (t *Table) AheadCell(c Client) {
	x, block := t.cells, c.block()
	if c.V4 {
		prefetch(unsafe.Pointer(&x.starts4[block>>x.shift4/64]))
	} else {
		prefetch(unsafe.Pointer(&x.index6[x.at6(block)]))
	}
}

// AheadKind gives the number of a client's cell and fetches its kind.
func (t *Table) AheadKind(c Client) (cell uint32) {
	cell = t.cells.find(c)
	prefetch(unsafe.Pointer(&t.kinds[cell]))
	return cell
}

// AheadPlan fetches the plan of a policy's clients in a cell, and the scope.
func (t *Table) AheadPlan(p PolicyID, cell uint32) {
	l := &t.layouts[t.policies[p].layout]
	prefetch(unsafe.Pointer(&l.scopes[cell]))
	prefetch(unsafe.Pointer(&l.plans[l.planOf[t.kinds[cell]]]))
}
