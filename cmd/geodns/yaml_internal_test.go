package main

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"geodns/pkg/api"
)

// TestYAML checks the form, and that what is text stays text.
func TestYAML(t *testing.T) {
	admit := 0.5
	for _, tt := range []struct {
		name     string
		document any
		want     string
	}{
		{"order of keys, and what is left out", api.PutLease{Action: "set", Kind: "region", Name: "fra", Admit: &admit, Reason: "a: b"}, `action: set
kind: region
name: fra
admit: 0.5
reason: 'a: b'
`},
		{"texts that look like something else", map[string]string{"a": "yes", "b": "12", "c": "null", "d": "2026-11-27T00:00:00Z", "e": "", "f": "x\ny\t", "g": "~", "h": "0x10", "i": "12:30", "j": "fe80::1"}, `a: "yes"
b: "12"
c: "null"
d: "2026-11-27T00:00:00Z"
e: ""
f: "x\ny\t"
g: "~"
h: "0x10"
i: "12:30"
j: fe80::1
`},
		{"lists", map[string]any{"empty": []int{}, "full": []any{1, true, nil, map[string]any{}, []string{"a"}}}, `empty: []
full:
  - 1
  - true
  - null
  - {}
  - - a
`},
		{"numbers", []float64{1e21, 0.1, -3}, "- 1e+21\n- 0.1\n- -3\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got strings.Builder
			if err := writeYAML(&got, tt.document); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// FuzzYAML checks that YAML made from JSON says the same as the JSON.
func FuzzYAML(f *testing.F) {
	for _, seed := range []string{`{"a":[1,2.5,"x",null,true,{}]}`, `"\u0000\u2028 a"`, `[[],{"":"- #"}]`, `1e400`, `{"<<":"a","b":"*x"}`, `"a\n b\n"`, `-0`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var want any
		if len(text) > 1<<16 || json.Unmarshal(text, &want) != nil {
			return // numbers that no float64 holds are among these
		}
		node, err := yamlNode(text)
		if err != nil {
			t.Fatalf("JSON that is valid is refused: %v", err)
		}
		if repeats(node) {
			return // JSON lets a key come twice, and YAML does not; no document of ours has it
		}
		out, err := yaml.Marshal(node)
		if err != nil {
			t.Fatal(err)
		}
		var got any
		if err := yaml.Unmarshal(out, &got); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if got = plainValues(got); !cmp.Equal(got, want) {
			t.Errorf("%s\nbecame\n%s", bytes.TrimSpace(text), out)
		}
	})
}

// repeats says whether a mapping has a key twice.
func repeats(n *yaml.Node) bool {
	seen := map[string]bool{}
	for i, inner := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			if seen[inner.Value] {
				return true
			}
			seen[inner.Value] = true
		}
		if repeats(inner) {
			return true
		}
	}
	return false
}

// plainValues makes the numbers of a YAML document those of a JSON document.
func plainValues(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for key := range value {
			value[key] = plainValues(value[key])
		}
	case []any:
		for i := range value {
			value[i] = plainValues(value[i])
		}
	case int:
		return float64(value)
	case int64:
		return float64(value)
	case uint64:
		return float64(value)
	case float64:
		if value == 0 {
			return math.Copysign(0, 1) // -0 equals 0
		}
	}
	return value
}
