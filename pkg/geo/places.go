package geo

// Places is distinct places by number; number 0 is the zero Place. There are
// hundreds of thousands, kept as long as the databases are: so that a garbage
// collection need not look into them, each holds the numbers of its texts, which
// are few, in the place of strings. Immutable.
type Places struct {
	texts  []string // distinct; 0 is ""
	packed []packedPlace
}

// packedPlace is a Place without pointers.
type packedPlace struct {
	lat, lon                        float64
	continent, country, subdivision uint32 // indexes into texts
	asn                             uint32
	hasLocation                     bool
}

// NewPlaces keeps places in the order of the list, whose first is the zero Place.
func NewPlaces(list []Place) Places {
	out := Places{texts: []string{""}, packed: make([]packedPlace, len(list))}
	number := map[string]uint32{"": 0}
	text := func(s string) uint32 {
		n, have := number[s]
		if !have {
			n = uint32(len(out.texts))
			number[s] = n
			out.texts = append(out.texts, s)
		}
		return n
	}
	for i, p := range list {
		out.packed[i] = packedPlace{
			lat: p.Lat, lon: p.Lon, hasLocation: p.HasLocation, asn: p.ASN,
			continent: text(p.Continent), country: text(p.Country), subdivision: text(p.Subdivision),
		}
	}
	return out
}

// Len is how many there are.
func (p Places) Len() int { return len(p.packed) }

// At gives one by its number.
func (p Places) At(i uint32) Place {
	at := &p.packed[i]
	return Place{
		Continent: p.texts[at.continent], Country: p.texts[at.country], Subdivision: p.texts[at.subdivision],
		ASN: at.asn, HasLocation: at.hasLocation, Lat: at.lat, Lon: at.lon,
	}
}

// List gives all of them by number, as the caller's own.
func (p Places) List() []Place {
	out := make([]Place, len(p.packed))
	for i := range out {
		out[i] = p.At(uint32(i))
	}
	return out
}
