package health

import (
	"time"

	"geodns/pkg/steering"
)

// The machine
//
// One Machine stands for one checked address. It is stepped from outside: by
// each result of a probe, and by Tick when the time that Deadline names has
// come. The same events at the same times give the same states.
//
//	            first probe good                    fall failed in a row
//	unknown ---------------------> up / degraded ------------------------> down
//	   |                                ^                                   |
//	   |                                +-----------------------------------+
//	   +------- first probe failed ------------> down   rise good in a row
//
// Doubt is beside the state. It begins
//   - with a machine that has not been probed: a new one, and a restored one,
//     whose verdict is another process's;
//   - with a failed probe that contradicts the verdict. A failed probe of a
//     target that is down confirms it, and is no reason for doubt;
//   - with a verdict that no probe has confirmed for MaxAge.
//
// It ends with a probe, with a verdict, or, after a failed probe, when rise
// good probes in a row have come and an interval has passed since. That last
// end may fall between two probes: hence Tick.
//
// What is decided from more than the results of one address has its place
// here too: another kind of Event for what is observed, a field of Rules for
// what is configured, and Step for what follows. How soon an address is
// probed again is NextProbe, how much of its traffic a target takes is
// Verdict's Admit; both are constant so far.

// Rules are the thresholds that a machine is stepped by. They may change from
// one step to the next.
type Rules struct {
	Fall     int           // failed probes in a row until down, 1 or more
	Rise     int           // good probes in a row until up, 1 or more
	Interval time.Duration // between two probes
	MaxAge   time.Duration // how long a verdict stands unconfirmed
}

// EventKind says what an Event is.
type EventKind uint8

// The kinds of events.
const (
	Tick        EventKind = iota // time has passed
	ProbeGood                    // a probe ended as the check wants it
	ProbeFailed                  // a probe ended in any other way
)

// Event is what a machine is stepped by.
type Event struct {
	Kind    EventKind
	Latency time.Duration // of a probe; carried for what decides by it
}

// Doubt is why a verdict is in doubt.
type Doubt uint8

// The reasons for doubt.
const (
	NoDoubt     Doubt = iota
	NeverProbed       // not probed by this process
	Contested         // a probe failed that contradicts the verdict
	TooOld            // no probe ended for MaxAge
)

// String gives the word used by the API and logs.
func (d Doubt) String() string {
	switch d {
	case NoDoubt:
		return "none"
	case NeverProbed:
		return "never-probed"
	case Contested:
		return "contested"
	case TooOld:
		return "too-old"
	}
	return "doubt ?"
}

// Machine is the health of one checked address: a value, changed by Step
// alone. Times are monotonic, counted from any fixed moment; they may be
// negative for what was before it.
type Machine struct {
	State steering.State
	Doubt Doubt
	Since time.Duration // when State was reached, or the machine made

	Probed bool          // by this process
	Probe  time.Duration // when the last probe ended; of another process if not Probed
	Good   int           // good probes in a row
	Failed int           // failed probes in a row

	contested   bool          // a failed probe contradicts State, and the doubt has not ended
	contestedAt time.Duration // when the last such probe ended
}

// Change says what a step changed.
type Change struct {
	From, To           steering.State
	FromDoubt, ToDoubt Doubt
}

// Verdict reports whether the state changed.
func (c Change) Verdict() bool { return c.From != c.To }

// Any reports whether the state changed, or whether there is doubt.
func (c Change) Any() bool {
	return c.Verdict() || (c.FromDoubt == NoDoubt) != (c.ToDoubt == NoDoubt)
}

// NewMachine is the machine of an address of which nothing is known.
func NewMachine(now time.Duration) Machine {
	return Machine{State: steering.Unknown, Doubt: NeverProbed, Since: now}
}

// RestoreMachine is the machine of an address with a verdict of another
// process: state since then, last confirmed by a probe that ended at probe.
func RestoreMachine(state steering.State, since, probe time.Duration) Machine {
	return Machine{State: state, Doubt: NeverProbed, Since: since, Probe: probe}
}

// Step returns the machine after an event that was observed at now. Times
// never go back from one step to the next.
func (m Machine) Step(r Rules, e Event, now time.Duration) (Machine, Change) {
	change := Change{From: m.State, FromDoubt: m.Doubt}
	switch e.Kind {
	case ProbeGood:
		m = m.good(r, now)
	case ProbeFailed:
		m = m.fail(r, now)
	case Tick:
	}
	if m.contested && m.Good >= r.Rise && now-m.contestedAt >= r.Interval {
		m.contested = false
	}
	m.Doubt = m.doubt(r, now)
	change.To, change.ToDoubt = m.State, m.Doubt
	return m, change
}

// good is the step of a good probe, without its doubt.
func (m Machine) good(r Rules, now time.Duration) Machine {
	m.Probed, m.Probe = true, now
	m.Good, m.Failed = m.Good+1, 0
	if m.State == steering.Unknown || (m.State == steering.Down && m.Good >= r.Rise) {
		m = m.decide(steering.Up, now)
	}
	return m
}

// fail is the step of a failed probe, without its doubt.
func (m Machine) fail(r Rules, now time.Duration) Machine {
	m.Probed, m.Probe = true, now
	m.Good, m.Failed = 0, m.Failed+1
	switch m.State {
	case steering.Unknown:
		m = m.decide(steering.Down, now)
	case steering.Up, steering.Degraded:
		if m.Failed >= r.Fall {
			m = m.decide(steering.Down, now)
			break
		}
		m.contested, m.contestedAt = true, now
	case steering.Down: // confirmed
	}
	return m
}

// decide is a verdict: it leaves no failed probe to contest it.
func (m Machine) decide(state steering.State, now time.Duration) Machine {
	m.State, m.Since = state, now
	m.contested = false
	return m
}

// doubt gives the reason for doubt at now.
func (m Machine) doubt(r Rules, now time.Duration) Doubt {
	switch {
	case !m.Probed:
		return NeverProbed
	case m.contested:
		return Contested
	case now-m.Probe >= r.MaxAge:
		return TooOld
	}
	return NoDoubt
}

// Deadline gives the time at which a Tick changes the machine if no probe ends
// before, and false if none does.
func (m Machine) Deadline(r Rules) (time.Duration, bool) {
	switch {
	case m.contested && m.Good >= r.Rise:
		return m.contestedAt + r.Interval, true
	case m.Doubt == NoDoubt:
		return m.Probe + r.MaxAge, true
	}
	return 0, false
}

// NextProbe gives the time from the start of a probe to the start of the next.
func (m Machine) NextProbe(r Rules) time.Duration { return r.Interval }

// Verdict is the machine's part of its target's verdict.
func (m Machine) Verdict() steering.Verdict {
	return steering.Verdict{State: m.State, InDoubt: m.Doubt != NoDoubt, Admit: steering.AdmitAll}
}

// combine gives the verdict of a target from those of its addresses, one or
// more: up if all are; in doubt if any is.
func combine(verdicts []steering.Verdict) steering.Verdict {
	all := steering.Verdict{State: steering.Up, Admit: steering.AdmitAll}
	for _, v := range verdicts {
		if severity(v.State) > severity(all.State) {
			all.State = v.State
		}
		all.InDoubt = all.InDoubt || v.InDoubt
		all.Admit = min(all.Admit, v.Admit)
	}
	return all
}

// severity orders states by which of them decides for a target: one address
// that is down makes it down, else one unknown makes it unknown, and so on.
func severity(s steering.State) int {
	switch s {
	case steering.Up:
		return 0
	case steering.Degraded:
		return 1
	case steering.Unknown:
		return 2
	case steering.Down:
		return 3
	}
	return 0
}
