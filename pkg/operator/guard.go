package operator

import (
	"fmt"
	"slices"
	"strings"

	"geodns/pkg/policy"
	"geodns/pkg/steering"
)

// Guards keep people from taking away the last of something. They look at what is there now, by leases and health, and at what
// would be; what is broken already is nobody's fault and refuses nothing.

const (
	// BreaksMax is how many breaks are told: whoever reads so many does not need the next, and they are kept with the lease.
	BreaksMax = 50
	// breakMax is the longest break, in bytes, so that they fit a line of the audit log; those of usual names have 100 or so.
	breakMax = 300
	// targetsShown is how many targets a break names.
	targetsShown = 3
)

// GuardError says what a change would break, which it may not without an override.
type GuardError struct{ Breaks []string }

// Error lists what would break.
func (e *GuardError) Error() string { return "refused: " + strings.Join(e.Breaks, "; ") }

// Guards compares the verdicts of all targets with and without a change, leases included, and gives what the change would break, a
// sentence each, at most BreaksMax and a count of the others: the last usable target of a pool, of a pair of regions in a pool or of
// a fence, and plans that would be answered SERVFAIL. Usable is what is neither drained nor down and admits something.
func Guards(c *policy.Compiled, before, after func(*policy.Target) steering.Verdict) []string {
	g := guard{c: c}
	changed := false
	for _, t := range c.Document.Targets {
		b, a := before(t), after(t)
		g.before, g.after = append(g.before, b), append(g.after, a)
		g.changed = append(g.changed, a != b)
		changed = changed || a != b
	}
	if !changed {
		return nil
	}
	g.pools()
	g.pairs()
	for i, p := range c.Document.Policies {
		if slices.ContainsFunc(c.Table.Reaches(steering.PolicyID(i)), func(id steering.TargetID) bool { return g.changed[c.Targets[id].Index] }) {
			g.fences(p)
			g.plans(p)
		}
	}
	if g.more > 0 {
		g.breaks = append(g.breaks, fmt.Sprintf("and %d more", g.more))
	}
	return g.breaks
}

// guard is one comparison. Lists are by Target.Index.
type guard struct {
	c             *policy.Compiled
	before, after []steering.Verdict
	changed       []bool
	breaks        []string
	more          int // breaks that are only counted
}

// broken adds a break.
func (g *guard) broken(format string, a ...any) {
	if len(g.breaks) == BreaksMax {
		g.more++
		return
	}
	s := fmt.Sprintf(format, a...)
	if len(s) > breakMax {
		s = strings.ToValidUTF8(s[:breakMax], "") + "..."
	}
	g.breaks = append(g.breaks, s)
}

// usable says whether a target may be answered with, as things are.
func usable(v steering.Verdict) bool {
	return !v.Drained && v.State != steering.Down && v.Admit > 0
}

// lost lists the targets that are usable before the change; nil if some are so after it.
func (g *guard) lost(targets []*policy.Target) (were []string) {
	for _, t := range targets {
		if usable(g.after[t.Index]) {
			return nil
		}
		if usable(g.before[t.Index]) {
			were = append(were, t.ID)
		}
	}
	return were
}

// pools finds pools that would lose their last usable target.
func (g *guard) pools() {
	for _, p := range g.c.Document.Pools {
		switch were := g.lost(p.Targets); len(were) {
		case 0:
		case 1:
			g.broken("pool %s: its last usable target would go (%s)", p.Name, were[0])
		default:
			g.broken("pool %s: its last %d usable targets would go (%s)", p.Name, len(were), list(were, targetsShown, ", "))
		}
	}
}

// pairs finds pairs of regions that would lose a pool's last usable target. Only pools with targets in both count: in others one
// region does not stand for the other.
func (g *guard) pairs() {
	for _, r := range g.c.Document.Regions {
		if r.Pair == nil || (r.Pair.Pair == r && r.Pair.Index < r.Index) {
			continue // no pair, or told from the other side
		}
		for _, p := range g.c.Document.Pools {
			var in [2]bool
			var both []*policy.Target
			for _, t := range p.Targets {
				if t.Region != r && t.Region != r.Pair {
					continue
				}
				both = append(both, t)
				in[0], in[1] = in[0] || t.Region == r, in[1] || t.Region == r.Pair
			}
			if in[0] && in[1] && len(g.lost(both)) > 0 {
				g.broken("pair %s, %s: pool %s has nothing usable in either any more", r.Name, r.Pair.Name, p.Name)
			}
		}
	}
}

// fences finds rules of a policy whose fence would lose its last usable target, fallback pools included.
func (g *guard) fences(p *policy.Policy) {
	for _, r := range p.Rules {
		if !r.Fenced() {
			continue
		}
		var inside []*policy.Target
		for pool := r.Pool; pool != nil; pool = pool.Fallback {
			for _, t := range pool.Targets {
				if t.Region.Meets(r.Fence) {
					inside = append(inside, t)
				}
			}
		}
		if len(g.lost(inside)) > 0 {
			g.broken("policy %s rule %s (%s): its fence [%s] is left with nothing usable", p.Name, r.Name, r.Place, strings.Join(r.Fence, ", "))
		}
	}
}

// plans finds rules of a policy with a plan that would be answered SERVFAIL and is not now.
func (g *guard) plans(p *policy.Policy) {
	types := g.typesOf(p)
	told := map[*policy.Rule]bool{}
	for _, plan := range g.c.Plans(p) {
		for _, y := range types {
			if told[plan.Rule] || !g.answers(p, plan.Targets, y, g.before) || g.answers(p, plan.Targets, y, g.after) {
				continue
			}
			told[plan.Rule] = true
			g.broken("policy %s rule %s (%s): %s%s: SERVFAIL", p.Name, plan.Rule.Name, plan.Rule.Place, forType(types, y), g.whyFailed(plan.Targets, y))
		}
	}
}

// typesOf lists the types to look at: one stands for all, unless the policy has targets that lack one.
func (g *guard) typesOf(p *policy.Policy) (types []steering.Type) {
	for _, y := range []steering.Type{steering.A, steering.AAAA, steering.Host} {
		if g.c.Table.Offers(steering.PolicyID(p.Index), y) && (p.FamiliesSeparate || len(types) == 0) {
			types = append(types, y)
		}
	}
	return types
}

// exists says whether a target can answer for a type at all.
func (g *guard) exists(id steering.TargetID, y steering.Type) bool {
	switch t := &g.c.Targets[id]; y {
	case steering.A:
		return len(t.V4) > 0
	case steering.AAAA:
		return len(t.V6) > 0
	case steering.Host:
		return t.Host != ""
	}
	return false
}

// answers says whether there is an answer from a plan's targets, in the last pass at least.
func (g *guard) answers(p *policy.Policy, plan []steering.TargetID, y steering.Type, verdicts []steering.Verdict) bool {
	return slices.ContainsFunc(plan, func(id steering.TargetID) bool {
		v := verdicts[g.c.Targets[id].Index]
		return g.exists(id, y) && !v.Drained && (v.State != steering.Down || p.AllDown != policy.ServFail)
	})
}

// whyFailed says why there would be no answer from a plan.
func (g *guard) whyFailed(plan []steering.TargetID, y steering.Type) string {
	var names []string
	drained := true
	for _, id := range plan {
		if t := &g.c.Targets[id]; g.exists(id, y) {
			names = append(names, t.ID)
			drained = drained && g.after[t.Index].Drained
		}
	}
	if drained {
		return fmt.Sprintf("every target of a plan is drained (%s)", list(names, targetsShown, ", "))
	}
	return fmt.Sprintf("every target of a plan is down or drained (%s), and all_down is servfail", list(names, targetsShown, ", "))
}

// forType names a type where there are several.
func forType(types []steering.Type, y steering.Type) string {
	switch {
	case len(types) < 2:
		return ""
	case y == steering.A:
		return "for A, "
	case y == steering.AAAA:
		return "for AAAA, "
	}
	return "for CNAME, "
}
