package policy

import (
	"io/fs"
	"os"
	"strings"

	"geodns/internal/source"
	"geodns/pkg/steering"
)

// Policy tests stand beside the policies, in *.test.yaml, and say what clients get:
//
//	tests:
//	  - expect www A from 193.0.0.0/21 when region fra is down = ams1
//	  - {name: office stays home, expect: "www.example.com A from 203.0.113.7 = iad1 ttl 60"}
//
// A line is
//
//	expect WHAT [TYPE] from CLIENT [when CONDITION {and CONDITION}] = RESULT
//
// WHAT is an owner name in a zone, or the name of a policy, whose record then has its ttl max as TTL. CLIENT is an address, which asks by
// itself, or a prefix, sent as ECS; then each client in it is to get the same. A CONDITION is SUBJECT is STATE, or SUBJECT admits N%,
// where the SUBJECT is everything, or the region, pool, tag or target of a name. RESULT is servfail, nodata, or all targets that an
// answer can carry, over all draws, joined by commas or `or`; with `ttl N`, and for a prefix `scope /N`.
//
// At first every target is up, not in doubt, and admits all of its traffic; conditions hold in the order in which they stand. `unknown`
// is also in doubt, as what was never probed is. `pick: hash` is a draw as any other: which target it gives a network is nothing that
// a policy says.

// Test is one policy test.
type Test struct {
	Name  string       // "": it has none
	Text  string       // the line, from WHAT on
	Place source.Place // of the line

	what, qtype, client word // qtype: "" is A
	question            Question
	conditions          []condition
	want                expectation
}

// word is a word of a test's line.
type word struct {
	text  string
	place source.Place
}

// condition is what holds for some targets.
type condition struct {
	kind  string // everything, region, pool, tag, target
	name  word
	apply func(*steering.Verdict)
}

// expectation is the result that a test is for.
type expectation struct {
	servfail, nodata bool
	targets          []word
	ttl              uint32
	scope            uint8
	hasTTL, hasScope bool
}

// LoadTests reads every **/*.test.yaml below a folder. What names stand for is checked by RunTests; the tests that could be read are given
// also where others could not.
func LoadTests(dir string) ([]*Test, source.Findings) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil // Load says so
	}
	defer root.Close()
	return LoadTestsFS(root.FS(), dir)
}

// LoadTestsFS is LoadTests for any file system; findings show its files below dir.
func LoadTestsFS(fsys fs.FS, dir string) ([]*Test, source.Findings) {
	l := &loader{fsys: fsys, dir: dir}
	names := l.list(func(name string, _ fs.DirEntry) bool { return strings.HasSuffix(name, testSuffix) })
	l.found = nil // Load said what cannot be listed
	if len(names) > TestFilesMax {
		l.found.Errorf(source.WholeFile(dir), "%d files of policy tests; at most %d are read", len(names), TestFilesMax)
		return nil, l.found
	}
	var tests []*Test
	for _, name := range names {
		if data, ok := l.read(name); ok {
			tests = append(tests, ParseTests(l.shown(name), data, &l.found)...)
		}
	}
	l.found.Sort()
	return tests, l.found
}
