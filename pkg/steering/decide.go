package steering

// Query is one question to a policy.
type Query struct {
	Policy PolicyID
	Type   Type
	Client Client
	ECS    bool   // the answer carries a scope (RFC 7871); without, Scope is 0
	TTL    uint32 // the STEER record's TTL, seconds
	Random uint64 // the key of weighted draws
}

// Outcome says whether there are targets to answer with.
type Outcome uint8

// Without a target to answer with the outcome is Failed: SERVFAIL.
const (
	Answered Outcome = iota
	Failed
)

// Decision is what Decide found. Targets[:N] are in canonical order, so equal sets are equal answers.
type Decision struct {
	Targets [AnswersMax]TargetID
	N       int
	TTL     uint32 // seconds
	Scope   uint8  // SCOPE PREFIX-LENGTH; 0 without ECS
	Pass    uint8  // 1 usable and admitted, 2 admit and min_up ignored, 3 all_down
	Outcome Outcome

	draw draw // what Decide draws with: here, so that no query has to clear it
}

// The passes over a plan (design: section 5.6).
const (
	passAdmitted = 1
	passUsable   = 2
	passAllDown  = 3
)

// decision is the state of one Decide call; it lives on the stack.
type decision struct {
	t    *Table
	s    *States
	p    *policy
	q    *Query
	key  uint64 // of all draws
	plan []uint16
	tr   *Trace
}

// Decide answers one query from a table and its states: design section 5, steps 2 and 5 to 11. It fills d whole; with a
// trace it also records what it saw on the way. s must be of t, q.Policy one of its policies, and q.Type one that the
// policy offers: whoever publishes a world checks that once.
func Decide(t *Table, s *States, q *Query, d *Decision, tr *Trace) {
	p := &t.policies[q.Policy]
	l := &t.layouts[p.layout]
	cell, at, scope, long := t.place(l, q.Client)
	var r decision // field by field: a literal is built aside and then copied in wider steps than it was written, which stalls
	r.t, r.s, r.p, r.q, r.plan, r.tr, r.key = t, s, p, q, l.plans[at:], tr, q.Random
	if p.pick == PickHash {
		r.key = q.Client.network()
	}
	d.N, d.Outcome = 0, Answered
	if q.ECS {
		d.Scope = r.scope(l, scope, long)
	} else {
		d.Scope = 0
	}
	if tr != nil {
		tr.begin(&r, cell, scope, long)
	}
	switch {
	case r.pass(passAdmitted, d):
	case r.pass(passUsable, d):
	case r.allDown(d):
	default:
		d.N, d.TTL, d.Outcome = 0, 0, Failed
	}
}

// scope is the answer's scope (design: section 5.11).
func (r *decision) scope(l *layout, published uint8, long int32) uint8 {
	v4 := r.q.Client.V4
	scope := published
	switch {
	case long != noLong:
		return max(scope, r.hashScope())
	case r.t.geoLost && l.byClient:
		if v4 {
			return min(r.q.Client.Bits, CellBitsMax4)
		}
		return min(r.q.Client.Bits, CellBitsMax6)
	case !l.byClient:
		scope = 0
	}
	return max(scope, r.hashScope())
}

// hashScope is the least scope that `pick: hash` allows.
func (r *decision) hashScope() uint8 {
	switch {
	case r.p.pick != PickHash:
		return 0
	case r.q.Client.V4:
		return HashBits4
	}
	return HashBits6
}

// pass tries the tiers in order with usable targets; true if it found an answer. Whether admit and min_up count is what
// makes the first pass differ from the second.
func (r *decision) pass(pass uint8, d *Decision) bool {
	doubt := false // of a target in a tier before
	for i, rest := 0, r.plan[1:]; i < int(r.plan[0]); i++ {
		tier := rest[1 : 1+rest[0]]
		rest = rest[1+rest[0]:]
		if n := r.drawTier(pass, i, tier, d); n > 0 {
			r.finish(pass, i, n, d, doubt)
			return true
		}
		doubt = doubt || r.doubted(tier)
	}
	return false
}

// drawTier draws from the candidates of one tier and says how many were drawn. A tier of one target needs no draw.
func (r *decision) drawTier(pass uint8, i int, tier []uint16, d *Decision) int {
	if len(tier) > 1 {
		return r.drawMany(pass, i, tier, d)
	}
	id := r.t.entries[r.p.entry+uint32(tier[0])]
	reason := r.judge(pass, id)
	if r.tr != nil {
		r.tr.saw(pass, i, id, reason)
	}
	if reason != candidateKnown && reason != candidateUnknown {
		return 0
	}
	d.Targets[0] = id
	return 1
}

// drawMany is drawTier for tiers of several targets: unknown ones are drawn only where there are no others.
func (r *decision) drawMany(pass uint8, i int, tier []uint16, d *Decision) int {
	w, known := &d.draw, false
	w.clear()
	for _, e := range tier {
		id := r.t.entries[r.p.entry+uint32(e)]
		reason := r.judge(pass, id)
		if r.tr != nil {
			r.tr.saw(pass, i, id, reason)
		}
		switch {
		case reason == candidateKnown && !known:
			w.clear()
			known = true
		case reason != candidateKnown && (reason != candidateUnknown || known):
			continue
		}
		w.add(r, id)
	}
	return w.finish(r, d)
}

// judge says whether a target may answer in a pass.
func (r *decision) judge(pass uint8, id TargetID) Reason {
	w := r.s.words[id]
	switch {
	case r.p.separate && !r.t.targets[id].exists(r.q.Type):
		return NoFamily
	case w&wordDrained != 0:
		return Drained
	case pass == passAllDown:
		return candidateKnown
	case State(w&wordState) == Down:
		return IsDown
	case pass == passAdmitted && w&wordStarved != 0:
		return PoolStarved
	case pass == passAdmitted && !admitted(uint16(w>>wordAdmit), r.p.lane, r.t.targets[id].lane, r.key):
		return NotAdmitted
	case State(w&wordState) == Unknown:
		return candidateUnknown
	}
	return candidateKnown
}

// doubted says whether a tier that was passed over holds a target in doubt that exists for this question.
func (r *decision) doubted(tier []uint16) bool {
	for _, e := range tier {
		id := r.t.entries[r.p.entry+uint32(e)]
		if w := r.s.words[id]; w&(wordDoubt|wordDrained) == wordDoubt && (!r.p.separate || r.t.targets[id].exists(r.q.Type)) {
			return true
		}
	}
	return false
}

// finish completes the answer of n drawn targets: canonical order, and the TTL (design: section 5.10).
func (r *decision) finish(pass uint8, tier, n int, d *Decision, doubtBefore bool) {
	d.N, d.Pass = n, pass
	doubt := doubtBefore
	for i := range n {
		id := d.Targets[i]
		doubt = doubt || r.s.words[id]&wordDoubt != 0
		j := i
		for ; j > 0 && d.Targets[j-1] > id; j-- {
			d.Targets[j] = d.Targets[j-1]
		}
		d.Targets[j] = id
	}
	if doubt || pass == passAllDown {
		d.TTL = min(r.q.TTL, r.p.ttlMin)
	} else {
		d.TTL = min(r.q.TTL, r.p.ttlMax)
	}
	if r.tr != nil {
		r.tr.chose(pass, tier, doubtBefore, d)
	}
}

// allDown is the third pass: the first tier with undrained targets answers. Those are all of one pool, the plan's first
// that has any, except in a last tier that holds the rest of a long plan.
func (r *decision) allDown(d *Decision) bool {
	if r.p.allDown == ServFail {
		return false
	}
	for i, rest := 0, r.plan[1:]; i < int(r.plan[0]); i++ {
		tier := rest[1 : 1+rest[0]]
		rest = rest[1+rest[0]:]
		if n := r.drawAllDown(i, tier, d); n > 0 {
			r.finish(passAllDown, i, n, d, false)
			return true
		}
	}
	return false
}

// drawAllDown draws from one tier's undrained targets, or for serve-first takes its first.
func (r *decision) drawAllDown(i int, tier []uint16, d *Decision) int {
	all, pool := &d.draw, uint32(0)
	all.clear()
	for _, e := range tier {
		id := r.t.entries[r.p.entry+uint32(e)]
		reason := r.judge(passAllDown, id)
		if r.tr != nil {
			r.tr.saw(passAllDown, i, id, reason)
		}
		if reason != candidateKnown {
			continue
		}
		if r.p.allDown == ServeFirst {
			d.Targets[0] = id
			return 1
		}
		if all.n == 0 {
			pool = r.t.targets[id].pool
		}
		if r.t.targets[id].pool == pool {
			all.add(r, id)
		}
	}
	return all.finish(r, d)
}
