package health

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

const (
	// ednsSize is the size of answers over UDP that a probe takes: what passes
	// every path in one piece.
	ednsSize = 1232

	// straysMax bounds the datagrams that are no answer to the query, in one
	// probe: more are a flood, and not worth the time to the timeout.
	straysMax = 100
)

// question is a dns check's query, compiled.
type question struct {
	name   string // absolute
	rrtype uint16
	rcode  int
	want   []dns.RR // owned by name, whatever the answer's owner is
	packed []byte   // the query, its ID 0
	tcp    bool
}

// compile checks the query, whose defaults are set, and prepares it.
func (q DNSQuery) compile() (*question, error) {
	unprintable := strings.ContainsFunc(q.Name, func(r rune) bool { return r <= ' ' || r > '~' })
	if q.Name == "" || unprintable || !isDomainName(dns.Fqdn(q.Name)) {
		return nil, fmt.Errorf("name %.300q is not a domain name", q.Name)
	}
	made := &question{name: dns.Fqdn(q.Name), tcp: q.TCP}
	var err error
	if made.rrtype, err = parseType(q.Type); err != nil {
		return nil, err
	}
	rcode, ok := dns.StringToRcode[strings.ToUpper(q.Rcode)]
	if !ok || rcode > 0xF {
		return nil, fmt.Errorf("rcode %.40q is not one such as NOERROR, NXDOMAIN or REFUSED", q.Rcode)
	}
	made.rcode = rcode
	if len(q.Answers) > AnswersMax {
		return nil, fmt.Errorf("answers: there are %d, at most %d are allowed", len(q.Answers), AnswersMax)
	}
	for _, text := range q.Answers {
		var rr dns.RR
		if rr, err = made.parseAnswer(text); err != nil {
			return nil, err
		}
		made.want = append(made.want, rr)
	}
	message := new(dns.Msg).SetQuestion(made.name, made.rrtype) // recursion is desired, for the target may be a resolver
	message.Id = 0
	message.SetEdns0(ednsSize, false)
	if made.packed, err = message.Pack(); err != nil {
		return nil, fmt.Errorf("name %q: %w", q.Name, err)
	}
	return made, nil
}

// isDomainName reports whether an absolute name fits into a message.
// [dns.IsDomainName] takes some that are too long.
func isDomainName(name string) bool {
	const octetsMax = 255 // RFC 1035 section 2.3.4
	_, err := dns.PackDomainName(name, make([]byte, octetsMax), 0, nil, false)
	return err == nil
}

// parseType gives the number of a type that can be asked for and stands in answers.
func parseType(text string) (uint16, error) {
	name := strings.ToUpper(text)
	rrtype, ok := dns.StringToType[name]
	if number, generic := strings.CutPrefix(name, "TYPE"); !ok && generic {
		n, err := strconv.ParseUint(number, 10, 16)
		rrtype, ok = uint16(n), err == nil
	}
	// OPT and what RFC 6895 section 3.1 sets aside for questions and metadata.
	if !ok || rrtype == dns.TypeNone || rrtype == dns.TypeOPT || (rrtype >= 128 && rrtype <= 255) {
		return 0, fmt.Errorf("type %.40q is not one that an answer may hold, such as A, NS or TYPE65", text)
	}
	return rrtype, nil
}

// parseAnswer parses expected rdata.
func (q *question) parseAnswer(text string) (dns.RR, error) {
	rrtype := dns.Type(q.rrtype).String()
	wrong := func(why string) error {
		return fmt.Errorf("answer %.80q is not rdata of type %s: %s", text, rrtype, why)
	}
	switch {
	case len(text) > AnswerMax:
		return nil, wrong(fmt.Sprintf("it has %d bytes, at most %d are allowed", len(text), AnswerMax))
	case strings.TrimSpace(text) == "":
		return nil, wrong("it is empty")
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }):
		return nil, wrong("it holds a control character")
	}
	rr, err := dns.NewRR(". 0 IN " + rrtype + " " + text)
	if err != nil {
		return nil, wrong(strings.TrimPrefix(err.Error(), "dns: "))
	}
	if rr == nil || rr.Header().Rrtype != q.rrtype {
		return nil, wrong("it is empty")
	}
	// What cannot be packed could never be found; an address that is missing packs to nothing.
	size, err := dns.PackRR(rr, make([]byte, dns.MaxMsgSize), 0, nil, false)
	if err != nil {
		return nil, wrong(strings.TrimPrefix(err.Error(), "dns: "))
	}
	if header := 11; size <= header { // owner ., type, class, TTL and length
		return nil, wrong("it is empty")
	}
	return rr, nil
}

// probeDNS sends the query and judges the answer.
func (p *prober) probeDNS(ctx context.Context, r *run) (good string, err error) {
	network := "udp"
	if p.question.tcp {
		network = "tcp"
	}
	conn, err := p.connect(ctx, network)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // the answer is judged by then
	r.reach(waiting)
	id := uint16(rand.Uint32())
	query := append(make([]byte, 2, 2+len(p.question.packed)), p.question.packed...)
	binary.BigEndian.PutUint16(query, uint16(len(p.question.packed)))
	binary.BigEndian.PutUint16(query[2:], id)
	var answer *dns.Msg
	if p.question.tcp {
		answer, err = p.question.askTCP(conn, query, id)
	} else {
		answer, err = p.question.askUDP(conn, query[2:], id, r)
	}
	if err != nil {
		return "", err
	}
	return p.question.judge(answer)
}

// askTCP sends a query, its length before it, and reads one message.
func (q *question) askTCP(conn net.Conn, query []byte, id uint16) (*dns.Msg, error) {
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	data := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, data); err != nil {
		return nil, err
	}
	answer := q.parse(data, id)
	if answer == nil {
		return nil, unwantedError(fmt.Sprintf("what came, %d bytes, is no answer to the query", len(data)))
	}
	return answer, nil
}

// askUDP sends a query and waits for its answer. Whatever else comes may be
// late, or forged, and is passed over. Where it comes from the socket checks,
// which is connected.
func (q *question) askUDP(conn net.Conn, query []byte, id uint16, r *run) (*dns.Msg, error) {
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	data := make([]byte, ednsSize)
	for strays := 1; ; strays++ {
		n, err := conn.Read(data)
		if err != nil && !errors.Is(err, io.EOF) { // an empty datagram may look like an end
			return nil, err
		}
		if answer := q.parse(data[:n], id); answer != nil {
			return answer, nil
		}
		if strays == straysMax {
			return nil, unwantedError(fmt.Sprintf("%d datagrams came that are no answer to the query", strays))
		}
		r.note = fmt.Sprintf("after %d datagrams that are no answer to the query", strays)
	}
}

// parse gives the message if it answers the query with this ID, else nil.
func (q *question) parse(data []byte, id uint16) *dns.Msg {
	message := new(dns.Msg)
	if len(data) < 2 || binary.BigEndian.Uint16(data) != id || message.Unpack(data) != nil || !message.Response {
		return nil
	}
	switch len(message.Question) {
	case 0: // from a server that did not even read it
		if message.Rcode == dns.RcodeFormatError || message.Rcode == dns.RcodeNotImplemented {
			return message
		}
	case 1:
		asked := message.Question[0]
		if asked.Qtype == q.rrtype && asked.Qclass == dns.ClassINET && dns.CanonicalName(asked.Name) == dns.CanonicalName(q.name) {
			return message
		}
	}
	return nil
}

// judge says whether an answer is the wanted one. What is truncated is judged
// as it is: that it came shows that the server lives, but nothing that is
// expected may be missing.
func (q *question) judge(answer *dns.Msg) (good string, err error) {
	good = rcodeName(answer.Rcode)
	if answer.Rcode != q.rcode {
		return "", unwantedError("rcode " + good + ", want " + rcodeName(q.rcode))
	}
	for _, want := range q.want {
		if found(answer.Answer, want) {
			continue
		}
		rdata := strings.TrimPrefix(want.String(), want.Header().String())
		if answer.Truncated {
			return "", unwantedError(fmt.Sprintf("%s, but %.80q is not in the answer, which is truncated", good, rdata))
		}
		return "", unwantedError(fmt.Sprintf("%s, but %.80q is not in the answer", good, rdata))
	}
	return "answered " + good, nil
}

// found reports whether a record with want's type and rdata is among all,
// whatever its owner: it may stand behind a CNAME.
func found(all []dns.RR, want dns.RR) bool {
	for _, rr := range all {
		if rr.Header().Rrtype != want.Header().Rrtype {
			continue
		}
		rr = dns.Copy(rr)
		rr.Header().Name = want.Header().Name
		if dns.IsDuplicate(want, rr) {
			return true
		}
	}
	return false
}

// rcodeName is an rcode for people.
func rcodeName(rcode int) string {
	if name, ok := dns.RcodeToString[rcode]; ok {
		return name
	}
	return strconv.Itoa(rcode)
}
