package steering

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"slices"
)

// Limits of a table.
const (
	// AnswersMax is how many targets one answer may carry: 16 AAAA records fill half of a 1232-octet message.
	AnswersMax = 16
	// PlanTiersMax is how many tiers a plan keeps; the rest is one last tier. No failover goes further.
	PlanTiersMax = 16
	// ValuesMax is how many addresses of one family a target may have.
	ValuesMax = 8
	// EntriesMax is how many targets the pools of one layout may have: plans hold 16-bit entries.
	EntriesMax = 1 << 16
	// LayoutsMax bounds the memory that layouts take: a byte x cells, and 8 bytes x kinds, of each.
	LayoutsMax = 4096
	// ClassesMax is how many classes a layout may have: more than there are networks with a plan of their own.
	ClassesMax = 1 << 22
)

// TargetID is a target's place in the Spec that its table was built from.
type TargetID uint32

// PolicyID is a policy's place in that Spec.
type PolicyID uint32

// Type is the kind of answer that is asked for.
type Type uint8

// The types that a policy may offer.
const (
	A    Type = iota // IPv4 addresses
	AAAA             // IPv6 addresses
	Host             // the CNAME of a host-name target
)

// Pick is how targets are drawn from a tier.
type Pick uint8

// PickWeighted draws by the query's random number, PickHash by the client's network.
const (
	PickWeighted Pick = iota
	PickHash
)

// AllDown is what is answered when nothing is usable.
type AllDown uint8

// The answers of the third pass.
const (
	ServeAll AllDown = iota
	ServeFirst
	ServFail
)

// Spec is what a policy compiler fills; Build makes a Table of it.
type Spec struct {
	Targets  []Target
	Pools    []Pool
	Layouts  []Layout
	Policies []Policy

	// Cells of each family: disjoint, in address order, covering everything.
	Cells4, Cells6 []Cell
	// Kinds numbers, by cell, IPv4 cells first, what layouts tell apart, in the order in which they come: cells of a kind have one class in each
	// layout. nil: each cell is of a kind of its own.
	Kinds []uint32
	// Before is the Table that layouts are kept from; nil: none is.
	Before *Table
	// GeoLost: the node has lost its geo data and must not publish wide scopes (design: section 5.11).
	GeoLost bool
}

// Target is one place that can serve. It has addresses or a host name.
type Target struct {
	Hash   uint64 // NameHash of its id
	Pool   uint32
	Weight uint32 // 1 to WeightMax
	V4, V6 []netip.Addr
	Host   []byte // a name in wire form, lower case
}

// Pool is what a decision needs of a pool.
type Pool struct {
	MinUp       uint32 // in the first pass skipped with fewer usable targets than this, if it has a fallback
	HasFallback bool
}

// Layout maps cells to classes and classes to plans, for all policies that differ in their targets alone.
type Layout struct {
	Entries  int      // how many entries its plans may name
	Plans    []Plan   // by class
	Classes  []uint32 // by kind of cells
	Long     []LongCell
	ByClient bool // the policies' text depends on the client
	// Kept says that the layout is that of the same number in Spec.Before, with the same class for each client, however cells are cut. Of the
	// fields above only Classes is read.
	Kept bool
}

// Plan is ordered tiers of entries; an entry stands for one target of each policy of the layout.
type Plan [][]uint16

// LongCell is a subnet longer than a cell can be; it matches clients that are known at least to its length.
type LongCell struct {
	Prefix netip.Prefix
	Class  uint32
}

// Policy is what a STEER record is answered by.
type Policy struct {
	Hash           uint64 // NameHash of its name
	Layout         uint32
	Targets        []TargetID // by the layout's entries
	TTLMin, TTLMax uint32     // seconds
	Answers        uint8      // 1 to AnswersMax
	Pick           Pick
	AllDown        AllDown
	Separate       bool // families: separate
}

// Table is the compiled whole. Immutable; made by Build.
type Table struct {
	id       string
	geoLost  bool
	cells    *cellIndex
	kinds    []uint32 // by cell: what layouts tell apart
	layouts  []layout
	policies []policy
	entries  []TargetID // the policies' targets, one policy behind the other
	targets  []target
	addrs4   [][4]byte
	addrs6   [][16]byte
	hosts    []byte
	pools    []Pool
}

type layout struct {
	scopes    []uint8  // by cell: longFlag | the published scope
	planOf    []uint32 // by kind: where its plan begins in plans
	classes   []uint32 // by kind
	planAt    []uint32 // by class, where its plan begins
	plans     []uint16 // count of tiers, then for each tier its length and entries
	long      []longCell
	entries   int
	byClient  bool
	published int // different scopes
}

const (
	scopeMask = 63        // scopes go to 56
	longFlag  = 1 << 6    // long cells lie inside
	noLong    = -1        // a long cell that lies in no other
	lengthMax = 1<<16 - 1 // of a tier
)

type longCell struct {
	from   Client // its address and length
	class  uint32
	parent int32 // the next longer-reaching long cell around it
}

type policy struct {
	hash, lane     uint64 // lane: policyLane(hash)
	layout         uint32
	entry          uint32 // of its entries, the first
	entries        uint32 // how many there are
	ttlMin, ttlMax uint32
	answers        uint8
	pick           Pick
	allDown        AllDown
	separate       bool
	offers         [3]bool // by Type
}

type target struct {
	hash, lane uint64 // lane: targetLane(hash)
	pool       uint32
	weight     uint32
	at4, at6   uint32
	host       uint32
	n4, n6, nh uint8
}

// exists says whether a target can answer for a type at all.
func (t *target) exists(y Type) bool {
	switch y {
	case A:
		return t.n4 > 0
	case AAAA:
		return t.n6 > 0
	case Host:
		return t.nh > 0
	}
	return false
}

// builder is one Build in progress.
type builder struct {
	*Table

	spec  *Spec
	count int      // of kinds
	from  []uint32 // by cell: where its first block is in Spec.Before
}

// Build checks a Spec and makes the Table. An error is a fault of the compiler that filled the Spec, never of a file. What is kept of
// Spec.Before shares its memory.
func Build(spec *Spec) (*Table, error) {
	b := builder{Table: &Table{geoLost: spec.GeoLost, pools: slices.Clone(spec.Pools)}, spec: spec}
	if err := b.addCells(); err != nil {
		return nil, err
	}
	for i := range spec.Targets {
		if err := b.addTarget(&spec.Targets[i]); err != nil {
			return nil, fmt.Errorf("target %d: %w", i, err)
		}
	}
	if len(spec.Layouts) > LayoutsMax {
		return nil, fmt.Errorf("%d layouts; at most %d are possible", len(spec.Layouts), LayoutsMax)
	}
	for i := range spec.Layouts {
		add := b.addLayout
		if spec.Layouts[i].Kept {
			add = b.keepLayout
		}
		if err := add(&spec.Layouts[i]); err != nil {
			return nil, fmt.Errorf("layout %d: %w", i, err)
		}
	}
	for i := range spec.Policies {
		if err := b.addPolicy(&spec.Policies[i]); err != nil {
			return nil, fmt.Errorf("policy %d: %w", i, err)
		}
	}
	b.mergeKinds()
	b.id = b.hash()
	return b.Table, nil
}

// addCells indexes the cells and counts their kinds.
func (b *builder) addCells() error {
	cells4, cells6, before := b.spec.Cells4, b.spec.Cells6, b.spec.Before
	if err := checkCells(cells4, cells6); err != nil {
		return err
	}
	if before != nil && before.cells.has(cells4, cells6) {
		b.cells = before.cells
	} else {
		b.cells = newCellIndex(cells4, cells6)
		if before != nil {
			b.from = before.cells.around(cells4, cells6)
		}
	}
	b.kinds = slices.Clone(b.spec.Kinds) // which was appended to, and has room for more
	if b.kinds == nil {
		b.kinds = make([]uint32, b.cells.numbers)
		for i := range b.kinds {
			b.kinds[i] = uint32(i)
		}
	}
	if len(b.kinds) != int(b.cells.numbers) {
		return fmt.Errorf("kinds of %d cells of %d", len(b.kinds), b.cells.numbers)
	}
	for i, kind := range b.kinds {
		if int(kind) > b.count {
			return fmt.Errorf("cell %d: kind %d comes before kind %d", i, kind, b.count)
		}
		b.count = max(b.count, int(kind)+1)
	}
	return nil
}

// addTarget enters one target.
func (b *builder) addTarget(s *Target) error {
	t := b.Table
	addresses := len(s.V4)+len(s.V6) > 0
	switch {
	case int(s.Pool) >= len(t.pools):
		return fmt.Errorf("no pool %d", s.Pool)
	case s.Weight == 0 || s.Weight > WeightMax:
		return fmt.Errorf("weight %d", s.Weight)
	case len(s.V4) > ValuesMax || len(s.V6) > ValuesMax || len(s.Host) > 255:
		return errors.New("too many values")
	case addresses == (len(s.Host) > 0):
		return errors.New("wants addresses or a host name")
	}
	t.targets = append(t.targets, target{
		hash: s.Hash, lane: targetLane(s.Hash), pool: s.Pool, weight: s.Weight,
		at4: uint32(len(t.addrs4)), at6: uint32(len(t.addrs6)), host: uint32(len(t.hosts)),
		n4: uint8(len(s.V4)), n6: uint8(len(s.V6)), nh: uint8(len(s.Host)),
	})
	for _, a := range s.V4 {
		if !a.Is4() {
			return fmt.Errorf("%s is no IPv4 address", a)
		}
		t.addrs4 = append(t.addrs4, a.As4())
	}
	for _, a := range s.V6 {
		if !a.Is6() {
			return fmt.Errorf("%s is no IPv6 address", a)
		}
		t.addrs6 = append(t.addrs6, a.As16())
	}
	t.hosts = append(t.hosts, s.Host...)
	return nil
}

// addLayout enters one layout: its plans made flat, equal ones one, and each cell's published scope.
func (b *builder) addLayout(s *Layout) error {
	if len(s.Classes) != b.count || len(s.Plans) > ClassesMax || s.Entries > EntriesMax {
		return fmt.Errorf("%d classed kinds of %d, %d plans, %d entries", len(s.Classes), b.count, len(s.Plans), s.Entries)
	}
	l := layout{
		byClient: s.ByClient, entries: s.Entries, planAt: make([]uint32, len(s.Plans)), scopes: make([]uint8, len(b.kinds)),
	}
	equal, key := make(map[string]uint32, len(s.Plans)), []byte{}
	for class, plan := range s.Plans {
		at := len(l.plans)
		var err error
		if l.plans, err = appendPlan(l.plans, plan, s.Entries); err != nil {
			return fmt.Errorf("class %d: %w", class, err)
		}
		key = appendNumbers(key[:0], l.plans[at:])
		if first, have := equal[string(key)]; have {
			l.plans, at = l.plans[:at], int(first)
		} else {
			equal[string(key)] = uint32(at)
		}
		l.planAt[class] = uint32(at)
	}
	for kind, class := range s.Classes {
		if int(class) >= len(s.Plans) {
			return fmt.Errorf("kind %d: no class %d", kind, class)
		}
	}
	l.classify(slices.Clone(s.Classes))
	n := b.cells.first6
	l.published = publish(l.scopes[:n], b.spec.Cells4, b.kinds[:n], l.planOf, CellBitsMax4, ScopeMin4) +
		publish(l.scopes[n:], b.spec.Cells6, b.kinds[n:], l.planOf, CellBitsMax6, ScopeMin6) + len(s.Long)
	if err := l.addLong(b.cells, s); err != nil {
		return err
	}
	b.layouts = append(b.layouts, l)
	return nil
}

// mergeKinds makes those one that no layout tells apart: a table is the same for all ways to build it, and for one that is read back.
func (b *builder) mergeKinds() {
	number, first := distinct(b.count, len(b.layouts), func(layout, kind int) uint32 { return b.layouts[layout].classes[kind] })
	if b.count = len(first); b.count == len(number) {
		return
	}
	for cell, kind := range b.kinds {
		b.kinds[cell] = number[kind]
	}
	for i := range b.layouts {
		l := &b.layouts[i]
		classes := make([]uint32, b.count)
		for kind, one := range first {
			classes[kind] = l.classes[one]
		}
		l.classify(classes)
	}
}

// keepLayout enters a layout of Spec.Before again. The scope that is published to an address does not depend on how its surroundings are cut,
// so that a cell's scope is that of the cell there before.
func (b *builder) keepLayout(s *Layout) error {
	i := len(b.layouts)
	if b.spec.Before == nil || i >= len(b.spec.Before.layouts) || len(s.Classes) != b.count {
		return fmt.Errorf("%d classed kinds of %d, and nothing to keep", len(s.Classes), b.count)
	}
	l := b.spec.Before.layouts[i]
	if b.from != nil {
		was := l.scopes
		l.scopes = make([]uint8, len(b.from))
		for cell, at := range b.from {
			l.scopes[cell] = was[at] &^ longFlag
		}
		l.flagLong(b.cells)
	}
	for cell, kind := range b.kinds {
		at := cell
		if b.from != nil {
			at = int(b.from[cell])
		}
		if class, before := s.Classes[kind], l.classes[b.spec.Before.kinds[at]]; class != before {
			return fmt.Errorf("cell %d: class %d is not that of before, which is %d", cell, class, before)
		}
	}
	l.classify(slices.Clone(s.Classes))
	b.layouts = append(b.layouts, l)
	return nil
}

// classify sets the class of each kind, and so its plan.
func (l *layout) classify(classes []uint32) {
	l.classes, l.planOf = classes, make([]uint32, len(classes))
	for kind, class := range classes {
		l.planOf[kind] = l.planAt[class]
	}
}

// flagLong marks the cells in which long ones lie.
func (l *layout) flagLong(cells *cellIndex) {
	for i := range l.long {
		l.scopes[cells.find(l.long[i].from)] |= longFlag
	}
}

// addLong enters the subnets that are longer than cells, sorted so that what contains others stands before them.
func (l *layout) addLong(cells *cellIndex, s *Layout) error {
	for _, long := range s.Long {
		c := ClientFrom(long.Prefix)
		if int(long.Class) >= len(s.Plans) {
			return fmt.Errorf("subnet %s: no class %d", long.Prefix, long.Class)
		}
		if width := uint8(CellBitsMax6); (c.V4 && c.Bits <= CellBitsMax4) || (!c.V4 && c.Bits <= width) {
			return fmt.Errorf("subnet %s is no longer than a cell may be", long.Prefix)
		}
		l.long = append(l.long, longCell{from: c, class: long.Class, parent: noLong})
	}
	l.flagLong(cells)
	slices.SortFunc(l.long, func(a, b longCell) int { return a.from.compare(b.from) })
	for i := range l.long {
		p := int32(i) - 1
		for p != noLong && !l.long[p].from.contains(l.long[i].from) {
			p = l.long[p].parent
		}
		l.long[i].parent = p
		if i > 0 && l.long[i].from == l.long[i-1].from {
			return fmt.Errorf("subnet %s stands twice", l.long[i].from.Prefix())
		}
	}
	return nil
}

// appendPlan appends a plan as one run of numbers.
func appendPlan(flat []uint16, plan Plan, entries int) ([]uint16, error) {
	if len(plan) == 0 || len(plan) > PlanTiersMax+1 {
		return nil, fmt.Errorf("a plan of %d tiers", len(plan))
	}
	flat = append(flat, uint16(len(plan)))
	for _, tier := range plan {
		if len(tier) == 0 || len(tier) > lengthMax {
			return nil, fmt.Errorf("a tier of %d targets", len(tier))
		}
		flat = append(flat, uint16(len(tier)))
		if e := slices.Max(tier); int(e) >= entries {
			return nil, fmt.Errorf("no entry %d", e)
		}
		flat = append(flat, tier...)
	}
	return flat, nil
}

// appendNumbers appends numbers as bytes.
func appendNumbers(b []byte, vs []uint16) []byte {
	for _, v := range vs {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	return b
}

// addPolicy enters one policy.
func (b *builder) addPolicy(s *Policy) error {
	t := b.Table
	switch {
	case int(s.Layout) >= len(t.layouts):
		return fmt.Errorf("no layout %d", s.Layout)
	case len(s.Targets) != t.layouts[s.Layout].entries || len(s.Targets) == 0:
		return fmt.Errorf("%d targets for %d entries", len(s.Targets), t.layouts[s.Layout].entries)
	case s.Answers == 0 || s.Answers > AnswersMax:
		return fmt.Errorf("%d answers", s.Answers)
	case s.TTLMin > s.TTLMax:
		return fmt.Errorf("ttl min %d above max %d", s.TTLMin, s.TTLMax)
	}
	p := policy{
		hash: s.Hash, lane: policyLane(s.Hash), layout: s.Layout, entry: uint32(len(t.entries)), entries: uint32(len(s.Targets)), ttlMin: s.TTLMin, ttlMax: s.TTLMax,
		answers: s.Answers, pick: s.Pick, allDown: s.AllDown, separate: s.Separate,
	}
	for _, id := range s.Targets {
		if int(id) >= len(t.targets) {
			return fmt.Errorf("no target %d", id)
		}
	}
	for y := range p.offers {
		p.offers[y] = t.layouts[s.Layout].offers(func(e uint16) bool { return t.targets[s.Targets[e]].exists(Type(y)) })
		if !p.offers[y] && offersSome(t, s, Type(y)) {
			return fmt.Errorf("some plan lacks what others offer for type %d", y)
		}
	}
	t.entries = append(t.entries, s.Targets...)
	t.policies = append(t.policies, p)
	return nil
}

// offers says whether every plan has an entry that exists, so that no NODATA depends on the client.
func (l *layout) offers(exists func(entry uint16) bool) bool {
	for plans := l.plans; len(plans) > 0; {
		tiers, found := plans[0], false
		plans = plans[1:]
		for range tiers {
			n := plans[0]
			found = found || slices.ContainsFunc(plans[1:1+n], exists)
			plans = plans[1+n:]
		}
		if !found {
			return false
		}
	}
	return true
}

// offersSome says whether any target of the policy could answer for a type; then every plan must offer it.
func offersSome(t *Table, s *Policy, y Type) bool {
	return slices.ContainsFunc(s.Targets, func(id TargetID) bool { return t.targets[id].exists(y) })
}

// ID is the table's content hash: the same on every node that compiled the same files, databases and orders.
func (t *Table) ID() string { return t.id }

// Policies is how many policies there are.
func (t *Table) Policies() int { return len(t.policies) }

// Targets is how many targets there are.
func (t *Table) Targets() int { return len(t.targets) }

// Layouts is how many layouts there are.
func (t *Table) Layouts() int { return len(t.layouts) }

// Cells is how many cells there are of both families.
func (t *Table) Cells() int { return int(t.cells.numbers) }

// Offers says whether a policy answers a type; where not, the answer is NODATA.
func (t *Table) Offers(p PolicyID, y Type) bool { return t.policies[p].offers[y] }

// Scopes is how many different scopes a policy publishes: what a resolver's cache may come to hold of each of its names. It is 1
// where the text does not depend on the client.
func (t *Table) Scopes(p PolicyID) int {
	if l := &t.layouts[t.policies[p].layout]; l.byClient {
		return l.published
	}
	return 1
}

// Reaches is the targets that a policy's plans hold, each once, in no order that means anything; do not write to it.
func (t *Table) Reaches(p PolicyID) []TargetID {
	at := t.policies[p].entry
	return t.entries[at : at+t.policies[p].entries]
}

// Addrs4 is a target's IPv4 addresses; do not write to it.
func (t *Table) Addrs4(id TargetID) [][4]byte {
	g := &t.targets[id]
	return t.addrs4[g.at4 : g.at4+uint32(g.n4)]
}

// Addrs6 is a target's IPv6 addresses; do not write to it.
func (t *Table) Addrs6(id TargetID) [][16]byte {
	g := &t.targets[id]
	return t.addrs6[g.at6 : g.at6+uint32(g.n6)]
}

// Host is a target's host name in wire form, empty if it has addresses; do not write to it.
func (t *Table) Host(id TargetID) []byte {
	g := &t.targets[id]
	return t.hosts[g.host : g.host+uint32(g.nh)]
}

// place finds a client's cell and, for a policy, where its plan is, the published scope and the number of the cell's long
// subnet that applies (-1: none).
func (t *Table) place(l *layout, c Client) (cell, plan uint32, scope uint8, long int32) {
	cell = t.cells.find(c)
	v := l.scopes[cell]
	if len(l.long) > 0 && v&longFlag != 0 { // without the first, all would wait for v
		if i := l.findLong(c); i != noLong {
			return cell, l.planAt[l.long[i].class], l.long[i].from.Bits, i
		}
	}
	return cell, l.planOf[t.kinds[cell]], v & scopeMask, noLong
}

// findLong gives the longest long cell in which the client is wholly known to be.
func (l *layout) findLong(c Client) int32 {
	lo, hi := 0, len(l.long) // the first that begins behind the client
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if l.long[mid].from.beginsBehind(c) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	i := int32(lo) - 1
	for i != noLong && !l.long[i].from.contains(c) {
		i = l.long[i].parent
	}
	return i
}

// compare orders by family, address and length, so that a prefix stands before those inside it.
func (c Client) compare(d Client) int {
	switch {
	case c.V4 != d.V4:
		if c.V4 {
			return -1
		}
		return 1
	case c.beginsBehind(d):
		return 1
	case d.beginsBehind(c):
		return -1
	}
	return int(c.Bits) - int(d.Bits)
}

// beginsBehind says whether c's address is greater than d's.
func (c Client) beginsBehind(d Client) bool {
	if c.V4 != d.V4 {
		return d.V4
	}
	return c.Hi > d.Hi || (c.Hi == d.Hi && c.Lo > d.Lo)
}

// contains says whether all of d is inside c.
func (c Client) contains(d Client) bool {
	if c.V4 != d.V4 || d.Bits < c.Bits {
		return false
	}
	if c.Bits <= 64 {
		return (c.Hi^d.Hi)>>(64-c.Bits) == 0
	}
	return c.Hi == d.Hi && (c.Lo^d.Lo)>>(128-c.Bits) == 0
}

// distinct numbers things by the classes that they have in so many layouts, in the order in which they come, and gives the first thing of each
// number.
func distinct(things, layouts int, class func(layout, thing int) uint32) (number []uint32, first []int) {
	number = make([]uint32, things)
	same := func(a, b int) bool {
		for i := range layouts {
			if class(i, a) != class(i, b) {
				return false
			}
		}
		return true
	}
	seed, known, key := maphash.MakeSeed(), map[uint64]uint32{}, make([]byte, 0, 4*layouts) // known by hash: texts would be garbage by the 100,000
	for thing := range number {
		key = key[:0]
		for i := range layouts {
			key = binary.LittleEndian.AppendUint32(key, class(i, thing))
		}
		at := maphash.Bytes(seed, key)
		n, have := known[at]
		for ; have && !same(first[n], thing); n, have = known[at] {
			at++
		}
		if !have {
			n = uint32(len(first))
			known[at] = n
			first = append(first, thing)
		}
		number[thing] = n
	}
	return number, first
}

// hash is of all that decides answers, in order, and of nothing else: not of what was kept.
func (b *builder) hash() string {
	sum, s := sha256.New(), b.spec
	h := idHash{bufio.NewWriterSize(sum, 1<<14)}
	h.num(drawVersion, uint64(len(s.Targets)), uint64(len(s.Pools)), uint64(len(s.Layouts)), uint64(len(s.Policies)), flag(s.GeoLost))
	for i := range s.Targets {
		g := &s.Targets[i]
		h.num(g.Hash, uint64(g.Pool), uint64(g.Weight), uint64(len(g.V4)), uint64(len(g.V6)), uint64(len(g.Host)))
		for _, a := range slices.Concat(g.V4, g.V6) {
			h.bytes(a.AsSlice())
		}
		h.bytes(g.Host)
	}
	for _, p := range s.Pools {
		h.num(uint64(p.MinUp), flag(p.HasFallback))
	}
	h.num(uint64(b.cells.first6), uint64(b.cells.numbers))
	h.bytes(b.cells.bits)
	for _, kind := range b.kinds {
		h.num32(kind)
	}
	for i := range b.layouts {
		l := &b.layouts[i]
		h.num(uint64(len(l.planAt)), uint64(len(l.plans)), uint64(len(l.long)), uint64(l.entries), flag(l.byClient))
		for _, at := range l.planAt {
			h.num32(at)
		}
		for _, class := range l.classes {
			h.num32(class)
		}
		for _, v := range l.plans {
			h.num(uint64(v))
		}
		for _, long := range l.long {
			h.num(long.from.Hi, long.from.Lo, flag(long.from.V4), uint64(long.from.Bits), uint64(long.class))
		}
	}
	for i := range s.Policies {
		p := &s.Policies[i]
		h.num(p.Hash, uint64(p.Layout), uint64(p.TTLMin), uint64(p.TTLMax), uint64(p.Answers), uint64(p.Pick), uint64(p.AllDown), flag(p.Separate))
		for _, id := range p.Targets {
			h.num(uint64(id))
		}
	}
	h.w.Flush()
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// idHash writes into a hash, which takes all that it is given.
type idHash struct{ w *bufio.Writer }

func (h idHash) bytes(b []byte) { h.w.Write(b) } //nolint:errcheck // see idHash

func (h idHash) num(vs ...uint64) {
	for _, v := range vs {
		h.bytes(binary.LittleEndian.AppendUint64(h.w.AvailableBuffer(), v))
	}
}

func (h idHash) num32(v uint32) { h.bytes(binary.LittleEndian.AppendUint32(h.w.AvailableBuffer(), v)) }

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
