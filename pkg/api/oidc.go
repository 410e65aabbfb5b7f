package api

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// Limits of tokens that an OIDC issuer signs, and of asking it for its keys.
const (
	// OIDCLifeMax is how long a token may be valid: it cannot be revoked, so that it has to be over soon. Issuers give an hour or less.
	OIDCLifeMax = 2 * time.Hour
	// OIDCTokenMax bounds a token, in bytes; headers have twice that in all.
	OIDCTokenMax = 8 << 10
	// oidcSkew is how far the issuer's clock may be from ours.
	oidcSkew = 30 * time.Second
	// oidcBodyMax bounds each document of the issuer; large ones have some 10 KiB.
	oidcBodyMax = 256 << 10
	// oidcKeysMax bounds the keys: issuers have two to five. A token that names none is held against all.
	oidcKeysMax = 32
	// oidcTimeout bounds a fetch, both documents together.
	oidcTimeout = 5 * time.Second
	// oidcRefresh is how old keys get before they are fetched again by themselves, so that one that is withdrawn is worth nothing
	// within that time.
	oidcRefresh = time.Hour
	// oidcGap is the least time between two fetches, whatever tokens come: they are anybody's.
	oidcGap = 5 * time.Second
	// oidcBackOffMax is the most time between two tries while the issuer does not answer.
	oidcBackOffMax = time.Minute
	// oidcWaitersMax bounds the requests that wait for a fetch because they name a key that is not known. They hold connections.
	oidcWaitersMax = 32
	// oidcNameMax bounds the name of who has a token, in bytes.
	oidcNameMax = 255
	// rsaBitsMin is the least RSA key that is believed (NIST SP 800-131A).
	rsaBitsMin = 2048
	// oidcErrorMax bounds what is shown of an error: an issuer's answer may be in it.
	oidcErrorMax = 300
)

// oidcAlgorithms are those whose keys are public: with any other, whoever may check a token could make one.
func oidcAlgorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	}
}

// OIDCConfig says whose tokens are believed.
type OIDCConfig struct {
	Issuer   string         // its URL, https but on loopback; tokens say exactly this
	Audience string         // what tokens must be for
	Name     string         // the claim that names who has a token; "": sub
	CAs      *x509.CertPool // of the issuer's certificate; nil: the system's
	Log      *slog.Logger
}

// Claims are what a token of the issuer says of who has it.
type Claims struct {
	Name string // by the claim that is configured
	all  map[string]any
}

// has says whether a claim is a text, or a list that holds it.
func (c *Claims) has(claim, value string) bool {
	switch v := c.all[claim].(type) {
	case string:
		return v == value
	case []any:
		return slices.Contains(v, any(value))
	}
	return false
}

// OIDC judges the tokens of an issuer by its keys, which Run fetches and keeps: Claims only waits for it. While the issuer is down the
// keys that are known are used on. Safe for concurrent use.
type OIDC struct {
	cfg    OIDCConfig
	client *http.Client
	wanted chan struct{} // size 1: a token names a key that is not known

	mu sync.Mutex // guards the following

	keys    []jose.JSONWebKey // replaced, never changed
	fetched time.Time         // when they were
	refused string            // why the last fetch did not succeed
	ended   chan struct{}     // closed when the next fetch ends, and replaced
	waiters int
}

// NewOIDC checks the configuration. It asks nobody: Run does.
func NewOIDC(cfg OIDCConfig) (*OIDC, error) {
	issuer, err := url.Parse(cfg.Issuer)
	switch {
	case err != nil || issuer.Host == "" || issuer.RawQuery != "" || issuer.Fragment != "" || issuer.User != nil:
		return nil, fmt.Errorf("issuer %q is not a URL such as https://login.example.com", cfg.Issuer)
	case !secureURL(issuer):
		return nil, fmt.Errorf("issuer %q: https is wanted, as whoever answers in its place could sign any token", cfg.Issuer)
	case cfg.Audience == "":
		return nil, errors.New("an audience is wanted, or a token for any other service would do")
	}
	if cfg.Name == "" {
		cfg.Name = "sub"
	}
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.CAs},
		DisableKeepAlives:      true, // two requests an hour
		MaxResponseHeaderBytes: headerBytesMax,
		ForceAttemptHTTP2:      true,
	}
	return &OIDC{
		cfg: cfg, wanted: make(chan struct{}, 1), ended: make(chan struct{}),
		client: &http.Client{
			Transport: boundedBodies{transport},
			// The documents are where the issuer says, or somebody else could say.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// secureURL says whether nobody on the way can answer in a server's place.
func secureURL(u *url.URL) bool {
	if u.Scheme == "https" {
		return true
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "http" && (strings.EqualFold(u.Hostname(), "localhost") || err == nil && addr.IsLoopback())
}

// boundedBodies cuts answers that are too long, which then are no JSON.
type boundedBodies struct{ next http.RoundTripper }

// RoundTrip asks and bounds the answer.
func (b boundedBodies) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(r)
	if err == nil {
		response.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(response.Body, oidcBodyMax), response.Body}
	}
	return response, err
}

// Run fetches the issuer's keys, and again when they are old or a token names another, until ctx ends.
func (o *OIDC) Run(ctx context.Context) error {
	failures := 0
	for ctx.Err() == nil {
		rest, due := oidcGap, oidcRefresh
		if o.fetch(ctx) {
			failures = 0
		} else {
			rest = backOff(failures)
			due = rest
			failures++
		}
		if !pause(ctx, rest, nil) || !pause(ctx, due-rest, o.wanted) {
			break
		}
	}
	return nil
}

// backOff is how long to rest after a fetch that did not succeed, after some others.
func backOff(failures int) time.Duration {
	return min(oidcGap<<min(failures, 10), oidcBackOffMax)
}

// pause waits, or until something is wanted; false: ctx ended.
func pause(ctx context.Context, d time.Duration, wanted <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-wanted:
	}
	return true
}

// fetch asks for the keys once, and says whether they came.
func (o *OIDC) fetch(ctx context.Context) bool {
	select {
	case <-o.wanted: // this is for whoever wanted it
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, oidcTimeout)
	defer cancel()
	keys, err := o.ask(ctx)
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.refused
	o.refused = ""
	if err != nil {
		o.refused = clipped(err.Error(), oidcErrorMax)
	} else {
		o.keys, o.fetched = keys, time.Now()
	}
	if o.refused != before {
		if err != nil {
			o.cfg.Log.Warn("the keys of the OIDC issuer cannot be fetched; those that are known are used", "issuer", o.cfg.Issuer, "known", len(o.keys), "error", o.refused)
		} else {
			o.cfg.Log.Info("the OIDC issuer answers again", "issuer", o.cfg.Issuer, "keys", len(o.keys))
		}
	}
	close(o.ended)
	o.ended = make(chan struct{})
	return err == nil
}

// clipped makes text of elsewhere fit a line of a log or a document.
func clipped(text string, most int) string {
	text = strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "?")
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}

// ask gets the issuer's own document and the keys that it names.
func (o *OIDC) ask(ctx context.Context) ([]jose.JSONWebKey, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, o.client), o.cfg.Issuer)
	if err != nil {
		return nil, fmt.Errorf("asking the issuer: %w", err)
	}
	var document struct {
		Keys string `json:"jwks_uri"`
	}
	if err = provider.Claims(&document); err != nil {
		return nil, fmt.Errorf("reading the issuer's document: %w", err)
	}
	at, err := url.Parse(document.Keys)
	if err != nil || at.Host == "" || !secureURL(at) {
		return nil, fmt.Errorf("the issuer's document names no https address of keys, but %q", document.Keys)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, document.Keys, nil)
	if err != nil {
		return nil, fmt.Errorf("asking for the issuer's keys: %w", err)
	}
	response, err := o.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking for the issuer's keys: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking for the issuer's keys: status %s", response.Status)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the issuer's keys: %w", err)
	}
	return parseKeys(body)
}

// parseKeys reads a JWK Set (RFC 7517 section 5). What is no public key for signatures is passed over, as the RFC has it.
func parseKeys(body []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("reading the issuer's keys: %w", err)
	}
	var keys []jose.JSONWebKey
	for _, text := range set.Keys {
		var key jose.JSONWebKey
		if err := json.Unmarshal(text, &key); err != nil || !usable(&key) {
			continue
		}
		if len(keys) == oidcKeysMax {
			return nil, fmt.Errorf("the issuer has more than %d keys", oidcKeysMax)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("the issuer has no public key for signatures")
	}
	return keys, nil
}

// usable says whether tokens may be signed with a key.
func usable(key *jose.JSONWebKey) bool {
	if !key.Valid() || !key.IsPublic() || key.Use != "" && key.Use != "sig" {
		return false
	}
	if r, ok := key.Key.(*rsa.PublicKey); ok && r.N.BitLen() < rsaBitsMin {
		return false
	}
	return true
}

// Claims judges a token and gives what it says. The error wraps ErrUnavailable where the keys to judge it by cannot be had.
func (o *OIDC) Claims(ctx context.Context, text string) (*Claims, error) {
	if len(text) > OIDCTokenMax {
		return nil, fmt.Errorf("the token has %d bytes, and at most %d are read", len(text), OIDCTokenMax)
	}
	signed, err := jose.ParseSignedCompact(text, oidcAlgorithms())
	if err != nil {
		return nil, fmt.Errorf("reading the token: %w", err)
	}
	keys, err := o.keysFor(ctx, signed.Signatures[0].Header.KeyID)
	if err != nil {
		return nil, err
	}
	verifier := oidc.NewVerifier(o.cfg.Issuer, keys, &oidc.Config{
		ClientID: o.cfg.Audience, SupportedSigningAlgs: algorithmNames(), SkipExpiryCheck: true, // validAt is more strict
	})
	token, err := verifier.Verify(ctx, text)
	if err != nil {
		if keys.nameless(signed.Signatures[0].Header.KeyID) {
			o.want() // it may be signed by the next key, which cannot be told from the one before it
		}
		return nil, err
	}
	c := &Claims{}
	if err := token.Claims(&c.all); err != nil {
		return nil, fmt.Errorf("reading the token's claims: %w", err)
	}
	if err := validAt(c.all, time.Now()); err != nil {
		return nil, err
	}
	if !emailVerified(c.all) {
		delete(c.all, "email")
	}
	name, ok := c.all[o.cfg.Name].(string)
	if !ok || !printable(name, oidcNameMax) {
		return nil, fmt.Errorf("the token's claim %q is no name of 1 to %d printable characters", o.cfg.Name, oidcNameMax)
	}
	c.Name = name
	return c, nil
}

// algorithmNames are oidcAlgorithms as go-oidc wants them.
func algorithmNames() []string {
	var names []string
	for _, a := range oidcAlgorithms() {
		names = append(names, string(a))
	}
	return names
}

// emailVerified is false where the issuer says that anybody could have written the address there.
func emailVerified(claims map[string]any) bool {
	switch v := claims["email_verified"].(type) {
	case nil:
		return true
	case bool:
		return v
	case string: // some issuers write it so
		return v == "true"
	}
	return false
}

// validAt says whether a token is valid at a time, and not for longer than may be.
func validAt(claims map[string]any, now time.Time) error {
	at := func(claim string) (time.Time, bool) {
		seconds, ok := claims[claim].(float64)
		if !ok || seconds < 0 || seconds > math.MaxInt32*8 { // some 500 years, so that no sum overflows
			return time.Time{}, false
		}
		return time.Unix(int64(seconds), 0), true
	}
	issued, ok := at("iat")
	if !ok {
		return errors.New("the token does not say when it was issued (iat)")
	}
	expires, ok := at("exp")
	if !ok {
		return errors.New("the token does not say when it expires (exp)")
	}
	from, ok := at("nbf")
	if _, given := claims["nbf"]; given && !ok {
		return errors.New("the token's nbf is no time")
	}
	switch {
	case !now.Before(expires.Add(oidcSkew)):
		return fmt.Errorf("the token expired at %s", tokenTime(expires))
	case issued.After(now.Add(oidcSkew)):
		return fmt.Errorf("the token is issued at %s, which is yet to come", tokenTime(issued))
	case from.After(now.Add(oidcSkew)):
		return fmt.Errorf("the token is not valid before %s", tokenTime(from))
	case expires.Sub(issued) > OIDCLifeMax:
		return fmt.Errorf("the token is valid for %s; at most %s are taken", expires.Sub(issued), OIDCLifeMax)
	}
	return nil
}

// keySet is keys to judge a token by.
type keySet []jose.JSONWebKey

// nameless says whether it is not by its id that a key was taken for the one that signed a token.
func (k keySet) nameless(id string) bool {
	return id == "" || slices.ContainsFunc(k, func(key jose.JSONWebKey) bool { return key.KeyID == "" })
}

// VerifySignature gives the payload of a token that one of the keys signed.
func (k keySet) VerifySignature(_ context.Context, text string) ([]byte, error) {
	signed, err := jose.ParseSignedCompact(text, oidcAlgorithms())
	if err != nil {
		return nil, err
	}
	for i := range k {
		if k[i].Algorithm != "" && k[i].Algorithm != signed.Signatures[0].Header.Algorithm {
			continue
		}
		if payload, err := signed.Verify(k[i].Key); err == nil {
			return payload, nil
		}
	}
	return nil, errors.New("no key of the issuer made this signature")
}

// keysFor gives the keys that may have signed a token. One that is not known is waited for, as far as there is hope.
func (o *OIDC) keysFor(ctx context.Context, id string) (keySet, error) {
	keys, ended, err := o.known(id)
	if len(keys) > 0 || err != nil {
		return keys, err
	}
	defer func() {
		o.mu.Lock()
		o.waiters--
		o.mu.Unlock()
	}()
	o.want()
	timer := time.NewTimer(oidcGap + oidcTimeout)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		return nil, fmt.Errorf("%w: the keys take too long", ErrUnavailable)
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if keys = o.match(id); len(keys) > 0 {
		return keys, nil
	}
	if o.refused != "" {
		return nil, fmt.Errorf("%w: %s", ErrUnavailable, o.refused)
	}
	return nil, fmt.Errorf("the issuer has no key %.80q", id)
}

// want has the keys fetched as soon as that may be.
func (o *OIDC) want() {
	select {
	case o.wanted <- struct{}{}:
	default: // somebody wants it already
	}
}

// known gives the keys that may have signed a token, or what to wait for; then the caller is counted among those who do. The error
// is of a fetch that did not succeed: until the next no other comes of waiting.
func (o *OIDC) known(id string) (keySet, <-chan struct{}, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if keys := o.match(id); len(keys) > 0 {
		return keys, nil, nil
	}
	if o.refused != "" {
		return nil, nil, fmt.Errorf("%w: %s", ErrUnavailable, o.refused)
	}
	if o.waiters >= oidcWaitersMax {
		return nil, nil, fmt.Errorf("%w: %d requests wait for the issuer's keys already", ErrUnavailable, o.waiters)
	}
	o.waiters++
	return nil, o.ended, nil
}

// match gives the keys of an id; a token, or a key, without one may be any's. o.mu is held.
func (o *OIDC) match(id string) keySet {
	var out keySet
	for i := range o.keys {
		if id == "" || o.keys[i].KeyID == "" || o.keys[i].KeyID == id {
			out = append(out, o.keys[i])
		}
	}
	return out
}

// Document tells of the issuer and of its keys.
func (o *OIDC) Document() *AuthOIDC {
	o.mu.Lock()
	defer o.mu.Unlock()
	d := &AuthOIDC{Issuer: o.cfg.Issuer, Audience: o.cfg.Audience, Keys: len(o.keys), Error: o.refused}
	if !o.fetched.IsZero() {
		d.Fetched = o.fetched.UTC()
	}
	return d
}
