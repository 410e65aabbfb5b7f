package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"geodns/internal/source"
	"geodns/pkg/geo"
	"geodns/pkg/rum"
	"geodns/pkg/steering"
	"geodns/pkg/zone"
)

// Input is what a Document is compiled against.
type Input struct {
	Networks *geo.Networks
	GeoLost  bool      // a configured database could not be loaded, and there is none before it
	Zones    *zone.Set // for `flatten`; nil: no zones
	// Orders are what is measured of the Document's LatencyOptions; nil: nothing. With another Version they make another Table only
	// if a plan differs.
	Orders *rum.Orders

	// MaxScopes is the most scopes that a policy may publish (RFC 7871 section 11); more is an error. 0: any number is
	// taken, and past ScopesMany it is a warning.
	MaxScopes int
}

// Compiled is a Document's Table with what is needed to explain it. Immutable.
type Compiled struct {
	Document *Document
	Table    *steering.Table
	Targets  []CompiledTarget // by steering.TargetID

	networks  *geo.Networks
	layouts   []*layout // by the Table's layout number
	layoutOf  []int     // by steering.PolicyID, which is Policy.Index
	subnets   *subnets
	latencies *latencies
	long      []longSubnet
}

// CompiledTarget is one target of the Table. A host-name target that a policy flattens stands a second time, with its
// addresses.
type CompiledTarget struct {
	*Target

	V4, V6 []netip.Addr
	Host   string
}

// PolicyIDs gives the Table's number of each policy, by name.
func (c *Compiled) PolicyIDs() map[string]steering.PolicyID {
	ids := make(map[string]steering.PolicyID, len(c.Document.Policies))
	for i, p := range c.Document.Policies {
		ids[p.Name] = steering.PolicyID(i)
	}
	return ids
}

// compiler is one Compile in progress.
type compiler struct {
	doc   *Document
	in    Input
	fs    source.Findings
	out   *Compiled
	spec  steering.Spec
	atlas *atlas
	flats map[*Target]steering.TargetID // flattened twins of host-name targets
	pools map[*Pool]uint32              // and of their pools, which would count each target twice otherwise
	sets  map[[2]int]int                // answerSets by layout and answers
}

// newCompiler begins a Compile.
func newCompiler(doc *Document, in Input) *compiler {
	return &compiler{
		doc: doc, in: in, flats: map[*Target]steering.TargetID{}, pools: map[*Pool]uint32{}, sets: map[[2]int]int{},
		out: &Compiled{Document: doc, networks: in.Networks},
	}
}

// Compile makes the Table of a checked Document: pure, and the same on every node that is given the same. The findings
// are what only clients' places can show, such as a fence that leaves some of them nothing; with an error among them
// there is no Compiled.
func Compile(doc *Document, in Input) (*Compiled, source.Findings) {
	c := newCompiler(doc, in)
	c.addPools()
	layouts, layoutOf := groupLayouts(doc)
	c.out.layouts, c.out.layoutOf = layouts, layoutOf
	c.out.latencies = newLatencies(doc, in.Orders)
	c.out.subnets = newSubnets(layouts, in.Networks)
	for _, l := range layouts {
		l.bind(c.out.subnets, c.out.latencies)
	}
	c.atlas = newAtlas(doc, layouts)
	c.classify()
	for i, p := range doc.Policies {
		c.addPolicy(p, layoutOf[i])
	}
	if c.fs.HasErrors() {
		c.fs.Sort()
		return nil, c.fs
	}
	table, err := steering.Build(&c.spec)
	if err != nil {
		c.fs.Errorf(source.WholeFile("policies"), "the compiled table is not sound, which is a fault of this program: %v", err)
		return nil, c.fs
	}
	c.out.Table = table
	for _, l := range layouts {
		l.sets = sync.OnceValue(l.planSets)
	}
	c.checkScopes()
	c.fs.Sort()
	if c.fs.HasErrors() {
		return nil, c.fs
	}
	return c.out, c.fs
}

// checkScopes finds policies that would fill resolvers' caches.
func (c *compiler) checkScopes() {
	for i, p := range c.doc.Policies {
		n := c.out.Table.Scopes(steering.PolicyID(i))
		switch {
		case c.in.MaxScopes > 0 && n > c.in.MaxScopes:
			c.fs.Errorf(p.Place, "policy %q publishes %d scopes, more than ecs.max_scopes, which is %d: match and rank by larger areas, as a map by country does, or raise it",
				p.Name, n, c.in.MaxScopes)
		case c.in.MaxScopes == 0 && n > ScopesMany:
			c.fs.Warnf(p.Place, "policy %q publishes %d scopes: a resolver may cache each of its names that often; ecs.max_scopes sets a limit", p.Name, n)
		}
	}
}

// addPools enters pools and their targets; a target's TargetID is its Index.
func (c *compiler) addPools() {
	for _, p := range c.doc.Pools {
		c.addPool(p)
	}
	for _, t := range c.doc.Targets {
		c.addTarget(CompiledTarget{Target: t, V4: t.V4, V6: t.V6, Host: t.Host}, uint32(t.Pool.Index))
	}
}

// addPool enters one pool and gives its number.
func (c *compiler) addPool(p *Pool) uint32 {
	c.spec.Pools = append(c.spec.Pools, steering.Pool{MinUp: uint32(p.MinUp.Of(len(p.Targets))), HasFallback: p.Fallback != nil})
	return uint32(len(c.spec.Pools) - 1)
}

// addTarget enters one target of a pool and gives its number.
func (c *compiler) addTarget(t CompiledTarget, pool uint32) steering.TargetID {
	c.out.Targets = append(c.out.Targets, t)
	c.spec.Targets = append(c.spec.Targets, steering.Target{
		Hash: steering.NameHash(t.ID), Pool: pool, Weight: t.Weight, V4: t.V4, V6: t.V6, Host: wireName(t.Host),
	})
	return steering.TargetID(len(c.spec.Targets) - 1)
}

// addPolicy enters one policy: its targets in the order of its layout's entries.
func (c *compiler) addPolicy(p *Policy, at int) {
	l := c.out.layouts[at]
	c.reportEmpty(p, l)
	s := steering.Policy{
		Hash: steering.NameHash(p.Name), Layout: uint32(at), TTLMin: p.TTLMin, TTLMax: p.TTLMax, Answers: uint8(p.Answers),
		Pick: steering.PickWeighted, Separate: p.FamiliesSeparate,
	}
	if p.Pick == PickHash {
		s.Pick = steering.PickHash
	}
	switch p.AllDown {
	case ServeAll:
		s.AllDown = steering.ServeAll
	case ServeFirst:
		s.AllDown = steering.ServeFirst
	case ServFail:
		s.AllDown = steering.ServFail
	}
	all := c.targetsOf(p)
	c.checkFamilies(p, l, all)
	c.checkAnswerSets(p, at)
	for _, e := range l.used {
		s.Targets = append(s.Targets, all[e])
	}
	c.spec.Policies = append(c.spec.Policies, s)
}

// targetsOf lists a policy's targets, by the compiler's entries.
func (c *compiler) targetsOf(p *Policy) (all []steering.TargetID) {
	for _, pool := range slotsOf(p) {
		for _, t := range pool.Targets {
			id := steering.TargetID(t.Index)
			if p.Flatten && t.Host != "" {
				id = c.flatten(p, t)
			}
			all = append(all, id)
		}
	}
	return all
}

// flatten gives the twin of a host-name target that has the addresses of the host.
func (c *compiler) flatten(p *Policy, t *Target) steering.TargetID {
	if id, done := c.flats[t]; done {
		return id
	}
	id := steering.TargetID(t.Index)
	if c.in.Zones == nil {
		c.fs.Errorf(t.Place, "policy %q flattens %s, and there are no zones", p.Name, t.Host)
		return id
	}
	r := c.in.Zones.Resolve(t.Host)
	v4, v6 := slices.Clone(r.Addrs), slices.Clone(r.Addrs)
	v4 = slices.DeleteFunc(v4, netip.Addr.Is6)
	v6 = slices.DeleteFunc(v6, netip.Addr.Is4)
	switch {
	case r.Outside:
		c.fs.Errorf(t.Place, "policy %q flattens %s, which is in none of our zones: give its addresses, or leave `flatten` out", p.Name, t.Host)
	case r.Steered:
		c.fs.Errorf(t.Place, "policy %q flattens %s, which is steered itself: name a host with A and AAAA records", p.Name, t.Host)
	case len(r.Addrs) == 0:
		c.fs.Errorf(t.Place, "policy %q flattens %s, which has no A or AAAA record", p.Name, t.Host)
	case len(v4) > ValuesMax || len(v6) > ValuesMax:
		c.fs.Errorf(t.Place, "policy %q flattens %s, which has more than %d addresses of a family", p.Name, t.Host, ValuesMax)
	default:
		pool, have := c.pools[t.Pool]
		if !have {
			pool = c.addPool(t.Pool)
			c.pools[t.Pool] = pool
		}
		id = c.addTarget(CompiledTarget{Target: t, V4: v4, V6: v6}, pool)
	}
	c.flats[t] = id
	return id
}

// reportEmpty says where a policy leaves clients without any target.
func (c *compiler) reportEmpty(p *Policy, l *layout) {
	for i, example := range l.empty {
		if example == nil {
			continue
		}
		r := p.Rules[i]
		why := "its map leads to no target of the pool"
		if r.Fenced() {
			why = fmt.Sprintf("no target there meets the fence [%s]", strings.Join(r.Fence, ", "))
		}
		c.fs.Errorf(r.Place, "rule %q of policy %q leaves clients in %s nothing: %s", r.Name, p.Name, example.describe(), why)
	}
}

// checkFamilies reports a plan that lacks a type which the policy has elsewhere: then NODATA would depend on the client
// (design: section 5.8). Without flattening and `families: separate` the Document's own checks exclude it.
func (c *compiler) checkFamilies(p *Policy, l *layout, targets []steering.TargetID) {
	has := func(id steering.TargetID) [3]bool {
		t := c.out.Targets[id]
		return [3]bool{len(t.V4) > 0, len(t.V6) > 0, t.Host != ""}
	}
	same := true
	for _, id := range targets {
		same = same && has(id) == has(targets[0])
		if !same && !p.FamiliesSeparate {
			c.fs.Errorf(c.out.Targets[id].Place, "targets %s and %s of policy %q have addresses of different families; give all the same, or the policy `families: separate`",
				c.out.Targets[targets[0]].ID, c.out.Targets[id].ID, p.Name)
			return
		}
	}
	if same {
		return
	}
	var all [3]bool
	offers := make([][3]bool, len(l.plans)) // by class
	for class, plan := range l.plans {
		for _, e := range slices.Concat(plan...) {
			for y, h := range has(targets[e]) {
				offers[class][y], all[y] = offers[class][y] || h, all[y] || h
			}
		}
	}
	names := [3]string{"IPv4 address", "IPv6 address", "host name"}
	for class, got := range offers {
		for y := range got {
			if all[y] && !got[y] {
				r := p.Rules[l.ruleOf[class]]
				c.fs.Errorf(r.Place, "rule %q of policy %q leaves some clients no target with an %s, which other clients have: what exists must not depend on the client", r.Name, p.Name, names[y])
				return
			}
		}
	}
}

// wireName is a checked absolute host name in wire form, lower case; nil for "".
func wireName(host string) []byte {
	if host == "" {
		return nil
	}
	var b []byte
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		b = append(b, byte(len(label)))
		b = append(b, strings.ToLower(label)...)
	}
	return append(b, 0)
}
