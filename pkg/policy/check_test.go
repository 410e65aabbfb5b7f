package policy_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"

	"geodns/internal/source"
	"geodns/pkg/policy"
)

var update = flag.Bool("update", false, "write the expected findings of testdata/findings anew")

// TestFindings loads the folders of testdata/findings/*.txtar and compares what is found in them. A case is a folder of
// the archive; its file `want` has the findings, one a line, and is missing if there are none.
func TestFindings(t *testing.T) {
	archives, err := filepath.Glob("testdata/findings/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range archives {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		cases, order, want := map[string]fstest.MapFS{}, []string{}, map[string]string{}
		for _, f := range archive.Files {
			folder, file, ok := strings.Cut(f.Name, "/")
			if !ok {
				t.Fatalf("%s: %s stands in no folder", name, f.Name)
			}
			if cases[folder] == nil {
				cases[folder] = fstest.MapFS{}
				order = append(order, folder)
			}
			if file == "want" {
				want[folder] = string(f.Data)
				continue
			}
			cases[folder][file] = &fstest.MapFile{Data: f.Data}
		}
		out := &txtar.Archive{Comment: archive.Comment}
		for _, folder := range order {
			got := ""
			t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar")+"/"+folder, func(t *testing.T) {
				got = lines(loadCase(t, cases[folder]))
				if got != want[folder] && !*update {
					t.Errorf("got:\n%swant:\n%s", got, want[folder])
				}
			})
			for _, f := range archive.Files {
				if strings.HasPrefix(f.Name, folder+"/") && f.Name != folder+"/want" {
					out.Files = append(out.Files, f)
				}
			}
			if got != "" {
				out.Files = append(out.Files, txtar.File{Name: folder + "/want", Data: []byte(got)})
			}
		}
		if *update {
			if err := os.WriteFile(name, txtar.Format(out), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// loadCase loads files, and checks what holds for every load: a Document if and only if there is no error, places that
// exist, the same findings each time.
func loadCase(t *testing.T, files fstest.MapFS) source.Findings {
	t.Helper()
	doc, found := policy.LoadFS(files, "")
	if (doc == nil) != found.HasErrors() {
		t.Errorf("Document %t with %d errors", doc != nil, found.Errors())
	}
	for _, f := range found {
		if why := misplaced(f, files); why != "" {
			t.Errorf("%s: %s", f, why)
		}
	}
	if _, again := policy.LoadFS(files, ""); lines(again) != lines(found) {
		t.Errorf("a second load found\n%sthe first\n%s", lines(again), lines(found))
	}
	return found
}

// misplaced says why a finding's place does not exist in the files, or its message tells nothing.
func misplaced(f source.Finding, files fstest.MapFS) string {
	file := files[filepath.ToSlash(f.File)]
	switch {
	case f.Message == "":
		return "no message"
	case f.Line == 1 && f.Col == 1:
		return ""
	case file == nil:
		return "no such file"
	}
	rows := strings.Split(string(file.Data), "\n")
	switch {
	case f.Line < 1 || f.Line > len(rows):
		return "no such line"
	case f.Col < 1 || f.Col > len(rows[f.Line-1])+1:
		return "no such column"
	}
	return ""
}

// lines are findings as `geodns check` writes them.
func lines(found source.Findings) string {
	var b strings.Builder
	for _, f := range found {
		b.WriteString(f.String() + "\n")
	}
	return b.String()
}
