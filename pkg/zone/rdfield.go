package zone

import (
	"bytes"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
)

// rareField reads a field of a kind that one or two types have.
func (p *rdataParser) rareField(name, kind string) *rdataError {
	switch kind {
	case "svcparams":
		return p.svcParams()
	case "loc":
		return p.loc()
	case "apl":
		return p.apl()
	case "nxt":
		return p.nxt()
	case "groups":
		return p.groups(name)
	case "eui48":
		return p.eui(name, 6)
	case "eui64":
		return p.eui(name, 8)
	case "nsap":
		return p.nsap(name)
	case "protocol":
		return p.protocol(name)
	case "services":
		return p.services(name)
	case "hip":
		return p.hip(name)
	case "ipseckey":
		return p.ipseckey(name)
	case "amtrelay":
		return p.amtrelay(name)
	}
	return &rdataError{-1, "no reader for " + kind}
}

// typeList reads all that is left as record types and gives their numbers, each once, in order. The text may have any order.
func (p *rdataParser) typeList(most uint16) ([]uint16, *rdataError) {
	var types []uint16
	for p.next < len(p.args) {
		t, ok := typeByText(p.take())
		if !ok {
			return nil, p.wrong("type", "is no record type")
		}
		if t > most {
			return nil, p.wrong("type", fmt.Sprintf("has a number above %d", most))
		}
		types = append(types, t)
	}
	slices.Sort(types)
	return slices.Compact(types), nil
}

// types reads a type bit map (RFC 4034 section 4.1.2).
func (p *rdataParser) types() *rdataError {
	types, err := p.typeList(math.MaxUint16)
	for len(types) > 0 {
		window := types[0] >> 8
		at := len(p.out)
		p.out = append(p.out, byte(window), 0)
		for ; len(types) > 0 && types[0]>>8 == window; types = types[1:] {
			p.setBit(at+2, int(types[0]&0xff))
		}
		p.out[at+1] = byte(len(p.out) - at - 2)
	}
	return err
}

// nxt reads the bit map of the types below 128 that NXT has (RFC 2535 section 5.2).
func (p *rdataParser) nxt() *rdataError {
	types, err := p.typeList(127)
	at := len(p.out)
	for _, t := range types {
		p.setBit(at, int(t))
	}
	return err
}

// setBit sets a bit of the map that begins at an offset of out and grows as needed. Bits count from the left.
func (p *rdataParser) setBit(at, bit int) {
	for len(p.out) <= at+bit/8 {
		p.out = append(p.out, 0)
	}
	p.out[at+bit/8] |= 0x80 >> (bit % 8)
}

// groups reads 64 bits as four groups of hexadecimal digits (RFC 6742 section 2.1).
func (p *rdataParser) groups(name string) *rdataError {
	text := p.take()
	parts := bytes.Split(text, []byte{':'})
	ok := len(parts) == 4
	for _, part := range parts {
		v := 0
		for _, c := range part {
			d := hexDigit(c)
			ok = ok && d >= 0
			v = v<<4 | d&15
		}
		ok = ok && len(part) >= 1 && len(part) <= 4
		p.out = append(p.out, byte(v>>8), byte(v))
	}
	if !ok {
		return p.wrong(name, "is not 64 bits; write four groups of hexadecimal digits, as in 14:4fff:ff20:ee64")
	}
	return nil
}

// eui reads so many octets in hexadecimal with hyphens between (RFC 7043).
func (p *rdataParser) eui(name string, octets int) *rdataError {
	text := p.take()
	ok := len(text) == 3*octets-1
	for i := 0; ok && i < len(text); i += 3 {
		high, low := hexDigit(text[i]), hexDigit(text[i+1])
		ok = high >= 0 && low >= 0 && (i+2 == len(text) || text[i+2] == '-')
		p.out = append(p.out, byte(high<<4|low))
	}
	if !ok {
		return p.wrong(name, fmt.Sprintf("is not %d octets; write %s", octets, strings.TrimSuffix(strings.Repeat("00-", octets), "-")))
	}
	return nil
}

// nsap reads "0x" and hexadecimal, in which dots mean nothing (RFC 1706 section 6).
func (p *rdataParser) nsap(name string) *rdataError {
	text := p.take()
	digits := bytes.ReplaceAll(text[min(2, len(text)):], []byte{'.'}, nil)
	ok := len(text) > 2 && text[0] == '0' && text[1]|0x20 == 'x' && len(digits) > 0 && len(digits)%2 == 0
	for i := 0; ok && i < len(digits); i += 2 {
		high, low := hexDigit(digits[i]), hexDigit(digits[i+1])
		ok = high >= 0 && low >= 0
		p.out = append(p.out, byte(high<<4|low))
	}
	if !ok {
		return p.wrong(name, "is not 0x and an even number of hexadecimal digits")
	}
	return nil
}

// protocol reads WKS's protocol: a number, or TCP or UDP.
func (p *rdataParser) protocol(name string) *rdataError {
	text := p.take()
	v, ok := decimal(text, math.MaxUint8)
	switch strings.ToUpper(string(text)) {
	case "TCP":
		v, ok = 6, true
	case "UDP":
		v, ok = 17, true
	}
	if !ok {
		return p.wrong(name, "is no number from 0 to 255, nor TCP or UDP")
	}
	p.out = append(p.out, byte(v))
	return nil
}

// services reads WKS's ports, as numbers or as names that RFC 1035 and its time knew.
func (p *rdataParser) services(name string) *rdataError {
	at := len(p.out)
	for p.next < len(p.args) {
		text := p.take()
		v, ok := decimal(text, math.MaxUint16)
		if !ok {
			v, ok = servicePort(strings.ToLower(string(text)))
		}
		if !ok {
			return p.wrong(strings.TrimSuffix(name, "s"), "is no port; write its number")
		}
		p.setBit(at, int(v))
	}
	return nil
}

// servicePort gives the port of a service that WKS records name.
func servicePort(name string) (uint64, bool) {
	switch name {
	case "ftp":
		return 21, true
	case "telnet":
		return 23, true
	case "smtp":
		return 25, true
	case "time":
		return 37, true
	case "domain":
		return 53, true
	case "http":
		return 80, true
	}
	return 0, false
}

// apl reads address prefixes (RFC 3123 section 5).
func (p *rdataParser) apl() *rdataError {
	for p.next < len(p.args) {
		text := string(p.take())
		family, prefixText, ok := strings.Cut(text, ":")
		family, negated := strings.CutPrefix(family, "!")
		prefix, err := netip.ParsePrefix(prefixText)
		switch {
		case !ok || err != nil:
			return p.wrong("prefix", "is no family and prefix")
		case family != "1" && family != "2":
			return p.wrong("prefix", "has a family that is neither 1 (IPv4) nor 2 (IPv6)")
		case prefix.Addr().Is4() != (family == "1"):
			return p.wrong("prefix", "has an address of another family")
		}
		if prefix.Masked() != prefix {
			p.warnings = append(p.warnings, rdataError{p.next - 1, fmt.Sprintf("%s has bits set behind its length; %s is meant?", quote(p.args[p.next-1].text), prefix.Masked())})
		}
		addr := bytes.TrimRight(prefix.Addr().AsSlice(), "\x00") // RFC 3123 section 4
		head := byte(len(addr))
		if negated {
			head |= 0x80
		}
		p.out = append(append(p.out, 0, family[0]-'0', byte(prefix.Bits()), head), addr...)
	}
	return nil
}

// hip reads HIP: algorithm, host identity tag, key, and any number of servers (RFC 8005 section 6).
func (p *rdataParser) hip(name string) *rdataError {
	v, ok := decimal(p.take(), math.MaxUint8)
	if !ok {
		return p.wrong(name, "is no number from 0 to 255")
	}
	all := p.args
	defer func() { p.args = all }()
	at := len(p.out)
	p.out = append(p.out, 0, byte(v), 0, 0)
	for i, read := range []struct {
		name string
		read func(string) *rdataError
	}{{"host identity tag", p.hex}, {"key", p.base64}} {
		if p.next == len(all) {
			return p.missing(read.name)
		}
		start := len(p.out)
		p.args = all[:p.next+1] // one argument alone
		if err := read.read(read.name); err != nil {
			return err
		}
		n := len(p.out) - start
		if i == 0 && n <= math.MaxUint8 {
			p.out[at] = byte(n)
		} else if i == 1 && n <= math.MaxUint16 {
			p.out[at+2], p.out[at+3] = byte(n>>8), byte(n)
		} else {
			return p.wrong(read.name, "is too long")
		}
	}
	p.args = all
	for p.next < len(p.args) {
		if err := p.name("server"); err != nil {
			return err
		}
	}
	return nil
}

// ipseckey reads IPSECKEY behind its precedence: gateway type, algorithm, gateway and key. With algorithm 0 there is no key
// (RFC 4025 sections 2.4 and 3.1).
func (p *rdataParser) ipseckey(name string) *rdataError {
	kind, ok := decimal(p.take(), 3)
	if !ok {
		return p.wrong(name, "is none of 0 (no gateway), 1 (IPv4), 2 (IPv6) and 3 (a name)")
	}
	if p.next == len(p.args) {
		return p.missing("algorithm")
	}
	algorithm, ok := decimal(p.take(), math.MaxUint8)
	if !ok {
		return p.wrong("algorithm", "is no number from 0 to 255")
	}
	p.out = append(p.out, byte(kind), byte(algorithm))
	if err := p.gateway(kind, "gateway"); err != nil {
		return err
	}
	if p.next < len(p.args) {
		return p.base64("key")
	}
	if algorithm != 0 {
		return p.missing("key")
	}
	return nil
}

// gateway reads what a gateway type says: nothing, written as a dot, an IPv4 address, an IPv6 address or a name.
func (p *rdataParser) gateway(kind uint64, name string) *rdataError {
	if p.next == len(p.args) {
		return p.missing(name)
	}
	switch kind {
	case 1:
		return p.ipv4(name)
	case 2:
		return p.ipv6(name)
	case 3:
		return p.name(name)
	}
	if string(p.take()) != "." {
		return p.wrong(name, `is not "."; the type before it says that there is none`)
	}
	return nil
}

// amtrelay reads AMTRELAY behind its precedence: discovery bit, relay type and relay (RFC 8777 section 4.3).
func (p *rdataParser) amtrelay(name string) *rdataError {
	bit, ok := decimal(p.take(), 1)
	if !ok {
		return p.wrong(name, "is neither 0 nor 1")
	}
	if p.next == len(p.args) {
		return p.missing("relay type")
	}
	kind, ok := decimal(p.take(), 3)
	if !ok {
		return p.wrong("relay type", "is none of 0 (no relay), 1 (IPv4), 2 (IPv6) and 3 (a name)")
	}
	p.out = append(p.out, byte(bit<<7|kind))
	return p.gateway(kind, "relay")
}
