package steering

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/netip"
)

// snapshotVersion changes with what Encode writes.
const snapshotVersion = 1

// errSnapshot says that Decode was given something else than Encode makes.
var errSnapshot = errors.New("it is no table")

// Encode writes the table, for Decode. Of a cell it writes the length, as each begins where the one before ends, and the kind, by which layouts
// have their classes.
func (t *Table) Encode() []byte {
	w := writer{}
	w.nums(snapshotVersion, flag(t.geoLost))
	first6 := int(t.cells.first6)
	w.bytes(t.cells.bits[:first6])
	w.bytes(t.cells.bits[first6:])
	for _, kind := range t.kinds {
		w.nums(uint64(kind))
	}
	w.nums(uint64(len(t.pools)))
	for _, p := range t.pools {
		w.nums(uint64(p.MinUp), flag(p.HasFallback))
	}
	w.nums(uint64(len(t.targets)))
	for i := range t.targets {
		w.target(t, TargetID(i))
	}
	w.nums(uint64(len(t.layouts)))
	for i := range t.layouts {
		w.layout(&t.layouts[i])
	}
	w.nums(uint64(len(t.policies)))
	for i := range t.policies {
		p := &t.policies[i]
		w.nums(p.hash, uint64(p.layout), uint64(p.ttlMin), uint64(p.ttlMax), uint64(p.answers), uint64(p.pick), uint64(p.allDown), flag(p.separate))
		for _, id := range t.Reaches(PolicyID(i)) {
			w.nums(uint64(id))
		}
	}
	w.bytes([]byte(t.id))
	return w.out
}

// Decode gives back a table that Encode wrote. It checks all that Build does, and that the table has its id: an error is all that
// other input can come to.
func Decode(data []byte) (*Table, error) {
	r := reader{data: data}
	if r.num(math.MaxUint64) != snapshotVersion {
		return nil, errSnapshot
	}
	s := &Spec{GeoLost: r.flag()}
	s.Cells4, s.Cells6 = cellsOf(r.bytes(), CellBitsMax4), cellsOf(r.bytes(), CellBitsMax6)
	s.Kinds = make([]uint32, len(s.Cells4)+len(s.Cells6))
	for i := range s.Kinds {
		s.Kinds[i] = uint32(r.num(cellsMax))
	}
	for range r.each() {
		s.Pools = append(s.Pools, Pool{MinUp: uint32(r.num(math.MaxUint32)), HasFallback: r.flag()})
	}
	for range r.each() {
		s.Targets = append(s.Targets, r.target())
	}
	for range r.each() {
		s.Layouts = append(s.Layouts, r.layout())
	}
	for range r.each() {
		s.Policies = append(s.Policies, r.policy(s))
	}
	id := string(r.bytes())
	if r.failed || len(r.data) > 0 {
		return nil, errSnapshot
	}
	t, err := Build(s)
	if err == nil && t.id != id {
		return nil, fmt.Errorf("it is table %s, and says %q", t.id, id)
	}
	return t, err
}

// cellsOf makes cells of their lengths. Lengths that make none are left to Build to refuse.
func cellsOf(lengths []byte, width uint8) []Cell {
	cells, next := make([]Cell, len(lengths)), uint64(0)
	for i, n := range lengths {
		cells[i] = Cell{Start: next, Bits: n}
		if n <= width {
			next += cells[i].blocks(width)
		}
	}
	return cells
}

// writer appends numbers and texts.
type writer struct{ out []byte }

// nums appends numbers, the small ones in few bytes.
func (w *writer) nums(vs ...uint64) {
	for _, v := range vs {
		w.out = binary.AppendUvarint(w.out, v)
	}
}

// bytes appends a text behind its length.
func (w *writer) bytes(b []byte) {
	w.nums(uint64(len(b)))
	w.out = append(w.out, b...)
}

// target appends a target.
func (w *writer) target(t *Table, id TargetID) {
	g := &t.targets[id]
	w.nums(g.hash, uint64(g.pool), uint64(g.weight), uint64(g.n4), uint64(g.n6))
	for _, a := range t.Addrs4(id) {
		w.out = append(w.out, a[:]...)
	}
	for _, a := range t.Addrs6(id) {
		w.out = append(w.out, a[:]...)
	}
	w.bytes(t.Host(id))
}

// layout appends a layout: its plans, each class's plan, its long cells and the class of each kind.
func (w *writer) layout(l *layout) {
	number := map[uint32]uint64{} // of each plan, by where it begins
	for at := 0; at < len(l.plans); {
		number[uint32(at)] = uint64(len(number))
		tiers := int(l.plans[at])
		at++
		for range tiers {
			at += 1 + int(l.plans[at])
		}
	}
	w.nums(uint64(l.entries), flag(l.byClient), uint64(len(l.plans)))
	for _, v := range l.plans {
		w.nums(uint64(v))
	}
	w.nums(uint64(len(l.planAt)))
	for _, at := range l.planAt {
		w.nums(number[at])
	}
	w.nums(uint64(len(l.long)))
	for i := range l.long {
		c := &l.long[i].from
		w.nums(flag(c.V4), c.Hi, c.Lo, uint64(c.Bits), uint64(l.long[i].class))
	}
	w.nums(uint64(len(l.classes)))
	for _, class := range l.classes {
		w.nums(uint64(class))
	}
}

// reader takes numbers and texts off data. What is not there, or too large, makes it fail, and then it gives zeros.
type reader struct {
	data   []byte
	failed bool
}

// fail gives up.
func (r *reader) fail() { r.data, r.failed = nil, true }

// num takes a number up to most.
func (r *reader) num(most uint64) uint64 {
	v, n := binary.Uvarint(r.data)
	if n <= 0 || v > most {
		r.fail()
		return 0
	}
	r.data = r.data[n:]
	return v
}

// count takes how many things follow. Each has a byte at least.
func (r *reader) count() int { return int(r.num(uint64(len(r.data)))) }

// each takes how many things follow, and goes through them until one cannot be taken.
func (r *reader) each() iter.Seq[int] {
	n := r.count()
	return func(yield func(int) bool) {
		for i := range n {
			if r.failed || !yield(i) {
				return
			}
		}
	}
}

// flag takes a truth value.
func (r *reader) flag() bool { return r.num(1) == 1 }

// take takes n bytes.
func (r *reader) take(n int) []byte {
	if n > len(r.data) {
		r.fail()
		return nil
	}
	out := r.data[:n]
	r.data = r.data[n:]
	return out
}

// bytes takes a text.
func (r *reader) bytes() []byte { return r.take(r.count()) }

// target takes a target.
func (r *reader) target() Target {
	g := Target{Hash: r.num(math.MaxUint64), Pool: uint32(r.num(math.MaxUint32)), Weight: uint32(r.num(math.MaxUint32))}
	n4, n6 := r.num(ValuesMax), r.num(ValuesMax)
	for range n4 {
		if a, ok := netip.AddrFromSlice(r.take(4)); ok {
			g.V4 = append(g.V4, a)
		}
	}
	for range n6 {
		if a, ok := netip.AddrFromSlice(r.take(16)); ok {
			g.V6 = append(g.V6, a)
		}
	}
	g.Host = r.bytes()
	return g
}

// layout takes a layout.
func (r *reader) layout() Layout {
	l := Layout{Entries: int(r.num(EntriesMax)), ByClient: r.flag()}
	flat := make([]uint16, r.count())
	for i := range flat {
		flat[i] = uint16(r.num(math.MaxUint16))
	}
	plans := r.plans(flat)
	l.Plans = make([]Plan, r.count())
	for i := range l.Plans {
		if n := r.num(math.MaxUint32); n < uint64(len(plans)) {
			l.Plans[i] = plans[n]
		} else {
			r.fail()
		}
	}
	for range r.each() {
		c := Client{V4: r.flag(), Hi: r.num(math.MaxUint64), Lo: r.num(math.MaxUint64), Bits: uint8(r.num(128))}
		l.Long = append(l.Long, LongCell{Prefix: c.Prefix(), Class: uint32(r.num(ClassesMax))})
		if !l.Long[len(l.Long)-1].Prefix.IsValid() {
			r.fail()
		}
	}
	l.Classes = make([]uint32, r.count())
	for i := range l.Classes {
		l.Classes[i] = uint32(r.num(ClassesMax))
	}
	return l
}

// plans takes plans apart that stand one behind the other: a count of tiers, then each tier's length and entries.
func (r *reader) plans(flat []uint16) (plans []Plan) {
	next := func(n int) []uint16 {
		if n > len(flat) {
			r.fail()
			n = len(flat)
		}
		out := flat[:n:n]
		flat = flat[n:]
		return out
	}
	for len(flat) > 0 {
		var plan Plan
		for range next(1)[0] {
			if len(flat) == 0 {
				r.fail()
				return nil
			}
			plan = append(plan, next(int(next(1)[0])))
		}
		plans = append(plans, plan)
	}
	return plans
}

// policy takes a policy, whose layout says how many targets it has.
func (r *reader) policy(s *Spec) Policy {
	p := Policy{
		Hash: r.num(math.MaxUint64), Layout: uint32(r.num(LayoutsMax)), TTLMin: uint32(r.num(math.MaxUint32)), TTLMax: uint32(r.num(math.MaxUint32)),
		Answers: uint8(r.num(AnswersMax)), Pick: Pick(r.num(uint64(PickHash))), AllDown: AllDown(r.num(uint64(ServFail))), Separate: r.flag(),
	}
	if int(p.Layout) >= len(s.Layouts) || s.Layouts[p.Layout].Entries > len(r.data) {
		r.fail()
		return p
	}
	p.Targets = make([]TargetID, s.Layouts[p.Layout].Entries)
	for i := range p.Targets {
		p.Targets[i] = TargetID(r.num(math.MaxUint32))
	}
	return p
}
