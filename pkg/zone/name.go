package zone

import (
	"bytes"
	"errors"
	"fmt"
)

// Names are kept in wire form: length octets and labels, ended by the root label's zero. A length octet is at most 63
// and so below 'A', which lets fold run over a whole name without looking for labels.

// Reasons why a text is no domain name.
var (
	errNameEmpty    = errors.New("a domain name may not be empty")
	errLabelEmpty   = errors.New("a label may not be empty: two dots stand together, or a dot first")
	errLabelLong    = errors.New("a label is longer than 63 octets")
	errNameLong     = errors.New("the name is longer than 255 octets")
	errEscape       = errors.New(`a backslash is followed by a character or by three digits up to 255`)
	errNameQuoted   = errors.New(`a domain name is written without quotes`)
	errNameNoOrigin = errors.New("the name is relative and there is no origin")
)

// appendName appends to dst the wire form of text, a name of a master file (RFC 1035 section 5.1): "@" is the origin,
// a name without a final dot is relative to it. Letters keep their case. On error dst's contents are unspecified.
func appendName(dst, text, origin []byte) ([]byte, error) {
	switch {
	case len(text) == 0:
		return dst, errNameEmpty
	case len(text) == 1 && text[0] == '@':
		return append(dst, origin...), nil
	case len(text) == 1 && text[0] == '.':
		return append(dst, 0), nil
	}
	start, length := len(dst), len(dst)
	dst = append(dst, 0)
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch c {
		case '"':
			return dst, errNameQuoted
		case '.':
			n := len(dst) - length - 1
			if n == 0 {
				return dst, errLabelEmpty
			}
			if n > labelMax {
				return dst, errLabelLong
			}
			dst[length] = byte(n)
			length = len(dst)
			dst = append(dst, 0)
			continue
		case '\\':
			var n int
			if c, n = unescape(text[i+1:]); n == 0 {
				return dst, errEscape
			}
			i += n
		}
		dst = append(dst, c)
	}
	n := len(dst) - length - 1
	if n > labelMax {
		return dst, errLabelLong
	}
	if n > 0 {
		dst[length] = byte(n)
		if len(origin) == 0 {
			return dst, errNameNoOrigin
		}
		dst = append(dst, origin...)
	}
	if len(dst)-start > nameMax {
		return dst, errNameLong
	}
	return dst, nil
}

// unescape reads what follows a backslash: three decimal digits, or any one other character. It gives the octet and
// how many bytes of text it took, 0 if there is no valid escape.
func unescape(text []byte) (byte, int) {
	if len(text) == 0 {
		return 0, 0
	}
	if !isDigit(text[0]) {
		return text[0], 1
	}
	if len(text) < 3 || !isDigit(text[1]) || !isDigit(text[2]) {
		return 0, 0
	}
	v := int(text[0]-'0')*100 + int(text[1]-'0')*10 + int(text[2]-'0')
	if v > 255 {
		return 0, 0
	}
	return byte(v), 3
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// nameText gives a wire name in presentation form, absolute, with the escapes that a master file needs.
func nameText(name []byte) string {
	if len(name) <= 1 {
		return "."
	}
	out := make([]byte, 0, len(name)+8)
	for len(name) > 1 {
		n := int(name[0])
		for _, c := range name[1 : 1+n] {
			switch {
			case c <= ' ' || c >= 0x7f:
				out = fmt.Appendf(out, `\%03d`, c)
			case bytes.IndexByte([]byte(`."\;()@$`), c) >= 0:
				out = append(out, '\\', c)
			default:
				out = append(out, c)
			}
		}
		out = append(out, '.')
		name = name[1+n:]
	}
	return string(out)
}

// fold lower-cases ASCII letters in place (RFC 4343), in a whole wire name or in part of one.
func fold(b []byte) {
	for i, c := range b {
		if c-'A' < 26 {
			b[i] = c + 0x20
		}
	}
}

// parent gives the name without its first label. The root has none.
func parent(name []byte) []byte { return name[1+int(name[0]):] }

// labelCount counts the labels of a wire name, the root label not among them.
func labelCount(name []byte) int {
	n := 0
	for name[0] != 0 {
		name = parent(name)
		n++
	}
	return n
}

// within says whether name is zone or below it. Both are folded.
func within(name, zone []byte) bool {
	for len(name) > len(zone) {
		name = parent(name)
	}
	return bytes.Equal(name, zone)
}

// isWildcard says whether the first label is "*" (RFC 4592 section 2.1.1).
func isWildcard(name []byte) bool { return name[0] == 1 && name[1] == '*' }

// compareNames orders folded names canonically (RFC 4034 section 6.1): by labels from the right, so that a zone stands
// before all that is below it.
func compareNames(a, b []byte) int {
	la, lb := labelStarts(a), labelStarts(b)
	for i, j := len(la)-1, len(lb)-1; i >= 0 && j >= 0; i, j = i-1, j-1 {
		x, y := a[la[i]+1:][:a[la[i]]], b[lb[j]+1:][:b[lb[j]]]
		if c := bytes.Compare(x, y); c != 0 {
			return c
		}
	}
	return len(la) - len(lb)
}

// labelStarts gives the offset of every label of name but the root's.
func labelStarts(name []byte) []int {
	var at []int
	for i := 0; name[i] != 0; i += 1 + int(name[i]) {
		at = append(at, i)
	}
	return at
}
