package policy_test

import (
	"net/netip"
	"slices"
	"testing"

	"geodns/pkg/geo"
	"geodns/pkg/policy"
	"geodns/pkg/steering"
)

// sampleText is the least that compiles.
const sampleText = `
regions: [{name: r}]
pools: [{name: p, targets: [{name: a, region: r, values: [192.0.2.1]}]}]
policies: [{name: p, all_down: serve-all, rules: [{name: all, pool: p}]}]
`

// compileOn compiles a text for networks.
func compileOn(t *testing.T, text string, n *geo.Networks) *policy.Compiled {
	t.Helper()
	doc, found := parseText(text)
	if doc == nil {
		t.Fatal(lines(found))
	}
	c, found := policy.Compile(doc, policy.Input{Networks: n})
	if c == nil {
		t.Fatal(lines(found))
	}
	return c
}

// TestSampleClients holds that the placed blocks are sampled evenly, in order, and none else.
func TestSampleClients(t *testing.T) {
	n := &geo.Networks{Places: geo.NewPlaces([]geo.Place{{}, {Country: "DE", Continent: "EU"}, {ASN: 64500}, {Continent: "NA"}})}
	n.V4 = []geo.Run{{Start: 0}, {Start: 100, Place: 1}, {Start: 103, Place: 2}, {Start: 200, Place: 3}, {Start: 201, Place: 1}, {Start: 202}, {Start: 1<<24 - 2, Place: 1}}
	n.V6 = []geo.Run{{Start: 0, Place: 1}}
	c := compileOn(t, sampleText, n)
	placed := []string{"0.0.100.0/24", "0.0.101.0/24", "0.0.102.0/24", "0.0.200.0/24", "0.0.201.0/24", "255.255.254.0/24", "255.255.255.0/24"}
	for _, tt := range []struct {
		n    int
		want []string
	}{
		{0, nil},
		{1, []string{placed[3]}},
		{2, []string{placed[1], placed[5]}},
		{7, placed},
		{14, []string{
			placed[0], placed[0], placed[1], placed[1], placed[2], placed[2], placed[3], placed[3], placed[4], placed[4], placed[5], placed[5], placed[6], placed[6],
		}},
	} {
		var got []string
		for _, p := range c.SampleClients(tt.n) {
			got = append(got, p.String())
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%d: got %v, want %v", tt.n, got, tt.want)
		}
	}
	// Each is taken as often as any other, give or take one.
	count := map[netip.Prefix]int{}
	for _, p := range c.SampleClients(1000) {
		count[p]++
	}
	for p, k := range count {
		if k < 1000/7 || k > 1000/7+1 || len(count) != 7 {
			t.Errorf("%s is taken %d times", p, k)
		}
	}
}

// TestSampleUnplaced holds what stands for clients where none is placed.
func TestSampleUnplaced(t *testing.T) {
	c := compileOn(t, sampleText, &geo.Networks{Places: geo.NewPlaces([]geo.Place{{}}), V4: []geo.Run{{}}, V6: []geo.Run{{}}})
	got := c.SampleClients(222 << 16)
	if first, last := got[0].String(), got[len(got)-1].String(); first != "1.0.0.0/24" || last != "223.255.255.0/24" {
		t.Errorf("from %s to %s", first, last)
	}
	for i, p := range got {
		if first := p.Addr().As4()[0]; first == 127 || i > 0 && !got[i-1].Addr().Less(p.Addr()) {
			t.Fatalf("%s behind %s", p, got[i-1])
		}
	}
}

// TestPlanSets compares the sets of plans with what Decide's trace shows of clients, in random worlds.
func TestPlanSets(t *testing.T) {
	r := seeded(t)
	worlds := 30
	if prove() {
		worlds = 1000
	}
	set, refused := flatZone(t), 0
	for range worlds {
		w := randomWorld(t, r, set, &refused)
		c := w.compiled
		states, err := steering.NewStates(c.Table, make([]steering.Verdict, len(c.Targets)))
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range c.Document.Policies {
			known, reached := map[string]bool{}, map[steering.TargetID]bool{}
			for _, plan := range c.Plans(p) {
				known[setText(plan.Targets)] = true
				if !slices.Contains(p.Rules, plan.Rule) || len(plan.Targets) == 0 {
					t.Fatalf("policy %s: %+v", p.Name, plan)
				}
				for _, id := range plan.Targets {
					reached[id] = true
				}
			}
			for _, id := range c.Table.Reaches(steering.PolicyID(i)) {
				if !reached[id] {
					t.Fatalf("policy %s: target %d is in no plan", p.Name, id)
				}
			}
			for range 200 {
				a := w.address()
				var d steering.Decision
				var tr steering.Trace
				q := steering.Query{Policy: steering.PolicyID(i), Client: steering.ClientFrom(netip.PrefixFrom(a, a.BitLen()))}
				steering.Decide(c.Table, states, &q, &d, &tr)
				var ids []steering.TargetID
				for _, tier := range tr.Tiers {
					for _, target := range tier.Targets {
						ids = append(ids, target.ID)
					}
				}
				if !known[setText(ids)] {
					t.Fatalf("policy %s: the plan of %s is not among %v: %v\n%s", p.Name, a, known, ids, w.text)
				}
			}
		}
	}
}

// setText is a set of targets as a map's key.
func setText(ids []steering.TargetID) string {
	var b []byte
	for _, id := range slices.Sorted(slices.Values(ids)) {
		b = append(b, byte(id>>8), byte(id))
	}
	return string(b)
}
