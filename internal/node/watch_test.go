package node_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"geodns/pkg/geo"
)

// TestWatch shows that a changed file is loaded by itself: written, renamed, in a new folder, and by the swap of a symlink.
func TestWatch(t *testing.T) {
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(1)})
	n, _ := run(t, cfg)
	txt := func(name string) string {
		for _, rr := range ask(t, n, name, dns.TypeTXT, "").Answer {
			if x, ok := rr.(*dns.TXT); ok {
				return x.Txt[0]
			}
		}
		return ""
	}
	zone := func(serial int) string {
		return strings.Replace(zoneText, " 1 7200", fmt.Sprintf(" %d 7200", serial), 1) + fmt.Sprintf("t IN TXT \"%d\"\n", serial)
	}
	write(t, cfg.Zones, map[string]string{"example.com.zone": zone(2)})
	eventually(t, "a renamed file", func() bool { return txt("t.example.com.") == "2" })
	if err := os.WriteFile(filepath.Join(cfg.Zones, "example.com.zone"), []byte(zone(3)), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a file written over", func() bool { return txt("t.example.com.") == "3" })
	write(t, cfg.Zones, map[string]string{"more/example.net.zone": strings.Replace(zone(4), "www", ";www", 1)})
	eventually(t, "a file in a new folder", func() bool { return txt("t.example.net.") == "4" })
	write(t, cfg.Zones, map[string]string{"more/example.net.zone": strings.Replace(zone(5), "www", ";www", 1)})
	eventually(t, "a change in the new folder", func() bool { return txt("t.example.net.") == "5" })
}

// TestWatchKubernetes mounts the zones the way that a ConfigMap is: files are links into ..data, itself a link that is swapped.
func TestWatchKubernetes(t *testing.T) {
	cfg := config(t, nil)
	zone := func(serial int) map[string]string {
		return map[string]string{"example.com.zone": strings.Replace(zoneText, "www", ";www", 1) + fmt.Sprintf("t IN TXT \"%d\"\n", serial)}
	}
	mount(t, cfg.Zones, "..2026_01_01", zone(1))
	if err := os.Symlink("..data/example.com.zone", filepath.Join(cfg.Zones, "example.com.zone")); err != nil {
		t.Fatal(err)
	}
	n, _ := run(t, cfg)
	for serial := 2; serial < 5; serial++ {
		mount(t, cfg.Zones, fmt.Sprintf("..2026_01_0%d", serial), zone(serial))
		eventually(t, fmt.Sprintf("swap %d", serial), func() bool {
			m := ask(t, n, "t.example.com.", dns.TypeTXT, "")
			return len(m.Answer) == 1 && strings.Contains(m.Answer[0].String(), fmt.Sprintf(`"%d"`, serial))
		})
	}
}

// TestWatchReleases serves from folders that a link on the way to them chooses, as tools do that put each release into a folder of
// its own: the swap of the link is a change, and what follows in the new folder is one too.
func TestWatchReleases(t *testing.T) {
	dir := t.TempDir()
	release := func(name, text, country string) {
		write(t, filepath.Join(dir, "releases", name), map[string]string{
			"zones/example.com.zone": zoneText + "t IN TXT " + text + "\n", "zones/www.yaml": steered(1),
			"geo/countries.csv": "193.0.0.0,193.255.255.255," + country + "\n",
		})
	}
	swap := func(name string) {
		t.Helper()
		if err := os.Symlink("releases/"+name, filepath.Join(dir, "next")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "current")); err != nil {
			t.Fatal(err)
		}
	}
	release("1", "one", "US")
	release("2", "two", "DE")
	swap("1")
	cfg := config(t, nil)
	cfg.Zones = filepath.Join(dir, "current", "zones")
	cfg.Geo = geo.Config{Databases: []string{filepath.Join(dir, "current", "geo", "countries.csv")}, MaxMoved: 1}
	n, _ := run(t, cfg)
	serves := func(text, addr string) func() bool {
		return func() bool {
			m := ask(t, n, "t.example.com.", dns.TypeTXT, "")
			return len(m.Answer) == 1 && strings.HasSuffix(m.Answer[0].String(), `"`+text+`"`) && addrs(ask(t, n, "www.example.com.", dns.TypeA, clientEU)) == addr
		}
	}
	eventually(t, "release 1", serves("one", "127.0.0.22"))
	swap("2")
	eventually(t, "release 2", serves("two", "127.0.0.21"))
	release("2", "three", "US")
	eventually(t, "a change in release 2", serves("three", "127.0.0.22"))
	swap("1")
	eventually(t, "back to release 1", serves("one", "127.0.0.22"))
}

// TestWatchMissing shows that a folder that is not there yet keeps no other from being watched, and is watched once it is.
func TestWatchMissing(t *testing.T) {
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(1)})
	dir := t.TempDir()
	cfg.Geo = geo.Config{Databases: []string{filepath.Join(dir, "not", "yet", "countries.csv")}}
	n, _ := run(t, cfg)
	write(t, cfg.Zones, map[string]string{"example.com.zone": zoneText + "t IN TXT changed\n"})
	eventually(t, "a changed zone", func() bool { return len(ask(t, n, "t.example.com.", dns.TypeTXT, "").Answer) == 1 })
	write(t, dir, map[string]string{"not/yet/countries.csv": "193.0.0.0,193.255.255.255,DE\n"})
	eventually(t, "the database", func() bool { return addrs(ask(t, n, "www.example.com.", dns.TypeA, clientEU)) == "127.0.0.21" })
}

// age makes files an hour old.
func age(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		then := time.Now().Add(-time.Hour)
		return os.Chtimes(path, then, then)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestWatchUnrelated shows that files which no load reads begin none, though they change in folders that are watched: a node that logs
// beside its database would load for ever.
func TestWatchUnrelated(t *testing.T) {
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(1), ".git/HEAD": "1"})
	cfg.State = filepath.Join(cfg.Zones, "state")
	dir := t.TempDir()
	write(t, dir, map[string]string{"countries.csv": "193.0.0.0,193.255.255.255,DE\n"})
	cfg.Geo = geo.Config{Databases: []string{filepath.Join(dir, "countries.csv")}}
	write(t, cfg.State, map[string]string{"verdicts": ""})
	age(t, cfg.Zones)
	age(t, dir)
	n, _ := run(t, cfg)
	const loads = 10
	for i := range loads {
		write(t, dir, map[string]string{"geodns.log": fmt.Sprint(i)})
		write(t, cfg.State, map[string]string{"verdicts": fmt.Sprint(i)})
		write(t, filepath.Join(cfg.Zones, ".git"), map[string]string{"HEAD": fmt.Sprint(i)})
		n.Touch()
		if _, err := n.Reload(context.Background(), "test"); err != nil {
			t.Fatal(err)
		}
	}
	if loaded, unchanged, refused := n.Loads(); loaded != 1 || unchanged != loads || refused != 0 {
		t.Errorf("%d loads changed something, %d did not and %d were refused: want 1 at the start and the %d asked for", loaded, unchanged, refused, loads)
	}
}

// logText collects a log.
type logText struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write adds to it.
func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// count counts a text in it.
func (l *logText) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// String gives what it holds so far.
func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestWatchLogsOnce shows that a file that stays bad is logged once, however often it is touched, and again for whoever asks.
func TestWatchLogsOnce(t *testing.T) {
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(1)})
	var log logText
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	n, _ := run(t, cfg)
	refused := func(want uint64) func() bool {
		return func() bool {
			_, _, got := n.Loads()
			return got >= want
		}
	}
	for i := range uint64(3) {
		_, _, before := n.Loads()
		write(t, cfg.Zones, map[string]string{"example.com.zone": zoneText + "bad IN A 1.2.3\n"})
		eventually(t, fmt.Sprintf("refusal %d", i+1), refused(before+1))
	}
	if got, results := log.count("1.2.3"), log.count("result=refused"); got != 1 || results != 1 {
		t.Errorf("logged %d times, with the result %d times, of three loads", got, results)
	}
	if _, err := n.Reload(context.Background(), "test"); err != nil {
		t.Fatal(err)
	}
	if got := log.count("1.2.3"); got != 2 {
		t.Errorf("logged %d times after a reload that was asked for, want 2", got)
	}
}
