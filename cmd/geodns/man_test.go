package main_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestMan builds the command that writes the manual, and checks that the pages are the same each time and that a manual's reader
// has nothing against them.
func TestMan(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the command")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command: the manual is not built")
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "geodns-man")
	execute(t, nil, "go", "build", "-tags", "man", "-o", binary, ".")
	once, again, dated := filepath.Join(dir, "once"), filepath.Join(dir, "again"), filepath.Join(dir, "dated")
	execute(t, nil, binary, "man", once)
	execute(t, nil, binary, "man", again)
	execute(t, []string{"SOURCE_DATE_EPOCH=1700000000"}, binary, "man", dated)

	pages, err := filepath.Glob(filepath.Join(once, "*.1"))
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) < 20 {
		t.Errorf("%d pages: %q", len(pages), pages)
	}
	for _, page := range pages {
		if !bytes.Equal(read(t, page), read(t, filepath.Join(again, filepath.Base(page)))) {
			t.Errorf("%s is another one each time", filepath.Base(page))
		}
	}
	drain := read(t, filepath.Join(once, "geodns-drain.1"))
	for _, want := range []string{`.TH "GEODNS-DRAIN" "1" "" `, `\fB--reason\fP`, "\n.SH EXIT STATUS\n.TP\n\\fB0\\fP\n"} {
		if !bytes.Contains(drain, []byte(want)) {
			t.Errorf("geodns-drain.1 has no %q", want)
		}
	}
	if !bytes.Contains(read(t, filepath.Join(dated, "geodns.1")), []byte(`"2023-11-14"`)) {
		t.Error("the pages do not have the day of SOURCE_DATE_EPOCH")
	}
	if _, err := exec.LookPath("man"); err != nil {
		t.Log("no man command: the pages are not rendered")
		return
	}
	for _, page := range pages {
		if text := execute(t, []string{"LC_ALL=C.UTF-8"}, "man", "--warnings", "-l", page); text != "" {
			t.Errorf("%s: %s", filepath.Base(page), text)
		}
	}
}

// execute runs a program, and gives what it says on standard error.
func execute(t *testing.T, environment []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), environment...)
	var out bytes.Buffer
	cmd.Stderr = &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, &out)
	}
	return out.String()
}

// read reads a file.
func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
