package health

import (
	"cmp"
	"slices"
	"time"

	"geodns/pkg/steering"
)

// defaultOutage is what tells an outage from a blip when histories are
// replayed: what is over sooner would mostly be over before the answers that
// were handed out are.
const defaultOutage = 30 * time.Second

// NoDwell is a threshold of no dwell at all.
const NoDwell time.Duration = -1

// Thresholds are what a history is replayed through. Zero values: as the check
// has it.
type Thresholds struct {
	Fall, Rise int
	Dwell      time.Duration // NoDwell: none
	NoDamping  bool
	Outage     time.Duration // a failover is false if probes were good again sooner than this after the first failed one; 0: 30 s
}

// TuneReport is what would have happened.
type TuneReport struct {
	Fall, Rise int
	Dwell      time.Duration
	Damped     bool
	Outage     time.Duration
	Targets    int
	Probes     int // replayed; failed ones that the checker did not believe are left out
	From, To   time.Time
	Failovers  int             // verdicts down of targets that were up
	False      int             // of these, for what was over sooner than Outage
	Missed     int             // times that an address failed for Outage or longer, and its target stayed up
	Detect     []time.Duration // from the first failed probe to the verdict, of each failover, sorted
}

// replayed is a record with the address that it is of.
type replayed struct {
	record

	address int
}

// Tune replays the probes that are kept of all targets of a check through
// other thresholds. Probes are where they were: an interval cannot be tried.
// False: no target has such a check.
func (c *Checker) Tune(check string, t Thresholds) (TuneReport, bool) {
	c.tuning.Lock() // each holds a target's records and all that it found
	defer c.tuning.Unlock()
	c.mu.Lock()
	targets := slices.DeleteFunc(slices.Clone(c.order), func(t *target) bool { return t.check.Name != check })
	c.mu.Unlock()
	if len(targets) == 0 {
		return TuneReport{}, false
	}
	report := TuneReport{Outage: cmp.Or(t.Outage, defaultOutage), Targets: len(targets)}
	first, last := never, before
	for i, target := range targets {
		rules, nets, records := c.recordsOf(target)
		rules = t.apply(rules)
		if i == 0 {
			report.Fall, report.Rise, report.Dwell, report.Damped = rules.Fall, rules.Rise, rules.Dwell, !rules.Damping.Off
		}
		if len(records) > 0 {
			first, last = min(first, records[0].at), max(last, records[len(records)-1].at)
		}
		replay(rules, nets, records, &report)
	}
	if report.Probes > 0 {
		wall, now := time.Now(), c.now()
		report.From, report.To = wall.Add(first-now).Round(0), wall.Add(last-now).Round(0)
	}
	slices.Sort(report.Detect)
	return report, true
}

// recordsOf copies what is kept of a target's probes, in the order of their
// times, without failed ones that the checker did not believe.
func (c *Checker) recordsOf(t *target) (rules Rules, nets []string, records []replayed) {
	c.mu.Lock()
	rules, nets = t.machine.rules, t.machine.nets
	for i, s := range t.subjects {
		for _, x := range s.history.all() {
			if x.flags&recordVoid == 0 || x.flags&recordOK != 0 {
				records = append(records, replayed{x, i})
			}
		}
	}
	c.mu.Unlock()
	slices.SortStableFunc(records, func(a, b replayed) int { return cmp.Compare(a.at, b.at) })
	return rules, nets, records
}

// apply gives rules with the thresholds that are given.
func (t *Thresholds) apply(r Rules) Rules {
	r.Fall, r.Rise, r.Dwell = cmp.Or(t.Fall, r.Fall), max(cmp.Or(t.Rise, r.Rise), riseMin), max(cmp.Or(t.Dwell, r.Dwell), 0)
	r.Damping.Off = r.Damping.Off || t.NoDamping
	return r
}

// span is a time in which an address failed, or a target was down.
type span struct {
	from, to time.Duration
	ended    bool // by a good probe, or a verdict; else the records end with it
}

// replay replays the records of one target.
func replay(rules Rules, nets []string, records []replayed, report *TuneReport) {
	if len(records) == 0 {
		return
	}
	fleet := NewFleet(0)
	m := NewMachine("", rules, nets, records[0].at)
	fleet.Add(m, records[0].at)
	outages := failures(records, len(nets))
	var downs []span
	take := func(now time.Duration) {
		for _, change := range fleet.Take() {
			switch {
			case change.To == steering.Down && change.From != steering.Down:
				downs = append(downs, span{from: now, to: never})
			case change.From == steering.Down && change.To != steering.Down:
				downs[len(downs)-1].to, downs[len(downs)-1].ended = now, true
			}
			if change.To != steering.Down || change.From == steering.Unknown || change.From == steering.Down {
				continue
			}
			report.Failovers++
			report.Detect = append(report.Detect, now-change.Onset)
			if slices.ContainsFunc(outages, func(o span) bool { return o.from == change.Onset && o.ended && o.to-o.from < report.Outage }) {
				report.False++
			}
		}
	}
	now := records[0].at
	for _, x := range records {
		for at, ok := m.Deadline(now); ok && at < x.at; at, ok = m.Deadline(now) {
			now = at
			fleet.Tick(m, now)
			take(now)
		}
		now = x.at
		fleet.Probe(m, x.address, x.flags&recordOK != 0, time.Duration(x.latency)*time.Microsecond, now)
		take(now)
		report.Probes++
	}
	for _, o := range outages {
		seen := func(d span) bool { return d.from <= o.to && o.from <= d.to }
		if o.to-o.from >= report.Outage && !slices.ContainsFunc(downs, seen) {
			report.Missed++
		}
	}
}

// failures gives the times in which addresses failed: from the end of a first
// failed probe to that of the next good one, or to the last of the records.
func failures(records []replayed, addresses int) []span {
	var all []span
	open := make([]int, addresses) // index in all, plus one
	for _, x := range records {
		switch good := x.flags&recordOK != 0; {
		case good && open[x.address] > 0:
			all[open[x.address]-1] = span{all[open[x.address]-1].from, x.at, true}
			open[x.address] = 0
		case !good && open[x.address] == 0:
			all = append(all, span{from: x.at, to: never})
			open[x.address] = len(all)
		}
	}
	last := records[len(records)-1].at
	for i := range all {
		all[i].to = min(all[i].to, last)
	}
	return all
}
