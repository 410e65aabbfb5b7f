package operator

import (
	"iter"
	"maps"
	"time"

	"geodns/pkg/policy"
	"geodns/pkg/steering"
)

// prospect is the verdicts of all targets with and without a change of leases, by Target.Index. Health is asked once for both: it
// goes on meanwhile, and what it finds is no part of the change.
type prospect struct {
	compiled      *policy.Compiled
	before, after []steering.Verdict
}

// prospect is what becomes of targets if the lease with an id is this one; nil: none any more.
func (b *Book) prospect(s Scene, id string, lease *Lease, now time.Time) *prospect {
	return newProspect(s, newOverrides(maps.Values(b.leases), now), newOverrides(b.with(id, lease), now))
}

// prospectAt is what a lease does at a time, as if there had been none with its id before.
func (b *Book) prospectAt(s Scene, lease *Lease, at time.Time) *prospect {
	return newProspect(s, newOverrides(b.with(lease.ID, nil), at), newOverrides(b.with(lease.ID, lease), at))
}

// with goes over the leases, with another one in the place of the one with its id; nil: with none there.
func (b *Book) with(id string, lease *Lease) iter.Seq[*Lease] {
	return func(yield func(*Lease) bool) {
		for _, l := range b.leases {
			if l.ID != id && !yield(l) {
				return
			}
		}
		if lease != nil {
			yield(lease)
		}
	}
}

// newProspect applies two sets of leases to what health has.
func newProspect(s Scene, before, after *Overrides) *prospect {
	p := &prospect{compiled: s.Compiled}
	for _, t := range s.Compiled.Document.Targets {
		v := steering.Unchecked()
		if s.Verdict != nil {
			v = s.Verdict(t)
		}
		p.before = append(p.before, before.Apply(t, v))
		p.after = append(p.after, after.Apply(t, v))
	}
	return p
}

// breaks is what guards have against the change.
func (p *prospect) breaks() []string {
	return Guards(p.compiled, func(t *policy.Target) steering.Verdict { return p.before[t.Index] },
		func(t *policy.Target) steering.Verdict { return p.after[t.Index] })
}

// impact is what becomes of clients, where the change is about an object.
func (p *prospect) impact(o Object) (*Impact, error) {
	before, err := statesOf(p.compiled, p.before)
	if err != nil {
		return nil, err
	}
	after, err := statesOf(p.compiled, p.after)
	if err != nil {
		return nil, err
	}
	return ImpactOf(p.compiled, before, after, o.Touches), nil
}
