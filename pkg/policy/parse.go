package policy

import (
	"fmt"
	"net/url"
	"strings"

	"geodns/internal/source"
)

// File is what one policy file holds, its names not yet joined with those of other files.
type File struct {
	Name string

	regions  []*Region
	profiles []*checkEntry
	checks   []*checkEntry
	pools    []*Pool
	maps     []*Map
	policies []*Policy
	// opaque says that the file could not be read through, so that names may be missing that it would have given.
	opaque bool
}

// Parse reads one policy file, adding to fs what is wrong with it. The File is never nil and holds what could be read;
// it is of use only to the joining that follows, since a File with an error is never loaded.
func Parse(file string, data []byte, fs *source.Findings) *File {
	f := &File{Name: file}
	root, ok := source.ParseYAML(file, data, fs)
	if !ok {
		f.opaque = true
		return f
	}
	if !root.Exists() {
		return f
	}
	p := &parser{fs: fs}
	mark := p.mark()
	m, ok := root.Map(fs, "regions", "profiles", "checks", "pools", "maps", "policies")
	if p.opaque = p.failed(mark); !ok {
		f.opaque = true
		return f
	}
	f.regions = entries(p, m, "regions", p.region)
	f.profiles = entries(p, m, "profiles", p.profile)
	f.checks = entries(p, m, "checks", p.check)
	f.pools = entries(p, m, "pools", p.pool)
	f.maps = entries(p, m, "maps", p.clientMap)
	f.policies = entries(p, m, "policies", p.policy)
	f.opaque = p.opaque
	return f
}

// parser reads values and collects what is wrong with them.
type parser struct {
	fs     *source.Findings
	opaque bool // see File
}

// entries reads a list at the top of a file. Its key may be empty: people comment out entries, the last one too.
func entries[T any](p *parser, m source.Map, key string, read func(source.Value) (T, bool)) []T {
	v := m.Get(key)
	if !v.Exists() || v.IsNull() {
		return nil
	}
	items, ok := v.List(p.fs)
	if ok && len(items) > EntriesMax {
		p.errorf(v, "%d %s; at most %d are read", len(items), key, EntriesMax)
		ok = false
	}
	if !ok {
		p.opaque = true
		return nil
	}
	out := make([]T, 0, len(items))
	for _, item := range items {
		e, named := read(item)
		if !named {
			p.opaque = true
			continue
		}
		out = append(out, e)
	}
	return out
}

// errorf reports an error at a value.
func (p *parser) errorf(v source.Value, format string, a ...any) {
	p.fs.Errorf(v.Place(), format, a...)
}

// mark remembers how much was found so far.
func (p *parser) mark() int { return len(*p.fs) }

// failed says whether an error was found since mark.
func (p *parser) failed(mark int) bool { return (*p.fs)[mark:].HasErrors() }

// region reads one entry of `regions`. It is false if the entry has no name by which others could know it.
func (p *parser) region(v source.Value) (*Region, bool) {
	mark := p.mark()
	m, ok := v.Map(p.fs, "name", "location", "pair", "jurisdictions", "cost", "capacity", "probe")
	if !ok {
		return nil, false
	}
	r := &Region{}
	r.Name, r.Place = p.name(m)
	if loc := m.Get("location"); loc.Exists() {
		r.Lat, r.Lon, r.HasLocation = p.location(loc)
	}
	r.pair = p.ref(m.Get("pair"))
	if js := m.Get("jurisdictions"); js.Exists() {
		r.jurisdictions = p.texts(js, "jurisdiction")
		for _, j := range r.jurisdictions {
			if j.name == fenceNone {
				p.fs.Errorf(j.place, "a jurisdiction cannot be named %q: that is how a rule says that it has no fence", j.name)
			}
			r.Jurisdictions = append(r.Jurisdictions, j.name)
		}
	}
	if c := m.Get("cost"); c.Exists() {
		r.Cost, _ = c.Float(p.fs, 0, costMax)
	}
	r.Capacity = p.capacity(m.Get("capacity"))
	if probe := m.Get("probe"); probe.Exists() {
		r.Probe = p.probeURL(probe)
	}
	r.broken = p.failed(mark)
	return r, r.Name != ""
}

// probeURL reads an absolute URL that a page may ask for. One with a user is refused, as it is told to everybody. Plain http
// is for pages that are plain themselves: a browser does not let another ask for it.
func (p *parser) probeURL(v source.Value) string {
	text := p.text(v, "probe")
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' }):
		p.errorf(v, "%q is no absolute URL such as https://fra.example.com/rum.gif", clip(text))
	case u.User != nil:
		p.errorf(v, "a probe is told to everybody, and has no user or password in it")
	case u.Fragment != "":
		p.errorf(v, "a probe has no fragment: write it without #%s", clip(u.Fragment))
	default:
		return text
	}
	return ""
}

// location reads [latitude, longitude] in degrees.
func (p *parser) location(v source.Value) (lat, lon float64, ok bool) {
	items, ok := v.List(&source.Findings{})
	if !ok || len(items) != 2 {
		p.errorf(v, "a location is two numbers, [latitude, longitude], such as [50.11, 8.68]")
		return 0, 0, false
	}
	lat, latOK := items[0].Float(p.fs, -180, 180)
	if latOK && (lat < -90 || lat > 90) {
		p.errorf(items[0], "latitude %g is out of range: from -90 to 90; the latitude comes first, then the longitude", lat)
		latOK = false
	}
	lon, lonOK := items[1].Float(p.fs, -180, 180)
	return lat, lon, latOK && lonOK
}

// capacity reads a capacity; 0 is for one that is not given.
func (p *parser) capacity(v source.Value) float64 {
	if !v.Exists() {
		return 0
	}
	c, ok := v.Float(p.fs, 0, capacityMax)
	if ok && c == 0 {
		p.errorf(v, "capacity 0: nothing could be served; leave the key out for no limit")
	}
	return c
}

// choice reads one of a few words and gives its number; 0 if the key is absent.
func (p *parser) choice(v source.Value, words ...string) int {
	if !v.Exists() {
		return 0
	}
	s, ok := v.String(p.fs)
	if !ok {
		return 0
	}
	for i, w := range words {
		if s == w {
			return i
		}
	}
	p.errorf(v, "%q is not known here; %s", clip(s), oneOf(s, words))
	return 0
}

// oneOf names the word that was probably meant, or all of them.
func oneOf(s string, words []string) string {
	if n := source.Nearest(s, words); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	return "it is one of " + quoted(words)
}
