package zone

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// rdataParser hands the rdata of one entry at a time to miekg/dns. One ZoneParser serves many entries, since a new one
// for each costs more than the parsing: it reads from the parser's line, which next fills, and stops behind each
// record's newline.
type rdataParser struct {
	zp     *dns.ZoneParser
	origin string // that zp knows
	line   []byte // what zp reads
	pos    int    // how far it has read
	start  int    // where the entry begins in line
	cols   []int  // by token: where its text begins in the last line of line, from 1
	buf    []byte // wire form of one record
}

// ReadByte gives the parser the line, then the end of input: a parser that reads past its line is not used again.
func (p *rdataParser) ReadByte() (byte, error) {
	if p.pos == len(p.line) {
		return 0, io.EOF
	}
	p.pos++
	return p.line[p.pos-1], nil
}

// Read is never called: the parser reads bytes where it can.
func (p *rdataParser) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// rdataError is what is wrong with an entry's rdata, and the token where it shows: len(tokens) behind the last, -1 anywhere.
type rdataError struct {
	token int
	text  string
}

func (e *rdataError) Error() string { return e.text }

// ownerLen is the length of the wire form before the rdata: the root as owner, type, class, TTL, length.
const ownerLen = 1 + 10

// parse gives the wire form of the rdata that tokens spell for a type, valid until the next call. Relative names in it
// are relative to origin, in presentation form. Letters keep their case.
func (p *rdataParser) parse(typeToken []byte, tokens []token, origin string) ([]byte, *rdataError) {
	p.line, p.pos, p.cols = p.line[:0], 0, p.cols[:0]
	if p.zp == nil {
		p.zp, p.origin = dns.NewZoneParser(p, "", ""), ""
		p.zp.SetDefaultTTL(0)
	}
	if p.origin != origin {
		p.line = append(append(append(p.line, "$ORIGIN "...), origin...), '\n')
		p.origin = origin
	}
	p.start = len(p.line)
	p.line = append(append(p.line, ". 0 IN "...), typeToken...)
	for i, t := range tokens {
		if t.spaced || i == 0 {
			p.line = append(p.line, ' ')
		}
		p.cols = append(p.cols, len(p.line)-p.start+1)
		p.line = append(p.line, t.text...)
	}
	p.line = append(p.line, '\n')
	rr, err := p.next()
	if err != nil || p.pos != len(p.line) {
		p.zp = nil
	}
	if err != nil {
		return nil, p.explain(err)
	}
	if p.buf == nil {
		p.buf = make([]byte, 1024) // most records; thousands of small zones need not clear 64 KB each
	}
	end, err := dns.PackRR(rr, p.buf, 0, nil, false)
	if err != nil && len(p.buf) < ownerLen+msgMax {
		p.buf = make([]byte, ownerLen+msgMax)
		end, err = dns.PackRR(rr, p.buf, 0, nil, false)
	}
	if err != nil {
		return nil, &rdataError{-1, strings.TrimPrefix(err.Error(), "dns: ")}
	}
	return p.buf[ownerLen:end], nil
}

// next parses the line. A panic of the parser is an error of the line: no zone file may end the process.
func (p *rdataParser) next() (rr dns.RR, err error) {
	defer func() {
		if e := recover(); e != nil {
			rr, err = nil, fmt.Errorf("the parser gave up: %v", e)
		}
	}()
	rr, ok := p.zp.Next()
	if err := p.zp.Err(); err != nil {
		return nil, err
	}
	if !ok || rr == nil {
		return nil, errNoRecord
	}
	return rr, nil
}

var errNoRecord = errors.New("no record")

// explain turns an error of miekg/dns into one that names the token: its text ends with the line and column of what it
// had read.
func (p *rdataParser) explain(err error) *rdataError {
	out := &rdataError{token: len(p.cols)}
	text := strings.TrimPrefix(err.Error(), "dns: ")
	if i := strings.LastIndex(text, " at line: "); i >= 0 {
		_, column, _ := strings.Cut(text[i+len(" at line: "):], ":")
		if col, convErr := strconv.Atoi(column); convErr == nil {
			out.token = p.tokenAt(col)
			if col >= len(p.line)-p.start { // it read the newline
				out.token = len(p.cols)
			}
		}
		text = text[:i]
	}
	out.text, _, _ = strings.Cut(text, `: "`)
	return out
}

// tokenAt gives the token that stands at or last before a column, or the number of tokens if that is behind the last.
// The parser notices an error with the byte behind a token at the earliest.
func (p *rdataParser) tokenAt(col int) int {
	token := 0
	for i, c := range p.cols {
		if c <= col {
			token = i
		}
	}
	return token
}

// typeByText gives the number of a type mnemonic or of TYPEnnn (RFC 3597 section 5), any case.
func typeByText(text []byte) (uint16, bool) {
	var buf [16]byte
	if len(text) > len(buf) {
		return 0, false
	}
	upper := buf[:copy(buf[:], text)]
	for i, c := range upper {
		if c-'a' < 26 {
			upper[i] = c - 0x20
		}
	}
	if string(upper) == "STEER" {
		return typeSTEER, true
	}
	if t, ok := dns.StringToType[string(upper)]; ok {
		return t, true
	}
	if digits, ok := strings.CutPrefix(string(upper), "TYPE"); ok {
		t, err := strconv.ParseUint(digits, 10, 16)
		return uint16(t), err == nil
	}
	return 0, false
}

// typeText gives a type's mnemonic, or TYPEnnn.
func typeText(t uint16) string {
	if t == typeSTEER {
		return "STEER"
	}
	return dns.Type(t).String()
}

// isMetaType says whether a type may be asked for but not stand in a zone: QTYPEs and meta types (RFC 6895 section
// 3.1), and the reserved numbers.
func isMetaType(t uint16) bool {
	return t == 0 || t == dns.TypeOPT || t >= 128 && t <= 255 || t == 65535
}

// nameFields says where in the rdata of a type domain names stand: after skip octets, count of them in a row. Only types
// whose names matter for compression, for duplicates or for checks are known. Behind the names there may be more.
func nameFields(t uint16) (skip, count int, ok bool) {
	switch t {
	case dns.TypeNS, dns.TypeMD, dns.TypeMF, dns.TypeCNAME, dns.TypeMB, dns.TypeMG, dns.TypeMR, dns.TypePTR, dns.TypeDNAME:
		return 0, 1, true
	case dns.TypeSOA, dns.TypeMINFO, dns.TypeRP:
		return 0, 2, true
	case dns.TypeMX, dns.TypeAFSDB, dns.TypeRT, dns.TypeKX:
		return 2, 1, true
	case dns.TypeSRV:
		return 6, 1, true
	}
	return 0, 0, false
}

// compressible says whether names in a type's rdata may be compressed: the types of RFC 1035 only (RFC 3597 section 4).
func compressible(t uint16) bool {
	switch t {
	case dns.TypeNS, dns.TypeMD, dns.TypeMF, dns.TypeCNAME, dns.TypeMB, dns.TypeMG, dns.TypeMR, dns.TypePTR, dns.TypeSOA, dns.TypeMINFO,
		dns.TypeMX:
		return true
	}
	return false
}

// nameLen gives the length of the wire name at the beginning of b; b holds it whole.
func nameLen(b []byte) int {
	n := 0
	for b[n] != 0 {
		n += 1 + int(b[n])
	}
	return n + 1
}

// target gives the domain name in the rdata of NS, CNAME, DNAME, PTR, MX or SRV, not folded.
func target(typ uint16, rdata []byte) []byte {
	skip, _, _ := nameFields(typ)
	return rdata[skip:][:nameLen(rdata[skip:])]
}
