package zone

import (
	"bytes"
	"fmt"

	"github.com/miekg/dns"
)

// checkHostNames warns of names that are to be hosts' and are not of letters, digits and hyphens (RFC 952, RFC 1123 section
// 2.1), as owners and within rdata. They can be served, but much software does not take them.
func (z *zoneData) checkHostNames(id uint32, typ uint16, set rrset) {
	owner := z.tree.name(id)
	if ownerIsHost(typ) {
		host := owner
		if isWildcard(host) {
			host = parent(host)
		}
		if bad := badLabel(host); bad != nil && !isServiceHost(typ, host) {
			r := z.first(set)
			z.warnf(z.place(r), "%s: a host's name is of letters, digits and inner hyphens, which %s is not (RFC 1123 section 2.1)", z.describe(r), quote(bad))
		}
	}
	for _, i := range set {
		r := &z.recs[i]
		for _, host := range hostsIn(typ, owner, z.data(r)) {
			if bad := badLabel(host); bad != nil && !bytes.Equal(host, z.origin) { // RFC 2317's "0/25" is not its mailbox's fault
				z.warnf(z.place(r), "%s %s: a host's name is of letters, digits and inner hyphens, which %s is not (RFC 1123 section 2.1)", z.describe(r), nameText(host), quote(bad))
			}
		}
	}
}

// ownerIsHost says whether records of a type stand at names of hosts or mail domains.
func ownerIsHost(typ uint16) bool {
	return typ == dns.TypeA || typ == dns.TypeAAAA || typ == dns.TypeMX || typ == typeWKS
}

// isServiceHost says whether a name holds addresses that no host is reached by: those that SPF's "exists" asks for (RFC 7208
// section 5.7), and Active Directory's global catalogs.
func isServiceHost(typ uint16, name []byte) bool {
	if typ != dns.TypeA {
		return false
	}
	if bytes.HasPrefix(name, []byte("\x02gc\x06_msdcs")) {
		return true
	}
	for ; name[0] > 0; name = parent(name) {
		switch string(name[1:][:name[0]]) {
		case "_spf", "_spf_verify", "_spf_rate":
			return true
		}
	}
	return false
}

// badLabel gives the first label of a name that no host may have, nil if there is none.
func badLabel(name []byte) []byte {
	for ; name[0] > 0; name = parent(name) {
		label := name[1:][:name[0]]
		for i, c := range label {
			if !isDigit(c) && (c|0x20)-'a' >= 26 && (c != '-' || i == 0 || i == len(label)-1) {
				return label
			}
		}
	}
	return nil
}

// hostsIn gives the names of hosts in a record's rdata. Of a mailbox it is the domain, which is what follows the first label (RFC
// 1035 section 8); PTR points at hosts in the zones that map addresses to them.
func hostsIn(typ uint16, owner, data []byte) [][]byte {
	switch typ {
	case dns.TypeNS, dns.TypeMX, dns.TypeSRV, dns.TypeAFSDB, dns.TypeRT:
		return [][]byte{target(typ, data)}
	case dns.TypeSOA:
		return [][]byte{firstName(data), mailDomain(data[nameLen(data):])}
	case dns.TypeMINFO:
		return [][]byte{mailDomain(data), mailDomain(data[nameLen(data):])}
	case dns.TypeRP:
		return [][]byte{mailDomain(data)}
	case dns.TypeHTTPS, dns.TypeSVCB:
		if data[0]|data[1] != 0 { // an alias may be of any name
			return [][]byte{firstName(data[2:])}
		}
	case dns.TypePTR:
		if within(owner, []byte("\x07in-addr\x04arpa\x00")) || within(owner, []byte("\x03ip6\x04arpa\x00")) {
			return [][]byte{firstName(data)}
		}
	}
	return nil
}

// firstName gives the name at the beginning of b, which holds it whole.
func firstName(b []byte) []byte { return b[:nameLen(b)] }

// mailDomain gives the domain of the mailbox at the beginning of b.
func mailDomain(b []byte) []byte {
	name := firstName(b)
	if name[0] == 0 {
		return name
	}
	return parent(name)
}

// checkSPF warns of SPF records without their like in TXT, the only type that is asked for (RFC 7208 section 3.1), and of two
// policies at one name, which are as good as none (section 4.5).
func (z *zoneData) checkSPF(id uint32) {
	spf, policies := z.set(id, dns.TypeSPF), rrset(nil)
	for _, i := range z.set(id, dns.TypeTXT) {
		if isSPF(z.data(&z.recs[i])) {
			policies = append(policies, i)
		}
	}
	if spf != nil && policies == nil {
		r := z.first(spf)
		z.warnf(z.place(r), "%s is not asked for; write the policy as TXT (RFC 7208 section 3.1)", z.describe(r))
	}
	if len(policies) > 1 {
		r := &z.recs[policies[1]]
		z.warnf(z.place(r), "%s is a second SPF policy; with two, receivers take neither (RFC 7208 section 4.5)", z.describe(r))
	}
}

// isSPF says whether a text is an SPF policy: its version, then a space or nothing (RFC 7208 section 4.5).
func isSPF(data []byte) bool {
	text := data[1:][:data[0]]
	rest, ok := bytes.CutPrefix(bytes.ToLower(text), []byte("v=spf1"))
	return ok && (len(rest) == 0 || rest[0] == ' ')
}

// checkSigned checks what belongs to DNSSEC and stands where it is never used, or cannot be right.
func (z *zoneData) checkSigned(id uint32, typ uint16, set rrset) {
	r := z.first(set)
	switch typ {
	case dns.TypeNSEC3:
		name := z.tree.name(id)
		hash, ok := hashByText(name[1:][:name[0]])
		if !ok || len(hash) != 20 || z.tree.up[id] != 0 || id == 0 {
			z.errorf(z.place(r), "%s: its owner is a hash of 32 characters just below the apex (RFC 5155 section 3)", z.describe(r))
		}
	case dns.TypeDS:
		if z.flags[id]&flagCut == 0 && id != 0 {
			z.warnf(z.place(r), "%s stands where no NS does; it speaks of nothing (RFC 4035 section 2.4)", z.describe(r))
		}
	case dns.TypeCDS, dns.TypeCDNSKEY:
		if id != 0 {
			z.warnf(z.place(r), "%s is not at the apex, where alone it is asked for (RFC 7344 section 4.1)", z.describe(r))
		} else if z.set(0, dns.TypeDNSKEY) == nil && !isDeleteCDS(typ, z.data(r)) {
			z.warnf(z.place(r), "%s stands for a key, and the zone has no DNSKEY (RFC 7344 section 4.1)", z.describe(r))
		}
	}
}

// isDeleteCDS says whether a CDS or CDNSKEY asks for the DS records to be taken away: its algorithm is 0 (RFC 8078 section 4).
func isDeleteCDS(typ uint16, data []byte) bool {
	if typ == dns.TypeCDS {
		return data[2] == 0
	}
	return data[3] == 0
}

// checkNullMX warns of a "no mail" MX beside another (RFC 7505 section 3).
func (z *zoneData) checkNullMX(set rrset) {
	for _, i := range set {
		if r := &z.recs[i]; len(set) > 1 && len(z.data(r)) == 3 {
			z.warnf(z.place(r), "%s says that there is no mail, and others beside it say where to send it", z.describe(r))
		}
	}
}

// innerWildcard gives a warning's text if a "*" stands behind the first label, where it is a label like others.
func innerWildcard(name []byte) string {
	if name[0] == 0 {
		return ""
	}
	for up := parent(name); up[0] > 0; up = parent(up) {
		if isWildcard(up) {
			return fmt.Sprintf(`%s: a "*" that is not the first label is no wildcard (RFC 4592 section 2.1.3)`, nameText(name))
		}
	}
	return ""
}
