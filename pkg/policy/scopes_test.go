package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"geodns/pkg/policy"
)

// TestA39Scopes: ecs.max_scopes refuses a policy that publishes more scopes, and says where.
func TestA39Scopes(t *testing.T) {
	subnets := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf("10.0.%d.0/24", 2*i))
		}
		return strings.Join(list, ", ")
	}
	text := smallRegions + `pools:
  - {name: near, targets: [{name: a, region: fra, values: [192.0.2.1]}]}
  - {name: far, targets: [{name: b, region: iad, values: [192.0.2.2]}]}
policies:
  - name: www
    all_down: serve-all
    rules: [{name: office, subnets: [` + subnets(20) + `], pool: near}, {name: all, pool: far}]
  - {name: plain, all_down: serve-all, rules: [{name: all, pool: far}]}
`
	doc := load(t, text)
	compile := func(limit int) string {
		_, found := policy.Compile(doc, policy.Input{Networks: smallWorld, MaxScopes: limit})
		return lines(found)
	}
	compiled, _ := policy.Compile(doc, policy.Input{Networks: smallWorld})
	if compiled == nil {
		t.Fatal(compile(0))
	}
	n := compiled.Table.Scopes(1) // by name: plain is the first
	if n < 40 || compiled.Table.Scopes(0) != 1 {
		t.Fatalf("www publishes %d scopes, plain %d; want 40 or more, and 1", n, compiled.Table.Scopes(0))
	}
	if got := compile(n); got != "" {
		t.Errorf("at the limit: %s", got)
	}
	want := fmt.Sprintf("error: policy \"www\" publishes %d scopes, more than ecs.max_scopes, which is %d", n, n-1)
	if got := compile(n - 1); !strings.Contains(got, want) || strings.Contains(got, "plain") {
		t.Errorf("past it: %s\nwant %s", got, want)
	}
}
