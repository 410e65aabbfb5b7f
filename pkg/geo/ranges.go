package geo

import (
	"bytes"
	"errors"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"geodns/internal/source"
)

const (
	// rangeLineMax is the longest line of a range CSV file, in bytes: two IPv6
	// addresses, a country, quotes and spaces are below 100; comments are longer.
	rangeLineMax = 4096

	// rangeErrorsMax ends the reading: a file with so many wrong lines is not of
	// this form, and all of its lines would be reported.
	rangeErrorsMax = 10

	// rangeCodesMax is how many codes that are no countries a warning shows: real
	// files have seven.
	rangeCodesMax = 12
)

// parseRanges reads a range CSV file, the form of Debian's tor-geoipdb:
//
//	# comment
//	16777216,16777471,AU
//	"1.0.1.0","1.0.3.255","CN"
//	2001:200::,2001:200:ffff:ffff:ffff:ffff:ffff:ffff,JP
//
// Both ends belong to the range. IPv4 is written as an address or as a decimal
// number. Each family's ranges are in order and do not overlap. Countries are
// ISO 3166-1 alpha-2. EU, which registries write for networks all over Europe, is
// the continent; none, ?? and ZZ are unknown, and so are, with a warning, other
// codes of two characters (AP, A1, and those of countries that are no more).
func parseRanges(file string, data []byte) (*layer, source.Findings) {
	r := rangeReader{file: file, in: newInterner(), ids: map[string]uint32{}, v4: runBuilder{family: ipv4}, v6: runBuilder{family: ipv6}}
	if at := bytes.IndexFunc(data[:min(len(data), rangeLineMax)], isBinary); at >= 0 {
		r.fs.Errorf(source.Offset(file, int64(at)), "this is neither an MMDB file (it has no %q in it) nor a text of ranges (start,end,country)", metadataMarker[3:])
		return nil, r.fs
	}
	data = bytes.TrimPrefix(data, []byte("\xEF\xBB\xBF")) // a byte order mark, as spreadsheets write it
	for len(data) > 0 && r.fs.Errors() < rangeErrorsMax {
		line, rest, _ := bytes.Cut(data, []byte{'\n'})
		data = rest
		r.line++
		r.read(line)
	}
	if !r.fs.HasErrors() && len(r.in.places) == 1 {
		r.fs.Errorf(source.WholeFile(file), "no range in it has a country")
	}
	if r.fs.HasErrors() {
		return nil, r.fs
	}
	if len(r.unknown) > 0 {
		slices.Sort(r.unknown)
		shown := strings.Join(r.unknown[:min(len(r.unknown), rangeCodesMax)], ", ")
		if len(r.unknown) > rangeCodesMax {
			shown += ", ..."
		}
		r.fs.Warnf(source.WholeFile(file), "%d ranges have codes that are no countries of ISO 3166-1 and count as unknown (%s)", r.unknownRanges, shown)
	}
	return &layer{places: NewPlaces(r.in.places), v4: r.v4.finish(), v6: r.v6.finish(), networks: r.ranges}, r.fs
}

// isBinary says whether a rune has no business in a text, of whatever encoding.
func isBinary(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' }

// rangeReader reads one file, line by line.
type rangeReader struct {
	file   string
	fs     source.Findings
	line   int // of the line at hand, from 1
	in     *interner
	ids    map[string]uint32 // by country code as written
	v4, v6 runBuilder
	ranges int

	unknownRanges int
	unknown       []string // their codes
}

// errorf reports an error in the line at hand; col counts from 0.
func (r *rangeReader) errorf(col int, format string, a ...any) {
	r.fs.Errorf(source.Place{File: r.file, Line: r.line, Col: col + 1}, format, a...)
}

// read takes one line, without its newline.
func (r *rangeReader) read(line []byte) {
	if len(line) > rangeLineMax {
		r.errorf(0, "a line of %d bytes: a range is start,end,country", len(line))
		return
	}
	if trimmed := bytes.TrimSpace(line); len(trimmed) == 0 || trimmed[0] == '#' {
		return
	}
	fields, cols, err := rangeFields(line)
	if err != nil {
		r.errorf(0, "%v", err)
		return
	}
	f, first, err := rangeAddr(fields[0])
	if err != nil {
		r.errorf(cols[0], "the start of the range, %q: %v", quotable(fields[0]), err)
		return
	}
	fLast, last, err := rangeAddr(fields[1])
	if err != nil {
		r.errorf(cols[1], "the end of the range, %q: %v", quotable(fields[1]), err)
		return
	}
	if f != fLast {
		r.errorf(cols[1], "the range begins in %s and ends in %s", f, fLast)
		return
	}
	if last.compare(first) < 0 {
		r.errorf(cols[1], "the range ends at %s, before it begins at %s", fields[1], fields[0])
		return
	}
	b := &r.v4
	if f == ipv6 {
		b = &r.v6
	}
	if b.full || first.compare(b.next) < 0 {
		r.errorf(cols[0], "the range begins at %s, but those before it reach to %s: ranges are in order and do not overlap", f.addr(first), f.addr(b.next.prev()))
		return
	}
	id, ok := r.country(fields[2], cols[2])
	if !ok {
		return
	}
	if r.ranges++; r.ranges > networksMax {
		r.errorf(0, "more than %d ranges", networksMax)
		return
	}
	b.add(first, last, id)
}

// country gives the place number of a country as written.
func (r *rangeReader) country(code []byte, col int) (uint32, bool) {
	if id, ok := r.ids[string(code)]; ok {
		if id == 0 && isOddCountry(code) {
			r.unknownRanges++
		}
		return id, true
	}
	if len(code) != 0 && len(code) != 2 {
		r.errorf(col, "country %q: a code of two letters of ISO 3166-1 is wanted, as in 1.0.0.0,1.0.0.255,AU", quotable(code))
		return 0, false
	}
	country := string(code)
	id := uint32(0)
	switch {
	case ContinentOf(country) != "":
		id = r.in.id(Place{Country: country})
	case country == "EU":
		id = r.in.id(Place{Continent: "EU"})
	case isOddCountry(code):
		r.unknownRanges++
		r.unknown = append(r.unknown, strconv.Quote(country))
	}
	r.ids[country] = id
	return id, true
}

// isOddCountry says of a code that is no country's whether that is worth a
// warning: not where the file says itself that it does not know.
func isOddCountry(code []byte) bool {
	switch string(code) {
	case "", "??", "ZZ", "--":
		return false
	}
	return true
}

// rangeFields cuts a line at its two commas, and takes quotes and space off the
// fields. cols are the fields' columns, from 0.
func rangeFields(line []byte) (fields [3][]byte, cols [3]int, err error) {
	const want = "a range is start,end,country, as in 1.0.0.0,1.0.0.255,AU"
	if n := bytes.Count(line, []byte{','}); n != 2 {
		return fields, cols, errors.New("a line of " + strconv.Itoa(n+1) + " fields: " + want)
	}
	rest, at := line, 0
	for i := range fields {
		field, after, _ := bytes.Cut(rest, []byte{','})
		start := at
		at += len(field) + 1
		rest = after
		trimmed := bytes.TrimLeft(field, " \t")
		start += len(field) - len(trimmed)
		trimmed = bytes.TrimRight(trimmed, " \t\r")
		if n := len(trimmed); n > 0 && (trimmed[0] == '"' || trimmed[n-1] == '"') {
			if n < 2 || trimmed[0] != trimmed[n-1] {
				return fields, cols, errors.New("a quote without its other: " + want)
			}
			trimmed = trimmed[1 : n-1]
			start++
		}
		fields[i], cols[i] = trimmed, start
	}
	return fields, cols, nil
}

// rangeAddr reads an address, or an IPv4 address as a decimal number.
func rangeAddr(text []byte) (family, address, error) {
	if len(text) > 0 && bytes.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' }) < 0 {
		n, err := strconv.ParseUint(string(text), 10, 64)
		if err != nil || n > math.MaxUint32 {
			return 0, address{}, errors.New("the number is above 4294967295, the last IPv4 address; IPv6 is written as an address")
		}
		return ipv4, address{0, n}, nil
	}
	a, err := netip.ParseAddr(string(text))
	if err != nil || a.Zone() != "" {
		return 0, address{}, errors.New("an address, or an IPv4 address as a number, is wanted")
	}
	if a.Is4In6() {
		return 0, address{}, errors.New("this is IPv4 in the form of IPv6: write it as IPv4")
	}
	f, n := number(a)
	return f, n, nil
}

// quotable cuts a text to what is worth quoting.
func quotable(text []byte) []byte {
	const textMax = 60
	return text[:min(len(text), textMax)]
}
