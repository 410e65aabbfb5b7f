package server_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// labels is a domain name: its labels as they are on the wire, without length octets, the first label first.
type labels []string

// text is the name in presentation form, absolute.
func (n labels) text() string {
	if len(n) == 0 {
		return "."
	}
	var b strings.Builder
	for _, l := range n {
		for _, c := range []byte(l) {
			switch {
			case c == '.':
				b.WriteString(`\.`)
			case c|0x20 >= 'a' && c|0x20 <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c == '*':
				b.WriteByte(c)
			default: // not every server takes all other characters as they are, or behind a backslash
				fmt.Fprintf(&b, `\%03d`, c)
			}
		}
		b.WriteByte('.')
	}
	return b.String()
}

// wire is the name in wire form, its letters as they are.
func (n labels) wire() []byte {
	var out []byte
	for _, l := range n {
		out = append(append(out, byte(len(l))), l...)
	}
	return append(out, 0)
}

// size is the length of the wire form.
func (n labels) size() int {
	size := 1
	for _, l := range n {
		size += 1 + len(l)
	}
	return size
}

// below puts labels before a name.
func (n labels) below(first ...string) labels { return append(slices.Clone(first), n...) }

// within says whether the name is another or below it.
func (n labels) within(zone labels) bool {
	return len(n) >= len(zone) && slices.EqualFunc(n[len(n)-len(zone):], zone, sameLabel)
}

// sameLabel compares labels as DNS does: octets, ASCII letters in any case.
func sameLabel(a, b string) bool {
	fold := func(c byte) byte {
		if c-'A' < 26 {
			c += 0x20
		}
		return c
	}
	for i := 0; i < len(a) && i < len(b); i++ {
		if fold(a[i]) != fold(b[i]) {
			return false
		}
	}
	return len(a) == len(b)
}

// is compares two names.
func (n labels) is(o labels) bool { return len(n) == len(o) && n.within(o) }

// key is the name folded, for maps.
func (n labels) key() string { return strings.ToLower(n.text()) }

// diffRecord is one record of a zone file.
type diffRecord struct {
	owner  labels
	ttl    uint32
	typ    string
	rdata  string
	target labels // in rdata, if it is a name's type
}

// line is the record as a line of a zone file.
func (r diffRecord) line() string {
	return r.owner.text() + " " + strconv.FormatUint(uint64(r.ttl), 10) + " IN " + r.typ + " " + r.rdata
}

// diffZone is one zone; its first record is its SOA.
type diffZone struct {
	origin  labels
	records []diffRecord
}

// diffCase is a small family of random zones. All names of its zones are at or below base, which no other case has, so that many
// cases are served at once; but the root zone's case has no base.
type diffCase struct {
	base   string
	zones  []*diffZone
	beside []*diffZone // the root zone's case, if it is served, too
}

// all gives all zones that the case's names may be in.
func (c *diffCase) all() []*diffZone { return slices.Concat(c.zones, c.beside) }

// baseOf gives the n-th base label: seven digits that stand nowhere else in a zone, so that a case moves to another base by
// replacing text, and keeps its names' lengths.
func baseOf(n int) string { return strconv.Itoa(9000000 + n) }

// at gives the case with another base.
func (c *diffCase) at(base string) *diffCase {
	moved := &diffCase{base: base}
	for _, z := range c.zones {
		next := &diffZone{origin: z.origin.rebase(c.base, base)}
		for _, r := range z.records {
			r.owner, r.target = r.owner.rebase(c.base, base), r.target.rebase(c.base, base)
			r.rdata = strings.ReplaceAll(r.rdata, c.base, base)
			next.records = append(next.records, r)
		}
		moved.zones = append(moved.zones, next)
	}
	return moved
}

// rebase replaces the base label.
func (n labels) rebase(from, to string) labels {
	out := slices.Clone(n)
	for i, l := range out {
		if l == from {
			out[i] = to
		}
	}
	return out
}

// file is a zone's file.
func (z *diffZone) file() string {
	var b strings.Builder
	for _, r := range z.records {
		b.WriteString(r.line())
		b.WriteByte('\n')
	}
	return b.String()
}

// fileName is what zone.Load wants the file to be called.
func (z *diffZone) fileName() string {
	if len(z.origin) == 0 {
		return "@.zone"
	}
	return z.origin.text() + "zone"
}

// String shows the case's zones.
func (c *diffCase) String() string {
	var b strings.Builder
	for _, z := range c.zones {
		fmt.Fprintf(&b, "-- %s --\n%s", z.fileName(), z.file())
	}
	return b.String()
}

// diffGen makes one case.
type diffGen struct {
	rnd   *rand.Rand
	c     *diffCase
	root  labels // of the case: its base
	words []string
}

// plainWords are labels of most names: few, so that everything meets everything.
func plainWords() []string { return []string{"a", "b", "c", "d"} }

// oddWords are labels that are easily taken for something else.
func oddWords() []string {
	return []string{
		"*x", "x*", "**", "a.b", "a.", ".", " ", "\x00", "\x00a", "\xff", "\\", "\"", ";", "(", "@", "$", "_", "-", "A", "Ab", "_tcp", "_a", "aa", "[", "Z", "z{",
		strings.Repeat("l", 63), strings.Repeat("L", 62) + ".", "www", "ns", "\\000", "1",
	}
}

// pick gives one of a list.
func pick[T any](rnd *rand.Rand, of ...T) T { return of[rnd.IntN(len(of))] }

// makeCase makes the case of a base.
func makeCase(rnd *rand.Rand, base string) *diffCase {
	g := &diffGen{rnd: rnd, c: &diffCase{base: base}, words: plainWords()[:2+rnd.IntN(3)]}
	if base != "" {
		g.root = labels{base}
	}
	for range rnd.IntN(3) {
		g.words = append(g.words, pick(rnd, oddWords()...))
	}
	switch rnd.IntN(20) {
	default:
		g.zone(g.root)
	case 0:
		g.zone(g.root.below("a"))
	case 1:
		g.zone(g.root.below("b", "a"))
	case 2, 3, 4, 5:
		g.zone(g.root)
		g.zone(g.root.below("a"))
	case 6:
		g.zone(g.root)
		g.zone(g.root.below("b", "a"))
	case 7:
		g.zone(g.root)
		g.zone(g.root.below("a"))
		g.zone(g.root.below("b", "a"))
	case 8:
		g.zone(g.root.below("a"))
		g.zone(g.root.below("b"))
	}
	for range 1 + rnd.IntN(4) {
		g.motif()
	}
	for range rnd.IntN(5) {
		g.data(g.name(g.anyZone()))
	}
	g.unhide()
	return g.c
}

// zone adds a zone with its SOA and NS records.
func (g *diffGen) zone(origin labels) {
	z := &diffZone{origin: origin}
	g.c.zones = append(g.c.zones, z)
	host := func() labels {
		if g.rnd.IntN(3) > 0 {
			return labels{"ns", "invalid"}
		}
		return origin.below(pick(g.rnd, "ns", "a", "b", "c"))
	}
	m := host()
	ttl := g.ttl()
	z.records = append(z.records, diffRecord{
		owner: origin, ttl: ttl, typ: "SOA",
		rdata: fmt.Sprintf("%s %s %d 7200 3600 1209600 %d", m.text(), pick(g.rnd, m, host(), origin, labels{"h.m", "invalid"}).text(), 1+g.rnd.IntN(1000), g.ttl()),
	})
	for range 1 + g.rnd.IntN(2) {
		h := host()
		if h.is(m) || g.rnd.IntN(2) == 0 {
			h = m
		}
		z.records = append(z.records, diffRecord{owner: origin, ttl: 3600, typ: "NS", rdata: h.text(), target: h})
		if h.within(origin) && len(z.set(h, "A")) == 0 {
			z.add(h, 300, "A", g.addr(), nil)
		}
		if h.is(m) {
			break
		}
	}
}

// ttl gives a TTL, rarely 0.
func (g *diffGen) ttl() uint32 {
	return pick[uint32](g.rnd, 1, 60, 60, 300, 300, 3600, 86400, 2147483647, 0)
}

// addr gives an IPv4 address.
func (g *diffGen) addr() string {
	return fmt.Sprintf("192.0.%d.%d", 1+g.rnd.IntN(3), g.rnd.IntN(256))
}

// anyZone gives one of the zones.
func (g *diffGen) anyZone() *diffZone { return pick(g.rnd, g.c.zones...) }

// label gives a label.
func (g *diffGen) label() string {
	if g.rnd.IntN(8) == 0 {
		return "*"
	}
	return pick(g.rnd, g.words...)
}

// name gives a name at or below a zone's apex, often near one that is there.
func (g *diffGen) name(z *diffZone) labels {
	n := z.origin
	if g.rnd.IntN(3) == 0 {
		n = pick(g.rnd, z.records...).owner
	}
	if g.rnd.IntN(60) == 0 {
		return g.long(n)
	}
	for range pick(g.rnd, 0, 1, 1, 1, 2, 2, 3) {
		n = n.below(g.label())
	}
	return g.fit(n, z.origin)
}

// below gives a name below another.
func (g *diffGen) below(n labels, z *diffZone) labels {
	top := n
	for range pick(g.rnd, 1, 1, 1, 2, 2, 3) {
		n = n.below(g.label())
	}
	if n.size() > 255 {
		return top
	}
	return g.fit(n, z.origin)
}

// fit cuts a name that is too long.
func (g *diffGen) fit(n, origin labels) labels {
	for n.size() > 255 {
		n = n[1:]
	}
	if !n.within(origin) {
		return origin
	}
	return n
}

// long gives a name of 252 to 255 octets below another.
func (g *diffGen) long(n labels) labels {
	for want := 255 - g.rnd.IntN(4); n.size() < want; {
		l := min(63, want-n.size()-1)
		if l == 0 {
			break
		}
		n = n.below(strings.Repeat(pick(g.rnd, "x", "y"), l))
	}
	return n
}

// target gives what a record may point at.
func (g *diffGen) target(z *diffZone) labels {
	switch g.rnd.IntN(12) {
	case 0:
		return labels{"t", "invalid"}
	case 1:
		return z.origin
	case 2, 3:
		return g.name(g.anyZone())
	case 4, 5, 6, 7:
		return pick(g.rnd, z.records...).owner
	}
	return g.name(z)
}

// set gives the records of a type at a name.
func (z *diffZone) set(owner labels, typ string) []diffRecord {
	var out []diffRecord
	for _, r := range z.records {
		if (typ == "" || r.typ == typ) && r.owner.is(owner) {
			out = append(out, r)
		}
	}
	return out
}

// add adds a record unless it may not stand there. All of a set get one TTL.
func (z *diffZone) add(owner labels, ttl uint32, typ, rdata string, target labels) bool {
	here, same := z.set(owner, ""), z.set(owner, typ)
	wild := len(owner) > 0 && owner[0] == "*"
	switch {
	case !owner.within(z.origin), owner.size() > 255,
		typ == "CNAME" && len(here) > 0, len(z.set(owner, "CNAME")) > 0,
		typ == "DNAME" && (len(same) > 0 || wild || len(z.set(owner, "NS")) > 0 && !owner.is(z.origin)),
		typ == "NS" && (wild || len(z.set(owner, "DNAME")) > 0), typ == "DS" && owner.is(z.origin):
		return false
	}
	for _, r := range same {
		if strings.EqualFold(r.rdata, rdata) {
			return false
		}
		ttl = r.ttl
	}
	z.records = append(z.records, diffRecord{owner: owner, ttl: ttl, typ: typ, rdata: rdata, target: target})
	return true
}

// unhide takes away DNAMEs that hide the zone's name servers or a zone below, and all else that may not be below a DNAME (RFC 6672
// section 2.4).
func (g *diffGen) unhide() {
	hides := func(d diffRecord, n labels) bool {
		return d.typ == "DNAME" && len(n) > len(d.owner) && n.within(d.owner)
	}
	for _, z := range g.c.zones {
		servers := z.set(z.origin, "NS")
		z.records = slices.DeleteFunc(z.records, func(r diffRecord) bool {
			return slices.ContainsFunc(servers, func(ns diffRecord) bool { return hides(r, ns.target) }) ||
				slices.ContainsFunc(g.c.zones, func(o *diffZone) bool { return hides(r, o.origin) })
		})
		all := slices.Clone(z.records)
		z.records = slices.DeleteFunc(z.records, func(r diffRecord) bool {
			return slices.ContainsFunc(all, func(d diffRecord) bool { return hides(d, r.owner) })
		})
	}
}

// data adds a random set at a name.
func (g *diffGen) data(owner labels) {
	z := g.zoneOf(owner)
	if z == nil {
		return
	}
	ttl := g.ttl()
	switch g.rnd.IntN(10) {
	case 0, 1, 2:
		for range 1 + g.rnd.IntN(3) {
			z.add(owner, ttl, "A", g.addr(), nil)
		}
	case 3:
		z.add(owner, ttl, "AAAA", fmt.Sprintf("2001:db8::%x", g.rnd.IntN(1<<16)), nil)
	case 4:
		t := g.target(z)
		z.add(owner, ttl, "CNAME", t.text(), t)
	case 5:
		t := g.target(z)
		z.add(owner, ttl, "MX", "10 "+t.text(), t)
	case 6:
		g.large(z, owner, ttl)
	default:
		for range 1 + g.rnd.IntN(3) {
			g.odd(z, owner, ttl)
		}
	}
}

// zoneOf gives a zone that a name may stand in: not always the deepest.
func (g *diffGen) zoneOf(name labels) *diffZone {
	var in []*diffZone
	for _, z := range g.c.zones {
		if name.within(z.origin) {
			in = append(in, z)
		}
	}
	if len(in) == 0 {
		return nil
	}
	return pick(g.rnd, in...)
}

// large adds a set that is near what fits a datagram or beyond it.
func (g *diffGen) large(z *diffZone, owner labels, ttl uint32) {
	switch g.rnd.IntN(8) {
	case 0:
		for i := range 60 + g.rnd.IntN(30) {
			z.add(owner, ttl, "A", fmt.Sprintf("10.0.0.%d", i), nil)
		}
	case 1:
		for i := range 4 + g.rnd.IntN(3) {
			z.add(owner, ttl, "TXT", fmt.Sprintf("%q", strings.Repeat(string(rune('a'+i)), 240)), nil)
		}
	case 2:
		for i := range 30 + g.rnd.IntN(40) {
			t := z.origin.below("m"+strconv.Itoa(i), g.label())
			z.add(owner, ttl, "MX", fmt.Sprintf("%d %s", i, t.text()), t)
		}
	default:
		z.add(owner, ttl, "TXT", pick(g.rnd, `"x"`, `"" "y"`, `"`+strings.Repeat("z", 255)+`"`, `"a\"b" "c;d"`, `\000\255`), nil)
	}
}

// odd adds a record of one of the less usual types.
func (g *diffGen) odd(z *diffZone, owner labels, ttl uint32) {
	t := g.target(z)
	n := g.rnd.IntN(4)
	typ := pick(g.rnd, oddTypes()...)
	if g.rnd.IntN(300) == 0 {
		typ = pick(g.rnd, "MB", "MG", "MR", "PX", "X25") // which Knot does not know
	}
	switch typ {
	case "PTR", "MB", "MG", "MR":
		z.add(owner, ttl, typ, t.text(), t)
	case "RP", "MINFO":
		z.add(owner, ttl, typ, t.text()+" "+g.target(z).text(), t)
	case "MX", "AFSDB", "KX", "RT", "LP":
		z.add(owner, ttl, typ, strconv.Itoa(1+n)+" "+t.text(), t)
	case "PX":
		z.add(owner, ttl, typ, strconv.Itoa(n)+" "+t.text()+" "+g.target(z).text(), t)
	case "SRV":
		z.add(owner, ttl, typ, fmt.Sprintf("%d 0 443 %s", n, t.text()), t)
	case "SVCB", "HTTPS":
		if n == 0 {
			z.add(owner, ttl, typ, "0 "+t.text(), t)
		} else {
			z.add(owner, ttl, typ, fmt.Sprintf("%d %s %s", n, t.text(), pick(g.rnd, "alpn=h2", "port=53 ipv4hint=192.0.2.1", "", "alpn=h2,h3 key65333=x")), t)
		}
	case "NAPTR":
		z.add(owner, ttl, typ, fmt.Sprintf("%d 10 \"u\" \"E2U+sip\" \"!^.*$!sip:a@b!\" %s", n, t.text()), t)
	case "generic":
		typ = pick(g.rnd, "TYPE731", "TYPE65280", "TYPE1234")
		z.add(owner, ttl, typ, pick(g.rnd, `\# 0`, `\# 3 abcdef`, `\# 14 03777777C00C0161C00CC00C0000`), nil)
	case "A":
		z.add(owner, ttl, typ, fmt.Sprintf(`\# 4 c00002%02x`, g.rnd.IntN(256)), nil)
	default:
		z.add(owner, ttl, typ, oddRdata(typ, n), nil)
	}
}

// oddTypes are the types that odd makes.
func oddTypes() []string {
	return []string{
		"PTR", "RP", "MINFO", "MX", "AFSDB", "KX", "RT", "LP", "SRV", "SVCB", "HTTPS", "NAPTR", "generic", "A", "CAA", "LOC", "HINFO",
		"SSHFP", "TLSA", "DS", "URI", "EUI48", "CERT", "L32", "SPF", "SRV", "CAA", "SVCB", "HTTPS", "NAPTR", "MX", "PTR", "DS", "generic", "APL", "DHCID", "OPENPGPKEY",
	}
}

// oddRdata is rdata without a name that matters.
func oddRdata(typ string, n int) string {
	switch typ {
	case "CAA":
		return []string{`0 issue "ca.invalid"`, `128 iodef "mailto:a@b"`, `0 issuewild ";"`, `0 issue "x"`}[n]
	case "LOC":
		return []string{"52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m", "0 0 0.000 N 0 0 0.000 E 0.00m 1m 10000m 10m", "1 S 1 W 1m", "42 21 54 N 71 06 18 W -24m 30m"}[n]
	case "HINFO":
		return []string{`"a" "b"`, `"" ""`, `x y`, `"RFC8482" ""`}[n]
	case "SSHFP":
		return fmt.Sprintf("%d 1 123456789abcdef67890123456789abcdef67890", 1+n)
	case "TLSA":
		return fmt.Sprintf("%d 1 1 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971", n)
	case "DS":
		return fmt.Sprintf("%d 13 2 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971", n)
	case "URI":
		return fmt.Sprintf("%d 1 \"https://x.invalid/\"", n)
	case "EUI48":
		return fmt.Sprintf("00-00-5e-00-53-%02x", n)
	case "CERT":
		return fmt.Sprintf("1 %d 0 AQID", n)
	case "L32":
		return fmt.Sprintf("%d 192.0.2.1", n)
	case "SPF":
		return fmt.Sprintf("\"v=spf%d\"", n)
	case "APL":
		return fmt.Sprintf("1:192.0.2.%d/32", n)
	case "DHCID", "OPENPGPKEY":
		return []string{"AQID", "AQIDBA==", "AQIDBAU=", "AQIDBAUG"}[n]
	case "X25":
		return fmt.Sprintf("\"3110617008%d\"", n)
	}
	return `\# 1 00`
}
