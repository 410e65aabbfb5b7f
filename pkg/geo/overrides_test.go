package geo_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"geodns/pkg/geo"
)

func TestOverrides(t *testing.T) {
	below := layerOf(t, "city", makeMMDB(t, mmdbOptions{},
		network{"198.51.0.0/16", geo.Place{Continent: "NA", Country: "US", Subdivision: "CA", HasLocation: true, Lat: 37, Lon: -122}},
		network{"2001:db8::/32", geo.Place{Continent: "EU", Country: "DE", Subdivision: "BY", HasLocation: true, Lat: 48, Lon: 11}},
	))
	n, fs := geo.Compile([]*geo.Layer{below}, []byte(`
x-note: anchors may stand here
overrides:
  - {prefix: 198.51.0.0/20, geo: NA-US, asn: 64496}
  - {prefix: 198.51.4.0/24, geo: EU-FR}
  - {prefix: 198.51.4.0/22, location: [1.5, -2]}
  - {prefix: 198.51.4.128/25, asn: 64499}
  - {prefix: 198.51.4.192/26, geo: EU-FR-75C, x-why: free}
  - {prefix: 198.51.4.7/32, location: [0, 0]}
  - {prefix: 198.51.8.0/24, geo: NA-US-NY}
  - {prefix: 0.0.0.0/0, asn: 1}
  - {prefix: 255.255.255.0/24, geo: AS-JP}
  - {prefix: "2001:db8:1::/48", geo: EU-DE-BE}
  - {prefix: "2001:db8:2::/56", geo: EU-DE, asn: 64500}
  - {prefix: "2001:db8:2::/64", geo: EU-AT}
  - {prefix: "ffff::/16", geo: OC-NZ}
`))
	if len(fs) != 0 {
		t.Fatal(fs)
	}
	checkNetworks(t, n)
	us := geo.Place{Continent: "NA", Country: "US", Subdivision: "CA", ASN: 1, HasLocation: true, Lat: 37, Lon: -122}
	as := func(p geo.Place, asn uint32) geo.Place { p.ASN = asn; return p }
	for addr, want := range map[string]geo.Place{
		"0.0.0.0":     {ASN: 1},
		"198.51.16.1": us,
		"198.51.0.1":  as(us, 64496), // the country agrees: subdivision and location stay
		"198.51.5.1":  {Continent: "NA", Country: "US", Subdivision: "CA", ASN: 64496, HasLocation: true, Lat: 1.5, Lon: -2},
		// another country: nothing finer of those around it stays, the bare location does
		"198.51.4.1":      {Continent: "EU", Country: "FR", ASN: 64496, HasLocation: true, Lat: 1.5, Lon: -2},
		"198.51.8.1":      {Continent: "NA", Country: "US", Subdivision: "NY", ASN: 64496}, // the location is California's
		"255.255.255.255": {Continent: "AS", Country: "JP", ASN: 1},
		"2001:db8::1":     {Continent: "EU", Country: "DE", Subdivision: "BY", HasLocation: true, Lat: 48, Lon: 11},
		"2001:db8:1::1":   {Continent: "EU", Country: "DE", Subdivision: "BE"},
		"2001:db8:2::1":   {Continent: "EU", Country: "DE", Subdivision: "BY", ASN: 64500, HasLocation: true, Lat: 48, Lon: 11},
		"2001:db9::":      {},
		"ffff:1::":        {Continent: "OC", Country: "NZ"},
	} {
		if got := at(n, addr); got != want {
			t.Errorf("%s\n got %+v\nwant %+v", addr, got, want)
		}
	}
	fr := at(n, "198.51.4.1")
	long := map[string]geo.Place{
		"198.51.4.7/32":   {Continent: "EU", Country: "FR", ASN: 64496, HasLocation: true},
		"198.51.4.128/25": as(fr, 64499),
		"198.51.4.192/26": {Continent: "EU", Country: "FR", Subdivision: "75C", ASN: 64499, HasLocation: true, Lat: 1.5, Lon: -2},
		"2001:db8:2::/64": {Continent: "EU", Country: "AT", ASN: 64500},
	}
	if len(n.Long) != len(long) {
		t.Errorf("%d long overrides, want %d", len(n.Long), len(long))
	}
	for i, l := range n.Long {
		if got, want := n.Places.At(l.Place), long[l.Prefix.String()]; got != want {
			t.Errorf("%s\n got %+v\nwant %+v", l.Prefix, got, want)
		}
		if i > 0 && n.Long[i-1].Prefix.Addr().Compare(l.Prefix.Addr()) > 0 {
			t.Errorf("%s stands behind %s", l.Prefix, n.Long[i-1].Prefix)
		}
	}
}

func TestOverridesRefused(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"not YAML", "overrides: [", "overrides.yaml:1:"},
		{"a list", "- {prefix: 192.0.2.0/24, geo: EU}", "overrides.yaml:1:1: error: "},
		{"another key", "override: []", `overrides.yaml:1:1: error: `},
		{"no list", "overrides: {prefix: 192.0.2.0/24}", "overrides.yaml:1:12: error: "},
		{"item", "overrides: [192.0.2.0/24]", "overrides.yaml:1:13: error: "},
		{"unknown key", "overrides:\n  - {prefix: 192.0.2.0/24, country: DE}", "overrides.yaml:2:28: error: unknown key \"country\""},
		{"no prefix", "overrides:\n  - {geo: EU}", "overrides.yaml:2:5: error: "},
		{"nothing said", "overrides:\n  - {prefix: 192.0.2.0/24}", "overrides.yaml:2:5: error: the override for 192.0.2.0/24 says nothing: give geo, asn or location"},
		{"no length", "overrides: [{prefix: 192.0.2.1, geo: EU}]", `overrides.yaml:1:22: error: prefix "192.0.2.1" has no length: write 192.0.2.1/32`},
		{"no length, IPv6", `overrides: [{prefix: "2001:db8::1", geo: EU}]`, "write 2001:db8::1/128"},
		{"host bits", "overrides: [{prefix: 192.0.2.1/24, geo: EU}]", `prefix "192.0.2.1/24" has bits behind its length: write 192.0.2.0/24`},
		{"too long", "overrides: [{prefix: 192.0.2.1/33, geo: EU}]", `prefix "192.0.2.1/33" is none`},
		{"mapped", `overrides: [{prefix: "::ffff:192.0.2.0/120", geo: EU}]`, "write it as IPv4"},
		{"zone", `overrides: [{prefix: "fe80::1%eth0", geo: EU}]`, "is none"},
		{"doubled", "overrides:\n  - {prefix: 192.0.2.0/24, geo: EU}\n  - {prefix: 192.0.2.0/24, asn: 1}", "overrides.yaml:3:5: error: a second override for 192.0.2.0/24: the first is at overrides.yaml:2:5"},
		{"geo", "overrides: [{prefix: 192.0.2.0/24, geo: NA-DE}]", "overrides.yaml:1:41: error: geo code \"NA-DE\": DE is in EU: write EU-DE"},
		{"geo null", "overrides: [{prefix: 192.0.2.0/24, geo: }]", "overrides.yaml:1:"},
		{"asn 0", "overrides: [{prefix: 192.0.2.0/24, asn: 0}]", "overrides.yaml:1:41: error: "},
		{"asn text", "overrides: [{prefix: 192.0.2.0/24, asn: AS64496}]", "overrides.yaml:1:41: error: "},
		{"asn large", "overrides: [{prefix: 192.0.2.0/24, asn: 4294967295}]", "overrides.yaml:1:41: error: "},
		{"location", "overrides: [{prefix: 192.0.2.0/24, location: [1]}]", "a location of 1 numbers: write [latitude, longitude]"},
		{"location swapped", "overrides: [{prefix: 192.0.2.0/24, location: [139, 35]}]", "overrides.yaml:1:47: error: "},
		{"location word", "overrides: [{prefix: 192.0.2.0/24, location: Berlin}]", "overrides.yaml:1:46: error: "},
	} {
		n, fs := geo.Compile(nil, []byte(c.in))
		if !fs.HasErrors() || !strings.Contains(findingsText(fs), c.want) {
			t.Errorf("%s: %v\nwant %q", c.name, fs, c.want)
		}
		if len(n.V4) != 1 || len(n.V6) != 1 || len(n.Long) != 0 {
			t.Errorf("%s: loaded in part", c.name)
		}
	}
	for _, in := range []string{"", "{}", "overrides:", "overrides: []", "# nothing\n"} {
		if _, fs := geo.Compile(nil, []byte(in)); len(fs) != 0 {
			t.Errorf("%q: %v", in, fs)
		}
	}
}

func TestOverridesMax(t *testing.T) {
	var b strings.Builder
	b.WriteString("overrides:\n")
	for i := range geo.OverridesMax + 1 {
		fmt.Fprintf(&b, "- {prefix: 10.%d.%d.%d/32, asn: 1}\n", i>>16, i>>8&255, i&255)
	}
	_, fs := geo.Compile(nil, []byte(b.String()))
	if !strings.Contains(findingsText(fs), "100001 overrides are more than 100000") {
		t.Errorf("%d findings: %v", len(fs), fs[:min(len(fs), 1)])
	}
}

// TestOverridesKept reads a changed and then broken file over one in use.
func TestOverridesKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "overrides.yaml")
	cfg := geo.Config{Overrides: path}
	load := func(text string, prev *geo.Data) *geo.Data {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		d, fs := geo.Load(cfg, prev)
		if fs.HasErrors() != d.OverridesRefused || d.Degraded != d.OverridesRefused {
			t.Fatalf("%+v with %v", d, fs)
		}
		return d
	}
	first := load("overrides: [{prefix: 192.0.2.0/24, geo: EU}]", nil)
	second := load("overrides: [{prefix: 192.0.2.0/24, geo: AS}]", first)
	broken := load("overrides: [{prefix: 192.0.2.0/24, geo: ASIA}]", second)
	if got := at(broken.Networks, "192.0.2.1").Continent; got != "AS" || !broken.OverridesRefused || broken.ID() != second.ID() {
		t.Errorf("refused overrides leave %q, refused %v", got, broken.OverridesRefused)
	}
	if first.ID() == second.ID() {
		t.Error("two contents, one id")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	d, fs := geo.Load(cfg, broken)
	if !d.OverridesRefused || at(d.Networks, "192.0.2.1").Continent != "AS" || !strings.Contains(findingsText(fs), path+":1:1: error: the overrides cannot be read") {
		t.Errorf("removed overrides: %v", fs)
	}
	none, fs := geo.Load(geo.Config{}, d)
	if len(fs) != 0 || at(none.Networks, "192.0.2.1").Placed() {
		t.Errorf("no overrides are configured: %v", fs)
	}
}

func FuzzOverrides(f *testing.F) {
	for _, s := range []string{
		"overrides:\n  - {prefix: 192.0.2.0/24, geo: EU-DE-BY, asn: 64496, location: [48.14, 11.58]}\n",
		"overrides:\n  - {prefix: 0.0.0.0/0, geo: EU}\n  - {prefix: 255.0.0.0/8, asn: 1}\n  - {prefix: 255.255.255.255/32, geo: NA-US}\n",
		"overrides: [{prefix: '::/0', geo: AN}, {prefix: 'ffff::/16', location: [-90, 180]}, {prefix: 'ffff::/57', geo: AF}]",
		"x-a: &a {prefix: 10.0.0.0/8}\noverrides:\n  - {<<: *a, asn: 7}\n", "overrides: [1, [], {}]", "overrides: {}", "-",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n, fs := geo.Compile(nil, data)
		for _, finding := range fs {
			if finding.File != "overrides.yaml" || finding.Line < 1 {
				t.Fatalf("no place: %v", finding)
			}
		}
		checkNetworks(t, n)
		if fs.HasErrors() && n.Places.Len() > 1 {
			t.Fatal("a refused file has effect")
		}
		for _, l := range n.Long {
			if l.Prefix != l.Prefix.Masked() || l.Prefix.Addr() == (netip.Addr{}) {
				t.Fatalf("long %v", l)
			}
		}
	})
}
