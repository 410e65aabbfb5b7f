package operator_test

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"geodns/internal/dnstest"
	"geodns/pkg/operator"
)

// envWriter holds the folder that the process to be killed writes its log to.
const envWriter = "GEODNS_AUDIT_WRITER"

// killConfig is small, so that many kills hit a segment that begins or goes.
func killConfig(dir string) operator.LogConfig {
	return operator.LogConfig{Dir: dir, SegmentBytes: 20_000, KeepBytes: 200_000}
}

// TestLogKilled kills a process that writes to a log without a pause, at random moments, again and again on one folder: the log
// verifies as the kill left it, and has all that was acknowledged. With GEODNS_PROVE it does so 1,000 times.
func TestLogKilled(t *testing.T) {
	if dir := os.Getenv(envWriter); dir != "" {
		writeUntilKilled(t, dir)
		return
	}
	t.Parallel()
	rng := rand.New(rand.NewPCG(dnstest.Seed(t), 4))
	rounds := 20
	if os.Getenv("GEODNS_PROVE") != "" {
		rounds = 1000
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	acknowledged := map[uint64]string{}
	dir := filepath.Join(t.TempDir(), "audit")
	for round := range rounds {
		got := killWriter(t, self, dir, round%2, time.Duration(rng.Int64N(int64(60*time.Millisecond))))
		maps.Copy(acknowledged, got)
		if _, err := os.Stat(filepath.Join(dir, "key.pub")); err != nil {
			if len(got) > 0 {
				t.Fatal("entries were acknowledged before there was a log")
			}
			continue // killed while the log was begun for the first time
		}
		wantWhole(t, dir)
		l := openLog(t, killConfig(dir))
		wantAcknowledged(t, l, acknowledged)
		closeLog(t, l)
	}
	t.Logf("%d kills, %d entries were acknowledged", rounds, len(acknowledged))
}

// killWriter runs a writer, kills it some time after it has acknowledged so many entries, and gives what
// it acknowledged: hashes by number.
func killWriter(t *testing.T, self, dir string, entries int, after time.Duration) map[uint64]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestLogKilled$")
	cmd.Env = append(os.Environ(), envWriter+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	got := map[uint64]string{}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		if n == entries {
			timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
			defer timer.Stop()
		}
		if n == 0 { // it opens the log now
			continue
		}
		var seq uint64
		var hash string
		if _, err := fmt.Sscanf(lines.Text(), "%d %s", &seq, &hash); err != nil {
			t.Fatalf("the writer says %q", lines.Text())
		}
		got[seq] = hash
	}
	_ = cmd.Wait() // killed: its error is what we asked for
	return got
}

// writeUntilKilled appends with some goroutines at once, and prints the number and hash of each acknowledged entry.
func writeUntilKilled(t *testing.T, dir string) {
	say := func(format string, args ...any) {
		if _, err := fmt.Fprintf(os.Stdout, format+"\n", args...); err != nil {
			t.Error(err)
		}
	}
	say("begun")
	l, err := operator.OpenLog(killConfig(dir))
	if err != nil {
		say("opening: %v", err)
		return
	}
	if s := l.Status(); s.Broken != "" {
		say("broken: %s", s.Broken)
		return
	}
	go func() { _ = l.Run(context.Background()) }()
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			for i := 0; ; i++ {
				e := change(i)
				e.Why = strings.Repeat("x", i%1500)
				got, err := l.Append(e, change(i))
				if err != nil {
					say("appending: %v", err)
					return
				}
				say("%d %s\n%d %s", got[0].Seq, got[0].Hash, got[1].Seq, got[1].Hash)
			}
		})
	}
	group.Wait()
}
