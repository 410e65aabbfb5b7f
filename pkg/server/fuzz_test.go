package server_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"geodns/pkg/dnswire"
	"geodns/pkg/server"
)

// FuzzAnswer sends any packet to the answer path: it must not panic, its answer must be a response to that query that
// another library can read and that fits, and the answer must get no answer.
func FuzzAnswer(f *testing.F) {
	w := testWorld(f)
	for _, load := range workloads(f) {
		f.Add(load.queries[0], false)
	}
	f.Add(ask(f, "many.example.com.", dns.TypeAAAA, edns(4096, ecs("2001:db8::/56"), &dns.EDNS0_NSID{Code: dns.EDNS0NSID})), true)
	f.Add(ask(f, "www.example.com.", dns.TypeANY, edns(0, ecs("0.0.0.0/0"))), true)
	cfg := server.Config{
		Identity: "pop-1", Version: "test", CookieSecrets: []server.CookieSecret{{1}, {2}}, RequireCookie: true,
		ChaosAllow: []netip.Prefix{netip.PrefixFrom(clientEU, 24)},
		Chaos: func(_ *server.World, q *dnswire.Query, _ netip.Addr) ([]string, bool) {
			return []string{string(q.Name[:q.NameLen])}, q.Labels > 1
		},
	}
	r, err := server.NewResponder(server.At(cfg, func() time.Time { return time.Unix(1_800_000_000, 0) }), w)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query []byte, tcp bool) {
		transport, room := server.UDP, server.BufferLen
		if tcp {
			transport, room = server.TCP, dnswire.MessageMax
		}
		answer := r.Answer(transport, clientEU, query, room)
		if answer == nil {
			return
		}
		var m dns.Msg
		switch {
		case len(answer) < dnswire.HeaderLen || !tcp && len(answer) > server.UDPPayloadDefault:
			t.Fatalf("an answer of %d octets", len(answer))
		case !bytes.Equal(answer[:2], query[:2]):
			t.Fatalf("ID %x for %x", answer[:2], query[:2])
		}
		if err := m.Unpack(answer); err != nil {
			t.Fatalf("unpacking the answer %x: %v", answer, err)
		}
		var q dnswire.Query
		q.Parse(query)
		switch {
		case (m.IsEdns0() != nil) != q.EDNS:
			t.Fatalf("OPT in the query: %t; the answer:\n%v", q.EDNS, &m)
		case !tcp && !q.EDNS && len(answer) > dnswire.UDPMin:
			t.Fatalf("an answer of %d octets without EDNS", len(answer))
		case !m.Response || m.RecursionAvailable || m.Zero || m.AuthenticatedData || m.CheckingDisabled:
			t.Fatalf("header %v", m.MsgHdr)
		case m.Truncated && len(m.Answer)+len(m.Ns) > 0:
			t.Fatalf("truncated in part:\n%v", &m)
		case len(m.Question) == 1 && !bytes.HasPrefix(answer[dnswire.HeaderLen:], query[dnswire.HeaderLen:dnswire.HeaderLen+1]):
			t.Fatalf("another question: %x for %x", answer, query)
		}
		if again := r.Answer(transport, clientEU, answer, room); again != nil {
			t.Fatalf("an answer is answered: %x", again)
		}
	})
}
