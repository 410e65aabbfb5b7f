package geo_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/oschwald/maxminddb-golang/v2"

	"geodns/pkg/geo"
)

// The twin knows nothing of runs and blocks: it asks the reader library for each
// address of a block on its own, counts places in a map, and puts overrides on
// top one by one.

// twinUnit is what the twin takes for one address: IPv4 addresses, and /64s, of
// which an IPv6 block has 256 too. Test databases are no finer.
const twinUnits = 256

// twinDatabase is a database as the twin sees it.
type twinDatabase struct{ reader *maxminddb.Reader }

// twinRecord is a record as the twin decodes it.
type twinRecord struct {
	Continent struct {
		Code string `maxminddb:"code"`
	} `maxminddb:"continent"`
	Country struct {
		ISOCode string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
	Subdivisions []struct {
		ISOCode string `maxminddb:"iso_code"`
	} `maxminddb:"subdivisions"`
	Location *struct {
		Lat float64 `maxminddb:"latitude"`
		Lon float64 `maxminddb:"longitude"`
	} `maxminddb:"location"`
	ASN uint32 `maxminddb:"autonomous_system_number"`
}

// at asks the library.
func (d twinDatabase) at(t *testing.T, a netip.Addr) geo.Place {
	t.Helper()
	if a.Is6() && d.reader.Metadata.IPVersion == 4 {
		return geo.Place{}
	}
	var r twinRecord
	if err := d.reader.Lookup(a).Decode(&r); err != nil {
		t.Fatal(err)
	}
	p := geo.Place{Continent: r.Continent.Code, Country: r.Country.ISOCode, ASN: r.ASN}
	if len(r.Subdivisions) > 0 {
		p.Subdivision = r.Subdivisions[0].ISOCode
	}
	if r.Location != nil {
		p.HasLocation, p.Lat, p.Lon = true, r.Location.Lat, r.Location.Lon
	}
	return p
}

// twinOverride is an override as the twin sees it.
type twinOverride struct {
	prefix netip.Prefix
	place  geo.Place
}

// twinPlace gives the place of a block, or of a client that is wholly known
// with client valid.
func twinPlace(t *testing.T, databases []twinDatabase, overrides []twinOverride, block netip.Prefix, client netip.Addr) geo.Place {
	t.Helper()
	counts := map[geo.Place]int{}
	var order []geo.Place // by lowest address
	for i := range twinUnits {
		var merged geo.Place
		for _, d := range databases {
			merged = geo.Merge(merged, d.at(t, twinAddr(block, i)))
		}
		merged = merged.Finished()
		if counts[merged] == 0 {
			order = append(order, merged)
		}
		counts[merged]++
	}
	best := geo.Place{}
	for _, placed := range []bool{true, false} { // unplaced ones only where nothing is placed
		for _, p := range order {
			if p == (geo.Place{}) || p.Placed() != placed {
				continue
			}
			if best == (geo.Place{}) || best.Placed() == placed && counts[p] > counts[best] {
				best = p
			}
		}
	}
	var around []twinOverride
	for _, o := range overrides {
		if o.prefix.Overlaps(block) && (o.prefix.Bits() <= block.Bits() || client.IsValid() && o.prefix.Contains(client)) {
			around = append(around, o)
		}
	}
	slices.SortFunc(around, func(a, b twinOverride) int { return b.prefix.Bits() - a.prefix.Bits() })
	var merged geo.Place
	for _, o := range around {
		merged = geo.Merge(merged, o.place)
	}
	return geo.Merge(merged, best).Finished()
}

// twinAddr gives the first address of unit i of a block.
func twinAddr(block netip.Prefix, i int) netip.Addr {
	if block.Addr().Is4() {
		b := block.Addr().As4()
		b[3] = byte(i)
		return netip.AddrFrom4(b)
	}
	b := block.Addr().As16()
	b[7] = byte(i)
	return netip.AddrFrom16(b)
}

// twinWorld is a random small world: a few blocks of each family, in which
// databases and overrides put prefixes of all lengths.
type twinWorld struct{ rng *rand.Rand }

// prefix4 gives a prefix of at least lo bits within 16 blocks.
func (w twinWorld) prefix4(lo int) netip.Prefix {
	a := netip.AddrFrom4([4]byte{198, 51, byte(w.rng.IntN(16)), byte(w.rng.IntN(256))})
	return netip.PrefixFrom(a, lo+w.rng.IntN(33-lo)).Masked()
}

// prefix6 does so for IPv6, in /64s.
func (w twinWorld) prefix6(lo int) netip.Prefix {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], 0x2001_0db8_0000_0000|uint64(w.rng.IntN(16*256)))
	return netip.PrefixFrom(netip.AddrFrom16(b), lo+w.rng.IntN(65-lo)).Masked()
}

// place gives a random place out of few, so that they meet often.
func (w twinWorld) place() geo.Place {
	p := geo.Place{}
	switch w.rng.IntN(6) {
	case 0:
		p.Continent = pick(w.rng, "EU", "NA", "AS")
	case 1:
		p.Country = pick(w.rng, "DE", "FR", "US", "CY")
	case 2, 3, 4:
		p.Country = pick(w.rng, "DE", "FR", "US", "CY")
		p.Continent = geo.ContinentOf(p.Country)
		if p.Country == "CY" && w.rng.IntN(2) == 0 {
			p.Continent = "AS" // a matter of custom
		}
		p.Subdivision = pick(w.rng, "", "A", "B")
	}
	if w.rng.IntN(3) == 0 {
		p.HasLocation, p.Lat, p.Lon = true, float64(1+w.rng.IntN(3)), float64(w.rng.IntN(3))
	}
	if w.rng.IntN(3) == 0 {
		p.ASN = uint32(1 + w.rng.IntN(3))
	}
	return p
}

// pick gives one of some.
func pick[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

// TestTwinRandom compares compiled random worlds with the twin, block by block.
func TestTwinRandom(t *testing.T) {
	worlds := 60
	if os.Getenv("GEODNS_PROVE") == "1" {
		worlds = 3000
	}
	for seed := range worlds {
		if !t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { compareTwin(t, uint64(seed)) }) {
			return
		}
	}
}

// compareTwin makes the world of a seed and compares all of it.
func compareTwin(t *testing.T, seed uint64) {
	w := twinWorld{rand.New(rand.NewPCG(seed, 5))}
	var layers []*geo.Layer
	var databases []twinDatabase
	for range 1 + w.rng.IntN(3) {
		var networks []network
		for range w.rng.IntN(60) {
			networks = append(networks, network{w.prefix4(18).String(), w.place()}, network{w.prefix6(48).String(), w.place()})
		}
		networks = append(networks, network{"203.0.113.0/24", country("JP")}) // one that is never empty
		o := mmdbOptions{RecordSize: pick(w.rng, 24, 28, 32), IPVersion: pick(w.rng, 6, 6, 4)}
		if o.IPVersion == 4 {
			networks = slices.DeleteFunc(networks, func(n network) bool { return strings.Contains(n.prefix, ":") })
		}
		data := makeMMDB(t, o, networks...)
		reader, err := maxminddb.OpenBytes(data)
		if err != nil {
			t.Fatal(err)
		}
		layers, databases = append(layers, layerOf(t, "twin.mmdb", data)), append(databases, twinDatabase{reader})
	}
	overrides, text := w.overrides()
	n, fs := geo.Compile(layers, []byte(text))
	if len(fs) != 0 {
		t.Fatalf("%v\n%s", fs, text)
	}
	checkNetworks(t, n)
	for i := range 16 {
		block4 := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, byte(i), 0}), 24)
		var b [16]byte
		binary.BigEndian.PutUint64(b[:], 0x2001_0db8_0000_0000|uint64(i)<<8)
		block6 := netip.PrefixFrom(netip.AddrFrom16(b), 56)
		for _, block := range []netip.Prefix{block4, block6} {
			if got, want := n.At(block.Addr()), twinPlace(t, databases, overrides, block, netip.Addr{}); got != want {
				t.Errorf("%s\n got %+v\nwant %+v\n%s", block, got, want, text)
			}
		}
	}
	for _, l := range n.Long {
		bits := 24
		if l.Prefix.Addr().Is6() {
			bits = 56
		}
		block, _ := l.Prefix.Addr().Prefix(bits)
		within := slices.DeleteFunc(slices.Clone(overrides), func(o twinOverride) bool { return o.prefix.Bits() > l.Prefix.Bits() })
		if got, want := n.Places.At(l.Place), twinPlace(t, databases, within, block, l.Prefix.Addr()); got != want {
			t.Errorf("long %s\n got %+v\nwant %+v\n%s", l.Prefix, got, want, text)
		}
	}
}

// overrides gives random overrides and their file.
func (w twinWorld) overrides() ([]twinOverride, string) {
	var out []twinOverride
	seen := map[netip.Prefix]bool{}
	var text strings.Builder
	text.WriteString("overrides:\n")
	for range w.rng.IntN(20) {
		o := twinOverride{pick(w.rng, w.prefix4(18), w.prefix6(48)), w.place()}
		if o.place.Continent == "AS" && o.place.Country == "CY" || o.place.Country != "" && o.place.Continent == "" {
			o.place.Continent = geo.ContinentOf(o.place.Country) // as ParseCode wants it
		}
		if o.place == (geo.Place{}) || seen[o.prefix] {
			continue
		}
		seen[o.prefix] = true
		out = append(out, o)
		fmt.Fprintf(&text, "  - {prefix: '%s'", o.prefix)
		if code := o.place.Code(); code != (geo.Code{}) {
			text.WriteString(", geo: " + code.String())
		}
		if o.place.ASN != 0 {
			fmt.Fprintf(&text, ", asn: %d", o.place.ASN)
		}
		if o.place.HasLocation {
			fmt.Fprintf(&text, ", location: [%g, %g]", o.place.Lat, o.place.Lon)
		}
		text.WriteString("}\n")
	}
	return out, text.String()
}
