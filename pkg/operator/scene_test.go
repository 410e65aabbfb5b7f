package operator_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"geodns/internal/source"
	"geodns/pkg/geo"
	"geodns/pkg/operator"
	"geodns/pkg/policy"
	"geodns/pkg/steering"
)

// sitesText is what most tests lay leases over. The region nowhere has no target; of the pair fra, ams the pool edge has but one.
const sitesText = `
regions:
  - {name: fra, location: [50.11, 8.68], pair: ams, jurisdictions: [eu-gdpr]}
  - {name: ams, location: [52.37, 4.90], pair: fra, jurisdictions: [eu-gdpr]}
  - {name: iad, location: [39.04, -77.49], pair: sfo, jurisdictions: [us]}
  - {name: sfo, location: [37.62, -122.38], pair: iad, jurisdictions: [us]}
  - {name: nowhere, location: [0, 0]}
checks:
  - {name: web, tcp: {port: 80}}
pools:
  - name: web
    check: web
    fallback: dr
    targets:
      - {name: fra1, region: fra, values: [192.0.2.10], tags: [blue, all]}
      - {name: ams1, region: ams, values: [192.0.2.20], tags: [green, all]}
      - {name: iad1, region: iad, values: [192.0.2.30], tags: [blue, all]}
      - {name: sfo1, region: sfo, values: [192.0.2.40], tags: [green, all]}
  - name: dr
    targets: [{name: bunker, region: sfo, values: [192.0.2.50]}]
  - name: edge
    targets:
      - {name: fra2, region: fra, values: [192.0.2.60]}
      - {name: iad2, region: iad, values: [192.0.2.70]}
maps:
  - name: strict
    areas: {default: [iad, fra], EU: [fra]}
policies:
  - name: mapped
    rules: [{name: all, pool: edge, rank: [{map: strict}]}]
    all_down: serve-all
  - name: www
    rules:
      - {name: residents, geos: [EU], pool: web, rank: [nearest], fence: [eu-gdpr]}
      - {name: unplaced, geos: [unknown], pool: web, rank: [nearest], fence: none}
      - {name: world, pool: web, rank: [nearest], fence: none}
    all_down: serve-all
`

// earth is networks of four places: of 256 /24s of 20.0.0.0/16 each place has a quarter, and the rest is not placed.
func earth() *geo.Networks {
	n := &geo.Networks{Places: geo.NewPlaces([]geo.Place{
		{},
		{Continent: "EU", Country: "DE", HasLocation: true, Lat: 50, Lon: 8},
		{Continent: "EU", Country: "NL", HasLocation: true, Lat: 52, Lon: 5},
		{Continent: "NA", Country: "US", HasLocation: true, Lat: 39, Lon: -77},
		{Continent: "NA", Country: "US", Subdivision: "CA", HasLocation: true, Lat: 37, Lon: -122},
	})}
	const first = 20 << 16
	n.V4 = []geo.Run{
		{Start: 0},
		{Start: first, Place: 1},
		{Start: first + 64, Place: 2},
		{Start: first + 128, Place: 3},
		{Start: first + 192, Place: 4},
		{Start: first + 256},
	}
	n.V6 = []geo.Run{{Start: 0}}
	return n
}

// compile compiles policies against earth.
func compile(t testing.TB, text string) *policy.Compiled {
	t.Helper()
	return compileOn(t, text, earth())
}

func compileOn(t testing.TB, text string, networks *geo.Networks) *policy.Compiled {
	t.Helper()
	var found source.Findings
	doc := policy.Join([]*policy.File{policy.Parse("sites.yaml", []byte(text), &found)}, &found)
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	c, found := policy.Compile(doc, policy.Input{Networks: networks})
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return c
}

// verdicts is what health has, by target; those that are not in it are up.
type verdicts map[string]steering.Verdict

func (v verdicts) of(t *policy.Target) steering.Verdict {
	if known, ok := v[t.ID]; ok {
		return known
	}
	return steering.Unchecked()
}

// down and drained are verdicts.
func down() steering.Verdict {
	return steering.Verdict{State: steering.Down, Admit: steering.AdmitAll}
}

func drained() steering.Verdict {
	return steering.Verdict{State: steering.Up, Drained: true, Admit: steering.AdmitAll}
}

// scene is a scene of sitesText with some verdicts.
func scene(t testing.TB, v verdicts) operator.Scene {
	t.Helper()
	return operator.Scene{Compiled: compile(t, sitesText), Verdict: v.of}
}

// target finds a target by its id.
func target(t testing.TB, c *policy.Compiled, id string) *policy.Target {
	t.Helper()
	for _, x := range c.Document.Targets {
		if x.ID == id {
			return x
		}
	}
	t.Fatalf("no target %s", id)
	return nil
}

// object reads "region fra".
func object(text string) operator.Object {
	kind, name, _ := strings.Cut(text, " ")
	return operator.Object{Kind: operator.Kind(kind), Name: name}
}

// prefix makes a /24 of its number.
func prefix(block int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(block >> 16), byte(block >> 8), byte(block)}), 24)
}

// diff says where two things differ in print.
func diff(got, want any) string {
	g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want)
	if g == w {
		return ""
	}
	return fmt.Sprintf("got  %s\nwant %s", g, w)
}
