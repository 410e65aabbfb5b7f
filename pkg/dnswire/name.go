package dnswire

import "encoding/binary"

// nameSlack is how many octets past a folded name are there and zero, so that a reader may load eight octets at any
// octet of the name.
const nameSlack = 8

// NameLen is the length in octets of the uncompressed name that wire starts with, root label included, and its number
// of labels, the root not counted. It is -1 if the name is cut off, longer than NameMax, or has a compression pointer
// or another label type (RFC 1035 section 4.1.4, RFC 6891 section 5).
func NameLen(wire []byte) (length, labels int) {
	for length < len(wire) {
		n := int(wire[length])
		if n == 0 {
			return length + 1, labels
		}
		length += 1 + n
		// The root label has to follow, so a name that already fills NameMax is too long.
		if n > LabelMax || length >= NameMax {
			return -1, 0
		}
		labels++
	}
	return -1, 0
}

// skipName is the offset behind the name at off, which may end in a compression pointer, or -1 if it is cut off, longer than
// NameMax before that, or has another label type. The pointer is not followed.
func skipName(msg []byte, off int) int {
	end := min(len(msg), off+NameMax)
	for off < end {
		n := int(msg[off])
		switch {
		case n == 0:
			return off + 1
		case n <= LabelMax:
			off += 1 + n
		case n >= 0xC0:
			if off+2 > end {
				return -1
			}
			return off + 2
		default:
			return -1
		}
	}
	return -1
}

// fold copies the name of n octets at msg[HeaderLen:] to dst in lower case and zeroes the slack behind it. Eight octets
// are folded at a time, which may read into what follows the name but never past the message.
func fold(dst *[NameMax + nameSlack]byte, msg []byte, n int) {
	src := msg[HeaderLen:]
	i := 0
	for i < n && i+8 <= len(src) && i+8 <= len(dst) {
		binary.LittleEndian.PutUint64(dst[i:], lowerWord(binary.LittleEndian.Uint64(src[i:])))
		i += 8
	}
	for ; i < n && i < len(src) && i < len(dst); i++ {
		dst[i] = lowerByte(src[i])
	}
	if n >= 0 && n <= NameMax {
		binary.LittleEndian.PutUint64(dst[n:n+nameSlack], 0)
	}
}

func lowerByte(c byte) byte {
	if c-'A' < 26 {
		return c + ('a' - 'A')
	}
	return c
}

// lowerWord is lowerByte on eight octets at once. With the top bit of each octet cleared, adding 0x3F carries into it
// exactly for octets from 'A' on, adding 0x25 for octets behind 'Z'; where only the first did, and the octet was ASCII,
// the octet is a capital and bit 5 makes it small.
func lowerWord(w uint64) uint64 {
	const (
		ones = 0x0101010101010101
		low7 = 0x7F * ones
		top  = 0x80 * ones
	)
	ascii := w & low7
	capital := ((ascii + (0x80-'A')*ones) ^ (ascii + (0x7F-'Z')*ones)) &^ w & top
	return w | capital>>2
}
