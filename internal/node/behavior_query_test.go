package node_test

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// query is what a `query` line asks, before it is given an ID and, where it wants one, a server cookie.
type query struct {
	text   string // the line
	msg    dns.Msg
	opt    dns.OPT
	edns   bool
	only   string     // the one transport to ask over, or "" for all
	source netip.Addr // to ask from; invalid: any
	size   bool       // the answer's size is part of it

	client      string // client cookie in hex digits
	server      string // how the server cookie is made: see the README; "": there is none
	ednsVersion uint8
}

// clientCookie is the client cookie of the query's first COOKIE option, in hex digits.
func (q *query) clientCookie() string {
	for _, o := range q.opt.Option {
		if raw, ok := o.(*dns.EDNS0_LOCAL); ok && raw.Code == dns.EDNS0COOKIE {
			return hex.EncodeToString(raw.Data[:min(8, len(raw.Data))])
		}
	}
	return strings.ToLower(q.client)
}

// transports are those that the query is asked over.
func (q *query) transports() []string {
	if q.only != "" {
		return []string{q.only}
	}
	return []string{"udp", "tcp"}
}

// ednsDefault is the payload size of queries that do not say one.
const ednsDefault = 1232

// parseQuery reads `NAME TYPE [CLASS] [words]`, or `- [words]` for a query without a question.
func parseQuery(text string, words []string) (*query, error) {
	q := &query{text: text}
	q.opt.Hdr = dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}
	q.opt.SetUDPSize(ednsDefault)
	if len(words) == 0 {
		return nil, fmt.Errorf("no name to ask for")
	}
	name := words[0]
	words = words[1:]
	if name != "-" {
		if len(words) == 0 {
			return nil, fmt.Errorf("no type to ask for")
		}
		if _, ok := dns.IsDomainName(name); !ok || !dns.IsFqdn(name) {
			return nil, fmt.Errorf("%q is not a domain name with its final dot", name)
		}
		t, ok := typeNumber(words[0])
		if !ok {
			return nil, fmt.Errorf("no such type: %q", words[0])
		}
		question := dns.Question{Name: name, Qtype: t, Qclass: dns.ClassINET}
		words = words[1:]
		if len(words) > 0 {
			if class, ok := classNumber(words[0]); ok {
				question.Qclass = class
				words = words[1:]
			}
		}
		q.msg.Question = []dns.Question{question}
	}
	for _, w := range words {
		if err := q.apply(w); err != nil {
			return nil, fmt.Errorf("%q: %w", w, err)
		}
	}
	return q, nil
}

// typeNumber reads a type's word, also TYPEnnn, and those that only queries have.
func typeNumber(word string) (uint16, bool) {
	if t, ok := dns.StringToType[word]; ok {
		return t, true
	}
	switch word {
	case "STEER":
		return 65400, true
	case "NXNAME":
		return 128, true
	}
	return numbered(word, "TYPE")
}

func classNumber(word string) (uint16, bool) {
	if c, ok := dns.StringToClass[word]; ok {
		return c, true
	}
	return numbered(word, "CLASS")
}

// numbered reads a word such as TYPE65280 (RFC 3597 section 5).
func numbered(word, prefix string) (uint16, bool) {
	digits, ok := strings.CutPrefix(word, prefix)
	n, err := strconv.ParseUint(digits, 10, 16)
	return uint16(n), ok && err == nil
}

// apply reads one word behind the question.
func (q *query) apply(word string) error {
	name, value, hasValue := strings.Cut(word, "=")
	if !hasValue {
		return q.applyFlag(name)
	}
	switch name {
	case "opcode":
		n, err := strconv.ParseUint(value, 10, 4)
		q.msg.Opcode = int(n)
		return err
	case "rcode":
		n, err := strconv.ParseUint(value, 10, 4)
		q.msg.Rcode = int(n)
		return err
	case "source":
		var err error
		q.source, err = netip.ParseAddr(value)
		return err
	case "+tsig":
		q.msg.Extra = append(q.msg.Extra, tsig(value))
		return nil
	}
	return q.applyEDNS(name, value)
}

// applyFlag reads a word without a value.
func (q *query) applyFlag(word string) error {
	switch word {
	case "+rd":
		q.msg.RecursionDesired = true
	case "+ad":
		q.msg.AuthenticatedData = true
	case "+cd":
		q.msg.CheckingDisabled = true
	case "+z":
		q.msg.Zero = true
	case "+aa":
		q.msg.Authoritative = true
	case "+tc":
		q.msg.Truncated = true
	case "+ra":
		q.msg.RecursionAvailable = true
	case "+qr":
		q.msg.Response = true
	case "+twice":
		q.msg.Question = append(q.msg.Question, q.msg.Question...)
	case "+udp", "+tcp":
		q.only = word[1:]
	case "+size":
		q.size = true
	case "+edns":
		q.edns = true
	case "+do":
		q.edns = true
		q.opt.SetDo()
	case "+nsid":
		q.option(dns.EDNS0NSID, nil)
	case "+keepalive":
		q.option(dns.EDNS0TCPKEEPALIVE, nil)
	case "+zoneversion":
		q.option(dns.EDNS0ZONEVERSION, nil)
	default:
		return fmt.Errorf("no such word")
	}
	return nil
}

// applyEDNS reads a word of the OPT record.
func (q *query) applyEDNS(name, value string) error {
	q.edns = true
	switch name {
	case "+edns":
		n, err := strconv.ParseUint(value, 10, 16)
		q.opt.SetUDPSize(uint16(n))
		return err
	case "+ednsversion":
		n, err := strconv.ParseUint(value, 10, 8)
		q.ednsVersion = uint8(n)
		q.opt.SetVersion(q.ednsVersion)
		return err
	case "+ednsflags":
		n, err := strconv.ParseUint(value, 0, 16)
		q.opt.Hdr.Ttl = q.opt.Hdr.Ttl&^0xFFFF | uint32(n)
		return err
	case "+ecs":
		data, err := ecsData(value)
		q.option(dns.EDNS0SUBNET, data)
		return err
	case "+cookie":
		q.client, q.server, _ = strings.Cut(value, "+")
		_, err := hex.DecodeString(q.client)
		return err
	case "+padding":
		n, err := strconv.ParseUint(value, 10, 10)
		q.option(dns.EDNS0PADDING, make([]byte, n))
		return err
	case "+option":
		code, digits, _ := strings.Cut(value, ":")
		n, err := strconv.ParseUint(code, 10, 16)
		if err != nil {
			return err
		}
		data, err := hex.DecodeString(digits)
		q.option(uint16(n), data)
		return err
	}
	return fmt.Errorf("no such word")
}

// option adds an option to the OPT record, its data as they are.
func (q *query) option(code uint16, data []byte) {
	q.edns = true
	q.opt.Option = append(q.opt.Option, &dns.EDNS0_LOCAL{Code: code, Data: data})
}

// ecsData is the data of an ECS option (RFC 7871 section 6) for ADDRESS/SOURCE. Bits behind SOURCE stay, if they are in the last
// octet that is sent.
func ecsData(text string) ([]byte, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return nil, err
	}
	family := byte(1)
	if p.Addr().Is6() {
		family = 2
	}
	return append([]byte{0, family, byte(p.Bits()), 0}, p.Addr().AsSlice()[:(p.Bits()+7)/8]...), nil
}

// tsig is a TSIG record by a key that nobody has, or that its MAC does not prove (RFC 8945 section 4.2).
func tsig(key string) *dns.TSIG {
	return &dns.TSIG{
		Hdr:       dns.RR_Header{Name: key, Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
		Algorithm: dns.HmacSHA256, TimeSigned: uint64(time.Now().Unix()), Fudge: 300,
		MACSize: 32, MAC: strings.Repeat("5a", 32),
	}
}

// pack makes the message. serverCookie is in hex digits, empty for none.
func (q *query) pack(serverCookie string) ([]byte, error) {
	m := q.msg
	m.Id = uint16(rand.Uint32())
	m.Extra = nil
	if q.edns {
		opt := q.opt
		if q.client != "" {
			opt.Option = append(slices.Clone(opt.Option), &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: q.client + serverCookie})
		}
		m.Extra = append(m.Extra, &opt)
	}
	for _, rr := range q.msg.Extra {
		if t, ok := rr.(*dns.TSIG); ok {
			signed := *t
			signed.OrigId = m.Id
			rr = &signed
		}
		m.Extra = append(m.Extra, rr)
	}
	return m.Pack()
}

// dialer connects over a transport from the query's source address.
func (q *query) dialer(transport string) *net.Dialer {
	d := &net.Dialer{Timeout: soon}
	switch {
	case !q.source.IsValid():
	case transport == "udp":
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(q.source, 0))
	default:
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(q.source, 0))
	}
	return d
}
