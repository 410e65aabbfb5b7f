package zone_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"geodns/pkg/zone"
)

// apex begins the zones of these tests.
const apex = "$TTL 300\n@ SOA ns h 1 2 3 4 5\n NS ns.example.net.\nns A 192.0.2.53\n"

// repeat makes n lines of a format with two numbers up to 255.
func repeat(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format+"\n", i>>8, i&255)
	}
	return b.String()
}

// TestLargeSets answers with sets that are larger than compression pointers reach, from wildcards for short and long names and
// below a DNAME: all names in them must come out whole.
func TestLargeSets(t *testing.T) {
	t.Parallel()
	set := loadZones(t, map[string]string{"example.com.zone": apex + "old DNAME new\n" +
		repeat(1500, "*.new MX 10 m%d.x.host%d") + repeat(1500, "*.new PTR a.b.p%d.y.host%d") + repeat(3500, "*.new A 192.0.%d.%d")})
	long := strings.Repeat("abcdefghijklmnopqrstuvwxyz012345.", 6)
	for _, name := range []string{"*.new", "x.new", long + "new", "x.old", long + "old"} {
		for _, c := range []struct {
			typ  uint16
			want int
			last string
		}{
			{dns.TypeMX, 1500, "m5.x.host219.example.com."},
			{dns.TypePTR, 1500, "a.b.p5.y.host219.example.com."},
			{dns.TypeA, 3500, "192.0.13.171"},
		} {
			msg, r := ask(t, set, question{name: name + ".example.com.", qtype: c.typ})
			m := unpack(t, msg)
			rrs := slices.DeleteFunc(m.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype != c.typ })
			if r.TC || len(rrs) != c.want {
				t.Fatalf("%s %s: %d records, %+v", name, dns.Type(c.typ), len(rrs), r)
			}
			if last := rrs[c.want-1].String(); !strings.HasSuffix(last, c.last) {
				t.Errorf("%s %s ends with %s", name, dns.Type(c.typ), last)
			}
			if !strings.Contains(name, "old") && len(rrSet(rrs)) != c.want {
				t.Errorf("%s %s: %d distinct records", name, dns.Type(c.typ), len(rrSet(rrs)))
			}
		}
	}
}

// TestManyTypes finds each of many types at a name, and none that is not there.
func TestManyTypes(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := 1000; i < 1400; i += 2 {
		fmt.Fprintf(&b, "many TYPE%d \\# 2 %04x\n", i, i)
	}
	set := loadZones(t, map[string]string{"example.com.zone": apex + b.String() + "alias CNAME many\n"})
	for _, name := range []string{"many", "alias"} {
		for typ := uint16(990); typ < 1410; typ++ {
			_, r := ask(t, set, question{name: name + ".example.com.", qtype: typ})
			if there := typ >= 1000 && typ < 1400 && typ%2 == 0; (r.NS == 0) != there {
				t.Errorf("%s TYPE%d: %+v", name, typ, r)
			}
		}
	}
}

// TestTooLarge refuses sets that no message can carry, alone or behind a chain, and leaves out glue that need not be there.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ zone, want string }{
		"set":      {repeat(4500, "big A 192.0.%d.%d"), "example.com.zone:5:1: error: the answer for big.example.com. A is larger than a message of 65535 bytes\n"},
		"ds":       {"sub NS ns\n" + repeat(3500, "sub DS %d %d 9 aabbccddeeff"), "example.com.zone:6:1: error: the answer for sub.example.com. DS is larger than a message of 65535 bytes\n"},
		"referral": {repeat(4000, "sub NS n%d.m%d.example.net."), "example.com.zone:5:1: error: the answer for sub.example.com. NS is larger than a message of 65535 bytes\n"},
		"chain":    {repeat(4077, "big A 192.0.%d.%d") + "alias CNAME a.b.c.d.e.f.g.h.big\n*.big CNAME big\n", "example.com.zone:4082:1: error: the answer for alias.example.com. CNAME is larger than a message of 65535 bytes\n"},
		"glue":     {"sub NS ns.other\nother NS ns.other\n" + repeat(4500, "ns.other A 192.0.%d.%d"), "example.com.zone:6:1: error: the answer for other.example.com. NS is larger than a message of 65535 bytes\n"},
		"sibling":  {"sub NS ns.other\nsub NS ns.sub\nns.sub A 192.0.2.1\n" + repeat(2500, "ns.other A 192.0.%d.%d") + repeat(2500, "ns.third A 192.1.%d.%d") + "sub NS ns.third\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := writeZones(t, map[string]string{"example.com.zone": apex + c.zone})
			set, found := zone.Load(dir, testSeed)
			if got := findingLines(dir, found); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if c.want != "" {
				return
			}
			msg, r := ask(t, set, question{name: "x.sub.example.com.", qtype: dns.TypeA})
			if unpack(t, msg); r.AR != 2501 || r.NS != 3 {
				t.Errorf("the referral has %+v", r)
			}
			msg, r = ask(t, set, question{name: "x.sub.example.com.", qtype: dns.TypeA, limit: 512})
			if unpack(t, msg); r.AR != 1 || r.NS != 3 || r.TC {
				t.Errorf("the short referral has %+v", r)
			}
		})
	}
}

// TestStaged compares answers found in stages with those of Answer.
func TestStaged(t *testing.T) {
	t.Parallel()
	set := loadZones(t, map[string]string{"example.com.zone": benchZone(1000)})
	for name, q := range cases(t) {
		want, wantReply := set.Answer(q.msg, q.name, q.labels, q.qtype, 1232, false)
		want = slices.Clone(want)
		hash := set.Hash(q.name)
		set.Record(set.Slot(hash))
		var reply zone.Reply
		got := set.AnswerHashed(q.msg, q.name, q.labels, hash, q.qtype, 1232, false, &reply)
		if !slices.Equal(got, want) || reply != wantReply {
			t.Errorf("%s: staged it is another answer", name)
		}
	}
}
