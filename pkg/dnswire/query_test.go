package dnswire_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	"geodns/internal/dnstest"
	"geodns/pkg/dnswire"
)

// message puts a packet together from parts.
type message struct {
	id, flags uint16
	counts    [4]uint16
	body      []byte
}

func (m message) wire() []byte {
	b := binary.BigEndian.AppendUint16(nil, m.id)
	b = binary.BigEndian.AppendUint16(b, m.flags)
	for _, c := range m.counts {
		b = binary.BigEndian.AppendUint16(b, c)
	}
	return append(b, m.body...)
}

// name writes a presentation name without escapes in wire form.
func name(s string) []byte {
	var b []byte
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label != "" {
			b = append(append(b, byte(len(label))), label...)
		}
	}
	return append(b, 0)
}

// question is one of class IN.
func question(s string, typ uint16) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(name(s), typ), dnswire.ClassIN)
}

// record writes a record with the owner given in wire form.
func record(owner string, typ, class uint16, ttl uint32, data []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte(owner), typ)
	b = binary.BigEndian.AppendUint16(b, class)
	b = binary.BigEndian.AppendUint32(b, ttl)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

func opt(options ...[]byte) []byte {
	return record("\x00", 41, 1232, 0, bytes.Join(options, nil))
}

func option(code uint16, data string) []byte {
	b := binary.BigEndian.AppendUint16(nil, code)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

var www = question("www.example.com", 1)

func one(additional ...[]byte) []byte {
	return message{id: 0x1234, counts: [4]uint16{1, 0, 0, uint16(len(additional))}, body: join(append([][]byte{www}, additional...)...)}.wire()
}

// tsigData is the data of a TSIG record with a MAC and other data.
func tsigData(algorithm, mac, other string) []byte {
	b := join(name(algorithm), []byte("\x00\x00\x66\x00\x00\x01\x01\x2c"), binary.BigEndian.AppendUint16(nil, uint16(len(mac))), []byte(mac))
	return join(b, []byte("\x12\x34\x00\x00"), binary.BigEndian.AppendUint16(nil, uint16(len(other))), []byte(other))
}

// parseCase is a packet and what is to be made of it; named by the statement of conformance that it shows, where one does.
type parseCase struct {
	about string
	wire  []byte
	want  dnswire.Outcome
}

// parseCases is the table of TestParseOutcome and the corpus of FuzzParse.
func parseCases() []parseCase {
	long := strings.Repeat(strings.Repeat("x", 63)+".", 4) // 4*64+1 = 257 octets
	fits := strings.Repeat(strings.Repeat("x", 63)+".", 3) + strings.Repeat("y", 61)
	edns1 := record("\x00", 41, 1232, 0x00010000, nil)
	tsig := record("\x03key\x00", 250, 255, 0, tsigData("alg", "mac", ""))
	raw := func(counts [4]uint16, parts ...[]byte) []byte {
		return message{id: 7, counts: counts, body: join(parts...)}.wire()
	}
	return []parseCase{
		{"A-03 empty", nil, dnswire.DropShort},
		{"A-03 11 octets", make([]byte, 11), dnswire.DropShort},
		{"A-03 header alone", raw([4]uint16{1}), dnswire.FormErr},
		{"A-03 name cut off", raw([4]uint16{1}, []byte("\x03ww")), dnswire.FormErr},
		{"A-03 no type", raw([4]uint16{1}, name("www.")), dnswire.FormErr},
		{"A-03 half a class", raw([4]uint16{1}, www[:len(www)-1]), dnswire.FormErr},
		{"plain", one(), dnswire.OK},
		{"root", raw([4]uint16{1}, question(".", 2)), dnswire.OK},
		{"A-01 no question", raw([4]uint16{}), dnswire.FormErr},
		{"A-01 two questions", raw([4]uint16{2}, www, www), dnswire.FormErr},
		{"A-02 response", message{flags: 0x8000, counts: [4]uint16{1}, body: www}.wire(), dnswire.DropResponse},
		{"A-02 response with error", message{flags: 0x8001}.wire(), dnswire.DropResponse},
		{"A-02 query with RCODE", message{flags: 0x0005, counts: [4]uint16{1}, body: www}.wire(), dnswire.DropRcode},
		{"A-04 pointer to itself", raw([4]uint16{1}, []byte("\xC0\x0C\x00\x01\x00\x01")), dnswire.FormErr},
		{"A-04 pointer forward", raw([4]uint16{1}, []byte("\xC0\x10\x00\x01\x00\x01\x00")), dnswire.FormErr},
		{"A-04 pointer to the header", raw([4]uint16{1}, []byte("\x01a\xC0\x04\x00\x01\x00\x01")), dnswire.FormErr},
		{"A-04 label type 0x40", raw([4]uint16{1}, []byte("\x41\x00\x00\x01\x00\x01")), dnswire.FormErr},
		{"A-04 label type 0x80", raw([4]uint16{1}, []byte("\x81\x00\x00\x01\x00\x01")), dnswire.FormErr},
		{"A-04 name of 257", raw([4]uint16{1}, question(long, 1)), dnswire.FormErr},
		{"name of 255", raw([4]uint16{1}, question(fits, 1)), dnswire.OK},
		{"A-04 name of 256", raw([4]uint16{1}, question(fits+"z", 1)), dnswire.FormErr},
		{"A-05 STATUS", message{flags: 2 << 11, counts: [4]uint16{1}, body: www}.wire(), dnswire.NotImp},
		{"A-05 opcode 15 and nonsense", message{flags: 15 << 11, counts: [4]uint16{9, 9, 9, 9}}.wire(), dnswire.NotImp},
		{"A-48 DSO", message{flags: 6 << 11}.wire(), dnswire.NotImp},
		{"A-11 NXNAME", raw([4]uint16{1}, question("a.", 128)), dnswire.FormErr},
		{"A-11 OPT", raw([4]uint16{1}, question("a.", 41)), dnswire.FormErr},
		{"A-11 TKEY", raw([4]uint16{1}, question("a.", 249)), dnswire.FormErr},
		{"A-11 TSIG", raw([4]uint16{1}, question("a.", 250)), dnswire.FormErr},
		{"A-11 type 0", raw([4]uint16{1}, question("a.", 0)), dnswire.FormErr},
		{"a record in the answer section", raw([4]uint16{1, 1}, www, record("\xC0\x0C", 1, 1, 0, make([]byte, 4))), dnswire.FormErr},
		{"a record in the authority section", raw([4]uint16{1, 0, 1}, www, record("\x00", 6, 1, 0, nil)), dnswire.FormErr},
		{"IXFR with its SOA", raw([4]uint16{1, 0, 1}, question("a.", 251), record("\xC0\x0C", 6, 1, 0, make([]byte, 22))), dnswire.OK},
		{"trailing octets", append(one(), 1, 2, 3), dnswire.OK},
		{"trailing octets behind OPT", append(one(opt()), 0xFF), dnswire.OK},
		{"another additional record", one(record("\xC0\x0C", 1, 1, 0, make([]byte, 4)), opt()), dnswire.OK},
		{"three additional records", one(record("\xC0\x0C", 1, 1, 0, nil), record("\xC0\x0C", 1, 1, 0, nil), opt()), dnswire.FormErr},
		{"IXFR with two SOAs", raw([4]uint16{1, 0, 2}, question("a.", 251), record("\xC0\x0C", 6, 1, 0, nil), record("\xC0\x0C", 6, 1, 0, nil)), dnswire.FormErr},
		{"16 options", one(opt(bytes.Repeat(option(65001, ""), 16))), dnswire.OK},
		{"17 options", one(opt(bytes.Repeat(option(65001, ""), 17))), dnswire.FormErr},
		{"A-04 owner of 256", one(record(string(name(fits+"z")), 1, 1, 0, nil)), dnswire.FormErr},
		{"owner of 255", one(record(string(name(fits)), 1, 1, 0, nil)), dnswire.OK},
		{"additional record missing", raw([4]uint16{1, 0, 0, 1}, www), dnswire.FormErr},
		{"A-30 version 1", one(edns1), dnswire.BadVers},
		{"A-30 version 1 and options that we cannot know", one(record("\x00", 41, 512, 0x00010000, []byte{1})), dnswire.BadVers},
		{"A-30 version 1 and a cut record", one(edns1, []byte{0}), dnswire.FormErr},
		{"A-30 version 1 and a type that cannot be asked for", raw([4]uint16{1, 0, 0, 1}, question("a.", 41), edns1), dnswire.BadVers},
		{"A-31 two OPT", one(opt(), opt()), dnswire.FormErr},
		{"A-31 owner not the root", one(record("\x01a\x00", 41, 1232, 0, nil)), dnswire.FormErr},
		{"A-31 owner a pointer to the root", one(record("\xC0\x1C", 41, 1232, 0, nil)), dnswire.FormErr},
		{"A-31 option header cut", one(opt([]byte{0, 3, 0})), dnswire.FormErr},
		{"A-31 option overrun", one(opt([]byte{0, 3, 0, 1})), dnswire.FormErr},
		{"A-31 RDLENGTH overrun", append(one(record("\x00", 41, 1232, 0, []byte{1})[:11]), 1)[:len(one())+11], dnswire.FormErr},
		{"A-32 unknown option", one(opt(option(65001, "abc"))), dnswire.OK},
		{"A-32 unknown flags", one(record("\x00", 41, 1232, 0x0000FFFF, nil)), dnswire.OK},
		{"A-34 ECS", one(opt(option(8, "\x00\x01\x18\x00\xC0\x00\x02"))), dnswire.OK},
		{"A-34 ECS /0", one(opt(option(8, "\x00\x01\x00\x00"))), dnswire.OK},
		{"A-34 ECS IPv6", one(opt(option(8, "\x00\x02\x38\x00\x20\x01\x0d\xb8\x00\x00\x01"))), dnswire.OK},
		{"A-34 prefix 33", one(opt(option(8, "\x00\x01\x21\x00\xC0\x00\x02\x01\x00"))), dnswire.FormErr},
		{"A-34 prefix 129", one(opt(option(8, "\x00\x02\x81\x00"+strings.Repeat("\x00", 17)))), dnswire.FormErr},
		{"A-34 too many octets", one(opt(option(8, "\x00\x01\x18\x00\xC0\x00\x02\x00"))), dnswire.FormErr},
		{"A-34 too few octets", one(opt(option(8, "\x00\x01\x18\x00\xC0\x00"))), dnswire.FormErr},
		{"A-34 bit behind the prefix", one(opt(option(8, "\x00\x01\x17\x00\xC0\x00\x01"))), dnswire.FormErr},
		{"A-34 SCOPE", one(opt(option(8, "\x00\x01\x18\x01\xC0\x00\x02"))), dnswire.FormErr},
		{"A-34 family 0", one(opt(option(8, "\x00\x00\x00\x00"))), dnswire.FormErr},
		{"A-34 family 3", one(opt(option(8, "\x00\x03\x08\x00\x01"))), dnswire.FormErr},
		{"A-34 short", one(opt(option(8, "\x00\x01\x18"))), dnswire.FormErr},
		{"two ECS", one(opt(option(8, "\x00\x01\x00\x00"), option(8, "\x00\x01\x00\x00"))), dnswire.FormErr},
		{"A-40 client cookie", one(opt(option(10, "12345678"))), dnswire.OK},
		{"A-40 both cookies", one(opt(option(10, strings.Repeat("c", 40)))), dnswire.OK},
		{"A-40 cookie of 7", one(opt(option(10, "1234567"))), dnswire.FormErr},
		{"A-40 cookie of 9", one(opt(option(10, "123456789"))), dnswire.FormErr},
		{"A-40 cookie of 15", one(opt(option(10, strings.Repeat("c", 15)))), dnswire.FormErr},
		{"A-40 cookie of 41", one(opt(option(10, strings.Repeat("c", 41)))), dnswire.FormErr},
		{"A-40 cookie of 0", one(opt(option(10, ""))), dnswire.FormErr},
		{"A-40 a second cookie is not looked at", one(opt(option(10, "12345678"), option(10, "1"))), dnswire.OK},
		{"A-40 a cookie and no question", raw([4]uint16{0, 0, 0, 1}, opt(option(10, "12345678"))), dnswire.CookieOnly},
		{"A-01 two questions and a cookie", raw([4]uint16{2, 0, 0, 1}, www, www, opt(option(10, "12345678"))), dnswire.FormErr},
		{"A-01 no question, a cookie, a record in the authority section", raw([4]uint16{0, 0, 1, 1}, record("\x00", 6, 1, 0, nil), opt(option(10, "12345678"))), dnswire.FormErr},
		{"A-40 a cookie of another operation", message{flags: 5 << 11, counts: [4]uint16{0, 0, 0, 1}, body: opt(option(10, "12345678"))}.wire(), dnswire.NotImp},
		{"A-42 ZONEVERSION", one(opt(option(19, ""))), dnswire.OK},
		{"A-42 ZONEVERSION with data", one(opt(option(19, "\x02\x00\x00\x00\x00\x01"))), dnswire.FormErr},
		{"A-41 NSID", one(opt(option(3, ""))), dnswire.OK},
		{"A-45 keepalive", one(opt(option(11, ""))), dnswire.OK},
		{"TSIG last", one(opt(), tsig), dnswire.OK},
		{"TSIG not last", one(tsig, opt()), dnswire.FormErr},
		{"TSIG with other data", one(record("\xC0\x0C", 250, 255, 0, tsigData("alg", "", "12345"))), dnswire.OK},
		{"TSIG of class IN", one(record("\x03key\x00", 250, 1, 0, tsigData("alg", "mac", ""))), dnswire.FormErr},
		{"TSIG with a TTL", one(record("\x03key\x00", 250, 255, 1, tsigData("alg", "mac", ""))), dnswire.FormErr},
		{"TSIG cut", one(record("\x03key\x00", 250, 255, 0, tsigData("alg", "mac", "")[:18])), dnswire.FormErr},
		{"TSIG with octets behind", one(record("\x03key\x00", 250, 255, 0, append(tsigData("alg", "mac", ""), 0))), dnswire.FormErr},
		{"TSIG with a compressed algorithm", one(record("\x03key\x00", 250, 255, 0, append([]byte("\xC0\x0C"), tsigData("alg", "", "")[5:]...))), dnswire.FormErr},
	}
}

func TestParseOutcome(t *testing.T) {
	for _, c := range parseCases() {
		t.Run(c.about, func(t *testing.T) {
			var q dnswire.Query
			out := q.Parse(c.wire)
			if out != c.want {
				t.Errorf("outcome %d, want %d: %x", out, c.want, c.wire)
			}
			slow, want := slowParse(c.wire)
			if d := differs(&q, out, slow, want); d != "" {
				t.Errorf("differs from its twin: %s (outcome %d, twin %d)", d, out, want)
			}
		})
	}
}

func TestParseFields(t *testing.T) {
	wire := message{
		id: 0xBEEF, flags: 0x0130, counts: [4]uint16{1, 0, 0, 1},
		body: join(question("WwW.eXample.COM", 28), record("\x00", 41, 4096, 0x00008000, join(
			option(3, ""), option(8, "\x00\x02\x30\x00\x20\x01\x0d\xb8\x00\x01"), option(11, ""), option(19, ""), option(10, "12345678"), option(10, "87654321")))),
	}.wire()
	var q dnswire.Query
	if out := q.Parse(wire); out != dnswire.OK {
		t.Fatalf("outcome %d", out)
	}
	if got, want := string(q.Name[:q.NameLen]), string(name("www.example.com")); got != want || q.Labels != 3 {
		t.Errorf("name %q, %d labels; want %q, 3", got, q.Labels, want)
	}
	if q.ID != 0xBEEF || !q.RD || !q.CD || q.Type != 28 || q.Class != 1 || q.QuestionEnd != 12+17+4 {
		t.Errorf("header or question wrong: %+v", q)
	}
	if !q.EDNS || !q.DO || !q.NSID || !q.Keepalive || !q.ZoneVersion || q.TSIG != 0 || q.UDPSize != 4096 || string(q.Cookie[:q.CookieLen]) != "12345678" {
		t.Errorf("EDNS wrong: %+v", q)
	}
	if !q.ECS.Present || q.ECS.Family != 2 || q.ECS.Source != 48 || hex.EncodeToString(q.ECS.Addr[:]) != "20010db8000100000000000000000000" {
		t.Errorf("ECS wrong: %+v", q.ECS)
	}
	// The next packet must see nothing of it.
	if out := q.Parse(one()); out != dnswire.OK || q.EDNS || q.DO || q.NSID || q.Keepalive || q.ZoneVersion || q.ECS.Present || q.CookieLen != 0 || q.RD || q.CD {
		t.Errorf("state of the packet before: %+v", q)
	}
	if q.Parse(nil); q.QuestionEnd != dnswire.HeaderLen || q.NameLen != 0 {
		t.Errorf("state of the packet before: %+v", q)
	}
}

// TestParseRandomTwin compares Parse with its twin on packets made by damaging good ones.
func TestParseRandomTwin(t *testing.T) {
	rng := rand.New(rand.NewPCG(dnstest.Seed(t), 0))
	good := [][]byte{
		one(), one(opt()), one(opt(option(3, ""), option(8, "\x00\x01\x18\x00\xC0\x00\x02"))),
		one(opt(option(8, "\x00\x02\x39\x00\x20\x01\x0d\xb8\x00\x00\x01\x80"), option(10, "12345678"))),
		one(record("\xC0\x0C", 1, 1, 0, make([]byte, 4)), opt(), record("\x00", 250, 255, 0, tsigData("a", "m", "o"))),
		message{counts: [4]uint16{0, 0, 0, 1}, body: opt(option(10, "12345678"), option(19, ""))}.wire(),
		message{counts: [4]uint16{1, 0, 1}, body: join(question("Example.COM", 251), record("\xC0\x0C", 6, 1, 0, make([]byte, 22)))}.wire(),
		message{counts: [4]uint16{2, 0, 0, 1}, body: join(www, www, opt())}.wire(),
	}
	var q dnswire.Query
	for range 300_000 {
		wire := bytes.Clone(good[rng.IntN(len(good))])
		for range rng.IntN(4) {
			switch at := rng.IntN(len(wire)); rng.IntN(6) {
			case 0:
				wire[at] ^= 1 << rng.IntN(8)
			case 1:
				wire[at] = byte(rng.Uint32())
			case 2:
				wire = wire[:at+1]
			case 3:
				wire = append(wire, byte(rng.Uint32()))
			case 4:
				wire[at] = []byte{0, 1, 63, 64, 0xC0, 41, 250, 255}[rng.IntN(8)]
			default:
				wire = append(wire[:at:at], append([]byte{byte(rng.Uint32())}, wire[at:]...)...)
			}
		}
		out := q.Parse(wire)
		slow, want := slowParse(wire)
		if d := differs(&q, out, slow, want); d != "" {
			t.Fatalf("differs from its twin: %s (outcome %d, twin %d): %x", d, out, want, wire)
		}
	}
}

func TestParseNoAllocs(t *testing.T) {
	wire := one(opt(option(3, ""), option(8, "\x00\x01\x18\x00\xC0\x00\x02"), option(10, "12345678")))
	var q dnswire.Query
	if n := testing.AllocsPerRun(100, func() { q.Parse(wire) }); n != 0 {
		t.Errorf("%v allocations a query, want 0", n)
	}
}

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct {
		about string
		wire  []byte
	}{
		{"plain", one()},
		{"edns", one(opt())},
		{"ecs", one(opt(option(8, "\x00\x01\x18\x00\xC0\x00\x02")))},
	} {
		b.Run(c.about, func(b *testing.B) {
			b.ReportAllocs()
			var q dnswire.Query
			for b.Loop() {
				if q.Parse(c.wire) != dnswire.OK {
					b.Fatal("not a good query")
				}
			}
		})
	}
}
