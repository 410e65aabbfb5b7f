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

// checkCase is a file of testdata/checks, whose folder is its subject: zone files, and last a file "findings" of what Load finds
// in them. Its comment may hold eachLine or eachFile.
type checkCase struct {
	name    string // subject/file
	file    string
	archive *txtar.Archive
}

const (
	// eachLine marks a case of one file whose lines behind the head stand each for a zone of its own.
	eachLine = "Each line by itself."
	// headLines is how many lines such a file begins with: $TTL, SOA, NS and the name server's addresses.
	headLines = 5
	// eachFile marks a case whose files are each a zone example.com of its own.
	eachFile = "Each file by itself."
	// checkedFile is the zone file that the checkers get.
	checkedFile = "example.com.zone"
)

// checkCases reads all cases.
func checkCases(t testing.TB) []checkCase {
	t.Helper()
	files, err := filepath.Glob("testdata/checks/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	cases := make([]checkCase, 0, len(files))
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(filepath.Dir(file)) + "/" + strings.TrimSuffix(filepath.Base(file), ".txtar")
		cases = append(cases, checkCase{name, file, archive})
	}
	return cases
}

// is says whether the case's comment holds a mark.
func (c *checkCase) is(mark string) bool { return strings.Contains(string(c.archive.Comment), mark) }

// files gives the case's files but the last.
func (c *checkCase) files() []txtar.File { return c.archive.Files[:len(c.archive.Files)-1] }

// found gives the findings of all that the case holds.
func (c *checkCase) found(t *testing.T) string {
	t.Helper()
	if !c.is(eachFile) {
		files := map[string]string{}
		for _, f := range c.files() {
			files[f.Name] = string(f.Data)
		}
		return foundIn(t, files)
	}
	var out strings.Builder
	for _, f := range c.files() {
		lines := foundIn(t, map[string]string{checkedFile: string(f.Data)})
		for line := range strings.Lines(lines) {
			out.WriteString(f.Name + strings.TrimPrefix(line, checkedFile))
		}
	}
	return out.String()
}

// foundIn loads files and gives the findings, one a line.
func foundIn(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := writeZones(t, files)
	set, found := zone.Load(dir, testSeed)
	if (set == nil) != found.HasErrors() {
		t.Errorf("a Set is there: %v, errors are: %v", set != nil, found.HasErrors())
	}
	return findingLines(dir, found)
}

// TestFindings runs testdata/checks.
func TestFindings(t *testing.T) {
	t.Parallel()
	for _, c := range checkCases(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := c.found(t)
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

// zones gives the zones example.com that the case stands for, by name: those that checkers can be asked about.
func (c *checkCase) zones() map[string]string {
	out := map[string]string{}
	files := c.files()
	switch {
	case c.is(eachFile):
		for _, f := range files {
			out[c.name+" "+strings.TrimSuffix(f.Name, ".zone")] = string(f.Data)
		}
	case len(files) != 1 || files[0].Name != checkedFile:
	case c.is(eachLine):
		lines := strings.SplitAfter(string(files[0].Data), "\n")
		for _, line := range lines[headLines:] {
			if owner, _, ok := strings.Cut(line, " "); ok {
				name := c.name + " " + owner
				for out[name] != "" {
					name += "+"
				}
				out[name] = strings.Join(lines[:headLines], "") + line
			}
		}
	default:
		out[c.name] = string(files[0].Data)
	}
	for name, text := range out {
		if strings.Contains(text, "STEER") {
			delete(out, name)
		}
	}
	return out
}

// verdict is what a checker does about a zone.
type verdict int

const (
	passes verdict = iota
	warns
	refuses
)

// String gives the verb.
func (v verdict) String() string { return [...]string{"passes", "warns", "refuses"}[v] }

// TestStrictness holds our findings against named-checkzone and nsd-checkzone: an error where both refuse, a warning at least
// where one of them refuses or warns, and no error where neither refuses, but for what differences lists.
func TestStrictness(t *testing.T) {
	t.Parallel()
	named, nsd := dnstest.NeedPeer(t, "named-checkzone"), dnstest.NeedPeer(t, "nsd-checkzone")
	zones := madeZones()
	for _, c := range checkCases(t) {
		for name, text := range c.zones() {
			if _, twice := zones[name]; twice {
				t.Errorf("two zones have the name %s", name)
			}
			zones[name] = text
		}
	}
	meant := differences()
	for name := range meant {
		if _, ok := zones[name]; !ok {
			t.Errorf("there is no zone %s", name)
		}
	}
	t.Logf("%d zones, %d of them meant to differ", len(zones), len(meant))
	for name, text := range zones {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compareStrictness(t, text, meant[name], named, nsd)
		})
	}
}

// compareStrictness checks one zone with us and with both checkers.
func compareStrictness(t *testing.T, text, why, named, nsd string) {
	t.Helper()
	dir := writeZones(t, map[string]string{checkedFile: text})
	_, found := zone.Load(dir, testSeed)
	ours := passes
	if found.HasErrors() {
		ours = refuses
	} else if len(found) > 0 {
		ours = warns
	}
	byNamed, namedSays := judge(t, dir, named)
	byNSD, nsdSays := judge(t, dir, nsd)
	least, most := min(warns, max(byNamed, byNSD)), warns
	if byNamed == refuses && byNSD == refuses {
		least = refuses
	}
	if byNamed == refuses || byNSD == refuses {
		most = refuses
	}
	same := ours >= least && ours <= most
	switch {
	case why != "" && same:
		t.Errorf("a difference is listed but there is none: %s", why)
	case why == "" && !same:
		t.Errorf("geodns %v, named-checkzone %v, nsd-checkzone %v\n%s\nours:\n%snamed:\n%snsd:\n%s", ours, byNamed, byNSD, tail(text),
			findingLines(dir, found), namedSays, nsdSays)
	}
}

// tail gives the end of a zone's text, as a message may show it.
func tail(text string) string {
	if len(text) > 400 {
		text = "..." + text[len(text)-400:]
	}
	return text
}

// judge runs a checker in a folder and gives its verdict and what it says. named-checkzone stays with what is in the zone:
// by default it asks the system's resolver for name servers outside.
func judge(t *testing.T, dir, program string) (verdict, string) {
	t.Helper()
	args := []string{"example.com", checkedFile}
	if filepath.Base(program) == "named-checkzone" {
		args = append([]string{"-i", "local"}, args...)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return refuses, fmt.Sprintf("%s%v\n", out, err)
	}
	says := ""
	for line := range strings.Lines(string(out)) {
		if line != "OK\n" && line != "zone example.com is ok\n" && !strings.Contains(line, ": loaded serial ") {
			says += line
		}
	}
	if says != "" {
		return warns, says
	}
	return passes, ""
}
