package zone

import (
	"strings"

	"github.com/miekg/dns"
)

// Types that miekg/dns does not name (RFC 1035 section 3.4.2, RFC 1706).
const (
	typeWKS  = 11
	typeNSAP = 22
)

// rdataSyntax gives the fields of a type's rdata in their order, each as name:kind with a "-" for a space in the name; "" for
// types without a text form, NULL among them. A kind that ends in "?" may be missing at the end. rdataParser reads the kinds
// from text, fieldLen from octets; the two must agree.
func rdataSyntax(typ uint16) string {
	switch typ {
	case dns.TypeA:
		return "address:ipv4"
	case dns.TypeAAAA:
		return "address:ipv6"
	case dns.TypeNS, dns.TypeCNAME, dns.TypeDNAME, dns.TypePTR, dns.TypeMB, dns.TypeMG, dns.TypeMR, dns.TypeMD, dns.TypeMF, dns.TypeNSAPPTR:
		return "name:name"
	case dns.TypeSOA:
		return "name-server:name mailbox:name serial:u32 refresh:ttl retry:ttl expire:ttl minimum:ttl"
	case dns.TypeMX:
		return "preference:u16 host:name"
	case dns.TypeSRV:
		return "priority:u16 weight:u16 port:u16 host:name"
	case dns.TypeTXT, dns.TypeSPF, dns.TypeAVC, dns.TypeNINFO, dns.TypeRESINFO:
		return "text:strings"
	case dns.TypeCAA: // RFC 8659 section 4.1
		return "flags:u8 tag:tag value:text"
	case dns.TypeSVCB, dns.TypeHTTPS: // RFC 9460 section 2.1
		return "priority:u16 target:name parameters:svcparams"
	case dns.TypeDS, dns.TypeCDS, dns.TypeDLV, dns.TypeTA: // RFC 4034 section 5.3, RFC 7344, RFC 4431
		return "key-tag:u16 algorithm:algorithm digest-type:u8 digest:hex"
	case dns.TypeDNSKEY, dns.TypeCDNSKEY, dns.TypeKEY, dns.TypeRKEY: // RFC 4034 section 2.2, RFC 7344, RFC 2535
		return "flags:u16 protocol:u8 algorithm:algorithm key:base64"
	case dns.TypeRRSIG, dns.TypeSIG: // RFC 4034 section 3.2, RFC 2535
		return "type:type algorithm:algorithm labels:u8 original-TTL:u32 expiration:date inception:date key-tag:u16 signer:name signature:base64"
	case dns.TypeNSEC: // RFC 4034 section 4.2
		return "next-name:name list-of-types:types"
	case dns.TypeNXT: // RFC 2535 section 5
		return "next-name:name list-of-types:nxt"
	case dns.TypeNSEC3: // RFC 5155 section 3.3
		return "hash-algorithm:u8 flags:u8 iterations:u16 salt:salt next-hash:base32 list-of-types:types?"
	case dns.TypeNSEC3PARAM: // RFC 5155 section 4.3
		return "hash-algorithm:u8 flags:u8 iterations:u16 salt:salt"
	case dns.TypeCSYNC: // RFC 7477 section 2.1.2
		return "serial:u32 flags:u16 list-of-types:types?"
	case dns.TypeZONEMD: // RFC 8976 section 2.3
		return "serial:u32 scheme:u8 hash-algorithm:u8 digest:hex"
	case dns.TypeSSHFP: // RFC 4255 section 3.2
		return "algorithm:u8 type:u8 fingerprint:hex"
	case dns.TypeTLSA, dns.TypeSMIMEA: // RFC 6698 section 2.2, RFC 8162
		return "usage:u8 selector:u8 matching-type:u8 data:hex"
	case dns.TypeNAPTR: // RFC 3403 section 4.1
		return "order:u16 preference:u16 flags:string service:string regexp:string replacement:name"
	case dns.TypeURI: // RFC 7553 section 4.5
		return "priority:u16 weight:u16 target:quoted"
	case dns.TypeLOC: // RFC 1876 section 3
		return "location:loc"
	}
	return rareSyntax(typ)
}

// rareSyntax is rdataSyntax for the types that few zones hold.
func rareSyntax(typ uint16) string {
	switch typ {
	case dns.TypeHINFO:
		return "CPU:string operating-system:string"
	case typeWKS: // RFC 1035 section 3.4.2
		return "address:ipv4 protocol:protocol services:services?"
	case dns.TypeMINFO:
		return "mailbox:name error-mailbox:name"
	case dns.TypeRP: // RFC 1183 section 2.2
		return "mailbox:name text:name"
	case dns.TypeAFSDB: // RFC 1183 section 1
		return "subtype:u16 host:name"
	case dns.TypeX25: // RFC 1183 section 3.1
		return "address:string"
	case dns.TypeISDN: // RFC 1183 section 3.2
		return "address:string subaddress:string?"
	case dns.TypeRT, dns.TypeKX: // RFC 1183 section 3.3, RFC 2230 section 3
		return "preference:u16 host:name"
	case typeNSAP: // RFC 1706 section 5
		return "address:nsap"
	case dns.TypeGPOS: // RFC 1712 section 3
		return "longitude:string latitude:string altitude:string"
	case dns.TypePX: // RFC 2163 section 4
		return "preference:u16 RFC-822-domain:name X.400-domain:name"
	case dns.TypeCERT: // RFC 4398 section 2.2
		return "type:certtype key-tag:u16 algorithm:algorithm certificate:base64"
	case dns.TypeAPL: // RFC 3123 section 5
		return "prefixes:apl?"
	case dns.TypeIPSECKEY: // RFC 4025 section 3.1
		return "precedence:u8 gateway-type:ipseckey"
	case dns.TypeDHCID: // RFC 4701 section 3.2
		return "identifier:base64"
	case dns.TypeHIP: // RFC 8005 section 6
		return "algorithm:hip"
	case dns.TypeOPENPGPKEY: // RFC 7929 section 2.3
		return "key:base64"
	case dns.TypeNID, dns.TypeL64: // RFC 6742 sections 2.1 and 2.3
		return "preference:u16 locator:groups"
	case dns.TypeL32: // RFC 6742 section 2.2
		return "preference:u16 locator:ipv4"
	case dns.TypeLP: // RFC 6742 section 2.4
		return "preference:u16 name:name"
	case dns.TypeEUI48: // RFC 7043 section 3.2
		return "address:eui48"
	case dns.TypeEUI64: // RFC 7043 section 4.2
		return "address:eui64"
	case dns.TypeAMTRELAY: // RFC 8777 section 4.3
		return "precedence:u8 discovery-bit:amtrelay"
	case dns.TypeEID, dns.TypeNIMLOC:
		return "locator:hex"
	case dns.TypeTALINK:
		return "previous:name next:name"
	}
	return ""
}

// cutField splits the first field off a syntax.
func cutField(fields string) (name, kind, rest string) {
	field, rest, _ := strings.Cut(fields, " ")
	name, kind, _ = strings.Cut(field, ":")
	return name, kind, rest
}

// fieldText gives a field's name as a message has it.
func fieldText(name string) string { return strings.ReplaceAll(name, "-", " ") }

// rdataForm says what a type's rdata looks like.
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
		return "usage, selector, matching type and data in hexadecimal, as in 3 1 1 and a SHA-256"
	case dns.TypeSSHFP:
		return "algorithm, type and fingerprint in hexadecimal"
	case dns.TypeNAPTR:
		return `order, preference, "flags", "service", "regexp" and replacement, as in 100 10 "s" "SIP+D2U" "" _sip._udp.example.com.`
	case dns.TypeSVCB, dns.TypeHTTPS:
		return "priority, target and parameters, as in 1 . alpn=h2,h3 port=443"
	case dns.TypeLOC:
		return "latitude, longitude, altitude and precisions, as in 52 22 23.000 N 4 53 32.000 E -2m 1m 10000m 10m"
	case dns.TypeURI:
		return `priority, weight and "target", as in 10 1 "https://www.example.com/"`
	case dns.TypeAPL:
		return "prefixes, as in 1:192.0.2.0/24 !2:2001:db8::/32"
	case dns.TypeHIP:
		return "algorithm, host identity tag in hexadecimal, key in base64 and rendezvous servers"
	case dns.TypeIPSECKEY:
		return "precedence, gateway type, algorithm, gateway and key in base64, as in 10 1 2 192.0.2.38 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ=="
	case dns.TypeAMTRELAY:
		return "precedence, discovery bit, relay type and relay, as in 10 0 1 203.0.113.15"
	}
	return plainForm(rdataSyntax(typ))
}

// plainForm lists the fields of a syntax.
func plainForm(fields string) string {
	var names []string
	for fields != "" {
		var name, kind string
		name, kind, fields = cutField(fields)
		switch kind {
		case "hex":
			kind = " in hexadecimal"
		case "base64":
			kind = " in base64"
		default:
			kind = ""
		}
		names = append(names, fieldText(name)+kind)
	}
	if n := len(names); n > 1 {
		names = append(names[:n-2], names[n-2]+" and "+names[n-1])
	}
	return strings.Join(names, ", ")
}
