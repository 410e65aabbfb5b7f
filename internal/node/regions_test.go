package node_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"geodns/internal/node"
	"geodns/pkg/api"
	"geodns/pkg/server"
)

// counters are the server's counts by slot.
type counters = [server.RegionsCounted]uint64

// TestRegionSlots shows that a name keeps its slot, and that those for which there is none left share the first.
func TestRegionSlots(t *testing.T) {
	var names []string
	for i := range server.RegionsCounted + 5 {
		names = append(names, fmt.Sprintf("r%d", i))
	}
	s := node.NewShares(names[3:6])
	s.Assign(names)
	s.Assign(names[1:2])
	taken := map[uint8]int{}
	for _, name := range names {
		taken[s.Slot(name)]++
	}
	if s.Slot("r3") != 1 || s.Slot("r5") != 3 || s.Slot("r0") != 4 || len(taken) != server.RegionsCounted || taken[0] != 6 {
		t.Errorf("slots %v", taken)
	}
	all := s.Names(counters{0: 7, 1: 3, 4: 5})
	if len(all) != server.RegionsCounted || all[api.RegionOther] != 7 || all["r3"] != 3 || all["r0"] != 5 {
		t.Errorf("names %v", all)
	}
}

// TestRegionShares covers what of the answers a region had, over a window that moves.
func TestRegionShares(t *testing.T) {
	s := node.NewShares([]string{"a", "b"})
	if r := s.Of("a", counters{}); r.ShareKnown || r.Answers != 0 {
		t.Errorf("before any answer: %+v", r)
	}
	// The process is younger than the window: all counts. What has no slot of its own counts among all, and is not known itself.
	now := counters{0: 10, 1: 30, 2: 60}
	if r := s.Of("a", now); !r.ShareKnown || r.Share != 0.3 || r.Answers != 30 {
		t.Errorf("young: %+v", r)
	}
	if r := s.Of("none", now); r.ShareKnown || r.Share != 0 || r.Answers != 0 {
		t.Errorf("no slot: %+v", r)
	}
	for range node.ShareSamples {
		s.Sample(now)
	}
	if r := s.Of("a", now); r.ShareKnown || r.Share != 0 || r.Answers != 30 {
		t.Errorf("nothing for as long as the window: %+v", r)
	}
	now[1] += 1
	now[2] += 3
	if r := s.Of("b", now); !r.ShareKnown || r.Share != 0.75 || r.Answers != 63 {
		t.Errorf("in the window: %+v", r)
	}
	for i := range node.ShareSamples {
		if r := s.Of("b", now); r.ShareKnown != (i < node.ShareSamples) {
			t.Errorf("after %d samples: %+v", i, r)
		}
		s.Sample(now)
	}
	if r := s.Of("b", now); r.ShareKnown {
		t.Errorf("past the window: %+v", r)
	}
}

// TestRegions asks a node, and looks at what it says of regions: states, answers, and both after other files.
func TestRegions(t *testing.T) {
	b := startBackends(t, "127.0.0.21", "127.0.0.22")
	text := steered(b[0].addr.Port())
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": text})
	n, _ := run(t, cfg)
	eventually(t, "all are probed", func() bool {
		return n.TargetState("web/eu1") == "up" && n.TargetState("web/us1") == "up" && n.TargetState("web/as1") == "down"
	})
	before := n.Status().Regions[1].Answers
	for range 3 {
		ask(t, n, "www.example.com.", dns.TypeA, clientEU)
	}
	ask(t, n, "www.example.com.", dns.TypeA, clientUS)
	eventually(t, "the states are served", func() bool { return n.Status().Regions[0].Down == 1 })
	regions := n.Status().Regions
	if r := regions[1]; r.Name != "eu" || r.Targets != 1 || r.Up != 1 || r.Admit != 1 || r.Answers != before+3 || !r.ShareKnown || r.Share < 0.7 {
		t.Errorf("eu: %+v", r)
	}
	if r := regions[2]; r.Name != "us" || r.Answers != 1 || r.Share > 0.3 {
		t.Errorf("us: %+v", r)
	}
	if r := regions[0]; r.Name != "as" || r.Down != 1 || r.Admit != 0 || r.Answers != 0 || r.Unknown+r.Degraded+r.Drained != 0 {
		t.Errorf("as: %+v", r)
	}
	// Another region comes first, and eu is gone: the counters go on as they are.
	text = strings.NewReplacer("name: eu,", "name: all-new,", "region: eu,", "region: all-new,", "us, eu, as", "us, all-new, as", "[eu, us", "[all-new, us").Replace(text)
	write(t, cfg.Zones, map[string]string{"www.yaml": text})
	if l, err := n.Reload(t.Context(), "test"); err != nil || l.Errors > 0 {
		t.Fatalf("%+v, %v", l, err)
	}
	ask(t, n, "www.example.com.", dns.TypeA, clientEU)
	response, err := http.Get("http://" + n.APIAddr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	metrics, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for region, count := range map[string]uint64{"eu": before + 3, "all-new": 1, "us": 1, "as": 0, api.RegionOther: 0} {
		if line := fmt.Sprintf("\ngeodns_answers_by_region_total{region=%q} %d\n", region, count); !strings.Contains(string(metrics), line) {
			t.Errorf("no line %s", line)
		}
	}
}
