package server_test

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"geodns/pkg/dnswire"
	"geodns/pkg/server"
)

// FuzzAnswer sends any packet to the answer path: it must not panic, its answer must be a response to that query that
// another library can read and that fits, and the answer must get no answer. Packets of an odd ID go to a server that
// requires no cookies, and whose zone has client subnets off: their answers from the zone hold none.
func FuzzAnswer(f *testing.F) {
	w := testWorld(f)
	for _, load := range workloads(f) {
		f.Add(load.queries[0], false)
		odd := bytes.Clone(load.queries[0])
		odd[1] |= 1
		f.Add(odd, false)
	}
	for _, name := range []string{"www", "link", "many", "dead", "host", "big", "none", "x.sub"} {
		f.Add(ask(f, name+".example.com.", dns.TypeA, edns(1232, ecs("203.0.113.0/24")), func(m *dns.Msg) { m.Id = 1 }), false)
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
	off := cfg
	off.RequireCookie, off.ECSOff = false, []string{"example.com."}
	var responders [2]*server.Responder
	for i, cfg := range []server.Config{cfg, off} {
		var err error
		if responders[i], err = server.NewResponder(server.At(cfg, func() time.Time { return time.Unix(1_800_000_000, 0) }), w); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, query []byte, tcp bool) {
		transport, room := server.UDP, server.BufferLen
		if tcp {
			transport, room = server.TCP, dnswire.MessageMax
		}
		odd := 0
		if len(query) > 1 {
			odd = int(query[1] & 1)
		}
		r := responders[odd]
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
		case odd == 1 && m.Authoritative && q.Class == dnswire.ClassIN && hasSubnet(&m):
			t.Fatalf("a client subnet from a zone that has them off:\n%v", &m)
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

// hasSubnet says whether an answer holds a client subnet.
func hasSubnet(m *dns.Msg) bool {
	e := m.IsEdns0()
	return e != nil && slices.ContainsFunc(e.Option, func(o dns.EDNS0) bool { return o.Option() == dns.EDNS0SUBNET })
}
