package health

import (
	"math"
	"time"
)

const (
	// riseMin is how many good probes in a row it takes at least until a target
	// is up again or a doubt ends, whatever the check's rise: one good probe
	// between two failed ones is no recovery, and a target that toggles at
	// every probe must not take the answers with it.
	riseMin = 2

	// staleIntervals is how many intervals a verdict stays fresh at least: with
	// an interval beyond MaxAge a verdict would otherwise be in doubt before
	// each probe, although each comes in time.
	staleIntervals = 2

	// warmSteps is in how many steps admit rises after a recovery: each is a
	// new snapshot of all states, and nobody's load jumps by more than a sixteenth.
	warmSteps = 16

	// slowSteps is how finely admit follows latency.
	slowSteps = 32

	// smoothing is the weight of a new latency: four probes make up two thirds.
	smoothing = 0.25
)

// Rules are what a machine is stepped by: the thresholds of a check, all
// defaults filled in. They may change from one step to the next.
type Rules struct {
	Fall     int           // failed probes in a row until down, 1 or more
	Rise     int           // good probes in a row until up, riseMin or more
	Interval time.Duration // between two probes
	Recheck  time.Duration // ... while a failure is in doubt
	MaxAge   time.Duration // how long a verdict stands unconfirmed
	WarmUp   time.Duration // over which admit rises after a recovery; 0: at once
	Dwell    time.Duration // a target stays down this long at least
	Latency  Latency
	Damping  Damping
	Votes    Votes
}

// rules are what the machine needs of the check. The bounds are those of a
// valid check; with an invalid one the schedule must not spin.
func (c *Check) rules(maxAge time.Duration) Rules {
	interval := max(c.Interval, IntervalMin)
	return Rules{
		Fall: max(c.Fall, 1), Rise: max(c.Rise, riseMin), Interval: interval,
		Recheck: min(max(c.Recheck, IntervalMin/recheckPart), interval),
		MaxAge:  max(maxAge, staleIntervals*interval),
		WarmUp:  c.WarmUp, Dwell: c.Dwell, Latency: c.Latency, Damping: c.Damping,
		Votes: Votes{Need: max(c.Votes.Need, 0), MaxAge: c.Votes.MaxAge},
	}
}

// rechecks gives how many probes may come early in one doubt: as many as decide
// it either way, and the one at once.
func (r *Rules) rechecks() int { return r.Fall + r.Rise + 1 }

// admit gives the part of its traffic that a target of this latency takes:
// all up to Slow, AdmitMin from Worst on, and on a line between them.
func (l Latency) admit(latency time.Duration) float64 {
	switch {
	case l.Slow <= 0 || latency <= l.Slow:
		return 1
	case latency >= l.Worst:
		return l.AdmitMin
	}
	return 1 - (1-l.AdmitMin)*float64(latency-l.Slow)/float64(l.Worst-l.Slow)
}

// decayed gives what is left of a penalty after a time. A time that is
// negative, of a clock that was set back, leaves it whole.
func (d Damping) decayed(penalty float64, after time.Duration) float64 {
	if d.HalfLife <= 0 {
		return 0
	}
	return penalty * math.Exp2(-float64(max(after, 0))/float64(d.HalfLife))
}

// reuseAfter gives the time until a penalty has decayed to below Reuse.
func (d Damping) reuseAfter(penalty float64) time.Duration {
	if penalty < d.Reuse {
		return 0
	}
	// A nanosecond more, so that it is below at that time, not at it.
	return time.Duration(math.Ceil(math.Log2(penalty/d.Reuse)*float64(d.HalfLife))) + 1
}

// need gives how many votes of m it takes to call a target down.
func (v Votes) need(m int) int {
	if v.Need == 0 {
		return m/2 + 1
	}
	return min(v.Need, m)
}
