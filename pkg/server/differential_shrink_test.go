package server_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/miekg/dns"

	"geodns/internal/dnstest"
	"geodns/pkg/server"
	"geodns/pkg/zone"
)

// explainAtLength shrinks a difference and reports the smallest case with everyone's answers.
func (r *diffRun) explainAtLength(t *testing.T, f *diffFinding) {
	t.Helper()
	small := shrink(diffTrial{f.c, f.q}, func(trials []diffTrial) []bool {
		fails := make([]bool, len(trials))
		for i, g := range r.retry(t, trials, f.peer) {
			fails[i] = g != nil && g.signature() == f.signature()
		}
		return fails
	})
	t.Errorf("%s: %s (GEODNS_SEED=%d)\n%s", f.signature(), small.q, r.seed, small.c)
	t.Logf("as it was found: %s\nours: %s%s: %s", f.q, f.ours, f.peer, f.theirs)
	for _, p := range r.peers {
		r.retryOne(t, []*diffCase{small.c}, []diffTrial{small}, p, func(p *diffPair) { t.Logf("ours: %s%s: %s", p.ours, p.peer, p.theirs) })
	}
}

// records counts a case's records.
func (c *diffCase) records() int {
	n := 0
	for _, z := range c.zones {
		n += len(z.records)
	}
	return n
}

// retryRootsMax is how many cases with a root zone are tried at a time: each needs a start of its own.
const retryRootsMax = 40

// retry compares trials with one peer and gives what it finds for each, nil where there is nothing. All are served at once, each
// with its own base.
func (r *diffRun) retry(t *testing.T, trials []diffTrial, peer string) []*diffFinding {
	t.Helper()
	out := make([]*diffFinding, len(trials))
	p := r.peers[slices.IndexFunc(r.peers, func(p diffPeer) bool { return p.name == peer })]
	var cases []*diffCase
	var moved []diffTrial
	var index []int // of moved in trials
	for i, tr := range trials {
		base := baseOf(i)
		if tr.c.base == "" {
			base = ""
		}
		if c := tr.c.at(base); loads(t, c) {
			cases, index = append(cases, c), append(index, i)
			moved = append(moved, diffTrial{c, diffQuery{tr.q.name.rebase(tr.c.base, base), tr.q.qtype}})
		}
	}
	if trials[0].c.base != "" {
		for i, g := range r.retryOne(t, cases, moved, p, nil) {
			out[index[i]] = g
		}
		return out
	}
	for i := range min(len(moved), retryRootsMax) {
		out[index[i]] = r.retryOne(t, cases[i:i+1], moved[i:i+1], p, nil)[0]
	}
	return out
}

// retryOne serves cases and gives what is found for each of their trials. It hands all that it sees to show, unless that is nil.
func (r *diffRun) retryOne(t *testing.T, cases []*diffCase, trials []diffTrial, p diffPeer, show func(*diffPair)) []*diffFinding {
	t.Helper()
	out := make([]*diffFinding, len(trials))
	t.Run("shrink", func(t *testing.T) {
		set, files := mendCases(t, &cases)
		one := newDiffRun([]diffPeer{p})
		one.every, one.show = true, show
		_, found := one.compare(t, set, files, cases, trials)
		for _, f := range found {
			if i := slices.IndexFunc(trials, func(tr diffTrial) bool { return tr.c == f.c }); i >= 0 {
				out[i] = f
			}
		}
	})
	return out
}

// loads says whether all of a case's zones load as they are.
func loads(t *testing.T, c *diffCase) bool {
	t.Helper()
	dir := t.TempDir()
	for _, z := range c.zones {
		if err := writeFile(dir, z); err != nil {
			t.Fatal(err)
		}
	}
	set, _ := zone.Load(dir, 0)
	return set != nil && len(c.zones) > 0
}

// shrinkRounds bounds the rounds of shrink: each at least removes a record, and most of them half of what is left.
const shrinkRounds = 30

// shrink makes a trial smaller while it fails: first the case, by chunks of records and single ones, then the query. fails judges
// many trials at once.
func shrink(tr diffTrial, fails func([]diffTrial) []bool) diffTrial {
	var single []int // records that may each go
	for range shrinkRounds {
		n := tr.c.records()
		var cuts [][]int
		if len(single) > 1 {
			cuts = append(cuts, single, single[:len(single)/2], single[len(single)/2:])
		}
		for size := n / 2; size > 0; size /= 2 {
			for at := 0; at < n; at += size {
				var cut []int
				for i := at; i < min(at+size, n); i++ {
					cut = append(cut, i)
				}
				cuts = append(cuts, cut)
			}
		}
		var trials []diffTrial
		for _, cut := range cuts {
			trials = append(trials, diffTrial{tr.c.without(cut), tr.q})
		}
		if len(tr.q.name) > 0 {
			trials = append(trials, diffTrial{tr.c, diffQuery{tr.q.name[1:], tr.q.qtype}})
		}
		if tr.q.qtype != dns.TypeA {
			trials = append(trials, diffTrial{tr.c, diffQuery{tr.q.name, dns.TypeA}})
		}
		single = single[:0]
		best, gone := -1, 0
		for i, bad := range fails(trials) {
			switch {
			case !bad:
			case i >= len(cuts):
				if best < 0 {
					best = i
				}
			default:
				if len(cuts[i]) > gone {
					best, gone = i, len(cuts[i])
				}
				if len(cuts[i]) == 1 {
					single = append(single, cuts[i][0])
				}
			}
		}
		if best < 0 {
			return tr
		}
		next := trials[best]
		if best < len(cuts) { // the numbers of the records that are left
			cut := cuts[best]
			var kept []int
			for _, s := range single {
				if !slices.Contains(cut, s) {
					before := 0
					for _, c := range cut {
						if c < s {
							before++
						}
					}
					kept = append(kept, s-before)
				}
			}
			single = kept
		}
		tr = next
	}
	return tr
}

// without gives the case without some of its records, numbered through all zones; a zone without its SOA is gone.
func (c *diffCase) without(cut []int) *diffCase {
	out := &diffCase{base: c.base}
	n := 0
	for _, z := range c.zones {
		next := &diffZone{origin: z.origin}
		for _, r := range z.records {
			if !slices.Contains(cut, n) {
				next.records = append(next.records, r)
			}
			n++
		}
		if len(next.set(z.origin, "SOA")) > 0 {
			out.zones = append(out.zones, next)
		}
	}
	return out
}

// faultyHost is what TestShrink takes for a fault.
func faultyHost() labels { return labels{"mail", "invalid"} }

// TestShrink shrinks with a comparison that takes a mail server for a fault: what is left is a zone with its MX record, and perhaps the address of its name server.
func TestShrink(t *testing.T) {
	t.Parallel()
	seed := dnstest.Seed(t)
	rnd := rand.New(rand.NewPCG(seed, 3))
	for range 3 {
		c := makeCase(rnd, baseOf(0))
		host := faultyHost()
		owner := c.zones[0].origin.below("faulty", "x")
		if !c.zones[0].add(owner, 60, "MX", "10 "+host.text(), host) {
			continue
		}
		cases := []*diffCase{c}
		if mendCases(t, &cases); len(cases) == 0 || !c.wrong(t, diffQuery{owner, dns.TypeMX}) {
			continue // the name is hidden
		}
		rounds := 0
		small := shrink(diffTrial{c, diffQuery{owner, dns.TypeMX}}, func(trials []diffTrial) []bool {
			rounds++
			fails := make([]bool, len(trials))
			for i, tr := range trials {
				fails[i] = tr.c.wrong(t, tr.q)
			}
			return fails
		})
		if n := small.c.records(); n > 4 || len(small.c.zones) != 1 || rounds > 10 {
			t.Errorf("%d records are left after %d rounds, for %s:\n%s", n, rounds, small.q, small.c)
		}
	}
}

// wrong says whether the case loads and there is the MX record of a faulty host in our answer.
func (c *diffCase) wrong(t *testing.T, q diffQuery) bool {
	t.Helper()
	if !loads(t, c) {
		return false
	}
	cases := []*diffCase{c}
	set, _ := mendCases(t, &cases)
	table := testTable(t)
	w, err := server.NewWorld(set, table, testStates(t, table), nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := server.NewResponder(server.Config{}, w)
	if err != nil {
		t.Fatal(err)
	}
	m, query := &diffMessage{}, q.pack()
	if err := m.parse(r.Answer(server.TCP, clientEU, query, 65535), query); err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(m.sections[diffAnswer], func(r diffRR) bool { return r.typ == dns.TypeMX && bytes.Equal(r.rdata[2:], faultyHost().wire()) })
}
