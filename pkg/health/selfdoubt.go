package health

import (
	"container/heap"
	"slices"
	"time"

	"geodns/pkg/steering"
)

// The checker doubts itself before it believes that the world died.
//
// With canaries, which are addresses of others that are as good as never away:
// while more than half of them fail, this node calls nothing down; and it
// calls nothing down before a canary probe that began after the first failed
// probe has shown that the path outwards is still there.
//
// Without canaries a mass failure is the sign: massTargets or more targets in
// massNetworks or more networks begin to fail within an interval, where a
// single failed probe is no failure yet. Then nothing is called down until
// fewer than half of these fail, for massHold at most; nor, in whatever mass
// failures follow, what has failed for as long as that without one good probe:
// if it is still dead by then, it is. Those that were called down within an
// interval before the doubt began are part of it: that is taken back.
//
// With canaries the same holds for targets of which nothing is known, and for
// them alone: a change of what is tested, such as a slip of the pen in a path,
// must not call a whole fleet down by its first probes.
const (
	massTargets  = 8
	massNetworks = 3
	massHold     = 2 * time.Minute
	massOver     = massTargets / 2 // fewer than so many, and it is over: half, so that it does not come and go with one target

	// CanariesMax bounds the canaries: they are for one question.
	CanariesMax = 16
)

// SelfDoubt is why a checker does not believe its own failed probes.
type SelfDoubt uint8

// The reasons.
const (
	Confident     SelfDoubt = iota
	CanariesFail            // more than half of the canaries fail
	MassFailure             // too many targets began to fail at once
	selfDoubtsEnd           // one more than the last
)

// String gives the word of the API, logs and metrics; "" for none.
func (d SelfDoubt) String() string {
	switch d {
	case CanariesFail:
		return "canaries"
	case MassFailure:
		return "mass"
	case Confident, selfDoubtsEnd:
	}
	return ""
}

// Standing is what a checker may believe of its own failed probes.
type Standing struct {
	Doubt    SelfDoubt
	Canaries bool          // there are canaries
	Clear    time.Duration // with canaries: a probe that began then, and none that began later, showed that enough of them are well
}

// believes reports whether a row of failed probes is believed whose first one
// ended at from, of an address that is in a state until then.
func (s Standing) believes(from time.Duration, state steering.State) bool {
	switch s.Doubt {
	case CanariesFail:
		return false
	case MassFailure:
		if !s.Canaries || state == steering.Unknown {
			return false
		}
	case Confident, selfDoubtsEnd:
	}
	return !s.Canaries || s.Clear >= from
}

// canary is one canary's last probe.
type canary struct {
	failed bool
	clear  time.Duration // when the last good probe began; never before the first
}

// before is earlier than any time.
const before = -never

// conscience is the checker's doubt of itself. It is stepped by what Fleet sees.
type conscience struct {
	canaries []canary

	// Without canaries.
	recent   onsets              // targets that began to fail within an interval
	bad      map[*Machine]*onset // those of them that are not well again, and while mass lasts all that began since
	networks map[string]int      // of bad
	mass     bool                // a mass failure is not believed
	until    time.Duration       // ... up to this time
}

// onset is a target that began to fail.
type onset struct {
	machine  *Machine
	networks []string
	expires  time.Duration // an interval later
	index    int           // in recent; -1: not there
}

// newConscience makes one with so many canaries, nothing known of them.
func newConscience(canaries int) conscience {
	c := conscience{bad: map[*Machine]*onset{}, networks: map[string]int{}}
	for range canaries {
		c.canaries = append(c.canaries, canary{clear: before})
	}
	return c
}

// standing gives what may be believed.
func (c *conscience) standing() Standing {
	s := Standing{Canaries: len(c.canaries) > 0}
	if c.mass {
		s.Doubt = MassFailure
	}
	if !s.Canaries {
		return s
	}
	failed := 0
	clear := make([]time.Duration, len(c.canaries))
	for i := range c.canaries {
		if c.canaries[i].failed {
			failed++
		}
		clear[i] = c.canaries[i].clear
	}
	if 2*failed > len(c.canaries) {
		s.Doubt = CanariesFail
	}
	slices.Sort(clear)
	s.Clear = clear[len(clear)/2] // at least half of them were well after it
	return s
}

// observe takes in the end of a canary's probe.
func (c *conscience) observe(i int, good bool, began time.Duration) {
	c.canaries[i].failed = !good
	if good {
		c.canaries[i].clear = max(c.canaries[i].clear, began)
	}
}

// begins takes in that a target begins to fail.
func (c *conscience) begins(m *Machine, networks []string, now time.Duration) {
	if len(c.canaries) > 0 && m.state != steering.Unknown {
		return
	}
	c.expire(now)
	c.remove(m)
	o := &onset{machine: m, networks: networks, expires: now + m.rules.Interval, index: -1}
	c.bad[m] = o
	for _, network := range networks {
		c.networks[network]++
	}
	heap.Push(&c.recent, o)
	if !c.mass && c.many() {
		c.mass, c.until = true, now+massHold
	}
}

// ends takes in that a target is well again, or gone.
func (c *conscience) ends(m *Machine) {
	c.remove(m)
	if c.mass && len(c.bad) < massOver {
		c.mass = false
		for _, o := range c.bad { // kept while it lasted
			if o.index < 0 {
				c.drop(o)
			}
		}
	}
}

// many reports whether so many are bad as no single fault of theirs makes.
func (c *conscience) many() bool { return len(c.bad) >= massTargets && len(c.networks) >= massNetworks }

// remove forgets a target's onset.
func (c *conscience) remove(m *Machine) {
	o := c.bad[m]
	if o == nil {
		return
	}
	if o.index >= 0 {
		heap.Remove(&c.recent, o.index)
	}
	c.drop(o)
}

// drop takes an onset out of what is counted.
func (c *conscience) drop(o *onset) {
	delete(c.bad, o.machine)
	for _, network := range o.networks {
		if c.networks[network]--; c.networks[network] == 0 {
			delete(c.networks, network)
		}
	}
}

// expire takes in that time has passed.
func (c *conscience) expire(now time.Duration) {
	for len(c.recent) > 0 && c.recent[0].expires <= now {
		o, _ := heap.Pop(&c.recent).(*onset) // it holds nothing else
		if !c.mass {
			c.drop(o)
		}
	}
	if c.mass && now >= c.until {
		c.mass = false
		clear(c.bad)
		clear(c.networks)
		c.recent = nil
	}
}

// deadline gives when a mass failure will be believed; false: there is none.
func (c *conscience) deadline() (time.Duration, bool) { return c.until, c.mass }

// onsets is a heap by the time at which they expire.
type onsets []*onset

// Len is the number of onsets.
func (q onsets) Len() int { return len(q) }

// Less puts the one that expires first first.
func (q onsets) Less(i, j int) bool { return q[i].expires < q[j].expires }

// Swap exchanges two.
func (q onsets) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push appends one; for container/heap.
func (q *onsets) Push(x any) {
	o, _ := x.(*onset) // only begins pushes
	o.index = len(*q)
	*q = append(*q, o)
}

// Pop removes the last; for container/heap.
func (q *onsets) Pop() any {
	last := len(*q) - 1
	o := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	o.index = -1
	return o
}
