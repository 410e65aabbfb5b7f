package operator_test

import (
	"bytes"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"geodns/internal/dnstest"
	"geodns/pkg/operator"
)

// startOn writes a changed log with its key somewhere, starts on it, and gives the folder and what the start said.
func startOn(t *testing.T, f folder, private []byte) (l *operator.Log, dir string, said *bytes.Buffer) {
	t.Helper()
	f = f.clone()
	if private != nil {
		f["key"] = private
	}
	dir = f.write(t)
	said = new(bytes.Buffer)
	conf := operator.LogConfig{Dir: dir, SegmentBytes: 4000, KeepBytes: 12_000, Logger: slog.New(slog.NewTextHandler(said, nil))}
	conf.Use(new(faults).disk())
	return openLog(t, conf), dir, said
}

// wantGoesOn checks that a log that did not hold at start goes on, that its old files are as they were, that verification still finds
// the place, and that the next start has nothing new to say.
func wantGoesOn(t *testing.T, l *operator.Log, dir string, before folder) {
	t.Helper()
	since, why, _ := strings.Cut(l.Status().Broken, " ")
	if _, err := time.Parse(time.RFC3339, since); err != nil {
		t.Errorf("broken since: %v", err)
	}
	notes, err := l.Entries(0, 10, func(e *operator.Entry) bool { return e.Kind == operator.EntryLog && e.Why == why })
	if err != nil || len(notes) != 1 {
		t.Errorf("entries that say %q: %v, %v", why, notes, err)
	}
	got := appendN(t, l, 2)
	closeLog(t, l)
	after := folder(readFolder(t, dir))
	for _, name := range before.segments() {
		if !bytes.Equal(before[name], after[name]) {
			t.Errorf("%s was changed", name)
		}
	}
	report, err := operator.VerifyLog(dir, nil)
	if err != nil || len(report.Findings) == 0 || report.Last != got[1].Seq+1 || report.Checkpoint != report.Last {
		t.Errorf("report %+v, %v", report, err)
	}
	l = openLog(t, operator.LogConfig{Dir: dir})
	if s := l.Status(); s.Broken != since+" "+why || s.Seq != got[1].Seq+1 {
		t.Errorf("the next start has forgotten it: %+v", s)
	}
	closeLog(t, l)
	if err := os.Remove(filepath.Join(dir, "broken")); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, operator.LogConfig{Dir: dir})
	if s := l.Status(); s.Broken != "" {
		t.Errorf("somebody has looked into it, and it is broken still: %+v", s)
	}
	closeLog(t, l)
}

// TestOpenBroken covers what a start finds: the server has its log, and says what does not hold.
func TestOpenBroken(t *testing.T) {
	t.Parallel()
	tailed, whole := makeSample(t, 3), makeSample(t, 0)
	for _, tt := range []struct {
		name string
		of   *sample
		edit func(f folder, names []string, last string)
		want string
	}{
		{"a word behind the checkpoint", tailed, func(f folder, _ []string, last string) {
			i := bytes.LastIndex(f[last], []byte("jane"))
			copy(f[last][i:], "john")
		}, "its hash is not that of its text"},
		{"a word before the checkpoint", whole, func(f folder, _ []string, last string) {
			i := bytes.Index(f[last], []byte("jane"))
			copy(f[last][i:], "john")
		}, "its hash is not that of its text"},
		{"the end cut off", whole, func(f folder, _ []string, last string) { f[last] = f[last][:len(f[last])-1] }, "the end of the log was cut off"},
		{"the last segment removed", whole, func(f folder, _ []string, last string) { delete(f, last) }, "the end of the log was cut off"},
		{"the last segment emptied", whole, func(f folder, _ []string, last string) { f[last] = nil }, "the end of the log was cut off"},
		{"all segments removed", whole, func(f folder, names []string, _ string) {
			for _, name := range names {
				delete(f, name)
			}
		}, "the end of the log was cut off"},
		{"lines behind the end", tailed, func(f folder, _ []string, last string) { f[last] = append(f[last], "{}\n{}\n"...) }, "not as this log writes it"},
		{"no head", whole, func(f folder, _ []string, _ string) { delete(f, "head") }, "the file head is missing"},
		{"a torn head", whole, func(f folder, _ []string, _ string) { f["head"] = f["head"][:70] }, "head: the file was changed"},
		{"an older head", tailed, func(f folder, _ []string, _ string) { f["head"] = tailed.heads[len(tailed.heads)-1] }, "somebody put an older file back"},
		{"a head of long ago", tailed, func(f folder, _ []string, _ string) { f["head"] = tailed.heads[0] }, "head is an older one"},
		{"another log's next head", whole, func(f folder, _ []string, _ string) { f["head.next"] = tailed.files["head"] }, "head.next is not of this log"},
		{"no key", whole, func(f folder, _ []string, _ string) { f["key"] = nil }, "its private key is missing"},
		{"a key's bit", whole, func(f folder, _ []string, _ string) {
			f["key"] = bytes.Replace(whole.private, []byte("M"), []byte("N"), 1)
		}, "its private key is missing"},
		{"another log's key", whole, func(f folder, _ []string, _ string) { f["key"] = tailed.private }, "the checkpoint is signed with the key"},
		{"nothing but key.pub", whole, func(f folder, names []string, _ string) {
			for _, name := range append(names, "head", "key") {
				delete(f, name)
			}
		}, "its private key is missing"},
		{"nothing but the keys", whole, func(f folder, names []string, _ string) {
			for _, name := range append(names, "head") {
				delete(f, name)
			}
		}, "the file head is missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := tt.of.files.clone()
			f["key"] = tt.of.private
			names := f.segments()
			tt.edit(f, names, names[len(names)-1])
			l, dir, said := startOn(t, f, nil)
			if s := l.Status(); !strings.Contains(s.Broken, tt.want) || !strings.Contains(said.String(), "does not hold") {
				t.Errorf("broken %q, want %q\n%s", s.Broken, tt.want, said)
			}
			wantGoesOn(t, l, dir, f)
		})
	}
}

// TestOpenMends covers what a start mends without calling the log broken.
func TestOpenMends(t *testing.T) {
	t.Parallel()
	s := makeSample(t, 3)
	names := s.files.segments()
	last, farName := names[len(names)-1], operator.SegmentName(math.MaxUint64)
	for _, tt := range []struct {
		name string
		edit func(folder)
		want string
		put  string // a file that stays there, for verification to find
	}{
		{"a line cut short", func(f folder) { f[last] = f[last][:len(f[last])-1] }, "ended in the middle of a line", ""},
		{"no key.pub", func(f folder) { delete(f, "key.pub") }, "key.pub was missing", ""},
		{"another key.pub", func(f folder) { f["key.pub"] = []byte("hello\n") }, "key.pub was missing or not the log's", ""},
		{"a name that is none", func(f folder) { f["0.jsonl"] = nil }, "0.jsonl is no segment of this log", "0.jsonl"},
		{"a far name", func(f folder) { f[farName] = []byte("x\n") }, farName + " is no segment of this log", farName},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := s.files.clone()
			tt.edit(f)
			l, dir, said := startOn(t, f, s.private)
			if l.Status().Broken != "" || !strings.Contains(said.String(), tt.want) {
				t.Errorf("broken %q, said %s", l.Status().Broken, said)
			}
			if got, err := l.Last(1, nil); err != nil || !strings.Contains(got[0].Why, tt.want) {
				t.Errorf("last entry %+v, %v", got, err)
			}
			closeLog(t, l)
			if tt.put != "" {
				report, err := operator.VerifyLog(dir, nil)
				if err != nil || len(report.Findings) == 0 {
					t.Errorf("findings %v, %v", report.Findings, err)
				}
				if err := os.Remove(filepath.Join(dir, tt.put)); err != nil {
					t.Fatal(err)
				}
			}
			wantWhole(t, dir)
		})
	}
}

// TestOpenRandom starts on logs that were changed at random, in their old parts too, which a start does not read: it always has a log
// that goes on, and one that verified is not broken.
func TestOpenRandom(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(dnstest.Seed(t), 5))
	rounds := 100
	if os.Getenv("GEODNS_PROVE") != "" {
		rounds = 2000
	}
	samples := []*sample{makeSample(t, 3), makeSample(t, 0)}
	for round := range rounds {
		s := samples[round%2]
		f := s.files.clone()
		what := s.tamper(t, rng, f, samples[(round+1)%2])
		l, dir, _ := startOn(t, f, s.private)
		got := appendN(t, l, 1)
		closeLog(t, l)
		if entries, err := l.Last(2, nil); err != nil || len(entries) != 2 || entries[0].Hash != got[0].Hash {
			t.Errorf("round %d: %s: last entries %v, %v", round, what, entries, err)
		}
		report, err := operator.VerifyLog(dir, s.key)
		if err != nil || l.Status().Broken != "" && len(report.Findings) == 0 {
			t.Errorf("round %d: %s: %v; no finding, but the start said %q", round, what, err, l.Status().Broken)
		}
		was := l.Status().Broken
		l = openLog(t, operator.LogConfig{Dir: dir})
		if l.Status().Broken != was {
			t.Errorf("round %d: %s: broken again: %s", round, what, l.Status().Broken)
		}
		closeLog(t, l)
		if err := os.RemoveAll(filepath.Clean(dir)); err != nil {
			t.Fatal(err)
		}
	}
}
