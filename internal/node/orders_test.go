package node_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"geodns/internal/durable"
	"geodns/internal/node"
	"geodns/pkg/api"
	"geodns/pkg/policy"
)

// measured is a policy by what users measured, and by the order of the file where nobody did.
const measured = `
regions:
  - {name: ams, location: [52.4, 4.9]}
  - {name: fra, location: [50.1, 8.7]}
pools:
  - name: web
    targets:
      - {name: ams1, region: ams, values: [127.0.0.21]}
      - {name: fra1, region: fra, values: [127.0.0.22]}
policies:
  - name: www
    rules: [{name: all, pool: web, rank: [{latency: {band: 10ms, dwell: 1s, min_samples: 20, max_age: 1m}}, listed]}]
    all_down: serve-all
`

// feed sends what some clients of 193.0.6.0/24 measured: the same of each. What their budgets do not allow now they send again later.
func feed(t *testing.T, n *node.Node, region string, ms int) {
	t.Helper()
	var lines strings.Builder
	for i := range 60 {
		fmt.Fprintf(&lines, `{"client":"193.0.6.%d","region":%q,"ms":%d}`+"\n", i+1, region, ms+i%3)
	}
	status, got := sendTo(t, http.MethodPost, "http://"+n.APIAddr().String()+"/v1/rum/bulk", "application/x-ndjson", lines.String())
	if status != http.StatusAccepted {
		t.Fatalf("status %d: %s", status, got)
	}
}

// TestOrders: what the users of a network measured comes first for them, with the scope of their network, over a restart too; for
// others nothing changes; and when it is no longer so, it is undone.
func TestOrders(t *testing.T) {
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": measured})
	cfg.RUM = node.RUM{Interval: time.Second, Window: 10 * time.Second, MinSources: 5}
	n, stop := run(t, cfg)
	const near, other = "193.0.6.0/24", "193.0.200.0/24"
	answer := func(client string) (string, uint8) {
		m := ask(t, n, "www.example.com.", dns.TypeA, client)
		var scope uint8
		for _, o := range m.IsEdns0().Option {
			if e, ok := o.(*dns.EDNS0_SUBNET); ok {
				scope = e.SourceScope
			}
		}
		return addrs(m), scope
	}
	if got, _ := answer(near); got != "127.0.0.21" {
		t.Fatalf("before: %s", got)
	}
	feed(t, n, "ams", 60)
	feed(t, n, "fra", 20)
	eventually(t, "the measured region comes first", func() bool { got, _ := answer(near); return got == "127.0.0.22" })
	if _, scope := answer(near); scope != 24 {
		t.Errorf("scope /%d, want that of the network", scope)
	}
	if got, _ := answer(other); got != "127.0.0.21" {
		t.Errorf("another network gets %s", got)
	}
	_, text := sendTo(t, http.MethodGet, "http://"+n.APIAddr().String()+"/v1/explain?name=www.example.com&client=193.0.6.0%2F24", "", "")
	var explained policy.Explanation
	if err := json.Unmarshal([]byte(text), &explained); err != nil || len(explained.Tiers) == 0 || len(explained.Tiers[0].Measured) != 1 {
		t.Fatalf("explained as\n%s", text)
	}
	if m := explained.Tiers[0].Measured[0]; m.Region != "fra" || m.Rung != near || m.Settled <= 0 || m.Now == nil || m.Now.Samples <= 0 {
		t.Errorf("explained as\n%s", text)
	}
	again := time.Now()
	feed(t, n, "ams", 60)
	feed(t, n, "fra", 20)
	eventually(t, "what came later is looked at", func() bool {
		var later policy.Explanation
		call(t, n, http.MethodGet, "/v1/explain?name=www.example.com&client=193.0.6.0%2F24", "", &later)
		now := later.Tiers[0].Measured[0].Now
		return now != nil && time.Now().Add(-time.Duration(now.Age*float64(time.Second))).After(again)
	})
	stop()
	if last := savedLast(t, filepath.Join(cfg.State, "orders")); last.Before(again.Truncate(time.Second)) {
		t.Errorf("the last sample is saved as of %s, and there are some of %s", last, again)
	}
	n, _ = run(t, cfg)
	if got, _ := answer(near); got != "127.0.0.22" {
		t.Errorf("the first answer after a restart is %s", got)
	}
	eventually(t, "it is undone when it is no longer so", func() bool {
		feed(t, n, "ams", 20)
		feed(t, n, "fra", 60)
		got, _ := answer(near)
		return got == "127.0.0.21"
	})
}

// savedLast is when the youngest sample was measured that saved orders go by.
func savedLast(t *testing.T, path string) (last time.Time) {
	t.Helper()
	data, err := durable.Peek(path)
	if err != nil {
		t.Fatal(err)
	}
	var orders struct {
		Options []struct {
			Rungs []struct{ Settled []struct{ Last time.Time } }
		}
	}
	if err := json.Unmarshal(data, &orders); err != nil {
		t.Fatal(err)
	}
	for _, o := range orders.Options {
		for _, r := range o.Rungs {
			for _, s := range r.Settled {
				if s.Last.After(last) {
					last = s.Last
				}
			}
		}
	}
	return last
}

// TestOrdersSpoilt: saved orders that are none are set aside, so that a person can look at them, and cost no more than themselves.
func TestOrdersSpoilt(t *testing.T) {
	logged := new(logText)
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": measured})
	cfg.Log = slog.New(slog.NewTextHandler(logged, nil))
	path := filepath.Join(cfg.State, "orders")
	if err := durable.Write(path, []byte("no orders")); err != nil {
		t.Fatal(err)
	}
	n, stop := run(t, cfg)
	defer stop()
	if got := addrs(ask(t, n, "www.example.com.", dns.TypeA, "193.0.6.0/24")); got != "127.0.0.21" {
		t.Errorf("answer %s", got)
	}
	aside, err := durable.Peek(path + ".corrupt")
	if text := logged.String(); err != nil || string(aside) != "no orders" || !strings.Contains(text, "are made anew") || !strings.Contains(text, "set aside") {
		t.Errorf("set aside is %q, %v; logged %s", aside, err, text)
	}
}

// TestOrdersLimited: where what users measured would publish more scopes than ecs.max_scopes, the files are served on, and loaded, and
// the log, the status and explain say what is left out.
func TestOrdersLimited(t *testing.T) {
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": measured})
	logged := new(logText)
	cfg.Log = slog.New(slog.NewTextHandler(logged, nil))
	cfg.MaxScopes = 1<<8 + 1<<16 // as many as there are where all have one plan
	cfg.RUM = node.RUM{Interval: time.Second, Window: time.Minute, MinSources: 5}
	n, _ := run(t, cfg)
	feed(t, n, "ams", 60)
	feed(t, n, "fra", 20)
	eventually(t, "the status has the policy", func() bool {
		var status api.Status
		call(t, n, http.MethodGet, "/v1/status", "", &status)
		return slices.Equal(status.RUM.Limited, []string{"www"})
	})
	const client = "193.0.6.0/24"
	if got := addrs(ask(t, n, "www.example.com.", dns.TypeA, client)); got != "127.0.0.21" {
		t.Errorf("answered with %s", got)
	}
	if logged.count("would publish more scopes by what users measured") == 0 {
		t.Error("nothing is logged")
	}
	_, text := sendTo(t, http.MethodGet, "http://"+n.APIAddr().String()+"/v1/explain?name=www.example.com&client=193.0.6.0%2F24", "", "")
	if !strings.Contains(text, "ecs.max_scopes") {
		t.Errorf("explained as\n%s", text)
	}
	load, err := n.Reload(t.Context(), "test")
	if err != nil || load.Result == api.LoadRefused || load.Warnings == 0 {
		t.Errorf("load %+v, %v", load, err)
	}
}

// TestProposals: what users measured makes a diff of the maps, with its evidence, and changes nothing by itself.
func TestProposals(t *testing.T) {
	cfg := config(t, map[string]string{
		"example.com.zone": zoneText,
		"www.yaml": strings.Replace(strings.Replace(measured, "rank: [{latency: {band: 10ms, dwell: 1s, min_samples: 20, max_age: 1m}}, listed]", "rank: [{map: near}]", 1),
			"policies:", "maps:\n  - name: near\n    areas: {default: [ams, fra]}\n    subnets: {193.0.6.0/24: [ams, fra]}\npolicies:", 1),
	})
	cfg.RUM = node.RUM{Interval: time.Second, Window: time.Minute, MinSources: 5}
	n, _ := run(t, cfg)
	feed(t, n, "ams", 60)
	feed(t, n, "fra", 20)
	var got struct {
		Proposals int `json:"proposals_total"`
		Diff      string
	}
	eventually(t, "a proposal", func() bool {
		call(t, n, http.MethodGet, "/v1/rum/proposals?min_samples=20", "", &got)
		return got.Proposals == 1
	})
	for _, want := range []string{"www.yaml", "-    subnets: {193.0.6.0/24: [ams, fra]}", "+    subnets: {193.0.6.0/24: [fra, ams]}", "+    # measured: "} {
		if !strings.Contains(got.Diff, want) {
			t.Errorf("no %q in\n%s", want, got.Diff)
		}
	}
	if a := addrs(ask(t, n, "www.example.com.", dns.TypeA, "193.0.6.0/24")); a != "127.0.0.21" {
		t.Errorf("it was not asked to change the answer: %s", a)
	}
}
