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

	// MaxScopes is the most scopes that a policy may publish (RFC 7871 section 11); more is an error. Where Orders would make it more, the
	// finest of them are left out until it is not, which is a warning. 0: any number is taken, and past ScopesMany it is a warning.
	MaxScopes int
}

// Compiled is a Document's Table with what is needed to explain it. Immutable.
type Compiled struct {
	Document *Document
	Table    *steering.Table
	Targets  []CompiledTarget // by steering.TargetID

	in        Input
	layouts   []*layout // by the Table's layout number
	layoutOf  []int     // by steering.PolicyID, which is Policy.Index
	subnets   *subnets
	atlas     *atlas
	kinds     *kinds
	latencies *latencies // of all rungs
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

// Limited lists the policies that are ranked without their finest orders, as they would publish more scopes than Input.MaxScopes by them.
func (c *Compiled) Limited() (names []string) {
	for i, at := range c.layoutOf {
		if x := c.layouts[at].measured; x != nil && x.finest > rum.RungPrefix {
			names = append(names, c.Document.Policies[i].Name)
		}
	}
	return names
}

// compiler is one Compile in progress.
type compiler struct {
	doc    *Document
	in     Input
	before *Compiled // of the same but for orders; nil: there is none
	fs     source.Findings
	out    *Compiled
	spec   steering.Spec
	flats  map[*Target]steering.TargetID // flattened twins of host-name targets
	pools  map[*Pool]uint32              // and of their pools, which would count each target twice otherwise
}

// newCompiler begins a Compile.
func newCompiler(doc *Document, in Input, before *Compiled) *compiler {
	return &compiler{
		doc: doc, in: in, before: before, flats: map[*Target]steering.TargetID{}, pools: map[*Pool]uint32{},
		out: &Compiled{Document: doc, in: in},
	}
}

// Compile makes the Table of a checked Document: pure, and the same on every node that is given the same. The findings
// are what only clients' places can show, such as a fence that leaves some of them nothing; with an error among them
// there is no Compiled.
func Compile(doc *Document, in Input) (*Compiled, source.Findings) { return compile(doc, in, nil) }

// WithOrders gives what Compile does for the same Document and Input but for the orders. Layouts that do not rank by latency are
// taken over, and share memory.
func (c *Compiled) WithOrders(orders *rum.Orders) (*Compiled, source.Findings) {
	in := c.in
	in.Orders = orders
	return compile(c.Document, in, c)
}

// compile compiles with ever fewer rungs until each policy is within Input.MaxScopes, or has no order left that could go.
func compile(doc *Document, in Input, before *Compiled) (*Compiled, source.Findings) {
	finest := map[int]rum.RungKind{} // by layout
	for {
		c := newCompiler(doc, in, before)
		c.run(finest)
		if c.out.Table != nil && c.coarsen(finest) {
			before = c.out
			continue
		}
		c.fs.Sort()
		if c.fs.HasErrors() {
			return nil, c.fs
		}
		return c.out, c.fs
	}
}

// run compiles, by the orders of some rungs and coarser ones. With an error among the findings there may be no Table.
func (c *compiler) run(finest map[int]rum.RungKind) {
	c.addPools()
	c.layOut(finest)
	c.classify()
	for i, p := range c.doc.Policies {
		c.addPolicy(p, c.out.layoutOf[i])
	}
	if c.fs.HasErrors() {
		return
	}
	var err error
	if c.out.Table, err = steering.Build(&c.spec); err != nil {
		c.fs.Errorf(source.WholeFile("policies"), "the compiled table is not sound, which is a fault of this program: %v", err)
		return
	}
	for _, l := range c.out.layouts {
		if !c.kept(l) {
			l.sets = sync.OnceValue(l.planSets)
		}
	}
	c.checkScopes()
}

// layOut makes the layouts and what they look at, or takes over what orders have no part in.
func (c *compiler) layOut(finest map[int]rum.RungKind) {
	out, before := c.out, c.before
	out.latencies = newLatencies(c.doc, c.in.Orders)
	if before == nil {
		out.layouts, out.layoutOf = groupLayouts(c.doc)
		out.subnets = newSubnets(out.layouts, c.in.Networks)
		for _, l := range out.layouts {
			l.bind(out.subnets, out.latencies)
		}
		out.atlas = newAtlas(c.doc, out.layouts)
	} else {
		out.layouts, out.layoutOf = slices.Clone(before.layouts), before.layoutOf
		out.subnets, out.atlas, out.kinds = before.subnets, before.atlas, before.kinds
		c.spec.Before = before.Table
	}
	by := map[rum.RungKind]*latencies{rum.RungPrefix: out.latencies}
	for i, l := range out.layouts {
		if !l.byOrders {
			continue
		}
		if by[finest[i]] == nil {
			by[finest[i]] = out.latencies.from(finest[i])
		}
		out.layouts[i] = l.with(by[finest[i]])
	}
}

// kept says whether a layout is taken over.
func (c *compiler) kept(l *layout) bool { return c.before != nil && !l.byOrders }

// coarsen leaves out the finest orders of layouts that publish too many scopes by them, and says whether there are any. What is measured
// must not keep files from being served.
func (c *compiler) coarsen(finest map[int]rum.RungKind) (any bool) {
	if c.in.MaxScopes == 0 {
		return false
	}
	over := map[int]bool{}
	for i, at := range c.out.layoutOf {
		if l := c.out.layouts[at]; l.byOrders && l.measured.orders.Len() > 0 && c.out.Table.Scopes(steering.PolicyID(i)) > c.in.MaxScopes {
			over[at] = true
		}
	}
	for at := range over {
		finest[at]++
	}
	return len(over) > 0
}

// checkScopes finds policies that would fill resolvers' caches.
func (c *compiler) checkScopes() {
	for i, p := range c.doc.Policies {
		n := c.out.Table.Scopes(steering.PolicyID(i))
		if x := c.out.layouts[c.out.layoutOf[i]].measured; x != nil && x.finest > rum.RungPrefix {
			c.fs.Warnf(p.Place, "policy %q would publish more scopes by what users measured than ecs.max_scopes, which is %d: it is ranked without the orders of %s; rank by wider bands, or raise it",
				p.Name, c.in.MaxScopes, x.leftOut())
		}
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
	offers := make([][3]bool, l.plans.len()) // by class
	for class := range offers {
		for tier := range l.tiers(class) {
			for _, e := range tier {
				for y, h := range has(targets[e]) {
					offers[class][y], all[y] = offers[class][y] || h, all[y] || h
				}
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
