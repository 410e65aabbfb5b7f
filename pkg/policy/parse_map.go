package policy

import (
	"net/netip"
	"strings"

	"geodns/internal/source"
	"geodns/pkg/geo"
)

// clientMap reads one entry of `maps`.
func (p *parser) clientMap(v source.Value) (*Map, bool) {
	mark := p.mark()
	keys, ok := v.Map(p.fs, "name", "areas", "subnets")
	if !ok {
		return nil, false
	}
	m := &Map{}
	m.Name, m.Place = p.name(keys)
	if areas, given := p.need(keys, "areas", "geo codes and their regions, such as {default: [fra, iad]}"); given {
		p.areas(areas, m)
	}
	if subnets := keys.Get("subnets"); subnets.Exists() {
		p.mapSubnets(subnets, m)
	}
	m.broken = p.failed(mark)
	return m, m.Name != ""
}

// areas reads geo codes and their orders. One of them is `default`.
func (p *parser) areas(v source.Value, m *Map) {
	es, ok := p.free(v)
	if !ok {
		return
	}
	hasDefault := false
	seen := map[geo.Code]bool{}
	for _, e := range es {
		a := Area{Place: e.KeyPlace, Order: p.order(e.Value)}
		switch e.Key {
		case "default":
			a.Default, hasDefault = true, true
		case unknownCode:
			p.fs.Errorf(e.KeyPlace, "a map has no area %q: clients that no database places get its default", e.Key)
			continue
		default:
			code, good := p.code(e.Key, e.KeyPlace)
			if !good {
				continue
			}
			if seen[code] {
				p.fs.Errorf(e.KeyPlace, "area %s stands twice", e.Key)
				continue
			}
			seen[code] = true
			a.Code = code
		}
		m.Areas = append(m.Areas, a)
	}
	if !hasDefault {
		p.errorf(v, "key %q is missing: the order for all clients that no other area has", "default")
	}
}

// free reads a mapping with keys of the operator's own, without its x-* keys.
func (p *parser) free(v source.Value) ([]source.Entry, bool) {
	es, ok := v.Entries(p.fs)
	if !ok {
		return nil, false
	}
	if len(es) > ConditionsMax {
		p.errorf(v, "%d keys; at most %d are allowed", len(es), ConditionsMax)
		return nil, false
	}
	out := es[:0]
	for _, e := range es {
		if !strings.HasPrefix(e.Key, "x-") {
			out = append(out, e)
		}
	}
	return out, true
}

// mapSubnets reads subnets and their orders.
func (p *parser) mapSubnets(v source.Value, m *Map) {
	es, ok := p.free(v)
	if !ok {
		return
	}
	first := map[netip.Prefix]source.Place{}
	for _, e := range es {
		order := p.order(e.Value)
		pre, good := p.prefix(e.Key, e.KeyPlace)
		if !good {
			continue
		}
		if at, doubled := first[pre]; doubled {
			p.fs.Errorf(e.KeyPlace, "subnet %s stands twice; the first is at %d:%d", pre, at.Line, at.Col)
			continue
		}
		first[pre] = e.KeyPlace
		m.Subnets = append(m.Subnets, SubnetOrder{Prefix: pre, Order: order, Place: e.KeyPlace})
	}
}

// order reads a list of regions, among which "*" may stand once.
func (p *parser) order(v source.Value) Order {
	o := Order{Star: -1}
	items, ok := p.list(v, "region", EntriesMax)
	if !ok {
		return o
	}
	seen := map[string]bool{}
	for _, item := range items {
		r := p.ref(item)
		if r.name == "" {
			continue
		}
		if seen[r.name] {
			p.errorf(item, "%q stands twice in this list", clip(r.name))
			continue
		}
		seen[r.name] = true
		if r.name == "*" {
			o.Star = len(o.regions)
			continue
		}
		o.regions = append(o.regions, r)
	}
	return o
}
