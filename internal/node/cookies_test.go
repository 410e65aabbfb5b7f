package node_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"geodns/internal/dnstest"
	"geodns/internal/durable"
	"geodns/internal/node"
)

// drawer makes secrets that count up, each with the same life.
func drawer(life time.Duration) func() ([16]byte, time.Duration) {
	n := uint64(0)
	return func() ([16]byte, time.Duration) {
		n++
		var s [16]byte
		binary.BigEndian.PutUint64(s[:], n)
		return s, life
	}
}

// TestOwnSecretSteps follows a node's own secret over time (A-40; RFC 7873 section 7.1, RFC 9018 section 5).
func TestOwnSecretSteps(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	fresh := drawer(20 * time.Hour)
	var k node.Kept
	for _, c := range []struct {
		after time.Duration
		want  string
		wait  time.Duration
	}{
		{0, "1", time.Hour},
		{time.Hour, "1", time.Hour},
		{19*time.Hour + 59*time.Minute, "1", time.Minute},
		{20 * time.Hour, "2 1", time.Hour},
		{21 * time.Hour, "2 1", 5 * time.Minute},
		{21*time.Hour + 5*time.Minute - time.Second, "2 1", time.Second},
		{21*time.Hour + 5*time.Minute, "2", time.Hour},
		{200 * time.Hour, "3 2", time.Hour},  // the machine slept
		{-100 * time.Hour, "4 3", time.Hour}, // the clock was set back
		{-100*time.Hour + 2*time.Hour, "4", time.Hour},
	} {
		now := start.Add(c.after)
		k = k.Step(now, fresh)
		var got []string
		for _, s := range k.Secrets() {
			got = append(got, fmt.Sprint(binary.BigEndian.Uint64(s[:])))
		}
		if strings.Join(got, " ") != c.want || k.Wait(now) != c.wait {
			t.Fatalf("after %s: secrets %v, wait %s; want %s, %s", c.after, got, k.Wait(now), c.want, c.wait)
		}
	}
}

// TestOwnSecretWallClock shows that secrets go by the wall clock alone: with a monotonic reading in both of two times, their difference would
// leave out how long the machine slept, and by how much the clock was set.
func TestOwnSecretWallClock(t *testing.T) {
	monotonic := func(at time.Time) bool { return at != at.Round(0) }
	if !monotonic(time.Now()) {
		t.Skip("times have no monotonic reading here")
	}
	made, renew := node.NewKeeper("", slog.New(slog.DiscardHandler)).Times()
	for what, at := range map[string]time.Time{"the clock": node.WallClock(), "made": made, "renew": renew} {
		if monotonic(at) {
			t.Errorf("%s has a monotonic reading", what)
		}
	}
}

// TestOwnSecretAccepts holds a random life of a node against what clients rely on: a cookie of the last hour is accepted, and no
// secret is used for more than the day.
func TestOwnSecretAccepts(t *testing.T) {
	rng := rand.New(rand.NewPCG(dnstest.Seed(t), 0))
	fresh := func() ([16]byte, time.Duration) {
		var s [16]byte
		binary.BigEndian.PutUint64(s[:], rng.Uint64())
		return s, node.OwnLife - time.Duration(rng.Int64N(int64(node.OwnLife*4/10)))
	}
	type made struct {
		secret [16]byte
		at     time.Time
	}
	var cookies []made
	first := map[[16]byte]time.Time{}
	now := time.Unix(1_800_000_000, 0)
	var k node.Kept
	for range 20_000 {
		now = now.Add(time.Duration(rng.Int64N(int64(10 * time.Minute))))
		k = k.Step(now, fresh)
		maker := k.Secrets()[0]
		if _, known := first[maker]; !known {
			first[maker] = now
		}
		if age := now.Sub(first[maker]); age >= node.OwnLife {
			t.Fatalf("a secret is used for %s", age)
		}
		cookies = slices.DeleteFunc(append(cookies, made{maker, now}), func(c made) bool { return now.Sub(c.at) > time.Hour })
		for _, c := range cookies {
			if !slices.Contains(k.Secrets(), c.secret) {
				t.Fatalf("a cookie of %s ago is not accepted", now.Sub(c.at))
			}
		}
	}
	if len(first) < 50 {
		t.Errorf("%d secrets alone", len(first))
	}
}

// TestOwnSecretKept shows that the secret survives a restart, and a folder that takes nothing or holds something else.
func TestOwnSecretKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "cookie-secrets")
	var log logText
	logger := slog.New(slog.NewTextHandler(&log, nil))
	first := node.NewKeeper(path, logger).Secrets()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v: want mode 0600", info, err)
	}
	if got := node.NewKeeper(path, logger).Secrets(); !cmp.Equal(got, first) {
		t.Errorf("the secret after a restart is another")
	}
	if other := node.NewKeeper("", logger).Secrets(); cmp.Equal(other, first) {
		t.Error("two nodes draw the same secret")
	}
	if log.count("level=WARN") != 0 {
		t.Errorf("warned of nothing: %s", log.text.String())
	}

	spoilt := func(name string, spoil func() error) {
		t.Helper()
		before := node.NewKeeper(path, logger).Secrets()
		if spoilErr := spoil(); spoilErr != nil {
			t.Fatal(spoilErr)
		}
		warned := log.count("cannot be used")
		got := node.NewKeeper(path, logger).Secrets()
		if cmp.Equal(got, before) || len(got) != 1 || log.count("cannot be used") != warned+1 {
			t.Errorf("%s: the secret of a spoilt file is used, or nothing was said", name)
		}
		if again := node.NewKeeper(path, logger).Secrets(); !cmp.Equal(again, got) {
			t.Errorf("%s: the new secret is not kept", name)
		}
	}
	spoilt("flipped bit", func() error {
		data, readErr := os.ReadFile(path)
		if readErr != nil {
			return readErr
		}
		data[len(data)-5] ^= 1
		return os.WriteFile(path, data, 0o600)
	})
	if _, err = os.Stat(path + ".corrupt"); err != nil {
		t.Errorf("the spoilt file is not set aside: %v", err)
	}
	for name, text := range map[string]string{
		"of a later version": `{"secret":"` + secretA + `","made":"2000-01-01T00:00:00Z","renew":"2000-01-02T00:00:00Z","more":1}`,
		"short":              `{"secret":"00","made":"2000-01-01T00:00:00Z","renew":"2000-01-02T00:00:00Z"}`,
		"no times":           `{"secret":"` + secretA + `"}`,
		"no JSON":            secretA,
		"short before":       `{"secret":"` + secretA + `","before":"` + secretB[1:] + `","made":"2000-01-01T00:00:00Z","renew":"2000-01-02T00:00:00Z"}`,
	} {
		spoilt(name, func() error { return durable.Write(path, []byte(text)) })
		if aside, readErr := durable.Peek(path + ".corrupt"); readErr != nil || string(aside) != text {
			t.Errorf("%s: set aside is %q, %v", name, aside, readErr)
		}
	}
	hides(t, log.text.String())
	text, err := durable.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	var kept struct{ Secret string }
	if err := json.Unmarshal(text, &kept); err != nil || strings.Contains(log.text.String(), kept.Secret[:8]) {
		t.Errorf("the secret shows in the log, or is not kept: %v", err)
	}
}

// TestOwnSecretUnkept shows that a state folder that takes nothing costs no more than a warning.
func TestOwnSecretUnkept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, filepath.Dir(file), map[string]string{"file": ""})
	var log logText
	k := node.NewKeeper(filepath.Join(file, "cookie-secrets"), slog.New(slog.NewTextHandler(&log, nil)))
	if len(k.Secrets()) != 1 || log.count("is not kept over a restart") != 1 {
		t.Errorf("%d secrets, log %s", len(k.Secrets()), log.text.String())
	}
}

// TestOwnSecretRenewed lets days pass: the secret changes each day, the one before it goes after its hour, and the folder has the newest.
func TestOwnSecretRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "cookie-secrets")
		log := slog.New(slog.DiscardHandler)
		k := node.NewKeeper(path, log)
		first := k.Secrets()
		ctx, cancel := context.WithCancel(t.Context())
		var sets [][][16]byte
		ended := make(chan error, 1)
		go func() { ended <- k.Run(ctx, func(s [][16]byte) { sets = append(sets, s) }) }()
		time.Sleep(10*node.OwnLife + time.Hour) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		makers := [][16]byte{first[0]}
		for i, s := range sets {
			if i%2 == 0 && (len(s) != 2 || s[1] != makers[len(makers)-1]) || i%2 == 1 && (len(s) != 1 || s[0] != makers[len(makers)-1]) {
				t.Fatalf("change %d is to %x", i, s)
			}
			if i%2 == 0 {
				makers = append(makers, s[0])
			}
		}
		if len(makers) < 11 || len(makers) > 18 {
			t.Errorf("%d secrets in ten days", len(makers))
		}
		if got := node.NewKeeper(path, log).Secrets(); got[0] != makers[len(makers)-1] {
			t.Error("the folder does not have the newest")
		}
	})
}
