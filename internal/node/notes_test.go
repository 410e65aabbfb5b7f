package node_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"geodns/internal/node"
	"geodns/pkg/health"
	"geodns/pkg/policy"
	"geodns/pkg/steering"
)

// TestHealthNotes shows what is noted of targets in all kinds of trouble.
func TestHealthNotes(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("", 3600))
	for _, c := range []struct {
		name string
		s    health.Status
		want string
	}{
		{"never probed", health.Status{
			Check: "web", Verdict: steering.Verdict{State: steering.Unknown, InDoubt: true, Admit: steering.AdmitAll}, Doubt: health.NeverProbed, Since: at,
			Addresses: []health.AddressStatus{{Address: "192.0.2.1"}},
		}, `
check web: unknown since 2026-03-01T11:00:00Z
in doubt: never-probed
own vote: 192.0.2.1 never probed`},
		{"held", health.Status{
			Check: "web", Verdict: steering.Verdict{State: steering.Down, Admit: steering.AdmitAll}, Hold: health.Suppressed, HoldEnds: 90 * time.Second, Penalty: 2.345, Since: at,
			Reason: health.Fall, Detail: "192.0.2.1: connection refused", Decision: "0a1b-7",
			Addresses: []health.AddressStatus{
				{Address: "192.0.2.1", State: steering.Up, Probe: at.Add(time.Minute), OK: true, Reason: "status 200", Good: 4},
				{Address: "2001:db8::1", State: steering.Down, Probe: at, Reason: "connection refused", Failed: 2},
			},
		}, `
check web: down since 2026-03-01T11:00:00Z, by fall: 192.0.2.1: connection refused (decision 0a1b-7)
held down: suppressed, for 1m30s more if nothing fails; penalty 2.3
own vote: 192.0.2.1 up, probed at 2026-03-01T11:01:00Z: status 200; good in a row: 4
own vote: 2001:db8::1 down, probed at 2026-03-01T11:00:00Z: connection refused; failed in a row: 2`},
		{"voted", health.Status{
			Check: "web", Verdict: steering.Verdict{State: steering.Degraded, Admit: steering.AdmitAll / 4}, Since: at, Reason: health.ByVotes, Need: 2,
			Votes: []health.VoteStatus{
				{Vote: health.Vote{PoP: "ams", State: steering.Up, Admit: steering.AdmitAll, Age: 1400 * time.Millisecond}, Fresh: true},
				{Vote: health.Vote{PoP: "old", State: steering.Down, Age: time.Hour}},
				{Vote: health.Vote{PoP: "sin", State: steering.Degraded, Admit: steering.AdmitAll / 4, Age: 2 * time.Second, Reason: "slow"}, Fresh: true},
			},
		}, `
check web: degraded since 2026-03-01T11:00:00Z, by votes
admits 25.0 % of its traffic
vote of ams: up, 1s old
vote of sin: degraded, 2s old, admit 0.25: slow
votes down that it takes: 2`},
	} {
		if diff := cmp.Diff(strings.TrimPrefix(c.want, "\n"), strings.Join(node.HealthNotes(&c.s), "\n")); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
	}
}

// TestExplainNotes shows the notes of a running node.
func TestExplainNotes(t *testing.T) {
	b := startBackends(t, "127.0.0.21", "127.0.0.22")
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(b[0].addr.Port())})
	n, _ := run(t, cfg)
	eventually(t, "up", func() bool { return ask(t, n, "www.example.com.", dns.TypeA, clientEU).Answer[0].Header().Ttl == 60 })
	e, err := n.Explained(policy.Question{Name: "www.example.com", Client: netip.MustParsePrefix(clientEU)})
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(e.Tiers[0].Targets[0].Notes, "\n"); !strings.Contains(notes, "check web: up since ") || !strings.Contains(notes, ", by first-probe") ||
		!strings.Contains(notes, "own vote: 127.0.0.21 up, probed at ") {
		t.Errorf("noted: %s", notes)
	}
}

// TestExplainLong shows that of an explanation with more lines than an answer holds, what is decided is told all the same.
func TestExplainLong(t *testing.T) {
	var pool strings.Builder
	for i := range 400 {
		fmt.Fprintf(&pool, "      - {name: t%d, region: r, values: [198.51.%d.%d]}\n", i, 100+i/200, 1+i%200)
	}
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": "regions: [{name: r}]\npools:\n  - name: web\n    targets:\n" + pool.String() +
		"policies: [{name: www, answers: 16, all_down: servfail, rules: [{name: all, pool: web}]}]\n"})
	n, _ := run(t, cfg)
	lines, r := chaos(t, n, "tcp", "www.example.com.explain.geodns.", "")
	text := strings.Join(lines, "\n")
	if r.Rcode != dns.RcodeSuccess || len(lines) != node.ChaosLinesMax {
		t.Errorf("%s, %d lines", dns.RcodeToString[r.Rcode], len(lines))
	}
	for _, want := range []string{"question  www", "tier 1    pool web", "lines more here, which the API has", "choice    web/", "runner-up web/", "flip      another draw", "answer    www.example.com. 60 IN A ", "node      test"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
