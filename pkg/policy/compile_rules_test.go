package policy_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"geodns/pkg/geo"
	"geodns/pkg/policy"
	"geodns/pkg/steering"
)

// networksOf places prefixes, the longest decides: each as a geo code, AS number and location, all optional, as in
// "EU-DE-BY AS64500 @48.1,11.6".
func networksOf(places map[string]string) *geo.Networks {
	n, distinct := &geo.Networks{}, []geo.Place{{}}
	at := map[netip.Prefix]uint32{}
	starts := []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	for prefix, text := range places {
		var p geo.Place
		for word := range strings.FieldsSeq(text) {
			if _, err := fmt.Sscanf(word, "AS%d", &p.ASN); err == nil {
				continue
			}
			if _, err := fmt.Sscanf(word, "@%f,%f", &p.Lat, &p.Lon); err == nil {
				p.HasLocation = true
				continue
			}
			parts := append(strings.Split(word, "-"), "", "")
			p.Continent, p.Country, p.Subdivision = parts[0], parts[1], parts[2]
		}
		i := slices.Index(distinct, p)
		if i < 0 {
			i = len(distinct)
			distinct = append(distinct, p)
		}
		net := netip.MustParsePrefix(prefix)
		if twinLong(net) {
			n.Long = append(n.Long, geo.LongPlace{Prefix: net, Place: uint32(i)})
			continue
		}
		at[net] = uint32(i)
		starts = append(starts, net.Addr())
		if behind := last(net).Next(); behind.IsValid() {
			starts = append(starts, behind)
		}
	}
	slices.SortFunc(starts, netip.Addr.Compare)
	for _, a := range slices.Compact(starts) {
		run, longest := geo.Run{Start: steering.ClientFrom(netip.PrefixFrom(a, a.BitLen())).Hi >> 8}, -1
		for net, place := range at {
			if net.Contains(a) && net.Bits() > longest {
				run.Place, longest = place, net.Bits()
			}
		}
		runs := &n.V6
		if a.Is4() {
			runs = &n.V4
			run.Start >>= 32
		}
		if k := len(*runs); k == 0 || (*runs)[k-1].Place != run.Place {
			*runs = append(*runs, run)
		}
	}
	slices.SortFunc(n.Long, func(a, b geo.LongPlace) int { return comparePrefixes(a.Prefix, b.Prefix) })
	n.Places = geo.NewPlaces(distinct)
	return n
}

func comparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

// compile compiles what must compile.
func compile(t testing.TB, doc *policy.Document, networks *geo.Networks) *policy.Compiled {
	t.Helper()
	c, found := policy.Compile(doc, policy.Input{Networks: networks})
	if c == nil {
		t.Fatalf("refused:\n%s", lines(found))
	}
	return c
}

// smallWorld places a client each: de, by, us, ca, eu, jp and nowhere.
var smallWorld = networksOf(map[string]string{
	"10.1.0.0/16": "EU-DE", "10.2.0.0/16": "EU-DE-BY @48.1,11.6", "10.3.0.0/16": "NA-US", "10.4.0.0/16": "NA-US-CA AS64500",
	"10.5.0.0/16": "EU", "10.6.0.0/16": "AS-JP AS64501", "10.7.0.0/16": "AS-DE", "10.8.0.0/16": "AS64500",
	"10.9.0.0/16": "EU-DE AS64500", "10.9.1.128/25": "NA-US", "2001:db8:1::/48": "EU-DE", "2001:db8:1:0:8000::/65": "NA-US",
})

// smallClients are the clients of smallWorld.
var smallClients = map[string]string{
	"de": "10.1.1.0/24", "by": "10.2.1.0/24", "us": "10.3.1.0/24", "ca": "10.4.1.0/24", "eu": "10.5.1.0/24", "jp": "10.6.1.0/24",
	"de in asia": "10.7.1.0/24", "as alone": "10.8.1.0/24", "nowhere": "10.200.1.0/24", "de6": "2001:db8:1::/56",
}

// smallRegions are the regions that most cases use.
const smallRegions = `
regions:
  - {name: fra, location: [50.11, 8.68], pair: ams, jurisdictions: [eu], cost: 0.7}
  - {name: ams, location: [52.37, 4.90], pair: fra, jurisdictions: [eu], cost: 0.8}
  - {name: iad, location: [39.04, -77.49], pair: sfo, jurisdictions: [us], cost: 0.1}
  - {name: sfo, location: [37.62, -122.38], pair: iad, jurisdictions: [us], cost: 0.3}
  - {name: nrt, location: [35.76, 140.39], cost: 0.1}
`

// eight is a pool of eight targets in five regions, f1 and f2 in fra, and so on, and one of two behind it.
const eight = `
pools:
  - {name: web, fallback: dr, targets: [
      {name: f1, region: fra, values: [192.0.2.1]}, {name: f2, region: fra, values: [192.0.2.2]}, {name: a1, region: ams, values: [192.0.2.3]},
      {name: i1, region: iad, values: [192.0.2.4]}, {name: i2, region: iad, values: [192.0.2.5]}, {name: s1, region: sfo, values: [192.0.2.6]},
      {name: n1, region: nrt, values: [192.0.2.7]}, {name: n2, region: nrt, values: [192.0.2.8]}]}
  - {name: dr, targets: [{name: di, region: iad, values: [203.0.113.1]}, {name: df, region: fra, values: [203.0.113.2]}]}
  - {name: alone, targets: [{name: f9, region: fra, values: [192.0.2.9]}, {name: i9, region: iad, values: [192.0.2.10]}, {name: a9, region: ams, values: [192.0.2.11]}]}
`

// policyOf is a policy of rules.
func policyOf(rules ...string) string {
	return "policies: [{name: www, all_down: servfail, rules: [" + strings.Join(rules, ", ") + "]}]\n"
}

// planOf is a client's compiled plan: targets by name, "|" between tiers.
func planOf(t *testing.T, c *policy.Compiled, client netip.Prefix) (plan string, scope uint8) {
	t.Helper()
	var tr steering.Trace
	_, d := decide(c, states(t, c, nil), &twinQuestion{policy: c.Document.Policies[0].Name, ecs: client}, &tr)
	for i, tier := range tr.Tiers {
		if i > 0 {
			plan += " |"
		}
		for _, g := range tier.Targets {
			plan += " " + c.Targets[g.ID].Name
		}
	}
	return strings.TrimSpace(plan), d.Scope
}

// TestPlans has a case for each rule of the design's section 5, steps 2 to 4.
func TestPlans(t *testing.T) {
	maps := func(areas, subnets string) string {
		return "maps: [{name: m, areas: {" + areas + "}, subnets: {" + subnets + "}}]\n"
	}
	noSubnets := `192.88.99.0/24: ["*"]`
	for _, c := range []struct {
		name, text string
		want       map[string]string // by client
	}{
		{"no rank is one tier, pairs within", policyOf("{name: all, pool: alone}"), map[string]string{"nowhere": "f9 i9 a9", "de6": "f9 i9 a9"}},
		{"listed", policyOf("{name: all, pool: dr, rank: [listed]}"), map[string]string{"de": "di | df"}},
		{"pairs behind each tier, one tier of all", policyOf("{name: all, pool: web, rank: [listed]}"), map[string]string{
			"de": "f1 | a1 | f2 | i1 | s1 | i2 | n1 | n2 | di | df",
		}},
		{"cost: equal ones are one tier, the pairs' pair taken out", policyOf("{name: all, pool: web, rank: [cost]}"), map[string]string{
			"de": "i1 i2 n1 n2 | s1 | f1 f2 | a1 | di | df",
		}},
		{"cost within a band, as decimals", policyOf("{name: all, pool: web, rank: [{cost: {band: 0.1}}]}"), map[string]string{
			"de": "i1 i2 n1 n2 | s1 | f1 f2 a1 | di | df",
		}},
		{"bands begin anew", policyOf("{name: all, pool: alone, rank: [{cost: {band: 0.6}}]}"), map[string]string{"de": "f9 i9 | a9"}},
		{"nearest from the client, the country's and the continent's middle", policyOf("{name: all, pool: alone, rank: [nearest]}"), map[string]string{
			"by": "f9 | a9 | i9", "de": "f9 | a9 | i9", "us": "i9 | a9 | f9", "eu": "f9 | a9 | i9", "nowhere": "f9 i9 a9", "as alone": "f9 i9 a9",
		}},
		{"nearest with a band", policyOf("{name: all, pool: web, rank: [{nearest: {band: 400km}}]}"), map[string]string{
			"by": "f1 f2 a1 | i1 i2 | s1 | n1 n2 | df | di",
		}},
		{"latency knows nothing", policyOf("{name: all, pool: alone, rank: [{latency: {band: 15ms}}, cost]}"), map[string]string{"de": "i9 | f9 | a9"}},
		{"rankers from left to right", policyOf("{name: all, pool: web, rank: [{nearest: {band: 7000km}}, cost, listed]}"), map[string]string{
			"by": "i1 | s1 | i2 | f1 | a1 | f2 | n1 | n2 | di | df", // sfo is 9,500 km away, iad's pair all the same
		}},
		{"map: the most specific area, `default` for the unknown", maps(`default: [nrt], EU: [ams], EU-DE: [fra], EU-DE-BY: [iad], NA: [sfo]`, noSubnets) +
			policyOf("{name: all, pool: web, rank: [{map: m}]}"), map[string]string{
			"nowhere": "n1 n2", "jp": "n1 n2", "eu": "a1", "de": "f1 f2 | df", "by": "i1 i2 | di", "ca": "s1", "de in asia": "f1 f2 | df", "as alone": "n1 n2", "de6": "f1 f2 | df",
		}},
		{"map: regions without targets are skipped, those not listed unused", maps(`default: [nrt, iad, sfo, ams]`, noSubnets) +
			policyOf("{name: all, pool: alone, rank: [{map: m}]}"), map[string]string{"de": "i9 | a9"}},
		{"map: the star is all others, as one tier", maps(`default: [iad, "*", fra], NA: ["*", nrt]`, noSubnets) +
			policyOf("{name: all, pool: web, rank: [{map: m}]}"), map[string]string{
			"de": "i1 i2 | s1 | a1 n1 n2 | f1 f2 | di | df", "us": "f1 f2 a1 i1 i2 s1 | n1 n2 | di df",
		}},
		{"map: subnets beat areas, the longest first; so do those longer than a block where known", maps(`default: [iad], EU-DE: [fra]`,
			`10.1.0.0/16: [ams], 10.1.1.0/24: [nrt], 10.1.1.64/26: [sfo], "2001:db8:1::/64": [ams], "2001:db8:1::5/128": [nrt]`) +
			policyOf("{name: all, pool: web, rank: [{map: m}]}"), map[string]string{
			"de": "n1 n2", "10.1.2.0/24": "a1", "10.1.0.0/16": "a1", "10.2.0.0/16": "f1 f2 | df", "10.1.1.64/26": "s1", "10.1.1.65/32": "s1", "10.1.1.64/25": "n1 n2",
			"10.1.1.128/32": "n1 n2", "10.1.0.0/8": "i1 i2 | di", "2001:db8:1::/64": "a1", "2001:db8:1::/63": "f1 f2 | df", "2001:db8:1::5/128": "n1 n2", "2001:db8:1::4/127": "a1",
		}},
		{"map, then cost within its tiers", maps(`default: [sfo, "*"]`, noSubnets) + policyOf("{name: all, pool: web, rank: [{map: m}, cost]}"), map[string]string{
			"de": "s1 | i1 i2 | n1 n2 | f1 f2 | a1 | di | df", // iad comes early, as the pair of sfo
		}},
		{"a pair outside the map or the pool is none", maps(`default: [fra, nrt, iad]`, noSubnets) + policyOf("{name: all, pool: web, rank: [{map: m}]}"), map[string]string{
			"de": "f1 f2 | n1 n2 | i1 i2 | df | di",
		}},
		{"fence: targets, pairs and fallbacks", policyOf("{name: unplaced, geos: [unknown], pool: web, rank: [listed], fence: [us]}",
			"{name: eu, geos: [EU], pool: web, rank: [cost], fence: [eu]}", "{name: all, pool: web, rank: [cost], fence: none}"), map[string]string{
			"nowhere": "i1 | s1 | i2 | di", "de": "f1 f2 | a1 | df", "us": "i1 i2 n1 n2 | s1 | f1 f2 | a1 | di | df",
		}},
		{"rules: the first; kinds AND, values OR", policyOf("{name: a, geos: [EU-DE, NA-US-CA], asns: [64500, 64501], pool: dr, rank: [listed]}",
			"{name: b, asns: [64501], subnets: [10.6.0.0/15, 10.3.0.0/16], pool: alone, rank: [listed]}", "{name: c, geos: [unknown, AS], pool: alone}", "{name: d, pool: dr}"), map[string]string{
			"de": "di df", "ca": "di | df", "jp": "f9 | a9 | i9", "us": "di df", "as alone": "f9 i9 a9", "nowhere": "f9 i9 a9", "de in asia": "f9 i9 a9", "10.9.0.0/24": "di | df",
		}},
		{"a subnet longer than a block is for those known to be in it", policyOf(`{name: a, subnets: [10.1.1.128/25, 10.1.1.8/32, "2001:db8:1::/60"], pool: dr, rank: [listed]}`,
			"{name: b, pool: dr}"), map[string]string{
			"10.1.1.0/24": "di df", "10.1.1.128/25": "di | df", "10.1.1.200/32": "di | df", "10.1.1.8/31": "di df", "10.1.1.8/32": "di | df",
			"2001:db8:1::/56": "di df", "2001:db8:1::/60": "di | df", "2001:db8:1:f::1/128": "di | df", "2001:db8:1:10::1/128": "di df",
		}},
		{"an override longer than a block, too", policyOf(`{name: a, geos: [NA], pool: dr, rank: [listed]}`, "{name: b, pool: dr}"), map[string]string{
			"10.9.1.0/24": "di df", "10.9.1.128/25": "di | df", "10.9.1.130/32": "di | df", "10.9.1.1/32": "di df",
			"2001:db8:1::/56": "di df", "2001:db8:1:0:8000::/65": "di | df", "2001:db8:1:0:9000::/128": "di | df",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			compiled := compile(t, load(t, smallRegions+eight+c.text), smallWorld)
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
