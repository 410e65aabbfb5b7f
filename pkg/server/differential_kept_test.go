package server_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/txtar"

	"geodns/internal/dnstest"
)

// TestDifferentialKept compares the zones of testdata/differential: faults that were found, and zones that are as zones are. A file
// holds zone files by name and perhaps "queries", a name and a type a line; without, all that queriesOf thinks of is asked.
func TestDifferentialKept(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/differential/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	peers, seed := diffPeers(t), dnstest.Seed(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c, queries := &diffCase{base: baseOf(0)}, []diffQuery(nil)
			for _, f := range archive.Files {
				if f.Name == "queries" {
					queries = readQueries(t, string(f.Data))
				} else {
					c.zones = append(c.zones, readZone(t, f.Name, string(f.Data)))
				}
			}
			compareCase(t, peers, seed, c, queries)
		})
	}
}

// TestDifferentialRoot compares the root zone as it is on the Internet, without its signatures.
func TestDifferentialRoot(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("the root zone takes a while")
	}
	file := filepath.Join(cmp.Or(os.Getenv("GEODNS_SHARED"), "../../../shared"), "data/rootzone/root.clean.zone")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Skipf("no shared data: %v", err)
	}
	c := &diffCase{zones: []*diffZone{readZone(t, "@.zone", string(text))}}
	compareCase(t, diffPeers(t), dnstest.Seed(t), c, nil)
}

// compareCase compares one case by itself, and fails on any difference that is not explained.
func compareCase(t *testing.T, peers []diffPeer, seed uint64, c *diffCase, queries []diffQuery) {
	t.Helper()
	if queries == nil {
		queries = queriesOf(rand.New(rand.NewPCG(seed, 0)), c, math.MaxInt)
	}
	var trials []diffTrial
	for _, q := range queries {
		trials = append(trials, diffTrial{c, q})
	}
	run, cases, before := newDiffRun(peers), []*diffCase{c}, c.records()
	set, files := mendCases(t, &cases)
	if len(cases) != 1 || c.records() != before {
		t.Fatal("we do not load it")
	}
	stats, found := run.compare(t, set, files, cases, trials)
	for _, f := range found {
		t.Errorf("%s: %s\nours: %s%s: %s", f.signature(), f.q, f.ours, f.peer, f.theirs)
	}
	t.Logf("%d queries, explained differences: %v", stats.queries, stats.reasons)
	if len(stats.refused) > 0 {
		t.Errorf("refused by %v", stats.refused)
	}
}

// readZone reads a zone file.
func readZone(t *testing.T, name, text string) *diffZone {
	t.Helper()
	origin := strings.TrimSuffix(name, "zone")
	if name == "@.zone" {
		origin = "."
	}
	z := &diffZone{origin: parseLabels(t, dns.Fqdn(origin))}
	zp := dns.NewZoneParser(strings.NewReader(text), dns.Fqdn(origin), name)
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		h := rr.Header()
		r := diffRecord{owner: parseLabels(t, h.Name), ttl: h.Ttl, typ: dns.Type(h.Rrtype).String(), rdata: strings.TrimPrefix(rr.String(), h.String())}
		switch rr := rr.(type) {
		case *dns.NS:
			r.target = parseLabels(t, rr.Ns)
		case *dns.CNAME:
			r.target = parseLabels(t, rr.Target)
		case *dns.DNAME:
			r.target = parseLabels(t, rr.Target)
		case *dns.RFC3597:
			r.rdata = fmt.Sprintf(`\# %d %s`, len(rr.Rdata)/2, rr.Rdata)
		}
		z.records = append(z.records, r)
	}
	if err := zp.Err(); err != nil {
		t.Fatal(err)
	}
	return z
}

// readQueries reads a name and a type a line.
func readQueries(t *testing.T, text string) []diffQuery {
	t.Helper()
	var queries []diffQuery
	for line := range strings.Lines(text) {
		name, typ, _ := strings.Cut(strings.TrimSpace(line), " ")
		queries = append(queries, diffQuery{parseLabels(t, name), typeNumber(typ)})
	}
	return queries
}

// parseLabels reads a name in presentation form.
func parseLabels(t *testing.T, text string) labels {
	t.Helper()
	var buf [256]byte
	n, err := dns.PackDomainName(text, buf[:], 0, nil, false)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	var out labels
	for wire := buf[:n]; wire[0] != 0; wire = wire[1+wire[0]:] {
		out = append(out, string(wire[1:1+wire[0]]))
	}
	return out
}
