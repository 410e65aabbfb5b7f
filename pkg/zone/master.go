package zone

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"geodns/internal/source"
)

// reader reads the master files of one zone (RFC 1035 section 5) into a zoneData.
type reader struct {
	z        *zoneData
	root     *os.Root
	rd       rdataParser
	includes int // so far
	open     []string

	// TTLs: the $TTL in force (RFC 2308 section 4), else the last one given, else the SOA's MINIMUM.
	dirTTL, lastTTL, soaTTL ttlState
	assumed, generated      bool // a warning about a missing TTL, about $GENERATE was given

	lastOwner []byte // of the last record, folded, and its id, to save look-ups
	lastID    uint32
	name      [nameMax + labelMax + 2]byte // scratch for owner names
}

// ttlState is a TTL that may be unknown.
type ttlState struct {
	ttl   uint32
	known bool
}

// scope is what $ORIGIN and the entries of one file change; an included file has its own and leaves the outer untouched
// (RFC 1035 section 5.1).
type scope struct {
	file   uint16
	origin []byte // case kept
	owner  []byte // of the last entry, folded; nil before the first
	moved  bool   // the origin changed since
}

// readZone reads a zone's file and all that it includes. Findings go to the zone.
func readZone(root *os.Root, file, text string, origin []byte, h hasher) *zoneData {
	z := &zoneData{origin: origin, text: text, file: file, tree: newTree(h, origin)}
	r := &reader{z: z, root: root}
	src, err := readFile(root, file)
	if err != nil {
		z.errorf(source.WholeFile(file), "reading the zone: %v", err)
		return z
	}
	r.read(src, file, scope{origin: origin})
	return z
}

// errTooBig refuses a file over fileMax.
var errTooBig = fmt.Errorf("the file is larger than %d bytes", fileMax)

// readFile reads a file below root, up to fileMax bytes. Whatever is no plain file is refused: a pipe would never end.
func readFile(root *os.Root, name string) ([]byte, error) {
	info, err := root.Stat(name)
	switch {
	case err != nil:
		return nil, pathCause(err)
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a plain file")
	case info.Size() > fileMax:
		return nil, errTooBig
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, pathCause(err)
	}
	defer f.Close()
	src := make([]byte, 0, info.Size()+1)
	buf := bytes.NewBuffer(src)
	if _, err := io.Copy(buf, io.LimitReader(f, fileMax+1)); err != nil {
		return nil, pathCause(err)
	}
	if buf.Len() > fileMax {
		return nil, errTooBig
	}
	return buf.Bytes(), nil
}

// pathCause takes the path out of a file error: the finding's place has it.
func pathCause(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err
	}
	return err
}

// read reads one file.
func (r *reader) read(src []byte, file string, sc scope) {
	if len(r.z.files) >= math.MaxUint16 {
		return
	}
	sc.file = uint16(len(r.z.files))
	r.z.files = append(r.z.files, file)
	r.open = append(r.open, file)
	defer func() { r.open = r.open[:len(r.open)-1] }()
	switch {
	case bytes.HasPrefix(src, []byte("\xef\xbb\xbf")):
		r.z.errorf(source.WholeFile(file), "the file begins with a byte order mark; save it without one")
		return
	case bytes.HasPrefix(src, []byte("\xff\xfe")), bytes.HasPrefix(src, []byte("\xfe\xff")):
		r.z.errorf(source.WholeFile(file), "the file is UTF-16; save it as ASCII or UTF-8")
		return
	}
	if len(src) > 0 && bytes.IndexByte(src, '\n') < 0 {
		src = bytes.ReplaceAll(src, []byte{'\r'}, []byte{'\n'}) // as some old systems end lines
	}
	s := newScanner(file, src)
	defer func() {
		if n := len(src); n > 0 && src[n-1] != '\n' {
			r.z.warnf(s.here(), "the file does not end with a newline; is the end missing?")
		}
	}()
	for s.next() {
		if r.z.errors >= findingsMax {
			return
		}
		if s.odd != "" {
			r.z.warnf(s.oddAt, "%s", s.odd)
		}
		switch {
		case s.problem != "":
			r.z.errorf(s.at, "%s", s.problem)
		case !s.blank && s.tokens[0].text[0] == '$':
			r.directive(s, &sc)
		default:
			r.entry(s, &sc)
		}
	}
}

// directive does what a "$" entry says.
func (r *reader) directive(s *scanner, sc *scope) {
	args := s.tokens[1:]
	at := s.place(s.tokens[0])
	switch name := strings.ToUpper(string(s.tokens[0].text)); name {
	case "$ORIGIN":
		if !r.count(at, name, args, 1, 1, "$ORIGIN example.com.") {
			return
		}
		if origin, ok := r.parseName(s, args[0], sc); ok {
			sc.origin, sc.moved = origin, true
			if text := args[0].text; text[len(text)-1] != '.' && string(text) != "@" {
				r.z.warnf(s.place(args[0]), "$ORIGIN %s is relative and stands for %s; some servers want it absolute", text, nameText(origin))
			}
		}
	case "$TTL":
		if !r.count(at, name, args, 1, 1, "$TTL 1h") {
			return
		}
		if ttl, ok := r.parseTTL(s, args[0]); ok {
			r.dirTTL = ttlState{ttl, true}
		}
	case "$INCLUDE":
		if r.count(at, name, args, 1, 2, "$INCLUDE file [origin]") {
			r.include(s, args, *sc)
		}
	case "$GENERATE":
		r.generate(s, sc)
	default:
		hint := ""
		if near := source.Nearest(name, []string{"$ORIGIN", "$TTL", "$INCLUDE", "$GENERATE"}); near != "" && len(name) <= hintMax {
			hint = "; " + near + " is meant?"
		}
		r.z.errorf(at, "unknown directive %s%s", quote([]byte(name)), hint)
	}
}

// count checks how many arguments a directive has.
func (r *reader) count(at source.Place, name string, args []token, low, high int, like string) bool {
	if len(args) >= low && len(args) <= high {
		return true
	}
	r.z.errorf(at, "%s has %d arguments; write it as in %q", name, len(args), like)
	return false
}

// include reads another file here. Its name is relative to the folder of the file that includes it; os.Root keeps it in
// the zones folder whatever links and ".." are in it.
func (r *reader) include(s *scanner, args []token, sc scope) {
	at := s.place(args[0])
	if len(args) == 2 {
		origin, ok := r.parseName(s, args[1], &sc)
		if !ok {
			return
		}
		sc.origin = origin
	}
	name := path.Join(path.Dir(s.file), strings.Trim(string(args[0].text), `"`))
	if strings.HasPrefix(string(args[0].text), "/") {
		r.z.errorf(at, "$INCLUDE %s: give the name relative to this file; nothing outside the zones folder is read", args[0].text)
		return
	}
	r.includes++
	switch {
	case len(r.open) > includeDepthMax:
		r.z.errorf(at, "$INCLUDE %s: files are included %d deep, %d is the most", args[0].text, len(r.open), includeDepthMax)
		return
	case r.includes > includesMax:
		r.z.errorf(at, "$INCLUDE %s: the zone includes more than %d files", args[0].text, includesMax)
		return
	}
	if slices.Contains(r.open, name) {
		r.z.errorf(at, "$INCLUDE %s: the file is being read already, it would include itself", args[0].text)
		return
	}
	src, err := readFile(r.root, name)
	if err != nil {
		r.z.errorf(at, "$INCLUDE %s: reading %s in the zones folder: %v", args[0].text, name, err)
		return
	}
	r.read(src, name, sc)
}

// parseName reads a name that may be relative to the scope's origin.
func (r *reader) parseName(s *scanner, t token, sc *scope) ([]byte, bool) {
	name, err := appendName(nil, t.text, sc.origin)
	if err != nil {
		r.z.errorf(s.place(t), "%s is no domain name: %v", quote(t.text), err)
		return nil, false
	}
	return name, true
}

// parseTTL reads a TTL: seconds, or numbers with units as in 1h30m. One above 2^31 - 1 counts as 0 (RFC 2181 section 8).
func (r *reader) parseTTL(s *scanner, t token) (uint32, bool) {
	ttl, ok := ttlValue(t.text)
	if !ok {
		r.z.errorf(s.place(t), "%s is no TTL: write seconds, or numbers with units as in 1h30m", quote(t.text))
		return 0, false
	}
	if ttl > ttlMax {
		r.z.warnf(s.place(t), "TTL %d is above %d and counts as 0", ttl, ttlMax)
		ttl = 0
	}
	return ttl, true
}

// ttlValue reads a TTL. It must begin with a digit.
func ttlValue(text []byte) (uint32, bool) {
	total, num, digits, units := uint64(0), uint64(0), 0, false
	for _, c := range text {
		unit := uint64(0)
		switch c | 0x20 {
		case 's':
			unit = 1
		case 'm':
			unit = 60
		case 'h':
			unit = 3600
		case 'd':
			unit = 86400
		case 'w':
			unit = 7 * 86400
		default:
			if !isDigit(c) {
				return 0, false
			}
			num = num*10 + uint64(c-'0')
			digits++
			if num > math.MaxUint32 {
				return 0, false
			}
			continue
		}
		if digits == 0 {
			return 0, false
		}
		total += num * unit
		num, digits, units = 0, 0, true
		if total > math.MaxUint32 {
			return 0, false
		}
	}
	if digits > 0 && units { // 1h30: of minutes, or of seconds?
		return 0, false
	}
	total += num
	return uint32(total), len(text) > 0 && isDigit(text[0]) && total <= math.MaxUint32
}

// entry reads one record.
func (r *reader) entry(s *scanner, sc *scope) {
	fields := s.tokens
	if !s.blank {
		name, err := appendName(r.name[:0], fields[0].text, sc.origin)
		if err != nil {
			r.z.errorf(s.place(fields[0]), "owner %s is no domain name: %v", quote(fields[0].text), err)
			sc.owner = nil
			return
		}
		fold(name)
		if !bytes.Equal(sc.owner, name) { // the one before may still be in use: never written over
			sc.owner = bytes.Clone(name)
		}
		fields = fields[1:]
		sc.moved = false
	}
	at := s.place(s.tokens[0])
	if s.blank && sc.moved && sc.owner != nil {
		sc.moved = false
		r.z.warnf(at, "the record belongs to %s of before $ORIGIN; write its owner", nameText(sc.owner))
	}
	if sc.owner == nil {
		if s.blank {
			r.z.errorf(at, "the line begins with white space but there is no owner name before it to repeat")
		}
		return
	}
	if !within(sc.owner, r.z.origin) {
		r.z.errorf(at, "%s is outside of zone %s; is a final dot too many, or the record in the wrong file?", nameText(sc.owner), r.z.text)
		return
	}
	r.record(s, sc, fields, at)
}

// record reads what follows the owner: [TTL] [class] type rdata, TTL and class in any order.
func (r *reader) record(s *scanner, sc *scope, fields []token, at source.Place) {
	ttl, given, hasClass := uint32(0), false, false
	for len(fields) > 0 {
		text := fields[0].text
		if isClass, in := classValue(text); isClass && !hasClass {
			if !in {
				r.z.errorf(s.place(fields[0]), "class %s: only IN is served", text)
				return
			}
			hasClass = true
		} else if isDigit(text[0]) && !given {
			var ok bool
			if ttl, ok = r.parseTTL(s, fields[0]); !ok {
				return
			}
			given = true
		} else {
			break
		}
		fields = fields[1:]
	}
	if len(fields) == 0 {
		r.z.errorf(at, "%s has no type and no rdata", nameText(sc.owner))
		return
	}
	typ, ok := typeByText(fields[0].text)
	switch {
	case !ok:
		r.z.errorf(s.place(fields[0]), "%s is no record type%s", quote(fields[0].text), typeHint(fields[0].text))
		return
	case isMetaType(typ):
		r.z.errorf(s.place(fields[0]), "type %s may be asked for but cannot stand in a zone", fields[0].text)
		return
	case len(fields) == 1 && typ != dns.TypeAPL:
		r.z.errorf(s.place(fields[0]), "%s %s has no rdata", nameText(sc.owner), fields[0].text)
		return
	}
	data, ok := r.data(s, sc, typ, fields)
	if !ok {
		return
	}
	if ttl, ok = r.ttl(at, ttl, given, typ, data); !ok {
		return
	}
	r.add(sc, record{ttl: ttl, typ: typ, line: uint32(at.Line), col: uint16(min(at.Col, math.MaxUint16)), file: sc.file}, data, at)
}

// classValue says whether text is a class, and whether it is IN.
func classValue(text []byte) (isClass, in bool) {
	if len(text) == 2 {
		switch [2]byte{text[0] | 0x20, text[1] | 0x20} {
		case [2]byte{'i', 'n'}:
			return true, true
		case [2]byte{'c', 'h'}, [2]byte{'h', 's'}, [2]byte{'c', 's'}:
			return true, false
		}
	}
	if len(text) > 5 && bytes.EqualFold(text[:5], []byte("CLASS")) && isDigit(text[5]) {
		return true, string(text[5:]) == "1"
	}
	return false, false
}

// ttl finds a record's TTL: its own, else $TTL's, else the last one given (RFC 1035 section 5.1), else the SOA's
// MINIMUM, as BIND does, with a warning.
func (r *reader) ttl(at source.Place, ttl uint32, given bool, typ uint16, data []byte) (uint32, bool) {
	if typ == dns.TypeSOA && len(data) >= 4 {
		minimum := data[len(data)-4:]
		r.soaTTL = ttlState{uint32(minimum[0])<<24 | uint32(minimum[1])<<16 | uint32(minimum[2])<<8 | uint32(minimum[3]), true}
		if r.soaTTL.ttl > ttlMax {
			r.soaTTL.ttl = 0
		}
	}
	switch {
	case given:
		r.lastTTL = ttlState{ttl, true}
		return ttl, true
	case r.dirTTL.known:
		return r.dirTTL.ttl, true
	case r.lastTTL.known:
		r.assume(at, "no TTL and no $TTL before it; it gets the last TTL given, %d", r.lastTTL.ttl)
		return r.lastTTL.ttl, true
	case r.soaTTL.known:
		r.assume(at, "no TTL and no $TTL before it; it gets the SOA's MINIMUM, %d", r.soaTTL.ttl)
		return r.soaTTL.ttl, true
	}
	r.z.errorf(at, "no TTL: write one, or a $TTL line at the top of the file")
	return 0, false
}

// assume warns of a TTL that was not written, once a zone.
func (r *reader) assume(at source.Place, format string, ttl uint32) {
	if !r.assumed {
		r.assumed = true
		r.z.warnf(at, format, ttl)
	}
}

// data gives the wire form of a record's rdata; for STEER the policy's name. fields[0] is the type.
func (r *reader) data(s *scanner, sc *scope, typ uint16, fields []token) ([]byte, bool) {
	args := fields[1:]
	if typ == typeSTEER {
		return r.steer(s, fields)
	}
	data, err := r.rd.parse(typ, args, sc.origin)
	if err != nil {
		r.z.errorf(s.place(rdataToken(fields, err)), "%s", explainRdata(nameText(sc.owner), fields, err))
		return nil, false
	}
	for i := range r.rd.warnings {
		odd := &r.rd.warnings[i]
		r.z.warnf(s.place(rdataToken(fields, odd)), "%s %s: %s", nameText(sc.owner), fields[0].text, odd.text)
	}
	return data, true
}

// rdataToken gives the token where an error of rdata shows: its argument, the last one if it is missing behind it, or the type.
func rdataToken(fields []token, err *rdataError) token {
	if err.token < 0 {
		return fields[0]
	}
	return fields[min(1+err.token, len(fields)-1)]
}

// steer reads STEER's rdata, the name of a policy.
func (r *reader) steer(s *scanner, fields []token) ([]byte, bool) {
	args := fields[1:]
	if !bytes.EqualFold(fields[0].text, []byte("STEER")) {
		r.z.errorf(s.place(fields[0]), "%s is STEER's number, which has no numeric form; write STEER and a policy's name", fields[0].text)
		return nil, false
	}
	name := bytes.TrimSuffix(bytes.TrimPrefix(args[0].text, []byte{'"'}), []byte{'"'})
	switch {
	case string(args[0].text) == genericRdata:
		r.z.errorf(s.place(args[0]), "STEER has no form as octets; write a policy's name, as in STEER www")
		return nil, false
	case len(args) > 1:
		r.z.errorf(s.place(args[1]), "STEER names one policy; %s is too much", quote(args[1].text))
		return nil, false
	case len(name) == 0 || len(name) > stringMax || bytes.ContainsAny(name, "\\\""):
		r.z.errorf(s.place(args[0]), "%s is no policy's name; write one as in STEER www", quote(args[0].text))
		return nil, false
	}
	return name, true
}

// add keeps a record. Its owner is the scope's.
func (r *reader) add(sc *scope, rec record, data []byte, at source.Place) {
	z := r.z
	if len(z.rdata)+len(data) > rdataArenaMax || len(z.tree.arena) > namesArenaMax || len(z.recs) >= recordsMax {
		z.errorf(at, "the zone is too large: it has more than %d records, or names or data of more than 4 GB", recordsMax)
		return
	}
	if r.lastOwner == nil || !bytes.Equal(r.lastOwner, sc.owner) {
		r.lastID = z.tree.intern(sc.owner)
		r.lastOwner = sc.owner
	}
	rec.name, rec.rdata, rec.rdLen = r.lastID, uint32(len(z.rdata)), uint16(len(data))
	z.rdata = append(z.rdata, data...)
	z.recs = append(z.recs, rec)
}
