package zone

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// What miekg/dns lets pass in rdata and other servers refuse.

// genericRdata begins rdata in the form for unknown types, which all types may use (RFC 3597 section 5).
const genericRdata = `\#`

// checkTokens finds what is wrong in the text of rdata: escapes that are none, a character-string of more than 255 octets, which
// miekg/dns would split, or a HINFO without its two strings. It gives the index of the token, or -1.
func checkTokens(typ uint16, args []token) (int, string) {
	for i, t := range args {
		if !validEscapes(t.text) {
			return i, errEscape.Error()
		}
	}
	switch typ {
	case dns.TypeTXT, dns.TypeSPF, dns.TypeAVC, dns.TypeNINFO, dns.TypeRESINFO, dns.TypeHINFO, dns.TypeNAPTR, dns.TypeX25, dns.TypeISDN:
	default:
		return -1, ""
	}
	if len(args) == 0 || string(args[0].text) == genericRdata {
		return -1, ""
	}
	total := 0
	for i, t := range args {
		count, longest := countStrings(t.text)
		if longest > stringMax {
			return i, fmt.Sprintf("the string has %d octets; %d is the most, write several", longest, stringMax)
		}
		total += count
	}
	if typ == dns.TypeHINFO && total != 2 {
		return 0, fmt.Sprintf("HINFO has %d strings; it needs two, CPU and operating system", total)
	}
	return -1, ""
}

// validEscapes says whether every backslash is followed by a character or by three digits up to 255.
func validEscapes(text []byte) bool {
	for i := bytes.IndexByte(text, '\\'); i >= 0; i = bytes.IndexByte(text, '\\') {
		_, took := unescape(text[i+1:])
		if took == 0 {
			return false
		}
		text = text[i+1+took:]
	}
	return true
}

// countStrings counts the character-strings of a token, more than one only if quotes end between them, and gives the
// length of the longest.
func countStrings(text []byte) (count, longest int) {
	n, open, quoted := 0, false, false
	end := func() {
		count++
		longest = max(longest, n)
		n, open = 0, false
	}
	for i := 0; i < len(text); i++ {
		if text[i] == '"' {
			if quoted || open {
				end()
			}
			quoted = !quoted
			continue
		}
		if text[i] == '\\' {
			_, took := unescape(text[i+1:])
			i += took
		}
		n++
		open = true
	}
	if open {
		end()
	}
	return count, longest
}

// fields says how few and how many fields the rdata of a type has, where miekg/dns takes fewer or more; 0, 0 where it is as
// strict as others.
func fields(typ uint16) (low, high int) {
	const open = 1 << 16 // base64 and hexadecimal may be split by white space
	switch typ {
	case dns.TypeSOA:
		return 7, 7
	case dns.TypeNSEC3PARAM:
		return 4, 4
	case dns.TypeISDN:
		return 1, 2
	case dns.TypeSSHFP:
		return 3, open
	case dns.TypeDNSKEY, dns.TypeCDNSKEY, dns.TypeKEY, dns.TypeRKEY, dns.TypeCERT, dns.TypeTLSA, dns.TypeSMIMEA, dns.TypeZONEMD:
		return 4, open
	case dns.TypeRRSIG, dns.TypeSIG:
		return 9, open
	}
	return 0, 0
}

// checkFields checks what the text of rdata shows and its wire form does not.
func checkFields(typ uint16, args []token, data []byte) string {
	if string(args[0].text) == genericRdata {
		if len(args) < 2 || string(args[1].text) != strconv.Itoa(len(data)) {
			return fmt.Sprintf("the rdata of this type has %d octets, not as many as it says", len(data))
		}
		return ""
	}
	low, high := fields(typ)
	wrong := high > 0 && (len(args) < low || len(args) > high)
	switch typ {
	case dns.TypeLOC: // behind the longitude: altitude, size and two precisions (RFC 1876 section 3)
		east := slices.IndexFunc(args, func(t token) bool { return len(t.text) == 1 && strings.ContainsAny(string(t.text), "EWew") })
		wrong = east < 0 || len(args)-east-1 > 4
	case dns.TypeURI:
		if args[len(args)-1].text[0] != '"' {
			return "the target of URI is written in quotes (RFC 7553 section 4.4)"
		}
	}
	if !wrong {
		return ""
	}
	if form := rdataForm(typ); form != "" {
		return fmt.Sprintf("the rdata has %d fields; write %s", len(args), form)
	}
	return fmt.Sprintf("the rdata has %d fields, which its type has not", len(args))
}

// checkRdata says what is wrong with a record's rdata, "" if nothing. args is its text, data its wire form. All code after it
// may rely on the names of nameFields being whole.
func checkRdata(typ uint16, args []token, data []byte) string {
	if len(args) > 0 {
		if problem := checkFields(typ, args, data); problem != "" {
			return problem
		}
	}
	if len(data) == 0 {
		if _, known := dns.TypeToRR[typ]; known && typ != dns.TypeAPL && typ != dns.TypeNULL {
			return "the rdata is empty"
		}
		return ""
	}
	rest := data
	if skip, names, ok := nameFields(typ); ok {
		for rest = data[min(skip, len(data)):]; names > 0; names-- {
			n := wholeName(rest)
			if n == 0 {
				return "the rdata holds no whole domain name"
			}
			rest = rest[n:]
		}
	}
	switch typ {
	case dns.TypeA:
		return wantLength(data, 4)
	case dns.TypeAAAA:
		return wantLength(data, 16)
	case dns.TypeSOA:
		return wantLength(rest, 20)
	case dns.TypeDS, dns.TypeCDS, dns.TypeDLV, dns.TypeSSHFP, dns.TypeZONEMD:
		return checkDigest(typ, data)
	case dns.TypeCAA:
		return checkCAA(data)
	case dns.TypeSVCB, dns.TypeHTTPS:
		return checkSVCB(data)
	}
	return ""
}

// checkDigest checks that a digest has the length of its type (RFC 4034 appendix A.2, RFC 4509, RFC 6605; RFC 4255, RFC 6594;
// RFC 8976 section 2.2.4).
func checkDigest(typ uint16, data []byte) string {
	head, lengths := 4, map[uint8]int{dns.SHA1: 20, dns.SHA256: 32, dns.GOST94: 32, dns.SHA384: 48}
	switch typ {
	case dns.TypeSSHFP:
		head, lengths = 2, map[uint8]int{1: 20, 2: 32}
	case dns.TypeZONEMD:
		head, lengths = 6, map[uint8]int{dns.ZoneMDHashAlgSHA384: 48, dns.ZoneMDHashAlgSHA512: 64}
	}
	if len(data) <= head {
		return "the rdata holds no digest"
	}
	kind := data[head-1]
	if got, want := len(data)-head, lengths[kind]; want != 0 && got != want {
		return fmt.Sprintf("the digest has %d octets; digest type %d has %d", got, kind, want)
	}
	return ""
}

// checkCAA checks the property tag: letters and digits (RFC 8659 section 4.1).
func checkCAA(data []byte) string {
	if len(data) < 2 || len(data) < 2+int(data[1]) || data[1] == 0 {
		return "the rdata holds no property tag"
	}
	for _, c := range data[2 : 2+data[1]] {
		if !isDigit(c) && (c|0x20)-'a' >= 26 {
			return fmt.Sprintf("the property tag %s is not of letters and digits", quote(data[2:2+data[1]]))
		}
	}
	return ""
}

// wantLength checks a fixed length.
func wantLength(data []byte, want int) string {
	if len(data) != want {
		return fmt.Sprintf("the rdata has %d octets where %d belong", len(data), want)
	}
	return ""
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

// SvcParamKeys that are checked here: RFC 9460 section 14.3.2.
const (
	svcMandatory     = 0
	svcALPN          = 1
	svcNoDefaultALPN = 2
	svcPort          = 3
	svcIPv4Hint      = 4
	svcIPv6Hint      = 6
)

// svcParam is one parameter of an SVCB or HTTPS record.
type svcParam struct {
	key   uint16
	value []byte
}

// parseSVCB splits the rdata of SVCB or HTTPS. The target is not folded. It is false if the form is broken.
func parseSVCB(data []byte) (target []byte, params []svcParam, ok bool) {
	if len(data) < 3 {
		return nil, nil, false
	}
	n := wholeName(data[2:])
	if n == 0 {
		return nil, nil, false
	}
	target = data[2 : 2+n]
	for data = data[2+n:]; len(data) > 0; {
		if len(data) < 4 {
			return nil, nil, false
		}
		key, size := binary.BigEndian.Uint16(data), int(binary.BigEndian.Uint16(data[2:]))
		if len(data) < 4+size {
			return nil, nil, false
		}
		params = append(params, svcParam{key, data[4 : 4+size]})
		data = data[4+size:]
	}
	return target, params, true
}

// checkSVCB checks what RFC 9460 sections 2.2, 7 and 8 ask of the parameters.
func checkSVCB(data []byte) string {
	_, params, ok := parseSVCB(data)
	if !ok {
		return "the rdata is no SvcPriority, TargetName and SvcParams"
	}
	has := map[uint16]bool{}
	for i, p := range params {
		if i > 0 && p.key <= params[i-1].key {
			return "its parameters repeat a key or are out of order"
		}
		has[p.key] = true
		if text := checkSvcParam(p); text != "" {
			return text
		}
	}
	if has[svcNoDefaultALPN] && !has[svcALPN] {
		return "no-default-alpn needs alpn beside it"
	}
	if !has[svcMandatory] {
		return ""
	}
	for v, last := params[0].value, -1; len(v) >= 2; v = v[2:] {
		key := binary.BigEndian.Uint16(v)
		if key == svcMandatory || int(key) <= last || !has[key] {
			return "mandatory lists a key twice, itself, or one that is missing"
		}
		last = int(key)
	}
	return ""
}

// checkSvcParam checks the size of one parameter's value.
func checkSvcParam(p svcParam) string {
	good := true
	switch n := len(p.value); p.key {
	case svcMandatory:
		good = n > 0 && n%2 == 0
	case svcALPN:
		good = n > 0
	case svcNoDefaultALPN:
		good = n == 0
	case svcPort:
		good = n == 2
	case svcIPv4Hint:
		good = n > 0 && n%4 == 0
	case svcIPv6Hint:
		good = n > 0 && n%16 == 0
	}
	if !good {
		return fmt.Sprintf("the value of parameter %s has %d octets", dns.SVCBKey(p.key), len(p.value))
	}
	return ""
}
