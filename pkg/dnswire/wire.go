package dnswire

// Sizes of the message format (RFC 1035 sections 2.3.4, 4.1.1 and 4.2).
const (
	HeaderLen  = 12    // octets of the header
	NameMax    = 255   // octets of a name in wire form, root label included
	LabelMax   = 63    // octets of a label
	MessageMax = 65535 // octets of a message over TCP: what the two-octet length can say
	UDPMin     = 512   // octets over UDP that every requestor takes (RFC 1035); a smaller EDNS size counts as this (RFC 6891 6.2.5)
)

// Types that the data plane treats by name. Every other type is opaque to it (RFC 3597).
const (
	TypeNone   uint16 = 0
	TypeA      uint16 = 1
	TypeNS     uint16 = 2
	TypeCNAME  uint16 = 5
	TypeSOA    uint16 = 6
	TypeHINFO  uint16 = 13
	TypeTXT    uint16 = 16
	TypeAAAA   uint16 = 28
	TypeDNAME  uint16 = 39
	TypeOPT    uint16 = 41
	TypeDS     uint16 = 43
	TypeRRSIG  uint16 = 46
	TypeNXNAME uint16 = 128 // RFC 9824: a meta type, only ever seen in a bitmap
	TypeTKEY   uint16 = 249
	TypeTSIG   uint16 = 250
	TypeIXFR   uint16 = 251
	TypeAXFR   uint16 = 252
	TypeMAILB  uint16 = 253
	TypeMAILA  uint16 = 254
	TypeANY    uint16 = 255
)

// Classes.
const (
	ClassIN  uint16 = 1
	ClassCH  uint16 = 3
	ClassANY uint16 = 255
)

// OpcodeQuery is the operation that we know (RFC 1035 section 4.1.1). All others are answered with RcodeNotImp.
const OpcodeQuery uint8 = 0

// Response codes. Those above 15 need an OPT record to carry their upper bits (RFC 6891 section 6.1.3).
const (
	RcodeNoError   uint8 = 0
	RcodeFormErr   uint8 = 1
	RcodeServFail  uint8 = 2
	RcodeNXDomain  uint8 = 3
	RcodeNotImp    uint8 = 4
	RcodeRefused   uint8 = 5
	RcodeYXDomain  uint8 = 6
	RcodeNotAuth   uint8 = 9
	RcodeBadVers   uint8 = 16
	RcodeBadCookie uint8 = 23 // RFC 7873 section 8
)

// Bits of the header's second 16-bit word.
const (
	FlagQR uint16 = 1 << 15
	FlagAA uint16 = 1 << 10
	FlagTC uint16 = 1 << 9
	FlagRD uint16 = 1 << 8
	FlagRA uint16 = 1 << 7
	FlagAD uint16 = 1 << 5
	FlagCD uint16 = 1 << 4

	opcodeShift = 11
	opcodeMask  = 0xF
	rcodeMask   = 0xF
)

// EDNS option codes.
const (
	OptionNSID        uint16 = 3  // RFC 5001
	OptionECS         uint16 = 8  // RFC 7871
	OptionCookie      uint16 = 10 // RFC 7873
	OptionKeepalive   uint16 = 11 // RFC 7828
	OptionEDE         uint16 = 15 // RFC 8914
	OptionZoneVersion uint16 = 19 // RFC 9660
)

// Info codes of extended errors (RFC 8914 section 4, RFC 9824 section 7.3).
const (
	EDEOther            uint16 = 0
	EDEProhibited       uint16 = 18
	EDENotAuthoritative uint16 = 20
	EDEInvalidQueryType uint16 = 30
)

// EDETextMax is the octets of an extended error's text: enough for a sentence, and an error stays about as long as its query.
const EDETextMax = 64

// Address families of the client subnet option (RFC 7871 section 6): IANA's address family numbers.
const (
	FamilyIPv4 uint16 = 1
	FamilyIPv6 uint16 = 2
)
