package geo

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/oschwald/geoip2-golang/v2"
	"github.com/oschwald/maxminddb-golang/v2"

	"geodns/internal/source"
)

// Field is one line of a database's record: the path of a value and its text.
type Field struct{ Key, Value string }

// Record is all that is known of an address, and from where: for explain.
type Record struct {
	// Addr is the address asked for, unmapped.
	Addr netip.Addr
	// Place is what the cells hold for it: the merged place of its block, or of
	// the long override that has it.
	Place Place
	// Decided is the prefix that has this place whole: the block, or the long
	// override.
	Decided netip.Prefix
	// BuiltIn says that the built-in continents were asked, as no database is
	// configured.
	BuiltIn bool
	// BuiltInPlace is what those say, alone.
	BuiltInPlace Place
	// Databases says what each database in use has, in their order.
	Databases []DatabaseRecord
	// Overrides are those that hold the address, the longest first.
	Overrides []OverrideRecord
}

// DatabaseRecord is what one database has of an address. Its Place can differ
// from the Record's: another database can come first, the block's majority can
// be elsewhere, an override can lie on top. It can differ from Fields too, for
// the aliases under which an IPv6 database repeats IPv4: those are not used.
type DatabaseRecord struct {
	Path    string
	Type    string
	Network netip.Prefix // the largest network around the address with this record
	Place   Place        // as this database places the address, alone
	Fields  []Field      // the record as the file has it
	Err     string       // why the record cannot be shown; "" if it can
}

// OverrideRecord is one override: what it says, and where it stands.
type OverrideRecord struct {
	Prefix netip.Prefix
	Place  Place
	At     source.Place
}

// Lookup says what is known of a client that is wholly known, that is, of one
// address. It decodes records and is not for the answer path.
func (d *Data) Lookup(a netip.Addr) Record {
	a = a.Unmap().WithZone("")
	rec := Record{Addr: a, BuiltIn: len(d.infos) == 0}
	if !a.IsValid() {
		return rec
	}
	f, num := number(a)
	rec.Place = d.Networks.At(a)
	rec.Decided, _ = a.Prefix(f.blockBits()) // never an error: the length is the family's
	for _, l := range d.Networks.Long {
		if l.Prefix.Contains(a) && l.Prefix.Bits() > rec.Decided.Bits() {
			rec.Place, rec.Decided = d.Networks.Places.At(l.Place), l.Prefix
		}
	}
	if rec.BuiltIn {
		rec.BuiltInPlace = builtIn().at(f, num).finished()
	}
	for i, db := range d.slots {
		if db != nil {
			rec.Databases = append(rec.Databases, db.lookup(d.infos[i].Path, a, f, num))
		}
	}
	for _, o := range slices.Backward(d.overrides) { // ordered by length among those that hold a
		if o.prefix.Contains(a) {
			rec.Overrides = append(rec.Overrides, OverrideRecord{Prefix: o.prefix, Place: o.place, At: o.at})
		}
	}
	return rec
}

// lookup gives one database's record.
func (db *database) lookup(path string, a netip.Addr, f family, num address) DatabaseRecord {
	rec := DatabaseRecord{Path: path, Type: db.info.Type, Place: db.layer.at(f, num).finished()}
	if db.mmdb == nil {
		runs := db.layer.runs(f)
		i := find(runs, num)
		rec.Network = prefixWithin(f, num, runs[i].start, end(runs, i, f))
		if place := db.layer.places.At(runs[i].place); place.Placed() {
			rec.Fields = []Field{
				{"range", rangeText(f, runs[i].start, end(runs, i, f))},
				{"country", cmp.Or(place.Country, place.Continent)},
			}
		}
		return rec
	}
	if f == ipv6 && db.mmdb.reader.Metadata.IPVersion == 4 {
		return rec // the file has no IPv6
	}
	err := guard("looking up", func() (err error) {
		found := db.mmdb.reader.Lookup(a)
		rec.Network = found.Prefix()
		if !found.Found() {
			return found.Err()
		}
		rec.Fields, err = db.mmdb.fields(found)
		return err
	})
	if err != nil {
		rec.Err = err.Error()
	}
	return rec
}

// prefixWithin gives the largest prefix around a that lies in first to last.
func prefixWithin(f family, a, first, last address) netip.Prefix {
	for n := 0; n < int(f); n++ {
		p, _ := f.addr(a).Prefix(n)
		_, start := number(p.Addr())
		if start.compare(first) >= 0 && f.last(start, n).compare(last) <= 0 {
			return p
		}
	}
	return netip.PrefixFrom(f.addr(a), int(f))
}

// fields reads the record of an address as geoip2's type for the kind of
// database, and gives what is set in it, a line a value. The type is decoded from
// our own reader: geoip2's opens only databases whose type it knows by name,
// which leaves out what people make for themselves.
func (m *mmdb) fields(found maxminddb.Result) ([]Field, error) {
	var rec any
	switch m.kind {
	case kindEnterprise:
		rec = new(geoip2.Enterprise)
	case kindCity:
		rec = new(geoip2.City)
	case kindCountry:
		rec = new(geoip2.Country)
	case kindISP:
		rec = new(geoip2.ISP)
	default:
		rec = new(geoip2.ASN)
	}
	if err := found.Decode(rec); err != nil {
		return nil, err
	}
	text, err := json.Marshal(rec)
	if err != nil {
		return nil, fmt.Errorf("showing the record: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	return flatten(dec, "", nil)
}

// flatten turns the next JSON value into fields: {"country": {"iso_code": "DE"}}
// is country.iso_code = DE. Names in other languages than English are left out.
func flatten(dec *json.Decoder, path string, out []Field) ([]Field, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, fmt.Errorf("showing a record: %w", err)
	}
	delim, nested := token.(json.Delim)
	if !nested {
		if isShown(path) {
			out = append(out, Field{path, fmt.Sprint(token)})
		}
		return out, nil
	}
	for i := 0; dec.More(); i++ {
		key := strconv.Itoa(i)
		if delim == '{' {
			if token, err = dec.Token(); err != nil {
				return nil, fmt.Errorf("showing a record: %w", err)
			}
			key = fmt.Sprint(token)
		}
		if path != "" {
			key = path + "." + key
		}
		if out, err = flatten(dec, key, out); err != nil {
			return nil, err
		}
	}
	if _, err := dec.Token(); err != nil { // the closing one
		return nil, fmt.Errorf("showing a record: %w", err)
	}
	return out, nil
}

// isShown says whether a value's path is worth a line.
func isShown(path string) bool {
	return !strings.Contains(path, "names.") || strings.HasSuffix(path, "names.en")
}
