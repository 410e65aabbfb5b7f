package node_test

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"geodns/internal/dnstest"
	"geodns/internal/durable"
	"geodns/internal/node"
	"geodns/pkg/geo"
	"geodns/pkg/policy"
)

// keptPolicies have a plan for clients in DE and another for all others; a host of theirs is flattened.
const keptPolicies = `
regions: [{name: fra}, {name: iad}]
pools:
  - name: web
    targets: [{name: a, region: fra, values: [192.0.2.1]}, {name: b, region: iad, values: [192.0.2.2]}]
  - name: flat
    targets: [{name: c, region: fra, values: [host.example.com.]}]
maps: [{name: m, areas: {default: [iad, fra], EU-DE: [fra, iad]}}]
policies:
  - {name: www, rules: [{name: all, pool: web, rank: [{map: m}]}], all_down: serve-all}
  - {name: flat, flatten: true, rules: [{name: all, pool: flat}], all_down: serve-all}
`

// keptConfig is a node with a database and a state folder.
func keptConfig(t *testing.T) node.Config {
	t.Helper()
	cfg := config(t, map[string]string{
		"example.com.zone": "$TTL 300\n@ SOA ns h 1 2 3 4 5\n NS ns.example.net.\nhost A 192.0.2.3\nwww STEER www\nflat STEER flat\n",
		"p.yaml":           keptPolicies,
	})
	cfg.Geo = geo.Config{Databases: []string{filepath.Join(filepath.Dir(cfg.Zones), "countries.csv")}}
	write(t, filepath.Dir(cfg.Zones), map[string]string{"countries.csv": "16777216,16777471,AU\n33554432,33554687,DE\n"})
	return cfg
}

// keep runs a node until it has kept its table, and gives the table's id and the file.
func keep(t *testing.T, cfg node.Config) (id string, file []byte) {
	t.Helper()
	n, stop := run(t, cfg)
	defer stop()
	id = n.World().Table().ID()
	eventually(t, "the table is kept", func() bool {
		var err error
		file, err = os.ReadFile(filepath.Join(cfg.State, "table"))
		return err == nil
	})
	return id, file
}

// TestTableKept starts again from the table that was kept, and completes it.
func TestTableKept(t *testing.T) {
	t.Parallel()
	cfg := keptConfig(t)
	id, _ := keep(t, cfg)
	n, err := node.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got := n.World().Table().ID(); !n.Restored() || got != id {
		t.Fatalf("table %s, restored: %v; want %s", got, n.Restored(), id)
	}
	question := policy.Question{Name: "www.example.com.", Client: netip.MustParsePrefix("2.0.0.0/24")}
	stop := start(t, n)
	eventually(t, "the load is complete", func() bool { return !n.Restored() })
	if got := n.World().Table().ID(); got != id {
		t.Errorf("completed, it is table %s; want %s", got, id)
	}
	e, err := n.Explained(question)
	if err != nil || e == nil {
		t.Errorf("explained: %v, %v", e, err)
	}
	stop()
}

// TestTableKeptBeside keeps a load's table without the orders that the load is served by.
func TestTableKeptBeside(t *testing.T) {
	cfg := keptConfig(t)
	write(t, cfg.Zones, map[string]string{"p.yaml": measured, "example.com.zone": zoneText})
	cfg.RUM = node.RUM{Interval: time.Second, Window: 10 * time.Second, MinSources: 5}
	n, stop := run(t, cfg)
	feed(t, n, "ams", 60)
	feed(t, n, "fra", 20)
	plain := n.World().Table().ID()
	eventually(t, "another table is served", func() bool { return n.World().Table().ID() != plain })
	file := func() string {
		data, err := os.ReadFile(filepath.Join(cfg.State, "table"))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	before := file()
	write(t, cfg.Zones, map[string]string{"p.yaml": strings.Replace(measured, "127.0.0.21", "127.0.0.23", 1)})
	if _, err := n.Reload(t.Context(), "tester"); err != nil {
		t.Fatal(err)
	}
	served := n.World().Table().ID()
	eventually(t, "the table is kept", func() bool { return file() != before })
	stop()
	n, err := node.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got := n.World().Table().ID(); !n.Restored() || got == served || got == plain {
		t.Errorf("table %s, restored: %v; by orders it was %s, and %s of the files before", got, n.Restored(), served, plain)
	}
	start(t, n)()
}

// TestTableNotKept starts with anything that makes another table changed: the one of before is not used.
func TestTableNotKept(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, cfg *node.Config){
		"policies": func(t *testing.T, cfg *node.Config) {
			write(t, cfg.Zones, map[string]string{"p.yaml": strings.Replace(keptPolicies, "EU-DE: [fra, iad]", "EU-FR: [fra, iad]", 1)})
		},
		"database": func(t *testing.T, cfg *node.Config) {
			write(t, filepath.Dir(cfg.Zones), map[string]string{"countries.csv": "16777216,16777471,DE\n33554432,33554687,DE\n"})
		},
		"flattened": func(t *testing.T, cfg *node.Config) {
			write(t, cfg.Zones, map[string]string{"example.com.zone": "$TTL 300\n@ SOA ns h 1 2 3 4 5\n NS ns.example.net.\nhost A 192.0.2.4\nwww STEER www\nflat STEER flat\n"})
		},
		"overrides": func(t *testing.T, cfg *node.Config) {
			cfg.Geo.Overrides = filepath.Join(filepath.Dir(cfg.Zones), "overrides.yaml")
			write(t, filepath.Dir(cfg.Zones), map[string]string{"overrides.yaml": "overrides: [{prefix: 3.0.0.0/24, geo: EU-DE}]\n"})
		},
		"max_scopes": func(_ *testing.T, cfg *node.Config) { cfg.MaxScopes = 100000 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := keptConfig(t)
			keep(t, cfg)
			change(t, &cfg)
			n, err := node.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if n.Restored() {
				t.Error("it started from the table of before")
			}
			start(t, n)()
		})
	}
}

// TestTableDamaged starts with the file damaged: what is served is what the files say, from the start or, where the damage has a right
// checksum, as soon as it is compiled.
func TestTableDamaged(t *testing.T) {
	t.Parallel()
	cfg := keptConfig(t)
	id, good := keep(t, cfg)
	path := filepath.Join(cfg.State, "table")
	payload, err := durable.Peek(path)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(dnstest.Seed(t), 0))
	flip := func(b []byte) []byte {
		b = bytes.Clone(b)
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		return b
	}
	var files [][]byte
	for range 5 {
		files = append(files, flip(good), good[:r.IntN(len(good))])
	}
	check := func() {
		t.Helper()
		n, err := node.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := n.World().Table().ID(); got != id {
			t.Errorf("table %s; want %s", got, id)
		}
		start(t, n)()
	}
	for _, file := range append(files, nil) {
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		check()
	}
	for range 20 {
		if err := durable.Write(path, flip(payload)); err != nil {
			t.Fatal(err)
		}
		check()
	}
}

// TestTableForged starts with another table under the right key: it is found out, and replaced.
func TestTableForged(t *testing.T) {
	t.Parallel()
	cfg := keptConfig(t)
	id, _ := keep(t, cfg)
	path := filepath.Join(cfg.State, "table")
	key, err := durable.Peek(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, cfg.Zones, map[string]string{"p.yaml": strings.Replace(keptPolicies, "default: [iad, fra]", "default: [fra, iad]", 1)})
	if err = os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, _ := keep(t, cfg)
	table, err := durable.Peek(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, cfg.Zones, map[string]string{"p.yaml": keptPolicies})
	if err = durable.Write(path, append(key[:32:32], table[32:]...)); err != nil {
		t.Fatal(err)
	}
	n, err := node.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got := n.World().Table().ID(); got != other {
		t.Errorf("forged, it is table %s; want %s", got, other)
	}
	defer start(t, n)()
	eventually(t, "the right table is served", func() bool { return n.World().Table().ID() == id })
	eventually(t, "the right table is kept", func() bool {
		kept, err := durable.Peek(path)
		return err == nil && !bytes.Equal(kept[32:], table[32:])
	})
}
