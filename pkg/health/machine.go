package health

import (
	"time"

	"geodns/pkg/steering"
)

// The machine
//
// One Machine stands for one checked target. It is stepped from outside: by
// each probe of one of its addresses, by each vote that another vantage point
// pushes, and by time when Deadline comes. The same events at the same times
// give the same states. What it decides goes through four stages:
//
//	probes of an address -> view       fall, rise, recheck, first probe decides
//	views -> this node's vote          an address that is down makes the target down
//	votes -> what they call for        N of those that are fresh; void ones do not count
//	         -> verdict                held down while it dwells or is suppressed
//
// and beside the verdict stand its doubt, which lowers the TTL of answers, and
// admit, the part of its traffic that the target takes: less while it is slow,
// and while it warms up after a recovery.
//
// Only going up is ever held back. A target that the votes call down is down
// at once.

// Doubt is why a verdict is in doubt.
type Doubt uint8

// The reasons for doubt.
const (
	NoDoubt     Doubt = iota
	NeverProbed       // not probed by this process
	Contested         // a failed probe or vote contradicts the verdict, and more like it would change it
	TooOld            // no probe ended and no vote came for MaxAge
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

// Hold is why a target is down although the votes call it up.
type Hold uint8

// The reasons to hold a target down.
const (
	NoHold     Hold = iota
	Dwelling        // it has not been down for the check's dwell
	Suppressed      // it flapped, and its penalty has not decayed
)

// String gives the word used by the API; "" for none.
func (h Hold) String() string {
	switch h {
	case Dwelling:
		return "dwelling"
	case Suppressed:
		return "suppressed"
	case NoHold:
	}
	return ""
}

// Reason is what a verdict came of.
type Reason uint8

// The reasons of verdicts. They are labels of a metric: new ones go to the end.
const (
	NoReason   Reason = iota
	FirstProbe        // nothing was known, and the first probe decides
	Fall              // fall failed probes in a row
	Rise              // rise good probes in a row
	ByVotes           // the votes of several vantage points, one of which changed
	Reused            // the penalty of a flapping target has decayed
	Dwelt             // it was down for the check's dwell
	Slow              // its latency is beyond what the check has for all of its traffic
	Fast              // ... and is not any more
	Renewed           // it has an address of which nothing is known
	Retracted         // it was called down for what turned out to be a mass failure
	reasonsEnd        // one more than the last
)

// String gives the word used by metrics, logs and the API.
func (r Reason) String() string {
	words := [reasonsEnd]string{"", "first-probe", "fall", "rise", "votes", "reused", "dwelt", "slow", "fast", "renewed", "retracted"}
	if r < reasonsEnd {
		return words[r]
	}
	return "reason ?"
}

// Machine is the health of one checked target, changed by its Fleet alone.
// Times are monotonic, counted from any fixed moment; they may be negative for
// what was before it.
type Machine struct {
	ID string // of the target

	rules Rules
	views []view
	nets  []string // of each view: what fails together
	votes []ballot // pushed, one of each PoP

	state  steering.State
	since  time.Duration  // when state was reached, or the machine made
	called steering.State // what the votes called for last; Unknown: nothing yet
	doubt  Doubt
	hold   Hold
	admit  uint16
	part   float64 // of its traffic, as the votes had it last

	slow       int // of slowSteps: how much of admit latency takes away
	warm       bool
	warmFrom   time.Duration // when it recovered
	penalty    float64       // at penaltyAt
	penaltyAt  time.Duration
	suppressed bool
	counted    tally          // the votes when the machine was settled last
	alone      bool           // this node's was the only one, then and before
	suspect    bool           // when it was looked at last
	reason     Reason         // of state
	before     steering.State // the one before a verdict down
}

// Verdict is what is decided of the target.
func (m *Machine) Verdict() steering.Verdict {
	return steering.Verdict{State: m.state, InDoubt: m.doubt != NoDoubt, Admit: m.admit}
}

// Change says what a step changed.
type Change struct {
	From, To           steering.State
	FromDoubt, ToDoubt Doubt
	FromAdmit, ToAdmit uint16
	Reason             Reason
	Onset              time.Duration // when the first of the failed probes, or the votes, behind a verdict down came
	HasOnset           bool
}

// Verdict reports whether the state changed.
func (c *Change) Verdict() bool { return c.From != c.To }

// Any reports whether anything changed that answers depend on.
func (c *Change) Any() bool {
	return c.Verdict() || c.FromAdmit != c.ToAdmit || (c.FromDoubt == NoDoubt) != (c.ToDoubt == NoDoubt)
}

// NewMachine is the machine of a target of which nothing is known, with so
// many addresses; nets names for each what is likely to fail together with it.
func NewMachine(id string, r Rules, nets []string, now time.Duration) *Machine {
	m := &Machine{
		ID: id, rules: r, nets: nets, views: make([]view, len(nets)), state: steering.Unknown, since: now,
		doubt: NeverProbed, admit: steering.AdmitAll, part: 1,
	}
	return m
}

// networkOf names what an address is likely to fail together with: its /24 or
// /48. A host name is alone.
func networkOf(dest destination) string {
	if !dest.addr.IsValid() {
		return dest.host
	}
	bits := 24
	if dest.addr.Is6() {
		bits = 48
	}
	prefix, err := dest.addr.WithZone("").Prefix(bits)
	if err != nil {
		return dest.name() // cannot be: both lengths fit
	}
	return prefix.String()
}

// settle decides anew from what is known at now, and says what changed.
func (m *Machine) settle(s Standing, now time.Duration) Change {
	change := m.change()
	for i := range m.views {
		m.views[i].settle(&m.rules, s, now)
	}
	m.slow = m.slowness()
	before := m.counted.votes
	m.counted = m.tally(s, now, false)
	m.alone = before <= 1 && m.counted.votes <= 1 && m.counted.own
	m.verdict(&m.counted, now)
	m.admit = m.admitted(now)
	m.doubt = m.doubted(s, now)
	change.To, change.ToDoubt, change.ToAdmit = m.state, m.doubt, m.admit
	if change.Verdict() {
		change.Reason = m.reason
		if m.state == steering.Down {
			change.Onset, change.HasOnset = m.onset(now)
		}
	}
	return change
}

// change begins a change at what is now.
func (m *Machine) change() Change {
	return Change{From: m.state, FromDoubt: m.doubt, FromAdmit: m.admit}
}

// opinion is the state of all addresses together: one that is down makes the
// target down, else one that is unknown makes it unknown.
func (m *Machine) opinion() steering.State {
	state := steering.Up
	for i := range m.views {
		switch m.views[i].state {
		case steering.Down:
			return steering.Down
		case steering.Unknown:
			state = steering.Unknown
		default:
		}
	}
	return state
}

// tally counts the votes that are fresh, this node's among them unless it has
// none, or only failed probes that it does not believe. With worse, this
// node's vote is taken as down.
func (m *Machine) tally(s Standing, now time.Duration, worse bool) tally {
	var room [VantagesMax + 1]float64
	parts := room[:0]
	for i := range m.votes {
		if b := &m.votes[i]; b.fresh(&m.rules, now) {
			part := float64(b.Admit) / steering.AdmitAll
			if b.State == steering.Down {
				part = callsDown
			}
			parts = append(parts, part)
		}
	}
	own, last := m.opinion(), m.lastProbe()
	void := m.void(own, s)
	counts := own != steering.Unknown && !void && last != never && now-last < m.rules.MaxAge
	switch {
	case worse, counts && own == steering.Down:
		parts = append(parts, callsDown)
	case counts:
		parts = append(parts, 1-float64(m.slow)/slowSteps)
	}
	t := m.rules.Votes.count(parts)
	t.own, t.void = counts, void
	return t
}

// void reports whether this node's vote does not count, for it rests on failed
// probes that the node does not believe. What it called down before the doubt
// began it believed, and a mass failure takes nothing of that back; without
// its canaries it cannot know whether that is still so.
func (m *Machine) void(own steering.State, s Standing) bool {
	switch s.Doubt {
	case CanariesFail:
		return own == steering.Down || m.lapsed()
	case MassFailure:
		return !s.Canaries && m.lapsed()
	case Confident, selfDoubtsEnd:
	}
	return false
}

// lapsed reports whether the last probe of some address failed that is not
// called down.
func (m *Machine) lapsed() bool {
	for i := range m.views {
		if m.views[i].lapsed() {
			return true
		}
	}
	return false
}

// verdict takes the votes' call over, unless something holds the target down.
func (m *Machine) verdict(t *tally, now time.Duration) {
	called, any := t.state()
	if !any {
		// The last verdict stands, but for a target that has an address of
		// which nothing is known: it may be anything but down.
		if m.state != steering.Down && m.opinion() == steering.Unknown {
			m.become(steering.Unknown, Renewed, now)
		}
		return
	}
	m.punish(called, now)
	m.called = called
	m.part = 1
	if called != steering.Down {
		m.part = t.admit
	}
	switch {
	case called == steering.Down:
		m.hold = NoHold
		m.warm = false
		if m.state != steering.Down {
			m.become(steering.Down, m.why(Fall), now)
		}
	case m.state == steering.Down:
		was := m.hold
		if m.hold = m.held(now); m.hold != NoHold {
			return
		}
		reason := m.why(Rise)
		switch was {
		case Suppressed:
			reason = Reused
		case Dwelling:
			reason = Dwelt
		case NoHold:
		}
		m.warm, m.warmFrom = m.rules.WarmUp > 0, now
		m.become(m.wellState(t), reason, now)
	default:
		m.hold = NoHold
		m.well(t, now)
	}
}

// well is the part of verdict for a target that is not down and called up.
func (m *Machine) well(t *tally, now time.Duration) {
	to := m.wellState(t)
	switch {
	case m.state == steering.Unknown:
		m.become(to, m.why(FirstProbe), now)
	case m.state != to && to == steering.Degraded:
		m.become(to, Slow, now)
	case m.state != to:
		m.become(to, Fast, now)
	}
}

// wellState is up, or degraded where the votes would have it take less than all.
func (m *Machine) wellState(t *tally) steering.State {
	if t.admit < 1 {
		return steering.Degraded
	}
	return steering.Up
}

// why gives the reason of a verdict that votes call for: of this node's own if
// it is, and was, the only one.
func (m *Machine) why(own Reason) Reason {
	switch {
	case !m.alone:
		return ByVotes
	case m.state == steering.Unknown:
		return FirstProbe
	}
	return own
}

// become changes the state.
func (m *Machine) become(state steering.State, reason Reason, now time.Duration) {
	if m.state == state {
		return
	}
	if state == steering.Down {
		m.before = m.state
	}
	m.state, m.since, m.reason = state, now, reason
}

// retract takes a verdict down back that this node alone came to within an
// interval, with what it added to the penalty. False: there is none.
func (m *Machine) retract(now time.Duration) bool {
	took := false
	for i := range m.views {
		took = m.views[i].retract(&m.rules, now) || took
	}
	if !took || m.state != steering.Down || (m.reason != Fall && m.reason != FirstProbe) || m.opinion() == steering.Down {
		return false
	}
	if m.before != steering.Unknown && !m.rules.Damping.Off {
		m.penalty = max(0, m.penalty-m.rules.Damping.decayed(1, now-m.penaltyAt))
		m.suppressed = m.suppressed && m.penalty >= m.rules.Damping.Suppress
	}
	m.called = m.before
	m.become(m.before, Retracted, now)
	return true
}

// punish adds to the penalty of a target that is called down after it was
// called up, and ends a suppression whose penalty has decayed.
func (m *Machine) punish(called steering.State, now time.Duration) {
	d := &m.rules.Damping
	if d.Off {
		m.penalty, m.suppressed = 0, false
		return
	}
	if called == steering.Down && m.called == steering.Up {
		m.penalty = min(d.decayed(m.penalty, now-m.penaltyAt)+1, d.Ceiling)
		m.penaltyAt = now
		m.suppressed = m.suppressed || m.penalty >= d.Suppress
	}
	if m.suppressed && d.decayed(m.penalty, now-m.penaltyAt) < d.Reuse {
		m.suppressed = false
	}
}

// held says what holds a target down that the votes call up.
func (m *Machine) held(now time.Duration) Hold {
	switch {
	case m.suppressed:
		return Suppressed
	case now-m.since < m.rules.Dwell:
		return Dwelling
	}
	return NoHold
}

// slowness gives how many of slowSteps latency takes away from admit. It moves
// only by three quarters of a step or more, so that it does not flutter.
func (m *Machine) slowness() int {
	exact := 0.0
	for i := range m.views {
		exact = max(exact, (1-m.rules.Latency.admit(m.views[i].latency))*slowSteps)
	}
	if diff := exact - float64(m.slow); diff < 0.75 && diff > -0.75 && exact > 0 {
		return m.slow
	}
	return int(exact + 0.5)
}

// admitted gives admit: the part that the votes would have, or would have had
// when they said something last, and no more than the warm-up has come to.
func (m *Machine) admitted(now time.Duration) uint16 {
	m.warm = m.warm && now-m.warmFrom < m.rules.WarmUp
	part := m.part
	if m.state == steering.Unknown {
		part = 1
	}
	if m.warm {
		step := (now - m.warmFrom) * warmSteps / m.rules.WarmUp
		part = min(part, float64(step+1)/warmSteps)
	}
	return uint16(part*steering.AdmitAll + 0.5)
}

// doubted gives the reason for doubt at now.
func (m *Machine) doubted(s Standing, now time.Duration) Doubt {
	votes := false
	for i := range m.votes {
		votes = votes || m.votes[i].fresh(&m.rules, now)
	}
	unprobed, contested := false, false
	last := m.lastProbe()
	for i := range m.views {
		unprobed = unprobed || !m.views[i].probed
		contested = contested || m.views[i].contested
	}
	if contested && m.state != steering.Down {
		// As long as the others' votes outweigh this node's, its doubts change nothing.
		if t := m.tally(s, now, true); t.down >= t.need {
			return Contested
		}
	}
	switch {
	case votes:
		return NoDoubt
	case unprobed:
		return NeverProbed
	case now-last >= m.rules.MaxAge:
		return TooOld
	}
	return NoDoubt
}

// ill reports whether the last probe of some address failed, or it is down.
func (m *Machine) ill() bool { return m.lapsed() || m.opinion() == steering.Down }

// failing reports whether some address fails that is not, or not yet, down.
func (m *Machine) failing() bool {
	for i := range m.views {
		if m.views[i].failing() {
			return true
		}
	}
	return false
}

// suspects gives what fails together with each address that is suspect.
func (m *Machine) suspects() (networks []string) {
	for i := range m.views {
		if m.views[i].suspect() {
			networks = append(networks, m.nets[i])
		}
	}
	return networks
}

// lastProbe gives when that address was probed last whose last probe by this
// process is the oldest; never without one.
func (m *Machine) lastProbe() time.Duration {
	last := never
	for i := range m.views {
		if v := &m.views[i]; v.probed {
			last = min(last, v.probe)
		}
	}
	return last
}

// onset gives when what led to a verdict down began.
func (m *Machine) onset(now time.Duration) (at time.Duration, ok bool) {
	at = never
	for i := range m.views {
		if v := &m.views[i]; v.failed > 0 {
			at = min(at, v.failedFrom)
		}
	}
	if at != never {
		return at, true
	}
	for i := range m.votes {
		if b := &m.votes[i]; b.State == steering.Down && b.fresh(&m.rules, now) {
			at = min(at, b.observed)
		}
	}
	if at == never {
		return 0, false
	}
	return at, true
}

// Deadline gives the next time at which the machine changes if nothing is
// heard before, and false if there is none. Never before now.
func (m *Machine) Deadline(now time.Duration) (time.Duration, bool) {
	next := never
	at := func(t time.Duration) {
		if t > now {
			next = min(next, t)
		}
	}
	for i := range m.views {
		v := &m.views[i]
		if t, ok := v.doubtEnds(&m.rules); ok {
			at(t)
		}
		if v.lapsed() {
			at(v.badFrom + massHold)
		}
	}
	for i := range m.votes {
		at(m.votes[i].observed + m.rules.Votes.MaxAge)
	}
	if last := m.lastProbe(); last != never {
		at(last + m.rules.MaxAge)
	}
	if t, ok := m.holdEnds(); ok {
		at(t)
	}
	if m.warm && m.rules.WarmUp > 0 {
		step := int64((now - m.warmFrom) * warmSteps / m.rules.WarmUp)
		// The first moment that belongs to the next step.
		at(m.warmFrom + time.Duration(((step+1)*int64(m.rules.WarmUp)+warmSteps-1)/warmSteps))
	}
	return next, next != never
}

// holdEnds gives when what holds the target down lets it go.
func (m *Machine) holdEnds() (time.Duration, bool) {
	switch m.hold {
	case Suppressed:
		return m.penaltyAt + m.rules.Damping.reuseAfter(m.penalty), true
	case Dwelling:
		return m.since + m.rules.Dwell, true
	case NoHold:
	}
	return 0, false
}
