package zone

import (
	"encoding/binary"
	"slices"

	"github.com/miekg/dns"
)

// walk is a chain that is followed while it is answered, because it begins with the question's own labels: below a DNAME. What a
// link costs, anyone may have who sends a datagram: so names are compressed against the target of their DNAME, or the owner of
// their CNAME, without a search through the message.
type walk struct {
	answer

	whole  [nameMax]byte // the name reached, as it stands in the message, there perhaps compressed
	folded [nameMax]byte // the same, folded
	seen   [chainMax]uint64
	n      int              // DNAMEs in the message
	dnames [chainMax]uint32 // their records
	to     [chainMax]uint16 // where their targets stand
	// endless says by DNAME that its target is below it: each name that it makes is, too, and longer.
	endless [chainMax]bool
}

// walk answers a question below the DNAME of a record.
func (a *answer) walk(msg []byte, rec uint32, qtype uint16, firstLink bool) []byte {
	w := walk{answer: *a}
	return w.follow(msg, rec, matchDNAME, qtype, firstLink)
}

// follow answers with the DNAME, the CNAME that it makes with the same TTL, and then what there is for the CNAME's target in the
// same zone, perhaps another link (RFC 6672 section 3.2). A name that comes again is a loop: the answer ends there, as it does
// after chainMax links, or when a DNAME onto names below itself is to be used again.
func (w *walk) follow(msg []byte, rec uint32, kind matchKind, qtype uint16, firstLink bool) []byte {
	s := w.s
	copy(w.whole[:], msg[questionAt:w.start])
	fold(w.folded[:copy(w.folded[:], w.whole[:w.nameLen])])
	hash := s.hasher.hash(w.folded[:w.nameLen])
	var first []byte
	var firstAN uint16
	for hop := 0; s.links(rec, kind, qtype); hop++ {
		whose := hash // a link that a DNAME makes is of the name, a CNAME of its record
		if kind != matchDNAME {
			whose = uint64(rec)
		}
		if hop == chainMax || slices.Contains(w.seen[:hop], whose) {
			return msg
		}
		w.seen[hop] = whose
		ok, dname, prefix := false, rec, 0
		if kind == matchDNAME {
			prefix = w.nameLen - len(s.name(rec))
			msg, ok = w.redirect(msg, rec, prefix)
		} else {
			msg, ok = w.alias(msg, rec)
		}
		if hop == 0 {
			first, firstAN = msg, w.reply.AN
		}
		if !ok || qtype == dns.TypeCNAME {
			return msg
		}
		hash = s.hasher.hash(w.folded[:w.nameLen])
		if rec, kind = w.lookup(dname, prefix, hash); kind == matchOutside || s.zoneOf(rec) != w.reply.Zone {
			return msg
		}
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
		*w.reply = Reply{Kind: Answered, AA: true, AN: firstAN, Zone: w.reply.Zone}
		return first
	}
	return msg
}

// links says whether a record answers a type with another name that is to be followed. What is behind a CNAME was followed when
// the zone was loaded; but that may have DNAMEs that are in the answer already, and more links than are left of chainMax.
func (s *Set) links(rec uint32, kind matchKind, qtype uint16) bool {
	switch kind {
	case matchDNAME:
		return true
	case matchName:
		return s.flags(rec)&(recCNAME|recSteer|recReferral) == recCNAME && (!IsMinimal(qtype) || isSignature(qtype))
	case matchOutside, matchNothing, matchReferral:
	}
	return false
}

// lookup finds the record that decides about the name reached, whose first octets, so many, the DNAME of a record left as they were.
// Most often nothing stands right below the DNAME's target, and so nothing further below: then decides what does about all names
// below that, which the record knows.
func (w *walk) lookup(dname uint32, prefix int, hash uint64) (uint32, matchKind) {
	s, name := w.s, w.folded[:w.nameLen]
	if prefix > 0 {
		last := 0
		for next := 1 + int(name[0]); next < prefix; next += 1 + int(name[next]) {
			last = next
		}
		to := s.ref(dname)
		if len(s.name(to)) < len(name)-prefix || s.find(name[last:]) == 0 {
			return s.match(to, false)
		}
	}
	return s.lookup(name, labelCount(name), hash)
}

// redirect appends the DNAME of rec, unless it is there already, and the CNAME from the name at w.at to what the DNAME makes of it,
// which is the name reached then. A DNAME's target is never compressed (RFC 6672 section 2.5), but the CNAME's is, by that. It is
// false if the answer ends here: the new name is too long, or the message is. The first octets of the name, prefix, stay.
func (w *walk) redirect(msg []byte, rec uint32, prefix int) ([]byte, bool) {
	s, r := w.s, w.reply
	p := s.arena[4*uint64(s.entry(rec, dns.TypeDNAME)):]
	owner := s.name(rec)
	rest := pieceWire(p)[min(len(owner), 2):] // type, class, TTL, length, target
	to := rest[10:]
	i := slices.Index(w.dnames[:w.n], rec)
	if i >= 0 && w.endless[i] {
		return msg, false
	}
	folded := w.folded[prefix:]
	folded = folded[:copy(folded, to)] // of the new name, if it is not too long
	fold(folded)
	if i < 0 {
		if len(msg)+2+len(rest) > w.limit {
			return r.truncate(msg, w.start), false
		}
		i = w.n
		msg = binary.BigEndian.AppendUint16(msg, pointerMask|uint16(locate(msg, w.at+w.plain, prefix-w.plain)))
		w.dnames[i], w.to[i], w.endless[i] = rec, uint16(len(msg)+10), len(folded) == len(to) && within(folded, owner)
		msg = append(msg, rest...)
		w.n++
		r.AN++
	}
	if prefix+len(to) > nameMax {
		r.Rcode = dns.RcodeYXDomain
		return msg, false
	}
	size := prefix + min(len(to), 2)
	if len(msg)+12+size > w.limit {
		return r.truncate(msg, w.start), false
	}
	msg = binary.BigEndian.AppendUint16(msg, pointerMask|uint16(w.at))
	msg = append(msg, 0, byte(dns.TypeCNAME), 0, 1)
	msg = append(msg, rest[4:8]...)
	msg = binary.BigEndian.AppendUint16(msg, uint16(size))
	w.at, w.plain = len(msg), prefix
	w.nameLen = prefix + copy(w.whole[prefix:], to)
	msg = append(msg, w.whole[:prefix]...)
	if len(to) == 1 {
		msg = append(msg, 0)
		w.plain++
	} else {
		msg = binary.BigEndian.AppendUint16(msg, pointerMask|w.to[i])
	}
	r.AN++
	return msg, true
}

// alias appends the CNAME of rec for the name at w.at. Its target is the name reached then, and stands in the message as it was
// compiled: compressed against the name that it is for. It is false if the message is full.
func (w *walk) alias(msg []byte, rec uint32) ([]byte, bool) {
	p := w.s.arena[4*uint64(w.s.entry(rec, dns.TypeCNAME)):]
	wire := pieceWire(p)[2:] // type, class, TTL, length; the target, which may end with a suffix of the record's name
	if len(msg)+2+len(wire) > w.limit {
		return w.reply.truncate(msg, w.start), false
	}
	owner, plain := w.at, w.plain
	msg = binary.BigEndian.AppendUint16(msg, pointerMask|uint16(owner))
	msg = append(msg, wire...)
	w.at = len(msg) - len(wire) + 10
	w.reply.AN++
	data := wire[10:]
	n := 0
	for data[n] != 0 && data[n] < pointerMask>>8 {
		n += 1 + int(data[n])
	}
	w.plain = n
	if data[n] == 0 {
		n++
		w.nameLen, w.plain = n, n
	} else {
		skip := int(binary.BigEndian.Uint16(data[n:])&^pointerMask) - questionAt + w.nameLen - int(p[2])
		w.nameLen = n + copy(w.whole[n:], w.whole[skip:w.nameLen])
		copy(w.folded[n:], w.folded[skip:])
		binary.BigEndian.PutUint16(msg[w.at+n:], pointerMask|uint16(locate(msg, owner+plain, skip-plain)))
	}
	copy(w.whole[:], data[:n])
	fold(w.folded[:copy(w.folded[:], data[:n])])
	return msg, true
}

// pieceWire gives the wire bytes of a piece, of one record.
func pieceWire(p []byte) []byte {
	header := fullHeader
	if p[0]&pieceSimple != 0 {
		header = simpleHeader
	}
	return p[header:][:int(binary.LittleEndian.Uint16(p[4:]))]
}
