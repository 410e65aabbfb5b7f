package geo_test

import (
	"bytes"
	"encoding/csv"
	"flag"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// update is given by `go generate ./pkg/geo`, which is in `make gen`.
var update = flag.Bool("update", false, "rewrite countries.csv and continents.csv from their sources")

// TestTables makes the tables that the package embeds from their sources and
// compares them: countries.csv (each country's continent and middle) and
// continents.csv (the continent of each prefix that a regional registry has).
// With -update it writes them.
func TestTables(t *testing.T) {
	data := shared(t)
	for name, table := range map[string]func(data string) ([]byte, error){"countries.csv": countryTable, "continents.csv": prefixTable} {
		want, err := table(data)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err = os.WriteFile(name, want, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what its sources say: make gen", name)
		}
	}
}

// registries maps the WHOIS server in IANA's registries to the continent that
// most of the regional registry's networks are on. The registries' regions are
// not continents (RIPE NCC serves the Middle East, APNIC serves Oceania), so
// this is what the built-in table is: a beginning.
var registries = map[string]string{
	"whois.afrinic.net": "AF",
	"whois.apnic.net":   "AS",
	"whois.arin.net":    "NA",
	"whois.lacnic.net":  "SA",
	"whois.ripe.net":    "EU",
}

// special are the blocks inside the registries' that no client has as its own
// address, from IANA's special-purpose address registries (RFC 6890).
var special = []string{
	"100.64.0.0/10",   // shared address space, RFC 6598
	"169.254.0.0/16",  // link local, RFC 3927
	"172.16.0.0/12",   // private use, RFC 1918
	"192.0.0.0/24",    // IETF protocol assignments, RFC 6890
	"192.0.2.0/24",    // documentation, RFC 5737
	"192.88.99.0/24",  // 6to4 relay anycast, RFC 7526
	"192.168.0.0/16",  // private use, RFC 1918
	"198.18.0.0/15",   // benchmarking, RFC 2544
	"198.51.100.0/24", // documentation, RFC 5737
	"203.0.113.0/24",  // documentation, RFC 5737
	"2001:db8::/32",   // documentation, RFC 3849
}

// byHand is what the sources leave out: places without an entry of their own in
// the list of middles (rounded to a quarter of a degree), and XK, which ISO 3166-1
// leaves to its users and geo databases use for Kosovo.
var byHand = map[string][2]float64{
	"AX": {60.25, 20}, "EH": {24.5, -13}, "HK": {22.25, 114.25}, "MO": {22.25, 113.5}, "TW": {23.5, 121}, "XK": {42.5, 21},
}

// chosen is which of several rows of a country in the list of middles is meant,
// by name, where it is not the first.
var chosen = map[string]string{"TF": "French Southern Territories"}

// middles are points in the middle of where a continent's people live, by eye
// and rounded: clients of whom no more is known are sent to what is near there.
var middles = map[string][2]float64{
	"AF": {5, 20}, "AN": {-80, 0}, "AS": {30, 100}, "EU": {50, 10}, "NA": {40, -95}, "OC": {-30, 145}, "SA": {-15, -55},
}

// readCSV gives the rows of a file as maps by column name.
func readCSV(path string) ([]map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	out := make([]map[string]string, 0, len(rows))
	for _, row := range rows[1:] {
		m := map[string]string{}
		for i, name := range rows[0] {
			m[strings.TrimPrefix(name, "\ufeff")] = row[i]
		}
		out = append(out, m)
	}
	return out, nil
}

// countryTable makes countries.csv.
func countryTable(data string) ([]byte, error) {
	codes, err := readCSV(filepath.Join(data, "countries/country-codes/data/country-codes.csv"))
	if err != nil {
		return nil, err
	}
	centers, err := readCSV(filepath.Join(data, "countries/centroids/dist/countries.csv"))
	if err != nil {
		return nil, err
	}
	middle := maps.Clone(byHand)
	for _, row := range centers {
		iso := row["ISO"]
		if _, have := middle[iso]; have || chosen[iso] != "" && chosen[iso] != row["COUNTRY"] {
			continue
		}
		lat, errLat := strconv.ParseFloat(row["latitude"], 64)
		lon, errLon := strconv.ParseFloat(row["longitude"], 64)
		if errLat != nil || errLon != nil {
			return nil, fmt.Errorf("middle of %s: %v", iso, row)
		}
		middle[iso] = [2]float64{round(lat), round(lon)}
	}
	var b bytes.Buffer
	b.WriteString(`# Made by pkg/geo/tables_test.go (make gen); do not edit.
# code,continent,latitude,longitude. A code that begins with - is a continent's.
# Codes and continents: ISO 3166-1 and GeoNames by way of github.com/datasets/country-codes (PDDL 1.0).
# Middles, of the largest land mass: github.com/gavinr/world-countries-centroids (MIT), rounded.
# By hand, to a quarter of a degree: the middles of AX EH HK MO TW, all of XK, and the continents', by eye.
`)
	for _, c := range slices.Sorted(maps.Keys(middles)) {
		fmt.Fprintf(&b, "-%s,%s,%g,%g\n", c, c, middles[c][0], middles[c][1])
	}
	lines := []string{line("XK", "EU", middle["XK"])}
	for _, row := range codes {
		iso, continent := row["ISO3166-1-Alpha-2"], row["Continent"]
		at, ok := middle[iso]
		if len(iso) != 2 || middles[continent] == [2]float64{} || !ok {
			return nil, fmt.Errorf("country %q on %q: the middle is known: %v", iso, continent, ok)
		}
		lines = append(lines, line(iso, continent, at))
	}
	slices.Sort(lines)
	b.WriteString(strings.Join(lines, ""))
	return b.Bytes(), nil
}

func line(code, continent string, at [2]float64) string {
	return fmt.Sprintf("%s,%s,%g,%g\n", code, continent, at[0], at[1])
}

func round(x float64) float64 { return math.Round(x*100) / 100 }

// prefixTable makes continents.csv.
func prefixTable(data string) ([]byte, error) {
	var prefixes []netip.Prefix
	continent := map[netip.Prefix]string{}
	add := func(p netip.Prefix, whois string) {
		if c := registries[whois]; c != "" {
			prefixes = append(prefixes, p)
			continent[p] = c
		}
	}
	rows4, err := readCSV(filepath.Join(data, "iana/ipv4-address-space.csv"))
	if err != nil {
		return nil, err
	}
	for _, row := range rows4 { // 003/8
		n, errPrefix := strconv.ParseUint(strings.TrimSuffix(row["Prefix"], "/8"), 10, 8)
		if errPrefix != nil {
			return nil, fmt.Errorf("IPv4 prefix %q: %w", row["Prefix"], errPrefix)
		}
		add(netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(n)}), 8), row["WHOIS"])
	}
	rows6, err := readCSV(filepath.Join(data, "iana/ipv6-unicast-address-assignments.csv"))
	if err != nil {
		return nil, err
	}
	for _, row := range rows6 {
		p, err := netip.ParsePrefix(row["Prefix"])
		if err != nil {
			return nil, err
		}
		add(p.Masked(), row["WHOIS"])
	}
	var b bytes.Buffer
	b.WriteString(`# Made by pkg/geo/tables_test.go (make gen); do not edit.
# prefix,continent. What is not here is unknown: reserved, private, multicast or special.
# Facts from IANA (iana.org/assignments, CC0 1.0), registries of 2025-04: "IPv4 Address Space", "IPv6 Global Unicast
# Address Assignments": the regional registry of each prefix, by its WHOIS server, and its continent:
# AFRINIC AF, APNIC AS, ARIN NA, LACNIC SA, RIPE NCC EU. Without the special-purpose blocks of RFC 6890.
`)
	for _, p := range aggregate(carve(prefixes, continent), continent) {
		fmt.Fprintf(&b, "%s,%s\n", p, continent[p])
	}
	return b.Bytes(), nil
}

// carve takes the special blocks out, and splits the prefixes around them.
func carve(prefixes []netip.Prefix, continent map[netip.Prefix]string) []netip.Prefix {
	var out []netip.Prefix
	var split func(p netip.Prefix)
	split = func(p netip.Prefix) {
		overlaps := false
		for _, s := range special {
			s := netip.MustParsePrefix(s)
			if s.Bits() <= p.Bits() && s.Contains(p.Addr()) {
				return
			}
			overlaps = overlaps || p.Overlaps(s)
		}
		if !overlaps {
			out = append(out, p)
			return
		}
		for _, half := range halves(p) {
			continent[half] = continent[p]
			split(half)
		}
	}
	for _, p := range prefixes {
		split(p)
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return out
}

// halves gives the two prefixes that a prefix is made of.
func halves(p netip.Prefix) [2]netip.Prefix {
	raw := p.Addr().AsSlice()
	raw[p.Bits()/8] |= 1 << (7 - p.Bits()%8)
	upper, _ := netip.AddrFromSlice(raw)
	return [2]netip.Prefix{netip.PrefixFrom(p.Addr(), p.Bits()+1), netip.PrefixFrom(upper, p.Bits()+1)}
}

// aggregate joins neighbors of one continent, as far as that goes.
func aggregate(prefixes []netip.Prefix, continent map[netip.Prefix]string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range prefixes {
		out = append(out, p)
		for len(out) >= 2 {
			lower, upper := out[len(out)-2], out[len(out)-1]
			if lower.Bits() == 0 || lower.Bits() != upper.Bits() || continent[lower] != continent[upper] {
				break
			}
			parent := netip.PrefixFrom(lower.Addr(), lower.Bits()-1).Masked()
			if halves(parent) != [2]netip.Prefix{lower, upper} {
				break
			}
			continent[parent] = continent[lower]
			out = append(out[:len(out)-2], parent)
		}
	}
	return out
}
