package zone

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/miekg/dns"

	"geodns/internal/source"
)

// typeSTEER is the private-use type number of STEER (RFC 6895 section 3.1). Its rdata here is the policy's name.
const typeSTEER = 65400

// record is one resource record of a zone while it is loaded; 24 bytes, its rdata and name are in arenas.
type record struct {
	name  uint32 // id in the zone's tree
	ttl   uint32
	rdata uint32 // offset in the zone's rdata arena
	line  uint32
	typ   uint16
	rdLen uint16
	col   uint16 // cut off at 65535
	file  uint16 // index into the zone's files
}

// nameFlags say what a name of a zone is, beside the types that it has.
type nameFlags uint8

const (
	// flagCut: NS records, and not the apex.
	flagCut nameFlags = 1 << iota
	// flagDNAME: a DNAME record.
	flagDNAME
	// flagBelowCut: below a cut; cover is that cut, the highest.
	flagBelowCut
	// flagBelowDNAME: below a DNAME; cover is its owner.
	flagBelowDNAME
	// flagSteer: a STEER record.
	flagSteer
	// flagCNAME: a CNAME record.
	flagCNAME
	// flagShadow: at or below the apex of another zone that is loaded too, and answers instead.
	flagShadow
)

// zoneData is one zone while it is loaded: what its file says, then what the names are. After index it does not change.
type zoneData struct {
	origin []byte // folded
	text   string // origin in presentation form
	file   string
	files  []string // every file read: the zone's own, then the included ones
	tree   *tree
	recs   []record // in file order
	rdata  []byte
	fs     source.Findings
	errors int // found, more than fs holds past findingsMax

	// Set by index.
	start []uint32 // by name id: where its records begin in order; one more at the end
	order []uint32 // record indices by name id, then type, then file order
	flags []nameFlags
	cover []uint32 // by name id: the cut or DNAME owner that it is below, or none
	wild  []uint32 // by name id: its "*" child, or none

	// partial says that reading found errors, so that what seems to be missing may be among what was refused.
	partial bool

	// Set by link, when all zones are known.
	id       uint32               // its place among all zones, in canonical order
	parent   *zoneData            // the nearest loaded zone above, or nil
	children map[uint32]*zoneData // loaded zones just below, by the id of their apex here
	above    uint32               // set by compile: the piece with which parent answers DS at this zone's apex
}

// rrset is the records of one type at one name, in file order and without duplicates; never empty.
type rrset []uint32

// place gives a record's place.
func (z *zoneData) place(r *record) source.Place {
	return source.Place{File: z.files[r.file], Line: int(r.line), Col: int(r.col)}
}

// data gives a record's rdata.
func (z *zoneData) data(r *record) []byte { return z.rdata[r.rdata:][:r.rdLen:r.rdLen] }

// index groups the records by name and type and fills flags, cover and wild.
func (z *zoneData) index() {
	n := z.tree.len()
	z.start = make([]uint32, n+1)
	for i := range z.recs {
		z.start[z.recs[i].name+1]++
	}
	for i := range n {
		z.start[i+1] += z.start[i]
	}
	z.order = make([]uint32, len(z.recs))
	next := slices.Clone(z.start[:n])
	for i := range z.recs {
		id := z.recs[i].name
		z.order[next[id]] = uint32(i)
		next[id]++
	}
	z.flags, z.cover, z.wild = make([]nameFlags, n), make([]uint32, n), make([]uint32, n)
	kept := uint32(0)
	for id := range uint32(n) {
		group := z.order[z.start[id]:z.start[id+1]]
		if len(group) > 1 {
			slices.SortStableFunc(group, func(a, b uint32) int { return cmp.Compare(z.recs[a].typ, z.recs[b].typ) })
			group = z.normalize(group)
		}
		z.start[id] = kept
		kept += uint32(copy(z.order[kept:], group)) // over group itself, perhaps
		z.wild[id] = none
		z.inherit(id, z.order[z.start[id]:kept])
	}
	z.start[n] = kept
	z.order = z.order[:kept]
}

// normalize takes duplicates out of a name's sorted records and gives each RRset one TTL, its lowest, with a warning
// for each (RFC 2181 sections 5 and 5.2).
func (z *zoneData) normalize(group []uint32) []uint32 {
	out := group[:0]
	for i := 0; i < len(group); {
		first := &z.recs[group[i]]
		kept, seen := len(out), map[string]struct{}(nil)
		for ; i < len(group) && z.recs[group[i]].typ == first.typ; i++ {
			r := &z.recs[group[i]]
			if len(out)-kept == dedupeLinear {
				seen = make(map[string]struct{})
				for _, k := range out[kept:] {
					seen[z.canonical(&z.recs[k])] = struct{}{}
				}
			}
			if r.ttl != first.ttl && !ownTTL(r.typ) {
				low := min(r.ttl, first.ttl)
				z.warnf(z.place(r), "%s has TTL %d, others of its set have %d; all get %d", z.describe(r), r.ttl, first.ttl, low)
				for _, k := range out[kept:] {
					z.recs[k].ttl = low
				}
				r.ttl = low
			}
			if z.known(r, out[kept:], seen) {
				z.warnf(z.place(r), "%s stands twice with the same data; one is dropped", z.describe(r))
				continue
			}
			out = append(out, group[i])
		}
	}
	return out
}

// ownTTL says whether records of a type have the TTL of what they sign and so are no RRset (RFC 4035 section 2.2).
func ownTTL(typ uint16) bool { return typ == dns.TypeRRSIG || typ == dns.TypeSIG }

// dedupeLinear is the size up to which a set's members are compared one by one; larger sets get a map.
const dedupeLinear = 8

// known says whether a record's data is among set; seen, if there is one, holds the same data.
func (z *zoneData) known(r *record, set []uint32, seen map[string]struct{}) bool {
	if seen != nil {
		key := z.canonical(r)
		_, ok := seen[key]
		seen[key] = struct{}{}
		return ok
	}
	for _, k := range set {
		o := &z.recs[k]
		if o.rdLen == r.rdLen && (bytes.Equal(z.data(o), z.data(r)) || z.canonical(o) == z.canonical(r)) {
			return true
		}
	}
	return false
}

// canonical gives a record's data with its names folded (RFC 4034 section 6.2), to tell duplicates.
func (z *zoneData) canonical(r *record) string {
	data := slices.Clone(z.data(r))
	skip, names, ok := nameFields(r.typ)
	for off := skip; ok && names > 0 && off < len(data); names-- {
		end := off + nameLen(data[off:])
		fold(data[off:end])
		off = end
	}
	return string(data)
}

// describe names a record for a message: its owner and type.
func (z *zoneData) describe(r *record) string {
	return nameText(z.tree.name(r.name)) + " " + typeText(r.typ)
}

// errorf and warnf add a finding. Past findingsMax only the first error is still added: without it the load would pass.
func (z *zoneData) errorf(at source.Place, format string, a ...any) {
	if z.errors++; len(z.fs) < findingsMax || z.errors == 1 {
		z.fs.Errorf(at, format, a...)
	}
}

// warnf adds a warning, up to findingsMax.
func (z *zoneData) warnf(at source.Place, format string, a ...any) {
	if len(z.fs) < findingsMax {
		z.fs.Warnf(at, format, a...)
	}
}

// inherit sets a name's flags from its types and from its parent, whose own are set.
func (z *zoneData) inherit(id uint32, group []uint32) {
	for _, i := range group {
		switch z.recs[i].typ {
		case dns.TypeNS:
			if id != 0 {
				z.flags[id] |= flagCut
			}
		case dns.TypeDNAME:
			z.flags[id] |= flagDNAME
		case dns.TypeCNAME:
			z.flags[id] |= flagCNAME
		case typeSTEER:
			z.flags[id] |= flagSteer
		}
	}
	z.cover[id] = none
	if id == 0 {
		return
	}
	up := z.tree.up[id]
	z.flags[id] |= z.flags[up] & flagShadow
	if z.children[id] != nil {
		z.flags[id] |= flagShadow
	}
	if isWildcard(z.tree.name(id)) {
		z.wild[up] = id
	}
	switch f := z.flags[up]; {
	case f&(flagBelowCut|flagBelowDNAME) != 0:
		z.flags[id] |= f & (flagBelowCut | flagBelowDNAME)
		z.cover[id] = z.cover[up]
	case f&flagCut != 0:
		z.flags[id] |= flagBelowCut
		z.cover[id] = up
	case f&flagDNAME != 0:
		z.flags[id] |= flagBelowDNAME
		z.cover[id] = up
	}
}

// occluded says whether data at the name is hidden behind a cut or a DNAME above it.
func (z *zoneData) occluded(id uint32) bool { return z.flags[id]&(flagBelowCut|flagBelowDNAME) != 0 }

// sets calls f with every RRset at a name, by type number, until f gives false.
func (z *zoneData) sets(id uint32, f func(typ uint16, set rrset) bool) {
	group := z.order[z.start[id]:z.start[id+1]]
	for i := 0; i < len(group); {
		typ := z.recs[group[i]].typ
		j := i + 1
		for j < len(group) && z.recs[group[j]].typ == typ {
			j++
		}
		if !f(typ, rrset(group[i:j])) {
			return
		}
		i = j
	}
}

// set gives the RRset of one type at a name, nil if there is none.
func (z *zoneData) set(id uint32, typ uint16) rrset {
	var found rrset
	z.sets(id, func(t uint16, set rrset) bool {
		if t == typ {
			found = set
		}
		return t < typ
	})
	return found
}

// first gives the first record of a set.
func (z *zoneData) first(set rrset) *record { return &z.recs[set[0]] }

// hitKind is what a look-up in a zone ends at (RFC 1034 section 4.3.2 step 3).
type hitKind uint8

const (
	hitExact    hitKind = iota // the name itself, perhaps without data
	hitWildcard                // the wildcard that covers it (RFC 4592 section 3.3)
	hitNothing                 // its closest encloser, which has no "*" child: the name does not exist
	hitCut                     // a zone cut at it or above it
	hitDNAME                   // a DNAME above it
)

// lookup finds what stands for a folded name at or below the apex.
func (z *zoneData) lookup(name []byte) (uint32, hitKind) {
	id, exact := z.tree.closest(name)
	switch f := z.flags[id]; {
	case f&flagBelowCut != 0:
		return z.cover[id], hitCut
	case f&flagBelowDNAME != 0:
		return z.cover[id], hitDNAME
	case f&flagCut != 0:
		return id, hitCut
	case exact:
		return id, hitExact
	case f&flagDNAME != 0:
		return id, hitDNAME
	case z.wild[id] != none:
		return z.wild[id], hitWildcard
	}
	return id, hitNothing
}
