//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// place is a country of the made-up geo database, or the lack of one.
type place struct {
	continent, country string
	weight             int // how much of the address space it has
}

// places lists the countries, the larger ones first in their continent.
func places() []place {
	list := []place{{weight: 20}} // networks that the database does not know
	for line := range strings.Lines(`NA US:400 CA:60 MX:40 PA:5 CR:5
		SA BR:80 AR:30 CL:15 CO:15 PE:10
		EU DE:90 GB:90 FR:80 NL:50 IT:50 RU:50 ES:40 SE:30 PL:30 CH:20 AT:15 FI:15 NO:15 CZ:10 PT:10
		AS CN:300 JP:180 KR:110 IN:70 TW:40 SG:30 VN:20 ID:20 TH:15 IL:10
		OC AU:50 NZ:10
		AF ZA:30 EG:20 NG:10 MA:10 KE:5`) {
		words := strings.Fields(line)
		for _, word := range words[1:] {
			p := place{continent: words[0], country: word[:2]}
			if _, err := fmt.Sscanf(word[3:], "%d", &p.weight); err != nil {
				panic(err) // the text above
			}
			list = append(list, p)
		}
	}
	return list
}

// ownCountries have an answer of their own; the others have their continent's, and who is in none has the default one.
func ownCountries() []string {
	return strings.Fields("US CA MX BR AR DE GB FR NL IT ES PL RU CN JP KR IN SG AU ZA")
}

// area is a line of the policy: the clients of a country, of a continent, or all others.
type area struct{ continent, country string }

// areas is the policy, the same for each server and each steered name. The first one is the default.
func areas() []area {
	list := []area{{}}
	for _, p := range places() {
		if p.continent != "" && !slices.Contains(list, area{continent: p.continent}) {
			list = append(list, area{continent: p.continent})
		}
	}
	for _, p := range places() {
		if slices.Contains(ownCountries(), p.country) {
			list = append(list, area{p.continent, p.country})
		}
	}
	return list
}

// areaOf gives the place in areas of who is in p.
func areaOf(list []area, p place) int {
	if i := slices.Index(list, area{p.continent, p.country}); i >= 0 {
		return i
	}
	return max(0, slices.Index(list, area{continent: p.continent}))
}

// name is the area's word in configurations: default, EU, EU-DE.
func (a area) name() string {
	switch {
	case a.country != "":
		return a.continent + "-" + a.country
	case a.continent != "":
		return a.continent
	}
	return "default"
}

// steeredAddress is what clients of an area are told at a steered name.
func steeredAddress(name, area int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(area), byte(name >> 8), byte(name)})
}

// client is a /24 that asks, with its area.
type client struct {
	prefix netip.Prefix
	area   int
}

// steeredWorkload is w2: A for steered names, each time for another client's subnet.
func steeredWorkload(dir string, s size, seed uint64) (*workload, error) {
	w := &workload{
		name: "w2", origin: "example.com", records: staticZone(s.hosts), database: filepath.Join(dir, "GeoLite2-City.mmdb"),
		about: fmt.Sprintf("%d steered names, an ECS option for a random client in each question", s.steered),
	}
	for i := range s.steered {
		w.steered = append(w.steered, fmt.Sprintf("geo%d", i))
	}
	clients, networks, err := writeDatabase(w.database, s, seed)
	if err != nil {
		return nil, fmt.Errorf("making the geo database: %w", err)
	}
	w.about += fmt.Sprintf(", a database of %d networks", networks)
	r := rand.New(rand.NewPCG(seed, streamSteered))
	for range s.questions {
		i, c := r.IntN(s.steered), clients[r.IntN(len(clients))]
		w.questions.add(w.steered[i]+"."+w.origin, typeA, c.prefix, wantAddress(steeredAddress(i, c.area), 1))
	}
	return w, nil
}

// database is one under construction.
type database struct {
	tree     *mmdbwriter.Tree
	random   *rand.Rand
	places   []place
	areas    []area
	wheel    []int // of places, each as often as its weight says
	cities   [][]mmdbtype.Map
	clients  []client
	networks int
}

// writeDatabase writes a City database of IPv4 networks from /16 to /24, and gives a sample of the clients that it places.
func writeDatabase(file string, s size, seed uint64) ([]client, int, error) {
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "GeoLite2-City", RecordSize: 28, Languages: []string{"en"}})
	if err != nil {
		return nil, 0, err
	}
	d := &database{tree: tree, random: rand.New(rand.NewPCG(seed, streamGeo)), places: places(), areas: areas()}
	for i, p := range d.places {
		for range p.weight {
			d.wheel = append(d.wheel, i)
		}
		d.cities = append(d.cities, d.makeCities(i, p, s.cities))
	}
	special := []int{10, 100, 127, 169, 172, 192, 198, 203} // with networks in them that are not the public's
	for first := 1; first < 224; first++ {
		for second := 0; second < 256; second += s.slash16 {
			if slices.Contains(special, first) {
				break
			}
			if err = d.split(uint32(first)<<24 | uint32(second)<<16); err != nil {
				return nil, 0, err
			}
		}
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, 0, err
	}
	b := bufio.NewWriter(f)
	_, err = tree.WriteTo(b)
	if err == nil {
		err = b.Flush()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return d.clients, d.networks, err
}

// makeCities makes the records of a place's cities, so many for each unit of its weight.
func (d *database) makeCities(number int, p place, each int) []mmdbtype.Map {
	if p.country == "" {
		return nil
	}
	name := func(text string) mmdbtype.Map { return mmdbtype.Map{"en": mmdbtype.String(text)} }
	continent := mmdbtype.Map{"code": mmdbtype.String(p.continent), "names": name(p.continent)}
	country := mmdbtype.Map{"iso_code": mmdbtype.String(p.country), "geoname_id": mmdbtype.Uint32(number), "names": name(p.country)}
	var list []mmdbtype.Map
	for i := range p.weight * each {
		list = append(list, mmdbtype.Map{
			"continent": continent, "country": country, "registered_country": country,
			"city":         mmdbtype.Map{"geoname_id": mmdbtype.Uint32(number*100_000 + i), "names": name(fmt.Sprintf("City %d of %s", i, p.country))},
			"subdivisions": mmdbtype.Slice{mmdbtype.Map{"iso_code": mmdbtype.String(fmt.Sprintf("S%d", i%10))}},
			"postal":       mmdbtype.Map{"code": mmdbtype.String(fmt.Sprintf("%05d", i))},
			"location": mmdbtype.Map{
				"latitude":  mmdbtype.Float64(float64(d.random.IntN(120_000))/1000 - 60),
				"longitude": mmdbtype.Float64(float64(d.random.IntN(360_000))/1000 - 180), "time_zone": mmdbtype.String("Etc/UTC"),
			},
		})
	}
	return list
}

const (
	// homePercent is how many of a /16's networks go to the country that has most of it.
	homePercent = 80
	// clientOneIn says which share of the networks has a client that asks.
	clientOneIn = 5
)

// split cuts a /16 into networks, and puts each into the database.
func (d *database) split(start uint32) error {
	home := d.wheel[d.random.IntN(len(d.wheel))]
	for at := uint32(0); at < 1<<16; {
		length := max(16, 15+d.random.IntN(10)) // up to 24; this gives 18 or so
		if at != 0 {
			length = max(length, 32-bits.TrailingZeros32(at)) // where it would not begin at a multiple of its size
		}
		where := home
		if d.random.IntN(100) >= homePercent {
			where = d.wheel[d.random.IntN(len(d.wheel))]
		}
		if err := d.insert(start+at, length, where); err != nil {
			return err
		}
		at += 1 << (32 - length)
	}
	return nil
}

// insert puts a network into the database, if its place is a country, and perhaps a client of it into the sample.
func (d *database) insert(start uint32, length, where int) error {
	if d.random.IntN(clientOneIn) == 0 {
		subnet := start | d.random.Uint32N(1<<(32-length))&^0xFF
		d.clients = append(d.clients, client{netip.PrefixFrom(address4(subnet), 24), areaOf(d.areas, d.places[where])})
	}
	cities := d.cities[where]
	if len(cities) == 0 {
		return nil
	}
	d.networks++
	network := &net.IPNet{IP: address4(start).AsSlice(), Mask: net.CIDRMask(length, 32)}
	return d.tree.Insert(network, cities[d.random.IntN(len(cities))])
}

func address4(v uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, v)))
}
