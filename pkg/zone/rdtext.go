package zone

import (
	"fmt"
	"strings"

	"geodns/internal/source"
)

// quoteMax is how much of a token a message shows.
const quoteMax = 60

// hintMax is the longest word that a message guesses the meaning of.
const hintMax = 15

// quote shows a token of a file in a message: with quotes around it that it does not hold, and cut if it is long.
func quote(text []byte) string {
	s := string(text)
	if len(s) > quoteMax {
		s = s[:quoteMax] + "..."
	}
	if strings.ContainsAny(s, "\"\\") && !strings.Contains(s, "'") {
		return "'" + strings.ToValidUTF8(s, "?") + "'"
	}
	return `"` + strings.ToValidUTF8(s, "?") + `"`
}

// genericForm is what rdata in the form for unknown types looks like.
const genericForm = `\#, the number of octets, and as many in hexadecimal, as in \# 4 0a000001`

// explainRdata says what is wrong with the rdata of an entry, whose fields begin with the type, and what would be right.
func explainRdata(owner string, fields []token, err *rdataError) string {
	args := fields[1:]
	typ, _ := typeByText(fields[0].text)
	form, what := rdataForm(typ), err.text
	switch {
	case len(args) > 0 && string(args[0].text) == genericRdata:
		form = genericForm
		if err.token < 0 {
			form = ""
		}
	case form == "":
		what, form = "it has no other form", "rdata of this type as "+genericForm
	case err.token < 0 || strings.Contains(what, "; write "):
		form = ""
	}
	if form != "" {
		form = "; write " + form
	}
	return fmt.Sprintf("%s %s: %s%s", owner, fields[0].text, what, form)
}

// typeHint says what may have been meant by a type that there is not.
func typeHint(text []byte) string {
	if text[0] == '$' {
		return "; a directive has no white space before it"
	}
	known := []string{"A", "AAAA", "CAA", "CNAME", "DNAME", "DS", "HTTPS", "MX", "NAPTR", "NS", "PTR", "SOA", "SRV", "SSHFP", "STEER", "SVCB", "TLSA", "TXT"}
	if near := source.Nearest(string(text), known); near != "" && len(text) > 1 && len(text) <= hintMax {
		return "; " + near + " is meant?"
	}
	return "; an unknown one is written as TYPE123"
}
