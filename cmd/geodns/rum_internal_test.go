package main

import (
	"strings"
	"testing"
	"time"

	"geodns/pkg/api"
)

// TestRungs shows groups, a line for each region, and how many there are beside.
func TestRungs(t *testing.T) {
	var out strings.Builder
	p := &page{w: &out}
	var all table
	addRungs(&all, &api.RUMReport{RungN: 3, Rungs: []api.RUMRung{
		{Rung: "AS3333 in NL", Kind: "asn", Sources: 40, Prefixes: 12, Regions: []api.RUMRegion{
			{Region: "fra", Samples: 90.4, Errors: 0.025, P50: 0.03, P75: 0.0415, P95: 0.1, Jitter: 0.0105, Age: 12},
			{Region: "iad", Samples: 70, P50: 0.09, P75: 0.1, P95: 0.2, Age: 90},
		}},
		{Rung: "EU", Kind: "continent", Sources: 100, Prefixes: 30, Held: "moved too fast", Regions: []api.RUMRegion{{Region: "fra", Samples: 100}}},
	}})
	if err := p.write(all); err != nil {
		t.Fatal(err)
	}
	const want = `
NETWORKS      SOURCES  PREFIXES  REGION  SAMPLES  ERRORS  P50      P75       P95       JITTER   AGE    HELD
AS3333 in NL  40       12        fra     90       2.5 %   30.0 ms  41.5 ms   100.0 ms  10.5 ms  12s    -
AS3333 in NL  40       12        iad     70       0.0 %   90.0 ms  100.0 ms  200.0 ms  0.0 ms   1m30s  -
EU            100      30        fra     100      0.0 %   0.0 ms   0.0 ms    0.0 ms    0.0 ms   0s     moved too fast
and 1 more
`
	if got := "\n" + out.String(); got != want {
		t.Errorf("%s", got)
	}
	now := time.Unix(1700000000, 0)
	line := rumLine(&api.RUMStatus{Accepted: 7, Refused: map[string]uint64{"time": 1, "region": 2}, Rungs: map[string]int{"asn": 1}, At: now.Add(-time.Minute), Held: 1, Limited: []string{"www"}}, now)
	if want := "7 samples, 3 refused; 1 group, counted 1m0s ago; 1 HELD; LIMITED by ecs.max_scopes: www"; line != want {
		t.Errorf("%s, want %s", line, want)
	}
}
