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
	if spare := e.Source & 7; spare != 0 && addr[len(addr)-1]<<spare != 0 {
		return false
	}
	e.Addr = [16]byte{}
	for i, c := range addr { // a few: copy would be a call
		e.Addr[i&15] = c
	}
	e.Present = true
	return true
}

// Lengths of the COOKIE option's data (RFC 7873 section 4): the client's part, or it and the server's part of 8 to 32.
const (
	CookieClientLen = 8
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
	q.Options = len(options) > 0
	for n := 0; len(options) > 0; n++ {
		if len(options) < optionHead || n == optionsMax {
			return q.fault(FaultOPT)
		}
		code := binary.BigEndian.Uint16(options)
		length := int(binary.BigEndian.Uint16(options[2:]))
		options = options[optionHead:]
		if length > len(options) {
			return q.fault(FaultOPT)
		}
		if f := q.parseOption(code, options[:length]); f != FaultNone {
			return q.fault(f)
		}
		options = options[length:]
	}
	return OK
}

// parseOption reads one option. Of options that come twice, a second ECS is malformed, as no answer could echo both; of
// cookies the first counts (RFC 7873 section 5.2).
func (q *Query) parseOption(code uint16, data []byte) Fault {
	switch code {
	case OptionECS:
		if q.ECS.Present || !q.ECS.parse(data) {
			return FaultECS
		}
	case OptionNSID:
		q.NSID = true
	case OptionKeepalive:
		q.Keepalive = true
	case OptionZoneVersion:
		if len(data) != 0 {
			return FaultZoneVersion
		}
		q.ZoneVersion = true
	case OptionCookie:
		if q.CookieLen > 0 {
			break
		}
		if len(data) != CookieClientLen && (len(data) < cookieBothMin || len(data) > cookieBothMax) {
			return FaultCookie
		}
		q.CookieLen = uint8(copy(q.Cookie[:], data))
	}
	return FaultNone
}

// OPT is the OPT record of an answer. The zero value is one without options that takes no datagrams at all.
type OPT struct {
	UDPSize uint16 // octets of the largest datagram that we take
	DO      bool   // as in the query
	ECS     *ECS   // echoed exactly; nil is none
	Scope   uint8  // the echoed option's SCOPE PREFIX-LENGTH
	NSID    []byte // sent where not empty
	Cookie  []byte // client's and server's part together, sent where not empty

	Keepalive        bool
	KeepaliveTimeout uint16 // in units of 100 ms (RFC 7828 section 3.1)

	ZoneVersion bool
	ZoneLabels  uint8  // of the zone's name, root not counted
	ZoneSerial  uint32 // of its SOA

	EDE     bool // an extended error (RFC 8914), the one option that may be left out where space is short
	EDECode uint16
	EDEText string // cut off at EDETextMax octets
}

// OPTLen is the octets of an OPT record without options: its owner and its fixed part.
const OPTLen = 11

const (
	optionHead     = 4 // code and length of an option
	zoneVersionLen = 6 // label count, type, serial (RFC 9660 section 2)
)

// zoneVersionSerial is the type of a zone version that is the SOA's serial (RFC 9660 section 2.1).
const zoneVersionSerial = 0

// Len is the number of octets that Append adds, the extended error apart.
func (o *OPT) Len() int {
	n := OPTLen
	if o.ECS != nil {
		n += optionHead + 4 + o.ECS.addrLen()
	}
	if len(o.NSID) > 0 {
		n += optionHead + len(o.NSID)
	}
	if len(o.Cookie) > 0 {
		n += optionHead + len(o.Cookie)
	}
	if o.Keepalive {
		n += optionHead + 2
	}
	if o.ZoneVersion {
		n += optionHead + zoneVersionLen
	}
	return n
}

// EDELen is the number of octets that the extended error adds to that.
func (o *OPT) EDELen() int {
	if !o.EDE {
		return 0
	}
	return optionHead + 2 + min(len(o.EDEText), EDETextMax)
}

// Append appends the record to msg, with the upper bits of rcode. It counts as one additional record.
func (o *OPT) Append(msg []byte, rcode uint8) []byte {
	msg = o.AppendBare(msg, rcode)
	begin := len(msg)
	msg = o.appendOptions(msg)
	n := len(msg) - begin
	msg[begin-2], msg[begin-1] = byte(n>>8), byte(n)
	return msg
}

// AppendBare is Append for a record without options, in OPTLen octets.
func (o *OPT) AppendBare(msg []byte, rcode uint8) []byte {
	flags := byte(0)
	if o.DO {
		flags = optDO
	}
	return append(msg, 0,
		byte(TypeOPT>>8), byte(TypeOPT), byte(o.UDPSize>>8), byte(o.UDPSize),
		rcode>>4, 0, flags, 0,
		0, 0)
}

// appendOptions appends what the record holds.
func (o *OPT) appendOptions(msg []byte) []byte {
	if o.ECS != nil {
		n := o.ECS.addrLen()
		msg = appendOption(msg, OptionECS, 4+n)
		msg = append(msg, byte(o.ECS.Family>>8), byte(o.ECS.Family), o.ECS.Source, o.Scope)
		msg = appendStart(msg, &o.ECS.Addr, n)
	}
	if len(o.NSID) > 0 {
		msg = append(appendOption(msg, OptionNSID, len(o.NSID)), o.NSID...)
	}
	if len(o.Cookie) > 0 {
		msg = append(appendOption(msg, OptionCookie, len(o.Cookie)), o.Cookie...)
	}
	if o.Keepalive {
		msg = appendOption(msg, OptionKeepalive, 2)
		msg = append(msg, byte(o.KeepaliveTimeout>>8), byte(o.KeepaliveTimeout))
	}
	if o.ZoneVersion {
		msg = append(appendOption(msg, OptionZoneVersion, zoneVersionLen), o.ZoneLabels, zoneVersionSerial)
		msg = binary.BigEndian.AppendUint32(msg, o.ZoneSerial)
	}
	if o.EDE {
		text := o.EDEText[:min(len(o.EDEText), EDETextMax)]
		msg = appendOption(msg, OptionEDE, 2+len(text))
		msg = append(append(msg, byte(o.EDECode>>8), byte(o.EDECode)), text...)
	}
	return msg
}

// appendStart appends the first n octets. All of them are copied where there is room, as a copy of a length that is known takes no call.
func appendStart(msg []byte, octets *[16]byte, n int) []byte {
	end := len(msg) + min(n, len(octets))
	if cap(msg)-len(msg) < len(octets) {
		return append(msg, octets[:end-len(msg)]...)
	}
	return append(msg, octets[:]...)[:end]
}

// appendOption appends the code and length of an option; n octets of data must follow.
func appendOption(msg []byte, code uint16, n int) []byte {
	return append(msg, byte(code>>8), byte(code), byte(n>>8), byte(n))
}
