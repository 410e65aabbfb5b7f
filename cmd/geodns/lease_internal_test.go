package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"geodns/pkg/api"
)

// TestDrain covers what is sent, and what is printed of the answer.
func TestDrain(t *testing.T) {
	lease := fleetLeases().Leases[0]
	done := api.LeaseChange{Lease: lease, Changed: true, Breaks: []string{}, Audit: 17, Seconds: 0.004}
	renewed := done
	before := lease
	before.Owner, before.Reason, before.Expires = "bob", "power", at(9)
	renewed.Before = &before
	overridden := done
	overridden.Breaks = []string{"pool web would have 0 usable targets, min_up is 1"}
	same := api.LeaseChange{Lease: lease}
	dry := api.LeaseChange{Lease: lease, Changed: true, DryRun: true, Impact: &api.Impact{
		Share: 0.314, Failed: 0.0001, Sampled: 4096, Left: 2, Policies: []api.PolicyImpact{
			{Policy: "www", Share: 0.4, Moves: []api.Move{
				{From: "fra", To: "ams", Share: 0.3},
				{From: "fra", To: "iad", Share: 0.1},
				{From: "a", To: "b", Share: 0.01},
				{From: "c", To: "d", Share: 0.01},
				{From: "e", To: "f", Share: 0.01},
				{From: "g", To: "h", Share: 0.01},
				{From: "i", To: "j", Share: 0.01},
			}},
			{Policy: "api", Share: 0.1, Failed: 0.1, Moves: []api.Move{{From: "fra", To: "SERVFAIL", Share: 0.1}}},
			{Policy: "none"},
		},
	}}
	refused := dry
	refused.Breaks = overridden.Breaks
	guard := map[string]any{"title": "Conflict", "detail": "a guard refuses it", "errors": []any{
		map[string]string{"location": "guard", "message": "pool web would have 0 usable targets, min_up is 1"},
		map[string]string{"location": "guard", "message": "policy www would answer nobody"},
	}}
	const path = "/v1/leases/drain.region.fra"
	body := func(more string) string {
		return `{"action":"drain","kind":"region","name":"fra","reason":"kernel","ticket":"OPS-12","expires":"2040-01-02T06:00:00Z"` + more + `}`
	}
	for _, tt := range []struct {
		name                string
		args                []string
		answer              answer
		asked, want, errors string
		code                int
	}{
		{"done", nil, answer{document: done}, "PUT " + path + " " + body(""), `drain region fra until 2040-01-02T06:00:00Z (lease drain.region.fra, 2 targets)
served after 0.004 s, audit entry 17
`, "", 0},
		{"in place of another's", nil, answer{document: renewed}, "PUT " + path + " " + body(""), `drain region fra until 2040-01-02T06:00:00Z (lease drain.region.fra, 2 targets)
in place of: drain until 2040-01-02T09:00:00Z by bob: power
served after 0.004 s, audit entry 17
`, "", 0},
		{"a wrong name", nil, answer{422, map[string]any{"title": "Unprocessable Entity", "detail": "it cannot be carried out", "errors": []any{
			map[string]string{"location": "body.name", "message": "there is no region \"fra\""}, map[string]string{"message": "nor\x1b another"},
		}}}, "PUT " + path + " " + body(""), "", "geodns: the server says: it cannot be carried out: name: there is no region \"fra\"; nor\ufffd another\n", 1},
		{"the same again", nil, answer{document: same}, "PUT " + path + " " + body(""), "nothing changed, it was so already: drain region fra until 2040-01-02T06:00:00Z (lease drain.region.fra, 2 targets)\n", "", 0},
		{"override", []string{"--override"}, answer{document: overridden}, "PUT " + path + " " + body(`,"override":true`), `drain region fra until 2040-01-02T06:00:00Z (lease drain.region.fra, 2 targets)
overridden: pool web would have 0 usable targets, min_up is 1
served after 0.004 s, audit entry 17
`, "", 0},
		{"a guard", nil, answer{409, guard}, "PUT " + path + " " + body(""), "", `geodns: the server's guards refuse it:
  pool web would have 0 usable targets, min_up is 1
  policy www would answer nobody
geodns: --override does it all the same
`, 1},
		{"another conflict", []string{"--id", "a b"}, answer{409, map[string]string{"title": "Conflict", "detail": "another change came first"}}, "PUT /v1/leases/a%20b " + body(""), "", "geodns: the server says: another change came first\n", 1},
		{"dry run", []string{"--dry-run"}, answer{document: dry}, "PUT " + path + "?dry_run=true " + body(""), `dry run: drain region fra until 2040-01-02T06:00:00Z (lease drain.region.fra, 2 targets)
clients whose answer would change: 31.4 %; who would get SERVFAIL: <0.1 %; 4096 clients tried for each policy
POLICY  MOVE    FAIL    FROM        TO        SHARE
www     40.0 %  -       fra         ams       30.0 %
                        fra         iad       10.0 %
                        a           b         1.0 %
                        c           d         1.0 %
                        e           f         1.0 %
                        and 2 more
api     10.0 %  10.0 %  fra         SERVFAIL  10.0 %
and 1 policy where nobody moves
... and 2 policies that were not tried
nothing was done
`, "", 0},
		{"dry run of what would be refused", []string{"--dry-run", "-o", "yaml"}, answer{document: api.LeaseChange{Lease: lease, DryRun: true, Breaks: refused.Breaks}}, "PUT " + path + "?dry_run=true " + body(""), `*dry_run: true
breaks:
  - pool web would have 0 usable targets, min_up is 1
`, "geodns: the server's guards would refuse it; --override would do it all the same\n", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"drain", "region", "fra", "--until", "2040-01-02T07:00:00+01:00", "--reason", " kernel ", "--ticket", "OPS-12"}, tt.args...)
			method, where, _ := strings.Cut(tt.asked, " ")
			where, _, _ = strings.Cut(strings.ReplaceAll(where, "%20", "\x00"), " ")
			where, _, _ = strings.Cut(strings.ReplaceAll(where, "\x00", " "), "?")
			server := &fakeServer{answers: map[string]answer{method + " " + where: tt.answer}}
			stdout, stderr, code := server.command(t, args...)
			if diff := cmp.Diff([]string{tt.asked}, server.asked); diff != "" {
				t.Error(diff)
			}
			if part, ok := strings.CutPrefix(tt.want, "*"); ok {
				if !strings.Contains(stdout, part) {
					t.Errorf("%q is not in\n%s", part, stdout)
				}
			} else if diff := cmp.Diff(tt.want, stdout); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.errors, stderr); diff != "" {
				t.Error(diff)
			}
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
		})
	}
}

// TestUndrain covers the end of leases over an object, and what others hold still.
func TestUndrain(t *testing.T) {
	ended := func(i int) answer {
		l := fleetLeases().Leases[i]
		l.Active, l.Ended, l.EndedBy = false, at(1), "ann"
		return answer{document: api.LeaseChange{Lease: l, Changed: true, Audit: 20 + uint64(i), Seconds: 0.002}}
	}
	server := &fakeServer{answers: map[string]answer{
		"GET /v1/leases": {document: fleetLeases()}, "GET /v1/targets": {document: fleetTargets()},
		"DELETE /v1/leases/drain.region.fra": ended(0), "DELETE /v1/leases/set.pool.web": ended(3),
	}}
	for _, tt := range []struct {
		name, args string
		asked      []string
		want       string
	}{
		// The lease "other" is gone when it is to end: somebody else was quicker.
		{"all that is there", "undrain region fra", []string{
			"GET /v1/leases", "DELETE /v1/leases/drain.region.fra?reason=done", "DELETE /v1/leases/other?reason=done", "GET /v1/targets",
		}, `end of drain region fra (lease drain.region.fra, 2 targets)
served after 0.002 s, audit entry 20
still held by lease drain.tag.blue (drain tag blue, eve, until 2040-01-02T08:00:00Z): web/fra1
`},
		{"nothing is there", "undrain target web/iad1", []string{"GET /v1/leases", "GET /v1/targets"}, `no lease of drain over target web/iad1: nothing to end
still held by lease drain.tag.blue (drain tag blue, eve, until 2040-01-02T08:00:00Z): web/iad1
`},
		{"no such object", "undrain region frra", []string{"GET /v1/leases", "GET /v1/targets"}, `no lease of drain over region frra: nothing to end
no target is there of region frra; did you mean "fra"?
`},
		{"a set", "unset pool web", []string{"GET /v1/leases", "DELETE /v1/leases/set.pool.web?reason=done"}, `end of set degraded, admit 0.5 pool web (lease set.pool.web, 4 targets)
served after 0.002 s, audit entry 23
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server.asked = nil
			stdout, stderr, code := server.command(t, append(strings.Fields(tt.args), "--reason", "done")...)
			if diff := cmp.Diff(tt.want, stdout); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.asked, server.asked); diff != "" {
				t.Error(diff)
			}
			if stderr != "" || code != 0 {
				t.Errorf("exit code %d: %s", code, stderr)
			}
		})
	}
}

// TestUndrainUnseen checks that who may end leases and not see targets ends them, and is told no more.
func TestUndrainUnseen(t *testing.T) {
	server := &fakeServer{answers: map[string]answer{
		"GET /v1/leases": {document: fleetLeases()}, "DELETE /v1/leases/drain.tag.blue": {document: api.LeaseChange{Lease: fleetLeases().Leases[2]}},
		"GET /v1/targets": {http.StatusForbidden, map[string]string{"title": "Forbidden"}},
	}}
	stdout, stderr, code := server.command(t, "undrain", "tag", "blue")
	if !strings.Contains(stdout, "(lease drain.tag.blue, 3 targets)\n") || stderr != "" || code != exitFine {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// TestManyBreaks checks that what guards say first stays on the screen.
func TestManyBreaks(t *testing.T) {
	many := []any{map[string]string{"location": "guard", "message": "first"}}
	for range 50 {
		many = append(many, map[string]string{"location": "guard", "message": "more"})
	}
	server := &fakeServer{answers: map[string]answer{"PUT /v1/leases/drain.pool.web": {http.StatusConflict, map[string]any{"title": "Conflict", "errors": many}}}}
	_, stderr, _ := server.command(t, "drain", "pool", "web", "--reason", "x")
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if len(lines) > 16 || lines[1] != "  first" || lines[len(lines)-2] != "  and 39 more, which -o json has" {
		t.Error(stderr)
	}
}

// TestLeases covers lists of leases, one of them, and its end.
func TestLeases(t *testing.T) {
	over := fleetLeases().Leases[1]
	over.Active, over.Ended, over.EndedBy, over.EndReason = false, over.Created, "bob", "power is back"
	server := &fakeServer{answers: map[string]answer{
		"GET /v1/leases": {document: fleetLeases()}, "GET /v1/leases/set.pool.web": {document: fleetLeases().Leases[3]},
		"DELETE /v1/leases/other": {document: api.LeaseChange{Lease: over, Changed: true, DryRun: true}},
	}}
	for _, tt := range []struct {
		args, asked string
		want        []string
		code        int
	}{
		{"leases", "GET /v1/leases", []string{
			"LEASE             ACTION                   ENDS ",
			"drain.region.fra  drain                    in ", "  ann    OPS-12  kernel   region fra  2\n",
			"set.pool.web      set degraded, admit 0.5  in ", "  ann    -       slow     pool web    4\n",
		}, 0},
		{"leases list -a -o json", "GET /v1/leases?all=true", []string{`"id": "drain.tag.blue"`}, 0},
		{"leases show set.pool.web", "GET /v1/leases/set.pool.web", []string{"does     set degraded, admit 0.5 pool web, now 4 targets\n", "expires  2040-01-02T09:00:00Z\n"}, 0},
		{"leases show none", "GET /v1/leases/none", nil, 1},
		{"leases end other --reason back --dry-run", "DELETE /v1/leases/other?dry_run=true&reason=back", []string{"nothing was done\n"}, 0},
	} {
		t.Run(tt.args, func(t *testing.T) {
			server.asked = nil
			stdout, stderr, code := server.command(t, strings.Fields(tt.args)...)
			for _, want := range tt.want {
				if !strings.Contains(stdout, want) {
					t.Errorf("%q is not in\n%s", want, stdout)
				}
			}
			if diff := cmp.Diff([]string{tt.asked}, server.asked); diff != "" {
				t.Error(diff)
			}
			if code != tt.code {
				t.Errorf("exit code %d, want %d: %s", code, tt.code, stderr)
			}
		})
	}
}

// TestGuardDocument checks that programs get a guard's refusal as the document that it is.
func TestGuardDocument(t *testing.T) {
	server := &fakeServer{answers: map[string]answer{"PUT /v1/leases/drain.pool.web": {http.StatusConflict, map[string]any{
		"title": "Conflict", "errors": []any{map[string]string{"location": "guard", "message": "no"}},
	}}}}
	stdout, _, code := server.command(t, "drain", "pool", "web", "--reason", "x", "-o", "json")
	var document problem
	if err := json.Unmarshal([]byte(stdout), &document); err != nil || document.Status != http.StatusConflict || len(document.Errors) != 1 || document.Errors[0].Message != "no" {
		t.Errorf("%v\n%s", err, stdout)
	}
	if code != exitRefused {
		t.Errorf("exit code %d", code)
	}
}
