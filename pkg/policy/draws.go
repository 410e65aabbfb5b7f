package policy

import (
	"slices"

	"geodns/pkg/steering"
)

// draws is all that a question can be answered with in given states, over every draw: of targets, and of the part of their traffic
// that targets admit. Where nothing is drawn it is the one answer.
type draws struct {
	first   steering.Decision   // one of the answers
	targets []steering.TargetID // each that an answer can carry, in the order of tiers
	ttls    []uint32            // each that an answer can have, ascending
	failed  bool                // SERVFAIL, which is never drawn
	tier    int                 // of the first of the targets
	pass    uint8               // ... and their pass
}

// draws finds them by asking Decide as often as there are stages: first as if each target that admits a part of its traffic took
// this query, then, where those alone would have answered, as if none of them did.
func (c *Compiled) draws(s *steering.States, q *steering.Query) (draws, error) {
	var out draws
	altered := map[steering.TargetID]steering.Verdict{}
	var d steering.Decision
	var tr steering.Trace
	for first := true; ; first = false {
		now, err := s, error(nil)
		if len(altered) > 0 {
			now, err = s.Altered(altered)
		}
		if err != nil {
			return out, err
		}
		steering.Decide(c.Table, now, q, &d, &tr)
		if d.Outcome == steering.Failed { // a stage before it would have been certain
			out.failed, out.first = true, d
			return out, nil
		}
		if first && c.openAll(s, &tr, altered) {
			continue
		}
		if len(out.targets) == 0 {
			out.tier, out.pass, out.first = tr.Tier, tr.Pass, d
		}
		stage := c.stage(s, &tr, &d)
		out.add(c, q, stage, &tr)
		if stage.certain() {
			slices.Sort(out.ttls)
			out.ttls = slices.Compact(out.ttls)
			return out, nil
		}
		for _, id := range stage.parts {
			v := altered[id]
			v.Admit = 0
			altered[id] = v
		}
	}
}

// openAll has every target of the plan that admits a part of its traffic admit all of it; false: there is none.
func (c *Compiled) openAll(s *steering.States, tr *steering.Trace, altered map[steering.TargetID]steering.Verdict) bool {
	for _, tier := range tr.Tiers {
		for _, g := range tier.Targets {
			if v := s.Verdict(g.ID); v.Admit > 0 && v.Admit < steering.AdmitAll {
				v.Admit = steering.AdmitAll
				altered[g.ID] = v
			}
		}
	}
	return len(altered) > 0
}

// drawStage is what one tier can answer with.
type drawStage struct {
	whole, parts       []steering.TargetID // candidates in any case; and those that may be, by the part that they admit
	wholeDoubt, inPart int                 // how many of each are in doubt
}

// certain says whether this stage answers whatever is admitted.
func (g *drawStage) certain() bool { return len(g.whole) > 0 }

// stage reads off a trace what the tier that answers can answer with.
func (c *Compiled) stage(s *steering.States, tr *steering.Trace, d *steering.Decision) *drawStage {
	g := &drawStage{}
	pool := c.Targets[d.Targets[0]].Pool
	for _, t := range tr.Tiers[tr.Tier].Targets {
		if t.Reason != steering.Chosen && t.Reason != steering.NotDrawn {
			continue
		}
		if tr.Pass == 3 && c.Targets[t.ID].Pool != pool { // all_down keeps to one pool
			continue
		}
		v := s.Verdict(t.ID)
		if tr.Pass == 1 && v.Admit < steering.AdmitAll {
			g.parts = append(g.parts, t.ID)
			if v.InDoubt {
				g.inPart++
			}
			continue
		}
		g.whole = append(g.whole, t.ID)
		if v.InDoubt {
			g.wholeDoubt++
		}
	}
	return g
}

// add takes in what a stage can answer with.
func (w *draws) add(c *Compiled, q *steering.Query, g *drawStage, tr *steering.Trace) {
	w.targets = append(append(w.targets, g.whole...), g.parts...)
	p := c.Document.Policies[q.Policy]
	least, most := min(q.TTL, p.TTLMin), min(q.TTL, p.TTLMax)
	if tr.DoubtBefore || tr.Pass == 3 {
		w.ttls = append(w.ttls, least)
		return
	}
	if g.wholeDoubt+g.inPart > 0 { // one that is in doubt can be drawn
		w.ttls = append(w.ttls, least)
	}
	sure := len(g.whole) + len(g.parts) - g.wholeDoubt - g.inPart
	if sure >= p.Answers || sure > 0 && g.wholeDoubt == 0 { // an answer can do without any of those
		w.ttls = append(w.ttls, most)
	}
}
