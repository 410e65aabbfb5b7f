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

// stack gives the overrides that are no longer than a block as one layer: at
// each address the longest prefix is on top, and fields that it leaves open are
// those of the prefixes around it.
func stack(overrides []override) *layer {
	in := newInterner()
	build := func(f family) []run {
		b := runBuilder{family: f}
		type open struct {
			last  address
			place uint32
		}
		var around []open // the prefixes around the next address, innermost last
		closeTo := func(limit address, all bool) {
			for n := len(around); n > 0 && (all || around[n-1].last.compare(limit) < 0); n-- {
				if top := around[n-1]; !b.full && b.next.compare(top.last) <= 0 {
					b.add(b.next, top.last, top.place)
				}
				around = around[:n-1]
			}
		}
		for _, o := range overrides {
			of, first := number(o.prefix.Addr())
			if of != f || isLong(o.prefix) {
				continue
			}
			closeTo(first, false)
			place := o.place
			if n := len(around); n > 0 {
				top := around[n-1]
				if b.next.compare(first) < 0 {
					b.add(b.next, first.prev(), top.place)
				}
				place = merge(place, in.places[top.place])
			} else if b.next.compare(first) < 0 {
				b.add(b.next, first.prev(), 0)
			}
			around = append(around, open{f.last(first, o.prefix.Bits()), in.id(place)})
		}
		closeTo(address{}, true)
		return b.finish()
	}
	l := &layer{v4: build(ipv4), v6: build(ipv6)}
	l.places = in.places
	return l
}

// longs gives the overrides that are longer than a block, each with the fields
// of the long ones around it filled in.
func longs(overrides []override) []override {
	var out, around []override
	for _, o := range overrides {
		if !isLong(o.prefix) {
			continue
		}
		for len(around) > 0 && !around[len(around)-1].prefix.Contains(o.prefix.Addr()) {
			around = around[:len(around)-1]
		}
		if n := len(around); n > 0 {
			o.place = merge(o.place, around[n-1].place)
		}
		around = append(around, o)
		out = append(out, o)
	}
	return out
}
