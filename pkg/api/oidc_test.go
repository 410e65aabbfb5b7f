package api_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"geodns/pkg/api"
)

// issuer is an OIDC issuer on loopback.
type issuer struct {
	*httptest.Server

	mu      sync.Mutex // guards the following
	keys    []jose.JSONWebKey
	down    bool
	fetches int
	replace map[string]string // what a path answers instead
}

// startIssuer serves one with these keys.
func startIssuer(t *testing.T, start func(http.Handler) *httptest.Server, keys ...jose.JSONWebKey) *issuer {
	t.Helper()
	i := &issuer{keys: keys, replace: map[string]string{}}
	mux := http.NewServeMux()
	answer := func(path string, document func() any) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			i.mu.Lock()
			defer i.mu.Unlock()
			i.fetches++
			if i.down {
				http.Error(w, "out of order", http.StatusBadGateway)
				return
			}
			if text, ok := i.replace[path]; ok {
				_, _ = w.Write([]byte(text))
				return
			}
			_ = json.NewEncoder(w).Encode(document())
		})
	}
	answer("/.well-known/openid-configuration", func() any { return map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys"} })
	answer("/keys", func() any { return jose.JSONWebKeySet{Keys: i.keys} })
	i.Server = start(mux)
	t.Cleanup(i.Close)
	return i
}

// set changes the issuer while it runs.
func (i *issuer) set(change func(*issuer)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change(i)
}

// asked counts the requests that the issuer got.
func (i *issuer) asked() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

// claims are those of a token that is right, with some changed; nil takes one out.
func (i *issuer) claims(change map[string]any) map[string]any {
	now := time.Now().Unix()
	all := map[string]any{
		"iss": i.URL, "aud": "geodns", "sub": "42", "iat": now, "exp": now + 3600, "email": "a@example.com", "groups": []string{"dns-oncall"},
	}
	maps.Copy(all, change)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return all
}

// sign makes a token.
func sign(t *testing.T, key any, alg jose.SignatureAlgorithm, id string, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: id}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return compact(t, signer, claims)
}

// compact signs claims, in the form in which a token is sent (RFC 7515 section 7.1).
func compact(t *testing.T, signer jose.Signer, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
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
	return text
}

// assemble makes a token by hand, as no library would.
func assemble(t *testing.T, header, claims map[string]any, mac func([]byte) []byte) string {
	t.Helper()
	part := func(document any) string {
		text, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	text := part(header) + "." + part(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(mac([]byte(text)))
}

// signingKeys are made once: an RSA key takes a while.
var signingKeys = sync.OnceValues(func() (*rsa.PrivateKey, *ecdsa.PrivateKey) {
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	e, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err = errors.Join(err, err2); err != nil {
		panic(err)
	}
	return r, e
})

// public is a key as an issuer shows it.
func public(key crypto.Signer, id string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: key.Public(), KeyID: id, Use: "sig"}
}

// believe runs what judges the issuer's tokens.
func believe(t *testing.T, cfg api.OIDCConfig) *api.OIDC {
	t.Helper()
	cfg.Log = slog.New(slog.DiscardHandler)
	o, err := api.NewOIDC(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return o
}

// TestOIDCTokens holds each thing that a token can have wrong against a real issuer.
func TestOIDCTokens(t *testing.T) {
	rsaKey, ecKey := signingKeys()
	i := startIssuer(t, httptest.NewServer, public(rsaKey, "r"), public(ecKey, "e"), jose.JSONWebKey{Key: []byte("a secret of somebody who should not"), KeyID: "s"})
	o := believe(t, api.OIDCConfig{Issuer: i.URL, Audience: "geodns"})
	now := time.Now().Unix()
	es := func(change map[string]any) string { return sign(t, ecKey, jose.ES256, "e", i.claims(change)) }
	der, err := x509.MarshalPKIXPublicKey(rsaKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	mac := func(key []byte) func([]byte) []byte {
		return func(text []byte) []byte {
			h := hmac.New(sha256.New, key)
			h.Write(text)
			return h.Sum(nil)
		}
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := es(nil)
	for _, tt := range []struct{ name, text, err string }{
		{"RS256", sign(t, rsaKey, jose.RS256, "r", i.claims(nil)), ""},
		{"PS256", sign(t, rsaKey, jose.PS256, "r", i.claims(nil)), ""},
		{"ES256", good, ""},
		{"no key id", sign(t, ecKey, jose.ES256, "", i.claims(nil)), ""},
		{"some audiences", es(map[string]any{"aud": []string{"other", "geodns"}}), ""},
		{"two hours", es(map[string]any{"exp": now + 7200, "iat": now}), ""},
		{"just over, by our clock", es(map[string]any{"exp": now - 10}), ""},
		{"just issued, by its clock", es(map[string]any{"iat": now + 10, "nbf": now + 10}), ""},
		{"audience", es(map[string]any{"aud": "other"}), `expected audience "geodns"`},
		{"no audience", es(map[string]any{"aud": nil}), `expected audience "geodns"`},
		{"issuer", es(map[string]any{"iss": "https://other.example.com"}), `issued by a different provider`},
		{"issuer with a slash", es(map[string]any{"iss": i.URL + "/"}), `issued by a different provider`},
		{"expired", es(map[string]any{"iat": now - 3600, "exp": now - 60}), `the token expired at`},
		{"no end", es(map[string]any{"exp": nil}), `does not say when it expires`},
		{"no beginning", es(map[string]any{"iat": nil}), `does not say when it was issued`},
		{"not yet", es(map[string]any{"nbf": now + 60}), `is not valid before`},
		{"issued later", es(map[string]any{"iat": now + 60}), `is yet to come`},
		{"long", es(map[string]any{"exp": now + 7201, "iat": now}), `valid for 2h0m1s; at most 2h0m0s`},
		{"for ever", es(map[string]any{"exp": 1e300}), ``},
		{"no time", es(map[string]any{"nbf": "now"}), ``},
		{"no name", es(map[string]any{"sub": nil}), `claim "sub" is no name`},
		{"name for a terminal", es(map[string]any{"sub": "a\x1b[2J"}), `claim "sub" is no name`},
		{"name too long", es(map[string]any{"sub": strings.Repeat("a", 256)}), `claim "sub" is no name`},
		{"none", assemble(t, map[string]any{"alg": "none"}, i.claims(nil), func([]byte) []byte { return nil }), `unexpected signature algorithm "none"`},
		{"HS256 by the public key", assemble(t, map[string]any{"alg": "HS256", "kid": "r"}, i.claims(nil), mac(der)), `unexpected signature algorithm "HS256"`},
		{"HS256 by a key of the set", assemble(t, map[string]any{"alg": "HS256", "kid": "s"}, i.claims(nil), mac([]byte("a secret of somebody who should not"))), `unexpected signature algorithm "HS256"`},
		{"another's key", sign(t, other, jose.ES256, "e", i.claims(nil)), `no key of the issuer made this signature`},
		{"another's key without id", sign(t, other, jose.ES256, "", i.claims(nil)), `no key of the issuer made this signature`},
		{"key in the header", assembleSelfSigned(t, other, i.claims(nil)), `no key of the issuer made this signature`},
		{"a bit off", good[:len(good)-4] + flip(good[len(good)-4:]), ``},
		{"claims of another", good[:strings.Index(good, ".")] + es(map[string]any{"sub": "43"})[strings.Index(good, "."):strings.LastIndex(good, ".")] + good[strings.LastIndex(good, "."):], `no key of the issuer`},
		{"JSON form", `{"payload":"e30","protected":"e30","signature":"e30"}`, ``},
		{"too long", es(map[string]any{"pad": strings.Repeat("a", api.OIDCTokenMax)}), `at most 8192 are read`},
		{"dots", "..", ``},
	} {
		t.Run(tt.name, func(t *testing.T) {
			claims, err := o.Claims(t.Context(), tt.text)
			wantErr := tt.err != "" || !strings.Contains("RS256 PS256 ES256 no key id some audiences two hours just over, by our clock just issued, by its clock", tt.name)
			switch {
			case !wantErr && (err != nil || claims.Name != "42"):
				t.Errorf("%v, %v", claims, err)
			case wantErr && (err == nil || errors.Is(err, api.ErrUnavailable) || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("%v, %v, want %s", claims, err, tt.err)
			}
		})
	}
	if n := i.asked(); n != 2 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

// flip changes a text of base64.
func flip(text string) string {
	if text[0] == 'A' {
		return "B" + text[1:]
	}
	return "A" + text[1:]
}

// assembleSelfSigned makes a token that brings the key along which made it.
func assembleSelfSigned(t *testing.T, key *ecdsa.PrivateKey, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, &jose.SignerOptions{EmbedJWK: true})
	if err != nil {
		t.Fatal(err)
	}
	return compact(t, signer, claims)
}

// TestOIDCName covers which claim names the owner, and that an address that nobody verified is none.
func TestOIDCName(t *testing.T) {
	_, ecKey := signingKeys()
	i := startIssuer(t, httptest.NewServer, public(ecKey, "e"))
	o := believe(t, api.OIDCConfig{Issuer: i.URL, Audience: "geodns", Name: "email"})
	for verified, want := range map[any]bool{nil: true, true: true, "true": true, false: false, "false": false, 1: false} {
		claims, err := o.Claims(t.Context(), sign(t, ecKey, jose.ES256, "e", i.claims(map[string]any{"email_verified": verified})))
		if ok := err == nil && claims.Name == "a@example.com"; ok != want {
			t.Errorf("verified %v: %v, %v", verified, claims, err)
		}
	}
}

// TestOIDCRotation covers keys that come and go, an issuer that is down, and that bad tokens do not make it be asked more often.
func TestOIDCRotation(t *testing.T) {
	rsaKey, ecKey := signingKeys()
	i := startIssuer(t, httptest.NewServer, public(rsaKey, "r"))
	i.set(func(i *issuer) { i.down = true })
	o := believe(t, api.OIDCConfig{Issuer: i.URL, Audience: "geodns"})
	byRSA, byEC := sign(t, rsaKey, jose.RS256, "r", i.claims(nil)), sign(t, ecKey, jose.ES256, "e", i.claims(nil))
	if _, err := o.Claims(t.Context(), byRSA); !errors.Is(err, api.ErrUnavailable) {
		t.Fatalf("the issuer is down: %v", err)
	}
	if d := o.Document(); !strings.Contains(d.Error, "502") || d.Keys != 0 || !d.Fetched.IsZero() {
		t.Errorf("document %+v", d)
	}
	i.set(func(i *issuer) { i.down = false })
	o.Refetch(t.Context()) // as Run does after a while
	if _, err := o.Claims(t.Context(), byRSA); err != nil {
		t.Fatalf("the issuer is up: %v", err)
	}
	if d := o.Document(); d.Error != "" || d.Keys != 1 || d.Fetched.IsZero() {
		t.Errorf("document %+v", d)
	}

	// A new key is fetched by the first token that names it, and the key before it is worth nothing any more.
	i.set(func(i *issuer) { i.keys = []jose.JSONWebKey{public(ecKey, "e")} })
	asked := i.asked()
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			if _, err := o.Claims(t.Context(), byEC); err != nil {
				t.Errorf("after the rotation: %v", err)
			}
		})
	}
	wait.Wait()
	if n := i.asked() - asked; n != 2 {
		t.Errorf("the issuer was asked %d times for one new key", n)
	}
	i.set(func(i *issuer) { i.down = true })
	o.Refetch(t.Context())
	if _, err := o.Claims(t.Context(), byEC); err != nil {
		t.Errorf("a known key, while the issuer is down: %v", err)
	}
	asked = i.asked()
	for n := range 100 {
		text := sign(t, ecKey, jose.ES256, fmt.Sprintf("none-%d", n), i.claims(nil))
		if _, err := o.Claims(t.Context(), text); !errors.Is(err, api.ErrUnavailable) {
			t.Fatalf("an unknown key while the issuer is down: %v", err)
		}
	}
	if n := i.asked() - asked; n > 1 {
		t.Errorf("the issuer was asked %d times for bad tokens", n)
	}
	if d := o.Document(); d.Error == "" || d.Keys != 1 {
		t.Errorf("document %+v", d)
	}
}

// TestOIDCIssuer covers what an issuer may not say, and by what it has to be known.
func TestOIDCIssuer(t *testing.T) {
	_, ecKey := signingKeys()
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	const discovery = "/.well-known/openid-configuration"
	for _, tt := range []struct {
		name   string
		change func(*issuer)
		err    string
	}{
		{"another's document", func(i *issuer) {
			i.replace[discovery] = `{"issuer": "https://other.example.com", "jwks_uri": "` + i.URL + `/keys"}`
		}, "did not match"},
		{"keys in the clear", func(i *issuer) {
			i.replace[discovery] = `{"issuer": "` + i.URL + `", "jwks_uri": "http://192.0.2.1/keys"}`
		}, "names no https address of keys"},
		{"no keys", func(i *issuer) { i.replace[discovery] = `{"issuer": "` + i.URL + `"}` }, "names no https address of keys"},
		{"no JSON", func(i *issuer) { i.replace["/keys"] = "<html>" }, "reading the issuer's keys"},
		{"huge", func(i *issuer) { i.replace["/keys"] = `{"keys": [` + strings.Repeat(" ", 1<<20) + `]}` }, "reading the issuer's keys"},
		{"empty", func(i *issuer) { i.keys = nil }, "has no public key"},
		{"weak", func(i *issuer) { i.keys = []jose.JSONWebKey{public(weak, "w")} }, "has no public key"},
		{"for encryption", func(i *issuer) { i.keys = []jose.JSONWebKey{{Key: ecKey.Public(), Use: "enc"}} }, "has no public key"},
		{"private", func(i *issuer) { i.keys = []jose.JSONWebKey{{Key: ecKey, KeyID: "e"}} }, "has no public key"},
		{"many", func(i *issuer) {
			for n := range 33 {
				i.keys = append(i.keys, public(ecKey, fmt.Sprint(n)))
			}
		}, "more than 32 keys"},
		{"one that is odd among others", func(i *issuer) { i.replace["/keys"] = `{"keys": [{"kty": "new"}, ` + jwk(t, ecKey, "e") + `]}` }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := startIssuer(t, httptest.NewServer)
			i.set(tt.change)
			o := believe(t, api.OIDCConfig{Issuer: i.URL, Audience: "geodns"})
			_, err := o.Claims(t.Context(), sign(t, ecKey, jose.ES256, "e", i.claims(nil)))
			if d := o.Document(); !strings.Contains(d.Error, tt.err) || (d.Error == "") != (tt.err == "") || len(d.Error) > 310 {
				t.Errorf("document %+v", d)
			}
			if (err == nil) != (tt.err == "") || tt.err != "" && !errors.Is(err, api.ErrUnavailable) {
				t.Errorf("claims: %v", err)
			}
		})
	}

	secure := startIssuer(t, httptest.NewTLSServer, public(ecKey, "e"))
	text := sign(t, ecKey, jose.ES256, "e", secure.claims(nil))
	if _, err := believe(t, api.OIDCConfig{Issuer: secure.URL, Audience: "geodns"}).Claims(t.Context(), text); !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("an issuer whose certificate nobody knows: %v", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(secure.Certificate())
	if _, err := believe(t, api.OIDCConfig{Issuer: secure.URL, Audience: "geodns", CAs: pool}).Claims(t.Context(), text); err != nil {
		t.Errorf("an issuer whose CA is known: %v", err)
	}
}

// jwk is a public key in JSON.
func jwk(t *testing.T, key crypto.Signer, id string) string {
	t.Helper()
	text, err := json.Marshal(public(key, id))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestNewOIDCRefuses(t *testing.T) {
	for _, tt := range []struct{ issuer, audience, err string }{
		{"https://login.example.com", "geodns", ""},
		{"https://login.example.com/tenant", "geodns", ""},
		{"http://127.0.0.1:8080", "geodns", ""},
		{"http://localhost:8080", "geodns", ""},
		{"http://[::1]:8080", "geodns", ""},
		{"http://login.example.com", "geodns", "https is wanted"},
		{"http://127.0.0.1.example.com", "geodns", "https is wanted"},
		{"ftp://login.example.com", "geodns", "https is wanted"},
		{"login.example.com", "geodns", "is not a URL"},
		{"https://user@login.example.com", "geodns", "is not a URL"},
		{"https://login.example.com?a", "geodns", "is not a URL"},
		{"", "geodns", "is not a URL"},
		{"https://login.example.com", "", "an audience is wanted"},
	} {
		_, err := api.NewOIDC(api.OIDCConfig{Issuer: tt.issuer, Audience: tt.audience})
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v", tt.issuer, err)
		}
	}
}

// FuzzOIDCKeys covers that any set of keys is read or refused.
func FuzzOIDCKeys(f *testing.F) {
	f.Add([]byte(`{"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, {"kty": "oct", "k": "AA"}, 1, null]}`))
	f.Add([]byte(`{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}, {"kty": "OKP", "crv": "Ed25519", "x": ""}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, err := api.ParseKeys(body)
		if (err == nil) != (len(keys) > 0) {
			t.Errorf("%d keys, %v", len(keys), err)
		}
		for i := range keys {
			if !keys[i].IsPublic() {
				t.Errorf("key %d is not public", i)
			}
		}
	})
}
