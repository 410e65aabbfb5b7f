package policy

import (
	"net/netip"
	"strings"

	"geodns/internal/source"
	"geodns/pkg/geo"
	"geodns/pkg/steering"
)

// policy reads one entry of `policies`.
func (p *parser) policy(v source.Value) (*Policy, bool) {
	mark := p.mark()
	m, ok := v.Map(p.fs, "name", "ttl", "answers", "pick", "families", "flatten", "rules", "all_down")
	if !ok {
		return nil, false
	}
	pol := &Policy{TTLMin: ttlMinDefault, TTLMax: ttlMaxDefault, Answers: 1}
	pol.Name, pol.Place = p.name(m)
	if ttl := m.Get("ttl"); ttl.Exists() {
		p.ttl(ttl, pol)
	}
	if answers := m.Get("answers"); answers.Exists() {
		pol.Answers, pol.answersPlace = p.count(answers, 1, steering.AnswersMax), answers.Place()
	}
	pol.Pick = Pick(p.choice(m.Get("pick"), "weighted", "hash"))
	families := m.Get("families")
	pol.FamiliesSeparate, pol.familiesPlace = p.choice(families, "same", "separate") == 1, families.Place()
	if flatten := m.Get("flatten"); flatten.Exists() {
		pol.Flatten, _ = flatten.Bool(p.fs)
		pol.flattenPlace = flatten.Place()
	}
	if allDown, given := p.need(m, "all_down", "what to answer when nothing is usable: serve-all, serve-first or servfail"); given {
		pol.AllDown = AllDown(p.choice(allDown, "serve-all", "serve-first", "servfail"))
	}
	p.rules(m, pol)
	pol.broken = p.failed(mark)
	return pol, pol.Name != ""
}

// ttl reads {min, max} in seconds.
func (p *parser) ttl(v source.Value, pol *Policy) {
	if v.Kind() == source.Scalar && !v.IsNull() {
		p.errorf(v, "a TTL has a least and a most value, in seconds: write {min: %d, max: %d}", ttlMinDefault, ttlMaxDefault)
		return
	}
	m, ok := v.Map(p.fs, "min", "max")
	if !ok {
		return
	}
	least, most := m.Get("min"), m.Get("max")
	good := p.seconds(least, &pol.TTLMin)
	good = p.seconds(most, &pol.TTLMax) && good
	if !good || pol.TTLMin <= pol.TTLMax {
		return
	}
	at, hint := least, ""
	switch {
	case !most.Exists():
		hint = ", the default; give max too"
	case !least.Exists():
		at, hint = most, "; min is 15 by default, give it too"
	}
	p.errorf(at, "the least TTL, %d, is above the most, %d%s", pol.TTLMin, pol.TTLMax, hint)
}

// seconds reads a TTL if it is given.
func (p *parser) seconds(v source.Value, into *uint32) bool {
	if !v.Exists() {
		return true
	}
	mark := p.mark()
	n, ok := v.Int(p.fs, 0, ttlLimit)
	if !ok && p.failed(mark) {
		last := &(*p.fs)[len(*p.fs)-1]
		last.Message += "; a TTL is in seconds, without a unit"
	}
	*into = uint32(n)
	return ok
}

// rules reads a policy's rules, in order.
func (p *parser) rules(m source.Map, pol *Policy) {
	v, ok := p.need(m, "rules", "a policy has one or more")
	if !ok {
		return
	}
	items, ok := p.list(v, "rule", RulesMax)
	if !ok {
		return
	}
	first := map[string]source.Place{}
	for _, item := range items {
		r, good := p.rule(item)
		if !good {
			continue
		}
		if at, doubled := first[r.Name]; doubled {
			p.fs.Errorf(r.Place, "rule %q stands twice in policy %q; the first is at %d:%d", r.Name, pol.Name, at.Line, at.Col)
			continue
		}
		first[r.Name] = r.Place
		pol.Rules = append(pol.Rules, r)
	}
}

// rule reads one entry of a policy's `rules`.
func (p *parser) rule(v source.Value) (*Rule, bool) {
	mark := p.mark()
	m, ok := v.Map(p.fs, "name", "geos", "subnets", "asns", "pool", "rank", "fence")
	if !ok {
		return nil, false
	}
	r := &Rule{}
	r.Name, r.Place = p.name(m)
	if geos := m.Get("geos"); geos.Exists() {
		p.geos(geos, r)
	}
	if subnets := m.Get("subnets"); subnets.Exists() {
		p.ruleSubnets(subnets, r)
	}
	if asns := m.Get("asns"); asns.Exists() {
		p.asns(asns, r)
	}
	if pool, given := p.need(m, "pool", "the name of the pool that answers"); given {
		r.pool = p.ref(pool)
	}
	if rank := m.Get("rank"); rank.Exists() {
		r.Rank = p.rank(rank)
	}
	if fence := m.Get("fence"); fence.Exists() {
		p.fence(fence, r)
	}
	r.broken = p.failed(mark)
	return r, r.Name != ""
}

// geos reads a rule's geo codes. A code that another of the list covers is harmless, but not what was meant.
func (p *parser) geos(v source.Value, r *Rule) {
	items, ok := p.list(v, "code", ConditionsMax)
	if !ok {
		return
	}
	at := map[geo.Code]source.Place{}
	for _, item := range items {
		s, isText := item.String(p.fs)
		if !isText {
			continue
		}
		if s == unknownCode {
			if r.Unknown {
				p.errorf(item, "geo code %q stands twice", s)
			}
			r.Unknown = true
			continue
		}
		c, good := p.code(s, item.Place())
		if !good {
			continue
		}
		if _, doubled := at[c]; doubled {
			p.errorf(item, "geo code %q stands twice", s)
			continue
		}
		at[c] = item.Place()
		r.Geos = append(r.Geos, c)
	}
	set := newCodeSet(r.Geos)
	for _, c := range r.Geos {
		if wider, covered := set.widerThan(c); covered {
			p.fs.Warnf(at[c], "geo code %s is in %s, which stands in the same list", c, wider)
		}
	}
}

// ruleSubnets reads a rule's client subnets.
func (p *parser) ruleSubnets(v source.Value, r *Rule) {
	items, ok := p.list(v, "subnet", ConditionsMax)
	if !ok {
		return
	}
	seen := map[netip.Prefix]bool{}
	for _, item := range items {
		s, isText := p.scalar(item, "a subnet such as 192.0.2.0/24")
		if !isText {
			continue
		}
		pre, good := p.prefix(s, item.Place())
		if !good {
			continue
		}
		if seen[pre] {
			p.errorf(item, "subnet %s stands twice", pre)
			continue
		}
		seen[pre] = true
		r.Subnets = append(r.Subnets, pre)
	}
}

// asns reads a rule's AS numbers.
func (p *parser) asns(v source.Value, r *Rule) {
	items, ok := p.list(v, "AS number", ConditionsMax)
	if !ok {
		return
	}
	seen := map[uint32]bool{}
	for _, item := range items {
		if number, prefixed := strings.CutPrefix(strings.ToUpper(item.Text()), "AS"); prefixed && allDigits(number) {
			p.errorf(item, "an AS number stands by itself: write %s", clip(number))
			continue
		}
		n, good := item.Int(p.fs, 1, asnMax)
		if !good {
			continue
		}
		if seen[uint32(n)] {
			p.errorf(item, "AS number %d stands twice", n)
			continue
		}
		seen[uint32(n)] = true
		r.ASNs = append(r.ASNs, uint32(n))
	}
}

// fenceNone is what a rule without a fence says in a policy where another has one.
const fenceNone = "none"

// fence reads a list of jurisdictions, or none.
func (p *parser) fence(v source.Value, r *Rule) {
	r.FenceSet, r.fencePlace = true, v.Place()
	if v.Kind() == source.Scalar && v.Text() == fenceNone {
		r.FenceNone = true
		return
	}
	if v.Kind() == source.Scalar && !v.IsNull() {
		p.errorf(v, "a fence is a list of jurisdictions, or none: write [%s]", clip(v.Text()))
		return
	}
	if items, ok := v.List(&source.Findings{}); ok && len(items) == 0 {
		p.errorf(v, "an empty fence would let nothing through; write none for no fence")
		return
	}
	r.fence = p.texts(v, "jurisdiction")
	for _, j := range r.fence {
		r.Fence = append(r.Fence, j.name)
	}
}
