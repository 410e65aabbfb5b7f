package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The query types that explain knows by name beside TYPEnnn: those that are asked of steered names.
const (
	typeA    = 1
	typeAAAA = 28
)

// typeNumber reads a type as dig does.
func typeNumber(s string) (uint16, error) {
	switch t := strings.ToUpper(s); t {
	case "", "A":
		return typeA, nil
	case "AAAA":
		return typeAAAA, nil
	case "NS":
		return 2, nil
	case "CNAME":
		return 5, nil
	case "SOA":
		return 6, nil
	case "MX":
		return 15, nil
	case "TXT":
		return 16, nil
	case "SRV":
		return 33, nil
	case "DS":
		return 43, nil
	case "SVCB":
		return 64, nil
	case "HTTPS":
		return 65, nil
	case "ANY":
		return 255, nil
	case "CAA":
		return 257, nil
	default:
		if n, err := strconv.ParseUint(strings.TrimPrefix(t, "TYPE"), 10, 16); err == nil && strings.HasPrefix(t, "TYPE") {
			return uint16(n), nil
		}
	}
	return 0, fmt.Errorf("no such type: %q; write A, AAAA, MX or TYPE99", s)
}

// rcodeName is the name of a response code (RFC 6895 section 2.3) that a look-up can give.
func rcodeName(rcode uint8) string {
	switch rcode {
	case 0:
		return "NOERROR"
	case 2:
		return "SERVFAIL"
	case 3:
		return "NXDOMAIN"
	case 5:
		return "REFUSED"
	case 6:
		return "YXDOMAIN"
	}
	return "RCODE" + strconv.Itoa(int(rcode))
}

// parseName turns a domain name, `\.` and `\DDD` escapes included (RFC 1035 section 5.1), into its folded wire form.
func parseName(s string) (wire []byte, labels int, err error) {
	bad := func(why string) ([]byte, int, error) { return nil, 0, fmt.Errorf("%q is no domain name: %s", s, why) }
	if s == "." {
		return []byte{0}, 0, nil
	}
	label := []byte{}
	end := func() bool {
		if len(label) == 0 || len(label) > 63 {
			return false
		}
		wire, labels = append(append(wire, byte(len(label))), label...), labels+1
		label = label[:0]
		return true
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '.':
			if !end() {
				return bad("a label has 1 to 63 octets")
			}
			continue
		case c == '\\' && i+3 < len(s) && isDigit(s[i+1]) && isDigit(s[i+2]) && isDigit(s[i+3]):
			n, _ := strconv.Atoi(s[i+1 : i+4])
			if n > 255 {
				return bad("an escape is \\000 to \\255")
			}
			c, i = byte(n), i+3
		case c == '\\':
			if i++; i == len(s) {
				return bad("it ends in a backslash")
			}
			c = s[i]
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		label = append(label, c)
	}
	if len(label) > 0 && !end() {
		return bad("a label has 1 to 63 octets")
	}
	if len(wire) > 254 || labels == 0 {
		return bad("a name has 1 to 255 octets")
	}
	return append(wire, 0), labels, nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// Text is the explanation as people read it, a line a step.
func (e *Explanation) Text() string {
	var b strings.Builder
	line := func(key, format string, a ...any) {
		if text := strings.TrimSpace(fmt.Sprintf(format, a...)); text != "" {
			fmt.Fprintf(&b, "%-9s %s\n", key, text)
		}
	}
	asked := "its own address"
	if e.ECS {
		asked = "ECS"
	}
	line("question", "%s %s from %s (%s)", e.Name, e.Type, e.Client, asked)
	line("note", "%s", e.Note)
	if e.Policy != "" {
		line("policy", "%s at %s, table %s", e.Policy, e.PolicyAt, e.Table)
	}
	if e.Cell != "" {
		line("client", "cell %s, place %s", e.Cell, e.Place)
	}
	for _, r := range e.Records {
		line("", "  %s", r)
	}
	if e.Rule != "" {
		line("rule", "%s at %s: %s", e.Rule, e.RuleAt, e.RuleWhy)
	}
	for i, t := range e.Tiers {
		line(fmt.Sprintf("tier %d", i+1), "%s", t.Why)
		for _, g := range t.Targets {
			fmt.Fprintf(&b, "%-9s   %s (%s, %s): %s; %s\n", "", g.ID, g.Region, strings.Join(g.Values, " "), g.stateText(), g.Result)
		}
	}
	if e.PassWhy != "" {
		line("pass", "%d: %s", e.Pass, e.PassWhy)
	}
	if len(e.Choice) > 0 {
		line("choice", "%s: %s", strings.Join(e.Choice, " "), e.ChoiceWhy)
	}
	if e.TTLWhy != "" {
		line("ttl", "%d: %s", e.TTL, e.TTLWhy)
	}
	if e.ScopeWhy != "" {
		line("scope", "/%d: %s", e.Scope, e.ScopeWhy)
	}
	line("rcode", "%s", e.Rcode)
	for _, a := range e.Answer {
		line("answer", "%s", a)
	}
	return b.String()
}

// stateText is a target's state in a few words.
func (t *TieredTarget) stateText() string {
	words := []string{t.State}
	if t.InDoubt {
		words = append(words, "in doubt")
	}
	if t.Drained {
		words = append(words, "drained")
	}
	if t.Admit < 1 {
		words = append(words, fmt.Sprintf("admits %.0f %%", 100*t.Admit))
	}
	return strings.Join(slices.Compact(words), ", ")
}
