package dnswire_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"geodns/pkg/dnswire"
)

// TestAppendMiekg writes an answer with every helper and reads it with another library.
func TestAppendMiekg(t *testing.T) {
	query := message{id: 99, flags: 0x0130, counts: [4]uint16{1, 0, 0, 1}, body: join(
		question("wWw.example.com", 1), opt(option(3, ""), option(8, "\x00\x01\x18\x00\xC0\x00\x02")))}.wire()
	var q dnswire.Query
	if out := q.Parse(query); out != dnswire.OK {
		t.Fatalf("outcome %d", out)
	}
	buf := make([]byte, len(query), 512)
	copy(buf, query)
	msg := buf[:q.QuestionEnd]
	msg = dnswire.AppendA(msg, 12, 30, [4]byte{192, 0, 2, 1})
	msg = dnswire.AppendAAAA(msg, 12, 31, [16]byte{0x20, 1, 0xd, 0xb8, 15: 1})
	msg = dnswire.AppendCNAME(msg, 16, 32, name("target.example.net"))
	o := dnswire.OPT{
		UDPSize: 1232, DO: true, ECS: &q.ECS, Scope: 20, NSID: []byte("pop"), Keepalive: true, KeepaliveTimeout: 100,
		Cookie: []byte("12345678abcdefghijklmnop"), ZoneVersion: true, ZoneLabels: 2, ZoneSerial: 0x01020304, EDE: true, EDECode: 20, EDEText: strings.Repeat("x", 70),
	}
	before := len(msg)
	msg = o.Append(msg, dnswire.RcodeBadVers)
	if n := len(msg) - before; n != o.Len()+o.EDELen() {
		t.Errorf("OPT takes %d octets, Len and EDELen say %d", n, o.Len()+o.EDELen())
	}
	dnswire.PutHeader(msg, q.AnswerFlags(dnswire.RcodeBadVers, dnswire.FlagAA), 1, 3, 0, 1)
	if &msg[0] != &buf[0] {
		t.Fatal("the answer left its buffer")
	}

	var m dns.Msg
	if err := m.Unpack(msg); err != nil {
		t.Fatalf("unpacking: %v", err)
	}
	want := []string{
		"wWw.example.com.\t30\tIN\tA\t192.0.2.1",
		"wWw.example.com.\t31\tIN\tAAAA\t2001:db8::1",
		"example.com.\t32\tIN\tCNAME\ttarget.example.net.",
	}
	for i, rr := range m.Answer {
		if rr.String() != want[i] {
			t.Errorf("record %d is %q, want %q", i, rr, want[i])
		}
	}
	if m.Id != 99 || !m.Response || !m.Authoritative || !m.RecursionDesired || m.RecursionAvailable || m.CheckingDisabled || m.AuthenticatedData || m.Zero {
		t.Errorf("header: %v", m.MsgHdr)
	}
	if m.Question[0].Name != "wWw.example.com." {
		t.Errorf("question %q lost its case", m.Question[0].Name)
	}
	e := m.IsEdns0()
	if e == nil || e.UDPSize() != 1232 || !e.Do() || e.ExtendedRcode() != 16 || e.Version() != 0 || len(e.Option) != 6 {
		t.Fatalf("OPT: %v", e)
	}
	if s, ok := e.Option[0].(*dns.EDNS0_SUBNET); !ok || s.Family != 1 || s.SourceNetmask != 24 || s.SourceScope != 20 || s.Address.String() != "192.0.2.0" {
		t.Errorf("ECS: %v", e.Option[0])
	}
	if s, ok := e.Option[1].(*dns.EDNS0_NSID); !ok || s.Nsid != "706f70" {
		t.Errorf("NSID: %v", e.Option[1])
	}
	if s, ok := e.Option[2].(*dns.EDNS0_COOKIE); !ok || s.Cookie != hex.EncodeToString(o.Cookie) {
		t.Errorf("cookie: %v", e.Option[2])
	}
	if s, ok := e.Option[4].(*dns.EDNS0_ZONEVERSION); !ok || s.LabelCount != 2 || s.Type != 0 || s.Version != "\x01\x02\x03\x04" {
		t.Errorf("A-42 ZONEVERSION: %v", e.Option[4])
	}
	if s, ok := e.Option[5].(*dns.EDNS0_EDE); !ok || s.InfoCode != 20 || s.ExtraText != strings.Repeat("x", 64) {
		t.Errorf("A-43 EDE: %v", e.Option[5])
	}
	if s, ok := e.Option[3].(*dns.EDNS0_TCP_KEEPALIVE); !ok || s.Timeout != 100 {
		t.Errorf("keepalive: %v", e.Option[3])
	}
}

// TestOPTEcho checks that the subnet's octets come back as they came, for every SOURCE of both families (RFC 7871
// section 7.2.1).
func TestOPTEcho(t *testing.T) {
	for family, bits := range map[uint16]int{dnswire.FamilyIPv4: 32, dnswire.FamilyIPv6: 128} {
		for source := range bits + 1 {
			data := append([]byte{0, byte(family), byte(source), 0}, bytes.Repeat([]byte{0xFF}, (source+7)/8)...)
			if spare := source % 8; spare != 0 {
				data[len(data)-1] = byte(0xFF << (8 - spare))
			}
			var q dnswire.Query
			if out := q.Parse(one(opt(option(8, string(data))))); out != dnswire.OK {
				t.Fatalf("family %d /%d: outcome %d", family, source, out)
			}
			o := dnswire.OPT{ECS: &q.ECS, Scope: 9}
			data[3] = 9
			if got, want := o.Append(nil, 0), option(8, string(data)); !bytes.Equal(got[11:], want) {
				t.Errorf("family %d /%d: %x, want %x", family, source, got[11:], want)
			}
		}
	}
}
