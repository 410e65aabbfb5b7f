package node_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"geodns/internal/dnstest"
	"geodns/internal/node"
)

// issue signs a certificate; without a CA it signs itself.
func issue(t *testing.T, template *x509.Certificate, ca *dnstest.Certificate) *dnstest.Certificate {
	t.Helper()
	c, err := dnstest.Issue(template, ca)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestAccessFiles covers that each change of the files of roles and certificates counts from the next use on, and that bad ones
// change nothing.
func TestAccessFiles(t *testing.T) {
	dir := t.TempDir()
	authority := func() *dnstest.Certificate {
		return issue(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	}
	ca, other := authority(), authority()
	server, renewed := issue(t, &x509.Certificate{DNSNames: []string{"localhost"}}, ca), issue(t, &x509.Certificate{DNSNames: []string{"localhost"}}, ca)
	alice := issue(t, &x509.Certificate{EmailAddresses: []string{"alice@example.com"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, ca)
	const roles = "roles: [{name: viewer, allow: [\"status:read\"]}]\ncertificates: [{name: \"*@example.com\", roles: [viewer]}]\n"
	write(t, dir, map[string]string{"server.pem": string(server.Text), "server.key": string(server.KeyText), "ca.pem": string(ca.Text), "roles": roles})
	logged := new(logText)
	in := func(name string) string { return filepath.Join(dir, name) }
	cfg := node.Config{
		AuthRoles: in("roles"), APITLS: node.APITLS{Certificate: in("server.pem"), Key: in("server.key"), ClientCA: in("ca.pem")},
		Log: slog.New(slog.NewTextHandler(logged, nil)),
	}
	a, ok, findings := node.NewAccess(&cfg)
	if !ok || findings.HasErrors() {
		t.Fatalf("findings %v", findings)
	}
	want := func(what string, accepted, may bool, roles, certificates string) {
		t.Helper()
		p, gotAccepted := a.Certificate([]*x509.Certificate{alice.Certificate})
		if gotAccepted != accepted || accepted && p.May("status", "read", nil) != may {
			t.Errorf("%s: %v, %+v", what, gotAccepted, p)
		}
		d := a.Document()
		if !strings.Contains(d.Roles.Refused, roles) || (roles == "") != (d.Roles.Refused == "") {
			t.Errorf("%s: roles refused %q", what, d.Roles.Refused)
		}
		if !strings.Contains(d.TLS.Refused, certificates) || (certificates == "") != (d.TLS.Refused == "") || d.TLS.Ends.IsZero() || d.TLS.CAEnds.IsZero() || d.Open {
			t.Errorf("%s: %+v", what, d.TLS)
		}
	}
	want("first", true, true, "", "")
	write(t, dir, map[string]string{"roles": "rolls: []\n"})
	want("bad roles", true, true, `unknown key "rolls"`, "")
	write(t, dir, map[string]string{"roles": "# nobody\n"})
	want("no roles", true, false, "", "")
	write(t, dir, map[string]string{"roles": roles})
	want("roles again", true, true, "", "")
	write(t, dir, map[string]string{"server.pem": string(renewed.Text)})
	want("half of a pair", true, true, "", "private key does not match")
	write(t, dir, map[string]string{"server.key": string(renewed.KeyText)})
	want("the other half", true, true, "", "")
	write(t, dir, map[string]string{"ca.pem": ""})
	want("no CA", true, true, "", "there is no certificate in PEM form")
	write(t, dir, map[string]string{"ca.pem": string(other.Text)})
	want("another CA", false, false, "", "")
	if n := logged.count("is refused"); n != 3 {
		t.Errorf("%d refusals are logged:\n%s", n, logged)
	}
	if n := logged.count("certificates changed"); n != 2 {
		t.Errorf("%d changes of certificates are logged:\n%s", n, logged)
	}
}

// TestAccessWarnings covers rights that have no effect.
func TestAccessWarnings(t *testing.T) {
	cfg := config(t, map[string]string{"example.com.zone": "@ 60 IN SOA a a 1 60 60 60 60\n@ 60 IN NS a.example.net.\n"})
	dir := t.TempDir()
	_, line := makeToken(1, "one")
	write(t, dir, map[string]string{"tokens": strings.TrimSpace(line) + " role=oncall\n", "roles": ""})
	cfg.AuthTokens, cfg.AuthRoles = filepath.Join(dir, "tokens"), filepath.Join(dir, "roles")
	cfg.OIDC = node.OIDC{Issuer: "https://login.example.com", Audience: "geodns"}
	findings := node.Check(cfg).Findings
	var all strings.Builder
	for _, f := range findings {
		all.WriteString(f.String() + "\n")
	}
	for _, want := range []string{`token "one" has the role "oncall", which is in no file of roles`, "tokens of https://login.example.com are accepted, and no file of roles gives any claim a role"} {
		if findings.HasErrors() || !strings.Contains(all.String(), want) {
			t.Errorf("no %q in\n%s", want, all.String())
		}
	}
	if err := os.Chmod(cfg.AuthRoles, 0o666); err != nil { // beyond any umask
		t.Fatal(err)
	}
	if findings := node.Check(cfg).Findings; !strings.Contains(findings[len(findings)-1].String()+findings[0].String()+findings[1].String(), "anybody on this machine can give rights here") {
		t.Errorf("findings %v", findings)
	}
}

// TestAccessOIDC serves the API to who has a token of a real issuer.
func TestAccessOIDC(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var issuer *httptest.Server
	issuer = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k"}}})
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": issuer.URL, "jwks_uri": issuer.URL + "/keys"})
	}))
	defer issuer.Close()
	cfg := config(t, map[string]string{"example.com.zone": "@ 60 IN SOA a a 1 60 60 60 60\n@ 60 IN NS a.example.net.\n"})
	dir := t.TempDir()
	write(t, dir, map[string]string{"roles": "roles: [{name: viewer, allow: [\"status:read\"]}]\nclaims: [{claim: groups, value: dns, roles: [viewer]}]\n"})
	cfg.AuthRoles, cfg.OIDC = filepath.Join(dir, "roles"), node.OIDC{Issuer: issuer.URL, Audience: "geodns"}
	n, stop := run(t, cfg)
	defer stop()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		group, audience string
		want            int
	}{{"dns", "geodns", 200}, {"web", "geodns", 403}, {"dns", "other", 401}} {
		now := time.Now().Unix()
		payload, err := json.Marshal(map[string]any{
			"iss": issuer.URL, "aud": tt.audience, "sub": "42", "iat": now, "exp": now + 600, "groups": []string{tt.group},
		})
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		text, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.APIAddr().String()+"/v1/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+text)
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != tt.want {
			t.Errorf("%+v: status %d", tt, response.StatusCode)
		}
	}
}
