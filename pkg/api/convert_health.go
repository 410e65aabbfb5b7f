package api

import (
	"math"
	"time"

	"geodns/pkg/health"
)

// CheckerOf gives the checker's state its document.
func CheckerOf(s *health.Stats) Checker {
	return Checker{
		InDoubt: s.InDoubt, Addresses: s.Addresses, CanariesGood: s.CanariesGood, CanariesFailed: s.CanariesFailed,
		Running: s.Running, Slots: s.Slots, Waiting: s.Waiting, Votes: s.VotesFresh, Suppressed: s.Suppressed,
	}
}

// CheckOf gives a check its document.
func CheckOf(s health.CheckStatus) Check {
	c := s.Check.WithDefaults()
	out := Check{
		Name: c.Name, Kind: c.Kind.String(), Port: c.Port, Method: c.Method, Path: c.Path, Host: c.Host,
		Interval: c.Interval.Seconds(), Timeout: c.Timeout.Seconds(), Recheck: c.Recheck.Seconds(), Fall: c.Fall, Rise: c.Rise,
		WarmUp: c.WarmUp.Seconds(), Dwell: c.Dwell.Seconds(),
		Slow: c.Latency.Slow.Seconds(), Worst: c.Latency.Worst.Seconds(), AdmitMin: c.Latency.AdmitMin,
		VotesNeed: c.Votes.Need, VotesAge: c.Votes.MaxAge.Seconds(), Targets: s.Targets, Addresses: s.Addresses,
	}
	if c.Kind == health.DNS {
		out.Query = c.Query.Name + " " + c.Query.Type
	}
	if d := c.Damping; !d.Off {
		out.Damping = Damping{On: true, HalfLife: d.HalfLife.Seconds(), Suppress: d.Suppress, Reuse: d.Reuse, Ceiling: d.Ceiling}
	}
	return out
}

// ProbeOf gives a probe that was kept its document.
func ProbeOf(p health.Probed) Probe {
	return Probe{
		At: p.At.UTC(), Address: p.Address, OK: p.OK, Latency: p.Latency.Seconds(), Reason: p.Reason, Recheck: p.Recheck, Void: p.Void,
	}
}

// TuneOf gives a replay its document.
func TuneOf(r health.TuneReport) Tune {
	out := Tune{
		Fall: r.Fall, Rise: r.Rise, Dwell: r.Dwell.Seconds(), Damped: r.Damped, Outage: r.Outage.Seconds(),
		Targets: r.Targets, Probes: r.Probes, From: r.From.UTC(), To: r.To.UTC(), Failovers: r.Failovers, False: r.False, Missed: r.Missed,
	}
	if len(r.Detect) > 0 {
		out.Detect = &Detection{P50: quantile(r.Detect, 0.5), P99: quantile(r.Detect, 0.99), Max: quantile(r.Detect, 1)}
	}
	return out
}

// quantile gives the seconds that the part q of some sorted times does not exceed: the least of them for which that is true.
func quantile(sorted []time.Duration, q float64) float64 {
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[max(rank, 1)-1].Seconds()
}

// VerdictEventOf gives a verdict its document.
func VerdictEventOf(e health.Event) VerdictEvent {
	return VerdictEvent{
		ID: e.ID, At: e.At.UTC(), Target: e.Target, From: e.From.String(), To: e.To.String(), Reason: e.Reason, Detail: e.Detail, Onset: e.Onset.UTC(),
	}
}
