package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"geodns/pkg/policy"
)

// TestAnswerSets: a policy is warned of when more sets of targets than AnswerSetsMax can be its answer, and not before. One tier of
// n targets gives all its subsets of 1 to `answers` targets.
func TestAnswerSets(t *testing.T) {
	pool := func(name string, n int) string {
		var b strings.Builder
		fmt.Fprintf(&b, "  - {name: %s, targets: [", name)
		for i := range n {
			fmt.Fprintf(&b, "{name: t%d, region: %s, values: [10.0.%d.%d]},", i, []string{"fra", "iad"}[i%2], i/256, i%256)
		}
		return b.String() + "]}\n"
	}
	for _, c := range []struct {
		targets, answers int
		rank             string
		many             bool
	}{
		{12, 12, "", false}, // 2^12 - 1 = 4095
		{13, 12, "", true},
		{13, 13, "[cost]", false},   // two tiers: 2^7 - 1 and 2^6 - 1
		{13, 13, "[listed]", false}, // 13 and what they fall into when some are down: the same 13
		{90, 2, "", false},          // 90 + 90 * 89 / 2 = 4095
		{91, 2, "", true},
		{4096, 1, "", false},
	} {
		text := smallRegions + "pools:\n" + pool("web", c.targets) +
			fmt.Sprintf("policies:\n  - {name: p, answers: %d, all_down: serve-all, rules: [{name: all, pool: web, rank: %s}]}\n", c.answers, max(c.rank, "[]"))
		text = strings.Replace(text, ", rank: []", "", 1)
		_, found := policy.Compile(load(t, text), policy.Input{Networks: smallWorld})
		if got := strings.Contains(lines(found), "more than 4096 different sets"); got != c.many || found.HasErrors() {
			t.Errorf("%d targets, answers %d, rank %s: %v", c.targets, c.answers, c.rank, lines(found))
		}
	}
}
