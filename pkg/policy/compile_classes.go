package policy

import (
	"encoding/binary"
	"hash/maphash"
	"iter"
	"slices"

	"geodns/pkg/geo"
	"geodns/pkg/steering"
)

// classifyKinds gives each kind of clients its class in each of some layouts. What does not depend on a layout is found once for all.
func (c *compiler) classifyKinds(layouts []*layout, clients []client, exist []bool) [][]uint32 {
	classes, by, distant := make([][]uint32, len(layouts)), make([]*classifier, len(layouts)), false
	asns := map[uint32]bool{}
	for i, l := range layouts {
		classes[i], by[i] = make([]uint32, len(clients)), newClassifier(l)
		distant = distant || slices.ContainsFunc(l.matchers, func(m matcher) bool { return m.distant })
		l.nameASNs(asns)
	}
	alike := map[matched]int{}
	var v view
	for kind := range clients {
		if !exist[kind] {
			continue
		}
		who, latency := &clients[kind], v.latency
		if distant {
			v = c.out.atlas.viewFrom(who, v.km)
		}
		v.latency = latency
		key := matched{code: who.place.Code(), subnet: who.subnet}
		if asns[who.place.ASN] {
			key.asn = who.place.ASN
		}
		like, have := alike[key]
		if !have {
			like = len(alike)
			alike[key] = like
		}
		var measured *latencies
		for i, l := range layouts {
			if l.measured != measured {
				measured = l.measured
				v.latency = measured.of(who, v.latency)
			}
			classes[i][kind] = by[i].classOf(who, like, v)
		}
	}
	return classes
}

// classifier finds the classes of clients in a layout. What a layout can tell of a client is its rule, its map's order,
// how near regions are and how quick.
type classifier struct {
	ranking

	known   []*ruling // by what is matched
	rulings map[rulingKey]*ruling
	key     []uint16
}

// matched is what rules and maps can tell of a client.
type matched struct {
	code   geo.Code
	asn    uint32 // if a rule names it
	subnet int
}

// ruling is a rule with an order of its map.
type ruling struct {
	rulingKey

	led      []ranked          // what it ranks the same for all clients
	measured map[uint32]uint32 // where at most one thing that is measured tells them apart: classes, by its number, 0: nothing is known
	ranks    sequences         // where more does: of groups
	classes  []uint32          // by ranks
}

type rulingKey struct {
	rule  int
	order *Order
}

func newClassifier(l *layout) *classifier {
	return &classifier{ranking: ranking{l: l}, rulings: map[rulingKey]*ruling{}}
}

// classOf gives the class of a client with a view, like being the number of what rules can match in it.
func (x *classifier) classOf(c *client, like int, v view) uint32 {
	if like == len(x.known) {
		x.known = append(x.known, x.rulingOf(c))
	}
	g := x.known[like]
	x.m, x.c, x.view, x.led = &x.l.matchers[g.rule], c, v, g.led
	if x.m.distant || len(x.m.latency) > 1 {
		return x.byRanks(g)
	}
	known := uint32(0)
	if len(x.m.latency) == 1 && v.latency[x.m.latency[0]] != nil {
		known = v.latency[x.m.latency[0]].number
	}
	class, have := g.measured[known]
	if !have {
		x.rank()
		class = x.l.class(g.rule, c, x.entries())
		g.measured[known] = class
	}
	return class
}

// byRanks gives the class of the client at hand by how its groups rank, which is the same for many: targets are told apart once.
func (x *classifier) byRanks(g *ruling) uint32 {
	x.rank()
	x.key = append(x.key[:0], x.plan.groups...)
	for _, end := range x.plan.ends {
		x.key = append(x.key, uint16(end))
	}
	n, added := g.ranks.number(x.key)
	if added {
		g.classes = append(g.classes, x.l.class(g.rule, x.c, x.entries()))
	}
	return g.classes[n]
}

// rulingOf finds the rule and order that hold for a client.
func (x *classifier) rulingOf(c *client) *ruling {
	by := rulingKey{rule: x.l.ruleFor(c)}
	x.m, x.c = &x.l.matchers[by.rule], c
	if x.m.orders != nil {
		by.order, _ = x.m.orderFor(c)
	}
	g := x.rulings[by]
	if g == nil {
		g = &ruling{rulingKey: by, led: x.lead(), measured: map[uint32]uint32{}}
		x.rulings[by] = g
	}
	return g
}

// nameASNs adds the AS numbers in the layout's rules.
func (l *layout) nameASNs(named map[uint32]bool) {
	for _, r := range l.policy.Rules {
		for _, a := range r.ASNs {
			named[a] = true
		}
	}
}

// classOf gives a client's class.
func (l *layout) classOf(c *client) uint32 {
	rule := l.ruleFor(c)
	return l.class(rule, c, l.rank(rule, c, false).entries())
}

// class gives the class of a client's plan, a new one if the plan is new.
func (l *layout) class(rule int, c *client, plan []uint16) uint32 {
	if plan[0] == 0 {
		if l.empty[rule] == nil {
			l.empty[rule] = c
		}
		plan = []uint16{1, 1, 0} // reported; keeps the rest of the compilation going
	}
	class, added := l.plans.number(plan)
	if added {
		l.ruleOf = append(l.ruleOf, rule)
	}
	return class
}

// tiers goes through the tiers of a class's plan.
func (l *layout) tiers(class int) iter.Seq[[]uint16] { return tiersOf(l.plans.at(class)) }

// tiersOf goes through the tiers of a plan that is one run of numbers.
func tiersOf(plan []uint16) iter.Seq[[]uint16] {
	return func(yield func([]uint16) bool) {
		for rest := plan[1:]; len(rest) > 0; rest = rest[1+rest[0]:] {
			if !yield(rest[1 : 1+rest[0]]) {
				return
			}
		}
	}
}

// numberEntries gives the plans as the Table has them, with numbers for those entries alone that a plan holds: what a
// fence or map keeps from every client is no part of what the policy offers.
func (l *layout) numberEntries() (plans []steering.Plan) {
	number, tiers := make([]uint16, len(l.entries)), 0
	for class := range l.plans.len() {
		for tier := range l.tiers(class) {
			tiers++
			for _, e := range tier {
				number[e] = 1
			}
		}
	}
	for e, used := range number {
		if used > 0 {
			number[e] = uint16(len(l.used))
			l.used = append(l.used, uint16(e))
		}
	}
	plans = make([]steering.Plan, l.plans.len())
	room, entries := make(steering.Plan, 0, tiers), make([]uint16, 0, len(l.plans.flat)) // for all plans, each behind the one before
	for class := range plans {
		room = room[len(room):]
		for tier := range l.tiers(class) {
			entries = entries[len(entries):]
			for _, e := range tier {
				entries = append(entries, number[e])
			}
			room = append(room, slices.Clip(entries))
		}
		plans[class] = slices.Clip(room)
	}
	return plans
}

// sequences numbers the distinct of some runs of numbers, in the order in which they come. It holds no pointers, as there are many.
type sequences struct {
	flat  []uint16
	ends  []int             // by number: where it ends in flat
	known map[uint64]uint32 // by hash, which is of key by seed; the next free one where that is another's
	seed  maphash.Seed
	key   []byte
}

// len is how many there are.
func (s *sequences) len() int { return len(s.ends) }

// at gives one of them.
func (s *sequences) at(n int) []uint16 {
	if n == 0 {
		return s.flat[:s.ends[0]]
	}
	return s.flat[s.ends[n-1]:s.ends[n]]
}

// number gives the number of a run, a new one if it is new.
func (s *sequences) number(run []uint16) (n uint32, added bool) {
	if s.known == nil {
		s.known, s.seed = map[uint64]uint32{}, maphash.MakeSeed()
	}
	s.key = s.key[:0]
	for _, v := range run {
		s.key = binary.LittleEndian.AppendUint16(s.key, v)
	}
	hash := maphash.Bytes(s.seed, s.key)
	n, have := s.known[hash]
	for ; have && !slices.Equal(s.at(int(n)), run); n, have = s.known[hash] {
		hash++
	}
	if have {
		return n, false
	}
	n = uint32(len(s.ends))
	s.known[hash] = n
	s.flat = append(s.flat, run...)
	s.ends = append(s.ends, len(s.flat))
	return n, true
}
