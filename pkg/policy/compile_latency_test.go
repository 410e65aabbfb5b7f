package policy_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"geodns/pkg/geo"
	"geodns/pkg/policy"
	"geodns/pkg/rum"
	"geodns/pkg/steering"
)

// ordersOf are orders taken at once, of scores in milliseconds by rung: a prefix, "AS64500 in US", a country or a continent.
func ordersOf(t testing.TB, doc *policy.Document, by map[string]string) (*rum.Decider, *rum.Orders) {
	t.Helper()
	d := rum.NewDecider()
	return d, d.Step(time.Unix(0, 0), policy.LatencyOptions(doc), scoredOf(t, by))
}

// scoredOf is what rungs say.
func scoredOf(t testing.TB, by map[string]string) func(rum.Options) []rum.Scored {
	t.Helper()
	var out []rum.Scored
	for name, text := range by {
		s := rum.Scored{Rung: rungOf(t, name)}
		for item := range strings.SplitSeq(text, ", ") {
			score, ms := rum.Score{Samples: 120, Jitter: 2 * time.Millisecond, Errors: 0.01, Age: 30 * time.Second}, 0.0
			if _, err := fmt.Sscanf(item, "%s %g", &score.Region, &ms); err != nil {
				t.Fatal(item, err)
			}
			score.Score = time.Duration(ms * float64(time.Millisecond))
			score.Quantile = score.Score - 6*time.Millisecond
			s.Scores = append(s.Scores, score)
		}
		out = append(out, s)
	}
	return func(rum.Options) []rum.Scored { return out }
}

func rungOf(t testing.TB, name string) rum.Rung {
	t.Helper()
	if strings.Contains(name, "/") {
		return rum.Rung{Kind: rum.RungPrefix, Prefix: netip.MustParsePrefix(name)}
	}
	if strings.HasPrefix(name, "AS") && len(name) > 2 {
		r := rum.Rung{Kind: rum.RungASN}
		if _, err := fmt.Sscanf(name, "AS%d in %s", &r.ASN, &r.Code); err != nil {
			t.Fatal(name, err)
		}
		return r
	}
	if _, _, isCountry := geo.CountryMiddle(name); isCountry && name != "AS" && name != "NA" {
		return rum.Rung{Kind: rum.RungCountry, Code: name}
	}
	return rum.Rung{Kind: rum.RungContinent, Code: name}
}

// TestLatencyPlans has a case for each thing that the latency ranker does.
func TestLatencyPlans(t *testing.T) {
	latency := "{name: all, pool: alone, rank: [latency]}"
	for _, c := range []struct {
		name, text string
		measured   map[string]string
		want       map[string]string // by client
	}{
		{"the finest rung that knows", latency, map[string]string{
			"10.1.7.0/24": "iad 10, fra 90, ams 200", "AS64500 in DE": "ams 10, fra 90, iad 200", "DE": "fra 10, ams 90, iad 200", "EU": "ams 10, iad 90, fra 200", "2001:db8:1::/48": "iad 10, ams 90, fra 200",
		}, map[string]string{
			"10.1.7.0/24": "i9 | f9 | a9", "10.1.7.9/32": "i9 | f9 | a9", "de": "f9 | a9 | i9", "10.9.0.0/24": "a9 | f9 | i9", "eu": "a9 | f9 | i9", "us": "f9 i9 a9", "nowhere": "f9 i9 a9",
			"as alone": "f9 i9 a9", "de6": "i9 | a9 | f9", "2001:db8:1:ff::/64": "i9 | a9 | f9",
		}},
		{"a rung of which one region alone is still there says nothing", latency, map[string]string{"DE": "fra 90, gone 10", "EU": "iad 10, gone 20, fra 90"}, map[string]string{"de": "i9 | f9 | a9"}},
		{"bands", "{name: all, pool: alone, rank: [{latency: {band: 20ms}}]}", map[string]string{"DE": "fra 10, ams 30, iad 50"}, map[string]string{"de": "f9 a9 | i9"}},
		{
			"a pool without the quickest region has bands of its own", "{name: all, pool: dr, rank: [{latency: {band: 20ms}}]}",
			map[string]string{"DE": "ams 10, fra 25, iad 40"},
			map[string]string{"de": "di df"},
		},
		{"what is not measured stands behind", latency, map[string]string{"DE": "iad 50, nrt 10"}, map[string]string{"de": "i9 | f9 a9"}},
		{"nothing of the pool is measured", latency, map[string]string{"DE": "nrt 50, sfo 10"}, map[string]string{"de": "f9 i9 a9"}},
		{"the cheapest within the band", "{name: all, pool: alone, rank: [{latency: {band: 100ms}}, cost]}", map[string]string{"DE": "fra 10, ams 12, iad 90"}, map[string]string{"de": "i9 | f9 | a9"}},
		{"behind a map, within its tiers", "{name: all, pool: alone, rank: [{map: m}, latency]}", map[string]string{"DE": "fra 90, ams 10, iad 50"}, map[string]string{"de": "i9 | a9 | f9"}},
		{"under the rule's own options", "{name: a, geos: [NA], pool: alone}", map[string]string{"DE": "fra 90, ams 10, iad 50"}, map[string]string{"de": "f9 i9 a9"}},
		{
			"within an operator's subnet", "{name: a, subnets: [10.1.7.0/28], pool: dr, rank: [latency]}, {name: b, subnets: [10.1.0.0/17], pool: alone, rank: [latency]}, {name: all, pool: dr}",
			map[string]string{"10.1.7.0/24": "iad 10, fra 90, ams 200", "10.1.8.0/24": "fra 10, iad 90, ams 200"},
			map[string]string{"10.1.7.0/24": "i9 | f9 | a9", "10.1.7.3/32": "di | df", "10.1.8.0/24": "f9 | a9 | i9", "10.1.9.0/24": "f9 i9 a9", "10.1.200.0/24": "di df"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			rules := c.text
			if !strings.Contains(rules, "name: all") {
				rules += ", {name: all, pool: alone}"
			}
			doc := load(t, smallRegions+eight+"maps: [{name: m, areas: {default: [iad, \"*\"]}, subnets: {}}]\n"+policyOf(rules))
			_, orders := ordersOf(t, doc, c.measured)
			compiled, found := policy.Compile(doc, policy.Input{Networks: smallWorld, Orders: orders})
			if compiled == nil {
				t.Fatal(lines(found))
			}
			for who, want := range c.want {
				client, err := netip.ParsePrefix(smallClients[who])
				if err != nil {
					client = netip.MustParsePrefix(who)
				}
				if got, _ := planOf(t, compiled, client); got != want {
					t.Errorf("client %s: plan %s, want %s", who, got, want)
				}
			}
		})
	}
}

// TestLatencyScopes: a network whose plan differs is published as it is, and what is around it in pieces; one whose plan is that of its neighbors is not cut out.
func TestLatencyScopes(t *testing.T) {
	doc := load(t, smallRegions+eight+policyOf("{name: all, pool: alone, rank: [latency]}"))
	plain := compile(t, doc, smallWorld)
	same := map[string]string{"DE": "fra 10, ams 40, iad 90", "10.1.7.0/24": "fra 20, ams 50, iad 99"}
	other := map[string]string{"DE": "fra 10, ams 40, iad 90", "10.1.7.0/24": "iad 20, ams 50, fra 99"}
	var tables []string
	for _, c := range []struct {
		measured map[string]string
		scopes   map[string]uint8
	}{
		{map[string]string{"DE": same["DE"]}, map[string]uint8{"10.1.7.0/24": 16, "10.1.6.0/24": 16}},
		{same, map[string]uint8{"10.1.7.0/24": 16, "10.1.6.0/24": 16}},
		{other, map[string]uint8{"10.1.7.0/24": 24, "10.1.6.0/24": 24, "10.1.4.0/24": 23, "10.1.128.0/24": 17}},
	} {
		_, orders := ordersOf(t, doc, c.measured)
		compiled, _ := policy.Compile(doc, policy.Input{Networks: smallWorld, Orders: orders})
		tables = append(tables, compiled.Table.ID())
		for client, want := range c.scopes {
			if plan, got := planOf(t, compiled, netip.MustParsePrefix(client)); got != want {
				t.Errorf("%v: client %s has %s with scope %d, want %d", c.measured, client, plan, got, want)
			}
		}
	}
	if tables[0] != tables[1] || tables[1] == tables[2] || tables[0] == plain.Table.ID() {
		t.Errorf("tables %v, and %s without orders", tables, plain.Table.ID())
	}
}

// explainsMeasured: programs are told what people are: by region what is measured now, and what the cheapest costs in time.
func explainsMeasured(t *testing.T, tiers []policy.Tier) {
	t.Helper()
	measured := []policy.Measured{
		{Region: "fra", Rung: "DE", Settled: 0.01, Now: &policy.MeasuredNow{Score: 0.011, Quantile: 0.005, Jitter: 0.002, Errors: 0.01, Samples: 120, Age: 30}},
		{Region: "iad", Rung: "DE", Settled: 0.0245},
	}
	want := []policy.Tier{
		{Measured: measured, Trade: &policy.Trade{Region: "iad", Quickest: "fra", Paid: 0.0145, Saved: 0.6}},
		{Measured: measured}, // the quickest
		{},                   // of its pair alone
	}
	if len(tiers) != len(want) {
		t.Fatalf("%d tiers, want %d", len(tiers), len(want))
	}
	for i := range want {
		got := policy.Tier{Measured: tiers[i].Measured, Trade: tiers[i].Trade}
		if diff := cmp.Diff(want[i], got, cmpopts.EquateApprox(0, 1e-12)); diff != "" {
			t.Errorf("tier %d: %s", i+1, diff)
		}
	}
}

// TestLatencyExplainUnknown: of a region that the group does not know there is its group, and no time.
func TestLatencyExplainUnknown(t *testing.T) {
	doc := load(t, smallRegions+eight+policyOf("{name: all, pool: alone, rank: [latency]}"))
	set := zones(t, map[string]string{"example.com": "@ 300 IN SOA ns1 h 1 7200 3600 1209600 300\n@ 300 IN NS ns1\nns1 300 IN A 192.0.2.53\nwww 60 IN STEER www\n"})
	_, orders := ordersOf(t, doc, map[string]string{"DE": "iad 50, nrt 10", "US": "nrt 50, sfo 10"})
	compiled, found := policy.Compile(doc, policy.Input{Networks: smallWorld, Orders: orders})
	if compiled == nil {
		t.Fatal(lines(found))
	}
	explained := func(client string) string {
		e, err := policy.Explain(policy.Scene{Zones: set, Compiled: compiled, States: states(t, compiled, map[string]steering.Verdict{})},
			policy.Question{Name: "www.example.com", Client: netip.MustParsePrefix(client)})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, tier := range e.Tiers {
			for _, m := range tier.Measured {
				out = append(out, fmt.Sprintf("%s %s %g %t", m.Rung, m.Region, m.Settled, m.Now != nil))
			}
			out = append(out, "|")
		}
		return strings.Join(out, " ")
	}
	for client, want := range map[string]string{
		"10.1.1.0/24": "DE iad 0.05 true | DE fra 0 false DE ams 0 false |",
		"10.3.1.0/24": "US fra 0 false US iad 0 false US ams 0 false |",
	} {
		if got := explained(client); got != want {
			t.Errorf("%s: %s, want %s", client, got, want)
		}
	}
}

// TestLatencyExplain: what an explanation tells of measurements, with the scores of now while the order stands.
func TestLatencyExplain(t *testing.T) {
	doc := load(t, smallRegions+eight+policyOf("{name: all, pool: alone, rank: [{latency: {band: 15ms}}, cost]}"))
	set := zones(t, map[string]string{"example.com": "@ 300 IN SOA ns1 h 1 7200 3600 1209600 300\n@ 300 IN NS ns1\nns1 300 IN A 192.0.2.53\nwww 60 IN STEER www\n"})
	decider, orders := ordersOf(t, doc, map[string]string{"DE": "fra 10, iad 24.5"})
	compiled, found := policy.Compile(doc, policy.Input{Networks: smallWorld, Orders: orders})
	if compiled == nil {
		t.Fatal(lines(found))
	}
	tiers := func(live *rum.Orders, client string) []policy.Tier {
		e, err := policy.Explain(policy.Scene{Zones: set, Compiled: compiled, States: states(t, compiled, map[string]steering.Verdict{}), Orders: live},
			policy.Question{Name: "www.example.com", Client: netip.MustParsePrefix(client)})
		if err != nil {
			t.Fatal(err)
		}
		return e.Tiers
	}
	why := func(live *rum.Orders, client string) string {
		var texts []string
		for _, tier := range tiers(live, client) {
			texts = append(texts, tier.Why)
		}
		return strings.Join(texts, "\n")
	}
	of := func(fra, iad string) string {
		latency := "pool alone; latency by DE: 10 ms and all within 15 ms of it (fra " + fra + "; iad " + iad + ")"
		return latency + "; cost: 0.1, 14.5 ms slower than fra and 0.6 cheaper\n" + latency + "; cost: 0.7\npool alone; pair of fra"
	}
	now := func(score, quantile string) string {
		return score + " ms now: quantile " + quantile + " ms, jitter 2.0 ms, errors 1 %, 120 samples, the last 30s ago"
	}
	if got, want := why(nil, "10.1.1.0/24"), of(now("10.0", "4.0"), now("24.5", "18.5")); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	live := decider.Step(time.Unix(30, 0), policy.LatencyOptions(doc), scoredOf(t, map[string]string{"DE": "fra 11, ams 100"}))
	if got, want := why(live, "10.1.1.0/24"), of(now("11.0", "5.0"), "not measured now"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	later := decider.Step(time.Unix(90, 0), policy.LatencyOptions(doc), scoredOf(t, map[string]string{"DE": "fra 11, ams 100"}))
	if got, want := why(later, "10.1.1.0/24"), of(now("10.0", "4.0"), now("24.5", "18.5")); later.Version() == live.Version() || got != want {
		t.Errorf("version %d after %d: got\n%s\nwant\n%s", later.Version(), live.Version(), got, want)
	}
	explainsMeasured(t, tiers(live, "10.1.1.0/24"))
	for i, tier := range tiers(nil, "10.3.1.0/24") {
		if tier.Measured != nil || tier.Trade != nil {
			t.Errorf("tier %d, of which nothing is measured: %+v, %+v", i, tier.Measured, tier.Trade)
		}
	}
	if got := why(nil, "10.3.1.0/24"); !strings.HasPrefix(got, "pool alone; latency: nothing measured; cost: 0.1") {
		t.Errorf("got\n%s", got)
	}
}
