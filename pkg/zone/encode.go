package zone

import (
	"bytes"
	"encoding/binary"

	"github.com/miekg/dns"
)

// A piece is one compiled answer: counts and flags, then wire bytes that begin right behind a question, then the places
// of its compression pointers. The bytes are compiled as if the question's name had base octets, so that for a question of
// that length they are copied as they are. Pointers are of three classes:
//
//   - to the question's name, C00C: never changed while the question is at offset 12;
//   - to a suffix of it (list suffix), and into the piece itself (list self): they move by as much as the name is longer.
//
// A piece may also follow a name that stands elsewhere in the message, whole: the target of a synthesized CNAME. Then the
// first lead records get a pointer to that name as their owner, and the two lists move by different distances.
//
// Layout, in little-endian order, aligned to 4:
//
//	 0 uint8   flags
//	 1 uint8   rcode
//	 2 uint8   base
//	 4 uint16  wire length
//	 6 uint16  answer records
//	-- the wire bytes follow here if pieceSimple; then all records are answers, led by the question's name, without pointers
//	 8 uint16  authority records
//	10 uint16  additional records
//	12 uint16  length of the wire that must fit; what is behind it may be left out as a whole
//	14 uint16  additional records within that length
//	16 uint16  lead
//	18 uint16  suffix pointers
//	20 uint16  self pointers
//	22 uint16  pieceSteer: pointer to the steered name, as compiled
//	-- the wire bytes follow here, if not pieceSteer
//	24 uint32  policy
//	28 uint32  TTL of the STEER record
//	-- the wire bytes follow here, if pieceSteer
//
// The lists follow the wire bytes, suffix first, aligned to 2.
const (
	pieceSimple    = 1 << iota // short header
	pieceAA                    // authoritative
	pieceSteer                 // the chain ends at a steered name
	pieceSteerSelf             // the pointer to that name is of class self, not suffix
)

// Sizes of a piece's header.
const (
	simpleHeader = 8
	fullHeader   = 24
	steerHeader  = 32
)

// questionAt is where the question's name stands in a message; questionFS is the length of what follows it.
const (
	questionAt = 12
	questionFS = 4 // QTYPE and QCLASS
)

// rr is a record to encode.
type rr struct {
	owner []byte // any case; nil: the question's name
	typ   uint16
	ttl   uint32
	rdata []byte
}

// steerEnd is a steered name at the end of a chain.
type steerEnd struct {
	policy uint32
	ttl    uint32
	name   []byte
}

// encoder compiles pieces, one after the other.
type encoder struct {
	base      int
	flags     uint8
	rcode     uint8
	buf       []byte
	count     [3]int // by section
	lead      int
	required  int // bytes; 0: all
	reqExtra  int // additional records among them
	suffix    []uint16
	self      []uint16
	steer     *steerEnd
	known     []knownName
	knownText []byte // folded suffixes that known points into
	scratch   []byte
}

// Sections of a message behind the question.
const (
	sectionAnswer = iota
	sectionAuthority
	sectionAdditional
)

// knownName is a name that stands in the message, to point at.
type knownName struct {
	off, len int // of its folded text in knownText
	ptr      uint16
	self     bool
}

// begin starts a piece for questions like name, folded. The suffixes of name can be pointed at, name itself too if exact;
// without it, as for a wildcard, the question only shares the labels behind the first.
func (e *encoder) begin(name []byte, exact bool) {
	*e = encoder{
		base: len(name), flags: pieceAA, buf: e.buf[:0], suffix: e.suffix[:0], self: e.self[:0],
		known: e.known[:0], knownText: e.knownText[:0], scratch: e.scratch,
	}
	at := 0
	if !exact {
		at = 1 + int(name[0])
	}
	for ; at < len(name)-1; at += 1 + int(name[at]) {
		e.learn(name[at:], uint16(questionAt+at), false)
	}
}

// learn remembers that a folded name stands at an offset of the message.
func (e *encoder) learn(name []byte, at uint16, self bool) {
	if len(e.known) < compressMax {
		e.known = append(e.known, knownName{len(e.knownText), len(name), 0xC000 | at, self})
		e.knownText = append(e.knownText, name...)
	}
}

// learnAll remembers a whole name that comes next, and its suffixes.
func (e *encoder) learnAll(name []byte) {
	e.scratch = append(e.scratch[:0], name...)
	fold(e.scratch)
	for at := 0; name[at] != 0; at += 1 + int(name[at]) {
		if _, ok := e.recall(e.scratch[at:]); !ok && len(e.buf)+at <= selfPointerMax {
			e.learn(e.scratch[at:], uint16(questionAt+e.base+questionFS+len(e.buf)+at), true)
		}
	}
}

// recall gives where a folded name stands.
func (e *encoder) recall(name []byte) (knownName, bool) {
	for _, k := range e.known {
		if k.len == len(name) && bytes.Equal(e.knownText[k.off:k.off+k.len], name) {
			return k, true
		}
	}
	return knownName{}, false
}

// name appends a name, compressed (RFC 1035 section 4.1.4).
func (e *encoder) name(name []byte) {
	e.scratch = append(e.scratch[:0], name...)
	fold(e.scratch)
	for at := 0; ; at += 1 + int(name[at]) {
		if name[at] == 0 {
			e.buf = append(e.buf, 0)
			return
		}
		if k, ok := e.recall(e.scratch[at:]); ok {
			list := &e.suffix
			if k.self {
				list = &e.self
			}
			*list = append(*list, uint16(len(e.buf)))
			e.buf = binary.BigEndian.AppendUint16(e.buf, k.ptr)
			return
		}
		if len(e.buf) <= selfPointerMax {
			e.learn(e.scratch[at:], uint16(questionAt+e.base+questionFS+len(e.buf)), true)
		}
		e.buf = append(e.buf, name[at:at+1+int(name[at])]...)
	}
}

// record appends a record.
func (e *encoder) record(section int, r rr) {
	e.count[section]++
	switch {
	case r.owner == nil && e.base == 1: // the root, which is shorter than a pointer to it
		e.buf = append(e.buf, 0)
	case r.owner == nil:
		e.lead++
		e.buf = append(e.buf, 0xC0, questionAt)
	default:
		e.name(r.owner)
	}
	e.buf = binary.BigEndian.AppendUint16(e.buf, r.typ)
	e.buf = binary.BigEndian.AppendUint16(e.buf, 1) // IN
	e.buf = binary.BigEndian.AppendUint32(e.buf, r.ttl)
	at := len(e.buf)
	e.buf = binary.BigEndian.AppendUint16(e.buf, uint16(len(r.rdata)))
	if !compressible(r.typ) {
		if r.typ == dns.TypeDNAME { // not to be compressed, but to be pointed at
			e.learnAll(r.rdata)
		}
		e.buf = append(e.buf, r.rdata...)
		return
	}
	skip, names, _ := nameFields(r.typ)
	e.buf = append(e.buf, r.rdata[:skip]...)
	for rest := r.rdata[skip:]; ; names-- {
		if names == 0 {
			e.buf = append(e.buf, rest...)
			break
		}
		n := nameLen(rest)
		e.name(rest[:n])
		rest = rest[n:]
	}
	binary.BigEndian.PutUint16(e.buf[at:], uint16(len(e.buf)-at-2))
}

// require marks that all records so far must fit into a message, while those to come need not.
func (e *encoder) require() { e.required, e.reqExtra = len(e.buf), e.count[sectionAdditional] }

// encMark is a state of an encoder to go back to.
type encMark struct {
	buf, extra, suffix, self int
}

// mark notes how far the piece is, and rewind takes away the additional records since, behind which nothing more is to come: names
// in them may still be known.
func (e *encoder) mark() encMark {
	return encMark{len(e.buf), e.count[sectionAdditional], len(e.suffix), len(e.self)}
}

func (e *encoder) rewind(m encMark) {
	e.buf, e.count[sectionAdditional] = e.buf[:m.buf], m.extra
	e.suffix, e.self = e.suffix[:m.suffix], e.self[:m.self]
}

// fits says whether the piece fits into a message at all, with any question.
func (e *encoder) fits() bool { return len(e.buf) <= msgMax-questionAt-nameMax-questionFS }

// appendTo appends the piece to the arena, which is aligned to 4, and aligns it again. It gives the piece's offset.
func (e *encoder) appendTo(arena []byte) ([]byte, uint64) {
	off := uint64(len(arena))
	simple := len(e.suffix)+len(e.self)+e.count[sectionAuthority]+e.count[sectionAdditional] == 0 && e.lead == e.count[sectionAnswer] &&
		e.steer == nil && e.required == 0
	if simple {
		e.flags |= pieceSimple
	}
	le := binary.LittleEndian
	var steerName knownName
	if e.steer != nil {
		e.flags |= pieceSteer
		if steerName, _ = e.recall(e.steer.name); steerName.self {
			e.flags |= pieceSteerSelf
		}
	}
	arena = append(arena, e.flags, e.rcode, byte(e.base), 0)
	arena = le.AppendUint16(arena, uint16(len(e.buf)))
	arena = le.AppendUint16(arena, uint16(e.count[sectionAnswer]))
	if !simple {
		if e.required == 0 {
			e.require()
		}
		for _, n := range []int{e.count[sectionAuthority], e.count[sectionAdditional], e.required, e.reqExtra, e.lead, len(e.suffix), len(e.self)} {
			arena = le.AppendUint16(arena, uint16(n))
		}
		arena = le.AppendUint16(arena, steerName.ptr)
		if e.steer != nil {
			arena = le.AppendUint32(le.AppendUint32(arena, e.steer.policy), e.steer.ttl)
		}
	}
	arena = append(arena, e.buf...)
	if len(arena)%2 != 0 {
		arena = append(arena, 0)
	}
	for _, at := range e.suffix {
		arena = le.AppendUint16(arena, at)
	}
	for _, at := range e.self {
		arena = le.AppendUint16(arena, at)
	}
	return align(arena), off
}

// align pads the arena to a multiple of 4.
func align(arena []byte) []byte {
	for len(arena)%4 != 0 {
		arena = append(arena, 0)
	}
	return arena
}
