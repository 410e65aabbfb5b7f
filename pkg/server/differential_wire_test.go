package server_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// diffMessage is an answer as the comparison sees it: names whole and folded, the OPT record taken away.
type diffMessage struct {
	wire      []byte
	rcode     uint8
	aa        bool
	truncated bool // the answer by UDP had TC; this one came by TCP
	sections  [3][]diffRR
	size      int // octets without the OPT record
	odd       string

	text []byte // what the records point into
}

// Sections of a diffMessage.
const (
	diffAnswer = iota
	diffAuthority
	diffAdditional
)

// diffRR is one record.
type diffRR struct {
	owner, rdata []byte // folded, uncompressed
	typ, class   uint16
	ttl          uint32
}

// errShort is a message that ends too early.
var errShort = errors.New("the message ends within a record")

// parse reads the answer to a query. Buffers are used again.
func (m *diffMessage) parse(wire, query []byte) error {
	m.wire, m.size, m.odd, m.text = wire, len(wire), "", m.text[:0]
	for i := range m.sections {
		m.sections[i] = m.sections[i][:0]
	}
	if len(wire) < 12 {
		return errShort
	}
	m.rcode, m.aa = wire[3]&15, wire[2]&4 != 0
	end := 12 + nameLen(query[12:]) + 4
	if binary.BigEndian.Uint16(wire[4:]) != 1 || len(wire) < end || !bytes.Equal(wire[12:end], query[12:end]) {
		return errors.New("the question is not that of the query")
	}
	switch {
	case wire[2]&0x80 == 0 || wire[2]&0x78 != 0:
		m.odd = "QR or opcode"
	case wire[2]&1 != 0 || wire[3]&0xF0 != 0:
		m.odd = "RD, RA, Z, AD or CD"
	}
	at := end
	for s := range m.sections {
		for range binary.BigEndian.Uint16(wire[6+2*s:]) {
			next, err := m.record(s, at)
			if err != nil {
				return err
			}
			at = next
		}
	}
	if at != len(wire) {
		return fmt.Errorf("%d octets follow the last record", len(wire)-at)
	}
	return nil
}

// record reads the record at an offset and gives the offset of the next.
func (m *diffMessage) record(section, at int) (int, error) {
	var rr diffRR
	begin := at
	var err error
	if rr.owner, at, _, err = m.name(at); err != nil {
		return 0, err
	}
	if at+10 > len(m.wire) {
		return 0, errShort
	}
	head := m.wire[at:]
	rr.typ, rr.class, rr.ttl = binary.BigEndian.Uint16(head), binary.BigEndian.Uint16(head[2:]), binary.BigEndian.Uint32(head[4:])
	at += 10
	end := at + int(binary.BigEndian.Uint16(head[8:]))
	if end > len(m.wire) {
		return 0, errShort
	}
	if rr.typ == dns.TypeOPT {
		m.size -= end - begin
		return end, nil
	}
	if rr.rdata, err = m.data(rr.typ, at, end); err != nil {
		return 0, err
	}
	m.sections[section] = append(m.sections[section], rr)
	return end, nil
}

// data gives rdata with its names whole.
func (m *diffMessage) data(typ uint16, at, end int) ([]byte, error) {
	skip, names, compressible := diffNames(typ)
	if typ == dns.TypeNAPTR { // order, preference, three strings, and a name
		skip, names = 4, 1
		for range 3 {
			if at+skip < end {
				skip += 1 + int(m.wire[at+skip])
			}
		}
	}
	if at+skip > end || names == 0 {
		return m.wire[at:end], nil
	}
	start := len(m.text)
	m.text = append(m.text, m.wire[at:at+skip]...)
	at += skip
	for range names {
		_, next, pointed, err := m.name(at)
		if err != nil {
			return nil, err
		}
		if pointed && !compressible {
			m.odd = "a compressed name in the rdata of " + dns.Type(typ).String()
		}
		at = next
	}
	if at > end {
		return nil, errShort
	}
	m.text = append(m.text, m.wire[at:end]...)
	return m.text[start:len(m.text):len(m.text)], nil
}

// diffNames says where names stand in rdata, and whether they may be compressed: in the types of RFC 1035 (RFC 3597 section 4).
func diffNames(typ uint16) (skip, names int, compressible bool) {
	switch typ {
	case dns.TypeNS, dns.TypeMD, dns.TypeMF, dns.TypeCNAME, dns.TypeMB, dns.TypeMG, dns.TypeMR, dns.TypePTR:
		return 0, 1, true
	case dns.TypeSOA, dns.TypeMINFO:
		return 0, 2, true
	case dns.TypeMX:
		return 2, 1, true
	case dns.TypeDNAME, dns.TypeNSAPPTR:
		return 0, 1, false
	case dns.TypeRP, dns.TypeTALINK:
		return 0, 2, false
	case dns.TypeAFSDB, dns.TypeRT, dns.TypeKX, dns.TypeLP, dns.TypeSVCB, dns.TypeHTTPS:
		return 2, 1, false
	case dns.TypePX:
		return 2, 2, false
	case dns.TypeSRV:
		return 6, 1, false
	}
	return 0, 0, false
}

// name appends the name at an offset to text, folded. It gives the name, the offset behind it, and whether it is compressed.
func (m *diffMessage) name(at int) (name []byte, next int, pointed bool, err error) {
	start := len(m.text)
	for hops := 0; ; {
		if at >= len(m.wire) {
			return nil, 0, false, errShort
		}
		n := int(m.wire[at])
		switch {
		case n >= 0xC0:
			if at+1 >= len(m.wire) {
				return nil, 0, false, errShort
			}
			if !pointed {
				next, pointed = at+2, true
			}
			to := (n&0x3F)<<8 | int(m.wire[at+1])
			if hops++; to >= at || hops > 128 {
				return nil, 0, false, errors.New("a compression pointer leads forward")
			}
			at = to
			continue
		case n > 63:
			return nil, 0, false, errors.New("a label of another kind")
		case at+1+n > len(m.wire):
			return nil, 0, false, errShort
		}
		m.text = append(m.text, m.wire[at:at+1+n]...)
		at += 1 + n
		if n == 0 {
			break
		}
	}
	if !pointed {
		next = at
	}
	name = m.text[start:len(m.text):len(m.text)]
	if len(name) > 255 {
		return nil, 0, false, errors.New("a name is too long")
	}
	for i, c := range name {
		if c-'A' < 26 {
			name[i] = c + 0x20
		}
	}
	return name, next, pointed, nil
}

// nameLen is the length of an uncompressed name.
func nameLen(b []byte) int {
	n := 0
	for b[n] != 0 {
		n += 1 + int(b[n])
	}
	return n + 1
}

// equal compares two records.
func (r *diffRR) equal(o *diffRR) bool {
	return r.typ == o.typ && r.class == o.class && r.ttl == o.ttl && bytes.Equal(r.owner, o.owner) && bytes.Equal(r.rdata, o.rdata)
}

// order is an order of records, of any kind.
func (r *diffRR) order(o *diffRR) int {
	if c := bytes.Compare(r.owner, o.owner); c != 0 {
		return c
	}
	if r.typ != o.typ {
		return int(r.typ) - int(o.typ)
	}
	if c := bytes.Compare(r.rdata, o.rdata); c != 0 {
		return c
	}
	return int(int64(r.ttl) - int64(o.ttl))
}

// sameRecords compares two sections as sets, in which each record stands once.
func sameRecords(a, b []diffRR) bool {
	if len(a) != len(b) {
		return false
	}
	if slices.EqualFunc(a, b, func(x, y diffRR) bool { return x.equal(&y) }) { // the usual case
		return true
	}
	sorted := func(rrs []diffRR) []diffRR {
		return slices.SortedFunc(slices.Values(rrs), func(x, y diffRR) int { return x.order(&y) })
	}
	return slices.EqualFunc(sorted(a), sorted(b), func(x, y diffRR) bool { return x.equal(&y) })
}

// sameOrder says whether the RRsets of two sections that hold the same records follow each other in the same order.
func sameOrder(a, b []diffRR) bool {
	for i := range a {
		if a[i].typ != b[i].typ || !bytes.Equal(a[i].owner, b[i].owner) {
			return false
		}
	}
	return true
}

// has says whether a section has a record of a type.
func (m *diffMessage) has(section int, typ uint16) bool {
	return slices.ContainsFunc(m.sections[section], func(r diffRR) bool { return r.typ == typ })
}

// cnames counts the CNAMEs of the answer.
func (m *diffMessage) cnames() int {
	n := 0
	for _, r := range m.sections[diffAnswer] {
		if r.typ == dns.TypeCNAME {
			n++
		}
	}
	return n
}

// referral says whether the message refers to name servers of a zone below.
func (m *diffMessage) referral() bool {
	return m.has(diffAuthority, dns.TypeNS) && !m.has(diffAuthority, dns.TypeSOA)
}

// glue gives the addresses of the additional section whose owner is a name server within its cut (near), or is not.
func (m *diffMessage) glue(near bool) []diffRR {
	var out []diffRR
	for _, r := range m.sections[diffAdditional] {
		within := slices.ContainsFunc(m.sections[diffAuthority], func(ns diffRR) bool {
			return ns.typ == dns.TypeNS && bytes.Equal(ns.rdata, r.owner) && wireWithin(r.owner, ns.owner)
		})
		if within == near {
			out = append(out, r)
		}
	}
	return out
}

// wireWithin says whether a folded name is another or below it.
func wireWithin(name, zone []byte) bool {
	for len(name) > len(zone) {
		name = name[1+int(name[0]):]
	}
	return bytes.Equal(name, zone)
}

// String shows the message, for people.
func (m *diffMessage) String() string {
	if m == nil {
		return "no answer"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s", dns.RcodeToString[int(m.rcode)])
	if m.aa {
		b.WriteString(" aa")
	}
	if m.truncated {
		b.WriteString(" (truncated by UDP)")
	}
	fmt.Fprintf(&b, " %d octets %s\n", m.size, m.odd)
	for s, name := range []string{"answer", "authority", "additional"} {
		for _, r := range m.sections[s] {
			fmt.Fprintf(&b, "  %-10s %s %d %s %s\n", name, wireText(r.owner), r.ttl, dns.Type(r.typ), rdataText(r))
		}
	}
	return b.String()
}

// wireText is a wire name as text.
func wireText(name []byte) string {
	text, _, err := dns.UnpackDomainName(name, 0)
	if err != nil {
		return fmt.Sprintf("%q", name)
	}
	return text
}

// rdataText is rdata as text, in octets if need be.
func rdataText(r diffRR) string {
	wire := append([]byte{0, byte(r.typ >> 8), byte(r.typ), 0, 1, 0, 0, 0, 0, byte(len(r.rdata) >> 8), byte(len(r.rdata))}, r.rdata...)
	rr, _, err := dns.UnpackRR(wire, 0)
	if err != nil {
		return fmt.Sprintf("%x", r.rdata)
	}
	return strings.TrimPrefix(rr.String(), rr.Header().String())
}
