package policy

import (
	"time"

	"geodns/internal/source"
	"geodns/pkg/health"
)

// runKeys are the keys that checks of every kind have, and profiles: when a target is probed, and what it takes to
// believe the probes.
func (r *layerReader) runKeys() []checkKey {
	return []checkKey{
		plain(r, "interval", r.span(health.IntervalMin, health.IntervalMax), func(c *health.Check, d time.Duration) { c.Interval = d }),
		plain(r, "timeout", r.span(health.TimeoutMin, health.IntervalMax), func(c *health.Check, d time.Duration) { c.Timeout = d }),
		plain(r, "fall", r.upTo(health.CountMax), func(c *health.Check, n int) { c.Fall = n }),
		plain(r, "rise", r.rise, func(c *health.Check, n int) { c.Rise = n }),
		plain(r, "recheck", r.span(health.RecheckMin, health.IntervalMax), func(c *health.Check, d time.Duration) { c.Recheck = d }),
		plain(r, "warm_up", r.span(0, health.DwellMax), func(c *health.Check, d time.Duration) { c.WarmUp = d }),
		plain(r, "dwell", r.span(0, health.DwellMax), func(c *health.Check, d time.Duration) { c.Dwell = d }),
		nested(r, "latency", r.latencyKeys),
		{name: "damping", read: r.damping},
		nested(r, "votes", r.votesKeys),
	}
}

// latencyKeys are those of `latency`.
func (r *layerReader) latencyKeys() []checkKey {
	return []checkKey{
		plain(r, "slow", r.span(health.TimeoutMin, health.IntervalMax), func(c *health.Check, d time.Duration) { c.Latency.Slow = d }),
		plain(r, "worst", r.span(health.TimeoutMin, health.IntervalMax), func(c *health.Check, d time.Duration) { c.Latency.Worst = d }),
		plain(r, "admit_min", r.admitMin, func(c *health.Check, f float64) { c.Latency.AdmitMin = f }),
	}
}

// votesKeys are those of `votes`.
func (r *layerReader) votesKeys() []checkKey {
	return []checkKey{
		plain(r, "need", r.upTo(health.VantagesMax), func(c *health.Check, n int) { c.Votes.Need = n }),
		plain(r, "max_age", r.span(health.VoteAgeMin, health.VoteAgeMax), func(c *health.Check, d time.Duration) { c.Votes.MaxAge = d }),
	}
}

// dampingOff is the key of a setting that turns damping off, and forgets what layers below say of it.
const dampingOff = "damping.off"

// damping reads `damping`: a section, or off. A section turns on again what a lower layer turned off.
func (r *layerReader) damping(v source.Value, path string) {
	if v.Kind() == source.Scalar {
		// Whether YAML takes the word for a boolean depends on its version and on quotes; people mean one thing.
		if word := v.Text(); word != "off" && word != "false" {
			r.errorf(v, "off is wanted here, or keys such as {half_life: 5m}, not %q", clip(word))
			return
		}
		r.add(dampingOff, v.Place(), func(c *health.Check) { c.Damping = health.Damping{Off: true} })
		return
	}
	r.add(path, v.Place(), func(c *health.Check) { c.Damping.Off = false })
	r.section(v, path+".", []checkKey{
		plain(r, "half_life", r.span(health.HalfLifeMin, health.HalfLifeMax), func(c *health.Check, d time.Duration) { c.Damping.HalfLife = d }),
		plain(r, "suppress", r.suppress, func(c *health.Check, f float64) { c.Damping.Suppress = f }),
		plain(r, "reuse", r.penalty("reuse"), func(c *health.Check, f float64) { c.Damping.Reuse = f }),
		plain(r, "ceiling", r.penalty("ceiling"), func(c *health.Check, f float64) { c.Damping.Ceiling = f }),
	})
}

// span makes a reader of times.
func (p *parser) span(lo, hi time.Duration) func(source.Value) (time.Duration, bool) {
	return func(v source.Value) (time.Duration, bool) { return v.Duration(p.fs, lo, hi) }
}

// upTo makes a reader of whole numbers from 1.
func (p *parser) upTo(most int64) func(source.Value) (int, bool) {
	return func(v source.Value) (int, bool) {
		n, ok := v.Int(p.fs, 1, most)
		return int(n), ok
	}
}

// rise reads a number of good probes.
func (p *parser) rise(v source.Value) (int, bool) {
	n, ok := p.upTo(health.CountMax)(v)
	if ok && n == 1 {
		p.fs.Warnf(v.Place(), "rise 1 acts as 2: after a down verdict two good probes in a row are wanted all the same")
	}
	return n, ok
}

// admitMin reads the part of its traffic that the slowest target keeps.
func (p *parser) admitMin(v source.Value) (float64, bool) {
	f, ok := v.Float(p.fs, 0, 1)
	if ok && (f == 0 || f == 1) {
		p.errorf(v, "admit_min %g: it is more than 0, or nobody would see that a target is quick again, and less than 1, or latency would say nothing", f)
		return 0, false
	}
	return f, ok
}

// suppress reads the penalty from which on a target is held down.
func (p *parser) suppress(v source.Value) (float64, bool) {
	f, ok := v.Float(p.fs, 0, health.PenaltyMax)
	if ok && f <= 1 {
		p.errorf(v, "suppress %g is to be more than 1, which is what one down verdict adds: one failure is never suppressed", f)
		return 0, false
	}
	return f, ok
}

// penalty makes a reader of another penalty.
func (p *parser) penalty(key string) func(source.Value) (float64, bool) {
	return func(v source.Value) (float64, bool) {
		f, ok := v.Float(p.fs, 0, health.PenaltyMax)
		if ok && f == 0 {
			p.errorf(v, "%s 0: a penalty that halves again and again never falls to 0", key)
			return 0, false
		}
		return f, ok
	}
}
