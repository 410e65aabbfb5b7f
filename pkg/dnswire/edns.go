package dnswire

import "encoding/binary"

// ECS is the client subnet option of a query (RFC 7871 section 6). Family, Source and Addr are valid where Present is.
type ECS struct {
	Present bool
	Family  uint16   // FamilyIPv4 or FamilyIPv6
	Source  uint8    // SOURCE PREFIX-LENGTH, at most 32 or 128
	Addr    [16]byte // ADDRESS, zero-padded; an IPv4 address in the first four octets
}

// addrLen is the number of octets of ADDRESS that SOURCE asks for.
func (e *ECS) addrLen() int { return (int(e.Source) + 7) / 8 }

// parse reads the option's data. RFC 7871 section 7.2.1 wants FORMERR for all that is not exactly right: a family that
// it does not define, a prefix longer than the family's addresses, more or fewer octets than the prefix needs, a bit
// set past the prefix, a SCOPE in a query.
func (e *ECS) parse(data []byte) bool {
	if len(data) < 4 {
		return false
	}
	e.Family = binary.BigEndian.Uint16(data)
	e.Source = data[2]
	sourceMax := uint8(32)
	if e.Family == FamilyIPv6 {
		sourceMax = 128
	} else if e.Family != FamilyIPv4 {
		return false
	}
	addr := data[4:]
	if e.Source > sourceMax || data[3] != 0 || len(addr) != e.addrLen() {
		return false
	}
	e.Addr = [16]byte{}
	copy(e.Addr[:], addr)
	if spare := e.Source & 7; spare != 0 && addr[len(addr)-1]<<spare != 0 {
		return false
	}
	e.Present = true
	return true
}

// Lengths of the COOKIE option's data (RFC 7873 section 4): the client's part, or it and the server's part of 8 to 32.
const (
	cookieClientLen = 8
	cookieBothMin   = 16
	cookieBothMax   = 40
)

// The OPT record's fixed part behind its owner (RFC 6891 section 6.1.2): type, class = UDP size, TTL = upper bits of the
// RCODE, version, DO and 15 zero bits; then the length of the options.
const (
	optUDPSize = 2
	optRcode   = 4
	optVersion = 5
	optFlags   = 6
	optDO      = 0x80
)

// parseOPT reads an OPT record from the ten octets behind its owner and its options. Unknown options and flags are
// ignored. Options of a version that we do not speak are not read at all.
func (q *Query) parseOPT(fixed, options []byte) Outcome {
	q.EDNS = true
	q.UDPSize = binary.BigEndian.Uint16(fixed[optUDPSize:])
	q.Version = fixed[optVersion]
	q.DO = fixed[optFlags]&optDO != 0
	if q.Version != 0 {
		return BadVers
	}
	for len(options) > 0 {
		if len(options) < 4 {
			return FormErr
		}
		code := binary.BigEndian.Uint16(options)
		n := int(binary.BigEndian.Uint16(options[2:]))
		options = options[4:]
		if n > len(options) || !q.parseOption(code, options[:n]) {
			return FormErr
		}
		options = options[n:]
	}
	return OK
}

// parseOption reads one option; false is a malformed one. Of an option that comes twice, a second ECS is malformed, as
// no answer could echo both.
func (q *Query) parseOption(code uint16, data []byte) bool {
	switch code {
	case OptionECS:
		return !q.ECS.Present && q.ECS.parse(data)
	case OptionNSID:
		q.NSID = true
	case OptionKeepalive:
		q.Keepalive = true
	case OptionCookie:
		if len(data) != cookieClientLen && (len(data) < cookieBothMin || len(data) > cookieBothMax) {
			return false
		}
		q.CookieLen = uint8(copy(q.Cookie[:], data))
	}
	return true
}

// OPT is the OPT record of an answer. The zero value is one without options that takes no datagrams at all.
type OPT struct {
	UDPSize uint16 // octets of the largest datagram that we take
	DO      bool   // as in the query
	ECS     *ECS   // echoed exactly; nil is none
	Scope   uint8  // the echoed option's SCOPE PREFIX-LENGTH
	NSID    []byte // sent where not empty

	Keepalive        bool
	KeepaliveTimeout uint16 // in units of 100 ms (RFC 7828 section 3.1)
}

const optFixedLen = 11 // owner and fixed part of an OPT record without options

// Len is the number of octets that Append adds.
func (o *OPT) Len() int {
	n := optFixedLen
	if o.ECS != nil {
		n += 4 + 4 + o.ECS.addrLen()
	}
	if len(o.NSID) > 0 {
		n += 4 + len(o.NSID)
	}
	if o.Keepalive {
		n += 4 + 2
	}
	return n
}

// Append appends the record to msg, with the upper bits of rcode. It counts as one additional record.
func (o *OPT) Append(msg []byte, rcode uint8) []byte {
	flags := byte(0)
	if o.DO {
		flags = optDO
	}
	n := o.Len() - optFixedLen
	msg = append(msg, 0,
		byte(TypeOPT>>8), byte(TypeOPT), byte(o.UDPSize>>8), byte(o.UDPSize),
		rcode>>4, 0, flags, 0,
		byte(n>>8), byte(n))
	if o.ECS != nil {
		n := o.ECS.addrLen()
		msg = append(msg, byte(OptionECS>>8), byte(OptionECS), 0, byte(4+n),
			byte(o.ECS.Family>>8), byte(o.ECS.Family), o.ECS.Source, o.Scope)
		msg = append(msg, o.ECS.Addr[:min(n, len(o.ECS.Addr))]...)
	}
	if len(o.NSID) > 0 {
		msg = append(msg, byte(OptionNSID>>8), byte(OptionNSID), byte(len(o.NSID)>>8), byte(len(o.NSID)))
		msg = append(msg, o.NSID...)
	}
	if o.Keepalive {
		msg = append(msg, byte(OptionKeepalive>>8), byte(OptionKeepalive), 0, 2,
			byte(o.KeepaliveTimeout>>8), byte(o.KeepaliveTimeout))
	}
	return msg
}
