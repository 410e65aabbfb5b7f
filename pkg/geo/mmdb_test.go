package geo_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/oschwald/maxminddb-golang/v2"

	"geodns/pkg/geo"
)

func TestKindOf(t *testing.T) {
	for databaseType, want := range map[string]string{
		"GeoLite2-City": "City", "GeoIP2-City": "City", "GeoIP2-City-North-America": "City", "GeoIP2-Precision-City": "City", "DBIP-City-Lite": "City",
		"DBIP-Location (compat=City)": "City", "GeoIP-City-Redacted-US": "City", "Example-City": "City", "City": "City",
		"GeoLite2-Country": "Country", "GeoIP2-Country": "Country", "DBIP-Country-Lite": "Country", "DBIP-Country": "Country", "GeoIP2-Country-Shield": "Country",
		"GeoIP2-Enterprise": "Enterprise", "GeoIP2-Precision-Enterprise": "Enterprise", "DBIP-ISP (compat=Enterprise)": "Enterprise", "DBIP-Location-ISP (compat=Enterprise)": "Enterprise",
		"GeoIP2-ISP": "ISP", "GeoIP2-Precision-ISP": "ISP",
		"GeoLite2-ASN": "ASN", "DBIP-ASN-Lite (compat=GeoLite2-ASN)": "ASN",
		"": "none", "GeoIP2-Domain": "none", "GeoIP2-Anonymous-IP": "none", "GeoIP2-Connection-Type": "none", "GeoIP2-DensityIncome": "none", "Capacity": "none", "ipinfo generic_lite": "none",
	} {
		if got := geo.KindOf(databaseType); got != want {
			t.Errorf("%q is of the %s kind, want %s", databaseType, got, want)
		}
	}
}

// TestMMDBForms reads the same world in all record sizes and IP versions.
func TestMMDBForms(t *testing.T) {
	bavaria := geo.Place{Continent: "EU", Country: "DE", Subdivision: "BY", HasLocation: true, Lat: 48.1, Lon: -11.5}
	var ids []string
	for _, recordSize := range []int{24, 28, 32} {
		for _, version := range []int{4, 6} {
			networks := []network{{"1.0.0.0/24", country("AU")}, {"1.0.1.0/25", country("CN")}, {"1.0.1.128/26", bavaria}, {"255.255.255.0/24", bavaria}}
			if version == 6 {
				networks = append(networks, network{"2001:200::/32", country("JP")}, network{"2002:100::/24", country("FR")}, network{"ffff::/16", bavaria})
				networks = slices.DeleteFunc(networks, func(n network) bool { return strings.HasPrefix(n.prefix, "2002:") }) // an alias of the writer's
			}
			n, _ := geo.Compile([]*geo.Layer{layerOf(t, "x", makeMMDB(t, mmdbOptions{RecordSize: recordSize, IPVersion: version}, networks...))}, nil)
			checkNetworks(t, n)
			want := map[string]geo.Place{"0.0.0.0": {}, "1.0.0.7": country("AU"), "1.0.1.200": country("CN"), "1.0.2.0": {}, "255.255.255.255": bavaria, "::1": {}, "2001:100::": {}}
			if version == 6 {
				want["2001:200::1"], want["ffff:ffff::"] = country("JP"), bavaria
				// The writer's aliases of IPv4 are not IPv6 clients' places.
				want["2002:100:1::"], want["::ffff:1.0.0.1"], want["64:ff9b::1.0.0.1"] = geo.Place{}, country("AU"), geo.Place{}
			}
			for addr, p := range want {
				if got := at(n, addr); got != p {
					t.Errorf("record size %d, IP version %d: %s is %+v, want %+v", recordSize, version, addr, got, p)
				}
			}
			if version == 6 {
				ids = append(ids, n.ID())
			}
		}
	}
	if ids[0] != ids[1] || ids[1] != ids[2] {
		t.Errorf("one world in three record sizes has the ids %v", ids)
	}
}

// TestMMDBTopRecord reads trees that end above IPv4's place in them.
func TestMMDBTopRecord(t *testing.T) {
	n, _ := geo.Compile([]*geo.Layer{layerOf(t, "x", makeMMDB(t, mmdbOptions{NoAliases: true}, network{"::/0", country("DE")}))}, nil)
	for _, addr := range []string{"0.0.0.0", "203.0.113.9", "255.255.255.255", "::", "2001:db8::", "ffff::"} {
		if at(n, addr) != country("DE") {
			t.Errorf("%s is %+v", addr, at(n, addr))
		}
	}
	if len(n.V4) != 1 || len(n.V6) != 1 {
		t.Errorf("%d and %d networks", len(n.V4), len(n.V6))
	}
}

// TestMMDBOddFields reads records whose fields are no codes: they count as
// unknown, and a warning says so; the rest of the record is used.
func TestMMDBOddFields(t *testing.T) {
	data := makeMMDB(t, mmdbOptions{},
		network{"1.0.0.0/24", geo.Place{Continent: "eu", Country: "DE", Subdivision: "BYX1", ASN: 1}},
		network{"1.0.1.0/24", geo.Place{Continent: "EU", Country: "UK", Subdivision: "ENG"}},
		network{"1.0.2.0/24", geo.Place{Country: "D", HasLocation: true, Lat: 95, Lon: 1, ASN: 2}},
		network{"1.0.3.0/24", geo.Place{Country: "FR", HasLocation: true}}, // 0,0: unknown
		network{"1.0.4.0/24", geo.Place{Country: "FR", Continent: strings.Repeat("x", 99)}},
	)
	l, fs := geo.LayerOf("odd.mmdb", data)
	if l == nil {
		t.Fatal(fs)
	}
	got := findingsText(fs)
	if !strings.HasPrefix(got, "odd.mmdb:1:1: warning: left out 6 fields of its records") || !strings.Contains(got, `country "UK"`) || len(got) > 400 {
		t.Error(got)
	}
	n, _ := geo.Compile([]*geo.Layer{l}, nil)
	for addr, want := range map[string]geo.Place{
		"1.0.0.1": {Continent: "EU", Country: "DE", ASN: 1}, "1.0.1.1": {Continent: "EU"}, "1.0.2.1": {ASN: 2},
		"1.0.3.1": country("FR"), "1.0.4.1": country("FR"),
	} {
		if got := at(n, addr); got != want {
			t.Errorf("%s\n got %+v\nwant %+v", addr, got, want)
		}
	}
}

// TestMMDBFields says where each kind has its fields, and that nothing of
// registered_country is used.
func TestMMDBFields(t *testing.T) {
	for databaseType, want := range map[string]geo.Place{
		"GeoLite2-City": {Continent: "EU", Country: "DE", Subdivision: "BY", HasLocation: true, Lat: 1, Lon: 2}, "GeoIP2-Country": country("DE"), "GeoLite2-ASN": {ASN: 64496},
		"GeoIP2-ISP": {ASN: 64496}, "GeoIP2-Enterprise": {Continent: "EU", Country: "DE", ASN: 64496}, "DBIP-ASN-Lite (compat=GeoLite2-ASN)": {ASN: 64496},
	} {
		n, _ := geo.Compile([]*geo.Layer{layerOf(t, "x", makeMMDB(t, mmdbOptions{Type: databaseType}, network{"1.0.0.0/24", want}))}, nil)
		if got := at(n, "1.0.0.1"); got != want {
			t.Errorf("%s: %+v, want %+v", databaseType, got, want)
		}
	}
	registered := makeMMDB(t, mmdbOptions{Extra: mmdbtype.Map{"registered_country": mmdbtype.Map{"iso_code": mmdbtype.String("US")}}},
		network{"1.0.0.0/24", geo.Place{Continent: "EU"}}, network{"1.0.1.0/24", geo.Place{}})
	n, _ := geo.Compile([]*geo.Layer{layerOf(t, "x", registered)}, nil)
	if got := at(n, "1.0.0.1"); got != (geo.Place{Continent: "EU"}) || at(n, "1.0.1.1").Placed() {
		t.Errorf("%+v", n.Places.List())
	}
}

// TestMMDBRefused damages a good database in the ways that the reader library
// does not notice, or that would make it run for years.
func TestMMDBRefused(t *testing.T) {
	good := makeMMDB(t, mmdbOptions{Type: "GeoLite2-City", RecordSize: 24, IPVersion: 4}, network{"1.0.0.0/24", country("AU")}, network{"1.0.1.0/24", country("DE")})
	reader, err := maxminddb.OpenBytes(good)
	if err != nil {
		t.Fatal(err)
	}
	nodes := int(reader.Metadata.NodeCount)
	damage := func(f func(b []byte)) []byte {
		b := bytes.Clone(good)
		f(b)
		return b
	}
	put24 := func(b []byte, node, side, record int) {
		binary.BigEndian.PutUint16(b[node*6+side*3+1:], uint16(record))
		b[node*6+side*3] = byte(record >> 16)
	}
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"no data behind the last node", "x.mmdb:1:0: error: node 0 of the search tree refers to data at 65", damage(func(b []byte) { put24(b, 0, 1, nodes+16+65000) })},
		{"the separator as data", "refers to data at -1, outside the", damage(func(b []byte) { put24(b, 0, 1, nodes+15) })},
		{"a circle of one", "leads deeper than an IPv4 address has bits", damage(func(b []byte) { put24(b, 0, 0, 0) })},
		{"a web of circles", "the search tree runs in circles: more than", damage(func(b []byte) {
			for n := range nodes { // as many paths as 2^nodes
				next := n + 1
				if next == nodes {
					next = nodes + 16
				}
				put24(b, n, 0, next)
				put24(b, n, 1, next)
			}
		})},
		{"a tree that is longer than it says", "the search tree does not end where", damage(func(b []byte) { b[nodes*6+3] = 1 })},
		{"a record that is no record", "cannot be read", damage(func(b []byte) { b[nodes*6+16] = 0xff })},
		{"a number as record", "cannot be read", damage(func(b []byte) { b[nodes*6+16] = 0xa1 })},
		{"another format", "binary format version 1: this server reads version 2", damage(func(b []byte) {
			at := bytes.LastIndex(b, []byte("binary_format_major_version"))
			b[at+len("binary_format_major_version")+1] = 1
		})},
		{"nothing in it", "no network in it has a continent, country, location or ASN", makeMMDB(t, mmdbOptions{}, network{"1.0.0.0/24", geo.Place{}})},
		{"not even a network", "x.mmdb:1:1: error: ", makeMMDB(t, mmdbOptions{})},
		{"another type", `database type "GeoIP2-Domain" has no places of clients: a City, Country, Enterprise, ISP or ASN database is wanted`, makeMMDB(t, mmdbOptions{Type: "GeoIP2-Domain"}, network{"1.0.0.0/24", country("AU")})},
		{"wrong field type", "the record of network 1.0.0.0/24 cannot be read", makeMMDB(t, mmdbOptions{Extra: mmdbtype.Map{"country": mmdbtype.String("AU")}}, network{"1.0.0.0/24", geo.Place{}})},
		{"ASN above 32 bits", "the record of network 1.0.0.0/24 cannot be read", makeMMDB(t, mmdbOptions{Type: "GeoLite2-ASN", Extra: mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint64(1 << 40)}}, network{"1.0.0.0/24", geo.Place{}})},
	} {
		l, fs := geo.LayerOf("x.mmdb", c.data)
		if l != nil || !strings.Contains(findingsText(fs), c.want) {
			t.Errorf("%s: %v\nwant %q", c.name, fs, c.want)
		}
	}
	for n := range len(good) { // cut short anywhere: mostly the metadata is gone
		if l, fs := geo.LayerOf("x.mmdb", good[:n]); l != nil || !fs.HasErrors() {
			t.Fatalf("the first %d of %d bytes are a database: %v", n, len(good), fs)
		}
	}
}

// TestMaxMindTestData reads each of MaxMind's test databases: it is loaded, or
// refused for the reason that stands here.
func TestMaxMindTestData(t *testing.T) {
	const otherKind = "has no places of clients"
	files, err := filepath.Glob(filepath.Join(shared(t, "maxmind", "test-data"), "*"))
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, path := range files {
		name := filepath.Base(path)
		want := "" // loaded
		switch {
		case name == "README.md":
			want = "a range is start,end,country"
		case name == "maps-with-pointers.raw":
			want = "this is neither an MMDB file"
		case name == "GeoIP2-City-Test-Broken-Double-Format.mmdb":
			want = "the record of network 2.125.160.216/29 cannot be read"
		case name == "GeoIP2-City-Test-Invalid-Node-Count.mmdb":
			want = "invalid metadata"
		case strings.HasPrefix(name, "MaxMind-DB-"):
			want = otherKind
		case !strings.Contains(name, "City") && !strings.Contains(name, "Country") && !strings.Contains(name, "Enterprise") && !strings.Contains(name, "ISP") && !strings.Contains(name, "ASN"):
			want = otherKind
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		l, fs := geo.LayerOf(path, data)
		if (l != nil) != (want == "") || !strings.Contains(findingsText(fs), want) {
			t.Errorf("%s: %v\nwant %q", name, fs, want)
		}
		if l != nil {
			n, _ := geo.Compile([]*geo.Layer{l}, nil)
			checkNetworks(t, n)
		}
	}
}

// TestMaxMindBadData refuses all that is known to have brought down a reader:
// as it is, where most of it is of no kind that we want, and again with its type
// changed into a City database, so that all of it is walked.
func TestMaxMindBadData(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(shared(t, "maxmind", "bad-data"), "*", "*.mmdb"))
	if err != nil || len(files) < 21 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	prev, fs := geo.Load(geo.Config{Databases: []string{write(t, "good.mmdb", makeMMDB(t, mmdbOptions{}, network{"1.0.0.0/24", country("AU")}))}}, nil)
	if len(fs) != 0 {
		t.Fatal(fs)
	}
	for _, path := range files {
		name := filepath.Base(path)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, mutant := range [][]byte{data, retyped(data)} {
			path := write(t, name, mutant)
			d, fs := geo.Load(geo.Config{Databases: []string{path}}, nil)
			if !d.Lost || !d.Degraded || !fs.HasErrors() || d.Networks.Places.Len() != 1 {
				t.Errorf("%s is loaded: %v", name, fs)
			}
			for _, f := range fs {
				if f.File != path || f.Line != 1 || f.Col < 0 || f.Col > len(mutant) {
					t.Errorf("%s: no place: %v", name, f)
				}
			}
			kept, fs := geo.Load(geo.Config{Databases: []string{path}}, prev)
			if kept.Lost || !kept.Degraded || !fs.HasErrors() || kept.ID() != prev.ID() || kept.Databases()[0].State != geo.Kept {
				t.Errorf("%s over a good one: %+v, %v", name, kept.Databases(), fs)
			}
		}
	}
}

// retyped gives a database of type "Test" as one of type "City", which is as
// long.
func retyped(data []byte) []byte {
	out := bytes.Clone(data)
	if at := bytes.LastIndex(out, []byte("Test")); at >= 0 {
		copy(out[at:], "City")
	}
	return out
}

// TestMaxMindRecords compares what Networks and Lookup say with the records that
// MaxMind's databases were made from.
func TestMaxMindRecords(t *testing.T) {
	sources := shared(t, "maxmind", "source-data")
	for _, name := range []string{"GeoLite2-City-Test", "GeoIP2-City-Test", "GeoLite2-Country-Test", "GeoIP2-Country-Test", "GeoLite2-ASN-Test", "GeoIP2-ISP-Test", "GeoIP2-Enterprise-Test", "GeoIP2-Precision-Enterprise-Test"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(shared(t, "maxmind", "test-data"), name+".mmdb")
			d, fs := geo.Load(geo.Config{Databases: []string{path}}, nil)
			if fs.HasErrors() {
				t.Fatal(fs)
			}
			for _, f := range fs {
				t.Log(f)
			}
			checkNetworks(t, d.Networks)
			text, err := os.ReadFile(filepath.Join(sources, name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			var entries []map[string]map[string]any
			if err := json.Unmarshal(text, &entries); err != nil {
				t.Fatal(err)
			}
			checked := 0
			for i, e := range entries {
				for cidr, rec := range e {
					checked += checkSourceRecord(t, d, entries[i+1:], cidr, rec)
				}
			}
			t.Logf("%d of %d networks, checked with %d lines of records", len(entries), d.Databases()[0].Networks, checked)
			compareWithReader(t, d, path)
		})
	}
}

// checkSourceRecord looks up the first address of a network of the source and
// compares. later are the networks that could have been written over it.
func checkSourceRecord(t *testing.T, d *geo.Data, later []map[string]map[string]any, cidr string, rec map[string]any) int {
	t.Helper()
	p := sourcePrefix(t, cidr)
	for _, e := range later {
		for other := range maps.Keys(e) {
			if sourcePrefix(t, other).Contains(p.Addr()) {
				return 0
			}
		}
	}
	got := d.Lookup(p.Addr())
	if len(got.Databases) != 1 {
		t.Fatalf("%s: %+v", p, got)
	}
	if want := sourcePlace(rec).Finished(); got.Databases[0].Place != want {
		t.Errorf("%s\n got %+v\nwant %+v", p, got.Databases[0].Place, want)
	}
	if !got.Databases[0].Network.Contains(p.Addr()) || got.Databases[0].Err != "" {
		t.Errorf("%s: network %s, %s", p, got.Databases[0].Network, got.Databases[0].Err)
	}
	fields := map[string]string{}
	for _, f := range got.Databases[0].Fields {
		fields[f.Key] = f.Value
	}
	lines := 0
	for key, want := range map[string]any{
		"country.iso_code": dig(rec, "country", "iso_code"), "city.names.en": dig(rec, "city", "names", "en"), "location.latitude": dig(rec, "location", "latitude"),
		"autonomous_system_number": dig(rec, "autonomous_system_number"), "autonomous_system_organization": dig(rec, "autonomous_system_organization"),
		"isp": dig(rec, "isp"), "traits.isp": dig(rec, "traits", "isp"), "registered_country.iso_code": dig(rec, "registered_country", "iso_code"),
	} {
		if want == nil {
			continue
		}
		lines++
		if fields[key] != fmt.Sprint(want) {
			t.Errorf("%s: %s is %q, want %v", p, key, fields[key], want)
		}
	}
	return lines
}

// sourcePrefix reads a network as the source has it: IPv4 as ::1.2.3.4/120 too.
func sourcePrefix(t *testing.T, cidr string) netip.Prefix {
	t.Helper()
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		t.Fatal(err)
	}
	if b := p.Addr().As16(); p.Addr().Is6() && p.Bits() >= 96 && bytes.Equal(b[:12], make([]byte, 12)) {
		p = netip.PrefixFrom(netip.AddrFrom4([4]byte(b[12:])), p.Bits()-96)
	}
	return p
}

// sourcePlace gives a record of the source as a place.
func sourcePlace(rec map[string]any) geo.Place {
	text := func(path ...any) string { s, _ := dig(rec, path...).(string); return s }
	p := geo.Place{Continent: text("continent", "code"), Country: text("country", "iso_code"), Subdivision: text("subdivisions", 0, "iso_code")}
	if lat, ok := dig(rec, "location", "latitude").(float64); ok {
		p.Lat, p.HasLocation = lat, true
		p.Lon, _ = dig(rec, "location", "longitude").(float64)
	}
	for _, path := range [][]any{{"autonomous_system_number"}, {"traits", "autonomous_system_number"}} {
		if n, ok := dig(rec, path...).(float64); ok && p.ASN == 0 {
			p.ASN = uint32(n)
		}
	}
	return p
}

// dig goes down a path of keys and indices; nil if there is nothing.
func dig(v any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[step]
		case int:
			l, _ := v.([]any)
			if step >= len(l) {
				return nil
			}
			v = l[step]
		}
	}
	return v
}

// compareWithReader compares each block that has finer data, and each first
// address of a network, with what the twin makes of the library's look-ups.
func compareWithReader(t *testing.T, d *geo.Data, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := maxminddb.OpenBytes(data)
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[netip.Prefix]bool{}
	for r := range reader.Networks() {
		bits := 56
		if r.Prefix().Addr().Is4() {
			bits = 24
		} else if r.Prefix().Bits() > 64 {
			continue // finer than the twin's units
		}
		block, err := r.Prefix().Addr().Prefix(bits)
		if err != nil {
			t.Fatal(err)
		}
		blocks[block] = true
	}
	places := map[uintptr]geo.Place{} // by record
	for block := range blocks {
		counts, order := map[geo.Place]int{}, []geo.Place(nil)
		for i := range twinUnits {
			found := reader.Lookup(twinAddr(block, i))
			p, known := places[found.Offset()]
			if !known {
				rec := map[string]any{}
				if err := found.Decode(&rec); err != nil {
					t.Fatal(err)
				}
				p = sourcePlace(plain(rec)).Finished()
				places[found.Offset()] = p
			}
			if counts[p]++; counts[p] == 1 {
				order = append(order, p)
			}
		}
		var best geo.Place
		for _, p := range order {
			if p == (geo.Place{}) || best.Placed() && !p.Placed() {
				continue
			}
			if best == (geo.Place{}) || !best.Placed() && p.Placed() || counts[p] > counts[best] {
				best = p
			}
		}
		if got := d.Networks.At(block.Addr()); got != best {
			t.Errorf("%s\n got %+v\nwant %+v", block, got, best)
		}
	}
}

// plain turns the library's integers into what JSON has.
func plain(rec map[string]any) map[string]any {
	text, _ := json.Marshal(rec)
	out := map[string]any{}
	_ = json.Unmarshal(text, &out)
	return out
}

// TestMutatedDatabases changes good databases at random, a thousand times: each
// mutant is refused, with its place, or is whole.
func TestMutatedDatabases(t *testing.T) {
	seeds := [][]byte{
		makeMMDB(t, mmdbOptions{RecordSize: 24}, worldNetworks(200)...),
		makeMMDB(t, mmdbOptions{RecordSize: 28, Type: "GeoIP2-Enterprise"}, worldNetworks(200)...),
		makeMMDB(t, mmdbOptions{RecordSize: 32, IPVersion: 4, Type: "GeoLite2-ASN"}, network{"1.0.0.0/9", geo.Place{ASN: 64496}}, network{"9.0.0.0/24", geo.Place{ASN: 64497}}),
	}
	if root := os.Getenv("GEODNS_SHARED"); root != "" || exists("../../../shared/data/maxmind") {
		files, _ := filepath.Glob(filepath.Join(shared(t, "maxmind", "test-data"), "Geo*.mmdb"))
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if l, _ := geo.LayerOf(f, data); l != nil {
				seeds = append(seeds, data)
			}
		}
	} else {
		t.Log("no shared data: our own databases alone are mutated")
	}
	loaded := 0
	begin := time.Now()
	for seed := range uint64(1000) {
		rng := rand.New(rand.NewPCG(seed, 7))
		data := mutate(rng, bytes.Clone(seeds[rng.IntN(len(seeds))]))
		l, fs := geo.LayerOf("m.mmdb", data)
		if (l != nil) == fs.HasErrors() {
			t.Fatalf("seed %d: layer %v with %v", seed, l, fs)
		}
		for _, f := range fs {
			if f.File != "m.mmdb" || f.Line < 1 || f.Col < 0 || f.Col > len(data) {
				t.Fatalf("seed %d: no place: %v", seed, f)
			}
		}
		if l != nil {
			loaded++
			n, _ := geo.Compile([]*geo.Layer{l}, nil)
			checkNetworks(t, n)
		}
		lookupMutant(t, seed, data)
	}
	t.Logf("of 1000 mutants of %d databases %d were loaded, in %v", len(seeds), loaded, time.Since(begin))
}

// lookupMutant shows records of a mutant, which are decoded further than the
// load does.
func lookupMutant(t *testing.T, seed uint64, data []byte) {
	t.Helper()
	path := write(t, "m.mmdb", data)
	d, _ := geo.Load(geo.Config{Databases: []string{path}}, nil)
	for _, a := range []string{"1.0.0.1", "2.125.160.217", "81.2.69.160", "255.255.255.255", "2001:200::1", "2002:100::1", "::1"} {
		rec := d.Lookup(netip.MustParseAddr(a))
		if d.Lost && len(rec.Databases) != 0 {
			t.Fatalf("seed %d: %+v", seed, rec)
		}
	}
}

// exists says whether a path does.
func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// worldNetworks gives networks with a bit of everything.
func worldNetworks(n int) []network {
	w := twinWorld{rand.New(rand.NewPCG(1, 2))}
	var out []network
	for range n {
		out = append(out, network{w.prefix4(16).String(), w.place()}, network{w.prefix6(32).String(), w.place()})
	}
	return out
}

// mutate changes a few bytes, or a piece, mostly where it matters.
func mutate(rng *rand.Rand, data []byte) []byte {
	for range 1 + rng.IntN(pick(rng, 1, 1, 2, 8)) {
		at := rng.IntN(len(data))
		switch rng.IntN(8) {
		case 0: // the metadata
			at = len(data) - 1 - rng.IntN(min(len(data), 300))
			data[at] ^= 1 << rng.IntN(8)
		case 1:
			data[at] = pick(rng, byte(0), 0xff, 0x7f, 0x80)
		case 2: // a piece from elsewhere
			copy(data[at:min(at+16, len(data))], data[rng.IntN(len(data)):])
		case 3: // cut out
			if len(data) > 64 {
				data = append(data[:at], data[min(at+1+rng.IntN(16), len(data)):]...)
			}
		default:
			data[at] ^= 1 << rng.IntN(8)
		}
		if len(data) == 0 {
			return []byte{0}
		}
	}
	return data
}

// FuzzMMDB changes bytes of small good databases: patch is groups of three
// bytes, where (two, modulo the length) and what. Behind the last base, patch is
// the file itself.
func FuzzMMDB(f *testing.F) {
	bases := [][]byte{
		makeMMDB(f, mmdbOptions{RecordSize: 24, NoAliases: true}, network{"1.0.0.0/8", country("AU")}, network{"2000::/4", country("JP")}),
		makeMMDB(f, mmdbOptions{RecordSize: 28, IPVersion: 4, Type: "GeoLite2-ASN"}, network{"1.0.0.0/8", geo.Place{ASN: 64496}}, network{"1.0.0.64/26", geo.Place{ASN: 64497}}),
		makeMMDB(f, mmdbOptions{RecordSize: 32, IPVersion: 4, Type: "GeoIP2-Enterprise"}, network{"128.0.0.0/1", geo.Place{Country: "DE", Subdivision: "BY", HasLocation: true, Lat: 1, Lon: 2, ASN: 3}}),
		makeMMDB(f, mmdbOptions{RecordSize: 28}, network{"1.0.0.0/24", country("AU")}),
	}
	for i, base := range bases {
		f.Add(uint8(i), []byte{})
		f.Add(uint8(i), []byte{0, 2, 0})                                         // the first node goes in a circle
		f.Add(uint8(i), []byte{0, 5, 0xff, 0, 4, 0xff})                          // and out of the file
		f.Add(uint8(i), []byte{byte(len(base) >> 8), byte(len(base)), 1})        // one behind the end: the first again
		f.Add(uint8(i), []byte{byte(len(base) >> 9), byte(len(base) / 2), 0xff}) // amid the data
		f.Add(uint8(len(bases)), base[len(base)/2:])
	}
	f.Fuzz(func(t *testing.T, base uint8, patch []byte) {
		data := patch
		if int(base) < len(bases) {
			data = bytes.Clone(bases[base])
			for p := patch; len(p) >= 3; p = p[3:] {
				data[int(binary.BigEndian.Uint16(p))%len(data)] = p[2]
			}
		}
		if !geo.IsMMDB(data) {
			t.Skip("a range CSV file: FuzzRangeCSV's")
		}
		l, fs := geo.LayerOf("f.mmdb", data)
		if (l == nil) != fs.HasErrors() {
			t.Fatalf("layer %v with %v", l, fs)
		}
		for _, finding := range fs {
			if finding.File != "f.mmdb" || finding.Line != 1 || finding.Col < 0 || finding.Col > len(data) {
				t.Fatalf("no place: %v", finding)
			}
		}
		if l == nil {
			return
		}
		n, _ := geo.Compile([]*geo.Layer{l}, nil)
		checkNetworks(t, n)
		// The walk has seen every path: no look-up can lead astray any more.
		reader, err := maxminddb.OpenBytes(data)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range []string{"0.0.0.0", "1.0.0.1", "128.9.0.1", "255.255.255.255"} {
			if err := reader.Lookup(netip.MustParseAddr(a)).Err(); err != nil {
				t.Fatalf("%s: %v", a, err)
			}
		}
	})
}
