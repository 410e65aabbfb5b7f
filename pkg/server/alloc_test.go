package server_test

import (
	"fmt"
	"testing"

	"github.com/miekg/dns"

	"geodns/pkg/dnswire"
	"geodns/pkg/server"
)

// workload is a batch of queries of one kind.
type workload struct {
	about   string
	queries [][]byte
}

// workloads is a batch of each kind of answer.
func workloads(t testing.TB) []workload {
	t.Helper()
	batch := func(about string, query func(i int) []byte) workload {
		w := workload{about: about}
		for i := range server.BatchMax {
			w.queries = append(w.queries, query(i))
		}
		return w
	}
	return []workload{
		batch("Static", func(int) []byte { return ask(t, "static.example.com.", dns.TypeA, edns(1232)) }),
		batch("Steered", func(int) []byte { return ask(t, "www.example.com.", dns.TypeA) }),
		batch("SteeredECS", func(i int) []byte {
			return ask(t, "www.example.com.", dns.TypeA, edns(1232, ecs(fmt.Sprintf("%d.%d.3.0/24", 7*i, i))))
		}),
		batch("NXDOMAIN", func(i int) []byte { return ask(t, fmt.Sprintf("none%d.example.com.", i), dns.TypeA, edns(1232)) }),
		batch("NODATA", func(int) []byte { return ask(t, "static.example.com.", dns.TypeMX, edns(1232)) }),
		batch("Referral", func(i int) []byte { return ask(t, fmt.Sprintf("h%d.sub.example.com.", i), dns.TypeA, edns(1232)) }),
		batch("Chain", func(int) []byte { return ask(t, "link.example.com.", dns.TypeA, edns(1232)) }),
		batch("Refused", func(int) []byte { return ask(t, "www.example.net.", dns.TypeA, edns(1232)) }),
		batch("HostName", func(int) []byte { return ask(t, "host.example.com.", dns.TypeA, edns(1232)) }),
		batch("Chaos", func(int) []byte { return ask(t, "id.server.", dns.TypeTXT, chaosClass) }),
		batch("Cookie", func(i int) []byte {
			return ask(t, "static.example.com.", dns.TypeA, edns(1232, &dns.EDNS0_COOKIE{Code: dnswire.OptionCookie, Cookie: fmt.Sprintf("%016x%032x", i, i)}))
		}),
		batch("ZoneVersion", func(int) []byte { return ask(t, "static.example.com.", dns.TypeA, edns(1232, zoneVersion)) }),
		batch("TSIG", func(int) []byte {
			return ask(t, "static.example.com.", dns.TypeA, func(m *dns.Msg) {
				m.Extra = append(m.Extra, &dns.TSIG{Hdr: dns.RR_Header{Name: "key.", Rrtype: dns.TypeTSIG, Class: dns.ClassANY}, Algorithm: dns.HmacSHA256})
			})
		}),
		batch("Malformed", func(int) []byte { return ask(t, "static.example.com.", dns.TypeA)[:20] }),
	}
}

func TestAnswerNoAllocs(t *testing.T) {
	w := testWorld(t)
	for _, load := range workloads(t) {
		r, err := server.NewResponder(server.Config{Identity: "pop-1", CookieSecrets: make([]server.CookieSecret, 2)}, w)
		if err != nil {
			t.Fatal(err)
		}
		r.Fill(load.queries, clientEU)
		if n := testing.AllocsPerRun(100, func() {
			r.Refill(load.queries)
			r.AnswerBatch()
		}); n != 0 {
			t.Errorf("%s: %v allocations a batch, want 0", load.about, n)
		}
	}
}

// BenchmarkAnswer measures whole answers, a batch at a time, without sockets; ns/query is the figure to compare.
func BenchmarkAnswer(b *testing.B) {
	w := testWorld(b)
	for _, load := range workloads(b) {
		b.Run(load.about, func(b *testing.B) {
			r, err := server.NewResponder(server.Config{Identity: "pop-1", CookieSecrets: make([]server.CookieSecret, 2)}, w)
			if err != nil {
				b.Fatal(err)
			}
			r.Fill(load.queries, clientEU)
			b.ReportAllocs()
			for b.Loop() {
				r.Refill(load.queries)
				r.AnswerBatch()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(load.queries)), "ns/query")
		})
	}
}
