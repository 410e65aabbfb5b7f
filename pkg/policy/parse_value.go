package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"geodns/internal/source"
	"geodns/pkg/geo"
)

// clipMax is how much of a wrong value a message quotes.
const clipMax = 80

// clip shortens what a message quotes.
func clip(s string) string {
	if len(s) <= clipMax {
		return s
	}
	cut := clipMax
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}

// quoted lists words for a message.
func quoted(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = strconv.Quote(w)
	}
	return strings.Join(q, ", ")
}

// name reads the required key `name`. The text is given back even if it is no good as a name, so that references to it
// are not reported too; it is empty only if there is none.
func (p *parser) name(m source.Map) (string, source.Place) {
	v, ok := p.need(m, "name", "everything has one, by which others know it")
	if !ok {
		return "", m.Place()
	}
	s, ok := v.String(p.fs)
	if !ok {
		return v.Text(), v.Place()
	}
	if why := badName(s); why != "" {
		p.errorf(v, "%q is no name: %s", clip(s), why)
	}
	return s, v.Place()
}

// need gives the value of a key that must be given, or reports its absence and what should stand there.
func (p *parser) need(m source.Map, key, hint string) (source.Value, bool) {
	v := m.Get(key)
	if !v.Exists() || v.IsNull() {
		p.fs.Errorf(m.Place(), "key %q is missing: %s", key, hint)
		return v, false
	}
	return v, true
}

// badName says what is wrong with a name, or "". Names are 1 to NameMax ASCII letters, digits, `-`, `_` and `.`, begin
// with a letter or digit, and keep their case.
func badName(s string) string {
	if s == "" {
		return "it is empty"
	}
	if len(s) > NameMax {
		return fmt.Sprintf("it has %d bytes; at most %d are allowed", len(s), NameMax)
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case isAlphanumeric(c):
		case i == 0:
			return "it begins with a letter or a digit"
		case c != '-' && c != '_' && c != '.':
			return "use letters, digits, '-', '_' and '.' only"
		}
	}
	return ""
}

// isAlphanumeric says whether c is an ASCII letter or digit.
func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// ref reads an optional name of something else. An absent key gives the zero ref.
func (p *parser) ref(v source.Value) ref {
	if !v.Exists() {
		return ref{}
	}
	s, ok := v.String(p.fs)
	if !ok {
		return ref{}
	}
	if s == "" {
		p.errorf(v, "a name is wanted here, not an empty string")
	}
	return ref{s, v.Place()}
}

// list reads a list of 1 to most items; an empty one would say nothing, so it is a mistake.
func (p *parser) list(v source.Value, what string, most int) ([]source.Value, bool) {
	if v.Kind() == source.Scalar && !v.IsNull() {
		p.errorf(v, "a list is wanted here: write [%s]", clip(v.Text()))
		return nil, false
	}
	items, ok := v.List(p.fs)
	switch {
	case !ok:
		return nil, false
	case len(items) == 0:
		p.errorf(v, "an empty list; give at least one %s, or leave the key out", what)
		return nil, false
	case len(items) > most:
		p.errorf(v, "%d items; at most %d are allowed", len(items), most)
		return nil, false
	}
	return items, true
}

// texts reads a list of free texts, none of them twice.
func (p *parser) texts(v source.Value, what string) []ref {
	items, ok := p.list(v, what, ListMax)
	if !ok {
		return nil
	}
	var out []ref
	first := map[string]source.Place{}
	for _, item := range items {
		s := p.text(item, what)
		if s == "" {
			continue
		}
		if at, doubled := first[s]; doubled {
			p.errorf(item, "%s %q stands twice; the first is at %d:%d", what, clip(s), at.Line, at.Col)
			continue
		}
		first[s] = item.Place()
		out = append(out, ref{s, item.Place()})
	}
	return out
}

// text reads a text that is neither empty nor long and that can be printed. It is "" after an error.
func (p *parser) text(v source.Value, what string) string {
	s, ok := v.String(p.fs)
	switch {
	case !ok:
		return ""
	case s == "":
		p.errorf(v, "an empty %s; leave it out", what)
	case len(s) > TextMax:
		p.errorf(v, "a %s of %d bytes; at most %d are allowed", what, len(s), TextMax)
		return ""
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		p.errorf(v, "a %s with characters that cannot be printed", what)
		return ""
	}
	return s
}

// scalar gives the text of a value whatever YAML takes it for: an address or a prefix needs no quotes.
func (p *parser) scalar(v source.Value, want string) (string, bool) {
	if v.Kind() != source.Scalar || v.IsNull() {
		p.errorf(v, "%s is wanted here", want)
		return "", false
	}
	return v.Text(), true
}

// unknownCode is the geo code of clients that no database places.
const unknownCode = "unknown"

// code reads a geo code that names a place.
func (p *parser) code(s string, at source.Place) (geo.Code, bool) {
	c, err := geo.ParseCode(s)
	if err != nil {
		p.fs.Errorf(at, "%s", err)
		return geo.Code{}, false
	}
	return c, true
}

// prefix reads a client subnet. Its host bits are zero and it is not an IPv4 one in IPv6 clothes.
func (p *parser) prefix(s string, at source.Place) (netip.Prefix, bool) {
	pre, err := netip.ParsePrefix(s)
	if err != nil {
		if a, addrErr := netip.ParseAddr(s); addrErr == nil && a.Zone() == "" {
			p.fs.Errorf(at, "%q is an address; write a subnet: %s/%d", s, s, a.BitLen())
			return pre, false
		}
		p.fs.Errorf(at, "%q is no subnet; write one such as 192.0.2.0/24 or 2001:db8::/48", clip(s))
		return pre, false
	}
	if pre.Addr().Is4In6() {
		p.fs.Errorf(at, "%q is an IPv4 subnet written as IPv6; write it as IPv4, %s", s, unmapped(pre))
		return pre, false
	}
	if pre != pre.Masked() {
		p.fs.Errorf(at, "%q has bits set behind its length; write %s", s, pre.Masked())
		return pre, false
	}
	return pre, true
}

// unmapped is an IPv4-mapped prefix as IPv4, for a message.
func unmapped(pre netip.Prefix) string {
	if pre.Bits() < 96 {
		return "such as 192.0.2.0/24"
	}
	return netip.PrefixFrom(pre.Addr().Unmap(), pre.Bits()-96).Masked().String()
}

// address reads an address that an answer can carry.
func (p *parser) address(a netip.Addr, at source.Place) bool {
	why := ""
	switch {
	case a.Zone() != "":
		why = "an address with a zone means nothing to a client; leave %" + a.Zone() + " out"
	case a.Is4In6():
		why = "it is an IPv4 address written as IPv6; write " + a.Unmap().String()
	case a.IsUnspecified():
		why = "nobody can be reached at the unspecified address"
	case a.IsMulticast():
		why = "a target has unicast addresses, and this is a multicast one"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		why = "a target has unicast addresses, and this is the broadcast one"
	}
	if why != "" {
		p.fs.Errorf(at, "%q: %s", clip(a.String()), why)
	}
	return why == ""
}

// Limits of host names (RFC 1035 section 2.3.4). hostNameMax is of the text with its final dot: one less than on the wire.
const (
	hostNameMax  = 254
	hostLabelMax = 63
)

// hostName checks an absolute host name (RFC 1123 section 2.1; an underscore is allowed, as names of service endpoints
// have it) and gives it in lower case.
func hostName(s string) (string, error) {
	if len(s) > hostNameMax {
		return "", fmt.Errorf("it has %d bytes; a name has at most %d with its dots", len(s), hostNameMax)
	}
	labels := strings.Split(strings.TrimSuffix(s, "."), ".")
	for _, l := range labels {
		if err := hostLabel(l); err != nil {
			return "", err
		}
	}
	if allDigits(labels[len(labels)-1]) {
		return "", errors.New("its last label has digits alone, as an address has")
	}
	if !strings.HasSuffix(s, ".") {
		return "", fmt.Errorf("an absolute name ends with a dot: write %s", s+".")
	}
	return strings.ToLower(s), nil
}

// hostLabel checks one label.
func hostLabel(l string) error {
	switch {
	case l == "":
		return errors.New("it has an empty label")
	case len(l) > hostLabelMax:
		return fmt.Errorf("label %q has %d bytes; at most %d are allowed", clip(l), len(l), hostLabelMax)
	case l[0] == '-' || l[len(l)-1] == '-':
		return fmt.Errorf("label %q begins or ends with '-'", l)
	}
	for i := range len(l) {
		c := l[i]
		if !isAlphanumeric(c) && c != '-' && c != '_' {
			return fmt.Errorf("label %q has more than letters, digits, '-' and '_'", l)
		}
	}
	return nil
}

func allDigits(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

// count reads an integer that fits an int.
func (p *parser) count(v source.Value, lo, hi int64) int {
	n, _ := v.Int(p.fs, lo, hi)
	return int(n)
}
