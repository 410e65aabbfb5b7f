package api_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"geodns/internal/source"
	"geodns/pkg/api"
)

// token makes the n-th of some tokens that are always the same.
func token(n int, name string, expires time.Time) (string, api.Token) {
	var secret api.TokenSecret
	secret[0], secret[31] = byte(n), byte(n>>8)
	text := secret.Text()
	return text, api.Token{Name: name, Hash: api.HashToken(text), Created: time.Unix(1_700_000_000, 0).UTC(), Expires: expires, Scopes: []api.Grant{{Resource: "*", Verb: "*"}}}
}

func TestTokenText(t *testing.T) {
	text, kept := token(1, "a", time.Time{})
	if !strings.HasPrefix(text, "gdt_") || len(text) != 47 {
		t.Errorf("text %q", text)
	}
	if line := kept.Line(); strings.Contains(line, text[4:]) || line != fmt.Sprintf("a sha256=%x created=2023-11-14T22:13:20Z expires=never scope=*:*\n", kept.Hash) {
		t.Errorf("line %q", line)
	}
}

func TestFindToken(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	good, keptGood := token(1, "good", now.Add(time.Nanosecond))
	ever, keptEver := token(2, "ever", time.Time{})
	over, keptOver := token(3, "over", now)
	all := []api.Token{keptGood, keptEver, keptOver}
	for text, want := range map[string]bool{
		good: true, ever: true, over: false, "": false, good[:46]: false, good + "A": false, strings.ToUpper(good): false, good[4:]: false,
	} {
		if got := api.FindToken(all, text, now) != nil; got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if api.FindToken(nil, good, now) != nil {
		t.Error("accepted without tokens")
	}
}

// TestFindTokenAll covers that all tokens are compared, wherever the one is that is meant.
func TestFindTokenAll(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	var all []api.Token
	var texts []string
	for i := range 20 {
		text, kept := token(i, fmt.Sprintf("t%d", i), time.Time{})
		all, texts = append(all, kept), append(texts, text)
	}
	for i, text := range append(texts, "", "gdt_") {
		found, compared := api.CompareTokens(all, text, now)
		if compared != len(all) {
			t.Errorf("%d: %d comparisons", i, compared)
		}
		if i < len(all) && found != &all[i] || i >= len(all) && found != nil {
			t.Errorf("%d: found %v", i, found)
		}
	}
}

// TestParseTokens covers each finding, with its place, and that none quotes what may be secret.
func TestParseTokens(t *testing.T) {
	text, kept := token(1, "one", time.Time{})
	_, other := token(2, "two", time.Unix(1_900_000_000, 0).UTC())
	hash := fmt.Sprintf("sha256=%x", kept.Hash)
	for _, tt := range []struct{ name, data, want string }{
		{"empty", "", ""},
		{"comments", "# a\n\n  # b\n", ""},
		{"one", kept.Line(), ""},
		{"two, without an end", "# ours\r\n" + kept.Line() + strings.TrimSuffix(other.Line(), "\n"), ""},
		{"order and comment", "one expires=never\tcreated=2026-01-01T00:00:00+02:00  " + hash + " # for CI", ""},
		{"name", "One " + hash, `f:1:1: error: a token's name is 1 to 63 of a-z`},
		{"long name", strings.Repeat("a", 64) + " " + hash, `f:1:1: error: a token's name is 1 to 63`},
		{"a token itself", "\n " + text, `f:2:2: error: this looks like a token itself`},
		{"a token itself behind", "one " + text, `f:1:5: error: a field such as expires=never`},
		{"rights", "one expires=never created=2026-01-01T00:00:00Z " + hash + " scope=*:read role=a scope=leases:write,pool=web* role=b", ""},
		{"no rights", "one expires=never created=2026-01-01T00:00:00Z " + hash, ""},
		{"bad scope", "one scope=leases", `f:1:11: error: a grant begins with what it permits`},
		{"a token for a scope", "one scope=" + text, `f:1:11: error: this looks like a token itself`},
		{"bad role", "one role=" + text, `f:1:10: error: a role's name is 1 to 63`},
		{"name of our own", "local " + hash, `f:1:1: error: "local" is what the server itself is called`},
		{"missing", "one", `f:1:1: error: token "one" has no sha256`},
		{"unknown", strings.TrimSpace(kept.Line()) + " shade=red", `error: unknown field "shade"; there are sha256, created, expires, scope, role`},
		{"twice", strings.TrimSpace(kept.Line()) + " expires=never", `error: "expires" stands twice`},
		{"short hash", "one sha256=abcd created=2026-01-01T00:00:00Z expires=never", `f:1:12: error: sha256 has 64 hex digits, and here are 4 characters`},
		{"no hash", "one sha256=" + strings.Repeat("g", 64) + " created=2026-01-01T00:00:00Z expires=never", `f:1:12: error: sha256 is 64 hex digits`},
		{"time", "one " + hash + " created=yesterday expires=never", `error: created is a time such as`},
		{"before", "one " + hash + " created=2026-01-01T00:00:00Z expires=2025-01-01T00:00:00Z", `expires before it was created`},
		{"same name", kept.Line() + strings.Replace(other.Line(), "two", "one", 1), `f:2:1: error: token "one" stands in line 1 already`},
		{"same hash", kept.Line() + strings.Replace(kept.Line(), "one", "two", 1), `f:2:1: error: this is the hash of line 1 again`},
		{"too many", func() string {
			var all strings.Builder
			for i := range api.TokensMax + 2 {
				_, one := token(i, fmt.Sprintf("t%d", i), time.Time{})
				all.WriteString(one.Line())
			}
			return all.String()
		}(), `f:1001:1: error: more than 1000 tokens`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var findings source.Findings
			tokens, ok := api.ParseTokens("f", []byte(tt.data), &findings)
			var got strings.Builder
			for _, f := range findings {
				got.WriteString(f.String() + "\n")
			}
			if ok != (tt.want == "") || ok == findings.HasErrors() || !strings.Contains(got.String(), tt.want) || (!ok && tokens != nil) {
				t.Errorf("ok %v, %d tokens, findings:\n%s", ok, len(tokens), got.String())
			}
			if strings.Contains(got.String(), text[4:]) || strings.Contains(got.String(), hash[7:]) {
				t.Errorf("a secret is quoted:\n%s", got.String())
			}
		})
	}
}

// TestTokenLines covers that lines come and go, and all else stays.
func TestTokenLines(t *testing.T) {
	_, one := token(1, "one", time.Time{})
	_, two := token(2, "two", time.Unix(1_900_000_000, 0).UTC())
	begun := api.AddToken(nil, &one)
	if !bytes.HasPrefix(begun, []byte("# ")) || !bytes.HasSuffix(begun, []byte(one.Line())) {
		t.Errorf("begun:\n%s", begun)
	}
	mine := "# mine" // without an end
	both := api.AddToken([]byte(mine), &one)
	both = append(both, "  # of the pipeline\n"...)
	both = api.AddToken(both, &two)
	if want := mine + "\n" + one.Line() + "  # of the pipeline\n" + two.Line(); string(both) != want {
		t.Errorf("both:\n%s", both)
	}
	left, found := api.RemoveToken(both, "one")
	if want := mine + "\n  # of the pipeline\n" + two.Line(); !found || string(left) != want {
		t.Errorf("left, %v:\n%s", found, left)
	}
	if same, found := api.RemoveToken(left, "tw"); found || !bytes.Equal(same, left) {
		t.Errorf("a part of a name: %v\n%s", found, same)
	}
}

// FuzzTokens covers that any file is read or refused with findings in it, and that what was read is written back as it was.
func FuzzTokens(f *testing.F) {
	_, one := token(1, "one", time.Time{})
	_, two := token(2, "two", time.Unix(1_900_000_000, 0).UTC())
	f.Add([]byte(one.Line() + "# x\n" + two.Line()))
	f.Add([]byte("one expires=never sha256=\r\n\tcreated=2026-01-01T00:00:00+23:59 ="))
	f.Add([]byte("gdt_x\n\x00 # \xff\na a=b a=c"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var findings source.Findings
		tokens, ok := api.ParseTokens("f", data, &findings)
		if ok == findings.HasErrors() {
			t.Fatalf("ok %v with %v", ok, findings)
		}
		lines := bytes.Count(data, []byte("\n")) + 1
		for _, finding := range findings {
			if finding.Line < 1 || finding.Line > lines || finding.Col < 1 || finding.Col > len(data)+1 {
				t.Errorf("%v is not in the file", finding.Place)
			}
		}
		if !ok {
			return
		}
		var written []byte
		for i := range tokens {
			written = append(written, tokens[i].Line()...)
		}
		again, ok := api.ParseTokens("f", written, &findings)
		if !ok || len(again) != len(tokens) {
			t.Fatalf("written back:\n%s\n%v", written, findings)
		}
		for i := range tokens {
			if !cmp.Equal(again[i], tokens[i]) {
				t.Errorf("%+v is written back as %+v", tokens[i], again[i])
			}
			left, found := api.RemoveToken(data, tokens[i].Name)
			if rest, ok := api.ParseTokens("f", left, &findings); !found || !ok || len(rest) != len(tokens)-1 {
				t.Errorf("without %s: %v %v\n%s", tokens[i].Name, found, ok, left)
			}
		}
	})
}
