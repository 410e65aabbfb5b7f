package health

import (
	"cmp"
	"slices"
	"time"

	"geodns/pkg/steering"
)

// Status is what is known of one target.
type Status struct {
	Target    string // its id
	Check     string // the name of its check
	Kind      Kind
	Verdict   steering.Verdict
	Doubt     Doubt
	Hold      Hold          // why it is down although the votes call it up
	HoldEnds  time.Duration // from now, if nothing fails until then; 0 without a hold
	Since     time.Time     // when the state was reached, or the target came to be known
	Decision  string        // id of the verdict that the state is of; empty if there has been none
	Reason    Reason        // of that verdict
	Detail    string        // what it came of
	Penalty   float64       // of flapping, decayed to now
	Need      int           // votes that it takes to call the target down, of those that count
	Votes     []VoteStatus  // pushed ones, by PoP
	Addresses []AddressStatus
}

// VoteStatus is the last vote of a vantage point.
type VoteStatus struct {
	Vote       // Age is that at now
	Fresh bool // it counts
}

// AddressStatus is what is known of one address.
type AddressStatus struct {
	Address string         // or the host name that is probed
	State   steering.State // by the probes of this node alone
	Doubt   Doubt
	Probe   time.Time     // when the last probe ended, that of an earlier run included; zero: never probed
	OK      bool          // how it ended
	Reason  string        // why
	Latency time.Duration // of the last probe of this run; 0: none yet
	Smooth  time.Duration // latency of the good probes of this run, smoothed; 0: none yet
	Good    int           // good probes in a row, in this run
	Failed  int           // failed probes in a row, in this run; before a verdict down those that count
	Expires time.Time     // end of the certificate that was shown; zero: none was
	Warning string        // of the last probe
}

// Snapshot gives the status of all targets, by id.
func (c *Checker) Snapshot() []Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, now := time.Now(), c.now()
	all := make([]Status, 0, len(c.order))
	for _, t := range c.order {
		all = append(all, t.status(wall, now))
	}
	return all
}

// Status gives the status of one target. False: Update was given no such
// target, or one without a check.
func (c *Checker) Status(targetID string) (Status, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.targets[targetID]
	if t == nil {
		return Status{}, false
	}
	return t.status(time.Now(), c.now()), true
}

// status gives the target's status at a time, by both clocks.
func (t *target) status(wall time.Time, now time.Duration) Status {
	m := t.machine
	s := Status{
		Target: t.id, Check: t.check.Name, Kind: t.check.Kind, Verdict: m.Verdict(), Doubt: m.doubt, Hold: m.hold,
		Since: wall.Add(m.since - now).Round(0), Decision: t.decision, Reason: m.reason, Detail: t.detail,
		Penalty: m.rules.Damping.decayed(m.penalty, now-m.penaltyAt), Need: m.counted.need,
	}
	if at, ok := m.holdEnds(); ok {
		s.HoldEnds = max(at-now, 0)
	}
	for i := range m.votes {
		b := &m.votes[i]
		v := VoteStatus{Vote: b.Vote, Fresh: b.fresh(&m.rules, now)}
		v.Age = now - b.observed
		s.Votes = append(s.Votes, v)
	}
	slices.SortFunc(s.Votes, func(a, b VoteStatus) int { return cmp.Compare(a.PoP, b.PoP) })
	for i, subject := range t.subjects {
		v := &m.views[i]
		a := AddressStatus{
			Address: subject.dest.name(), State: v.state, Doubt: v.doubt(&m.rules, now), OK: subject.last.OK,
			Reason: subject.last.Reason, Latency: subject.last.Latency, Smooth: v.latency, Good: v.good, Failed: v.failed,
			Expires: subject.last.Expires, Warning: subject.last.Warning,
		}
		if v.probed || v.state != steering.Unknown {
			a.Probe = wall.Add(v.probe - now).Round(0)
		}
		s.Addresses = append(s.Addresses, a)
	}
	return s
}

// doubt gives why this node's view of the address is in doubt at now.
func (v *view) doubt(r *Rules, now time.Duration) Doubt {
	switch {
	case !v.probed:
		return NeverProbed
	case v.contested:
		return Contested
	case now-v.probe >= r.MaxAge:
		return TooOld
	}
	return NoDoubt
}

// CheckStatus is a check with what it is used for.
type CheckStatus struct {
	Check     Check // with defaults
	Targets   int
	Addresses int
}

// Checks gives the checks of all targets, by name. A check that some targets
// have in a form of their own is there as the first target has it.
func (c *Checker) Checks() []CheckStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	byName := map[string]*CheckStatus{}
	for _, t := range c.order {
		s := byName[t.check.Name]
		if s == nil {
			s = &CheckStatus{Check: t.check}
			byName[t.check.Name] = s
		}
		s.Targets++
		s.Addresses += len(t.subjects)
	}
	all := make([]CheckStatus, 0, len(byName))
	for _, s := range byName {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b CheckStatus) int { return cmp.Compare(a.Check.Name, b.Check.Name) })
	return all
}
