package node_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"geodns/internal/node"
	"geodns/pkg/api"
)

// input is one that the node tells of.
func input(t *testing.T, n *node.Node, name string) api.Input {
	t.Helper()
	for _, in := range n.Status().Inputs {
		if in.Name == name {
			return in
		}
	}
	return api.Input{}
}

// TestInputs covers what is said of each file, when it is read, changed and refused.
func TestInputs(t *testing.T) {
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(1), "README.md": "x", ".hidden/b.yaml": "", "a.test.yaml": ""})
	dir := filepath.Dir(cfg.Zones)
	at := func(name string) string { return filepath.Join(dir, name) }
	write(t, dir, map[string]string{
		"countries.csv": "193.0.0.0,193.255.255.255,DE\n", "overrides.yaml": "overrides: [{prefix: 192.0.2.0/24, geo: EU}]\n",
		"cookies.txt": "000102030405060708090a0b0c0d0e0f\n", "tokens.txt": "",
	})
	cfg.Geo.Databases, cfg.Geo.Overrides, cfg.Cookies.SecretFile = []string{at("countries.csv"), at("none.mmdb")}, at("overrides.yaml"), at("cookies.txt")
	age := func(name string, hours int) time.Time {
		t.Helper()
		when := time.Now().Add(-time.Duration(hours) * time.Hour).Truncate(time.Second).UTC()
		if err := os.Chtimes(at(name), when, when); err != nil {
			t.Fatal(err)
		}
		return when
	}
	want := map[string]time.Time{
		api.InputZones: age("zones/www.yaml", 5), api.InputDatabase: age("countries.csv", 4), api.InputOverrides: age("overrides.yaml", 3),
		api.InputCookieSecrets: age("cookies.txt", 2),
	}
	age("zones/example.com.zone", 9)
	n, _ := run(t, cfg)
	first := map[string]api.Input{}
	for name, modified := range want {
		in := input(t, n, name)
		first[name] = in
		if !in.Modified.Equal(modified) || time.Since(in.Loaded) > time.Minute || in.Error != "" {
			t.Errorf("%s: %+v, and it was changed at %v", name, in, modified)
		}
		if (in.Hash == "") != (name == api.InputCookieSecrets) {
			t.Errorf("%s: hash %q", name, in.Hash)
		}
	}
	if in := input(t, n, api.InputTokens); in.Path != "" {
		t.Errorf("tokens that are not configured: %+v", in)
	}
	if in := input(t, n, api.InputBinary); in.Path == "" || in.Loaded.IsZero() {
		t.Errorf("binary: %+v", in)
	}
	missing := n.Status().Inputs[2]
	if missing.Path != at("none.mmdb") || missing.Error == "" || !missing.Modified.IsZero() || !missing.Loaded.IsZero() {
		t.Errorf("a database that is not there: %+v", missing)
	}

	// Refused: what is said is of what is in use, with the reason.
	write(t, dir, map[string]string{"zones/www.yaml": "bad"}) // first: whatever the watcher loads from here on is refused
	write(t, dir, map[string]string{"countries.csv": "x", "cookies.txt": "y"})
	if l, err := n.Reload(t.Context(), "test"); err != nil || l.Result != api.LoadRefused {
		t.Fatalf("%+v, %v", l, err)
	}
	for _, name := range []string{api.InputZones, api.InputDatabase, api.InputCookieSecrets} {
		in := input(t, n, name)
		if !strings.Contains(in.Error, in.Path) {
			t.Errorf("%s: error %q", name, in.Error)
		}
		if in.Error = ""; in != first[name] {
			t.Errorf("%s was %+v, and is %+v", name, first[name], in)
		}
	}
	if in := input(t, n, api.InputOverrides); in != first[api.InputOverrides] {
		t.Errorf("overrides: %+v", in)
	}

	write(t, dir, map[string]string{"zones/www.yaml": steered(1), "countries.csv": "2.0.0.0,2.0.0.255,DE\n193.0.0.0,193.255.255.255,DE\n", "cookies.txt": "100102030405060708090a0b0c0d0e0f\n"})
	if l, err := n.Reload(t.Context(), "test"); err != nil || l.Result == api.LoadRefused {
		t.Fatalf("%+v, %v", l, err)
	}
	for _, name := range []string{api.InputZones, api.InputDatabase, api.InputCookieSecrets} {
		if in := input(t, n, name); in.Error != "" || !in.Modified.After(first[name].Modified) || !in.Loaded.After(first[name].Loaded) {
			t.Errorf("%s: %+v", name, in)
		}
	}
}

// TestInputsTokens covers the file that is read by itself.
func TestInputsTokens(t *testing.T) {
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(1)})
	_, line := makeToken(1, "one")
	file := filepath.Join(filepath.Dir(cfg.Zones), "tokens.txt")
	write(t, filepath.Dir(file), map[string]string{"tokens.txt": line + "\n"})
	cfg.AuthTokens = file
	n, _ := run(t, cfg)
	first := input(t, n, api.InputTokens)
	if first.Path != file || first.Modified.IsZero() || first.Loaded.IsZero() || first.Error != "" || first.Hash != "" {
		t.Errorf("%+v", first)
	}
	write(t, filepath.Dir(file), map[string]string{"tokens.txt": "what"})
	in := input(t, n, api.InputTokens)
	if in.Error == "" {
		t.Error("no error")
	}
	if in.Error = ""; in != first {
		t.Errorf("was %+v, is %+v", first, in)
	}
}

// TestInputsCommit follows a work tree: by commits that change the zones, and by one that does not.
func TestInputsCommit(t *testing.T) {
	root, zones := repository(t)
	cfg := config(t, nil)
	cfg.Zones = zones
	n, _ := run(t, cfg)
	commitIs := func(what, want string) {
		t.Helper()
		eventually(t, what, func() bool { return input(t, n, api.InputZones).Commit == want })
	}
	commitIs("the first", git(t, root, "rev-parse", "HEAD"))
	write(t, zones, map[string]string{"example.com.zone": zoneText + "t IN TXT x\n"})
	commitIs("a changed zone", commit(t, root, "second"))
	eventually(t, "all is quiet", func() bool { return n.Status().Inputs[0].Error == "" })
	loaded, unchanged, _ := n.Loads()
	write(t, root, map[string]string{"other.txt": "x"})
	commitIs("another file", commit(t, root, "third"))
	if now, same, _ := n.Loads(); now != loaded || same > unchanged+1 { // one more may have come of the change before
		t.Errorf("%d and %d loads, %d and %d before", now, same, loaded, unchanged)
	}
}

// TestLoadAndSwapEvents listens to loads and swaps, whose ids are those in the status.
func TestLoadAndSwapEvents(t *testing.T) {
	b := startBackends(t, "127.0.0.21", "127.0.0.22", "127.0.0.23")
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(b[0].addr.Port())})
	n, _ := run(t, cfg)
	allUp(t, n)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon}
	response, err := client.Get("http://" + n.APIAddr().String() + "/v1/events?kinds=load,swap")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	next := func(document any) (kind, id string) {
		t.Helper()
		for lines.Scan() {
			key, value, _ := strings.Cut(lines.Text(), ": ")
			switch key {
			case "id":
				id = value
			case "event":
				kind = value
			case "data":
				if err = json.Unmarshal([]byte(value), document); err != nil {
					t.Fatal(err)
				}
				return kind, id
			}
		}
		t.Fatal("the stream ended")
		return "", ""
	}
	if !lines.Scan() { // connected
		t.Fatal(lines.Err())
	}
	before := n.Status()
	b[0].stop()
	var swap api.SwapEvent
	for swap.Generation <= before.World.Generation || swap.Cause != api.CauseVerdicts { // doubts come first
		if kind, id := next(&swap); kind != api.EventSwap || id != swap.ID || id == "" {
			t.Fatalf("%s %s: %+v", kind, id, swap)
		}
	}
	if swap.World != before.World.ID || time.Since(swap.At) > soon {
		t.Errorf("%+v", swap)
	}
	write(t, cfg.Zones, map[string]string{"example.com.zone": zoneText + "t IN TXT x\n"})
	load, err := n.Reload(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	for swap.Cause != api.CauseLoad {
		if kind, _ := next(&swap); kind != api.EventSwap {
			t.Fatalf("%s before the swap that it is of", kind)
		}
	}
	var told struct {
		api.Load

		Cause string `json:"cause"` // of a swap
	}
	for told.Result == "" {
		if _, id := next(&told); told.Result != "" && (id != told.ID || told.ID == "") {
			t.Errorf("id %s, load %+v", id, told.Load)
		}
	}
	status := n.Status()
	if swap.World == before.World.ID || told.World != swap.World || status.World.Generation < swap.Generation || load.ID == "" || status.LastLoad.ID == "" {
		t.Errorf("swap %+v, load %+v, status %+v", swap, told.Load, status.World)
	}
}
