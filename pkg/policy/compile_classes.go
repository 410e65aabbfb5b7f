package policy

import (
	"encoding/binary"
	"slices"

	"geodns/pkg/geo"
	"geodns/pkg/steering"
)

// classifyKinds gives each kind of clients its class in each of some layouts. Distances are measured once for all layouts.
func (c *compiler) classifyKinds(layouts []*layout, clients []client, exist []bool) [][]uint32 {
	classes, by, distant := make([][]uint32, len(layouts)), make([]*classifier, len(layouts)), false
	for i, l := range layouts {
		classes[i], by[i] = make([]uint32, len(clients)), newClassifier(l)
		distant = distant || slices.ContainsFunc(l.matchers, func(m matcher) bool { return len(m.bands) > 0 })
	}
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
		var measured *latencies
		for i, l := range layouts {
			if l.measured != measured {
				measured = l.measured
				v.latency = measured.of(who, v.latency)
			}
			classes[i][kind] = by[i].classOf(who, v)
		}
	}
	return classes
}

// classifier finds the classes of clients in a layout. What a layout can tell of a client is its rule, its map's order,
// how near regions are and how quick: clients who are alike in these are ranked once.
type classifier struct {
	l       *layout
	asns    map[uint32]bool // that a rule names
	known   map[matched]*ruling
	rulings map[rulingKey]*ruling
	sketcher
}

// matched is what rules and maps can tell of a client.
type matched struct {
	code   geo.Code
	asn    uint32
	subnet int
}

// ruling is a rule with an order of its map.
type ruling struct {
	rulingKey

	classes  map[string]uint32    // by sketch
	measured map[*measured]uint32 // where one thing that is measured is all that a sketch tells
}

type rulingKey struct {
	rule  int
	order *Order
}

func newClassifier(l *layout) *classifier {
	return &classifier{l: l, asns: l.asnsNamed(), known: map[matched]*ruling{}, rulings: map[rulingKey]*ruling{}}
}

// classOf gives the class of a client with a view.
func (x *classifier) classOf(c *client, v view) uint32 {
	g := x.rulingOf(c)
	m := &x.l.matchers[g.rule]
	if len(m.bands) > 0 || len(m.latency) != 1 {
		return x.bySketch(g, c, v)
	}
	known := v.latency[m.latency[0]]
	class, have := g.measured[known]
	if !have {
		class = x.bySketch(g, c, v)
		g.measured[known] = class
	}
	return class
}

// bySketch gives the class of a client under a ruling.
func (x *classifier) bySketch(g *ruling, c *client, v view) uint32 {
	m := &x.l.matchers[g.rule]
	sketch := x.sketch(x.l, m, v)
	class, have := g.classes[string(sketch)]
	if !have {
		r := ranking{l: x.l, m: m, c: c, view: v}
		class = x.l.class(g.rule, c, r.plan().tiers)
		g.classes[string(sketch)] = class
	}
	return class
}

// rulingOf finds the rule and order that hold for a client.
func (x *classifier) rulingOf(c *client) *ruling {
	key := matched{code: c.place.Code(), subnet: c.subnet}
	if x.asns[c.place.ASN] {
		key.asn = c.place.ASN
	}
	g, have := x.known[key]
	if have {
		return g
	}
	by := rulingKey{rule: x.l.ruleFor(c)}
	if m := &x.l.matchers[by.rule]; m.orders != nil {
		by.order, _ = m.orderFor(c)
	}
	if g = x.rulings[by]; g == nil {
		g = &ruling{by, map[string]uint32{}, map[*measured]uint32{}}
		x.rulings[by] = g
	}
	x.known[key] = g
	return g
}

// asnsNamed is the set of AS numbers in the layout's rules.
func (l *layout) asnsNamed() map[uint32]bool {
	named := map[uint32]bool{}
	for _, r := range l.policy.Rules {
		for _, a := range r.ASNs {
			named[a] = true
		}
	}
	return named
}

// classOf gives a client's class.
func (l *layout) classOf(c *client) uint32 {
	rule := l.ruleFor(c)
	return l.class(rule, c, l.plan(rule, c, false).tiers)
}

// class gives the class of a client's plan, a new one if the plan is new.
func (l *layout) class(rule int, c *client, plan [][]uint16) uint32 {
	if len(plan) == 0 {
		if l.empty[rule] == nil {
			l.empty[rule] = c
		}
		plan = [][]uint16{{0}} // reported; keeps the rest of the compilation going
	}
	l.key = appendPlan(l.key[:0], plan)
	class, have := l.classes[string(l.key)]
	if !have {
		class = uint32(len(l.plans))
		l.classes[string(l.key)] = class
		l.plans = append(l.plans, plan)
		l.ruleOf = append(l.ruleOf, rule)
	}
	return class
}

// appendPlan appends a plan as a map's key.
func appendPlan(b []byte, tiers [][]uint16) []byte {
	for _, tier := range tiers {
		b = binary.BigEndian.AppendUint16(b, uint16(len(tier)))
		for _, e := range tier {
			b = binary.BigEndian.AppendUint16(b, e)
		}
	}
	return b
}

// numberEntries gives the plans as the Table has them, with numbers for those entries alone that a plan holds: what a
// fence or map keeps from every client is no part of what the policy offers.
func (l *layout) numberEntries() (plans []steering.Plan) {
	number := make([]uint16, len(l.entries))
	for _, plan := range l.plans {
		for _, tier := range plan {
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
	plans = make([]steering.Plan, len(l.plans))
	for class, plan := range l.plans {
		out := make(steering.Plan, len(plan))
		room := make([]uint16, 0, len(l.used)) // for all tiers, each behind the one before
		for i, tier := range plan {
			room = room[len(room):]
			for _, e := range tier {
				room = append(room, number[e])
			}
			out[i] = slices.Clip(room)
		}
		plans[class] = out
	}
	return plans
}
