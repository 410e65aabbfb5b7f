package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"geodns/pkg/api"
)

// fakeServer answers with fixed documents, by method and path, and writes down what it was asked. What the command makes of answers
// that a real server gives in rare cases only is tested with it; the scripts have the real one.
type fakeServer struct {
	answers map[string]answer
	asked   []string // method, path, query and body
}

// answer is what the fakeServer says.
type answer struct {
	status   int // 0: 200
	document any
}

// ServeHTTP answers. One request comes after the other.
func (f *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.asked = append(f.asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
	a, ok := f.answers[r.Method+" "+r.URL.Path]
	if !ok {
		a = answer{http.StatusNotFound, map[string]any{"title": "Not Found", "detail": "there is no such thing"}}
	}
	if a.status != 0 {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(a.status)
	}
	_ = json.NewEncoder(w).Encode(a.document) // the other side says what did not come
}

// command runs the command against the server and gives what it prints and its exit code.
func (f *fakeServer) command(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs strings.Builder
	code = f.commandTo(t, &out, &errs, args...)
	return out.String(), errs.String(), code
}

// commandTo is command with other outputs.
func (f *fakeServer) commandTo(t *testing.T, stdout, stderr io.Writer, args ...string) (code int) {
	t.Helper()
	server := httptest.NewServer(f)
	defer server.Close()
	return run(t.Context(), append(args, "--api", server.URL), stdout, stderr)
}

// at is a time of the tests, far enough ahead.
func at(hour int) time.Time { return time.Date(2040, 1, 2, hour, 0, 0, 0, time.UTC) }

// fleetLeases are leases that hold some targets of region fra.
func fleetLeases() leasesDocument {
	half := 0.5
	return leasesDocument{Leases: []api.Lease{
		{ID: "drain.region.fra", Action: "drain", Kind: "region", Name: "fra", Owner: "ann", Reason: "kernel", Ticket: "OPS-12", Expires: at(6), Active: true, Targets: 2},
		{ID: "other", Action: "drain", Kind: "region", Name: "fra", Owner: "bob", Reason: "power", Expires: at(7), Active: true, Targets: 2},
		{ID: "drain.tag.blue", Action: "drain", Kind: "tag", Name: "blue", Owner: "eve", Reason: "release", Expires: at(8), Active: true, Targets: 3},
		{ID: "set.pool.web", Action: "set", Kind: "pool", Name: "web", State: "degraded", Admit: &half, Owner: "ann", Reason: "slow", Expires: at(9), Active: true, Targets: 4},
	}}
}

// fleetTargets are targets with these leases.
func fleetTargets() targetsDocument {
	return targetsDocument{Targets: []api.Target{
		{ID: "web/fra1", Region: "fra", Tags: []string{"blue"}, State: "up", Admit: 1, Drained: true, Leases: []string{"drain.region.fra", "other", "drain.tag.blue", "set.pool.web"}},
		{ID: "web/fra2", Region: "fra", State: "up", Admit: 1, Drained: true, Leases: []string{"drain.region.fra", "other", "set.pool.web"}},
		{ID: "web/iad1", Region: "iad", Tags: []string{"blue"}, State: "up", Admit: 1, Drained: true, Leases: []string{"drain.tag.blue", "set.pool.web"}},
	}}
}
