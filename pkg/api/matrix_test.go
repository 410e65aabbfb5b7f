package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"geodns/pkg/api"
	"geodns/pkg/health"
	"geodns/pkg/operator"
	"geodns/pkg/rum"
)

// operation is one that the API's description has.
type operation struct {
	method, path string // places in the path filled in
	permission   string
	hasBody      bool
}

// String gives it as people write it.
func (o operation) String() string { return o.method + " " + o.path }

// described lists the operations of the API's description.
func described(t *testing.T) []operation {
	t.Helper()
	var document struct {
		Paths map[string]map[string]struct {
			Permission  string                `json:"x-permission"`
			Security    []map[string][]string `json:"security"`
			RequestBody any                   `json:"requestBody"`
		} `json:"paths"`
	}
	if err := json.Unmarshal([]byte(text(t, ask(t, config(), "GET", "/openapi.json"))), &document); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("{pop}", "fra", "{pool}", "web", "{target}", "eu1", "{check}", "web", "{id}", "a")
	var all []operation
	for path, methods := range document.Paths {
		for method, op := range methods {
			all = append(all, operation{strings.ToUpper(method), fill.Replace(path), op.Permission, op.RequestBody != nil})
			if len(op.Security) == 0 || op.Permission == "" {
				t.Errorf("%s %s: permission %q, security %v", method, path, op.Permission, op.Security)
			}
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.String(), b.String()) })
	if len(all) < 9 {
		t.Fatalf("operations %v", all)
	}
	return all
}

// watched is a config whose funcs that do or tell anything are counted.
func watched() (cfg api.Config, calls *atomic.Int64) {
	cfg, calls = config(), new(atomic.Int64)
	within := cfg
	cfg.Status = func() api.Status { calls.Add(1); return within.Status() }
	cfg.Targets = func() []api.Target { calls.Add(1); return within.Targets() }
	cfg.Reload = func(ctx context.Context, who string) (api.Load, error) { calls.Add(1); return within.Reload(ctx, who) }
	cfg.Leases.Put = func(ctx context.Context, r operator.Request) (api.LeaseResult, error) {
		calls.Add(1)
		return within.Leases.Put(ctx, r)
	}
	cfg.Leases.End = func(ctx context.Context, id, owner, reason string, dry bool) (api.LeaseResult, error) {
		calls.Add(1)
		return within.Leases.End(ctx, id, owner, reason, dry)
	}
	cfg.Leases.List = func() []operator.Lease { calls.Add(1); return within.Leases.List() }
	cfg.Leases.Get = func(id string) (operator.Lease, bool) { calls.Add(1); return within.Leases.Get(id) }
	cfg.Audit.Last = func(n int, keep func(*operator.Entry) bool) ([]operator.Entry, error) {
		calls.Add(1)
		return within.Audit.Last(n, keep)
	}
	cfg.Listing.Pools = func() []api.Pool { calls.Add(1); return within.Listing.Pools() }
	cfg.Listing.Policies = func() []api.Policy { calls.Add(1); return within.Listing.Policies() }
	cfg.Listing.Zones = func(after string, n int) ([]api.Zone, int) { calls.Add(1); return within.Listing.Zones(after, n) }
	cfg.RUM.Add = func(s []rum.Sample) rum.Counts { calls.Add(1); return within.RUM.Add(s) }
	cfg.RUM.Report = func() api.RUMReport { calls.Add(1); return within.RUM.Report() }
	cfg.Health.Vote = func(ctx context.Context, target string, v health.Vote) (bool, error) {
		calls.Add(1)
		return within.Health.Vote(ctx, target, v)
	}
	cfg.Health.Checks = func() []api.Check { calls.Add(1); return within.Health.Checks() }
	cfg.Health.History = func(target string) ([]api.Probe, bool) { calls.Add(1); return within.Health.History(target) }
	cfg.Health.Tune = func(check string, th health.Thresholds) (api.Tune, bool) {
		calls.Add(1)
		return within.Health.Tune(check, th)
	}
	return cfg, calls
}

// grants makes grants of their texts.
func grants(t *testing.T, texts ...string) []api.Grant {
	t.Helper()
	var all []api.Grant
	for _, text := range texts {
		g, err := api.ParseGrant(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, g)
	}
	return all
}

// TestOperationsMatrix holds every operation of the API's description against everything that must not get through, and wants a
// problem document and that nothing was done or told.
func TestOperationsMatrix(t *testing.T) {
	now := time.Now()
	cfg, calls := watched()
	var kept []api.Token
	texts := map[string]string{}
	add := func(name string, expires time.Time, scopes ...string) {
		secret, one := token(len(kept)+1, name, expires)
		one.Scopes = grants(t, scopes...)
		kept, texts[name] = append(kept, one), secret
	}
	add("all", time.Time{}, "*:*")
	add("expired", now, "*:*")
	add("read-only", time.Time{}, "*:read")
	add("metrics", time.Time{}, "metrics:read")
	add("nothing", time.Time{})
	texts["wrong"], _ = token(1000, "", time.Time{})
	texts["revoked"], _ = token(1001, "", time.Time{})
	cfg.Access.Token = func(text string) (*api.Principal, bool) {
		one := api.FindToken(kept, text, now)
		if one == nil {
			return nil, false
		}
		return new(api.Roles).Token(one), true
	}
	for _, op := range described(t) {
		resource, verb, _ := strings.Cut(op.permission, ":")
		if verb != "read" && verb != "write" && verb != "override" {
			t.Errorf("%s: permission %q", op, op.permission)
		}
		size := 1 << 20
		if op.path == "/v1/rum/bulk" {
			size *= 9
		}
		huge := func(r *http.Request) { body(strings.Repeat(" ", size) + "{}")(r) }
		other := "OPTIONS"
		lacking := func(who string) string { return fmt.Sprintf("%s has no grant %s", who, op.permission) }
		cases := []struct {
			name, method, with string
			change             func(*http.Request)
			status             int
			detail             string
		}{
			{"none", op.method, "", nil, 401, "a valid token is needed"},
			{"wrong", op.method, "wrong", nil, 401, "a valid token is needed"},
			{"expired", op.method, "expired", nil, 401, "a valid token is needed"},
			{"revoked", op.method, "revoked", nil, 401, "a valid token is needed"},
			{"other scope", op.method, "metrics", nil, 403, lacking("metrics")},
			{"no scope", op.method, "nothing", nil, 403, lacking("nothing")},
			{"oversized body", op.method, "all", huge, 413, ""},
			{"oversized body of nobody", op.method, "", huge, 401, ""},
			{"oversized body of another", op.method, "metrics", huge, 403, ""},
			{"wrong method", other, "all", nil, 405, "Method Not Allowed"},
			{"wrong method of nobody", other, "", nil, 401, ""},
		}
		if verb != "read" {
			cases = append(cases, struct {
				name, method, with string
				change             func(*http.Request)
				status             int
				detail             string
			}{"read-only", op.method, "read-only", nil, 403, lacking("read-only")})
		}
		for _, tt := range cases {
			t.Run(op.String()+" "+tt.name, func(t *testing.T) {
				change := []func(*http.Request){bearer(texts[tt.with])}
				if tt.change != nil {
					change = append(change, tt.change)
				}
				response := ask(t, cfg, tt.method, op.path, change...)
				got := text(t, response)
				if response.StatusCode != tt.status || !strings.Contains(got, tt.detail) {
					t.Errorf("status %d, want %d and %q: %.300s", response.StatusCode, tt.status, tt.detail, got)
				}
				if kind := response.Header.Get("Content-Type"); kind != "application/problem+json" {
					t.Errorf("content type %q", kind)
				}
				if n := calls.Swap(0); n != 0 {
					t.Errorf("%d calls of what does or tells something", n)
				}
			})
		}
		// The permission alone is enough.
		if op.path == "/v1/events" {
			continue // it does not end
		}
		cfg := cfg
		cfg.Access.Token = func(string) (*api.Principal, bool) {
			return &api.Principal{Name: "one", By: api.ByToken, Grants: []api.Grant{{Resource: resource, Verb: verb}}}, true
		}
		if response := ask(t, cfg, op.method, op.path, bearer(texts["all"])); response.StatusCode == 401 || response.StatusCode == 403 {
			t.Errorf("%s with %s: status %d", op, op.permission, response.StatusCode)
		}
		calls.Store(0)
	}
}

// TestPublicRoutes lists what needs no credential; a change here is to be meant.
func TestPublicRoutes(t *testing.T) {
	cfg, _ := guarded(time.Now)
	want := []string{"/healthz", "/readyz", "/openapi.json", "/openapi.yaml", "/openapi-3.0.json", "/openapi-3.0.yaml"}
	for _, listen := range []string{"127.0.0.1:0", "192.0.2.1:0"} {
		cfg.Listen = netip.MustParseAddrPort(listen)
		for _, path := range append(want, "/metrics", "/v1/status", "/v1/targets", "/", "/v1", "/docs", "/schemas", "/metrics/", "/healthz/") {
			open := slices.Contains(want, path) || path == "/metrics" && cfg.Listen.Addr().IsLoopback()
			if response := ask(t, cfg, "GET", path); (response.StatusCode != http.StatusUnauthorized) != open {
				t.Errorf("%s at %s: status %d", path, listen, response.StatusCode)
			}
		}
	}
	cfg.Access.Token = func(text string) (*api.Principal, bool) {
		return &api.Principal{Name: "scraper", Grants: grants(t, text[len("gdt_"):])}, true
	}
	for scope, status := range map[string]int{"metrics:read": 200, "status:read": 403} {
		if response := ask(t, cfg, "GET", "/metrics", bearer("gdt_"+scope)); response.StatusCode != status {
			t.Errorf("metrics with %s: status %d", scope, response.StatusCode)
		}
	}
}

// TestObjects covers grants with patterns: lists show what they match, and changes of anything else are refused.
func TestObjects(t *testing.T) {
	cfg, calls := watched()
	cfg.TargetAttributes = func(id string) api.Attributes {
		pool, _, _ := strings.Cut(id, "/")
		return api.Attributes{"pool": {pool}, "target": {id}, "region": {"eu"}, "tag": {"blue"}}
	}
	cfg.Access.Token = func(text string) (*api.Principal, bool) {
		return &api.Principal{Name: "one", By: api.ByToken, Grants: grants(t, strings.Split(strings.ReplaceAll(text[len("gdt_"):], ";", " "), "/")...)}, true
	}
	within := cfg.Status
	cfg.Status = func() api.Status {
		s := within()
		s.Leases, s.LeaseN = []api.Lease{{ID: "of the node", Reason: "kernel"}}, 1
		s.Events = []api.EventLine{{Kind: api.EventLease, Text: "drain"}}
		return s
	}
	const lease = `{"action": "drain", "kind": "region", "name": "fra", "reason": "kernel", "for_seconds": 60}`
	override := strings.Replace(lease, "}", `, "override": true}`, 1)
	const vote = `{"boot": 1, "sequence": 2, "age_seconds": 0, "state": "up"}`
	for _, tt := range []struct {
		grant, method, path, document string
		status                        int
		want, not                     string
	}{
		{"targets:read", "GET", "/v1/targets", "", 200, "dr/bunker", "-"},
		{"targets:read;pool=web*", "GET", "/v1/targets", "", 200, "web/eu1", "bunker"},
		{"targets:read;pool=none", "GET", "/v1/targets", "", 200, `{"targets":[]}`, "eu1"},
		{"targets:read;tag=green", "GET", "/v1/targets", "", 200, `{"targets":[]}`, "eu1"},
		{"votes:write;pop=fra", "PUT", "/v1/votes/fra/web/eu1", vote, 200, "true", "-"},
		{"votes:write;pop=fra;pool=web;region=eu;tag=blue", "PUT", "/v1/votes/fra/web/eu1", vote, 200, "true", "-"},
		{"votes:write;pop=ams", "PUT", "/v1/votes/fra/web/eu1", vote, 403, "one has no grant votes:write for this; there is votes:write pop=ams", "eu1"},
		{"votes:write;pool=dr", "PUT", "/v1/votes/fra/web/none", vote, 403, "one has no grant votes:write for this", "none"},
		{"explain:read;policy=www", "GET", "/v1/explain?name=www.example.com&client=192.0.2.1", "", 403, "one has no grant explain:read for this", "192.0.2"},
		{"leases:read;region=ams", "GET", "/v1/leases/a", "", 404, "there is no lease", "fra"},
		{"leases:read;region=ams", "GET", "/v1/leases", "", 200, `{"leases":[]}`, "fra"},
		{"leases:write;region=ams", "DELETE", "/v1/leases/a", "", 404, "there is no lease", "fra"},
		{"leases:*;region=fra", "DELETE", "/v1/leases/a", "", 200, `"ended_by":"one"`, "-"},
		{"status:read", "GET", "/v1/status", "", 200, `"leases":[],"leases_total":0,"events":[]`, "kernel"},
		{"status:read/leases:read;region=ams/events:read", "GET", "/v1/status", "", 200, `"leases":[],"leases_total":0,"events":[{`, "region fra"},
		{"status:read/leases:read;region=fra", "GET", "/v1/status", "", 200, `"leases":[{"id":"a"`, "-"},
		{"status:read/leases:read", "GET", "/v1/status", "", 200, `"leases":[{"id":"of the node"`, "-"},
		{"leases:write", "PUT", "/v1/leases/c", lease, 200, `"changed":true`, "no grant"},
		{"leases:write", "PUT", "/v1/leases/c", override, 403, "one has no grant leases:override", "fra"},
		{"leases:write;region=fra", "PUT", "/v1/leases/c", lease, 200, `"changed":true`, "no grant"},
		{"leases:write;pool=web*", "PUT", "/v1/leases/c", lease, 403, "one has no grant leases:write for this", "fra"},
		{"explain:read", "GET", "/v1/explain?name=www.example.com&client=192.0.2.1", "", 200, "192.0.2.1/32", "-"},
	} {
		change := []func(*http.Request){bearer("gdt_" + tt.grant)}
		if tt.document != "" {
			change = append(change, body(tt.document))
		}
		calls.Store(0)
		response := ask(t, cfg, tt.method, tt.path, change...)
		got := text(t, response)
		if response.StatusCode != tt.status || !strings.Contains(got, tt.want) || strings.Contains(strings.ReplaceAll(got, tt.want, ""), tt.not) && tt.not != "-" {
			t.Errorf("%s: %s %s: status %d: %.300s", tt.grant, tt.method, tt.path, response.StatusCode, got)
		}
		if tt.status == 403 && calls.Load() != 0 {
			t.Errorf("%s: %s %s: it was done", tt.grant, tt.method, tt.path)
		}
	}
}

// TestNoNeed covers that what is registered without a permission makes no API.
func TestNoNeed(t *testing.T) {
	if err := api.UndeclaredNeed(); err == nil || err.Error() != "api: GET /v1/open declares no need" {
		t.Errorf("error %v", err)
	}
	if err := api.UngrantableNeed(); err == nil || err.Error() != "api: GET /v1/open needs status:write, which nobody can grant" {
		t.Errorf("error %v", err)
	}
}

// TestJWTAtTheDoor covers which credential goes where, what counts as wrong, and what does not.
func TestJWTAtTheDoor(t *testing.T) {
	cfg := config()
	var asked []string
	cfg.Access.JWT = func(_ context.Context, text string) (*api.Principal, error) {
		asked = append(asked, text)
		switch text {
		case "a.good.one":
			return &api.Principal{Name: "oidc:a", By: api.ByOIDC, Grants: grants(t, "*:read")}, nil
		case "a.late.one":
			return nil, fmt.Errorf("%w: the issuer is down", api.ErrUnavailable)
		}
		return nil, errors.New("it is bad")
	}
	handler, err := api.NewHandler(cfg)
	if err != nil {
		t.Fatal(err)
	}
	status := func(token string) int {
		request := httptest.NewRequestWithContext(t.Context(), "GET", "http://127.0.0.1:8053/v1/status", nil)
		request.Header.Set("Authorization", "Bearer "+token)
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		return recorder.Code
	}
	for range 2 * api.WrongTokensMax {
		if got := status("a.late.one"); got != http.StatusServiceUnavailable {
			t.Errorf("unavailable: status %d", got)
		}
	}
	for _, tt := range []struct {
		token string
		want  int
	}{{"a.good.one", 200}, {"a.bad.one", 401}, {"a.b", 401}, {"a.b.c.d", 401}, {"gdt_a.b.c", 401}, {"a.good.one", 200}, {"x", 401}, {"a.good.one", 429}} {
		if got := status(tt.token); got != tt.want {
			t.Errorf("%s: status %d, want %d", tt.token, got, tt.want)
		}
	}
	for _, text := range asked {
		if strings.Count(text, ".") != 2 || strings.HasPrefix(text, "gdt_") {
			t.Errorf("%q was taken for a JWT", text)
		}
	}
}
