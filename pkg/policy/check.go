package policy

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"geodns/internal/source"
	"geodns/pkg/health"
)

// Join makes one Document of files, which Parse gave in the order in which findings about doubled names should read. It
// adds to fs what only the whole shows to be wrong, and is nil if any finding in fs is an error.
func Join(files []*File, fs *source.Findings) *Document {
	j := &joiner{fs: fs}
	for _, f := range files {
		j.opaque = j.opaque || f.opaque
		j.file.regions = append(j.file.regions, f.regions...)
		j.file.profiles = append(j.file.profiles, f.profiles...)
		j.file.checks = append(j.file.checks, f.checks...)
		j.file.pools = append(j.file.pools, f.pools...)
		j.file.maps = append(j.file.maps, f.maps...)
		j.file.policies = append(j.file.policies, f.policies...)
	}
	j.names()
	j.resolve()
	j.fallbacks()
	for _, p := range j.file.policies {
		if j.sound(p) {
			j.checkPolicy(p)
		}
	}
	if fs.HasErrors() {
		return nil
	}
	j.unused()
	return j.document()
}

// joiner joins the entries of all files. An entry in which something is wrong is broken: its name still serves those that
// refer to it, but what it says is not judged further, so that one fault is not reported as many.
type joiner struct {
	fs     *source.Findings
	file   File // the entries of all files, without those whose name another has
	opaque bool // names may be missing that an unreadable file would have given

	regions  map[string]*Region
	profiles map[string]*checkEntry
	checks   map[string]*checkEntry
	pools    map[string]*Pool
	maps     map[string]*Map
	policies map[string]*Policy

	unknowns int // unknown names so far

	chains    map[*Pool]*chain
	unlocated map[*Region]bool // reported as being without the location that a ranking needs
	dead      map[deadKey]bool // reported as leading nowhere
}

// names finds doubled names and indexes the others.
func (j *joiner) names() {
	j.regions = index(j, "region", &j.file.regions, func(r *Region) (string, source.Place) { return r.Name, r.Place })
	entryName := func(e *checkEntry) (string, source.Place) { return e.name, e.place }
	j.profiles = index(j, "profile", &j.file.profiles, entryName)
	j.checks = index(j, "check", &j.file.checks, entryName)
	j.pools = index(j, "pool", &j.file.pools, func(p *Pool) (string, source.Place) { return p.Name, p.Place })
	j.maps = index(j, "map", &j.file.maps, func(m *Map) (string, source.Place) { return m.Name, m.Place })
	j.policies = index(j, "policy", &j.file.policies, func(p *Policy) (string, source.Place) { return p.Name, p.Place })
	j.chains, j.unlocated, j.dead = map[*Pool]*chain{}, map[*Region]bool{}, map[deadKey]bool{}
}

// index sorts entries by name, reports names that stand twice and keeps the first entry of each.
func index[T any](j *joiner, kind string, entries *[]T, name func(T) (string, source.Place)) map[string]T {
	byName := make(map[string]T, len(*entries))
	kept := (*entries)[:0]
	for _, e := range *entries {
		n, at := name(e)
		if first, doubled := byName[n]; doubled {
			_, firstAt := name(first)
			j.fs.Errorf(at, "%s %q stands twice; the first is at %s", kind, clip(n), firstAt)
			continue
		}
		byName[n] = e
		kept = append(kept, e)
	}
	slices.SortFunc(kept, func(a, b T) int {
		na, _ := name(a)
		nb, _ := name(b)
		return strings.Compare(na, nb)
	})
	*entries = kept
	if len(kept) > EntriesMax {
		_, at := name(kept[EntriesMax])
		j.fs.Errorf(at, "%d %s over all files; at most %d are read", len(kept), plural(kind), EntriesMax)
	}
	return byName
}

// plural is the key under which entries of a kind stand.
func plural(kind string) string {
	if kind == "policy" {
		return "policies"
	}
	return kind + "s"
}

// lookup finds what a name stands for. It is false if there is no such thing, which it reports, or if no name is given.
func lookup[T any](j *joiner, kind string, byName map[string]T, r ref) (T, bool) {
	e, ok := byName[r.name]
	if !ok && r.name != "" {
		j.unknown(kind, r, slices.Sorted(maps.Keys(byName)))
	}
	return e, ok
}

// unknown reports a name that nothing has. If a file could not be read that is no wonder, and not worth a word.
func (j *joiner) unknown(kind string, r ref, known []string) {
	if j.opaque {
		return
	}
	const few = 8 // names that a message lists
	hint := ""
	if j.unknowns++; j.unknowns > suggestionsMax {
		known = nil
	}
	if n := source.Nearest(r.name, known); n != "" {
		hint = "; did you mean \"" + n + "\"?"
	} else if len(known) > 0 && len(known) <= few {
		hint = "; known are " + quoted(known)
	}
	j.fs.Errorf(r.place, "there is no %s %q%s", kind, clip(r.name), hint)
}

// resolve turns names into what they stand for.
func (j *joiner) resolve() {
	for _, r := range j.file.regions {
		j.resolveRegion(r)
	}
	for _, e := range j.file.profiles {
		j.resolveProfile(e)
	}
	for _, e := range j.file.checks {
		j.resolveCheck(e, nil)
	}
	for _, p := range j.file.pools {
		j.resolvePool(p)
	}
	for _, m := range j.file.maps {
		for i := range m.Areas {
			j.resolveOrder(m, &m.Areas[i].Order)
		}
		for i := range m.Subnets {
			j.resolveOrder(m, &m.Subnets[i].Order)
		}
	}
	jurisdictions := map[string]bool{}
	for _, r := range j.file.regions {
		for _, name := range r.Jurisdictions {
			jurisdictions[name] = true
		}
	}
	for _, p := range j.file.policies {
		for _, r := range p.Rules {
			j.resolveRule(r, jurisdictions)
		}
	}
}

// resolveRegion finds a region's pair.
func (j *joiner) resolveRegion(r *Region) {
	if r.pair.name == "" {
		return
	}
	pair, ok := lookup(j, "region", j.regions, r.pair)
	switch {
	case !ok:
		r.broken = true
	case pair == r:
		j.fs.Errorf(r.pair.place, "region %q is its own pair; a pair is another region", r.Name)
		r.broken = true
	default:
		r.Pair = pair
	}
}

// resolvePool finds a pool's check, its fallback, and its targets' checks and regions.
func (j *joiner) resolvePool(p *Pool) {
	check, ok := lookup(j, "check", j.checks, p.check)
	if ok {
		p.Check = check.check
	} else if p.check.name != "" {
		p.broken = true
	}
	if f, ok := lookup(j, "pool", j.pools, p.fallback); ok {
		p.Fallback = f
	} else if p.fallback.name != "" {
		p.broken = true
	}
	for _, t := range p.Targets {
		r, ok := lookup(j, "region", j.regions, t.region)
		t.Region = r
		p.broken = p.broken || !ok
		j.resolveTarget(t, check)
	}
}

// resolveOrder finds the regions of a map's order.
func (j *joiner) resolveOrder(m *Map, o *Order) {
	for _, name := range o.regions {
		if r, ok := lookup(j, "region", j.regions, name); ok {
			o.Regions = append(o.Regions, r)
		} else {
			m.broken = true
		}
	}
}

// resolveRule finds a rule's pool and map, and whether any region has the jurisdictions of its fence.
func (j *joiner) resolveRule(r *Rule, jurisdictions map[string]bool) {
	var ok bool
	if r.Pool, ok = lookup(j, "pool", j.pools, r.pool); !ok {
		r.broken = true
	}
	for i := range r.Rank {
		if r.Rank[i].Kind != RankMap {
			continue
		}
		if r.Rank[i].Map, ok = lookup(j, "map", j.maps, r.Rank[i].mapRef); !ok {
			r.broken = true
		}
	}
	for _, f := range r.fence {
		if !jurisdictions[f.name] {
			j.unknown("region with the jurisdiction", f, slices.Sorted(maps.Keys(jurisdictions)))
			r.broken = true
		}
	}
}

// fallbacks finds pools that fall back on themselves, and chains that are too long. Each circle is reported once.
func (j *joiner) fallbacks() {
	circular := map[*Pool]bool{}
	for _, p := range j.file.pools {
		var path []*Pool
		for at := p; at != nil && !circular[at]; at = at.Fallback {
			if i := slices.Index(path, at); i >= 0 {
				j.circle(path[i:])
				for _, c := range path[i:] {
					circular[c] = true
				}
				break
			}
			if path = append(path, at); len(path) > FallbacksMax+1 {
				j.fs.Errorf(p.fallback.place, "pool %q has more than %d pools behind it, one the fallback of the other", p.Name, FallbacksMax)
				p.broken = true
				break
			}
		}
	}
	for p := range circular {
		p.broken, p.Fallback = true, nil // nothing may run in it from here on
	}
}

// circle reports a circle of fallbacks at its pool with the least name.
func (j *joiner) circle(pools []*Pool) {
	first := 0
	for i, p := range pools {
		if p.Name < pools[first].Name {
			first = i
		}
	}
	var b strings.Builder
	for i := range pools {
		b.WriteString(pools[(first+i)%len(pools)].Name + " -> ")
	}
	b.WriteString(pools[first].Name)
	j.fs.Errorf(pools[first].fallback.place, "fallbacks run in a circle: %s", b.String())
}

// unused warns of entries that nothing refers to: often a forgotten name. It is for files without errors, since what an
// entry with an error would have used cannot be told.
func (j *joiner) unused() {
	used := map[any]bool{}
	entries := slices.Clone(j.file.checks)
	for _, p := range j.file.pools {
		used[p.Fallback], used[p.Check] = true, true
		for _, t := range p.Targets {
			used[t.Region] = true
			if t.check != nil {
				entries = append(entries, t.check)
			}
		}
	}
	for _, m := range j.file.maps {
		for _, o := range m.orders() {
			for _, r := range o.Regions {
				used[r] = true
			}
		}
	}
	for _, r := range j.file.regions {
		used[r.Pair] = true
	}
	for _, p := range j.file.policies {
		for _, r := range p.Rules {
			used[r.Pool], used[r.rankMap()] = true, true
		}
	}
	for _, r := range j.file.regions {
		j.warnUnused(used[r], r.Place, "region", r.Name, "no target, map or pair names it")
	}
	for _, e := range entries {
		for _, l := range e.layers[:len(e.layers)-1] {
			used[l] = true
		}
	}
	for _, e := range j.file.profiles {
		j.warnUnused(used[e], e.place, "profile", e.name, "no check or target names it")
	}
	for _, c := range j.file.checks {
		j.warnUnused(used[c.check], c.place, "check", c.name, "no pool names it")
	}
	for _, p := range j.file.pools {
		j.warnUnused(used[p], p.Place, "pool", p.Name, "no rule or fallback names it")
	}
	for _, m := range j.file.maps {
		j.warnUnused(used[m], m.Place, "map", m.Name, "no rule ranks by it")
	}
}

// warnUnused warns of one entry.
func (j *joiner) warnUnused(used bool, at source.Place, kind, name, why string) {
	if !used {
		j.fs.Warnf(at, "%s %q is not used: %s", kind, clip(name), why)
	}
}

// orders lists a map's orders, of areas and subnets.
func (m *Map) orders() []*Order {
	var out []*Order
	for i := range m.Areas {
		out = append(out, &m.Areas[i].Order)
	}
	for i := range m.Subnets {
		out = append(out, &m.Subnets[i].Order)
	}
	return out
}

// document numbers everything. Entries stand in the order of names already.
func (j *joiner) document() *Document {
	d := &Document{Regions: j.file.regions, Pools: j.file.pools, Maps: j.file.maps, Policies: j.file.policies}
	d.Checks = make([]*health.Check, len(j.file.checks))
	for i, c := range j.file.checks {
		d.Checks[i] = c.check
	}
	for i, r := range d.Regions {
		r.Index = i
	}
	for i, p := range d.Pools {
		p.Index = i
		for _, t := range p.Targets {
			t.Index = len(d.Targets)
			d.Targets = append(d.Targets, t)
		}
	}
	for i, m := range d.Maps {
		m.Index = i
	}
	for i, p := range d.Policies {
		p.Index = i
	}
	return d
}

// Policy finds a policy by its name, nil if there is none.
func (d *Document) Policy(name string) *Policy {
	i, ok := slices.BinarySearchFunc(d.Policies, name, func(p *Policy, n string) int { return cmp.Compare(p.Name, n) })
	if !ok {
		return nil
	}
	return d.Policies[i]
}
