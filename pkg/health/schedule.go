package health

import (
	"container/heap"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"time"
)

// The schedule
//
// One goroutine, that of Run, decides when each subject is probed, and gives
// the probe to a worker. Workers hand their results to the fleet themselves,
// one at a time, and wake the loop only where there is something to tell or to
// do sooner: so a probe that finds nothing new costs one wake-up, not three.
// The loop tells: OnChange is never called twice at once.
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
// scaling keeps the spread. What fails moves nothing of this: the regular
// probes are as many whatever they find.
//
// Probes of an address in doubt that come early are beside the regular ones,
// and bounded over all addresses by a bucket. When it is empty, an address in
// doubt waits for its next regular probe, as it would have without them: that
// is so only while very much fails at once.

// never is later than any time.
const never = time.Duration(math.MaxInt64)

const (
	// manyProbes a second, and more, are started in groups: those that are due
	// within startsTogether with one wake-up. A millisecond's lateness on average
	// is nothing to a probe.
	manyProbes     = 1000
	startsTogether = 2 * time.Millisecond
)

// workersIdle is how many workers may wait for the next probe: as many as a
// large fleet has under way while all is well. Each is some kilobytes, and
// saves the growth of a new goroutine's stack.
const workersIdle = 64

const (
	// earlyRateMin is how many early probes a second there may be in any case:
	// enough for a hundred targets that die at once, and nothing to a machine.
	earlyRateMin = 100.0

	// bucketSeconds is how many seconds' early probes may come at once.
	bucketSeconds = 1.0

	// earlyPart: of more regular probes than that many times earlyRateMin, early
	// ones may be this part, so that a fleet that fails costs a tenth more.
	earlyPart = 0.1
)

// subject is what is probed: one address, or the host name, of one target; or
// a canary. Its fields are guarded by Checker.mu; its prober is used by one
// probe at a time.
type subject struct {
	target  *target // nil: a canary
	number  int     // of the address in its target's machine, or of the canary
	dest    destination
	hash    uint64 // f, as a fraction of 2^64
	prober  *prober
	last    Result // of the last probe
	history ring

	next    time.Duration // when the next regular probe starts
	after   time.Duration // when the one behind it starts, if spreading asks for it; 0: an interval later
	soon    time.Duration // when a probe starts early; never: none does
	probing bool
	early   bool          // the probe under way came early
	began   time.Duration // when it did
	stop    context.CancelFunc
	waits   bool // due, but all slots are taken
	removed bool
	timer   timer
}

// job is a probe to be made.
type job struct {
	ctx     context.Context //nolint:containedctx // of this probe alone, on its way to the worker
	stop    context.CancelFunc
	subject *subject
	prober  *prober
}

// makeSubject makes the subject of a target's address.
func (c *Checker) makeSubject(t *target, number int, dest destination, now time.Duration) *subject {
	s := newSubject(t.id, number, dest)
	s.target = t
	c.proberFor(s, &t.check)
	if c.started {
		s.plan(t.machine.rules.Interval, now)
		heap.Push(&c.queue, &s.timer)
	}
	return s
}

// makeCanary makes the subject of a canary.
func (c *Checker) makeCanary(number int, t *Target) (*subject, error) {
	dests := destinations(t)
	if len(dests) != 1 || t.Check == nil {
		return nil, fmt.Errorf("canary %q: one address and a check are wanted", t.ID)
	}
	check := t.Check.WithDefaults()
	if err := check.Validate(); err != nil {
		return nil, fmt.Errorf("canary %q: %w", t.ID, err)
	}
	s := newSubject(t.ID, number, dests[0])
	c.proberFor(s, &check)
	return s, nil
}

// newSubject makes a subject without prober and plan.
func newSubject(id string, number int, dest destination) *subject {
	sum := sha256.Sum256([]byte(id + " " + dest.name()))
	s := &subject{number: number, dest: dest, hash: binary.BigEndian.Uint64(sum[:]), soon: never}
	s.timer = timer{subject: s, index: -1}
	return s
}

// interval is the time between two regular probes.
func (s *subject) interval() time.Duration {
	if s.target == nil {
		return s.prober.check.Interval
	}
	return s.target.machine.rules.Interval
}

// part gives f of d.
func (s *subject) part(d time.Duration) time.Duration {
	high, _ := bits.Mul64(s.hash, uint64(d)) //nolint:gosec // no time here is negative
	return time.Duration(high)               //nolint:gosec // less than d
}

// plan sets the times of the first two probes.
func (s *subject) plan(interval, now time.Duration) {
	window := min(interval, firstRound)
	s.next = now + s.part(window)
	s.after = now + window + s.part(interval)
	s.setWake()
}

// carry moves a subject over to its target's successor.
func (c *Checker) carry(s *subject, made *target, number int, now time.Duration) {
	before := s.target.check.rules(c.cfg.MaxAge).Interval
	s.target, s.number = made, number
	c.proberFor(s, &made.check)
	if !c.started {
		return
	}
	if to := made.machine.rules.Interval; before != to {
		s.replan(now, before, to)
	}
	s.setWake()
	c.fix(&s.timer)
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
	c.unqueue(&s.timer)
}

// setWake computes when the scheduler has to look at the subject again.
func (s *subject) setWake() {
	switch {
	case s.waits, s.probing && !s.early: // looked at when it has its slot, or ends
		s.timer.wake = never
	case s.probing: // an early one stands in for a regular one that it overlaps
		s.timer.wake = s.next
	default:
		s.timer.wake = min(s.next, s.soon)
	}
}

// schedule sees to it that the scheduler looks at a target again in time. Each
// probe puts off the time at which a verdict is too old; a timer that comes too
// early now and then costs less than to move it at each.
func (c *Checker) schedule(t *target, now time.Duration) {
	wake, ok := t.machine.Deadline(now)
	if ok && (t.timer.index < 0 || wake < t.timer.wake) {
		c.setTimer(&t.timer, wake)
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
	close(c.ended)
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
	subjects := slices.Clone(c.canaries)
	for _, t := range c.order {
		c.schedule(t, now)
		subjects = append(subjects, t.subjects...)
	}
	for _, s := range subjects {
		s.plan(s.interval(), now)
		heap.Push(&c.queue, &s.timer)
	}
	c.early.last, c.early.tokens = now, c.early.rate*bucketSeconds
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
		case r := <-c.votes:
			out, answer := c.vote(&r)
			c.tell(&out)
			r.answer <- answer
		case <-timer.C:
		case <-c.kick:
		}
		out, wait := c.turn(ctx)
		c.tell(&out)
		timer.Reset(wait)
	}
}

// work makes probes until there are workers enough that have nothing to do.
func (c *Checker) work(j job) {
	for more := true; more; {
		result := c.probe(j.ctx, j.prober)
		more = c.finish(&j, &result)
		j.stop()
		if !more {
			return
		}
		select {
		case j = <-c.jobs:
		case <-c.ended:
			more = false
		}
	}
}

// finish takes in the end of a probe, and says whether its worker is to stay.
func (c *Checker) finish(j *job, result *Result) (stay bool) {
	stopped := j.ctx.Err() != nil // by us before it ended: the result says nothing about the target
	c.mu.Lock()
	now := c.now()
	c.running--
	if s := j.subject; s.removed || stopped {
		c.counts.Discarded++
	} else {
		c.take(s, result, now)
	}
	c.note(&c.untold, now)
	look := !c.untold.empty() || len(c.waiting) > 0 || (len(c.queue) > 0 && c.queue[0].wake < c.asleep)
	if stay = c.idle < workersIdle; stay {
		c.idle++
	}
	c.mu.Unlock()
	if look {
		signal(c.kick)
	}
	return stay
}

// take takes in the result of a probe.
func (c *Checker) take(s *subject, result *Result, now time.Duration) {
	warned := s.last.Warning != ""
	s.probing, s.stop, s.last = false, nil, *result
	s.soon = never
	if s.target == nil {
		c.fleet.Canary(s.number, result.OK, s.began, now)
		c.takeReview()
	} else {
		c.judge(s, now)
		if result.Warning != "" && !warned {
			c.untold.warnings = append(c.untold.warnings, warning{s.target.id, s.dest.name(), result.Warning})
		}
	}
	s.setWake()
	c.fix(&s.timer)
}

// judge hands a probe of a target to the fleet, and plans what follows.
func (c *Checker) judge(s *subject, now time.Duration) {
	t, result := s.target, &s.last
	c.counts.probe(&t.check, result)
	c.fleet.Probe(t.machine, s.number, result.OK, result.Latency, now)
	c.keep(s, result, now)
	if after, early := c.fleet.Recheck(t.machine, s.number); early {
		s.soon = now + after
	}
	c.takeReview()
	c.schedule(t, now)
}

// takeReview sets when the fleet is to be reviewed.
func (c *Checker) takeReview() {
	wake, ok := c.fleet.Deadline()
	if !ok {
		wake = never
	}
	c.setTimer(&c.review, wake)
}

// turn ticks machines, starts the probes that are due, and says how long to wait.
func (c *Checker) turn(ctx context.Context) (out outcome, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out, c.untold = c.untold, outcome{}
	now := c.now()
	for len(c.waiting) > 0 && c.running < c.slots {
		s := c.waiting[0]
		c.waiting = c.waiting[1:]
		if s.removed {
			continue
		}
		s.waits = false
		c.start(ctx, s, now)
		c.fix(&s.timer)
	}
	for len(c.queue) > 0 && c.queue[0].wake <= now {
		c.wake(ctx, c.queue[0].timer, now)
	}
	c.note(&out, now)
	c.asleep = never
	if len(c.queue) > 0 {
		c.asleep = max(c.queue[0].wake, now+c.together)
	}
	return out, c.asleep - now
}

// wake looks at what a timer has come for.
func (c *Checker) wake(ctx context.Context, t *timer, now time.Duration) {
	switch {
	case t.target != nil:
		c.fleet.Tick(t.target.machine, now)
		c.unqueue(t)
		c.schedule(t.target, now)
		return
	case t.subject == nil:
		c.fleet.Review(now)
		c.takeReview()
		for _, t := range c.order { // whatever was held may move now
			c.schedule(t, now)
		}
		return
	}
	s := t.subject
	switch {
	case s.probing: // early
		s.skip(now)
	case s.next > now && !c.early.take(now):
		s.soon = never
		c.counts.RechecksDenied++
	case c.running >= c.slots && s.target != nil: // canaries are few, and everything may hang on them
		s.waits = true
		c.waiting = append(c.waiting, s)
	default:
		c.start(ctx, s, now)
	}
	s.setWake()
	c.fix(&s.timer)
}

// skip sets the time of the next regular probe.
func (s *subject) skip(now time.Duration) {
	following := s.next + s.interval()
	if s.after != 0 {
		following, s.after = s.after, 0
	}
	if following <= now {
		// Waited for longer than an interval: what was missed is not made up for.
		following = now + s.interval()
	}
	s.next = following
}

// start begins the probe of a subject and sets the time of its next. The
// caller restores the order of the queue.
func (c *Checker) start(ctx context.Context, s *subject, now time.Duration) {
	s.early = s.next > now
	if s.early {
		c.counts.Rechecks++
	} else {
		c.counts.Lateness.observe(now-s.next, "", time.Time{})
		s.skip(now)
	}
	s.probing, s.began, s.soon = true, now, never
	s.setWake()
	c.running++
	probeCtx, stop := context.WithCancel(ctx)
	s.stop = stop
	j := job{probeCtx, stop, s, s.prober}
	select {
	case c.jobs <- j:
		c.idle--
	default:
		c.probes.Go(func() { c.work(j) })
	}
}

// bucket bounds early probes: so many a second, and those of bucketSeconds at once.
type bucket struct {
	rate, tokens float64
	last         time.Duration
}

// setRate makes the rate fit so many regular probes a second.
func (b *bucket) setRate(regular float64) {
	b.rate = max(earlyRateMin, earlyPart*regular)
	b.tokens = min(b.tokens, b.rate*bucketSeconds)
}

// take takes a token if there is one.
func (b *bucket) take(now time.Duration) bool {
	b.tokens = min(b.rate*bucketSeconds, b.tokens+b.rate*(now-b.last).Seconds())
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// timer is a place in the queue: of a subject, of a target's machine, or, with
// neither, of the fleet.
type timer struct {
	wake    time.Duration
	subject *subject
	target  *target
	index   int // in the queue; -1: not there
}

// setTimer queues a timer, or takes it out for never.
func (c *Checker) setTimer(t *timer, wake time.Duration) {
	t.wake = wake
	switch {
	case !c.started || (wake == never && t.index < 0):
	case wake == never:
		heap.Remove(&c.queue, t.index)
	case t.index < 0:
		heap.Push(&c.queue, t)
	default:
		c.fix(t)
	}
}

// fix puts a timer that is queued to where its time belongs.
func (c *Checker) fix(t *timer) {
	c.queue[t.index].wake = t.wake
	heap.Fix(&c.queue, t.index)
}

// unqueue takes a timer out of the queue.
func (c *Checker) unqueue(t *timer) {
	if t.index >= 0 {
		heap.Remove(&c.queue, t.index)
	}
}

// queue is a heap of timers. Each has its time beside it, for a heap is all
// comparing, and the timers themselves lie all over the memory.
type queue []queued

// queued is a timer with its time.
type queued struct {
	wake  time.Duration
	timer *timer
}

// Len is the number of timers.
func (q queue) Len() int { return len(q) }

// Less puts the earlier one first.
func (q queue) Less(i, j int) bool { return q[i].wake < q[j].wake }

// Swap exchanges two timers.
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].timer.index, q[j].timer.index = i, j
}

// Push appends a timer; for container/heap.
func (q *queue) Push(x any) {
	t, _ := x.(*timer) // nothing else is pushed
	t.index = len(*q)
	*q = append(*q, queued{t.wake, t})
}

// Pop removes the last timer; for container/heap.
func (q *queue) Pop() any {
	last := len(*q) - 1
	t := (*q)[last].timer
	(*q)[last] = queued{}
	*q = (*q)[:last]
	t.index = -1
	return t
}
