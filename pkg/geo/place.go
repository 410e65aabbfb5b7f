package geo

import "math"

// Place is what is known of a client network. The zero Place is one of which
// nothing is known. Places are equal (==) if all that is known is equal.
type Place struct {
	Continent   string // "EU", or "" if unknown
	Country     string // ISO 3166-1 alpha-2, or XK; or "" if unknown
	Subdivision string // ISO 3166-2 without the country ("BY"), or "" if unknown
	ASN         uint32 // number of the autonomous system, 0 if unknown
	HasLocation bool
	Lat, Lon    float64 // degrees, 0 without a location
}

// Placed says that a database (or an override) places the network: that its
// continent or country is known. A client that is not placed is `unknown`.
func (p Place) Placed() bool { return p.Continent != "" || p.Country != "" }

// Code gives the place as a geo code, the zero Code if it is not placed.
func (p Place) Code() Code {
	return Code{Continent: p.continent(), Country: p.Country, Subdivision: p.Subdivision}
}

// continent is the place's continent: the database's, else its country's by the
// built-in table.
func (p Place) continent() string {
	if p.Continent == "" {
		return ContinentOf(p.Country)
	}
	return p.Continent
}

// finished is the place with its continent filled in from its country, which is
// done after all databases were asked for it.
func (p Place) finished() Place {
	p.Continent = p.continent()
	return p
}

// merge puts one source's place a on top of the next one's, b: per field the
// first that knows wins. A field of b counts only if b agrees with what a knows
// of the fields that enclose it. Else a city of one country could end up with
// the coordinates, or the subdivision, of a city of another: a database that is
// wrong about the country is no witness for its details.
//
//   - continent: b's country must be a's, if both know one;
//   - country: its continent must be a's;
//   - subdivision: the country must be b's;
//   - location: country and subdivision must not differ;
//   - the ASN stands for itself.
//
// The result is not finished: merge all sources, then fill in the continent.
func merge(a, b Place) Place {
	if a.ASN == 0 {
		a.ASN = b.ASN
	}
	if !agree(a, b) {
		return a
	}
	if a.Continent == "" {
		a.Continent = b.Continent
	}
	if a.Country == "" {
		a.Country = b.Country
	}
	if a.Subdivision == "" && a.Country == b.Country {
		a.Subdivision = b.Subdivision
	}
	if !a.HasLocation && (a.Subdivision == b.Subdivision || b.Subdivision == "") {
		a.HasLocation, a.Lat, a.Lon = b.HasLocation, b.Lat, b.Lon
	}
	return a
}

// agree says whether two sources can mean the same place: the same country or,
// where one of them knows none, the same continent, or where one of them knows
// neither, anything.
func agree(a, b Place) bool {
	if a.Country != "" && b.Country != "" {
		return a.Country == b.Country
	}
	ca, cb := a.continent(), b.continent()
	return ca == "" || cb == "" || ca == cb
}

// isLocation says whether a latitude and longitude in degrees can be one. Null
// island (0, 0) lies at sea; databases write it for "not known".
func isLocation(lat, lon float64) bool {
	return math.Abs(lat) <= 90 && math.Abs(lon) <= 180 && (lat != 0 || lon != 0)
}

// positive turns -0 into 0, so that equal coordinates are equal bytes.
func positive(x float64) float64 { return x + 0 }

// interner numbers distinct places densely. Number 0 is the zero Place.
type interner struct {
	ids    map[Place]uint32
	places []Place
}

// newInterner returns one that knows the zero Place alone.
func newInterner() *interner {
	return &interner{ids: map[Place]uint32{{}: 0}, places: []Place{{}}}
}

// id gives the number of a place, a new one if it was not seen before.
func (in *interner) id(p Place) uint32 {
	if id, ok := in.ids[p]; ok {
		return id
	}
	id := uint32(len(in.places))
	in.ids[p] = id
	in.places = append(in.places, p)
	return id
}
