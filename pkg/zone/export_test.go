package zone

import "errors"

// Arena gives the compiled bytes of a Set.
func Arena(s *Set) []byte { return s.arena }

// Rdata gives the wire form of an entry's rdata, as in "MX 10 a", with names relative to an origin in presentation form; or what is
// wrong with it.
func Rdata(entry, origin string) ([]byte, error) {
	name, err := appendName(nil, []byte(origin), []byte{0})
	if err != nil {
		return nil, err
	}
	s := newScanner("", []byte(entry))
	if !s.next() || s.problem != "" || len(s.tokens) == 0 {
		return nil, errors.New("no entry")
	}
	typ, ok := typeByText(s.tokens[0].text)
	if !ok || typ == typeSTEER || isMetaType(typ) {
		return nil, errors.New("no type")
	}
	var p rdataParser
	data, wrong := p.parse(typ, s.tokens[1:], name)
	if wrong != nil {
		return nil, wrong
	}
	return data, nil
}
