package zone

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// genericRdata begins rdata in the form for unknown types, which all types may use (RFC 3597 section 5).
const genericRdata = `\#`

// rdataParser turns the text of rdata into its wire form, field by field as rdataSyntax says. It is used for one entry after the
// other, to save its memory.
type rdataParser struct {
	origin  []byte // of relative names
	args    []token
	next    int    // the argument to read
	out     []byte // wire form so far
	scratch []byte
	params  []svcParam
	// warnings are what is odd in an entry's rdata but may stand.
	warnings []rdataError
}

// rdataError is what is wrong with an entry's rdata, and the argument where it shows: len(args) behind the last, -1 anywhere.
type rdataError struct {
	token int
	text  string
}

func (e *rdataError) Error() string { return e.text }

// parse gives the wire form of the rdata that args spell for a type, valid until the next call. Names in it keep the case of
// their letters.
func (p *rdataParser) parse(typ uint16, args []token, origin []byte) ([]byte, *rdataError) {
	p.origin, p.args, p.next, p.out, p.warnings = origin, args, 0, p.out[:0], p.warnings[:0]
	if len(args) > 0 && string(args[0].text) == genericRdata {
		if err := p.generic(); err != nil {
			return nil, err
		}
		if problem := walkRdata(typ, p.out); problem != "" {
			return nil, &rdataError{-1, problem}
		}
		return p.out, p.check(typ)
	}
	fields := rdataSyntax(typ)
	if fields == "" {
		return nil, &rdataError{0, ""}
	}
	for fields != "" {
		var name, kind string
		name, kind, fields = cutField(fields)
		optional := strings.HasSuffix(kind, "?")
		if p.next == len(p.args) && optional {
			continue
		}
		if p.next == len(p.args) && kind != "svcparams" {
			return nil, p.missing(name)
		}
		if err := p.field(name, strings.TrimSuffix(kind, "?")); err != nil {
			return nil, err
		}
	}
	if p.next < len(p.args) {
		return nil, &rdataError{p.next, quote(p.args[p.next].text) + " is too much"}
	}
	if len(p.out) > rdataMax {
		return nil, &rdataError{-1, fmt.Sprintf("the rdata has %d octets; %d is the most", len(p.out), rdataMax)}
	}
	return p.out, p.check(typ)
}

// check looks at what the whole rdata says.
func (p *rdataParser) check(typ uint16) *rdataError {
	if problem := checkRdata(typ, p.out); problem != "" {
		return &rdataError{-1, problem}
	}
	if odd := oddRdata(typ, p.out); odd != "" {
		p.warnings = append(p.warnings, rdataError{-1, odd})
	}
	return nil
}

// missing says that a field is not there.
func (p *rdataParser) missing(name string) *rdataError {
	return &rdataError{len(p.args), "the " + fieldText(name) + " is missing"}
}

// wrong says what the argument that was read last is not.
func (p *rdataParser) wrong(name, what string) *rdataError {
	return &rdataError{p.next - 1, fmt.Sprintf("%s %s %s", fieldText(name), quote(p.args[p.next-1].text), what)}
}

// take gives the next argument, which is there.
func (p *rdataParser) take() []byte {
	p.next++
	return p.args[p.next-1].text
}

// field reads one field.
func (p *rdataParser) field(name, kind string) *rdataError {
	switch kind {
	case "u8":
		return p.number(name, 8)
	case "u16":
		return p.number(name, 16)
	case "u32":
		return p.number(name, 32)
	case "ttl":
		return p.ttl(name)
	case "name":
		return p.name(name)
	case "ipv4":
		return p.ipv4(name)
	case "ipv6":
		return p.ipv6(name)
	case "string", "tag":
		return p.oneString(name, kind == "tag")
	case "strings":
		return p.strings(name)
	case "text", "quoted":
		return p.text(name, kind == "quoted")
	case "hex":
		return p.hex(name)
	case "base64":
		return p.base64(name)
	case "algorithm":
		return p.mnemonic(name, 8, algorithmByText)
	case "certtype":
		return p.mnemonic(name, 16, certTypeByText)
	case "type":
		return p.typeCovered(name)
	case "date":
		return p.date(name)
	case "types":
		return p.types()
	case "salt":
		return p.salt(name)
	case "base32":
		return p.base32(name)
	}
	return p.rareField(name, kind)
}

// generic reads rdata in the form for unknown types: \#, the number of octets, and as many in hexadecimal.
func (p *rdataParser) generic() *rdataError {
	p.next = 1
	if len(p.args) == 1 {
		return p.missing("number of octets")
	}
	n, ok := decimal(p.take(), rdataMax)
	if !ok {
		return p.wrong("length", "is no number of octets up to "+strconv.Itoa(rdataMax))
	}
	if p.next < len(p.args) {
		if err := p.hex("octets"); err != nil {
			return err
		}
	}
	if len(p.out) != int(n) {
		return &rdataError{1, fmt.Sprintf("there are %d octets, not %d", len(p.out), n)}
	}
	return nil
}

// decimal reads an unsigned decimal number up to most.
func decimal(text []byte, most uint64) (uint64, bool) {
	v := uint64(0)
	for _, c := range text {
		if !isDigit(c) {
			return 0, false
		}
		if v = v*10 + uint64(c-'0'); v > most {
			return 0, false
		}
	}
	return v, len(text) > 0
}

// number reads a number of so many bits.
func (p *rdataParser) number(name string, bits int) *rdataError {
	most := uint64(1)<<bits - 1
	v, ok := decimal(p.take(), most)
	if !ok {
		return p.wrong(name, "is no number from 0 to "+strconv.FormatUint(most, 10))
	}
	p.putNumber(v, bits)
	return nil
}

// putNumber writes a number of so many bits.
func (p *rdataParser) putNumber(v uint64, bits int) {
	for shift := bits - 8; shift >= 0; shift -= 8 {
		p.out = append(p.out, byte(v>>shift))
	}
}

// ttl reads a time span: seconds, or numbers with units.
func (p *rdataParser) ttl(name string) *rdataError {
	v, ok := ttlValue(p.take())
	if !ok {
		return p.wrong(name, "is no time: write seconds, or numbers with units as in 1h30m")
	}
	p.out = binary.BigEndian.AppendUint32(p.out, v)
	return nil
}

// name reads a domain name.
func (p *rdataParser) name(name string) *rdataError {
	out, err := appendName(p.out, p.take(), p.origin)
	if err != nil {
		return p.wrong(name, "is no domain name: "+err.Error())
	}
	p.out = out
	return nil
}

// ipv4 reads an IPv4 address.
func (p *rdataParser) ipv4(name string) *rdataError {
	out, ok := appendIPv4(p.out, p.take())
	if !ok {
		return p.wrong(name, "is no IPv4 address")
	}
	p.out = out
	return nil
}

// appendIPv4 appends an address of four decimal numbers without leading zeros.
func appendIPv4(dst, text []byte) ([]byte, bool) {
	for i := range 4 {
		part, rest, more := bytes.Cut(text, []byte{'.'})
		v, ok := decimal(part, 255)
		if !ok || more != (i < 3) || len(part) > 1 && part[0] == '0' {
			return dst, false
		}
		dst, text = append(dst, byte(v)), rest
	}
	return dst, true
}

// ipv6 reads an IPv6 address.
func (p *rdataParser) ipv6(name string) *rdataError {
	addr, ok := ipv6ByText(p.take())
	if !ok {
		return p.wrong(name, "is no IPv6 address")
	}
	p.out = append(p.out, addr[:]...)
	return nil
}

// ipv6ByText reads an IPv6 address without a zone.
func ipv6ByText(text []byte) ([16]byte, bool) {
	addr, err := netip.ParseAddr(string(text))
	if err != nil || addr.Is4() || addr.Zone() != "" {
		return [16]byte{}, false
	}
	return addr.As16(), true
}

// errGlued is what is wrong with "one""two" where strings are told apart by white space.
const errGlued = "has no white space between its strings"

// appendString appends what the first character-string of a token says, its quotes and escapes resolved, and gives the rest
// of the token. The scanner has seen that its quotes are closed.
func appendString(dst, text []byte) (out, rest []byte, ok bool) {
	quoted := text[0] == '"'
	i := 0
	if quoted {
		i = 1
	}
	for ; i < len(text) && text[i] != '"'; i++ {
		c := text[i]
		if c == '\\' {
			var n int
			if c, n = unescape(text[i+1:]); n == 0 {
				return dst, nil, false
			}
			i += n
		}
		dst = append(dst, c)
	}
	if quoted && i < len(text) {
		i++
	}
	return dst, text[i:], true
}

// putString writes the first character-string of a token with its length before it, and gives the rest.
func (p *rdataParser) putString(name string, text []byte) ([]byte, *rdataError) {
	at := len(p.out)
	out, rest, ok := appendString(append(p.out, 0), text)
	if !ok {
		return nil, p.wrong(name, "has a wrong escape: "+errEscape.Error())
	}
	n := len(out) - at - 1
	if n > stringMax {
		return nil, p.wrong(name, fmt.Sprintf("has %d octets; a string has %d at most, write several", n, stringMax))
	}
	out[at] = byte(n)
	p.out = out
	return rest, nil
}

// oneString reads one character-string, perhaps one that may not have quotes.
func (p *rdataParser) oneString(name string, bare bool) *rdataError {
	text := p.take()
	if bare && text[0] == '"' {
		return p.wrong(name, "stands in quotes")
	}
	rest, err := p.putString(name, text)
	if err == nil && len(rest) > 0 {
		return p.wrong(name, errGlued)
	}
	return err
}

// strings reads all that is left as character-strings. Quotes part them even without white space, as they do elsewhere.
func (p *rdataParser) strings(name string) *rdataError {
	for p.next < len(p.args) {
		for rest := p.take(); len(rest) > 0; {
			var err *rdataError
			if rest, err = p.putString(name, rest); err != nil {
				return err
			}
		}
	}
	return nil
}

// text reads text that fills the rest of the rdata.
func (p *rdataParser) text(name string, mustQuote bool) *rdataError {
	text := p.take()
	if mustQuote && text[0] != '"' {
		return p.wrong(name, "stands without quotes")
	}
	out, rest, ok := appendString(p.out, text)
	switch {
	case !ok:
		return p.wrong(name, "has a wrong escape: "+errEscape.Error())
	case len(rest) > 0:
		return p.wrong(name, errGlued)
	}
	p.out = out
	return nil
}

// hexDigit gives the value of a hexadecimal digit, -1 if it is none.
func hexDigit(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// hex reads all that is left as hexadecimal.
func (p *rdataParser) hex(name string) *rdataError {
	high, start := -1, len(p.out)
	for p.next < len(p.args) {
		for _, c := range p.take() {
			v := hexDigit(c)
			switch {
			case v < 0:
				return p.wrong(name, fmt.Sprintf("is not hexadecimal: it has %q", c))
			case high < 0:
				high = v
			default:
				p.out = append(p.out, byte(high<<4|v))
				high = -1
			}
		}
	}
	if high >= 0 {
		return p.wrong(name, fmt.Sprintf("is not complete: there are %d hexadecimal digits, an odd number", 2*(len(p.out)-start)+1))
	}
	return nil
}

// base64 reads all that is left as base64.
func (p *rdataParser) base64(name string) *rdataError {
	p.scratch = p.scratch[:0]
	first := p.next
	for p.next < len(p.args) {
		p.scratch = append(p.scratch, p.take()...)
	}
	out, err := base64.StdEncoding.Strict().AppendDecode(p.out, p.scratch)
	if err == nil {
		p.out = out
		return nil
	}
	at, what := int64(len(p.scratch)), "is not complete base64: its length or its padding is wrong"
	if bad, ok := errors.AsType[base64.CorruptInputError](err); ok && int64(bad) < at && !isBase64(p.scratch[bad]) {
		at, what = int64(bad), fmt.Sprintf("is not base64: it has %q", p.scratch[bad])
	}
	for p.next = first + 1; p.next < len(p.args) && at >= int64(len(p.args[p.next-1].text)); p.next++ {
		at -= int64(len(p.args[p.next-1].text))
	}
	return p.wrong(name, what)
}

// isBase64 says whether a character may stand in base64.
func isBase64(c byte) bool {
	return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '+' || c == '/' || c == '='
}

// algorithmByText gives the number of a DNSSEC algorithm's mnemonic.
func algorithmByText(text string) (uint64, bool) {
	v, ok := dns.StringToAlgorithm[text]
	return uint64(v), ok
}

// certTypeByText gives the number of a certificate type's mnemonic (RFC 4398 section 2.1).
func certTypeByText(text string) (uint64, bool) {
	v, ok := dns.StringToCertType[text]
	return uint64(v), ok
}

// mnemonic reads a number or a mnemonic.
func (p *rdataParser) mnemonic(name string, bits int, byText func(string) (uint64, bool)) *rdataError {
	text := p.take()
	most := uint64(1)<<bits - 1
	v, ok := decimal(text, most)
	if !ok {
		v, ok = byText(strings.ToUpper(string(text)))
	}
	if !ok {
		return p.wrong(name, fmt.Sprintf("is no number from 0 to %d and no mnemonic", most))
	}
	p.putNumber(v, bits)
	return nil
}

// typeCovered reads a record type.
func (p *rdataParser) typeCovered(name string) *rdataError {
	t, ok := typeByText(p.take())
	if !ok {
		return p.wrong(name, "is no record type")
	}
	p.putNumber(uint64(t), 16)
	return nil
}

// date reads a time as YYYYMMDDHHmmSS, or in seconds since 1970 (RFC 4034 section 3.2).
func (p *rdataParser) date(name string) *rdataError {
	text := p.take()
	v, ok := decimal(text, math.MaxUint32)
	if len(text) == len("YYYYMMDDHHmmSS") {
		at, err := time.Parse("20060102150405", string(text))
		v, ok = uint64(uint32(at.Unix())), err == nil
	}
	if !ok {
		return p.wrong(name, "is no time as YYYYMMDDHHmmSS and none in seconds since 1970")
	}
	p.putNumber(v, 32)
	return nil
}

// salt reads "-" or hexadecimal with a length before it.
func (p *rdataParser) salt(name string) *rdataError {
	text := p.take()
	at := len(p.out)
	p.out = append(p.out, 0)
	if string(text) == "-" {
		return nil
	}
	for i := 0; i+1 < len(text) && hexDigit(text[i]) >= 0 && hexDigit(text[i+1]) >= 0; i += 2 {
		p.out = append(p.out, byte(hexDigit(text[i])<<4|hexDigit(text[i+1])))
	}
	n := len(p.out) - at - 1
	if 2*n != len(text) || n > math.MaxUint8 {
		return p.wrong(name, `is neither "-" nor at most 255 octets in hexadecimal`)
	}
	p.out[at] = byte(n)
	return nil
}

// base32 reads a hash in base32 without padding, with a length before it (RFC 5155 section 3.3).
func (p *rdataParser) base32(name string) *rdataError {
	hash, ok := hashByText(p.take())
	if !ok {
		return p.wrong(name, "is no hash in base32 with the extended hexadecimal alphabet (RFC 4648 section 7)")
	}
	p.out = append(append(p.out, byte(len(hash))), hash...)
	return nil
}

// hashByText decodes base32 with the extended hexadecimal alphabet, letters of any case, up to 255 octets.
func hashByText(text []byte) ([]byte, bool) {
	hash, err := base32.HexEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(string(text)))
	full := base32.HexEncoding.WithPadding(base32.NoPadding).EncodedLen(len(hash))
	return hash, err == nil && len(hash) > 0 && len(hash) <= math.MaxUint8 && full == len(text)
}
