package steering

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
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
	// LayoutsMax bounds the memory that cells take: 4 bytes x cells x layouts.
	LayoutsMax = 4096
	// ClassesMax is how many classes a layout may have: a class is packed beside a scope and a flag.
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
	Classes  []uint32 // by cell, IPv4 cells first
	Long     []LongCell
	ByClient bool // the policies' text depends on the client
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
	cells    []uint32 // by cell: class << classShift | longFlag | scope
	planAt   []uint32 // by class: where its plan begins in plans
	plans    []uint16 // count of tiers, then for each tier its length and entries
	long     []longCell
	entries  int // how many its plans may name
	byClient bool
	scopes   int // published, different
}

const (
	scopeMask  = 63        // scopes go to 56
	longFlag   = 1 << 6    // long cells lie inside
	classShift = 7         // ClassesMax << classShift fits 32 bits
	noLong     = -1        // a long cell that lies in no other
	lengthMax  = 1<<16 - 1 // of a tier
)

type longCell struct {
	from   Client // its address and length
	class  uint32
	parent int32 // the next longer-reaching long cell around it
}

type policy struct {
	hash           uint64
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
	hash       uint64
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

// Build checks a Spec and makes the Table. An error is a fault of the compiler that filled the Spec, never of a file.
func Build(spec *Spec) (*Table, error) {
	t, err := build(spec)
	if err == nil {
		t.id = spec.id()
	}
	return t, err
}

// build is Build without the id.
func build(spec *Spec) (*Table, error) {
	cells, err := newCellIndex(spec.Cells4, spec.Cells6)
	if err != nil {
		return nil, err
	}
	t := &Table{geoLost: spec.GeoLost, cells: cells, pools: slices.Clone(spec.Pools)}
	for i := range spec.Targets {
		if err := t.addTarget(&spec.Targets[i]); err != nil {
			return nil, fmt.Errorf("target %d: %w", i, err)
		}
	}
	if len(spec.Layouts) > LayoutsMax {
		return nil, fmt.Errorf("%d layouts; at most %d are possible", len(spec.Layouts), LayoutsMax)
	}
	for i := range spec.Layouts {
		if err := t.addLayout(spec, &spec.Layouts[i]); err != nil {
			return nil, fmt.Errorf("layout %d: %w", i, err)
		}
	}
	for i := range spec.Policies {
		if err := t.addPolicy(spec, &spec.Policies[i]); err != nil {
			return nil, fmt.Errorf("policy %d: %w", i, err)
		}
	}
	return t, nil
}

// addTarget enters one target.
func (t *Table) addTarget(s *Target) error {
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
		hash: s.Hash, pool: s.Pool, weight: s.Weight,
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

// addLayout enters one layout: its plans made flat, equal ones one, and each cell's class and published scope packed.
func (t *Table) addLayout(spec *Spec, s *Layout) error {
	if len(s.Classes) != int(t.cells.numbers) || len(s.Plans) > ClassesMax || s.Entries > EntriesMax {
		return fmt.Errorf("%d classed cells of %d, %d plans, %d entries", len(s.Classes), t.cells.numbers, len(s.Plans), s.Entries)
	}
	l := layout{byClient: s.ByClient, entries: s.Entries, planAt: make([]uint32, len(s.Plans)), cells: make([]uint32, len(s.Classes))}
	equal := map[string]uint32{}
	for class, plan := range s.Plans {
		flat, err := flatten(plan, s.Entries)
		if err != nil {
			return fmt.Errorf("class %d: %w", class, err)
		}
		key := planKey(flat)
		at, have := equal[key]
		if !have {
			at = uint32(len(l.plans))
			equal[key] = at
			l.plans = append(l.plans, flat...)
		}
		l.planAt[class] = at
	}
	plan := make([]uint32, len(s.Classes))
	for i, class := range s.Classes {
		if int(class) >= len(s.Plans) {
			return fmt.Errorf("cell %d: no class %d", i, class)
		}
		plan[i] = l.planAt[class]
	}
	n := len(spec.Cells4)
	scope := slices.Concat(publish(spec.Cells4, plan[:n], CellBitsMax4, ScopeMin4), publish(spec.Cells6, plan[n:], CellBitsMax6, ScopeMin6))
	for i, class := range s.Classes {
		l.cells[i] = class<<classShift | uint32(scope[i])
	}
	l.scopes = countScopes(spec.Cells4, scope[:n], CellBitsMax4) + countScopes(spec.Cells6, scope[n:], CellBitsMax6) + len(s.Long)
	if err := l.addLong(t.cells, s); err != nil {
		return err
	}
	t.layouts = append(t.layouts, l)
	return nil
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
		l.cells[cells.find(c)] |= longFlag
	}
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

// flatten makes a plan one run of numbers.
func flatten(plan Plan, entries int) ([]uint16, error) {
	if len(plan) == 0 || len(plan) > PlanTiersMax+1 {
		return nil, fmt.Errorf("a plan of %d tiers", len(plan))
	}
	flat := []uint16{uint16(len(plan))}
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

// planKey is a flat plan as a map's key.
func planKey(flat []uint16) string {
	b := make([]byte, 0, 2*len(flat))
	for _, v := range flat {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return string(b)
}

// addPolicy enters one policy.
func (t *Table) addPolicy(spec *Spec, s *Policy) error {
	switch {
	case int(s.Layout) >= len(t.layouts):
		return fmt.Errorf("no layout %d", s.Layout)
	case len(s.Targets) != spec.Layouts[s.Layout].Entries || len(s.Targets) == 0:
		return fmt.Errorf("%d targets for %d entries", len(s.Targets), spec.Layouts[s.Layout].Entries)
	case s.Answers == 0 || s.Answers > AnswersMax:
		return fmt.Errorf("%d answers", s.Answers)
	case s.TTLMin > s.TTLMax:
		return fmt.Errorf("ttl min %d above max %d", s.TTLMin, s.TTLMax)
	}
	p := policy{
		hash: s.Hash, layout: s.Layout, entry: uint32(len(t.entries)), entries: uint32(len(s.Targets)), ttlMin: s.TTLMin, ttlMax: s.TTLMax,
		answers: s.Answers, pick: s.Pick, allDown: s.AllDown, separate: s.Separate,
	}
	for _, id := range s.Targets {
		if int(id) >= len(t.targets) {
			return fmt.Errorf("no target %d", id)
		}
	}
	for y := range p.offers {
		p.offers[y] = offers(t, s, &spec.Layouts[s.Layout], Type(y))
		if !p.offers[y] && offersSome(t, s, Type(y)) {
			return fmt.Errorf("some plan lacks what others offer for type %d", y)
		}
	}
	t.entries = append(t.entries, s.Targets...)
	t.policies = append(t.policies, p)
	return nil
}

// offers says whether every plan of the policy has a target for a type, so that no NODATA depends on the client.
func offers(t *Table, s *Policy, l *Layout, y Type) bool {
	for _, plan := range l.Plans {
		found := false
		for _, tier := range plan {
			found = found || slices.ContainsFunc(tier, func(e uint16) bool { return t.targets[s.Targets[e]].exists(y) })
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
		return l.scopes
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

// place finds a client's cell and, for a policy, its class, the published scope and the number of the cell's long
// subnet that applies (-1: none).
func (t *Table) place(l *layout, c Client) (cell, class uint32, scope uint8, long int32) {
	cell = t.cells.find(c)
	v := l.cells[cell]
	if v&longFlag != 0 {
		if i := l.findLong(c); i != noLong {
			return cell, l.long[i].class, l.long[i].from.Bits, i
		}
	}
	return cell, v >> classShift, uint8(v & scopeMask), noLong
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

// id hashes all that decides answers, in order.
func (s *Spec) id() string {
	sum := sha256.New()
	h := idHash{bufio.NewWriterSize(sum, 1<<14)}
	h.num(drawVersion, uint64(len(s.Targets)), uint64(len(s.Pools)), uint64(len(s.Layouts)), uint64(len(s.Policies)), flag(s.GeoLost))
	for i := range s.Targets {
		g := &s.Targets[i]
		h.num(g.Hash, uint64(g.Pool), uint64(g.Weight), uint64(len(g.V4)), uint64(len(g.V6)), uint64(len(g.Host)))
		for _, a := range slices.Concat(g.V4, g.V6) {
			_, _ = h.Write(a.AsSlice())
		}
		_, _ = h.Write(g.Host)
	}
	for _, p := range s.Pools {
		h.num(uint64(p.MinUp), flag(p.HasFallback))
	}
	for _, cells := range [][]Cell{s.Cells4, s.Cells6} {
		for _, c := range cells {
			h.num(c.Start<<8 | uint64(c.Bits))
		}
	}
	for i := range s.Layouts {
		l := &s.Layouts[i]
		h.num(uint64(len(l.Plans)), uint64(len(l.Long)), flag(l.ByClient))
		for _, p := range l.Plans {
			for _, tier := range p {
				_, _ = h.WriteString(planKey(tier))
				h.num(uint64(len(tier)))
			}
			h.num(uint64(len(p)))
		}
		for _, class := range l.Classes {
			h.num32(class)
		}
		for _, long := range slices.SortedFunc(slices.Values(l.Long), func(a, b LongCell) int { return ClientFrom(a.Prefix).compare(ClientFrom(b.Prefix)) }) {
			h.num(uint64(long.Class), uint64(long.Prefix.Bits()))
			_, _ = h.Write(long.Prefix.Addr().AsSlice())
		}
	}
	for i := range s.Policies {
		p := &s.Policies[i]
		h.num(p.Hash, uint64(p.Layout), uint64(p.TTLMin), uint64(p.TTLMax), uint64(p.Answers), uint64(p.Pick), uint64(p.AllDown), flag(p.Separate))
		for _, id := range p.Targets {
			h.num(uint64(id))
		}
	}
	_ = h.Flush() // a hash never refuses
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// idHash writes numbers into a hash, many at a time.
type idHash struct{ *bufio.Writer }

func (h idHash) num(vs ...uint64) {
	for _, v := range vs {
		_, _ = h.Write(binary.LittleEndian.AppendUint64(h.AvailableBuffer(), v))
	}
}

// num32 writes a small number.
func (h idHash) num32(v uint32) {
	_, _ = h.Write(binary.LittleEndian.AppendUint32(h.AvailableBuffer(), v))
}

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
