package server_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"

	"geodns/internal/dnstest"
	"geodns/pkg/server"
)

// peerZone is without what only we serve.
const peerZone = `
$ORIGIN example.com.
$TTL 300
@       SOA   ns1 hostmaster 1 7200 3600 1209600 60
@       NS    ns1
ns1     A     192.0.2.53
static  A     192.0.2.1
sub     NS    ns.sub
ns.sub  A     192.0.2.99
link    CNAME static
`

// TestPeers sends the same odd packets to NSD and Knot, and compares the code, the flags and the counts of what comes back.
// Where a case says so we differ from one of them, for the reason given.
func TestPeers(t *testing.T) {
	const (
		class   = "A-12: class ANY is refused, so that it is the same on every transport"
		records = "NSD refuses what no query has, Knot ignores it"
		ignored = "as NSD and BIND do; Knot answers FORMERR"
		silent  = "A-03: FORMERR with the ID echoed; Knot drops it"
		cookie  = "A-40: malformed cookies are FORMERR also where cookies are not used"
		meta    = "A-11: never NODATA for a type that cannot be asked for"
	)
	both := func(why string) map[string]string { return map[string]string{"nsd": why, "knotd": why} }
	knot := func(why string) map[string]string { return map[string]string{"knotd": why} }
	good := ask(t, "static.example.com.", dns.TypeA)
	withOPT := ask(t, "static.example.com.", dns.TypeA, edns(1232))
	at := func(wire []byte, at int, b ...byte) []byte {
		wire = bytes.Clone(wire)
		copy(wire[at:], b)
		return wire
	}
	local := func(code uint16, data ...byte) dns.EDNS0 { return &dns.EDNS0_LOCAL{Code: code, Data: data} }
	cases := []struct {
		about   string
		query   []byte
		differs map[string]string // by peer: why
	}{
		{"plain", good, nil},
		{"EDNS", withOPT, nil},
		{"all header bits but QR, opcode and RCODE", at(good, 2, 0x07, 0xF0), nil},
		{"NXDOMAIN", ask(t, "none.example.com.", dns.TypeA), nil},
		{"NODATA", ask(t, "static.example.com.", dns.TypeTXT), nil},
		{"referral", ask(t, "a.sub.example.com.", dns.TypeA), nil},
		{"chain", ask(t, "link.example.com.", dns.TypeA), nil},
		{"outside", ask(t, "example.net.", dns.TypeA), nil},
		{"ANY", ask(t, "static.example.com.", dns.TypeANY), nil},
		{"class ANY", at(good, len(good)-1, 255), both(class)},
		{"class HS", at(good, len(good)-1, 4), nil},
		{"STATUS", at(good, 2, 2<<3), nil},
		{"opcode 15", at(good, 2, 15<<3), nil},
		{"no question", at(good, 5, 0)[:12], nil},
		{"two questions", append(at(good, 5, 2), good[12:]...), knot(silent)},
		{"header alone", good[:12], knot(silent)},
		{"pointer in the question", at(good, 12, 0xC0, 12), knot(silent)},
		{"label type 0x40", at(good, 12, 0x41), knot(silent)},
		{"trailing octets", append(bytes.Clone(good), 0, 0, 0), knot(ignored)},
		{"a record in the answer section", append(at(good, 7, 1), "\xC0\x0C\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x01\x02\x03\x04"...), knot(records)},
		{"version 1", ask(t, "static.example.com.", dns.TypeA, edns(1232), func(m *dns.Msg) { m.IsEdns0().SetVersion(1) }), nil},
		{"two OPT", append(at(withOPT, 11, 2), withOPT[len(good):]...), nil},
		{"option overrun", append(at(withOPT, len(withOPT)-2, 0, 4), 0, 3, 0, 9), nil},
		{"unknown option", ask(t, "static.example.com.", dns.TypeA, edns(1232, local(65001, 1))), nil},
		{"unknown EDNS flags", at(withOPT, len(withOPT)-4, 0x7F, 0xFF), nil},
		{"cookie of 9", ask(t, "static.example.com.", dns.TypeA, edns(1232, local(10, make([]byte, 9)...))), both(cookie)},
		{"type OPT", ask(t, "static.example.com.", dns.TypeOPT), both(meta)},
		{"type NXNAME", ask(t, "static.example.com.", 128), both(meta)},
		{"EDNS size 0", ask(t, "static.example.com.", dns.TypeA, edns(0)), nil},
	}
	set := loadSet(t, map[string]string{"example.com.zone": peerZone})
	table := testTable(t)
	w, err := server.NewWorld(set, table, testStates(t, table), nil)
	if err != nil {
		t.Fatal(err)
	}
	ours := serve(t, server.Config{}, w)
	for name, start := range map[string]func(testing.TB, map[string]string) *dnstest.Peer{"nsd": dnstest.StartNSD, "knotd": dnstest.StartKnot} {
		t.Run(name, func(t *testing.T) {
			peer := start(t, peerFile(t))
			for _, c := range cases {
				t.Run(c.about, func(t *testing.T) {
					why, known := c.differs[peer.Name]
					us := outline(t, ours.Addrs()[0], c.query, patience)
					wait := patience
					if why == silent {
						wait = 100 * time.Millisecond // for an answer that does not come
					}
					them := outline(t, netip.MustParseAddrPort(peer.Addr), c.query, wait)
					switch {
					case us != them && !known:
						t.Errorf("ours: %s; %s: %s", us, peer.Name, them)
					case us == them && known:
						t.Errorf("we no longer differ: %s", why)
					}
				})
			}
		})
	}
}

// peerFile writes the zone where a peer reads it.
func peerFile(t *testing.T) map[string]string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "example.com.zone")
	if err := os.WriteFile(file, []byte(peerZone), 0o600); err != nil {
		t.Fatal(err)
	}
	return map[string]string{"example.com.": file}
}

// outline is the code and the flags of an answer by UDP, and if it is no error, the counts.
func outline(t *testing.T, addr netip.AddrPort, query []byte, wait time.Duration) string {
	t.Helper()
	answer, err := roundTrip("udp", addr, query, wait)
	if err != nil {
		return "none: " + err.Error()
	}
	var m dns.Msg
	if err := m.Unpack(answer); err != nil {
		return fmt.Sprintf("unreadable: %v", err)
	}
	out := fmt.Sprintf("%s aa=%t tc=%t rd=%t ra=%t ad=%t cd=%t z=%t", dns.RcodeToString[m.Rcode], m.Authoritative, m.Truncated,
		m.RecursionDesired, m.RecursionAvailable, m.AuthenticatedData, m.CheckingDisabled, m.Zero)
	if m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError {
		out += fmt.Sprintf(" question=%d records=%d,%d,%d opt=%t", len(m.Question), len(m.Answer), len(m.Ns), len(m.Extra), m.IsEdns0() != nil)
	}
	return out
}
