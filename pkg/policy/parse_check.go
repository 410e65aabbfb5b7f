package policy

import (
	"geodns/internal/source"
	"geodns/pkg/health"
)

// A check is made of layers: the built-in defaults, a profile, the check, and what a target has of its own, again with a
// profile if it names one. Each is read by itself, into the settings of its keys; joining lays one over the other, since a
// profile may stand in another file. What is wrong with a value is found here, what is wrong with several of them together
// in check_layers.go.

// checkEntry is one layer: a profile, a check, or a target's own keys.
type checkEntry struct {
	name      string
	place     source.Place // of the name; of a target's own keys, where they begin
	what      string       // for messages: `profile "quick"`
	kind      health.Kind  // 0: none is given
	kindPlace source.Place
	profile   ref
	settings  []setting // in the order of checkKeys
	broken    bool

	// Set by joining.

	layers []*checkEntry // all that the check is made of, the lowest first; the last is this one
	check  *health.Check // nil if something is wrong with a layer
}

// setting is a key that is given, and what it does to a check.
type setting struct {
	key   string // with its section: "latency.slow", "https.path"
	place source.Place
	set   func(*health.Check)
}

// setting finds what the layer says of a key.
func (e *checkEntry) setting(key string) (setting, bool) {
	for _, s := range e.settings {
		if s.key == key {
			return s, true
		}
	}
	return setting{}, false
}

// checkKey is one key of a layer, or of a section of one.
type checkKey struct {
	name string
	need string                            // what should stand there, where it must be given; "": it may be left out
	read func(v source.Value, path string) // nil: whoever reads the section reads it
}

// layerReader reads the keys of one layer.
type layerReader struct {
	*parser

	entry *checkEntry
	whole bool // what must be given must stand here: in a check, not in what a target has of its own
}

// section reads a mapping of such keys. path is "" or what their paths begin with, "latency.".
func (r *layerReader) section(v source.Value, path string, keys []checkKey) (source.Map, bool) {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	m, ok := v.Map(r.fs, names...)
	if !ok {
		return m, false
	}
	for _, k := range keys {
		value := m.Get(k.name)
		switch {
		case r.whole && k.need != "":
			var given bool
			if value, given = r.need(m, k.name, k.need); given {
				k.read(value, path+k.name)
			}
		case k.read != nil && value.Exists():
			k.read(value, path+k.name)
		}
	}
	return m, true
}

// add keeps what a key says.
func (r *layerReader) add(key string, at source.Place, set func(*health.Check)) {
	r.entry.settings = append(r.entry.settings, setting{key, at, set})
}

// plain is a key whose value is read by one func and put into a check by another.
func plain[T any](r *layerReader, name string, read func(source.Value) (T, bool), put func(*health.Check, T)) checkKey {
	return checkKey{name: name, read: func(v source.Value, path string) {
		if x, ok := read(v); ok {
			r.add(path, v.Place(), func(c *health.Check) { put(c, x) })
		}
	}}
}

// nested is a key with a section of its own.
func nested(r *layerReader, name string, keys func() []checkKey) checkKey {
	return checkKey{name: name, read: func(v source.Value, path string) { r.section(v, path+".", keys()) }}
}

// check reads one entry of `checks`.
func (p *parser) check(v source.Value) (*checkEntry, bool) {
	mark := p.mark()
	e := &checkEntry{}
	r := &layerReader{p, e, true}
	m, ok := r.section(v, "", append(named("name", "profile"), r.checkKeys()...))
	if !ok {
		return nil, false
	}
	e.name, e.place = p.name(m)
	e.what = "check \"" + clip(e.name) + "\""
	e.profile = p.ref(m.Get("profile"))
	r.kind(m)
	e.broken = p.failed(mark)
	return e, e.name != ""
}

// profile reads one entry of `profiles`: keys of checks of every kind.
func (p *parser) profile(v source.Value) (*checkEntry, bool) {
	mark := p.mark()
	e := &checkEntry{}
	r := &layerReader{p, e, true}
	m, ok := r.section(v, "", append(named("name"), r.runKeys()...))
	if !ok {
		return nil, false
	}
	e.name, e.place = p.name(m)
	e.what = "profile \"" + clip(e.name) + "\""
	e.broken = p.failed(mark)
	return e, e.name != ""
}

// targetCheck reads what a target has of its own in its pool's check.
func (p *parser) targetCheck(v source.Value, id string) *checkEntry {
	mark := p.mark()
	e := &checkEntry{name: id, place: v.Place(), what: "target \"" + clip(id) + "\""}
	if v.Kind() == source.Scalar {
		p.errorf(v, "a target's check has the keys in which it is unlike the pool's, such as {timeout: 3s}; which check it is says the pool")
		e.broken = true
		return e
	}
	r := &layerReader{p, e, false}
	if m, ok := r.section(v, "", append(named("profile"), r.checkKeys()...)); ok {
		e.profile = p.ref(m.Get("profile"))
		r.kind(m)
	}
	if e.broken = p.failed(mark); !e.broken && e.profile.name == "" && len(e.settings) == 0 {
		p.fs.Warnf(v.Place(), "this changes nothing in the pool's check; leave it out")
	}
	return e
}

// named are keys that the caller reads.
func named(names ...string) []checkKey {
	keys := make([]checkKey, len(names))
	for i, n := range names {
		keys[i].name = n
	}
	return keys
}

// checkKeys are the keys of a check but for its name: those of kinds, which kind reads, and those of every kind.
func (r *layerReader) checkKeys() []checkKey {
	return append(named(kindWords()...), r.runKeys()...)
}
