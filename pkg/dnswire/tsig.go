package dnswire

import "encoding/binary"

// TSIGBadKey is the extended error of a TSIG whose key is not known (RFC 8945 section 5.2.1).
const TSIGBadKey uint16 = 17

// TSIG is what an unsigned error answer repeats of a query's TSIG record (RFC 8945 section 5.3.2).
type TSIG struct {
	key, algorithm       [NameMax]byte // as they came, not compressed
	keyLen, algorithmLen int
	timeFudge            [8]byte // time signed, 48 bits of seconds, then the fudge
	id                   uint16  // the original ID
}

// Lengths within the data of a TSIG record (RFC 8945 section 4.2).
const (
	tsigTimeLen  = 8 // time signed and fudge
	tsigFixedLen = tsigTimeLen + 2 + 6
	tsigOther    = 4 // offset of OTHER LEN behind the MAC
)

// tsigAlgorithm is the octets of the algorithm's name in a TSIG record, given by the ten octets behind its owner and its
// data; -1 where it is none: not of class ANY and TTL 0, a compressed algorithm, or a MAC and other data that do not fill the
// rest exactly.
func tsigAlgorithm(fixed, data []byte) int {
	if binary.BigEndian.Uint16(fixed[2:]) != ClassANY || binary.BigEndian.Uint32(fixed[4:]) != 0 {
		return -1
	}
	n, _ := NameLen(data)
	if n < 0 || n+tsigFixedLen > len(data) {
		return -1
	}
	mac := int(binary.BigEndian.Uint16(data[n+tsigTimeLen:]))
	if n+tsigFixedLen+mac > len(data) {
		return -1
	}
	behind := data[n+tsigTimeLen+2+mac:]
	if len(behind) != tsigOther+2+int(binary.BigEndian.Uint16(behind[tsigOther:])) {
		return -1
	}
	return n
}

// Read takes the record of a query, msg, that Parse has found to have one. It is false where the key's name, which may be
// compressed, leads nowhere.
func (t *TSIG) Read(msg []byte, q *Query) bool {
	data := q.tsigData
	if q.TSIG <= 0 || data+q.tsigAlgorithm+tsigTimeLen > len(msg) {
		return false
	}
	if t.keyLen = expandName(t.key[:], msg, q.TSIG); t.keyLen < 0 {
		return false
	}
	t.algorithmLen = copy(t.algorithm[:], msg[data:data+q.tsigAlgorithm])
	copy(t.timeFudge[:], msg[data+q.tsigAlgorithm:])
	t.id = binary.BigEndian.Uint16(msg)
	return true
}

// Len is the number of octets that AppendError adds.
func (t *TSIG) Len() int { return t.keyLen + 10 + t.algorithmLen + tsigFixedLen }

// AppendError appends the record of an unsigned answer: no MAC, the error, and for the rest what the query said. It counts
// as one additional record, the last.
func (t *TSIG) AppendError(msg []byte, code uint16) []byte {
	n := t.algorithmLen + tsigFixedLen
	msg = append(msg, t.key[:t.keyLen]...)
	msg = append(msg, byte(TypeTSIG>>8), byte(TypeTSIG), byte(ClassANY>>8), byte(ClassANY&0xFF), 0, 0, 0, 0, byte(n>>8), byte(n))
	msg = append(append(msg, t.algorithm[:t.algorithmLen]...), t.timeFudge[:]...)
	return append(msg, 0, 0, byte(t.id>>8), byte(t.id), byte(code>>8), byte(code), 0, 0)
}

// expandName copies the name at off, which may be compressed, to dst and gives its length, or -1 where it is cut off, too
// long, or points to anything but what stands before it (RFC 1035 section 4.1.4), which is also what ends every loop.
func expandName(dst, msg []byte, off int) int {
	length, bound := 0, off
	for off < len(msg) {
		n := int(msg[off])
		switch {
		case n >= 0xC0:
			if off+2 > len(msg) {
				return -1
			}
			off = int(binary.BigEndian.Uint16(msg[off:]) & 0x3FFF)
			if off >= bound || off < HeaderLen {
				return -1
			}
			bound = off
			continue
		case n > LabelMax, length+1+n > NameMax, off+1+n > len(msg):
			return -1
		}
		length += copy(dst[length:], msg[off:off+1+n])
		if n == 0 {
			return length
		}
		off += 1 + n
	}
	return -1
}
