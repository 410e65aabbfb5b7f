package steering

// Internals that tests hold against their slow twins.
var NegLog2 = negLog2

// DrawHash is H(version, purpose, policy, target, key).
func DrawHash(purpose uint32, policy, target, key uint64) uint64 {
	d := newDrawer(purpose, policyLane(policy), key)
	return d.hash(targetLane(target))
}

// Score is a target's place in a draw.
func Score(weight uint32, policy, target, key uint64) uint64 {
	return score(weight, DrawHash(drawPick, policy, target, key))
}

// Admitted says whether a target that takes admit/AdmitAll of its traffic takes a query.
func Admitted(admit uint16, policy, target, key uint64) bool {
	return admitted(admit, policyLane(policy), targetLane(target), key)
}

// LogFraction is the number of bits behind the point of NegLog2's result.
const LogFraction = logFraction

// FindCell gives the number of the client's cell.
func (t *Table) FindCell(c Client) uint32 { return t.cells.find(c) }

// IndexBytes is the memory that finding a cell takes.
func (t *Table) IndexBytes() int {
	x := t.cells
	return 16*cap(x.starts4) + 4*cap(x.index6) + 8*cap(x.start6) + cap(x.bits)
}

// Network is the key of `pick: hash`.
func (c Client) Network() uint64 { return c.network() }
