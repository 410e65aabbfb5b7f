package policy

import (
	"fmt"
	"slices"
	"strings"

	"geodns/pkg/steering"
)

// Limits of what an explanation says would change the answer.
const (
	// FlipsMax is how many changes are listed: more is no reading.
	FlipsMax = 16
	// flipTriesMax is how many changes are tried. Each is a decision, of 0.1 ms for a plan of 4,096 targets: the answer is waited for.
	flipTriesMax = 64
	// listedMax is how many targets a line names.
	listedMax = 8
)

// RunnerUp is what would be answered if the targets of the answer were absent, with the same draw.
type RunnerUp struct {
	Targets []string `json:"targets"` // none: SERVFAIL
	TTL     uint32   `json:"ttl"`
	Pass    int      `json:"pass"` // 0: SERVFAIL
	Why     string   `json:"why"`
}

// Flip is a change that would give another answer: other targets, another TTL or another pass. It was tried by Decide.
type Flip struct {
	Change string `json:"change"`
	Result string `json:"result"`
}

// decided is a decision that an explanation is about.
type decided struct {
	Scene

	p  *Policy
	q  steering.Query
	d  steering.Decision
	tr steering.Trace
}

// change is something that could happen to targets.
type change struct {
	text    string
	altered map[steering.TargetID]steering.Verdict
}

// whatIf decides anew with some verdicts altered; tr may be nil.
func (x *decided) whatIf(altered map[steering.TargetID]steering.Verdict, tr *steering.Trace) (d steering.Decision, err error) {
	states, err := x.States.Altered(altered)
	if err != nil {
		return d, fmt.Errorf("a fault of this program: %w", err)
	}
	steering.Decide(x.Compiled.Table, states, &x.q, &d, tr)
	return d, nil
}

// others tells what else could be answered: the runner-up, and what would flip the answer.
func (x *decided) others(e *Explanation) error {
	if x.d.Outcome == steering.Answered {
		if err := x.runnerUp(e); err != nil {
			return err
		}
	}
	if err := x.draw(e); err != nil {
		return err
	}
	changes, untried := x.changes()
	for _, c := range changes {
		d, err := x.whatIf(c.altered, nil)
		if err != nil {
			return err
		}
		if !x.differs(&d) {
			continue
		}
		e.addFlip(c.text, x.resultText(&d))
	}
	e.FlipsUntried = untried
	return nil
}

// addFlip adds a change, or counts it where there are enough. A target that goes down and one that is drained mostly come to the same:
// then that is one line.
func (e *Explanation) addFlip(change, result string) {
	if n := len(e.Flips); n > 0 && e.FlipsMore == 0 {
		id, down := strings.CutSuffix(e.Flips[n-1].Change, flipDown)
		if down && change == id+flipDrained && e.Flips[n-1].Result == result {
			e.Flips[n-1].Change += " or" + flipDrained
			return
		}
	}
	if len(e.Flips) == FlipsMax {
		e.FlipsMore++
		return
	}
	e.Flips = append(e.Flips, Flip{change, result})
}

// What targets do, behind their names.
const (
	flipDown    = " goes down"
	flipDrained = " is drained"
)

// runnerUp fills in what would be answered without the targets of the answer.
func (x *decided) runnerUp(e *Explanation) error {
	altered := map[steering.TargetID]steering.Verdict{}
	for _, id := range x.d.Targets[:x.d.N] {
		v := x.States.Verdict(id)
		v.Drained = true
		altered[id] = v
	}
	var tr steering.Trace
	d, err := x.whatIf(altered, &tr)
	if err != nil {
		return err
	}
	e.RunnerUp = &RunnerUp{Targets: x.names(d.Targets[:d.N]), TTL: d.TTL, Pass: int(tr.Pass)}
	switch {
	case d.Outcome == steering.Failed:
		e.RunnerUp.Why = "SERVFAIL: " + passWhy(&tr, x.p)
		return nil
	case tr.Tier == x.tr.Tier:
		e.RunnerUp.Why = fmt.Sprintf("tier %d has others", tr.Tier+1)
	default:
		e.RunnerUp.Why = fmt.Sprintf("tier %d, %s", tr.Tier+1, e.Tiers[tr.Tier].Why)
	}
	if tr.Pass > 1 {
		e.RunnerUp.Why += "; " + passWhy(&tr, x.p)
	}
	return nil
}

// draw says what another draw could answer, if the next query has another.
func (x *decided) draw(e *Explanation) error {
	if x.p.Pick == PickHash || x.d.Outcome == steering.Failed {
		return nil
	}
	all, err := x.Compiled.draws(x.States, &x.q)
	if err != nil {
		return err
	}
	if len(all.targets) == x.d.N {
		return nil
	}
	var ttls []string
	for _, ttl := range all.ttls {
		ttls = append(ttls, fmt.Sprint(ttl))
	}
	most := "1"
	if x.p.Answers > 1 {
		most = fmt.Sprintf("up to %d", x.p.Answers)
	}
	e.addFlip("another draw, which each query has", fmt.Sprintf("%s of %s, ttl %s", most, x.list(all.targets), strings.Join(ttls, " or ")))
	return nil
}

// differs says whether a decision is another answer than the one explained.
func (x *decided) differs(d *steering.Decision) bool {
	if d.Outcome != x.d.Outcome {
		return true
	}
	return d.Outcome == steering.Answered && (d.TTL != x.d.TTL || d.Pass != x.d.Pass || !slices.Equal(d.Targets[:d.N], x.d.Targets[:x.d.N]))
}

// resultText is a decision in a few words.
func (x *decided) resultText(d *steering.Decision) string {
	if d.Outcome == steering.Failed {
		return "SERVFAIL"
	}
	return fmt.Sprintf("%s, ttl %d, pass %d", strings.Join(x.names(d.Targets[:d.N]), " "), d.TTL, d.Pass)
}

// names are the ids of targets.
func (x *decided) names(ids []steering.TargetID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = x.Compiled.Targets[id].ID
	}
	return out
}

// list names some targets in a line.
func (x *decided) list(ids []steering.TargetID) string {
	text := strings.Join(x.names(ids[:min(len(ids), listedMax)]), ", ")
	if n := len(ids) - listedMax; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

// changes are what could happen: to the answer's targets, to the doubt that lowers its TTL, to pools under min_up, and to targets that
// stand before the answer and could be better; no more than are to be tried, and how many are left out. Which of them matter is for
// Decide to say.
func (x *decided) changes() (out []change, untried int) {
	for _, id := range x.d.Targets[:x.d.N] {
		down, drained := x.States.Verdict(id), x.States.Verdict(id)
		down.State, down.InDoubt, drained.Drained = steering.Down, false, true
		out = append(out, x.one(id, flipDown, down), x.one(id, flipDrained, drained))
	}
	reached := x.tr.Tiers
	if x.tr.Pass == 1 {
		reached = reached[:x.tr.Tier+1]
	}
	var doubted, better []steering.TargetID
	var starved []*Pool
	for i, tier := range reached {
		for _, g := range tier.Targets {
			v, pool := x.States.Verdict(g.ID), x.Compiled.Targets[g.ID].Pool
			if v.InDoubt && !v.Drained && (i < x.tr.Tier || g.Reason == steering.Chosen) {
				doubted = append(doubted, g.ID)
			}
			if g.First == steering.PoolStarved && !slices.Contains(starved, pool) {
				starved = append(starved, pool)
				out = append(out, x.fed(g.ID))
			}
			if _, words := improved(v); len(words) > 0 && g.First != steering.NoFamily {
				better = append(better, g.ID)
			}
		}
	}
	if len(doubted) > 0 {
		out = append(out, x.sure(doubted))
	}
	for _, id := range better {
		if len(out) >= flipTriesMax {
			untried++
			continue
		}
		up, words := improved(x.States.Verdict(id))
		out = append(out, x.one(id, " "+strings.Join(words, " and "), up))
	}
	return out, untried
}

// one is a change of one target.
func (x *decided) one(id steering.TargetID, what string, v steering.Verdict) change {
	return change{x.Compiled.Targets[id].ID + what, map[steering.TargetID]steering.Verdict{id: v}}
}

// improved is the verdict of a target that is as well as can be, and what had to happen for that. Doubt alone is no matter here.
func improved(v steering.Verdict) (up steering.Verdict, words []string) {
	if v.State == steering.Down || v.State == steering.Unknown {
		v.State, v.InDoubt = steering.Up, false
		words = append(words, "comes up")
	}
	if v.Drained {
		v.Drained = false
		words = append(words, "is undrained")
	}
	if v.Admit < steering.AdmitAll {
		v.Admit = steering.AdmitAll
		words = append(words, "takes all its traffic")
	}
	return v, words
}

// sure is the change that no target of a list is in doubt any more.
func (x *decided) sure(ids []steering.TargetID) change {
	c := change{"the doubt of " + x.list(ids) + " ends", map[steering.TargetID]steering.Verdict{}}
	for _, id := range ids {
		v := x.States.Verdict(id)
		v.InDoubt = false
		c.altered[id] = v
	}
	return c
}

// fed is the change that a pool has as many usable targets as its min_up again, of which member is one.
func (x *decided) fed(member steering.TargetID) change {
	all, hosts := x.Compiled.Targets, steering.TargetID(len(x.Compiled.Document.Targets))
	p := all[member].Pool
	need := p.MinUp.Of(len(p.Targets))
	var unusable, fixed []steering.TargetID
	usable := 0
	for i := range all {
		id := steering.TargetID(i)
		if all[id].Pool != p || (id >= hosts) != (member >= hosts) { // flattened twins count by themselves
			continue
		}
		if v := x.States.Verdict(id); v.State == steering.Down || v.Drained {
			unusable = append(unusable, id)
		} else {
			usable++
		}
	}
	c := change{altered: map[steering.TargetID]steering.Verdict{}}
	for _, id := range unusable[:min(len(unusable), max(need-usable, 0))] {
		v := x.States.Verdict(id)
		if v.State == steering.Down {
			v.State, v.InDoubt = steering.Up, false
		}
		v.Drained = false
		c.altered[id] = v
		fixed = append(fixed, id)
	}
	become := "become"
	if len(fixed) == 1 {
		become = "becomes"
	}
	c.text = fmt.Sprintf("pool %s has its min_up of %d again, as %s %s usable", p.Name, need, x.list(fixed), become)
	return c
}
