package policy_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"
)

// samples are valid policy files, of testdata/world and of the cases that find nothing.
func samples(t testing.TB) []string {
	t.Helper()
	names, err := filepath.Glob("testdata/world/*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	var world []byte
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		world = append(world, data...)
	}
	out := []string{string(world)}
	for _, name := range []string{"regions", "profiles", "checks", "pools", "policies", "rules", "fences"} {
		archive, err := txtar.ParseFile("testdata/findings/" + name + ".txtar")
		if err != nil {
			t.Fatal(err)
		}
		bad := map[string]bool{}
		for _, f := range archive.Files {
			if dir, base := filepath.Split(f.Name); base == "want" {
				bad[dir] = true
			}
		}
		for _, f := range archive.Files {
			if dir, _ := filepath.Split(f.Name); !bad[dir] {
				out = append(out, string(f.Data))
			}
		}
	}
	return out
}

// mutate changes a text in one to four places: bytes and lines deleted, doubled, swapped or replaced by what has a meaning
// to YAML or to policies.
func mutate(r *rand.Rand, text string) string {
	words := []string{
		"", " ", "\n", "\t", ":", "- ", "{", "}", "[", "]", ",", "\"", "'", "#", "&a ", "*a", "<<: ", "~", "null", "no", "0", "-1", "1e9", ".nan",
		"999999999999999999999", "x-y: ", "name", "fra", "web", "EU", "unknown", "192.0.2.1", "::", "/0", "5s", "none", "\x00", "\xff", "é", "*", "!!int ",
	}
	b := []byte(text)
	for range 1 + r.IntN(4) {
		if len(b) == 0 {
			break
		}
		i := r.IntN(len(b))
		switch r.IntN(7) {
		case 0: // a byte less
			b = append(b[:i:i], b[i+1:]...)
		case 1: // a byte changed
			b[i] ^= 1 << r.IntN(8)
		case 2: // a word put in
			b = append(b[:i:i], append([]byte(words[r.IntN(len(words))]), b[i:]...)...)
		case 3: // a word replaced
			j := i
			for j < len(b) && bytes.IndexByte([]byte(" ,:[]{}\n"), b[j]) < 0 {
				j++
			}
			b = append(b[:i:i], append([]byte(words[r.IntN(len(words))]), b[j:]...)...)
		case 4: // a line doubled
			from, to := line(b, i)
			b = append(b[:to:to], append(append([]byte("\n"), b[from:to]...), b[to:]...)...)
		case 5: // a line less
			from, to := line(b, i)
			b = append(b[:from:from], b[min(to+1, len(b)):]...)
		case 6: // cut off
			if r.IntN(4) == 0 {
				b = b[:i]
			}
		}
	}
	return string(b)
}

// line gives where the line around a byte begins and ends.
func line(b []byte, i int) (from, to int) {
	from, to = bytes.LastIndexByte(b[:i], '\n')+1, len(b)
	if n := bytes.IndexByte(b[i:], '\n'); n >= 0 {
		to = i + n
	}
	return from, to
}

// TestMutated: 1,000 files that went wrong in small ways give a Document or errors, never both, none or a panic, and each
// finding a place that exists.
func TestMutated(t *testing.T) {
	const seed1, seed2 = 2026, 11 // a failing mutation is printed whole
	r := rand.New(rand.NewPCG(seed1, seed2))
	texts := samples(t)
	refused := 0
	for i := range 1000 {
		text := mutate(r, texts[i%len(texts)])
		found := loadCase(t, fstest.MapFS{"a.yaml": {Data: []byte(text)}})
		if found.HasErrors() {
			refused++
		}
		if t.Failed() {
			t.Fatalf("mutation %d:\n%s", i, text)
		}
	}
	t.Logf("%d of 1000 refused", refused)
	if refused < 500 || refused == 1000 {
		t.Errorf("%d of 1000 mutations are refused", refused)
	}
}

// FuzzParse: no text makes the loader panic, load with errors or refuse without, or place a finding nowhere.
func FuzzParse(f *testing.F) {
	names, err := filepath.Glob("testdata/findings/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			if filepath.Ext(file.Name) == ".yaml" {
				f.Add(string(file.Data))
			}
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		loadCase(t, fstest.MapFS{"a.yaml": {Data: []byte(text)}})
	})
}
