package source_test

import (
	"strings"
	"testing"

	"geodns/internal/source"
)

// TestYAMLSyntaxPlaces holds the places of what no YAML reader can make sense of.
func TestYAMLSyntaxPlaces(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a: [1\nb: 2\n", "2:1: error: not valid YAML: did not find expected ',' or ']'"},
		{"a: 1\nb: [1\nc: 2\n", "2:1: error: not valid YAML: did not find expected ',' or ']'"},
		{"a: 1\nb: {c: 1\nd: 2\n", "2:1: error: not valid YAML: did not find expected ',' or '}'"},
		{"a: 1\nb:\n\t- c\n", "3:1: error: not valid YAML: found character that cannot start any token"},
		{"a: 1\nb: \"c\nd: 2\n", "2:1: error: not valid YAML: found unexpected end of stream"},
		{"a: 1\nb: *\n", "2:1: error: not valid YAML: did not find expected alphabetic or numeric character"},
		{"a: 1\n  b: 2\n", "2:1: error: not valid YAML: mapping values are not allowed in this context"},
		{"a: 1\nb: # *c\n  - x*c\n  - [*cc]\n", "4:6: error: not valid YAML: unknown anchor 'cc' referenced"},
		{"a: 1\nb: \xff\n", "2:4: error: not valid YAML: byte 0xff is not UTF-8"},
		{"a: 1\nb: c\x00\n", "2:5: error: not valid YAML: character U+0000 may not stand in a file"},
		{"\xff\xfea\x00", "1:1: error: not valid YAML: the file is in UTF-16; save it as UTF-8"},
		{"\xef\xbb\xbfa: 1\n", ""},
		{"a: \xef\xbb\xbf1\n", "1:4: error: not valid YAML: character U+FEFF may not stand in a file"},
		{"a: münchen\u00a0\r\n", ""},
		{"a: 1\nbü: \u0085", "2:5: error: not valid YAML: character U+0085 may not stand in a file"},
		{"a: \u2028", "1:4: error: not valid YAML: character U+2028 may not stand in a file"},
		{"a: 1\rb: 2", "1:5: error: not valid YAML: a carriage return without a line feed; lines end with one"},
		{"a: 1\r", "1:5: error: not valid YAML: a carriage return without a line feed; lines end with one"},
	} {
		var fs source.Findings
		_, ok := source.ParseYAML("f", []byte(c.text), &fs)
		var got []string
		for _, f := range fs {
			got = append(got, strings.TrimPrefix(f.String(), "f:"))
		}
		if strings.Join(got, "\n") != c.want || ok != (c.want == "") {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
	}
}
