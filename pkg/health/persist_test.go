package health_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"geodns/internal/durable"
	"geodns/pkg/health"
	"geodns/pkg/steering"
)

// TestRestart covers verdicts over a restart: they stand at once, in doubt
// until probed, with their time and decision; past MaxAge they are forgotten.
func TestRestart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		away time.Duration
		kept bool
	}{{time.Second, true}, {9 * time.Minute, true}, {10 * time.Minute, false}, {24 * time.Hour, false}} {
		t.Run(tt.away.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { restart(t, tt.away, tt.kept) })
		})
	}
}

// restart runs a checker, is away for some time, and runs a second one.
func restart(t *testing.T, away time.Duration, kept bool) {
	t.Helper()
	f := newFleet()
	f.set("10.0.0.2", true, 0)
	cfg := health.Config{StatePath: filepath.Join(t.TempDir(), "state", "verdicts")}
	c := newChecker(t, f, cfg)
	targets := makeTargets(2, webCheck())
	c.Update(targets)
	stop := run(t, c)
	sleep(time.Hour)
	stop()
	before := c.Snapshot()
	sleep(away)

	c = newChecker(t, f, cfg)
	f.set("10.0.0.2", false, 0)
	renamed := webCheck()
	renamed.Name, renamed.Rise = "other", 2
	targets[0].Check, targets[1].Check = renamed, renamed
	c.Update(targets)
	if !kept {
		wantVerdict(t, c, "web/t1", steering.Unknown, true)
		wantVerdict(t, c, "web/t2", steering.Unknown, true)
		return
	}
	wantVerdict(t, c, "web/t1", steering.Up, true)
	wantVerdict(t, c, "web/t2", steering.Down, true)
	for i, status := range c.Snapshot() {
		b, a := before[i].Addresses[0], status.Addresses[0]
		if !status.Since.Equal(before[i].Since) || !a.Probe.Equal(b.Probe) || status.Decision != before[i].Decision || status.Decision == "" ||
			status.Reason != before[i].Reason || status.Detail != before[i].Detail || a.State != b.State || a.Reason != b.Reason || a.OK != b.OK || a.Doubt != health.NeverProbed || a.Good != 0 {
			t.Errorf("%+v, before %+v", a, b)
		}
	}
	stop = run(t, c)
	sleep(time.Second)
	wantVerdict(t, c, "web/t1", steering.Up, false)
	wantVerdict(t, c, "web/t2", steering.Down, false) // one good probe of two
	sleep(5 * time.Second)
	wantVerdict(t, c, "web/t2", steering.Up, false)
	stop()
	if a := c.Snapshot()[0]; a.Decision != before[0].Decision {
		t.Errorf("a confirmed verdict has a new id: %+v", a)
	}
}

// TestCrash covers a run that never comes to its end: what was saved
// meanwhile is at most a second behind a change, and a minute behind a probe.
func TestCrash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		cfg := health.Config{StatePath: filepath.Join(t.TempDir(), "verdicts")}
		c := newChecker(t, f, cfg)
		targets := makeTargets(3, webCheck())
		c.Update(targets)
		run(t, c)
		sleep(health.FirstRound + health.SaveDelay)
		crashed := newChecker(t, f, cfg)
		crashed.Update(targets)
		wantVerdict(t, crashed, "web/t3", steering.Up, true)

		sleep(3 * time.Hour)
		crashed = newChecker(t, f, cfg)
		crashed.Update(targets)
		wantVerdict(t, crashed, "web/t3", steering.Up, true)
		if age := time.Since(crashed.Snapshot()[2].Addresses[0].Probe); age > health.SaveEvery+5*time.Second {
			t.Errorf("saved probe is %v old", age)
		}
	})
}

// TestSaveRate covers that a storm of verdicts is few writes.
func TestSaveRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		c := newChecker(t, f, health.Config{StatePath: filepath.Join(t.TempDir(), "verdicts")})
		check := webCheck()
		check.Interval, check.Timeout, check.Fall, check.Rise = time.Second, time.Second, 1, 2
		check.Damping.Off = true
		c.Update(makeTargets(100, check))
		stop := run(t, c)
		const seconds = 30
		for i := range seconds {
			for target := range 100 {
				f.set(fmt.Sprintf("10.0.0.%d", target+1), i/3%2 == 0, 0)
			}
			sleep(time.Second)
		}
		stop()
		if stats := c.Stats(); stats.Saves > seconds+2 || stats.Saves < seconds/2 || stats.Verdicts < 900 {
			t.Errorf("stats %+v", stats)
		}
	})
}

// TestBadState covers state files that cannot be used: never fatal, always
// said, and the file set aside where it is damaged.
func TestBadState(t *testing.T) {
	t.Parallel()
	write := func(payload string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			t.Helper()
			if err := durable.Write(path, []byte(payload)); err != nil {
				t.Fatal(err)
			}
		}
	}
	verdict := func(state string, ago time.Duration) string {
		return fmt.Sprintf(`{"version":2,"targets":[{"target":"web/t1","check":"http 80 /","state":%q,"admit":6553,"since":%q,"addresses":[`+
			`{"address":"10.0.0.1","state":"up","probe":%q}]}]}`,
			state, time.Now().Add(-ago-time.Hour).Format(time.RFC3339Nano), time.Now().Add(-ago).Format(time.RFC3339Nano))
	}
	for _, tt := range []struct {
		name  string
		make  func(t *testing.T, path string)
		log   string
		state steering.State
		aside bool
	}{
		{"good", write(verdict("down", time.Minute)), "fresh=1 too_old=0", steering.Down, false},
		{"degraded", write(verdict("degraded", time.Minute)), "fresh=1", steering.Degraded, false},
		{"old", write(verdict("down", time.Hour)), "fresh=0 too_old=1", steering.Unknown, false},
		{"a little in the future", write(verdict("down", -30*time.Second)), "fresh=1", steering.Down, false},
		{"in the future", write(verdict("down", -time.Hour)), "fresh=0", steering.Unknown, false},
		{"no such state", write(verdict("sideways", time.Minute)), "fresh=1", steering.Unknown, false},
		{"unknown", write(verdict("unknown", time.Minute)), "fresh=1", steering.Unknown, false},
		{"an earlier version", write(`{"version":1,"verdicts":[]}`), "version 1, this is 2", steering.Unknown, true},
		{"another version", write(`{"version":3,"targets":"all well"}`), "are lost", steering.Unknown, true},
		{"a number for a version", write(`{"version":7}`), "version 7, this is 2", steering.Unknown, true},
		{"no JSON", write("{"), "reading saved verdicts", steering.Unknown, true},
		{"torn", func(t *testing.T, path string) {
			t.Helper()
			if err := os.WriteFile(path, []byte("geodns-durable 1 100"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "set aside", steering.Unknown, true},
		{"a folder", func(t *testing.T, path string) {
			t.Helper()
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "no regular file", steering.Unknown, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "verdicts")
			tt.make(t, path)
			var logged bytes.Buffer
			c, err := health.New(health.Config{StatePath: path, Log: slog.New(slog.NewTextHandler(&logged, nil))})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(logged.String(), tt.log) {
				t.Errorf("log %q lacks %q", &logged, tt.log)
			}
			c.Update(makeTargets(1, webCheck()))
			want := steering.Verdict{State: tt.state, InDoubt: true, Admit: steering.AdmitAll}
			if tt.state == steering.Degraded {
				want.Admit = 6553
			}
			if got, _ := c.Verdict("web/t1"); got != want {
				t.Errorf("verdict %+v, want %+v", got, want)
			}
			if since := c.Snapshot()[0].Since; since.After(time.Now()) {
				t.Errorf("since %v", since)
			}
			if _, err := os.Stat(path + ".corrupt"); (err == nil) != tt.aside {
				t.Errorf("set aside: %v", err)
			}
		})
	}
}

// TestImpossibleTimes covers a state file whose times are no times: what it
// says is in doubt until a probe, and holds nothing.
func TestImpossibleTimes(t *testing.T) {
	t.Parallel()
	for _, since := range []string{"0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z", "1700-01-01T00:00:00Z"} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet()
			path := filepath.Join(t.TempDir(), "verdicts")
			now := time.Now().Format(time.RFC3339Nano)
			text := fmt.Sprintf(`{"version":2,"targets":[{"target":"web/t1","check":"http 80 /","state":"down","called":"down","since":%q,"written":%q,`+
				`"penalty":1e300,"addresses":[{"address":"10.0.0.1","state":"down","probe":%q},{"address":"10.0.0.9","state":"down","probe":%q}],`+
				`"votes":[{"pop":"ams","state":"down","observed":%q},{"pop":"","state":"down","observed":%q}]}]}`, since, since, now, since, since, now)
			if err := durable.Write(path, []byte(text)); err != nil {
				t.Fatal(err)
			}
			c := newChecker(t, f, health.Config{StatePath: path})
			c.Update(makeTargets(1, webCheck()))
			run(t, c)
			wantVerdict(t, c, "web/t1", steering.Down, true)
			sleep(30 * time.Minute) // what the penalty may hold it, at its ceiling
			if v, _ := c.Verdict("web/t1"); v.State != steering.Up {
				t.Errorf("since %s: %+v", since, c.Snapshot())
			}
		})
	}
}

// TestUnclaimed covers a run that ends before it gets its targets: the
// verdicts of the run before are still there for the next.
func TestUnclaimed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		cfg := health.Config{StatePath: filepath.Join(t.TempDir(), "verdicts")}
		targets := makeTargets(2, webCheck())
		c := newChecker(t, f, cfg)
		c.Update(targets)
		stop := run(t, c)
		sleep(time.Minute)
		stop()
		c = newChecker(t, f, cfg)
		run(t, c)()
		c = newChecker(t, f, cfg)
		c.Update(targets[1:])
		run(t, c)()
		c = newChecker(t, f, cfg)
		c.Update(targets)
		wantVerdict(t, c, "web/t1", steering.Up, true)
		wantVerdict(t, c, "web/t2", steering.Up, true)
		// What was removed does not come back.
		c.Update(targets[1:])
		c.Update(targets)
		wantVerdict(t, c, "web/t1", steering.Unknown, true)
	})
}

// TestSaveErrors covers a state file that cannot be written: said once, and
// when it works again, and at the end to the caller.
func TestSaveErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		dir := filepath.Join(t.TempDir(), "state")
		if err := os.WriteFile(dir, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		var logged bytes.Buffer
		c := newChecker(t, f, health.Config{StatePath: filepath.Join(dir, "verdicts"), Log: slog.New(slog.NewTextHandler(&logged, nil))})
		c.Update(makeTargets(1, webCheck()))
		stop := run(t, c)
		sleep(5*time.Minute + time.Second)
		if n := strings.Count(logged.String(), "verdicts are not saved"); n != 1 {
			t.Errorf("said %d times:\n%s", n, &logged)
		}
		if stats := c.Stats(); stats.SaveErrors < 5 || stats.Saves != 0 {
			t.Errorf("stats %+v", stats)
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		sleep(time.Minute)
		if n := strings.Count(logged.String(), "verdicts are saved again"); n != 1 {
			t.Errorf("said %d times:\n%s", n, &logged)
		}
		stop()
	})
}

// TestNegativeMaxAge covers the one thing that New refuses.
func TestNegativeMaxAge(t *testing.T) {
	t.Parallel()
	if _, err := health.New(health.Config{MaxAge: -time.Second}); err == nil {
		t.Error("no error")
	}
}
