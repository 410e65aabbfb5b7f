package health

import (
	"cmp"
	"slices"
	"time"

	"geodns/pkg/steering"
)

const (
	// checksMeasured bounds the checks with histograms of their own, since the
	// start: each is 30 series at a scrape. Those beyond share one.
	checksMeasured = 64

	// otherChecks is the name that these have.
	otherChecks = "other"
)

// Stats are the Checker's counts.
type Stats struct {
	Targets   int // checked targets
	Addresses int // of these, each probed by itself
	Running   int // probes under way
	Waiting   int // probes that are due, but wait for one of the slots
	Slots     int // probes that may be under way at once

	InDoubt        string // why this node does not believe its failed probes: "canaries", "mass"; empty: it does
	CanariesGood   int
	CanariesFailed int      // their last probe failed, or there was none
	Suppressed     int      // targets held down because they flapped
	VotesFresh     int      // pushed votes that count
	Expiries       []Expiry // of certificates, the earliest of each check

	// Since New.

	Probes         []KindStats // one for each kind
	Discarded      uint64      // results that came after their target was removed
	Verdicts       uint64      // changes of a target's state
	VerdictCounts  []VerdictCount
	Votes          VoteCounts
	Rechecks       uint64 // probes that came early
	RechecksDenied uint64 // ... that did not, for there were too many
	Doubts         uint64 // how often the checker began to doubt itself
	Saves          uint64 // of the state file
	SaveErrors     uint64
	ProbeSeconds   []ProbeSeconds // by check
	Lateness       Histogram      // of the starts of regular probes
	Detect         Histogram      // from the first failed probe, or vote, to the verdict down
	Publish        Histogram      // from a verdict to the answers that follow it
}

// KindStats are the counts of the probes of one kind.
type KindStats struct {
	Kind         Kind
	Good, Failed uint64
}

// VerdictCount counts the changes to a state for a reason.
type VerdictCount struct {
	To     steering.State
	Reason string
	N      uint64
}

// VoteCounts count pushed votes.
type VoteCounts struct{ Accepted, Stale, Refused uint64 }

// ProbeSeconds is how long the probes of a check took.
type ProbeSeconds struct {
	Check        string
	Good, Failed Histogram
}

// Expiry is the earliest end of a certificate that the targets of a check have.
type Expiry struct {
	Check string
	At    time.Time
}

// measured is what the Checker counts; guarded by Checker.mu.
type measured struct {
	Stats // those since New that are no list

	kinds    [kindEnd]KindStats
	verdicts [steering.Down + 1][reasonsEnd]uint64
	probes   map[string]*ProbeSeconds
}

// newMeasured makes empty counts.
func newMeasured() measured {
	m := measured{probes: map[string]*ProbeSeconds{}}
	m.Lateness, m.Detect, m.Publish = newHistogram(latenessBounds()), newHistogram(detectBounds()), newHistogram(publishBounds())
	return m
}

// probe counts a probe.
func (m *measured) probe(check *Check, result *Result) {
	p := m.probes[check.Name]
	if p == nil {
		name := check.Name
		if len(m.probes) >= checksMeasured {
			name = otherChecks
		}
		if p = m.probes[name]; p == nil {
			p = &ProbeSeconds{Check: name, Good: newHistogram(probeBounds()), Failed: newHistogram(probeBounds())}
			m.probes[name] = p
		}
	}
	kind := &m.kinds[int(check.Kind)%kindEnd]
	if result.OK {
		kind.Good++
		p.Good.observe(result.Latency, "", time.Time{})
	} else {
		kind.Failed++
		p.Failed.observe(result.Latency, "", time.Time{})
	}
}

// Stats gives the counts.
func (c *Checker) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	stats := c.counts.Stats
	stats.Targets, stats.Running, stats.Slots = len(c.order), c.running, c.slots
	stats.Lateness, stats.Detect, stats.Publish = stats.Lateness.clone(), stats.Detect.clone(), stats.Publish.clone()
	stats.InDoubt = c.fleet.Doubt().String()
	for kind := int(HTTP); kind < kindEnd; kind++ {
		counts := c.counts.kinds[kind]
		counts.Kind = Kind(kind)
		stats.Probes = append(stats.Probes, counts)
	}
	for to := range c.counts.verdicts {
		for reason, n := range c.counts.verdicts[to] {
			if n > 0 {
				stats.VerdictCounts = append(stats.VerdictCounts, VerdictCount{steering.State(to), Reason(reason).String(), n})
			}
		}
	}
	for _, p := range c.counts.probes {
		stats.ProbeSeconds = append(stats.ProbeSeconds, ProbeSeconds{p.Check, p.Good.clone(), p.Failed.clone()})
	}
	slices.SortFunc(stats.ProbeSeconds, func(a, b ProbeSeconds) int { return cmp.Compare(a.Check, b.Check) })
	for _, s := range c.waiting {
		if !s.removed {
			stats.Waiting++
		}
	}
	for _, s := range c.canaries {
		if s.last.OK {
			stats.CanariesGood++
		} else {
			stats.CanariesFailed++
		}
	}
	c.countTargets(&stats)
	return stats
}

// countTargets fills in what is counted over all targets.
func (c *Checker) countTargets(stats *Stats) {
	now := c.now()
	ends := map[string]time.Time{}
	for _, t := range c.order {
		stats.Addresses += len(t.subjects)
		if t.machine.Suppressed() {
			stats.Suppressed++
		}
		for i := range t.machine.votes {
			if t.machine.votes[i].fresh(&t.machine.rules, now) {
				stats.VotesFresh++
			}
		}
		for _, s := range t.subjects {
			if at := s.last.Expires; !at.IsZero() && (ends[t.check.Name].IsZero() || at.Before(ends[t.check.Name])) {
				ends[t.check.Name] = at
			}
		}
	}
	for check, at := range ends {
		stats.Expiries = append(stats.Expiries, Expiry{check, at})
	}
	slices.SortFunc(stats.Expiries, func(a, b Expiry) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Check, b.Check)) })
	stats.Expiries = stats.Expiries[:min(len(stats.Expiries), checksMeasured)]
}
