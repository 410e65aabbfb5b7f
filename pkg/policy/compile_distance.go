package policy

import (
	"math"
	"slices"

	"geodns/pkg/geo"
)

// atlas is where regions are.
type atlas struct {
	points []point // by Region.Index
	used   []int   // the Index of each that a layout ranks by distance
}

// newAtlas makes the atlas of a Document and hands it to the layouts, whose matchers are bound.
func newAtlas(doc *Document, layouts []*layout) *atlas {
	a := &atlas{points: make([]point, len(doc.Regions))}
	used := make([]bool, len(doc.Regions))
	for _, l := range layouts {
		l.atlas = a
		for i := range l.matchers {
			if m := &l.matchers[i]; m.distant {
				for _, g := range m.groups {
					used[g.region.Index] = true
				}
			}
		}
	}
	for i, r := range doc.Regions {
		if used[i] {
			a.points[i] = pointOf(r.Lat, r.Lon)
			a.used = append(a.used, i)
		}
	}
	return a
}

// view is how far regions are from a client, and what is measured of them.
type view struct {
	known bool
	from  string    // what is taken for the client's place
	km    []float64 // by Region.Index, of those that count

	latency []*measured // by latency options; nil: no rung knows
}

// viewFrom measures from a client, into room if that is large enough.
func (a *atlas) viewFrom(c *client, room []float64) view {
	at, from, ok := c.point()
	if !ok {
		return view{km: room}
	}
	v := view{known: true, from: from, km: slices.Grow(room[:0], len(a.points))[:len(a.points)]}
	for _, i := range a.used {
		v.km[i] = distance(at, a.points[i])
	}
	return v
}

// point is a place on the unit sphere.
type point [3]float64

// pointOf turns degrees into a point. Products are rounded by conversion before they are added, so that no machine
// fuses them and all nodes agree.
func pointOf(lat, lon float64) point {
	la, lo := lat*(math.Pi/180), lon*(math.Pi/180)
	return point{float64(math.Cos(la) * math.Cos(lo)), float64(math.Cos(la) * math.Sin(lo)), math.Sin(la)}
}

// earthRadius is the mean radius R1 of the Earth in kilometers (IUGG).
const earthRadius = 6371.0088

// distance is the great-circle distance in kilometers, to the nearest 100 m: places are not known better, and rounding
// hides last-bit differences between machines.
func distance(a, b point) float64 {
	var chord2 float64
	for i := range a {
		d := a[i] - b[i]
		chord2 += float64(d * d)
	}
	km := 2 * earthRadius * math.Asin(math.Min(1, math.Sqrt(chord2)/2))
	return math.Round(km*10) / 10
}

// point is where a client is: its own coordinates, else its country's middle, else its continent's; and which of them.
func (c *client) point() (p point, of string, ok bool) {
	if c.place.HasLocation {
		return pointOf(c.place.Lat, c.place.Lon), "the client", true
	}
	if lat, lon, ok := geo.CountryMiddle(c.place.Country); ok {
		return pointOf(lat, lon), "the middle of " + c.place.Country, true
	}
	if lat, lon, ok := geo.ContinentMiddle(c.place.Code().Continent); ok {
		return pointOf(lat, lon), "the middle of " + c.place.Code().Continent, true
	}
	return point{}, "", false
}
