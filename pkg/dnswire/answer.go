package dnswire

import "encoding/binary"

// PutHeader writes the flags and the record counts of an answer into the header of msg. The ID stays as it came; the
// question is counted where it was kept.
func PutHeader(msg []byte, flags uint16, questions, answers, authority, additional uint16) {
	h := msg[:HeaderLen]
	binary.BigEndian.PutUint16(h[2:], flags)
	binary.BigEndian.PutUint16(h[4:], questions)
	binary.BigEndian.PutUint16(h[6:], answers)
	binary.BigEndian.PutUint16(h[8:], authority)
	binary.BigEndian.PutUint16(h[10:], additional)
}

// AnswerFlags is the header's second word of an answer to q: QR set, the operation and RD copied, rcode's lower bits, and AA or
// TC where given. RA, Z and AD are 0, and so is CD, which means nothing in an authoritative answer (RFC 4035 section
// 3.1.6).
func (q *Query) AnswerFlags(rcode uint8, aaTC uint16) uint16 {
	return FlagQR | q.Flags&(opcodeMask<<opcodeShift|FlagRD) | aaTC&(FlagAA|FlagTC) | uint16(rcode)&rcodeMask
}

// Lengths of records whose owner is a compression pointer: 2 octets, then type, class, TTL and RDLENGTH, then the data.
const (
	recordFixedLen = 2 + 10
	ALen           = recordFixedLen + 4
	AAAALen        = recordFixedLen + 16
)

// RecordLen is the length of a record of rdlen octets of data whose owner is a compression pointer.
func RecordLen(rdlen int) int { return recordFixedLen + rdlen }

// AppendRecord appends the fixed part of a record whose owner is a compression pointer to the offset owner of msg (RFC
// 1035 section 4.1.4); rdlen octets of data must follow.
func AppendRecord(msg []byte, owner, typ, class uint16, ttl uint32, rdlen int) []byte {
	return append(msg,
		byte(owner>>8)|0xC0, byte(owner),
		byte(typ>>8), byte(typ), byte(class>>8), byte(class),
		byte(ttl>>24), byte(ttl>>16), byte(ttl>>8), byte(ttl),
		byte(rdlen>>8), byte(rdlen))
}

// AppendA appends an A record.
func AppendA(msg []byte, owner uint16, ttl uint32, addr [4]byte) []byte {
	return append(AppendRecord(msg, owner, TypeA, ClassIN, ttl, 4), addr[:]...)
}

// AppendAAAA appends an AAAA record (RFC 3596).
func AppendAAAA(msg []byte, owner uint16, ttl uint32, addr [16]byte) []byte {
	return append(AppendRecord(msg, owner, TypeAAAA, ClassIN, ttl, 16), addr[:]...)
}

// AppendCNAME appends a CNAME record whose target, in wire form, is not compressed.
func AppendCNAME(msg []byte, owner uint16, ttl uint32, target []byte) []byte {
	return append(AppendRecord(msg, owner, TypeCNAME, ClassIN, ttl, len(target)), target...)
}
