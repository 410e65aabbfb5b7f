package geo

import (
	_ "embed" // the tables below
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
)

//go:generate go test -count=1 -run ^TestTables$ . -update

// countriesText is a line a country, and one a continent: code, continent,
// latitude, longitude. Its sources stand in its comments.
//
//go:embed countries.csv
var countriesText string

// continentsText is a line a prefix: prefix, continent. Its sources stand in
// its comments.
//
//go:embed continents.csv
var continentsText string

// facts is what is known of a country or continent.
type facts struct {
	continent string
	lat, lon  float64
}

// countryFacts is countriesText as a table; continents have the key "-EU".
//
//nolint:gochecknoglobals // read once from the embedded text, never changed
var countryFacts = sync.OnceValue(func() map[string]facts {
	table := map[string]facts{}
	for fields := range embedded(countriesText, 4) {
		lat, errLat := strconv.ParseFloat(fields[2], 64)
		lon, errLon := strconv.ParseFloat(fields[3], 64)
		if errLat != nil || errLon != nil {
			panic(fmt.Sprintf("geo: countries.csv: %q", fields)) // our own file; a test reads all of it
		}
		table[fields[0]] = facts{fields[1], lat, lon}
	}
	return table
})

// builtIn is the layer of the built-in continents.
//
//nolint:gochecknoglobals // read once from the embedded text, never changed
var builtIn = sync.OnceValue(func() *layer {
	in := newInterner()
	v4, v6 := runBuilder{family: ipv4}, runBuilder{family: ipv6}
	l := &layer{}
	for fields := range embedded(continentsText, 2) {
		p, err := netip.ParsePrefix(fields[0])
		if err != nil || !isContinent(fields[1]) {
			panic(fmt.Sprintf("geo: continents.csv: %q", fields)) // our own file; a test reads all of it
		}
		f, first := number(p.Addr())
		b := &v4
		if f == ipv6 {
			b = &v6
		}
		b.add(first, f.last(first, p.Bits()), in.id(Place{Continent: fields[1]}))
		l.networks++
	}
	l.places, l.v4, l.v6 = NewPlaces(in.places), v4.finish(), v6.finish()
	return l
})

// embedded gives the lines of one of our own tables, comments left out, each
// cut into n fields.
func embedded(text string, n int) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			if line == "" || line[0] == '#' {
				continue
			}
			fields := strings.Split(line, ",")
			if len(fields) != n {
				panic(fmt.Sprintf("geo: embedded table: %q has not %d fields", line, n))
			}
			if !yield(fields) {
				return
			}
		}
	}
}

// ContinentOf gives the continent of a country (ISO 3166-1 alpha-2, or XK), or
// "" if there is no such country.
func ContinentOf(country string) string {
	if !isCountry(country) {
		return ""
	}
	return countryFacts()[country].continent
}

// isCountry says whether code is a country's in the built-in table.
func isCountry(code string) bool {
	_, ok := countryFacts()[code]
	return ok && len(code) == 2
}

// CountryMiddle gives the middle of a country, in degrees.
func CountryMiddle(country string) (lat, lon float64, ok bool) {
	if !isCountry(country) {
		return 0, 0, false
	}
	f := countryFacts()[country]
	return f.lat, f.lon, true
}

// ContinentMiddle gives a point in the middle of where a continent's people
// live, in degrees: it stands for clients of whom no more is known.
func ContinentMiddle(continent string) (lat, lon float64, ok bool) {
	f, ok := countryFacts()["-"+continent]
	return f.lat, f.lon, ok
}
