package dnstest_test

import (
	"slices"
	"strings"
	"testing"
)

// statements are those that the wire can show, and that have probes.
const statements = "A-01 A-02 A-03 A-04 A-05 A-06 A-07 A-08 A-09 A-10 A-11 A-12 A-13 A-14 A-15 A-16 A-17 A-18 A-19 A-20 A-21 A-22 A-23 " +
	"A-30 A-31 A-32 A-33 A-34 A-35 A-36 A-37 A-38 A-39 A-40 A-41 A-42 A-43 A-45 A-46 A-60 A-61 A-62 A-67"

// TestProbesCoverStatements checks that each statement has a probe.
func TestProbesCoverStatements(t *testing.T) {
	var covered []string
	for _, p := range slices.Concat(readProbes(t)...) {
		covered = append(covered, strings.FieldsFunc(p.ids, func(r rune) bool { return r == ' ' || r == ',' })...)
	}
	for id := range strings.FieldsSeq(statements) {
		if !slices.Contains(covered, id) {
			t.Errorf("no probe is for %s", id)
		}
	}
}

// TestProbeLanguage checks that what cannot be meant is refused, at its line.
func TestProbeLanguage(t *testing.T) {
	const head = "probe x\n  for A-01, RFC 1035\n"
	for _, c := range []struct{ text, want string }{
		{"  for A-01\n", "x.txt:1: \"  for A-01\": a line that is not of a probe"},
		{"probe x\nfor A-01\n", "x.txt:2"},
		{"probe x\n  want drop\n", "x.txt:1: `for` names the statements"},
		{head, "x.txt:1: nothing is wanted"},
		{head + "  want dropped\n", "x.txt:3: want: \"dropped\": no such assertion"},
		{head + "  want rcode NOERR\n", "NOERR is no response code"},
		{head + "  want aa 2\n", "0 or 1"},
		{head + "  want cookie nice\n", "x.txt:3"},
		{head + "  want answer www. 300 A 192.0.2\n", "x.txt:3"},
		{head + "  and drop\n", "`and` before `want`"},
		{head + "  on sctp\n  want drop\n", "transports are udp and tcp"},
		{head + "  flags XX\n  want drop\n", "\"XX\" is no flag"},
		{head + "  question www. NOTYPE\n  want drop\n", "NOTYPE"},
		{head + "  question = 0g\n  want drop\n", "0g"},
		{head + "  option NSID\n  want drop\n", "there is no `edns` before it"},
		{head + "  edns sizes=1\n  want drop\n", "sizes=1"},
		{head + "  cut 40\n  want drop\n", "there are only 12"},
		{head + "  framing slowly\n  want drop\n", "slowly"},
		{head + "  weather fine\n  want drop\n", "no such line"},
		{head + "  each n 1..x\n  want drop\n", "x.txt:3"},
		{"probe $n\n  for A-01, RFC 1035\n  want drop\n", "is no name"},
	} {
		_, err := parseProbes("x.txt", c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}

// TestProbeQuery checks what a probe's lines make, octet for octet.
func TestProbeQuery(t *testing.T) {
	probes, err := parseProbes("x.txt", `
probe x-$n
  for A-01, RFC 1035
  each n 0..1
  question a.b. TYPE$n CH
  flags RD
  opcode 2
  edns size=512 do
  option ECS ecs=192.0.2.255/$n
  option 65001 length=9 'hi' 2*00
  record ar . A IN 5 c0000201
  counts an=3
  trail ff
  want drop
`)
	if err != nil {
		t.Fatal(err)
	}
	const header, record = "1234 1100 0001 0003 0000 0002", "00 0001 0001 00000005 0004 c0000201 ff"
	want := []string{
		header + "01 61 01 62 00 0000 0003" + "00 0029 0200 00008000 0010 0008 0004 0001 00 00 fde9 0009 6869 0000" + record,
		header + "01 61 01 62 00 0001 0003" + "00 0029 0200 00008000 0011 0008 0005 0001 01 00 80 fde9 0009 6869 0000" + record,
	}
	for i, p := range probes {
		msg, err := p.query.build(&environment{id: 0x1234})
		if err != nil {
			t.Fatal(err)
		}
		if w := strings.ReplaceAll(want[i], " ", ""); hexOf(msg) != w {
			t.Errorf("%s: %s, want %s", p.name, hexOf(msg), w)
		}
	}
}
