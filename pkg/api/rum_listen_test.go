package api_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"geodns/pkg/api"
	"geodns/pkg/geo"
	"geodns/pkg/rum"
)

// send sends one request to what takes beacons, from 192.0.2.1.
func send(t testing.TB, b *api.Beacons, method, path, body string, headers ...string) *http.Response {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), method, "https://rum.example.com"+path, strings.NewReader(body))
	request.RemoteAddr = "192.0.2.1:1234"
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "from" {
			request.RemoteAddr = headers[i+1]
			continue
		}
		request.Header.Add(headers[i], headers[i+1])
	}
	recorder := httptest.NewRecorder()
	b.ServeHTTP(recorder, request)
	return recorder.Result()
}

func TestBeacons(t *testing.T) {
	const good = `{"v": 1, "samples": [{"region": "fra", "ms": 41.5}, {"region": "iad", "error": "timeout"}]}`
	many := `{"v":1,"samples":[` + strings.Repeat(`{},`, api.BeaconSamplesMax) + `{}]}`
	for _, tt := range []struct {
		name, kind, body string
		headers          []string
		status           int
		want, result     string
	}{
		{"json", "application/json", good, nil, 202, `{"accepted":2,"refused":{}}`, api.BeaconTaken},
		{"sendBeacon", "text/plain;charset=UTF-8", good, nil, 202, `{"accepted":2,"refused":{}}`, api.BeaconTaken},
		{"another spelling", "Text/Plain; charset=\"utf-8\"", good, nil, 202, `{"accepted":2`, api.BeaconTaken},
		{"packed", "application/json", packed(t, good), []string{"Content-Encoding", "gzip"}, 202, `{"accepted":2`, api.BeaconTaken},
		{"refused", "text/plain", `{"v":1,"samples":[{"region":"xxx","ms":1},{"ms":1},3],"more":{"x":[1]}}`, nil, 202, `{"accepted":0,"refused":{"malformed":2,"region":1}}`, api.BeaconTaken},
		{"empty", "text/plain", `{"v":1,"samples":[]}`, nil, 202, `{"accepted":0,"refused":{}}`, api.BeaconTaken},
		{"as many as may be", "text/plain", strings.Replace(many, "{},", "", 1), nil, 202, `{"accepted":0,"refused":{"malformed":32}}`, api.BeaconTaken},
		{"too many", "text/plain", many, nil, 400, "a beacon has at most 32 samples", api.BeaconMalformed},
		{"a form", "application/x-www-form-urlencoded", good, nil, 415, "application/json or text/plain", api.BeaconType},
		{"no kind", "", good, nil, 415, "application/json or text/plain", api.BeaconType},
		{"another encoding", "text/plain", good, []string{"Content-Encoding", "br"}, 415, "packed by gzip", api.BeaconType},
		{"packed, in capitals", "application/json", packed(t, good), []string{"Content-Encoding", "GZip"}, 202, `{"accepted":2`, api.BeaconTaken},
		{"not packed", "text/plain", good, []string{"Content-Encoding", "gzip"}, 400, "not packed as it says", api.BeaconMalformed},
		{"cut", "text/plain", packed(t, good)[:60], []string{"Content-Encoding", "gzip"}, 400, "ends too soon", api.BeaconMalformed},
		{"bomb", "text/plain", packed(t, strings.Repeat(" ", 1<<20)), []string{"Content-Encoding", "gzip"}, 413, "at most 65536 bytes, unpacked too", api.BeaconLarge},
		{"large", "text/plain", strings.Repeat(" ", 1<<17), nil, 413, "at most 65536 bytes", api.BeaconLarge},
		{"no json", "text/plain", good + "x", nil, 400, "no JSON", api.BeaconMalformed},
		{"another version", "text/plain", `{"v":2,"samples":[]}`, nil, 400, `\"v\": 1`, api.BeaconMalformed},
		{"no samples", "text/plain", `{"v":1}`, nil, 400, `\"samples\", a list`, api.BeaconMalformed},
		{"an origin", "text/plain", good, []string{"Origin", "https://www.example.com"}, 202, `{"accepted":2`, api.BeaconTaken},
		{"another origin", "text/plain", good, []string{"Origin", "https://evil.example"}, 403, "may not send beacons", api.BeaconOrigin},
		{"no origin's", "text/plain", good, []string{"Origin", "null"}, 403, "may not send beacons", api.BeaconOrigin},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := beacons(t, nil)
			response := send(t, b, "POST", "/v1/rum", tt.body, append([]string{"Content-Type", tt.kind, "Cookie", "a=b"}, tt.headers...)...)
			if got := text(t, response); response.StatusCode != tt.status || !strings.Contains(got, tt.want) {
				t.Errorf("status %d: %s, want %d: %s", response.StatusCode, got, tt.status, tt.want)
			}
			for result, n := range b.Results() {
				if (n == 1) != (result == tt.result) {
					t.Errorf("%s: %d", result, n)
				}
			}
			if h := response.Header; h.Get("Cache-Control") != "no-store" || h.Get("Vary") != "Origin" || h.Get("Set-Cookie") != "" {
				t.Errorf("headers %v", h)
			}
		})
	}
}

func TestCORS(t *testing.T) {
	for _, tt := range []struct {
		method, path, origin string
		status               int
	}{
		{"OPTIONS", "/v1/rum", "https://www.example.com", 204},
		{"OPTIONS", "/v1/rum/plan", "http://localhost:8080", 204},
		{"GET", "/v1/rum/plan", "https://www.example.com", 200},
		{"OPTIONS", "/v1/rum", "https://evil.example", 403},
		{"GET", "/v1/rum/plan", "https://www.example.com.evil.example", 403},
		{"GET", "/v1/rum/plan", "http://www.example.com", 403},
		{"GET", "/v1/status", "https://www.example.com", 404},
		{"PUT", "/v1/rum", "https://www.example.com", 404},
	} {
		h := send(t, beacons(t, nil), tt.method, tt.path, "", "Origin", tt.origin, "Access-Control-Request-Method", "POST")
		if h.StatusCode != tt.status {
			t.Errorf("%s %s of %s: status %d", tt.method, tt.path, tt.origin, h.StatusCode)
		}
		if allowed := h.Header.Get("Access-Control-Allow-Origin"); (allowed == tt.origin) != (tt.status != 403) {
			t.Errorf("%s %s of %s: allowed %q", tt.method, tt.path, tt.origin, allowed)
		}
		if tt.status == 204 && (h.Header.Get("Access-Control-Max-Age") != "7200" || !strings.Contains(h.Header.Get("Access-Control-Allow-Headers"), "Content-Type")) {
			t.Errorf("%s %s of %s: headers %v", tt.method, tt.path, tt.origin, h.Header)
		}
	}
}

// TestBeaconClient: the client is who is connected, whatever a header says, unless our own proxy says it.
func TestBeaconClient(t *testing.T) {
	const one = `{"v":1,"samples":[{"region":"fra","ms":1,"client":"198.51.100.1"}]}`
	for _, tt := range []struct {
		from string
		by   []string
		want string
	}{
		{"192.0.2.1:80", nil, "192.0.2.1"},
		{"192.0.2.1:80", []string{"198.51.100.9"}, "192.0.2.1"},
		{"[::ffff:192.0.2.1]:80", nil, "192.0.2.1"},
		{"[fe80::1%eth0]:80", nil, "fe80::1"},
		{"10.0.0.1:80", []string{"198.51.100.9"}, "198.51.100.9"},
		{"10.0.0.1:80", []string{"203.0.113.5, 198.51.100.9"}, "198.51.100.9"},
		{"10.0.0.1:80", []string{"203.0.113.5, 198.51.100.9, 10.0.0.7"}, "198.51.100.9"},
		{"10.0.0.1:80", []string{"203.0.113.5", "198.51.100.9"}, "198.51.100.9"},
		{"10.0.0.1:80", []string{"[2001:db8::9]:443"}, "2001:db8::9"},
		{"10.0.0.1:80", []string{"198.51.100.9:99"}, "198.51.100.9"},
		{"10.0.0.1:80", nil, "invalid IP"},
		{"10.0.0.1:80", []string{"198.51.100.9, unknown"}, "invalid IP"},
		{"10.0.0.1:80", []string{"10.0.0.2"}, "invalid IP"},
		{"10.0.0.1:80", []string{"198.51.100.9" + strings.Repeat(", 10.0.0.2", 20)}, "invalid IP"},
		{"@", nil, "invalid IP"},
	} {
		var got []rum.Sample
		headers := []string{"Content-Type", "text/plain", "from", tt.from}
		for _, by := range tt.by {
			headers = append(headers, "X-Forwarded-For", by)
		}
		send(t, beacons(t, &got), "POST", "/v1/rum", one, headers...)
		if len(got) != 1 || got[0].Client.String() != tt.want {
			t.Errorf("%s, by %q: %v, want %s", tt.from, tt.by, got, tt.want)
		}
	}
}

func TestPlan(t *testing.T) {
	b := beacons(t, nil)
	const two = `{"v":1,"probes":[{"region":"fra","url":"https://fra.example.com/"},{"region":"ams","url":"https://ams.example.com/"}`
	seen := map[string]int{}
	for range 400 {
		response := send(t, b, "GET", "/v1/rum/plan", "")
		if h := response.Header; h.Get("Cache-Control") != "private, max-age=300" || h.Get("Content-Type") != "application/json" {
			t.Fatalf("headers %v", h)
		}
		seen[strings.TrimSpace(text(t, response))]++
	}
	all := two + `,{"region":"iad","url":"https://iad.example.com/"}],"sample":0.1}`
	if n := seen[all]; len(seen) != 2 || n < 50 || n > 150 || seen[two+`],"sample":0.1}`] != 400-n {
		t.Errorf("plans %v", seen)
	}
	if b.Plans() != 400 {
		t.Errorf("%d plans", b.Plans())
	}
}

// TestPlanSample: the part of page views is the config's, and one that is none is refused.
func TestPlanSample(t *testing.T) {
	for sample, want := range map[float64]string{0: `"sample":0.1}`, 0.25: `"sample":0.25}`, 1: `"sample":1}`, -1: "", 1.01: "", math.NaN(): ""} {
		b, err := api.NewBeacons(api.BeaconConfig{
			Sample: sample, Add: count, Probes: func(netip.Addr) []api.Probed { return nil }, Log: config().Log,
		})
		if (err == nil) != (want != "") {
			t.Errorf("%g: %v", sample, err)
		}
		if err != nil {
			continue
		}
		if got := text(t, send(t, b, "GET", "/v1/rum/plan", "")); !strings.Contains(got, want) {
			t.Errorf("%g: %s", sample, got)
		}
	}
}

// TestChoosePlan: the best, the second best and the nearest are in each plan, one of the others in a quarter of them, each as often.
func TestChoosePlan(t *testing.T) {
	const plans = 12_000 // each of 1 to 6 others stands in as many of a quarter of them
	for _, tt := range []struct{ regions, nearest, always, others string }{
		{"", "", "", ""},
		{"a", "a", "a", ""},
		{"a b", "b", "a b", ""},
		{"a b c", "c", "a b c", ""},
		{"a b c", "a", "a b", "c"},
		{"a b c", "", "a b", "c"},
		{"a b c d e", "a", "a b", "c d e"},
		{"a b c d e", "b", "a b", "c d e"},
		{"a b c d e", "d", "a b d", "c e"},
		{"a b c d e", "e", "a b e", "c d"},
		{"a b c d e", "", "a b", "c d e"},
	} {
		var all []api.Probed
		for name := range strings.FieldsSeq(tt.regions) {
			all = append(all, api.Probed{Region: name, Nearest: name == tt.nearest})
		}
		seen := map[string]int{}
		for random := range uint64(plans) {
			var plan []string
			for _, p := range api.ChoosePlan(all, random) {
				plan = append(plan, p.Region)
			}
			seen[strings.Join(plan, " ")]++
		}
		others := strings.Fields(tt.others)
		want := map[string]int{tt.always: plans}
		for _, other := range others {
			want[tt.always+" "+other] = plans / 4 / len(others)
			want[tt.always] -= plans / 4 / len(others)
		}
		if !maps.Equal(seen, want) {
			t.Errorf("%s, nearest %q: plans %v, want %v", tt.regions, tt.nearest, seen, want)
		}
	}
}

func TestCheckOrigin(t *testing.T) {
	for text, good := range map[string]bool{
		"*": true, "https://www.example.com": true, "http://localhost:8080": true,
		"https://www.example.com/": false, "www.example.com": false, "https://WWW.example.com": false, "https://*.example.com/x": false,
		"": false, "null": false, "ftp://example.com": false, "https://u@example.com": false, "https://example.com?x": false,
	} {
		if err := api.CheckOrigin(text); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, tt := range []struct {
		at         string
		tls, plain bool
		good       bool
	}{{"127.0.0.1:80", false, false, true}, {"0.0.0.0:80", false, false, false}, {"0.0.0.0:443", true, false, true}, {"[::]:80", false, true, true}} {
		if err := api.CheckBeaconListen(netip.MustParseAddrPort(tt.at), tt.tls, tt.plain); (err == nil) != tt.good {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

// TestBeaconsRun serves on a real socket and ends with its context.
func TestBeaconsRun(t *testing.T) {
	s, err := beacons(t, nil).Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(t.Context(), "POST", fmt.Sprintf("http://%s/v1/rum", s.Addr()), strings.NewReader(`{"v":1,"samples":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "text/plain")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, response); response.StatusCode != 202 {
		t.Errorf("status %d: %s", response.StatusCode, got)
	}
	response.Body.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := api.NewBeacons(api.BeaconConfig{}); err == nil {
		t.Error("a config without its funcs is taken")
	}
}

// TestBeaconListenBoth: users of both families come to [::].
func TestBeaconListenBoth(t *testing.T) {
	b, err := api.NewBeacons(api.BeaconConfig{
		Listen: netip.MustParseAddrPort("[::]:0"), Add: count, Probes: func(netip.Addr) []api.Probed { return nil }, Log: config().Log,
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := b.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", fmt.Sprintf("%s:%d", host, s.Addr().Port()))
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		conn.Close()
	}
}

// TestBeaconBroken: what breaks is logged, without the address of who sent it, and ends its request alone.
func TestBeaconBroken(t *testing.T) {
	logged := new(strings.Builder)
	b, err := api.NewBeacons(api.BeaconConfig{
		Add: func([]rum.Sample) rum.Counts { panic("no collector") }, Probes: func(netip.Addr) []api.Probed { return nil },
		Log: slog.New(slog.NewTextHandler(logged, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if v := recover(); v != http.ErrAbortHandler { //nolint:errorlint // it is panicked with as it is
			t.Errorf("panic %v", v)
		}
		if text := logged.String(); !strings.Contains(text, "no collector") || strings.Contains(text, "192.0.2.1") ||
			!strings.Contains(text, "ServeHTTP") || strings.Contains(text, "0xc000") {
			t.Errorf("logged %s", text)
		}
	}()
	send(t, b, "POST", "/v1/rum", `{"v":1,"samples":[]}`, "Content-Type", "text/plain")
}

// FuzzListen: whatever is asked for, with whatever headers, is answered and breaks nothing.
func FuzzListen(f *testing.F) {
	f.Add("POST", "/v1/rum", "text/plain", "", "https://www.example.com", "192.0.2.1, 198.51.100.7:80", "10.0.0.1:99", `{"v":1,"samples":[{"region":"fra","ms":41.5}]}`)
	f.Add("GET", "/v1/rum/plan", "", "gzip", "null", "[2001:db8::1%eth0]:1,,", "[::1]:99", "")
	f.Add("POST", "/v1/rum", "application/json;a=\"", "gzip", "", ",", "x", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03")
	f.Fuzz(func(t *testing.T, method, path, kind, encoding, origin, forwarded, from, body string) {
		b := beacons(t, nil)
		r := &http.Request{
			Method: method, URL: &url.URL{Path: path}, RemoteAddr: from, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1,
			Header: http.Header{"Content-Type": {kind}, "Content-Encoding": {encoding}, "Origin": {origin}, "X-Forwarded-For": {forwarded, forwarded}},
		}
		recorder := httptest.NewRecorder()
		b.ServeHTTP(recorder, r.WithContext(t.Context()))
		if recorder.Code >= http.StatusInternalServerError || recorder.Body.Len() == 0 && method != http.MethodOptions {
			t.Errorf("status %d: %q", recorder.Code, recorder.Body)
		}
	})
}

// BenchmarkBeacon takes usual beacons through the handler, of 50,000 clients by turns: 20,000 a second are 50 µs each. The collector's own
// share is the difference between the two.
func BenchmarkBeacon(b *testing.B) {
	collector, err := rum.New(rum.Config{
		Place: func(netip.Addr) geo.Place { return geo.Place{Continent: "EU", Country: "NL", ASN: 3333} },
		Regions: func() map[string]rum.Location {
			return map[string]rum.Location{"fra": {}, "ams": {}, "iad": {}}
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	for name, add := range map[string]func([]rum.Sample) rum.Counts{"handler": count, "collector": collector.Add} {
		b.Run(name, func(b *testing.B) { benchBeacons(b, add) })
	}
}

// benchBeacons takes beacons and has them counted.
func benchBeacons(b *testing.B, add func([]rum.Sample) rum.Counts) {
	taker, err := api.NewBeacons(api.BeaconConfig{
		Origins: []string{"https://www.example.com"}, Add: add, Probes: func(netip.Addr) []api.Probed { return nil }, Log: config().Log,
	})
	if err != nil {
		b.Fatal(err)
	}
	const body = `{"v":1,"samples":[{"region":"fra","ms":41.5},{"region":"ams","ms":48.25},{"region":"iad","error":"timeout"}]}`
	var clients []string
	for i := range 50_000 {
		clients = append(clients, fmt.Sprintf("81.%d.%d.%d:1234", i>>16, i>>8&255, i&255))
	}
	w := &quiet{header: http.Header{}}
	reader := strings.NewReader(body)
	request := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "https://rum.example.com/v1/rum", nil)
	request.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	request.Header.Set("Origin", "https://www.example.com")
	request.ContentLength = int64(len(body))
	request.Body = nopCloser{reader}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		reader.Reset(body)
		clear(w.header)
		request.RemoteAddr = clients[i*7919%len(clients)]
		taker.ServeHTTP(w, request)
	}
	if w.status != http.StatusAccepted {
		b.Fatalf("status %d", w.status)
	}
}

// quiet is an answer that nobody reads.
type quiet struct {
	header http.Header
	status int
}

func (q *quiet) Header() http.Header            { return q.header }
func (q *quiet) WriteHeader(status int)         { q.status = status }
func (q *quiet) Write(text []byte) (int, error) { return len(text), nil }

// nopCloser is a body.
type nopCloser struct{ *strings.Reader }

func (nopCloser) Close() error { return nil }
