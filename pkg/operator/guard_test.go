package operator_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"geodns/pkg/operator"
	"geodns/pkg/policy"
	"geodns/pkg/steering"
)

// TestGuards takes targets away and reads what would break.
func TestGuards(t *testing.T) {
	none := steering.Verdict{State: steering.Up}
	tests := []struct {
		name          string
		before, after verdicts
		want          []string
	}{
		{name: "nothing changes"},
		{
			name:  "others are left",
			after: verdicts{"web/fra1": drained()},
		},
		{
			name:  "last of a pool",
			after: verdicts{"dr/bunker": drained()},
			want:  []string{"pool dr: its last usable target would go (dr/bunker)"},
		},
		{
			name:  "last of a pool, by admit",
			after: verdicts{"dr/bunker": none},
			want:  []string{"pool dr: its last usable target would go (dr/bunker)"},
		},
		{
			name:  "last of a pool, several, and of a pair and a fence",
			after: verdicts{"web/fra1": down(), "web/ams1": down(), "web/iad1": down(), "web/sfo1": down()},
			want: []string{
				"pool web: its last 4 usable targets would go (web/fra1, web/ams1, web/iad1 and 1 more)",
				"pair ams, fra: pool web has nothing usable in either any more",
				"pair iad, sfo: pool web has nothing usable in either any more",
				"policy www rule residents (sites.yaml:34:16): its fence [eu-gdpr] is left with nothing usable",
			},
		},
		{
			name:   "the pair is down already",
			before: verdicts{"web/ams1": down()},
			after:  verdicts{"web/ams1": down(), "web/fra1": drained()},
			want: []string{
				"pair ams, fra: pool web has nothing usable in either any more",
				"policy www rule residents (sites.yaml:34:16): its fence [eu-gdpr] is left with nothing usable",
			},
		},
		{
			name:   "what is broken is not refused again",
			before: verdicts{"web/ams1": down(), "web/fra1": down()},
			after:  verdicts{"web/ams1": down(), "web/fra1": steering.Verdict{State: steering.Down, Admit: steering.AdmitAll, InDoubt: true}},
		},
		{
			name:   "but what is worse is",
			before: verdicts{"web/ams1": down(), "web/fra1": down()},
			after:  verdicts{"web/ams1": drained(), "web/fra1": drained()},
			want:   []string{"policy www rule residents (sites.yaml:34:16): every target of a plan is drained (web/fra1, web/ams1): SERVFAIL"},
		},
		{
			name:  "a map leads nowhere else",
			after: verdicts{"edge/fra2": drained()},
			want:  []string{"policy mapped rule all (sites.yaml:30:20): every target of a plan is drained (edge/fra2): SERVFAIL"},
		},
		{
			name:   "things get better",
			before: verdicts{"web/ams1": down(), "web/fra1": drained()},
		},
	}
	c := compile(t, sitesText)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if d := diff(lines(operator.Guards(c, tt.before.of, tt.after.of)), lines(tt.want)); d != "" {
				t.Error(d)
			}
		})
	}
}

// lines joins breaks to be read.
func lines(breaks []string) string { return "\n" + strings.Join(breaks, "\n") }

// TestGuardsTypes holds that a type counts of its own where families are separate, and that all_down counts.
func TestGuardsTypes(t *testing.T) {
	c := compile(t, `
regions: [{name: r}]
pools:
  - name: mixed
    targets: [{name: four, region: r, values: [192.0.2.1]}, {name: six, region: r, values: ["2001:db8::1"]}, {name: both, region: r, values: [192.0.2.2, "2001:db8::2"]}]
policies:
  - {name: separate, families: separate, all_down: servfail, rules: [{name: all, pool: mixed}]}
`)
	tests := []struct {
		after verdicts
		want  string
	}{
		{verdicts{"mixed/four": drained()}, ""},
		{verdicts{"mixed/four": drained(), "mixed/both": drained()}, "for A, every target of a plan is drained (mixed/four, mixed/both): SERVFAIL"},
		{verdicts{"mixed/six": down(), "mixed/both": drained()}, "for AAAA, every target of a plan is down or drained (mixed/six, mixed/both), and all_down is servfail: SERVFAIL"},
		{verdicts{"mixed/six": steering.Verdict{State: steering.Up}, "mixed/both": drained()}, ""}, // the second pass ignores admit
	}
	for _, tt := range tests {
		got := strings.Join(operator.Guards(c, verdicts{}.of, tt.after.of), "\n")
		want := tt.want
		if want != "" {
			want = "policy separate rule all (sites.yaml:7:77): " + want
		}
		if got != want {
			t.Errorf("%v:\ngot  %s\nwant %s", tt.after, got, want)
		}
	}
}

// TestGuardsBounded holds that thousands of breaks are counted and not told.
func TestGuardsBounded(t *testing.T) {
	var text strings.Builder
	text.WriteString("regions: [{name: r}]\npools:\n")
	const pools = operator.BreaksMax + 7
	for i := range pools {
		fmt.Fprintf(&text, "  - {name: p%02d, targets: [{name: a, region: r, values: [192.0.2.1]}]}\n", i)
	}
	text.WriteString("policies: [{name: p, all_down: serve-all, rules: [{name: all, pool: p00}]}]\n")
	got := operator.Guards(compile(t, text.String()), verdicts{}.of, func(*policy.Target) steering.Verdict { return drained() })
	if len(got) != operator.BreaksMax+1 || got[operator.BreaksMax] != "and 8 more" { // one of them the policy's
		t.Errorf("%d breaks, the last: %s", len(got), got[len(got)-1])
	}
}

// TestGuardsAgree holds what guards say of SERVFAIL against Decide for all clients, over random verdicts.
func TestGuardsAgree(t *testing.T) {
	c := compile(t, sitesText)
	random := seededLeases(t)
	clients := c.SampleClients(256)
	failed := func(v verdicts, p int) (out bool) {
		all := make([]steering.Verdict, len(c.Targets))
		for i := range c.Targets {
			all[i] = v.of(c.Targets[i].Target)
		}
		states, err := steering.NewStates(c.Table, all)
		if err != nil {
			t.Fatal(err)
		}
		for _, who := range append(slices.Clone(clients), prefix(9<<16)) {
			q := steering.Query{Policy: steering.PolicyID(p), Client: steering.ClientFrom(who), ECS: true}
			var d steering.Decision
			steering.Decide(c.Table, states, &q, &d, nil)
			out = out || d.Outcome == steering.Failed
		}
		return out
	}
	found := 0
	for range 2000 {
		before, after := verdicts{}, verdicts{}
		for _, x := range c.Document.Targets {
			for _, v := range []verdicts{before, after} {
				v[x.ID] = []steering.Verdict{steering.Unchecked(), down(), drained(), drained()}[random.IntN(4)]
			}
		}
		breaks := operator.Guards(c, before.of, after.of)
		for i, p := range c.Document.Policies {
			told := slices.ContainsFunc(breaks, func(b string) bool {
				return strings.HasPrefix(b, "policy "+p.Name+" ") && strings.HasSuffix(b, "SERVFAIL")
			})
			if !failed(before, i) && told != failed(after, i) {
				t.Fatalf("policy %s: told %t\nbefore %v\nafter %v\n%s", p.Name, told, before, after, lines(breaks))
			}
			if told {
				found++
			}
		}
	}
	if found < 100 {
		t.Errorf("only %d breaks were found", found)
	}
}
