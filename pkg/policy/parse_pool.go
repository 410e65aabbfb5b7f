package policy

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"geodns/internal/source"
	"geodns/pkg/steering"
)

// pool reads one entry of `pools`.
func (p *parser) pool(v source.Value) (*Pool, bool) {
	mark := p.mark()
	m, ok := v.Map(p.fs, "name", "check", "fallback", "min_up", "targets")
	if !ok {
		return nil, false
	}
	pool := &Pool{}
	pool.Name, pool.Place = p.name(m)
	pool.check = p.ref(m.Get("check"))
	pool.fallback = p.ref(m.Get("fallback"))
	p.targets(m, pool)
	if minUp := m.Get("min_up"); minUp.Exists() {
		pool.MinUp = p.minUp(minUp, len(pool.Targets))
		if pool.MinUp.Of(len(pool.Targets)) > 0 && pool.fallback.name == "" {
			p.fs.Warnf(minUp.Place(), "min_up says nothing without a fallback to turn to")
		}
	}
	pool.broken = p.failed(mark)
	return pool, pool.Name != ""
}

// minUp reads a number of targets, or a percentage of a pool's n.
func (p *parser) minUp(v source.Value, n int) MinUp {
	text, percent := strings.CutSuffix(v.Text(), "%")
	if !percent {
		count := p.count(v, 0, TargetsMax)
		if n > 0 && count > n {
			p.errorf(v, "min_up %d can never be met: the pool has %d targets", count, n)
		}
		return MinUp{Count: count}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || !(f >= 0 && f <= 100) {
		p.errorf(v, "%q is no percentage; write one from 0%% to 100%%", clip(v.Text()))
		return MinUp{}
	}
	return MinUp{Percent: f, IsPercent: true}
}

// targets reads a pool's targets and what can be said of them together.
func (p *parser) targets(m source.Map, pool *Pool) {
	v, ok := p.need(m, "targets", "a pool has one or more")
	if !ok {
		return
	}
	items, ok := p.list(v, "target", TargetsMax)
	if !ok {
		return
	}
	names := map[string]source.Place{}
	owners := map[string]string{}
	for _, item := range items {
		t, named := p.target(item, pool)
		if !named {
			continue
		}
		if first, doubled := names[t.Name]; doubled {
			p.fs.Errorf(t.Place, "target %q stands twice in pool %q; the first is at %d:%d", t.Name, pool.Name, first.Line, first.Col)
			continue
		}
		names[t.Name] = t.Place
		pool.Targets = append(pool.Targets, t)
		for _, val := range t.values() {
			if owner, doubled := owners[val]; doubled {
				p.fs.Warnf(t.Place, "target %q has the value %s that target %q has too", t.Name, val, owner)
				continue
			}
			owners[val] = t.Name
		}
	}
	p.weights(pool)
}

// values gives a target's values as text.
func (t *Target) values() []string {
	if t.Host != "" {
		return []string{t.Host}
	}
	var out []string
	for _, a := range slices.Concat(t.V4, t.V6) {
		out = append(out, a.String())
	}
	return out
}

// weights refuses a pool in which some targets have a weight and some have none: nobody can say what those get.
func (p *parser) weights(pool *Pool) {
	var with, without *Target
	for _, t := range pool.Targets {
		switch {
		case t.hasWeight && with == nil:
			with = t
		case !t.hasWeight && without == nil:
			without = t
		}
	}
	if with != nil && without != nil {
		p.fs.Errorf(without.Place, "target %q has no weight, but target %q has one: give a weight to all targets of pool %q or to none",
			without.Name, with.Name, pool.Name)
	}
}

// target reads one entry of a pool's `targets`.
func (p *parser) target(v source.Value, pool *Pool) (*Target, bool) {
	m, ok := v.Map(p.fs, "name", "region", "values", "weight", "tags", "capacity", "check")
	if !ok {
		return nil, false
	}
	t := &Target{Pool: pool, Weight: 1}
	t.Name, t.Place = p.name(m)
	t.ID = pool.Name + "/" + t.Name
	if region, given := p.need(m, "region", "the name of the region where the target is"); given {
		t.region = p.ref(region)
	}
	if values, given := p.need(m, "values", "the target's addresses, or its host name"); given {
		p.targetValues(values, t)
	}
	if w := m.Get("weight"); w.Exists() {
		t.hasWeight = true
		t.Weight = p.weight(w)
	}
	if tags := m.Get("tags"); tags.Exists() {
		for _, tag := range p.texts(tags, "tag") {
			if why := badName(tag.name); why != "" {
				p.fs.Errorf(tag.place, "%q is no tag: %s", clip(tag.name), why)
			}
			t.Tags = append(t.Tags, tag.name)
		}
	}
	t.Capacity = p.capacity(m.Get("capacity"))
	if c := m.Get("check"); c.Exists() {
		t.check = p.targetCheck(c, t.ID)
	}
	return t, t.Name != ""
}

// weight reads a target's weight, a whole number.
func (p *parser) weight(v source.Value) uint32 {
	w, ok := v.Int(p.fs, 0, steering.WeightMax)
	if ok && w == 0 {
		p.errorf(v, "weight 0: weights are from 1 to %d; to keep traffic from a target, drain it or lower its admit", steering.WeightMax)
	}
	return uint32(w)
}

// targetValues reads a target's addresses, or its one host name.
func (p *parser) targetValues(v source.Value, t *Target) {
	items, ok := p.list(v, "address", 2*ValuesMax)
	if !ok {
		return
	}
	for _, item := range items {
		s, isText := p.scalar(item, "an address, or an absolute host name,")
		if !isText {
			continue
		}
		if a, err := netip.ParseAddr(s); err == nil {
			p.targetAddress(item, t, a)
			continue
		}
		p.targetHost(item, t, s)
	}
	if t.Host != "" && len(items) > 1 {
		p.errorf(v, "a target has addresses, or one host name; this one has %d values and a host name among them", len(items))
	}
	for _, family := range [][]netip.Addr{t.V4, t.V6} {
		if len(family) > ValuesMax {
			p.errorf(v, "%d addresses of one family; a target has at most %d", len(family), ValuesMax)
		}
	}
}

// targetAddress adds an address.
func (p *parser) targetAddress(v source.Value, t *Target, a netip.Addr) {
	if !p.address(a, v.Place()) {
		return
	}
	if slices.Contains(t.V4, a) || slices.Contains(t.V6, a) {
		p.errorf(v, "address %s stands twice in target %q", a, t.Name)
		return
	}
	if a.Is4() {
		t.V4 = append(t.V4, a)
	} else {
		t.V6 = append(t.V6, a)
	}
}

// targetHost sets the host name, or says what the text probably was meant to be.
func (p *parser) targetHost(v source.Value, t *Target, s string) {
	if pre, err := netip.ParsePrefix(s); err == nil {
		p.errorf(v, "%q is a subnet; a target's value is one address, such as %s", clip(s), pre.Addr())
		return
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		p.errorf(v, "%q has a port; DNS answers with addresses alone: write %q", clip(s), ap.Addr())
		return
	}
	if looksLikeAddress(s) {
		p.errorf(v, "%q is no IP address%s", clip(s), addressFault(s))
		return
	}
	host, err := hostName(s)
	if err != nil {
		p.errorf(v, "%q is neither an address nor an absolute host name: %s", clip(s), err)
		return
	}
	t.Host = host
}

// looksLikeAddress tells a mistyped address from a mistyped name: digits and dots alone, or with colons hexadecimal ones.
func looksLikeAddress(s string) bool {
	if strings.Contains(s, ":") {
		return !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune("0123456789abcdefABCDEF:.%", r) })
	}
	digits := strings.ReplaceAll(s, ".", "")
	return digits != "" && allDigits(digits)
}

// addressFault is what netip finds wrong with an address, without the address.
func addressFault(s string) string {
	if _, err := netip.ParseAddr(s); err != nil {
		if _, fault, ok := strings.Cut(err.Error(), `"): `); ok {
			return ": " + fault
		}
	}
	return ""
}
