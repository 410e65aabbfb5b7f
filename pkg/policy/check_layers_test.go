package policy_test

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"geodns/internal/source"
	"geodns/pkg/health"
	"geodns/pkg/policy"
)

// layered loads a pool of two targets, of which the second has keys of its own in the pool's check.
func layered(t *testing.T, profiles, check, own string) (pool, target health.Check) {
	t.Helper()
	doc := load(t, fmt.Sprintf(`
regions: [{name: r}]
profiles: [%s]
checks: [{name: web, %s}]
pools: [{name: web, check: web, targets: [{name: a, region: r, values: [192.0.2.1]}, {name: b, region: r, values: [192.0.2.2], check: {%s}}]}]
policies: [{name: www, all_down: servfail, rules: [{name: all, pool: web}]}]
`, profiles, check, own))
	if p := doc.Pools[0]; p.Check != doc.Checks[0] || p.Targets[0].Check != p.Check || p.Targets[1].Check == p.Check {
		t.Fatal("a target without keys of its own has the pool's check, and one with such keys has another")
	}
	return *doc.Checks[0], *doc.Targets[1].Check
}

// runKeys have one value that a check says and one that another layer says.
func runKeys() []layerCase {
	return []layerCase{
		{"interval: 10s", "interval: 20s", func(c *health.Check) { c.Interval = 20 * time.Second }},
		{"timeout: 3s", "timeout: 4s", func(c *health.Check) { c.Timeout = 4 * time.Second }},
		{"fall: 5", "fall: 6", func(c *health.Check) { c.Fall = 6 }},
		{"rise: 7", "rise: 8", func(c *health.Check) { c.Rise = 8 }},
		{"recheck: 2s", "recheck: 1s", func(c *health.Check) { c.Recheck = time.Second }},
		{"warm_up: 1m", "warm_up: 0", func(c *health.Check) { c.WarmUp = 0 }},
		{"dwell: 30s", "dwell: 0s", func(c *health.Check) { c.Dwell = 0 }},
		{"latency: {slow: 200ms, worst: 800ms, admit_min: 0.2}", "latency: {slow: 300ms}", func(c *health.Check) { c.Latency.Slow = 300 * time.Millisecond }},
		{"", "latency: {worst: 900ms}", func(c *health.Check) { c.Latency.Worst = 900 * time.Millisecond }},
		{"", "latency: {admit_min: 0.3}", func(c *health.Check) { c.Latency.AdmitMin = 0.3 }},
		{"damping: {half_life: 6m, suppress: 3, reuse: 0.5, ceiling: 7}", "damping: {half_life: 8m}", func(c *health.Check) { c.Damping.HalfLife = 8 * time.Minute }},
		{"", "damping: {suppress: 4}", func(c *health.Check) { c.Damping.Suppress = 4 }},
		{"", "damping: {reuse: 0.6}", func(c *health.Check) { c.Damping.Reuse = 0.6 }},
		{"", "damping: {ceiling: 9}", func(c *health.Check) { c.Damping.Ceiling = 9 }},
		{"votes: {need: 2, max_age: 30s}", "votes: {need: 3}", func(c *health.Check) { c.Votes.Need = 3 }},
		{"", "votes: {max_age: 40s}", func(c *health.Check) { c.Votes.MaxAge = 40 * time.Second }},
	}
}

// layerCase is what a check says, what a layer above or below it says, and what that is to change.
type layerCase struct {
	base, own string
	change    func(*health.Check)
}

// join lists what a check of all cases says.
func join(cases []layerCase, pick func(layerCase) string) string {
	var out []string
	for _, c := range cases {
		if s := pick(c); s != "" {
			out = append(out, s)
		}
	}
	return strings.Join(out, ", ")
}

// TestLayersOfRunKeys: of each key that every kind has, the nearest layer counts, and no other key is touched.
func TestLayersOfRunKeys(t *testing.T) {
	cases := runKeys()
	base := join(cases, func(c layerCase) string { return c.base })
	pool, _ := layered(t, "", "tcp: {port: 25}, "+base, "tcp: {port: 25}")
	for _, c := range cases {
		want := pool
		c.change(&want)
		for _, layers := range []struct{ name, profiles, check, own string }{
			{"a target's", "", base, c.own},
			{"a target's profile's", "{name: p, " + c.own + "}", base, "profile: p"},
			{"a target's over its profile's", "{name: p, " + base + "}", "fall: 9", "profile: p, " + c.own},
		} {
			if _, got := layered(t, layers.profiles, "tcp: {port: 25}, "+layers.check, layers.own); !reflect.DeepEqual(got, want) {
				t.Errorf("%s as %s: %+v, want %+v", c.own, layers.name, got, want)
			}
		}
		if got, _ := layered(t, "{name: p, "+base+"}", "tcp: {port: 25}, profile: p, "+c.own, "tcp: {port: 25}"); !reflect.DeepEqual(got, want) {
			t.Errorf("%s as a check's over its profile's: %+v, want %+v", c.own, got, want)
		}
	}
}

// TestTargetsOwnKinds: every key that only some kinds have can be a target's own.
func TestTargetsOwnKinds(t *testing.T) {
	web := "port: 8080, path: /a, host: a.example, method: POST, headers: {X-A: a, x-b: b}, status: [200], body: a, match: a+, http: 1"
	webKeys := []layerCase{
		{"", "port: 80", func(c *health.Check) { c.Port = 80 }},
		{"", "path: /b", func(c *health.Check) { c.Path = "/b" }},
		{"", `host: "b.example:81"`, func(c *health.Check) { c.Host = "b.example:81" }},
		{"", "method: GET", func(c *health.Check) { c.Method = "GET" }},
		{"", "headers: {X-C: c}", func(c *health.Check) { c.Headers = []health.Header{{Name: "X-C", Value: "c"}} }},
		{"", "headers: {}", func(c *health.Check) { c.Headers = []health.Header{} }},
		{"", "status: [204, 301]", func(c *health.Check) { c.Status = []int{204, 301} }},
		{"", "body: b", func(c *health.Check) { c.Body = "b" }},
		{"", "match: b+", func(c *health.Check) { c.Match = "b+" }},
		{"", "http: 2", func(c *health.Check) { c.Version = health.HTTP2 }},
	}
	handshake := "sni: a.example, verify: true, expiry_warning: 1h"
	handshakeKeys := []layerCase{
		{"", "sni: b.example", func(c *health.Check) { c.SNI = "b.example" }},
		{"", "verify: false", func(c *health.Check) { c.Insecure = true }},
		{"", "expiry_warning: 0", func(c *health.Check) { c.ExpiryWarning = -1 }},
		{"", "expiry_warning: 2h", func(c *health.Check) { c.ExpiryWarning = 2 * time.Hour }},
	}
	for _, kind := range []struct {
		name, base string
		keys       []layerCase
	}{
		{"http", web, webKeys},
		{"https", web + ", " + handshake, slices.Concat(webKeys, handshakeKeys)},
		{"tls", "port: 8443, " + handshake, append(handshakeKeys, layerCase{"", "port: 443", func(c *health.Check) { c.Port = 443 }})},
		{"tcp", `port: 25, send: "a\r\n", expect: "220 "`, []layerCase{
			{"", "port: 26", func(c *health.Check) { c.Port = 26 }},
			{"", `send: "EHLO x\r\n"`, func(c *health.Check) { c.Send = "EHLO x\r\n" }},
			{"", `expect: "\r\n"`, func(c *health.Check) { c.Expect = "\r\n" }},
		}},
		{"dns", "port: 5353, name: a.example, type: NS, rcode: NOERROR, answer: [a.example.], transport: tcp", []layerCase{
			{"", "port: 53", func(c *health.Check) { c.Port = 53 }},
			{"", "name: b.example.", func(c *health.Check) { c.Query.Name = "b.example." }},
			{"", "type: cname", func(c *health.Check) { c.Query.Type = "CNAME" }},
			{"", "answer: [b.example., c.example.]", func(c *health.Check) { c.Query.Answers = []string{"b.example.", "c.example."} }},
			{"", "transport: udp", func(c *health.Check) { c.Query.TCP = false }},
		}},
		{"dns", "name: a.example", []layerCase{
			{"", "rcode: nxdomain", func(c *health.Check) { c.Query.Rcode = "NXDOMAIN" }},
		}},
	} {
		for _, c := range kind.keys {
			want, got := layered(t, "", kind.name+": {"+kind.base+"}", kind.name+": {"+c.own+"}")
			if c.change(&want); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: {%s}: %+v, want %+v", kind.name, c.own, got, want)
			}
		}
	}
}

// TestEveryKeyOfChecks: what a whole check of each kind becomes.
func TestEveryKeyOfChecks(t *testing.T) {
	for _, c := range []struct {
		text string
		want health.Check
	}{
		{`https: {port: 8443, path: /healthz, host: www.example.com, sni: sni.example.com, method: POST, headers: {X-Probe: geodns, x-empty: "",
			Authorization: "Bearer x"}, status: [200, 204], body: ok, match: "^ok (v[0-9]+)?$", http: 2, verify: true, expiry_warning: 300h}`, health.Check{
			Kind: health.HTTPS, Port: 8443, Path: "/healthz", Host: "www.example.com", SNI: "sni.example.com", Method: "POST",
			Headers: []health.Header{{Name: "X-Probe", Value: "geodns"}, {Name: "x-empty"}, {Name: "Authorization", Value: "Bearer x"}},
			Status:  []int{200, 204}, Body: "ok", Match: "^ok (v[0-9]+)?$", Version: health.HTTP2, ExpiryWarning: 300 * time.Hour,
		}},
		{"http: {http: 1, method: HEAD}", health.Check{Kind: health.HTTP, Port: 80, Version: health.HTTP1, Method: "HEAD"}},
		{"tls: {port: 853}", health.Check{Kind: health.TLS, Port: 853}},
		{"tls: {port: 443, sni: 192.0.2.1, verify: false, expiry_warning: 0}", health.Check{Kind: health.TLS, Port: 443, SNI: "192.0.2.1", Insecure: true, ExpiryWarning: -1}},
		{`tcp: {port: 25, send: "EHLO x\r\n", expect: "220 "}`, health.Check{Kind: health.TCP, Port: 25, Send: "EHLO x\r\n", Expect: "220 "}},
		{"dns: {name: .}", health.Check{Kind: health.DNS, Port: 53, Query: health.DNSQuery{Name: "."}}},
		{`dns: {port: 5353, name: example.com, type: aaaa, rcode: noerror, answer: ["2001:db8::1"], transport: tcp}`, health.Check{
			Kind: health.DNS, Port: 5353, Query: health.DNSQuery{Name: "example.com", Type: "AAAA", Rcode: "NOERROR", Answers: []string{"2001:db8::1"}, TCP: true},
		}},
		{"tcp: {port: 1}, damping: off", health.Check{Kind: health.TCP, Port: 1, Damping: health.Damping{Off: true}}},
		{"tcp: {port: 1}, interval: 300ms", health.Check{Kind: health.TCP, Port: 1, Interval: 300 * time.Millisecond, Timeout: 300 * time.Millisecond}},
	} {
		got, _ := layered(t, "", c.text, "fall: 1")
		c.want.Name = "web"
		if want := c.want.WithDefaults(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", c.text, got, want)
		}
	}
}

// TestDampingOff: a layer turns damping off whole, and the next on again with nothing but its own keys.
func TestDampingOff(t *testing.T) {
	const quick = "{name: quick, damping: {half_life: 1m, suppress: 3}}"
	damping := func(d health.Damping) health.Damping { return health.Check{Damping: d}.WithDefaults().Damping }
	for _, c := range []struct {
		check, own string
		want       health.Damping
	}{
		{"profile: quick", "damping: off", health.Damping{Off: true}},
		{"profile: quick", "damping: {}", health.Damping{HalfLife: time.Minute, Suppress: 3}},
		{"profile: quick, damping: off", "fall: 1", health.Damping{Off: true}},
		{"profile: quick, damping: off", "damping: {reuse: 0.5}", health.Damping{Reuse: 0.5}},
		{"damping: off", "profile: quick", health.Damping{HalfLife: time.Minute, Suppress: 3}},
	} {
		if _, got := layered(t, quick, "tcp: {port: 1}, "+c.check, c.own); got.Damping != damping(c.want) {
			t.Errorf("%s, a target's %s: %+v", c.check, c.own, got.Damping)
		}
	}
}

// TestDefaultsFollow: a timeout and a recheck that nobody gives are never longer than the interval that a layer gives.
func TestDefaultsFollow(t *testing.T) {
	pool, target := layered(t, "{name: p, interval: 10s}", "tcp: {port: 1}, profile: p", "interval: 500ms")
	if pool.Timeout != 2*time.Second || target.Timeout != 500*time.Millisecond || pool.Recheck > 2*time.Second || target.Recheck > 100*time.Millisecond {
		t.Errorf("%+v\n%+v", pool, target)
	}
}

// TestTableIsWithoutChecks: how targets are checked is no part of the table, nor of its id.
func TestTableIsWithoutChecks(t *testing.T) {
	ids := map[string]bool{}
	for _, check := range []string{
		"", "checks: [{name: c, tcp: {port: 1}}]", "checks: [{name: c, https: {headers: {X-A: a}}, damping: off}]",
	} {
		of, own := "", ""
		if check != "" {
			of, own = "check: c, ", ", check: {interval: 1s}"
		}
		doc := load(t, check+"\nregions: [{name: r}]\npools: [{name: p, "+of+"targets: [{name: t, region: r, values: [192.0.2.1]"+own+"}]}]\n"+
			"policies: [{name: w, all_down: servfail, rules: [{name: all, pool: p}]}]\n")
		if (doc.Targets[0].Check == nil) != (check == "") {
			t.Errorf("%q: check %+v", check, doc.Targets[0].Check)
		}
		ids[compile(t, doc, smallWorld).Table.ID()] = true
	}
	if len(ids) != 1 {
		t.Errorf("ids %v", ids)
	}
}

var (
	docRow   = regexp.MustCompile("^\\| (`[^|]*)\\|([^|]*)\\|")
	docWord  = regexp.MustCompile("`([a-z_.]+)`")
	keysHere = regexp.MustCompile(`known here: (.*)$`)
)

// TestDocumentedKeys: docs/configuration.md has the keys of checks that the parser knows, and no others.
func TestDocumentedKeys(t *testing.T) {
	data, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(data), "\n**checks**")
	text, _, end := strings.Cut(text, "\n**profiles**")
	if !found || !end {
		t.Fatal("there is no part from checks to profiles")
	}
	documented := map[string]bool{}
	ofKinds := false
	for row := range strings.Lines(text) {
		if strings.HasPrefix(row, "| key |") {
			ofKinds = strings.HasPrefix(row, "| key | kinds |")
		}
		m := docRow.FindStringSubmatch(row)
		if m == nil {
			continue
		}
		for _, key := range docWord.FindAllStringSubmatch(m[1], -1) {
			if !ofKinds {
				documented[key[1]] = true
				continue
			}
			for _, kind := range docWord.FindAllStringSubmatch(m[2], -1) {
				documented[kind[1]+"."+key[1]] = true
			}
		}
	}
	known := map[string]bool{}
	for _, section := range []string{"", "latency", "damping", "votes", "http", "https", "tcp", "tls", "dns"} {
		for _, key := range knownKeys(t, section) {
			known[strings.TrimPrefix(section+"."+key, ".")] = true
		}
	}
	delete(known, "latency") // documented by their keys alone
	delete(known, "votes")
	for key := range documented {
		if !known[key] {
			t.Errorf("%s is documented, and the parser does not know it", key)
		}
	}
	for key := range known {
		if !documented[key] {
			t.Errorf("%s is not documented", key)
		}
	}
}

// knownKeys are the keys that the parser knows in a section of a check, from what it says of one that it does not know.
func knownKeys(t *testing.T, section string) []string {
	t.Helper()
	odd := "qqqqqqqqqqqqqqqq: 1"
	if section != "" {
		odd = section + ": {" + odd + "}"
	}
	var findings source.Findings
	policy.Parse("a.yaml", []byte("checks: [{name: c, "+odd+"}]"), &findings)
	for _, f := range findings {
		if m := keysHere.FindStringSubmatch(f.Message); m != nil {
			return strings.Split(m[1], ", ")
		}
	}
	t.Fatalf("%q: %v", section, findings)
	return nil
}
