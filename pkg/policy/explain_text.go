package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Query types that are treated apart.
const (
	typeA    = 1
	typeNS   = 2
	typeSOA  = 6
	typeAAAA = 28
	typeDS   = 43
	typeANY  = 255
)

// typeNumbers are the types that explain knows by name beside TYPEnnn: those that zones hold, and STEER, which is NODATA.
func typeNumbers() map[string]uint16 {
	return map[string]uint16{
		"": typeA, "A": typeA, "NS": typeNS, "CNAME": 5, "SOA": typeSOA, "PTR": 12, "HINFO": 13, "MX": 15, "TXT": 16, "AAAA": typeAAAA, "LOC": 29, "SRV": 33,
		"NAPTR": 35, "DNAME": 39, "DS": typeDS, "SSHFP": 44, "RRSIG": 46, "NSEC": 47, "DNSKEY": 48, "NSEC3": 50, "NSEC3PARAM": 51, "TLSA": 52,
		"CDS": 59, "CDNSKEY": 60, "OPENPGPKEY": 61, "CSYNC": 62, "ZONEMD": 63, "SVCB": 64, "HTTPS": 65, "ANY": typeANY, "URI": 256, "CAA": 257,
		"STEER": 65400,
	}
}

// typeNumber reads a type as dig does.
func typeNumber(s string) (uint16, error) {
	t := strings.ToUpper(s)
	n, known := typeNumbers()[t]
	if !known && strings.HasPrefix(t, "TYPE") {
		number, err := strconv.ParseUint(t[len("TYPE"):], 10, 16)
		n, known = uint16(number), err == nil
	}
	switch {
	case !known:
		return 0, fmt.Errorf("no such type: %q; write A, AAAA, MX or TYPE99", s)
	case n == 0, n == 41, n == 128, n == 249, n == 250: // OPT, NXNAME, TKEY, TSIG: the server says FORMERR
		return 0, fmt.Errorf("type %q is no question (RFC 6895 section 3.1, RFC 9824 section 3.5)", s)
	case n == 251, n == 252:
		return 0, fmt.Errorf("type %q is a zone transfer, which is refused", s)
	}
	return n, nil
}

// pointersMax bounds the compression pointers of one name: it has no more labels.
const pointersMax = 128

// nameAt is the name at an offset of a message that we made, as people write it.
func nameAt(msg []byte, at int) string {
	var b strings.Builder
	for pointers := 0; at < len(msg) && msg[at] != 0; {
		if msg[at] >= 0xC0 {
			if pointers++; pointers > pointersMax || at+1 >= len(msg) {
				break
			}
			at = int(msg[at]&0x3F)<<8 | int(msg[at+1])
			continue
		}
		end := min(at+1+int(msg[at]), len(msg))
		for _, c := range msg[at+1 : end] {
			switch {
			case c <= ' ' || c > '~':
				fmt.Fprintf(&b, "\\%03d", c)
			case strings.IndexByte(`.\"();@$`, c) >= 0:
				b.WriteByte('\\')
				b.WriteByte(c)
			default:
				b.WriteByte(c)
			}
		}
		b.WriteByte('.')
		at = end
	}
	if b.Len() == 0 {
		return "."
	}
	return b.String()
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
	line("zone", "%s", e.Zone)
	line("note", "%s", e.Note)
	for _, r := range e.RRsets {
		line("rrset", "%s", r)
	}
	if e.Policy != "" {
		line("policy", "%s at %s, table %s", e.Policy, e.PolicyAt, e.Table)
	}
	if e.Cell != "" {
		line("client", "cell %s, %s", e.Cell, e.placeText())
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
			for _, n := range g.Notes {
				fmt.Fprintf(&b, "%-9s     %s\n", "", n)
			}
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
	if r := e.RunnerUp; r != nil && len(r.Targets) > 0 {
		line("runner-up", "%s, ttl %d, pass %d: %s", strings.Join(r.Targets, " "), r.TTL, r.Pass, r.Why)
	} else if r != nil {
		line("runner-up", "none: %s", r.Why)
	}
	for _, f := range e.Flips {
		line("flip", "%s: %s", f.Change, f.Result)
	}
	if e.FlipsMore > 0 || e.FlipsUntried > 0 {
		line("flip", "and %d changes more; %d were not tried", e.FlipsMore, e.FlipsUntried)
	}
	line("rcode", "%s", e.Rcode)
	for _, a := range e.Answer {
		line("answer", "%s", a)
	}
	return b.String()
}

// placeText is the client's place in a line.
func (e *Explanation) placeText() string {
	if e.Place == unplaced {
		return e.Place
	}
	return "place " + e.Place
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
