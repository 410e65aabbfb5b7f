package geo_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"

	"geodns/pkg/geo"
)

// TestBuiltIn looks addresses up in the built-in continents.
func TestBuiltIn(t *testing.T) {
	d, fs := geo.Load(geo.Config{}, nil)
	if len(fs) != 0 || d.Lost || d.Degraded || len(d.Databases()) != 0 {
		t.Fatalf("%+v, %v", d, fs)
	}
	checkNetworks(t, d.Networks)
	for addr, want := range map[string]string{
		"8.8.8.8": "NA", "193.0.6.139": "EU", "1.1.1.1": "AS", "200.3.14.10": "SA", "196.216.2.1": "AF", "41.0.0.1": "AF", "223.255.255.255": "AS", "25.1.1.1": "EU",
		"2001:67c:2e8::1": "EU", "2001:500:4::1": "NA", "2400::1": "AS", "2600::1": "NA", "2800::1": "SA", "2a00::1": "EU", "2c00::1": "AF", "2003::1": "EU", "2620:0:2d0::1": "NA",
		// Reserved, private, multicast, documentation: nobody's.
		"0.0.0.1": "", "10.1.2.3": "", "127.0.0.1": "", "100.64.0.1": "", "100.128.0.1": "NA", "169.254.1.1": "", "172.16.0.1": "", "172.31.255.255": "", "172.32.0.1": "NA", "192.168.1.1": "", "192.0.2.1": "",
		"192.0.3.1": "NA", "198.18.0.1": "", "198.51.100.7": "", "203.0.113.7": "", "203.0.112.7": "AS", "224.0.0.1": "", "255.255.255.255": "",
		"::1": "", "fe80::1": "", "fd00::1": "", "ff02::1": "", "2001:db8::1": "", "2001:db9::1": "AS", "2001::1": "", "2002:808:808::1": "", "64:ff9b::808:808": "", "3fff::1": "",
	} {
		if got := at(d.Networks, addr); got != (geo.Place{Continent: want}) {
			t.Errorf("%s is %+v, want %q", addr, got, want)
		}
	}
	rec := d.Lookup(netip.MustParseAddr("::ffff:8.8.8.8"))
	if !rec.BuiltIn || rec.Place.Continent != "NA" || rec.Decided.String() != "8.8.8.0/24" || rec.Addr.String() != "8.8.8.8" {
		t.Errorf("%+v", rec)
	}
	d, fs = geo.Load(geo.Config{Overrides: write(t, "o.yaml", []byte("overrides: [{prefix: 8.8.8.0/24, geo: EU-DE}]\n"))}, nil)
	if rec = d.Lookup(netip.MustParseAddr("8.8.8.8")); len(fs) != 0 || rec.Place.Country != "DE" || rec.BuiltInPlace != (geo.Place{Continent: "NA"}) {
		t.Errorf("below an override: %+v, %v", rec, fs)
	}
	if zero := d.Lookup(netip.Addr{}); zero.Place.Placed() {
		t.Errorf("%+v", zero)
	}
}

// TestLoadSeveral puts databases of all forms on top of one another.
func TestLoadSeveral(t *testing.T) {
	munich := geo.Place{Continent: "EU", Country: "DE", Subdivision: "BY", HasLocation: true, Lat: 48.1, Lon: 11.5}
	city := write(t, "city.mmdb", makeMMDB(t, mmdbOptions{}, network{"1.0.0.0/24", munich}, network{"1.0.2.0/24", geo.Place{Continent: "EU"}}))
	asn := write(t, "asn.dat", makeMMDB(t, mmdbOptions{Type: "GeoLite2-ASN"}, network{"1.0.0.0/22", geo.Place{ASN: 64496}}))
	ranges := write(t, "ranges", []byte("1.0.0.0,1.0.1.255,FR\n1.0.2.0,1.0.2.255,ES\n2001:200::,2001:200:ffff:ffff:ffff:ffff:ffff:ffff,JP\n"))
	overrides := write(t, "o.yaml", []byte("overrides:\n  - {prefix: 1.0.3.0/24, geo: OC-AU}\n  - {prefix: 1.0.3.128/25, asn: 7}\n"))
	cfg := geo.Config{Databases: []string{city, asn, ranges}, Overrides: overrides}
	d, fs := geo.Load(cfg, nil)
	if len(fs) != 0 || d.Lost || d.Degraded {
		t.Fatal(fs)
	}
	withASN := func(p geo.Place, asn uint32) geo.Place { p.ASN = asn; return p }
	for addr, want := range map[string]geo.Place{
		"1.0.0.9": withASN(munich, 64496), "1.0.1.9": withASN(country("FR"), 64496), "1.0.2.9": withASN(country("ES"), 64496), "1.0.3.9": withASN(country("AU"), 64496),
		"1.0.4.9": {}, "2001:200::1": country("JP"), "2001:201::": {},
	} {
		if got := at(d.Networks, addr); got != want {
			t.Errorf("%s\n got %+v\nwant %+v", addr, got, want)
		}
	}
	infos := d.Databases()
	if len(infos) != 3 || infos[0].Type != "GeoLite2-City" || infos[1].Networks != 1 || infos[2].Type != "range CSV" || infos[2].Networks != 3 || infos[0].Path != city ||
		!infos[0].Built.Equal(time.Unix(1_700_000_000, 0)) || infos[2].Built.IsZero() || infos[0].State != geo.Current || infos[0].Hash == "" || infos[0].Bytes == 0 || infos[0].Refused != "" {
		t.Errorf("%+v", infos)
	}
	again, fs := geo.Load(cfg, nil)
	if len(fs) != 0 || again.ID() != d.ID() || !reflect.DeepEqual(again.Networks, d.Networks) {
		t.Errorf("the same files, another world: %s and %s", d.ID(), again.ID())
	}
	reloaded, fs := geo.Load(cfg, d)
	if len(fs) != 0 || reloaded.ID() != d.ID() {
		t.Errorf("reloaded: %v", fs)
	}
	swapped, _ := geo.Load(geo.Config{Databases: []string{ranges, asn, city}}, nil)
	if got := at(swapped.Networks, "1.0.0.9"); got != withASN(country("FR"), 64496) {
		t.Errorf("the first that knows does not win: %+v", got)
	}
	checkLookup(t, d, city, asn, ranges)
}

// checkLookup compares what explain is given for two addresses.
func checkLookup(t *testing.T, d *geo.Data, city, asn, ranges string) {
	t.Helper()
	rec := d.Lookup(netip.MustParseAddr("1.0.0.9"))
	if rec.BuiltIn || rec.Place.Subdivision != "BY" || rec.Place.ASN != 64496 || rec.Decided.String() != "1.0.0.0/24" || len(rec.Overrides) != 0 {
		t.Errorf("%+v", rec)
	}
	var got strings.Builder
	for _, db := range rec.Databases {
		fmt.Fprintln(&got, db.Path, db.Type, db.Network, db.Place.Country, db.Place.ASN, db.Err)
		for _, f := range db.Fields {
			fmt.Fprintf(&got, "  %s = %s\n", f.Key, f.Value)
		}
	}
	want := city + " GeoLite2-City 1.0.0.0/24 DE 0 \n" +
		"  continent.code = EU\n  subdivisions.0.iso_code = BY\n  country.names.en = Country DE\n  country.iso_code = DE\n  registered_country.iso_code = US\n" +
		"  location.latitude = 48.1\n  location.longitude = 11.5\n" +
		asn + " GeoLite2-ASN 1.0.0.0/22  64496 \n  autonomous_system_number = 64496\n" +
		ranges + " range CSV 1.0.0.0/23 FR 0 \n  range = 1.0.0.0/23\n  country = FR\n"
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
	rec = d.Lookup(netip.MustParseAddr("1.0.3.200"))
	if rec.Decided.String() != "1.0.3.128/25" || rec.Place.ASN != 7 || rec.Place.Country != "AU" || len(rec.Overrides) != 2 || rec.Overrides[0].Prefix.Bits() != 25 || rec.Overrides[1].At.Line != 2 {
		t.Errorf("%+v", rec)
	}
	if rec.Databases[0].Fields != nil || rec.Databases[0].Err != "" || rec.Databases[0].Network.Bits() >= 32 {
		t.Errorf("an address that is not in the City database: %+v", rec.Databases[0])
	}
	if none := d.Lookup(netip.MustParseAddr("9.9.9.9")); none.Place.Placed() || none.Databases[2].Fields != nil || none.Databases[2].Network.String() != "8.0.0.0/5" {
		t.Errorf("%+v", none)
	}
	if v6 := d.Lookup(netip.MustParseAddr("2001:200::1")); v6.Decided.String() != "2001:200::/56" || v6.Databases[2].Network.String() != "2001:200::/32" || v6.Place.Country != "JP" {
		t.Errorf("%+v", v6)
	}
}

// TestLookupIPv4Only asks an IPv4 database for an IPv6 client.
func TestLookupIPv4Only(t *testing.T) {
	path := write(t, "v4.mmdb", makeMMDB(t, mmdbOptions{IPVersion: 4}, network{"1.0.0.0/24", country("AU")}))
	d, fs := geo.Load(geo.Config{Databases: []string{path}}, nil)
	if len(fs) != 0 {
		t.Fatal(fs)
	}
	rec := d.Lookup(netip.MustParseAddr("2001:db8::1%eth0"))
	if rec.Place.Placed() || len(rec.Databases) != 1 || rec.Databases[0].Err != "" || rec.Addr.Zone() != "" {
		t.Errorf("%+v", rec)
	}
}

// TestLookupConcurrent reads one Data from several goroutines, for the race
// detector.
func TestLookupConcurrent(t *testing.T) {
	path := write(t, "city.mmdb", makeMMDB(t, mmdbOptions{}, worldNetworks(100)...))
	d, fs := geo.Load(geo.Config{Databases: []string{path}}, nil)
	if len(fs) != 0 {
		t.Fatal(fs)
	}
	var wg sync.WaitGroup
	for seed := range uint64(4) {
		wg.Go(func() {
			w := twinWorld{rand.New(rand.NewPCG(seed, 3))}
			for range 200 {
				for _, p := range []netip.Prefix{w.prefix4(32), w.prefix6(64)} {
					if rec := d.Lookup(p.Addr()); rec.Databases[0].Err != "" {
						t.Errorf("%s: %s", p, rec.Databases[0].Err)
					}
				}
			}
		})
	}
	wg.Wait()
}

// TestLoadNoDatabase starts without a database that is configured, loses one and
// gets one.
func TestLoadNoDatabase(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one.mmdb"), filepath.Join(dir, "two.mmdb")
	cfg := geo.Config{Databases: []string{one, two}}
	d, fs := geo.Load(cfg, nil)
	if !d.Lost || !d.Degraded || fs.Errors() != 2 || !strings.HasPrefix(findingsText(fs), one+":1:1: error: database refused, clients that only it knows are unknown: open ") {
		t.Fatalf("%+v, %v", d, fs)
	}
	if infos := d.Databases(); infos[0].State != geo.Missing || infos[0].Path != one || infos[0].Refused == "" || infos[1].State.String() != "missing" {
		t.Errorf("%+v", infos)
	}
	checkNetworks(t, d.Networks)
	if at(d.Networks, "8.8.8.8").Placed() {
		t.Error("the built-in continents stand in for a database that is configured")
	}
	if err := os.WriteFile(two, makeMMDB(t, mmdbOptions{}, network{"1.0.0.0/24", country("AU")}), 0o600); err != nil {
		t.Fatal(err)
	}
	half, fs := geo.Load(cfg, d)
	if !half.Lost || !half.Degraded || fs.Errors() != 1 || at(half.Networks, "1.0.0.1").Country != "AU" || half.Databases()[1].State != geo.Current {
		t.Errorf("%+v, %v", half.Databases(), fs)
	}
	if err := os.Rename(two, one); err != nil {
		t.Fatal(err)
	}
	moved, fs := geo.Load(cfg, half)
	if moved.Lost || !moved.Degraded || fs.Errors() != 1 || moved.Databases()[0].State != geo.Current || moved.Databases()[1].State != geo.Kept {
		t.Errorf("%+v, %v", moved.Databases(), fs)
	}
	if _, fs := geo.Load(geo.Config{Databases: []string{dir}}, nil); !strings.Contains(findingsText(fs), "this is not a file") {
		t.Errorf("a folder: %v", fs)
	}
}

// worldOf makes a range CSV file of 200 networks of each family, the countries by
// index; "" leaves a network out.
func worldOf(countryOf func(v6 bool, i int) string) []byte {
	var b bytes.Buffer
	for i := range 200 {
		if c := countryOf(false, i); c != "" {
			fmt.Fprintf(&b, "%d.0.0.0,%d.255.255.255,%s\n", 1+i, 1+i, c)
		}
	}
	for i := range 200 {
		if c := countryOf(true, i); c != "" {
			fmt.Fprintf(&b, "2001:%x::,2001:%x:ffff:ffff:ffff:ffff:ffff:ffff,%s\n", 0x1000+i, 0x1000+i, c)
		}
	}
	return b.Bytes()
}

// TestLoadRefuses replaces a database with ones that know or say something else.
func TestLoadRefuses(t *testing.T) {
	base := func(bool, int) string { return "DE" }
	part := func(share int, other string, families ...bool) func(bool, int) string {
		return func(v6 bool, i int) string {
			if slices.Contains(families, v6) && i*100 < share*200 {
				return other
			}
			return "DE"
		}
	}
	for _, c := range []struct {
		name     string
		next     func(bool, int) string
		maxMoved float64
		want     string // refused with this; "" taken
	}{
		{"the same", base, 0, ""},
		{"5 % less", part(5, "", false, true), 0, ""},
		{"5 % less, marked so", part(5, "??", false, true), 0, ""},
		{"15 % less of IPv4", part(15, "", false), 0, "sampled IPv4 addresses that the database in use places: at least 90 % are wanted"},
		{"15 % less of IPv6", part(15, "??", true), 0, "sampled IPv6 addresses that the database in use places: at least 90 % are wanted"},
		{"no IPv6", part(100, "", true), 0, "it places 0 of 4096 sampled IPv6 addresses"},
		{"one place in all", part(99, "", false, true), 0, "it places"},
		{"20 % moved", part(20, "FR", false, true), 0, ""},
		{"30 % moved", part(30, "FR", false, true), 0, "sampled IPv4 addresses to another country"},
		{"30 % of IPv6 moved", part(30, "FR", true), 0, "sampled IPv6 addresses to another country: 30.2 % of them, and geo.max_moved is 25.0 %"},
		{"30 % moved, 40 allowed", part(30, "FR", false, true), 0.4, ""},
		{"6 % moved, 5 allowed", part(6, "FR", true), 0.05, "geo.max_moved is 5.0 %"},
		{"all moved, all allowed", part(100, "FR", false, true), 1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, "world.csv", worldOf(base))
			cfg := geo.Config{Databases: []string{path}, MaxMoved: c.maxMoved}
			prev, fs := geo.Load(cfg, nil)
			if len(fs) != 0 {
				t.Fatal(fs)
			}
			if err := os.WriteFile(path, worldOf(c.next), 0o600); err != nil {
				t.Fatal(err)
			}
			var texts []string
			for range 2 { // judged alike again
				d, fs := geo.Load(cfg, prev)
				if fs.HasErrors() != (c.want != "") || !strings.Contains(findingsText(fs), c.want) {
					t.Errorf("%v\nwant %q", fs, c.want)
				}
				if refused := c.want != ""; d.Degraded != refused || refused && d.ID() != prev.ID() || d.Lost {
					t.Errorf("degraded %v, %s after %s", d.Degraded, d.ID(), prev.ID())
				}
				if c.want != "" && (!strings.HasPrefix(fs[0].String(), path+":1:1: error: database refused, the one in use stays: ") || d.Databases()[0].State != geo.Kept || !strings.Contains(d.Databases()[0].Refused, c.want)) {
					t.Errorf("%v, %+v", fs, d.Databases())
				}
				texts = append(texts, findingsText(fs))
			}
			if texts[0] != texts[1] {
				t.Errorf("judged %q, then %q", texts[0], texts[1])
			}
			if d, fs := geo.Load(cfg, nil); fs.HasErrors() || d.Degraded {
				t.Errorf("a restart does not take it: %v", fs)
			}
		})
	}
}

// TestLoadRefusesASN does so with an ASN database, which places nothing.
func TestLoadRefusesASN(t *testing.T) {
	asns := func(n int, asn uint32) []byte {
		var networks []network
		for i := range n {
			networks = append(networks, network{fmt.Sprintf("%d.0.0.0/8", 1+i), geo.Place{ASN: asn}})
		}
		return makeMMDB(t, mmdbOptions{Type: "GeoLite2-ASN"}, networks...)
	}
	path := write(t, "asn.mmdb", asns(100, 64496))
	cfg := geo.Config{Databases: []string{path}}
	prev, fs := geo.Load(cfg, nil)
	if len(fs) != 0 || at(prev.Networks, "50.0.0.1").ASN != 64496 {
		t.Fatal(fs)
	}
	for _, c := range []struct {
		data []byte
		want string
	}{
		{asns(95, 64496), ""},
		{asns(80, 64496), "at least 90 % are wanted"},
		{asns(100, 64497), "to another country: 100.0 %"},
		{worldOf(func(bool, int) string { return "DE" }), "it places 0 of 4096"},
	} {
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, fs := geo.Load(cfg, prev); fs.HasErrors() != (c.want != "") || !strings.Contains(findingsText(fs), c.want) {
			t.Errorf("%v, want %q", fs, c.want)
		}
	}
}

// TestLoadBrokenStays refuses files that do not open in the place of a good one,
// and reports the first error as the refusal.
func TestLoadBrokenStays(t *testing.T) {
	good := makeMMDB(t, mmdbOptions{}, network{"1.0.0.0/24", country("AU")})
	path := write(t, "db", good)
	cfg := geo.Config{Databases: []string{path}}
	prev, _ := geo.Load(cfg, nil)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":     {nil, ":1:1: error: database refused, the one in use stays: no range in it has a country"},
		"cut short": {good[:len(good)/2], "error: database refused, the one in use stays: this is neither an MMDB file"},
		"wrong CSV": {[]byte("# c\n1,2\n3,4\n"), ":2:1: error: database refused, the one in use stays: a line of 2 fields"},
	} {
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		d, fs := geo.Load(cfg, prev)
		if !strings.Contains(findingsText(fs), path+c.want) && !strings.Contains(findingsText(fs), c.want) || d.ID() != prev.ID() || !d.Degraded || d.Lost {
			t.Errorf("%s: %v", name, fs)
		}
		if rec := d.Lookup(netip.MustParseAddr("1.0.0.1")); rec.Place.Country != "AU" || len(rec.Databases) != 1 || len(rec.Databases[0].Fields) == 0 {
			t.Errorf("%s: %+v", name, rec)
		}
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if d, fs := geo.Load(cfg, prev); len(fs) != 0 || d.Degraded || d.Databases()[0].State != geo.Current {
		t.Errorf("the good one again: %v", fs)
	}
}

// TestLoadRewrittenInPlace changes the file in use under a loaded database: it
// was read into memory, so nothing happens to it.
func TestLoadRewrittenInPlace(t *testing.T) {
	path := write(t, "db.mmdb", makeMMDB(t, mmdbOptions{}, network{"1.0.0.0/24", country("AU")}))
	d, _ := geo.Load(geo.Config{Databases: []string{path}}, nil)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	rec := d.Lookup(netip.MustParseAddr("1.0.0.1"))
	if rec.Databases[0].Err != "" || rec.Place.Country != "AU" || len(rec.Databases[0].Fields) == 0 {
		t.Errorf("%+v", rec)
	}
}

// TestMajority gives cases of section 5.2's rule that a reader can follow.
func TestMajority(t *testing.T) {
	for _, c := range []struct {
		name, addr string
		networks   []network
		want       geo.Place
	}{
		{"most addresses", "1.0.0.0", []network{{"1.0.0.0/26", country("FR")}, {"1.0.0.64/26", country("DE")}, {"1.0.0.128/26", country("DE")}}, country("DE")},
		{"of the placed ones", "1.0.0.0", []network{{"1.0.0.8/32", country("FR")}}, country("FR")},
		{"a tie: the lowest address", "1.0.0.255", []network{{"1.0.0.64/26", country("DE")}, {"1.0.0.0/26", country("FR")}}, country("FR")},
		{
			"whole records", "1.0.0.0",
			[]network{{"1.0.0.0/26", geo.Place{Continent: "EU", Country: "DE", Subdivision: "BY"}}, {"1.0.0.64/26", geo.Place{Continent: "EU", Country: "DE", Subdivision: "BE"}}, {"1.0.0.128/25", country("FR")}},
			country("FR"),
		},
		{"a placed one beats many that are not", "1.0.0.0", []network{{"1.0.0.0/24", geo.Place{ASN: 1}}, {"1.0.0.9/32", country("DE")}}, country("DE")},
		{"nothing placed: what is known", "1.0.0.0", []network{{"1.0.0.0/30", geo.Place{ASN: 1}}, {"1.0.0.128/25", geo.Place{ASN: 2}}}, geo.Place{ASN: 2}},
		{"IPv6, within a /56", "2001:200::", []network{{"2001:200::/58", country("JP")}, {"2001:200:0:40::/58", country("KR")}, {"2001:200:0:80::/58", country("KR")}}, country("KR")},
		{"IPv6, hosts against a /64", "2001:200::", []network{{"2001:200::1/128", country("JP")}, {"2001:200:0:1::/64", country("KR")}}, country("KR")},
		{"IPv6, a tie of hosts", "2001:200::", []network{{"2001:200::1/128", country("JP")}, {"2001:200:0:1::1/128", country("KR")}}, country("JP")},
	} {
		n, _ := geo.Compile([]*geo.Layer{layerOf(t, "x", makeMMDB(t, mmdbOptions{}, c.networks...))}, nil)
		checkNetworks(t, n)
		if got := at(n, c.addr); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// benchDatabase makes a City database of some 100,000 networks.
func benchDatabase(b *testing.B) string {
	b.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "GeoLite2-City", IncludeReservedNetworks: true})
	if err != nil {
		b.Fatal(err)
	}
	countries := []string{"DE", "FR", "US", "BR", "JP", "AU", "ZA"}
	for i := range 50_000 {
		c := countries[rng.IntN(len(countries))]
		p := country(c)
		p.Subdivision, p.HasLocation, p.Lat, p.Lon = fmt.Sprint(rng.IntN(20)), true, float64(1+rng.IntN(80)), float64(rng.IntN(180))
		v4 := &net.IPNet{IP: net.IPv4(byte(1+i>>10), byte(i>>2), byte(i<<6), 0), Mask: net.CIDRMask(18+rng.IntN(12), 32)}
		v6 := &net.IPNet{IP: net.IP{0x20, 0x01, byte(0x10 + i>>12), byte(i >> 4), byte(i << 4), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, Mask: net.CIDRMask(36+rng.IntN(24), 128)}
		for _, n := range []*net.IPNet{v4, v6} {
			if err = tree.Insert(n, recordOf(p, "")); err != nil {
				b.Fatal(err)
			}
		}
	}
	path := filepath.Join(b.TempDir(), "bench.mmdb")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := tree.WriteTo(f); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	return path
}

// BenchmarkLoad loads a City database of 100,000 networks, or the one that
// GEODNS_BENCH_MMDB names.
func BenchmarkLoad(b *testing.B) {
	path := os.Getenv("GEODNS_BENCH_MMDB")
	if path == "" {
		path = benchDatabase(b)
	}
	b.ReportAllocs()
	for b.Loop() {
		d, fs := geo.Load(geo.Config{Databases: []string{path}}, nil)
		if fs.HasErrors() {
			b.Fatal(fs)
		}
		b.ReportMetric(float64(d.Databases()[0].Networks), "networks")
		b.ReportMetric(float64(len(d.Networks.V4)+len(d.Networks.V6)), "cells")
	}
}
