package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/goleak"

	"geodns/internal/source"
	"geodns/pkg/api"
	"geodns/pkg/health"
	"geodns/pkg/policy"
	"geodns/pkg/server"
	"geodns/pkg/steering"
	"geodns/pkg/zone"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// config is a server that is well; tests change what they are about.
func config() api.Config {
	return api.Config{
		Listen:  netip.MustParseAddrPort("127.0.0.1:0"),
		Version: "v0",
		Log:     slog.New(slog.DiscardHandler),
		Status: func() api.Status {
			s := api.Status{
				Node: "n1", Version: "v0", Ready: true, Listen: []string{"127.0.0.1:5300"}, LastLoad: api.Load{Result: api.LoadLoaded},
				Geo: []api.Database{{Path: "city.mmdb", Type: "City", Built: time.Unix(1700000000, 0), Networks: 7, State: "current"}},
			}
			s.Inputs = []api.Input{
				{Name: api.InputZones, Path: "zones", Commit: "c1", Hash: "h1", Modified: time.Unix(1700000002, 0)}, {Name: api.InputBinary, Path: "geodns"},
			}
			s.World.ID, s.World.Table, s.World.Generation = "w1", "t1", 7
			s.World.SetZones([]zone.Info{{Origin: "example.com.", File: "example.com.zone", Serial: 9, Records: 4}})
			return s
		},
		Targets: func() []api.Target {
			return []api.Target{api.UncheckedTarget("dr/bunker"), {ID: "web/eu1", State: "down", InDoubt: true, Addresses: []api.Address{}}}
		},
		Ready: func() error { return nil },
		Explain: func(_ context.Context, q policy.Question) (*policy.Explanation, error) {
			if q.Name == "bad" {
				return nil, errors.New("no such name")
			}
			return &policy.Explanation{Name: q.Name + " " + q.Type + " " + q.Client.String()}, nil
		},
		Reload: func(context.Context, string) (api.Load, error) {
			return api.Load{Result: api.LoadLoaded, World: "w2"}, nil
		},
		Health: api.Health{
			Vote: func(_ context.Context, target string, v health.Vote) (bool, error) {
				switch {
				case target != "web/eu1":
					return false, health.ErrNoTarget
				case v.PoP == "other":
					return false, fmt.Errorf("%w: no such vantage point", health.ErrVote)
				case v.PoP == "late":
					return false, context.DeadlineExceeded
				}
				return v.Sequence > 1, nil
			},
			Checks: func() []api.Check { return []api.Check{{Name: "web", Kind: "http", Fall: 3}} },
			History: func(target string) ([]api.Probe, bool) {
				return []api.Probe{{Address: "192.0.2.1", Reason: "connection refused"}}, target == "web/eu1"
			},
			Tune: func(check string, t health.Thresholds) (api.Tune, bool) {
				return api.Tune{Fall: t.Fall, Rise: t.Rise, Dwell: t.Dwell.Seconds(), Damped: !t.NoDamping, Outage: t.Outage.Seconds()}, check == "web"
			},
			Events: api.NewEvents(),
		},
		Leases: leases(), Audit: audit(), Listing: listing(), RUM: measured(),
		Metrics: api.Metrics{
			Server: func() server.Stats {
				var s server.Stats
				s.Queries[server.UDP][server.IPv6] = 5
				s.Rcodes[0], s.Rcodes[17] = 4, 1
				s.Policies = map[string]uint64{"www": 3}
				return s
			},
			Regions: func() map[string]uint64 { return map[string]uint64{"fra": 6, api.RegionOther: 0} },
			Health: func() health.Stats {
				return health.Stats{Probes: []health.KindStats{{Kind: health.HTTP, Good: 11, Failed: 2}}}
			},
			Loads: func() api.LoadCounts { return api.LoadCounts{Loaded: 2, Refused: 1, Success: time.Unix(1700000001, 0)} },
		},
	}
}

// ask sends one request through the whole handler.
func ask(t *testing.T, cfg api.Config, method, target string, change ...func(*http.Request)) *http.Response {
	t.Helper()
	handler, err := api.NewHandler(cfg)
	if err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequestWithContext(t.Context(), method, "http://127.0.0.1:8053"+target, nil)
	for _, c := range change {
		c(request)
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	return recorder.Result()
}

// text reads a body.
func text(t *testing.T, response *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestAnswers(t *testing.T) {
	notReady := config()
	notReady.Ready = func() error { return errors.New("no geo data") }
	for _, tt := range []struct {
		name   string
		cfg    api.Config
		method string
		target string
		accept string
		status int
		want   []string
	}{
		{"status", config(), "GET", "/v1/status", "", 200, []string{`"node":"n1"`, `"origin":"example.com."`, `"zones_total":1`, `"records_total":4`, `"findings":[]`}},
		{"targets", config(), "GET", "/v1/targets", "", 200, []string{`{"targets":[{"id":"dr/bunker","state":"up"`, `"id":"web/eu1"`}},
		{"explain", config(), "GET", "/v1/explain?name=www.example.com&client=192.0.2.1", "", 200, []string{`"www.example.com A 192.0.2.1/32"`}},
		{"explain mapped", config(), "GET", "/v1/explain?name=www.example.com&type=AAAA&client=::ffff:192.0.2.1", "", 200, []string{`"www.example.com AAAA 192.0.2.1/32"`}},
		{"explain prefix", config(), "GET", "/v1/explain?name=www.example.com&client=2001:db8::/32", "", 200, []string{`"www.example.com A 2001:db8::/32"`}},
		{"explain error", config(), "GET", "/v1/explain?name=bad&client=192.0.2.1", "", 400, []string{`"detail":"explain: no such name"`}},
		{"explain host bits", config(), "GET", "/v1/explain?name=a&client=10.1.2.3/8", "", 400, []string{`10.0.0.0/8`}},
		{"explain zone", config(), "GET", "/v1/explain?name=a&client=fe80::1%25eth0", "", 400, []string{`neither an address nor a prefix`}},
		{"explain without client", config(), "GET", "/v1/explain?name=a", "", 422, []string{`"location":"query.client"`}},
		{"explain with more", config(), "GET", "/v1/explain?name=a&client=192.0.2.1&shade=red", "", 422, []string{`shade`}},
		{"reload", config(), "POST", "/v1/reload", "", 200, []string{`"result":"loaded"`, `"world":"w2"`, `"findings":[]`}},
		{"healthz", config(), "GET", "/healthz", "", 200, []string{"ok\n"}},
		{"readyz", config(), "GET", "/readyz", "", 200, []string{"ready\n"}},
		{"not ready", notReady, "GET", "/readyz", "", 503, []string{"not ready: no geo data\n"}},
		{"openapi", config(), "GET", "/openapi.json", "", 200, []string{`"openapi":"3.1.0"`, `"/v1/explain"`, `"operationId":"reload"`}},
		{"unknown", config(), "GET", "/v2/status", "", 404, []string{`"status":404`, `"detail":"GET /v2/status: 404 page not found"`}},
		{"method", config(), "GET", "/v1/reload", "", 405, []string{`"status":405`}},
		{"docs page", config(), "GET", "/docs", "", 404, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			response := ask(t, tt.cfg, tt.method, tt.target)
			got := text(t, response)
			if response.StatusCode != tt.status {
				t.Fatalf("status %d, want %d: %s", response.StatusCode, tt.status, got)
			}
			for _, want := range tt.want {
				if !strings.Contains(strings.Join(strings.Fields(got), " ")+"\n", strings.Join(strings.Fields(want), " ")) {
					t.Errorf("no %s in\n%s", want, got)
				}
			}
			kind := response.Header.Get("Content-Type")
			if tt.status >= 400 && tt.status != 503 && kind != "application/problem+json" {
				t.Errorf("an error in %q, want a problem document", kind)
			}
		})
	}
}

func TestExplainText(t *testing.T) {
	response := ask(t, config(), "GET", "/v1/explain?name=www.example.com&client=192.0.2.1", func(r *http.Request) { r.Header.Set("Accept", "text/plain") })
	if kind := response.Header.Get("Content-Type"); kind != "text/plain; charset=utf-8" {
		t.Errorf("content type %q", kind)
	}
	if got := text(t, response); strings.HasPrefix(got, "{") || got == "" {
		t.Errorf("not the text form: %q", got)
	}
}

func TestReloadRefused(t *testing.T) {
	cfg := config()
	cfg.Reload = func(context.Context, string) (api.Load, error) {
		load := api.Load{Result: api.LoadRefused}
		var findings source.Findings
		findings.Errorf(source.Place{File: "b.yaml", Line: 3, Col: 4}, "no such pool")
		findings.Warnf(source.Place{File: "a.zone", Line: 1, Col: 1}, "a long TTL")
		load.SetFindings(findings)
		return load, nil
	}
	response := ask(t, cfg, "POST", "/v1/reload")
	var problem struct {
		Status int
		Detail string
		Errors []struct{ Location, Message string }
	}
	if err := json.Unmarshal([]byte(text(t, response)), &problem); err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != 422 || problem.Status != 422 || len(problem.Errors) != 2 {
		t.Fatalf("status %d, problem %+v", response.StatusCode, problem)
	}
	if e := problem.Errors[1]; e.Location != "b.yaml:3:4" || e.Message != "error: no such pool" {
		t.Errorf("second finding %+v", e)
	}
	if !strings.Contains(problem.Detail, "errors: 1") {
		t.Errorf("detail %q", problem.Detail)
	}
	cfg.Reload = func(context.Context, string) (api.Load, error) { return api.Load{}, context.DeadlineExceeded }
	if response := ask(t, cfg, "POST", "/v1/reload"); response.StatusCode != 503 {
		t.Errorf("a load that could not be tried: %s", response.Status)
	}
}

// TestGuard checks what a browser could be made to send, and what it may see.
func TestGuard(t *testing.T) {
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	host := func(value string) func(*http.Request) { return func(r *http.Request) { r.Host = value } }
	for _, tt := range []struct {
		name   string
		method string
		change func(*http.Request)
		status int
	}{
		{"plain", "POST", host("127.0.0.1:8053"), 200},
		{"localhost", "POST", host("localhost:8053"), 200},
		{"IPv6", "POST", host("[::1]:8053"), 200},
		{"IPv6 without port", "POST", host("[::1]"), 200},
		{"rebound name", "POST", host("evil.example:8053"), 403},
		{"rebound name, read", "GET", host("evil.example"), 403},
		{"another address", "POST", host("192.0.2.1:8053"), 403},
		{"no host", "POST", host(""), 403},
		{"form of another site", "POST", header("Sec-Fetch-Site", "cross-site"), 403},
		{"script of another origin", "POST", header("Origin", "https://evil.example"), 403},
		{"tool with the same origin", "POST", header("Origin", "http://127.0.0.1:8053"), 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target := map[string]string{"POST": "/v1/reload", "GET": "/v1/status"}[tt.method]
			response := ask(t, config(), tt.method, target, tt.change)
			if response.StatusCode != tt.status {
				t.Errorf("status %d, want %d", response.StatusCode, tt.status)
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	got := text(t, ask(t, config(), "GET", "/metrics"))
	for _, want := range []string{
		`geodns_queries_total{family="ipv6",transport="udp"} 5`,
		`geodns_queries_total{family="ipv4",transport="tcp"} 0`,
		`geodns_responses_total{rcode="NOERROR"} 4`,
		`geodns_responses_total{rcode="RCODE17"} 1`,
		`geodns_policy_answers_total{policy="www"} 3`,
		`geodns_answers_by_region_total{region="fra"} 6`,
		`geodns_answers_by_region_total{region="_other"} 0`,
		`geodns_input_info{commit="c1",hash="h1",input="zones",path="zones"} 1`,
		`geodns_input_info{commit="",hash="",input="binary",path="geodns"} 1`,
		`geodns_input_modified_timestamp_seconds{input="zones",path="zones"} 1.700000002e+09`,
		`geodns_world_generation 7`,
		`geodns_event_streams 0`,
		`geodns_event_streams_dropped_total 0`,
		`geodns_probes_total{kind="http",result="failed"} 2`,
		`geodns_reloads_total{result="refused"} 1`,
		`geodns_reload_last_success_timestamp_seconds 1.700000001e+09`,
		`geodns_targets{state="down"} 1`,
		`geodns_targets{state="degraded"} 0`,
		`geodns_targets_in_doubt 1`,
		`geodns_targets_drained 0`,
		`geodns_lease_expires_timestamp_seconds{action="drain",lease="a",object="region fra"} `,
		`geodns_audit_entries 7`,
		`geodns_audit_broken 0`,
		`geodns_audit_failing 0`,
		`geodns_table_info{id="t1"} 1`,
		`geodns_geo_database_build_timestamp_seconds{path="city.mmdb"} 1.7e+09`,
		`geodns_build_info{goversion=`,
		`go_goroutines `,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s", want)
		}
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

// TestRun serves on a real socket and ends with its context.
func TestRun(t *testing.T) {
	s, err := api.New(config())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr().String()+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, response); got != "ok\n" {
		t.Errorf("healthz says %q", got)
	}
	response.Body.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close after Run: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	cfg := config()
	cfg.Listen = netip.MustParseAddrPort("0.0.0.0:8053")
	if _, err := api.New(cfg); err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("an address for everyone: %v", err)
	}
	cfg = config()
	cfg.Reload = nil
	if _, err := api.New(cfg); err == nil {
		t.Error("a config without its funcs is taken")
	}
	first, err := api.New(config())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	cfg = config()
	cfg.Listen = first.Addr()
	if _, err := api.New(cfg); err == nil || !strings.Contains(err.Error(), "api.listen") {
		t.Errorf("an address in use: %v", err)
	}
}

// TestLists checks that documents stay short on large servers, with the true totals beside them.
func TestLists(t *testing.T) {
	var w api.World
	w.SetZones(make([]zone.Info, api.ZonesListedMax+5))
	if len(w.Zones) != api.ZonesListedMax || w.ZoneN != api.ZonesListedMax+5 {
		t.Errorf("%d zones listed of %d", len(w.Zones), w.ZoneN)
	}
	var findings source.Findings
	for range api.FindingsListedMax + 5 {
		findings.Errorf(source.WholeFile("a"), "x")
	}
	findings.Warnf(source.WholeFile("a"), "y")
	var l api.Load
	l.SetFindings(findings)
	if len(l.Findings) != api.FindingsListedMax || l.Errors != api.FindingsListedMax+5 || l.Warnings != 1 {
		t.Errorf("%d findings listed, %d errors, %d warnings", len(l.Findings), l.Errors, l.Warnings)
	}
}

func TestTargetOf(t *testing.T) {
	got := api.TargetOf(&health.Status{
		Target: "web/eu1", Check: "web", Verdict: steering.Verdict{State: steering.Down, Admit: 65535},
		Addresses: []health.AddressStatus{{Address: "192.0.2.1", State: steering.Down, Doubt: health.Contested, Reason: "connection refused", Latency: 1500 * time.Microsecond}},
	})
	if got.ID != "web/eu1" || got.State != "down" || got.Admit != 1 || got.InDoubt {
		t.Errorf("target %+v", got)
	}
	if a := got.Addresses[0]; a.Doubt != "contested" || a.Reason != "connection refused" || a.Latency != 0.0015 {
		t.Errorf("address %+v", a)
	}
}
