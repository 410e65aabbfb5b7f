package policy_test

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"geodns/internal/source"
	"geodns/pkg/geo"
	"geodns/pkg/health"
	"geodns/pkg/policy"
	"geodns/pkg/rum"
)

// load reads one file that must be right.
func load(t testing.TB, text string) *policy.Document {
	t.Helper()
	var found source.Findings
	doc := policy.Join([]*policy.File{policy.Parse("a.yaml", []byte(text), &found)}, &found)
	if doc == nil {
		t.Fatalf("refused:\n%s", lines(found))
	}
	return doc
}

func TestDefaults(t *testing.T) {
	doc := load(t, `
regions: [{name: fra}]
checks:
  - {name: http, http: {}}
  - {name: https, https: {}}
  - {name: quick, tcp: {port: 25}, interval: 1s}
pools: [{name: web, targets: [{name: a, region: fra, values: [192.0.2.1]}]}]
policies: [{name: www, all_down: serve-first, rules: [{name: all, pool: web}]}]
`)
	for i, want := range []health.Check{
		{Name: "http", Kind: health.HTTP, Port: 80, Path: "/", Interval: 5 * time.Second, Timeout: 2 * time.Second, Fall: 3, Rise: 4},
		{Name: "https", Kind: health.HTTPS, Port: 443, Path: "/", Interval: 5 * time.Second, Timeout: 2 * time.Second, Fall: 3, Rise: 4},
		{Name: "quick", Kind: health.TCP, Port: 25, Interval: time.Second, Timeout: time.Second, Fall: 3, Rise: 4},
	} {
		want = want.WithDefaults()
		if got := *doc.Checks[i]; !reflect.DeepEqual(got, want) {
			t.Errorf("check %+v, want %+v", got, want)
		}
	}
	r := doc.Regions[0]
	if r.HasLocation || r.Pair != nil || r.Jurisdictions != nil || r.Cost != 0 || r.Capacity != 0 {
		t.Errorf("region %+v", r)
	}
	p := doc.Pools[0]
	if p.Check != nil || p.Fallback != nil || p.MinUp.Of(10) != 0 || p.Targets[0].Weight != 1 || p.Targets[0].Tags != nil || p.Targets[0].Capacity != 0 {
		t.Errorf("pool %+v", p)
	}
	www := doc.Policy("www")
	if www.TTLMin != 15 || www.TTLMax != 60 || www.Answers != 1 || www.Pick != policy.PickWeighted || www.FamiliesSeparate || www.Flatten ||
		www.AllDown != policy.ServeFirst || www.Hosts() {
		t.Errorf("policy %+v", www)
	}
	rule := www.Rules[0]
	if !rule.MatchesAll() || rule.Rank != nil || rule.FenceSet || rule.Fenced() || rule.Pool != p {
		t.Errorf("rule %+v", rule)
	}
}

// TestModel reads every key once and looks at what became of it.
func TestModel(t *testing.T) {
	doc := load(t, `
policies:
  - name: www
    ttl: {min: 5, max: 7}
    answers: 3
    pick: hash
    families: separate
    all_down: servfail
    rules:
      - {name: odd, geos: [NA-US-CA, unknown], subnets: [192.0.2.0/24, "2001:db8::/32"], asns: [64500, 4200000000], pool: web, fence: none}
      - {name: unplaced, geos: [unknown], pool: web, fence: [eu, de]}
      - name: all
        pool: web
        fence: none
        rank: [{map: m}, {latency: {band: 1.5ms, percentile: 95, dwell: 5m, min_samples: 100, jitter_weight: 0.5, error_weight: 2s, max_age: 1h}},
               {cost: {band: 0.01}}, {nearest: {band: 100.5km}}, listed]
maps:
  - {name: m, areas: {EU-DE: ["*", b, a], default: [b, "*", a], EU: [a, b, "*"], NA: [b]}, subnets: {192.0.2.0/24: [b]}}
pools:
  - {name: web, check: c, fallback: dr, min_up: 34%, targets: [
      {name: z, region: b, values: ["2001:db8::2", 192.0.2.2, 192.0.2.1], weight: 7, tags: [blue, green], capacity: 12.5},
      {name: v, region: a, values: [192.0.2.3, "2001:DB8::3"], weight: 1}]}
  - {name: dr, min_up: 0, targets: [{name: z, region: a, values: [192.0.2.4]}]}
  - {name: cdn, targets: [{name: z, region: a, values: [LB.Example.NET.]}]}
checks:
  - {name: c, https: {port: 8443, path: "/x?y=z", host: www.example.com, status: [204, 200], body: ok}, interval: 30s, timeout: 1500ms, fall: 1, rise: 2}
regions:
  - {name: b, location: [-33.95, 151.18], pair: a, jurisdictions: [eu, de], cost: 0.5, capacity: 10}
  - {name: a, location: [0, 0]}
`)
	b, web := doc.Regions[1], doc.Pools[2]
	a, dr := b.Pair, web.Fallback
	if b.Name != "b" || b.Index != 1 || !b.HasLocation || b.Lat != -33.95 || b.Lon != 151.18 || b.Cost != 0.5 || b.Capacity != 10 ||
		a.Name != "a" || !a.HasLocation || !b.Meets([]string{"x", "de"}) || b.Meets([]string{"x"}) || b.Meets(nil) {
		t.Errorf("regions %+v, %+v", a, b)
	}
	c := doc.Checks[0]
	if want := (health.Check{
		Name: "c", Kind: health.HTTPS, Port: 8443, Path: "/x?y=z", Host: "www.example.com", Status: []int{204, 200}, Body: "ok",
		Interval: 30 * time.Second, Timeout: 1500 * time.Millisecond, Fall: 1, Rise: 2,
	}).WithDefaults(); !reflect.DeepEqual(*c, want) {
		t.Errorf("check %+v, want %+v", *c, want)
	}
	if web.Name != "web" || web.Check != c || dr.Name != "dr" || web.MinUp.Of(2) != 1 || web.MinUp.Of(3) != 2 || web.MinUp.Of(0) != 0 {
		t.Errorf("pools %+v, %+v", web, dr)
	}
	z := web.Targets[0]
	if z.ID != "web/z" || z.Region != b || z.Pool != web || z.Weight != 7 || z.Capacity != 12.5 || !reflect.DeepEqual(z.Tags, []string{"blue", "green"}) ||
		!reflect.DeepEqual(z.V4, []netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.1")}) ||
		!reflect.DeepEqual(z.V6, []netip.Addr{netip.MustParseAddr("2001:db8::2")}) {
		t.Errorf("target %+v", z)
	}
	if h := doc.Pools[0].Targets[0]; h.Host != "lb.example.net." || h.V4 != nil || h.V6 != nil {
		t.Errorf("target %+v", h)
	}
	var ids []string
	for i, target := range doc.Targets {
		if target.Index != i {
			t.Errorf("target %s has index %d, not %d", target.ID, target.Index, i)
		}
		ids = append(ids, target.ID)
	}
	if want := []string{"cdn/z", "dr/z", "web/z", "web/v"}; !reflect.DeepEqual(ids, want) {
		t.Errorf("targets %v, want %v", ids, want)
	}
	orders := map[string]policy.Order{}
	for _, area := range doc.Maps[0].Areas {
		orders[area.Code.String()] = policy.Order{Regions: area.Order.Regions, Star: area.Order.Star}
	}
	if want := map[string]policy.Order{
		"":      {Regions: []*policy.Region{b, a}, Star: 1},
		"EU":    {Regions: []*policy.Region{a, b}, Star: 2},
		"EU-DE": {Regions: []*policy.Region{b, a}, Star: 0},
		"NA":    {Regions: []*policy.Region{b}, Star: -1},
	}; !reflect.DeepEqual(orders, want) || !doc.Maps[0].Areas[1].Default {
		t.Errorf("areas %+v, want %+v", orders, want)
	}
	if s := doc.Maps[0].Subnets[0]; s.Prefix != netip.MustParsePrefix("192.0.2.0/24") || s.Order.Regions[0] != b {
		t.Errorf("subnet %+v", s)
	}
	checkModelPolicy(t, doc)
}

func checkModelPolicy(t *testing.T, doc *policy.Document) {
	t.Helper()
	www := doc.Policies[0]
	if www.TTLMin != 5 || www.TTLMax != 7 || www.Answers != 3 || www.Pick != policy.PickHash || !www.FamiliesSeparate || www.AllDown != policy.ServFail {
		t.Errorf("policy %+v", www)
	}
	odd := www.Rules[0]
	if !reflect.DeepEqual(odd.Geos, []geo.Code{{Continent: "NA", Country: "US", Subdivision: "CA"}}) || !odd.Unknown || odd.MatchesAll() ||
		!reflect.DeepEqual(odd.Subnets, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}) ||
		!reflect.DeepEqual(odd.ASNs, []uint32{64500, 4200000000}) || !odd.FenceSet || !odd.FenceNone || odd.Fenced() {
		t.Errorf("rule %+v", odd)
	}
	if r := www.Rules[1]; !r.Fenced() || !reflect.DeepEqual(r.Fence, []string{"eu", "de"}) {
		t.Errorf("rule %+v", r)
	}
	rank := www.Rules[2].Rank
	wantKinds := []policy.RankerKind{policy.RankMap, policy.RankLatency, policy.RankCost, policy.RankNearest, policy.RankListed}
	wantBands := []float64{0, 1.5, 0.01, 100.5, 0}
	for i, r := range rank {
		if r.Kind != wantKinds[i] || r.Band != wantBands[i] || r.HasBand != (wantBands[i] > 0) || r.Place.Line == 0 {
			t.Errorf("ranker %d: %+v", i, r)
		}
	}
	if rank[0].Map != doc.Maps[0] {
		t.Errorf("map %+v", rank[0].Map)
	}
	if want := (rum.Options{
		Percentile: 95, Band: 1500 * time.Microsecond, Dwell: 5 * time.Minute, MinSamples: 100, JitterWeight: 0.5, ErrorWeight: 2 * time.Second, MaxAge: time.Hour,
	}); rank[1].Latency != want {
		t.Errorf("latency %+v, want %+v", rank[1].Latency, want)
	}
}

// TestOrderOfFiles: what is loaded does not depend on which file an entry stands in.
func TestOrderOfFiles(t *testing.T) {
	text := []string{
		"regions: [{name: a}, {name: b}]",
		"pools: [{name: x, targets: [{name: t, region: a, values: [192.0.2.1]}]}, {name: z, targets: [{name: t, region: b, values: [192.0.2.2]}]}]",
		"policies: [{name: q, all_down: servfail, rules: [{name: all, pool: z}]}, {name: p, all_down: servfail, rules: [{name: all, pool: x}]}]",
	}
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}} {
		var found source.Findings
		var files []*policy.File
		for _, i := range order {
			files = append(files, policy.Parse("f", []byte(text[i]), &found))
		}
		doc := policy.Join(files, &found)
		if doc == nil {
			t.Fatalf("refused:\n%s", lines(found))
		}
		if doc.Policies[0].Name != "p" || doc.Policies[1].Name != "q" || doc.Policies[1].Index != 1 || doc.Targets[0].ID != "x/t" || doc.Regions[0].Name != "a" {
			t.Errorf("order %v: %+v", order, doc)
		}
		if doc.Policy("q") != doc.Policies[1] || doc.Policy("r") != nil {
			t.Error("a policy is not found by its name")
		}
	}
}

// TestMinUpRounds shows that a percentage means what it says in decimals.
func TestMinUpRounds(t *testing.T) {
	for _, c := range []struct {
		percent float64
		of, min int
	}{{64.4, 250, 161}, {50, 3, 2}, {33.3, 1000, 333}, {33.31, 1000, 334}, {100, 7, 7}, {0, 7, 0}} {
		if got := (policy.MinUp{Percent: c.percent, IsPercent: true}).Of(c.of); got != c.min {
			t.Errorf("%g %% of %d is %d, want %d", c.percent, c.of, got, c.min)
		}
	}
}
