package zone

import (
	"fmt"
	"regexp/syntax"
)

// splitNAPTR gives the parts of a NAPTR that are looked at.
func splitNAPTR(data []byte) (flags, regexp, replacement []byte) {
	flags, data = data[5:][:data[4]], data[5+int(data[4]):]
	data = data[1+int(data[0]):]
	return flags, data[1:][:data[0]], data[1+int(data[0]):]
}

// checkNAPTR checks the substitution of a NAPTR (RFC 3402 section 3.2).
func checkNAPTR(data []byte) string {
	_, regexp, _ := splitNAPTR(data)
	if len(regexp) == 0 {
		return ""
	}
	if problem := checkSubstitution(regexp); problem != "" {
		return fmt.Sprintf("the regexp %s is wrong: %s", quote(regexp), problem)
	}
	return ""
}

// checkSubstitution checks delimiter, expression, delimiter, replacement, delimiter and flags.
func checkSubstitution(text []byte) string {
	delim := text[0]
	if isDigit(delim) || delim == '\\' || delim == 'i' || delim == 0 {
		return fmt.Sprintf("%q cannot part expression and replacement; write it as in !expression!replacement!", delim)
	}
	expr, rest, ok1 := cutUnescaped(text[1:], delim)
	repl, flags, ok2 := cutUnescaped(rest, delim)
	switch {
	case !ok1 || !ok2:
		return fmt.Sprintf("it needs three %q; write it as in !expression!replacement!", delim)
	case len(flags) > 0 && string(flags) != "i":
		return fmt.Sprintf("behind it stands %s; the one flag is i", quote(flags))
	}
	re, err := syntax.Parse(string(expr), syntax.Perl)
	if err != nil {
		return fmt.Sprintf("%s is no regular expression: %v", quote(expr), err)
	}
	for i := 0; i+1 < len(repl); i++ {
		if repl[i] != '\\' {
			continue
		}
		i++
		if c := repl[i]; isDigit(c) && (c == '0' || int(c-'0') > re.MaxCap()) {
			return fmt.Sprintf(`the replacement has \%c, and the expression %d groups`, c, re.MaxCap())
		}
	}
	return ""
}

// cutUnescaped cuts text at a delimiter that no backslash stands before.
func cutUnescaped(text []byte, delim byte) (before, after []byte, ok bool) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case delim:
			return text[:i], text[i+1:], true
		}
	}
	return text, nil, false
}

// oddNAPTR says what is odd about a NAPTR that is right (RFC 3403 section 4.1).
func oddNAPTR(data []byte) string {
	flags, regexp, replacement := splitNAPTR(data)
	for _, c := range flags {
		if !isDigit(c) && (c|0x20)-'a' >= 26 {
			return fmt.Sprintf("the flags %s are not letters and digits", quote(flags))
		}
	}
	if len(regexp) > 0 && len(replacement) > 1 {
		return "it has both a regexp and a replacement, which exclude each other"
	}
	return ""
}
