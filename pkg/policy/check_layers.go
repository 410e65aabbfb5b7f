package policy

import (
	"fmt"
	"slices"
	"strings"

	"geodns/internal/source"
	"geodns/pkg/health"
)

// resolveProfile looks for what a profile's own keys make impossible, whatever checks say beside them.
func (j *joiner) resolveProfile(e *checkEntry) {
	if e.layers = []*checkEntry{e}; !e.broken {
		j.judge(e, build(e.layers, ""))
	}
}

// resolveCheck makes the check of an entry: its own keys over those of its profile, and for a target over all that its
// pool's check, base, is made of. Where something below is wrong, that is reported there, and here is no word of it.
func (j *joiner) resolveCheck(e, base *checkEntry) {
	name := e.name
	if base != nil {
		name = base.name
		e.layers = slices.Clone(base.layers)
		e.broken = e.broken || base.broken
	}
	if p, ok := lookup(j, "profile", j.profiles, e.profile); ok {
		e.layers = append(e.layers, p)
		e.broken = e.broken || p.broken
	} else if e.profile.name != "" {
		e.broken = true
	}
	if e.layers = append(e.layers, e); e.broken {
		return
	}
	c := build(e.layers, "")
	c.Name = name
	if j.judge(e, c); !e.broken {
		e.check = &c
	}
}

// resolveTarget finds a target's check: its pool's, or one of its own where it has keys of its own.
func (j *joiner) resolveTarget(t *Target, base *checkEntry) {
	e := t.check
	switch {
	case base == nil && e != nil && t.Pool.check.name == "":
		j.fs.Errorf(e.place, "pool %q has no check that target %q could change; give the pool one", t.Pool.Name, t.Name)
	case base == nil:
	case e == nil:
		t.Check = base.check
	case e.kind != 0 && base.kind != 0 && e.kind != base.kind:
		j.fs.Errorf(e.kindPlace, "%s is of kind %s, and a target cannot change that: write %[2]s, not %s", base.what, base.kind, e.kind)
	default:
		j.resolveCheck(e, base)
		t.Check = e.check
	}
}

// build makes a check of layers, each over those before it, and fills in the defaults. A key of the last is left out if it
// is named.
func build(layers []*checkEntry, without string) health.Check {
	var c health.Check
	for i, l := range layers {
		if c.Kind == 0 && l.kind != 0 {
			c.Kind, c.Port = l.kind, defaultPort(l.kind)
		}
		for _, s := range l.settings {
			if i < len(layers)-1 || s.key != without {
				s.set(&c)
			}
		}
	}
	return c.WithDefaults()
}

// judge reports what the keys of an entry make impossible together, with each other or with what is below them.
func (j *joiner) judge(e *checkEntry, c health.Check) {
	x := judgment{fs: j.fs, entry: e, profile: c.Kind == 0}
	x.times(c)
	x.latency(c)
	x.damping(c)
	x.answer(c)
	if !x.profile && !e.broken {
		x.validate(c)
	}
}

// judgment looks at what several keys of an entry say together.
type judgment struct {
	fs      *source.Findings
	entry   *checkEntry
	profile bool // the entry is a profile by itself
}

// fault reports what is wrong with keys: at the first of them that the entry gives, else where it names the profile that
// does. A profile by itself is at fault only if it gives them all; else it is for the check that names it.
func (x judgment) fault(keys []string, format string, a ...any) {
	at := x.entry.basis()
	for _, k := range slices.Backward(keys) {
		s, own := x.entry.setting(k)
		switch {
		case own:
			at = s.place
		case x.profile:
			return
		}
	}
	x.fs.Errorf(at, format, a...)
	x.entry.broken = true
}

// basis is where an entry says what it builds on.
func (e *checkEntry) basis() source.Place {
	if e.profile.name != "" {
		return e.profile.place
	}
	return e.place
}

// says is what holds for a key, and who says so if it is not the entry itself.
func (x judgment) says(key string, value any) string {
	for _, l := range slices.Backward(x.entry.layers) {
		_, given := l.setting(key)
		switch _, off := l.setting(dampingOff); {
		case given && l == x.entry:
			return fmt.Sprint(value)
		case given:
			return fmt.Sprintf("%v (of %s)", value, l.what)
		case off && strings.HasPrefix(key, "damping."):
			return fmt.Sprintf("%v (the default)", value) // what stands below was wiped out
		}
	}
	return fmt.Sprintf("%v (the default)", value)
}

// times judges interval, timeout and recheck.
func (x judgment) times(c health.Check) {
	interval := x.says("interval", c.Interval)
	if c.Timeout > c.Interval {
		x.fault([]string{"timeout", "interval"}, "timeout %s is longer than the interval, %s: probes of a target would overlap",
			x.says("timeout", c.Timeout), interval)
	}
	if c.Recheck > c.Interval {
		x.fault([]string{"recheck", "interval"}, "recheck %s is longer than the interval, %s; it is meant to be shorter",
			x.says("recheck", c.Recheck), interval)
	}
}

// latency judges the thresholds of `latency`.
func (x judgment) latency(c health.Check) {
	const slow, worst, admitMin = "latency.slow", "latency.worst", "latency.admit_min"
	l := c.Latency
	switch {
	case l.Slow == 0 && l.Worst == 0:
		for _, e := range x.entry.layers {
			if _, given := e.setting(admitMin); given {
				x.fault([]string{admitMin, slow, worst}, "admit_min says nothing without slow and worst, the latencies between which admit falls to it")
				return
			}
		}
	case l.Worst == 0:
		x.fault([]string{slow, worst}, "slow needs worst beside it, the latency from which on a target gets no more than admit_min of its traffic")
	case l.Slow == 0:
		x.fault([]string{worst, slow}, "worst needs slow beside it, the latency from which on a target gets less traffic")
	case l.Worst <= l.Slow:
		x.fault([]string{worst, slow}, "worst %s is not more than slow, %s", x.says(worst, l.Worst), x.says(slow, l.Slow))
	case l.Worst > c.Timeout:
		x.fault([]string{worst, "timeout"}, "worst %s is longer than the timeout, %s: a probe ends there, so nothing so slow is ever seen",
			x.says(worst, l.Worst), x.says("timeout", c.Timeout))
	}
}

// damping judges the penalties of `damping`.
func (x judgment) damping(c health.Check) {
	const suppressKey, reuseKey, ceilingKey = "damping.suppress", "damping.reuse", "damping.ceiling"
	if c.Damping.Off {
		return
	}
	suppress, reuse, ceiling := c.Damping.Suppress, c.Damping.Reuse, c.Damping.Ceiling
	if reuse >= suppress {
		x.fault([]string{reuseKey, suppressKey}, "reuse %s is not less than suppress, %s: what is held down would be let up at once",
			x.says(reuseKey, reuse), x.says(suppressKey, suppress))
	}
	if ceiling < suppress {
		x.fault([]string{ceilingKey, suppressKey}, "ceiling %s is less than suppress, %s: nothing would ever be held down",
			x.says(ceilingKey, ceiling), x.says(suppressKey, suppress))
	}
}

// answer judges what is looked for where there is nothing.
func (x judgment) answer(c health.Check) {
	section := c.Kind.String() + "."
	if c.Method == "HEAD" && (c.Body != "" || c.Match != "") {
		x.fault([]string{section + "body", section + "match", section + "method"},
			"the answer to HEAD has no body to look into; ask with GET, or leave body and match out")
	}
	if c.Query.Answers != nil && c.Query.Rcode != "NOERROR" {
		x.fault([]string{section + "answer", section + "rcode"}, "with rcode %s there is no answer to look for; leave answer out",
			x.says(section+"rcode", c.Query.Rcode))
	}
}

// validate reports what health alone knows to be wrong: at the key without which all would be well, if there is one.
func (x judgment) validate(c health.Check) {
	err := c.Validate()
	if err == nil {
		return
	}
	at := x.entry.basis()
	for _, s := range x.entry.settings {
		if build(x.entry.layers, s.key).Validate() == nil {
			at = s.place
			break
		}
	}
	x.fs.Errorf(at, "%s", err)
	x.entry.broken = true
}
