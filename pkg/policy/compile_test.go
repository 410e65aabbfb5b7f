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
	text := "@ 300 IN SOA ns1 hostmaster 1 7200 3600 1209600 300\n@ 300 IN NS ns1\nns1 300 IN A 192.0.2.53\n"
	for i := range flatHosts {
		for _, a := range flatAddrs(fmt.Sprint("h", i)) {
			kind := "AAAA"
			if a.Is4() {
				kind = "A"
			}
			text += fmt.Sprintf("h%d 300 IN %s %s\n", i, kind, a)
		}
	}
	for i, ttl := range []int{0, 30, 100} {
		text += fmt.Sprintf("p%d %d IN STEER p%d\n", i, ttl, i)
	}
	return zones(t, map[string]string{"flat.example": text})
}

// zones loads zone files by origin.
func zones(t *testing.T, texts map[string]string) *zone.Set {
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
}

// randomWorld makes one. On the way it holds Compile's refusals against the twin's: refused counts them.
func randomWorld(t *testing.T, r *rand.Rand, set *zone.Set, refused *int) *world {
	t.Helper()
	s := newScene(r)
	lost := r.IntN(10) == 0
	in := policy.Input{Networks: s.networks, Zones: set, GeoLost: lost}
	doc, text := s.document(func(doc *policy.Document, text string) bool {
		w := &twin{doc: doc, networks: s.networks, addrs: flatAddrs}
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
	w := &world{scene: s, text: text, twin: &twin{doc: doc, networks: s.networks, addrs: flatAddrs, lost: lost}}
	c, found := policy.Compile(doc, in)
	if c == nil {
		t.Fatalf("refused together, and taken alone:\n%s\n%s", lines(found), text)
	}
	w.compiled = c
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
			fmt.Fprintf(&b, "from %s: %+v\n", twinStart(r, v4), s.networks.Places[r.Place])
		}
	}
	for _, l := range s.networks.Long {
		fmt.Fprintf(&b, "override %s: %+v\n", l.Prefix, s.networks.Places[l.Place])
	}
	return b.String()
}

// states makes the States of verdicts, a target's twins included.
func states(t *testing.T, c *policy.Compiled, verdicts map[string]steering.Verdict) *steering.States {
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
		if seen[what] < 10 {
			t.Errorf("%q was seen %d times in %d queries", what, seen[what], n)
		}
	}
	if refused < 10 {
		t.Errorf("%d policies refused", refused)
	}
}

// ask asks one question of a random policy; false if the policy does not offer the type.
func (w *world) ask(t *testing.T, s *steering.States, seen map[string]int) bool {
	t.Helper()
	p := one(w.r, w.twin.doc.Policies...)
	q := w.question(p, one(w.r, steering.A, steering.AAAA, steering.Host))
	offered, _ := w.twin.offers(p, q.typ)
	if got := w.compiled.Table.Offers(w.compiled.PolicyIDs()[p.Name], q.typ); got != offered {
		t.Fatalf("policy %s offers type %d: %t, the twin says %t\n%s", p.Name, q.typ, got, offered, describe(w.scene, w.text))
	}
	if !offered {
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
