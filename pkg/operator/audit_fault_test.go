package operator_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"geodns/internal/dnstest"
	"geodns/pkg/operator"
)

// faults is a disk that goes wrong while its fields say so.
type faults struct {
	write, sync, truncate, syncDir error
	part                           int // bytes that a failing write leaves
}

// disk is the disk.
func (f *faults) disk() operator.Disk {
	real := operator.NewDisk()
	return operator.Disk{
		WriteAt: func(file *os.File, text []byte, at int64) (int, error) {
			if f.write != nil {
				n, _ := file.WriteAt(text[:min(f.part, len(text))], at)
				return n, f.write
			}
			return file.WriteAt(text, at)
		},
		Sync: func(*os.File) error { return f.sync }, // no test here loses its power
		Truncate: func(file *os.File, size int64) error {
			if f.truncate != nil {
				return f.truncate
			}
			return file.Truncate(size)
		},
		SyncDir: func(dir string) error {
			if f.syncDir != nil {
				return f.syncDir
			}
			return real.SyncDir(dir)
		},
		Rename: os.Rename,
		Remove: os.Remove,
	}
}

// TestLogFaults covers writes that go wrong: the error is told, nothing that was acknowledged is lost, nothing else is in the log,
// the log goes on when the disk does, and nobody takes what is left for a change.
func TestLogFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		faults faults
		fresh  bool // another segment is begun
		notes  int  // of verification
	}{
		{"full", faults{write: syscall.ENOSPC}, false, 0},
		{"full in a line", faults{write: syscall.ENOSPC, part: 100}, false, 0},
		{"full and cannot be cut", faults{write: syscall.ENOSPC, part: 100, truncate: syscall.EIO}, true, 1},
		{"written whole and cannot be cut", faults{write: syscall.EIO, part: 1 << 20, truncate: syscall.EIO}, true, 1},
		{"sync", faults{sync: syscall.EIO}, true, 0},
		{"sync, cannot be cut", faults{sync: syscall.EIO, truncate: syscall.EIO}, true, 1},
		{"everything", faults{sync: syscall.EIO, truncate: syscall.EIO, syncDir: syscall.EIO, write: syscall.EIO, part: 1}, true, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var f faults
			conf := operator.LogConfig{Dir: t.TempDir()}
			conf.Use(f.disk())
			l := openLog(t, conf)
			want := appendN(t, l, 5)
			for range 2 {
				f = tt.faults
				for range 3 {
					if _, err := l.Append(change(0)); err == nil || l.Status().Failed == "" {
						t.Fatalf("no error; status %+v", l.Status())
					}
				}
				f = faults{}
				want = append(want, appendN(t, l, 5)...)
				if s := l.Status(); s.Failed != "" {
					t.Errorf("status %+v", s)
				}
			}
			segments := 1
			if tt.fresh {
				segments = 3
			}
			if s := l.Status(); s.Segments != segments || s.Broken != "" {
				t.Errorf("status %+v, want %d segments", s, segments)
			}
			check := func(l *operator.Log) {
				t.Helper()
				got, err := l.Entries(0, 100, func(e *operator.Entry) bool { return e.Kind == operator.EntryLeasePut })
				if err != nil || !slices.EqualFunc(got, want, func(a, b operator.Entry) bool { return a.Hash == b.Hash }) {
					t.Errorf("%d entries, %v, want %d", len(got), err, len(want))
				}
				if report := wantWhole(t, conf.Dir); len(report.Notes) != 2*tt.notes {
					t.Errorf("notes %q", report.Notes)
				}
			}
			check(l)
			closeLog(t, l)
			l = openLog(t, conf)
			if s := l.Status(); s.Broken != "" {
				t.Errorf("after the next start: %+v", s)
			}
			check(l)
		})
	}
}

// TestLogCannotBegin covers a segment that cannot be begun for a while, with a sync of the folder that goes wrong.
func TestLogCannotBegin(t *testing.T) {
	t.Parallel()
	var f faults
	conf := operator.LogConfig{Dir: t.TempDir(), SegmentBytes: 2000}
	conf.Use(f.disk())
	l := openLog(t, conf)
	for l.Status().Bytes < 2000 {
		appendN(t, l, 1)
	}
	before := l.Status()
	f = faults{syncDir: syscall.EIO}
	for range 3 {
		if _, err := l.Append(change(0)); !errors.Is(err, syscall.EIO) {
			t.Fatalf("error %v, want EIO", err)
		}
	}
	f = faults{}
	got := appendN(t, l, 1)
	if s := l.Status(); got[0].Seq != before.Seq+2 || s.Segments != before.Segments+1 {
		t.Errorf("entry %d, status %+v, before %+v", got[0].Seq, s, before)
	}
	wantWhole(t, conf.Dir)
}

// TestLogCheckpointFails covers a checkpoint that cannot be kept: nothing is written behind it until it can.
func TestLogCheckpointFails(t *testing.T) {
	t.Parallel()
	var f faults
	dir := t.TempDir()
	conf := operator.LogConfig{Dir: dir}
	conf.Use(f.disk())
	l := openLog(t, conf)
	appendN(t, l, 3)
	f = faults{write: syscall.ENOSPC, part: 10}
	if err := l.Checkpoint(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error %v", err)
	}
	wantWhole(t, dir)
	f = faults{syncDir: syscall.EIO}
	if err := l.Checkpoint(); !errors.Is(err, syscall.EIO) {
		t.Errorf("error %v", err)
	}
	if _, err := l.Append(change(0)); !errors.Is(err, syscall.EIO) {
		t.Errorf("error %v, want none written while head is not on disk", err)
	}
	f = faults{}
	// A folder that is not empty where head has to be: the rename cannot work.
	appendN(t, l, 1)
	head := filepath.Join(dir, "head")
	if err := os.Rename(head, head+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(head, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := l.Checkpoint(); err == nil || l.Status().Failed == "" {
		t.Errorf("error %v, status %+v", err, l.Status())
	}
	if _, err := l.Append(change(0)); err == nil {
		t.Error("an entry was written behind a checkpoint that is in no head")
	}
	if err := os.RemoveAll(head); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(head+".away", head); err != nil {
		t.Fatal(err)
	}
	if report := wantWhole(t, dir); len(report.Notes) != 1 {
		t.Errorf("notes %q", report.Notes)
	}
	appendN(t, l, 1)
	closeLog(t, l)
	if report := wantWhole(t, dir); len(report.Notes) != 0 {
		t.Errorf("notes %q", report.Notes)
	}
}

// powerCut is a disk that keeps what was synced, and of the rest what chance leaves, once the power is gone.
type powerCut struct {
	synced map[string]int64 // by path
	left   int              // operations until the cut
}

var errPower = errors.New("the power is gone")

// gone counts an operation.
func (p *powerCut) gone() bool { p.left--; return p.left < 0 }

// disk is the disk.
func (p *powerCut) disk() operator.Disk {
	return operator.Disk{
		WriteAt: func(file *os.File, text []byte, at int64) (int, error) {
			if p.gone() {
				return 0, errPower
			}
			return file.WriteAt(text, at)
		},
		Sync: func(file *os.File) error {
			if p.gone() {
				return errPower
			}
			size, err := file.Seek(0, io.SeekEnd)
			p.synced[file.Name()] = size
			return err
		},
		Truncate: func(file *os.File, size int64) error {
			if p.gone() {
				return errPower
			}
			return file.Truncate(size)
		},
		SyncDir: func(string) error {
			if p.gone() {
				return errPower
			}
			return nil
		},
		Rename: func(from, to string) error {
			if p.gone() {
				return errPower
			}
			return os.Rename(from, to)
		},
		Remove: func(path string) error {
			if p.gone() {
				return errPower
			}
			return os.Remove(path)
		},
	}
}

// cut loses what was not synced, but for a random beginning of it.
func (p *powerCut) cut(t *testing.T, rng *rand.Rand, dir string) {
	t.Helper()
	for name, text := range readFolder(t, dir) {
		path := filepath.Join(dir, name)
		size := int64(len(text))
		if more := size - p.synced[path]; strings.HasSuffix(name, ".jsonl") && more > 0 {
			if err := os.Truncate(path, size-rng.Int64N(more+1)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestLogPowerCut cuts the power at random operations, again and again on one folder: what was acknowledged is there, and the log
// holds.
func TestLogPowerCut(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(dnstest.Seed(t), 2))
	rounds := 100
	if os.Getenv("GEODNS_PROVE") != "" {
		rounds = 2000
	}
	dir := t.TempDir()
	conf := operator.LogConfig{Dir: dir, SegmentBytes: 4000, KeepBytes: 40_000}
	l := openLog(t, conf) // the first one is whole: what a crash there leaves is tested below
	closeLog(t, l)
	acknowledged := map[uint64]string{}
	for round := range rounds {
		p := &powerCut{synced: map[string]int64{}, left: rng.IntN(60)}
		for name, text := range readFolder(t, dir) {
			p.synced[filepath.Join(dir, name)] = int64(len(text))
		}
		conf.Use(p.disk())
		l, err := operator.OpenLog(conf)
		if err == nil {
			for p.left >= 0 {
				got, appendErr := l.Append(slices.Repeat([]operator.Entry{change(round)}, 1+rng.IntN(3))...)
				if appendErr == nil {
					for i := range got {
						acknowledged[got[i].Seq] = got[i].Hash
					}
				}
				if rng.IntN(5) == 0 {
					_ = l.Checkpoint() // whether it goes wrong does not matter
				}
			}
			_ = l.Close() // without power
		} else if !errors.Is(err, errPower) {
			t.Fatalf("round %d: %v", round, err)
		}
		p.cut(t, rng, dir)
		wantWhole(t, dir)
		conf.Use(operator.NewDisk())
		l = openLog(t, conf)
		wantAcknowledged(t, l, acknowledged)
		closeLog(t, l)
		wantWhole(t, dir)
	}
}

// wantAcknowledged checks that a log holds, and has all that was acknowledged, but for what it let go of.
func wantAcknowledged(t *testing.T, l *operator.Log, acknowledged map[uint64]string) {
	t.Helper()
	s := l.Status()
	if s.Broken != "" {
		t.Fatalf("broken: %s", s.Broken)
	}
	got, err := l.Entries(0, operator.EntriesMax, nil)
	if err != nil {
		t.Fatal(err)
	}
	there := map[uint64]string{}
	for i := range got {
		there[got[i].Seq] = got[i].Hash
	}
	for seq, hash := range acknowledged {
		if seq < s.First {
			delete(acknowledged, seq)
		} else if there[seq] != hash {
			t.Fatalf("entry %d, acknowledged as %s, is %q", seq, hash, there[seq])
		}
	}
}

// TestLogBeginCut covers a crash after each step of beginning a log: the next start begins it, and finds nothing wrong.
func TestLogBeginCut(t *testing.T) {
	t.Parallel()
	for left := range 12 {
		dir := t.TempDir()
		p := &powerCut{synced: map[string]int64{}, left: left}
		conf := operator.LogConfig{Dir: dir}
		conf.Use(p.disk())
		l, err := operator.OpenLog(conf)
		if err == nil {
			_ = l.Close() // without power, maybe
		}
		conf.Use(operator.NewDisk())
		l = openLog(t, conf)
		if s := l.Status(); s.Broken != "" {
			t.Errorf("cut after %d operations: %s", left, s.Broken)
		}
		closeLog(t, l)
		wantWhole(t, dir)
	}
}
