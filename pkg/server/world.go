package server

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"geodns/pkg/steering"
	"geodns/pkg/zone"
)

// World is zones, steering table and states that belong together: all that an answer is made from. Immutable.
type World struct {
	set    *zone.Set
	table  *steering.Table
	states *steering.States
	steers []binding // by the set's steer reference
	names  []string  // policy names by the set's steer reference
	// regions is the slot by TargetID that a target's region is counted in.
	regions []uint8
}

// binding is what a STEER record's policy name means in the table.
type binding struct {
	policy steering.PolicyID
	host   bool // its targets are host names
}

// NewWorld joins parts. policies gives the table's number for each policy name that the set's STEER records use. Parts
// that do not belong together are refused: a missing part, a policy that the table does not have, states of another
// table, host-name targets at a name that cannot hold a CNAME.
func NewWorld(set *zone.Set, table *steering.Table, states *steering.States, policies map[string]steering.PolicyID) (*World, error) {
	switch {
	case set == nil:
		return nil, errors.New("a world without zones")
	case table == nil:
		return nil, errors.New("a world without a steering table")
	case states == nil:
		return nil, errors.New("a world without target states")
	case states.Table() != table:
		return nil, errors.New("target states of another steering table")
	}
	w := &World{set: set, table: table, states: states, names: set.SteerPolicies(), regions: make([]uint8, table.Targets())}
	hosts := map[string]bool{}
	for _, name := range w.names {
		id, known := policies[name]
		if !known || int(id) >= table.Policies() {
			return nil, fmt.Errorf("zones refer to policy %q, which the steering table does not have; it has %s", name, someNames(policies))
		}
		b := binding{policy: id, host: table.Offers(id, steering.Host)}
		if !b.host && !table.Offers(id, steering.A) && !table.Offers(id, steering.AAAA) {
			return nil, fmt.Errorf("policy %q has neither addresses nor host names for its clients", name)
		}
		hosts[name] = b.host
		w.steers = append(w.steers, b)
	}
	for _, s := range set.Steers() {
		if hosts[s.Policy] && (s.Apex || !s.Alone) {
			return nil, fmt.Errorf("%s: policy %q has host-name targets, which cannot stand at a zone's apex or beside other records", s.Owner, s.Policy)
		}
	}
	return w, nil
}

// someNames lists a few policy names, for an error that a person reads.
func someNames(policies map[string]steering.PolicyID) string {
	names := slices.Sorted(maps.Keys(policies))
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > 4:
		return strings.Join(names[:4], ", ") + fmt.Sprintf(" and %d more", len(names)-4)
	}
	return strings.Join(names, ", ")
}

// WithStates is the same world with newer states, which must be of its table.
func (w *World) WithStates(states *steering.States) (*World, error) {
	if states == nil || states.Table() != w.table {
		return nil, errors.New("target states of another steering table")
	}
	next := *w
	next.states = states
	return &next, nil
}

// WithRegions is the same world with a slot below RegionsCounted for each target, by TargetID: answers are counted by their targets'
// slots. A world that was not told counts all of them in slot 0. A slot keeps its meaning from one world to the next: workers
// count for two of them at a time. slots is not changed any more.
func (w *World) WithRegions(slots []uint8) (*World, error) {
	if len(slots) != w.table.Targets() {
		return nil, fmt.Errorf("%d slots of regions for %d targets", len(slots), w.table.Targets())
	}
	for id, slot := range slots {
		if slot >= RegionsCounted {
			return nil, fmt.Errorf("target %d: slot %d of its region is not below %d", id, slot, RegionsCounted)
		}
	}
	next := *w
	next.regions = slots
	return &next, nil
}

// ID is the content hashes of zones and table: nodes with the same files, databases and orders have the same.
func (w *World) ID() string { return w.set.ID() + "-" + w.table.ID() }

// Set is the world's zones.
func (w *World) Set() *zone.Set { return w.set }

// Table is the world's steering table.
func (w *World) Table() *steering.Table { return w.table }

// States is the world's target states.
func (w *World) States() *steering.States { return w.states }
