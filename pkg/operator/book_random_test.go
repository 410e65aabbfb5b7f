package operator_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"geodns/internal/dnstest"
	"geodns/pkg/operator"
	"geodns/pkg/policy"
)

// ledger is a book as one would keep it on paper: who has what, until when, and when it ended.
type ledger map[string]operator.Lease

// active says whether the lease with an id is.
func (l ledger) active(id string, now time.Time) bool {
	x, have := l[id]
	return have && x.Ended.IsZero() && now.Before(x.Expires)
}

// pass ends what is over.
func (l ledger) pass(now time.Time) {
	for id, x := range l {
		if x.Ended.IsZero() && !now.Before(x.Expires) {
			x.Ended = x.Expires
			l[id] = x
		}
	}
}

// text is the ledger without what ended a day ago, and without revisions, which paper does not have.
func (l ledger) text(now time.Time) string {
	var out strings.Builder
	for _, id := range slices.Sorted(maps.Keys(l)) {
		x := l[id]
		if !x.Ended.IsZero() && !now.Before(x.Expires.Add(24*time.Hour)) {
			continue
		}
		admit := "-"
		if x.Admit != nil {
			admit = fmt.Sprint(*x.Admit)
		}
		fmt.Fprintf(&out, "%s %s %s %q %s %s %q %s %s %s %s\n", id, x.Action, x.Object, x.State, admit, x.Owner, x.Reason, x.Created, x.Expires, x.Ended, x.EndedBy)
	}
	return out.String()
}

// schedule is a random run of a book beside a ledger.
type schedule struct {
	t       *testing.T
	random  *rand.Rand
	scene   operator.Scene
	targets []*policy.Target
	log     *trail
	book    *operator.Book
	paper   ledger
	highest uint64 // revision
	logged  ledger // as the log has it
	applied int    // entries of the log that were looked at
}

// TestBookRandom runs random puts, ends, passing time, full disks and restarts, with the last file or an older one, against a ledger.
func TestBookRandom(t *testing.T) {
	runs, steps := 15, 60
	if os.Getenv("GEODNS_PROVE") != "" {
		runs = 1000
	}
	random := rand.New(rand.NewPCG(dnstest.Seed(t), 0))
	s := operator.Scene{Compiled: compile(t, sitesText)}
	for range runs {
		x := &schedule{
			t: t, random: random, scene: s, targets: s.Compiled.Document.Targets, paper: ledger{}, logged: ledger{},
			log: &trail{path: filepath.Join(t.TempDir(), "leases")},
		}
		x.book = newBook(t, x.log)
		for range steps {
			x.step()
			x.check()
		}
	}
}

// step does one thing.
func (x *schedule) step() {
	x.log.fail = nil
	if x.random.IntN(6) == 0 {
		x.log.fail = errDisk
	}
	switch x.random.IntN(10) {
	case 0, 1, 2, 3:
		x.put()
	case 4, 5:
		x.end()
	case 6, 7:
		x.log.after += time.Duration(x.random.IntN(100)) * time.Minute
		x.paper.pass(x.log.now())
		if _, next, err := x.book.Expire(x.log.now()); err != nil && (!errors.Is(err, errDisk) || next.IsZero()) {
			x.t.Fatal(err)
		}
	case 8:
		x.log.after += time.Duration(x.random.IntN(30)) * time.Hour
	case 9:
		x.restart()
	}
}

// put puts a lease with one of few ids.
func (x *schedule) put() {
	now := x.log.now()
	like := randomLease(x.random, x.random.IntN(4), x.targets[x.random.IntN(len(x.targets))])
	if had, have := x.paper[like.ID]; have && x.random.IntN(3) > 0 {
		like = had
	}
	req := operator.Request{
		ID: like.ID, Action: like.Action, Object: like.Object, State: like.State, Admit: like.Admit, Owner: "ada", Reason: fmt.Sprint("reason ", x.random.IntN(2)),
		Expires: now.Add(time.Duration(1+x.random.IntN(5)) * time.Hour).Truncate(time.Hour).Add(time.Hour), Override: true, DryRun: x.random.IntN(8) == 0,
	}
	change, err := x.book.Put(req, x.scene)
	had, active := x.paper[req.ID], x.paper.active(req.ID, now)
	differs := had.State != req.State || (had.Admit == nil) != (req.Admit == nil) || had.Admit != nil && *had.Admit != *req.Admit ||
		had.Reason != req.Reason || !had.Expires.Equal(req.Expires)
	switch {
	case req.Object.Name == "none":
		if _, ok := errors.AsType[*operator.RequestError](err); !ok {
			x.t.Fatalf("%+v: %v", req, err)
		}
	case active && (had.Action != req.Action || had.Object != req.Object):
		if _, ok := errors.AsType[*operator.ConflictError](err); !ok {
			x.t.Fatalf("%+v over %+v: %v", req, had, err)
		}
	case active && !differs, req.DryRun:
		if err != nil || change.Changed != (!active || differs) {
			x.t.Fatalf("%+v over %+v: changed %t, %v", req, had, change.Changed, err)
		}
	case x.log.fail != nil:
		if !errors.Is(err, errDisk) {
			x.t.Fatalf("%+v: %v", req, err)
		}
		x.paper.pass(now)
	default:
		if err != nil || !change.Changed || (change.Before != nil) != active {
			x.t.Fatalf("%+v over %+v: changed %t, before %+v, %v", req, had, change.Changed, change.Before, err)
		}
		x.paper.pass(now)
		made := operator.Lease{ID: req.ID, Action: req.Action, Object: req.Object, State: req.State, Admit: req.Admit, Owner: req.Owner, Reason: req.Reason, Created: now, Expires: req.Expires}
		if active {
			made.Created = had.Created
		}
		x.paper[req.ID] = made
	}
}

// end ends a lease.
func (x *schedule) end() {
	now, id := x.log.now(), fmt.Sprint("l", x.random.IntN(4))
	change, err := x.book.End(id, "bob", "", x.random.IntN(8) == 0, x.scene)
	had, have := x.paper[id]
	switch active := x.paper.active(id, now); {
	case !have:
		if !errors.Is(err, operator.ErrNoLease) {
			x.t.Fatalf("%s: %v", id, err)
		}
	case errors.Is(err, operator.ErrNoLease):
		if active || now.Before(had.Expires.Add(24*time.Hour)) {
			x.t.Fatalf("%s is forgotten: %+v", id, had)
		}
	case !active:
		if err != nil || change.Changed {
			x.t.Fatalf("%s: changed %t, %v", id, change.Changed, err)
		}
	case err != nil:
		if x.log.fail == nil || !errors.Is(err, errDisk) {
			x.t.Fatalf("%s: %v", id, err)
		}
		x.paper.pass(now)
	case change.Entry.Seq > 0:
		had.Ended, had.EndedBy = now, "bob"
		x.paper[id] = had
		x.paper.pass(now)
	}
}

// restart opens the book anew, sometimes with an older file, or none.
func (x *schedule) restart() {
	old, err := os.ReadFile(x.log.path)
	switch {
	case err != nil, x.random.IntN(3) > 0:
	case x.random.IntN(2) == 0:
		if err := os.Remove(x.log.path); err != nil {
			x.t.Fatal(err)
		}
	default:
		x.put()
		if err := os.WriteFile(x.log.path, old, 0o600); err != nil {
			x.t.Fatal(err)
		}
	}
	x.book = newBook(x.t, x.log)
}

// check compares the book with the ledger, and what both do to targets.
func (x *schedule) check() {
	now := x.log.now()
	seen := maps.Clone(x.paper)
	seen.pass(now)
	book := ledger{}
	for _, l := range x.book.List() {
		book[l.ID] = l
	}
	book.pass(now) // what is over and was not looked at has no effect either
	if got, want := book.text(now), seen.text(now); got != want {
		x.t.Fatalf("at %s\nthe book\n%sthe ledger\n%s", now, got, want)
	}
	x.checkLog()
	if x.random.IntN(2) == 0 {
		return // nobody calls Expire in between: what is over is found by what comes next
	}
	if _, _, err := x.book.Expire(now); err == nil {
		x.paper.pass(now)
	}
	var leases []operator.Lease
	for _, l := range x.paper {
		leases = append(leases, l)
	}
	for _, target := range x.targets {
		got := x.book.Overrides().Apply(target, verdicts{}.of(target))
		if want := slowApply(leases, target, verdicts{}.of(target), now); got != want {
			x.t.Fatalf("target %s is %+v, want %+v", target.ID, got, want)
		}
	}
}

// checkLog holds that revisions grow from entry to entry, and that no lease is put over one that goes on.
func (x *schedule) checkLog() {
	for ; x.applied < len(x.log.entries); x.applied++ {
		e := &x.log.entries[x.applied]
		if e.Kind == operator.EntryVerdict {
			continue
		}
		l := leaseOf(x.t, e.After)
		if had, have := x.logged[l.ID]; have && e.Before == nil && had.Ended.IsZero() {
			x.t.Fatalf("entry %s %s: the one before has no end in the log: %+v", e.Kind, e.ID, had)
		}
		x.logged[l.ID] = l
		if l.Revision <= x.highest {
			x.t.Fatalf("entry %s %s has revision %d, after %d", e.Kind, e.ID, l.Revision, x.highest)
		}
		x.highest = l.Revision
	}
}
