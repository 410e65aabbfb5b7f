package policy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"geodns/pkg/policy"
	"geodns/pkg/rum"
)

// proposeText has lists in each way that people write them.
const proposeText = smallRegions + eight + `
maps:
  - name: wide
    areas: {default: [iad, "*"], EU: [fra, ams, iad], EU-DE: ["fra", 'ams', "iad", "*"], NA: [sfo, "*", fra, iad]}
    subnets:
      10.1.7.0/24: [nrt, fra, ams]
      10.1.0.0/16: [nrt, fra]
      2001:db8:1::/48:
        - iad   # the old one
        - sfo
        - fra

policies: [{name: www, all_down: servfail, rules: [{name: all, pool: web, rank: [{map: wide}]}]}]`

// TestPropose proposes, applies and proposes again.
func TestPropose(t *testing.T) {
	doc := load(t, proposeText)
	o := rum.Options{Percentile: 75, Band: 15e6, MinSamples: 50}
	measured := scoredOf(t, map[string]string{
		"EU":              "fra 30, ams 10, iad 120",
		"DE":              "fra 60.3, ams 120, iad 20.1",    // iad, fra, ams
		"NA":              "sfo 90, iad 20, fra 110, nrt 1", // iad stays behind the star, before fra
		"10.1.7.0/24":     "nrt 200, ams 10",                // fra is not measured, and stays
		"10.1.0.0/24":     "nrt 200, fra 10",                // is no /16
		"2001:db8:1::/48": "fra 10, iad 90, sfo 92, ams 1",  // fra, iad, sfo
		"US":              "iad 10, sfo 90",                 // has no area
	})
	orders := rum.NewDecider().Step(time.Unix(0, 0), []rum.Options{o}, measured)
	proposals := policy.Propose(doc, orders, o)
	var got []string
	for _, p := range proposals {
		got = append(got, p.For+" "+strings.Join(p.Was, " ")+" > "+strings.Join(p.Now, " ")+" "+p.Gain.String())
	}
	want := strings.Join([]string{
		"EU fra ams iad > ams fra iad 20ms", "EU-DE fra ams iad > iad fra ams 40.2ms", "NA sfo fra iad > sfo iad fra 90ms", "10.1.7.0/24 nrt fra ams > ams fra nrt 190ms",
		"2001:db8:1::/48 iad sfo fra > fra iad sfo 80ms",
	}, "\n")
	if strings.Join(got, "\n") != want {
		t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
	diff, err := policy.ProposalDiff(proposals, func(string) ([]byte, error) { return []byte(proposeText), nil })
	if err != nil {
		t.Fatal(err)
	}
	again := load(t, applied(t, proposals[0].Place.File, proposeText, diff))
	if more := policy.Propose(again, orders, o); len(more) > 0 {
		t.Errorf("after the change, still %+v\n%s", more, diff)
	}
	for _, want := range []string{
		"\n+    # measured: DE: fra 60.3 ms (p75 54.3 ms, jitter 2.0 ms, errors 1 %, 120 samples), ams 120.0 ms (", "; iad before fra gains 40.2 ms\n",
		"\n+        # measured: 2001:db8:1::/48: fra", "\n-        - iad   # the old one\n+        - fra   # the old one\n",
		`EU-DE: ["iad", 'fra', "ams", "*"]`, "\n+      10.1.7.0/24: [ams, fra, nrt]\n",
	} {
		if !strings.Contains(diff, want) {
			t.Errorf("%q is missing in\n%s", want, diff)
		}
	}
	if _, err := policy.ProposalDiff(proposals, func(string) ([]byte, error) { return []byte("regions: []\n"), nil }); err == nil {
		t.Error("a file that has changed is taken")
	}
}

// TestProposeNothing: without orders there are no proposals, and no diff.
func TestProposeNothing(t *testing.T) {
	proposals := policy.Propose(load(t, proposeText), nil, rum.Options{})
	if diff, err := policy.ProposalDiff(proposals, nil); len(proposals) > 0 || diff != "" || err != nil {
		t.Errorf("%+v, %q, %v", proposals, diff, err)
	}
}

// applied is a file after a diff, by git.
func applied(t *testing.T, file, text, diff string) string {
	t.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("there is no git to apply a diff with")
	}
	dir := t.TempDir()
	at := filepath.Join(dir, file)
	if err = os.WriteFile(at, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), git, "apply", "-")
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(diff)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git apply: %v: %s\n%s", err, out, diff)
	}
	data, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
