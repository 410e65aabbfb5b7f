package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite docs/openapi.json")

// openAPIFile is the description of the API as it is checked in, for who makes a client without a server at hand.
const openAPIFile = "../../docs/openapi.json"

// TestOpenAPI holds the description that is checked in against the one that is served, but for the version of the server.
func TestOpenAPI(t *testing.T) {
	cfg := config()
	cfg.Version = "0"
	var served bytes.Buffer
	if err := json.Indent(&served, []byte(text(t, ask(t, cfg, "GET", "/openapi.json"))), "", "  "); err != nil {
		t.Fatal(err)
	}
	want := strings.TrimSpace(served.String()) + "\n"
	if *update {
		if err := os.WriteFile(openAPIFile, []byte(want), 0o644); err != nil { //nolint:gosec // it is a document
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(openAPIFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what is served; make gen writes it", openAPIFile)
	}
}

// TestOpenAPISound: each operation says what it is, what it needs, what it answers, and that its errors are problem documents; every
// reference leads to something.
func TestOpenAPISound(t *testing.T) {
	type response struct {
		Content map[string]any `json:"content"`
	}
	var document struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			ID        string              `json:"operationId"`
			Summary   string              `json:"summary"`
			Responses map[string]response `json:"responses"`
		} `json:"paths"`
		Components struct {
			Schemas map[string]any `json:"schemas"`
		} `json:"components"`
	}
	body := text(t, ask(t, config(), "GET", "/openapi.json"))
	if err := json.Unmarshal([]byte(body), &document); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(document.OpenAPI, "3.1.") {
		t.Errorf("openapi %q", document.OpenAPI)
	}
	ids := map[string]string{}
	for path, methods := range document.Paths {
		for method, op := range methods {
			at := method + " " + path
			if op.ID == "" || op.Summary == "" || ids[op.ID] != "" {
				t.Errorf("%s: id %q (also of %q), summary %q", at, op.ID, ids[op.ID], op.Summary)
			}
			ids[op.ID] = at
			for status, r := range op.Responses {
				_, problem := r.Content["application/problem+json"]
				if good := strings.HasPrefix(status, "2"); good == problem {
					t.Errorf("%s: a %s in %v", at, status, r.Content)
				}
			}
		}
	}
	const prefix = `"$ref":"#/components/schemas/`
	for rest := body; ; {
		_, after, found := strings.Cut(rest, prefix)
		if !found {
			break
		}
		name, tail, _ := strings.Cut(after, `"`)
		if document.Components.Schemas[name] == nil {
			t.Errorf("no schema %q", name)
		}
		rest = tail
	}
}
