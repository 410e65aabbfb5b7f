package zone

import (
	"encoding/binary"
	"slices"

	"github.com/miekg/dns"
)

// emit appends a piece for the name of nameLen octets that stands whole at offset at of the message.
func (a *answer) emit(msg []byte, ref uint32, at, nameLen int) []byte {
	p := a.s.arena[4*uint64(ref):]
	le := binary.LittleEndian
	size, r := int(le.Uint16(p[4:])), &a.reply
	if p[0]&pieceSimple != 0 {
		begin := len(msg)
		if begin+size > a.limit {
			return r.truncate(msg, a.start)
		}
		msg = append(msg, p[simpleHeader:][:size]...)
		count := le.Uint16(p[6:])
		if at != questionAt {
			lead(msg[begin:], int(count), at)
		}
		r.AN += count
		return msg
	}
	return a.emitFull(msg, p, at, nameLen)
}

// emitFull appends a piece that is not simple.
func (a *answer) emitFull(msg, p []byte, at, nameLen int) []byte {
	le, r := binary.LittleEndian, &a.reply
	flags, size, extra, header := p[0], int(le.Uint16(p[4:])), le.Uint16(p[10:]), fullHeader
	if flags&pieceSteer != 0 {
		header = steerHeader
	}
	begin := len(msg)
	lists := p[(header+size+1)&^1:]
	if begin+size > a.limit {
		size, extra = int(le.Uint16(p[12:])), le.Uint16(p[14:])
	}
	if r.AN == 0 {
		r.AA = flags&pieceAA != 0
	}
	if begin+size > a.limit {
		return r.truncate(msg, a.start)
	}
	msg = append(msg, p[header:][:size]...)
	out := msg[begin:]
	base := int(p[2])
	bySuffix, bySelf := at+nameLen-questionAt-base, begin-questionAt-base-questionFS
	if bySuffix|bySelf != 0 {
		suffixes := 2 * int(le.Uint16(p[18:]))
		move(out, lists[:suffixes], bySuffix)
		move(out, lists[suffixes:][:2*int(le.Uint16(p[20:]))], bySelf)
	}
	if at != questionAt {
		lead(out, int(le.Uint16(p[16:])), at)
	}
	r.AN += le.Uint16(p[6:])
	r.NS += le.Uint16(p[8:])
	r.AR += extra
	if p[1] != 0 {
		r.Rcode = p[1]
	}
	if flags&pieceSteer != 0 {
		by := bySuffix
		if flags&pieceSteerSelf != 0 {
			by = bySelf
		}
		r.Kind, r.Steer, r.TTL = Steered, le.Uint32(p[24:]), le.Uint32(p[28:])
		r.Owner = uint16(int(le.Uint16(p[22:])&^pointerMask) + by)
	}
	return msg
}

// move adds by to the pointers at the places that list holds. A list is in the order of the bytes: what is behind the end of
// out was left out.
func move(out, list []byte, by int) {
	for ; len(list) >= 2; list = list[2:] {
		at := int(binary.LittleEndian.Uint16(list))
		if at+2 > len(out) {
			return
		}
		binary.BigEndian.PutUint16(out[at:], binary.BigEndian.Uint16(out[at:])+uint16(by))
	}
}

// lead gives the first n records of out, all of which have a pointer as their owner, the name at an offset instead.
func lead(out []byte, n, at int) {
	for ; n > 0 && len(out) >= 12; n-- {
		binary.BigEndian.PutUint16(out, pointerMask|uint16(at))
		out = out[min(len(out), 12+int(binary.BigEndian.Uint16(out[10:]))):]
	}
}

// redirect answers a question below a DNAME: the DNAME, the CNAME that it makes with the same TTL, and then what there is for
// the CNAME's target in the same zone, perhaps another DNAME (RFC 6672 section 3.2). A DNAME that comes again is a loop: the
// answer ends there.
func (a *answer) redirect(msg, qname []byte, rec uint32, qtype uint16, firstLink bool) []byte {
	var buf [nameMax]byte // the folded name to answer for
	name := buf[:copy(buf[:], qname)]
	var used [chainMax]uint32
	firstEnd := 0
	for i := range used {
		if slices.Contains(used[:i], rec) {
			return msg
		}
		used[i] = rec
		var ok bool
		if msg, name, ok = a.rename(msg, &buf, name, rec); !ok {
			return msg
		}
		if firstEnd == 0 {
			firstEnd = len(msg)
		}
		if qtype == dns.TypeCNAME {
			return msg
		}
		var kind matchKind
		if rec, kind = a.s.lookup(name, labelCount(name), a.s.hasher.hash(name)); kind == matchOutside || a.s.zoneOf(rec) != a.reply.Zone {
			return msg
		}
		if kind == matchDNAME {
			continue
		}
		if qtype == dns.TypeDS && kind == matchName && a.s.flags(rec)&recAboveDS != 0 {
			return a.negative(msg) // the answer stays within the zone
		}
		msg = a.finish(msg, rec, kind, qtype, false)
		if firstLink && a.reply.Kind == Steered {
			a.reply = Reply{Kind: Answered, AA: true, AN: 2, Zone: a.reply.Zone}
			return msg[:firstEnd]
		}
		return msg
	}
	return msg
}

// rename appends the DNAME of rec and the CNAME from the name at a.at, folded in name, to what the DNAME makes of it, which
// a.at and the name returned then are. It is false if the answer ends here: the new name is too long, or the message is.
func (a *answer) rename(msg []byte, buf *[nameMax]byte, name []byte, rec uint32) ([]byte, []byte, bool) {
	s, r := a.s, &a.reply
	p := s.arena[4*uint64(s.entry(rec, dns.TypeDNAME)):]
	rest := p[simpleHeader+2:][:int(binary.LittleEndian.Uint16(p[4:]))-2] // type, class, TTL, length, target
	to := rest[10:]
	prefix := len(name) - int(s.arena[4*uint64(rec)])
	made := prefix + len(to)
	if len(msg)+2+len(rest)+12+min(made, nameMax) > a.limit {
		return r.truncate(msg, a.start), nil, false
	}
	msg = binary.BigEndian.AppendUint16(msg, pointerMask|uint16(a.at+prefix))
	msg = append(msg, rest...)
	r.AN++
	if made > nameMax {
		r.Rcode = dns.RcodeYXDomain
		return msg, nil, false
	}
	msg = binary.BigEndian.AppendUint16(msg, pointerMask|uint16(a.at))
	msg = append(msg, 0, byte(dns.TypeCNAME), 0, 1)
	msg = append(msg, rest[4:8]...)
	msg = append(msg, byte(made>>8), byte(made))
	at := len(msg)
	msg = append(append(msg, msg[a.at:a.at+prefix]...), to...)
	r.AN++
	a.at, a.nameLen = at, made
	name = append(buf[:prefix], to...)
	fold(name[prefix:])
	return msg, name, true
}

// NoData appends the SOA of a negative answer to a Steered reply, whose policy does not offer the type asked for, and makes it
// Answered. qnameLen is the length of the question's name; limit as for Answer.
func (s *Set) NoData(msg []byte, r *Reply, qnameLen, limit int) []byte {
	a := answer{s: s, reply: *r, start: questionAt + qnameLen + questionFS, limit: min(limit, cap(msg))}
	a.reply.Kind = Answered
	if int(r.Zone) < len(s.soa) && a.start <= len(msg) {
		msg = a.negative(msg)
	}
	*r = a.reply
	return msg
}

// AppendANY appends RFC 8482's HINFO to a Steered reply and makes it Answered: the answer for ANY where a policy has addresses.
// qnameLen is the length of the question's name; limit as for Answer.
func (s *Set) AppendANY(msg []byte, r *Reply, qnameLen, limit int) []byte {
	r.Kind = Answered
	return appendMinimal(msg, r, int(r.Owner), questionAt+qnameLen+questionFS, min(limit, cap(msg)))
}
