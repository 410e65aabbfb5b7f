package server_test

import (
	"slices"
	"testing"

	"geodns/pkg/zone"
)

// explainAtLength shrinks a difference and reports the smallest case.
func (r *diffRun) explainAtLength(t *testing.T, f *diffFinding) {
	t.Helper()
	small := f
	shrink(diffTrial{f.c, f.q}, func(trials []diffTrial) []bool {
		fails := make([]bool, len(trials))
		for i, g := range r.retry(t, trials, f.peer) {
			if fails[i] = g != nil && g.signature() == f.signature(); fails[i] {
				g.c, g.q = trials[i].c, trials[i].q
				if g.c.records() < small.c.records() {
					small = g
				}
			}
		}
		return fails
	})
	t.Errorf("%s", small)
}

// records counts a case's records.
func (c *diffCase) records() int {
	n := 0
	for _, z := range c.zones {
		n += len(z.records)
	}
	return n
}

// retry compares trials with one peer and gives what it finds for each. All are served at once, each with its own base.
func (r *diffRun) retry(t *testing.T, trials []diffTrial, peer string) []*diffFinding {
	t.Helper()
	out := make([]*diffFinding, len(trials))
	p := r.peers[slices.IndexFunc(r.peers, func(p diffPeer) bool { return p.name == peer })]
	var cases []*diffCase
	var moved []diffTrial
	for i, tr := range trials {
		c := tr.c.at(baseOf(i))
		if tr.c.base == "" {
			c = tr.c.at("")
		}
		if loads(t, c) {
			cases = append(cases, c)
			moved = append(moved, diffTrial{c, diffQuery{tr.q.name.rebase(tr.c.base, c.base), tr.q.qtype}})
		}
	}
	if len(trials) > 0 && trials[0].c.base == "" { // only one root zone at once
		for i, m := range moved {
			if i < 40 {
				out[slices.IndexFunc(trials, func(tr diffTrial) bool { return tr.c.String() == m.c.String() })] = r.retryOne(t, cases[i:i+1], moved[i:i+1], p)[0]
			}
		}
		return out
	}
	for i, g := range r.retryOne(t, cases, moved, p) {
		for j := range trials {
			if baseOf(j) == moved[i].c.base {
				out[j] = g
			}
		}
	}
	return out
}

// retryOne serves cases and gives what is found for each of their trials.
func (r *diffRun) retryOne(t *testing.T, cases []*diffCase, trials []diffTrial, p diffPeer) []*diffFinding {
	t.Helper()
	out := make([]*diffFinding, len(trials))
	t.Run("shrink", func(t *testing.T) {
		set, files := mendCases(t, &cases)
		one := newDiffRun([]diffPeer{p})
		one.every = true
		_, found := one.compare(t, set, files, cases, trials, one.peers)
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
	return set != nil
}

// shrink makes a trial smaller while it fails: first the case, by chunks of records and single ones, then the query. fails judges
// many trials at once.
func shrink(tr diffTrial, fails func([]diffTrial) []bool) diffTrial {
	var single []int // records that may each go
	for range 30 {
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
