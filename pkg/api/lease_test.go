package api_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"geodns/pkg/api"
	"geodns/pkg/operator"
)

// leases is a book with one lease, which takes any other but those that tests send for its errors.
func leases() api.Leases {
	at := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	have := operator.Lease{
		ID: "a", Revision: 3, Action: operator.Drain, Object: operator.Object{Kind: operator.KindRegion, Name: "fra"}, Owner: "ops", Reason: "kernel",
		Created: at, Updated: at, Expires: time.Now().Add(time.Hour),
	}
	over := have
	over.ID, over.Ended = "b", at
	return api.Leases{
		Put: func(_ context.Context, r operator.Request) (api.LeaseResult, error) {
			switch r.Reason {
			case "guard":
				return api.LeaseResult{}, &operator.GuardError{Breaks: []string{"pool web: its last usable target would go"}}
			case "bad":
				return api.LeaseResult{}, &operator.RequestError{Field: "name", Message: "no such region"}
			case "conflict":
				return api.LeaseResult{}, &operator.ConflictError{Have: have}
			case "disk":
				return api.LeaseResult{}, errors.New("no space left on device")
			}
			l := have
			l.ID, l.Object, l.Owner, l.Reason, l.Expires = r.ID, r.Object, r.Owner, r.Reason, r.Expires
			result := api.LeaseResult{World: "w1", Elapsed: 2 * time.Millisecond}
			result.Change = operator.Change{Lease: l, Changed: !r.DryRun, Entry: operator.Entry{Seq: 7}}
			if r.DryRun {
				result.Entry.Seq = 0
				result.Impact = &operator.Impact{Share: 0.25, Sampled: 100, Policies: []operator.PolicyImpact{{
					Policy: "www", Share: 0.25, Moves: []operator.Move{{From: "fra", To: "ams", Share: 0.25}},
				}}}
			}
			return result, nil
		},
		End: func(_ context.Context, id, owner, reason string, _ bool) (api.LeaseResult, error) {
			l := have
			l.ID, l.Ended, l.EndedBy, l.EndReason = id, at, owner, reason
			return api.LeaseResult{Change: operator.Change{Lease: l, Changed: true, Entry: operator.Entry{Seq: 8}}}, nil
		},
		List: func() []operator.Lease { return []operator.Lease{have, over} },
		Get: func(id string) (operator.Lease, bool) {
			l, known := map[string]operator.Lease{have.ID: have, over.ID: over}[id]
			return l, known
		},
		Touched:    func(operator.Object) int { return 2 },
		Attributes: func(o operator.Object) api.Attributes { return api.Attributes{string(o.Kind): {o.Name}} },
	}
}

// audit is a record of one entry.
func audit() api.Audit {
	entry := operator.Entry{Seq: 7, Kind: operator.EntryLeasePut, Who: "ops", Object: "region fra", After: []byte(`{"id":"a"}`), Hash: "h7"}
	read := func(keep func(*operator.Entry) bool) []operator.Entry {
		if keep != nil && !keep(&entry) {
			return nil
		}
		return []operator.Entry{entry}
	}
	return api.Audit{
		After: func(after uint64, _ int, keep func(*operator.Entry) bool) ([]operator.Entry, error) {
			if after >= entry.Seq {
				return nil, nil
			}
			return read(keep), nil
		},
		Last:   func(_ int, keep func(*operator.Entry) bool) ([]operator.Entry, error) { return read(keep), nil },
		Status: func() operator.LogStatus { return operator.LogStatus{Seq: 7, PublicKey: "k"} },
	}
}

// listing is one of each.
func listing() api.Listing {
	return api.Listing{
		Pools:    func() []api.Pool { return []api.Pool{{Name: "web", Targets: []string{}, Policies: []string{}}} },
		Policies: func() []api.Policy { return []api.Policy{{Name: "www", Names: []string{}, Rules: []api.PolicyRule{}}} },
		Zones:    func(string, int) ([]api.Zone, int) { return []api.Zone{{Origin: "example.com."}}, 1 },
	}
}

// TestLeaseAnswers: what the book says, in documents; what is refused, in problem documents that say why.
func TestLeaseAnswers(t *testing.T) {
	lease := func(change ...string) string {
		return strings.NewReplacer(change...).Replace(`{"action": "drain", "kind": "region", "name": "fra", "reason": "kernel", "for_seconds": 60}`)
	}
	for _, tt := range []struct {
		name, method, target, body string
		status                     int
		want                       []string
	}{
		{"list", "GET", "/v1/leases", "", 200, []string{`"id":"a"`, `"owner":"ops"`, `"active":true`, `"targets_total":2`}},
		{"list all", "GET", "/v1/leases?all=true", "", 200, []string{`"id":"b"`, `"active":false`}},
		{"one", "GET", "/v1/leases/b", "", 200, []string{`"id":"b"`}},
		{"no such", "GET", "/v1/leases/c", "", 404, []string{`there is no lease`}},
		{"put", "PUT", "/v1/leases/c", lease(), 200, []string{`"id":"c"`, `"owner":"local"`, `"changed":true`, `"audit_seq":7`, `"breaks":[]`, `"world":"w1"`, `"duration_seconds":0.002`}},
		{"dry run", "PUT", "/v1/leases/c?dry_run=true", lease(), 200, []string{`"dry_run":true`, `"changed":false`, `"share":0.25`, `{"from":"fra","to":"ams","share":0.25}`}},
		{"guard", "PUT", "/v1/leases/c", lease("kernel", "guard"), 409, []string{`"location":"guard"`, `"pool web: its last usable target would go"`}},
		{"bad name", "PUT", "/v1/leases/c", lease("kernel", "bad"), 422, []string{`"location":"body.name"`, `no such region`}},
		{"conflict", "PUT", "/v1/leases/c", lease("kernel", "conflict"), 409, []string{`another`}},
		{"disk", "PUT", "/v1/leases/c", lease("kernel", "disk"), 503, []string{`no space left`}},
		{"no reason", "PUT", "/v1/leases/c", lease(`, "reason": "kernel"`, ""), 422, []string{`reason`}},
		{"no end", "PUT", "/v1/leases/c", lease(`, "for_seconds": 60`, ""), 422, []string{`"location":"body.expires"`}},
		{"two ends", "PUT", "/v1/leases/c", lease("60", `60, "expires": "2026-01-02T03:04:05Z"`), 422, []string{`not both`}},
		{"endless", "PUT", "/v1/leases/c", lease("60", "1e300"), 422, []string{`no lease lasts longer`}},
		{"bad kind", "PUT", "/v1/leases/c", lease("region", "planet"), 422, []string{`body.kind`}},
		{"unknown key", "PUT", "/v1/leases/c", lease("60", `60, "forever": true`), 422, []string{`forever`}},
		{"torn", "PUT", "/v1/leases/c", "{", 400, nil},
		{"end", "DELETE", "/v1/leases/a?reason=done", "", 200, []string{`"ended_by":"local"`, `"end_reason":"done"`, `"audit_seq":8`}},
		{"end no such", "DELETE", "/v1/leases/c", "", 404, []string{`there is no lease`}},
		{"audit", "GET", "/v1/audit", "", 200, []string{`"seq":7`, `"who":"ops"`, `"after":{"id":"a"}`, `"key":"k"`}},
		{"audit after", "GET", "/v1/audit?after=7", "", 200, []string{`"entries":[]`}},
		{"audit kind", "GET", "/v1/audit?kind=load", "", 200, []string{`"entries":[]`}},
		{"audit too many", "GET", "/v1/audit?last=100000", "", 422, []string{`query.last`}},
		{"pools", "GET", "/v1/pools", "", 200, []string{`{"pools":[{"name":"web"`}},
		{"policies", "GET", "/v1/policies", "", 200, []string{`{"policies":[{"name":"www"`}},
		{"zones", "GET", "/v1/zones", "", 200, []string{`"origin":"example.com."`, `"zones_total":1`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			response := ask(t, config(), tt.method, tt.target, body(tt.body))
			got := text(t, response)
			if response.StatusCode != tt.status {
				t.Fatalf("status %d, want %d: %s", response.StatusCode, tt.status, got)
			}
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("no %s in\n%s", want, got)
				}
			}
		})
	}
}

// TestUnclearQuery: nothing is done where what is asked could be read in two ways.
func TestUnclearQuery(t *testing.T) {
	cfg, calls := watched()
	for query, status := range map[string]int{
		"dry_run=true": 200, "dry_run": 200, "dry%5Frun=true": 200, "dry_run=": 400, "dry_run=&reason=x": 400, "dry_run=false&dry_run=true": 400,
		"dry_run=true%zz": 400, "dry_run=yes": 422, "dryrun=true": 422, "reason=a&reason=b": 400, "reason=": 200,
	} {
		calls.Store(0)
		response := ask(t, cfg, "DELETE", "/v1/leases/a?"+query)
		if got := text(t, response); response.StatusCode != status || status != 200 && calls.Load() != 0 {
			t.Errorf("%s: status %d, want %d: %s", query, response.StatusCode, status, got)
		}
	}
}

// TestAuditReadsOnce: where an answer goes on from an entry, the end of the log, which may be large, is not read as well.
func TestAuditReadsOnce(t *testing.T) {
	cfg, calls := watched() // which counts reads of the end alone
	if response := ask(t, cfg, "GET", "/v1/audit?after=6"); !strings.Contains(text(t, response), `"seq":7`) || calls.Load() != 0 {
		t.Errorf("status %d, %d reads of the end", response.StatusCode, calls.Load())
	}
}

// TestAuditOneAtATime: however many ask for the log, it is read once at a time, and who gave up waits no more.
func TestAuditOneAtATime(t *testing.T) {
	cfg := config()
	began, goOn := make(chan struct{}, 2), make(chan struct{})
	cfg.Audit.Last = func(int, func(*operator.Entry) bool) ([]operator.Entry, error) {
		began <- struct{}{}
		<-goOn
		return nil, nil
	}
	handler, err := api.NewHandler(cfg)
	if err != nil {
		t.Fatal(err)
	}
	serve := func(ctx context.Context) int {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, httptest.NewRequestWithContext(ctx, "GET", "http://127.0.0.1:8053/v1/audit", nil))
		return recorder.Code
	}
	first := make(chan int)
	go func() { first <- serve(t.Context()) }()
	<-began
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if got := serve(gone); got != http.StatusServiceUnavailable {
		t.Errorf("while another reads: status %d", got)
	}
	close(goOn)
	if got := <-first; got != http.StatusOK {
		t.Errorf("status %d", got)
	}
	if got := serve(t.Context()); got != http.StatusOK {
		t.Errorf("afterwards: status %d", got)
	}
}
