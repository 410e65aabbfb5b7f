package api_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"geodns/pkg/api"
	"geodns/pkg/health"
	"geodns/pkg/steering"
)

// body sends a JSON document.
func body(document string) func(*http.Request) {
	return func(r *http.Request) {
		r.Body = io.NopCloser(strings.NewReader(document))
		r.ContentLength = int64(len(document))
		r.Header.Set("Content-Type", "application/json")
	}
}

func TestVotes(t *testing.T) {
	const vote = `{"boot": 1764250000, "sequence": 17, "age_seconds": 1.5, "state": "down", "admit": 0.5, "reason": "status 503"}`
	least := func(more string) string {
		return `{"boot": 1, "sequence": 2, "age_seconds": 0, "state": "up"` + more + `}`
	}
	for _, tt := range []struct {
		name, path, document string
		status               int
		want                 string
	}{
		{"accepted", "fra/web/eu1", vote, 200, `{"accepted":true}`},
		{"known", "fra/web/eu1", `{"boot": 1, "sequence": 1, "age_seconds": 0, "state": "degraded"}`, 200, `{"accepted":false}`},
		{"least", "fra/web/eu1", least(""), 200, `{"accepted":true}`},
		{"no target", "fra/web/none", vote, 404, `there is no target \"web/none\", or its pool has no check`},
		{"no such vantage point", "other/web/eu1", vote, 422, `a vote is not as it should be: no such vantage point`},
		{"no time", "late/web/eu1", vote, 503, `the vote was not taken: context deadline exceeded`},
		{"longest PoP", strings.Repeat("p", 63) + "/web/eu1", vote, 200, `{"accepted":true}`},
		{"long PoP", strings.Repeat("p", 64) + "/web/eu1", vote, 422, `path.pop`},
		{"odd PoP", "a%20b/web/eu1", vote, 422, `path.pop`},
		{"foreign PoP", "fr%C3%A4/web/eu1", vote, 422, `path.pop`},
		{"state", "fra/web/eu1", `{"boot": 1, "sequence": 2, "age_seconds": 0, "state": "unknown"}`, 422, `body.state`},
		{"no state", "fra/web/eu1", `{"boot": 1, "sequence": 2}`, 422, `state`},
		{"no age", "fra/web/eu1", `{"boot": 1, "sequence": 2, "state": "up"}`, 422, `age_seconds`},
		{"no boot", "fra/web/eu1", `{"sequence": 2, "age_seconds": 0, "state": "up"}`, 422, `boot`},
		{"negative boot", "fra/web/eu1", `{"boot": -1, "sequence": 2, "age_seconds": 0, "state": "up"}`, 422, `body.boot`},
		{"age", "fra/web/eu1", least(`, "age_seconds": -1`), 422, `body.age_seconds`},
		{"old", "fra/web/eu1", least(`, "age_seconds": 3601`), 422, `body.age_seconds`},
		{"much", "fra/web/eu1", least(`, "admit": 1.1`), 422, `body.admit`},
		{"longest reason", "fra/web/eu1", least(`, "reason": "` + strings.Repeat("a", health.VoteReasonMax) + `"`), 200, ``},
		{"long reason", "fra/web/eu1", least(`, "reason": "` + strings.Repeat("a", health.VoteReasonMax+1) + `"`), 422, `body.reason`},
		{"long reason in bytes", "fra/web/eu1", least(`, "reason": "` + strings.Repeat("ä", health.VoteReasonMax/2+1) + `"`), 422, `body.reason`},
		{"reason for a terminal", "fra/web/eu1", least(`, "reason": "\u001b[2J"`), 422, `body.reason`},
		{"unknown field", "fra/web/eu1", least(`, "weight": 1`), 422, `weight`},
		{"no JSON", "fra/web/eu1", `up`, 400, `invalid character`},
		{"nothing", "fra/web/eu1", ``, 400, `request body is required`},
		{"huge", "fra/web/eu1", least(`, "reason": "` + strings.Repeat("a", 1<<20) + `"`), 413, ``},
	} {
		t.Run(tt.name, func(t *testing.T) {
			response := ask(t, config(), "PUT", "/v1/votes/"+tt.path, body(tt.document))
			if got := text(t, response); response.StatusCode != tt.status || !strings.Contains(got, tt.want) {
				t.Errorf("status %d, want %d and %s: %.500s", response.StatusCode, tt.status, tt.want, got)
			}
		})
	}
}

// TestVoteOf covers what of a document reaches the checker.
func TestVoteOf(t *testing.T) {
	for document, want := range map[string]health.Vote{
		`{"boot": 18446744073709551615, "sequence": 17, "age_seconds": 1.5, "state": "down", "admit": 0.5, "reason": "status 503"}`: {
			PoP: "fra", Boot: 1<<64 - 1, Sequence: 17, Age: 1500 * time.Millisecond, State: steering.Down, Admit: 32768, Reason: "status 503",
		},
		`{"boot": 1, "sequence": 0, "age_seconds": 0, "state": "degraded", "admit": 0}`: {PoP: "fra", Boot: 1, State: steering.Degraded},
		`{"boot": 0, "sequence": 1, "age_seconds": 0, "state": "up"}`:                   {PoP: "fra", Sequence: 1, State: steering.Up, Admit: steering.AdmitAll},
	} {
		cfg := config()
		var got health.Vote
		var target string
		cfg.Health.Vote = func(_ context.Context, id string, v health.Vote) (bool, error) { target, got = id, v; return true, nil }
		response := ask(t, cfg, "PUT", "/v1/votes/fra/web/eu1", body(document))
		if response.StatusCode != 200 || target != "web/eu1" || got != want {
			t.Errorf("%s: %s %+v", response.Status, target, got)
		}
	}
}

func TestHealthAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, target string
		status       int
		want         string
	}{
		{"checks", "/v1/checks", 200, `{"checks":[{"name":"web","kind":"http"`},
		{"history", "/v1/targets/web/eu1/history", 200, `{"target":"web/eu1","probes":[{"at":"0001-01-01T00:00:00Z","address":"192.0.2.1","ok":false`},
		{"history of none", "/v1/targets/web/eu2/history", 404, `there is no target`},
		{"tune", "/v1/checks/web/tune", 200, `{"fall":0,"rise":0,"dwell_seconds":0,"damped":true,"outage_seconds":0`},
		{"tune all", "/v1/checks/web/tune?fall=2&rise=3&dwell=1m30s&damping=off&outage=500ms", 200, `{"fall":2,"rise":3,"dwell_seconds":90,"damped":false,"outage_seconds":0.5`},
		{"tune none", "/v1/checks/none/tune", 404, `there is no check \"none\"`},
		{"tune fall", "/v1/checks/web/tune?fall=101", 422, `query.fall`},
		{"tune rise", "/v1/checks/web/tune?rise=-1", 422, `query.rise`},
		{"tune dwell", "/v1/checks/web/tune?dwell=5", 422, `query.dwell`},
		{"tune outage", "/v1/checks/web/tune?outage=-5s", 422, `query.outage`},
		{"tune damping", "/v1/checks/web/tune?damping=maybe", 422, `query.damping`},
		{"tune more", "/v1/checks/web/tune?fal=1", 422, `fal`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			response := ask(t, config(), "GET", tt.target)
			if got := text(t, response); response.StatusCode != tt.status || !strings.Contains(got, tt.want) {
				t.Errorf("status %d, want %d and %s: %.500s", response.StatusCode, tt.status, tt.want, got)
			}
		})
	}
	for _, path := range []string{"/v1/votes/{pop}/{pool}/{target}", "/v1/checks", "/v1/targets/{pool}/{target}/history", "/v1/checks/{check}/tune", "/v1/events"} {
		if !strings.Contains(text(t, ask(t, config(), "GET", "/openapi.json")), `"`+path+`"`) {
			t.Errorf("%s is not described", path)
		}
	}
}

func TestHealthDocuments(t *testing.T) {
	check := api.CheckOf(health.CheckStatus{Targets: 2, Addresses: 4, Check: health.Check{
		Name: "web", Kind: health.HTTPS, Port: 443, Dwell: time.Minute,
		Latency: health.Latency{Slow: 250 * time.Millisecond, Worst: time.Second}, Votes: health.Votes{Need: 2}, Damping: health.Damping{Off: true},
	}})
	if check.Kind != "https" || check.Interval != 5 || check.Fall != 3 || check.Dwell != 60 || check.Slow != 0.25 || check.VotesNeed != 2 ||
		check.Damping.On || check.Addresses != 4 {
		t.Errorf("check %+v", check)
	}
	at := time.Date(2026, 11, 27, 15, 0, 0, 0, time.FixedZone("", 3600))
	probe := api.ProbeOf(health.Probed{Address: "192.0.2.1", At: at, Latency: 1500 * time.Microsecond, Reason: "x", Recheck: true, Void: true})
	if diff := cmp.Diff(api.Probe{At: at.UTC(), Address: "192.0.2.1", Latency: 0.0015, Reason: "x", Recheck: true, Void: true}, probe); diff != "" {
		t.Error(diff)
	}
	report := health.TuneReport{Fall: 2, Rise: 4, Dwell: time.Minute, Damped: true, Outage: 30 * time.Second, Targets: 1, Probes: 9, From: at, To: at, Failovers: 4, False: 1, Missed: 3}
	want := api.Tune{Fall: 2, Rise: 4, Dwell: 60, Damped: true, Outage: 30, Targets: 1, Probes: 9, From: at.UTC(), To: at.UTC(), Failovers: 4, False: 1, Missed: 3}
	if diff := cmp.Diff(want, api.TuneOf(report)); diff != "" {
		t.Error(diff)
	}
	for n, quantiles := range map[int]api.Detection{1: {P50: 1, P99: 1, Max: 1}, 4: {P50: 2, P99: 4, Max: 4}, 200: {P50: 100, P99: 198, Max: 200}} {
		report.Detect = nil
		for i := range n {
			report.Detect = append(report.Detect, time.Duration(i+1)*time.Second)
		}
		if got := api.TuneOf(report).Detect; *got != quantiles {
			t.Errorf("of %d: %+v", n, *got)
		}
	}
	event := api.VerdictEventOf(health.Event{ID: "v-1", At: at, Target: "web/eu1", From: steering.Up, To: steering.Down, Reason: "fall", Detail: "timeout"})
	if diff := cmp.Diff(api.VerdictEvent{ID: "v-1", At: at.UTC(), Target: "web/eu1", From: "up", To: "down", Reason: "fall", Detail: "timeout"}, event); diff != "" {
		t.Error(diff)
	}
}

// stats is a checker that has seen something of everything.
func stats() health.Stats {
	at := time.Unix(1_764_250_000, 500_000_000)
	return health.Stats{
		Probes: []health.KindStats{{Kind: health.HTTP, Good: 11, Failed: 2}},
		ProbeSeconds: []health.ProbeSeconds{{
			Check: "web", Good: health.Histogram{Bounds: []float64{0.01, 0.1}, Counts: []uint64{7, 3, 1}, Sum: 0.9},
			Failed: health.Histogram{Bounds: []float64{0.01, 0.1}, Counts: []uint64{0, 0, 2}, Sum: 4},
		}},
		Detect: health.Histogram{
			Bounds: []float64{1, 2.5, 5}, Counts: []uint64{0, 2, 1, 1}, Sum: 14.5,
			Exemplars: []health.Exemplar{{}, {ID: "v-ab12-7", Value: 2.5, At: at}, {}, {ID: "v-ab12-9", Value: 6, At: at}},
		},
		VerdictCounts: []health.VerdictCount{{To: steering.Down, Reason: "fall", N: 4}, {To: steering.Up, Reason: "rise", N: 3}},
		Votes:         health.VoteCounts{Accepted: 5, Stale: 6, Refused: 7}, Rechecks: 8, RechecksDenied: 9,
		InDoubt: "mass", CanariesGood: 1, CanariesFailed: 2, Suppressed: 3, Expiries: []health.Expiry{{Check: "web", At: at}},
	}
}

// TestHealthMetrics covers the text for a scraper of old.
func TestHealthMetrics(t *testing.T) {
	cfg := config()
	cfg.Metrics.Health = stats
	response := ask(t, cfg, "GET", "/metrics")
	got := text(t, response)
	for _, want := range []string{
		`geodns_probes_total{kind="http",result="failed"} 2`,
		`geodns_probe_duration_seconds_bucket{check="web",result="good",le="0.01"} 7`,
		`geodns_probe_duration_seconds_bucket{check="web",result="good",le="0.1"} 10`,
		`geodns_probe_duration_seconds_bucket{check="web",result="good",le="+Inf"} 11`,
		`geodns_probe_duration_seconds_sum{check="web",result="good"} 0.9`,
		`geodns_probe_duration_seconds_count{check="web",result="failed"} 2`,
		`geodns_probe_lateness_seconds_count 0`,
		`geodns_failover_publish_seconds_count 0`,
		`geodns_failover_detect_seconds_bucket{le="2.5"} 2`,
		`geodns_failover_detect_seconds_count 4`,
		`geodns_verdicts_total{reason="fall",to="down"} 4`,
		`geodns_votes_total{result="accepted"} 5`,
		`geodns_votes_total{result="stale"} 6`,
		`geodns_votes_total{result="refused"} 7`,
		`geodns_rechecks_total 8`,
		`geodns_rechecks_denied_total 9`,
		`geodns_checker_in_doubt{reason="mass"} 1`,
		`geodns_checker_in_doubt{reason="canaries"} 0`,
		`geodns_canaries{state="good"} 1`,
		`geodns_canaries{state="failed"} 2`,
		`geodns_targets_suppressed 3`,
		`geodns_certificate_expiry_timestamp_seconds{check="web"} 1.7642500005e+09`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(got, "v-ab12") {
		t.Error("an exemplar in a format that has none")
	}
	problems, err := promlint.New(strings.NewReader(got)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "geodns_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// TestExemplars covers what a scraper gets that asks for OpenMetrics: the verdict in each bucket.
func TestExemplars(t *testing.T) {
	cfg := config()
	cfg.Metrics.Health = stats
	response := ask(t, cfg, "GET", "/metrics", func(r *http.Request) {
		r.Header.Set("Accept", "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;version=0.0.4;q=0.5")
	})
	if kind := response.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/openmetrics-text; version=1.0.0") {
		t.Errorf("content type %q", kind)
	}
	got := text(t, response)
	for _, want := range []string{
		"geodns_failover_detect_seconds_bucket{le=\"1.0\"} 0\n",
		"geodns_failover_detect_seconds_bucket{le=\"2.5\"} 2 # {verdict=\"v-ab12-7\"} 2.5 1.7642500005e+09\n",
		"geodns_failover_detect_seconds_bucket{le=\"5.0\"} 3\n",
		"geodns_failover_detect_seconds_bucket{le=\"+Inf\"} 4 # {verdict=\"v-ab12-9\"} 6.0 1.7642500005e+09\n",
		"geodns_failover_detect_seconds_sum 14.5\n",
		"# EOF\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s", want)
		}
	}
}
