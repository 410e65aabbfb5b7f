package steering

import (
	"net/netip"
	"slices"
)

// Reason says why a target was or was not answered with.
type Reason uint8

// The reasons. Chosen to Behind come of candidates once the draw is over.
const (
	NotReached  Reason = iota // a tier before it had an answer
	Chosen                    // in the answer
	NotDrawn                  // a candidate of the chosen tier that lost the draw
	Behind                    // unknown, and the tier had others
	IsDown                    // its verdict is down
	Drained                   // as good as absent
	NotAdmitted               // it takes a part of its traffic, and not this query
	PoolStarved               // its pool has fewer usable targets than min_up
	NoFamily                  // it has no address of the asked family

	candidateKnown   // may answer
	candidateUnknown // may answer if nothing else in its tier can
)

// String gives the reason in an operator's words.
func (r Reason) String() string {
	return [...]string{
		"not reached: a tier before it answers", "chosen", "lost the draw", "unknown: behind the others of its tier", "not usable", "absent",
		"not admitted", "its pool is under min_up", "no address of this family", "candidate", "candidate",
	}[r]
}

// Trace is what Decide saw on its way, for explain. It is filled by Decide itself; a nil Trace costs nothing.
type Trace struct {
	Cell      netip.Prefix // the client's cell
	CellID    uint32
	Long      netip.Prefix // the subnet longer than a cell that applies; invalid: none
	Layout    uint32
	Class     uint32
	Published uint8 // the layout's published scope of the cell, or the length of Long
	ByClient  bool  // the policy's text depends on the client
	GeoLost   bool
	Key       uint64 // of the draws
	Tiers     []TierTrace
	Pass      uint8 // of the answer; 0: none
	Tier      int   // of the answer
	// DoubtBefore: a target in a tier before the answer's is in doubt, which is why the TTL is the least.
	DoubtBefore bool

	at int // the place in its tier of the target that a pass looks at next, as a rule
}

// TierTrace is one tier of the plan with what became of its targets.
type TierTrace struct {
	Targets []TargetTrace
}

// TargetTrace is one target of a tier. Reason is that of the pass that answered; First that of the first pass.
type TargetTrace struct {
	ID     TargetID
	First  Reason
	Reason Reason
}

// begin notes where the client is and the plan, nothing of it reached yet.
func (tr *Trace) begin(r *decision, cell uint32, published uint8, long int32) {
	l := &r.t.layouts[r.p.layout]
	class := l.classes[r.t.kinds[cell]]
	if long != noLong {
		class = l.long[long].class
	}
	*tr = Trace{
		Cell: r.t.cells.prefix(r.q.Client, cell), CellID: cell, Layout: r.p.layout, Class: class, Published: published, ByClient: l.byClient,
		GeoLost: r.t.geoLost, Key: r.key,
	}
	if long != noLong {
		tr.Long = l.long[long].from.Prefix()
	}
	for i, rest := 0, r.plan[1:]; i < int(r.plan[0]); i++ {
		var tier TierTrace
		for _, e := range rest[1 : 1+rest[0]] {
			tier.Targets = append(tier.Targets, TargetTrace{ID: r.t.entries[r.p.entry+uint32(e)]})
		}
		rest = rest[1+rest[0]:]
		tr.Tiers = append(tr.Tiers, tier)
	}
}

// saw notes what a pass thought of a target.
func (tr *Trace) saw(pass uint8, tier int, id TargetID, reason Reason) {
	targets := tr.Tiers[tier].Targets
	for i := range targets { // a pass sees a tier's targets in order: the first is it, but where a tier begins
		at := (tr.at + i) % len(targets)
		if g := &targets[at]; g.ID == id {
			g.Reason = reason
			if pass == passAdmitted {
				g.First = reason
			}
			tr.at = at + 1
			return
		}
	}
}

// chose turns candidates into those drawn and those not.
func (tr *Trace) chose(pass uint8, tier int, doubtBefore bool, d *Decision) {
	tr.Pass, tr.Tier, tr.DoubtBefore = pass, tier, doubtBefore
	unknown := tr.unknownAnswers(tier, d)
	for i := range tr.Tiers {
		for j := range tr.Tiers[i].Targets {
			g := &tr.Tiers[i].Targets[j]
			switch {
			case i > tier:
				g.Reason = NotReached
			case i == tier:
				g.Reason = g.Reason.afterDraw(slices.Contains(d.Targets[:d.N], g.ID), unknown)
			}
			if pass == passAdmitted {
				g.First = g.Reason
			}
		}
	}
}

// unknownAnswers says whether the answer was drawn from the tier's unknown targets.
func (tr *Trace) unknownAnswers(tier int, d *Decision) bool {
	return slices.ContainsFunc(tr.Tiers[tier].Targets, func(g TargetTrace) bool {
		return g.Reason == candidateUnknown && g.ID == d.Targets[0]
	})
}

// afterDraw is what a candidate's reason becomes.
func (r Reason) afterDraw(chosen, unknownAnswers bool) Reason {
	switch {
	case r != candidateKnown && r != candidateUnknown:
		return r
	case chosen:
		return Chosen
	case r == candidateUnknown && !unknownAnswers:
		return Behind
	}
	return NotDrawn
}
