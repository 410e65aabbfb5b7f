package node_test

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata/behavior; review the diff")

// TestBehavior asks a node every question of testdata/behavior over UDP and over TCP, and compares whole answers. The README
// there says how to read and write a file.
func TestBehavior(t *testing.T) {
	files, err := filepath.Glob("testdata/behavior/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b, err := parseBehavior(path, string(text))
			if err != nil {
				t.Fatal(err)
			}
			runBehavior(t, b)
			if !*update || t.Failed() {
				return
			}
			if after := b.text(); after != string(text) {
				if err := os.WriteFile(path, []byte(after), 0o644); err != nil { //nolint:gosec // read by everyone, as all sources are
					t.Fatal(err)
				}
			}
		})
	}
}

// runBehavior asks all questions of a file. With -update it puts the answers that came in the place of those that were there.
func runBehavior(t *testing.T, b *behavior) {
	t.Helper()
	s := startBehavior(t, b)
	for _, c := range b.cases {
		s.publish(c.line, c.states)
		got := map[string]*answer{}
		for _, transport := range c.query.transports() {
			a, err := s.ask(c.query, transport)
			if err != nil {
				t.Errorf("%s:%d: over %s: %v", b.path, c.line, transport, err)
				continue
			}
			got[transport] = a
			want := c.want[transport]
			switch {
			case *update:
			case want == nil:
				t.Errorf("%s:%d: %s\nno answer over %s is given; it is\n%s", b.path, c.line, c.query.text, transport, a)
			case want.String() != a.String():
				t.Errorf("%s:%d: %s\nover %s (-want +got):\n%s", b.path, c.line, c.query.text, transport, cmp.Diff(want.lines(), a.lines()))
			}
		}
		if *update {
			c.want = got
		}
	}
}

// TestStatements finds the statements of the conformance list that no test names. A statement is named by its ID, in the name of
// a test or in a case's comment, anywhere in the project's tests and their data. To list them all is not to test them: neither
// the files that do, nor any line of a test that names many, count.
func TestStatements(t *testing.T) {
	root := filepath.Join("..", "..")
	missing := statements()
	for _, dir := range []string{"pkg", "internal", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !isTestText(path) || slices.Contains(listings(), d.Name()) {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			naming := withoutLists(string(text))
			missing = slices.DeleteFunc(missing, func(id string) bool { return named(naming, id) })
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(missing) > 0 {
		t.Errorf("no test names %s", strings.Join(missing, ", "))
	}
}

// statements are the IDs of what an authoritative server must and should do on the wire: header and question, EDNS, TCP.
func statements() []string {
	return strings.Fields(`
		A-01 A-02 A-03 A-04 A-05 A-06 A-07 A-08 A-09 A-10 A-11 A-12 A-13 A-14 A-15 A-16 A-17 A-18 A-19 A-20 A-21 A-22 A-23
		A-30 A-31 A-32 A-33 A-34 A-35 A-36 A-37 A-38 A-39 A-40 A-41 A-42 A-43 A-45 A-46 A-60 A-61 A-62 A-67`)
}

// listings are the files that list all statements.
func listings() []string { return []string{"behavior_test.go", "probe_language_test.go"} }

// idsMax is how many statements a line may name that tests them.
const idsMax = 8

// withoutLists is a text without the lines that name more than idsMax statements.
func withoutLists(text string) string {
	id := regexp.MustCompile(`\bA-[0-9]{2}\b`)
	var b strings.Builder
	for line := range strings.Lines(text) {
		if len(id.FindAllString(line, idsMax+1)) <= idsMax {
			b.WriteString(line)
		}
	}
	return b.String()
}

// isTestText says whether a file is a test's source or data that people write; corpora of fuzzing name nothing.
func isTestText(path string) bool {
	slash := filepath.ToSlash(path)
	if strings.Contains(slash, "/testdata/") {
		return !strings.Contains(slash, "/testdata/fuzz/") && slices.Contains([]string{".txt", ".txtar", ".yaml", ".zone"}, filepath.Ext(path))
	}
	return strings.HasSuffix(path, "_test.go")
}

// named says whether a text has an ID that no digit follows.
func named(text, id string) bool {
	for {
		_, after, found := strings.Cut(text, id)
		if !found || after == "" || after[0] < '0' || after[0] > '9' {
			return found
		}
		text = after
	}
}
