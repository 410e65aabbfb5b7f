package health

import (
	"slices"
	"strings"
	"time"

	"geodns/pkg/steering"
)

// Fleet is all machines of a node, and what the node makes of its own probes:
// the whole decision, without clock, I/O or randomness. Whoever drives it
// hands it each probe and vote with its time, calls Tick when Deadline or a
// machine's own deadline has come, and takes the changes. Times never go back
// from one call to the next.
type Fleet struct {
	self     conscience
	standing Standing
	settled  Standing // what all members were settled by
	members  map[*Machine]struct{}
	failing  map[*Machine]struct{} // of members: those with a row of failed probes that may yet call them down
	changes  []Changed
}

// Changed is a change of one machine: of what answers go by, or of what holds it
// down, which moves its deadline.
type Changed struct {
	Machine *Machine
	Change
}

// NewFleet makes a fleet without members whose checker has so many canaries.
func NewFleet(canaries int) *Fleet {
	f := &Fleet{self: newConscience(canaries), members: map[*Machine]struct{}{}, failing: map[*Machine]struct{}{}}
	f.standing = f.self.standing()
	f.settled = f.standing
	return f
}

// Add makes a machine a member.
func (f *Fleet) Add(m *Machine, now time.Duration) {
	f.members[m] = struct{}{}
	f.settle(m, now)
}

// Remove forgets a member; of what it changed nothing is told any more.
func (f *Fleet) Remove(m *Machine, now time.Duration) {
	delete(f.members, m)
	delete(f.failing, m)
	f.self.ends(m)
	f.review(now)
}

// Probe takes in the end of a probe of a member's address.
func (f *Fleet) Probe(m *Machine, address int, good bool, latency, now time.Duration) {
	v := &m.views[address]
	if good {
		v.pass(&m.rules, latency, now)
	} else {
		v.fail(&m.rules, now)
	}
	f.watch(m, now)
	f.settle(m, now)
	f.review(now)
}

// watch tells the checker's doubt of itself about a member that begins to
// fail: before the member is settled, so that what makes a mass failure of the
// others is not believed itself.
func (f *Fleet) watch(m *Machine, now time.Duration) {
	networks := m.suspects()
	if len(networks) > 0 && !m.suspect {
		f.self.begins(m, networks, now)
	}
	m.suspect = len(networks) > 0
	if !m.ill() {
		f.self.ends(m)
	}
	if s := f.self.standing(); s.Doubt != Confident {
		f.standing = s // less is believed from now on; what is believed again is for review
	}
}

// Canary takes in the end of a canary's probe that began at began.
func (f *Fleet) Canary(i int, good bool, began, now time.Duration) {
	f.self.observe(i, good, began)
	f.review(now)
}

// Vote takes in a vote about a member. False: it is not later than the one of
// its PoP that is known, or there is no room for another PoP.
func (f *Fleet) Vote(m *Machine, v *Vote, now time.Duration) bool {
	b := ballot{Vote: *v, observed: now - v.Age}
	m.dropStale(now)
	for i := range m.votes {
		if m.votes[i].PoP != v.PoP {
			continue
		}
		if !m.votes[i].later(v) {
			return false
		}
		m.votes[i] = b
		f.settle(m, now)
		return true
	}
	if len(m.votes) >= VantagesMax && !m.dropOldest(now) {
		return false
	}
	m.votes = append(m.votes, b)
	f.settle(m, now)
	return true
}

// dropOldest makes room for another PoP by forgetting the one whose vote is the
// oldest, if that does not count any more.
func (m *Machine) dropOldest(now time.Duration) bool {
	oldest := 0
	for i := range m.votes {
		if m.votes[i].observed < m.votes[oldest].observed {
			oldest = i
		}
	}
	if m.votes[oldest].fresh(&m.rules, now) {
		return false
	}
	m.votes = slices.Delete(m.votes, oldest, oldest+1)
	return true
}

// dropStale forgets PoPs that were not heard of for so long that none of their
// votes can still be under way. A PoP whose clock was ahead when it began is
// taken seriously again after that.
func (m *Machine) dropStale(now time.Duration) {
	kept := m.votes[:0]
	for i := range m.votes {
		if now-m.votes[i].observed < VoteAgeMax+m.rules.Votes.MaxAge {
			kept = append(kept, m.votes[i])
		}
	}
	m.votes = kept
}

// Reshape gives a member other rules and addresses: keep has for each of the
// new ones which of the old it is, -1 if none. What is known of those stays.
func (f *Fleet) Reshape(m *Machine, r Rules, keep []int, nets []string, now time.Duration) {
	views := make([]view, len(keep))
	for i, from := range keep {
		if from >= 0 {
			views[i] = m.views[from]
		}
	}
	m.rules, m.views, m.nets = r, views, nets
	f.watch(m, now)
	f.settle(m, now)
	f.review(now)
}

// Tick takes in that a member's deadline has come, or that its rules changed.
func (f *Fleet) Tick(m *Machine, now time.Duration) { f.settle(m, now) }

// Deadline gives when the checker's doubt of itself ends by time alone.
func (f *Fleet) Deadline() (time.Duration, bool) { return f.self.deadline() }

// Review takes in that the time that Deadline named has come.
func (f *Fleet) Review(now time.Duration) {
	f.self.expire(now)
	f.review(now)
}

// review follows what the checker makes of itself: members are settled anew
// where that changed.
func (f *Fleet) review(now time.Duration) {
	f.standing = f.self.standing()
	was := f.settled
	f.settled = f.standing
	first := len(f.changes)
	switch {
	case was == f.standing:
	case was.Doubt == f.standing.Doubt: // a canary answered: some rows may be believed now
		for m := range f.failing {
			f.settle(m, now)
		}
	default:
		// Unless the time is up in which a mass failure is not believed.
		if over := was.Doubt == MassFailure && now >= f.self.until; f.standing.Doubt == Confident && !over {
			for m := range f.failing {
				m.forgive()
			}
		}
		if f.standing.Doubt == MassFailure {
			f.retract(now)
		}
		for m := range f.members {
			f.settle(m, now)
		}
	}
	slices.SortFunc(f.changes[first:], func(a, b Changed) int { return strings.Compare(a.Machine.ID, b.Machine.ID) })
}

// retract takes back what was called down as part of a mass failure before that
// was known for one.
func (f *Fleet) retract(now time.Duration) {
	for m := range f.self.bad {
		change, told := m.change(), len(f.changes)
		if !m.retract(now) {
			continue
		}
		f.settle(m, now)
		// One change, from what was to what is.
		change.To, change.ToDoubt, change.ToAdmit, change.Reason = m.state, m.doubt, m.admit, m.reason
		f.changes = append(f.changes[:told], Changed{m, change})
	}
}

// forgive forgets the rows of failed probes that the checker is to blame for.
func (m *Machine) forgive() {
	for i := range m.views {
		m.views[i].forgive(&m.rules)
	}
	m.suspect = false
}

// settle settles a member and keeps what changed.
func (f *Fleet) settle(m *Machine, now time.Duration) {
	held := m.hold
	change := m.settle(f.standing, now)
	if m.failing() {
		f.failing[m] = struct{}{}
	} else {
		delete(f.failing, m)
	}
	if change.Any() || held != m.hold {
		f.changes = append(f.changes, Changed{m, change})
	}
}

// Take hands over the changes since the last Take.
func (f *Fleet) Take() []Changed {
	taken := f.changes
	f.changes = nil
	return taken
}

// Recheck says whether a member's address, a probe of which has just been
// handed in, is to be probed early, and how long from now.
func (f *Fleet) Recheck(m *Machine, address int) (after time.Duration, early bool) {
	return m.views[address].recheck(&m.rules)
}

// Doubt is why the checker does not believe its failed probes at present.
func (f *Fleet) Doubt() SelfDoubt { return f.standing.Doubt }

// Suppressed reports whether a flapping machine is held down.
func (m *Machine) Suppressed() bool { return m.state == steering.Down && m.hold == Suppressed }
