package zone

import "geodns/internal/source"

// token is one field of an entry: raw text with its quotes and escapes, and where it stands.
type token struct {
	text      []byte
	line, col int
}

// scanner splits a master file into entries (RFC 1035 section 5.1): what stands on one line, or on several inside
// parentheses, without comments. It knows quotes, escapes and nothing of what fields mean.
type scanner struct {
	file      string
	src       []byte
	pos       int
	line      int // of pos, from 1
	lineStart int // offset at which that line begins

	// The entry that next found, valid until the next call.
	tokens  []token
	blank   bool // the entry begins with white space: it has the owner of the entry before
	problem string
	at      source.Place // of the problem
	odd     string       // what may stand and is not read alike everywhere, or ""
	oddAt   source.Place
}

func newScanner(file string, src []byte) *scanner {
	return &scanner{file: file, src: src, line: 1}
}

// place gives the place of a token of this file.
func (sc *scanner) place(t token) source.Place {
	return source.Place{File: sc.file, Line: t.line, Col: t.col}
}

// here gives the place of pos.
func (sc *scanner) here() source.Place {
	return source.Place{File: sc.file, Line: sc.line, Col: sc.pos - sc.lineStart + 1}
}

// next finds the next entry that has a token. It is false at the file's end. If the entry is broken, problem and at say
// how and where, and scanning goes on with the next line.
func (sc *scanner) next() bool {
	sc.tokens, sc.blank, sc.problem, sc.odd = sc.tokens[:0], false, "", ""
	depth := 0
	var open source.Place
	for sc.pos < len(sc.src) {
		switch c := sc.src[sc.pos]; c {
		case '\n':
			sc.newline()
			if depth > 0 {
				continue
			}
			if len(sc.tokens) > 0 {
				return true
			}
			sc.blank = false
		case ' ', '\t', '\r':
			if len(sc.tokens) == 0 && depth == 0 {
				sc.blank = true
			}
			sc.pos++
		case ';':
			sc.skipLine()
		case '(':
			if depth == 0 {
				open = sc.here()
			}
			sc.checkOpen(depth)
			depth++
			sc.pos++
		case ')':
			if depth--; depth < 0 {
				return sc.fail(sc.here(), `")" without a "(" before it`)
			}
			sc.pos++
		default:
			if !sc.token() {
				return true
			}
		}
	}
	if depth > 0 {
		return sc.fail(open, `"(" is never closed by a ")"`)
	}
	return len(sc.tokens) > 0
}

// checkOpen notes a "(" where other servers do not take one.
func (sc *scanner) checkOpen(depth int) {
	switch {
	case depth == 1:
		sc.odd, sc.oddAt = `"(" within parentheses; some servers do not read them nested`, sc.here()
	case depth == 0 && len(sc.tokens) == 0:
		sc.odd, sc.oddAt = `"(" before all else; some servers read it only behind the owner`, sc.here()
	}
}

// newline steps over the newline at pos.
func (sc *scanner) newline() {
	sc.pos++
	sc.line++
	sc.lineStart = sc.pos
}

// skipLine goes to the next newline or the end.
func (sc *scanner) skipLine() {
	for sc.pos < len(sc.src) && sc.src[sc.pos] != '\n' {
		sc.pos++
	}
}

// fail notes what is wrong with the entry and goes to the next line.
func (sc *scanner) fail(at source.Place, problem string) bool {
	sc.problem, sc.at = problem, at
	sc.tokens = sc.tokens[:0]
	sc.skipLine()
	return true
}

// token takes the token at pos. It is false if the token is broken.
func (sc *scanner) token() bool {
	start, at := sc.pos, sc.here()
	quoted := false
	for ; sc.pos < len(sc.src); sc.pos++ {
		c := sc.src[sc.pos]
		switch {
		case c == '\\':
			sc.pos++
			if sc.pos == len(sc.src) || sc.src[sc.pos] == '\n' || sc.src[sc.pos] == '\r' {
				sc.fail(sc.here(), "a backslash at the end of a line escapes nothing")
				return false
			}
			continue
		case c == '"':
			quoted = !quoted
			continue
		case c == '\n' && quoted:
			sc.fail(at, `the quoted text does not end on its line: a '"' is missing`)
			return false
		case quoted && (c >= ' ' || c == '\t'):
			continue
		case c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ';' || c == '(' || c == ')':
			if quoted { // only '\r' comes here quoted
				continue
			}
			sc.add(start, at)
			return true
		case c < ' ':
			sc.fail(sc.here(), "a control character; write it as a backslash and three digits")
			return false
		}
	}
	if quoted {
		sc.fail(at, `the quoted text does not end on its line: a '"' is missing`)
		return false
	}
	sc.add(start, at)
	return true
}

// add keeps src[start:pos] as the entry's next token.
func (sc *scanner) add(start int, at source.Place) {
	sc.tokens = append(sc.tokens, token{text: sc.src[start:sc.pos], line: at.Line, col: at.Col})
}
