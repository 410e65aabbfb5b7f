package geo

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"

	"geodns/internal/source"
)

const (
	// separatorBytes is the run of zeros between the search tree and the data
	// section (MaxMind DB format 2.0, "Data Section Separator").
	separatorBytes = 16

	// buildEpochMax is 9999-12-31: a build time behind it is damage, and would
	// overflow a time.Time's own arithmetic.
	buildEpochMax = 253402300799
)

// metadataMarker begins the metadata; its last occurrence in a file counts.
const metadataMarker = "\xAB\xCD\xEFMaxMind.com"

// kind says which fields a database has and which typed record explain reads.
// Of several that a type names, the first in this order decides.
type kind uint8

const (
	kindNone kind = iota
	kindEnterprise
	kindCity
	kindCountry
	kindISP
	kindASN
	kindRanges // range CSV
)

// String gives the kind in an operator's words.
func (k kind) String() string {
	switch k {
	case kindCity:
		return "City"
	case kindCountry:
		return "Country"
	case kindEnterprise:
		return "Enterprise"
	case kindISP:
		return "ISP"
	case kindASN:
		return "ASN"
	case kindRanges:
		return "range CSV"
	case kindNone:
	}
	return "none"
}

// kindOf reads a database type such as GeoLite2-City, DBIP-Country-Lite or
// "DBIP-Location-ISP (compat=Enterprise)". The words in it decide, so that a
// database that somebody made for themselves ("Example-City") is one too; what
// a "compat=" names decides over the rest.
func kindOf(databaseType string) kind {
	if _, compat, ok := strings.Cut(databaseType, "compat="); ok {
		databaseType = compat
	}
	words := strings.FieldsFunc(databaseType, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	})
	found := kindNone
	for _, w := range words {
		var k kind
		switch w {
		case "Enterprise":
			k = kindEnterprise
		case "City", "Location":
			k = kindCity
		case "Country":
			k = kindCountry
		case "ISP":
			k = kindISP
		case "ASN":
			k = kindASN
		}
		if k != kindNone && (found == kindNone || k < found) {
			found = k
		}
	}
	return found
}

// mmdb is an opened MMDB file. It is never closed: it is memory, and goes when
// nobody refers to it, so that a look-up cannot meet a closed one.
type mmdb struct {
	kind   kind
	bytes  []byte
	reader *maxminddb.Reader
}

// offsetError is an error with its place in a binary file.
type offsetError struct {
	offset int64
	err    error
}

// Error gives the text of what is wrong, without the place.
func (e *offsetError) Error() string { return e.err.Error() }

// Unwrap gives the error itself.
func (e *offsetError) Unwrap() error { return e.err }

// atOffset makes an error with a place in a binary file.
func atOffset(offset int64, format string, a ...any) error {
	return &offsetError{offset, fmt.Errorf(format, a...)}
}

// placeOf is the place of an error in a file.
func placeOf(file string, err error) source.Place {
	if at, ok := errors.AsType[*offsetError](err); ok {
		return source.Offset(file, at.offset)
	}
	return source.WholeFile(file)
}

// isMMDB says whether data is an MMDB file, damaged or not: by its metadata's
// marker, whatever the file's name.
func isMMDB(data []byte) bool { return bytes.Contains(data, []byte(metadataMarker)) }

// guard runs what calls the reader library on a hostile file, and turns a panic
// in it into an error. The library is tested against damage, as we test it
// here; a server that keeps answering does not stake its life on that.
func guard(what string, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: the database reader gave up: %v", what, r)
		}
	}()
	return f()
}

// openMMDB opens a database and checks all that can be checked without reading
// its networks.
func openMMDB(data []byte) (*mmdb, error) {
	m := &mmdb{bytes: data}
	err := guard("opening", func() (err error) {
		m.reader, err = maxminddb.OpenBytes(data)
		return err
	})
	marker := int64(bytes.LastIndex(data, []byte(metadataMarker)))
	if err != nil {
		return nil, atOffset(max(marker, 0), "not a usable MMDB: %w", err)
	}
	meta := m.reader.Metadata
	if m.kind = kindOf(meta.DatabaseType); m.kind == kindNone {
		return nil, atOffset(marker, "database type %q has no places of clients: a City, Country, Enterprise, ISP or ASN database is wanted", meta.DatabaseType)
	}
	if err := checkMetadata(meta, len(data)); err != nil {
		return nil, atOffset(marker, "%w", err)
	}
	// The reader does not look at the separator. Where it is not zero the tree
	// is longer or shorter than the metadata says, and every record would be
	// read from the wrong place.
	tree := treeBytes(meta)
	for i, b := range data[tree : tree+separatorBytes] {
		if b != 0 {
			return nil, atOffset(tree+int64(i), "the search tree does not end where %d nodes of %d bits end: the 16 zeros behind it are not there", meta.NodeCount, 2*meta.RecordSize)
		}
	}
	return m, nil
}

// checkMetadata checks the numbers that the walk goes by.
func checkMetadata(meta maxminddb.Metadata, size int) error {
	switch {
	case meta.BinaryFormatMajorVersion != 2:
		return fmt.Errorf("binary format version %d: this server reads version 2", meta.BinaryFormatMajorVersion)
	case meta.IPVersion != 4 && meta.IPVersion != 6:
		return fmt.Errorf("IP version %d: it is 4 or 6", meta.IPVersion)
	case meta.RecordSize != 24 && meta.RecordSize != 28 && meta.RecordSize != 32:
		return fmt.Errorf("record size %d: it is 24, 28 or 32 bits", meta.RecordSize)
	case meta.NodeCount == 0:
		return errors.New("the search tree has no nodes")
	case meta.NodeCount > uint(size)/(meta.RecordSize/4):
		return fmt.Errorf("a search tree of %d nodes does not fit in the file", meta.NodeCount)
	case meta.BuildEpoch > buildEpochMax:
		return fmt.Errorf("build epoch %d is no time", meta.BuildEpoch)
	}
	return nil
}

// treeBytes is the length of the search tree. The reader has checked that the
// tree and the separator lie in the file, and checkMetadata that the product
// does not overflow.
func treeBytes(meta maxminddb.Metadata) int64 {
	return int64(meta.NodeCount) * int64(meta.RecordSize) / 4
}

// built is when the database was built.
func (m *mmdb) built() time.Time { return time.Unix(int64(m.reader.Metadata.BuildEpoch), 0).UTC() }

// record is what the cells need of a database's record. registered_country is
// left out on purpose: it says where the network's owner is registered, which
// for a company's or a mobile network is often not where the clients are. A
// record without a country places its clients on a continent at most.
type record struct {
	Continent struct {
		Code string `maxminddb:"code"`
	} `maxminddb:"continent"`
	Country struct {
		ISOCode string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
	Subdivisions []struct {
		ISOCode string `maxminddb:"iso_code"`
	} `maxminddb:"subdivisions"`
	Location struct {
		Latitude  *float64 `maxminddb:"latitude"`
		Longitude *float64 `maxminddb:"longitude"`
	} `maxminddb:"location"`
	Traits struct {
		ASN uint32 `maxminddb:"autonomous_system_number"` // Enterprise has it here
	} `maxminddb:"traits"`
	ASN uint32 `maxminddb:"autonomous_system_number"` // ISP and ASN here
}

// place checks a record's fields. Those that cannot be right are left out and
// counted in odd, as a database has them now and then (a country of its own
// making, a subdivision of four letters) and the rest of the record is good.
func (r *record) place(odd *oddities) Place {
	p := Place{ASN: r.ASN}
	if p.ASN == 0 {
		p.ASN = r.Traits.ASN
	}
	if code := r.Continent.Code; isContinent(code) {
		p.Continent = code
	} else {
		odd.add("continent", code)
	}
	if code := r.Country.ISOCode; ContinentOf(code) != "" {
		p.Country = code
	} else {
		odd.add("country", code)
	}
	if len(r.Subdivisions) > 0 && p.Country != "" {
		if code := r.Subdivisions[0].ISOCode; isSubdivision(code) {
			p.Subdivision = code
		} else {
			odd.add("subdivision", code)
		}
	}
	if lat, lon := r.Location.Latitude, r.Location.Longitude; lat != nil && lon != nil {
		switch {
		case isLocation(*lat, *lon):
			p.HasLocation, p.Lat, p.Lon = true, positive(*lat), positive(*lon)
		case *lat != 0 || *lon != 0: // 0,0 is how some write "unknown"
			odd.add("location", fmt.Sprintf("%g,%g", *lat, *lon))
		}
	}
	return p
}

// layer reads all networks of the database. It gives an error, with its offset,
// if any of them cannot be read: there is no partial load.
func (m *mmdb) layer(odd *oddities) (*layer, error) {
	in := newInterner()
	ids := map[uint64]uint32{} // by record offset: most records serve many networks
	l := &layer{}
	data := uint64(treeBytes(m.reader.Metadata)) + separatorBytes
	emit := func(b *runBuilder, first, last address, offset uint64) error {
		id, known := ids[offset]
		if !known {
			var r record
			err := guard("decoding", func() error { return m.reader.LookupOffset(uintptr(offset)).Decode(&r) })
			if err != nil {
				return atOffset(int64(data+offset), "the record of network %s cannot be read: %w", rangeText(b.family, first, last), err)
			}
			id = in.id(r.place(odd))
			ids[offset] = id
		}
		if l.networks++; l.networks > networksMax {
			return fmt.Errorf("more than %d networks", networksMax)
		}
		b.add(first, last, id)
		return nil
	}
	w := newTreeWalk(m.bytes, m.reader.Metadata)
	var err error
	if l.v4, err = w.walk(ipv4, emit); err != nil {
		return nil, err
	}
	if l.v6, err = w.walk(ipv6, emit); err != nil {
		return nil, err
	}
	if len(in.places) == 1 {
		return nil, errors.New("no network in it has a continent, country, location or ASN")
	}
	l.places = NewPlaces(in.places)
	return l, nil
}

// oddities counts the fields of records that were left out.
type oddities struct {
	count    int
	examples []string
}

// oddityExamplesMax is how many different ones the warning quotes.
const oddityExamplesMax = 5

// oddityTextMax is how much of one is quoted, in bytes: enough for any code.
const oddityTextMax = 32

// add counts a field, unless it is merely empty.
func (o *oddities) add(field, value string) {
	if value == "" {
		return
	}
	o.count++
	if len(value) > oddityTextMax {
		value = value[:oddityTextMax]
	}
	example := fmt.Sprintf("%s %q", field, value)
	if len(o.examples) < oddityExamplesMax && !slices.Contains(o.examples, example) {
		o.examples = append(o.examples, example)
	}
}

// String describes them for a warning.
func (o *oddities) String() string {
	return fmt.Sprintf("left out %d fields of its records, as they hold nothing that is known (%s)", o.count, strings.Join(o.examples, ", "))
}

// rangeText gives a range as a prefix if it is one, else as first-last.
func rangeText(f family, first, last address) string {
	for n := 0; n <= int(f); n++ {
		if p, err := f.addr(first).Prefix(n); err == nil && p.Addr() == f.addr(first) && f.last(first, n) == last {
			return p.String()
		}
	}
	return f.addr(first).String() + "-" + f.addr(last).String()
}
