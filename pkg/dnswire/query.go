package dnswire

import "encoding/binary"

// Outcome says what is to be done with a packet. The zero value is OK.
type Outcome uint8

// Outcomes of Query.Parse. The drops are never answered, the others are.
const (
	OK           Outcome = iota // a query to look up
	FormErr                     // answer RcodeFormErr
	NotImp                      // answer RcodeNotImp: an operation other than QUERY
	BadVers                     // answer RcodeBadVers: EDNS of a version above 0
	CookieOnly                  // no question, but a cookie: answer with a cookie (RFC 7873 section 5.4)
	DropShort                   // shorter than a header: there is no ID to answer with
	DropResponse                // QR is set: to answer a response is how two servers come to talk to each other for ever
	DropRcode                   // a query with an RCODE: no client sends one, and an error must not be answered with an error
)

// Fault is what is malformed in a query.
type Fault uint8

// The faults, by what of the query they are in.
const (
	FaultNone Fault = iota
	FaultQuestion
	FaultCount
	FaultType
	FaultSections
	FaultRecords
	FaultRecord
	FaultOPT
	FaultECS
	FaultCookie
	FaultZoneVersion
	FaultTSIG
)

// String says it in a sentence for the one who sent the query, at most EDETextMax octets long.
func (f Fault) String() string {
	switch f {
	case FaultQuestion:
		return "the question is malformed or cut off"
	case FaultCount:
		return "a query has one question"
	case FaultType:
		return "no name has data of this type"
	case FaultSections:
		return "a query has no answer or authority records"
	case FaultRecords:
		return "a query has two additional records at most"
	case FaultRecord:
		return "a record is malformed or cut off"
	case FaultOPT:
		return "OPT: one, owned by the root, its options whole"
	case FaultECS:
		return "the client subnet option is malformed"
	case FaultCookie:
		return "a cookie has 8 octets, or 16 to 40"
	case FaultZoneVersion:
		return "a zone version is asked for by an empty option"
	case FaultTSIG:
		return "TSIG: whole, and the last record"
	case FaultNone:
	}
	return "the query is malformed"
}

// fault notes what is malformed.
func (q *Query) fault(f Fault) Outcome {
	q.Fault = f
	return FormErr
}

// Dropped says whether the packet must not be answered.
func (o Outcome) Dropped() bool { return o >= DropShort }

// Query is one parsed query, reused from packet to packet. It keeps no pointer into the packet. Which fields are valid
// follows from how far Parse came: the header's after every Outcome but DropShort and DropResponse, the question's where
// QuestionEnd is above HeaderLen, the OPT record's where EDNS is set.
type Query struct {
	ID    uint16
	Flags uint16 // the header's second word as it came

	Opcode uint8
	RD, CD bool

	Type, Class uint16
	NameLen     int // octets of Name, root label included
	Labels      int // labels of Name, root not counted
	QuestionEnd int // offset of the first octet behind the question; HeaderLen where no question could be read

	EDNS        bool // there is an OPT record
	Options     bool // there are options in it
	DO          bool
	NSID        bool // asked for (RFC 5001)
	Keepalive   bool // asked for (RFC 7828)
	ZoneVersion bool // asked for (RFC 9660)
	Version     uint8
	UDPSize     uint16 // octets as the requestor said, UDPMin not yet applied

	TSIG          int   // offset of the TSIG record, the last additional one (RFC 8945), not verified; 0: none
	tsigData      int   // offset of its data
	tsigAlgorithm int   // octets of the algorithm's name there
	Fault         Fault // after FormErr: what is malformed

	ECS ECS

	CookieLen uint8    // octets of Cookie: 0 none, 8 a client cookie, 16 to 40 a client and a server cookie
	Cookie    [40]byte // RFC 7873 section 4

	Name [NameMax + nameSlack]byte // wire form in lower case, then eight zero octets
}

// Limits of what is read of a query, whatever its counts say: none of use has more, and each would only be work that a forged
// packet makes.
const (
	// questionsMax and recordsMax are how many are stepped over to find the OPT record of a query that is malformed for having
	// too many.
	questionsMax = 4
	recordsMax   = 4
	// additionalMax is an OPT record and a TSIG or SIG(0) (RFC 2931) behind it.
	additionalMax = 2
	// beforeMax is the SOA of an IXFR (RFC 1995 section 3).
	beforeMax = 1
	// optionsMax is twice as many options as IANA's registry has for clients to send.
	optionsMax = 16
)

// Parse reads one query. Everything that RFC 1035, 6891, 7871, 7873 and 8945 call malformed is FormErr, and so are
// records in the answer section, or in the authority section but for an IXFR, types that cannot be asked for, and a
// question count other than one (RFC 9619); and more records or options than any query of use has. Octets behind the last
// record are ignored, as BIND and NSD do. Another record in the additional section is stepped over unread.
func (q *Query) Parse(msg []byte) Outcome {
	q.reset()
	if len(msg) < HeaderLen {
		return DropShort
	}
	q.ID = binary.BigEndian.Uint16(msg)
	q.Flags = binary.BigEndian.Uint16(msg[2:])
	if q.Flags&FlagQR != 0 {
		return DropResponse
	}
	q.Opcode = uint8(q.Flags >> opcodeShift & opcodeMask)
	q.RD = q.Flags&FlagRD != 0
	q.CD = q.Flags&FlagCD != 0
	if q.Flags&rcodeMask != 0 {
		return DropRcode
	}
	out := q.parseBody(msg)
	if q.Opcode != OpcodeQuery {
		return NotImp // what is malformed in an operation that we do not know, we do not know either
	}
	return out
}

// reset clears what the packet before may have set. Name, Cookie and the ECS address are valid by their lengths alone,
// and clearing them would cost more than the rest of Parse.
func (q *Query) reset() {
	q.ID, q.Flags, q.Opcode, q.RD, q.CD = 0, 0, 0, false, false
	q.Type, q.Class, q.NameLen, q.Labels, q.QuestionEnd = 0, 0, 0, 0, HeaderLen
	q.EDNS, q.Options, q.DO, q.NSID, q.Keepalive, q.ZoneVersion, q.Version, q.UDPSize = false, false, false, false, false, false, 0, 0
	q.TSIG, q.Fault = 0, FaultNone
	q.ECS.Present = false
	q.CookieLen = 0
}

// parseBody reads all behind the header. A question count other than one is an error, but the records are read all the
// same: an OPT record among them wants one in the answer (RFC 6891 section 6.1.1), and a cookie may be all that is asked
// for (RFC 7873 section 5.4).
func (q *Query) parseBody(msg []byte) Outcome {
	questions := int(binary.BigEndian.Uint16(msg[4:]))
	if questions == 1 && !q.parseQuestion(msg) {
		return q.fault(FaultQuestion)
	}
	records := q.QuestionEnd
	if questions != 1 {
		if questions > questionsMax {
			return q.fault(FaultCount)
		}
		if records = skipQuestions(msg, questions); records < 0 {
			return q.fault(FaultQuestion)
		}
	}
	before := int(binary.BigEndian.Uint16(msg[6:])) + int(binary.BigEndian.Uint16(msg[8:]))
	additional := int(binary.BigEndian.Uint16(msg[10:]))
	out := q.parseRecords(msg, records, before, additional)
	switch {
	case out != OK:
		return out
	case questions == 0 && before == 0 && q.CookieLen > 0:
		return CookieOnly
	case questions != 1:
		return q.fault(FaultCount)
	}
	return q.answerable(before, msg)
}

// skipQuestions is the offset behind n questions, or -1 where the message ends before.
func skipQuestions(msg []byte, n int) int {
	off := HeaderLen
	for range n {
		if off = skipName(msg, off); off < 0 || off+4 > len(msg) {
			return -1
		}
		off += 4
	}
	return off
}

// parseQuestion reads the one question behind the header. A compression pointer has nothing before it to point to, so
// any is an error, as is a label type other than the plain one.
func (q *Query) parseQuestion(msg []byte) bool {
	n, labels := NameLen(msg[HeaderLen:])
	end := HeaderLen + n + 4
	if n < 0 || end > len(msg) {
		return false
	}
	fold(&q.Name, msg, n)
	q.NameLen, q.Labels = n, labels
	q.Type = binary.BigEndian.Uint16(msg[end-4:])
	q.Class = binary.BigEndian.Uint16(msg[end-2:])
	q.QuestionEnd = end
	return true
}

// answerable refuses the questions that have no answer whatever a zone holds: types that stand for no data of a name
// (RFC 6895 section 3.1, RFC 9824 section 3.5), and records where a query has none. The authority section of an IXFR
// holds the client's SOA (RFC 1995).
func (q *Query) answerable(before int, msg []byte) Outcome {
	switch q.Type {
	case TypeNone, TypeOPT, TypeNXNAME, TypeTKEY, TypeTSIG:
		return q.fault(FaultType)
	}
	answers := binary.BigEndian.Uint16(msg[6:])
	if before != 0 && (q.Type != TypeIXFR || answers != 0) {
		return q.fault(FaultSections)
	}
	return OK
}

// parseRecords walks the records that start at off: `before` of the answer and authority sections, which are stepped
// over, then the additional ones. A malformed record is FormErr, even behind an OPT record of a version that we do not speak.
func (q *Query) parseRecords(msg []byte, off, before, additional int) Outcome {
	out := OK
	for i := range min(before+additional, recordsMax) {
		ownerEnd := skipName(msg, off)
		if ownerEnd < 0 || ownerEnd+10 > len(msg) {
			return q.fault(FaultRecord)
		}
		fixed := msg[ownerEnd : ownerEnd+10]
		end := ownerEnd + 10 + int(binary.BigEndian.Uint16(fixed[8:]))
		if end > len(msg) {
			return q.fault(FaultRecord)
		}
		switch {
		case i < before:
		case binary.BigEndian.Uint16(fixed) == TypeOPT:
			// One at most, and its owner is the root, written as the root (RFC 6891 section 6.1.1).
			second := q.EDNS
			o := q.parseOPT(fixed, msg[ownerEnd+10:end])
			if second || ownerEnd != off+1 {
				return q.fault(FaultOPT)
			}
			if o == FormErr {
				return o
			}
			out = o
		case binary.BigEndian.Uint16(fixed) == TypeTSIG:
			// It signs all that stands before it, so it is the last (RFC 8945 section 5.1).
			n := tsigAlgorithm(fixed, msg[ownerEnd+10:end])
			if i != before+additional-1 || n < 0 {
				return q.fault(FaultTSIG)
			}
			q.TSIG, q.tsigData, q.tsigAlgorithm = off, ownerEnd+10, n
		}
		off = end
	}
	switch {
	case before > beforeMax:
		return q.fault(FaultSections)
	case additional > additionalMax:
		return q.fault(FaultRecords)
	}
	return out
}
