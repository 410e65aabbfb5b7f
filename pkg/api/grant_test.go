package api_test

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"geodns/pkg/api"
)

func TestParseGrant(t *testing.T) {
	for _, tt := range []struct{ text, want, err string }{
		{"leases:write pool=web*", "leases:write pool=web*", ""},
		{"leases:write,pool=web*,tag=a,tag=b", "leases:write pool=web* tag=a tag=b", ""},
		{" *:read\t", "*:read", ""},
		{"*:*", "*:*", ""},
		{"leases:*", "leases:*", ""},
		{"leases:* region=fra", "leases:* region=fra", ""},
		{"votes:write pop=fra target=web/*", "votes:write pop=fra target=web/*", ""},
		{"explain:read policy=www", "explain:read policy=www", ""},
		{"", "", `a grant such as "leases:write pool=web*" is wanted`},
		{"leases", "", `a grant begins with what it permits`},
		{"lease:write", "", `there is no resource "lease"; did you mean "leases"?`},
		{":", "", `there is no resource ""`},
		{"leases:wirte", "", `leases has no verb "wirte"; did you mean "write"?`},
		{"status:write", "", `status has no verb "write"; there are read`},
		{"reload:read", "", `reload has no verb "read"`},
		{"*:delete", "", `* has no verb "delete"; there are override, read, write`},
		{"*:read pool=a", "", `a grant on every resource takes no pattern`},
		{"status:read pool=a", "", `status takes no pattern, as it has no objects`},
		{"pools:read target=a", "", `pools cannot be told by "target"; there are pool`},
		{"leases:write pop=a", "", `leases cannot be told by "pop"`},
		{"leases:write pool", "", `a pattern such as pool=web* is wanted behind leases:write, not "pool"`},
		{"leases:write pool=", "", `pool: "" is no pattern`},
		{"leases:write pool=\u00e4", "", `is no pattern: 1 to 511 printable`},
		{"leases:write pool=a#", "", `is no pattern`},
		{"leases:write pool=a pool=b", "", `pool stands twice in one grant; for objects of either, write two grants`},
		{"leases:write" + strings.Repeat(" tag=a", 9), "", `at most 8 patterns, not 9`},
		{"leases:write tag=" + strings.Repeat("a", api.GlobMax+1), "", `is no pattern`},
		{strings.Repeat("a", 5000), "", `a grant has at most`},
	} {
		g, err := api.ParseGrant(tt.text)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: %v, want %s", tt.text, err, tt.err)
			}
			continue
		}
		if err != nil || g.String() != tt.want {
			t.Errorf("%q: %s, %v", tt.text, g, err)
		}
	}
}

func TestCovers(t *testing.T) {
	fra := api.Attributes{"pool": {"web"}, "target": {"web/fra1"}, "region": {"fra"}, "tag": {"blue", "canary"}}
	region := api.Attributes{"region": {"fra"}}
	for _, tt := range []struct {
		grant, resource, verb string
		of                    api.Attributes
		want                  bool
	}{
		{"*:*", "leases", "override", fra, true},
		{"*:read", "leases", "read", nil, true},
		{"*:read", "leases", "write", nil, false},
		{"leases:*", "leases", "override", region, true},
		{"leases:write", "leases", "override", fra, false},
		{"leases:write", "pools", "write", fra, false},
		{"leases:write pool=web*", "leases", "write", fra, true},
		{"leases:write pool=web*", "leases", "write", region, false},
		{"leases:write pool=*", "leases", "write", region, false},
		{"leases:write pool=*", "leases", "write", nil, false},
		{"leases:write pool=web region=ams", "leases", "write", fra, false},
		{"leases:write region=fra", "leases", "write", region, true},
		{"leases:write tag=blue tag=canary", "leases", "write", fra, true},
		{"leases:write tag=blue tag=green", "leases", "write", fra, false},
		{"leases:write target=web/fra*", "leases", "write", fra, true},
		{"leases:write target=fra1", "leases", "write", fra, false},
	} {
		g, err := api.ParseGrant(tt.grant)
		if err != nil {
			t.Fatal(err)
		}
		if got := g.Covers(tt.resource, tt.verb, tt.of); got != tt.want {
			t.Errorf("%s covers %s:%s of %v: %v", tt.grant, tt.resource, tt.verb, tt.of, got)
		}
	}
}

// twin is Matches by a regular expression.
func twin(glob, name string) bool {
	parts := strings.Split(glob, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile(`(?s)\A(?:` + strings.Join(parts, `.*`) + `)\z`).MatchString(name)
}

// TestMatchesTwin compares patterns with their twin over a small alphabet, where near misses are common.
func TestMatchesTwin(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	text := func(alphabet string, most int) string {
		out := make([]byte, random.IntN(most+1))
		for i := range out {
			out[i] = alphabet[random.IntN(len(alphabet))]
		}
		return string(out)
	}
	for range 20_000 {
		glob, name := text("ab*", 8), text("ab", 10)
		if got, want := api.Matches(glob, name), twin(glob, name); got != want {
			t.Fatalf("%q, %q: %v, the twin says %v", glob, name, got, want)
		}
	}
}

// FuzzMatches compares any pattern with its twin.
func FuzzMatches(f *testing.F) {
	f.Add("web*", "web-eu")
	f.Add("*a*b*", "aab")
	f.Add("a*a", "a")
	f.Fuzz(func(t *testing.T, glob, name string) {
		if utf8.ValidString(glob) && utf8.ValidString(name) { // else it is no regular expression
			if got, want := api.Matches(glob, name), twin(glob, name); got != want {
				t.Errorf("%q, %q: %v, the twin says %v", glob, name, got, want)
			}
		}
	})
}

// FuzzGrant covers that what is read is written back as it was, and fits a field of a file of tokens.
func FuzzGrant(f *testing.F) {
	f.Add("leases:write pool=web* tag=a,tag=b")
	f.Add("*:read\t")
	f.Add("votes:write pop==")
	f.Fuzz(func(t *testing.T, text string) {
		g, err := api.ParseGrant(text)
		if err != nil {
			return
		}
		again, err := api.ParseGrant(g.String())
		if err != nil || !cmp.Equal(again, g) {
			t.Errorf("%q is written %q, which is %v, %v", text, g, again, err)
		}
		of := api.Attributes{}
		for _, p := range g.Objects {
			of[p.Kind] = append(of[p.Kind], p.Glob) // each is like itself
		}
		if !g.Covers(g.Resource, g.Verb, of) {
			t.Errorf("%s does not cover %v", g, of)
		}
	})
}
