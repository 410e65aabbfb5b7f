package geo

import (
	"fmt"
	"strings"
)

// continents lists the codes of the continents, for error texts.
const continents = "AF, AN, AS, EU, NA, OC or SA"

// Code is a geo code as people write it: a continent ("EU"), a country
// ("EU-DE") or a subdivision ("NA-US-CA"), from ISO 3166. Codes are equal if
// they are written alike. The zero Code matches no place.
type Code struct {
	Continent   string // always set but in the zero Code
	Country     string // ISO 3166-1 alpha-2, or XK; "" in a bare continent
	Subdivision string // the part behind the country in ISO 3166-2; or ""
}

// ParseCode reads a geo code. The country must be known and stand behind its
// own continent; of a subdivision the syntax alone is checked, as ISO 3166-2
// changes too often for a list of it to stay right.
func ParseCode(s string) (Code, error) {
	parts := strings.Split(s, "-")
	if len(parts) > 3 {
		return Code{}, fmt.Errorf("geo code %q has %d parts: write a continent (EU), a country (EU-DE) or a subdivision (NA-US-CA)", s, len(parts))
	}
	if upper := strings.ToUpper(s); upper != s {
		if _, err := ParseCode(upper); err == nil {
			return Code{}, fmt.Errorf("geo code %q: codes are in upper case: write %s", s, upper)
		}
	}
	c := Code{Continent: parts[0]}
	if !isContinent(c.Continent) {
		if known := ContinentOf(c.Continent); known != "" {
			return Code{}, fmt.Errorf("geo code %q begins with a country: write %s-%s", s, known, s)
		}
		return Code{}, fmt.Errorf("geo code %q: %q is no continent: those are %s", s, c.Continent, continents)
	}
	if len(parts) == 1 {
		return c, nil
	}
	c.Country = parts[1]
	switch of := ContinentOf(c.Country); of {
	case c.Continent:
	case "":
		return Code{}, fmt.Errorf("geo code %q: %q is no country of ISO 3166-1 alpha-2", s, c.Country)
	default:
		parts[0] = of
		return Code{}, fmt.Errorf("geo code %q: %s is in %s: write %s", s, c.Country, of, strings.Join(parts, "-"))
	}
	if len(parts) == 3 {
		c.Subdivision = parts[2]
		if !isSubdivision(c.Subdivision) {
			return Code{}, fmt.Errorf("geo code %q: the subdivision %q is not 1 to 3 letters or digits, as in NA-US-CA", s, c.Subdivision)
		}
	}
	return c, nil
}

// String gives the code as ParseCode reads it.
func (c Code) String() string {
	switch {
	case c.Country == "":
		return c.Continent
	case c.Subdivision == "":
		return c.Continent + "-" + c.Country
	}
	return c.Continent + "-" + c.Country + "-" + c.Subdivision
}

// Matches says whether the code holds for a place. In a code with a country the
// country decides, whatever continent a database gives it; a bare continent is
// the place's own.
func (c Code) Matches(p Place) bool {
	if c.Country == "" {
		return c.Continent != "" && c.Continent == p.continent()
	}
	return c.Country == p.Country && (c.Subdivision == "" || c.Subdivision == p.Subdivision)
}

// Covers says whether every place that other matches is one that c matches, by
// the built-in table of continents. A database that puts a country on another
// continent than the table can have places that other matches and c does not;
// the answer is for finding rules that can never be reached, and there the
// table's word is the one that an operator goes by.
func (c Code) Covers(other Code) bool {
	if c.Continent == "" || other.Continent == "" {
		return false
	}
	if c.Country == "" {
		return c.Continent == other.Continent
	}
	return c.Country == other.Country && (c.Subdivision == "" || c.Subdivision == other.Subdivision)
}

// isContinent says whether s is one of the seven continents' codes.
func isContinent(s string) bool {
	switch s {
	case "AF", "AN", "AS", "EU", "NA", "OC", "SA":
		return true
	}
	return false
}

// isSubdivision says whether s has the form of the second part of an ISO 3166-2
// code: one to three letters or digits.
func isSubdivision(s string) bool {
	if len(s) < 1 || len(s) > 3 {
		return false
	}
	for i := range len(s) {
		if (s[i] < 'A' || s[i] > 'Z') && (s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	return true
}
