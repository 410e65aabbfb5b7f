package operator_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"geodns/internal/durable"
	"geodns/pkg/operator"
	"geodns/pkg/policy"
)

// trail is an audit log in memory, and a clock.
type trail struct {
	mu      sync.Mutex
	entries []operator.Entry
	fail    error
	after   time.Duration // noon is how long ago
	path    string        // of the file of leases
	replays []uint64      // numbers that it was read from
}

var errDisk = errors.New("no space left on device")

func (l *trail) record(entries ...operator.Entry) ([]operator.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return nil, l.fail
	}
	var out []operator.Entry
	for _, e := range entries {
		// Others write into the log too.
		l.entries = append(l.entries, operator.Entry{Seq: uint64(len(l.entries) + 1), Kind: operator.EntryVerdict})
		e.Seq, e.Time = uint64(len(l.entries)+1), l.now()
		l.entries = append(l.entries, e)
		out = append(out, e)
	}
	return out, nil
}

func (l *trail) replay(after uint64) ([]operator.Entry, error) {
	l.replays = append(l.replays, after)
	return slices.DeleteFunc(slices.Clone(l.entries), func(e operator.Entry) bool { return e.Seq <= after }), nil
}

func (l *trail) now() time.Time { return noon().Add(l.after) }

// kinds lists the entries about leases: "lease.put drain.region.iad ada".
func (l *trail) kinds() (out []string) {
	for _, e := range l.entries {
		if e.Kind != operator.EntryVerdict {
			out = append(out, fmt.Sprintf("%s %s %s", e.Kind, e.ID, e.Who))
		}
	}
	return out
}

func newBook(t testing.TB, l *trail) *operator.Book {
	t.Helper()
	b, err := operator.OpenBook(operator.BookConfig{Path: l.path, Record: l.record, Replay: l.replay, Now: l.now})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// put is a Put that must go well.
func put(t testing.TB, b *operator.Book, req operator.Request, s operator.Scene) operator.Change {
	t.Helper()
	change, err := b.Put(req, s)
	if err != nil {
		t.Fatal(err)
	}
	return change
}

// TestPut follows a lease from its beginning to its end.
func TestPut(t *testing.T) {
	s, l := scene(t, nil), &trail{}
	b, x := newBook(t, l), target(t, scene(t, nil).Compiled, "web/iad1")
	first := put(t, b, request(), s)
	if !first.Changed || first.Before != nil || first.Lease.Revision != 1 || first.Entry.Seq != 2 || first.Entry.Before != nil || first.Entry.Why != "kernel update" ||
		first.Entry.Ticket != "OPS-1" || first.Entry.Object != "region iad" {
		t.Errorf("the first: %+v", first)
	}
	if !b.Overrides().Apply(x, verdicts{}.of(x)).Drained {
		t.Error("it is not drained")
	}

	l.after = time.Minute
	if again := put(t, b, request(), s); again.Changed || again.Entry.Seq != 0 || again.Before == nil {
		t.Errorf("the same again: %+v", again)
	}
	renew := request()
	renew.Owner, renew.Reason, renew.Expires = "bob", "it takes longer", noon().Add(2*time.Hour)
	second := put(t, b, renew, s)
	if !second.Changed || second.Lease.Revision != 2 || !second.Lease.Created.Equal(noon()) || !second.Lease.Updated.Equal(noon().Add(time.Minute)) ||
		diff(*second.Before, first.Lease) != "" {
		t.Errorf("renewed: %+v", second)
	}
	var before, after operator.Lease
	if json.Unmarshal(second.Entry.Before, &before) != nil || json.Unmarshal(second.Entry.After, &after) != nil ||
		diff(before, first.Lease) != "" || diff(after, second.Lease) != "" {
		t.Errorf("recorded: %s, %s", second.Entry.Before, second.Entry.After)
	}

	other := request()
	other.Object = object("region fra")
	_, err := b.Put(other, s)
	if conflict, ok := errors.AsType[*operator.ConflictError](err); !ok || conflict.Have.Owner != "bob" {
		t.Errorf("another object: %v", err)
	}
	other = request()
	other.Action, other.State = operator.Set, "down"
	_, err = b.Put(other, s)
	if _, ok := errors.AsType[*operator.ConflictError](err); !ok {
		t.Errorf("another action: %v", err)
	}

	end, err := b.End(request().ID, "cid", "done early", false, s)
	if err != nil || !end.Changed || end.Lease.EndedBy != "cid" || end.Lease.EndReason != "done early" || end.Lease.Revision != 3 || diff(*end.Before, second.Lease) != "" {
		t.Errorf("ended: %v, %+v", err, end)
	}
	if b.Overrides().Apply(x, verdicts{}.of(x)).Drained {
		t.Error("it is drained still")
	}
	twice, err := b.End(request().ID, "eve", "", false, s)
	if err != nil || twice.Changed || diff(twice.Lease, end.Lease) != "" {
		t.Errorf("ended twice: %v, %+v", err, twice)
	}
	if _, err = b.End("nobody", "eve", "", false, s); !errors.Is(err, operator.ErrNoLease) {
		t.Errorf("nobody's lease ended: %v", err)
	}
	if _, err = b.End(request().ID, "eve", "a\tb", false, s); err == nil {
		t.Error("ended with a tab")
	}

	fresh := put(t, b, other, s) // the id is free
	if fresh.Before != nil || fresh.Entry.Before != nil || !fresh.Lease.Created.Equal(l.now()) || fresh.Lease.Revision != 4 {
		t.Errorf("after the end: %+v", fresh)
	}
	want := []string{"lease.put drain.region.iad ada", "lease.put drain.region.iad bob", "lease.end drain.region.iad cid", "lease.put drain.region.iad ada"}
	if !slices.Equal(l.kinds(), want) {
		t.Errorf("the log has %q", l.kinds())
	}
}

// breaksOf are the breaks that an error is of.
func breaksOf(err error) []string {
	if guarded, ok := errors.AsType[*operator.GuardError](err); ok {
		return guarded.Breaks
	}
	return nil
}

// TestGuarded holds that a break is refused without an override, kept with it, and no matter at a renewal.
func TestGuarded(t *testing.T) {
	s, l := scene(t, verdicts{"web/ams1": down()}), &trail{}
	b := newBook(t, l)
	req := request()
	req.ID, req.Object = "eu", object("region fra")
	_, err := b.Put(req, s)
	guarded, ok := errors.AsType[*operator.GuardError](err)
	if !ok || len(guarded.Breaks) != 3 || len(l.entries) > 0 || len(b.List()) > 0 {
		t.Fatalf("%v, %v, %v", err, l.kinds(), b.List())
	}
	req.DryRun = true
	dry := put(t, b, req, s)
	if !slices.Equal(dry.Breaks, guarded.Breaks) || dry.Lease.Override != nil || !dry.Changed || dry.Impact == nil || dry.Impact.Share == 0 || len(b.List()) > 0 {
		t.Errorf("dry: %+v", dry)
	}
	req.DryRun, req.Override = false, true
	done := put(t, b, req, s)
	if !slices.Equal(done.Lease.Override, guarded.Breaks) || !strings.Contains(string(done.Entry.After), "its fence [eu-gdpr]") {
		t.Errorf("overridden: %+v", done)
	}
	if again := put(t, b, req, s); again.Changed || len(again.Breaks) > 0 {
		t.Errorf("the same again: %+v", again)
	}
	req.Override, req.Expires = false, req.Expires.Add(time.Hour)
	if _, err := b.Put(req, s); !slices.Equal(breaksOf(err), guarded.Breaks) {
		t.Errorf("prolonged without leave: %v", err)
	}
	req.Override = true
	if renewed := put(t, b, req, s); !renewed.Changed || !slices.Equal(renewed.Lease.Override, guarded.Breaks) {
		t.Errorf("renewed: %+v", renewed)
	}
	req.Override, req.Expires = false, req.Expires.Add(-90*time.Minute)
	if shorter := put(t, b, req, s); !shorter.Changed || !slices.Equal(shorter.Lease.Override, guarded.Breaks) {
		t.Errorf("shortened: %+v", shorter)
	}

	// Another lease over the same: one that ends before changes nothing, one that ends later prolongs what is broken.
	other := req
	other.ID, other.Expires = "eu2", req.Expires.Add(-time.Minute)
	put(t, b, other, s)
	other.ID, other.Expires = "eu3", req.Expires.Add(time.Minute)
	if _, err := b.Put(other, s); !slices.Equal(breaksOf(err), guarded.Breaks) {
		t.Errorf("prolonged by another: %v", err)
	}

	// A set that does more and more: what it did before was accepted, and what no longer is so is forgotten.
	hold := request()
	hold.ID, hold.Action, hold.Object, hold.State = "hold", operator.Set, object("pool dr"), "down"
	hold.Override = true
	first := put(t, b, hold, s)
	hold.Override, hold.Admit = false, new(0.5)
	if second := put(t, b, hold, s); !second.Changed || !slices.Equal(second.Lease.Override, first.Lease.Override) || len(first.Lease.Override) == 0 {
		t.Errorf("down, and a part: %+v", second)
	}
	hold.State = ""
	if third := put(t, b, hold, s); !third.Changed || third.Lease.Override != nil {
		t.Errorf("a part alone: %+v", third)
	}
}

// TestDryEnd holds what the end of a lease would move.
func TestDryEnd(t *testing.T) {
	s, l := scene(t, nil), &trail{}
	b := newBook(t, l)
	req := request()
	req.Object, req.Override = object("region fra"), true // the policy mapped has no other for Europe
	put(t, b, req, s)
	n := len(l.entries)
	dry, err := b.End(req.ID, "ada", "", true, s)
	if err != nil || !dry.Changed || dry.Lease.EndedBy != "ada" || len(l.entries) != n || dry.Impact == nil {
		t.Fatalf("%v, %+v", err, dry)
	}
	// Germany returns from ams to fra at www; at mapped half of the clients have an answer again.
	if got := fmt.Sprintf("%.2f %.2f %+v", dry.Impact.Share, dry.Impact.Failed, dry.Impact.Policies); got !=
		"0.38 0.00 [{Policy:mapped Share:0.5 Failed:0 Moves:[{From:SERVFAIL To:fra Share:0.5}]} {Policy:www Share:0.25 Failed:0 Moves:[{From:ams To:fra Share:0.25}]}]" {
		t.Error(got)
	}
	if l, _ := b.Get(req.ID); !l.Active(noon()) {
		t.Error("it has ended")
	}
}

// TestExpire moves the clock over the ends of leases.
func TestExpire(t *testing.T) {
	s, l := scene(t, nil), &trail{path: filepath.Join(t.TempDir(), "leases")}
	b, x := newBook(t, l), target(t, s.Compiled, "web/iad1")
	late := request()
	late.ID, late.Expires = "late", noon().Add(3*time.Hour)
	put(t, b, late, s)
	put(t, b, request(), s)
	expire := func(wantNext time.Time, want ...string) {
		t.Helper()
		ended, next, err := b.Expire(l.now())
		var ids []string
		for _, e := range ended {
			ids = append(ids, e.ID)
		}
		if err != nil || !slices.Equal(ids, want) || !next.Equal(wantNext) {
			t.Fatalf("%v, next %s: %v", ids, next, err)
		}
	}
	expire(noon().Add(time.Hour))
	l.after = time.Hour
	if got, _ := b.Get(request().ID); got.Active(l.now()) {
		t.Error("it is active at its expiry")
	}
	if end, err := b.End(request().ID, "ada", "", false, s); err != nil || end.Changed || !end.Lease.Ended.Equal(noon().Add(time.Hour)) {
		t.Errorf("ended when it was over: %v, %+v", err, end)
	}
	expire(noon().Add(3*time.Hour), request().ID)
	expire(noon().Add(3 * time.Hour))
	if !b.Overrides().Apply(x, verdicts{}.of(x)).Drained {
		t.Error("the other holds it")
	}

	// A disk that is full ends no later than one that is not, and is told when there is room.
	l.after, l.fail = 4*time.Hour, errDisk
	ended, next, err := b.Expire(l.now())
	if len(ended) != 1 || !errors.Is(err, errDisk) || next.IsZero() || next.After(l.now().Add(time.Minute)) || b.Overrides().Apply(x, verdicts{}.of(x)).Drained {
		t.Errorf("%v, %s, %v", ended, next, err)
	}
	restarted := newBook(t, l)
	if got, _ := restarted.Get("late"); got.Active(l.now()) || restarted.Overrides().Apply(x, verdicts{}.of(x)).Drained {
		t.Error("a restart brings it back")
	}
	l.fail = nil
	if got, _, err := restarted.Expire(l.now()); err != nil || len(got) != 1 {
		t.Errorf("the restarted one does not tell: %v, %v", got, err)
	}
	l.entries = l.entries[:len(l.entries)-2] // the restart was not
	expire(time.Time{})
	want := []string{"lease.put late ada", "lease.put drain.region.iad ada", "lease.over drain.region.iad geodns", "lease.over late geodns"}
	if !slices.Equal(l.kinds(), want) {
		t.Errorf("the log has %q", l.kinds())
	}

	l.after = 24*time.Hour + time.Hour
	fresh := request()
	fresh.ID, fresh.Expires = "fresh", l.now().Add(time.Hour)
	put(t, b, fresh, s)
	if got := b.List(); len(got) != 2 || got[0].ID != "fresh" || got[1].ID != "late" { // the other is a day over
		t.Errorf("kept: %+v", got)
	}
}

// TestExpiredLongAgo: an end that could not be recorded is recorded after a restart too, also when it is so long ago that nothing else
// is known of the lease.
func TestExpiredLongAgo(t *testing.T) {
	s, l := scene(t, nil), &trail{path: filepath.Join(t.TempDir(), "leases")}
	put(t, newBook(t, l), request(), s)
	l.after, l.fail = 30*time.Hour, errDisk
	if _, _, err := newBook(t, l).Expire(l.now()); !errors.Is(err, errDisk) {
		t.Fatal(err)
	}
	l.fail = nil
	if ended, _, err := newBook(t, l).Expire(l.now()); err != nil || len(ended) != 1 {
		t.Errorf("%v: %v", ended, err)
	}
	want := []string{"lease.put " + request().ID + " ada", "lease.over " + request().ID + " " + operator.Ourselves}
	if got := l.kinds(); !slices.Equal(got, want) {
		t.Errorf("recorded: %q, want %q", got, want)
	}
}

// TestExpiredThenPut holds that a lease which is over stands in the log before the one that takes its id, and is told by Expire.
func TestExpiredThenPut(t *testing.T) {
	s, l := scene(t, nil), &trail{}
	b := newBook(t, l)
	put(t, b, request(), s)
	l.after = 2 * time.Hour
	again := request()
	again.Expires = noon().Add(3 * time.Hour)
	dry := again
	dry.DryRun = true
	if d := put(t, b, dry, s); d.Before != nil || len(l.kinds()) != 1 {
		t.Errorf("dry: %+v", d)
	}
	l.fail = errDisk
	if _, err := b.Put(again, s); !errors.Is(err, errDisk) {
		t.Error(err)
	}
	if got, _ := b.Get(again.ID); got.Ended.IsZero() {
		t.Errorf("it goes on: %+v", got)
	}
	l.fail = nil
	if c := put(t, b, again, s); c.Before != nil || c.Lease.Revision != 3 || !c.Lease.Created.Equal(l.now()) || c.Entry.Kind != operator.EntryLeasePut {
		t.Errorf("put: %+v", c)
	}
	l.after = 4 * time.Hour
	again.Expires = noon().Add(5 * time.Hour)
	if c := put(t, b, again, s); c.Lease.Revision != 5 || c.Entry.Seq != 10 { // one of another's stands before each
		t.Errorf("put at once: %+v", c)
	}
	ended, next, err := b.Expire(l.now())
	if err != nil || len(ended) != 2 || ended[0].Revision != 2 || ended[1].Revision != 4 || !next.Equal(again.Expires) {
		t.Errorf("%+v, %s, %v", ended, next, err)
	}
	if got := l.kinds(); len(got) != 5 || got[1] != "lease.over drain.region.iad geodns" || got[3] != got[1] {
		t.Errorf("the log has %q", got)
	}
}

// TestCrash stops between the two writes of a change, on either side.
func TestCrash(t *testing.T) {
	s := scene(t, nil)
	t.Run("nothing recorded", func(t *testing.T) {
		l := &trail{path: filepath.Join(t.TempDir(), "leases"), fail: errDisk}
		b := newBook(t, l)
		if _, err := b.Put(request(), s); !errors.Is(err, errDisk) || len(b.List()) > 0 || len(b.Overrides().Of(target(t, s.Compiled, "web/iad1"))) > 0 {
			t.Errorf("%v, %+v", err, b.List())
		}
		l.fail = nil
		put(t, b, request(), s)
		l.fail = errDisk
		if _, err := b.End(request().ID, "ada", "", false, s); !errors.Is(err, errDisk) || !b.List()[0].Active(noon()) {
			t.Errorf("%v, %+v", err, b.List())
		}
		if got := newBook(t, l).List(); diff(got, b.List()) != "" {
			t.Errorf("restarted: %+v", got)
		}
	})
	t.Run("recorded, and not in the file", func(t *testing.T) {
		l := &trail{path: filepath.Join(t.TempDir(), "leases")}
		b := newBook(t, l)
		put(t, b, request(), s)
		old, err := os.ReadFile(l.path)
		if err != nil {
			t.Fatal(err)
		}
		other := request()
		other.ID = "other"
		put(t, b, other, s)
		if _, err := b.End(request().ID, "ada", "", false, s); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(l.path, old, 0o600); err != nil {
			t.Fatal(err)
		}
		restarted := newBook(t, l)
		if d := diff(restarted.List(), b.List()); d != "" || l.replays[len(l.replays)-1] != 2 {
			t.Errorf("read from %v:\n%s", l.replays, d)
		}
		other.Reason = "more"
		if c := put(t, restarted, other, s); c.Lease.Revision != 4 {
			t.Errorf("revision %d", c.Lease.Revision)
		}
	})
	t.Run("the file cannot be written", func(t *testing.T) {
		l := &trail{path: filepath.Join(t.TempDir(), "leases", "file")}
		if err := os.WriteFile(filepath.Dir(l.path), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		b := mustOpen(t, operator.BookConfig{Record: l.record, Now: l.now})
		put(t, b, request(), s)
		again := mustOpen(t, operator.BookConfig{Record: l.record, Replay: l.replay, Now: l.now})
		if d := diff(again.List(), b.List()); d != "" {
			t.Error(d)
		}
		if _, err := operator.OpenBook(operator.BookConfig{Path: l.path, Record: l.record, Now: l.now}); err == nil {
			t.Error("a path that cannot be is no fault")
		}
	})
	t.Run("the file is damaged", func(t *testing.T) {
		l := &trail{path: filepath.Join(t.TempDir(), "leases")}
		b := newBook(t, l)
		put(t, b, request(), s)
		for _, damage := range []func() error{
			func() error { return os.WriteFile(l.path, []byte("leases"), 0o600) },
			func() error { return durable.Write(l.path, []byte(`{"version":99}`)) },
			func() error { return durable.Write(l.path, []byte(`{"version":1,"seq":9,"leases":[{"id":"x"}]}`)) },
		} {
			if err := damage(); err != nil {
				t.Fatal(err)
			}
			if d := diff(newBook(t, l).List(), b.List()); d != "" || l.replays[len(l.replays)-1] != 0 {
				t.Errorf("read from %v:\n%s", l.replays, d)
			}
			if _, err := os.Stat(l.path + ".corrupt"); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("an entry is no lease", func(t *testing.T) {
		l := &trail{}
		b := newBook(t, l)
		put(t, b, request(), s)
		l.entries = append(l.entries, operator.Entry{Seq: 3, Kind: operator.EntryLeasePut, After: json.RawMessage(`{"id":"x"}`)},
			operator.Entry{Seq: 4, Kind: operator.EntryLeaseEnd})
		if d := diff(newBook(t, l).List(), b.List()); d != "" {
			t.Error(d)
		}
	})
	t.Run("the log cannot be read", func(t *testing.T) {
		replay := func(uint64) ([]operator.Entry, error) { return nil, errDisk }
		if _, err := operator.OpenBook(operator.BookConfig{Record: (&trail{}).record, Replay: replay}); !errors.Is(err, errDisk) {
			t.Error(err)
		}
	})
}

// mustOpen opens a book.
func mustOpen(t testing.TB, cfg operator.BookConfig) *operator.Book {
	t.Helper()
	b, err := operator.OpenBook(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestBounds holds how many leases there may be, and how many that have ended are kept.
func TestBounds(t *testing.T) {
	s, l := scene(t, nil), &trail{}
	b := newBook(t, l)
	req := request()
	for i := range operator.LeasesMax {
		req.ID = fmt.Sprintf("l%04d", i)
		put(t, b, req, s)
	}
	more := request()
	if _, err := b.Put(more, s); err == nil || !strings.Contains(err.Error(), "end some first") {
		t.Errorf("one more: %v", err)
	}
	req.Reason = "it takes longer"
	put(t, b, req, s)
	l.after = time.Second
	if _, err := b.End("l0500", "ada", "", false, s); err != nil {
		t.Fatal(err)
	}
	l.after = 2 * time.Second
	put(t, b, more, s)
	for i := range operator.LeasesMax {
		if id := fmt.Sprintf("l%04d", i); i != 500 {
			if _, err := b.End(id, "ada", "", false, s); err != nil {
				t.Fatal(err)
			}
		}
	}
	l.after = 3 * time.Second
	if _, err := b.End(more.ID, "ada", "", false, s); err != nil {
		t.Fatal(err)
	}
	if _, oldest := b.Get("l0500"); len(b.List()) != operator.TombstonesMax || oldest {
		t.Errorf("%d are kept, the oldest %t", len(b.List()), oldest)
	}
}

// TestEntriesFit holds that the longest lease fits the audit log, and that doing it again is the same still.
func TestEntriesFit(t *testing.T) {
	const most = 20 << 10 // of an entry's Before and After, in bytes
	long, tag := strings.Repeat("<", 500), strings.Repeat("x", policy.NameMax)
	var text strings.Builder
	fmt.Fprintf(&text, "regions: [{name: r, jurisdictions: [%q]}]\n", long)
	fmt.Fprintf(&text, "pools: [{name: p, targets: [{name: a, region: r, values: [192.0.2.1], tags: [%q]}]}]\npolicies:\n", tag)
	for i := range operator.BreaksMax {
		fmt.Fprintf(&text, "  - {name: q%02d, all_down: serve-all, rules: [{name: u, geos: [unknown], pool: p, fence: none}, {name: all, pool: p, fence: [%q]}]}\n", i, long)
	}
	s, l := operator.Scene{Compiled: compile(t, text.String())}, &trail{}
	b := newBook(t, l)
	req := operator.Request{
		ID: strings.Repeat("x", operator.LeaseIDMax), Action: operator.Set, State: "degraded", Admit: new(0.0), Object: object("tag " + tag), Owner: long[:operator.WhoMax],
		Reason: long, Ticket: long[:operator.TicketMax], Expires: noon().Add(time.Hour - 1), Override: true,
	}
	put(t, b, req, s)
	if again := put(t, b, req, s); again.Changed {
		t.Error("the same again is another")
	}
	if _, err := b.End(req.ID, long[:operator.WhoMax], long, false, s); err != nil {
		t.Fatal(err)
	}
	for _, e := range l.entries {
		if len(e.Before) > most || len(e.After) > most || len(e.Object) > 512 {
			t.Errorf("%s: %d and %d bytes, object %d", e.Kind, len(e.Before), len(e.After), len(e.Object))
		}
	}
	if got := b.List()[0].Override; len(got) < 3 || got[len(got)-1] != "and more" {
		t.Errorf("kept: %q", got)
	}
}

// TestTogether puts from many goroutines: all are recorded, and each has its own revision.
func TestTogether(t *testing.T) {
	s, l := scene(t, nil), &trail{}
	b := newBook(t, l)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := range 20 {
				req := request()
				req.ID = fmt.Sprint("l", i)
				req.Expires = req.Expires.Add(time.Duration(j) * time.Second)
				if _, err := b.Put(req, s); err != nil {
					t.Error(err)
				}
				b.Overrides().Of(s.Compiled.Document.Targets[0])
				b.List()
			}
		})
	}
	group.Wait()
	revisions := map[uint64]bool{}
	for _, e := range l.entries {
		var x operator.Lease
		if e.Kind == operator.EntryLeasePut && json.Unmarshal(e.After, &x) == nil {
			revisions[x.Revision] = true
		}
	}
	if len(revisions) != 160 {
		t.Errorf("%d revisions", len(revisions))
	}
}

// TestUnreadableFile: a file of leases that cannot be read costs no lease where there is an audit log.
func TestUnreadableFile(t *testing.T) {
	l := &trail{path: filepath.Join(t.TempDir(), "leases")}
	put(t, newBook(t, l), request(), scene(t, nil))
	if err := errors.Join(os.Remove(l.path), os.Mkdir(l.path, 0o700)); err != nil { // which root cannot read either
		t.Fatal(err)
	}
	if all := newBook(t, l).List(); len(all) != 1 || !all[0].Active(l.now()) {
		t.Errorf("leases %+v", all)
	}
	if _, err := operator.OpenBook(operator.BookConfig{Path: l.path, Record: l.record}); err == nil {
		t.Error("without the log nothing is known, and it opens")
	}
}
