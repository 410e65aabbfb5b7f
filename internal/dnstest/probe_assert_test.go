package dnstest_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// macros are words that stand for assertions which often come together.
func macros() map[string]string {
	const empty = "tc 0, answers 0, authority 0, additional 0"
	return map[string]string{
		"answered":  "rcode NOERROR, aa 1, tc 0, question echoed",
		"nxdomain":  "rcode NXDOMAIN, aa 1, tc 0, question echoed, authority 1",
		"nodata":    "rcode NOERROR, aa 1, tc 0, question echoed, answers 0, authority 1",
		"referral":  "rcode NOERROR, aa 0, tc 0, question echoed, answers 0",
		"truncated": "rcode NOERROR, tc 1, question echoed",
		"refused":   "rcode REFUSED, aa 0, question echoed, " + empty,
		"notimp":    "rcode NOTIMP, " + empty,
		"formerr":   "rcode FORMERR, " + empty,
		"badvers":   "rcode BADVERS, opt version 0, " + empty,
	}
}

// parseAssertions reads assertions with commas between them.
func parseAssertions(text string) ([]assertion, error) {
	var list []assertion
	for one := range strings.SplitSeq(text, ", ") {
		one = strings.TrimSpace(one)
		if macro, known := macros()[one]; known {
			more, err := parseAssertions(macro)
			if err != nil {
				return nil, err
			}
			list = append(list, more...)
			continue
		}
		word, rest, _ := strings.Cut(one, " ")
		a, err := parseAssertion(word, strings.TrimSpace(rest))
		if err != nil {
			return nil, fmt.Errorf("%q: %w", one, err)
		}
		a.text = one
		list = append(list, a)
	}
	return list, nil
}

// parseAssertion reads one assertion.
func parseAssertion(word, rest string) (assertion, error) {
	for _, parse := range []func(word, rest string) (assertion, error){parseWhole, parseHeader, parseRecords, parseEDNS, parseShape} {
		a, err := parse(word, rest)
		if err != nil || a.answer != nil || a.whole != nil {
			return a, err
		}
	}
	return assertion{}, errors.New("no such assertion")
}

// parseWhole reads assertions on the exchange as a whole.
func parseWhole(word, rest string) (a assertion, err error) {
	switch word {
	case "any":
		a.whole = func(*exchange) error { return nil }
	case "drop":
		a.whole = func(x *exchange) error {
			if len(x.answers) > 0 {
				return errors.New("it is answered")
			}
			if !x.alive && x.transport == "udp" {
				return errors.New("the query behind it is not answered either")
			}
			return nil
		}
	case "alive":
		a.whole = func(x *exchange) error { return unless(x.alive, "the query behind it is not answered") }
	case "closed":
		a.whole = func(x *exchange) error { return unless(x.closed, "the connection stays open") }
	case "replies":
		var n span
		n, err = parseSpan(rest)
		a.whole = func(x *exchange) error {
			ids := map[uint16]bool{}
			for _, m := range x.answers {
				ids[m.id] = true
			}
			if x.text.framing.copies > 0 && len(ids) != len(x.answers) {
				return errors.New("two answers have the same id")
			}
			return n.check(len(x.answers))
		}
	case "whole":
		a.whole = func(x *exchange) error { return unless(x.whole, "its length came alone") }
	}
	return a, err
}

// parseHeader reads assertions on the header and the question.
func parseHeader(word, rest string) (a assertion, err error) {
	switch word {
	case "rcode":
		codes := strings.Split(rest, "|")
		for _, c := range codes {
			if _, known := dns.StringToRcode[c]; !known && c != "BADVERS" {
				return a, fmt.Errorf("%s is no response code", c)
			}
		}
		a.answer = func(_ *exchange, m *message) error {
			return unless(slices.Contains(codes, rcodeName(m.rcode())), "it is %s", rcodeName(m.rcode()))
		}
	case "aa", "tc", "rd", "cd", "ad", "ra":
		bit := headerBits()[strings.ToUpper(word)]
		if rest != "0" && rest != "1" {
			return a, errors.New("0 or 1")
		}
		a.answer = func(_ *exchange, m *message) error {
			return unless((m.flags&bit != 0) == (rest == "1"), "it is not")
		}
	case "question":
		a.answer = func(x *exchange, m *message) error {
			end := min(12+len(m.question), len(x.query))
			echoed := len(m.question) > 0 && bytes.Equal(m.question, x.query[12:end])
			switch rest {
			case "echoed":
				return unless(echoed, "it is %x", m.question)
			case "none":
				return unless(len(m.question) == 0, "it is %x", m.question)
			}
			return unless(echoed || len(m.question) == 0, "it is %x", m.question)
		}
		if rest != "echoed" && rest != "none" && rest != "echoed|none" {
			err = errors.New("echoed, none or echoed|none")
		}
	}
	return a, err
}

// parseRecords reads assertions on the records of sections.
func parseRecords(word, rest string) (a assertion, err error) {
	section := slices.Index([]string{"answers", "authority", "additional", "answer"}, word)
	if section < 0 {
		return a, nil
	}
	if n, notNumber := parseSpan(rest); notNumber == nil && word != "answer" {
		a.answer = func(_ *exchange, m *message) error { return n.check(m.data(section)) }
		return a, nil
	}
	text := strings.TrimPrefix(rest, "no ")
	absent := text != rest
	f := strings.Fields(text)
	if len(f) < 3 {
		return a, errors.New("NAME TTL TYPE RDATA, or a number")
	}
	anyTTL := f[1] == "*"
	if anyTTL {
		f[1] = "0"
	}
	if f[2] != "CH" {
		f = slices.Insert(f, 2, "IN")
	}
	rr, err := dns.NewRR(strings.Join(f, " "))
	if err != nil || rr == nil {
		return a, fmt.Errorf("a record it is not: %w", err)
	}
	a.answer = func(_ *exchange, m *message) error {
		there := slices.ContainsFunc(m.sections[section%3], func(r record) bool {
			return r.rr != nil && dns.IsDuplicate(r.rr, rr) && (anyTTL || r.ttl == rr.Header().Ttl)
		})
		return unless(there != absent, "it is %s", map[bool]string{true: "there", false: "not there"}[there])
	}
	return a, nil
}

// parseShape reads assertions on how the answer is put together.
func parseShape(word, rest string) (a assertion, err error) {
	var n span
	switch word {
	case "size":
		n, err = parseSpan(rest)
		a.answer = func(_ *exchange, m *message) error { return n.check(len(m.raw)) }
	case "amplification":
		// Octets of the answer for each of the query.
		var most float64
		most, err = strconv.ParseFloat(rest, 64)
		a.answer = func(x *exchange, m *message) error {
			factor := float64(len(m.raw)) / float64(len(x.query))
			return unless(factor < most, "%d octets for %d", len(m.raw), len(x.query))
		}
	case "compressed":
		// Every owner that is the question's name is a pointer to it.
		a.answer = func(_ *exchange, m *message) error {
			for _, r := range m.sections[0] {
				if !r.pointer {
					return fmt.Errorf("%s is written out", r.rr.Header().Name)
				}
			}
			return nil
		}
	case "uniform":
		// One TTL for all records of the answer section.
		a.answer = func(_ *exchange, m *message) error {
			for _, r := range m.sections[0] {
				if r.ttl != m.sections[0][0].ttl {
					return fmt.Errorf("%d and %d", m.sections[0][0].ttl, r.ttl)
				}
			}
			return nil
		}
	case "reflected":
		// The answer itself, sent to the server, is not answered.
		a.answer = func(x *exchange, m *message) error {
			answers, failed := x.reflect(m)
			return errors.Join(failed, unless(answers == 0, "the answer is answered"))
		}
	case "tsig":
		return parseTSIG(rest)
	}
	return a, err
}

// parseTSIG reads `tsig none` and `tsig error N`: that is RFC 8945 section 5.3.2, an unsigned answer whose TSIG names the same key
// and algorithm, has no MAC, and repeats the query's id.
func parseTSIG(rest string) (a assertion, err error) {
	if rest == "none" {
		a.answer = func(_ *exchange, m *message) error { return unless(m.tsig == nil, "it is there") }
		return a, nil
	}
	want, err := number16(strings.TrimPrefix(rest, "error "))
	if err != nil {
		return a, err
	}
	a.answer = func(x *exchange, m *message) error {
		if m.tsig == nil {
			return errors.New("it is not there")
		}
		algorithm, off, err := dns.UnpackDomainName(m.tsig.data, 0)
		if err != nil {
			return err
		}
		d := m.tsig.data[off:]
		if len(d) < 16 {
			return errCut
		}
		mac := int(binary.BigEndian.Uint16(d[8:]))
		if len(d) < 16+mac {
			return errCut
		}
		tail := d[10+mac:]
		id, code := binary.BigEndian.Uint16(tail), binary.BigEndian.Uint16(tail[2:])
		return errors.Join(
			unless(m.tsig.class == dns.ClassANY && m.tsig.ttl == 0, "class %d, TTL %d", m.tsig.class, m.tsig.ttl),
			unless(m.tsig.last, "it is not the last record"),
			unless(bytes.Contains(x.query, m.tsig.data[:off]), "algorithm %s", algorithm),
			unless(mac == 0, "a MAC of %d octets", mac),
			unless(id == x.env.id, "original id %04x", id),
			unless(code == want, "error %d", code))
	}
	return a, nil
}

// unless is an error where good is false.
func unless(good bool, format string, args ...any) error {
	if good {
		return nil
	}
	return fmt.Errorf(format, args...)
}

// span is numbers from least to most.
type span struct{ least, most int }

// parseSpan reads N or N..M.
func parseSpan(text string) (s span, err error) {
	from, to, isRange := strings.Cut(text, "..")
	if s.least, err = strconv.Atoi(from); err != nil {
		return s, err
	}
	s.most = s.least
	if isRange {
		s.most, err = strconv.Atoi(to)
	}
	return s, err
}

// check says whether a number is within.
func (s span) check(n int) error {
	return unless(n >= s.least && n <= s.most, "it is %d", n)
}

// hexOf is octets for a message to a person.
func hexOf(b []byte) string { return hex.EncodeToString(b) }
