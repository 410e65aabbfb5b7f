// Package geodns_test holds the repository to its own rules: which package may import which, one doc comment for each,
// which modules the binary is made of, how long a file may be. It has no code of its own to test.
package geodns_test

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite docs/dependencies.txt")

const (
	module = "geodns"
	// linesMax: a longer file has more than one idea in it.
	linesMax         = 1000
	dependenciesFile = "docs/dependencies.txt"
)

// packages is the permitted imports among our packages. In "a, b < c" the package c may import a and b, and nothing of ours
// that no line names: an edge is not inherited. "all" is every package named before it. The data plane (dnswire, zone,
// steering, server) stands above the control plane and imports none of it.
//
// A new package needs a noun, a doc comment and a line here. Do not edit a line to make a build pass: say in the commit why
// the design is better with the new edge.
const packages = `
	NONE < pkg/dnswire, pkg/steering, internal/source, internal/durable;
	internal/source < pkg/geo;
	pkg/geo, internal/durable < pkg/rum;
	pkg/dnswire, pkg/steering, internal/source < pkg/zone;
	pkg/dnswire, pkg/zone, pkg/steering < pkg/server;
	pkg/dnswire, pkg/steering, internal/durable < pkg/health;
	pkg/dnswire, pkg/zone, pkg/steering, pkg/geo, pkg/rum, pkg/health, internal/source < pkg/policy;
	pkg/steering, pkg/health, pkg/policy, internal/durable, internal/source < pkg/operator;
	pkg/server, pkg/zone, pkg/steering, pkg/geo, pkg/rum, pkg/health, pkg/policy, pkg/operator, internal/source < pkg/api;
	all < internal/node < cmd/geodns;
	all < internal/dnstest;
	NONE < deploy/sample, bench, bench/peers, bench/growth;
`

// modules says which packages may import which other modules; what is not here is not used. Tests may import anything.
const modules = `
	github.com/miekg/dns < pkg/zone, pkg/server, pkg/health, internal/dnstest;
	github.com/cespare/xxhash/v2 < pkg/steering;
	github.com/dchest/siphash < pkg/server;
	github.com/oschwald/maxminddb-golang/v2, github.com/oschwald/geoip2-golang/v2 < pkg/geo;
	go.yaml.in/yaml/v3 < internal/source, cmd/geodns;
	golang.org/x/sys < pkg/server, bench/peers;
	github.com/maxmind/mmdbwriter < bench/peers;
	github.com/danielgtaylor/huma/v2, github.com/prometheus/client_golang, golang.org/x/net/netutil,
	github.com/coreos/go-oidc/v3, github.com/go-jose/go-jose/v4 < pkg/api;
	github.com/fsnotify/fsnotify < internal/node;
	github.com/spf13/cobra, github.com/spf13/pflag, github.com/spf13/viper, github.com/go-viper/mapstructure/v2, golang.org/x/term < cmd/geodns;
`

// testSupport packages may be imported by tests alone.
var testSupport = []string{"internal/dnstest"}

// rules maps an importer to what it may import.
type rules map[string][]string

// parseRules reads the "a, b < c, d;" language. A chain a < b < c permits b to import a, and c to import a and b.
func parseRules(t *testing.T, text string) rules {
	t.Helper()
	permitted := rules{}
	var named []string
	for statement := range strings.SplitSeq(text, ";") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		var below []string
		for i, side := range strings.Split(statement, "<") {
			var names []string
			for name := range strings.SplitSeq(side, ",") {
				name = strings.TrimSpace(name)
				switch name {
				case "":
					t.Fatalf("rule %q: an empty name", statement)
				case "NONE":
				case "all":
					names = append(names, named...)
				default:
					names = append(names, name)
				}
			}
			if i > 0 {
				for _, name := range names {
					permitted[name] = append(permitted[name], below...)
				}
			}
			below = append(below, names...)
		}
		for _, name := range below {
			if !slices.Contains(named, name) {
				named = append(named, name)
			}
		}
	}
	return permitted
}

// allows reports whether importer may import what; a rule for a module covers the packages in it.
func (r rules) allows(importer, what string) bool {
	return slices.ContainsFunc(r[importer], func(allowed string) bool {
		return what == allowed || strings.HasPrefix(what, allowed+"/")
	})
}

// source is one Go file of ours, parsed to its imports.
type source struct {
	path string // slash-separated, relative to the root
	dir  string
	test bool
	ast  *ast.File
}

// sources parses every Go file of the repository up to its imports, whatever platform it is for. Programs that only
// `go generate` runs are in no package, and left out.
func sources(t *testing.T) []source {
	t.Helper()
	var files []source
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != "." && (base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		if generator(file) {
			return nil
		}
		slash := filepath.ToSlash(name)
		files = append(files, source{path: slash, dir: path.Dir(slash), test: strings.HasSuffix(slash, "_test.go"), ast: file})
		return nil
	})
	if err != nil {
		t.Fatalf("reading our sources: %v", err)
	}
	return files
}

// generator reports whether a file is kept out of every build.
func generator(file *ast.File) bool {
	for _, group := range file.Comments {
		for _, comment := range group.List {
			if comment.Text == "//go:build ignore" && comment.Pos() < file.Package {
				return true
			}
		}
	}
	return false
}

// TestImports checks every import of every package against the two lists above.
func TestImports(t *testing.T) {
	ours, others := parseRules(t, packages), parseRules(t, modules)
	for _, file := range sources(t) {
		if file.test {
			continue
		}
		if !listed(file.dir) {
			t.Errorf("%s: package %q has no line in the list of permitted imports", file.path, file.dir)
			continue
		}
		for _, spec := range file.ast.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatalf("%s: import %s: %v", file.path, spec.Path.Value, err)
			}
			inside, isOurs := strings.CutPrefix(imported, module+"/")
			first, _, _ := strings.Cut(imported, "/")
			switch {
			case isOurs && slices.Contains(testSupport, inside):
				t.Errorf("%s imports %s, which is for tests alone", file.path, inside)
			case isOurs && !ours.allows(file.dir, inside):
				t.Errorf("%s: %s may not import %s", file.path, file.dir, inside)
			case isOurs:
			case imported == "C" || imported == "plugin":
				t.Errorf("%s imports %q; the binary is static Go", file.path, imported)
			case strings.Contains(first, ".") && !others.allows(file.dir, imported):
				t.Errorf("%s: %s may not import %s", file.path, file.dir, imported)
			}
		}
	}
}

// listed reports whether the package list names dir at all.
func listed(dir string) bool {
	return slices.Contains(strings.FieldsFunc(packages, func(r rune) bool {
		return strings.ContainsRune(" \t\n,;<", r)
	}), dir)
}

// TestRulesParse checks the little language on rules small enough to see through.
func TestRulesParse(t *testing.T) {
	got := parseRules(t, "NONE < a, b; a < c; a, c < d < e; all < f;")
	for _, want := range []struct {
		importer, imported string
		ok                 bool
	}{
		{"a", "b", false},
		{"c", "a", true},
		{"c", "a/inner", true},
		{"c", "ab", false},
		{"c", "b", false},
		{"d", "c", true},
		{"e", "a", true},
		{"e", "d", true},
		{"e", "b", false},
		{"f", "b", true},
		{"f", "e", true},
		{"b", "f", false},
	} {
		if ok := got.allows(want.importer, want.imported); ok != want.ok {
			t.Errorf("%s imports %s: permitted %v, want %v", want.importer, want.imported, ok, want.ok)
		}
	}
}

// TestWall states the import rules once more as a negative, so that an edit to the list above cannot open the wall unseen:
// the data plane imports none of the control plane, not even through another package.
func TestWall(t *testing.T) {
	data := []string{"pkg/dnswire", "pkg/zone", "pkg/steering", "pkg/server"}
	control := []string{"pkg/geo", "pkg/health", "pkg/rum", "pkg/policy", "pkg/operator", "pkg/api", "internal/node"}
	edges := map[string][]string{}
	for _, file := range sources(t) {
		if file.test {
			continue
		}
		for _, spec := range file.ast.Imports {
			if inside, ok := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), module+"/"); ok {
				edges[file.dir] = append(edges[file.dir], inside)
			}
		}
	}
	for _, from := range data {
		seen := map[string]bool{}
		todo := []string{from}
		for len(todo) > 0 {
			next := todo[0]
			todo = todo[1:]
			if seen[next] {
				continue
			}
			seen[next] = true
			if slices.Contains(control, next) {
				t.Errorf("%s reaches %s", from, next)
			}
			todo = append(todo, edges[next]...)
		}
	}
}

// TestDocComments checks that every package has exactly one doc comment, of a sentence or more.
func TestDocComments(t *testing.T) {
	docs := map[string][]string{}
	for _, file := range sources(t) {
		if file.test && file.dir != "." {
			continue
		}
		docs[file.dir] = append(docs[file.dir], "")
		if file.ast.Doc != nil {
			docs[file.dir][len(docs[file.dir])-1] = file.path
			if text := file.ast.Doc.Text(); len(strings.Fields(text)) < 5 {
				t.Errorf("%s: the package's doc comment says too little: %q", file.path, text)
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(docs)) {
		var with []string
		for _, file := range docs[dir] {
			if file != "" {
				with = append(with, file)
			}
		}
		if len(with) != 1 {
			t.Errorf("package %s has %d doc comments, want one: %v", dir, len(with), with)
		}
	}
}

// TestFileLengths checks that no file is so long that nobody reads it.
func TestFileLengths(t *testing.T) {
	for _, file := range sources(t) {
		text, err := os.ReadFile(filepath.FromSlash(file.path))
		if err != nil {
			t.Fatal(err)
		}
		if generated(text) {
			continue
		}
		if lines := bytes.Count(text, []byte("\n")); lines > linesMax {
			t.Errorf("%s has %d lines, at most %d are wanted: split it by what its parts are about", file.path, lines, linesMax)
		}
	}
}

// generated reports whether a Go file says of itself that it was generated.
func generated(text []byte) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if bytes.HasPrefix(line, []byte("// Code generated ")) && bytes.HasSuffix(line, []byte(" DO NOT EDIT.")) {
			return true
		}
		if bytes.HasPrefix(line, []byte("package ")) {
			return false
		}
	}
	return false
}

// TestDependencies checks that the modules which the binary is made of are those of the checked-in list, so that a new one
// is seen in the change that brings it. `make gen` rewrites the list.
func TestDependencies(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command: the dependency list is not checked")
	}
	list := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}", "./cmd/geodns")
	// One platform, so that the list is the same wherever it is made.
	list.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := list.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("%v: %v\n%s", list.Args, err, exit.Stderr)
		}
		t.Fatalf("%v: %v", list.Args, err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	lines = slices.DeleteFunc(lines, func(line string) bool { return line == "" })
	slices.SortFunc(lines, cmp.Compare)
	got := strings.Join(slices.Compact(lines), "\n") + "\n"
	if *update {
		if err = os.WriteFile(dependenciesFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(dependenciesFile)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the binary's modules are not those of %s (make gen rewrites it; say in the commit why):\n--- listed\n%s--- used\n%s", dependenciesFile, want, got)
	}
}

// TestNoReplace checks that go.mod points nowhere but at released versions.
func TestNoReplace(t *testing.T) {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if word, _, _ := strings.Cut(strings.TrimSpace(line), " "); word == "replace" || word == "exclude" {
			t.Errorf("go.mod: %s: what is built here must build anywhere", strings.TrimSpace(line))
		}
	}
}
