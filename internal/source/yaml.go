package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Limits on a YAML file. They are far above what people write and keep a hostile file from using up the machine.
const (
	// YAMLBytesMax is the largest file that is read: 16 MiB holds some 100,000 targets.
	YAMLBytesMax = 16 << 20
	// yamlDepthMax is the deepest nesting; policies need seven levels.
	yamlDepthMax = 64
	// yamlNodesMax bounds the nodes after aliases are followed, against files that multiply themselves.
	yamlNodesMax = 4 << 20
)

// Kind is what a YAML node is.
type Kind uint8

// The kinds of a Value. Absent is the zero Value's.
const (
	Absent Kind = iota
	Scalar
	MapKind
	ListKind
)

// String gives the kind in an operator's words.
func (k Kind) String() string {
	switch k {
	case Scalar:
		return "a single value"
	case MapKind:
		return "a mapping"
	case ListKind:
		return "a list"
	case Absent:
	}
	return "nothing"
}

// Value is a YAML node with its place. The zero Value is absent.
type Value struct {
	file string
	node *yaml.Node
}

// Entry is one key of a mapping with free keys.
type Entry struct {
	Key      string
	KeyPlace Place
	Value    Value
}

// Map is a mapping whose keys were checked.
type Map struct {
	place  Place
	values map[string]Value
}

// ParseYAML reads one document. It reports what is wrong, and false if nothing can be read from it. An empty document is
// an absent Value and true.
func ParseYAML(file string, data []byte, fs *Findings) (Value, bool) {
	if len(data) > YAMLBytesMax {
		fs.Errorf(WholeFile(file), "the file has %d bytes; at most %d are read", len(data), YAMLBytesMax)
		return Value{}, false
	}
	if at, why := unreadable(file, data); why != "" {
		fs.Errorf(at, "not valid YAML: %s", why)
		return Value{}, false
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	doc, err := decode(dec)
	if errors.Is(err, io.EOF) {
		return Value{}, true
	}
	if err != nil {
		fs.Errorf(yamlErrorPlace(file, data, err), "%s", yamlErrorText(err))
		return Value{}, false
	}
	next, err := decode(dec)
	if err == nil {
		fs.Errorf(Place{file, max(next.Line, 1), max(next.Column, 1)}, "a second document begins here; a file holds one")
		return Value{}, false
	}
	if !errors.Is(err, io.EOF) {
		fs.Errorf(yamlErrorPlace(file, data, err), "%s", yamlErrorText(err))
		return Value{}, false
	}
	if len(doc.Content) == 0 {
		return Value{}, true
	}
	v := Value{file, doc.Content[0]}
	budget := yamlNodesMax
	if bad, why := v.bound(yamlDepthMax, &budget); why != "" {
		fs.Errorf(bad.Place(), "%s", why)
		return Value{}, false
	}
	if v.IsNull() {
		return Value{}, true
	}
	return v, true
}

// decode reads the next document. The parser is a library and its input hostile: should it panic, that is an error of
// the file, not the end of the process.
func decode(dec *yaml.Decoder) (n *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: the parser gave up: %v", r)
		}
	}()
	n = new(yaml.Node)
	return n, dec.Decode(n)
}

// bound walks the tree as the loaders will, aliases followed, and says where it passes a limit.
func (v Value) bound(depth int, budget *int) (bad Value, why string) {
	if depth == 0 {
		return v, fmt.Sprintf("nested deeper than %d levels", yamlDepthMax)
	}
	if *budget--; *budget < 0 {
		return v, fmt.Sprintf("more than %d values once aliases are followed", yamlNodesMax)
	}
	n := v.resolved()
	if n == nil {
		return v, "an alias that leads nowhere"
	}
	for _, c := range n.Content {
		if bad, why = (Value{v.file, c}).bound(depth-1, budget); why != "" {
			return bad, why
		}
	}
	return Value{}, ""
}

// resolved follows aliases; nil where they run in a circle.
func (v Value) resolved() *yaml.Node {
	n := v.node
	for range yamlDepthMax {
		if n == nil || n.Kind != yaml.AliasNode {
			return n
		}
		n = n.Alias
	}
	return nil
}

// Place is where the value stands (an alias: where the alias stands).
func (v Value) Place() Place {
	if v.node == nil {
		return WholeFile(v.file)
	}
	return Place{v.file, max(v.node.Line, 1), max(v.node.Column, 1)}
}

// Exists is false for a key that was not given.
func (v Value) Exists() bool { return v.node != nil }

// IsNull says that the value is given but empty (`key:` or `key: null`).
func (v Value) IsNull() bool {
	n := v.resolved()
	return n != nil && n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// Kind tells scalar, mapping and list apart.
func (v Value) Kind() Kind {
	n := v.resolved()
	if n == nil {
		return Absent
	}
	switch n.Kind {
	case yaml.ScalarNode:
		return Scalar
	case yaml.MappingNode:
		return MapKind
	case yaml.SequenceNode:
		return ListKind
	case yaml.DocumentNode, yaml.AliasNode:
	}
	return Absent
}

// Text is a scalar's text as written, whatever it would mean to YAML; "" for other kinds.
func (v Value) Text() string {
	if n := v.resolved(); n != nil && n.Kind == yaml.ScalarNode {
		return n.Value
	}
	return ""
}

// describe quotes the value for a message.
func (v Value) describe() string {
	switch {
	case !v.Exists():
		return "nothing"
	case v.IsNull():
		return "an empty value"
	case v.Kind() == Scalar:
		t := v.Text()
		if len(t) > 80 {
			t = t[:80] + "..."
		}
		return strconv.Quote(t)
	}
	return v.Kind().String()
}

// scalar gives the node of a scalar that is not empty, or reports what was wanted.
func (v Value) scalar(fs *Findings, want string) (*yaml.Node, bool) {
	if v.Kind() != Scalar || v.IsNull() {
		fs.Errorf(v.Place(), "%s is wanted here, not %s", want, v.describe())
		return nil, false
	}
	return v.resolved(), true
}

// String reads a string. A number, boolean or date is refused with the advice to quote it: YAML would change its text.
func (v Value) String(fs *Findings) (string, bool) {
	n, ok := v.scalar(fs, "a string")
	if !ok {
		return "", false
	}
	if n.ShortTag() != "!!str" || isYAML11Bool(n) {
		fs.Errorf(v.Place(), "a string is wanted here; YAML may read %s as something else: write %q", n.Value, n.Value)
		return "", false
	}
	return n.Value, true
}

// isYAML11Bool finds the plain words that YAML 1.1 readers take for booleans, so that a file means the same to all tools.
func isYAML11Bool(n *yaml.Node) bool {
	if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return false
	}
	switch strings.ToLower(n.Value) {
	case "y", "n", "yes", "no", "on", "off":
		return true
	}
	return false
}

// Int reads a decimal integer in [lo, hi].
func (v Value) Int(fs *Findings, lo, hi int64) (int64, bool) {
	n, ok := v.scalar(fs, "a whole number")
	if !ok {
		return 0, false
	}
	i, err := strconv.ParseInt(n.Value, 10, 64)
	if err != nil || n.ShortTag() != "!!int" {
		fs.Errorf(v.Place(), "a whole number from %d to %d is wanted here, not %s", lo, hi, v.describe())
		return 0, false
	}
	if i < lo || i > hi {
		fs.Errorf(v.Place(), "%d is out of range: from %d to %d", i, lo, hi)
		return 0, false
	}
	return i, true
}

// Float reads a finite number in [lo, hi].
func (v Value) Float(fs *Findings, lo, hi float64) (float64, bool) {
	n, ok := v.scalar(fs, "a number")
	if !ok {
		return 0, false
	}
	f, err := strconv.ParseFloat(n.Value, 64)
	if tag := n.ShortTag(); err != nil || (tag != "!!int" && tag != "!!float") || math.IsNaN(f) || math.IsInf(f, 0) {
		fs.Errorf(v.Place(), "a number is wanted here, not %s", v.describe())
		return 0, false
	}
	if f < lo || f > hi {
		fs.Errorf(v.Place(), "%s is out of range: from %g to %g", n.Value, lo, hi)
		return 0, false
	}
	return f, true
}

// Bool reads true or false.
func (v Value) Bool(fs *Findings) (bool, bool) {
	n, ok := v.scalar(fs, "true or false")
	if !ok {
		return false, false
	}
	if n.ShortTag() != "!!bool" || (n.Value != "true" && n.Value != "false") {
		fs.Errorf(v.Place(), "true or false is wanted here, not %s", v.describe())
		return false, false
	}
	return n.Value == "true", true
}

// Duration reads a time such as 5s, 1m30s or 24h in [lo, hi].
func (v Value) Duration(fs *Findings, lo, hi time.Duration) (time.Duration, bool) {
	n, ok := v.scalar(fs, "a time such as 5s")
	if !ok {
		return 0, false
	}
	if n.Value == "0" {
		return 0, v.inRange(fs, 0, lo, hi)
	}
	d, err := time.ParseDuration(n.Value)
	if err != nil {
		fs.Errorf(v.Place(), "a time with its unit is wanted here, such as 5s, 500ms or 1h30m, not %s", v.describe())
		return 0, false
	}
	return d, v.inRange(fs, d, lo, hi)
}

// inRange reports a time outside [lo, hi].
func (v Value) inRange(fs *Findings, d, lo, hi time.Duration) bool {
	if d < lo || d > hi {
		fs.Errorf(v.Place(), "%s is out of range: from %s to %s", d, lo, hi)
		return false
	}
	return true
}

// List reads a list's items.
func (v Value) List(fs *Findings) ([]Value, bool) {
	if v.Kind() != ListKind {
		fs.Errorf(v.Place(), "a list is wanted here, not %s", v.describe())
		return nil, false
	}
	n := v.resolved()
	out := make([]Value, len(n.Content))
	for i, c := range n.Content {
		out[i] = Value{v.file, c}
	}
	return out, true
}

// Entries reads a mapping whose keys are free, in the file's order. Doubled keys are reported; `<<` merges.
func (v Value) Entries(fs *Findings) ([]Entry, bool) {
	if v.Kind() != MapKind {
		fs.Errorf(v.Place(), "a mapping is wanted here, not %s", v.describe())
		return nil, false
	}
	n := v.resolved()
	var out, merged []Entry
	at := map[string]Place{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := Value{v.file, n.Content[i]}, Value{v.file, n.Content[i+1]}
		if n.Content[i].ShortTag() == "!!merge" {
			merged = append(merged, val.merge(fs)...)
			continue
		}
		if key.Kind() != Scalar || key.IsNull() {
			fs.Errorf(key.Place(), "a key is wanted here, not %s", key.describe())
			continue
		}
		if first, doubled := at[key.Text()]; doubled {
			fs.Errorf(key.Place(), "key %q stands twice; the first is at %d:%d", key.Text(), first.Line, first.Col)
			continue
		}
		at[key.Text()] = key.Place()
		out = append(out, Entry{key.Text(), key.Place(), val})
	}
	for _, e := range merged { // own keys win, then the earliest merged one
		if _, have := at[e.Key]; !have {
			at[e.Key] = e.KeyPlace
			out = append(out, e)
		}
	}
	return out, true
}

// merge reads what a `<<` key brings in: a mapping or a list of them.
func (v Value) merge(fs *Findings) []Entry {
	if v.Kind() != ListKind {
		es, _ := v.Entries(fs)
		return es
	}
	var out []Entry
	items, _ := v.List(fs)
	for _, item := range items {
		es, _ := item.Entries(fs)
		out = append(out, es...)
	}
	return out
}

// Map reads a mapping that may have only these keys, and keys that begin with "x-", which are free. What else stands in
// it is reported; the known keys can be read all the same.
func (v Value) Map(fs *Findings, known ...string) (Map, bool) {
	m := Map{place: v.Place(), values: map[string]Value{}}
	es, ok := v.Entries(fs)
	if !ok {
		return m, false
	}
	for _, e := range es {
		if strings.HasPrefix(e.Key, "x-") {
			continue
		}
		if !slices.Contains(known, e.Key) {
			fs.Errorf(e.KeyPlace, "unknown key %q; %s", e.Key, wouldBeRight(e.Key, known))
			continue
		}
		m.values[e.Key] = e.Value
	}
	return m, true
}

// wouldBeRight suggests the known name that was probably meant, or lists all.
func wouldBeRight(name string, known []string) string {
	if n := Nearest(name, known); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	return "known here: " + strings.Join(known, ", ")
}

// Place is where the mapping begins.
func (m Map) Place() Place { return m.place }

// Get gives the value of a key, absent if it was not given.
func (m Map) Get(key string) Value {
	if v, ok := m.values[key]; ok {
		return v
	}
	return Value{file: m.place.File}
}

// Need gives the value of a key that must be given, and reports its absence.
func (m Map) Need(fs *Findings, key string) (Value, bool) {
	v := m.Get(key)
	if !v.Exists() || v.IsNull() {
		fs.Errorf(m.place, "key %q is missing", key)
		return v, false
	}
	return v, true
}
