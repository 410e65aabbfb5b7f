//go:build linux

package main

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRight holds the check of answers against good ones, and against each of them with one thing wrong.
func TestRight(t *testing.T) {
	const (
		asked  = "\x01a\x04test\x00\x00\x01\x00\x01"
		answer = "\xC0\x0C\x00\x01\x00\x01\x00\x00\x01\x2C\x00\x04\xC0\x00\x02\x07"
		alias  = "\xC0\x0C\x00\x05\x00\x01\x00\x00\x01\x2C\x00\x04\x01b\xC0\x0E"
		target = "\x01b\xC0\x0E\x00\x01\x00\x01\x00\x00\x01\x2C\x00\x04\xC0\x00\x02\x07"
		ns     = "\xC0\x0E\x00\x02\x00\x01\x00\x00\x01\x2C\x00\x02\xC0\x0E"
	)
	header := func(flags string, answers, authority byte) string {
		return "\x12\x34" + flags + "\x00\x01\x00" + string([]byte{answers}) + "\x00" + string([]byte{authority}) + "\x00\x00"
	}
	address := wantAddress(netip.MustParseAddr("192.0.2.7"), 1)
	chain := wantAddress(netip.MustParseAddr("192.0.2.7"), 2)
	for _, c := range []struct {
		name string
		want want
		msg  string
		ok   bool
	}{
		{"an address", address, header("\x84\x00", 1, 0) + asked + answer, true},
		{"with RD", address, header("\x85\x00", 1, 0) + asked + answer, true},
		{"a chain", chain, header("\x84\x00", 2, 0) + asked + alias + target, true},
		{"no such name", want{rcode: rcodeNXDomain}, header("\x84\x03", 0, 1) + asked + ns, true},
		{"no data", want{}, header("\x84\x00", 0, 1) + asked + ns, true},
		{"a referral", want{referral: true}, header("\x80\x00", 0, 1) + asked + ns, true},

		{"nothing", address, "", false},
		{"a query", address, header("\x04\x00", 1, 0) + asked + answer, false},
		{"cut", address, header("\x86\x00", 1, 0) + asked + answer, false},
		{"not authoritative", address, header("\x80\x00", 1, 0) + asked + answer, false},
		{"SERVFAIL", address, header("\x84\x02", 0, 0) + asked, false},
		{"another question", address, header("\x84\x00", 1, 0) + strings.Replace(asked, "a", "b", 1) + answer, false},
		{"another address", address, header("\x84\x00", 1, 0) + asked + strings.Replace(answer, "\x07", "\x08", 1), false},
		{"another type", address, header("\x84\x00", 1, 0) + asked + strings.Replace(answer, "\x00\x01\x00\x01", "\x00\x10\x00\x01", 1), false},
		{"too short", address, header("\x84\x00", 1, 0) + asked + answer[:len(answer)-1], false},
		{"an alias alone", chain, header("\x84\x00", 1, 0) + asked + alias, false},
		{"an answer where there is none", want{}, header("\x84\x00", 1, 0) + asked + answer, false},
		{"nothing about what is not there", want{}, header("\x84\x00", 0, 0) + asked, false},
		{"an authoritative referral", want{referral: true}, header("\x84\x00", 0, 1) + asked + ns, false},
	} {
		var q questions
		q.add("a.test", typeA, netip.Prefix{}, c.want)
		if got := q.right(0, []byte(c.msg)); got != c.ok {
			t.Errorf("%s: right %v, want %v", c.name, got, c.ok)
		}
	}
}

// TestQuestion holds the wire form of a question with a subnet.
func TestQuestion(t *testing.T) {
	var q questions
	q.add("x.test", typeAAAA, netip.Prefix{}, want{})
	q.add("a.test", typeA, netip.MustParsePrefix("192.0.2.0/24"), want{})
	const want = "\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01" + "\x01a\x04test\x00\x00\x01\x00\x01" +
		"\x00\x00\x29\x04\xD0\x00\x00\x00\x00\x00\x0B" + "\x00\x08\x00\x07\x00\x01\x18\x00\xC0\x00\x02"
	if got := string(q.bytes(1)); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestSameSeed makes a workload twice, and with another seed.
func TestSameSeed(t *testing.T) {
	wire := func(seed uint64) string {
		w, err := newWorkload("w2", t.TempDir(), smallSize(), seed)
		if err != nil {
			t.Fatal(err)
		}
		database, err := os.ReadFile(w.database)
		if err != nil {
			t.Fatal(err)
		}
		// The database says at its end when it was made.
		return string(w.questions.wire) + string(database[:len(database)/2])
	}
	if a, b := wire(1), wire(1); a != b {
		t.Error("one seed gave two workloads")
	}
	if a, b := wire(1), wire(2); a == b {
		t.Error("two seeds gave one workload")
	}
}

// TestLost holds that what is not answered is counted as lost, and that the rest still is answered.
func TestLost(t *testing.T) {
	var q questions
	q.add("a.test", typeA, netip.Prefix{}, want{})
	g := &generator{questions: &q, in: newBatch(false), out: newBatch(false), begun: time.Now(), lanes: []*lane{{}}}
	l := g.lanes[0]
	g.reset(2)
	start := g.since
	for i := range 3 {
		g.put(l, i, start+int64(i))
	}
	second := g.out.buffers[1][:g.out.vectors[1].Len]
	second[2] |= 0x80
	g.take(l, second, start+11)
	g.take(l, second, start+12) // once more: nobody waits for it
	if room := l.room(); room != flights-3 {
		t.Errorf("room for %d before one is given up", room)
	}
	if err := g.sweep(t.Context(), start+int64(patience)); err != nil {
		t.Fatal(err)
	}
	if room := l.room(); room != flights-1 {
		t.Errorf("room for %d when the third is the only one under way", room)
	}
	x := &g.tally
	if x.answered != 1 || x.wrong != 1 || x.lost != 1 || l.under != 1 || len(x.latencies) != 1 || x.latencies[0] != 10 {
		t.Errorf("tally %+v, under way %d", x, l.under)
	}
}

// TestLossEnds asks a responder that leaves some questions alone for longer than there are IDs, and holds that each question is
// answered or lost.
func TestLossEnds(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, datagramMax)
		for i := 0; ; i++ {
			n, from, e := conn.ReadFromUDPAddrPort(buf)
			if e != nil {
				return
			}
			if buf[2] |= 0x80; i%50_000 != 1000 {
				_, _ = conn.WriteToUDPAddrPort(buf[:n], from) // what is not sent is lost
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-ended })
	var q questions
	q.add("a.test", typeA, netip.Prefix{}, want{})
	g, err := newGenerator(&q, int(netip.MustParseAddrPort(conn.LocalAddr().String()).Port()), 0, true)
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	g.reset(0)
	enough := lanes * (flights + 1000)
	if err := g.saturate(t.Context(), func(int64) bool { return g.tally.answered >= enough }); err != nil {
		t.Fatal(err)
	}
	if err := g.drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if x := &g.tally; x.lost == 0 || x.answered+x.lost != x.sent {
		t.Errorf("sent %d, answered %d, lost %d", x.sent, x.answered, x.lost)
	}
}

// TestCompare holds the arithmetic between two readings.
func TestCompare(t *testing.T) {
	from := meter{at: time.Unix(100, 0)}
	to := meter{
		at: time.Unix(102, 0), server: cpuTime{total: time.Second, user: 25, sys: 75}, self: cpuTime{total: 1960 * time.Millisecond},
		cores: [2]coreTime{{busy: 110, all: 200}, {busy: 200, all: 200}},
	}
	x := compare(from, to, 100_000)
	if x.rate() != 50_000 || x.cpu != 10 || x.user != 2.5 || x.sys != 7.5 || x.serverBusy != 50 || x.noise != 5 || x.spoiled {
		t.Errorf("%+v", x)
	}
	to.cores[0].stolen = 6
	if x := compare(from, to, 100_000); x.noise != 8 || !x.spoiled {
		t.Errorf("with stolen time: %+v", x)
	}
}

// TestReport holds the medians, the ratios within a round, and what stands around the generated part.
func TestReport(t *testing.T) {
	r := &report{order: []string{"geodns", "gdnsd", "c-floor"}, abouts: []*workload{{name: "w1", about: "some"}}}
	for round, cpu := range []float64{4, 2, 3} {
		r.add(&sample{server: "geodns", workload: "w1", round: round, saturated: stretch{seconds: 2, answered: 200, cpu: cpu}})
		r.add(&sample{server: "gdnsd", workload: "w1", round: round, saturated: stretch{seconds: 2, answered: 400, cpu: 4, spoiled: round == 1}})
		r.add(&sample{server: "c-floor", workload: "w1", round: round, saturated: stretch{seconds: 2, answered: 800, cpu: 1}})
	}
	text := r.text()
	for _, want := range []string{
		"### w1: some\n",
		"| geodns | 100 (100–100) | 0.25 (0.25–0.25) | - | 3.00 (2.00–4.00) |",
		" | 0.75 (0.50–1.00) | 0 (0–0) | 0 | 0 | 0 |\n",
		"| gdnsd | 200 (200–200) | 0.50 (0.50–0.50) | - | 4.00 (4.00–4.00) |",
		" | - | 0 (0–0) | 0 | 0 | 1 |\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	file := filepath.Join(t.TempDir(), "results.md")
	for _, around := range []struct{ before, after string }{{"", "# Results\n\n" + text}, {"# Mine\n", "# Mine\n\n" + text}, {"a\n" + beginMark + "\nold\n" + endMark + "\nb\n", "a\n" + text + "b\n"}} {
		if err := os.WriteFile(file, []byte(around.before), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := r.write(file); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != around.after {
			t.Errorf("%q became %q, %v", around.before, got, err)
		}
	}
	r.add(&sample{server: "gdnsd", workload: "w1", light: stretch{answered: 3, wrong: 1, firstWrong: "asked x"}})
	if err := r.verdict(); err == nil || !strings.Contains(err.Error(), "asked x") {
		t.Errorf("a wrong answer gives %v", err)
	}
	r.fail("nsd with w3, round 1: it ended")
	if err := r.verdict(); err == nil || !strings.Contains(err.Error(), "it ended") || !strings.Contains(r.text(), "- Failed: nsd with w3, round 1: it ended\n") {
		t.Errorf("a server that failed gives %v", err)
	}
}
