package operator

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"geodns/internal/durable"
	"geodns/pkg/policy"
	"geodns/pkg/steering"
)

const (
	// LeasesMax is the most active leases. People have some tens at most; each is compared with each target's names, and kept in
	// a file that is written whole.
	LeasesMax = 1000
	// TombstonesMax is the most leases that are kept after they ended, the oldest dropped first.
	TombstonesMax = 1000
	// tombstoneFor is how long one is kept after it would have expired: until nobody who heard of the lease can take it for one
	// that still holds, and long enough to see in the morning what was done at night.
	tombstoneFor = 24 * time.Hour
	// acceptedMax bounds the breaks that are kept with a lease, in bytes of JSON: about as many as Guards tells. With all else at
	// its longest, each byte of it escaped as six, a lease then has less than the 20 KiB that the audit log takes.
	acceptedMax = 6 << 10
	// recordAgain is how long after a failure the ends of leases are recorded anew.
	recordAgain = 10 * time.Second
)

// Ourselves is who ends leases that expire.
const Ourselves = "geodns"

// Record writes entries to the audit log. When it returns without an error they are on disk, and it has filled in their numbers.
type Record func(...Entry) ([]Entry, error)

// BookConfig is what a Book is made of.
type BookConfig struct {
	Path   string // the file of leases; "": none, all are read from the audit log
	Record Record
	Replay func(after uint64) ([]Entry, error) // entries of the audit log behind that number, oldest first; nil: none
	Now    func() time.Time                    // nil: time.Now
	// ReadOnly: the file is read and never written, as where the audit log is another process's, and so the file.
	ReadOnly bool
	MaxFor   time.Duration // the longest lease; 0: LeaseForDefault
	Log      *slog.Logger  // nil: nothing is logged
}

// Book is all leases, and the one place where they change. Its methods may be called from any goroutine; those that change
// something wait for the disk. What it gives out is its own: not to be written to.
type Book struct {
	cfg       BookConfig
	overrides atomic.Pointer[Overrides]

	mu       sync.Mutex        // guards the following
	leases   map[string]*Lease // by id; a lease is replaced, never written to
	revision uint64            // the largest that was given
	seq      uint64            // the last entry of the audit log that the leases have in them
	owed     []ending          // ends that are not recorded yet
	unsaid   []Lease           // ... that Expire has not returned yet
	failing  bool              // the last attempt to record an end failed; said once
}

// ending is a lease before and after it expired.
type ending struct{ before, after Lease }

// Scene is what is served, for which guards and impacts are found.
type Scene struct {
	Compiled *policy.Compiled
	Verdict  func(*policy.Target) steering.Verdict // before leases; nil: all are up
}

// Change is what a change of a lease did, or would do.
type Change struct {
	Lease   Lease
	Before  *Lease   // the active lease with this id until then; nil: none
	Changed bool     // false: the lease was the same already
	Breaks  []string // what guards have against it
	Entry   Entry    // of the audit log, if something changed
	Impact  *Impact  // of a dry run; nil where no clients are touched by what is asked
}

// ErrNoLease says that no lease has an id.
var ErrNoLease = errors.New("there is no such lease")

// ConflictError says that an id is taken by a lease that does something else.
type ConflictError struct{ Have Lease }

// Error says what the lease with this id does.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("lease %s is another's: it is a %s of %s, of %s until %s; choose another id, or end it first", e.Have.ID, e.Have.Action, e.Have.Object,
		e.Have.Owner, e.Have.Expires.Format(time.RFC3339))
}

// OpenBook reads the leases: those of the file, and what the audit log has of them behind it. An unreadable file costs nothing but
// the time to read the whole log. What has expired meanwhile is ended by the first Expire.
func OpenBook(cfg BookConfig) (*Book, error) {
	if cfg.Record == nil {
		return nil, errors.New("a book of leases needs an audit log to record its changes in")
	}
	cfg.MaxFor = cmp.Or(cfg.MaxFor, LeaseForDefault)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	b := &Book{cfg: cfg, leases: map[string]*Lease{}}
	if err := b.read(); err != nil {
		return nil, err
	}
	if err := b.replay(); err != nil {
		return nil, err
	}
	now := cfg.Now()
	b.prune(now)
	b.overrides.Store(newOverrides(maps.Values(b.leases), now))
	return b, nil
}

// read takes over what the file has. Without one, or with one that does not hold, the audit log is read from its beginning.
func (b *Book) read() error {
	if b.cfg.Path == "" {
		return nil
	}
	s, err := durable.Load(b.cfg.Path, decodeSnapshot)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, corrupt := errors.AsType[*durable.CorruptError](err); corrupt {
		b.log(slog.LevelWarn, "the file of leases is of no use; they are read from the audit log", slog.String("reason", err.Error()))
		return nil
	}
	if err != nil && b.cfg.Replay != nil {
		b.log(slog.LevelError, "the file of leases cannot be read; they are read from the audit log", slog.String("reason", err.Error()))
		return nil
	}
	if err != nil {
		return fmt.Errorf("leases: %w", err)
	}
	b.seq, b.revision = s.Seq, s.Revision
	for i := range s.Leases {
		l := &s.Leases[i]
		b.leases[l.ID] = l
		b.revision = max(b.revision, l.Revision)
	}
	return nil
}

// replay applies what the audit log has behind the file.
func (b *Book) replay() error {
	if b.cfg.Replay == nil {
		return nil
	}
	entries, err := b.cfg.Replay(b.seq)
	if err != nil {
		return fmt.Errorf("leases: reading the audit log from entry %d on: %w", b.seq+1, err)
	}
	for i := range entries {
		e := &entries[i]
		if e.Seq <= b.seq || (e.Kind != EntryLeasePut && e.Kind != EntryLeaseEnd && e.Kind != EntryLeaseOver) {
			continue
		}
		b.seq = e.Seq
		var l Lease
		err := json.Unmarshal(e.After, &l)
		if err == nil {
			err = l.sound()
		}
		if err != nil {
			b.log(slog.LevelError, "an entry of the audit log is no lease and is passed over", slog.Uint64("audit_seq", e.Seq), slog.String("reason", err.Error()))
			continue
		}
		b.leases[l.ID] = &l
		b.revision = max(b.revision, l.Revision)
	}
	return nil
}

// Put makes a lease, or changes or renews the active one with its id; where that is the same already nothing happens. The errors
// are a *RequestError, a *ConflictError, a *GuardError where something would break and the request does not override that, or that
// of recording it, and then nothing has changed.
func (b *Book) Put(req Request, s Scene) (Change, error) {
	change, p, err := b.put(&req, s)
	if err != nil || !req.DryRun {
		return change, err
	}
	change.Impact, err = p.impact(req.Object)
	return change, err
}

// put is Put without the impact, which takes its time and needs no lock.
func (b *Book) put(req *Request, s Scene) (Change, *prospect, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.cfg.Now()
	if err := req.check(now, b.cfg.MaxFor); err != nil {
		return Change{}, nil, err
	}
	if err := checkObject(req.Object, s.Compiled); err != nil {
		return Change{}, nil, err
	}
	had := b.active(req.ID, now)
	if had != nil && (had.Action != req.Action || had.Object != req.Object) {
		return Change{}, nil, &ConflictError{Have: *had}
	}
	if had == nil && b.countActive(now) >= LeasesMax {
		return Change{}, nil, wrong("id", "there are %d active leases, which is the most: end some first", LeasesMax)
	}
	lease := b.next(req, had, now)
	p := b.prospect(s, req.ID, &lease, now)
	change := Change{Before: had, Breaks: b.breaksOf(s, had, &lease, p)}
	if len(change.Breaks) > 0 && !req.Override && !req.DryRun {
		return Change{}, nil, &GuardError{Breaks: change.Breaks}
	}
	lease.Override = b.accepted(req, s, had, &lease, change.Breaks, now)
	if had != nil && had.same(&lease) {
		change.Lease = *had
		return change, p, nil
	}
	change.Lease, change.Changed = lease, true
	if req.DryRun {
		return change, p, nil
	}
	err := b.commit(&change, EntryLeasePut, req.Owner, req.Reason, now)
	return change, nil, err
}

// breaksOf is what guards have against a lease: what it breaks now, and what it breaks when the leases are over that end before it.
// Whoever may not break something may not prolong either what breaks it by another's leave.
func (b *Book) breaksOf(s Scene, had, lease *Lease, now *prospect) []string {
	breaks := now.breaks()
	if had != nil && !lease.Expires.After(had.Expires) {
		return breaks
	}
	for _, later := range b.prospectAt(s, lease, lease.Expires.Add(-1)).breaks() {
		if !slices.Contains(breaks, later) {
			breaks = append(breaks, later)
		}
	}
	return breaks
}

// next is the lease that a request makes, of one that it had or a new one.
func (b *Book) next(req *Request, had *Lease, now time.Time) Lease {
	l := Lease{
		ID: req.ID, Revision: b.revision + 1, Action: req.Action, Object: req.Object, State: req.State, Owner: req.Owner, Reason: req.Reason,
		Ticket: req.Ticket, Created: wall(now), Updated: wall(now), Expires: wall(req.Expires),
	}
	if req.Admit != nil {
		admit := *req.Admit
		l.Admit = &admit
	}
	if had != nil {
		l.Created = had.Created
	}
	return l
}

// wall is a time as it comes back from JSON.
func wall(t time.Time) time.Time { return t.UTC().Round(0) }

// accepted lists what a lease breaks and its owners accepted: now, and before as far as it still does.
func (b *Book) accepted(req *Request, s Scene, had, lease *Lease, breaks []string, now time.Time) (out []string) {
	if had != nil && effectOf(had) == effectOf(lease) {
		return had.Override
	}
	if had != nil && len(had.Override) > 0 {
		still := b.prospectAt(s, lease, now).breaks()
		for _, was := range had.Override {
			if slices.Contains(still, was) {
				out = append(out, was)
			}
		}
	}
	if !req.Override {
		return out
	}
	for _, broken := range breaks {
		if !slices.Contains(out, broken) {
			out = append(out, broken)
		}
	}
	return fitting(out)
}

// fitting cuts a list of breaks to what a lease has room for.
func fitting(breaks []string) []string {
	size := 0
	for i, s := range breaks {
		size += len(asJSON(s))
		if size > acceptedMax {
			return append(slices.Clip(breaks[:i]), "and more")
		}
	}
	return breaks
}

// End ends a lease by hand; it is ErrNoLease if there is none with this id. One that has ended stays as it is. Nothing that ends is
// ever refused by a guard.
func (b *Book) End(id, owner, reason string, dry bool, s Scene) (Change, error) {
	change, p, err := b.end(id, owner, reason, dry, s)
	if err != nil || p == nil {
		return change, err
	}
	change.Impact, err = p.impact(change.Lease.Object)
	return change, err
}

// end is End without the impact; the prospect is nil unless there is one to be found.
func (b *Book) end(id, owner, reason string, dry bool, s Scene) (Change, *prospect, error) {
	if err := checkLine("owner", owner, 1, WhoMax); err != nil {
		return Change{}, nil, err
	}
	if err := checkLine("reason", reason, 0, ReasonMax); err != nil {
		return Change{}, nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.cfg.Now()
	kept, have := b.leases[id]
	if !have {
		return Change{}, nil, fmt.Errorf("lease %q: %w", clip(id), ErrNoLease)
	}
	l, had := *kept, b.active(id, now)
	if had == nil {
		if l.Ended.IsZero() {
			l = b.over(l) // and recorded as such by the next Expire
		}
		return Change{Lease: l}, nil, nil
	}
	l.Revision, l.Updated, l.Ended, l.EndedBy, l.EndReason = b.revision+1, wall(now), wall(now), owner, reason
	change := Change{Lease: l, Before: had, Changed: true}
	if dry {
		if s.Compiled == nil {
			return change, nil, nil
		}
		return change, b.prospect(s, id, nil, now), nil
	}
	err := b.commit(&change, EntryLeaseEnd, owner, reason, now)
	return change, nil, err
}

// over is a lease that expired.
func (b *Book) over(l Lease) Lease {
	l.Revision, l.Updated, l.Ended = b.revision+1, l.Expires, l.Expires
	return l
}

// Expire ends what is over, and gives the leases that ended so since the last call and when the next one will (zero: none is left).
// A lease never outlives its expiry: where the end cannot be recorded, which is the error, it has ended all the same, and next is
// when to call again so that it is recorded.
func (b *Book) Expire(now time.Time) (ended []Lease, next time.Time, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	changed := b.expire(now)
	if len(b.owed) > 0 {
		if _, err = b.record(); err == nil {
			changed = true
			b.failing = false
		} else if !b.failing {
			b.failing = true
			b.log(slog.LevelError, "the ends of leases are not recorded in the audit log, and will be", slog.Int("count", len(b.owed)), slog.String("reason", err.Error()))
		}
	}
	if changed {
		b.publish(now)
	}
	ended, b.unsaid = b.unsaid, nil
	for _, l := range b.leases {
		if l.Ended.IsZero() && (next.IsZero() || l.Expires.Before(next)) {
			next = l.Expires
		}
	}
	if again := now.Add(recordAgain); len(b.owed) > 0 && (next.IsZero() || again.Before(next)) {
		next = again
	}
	return ended, next, err
}

// expire makes tombstones of leases that are over, in the order in which they ended; their entries are owed to the audit log.
func (b *Book) expire(now time.Time) bool {
	var over []*Lease
	for _, l := range b.leases {
		if l.Ended.IsZero() && !now.Before(l.Expires) {
			over = append(over, l)
		}
	}
	slices.SortFunc(over, func(a, c *Lease) int { return cmp.Or(a.Expires.Compare(c.Expires), cmp.Compare(a.ID, c.ID)) })
	for _, l := range over {
		after := b.over(*l)
		b.revision = after.Revision
		b.leases[l.ID] = &after
		b.owed = append(b.owed, ending{before: *l, after: after})
		b.unsaid = append(b.unsaid, after)
	}
	return len(over) > 0
}

// commit records a change and then makes it; if it cannot, the change is empty. What expired before it is recorded before it.
func (b *Book) commit(c *Change, kind, who, why string, now time.Time) error {
	expired := b.expire(now)
	l := &c.Lease
	l.Revision = b.revision + 1 // behind those that expired
	written, err := b.record(entryOf(kind, who, why, c.Before, l))
	if err != nil {
		err = fmt.Errorf("lease %s is not changed, for it cannot be recorded in the audit log: %w", l.ID, err)
		*c = Change{}
		if expired {
			b.publish(now)
		}
		return err
	}
	c.Entry = written
	b.revision = l.Revision
	done := *l // the change is the caller's
	b.leases[l.ID] = &done
	b.publish(now)
	return nil
}

// record writes the ends that are owed and then entries to the audit log; it gives the last.
func (b *Book) record(entries ...Entry) (Entry, error) {
	all := make([]Entry, 0, len(b.owed)+len(entries))
	for i := range b.owed {
		all = append(all, entryOf(EntryLeaseOver, Ourselves, "", &b.owed[i].before, &b.owed[i].after))
	}
	all = append(all, entries...)
	written, err := b.cfg.Record(all...)
	if err != nil {
		return Entry{}, err
	}
	if len(written) != len(all) {
		return Entry{}, fmt.Errorf("%d of %d entries were written, which is a fault of this program", len(written), len(all))
	}
	b.owed = nil
	last := written[len(written)-1]
	b.seq = last.Seq
	return last, nil
}

// entryOf is the entry of a change.
func entryOf(kind, who, why string, before, after *Lease) Entry {
	e := Entry{Kind: kind, Who: who, Object: after.Object.String(), ID: after.ID, Why: why, Ticket: after.Ticket, After: asJSON(after)}
	if before != nil {
		e.Before = asJSON(before)
	}
	return e
}

// asJSON is a lease, or a part of one, as the audit log has it.
func asJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic("a lease has no JSON: " + err.Error()) // its numbers and times were checked
	}
	return b
}

// publish makes what was changed known: to those who ask for Overrides, and to the next start. The file may fail, for the audit log
// has it all.
func (b *Book) publish(now time.Time) {
	b.prune(now)
	b.overrides.Store(newOverrides(maps.Values(b.leases), now))
	if b.cfg.Path == "" || b.cfg.ReadOnly {
		return
	}
	if err := durable.Write(b.cfg.Path, b.encode()); err != nil {
		b.log(slog.LevelError, "the file of leases is not written; a start would read them from the audit log", slog.String("reason", err.Error()))
	}
}

// prune drops tombstones that are too old, or too many.
func (b *Book) prune(now time.Time) {
	maps.DeleteFunc(b.leases, func(_ string, l *Lease) bool { return !l.Ended.IsZero() && !now.Before(l.Expires.Add(tombstoneFor)) })
	var dead []*Lease
	for _, l := range b.leases {
		if !l.Ended.IsZero() {
			dead = append(dead, l)
		}
	}
	if len(dead) <= TombstonesMax {
		return
	}
	slices.SortFunc(dead, func(a, c *Lease) int { return cmp.Or(a.Ended.Compare(c.Ended), cmp.Compare(a.ID, c.ID)) })
	for _, l := range dead[:len(dead)-TombstonesMax] {
		delete(b.leases, l.ID)
	}
}

// List gives all leases, those that ended included, by id.
func (b *Book) List() []Lease {
	b.mu.Lock()
	defer b.mu.Unlock()
	sorted := b.sorted()
	out := make([]Lease, len(sorted))
	for i, l := range sorted {
		out[i] = *l
	}
	return out
}

// sorted is all leases by id.
func (b *Book) sorted() []*Lease {
	return slices.SortedFunc(maps.Values(b.leases), func(a, c *Lease) int { return cmp.Compare(a.ID, c.ID) })
}

// Get gives a lease by its id, one that ended included.
func (b *Book) Get(id string) (Lease, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l, have := b.leases[id]; have {
		return *l, true
	}
	return Lease{}, false
}

// Overrides is what the leases do. It takes no lock.
func (b *Book) Overrides() *Overrides { return b.overrides.Load() }

// active gives a copy of the lease with an id if it is active, else nil.
func (b *Book) active(id string, now time.Time) *Lease {
	if l, have := b.leases[id]; have && l.Active(now) {
		out := *l
		return &out
	}
	return nil
}

// countActive counts the active leases.
func (b *Book) countActive(now time.Time) (n int) {
	for _, l := range b.leases {
		if l.Active(now) {
			n++
		}
	}
	return n
}

// same says whether two leases are but for their revision and when they were changed.
func (l *Lease) same(o *Lease) bool {
	return l.ID == o.ID && l.Action == o.Action && l.Object == o.Object && l.State == o.State && (l.Admit == nil) == (o.Admit == nil) &&
		(l.Admit == nil || *l.Admit == *o.Admit) && l.Owner == o.Owner && l.Reason == o.Reason && l.Ticket == o.Ticket && l.Expires.Equal(o.Expires) &&
		slices.Equal(l.Override, o.Override)
}

// log logs about leases.
func (b *Book) log(level slog.Level, text string, attrs ...slog.Attr) {
	b.cfg.Log.LogAttrs(context.Background(), level, text, attrs...)
}
