package main_test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"geodns/internal/dnstest"
)

const (
	// amplificationMax is the octets of an answer over those of its query, without a valid server cookie: what QUIC grants an
	// address that it does not know (RFC 9000 section 8.1).
	amplificationMax = 3.0
	// amplificationNode is the node's name: of a usual length, as it stands in NSID and id.server.
	amplificationNode = "pop-fra1"
	// amplificationWindow is how many queries are under way at once: few enough for the sockets' buffers.
	amplificationWindow = 32
	// amplificationWait is how long to wait for an answer that must come.
	amplificationWait = 5 * time.Second
)

// probe is a query and what to call it.
type probe struct {
	wire []byte
	what string
}

// TestAmplification asks the sample zones for every name with every type, flag and option, and whatever else is short: without a
// server cookie nobody gets more than amplificationMax times what they sent.
func TestAmplification(t *testing.T) {
	zones, err := filepath.Abs("../../zones")
	if err != nil {
		t.Fatal(err)
	}
	at := fieldPort(t)
	// One worker: answers come in the order of the queries.
	startField(t, zones, []netip.AddrPort{at}, "node: "+amplificationNode+"\nworkers: 1\n")
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	worst := map[string]ratio{}
	var asked, answered, over, sumQuery, sumAnswer int
	for batch := range slices.Chunk(amplificationProbes(t, zones), amplificationWindow-1) {
		for i, n := range exchangeLengths(t, conn, batch) {
			r := ratio{what: batch[i].what, query: len(batch[i].wire), answer: n}
			asked++
			sumQuery += r.query
			sumAnswer += r.answer
			if n > 0 {
				answered++
			}
			if r.factor() > amplificationMax {
				over++
			}
			key, _, _ := strings.Cut(r.what, " +")
			if w, ok := worst[key]; !ok || r.factor() > w.factor() {
				worst[key] = r
			}
		}
	}
	list := slices.SortedFunc(maps.Values(worst), func(a, b ratio) int { return cmp.Compare(b.factor(), a.factor()) })
	t.Logf("%d queries, %d answered; %d octets answer %d: %.2f; %d answers over %.1f", asked, answered, sumAnswer, sumQuery,
		float64(sumAnswer)/float64(sumQuery), over, amplificationMax)
	for _, r := range list[:min(len(list), 10)] {
		t.Logf("%.2f: %d octets for %d: %s", r.factor(), r.answer, r.query, r.what)
	}
	if over > 0 {
		t.Errorf("%d of %d answers are over %.1f times their queries; the worst is %.2f times: %s", over, asked, amplificationMax, list[0].factor(), list[0].what)
	}
}

// fieldPort is an address of loopback with a port that is free.
func fieldPort(t *testing.T) netip.AddrPort {
	t.Helper()
	port, err := dnstest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))
}

// ratio is one query and its answer, in octets of UDP payload.
type ratio struct {
	what          string
	query, answer int
}

// factor is how much larger the answer is.
func (r ratio) factor() float64 { return float64(r.answer) / float64(r.query) }

// exchangeLengths sends a batch and gives the lengths of the answers, 0 where there is none. A last query that is always answered
// comes back when all others have been seen to.
func exchangeLengths(t *testing.T, conn *net.UDPConn, batch []probe) []int {
	t.Helper()
	last := []byte{0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1} // the root's A
	binary.BigEndian.PutUint16(last, uint16(len(batch)))
	for i, p := range batch {
		binary.BigEndian.PutUint16(p.wire, uint16(i))
		if _, err := conn.Write(p.wire); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Write(last); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(amplificationWait)); err != nil {
		t.Fatal(err)
	}
	lengths := make([]int, len(batch))
	buf := make([]byte, 1<<16)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("waiting for the answers to %d queries such as %s: %v", len(batch), batch[0].what, err)
		}
		i := int(binary.BigEndian.Uint16(buf))
		if n < 12 || i > len(batch) {
			t.Fatalf("an answer that nobody asked for: % x", buf[:n])
		}
		if i == len(batch) {
			return lengths
		}
		lengths[i] = n
	}
}

// amplificationProbes makes all queries.
func amplificationProbes(t *testing.T, zones string) []probe {
	t.Helper()
	names, types := sampleNames(t, zones)
	probes := oddProbes()
	for _, name := range names {
		for _, typ := range types {
			probes = append(probes, questionProbes(t, name, typ, dns.ClassINET)...)
		}
	}
	for _, name := range []string{"id.server.", "hostname.bind.", "version.server.", "version.bind.", "authors.bind.", "www.example.com.explain.geodns.", "."} {
		for _, typ := range []uint16{dns.TypeTXT, dns.TypeANY, dns.TypeA} {
			probes = append(probes, questionProbes(t, name, typ, dns.ClassCHAOS)...)
		}
	}
	return probes
}

// sampleNames gives the names of the sample zones, those above and below them and some in no zone; and all types to ask for: those
// of the zones and others.
func sampleNames(t *testing.T, zones string) ([]string, []uint16) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(zones, "*.zone"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no sample zones in %s: %v", zones, err)
	}
	names := []string{".", "x.", "com.", "invalid.", "www.example.org."}
	types := []uint16{
		dns.TypeA, dns.TypeAAAA, dns.TypeANY, dns.TypeRRSIG, dns.TypeTXT, dns.TypeMX, dns.TypeNS, dns.TypeSOA, dns.TypeDS, dns.TypeDNSKEY,
		dns.TypeCNAME, dns.TypeHTTPS, dns.TypeSVCB, 65400, dns.TypePTR, dns.TypeSRV, dns.TypeDNAME, dns.TypeMAILA, dns.TypeMAILB,
		dns.TypeHINFO, 12345, 0, dns.TypeOPT, 128, dns.TypeTKEY, dns.TypeTSIG, dns.TypeAXFR, dns.TypeIXFR,
	}
	steer := regexp.MustCompile(`\bSTEER\s+\S+`) // what no other parser knows
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		origin := dns.Fqdn(strings.TrimSuffix(filepath.Base(file), ".zone"))
		parser := dns.NewZoneParser(strings.NewReader(steer.ReplaceAllString(string(text), `TYPE65400 \# 0`)), origin, file)
		for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
			owner := rr.Header().Name
			types = append(types, rr.Header().Rrtype)
			for name := owner; dns.IsSubDomain(origin, name); {
				names = append(names, name)
				up, end := dns.NextLabel(name, 0)
				if end {
					break
				}
				name = name[up:]
			}
			names = append(names, "*."+owner, "x."+owner, "a.b.c.d."+owner, strings.Repeat("n", 63)+"."+owner)
		}
		if err := parser.Err(); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(names)
	slices.Sort(types)
	return slices.Compact(names), slices.Compact(types)
}

// questionProbes asks one question with all flags and options.
func questionProbes(t *testing.T, name string, typ, class uint16) []probe {
	t.Helper()
	var probes []probe
	question := fmt.Sprintf("%s %s %s", name, dns.ClassToString[class], dns.Type(typ))
	for flags := range 4 {
		m := new(dns.Msg)
		m.Question = []dns.Question{{Name: name, Qtype: typ, Qclass: class}}
		m.RecursionDesired, m.CheckingDisabled = flags&1 != 0, flags&2 != 0
		words := question
		if m.RecursionDesired {
			words += " +rd"
		}
		if m.CheckingDisabled {
			words += " +cd"
		}
		probes = append(probes, probe{pack(t, m), words + " +noedns"})
		for _, size := range []uint16{0, 512, 1232, 4096, 65535} {
			for _, do := range []bool{false, true} {
				for options, list := range optionSets() {
					if flags != 0 && options != "" && options != "all" {
						continue // the flags change no length
					}
					opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}, Option: list}
					opt.SetUDPSize(size)
					opt.SetDo(do)
					m.Extra = []dns.RR{opt}
					probes = append(probes, probe{pack(t, m), fmt.Sprintf("%s +edns size %d do %t %s", words, size, do, options)})
				}
				m.Extra = nil
			}
		}
	}
	return probes
}

// optionSets are the EDNS options to ask with, none with a server cookie that is valid.
func optionSets() map[string][]dns.EDNS0 {
	nsid := &dns.EDNS0_NSID{Code: dns.EDNS0NSID}
	zoneVersion := &dns.EDNS0_LOCAL{Code: 19}
	ecs4 := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(198, 51, 100, 0).To4()}
	ecs6 := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 2, SourceNetmask: 56, Address: net.ParseIP("2001:db8::")}
	ecs0 := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, Address: net.IPv4zero.To4()}
	cookie := &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"}
	forged := &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef" + "01000000" + "00000000" + "0123456789abcdef"}
	badCookie := &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "01"}
	keepalive := &dns.EDNS0_LOCAL{Code: dns.EDNS0TCPKEEPALIVE}
	unknown := &dns.EDNS0_LOCAL{Code: 65001}
	return map[string][]dns.EDNS0{
		"":                 nil,
		"nsid":             {nsid},
		"zoneversion":      {zoneVersion},
		"nsid zoneversion": {nsid, zoneVersion},
		"ecs 24":           {ecs4},
		"ecs 56":           {ecs6},
		"ecs 0":            {ecs0},
		"cookie":           {cookie},
		"forged cookie":    {forged},
		"short cookie":     {badCookie},
		"keepalive":        {keepalive},
		"unknown":          {unknown},
		"all":              {nsid, zoneVersion, cookie, keepalive, unknown, ecs4},
	}
}

// oddProbes are short messages that are no questions, or malformed.
func oddProbes() []probe {
	var probes []probe
	add := func(what string, parts ...[]byte) {
		probes = append(probes, probe{slices.Concat(parts...), what})
	}
	header := func(flags, qd, an, ns, ar uint16) []byte {
		b := []byte{0, 0}
		for _, n := range []uint16{flags, qd, an, ns, ar} {
			b = binary.BigEndian.AppendUint16(b, n)
		}
		return b
	}
	opt := func(version byte, options ...byte) []byte {
		return append([]byte{0, 0, 41, 0x10, 0, 0, version, 0, 0, 0, byte(len(options))}, options...)
	}
	root := []byte{0, 0, 1, 0, 1}
	chRoot := []byte{0, 0, 16, 0, 3}
	tsig := slices.Concat([]byte{0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 17, 0}, make([]byte, 16))
	for opcode := range uint16(16) {
		for rcode := range uint16(2) {
			flags := opcode<<11 | rcode
			name := fmt.Sprintf("opcode %d rcode %d", opcode, rcode)
			add(name+" header alone", header(flags, 0, 0, 0, 0))
			add(name+" header alone that claims a question", header(flags, 1, 0, 0, 0))
			add(name+" two questions", header(flags, 2, 0, 0, 0), root, root)
			add(name+" the root", header(flags, 1, 0, 0, 0), root)
			add(name+" the root +edns", header(flags, 1, 0, 0, 1), root, opt(0))
			add(name+" the root with an OPT record alone +edns", header(flags, 0, 0, 0, 1), opt(0))
			add(name+" cookie alone +edns", header(flags, 0, 0, 0, 1), opt(0, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8))
			add(name+" EDNS version 1 +edns", header(flags, 1, 0, 0, 1), root, opt(1))
			add(name+" OPT twice +edns", header(flags, 1, 0, 0, 2), root, opt(0), opt(0))
			add(name+" answers in a query +edns", header(flags, 1, 1, 0, 1), root, opt(0))
			add(name+" authority in a query", header(flags, 1, 0, 1, 0), root)
			add(name+" option overrun +edns", header(flags, 1, 0, 0, 1), root, opt(0, 0, 3, 0, 9))
			add(name+" TSIG", header(flags, 1, 0, 0, 1), root, tsig)
			add(name+" TSIG behind OPT +edns", header(flags, 1, 0, 0, 2), root, opt(0), tsig)
			add(name+" pointer to itself", header(flags, 1, 0, 0, 0), []byte{0xC0, 12, 0, 1, 0, 1})
			add(name+" class CH", header(flags, 1, 0, 0, 0), chRoot)
			add(name+" class CH +edns", header(flags, 1, 0, 0, 1), chRoot, opt(0))
			add(name+" class 0", header(flags, 1, 0, 0, 0), []byte{0, 0, 1, 0, 0})
			add(name+" class ANY +edns", header(flags, 1, 0, 0, 1), []byte{0, 0, 1, 0, 255}, opt(0))
		}
	}
	return probes
}

// pack makes a message's octets.
func pack(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}
