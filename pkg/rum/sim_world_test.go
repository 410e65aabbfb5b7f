package rum_test

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"geodns/pkg/geo"
	"geodns/pkg/rum"
)

// simData is a measured latency matrix (WonderProxy, "A day in the life of the Internet"), if it lies beside the checkout.
const simData = "../../../shared/data/latency"

// simNetworks and simClients are those of the whole simulation.
const simNetworks, simClients = 2000, 1_000_000

// simRegionNames are the sites that serve: eight, well spread.
var simRegionNames = []string{"Frankfurt", "Manhattan", "LosAngeles", "SaoPaulo", "Johannesburg", "Singapore", "Tokyo", "Sydney"}

// simSite is a place on the Internet whose way to every region is known. Times are in milliseconds.
type simSite struct {
	name, country, continent string
	lat, lon                 float64
	avg, mdev                []float64 // by region
}

// simNetwork is a client network, a /24. Times are in milliseconds.
type simNetwork struct {
	prefix  netip.Prefix
	place   geo.Place
	site    int
	clients float64
	base    []float64 // to each region, its own way there included
	mdev    []float64
	slow    []float64 // what came on top since the beginning
	jitter  float64   // mean, of its last mile
	near    []int     // regions by distance
	// resolver is the network by whose place and prefix its resolver is answered: its own with ECS, else that of the resolver.
	resolver int
	// single is the one region that would be best for all clients of its rung, by the rung's kind.
	single [simNone + 1]int
}

// simWorld is what there is to be measured.
type simWorld struct {
	sites     []simSite
	locations map[string]rum.Location
	networks  []simNetwork
	byPrefix  map[netip.Prefix]int
	measured  bool // by a real matrix
}

// newSimWorld spreads client networks with a million clients over the sites, or as many of both as the part says.
func newSimWorld(t testing.TB, random *rand.Rand, networks int, clients float64) *simWorld {
	w := &simWorld{locations: map[string]rum.Location{}, byPrefix: map[netip.Prefix]int{}}
	regions, sites, err := simMatrix(simData)
	if w.measured = err == nil; errors.Is(err, fs.ErrNotExist) {
		regions, sites = simSynthetic(random)
	} else if err != nil {
		t.Fatal(err)
	}
	for _, r := range regions {
		w.locations[r.name] = rum.Location{Lat: r.lat, Lon: r.lon, Known: true}
	}
	// Fewer networks are at fewer sites, so that ASNs and countries have as many as in the whole.
	random.Shuffle(len(sites), func(a, b int) { sites[a], sites[b] = sites[b], sites[a] })
	w.sites = sites[:min(len(sites), max(1, networks*len(sites)/simNetworks))]
	sum := 0.0
	for i := range networks {
		n := w.network(random, i, regions)
		sum += n.clients
		w.byPrefix[n.prefix] = i
		w.networks = append(w.networks, n)
	}
	resolvers := map[[2]int]int{} // by site and ASN
	for i := range w.networks {
		n := &w.networks[i]
		n.clients *= clients / sum
		at := [2]int{n.site, int(n.place.ASN)}
		if _, ok := resolvers[at]; !ok {
			resolvers[at] = i
		}
		// Half of the networks ask by a resolver that sends no ECS and whose cache all of the ASN's networks at that site share.
		if n.resolver = i; random.IntN(2) == 0 {
			n.resolver = resolvers[at]
		}
	}
	w.singles()
	return w
}

// singles finds the one region that is best for all clients of a rung.
func (w *simWorld) singles() {
	for kind := range simNone + 1 {
		rung := func(n *simNetwork) geo.Place {
			switch p := n.place; rum.RungKind(kind) {
			case rum.RungASN:
				return geo.Place{Country: p.Country, ASN: p.ASN}
			case rum.RungCountry:
				return geo.Place{Country: p.Country}
			case rum.RungContinent:
				return geo.Place{Continent: p.Continent}
			case rum.RungPrefix:
			}
			return n.place
		}
		sums := map[geo.Place][]float64{}
		for i := range w.networks {
			n := &w.networks[i]
			if sums[rung(n)] == nil {
				sums[rung(n)] = make([]float64, len(simRegionNames))
			}
			for r := range n.base {
				sums[rung(n)][r] += n.clients * n.mean(r)
			}
		}
		for i := range w.networks {
			sum := sums[rung(&w.networks[i])]
			w.networks[i].single[kind] = slices.Index(sum, slices.Min(sum))
		}
	}
}

// network makes a client network at a random site.
func (w *simWorld) network(random *rand.Rand, i int, regions []simSite) simNetwork {
	at := random.IntN(len(w.sites))
	site := &w.sites[at]
	n := simNetwork{
		prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 0}), 24),
		site:   at,
		mdev:   site.mdev,
		slow:   make([]float64, len(regions)),
		// Sizes of networks are about log-normal: many small ones, which have to live on their ASN's or country's rung.
		clients: math.Exp(random.NormFloat64()),
		jitter:  1 + 4*random.Float64(),
		place: geo.Place{
			Continent: site.continent, Country: site.country, HasLocation: true,
			Lat: site.lat + random.Float64()/2, Lon: site.lon + random.Float64()/2,
		},
	}
	// Half are of a provider of that site alone, half of one of three that the whole country has.
	if n.place.ASN = uint32(1000 + at); random.IntN(2) == 0 {
		n.place.ASN = uint32(5000 + 1000*(int(site.country[0])*26+int(site.country[1])) + random.IntN(3))
	}
	access := 1 + random.ExpFloat64()*4
	for r := range regions {
		n.base = append(n.base, access+site.avg[r]*(1+math.Abs(random.NormFloat64())*0.03))
	}
	if random.IntN(20) == 0 { // a bad route of its own
		n.base[random.IntN(len(regions))] += 20 + 60*random.Float64()
	}
	n.near = make([]int, len(regions))
	for r := range n.near {
		n.near[r] = r
	}
	slices.SortFunc(n.near, func(a, b int) int {
		return cmp.Compare(simKilometers(n.place.Lat, n.place.Lon, regions[a].lat, regions[a].lon),
			simKilometers(n.place.Lat, n.place.Lon, regions[b].lat, regions[b].lon))
	})
	return n
}

// mean is what a client of the network has to wait for a region in the mean, but for what is the same for all regions.
func (n *simNetwork) mean(region int) float64 {
	return n.base[region] + n.slow[region] + n.mdev[region]*math.Sqrt(2/math.Pi)
}

// best is the region with the least mean.
func (n *simNetwork) best() int {
	best := 0
	for r := range n.base {
		if n.mean(r) < n.mean(best) {
			best = r
		}
	}
	return best
}

// simNoise is the luck of one request, whichever region it goes to.
type simNoise struct{ core, access, tail float64 }

// newSimNoise draws the luck of a request: of 50 one waits long, for a retransmission or a busy device.
func newSimNoise(random *rand.Rand) simNoise {
	noise := simNoise{core: math.Abs(random.NormFloat64()), access: random.ExpFloat64()}
	if random.IntN(50) == 0 {
		noise.tail = min(20*math.Pow(random.Float64(), -1/1.5), 2000) // Pareto
	}
	return noise
}

// latency is what a request from the network to a region takes, in milliseconds.
func (n *simNetwork) latency(region int, noise simNoise) float64 {
	return n.base[region] + n.slow[region] + noise.core*n.mdev[region] + noise.access*n.jitter + noise.tail
}

// simKilometers is the length of the great circle between two points (haversine).
func simKilometers(latA, lonA, latB, lonB float64) float64 {
	const radians, diameter = math.Pi / 180, 2 * 6371
	sinLat, sinLon := math.Sin((latB-latA)*radians/2), math.Sin((lonB-lonA)*radians/2)
	h := sinLat*sinLat + math.Cos(latA*radians)*math.Cos(latB*radians)*sinLon*sinLon
	return diameter * math.Asin(math.Sqrt(min(h, 1)))
}

// simMatrix reads the measured matrix in a folder: the regions, and the other sites that know the way to all of them.
func simMatrix(folder string) (regions, sites []simSite, err error) {
	servers, err := simCSV(folder, "servers-*.csv")
	if err != nil {
		return nil, nil, err
	}
	pings, err := simCSV(folder, "pings-*.csv")
	if err != nil {
		return nil, nil, err
	}
	ids, byID, countries := map[string]int{}, map[string]*simSite{}, map[string]string{}
	for _, line := range servers[1:] {
		id, country := line[0], line[5]
		if countries[country] == "" { // two letters for each country, by order of appearance
			countries[country] = string([]byte{'A' + byte(len(countries)/26), 'A' + byte(len(countries)%26)})
		}
		s := &simSite{name: line[1], country: countries[country], avg: make([]float64, len(simRegionNames)), mdev: make([]float64, len(simRegionNames))}
		if s.lat, err = strconv.ParseFloat(line[8], 64); err == nil {
			s.lon, err = strconv.ParseFloat(line[9], 64)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("coordinates of server %q: %w", id, err)
		}
		s.continent = simContinent(line[7], s.lat, s.lon)
		byID[id] = s
		if r := slices.Index(simRegionNames, s.name); r >= 0 {
			ids[id] = r
		}
	}
	if len(ids) != len(simRegionNames) {
		return nil, nil, fmt.Errorf("%d sites of %v in %s", len(ids), simRegionNames, folder)
	}
	for _, line := range pings[1:] {
		r, ok := ids[line[1]]
		if s := byID[line[0]]; ok && s != nil && line[3] != "" && line[5] != "" {
			if s.avg[r], err = strconv.ParseFloat(line[3], 64); err == nil {
				s.mdev[r], err = strconv.ParseFloat(line[5], 64)
			}
			if err != nil {
				return nil, nil, fmt.Errorf("ping of %q to %q: %w", line[0], line[1], err)
			}
		}
	}
	regions = make([]simSite, len(simRegionNames))
	for _, line := range servers[1:] {
		s := byID[line[0]]
		if r, ok := ids[line[0]]; ok {
			regions[r] = *s
		} else if !slices.Contains(s.avg, 0) {
			sites = append(sites, *s)
		}
	}
	return regions, sites, nil
}

// simCSV reads the one file of a pattern in a folder.
func simCSV(folder, pattern string) ([][]string, error) {
	names, err := filepath.Glob(filepath.Join(folder, pattern))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s in %s: %w", pattern, folder, fs.ErrNotExist)
	}
	f, err := os.Open(names[0])
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return csv.NewReader(f).ReadAll()
}

// simContinent gives a continent's code for the number in the file, which has one for Europe and Asia.
func simContinent(number string, lat, lon float64) string {
	switch number {
	case "1":
		return "NA"
	case "2":
		return "SA"
	case "4":
		return "OC"
	case "5":
		return "AF"
	}
	if lon < 45 && lat > 35 {
		return "EU"
	}
	return "AS"
}

// simCenters are where people live in a world that nobody measured. The first eight are the regions.
var simCenters = []simSite{
	{name: "Frankfurt", country: "DE", continent: "EU", lat: 50.1, lon: 8.7},
	{name: "Manhattan", country: "US", continent: "NA", lat: 40.8, lon: -74},
	{name: "LosAngeles", country: "US", continent: "NA", lat: 34, lon: -118},
	{name: "SaoPaulo", country: "BR", continent: "SA", lat: -23.6, lon: -46.6},
	{name: "Johannesburg", country: "ZA", continent: "AF", lat: -26, lon: 28},
	{name: "Singapore", country: "SG", continent: "AS", lat: 1.3, lon: 103.8},
	{name: "Tokyo", country: "JP", continent: "AS", lat: 35.7, lon: 139.8},
	{name: "Sydney", country: "AU", continent: "OC", lat: -33.9, lon: 151.2},
	{name: "London", country: "GB", continent: "EU", lat: 51.5, lon: 0},
	{name: "Madrid", country: "ES", continent: "EU", lat: 40.4, lon: -3.7},
	{name: "Istanbul", country: "TR", continent: "EU", lat: 41, lon: 29},
	{name: "Moscow", country: "RU", continent: "EU", lat: 55.8, lon: 37.6},
	{name: "Mumbai", country: "IN", continent: "AS", lat: 19, lon: 73},
	{name: "Delhi", country: "IN", continent: "AS", lat: 28.6, lon: 77.2},
	{name: "Dubai", country: "AE", continent: "AS", lat: 25.3, lon: 55.3},
	{name: "Seoul", country: "KR", continent: "AS", lat: 37.6, lon: 127},
	{name: "Jakarta", country: "ID", continent: "AS", lat: -6.2, lon: 106.8},
	{name: "Perth", country: "AU", continent: "OC", lat: -32, lon: 115.9},
	{name: "Auckland", country: "NZ", continent: "OC", lat: -36.8, lon: 174.8},
	{name: "Lagos", country: "NG", continent: "AF", lat: 6.5, lon: 3.4},
	{name: "Cairo", country: "EG", continent: "AF", lat: 30, lon: 31.2},
	{name: "Nairobi", country: "KE", continent: "AF", lat: -1.3, lon: 36.8},
	{name: "Dallas", country: "US", continent: "NA", lat: 32.8, lon: -96.8},
	{name: "Toronto", country: "CA", continent: "NA", lat: 43.7, lon: -79.4},
	{name: "Mexico City", country: "MX", continent: "NA", lat: 19.4, lon: -99.1},
	{name: "Bogota", country: "CO", continent: "SA", lat: 4.7, lon: -74.1},
	{name: "Santiago", country: "CL", continent: "SA", lat: -33.4, lon: -70.7},
}

// simSynthetic makes a matrix up: sites about the centers, and detours as glass makes them.
func simSynthetic(random *rand.Rand) (regions, sites []simSite) {
	const sitesEach, degrees, kilometersPerMillisecond = 8, 4, 200
	regions = slices.Clone(simCenters[:len(simRegionNames)])
	for _, center := range simCenters {
		for range sitesEach {
			s := center
			s.lat, s.lon = s.lat+degrees*(random.Float64()-0.5), s.lon+degrees*(random.Float64()-0.5)
			for _, r := range regions {
				detour := 1.2 + 0.4*random.ExpFloat64()
				s.avg = append(s.avg, 1+2*simKilometers(s.lat, s.lon, r.lat, r.lon)/kilometersPerMillisecond*detour)
				s.mdev = append(s.mdev, 0.3+random.ExpFloat64())
			}
			sites = append(sites, s)
		}
	}
	return regions, sites
}
