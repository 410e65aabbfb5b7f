package steering_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"geodns/pkg/steering"
)

// TestA37Scopes draws client subnets (ADDRESS, SOURCE) over random tables and states, and asks a policy for each. Of the SCOPE that
// it is told it shows A-37, for addresses at random, and at both ends, of ADDRESS/SCOPE:
//
//   - Each, asked for with any SOURCE of SCOPE or more, has the same plan and the same SCOPE. So two scopes of a layout are equal
//     or disjoint, as of two that overlap one holds the first address of the other.
//   - With the same random number, and the key of `pick: hash` whatever the random number, it has the same answer.
//   - SCOPE is 0 where the text does not depend on the client, but /24 or /48 and more with `pick: hash`.
//   - SCOPE is /24 or /56 at most, whatever SOURCE is, and never 0 where the text depends on the client.
//
// design.md 5.11 and 5.2 make two exceptions. An operator's subnet that is longer than SCOPE, and that SOURCE is long enough to be
// known to be in, answers with its own plan, and with its own length as SCOPE: it may lie in the scopes of others. And a node that
// has lost its geo data does not know what is placed alike: it answers min(SOURCE, /24 or /56), with `pick: hash`, too. Such
// scopes overlap; what is shown of them is that each address in one has the same plan where it is asked for with the same SOURCE,
// which is all that a resolver does with one that sends SOURCE of that length.
func TestA37Scopes(t *testing.T) {
	r := seeded(t)
	pairs := 20_000
	if long() {
		pairs = 1_000_000
	}
	var met scopesMet
	for met.pairs < pairs {
		spec := scopedSpec(r)
		table, err := steering.Build(spec)
		if err != nil {
			continue // types that some plan lacks
		}
		states, err := steering.NewStates(table, randomVerdicts(r, len(spec.Targets)))
		if err != nil {
			t.Fatal(err)
		}
		s := scoped{t: t, spec: spec, table: table, states: states, met: &met}
		for range 200 {
			s.policy = steering.PolicyID(r.IntN(len(spec.Policies)))
			s.pair(r, scopedClient(r, spec, s.layout()))
		}
	}
	t.Logf("%+v", met)
	if slices.Contains([]int{met.cells, met.subnets, met.inner, met.beyond, met.lost, met.hashed, met.same}, 0) {
		t.Errorf("a case never came: %+v", met)
	}
}

// scopesMet counts what was drawn.
type scopesMet struct {
	pairs   int
	cells   int // answered with a published scope
	beyond  int // of them, with one longer than SOURCE
	subnets int // answered with the length of an operator's subnet
	inner   int // addresses in a scope that are in a subnet of their own
	lost    int // without geo data
	hashed  int // with `pick: hash`
	same    int // where the text does not depend on the client
}

// scoped asks one policy of a table.
type scoped struct {
	t      *testing.T
	spec   *steering.Spec
	table  *steering.Table
	states *steering.States
	policy steering.PolicyID
	met    *scopesMet
}

func (s *scoped) layout() *steering.Layout { return &s.spec.Layouts[s.spec.Policies[s.policy].Layout] }

// ask gives the answer and the plan, tier by tier, that it is of.
func (s *scoped) ask(client netip.Prefix, random uint64) (d steering.Decision, plan [][]steering.TargetID) {
	var tr steering.Trace
	q := steering.Query{Policy: s.policy, ECS: true, TTL: 60, Random: random}
	if a := client.Addr(); a.Is4() {
		q.Client = steering.Client4(a.As4(), uint8(client.Bits()))
	} else { // as FAMILY says, even where it is an IPv4-mapped one
		q.Client = steering.Client6(a.As16(), uint8(client.Bits()))
	}
	if !s.table.Offers(s.policy, q.Type) {
		q.Type = steering.AAAA
	}
	steering.Decide(s.table, s.states, &q, &d, &tr)
	for _, tier := range tr.Tiers {
		var ids []steering.TargetID
		for _, target := range tier.Targets {
			ids = append(ids, target.ID)
		}
		plan = append(plan, ids)
	}
	return d, plan
}

// known is the longest of the operator's subnets that a client is wholly known to be in.
func (s *scoped) known(client netip.Prefix) netip.Prefix {
	_, subnet := twin{spec: s.spec}.class(s.layout(), client)
	return subnet
}

// pair asks for a client subnet, and for addresses in the scope that comes back.
func (s *scoped) pair(r *rand.Rand, client netip.Prefix) {
	s.t.Helper()
	random := r.Uint64()
	d, plan := s.ask(client, random)
	s.length(client, d.Scope)
	block, err := client.Addr().Prefix(int(d.Scope))
	if err != nil {
		s.t.Fatal(err)
	}
	s.met.pairs++
	hashed := s.spec.Policies[s.policy].Pick == steering.PickHash
	lost := s.spec.GeoLost && s.layout().ByClient && !s.known(client).IsValid()
	if hashed {
		s.met.hashed++
	}
	for _, a := range []netip.Addr{block.Addr(), last(block), within(r, block), within(r, block)} {
		source := client.Bits()
		if !lost {
			source = block.Bits() + r.IntN(a.BitLen()-block.Bits()+1)
		}
		other := netip.PrefixFrom(a, source).Masked()
		if hashed {
			random = r.Uint64()
		}
		got, gotPlan := s.ask(other, random)
		if subnet := s.known(other); subnet.IsValid() && subnet.Bits() > block.Bits() {
			s.met.inner++
			if int(got.Scope) != subnet.Bits() {
				s.t.Fatalf("%s in the operator's subnet %s has SCOPE %d", other, subnet, got.Scope)
			}
			continue
		}
		if !slices.EqualFunc(plan, gotPlan, slices.Equal[[]steering.TargetID]) {
			s.t.Fatalf("%s has scope %s and plan %v, and %s inside it %v", client, block, plan, other, gotPlan)
		}
		if lost && hashed {
			d, got = steering.Decision{}, steering.Decision{} // the scope may be shorter than what the hash is of
		}
		if got != d {
			s.t.Fatalf("%s has scope %s and the answer %+v, and %s inside it %+v", client, block, d, other, got)
		}
	}
}

// length checks what the length of a scope may be.
func (s *scoped) length(client netip.Prefix, scope uint8) {
	s.t.Helper()
	most, least, hash := steering.CellBitsMax4, steering.ScopeMin4, steering.HashBits4
	if client.Addr().Is6() {
		most, least, hash = steering.CellBitsMax6, steering.ScopeMin6, steering.HashBits6
	}
	if s.spec.Policies[s.policy].Pick != steering.PickHash {
		hash = 0
	}
	n, right := int(scope), false
	subnet := s.known(client)
	switch {
	case subnet.IsValid():
		s.met.subnets++
		right = n == subnet.Bits()
	case !s.layout().ByClient:
		s.met.same++
		right = n == hash
	case s.spec.GeoLost:
		s.met.lost++
		right = n == min(client.Bits(), most) // not 0, as SOURCE is not
	default:
		s.met.cells++
		right = n >= max(least, hash) && n <= most
		if n > client.Bits() {
			s.met.beyond++
		}
	}
	if !right {
		s.t.Fatalf("A-38: %s has SCOPE %d (subnet %v; by client %t, without geo data %t)", client, n, subnet, s.layout().ByClient, s.spec.GeoLost)
	}
}

// scopedSpec is a random table as compilers make them: where the text does not depend on the client, there is one class. Among the
// subnets are some within others.
func scopedSpec(r *rand.Rand) *steering.Spec {
	spec := randomSpec(r)
	for i := range spec.Layouts {
		l := &spec.Layouts[i]
		if !l.ByClient {
			clear(l.Classes)
			l.Long = nil
		}
		for _, c := range l.Long {
			bits := c.Prefix.Bits() + 1 + r.IntN(4)
			if bits > c.Prefix.Addr().BitLen() {
				continue
			}
			p := netip.PrefixFrom(within(r, c.Prefix.Masked()), bits).Masked()
			if !slices.ContainsFunc(l.Long, func(c steering.LongCell) bool { return c.Prefix.Masked() == p }) {
				l.Long = append(l.Long, steering.LongCell{Prefix: p, Class: uint32(r.IntN(len(l.Plans)))})
			}
		}
	}
	return spec
}

// scopedClient draws an address of anywhere, of a cell, or of an operator's subnet or near it, and a SOURCE above 0.
func scopedClient(r *rand.Rand, spec *steering.Spec, l *steering.Layout) netip.Prefix {
	v4 := r.IntN(2) == 0
	around, usual := netip.MustParsePrefix("::/0"), []int{32, 48, 56, 64, 128}
	if v4 {
		around, usual = netip.MustParsePrefix("0.0.0.0/0"), []int{8, 16, 20, 24, 32}
	}
	bits := 1 + r.IntN(around.Addr().BitLen())
	if r.IntN(2) == 0 {
		bits = usual[r.IntN(len(usual))]
	}
	switch kind := r.IntN(3); {
	case kind == 0:
	case kind == 1 || len(l.Long) == 0:
		cells, _ := twin{spec: spec}.cellPrefixes(v4)
		around = cells[r.IntN(len(cells))]
	default:
		around = l.Long[r.IntN(len(l.Long))].Prefix.Masked()
		bits = min(around.Bits()+r.IntN(6)-2, around.Addr().BitLen())
		if r.IntN(4) == 0 { // beside it, in the same cell
			around = netip.PrefixFrom(around.Addr(), around.Bits()-1).Masked()
		}
	}
	return netip.PrefixFrom(within(r, around), bits).Masked()
}
