package dnswire_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"geodns/pkg/dnswire"
)

// FuzzParse compares Parse with its twin and with miekg/dns on any packet. Where Parse says OK, miekg/dns must read the
// same question, the same OPT record with the same options, and a TSIG at the same place. The other way round these
// differences are meant:
//
//   - miekg/dns reads messages that are not for us to answer, or not as queries: QR, RCODE or another operation; a
//     question count other than one; records where a query has none; a second OPT; a TSIG that is not last; types that
//     cannot be asked for; an EDNS version above 0.
//   - It reads any number of questions, records and options.
//   - It follows compression pointers in the question, in an OPT record's owner and in a TSIG's algorithm. It reads an owner
//     that fills 255 octets before a pointer to the root.
//   - It takes ECS of family 0, with bits past the prefix, with SCOPE set, or with octets missing or too many; and a second ECS
//     option. It takes cookies of any length, and a TSIG of any class and TTL.
//   - It ends quietly where a message ends between two records or two fields of one, whatever the counts said, or within a
//     question behind the name.
//   - It reads the data of other records and options, and follows their owner names, so it refuses some that Parse steps over.
//   - It refuses an empty ZONEVERSION option, which is how one asks for it: see forMiekg.
func FuzzParse(f *testing.F) {
	for _, c := range parseCases() {
		f.Add(c.wire)
	}
	for _, options := range [][]dns.EDNS0{
		{&dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: "00ff"}},
		{&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 20, Address: net.IPv4(192, 0, 0xF0, 0)}},
		{&dns.EDNS0_LOCAL{Code: dnswire.OptionZoneVersion}, &dns.EDNS0_LOCAL{Code: zoneVersionStandIn, Data: []byte{0xC0, 0x0C}}},
	} {
		m := new(dns.Msg).SetQuestion(`\192\255.example.`, dns.TypeA).SetEdns0(1232, true)
		m.IsEdns0().Option = options
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
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
	wire = forMiekg(wire)
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
		return // the data of a record or an option that we step over
	}
	owner, _, err := dns.UnpackDomainName(wire, dnswire.HeaderLen)
	if err != nil || len(m.Question) != 1 {
		t.Fatalf("miekg/dns reads %d questions: %v", len(m.Question), err)
	}
	ours, _, err := dns.UnpackDomainName(q.Name[:q.NameLen], 0)
	if err != nil || ours != lowerASCII(owner) || m.Question[0].Qtype != q.Type || m.Question[0].Qclass != q.Class {
		t.Fatalf("question %v (%v); ours is %q %d %d", m.Question[0], err, ours, q.Type, q.Class)
	}
	if m.Id != q.ID || m.RecursionDesired != q.RD || m.CheckingDisabled != q.CD {
		t.Fatalf("header %v; ours: ID %d, RD %v, CD %v", m.MsgHdr, q.ID, q.RD, q.CD)
	}
	tsig := 0
	for _, r := range records(wire, &m) {
		if _, is := r.rr.(*dns.TSIG); is && r.additional {
			tsig = r.start
		}
	}
	if tsig != q.TSIG {
		t.Fatalf("TSIG at %d; ours is at %d", tsig, q.TSIG)
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
	compareOptions(t, e, q)
}

// compareOptions holds the options that Parse read against those of miekg/dns.
func compareOptions(t *testing.T, e *dns.OPT, q *dnswire.Query) {
	t.Helper()
	seen := map[uint16]bool{}
	cookie := ""
	for _, o := range e.Option {
		switch o := o.(type) {
		case *dns.EDNS0_SUBNET:
			if !q.ECS.Present || o.Family != q.ECS.Family || o.SourceNetmask != q.ECS.Source || !bytes.HasPrefix(q.ECS.Addr[:], to(o)) {
				t.Fatalf("ECS %v; ours: %+v", o, q.ECS)
			}
		case *dns.EDNS0_COOKIE:
			if !seen[dns.EDNS0COOKIE] { // the first counts
				cookie = o.Cookie
			}
		}
		seen[o.Option()] = true
	}
	if ours := hex.EncodeToString(q.Cookie[:q.CookieLen]); ours != cookie {
		t.Fatalf("cookie %s; ours: %s", cookie, ours)
	}
	for code, ours := range map[uint16]bool{
		dns.EDNS0SUBNET: q.ECS.Present, dns.EDNS0COOKIE: q.CookieLen > 0, dns.EDNS0NSID: q.NSID, dns.EDNS0TCPKEEPALIVE: q.Keepalive,
		zoneVersionStandIn: q.ZoneVersion,
	} {
		if seen[code] != ours {
			t.Fatalf("option %d: %v; ours: %v", code, seen[code], ours)
		}
	}
}

// Options of local use that stand for others in what miekg/dns reads.
const (
	zoneVersionStandIn = dns.EDNS0LOCALSTART     // for ZONEVERSION
	localStandIn       = dns.EDNS0LOCALSTART + 1 // for the one before
)

// forMiekg gives ZONEVERSION options another code, as miekg/dns refuses one without data. What has that code gets one more.
func forMiekg(wire []byte) []byte {
	wire = bytes.Clone(wire)
	if len(wire) < dnswire.HeaderLen {
		return wire
	}
	r := &reader{msg: wire, off: dnswire.HeaderLen}
	for range binary.BigEndian.Uint16(wire[4:]) {
		_, _, err := r.name(true)
		if _, cut := r.bytes(4); err != nil || cut != nil {
			return wire
		}
	}
	for {
		if _, _, err := r.name(true); err != nil {
			return wire
		}
		fixed, err := r.bytes(10)
		if err != nil {
			return wire
		}
		data, err := r.bytes(int(binary.BigEndian.Uint16(fixed[8:])))
		if err != nil {
			return wire
		}
		if binary.BigEndian.Uint16(fixed) != dns.TypeOPT {
			continue
		}
		for _, o := range rawOptions(data) {
			switch code := o[:2]; binary.BigEndian.Uint16(code) {
			case dnswire.OptionZoneVersion:
				binary.BigEndian.PutUint16(code, zoneVersionStandIn)
			case zoneVersionStandIn:
				binary.BigEndian.PutUint16(code, localStandIn)
			}
		}
	}
}

// rawOptions cuts an OPT record's data into options, each with its code and length.
func rawOptions(data []byte) (all [][]byte) {
	for len(data) >= 4 {
		n := 4 + int(binary.BigEndian.Uint16(data[2:]))
		if n > len(data) {
			break
		}
		all, data = append(all, data[:n]), data[n:]
	}
	return all
}

// found is a record that miekg/dns read, and where it stands.
type found struct {
	rr         dns.RR
	additional bool
	start      int
	owner      int // octets of its owner
	data       []byte
}

// records finds the records of a message of one question that miekg/dns reads, by reading them once more, one by one.
func records(wire []byte, m *dns.Msg) (all []found) {
	_, off, err := dns.UnpackDomainName(wire, dnswire.HeaderLen)
	off += 4
	before := len(m.Answer) + len(m.Ns)
	for i := 0; err == nil && i < before+len(m.Extra); i++ {
		r := found{start: off, additional: i >= before}
		if r.rr, off, err = dns.UnpackRR(wire, r.start); err == nil {
			at := off - int(r.rr.Header().Rdlength)
			r.owner, r.data = at-10-r.start, wire[at:off]
			all = append(all, r)
		}
	}
	return all
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
	question := &reader{msg: wire, off: dnswire.HeaderLen}
	_, _, err := question.name(false)
	if _, cut := question.bytes(4); err != nil || cut != nil {
		return false // compressed, or cut
	}
	all := records(wire, m)
	opts := 0
	for i, r := range all {
		switch rr := r.rr.(type) {
		case *dns.TSIG:
			if i != len(all)-1 || rr.Hdr.Class != dns.ClassANY || rr.Hdr.Ttl != 0 || !whole(rr, r.data) {
				return false
			}
		case *dns.OPT:
			if opts++; opts > 1 || r.owner != 1 || rr.Version() != 0 || !plainOptions(rr, r.data) {
				return false
			}
		}
		if r.owner > 255 {
			return false
		}
	}
	return len(all) == len(m.Extra)
}

// whole says whether all fields of a TSIG that miekg/dns read are in its data, the algorithm's name uncompressed: a pointer is
// shorter than any name that it may stand for, or longer than the root.
func whole(rr *dns.TSIG, data []byte) bool {
	var buf [255]byte
	n, err := dns.PackDomainName(rr.Algorithm, buf[:], 0, nil, false)
	return err == nil && len(data) == n+16+int(rr.MACSize)+int(rr.OtherLen)
}

// plainOptions says whether the options that miekg/dns read are as their RFCs have them.
func plainOptions(rr *dns.OPT, data []byte) bool {
	raw := rawOptions(data)
	if len(raw) != len(rr.Option) || len(raw) > 16 {
		return false
	}
	subnets, cookies := 0, 0
	for i, o := range rr.Option {
		length := len(raw[i]) - 4
		switch o := o.(type) {
		case *dns.EDNS0_SUBNET:
			// RFC 7871 section 6: as many octets as SOURCE needs, and no bit past it.
			subnets++
			octets := (int(o.SourceNetmask) + 7) / 8
			if subnets > 1 || o.Family == 0 || o.SourceScope != 0 || length != 4+octets ||
				o.SourceNetmask%8 != 0 && raw[i][len(raw[i])-1]&(0xFF>>(o.SourceNetmask%8)) != 0 {
				return false
			}
		case *dns.EDNS0_COOKIE:
			if cookies++; cookies == 1 && length != 8 && (length < 16 || length > 40) {
				return false
			}
		case *dns.EDNS0_LOCAL:
			if o.Code == zoneVersionStandIn && length > 0 {
				return false
			}
		}
	}
	return true
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
