package steering

import (
	"fmt"
	"slices"
)

// State is what is known of a target's health (design: section 5.5).
type State uint8

// The states. Usable are all but Down; Unknown targets stand behind the others of their tier.
const (
	Unknown  State = iota // checked, and never probed
	Up                    // also every target without a check
	Degraded              // works, but takes only the part of its traffic that Admit says
	Down
)

// String gives the word used in files, metrics and logs.
func (s State) String() string {
	switch s {
	case Unknown:
		return "unknown"
	case Up:
		return "up"
	case Degraded:
		return "degraded"
	case Down:
		return "down"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// AdmitAll is the Admit of a target that takes all of its traffic.
const AdmitAll = 1<<16 - 1

// Verdict is what health, load and operators decided of one target.
type Verdict struct {
	State   State
	InDoubt bool   // the answer that depends on it gets the policy's least TTL
	Drained bool   // as good as absent
	Admit   uint16 // the part of its traffic that it takes, of AdmitAll
}

// Unchecked is the verdict of a target whose pool has no check: always up, never in doubt.
func Unchecked() Verdict { return Verdict{State: Up, Admit: AdmitAll} }

// Packed verdicts, one word a target, so that a decision reads one cache line for up to 16 targets.
const (
	wordState   = 3 // mask of State
	wordDoubt   = 1 << 2
	wordDrained = 1 << 3
	wordStarved = 1 << 4 // its pool has fewer usable targets than min_up, and a fallback
	wordAdmit   = 16     // shift of Admit
)

// States is the snapshot of all targets of one Table, by TargetID. Immutable after NewStates.
type States struct {
	table *Table
	words []uint32
}

// NewStates makes the States of a table from one verdict a target.
func NewStates(t *Table, verdicts []Verdict) (*States, error) {
	if len(verdicts) != len(t.targets) {
		return nil, fmt.Errorf("%d verdicts for %d targets", len(verdicts), len(t.targets))
	}
	s := &States{table: t, words: make([]uint32, len(verdicts))}
	for i, v := range verdicts {
		if v.State > Down {
			return nil, fmt.Errorf("target %d: no such state: %d", i, v.State)
		}
		s.words[i] = v.word()
	}
	s.starve()
	return s, nil
}

// word packs a verdict.
func (v Verdict) word() uint32 {
	w := uint32(v.State) | uint32(v.Admit)<<wordAdmit
	if v.InDoubt {
		w |= wordDoubt
	}
	if v.Drained {
		w |= wordDrained
	}
	return w
}

// starve marks the targets of pools that have fewer usable targets than min_up, and a fallback.
func (s *States) starve() {
	t := s.table
	usable := make([]uint32, len(t.pools))
	for i, w := range s.words {
		if State(w&wordState) != Down && w&wordDrained == 0 {
			usable[t.targets[i].pool]++
		}
	}
	for i := range s.words {
		s.words[i] &^= wordStarved
		if p := t.targets[i].pool; t.pools[p].HasFallback && usable[p] < t.pools[p].MinUp {
			s.words[i] |= wordStarved
		}
	}
}

// Altered is what s would be with other verdicts for some targets: what an explanation asks "what if" of.
func (s *States) Altered(verdicts map[TargetID]Verdict) (*States, error) {
	out := &States{table: s.table, words: slices.Clone(s.words)}
	for id, v := range verdicts {
		if int(id) >= len(out.words) || v.State > Down {
			return nil, fmt.Errorf("target %d of %d: no such target, or no such state: %d", id, len(out.words), v.State)
		}
		out.words[id] = v.word()
	}
	out.starve()
	return out, nil
}

// Table is the table whose targets these are.
func (s *States) Table() *Table { return s.table }

// Verdict gives back what NewStates was given for a target.
func (s *States) Verdict(id TargetID) Verdict {
	w := s.words[id]
	return Verdict{
		State: State(w & wordState), InDoubt: w&wordDoubt != 0, Drained: w&wordDrained != 0, Admit: uint16(w >> wordAdmit),
	}
}
