package geo_test

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"geodns/pkg/geo"
)

func TestRangeCSV(t *testing.T) {
	const good = "\xEF\xBB\xBF# a comment, with commas\n" +
		"\n" +
		"16777216,16777471,AU\r\n" +
		"\"1.0.1.0\",\"1.0.3.255\",\"CN\"\n" +
		"  1.0.4.0 ,\t1.0.4.127 , JP \n" +
		"1.0.4.128,1.0.4.255,??\n" +
		"1.0.5.0,1.0.5.255,ZZ\n" +
		"1.0.6.0,1.0.6.255,\n" +
		"2001:200::,2001:200:ffff:ffff:ffff:ffff:ffff:ffff,JP\n" +
		"1.0.7.0,1.0.7.255,XK\n" + // each family has its own order
		"4294967040,4294967295,DE\n" +
		"2001:208::,2001:208:0:ff:ffff:ffff:ffff:ffff,SG\n" +
		"ffff:ffff:ffff:ffff::,ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff,FR"
	l, fs := geo.LayerOf("ranges.csv", []byte(good))
	if l == nil || len(fs) != 0 {
		t.Fatalf("findings: %v", fs)
	}
	n, _ := geo.Compile([]*geo.Layer{l}, nil)
	checkNetworks(t, n)
	for addr, want := range map[string]string{
		"0.0.0.0": "", "1.0.0.0": "AU", "1.0.0.255": "AU", "1.0.1.0": "CN", "1.0.3.255": "CN", "1.0.4.0": "JP", "1.0.4.255": "JP",
		"1.0.5.1": "", "1.0.6.1": "", "1.0.7.1": "XK", "1.0.8.0": "", "255.255.254.255": "", "255.255.255.255": "DE",
		"2001:200::1": "JP", "2001:201::1": "", "2001:208::1": "SG", "2001:208:0:100::": "", "ffff:ffff:ffff:ffff::": "FR",
	} {
		if got := at(n, addr).Country; got != want {
			t.Errorf("%s is in %q, want %q", addr, got, want)
		}
	}
	if got := at(n, "1.0.7.1"); got.Continent != "EU" {
		t.Errorf("the continent does not come from the table: %+v", got)
	}
}

func TestRangeCSVRefused(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"empty", "", "r.csv:1:1: error: no range in it has a country"},
		{"comments alone", "# nothing\n", "r.csv:1:1: error: no range in it has a country"},
		{"nothing placed", "0,255,??\n", "r.csv:1:1: error: no range in it has a country"},
		{"two fields", "0,255\n", "r.csv:1:1: error: a line of 2 fields: a range is start,end,country"},
		{"four fields", "#\n0,255,DE,x\n", "r.csv:2:1: error: a line of 4 fields"},
		{"start", "0,255,DE\n x,511,DE\n", `r.csv:2:2: error: the start of the range, "x": an address, or an IPv4 address as a number, is wanted`},
		{"end", "0,\"zz\",DE\n", `r.csv:1:4: error: the end of the range, "zz"`},
		{"empty start", ",5,DE\n", `r.csv:1:1: error: the start of the range, ""`},
		{"above IPv4", "0,4294967296,DE\n", "r.csv:1:3: error: the end of the range, \"4294967296\": the number is above 4294967295"},
		{"far above IPv4", "0,99999999999999999999999,DE\n", "the number is above 4294967295"},
		{"negative", "-1,5,DE\n", "r.csv:1:1: error: the start"},
		{"mapped", "::ffff:1.0.0.0,::ffff:1.0.0.255,DE\n", "write it as IPv4"},
		{"zone", "fe80::1%eth0,fe80::2,DE\n", "an address"},
		{"prefix", "1.0.0.0/24,1.0.0.255,DE\n", "an address"},
		{"two families", "1.0.0.0,2001::,DE\n", "r.csv:1:9: error: the range begins in IPv4 and ends in IPv6"},
		{"backwards", "1.0.0.9,1.0.0.0,DE\n", "r.csv:1:9: error: the range ends at 1.0.0.0, before it begins at 1.0.0.9"},
		{"unsorted", "1.0.1.0,1.0.1.255,DE\n1.0.0.0,1.0.0.255,DE\n", "r.csv:2:1: error: the range begins at 1.0.0.0, but those before it reach to 1.0.1.255"},
		{"overlap", "1.0.0.0,1.0.0.255,DE\n1.0.0.255,1.0.1.255,FR\n", "r.csv:2:1: error: the range begins at 1.0.0.255"},
		{"doubled", "::,::1,DE\n::,::1,DE\n", "r.csv:2:1: error: the range begins at ::, but those before it reach to ::1"},
		{"behind the last", "255.255.255.0,255.255.255.255,DE\n0,1,DE\n", "those before it reach to 255.255.255.255"},
		{"country name", "0,255,Germany\n", `r.csv:1:7: error: country "Germany": a code of two letters`},
		{"one letter", "0,255,D\n", `r.csv:1:7: error: country "D"`},
		{"quote", "0,255,\"DE\n", "r.csv:1:1: error: a quote without its other"},
		{"a lone quote", "0,255,\"\n", "r.csv:1:1: error: a quote without its other"},
		{"long line", "0,255," + strings.Repeat("x", 5000) + "\n", "r.csv:1:1: error: a line of 5006 bytes"},
		{"binary", "\x00\x01\x02", "r.csv:1:0: error: this is neither an MMDB file"},
		{"zip", "PK\x03\x04", "r.csv:1:2: error: this is neither an MMDB file"},
	} {
		l, fs := geo.LayerOf("r.csv", []byte(c.in))
		if l != nil || !strings.Contains(findingsText(fs), c.want) {
			t.Errorf("%s: %v\nwant %q", c.name, fs, c.want)
		}
	}
	_, fs := geo.LayerOf("r.csv", []byte(strings.Repeat("wrong\n", 1000)))
	if n := fs.Errors(); n != 10 {
		t.Errorf("%d errors of 1000 wrong lines: 10 are enough", n)
	}
}

func TestRangeCSVUnknownCodes(t *testing.T) {
	l, fs := geo.LayerOf("r.csv", []byte("0,255,SU\n256,511,A1\n512,767,SU\n768,1023,??\n1024,1279,de\n1280,1535,DE\n1536,1791,EU\n"))
	if l == nil {
		t.Fatal(fs)
	}
	const want = `r.csv:1:1: warning: 4 ranges have codes that are no countries of ISO 3166-1 and count as unknown ("A1", "SU", "de")` + "\n"
	if got := findingsText(fs); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	n, _ := geo.Compile([]*geo.Layer{l}, nil)
	if at(n, "0.0.0.1").Placed() || at(n, "0.0.5.0").Country != "DE" || at(n, "0.0.6.0") != (geo.Place{Continent: "EU"}) {
		t.Errorf("%+v", n)
	}
}

// TestTorGeoIP reads the ranges of Debian's tor-geoipdb and looks them up again
// in the networks: all of them with GEODNS_PROVE=1, else one in a hundred.
func TestTorGeoIP(t *testing.T) {
	paths := []string{"/usr/share/tor/geoip", "/usr/share/tor/geoip6"}
	for _, p := range paths {
		if _, err := os.Stat(p); err != nil {
			t.Skipf("no tor-geoipdb: %v", err)
		}
	}
	begin := time.Now()
	d, fs := geo.Load(geo.Config{Databases: paths}, nil)
	if fs.HasErrors() || d.Degraded || d.Lost {
		t.Fatal(fs)
	}
	t.Logf("%d + %d ranges, %d + %d networks, %d places in %v", d.Databases()[0].Networks, d.Databases()[1].Networks, len(d.Networks.V4), len(d.Networks.V6), d.Networks.Places.Len(), time.Since(begin))
	for _, f := range fs {
		t.Log(f)
	}
	checkNetworks(t, d.Networks)
	step := 100
	if os.Getenv("GEODNS_PROVE") == "1" {
		step = 1
	}
	checked := 0
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(data), "\n") {
			fields := strings.Split(line, ",")
			if i%step != 0 || len(fields) != 3 || strings.HasPrefix(line, "#") {
				continue
			}
			first, last := torAddr(t, fields[0]), torAddr(t, fields[1])
			want := geo.Place{Continent: geo.ContinentOf(fields[2]), Country: fields[2]}
			switch {
			case fields[2] == "EU":
				want = geo.Place{Continent: "EU"}
			case want.Continent == "":
				want = geo.Place{}
			}
			// A block that lies whole in the range has the range's country.
			bits := 24
			if first.Is6() {
				bits = 56
			}
			for _, a := range []netip.Addr{first, last} {
				block, err := a.Prefix(bits)
				if err != nil {
					t.Fatal(err)
				}
				if block.Addr().Less(first) || last.Less(lastOf(block)) {
					continue
				}
				checked++
				if got := d.Networks.At(a); got != want {
					t.Errorf("%s:%d: %s is in %+v, want %+v", p, i+1, a, got, want)
				}
			}
		}
	}
	if checked == 0 {
		t.Error("nothing checked")
	}
	t.Logf("%d ends of ranges checked", checked)
}

// torAddr reads an end of a range.
func torAddr(t *testing.T, s string) netip.Addr {
	if n, err := strconv.ParseUint(s, 10, 32); err == nil {
		return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// lastOf gives the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := range b {
		for bit := range 8 {
			if i*8+bit >= p.Bits() {
				b[i] |= 0x80 >> bit
			}
		}
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func FuzzRangeCSV(f *testing.F) {
	for _, s := range []string{
		"16777216,16777471,AU\n", "# c\n\"1.0.0.0\",\"1.0.0.255\",\"AU\"\n2001::,2001::ffff,JP\n",
		"0,4294967295,DE\n::,ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff,FR\n", "0,1,??\n2,3,A1\n4,5,XK", "1.0.0.9,1.0.0.0,DE\n", ",,\n", "\"\",\"\",\"\"\n",
		"1.2.3.4,1.2.3.4,US\n1.2.3.5,1.2.3.5,CA\n1.2.3.6,1.2.3.200,MX\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if geo.IsMMDB(data) {
			t.Skip("an MMDB file: FuzzMMDB's")
		}
		l, fs := geo.LayerOf("f.csv", data)
		if (l == nil) != fs.HasErrors() {
			t.Fatalf("layer %v with %v", l, fs)
		}
		for _, finding := range fs {
			if finding.File != "f.csv" || finding.Line < 1 {
				t.Fatalf("no place: %v", finding)
			}
		}
		if l == nil {
			return
		}
		n, _ := geo.Compile([]*geo.Layer{l}, nil)
		checkNetworks(t, n)
		if again, _ := geo.Compile([]*geo.Layer{l}, nil); again.ID() != n.ID() {
			t.Fatal("compiled twice, two ids")
		}
	})
}

func ExampleParseCode() {
	_, err := geo.ParseCode("NA-DE")
	fmt.Println(err)
	// Output: geo code "NA-DE": DE is in EU: write EU-DE
}
