package steering

// Internals that tests hold against their slow twins.
var (
	Score    = score
	Admitted = admitted
	NegLog2  = negLog2
	DrawHash = drawHash
)

// LogFraction is the number of bits behind the point of NegLog2's result.
const LogFraction = logFraction

// FindCell gives the number of the client's cell.
func (t *Table) FindCell(c Client) uint32 { return t.cells.find(c) }

// IndexBytes is the memory that finding a cell takes.
func (t *Table) IndexBytes() int {
	x := t.cells
	return 4*(cap(x.root4)+cap(x.leaf4)+cap(x.index6)) + 8*cap(x.start6) + cap(x.bits)
}

// Network is the key of `pick: hash`.
func (c Client) Network() uint64 { return c.network() }
