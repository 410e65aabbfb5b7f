package policy

import (
	"encoding/binary"
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
			if m := &l.matchers[i]; len(m.bands) > 0 {
				for _, r := range m.regions {
					used[l.regions[r].Index] = true
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

// sketcher makes sketches, using its room again and again.
type sketcher struct {
	order  []uint16  // regions, by the layout's number
	values []float64 // how far each is, in space or time
	out    []byte
}

// sketch is all that `nearest` and `latency` under one rule can tell of a view. Clients with one sketch, rule and map order have
// one plan. The next call overwrites what this one gives.
func (s *sketcher) sketch(l *layout, m *matcher, v view) []byte {
	s.out = s.out[:0]
	if len(m.bands) > 0 {
		s.begin()
		if v.known {
			for _, r := range m.regions {
				s.insert(r, v.km[l.regions[r].Index])
			}
		}
		s.end(m.bands)
	}
	for _, o := range m.latency {
		s.begin()
		band := 0.0
		if known := v.latency[o]; known != nil {
			band = known.band
			for _, r := range m.regions {
				if ms := known.value(l.regions[r].Index); !math.IsNaN(ms) {
					s.insert(r, ms)
				}
			}
		}
		s.end([]float64{band})
	}
	return s.out
}

// begin begins the part of one ranker.
func (s *sketcher) begin() { s.order, s.values = s.order[:0], s.values[:0] }

// insert enters a region by its value.
func (s *sketcher) insert(r uint16, value float64) { // by insertion: they are few, and this is done for each place on Earth
	s.order, s.values = append(s.order, r), append(s.values, value)
	for j := len(s.order) - 1; j > 0 && s.values[j] < s.values[j-1]; j-- {
		s.values[j], s.values[j-1] = s.values[j-1], s.values[j]
		s.order[j], s.order[j-1] = s.order[j-1], s.order[j]
	}
}

// end writes the regions in the order of their values, and for each band and region the last region that is within the band of it.
func (s *sketcher) end(bands []float64) {
	s.out = binary.BigEndian.AppendUint16(s.out, uint16(len(s.order)))
	for _, r := range s.order {
		s.out = binary.BigEndian.AppendUint16(s.out, r)
	}
	for _, band := range bands {
		end := 0
		for _, v := range s.values {
			for end < len(s.values) && withinBand(v, s.values[end], band) {
				end++
			}
			s.out = binary.BigEndian.AppendUint16(s.out, uint16(end))
		}
	}
}

// bandsOf lists the bands of a rule's `nearest` rankers, each once.
func bandsOf(r *Rule) (bands []float64) {
	for _, k := range r.Rank {
		if k.Kind == RankNearest && !slices.Contains(bands, k.Band) {
			bands = append(bands, k.Band)
		}
	}
	return bands
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
