package dnswire_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"geodns/pkg/dnswire"
)

// FuzzParse compares Parse with its twin and with miekg/dns on any packet. Where Parse says OK, miekg/dns must read the
// same question and the same OPT record. The other way round these differences are meant:
//
//   - miekg/dns reads messages that are not for us to answer, or not as queries: QR, RCODE or another operation; a
//     question count other than one; records where a query has none; a second OPT; a TSIG that is not last; types that
//     cannot be asked for; an EDNS version above 0.
//   - It reads any number of questions, records and options.
//   - It follows compression pointers in the question.
//   - It takes ECS of family 0, with bits past the prefix (which it clears), with SCOPE set or octets missing; and a
//     second ECS option. It takes cookies of any length, and a TSIG of any class and TTL.
//   - It ends quietly where a message ends between two records, whatever the counts said, or within a question behind the
//     name.
//   - It reads the data of other records, and follows their owner names, so it refuses some that Parse steps over.
func FuzzParse(f *testing.F) {
	for _, c := range parseCases() {
		f.Add(c.wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		if len(wire) > dnswire.MessageMax {
			return
		}
		before := bytes.Clone(wire)
		var q dnswire.Query
		out := q.Parse(wire)
		if !bytes.Equal(wire, before) {
			t.Fatal("Parse wrote into the packet")
		}
		slow, want := slowParse(wire)
		if d := differs(&q, out, slow, want); d != "" {
			t.Fatalf("differs from its twin: %s (outcome %d, twin %d)", d, out, want)
		}
		compareMiekg(t, wire, &q, out)
	})
}

// compareMiekg holds Parse against dns.Msg.Unpack, the differences listed at FuzzParse apart.
func compareMiekg(t *testing.T, wire []byte, q *dnswire.Query, out dnswire.Outcome) {
	t.Helper()
	var m dns.Msg
	err := m.Unpack(wire)
	if out != dnswire.OK {
		if err == nil && out != dnswire.CookieOnly && plain(&m, wire) {
			t.Fatalf("outcome %d for what miekg/dns reads as a plain query:\n%v", out, &m)
		}
		return
	}
	if err != nil {
		if len(wire) == q.QuestionEnd {
			t.Fatalf("miekg/dns refuses a question that we read: %v", err)
		}
		return // the data of a record that we step over
	}
	owner, _, err := dns.UnpackDomainName(wire, dnswire.HeaderLen)
	if err != nil || len(m.Question) != 1 {
		t.Fatalf("miekg/dns reads %d questions: %v", len(m.Question), err)
	}
	ours, _, err := dns.UnpackDomainName(q.Name[:q.NameLen], 0)
	if err != nil || ours != lowerASCII(owner) || m.Question[0].Qtype != q.Type || m.Question[0].Qclass != q.Class {
		t.Fatalf("question %v (%v); ours is %q %d %d", m.Question[0], err, ours, q.Type, q.Class)
	}
	e := m.IsEdns0()
	if (e != nil) != q.EDNS {
		t.Fatalf("OPT %v; ours: %v", e, q.EDNS)
	}
	if e == nil {
		return
	}
	if e.UDPSize() != q.UDPSize || e.Do() != q.DO || e.Version() != 0 {
		t.Fatalf("OPT %v; ours: size %d, DO %v", e, q.UDPSize, q.DO)
	}
	ecs := false
	for _, o := range e.Option {
		if s, ok := o.(*dns.EDNS0_SUBNET); ok {
			ecs = true
			if !q.ECS.Present || s.Family != q.ECS.Family || s.SourceNetmask != q.ECS.Source || !bytes.HasPrefix(q.ECS.Addr[:], to(s)) {
				t.Fatalf("ECS %v; ours: %+v", s, q.ECS)
			}
		}
	}
	if ecs != q.ECS.Present {
		t.Fatalf("ECS %v; ours: %+v", ecs, q.ECS)
	}
}

// plain says whether a message that miekg/dns reads has none of the listed differences: then Parse must say OK.
func plain(m *dns.Msg, wire []byte) bool {
	switch {
	case m.Response || m.Opcode != 0 || wire[3]&0xF != 0, len(m.Question) != 1 || wire[4] != 0 || wire[5] != 1,
		wire[6]|wire[7]|wire[8]|wire[9]|wire[10] != 0, int(wire[11]) != len(m.Extra), len(m.Extra) > 2:
		return false
	}
	switch m.Question[0].Qtype {
	case 0, dns.TypeOPT, dns.TypeNXNAME, dns.TypeTKEY, dns.TypeTSIG:
		return false
	}
	if n, _ := dnswire.NameLen(wire[dnswire.HeaderLen:]); n < 0 || dnswire.HeaderLen+n+4 > len(wire) {
		return false // compressed, or cut
	}
	opts := 0
	for i, rr := range m.Extra {
		switch rr := rr.(type) {
		case *dns.TSIG:
			if i != len(m.Extra)-1 || rr.Hdr.Class != dns.ClassANY || rr.Hdr.Ttl != 0 {
				return false
			}
		case *dns.OPT:
			if opts++; opts > 1 || rr.Hdr.Name != "." || rr.Version() != 0 || len(rr.Option) > 0 {
				return false
			}
		}
	}
	// An OPT record's owner may be a pointer to a root label, which looks like the root once it is unpacked.
	return !slices.ContainsFunc(wire[dnswire.HeaderLen:], func(c byte) bool { return c >= 0xC0 })
}

// lowerASCII is strings.ToLower without what Unicode adds.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// to is the address of an ECS option that miekg/dns read, cut to SOURCE.
func to(s *dns.EDNS0_SUBNET) []byte {
	a := []byte(s.Address.To16())
	if s.Family == 1 {
		a = s.Address.To4()
	}
	return a[:(int(s.SourceNetmask)+7)/8]
}
