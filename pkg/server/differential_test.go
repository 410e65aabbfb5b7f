package server_test

import (
	"errors"
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

	"geodns/internal/dnstest"
	"geodns/internal/source"
	"geodns/pkg/server"
	"geodns/pkg/zone"
)

// TestDifferential makes random zones, serves them with this server, NSD, Knot DNS and BIND, asks all four the same questions and
// compares each answer with each peer's, section by section, and its size: on whatever zones there
// may be. A difference is a fault of ours, or an entry of diffReasons holds for it, which says by what right. Any other is shrunk to
// the smallest zones that still show it, with everyone's answers.
//
// A case is a few zones that belong together and all queries about them. Many cases make a batch, served by one start of each server.

var diffCases = flag.Int("cases", 0, "cases of TestDifferential; 0: 1,000, or 50,000 with GEODNS_PROVE, or 200 with -short")

const (
	// diffProveCases is how many cases the long version has: by then every difference in diffReasons has shown itself.
	diffProveCases = 50000
	// diffRefusedMax is how many of a hundred cases a peer may refuse to load; they are not compared with it.
	diffRefusedMax = 5
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

// TestDifferential is described at the top of this file.
func TestDifferential(t *testing.T) {
	t.Parallel()
	peers := diffPeers(t)
	seed, begin := dnstest.Seed(t), time.Now()
	cases := *diffCases
	switch {
	case cases > 0:
	case os.Getenv("GEODNS_PROVE") != "":
		cases = diffProveCases
	case testing.Short():
		cases = 200
	default:
		cases = 1000
	}
	run := newDiffRun(peers)
	run.seed = seed
	t.Run("batches", func(t *testing.T) {
		for n := range (cases + diffBatchCases - 1) / diffBatchCases {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				rnd := rand.New(rand.NewPCG(seed, uint64(n)))
				run.batch(t, rnd, min(diffBatchCases, cases-n*diffBatchCases), n%2 == 0)
			})
		}
	})
	run.report(t, time.Since(begin))
	if cases >= 1000 {
		run.checkCover(t)
	}
	if cases >= diffProveCases {
		run.checkReasons(t)
	}
}

// diffTrial is a query to a case.
type diffTrial struct {
	c *diffCase
	q diffQuery
}

// diffRun is a run of many batches.
type diffRun struct {
	peers []diffPeer

	seed  uint64
	every bool            // keep every difference found, not one of each signature
	show  func(*diffPair) // is shown every pair, if it is not nil

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
		if cases[0].base == "" {
			c.beside = cases[0].zones
		}
	}
	set, files := mendCases(t, &cases)
	var trials []diffTrial
	for _, c := range cases {
		for _, q := range queriesOf(rnd, c, diffQueriesMax) {
			outside := !slices.ContainsFunc(c.zones, func(z *diffZone) bool { return q.name.within(z.origin) })
			if c.beside == nil || !outside { // else it is the root zone's, whose case has its own
				trials = append(trials, diffTrial{c, q})
			}
		}
	}
	stats, found := r.compare(t, set, files, cases, trials)
	r.mu.Lock()
	r.add(stats)
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
func (r *diffRun) compare(t testing.TB, set *zone.Set, files map[string]string, cases []*diffCase, trials []diffTrial) (*diffStats, []*diffFinding) {
	t.Helper()
	stats, peers := newDiffStats(), r.peers
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
	replies, errs := make([]*diffReplies, len(addrs)), make([]error, len(addrs))
	var group sync.WaitGroup
	for i, addr := range addrs {
		group.Go(func() { replies[i], errs[i] = askAll(addr, packed) })
	}
	group.Wait()
	spent("asking")
	for i, err := range errs {
		switch {
		case err == nil:
		case i > 0 && errors.Is(err, errSilent): // Knot 3.2.6 loops for ever on some sets of many names
			stats.refused[peers[i-1].name+", fallen silent"]++
		default:
			t.Errorf("asking server %d: %v", i, err)
		}
	}
	if t.Failed() {
		return &stats, nil
	}
	lost := func(zones []*diffZone, peer int) bool {
		return slices.ContainsFunc(zones, func(z *diffZone) bool { return missing[peer][z.origin.text()] })
	}
	refused := map[*diffCase][]bool{} // by peer
	for _, c := range cases {
		refused[c] = make([]bool, len(peers))
		for i, p := range peers {
			if lost(c.zones, i) {
				refused[c][i] = true
				stats.refused[p.name]++
				if stats.refused[p.name] <= 2 {
					t.Logf("%s does not load\n%s", p.name, c)
				}
			}
		}
		if len(c.zones[0].records) < 1000 { // else it is the real root zone
			countFeatures(c, stats.features)
		}
	}
	var found []*diffFinding
	var ours, theirs diffMessage
	for i, tr := range trials {
		if err := ours.parse(replies[0].wire[i], packed[i]); err != nil {
			t.Errorf("%s: our answer %x: %v\n%s", tr.q, replies[0].wire[i], err, tr.c)
			continue
		}
		ours.truncated = replies[0].truncated[i]
		countKind(&diffPair{c: tr.c, q: tr.q, ours: &ours}, stats.kinds)
		for p, peer := range peers {
			if refused[tr.c][p] || replies[p+1].wire[i] == nil || tr.q.qtype == dns.TypeDS && lost(tr.c.beside, p) {
				continue
			}
			if err := theirs.parse(replies[p+1].wire[i], packed[i]); err != nil {
				t.Errorf("%s: %s answers %x: %v\n%s", tr.q, peer.name, replies[p+1].wire[i], err, tr.c)
				continue
			}
			theirs.truncated = replies[p+1].truncated[i]
			pair := diffPair{peer: peer.name, c: tr.c, q: tr.q, ours: &ours, theirs: &theirs}
			if r.show != nil {
				r.show(&pair)
			}
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
		{"cases with a zone that is refused by", s.refused},
		{"explained differences", s.reasons},
		{"unexplained differences", s.unexplained},
		{"cases with", s.features},
		{"answers", s.kinds},
	} {
		for _, k := range slices.Sorted(maps.Keys(part.n)) {
			t.Logf("%s: %6d %s", part.about, part.n[k], k)
		}
	}
	if len(s.unexplained) > 0 {
		t.Errorf("differences are unexplained")
	}
	for peer, n := range s.refused {
		if n > 2+s.cases*diffRefusedMax/100 {
			t.Errorf("%d of %d cases are refused by %s", n, s.cases, peer)
		}
	}
}

// checkReasons fails if there is an entry in diffReasons that no peer needs any more.
func (r *diffRun) checkReasons(t *testing.T) {
	t.Helper()
	for _, e := range diffReasons() {
		for _, p := range r.peers {
			if strings.Contains(e.peers, p.name) && !e.rare && r.reasons[p.name+": "+e.name] == 0 {
				t.Errorf("%s never differs: %q is not needed", p.name, e.name)
			}
		}
	}
}
