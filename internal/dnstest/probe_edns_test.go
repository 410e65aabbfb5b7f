package dnstest_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"geodns/internal/dnstest"
)

// sound is what every answer must be, whatever it is an answer to: itself well-formed, with the query's id, opcode and RD, QR set,
// RA, Z and AD clear (RFC 1035 section 4.1.1, RFC 4035 section 3.1.6), at most one OPT record and none that was not asked
// for (RFC 6891 section 6.1.1).
func (x *exchange) sound(m *message) error {
	if m.fault != nil {
		return fmt.Errorf("the answer is malformed: %w", m.fault)
	}
	bits := headerBits()
	opcode := m.flags >> 11 & 0xF
	asked := uint16(0)
	if len(x.query) >= 4 {
		asked = binary.BigEndian.Uint16(x.query[2:])
	}
	copies := uint16(max(x.text.framing.copies, 1))
	err := errors.Join(
		unless(m.id >= probeID && m.id < probeID+copies, "the id is %04x", m.id),
		unless(m.flags&bits["QR"] != 0, "QR is 0"),
		unless(opcode == asked>>11&0xF, "the opcode is %d", opcode),
		unless(m.flags&bits["RD"] == asked&bits["RD"] || opcode != dns.OpcodeQuery, "RD is not the query's"),
		unless(m.flags&(bits["RA"]|bits["Z"]|bits["AD"]) == 0, "RA, Z or AD is set: %04x", m.flags),
		unless(m.opts <= 1, "%d OPT records", m.opts),
		unless(m.opts == 0 || x.hasOPT(), "an OPT record that was not asked for"),
		unless(m.tsig == nil || m.tsig.last, "a TSIG that is not the last record"),
		unless(m.flags&bits["AA"] == 0 || !x.target.ours || slices.Contains([]int{dns.RcodeSuccess, dns.RcodeNameError, dns.RcodeYXDomain}, m.rcode()),
			"AA in an error of ours"))
	if m.opt != nil {
		err = errors.Join(err,
			unless(m.opt.section == 2, "an OPT record in section %d", m.opt.section),
			unless(m.opt.ttl&0x7FFF == 0, "unknown EDNS flags: %04x", m.opt.ttl&0x7FFF))
	}
	return err
}

// hasOPT says whether the query has an OPT record that a server may have seen. What was written in hex may be one.
func (x *exchange) hasOPT() bool {
	if x.text.raw != "" || x.text.trail != "" {
		return true
	}
	for _, r := range x.text.records {
		if r.typ == dns.TypeOPT {
			return true
		}
	}
	return false
}

// parseEDNS reads assertions on the OPT record and its options.
func parseEDNS(word, rest string) (assertion, error) {
	switch word {
	case "opt":
		return parseOPT(rest)
	case "option":
		return parseOption(rest)
	case "cookie":
		return parseCookie(rest)
	case "scope":
		return parseScope(rest)
	case "ede":
		if rest == "none" {
			return parseOption("EDE none")
		}
		code, err := number16(rest)
		return assertion{answer: func(_ *exchange, m *message) error {
			o, there := m.option(dns.EDNS0EDE)
			if !there || len(o) < 2 {
				return errors.New("it is not there")
			}
			const textMax = 64
			return errors.Join(
				unless(binary.BigEndian.Uint16(o) == code, "it is %d", binary.BigEndian.Uint16(o)),
				unless(len(o)-2 <= textMax, "its text has %d octets", len(o)-2))
		}}, err
	}
	return assertion{}, nil
}

// parseOPT reads `opt none`, `opt version 0`, `opt do 1`, `opt size N..M`, `opt options N`.
func parseOPT(rest string) (a assertion, err error) {
	if rest == "none" {
		a.answer = func(_ *exchange, m *message) error { return unless(m.opt == nil, "it is there") }
		return a, nil
	}
	what, value, _ := strings.Cut(rest, " ")
	var n span
	if what != "" {
		if n, err = parseSpan(value); err != nil {
			return a, err
		}
	}
	a.answer = func(_ *exchange, m *message) error {
		if m.opt == nil {
			return errors.New("it is not there")
		}
		switch what {
		case "":
			return nil
		case "version":
			return n.check(int(m.opt.ttl >> 16 & 0xFF))
		case "do":
			return n.check(int(m.opt.ttl >> 15 & 1))
		case "size":
			return n.check(int(m.opt.class))
		case "options":
			return n.check(len(m.options))
		}
		return errors.New("none, version, do, size or options")
	}
	return a, nil
}

// parseOption reads `option NAME none`, `option NAME there`, `option NAME length N..M`, `option NAME = OCTETS`.
func parseOption(rest string) (a assertion, err error) {
	name, what, _ := strings.Cut(rest, " ")
	code, known := optionCodes()[name]
	if !known {
		if code, err = number16(name); err != nil {
			return a, err
		}
	}
	var n span
	var want []byte
	word, value, _ := strings.Cut(what, " ")
	switch word {
	case "none", "there":
	case "length":
		n, err = parseSpan(value)
	case "=":
		want, err = octets(value, &environment{id: probeID, client: clientCookie()})
	default:
		err = errors.New("none, there, length or =")
	}
	a.answer = func(_ *exchange, m *message) error {
		data, there := m.option(code)
		switch {
		case word == "none":
			return unless(!there, "it is there: %s", hexOf(data))
		case !there:
			return errors.New("it is not there")
		case word == "length":
			return n.check(len(data))
		case word == "=":
			return unless(bytes.Equal(data, want), "it is %s", hexOf(data))
		}
		return nil
	}
	return a, err
}

// parseScope reads `scope N`: the client subnet option is the query's, octet for octet, but for its scope, which is N (RFC 7871
// section 7.2.1).
func parseScope(rest string) (a assertion, err error) {
	scope, err := number16(rest)
	a.answer = func(x *exchange, m *message) error {
		got, there := m.option(dns.EDNS0SUBNET)
		want := bytes.Clone(x.sent(dns.EDNS0SUBNET))
		if !there || len(want) < 4 {
			return errors.New("there is no client subnet")
		}
		want[3] = byte(scope)
		return unless(bytes.Equal(got, want), "it is %s", hexOf(got))
	}
	return a, err
}

// parseCookie reads what the COOKIE option of an answer should be (RFC 7873 section 5.2):
//
//	good   the query's client cookie and a server cookie
//	fresh  the same, and the server cookie is not the one in the query
//	same   the query's whole option
//	none   no option
//	made   good, and the server cookie is one of RFC 9018, made now with the secret that all have
func parseCookie(rest string) (a assertion, err error) {
	switch rest {
	case "none":
		return parseOption("COOKIE none")
	case "good", "fresh", "same", "made":
	default:
		return a, errors.New("good, fresh, same, made or none")
	}
	a.answer = func(x *exchange, m *message) error {
		got, there := m.option(dns.EDNS0COOKIE)
		sent := x.sent(dns.EDNS0COOKIE)
		if !there {
			return errors.New("it is not there")
		}
		if len(got) < 16 || len(got) > 40 || len(sent) < 8 || !bytes.Equal(got[:8], sent[:8]) {
			return fmt.Errorf("it is %s", hexOf(got))
		}
		switch rest {
		case "fresh":
			return unless(!bytes.Equal(got, sent), "it is the same")
		case "same":
			return unless(bytes.Equal(got, sent), "it is %s", hexOf(got))
		case "made":
			return x.madeNow(got)
		}
		return nil
	}
	return a, nil
}

// madeNow checks a server cookie against our own making of it.
func (x *exchange) madeNow(cookie []byte) error {
	if len(cookie) != 24 {
		return fmt.Errorf("%d octets", len(cookie))
	}
	when := int64(binary.BigEndian.Uint32(cookie[12:]))
	const slack = 5
	if off := time.Now().Unix() - when; off < -slack || off > slack {
		return fmt.Errorf("it is %d s old", off)
	}
	want := serverCookie(cookie[:8], when, x.target.client, dnstest.CookieSecret)
	return unless(bytes.Equal(cookie[8:], want), "%s should be %s", hexOf(cookie[8:]), hexOf(want))
}

// sent is the data of the query's first option with a code.
func (x *exchange) sent(code uint16) []byte {
	for _, r := range x.text.records {
		for _, o := range r.options {
			if o.code == code {
				data, _ := octets(o.data, x.env) // it was sent, so it can be read
				return data
			}
		}
	}
	return nil
}
