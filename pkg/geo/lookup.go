package geo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

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
			rec.Place, rec.Decided = d.Networks.Places[l.Place], l.Prefix
		}
	}
	for i, db := range d.slots {
		if db != nil {
			rec.Databases = append(rec.Databases, db.lookup(d.infos[i].Path, a, f, num))
		}
	}
	for i := len(d.overrides) - 1; i >= 0; i-- { // ordered by length among those that hold a
		if o := d.overrides[i]; o.prefix.Contains(a) {
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
		if place := db.layer.places[runs[i].place]; place.Country != "" {
			rec.Fields = []Field{
				{"range", rangeText(f, runs[i].start, end(runs, i, f))},
				{"country", place.Country},
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
		rec.Fields, err = db.mmdb.fields(a)
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

// fields reads the record of an address with geoip2's type for the kind of
// database, and gives what is set in it, a line a value.
func (m *mmdb) fields(a netip.Addr) ([]Field, error) {
	var rec any
	var err error
	switch {
	case m.typed == nil: // a type that geoip2 does not know by name: what we use of it
		var r record
		err = m.reader.Lookup(a).Decode(&r)
		rec = r.shown()
	case m.kind == kindEnterprise:
		rec, err = m.typed.Enterprise(a)
	case m.kind == kindCity:
		rec, err = m.typed.City(a)
	case m.kind == kindCountry:
		rec, err = m.typed.Country(a)
	case m.kind == kindISP:
		rec, err = m.typed.ISP(a)
	default:
		rec, err = m.typed.ASN(a)
	}
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(rec)
	if err != nil {
		return nil, fmt.Errorf("showing the record of %s: %w", a, err)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	return flatten(dec, "", nil)
}

// shown is a record of ours in the form that geoip2's have.
func (r *record) shown() any {
	type code struct {
		ISOCode string `json:"iso_code,omitzero"`
	}
	type continent struct {
		Code string `json:"code,omitzero"`
	}
	type location struct {
		Latitude  *float64 `json:"latitude,omitzero"`
		Longitude *float64 `json:"longitude,omitzero"`
	}
	var subdivisions []code
	for _, s := range r.Subdivisions {
		subdivisions = append(subdivisions, code{s.ISOCode})
	}
	return struct {
		Continent    continent `json:"continent,omitzero"`
		Country      code      `json:"country,omitzero"`
		Subdivisions []code    `json:"subdivisions,omitzero"`
		Location     location  `json:"location,omitzero"`
		ASN          uint32    `json:"autonomous_system_number,omitzero"`
	}{
		continent{r.Continent.Code}, code(r.Country), subdivisions,
		location(r.Location), max(r.ASN, r.Traits.ASN),
	}
}

// flatten turns the next JSON value into fields: {"country": {"iso_code": "DE"}}
// is country.iso_code = DE. Names in other languages than English are left out;
// so are the address and network, which the record's head shows.
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
			token, err := dec.Token()
			if err != nil {
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
	if i := strings.Index(path, "names."); i >= 0 {
		return strings.HasSuffix(path, "names.en")
	}
	for _, own := range []string{"ip_address", "network"} {
		if path == own || strings.HasSuffix(path, "."+own) {
			return false
		}
	}
	return true
}
