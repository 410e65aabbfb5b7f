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

// zones gives the zones that the case stands for, by name: those that checkers can be asked about.
func (c *checkCase) zones() map[string]checkedZone {
	out := map[string]checkedZone{}
	files := c.files()
	switch {
	case c.is(eachFile):
		for _, f := range files {
			out[c.name+" "+strings.TrimSuffix(f.Name, ".zone")] = checkedZone{checkedFile, string(f.Data)}
		}
	case len(files) != 1 || !strings.HasSuffix(files[0].Name, ".zone"):
	case c.is(eachLine):
		lines := strings.SplitAfter(string(files[0].Data), "\n")
		for _, line := range lines[headLines:] {
			if owner, _, ok := strings.Cut(line, " "); ok {
				name := c.name + " " + owner
				for out[name].text != "" {
					name += "+"
				}
				out[name] = checkedZone{files[0].Name, strings.Join(lines[:headLines], "") + line}
			}
		}
	default:
		out[c.name] = checkedZone{files[0].Name, string(files[0].Data)}
	}
	for name, z := range out {
		if text := strings.ToUpper(z.text); strings.Contains(text, "STEER") || strings.Contains(text, "TYPE65400") {
			delete(out, name)
		}
	}
	return out
}

// checkedZone is a zone that we and the checkers are asked about.
type checkedZone struct {
	file, text string
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
	if testing.Short() {
		t.Skip("three thousand processes take a while")
	}
	named, nsd := dnstest.NeedPeer(t, "named-checkzone"), dnstest.NeedPeer(t, "nsd-checkzone")
	zones := map[string]checkedZone{}
	for name, text := range madeZones() {
		zones["made "+name] = checkedZone{checkedFile, text}
	}
	for _, c := range checkCases(t) {
		for name, z := range c.zones() {
			if _, twice := zones[name]; twice {
				t.Errorf("two zones have the name %s", name)
			}
			zones[name] = z
		}
	}
	meant := differences()
	for name := range meant {
		if _, ok := zones[name]; !ok {
			t.Errorf("there is no zone %s", name)
		}
	}
	t.Logf("%d zones, %d of them meant to differ", len(zones), len(meant))
	for name, z := range zones {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compareStrictness(t, z, meant[name], named, nsd)
		})
	}
}

// compareStrictness checks one zone with us and with both checkers.
func compareStrictness(t *testing.T, z checkedZone, why, named, nsd string) {
	t.Helper()
	dir := writeZones(t, map[string]string{z.file: z.text})
	_, found := zone.Load(dir, testSeed)
	ours := passes
	if found.HasErrors() {
		ours = refuses
	} else if len(found) > 0 {
		ours = warns
	}
	byNamed, namedSays := judge(t, dir, named, z.file)
	byNSD, nsdSays := judge(t, dir, nsd, z.file)
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
		t.Errorf("geodns %v, named-checkzone %v, nsd-checkzone %v\n%s\nours:\n%snamed:\n%snsd:\n%s", ours, byNamed, byNSD, tail(z.text),
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
func judge(t *testing.T, dir, program, file string) (verdict, string) {
	t.Helper()
	origin := strings.TrimSuffix(strings.ReplaceAll(file, "@", "/"), ".zone")
	args := []string{origin, file}
	if filepath.Base(program) == "named-checkzone" {
		args = append([]string{"-i", "local"}, args...)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return refuses, fmt.Sprintf("%.2000s%v\n", out, err)
	}
	var says strings.Builder
	for line := range strings.Lines(string(out)) {
		if line != "OK\n" && line != "zone "+origin+" is ok\n" && !strings.Contains(line, ": loaded serial ") {
			says.WriteString(line)
		}
	}
	if says.String() != "" {
		return warns, fmt.Sprintf("%.2000s", says.String())
	}
	return passes, ""
}
