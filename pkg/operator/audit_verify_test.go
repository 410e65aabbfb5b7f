package operator_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"geodns/internal/dnstest"
	"geodns/internal/durable"
	"geodns/pkg/operator"
)

// folder is a log as the content of its files, which tests change before they write it somewhere.
type folder map[string][]byte

// sample is a log with a past: segments that were removed, some that are there, checkpoints, and the heads that there were.
type sample struct {
	files folder
	heads [][]byte // older ones
	key   ed25519.PublicKey
	// private is the file of the private key, which whoever changes the log does not have.
	private []byte
	// covered is how many bytes of the last segment are before the end of the last checkpoint.
	covered int
}

// fixedConfig is of a log with a key and times that are the same in each process: what one that fuzzes finds is one for all of them.
func fixedConfig(t testing.TB, seed int) operator.LogConfig {
	t.Helper()
	dir := t.TempDir()
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(seed)}, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	if err := durable.Write(filepath.Join(dir, "key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	conf := operator.LogConfig{Dir: dir, SegmentBytes: 4000, KeepBytes: 12_000, Now: func() time.Time {
		now = now.Add(time.Millisecond)
		return now
	}}
	conf.Use(new(faults).disk())
	return conf
}

// makeSample makes a log that ends with so many entries behind its last checkpoint.
func makeSample(t testing.TB, uncovered int) *sample {
	t.Helper()
	conf := fixedConfig(t, uncovered)
	dir := conf.Dir
	l := openLog(t, conf)
	s := &sample{}
	full := false // so nearly that the last entries would begin another segment
	for round := 0; round < 14 || full; round++ {
		appendN(t, l, 3+round%3)
		if err := l.Checkpoint(); err != nil {
			t.Fatal(err)
		}
		f := folder(readFolder(t, dir))
		names := f.segments()
		full = len(f[names[len(names)-1]]) > 2500
		s.heads = append(s.heads, f["head"])
	}
	s.heads = s.heads[:len(s.heads)-1]
	appendN(t, l, uncovered)
	s.files = readFolder(t, dir)
	key, err := operator.ParseLogKey(s.files["key.pub"])
	if err != nil {
		t.Fatal(err)
	}
	s.key = key
	s.private = s.files["key"]
	delete(s.files, "key")
	delete(s.files, "lock")
	names := s.files.segments()
	last := s.files[names[len(names)-1]]
	for at := 0; at < len(last); {
		end := at + bytes.IndexByte(last[at:], '\n') + 1
		if bytes.Contains(last[at:end], []byte(`"kind":"checkpoint"`)) {
			s.covered = end
		}
		at = end
	}
	if s.covered == 0 || len(names) < 3 || l.Status().First == 1 || l.Status().Uncovered != uncovered {
		t.Fatalf("a poor sample: %+v", l.Status())
	}
	return s
}

// segments gives the names of the segments, in order.
func (f folder) segments() []string {
	names := slices.Sorted(maps.Keys(f))
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, ".jsonl") })
}

// lines gives the lines of a file, with their line feeds.
func (f folder) lines(name string) [][]byte { return slices.Collect(bytes.Lines(f[name])) }

// setLines replaces a file.
func (f folder) setLines(name string, lines [][]byte) { f[name] = bytes.Join(lines, nil) }

// clone copies a log.
func (f folder) clone() folder {
	out := folder{}
	for name, text := range f {
		out[name] = bytes.Clone(text)
	}
	return out
}

// write makes a folder of the files.
func (f folder) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range f {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// durableFile is a file as internal/durable writes it.
func durableFile(t testing.TB, payload []byte) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := durable.Write(path, payload); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// headFor is a head with a line.
func headFor(t testing.TB, line []byte) []byte {
	t.Helper()
	return durableFile(t, line)
}

// rehash changes an entry and makes the whole chain and head fit it, as who has no key can; with a key it signs all checkpoints too
// and puts its public key there.
func (f folder) rehash(t testing.TB, number int, edit func(*operator.Entry), key ed25519.PrivateKey) {
	t.Helper()
	prev, n, head := "", 0, []byte(nil)
	for _, name := range f.segments() {
		lines := f.lines(name)
		for i, line := range lines {
			e, err := operator.ParseEntry(bytes.TrimSuffix(line, []byte("\n")))
			if err != nil {
				t.Fatal(err)
			}
			if prev != "" {
				e.Prev = prev
			}
			if n == number {
				edit(e)
			}
			n++
			if e.Checkpoint != nil {
				e.Checkpoint.Chain = e.Prev
				if key != nil {
					e.Checkpoint.Key = base64.StdEncoding.EncodeToString(key[32:])
					e.Checkpoint.Sign(key, e.Time)
				}
			}
			text, err := e.Encode()
			if err != nil {
				t.Fatal(err)
			}
			prev = e.Hash
			lines[i] = append(text, '\n')
			if e.Checkpoint != nil {
				head = lines[i]
			}
		}
		f.setLines(name, lines)
	}
	f["head"] = headFor(t, head)
	if key != nil {
		f["key.pub"] = []byte(base64.StdEncoding.EncodeToString(key[32:]) + "\n")
	}
}

// otherKey is a key that signed nothing.
func otherKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed25519.SeedSize))
}

// TestVerifyLog covers each way to change a log by hand, and what the report says of it.
func TestVerifyLog(t *testing.T) {
	t.Parallel()
	tailed, whole := makeSample(t, 3), makeSample(t, 0)
	for _, tt := range []struct {
		name   string
		of     *sample
		edit   func(t *testing.T, f folder, names []string)
		pinned bool
		want   string // in a finding; "": there is none
	}{
		{"untouched", tailed, func(*testing.T, folder, []string) {}, false, ""},
		{"untouched, pinned", whole, func(*testing.T, folder, []string) {}, true, ""},
		{"no files", whole, func(_ *testing.T, f folder, _ []string) { clear(f) }, false, "head: the file is missing"},
		{"a word", whole, func(_ *testing.T, f folder, n []string) {
			f[n[1]] = bytes.Replace(f[n[1]], []byte("jane"), []byte("john"), 1)
		}, false, "its hash is not that of its text"},
		{"a space", whole, func(_ *testing.T, f folder, n []string) {
			f[n[1]] = bytes.Replace(f[n[1]], []byte(`,"who"`), []byte(`, "who"`), 1)
		}, false, "not as this log writes it"},
		{"a key twice", whole, func(_ *testing.T, f folder, n []string) {
			f[n[1]] = bytes.Replace(f[n[1]], []byte(`,"who"`), []byte(`,"who":"x","who"`), 1)
		}, false, "not as this log writes it"},
		{"an unknown key", whole, func(_ *testing.T, f folder, n []string) {
			f[n[1]] = bytes.Replace(f[n[1]], []byte(`,"who"`), []byte(`,"x":1,"who"`), 1)
		}, false, "not as this log writes it"},
		{"a letter's case", whole, func(_ *testing.T, f folder, n []string) {
			f[n[1]] = bytes.Replace(f[n[1]], []byte(`"who"`), []byte(`"Who"`), 1)
		}, false, "not as this log writes it"},
		{"carriage returns", whole, func(_ *testing.T, f folder, n []string) {
			f[n[1]] = bytes.ReplaceAll(f[n[1]], []byte("\n"), []byte("\r\n"))
		}, false, "not as this log writes it"},
		{"no entry", whole, func(_ *testing.T, f folder, n []string) {
			f.setLines(n[1], slices.Insert(f.lines(n[1]), 2, []byte("hello\n")))
		}, false, "jsonl:3: the line is no entry"},
		{"a long line", whole, func(_ *testing.T, f folder, n []string) {
			f.setLines(n[1], slices.Insert(f.lines(n[1]), 2, append(bytes.Repeat([]byte("x"), 200_000), '\n')))
		}, false, "jsonl:3: a line of more than 65536 bytes"},
		{"an empty line", whole, func(_ *testing.T, f folder, n []string) {
			f.setLines(n[1], slices.Insert(f.lines(n[1]), 2, []byte("\n")))
		}, false, "jsonl:3: the line is no entry"},
		{"a line removed", whole, func(_ *testing.T, f folder, n []string) { f.setLines(n[1], slices.Delete(f.lines(n[1]), 2, 3)) }, false, "lines before it were removed"},
		{"a line doubled", whole, func(_ *testing.T, f folder, n []string) {
			f.setLines(n[1], slices.Insert(f.lines(n[1]), 2, f.lines(n[1])[2]))
		}, false, "lines were doubled"},
		{"a first line removed", whole, func(_ *testing.T, f folder, n []string) { f.setLines(n[1], f.lines(n[1])[1:]) }, false, "lines before it were removed"},
		{"the very first line removed", whole, func(_ *testing.T, f folder, n []string) { f.setLines(n[0], f.lines(n[0])[1:]) }, false, "lines before it were removed"},
		{"the end cut off", whole, func(_ *testing.T, f folder, n []string) {
			last := n[len(n)-1]
			f.setLines(last, f.lines(last)[:len(f.lines(last))-1])
		}, false, "the end of the log was cut off"},
		{"the last line feed cut off", whole, func(_ *testing.T, f folder, n []string) {
			last := n[len(n)-1]
			f[last] = f[last][:len(f[last])-1]
		}, false, "the end of the log was cut off"},
		{"the first segment removed", whole, func(_ *testing.T, f folder, n []string) { delete(f, n[0]) }, false, "older segments were removed"},
		{"a segment removed", whole, func(_ *testing.T, f folder, n []string) { delete(f, n[1]) }, false, "lines before it were removed"},
		{"the last segment removed", whole, func(_ *testing.T, f folder, n []string) { delete(f, n[len(n)-1]) }, false, "the end of the log was cut off"},
		{"all segments removed", whole, func(_ *testing.T, f folder, n []string) {
			for _, name := range n {
				delete(f, name)
			}
		}, false, "the end of the log was cut off"},
		{"a segment emptied", whole, func(_ *testing.T, f folder, n []string) { f[n[1]] = nil }, false, "the file is empty"},
		{"a segment cut", whole, func(_ *testing.T, f folder, n []string) { f[n[1]] = f[n[1]][:len(f[n[1]])-5] }, false, "the last line has no end"},
		{"segments swapped", whole, func(_ *testing.T, f folder, n []string) { f[n[0]], f[n[1]] = f[n[1]], f[n[0]] }, false, "is where entry"},
		{"a segment renamed", whole, func(_ *testing.T, f folder, n []string) { f["old.jsonl"] = f[n[0]]; delete(f, n[0]) }, false, "this is no segment of the log"},
		{"a segment with another number", whole, func(_ *testing.T, f folder, n []string) {
			first := operator.SegmentName(parseFirst(t, f, n[1]) + 1)
			f[first] = f[n[1]]
			delete(f, n[1])
		}, false, "it was renamed"},
		{"an empty segment put there", tailed, func(_ *testing.T, f folder, _ []string) { f[operator.SegmentName(9999)] = nil }, false, "this log did not write it"},
		{"an older segment put there", whole, func(_ *testing.T, f folder, _ []string) { f[operator.SegmentName(1)] = []byte("hello\n") }, false, "the line is no entry"},
		{"no head", whole, func(_ *testing.T, f folder, _ []string) { delete(f, "head") }, false, "head: the file is missing"},
		{"a torn head", whole, func(_ *testing.T, f folder, _ []string) { f["head"] = f["head"][:50] }, false, "head: the file was changed"},
		{"an older head", whole, func(_ *testing.T, f folder, _ []string) { f["head"] = whole.heads[len(whole.heads)-1] }, false, "somebody put an older file back"},
		{"a much older head", tailed, func(_ *testing.T, f folder, _ []string) { f["head"] = tailed.heads[2] }, false, "is not in the log as it was signed"},
		{"an entry as head", whole, func(t *testing.T, f folder, n []string) { f["head"] = headFor(t, f.lines(n[2])[0]) }, false, "its entry is no checkpoint"},
		{"words as head", whole, func(t *testing.T, f folder, _ []string) { f["head"] = headFor(t, []byte("hello\n")) }, false, "it has no entry of this log"},
		{"another log's head", whole, func(_ *testing.T, f folder, _ []string) { f["head"] = tailed.files["head"] }, false, "is signed with the key"},
		{"an old checkpoint as the next", whole, func(_ *testing.T, f folder, _ []string) { f["head.next"] = whole.heads[9] }, false, "does not belong to the end"},
		{"words as the next", whole, func(t *testing.T, f folder, _ []string) { f["head.next"] = headFor(t, []byte("hello\n")) }, false, "head.next: the file was changed"},
		{"no key.pub", whole, func(_ *testing.T, f folder, _ []string) { delete(f, "key.pub") }, false, "key.pub: the public key is missing"},
		{"no key.pub, pinned", whole, func(_ *testing.T, f folder, _ []string) { delete(f, "key.pub") }, true, "key.pub: the public key is missing"},
		{"another key.pub", whole, func(_ *testing.T, f folder, _ []string) { f["key.pub"] = tailed.files["key.pub"] }, false, "is signed with the key"},
		{"another key.pub, pinned", whole, func(_ *testing.T, f folder, _ []string) { f["key.pub"] = tailed.files["key.pub"] }, true, "it was replaced"},
		{"key.pub without its line feed", whole, func(_ *testing.T, f folder, _ []string) { f["key.pub"] = f["key.pub"][:44] }, false, "this is no key"},
		{"a large key.pub", whole, func(_ *testing.T, f folder, _ []string) { f["key.pub"] = bytes.Repeat(f["key.pub"], 100) }, false, "this is no key"},
		{"an entry hashed anew", whole, func(t *testing.T, f folder, n []string) {
			lines := f.lines(n[1])
			e, err := operator.ParseEntry(bytes.TrimSpace(lines[0]))
			if err != nil {
				t.Fatal(err)
			}
			e.Who = "john"
			text, err := e.Encode()
			if err != nil {
				t.Fatal(err)
			}
			lines[0] = append(text, '\n')
			f.setLines(n[1], lines)
		}, false, "one of the two was changed and hashed anew"},
		{"all hashed anew", whole, func(t *testing.T, f folder, _ []string) {
			f.rehash(t, 0, func(e *operator.Entry) { e.Ticket = "NET-2" }, nil)
		}, false, "the checkpoint's signature does not hold"},
		{"the last checkpoint's time", whole, func(t *testing.T, f folder, _ []string) {
			f.rehash(t, whole.lastLine(), func(e *operator.Entry) { e.Time = e.Time.Add(1) }, nil)
		}, false, "the checkpoint's signature does not hold"},
		{"the last checkpoint's reason", whole, func(t *testing.T, f folder, _ []string) {
			f.rehash(t, whole.lastLine(), func(e *operator.Entry) { e.Why = "x" }, nil)
		}, false, "not one that this log would write"},
		{"an entry with a checkpoint", tailed, func(t *testing.T, f folder, _ []string) {
			f.rehash(t, tailed.lastLine(), func(e *operator.Entry) { e.Checkpoint = &operator.Checkpoint{} }, nil)
		}, false, "a checkpoint is where none belongs"},
		{"a checkpoint with nothing", tailed, func(t *testing.T, f folder, _ []string) {
			head := f["head"]
			f.rehash(t, tailed.lastLine(), func(e *operator.Entry) { e.Kind = operator.EntryCheckpoint }, nil)
			f["head"] = head
		}, false, "has nothing in it"},
		{"all signed anew", whole, func(t *testing.T, f folder, _ []string) {
			f.rehash(t, 0, func(e *operator.Entry) { e.Ticket = "NET-2" }, otherKey())
		}, true, "the checkpoint is signed with the key"},
		{"all signed anew, as nobody pinned the key", whole, func(t *testing.T, f folder, _ []string) {
			f.rehash(t, 0, func(e *operator.Entry) { e.Ticket = "NET-2" }, otherKey())
		}, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := tt.of.files.clone()
			tt.edit(t, f, f.segments())
			var key ed25519.PublicKey
			if tt.pinned {
				key = tt.of.key
			}
			report, err := operator.VerifyLog(f.write(t), key)
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, finding := range report.Findings {
				all = append(all, finding.String())
			}
			if text := strings.Join(all, "\n"); tt.want == "" && text != "" || !strings.Contains(text, tt.want) {
				t.Errorf("findings %s\nwant %q", text, tt.want)
			}
			if report.Pinned != tt.pinned {
				t.Errorf("pinned %v", report.Pinned)
			}
		})
	}
}

// lastLine is the index of the last line of all segments.
func (s *sample) lastLine() int {
	n := 0
	for _, name := range s.files.segments() {
		n += len(s.files.lines(name))
	}
	return n - 1
}

// parseFirst is the number of the first entry of a file.
func parseFirst(t *testing.T, f folder, name string) uint64 {
	t.Helper()
	e, err := operator.ParseEntry(bytes.TrimSpace(f.lines(name)[0]))
	if err != nil {
		t.Fatal(err)
	}
	return e.Seq
}

// TestVerifyErrors covers what is no log at all.
func TestVerifyErrors(t *testing.T) {
	t.Parallel()
	if _, err := operator.VerifyLog(filepath.Join(t.TempDir(), "none"), nil); err == nil {
		t.Error("no folder: no error")
	}
	if _, err := operator.VerifyLog(t.TempDir(), make([]byte, 3)); err == nil {
		t.Error("half a key: no error")
	}
	for _, text := range []string{"", "AAAA", strings.Repeat("A", 43) + "=x", strings.Repeat("A", 42) + "B="} {
		if key, err := operator.ParseLogKey([]byte(text)); err == nil {
			t.Errorf("%q is a key: %v", text, key)
		}
	}
}

// TestVerifyBetweenSteps covers what a crash between the steps of a checkpoint leaves: notes, and a start that ends the step.
func TestVerifyBetweenSteps(t *testing.T) {
	t.Parallel()
	s := makeSample(t, 0)
	names := s.files.segments()
	last := names[len(names)-1]
	lines := s.files.lines(last)
	checkpoint := lines[len(lines)-1]
	var before []byte
	for _, name := range names {
		for _, line := range s.files.lines(name) {
			if bytes.Contains(line, []byte(`"kind":"checkpoint"`)) && !bytes.Equal(line, checkpoint) {
				before = headFor(t, line)
			}
		}
	}
	for _, tt := range []struct {
		name  string
		edit  func(folder)
		notes int
	}{
		{"the next head is written", func(f folder) {
			f["head"], f["head.next"] = before, headFor(t, checkpoint)
			f.setLines(last, lines[:len(lines)-1])
		}, 0},
		{"the line is written in part", func(f folder) {
			f["head"], f["head.next"] = before, headFor(t, checkpoint)
			f[last] = f[last][:len(f[last])-30]
		}, 1},
		{"the line is written", func(f folder) { f["head"], f["head.next"] = before, headFor(t, checkpoint) }, 1},
		{"a line is written in part", func(f folder) { f[last] = append(f[last], `{"seq":1`...) }, 1},
		{"zeros are written", func(f folder) { f[last] = append(f[last], make([]byte, 300_000)...) }, 1},
		{"a segment is begun", func(f folder) { f[operator.SegmentName(parseFirst(t, s.files, last)+uint64(len(lines)))] = nil }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := s.files.clone()
			tt.edit(f)
			dir := f.write(t)
			if report := wantWhole(t, dir); len(report.Notes) != tt.notes {
				t.Errorf("notes %q", report.Notes)
			}
			if err := os.WriteFile(filepath.Join(dir, "key"), s.private, 0o600); err != nil {
				t.Fatal(err)
			}
			l := openLog(t, operator.LogConfig{Dir: dir})
			if status := l.Status(); status.Broken != "" {
				t.Errorf("broken: %s", status.Broken)
			}
			appendN(t, l, 2)
			closeLog(t, l)
			if report := wantWhole(t, dir); len(report.Notes) != 0 {
				t.Errorf("after a start: notes %q", report.Notes)
			}
		})
	}
}

// TestVerifyBeside verifies the log of a server that writes, begins segments and removes them: nothing is found.
func TestVerifyBeside(t *testing.T) {
	t.Parallel()
	conf := operator.LogConfig{Dir: t.TempDir(), SegmentBytes: 10_000, KeepBytes: 50_000}
	conf.Use(new(faults).disk())
	l := openLog(t, conf)
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := l.Append(change(i)); err != nil {
				t.Error(err)
				return
			}
			if i%10 == 0 {
				if err := l.Checkpoint(); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	defer group.Wait()
	defer close(stop)
	for l.Status().First < 300 { // ten segments or so are gone
		wantWhole(t, conf.Dir)
	}
}

// TestVerifyRandom changes a log at random in all the ways there are: each change is found.
func TestVerifyRandom(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(dnstest.Seed(t), 3))
	rounds := 1000
	if os.Getenv("GEODNS_PROVE") != "" {
		rounds = 20_000
	}
	samples := []*sample{makeSample(t, 3), makeSample(t, 0)}
	for round := range rounds {
		s := samples[round%len(samples)]
		f := s.files.clone()
		what := s.tamper(t, rng, f, samples[(round+1)%len(samples)])
		dir := f.write(t)
		report, err := operator.VerifyLog(dir, s.key)
		if err != nil || len(report.Findings) == 0 {
			t.Errorf("round %d: %s: %v, nothing was found", round, what, err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// place is where a line is.
type place struct {
	name string
	line int
}

// places gives all lines up to the last checkpoint.
func (s *sample) places(f folder) []place {
	var out []place
	names := f.segments()
	for i, name := range names {
		size := 0
		for n, line := range f.lines(name) {
			if size += len(line); i+1 < len(names) || size <= s.covered {
				out = append(out, place{name, n})
			}
		}
	}
	return out
}

// bytesOf is how many bytes of a file are to be safe.
func (s *sample) bytesOf(f folder, name string) int {
	names := f.segments()
	if name == names[len(names)-1] {
		return s.covered
	}
	return len(f[name])
}

// tamper changes a log in one way, up to the end of its last checkpoint, and says how.
func (s *sample) tamper(t *testing.T, rng *rand.Rand, f folder, other *sample) string {
	t.Helper()
	names := f.segments()
	name := names[rng.IntN(len(names))]
	places := s.places(f)
	one := rng.IntN(len(places))
	at := places[one]
	lines := f.lines(at.name)
	switch kind := rng.IntN(18); kind {
	case 0, 1, 2: // a bit of any file
		if kind == 2 {
			name = []string{"head", "key.pub"}[rng.IntN(2)]
		}
		i, bit := rng.IntN(s.bytesOf(f, name)), rng.IntN(8)
		if kind == 2 {
			i = rng.IntN(len(f[name]))
		}
		f[name][i] ^= 1 << bit
		return fmt.Sprintf("bit %d of byte %d of %s", bit, i, name)
	case 3: // a byte
		i := rng.IntN(s.bytesOf(f, name))
		f[name][i] += byte(1 + rng.IntN(255))
		return fmt.Sprintf("byte %d of %s", i, name)
	case 4: // a byte more
		i := rng.IntN(s.bytesOf(f, name))
		f[name] = slices.Insert(f[name], i, byte(rng.IntN(256)))
		return fmt.Sprintf("a byte before byte %d of %s", i, name)
	case 5: // a byte less
		i := rng.IntN(s.bytesOf(f, name))
		f[name] = slices.Delete(f[name], i, i+1)
		return fmt.Sprintf("no byte %d of %s", i, name)
	case 6:
		f.setLines(at.name, slices.Delete(lines, at.line, at.line+1))
		return fmt.Sprintf("removed %v", at)
	case 7:
		from := places[rng.IntN(len(places))]
		f.setLines(at.name, slices.Insert(lines, at.line, f.lines(from.name)[from.line]))
		return fmt.Sprintf("put %v before %v", from, at)
	case 8: // a made-up entry that fits the line before
		e, err := operator.ParseEntry(bytes.TrimSpace(lines[at.line]))
		if err != nil {
			t.Fatal(err)
		}
		e.Kind, e.Checkpoint, e.Why = operator.EntryStart, nil, fmt.Sprint(rng.Uint64())
		text, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		f.setLines(at.name, slices.Insert(lines, at.line, append(text, '\n')))
		return fmt.Sprintf("made up an entry before %v", at)
	case 9:
		two := places[(one+1+rng.IntN(len(places)-1))%len(places)]
		a, b := lines[at.line], f.lines(two.name)[two.line]
		lines[at.line] = b
		f.setLines(at.name, lines)
		lines = f.lines(two.name)
		lines[two.line] = a
		f.setLines(two.name, lines)
		return fmt.Sprintf("swapped %v and %v", at, two)
	case 10: // cut off somewhere, with all behind it or without
		i := rng.IntN(s.bytesOf(f, name))
		f[name] = f[name][:i]
		rest := rng.IntN(2) == 0
		for _, behind := range names {
			if behind > name && rest {
				delete(f, behind)
			}
		}
		return fmt.Sprintf("cut %s at %d, what is behind too: %v", name, i, rest)
	case 11:
		delete(f, name)
		return "removed " + name
	case 12:
		to := operator.SegmentName(1 + rng.Uint64N(100))
		if f[to] != nil {
			to = "old"
		}
		f[to] = f[name]
		delete(f, name)
		return "renamed " + name + " to " + to
	case 13:
		two := names[(slices.Index(names, name)+1+rng.IntN(len(names)-1))%len(names)]
		f[name], f[two] = f[two], f[name]
		return "swapped " + name + " and " + two
	case 14:
		f["head"] = append(slices.Clone(s.heads), other.files["head"], nil)[rng.IntN(len(s.heads)+2)]
		return "another head"
	case 15:
		f["key.pub"] = [][]byte{other.files["key.pub"], nil, []byte("x")}[rng.IntN(3)]
		return "another key.pub"
	case 16:
		f.rehash(t, one, func(e *operator.Entry) { e.Why += "x" }, nil)
		return fmt.Sprintf("changed %v and hashed all anew", at)
	default:
		f.rehash(t, one, func(e *operator.Entry) { e.Who += "x" }, otherKey())
		return fmt.Sprintf("changed %v and signed all anew", at)
	}
}
