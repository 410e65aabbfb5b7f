package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"geodns/internal/node"
	"geodns/pkg/api"
	"geodns/pkg/operator"
)

// unprobed is a policy over four targets in two pairs, none of them checked.
const unprobed = `
regions:
  - {name: fra, location: [50, 8], pair: ams, jurisdictions: [eu]}
  - {name: ams, location: [52, 4], pair: fra, jurisdictions: [eu]}
  - {name: iad, location: [39, -77]}
pools:
  - name: web
    targets:
      - {name: fra1, region: fra, values: [127.0.0.21], tags: [blue]}
      - {name: ams1, region: ams, values: [127.0.0.22], tags: [green]}
      - {name: iad1, region: iad, values: [127.0.0.23], tags: [blue]}
maps:
  - {name: world, areas: {default: [iad, fra, ams], EU: [fra, ams]}}
policies:
  - name: www
    rules:
      - {name: europe, geos: [EU], pool: web, rank: [{map: world}], fence: [eu]}
      - {name: unplaced, geos: [unknown], pool: web, rank: [{map: world}], fence: none}
      - {name: all, pool: web, rank: [{map: world}], fence: none}
    all_down: serve-all
`

// operatorFiles are those of the tests here.
func operatorFiles() map[string]string {
	return map[string]string{"example.com.zone": zoneText, "www.yaml": unprobed}
}

// call asks the node's API, and reads the answer's document. It gives the status.
func call(t *testing.T, n *node.Node, method, path, body string, document any) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+n.APIAddr().String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, document); err != nil {
		t.Fatalf("%s %s: %s: %v: %s", method, path, response.Status, err, text)
	}
	return response.StatusCode
}

// drain is the body of a lease that drains something for an hour.
func drain(kind, name string) string {
	return fmt.Sprintf(`{"action": "drain", "kind": %q, "name": %q, "reason": "kernel", "ticket": "OPS-12", "for_seconds": 3600}`, kind, name)
}

// change asks for a change of a lease that must succeed.
func change(t *testing.T, n *node.Node, method, path, body string) api.LeaseChange {
	t.Helper()
	var c api.LeaseChange
	if status := call(t, n, method, path, body, &c); status != http.StatusOK {
		t.Fatalf("%s %s %s: status %d", method, path, body, status)
	}
	return c
}

// wants asks once for a client in Europe, and wants an address.
func wants(t *testing.T, n *node.Node, address string) {
	t.Helper()
	if got := addrs(ask(t, n, "www.example.com.", dns.TypeA, clientEU)); got != address {
		t.Fatalf("a client in Europe gets %q, want %s", got, address)
	}
}

// TestLease: the answer is another when the call returns, and as before when the lease is ended; the same request again changes
// nothing; every change is in the record, and who listens is told.
func TestLease(t *testing.T) {
	n, _ := run(t, config(t, operatorFiles()))
	wants(t, n, "127.0.0.21")

	first := change(t, n, http.MethodPut, "/v1/leases/a", strings.Replace(drain("region", "fra"), `"for_seconds": 3600`, `"expires": "`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`"`, 1))
	wants(t, n, "127.0.0.22")
	if !first.Changed || first.Audit == 0 || first.Lease.Owner != "local" || first.Lease.Targets != 1 || !first.Lease.Active || first.Lease.Ticket != "OPS-12" {
		t.Fatalf("%+v", first)
	}
	again := change(t, n, http.MethodPut, "/v1/leases/a", strings.Replace(drain("region", "fra"), `"for_seconds": 3600`, `"expires": "`+first.Lease.Expires.Format(time.RFC3339)+`"`, 1))
	if again.Changed || again.Lease.Revision != first.Lease.Revision {
		t.Fatalf("again: %+v", again)
	}
	if first.Before != nil || again.Before == nil || again.Before.ID != "a" {
		t.Errorf("before: %+v, then %+v", first.Before, again.Before)
	}
	longer := change(t, n, http.MethodPut, "/v1/leases/a", strings.Replace(drain("region", "fra"), "3600", "7200", 1))
	if b := longer.Before; !longer.Changed || b == nil || !b.Expires.Equal(first.Lease.Expires) || b.Revision != first.Lease.Revision {
		t.Errorf("longer: %+v", longer)
	}
	var targets struct{ Targets []api.Target }
	call(t, n, http.MethodGet, "/v1/targets", "", &targets)
	for _, g := range targets.Targets {
		if drained := g.ID == "web/fra1"; g.Drained != drained || (len(g.Leases) == 1) != drained || g.State != "up" {
			t.Errorf("%+v", g)
		}
	}
	var status api.Status
	call(t, n, http.MethodGet, "/v1/status", "", &status)
	if status.LeaseN != 1 || status.Leases[0].ID != "a" || status.Audit.Seq == 0 || status.Audit.Key == "" || len(status.Events) == 0 {
		t.Errorf("%+v %+v %+v", status.Leases, status.Audit, status.Events)
	}
	ended := change(t, n, http.MethodDelete, "/v1/leases/a?reason=done", "")
	wants(t, n, "127.0.0.21")
	if !ended.Changed || ended.Lease.Active || ended.Lease.EndedBy != "local" || ended.Lease.EndReason != "done" {
		t.Errorf("%+v", ended)
	}
	var log struct{ Entries []api.AuditEntry }
	call(t, n, http.MethodGet, "/v1/audit?last=1000", "", &log)
	var kinds []string
	for _, e := range log.Entries {
		if strings.HasPrefix(e.Kind, "lease") {
			kinds = append(kinds, fmt.Sprintf("%s %s %s %s", e.Kind, e.Who, e.Object, e.Why))
		}
	}
	if want := "lease.put local region fra kernel, lease.put local region fra kernel, lease.end local region fra done"; strings.Join(kinds, ", ") != want {
		t.Errorf("the record is %q, want %q", kinds, want)
	}
}

// TestLeaseLines: the lines of a status say what a lease does, not only that there is one.
func TestLeaseLines(t *testing.T) {
	n, _ := run(t, config(t, operatorFiles()))
	change(t, n, http.MethodPut, "/v1/leases/a", strings.Replace(drain("region", "fra"), `"drain"`, `"set", "state": "degraded", "admit": 0.3`, 1))
	change(t, n, http.MethodDelete, "/v1/leases/a?reason=done", "")
	var status api.Status
	call(t, n, http.MethodGet, "/v1/status", "", &status)
	var got []string
	for _, e := range status.Events {
		if e.Kind == api.EventLease {
			got = append(got, e.Text)
		}
	}
	if len(got) != 2 || !strings.HasPrefix(got[0], "set region fra degraded admit 0.3 until ") || got[1] != "set region fra degraded admit 0.3 ended by local" {
		t.Errorf("%q", got)
	}
}

// TestObjectsChange: a load that changes what a lease holds, and no answer without it, is no load of the same files: it is in the record.
func TestObjectsChange(t *testing.T) {
	cfg := config(t, operatorFiles())
	n, _ := run(t, cfg)
	change(t, n, http.MethodPut, "/v1/leases/a", strings.Replace(drain("tag", "blue"), "3600", `3600, "override": true`, 1))
	wants(t, n, "127.0.0.22")
	for _, tt := range []struct{ name, from, to, answer string }{
		{"a tag is taken away", ", tags: [blue]}\n      - {name: ams1", "}\n      - {name: ams1", "127.0.0.21"},
		{"a region is of another jurisdiction", "location: [39, -77]", "location: [39, -77], jurisdictions: [us]", "127.0.0.21"},
	} {
		text, err := os.ReadFile(filepath.Join(cfg.Zones, "www.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, cfg.Zones, map[string]string{"www.yaml": strings.Replace(string(text), tt.from, tt.to, 1)})
		var load api.Load
		if status := call(t, n, http.MethodPost, "/v1/reload", "", &load); status != http.StatusOK {
			t.Errorf("%s: status %d", tt.name, status)
		}
		wants(t, n, tt.answer)
	}
	var log struct{ Entries []api.AuditEntry }
	call(t, n, http.MethodGet, "/v1/audit?last=1000&kind=load", "", &log)
	if len(log.Entries) != 2 {
		t.Errorf("%d loads in the record: %+v", len(log.Entries), log.Entries)
	}
}

// TestLeaseSurvives: a lease holds over a restart, from the first answer on, and ends by itself; so does one whose end comes while
// nothing runs.
func TestLeaseSurvives(t *testing.T) {
	cfg := config(t, operatorFiles())
	n, stop := run(t, cfg)
	change(t, n, http.MethodPut, "/v1/leases/long", drain("target", "web/fra1"))
	change(t, n, http.MethodPut, "/v1/leases/short", strings.Replace(drain("target", "web/ams1"), "3600", `1.5, "override": true`, 1))
	stop()
	if err := os.Remove(filepath.Join(cfg.State, "leases")); err != nil { // the log is the record
		t.Fatal(err)
	}
	n, _ = run(t, cfg)
	eventually(t, "the short lease ends", func() bool { return addrs(ask(t, n, "www.example.com.", dns.TypeA, clientEU)) == "127.0.0.22" })
	var list struct{ Leases []api.Lease }
	call(t, n, http.MethodGet, "/v1/leases?all=true", "", &list)
	if len(list.Leases) != 2 || !list.Leases[0].Active || list.Leases[1].Active || list.Leases[1].Ended.IsZero() {
		t.Errorf("%+v", list)
	}
}

// TestGuards: what would break an answer is refused with what, and changes nothing, unless it is overridden.
func TestGuards(t *testing.T) {
	n, _ := run(t, config(t, operatorFiles()))
	change(t, n, http.MethodPut, "/v1/leases/a", drain("region", "fra"))
	var problem struct {
		Status int
		Errors []struct{ Location, Message string }
	}
	if status := call(t, n, http.MethodPut, "/v1/leases/b", drain("region", "ams"), &problem); status != http.StatusConflict {
		t.Fatalf("status %d", status)
	}
	var said []string
	for _, e := range problem.Errors {
		if e.Location != "guard" {
			t.Errorf("%+v", e)
		}
		said = append(said, e.Message)
	}
	if text := strings.Join(said, "\n"); !strings.Contains(text, "pair") || !strings.Contains(text, "fence") || !strings.Contains(text, "www.yaml:") {
		t.Errorf("refused with:\n%s", text)
	}
	wants(t, n, "127.0.0.22")
	over := change(t, n, http.MethodPut, "/v1/leases/b", strings.Replace(drain("region", "ams"), "}", `, "override": true}`, 1))
	if len(over.Breaks) == 0 || len(over.Lease.Override) == 0 {
		t.Errorf("%+v", over)
	}
	if got := ask(t, n, "www.example.com.", dns.TypeA, clientEU); got.Rcode != dns.RcodeServerFailure {
		t.Errorf("drained whole, Europe is answered %s", got)
	}
	for _, bad := range []string{
		drain("region", "fr"), drain("tag", "red"), drain("pool", "wob"), drain("target", "web/fra"), drain("planet", "x"),
		strings.Replace(drain("region", "iad"), "3600", "0", 1), strings.Replace(drain("region", "iad"), "3600", "1e9", 1),
		strings.Replace(drain("region", "iad"), "kernel", "", 1), strings.Replace(drain("region", "iad"), "kernel", "two\\nlines", 1),
		strings.Replace(drain("region", "iad"), "drain", "set", 1),
	} {
		if status := call(t, n, http.MethodPut, "/v1/leases/c", bad, &problem); status != http.StatusUnprocessableEntity || len(problem.Errors) == 0 {
			t.Errorf("%s: status %d, %+v", bad, status, problem)
		}
	}
	if status := call(t, n, http.MethodPut, "/v1/leases/a", drain("region", "iad"), &problem); status != http.StatusConflict {
		t.Errorf("another object under the same id: status %d", status)
	}
	if status := call(t, n, http.MethodDelete, "/v1/leases/none", "", &problem); status != http.StatusNotFound {
		t.Errorf("no such lease: status %d", status)
	}
}

// TestLeasesWithoutState: where nothing can be recorded, nothing is changed.
func TestLeasesWithoutState(t *testing.T) {
	cfg := config(t, operatorFiles())
	cfg.State = ""
	n, _ := run(t, cfg)
	var problem struct{ Detail string }
	if status := call(t, n, http.MethodPut, "/v1/leases/a", drain("region", "fra"), &problem); status != http.StatusServiceUnavailable || !strings.Contains(problem.Detail, "state folder") {
		t.Errorf("status %d: %s", status, problem.Detail)
	}
	wants(t, n, "127.0.0.21")
	if status := call(t, n, http.MethodGet, "/v1/audit", "", &problem); status != http.StatusServiceUnavailable {
		t.Errorf("the record: status %d", status)
	}
	var list struct{ Leases []api.Lease }
	if status := call(t, n, http.MethodGet, "/v1/leases", "", &list); status != http.StatusOK || len(list.Leases) != 0 {
		t.Errorf("leases: status %d, %+v", status, list)
	}
}

// TestStateOutOfReach: a server whose state folder cannot be made starts and answers; it refuses to change what it cannot record, and
// says why.
func TestStateOutOfReach(t *testing.T) {
	cfg := config(t, operatorFiles())
	cfg.State = filepath.Join(t.TempDir(), "file", "state")
	if err := os.WriteFile(filepath.Dir(cfg.State), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := node.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "saving verdicts") {
			t.Errorf("Run: %v", err)
		}
	})
	wants(t, n, "127.0.0.21")
	var problem struct{ Detail string }
	if status := call(t, n, http.MethodPut, "/v1/leases/a", drain("region", "fra"), &problem); status != http.StatusServiceUnavailable || !strings.Contains(problem.Detail, "not a directory") {
		t.Errorf("status %d: %s", status, problem.Detail)
	}
	wants(t, n, "127.0.0.21")
	var status api.Status
	if call(t, n, http.MethodGet, "/v1/status", "", &status); !strings.Contains(status.Audit.Failed, "not a directory") {
		t.Errorf("%+v", status.Audit)
	}
}

// TestRecord: what is done to a node is in its record, by whom, and the record holds.
func TestRecord(t *testing.T) {
	cfg := config(t, operatorFiles())
	n, stop := run(t, cfg)
	write(t, cfg.Zones, map[string]string{"www.yaml": strings.Replace(unprobed, "127.0.0.21", "127.0.0.31", 1)})
	var load api.Load
	if status := call(t, n, http.MethodPost, "/v1/reload", "", &load); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	wants(t, n, "127.0.0.31")
	stop()
	report, err := operator.VerifyLog(filepath.Join(cfg.State, "audit"), nil)
	if err != nil || len(report.Findings) > 0 {
		t.Fatalf("%v %+v", err, report)
	}
	var got []string
	data, err := filepath.Glob(filepath.Join(cfg.State, "audit", "*.jsonl"))
	if err != nil || len(data) != 1 {
		t.Fatalf("%v %v", err, data)
	}
	text, err := os.ReadFile(data[0])
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var e operator.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.Kind != operator.EntryCheckpoint && e.Kind != operator.EntryLog {
			got = append(got, e.Kind+" by "+e.Who)
		}
	}
	// The watcher may have loaded the file before it was asked to.
	if text := strings.ReplaceAll(strings.Join(got, ", "), "watcher", "local"); text != "start by geodns, load by local, stop by geodns" {
		t.Errorf("the record is: %s", text)
	}
}

// TestLeaseOverAtTheEnd: a lease that is over while the node ends keeps nobody from ending.
func TestLeaseOverAtTheEnd(t *testing.T) {
	cfg := config(t, operatorFiles())
	n, stop := run(t, cfg)
	change(t, n, http.MethodPut, "/v1/leases/short", strings.Replace(drain("target", "web/ams1"), "3600", "1.2", 1))
	stop()
	n, err := node.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.RunLeasesAlone(ctx) }()
	eventually(t, "the lease ends", func() bool {
		all := n.Leases()
		return len(all) == 1 && !all[0].Ended.IsZero()
	})
	cancel()
	eventually(t, "it ends", func() bool {
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
			return true
		default:
			return false
		}
	})
}

// TestSlowRecord: while the disk does not take the record of a load, leases and verdicts are served.
func TestSlowRecord(t *testing.T) {
	cfg := config(t, operatorFiles())
	n, err := node.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	waits, goOn := make(chan struct{}), make(chan struct{})
	log, err := operator.OpenLog(operator.LogConfig{Dir: filepath.Join(cfg.State, "other"), OnAppend: func(entries []operator.Entry) {
		if entries[0].Kind == operator.EntryLoad {
			close(waits)
			<-goOn
		}
	}})
	if err == nil {
		err = n.ReplaceAudit(log)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	write(t, cfg.Zones, map[string]string{"www.yaml": strings.Replace(unprobed, "127.0.0.21", "127.0.0.31", 1)})
	<-waits
	published := make(chan error, 1)
	go func() { published <- n.PublishLeases() }()
	eventually(t, "leases are served", func() bool { return len(published) == 1 })
	wants(t, n, "127.0.0.21")
	close(goOn)
	eventually(t, "the load is served", func() bool { return addrs(ask(t, n, "www.example.com.", dns.TypeA, clientEU)) == "127.0.0.31" })
	cancel()
	if err := errors.Join(<-published, <-ended); err != nil {
		t.Error(err)
	}
}

// TestRecordedNames: what the record has of who asked, and of tokens, fits it, however much there is.
func TestRecordedNames(t *testing.T) {
	for want, names := range map[string][]string{
		"": nil, "a": {"a"}, "a, b": {"a", "b"}, "aaaa, bb and 2 more": {"aaaa", "bb", "cccc", "dddd"}, "4 credentials": {"aaaaaaaaaaa", "b", "c", "d"},
	} {
		if got := node.JoinNames(names, 19); got != want && len(names) > 0 {
			t.Errorf("%q: %q, want %q", names, got, want)
		}
	}
	one := api.Token{Name: "ci", Created: time.Unix(0, 0), Scopes: []api.Grant{{Resource: "leases", Verb: "read"}}}
	more := one
	more.Scopes = []api.Grant{{Resource: "*", Verb: "*"}}
	before, after := node.ChangedTokens([]api.Token{one}, []api.Token{more}), node.ChangedTokens([]api.Token{more}, []api.Token{one})
	if text := strings.Join(slices.Concat(before, after), "; "); text != "ci created=1970-01-01T00:00:00Z expires=never scope=leases:read; ci created=1970-01-01T00:00:00Z expires=never scope=*:*" {
		t.Error(text)
	}
	var many []api.Token
	for i := range api.TokensMax {
		many = append(many, api.Token{Name: fmt.Sprintf("%063d", i), Scopes: []api.Grant{{Resource: "leases", Verb: "read", Objects: []api.Pattern{{Kind: "pool", Glob: strings.Repeat("<", 500)}}}}})
	}
	log, err := operator.OpenLog(operator.LogConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	text, err := json.Marshal(map[string][]string{"tokens": node.ChangedTokens(many, nil)})
	if err == nil {
		_, err = log.Append(operator.Entry{Kind: operator.EntryTokens, Who: "watcher", After: text})
	}
	if err != nil || !strings.Contains(string(text), " more") {
		t.Errorf("%v: %.200s", err, text)
	}
}

// TestRecordedRights: a change of the files of tokens and roles is in the record, with what is gone and what is new, and without what
// tokens are known by.
func TestRecordedRights(t *testing.T) {
	cfg := config(t, operatorFiles())
	dir := t.TempDir()
	_, one := makeToken(1, "one")
	secret, two := makeToken(2, "two")
	one, two = strings.TrimSpace(one)+" scope=*:*\n", strings.TrimSpace(two)+" scope=audit:read scope=status:read\n"
	const viewer, loader = `{name: viewer, allow: ["status:read"]}`, `{name: loader, allow: ["reload:write"]}`
	cfg.AuthTokens, cfg.AuthRoles = filepath.Join(dir, "tokens"), filepath.Join(dir, "roles")
	write(t, dir, map[string]string{"tokens": one + two, "roles": "roles: [" + viewer + "]\n"})
	n, _ := run(t, cfg)
	write(t, dir, map[string]string{"tokens": two, "roles": "roles: [" + loader + "]\n"})
	var got string
	eventually(t, "both are recorded", func() bool {
		var log api.AuditLog
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.APIAddr().String()+"/v1/audit?last=1000", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+secret)
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if err := json.NewDecoder(response.Body).Decode(&log); err != nil {
			t.Fatal(err)
		}
		got = ""
		for _, e := range log.Entries {
			if e.Kind == operator.EntryTokens || e.Kind == operator.EntryRoles {
				got += fmt.Sprintf("%s by %s: %v -> %v\n", e.Kind, e.Who, e.Before, e.After)
			}
		}
		return strings.Contains(got, "tokens by") && strings.Contains(got, "roles by")
	})
	for _, want := range []string{
		"roles by watcher: map[roles:[role viewer may status:read]] -> map[roles:[role loader may reload:write]]", "tokens by watcher: map[tokens:[one created=", "]] -> map[tokens:[]]",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "sha256") {
		t.Errorf("it has what a token is known by:\n%s", got)
	}
}

// TestUnreadableRecord: where the audit log cannot be read behind the file of leases, those of the file hold, and no others are made.
func TestUnreadableRecord(t *testing.T) {
	cfg := config(t, operatorFiles())
	n, stop := run(t, cfg)
	change(t, n, http.MethodPut, "/v1/leases/a", drain("region", "fra"))
	stop()
	n, err := node.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.ReopenBook(func(uint64) ([]operator.Entry, error) { return nil, errors.New("input/output error") })
	if all := n.Leases(); len(all) != 1 || all[0].ID != "a" || all[0].Ended.After(time.Time{}) {
		t.Errorf("leases %+v", all)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	var problem struct{ Detail string }
	if status := call(t, n, http.MethodPut, "/v1/leases/b", drain("target", "web/iad1"), &problem); status != http.StatusServiceUnavailable || !strings.Contains(problem.Detail, "input/output error") {
		t.Errorf("status %d: %s", status, problem.Detail)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
