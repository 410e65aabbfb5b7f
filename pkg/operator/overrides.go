package operator

import (
	"cmp"
	"iter"
	"math"
	"slices"
	"time"

	"geodns/pkg/policy"
	"geodns/pkg/steering"
)

// Overrides is what all active leases together do, as an immutable snapshot. A nil *Overrides does nothing. It does not look at a
// clock: it holds the leases that were active when it was made, and the Book makes another when one ends.
type Overrides struct {
	leases []*Lease // by id; never written to
	by     map[Kind]map[string]*holding
}

// holding is what the leases over one object do.
type holding struct {
	effect

	leases []int // places in Overrides.leases, ascending
}

// effect is what leases do to a target. Effects add up in any order.
type effect struct {
	drain bool
	state steering.State // Unknown: as health has it
	admit uint16         // AdmitAll: as health has it
}

// noEffect is the effect of no lease.
func noEffect() effect { return effect{admit: steering.AdmitAll} }

// and is both effects, the more cautious of each: the states stand in the order up, degraded, down.
func (e effect) and(f effect) effect {
	return effect{drain: e.drain || f.drain, state: max(e.state, f.state), admit: min(e.admit, f.admit)}
}

// effectOf is what a lease does.
func effectOf(l *Lease) effect {
	e := noEffect()
	e.drain = l.Action == Drain
	e.state = stateOf(l.State)
	if l.Admit != nil {
		e.admit = admitOf(*l.Admit)
	}
	return e
}

// stateOf is the state that a lease's word stands for; Unknown: none.
func stateOf(word string) steering.State {
	for _, s := range []steering.State{steering.Up, steering.Degraded, steering.Down} {
		if word == s.String() {
			return s
		}
	}
	return steering.Unknown
}

// admitOf is a part of the traffic in steering's unit. A small part is not none, which would mean something else.
func admitOf(part float64) uint16 {
	n := uint16(math.Round(part * steering.AdmitAll))
	if n == 0 && part > 0 {
		n = 1
	}
	return n
}

// newOverrides is the snapshot of those leases that are active at a time.
func newOverrides(leases iter.Seq[*Lease], now time.Time) *Overrides {
	o := &Overrides{by: map[Kind]map[string]*holding{}}
	for l := range leases {
		if l.Active(now) {
			o.leases = append(o.leases, l)
		}
	}
	slices.SortFunc(o.leases, func(a, b *Lease) int { return cmp.Compare(a.ID, b.ID) })
	for i, l := range o.leases {
		names := o.by[l.Object.Kind]
		if names == nil {
			names = map[string]*holding{}
			o.by[l.Object.Kind] = names
		}
		h := names[l.Object.Name]
		if h == nil {
			h = &holding{effect: noEffect()}
			names[l.Object.Name] = h
		}
		h.effect = h.and(effectOf(l))
		h.leases = append(h.leases, i)
	}
	return o
}

// touching goes over what the leases over a target, its pool, its region and each of its tags do.
func (o *Overrides) touching(t *policy.Target) iter.Seq[*holding] {
	return func(yield func(*holding) bool) {
		if h := o.by[KindTarget][t.ID]; h != nil && !yield(h) {
			return
		}
		if h := o.by[KindPool][t.Pool.Name]; h != nil && !yield(h) {
			return
		}
		if h := o.by[KindRegion][t.Region.Name]; h != nil && !yield(h) {
			return
		}
		tags := o.by[KindTag]
		if len(tags) == 0 {
			return
		}
		for _, tag := range t.Tags {
			if h := tags[tag]; h != nil && !yield(h) {
				return
			}
		}
	}
}

// Apply gives a target's verdict with the leases that touch it. A state that a lease sets stands in the place of health's, with its
// doubt; what health admits then no longer counts, unless both say degraded.
func (o *Overrides) Apply(t *policy.Target, v steering.Verdict) steering.Verdict {
	if o == nil || len(o.leases) == 0 {
		return v
	}
	e := noEffect()
	for h := range o.touching(t) {
		e = e.and(h.effect)
	}
	v.Drained = v.Drained || e.drain
	if e.state != steering.Unknown {
		if e.state != steering.Degraded || v.State != steering.Degraded {
			v.Admit = steering.AdmitAll
		}
		v.State, v.InDoubt = e.state, false
	}
	v.Admit = min(v.Admit, e.admit)
	return v
}

// Of lists the leases that touch a target, by id.
func (o *Overrides) Of(t *policy.Target) []Lease {
	if o == nil {
		return nil
	}
	var at []int
	for h := range o.touching(t) {
		at = append(at, h.leases...)
	}
	slices.Sort(at)
	at = slices.Compact(at) // a tag may stand twice
	out := make([]Lease, len(at))
	for i, n := range at {
		out[i] = *o.leases[n]
	}
	return out
}
