package zone

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// Kind says what Answer did.
type Kind uint8

const (
	// Outside means that no zone holds the name; nothing was appended.
	Outside Kind = iota
	// Answered means that the answer was appended, or TC is set.
	Answered
	// Steered means that a policy decides. Links of a CNAME chain may have been appended.
	Steered
)

// Reply is what Answer says beside the bytes: what to write into the header, and for Steered, what to decide.
type Reply struct {
	Kind       Kind
	AA, TC     bool // TC: the answer did not fit, and nothing was appended
	Rcode      uint8
	AN, NS, AR uint16 // records in the three sections

	Steer uint32 // Steered: index into SteerPolicies
	TTL   uint32 // Steered: the STEER record's
	Owner uint16 // Steered: offset in the message of the steered name, 12 or in a chain's rdata, to be pointed at
	Zone  uint32 // index into Zones, unless Outside
}

// minimalHINFO is the RR that answers ANY, without its owner: HINFO "RFC8482" "", with a TTL of an hour, long enough to be worth
// caching (RFC 8482 section 4.2).
const minimalHINFO = "\x00\x0d\x00\x01" + "\x00\x00\x0e\x10" + "\x00\x09\x07RFC8482\x00"

// pointerMask marks a compression pointer.
const pointerMask = 0xC000

// Answer appends to msg, which ends behind its one question whose name is at offset 12, the answer for the folded wire name
// qname of so many labels, and qtype. The message does not grow past limit, nor past msg's capacity; an answer that does not
// fit is left out and TC set. With firstLink, as for queries with ECS, a chain that would reach a steered name is answered
// with its first link alone.
func (s *Set) Answer(msg, qname []byte, labels int, qtype uint16, limit int, firstLink bool) ([]byte, Reply) {
	var r Reply
	msg = s.AnswerHashed(msg, qname, labels, s.hasher.hash(qname), qtype, limit, firstLink, &r)
	return msg, r
}

// AnswerHashed is Answer with the name's Hash and a place for the reply, which is filled whole.
func (s *Set) AnswerHashed(msg, qname []byte, labels int, hash uint64, qtype uint16, limit int, firstLink bool, r *Reply) []byte {
	*r = Reply{}
	rec, kind := s.lookup(qname, labels, hash)
	if kind == matchOutside {
		return msg
	}
	r.Kind, r.AA, r.Zone = Answered, true, s.zoneOf(rec)
	// Field by field: a literal is built aside and then copied in wider steps than it was written, which stalls.
	var a answer
	a.s, a.reply, a.start, a.limit = s, r, len(msg), min(limit, cap(msg))
	a.at, a.nameLen, a.plain = questionAt, len(qname), len(qname)
	if kind == matchDNAME {
		return a.walk(msg, rec, qtype, firstLink)
	}
	return a.finish(msg, rec, kind, qtype, firstLink)
}

// matchKind is how a name stands to the record that was found for it.
type matchKind uint8

const (
	matchOutside  matchKind = iota // in no zone
	matchName                      // the record is its own, or the wildcard's that covers it
	matchNothing                   // the record is its closest encloser's: it does not exist
	matchReferral                  // the record is at or below a cut, and it is below that
	matchDNAME                     // the record is the DNAME owner's above it
)

// lookup finds the record that decides about a folded name (RFC 1034 section 4.3.2, RFC 6672 section 3.2).
func (s *Set) lookup(name []byte, labels int, hash uint64) (uint32, matchKind) {
	rec := s.findHashed(name, hash)
	if rec != 0 {
		return s.match(rec, true)
	}
	return s.match(s.closest(name, labels), false)
}

// match says what a record decides about a name: its own if exact, else one whose closest encloser it is.
func (s *Set) match(rec uint32, exact bool) (uint32, matchKind) {
	switch flags := s.flags(rec); {
	case flags&recOutside != 0:
		return rec, matchOutside
	case flags&recHidden != 0:
		return s.ref(rec), matchDNAME
	case exact:
		return rec, matchName
	case flags&recReferral != 0:
		return rec, matchReferral
	case flags&recDNAME != 0:
		return rec, matchDNAME
	case flags&recWildcard != 0:
		return s.ref(rec), matchName
	}
	return rec, matchNothing
}

// flags, zoneOf and ref read a record.
func (s *Set) flags(rec uint32) uint16 {
	return binary.LittleEndian.Uint16(s.arena[4*uint64(rec)+recordFlags:])
}

func (s *Set) zoneOf(rec uint32) uint32 {
	return binary.LittleEndian.Uint32(s.arena[4*uint64(rec)+recordZone:])
}

func (s *Set) ref(rec uint32) uint32 {
	return binary.LittleEndian.Uint32(s.arena[4*uint64(rec)+recordRef:])
}

// answer is the work on one query.
type answer struct {
	s     *Set
	reply *Reply
	start int // where the question ends
	limit int
	// The name to answer for stands whole in the message here: the question's, or one that a DNAME made.
	at, nameLen int
	plain       int // octets of it that stand there before a compression pointer
}

// finish appends the answer of a record that is no redirection.
func (a *answer) finish(msg []byte, rec uint32, kind matchKind, qtype uint16, firstLink bool) []byte {
	s := a.s
	switch kind {
	case matchNothing:
		a.reply.Rcode = dns.RcodeNameError
		return a.nothing(msg, rec)
	case matchReferral:
		return a.piece(msg, s.ref(rec))
	case matchName, matchDNAME, matchOutside:
	}
	flags := s.flags(rec)
	if IsMinimal(qtype) && flags&(recReferral|recSteer) == 0 {
		return a.minimal(msg, rec, flags, qtype, firstLink)
	}
	piece := s.entry(rec, qtype)
	switch {
	case piece != 0:
	case flags&recReferral != 0:
		piece = s.ref(rec)
	case flags&recSteer != 0 && qtype != typeSTEER:
		return a.steered(msg, rec)
	case flags&recCNAME != 0:
		return a.chain(msg, rec, firstLink)
	default:
		return a.nothing(msg, rec)
	}
	return a.piece(msg, piece)
}

// chain answers with a CNAME and what is behind it, for a type that is not in the record's directory.
func (a *answer) chain(msg []byte, rec uint32, firstLink bool) []byte {
	piece := a.s.entry(rec, typeRest)
	if firstLink && a.s.arena[4*uint64(piece)]&pieceSteer != 0 {
		piece = a.s.entry(rec, dns.TypeCNAME)
	}
	return a.piece(msg, piece)
}

// IsMinimal says whether a query type asks for more than one set, and so gets a minimal answer: ANY, and as it could be
// used in the same way, RRSIG, SIG, MAILA and MAILB (RFC 8482 section 4).
func IsMinimal(qtype uint16) bool {
	switch qtype {
	case dns.TypeANY, dns.TypeMAILA, dns.TypeMAILB, dns.TypeRRSIG, dns.TypeSIG:
		return true
	}
	return false
}

// isSignature says whether a type is that of signatures.
func isSignature(qtype uint16) bool { return qtype == dns.TypeRRSIG || qtype == dns.TypeSIG }

// minimal answers such a type: a CNAME with itself, names without data with NODATA, as also signatures where there are none,
// all else with HINFO.
func (a *answer) minimal(msg []byte, rec uint32, flags, qtype uint16, firstLink bool) []byte {
	signature := isSignature(qtype)
	switch {
	case flags&recCNAME != 0 && signature && a.s.entry(rec, qtype) == 0:
		return a.chain(msg, rec, firstLink)
	case flags&recCNAME != 0:
		return a.piece(msg, a.s.entry(rec, dns.TypeCNAME))
	case flags&recData == 0, signature && a.s.entry(rec, qtype) == 0:
		return a.nothing(msg, rec)
	}
	return appendMinimal(msg, a.reply, a.at, a.start, a.limit)
}

// appendMinimal appends RFC 8482's HINFO for the name at an offset.
func appendMinimal(msg []byte, r *Reply, at, start, limit int) []byte {
	if len(msg)+2+len(minimalHINFO) > limit {
		return r.truncate(msg, start)
	}
	msg = binary.BigEndian.AppendUint16(msg, pointerMask|uint16(at))
	r.AN++
	return append(msg, minimalHINFO...)
}

// truncate turns the reply into an empty one with TC.
func (r *Reply) truncate(msg []byte, start int) []byte {
	*r = Reply{Kind: Answered, AA: r.AA, TC: true, Zone: r.Zone}
	return msg[:start]
}

// nothing appends the SOA for what does not exist at or below a record's name.
func (a *answer) nothing(msg []byte, rec uint32) []byte {
	if a.s.flags(rec)&recSOA != 0 {
		return a.piece(msg, a.s.entry(rec, typeNothing))
	}
	return a.negative(msg)
}

// negative appends the zone's SOA. Its name is a suffix of the question's, whatever chain led here.
func (a *answer) negative(msg []byte) []byte {
	return a.emit(msg, a.s.soa[a.reply.Zone], questionAt, a.start-questionAt-questionFS)
}

// piece appends a piece for the name that is answered for.
func (a *answer) piece(msg []byte, ref uint32) []byte { return a.emit(msg, ref, a.at, a.nameLen) }

// steered gives the reply for a steered name.
func (a *answer) steered(msg []byte, rec uint32) []byte {
	b := a.s.arena[4*uint64(rec):]
	b = b[recordName+(int(b[0])+3)&^3:]
	a.reply.Kind = Steered
	a.reply.Steer = binary.LittleEndian.Uint32(b)
	a.reply.TTL = binary.LittleEndian.Uint32(b[4:])
	a.reply.Owner = uint16(a.at)
	return msg
}
