package geo_test

import (
	"strings"
	"testing"

	"geodns/pkg/geo"
)

func TestParseCode(t *testing.T) {
	for _, c := range []struct {
		in   string
		want geo.Code
		err  string // what the error says
	}{
		{in: "EU", want: geo.Code{Continent: "EU"}},
		{in: "AN", want: geo.Code{Continent: "AN"}},
		{in: "EU-DE", want: geo.Code{Continent: "EU", Country: "DE"}},
		{in: "NA-US-CA", want: geo.Code{Continent: "NA", Country: "US", Subdivision: "CA"}},
		{in: "EU-FR-2A", want: geo.Code{Continent: "EU", Country: "FR", Subdivision: "2A"}},
		{in: "EU-GB-ENG", want: geo.Code{Continent: "EU", Country: "GB", Subdivision: "ENG"}},
		{in: "EU-XK", want: geo.Code{Continent: "EU", Country: "XK"}},
		{in: "AN-AQ", want: geo.Code{Continent: "AN", Country: "AQ"}},
		{in: "AS-TR", want: geo.Code{Continent: "AS", Country: "TR"}},
		{in: "SA-BR", want: geo.Code{Continent: "SA", Country: "BR"}},
		{in: "", err: `"" is no continent: those are AF, AN, AS, EU, NA, OC or SA`},
		{in: "XX", err: `"XX" is no continent`},
		{in: "DE", err: "write EU-DE"},
		{in: "DE-BY", err: "write EU-DE-BY"},
		{in: "NA-DE", err: "DE is in EU: write EU-DE"},
		{in: "NA-DE-BY", err: "write EU-DE-BY"},
		{in: "eu-de", err: "write EU-DE"},
		{in: "EU-de", err: "write EU-DE"},
		{in: "EU-QQ", err: `"QQ" is no country of ISO 3166-1`},
		{in: "EU-UK", err: `"UK" is no country`},
		{in: "EU-", err: `"" is no country`},
		{in: "NA-US-", err: "1 to 3 letters or digits"},
		{in: "NA-US-CALI", err: "1 to 3 letters or digits"},
		{in: "NA-US-C.", err: "1 to 3 letters or digits"},
		{in: "NA-US-CA-X", err: "4 parts"},
		{in: "-EU", err: "no continent"},
		{in: "unknown", err: "no continent"},
		{in: "EU DE", err: "no continent"},
	} {
		got, err := geo.ParseCode(c.in)
		switch {
		case c.err == "" && (err != nil || got != c.want):
			t.Errorf("ParseCode(%q) = %v, %v; want %v", c.in, got, err, c.want)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("ParseCode(%q) gives error %v; want one with %q", c.in, err, c.err)
		}
		if err == nil && got.String() != c.in {
			t.Errorf("ParseCode(%q).String() = %q", c.in, got)
		}
	}
}

func TestCodeMatches(t *testing.T) {
	cyprus := geo.Place{Continent: "AS", Country: "CY", Subdivision: "01"} // as a database may have it; the table has EU
	for _, c := range []struct {
		code  string
		place geo.Place
		want  bool
	}{
		{"EU", geo.Place{Continent: "EU"}, true},
		{"EU", geo.Place{Continent: "EU", Country: "DE"}, true},
		{"EU", geo.Place{Country: "DE"}, true}, // no continent of the database's: the table's
		{"EU", geo.Place{}, false},
		{"EU", cyprus, false},
		{"AS", cyprus, true},
		{"EU-CY", cyprus, true}, // the country decides
		{"EU-CY-01", cyprus, true},
		{"EU-CY-02", cyprus, false},
		{"EU-DE", geo.Place{Continent: "EU"}, false},
		{"EU-DE-BY", geo.Place{Continent: "EU", Country: "DE"}, false},
		{"NA-US-CA", geo.Place{Continent: "NA", Country: "CA", Subdivision: "CA"}, false},
	} {
		code, err := geo.ParseCode(c.code)
		if err != nil {
			t.Fatal(err)
		}
		if got := code.Matches(c.place); got != c.want {
			t.Errorf("%s matches %+v: %v, want %v", c.code, c.place, got, c.want)
		}
	}
	if (geo.Code{}).Matches(geo.Place{}) {
		t.Error("the zero code matches the zero place")
	}
}

func TestCodeCovers(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"EU", "EU", true},
		{"EU", "EU-DE", true},
		{"EU", "EU-DE-BY", true},
		{"EU", "NA", false},
		{"EU", "NA-US", false},
		{"EU-DE", "EU", false},
		{"EU-DE", "EU-DE", true},
		{"EU-DE", "EU-DE-BY", true},
		{"EU-DE", "EU-FR", false},
		{"EU-DE-BY", "EU-DE-BY", true},
		{"EU-DE-BY", "EU-DE", false},
		{"EU-DE-BY", "EU-DE-BE", false},
	} {
		a, errA := geo.ParseCode(c.a)
		b, errB := geo.ParseCode(c.b)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if got := a.Covers(b); got != c.want {
			t.Errorf("%s covers %s: %v, want %v", c.a, c.b, got, c.want)
		}
	}
	if (geo.Code{}).Covers(geo.Code{}) {
		t.Error("the zero code covers something")
	}
}

// TestMerge goes through the rules of merge: a first, b for what a does not
// know, as far as b agrees.
func TestMerge(t *testing.T) {
	munich := geo.Place{Continent: "EU", Country: "DE", Subdivision: "BY", ASN: 64496, HasLocation: true, Lat: 48.1, Lon: 11.6}
	with := func(p geo.Place, change func(*geo.Place)) geo.Place { change(&p); return p }
	for _, c := range []struct {
		name       string
		a, b, want geo.Place
	}{
		{"nothing on top", geo.Place{}, munich, munich},
		{"nothing below", munich, geo.Place{}, munich},
		{"an ASN on top", geo.Place{ASN: 64497}, munich, with(munich, func(p *geo.Place) { p.ASN = 64497 })},
		{"the continent agrees", geo.Place{Continent: "EU"}, munich, munich},
		{"the country agrees", geo.Place{Country: "DE"}, munich, munich},
		{
			"another continent by custom, the same country",
			geo.Place{Continent: "AS", Country: "CY"},
			geo.Place{Continent: "EU", Country: "CY", Subdivision: "01"},
			geo.Place{Continent: "AS", Country: "CY", Subdivision: "01"},
		},
		{"another continent", geo.Place{Continent: "NA"}, munich, geo.Place{Continent: "NA", ASN: 64496}},
		{"another country", geo.Place{Continent: "EU", Country: "FR"}, munich, geo.Place{Continent: "EU", Country: "FR", ASN: 64496}},
		{"another country, a's without continent", geo.Place{Country: "FR"}, munich, geo.Place{Country: "FR", ASN: 64496}},
		{"another continent, by the table", geo.Place{Continent: "NA"}, geo.Place{Country: "DE", ASN: 1}, geo.Place{Continent: "NA", ASN: 1}},
		{
			"another subdivision",
			geo.Place{Country: "DE", Subdivision: "BE"},
			munich,
			geo.Place{Continent: "EU", Country: "DE", Subdivision: "BE", ASN: 64496},
		},
		{
			"a location of the country",
			geo.Place{Country: "DE", Subdivision: "BE"},
			with(munich, func(p *geo.Place) { p.Subdivision = "" }),
			with(munich, func(p *geo.Place) { p.Subdivision = "BE" }),
		},
		{
			"a location on top",
			geo.Place{HasLocation: true, Lat: 1, Lon: 2},
			munich,
			with(munich, func(p *geo.Place) { p.Lat, p.Lon = 1, 2 }),
		},
		{
			"a location below, nothing else",
			geo.Place{Country: "DE"},
			geo.Place{HasLocation: true, Lat: 1, Lon: 2},
			geo.Place{Country: "DE", HasLocation: true, Lat: 1, Lon: 2},
		},
		{
			"the equator's location is one",
			geo.Place{HasLocation: true, Lat: 0, Lon: 30},
			munich,
			with(munich, func(p *geo.Place) { p.Lat, p.Lon = 0, 30 }),
		},
	} {
		if got := geo.Merge(c.a, c.b); got != c.want {
			t.Errorf("%s: merge(%+v, %+v)\n = %+v\nwant %+v", c.name, c.a, c.b, got, c.want)
		}
	}
}

// TestCountries reads all of the embedded table and spots what would be wrong
// in it for every user.
func TestCountries(t *testing.T) {
	table := geo.CountryCodes()
	countries := 0
	for code := range table {
		if len(code) != 2 {
			continue
		}
		countries++
		continent := geo.ContinentOf(code)
		if _, err := geo.ParseCode(continent + "-" + code); err != nil {
			t.Error(err)
		}
		lat, lon, ok := geo.CountryMiddle(code)
		if !ok || lat < -90 || lat > 90 || lon < -180 || lon > 180 {
			t.Errorf("middle of %s: %v %v %v", code, lat, lon, ok)
		}
	}
	if countries != 250 { // ISO 3166-1 has 249, and XK
		t.Errorf("%d countries", countries)
	}
	for code, want := range map[string]string{"DE": "EU", "US": "NA", "BR": "SA", "JP": "AS", "AU": "OC", "ZA": "AF", "AQ": "AN", "XK": "EU", "TW": "AS", "EU": "", "-EU": "", "": "", "UK": ""} {
		if got := geo.ContinentOf(code); got != want {
			t.Errorf("ContinentOf(%q) = %q, want %q", code, got, want)
		}
	}
	if lat, lon, _ := geo.CountryMiddle("FR"); lat < 42 || lat > 51 || lon < -5 || lon > 8 {
		t.Errorf("the middle of France is at %v %v", lat, lon)
	}
	if _, _, ok := geo.CountryMiddle("-EU"); ok {
		t.Error("-EU is a country")
	}
	for _, c := range []string{"AF", "AN", "AS", "EU", "NA", "OC", "SA"} {
		if _, _, ok := geo.ContinentMiddle(c); !ok {
			t.Errorf("no middle of %s", c)
		}
	}
	if _, _, ok := geo.ContinentMiddle("DE"); ok {
		t.Error("DE is a continent")
	}
}
