package policy_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"geodns/pkg/policy"
	"geodns/pkg/steering"
)

// TestExplainIsDecide: what Explain says is answered is what Decide answers, for random worlds and questions. On the way
// Explain holds the plan that it names reasons for against the table's. Each change that it says to flip the answer is made, and does.
func TestExplainIsDecide(t *testing.T) {
	r, set, refused := seeded(t), flatZone(t), 0
	n := 3_000
	if prove() {
		n = 100_000
	}
	steers := map[string]uint32{}
	for _, s := range set.Steers() {
		steers[s.Policy] = s.TTL
	}
	seen := map[string]int{}
	for done := 0; done < n; {
		w := randomWorld(t, r, set, &refused)
		if len(w.twin.doc.Policies) == 0 {
			continue
		}
		for range 4 {
			verdicts := w.verdicts(w.twin.doc)
			s := states(t, w.compiled, verdicts)
			scene := policy.Scene{Zones: set, Compiled: w.compiled, States: s}
			for range 10 {
				p := one(r, w.twin.doc.Policies...)
				w.explain(t, scene, p, steers[p.Name], verdicts, seen)
				done++
			}
		}
	}
	t.Logf("%v", seen)
	for _, what := range []string{
		"goes down", "is drained", "comes up", "is undrained", "takes all", "doubt of", "pool has", "runner-up none", "runner-up some",
	} {
		if seen[what] == 0 {
			t.Errorf("%q was never claimed", what)
		}
	}
}

// explain asks one random question of a policy both ways.
func (w *world) explain(t *testing.T, scene policy.Scene, p *policy.Policy, ttl uint32, verdicts map[string]steering.Verdict, seen map[string]int) {
	t.Helper()
	name := one(w.r, "A", "AAAA", "")
	typ := map[string]steering.Type{"A": steering.A, "": steering.A, "AAAA": steering.AAAA}[name]
	if w.offered[p][steering.Host] {
		typ = steering.Host
	}
	q := w.question(p, typ)
	q.ttl = ttl
	client, ecs := q.client()
	e, err := policy.Explain(scene, policy.Question{Name: p.Name + ".flat.example", Type: name, Client: client, ECS: ecs, Random: q.random})
	if err != nil {
		t.Fatalf("%+v: %v\n%s", q, err, describe(w.scene, w.text))
	}
	if !w.offered[p][typ] {
		if len(e.Tiers) > 0 || !strings.HasPrefix(e.Note, "NODATA") || e.Scope != 0 {
			t.Fatalf("not offered, and explained as %s", e.Text())
		}
		return
	}
	var tr steering.Trace
	want, _ := decide(w.compiled, scene.States, &q, &tr)
	got := twinAnswer{targets: slices.Sorted(slices.Values(e.Choice)), ttl: e.TTL, scope: int(e.Scope), pass: e.Pass, failed: e.Rcode == "SERVFAIL"}
	if !slices.Equal(got.targets, want.targets) || got.ttl != want.ttl || got.scope != want.scope || got.failed != want.failed || !got.failed && got.pass != want.pass || e.ECS != ecs {
		t.Fatalf("%+v\nexplained %+v\ndecided   %+v\n%s", q, got, want, e.Text())
	}
	rule := w.twin.rule(p, client)
	if e.Rule != rule.Name || e.RuleAt != rule.Place.String() {
		t.Fatalf("%+v: rule %s at %s, the twin says %s at %s\n%s", q, e.Rule, e.RuleAt, rule.Name, rule.Place, describe(w.scene, w.text))
	}
	w.reasons(t, e, p, client, &tr)
	w.flips(t, e, &q, verdicts, seen)
}

// reasons checks that every tier and every target has a reason, and that those chosen are the answer.
func (w *world) reasons(t *testing.T, e *policy.Explanation, p *policy.Policy, client netip.Prefix, tr *steering.Trace) {
	t.Helper()
	var chosen []string
	var plan strings.Builder
	for i, tier := range e.Tiers {
		if !slices.ContainsFunc([]string{"pool ", "fallback pool ", "all behind "}, func(s string) bool { return strings.HasPrefix(tier.Why, s) }) {
			t.Fatalf("tier %d stands there for %q\n%s", i+1, tier.Why, e.Text())
		}
		plan.WriteString("|")
		for _, target := range tier.Targets {
			plan.WriteString(" " + target.ID)
			if target.Result == "chosen" || strings.HasPrefix(target.Result, "chosen (") {
				chosen = append(chosen, target.ID)
			}
			if target.Result == "candidate" || len(target.Values) == 0 {
				t.Fatalf("target %s: %q, values %v\n%s", target.ID, target.Result, target.Values, e.Text())
			}
		}
	}
	if plan.String() != w.twin.text(p, client) {
		t.Fatalf("plan %s, the twin has %s", plan.String(), w.twin.text(p, client))
	}
	slices.Sort(chosen)
	if !slices.Equal(chosen, slices.Sorted(slices.Values(e.Choice))) {
		t.Fatalf("targets with the result chosen: %v, of pass %d; the answer: %v\n%s", chosen, tr.Pass, e.Choice, e.Text())
	}
}

// TestExplainText compares explanations with testdata/compile/*.txt; -update writes them anew.
func TestExplainText(t *testing.T) {
	set := zones(t, map[string]string{"example.com": `
@      300 IN SOA   ns1 hostmaster 1 7200 3600 1209600 300
@      300 IN NS    ns1
ns1    300 IN A     192.0.2.53
www    60  IN STEER www
api    600 IN STEER api
cdn    600 IN STEER cdn
shop   60  IN CNAME www
old    60  IN DNAME new
*.new  60  IN STEER twin
mx     300 IN MX    10 ns1
mx     300 IN MX    20 ns1
sub    300 IN NS    ns.sub
ns.sub 300 IN A     192.0.2.54
to     300 IN CNAME a.sub
`})
	doc := load(t, smallRegions+`
checks: [{name: web, tcp: {port: 80}}]
pools:
  - {name: web, check: web, fallback: dr, targets: [
      {name: f1, region: fra, values: [192.0.2.1, "2001:db8::1"], weight: 3}, {name: f2, region: fra, values: [192.0.2.2, "2001:db8::2"], weight: 1},
      {name: a1, region: ams, values: [192.0.2.3, "2001:db8::3"], weight: 1}, {name: i1, region: iad, values: [192.0.2.4, "2001:db8::4"], weight: 1}]}
  - {name: dr, targets: [{name: n1, region: nrt, values: [203.0.113.1, "2001:db8::5"]}]}
  - {name: twin, check: web, fallback: dr, targets: [
      {name: f1, region: fra, values: [192.0.2.11, "2001:db8::11"]}, {name: f2, region: fra, values: [192.0.2.12, "2001:db8::12"]},
      {name: a1, region: ams, values: [192.0.2.13, "2001:db8::13"]}, {name: i1, region: iad, values: [192.0.2.14, "2001:db8::14"]}]}
  - {name: cdn, targets: [{name: one, region: fra, values: [one.example.net.]}, {name: two, region: iad, values: [two.example.net.]}]}
maps: [{name: m, areas: {default: [iad, "*"], EU: [fra, ams]}, subnets: {10.1.1.128/25: [ams]}}]
policies:
  - {name: www, all_down: serve-all, rules: [{name: near, geos: [EU], pool: web, rank: [{nearest: {band: 400km}}, cost]}, {name: rest, pool: web, rank: [latency, {cost: {band: 0.2}}]}]}
  - {name: twin, all_down: serve-all, rules: [{name: near, geos: [EU], pool: twin, rank: [{nearest: {band: 400km}}, cost]}, {name: rest, pool: twin, rank: [latency, {cost: {band: 0.2}}]}]}
  - name: api
    pick: hash
    ttl: {min: 5, max: 30}
    all_down: serve-first
    rules:
      - {name: unplaced, geos: [unknown], pool: web, rank: [listed], fence: [us]}
      - {name: all, pool: web, rank: [{map: m}], fence: none}
  - {name: cdn, all_down: servfail, rules: [{name: all, pool: cdn, rank: [listed]}]}
`)
	compiled := compile(t, doc, smallWorld)
	for _, c := range []struct{ file, name, typ, client, verdicts string }{
		{"nearest", "www.example.com", "AAAA", "10.2.1.0/24", "f1: down doubt, f2: unknown, a1: degraded"},
		{"own-source", "shop.example.com", "A", "10.4.1.7", "i1: drained, f2: doubt"},
		{"map-hash", "api.example.com", "A", "10.1.1.0/24", "f1: closed, f2: down"},
		{"long-subnet", "api.example.com", "A", "10.1.1.130", "*: down"},
		{"fence", "api.example.com.", "A", "10.200.0.0/16", "i1: drained"},
		{"host", "cdn.example.com", "MX", "2001:db8::/32", "one: down"},
		{"nodata", "api.example.com", "TXT", "10.1.1.0/24", ""},
		{"static", "ns1.example.com", "A", "10.1.1.0/24", ""},
		{"static-additional", "mx.example.com", "MX", "10.1.1.0/24", ""},
		{"static-referral", "a.sub.example.com", "A", "10.1.1.7", ""},
		{"static-chain", "to.example.com", "A", "10.1.1.7", ""},
		{"static-nodata", "mx.example.com", "TYPE99", "10.1.1.7", ""},
		{"static-nxdomain", "gone.example.com", "AAAA", "10.1.1.7", ""},
		{"outside", "example.org", "A", "10.1.1.0/24", ""},
		{"shared-layout", "a.old.example.com", "AAAA", "10.2.1.7", ""},
		{"chain-ecs", "shop.example.com", "A", "10.4.1.0/24", ""},
		{"any", "www.example.com", "ANY", "10.1.1.0/24", ""},
		{"steer", "www.example.com", "STEER", "10.1.1.0/24", ""},
		{"no-place", "www.example.com", "A", "10.200.0.0/16", ""},
	} {
		t.Run(c.file, func(t *testing.T) {
			client, err := netip.ParsePrefix(c.client)
			if err != nil {
				a := netip.MustParseAddr(c.client)
				client = netip.PrefixFrom(a, a.BitLen())
			}
			scene := policy.Scene{
				Zones: set, Compiled: compiled, States: states(t, compiled, verdictsOf(compiled, c.verdicts)),
				Records: func(a netip.Addr) []string { return []string{"a database's record of " + a.String()} },
				Notes: func(target *policy.Target) []string {
					if target.ID != "web/f1" {
						return nil
					}
					return []string{"a word on " + target.ID, "and another"}
				},
			}
			e, err := policy.Explain(scene, policy.Question{Name: c.name, Type: c.typ, Client: client, Random: 4})
			if err != nil {
				t.Fatal(err)
			}
			got := strings.NewReplacer(compiled.Table.ID(), "TABLE", filepath.Dir(set.Zones()[0].File)+"/", "").Replace(e.Text())
			file := filepath.Join("testdata", "compile", "explain-"+c.file+".txt")
			if *update {
				if err = os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil || got != string(want) {
				t.Errorf("%v; got:\n%swant:\n%s", err, got, want)
			}
		})
	}
}

// TestExplainRefuses: what is no question has an error that says why.
func TestExplainRefuses(t *testing.T) {
	set := zones(t, map[string]string{"example.com": "@ 300 IN SOA ns1 hostmaster 1 7200 3600 1209600 300\n@ 300 IN NS ns1\nns1 300 IN A 192.0.2.53\nwww 60 IN STEER gone\n"})
	compiled := compile(t, load(t, smallRegions+eight+policyOf("{name: all, pool: web}")), smallWorld)
	scene := policy.Scene{Zones: set, Compiled: compiled, States: states(t, compiled, nil)}
	all := netip.MustParsePrefix("10.0.0.0/8")
	for _, c := range []struct {
		q    policy.Question
		want string
	}{
		{policy.Question{Name: "www.example.com", Type: "AX", Client: all}, `no such type: "AX"; write A, AAAA, MX or TYPE99`},
		{policy.Question{Name: "www.example.com", Type: "TYPE41", Client: all}, `type "TYPE41" is no question`},
		{policy.Question{Name: "www.example.com", Type: "TYPE252", Client: all}, `type "TYPE252" is a zone transfer, which is refused`},
		{policy.Question{Name: "www.example.com", Type: "TYPE65536", Client: all}, "no such type"},
		{policy.Question{Name: "www..example.com", Client: all}, `"www..example.com" is no domain name: a label has 1 to 63 octets`},
		{policy.Question{Name: "", Client: all}, `"" is no domain name: a name has 1 to 255 octets`},
		{policy.Question{Name: strings.Repeat("a.", 128), Client: all}, "is no domain name: a name has 1 to 255 octets"},
		{policy.Question{Name: strings.Repeat("a", 64), Client: all}, "is no domain name: a label has 1 to 63 octets"},
		{policy.Question{Name: `a\256.`, Client: all}, `an escape is \000 to \255`},
		{policy.Question{Name: `a\`, Client: all}, "it ends in a backslash"},
		{policy.Question{Name: "www.example.com"}, "a client address or prefix is needed, such as 192.0.2.1 or 198.51.100.0/24"},
		{policy.Question{Name: "www.example.com", Client: netip.MustParsePrefix("0.0.0.0/0")}, "a prefix of length 0 says nothing of the client"},
		{policy.Question{Name: "WWW.example.com", Client: all}, `the zone names policy "gone", which is in no policy file`},
	} {
		if _, err := policy.Explain(scene, c.q); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.q, err, c.want)
		}
	}
	for name, want := range map[string]string{".": "outside", "NS1.Example.com": "static", `n\1151.example.com.`: "static", `\110s1.example.com`: "static"} {
		if e, err := policy.Explain(scene, policy.Question{Name: name, Type: "type1", Client: all}); err != nil || e.Kind != want {
			t.Errorf("%s: %v, %+v", name, err, e)
		}
	}
}
