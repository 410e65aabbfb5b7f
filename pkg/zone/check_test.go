package zone_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"geodns/internal/dnstest"
	"geodns/pkg/zone"
)

// checkCase is a case of testdata/checks: zone files, and last a file "findings" of what Load finds in them.
type checkCase struct {
	name    string
	file    string
	archive *txtar.Archive
}

// checkCases reads all cases.
func checkCases(t *testing.T) []checkCase {
	t.Helper()
	files, err := filepath.Glob("testdata/checks/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	cases := make([]checkCase, 0, len(files))
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, checkCase{strings.TrimSuffix(filepath.Base(file), ".txtar"), file, archive})
	}
	return cases
}

// zones gives the case's files but the last.
func (c *checkCase) zones() map[string]string {
	files := map[string]string{}
	for _, f := range c.archive.Files[:len(c.archive.Files)-1] {
		files[f.Name] = string(f.Data)
	}
	return files
}

// TestFindings runs testdata/checks.
func TestFindings(t *testing.T) {
	t.Parallel()
	for _, c := range checkCases(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := writeZones(t, c.zones())
			set, found := zone.Load(dir, testSeed)
			if (set == nil) != found.HasErrors() {
				t.Errorf("a Set is there: %v, errors are: %v", set != nil, found.HasErrors())
			}
			got := findingLines(dir, found)
			want := &c.archive.Files[len(c.archive.Files)-1].Data
			if *update {
				*want = []byte(got)
				if err := os.WriteFile(c.file, txtar.Format(c.archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(*want), got); diff != "" {
				t.Errorf("findings differ (-want +got):\n%s", diff)
			}
		})
	}
}

// exempt are the cases where we do not do as the checkers do, and why.
func exempt() map[string]string {
	const (
		unknown = "laxer: nsd-checkzone does not know the type"
		nsec3   = "laxer: named-checkzone wants a hash as NSEC3's owner, which means nothing in a zone without signatures"
	)
	return map[string]string{
		"types 18":       unknown,
		"types 20":       unknown,
		"types 48":       unknown,
		"types 62":       unknown,
		"types 63":       unknown,
		"types 36":       nsec3,
		"types 55":       "stricter: miekg/dns reads X25 without quotes alone",
		"types-short 14": unknown,
		"types-short 26": nsec3,
		"types-bad 30":   "laxer: RFC 4034 section 3.2 lets times be seconds since 1970; nsd-checkzone does not",
		"wild-dname":     "stricter: RFC 4592 section 4.4 discourages it, and no two servers answer it alike",
		"generate 1":     "laxer: nsd-checkzone does not know $GENERATE, BIND's invention",
		"generate 2":     "laxer: nsd-checkzone does not know $GENERATE, BIND's invention",
	}
}

// eachLine marks, in its comment, a case whose lines behind the fourth stand each for itself.
const eachLine = "Each line by itself."

// lines gives the zones that a case stands for, by name: one, or one for each line.
func (c *checkCase) lines(text string) map[string]string {
	if !strings.Contains(string(c.archive.Comment), eachLine) {
		return map[string]string{c.name: text}
	}
	out := map[string]string{}
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines[4:] {
		if line != "" {
			out[fmt.Sprintf("%s %d", c.name, i+1)] = strings.Join(lines[:4], "") + line
		}
	}
	return out
}

// TestStrictness holds our findings against named-checkzone and nsd-checkzone: an error where one of them refuses, else
// warnings at most.
func TestStrictness(t *testing.T) {
	t.Parallel()
	named, nsd := dnstest.NeedPeer(t, "named-checkzone"), dnstest.NeedPeer(t, "nsd-checkzone")
	for _, c := range checkCases(t) {
		zones := c.zones()
		if text := zones["example.com.zone"]; text == "" || len(zones) > 1 || strings.Contains(text, "STEER") {
			continue
		}
		for name, text := range c.lines(zones["example.com.zone"]) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				compareStrictness(t, name, text, named, nsd)
			})
		}
	}
}

// compareStrictness checks one zone with us and with both checkers.
func compareStrictness(t *testing.T, name, text, named, nsd string) {
	t.Helper()
	dir := writeZones(t, map[string]string{"example.com.zone": text})
	_, found := zone.Load(dir, testSeed)
	byNamed := refused(t, dir, named, "example.com", "example.com.zone")
	byNSD := refused(t, dir, nsd, "example.com", "example.com.zone")
	ours, theirs := found.HasErrors(), byNamed != "" || byNSD != ""
	why := exempt()[name]
	switch {
	case why != "" && ours == theirs:
		t.Errorf("it is exempt but there is no difference: %s", why)
	case why != "":
	case ours && !theirs:
		t.Errorf("we refuse what both let pass:\n%s", findingLines(dir, found))
	case !ours && theirs:
		t.Errorf("we let pass what they refuse:\n%snamed: %s\nnsd: %s", text, byNamed, byNSD)
	}
}

// refused runs a checker in a folder and gives what it says if it refuses.
func refused(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err == nil {
		return ""
	}
	return string(out) + err.Error()
}
