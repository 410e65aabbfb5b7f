package policy_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"

	"geodns/pkg/policy"
	"geodns/pkg/zone"
)

const (
	regionsFile = "regions: [{name: fra}]\n"
	restFile    = "pools: [{name: web, targets: [{name: a, region: fra, values: [192.0.2.1]}]}]\n" +
		"policies: [{name: www, all_down: servfail, rules: [{name: all, pool: web}]}]\n"
)

// write makes a file and its folders.
func write(t testing.TB, text string, path ...string) {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// link makes a symbolic link.
func link(t *testing.T, to string, path ...string) {
	t.Helper()
	if err := os.Symlink(to, filepath.Join(path...)); err != nil {
		t.Fatal(err)
	}
}

// TestLoad reads folders of the file system; DIR in what is expected stands for the folder.
func TestLoad(t *testing.T) {
	for _, c := range []struct {
		name  string
		write func(t *testing.T, dir string)
		want  string
		fine  bool
	}{
		{"plain", func(t *testing.T, dir string) {
			write(t, regionsFile, dir, "a.yaml")
			write(t, restFile, dir, "some", "where", "b.yaml")
		}, "", true},
		{"empty", func(*testing.T, string) {}, "", true},
		{"volume of a cluster", func(t *testing.T, dir string) {
			write(t, regionsFile, dir, "..2026_11_23", "a.yaml")
			write(t, restFile, dir, "..2026_11_23", "b.yaml")
			link(t, "..2026_11_23", dir, "..data")
			link(t, "..data/a.yaml", dir, "a.yaml")
			link(t, "..data/b.yaml", dir, "b.yaml")
		}, "", true},
		{"links to files", func(t *testing.T, dir string) {
			write(t, regionsFile, dir, "a.txt")
			write(t, restFile, dir, "b.yaml")
			link(t, "a.txt", dir, "c.yaml")
		}, "", true},
		{"link to a folder", func(t *testing.T, dir string) {
			write(t, regionsFile, dir, "sub", "a.yaml")
			write(t, restFile, dir, "b.yaml")
			link(t, "sub", dir, "again")
		}, "DIR/again:1:1: warning: this link to a folder is not followed\n", true},
		{"link out of the folder", func(t *testing.T, dir string) {
			out := t.TempDir()
			write(t, regionsFile, out, "a.yaml")
			link(t, filepath.Join(out, "a.yaml"), dir, "a.yaml")
			write(t, restFile, dir, "b.yaml")
		}, "DIR/a.yaml:1:1: error: it cannot be read: path escapes from parent\n", false},
		{"link to nothing", func(t *testing.T, dir string) {
			link(t, "none.yaml", dir, "a.yaml")
		}, "DIR/a.yaml:1:1: error: it cannot be read: no such file or directory\n", false},
		{"pipe", func(t *testing.T, dir string) {
			if err := unix.Mkfifo(filepath.Join(dir, "a.yaml"), 0o600); err != nil {
				t.Skip(err)
			}
		}, "DIR/a.yaml:1:1: error: it cannot be read: it is no regular file (p---------)\n", false},
		{"folder named as a file", func(t *testing.T, dir string) {
			write(t, regionsFile, dir, "sub.yaml", "a.yaml")
			write(t, restFile, dir, "sub.yaml", "b.yaml")
		}, "", true},
		{"too long", func(t *testing.T, dir string) {
			write(t, strings.Repeat("#", 17<<20), dir, "a.yaml")
		}, "DIR/a.yaml:1:1: error: the file has 16777217 bytes; at most 16777216 are read\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			c.write(t, dir)
			doc, found := policy.Load(dir)
			if got := strings.ReplaceAll(lines(found), dir, "DIR"); got != c.want || (doc != nil) != c.fine {
				t.Errorf("Document %t, findings:\n%swant:\n%s", doc != nil, got, c.want)
			}
		})
	}
}

func TestLoadWithoutFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	doc, found := policy.Load(dir)
	if want := dir + ":1:1: error: the folder cannot be read: no such file or directory\n"; doc != nil || lines(found) != want {
		t.Errorf("Document %t, findings %s", doc != nil, lines(found))
	}
}

func TestTooManyFiles(t *testing.T) {
	files := fstest.MapFS{}
	for i := range policy.FilesMax + 1 {
		files["d/"+strings.Repeat("x", i%100)+string(rune('a'+i%26))+strings.Repeat("y", i/100)+".yaml"] = &fstest.MapFile{}
	}
	doc, found := policy.LoadFS(files, "zones")
	if want := "zones:1:1: error: 10001 policy files; at most 10000 are read\n"; doc != nil || lines(found) != want {
		t.Errorf("Document %t, %d files, findings %s", doc != nil, len(files), lines(found))
	}
}

// TestWorld: the sample of testdata/world, which other tests serve, is without findings, and its zone names its policies,
// all of them.
func TestWorld(t *testing.T) {
	doc, found := policy.Load("testdata/world")
	if doc == nil || len(found) > 0 {
		t.Fatalf("findings:\n%s", lines(found))
	}
	if len(doc.Regions) != 8 || len(doc.Policies) != 6 || !doc.Policy("media").Hosts() || !doc.Policy("edge").Flatten {
		t.Errorf("%d regions, %d policies", len(doc.Regions), len(doc.Policies))
	}
	zones, zoneFound := zone.Load("testdata/world", 1)
	if zones == nil || len(zoneFound) > 0 {
		t.Fatalf("findings:\n%s", lines(zoneFound))
	}
	named := zones.SteerPolicies()
	slices.Sort(named)
	var have []string
	for _, p := range doc.Policies {
		have = append(have, p.Name)
	}
	if !slices.Equal(named, have) {
		t.Errorf("the zone names %v, the files have %v", named, have)
	}
}
