package policy_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"geodns/pkg/policy"
	"geodns/pkg/steering"
)

// flipped applies a claimed change to verdicts, by its words alone; nil: it is about the draw, or names too many to be listed.
func flipped(t *testing.T, change string, verdicts map[string]steering.Verdict) map[string]steering.Verdict {
	t.Helper()
	if strings.HasPrefix(change, "another draw") || regexp.MustCompile(`and \d+ more`).MatchString(change) {
		return nil
	}
	out := maps.Clone(verdicts)
	alter := func(id, what string) {
		v, ok := out[id]
		if !ok {
			v = steering.Unchecked()
		}
		switch what {
		case "goes down":
			v.State, v.InDoubt = steering.Down, false
		case "is drained":
			v.Drained = true
		case "comes up":
			v.State, v.InDoubt = steering.Up, false
		case "is undrained":
			v.Drained = false
		case "takes all its traffic":
			v.Admit = steering.AdmitAll
		case "ends":
			v.InDoubt = false
		case "usable":
			if v.State == steering.Down {
				v.State, v.InDoubt = steering.Up, false
			}
			v.Drained = false
		default:
			t.Fatalf("%q: what is %q?", change, what)
		}
		out[id] = v
	}
	if m := regexp.MustCompile(`^the doubt of (.*) ends$|^pool .*, as (.*) becomes? usable$`).FindStringSubmatch(change); m != nil {
		for id := range strings.SplitSeq(m[1]+m[2], ", ") {
			alter(id, map[bool]string{true: "ends", false: "usable"}[m[1] != ""])
		}
		return out
	}
	id, what, _ := strings.Cut(change, " ")
	for part := range strings.SplitSeq(what, " and ") {
		alter(id, part)
	}
	return out
}

// flips applies each change that an explanation says to flip the answer, and the runner-up, and decides anew.
func (w *world) flips(t *testing.T, e *policy.Explanation, q *twinQuestion, verdicts map[string]steering.Verdict, seen map[string]int) {
	t.Helper()
	s := func(verdicts map[string]steering.Verdict) *steering.States { return states(t, w.compiled, verdicts) }
	text := func(a *twinAnswer, d *steering.Decision) string {
		if a.failed {
			return "SERVFAIL"
		}
		var ids []string
		for _, id := range d.Targets[:d.N] {
			ids = append(ids, w.compiled.Targets[id].ID)
		}
		return fmt.Sprintf("%s, ttl %d, pass %d", strings.Join(ids, " "), a.ttl, a.pass)
	}
	a, d := decide(w.compiled, s(verdicts), q, nil)
	now := text(&a, &d)
	for _, f := range e.Flips {
		changes := []string{f.Change}
		if id, either := strings.CutSuffix(f.Change, " goes down or is drained"); either {
			changes = []string{id + " goes down", id + " is drained"}
		}
		for _, change := range changes {
			altered := flipped(t, change, verdicts)
			if altered == nil {
				continue
			}
			a, d = decide(w.compiled, s(altered), q, nil)
			if got := text(&a, &d); got != f.Result || got == now {
				t.Fatalf("%s: claimed %s, decided %s, before %s\n%s", change, f.Result, got, now, e.Text())
			}
			seen[strings.Join(strings.Fields(regexp.MustCompile(`pool\d`).ReplaceAllString(change, "pool"))[1:3], " ")]++
		}
	}
	if len(e.Flips) > policy.FlipsMax || len(e.Flips) < policy.FlipsMax && e.FlipsMore > 0 {
		t.Fatalf("%d flips and %d more", len(e.Flips), e.FlipsMore)
	}
	if (e.RunnerUp == nil) != (e.Rcode == "SERVFAIL") {
		t.Fatalf("no runner-up, or one to nothing\n%s", e.Text())
	}
	if e.RunnerUp == nil {
		return
	}
	altered := maps.Clone(verdicts)
	for _, id := range e.Choice {
		altered[id] = steering.Verdict{Drained: true}
	}
	a, d = decide(w.compiled, s(altered), q, nil)
	got, want := "SERVFAIL", text(&a, &d)
	if r := e.RunnerUp; len(r.Targets) > 0 {
		got = fmt.Sprintf("%s, ttl %d, pass %d", strings.Join(r.Targets, " "), r.TTL, r.Pass)
	}
	if got != want || (got == "SERVFAIL") != strings.HasPrefix(e.RunnerUp.Why, "SERVFAIL: ") {
		t.Fatalf("runner-up %s (%s), decided %s\n%s", got, e.RunnerUp.Why, want, e.Text())
	}
	seen["runner-up "+map[bool]string{true: "none", false: "some"}[want == "SERVFAIL"]]++
}

// TestDraws holds what can be drawn against many draws: nothing else ever comes, and in nearly all cases all of it does. What a target
// admits is drawn apart, so that each part of those that admit some of their traffic is tried.
func TestDraws(t *testing.T) {
	r, set, refused := seeded(t), flatZone(t), 0
	n, all, several, ttls := 300, 0, 0, 0
	if prove() {
		n = 20_000
	}
	for done := 0; done < n; {
		w := randomWorld(t, r, set, &refused)
		if len(w.twin.doc.Policies) == 0 {
			continue
		}
		verdicts := w.verdicts(w.twin.doc)
		for id, v := range verdicts { // so that either comes soon
			if v.Admit > 0 && v.Admit < steering.AdmitAll {
				v.Admit = steering.AdmitAll / 2
				verdicts[id] = v
			}
		}
		s := states(t, w.compiled, verdicts)
		for range 5 {
			p := one(r, w.twin.doc.Policies...)
			typ := one(r, steering.A, steering.AAAA, steering.Host)
			if !w.offered[p][typ] || p.Pick == policy.PickHash {
				continue
			}
			q := w.question(p, typ)
			targets, answered, err := policy.Draws(w.compiled, s, w.query(p, q))
			if err != nil {
				t.Fatal(err)
			}
			gotTargets, gotTTLs := map[string]bool{}, map[uint32]bool{}
			for range 500 {
				q.random = r.Uint64()
				a, _ := decide(w.compiled, s, &q, nil)
				for _, id := range a.targets {
					gotTargets[id] = true
					if !slices.Contains(targets, id) {
						t.Fatalf("%s is drawn, and not of %v", id, targets)
					}
				}
				if a.failed {
					if answered != nil {
						t.Fatal("SERVFAIL")
					}
					continue
				}
				gotTTLs[a.ttl] = true
				if !slices.Contains(answered, a.ttl) {
					t.Fatalf("ttl %d, and not of %v", a.ttl, answered)
				}
			}
			done++
			if len(gotTargets) == len(targets) && len(gotTTLs) == len(answered) {
				all++
			}
			if len(targets) > 1 {
				several++
			}
			if len(answered) > 1 {
				ttls++
			}
		}
	}
	t.Logf("of %d questions: %d with all that can be drawn drawn, %d with several targets, %d with two TTLs", n, all, several, ttls)
	if all < n*7/10 || several < n/5 || ttls == 0 {
		t.Error("that is not as is to be expected")
	}
}

// query is a twin's question as Decide has it.
func (w *world) query(p *policy.Policy, q twinQuestion) *steering.Query {
	client, ecs := q.client()
	return &steering.Query{Policy: steering.PolicyID(p.Index), Type: q.typ, Client: steering.ClientFrom(client), ECS: ecs, TTL: q.ttl, Random: q.random}
}

// BenchmarkExplain explains an answer of a policy with 12,000 targets, half of them down.
func BenchmarkExplain(b *testing.B) {
	scene := manyTargets(b)
	q := policy.Question{Name: "www.example.com", Client: netip.MustParsePrefix("10.2.1.0/24"), Random: 4}
	for b.Loop() {
		if _, err := policy.Explain(scene, q); err != nil {
			b.Fatal(err)
		}
	}
}

// TestExplainBounds shows that an explanation of thousands of targets in trouble lists few changes, and counts the others.
func TestExplainBounds(t *testing.T) {
	e, err := policy.Explain(manyTargets(t), policy.Question{Name: "www.example.com", Client: netip.MustParsePrefix("10.2.1.0/24")})
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Flips) != policy.FlipsMax || e.FlipsMore == 0 || e.FlipsUntried < 5000 {
		t.Errorf("%d flips, %d more, %d untried", len(e.Flips), e.FlipsMore, e.FlipsUntried)
	}
	for _, f := range e.Flips {
		if len(f.Change)+len(f.Result) > 1000 {
			t.Errorf("%s: %s", f.Change, f.Result)
		}
	}
}

// manyTargets is a world with one policy of three pools of 4,000 targets, the first of which are down or in doubt.
func manyTargets(t testing.TB) policy.Scene {
	t.Helper()
	var b strings.Builder
	b.WriteString("regions: [{name: fra}, {name: iad}]\nchecks: [{name: web, tcp: {port: 80}}]\npools:\n")
	for p := range 3 {
		fmt.Fprintf(&b, "  - {name: p%d, check: web, %stargets: [\n", p, map[bool]string{true: fmt.Sprintf("fallback: p%d, ", p+1)}[p < 2])
		for i := range 4000 {
			fmt.Fprintf(&b, "      {name: t%d, region: %s, values: [10.%d.%d.%d]},\n", i, one(rand.New(rand.NewPCG(uint64(i), 0)), "fra", "iad"), p, i/250, 1+i%250)
		}
		b.WriteString("      ]}\n")
	}
	b.WriteString("policies: [{name: www, all_down: serve-all, rules: [{name: all, pool: p0}]}]\n")
	doc := load(t, b.String())
	compiled := compile(t, doc, smallWorld)
	verdicts := map[string]steering.Verdict{}
	for i, target := range doc.Targets {
		v := steering.Unchecked()
		if i < 4000 {
			v.State, v.InDoubt = steering.Down, i%2 == 0
		} else if i%2 == 0 {
			v.State = steering.Degraded
			v.Admit /= 2
		}
		verdicts[target.ID] = v
	}
	set := zones(t, map[string]string{"example.com": "@ 300 IN SOA ns1 hostmaster 1 7200 3600 1209600 300\n@ 300 IN NS ns1\nns1 300 IN A 192.0.2.53\nwww 60 IN STEER www\n"})
	return policy.Scene{Zones: set, Compiled: compiled, States: states(t, compiled, verdicts)}
}
