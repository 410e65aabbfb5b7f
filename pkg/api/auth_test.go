package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"geodns/pkg/api"
)

// credentials are what a client may send.
const (
	sendNone    = "none"
	sendWrong   = "wrong"
	sendExpired = "expired"
	sendGood    = "good"
)

// guarded is a server with tokens, and the text of each kind of token.
func guarded(now func() time.Time) (api.Config, map[string]string) {
	good, keptGood := token(1, "good", time.Time{})
	expired, keptExpired := token(2, "expired", now())
	wrong, _ := token(3, "", time.Time{})
	cfg := config()
	cfg.Access.Token = func(text string) (*api.Principal, bool) {
		t := api.FindToken([]api.Token{keptGood, keptExpired}, text, now())
		if t == nil {
			return nil, false
		}
		return new(api.Roles).Token(t), true
	}
	return cfg, map[string]string{sendNone: "", sendWrong: wrong, sendExpired: expired, sendGood: good}
}

// bearer sends a token.
func bearer(text string) func(*http.Request) {
	return func(r *http.Request) {
		if text != "" {
			r.Header.Set("Authorization", "Bearer "+text)
		}
	}
}

// operations lists what the description of the API has, as method and path, places in the path filled in.
func operations(t *testing.T) []string {
	t.Helper()
	var document struct {
		Paths map[string]map[string]any
	}
	if err := json.Unmarshal([]byte(text(t, ask(t, config(), "GET", "/openapi.json"))), &document); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("{pop}", "fra", "{pool}", "web", "{target}", "eu1", "{check}", "web")
	var all []string
	for path, methods := range document.Paths {
		for method := range methods {
			all = append(all, strings.ToUpper(method)+" "+fill.Replace(path))
		}
	}
	slices.Sort(all)
	return all
}

// TestAuthMatrix holds every operation against every kind of credentials, and every credential against the same words.
func TestAuthMatrix(t *testing.T) {
	all := operations(t)
	if len(all) < 9 {
		t.Fatalf("operations %q", all)
	}
	cfg, tokens := guarded(time.Now)
	open := []string{"GET /metrics", "GET /healthz", "GET /readyz", "GET /openapi.json", "GET /openapi-3.0.yaml", "HEAD /healthz"}
	closed := append(all, "HEAD /v1/status", "GET /v1/none", "PUT /v1/status", "GET /", "GET /v2/status", "POST /healthz")
	for _, operation := range slices.Concat(open, closed) {
		method, path, _ := strings.Cut(operation, " ")
		for _, kind := range []string{sendNone, sendWrong, sendExpired, sendGood} {
			t.Run(operation+" "+kind, func(t *testing.T) {
				if operation == "GET /v1/events" && kind == sendGood {
					t.Skip("it does not end; TestEvents has it")
				}
				response := ask(t, cfg, method, path, bearer(tokens[kind]))
				refused := response.StatusCode == http.StatusUnauthorized
				if want := slices.Contains(closed, operation) && kind != sendGood; refused != want {
					t.Fatalf("status %d", response.StatusCode)
				}
				if !refused {
					return
				}
				if got := response.Header.Get("WWW-Authenticate"); got != `Bearer realm="geodns"` {
					t.Errorf("WWW-Authenticate %q", got)
				}
				if got := response.Header.Get("Content-Type"); got != "application/problem+json" {
					t.Errorf("content type %q", got)
				}
				none := ask(t, cfg, method, path)
				if got, want := text(t, response), text(t, none); got != want {
					t.Errorf("%s gets %s\nnone gets %s", kind, got, want)
				}
			})
		}
	}
}

// TestBearer covers the forms of the header.
func TestBearer(t *testing.T) {
	cfg, tokens := guarded(time.Now)
	good := tokens[sendGood]
	for _, tt := range []struct {
		headers []string
		status  int
	}{
		{[]string{"Bearer " + good}, 200},
		{[]string{"bearer  " + good}, 200},
		{[]string{"Basic " + good}, 401},
		{[]string{good}, 401},
		{[]string{"Bearer"}, 401},
		{[]string{"Bearer " + good + " " + good}, 401},
		{[]string{"Bearer " + good, "Bearer " + good}, 401},
	} {
		response := ask(t, cfg, "GET", "/v1/status", func(r *http.Request) { r.Header["Authorization"] = tt.headers })
		if response.StatusCode != tt.status {
			t.Errorf("%q: status %d, want %d", tt.headers, response.StatusCode, tt.status)
		}
	}
}

// TestGuardBeforeToken covers that a page of another origin learns nothing of tokens.
func TestGuardBeforeToken(t *testing.T) {
	cfg, tokens := guarded(time.Now)
	response := ask(t, cfg, "GET", "/v1/status", bearer(tokens[sendGood]), func(r *http.Request) { r.Host = "evil.example" })
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("status %d", response.StatusCode)
	}
}

// TestLockout covers that an address with wrong tokens is locked out for a minute, good tokens included, and no other.
func TestLockout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, tokens := guarded(time.Now)
		handler, err := api.NewHandler(cfg)
		if err != nil {
			t.Fatal(err)
		}
		status := func(from, kind string) *http.Response {
			request := httptest.NewRequestWithContext(t.Context(), "GET", "http://127.0.0.1:8053/v1/status", nil)
			request.RemoteAddr = from
			bearer(tokens[kind])(request)
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, request)
			return recorder.Result()
		}
		want := func(from, kind string, code int) {
			t.Helper()
			if got := status(from, kind); got.StatusCode != code {
				t.Errorf("%s %s: status %d, want %d", from, kind, got.StatusCode, code)
			}
		}
		const here, there = "127.0.0.1:1", "127.0.0.2:1"
		for range 20 { // no token is no wrong token
			want(here, sendNone, 401)
		}
		for range api.WrongTokensMax - 1 {
			want(here, sendWrong, 401)
		}
		want(here, sendGood, 200)
		time.Sleep(time.Minute) //nolint:forbidigo // the bubble's clock
		for i := range api.WrongTokensMax {
			want(fmt.Sprintf("127.0.0.1:%d", i+1), []string{sendWrong, sendExpired}[i%2], 401)
		}
		locked := status(here, sendGood)
		if locked.StatusCode != http.StatusTooManyRequests || locked.Header.Get("Retry-After") != "60" || locked.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("locked out: %d %v", locked.StatusCode, locked.Header)
		}
		want(here, sendNone, 429)
		want("[::ffff:127.0.0.1]:9", sendGood, 429)
		want(there, sendGood, 200)
		time.Sleep(59 * time.Second) //nolint:forbidigo // the bubble's clock
		want(here, sendGood, 429)
		time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock
		want(here, sendGood, 200)
		want(here, sendWrong, 401)
		want(here, sendGood, 200)
		// A host of IPv6 has a whole /64.
		for i := range api.WrongTokensMax {
			want(fmt.Sprintf("[2001:db8::%d]:1", i+1), sendWrong, 401)
		}
		want("[2001:db8::ffff]:1", sendGood, 429)
		want("[2001:db8:0:1::1]:1", sendGood, 200)
	})
}

// TestLockoutBound covers that what is remembered is bounded, and that who is locked out stays so as long as there is room.
func TestLockoutBound(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	d := api.NewDoor()
	for range api.WrongTokensMax {
		d.Failed("192.0.2.1", now.Add(time.Second))
	}
	for i := range 2 * api.WrongAddrsMax {
		d.Failed(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), now)
	}
	if n := d.Remembered(); n != api.WrongAddrsMax {
		t.Errorf("%d addresses are remembered", n)
	}
	if !d.Locked("192.0.2.1", now.Add(time.Second)) {
		t.Error("forgotten before those that would be forgotten sooner")
	}
	d.Failed("192.0.2.2", now.Add(time.Hour))
	if n := d.Remembered(); n != 1 {
		t.Errorf("%d addresses are remembered after an hour", n)
	}
}
