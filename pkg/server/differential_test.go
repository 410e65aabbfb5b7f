package server_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/txtar"

	"geodns/internal/dnstest"
	"geodns/internal/source"
	"geodns/pkg/server"
	"geodns/pkg/zone"
)

// TestDifferential makes random zones, serves them with this server, NSD, Knot DNS and BIND, asks all four the same questions and
// compares each answer with each peer's, section by section, and its size. A difference is a fault of ours, or an entry of
// diffReasons holds for it, which says by what right. Any other is shrunk to the smallest zones that still show it.
//
// A case is a few zones that belong together and all queries about them. Many cases make a batch, served by one start of each server.

var diffCases = flag.Int("cases", 0, "cases of TestDifferential; 0: 1,000, or 50,000 with GEODNS_PROVE, or 200 with -short")

const (
	// diffBatchCases is how many cases are served at once: enough that starting the servers does not matter.
	diffBatchCases = 250
	// diffShrinkMax is how many differences of a run are shrunk: by then there is enough to think about.
	diffShrinkMax = 6
	// diffLoadWait is how long a peer may take to load another of the zones that are missing.
	diffLoadWait = 3 * time.Second
)

// diffPeer is a server to compare with.
type diffPeer struct {
	name  string
	start func(testing.TB, map[string]string) *dnstest.Peer
}

// diffPeers gives those that are installed.
func diffPeers(t *testing.T) []diffPeer {
	t.Helper()
	var peers []diffPeer
	for _, p := range []struct {
		diffPeer

		program string
	}{
		{diffPeer{"nsd", dnstest.StartNSD}, "nsd"}, {diffPeer{"knot", dnstest.StartKnot}, "knotd"}, {diffPeer{"bind", dnstest.StartBIND}, "named"},
	} {
		t.Run("have "+p.name, func(t *testing.T) {
			dnstest.NeedPeer(t, p.program)
			peers = append(peers, p.diffPeer)
		})
	}
	if len(peers) == 0 {
		t.Skip("no peer is installed")
	}
	return peers
}

func TestDifferential(t *testing.T) {
	t.Parallel()
	peers := diffPeers(t)
	seed, begin := dnstest.Seed(t), time.Now()
	cases := *diffCases
	switch {
	case cases > 0:
	case os.Getenv("GEODNS_PROVE") != "":
		cases = 50000
	case testing.Short():
		cases = 200
	default:
		cases = 1000
	}
	run := newDiffRun(peers)
	t.Run("batches", func(t *testing.T) {
		for n := range (cases + diffBatchCases - 1) / diffBatchCases {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				rnd := rand.New(rand.NewPCG(seed, uint64(n)))
				run.batch(t, rnd, min(diffBatchCases, cases-n*diffBatchCases), n%4 == 0)
			})
		}
	})
	run.report(t, time.Since(begin))
}

// TestDifferentialKept runs the cases of testdata/differential: differences that were found and mended, or explained.
func TestDifferentialKept(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/differential/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	peers := diffPeers(t)
	run := newDiffRun(peers)
	var tried []diffTrial
	for i, file := range files {
		tried = append(tried, readTrials(t, file, baseOf(i))...)
	}
	run.try(t, tried)
	run.report(t, 0)
}

// diffTrial is a query to a case.
type diffTrial struct {
	c *diffCase
	q diffQuery
}

// diffRun is a run of many batches.
type diffRun struct {
	peers []diffPeer

	every bool // keep every difference found, not one of each signature

	mu sync.Mutex // guards the following
	diffStats
	shrunk map[string]bool // by signature
}

// diffStats is what a run counted.
type diffStats struct {
	cases, queries int
	reasons        map[string]int // explained differences, by reason
	unexplained    map[string]int // by signature
	refused        map[string]int // cases with a zone that a peer does not load
	features       map[string]int // cases, by what is in them
	kinds          map[string]int // our answers, by what they are
	spent          map[string]time.Duration
}

func newDiffRun(peers []diffPeer) *diffRun {
	return &diffRun{peers: peers, shrunk: map[string]bool{}, diffStats: newDiffStats()}
}

func newDiffStats() diffStats {
	return diffStats{
		reasons: map[string]int{}, unexplained: map[string]int{}, refused: map[string]int{}, features: map[string]int{}, kinds: map[string]int{},
		spent: map[string]time.Duration{},
	}
}

// add adds up.
func (s *diffStats) add(o *diffStats) {
	s.cases += o.cases
	s.queries += o.queries
	sum := func(into, from map[string]int) {
		for k, n := range from {
			into[k] += n
		}
	}
	sum(s.reasons, o.reasons)
	sum(s.unexplained, o.unexplained)
	sum(s.refused, o.refused)
	sum(s.features, o.features)
	sum(s.kinds, o.kinds)
	for k, d := range o.spent {
		s.spent[k] += d
	}
}

// batch makes, serves and compares n cases.
func (r *diffRun) batch(t *testing.T, rnd *rand.Rand, n int, root bool) {
	var cases []*diffCase
	for i := range n {
		base := baseOf(i)
		if root && i == 0 {
			base = ""
		}
		cases = append(cases, makeCase(rnd, base))
	}
	for _, c := range cases[1:] {
		if cases[0].base == "" && len(cases[0].zones[0].origin) == 0 {
			c.root = cases[0].zones[0]
		}
	}
	set, files := mendCases(t, &cases)
	var trials []diffTrial
	for _, c := range cases {
		for _, q := range queriesOf(rnd, c) {
			trials = append(trials, diffTrial{c, q})
		}
	}
	stats, found := r.compare(t, set, files, cases, trials, r.peers)
	r.mu.Lock()
	r.diffStats.add(stats)
	var shrink []*diffFinding
	for _, f := range found {
		if !r.shrunk[f.signature()] && len(r.shrunk) < diffShrinkMax {
			r.shrunk[f.signature()] = true
			shrink = append(shrink, f)
		}
	}
	r.mu.Unlock()
	for _, f := range shrink {
		r.explainAtLength(t, f)
	}
}

// try compares trials of kept cases, each a case of its own.
func (r *diffRun) try(t *testing.T, trials []diffTrial) {
	var cases []*diffCase
	for _, tr := range trials {
		if !slices.Contains(cases, tr.c) {
			cases = append(cases, tr.c)
		}
	}
	set, files := mendCases(t, &cases)
	stats, found := r.compare(t, set, files, cases, trials, r.peers)
	r.diffStats.add(stats)
	for _, f := range found {
		t.Errorf("%s", f)
	}
}

// mendCases writes the zone files of cases and takes out the records that zone.Load refuses; a case whose zone is refused as a
// whole goes. It gives the set, and the files by origin.
func mendCases(t testing.TB, cases *[]*diffCase) (*zone.Set, map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for range 10 {
		files, zones := map[string]string{}, map[string]*diffZone{}
		for _, c := range *cases {
			for _, z := range c.zones {
				file := filepath.Join(dir, z.fileName())
				if err := writeFile(dir, z); err != nil {
					t.Fatal(err)
				}
				files[z.origin.text()], zones[file] = file, z
			}
		}
		set, found := zone.Load(dir, 0)
		if set != nil {
			return set, files
		}
		broken := map[*diffZone]bool{}
		wrong := map[*diffZone]map[int]bool{}
		for _, f := range found {
			if f.Severity != source.Error {
				continue
			}
			z := zones[f.File]
			if wrong[z] == nil {
				wrong[z] = map[int]bool{}
			}
			wrong[z][f.Line-1] = true
			broken[z] = broken[z] || f.Line <= 1
		}
		for z, lines := range wrong {
			if z == nil {
				t.Fatalf("loading: %v", found)
			}
			var kept []diffRecord
			for i, rec := range z.records {
				if !lines[i] {
					kept = append(kept, rec)
				}
			}
			z.records = kept
		}
		*cases = slices.DeleteFunc(*cases, func(c *diffCase) bool {
			return slices.ContainsFunc(c.zones, func(z *diffZone) bool { return broken[z] || len(z.set(z.origin, "NS")) == 0 })
		})
		for file, z := range zones {
			if !slices.ContainsFunc(*cases, func(c *diffCase) bool { return slices.Contains(c.zones, z) }) {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	t.Fatal("the zones cannot be mended")
	return nil, nil
}

// writeFile writes a zone's file into a folder.
func writeFile(dir string, z *diffZone) error {
	return os.WriteFile(filepath.Join(dir, z.fileName()), []byte(z.file()), 0o600)
}

// startOurs serves a set.
func startOurs(t testing.TB, set *zone.Set) string {
	t.Helper()
	table := testTable(t)
	w, err := server.NewWorld(set, table, testStates(t, table), nil)
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, server.Config{Workers: 1}, w).Addrs()[0].String()
}

// compare serves zones everywhere, asks and compares. It gives what it counted and the unexplained differences.
func (r *diffRun) compare(t testing.TB, set *zone.Set, files map[string]string, cases []*diffCase, trials []diffTrial, peers []diffPeer) (*diffStats, []*diffFinding) {
	t.Helper()
	stats := newDiffStats()
	stats.cases, stats.queries = len(cases), len(trials)
	begin := time.Now()
	spent := func(what string) {
		stats.spent[what] += time.Since(begin)
		begin = time.Now()
	}
	packed := make([][]byte, len(trials))
	for i, tr := range trials {
		packed[i] = tr.q.pack()
	}
	addrs := []string{startOurs(t, set)}
	missing := make([]map[string]bool, len(peers)) // origins
	for i, p := range peers {
		addrs = append(addrs, p.start(t, files).Addr)
		missing[i] = waitLoaded(t, addrs[i+1], slices.Collect(maps.Keys(files)))
	}
	spent("starting")
	replies := make([]*diffReplies, len(addrs))
	var group sync.WaitGroup
	for i, addr := range addrs {
		group.Go(func() {
			var err error
			if replies[i], err = askAll(addr, packed); err != nil {
				t.Errorf("asking server %d: %v", i, err)
			}
		})
	}
	group.Wait()
	spent("asking")
	if t.Failed() {
		return &stats, nil
	}
	refused := map[*diffCase][]bool{} // by peer
	for _, c := range cases {
		refused[c] = make([]bool, len(peers))
		for i, p := range peers {
			if slices.ContainsFunc(c.zones, func(z *diffZone) bool { return missing[i][z.origin.text()] }) {
				refused[c][i] = true
				stats.refused[p.name]++
				if stats.refused[p.name] <= 2 {
					t.Logf("%s does not load\n%s", p.name, c)
				}
			}
		}
		countFeatures(c, stats.features)
	}
	var found []*diffFinding
	var ours, theirs diffMessage
	for i, tr := range trials {
		if err := ours.parse(replies[0].wire[i], packed[i]); err != nil {
			t.Errorf("%s: our answer %x: %v\n%s", tr.q, replies[0].wire[i], err, tr.c)
			continue
		}
		ours.truncated = replies[0].truncated[i]
		countKind(&ours, stats.kinds)
		for p, peer := range peers {
			if refused[tr.c][p] {
				continue
			}
			if err := theirs.parse(replies[p+1].wire[i], packed[i]); err != nil {
				t.Errorf("%s: %s answers %x: %v\n%s", tr.q, peer.name, replies[p+1].wire[i], err, tr.c)
				continue
			}
			theirs.truncated = replies[p+1].truncated[i]
			pair := diffPair{peer: peer.name, c: tr.c, q: tr.q, ours: &ours, theirs: &theirs}
			if pair.kind = difference(tr.q.qtype, &ours, &theirs); pair.kind == "" {
				continue
			}
			if why := pair.reason(); why != "" {
				stats.reasons[why]++
				continue
			}
			f := newFinding(&pair)
			stats.unexplained[f.signature()]++
			if r.every || len(found) < 50 && !slices.ContainsFunc(found, func(o *diffFinding) bool { return o.signature() == f.signature() }) {
				found = append(found, f)
			}
		}
	}
	spent("comparing")
	return &stats, found
}

// waitLoaded waits until a peer answers for all zones and gives those for which it never does.
func waitLoaded(t testing.TB, addr string, origins []string) map[string]bool {
	t.Helper()
	var queries [][]byte
	for _, o := range origins {
		m := &dns.Msg{Question: []dns.Question{{Name: o, Qtype: dns.TypeSOA, Qclass: dns.ClassINET}}}
		wire, err := m.SetEdns0(diffUDPSize, false).Pack()
		if err != nil {
			t.Fatal(err)
		}
		queries = append(queries, wire)
	}
	missing, since := map[string]bool{}, time.Now()
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for range pause.C {
		replies, err := askAll(addr, queries)
		if err != nil {
			t.Fatalf("waiting for the zones: %v", err)
		}
		still := map[string]bool{}
		for i, o := range origins {
			if w := replies.wire[i]; w[3]&15 != 0 || w[2]&4 == 0 || w[7] == 0 {
				still[o] = true
			}
		}
		if len(still) != len(missing) {
			since = time.Now()
		}
		missing = still
		if len(missing) == 0 || time.Since(since) > diffLoadWait {
			break
		}
	}
	return missing
}

// report says what came out, and fails if too much is unexplained or too little was tried.
func (r *diffRun) report(t *testing.T, took time.Duration) {
	t.Helper()
	s := &r.diffStats
	t.Logf("%d cases, %d queries to %d peers and us in %.0f s %v", s.cases, s.queries, len(r.peers), took.Seconds(), s.spent)
	for _, part := range []struct {
		about string
		n     map[string]int
	}{
		{"cases with a zone that is refused by", s.refused}, {"explained differences", s.reasons}, {"unexplained differences", s.unexplained},
		{"cases with", s.features}, {"answers", s.kinds},
	} {
		for _, k := range slices.Sorted(maps.Keys(part.n)) {
			t.Logf("%s: %6d %s", part.about, part.n[k], k)
		}
	}
	if len(s.unexplained) > 0 {
		t.Errorf("differences are unexplained")
	}
}

// readTrials reads a kept case: zone files, and a file "queries" of a name and a type a line.
func readTrials(t *testing.T, file, base string) []diffTrial {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := &diffCase{base: baseOf(0)}
	var trials []diffTrial
	for _, f := range archive.Files {
		if f.Name == "queries" {
			for line := range strings.Lines(string(f.Data)) {
				name, typ, _ := strings.Cut(strings.TrimSpace(line), " ")
				trials = append(trials, diffTrial{c, diffQuery{parseLabels(t, name).rebase(c.base, base), typeNumber(typ)}})
			}
			continue
		}
		z := &diffZone{origin: parseLabels(t, strings.TrimSuffix(f.Name, "zone"))}
		for line := range strings.Lines(string(f.Data)) {
			z.records = append(z.records, parseRecord(t, line))
		}
		c.zones = append(c.zones, z)
	}
	*c = *c.at(base)
	return trials
}

// parseLabels reads a name in presentation form.
func parseLabels(t testing.TB, text string) labels {
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

// parseRecord reads what diffRecord.line wrote.
func parseRecord(t testing.TB, line string) diffRecord {
	t.Helper()
	f := strings.SplitN(strings.TrimSpace(line), " ", 5)
	if len(f) != 5 {
		t.Fatalf("%q is no record", line)
	}
	r := diffRecord{owner: parseLabels(t, f[0]), typ: f[3], rdata: f[4]}
	if _, err := fmt.Sscan(f[1], &r.ttl); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	switch fields := strings.Fields(r.rdata); r.typ {
	case "NS", "CNAME", "DNAME", "PTR":
		r.target = parseLabels(t, fields[0])
	case "MX":
		r.target = parseLabels(t, fields[1])
	}
	return r
}
