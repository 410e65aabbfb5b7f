package zone

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// steps is the range of a $GENERATE: start-stop[/step].
type steps struct {
	start, stop, step int64
}

// generate writes an entry once for each number of a range, as BIND's $GENERATE does: "$" in owner and rdata is the
// number, "${offset,width,base}" the number changed and formatted, "$$" or "\$" a dollar sign. The entries take the way of all
// others, so TTL, class and STEER work as elsewhere. Findings stand at the directive.
func (r *reader) generate(s *scanner, sc *scope) {
	at := s.place(s.tokens[0])
	if len(s.tokens) < 5 {
		r.z.errorf(at, "$GENERATE needs a range, an owner, a type and rdata, as in %q", "$GENERATE 1-4 host-$ A 192.0.2.$")
		return
	}
	st, ok := parseSteps(string(s.tokens[1].text))
	if !ok {
		r.z.errorf(s.place(s.tokens[1]), "%q is no range of at most %d numbers; write start-stop or start-stop/step", s.tokens[1].text, generateMax)
		return
	}
	if !r.generated {
		r.generated = true
		r.z.warnf(at, "$GENERATE is in no RFC; servers other than this one and BIND may not read the file")
	}
	template := requote(append([]token(nil), s.tokens[2:]...))
	sub := &scanner{file: s.file, line: at.Line}
	before := r.z.errors
	var text []byte
	for n := st.start; n <= st.stop && r.z.errors == before; n += st.step {
		sub.tokens, text = sub.tokens[:0], text[:0]
		for _, t := range template {
			from := len(text)
			var problem string
			if text, problem = substitute(text, t.text, n); problem != "" {
				r.z.errorf(s.place(t), "$GENERATE: %s", problem)
				return
			}
			sub.tokens = append(sub.tokens, token{text: bytes.Clone(text[from:]), line: t.line, col: t.col})
		}
		if len(sub.tokens[0].text) == 0 {
			r.z.errorf(s.place(template[0]), "$GENERATE: the owner is empty")
			return
		}
		r.entry(sub, sc)
	}
}

// requote takes the quotes off rdata that is one quoted token, and splits what was in them: BIND reads one token and looks into it
// for the fields, so that its users write MX "10 host-$".
func requote(template []token) []token {
	last := template[len(template)-1]
	_, isType := typeByText(template[len(template)-2].text)
	text, opens := bytes.CutPrefix(last.text, []byte{'"'})
	text, closes := bytes.CutSuffix(text, []byte{'"'})
	text = bytes.ReplaceAll(text, []byte(`\"`), []byte{0})
	if !isType || !opens || !closes || bytes.IndexByte(text, '"') >= 0 {
		return template
	}
	inner := newScanner("", bytes.ReplaceAll(text, []byte{0}, []byte{'"'}))
	if !inner.next() || inner.problem != "" {
		return template
	}
	template = template[:len(template)-1]
	for _, t := range inner.tokens {
		template = append(template, token{text: t.text, line: last.line, col: last.col})
	}
	return template
}

// parseSteps reads start-stop[/step].
func parseSteps(text string) (steps, bool) {
	span, stepText, hasStep := strings.Cut(text, "/")
	startText, stopText, ok := strings.Cut(span, "-")
	st := steps{step: 1}
	var errs [3]error
	st.start, errs[0] = strconv.ParseInt(startText, 10, 32)
	st.stop, errs[1] = strconv.ParseInt(stopText, 10, 32)
	if hasStep {
		st.step, errs[2] = strconv.ParseInt(stepText, 10, 32)
	}
	ok = ok && errs == [3]error{} && st.start >= 0 && st.stop >= st.start && st.step > 0
	return st, ok && (st.stop-st.start)/st.step < generateMax
}

// substitute appends t with n in the place of every "$". It gives a message if a "${" is wrong.
func substitute(dst, t []byte, n int64) ([]byte, string) {
	for i := 0; i < len(t); i++ {
		switch {
		case t[i] == '\\' && i+1 < len(t) && t[i+1] == '$':
			dst = append(dst, '$')
			i++
		case t[i] == '\\' && i+1 < len(t):
			dst = append(dst, t[i], t[i+1])
			i++
		case t[i] != '$':
			dst = append(dst, t[i])
		case i+1 < len(t) && t[i+1] == '$':
			dst = append(dst, '$')
			i++
		case i+1 < len(t) && t[i+1] == '{':
			end := bytes.IndexByte(t[i:], '}')
			if end < 0 {
				return dst, fmt.Sprintf("%q has no closing brace", t[i:])
			}
			var problem string
			if dst, problem = modified(dst, string(t[i+2:i+end]), n); problem != "" {
				return dst, problem
			}
			i += end
		default:
			dst = strconv.AppendInt(dst, n, 10)
		}
	}
	return dst, ""
}

// modified appends n as "offset[,width[,base]]" says; bases are d, o, x, X, and n, N for reversed nibbles with dots.
func modified(dst []byte, spec string, n int64) ([]byte, string) {
	parts := strings.Split(spec, ",")
	offset, err := strconv.ParseInt(parts[0], 10, 32)
	width, base := int64(0), "d"
	if err == nil && len(parts) > 1 {
		width, err = strconv.ParseInt(parts[1], 10, 32)
	}
	if len(parts) > 2 {
		base = parts[2]
	}
	n += offset
	if err != nil || len(parts) > 3 || width < 0 || width > widthMax || n < 0 {
		return dst, fmt.Sprintf("%q is no modifier; write ${offset,width,base}, and no number may be negative", "${"+spec+"}")
	}
	switch base {
	case "d":
		return fmt.Appendf(dst, "%0*d", int(width), n), ""
	case "o":
		return fmt.Appendf(dst, "%0*o", int(width), n), ""
	case "x":
		return fmt.Appendf(dst, "%0*x", int(width), n), ""
	case "X":
		return fmt.Appendf(dst, "%0*X", int(width), n), ""
	case "n", "N":
		return nibbles(dst, n, int(width), base == "N"), ""
	}
	return dst, fmt.Sprintf("base %q is none of d, o, x, X, n, N", base)
}

// nibbles appends n's hexadecimal digits, lowest first, with dots between, to width characters if there are fewer: with an even
// width the last is a dot, as in BIND.
func nibbles(dst []byte, n int64, width int, upper bool) []byte {
	digits := "0123456789abcdef"
	if upper {
		digits = "0123456789ABCDEF"
	}
	for first := true; first || n > 0 || width > 0; first = false {
		dst = append(dst, digits[n&15])
		n >>= 4
		if width--; n > 0 || width > 0 {
			dst = append(dst, '.')
			width--
		}
	}
	return dst
}
