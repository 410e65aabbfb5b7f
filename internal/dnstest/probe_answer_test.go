package dnstest_test

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// message is an answer, taken apart.
type message struct {
	raw      []byte
	fault    error // what is malformed in it; what stands before that is there
	id       uint16
	flags    uint16
	question []byte // octets of the question section
	sections [3][]record
	opt      *record // also among the additional records
	opts     int     // OPT records
	tsig     *record
	options  []option
}

// record is one record of an answer.
type record struct {
	section    int // 0 answer, 1 authority, 2 additional
	typ, class uint16
	ttl        uint32
	data       []byte // as it stands, its names compressed
	pointer    bool   // the owner is a pointer to the question's name
	rr         dns.RR // nil for OPT and TSIG
	last       bool   // of the message
}

// option is one EDNS option.
type option struct {
	code uint16
	data []byte
}

// errCut is a message that ends before it should.
var errCut = errors.New("the answer is cut off")

// readMessage takes an answer apart.
func readMessage(b []byte) *message {
	m := &message{raw: append([]byte(nil), b...)}
	m.fault = m.read()
	return m
}

func (m *message) read() error {
	b := m.raw
	if len(b) < 12 {
		return errCut
	}
	m.id, m.flags = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	off := 12
	for range binary.BigEndian.Uint16(b[4:]) {
		_, end, err := dns.UnpackDomainName(b, off)
		if err != nil {
			return fmt.Errorf("question: %w", err)
		}
		if off = end + 4; off > len(b) {
			return errCut
		}
	}
	m.question = b[12:off]
	for s := range m.sections {
		for i := range binary.BigEndian.Uint16(b[6+2*s:]) {
			r, end, err := readRecord(b, off)
			if err != nil {
				return fmt.Errorf("record %d of section %d: %w", i+1, s, err)
			}
			off = end
			r.section, r.last = s, off == len(b)
			m.sections[s] = append(m.sections[s], *r)
			if err := m.note(r); err != nil {
				return err
			}
		}
	}
	if off != len(b) {
		return fmt.Errorf("%d octets behind the last record", len(b)-off)
	}
	return nil
}

// note keeps the records that are not data.
func (m *message) note(r *record) error {
	switch r.typ {
	case dns.TypeOPT:
		m.opt = r
		m.opts++
		for d := r.data; len(d) > 0; {
			if len(d) < 4 || len(d) < 4+int(binary.BigEndian.Uint16(d[2:])) {
				return fmt.Errorf("option: %w", errCut)
			}
			n := 4 + int(binary.BigEndian.Uint16(d[2:]))
			m.options = append(m.options, option{binary.BigEndian.Uint16(d), d[4:n]})
			d = d[n:]
		}
	case dns.TypeTSIG:
		m.tsig = r
	}
	return nil
}

// readRecord reads the record at an offset.
func readRecord(b []byte, off int) (*record, int, error) {
	_, end, err := dns.UnpackDomainName(b, off)
	if err != nil {
		return nil, 0, err
	}
	if end+10 > len(b) {
		return nil, 0, errCut
	}
	r := &record{
		typ: binary.BigEndian.Uint16(b[end:]), class: binary.BigEndian.Uint16(b[end+2:]), ttl: binary.BigEndian.Uint32(b[end+4:]),
		pointer: end == off+2 && b[off] == 0xC0 && b[off+1] == 12,
	}
	stop := end + 10 + int(binary.BigEndian.Uint16(b[end+8:]))
	if stop > len(b) {
		return nil, 0, errCut
	}
	r.data = b[end+10 : stop]
	if r.typ != dns.TypeOPT && r.typ != dns.TypeTSIG {
		if r.rr, _, err = dns.UnpackRR(b[:stop], off); err != nil {
			return nil, 0, err
		}
	}
	return r, stop, nil
}

// option is the data of the first option with a code.
func (m *message) option(code uint16) ([]byte, bool) {
	for _, o := range m.options {
		if o.code == code {
			return o.data, true
		}
	}
	return nil, false
}

// rcode is the response code, with the upper bits of the OPT record.
func (m *message) rcode() int {
	code := int(m.flags & 0xF)
	if m.opt != nil {
		code |= int(m.opt.ttl>>24) << 4
	}
	return code
}

// data counts the records of a section that are neither OPT nor TSIG.
func (m *message) data(section int) int {
	n := 0
	for _, r := range m.sections[section] {
		if r.rr != nil {
			n++
		}
	}
	return n
}

// String shows an answer much as dig does.
func (m *message) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %s opcode=%d flags:", rcodeName(m.rcode()), m.flags>>11&0xF)
	for _, f := range []string{"QR", "AA", "TC", "RD", "RA", "Z", "AD", "CD"} {
		if m.flags&headerBits()[f] != 0 {
			b.WriteString(" " + strings.ToLower(f))
		}
	}
	fmt.Fprintf(&b, "; %d octets, question %d", len(m.raw), len(m.question))
	const most = 4
	for s, name := range []string{"answer", "authority", "additional"} {
		for i, r := range m.sections[s] {
			switch {
			case i == most:
				fmt.Fprintf(&b, "\n  %s ... (%d records)", name, len(m.sections[s]))
			case i < most && r.rr != nil:
				text := r.rr.String()
				fmt.Fprintf(&b, "\n  %s %s", name, text[:min(len(text), 120)])
			}
		}
	}
	if m.opt != nil {
		fmt.Fprintf(&b, "\n  OPT size=%d version=%d flags=%04x", m.opt.class, m.opt.ttl>>16&0xFF, m.opt.ttl&0xFFFF)
	}
	for _, o := range m.options {
		fmt.Fprintf(&b, "\n  option %d: %s %q", o.code, hex.EncodeToString(o.data), o.data)
	}
	if m.tsig != nil {
		fmt.Fprintf(&b, "\n  TSIG %s", hex.EncodeToString(m.tsig.data))
	}
	if m.fault != nil {
		fmt.Fprintf(&b, "\n  malformed: %v", m.fault)
	}
	return b.String()
}

// rcodeName is the name of a response code. 16 is BADVERS here, which a TSIG would call BADSIG.
func rcodeName(code int) string {
	if code == dns.RcodeBadVers {
		return "BADVERS"
	}
	if name, known := dns.RcodeToString[code]; known {
		return name
	}
	return fmt.Sprintf("RCODE%d", code)
}
