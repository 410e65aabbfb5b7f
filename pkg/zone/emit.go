package zone

import "encoding/binary"

// emit appends a piece for the name of nameLen octets that stands whole at offset at of the message.
func (a *answer) emit(msg []byte, ref uint32, at, nameLen int) []byte {
	p := a.s.arena[4*uint64(ref):]
	le := binary.LittleEndian
	size, r := int(le.Uint16(p[4:])), a.reply
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
	le, r := binary.LittleEndian, a.reply
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
	suffixes := 2 * int(le.Uint16(p[18:]))
	bySuffix, bySelf := at+nameLen-questionAt-base, begin-questionAt-base-questionFS
	if at != questionAt {
		relocate(msg, out, lists[:suffixes], at+a.plain, nameLen-base-a.plain)
	} else if bySuffix != 0 {
		move(out, lists[:suffixes], bySuffix)
	}
	if bySelf != 0 {
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
		owner := int(le.Uint16(p[22:]) &^ pointerMask)
		switch {
		case flags&pieceSteerSelf != 0:
			owner += bySelf
		case at != questionAt: // a suffix of a name that may itself be compressed
			owner = locate(msg, at+a.plain, owner-questionAt+nameLen-base-a.plain)
		default:
			owner += bySuffix
		}
		r.Kind, r.Steer, r.TTL = Steered, le.Uint32(p[24:]), le.Uint32(p[28:])
		r.Owner = uint16(owner)
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

// relocate makes pointers to suffixes of the question's name, as compiled, point to those of the name that ends, or goes on with a
// pointer, at an offset of msg, up to which it is longer by so much. That name may itself be compressed, so each suffix is looked for; a set's records point at few of them.
func relocate(msg, out, list []byte, at, longer int) {
	var compiled, found [relocated]uint16
	for n := 0; len(list) >= 2; list = list[2:] {
		place := int(binary.LittleEndian.Uint16(list))
		if place+2 > len(out) {
			return
		}
		was := binary.BigEndian.Uint16(out[place:])
		i := 0
		for i < relocated && compiled[i] != was {
			i++
		}
		if i == relocated {
			i = n % relocated
			n++
			compiled[i] = was
			found[i] = pointerMask | uint16(locate(msg, at, int(was&^pointerMask)-questionAt+longer))
		}
		binary.BigEndian.PutUint16(out[place:], found[i])
	}
}

// relocated is how many suffixes relocate remembers: the owner's, the zone's and those of two hosts' domains.
const relocated = 4

// locate gives the offset of the suffix of a name, behind the first skip octets of its labels; fewer than none are before at, where
// the name stands as it is.
func locate(msg []byte, at, skip int) int {
	if skip < 0 {
		return at + skip
	}
	for {
		switch n := int(msg[at]); {
		case n >= pointerMask>>8: // backwards: all pointers are ours
			at = int(binary.BigEndian.Uint16(msg[at:]) &^ pointerMask)
		case skip <= 0:
			return at
		default:
			at += 1 + n
			skip -= 1 + n
		}
	}
}

// lead gives the first n records of out, all of which have a pointer as their owner, the name at an offset instead.
func lead(out []byte, n, at int) {
	for ; n > 0 && len(out) >= 12; n-- {
		binary.BigEndian.PutUint16(out, pointerMask|uint16(at))
		out = out[min(len(out), 12+int(binary.BigEndian.Uint16(out[10:]))):]
	}
}

// NoData appends the SOA of a negative answer to a Steered reply, whose policy does not offer the type asked for, and makes it
// Answered. qnameLen is the length of the question's name; limit as for Answer.
func (s *Set) NoData(msg []byte, r *Reply, qnameLen, limit int) []byte {
	a := answer{s: s, reply: r, start: questionAt + qnameLen + questionFS, limit: min(limit, cap(msg))}
	r.Kind = Answered
	if int(r.Zone) < len(s.soa) && a.start <= len(msg) {
		msg = a.negative(msg)
	}
	return msg
}

// AppendANY appends RFC 8482's HINFO to a Steered reply and makes it Answered: the answer for ANY where a policy has addresses.
// qnameLen is the length of the question's name; limit as for Answer.
func (s *Set) AppendANY(msg []byte, r *Reply, qnameLen, limit int) []byte {
	r.Kind = Answered
	return appendMinimal(msg, r, int(r.Owner), questionAt+qnameLen+questionFS, min(limit, cap(msg)))
}
