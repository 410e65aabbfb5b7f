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
	// endless says by DNAME that its target is below it: each name that it makes is, too, and longer.
	endless [chainMax]bool
	// known is where names stand that others may point at: the question's, DNAMEs' targets, names that were reached.
	known [1 + 2*chainMax]uint16
	names int
}

// walk answers a question below a DNAME, or for a CNAME with recWalk, whose record is rec.
func (a *answer) walk(msg []byte, rec uint32, kind matchKind, qtype uint16, firstLink bool) []byte {
	w := walk{answer: *a}
	msg = w.follow(msg, rec, kind, qtype, firstLink)
	*a = w.answer
	return msg
}

// follow answers with the DNAME, the CNAME that it makes with the same TTL, and then what there is for the CNAME's target in the
// same zone, perhaps another link (RFC 6672 section 3.2). A name that comes again is a loop: the answer ends there, as it does
// after chainMax links, or when a DNAME onto names below itself is to be used again.
func (w *walk) follow(msg []byte, rec uint32, kind matchKind, qtype uint16, firstLink bool) []byte {
	s := w.s
	copy(w.whole[:], msg[questionAt:w.start])
	w.known[0], w.names = questionAt, 1
	w.fold()
	hash := s.hasher.hash(w.folded[:w.nameLen])
	var first []byte
	var firstAN uint16
	for hop := 0; s.links(rec, kind, qtype); hop++ {
		if hop == chainMax || slices.Contains(w.seen[:hop], hash) {
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
		hash = s.hasher.hash(name)
		if rec, kind = s.lookup(name, labelCount(name), hash); kind == matchOutside || s.zoneOf(rec) != w.reply.Zone {
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
		w.reply = Reply{Kind: Answered, AA: true, AN: firstAN, Zone: w.reply.Zone}
		return first
	}
	return msg
}

// fold folds the name reached.
func (w *walk) fold() { fold(w.folded[:copy(w.folded[:w.nameLen], w.whole[:])]) }

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
// which is the name reached then. A DNAME's target is never compressed (RFC 6672 section 2.5), but the CNAME's is. It is false if
// the answer ends here: the new name is too long, or the message is.
func (w *walk) redirect(msg []byte, rec uint32) ([]byte, bool) {
	s, r := w.s, &w.reply
	p := s.arena[4*uint64(s.entry(rec, dns.TypeDNAME)):]
	owner := s.name(rec)
	rest := pieceWire(p)[min(len(owner), 2):] // type, class, TTL, length, target
	to := rest[10:]
	prefix := w.nameLen - len(owner)
	i := slices.Index(w.dnames[:w.n], rec)
	if i >= 0 && w.endless[i] {
		return msg, false
	}
	if i < 0 {
		if len(msg)+2+len(rest) > w.limit {
			return r.truncate(msg, w.start), false
		}
		msg = binary.BigEndian.AppendUint16(msg, pointerMask|uint16(locate(msg, w.at, prefix)))
		w.learn(len(msg) + 10)
		msg = append(msg, rest...)
		w.dnames[w.n], w.endless[w.n] = rec, s.below(to, rec)
		w.n++
		r.AN++
	}
	if prefix+len(to) > nameMax {
		r.Rcode = dns.RcodeYXDomain
		return msg, false
	}
	if len(msg)+12 > w.limit {
		return r.truncate(msg, w.start), false
	}
	msg = binary.BigEndian.AppendUint16(msg, pointerMask|uint16(w.at))
	msg = append(msg, 0, byte(dns.TypeCNAME), 0, 1)
	msg = append(msg, rest[4:8]...)
	msg = append(msg, 0, 0)
	w.nameLen = prefix + copy(w.whole[prefix:], to)
	r.AN++
	return w.target(msg)
}

// alias appends the CNAME of rec for the name at w.at. Its target is the name reached then. It is false if the message is full.
func (w *walk) alias(msg []byte, rec uint32) ([]byte, bool) {
	p := w.s.arena[4*uint64(w.s.entry(rec, dns.TypeCNAME)):]
	wire := pieceWire(p)
	fixed, data := wire[2:12], wire[12:] // type, class, TTL, length; the target, which may end with a suffix of the record's name
	if len(msg)+2+len(fixed) > w.limit {
		return w.reply.truncate(msg, w.start), false
	}
	msg = binary.BigEndian.AppendUint16(msg, pointerMask|uint16(w.at))
	msg = append(msg, fixed...)
	w.reply.AN++
	old := w.whole
	n := 0
	for data[n] != 0 && data[n] < pointerMask>>8 {
		n += 1 + int(data[n])
	}
	copy(w.whole[:], data[:n+1])
	if data[n] == 0 {
		w.nameLen = n + 1
	} else {
		skip := int(binary.BigEndian.Uint16(data[n:])&^pointerMask) - questionAt + w.nameLen - int(p[2])
		w.nameLen = n + copy(w.whole[n:], old[skip:w.nameLen])
	}
	return w.target(msg)
}

// pieceWire gives the wire bytes of a piece, of one record.
func pieceWire(p []byte) []byte {
	header := fullHeader
	if p[0]&pieceSimple != 0 {
		header = simpleHeader
	}
	return p[header:][:int(binary.LittleEndian.Uint16(p[4:]))]
}

// target appends the name reached as the rdata of a CNAME, behind its length, and points at what stands in the message already.
func (w *walk) target(msg []byte) ([]byte, bool) {
	w.fold()
	name := w.folded[:w.nameLen]
	best, at := 1, 0
	var buf [nameMax]byte
	for _, k := range w.known[:w.names] {
		other := buf[:readName(&buf, msg, int(k))]
		fold(other)
		if n := shared(name, other); n > best {
			best, at = n, locate(msg, int(k), len(other)-n)
		}
	}
	size := len(name) - best + min(best, 2)
	if len(msg)+size > w.limit {
		return w.reply.truncate(msg, w.start), false
	}
	binary.BigEndian.PutUint16(msg[len(msg)-2:], uint16(size))
	w.at = len(msg)
	msg = append(msg, w.whole[:len(name)-best]...)
	if best == 1 {
		msg = append(msg, 0)
	} else {
		msg = binary.BigEndian.AppendUint16(msg, pointerMask|uint16(at))
	}
	w.learn(w.at)
	return msg, true
}

// learn remembers where a name stands.
func (w *walk) learn(at int) {
	if w.names < len(w.known) {
		w.known[w.names] = uint16(at)
		w.names++
	}
}

// readName copies a name of a message of ours, which may be compressed, and gives its length.
func readName(buf *[nameMax]byte, msg []byte, at int) int {
	for n := 0; ; at += 1 + int(msg[at]) {
		at = locate(msg, at, 0)
		n += copy(buf[n:], msg[at:][:1+int(msg[at])])
		if msg[at] == 0 {
			return n
		}
	}
}
