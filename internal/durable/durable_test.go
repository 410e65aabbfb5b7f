package durable_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"geodns/internal/durable"
)

// TestWriteRead covers what is written is read, at all small sizes and a large
// one, over one another, in a folder that has to be made.
func TestWriteRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "deep", "state")
	for _, size := range []int{0, 1, 2, 100, 127, 128, 129, 1 << 20, 3} {
		payload := bytes.Repeat([]byte{'\n'}, size)
		if err := durable.Write(path, payload); err != nil {
			t.Fatal(err)
		}
		got, err := durable.Read(path)
		if err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("size %d: read %d bytes, %v", size, len(got), err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	wantNames(t, filepath.Dir(path), "state")
}

// TestReadMissing covers the error of a file that is not there.
func TestReadMissing(t *testing.T) {
	t.Parallel()
	_, err := durable.Read(filepath.Join(t.TempDir(), "none"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist", err)
	}
	if corrupt, ok := errors.AsType[*durable.CorruptError](err); ok {
		t.Errorf("a missing file is corrupt: %v", corrupt)
	}
}

// TestReadFolder covers a folder at the path: neither missing nor set aside.
func TestReadFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := durable.Read(dir); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("error %v", err)
	}
}

// TestTornFile covers a file of which only a part reached the disk: every
// prefix is refused and set aside.
func TestTornFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	whole := durable.Encode([]byte("verdicts of a small fleet\n"))
	for n := range whole {
		wantAside(t, path, whole[:n])
	}
	wantAside(t, path, append(bytes.Clone(whole), 0))
}

// TestFlippedBits covers each single flipped bit, header included.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	whole := durable.Encode([]byte("payload"))
	for i := range whole {
		for bit := range 8 {
			damaged := bytes.Clone(whole)
			damaged[i] ^= 1 << bit
			wantAside(t, path, damaged)
		}
	}
}

// TestReasons covers what a person is told.
func TestReasons(t *testing.T) {
	t.Parallel()
	whole := string(durable.Encode([]byte("payload")))
	for _, tt := range []struct{ name, data, want string }{
		{"empty", "", "no header line"},
		{"foreign", "hello\n", `its header is not "geodns-durable 1"`},
		{"newer", strings.Replace(whole, "durable 1", "durable 2", 1), `its header is not "geodns-durable 1"`},
		{"short", whole[:len(whole)-1], `its header says "7" bytes, it has 6`},
		{"sum", whole[:len(whole)-1] + "D", "its checksum does not match"},
		{"long line", strings.Repeat("x", 1000) + "\n", "no header line"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "state")
			if err := os.WriteFile(path, []byte(tt.data), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := durable.Read(path)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// TestKilledBeforeRename covers a crash at each point before the rename: the
// old payload stands, and the next Write works.
func TestKilledBeforeRename(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	if err := durable.Write(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	whole := durable.Encode([]byte("new"))
	for n := range len(whole) + 1 {
		if err := os.WriteFile(path+".tmp", whole[:n], 0o400); err != nil {
			t.Fatal(err)
		}
		if got, err := durable.Read(path); err != nil || string(got) != "old" {
			t.Fatalf("killed after %d bytes: %q, %v", n, got, err)
		}
		if err := os.Remove(path + ".tmp"); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path+".tmp", whole[:9], 0o400); err != nil {
		t.Fatal(err)
	}
	if err := durable.Write(path, []byte("newer")); err != nil {
		t.Fatal(err)
	}
	if got, err := durable.Read(path); err != nil || string(got) != "newer" {
		t.Fatalf("after the next write: %q, %v", got, err)
	}
	wantNames(t, filepath.Dir(path), "state")
}

// TestWriteErrors covers a write that cannot be done: the old file stands.
func TestWriteErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	if err := durable.Write(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	// A folder with something in it at the temporary path can be neither removed nor replaced.
	if err := os.MkdirAll(filepath.Join(path+".tmp", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.Write(path, []byte("new")); err == nil {
		t.Error("no error with a folder in the way")
	}
	if got, err := durable.Read(path); err != nil || string(got) != "old" {
		t.Errorf("old file: %q, %v", got, err)
	}
	// A file where the folder should be.
	if err := durable.Write(filepath.Join(path, "below"), nil); err == nil {
		t.Error("no error below a file")
	}
	// A folder at the path itself: the rename fails and leaves no temporary file.
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.Write(taken, []byte("new")); err == nil {
		t.Error("no error over a folder")
	}
	if _, err := os.Stat(taken + ".tmp"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("temporary file left: %v", err)
	}
}

// envVictim holds the path that the process to be killed writes.
const envVictim = "GEODNS_DURABLE_VICTIM"

// TestKilledProcess kills a process that writes without a pause, at random
// times: what is read afterwards is always one whole payload, never older than
// the one before the kill.
func TestKilledProcess(t *testing.T) {
	if path := os.Getenv(envVictim); path != "" {
		for i := uint64(0); ; i++ {
			if err := durable.Write(path, victimPayload(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for round := range 8 {
		cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestKilledProcess$")
		cmd.Env = append(os.Environ(), envVictim+"="+path)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { _, err := os.Stat(path); return err == nil })
		<-time.NewTimer(rand.N(20 * time.Millisecond)).C // the random moment of the kill
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed: its error is what we asked for
		got, err := durable.Read(path)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		var i uint64
		if _, err := fmt.Sscan(string(got[:20]), &i); err != nil || !bytes.Equal(got, victimPayload(i)) {
			t.Fatalf("round %d: torn payload of %d bytes: %v", round, len(got), err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// victimPayload is the i-th payload: its number and some pages that depend on it.
func victimPayload(i uint64) []byte {
	payload := fmt.Appendf(nil, "%-20d", i)
	return append(payload, bytes.Repeat([]byte{byte(i)}, 4096*int(i%5))...)
}

// FuzzRead checks that whatever stands in the file, Read returns a payload
// that encodes to exactly that, or sets the file aside.
func FuzzRead(f *testing.F) {
	f.Add([]byte{})
	f.Add(durable.Encode(nil))
	f.Add(durable.Encode([]byte("payload\n")))
	f.Add([]byte("geodns-durable 1 -1 \n"))
	f.Add([]byte("geodns-durable 1 99999999999999999999 00\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "state")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		payload, err := durable.Read(path)
		if err == nil {
			if !bytes.Equal(durable.Encode(payload), data) {
				t.Fatalf("accepted another spelling: %q", data)
			}
			return
		}
		if aside, readErr := os.ReadFile(path + ".corrupt"); readErr != nil || !bytes.Equal(aside, data) {
			t.Fatalf("not set aside: %v", readErr)
		}
	})
}

// TestLoad covers reading a payload that is what it must be, one that is not, a
// file that does not hold, and none.
func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	load := func() (int, error) {
		return durable.Load(path, func(payload []byte) (int, error) { return strconv.Atoi(string(payload)) })
	}
	if got, err := load(); got != 0 || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %d, error %v, want fs.ErrNotExist", got, err)
	}
	if err := durable.Write(path, []byte("42")); err != nil {
		t.Fatal(err)
	}
	if got, err := load(); got != 42 || err != nil {
		t.Errorf("read %d, %v", got, err)
	}
	wantNames(t, dir, "state")
	// Of a number that is too large, Atoi gives the largest as well.
	for _, payload := range []string{"no number", "99999999999999999999"} {
		if err := durable.Write(path, []byte(payload)); err != nil {
			t.Fatal(err)
		}
		got, err := load()
		corrupt, ok := errors.AsType[*durable.CorruptError](err)
		if got != 0 || !ok || corrupt.Aside != path+".corrupt" || !strings.Contains(corrupt.Reason, payload) {
			t.Errorf("%s: %d, %v", payload, got, err)
		}
		wantNames(t, dir, "state.corrupt")
	}
	if err := os.WriteFile(path, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := load()
	if corrupt, ok := errors.AsType[*durable.CorruptError](err); !ok || !strings.Contains(corrupt.Reason, "its header is not") {
		t.Errorf("a file that does not hold: %v", err)
	}
	wantNames(t, dir, "state.corrupt")
}

// TestPeek covers reading without a change: a whole file, one that does not
// hold and stays where it is, and none.
func TestPeek(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	if _, err := durable.Peek(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: error %v, want fs.ErrNotExist", err)
	}
	if err := durable.Write(path, []byte("payload")); err != nil {
		t.Fatal(err)
	}
	if got, err := durable.Peek(path); err != nil || string(got) != "payload" {
		t.Errorf("read %q, %v", got, err)
	}
	if err := os.WriteFile(path, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := durable.Peek(path)
	if corrupt, ok := errors.AsType[*durable.CorruptError](err); !ok || corrupt.Aside != "" || !strings.HasSuffix(err.Error(), `its header is not "geodns-durable 1"`) {
		t.Errorf("corrupt file: error %v", err)
	}
	wantNames(t, dir, "state")
}

// wantAside checks that a file with this content is refused and set aside as it is.
func wantAside(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := durable.Read(path)
	var corrupt *durable.CorruptError
	if !errors.As(err, &corrupt) || corrupt.Aside != path+".corrupt" || corrupt.Reason == "" {
		t.Fatalf("content %q: %v", data, err)
	}
	if aside, err := os.ReadFile(corrupt.Aside); err != nil || !bytes.Equal(aside, data) {
		t.Fatalf("set aside %q, %v", aside, err)
	}
	if _, err := durable.Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a second read: %v", err)
	}
}

// wantNames checks that dir holds exactly these entries.
func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("folder holds %q, want %q", got, want)
	}
}

// waitFor polls until done.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(10 * time.Second); !done(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatal("waited 10 s in vain")
		}
	}
}
