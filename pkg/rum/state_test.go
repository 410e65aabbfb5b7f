package rum_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"geodns/internal/durable"
	"geodns/pkg/rum"
)

// TestRestart covers that what was measured is known after a restart, less what time has passed.
func TestRestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rum")
	with := func(cfg *rum.Config) { cfg.StatePath = path }
	before := newWorld(t, with)
	before.honest(2, 10, 12)
	before.pass(rum.IntervalDefault)
	before.Step()
	if stats := before.Stats(); stats.Saves != 1 || stats.SaveErrors != 0 {
		t.Fatalf("stats %+v", stats)
	}
	before.Step()
	if stats := before.Stats(); stats.Saves != 1 {
		t.Errorf("saved again with nothing new: %+v", stats)
	}
	after := newWorld(t, func(cfg *rum.Config) { with(cfg); cfg.Now = before.now })
	if got, want := fmt.Sprint(after.View().Rungs()), fmt.Sprint(before.View().Rungs()); got != want {
		t.Errorf("after the restart:\n%s\nwant\n%s", got, want)
	}
	before.clock.Add(int64(5 * time.Minute))
	later := newWorld(t, func(cfg *rum.Config) { with(cfg); cfg.Now = before.now })
	if got, want := later.shown("DE")["fra"].Samples, before.shown("DE")["fra"].Samples/2; got < want*0.9 || got > want*1.01 {
		t.Errorf("five minutes later %v samples are left, want %v", got, want)
	}
	before.clock.Add(int64(15 * time.Minute))
	if never := newWorld(t, func(cfg *rum.Config) { with(cfg); cfg.Now = before.now }); never.Stats().Sketches != 0 {
		t.Errorf("after a window: %+v", never.Stats())
	}
}

// TestRestartSources covers that the sources of before and after a restart, which may be the same, are not added up.
func TestRestartSources(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rum")
	with := func(cfg *rum.Config) { cfg.StatePath = path }
	before := newWorld(t, with)
	before.fill("20.1.1.0", 6, "fra", 20*ms)
	before.Step()
	after := newWorld(t, with)
	after.fill("20.1.1.0", 6, "fra", 20*ms)
	after.Tick(after.now())
	if after.shown("20.1.1.0/24") != nil {
		t.Error("six sources are counted as twelve")
	}
}

// TestRestartSmaller covers a state of more sketches than are allowed now.
func TestRestartSmaller(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rum")
	before := newWorld(t, func(cfg *rum.Config) { cfg.StatePath = path })
	before.honest(2, 100, 1)
	before.Step()
	after := newWorld(t, func(cfg *rum.Config) { cfg.StatePath, cfg.MaxSketches = path, 50 })
	if got := after.Stats().Sketches; got == 0 || got > 50 {
		t.Errorf("%d sketches, at most 50 are wanted", got)
	}
}

// TestCorrupt covers files that are none of ours: they are set aside and said to be.
func TestCorrupt(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(path string) error{
		"checksum":                func(path string) error { return os.WriteFile(path, []byte("geodns-durable 1 3 00\nabc"), 0o600) },
		"real-user":               func(path string) error { return durable.Write(path, []byte("{}")) },
		"its version is 9":        func(path string) error { return durable.Write(path, []byte("rum\x09")) },
		"ends within the time":    func(path string) error { return durable.Write(path, []byte("rum\x02")) },
		"3 bytes follow":          func(path string) error { return durable.Write(path, []byte("rum\x02\x01\x00abc")) },
		"a network has no region": func(path string) error { return durable.Write(path, []byte("rum\x02\x01\x01\x01\x01\x00")) },
		"without a sample": func(path string) error {
			return durable.Write(path, []byte("rum\x02\x01\x01\x01\x01\x01\x01a\x01\x01\x00\x00"))
		},
		"bin 0 of weight 0": func(path string) error {
			return durable.Write(path, []byte("rum\x02\x01\x01\x01\x01\x01\x01a\x01\x01\x00\x01\x00\x00"))
		},
		"ends within a name":          func(path string) error { return durable.Write(path, []byte("rum\x02\x01\x01\x01\x01\x01\x09a")) },
		"the number of networks is 9": func(path string) error { return durable.Write(path, []byte("rum\x02\x01\xff\xff\xff\xff\x7f")) },
	} {
		path := filepath.Join(t.TempDir(), "rum")
		if err := write(path); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		w := newWorld(t, func(cfg *rum.Config) { cfg.StatePath, cfg.Log = path, slog.New(slog.NewTextHandler(&log, nil)) })
		if !strings.Contains(log.String(), "lost") || name != "the number of networks is 9" && name != "checksum" && !strings.Contains(log.String(), name) {
			t.Errorf("%s: %s", name, &log)
		}
		if _, err := os.Stat(path + ".corrupt"); err != nil {
			t.Errorf("%s: not set aside: %v", name, err)
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: still there: %v", name, err)
		}
		if got := w.Stats().Sketches; got != 0 {
			t.Errorf("%s: %d sketches", name, got)
		}
	}
}

// TestSaveFails covers a disk that takes nothing: it is counted and said.
func TestSaveFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	w := newWorld(t, func(cfg *rum.Config) {
		cfg.StatePath, cfg.Log = filepath.Join(file, "rum"), slog.New(slog.NewTextHandler(&log, nil))
	})
	w.fill("20.1.1.0", 6, "fra", 20*ms)
	w.Step()
	if w.Stats().SaveErrors != 1 || !strings.Contains(log.String(), "not saved") {
		t.Errorf("%+v: %s", w.Stats(), &log)
	}
}

// TestMerge covers that the networks of two nodes add up to those of one that heard both.
func TestMerge(t *testing.T) {
	t.Parallel()
	a, b, both := newWorld(t, nil), newWorld(t, nil), newWorld(t, nil)
	for i := range 6 {
		a.fill(german(1, i, 0), 12, "fra", time.Duration(20+i)*ms)
		both.fill(german(1, i, 0), 12, "fra", time.Duration(20+i)*ms)
		b.fill(german(1, i+3, 0), 12, "fra", time.Duration(40+i)*ms)
		both.fill(german(1, i+3, 0), 12, "fra", time.Duration(40+i)*ms)
	}
	if err := a.Merge(b.State(b.now()), a.now()); err != nil {
		t.Fatal(err)
	}
	a.Tick(a.now())
	both.Tick(both.now())
	if got, want := fmt.Sprint(a.View().Rungs()), fmt.Sprint(both.View().Rungs()); got != want {
		t.Errorf("two nodes:\n%s\none:\n%s", got, want)
	}
}

// FuzzState reads anything: it ends, within its bound, and what is read is written alike.
func FuzzState(f *testing.F) {
	w := newWorld(f, nil)
	w.honest(2, 3, 4)
	w.sends("2a00::1", "iad", 90*ms)
	f.Add(w.State(w.now()))
	f.Add([]byte("rum\x02\x01\x01\x01\x01\x01\x01a\x01\x01\x00"))
	f.Add([]byte("rum\x02\x01\x00"))
	f.Fuzz(func(t *testing.T, state []byte) {
		again, sketches, err := rum.Recode(state, 100)
		if err != nil {
			return
		}
		if sketches > 100 {
			t.Errorf("%d sketches are read, 100 are allowed", sketches)
		}
		twice, _, err := rum.Recode(again, 100)
		if err != nil || !bytes.Equal(again, twice) {
			t.Errorf("%v: %x is written as %x", err, again, twice)
		}
	})
}
