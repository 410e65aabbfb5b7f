package operator

import (
	"slices"
	"time"

	"geodns/pkg/policy"
)

// Kind is what a lease is laid over.
type Kind string

// The kinds of objects.
const (
	KindTarget Kind = "target" // by its id, pool/target
	KindPool   Kind = "pool"
	KindRegion Kind = "region"
	KindTag    Kind = "tag"
)

// Object is what a lease is laid over: one target, or all that a pool, a region or a tag has at any time.
type Object struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
}

// String gives the object as people write it: "region fra".
func (o Object) String() string { return string(o.Kind) + " " + o.Name }

// Touches says whether a target is the object, or belongs to it.
func (o Object) Touches(t *policy.Target) bool {
	switch o.Kind {
	case KindTarget:
		return t.ID == o.Name
	case KindPool:
		return t.Pool.Name == o.Name
	case KindRegion:
		return t.Region.Name == o.Name
	case KindTag:
		return slices.Contains(t.Tags, o.Name)
	}
	return false
}

// Action is what a lease does.
type Action string

// The actions.
const (
	Drain Action = "drain" // as good as absent
	Set   Action = "set"   // held at a state, or at a part of the traffic
)

// Lease is an operator's override, with an owner, a reason and an end. The JSON form is that of the audit log and of the file of
// leases.
type Lease struct {
	ID       string    `json:"id"`
	Revision uint64    `json:"revision"` // grows with each change of any lease
	Action   Action    `json:"action"`
	Object   Object    `json:"object"`
	State    string    `json:"state,omitempty"` // of Set: up, degraded or down; "": as health has it
	Admit    *float64  `json:"admit,omitempty"` // of Set, in [0, 1]; nil: as health has it
	Owner    string    `json:"owner"`
	Reason   string    `json:"reason"`
	Ticket   string    `json:"ticket,omitempty"`
	Override []string  `json:"override,omitempty"` // what it breaks, which its owner accepted
	Created  time.Time `json:"created"`
	Updated  time.Time `json:"updated"`
	Expires  time.Time `json:"expires"`
	// Of a tombstone alone.
	Ended     time.Time `json:"ended,omitzero"`
	EndedBy   string    `json:"ended_by,omitempty"` // "": it expired
	EndReason string    `json:"end_reason,omitempty"`
}

// Active says whether the lease has an effect at a time.
func (l *Lease) Active(now time.Time) bool { return l.Ended.IsZero() && now.Before(l.Expires) }
