package source_test

import (
	"strings"
	"testing"
	"time"

	"geodns/internal/source"
)

func TestFindings(t *testing.T) {
	var fs source.Findings
	if fs.Err() != nil || fs.HasErrors() {
		t.Fatal("no findings are an error")
	}
	fs.Warnf(source.Place{File: "b", Line: 1, Col: 2}, "odd")
	if fs.Err() != nil {
		t.Fatal("a warning is an error")
	}
	fs.Errorf(source.Place{File: "b", Line: 10, Col: 2}, "bad\nnews")
	fs.Errorf(source.Place{File: "a", Line: 3, Col: 1}, "worse")
	fs.Sort()
	var got []string
	for _, f := range fs {
		got = append(got, f.String())
	}
	want := "a:3:1: error: worse|b:1:2: warning: odd|b:10:2: error: bad\\nnews"
	if strings.Join(got, "|") != want {
		t.Errorf("sorted: %q, want %q", got, want)
	}
	if got := fs.Err().Error(); got != "a:3:1: error: worse (and 1 more error)" {
		t.Errorf("Err: %q", got)
	}
}

func TestNearest(t *testing.T) {
	for _, c := range [][2]string{{"intervall", "interval"}, {"Fall", "fall"}, {"zzz", ""}, {"poool", "pool"}} {
		if got := source.Nearest(c[0], []string{"interval", "fall", "rise", "pool"}); got != c[1] {
			t.Errorf("Nearest(%q) = %q, want %q", c[0], got, c[1])
		}
	}
}

// read parses text and reads it the way a loader does: a mapping of one key of each kind.
func read(text string) (out []string, fs source.Findings) {
	v, ok := source.ParseYAML("f.yaml", []byte(text), &fs)
	if !ok || !v.Exists() {
		return nil, fs
	}
	m, ok := v.Map(&fs, "s", "i", "f", "b", "d", "l", "m")
	if !ok {
		return nil, fs
	}
	if v := m.Get("s"); v.Exists() {
		s, _ := v.String(&fs)
		out = append(out, s)
	}
	if v := m.Get("i"); v.Exists() {
		v.Int(&fs, 0, 10)
	}
	if v := m.Get("f"); v.Exists() {
		v.Float(&fs, -1, 1)
	}
	if v := m.Get("b"); v.Exists() {
		v.Bool(&fs)
	}
	if v := m.Get("d"); v.Exists() {
		v.Duration(&fs, 0, time.Minute)
	}
	if v := m.Get("l"); v.Exists() {
		v.List(&fs)
	}
	if v := m.Get("m"); v.Exists() {
		es, _ := v.Entries(&fs)
		for _, e := range es {
			out = append(out, e.Key+"="+e.Value.Text())
		}
	}
	return out, fs
}

func TestYAML(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", ""},
		{"comment alone", "# nothing\n", ""},
		{"null", "---\n~\n", ""},
		{"good", "s: abc\ni: 3\nf: 0.5\nb: true\nd: 5s\nl: [1]\nm: {a: 1}\nx-free: [whatever]\n", ""},
		{"unknown key", "s: abc\nsz: 1\n", "f.yaml:2:1: error: unknown key \"sz\"; did you mean \"s\"?"},
		{"doubled key", "s: abc\ns: def\n", "f.yaml:2:1: error: key \"s\" stands twice; the first is at 1:1"},
		{"number for string", "s: 12\n", "f.yaml:1:4: error: a string is wanted here; YAML may read 12 as something else: write \"12\""},
		{"Norway", "s: no\n", "f.yaml:1:4: error: a string is wanted here; YAML may read no as something else: write \"no\""},
		{"quoted Norway", "s: 'no'\n", ""},
		{"string for number", "i: abc\n", "f.yaml:1:4: error: a whole number from 0 to 10 is wanted here, not \"abc\""},
		{"octal", "i: 010\n", ""},
		{"out of range", "i: 11\n", "f.yaml:1:4: error: 11 is out of range: from 0 to 10"},
		{"nan", "f: .nan\n", "f.yaml:1:4: error: a number is wanted here, not \".nan\""},
		{"yes", "b: yes\n", "f.yaml:1:4: error: true or false is wanted here, not \"yes\""},
		{"no unit", "d: 5\n", "f.yaml:1:4: error: a time with its unit is wanted here, such as 5s, 500ms or 1h30m, not \"5\""},
		{"too long", "d: 2m\n", "f.yaml:1:4: error: 2m0s is out of range: from 0s to 1m0s"},
		{"list for map", "m: [1]\n", "f.yaml:1:4: error: a mapping is wanted here, not a list"},
		{"list", "- a\n", "f.yaml:1:1: error: a mapping is wanted here, not a list"},
		{"two documents", "s: a\n---\ns: b\n", "f.yaml:2:1: error: a second document begins here; a file holds one"},
		{"syntax", "s: [a\ni: 3\n", "f.yaml:2:1: error: not valid YAML: did not find expected ',' or ']'"},
		{"unknown alias", "s: *a\n", "f.yaml:1:4: error: not valid YAML: unknown anchor 'a' referenced"},
		{"key is a list", "[a]: 1\n", "f.yaml:1:1: error: a key is wanted here, not a list"},
	} {
		_, fs := read(c.text)
		var got []string
		for _, f := range fs {
			got = append(got, f.String())
		}
		if strings.Join(got, "\n") != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestYAMLMerge(t *testing.T) {
	out, fs := read("x-a: &a {k: 1, j: 2}\nm: {<<: *a, k: 3}\n")
	if len(fs) > 0 || strings.Join(out, " ") != "k=3 j=2" {
		t.Errorf("got %q, %v", out, fs)
	}
}

func TestYAMLBomb(t *testing.T) {
	var b strings.Builder
	b.WriteString("x-a: &a0 [1,1,1,1,1,1,1,1,1,1]\n")
	for i := 1; i < 9; i++ {
		p, n := string(rune('0'+i-1)), string(rune('0'+i))
		b.WriteString("x-" + n + ": &a" + n + " [" + strings.Repeat("*a"+p+", ", 9) + "*a" + p + "]\n")
	}
	_, fs := read(b.String())
	if !fs.HasErrors() || !strings.Contains(fs[0].Message, "aliases") {
		t.Errorf("a file that multiplies itself was read: %v", fs)
	}
	_, fs = read(strings.Repeat("[", 200) + strings.Repeat("]", 200))
	if !fs.HasErrors() {
		t.Error("a very deep file was read")
	}
}

func FuzzYAML(f *testing.F) {
	for _, s := range []string{"s: a", "m: {a: 1, <<: {b: 2}}", "x: &a [*a]", "? [a]\n: b", "s: !!binary aGk="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, fs := read(text)
		for _, x := range fs {
			if x.Line < 1 || x.Col < 1 || x.Message == "" || strings.Contains(x.String(), "\n") {
				t.Errorf("finding without a place or text: %q", x.String())
			}
		}
	})
}
