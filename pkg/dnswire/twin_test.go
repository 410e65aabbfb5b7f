package dnswire_test

import (
	"encoding/binary"
	"errors"
	"slices"

	"geodns/pkg/dnswire"
)

// slowQuery is what slowParse finds: the twin of dnswire.Query, in plain Go values.
type slowQuery struct {
	id, flags    uint16
	name         []byte // folded; nil where no question was read
	labels       int
	typ, class   uint16
	questionEnd  int
	edns, do     bool
	nsid, keep   bool
	zoneVersion  bool
	tsig         int // offset
	version      byte
	udpSize      uint16
	ecs          bool
	family       uint16
	source       byte
	address      [16]byte
	cookie       []byte
	questionSeen bool
}

var errCut = errors.New("cut off")

// reader takes a message apart by plain slicing.
type reader struct {
	msg []byte
	off int
}

func (r *reader) bytes(n int) ([]byte, error) {
	if r.off+n > len(r.msg) {
		return nil, errCut
	}
	b := r.msg[r.off : r.off+n]
	r.off += n
	return b, nil
}

func (r *reader) u16() (uint16, error) {
	b, err := r.bytes(2)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint16(b), nil
}

// name reads labels; a pointer ends a name where pointers are allowed.
func (r *reader) name(pointers bool) (wire []byte, labels int, err error) {
	for {
		b, err := r.bytes(1)
		if err != nil {
			return nil, 0, err
		}
		n := int(b[0])
		if n >= 0xC0 && pointers {
			_, err = r.bytes(1)
			return nil, 0, err
		}
		if n > 63 {
			return nil, 0, errors.New("label type")
		}
		wire = append(wire, b[0])
		if n == 0 {
			return wire, labels, nil
		}
		label, err := r.bytes(n)
		if err != nil {
			return nil, 0, err
		}
		for _, c := range label {
			if c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			}
			wire = append(wire, c)
		}
		labels++
	}
}

// slowParse is the twin of Query.Parse: the same rules, written to be read.
func slowParse(msg []byte) (*slowQuery, dnswire.Outcome) {
	q := &slowQuery{questionEnd: 12}
	if len(msg) < 12 {
		return q, dnswire.DropShort
	}
	var words [6]uint16
	for i := range words {
		words[i] = binary.BigEndian.Uint16(msg[2*i:])
	}
	q.id, q.flags = words[0], words[1]
	switch {
	case q.flags&0x8000 != 0:
		return q, dnswire.DropResponse
	case q.flags&0xF != 0:
		return q, dnswire.DropRcode
	}
	out := q.body(msg, words[2:])
	if q.flags>>11&0xF != 0 {
		return q, dnswire.NotImp
	}
	return q, out
}

func (q *slowQuery) body(msg []byte, counts []uint16) dnswire.Outcome {
	r := &reader{msg: msg, off: 12}
	if counts[0] > 4 {
		return dnswire.FormErr
	}
	for range counts[0] {
		if err := q.question(r, counts[0] == 1); err != nil {
			return dnswire.FormErr
		}
	}
	badVersion := false
	all := int(counts[1]) + int(counts[2]) + int(counts[3])
	for i := range min(all, 4) {
		start := r.off
		if _, _, err := r.name(true); err != nil || r.off-start > 255 {
			return dnswire.FormErr
		}
		root := r.off == start+1
		fixed, err := r.bytes(10)
		if err != nil {
			return dnswire.FormErr
		}
		data, err := r.bytes(int(binary.BigEndian.Uint16(fixed[8:])))
		if err != nil {
			return dnswire.FormErr
		}
		typ := binary.BigEndian.Uint16(fixed)
		if i < int(counts[1])+int(counts[2]) {
			continue
		}
		if typ == 250 {
			if i != all-1 || slowTSIG(fixed, data) != nil {
				return dnswire.FormErr
			}
			q.tsig = start
		}
		if typ != 41 {
			continue
		}
		doubled := q.edns
		q.edns, q.udpSize, q.version, q.do = true, binary.BigEndian.Uint16(fixed[2:]), fixed[5], fixed[6]&0x80 != 0
		if q.version != 0 {
			badVersion = true
		} else if err := q.options(data); err != nil {
			return dnswire.FormErr
		}
		if doubled || !root {
			return dnswire.FormErr
		}
	}
	if int(counts[1])+int(counts[2]) > 1 || counts[3] > 2 {
		return dnswire.FormErr
	}
	if badVersion {
		return dnswire.BadVers
	}
	if counts[0] == 0 && counts[1] == 0 && counts[2] == 0 && q.cookie != nil {
		return dnswire.CookieOnly
	}
	if counts[0] != 1 || counts[1] != 0 || counts[2] != 0 && q.typ != 251 {
		return dnswire.FormErr
	}
	if slices.Contains([]uint16{0, 41, 128, 249, 250}, q.typ) {
		return dnswire.FormErr
	}
	return dnswire.OK
}

func (q *slowQuery) question(r *reader, only bool) error {
	name, labels, err := r.name(!only)
	if err != nil {
		return err
	}
	typ, err := r.u16()
	if err != nil {
		return err
	}
	class, err := r.u16()
	if err != nil {
		return err
	}
	if only {
		if len(name) > 255 {
			return errors.New("long name")
		}
		q.name, q.labels, q.typ, q.class, q.questionEnd, q.questionSeen = name, labels, typ, class, r.off, true
	}
	return nil
}

func (q *slowQuery) options(data []byte) error {
	r := &reader{msg: data}
	for n := 0; r.off < len(data); n++ {
		if n == 16 {
			return errors.New("options")
		}
		code, err := r.u16()
		if err != nil {
			return err
		}
		n, err := r.u16()
		if err != nil {
			return err
		}
		v, err := r.bytes(int(n))
		if err != nil {
			return err
		}
		switch code {
		case 3:
			q.nsid = true
		case 8:
			if q.ecs {
				return errors.New("two ECS options")
			}
			if err := q.subnet(v); err != nil {
				return err
			}
		case 19:
			if len(v) > 0 {
				return errors.New("zone version with data")
			}
			q.zoneVersion = true
		case 10:
			if q.cookie != nil {
				break
			}
			if len(v) != 8 && (len(v) < 16 || len(v) > 40) {
				return errors.New("cookie length")
			}
			q.cookie = append([]byte(nil), v...)
		case 11:
			q.keep = true
		}
	}
	return nil
}

// slowTSIG reads the record's data to its end.
func slowTSIG(fixed, data []byte) error {
	if string(fixed[2:8]) != "\x00\xff\x00\x00\x00\x00" {
		return errors.New("class or TTL")
	}
	r := &reader{msg: data}
	algorithm, _, err := r.name(false)
	if err != nil || len(algorithm) > 255 {
		return errors.New("algorithm")
	}
	for _, part := range []int{8, -1, 4, -1} { // time and fudge, MAC, ID and error, other data
		if part < 0 {
			n, err := r.u16()
			if err != nil {
				return err
			}
			part = int(n)
		}
		if _, err := r.bytes(part); err != nil {
			return err
		}
	}
	if r.off != len(data) {
		return errors.New("octets behind")
	}
	return nil
}

func (q *slowQuery) subnet(v []byte) error {
	if len(v) < 4 {
		return errCut
	}
	q.family, q.source = binary.BigEndian.Uint16(v), v[2]
	bits := map[uint16]int{1: 32, 2: 128}[q.family]
	addr := v[4:]
	switch {
	case bits == 0, int(q.source) > bits, v[3] != 0, len(addr) != (int(q.source)+7)/8:
		return errors.New("subnet")
	}
	q.address = [16]byte{}
	for i := range 8 * len(addr) {
		bit := addr[i/8] >> (7 - i%8) & 1
		if i >= int(q.source) && bit != 0 {
			return errors.New("bit behind the prefix")
		}
		q.address[i/8] |= bit << (7 - i%8)
	}
	q.ecs = true
	return nil
}

// differs says in what Query and its twin differ, or nothing.
func differs(q *dnswire.Query, out dnswire.Outcome, s *slowQuery, want dnswire.Outcome) string {
	cookie := string(q.Cookie[:q.CookieLen])
	switch {
	case out != want:
		return "outcome"
	case out == dnswire.DropShort || out == dnswire.DropResponse:
		return ""
	case q.ID != s.id || q.Flags != s.flags:
		return "header"
	case q.QuestionEnd != s.questionEnd || (q.QuestionEnd > dnswire.HeaderLen) != s.questionSeen:
		return "question end"
	case s.questionSeen && (string(q.Name[:q.NameLen]) != string(s.name) || q.Labels != s.labels):
		return "name"
	case s.questionSeen && string(q.Name[q.NameLen:q.NameLen+8]) != "\x00\x00\x00\x00\x00\x00\x00\x00":
		return "slack"
	case q.Type != s.typ || q.Class != s.class:
		return "type or class"
	case q.EDNS != s.edns || q.TSIG != s.tsig:
		return "OPT or TSIG seen"
	case q.EDNS && (q.DO != s.do || q.UDPSize != s.udpSize || q.Version != s.version):
		return "OPT"
	case out == dnswire.FormErr && q.Fault == dnswire.FaultNone || out == dnswire.OK && q.Fault != dnswire.FaultNone:
		return "fault"
	case out != dnswire.OK && out != dnswire.CookieOnly:
		return "" // how far a malformed message's options were read is nobody's business
	case q.NSID != s.nsid || q.Keepalive != s.keep || q.ZoneVersion != s.zoneVersion || cookie != string(s.cookie):
		return "options"
	case q.ECS.Present != s.ecs:
		return "ECS seen"
	case s.ecs && (q.ECS.Family != s.family || q.ECS.Source != s.source || q.ECS.Addr != s.address):
		return "ECS"
	}
	return ""
}
