package zone

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/miekg/dns"
)

// checkRdata says what is wrong with the sense of a record's rdata, whose form is right; "" if nothing. All code after it may
// rely on the names of nameFields being whole.
func checkRdata(typ uint16, data []byte) string {
	switch typ {
	case dns.TypeDS, dns.TypeCDS, dns.TypeDLV, dns.TypeTA, dns.TypeSSHFP, dns.TypeZONEMD:
		return checkDigest(typ, data)
	case dns.TypeCAA:
		return checkCAA(data)
	case dns.TypeSVCB, dns.TypeHTTPS:
		return checkSVCB(data)
	case dns.TypeNAPTR:
		return checkNAPTR(data)
	case dns.TypeNSEC3:
		return checkNSEC3(data)
	case dns.TypeNSEC:
		if wholeName(data) == len(data) {
			return "the list of types is empty; NSEC itself is always in it (RFC 4034 section 4.1.2)"
		}
	case dns.TypeX25:
		if len(data)-1 < 4 || !allDigits(data[1:]) {
			return fmt.Sprintf("address %s is not four or more decimal digits (RFC 1183 section 3.1)", quote(data[1:]))
		}
	case dns.TypeGPOS:
		return checkGPOS(data)
	case dns.TypeMD:
		return "MD is obsolete; write MX with preference 0 (RFC 1035 section 3.3.4)"
	case dns.TypeMF:
		return "MF is obsolete; write MX with preference 10 (RFC 1035 section 3.3.5)"
	}
	return ""
}

// oddRdata says what is odd about a record's rdata, which may stand all the same; "" if nothing.
func oddRdata(typ uint16, data []byte) string {
	switch typ {
	case dns.TypeMB, dns.TypeMG, dns.TypeMR, dns.TypeMINFO:
		return "the type is an experiment of RFC 1035 that no mail system asks for"
	case dns.TypeNSAPPTR:
		return "NSAP-PTR was given up for PTR (RFC 1706 section 6)"
	case dns.TypeDLV:
		return "the type is historic (RFC 8749)"
	case dns.TypeSIG, dns.TypeNXT:
		return "the type belongs to the DNSSEC before RFC 3755, which nobody checks"
	case dns.TypeNINFO, dns.TypeRKEY, dns.TypeTALINK, dns.TypeTA, dns.TypeEID, dns.TypeNIMLOC:
		return fmt.Sprintf(`the type is in no RFC, and few servers read it; all read it written as TYPE%d \# %d and hexadecimal`, typ, len(data))
	case dns.TypeCAA:
		return oddTag(data[2:][:data[1]])
	case dns.TypeURI:
		if len(data) == 4 {
			return "the target is empty"
		}
	case dns.TypeDNSKEY:
		if data[2] != 3 {
			return fmt.Sprintf("protocol %d is not 3, so the key is never used (RFC 4034 section 2.1.2)", data[2])
		}
	case dns.TypeRRSIG:
		if end, begin := binary.BigEndian.Uint32(data[8:]), binary.BigEndian.Uint32(data[12:]); int32(end-begin) < 0 {
			return "the signature ends before it begins"
		}
	case dns.TypeHTTPS, dns.TypeSVCB:
		return oddSVCB(data)
	case dns.TypeNAPTR:
		return oddNAPTR(data)
	case dns.TypeNS, dns.TypeMX, dns.TypeSRV:
		if host := target(typ, data); looksLikeAddress(host) {
			return fmt.Sprintf("the host %s looks like an address; a name belongs there", nameText(host))
		}
	}
	return ""
}

// looksLikeAddress says whether a name's first four labels are decimal numbers, as those of an address.
func looksLikeAddress(name []byte) bool {
	for range 4 {
		if name[0] == 0 || name[0] > 3 || !allDigits(name[1:1+name[0]]) {
			return false
		}
		name = parent(name)
	}
	return true
}

// allDigits says whether b is decimal digits alone.
func allDigits(b []byte) bool {
	for _, c := range b {
		if !isDigit(c) {
			return false
		}
	}
	return true
}

// checkDigest checks that a digest has the length of its type (RFC 4034 appendix A.2, RFC 4509, RFC 6605; RFC 4255, RFC 6594;
// RFC 8976 section 2.2.4).
func checkDigest(typ uint16, data []byte) string {
	head, least, lengths := 4, 1, map[uint8]int{dns.SHA1: 20, dns.SHA256: 32, dns.GOST94: 32, dns.SHA384: 48}
	switch typ {
	case dns.TypeSSHFP:
		head, lengths = 2, map[uint8]int{1: 20, 2: 32}
	case dns.TypeZONEMD:
		head, least, lengths = 6, zonemdMin, map[uint8]int{dns.ZoneMDHashAlgSHA384: 48, dns.ZoneMDHashAlgSHA512: 64}
	}
	got, kind := len(data)-head, data[head-1]
	switch want := lengths[kind]; {
	case want != 0 && got != want:
		return fmt.Sprintf("the digest has %d octets; one of type %d has %d", got, kind, want)
	case got < least:
		return fmt.Sprintf("the digest has %d octets; %d is the least", got, least)
	}
	return ""
}

// zonemdMin is the least octets of a ZONEMD digest: RFC 8976 section 2.2.4.
const zonemdMin = 12

// checkCAA checks the property tag: letters and digits (RFC 8659 section 4.1).
func checkCAA(data []byte) string {
	tag := data[2:][:data[1]]
	if len(tag) == 0 {
		return "the tag is empty"
	}
	for _, c := range tag {
		if !isDigit(c) && (c|0x20)-'a' >= 26 {
			return fmt.Sprintf("the tag %s is not of letters and digits", quote(tag))
		}
	}
	return ""
}

// oddTag says what is odd about a CAA tag.
func oddTag(tag []byte) string {
	switch {
	case !bytes.Equal(tag, bytes.ToLower(tag)):
		return fmt.Sprintf("the tag %s has capitals; some servers take small letters alone", quote(tag))
	case len(tag) > 15:
		return fmt.Sprintf("the tag %s has more than 15 characters, which some servers do not take (RFC 6844 section 5.1)", quote(tag))
	}
	return ""
}

// oddSVCB says what is odd about SVCB or HTTPS whose parameters are right.
func oddSVCB(data []byte) string {
	_, params, _ := parseSVCB(data)
	if binary.BigEndian.Uint16(data) == 0 && len(params) > 0 {
		return "priority 0 makes it an alias, whose parameters are ignored (RFC 9460 section 2.4.2)"
	}
	for _, p := range params {
		for v := p.value; p.key == svcIPv6Hint && len(v) >= 16; v = v[16:] {
			if bytes.HasPrefix(v, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}) {
				return "ipv6hint holds an IPv4 address as an IPv6 one, which nothing can be sent to and some programs refuse; ipv4hint is meant?"
			}
		}
	}
	return ""
}

// checkNSEC3 checks that the hash has its algorithm's length: 20 octets of SHA-1 (RFC 5155 section 11).
func checkNSEC3(data []byte) string {
	at := 5 + int(data[4])
	if n := int(data[at]); data[0] == dns.SHA1 && n != 20 {
		return fmt.Sprintf("the next hash has %d octets; SHA-1's have 20", n)
	}
	return ""
}

// checkGPOS checks that GPOS holds numbers, and degrees that there are. RFC 1712 section 3 has the longitude first and its example the
// latitude, so that either may be above 90.
func checkGPOS(data []byte) string {
	for _, name := range []string{"longitude", "latitude", "altitude"} {
		text := data[1:][:data[0]]
		data = data[1+len(text):]
		v, err := strconv.ParseFloat(string(text), 64)
		if err != nil || bytes.ContainsAny(text, "eEpPxX_nN") {
			return fmt.Sprintf("%s %s is no decimal number", name, quote(text))
		}
		if name != "altitude" && (v < -180 || v > 180) {
			return fmt.Sprintf("%s %s is not from -180 to 180 degrees", name, quote(text))
		}
	}
	return ""
}
