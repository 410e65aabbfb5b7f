package policy

import (
	"encoding/binary"
	"slices"

	"geodns/pkg/steering"
)

// planSet is the entries of some plans of a layout, in the Table's numbers and ascending, whatever their tiers.
type planSet struct {
	rule    int
	entries []uint16
}

// planSets lists the different sets of entries that plans have, each once for a rule. Rankers order what they are given, so there
// are few: what a rule's fence and the orders of its map leave.
func (l *layout) planSets() (out []planSet) {
	number := make([]uint16, len(l.entries))
	for n, e := range l.used {
		number[e] = uint16(n)
	}
	seen, key := map[string]bool{}, []byte{}
	var set []uint16
	for class := range l.plans.len() {
		set = set[:0]
		for tier := range l.tiers(class) {
			for _, e := range tier {
				set = append(set, number[e])
			}
		}
		slices.Sort(set)
		key = binary.BigEndian.AppendUint32(key[:0], uint32(l.ruleOf[class]))
		for _, e := range set {
			key = binary.BigEndian.AppendUint16(key, e)
		}
		if !seen[string(key)] {
			seen[string(key)] = true
			out = append(out, planSet{rule: l.ruleOf[class], entries: slices.Clone(set)})
		}
	}
	return out
}

// PlanTargets is the targets of a plan whatever their tiers, with a rule that gives it to a client: the first that was found to,
// where several rules do.
type PlanTargets struct {
	Rule    *Rule
	Targets []steering.TargetID
}

// Plans lists what the plans of a policy hold, each different set of targets once for a rule: what some client could be answered
// with at all. The first call for a layout goes over all of its classes; it is for the control plane.
func (c *Compiled) Plans(p *Policy) []PlanTargets {
	sets := c.layouts[c.layoutOf[p.Index]].sets()
	targets := c.Table.Reaches(steering.PolicyID(p.Index))
	out := make([]PlanTargets, len(sets))
	for i, s := range sets {
		out[i] = PlanTargets{Rule: p.Rules[s.rule], Targets: make([]steering.TargetID, len(s.entries))}
		for j, e := range s.entries {
			out[i].Targets[j] = targets[e]
		}
	}
	return out
}
