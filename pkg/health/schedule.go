package health

import (
	"container/heap"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/bits"
	"time"

	"geodns/pkg/steering"
)

// The schedule
//
// One goroutine, that of Run, decides when each subject is probed, starts a
// goroutine for each probe, and steps machines with the results. So machines
// see their events in order, and OnChange is never called twice at once.
//
// Starts are spread by a hash of target and address, a number f in [0, 1)
// that never changes. A new subject is first probed f of the way through the
// first second, then f of the way through an interval that begins behind that
// second, and from there on each interval:
//
//	|- firstRound -|------------ interval ------------|------------ interval ---
//	     ^ f                     ^ f                               ^ f
//
// So the first round ends in a second, no gap is longer than an interval, and
// none is shorter than the first round. When the interval changes, the same
// scaling keeps the spread.

// never is later than any time.
const never = time.Duration(math.MaxInt64)

// subject is what is probed: one address, or the host name, of one target.
// Its fields are guarded by Checker.mu; its prober is used by one probe at a time.
type subject struct {
	target  *target
	dest    destination
	hash    uint64 // f, as a fraction of 2^64
	prober  *prober
	machine Machine

	last     Result // of the last probe
	decision string // id of the last verdict

	next    time.Duration // when the next probe starts
	after   time.Duration // when the one behind it starts, if spreading asks for it; 0: an interval later
	probing bool
	stop    context.CancelFunc // of the probe under way
	waits   bool               // due, but ProbesMax are under way
	removed bool
	index   int           // in the queue
	wake    time.Duration // order of the queue
}

// finished is the end of a probe.
type finished struct {
	subject *subject
	result  Result
	stopped bool // by us before it ended: the result says nothing about the target
}

// decision is a verdict to be logged.
type decision struct {
	id, target, address string
	change              Change
	reason              string
}

// outcome is what a turn of the loop has to tell once the lock is free.
type outcome struct {
	changed   bool
	decisions []decision
}

// makeSubject makes a subject with what an earlier run knew of it.
func (c *Checker) makeSubject(t *target, dest destination, now time.Duration) *subject {
	sum := sha256.Sum256([]byte(t.id + " " + dest.name()))
	s := &subject{target: t, dest: dest, hash: binary.BigEndian.Uint64(sum[:]), index: -1}
	s.prober = newProber(t.check, dest, c.common)
	s.machine = NewMachine(now)
	c.restore(s, now)
	if c.started {
		s.plan(now)
		heap.Push(&c.queue, s)
	}
	return s
}

// part gives f of d.
func (s *subject) part(d time.Duration) time.Duration {
	high, _ := bits.Mul64(s.hash, uint64(d))
	return time.Duration(high)
}

// plan sets the times of the first two probes.
func (s *subject) plan(now time.Duration) {
	interval := s.target.rules.Interval
	window := min(interval, firstRound)
	s.next = now + s.part(window)
	s.after = now + window + s.part(interval)
	s.setWake()
}

// carry moves a subject over to its target's successor.
func (c *Checker) carry(s *subject, made *target, now time.Duration) {
	before := s.target
	s.target = made
	if !s.prober.fits(made.check) {
		s.prober = newProber(made.check, s.dest, c.common)
	}
	if !c.started {
		return
	}
	if to := made.rules.Interval; before.rules.Interval != to {
		s.replan(now, before.rules.Interval, to)
	}
	s.setWake()
	heap.Fix(&c.queue, s.index)
}

// replan scales what is left of an interval when its length changes. Where the
// times of two probes are planned already, the second is planned anew.
func (s *subject) replan(now, from, to time.Duration) {
	left := max(0, s.next-now)
	scaled := time.Duration(float64(left) * float64(to) / float64(from))
	switch {
	case s.after != 0:
		window := min(to, firstRound)
		s.after = max(now+window+s.part(to), s.next+window)
	case to < from:
		s.next = now + scaled
	default:
		s.after = now + from + scaled
	}
}

// drop forgets a subject.
func (c *Checker) drop(s *subject) {
	s.removed = true
	if s.stop != nil {
		s.stop()
	}
	if s.index >= 0 {
		heap.Remove(&c.queue, s.index)
	}
}

// setWake computes when the scheduler has to look at the subject again.
func (s *subject) setWake() {
	s.wake = never
	if !s.probing && !s.waits {
		s.wake = s.next
	}
	if deadline, ok := s.machine.Deadline(s.target.rules); ok {
		s.wake = min(s.wake, deadline)
	}
}

// Run probes until ctx is done, stops all probes, saves the verdicts, and
// returns when its last goroutine has ended. The error is that of the last
// save. Run is called once.
func (c *Checker) Run(ctx context.Context) error {
	if !c.begin() {
		return errors.New("health checks run already, or have been stopped")
	}
	saverDone := make(chan struct{})
	go func() {
		defer close(saverDone)
		c.saveLoop(ctx)
	}()
	c.loop(ctx)
	c.probes.Wait() // their contexts are done, and there is room for all their results
	c.mu.Lock()
	c.running = 0
	c.mu.Unlock()
	<-saverDone
	return c.save()
}

// begin plans the first round. False: Run was called before.
func (c *Checker) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started {
		return false
	}
	c.started = true
	now := c.now()
	for _, t := range c.order {
		for _, s := range t.subjects {
			s.plan(now)
			heap.Push(&c.queue, s)
		}
	}
	return true
}

// loop is Run's goroutine until ctx is done.
func (c *Checker) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-c.results:
			c.tell(c.finish(f))
		case <-timer.C:
		case <-c.kick:
		}
		out, wait := c.turn(ctx)
		c.tell(out)
		timer.Reset(wait)
	}
}

// finish steps a machine with the end of its probe, and with all others that
// have come in the meantime, so that many verdicts are one change.
func (c *Checker) finish(f finished) (out outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	c.finishOne(f, now, &out)
	for range len(c.results) {
		c.finishOne(<-c.results, now, &out)
	}
	return out
}

// finishOne steps one machine with the end of its probe.
func (c *Checker) finishOne(f finished, now time.Duration, out *outcome) {
	c.running--
	s := f.subject
	if s.removed || f.stopped {
		c.stats.Discarded++
		return
	}
	s.probing, s.stop, s.last = false, nil, f.result
	event := Event{Kind: ProbeFailed, Latency: f.result.Latency}
	if f.result.OK {
		event.Kind = ProbeGood
	}
	if counts := &c.counts[int(s.target.check.Kind)%kindEnd]; f.result.OK {
		counts.Good++
	} else {
		counts.Failed++
	}
	c.step(s, event, now, out)
	heap.Fix(&c.queue, s.index)
}

// step steps a subject's machine. The caller restores the order of the queue.
func (c *Checker) step(s *subject, e Event, now time.Duration, out *outcome) {
	machine, change := s.machine.Step(s.target.rules, e, now)
	s.machine = machine
	s.setWake()
	if !change.Any() {
		return
	}
	out.changed = true
	s.target.combine()
	if !change.Verdict() {
		return
	}
	c.sequence++
	c.stats.Verdicts++
	s.decision = fmt.Sprintf("v-%s-%d", c.boot, c.sequence)
	out.decisions = append(out.decisions, decision{
		id: s.decision, target: s.target.id, address: s.dest.name(), change: change, reason: s.last.Reason,
	})
}

// turn ticks machines, starts the probes that are due, and says how long to wait.
func (c *Checker) turn(ctx context.Context) (out outcome, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	for len(c.waiting) > 0 && c.running < c.probesMax {
		s := c.waiting[0]
		c.waiting = c.waiting[1:]
		if s.removed {
			continue
		}
		s.waits = false
		c.start(ctx, s, now)
		heap.Fix(&c.queue, s.index)
	}
	for len(c.queue) > 0 && c.queue[0].wake <= now {
		s := c.queue[0]
		if deadline, ok := s.machine.Deadline(s.target.rules); ok && deadline <= now {
			c.step(s, Event{Kind: Tick}, now, &out)
		}
		switch {
		case s.probing || s.waits || s.next > now:
		case c.running < c.probesMax:
			c.start(ctx, s, now)
		default:
			s.waits = true
			c.waiting = append(c.waiting, s)
			s.setWake()
		}
		heap.Fix(&c.queue, s.index)
	}
	if len(c.queue) == 0 {
		return out, never
	}
	return out, c.queue[0].wake - now
}

// start begins the probe of a subject and sets the time of its next. The
// caller restores the order of the queue.
func (c *Checker) start(ctx context.Context, s *subject, now time.Duration) {
	following := s.next + s.machine.NextProbe(s.target.rules)
	if s.after != 0 {
		following, s.after = s.after, 0
	}
	if following <= now {
		// Waited for longer than an interval: what was missed is not made up for.
		following = now + s.machine.NextProbe(s.target.rules)
	}
	s.next = following
	s.probing = true
	s.setWake()
	c.running++
	probeCtx, stop := context.WithCancel(ctx)
	s.stop = stop
	p := s.prober
	c.probes.Go(func() {
		defer stop()
		result := c.probe(probeCtx, p)
		c.results <- finished{subject: s, result: result, stopped: probeCtx.Err() != nil}
	})
}

// tell passes on what a turn found, with no lock held: first to those who
// answer by it, then to the log and the state file.
func (c *Checker) tell(out outcome) {
	if !out.changed {
		return
	}
	if c.cfg.OnChange != nil {
		c.cfg.OnChange()
	}
	for _, d := range out.decisions {
		level := slog.LevelInfo
		if d.change.To == steering.Down {
			level = slog.LevelWarn
		}
		c.cfg.Log.LogAttrs(context.Background(), level, "verdict",
			slog.String("id", d.id), slog.String("target", d.target), slog.String("address", d.address),
			slog.String("from", d.change.From.String()), slog.String("to", d.change.To.String()),
			slog.String("reason", d.reason))
	}
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// queue is a heap of subjects by the time at which they are looked at.
type queue []*subject

// Len is the number of subjects.
func (q queue) Len() int { return len(q) }

// Less puts the earlier one first.
func (q queue) Less(i, j int) bool { return q[i].wake < q[j].wake }

// Swap exchanges two subjects.
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push appends a subject; for container/heap.
func (q *queue) Push(x any) {
	s, _ := x.(*subject) // container/heap passes on what start, plan and carry gave it
	s.index = len(*q)
	*q = append(*q, s)
}

// Pop removes the last subject; for container/heap.
func (q *queue) Pop() any {
	last := len(*q) - 1
	s := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	s.index = -1
	return s
}
