package policy_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"geodns/pkg/policy"
	"geodns/pkg/rum"
	"geodns/pkg/steering"
	"geodns/pkg/zone"
)

// sameCompiled says where two results differ in what is served, explained or found; "": nowhere.
func sameCompiled(got, want *policy.Compiled, gotFound, wantFound string) string {
	switch {
	case gotFound != wantFound:
		return fmt.Sprintf("found\n%s\nwant\n%s", gotFound, wantFound)
	case (got == nil) != (want == nil):
		return fmt.Sprintf("compiled: %t, want %t", got != nil, want != nil)
	case got == nil:
		return ""
	case got.Table.ID() != want.Table.ID() || !reflect.DeepEqual(got.Table, want.Table):
		return fmt.Sprintf("table %s is not %s, or has other parts", got.Table.ID(), want.Table.ID())
	case !reflect.DeepEqual(got.Targets, want.Targets):
		return "other targets"
	}
	if kept, err := steering.Decode(got.Table.Encode()); err != nil || !reflect.DeepEqual(kept, want.Table) {
		return fmt.Sprintf("table %s does not come back: %v", got.Table.ID(), err)
	}
	for _, p := range got.Document.Policies {
		if !reflect.DeepEqual(got.Plans(p), want.Plans(p)) {
			return "other plans of " + p.Name
		}
	}
	return ""
}

// TestWithOrdersTwin: over random worlds, and a row of orders in each, a Compiled with other orders is what a Compile of everything is,
// whatever it had before.
func TestWithOrdersTwin(t *testing.T) {
	r, set := seeded(t), flatZone(t)
	n := 60
	if prove() {
		n = 20_000
	}
	refused, changes, cut := 0, 0, 0
	for range n {
		w := randomWorld(t, r, set, &refused)
		if len(w.twin.doc.Policies) == 0 {
			continue
		}
		in := policy.Input{Networks: w.networks, Zones: set, GeoLost: w.twin.lost, MaxScopes: scopesLimit(r, w, policy.Input{Networks: w.networks, Zones: set})}
		c, found := policy.Compile(w.twin.doc, in)
		if c == nil {
			t.Fatal(lines(found))
		}
		for range 4 {
			w.measured = nil
			w.measure()
			orders, id := w.orders(w.twin.doc), c.Table.ID()
			in.Orders = orders
			want, wantFound := policy.Compile(w.twin.doc, in)
			got, gotFound := c.WithOrders(orders)
			if got == nil {
				t.Fatalf("orders keep files from being served:\n%s\n%s", lines(gotFound), describe(w.scene, w.text))
			}
			if diff := sameCompiled(got, want, lines(gotFound), lines(wantFound)); diff != "" {
				t.Fatalf("%s\n%s", diff, describe(w.scene, w.text))
			}
			if got.Table.ID() != id {
				changes++
			}
			if got.Table.Cells() != c.Table.Cells() {
				cut++
			}
			c = got
		}
	}
	if changes < n/4 || cut < n/10 {
		t.Errorf("%d other tables, %d of other cells, in %d worlds: too few to say anything", changes, cut, n)
	}
}

// scopesLimit is none, or one that the files of a world keep by a little.
func scopesLimit(r *rand.Rand, w *world, in policy.Input) int {
	if r.IntN(3) == 0 {
		return 0
	}
	c, _ := policy.Compile(w.twin.doc, in)
	most := 0
	for i := range c.Table.Policies() {
		most = max(most, c.Table.Scopes(steering.PolicyID(i)))
	}
	return most + r.IntN(4)
}

// TestMaxScopesTwin: of orders that would publish too much, the finest rungs are left out, policy by policy, until the rest does not,
// and a warning says so. The twin tries one rung after the other.
func TestMaxScopesTwin(t *testing.T) {
	r, set := seeded(t), flatZone(t)
	n := 60
	if prove() {
		n = 20_000
	}
	seen := map[string]int{}
	refused := 0
	for range n {
		w := randomWorld(t, r, set, &refused)
		for range 4 {
			w.measured = nil
			w.measure()
			w.limited(t, r, set, seen)
		}
	}
	if seen["whole"] == 0 || seen["without networks"] == 0 || seen["without more"] == 0 {
		t.Errorf("%v: too few to say anything", seen)
	}
}

// limited compiles a world's orders with a limit on scopes, and holds the result against the first of the tries that keeps it.
func (w *world) limited(t *testing.T, r *rand.Rand, set *zone.Set, seen map[string]int) {
	t.Helper()
	in := policy.Input{Networks: w.networks, Zones: set}
	limit := cmp.Or(scopesLimit(r, w, in), 1<<30)
	in.Orders = w.orders(w.twin.doc)
	var tries []*policy.Compiled
	for kind := range rum.RungContinent + 2 {
		try := in
		try.Orders = in.Orders.From(kind)
		c, _ := policy.Compile(w.twin.doc, try)
		tries = append(tries, c)
	}
	in.MaxScopes = limit
	c, found := policy.Compile(w.twin.doc, in)
	if c == nil {
		t.Fatalf("orders keep files from being served:\n%s\n%s", lines(found), describe(w.scene, w.text))
	}
	var limited []string
	for i, p := range w.twin.doc.Policies {
		id := steering.PolicyID(i)
		kind := slices.IndexFunc(tries, func(c *policy.Compiled) bool { return c.Table.Scopes(id) <= limit })
		warned := strings.Contains(lines(found), fmt.Sprintf("policy %q would publish more scopes by what users measured", p.Name))
		if got, want := c.Table.Scopes(id), tries[kind].Table.Scopes(id); got != want || warned != (kind > 0) {
			t.Fatalf("policy %s publishes %d scopes, want %d without rungs finer than %d; warned: %t\n%s", p.Name, got, want, kind, warned, describe(w.scene, w.text))
		}
		seen[[]string{"whole", "without networks", "without more", "without more", "without more"}[kind]]++
		if kind > 0 {
			limited = append(limited, p.Name)
		}
	}
	if got := c.Limited(); !slices.Equal(got, limited) {
		t.Fatalf("limited %v, want %v", got, limited)
	}
}
