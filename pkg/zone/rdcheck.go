package zone

import (
	"encoding/binary"
	"fmt"

	"github.com/miekg/dns"
)

// What miekg/dns lets pass in rdata and other servers refuse.

// longString finds a character-string of more than 255 octets, which miekg/dns would split, and a HINFO without its two
// strings. It gives the index of the token, or -1.
func longString(typ uint16, args []token) (int, string) {
	switch typ {
	case dns.TypeTXT, dns.TypeSPF, dns.TypeAVC, dns.TypeNINFO, dns.TypeRESINFO, dns.TypeHINFO, dns.TypeNAPTR, dns.TypeX25, dns.TypeISDN:
	default:
		return -1, ""
	}
	if string(args[0].text) == `\#` { // RFC 3597 section 5
		return -1, ""
	}
	total := 0
	for i, t := range args {
		count, longest := countStrings(t.text)
		if longest > stringMax {
			return i, fmt.Sprintf("a string of %d octets; %d is the most, write several", longest, stringMax)
		}
		total += count
	}
	if typ == dns.TypeHINFO && total != 2 {
		return 0, fmt.Sprintf("HINFO has %d strings; it needs two, CPU and operating system", total)
	}
	return -1, ""
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

// checkRdata says what is wrong with a record's wire form, "" if nothing. All code after it may rely on the names of
// nameFields being whole.
func checkRdata(typ uint16, data []byte) string {
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
	case dns.TypeSVCB, dns.TypeHTTPS:
		return checkSVCB(data)
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
func parseSVCB(data []byte) (priority uint16, target []byte, params []svcParam, ok bool) {
	if len(data) < 3 {
		return 0, nil, nil, false
	}
	n := wholeName(data[2:])
	if n == 0 {
		return 0, nil, nil, false
	}
	priority, target = binary.BigEndian.Uint16(data), data[2:2+n]
	for data = data[2+n:]; len(data) > 0; {
		if len(data) < 4 {
			return 0, nil, nil, false
		}
		key, size := binary.BigEndian.Uint16(data), int(binary.BigEndian.Uint16(data[2:]))
		if len(data) < 4+size {
			return 0, nil, nil, false
		}
		params = append(params, svcParam{key, data[4 : 4+size]})
		data = data[4+size:]
	}
	return priority, target, params, true
}

// checkSVCB checks what RFC 9460 sections 2.2, 7 and 8 ask of the parameters.
func checkSVCB(data []byte) string {
	_, _, params, ok := parseSVCB(data)
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
