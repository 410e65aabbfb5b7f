package zone

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"path"

	"github.com/miekg/dns"
)

// A name's record in the arena, in little-endian order, aligned to 4:
//
//	 0 uint8   length of the name
//	 1 uint8   unused
//	 2 uint16  flags
//	 4 uint32  zone
//	 8 uint32  reference: below a cut or at it, the cut's referral; below a DNAME, the DNAME owner's record; at that, the
//	           record of its target or of the target's closest encloser; else the record of the "*" child; 0: none
//	12 uint16  types in the directory
//	14 uint16  unused
//	16         the name, folded, padded to 4
//	           uint32 policy, uint32 TTL if recSteer
//	           the directory: uint16 type, uint16 unused, uint32 piece; by type number
//
// References are offsets in units of 4 bytes. Two numbers that are no types of records stand in directories beside types.
const (
	recOutside  = 1 << iota // above a zone, in none
	recReferral             // at or below a cut: every type but those in the directory is referred
	recHidden               // below a DNAME
	recDNAME                // has a DNAME: names below it are redirected
	recWildcard             // has a "*" child, unless one of the above
	recSteer                // steered
	recCNAME                // has a CNAME: the directory has a default
	recData                 // has records
	recAboveDS              // the apex of a zone whose DS records are in another zone's hands, loaded too
	recSOA                  // its directory has an answer for what does not exist at or below it
)

const (
	// typeRest is, at a CNAME, the answer for every type that is not in the directory.
	typeRest = 0
	// typeNothing is the answer for what does not exist at or below a name, where it is not the zone's usual one.
	typeNothing = dns.TypeOPT
)

// Offsets in a record.
const (
	recordFlags = 2
	recordZone  = 4
	recordRef   = 8
	recordTypes = 12
	recordName  = 16
	entrySize   = 8
)

// noZone is the zone of a name in none.
const noZone = ^uint32(0)

// compiler writes the arena of a Set.
type compiler struct {
	all      *zones
	enc      encoder
	arena    []byte
	names    []uint32 // references of all names' records
	soa      []uint32 // by zone: reference of the piece for names or types that do not exist
	policies []string
	policyID map[string]uint32
	steers   []Steer

	// For the zone at hand, by name id.
	records   []uint32
	referrals []uint32
	entries   []entry // of the name at hand
	owned     []int   // by zone: how many names
}

// entry is a line of a name's directory.
type entry struct {
	typ   uint16
	piece uint32
}

// errArena refuses zones that are too large together.
var errArena = fmt.Errorf("the compiled answers are larger than %d bytes", uint64(arenaMax))

// errCompile says that findings were added to a zone.
var errCompile = errors.New("a zone has errors")

// compile turns checked zones into a Set. An error is errCompile where zones got findings.
func compile(all *zones, h hasher, dir string) (*Set, error) {
	c := &compiler{all: all, policyID: map[string]uint32{}, arena: make([]byte, 4)}
	for _, z := range all.list {
		c.negative(z)
	}
	c.outside(h)
	for _, z := range all.list {
		if err := c.zone(z); err != nil {
			return nil, err
		}
	}
	for _, z := range all.list {
		if z.errors > 0 {
			return nil, errCompile
		}
	}
	s := &Set{arena: bytes.Clone(c.arena), soa: c.soa, policies: c.policies, steers: c.steers}
	for i, z := range all.list {
		s.zones = append(s.zones, z.info(dir, c.owned[i]))
	}
	for i := range s.steers {
		s.steers[i].Place.File = path.Join(dir, s.steers[i].Place.File)
	}
	s.id = c.id()
	if !s.build(c.names, h) {
		return nil, errors.New("no hash table with short runs was found")
	}
	s.root = s.find([]byte{0})
	s.linkDNAMEs(c.names)
	return s, nil
}

// linkDNAMEs notes at each DNAME what decides about names below its target, which is asked for each question below it.
func (s *Set) linkDNAMEs(names []uint32) {
	for _, rec := range names {
		if s.flags(rec)&recDNAME == 0 {
			continue
		}
		p := s.arena[4*uint64(s.entry(rec, dns.TypeDNAME)):]
		target := folded(pieceWire(p)[min(len(s.name(rec)), 2)+10:])
		to := s.find(target)
		if to == 0 {
			to = s.closest(target, labelCount(target))
		}
		binary.LittleEndian.PutUint32(s.arena[4*uint64(rec)+recordRef:], to)
	}
}

// id is the hash of all that answers are made of.
func (c *compiler) id() (id [8]byte) {
	h := sha256.New()
	h.Write(c.arena)
	for _, p := range c.policies {
		fmt.Fprintf(h, "%d %s\n", len(p), p)
	}
	copy(id[:], h.Sum(nil))
	return id
}

// ref gives the reference of the arena's end.
func (c *compiler) ref() uint32 { return uint32(len(c.arena) / 4) }

// piece appends the encoder's piece and gives its reference.
func (c *compiler) piece() uint32 {
	var off uint64
	c.arena, off = c.enc.appendTo(c.arena)
	return uint32(off / 4)
}

// authority appends the SOA of a negative answer, whose TTL is the lower of its own and its MINIMUM (RFC 2308 section 3).
func (c *compiler) authority(z *zoneData) {
	r := z.first(z.set(0, dns.TypeSOA))
	data := z.data(r)
	c.enc.record(sectionAuthority, rr{z.origin, r.typ, min(r.ttl, binary.BigEndian.Uint32(data[len(data)-4:])), data})
}

// negative compiles a zone's one answer for all that does not exist. Whether its rcode is NXDOMAIN, Answer knows.
func (c *compiler) negative(z *zoneData) {
	c.enc.begin(z.origin, true)
	c.authority(z)
	c.soa = append(c.soa, c.piece())
}

// negativeAt gives the piece for what does not exist at or below a name: the zone's, or one of its own if more of the name stands
// in the SOA than the zone's origin. Then own is true.
func (c *compiler) negativeAt(z *zoneData, name []byte) (ref uint32, own bool) {
	covered := name
	if isWildcard(name) {
		covered = parent(name)
	}
	data := z.data(z.first(z.set(0, dns.TypeSOA)))
	mname := folded(data[:nameLen(data)])
	rname := folded(data[len(mname):][:nameLen(data[len(mname):])])
	if len(z.origin) >= max(shared(covered, mname), shared(covered, rname)) {
		return c.soa[z.id], false
	}
	c.enc.begin(name, !isWildcard(name))
	c.authority(z)
	return c.piece(), true
}

// shared gives the length of the longest name that two names are at or below.
func shared(a, b []byte) int {
	for !bytes.Equal(a, b) {
		if len(a) > len(b) {
			a = parent(a)
		} else {
			b = parent(b)
		}
	}
	return len(a)
}

// outside writes a record for every name above a zone that is in none, so that a name exists if one below it does.
func (c *compiler) outside(h hasher) {
	above := newTree(h, []byte{0})
	for _, z := range c.all.list {
		above.intern(z.origin)
	}
	for id := range uint32(above.len()) {
		if name := above.name(id); c.all.find(name) == nil {
			c.record(name, recOutside, noZone, 0, nil)
		}
	}
}

// record writes a name's record and notes it for the hash table.
func (c *compiler) record(name []byte, flags uint16, zone, ref uint32, steer *steerEnd) uint32 {
	at := c.ref()
	c.names = append(c.names, at)
	le := binary.LittleEndian
	c.arena = append(c.arena, byte(len(name)), 0)
	c.arena = le.AppendUint16(c.arena, flags)
	c.arena = le.AppendUint32(c.arena, zone)
	c.arena = le.AppendUint32(c.arena, ref)
	c.arena = le.AppendUint32(c.arena, uint32(len(c.entries)))
	c.arena = align(append(c.arena, name...))
	if steer != nil {
		c.arena = le.AppendUint32(le.AppendUint32(c.arena, steer.policy), steer.ttl)
	}
	for _, e := range c.entries {
		c.arena = le.AppendUint32(le.AppendUint32(c.arena, uint32(e.typ)), e.piece)
	}
	return at
}

// zone compiles one zone: the names that it owns, each behind its answers. Parents come before their children, so what is
// inherited is known; wildcards come after their parents, whose records are completed then.
func (c *compiler) zone(z *zoneData) error {
	n := uint32(z.tree.len())
	c.records, c.referrals = make([]uint32, n), make([]uint32, n)
	owned := 0
	for id := range n {
		if z.flags[id]&(flagCut|flagBelowCut) == flagCut {
			c.referrals[id] = c.referral(z, id)
		}
		if !z.owns(id) {
			continue
		}
		owned++
		c.name(z, id)
		if len(c.arena) > arenaMax-1<<20 {
			return errArena
		}
		if up := z.tree.up[id]; z.wild[up] == id && up != id {
			c.patchWildcard(c.records[up], c.records[id])
		}
	}
	c.owned = append(c.owned, owned)
	for _, child := range z.children {
		child.above = c.aboveDS(z, child)
	}
	return nil
}

// patchWildcard sets the reference of a name to its "*" child, if the name answers below itself.
func (c *compiler) patchWildcard(up, child uint32) {
	rec := c.arena[4*uint64(up):]
	if flags := binary.LittleEndian.Uint16(rec[recordFlags:]); flags&(recReferral|recHidden|recDNAME) == 0 {
		binary.LittleEndian.PutUint16(rec[recordFlags:], flags|recWildcard)
		binary.LittleEndian.PutUint32(rec[recordRef:], child)
	}
}

// name compiles one name: its answers, then its record.
func (c *compiler) name(z *zoneData, id uint32) {
	c.entries = c.entries[:0]
	f := z.flags[id]
	name := z.tree.name(id)
	flags, ref := uint16(0), uint32(0)
	switch {
	case f&flagBelowCut != 0:
		c.records[id] = c.record(name, recReferral, z.id, c.referralAt(z, z.cover[id], name), nil)
		return
	case f&flagBelowDNAME != 0:
		c.records[id] = c.record(name, recHidden, z.id, c.records[z.cover[id]], nil)
		return
	case f&flagCut != 0:
		flags, ref = recReferral, c.referrals[id]
		c.entries = append(c.entries, entry{dns.TypeDS, c.delegatedDS(z, id)})
	case f&flagCNAME != 0:
		flags = recCNAME | recData
		c.cname(z, id)
	default:
		c.sets(z, id)
		if z.start[id] != z.start[id+1] {
			flags = recData
		}
	}
	if f&flagCut == 0 {
		if piece, own := c.negativeAt(z, name); own {
			flags |= recSOA
			c.setEntry(typeNothing, piece)
		}
	}
	if f&flagDNAME != 0 && flags&recReferral == 0 {
		flags |= recDNAME
	}
	if id == 0 && z.parent != nil {
		c.setEntry(dns.TypeDS, z.above)
		flags |= recAboveDS
	}
	var steer *steerEnd
	if f&flagSteer != 0 {
		flags |= recSteer
		steer = c.steer(z, id, nil)
		c.listSteer(z, id, steer)
	}
	c.records[id] = c.record(name, flags, z.id, ref, steer)
}

// setEntry puts a piece into the directory, in the place of what is there for the type.
func (c *compiler) setEntry(typ uint16, piece uint32) {
	for i, e := range c.entries {
		if e.typ == typ {
			c.entries[i].piece = piece
			return
		}
		if e.typ > typ {
			c.entries = append(c.entries[:i], append([]entry{{typ, piece}}, c.entries[i:]...)...)
			return
		}
	}
	c.entries = append(c.entries, entry{typ, piece})
}

// answers appends an RRset to the encoder's answer.
func (c *compiler) answers(z *zoneData, owner []byte, set rrset) {
	for _, i := range set {
		r := &z.recs[i]
		c.enc.record(sectionAnswer, rr{owner, r.typ, r.ttl, z.data(r)})
	}
}

// sets compiles the RRsets at a name.
func (c *compiler) sets(z *zoneData, id uint32) {
	name := z.tree.name(id)
	z.sets(id, func(typ uint16, set rrset) bool {
		if typ == typeSTEER {
			return true
		}
		c.set(z, name, typ, set)
		return true
	})
}

// set compiles one RRset at a name and appends it to the directory.
func (c *compiler) set(z *zoneData, name []byte, typ uint16, set rrset) {
	c.enc.begin(name, !isWildcard(name))
	c.answers(z, nil, set)
	if !c.enc.fits() {
		c.tooBig(z, z.first(set))
		return
	}
	c.entries = append(c.entries, entry{typ, c.piece()})
}

// tooBig notes that an RRset, or the chain that begins with it, does not fit into a message.
func (c *compiler) tooBig(z *zoneData, r *record) {
	z.errorf(z.place(r), "the answer for %s is larger than a message of %d bytes", z.describe(r), msgMax)
}

// referral compiles the answer for what is at or below a cut: the NS set, then the glue that must be there, that of name
// servers below the cut (RFC 9471 section 2), then other addresses that the zone has, which may be left out.
func (c *compiler) referral(z *zoneData, cut uint32) uint32 {
	return c.referralFor(z, cut, z.tree.name(cut))
}

// referralFor compiles it for questions at or below a name at or below the cut.
func (c *compiler) referralFor(z *zoneData, cut uint32, name []byte) uint32 {
	c.enc.begin(name, true)
	c.enc.flags = 0
	c.delegation(z, cut)
	if !c.enc.fits() {
		if len(name) == len(z.tree.name(cut)) { // else it is noted already
			c.tooBig(z, z.first(z.set(cut, dns.TypeNS)))
		}
		return 0
	}
	return c.piece()
}

// referralAt gives the referral for a name below a cut: one of its own, if more of it stands in there than the cut.
func (c *compiler) referralAt(z *zoneData, cut uint32, name []byte) uint32 {
	for _, i := range z.set(cut, dns.TypeNS) {
		if r := &z.recs[i]; shared(name, folded(target(r.typ, z.data(r)))) > len(z.tree.name(cut)) {
			return c.referralFor(z, cut, name)
		}
	}
	return c.referrals[cut]
}

// delegation appends a cut's NS set and addresses to the encoder's piece.
func (c *compiler) delegation(z *zoneData, cut uint32) {
	name := z.tree.name(cut)
	var near, far [][]byte
	set := z.set(cut, dns.TypeNS)
	for _, i := range set {
		r := &z.recs[i]
		c.enc.record(sectionAuthority, rr{name, r.typ, r.ttl, z.data(r)})
		host := folded(target(r.typ, z.data(r)))
		switch {
		case within(host, name):
			near = append(near, host)
		case within(host, z.origin):
			far = append(far, host)
		}
	}
	for _, host := range near {
		c.addresses(z, host)
	}
	c.enc.require()
	for _, host := range far {
		mark := c.enc.mark()
		c.addresses(z, host)
		if !c.enc.fits() {
			c.enc.rewind(mark)
			return
		}
	}
}

// addresses appends a host's addresses to the additional section.
func (c *compiler) addresses(z *zoneData, host []byte) {
	id := z.tree.find(host)
	if id == none {
		return
	}
	for _, typ := range []uint16{dns.TypeA, dns.TypeAAAA} {
		for _, i := range z.set(id, typ) {
			r := &z.recs[i]
			c.enc.record(sectionAdditional, rr{host, r.typ, r.ttl, z.data(r)})
		}
	}
}

// delegatedDS compiles the answer for DS at a cut, which is this side's to give (RFC 4035 section 3.1.4.1).
func (c *compiler) delegatedDS(z *zoneData, id uint32) uint32 {
	set := z.set(id, dns.TypeDS)
	if set == nil {
		ref, _ := c.negativeAt(z, z.tree.name(id))
		return ref
	}
	c.enc.begin(z.tree.name(id), true)
	c.answers(z, nil, set)
	if !c.enc.fits() {
		c.tooBig(z, z.first(set))
		return 0
	}
	return c.piece()
}

// aboveDS compiles the answer of a zone for DS at the apex of a loaded zone below it. A CNAME there, where a delegation should
// be, is not followed.
func (c *compiler) aboveDS(z, child *zoneData) uint32 {
	id := z.tree.find(child.origin)
	switch f := z.flags[id]; {
	case f&flagBelowCut != 0:
		return c.referralAt(z, z.cover[id], child.origin)
	case f&flagCNAME == 0:
		return c.delegatedDS(z, id)
	}
	return c.soa[z.id]
}

// steer gives what a Steered reply says of a name: its policy, known by a number from now on.
func (c *compiler) steer(z *zoneData, id uint32, name []byte) *steerEnd {
	r := z.first(z.set(id, typeSTEER))
	policy := string(z.data(r))
	n, ok := c.policyID[policy]
	if !ok {
		n = uint32(len(c.policies))
		c.policyID[policy] = n
		c.policies = append(c.policies, policy)
	}
	return &steerEnd{policy: n, ttl: r.ttl, name: name}
}

// listSteer notes a STEER record for Steers.
func (c *compiler) listSteer(z *zoneData, id uint32, end *steerEnd) {
	r := z.first(z.set(id, typeSTEER))
	c.steers = append(c.steers, Steer{
		Policy: c.policies[end.policy], Owner: nameText(z.tree.name(id)), Zone: z.text, TTL: end.ttl,
		Place: z.place(r), Apex: id == 0, Alone: z.start[id+1]-z.start[id] == 1,
	})
}
