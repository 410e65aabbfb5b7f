package policy

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"geodns/internal/source"
	"geodns/pkg/steering"
)

// testForm is the form of a test's line, for messages.
const testForm = "expect WHAT [TYPE] from CLIENT [when CONDITION {and CONDITION}] = RESULT"

// ParseTests reads one file of policy tests, adding to fs what is wrong with it.
func ParseTests(file string, data []byte, fs *source.Findings) []*Test {
	root, ok := source.ParseYAML(file, data, fs)
	if !ok || !root.Exists() {
		return nil
	}
	m, ok := root.Map(fs, "tests")
	if list := m.Get("tests"); !ok || !list.Exists() || list.IsNull() {
		return nil
	}
	items, ok := m.Get("tests").List(fs)
	if ok && len(items) > TestsMax {
		fs.Errorf(m.Get("tests").Place(), "%d tests; at most %d are read of one file", len(items), TestsMax)
		return nil
	}
	lines := strings.Split(string(data), "\n")
	var tests []*Test
	for _, item := range items {
		if t := parseTest(item, lines, fs); t != nil {
			tests = append(tests, t)
		}
	}
	return tests
}

// parseTest reads one item of the list; nil after an error.
func parseTest(item source.Value, lines []string, fs *source.Findings) *Test {
	p, t, line, prefix := &parser{fs: fs}, &Test{}, item, true
	if item.Kind() == source.MapKind {
		if es, _ := item.Entries(&source.Findings{}); len(es) > 0 && strings.HasPrefix(es[0].Key, "expect ") {
			fs.Errorf(item.Place(), "put this line in quotes: a colon with a space behind it ends a key in YAML")
			return nil
		}
		m, ok := item.Map(fs, "name", "expect")
		if !ok {
			return nil
		}
		mark := p.mark()
		if v := m.Get("name"); v.Exists() {
			t.Name = p.text(v, "name of a test")
		}
		if line, ok = p.need(m, "expect", "a test is a line such as `www A from 192.0.2.0/24 = fra1`"); !ok || p.failed(mark) {
			return nil
		}
		prefix = false
	}
	text, ok := line.String(fs)
	switch {
	case !ok:
		return nil
	case len(text) > testLineMax:
		p.errorf(line, "a line of %d bytes; at most %d are read", len(text), testLineMax)
		return nil
	}
	l := &testLine{words: wordsOf(line, text, lines), end: line.Place(), fs: fs}
	t.Place = line.Place()
	first := l.peek()
	switch {
	case first.text == "expect":
		l.next()
		text = strings.TrimSpace(strings.TrimSpace(text)[len("expect"):])
	case prefix:
		l.wrong("a line is `%s`, not %s", testForm, l.got())
		return nil
	}
	if t.Text = text; !l.test(t) {
		return nil
	}
	return t
}

// wordsOf splits a line into words: at spaces, and around the signs that stand for themselves.
func wordsOf(v source.Value, text string, lines []string) []word {
	var out []word
	for at := 0; at < len(text); {
		if strings.IndexByte(" \t\n\r", text[at]) >= 0 {
			at++
			continue
		}
		end := at + 1
		if strings.IndexByte("=,", text[at]) < 0 {
			for end < len(text) && strings.IndexByte(" \t\n\r=,", text[end]) < 0 {
				end++
			}
		}
		out = append(out, word{text[at:end], placeOf(v, text, at, text[at:end], lines)})
		at = end
	}
	return out
}

// placeOf finds where in the file a word of a value's text stands: as far into it as into the text, behind a quote if there is one. If the
// word is not there (the text is folded over lines, or has escapes), the whole value must do.
func placeOf(v source.Value, text string, at int, w string, lines []string) source.Place {
	p := v.Place()
	if p.Line > len(lines) {
		return p
	}
	line := []rune(lines[p.Line-1])
	for quote := range 2 {
		col := p.Col - 1 + quote + utf8.RuneCountInString(text[:at])
		if col <= len(line) && strings.HasPrefix(string(line[col:]), w) && (quote == 0 || strings.ContainsRune(`"'`, line[p.Col-1])) {
			p.Col = col + 1
			return p
		}
	}
	return p
}

// testLine reads the words of a line.
type testLine struct {
	words []word
	end   source.Place // where the line begins: of what is missing at its end
	fs    *source.Findings
}

// peek is the next word, "" at the end.
func (l *testLine) peek() word {
	if len(l.words) == 0 {
		return word{place: l.end}
	}
	return l.words[0]
}

// next takes the next word.
func (l *testLine) next() word {
	w := l.peek()
	if len(l.words) > 0 {
		l.words, l.end = l.words[1:], w.place
	}
	return w
}

// take takes the next word if it is this one.
func (l *testLine) take(text string) bool {
	if l.peek().text != text {
		return false
	}
	l.next()
	return true
}

// got is the next word, for a message.
func (l *testLine) got() string {
	if len(l.words) == 0 {
		return "the end of the line"
	}
	return strconv.Quote(clip(l.words[0].text))
}

// wrong reports an error at the next word; it is false for its callers to return.
func (l *testLine) wrong(format string, a ...any) bool {
	l.fs.Errorf(l.peek().place, format, a...)
	return false
}

// test reads a line from WHAT on.
func (l *testLine) test(t *Test) bool {
	if l.peek().text == "" || strings.Contains("=,", l.peek().text) {
		return l.wrong("a policy or an owner name is wanted here, not %s: a line is `%s`", l.got(), testForm)
	}
	t.what = l.next()
	if w := l.peek(); w.text != "from" {
		if _, err := typeNumber(w.text); err != nil || w.text == "" {
			return l.wrong("a type or `from` is wanted here, not %s", l.got())
		}
		t.qtype = l.next()
	}
	if !l.take("from") {
		return l.wrong("`from` is wanted here, with the client behind it, not %s", l.got())
	}
	if !l.client(t) {
		return false
	}
	if l.take("when") {
		for more := true; more; more = l.take("and") {
			if !l.condition(t) {
				return false
			}
		}
	}
	if !l.take("=") {
		return l.wrong("`when`, `and` or `=` is wanted here, not %s", l.got())
	}
	return l.result(&t.want, &t.question)
}

// client reads an address or a prefix.
func (l *testLine) client(t *Test) bool {
	w := l.peek()
	if a, err := netip.ParseAddr(w.text); err == nil {
		switch {
		case a.Zone() != "":
			return l.wrong("%q: an address with a zone is known to its own machine alone", clip(w.text))
		case a.Is4In6():
			return l.wrong("%q is an IPv4 address written as IPv6; write %s", w.text, a.Unmap())
		}
		t.question.Client = netip.PrefixFrom(a, a.BitLen())
		t.client = l.next()
		return true
	}
	pre, err := netip.ParsePrefix(w.text)
	switch {
	case err != nil:
		return l.wrong("a client is wanted here, an address such as 192.0.2.1 or a subnet such as 192.0.2.0/24, not %s", l.got())
	case pre.Addr().Is4In6():
		return l.wrong("%q is an IPv4 subnet written as IPv6; write it as IPv4, %s", w.text, unmapped(pre))
	case pre != pre.Masked():
		return l.wrong("%q has bits set behind its length; write %s", w.text, pre.Masked())
	case pre.Bits() == 0:
		return l.wrong("a prefix of length 0 says nothing of the client; give an address, or a longer one")
	}
	t.question.Client, t.question.ECS = pre, true
	t.client = l.next()
	return true
}

// condition reads one.
func (l *testLine) condition(t *Test) bool {
	c := condition{}
	kinds := []string{"everything", "region", "pool", "tag", "target"}
	for _, kind := range kinds {
		if l.peek().text == kind {
			c.kind = kind
			l.next()
			break
		}
	}
	switch c.kind {
	case "":
		return l.wrong("a condition is wanted here, not %s: its first word is one of %s", l.got(), quoted(kinds))
	case "everything":
	default:
		if l.peek().text == "" || strings.Contains("=,", l.peek().text) {
			return l.wrong("the name of a %s is wanted here, not %s", c.kind, l.got())
		}
		c.name = l.next()
	}
	switch {
	case l.take("is"):
		if !l.state(&c) {
			return false
		}
	case l.take("admits"):
		if !l.admit(&c) {
			return false
		}
	default:
		return l.wrong("`is` or `admits` is wanted here, not %s", l.got())
	}
	t.conditions = append(t.conditions, c)
	return true
}

// state reads what a condition's targets are.
func (l *testLine) state(c *condition) bool {
	w := l.peek()
	set := func(state steering.State, doubt bool) func(*steering.Verdict) {
		return func(v *steering.Verdict) { v.State, v.InDoubt = state, v.InDoubt || doubt }
	}
	switch w.text {
	case "up":
		c.apply = set(steering.Up, false)
	case "down":
		c.apply = set(steering.Down, false)
	case "degraded":
		c.apply = set(steering.Degraded, false)
	case "unknown":
		c.apply = set(steering.Unknown, true)
	case "drained":
		c.apply = func(v *steering.Verdict) { v.Drained = true }
	case "in":
		l.next()
		if l.peek().text != "doubt" {
			return l.wrong("`in doubt` is wanted here, not %s", l.got())
		}
		c.apply = func(v *steering.Verdict) { v.InDoubt = true }
	default:
		return l.wrong("%s is no state; %s", l.got(), oneOf(w.text, []string{"up", "down", "degraded", "unknown", "drained", "in doubt"}))
	}
	l.next()
	return true
}

// admit reads a part of the traffic.
func (l *testLine) admit(c *condition) bool {
	number, percent := strings.CutSuffix(l.peek().text, "%")
	part, err := strconv.ParseFloat(number, 64)
	if !percent || err != nil || !(part >= 0 && part <= 100) {
		return l.wrong("a part of the traffic is wanted here, from 0%% to 100%%, not %s", l.got())
	}
	admit := uint16(part / 100 * steering.AdmitAll)
	if part > 0 {
		admit = max(admit, 1)
	}
	c.apply = func(v *steering.Verdict) { v.Admit = admit }
	l.next()
	return true
}

// result reads what is expected.
func (l *testLine) result(e *expectation, q *Question) bool {
	switch {
	case l.take("servfail"):
		e.servfail = true
	case l.take("nodata"):
		e.nodata = true
	default:
		if !l.targets(e) {
			return false
		}
	}
	for !e.servfail && !e.nodata && len(l.words) > 0 {
		switch w := l.peek(); {
		case w.text == "ttl" && !e.hasTTL:
			l.next()
			n, err := strconv.ParseUint(l.peek().text, 10, 32)
			if err != nil || n > ttlLimit {
				return l.wrong("a TTL in seconds is wanted here, not %s", l.got())
			}
			e.ttl, e.hasTTL = uint32(n), true
			l.next()
		case w.text == "scope" && !e.hasScope:
			if !q.ECS {
				return l.wrong("an answer has a scope if the client is a subnet: write %s/%d for it", q.Client.Addr(), q.Client.Bits())
			}
			l.next()
			bits, slash := strings.CutPrefix(l.peek().text, "/")
			n, err := strconv.ParseUint(bits, 10, 8)
			if !slash || err != nil || int(n) > q.Client.Addr().BitLen() {
				return l.wrong("a scope such as /24 is wanted here, not %s", l.got())
			}
			e.scope, e.hasScope = uint8(n), true
			l.next()
		default:
			return l.wrong("`ttl N`, `scope /N` or the end of the line is wanted here, not %s", l.got())
		}
	}
	if len(l.words) > 0 {
		return l.wrong("nothing is wanted behind it, not %s", l.got())
	}
	return true
}

// targets reads a list of targets.
func (l *testLine) targets(e *expectation) bool {
	for {
		w := l.peek()
		pool, name, qualified := strings.Cut(w.text, "/")
		if !qualified {
			pool, name = name, pool
		}
		if badName(name) != "" || qualified && badName(pool) != "" {
			return l.wrong("a target is wanted here, as fra1 or web/fra1, or `servfail` or `nodata`, not %s", l.got())
		}
		e.targets = append(e.targets, l.next())
		if !l.take(",") && !l.take("or") {
			return true
		}
	}
}
