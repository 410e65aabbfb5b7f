package policy_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"geodns/internal/source"
	"geodns/pkg/policy"
)

// testScene is what the lines of these tests are about.
func testScene(t testing.TB) policy.Scene {
	t.Helper()
	set := zones(t, map[string]string{"example.com": `
@      300 IN SOA   ns1 hostmaster 1 7200 3600 1209600 300
@      300 IN NS    ns1
ns1    300 IN A     192.0.2.53
www    50  IN STEER www
api    600 IN STEER api
cdn    600 IN STEER cdn
fence  60  IN STEER fence
both.x 60  IN STEER both.x.example.com
*.w    60  IN STEER only.dotted
shop   60  IN CNAME www
`, "off.example": `
@      300 IN SOA   ns1.example.com. hostmaster.example.com. 1 7200 3600 1209600 300
@      300 IN NS    ns1.example.com.
www    60  IN STEER www
`})
	doc := load(t, smallRegions+`
pools:
  - {name: web, fallback: dr, min_up: 2, targets: [
      {name: f1, region: fra, values: [192.0.2.1], tags: [blue]}, {name: f2, region: fra, values: [192.0.2.2]},
      {name: a1, region: ams, values: [192.0.2.3], tags: [blue]}, {name: i1, region: iad, values: [192.0.2.4], tags: [green]}]}
  - {name: dr, targets: [{name: n1, region: nrt, values: [203.0.113.1]}, {name: f1, region: fra, values: [203.0.113.2]}]}
  - {name: cdn, targets: [{name: one, region: fra, values: [one.example.net.]}, {name: two, region: iad, values: [two.example.net.]}]}
maps: [{name: m, areas: {default: [iad, "*"], EU: [fra, ams]}, subnets: {10.1.7.0/24: [iad, fra]}}]
policies:
  - {name: www, all_down: serve-all, rules: [{name: near, geos: [EU], pool: web, rank: [{map: m}]}, {name: rest, pool: web, rank: [cost]}]}
  - {name: api, pick: hash, answers: 2, all_down: servfail, rules: [{name: all, pool: web}]}
  - {name: cdn, all_down: servfail, rules: [{name: all, pool: cdn, rank: [listed]}]}
  - {name: both.x.example.com, all_down: servfail, rules: [{name: all, pool: dr}]}
  - {name: only.dotted, all_down: servfail, rules: [{name: all, pool: dr}]}
  - name: fence
    all_down: serve-first
    rules: [{name: unplaced, geos: [unknown], pool: web, fence: [us]}, {name: all, pool: web, fence: none}]
`)
	return policy.Scene{Zones: set, Compiled: compile(t, doc, smallWorld), IgnoresECS: func(origin string) bool { return origin == "off.example." }}
}

// TestPolicyTests runs a line each: what is wrong with it, or "" where it passes. The place is that within the line, from 1.
func TestPolicyTests(t *testing.T) {
	scene := testScene(t)
	for line, want := range map[string]string{
		// What passes.
		"www from 10.1.1.0/24 = web/f1 or f2":                                              "",
		"www from 10.1.1.0/24 = web/f1, f2 ttl 60":                                         "",
		"www.example.com from 10.1.1.0/24 = web/f1, f2 ttl 50 scope /22":                   "",
		"www.example.com. A from 10.1.1.7 = f2 , web/f1 ttl 50":                            "",
		"WWW.example.com A from 10.1.1.7 = f2 or web/f1":                                   "",
		"www.example.com AAAA from 10.1.1.7 = nodata":                                      "",
		"cdn MX from 2001:db8::/32 = one":                                                  "",
		"shop.example.com from 10.1.1.7 = web/f1 or f2 ttl 50":                             "",
		"any.w.example.com from 10.1.1.7 = n1 or f1 ttl 60":                                "",
		"only.dotted from 10.1.1.7 = n1 or f1":                                             "",
		"both.x.example.com. from 10.1.1.7 = n1 or f1":                                     "",
		"www.off.example from 10.1.1.7 = web/f1 or f2":                                     "",
		"www from 10.1.7.0/24 = i1":                                                        "",
		"www from 10.3.0.0/16 = i1":                                                        "",
		"www from 10.1.1.0/24 when region fra is down = a1":                                "",
		"www from 10.1.1.0/24 when region fra is down and tag blue is drained = f2 ttl 15": "",
		"www from 10.1.1.0/24 when target f2 is drained = web/f1 ttl 60":                   "",
		"www from 10.1.1.0/24 when target f2 is degraded = web/f1 or f2 ttl 60":            "",
		"www from 10.1.1.0/24 when target f2 admits 30% = web/f1 or f2":                    "",
		"www from 10.1.1.0/24 when region fra admits 0.5% = web/f1 or f2 or a1":            "",
		"www from 10.1.1.0/24 when region fra admits 0% = a1":                              "",
		"www from 10.1.1.0/24 when pool web admits 0% = dr/f1":                             "",
		"www from 10.1.1.0/24 when target web/f1 is unknown = f2 ttl 60":                   "",
		"www from 10.1.1.0/24 when region fra is unknown = web/f1 or f2 ttl 15":            "",
		"www from 10.1.1.0/24 when region fra is in doubt = web/f1 or f2 ttl 15":           "",
		"www from 10.1.1.0/24 when everything is down and target a1 is up = a1":            "",
		"www from 10.1.1.0/24 when everything is down = web/f1 or f2 ttl 15":               "",
		"www from 10.1.1.0/24 when everything is drained = servfail":                       "",
		"api from 10.0.0.0/8 = web/f1, f2, a1, i1":                                         "",
		"api from 10.0.0.0/8 when everything is down = servfail":                           "",
		"fence from 10.200.0.1 = i1":                                                       "",
		// What does not.
		"www from 10.1.1.0/24 = a1": "1:1: error: expected a1, got web/f1 or f2: rule near at a.yaml:17:53, tier 1: pool web; map m, area EU: region fra, place 1; " +
			"pass 1: usable and admitted targets; geodns explain www.example.com --client 10.1.1.0/24 tells more",
		"www.example.com A from 10.1.1.7 = web/f1":                            "1:1: error: expected web/f1, got web/f1 or f2: rule near at",
		"www.example.com A from 10.3.1.7 = web/f1":                            "tells more",
		"www from 10.1.0.0/21 = web/f1 or f2":                                 "1:1: error: expected web/f1 or f2, got i1 for 10.1.7.0/24, which is in it: rule near at a.yaml:17:53, tier 1: pool web; map m, subnet 10.1.7.0/24",
		"www from 10.1.1.0/24 = web/f1 or f2 ttl 30 scope /24":                "1:1: error: expected web/f1 or f2 ttl 30 scope /24, got web/f1 or f2 ttl 60 scope /22: ",
		"www from 10.1.1.0/24 when target f2 is in doubt = web/f1, f2 ttl 60": "got web/f1 or f2 ttl 15 or 60: ",
		"www from 10.1.1.0/24 = servfail":                                     "expected servfail, got web/f1 or f2: ",
		"www from 10.1.1.0/24 = nodata":                                       "expected nodata, got targets: policy www at a.yaml:17:12",
		"www AAAA from 10.1.1.0/24 = i1":                                      "expected i1, got nodata: policy www at a.yaml:17:12",
		"fence from 10.200.0.1 when everything is drained = i1":               "expected i1, got servfail: rule unplaced at a.yaml:24:20; pass 0: nothing can answer",
		// Names that stand for nothing, or for two things.
		"wwww from 10.1.1.0/24 = a1":                              `1:1: error: "wwww" is no policy, and no name in a zone of ours; did you mean "www"?`,
		"www.example.net from 10.1.1.0/24 = a1":                   `did you mean "www.example.com"?`,
		"zzzzzzzz from 10.1.1.0/24 = a1":                          "write the name of a policy, or an owner name in full",
		"both.x.example.com from 10.1.1.0/24 = n1":                `1:1: error: "both.x.example.com" is a policy, and an owner name in a zone: write both.x.example.com. for the name`,
		"shop.example.com from 10.1.1.0/24 = web/f1":              "1:1: error: shop.example.com A is not steered: its chain leads to www.example.com., which is steered",
		"ns1.example.com from 10.1.1.0/24 = web/f1":               "1:1: error: ns1.example.com A is not steered: a zone file answers it",
		"www.off.example from 10.1.1.0/24 = web/f1":               "1:22: error: ecs.off has zone off.example.: a subnet is ignored there",
		"www..example.com from 10.1.1.0/24 = web/f1":              `1:1: error: "www..example.com" is no domain name`,
		"www ANY from 10.1.1.0/24 = web/f1":                       "1:5: error: ANY is answered with HINFO alone",
		"www from 10.1.1.0/24 = f1":                               `1:24: error: "f1" is web/f1 and dr/f1: write which`,
		"www from 10.1.1.0/24 = f22":                              `1:24: error: there is no target "f22" in policy "www"; did you mean "f2"?`,
		"www from 10.1.1.0/24 = cdn/one":                          `1:24: error: there is no target "cdn/one" in policy "www"; there are dr/f1, dr/n1, web/a1, web/f1, web/f2, web/i1`,
		"www from 10.1.1.0/24 = f2, web/f2":                       "1:28: error: target web/f2 stands twice",
		"www from 10.1.1.0/24 when region fro is down = f2":       `1:34: error: there is no region "fro"; did you mean "fra"?`,
		"www from 10.1.1.0/24 when pool zzz is down = f2":         `1:32: error: there is no pool "zzz"; none has it`,
		"www from 10.1.1.0/24 when tag gren is down = f2":         `1:31: error: there is no tag "gren"; did you mean "green"?`,
		"www from 10.1.1.0/24 when target f1 is down = f2":        `1:34: error: "f1" is dr/f1 and web/f1: write which`,
		"www from 10.1.1.0/24 when target web/f9 is down = f2":    `1:34: error: there is no target "web/f9"; did you mean "web/f1"?`,
		"www from 10.1.1.0/24 when pool cdn is down = web/f1, f2": `1:32: warning: no target of policy "www" is touched by this`,
		// Lines that are none.
		"= a1":                                                "1:1: error: a policy or an owner name is wanted here, not \"=\"",
		"www":                                                 "1:1: error: a type or `from` is wanted here, not the end of the line",
		"www AX from 10.1.1.0/24 = a1":                        "1:5: error: a type or `from` is wanted here, not \"AX\"",
		"www A A from 10.1.1.0/24 = a1":                       "1:7: error: `from` is wanted here",
		"www from = a1":                                       "1:10: error: a client is wanted here",
		"www from 10.1.1.0 when = a1":                         "1:24: error: a condition is wanted here, not \"=\": its first word is one of",
		"www from ::ffff:10.1.1.0 = a1":                       `1:10: error: "::ffff:10.1.1.0" is an IPv4 address written as IPv6; write 10.1.1.0`,
		"www from ::ffff:10.1.1.0/120 = a1":                   `1:10: error: "::ffff:10.1.1.0/120" is an IPv4 subnet written as IPv6; write it as IPv4, 10.1.1.0/24`,
		"www from fe80::1%eth0 = a1":                          "1:10: error: ",
		"www from 10.1.1.1/24 = a1":                           `1:10: error: "10.1.1.1/24" has bits set behind its length; write 10.1.1.0/24`,
		"www from 0.0.0.0/0 = a1":                             "1:10: error: a prefix of length 0 says nothing of the client",
		"www from 10.1.1.0/24 a1":                             "1:22: error: `when`, `and` or `=` is wanted here, not \"a1\"",
		"www from 10.1.1.0/24 when region is down = a1":       "1:37: error: `is` or `admits` is wanted here, not \"down\"",
		"www from 10.1.1.0/24 when region = a1":               "1:34: error: the name of a region is wanted here",
		"www from 10.1.1.0/24 when pol web is down = a1":      "1:27: error: a condition is wanted here",
		"www from 10.1.1.0/24 when pool web is donw = a1":     `1:39: error: "donw" is no state; did you mean "down"?`,
		"www from 10.1.1.0/24 when pool web is in = a1":       "1:42: error: `in doubt` is wanted here, not \"=\"",
		"www from 10.1.1.0/24 when pool web admits 30 = a1":   "1:43: error: a part of the traffic is wanted here, from 0% to 100%, not \"30\"",
		"www from 10.1.1.0/24 when pool web admits 101% = a1": "1:43: error: a part of the traffic",
		"www from 10.1.1.0/24 when pool web admits NaN% = a1": "1:43: error: a part of the traffic",
		"www from 10.1.1.0/24 =":                              "1:22: error: a target is wanted here, as fra1 or web/fra1, or `servfail` or `nodata`, not the end of the line",
		"www from 10.1.1.0/24 = a1,":                          "1:26: error: a target is wanted here",
		"www from 10.1.1.0/24 = a1 f2":                        "1:27: error: `ttl N`, `scope /N` or the end of the line is wanted here, not \"f2\"",
		"www from 10.1.1.0/24 = a1 ttl x":                     "1:31: error: a TTL in seconds is wanted here",
		"www from 10.1.1.0/24 = a1 ttl 5 ttl 6":               "1:33: error: `ttl N`, `scope /N` or the end",
		"www from 10.1.1.0/24 = a1 scope 24":                  "1:33: error: a scope such as /24 is wanted here",
		"www from 10.1.1.0/24 = a1 scope /33":                 "1:33: error: a scope such as /24 is wanted here",
		"www from 10.1.1.7 = a1 scope /24":                    "1:24: error: an answer has a scope if the client is a subnet: write 10.1.1.7/32 for it",
		"www from 10.1.1.0/24 = servfail ttl 5":               "1:33: error: nothing is wanted behind it, not \"ttl\"",
	} {
		found, results := runLines(t, scene, "tests:\n- expect "+line+"\n")
		text := strings.ReplaceAll(lines(found), "x.test.yaml:", "")
		if _, col, ok := strings.Cut(text, ":"); ok { // line 2, behind "- expect "
			var at int
			if _, err := fmt.Sscanf(col, "%d", &at); err != nil {
				t.Fatal(text)
			}
			text = strings.Replace(text, fmt.Sprintf("2:%d:", at), fmt.Sprintf("1:%d:", max(at-len("- expect "), 1)), 1)
		}
		if want == "" && text != "" || !strings.Contains(text, want) || len(found) > 1 && want != "" {
			t.Errorf("%s\ngot  %swant %s", line, text, want)
		}
		if passed := len(results) == 1 && results[0].Passed; passed == found.HasErrors() {
			t.Errorf("%s: passed: %t\n%s", line, passed, text)
		}
	}
}

// runLines parses and runs the tests of a file.
func runLines(t testing.TB, scene policy.Scene, text string) (source.Findings, []policy.TestResult) {
	t.Helper()
	tests, found := policy.LoadTestsFS(fstest.MapFS{"x.test.yaml": {Data: []byte(text)}}, "")
	results, failed := policy.RunTests(scene, tests)
	return append(found, failed...), results
}

// TestPolicyTestFiles has the forms of a file, and where the words of a line stand in each.
func TestPolicyTestFiles(t *testing.T) {
	scene := testScene(t)
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", ""},
		{"no tests", "tests:\n", ""},
		{"unknown key", "test: []\n", `x.test.yaml:1:1: error: unknown key "test"; did you mean "tests"?`},
		{"no list", "tests: x\n", "x.test.yaml:1:8: error: a list is wanted here"},
		{"passes", "tests:\n  - expect www from 10.3.1.7 = i1\n  - {name: a name, expect: www from 10.3.1.7 = i1}\n  - name: b\n    expect: \"expect www from 2001:db8::1 = i1\"\n", ""},
		{"no expect", "tests: [www from 10.3.1.7 = i1]\n", "x.test.yaml:1:9: error: a line is `expect WHAT [TYPE] from CLIENT [when CONDITION {and CONDITION}] = RESULT`, not \"www\""},
		{"no line", "tests: [{name: x}]\n", "x.test.yaml:1:9: error: key \"expect\" is missing: a test is a line such as"},
		{"plain", "tests:\n  - expect www from 10.3.1.7 when pool é is up = i1\n", `x.test.yaml:2:40: error: there is no pool "é"`},
		{"quoted", "tests:\n  - 'expect www from 10.3.1.7 when pool x is up = i1'\n", `x.test.yaml:2:41: error: there is no pool "x"`},
		{"in a mapping", "tests:\n  - {expect: \"www from 10.3.1.7 when pool x is up = i1\"}\n", `x.test.yaml:2:43: error: there is no pool "x"`},
		{"folded", "tests:\n  - expect www from 10.3.1.7\n    when pool x is up = i1\n", `x.test.yaml:2:5: error: there is no pool "x"`},
		{"block", "tests:\n  - >\n    expect www from 10.3.1.7\n    when pool x is up = i1\n", `x.test.yaml:2:5: error: there is no pool "x"`},
		{"a colon", "tests:\n  - expect www from 2001:db8:: when pool x is up = i1\n", "x.test.yaml:2:5: error: put this line in quotes: a colon with a space behind it ends a key in YAML"},
		{"named", "tests:\n  - {name: to the west, expect: www from 10.3.1.7 = a1}\n", `x.test.yaml:2:33: error: test "to the west": expected a1, got i1: rule rest at a.yaml:`},
		{"long", "tests: [\"expect " + strings.Repeat("x", 5000) + "\"]\n", "x.test.yaml:1:9: error: a line of 5007 bytes; at most 4096 are read"},
		{"many", "tests: [" + strings.Repeat("a,", policy.TestsMax+1) + "]\n", "x.test.yaml:1:8: error: 10001 tests; at most 10000 are read of one file"},
	} {
		found, _ := runLines(t, scene, c.text)
		if text := lines(found); c.want == "" && text != "" || !strings.HasPrefix(text, c.want) {
			t.Errorf("%s: got %swant %s", c.name, text, c.want)
		}
	}
	files := fstest.MapFS{".git/a.test.yaml": {Data: []byte("x")}, "b/c.test.yaml": {Data: []byte("tests: [x]")}, "a.test.yaml": {Data: []byte("tests: [y]")}, "d.yaml": {Data: []byte("tests: [z]")}}
	if _, found := policy.LoadTestsFS(files, "zones"); len(found) != 2 || found[0].File != "zones/a.test.yaml" || found[1].File != "zones/b/c.test.yaml" {
		t.Errorf("found %s", lines(found))
	}
	if tests, found := policy.LoadTests(t.TempDir() + "/none"); tests != nil || found != nil {
		t.Errorf("no folder: %v, %v", tests, found)
	}
}

// TestNetworksIn holds the networks that a prefix is tried by against what they are to be.
func TestNetworksIn(t *testing.T) {
	for prefix, want := range map[string]int{
		"10.0.0.0/24": 0, "10.0.0.0/32": 0, "10.0.0.0/23": 2, "10.0.0.0/17": 128, "10.0.0.0/16": 256, "10.0.0.0/8": 256, "128.0.0.0/1": 256,
		"2001:db8::/48": 0, "2001:db8::/47": 2, "2001:db8::/32": 256, "8000::/1": 256,
	} {
		p := netip.MustParsePrefix(prefix)
		got := policy.NetworksIn(p)
		if len(got) != want || len(slices.Compact(got)) != want || !slices.IsSortedFunc(got, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) }) {
			t.Errorf("%s: %d networks, want %d, each once, in order: %v", prefix, len(got), want, got)
		}
		for _, n := range got {
			if !p.Contains(n.Addr()) || n != n.Masked() || n.Bits() != map[bool]int{true: 24, false: 48}[p.Addr().Is4()] {
				t.Errorf("%s: %s", prefix, n)
			}
		}
		if len(got) > 0 && (got[0].Addr() != p.Addr() || last(p) != last(got[len(got)-1])) {
			t.Errorf("%s: from %s to %s", prefix, got[0], got[len(got)-1])
		}
	}
}

// FuzzPolicyTests: no text makes the parser or the runner panic, a test that can be read without findings runs, and findings have places.
func FuzzPolicyTests(f *testing.F) {
	for _, line := range []string{
		"www A from 10.1.0.0/21 when region fra is down and tag blue is in doubt = web/a1 or i1 ttl 60 scope /24", "api.example.com from 2001:db8::1 when everything admits 30% = f2, a1",
		"cdn MX from 10.1.1.7 when target web/f1 is unknown = servfail", "www from 10.1.1.0/24 = nodata",
	} {
		f.Add("tests:\n  - expect " + line + "\n")
		f.Add("tests: [{name: x, expect: '" + line + "'}]\n")
	}
	scene := testScene(f)
	f.Fuzz(func(t *testing.T, text string) {
		found, results := runLines(t, scene, text)
		for _, r := range results {
			if !r.Passed && !found.HasErrors() {
				t.Fatalf("%s does not pass, for no reason", r.Text)
			}
		}
		rows := strings.Split(text, "\n")
		for _, one := range found {
			if one.Line < 1 || one.Line > len(rows) || one.Col < 1 || one.Col > len(rows[one.Line-1])+1 {
				t.Fatalf("%s is nowhere", one)
			}
		}
	})
}
