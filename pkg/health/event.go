package health

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"geodns/pkg/steering"
)

// eventsKept is how many verdicts are kept for who asks: those of an hour in
// which much happens.
const eventsKept = 1000

// Event is a verdict: the change of a target's state.
type Event struct {
	ID       string // also in the log, in the target's status, and in the exemplars of metrics
	At       time.Time
	Target   string
	From, To steering.State
	Reason   string    // a word, see Reason
	Detail   string    // what it came of, for people
	Onset    time.Time // when the first failed probe, or vote, behind a verdict down came; zero: of no such
}

// unserved is a verdict that no answer follows yet.
type unserved struct {
	sequence uint64
	id       string
	at       time.Duration
}

// outcome is what there is to tell once the lock is free.
type outcome struct {
	changed  bool
	events   []Event
	warnings []warning
	doubt    *SelfDoubt // the checker began to doubt itself, or ended
}

// empty reports whether there is nothing to tell.
func (o *outcome) empty() bool {
	return !o.changed && o.doubt == nil && len(o.events) == 0 && len(o.warnings) == 0
}

// warning is something that a good probe saw.
type warning struct{ target, address, text string }

// note turns the fleet's changes into what there is to tell, at now.
func (c *Checker) note(out *outcome, now time.Duration) {
	for _, change := range c.fleet.Take() {
		t := c.targets[change.Machine.ID]
		if t == nil || t.machine != change.Machine {
			continue
		}
		out.changed = out.changed || change.Any()
		c.schedule(t, now)
		if change.Verdict() {
			out.events = append(out.events, c.event(t, &change.Change, now))
		}
	}
	if doubt := c.fleet.Doubt(); doubt != c.doubted {
		c.doubted = doubt
		if doubt != Confident {
			c.counts.Doubts++
		}
		out.doubt = &doubt
	}
}

// event makes and counts the event of a verdict.
func (c *Checker) event(t *target, change *Change, now time.Duration) Event {
	c.sequence++
	t.decision = fmt.Sprintf("v-%s-%d", c.boot, c.sequence)
	t.detail = t.explain(change.Reason, now)
	c.counts.Verdicts++
	c.counts.verdicts[change.To][change.Reason]++
	wall := time.Now()
	e := Event{
		ID: t.decision, At: wall.Round(0), Target: t.id, From: change.From, To: change.To,
		Reason: change.Reason.String(), Detail: t.detail,
	}
	if change.HasOnset {
		e.Onset = wall.Add(change.Onset - now).Round(0)
		if change.From != steering.Unknown { // a first probe detects nothing
			c.counts.Detect.observe(now-change.Onset, e.ID, e.At)
		}
	}
	if len(c.events) == eventsKept {
		c.events = slices.Delete(c.events, 0, eventsKept/10)
	}
	c.events = append(c.events, e)
	c.unserved = append(c.unserved, unserved{c.sequence, e.ID, now})
	if len(c.unserved) > eventsKept { // nobody says what is served
		c.unserved = slices.Delete(c.unserved, 0, len(c.unserved)-eventsKept)
	}
	return e
}

// explain says what a verdict came of: what the last probes saw, or who voted.
func (t *target) explain(reason Reason, now time.Duration) string {
	m := t.machine
	if reason == ByVotes {
		var text strings.Builder
		fmt.Fprintf(&text, "%d of %d votes down, %d needed", m.counted.down, m.counted.votes, m.counted.need)
		for i := range m.votes {
			if b := &m.votes[i]; b.fresh(&m.rules, now) {
				text.WriteString("; " + strings.TrimSpace(b.PoP+": "+b.State.String()+" "+b.Reason))
			}
		}
		return clean(text.String())
	}
	for i, s := range t.subjects {
		if m.state == steering.Down && m.views[i].state == steering.Down || m.state != steering.Down && i == len(t.subjects)-1 {
			return clean(s.dest.name() + ": " + s.last.Reason)
		}
	}
	return ""
}

// tell passes on what was found, with no lock held: first to those who answer
// by it, then to the log and the state file.
func (c *Checker) tell(out *outcome) {
	if out.changed && c.cfg.OnChange != nil {
		c.cfg.OnChange()
	}
	for i := range out.events {
		e := &out.events[i]
		level := slog.LevelInfo
		if e.To == steering.Down {
			level = slog.LevelWarn
		}
		c.cfg.Log.LogAttrs(context.Background(), level, "verdict",
			slog.String("id", e.ID), slog.String("target", e.Target), slog.String("from", e.From.String()),
			slog.String("to", e.To.String()), slog.String("reason", e.Reason), slog.String("detail", e.Detail))
		if c.cfg.OnEvent != nil {
			c.cfg.OnEvent(*e)
		}
	}
	for _, w := range out.warnings {
		c.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "probe warns",
			slog.String("target", w.target), slog.String("address", w.address), slog.String("warning", w.text))
	}
	switch {
	case out.doubt == nil:
	case *out.doubt == Confident:
		c.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "failed probes are believed again")
	default:
		c.cfg.Log.LogAttrs(context.Background(), slog.LevelError, "failed probes are not believed, this node may be cut off",
			slog.String("reason", out.doubt.String()))
	}
	if out.changed {
		signal(c.changed)
	}
}

// signal leaves a message in a channel of size 1; one stands for all.
func signal(channel chan<- struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}

// Events gives the last verdicts, oldest first.
func (c *Checker) Events() []Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.events)
}

// Mark numbers the verdicts so far. Who serves by what Verdict says takes it
// before it asks, and gives it to Served.
func (c *Checker) Mark() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sequence
}

// Served takes in that answers now follow the verdicts up to a mark.
func (c *Checker) Served(mark uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, now := time.Now(), c.now()
	n := 0
	for ; n < len(c.unserved) && c.unserved[n].sequence <= mark; n++ {
		c.counts.Publish.observe(now-c.unserved[n].at, c.unserved[n].id, wall.Round(0))
	}
	c.unserved = slices.Delete(c.unserved, 0, n)
}
