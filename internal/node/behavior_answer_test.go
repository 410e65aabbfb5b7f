package node_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// answer is an answer as text, in one form for equal answers.
type answer struct {
	dropped  bool
	rcode    string
	flags    []string    // in the order of answerFlags
	question string      // "" is the query's, octet for octet
	sections [3][]string // records: answer, authority, additional without OPT and TSIG
	opt      []string    // words of the OPT record, sorted; nil: none
	tsig     []string    // words of the TSIG record; nil: none
	size     int         // octets; 0: not asked for
}

// answerFlags are the header's flags by their words. QR is not among them: every answer has it.
func answerFlags() []string { return []string{"aa", "tc", "rd", "ra", "z", "ad", "cd"} }

// sectionWords begin the records of a section; those of the answer section stand below the `answer` line itself.
func sectionWords() [3]string { return [3]string{"answer", "authority", "additional"} }

// String is the answer's text.
func (a *answer) String() string {
	if a == nil {
		return "(none)"
	}
	return strings.Join(a.lines(), "\n")
}

func (a *answer) lines() []string { return a.linesAs("answer") }

// linesAs are the lines of the answer's text; the first begins with a word.
func (a *answer) linesAs(word string) []string {
	if a.dropped {
		return []string{word + " dropped"}
	}
	lines := []string{strings.Join(append([]string{word, a.rcode}, a.flags...), " ")}
	if a.question != "" {
		lines = append(lines, "question "+a.question)
	}
	for i, records := range a.sections {
		if i > 0 && len(records) > 0 {
			lines = append(lines, sectionWords()[i])
		}
		for _, r := range records {
			lines = append(lines, "  "+r)
		}
	}
	if a.opt != nil {
		lines = append(lines, strings.Join(append([]string{"opt"}, a.opt...), " "))
	}
	if a.tsig != nil {
		lines = append(lines, strings.Join(append([]string{"tsig"}, a.tsig...), " "))
	}
	if a.size > 0 {
		lines = append(lines, fmt.Sprintf("size %d", a.size))
	}
	return lines
}

// parseAnswer reads what stands behind `answer`: `RCODE [flags]`, or `dropped`.
func parseAnswer(words []string) (*answer, error) {
	if slices.Equal(words, []string{"dropped"}) {
		return &answer{dropped: true}, nil
	}
	if len(words) == 0 {
		return nil, errors.New("no response code")
	}
	a := &answer{rcode: words[0]}
	if !knownRcode(a.rcode) {
		return nil, fmt.Errorf("no such response code: %q", a.rcode)
	}
	for _, f := range words[1:] {
		if !slices.Contains(answerFlags(), f) {
			return nil, fmt.Errorf("no such flag: %q", f)
		}
	}
	for _, f := range answerFlags() {
		if slices.Contains(words[1:], f) {
			a.flags = append(a.flags, f)
		}
	}
	return a, nil
}

func knownRcode(word string) bool {
	_, ok := dns.StringToRcode[word]
	return ok || word == "BADVERS"
}

// parseLine reads a line below `answer`: records are indented, and belong to the section before them.
func (a *answer) parseLine(line string, words []string) error {
	if a.dropped {
		return errors.New("nothing can follow `answer dropped`")
	}
	if strings.HasPrefix(line, " ") {
		return a.parseRecord(line, words)
	}
	switch words[0] {
	case "authority", "additional":
		if len(words) > 1 {
			return fmt.Errorf("records stand on lines of their own, not behind %q", words[0])
		}
		a.sections[slices.Index([]string{"", "authority", "additional"}, words[0])] = []string{}
	case "opt":
		a.opt = append([]string{}, words[1:]...)
		slices.Sort(a.opt)
	case "tsig":
		a.tsig = append([]string{}, words[1:]...)
	case "question":
		a.question = strings.Join(words[1:], " ")
	case "size":
		n, err := strconv.Atoi(strings.Join(words[1:], " "))
		if err != nil || n <= 0 {
			return fmt.Errorf("size is not a number of octets: %q", line)
		}
		a.size = n
	default:
		return fmt.Errorf("no such word: %q", words[0])
	}
	return nil
}

// parseRecord reads `OWNER TTL CLASS TYPE RDATA` into the section that was begun last.
func (a *answer) parseRecord(line string, words []string) error {
	if len(words) < 4 {
		return fmt.Errorf("a record is OWNER TTL CLASS TYPE RDATA, not %q", strings.TrimSpace(line))
	}
	if _, err := strconv.ParseUint(words[1], 10, 32); err != nil {
		return fmt.Errorf("the TTL of %s is %q, not a number", words[0], words[1])
	}
	rr, err := dns.NewRR(strings.TrimSpace(line))
	if err != nil || rr == nil {
		return fmt.Errorf("not a record: %q: %w", strings.TrimSpace(line), err)
	}
	section := 0
	for i := range a.sections {
		if a.sections[i] != nil {
			section = i
		}
	}
	a.sections[section] = inOrder(section, append(a.sections[section], recordText(rr)))
	return nil
}

// recordText is a record on one line, of an unknown type in the words of RFC 3597 section 5.
func recordText(rr dns.RR) string {
	if u, ok := rr.(*dns.RFC3597); ok {
		h := u.Header()
		data := strings.TrimSpace(fmt.Sprintf(`\# %d %s`, len(u.Rdata)/2, strings.ToLower(u.Rdata)))
		return fmt.Sprintf("%s %d %s TYPE%d %s", h.Name, h.Ttl, dns.Class(h.Class), h.Rrtype, data)
	}
	return strings.ReplaceAll(rr.String(), "\t", " ")
}

// inOrder brings records into the order in which they are compared. In the answer section the order of RRsets is that of a chain's
// links; the order within an RRset, and of RRsets in the other sections, means nothing. In class CH they are lines for people to read.
func inOrder(section int, records []string) []string {
	if section > 0 {
		slices.Sort(records)
		return records
	}
	for from := 0; from < len(records); {
		to := from + 1
		for to < len(records) && setOf(records[to]) == setOf(records[from]) {
			to++
		}
		if setOf(records[from])[1] != "CH" {
			slices.Sort(records[from:to])
		}
		from = to
	}
	return records
}

// setOf is what the records of an RRset have in common: owner, class and type.
func setOf(record string) [3]string {
	words, err := fields(record)
	if err != nil || len(words) < 4 {
		return [3]string{record}
	}
	return [3]string{words[0], words[2], words[3]}
}

// readAnswer reads the answer to a query. It is an error if it is no answer to this query, or no whole DNS message; everything else
// is for the file to say. show gives the words of options that are different each time, plain does the same for the text of records.
func readAnswer(wire, asked []byte, size bool, show func(optOption) (string, error), plain *strings.Replacer) (*answer, error) {
	var m dns.Msg
	if err := m.Unpack(wire); err != nil {
		return nil, fmt.Errorf("unpacking %x: %w", wire, err)
	}
	if end := messageEnd(wire); end != len(wire) {
		return nil, fmt.Errorf("the message ends at octet %d and has %d: %x", end, len(wire), wire)
	}
	switch {
	case !m.Response:
		return nil, errors.New("the answer has no QR")
	case asked[2]>>3&15 != wire[2]>>3&15:
		return nil, fmt.Errorf("the answer has opcode %d", m.Opcode)
	}
	a := &answer{rcode: rcodeText(m.Rcode), question: questionText(&m, wire, asked)}
	set := []bool{m.Authoritative, m.Truncated, m.RecursionDesired, m.RecursionAvailable, m.Zero, m.AuthenticatedData, m.CheckingDisabled}
	for i, f := range answerFlags() {
		if set[i] {
			a.flags = append(a.flags, f)
		}
	}
	for i, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for at, rr := range section {
			var err error
			switch rr := rr.(type) {
			case *dns.OPT:
				if a.opt != nil {
					return nil, errors.New("a second OPT record")
				}
				a.opt, err = optWords(rr, wire, show)
			case *dns.TSIG:
				if i != 2 || at != len(section)-1 {
					return nil, errors.New("the TSIG record is not the last")
				}
				a.tsig = tsigWords(rr, asked)
			default:
				a.sections[i] = append(a.sections[i], plain.Replace(recordText(rr)))
			}
			if err != nil {
				return nil, err
			}
		}
		a.sections[i] = inOrder(i, a.sections[i])
	}
	if size {
		a.size = len(wire)
	}
	return a, nil
}

func rcodeText(rcode int) string {
	if rcode == dns.RcodeBadVers {
		return "BADVERS" // the library calls it by TSIG's use of the same number
	}
	return dns.RcodeToString[rcode]
}

// questionText is "" if the question is the query's, octet for octet, else what it is.
func questionText(m *dns.Msg, wire, asked []byte) string {
	if binary.BigEndian.Uint16(wire[4:]) == binary.BigEndian.Uint16(asked[4:]) {
		end := questionEnd(asked)
		if end <= len(wire) && string(wire[12:end]) == string(asked[12:end]) {
			return ""
		}
	}
	var texts []string
	for _, q := range m.Question {
		texts = append(texts, fmt.Sprintf("%s %s %s", q.Name, dns.Class(q.Qclass), dns.Type(q.Qtype)))
	}
	if len(texts) == 0 {
		return "none"
	}
	return strings.Join(texts, ", ")
}

// questionEnd is the offset behind the question section of a well-formed message without compression in it.
func questionEnd(wire []byte) int {
	at := 12
	for range binary.BigEndian.Uint16(wire[4:]) {
		at = nameEnd(wire, at) + 4
	}
	return at
}

// messageEnd is the offset behind the last record of a well-formed message.
func messageEnd(wire []byte) int {
	at := questionEnd(wire)
	records := 0
	for _, offset := range []int{6, 8, 10} {
		records += int(binary.BigEndian.Uint16(wire[offset:]))
	}
	for range records {
		at = nameEnd(wire, at) + 10
		at += int(binary.BigEndian.Uint16(wire[at-2:]))
	}
	return at
}

// nameEnd is the offset behind a name of a well-formed message.
func nameEnd(wire []byte, at int) int {
	for wire[at] != 0 {
		if wire[at] >= 0xC0 {
			return at + 2
		}
		at += 1 + int(wire[at])
	}
	return at + 1
}

// optOption is an option of an OPT record.
type optOption struct {
	code uint16
	data []byte
}

// options are those of the OPT record of a well-formed message.
func options(wire []byte) []optOption {
	at := questionEnd(wire)
	for at < len(wire) {
		at = nameEnd(wire, at) + 10
		data := wire[at : at+int(binary.BigEndian.Uint16(wire[at-2:]))]
		if binary.BigEndian.Uint16(wire[at-10:]) != dns.TypeOPT {
			at += len(data)
			continue
		}
		var out []optOption
		for len(data) >= 4 {
			n := 4 + int(binary.BigEndian.Uint16(data[2:]))
			out = append(out, optOption{binary.BigEndian.Uint16(data), data[4:n]})
			data = data[n:]
		}
		return out
	}
	return nil
}

// optWords are the words of an OPT record, sorted.
func optWords(o *dns.OPT, wire []byte, show func(optOption) (string, error)) ([]string, error) {
	words := []string{fmt.Sprintf("udp=%d", o.UDPSize())}
	if o.Version() != 0 {
		words = append(words, fmt.Sprintf("version=%d", o.Version()))
	}
	if o.Do() {
		words = append(words, "do")
	}
	if rest := o.Hdr.Ttl & 0x7FFF; rest != 0 {
		words = append(words, fmt.Sprintf("flags=0x%04x", rest))
	}
	for _, option := range options(wire) {
		word, err := show(option)
		if err != nil {
			return nil, err
		}
		words = append(words, word)
	}
	slices.Sort(words)
	return words, nil
}

// word is that of an option that is the same each time.
func (o optOption) word() string {
	be, n := binary.BigEndian, len(o.data)
	switch o.code {
	case dns.EDNS0SUBNET:
		if n >= 4 && n == 4+(int(o.data[2])+7)/8 {
			bytes := make([]byte, map[uint16]int{1: 4, 2: 16}[be.Uint16(o.data)])
			copy(bytes, o.data[4:])
			if a, ok := netip.AddrFromSlice(bytes); ok {
				return fmt.Sprintf("ecs=%s/%d/%d", a, o.data[2], o.data[3])
			}
		}
	case dns.EDNS0EDE:
		switch {
		case n == 2:
			return fmt.Sprintf("ede=%d", be.Uint16(o.data))
		case n > 2:
			return fmt.Sprintf("ede=%d:%q", be.Uint16(o.data), o.data[2:])
		}
	case dns.EDNS0TCPKEEPALIVE:
		if n == 2 {
			return fmt.Sprintf("keepalive=%s", time.Duration(be.Uint16(o.data))*100*time.Millisecond)
		}
	case dns.EDNS0ZONEVERSION:
		if n == 6 && o.data[1] == 0 {
			return fmt.Sprintf("zoneversion=%d/serial:%d", o.data[0], be.Uint32(o.data[2:]))
		}
	}
	return fmt.Sprintf("option=%d:%x", o.code, o.data)
}

// tsigWords are the words of a TSIG record; what it has from the query's is `same`.
func tsigWords(t *dns.TSIG, asked []byte) []string {
	var q dns.Msg
	same := ""
	if err := q.Unpack(asked); err == nil && len(q.Extra) > 0 {
		if sent, ok := q.Extra[len(q.Extra)-1].(*dns.TSIG); ok && sent.TimeSigned == t.TimeSigned && t.OrigId == q.Id {
			same = "same"
		}
	}
	if same == "" {
		same = fmt.Sprintf("%d,%d", t.TimeSigned, t.OrigId)
	}
	return []string{
		t.Hdr.Name, t.Algorithm, fmt.Sprintf("class=%s", tsigClass(t.Hdr.Class)), fmt.Sprintf("ttl=%d", t.Hdr.Ttl), "time,id=" + same,
		fmt.Sprintf("fudge=%d", t.Fudge), fmt.Sprintf("mac=%d", t.MACSize), fmt.Sprintf("error=%s", dns.RcodeToString[int(t.Error)]), fmt.Sprintf("other=%d", t.OtherLen),
	}
}

// tsigClass is the class of a TSIG record, which is ANY.
func tsigClass(class uint16) string {
	if class == dns.ClassANY {
		return "ANY"
	}
	return dns.Class(class).String()
}
