package policy

import (
	"fmt"
	"slices"
	"strings"

	"geodns/pkg/geo"
	"geodns/pkg/rum"
)

// layout is the compiler's side of a steering layout: policies that differ in their targets alone. It works on the rules
// and pools of its first policy; an entry stands for one target of each policy, the first of slot 0 before all others.
type layout struct {
	policy   *Policy // the first
	slots    []*Pool // each pool that a rule can lead to, in order of appearance
	slotAt   []int   // by slot: its first entry
	entries  []*Target
	byClient bool
	byOrders bool      // what is measured has a part in it
	matchers []matcher // by rule

	atlas    *atlas      // of all the Document's regions
	measured *latencies  // nil if not byOrders
	live     *rum.Orders // for explain: with one Version as the orders of measured, and younger scores

	classified
}

// classified is what clients make of a layout.
type classified struct {
	plans   sequences // by class
	ruleOf  []int     // by class: the rule of the first client that had it
	empty   []*client // by rule: a client whom it leaves nothing
	used    []uint16  // by the Table's entry: the entry, of which some plan holds each
	classBy []uint32  // if not byOrders: by what such layouts tell apart, which is kinds.plain

	counts map[int]int      // answerSets by answers
	sets   func() []planSet // of the plans; found when they are first asked for
}

// with is the layout by other measurements, not yet classified.
func (l *layout) with(measured *latencies) *layout {
	out := *l
	out.measured, out.classified = measured, unclassified(l.policy)
	return &out
}

func unclassified(p *Policy) classified {
	return classified{empty: make([]*client, len(p.Rules)), counts: map[int]int{}}
}

// slotsOf lists the pools that a policy's rules lead to, fallbacks included, each once.
func slotsOf(p *Policy) []*Pool {
	var slots []*Pool
	for _, r := range p.Rules {
		for pool := r.Pool; pool != nil; pool = pool.Fallback {
			if !slices.Contains(slots, pool) {
				slots = append(slots, pool)
			}
		}
	}
	return slots
}

// groupLayouts finds the layouts of a Document, in the order of their first policies, and the layout of each policy.
func groupLayouts(doc *Document) (layouts []*layout, of []int) {
	known := map[string]int{}
	for _, p := range doc.Policies {
		key := signature(p)
		at, have := known[key]
		if !have {
			at = len(layouts)
			known[key] = at
			layouts = append(layouts, newLayout(p))
		}
		of = append(of, at)
	}
	return layouts, of
}

// signature is all that decides a policy's plans but for the identity of its targets.
func signature(p *Policy) string {
	var b strings.Builder
	slots := slotsOf(p)
	for _, r := range p.Rules {
		fmt.Fprintf(&b, "rule %v %t %v %v", r.Geos, r.Unknown, r.Subnets, r.ASNs)
		for pool := r.Pool; pool != nil; pool = pool.Fallback {
			fmt.Fprintf(&b, " pool %d", slices.Index(slots, pool))
		}
		for _, k := range r.Rank {
			fmt.Fprintf(&b, " rank %d %g %t %v", k.Kind, k.Band, k.HasBand, k.Latency)
			if k.Map != nil {
				fmt.Fprintf(&b, " map %d", k.Map.Index)
			}
		}
		fmt.Fprintf(&b, " fence %q\n", r.Fence)
	}
	for _, pool := range slots {
		b.WriteString("slot")
		for _, t := range pool.Targets {
			fmt.Fprintf(&b, " %d", t.Region.Index)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// newLayout makes the layout whose first policy is p.
func newLayout(p *Policy) *layout {
	l := &layout{policy: p, slots: slotsOf(p), classified: unclassified(p)}
	for _, pool := range l.slots {
		l.slotAt = append(l.slotAt, len(l.entries))
		l.entries = append(l.entries, pool.Targets...)
	}
	for _, r := range p.Rules {
		l.byClient = l.byClient || !r.MatchesAll()
		for _, k := range r.Rank {
			l.byOrders = l.byOrders || k.Kind == RankLatency
			l.byClient = l.byClient || k.Kind == RankMap || k.Kind == RankNearest || k.Kind == RankLatency
		}
	}
	return l
}

// client is one kind of client: what rules and rankers can tell of it.
type client struct {
	place   geo.Place
	subnet  int // number in subnets of the longest operator's subnet around it; noSubnet: none
	network int // number in latencies of the network around it that has an order of its own; noSubnet: none
}

// describe names the client for a message.
func (c *client) describe() string {
	switch code := c.place.Code(); {
	case code != geo.Code{}:
		return code.String()
	case c.place.ASN != 0:
		return fmt.Sprintf("AS%d (unknown place)", c.place.ASN)
	}
	return unplaced
}

// unplaced is the place of a client of whom nothing is known.
const unplaced = "no known place"

// matcher is one rule, ready for many clients.
type matcher struct {
	rule    *Rule
	asns    map[uint32]bool
	subnets []bool // by subnet number: lies in one of the rule's
	orders  []int  // by subnet number: the map's order for it, as an index into its Subnets; -1: none

	groups  []group
	pools   []poolGroups // its pool's and the fallbacks'
	entries []uint16     // that its fence leaves, one pool's behind the other's
	lead    int          // so many rankers look at nothing of a client but its map's order
	distant bool         // it ranks by `nearest`
	latency []int        // its `latency` options, by their number in latencies
}

// group is targets of one pool that a rule's rankers do not tell apart: those of a region, or where targets are listed, one.
type group struct {
	region *Region
	at     []uint16 // where they are in the matcher's entries, ascending
	pairs  []uint16 // groups of the pool in the region's pair
}

// poolGroups is the groups [from, to) of a matcher, which are a pool's.
type poolGroups struct{ slot, from, to int }

// bind prepares the matchers once all subnets and latency options are numbered.
func (l *layout) bind(s *subnets, measured *latencies) {
	for _, r := range l.policy.Rules {
		has := func(kinds ...RankerKind) func(Ranker) bool {
			return func(k Ranker) bool { return slices.Contains(kinds, k.Kind) }
		}
		m := matcher{
			rule: r, subnets: s.within(r.Subnets), asns: map[uint32]bool{}, lead: slices.IndexFunc(r.Rank, has(RankNearest, RankLatency)),
			distant: slices.ContainsFunc(r.Rank, has(RankNearest)), latency: measured.optionsOf(r),
		}
		if m.lead < 0 {
			m.lead = len(r.Rank)
		}
		for _, a := range r.ASNs {
			m.asns[a] = true
		}
		if mp := r.rankMap(); mp != nil {
			m.orders = s.longest(mp.Subnets)
		}
		for pool := r.Pool; pool != nil; pool = pool.Fallback {
			m.addPool(l, pool, slices.ContainsFunc(r.Rank, has(RankListed)))
		}
		l.matchers = append(l.matchers, m)
	}
}

// addPool groups the targets of a pool that the rule's fence leaves.
func (m *matcher) addPool(l *layout, pool *Pool, listed bool) {
	slot, from, in := slices.Index(l.slots, pool), len(m.groups), map[*Region][]uint16{}
	for i, t := range pool.Targets {
		if !m.rule.permits(t.Region) {
			continue
		}
		if len(in[t.Region]) == 0 || listed {
			in[t.Region] = append(in[t.Region], uint16(len(m.groups)))
			m.groups = append(m.groups, group{region: t.Region})
		}
		g := &m.groups[in[t.Region][len(in[t.Region])-1]]
		g.at = append(g.at, uint16(len(m.entries)))
		m.entries = append(m.entries, uint16(l.slotAt[slot]+i))
	}
	for i := from; i < len(m.groups); i++ {
		m.groups[i].pairs = in[m.groups[i].region.Pair]
	}
	m.pools = append(m.pools, poolGroups{slot, from, len(m.groups)})
}

// match says whether the rule is for a client: kinds of condition AND, their values OR.
func (m *matcher) match(c *client) bool {
	r := m.rule
	if r.hasGeos() && (!r.Unknown || c.place.Placed()) && !slices.ContainsFunc(r.Geos, func(g geo.Code) bool { return g.Matches(c.place) }) {
		return false
	}
	if len(r.Subnets) > 0 && (c.subnet == noSubnet || !m.subnets[c.subnet]) {
		return false
	}
	return len(r.ASNs) == 0 || m.asns[c.place.ASN]
}

// ruleFor is the first rule that matches; the last always does.
func (l *layout) ruleFor(c *client) int {
	for i := range l.matchers {
		if l.matchers[i].match(c) {
			return i
		}
	}
	return len(l.matchers) - 1
}

// orderFor is the order of regions that the rule's map has for a client: its longest subnet's, else its most specific
// area's, else the default's; and where that stands in the file, for explain.
func (m *matcher) orderFor(c *client) (*Order, string) {
	mp := m.rule.rankMap()
	if c.subnet != noSubnet && m.orders[c.subnet] >= 0 {
		s := &mp.Subnets[m.orders[c.subnet]]
		return &s.Order, "subnet " + s.Prefix.String()
	}
	best, depth := -1, -1
	for i := range mp.Areas {
		a := &mp.Areas[i]
		d := 0
		if !a.Default {
			if !a.Code.Matches(c.place) {
				continue
			}
			d = 1 + strings.Count(a.Code.String(), "-")
		}
		if d > depth {
			best, depth = i, d
		}
	}
	if depth == 0 {
		return &mp.Areas[best].Order, "area default"
	}
	return &mp.Areas[best].Order, "area " + mp.Areas[best].Code.String()
}
