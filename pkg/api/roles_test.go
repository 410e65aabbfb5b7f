package api_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"geodns/internal/source"
	"geodns/pkg/api"
	"geodns/pkg/operator"
)

// parseRoles reads roles that are right.
func parseRoles(t *testing.T, text string) *api.Roles {
	t.Helper()
	var findings source.Findings
	roles, ok := api.ParseRoles("f", []byte(text), &findings)
	if !ok {
		t.Fatal(findings)
	}
	return roles
}

const someRoles = `
roles:
  - {name: oncall, allow: ["*:read", "leases:write pool=web*"]}
  - {name: loader, allow: ["reload:write"]}
  - {name: nothing, allow: []}
certificates:
  - {name: "*@example.com", roles: [oncall]}
  - {name: "alice@*", roles: [loader]}
claims:
  - {claim: groups, value: dns-oncall, roles: [oncall]}
  - {claim: sub, value: "42", roles: [loader]}
`

func TestRoles(t *testing.T) {
	roles := parseRoles(t, someRoles)
	grants := func(p *api.Principal) string {
		var all []string
		for _, g := range p.Grants {
			all = append(all, g.String())
		}
		return p.Name + " by " + p.By + ": " + strings.Join(all, "; ")
	}
	const oncall, loader = "*:read; leases:write pool=web*", "reload:write"
	for _, tt := range []struct {
		got  *api.Principal
		want string
	}{
		{roles.Token(&api.Token{Name: "ci", Scopes: []api.Grant{{Resource: "votes", Verb: "write"}}, Roles: []string{"loader", "gone"}}), "ci by token: votes:write; " + loader},
		{roles.Certificate("alice@example.com"), "certificate:alice@example.com by certificate: " + oncall + "; " + loader},
		{roles.Certificate("bob@example.com"), "certificate:bob@example.com by certificate: " + oncall},
		{roles.Certificate("bob@example.com.evil"), "certificate:bob@example.com.evil by certificate: "},
		{roles.JWT(api.MakeClaims("a", map[string]any{"groups": []any{"x", "dns-oncall"}, "sub": "42"})), "oidc:a by oidc: " + oncall + "; " + loader},
		{roles.JWT(api.MakeClaims("a", map[string]any{"groups": "dns-oncall"})), "oidc:a by oidc: " + oncall},
		{roles.JWT(api.MakeClaims("a", map[string]any{"groups": "dns-oncall,x", "sub": 42.0})), "oidc:a by oidc: "},
		{roles.JWT(api.MakeClaims("a", map[string]any{"groups": []any{[]any{"dns-oncall"}}})), "oidc:a by oidc: "},
		{(*api.Roles)(nil).Certificate("a"), "certificate:a by certificate: "},
	} {
		if got := grants(tt.got); got != tt.want {
			t.Errorf("%s\nwant %s", got, tt.want)
		}
	}
}

// TestRoleLines covers what the record has of a file of roles.
func TestRoleLines(t *testing.T) {
	roles := parseRoles(t, `roles: [{name: b, allow: ["*:read", "leases:write pool=web*"]}, {name: a, allow: []}]
certificates: [{name: "*@example.com", roles: [b, a]}]
claims: [{claim: groups, value: oncall, roles: [b]}]`)
	want := []string{
		"role a may ", "role b may *:read; leases:write pool=web*", "certificate *@example.com has b, a", "claim groups of oncall has b",
	}
	if got := roles.Lines(); !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	if got := (*api.Roles)(nil).Lines(); len(got) != 0 {
		t.Errorf("of no file: %q", got)
	}
}

func TestParseRoles(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", ""},
		{"comment", "# nobody\n", ""},
		{"all", someRoles, ""},
		{"no map", "[a]", "f:1:1: error: a mapping is wanted here"},
		{"unknown key", "rolls: []", `f:1:1: error: unknown key "rolls"; did you mean "roles"?`},
		{"no name", "roles: [{allow: []}]", `f:1:9: error: key "name" is missing`},
		{"no allow", "roles: [{name: a}]", `error: key "allow" is missing`},
		{"bad name", "roles: [{name: A, allow: []}]", `f:1:16: error: "A": a role's name is`},
		{"twice", "roles: [{name: a, allow: []}, {name: a, allow: []}]", `f:1:38: error: role "a" stands in line 1 already`},
		{"bad grant", `roles: [{name: a, allow: ["lease:write"]}]`, `f:1:27: error: role a: there is no resource "lease"`},
		{"many grants", `roles: [{name: a, allow: [` + strings.Repeat(`"*:read",`, 65) + `]}]`, `a role has at most 64 grants, not 65`},
		{"no such role", `certificates: [{name: a, roles: [b]}]`, `f:1:34: error: there is no role "b"; the file has no roles`},
		{"meant", "roles: [{name: oncall, allow: []}]\nclaims: [{claim: a, value: b, roles: [oncal]}]", `f:2:39: error: there is no role "oncal"; did you mean "oncall"?`},
		{"no roles", `certificates: [{name: a, roles: []}]`, `1 to 64 roles are wanted here, not 0`},
		{"blank name", "roles: [{name: a, allow: []}]\ncertificates: [{name: ' a', roles: [a]}]", `begins or ends with a blank`},
		{"no value", "claims: [{claim: a, roles: []}]", `error: key "value" is missing`},
		{"number", "roles: [{name: a, allow: []}]\nclaims: [{claim: sub, value: 42, roles: [a]}]", `f:2:30: error: a string is wanted here`},
		{"many", "roles: [" + strings.Repeat("{},", 257) + "]", `at most 256 are wanted here, not 257`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var findings source.Findings
			roles, ok := api.ParseRoles("f", []byte(tt.text), &findings)
			var got strings.Builder
			for _, f := range findings {
				got.WriteString(f.String() + "\n")
			}
			if ok != (tt.want == "") || (roles != nil) != ok || !strings.Contains(got.String(), tt.want) {
				t.Errorf("ok %v, findings:\n%s", ok, got.String())
			}
		})
	}
}

// FuzzRoles covers that any file is read, or refused with findings in it.
func FuzzRoles(f *testing.F) {
	f.Add([]byte(someRoles))
	f.Add([]byte("roles: [{name: a, allow: [\"*:*\", &b 1, *b]}]\ncertificates: {}\n"))
	f.Add([]byte("claims: [{claim: a, value: , roles: [x]}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var findings source.Findings
		roles, ok := api.ParseRoles("f", data, &findings)
		if ok == findings.HasErrors() || ok == (roles == nil) {
			t.Fatalf("ok %v with %v", ok, findings)
		}
		lines := bytes.Count(data, []byte("\n")) + 1
		for _, finding := range findings {
			if finding.Line < 1 || finding.Line > lines || finding.Col < 1 {
				t.Errorf("%v is not in the file", finding.Place)
			}
		}
		for _, p := range []*api.Principal{roles.Certificate("a"), roles.Certificate("")} {
			for _, g := range p.Grants {
				if again, err := api.ParseGrant(g.String()); err != nil || again.String() != g.String() {
					t.Errorf("grant %s: %v", g, err)
				}
			}
		}
	})
}

// TestNamesFitTheRecord: who may do something has a name that the audit log takes, or nothing could be done by it.
func TestNamesFitTheRecord(t *testing.T) {
	for _, p := range []*api.Principal{
		new(api.Roles).Certificate(strings.Repeat("x", api.CertificateNameMax)),
		new(api.Roles).JWT(&api.Claims{Name: strings.Repeat("x", api.OIDCNameMax)}),
		new(api.Roles).Token(&api.Token{Name: strings.Repeat("x", api.TokenNameMax)}),
	} {
		if len(p.Name) > operator.WhoMax {
			t.Errorf("%s: %d bytes, and the audit log takes %d", p.By, len(p.Name), operator.WhoMax)
		}
	}
	// No token's name is a word that the record has for somebody else.
	for _, name := range []string{api.LocalOwner, "checker", "geodns", "watcher", "signal"} {
		if api.CheckTokenName(name) == nil {
			t.Errorf("a token may be called %s", name)
		}
	}
}
