package operator_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"geodns/pkg/geo"
	"geodns/pkg/operator"
	"geodns/pkg/policy"
	"geodns/pkg/steering"
)

// statesOf makes States of verdicts.
func statesOf(t testing.TB, c *policy.Compiled, verdict func(*policy.Target) steering.Verdict) *steering.States {
	t.Helper()
	all := make([]steering.Verdict, len(c.Targets))
	for i := range c.Targets {
		all[i] = verdict(c.Targets[i].Target)
	}
	states, err := steering.NewStates(c.Table, all)
	if err != nil {
		t.Fatal(err)
	}
	return states
}

// everyone affects all targets.
func everyone(*policy.Target) bool { return true }

// impactsText has, over earth's clients, answers that can be counted by hand: a quarter of them is in each of four places.
const impactsText = `
regions: [{name: fra}, {name: ams}, {name: iad}]
pools:
  - {name: one, targets: [{name: a, region: fra, values: [192.0.2.1]}, {name: b, region: fra, values: [192.0.2.2]}, {name: c, region: ams, values: [192.0.2.3]}]}
  - {name: hosts, targets: [{name: a, region: fra, values: [a.example.]}, {name: b, region: iad, values: [b.example.]}]}
  - {name: six, targets: [{name: a, region: fra, values: ["2001:db8::1"]}]}
maps:
  - {name: m, areas: {default: [iad, fra], EU-DE: [fra, iad]}}
policies:
  - {name: hosts, all_down: serve-all, rules: [{name: all, pool: hosts, rank: [{map: m}]}]}
  - {name: listed, all_down: serve-all, rules: [{name: all, pool: one, rank: [listed]}]}
  - {name: six, all_down: serve-all, rules: [{name: all, pool: six}]}
  - {name: two, all_down: servfail, answers: 2, rules: [{name: eu, geos: [EU], pool: one, rank: [listed]}, {name: all, pool: one}]}
`

// TestImpacts reads impacts that can be had by counting.
func TestImpacts(t *testing.T) {
	c := compile(t, impactsText)
	tests := []struct {
		object        string
		before, after verdicts
		want          string
	}{
		{"target hosts/a", nil, nil, "share 0.000, failed 0.000: hosts 0.000 0.000 []"},
		{"target hosts/a", nil, verdicts{"hosts/a": drained()}, "share 0.250, failed 0.000: hosts 0.250 0.000 [{fra iad 0.25}]"},
		{"target six/a", nil, verdicts{"six/a": drained()}, "share 1.000, failed 1.000: six 1.000 1.000 [{fra SERVFAIL 1}]"},
		{"target six/a", verdicts{"six/a": drained()}, nil, "share 1.000, failed 0.000: six 1.000 0.000 [{SERVFAIL fra 1}]"},
		{
			"pool one", verdicts{"one/b": down(), "one/c": down()}, verdicts{"one/a": down(), "one/c": down()}, // within a region
			"share 1.000, failed 0.000: listed 1.000 0.000 [{fra fra 1}] two 1.000 0.000 [{fra fra 1}]",
		},
		{
			"pool one", nil,
			verdicts{"one/a": down(), "one/b": down(), "one/c": down()},
			"share 0.500, failed 0.500: two 1.000 1.000 [{fra SERVFAIL 0.83} {ams SERVFAIL 0.17}] listed 0.000 0.000 []",
		},
	}
	for _, tt := range tests {
		im := operator.ImpactOf(c, statesOf(t, c, tt.before.of), statesOf(t, c, tt.after.of), object(tt.object).Touches)
		var got strings.Builder
		fmt.Fprintf(&got, "share %.3f, failed %.3f:", im.Share, im.Failed)
		for _, p := range im.Policies {
			for i := range p.Moves {
				p.Moves[i].Share = math.Round(p.Moves[i].Share*100) / 100
			}
			fmt.Fprintf(&got, " %s %.3f %.3f %v", p.Policy, p.Share, p.Failed, p.Moves)
		}
		if got.String() != tt.want || im.Sampled != operator.ClientsMax || im.Left != 0 {
			t.Errorf("%s, %v, %v: %d clients\ngot  %s\nwant %s", tt.object, tt.before, tt.after, im.Sampled, got.String(), tt.want)
		}
	}
	if im := operator.ImpactOf(c, statesOf(t, c, verdicts{}.of), statesOf(t, c, verdicts{}.of), func(*policy.Target) bool { return false }); diff(*im, operator.Impact{}) != "" {
		t.Errorf("nothing is affected: %+v", im)
	}
}

// crowd is networks of many sizes and places, some of them not placed.
func crowd(random *rand.Rand) *geo.Networks {
	n := earth()
	n.Places = geo.NewPlaces(append(n.Places.List(), geo.Place{Continent: "AS", Country: "JP", HasLocation: true, Lat: 35, Lon: 139}, geo.Place{Continent: "SA", Country: "BR", HasLocation: true, Lat: -23, Lon: -46}))
	n.V4 = []geo.Run{{}}
	for at := uint64(1 << 16); at < 1<<24; at += 1 + random.Uint64N(1<<(1+random.Uint64N(17))) {
		place := uint32(random.IntN(n.Places.Len()))
		if n.V4[len(n.V4)-1].Place != place {
			n.V4 = append(n.V4, geo.Run{Start: at, Place: place})
		}
	}
	return n
}

// crowdText has policies of all kinds.
const crowdText = `
regions:
  - {name: fra, location: [50.11, 8.68], pair: ams}
  - {name: ams, location: [52.37, 4.90], pair: fra}
  - {name: iad, location: [39.04, -77.49]}
  - {name: nrt, location: [35.77, 140.39]}
  - {name: gru, location: [-23.43, -46.47]}
pools:
  - name: web
    fallback: dr
    targets:
      - {name: fra1, region: fra, values: [192.0.2.1], weight: 100}
      - {name: fra2, region: fra, values: [192.0.2.2], weight: 300}
      - {name: ams1, region: ams, values: [192.0.2.3], weight: 100}
      - {name: iad1, region: iad, values: [192.0.2.4], weight: 50}
      - {name: nrt1, region: nrt, values: [192.0.2.5], weight: 70}
      - {name: gru1, region: gru, values: [192.0.2.6], weight: 10}
  - {name: dr, targets: [{name: a, region: iad, values: [192.0.2.7]}, {name: b, region: nrt, values: [192.0.2.8]}]}
policies:
  - {name: flat, all_down: serve-all, rules: [{name: all, pool: web}]}
  - {name: hash, all_down: serve-first, pick: hash, rules: [{name: all, pool: web}]}
  - {name: near, all_down: servfail, rules: [{name: all, pool: web, rank: [nearest]}]}
  - {name: three, all_down: serve-all, answers: 3, rules: [{name: asia, geos: [AS], pool: dr}, {name: all, pool: web, rank: [{nearest: {band: 2000km}}]}]}
`

// TestImpactHappens compares what an impact says with what becomes of random clients.
func TestImpactHappens(t *testing.T) {
	random := seededLeases(t)
	const clients, most = 400_000, 0.01 // 1 % is more than four times the error of both samples
	rounds := 1
	if os.Getenv("GEODNS_PROVE") != "" {
		rounds = 50
	}
	for range rounds {
		n := crowd(random)
		c := compileOn(t, crowdText, n)
		before, after := verdicts{}, verdicts{}
		for _, x := range c.Document.Targets {
			v := steering.Verdict{State: []steering.State{steering.Up, steering.Up, steering.Degraded, steering.Down}[random.IntN(4)], Admit: steering.AdmitAll}
			if random.IntN(3) == 0 {
				v.Admit = uint16(random.Uint32())
			}
			before[x.ID], after[x.ID] = v, v
		}
		for _, x := range c.Document.Targets {
			switch random.IntN(4) {
			case 0:
				after[x.ID] = drained()
			case 1:
				after[x.ID] = steering.Verdict{State: steering.Up, Admit: uint16(random.Uint32())}
			}
		}
		was, is := statesOf(t, c, before.of), statesOf(t, c, after.of)
		im := operator.ImpactOf(c, was, is, everyone)
		var mean float64
		for _, p := range im.Policies {
			share, failed, moves := happens(c, n, random, p.Policy, clients, was, is)
			mean += share / float64(len(im.Policies))
			if math.Abs(share-p.Share) > most || math.Abs(failed-p.Failed) > most {
				t.Errorf("policy %s: says %.4f and %.4f failed, happens %.4f and %.4f", p.Policy, p.Share, p.Failed, share, failed)
			}
			told := map[[2]string]float64{}
			var sum float64
			for _, m := range p.Moves {
				told[[2]string{m.From, m.To}] = m.Share
				sum += m.Share
			}
			for way, part := range moves {
				if math.Abs(part-told[way]) > most {
					t.Errorf("policy %s, %v: says %.4f, happens %.4f", p.Policy, way, told[way], part)
				}
			}
			if math.Abs(sum-p.Share) > 1e-9 {
				t.Errorf("policy %s: moves are %f together, of %f", p.Policy, sum, p.Share)
			}
		}
		if len(im.Policies) != 4 || math.Abs(mean-im.Share) > most {
			t.Errorf("%d policies, says %.4f, happens %.4f", len(im.Policies), im.Share, mean)
		}
		if again := operator.ImpactOf(c, was, is, everyone); diff(*again, *im) != "" {
			t.Error("another look says something else")
		}
	}
}

// happens asks random clients that are placed before and after.
func happens(c *policy.Compiled, n *geo.Networks, random *rand.Rand, name string, clients int, before, after *steering.States) (share, failed float64, moves map[[2]string]float64) {
	moves = map[[2]string]float64{}
	id := c.PolicyIDs()[name]
	for asked := 0; asked < clients; {
		block := random.Uint64N(1 << 24)
		i, exact := slices.BinarySearchFunc(n.V4, block, func(r geo.Run, b uint64) int {
			if r.Start < b {
				return -1
			}
			return int(min(r.Start-b, 1))
		})
		if !exact {
			i--
		}
		if !n.Places.At(n.V4[i].Place).Placed() {
			continue
		}
		asked++
		q := steering.Query{Policy: id, Client: steering.ClientFrom(prefix(int(block))), ECS: true, Random: random.Uint64()}
		var was, is steering.Decision
		steering.Decide(c.Table, before, &q, &was, nil)
		steering.Decide(c.Table, after, &q, &is, nil)
		had, has := was.Targets[:was.N], is.Targets[:is.N]
		if slices.Equal(had, has) {
			continue
		}
		share += 1 / float64(clients)
		if len(has) == 0 {
			failed += 1 / float64(clients)
		}
		if len(had) <= 1 && len(has) <= 1 { // the ways of single targets are plain
			moves[[2]string{regionOf(c, had), regionOf(c, has)}] += 1 / float64(clients)
		}
	}
	if name == "three" {
		clear(moves)
	}
	return share, failed, moves
}

// regionOf is the region of an answer of one target, or none.
func regionOf(c *policy.Compiled, ids []steering.TargetID) string {
	if len(ids) == 0 {
		return "SERVFAIL"
	}
	return c.Targets[ids[0]].Region.Name
}

// TestImpactBounded holds that many policies are asked by fewer clients, and too many not at all.
func TestImpactBounded(t *testing.T) {
	for _, pools := range []int{100, 1000} {
		c := compile(t, fleetText(pools))
		drain := func(x *policy.Target) steering.Verdict {
			if x.Region.Name == "r3" {
				return drained()
			}
			return steering.Unchecked()
		}
		im := operator.ImpactOf(c, statesOf(t, c, verdicts{}.of), statesOf(t, c, drain), object("region r3").Touches)
		if touched := pools / 2; len(im.Policies)+im.Left != touched || 2*im.Sampled*len(im.Policies) > operator.DecisionsMax || im.Sampled < operator.ClientsMin {
			t.Errorf("%d touched policies: %d asked by %d, %d left out", touched, len(im.Policies), im.Sampled, im.Left)
		}
	}
	c := compile(t, fleetText(1000))
	im := operator.ImpactOf(c, statesOf(t, c, verdicts{}.of), statesOf(t, c, verdicts{}.of), everyone)
	if want := operator.DecisionsMax / 2 / operator.ClientsMin; len(im.Policies) != want || im.Left != 1000-want || im.Sampled != operator.ClientsMin {
		t.Errorf("1000: %d asked by %d, %d left out", len(im.Policies), im.Sampled, im.Left)
	}
}

// BenchmarkImpact looks at a drain that touches 500 policies.
func BenchmarkImpact(b *testing.B) {
	c := compile(b, fleetText(1000))
	o := object("region r3")
	before := statesOf(b, c, verdicts{}.of)
	after := statesOf(b, c, func(x *policy.Target) steering.Verdict {
		if o.Touches(x) {
			return drained()
		}
		return steering.Unchecked()
	})
	for b.Loop() {
		operator.ImpactOf(c, before, after, o.Touches)
	}
}
