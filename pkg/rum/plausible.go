package rum

import (
	"math"
	"net/netip"
	"time"
)

const (
	// fiberKilometersPerSecond is two thirds of the speed of light: what glass allows.
	fiberKilometersPerSecond = 200_000

	// placeSlack is how far from its place in the geo data a client may be, in kilometers. Places of mobile and business networks
	// are often those of a gateway or of a head office.
	placeSlack = 1000

	// earthRadius is the mean one, in kilometers.
	earthRadius = 6371

	// futureMax is how far in the future a sample may have been measured: two clocks differ by that much.
	futureMax = 5 * time.Second
)

// Location is where a region is.
type Location struct {
	Lat, Lon float64 // degrees
	Known    bool
}

// client reports whether an address can be that of a client on the Internet. The networks of documentation pass: nobody comes from
// one, and every example is of one.
func (c *Collector) client(a netip.Addr) bool {
	switch {
	case a.IsLoopback():
		return c.cfg.Loopback
	case !a.IsValid(), a.IsUnspecified(), a.IsPrivate(), a.IsMulticast(), a.IsLinkLocalUnicast():
		return false
	case a.Is4():
		b := a.As4()
		shared := b[0] == 100 && b[1]&0xc0 == 64 // RFC 6598
		// This network, the class E, and what IETF protocols use: RFC 6890.
		special := b[0] == 0 || b[0] >= 240 || b[0] == 192 && b[1] == 0 && b[2] == 0
		return !shared && !special
	}
	b := a.As16()
	return b[0]&0xe0 == 0x20 // the global unicast space, RFC 4291 section 2.4
}

// impossible reports whether no network is that fast between a place and a region, or no measurement that long.
func impossible(p *place, region Location, latency time.Duration) bool {
	if latency == 0 || latency > LatencyMax {
		return true
	}
	if !region.Known || math.IsNaN(float64(p.lat)) {
		return false
	}
	there := kilometers(float64(p.lat), float64(p.lon), region.Lat, region.Lon) - placeSlack
	return latency.Seconds() < 2*there/fiberKilometersPerSecond
}

// kilometers is the length of the great circle between two points (haversine).
func kilometers(latA, lonA, latB, lonB float64) float64 {
	const radians = math.Pi / 180
	sinLat := math.Sin((latB - latA) * radians / 2)
	sinLon := math.Sin((lonB - lonA) * radians / 2)
	h := sinLat*sinLat + math.Cos(latA*radians)*math.Cos(latB*radians)*sinLon*sinLon
	return 2 * earthRadius * math.Asin(math.Sqrt(min(h, 1)))
}
