package policy_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"geodns/pkg/policy"
	"geodns/pkg/steering"
	"geodns/pkg/zone"
)

// prove says that tests run in their long version.
func prove() bool { return os.Getenv("GEODNS_PROVE") != "" }

// seeded gives a generator whose seed is printed, or set by GEODNS_SEED.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed, err := strconv.ParseUint(os.Getenv("GEODNS_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d (GEODNS_SEED)", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// flatHosts is how many hosts flatZone has: h0 to h7.flat.example.
const flatHosts = 8

// flatAddrs are a host's addresses: h6 has no IPv6, h7 no IPv4 ones.
func flatAddrs(host string) (out []netip.Addr) {
	i := int(host[1] - '0')
	if i != 7 {
		out = append(out, netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}))
	}
	if i != 6 {
		out = append(out, netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i+1)))
	}
	return out
}

// flatZone is a zone of hosts to flatten, and of names that are steered by the policies p0 to p2.
func flatZone(t *testing.T) *zone.Set {
	t.Helper()
	var text strings.Builder
	text.WriteString("@ 300 IN SOA ns1 hostmaster 1 7200 3600 1209600 300\n@ 300 IN NS ns1\nns1 300 IN A 192.0.2.53\n")
	for i := range flatHosts {
		for _, a := range flatAddrs(fmt.Sprint("h", i)) {
			kind := "AAAA"
			if a.Is4() {
				kind = "A"
			}
			fmt.Fprintf(&text, "h%d 300 IN %s %s\n", i, kind, a)
		}
	}
	for i, ttl := range []int{0, 30, 100} {
		fmt.Fprintf(&text, "p%d %d IN STEER p%d\n", i, ttl, i)
	}
	return zones(t, map[string]string{"flat.example": text.String()})
}

// zones loads zone files by origin.
func zones(t testing.TB, texts map[string]string) *zone.Set {
	t.Helper()
	dir := t.TempDir()
	for origin, text := range texts {
		write(t, text, dir, origin+".zone")
	}
	set, found := zone.Load(dir, 1)
	if set == nil {
		t.Fatalf("zones refused:\n%s", lines(found))
	}
	return set
}

// world is a random scene, compiled, with its twin.
type world struct {
	*scene

	text     string
	twin     *twin
	compiled *policy.Compiled
	offered  map[*policy.Policy]map[steering.Type]bool // as the twin has it, and Compile too
}

// randomWorld makes one. On the way it holds Compile's refusals against the twin's: refused counts them.
func randomWorld(t *testing.T, r *rand.Rand, set *zone.Set, refused *int) *world {
	t.Helper()
	s := newScene(r)
	lost := r.IntN(10) == 0
	in := policy.Input{Networks: s.networks, Zones: set, GeoLost: lost}
	doc, text := s.document(func(doc *policy.Document, text string) bool {
		w := &twin{doc: doc, networks: s.networks, addrs: flatAddrs, measured: s.measured}
		in.Orders = s.orders(doc)
		sound := w.sound(doc.Policies[0])
		c, found := policy.Compile(doc, in)
		if sound != (c != nil) {
			t.Fatalf("the twin finds it sound: %t; Compile:\n%s\n%s", sound, lines(found), describe(s, text))
		}
		if !sound {
			*refused++
		}
		return sound
	})
	w := &world{scene: s, text: text, twin: &twin{doc: doc, networks: s.networks, addrs: flatAddrs, lost: lost, measured: s.measured}}
	in.Orders = s.orders(doc)
	c, found := policy.Compile(doc, in)
	if c == nil {
		t.Fatalf("refused together, and taken alone:\n%s\n%s", lines(found), text)
	}
	w.compiled, w.offered = c, map[*policy.Policy]map[steering.Type]bool{}
	for _, p := range doc.Policies {
		w.offered[p] = map[steering.Type]bool{}
		for _, typ := range []steering.Type{steering.A, steering.AAAA, steering.Host} {
			w.offered[p][typ], _ = w.twin.offers(p, typ)
			if got := c.Table.Offers(c.PolicyIDs()[p.Name], typ); got != w.offered[p][typ] {
				t.Fatalf("policy %s offers type %d: %t, the twin says otherwise\n%s", p.Name, typ, got, describe(s, text))
			}
		}
	}
	return w
}

// describe shows a scene for a failure's message.
func describe(s *scene, text string) string {
	var b strings.Builder
	b.WriteString(text)
	for _, v4 := range []bool{true, false} {
		runs := s.networks.V6
		if v4 {
			runs = s.networks.V4
		}
		for _, r := range runs {
			fmt.Fprintf(&b, "from %s: %+v\n", twinStart(r, v4), s.networks.Places.At(r.Place))
		}
	}
	for _, l := range s.networks.Long {
		fmt.Fprintf(&b, "override %s: %+v\n", l.Prefix, s.networks.Places.At(l.Place))
	}
	return b.String()
}

// states makes the States of verdicts, a target's twins included.
func states(t testing.TB, c *policy.Compiled, verdicts map[string]steering.Verdict) *steering.States {
	t.Helper()
	var vs []steering.Verdict
	for _, target := range c.Targets {
		v, ok := verdicts[target.ID]
		if !ok {
			v = steering.Unchecked()
		}
		vs = append(vs, v)
	}
	s, err := steering.NewStates(c.Table, vs)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// decide asks Decide what the twin is asked.
func decide(c *policy.Compiled, s *steering.States, q *twinQuestion, tr *steering.Trace) (a twinAnswer, d steering.Decision) {
	client, ecs := q.client()
	steering.Decide(c.Table, s, &steering.Query{
		Policy: c.PolicyIDs()[q.policy], Type: q.typ, Client: steering.ClientFrom(client), ECS: ecs, TTL: q.ttl, Random: q.random,
	}, &d, tr)
	for _, id := range d.Targets[:d.N] {
		a.targets = append(a.targets, c.Targets[id].ID)
	}
	slices.Sort(a.targets)
	a.ttl, a.scope, a.pass, a.failed = d.TTL, int(d.Scope), int(d.Pass), d.Outcome == steering.Failed
	return a, d
}

// TestCompileTwin holds compiled policies against the twin: random files, networks, verdicts and queries.
func TestCompileTwin(t *testing.T) {
	r, set := seeded(t), flatZone(t)
	n := 20_000
	if prove() {
		n = 1_000_000
	}
	seen := map[string]int{}
	refused := 0
	for done := 0; done < n; {
		w := randomWorld(t, r, set, &refused)
		if len(w.twin.doc.Policies) == 0 {
			continue
		}
		seen["worlds"]++
		for range 4 {
			w.twin.verdicts = w.verdicts(w.twin.doc)
			s := states(t, w.compiled, w.twin.verdicts)
			for range 50 {
				if w.ask(t, s, seen) {
					done++
				}
			}
		}
	}
	t.Logf("%d policies refused; %v", refused, seen)
	for _, what := range []string{
		"pass 0", "pass 1", "pass 2", "pass 3", "long", "scope 0", "least scope", "longest scope", "beyond SOURCE", "several", "host", "flattened", "hash", "geo lost", "drawn",
	} {
		if seen[what] == 0 { // each is to be expected hundreds of times
			t.Errorf("%q was seen %d times in %d queries", what, seen[what], n)
		}
	}
	if refused == 0 { // some fifteen are to be expected
		t.Error("no policy was refused")
	}
}

// ask asks one question of a random policy; false if the policy does not offer the type.
func (w *world) ask(t *testing.T, s *steering.States, seen map[string]int) bool {
	t.Helper()
	p := one(w.r, w.twin.doc.Policies...)
	q := w.question(p, one(w.r, steering.A, steering.AAAA, steering.Host))
	if !w.offered[p][q.typ] {
		return false
	}
	want := w.twin.answer(&q)
	got, d := decide(w.compiled, s, &q, nil)
	if !slices.IsSorted(d.Targets[:d.N]) {
		t.Fatalf("%+v: targets out of order: %v", q, d.Targets[:d.N])
	}
	if want.close {
		seen["too close"]++
		got.targets, want.targets, got.ttl, want.ttl = nil, nil, 0, 0
	}
	want.close = false
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		client, _ := q.client()
		t.Fatalf("%+v (client %s)\ngot  %+v\nwant %+v\nplan %s\nverdicts %+v\n%s", q, client, got, want, w.twin.text(p, client), w.twin.verdicts, describe(w.scene, w.text))
	}
	w.count(p, &q, &want, seen)
	return true
}

// count notes what a question went through.
func (w *world) count(p *policy.Policy, q *twinQuestion, a *twinAnswer, seen map[string]int) {
	client, ecs := q.client()
	block := twinBlockBits(client.Addr())
	for what, is := range map[string]bool{
		fmt.Sprint("pass ", a.pass): true, "long": a.scope > block, "scope 0": ecs && a.scope == 0, "least scope": ecs && (a.scope == 8 || a.scope == 16 && block == 56),
		"longest scope": a.scope == block, "beyond SOURCE": ecs && a.scope > client.Bits(), "several": len(a.targets) > 1, "host": q.typ == steering.Host,
		"flattened": p.Flatten, "hash": p.Pick == policy.PickHash, "geo lost": w.twin.lost, "drawn": len(a.targets) == p.Answers,
	} {
		if is {
			seen[what]++
		}
	}
}

// look asks where a block's client is: its plan and the prefix that is published for it.
func (w *world) look(t *testing.T, s *steering.States, p *policy.Policy, typ steering.Type, block netip.Prefix) (plan string, published netip.Prefix) {
	t.Helper()
	var tr steering.Trace
	decide(w.compiled, s, &twinQuestion{policy: p.Name, typ: typ, ecs: block}, &tr)
	for _, tier := range tr.Tiers {
		plan += "|"
		for _, g := range tier.Targets {
			plan += " " + w.compiled.Targets[g.ID].ID
		}
	}
	if tr.Long.IsValid() {
		t.Fatalf("%s is in %s, which is longer", block, tr.Long)
	}
	return plan, netip.PrefixFrom(block.Addr(), int(tr.Published)).Masked()
}

// TestPublishedScopes: all of a published scope has one plan and publishes that scope, so no two of a layout overlap.
func TestPublishedScopes(t *testing.T) {
	r, set, refused := seeded(t), flatZone(t), 0
	n := 100
	if prove() {
		n = 3000
	}
	pairs := 0
	for range n {
		w := randomWorld(t, r, set, &refused)
		s := states(t, w.compiled, nil)
		for _, p := range w.twin.doc.Policies {
			typ := steering.A
			for y, offered := range w.offered[p] {
				if offered {
					typ = y
				}
			}
			blocks := slices.Concat(w.twin.blocks(p, true), w.twin.blocks(p, false))
			for _, b := range blocks {
				plan, published := w.look(t, s, p, typ, b)
				for range 3 {
					blocks = append(blocks, netip.PrefixFrom(w.address(), 128))
				}
				for i, other := range blocks {
					if i%3 == 0 { // often near the ends
						other = netip.PrefixFrom(last(published), 128)
					}
					if !published.Contains(other.Addr()) {
						continue
					}
					other = netip.PrefixFrom(other.Addr(), twinBlockBits(other.Addr())).Masked()
					if gotPlan, got := w.look(t, s, p, typ, other); gotPlan != plan || got != published {
						t.Fatalf("policy %s: %s has plan %s and publishes %s; in it %s has plan %s and publishes %s\n%s",
							p.Name, b, plan, published, other, gotPlan, got, describe(w.scene, w.text))
					}
					pairs++
				}
			}
		}
	}
	t.Logf("%d pairs", pairs)
}

// TestCompileIsFixed: equal files give equal tables, however they are cut and in whatever order they are read.
func TestCompileIsFixed(t *testing.T) {
	r, set, refused := seeded(t), flatZone(t), 0
	ids := map[string]bool{}
	for range 30 {
		w := randomWorld(t, r, set, &refused)
		in := policy.Input{Networks: w.networks, Zones: set, GeoLost: w.twin.lost}
		head, body, _ := strings.Cut(w.text, "policies:\n")
		for _, texts := range [][]string{{w.text}, {head, "policies:\n" + body}, {"policies:\n" + body, head}} {
			doc, _ := parseText(texts...)
			in.Orders = w.orders(doc)
			c, _ := policy.Compile(doc, in)
			if got, want := c.Table.ID(), w.compiled.Table.ID(); got != want {
				t.Fatalf("tables %s and %s of %d files\n%s", got, want, len(texts), w.text)
			}
		}
		in.GeoLost = !in.GeoLost
		c, _ := policy.Compile(w.twin.doc, in)
		ids[w.compiled.Table.ID()], ids[c.Table.ID()] = true, true
	}
	if len(ids) != 60 {
		t.Errorf("%d ids of 60 different tables", len(ids))
	}
}

// TestOneLayout: policies that differ in their targets alone share a layout, and with it their published scopes.
func TestOneLayout(t *testing.T) {
	head := "regions: [{name: fra, location: [50, 8], pair: ams, jurisdictions: [de]}, {name: ams, location: [52, 5]}, {name: iad, location: [39, -77], jurisdictions: [us]}]\n"
	fences := func(a, b string) string {
		return "  - {name: last, all_down: servfail, rules: [{name: a, geos: [unknown], pool: w7, rank: [nearest], fence: " + a + "}, {name: b, pool: w7, fence: " + b + "}]}\n"
	}
	pools, policies := "pools:\n", "policies:\n"
	const n = 1000
	for i := range n {
		pools += fmt.Sprintf("  - {name: w%d, fallback: d%d, min_up: %d, targets: [{name: a, region: fra, values: [10.0.%d.1], weight: %d}, {name: b, region: iad, values: [10.0.%d.2], weight: 1}]}\n",
			i, i, i%3, i%250, i+1, i%250)
		pools += fmt.Sprintf("  - {name: d%d, targets: [{name: c, region: ams, values: [10.1.%d.1]}]}\n", i, i%250)
		policies += fmt.Sprintf("  - {name: p%d, ttl: {min: %d, max: 100}, answers: %d, pick: %s, all_down: %s, rules: [{name: a, geos: [EU], pool: w%d, rank: [nearest]}, {name: b, pool: d%d}]}\n",
			i, i%100, i%4+1, []string{"hash", "weighted"}[i%2], []string{"serve-all", "servfail"}[i%2], i, i)
	}
	networks := networksOf(map[string]string{"10.0.0.0/8": "EU-DE", "11.0.0.0/8": "EU-DE", "12.0.0.0/8": "EU-FR", "12.1.0.0/16": "NA-US"})
	for _, c := range []struct {
		more string
		want int
	}{
		{"", 1},
		{"  - {name: last, all_down: servfail, rules: [{name: x, geos: [EU], pool: w7, rank: [nearest]}, {name: z, pool: d7}]}\n", 1},
		{"  - {name: last, all_down: servfail, rules: [{name: x, geos: [EU], pool: w7, rank: [nearest]}, {name: z, pool: d8}]}\n", 2}, // another pool, not the fallback
		{"  - {name: last, all_down: servfail, rules: [{name: x, geos: [EU], pool: w7, rank: [cost]}, {name: z, pool: d7}]}\n", 2},
		{"  - {name: last, all_down: servfail, rules: [{name: x, geos: [EU-DE], pool: w7, rank: [nearest]}, {name: z, pool: d7}]}\n", 2},
		{"  - {name: last, all_down: servfail, rules: [{name: x, geos: [EU], pool: w7, rank: [{nearest: {band: 1km}}]}, {name: z, pool: d7}]}\n", 2},
		{"  - {name: last, all_down: servfail, rules: [{name: x, geos: [EU], pool: d7, rank: [nearest]}, {name: z, pool: d7}]}\n", 2},
		{fences("[de]", "[de]"), 2},
		{fences("[de]", "[de]") + strings.ReplaceAll(fences("[de]", "[de]"), "last", "behind"), 2},
		{fences("[de]", "[de]") + strings.ReplaceAll(fences("[us]", "[de]"), "last", "behind"), 3},
		{fences("[de]", "[de]") + strings.ReplaceAll(fences("[de]", "[de, us]"), "last", "behind"), 3},
		{fences("[de]", "none") + strings.ReplaceAll(fences("[de]", "[de, us]"), "last", "behind"), 3},
	} {
		doc := load(t, head+pools+policies+c.more)
		compiled := compile(t, doc, networks)
		if got := compiled.Table.Layouts(); got != c.want {
			t.Errorf("%d layouts, want %d, with %s", got, c.want, c.more)
		}
		w := &twin{doc: doc, networks: networks}
		s := states(t, compiled, nil)
		for _, i := range []int{0, 1, 2, 501, 999} {
			for _, ecs := range []string{"10.1.2.0/24", "12.0.0.0/9", "12.1.7.0/24", "200.0.0.0/8"} {
				q := twinQuestion{policy: fmt.Sprint("p", i), ecs: netip.MustParsePrefix(ecs), ttl: 60, random: uint64(i)}
				if got, _ := decide(compiled, s, &q, nil); fmt.Sprint(got) != fmt.Sprint(w.answer(&q)) {
					t.Errorf("%+v: got %+v, want %+v", q, got, w.answer(&q))
				}
			}
		}
	}
}
