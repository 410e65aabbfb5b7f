package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"time"

	"geodns/internal/durable"
	"geodns/pkg/steering"
)

const (
	// saveDelay is how long changes are gathered before the state file is
	// written: a failing site changes many verdicts, and each write waits for
	// the disk.
	saveDelay = time.Second

	// saveEvery is how often the file is written without a change, so that a
	// verdict that has stood for days is a minute old at most after a crash.
	saveEvery = time.Minute

	// clockSlack is how far in the future a verdict may lie: two clocks, or
	// one that was set, differ by that much. Beyond it its age means nothing.
	clockSlack = time.Minute

	// savedAgeMax bounds the age of what is restored: a year says no more than
	// ten do, and the sum of two such times is still one.
	savedAgeMax = 365 * 24 * time.Hour

	// savedVersion is that of the file's content.
	savedVersion = 2
)

// savedFile is the content of the state file. Times in it are wall time, for
// no other survives a restart; nothing else in the package depends on it.
type savedFile struct {
	Version int           `json:"version"`
	Targets []savedTarget `json:"targets"`
}

// savedTarget is the verdict of a target, with its damping.
type savedTarget struct {
	Target     string         `json:"target"`
	Check      string         `json:"check"` // what was tested
	State      string         `json:"state"`
	Since      time.Time      `json:"since"`
	Called     string         `json:"called,omitempty"` // what the votes called for last
	Reason     string         `json:"reason,omitempty"`
	Decision   string         `json:"decision,omitempty"`
	Detail     string         `json:"detail,omitempty"`
	Admit      uint16         `json:"admit"`
	Penalty    float64        `json:"penalty,omitempty"` // decayed to the time of writing
	Suppressed bool           `json:"suppressed,omitempty"`
	Written    time.Time      `json:"written"`
	Addresses  []savedAddress `json:"addresses"`
	Votes      []savedVote    `json:"votes,omitempty"` // pushed ones that counted
}

// savedVote is the vote of another vantage point.
type savedVote struct {
	PoP      string    `json:"pop"`
	Boot     uint64    `json:"boot"`
	Sequence uint64    `json:"sequence"`
	Observed time.Time `json:"observed"`
	State    string    `json:"state"`
	Admit    uint16    `json:"admit"`
	Reason   string    `json:"reason,omitempty"`
}

// savedAddress is the view of one address.
type savedAddress struct {
	Address string    `json:"address"` // or host name
	State   string    `json:"state"`
	Probe   time.Time `json:"probe"` // when the last probe ended
	OK      bool      `json:"ok"`
	Reason  string    `json:"reason,omitempty"`
}

// key gives what a verdict carries over by.
func (s *savedTarget) key() string { return s.Target + "\n" + s.Check }

// fresh reports whether the verdict may still be used at wall: some address
// was probed, or a vote came, within maxAge. A clock that was set makes any age
// possible, and only those that make sense count.
func (s *savedTarget) fresh(wall time.Time, maxAge time.Duration) bool {
	within := func(at time.Time) bool {
		age := wall.Sub(at)
		return age >= -clockSlack && age < maxAge
	}
	return slices.ContainsFunc(s.Addresses, func(a savedAddress) bool { return within(a.Probe) }) ||
		slices.ContainsFunc(s.Votes, func(v savedVote) bool { return within(v.Observed) })
}

// ageOf gives the age of a saved time, bounded: what lies in the future is of
// now, and whatever the file says, sums with it do not overflow.
func ageOf(at, wall time.Time) time.Duration { return min(max(wall.Sub(at), 0), savedAgeMax) }

// load reads the state file. Whatever is wrong with it costs no more than the
// verdicts in it.
func (c *Checker) load() map[string]savedTarget {
	restored := map[string]savedTarget{}
	if c.cfg.StatePath == "" {
		return restored
	}
	file, err := durable.Load(c.cfg.StatePath, decodeSaved)
	if errors.Is(err, fs.ErrNotExist) {
		return restored
	}
	if err != nil {
		c.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "verdicts of the last run are lost",
			slog.String("reason", err.Error()))
		return restored
	}
	wall := time.Now()
	for _, s := range file.Targets {
		if s.fresh(wall, c.cfg.MaxAge) {
			restored[s.key()] = s
		}
	}
	c.cfg.Log.LogAttrs(context.Background(), slog.LevelInfo, "verdicts of the last run are restored",
		slog.Int("fresh", len(restored)), slog.Int("too_old", len(file.Targets)-len(restored)))
	return restored
}

// decodeSaved reads the content of a state file.
func decodeSaved(payload []byte) (savedFile, error) {
	var file savedFile
	if err := json.Unmarshal(payload, &file); err != nil {
		return savedFile{}, fmt.Errorf("reading saved verdicts: %w", err)
	}
	if file.Version != savedVersion {
		return savedFile{}, fmt.Errorf("saved verdicts are of version %d, this is %d", file.Version, savedVersion)
	}
	return file, nil
}

// restore gives a target what an earlier run knew of it: of its addresses that
// this run knows nothing of, and, if the target is new to this run, the
// verdict. keep says which addresses are not new; wall and now are the same
// moment by two clocks.
func (c *Checker) restore(t *target, whole bool, keep []int, wall time.Time, now time.Duration) {
	key := (&savedTarget{Target: t.id, Check: t.tested}).key()
	saved, ok := c.restored[key]
	if !ok {
		return
	}
	delete(c.restored, key)
	if !saved.fresh(wall, c.cfg.MaxAge) {
		return
	}
	if whole {
		saved.restore(t.machine, wall, now)
		t.decision, t.detail = saved.Decision, saved.Detail
	}
	for i, s := range t.subjects {
		if keep[i] >= 0 {
			continue
		}
		for _, a := range saved.Addresses {
			state, ok := stateOf(a.State)
			if a.Address == s.dest.name() && ok {
				t.machine.views[i].state = state
				t.machine.views[i].probe = now - ageOf(a.Probe, wall)
				s.last = Result{OK: a.OK, Reason: a.Reason}
			}
		}
	}
}

// restore gives a machine the verdict of another process, in doubt until it is
// probed, and its damping.
func (s *savedTarget) restore(m *Machine, wall time.Time, now time.Duration) {
	state, ok := stateOf(s.State)
	if !ok {
		return
	}
	m.state, m.since = state, now-ageOf(s.Since, wall)
	m.reason = reasonOf(s.Reason)
	if state == steering.Degraded {
		m.part = float64(s.Admit) / steering.AdmitAll
	}
	for i := range s.Votes {
		if b, ok := s.Votes[i].restore(wall, now); ok && len(m.votes) < VantagesMax {
			m.votes = append(m.votes, b)
		}
	}
	if called, ok := stateOf(s.Called); ok {
		m.called = called
	}
	if s.Penalty > 0 { // neither NaN nor less than none
		m.penalty = min(m.rules.Damping.decayed(s.Penalty, wall.Sub(s.Written)), m.rules.Damping.Ceiling)
		m.penaltyAt = now
		m.suppressed = s.Suppressed
	}
}

// restore gives the ballot of a vote that was saved; false: it is none.
func (s *savedVote) restore(wall time.Time, now time.Duration) (ballot, bool) {
	state, _ := stateOf(s.State)
	b := ballot{
		Vote:     Vote{PoP: s.PoP, Boot: s.Boot, Sequence: s.Sequence, State: state, Admit: s.Admit, Reason: clean(s.Reason)},
		observed: now - ageOf(s.Observed, wall),
	}
	return b, b.Validate() == nil && wall.Sub(s.Observed) >= -clockSlack
}

// save gives what of the target is to be kept; false: nothing is known of it.
func (t *target) save(wall time.Time, now time.Duration) (savedTarget, bool) {
	m := t.machine
	if m.state == steering.Unknown {
		return savedTarget{}, false
	}
	s := savedTarget{
		Target: t.id, Check: t.tested, State: m.state.String(), Since: wall.Add(m.since - now).UTC(), Reason: m.reason.String(),
		Decision: t.decision, Detail: t.detail, Admit: m.admit, Suppressed: m.suppressed, Written: wall.UTC(),
		Penalty: m.rules.Damping.decayed(m.penalty, now-m.penaltyAt),
	}
	if m.called != steering.Unknown {
		s.Called = m.called.String()
	}
	for i := range m.votes {
		if b := &m.votes[i]; b.fresh(&m.rules, now) {
			s.Votes = append(s.Votes, savedVote{
				PoP: b.PoP, Boot: b.Boot, Sequence: b.Sequence, Observed: wall.Add(b.observed - now).UTC(), State: b.State.String(),
				Admit: b.Admit, Reason: b.Reason,
			})
		}
	}
	for i, subject := range t.subjects {
		v := &m.views[i]
		if v.state == steering.Unknown {
			continue
		}
		s.Addresses = append(s.Addresses, savedAddress{
			Address: subject.dest.name(), State: v.state.String(), Probe: wall.Add(v.probe - now).UTC(),
			OK: subject.last.OK, Reason: subject.last.Reason,
		})
	}
	return s, true
}

// stateOf reads the word of a state that is known.
func stateOf(word string) (steering.State, bool) {
	for _, state := range []steering.State{steering.Up, steering.Degraded, steering.Down} {
		if word == state.String() {
			return state, true
		}
	}
	return steering.Unknown, false
}

// reasonOf reads the word of a reason.
func reasonOf(word string) Reason {
	for r := range reasonsEnd {
		if r.String() == word {
			return r
		}
	}
	return NoReason
}

// saveLoop saves after changes and once in a while, until ctx is done.
func (c *Checker) saveLoop(ctx context.Context) {
	if c.cfg.StatePath == "" {
		return
	}
	regular := time.NewTicker(saveEvery)
	defer regular.Stop()
	delay := time.NewTimer(0)
	defer delay.Stop()
	delay.Stop()
	for healthy := true; ; {
		select {
		case <-ctx.Done():
			return
		case <-c.changed:
			delay.Reset(saveDelay)
			select {
			case <-ctx.Done():
				return
			case <-delay.C:
			}
		case <-regular.C:
		}
		err := c.save()
		// Said once when it begins and once when it ends: a full disk is not
		// made emptier by a line a second.
		if err != nil && healthy {
			c.cfg.Log.LogAttrs(ctx, slog.LevelError, "verdicts are not saved", slog.String("reason", err.Error()))
		} else if err == nil && !healthy {
			c.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "verdicts are saved again")
		}
		healthy = err == nil
	}
}

// save writes all verdicts to the state file. It is called by one goroutine at
// a time, and holds the lock for the copy alone.
func (c *Checker) save() error {
	if c.cfg.StatePath == "" {
		return nil
	}
	payload, err := json.Marshal(savedFile{Version: savedVersion, Targets: c.verdicts()})
	if err == nil {
		err = durable.Write(c.cfg.StatePath, payload)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.counts.SaveErrors++
		return fmt.Errorf("saving verdicts: %w", err)
	}
	c.counts.Saves++
	return nil
}

// verdicts copies what is to be saved: the verdicts of all targets, and those
// of the earlier run that no target has claimed yet, for a run that ends
// before its first Update must not forget them.
func (c *Checker) verdicts() []savedTarget {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, now := time.Now(), c.now()
	all := make([]savedTarget, 0, len(c.order)+len(c.restored))
	for _, t := range c.order {
		if s, ok := t.save(wall, now); ok {
			all = append(all, s)
		}
	}
	maps.DeleteFunc(c.restored, func(_ string, s savedTarget) bool { return !s.fresh(wall, c.cfg.MaxAge) })
	for _, key := range slices.Sorted(maps.Keys(c.restored)) {
		all = append(all, c.restored[key])
	}
	return all
}
