package zone

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"geodns/internal/source"
)

// quoteMax is how much of a token a message shows.
const quoteMax = 60

// quote shows a token of a file in a message: with quotes around it that it does not hold, and cut if it is long.
func quote(text []byte) string {
	s := string(text)
	if len(s) > quoteMax {
		s = s[:quoteMax] + "..."
	}
	if strings.ContainsAny(s, "\"\\") && !strings.Contains(s, "'") {
		return "'" + strings.ToValidUTF8(s, "?") + "'"
	}
	return `"` + strings.ToValidUTF8(s, "?") + `"`
}

// rdataForm says what a type's rdata looks like, "" for types that few write by hand.
func rdataForm(typ uint16) string {
	switch typ {
	case dns.TypeA:
		return "an IPv4 address, as in 192.0.2.1"
	case dns.TypeAAAA:
		return "an IPv6 address, as in 2001:db8::1"
	case dns.TypeNS, dns.TypeCNAME, dns.TypeDNAME, dns.TypePTR:
		return "a domain name, as in www.example.com."
	case dns.TypeMX:
		return "a preference and a host, as in 10 mail.example.com."
	case dns.TypeSOA:
		return "name server, mailbox, serial, refresh, retry, expire, minimum, as in ns.example.com. hostmaster.example.com. 1 3600 600 604800 300"
	case dns.TypeSRV:
		return "priority, weight, port and host, as in 10 20 443 www.example.com."
	case dns.TypeTXT, dns.TypeSPF:
		return `strings, as in "one" "two"`
	case dns.TypeHINFO:
		return `two strings, as in "CPU" "OS"`
	case dns.TypeCAA:
		return `flags, tag and value, as in 0 issue "ca.example.net"`
	case dns.TypeDS, dns.TypeCDS:
		return "key tag, algorithm, digest type and digest in hexadecimal"
	case dns.TypeDNSKEY, dns.TypeCDNSKEY:
		return "flags, protocol 3, algorithm and key in base64"
	case dns.TypeTLSA, dns.TypeSMIMEA:
		return "usage, selector, matching type and data in hexadecimal"
	case dns.TypeSSHFP:
		return "algorithm, type and fingerprint in hexadecimal"
	case dns.TypeNAPTR:
		return `order, preference, "flags", "service", "regexp" and replacement`
	case dns.TypeSVCB, dns.TypeHTTPS:
		return "priority, target and parameters, as in 1 . alpn=h2,h3 port=443"
	case dns.TypeLOC:
		return "latitude, longitude, altitude and precisions, as in 52 22 23.000 N 4 53 32.000 E -2m 1m 10000m 10m"
	}
	return ""
}

// explainRdata says what is wrong with the rdata of an entry, whose fields begin with the type, and what would be right.
func explainRdata(owner string, fields []token, err *rdataError) string {
	args := fields[1:]
	typ, _ := typeByText(fields[0].text)
	form := rdataForm(typ)
	if len(args) > 0 && string(args[0].text) == genericRdata {
		form = `\#, the number of octets, and as many in hexadecimal, as in \# 4 0a000001`
	} else if _, known := dns.TypeToRR[typ]; !known {
		form = `rdata of an unknown type as \#, the number of octets, and as many in hexadecimal, as in \# 4 0a000001`
	}
	var what string
	switch {
	case err.token < 0 || len(args) == 0:
		what = "the rdata is wrong: " + err.text
	case err.token >= len(args):
		what = fmt.Sprintf("the rdata is not complete behind %s", quote(args[len(args)-1].text))
	case err.text == "garbage after rdata":
		what = fmt.Sprintf("%s is too much", quote(args[err.token].text))
	default:
		what = quote(args[err.token].text) + " is wrong"
		if form == "" && err.text != "" {
			what += " (" + err.text + ")"
		}
	}
	if form != "" {
		what += "; write " + form
	}
	return fmt.Sprintf("%s %s: %s", owner, fields[0].text, what)
}

// typeHint says what may have been meant by a type that there is not.
func typeHint(text []byte) string {
	known := []string{"A", "AAAA", "CAA", "CNAME", "DNAME", "DS", "HTTPS", "MX", "NAPTR", "NS", "PTR", "SOA", "SRV", "SSHFP", "STEER", "SVCB", "TLSA", "TXT"}
	if near := source.Nearest(string(text), known); near != "" && len(text) > 1 {
		return "; " + near + " is meant?"
	}
	return "; an unknown one is written as TYPE123"
}
