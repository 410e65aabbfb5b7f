package zone

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// SvcParamKeys (RFC 9460 section 14.3.2; RFC 9461 section 5; RFC 9540 section 4).
const (
	svcMandatory     = 0
	svcALPN          = 1
	svcNoDefaultALPN = 2
	svcPort          = 3
	svcIPv4Hint      = 4
	svcECH           = 5
	svcIPv6Hint      = 6
	svcDoHPath       = 7
	svcOHTTP         = 8
	svcInvalid       = 65535
)

// svcParam is one parameter of an SVCB or HTTPS record.
type svcParam struct {
	key   uint16
	value []byte
}

// svcKeyNames are the names of the keys from 0 on.
const svcKeyNames = "mandatory alpn no-default-alpn port ipv4hint ech ipv6hint dohpath ohttp"

// svcKeyText gives a key's name, or keyNNNNN.
func svcKeyText(key uint16) string {
	if names := strings.Fields(svcKeyNames); int(key) < len(names) {
		return names[key]
	}
	return "key" + strconv.Itoa(int(key))
}

// svcKeyByText gives the number of a key's name or of keyNNNNN without leading zeros (RFC 9460 section 2.1).
func svcKeyByText(text string) (key uint16, generic, ok bool) {
	if i := slices.Index(strings.Fields(svcKeyNames), text); i >= 0 {
		return uint16(i), false, true
	}
	digits, generic := strings.CutPrefix(text, "key")
	v, ok := decimal([]byte(digits), math.MaxUint16)
	return uint16(v), true, generic && ok && (digits == "0" || digits[0] != '0')
}

// svcParams reads the parameters of SVCB and HTTPS and writes them in the order of their keys (RFC 9460 sections 2.1 and 2.2).
func (p *rdataParser) svcParams() *rdataError {
	p.params = p.params[:0]
	for p.next < len(p.args) {
		text := p.take()
		key, value, _ := bytes.Cut(text, []byte{'='})
		number, generic, ok := svcKeyByText(string(key))
		switch {
		case !ok:
			return p.wrong("parameter", fmt.Sprintf("has the unknown key %s; one without a name is written as key123", quote(key)))
		case slices.ContainsFunc(p.params, func(o svcParam) bool { return o.key == number }):
			return p.wrong("parameter", "repeats the key "+svcKeyText(number))
		}
		var raw []byte
		if len(value) > 0 {
			var rest []byte
			if raw, rest, ok = appendString(nil, value); !ok {
				return p.wrong("parameter", "has a wrong escape: "+errEscape.Error())
			}
			if len(rest) > 0 {
				return p.wrong("parameter", "has a quote within its value; the whole value is quoted, or nothing")
			}
		}
		wire, problem := raw, ""
		if !generic {
			wire, problem = svcValue(number, raw)
		}
		if problem == "" {
			problem = checkSvcParam(svcParam{number, wire})
		}
		if problem != "" {
			return p.wrong("parameter", "is wrong: "+problem)
		}
		p.params = append(p.params, svcParam{number, wire})
	}
	slices.SortFunc(p.params, func(a, b svcParam) int { return cmp.Compare(a.key, b.key) })
	for _, param := range p.params {
		if len(param.value) > math.MaxUint16 {
			return &rdataError{-1, "a parameter's value has more than 65535 octets"}
		}
		p.out = binary.BigEndian.AppendUint16(p.out, param.key)
		p.out = binary.BigEndian.AppendUint16(p.out, uint16(len(param.value)))
		p.out = append(p.out, param.value...)
	}
	return nil
}

// svcValue gives the wire form of the value of a key that has a name, or what is wrong with its text.
func svcValue(key uint16, text []byte) (wire []byte, problem string) {
	switch key {
	case svcMandatory:
		for name := range bytes.SplitSeq(text, []byte{','}) {
			k, _, ok := svcKeyByText(string(name))
			if !ok {
				return nil, fmt.Sprintf("it lists %s, which is no key", quote(name))
			}
			wire = binary.BigEndian.AppendUint16(wire, k)
		}
		return sortKeys(wire), ""
	case svcALPN:
		return alpnList(text)
	case svcNoDefaultALPN, svcOHTTP:
		if len(text) > 0 {
			return nil, "it has no value"
		}
		return nil, ""
	case svcPort:
		v, ok := decimal(text, math.MaxUint16)
		if !ok {
			return nil, "its value is no number from 0 to 65535"
		}
		return binary.BigEndian.AppendUint16(nil, uint16(v)), ""
	case svcIPv4Hint:
		for a := range bytes.SplitSeq(text, []byte{','}) {
			var ok bool
			if wire, ok = appendIPv4(wire, a); !ok {
				return nil, fmt.Sprintf("%s is no IPv4 address", quote(a))
			}
		}
	case svcIPv6Hint:
		for a := range bytes.SplitSeq(text, []byte{','}) {
			addr, ok := ipv6ByText(a)
			if !ok {
				return nil, fmt.Sprintf("%s is no IPv6 address", quote(a))
			}
			wire = append(wire, addr[:]...)
		}
	case svcECH:
		var err error
		if wire, err = base64.StdEncoding.Strict().AppendDecode(nil, text); err != nil || len(wire) == 0 {
			return nil, "its value is no base64"
		}
	case svcDoHPath:
		return text, ""
	}
	return wire, ""
}

// sortKeys sorts keys of two octets each.
func sortKeys(keys []byte) []byte {
	pairs := slices.Collect(slices.Chunk(keys, 2))
	slices.SortFunc(pairs, bytes.Compare)
	return slices.Concat(pairs...)
}

// alpnList gives the wire form of a list of protocols, in which "\," is a comma and "\\" a backslash (RFC 9460 appendix A.1).
func alpnList(text []byte) ([]byte, string) {
	out := []byte{0}
	at := 0
	for i := 0; i <= len(text); i++ {
		if i < len(text) && text[i] != ',' {
			if text[i] == '\\' {
				if i++; i == len(text) || text[i] != ',' && text[i] != '\\' {
					return nil, `in its list a backslash, itself escaped, stands before a comma or another`
				}
			}
			out = append(out, text[i])
			continue
		}
		n := len(out) - at - 1
		if n == 0 || n > math.MaxUint8 {
			return nil, fmt.Sprintf("its list has a protocol of %d octets", n)
		}
		out[at] = byte(n)
		if i < len(text) {
			at = len(out)
			out = append(out, 0)
		}
	}
	return out, ""
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
		return "the rdata is no priority, target and parameters"
	}
	has := map[uint16]bool{}
	for i, p := range params {
		if i > 0 && p.key <= params[i-1].key {
			return fmt.Sprintf("parameter %s is repeated or out of order", svcKeyText(p.key))
		}
		has[p.key] = true
		if text := checkSvcParam(p); text != "" {
			return fmt.Sprintf("parameter %s is wrong: %s", svcKeyText(p.key), text)
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
		switch {
		case key == svcMandatory:
			return "mandatory lists itself"
		case int(key) == last:
			return "mandatory lists " + svcKeyText(key) + " twice"
		case int(key) < last:
			return "mandatory's keys are out of order"
		case !has[key]:
			return "mandatory lists " + svcKeyText(key) + ", which is missing"
		}
		last = int(key)
	}
	return ""
}

// checkSvcParam checks one parameter's value.
func checkSvcParam(p svcParam) string {
	good := true
	switch n := len(p.value); p.key {
	case svcMandatory:
		good = n > 0 && n%2 == 0
	case svcALPN:
		return checkALPN(p.value)
	case svcNoDefaultALPN, svcOHTTP:
		good = n == 0
	case svcPort:
		good = n == 2
	case svcIPv4Hint:
		good = n > 0 && n%4 == 0
	case svcIPv6Hint:
		good = n > 0 && n%16 == 0
	case svcDoHPath:
		return checkDoHPath(p.value)
	case svcInvalid:
		return "key65535 is reserved (RFC 9460 section 14.3.2)"
	}
	if !good {
		return fmt.Sprintf("its value has %d octets", len(p.value))
	}
	return ""
}

// checkALPN checks a list of protocols: each of one octet at least, with its length before it.
func checkALPN(v []byte) string {
	if len(v) == 0 {
		return "its list is empty"
	}
	for len(v) > 0 {
		n := int(v[0])
		if n == 0 || n >= len(v) {
			return fmt.Sprintf("its list has a protocol of %d octets where %d are left", n, len(v)-1)
		}
		v = v[1+n:]
	}
	return ""
}

// checkDoHPath checks a URI template: a path that has the variable dns (RFC 9461 section 5).
func checkDoHPath(v []byte) string {
	variable := false
	for rest := string(v); ; {
		_, after, open := strings.Cut(rest, "{")
		expr, left, closed := strings.Cut(after, "}")
		if !open || !closed {
			break
		}
		for name := range strings.SplitSeq(strings.TrimLeft(expr, "+#./;?&"), ",") {
			variable = variable || strings.TrimSuffix(name, "*") == "dns"
		}
		rest = left
	}
	if len(v) == 0 || v[0] != '/' || !variable {
		return "its value is no path with the variable dns, as in /dns-query{?dns}"
	}
	return ""
}
