package server_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// diffQueriesMax is how many queries a random case has at most.
const diffQueriesMax = 400

// asker draws the queries of a case.
type asker struct {
	rnd   *rand.Rand
	c     *diffCase
	types map[string][]uint16 // by name
	seen  map[string]bool
	out   []diffQuery
}

// queriesOf gives the queries of a case: for its names, their parents, children, siblings and case variants, names below wildcards,
// "*" itself and names that DNAMEs make, the types that are there and those that servers treat apart. If they are more than most, some
// are left out.
func queriesOf(rnd *rand.Rand, c *diffCase, most int) []diffQuery {
	a := &asker{rnd: rnd, c: c, types: map[string][]uint16{}, seen: map[string]bool{}}
	var names []labels
	known := map[string]bool{}
	note := func(n labels) {
		if key := n.key(); !known[key] {
			known[key] = true
			names = append(names, n)
		}
	}
	for _, z := range c.zones {
		for _, r := range z.records {
			key := r.owner.key()
			if t := typeNumber(r.typ); !slices.Contains(a.types[key], t) {
				a.types[key] = append(a.types[key], t)
			}
			for n := r.owner; len(n) >= len(z.origin) && len(n) > 0; n = n[1:] {
				note(n)
			}
		}
	}
	for _, z := range c.zones {
		for _, r := range z.records {
			if r.target != nil && slices.ContainsFunc(c.zones, func(z *diffZone) bool { return r.target.within(z.origin) }) {
				note(r.target)
			}
			if r.typ == "DNAME" {
				a.redirected(r, names)
			}
		}
	}
	for _, n := range names {
		a.around(n, names)
	}
	rnd.Shuffle(len(a.out), func(i, j int) { a.out[i], a.out[j] = a.out[j], a.out[i] })
	return a.out[:min(len(a.out), most)]
}

// typeNumber reads a type's mnemonic.
func typeNumber(text string) uint16 {
	if t, ok := dns.StringToType[text]; ok {
		return t
	}
	n := uint16(0)
	for _, c := range strings.TrimPrefix(text, "TYPE") {
		n = n*10 + uint16(c-'0')
	}
	return n
}

// query adds a query, once.
func (a *asker) query(n labels, qtype uint16) {
	if n.size() > 255 {
		return
	}
	q := diffQuery{n, qtype}
	if key := string(n.wire()) + string(rune(qtype)); !a.seen[key] {
		a.seen[key] = true
		a.out = append(a.out, q)
	}
}

// anyType gives a type to ask for.
func (a *asker) anyType() uint16 {
	return pick(a.rnd, dns.TypeA, dns.TypeA, dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeDS, dns.TypeDS, dns.TypeNS, dns.TypeSOA, dns.TypeCNAME, dns.TypeCNAME,
		dns.TypeDNAME, dns.TypeMX, dns.TypeTXT, dns.TypeTXT, dns.TypeANY, 65280, dns.TypeHTTPS, dns.TypePTR, dns.TypeDNSKEY, dns.TypeNSEC, dns.TypeRRSIG)
}

// around adds the queries for a name of the case and for names near it.
func (a *asker) around(n labels, names []labels) {
	for _, t := range a.types[n.key()] {
		a.query(n, t)
	}
	for _, t := range []uint16{dns.TypeA, a.anyType(), a.anyType(), a.anyType(), dns.TypeDS, dns.TypeANY} {
		a.query(n, t)
	}
	word := func() string {
		return pick(a.rnd, "a", "b", "c", "ns", "*", "zz", "q.q", "\x00", pick(a.rnd, oddWords()...))
	}
	near := []labels{n.below(word()), n.below(word(), word()), n.below("*"), a.variant(n), a.variant(n.below(word()))}
	if len(n) > 0 {
		near = append(near, n[1:], n[1:].below(word()), n[1:].below("a", word()))
	}
	if len(n) > 0 && n[0] == "*" {
		near = append(near, n[1:].below(word()), n[1:].below(word(), word()), n[1:].below("a", "b", word()), n.below(word()), n[1:].below(word()), n[1:].below("*", "*"))
	}
	if other := pick(a.rnd, names...); len(other) > 0 {
		near = append(near, n.below(other[0]))
	}
	if a.rnd.IntN(40) == 0 {
		near = append(near, a.longest(n))
	}
	for _, m := range near {
		a.query(m, a.anyType())
		if all := a.types[n.key()]; len(all) > 0 {
			a.query(m, pick(a.rnd, all...))
		}
	}
}

// redirected adds names below a DNAME: those that it makes of names at its target, and such as it cannot make, which are as long as
// a name can be or one octet less or more than fits.
func (a *asker) redirected(r diffRecord, names []labels) {
	for _, n := range names {
		if len(n) > len(r.target) && n.within(r.target) {
			made := r.owner.below(n[:len(n)-len(r.target)]...)
			a.query(made, a.anyType())
			if types := a.types[n.key()]; len(types) > 0 {
				a.query(made, pick(a.rnd, types...))
			}
		}
	}
	a.query(r.owner.below("a"), a.anyType())
	a.query(r.owner.below("b", "a"), a.anyType())
	a.query(r.owner.below("*"), a.anyType())
	room := 255 - max(r.target.size(), r.owner.size())
	for _, size := range []int{room - 1, room, room + 1, room + 2, 255 - r.owner.size()} {
		if prefix := prefixOf(size); prefix != nil {
			a.query(r.owner.below(prefix...), cmp.Or(a.anyType(), dns.TypeA))
		}
	}
}

// prefixOf gives labels that take so many octets; nil if there are none.
func prefixOf(size int) []string {
	var out []string
	for size > 0 {
		l := min(64, size)
		if size-l == 1 {
			l--
		}
		if l < 2 {
			return nil
		}
		out = append(out, strings.Repeat("o", l-1))
		size -= l
	}
	return out
}

// variant gives the name with other letters in upper case.
func (a *asker) variant(n labels) labels {
	out := slices.Clone(n)
	for i, l := range out {
		b := []byte(l)
		for j, c := range b {
			if c|0x20 >= 'a' && c|0x20 <= 'z' && a.rnd.IntN(2) == 0 {
				b[j] = c ^ 0x20
			}
		}
		out[i] = string(b)
	}
	return out
}

// longest gives a name of 255 octets below another.
func (a *asker) longest(n labels) labels {
	if prefix := prefixOf(255 - n.size()); prefix != nil {
		return n.below(prefix...)
	}
	return n
}
