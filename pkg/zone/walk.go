package zone

import (
	"encoding/binary"
	"slices"

	"github.com/miekg/dns"
)

// walk is a chain that is followed while it is answered, because it begins with the question's own labels: below a DNAME, or at a
// wildcard that also stands for names further on.
type walk struct {
	answer

	whole  [nameMax]byte // the name reached, as it stands in the message, there perhaps compressed
	folded [nameMax]byte // the same, folded
	seen   [chainMax]uint64
	dnames [chainMax]uint32 // records whose DNAME is in the message
	n      int              // DNAMEs
	// By DNAME.
	toAt    [chainMax]uint16 // where its target stands
	endless [chainMax]bool   // its target is below it: each name that it makes is, too, and longer
}

// follow answers a question below a DNAME with the DNAME, the CNAME that it makes with the same TTL, and then what there is for
// the CNAME's target in the same zone, perhaps another link (RFC 6672 section 3.2). A name that comes again is a loop: the answer
// ends there, as it does after chainMax links, or when a DNAME onto names below itself is to be used again.
func (w *walk) follow(msg, qname []byte, hash uint64, rec uint32, kind matchKind, qtype uint16, firstLink bool) []byte {
	s := w.s
	copy(w.folded[:], qname)
	copy(w.whole[:], msg[questionAt:w.start])
	var first []byte
	var firstAN uint16
	for hop := range w.seen {
		if !s.links(rec, kind, qtype) {
			break
		}
		if slices.Contains(w.seen[:hop], hash) {
			return msg
		}
		w.seen[hop] = hash
		ok := false
		if kind == matchDNAME {
			msg, ok = w.redirect(msg, rec)
		} else {
			msg, ok = w.alias(msg, rec)
		}
		if hop == 0 {
			first, firstAN = msg, w.reply.AN
		}
		if !ok || qtype == dns.TypeCNAME {
			return msg
		}
		name := w.folded[:w.nameLen]
		copy(name, w.whole[:])
		fold(name)
		hash = s.hasher.hash(name)
		if rec, kind = s.lookup(name, labelCount(name), hash); kind == matchOutside || s.zoneOf(rec) != w.reply.Zone {
			return msg
		}
	}
	if s.links(rec, kind, qtype) {
		return msg // chainMax
	}
	switch {
	case kind != matchName:
	case qtype == dns.TypeDS && s.flags(rec)&recAboveDS != 0:
		return w.negative(msg) // the answer stays within the zone
	case qtype == dns.TypeDNAME && slices.Contains(w.dnames[:w.n], rec):
		return msg // it is there already
	}
	msg = w.finish(msg, rec, kind, qtype, false)
	if firstLink && w.reply.Kind == Steered {
		w.reply = Reply{Kind: Answered, AA: true, AN: firstAN, Zone: w.reply.Zone}
		return first
	}
	return msg
}

// links says whether a record answers a type with another name.
func (s *Set) links(rec uint32, kind matchKind, qtype uint16) bool {
	switch kind {
	case matchDNAME:
		return true
	case matchName:
		if s.flags(rec)&(recCNAME|recSteer|recReferral) != recCNAME || IsMinimal(qtype) && !isSignature(qtype) {
			return false
		}
		piece := s.entry(rec, qtype)
		return piece == 0 || s.arena[4*uint64(piece)]&pieceChain != 0
	case matchOutside, matchNothing, matchReferral:
	}
	return false
}

// below says whether a name, not folded, is at or below that of a record.
func (s *Set) below(name []byte, rec uint32) bool {
	var buf [nameMax]byte
	name = buf[:copy(buf[:], name)]
	fold(name)
	return within(name, s.name(rec))
}

// redirect appends the DNAME of rec, unless it is there already, and the CNAME from the name at w.at to what the DNAME makes of it,
// which is the name reached then. Only the CNAME's target is compressed: it ends with the DNAME's, which stands whole (RFC 6672
// section 2.5). It is false if the answer ends here: the new name is too long, or the message is.
func (w *walk) redirect(msg []byte, rec uint32) ([]byte, bool) {
	s, r := w.s, &w.reply
	p := s.arena[4*uint64(s.entry(rec, dns.TypeDNAME)):]
	rest := p[simpleHeader+2:][:int(binary.LittleEndian.Uint16(p[4:]))-2] // type, class, TTL, length, target
	to := rest[10:]
	prefix := w.nameLen - int(s.arena[4*uint64(rec)])
	i := slices.Index(w.dnames[:w.n], rec)
	if i >= 0 && w.endless[i] {
		return msg, false
	}
	if i < 0 {
		if len(msg)+2+len(rest) > w.limit {
			return r.truncate(msg, w.start), false
		}
		i = w.n
		msg = binary.BigEndian.AppendUint16(msg, pointerMask|uint16(locate(msg, w.at, prefix)))
		w.dnames[i], w.toAt[i] = rec, uint16(len(msg)+10)
		msg = append(msg, rest...)
		w.n++
		r.AN++
		w.endless[i] = s.below(to, rec)
	}
	made := prefix + len(to)
	if made > nameMax {
		r.Rcode = dns.RcodeYXDomain
		return msg, false
	}
	size := prefix + min(len(to), 2) // the root is shorter than a pointer to it
	if len(msg)+12+size > w.limit {
		return r.truncate(msg, w.start), false
	}
	msg = binary.BigEndian.AppendUint16(msg, pointerMask|uint16(w.at))
	msg = append(msg, 0, byte(dns.TypeCNAME), 0, 1)
	msg = append(msg, rest[4:8]...)
	msg = append(msg, byte(size>>8), byte(size))
	w.at, w.nameLen = len(msg), made
	msg = append(msg, w.whole[:prefix]...)
	if len(to) == 1 {
		msg = append(msg, 0)
	} else {
		msg = binary.BigEndian.AppendUint16(msg, pointerMask|w.toAt[i])
	}
	copy(w.whole[prefix:], to)
	r.AN++
	return msg, true
}

// alias appends the CNAME of rec for the name at w.at. Its target is the name reached then. It is false if the message is full.
func (w *walk) alias(msg []byte, rec uint32) ([]byte, bool) {
	const ownerLen, fixed = 2, 10
	begin := len(msg)
	if msg = w.piece(msg, w.s.entry(rec, dns.TypeCNAME)); w.reply.TC {
		return msg, false
	}
	w.at, w.nameLen = begin+ownerLen+fixed, 0
	for at := w.at; ; at += 1 + int(msg[at]) {
		at = locate(msg, at, 0)
		w.nameLen += copy(w.whole[w.nameLen:], msg[at:][:1+int(msg[at])])
		if msg[at] == 0 {
			return msg, true
		}
	}
}
