package server_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// motif adds one of the constellations that name servers get wrong.
func (g *diffGen) motif() {
	z := g.anyZone()
	switch g.rnd.IntN(12) {
	case 0, 1:
		g.chain(z)
	case 2:
		g.loop(z)
	case 3, 4:
		g.wildcard(z)
	case 5, 6:
		g.dname(z)
	case 7, 8, 9:
		g.delegation(z)
	case 10:
		g.deep(z)
	case 11:
		g.delegateChild()
	}
}

// chain adds CNAMEs one after the other, now and then longer than servers follow.
func (g *diffGen) chain(z *diffZone) {
	at := g.name(z)
	n := 1 + g.rnd.IntN(5)
	if g.rnd.IntN(12) == 0 {
		n = 6 + g.rnd.IntN(16)
	}
	for i := range n {
		next := g.target(z)
		if n > 5 {
			next = z.origin.below("n" + strconv.Itoa(i))
		}
		if !z.add(at, g.ttl(), "CNAME", next.text(), next) {
			break
		}
		at = next
		if !at.within(z.origin) {
			return
		}
	}
	if g.rnd.IntN(2) == 0 {
		g.data(at)
	}
}

// loop adds CNAMEs that come back.
func (g *diffGen) loop(z *diffZone) {
	first := g.name(z)
	at := first
	for range g.rnd.IntN(3) {
		next := g.name(z)
		z.add(at, g.ttl(), "CNAME", next.text(), next)
		at = next
	}
	z.add(at, g.ttl(), "CNAME", first.text(), first)
}

// wildcard adds a wildcard, with names below and beside it.
func (g *diffGen) wildcard(z *diffZone) {
	up := g.name(z)
	owner := g.fit(up.below("*"), z.origin)
	switch g.rnd.IntN(4) {
	case 0:
		t := g.target(z)
		z.add(owner, g.ttl(), "CNAME", t.text(), t)
	case 1:
		t := pick(g.rnd, up.below("a"), up.below("b", "a"), owner, up)
		if t.size() <= 255 {
			z.add(owner, g.ttl(), pick(g.rnd, "PTR", "CNAME"), t.text(), t)
		}
	default:
		g.data(owner)
		g.data(owner)
	}
	switch g.rnd.IntN(5) {
	case 0:
		g.data(g.below(owner, z)) // below the wildcard itself
	case 1:
		g.data(g.below(up, z)) // blocks it
	case 2:
		g.cut(z, g.below(up, z))
	case 3:
		t := up
		z.add(g.name(z), g.ttl(), "DNAME", t.text(), t) // onto names that it covers
	}
}

// dname adds a DNAME: beside, above, below itself, to nowhere, or to a name so long that what it makes is too long.
func (g *diffGen) dname(z *diffZone) {
	owner := g.name(z)
	if len(owner) > 0 && owner[0] == "*" {
		owner = owner[1:]
	}
	t := g.target(z)
	switch g.rnd.IntN(9) {
	case 0:
		t = g.below(owner, z)
	case 1:
		t = z.origin
	case 2, 3:
		t = g.long(z.origin)
	case 4:
		owner = z.origin
	case 5:
		t = owner
	case 6:
		t = g.name(z)
		g.data(g.below(t, z))
		if g.rnd.IntN(2) == 0 {
			g.data(g.fit(t.below("*"), z.origin))
		}
	case 7: // one DNAME leads to the next
		t = g.name(z)
		o := g.target(z)
		z.add(t, g.ttl(), "DNAME", o.text(), o)
		t = pick(g.rnd, t, g.below(t, z))
	}
	if !owner.within(z.origin) || !z.add(owner, g.ttl(), "DNAME", t.text(), t) {
		return
	}
	if g.rnd.IntN(3) == 0 { // a CNAME to below it
		at, to := g.name(z), owner.below(g.label())
		if to.size() <= 255 {
			z.add(at, g.ttl(), "CNAME", to.text(), to)
		}
	}
	if g.rnd.IntN(3) == 0 {
		g.data(owner)
	}
	if g.rnd.IntN(6) == 0 && t.within(z.origin) && !t.is(owner) {
		g.cut(z, t)
	}
}

// delegation adds a cut, perhaps others below it or beside it whose name servers serve for both.
func (g *diffGen) delegation(z *diffZone) {
	owner := g.name(z)
	if owner.is(z.origin) {
		owner = g.below(owner, z)
	}
	g.cut(z, owner)
	switch g.rnd.IntN(5) {
	case 0:
		g.cut(z, g.below(owner, z)) // nested
	case 1:
		sibling := g.fit(owner[1:].below(g.label()), z.origin)
		g.cut(z, sibling)
		host := g.fit(sibling.below("ns"), z.origin)
		z.add(owner, 3600, "NS", host.text(), host)
		z.add(host, g.ttl(), "A", g.addr(), nil)
	case 2: // a CNAME into it
		at := g.name(z)
		to := pick(g.rnd, owner, g.below(owner, z))
		z.add(at, g.ttl(), "CNAME", to.text(), to)
	case 3: // a DNAME onto it
		z.add(g.name(z), g.ttl(), "DNAME", owner.text(), owner)
	}
}

// cut adds NS records with or without glue, DS records, and what a cut hides.
func (g *diffGen) cut(z *diffZone, owner labels) {
	if owner.is(z.origin) || !owner.within(z.origin) || len(owner) == 0 || owner[0] == "*" {
		return
	}
	ttl := g.ttl()
	for range 1 + g.rnd.IntN(3) {
		host := labels{"ns", "invalid"}
		switch g.rnd.IntN(6) {
		case 0:
			host = owner
		case 1, 2:
			host = g.fit(owner.below("ns"), z.origin)
		case 3:
			host = g.below(owner, z)
		case 4:
			host = g.name(z)
		}
		if slices.Contains(host, "*") || !z.add(owner, ttl, "NS", host.text(), host) {
			continue
		}
		if host.within(z.origin) && (g.rnd.IntN(4) > 0 || !host.within(owner)) {
			for range 1 + g.rnd.IntN(2) {
				z.add(host, g.ttl(), "A", g.addr(), nil)
			}
			if g.rnd.IntN(3) == 0 {
				z.add(host, g.ttl(), "AAAA", fmt.Sprintf("2001:db8::%x", g.rnd.IntN(1<<16)), nil)
			}
		}
	}
	if g.rnd.IntN(3) == 0 {
		z.add(owner, g.ttl(), "DS", oddRdata("DS", g.rnd.IntN(4)), nil)
	}
	switch g.rnd.IntN(8) {
	case 0:
		g.data(owner)
	case 1:
		g.data(g.below(owner, z))
	case 2:
		g.data(g.fit(owner.below("*"), z.origin))
	case 3:
		t := g.target(z)
		z.add(g.below(owner, z), g.ttl(), pick(g.rnd, "CNAME", "DNAME"), t.text(), t)
	case 4: // more than fits a datagram
		for i := range 12 + g.rnd.IntN(20) {
			host := owner.below(strings.Repeat("n", 20) + strconv.Itoa(i))
			if host.size() <= 255 && z.add(owner, ttl, "NS", host.text(), host) {
				z.add(host, 300, "A", g.addr(), nil)
				z.add(host, 300, "AAAA", fmt.Sprintf("2001:db8::%x", i), nil)
			}
		}
	}
}

// deep adds data far below, so that the names between are empty.
func (g *diffGen) deep(z *diffZone) {
	n := g.name(z)
	for range 2 + g.rnd.IntN(4) {
		n = n.below(g.label())
	}
	g.data(g.fit(n, z.origin))
}

// delegateChild delegates a zone of the case from the one above it, with or without DS.
func (g *diffGen) delegateChild() {
	for _, child := range g.c.zones {
		for _, z := range g.c.zones {
			if z != child && child.origin.within(z.origin) {
				g.cut(z, child.origin)
			}
		}
	}
}
