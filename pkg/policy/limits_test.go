package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"geodns/internal/source"
	"geodns/pkg/health"
	"geodns/pkg/policy"
)

// repeat gives n items, of which %d becomes the number.
func repeat(n int, item string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(item, "%d", fmt.Sprint(i)) + ", ")
	}
	return strings.TrimSuffix(b.String(), ", ")
}

// TestLimits: each limit holds, and one less is fine.
func TestLimits(t *testing.T) {
	const (
		head  = "regions: [{name: r}]\npools: [{name: p, targets: [{name: t, region: r, values: [192.0.2.1]}]}]\n"
		rules = head + "policies: [{name: w, all_down: servfail, rules: [%s]}]"
		one   = "regions: [{name: r}]\npools: [{name: p, targets: [%s]}]\n" +
			"policies: [{name: w, all_down: servfail, rules: [{name: all, pool: p}]}]"
		area = head + "maps: [{name: m, areas: {default: [r]}, subnets: {%s}}]\n" +
			"policies: [{name: w, all_down: servfail, rules: [{name: all, pool: p, rank: [map: m]}]}]"
	)
	for _, c := range []struct {
		name string
		most int
		text func(n int) string
		want string
	}{
		{"name", policy.NameMax, func(n int) string {
			return "regions: [{name: " + strings.Repeat("r", n) + "}]"
		}, "is no name: it has 64 bytes; at most 63 are allowed"},
		{"entries", policy.EntriesMax, func(n int) string {
			return "regions: [" + repeat(n, "{name: r%d}") + "]"
		}, "100001 regions; at most 100000 are read"},
		{"targets", policy.TargetsMax, func(n int) string {
			return strings.Replace(one, "%s", repeat(n, `{name: t%d, region: r, values: ["2001:db8::%d"]}`), 1)
		}, "4097 items; at most 4096 are allowed"},
		{"rules", policy.RulesMax, func(n int) string {
			return strings.Replace(rules, "%s", repeat(n-1, "{name: r%d, asns: [1%d], pool: p}")+", {name: all, pool: p}", 1)
		}, "1001 items; at most 1000 are allowed"},
		{"conditions", policy.ConditionsMax, func(n int) string {
			return strings.Replace(rules, "%s", "{name: a, asns: ["+repeat(n, "1%d")+"], pool: p}, {name: all, pool: p}", 1)
		}, "10001 items; at most 10000 are allowed"},
		{"subnets of a map", policy.ConditionsMax, func(n int) string {
			return strings.Replace(area, "%s", repeat(n, `"2001:db8:%d::/48": [r]`), 1)
		}, "10001 keys; at most 10000 are allowed"},
		{"rank", policy.RankMax, func(n int) string {
			return strings.Replace(rules, "%s", "{name: all, pool: p, rank: ["+repeat(n, "cost")+"]}", 1)
		}, "9 items; at most 8 are allowed"},
		{"tags", policy.ListMax, func(n int) string {
			return strings.Replace(one, "%s", "{name: t, region: r, values: [192.0.2.1], tags: ["+repeat(n, "t%d")+"]}", 1)
		}, "65 items; at most 64 are allowed"},
		{"text", policy.TextMax, func(n int) string {
			return `regions: [{name: r, jurisdictions: ["` + strings.Repeat("j", n) + `"]}]`
		}, "a jurisdiction of 1025 bytes; at most 1024 are allowed"},
		{"headers", health.HeadersMax, func(n int) string {
			return "checks: [{name: c, http: {headers: {" + repeat(n, `h%d: ""`) + "}}}]"
		}, "33 headers; at most 32 are allowed"},
		{"bytes of headers", health.HeadersBytesMax, func(n int) string {
			return "checks: [{name: c, http: {headers: {h: " + strings.Repeat("v", n-3) + ", X: z}}}]"
		}, "headers of 4097 bytes; at most 4096 are allowed"},
		{"method", health.MethodMax, func(n int) string {
			return "checks: [{name: c, http: {method: " + strings.Repeat("M", n) + "}}]"
		}, "a method of 33 bytes; at most 32 are allowed"},
		{"octets", health.SendMax, func(n int) string {
			return "checks: [{name: c, tcp: {port: 1, send: " + strings.Repeat("s", n) + "}}]"
		}, "a send of 4097 bytes; at most 4096 are allowed"},
		{"answers", policy.ListMax, func(n int) string {
			return "checks: [{name: c, dns: {name: ., answer: [" + repeat(n, "192.0.2.%d") + "]}}]"
		}, "65 items; at most 64 are allowed"},
		{"values", policy.ValuesMax, func(n int) string {
			return strings.Replace(one, "%s", "{name: t, region: r, values: ["+repeat(n, "192.0.2.%d")+"]}", 1)
		}, "9 addresses of one family; a target has at most 8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var found source.Findings
			if policy.Join([]*policy.File{policy.Parse("a.yaml", []byte(c.text(c.most)), &found)}, &found) == nil {
				t.Errorf("%d are refused: %v", c.most, found.Err())
			}
			found = nil
			doc := policy.Join([]*policy.File{policy.Parse("a.yaml", []byte(c.text(c.most+1)), &found)}, &found)
			if err := found.Err(); doc != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%d: %v, want %q", c.most+1, err, c.want)
			}
		})
	}
}

// TestManyFiles: what is too much for one file is too much for many.
func TestManyFiles(t *testing.T) {
	var found source.Findings
	var files []*policy.File
	for i := range 2 {
		text := "regions: [" + repeat(policy.EntriesMax/2+1, fmt.Sprintf("{name: r%d-%%d}", i)) + "]"
		files = append(files, policy.Parse(fmt.Sprintf("%d.yaml", i), []byte(text), &found))
	}
	if doc := policy.Join(files, &found); doc != nil || !strings.Contains(fmt.Sprint(found.Err()), "100002 regions over all files; at most 100000 are read") {
		t.Errorf("Document %t, %v", doc != nil, found.Err())
	}
}
