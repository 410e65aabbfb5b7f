package zone

import (
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// typeByText gives the number of a type mnemonic or of TYPEnnn (RFC 3597 section 5), any case.
func typeByText(text []byte) (uint16, bool) {
	var buf [16]byte
	if len(text) > len(buf) {
		return 0, false
	}
	upper := buf[:copy(buf[:], text)]
	for i, c := range upper {
		if c-'a' < 26 {
			upper[i] = c - 0x20
		}
	}
	switch string(upper) {
	case "STEER":
		return typeSTEER, true
	case "WKS":
		return typeWKS, true
	case "NSAP":
		return typeNSAP, true
	}
	if t, ok := dns.StringToType[string(upper)]; ok {
		return t, true
	}
	if digits, ok := strings.CutPrefix(string(upper), "TYPE"); ok {
		t, err := strconv.ParseUint(digits, 10, 16)
		return uint16(t), err == nil
	}
	return 0, false
}

// typeText gives a type's mnemonic, or TYPEnnn.
func typeText(t uint16) string {
	switch t {
	case typeSTEER:
		return "STEER"
	case typeWKS:
		return "WKS"
	case typeNSAP:
		return "NSAP"
	}
	return dns.Type(t).String()
}

// isMetaType says whether a type may be asked for but not stand in a zone: QTYPEs and meta types (RFC 6895 section
// 3.1), and the reserved numbers.
func isMetaType(t uint16) bool {
	return t == 0 || t == dns.TypeOPT || t >= 128 && t <= 255 || t == 65535
}

// nameFields says where in the rdata of a type domain names stand: after skip octets, count of them in a row. Only types
// whose names matter for compression, for duplicates or for checks are known. Behind the names there may be more.
func nameFields(t uint16) (skip, count int, ok bool) {
	switch t {
	case dns.TypeNS, dns.TypeMD, dns.TypeMF, dns.TypeCNAME, dns.TypeMB, dns.TypeMG, dns.TypeMR, dns.TypePTR, dns.TypeDNAME:
		return 0, 1, true
	case dns.TypeSOA, dns.TypeMINFO, dns.TypeRP:
		return 0, 2, true
	case dns.TypeMX, dns.TypeAFSDB, dns.TypeRT, dns.TypeKX:
		return 2, 1, true
	case dns.TypeSRV:
		return 6, 1, true
	}
	return 0, 0, false
}

// compressible says whether names in a type's rdata may be compressed: the types of RFC 1035 only (RFC 3597 section 4).
func compressible(t uint16) bool {
	switch t {
	case dns.TypeNS, dns.TypeMD, dns.TypeMF, dns.TypeCNAME, dns.TypeMB, dns.TypeMG, dns.TypeMR, dns.TypePTR, dns.TypeSOA, dns.TypeMINFO,
		dns.TypeMX:
		return true
	}
	return false
}

// nameLen gives the length of the wire name at the beginning of b; b holds it whole.
func nameLen(b []byte) int {
	n := 0
	for b[n] != 0 {
		n += 1 + int(b[n])
	}
	return n + 1
}

// target gives the domain name in the rdata of NS, CNAME, DNAME, PTR, MX or SRV, not folded.
func target(typ uint16, rdata []byte) []byte {
	skip, _, _ := nameFields(typ)
	return rdata[skip:][:nameLen(rdata[skip:])]
}
