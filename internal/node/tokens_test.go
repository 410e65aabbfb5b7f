package node_test

import (
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"geodns/internal/node"
	"geodns/pkg/api"
)

// makeToken makes the n-th of some tokens that are always the same.
func makeToken(n byte, name string) (text, line string) {
	secret := api.TokenSecret{n}
	text = secret.Text()
	kept := api.Token{Name: name, Hash: api.HashToken(text), Created: time.Unix(1_700_000_000, 0), Scopes: []api.Grant{{Resource: "*", Verb: "*"}}}
	return text, kept.Line()
}

// TestTokenStore covers that each change of the file counts from the next use on, that a bad file changes nothing, and that it is
// logged once.
func TestTokenStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	put := func(text string) { // in place, as an editor may: within one tick of the file's time
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	one, oneLine := makeToken(1, "one")
	two, twoLine := makeToken(2, "two")
	put(oneLine)
	logged := new(logText)
	cfg := node.Config{AuthTokens: path, Log: slog.New(slog.NewTextHandler(logged, nil))}
	s, ok, findings := node.NewAccess(&cfg)
	if !ok || len(findings) > 0 {
		t.Fatalf("findings %v", findings)
	}
	want := func(what string, wantOne, wantTwo bool, refused string) {
		t.Helper()
		_, gotOne := s.Token(one)
		_, gotTwo := s.Token(two)
		if gotOne != wantOne || gotTwo != wantTwo {
			t.Errorf("%s: one %v, two %v", what, gotOne, gotTwo)
		}
		if d := s.Document(); !strings.Contains(d.Refused, refused) || (refused == "") != (d.Refused == "") {
			t.Errorf("%s: refused %q", what, d.Refused)
		}
	}
	want("first", true, false, "")
	put(twoLine) // as long as before
	want("replaced", false, true, "")
	put(oneLine + twoLine)
	want("both", true, true, "")
	put(oneLine + "two shade=red\n")
	want("bad", true, true, `tokens:2:5: error: unknown field "shade"`)
	put(oneLine + "two\n")
	want("bad in another way", true, true, `tokens:2:1: error: token "two" has no sha256`)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	want("gone", true, true, "cannot be read")
	want("gone still", true, true, "cannot be read")
	put("# nobody\n")
	want("empty", false, false, "")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	want("a folder", false, false, "no regular file")
	if n := logged.count("the file of tokens is refused"); n != 4 {
		t.Errorf("%d refusals are logged:\n%s", n, logged)
	}
	if logged.count("gdt_") > 0 {
		t.Errorf("a token is logged:\n%s", logged)
	}
}

// TestTokensAtStart covers a file that cannot be used, and one that anybody may change.
func TestTokensAtStart(t *testing.T) {
	cfg := config(t, map[string]string{"example.com.zone": "@ 60 IN SOA a a 1 60 60 60 60\n@ 60 IN NS a.example.net.\n"})
	cfg.AuthTokens = filepath.Join(t.TempDir(), "tokens")
	refused := func(want string) {
		t.Helper()
		_, err := node.New(cfg)
		load, ok := errors.AsType[*node.LoadError](err)
		if !ok || !strings.Contains(load.Findings().Err().Error(), want) {
			t.Errorf("New: %v", err)
		}
		if findings := node.Check(cfg).Findings; !findings.HasErrors() || !strings.Contains(findings.Err().Error(), want) {
			t.Errorf("Check: %v", findings)
		}
	}
	refused("cannot be read")
	write(t, filepath.Dir(cfg.AuthTokens), map[string]string{"tokens": "one\n"})
	refused(`token "one" has no sha256`)

	text, line := makeToken(1, "one")
	write(t, filepath.Dir(cfg.AuthTokens), map[string]string{"tokens": line})
	if err := os.Chmod(cfg.AuthTokens, 0o666); err != nil { // beyond any umask
		t.Fatal(err)
	}
	findings := node.Check(cfg).Findings
	if findings.HasErrors() || !strings.Contains(findings[len(findings)-1].String(), "anybody on this machine can add a token here (mode 0666)") {
		t.Errorf("findings %v", findings)
	}
	n, stop := run(t, cfg)
	defer stop()
	for token, want := range map[string]int{"": 401, text + "x": 401, text: 200} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.APIAddr().String()+"/v1/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%q: status %d, want %d", token, response.StatusCode, want)
		}
	}
}
