package policy

import (
	"slices"

	"geodns/pkg/steering"
	"geodns/pkg/zone"
)

// Restore joins a Document with the Table that Compile made of it before, without going through any networks. The Compiled answers
// questions and nothing more: clients are not explained by it, and not sampled. False: the Table is none of this Document with these
// zones, as far as targets and policies can show it; that rules and networks are those that it was made of, the caller knows.
func Restore(doc *Document, zones *zone.Set, table *steering.Table) (*Compiled, bool) {
	c := newCompiler(doc, Input{Zones: zones}, nil)
	c.addPools()
	for _, p := range doc.Policies {
		c.targetsOf(p)
	}
	if c.fs.HasErrors() || table.Targets() != len(c.out.Targets) || table.Policies() != len(doc.Policies) {
		return nil, false
	}
	for i := range c.spec.Targets {
		if !sameTarget(table, steering.TargetID(i), &c.spec.Targets[i]) {
			return nil, false
		}
	}
	c.out.Table = table
	return c.out, true
}

// sameTarget says whether a target of a table answers as one of a Spec.
func sameTarget(table *steering.Table, id steering.TargetID, t *steering.Target) bool {
	var v4 [][4]byte
	for _, a := range t.V4 {
		v4 = append(v4, a.As4())
	}
	var v6 [][16]byte
	for _, a := range t.V6 {
		v6 = append(v6, a.As16())
	}
	return slices.Equal(table.Addrs4(id), v4) && slices.Equal(table.Addrs6(id), v6) && slices.Equal(table.Host(id), t.Host)
}
