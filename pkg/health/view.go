package health

import (
	"time"

	"geodns/pkg/steering"
)

// A view is what this vantage point makes of one address, by its probes alone.
//
//	            first probe good               fall failed in a row
//	unknown ---------------------> up ------------------------------> down
//	   |                            ^                                  |
//	   |                            +----------------------------------+
//	   +------- first probe failed, believed ----> down   rise good in a row
//
// The first failed probe contests the view, and begins a row. Then probes come
// sooner: the next one at once, those behind it a recheck apart. Failed probes
// of a row count only if they end half a recheck apart: so the one at once can
// tell a lost packet from a failure, but it cannot by itself make a failure of
// a service that is away for a moment.
//
// A row that is long enough calls the address down, unless the checker doubts
// itself: then the row stands, and is looked at again.
type view struct {
	state  steering.State // Unknown, Up or Down
	probed bool           // by this process
	probe  time.Duration  // when the last probe ended; of another process if not probed

	lapses     int           // failed probes since the last good one, or verdict
	badFrom    time.Duration // when the first of them ended
	good       int           // good probes in a row
	failed     int           // failed probes in a row, of an address that is not down those that count
	failedFrom time.Duration // when the first probe of the last row of failed ones ended
	counted    time.Duration // when the last probe ended that counted
	enough     bool          // the row is long enough to call the address down

	contested   bool          // a failed probe contradicts state, and the doubt has not ended
	contestedAt time.Duration // when the last such probe ended
	rechecks    int           // probes that may yet come early in this doubt
	begun       bool          // a row has begun, and no probe has come early since

	fell     bool           // by the last probe, or none since
	fellAt   time.Duration  // when it was called down
	fellFrom steering.State // what it was before

	latency time.Duration // smoothed, of good probes; 0: none yet
}

// pass is the step of a good probe.
func (v *view) pass(r *Rules, latency, now time.Duration) {
	v.probed, v.probe = true, now
	v.good, v.lapses, v.failed, v.enough, v.begun, v.fell = v.good+1, 0, 0, false, false, false
	if v.latency == 0 {
		v.latency = latency
	} else {
		v.latency += time.Duration(smoothing * float64(latency-v.latency))
	}
	if v.state == steering.Unknown || (v.state == steering.Down && v.good >= r.Rise) {
		v.decide(steering.Up)
	}
}

// fail is the step of a failed probe; what follows from the row is settle's.
func (v *view) fail(r *Rules, now time.Duration) {
	v.probed, v.probe = true, now
	if v.lapses == 0 && v.state != steering.Down {
		v.badFrom = now
	}
	v.good, v.lapses = 0, v.lapses+1
	switch {
	case v.failed == 0:
		v.failed, v.failedFrom, v.counted, v.begun = 1, now, now, true
	case v.state == steering.Down || now-v.counted >= r.Recheck/2:
		v.failed, v.counted = v.failed+1, now
	}
	if v.state == steering.Down { // confirmed
		return
	}
	if !v.contested {
		v.rechecks = r.rechecks()
	}
	v.contested, v.contestedAt = true, now
	v.enough = v.failed >= r.Fall || v.state == steering.Unknown
}

// settle ends what time and the checker's standing end: a row that is long
// enough and believed, and a doubt.
func (v *view) settle(r *Rules, s Standing, now time.Duration) {
	if v.enough && s.believes(v.failedFrom, v.state) || v.overdue(r, s, now) {
		v.fell, v.fellAt, v.fellFrom = true, now, v.state
		v.decide(steering.Down)
	}
	if at, ends := v.doubtEnds(r); ends && now >= at {
		v.contested, v.rechecks = false, 0
	}
}

// decide changes the state: it leaves no failed probe to contest it.
func (v *view) decide(state steering.State) {
	v.state = state
	v.enough, v.contested, v.rechecks, v.lapses = false, false, 0, 0
}

// forgive forgets a row of failed probes for which the checker itself is to
// blame. The doubt stays, and is looked into anew.
func (v *view) forgive(r *Rules) {
	if v.failing() {
		v.failed, v.enough, v.rechecks = 0, false, r.rechecks()
	}
}

// retract takes back that the address was called down within an interval: it
// turned out to be part of a mass failure. The row of failed probes stands.
func (v *view) retract(r *Rules, now time.Duration) bool {
	if v.state != steering.Down || !v.fell || now-v.fellAt >= r.Interval {
		return false
	}
	v.state, v.fell = v.fellFrom, false
	v.contested, v.contestedAt, v.rechecks = true, v.probe, r.rechecks()
	v.failed, v.lapses, v.enough = max(v.failed, r.Fall), max(v.failed, r.Fall), true
	return true
}

// failing reports whether the address has failed probes that it is not, or
// not yet, called down for.
func (v *view) failing() bool { return v.state != steering.Down && v.failed > 0 }

// lapsed reports whether the last probe failed of an address that is not
// called down, whatever was forgiven since.
func (v *view) lapsed() bool { return v.state != steering.Down && v.lapses > 0 }

// suspect reports whether more than one failed probe speaks against the
// address, or as many as it takes to call it down: one may be a lost packet.
func (v *view) suspect() bool { return v.state != steering.Down && (v.lapses > 1 || v.enough) }

// overdue reports whether the address has failed for so long that a mass
// failure is no reason any more not to believe it, whatever was forgiven
// since.
func (v *view) overdue(r *Rules, s Standing, now time.Duration) bool {
	enough := v.lapses >= r.Fall || v.state == steering.Unknown
	return s.Doubt == MassFailure && v.lapsed() && enough && now-v.badFrom >= massHold
}

// recheck says whether the next probe is to come early, and how long after the
// end of the last one. Each call takes one of those that may.
func (v *view) recheck(r *Rules) (after time.Duration, early bool) {
	if !v.contested || v.rechecks == 0 {
		return 0, false
	}
	v.rechecks--
	if v.begun {
		v.begun = false
		return 0, true
	}
	return r.Recheck, true
}

// doubtEnds gives the time at which a doubt ends if no probe ends before.
func (v *view) doubtEnds(r *Rules) (time.Duration, bool) {
	return v.contestedAt + r.Interval, v.contested && v.failed == 0 && v.good >= r.Rise
}
