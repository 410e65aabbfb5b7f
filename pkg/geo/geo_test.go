package geo_test

import (
	"bytes"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"geodns/internal/source"
	"geodns/pkg/geo"
)

// shared gives a path below the shared data, and skips the test without it.
func shared(t testing.TB, elem ...string) string {
	t.Helper()
	root := os.Getenv("GEODNS_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	path := filepath.Join(append([]string{root, "data"}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no shared data: %v (GEODNS_SHARED names its folder)", err)
	}
	return path
}

// network is one network of a database that a test makes.
type network struct {
	prefix string
	place  geo.Place
}

// mmdbOptions is what a test database differs in.
type mmdbOptions struct {
	Type       string // GeoLite2-City
	IPVersion  int    // 6
	RecordSize int    // 28
	NoAliases  bool   // of IPv4 in IPv6
	Extra      mmdbtype.Map
}

// makeMMDB writes a database of networks, later ones over earlier ones.
func makeMMDB(t testing.TB, o mmdbOptions, networks ...network) []byte {
	t.Helper()
	if o.Type == "" {
		o.Type = "GeoLite2-City"
	}
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		DatabaseType: o.Type, IPVersion: o.IPVersion, RecordSize: o.RecordSize, BuildEpoch: 1_700_000_000,
		Description: map[string]string{"en": "test"}, IncludeReservedNetworks: true, DisableIPv4Aliasing: o.NoAliases,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range networks {
		_, ipNet, err := net.ParseCIDR(n.prefix)
		if err != nil {
			t.Fatal(err)
		}
		rec := recordOf(n.place, o.Type)
		maps.Copy(rec, o.Extra)
		if err := tree.Insert(ipNet, rec); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := tree.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// recordOf gives a place as the vendors' databases have it.
func recordOf(p geo.Place, databaseType string) mmdbtype.Map {
	rec := mmdbtype.Map{}
	if p.Continent != "" {
		rec["continent"] = mmdbtype.Map{"code": mmdbtype.String(p.Continent)}
	}
	if p.Country != "" {
		rec["country"] = mmdbtype.Map{"iso_code": mmdbtype.String(p.Country), "names": mmdbtype.Map{"en": mmdbtype.String("Country " + p.Country), "de": mmdbtype.String("Land " + p.Country)}}
		rec["registered_country"] = mmdbtype.Map{"iso_code": mmdbtype.String("US")}
	}
	if p.Subdivision != "" {
		rec["subdivisions"] = mmdbtype.Slice{mmdbtype.Map{"iso_code": mmdbtype.String(p.Subdivision)}}
	}
	if p.HasLocation {
		rec["location"] = mmdbtype.Map{"latitude": mmdbtype.Float64(p.Lat), "longitude": mmdbtype.Float64(p.Lon)}
	}
	if p.ASN != 0 {
		if strings.Contains(databaseType, "Enterprise") {
			rec["traits"] = mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(p.ASN)}
		} else {
			rec["autonomous_system_number"] = mmdbtype.Uint32(p.ASN)
		}
	}
	return rec
}

// TestPlaces gives back what was put in.
func TestPlaces(t *testing.T) {
	t.Parallel()
	want := []geo.Place{{}, {Continent: "EU", Country: "DE", Subdivision: "BY", ASN: 64500, HasLocation: true, Lat: 48.1, Lon: -11.6}, {Country: "BY", Subdivision: "1"}, {ASN: 1}}
	got := geo.NewPlaces(want)
	if got.Len() != len(want) || !slices.Equal(got.List(), want) || got.At(2) != want[2] {
		t.Errorf("got %v, want %v", got.List(), want)
	}
}

// write puts a file in the test's own folder and gives its path.
func write(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// layerOf parses a database that must be good.
func layerOf(t testing.TB, name string, data []byte) *geo.Layer {
	t.Helper()
	l, fs := geo.LayerOf(name, data)
	if l == nil {
		t.Fatalf("%s: %v", name, fs)
	}
	return l
}

// at gives the compiled place of an address.
func at(n *geo.Networks, addr string) geo.Place { return n.At(netip.MustParseAddr(addr)) }

// country is a place of a country alone.
func country(c string) geo.Place { return geo.Place{Continent: geo.ContinentOf(c), Country: c} }

// checkNetworks checks what must hold for any Networks.
func checkNetworks(t testing.TB, n *geo.Networks) {
	t.Helper()
	if n.Places.At(0) != (geo.Place{}) {
		t.Errorf("place 0 is %+v", n.Places.At(0))
	}
	seen := map[geo.Place]bool{}
	for _, p := range n.Places.List() {
		if seen[p] {
			t.Errorf("place %+v is there twice", p)
		}
		seen[p] = true
		if p.Country != "" && p.Continent == "" {
			t.Errorf("place %+v is not finished", p)
		}
	}
	used := map[uint32]bool{0: true}
	for i, runs := range [][]geo.Run{n.V4, n.V6} {
		if len(runs) == 0 || runs[0].Start != 0 {
			t.Fatalf("family %d does not begin at 0: %v", i, runs[:min(len(runs), 3)])
		}
		for j, r := range runs {
			used[r.Place] = true
			if int(r.Place) >= n.Places.Len() {
				t.Fatalf("place %d of %d", r.Place, n.Places.Len())
			}
			if r.Start >= 1<<(24+32*i) {
				t.Fatalf("family %d has a block %x", i, r.Start)
			}
			if j > 0 && (runs[j-1].Start >= r.Start || runs[j-1].Place == r.Place) {
				t.Fatalf("family %d: run %v before %v", i, runs[j-1], r)
			}
		}
	}
	for _, l := range n.Long {
		used[l.Place] = true
		if int(l.Place) >= n.Places.Len() {
			t.Fatalf("place %d of %d", l.Place, n.Places.Len())
		}
	}
	if len(used) != n.Places.Len() {
		t.Errorf("%d places of %d are used", len(used), n.Places.Len())
	}
}

// findingsText gives findings a line each, as check writes them.
func findingsText(fs source.Findings) string {
	var b strings.Builder
	for _, f := range fs {
		b.WriteString(f.String())
		b.WriteByte('\n')
	}
	return b.String()
}
