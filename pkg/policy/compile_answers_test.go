package policy_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"geodns/pkg/policy"
	"geodns/pkg/steering"
	"geodns/pkg/zone"
)

// stateWords are the words of verdictsOf.
var stateWords = map[string]steering.State{"up": steering.Up, "degraded": steering.Degraded, "down": steering.Down, "unknown": steering.Unknown}

// verdictsOf reads targets' verdicts such as "f1: down doubt, a1: drained, i1: closed"; closed admits nothing. All others
// are up.
func verdictsOf(c *policy.Compiled, text string) map[string]steering.Verdict {
	out := map[string]steering.Verdict{}
	for part := range strings.SplitSeq(text, ",") {
		name, words, _ := strings.Cut(strings.TrimSpace(part), ": ")
		v := steering.Unchecked()
		for word := range strings.FieldsSeq(words) {
			if s, ok := stateWords[word]; ok {
				v.State = s
			}
			v.InDoubt = v.InDoubt || word == "doubt" || word == "unknown"
			v.Drained = v.Drained || word == "drained"
			if word == "closed" {
				v.Admit = 0
			}
		}
		for _, t := range c.Document.Targets {
			if t.Name == name || name == "*" {
				out[t.ID] = v
			}
		}
	}
	return out
}

// TestAnswers has a case for each rule of the design's section 5, steps 5 to 8 and 10: which targets can be drawn, of
// what pass, and with which TTL. The record's TTL is 100.
func TestAnswers(t *testing.T) {
	const pools = `
pools:
  - {name: web, fallback: dr, min_up: 2, targets: [
      {name: f1, region: fra, values: [192.0.2.1]}, {name: f2, region: fra, values: [192.0.2.2]}, {name: i1, region: iad, values: [192.0.2.4]}]}
  - {name: dr, targets: [{name: d1, region: iad, values: [203.0.113.1]}, {name: d2, region: fra, values: [203.0.113.2]}]}
  - {name: part, fallback: dr, min_up: 67%, targets: [
      {name: p1, region: fra, values: [192.0.2.1]}, {name: p2, region: fra, values: [192.0.2.2]}, {name: p3, region: iad, values: [192.0.2.4]}]}
  - {name: four, fallback: six, targets: [{name: v4, region: fra, values: [192.0.2.1]}, {name: v46, region: iad, values: [192.0.2.2, "2001:db8::2"]}]}
  - {name: six, min_up: 1, targets: [{name: v6, region: fra, values: ["2001:db8::1"]}]}
`
	flat, listed := "{name: all, pool: web}", "{name: all, pool: web, rank: [listed]}"
	eu := "{name: unplaced, geos: [unknown], pool: web, rank: [listed], fence: [eu]}, {name: all, pool: web, fence: none}"
	for _, c := range []struct {
		name, keys, rules, verdicts string
		want                        string // the targets that random numbers draw; then pass and TTL
	}{
		{"all are up", "all_down: servfail", flat, "", "f1 f2 i1; 1 60"},
		{"up, degraded", "all_down: servfail", flat, "f1: down, i1: degraded", "f2 i1; 1 60"},
		{"unknown ones stand behind the others of their tier", "all_down: servfail", flat, "f1: unknown, i1: degraded, f2: closed", "i1; 1 60"},
		{"and answer before the next tier", "all_down: servfail", flat, "f1: unknown, i1: unknown, f2: down", "f1 i1; 1 15"},
		{"drained is absent", "all_down: serve-all", listed, "f1: drained doubt", "f2; 1 60"},
		{"every target drained", "all_down: serve-all", flat, "*: drained", "failed"},
		{"every target drained, serve-first", "all_down: serve-first", flat, "*: drained down", "failed"},
		{"in doubt in the answer", "all_down: servfail, ttl: {min: 7, max: 200}", listed, "f1: doubt", "f1; 1 7"},
		{"in doubt before the answer", "all_down: servfail, ttl: {min: 7, max: 200}", listed, "f1: down doubt", "f2; 1 7"},
		{"in doubt behind the answer", "all_down: servfail, ttl: {min: 7, max: 200}", listed, "f2: down doubt, i1: doubt", "f1; 1 100"},
		{"the record's TTL is less than the policy's", "all_down: servfail, ttl: {min: 150, max: 200}", listed, "f1: doubt", "f1; 1 100"},
		{"min_up, its tiers passed over in the first pass", "all_down: servfail", listed, "f1: down, i1: down doubt", "d1; 1 15"},
		{"min_up counts what admits nothing", "all_down: servfail", flat, "f1: down, f2: closed", "i1; 1 60"},
		{"min_up counts no drained targets", "all_down: servfail", flat, "f1: drained, f2: down", "d1 d2; 1 60"},
		{"min_up is ignored in the second pass", "all_down: servfail", flat, "f1: down, f2: down, d1: down, d2: closed", "i1; 2 60"},
		{"min_up of a part, rounded up", "all_down: servfail", "{name: all, pool: part}", "p1: down", "d1 d2; 1 60"},
		{"admit is ignored in the second pass", "all_down: servfail", listed, "f1: closed, f2: down, i1: closed, d1: down, d2: closed", "f1; 2 60"},
		{"serve-all: of the plan's first pool", "all_down: serve-all", flat, "*: down", "f1 f2 i1; 3 15"},
		{"serve-all: if that has none, of the next", "all_down: serve-all", flat, "*: down, f1: drained, f2: drained, i1: drained", "d1 d2; 3 15"},
		{"serve-all: of the first tier", "all_down: serve-all", listed, "*: down, f1: drained down", "f2; 3 15"},
		{"serve-first", "all_down: serve-first", flat, "*: down", "f1; 3 15"},
		{"serve-first, the first drained", "all_down: serve-first", flat, "*: down, f1: drained", "f2; 3 15"},
		{"servfail", "all_down: servfail", flat, "*: down", "failed"},
		{"several, from one tier alone", "all_down: servfail, answers: 4", "{name: all, pool: web, rank: [nearest]}, ", "f1: down", "f2+i1; 1 60"},
		{"a fence holds when all inside are down", "all_down: serve-all", eu, "f1: down, f2: down, d2: down", "f1; 3 15"},
		{"a fence holds when all inside are drained", "all_down: serve-all", eu, "f1: drained, f2: drained, d2: drained", "failed"},
		{"families: a target without the type is absent", "all_down: serve-all, families: separate", "{name: all, pool: four, rank: [listed]}", "v46: down", "v4; 1 60"},
		{"families: an absent one is not revived", "all_down: serve-all, families: separate", "{name: all, pool: four, rank: [{cost: {band: 100}}]}", "*: down", "v4 v46; 3 15"},
		{"a min_up without fallback says nothing", "all_down: servfail", "{name: all, pool: dr}", "d1: down", "d2; 1 60"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := smallRegions + pools + "policies: [{name: www, " + c.keys + ", rules: [" + c.rules + "]}]\n"
			compiled := compile(t, load(t, text), smallWorld)
			if got := drawn(t, compiled, verdictsOf(compiled, c.verdicts)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// drawn tells what an unknown client is answered by a hundred random numbers: the distinct answers, the last pass and TTL.
func drawn(t *testing.T, c *policy.Compiled, verdicts map[string]steering.Verdict) string {
	t.Helper()
	s := states(t, c, verdicts)
	var sets []string
	rest := ""
	for i := range uint64(100) {
		q := twinQuestion{policy: "www", source: netip.MustParseAddr("10.200.0.1"), ttl: 100, random: i * 0x9E3779B97F4A7C15}
		a, _ := decide(c, s, &q, nil)
		if a.failed {
			return "failed"
		}
		var names []string
		for _, id := range a.targets {
			names = append(names, id[strings.Index(id, "/")+1:])
		}
		if set := strings.Join(names, "+"); !slices.Contains(sets, set) {
			sets = append(sets, set)
		}
		rest = fmt.Sprintf("; %d %d", a.pass, a.ttl)
	}
	slices.Sort(sets)
	return strings.Join(sets, " ") + rest
}

// TestScopes has a case for each rule of the design's section 5.11.
func TestScopes(t *testing.T) {
	places := networksOf(map[string]string{
		"10.0.0.0/8": "EU-DE", "11.0.0.0/8": "EU-FR", "12.0.0.0/7": "NA-US", "12.34.56.0/24": "EU-DE", "14.0.0.0/12": "EU", "14.16.0.0/12": "EU-DE",
		"2001:db8::/32": "EU-DE", "2001:db8:1:1200::/56": "NA-US",
	})
	europe := policyOf("{name: eu, geos: [EU], pool: alone}", `{name: sub, subnets: [10.0.0.16/28, "2001:db8::/60"], pool: alone}`, "{name: all, pool: dr}")
	fixed := policyOf("{name: all, pool: web, rank: [cost]}")
	for _, c := range []struct {
		name, text string
		lost       bool
		want       map[string]uint8 // by ECS
	}{
		{"the shortest prefix with one plan, even beyond SOURCE", europe, false, map[string]uint8{
			"10.1.2.0/24": 8, "11.0.0.0/9": 8, "12.0.0.0/8": 11, "12.34.56.0/24": 24, "12.34.57.0/24": 24, "12.34.58.0/24": 23, "13.0.0.0/8": 8, "14.0.0.0/24": 11, "14.31.0.0/16": 11,
			"0.0.0.0/1": 8, "200.1.2.3/32": 8, "2001:db8::/32": 48, "2001:db8:8::/48": 45, "2001:db8:1:1200::/56": 56, "2001:db8:1:1300::/56": 56, "2001:db9::/32": 32, "4000::/3": 16, "2001:db8:8000::/33": 33,
		}},
		{"a subnet longer than a block is its own", policyOf(`{name: sub, subnets: [10.0.0.16/28, 10.0.0.24/29, "2001:db8::/60"], pool: alone}`, "{name: all, pool: dr}"), false, map[string]uint8{
			"10.0.0.16/28": 28, "10.0.0.17/32": 28, "10.0.0.16/27": 8, "10.0.0.32/28": 8, "10.0.0.25/32": 29, "2001:db8::/60": 60, "2001:db8::1/128": 60, "2001:db8::/56": 16,
		}},
		{"a text that does not depend on the client", fixed, false, map[string]uint8{"10.1.2.0/24": 0, "2001:db8::/48": 0}},
		{"nor does it with lost geo data", fixed, true, map[string]uint8{"10.1.2.0/24": 0}},
		{"lost geo data", europe, true, map[string]uint8{"10.1.2.0/24": 24, "10.0.0.0/4": 4, "10.1.2.3/32": 24, "2001:db8:5::/64": 56, "2001:db8::/64": 60, "2001:db8::/20": 20}},
		{"pick: hash", strings.Replace(fixed, "all_down", "pick: hash, all_down", 1), false, map[string]uint8{"10.0.0.0/8": 24, "10.1.2.3/32": 24, "2001:db8::/32": 48, "2001:db8::/64": 48}},
		{"pick: hash in cells longer and shorter than its networks", strings.Replace(europe, "all_down", "pick: hash, all_down", 1), false, map[string]uint8{
			"10.0.0.0/8": 24, "12.34.56.0/24": 24, "2001:db8::/32": 48, "2001:db8:1:1200::/56": 56,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			compiled, found := policy.Compile(load(t, smallRegions+eight+c.text), policy.Input{Networks: places, GeoLost: c.lost})
			if compiled == nil {
				t.Fatal(lines(found))
			}
			for ecs, want := range c.want {
				if _, got := planOf(t, compiled, netip.MustParsePrefix(ecs)); got != want {
					t.Errorf("ECS %s: scope %d, want %d", ecs, got, want)
				}
			}
			q := twinQuestion{policy: "www", source: netip.MustParseAddr("10.1.2.3"), ecs: netip.MustParsePrefix("0.0.0.0/0")}
			if got, _ := decide(compiled, states(t, compiled, nil), &q, nil); got.scope != 0 {
				t.Errorf("SOURCE 0: scope %d", got.scope)
			}
		})
	}
}

// TestPlanTiersMax: a plan keeps 16 tiers, and the rest is one last tier, across pools, in which the pool stands before its
// fallback even if another rule names that first.
func TestPlanTiersMax(t *testing.T) {
	var pools strings.Builder
	pools.WriteString("pools:\n")
	for _, p := range []string{"name: web, fallback: dr", "name: dr"} {
		pools.WriteString("  - {" + p + ", targets: [")
		for c := 'a'; c <= 't'; c++ {
			pools.WriteString("{name: " + string(c) + "1, region: nrt, values: [192.0.2.1]},")
		}
		pools.WriteString("]}\n")
	}
	compiled := compile(t, load(t, smallRegions+pools.String()+policyOf("{name: eu, geos: [EU], pool: dr}", "{name: all, pool: web, rank: [listed]}")), smallWorld)
	got, _ := planOf(t, compiled, netip.MustParsePrefix("10.200.0.0/24"))
	tiers := strings.Split(got, " | ")
	if len(tiers) != 17 || tiers[15] != "p1" || tiers[16] != "q1 r1 s1 t1 a1 b1 c1 d1 e1 f1 g1 h1 i1 j1 k1 l1 m1 n1 o1 p1 q1 r1 s1 t1" {
		t.Errorf("%d tiers: %s", len(tiers), got)
	}
}

// TestPairsOfLeft: a tier's pairs are those of what earlier tiers left of it, and pairs bring no pairs of their own.
func TestPairsOfLeft(t *testing.T) {
	compiled := compile(t, load(t, `
regions: [{name: a, pair: b, cost: 1}, {name: b, pair: e, cost: 2}, {name: c, cost: 2}, {name: d, cost: 3}, {name: e, cost: 4}]
pools: [{name: web, targets: [{name: d1, region: d, values: [192.0.2.1]}, {name: e1, region: e, values: [192.0.2.1]}, {name: c1, region: c, values: [192.0.2.1]},
  {name: b1, region: b, values: [192.0.2.1]}, {name: a1, region: a, values: [192.0.2.1]}]}]
`+policyOf("{name: all, pool: web, rank: [cost]}")), smallWorld)
	if got, _ := planOf(t, compiled, netip.MustParsePrefix("10.0.0.0/24")); got != "a1 | b1 | c1 | d1 | e1" {
		t.Errorf("plan %s", got)
	}
}

// TestCompileErrors: what only clients' places can show.
func TestCompileErrors(t *testing.T) {
	const pools = `
pools:
  - {name: web, targets: [{name: f1, region: fra, values: [192.0.2.1]}, {name: i1, region: iad, values: [192.0.2.4]}]}
  - {name: mixed, targets: [{name: v4, region: fra, values: [192.0.2.1]}, {name: v46, region: iad, values: [192.0.2.2, "2001:db8::2"]}]}
maps: [{name: m, areas: {default: ["*"], EU: [fra], NA: [iad], AS-JP: [nrt]}, subnets: {192.88.99.0/25: [nrt]}}]
`
	fenced := func(rule string) string {
		return "policies: [{name: www, all_down: servfail, families: separate, rules: [" + rule + ", {name: unplaced, geos: [unknown], pool: web, fence: none}, {name: all, pool: web, fence: none}]}]\n"
	}
	for _, c := range []struct{ name, text, want string }{
		{
			"a fence and a map that have no region in common", fenced("{name: part, geos: [EU], asns: [64500], pool: web, rank: [{map: m}], fence: [us]}"),
			`rule "part" of policy "www" leaves clients in EU-DE nothing: no target there meets the fence [us]`,
		},
		{"the same where there are no such clients", fenced("{name: part, geos: [EU], asns: [64999], pool: web, rank: [{map: m}], fence: [us]}"), ""},
		{
			"an area of clients who have only an AS number", fenced("{name: part, asns: [64501], pool: web, rank: [{map: m}], fence: none}"),
			`rule "part" of policy "www" leaves clients in AS-JP nothing: its map leads to no target of the pool`,
		},
		{
			"a long subnet", fenced("{name: part, geos: [unknown, EU], subnets: [192.88.99.0/24, 192.88.99.0/25], pool: web, rank: [{map: m}], fence: none}"),
			`rule "part" of policy "www" leaves clients in no known place nothing: its map leads to no target of the pool`,
		},
		{
			"a long override", fenced("{name: part, geos: [NA], subnets: [10.9.0.0/16], pool: web, rank: [{map: m}], fence: [eu]}"),
			`rule "part" of policy "www" leaves clients in NA-US nothing: no target there meets the fence [eu]`,
		},
		{"its place elsewhere is nobody's", fenced("{name: part, geos: [NA], subnets: [10.5.0.0/16], pool: web, rank: [{map: m}], fence: [eu]}"), ""},
		{
			"types that depend on the client", policyFamilies("{name: part, asns: [64500], pool: mixed, rank: [{map: m}]}, {name: all, pool: mixed}"),
			`rule "part" of policy "www" leaves some clients no target with an IPv6 address, which other clients have: what exists must not depend on the client`,
		},
		{"a type that no client has", policyFamilies("{name: unplaced, geos: [unknown], pool: mixed, fence: [eu]}, {name: all, pool: mixed, fence: [eu]}"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			compiled, found := policy.Compile(load(t, smallRegions+pools+c.text), policy.Input{Networks: smallWorld})
			got := lines(found)
			if (compiled == nil) != (c.want != "") || !strings.Contains(got, c.want) {
				t.Errorf("compiled %t, findings:\n%swant:\n%s", compiled != nil, got, c.want)
			}
			for _, f := range found {
				if f.File != "a.yaml" || f.Line < 2 {
					t.Errorf("no place: %s", f)
				}
			}
			if compiled != nil && c.name == "a type that no client has" && compiled.Table.Offers(0, steering.AAAA) {
				t.Error("AAAA is offered")
			}
		})
	}
}

func policyFamilies(rules string) string {
	return "policies: [{name: www, all_down: servfail, families: separate, rules: [" + rules + "]}]\n"
}

// TestFlatten: host names of our own zones become addresses, and what cannot is refused.
func TestFlatten(t *testing.T) {
	set := zones(t, map[string]string{"example.com": `
@     300 IN SOA   ns1 hostmaster 1 7200 3600 1209600 300
@     300 IN NS    ns1
ns1   300 IN A     192.0.2.53
both  300 IN A     192.0.2.1
both  300 IN A     192.0.2.2
both  300 IN AAAA  2001:db8::1
four  300 IN A     192.0.2.4
alias 300 IN CNAME both
text  300 IN TXT   "no address"
www   300 IN STEER other
many  300 IN A     192.0.2.11
many  300 IN A     192.0.2.12
many  300 IN A     192.0.2.13
many  300 IN A     192.0.2.14
many  300 IN A     192.0.2.15
many  300 IN A     192.0.2.16
many  300 IN A     192.0.2.17
many  300 IN A     192.0.2.18
many  300 IN A     192.0.2.19
`})
	for _, c := range []struct {
		hosts string
		keys  string
		zones *zone.Set
		want  string // "" or a finding, else addresses
	}{
		{"both alias", "", set, "192.0.2.1 192.0.2.2 2001:db8::1, 192.0.2.1 192.0.2.2 2001:db8::1"},
		{"four four", "", set, "192.0.2.4, 192.0.2.4"},
		{"both four", ", families: separate", set, "192.0.2.1 192.0.2.2 2001:db8::1, 192.0.2.4"},
		{"both four", "", set, `targets web/t0 and web/t1 of policy "www" have addresses of different families; give all the same, or the policy ` + "`families: separate`"},
		{"both none", "", set, `policy "www" flattens none.example.com., which has no A or AAAA record`},
		{"both text", "", set, `policy "www" flattens text.example.com., which has no A or AAAA record`},
		{"www", "", set, `policy "www" flattens www.example.com., which is steered itself: name a host with A and AAAA records`},
		{"lb.example.net.", "", set, `policy "www" flattens lb.example.net., which is in none of our zones: give its addresses, or leave ` + "`flatten` out"},
		{"many", "", set, `policy "www" flattens many.example.com., which has more than 8 addresses of a family`},
		{"both", "", nil, `policy "www" flattens both.example.com., and there are no zones`},
	} {
		t.Run(c.hosts+c.keys, func(t *testing.T) {
			var text strings.Builder
			text.WriteString("pools:\n  - {name: web, targets: [")
			for i, host := range strings.Fields(c.hosts) {
				if !strings.HasSuffix(host, ".") {
					host += ".example.com."
				}
				text.WriteString("{name: t" + string(rune('0'+i)) + ", region: fra, values: [" + host + "]},")
			}
			text.WriteString("]}\npolicies: [{name: www, all_down: servfail, flatten: true" + c.keys + ", rules: [{name: all, pool: web}]}, {name: plain, all_down: servfail, rules: [{name: all, pool: web}]}]\n")
			compiled, found := policy.Compile(load(t, smallRegions+text.String()), policy.Input{Networks: smallWorld, Zones: c.zones})
			if compiled == nil {
				if !strings.Contains(lines(found), c.want) {
					t.Errorf("found %swant %s", lines(found), c.want)
				}
				return
			}
			var got []string
			for _, target := range compiled.Targets[len(compiled.Document.Targets):] {
				var all []string
				for _, a := range slices.Concat(target.V4, target.V6) {
					all = append(all, a.String())
				}
				got = append(got, strings.Join(all, " "))
			}
			if strings.Join(got, ", ") != c.want {
				t.Errorf("addresses %s, want %s", strings.Join(got, ", "), c.want)
			}
			ids := compiled.PolicyIDs()
			if !compiled.Table.Offers(ids["www"], steering.A) || compiled.Table.Offers(ids["www"], steering.Host) || !compiled.Table.Offers(ids["plain"], steering.Host) {
				t.Error("wrong types")
			}
			if compiled.Table.Layouts() != 1 {
				t.Errorf("%d layouts", compiled.Table.Layouts())
			}
		})
	}
}
