package server_test

import (
	"testing"

	"github.com/miekg/dns"

	"geodns/pkg/dnswire"
	"geodns/pkg/server"
)

// TestA02Loop makes two servers talk: a query that can only be answered with an error goes to the one from the socket of the
// other, as if forged. The error comes back to that socket, and that must be the end: it is dropped, and counted.
func TestA02Loop(t *testing.T) {
	w := testWorld(t)
	good := ask(t, "static.example.com.", dns.TypeA)
	errors := []struct {
		rcode int
		query []byte
	}{
		{dns.RcodeFormatError, good[:20]},
		{dns.RcodeServerFailure, ask(t, "dead.example.com.", dns.TypeA, edns(1232))},
		{dns.RcodeNameError, ask(t, "none.example.com.", dns.TypeA)},
		{dns.RcodeNotImplemented, ask(t, "static.example.com.", dns.TypeA, func(m *dns.Msg) { m.Opcode = dns.OpcodeStatus })},
		{dns.RcodeRefused, ask(t, "www.example.net.", dns.TypeA)},
		{dns.RcodeNotAuth, ask(t, "static.example.com.", dns.TypeA, signed)},
		{dns.RcodeBadVers, ask(t, "static.example.com.", dns.TypeA, edns(1232), func(m *dns.Msg) { m.IsEdns0().SetVersion(1) })},
		{dns.RcodeBadCookie, ask(t, "static.example.com.", dns.TypeA, edns(1232, cookie(clientCookie)))},
	}
	paths(t, func(t *testing.T, cfg server.Config) {
		cfg.Workers, cfg.CookieSecrets, cfg.RequireCookie = 1, make([]server.CookieSecret, 1), true
		a, b := serve(t, cfg, w), serve(t, cfg, w)
		for i, e := range errors {
			for _, pair := range [][2]*server.Server{{a, b}, {b, a}} {
				victim, forged := pair[0], pair[1]
				if err := server.SendFrom(forged, 0, e.query, victim.Addrs()[0]); err != nil {
					t.Fatal(err)
				}
				poll(t, dns.RcodeToString[e.rcode]+" to be dropped", func() bool {
					s := forged.Stats()
					return s.Drops[server.DropResponse] == uint64(i+1)
				})
				if got := victim.Stats().Rcodes[e.rcode]; got != 1 {
					t.Errorf("%d answers with %s, want 1", got, dns.RcodeToString[e.rcode])
				}
			}
		}
		// Whatever one had sent, the other would have read before a packet that comes now.
		for _, s := range []*server.Server{a, b, a} {
			exchange(t, "udp", s.Addrs()[0], good)
		}
		for i, s := range []*server.Server{a, b} {
			n := uint64(len(errors))
			stats := s.Stats()
			asked := uint64(2 - i) // by us
			if got := stats.Queries[server.UDP][server.IPv4]; got != 2*n+asked || stats.Drops[server.DropResponse] != n {
				t.Errorf("server %d got %d packets, want %d queries, as many errors and %d of ours; drops %v", i, got, n, asked, stats.Drops)
			}
		}
	})
}

// signed puts a TSIG of a key that nobody knows behind all.
func signed(m *dns.Msg) {
	m.Extra = append(m.Extra, &dns.TSIG{
		Hdr: dns.RR_Header{Name: "key.", Rrtype: dns.TypeTSIG, Class: dns.ClassANY}, Algorithm: dns.HmacSHA256, OrigId: m.Id,
	})
}

// cookie is a COOKIE option, given in hexadecimal.
func cookie(text string) *dns.EDNS0_COOKIE {
	return &dns.EDNS0_COOKIE{Code: dnswire.OptionCookie, Cookie: text}
}
