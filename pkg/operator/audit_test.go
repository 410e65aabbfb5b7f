package operator_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"geodns/internal/dnstest"
	"geodns/pkg/operator"
)

// openLog opens a log that is closed at the end of the test.
func openLog(t testing.TB, conf operator.LogConfig) *operator.Log {
	t.Helper()
	l, err := operator.OpenLog(conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // again, mostly
	return l
}

// closeLog closes a log.
func closeLog(t testing.TB, l *operator.Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// change is an entry for tests, with everything in it.
func change(id int) operator.Entry {
	return operator.Entry{
		Kind: operator.EntryLeasePut, Who: "jane@example.org", Object: "region fra", ID: fmt.Sprint("lease-", id), Why: "router \"r1\" <is> being\nreplaced",
		Ticket: "NET-1", Before: json.RawMessage(`{"state": "up"}`), After: json.RawMessage(`{"state":"down","n":[1, 2]}`),
	}
}

// appendN appends so many entries, one by one.
func appendN(t testing.TB, l *operator.Log, n int) []operator.Entry {
	t.Helper()
	var all []operator.Entry
	for i := range n {
		got, err := l.Append(change(i))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, got...)
	}
	return all
}

// wantWhole checks that a log verifies.
func wantWhole(t testing.TB, dir string) operator.LogReport {
	t.Helper()
	report, err := operator.VerifyLog(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Findings) > 0 {
		t.Fatalf("findings: %v", report.Findings)
	}
	return report
}

// TestLogAppend covers what an entry gets, what comes back after a restart, and the permissions of the files.
func TestLogAppend(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state", "audit")
	now := time.Date(2026, 3, 1, 12, 0, 0, 123, time.FixedZone("CET", 3600))
	var told []operator.Entry
	conf := operator.LogConfig{Dir: dir, Now: func() time.Time { return now }, OnAppend: func(e []operator.Entry) { told = append(told, e...) }}
	l := openLog(t, conf)
	if s := l.Status(); s.Seq != 2 || s.First != 1 || s.Checkpoint != 2 || s.Segments != 1 || s.Broken != "" || s.Failed != "" {
		t.Errorf("a new log: %+v", s)
	}
	two := []operator.Entry{change(1), {Kind: operator.EntryStart, Who: "geodns", Time: now.Add(-time.Hour), Before: json.RawMessage("null")}}
	got, err := l.Append(two...)
	if err != nil {
		t.Fatal(err)
	}
	if two[0].Seq != 0 {
		t.Error("the caller's entries were changed")
	}
	last := got[1]
	if got[0].Seq != 3 || last.Seq != 4 || last.Prev != got[0].Hash || !got[0].Time.Equal(now) || got[0].Time.Location() != time.UTC ||
		!last.Time.Equal(now.Add(-time.Hour)) || last.Before != nil || string(got[0].Before) != `{"state":"up"}` {
		t.Errorf("entries %+v", got)
	}
	if s := l.Status(); s.Seq != 4 || s.Hash != last.Hash || s.Uncovered != 2 {
		t.Errorf("status %+v", s)
	}
	if none, noneErr := l.Append(); none != nil || noneErr != nil {
		t.Errorf("nothing: %v, %v", none, noneErr)
	}
	closeLog(t, l)
	closeLog(t, l)
	if _, err = l.Append(change(1)); !errors.Is(err, operator.ErrLogClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err = l.Checkpoint(); !errors.Is(err, operator.ErrLogClosed) {
		t.Errorf("after Close: %v", err)
	}
	l = openLog(t, conf)
	all, err := l.Entries(0, 100, nil)
	if err != nil || len(all) != 5 || !reflect.DeepEqual(all[2:4], got) || !reflect.DeepEqual(all, told) {
		t.Errorf("read back %+v, %v\nwant %+v\ntold %+v", all, err, got, told)
	}
	closeLog(t, l) // nothing was written: no further checkpoint
	report := wantWhole(t, dir)
	if report.Entries != 5 || report.Last != 5 || report.Checkpoint != 5 || report.Uncovered != 0 || report.Pinned || report.Key != l.Status().PublicKey || len(report.Notes) > 0 {
		t.Errorf("report %+v", report)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		names = append(names, file.Name())
		if info, err := file.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file.Name(), info.Mode(), err)
		}
	}
	if want := []string{operator.SegmentName(1), "head", "key", "key.pub", "lock"}; !slices.Equal(names, want) {
		t.Errorf("files %q, want %q", names, want)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", info.Mode(), err)
	}
}

// TestLogFormat pins the bytes of a line and of what is signed: a log must be verified by later versions too.
func TestLogFormat(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 500, time.UTC)
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	e := change(1)
	if err := e.Prepare(); err != nil {
		t.Fatal(err)
	}
	e.Seq, e.Time, e.Prev = 1, at, operator.NoHash
	line, err := e.Encode()
	want := `{"seq":1,"time":"2026-03-01T12:00:00.0000005Z","prev":"` + operator.NoHash + `","kind":"lease.put","who":"jane@example.org",` +
		`"object":"region fra","id":"lease-1","why":"router \"r1\" \u003cis\u003e being\nreplaced","ticket":"NET-1","before":{"state":"up"},` +
		`"after":{"state":"down","n":[1,2]},"hash":"bf357c39d14dae828f2e7b5e23cb78ee632578601b6549e3dd4d5f33470a67ce"}`
	if err != nil || string(line) != want {
		t.Errorf("line\n%s, %v, want\n%s", line, err, want)
	}
	c := operator.Checkpoint{Seq: 1, Chain: e.Hash, First: 1, FirstPrev: operator.NoHash, Key: base64.StdEncoding.EncodeToString(key[32:])}
	c.Sign(key, at)
	text := "geodns audit checkpoint 1\n1\n" + e.Hash + "\n1\n" + operator.NoHash + "\n" + c.Key + "\n2026-03-01T12:00:00.0000005Z\n"
	if want := base64.StdEncoding.EncodeToString(ed25519.Sign(key, []byte(text))); c.Signature != want {
		t.Errorf("signature %s, want %s", c.Signature, want)
	}
}

// TestEntryLimits covers what an entry may be, and that the largest one still is a line.
func TestEntryLimits(t *testing.T) {
	t.Parallel()
	value := func(n int) json.RawMessage { return json.RawMessage(`"` + strings.Repeat("x", n-2) + `"`) }
	deep := json.RawMessage(strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000))
	for _, tt := range []struct {
		name string
		edit func(*operator.Entry)
		want string // of the error; "": none
	}{
		{"plain", func(*operator.Entry) {}, ""},
		{"largest", func(e *operator.Entry) {
			e.Kind, e.Who, e.Object = strings.Repeat("\x01", 32), strings.Repeat("\x01", operator.WhoMax), strings.Repeat("\x01", 512)
			e.ID, e.Why, e.Ticket = strings.Repeat("<", 128), strings.Repeat("\x7f\x00", 1024), strings.Repeat("&", 256)
			e.Before, e.After = value(operator.ValueMax), value(operator.ValueMax)
		}, ""},
		{"why", func(e *operator.Entry) { e.Why = strings.Repeat("x", operator.WhyMax+1) }, "why: 2049 bytes, at most 2048"},
		{"text", func(e *operator.Entry) { e.Who = "j\xff" }, `who: "j\xff" is no valid UTF-8`},
		{"separators", func(e *operator.Entry) { e.Why = "a\u2028b\u2029c\ufffd" }, ""},
		{"no kind", func(e *operator.Entry) { e.Kind = "" }, "needs a kind"},
		{"nobody", func(e *operator.Entry) { e.Who = "" }, "who did it"},
		{"checkpoint", func(e *operator.Entry) { e.Kind = operator.EntryCheckpoint }, "by the log alone"},
		{"signature", func(e *operator.Entry) { e.Checkpoint = &operator.Checkpoint{} }, "by the log alone"},
		{"log", func(e *operator.Entry) { e.Kind = operator.EntryLog }, "by the log alone"},
		{"value", func(e *operator.Entry) { e.After = value(operator.ValueMax + 1) }, "after: 20481 bytes"},
		{"escaped value", func(e *operator.Entry) {
			e.After = bytes.ReplaceAll(value(operator.ValueMax/2), []byte("x"), []byte("<"))
		}, "after: 61"},
		{"no JSON", func(e *operator.Entry) { e.Before = json.RawMessage(`{"a":}`) }, "before: "},
		{"two values", func(e *operator.Entry) { e.Before = json.RawMessage(`1 2`) }, "before: "},
		{"value's text", func(e *operator.Entry) { e.Before = json.RawMessage("\"\xff\"") }, "before: no valid UTF-8"},
		{"depth", func(e *operator.Entry) { e.Before = deep }, "exceeded max depth"},
		{"year", func(e *operator.Entry) { e.Time = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC) }, "year 10000"},
		{"early", func(e *operator.Entry) { e.Time = time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC) }, "year -1"},
		{"zone", func(e *operator.Entry) { e.Time = time.Date(2026, 1, 1, 0, 0, 0, 1, time.FixedZone("", 86399)) }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := change(1)
			tt.edit(&e)
			err := e.Prepare()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	l := openLog(t, operator.LogConfig{Dir: t.TempDir()})
	if _, err := l.Append(change(1), operator.Entry{Kind: "x"}); err == nil || l.Status().Seq != 2 {
		t.Errorf("error %v, last entry %d: want none of the two", err, l.Status().Seq)
	}
}

// TestLogConfig covers what cannot be opened.
func TestLogConfig(t *testing.T) {
	t.Parallel()
	for _, conf := range []operator.LogConfig{{}, {Dir: "x", SegmentBytes: -1}, {Dir: "x", KeepBytes: -1}} {
		if _, err := operator.OpenLog(conf); err == nil {
			t.Errorf("%+v: no error", conf)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := operator.OpenLog(operator.LogConfig{Dir: file}); err == nil {
		t.Error("a file for a folder: no error")
	}
	dir := t.TempDir()
	openLog(t, operator.LogConfig{Dir: dir})
	if _, err := operator.OpenLog(operator.LogConfig{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another process writes") {
		t.Errorf("a second one: error %v", err)
	}
}

// TestLogSharesSync covers that calls which wait for a sync share the next one.
func TestLogSharesSync(t *testing.T) {
	t.Parallel()
	const callers = 20
	disk := operator.NewDisk()
	entered, leave := make(chan struct{}), make(chan struct{})
	syncs, hold := 0, false
	disk.Sync = func(f *os.File) error {
		syncs++
		if hold {
			hold = false
			close(entered)
			<-leave
		}
		return f.Sync()
	}
	var told []uint64
	conf := operator.LogConfig{Dir: t.TempDir(), OnAppend: func(entries []operator.Entry) {
		for i := range entries {
			told = append(told, entries[i].Seq)
		}
	}}
	conf.Use(disk)
	l := openLog(t, conf)
	syncs, hold = 0, true
	var group sync.WaitGroup
	one := func() {
		got, err := l.Append(change(1), change(2))
		if err != nil || len(got) != 2 || got[1].Prev != got[0].Hash {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	group.Go(one)
	<-entered
	for range callers {
		group.Go(one)
	}
	waitFor(t, func() bool { return l.Waiting() == callers })
	if s := l.Status(); s.Seq != 2 {
		t.Errorf("status before the sync: %+v", s)
	}
	close(leave)
	group.Wait()
	if syncs != 2 {
		t.Errorf("%d syncs, want one for the first and one for all others", syncs)
	}
	for i, seq := range told {
		if seq != uint64(i+1) {
			t.Fatalf("told of %v, want all in order", told)
		}
	}
	if len(told) != 2+2*(callers+1) {
		t.Errorf("told of %d entries", len(told))
	}
}

// waitFor polls until done.
func waitFor(t testing.TB, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(10 * time.Second); !done(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatal("waited 10 s in vain")
		}
	}
}

// TestLogRotates covers segments, their removal, and that a log of which the beginning is gone verifies.
func TestLogRotates(t *testing.T) {
	t.Parallel()
	conf := operator.LogConfig{Dir: t.TempDir(), SegmentBytes: 3000, KeepBytes: 9000}
	for round := range 3 {
		l := openLog(t, conf)
		if l.Status().Broken != "" {
			t.Fatal(l.Status().Broken)
		}
		for i := range 40 {
			if _, err := l.Append(slices.Repeat([]operator.Entry{change(i)}, 1+i%4)...); err != nil {
				t.Fatal(err)
			}
			if s := l.Status(); s.Bytes > 9000+3000+4000 {
				t.Fatalf("%d bytes are kept", s.Bytes)
			}
		}
		s := l.Status()
		report := wantWhole(t, conf.Dir) // beside the open log
		if s.First <= 1 || report.First != s.First || report.Last != s.Seq || report.Segments != s.Segments || report.Bytes != s.Bytes ||
			report.Uncovered != s.Uncovered || report.Checkpoint != s.Checkpoint || !report.CheckpointTime.Equal(s.CheckpointTime) {
			t.Errorf("round %d: status %+v, report %+v", round, s, report)
		}
		closeLog(t, l)
		wantWhole(t, conf.Dir)
	}
}

// TestLogRemovesLater covers files that a crash left behind the checkpoint that gave them up: they are no finding, and the next start
// removes them.
func TestLogRemovesLater(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	conf := operator.LogConfig{Dir: dir, SegmentBytes: 3000, KeepBytes: 6000}
	l := openLog(t, conf)
	kept := map[string][]byte{}
	for l.Status().First < 20 {
		appendN(t, l, 1)
		maps.Copy(kept, readFolder(t, dir))
	}
	first := l.Status().First
	closeLog(t, l)
	old := 0
	for name, text := range kept {
		if strings.HasSuffix(name, ".jsonl") && name < operator.SegmentName(first) {
			old++
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	report := wantWhole(t, dir)
	if old == 0 || report.First != 1 || len(report.Notes) != 1 {
		t.Errorf("%d files are back: %+v", old, report)
	}
	l = openLog(t, conf)
	if s := l.Status(); s.First != first || s.Broken != "" {
		t.Errorf("status %+v", s)
	}
	if report := wantWhole(t, dir); report.First != first || len(report.Notes) != 0 {
		t.Errorf("after the start: %+v", report)
	}
}

// readFolder gives the files of a folder.
func readFolder(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(dir, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[file.Name()] = text
	}
	return out
}

// TestLogRead compares Entries and Last with a reader of all lines.
func TestLogRead(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(dnstest.Seed(t), 1))
	dir := t.TempDir()
	l := openLog(t, operator.LogConfig{Dir: dir, SegmentBytes: 4000, KeepBytes: 30_000})
	for range 6 {
		appendN(t, l, 20)
		var all []operator.Entry
		files := readFolder(t, dir)
		names := make([]string, 0, len(files))
		for name := range files {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			if !strings.HasSuffix(name, ".jsonl") {
				continue
			}
			for line := range bytes.Lines(files[name]) {
				e := operator.Entry{}
				if err := json.Unmarshal(line, &e); err != nil {
					t.Fatal(err)
				}
				all = append(all, e)
			}
		}
		for range 50 {
			after, n, mod := rng.Uint64N(140), rng.IntN(30), 1+rng.Uint64N(5)
			keep := func(e *operator.Entry) bool { return e.Seq%mod == 0 }
			var want, wantLast []operator.Entry
			for i := range all {
				if all[i].Seq > after && keep(&all[i]) && len(want) < n {
					want = append(want, all[i])
				}
				if keep(&all[i]) {
					wantLast = append(wantLast, all[i])
				}
			}
			wantLast = wantLast[max(0, len(wantLast)-n):]
			if got, err := l.Entries(after, n, keep); err != nil || len(got) != len(want) || len(got) > 0 && !reflect.DeepEqual(got, want) {
				t.Fatalf("Entries(%d, %d) mod %d: %v, %v, want %v", after, n, mod, got, err, want)
			}
			if got, err := l.Last(n, keep); err != nil || len(got) != len(wantLast) || len(got) > 0 && !reflect.DeepEqual(got, wantLast) {
				t.Fatalf("Last(%d) mod %d: %v, %v, want %v", n, mod, got, err, wantLast)
			}
		}
	}
}

// TestLogRun covers when checkpoints are written: after ten seconds, or 32 entries.
func TestLogRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l, err := operator.OpenLog(operator.LogConfig{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer closeLog(t, l)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		appendN(t, l, 1)
		<-time.NewTimer(operator.CheckpointAge - time.Second).C
		synctest.Wait()
		if s := l.Status(); s.Uncovered != 1 {
			t.Errorf("after 9 s: %+v", s)
		}
		<-time.NewTimer(2 * time.Second).C
		if s := l.Status(); s.Uncovered != 0 || s.Checkpoint != 4 {
			t.Errorf("after 11 s: %+v", s)
		}
		<-time.NewTimer(time.Hour).C
		if s := l.Status(); s.Checkpoint != 4 {
			t.Errorf("after an hour without entries: %+v", s)
		}
		appendN(t, l, operator.CheckpointEntries)
		waitFor(t, func() bool { return !l.Due() })
		if s := l.Status(); s.Uncovered != 0 {
			t.Errorf("after many: %+v", s)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}
