package health

import (
	"slices"
	"time"
)

const (
	// HistoryMax is how many probes of an address are kept: at the default
	// interval the last 21 minutes. Each takes 16 bytes, so 10,000 addresses
	// take 41 MB.
	HistoryMax = 256

	// reasonsKept bounds the different reasons that are kept for all probes:
	// most are the same few, but part of a reason may be a back end's text.
	reasonsKept = 4096

	// sweepEvery is how often those that are full are swept at most: a look at
	// all records of 10,000 addresses takes some milliseconds.
	sweepEvery = time.Minute

	// reasonLost stands for a reason that came when there was no room for it.
	reasonLost = "(there are too many different reasons to keep this one)"
)

// Probed is a probe that was kept.
type Probed struct {
	Address string
	At      time.Time // when it ended
	OK      bool
	Latency time.Duration
	Reason  string
	Recheck bool // it came early, for a failure was in doubt
	Void    bool // the checker doubted itself
}

// The flags of a record.
const (
	recordOK = 1 << iota
	recordRecheck
	recordVoid
)

// record is a probe in 16 bytes.
type record struct {
	at      time.Duration // since the epoch
	latency uint32        // microseconds
	reason  uint16
	flags   uint8
}

// ring keeps the last HistoryMax records. It grows as they come.
type ring struct {
	records []record
	next    int // to be overwritten, once there are HistoryMax
}

// add keeps a record.
func (r *ring) add(x record) {
	if len(r.records) < HistoryMax {
		r.records = append(r.records, x)
		return
	}
	r.records[r.next] = x
	r.next = (r.next + 1) % HistoryMax
}

// all gives the records, oldest first.
func (r *ring) all() []record {
	return slices.Concat(r.records[r.next:], r.records[:r.next])
}

// reasons numbers texts. A number keeps its meaning for as long as a record has it.
type reasons struct {
	texts   []string
	numbers map[string]uint16
	free    []uint16      // numbers whose texts no record has any more
	swept   time.Duration // when these were looked for
}

// newReasons makes one that knows what to say when it is full.
func newReasons() reasons {
	return reasons{texts: []string{reasonLost}, numbers: map[string]uint16{}}
}

// number gives a text's number.
func (r *reasons) number(text string) uint16 {
	if n, known := r.numbers[text]; known {
		return n
	}
	if n := len(r.free); n > 0 {
		number := r.free[n-1]
		r.free = r.free[:n-1]
		r.texts[number], r.numbers[text] = text, number
		return number
	}
	if len(r.texts) >= reasonsKept {
		return 0
	}
	n := uint16(len(r.texts)) //nolint:gosec // below reasonsKept
	r.texts = append(r.texts, text)
	r.numbers[text] = n
	return n
}

// sweep frees the numbers that no record has, once all are given.
func (c *Checker) sweep(now time.Duration) {
	r := &c.reasons
	if len(r.texts) < reasonsKept || len(r.free) > 0 || now-r.swept < sweepEvery {
		return
	}
	r.swept = now
	used := make([]bool, reasonsKept)
	for _, t := range c.order {
		for _, s := range t.subjects {
			for _, x := range s.history.records {
				used[x.reason] = true
			}
		}
	}
	for n := 1; n < len(r.texts); n++ { // 0 stays what it is
		if !used[n] {
			delete(r.numbers, r.texts[n])
			r.free = append(r.free, uint16(n)) //nolint:gosec // below reasonsKept
		}
	}
}

// keep keeps a probe that ended at now.
func (c *Checker) keep(s *subject, result *Result, now time.Duration) {
	c.sweep(now)
	x := record{at: now, latency: uint32(min(result.Latency.Microseconds(), 1<<32-1)), reason: c.reasons.number(result.Reason)}
	if result.OK {
		x.flags |= recordOK
	}
	if s.early {
		x.flags |= recordRecheck
	}
	if c.fleet.Doubt() != Confident {
		x.flags |= recordVoid
	}
	s.history.add(x)
}

// History gives the last probes of all addresses of a target, oldest first, at
// most HistoryMax of each. False: it is no target, or has no check.
func (c *Checker) History(targetID string) ([]Probed, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.targets[targetID]
	if t == nil {
		return nil, false
	}
	wall, now := time.Now(), c.now()
	var all []Probed
	for _, s := range t.subjects {
		for _, x := range s.history.all() {
			all = append(all, Probed{
				Address: s.dest.name(), At: wall.Add(x.at - now).Round(0), OK: x.flags&recordOK != 0,
				Latency: time.Duration(x.latency) * time.Microsecond, Reason: c.reasons.texts[x.reason],
				Recheck: x.flags&recordRecheck != 0, Void: x.flags&recordVoid != 0,
			})
		}
	}
	slices.SortStableFunc(all, func(a, b Probed) int { return a.At.Compare(b.At) })
	return all, true
}
