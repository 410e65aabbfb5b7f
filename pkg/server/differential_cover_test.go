package server_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// diffFeatures are what cases must have in them: of a thousand so many at least, about a third of what there usually is.
var diffFeatures = map[string]int{
	"A": 250, "AAAA": 140, "AFSDB": 10, "APL": 8, "CAA": 30, "CERT": 15, "CNAME": 200, "DHCID": 15, "DNAME": 130, "DS": 90, "EUI48": 8, "HINFO": 8, "HTTPS": 20,
	"KX": 12, "L32": 12, "LOC": 8, "LP": 12, "MINFO": 12, "MX": 90, "NAPTR": 25, "OPENPGPKEY": 12, "PTR": 40, "RP": 10, "RT": 8, "SPF": 12, "SRV": 25, "SSHFP": 12,
	"SVCB": 30, "TLSA": 8, "TXT": 60, "TYPE1234": 5, "TYPE65280": 5, "TYPE731": 5, "URI": 12,
	"DS at a cut": 50, "DS elsewhere": 25, "a CNAME into a delegation": 40, "a CNAME to below a DNAME": 15, "three CNAMEs in a row": 50, "a loop of CNAMEs": 40,
	"a DNAME at the apex": 25, "a DNAME beside other records": 50, "a DNAME onto a delegation": 25, "a DNAME onto a wildcard": 30, "a DNAME onto another": 10,
	"a DNAME onto names below itself": 40, "a DNAME to a long name": 20,
	"a delegation": 130, "a delegation below another": 30, "a delegation with glue": 100, "a delegation with sibling glue": 18, "a delegation without glue": 40,
	"an occluded name": 90, "an empty non-terminal": 250, "a wildcard": 170, "a wildcard with a CNAME": 70, "a name below a wildcard": 130,
	"a capital letter": 20, "a dot in a label": 20, "a label of 63 octets": 30, "a name of 252 octets or more": 20, "an octet that is no letter": 25,
	"zones above zones": 90, "a zone below that is delegated": 20, "a zone below that is not delegated": 70, "the root zone": 1,
}

// diffKinds are the answers that must be given: for a thousand cases so many at least.
var diffKinds = map[string]int{
	"positive": 9000, "positive behind a chain": 3000, "from a wildcard": 1200, "a synthesized CNAME": 3000, "DS": 90,
	"NODATA": 13000, "NODATA behind a chain": 900, "NXDOMAIN": 20000, "NXDOMAIN behind a chain": 500, "YXDOMAIN": 450, "a loop": 1000,
	"a referral": 10000, "a referral behind a chain": 350, "a referral with glue": 8000, "a referral with other addresses": 3000, "REFUSED": 1000, "sent by TCP": 3000,
}

// checkCover fails if too little was tried.
func (s *diffStats) checkCover(t *testing.T) {
	t.Helper()
	for what, least := range diffFeatures {
		if n := s.features[what] * 1000 / s.cases; n < least {
			t.Errorf("%d of 1,000 cases have %s; %d are wanted", n, what, least)
		}
	}
	for what, least := range diffKinds {
		if n := s.kinds[what] * 1000 / s.cases; n < least {
			t.Errorf("1,000 cases have %d answers that are %s; %d are wanted", n, what, least)
		}
	}
}

// countFeatures notes what is in a case.
func countFeatures(c *diffCase, n map[string]int) {
	has := map[string]bool{"zones above zones": false, "the root zone": c.base == ""}
	for _, z := range c.zones {
		for _, r := range z.records {
			recordFeatures(z, r, has)
			nameFeatures(r.owner, has)
		}
		for _, up := range c.zones {
			if z != up && z.origin.within(up.origin) {
				has["zones above zones"] = true
				has["a zone below that is delegated"] = has["a zone below that is delegated"] || len(up.set(z.origin, "NS")) > 0
				has["a zone below that is not delegated"] = has["a zone below that is not delegated"] || len(up.set(z.origin, "NS")) == 0
			}
		}
	}
	for k, is := range has {
		if is {
			n[k]++
		}
	}
}

// nameFeatures notes what a name is like.
func nameFeatures(name labels, has map[string]bool) {
	if name.size() >= 252 {
		has["a name of 252 octets or more"] = true
	}
	for i, l := range name {
		switch {
		case l == "*" && i > 0:
			has["a name below a wildcard"] = true
		case l == "*":
			has["a wildcard"] = true
		case len(l) == 63:
			has["a label of 63 octets"] = true
		case strings.Contains(l, "."):
			has["a dot in a label"] = true
		case strings.ContainsFunc(l, func(c rune) bool { return c <= ' ' || c > '~' }):
			has["an octet that is no letter"] = true
		case strings.ToLower(l) != l:
			has["a capital letter"] = true
		}
	}
}

// recordFeatures notes what a record is to its zone.
func recordFeatures(z *diffZone, r diffRecord, has map[string]bool) {
	note := func(what string, is bool) { has[what] = has[what] || is }
	cut := func(n labels) labels { // the cut that a name is at or below
		var found labels
		for ; len(n) > len(z.origin); n = n[1:] {
			if len(z.set(n, "NS")) > 0 {
				found = n
			}
		}
		return found
	}
	has[r.typ] = true
	at := cut(r.owner)
	note("an occluded name", at != nil && len(at) < len(r.owner) && r.typ != "A" && r.typ != "AAAA")
	note("an empty non-terminal", len(r.owner) > len(z.origin)+1 && len(z.set(r.owner[1:], "")) == 0)
	switch wild := len(r.owner) > 0 && r.owner[0] == "*"; r.typ {
	case "NS":
		near := at != nil && len(at) == len(r.owner) && r.target.within(r.owner)
		glue := len(z.set(r.target, "A")) > 0
		note("a delegation", at != nil)
		note("a delegation below another", at != nil && len(at) < len(r.owner))
		note("a delegation with glue", near && glue)
		note("a delegation without glue", near && !glue)
		other := cut(r.target)
		note("a delegation with sibling glue", at != nil && !near && other != nil && !other.is(at) && glue)
	case "DS":
		note("DS at a cut", at != nil && len(at) == len(r.owner))
		note("DS elsewhere", at == nil)
	case "CNAME":
		note("a wildcard with a CNAME", wild)
		next := r.target
		for links := 1; links < 30; links++ {
			set := z.set(next, "CNAME")
			if len(set) == 0 {
				break
			}
			note("three CNAMEs in a row", links == 2)
			note("a loop of CNAMEs", next.is(r.owner))
			next = set[0].target
		}
		note("a CNAME into a delegation", cut(r.target) != nil)
		for n := r.target; len(n) > len(z.origin); n = n[1:] {
			note("a CNAME to below a DNAME", len(n) < len(r.target) && len(z.set(n, "DNAME")) > 0)
		}
	case "DNAME":
		note("a DNAME at the apex", r.owner.is(z.origin))
		note("a DNAME onto names below itself", r.target.within(r.owner))
		note("a DNAME beside other records", len(z.set(r.owner, "")) > 1)
		note("a DNAME onto a delegation", cut(r.target) != nil)
		note("a DNAME to a long name", r.target.size() > 200)
		for _, o := range z.records {
			note("a DNAME onto a wildcard", len(o.owner) > 0 && o.owner[0] == "*" && o.owner.within(r.target))
			note("a DNAME onto another", o.typ == "DNAME" && !o.owner.is(r.owner) && (r.target.within(o.owner) || o.owner.within(r.target)))
		}
	}
}

// countKind notes what an answer of ours is.
func countKind(p *diffPair, n map[string]int) {
	m := p.ours
	answers := m.sections[diffAnswer]
	kind := "empty"
	switch {
	case m.rcode != 0:
		kind = dns.RcodeToString[int(m.rcode)]
	case m.referral():
		kind = "a referral"
		count(n, "a referral with glue", len(m.glue(true)) > 0)
		count(n, "a referral with other addresses", len(m.glue(false)) > 0)
	case m.has(diffAuthority, dns.TypeSOA):
		kind = "NODATA"
	case len(answers) > 0:
		kind = "positive"
	}
	n[kind]++
	chain := len(answers) > 0 && answers[0].typ != p.q.qtype && (answers[0].typ == dns.TypeCNAME || answers[0].typ == dns.TypeDNAME)
	count(n, kind+" behind a chain", chain)
	count(n, "a synthesized CNAME", m.has(diffAnswer, dns.TypeDNAME) && m.has(diffAnswer, dns.TypeCNAME))
	count(n, "a loop", m.loops())
	count(n, "sent by TCP", m.truncated)
	count(n, "DS", p.q.qtype == dns.TypeDS && kind == "positive" && !chain)
	if kind == "positive" && !m.has(diffAnswer, dns.TypeDNAME) && bytes.Equal(answers[0].owner, foldedWire(p.q.name)) {
		count(n, "from a wildcard", !slices.ContainsFunc(p.c.all(), func(z *diffZone) bool { return len(z.set(p.q.name, "")) > 0 }))
	}
}

// count counts what is so.
func count(n map[string]int, what string, is bool) {
	if is {
		n[what]++
	}
}
