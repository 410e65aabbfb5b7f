package dnstest_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// queryText is a query as a probe writes it. Its records stand in the message in the order of their lines.
type queryText struct {
	raw       string // the whole message, where there is one; its first two octets become the id
	opcode    uint16
	rcode     uint16
	flags     uint16
	questions []string
	records   []recordText
	counts    map[string]uint16 // that the header says, where they are not what there is
	trail     string            // behind the last record
	cut       int               // octets that are left of it all; 0: all
	framing   framing
}

// recordText is one record of a query.
type recordText struct {
	section string // an, ns or ar
	owner   string
	typ     uint16
	class   uint16
	ttl     uint32
	data    string       // octets of its RDATA, before options
	options []optionText // of an OPT record
}

// optionText is one EDNS option.
type optionText struct {
	code   uint16
	data   string
	length int // what it says of itself, -1: what it has
}

// environment is what the words in a probe stand for while it is sent.
type environment struct {
	id     uint16
	client []byte                   // a client cookie
	server func() ([]byte, error)   // a server cookie for it, got from the server
	aged   func(seconds int) []byte // one made with the secret that servers were given, as old as that
}

// headerBits are the words of a line `flags`.
func headerBits() map[string]uint16 {
	return map[string]uint16{"QR": 1 << 15, "AA": 1 << 10, "TC": 1 << 9, "RD": 1 << 8, "RA": 1 << 7, "Z": 1 << 6, "AD": 1 << 5, "CD": 1 << 4}
}

// optionCodes are the options that have a name (the registry "DNS EDNS0 Option Codes").
func optionCodes() map[string]uint16 {
	return map[string]uint16{
		"LLQ": 1, "UL": 2, "NSID": 3, "DAU": 5, "ECS": 8, "EXPIRE": 9, "COOKIE": 10, "KEEPALIVE": 11, "PADDING": 12, "CHAIN": 13, "KEYTAG": 14, "EDE": 15,
		"REPORT": 18, "ZONEVERSION": 19,
	}
}

// line reads one line of the query.
func (q *queryText) line(word, rest string) error {
	var err error
	switch word {
	case "question":
		q.questions = append(q.questions, rest)
	case "raw":
		q.raw = rest
	case "opcode":
		q.opcode, err = number16(rest)
	case "rcode":
		q.rcode, err = number16(rest)
	case "flags":
		for w := range strings.FieldsSeq(rest) {
			bit, known := headerBits()[w]
			if !known {
				return fmt.Errorf("%q is no flag", w)
			}
			q.flags |= bit
		}
	case "edns":
		return q.edns(rest)
	case "option":
		return q.option(rest)
	case "record":
		return q.record(rest)
	case "tsig":
		return q.tsig(rest)
	case "counts":
		q.counts = map[string]uint16{}
		return settings(rest, func(key, value string) error {
			q.counts[key], err = number16(value)
			return err
		})
	case "trail":
		q.trail = rest
	case "cut":
		q.cut, err = strconv.Atoi(rest)
	case "framing":
		return q.framing.read(rest)
	default:
		return errors.New("no such line")
	}
	return err
}

// settings reads KEY=VALUE words.
func settings(text string, set func(key, value string) error) error {
	for w := range strings.FieldsSeq(text) {
		key, value, _ := strings.Cut(w, "=")
		if err := set(key, value); err != nil {
			return fmt.Errorf("%q: %w", w, err)
		}
	}
	return nil
}

// edns adds an OPT record. Its class is the UDP size, its TTL the upper bits of the RCODE, the version and the flags.
func (q *queryText) edns(text string) error {
	r := recordText{section: "ar", owner: ".", typ: dns.TypeOPT, class: 1232}
	var version, flags uint16
	err := settings(text, func(key, value string) (err error) {
		switch key {
		case "size":
			r.class, err = number16(value)
		case "version":
			version, err = number16(value)
		case "flags":
			flags, err = number16(value)
		case "do":
			flags |= 1 << 15
		case "rcode":
			var upper uint16
			upper, err = number16(value)
			r.ttl |= uint32(upper) << 24
		case "section":
			r.section = value
		case "owner":
			r.owner = value
		case "data":
			r.data = value
		default:
			err = errors.New("no such setting")
		}
		return err
	})
	r.ttl |= uint32(version)<<16 | uint32(flags)
	q.records = append(q.records, r)
	return err
}

// option adds an option to the last OPT record: CODE [length=N] OCTETS.
func (q *queryText) option(text string) error {
	word, data, _ := strings.Cut(text, " ")
	code, known := optionCodes()[word]
	if !known {
		var err error
		if code, err = number16(word); err != nil {
			return err
		}
	}
	o := optionText{code: code, data: strings.TrimSpace(data), length: -1}
	if word, rest, _ := strings.Cut(o.data, " "); strings.HasPrefix(word, "length=") {
		length, err := number16(strings.TrimPrefix(word, "length="))
		if err != nil {
			return err
		}
		o.length, o.data = int(length), rest
	}
	if len(q.records) == 0 || q.records[len(q.records)-1].typ != dns.TypeOPT {
		return errors.New("there is no `edns` before it")
	}
	last := &q.records[len(q.records)-1]
	last.options = append(last.options, o)
	return nil
}

// record adds a record: SECTION OWNER TYPE CLASS TTL OCTETS.
func (q *queryText) record(text string) error {
	f := strings.Fields(text)
	if len(f) < 5 {
		return errors.New("SECTION OWNER TYPE CLASS TTL OCTETS")
	}
	r := recordText{section: f[0], owner: f[1], data: strings.Join(f[5:], " ")}
	var err error
	if r.typ, err = typeNumber(f[2]); err != nil {
		return err
	}
	if r.class, err = classNumber(f[3]); err != nil {
		return err
	}
	ttl, err := strconv.ParseUint(f[4], 10, 32)
	r.ttl = uint32(ttl)
	q.records = append(q.records, r)
	return err
}

// tsigRecord is the fields of a TSIG record (RFC 8945 section 4.2), as octets.
const tsigRecord = "name=%s %s 012c %04x %s %s 0000 %s"

// tsig adds a TSIG record, well-formed but for what is said. Its MAC is nobody's.
func (q *queryText) tsig(text string) error {
	r := recordText{section: "ar", owner: "key.example.", typ: dns.TypeTSIG, class: dns.ClassANY}
	algorithm, when, mac, other, macLen := "hmac-sha256.", "now48", "32*aa", "0000", uint16(32)
	err := settings(text, func(key, value string) (err error) {
		switch key {
		case "name":
			r.owner = value
		case "section":
			r.section = value
		case "algorithm":
			algorithm = value
		case "time":
			when = value
		case "mac":
			macLen, err = number16(value)
			mac = fmt.Sprintf("%d*aa", macLen)
		case "maclen":
			macLen, err = number16(value)
		case "other":
			other = value
		case "class":
			r.class, err = classNumber(value)
		case "ttl":
			var ttl uint16
			ttl, err = number16(value)
			r.ttl = uint32(ttl)
		case "data":
			r.data = value
		default:
			err = errors.New("no such setting")
		}
		return err
	})
	if r.data == "" {
		r.data = fmt.Sprintf(tsigRecord, algorithm, when, macLen, mac, "id", other)
	}
	q.records = append(q.records, r)
	return err
}

// build makes the message.
func (q *queryText) build(env *environment) ([]byte, error) {
	if q.raw != "" {
		msg, err := octets(q.raw, env)
		if len(msg) >= 2 {
			binary.BigEndian.PutUint16(msg, env.id)
		}
		return msg, err
	}
	msg := binary.BigEndian.AppendUint16(make([]byte, 0, 512), env.id)
	msg = append(msg, make([]byte, 10)...)
	binary.BigEndian.PutUint16(msg[2:], q.opcode<<11|q.flags|q.rcode)
	counts := map[string]uint16{"qd": uint16(len(q.questions))}
	var err error
	for _, text := range q.questions {
		if msg, err = appendQuestion(msg, text, env); err != nil {
			return nil, err
		}
	}
	for _, section := range []string{"an", "ns", "ar"} {
		for _, r := range q.records {
			if r.section == section {
				counts[section]++
				if msg, err = r.append(msg, env); err != nil {
					return nil, err
				}
			}
		}
	}
	maps.Copy(counts, q.counts)
	for i, section := range []string{"qd", "an", "ns", "ar"} {
		binary.BigEndian.PutUint16(msg[4+2*i:], counts[section])
	}
	trail, err := octets(q.trail, env)
	if err != nil {
		return nil, err
	}
	msg = append(msg, trail...)
	if q.cut > 0 {
		if q.cut >= len(msg) {
			return nil, fmt.Errorf("cut to %d octets: there are only %d", q.cut, len(msg))
		}
		msg = msg[:q.cut]
	}
	return msg, nil
}

// appendQuestion appends NAME TYPE [CLASS], or octets behind a `=`.
func appendQuestion(msg []byte, text string, env *environment) ([]byte, error) {
	if raw, ok := strings.CutPrefix(text, "="); ok {
		data, err := octets(raw, env)
		return append(msg, data...), err
	}
	f := append(strings.Fields(text), "IN")
	if len(f) < 3 {
		return nil, errors.New("question NAME TYPE [CLASS]")
	}
	name, err := wireName(f[0])
	if err != nil {
		return nil, err
	}
	typ, err := typeNumber(f[1])
	if err != nil {
		return nil, err
	}
	class, err := classNumber(f[2])
	if err != nil {
		return nil, err
	}
	msg = append(msg, name...)
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(msg, typ), class), nil
}

// append appends the record.
func (r *recordText) append(msg []byte, env *environment) ([]byte, error) {
	owner, err := wireName(r.owner)
	if err != nil {
		return nil, err
	}
	data, err := octets(r.data, env)
	if err != nil {
		return nil, err
	}
	for _, o := range r.options {
		value, err := octets(o.data, env)
		if err != nil {
			return nil, err
		}
		length := o.length
		if length < 0 {
			length = len(value)
		}
		data = binary.BigEndian.AppendUint16(data, o.code)
		data = binary.BigEndian.AppendUint16(data, uint16(length))
		data = append(data, value...)
	}
	msg = append(msg, owner...)
	msg = binary.BigEndian.AppendUint16(msg, r.typ)
	msg = binary.BigEndian.AppendUint16(msg, r.class)
	msg = binary.BigEndian.AppendUint32(msg, r.ttl)
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(data)))
	return append(msg, data...), nil
}

// wireName is a name in wire form; behind a `=` it stands in hex.
func wireName(text string) ([]byte, error) {
	if raw, ok := strings.CutPrefix(text, "="); ok {
		return octets(raw, nil)
	}
	buf := make([]byte, 256)
	n, err := dns.PackDomainName(dns.Fqdn(text), buf, 0, nil, false)
	if err != nil {
		return nil, fmt.Errorf("name %q: %w", text, err)
	}
	return buf[:n], nil
}

// typeNumber reads the name or the number of a type.
func typeNumber(text string) (uint16, error) {
	if n, known := dns.StringToType[text]; known {
		return n, nil
	}
	return number16(strings.TrimPrefix(text, "TYPE"))
}

// classNumber reads the name or the number of a class.
func classNumber(text string) (uint16, error) {
	if n, known := dns.StringToClass[text]; known {
		return n, nil
	}
	return number16(strings.TrimPrefix(text, "CLASS"))
}

// number16 reads a number of 16 bits, also in hex with 0x before it.
func number16(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 0, 16)
	return uint16(n), err
}

// framing is how a query goes over TCP, where not with its length before it and at once.
type framing struct {
	octets      bool // one octet at a time
	halves      bool // the length alone first
	length      int  // that is said, if lengthSet
	lengthSet   bool
	copies      int  // how often it is sent in one write; their ids count up
	close       int  // octets after which we close our side; 0: we do not
	hang        int  // octets after which nothing more comes
	zero        bool // a message of length 0 comes first
	connections int  // how many are open at once, each with the query
}

// read reads KEY or KEY=N.
func (f *framing) read(text string) error {
	return settings(text, func(key, value string) (err error) {
		switch key {
		case "octets":
			f.octets = true
		case "halves":
			f.halves = true
		case "zero":
			f.zero = true
		case "length":
			f.lengthSet = true
			f.length, err = strconv.Atoi(value)
		case "copies":
			f.copies, err = strconv.Atoi(value)
		case "close":
			f.close, err = strconv.Atoi(value)
		case "hang":
			f.hang, err = strconv.Atoi(value)
		case "connections":
			f.connections, err = strconv.Atoi(value)
		default:
			err = fmt.Errorf("it is one of %v", []string{"octets", "halves", "zero", "length=N", "copies=N", "close=N", "hang=N", "connections=N"})
		}
		return err
	})
}
