package zone

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// walkRdata says what is wrong in the octets of a type's rdata, "" if nothing: whether they are its fields and no more.
// Rdata of unknown types may be anything (RFC 3597 section 5 lets known types be written as octets; then they must be right).
func walkRdata(typ uint16, data []byte) string {
	fields := rdataSyntax(typ)
	if fields == "" {
		return ""
	}
	if len(data) == 0 && !strings.HasSuffix(fields, "apl?") {
		return "the rdata is empty"
	}
	rest := data
	for fields != "" {
		var name, kind string
		name, kind, fields = cutField(fields)
		if len(rest) == 0 && strings.HasSuffix(kind, "?") {
			continue
		}
		n, ok := fieldLen(strings.TrimSuffix(kind, "?"), rest)
		if !ok {
			return fmt.Sprintf("at octet %d of %d: %s cut off or wrong", len(data)-len(rest), len(data), fieldText(name))
		}
		rest = rest[n:]
	}
	if len(rest) > 0 {
		return fmt.Sprintf("the last %d of the %d octets are too much", len(rest), len(data))
	}
	return ""
}

// fieldLen gives the length of a field at the beginning of b. It is false if the field is not whole or has a form that it may
// not have.
func fieldLen(kind string, b []byte) (int, bool) {
	switch kind {
	case "u8", "algorithm", "protocol":
		return 1, len(b) >= 1
	case "u16", "certtype", "type":
		return 2, len(b) >= 2
	case "u32", "ttl", "date", "ipv4":
		return 4, len(b) >= 4
	case "ipv6":
		return 16, len(b) >= 16
	case "groups", "eui64":
		return 8, len(b) >= 8
	case "eui48":
		return 6, len(b) >= 6
	case "name":
		n := wholeName(b)
		return n, n > 0
	case "string", "tag", "salt", "base32":
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return 0, false
		}
		return 1 + int(b[0]), true
	case "strings":
		return len(b), len(b) > 0 && wholeStrings(b)
	case "hex", "base64", "nsap":
		return len(b), len(b) > 0
	case "text", "quoted", "services":
		return len(b), true
	case "svcparams":
		return len(b), wholeParams(b)
	case "types":
		return len(b), wholeBitmap(b)
	case "nxt":
		return len(b), len(b) > 0 && len(b) <= 16
	}
	return rareFieldLen(kind, b)
}

// rareFieldLen is fieldLen for the kinds that one or two types have.
func rareFieldLen(kind string, b []byte) (int, bool) {
	switch kind {
	case "loc": // version 0; each precision is a digit and a power of ten (RFC 1876 section 2)
		if len(b) < 16 || b[0] != 0 {
			return 0, false
		}
		for _, size := range b[1:4] {
			if size>>4 > 9 || size&15 > 9 {
				return 0, false
			}
		}
		return 16, true
	case "apl":
		return len(b), wholePrefixes(b)
	case "hip":
		if len(b) < 4 {
			return 0, false
		}
		at := 4 + int(b[0]) + int(binary.BigEndian.Uint16(b[2:]))
		for at < len(b) {
			n := wholeName(b[at:])
			if n == 0 {
				return 0, false
			}
			at += n
		}
		return len(b), at == len(b) && b[0] > 0
	case "ipseckey":
		if len(b) < 2 {
			return 0, false
		}
		n, ok := gatewayLen(b[0], b[2:])
		return len(b), ok && (len(b) > 2+n || b[1] == 0)
	case "amtrelay":
		if len(b) < 1 {
			return 0, false
		}
		n, ok := gatewayLen(b[0]&0x7f, b[1:])
		return 1 + n, ok
	}
	return 0, false
}

// gatewayLen gives the length of a gateway of a type (RFC 4025 section 2.3, RFC 8777 section 4.2.3).
func gatewayLen(kind byte, b []byte) (int, bool) {
	switch kind {
	case 0:
		return 0, true
	case 1:
		return 4, len(b) >= 4
	case 2:
		return 16, len(b) >= 16
	case 3:
		n := wholeName(b)
		return n, n > 0
	}
	return 0, false
}

// wholeStrings says whether b is character-strings to its end.
func wholeStrings(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 1+int(b[0]) {
			return false
		}
		b = b[1+int(b[0]):]
	}
	return true
}

// wholeParams says whether b is keys and values with their lengths; checkSVCB looks into them.
func wholeParams(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 4 || len(b) < 4+int(binary.BigEndian.Uint16(b[2:])) {
			return false
		}
		b = b[4+int(binary.BigEndian.Uint16(b[2:])):]
	}
	return true
}

// wholeBitmap says whether b is a type bit map: windows in order, each of 1 to 32 octets, the last not zero (RFC 4034 section
// 4.1.2).
func wholeBitmap(b []byte) bool {
	for last := -1; len(b) > 0; {
		if len(b) < 2 || int(b[0]) <= last || b[1] == 0 || b[1] > 32 || len(b) < 2+int(b[1]) || b[1+b[1]] == 0 {
			return false
		}
		last = int(b[0])
		b = b[2+int(b[1]):]
	}
	return true
}

// wholePrefixes says whether b is address prefixes of IPv4 and IPv6 (RFC 3123 section 4).
func wholePrefixes(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 4 || b[0] != 0 {
			return false
		}
		n, most := int(b[3]&0x7f), 4
		switch b[1] {
		case 1:
		case 2:
			most = 16
		default:
			return false
		}
		if n > most || int(b[2]) > 8*most || len(b) < 4+n || n > 0 && b[3+n] == 0 {
			return false
		}
		b = b[4+n:]
	}
	return true
}

// wholeName gives the length of the uncompressed name at the beginning of b, 0 if there is none.
func wholeName(b []byte) int {
	for n := 0; n < len(b) && n < nameMax; n += 1 + int(b[n]) {
		switch {
		case b[n] == 0:
			return n + 1
		case b[n] > labelMax:
			return 0
		}
	}
	return 0
}
