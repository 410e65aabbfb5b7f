package api_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"geodns/internal/source"
	"geodns/pkg/api"
)

// TestDeployedRoles: the file of roles that people begin with is one, each of its roles permits something, and none but oncall
// may override a guard.
func TestDeployedRoles(t *testing.T) {
	const file = "../../deploy/roles.yaml"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var findings source.Findings
	roles, ok := api.ParseRoles(file, data, &findings)
	if !ok || len(findings) > 0 {
		t.Fatal(findings)
	}
	names := []string{"viewer", "oncall", "web-team", "deploy-ci", "scraper", "status", "rum-feed", "rum-reader", "voter"}
	if roles.Count() != len(names) {
		t.Errorf("%d roles, want %v", roles.Count(), names)
	}
	for _, name := range names {
		p := roles.Token(&api.Token{Name: "t", Roles: []string{name}})
		if len(p.Grants) == 0 {
			t.Errorf("%s: no grants", name)
		}
		if got := p.MaySome("leases", "override"); got != (name == "oncall") {
			t.Errorf("%s: may override: %v", name, got)
		}
	}
	for name, want := range map[string][2]bool{"rum-feed": {false, true}, "rum-reader": {true, false}, "viewer": {true, false}} {
		p := roles.Token(&api.Token{Name: "t", Roles: []string{name}})
		if got := [2]bool{p.MaySome("rum", "read"), p.MaySome("rum", "write")}; got != want {
			t.Errorf("%s: may read and write what users measured: %v", name, got)
		}
	}
	team := roles.Token(&api.Token{Name: "t", Roles: []string{"web-team"}})
	if !team.May("leases", "write", api.Attributes{"target": {"web/fra1"}, "pool": {"web"}, "region": {"fra"}}) {
		t.Error("web-team may not drain its own target")
	}
	if team.May("leases", "write", api.Attributes{"region": {"fra"}}) {
		t.Error("web-team may drain a region")
	}
}

// operationsText is docs/operations.md.
func operationsText(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestDocumentedOperations: docs/operations.md has a row for each operation with its permission, and no others.
func TestDocumentedOperations(t *testing.T) {
	var document struct {
		Paths map[string]map[string]struct {
			Permission string `json:"x-permission"`
		} `json:"paths"`
	}
	if err := json.Unmarshal([]byte(text(t, ask(t, config(), "GET", "/openapi.json"))), &document); err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(operationsText(t)) {
		cells := strings.Split(line, "|")
		if operation, found := strings.CutSuffix(strings.TrimPrefix(strings.TrimSpace(cells[min(1, len(cells)-1)]), "`"), "`"); found && strings.Contains(operation, " /v1/") {
			rows[operation] = strings.TrimSpace(cells[2])
		}
	}
	for path, methods := range document.Paths {
		for method, op := range methods {
			operation := strings.ToUpper(method) + " " + path
			if want := "`" + op.Permission + "`"; rows[operation] != want {
				t.Errorf("%s: the row has %q, want %q", operation, rows[operation], want)
			}
			delete(rows, operation)
		}
	}
	for operation := range rows {
		t.Errorf("%s is documented, and there is no such operation", operation)
	}
}

// TestDocumentedGrants: each grant of the table of resources in docs/operations.md is one, with each pattern that the row has, and with no
// other kind.
func TestDocumentedGrants(t *testing.T) {
	_, table, begins := strings.Cut(operationsText(t), "\n| resource | verbs | patterns |\n")
	table, _, ends := strings.Cut(table, "\n\n")
	if !begins || !ends {
		t.Fatal("there is no table of resources")
	}
	words := func(cell string) (out []string) {
		for word := range strings.SplitSeq(cell, ",") {
			if word = strings.Trim(word, " `"); word != "" {
				out = append(out, word)
			}
		}
		return out
	}
	documented := map[string]bool{} // by what ParseGrant takes
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		for _, resource := range words(cells[1]) {
			for _, verb := range words(cells[2]) {
				documented[resource+":"+verb] = true
				for _, kind := range words(cells[3]) {
					documented[fmt.Sprintf("%s:%s %s=a", resource, verb, kind)] = true
				}
			}
		}
	}
	for resource := range strings.FieldsSeq("status targets checks pools policies zones explain events audit metrics leases reload rum votes") {
		for _, verb := range []string{"read", "write", "override"} {
			grants := []string{resource + ":" + verb}
			for kind := range strings.FieldsSeq("pool target region tag pop policy zone") {
				grants = append(grants, fmt.Sprintf("%s:%s %s=a", resource, verb, kind))
			}
			for _, grant := range grants {
				_, err := api.ParseGrant(grant)
				if known := err == nil; known != documented[grant] {
					t.Errorf("%s: a grant: %v, documented: %v", grant, known, documented[grant])
				}
				delete(documented, grant)
			}
		}
	}
	for grant := range documented {
		t.Errorf("%s is documented, and no such resource is known", grant)
	}
}
