//go:build linux

package server_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"geodns/pkg/dnswire"
	"geodns/pkg/server"
	"geodns/pkg/steering"
)

// What a packet costs must not depend much on who made it: a flood of the worst packets may not cost many times what a flood of
// usual ones does. The packets below are made to cost as much as they can: by what is read (labels, options, records), by what
// is looked up (the closest encloser of the longest names, in tables that no cache holds), by what is computed (cookies, draws,
// client subnets) and by what is written. Where a zone makes answers long, its operator has made it so; they are here for the sum.

const (
	// worstMax is what the worst packet may cost, of user time, where a usual one, the first of hostiles, costs worstUsual: on a
	// slower machine it is as much more.
	worstMax   = 2 * time.Microsecond
	worstUsual = 120 * time.Nanosecond
	// worstPackets is how many different packets of each kind there are: more than a branch predictor learns.
	worstPackets = 64 * server.BatchMax
	// worstRounds is how often all of them are answered; the fastest round counts, as the others were disturbed.
	worstRounds = 5

	// worstWait is how long the client waits for an answer.
	worstWait = 5 * time.Second

	// worstLinks is as many links as a chain is followed.
	worstLinks = 8

	// worstOrigin is the zone that is asked for, "w.", in wire form.
	worstOrigin = "\x01w\x00"
	// worstDeep is how many names of 127 labels the zone has, each with all its ancestors.
	worstDeep = 1000
	// worstWide is how many names right below the apex it has.
	worstWide = 100_000
)

// hostile is packets of a kind.
type hostile struct {
	about string
	make  func(m *maker) []byte
}

// maker makes packets from a seed.
type maker struct {
	*rand.Rand

	deep [][]byte // wire names of 127 labels that exist
	now  uint32   // seconds
}

// hostiles is all kinds.
func hostiles() []hostile {
	kinds := []hostile{
		// Usual ones, to compare with.
		{"static", func(m *maker) []byte { return query(m.wide(), 1, 1, opt()) }},
		{"steered with ECS", func(m *maker) []byte { return query(m.below("st", 1), 1, 1, opt(m.subnet(4))) }},
		{"static with a good cookie", func(m *maker) []byte { return query(m.wide(), 1, 1, opt(m.cookie(false))) }},

		// Read.
		{"header alone", func(*maker) []byte { return query(nil, 0, 0)[:12] }},
		{"longest name, in no zone", func(m *maker) []byte { return query(m.labels(127, "\x00"), 1, 1, opt()) }},
		{"longest name of capitals", func(m *maker) []byte { return query(bytes.ToUpper(m.labels(126, worstOrigin)), 1, 1, opt()) }},
		{"name one octet too long", func(m *maker) []byte { return query(m.labels(128, "\x00"), 1, 1, opt()) }},
		{"292 questions", func(*maker) []byte { return questions(292, "\x00\x00\x01\x00\x01") }},
		{"questions of one label after the other", func(m *maker) []byte { return questions(5, string(m.labels(127, "\x00"))+"\x00\x01\x00\x01") }},
		{"options of 4 octets, unknown", func(m *maker) []byte { return m.fill(m.wide(), func() []byte { return option(65001) }) }},
		{"options of 4 octets, at random", func(m *maker) []byte { return m.fill(m.wide(), m.anyOption) }},
		{"options of 4 octets, the last cut off", func(m *maker) []byte {
			q := m.fill(m.wide(), m.anyOption)
			q[len(q)-1] = 1
			return q
		}},
		{"records of 11 octets", func(m *maker) []byte {
			return m.records(m.wide(), func() []byte { return []byte("\x00\x00\x01\x00\x01\x00\x00\x00\x00\x00\x00") })
		}},
		{"records of 11 octets, the last cut off", func(m *maker) []byte {
			q := m.records(m.wide(), func() []byte { return []byte("\x00\x00\x01\x00\x01\x00\x00\x00\x00\x00\x00") })
			return q[:len(q)-1]
		}},
		{"records with the longest names", func(m *maker) []byte { return query(m.wide(), 1, 1, m.longRecords(5)...) }},
		{"one record of 1,400 octets of labels", func(m *maker) []byte {
			return query(m.wide(), 1, 1, append(m.labels(700, "\x00"), "\x00\x01\x00\x01\x00\x00\x00\x00\x00\x00"...))
		}},
		{"TSIG of the longest names", func(m *maker) []byte { return query(m.labels(126, worstOrigin), 1, 1, m.tsig()) }},
		{"TSIG of the longest names, options at random", func(m *maker) []byte {
			return m.fill(m.labels(126, worstOrigin), m.anyOption, m.tsig())
		}},

		// Looked up.
		{"longest name below the apex", func(m *maker) []byte { return query(m.labels(126, worstOrigin), 1, 1, opt()) }},
		{"longest name below names of all depths", func(m *maker) []byte { return query(m.strange(), 1, 1, opt()) }},
		{"longest name that is there, no such type", func(m *maker) []byte { return query(m.pick(), 99, 1, opt()) }},
		{"empty non-terminals of all depths", func(m *maker) []byte { return query(m.ancestor(), 1, 1, opt()) }},
		{"longest name below a wildcard", func(m *maker) []byte { return query(m.below("wi", 124), 1, 1, opt()) }},
		{"longest name below a DNAME", func(m *maker) []byte { return query(m.below("dn", 124), 1, 1, opt()) }},
		{"DNAME overflow", func(m *maker) []byte { return query(m.below("ov", 124), 1, 1, opt()) }},
		{"a row of DNAMEs", func(m *maker) []byte { return query(m.below("d0", 1), 1, 1, opt()) }},
		{"a row of DNAMEs, 20 labels", func(m *maker) []byte { return query(m.below("d0", 20), 1, 1, opt()) }},
		{"a row of DNAMEs, 120 labels", func(m *maker) []byte { return query(m.below("d0", 120), 1, 1, opt()) }},
		{"a row of DNAMEs to no names", func(m *maker) []byte { return query(m.below("f0", 1), 1, 1, opt()) }},
		{"a row of DNAMEs to no names, 30 labels", func(m *maker) []byte { return query(m.below("f0", 30), 1, 1, opt()) }},
		{"a row of DNAMEs to no names, 110 labels", func(m *maker) []byte { return query(m.below("f0", 110), 1, 1, opt()) }},
		{"a row of DNAMEs far below one another", func(m *maker) []byte { return query(m.below("g0", 1), 1, 1, opt()) }},
		{"a ring of DNAMEs, 120 labels", func(m *maker) []byte { return query(m.below("r0", 120), 1, 1, opt()) }},
		{"DNAMEs and wildcard CNAMEs by turns", func(m *maker) []byte { return query(m.below("m0", 1), 1, 1, opt()) }},
		{"DNAMEs and wildcard CNAMEs by turns, 120 labels", func(m *maker) []byte { return query(m.below("m0", 120), 1, 1, opt()) }},
		{"longest name below a DNAME to the largest set", func(m *maker) []byte { return query(m.below("dx", 124), 15, 1, opt()) }},
		{"ring of wildcard CNAMEs", func(m *maker) []byte { return query(m.below("k0", 1), 1, 1, opt()) }},
		{"longest name below a ring of wildcard CNAMEs", func(m *maker) []byte { return query(m.below("k0", 124), 1, 1, opt()) }},
		{"ring of wildcard CNAMEs to long names", func(m *maker) []byte { return query(m.below("l0", 1), 1, 1, opt()) }},
		{"a row of CNAMEs", func(m *maker) []byte { return query(m.below("c0", 100), 1, 1, opt()) }},
		{"largest referral", func(m *maker) []byte { return query(m.below("rf", 100), 1, 1, opt()) }},
		{"largest set", func(m *maker) []byte { return query(m.below("mx", 100), 15, 1, opt()) }},
		{"CH explain by a stranger", func(m *maker) []byte {
			return query(m.labels(119, "\x07explain\x06geodns\x00"), 16, 3, opt())
		}},

		// Computed.
		{"random cookies", func(m *maker) []byte { return query(m.wide(), 1, 1, opt(m.cookie(true))) }},
		{"steered, 16 of 16 drawn, random subnets of IPv6", func(m *maker) []byte { return query(m.below("many", 1), 28, 1, opt(m.subnet(6))) }},

		// All of it.
		{"longest name, steered, random subnet and cookie", func(m *maker) []byte { return query(m.below("st", 124), 1, 1, m.loaded(0)) }},
		{"the same, the datagram full of options", func(m *maker) []byte {
			return m.fillBehind(m.below("st", 124), slices.Concat(m.subnet(6), m.cookie(true), option(3), option(19)), m.anyOption)
		}},
		{"longest name below names of all depths, the datagram full of options", func(m *maker) []byte {
			return m.fillBehind(m.strange(), m.cookie(true), m.anyOption)
		}},
	}
	// Whatever the limits are, the most that they let through.
	for _, n := range []int{4, 8, 12} {
		kinds = append(
			kinds, hostile{fmt.Sprintf("longest name, steered, random subnet and cookie, %d options", n), func(m *maker) []byte {
				return query(m.below("st", 124), 1, 1, m.loaded(n))
			}}, hostile{fmt.Sprintf("longest name below names of all depths, cookie, %d options", n), func(m *maker) []byte {
				return query(m.strange(), 1, 1, m.loaded(n))
			}}, hostile{fmt.Sprintf("TSIG of the longest names, %d options", n), func(m *maker) []byte {
				return query(m.labels(126, worstOrigin), 1, 1, m.loaded(n), m.tsig())
			}})
	}
	for n := range 4 {
		kinds = append(
			kinds, hostile{fmt.Sprintf("longest name, steered, random subnet and cookie, %d records more with the longest names", n+1), func(m *maker) []byte {
				return query(m.below("st", 124), 1, 1, slices.Concat(m.longRecords(n+1), [][]byte{m.loaded(0)})...)
			}}, hostile{fmt.Sprintf("longest name below names of all depths, %d records more with the longest names", n+1), func(m *maker) []byte {
				return query(m.strange(), 1, 1, m.longRecords(n+1)...)
			}}, hostile{fmt.Sprintf("TSIG of the longest names, %d records more with the longest names", n), func(m *maker) []byte {
				return query(m.labels(126, worstOrigin), 1, 1, append(m.longRecords(min(n, 2)), m.tsig())...)
			}})
	}
	return kinds
}

// TestWorstPackets answers a flood of each kind: none may cost more than worstMax a packet. The processor's time for this thread is
// measured, and of each batch the best round counts, so that a busy machine does little harm. Only with GEODNS_PROVE is it an error.
func TestWorstPackets(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if instrumented() {
		t.Skip("what is measured here is not what is served")
	}
	w := worstWorld(t)
	limit := worstMax
	for i, h := range hostiles() {
		f := newFlood(t, w, h)
		best := make([]time.Duration, worstPackets/server.BatchMax)
		for round := range worstRounds {
			for n := range best {
				if spent := f.batch(n); round == 0 || spent < best[n] {
					best[n] = spent
				}
			}
		}
		sum := time.Duration(0)
		for _, spent := range best {
			sum += spent
		}
		cost := sum / worstPackets
		t.Logf("%5d ns a packet of %4d octets: %s", cost.Nanoseconds(), f.octets/len(f.packets), h.about)
		if i == 0 {
			limit = max(limit, time.Duration(float64(limit)*float64(cost)/float64(worstUsual)))
		}
		switch {
		case cost <= limit:
		case os.Getenv("GEODNS_PROVE") == "":
			t.Logf("%s: %v a packet; want at most %v", h.about, cost, limit)
		default:
			t.Errorf("%s: %v a packet; want at most %v", h.about, cost, limit)
		}
	}
}

// instrumented says whether this binary looks after itself, and so does not run at its own speed.
func instrumented() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool {
		return s.Value == "true" && slices.Contains([]string{"-race", "-cover", "-msan", "-asan"}, s.Key)
	})
}

// BenchmarkWorst measures each kind of packets, in batches; ns/packet is the figure.
func BenchmarkWorst(b *testing.B) {
	w := worstWorld(b)
	for _, h := range hostiles() {
		b.Run(h.about, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			f := newFlood(b, w, h)
			b.ReportAllocs()
			b.ResetTimer()
			var spent time.Duration
			n := 0
			for b.Loop() {
				spent += f.batch(n)
				n++
			}
			b.ReportMetric(float64(spent.Nanoseconds())/float64(n*server.BatchMax), "ns/packet")
			b.ReportMetric(float64(f.octets)/float64(len(f.packets)), "octets/packet")
		})
	}
}

// BenchmarkFlood sends packets of each kind to a server over loopback, two batches under way. What the process uses beside the
// client's thread is the server's: user-ns/packet is the figure, sys-ns/packet is the kernel's part.
func BenchmarkFlood(b *testing.B) {
	cfg := server.Config{
		Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Workers: 1, Identity: "pop-1", CookieSecrets: []server.CookieSecret{{1}, {2}},
	}
	s, err := server.New(cfg, worstWorld(b))
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}()
	for _, h := range hostiles() {
		b.Run(h.about, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			var packets [][]byte
			for m := newMaker(7); len(packets) < worstPackets; {
				packets = append(packets, h.make(m))
			}
			conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(s.Addrs()[0]))
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			b.ResetTimer()
			before := serverTime(b)
			sendFlood(b, ipv4.NewPacketConn(conn), packets)
			after := serverTime(b)
			for i, unit := range []string{"user-ns/packet", "sys-ns/packet"} {
				b.ReportMetric(float64((after[i]-before[i]).Nanoseconds())/float64(b.N), unit)
			}
		})
	}
}

// sendFlood sends b.N packets and takes the answers; all kinds of packets are answered.
func sendFlood(b *testing.B, conn *ipv4.PacketConn, packets [][]byte) {
	b.Helper()
	const window = 2 * server.BatchMax
	out, in := make([]ipv4.Message, window), make([]ipv4.Message, window)
	for i := range in {
		in[i].Buffers = [][]byte{make([]byte, server.BufferLen)}
	}
	for sent, answered := 0, 0; answered < b.N; {
		for room := min(window-(sent-answered), b.N-sent); room > 0; {
			for i := range room {
				out[i].Buffers = [][]byte{packets[(sent+i)%len(packets)]}
			}
			n, err := conn.WriteBatch(out[:room], 0)
			if err != nil {
				b.Fatal(err)
			}
			sent, room = sent+n, room-n
		}
		if err := conn.SetReadDeadline(time.Now().Add(worstWait)); err != nil {
			b.Fatal(err)
		}
		n, err := conn.ReadBatch(in, 0)
		if err != nil {
			b.Fatalf("after %d of %d packets: %v", answered, sent, err)
		}
		answered += n
	}
}

// serverTime is the user's and the system's time of this process without this thread.
func serverTime(b *testing.B) (spent [2]time.Duration) {
	b.Helper()
	var process, thread unix.Rusage
	if err := errors.Join(unix.Getrusage(unix.RUSAGE_SELF, &process), unix.Getrusage(unix.RUSAGE_THREAD, &thread)); err != nil {
		b.Fatal(err)
	}
	return [2]time.Duration{
		time.Duration(process.Utime.Nano() - thread.Utime.Nano()),
		time.Duration(process.Stime.Nano() - thread.Stime.Nano()),
	}
}

// flood is packets of a kind and who answers them.
type flood struct {
	r       *server.Responder
	packets [][]byte
	octets  int
}

// newFlood makes the packets of a kind.
func newFlood(t testing.TB, w *server.World, h hostile) *flood {
	t.Helper()
	cfg := server.Config{Identity: "pop-1", CookieSecrets: []server.CookieSecret{{1}, {2}}}
	r, err := server.NewResponder(cfg, w)
	if err != nil {
		t.Fatal(err)
	}
	f := &flood{r: r}
	m := newMaker(7)
	for range worstPackets {
		p := h.make(m)
		if len(p) > server.BufferLen {
			t.Fatalf("%s: a packet of %d octets does not arrive whole", h.about, len(p))
		}
		f.octets += len(p)
		f.packets = append(f.packets, p)
	}
	r.Fill(f.packets[:server.BatchMax], netip.MustParseAddr("2001:db8::99"))
	return f
}

// batch answers the nth batch and says how long it took.
func (f *flood) batch(n int) time.Duration {
	at := n * server.BatchMax % len(f.packets)
	f.r.Refill(f.packets[at:][:server.BatchMax])
	start := threadTime()
	f.r.AnswerBatch()
	return threadTime() - start
}

// threadTime is the processor's time that this thread has had.
func threadTime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		panic(err) // it is always there
	}
	return time.Duration(now.Nano())
}

// newMaker makes a maker with the deep names of worstZone.
func newMaker(seed uint64) *maker {
	m := &maker{Rand: rand.New(rand.NewPCG(1, 2)), now: uint32(time.Now().Unix())}
	for range worstDeep {
		name := []byte(worstOrigin)
		for range 126 {
			name = append([]byte{1, 'a' + byte(m.IntN(26))}, name...)
		}
		m.deep = append(m.deep, name)
	}
	m.Rand = rand.New(rand.NewPCG(seed, 3))
	return m
}

// worstZone is the zone's text.
func worstZone() string {
	var b strings.Builder
	b.WriteString("$TTL 300\n@ SOA ns1 hostmaster 1 7200 3600 1209600 60\n@ NS ns1\nns1 A 192.0.2.53\n")
	for i := range worstWide {
		fmt.Fprintf(&b, "h%d A 192.0.2.1\n", i)
	}
	for _, name := range newMaker(0).deep {
		b.WriteString(presentation(name) + " A 192.0.2.1\n")
	}
	b.WriteString("*.wi A 192.0.2.1\n*.st 60 STEER www\n*.many 60 STEER many\n")
	// A DNAME to where the name exists in no part, and one that makes names too long.
	b.WriteString("dn DNAME ee\nov DNAME " + strings.Repeat("oo.", 40) + "w.\n")
	for i := range worstLinks {
		// Rows of DNAMEs: to one another, to names that do not exist, near and far below the next, and round.
		fmt.Fprintf(&b, "d%d DNAME d%d\nf%d DNAME z.f%d\ng%d DNAME %sg%d\n", i, i+1, i, i+1, i, strings.Repeat("a.", 14), i+1)
		fmt.Fprintf(&b, "r%d DNAME r%d\n", i, (i+1)%worstLinks)
		// A row of aliases, each of another wildcard; and such rings, whose last leads to a name that the first stands for again.
		fmt.Fprintf(&b, "*.c%d CNAME %sc%d.w.\n", i, strings.Repeat("a.", 15), i+1)
		fmt.Fprintf(&b, "*.k%d CNAME %sk%d.w.\n", i, strings.Repeat("a.", 15), (i+1)%(worstLinks-1))
		fmt.Fprintf(&b, "*.l%d CNAME %sl%d.w.\n", i, strings.Repeat("a.", 120), (i+1)%(worstLinks-1))
		// DNAMEs and aliases by turns.
		fmt.Fprintf(&b, "m%d DNAME n%d\n*.n%d CNAME x.m%d.w.\n", i, i, i, i+1)
	}
	// Below a DNAME the name is made at run time, and all that is compressed against it.
	b.WriteString("dx DNAME my\n")
	for i := range 13 {
		fmt.Fprintf(&b, "rf NS n%d.rf\nn%d.rf A 192.0.2.%d\nn%d.rf AAAA 2001:db8::%d\n", i, i, i, i, i)
	}
	for i := range 60 {
		fmt.Fprintf(&b, "*.mx MX %d m%d.w.\n", i, i)
		if i < 30 {
			fmt.Fprintf(&b, "*.my MX %d m%d.w.\n", i, i) // with the DNAME before it
		}
	}
	return b.String()
}

// presentation writes a wire name of letters.
func presentation(wire []byte) string {
	var b strings.Builder
	for i := 0; wire[i] != 0; i += 1 + int(wire[i]) {
		b.Write(wire[i+1:][:wire[i]])
		b.WriteByte('.')
	}
	return b.String()
}

// worstWorld has worstZone and policies over as many cells as a database of cities makes: two million of IPv4, a million of IPv6.
func worstWorld(t testing.TB) *server.World {
	t.Helper()
	spec := &steering.Spec{Pools: []steering.Pool{{}}}
	for i := range uint64(1 << 21) {
		spec.Cells4 = append(spec.Cells4, steering.Cell{Start: i << 3, Bits: 21})
	}
	// The /48 of 2001:db0::/28, and around it a cell for each bit that an address outside differs in first.
	const home, homeBits = uint64(0x2001_0db0_0000_00), 28
	for bits := uint8(1); bits <= homeBits; bits++ {
		spec.Cells6 = append(spec.Cells6, steering.Cell{Start: (home>>(56-bits) ^ 1) << (56 - bits), Bits: bits})
	}
	for i := range uint64(1 << 20) {
		spec.Cells6 = append(spec.Cells6, steering.Cell{Start: home | i<<8, Bits: 48})
	}
	slices.SortFunc(spec.Cells6, func(a, b steering.Cell) int { return int(int64(a.Start - b.Start)) })

	const sites = 16
	r := rand.New(rand.NewPCG(5, 6))
	near := steering.Layout{Entries: sites, ByClient: true}
	for range 256 {
		var plan steering.Plan
		for _, e := range r.Perm(sites) {
			plan = append(plan, []uint16{uint16(e)})
		}
		near.Plans = append(near.Plans, plan)
	}
	any := steering.Layout{Entries: sites, Plans: []steering.Plan{{nil}}}
	for range len(spec.Cells4) + len(spec.Cells6) {
		near.Classes = append(near.Classes, uint32(r.IntN(len(near.Plans))))
	}
	any.Classes = make([]uint32, len(near.Classes))
	all := make([]steering.TargetID, sites)
	for i := range all {
		all[i] = steering.TargetID(i)
		any.Plans[0][0] = append(any.Plans[0][0], uint16(i))
		spec.Targets = append(spec.Targets, steering.Target{
			Hash: uint64(100 + i), Weight: uint32(1 + i),
			V4: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})}, V6: []netip.Addr{netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i)})},
		})
	}
	spec.Layouts = []steering.Layout{near, any}
	spec.Policies = []steering.Policy{
		{Hash: 1, Layout: 0, Targets: all, TTLMin: 15, TTLMax: 30, Answers: 1},
		{Hash: 2, Layout: 1, Targets: all, TTLMin: 15, TTLMax: 30, Answers: steering.AnswersMax},
	}
	table, err := steering.Build(spec)
	if err != nil {
		t.Fatal(err)
	}
	// All but the last of a plan are down now and then: the first to try may be the last to answer.
	var down []steering.TargetID
	for i := range all[:sites/2] {
		down = append(down, steering.TargetID(2*i))
	}
	set := loadSet(t, map[string]string{"w.zone": worstZone()})
	w, err := server.NewWorld(set, table, testStates(t, table, down...), map[string]steering.PolicyID{"www": 0, "many": 1})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// wide is a name right below the apex that is there.
func (m *maker) wide() []byte { return below(fmt.Sprintf("h%d", m.IntN(worstWide)), worstOrigin) }

// pick is a name of 127 labels that is there.
func (m *maker) pick() []byte { return slices.Clone(m.deep[m.IntN(len(m.deep))]) }

// ancestor is one above such a name.
func (m *maker) ancestor() []byte { return m.pick()[2*m.IntN(125):] }

// strange is a name of 127 labels of which the last ones, 2 to 126, are there.
func (m *maker) strange() []byte {
	name, keep := m.pick(), 2+m.IntN(125)
	return m.labels(127-keep, string(name[2*(127-keep):]))
}

// labels is n labels of an octet, which no name of the zone has, above a suffix.
func (m *maker) labels(n int, suffix string) []byte {
	name := make([]byte, 0, 2*n+len(suffix))
	for range n {
		name = append(name, 1, '0'+byte(m.IntN(10)))
	}
	return append(name, suffix...)
}

// below is n such labels below a name right below the apex.
func (m *maker) below(name string, n int) []byte {
	return m.labels(min(n, (dnswire.NameMax-1-len(name)-len(worstOrigin))/2), string(below(name, worstOrigin)))
}

// below is a label above a suffix.
func below(label, suffix string) []byte {
	return append(append([]byte{byte(len(label))}, label...), suffix...)
}

// query is a query with additional records.
func query(name []byte, qtype, class uint16, additional ...[]byte) []byte {
	b := []byte{0x42, 0x42, 1, 0, 0, 1, 0, 0, 0, 0, 0, byte(len(additional))}
	b = append(b, name...)
	b = binary.BigEndian.AppendUint16(b, qtype)
	b = binary.BigEndian.AppendUint16(b, class)
	return append(b, slices.Concat(additional...)...)
}

// questions is a query with n questions.
func questions(n int, one string) []byte {
	b := []byte{0x42, 0x42, 1, 0, byte(n >> 8), byte(n), 0, 0, 0, 0, 0, 0}
	return append(b, strings.Repeat(one, n)...)
}

// opt is an OPT record.
func opt(options ...[]byte) []byte {
	all := slices.Concat(options...)
	b := []byte{0, 0, 41, 1232 >> 8, 1232 & 255, 0, 0, 0, 0, byte(len(all) >> 8), byte(len(all))}
	return append(b, all...)
}

// option is an EDNS option.
func option(code uint16, data ...byte) []byte {
	b := []byte{byte(code >> 8), byte(code), byte(len(data) >> 8), byte(len(data))}
	return append(b, data...)
}

// anyOption is one of 4 octets that is read in one of many ways.
func (m *maker) anyOption() []byte {
	codes := []uint16{3, 11, 19, 1, 5, 12, 15, 65001}
	return option(codes[m.IntN(len(codes))])
}

// fill makes a query whose options fill the datagram, before more records.
func (m *maker) fill(name []byte, one func() []byte, more ...[]byte) []byte {
	return m.fillBehind(name, nil, one, more...)
}

// fillBehind is fill with options before.
func (m *maker) fillBehind(name, options []byte, one func() []byte, more ...[]byte) []byte {
	room := server.BufferLen - len(query(name, 1, 1, append(more, opt())...))
	for next := one(); len(options)+len(next) <= room; next = one() {
		options = append(options, next...)
	}
	return query(name, 1, 1, append([][]byte{opt(options)}, more...)...)
}

// loaded is an OPT record with all that there is to ask for, and n options more.
func (m *maker) loaded(n int) []byte {
	options := slices.Concat(m.subnet(6), m.cookie(true), option(3), option(19))
	for range n {
		options = append(options, m.anyOption()...)
	}
	return opt(options)
}

// longRecords is n additional records with the longest names.
func (m *maker) longRecords(n int) (list [][]byte) {
	for range n {
		list = append(list, append(m.labels(127, "\x00"), "\x00\x01\x00\x01\x00\x00\x00\x00\x00\x00"...))
	}
	return list
}

// records makes a query whose additional records fill the datagram.
func (m *maker) records(name []byte, one func() []byte) []byte {
	q := query(name, 1, 1)
	n := 0
	for next := one(); len(q)+len(next) <= server.BufferLen; next = one() {
		q = append(q, next...)
		n++
	}
	binary.BigEndian.PutUint16(q[10:], uint16(n))
	return q
}

// subnet is a client subnet option of the longest prefix, of IPv4 or of IPv6: one of the home network's, mostly.
func (m *maker) subnet(family int) []byte {
	if family == 4 {
		return option(8, 0, 1, 24, 0, byte(1+m.IntN(220)), byte(m.IntN(256)), byte(m.IntN(256)))
	}
	data := []byte{0, 2, 128, 0, 0x20, 0x01, 0x0d, 0xb0 | byte(m.IntN(16))}
	data = binary.BigEndian.AppendUint64(data, m.Uint64())
	return option(8, binary.BigEndian.AppendUint32(data, m.Uint32())...)
}

// cookie is a client's cookie, and with forged a server's that only a hash tells from ours.
func (m *maker) cookie(forged bool) []byte {
	data := binary.BigEndian.AppendUint64(nil, m.Uint64())
	if forged {
		data = binary.BigEndian.AppendUint32(data, 1<<24)
		data = binary.BigEndian.AppendUint32(data, m.now)
		data = binary.BigEndian.AppendUint64(data, m.Uint64())
	}
	return option(10, data...)
}

// tsig is a TSIG record with the longest names.
func (m *maker) tsig() []byte {
	algorithm := m.labels(127, "\x00")
	n := len(algorithm) + 16
	b := append(m.labels(127, "\x00"), 0, 250, 0, 255, 0, 0, 0, 0, byte(n>>8), byte(n))
	return append(append(b, algorithm...), make([]byte, 16)...)
}
