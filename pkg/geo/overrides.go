package geo

import (
	"cmp"
	"net/netip"
	"slices"

	"geodns/internal/source"
)

// OverridesMax is how many overrides a file may hold. People write them by hand
// or by a script from an address plan; a table of more networks than this is a
// database, and range CSV is the form for it.
const OverridesMax = 100_000

// asnMax is the highest number of an autonomous system that can be in use;
// RFC 7300 reserves the last one.
const asnMax = 1<<32 - 2

// override is what an operator says of a prefix. The fields of place that are
// zero are left as they are below.
type override struct {
	prefix netip.Prefix // masked, never IPv4-mapped
	place  Place
	at     source.Place // where the item stands
}

// parseOverrides reads a file of
//
//	overrides:
//	  - {prefix: 203.0.113.0/24, geo: EU-DE-BY, asn: 64496, location: [48.14, 11.58]}
//
// The result is ordered by address and then length. It is nil, with a finding,
// if anything is wrong.
func parseOverrides(file string, data []byte) ([]override, source.Findings) {
	var fs source.Findings
	root, ok := source.ParseYAML(file, data, &fs)
	if !ok || !root.Exists() {
		return nil, fs
	}
	top, ok := root.Map(&fs, "overrides")
	if !ok {
		return nil, fs
	}
	list := top.Get("overrides")
	if !list.Exists() || list.IsNull() {
		return nil, fs
	}
	items, ok := list.List(&fs)
	if !ok {
		return nil, fs
	}
	if len(items) > OverridesMax {
		fs.Errorf(list.Place(), "%d overrides are more than %d: write a range CSV file and name it first in geo.databases", len(items), OverridesMax)
		return nil, fs
	}
	overrides := make([]override, 0, len(items))
	places := make(map[netip.Prefix]source.Place, len(items))
	for _, item := range items {
		o, ok := parseOverride(item, &fs)
		if !ok {
			continue
		}
		if first, doubled := places[o.prefix]; doubled {
			fs.Errorf(o.at, "a second override for %s: the first is at %s", o.prefix, first)
			continue
		}
		places[o.prefix] = o.at
		overrides = append(overrides, o)
	}
	if fs.HasErrors() {
		return nil, fs
	}
	slices.SortFunc(overrides, func(a, b override) int {
		return cmp.Or(a.prefix.Addr().Compare(b.prefix.Addr()), cmp.Compare(a.prefix.Bits(), b.prefix.Bits()))
	})
	return overrides, fs
}

// parseOverride reads one item.
func parseOverride(item source.Value, fs *source.Findings) (override, bool) {
	before := fs.Errors()
	m, ok := item.Map(fs, "prefix", "geo", "asn", "location")
	if !ok {
		return override{}, false
	}
	o := override{at: item.Place()}
	if v, ok := m.Need(fs, "prefix"); ok {
		o.prefix, _ = parsePrefix(v, fs)
	}
	if v := m.Get("geo"); v.Exists() {
		if s, ok := v.String(fs); ok {
			code, err := ParseCode(s)
			if err != nil {
				fs.Errorf(v.Place(), "%v", err)
			}
			o.place.Continent, o.place.Country, o.place.Subdivision = code.Continent, code.Country, code.Subdivision
		}
	}
	if v := m.Get("asn"); v.Exists() {
		n, _ := v.Int(fs, 1, asnMax)
		o.place.ASN = uint32(n)
	}
	if v := m.Get("location"); v.Exists() {
		o.place.Lat, o.place.Lon, o.place.HasLocation = parseLocation(v, fs)
	}
	if fs.Errors() > before {
		return override{}, false
	}
	if o.place == (Place{}) {
		fs.Errorf(o.at, "the override for %s says nothing: give geo, asn or location", o.prefix)
		return override{}, false
	}
	return o, true
}

// parsePrefix reads a prefix without bits behind its length.
func parsePrefix(v source.Value, fs *source.Findings) (netip.Prefix, bool) {
	s, ok := v.String(fs)
	if !ok {
		return netip.Prefix{}, false
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
			fs.Errorf(v.Place(), "prefix %q has no length: write %s/%d", s, a, a.BitLen())
			return netip.Prefix{}, false
		}
		fs.Errorf(v.Place(), "prefix %q is none: write one like 192.0.2.0/24 or 2001:db8::/56", s)
		return netip.Prefix{}, false
	}
	if p.Addr().Is4In6() {
		fs.Errorf(v.Place(), "prefix %q is IPv4 in the form of IPv6: write it as IPv4, as clients are looked up by it", s)
		return netip.Prefix{}, false
	}
	if p != p.Masked() {
		fs.Errorf(v.Place(), "prefix %q has bits behind its length: write %s", s, p.Masked())
		return netip.Prefix{}, false
	}
	return p, true
}

// parseLocation reads [latitude, longitude] in degrees.
func parseLocation(v source.Value, fs *source.Findings) (lat, lon float64, ok bool) {
	items, ok := v.List(fs)
	if !ok {
		return 0, 0, false
	}
	if len(items) != 2 {
		fs.Errorf(v.Place(), "a location of %d numbers: write [latitude, longitude], as in [48.14, 11.58]", len(items))
		return 0, 0, false
	}
	lat, okLat := items[0].Float(fs, -90, 90)
	lon, okLon := items[1].Float(fs, -180, 180)
	return positive(lat), positive(lon), okLat && okLon
}

// resolve fills in, for each override, the fields that it leaves open: from the
// prefixes around it, the longest first. It is the same rule as for databases
// (see merge): what lies around a prefix that is in another country says nothing
// of its details.
func resolve(overrides []override) []override {
	resolved := make([]override, 0, len(overrides))
	var around []override // as written, the longest last; at most as many as an address has bits
	for _, o := range overrides {
		for len(around) > 0 && !around[len(around)-1].prefix.Contains(o.prefix.Addr()) {
			around = around[:len(around)-1]
		}
		place := o.place
		for _, outer := range slices.Backward(around) {
			place = merge(place, outer.place)
		}
		around = append(around, o)
		resolved = append(resolved, override{prefix: o.prefix, place: place, at: o.at})
	}
	return resolved
}

// paint gives the resolved overrides that are no longer than a block as one
// layer: at each address the longest prefix.
func paint(resolved []override) *layer {
	p4, p6 := painter{in: newInterner()}, painter{}
	p6.in = p4.in
	p4.b.family, p6.b.family = ipv4, ipv6
	for _, o := range resolved {
		if isLong(o.prefix) {
			continue
		}
		f, first := number(o.prefix.Addr())
		p := &p4
		if f == ipv6 {
			p = &p6
		}
		p.open(first, f.last(first, o.prefix.Bits()), o.place)
	}
	p4.close(ipv4.max())
	p6.close(ipv6.max())
	return &layer{places: NewPlaces(p4.in.places), v4: p4.b.finish(), v6: p6.b.finish()}
}

// painter turns nested prefixes, in the order of overrides, into runs.
type painter struct {
	in     *interner
	b      runBuilder
	around []painted // those that are open, the longest last
}

// painted is a prefix that is open: its last address and its place.
type painted struct {
	last  address
	place uint32
}

// open begins a prefix.
func (p *painter) open(first, last address, place Place) {
	if first != (address{}) {
		p.close(first.prev())
	}
	if p.b.next.compare(first) < 0 {
		place := uint32(0)
		if n := len(p.around); n > 0 {
			place = p.around[n-1].place
		}
		p.b.add(p.b.next, first.prev(), place)
	}
	p.around = append(p.around, painted{last, p.in.id(place)})
}

// close ends the prefixes that end at limit or before.
func (p *painter) close(limit address) {
	for n := len(p.around); n > 0 && p.around[n-1].last.compare(limit) <= 0; n-- {
		top := p.around[n-1]
		p.around = p.around[:n-1]
		if !p.b.full && p.b.next.compare(top.last) <= 0 {
			p.b.add(p.b.next, top.last, top.place)
		}
	}
}
