package zone_test

// differences are the zones where our verdict is neither of the two checkers', and why, by name.
func differences() map[string]string {
	out := map[string]string{}
	for why, names := range map[string][]string{
		// Laxer: one of them refuses, or both, and an RFC lets it stand.
		"RFC 1712 section 3 has GPOS; nsd-checkzone does not know it":       {"types/all a17", "types/rfc1706-and-others gpos", "types/rfc1706-and-others gposlat"},
		"RFC 8005 section 6 has HIP; nsd-checkzone does not know it":        {"types/all a19", "types/all-short a13", "types/rfc6742-and-others hip"},
		"RFC 8777 section 4.3 has AMTRELAY; nsd-checkzone does not know it": {"dnssec/rfc4034-dnskey amtrelay", "dnssec/rfc4034-dnskey amtrelayname", "dnssec/rfc4034-dnskey amtrelaynone"},
		"RFC 9606 section 3 has RESINFO; nsd-checkzone does not know it":    {"types/rfc1035-txt resinfo"},
		"RFC 9540 section 4 has the key ohttp; neither knows it":            {"svcb/rfc9460-good ohttp"},
		"RFC 4025 section 2.4: with algorithm 0 there is no key; named-checkzone wants one all the same": {
			"dnssec/rfc4034-dnskey ipseckeynokey",
		},
		"RFC 4034 section 3.2: times may be seconds since 1970; nsd-checkzone wants dates": {"dnssec/rfc4034-rrsig seconds"},
		"RFC 4035 section 2.5: a KEY may stand beside a CNAME; nsd-checkzone refuses it":   {"names/rfc2181-10.1-cname cname-and-key"},
		"RFC 9460 section 2.1: the value of keyNNNNN is octets, whatever the key; nsd-checkzone reads it as the key's text": {
			"svcb/rfc9460-good key3", "svcb/rfc9460-good key4", "types/all-bad a56",
		},
		"RFC 1035 section 5.1: \"@\" is the origin where it stands alone; nsd-checkzone takes it so within a name": {
			"syntax/rfc1035-2.3.4-owners @.x",
		},
		"in no RFC: $GENERATE with rdata of several fields; named-checkzone wants one, in quotes that it takes off": {
			"syntax/generate-more mx-plain", "syntax/generate-more two-strings",
		},
		"RFC 3123 section 4: any number of prefixes; nsd-checkzone has a limit":     {"made many prefixes"},
		"RFC 9460 section 2.2: any number of parameters; nsd-checkzone has a limit": {"made many parameters"},
		// Stricter: neither refuses, and an RFC does.
		"A-16: RFC 4592 section 4.4 discourages it, and no two servers answer it alike": {
			"names/rfc4592-wildcards wild-dname", "names/rfc4592-wildcards wild-dname-apex",
		},
		"RFC 1035 section 5.1: strings are quoted, names have escapes": {"syntax/rfc1035-5.1-entries quote-owner"},
		"RFC 1035 section 4.2.2: a message has 65535 octets at most, and the RRset does not fit in one": {
			"made set of 9000 addresses", "made TXT of 65280 octets",
		},
		"RFC 1035 section 5.1: master files are text, and other octets are written as numbers": {"made ESC", "made NUL in quotes"},
		"RFC 1876 section 2: only version 0 has a form":                                        {"types/rfc3597-more locversion"},
		"RFC 5933: a GOST digest has 32 octets":                                                {"dnssec/rfc4034-ds dsgostshort"},
		"RFC 6895 section 3.1: 65535 is reserved, and no type of data":                         {"types/rfc6895-3.1-meta type65535", "types/rfc3597-more type65535"},
		"RFC 9460 section 14.3.2: 65535 is reserved as the invalid key":                        {"svcb/rfc9460-bad keyinvalid", "svcb/rfc9460-octets invalidkey"},
		"RFC 9849 section 4: a list of ECH configurations may not be empty":                    {"svcb/rfc9460-bad echempty"},
	} {
		for _, name := range names {
			out[name] = why
		}
	}
	return out
}
