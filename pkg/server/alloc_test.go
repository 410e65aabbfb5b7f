package server_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"geodns/pkg/server"
)

// workload is a batch of queries of one kind.
type workload struct {
	about   string
	want    string // is in the text of the first answer
	queries [][]byte
	edit    func(*server.Config) // what the answer path is to have beside the rest; nil: nothing
}

// responder makes the answer path that the workload is for.
func (w *workload) responder(t testing.TB, world *server.World) *server.Responder {
	t.Helper()
	cfg := server.Config{Identity: "pop-1", CookieSecrets: make([]server.CookieSecret, 2)}
	if w.edit != nil {
		w.edit(&cfg)
	}
	r, err := server.NewResponder(cfg, world)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// workloads is a batch of each kind of answer.
func workloads(t testing.TB) []workload {
	t.Helper()
	const static, apex = "static.example.com.", "example.com."
	all := []workload{}
	batch := func(about, want string, query func(i int) []byte, edit ...func(*server.Config)) {
		w := workload{about: about, want: want}
		for i := range server.BatchMax {
			w.queries = append(w.queries, query(i))
		}
		for _, f := range edit {
			w.edit = f
		}
		all = append(all, w)
	}
	// same asks for A records again and again, with these options.
	same := func(about, want, name string, options []dns.EDNS0, edit ...func(*server.Config)) {
		batch(about, want, func(int) []byte { return ask(t, name, dns.TypeA, edns(1232, options...)) }, edit...)
	}
	nsid := &dns.EDNS0_NSID{Code: dns.EDNS0NSID}
	subnet := []dns.EDNS0{ecs("203.0.113.0/24")}
	required := func(cfg *server.Config) { cfg.RequireCookie = true }
	ecsOff := func(cfg *server.Config) { cfg.ECSOff = []string{apex} }
	same("Static", "NOERROR aa qr\n=", static, nil)
	batch("Steered", "192.0.2.10", func(int) []byte { return ask(t, "www.example.com.", dns.TypeA) })
	batch("SteeredECS", "192.0.2.10", func(i int) []byte {
		return ask(t, "www.example.com.", dns.TypeA, edns(1232, ecs(fmt.Sprintf("%d.%d.3.0/24", 7*i, i))))
	})
	batch("NXDOMAIN", "NXDOMAIN", func(i int) []byte { return ask(t, fmt.Sprintf("none%d.example.com.", i), dns.TypeA, edns(1232)) })
	batch("NODATA", "NOERROR aa qr\n?", func(int) []byte { return ask(t, static, dns.TypeMX, edns(1232)) })
	batch("Referral", "NOERROR qr", func(i int) []byte { return ask(t, fmt.Sprintf("h%d.sub.example.com.", i), dns.TypeA, edns(1232)) })
	same("Chain", "192.0.2.10", "link.example.com.", nil)
	same("Refused", "REFUSED", "www.example.net.", nil)
	same("HostName", "cdn.example.net.", "host.example.com.", nil)
	batch("Chaos", "pop-1", func(int) []byte { return ask(t, "id.server.", dns.TypeTXT, chaosClass) })
	batch("Cookie", "NOERROR aa qr\n=", func(i int) []byte {
		return ask(t, static, dns.TypeA, edns(1232, cookie(fmt.Sprintf("%016x%032x", i, i))))
	})
	same("ZoneVersion", "NOERROR aa qr\n=", static, []dns.EDNS0{zoneVersion})
	batch("TSIG", "NOTAUTH", func(int) []byte { return ask(t, static, dns.TypeA, signed) })
	batch("Malformed", "FORMERR", func(int) []byte { return ask(t, static, dns.TypeA)[:20] })
	same("BadCookie", "BADCOOKIE", static, []dns.EDNS0{cookie(clientCookie)}, required)
	same("CookieEcho", "NOERROR aa qr\n=", static, []dns.EDNS0{cookie(validCookie(t))}, required)
	same("NSID", hex.EncodeToString([]byte("pop-1")), static, []dns.EDNS0{nsid})
	same("ZoneVersionCookie", "NOERROR aa qr\n=", static, []dns.EDNS0{zoneVersion, cookie(clientCookie)})
	batch("TSIGwithOPT", "OPT", func(int) []byte { return ask(t, static, dns.TypeA, edns(1232), signed) })
	batch("ANYtruncated", "NOERROR aa qr tc", func(int) []byte { return ask(t, apex, dns.TypeANY, edns(1232, nsid)) })
	same("ServFail", "no target is usable", "dead.example.com.", nil)
	same("SteeredECSOff", "192.0.2.10", "www.example.com.", subnet, ecsOff)
	same("ChainECS", "OPT 203.0.113.0/24/0", "link.example.com.", subnet)
	same("ChainECSOff", "www.example.com. 30 IN A 192.0.2.10", "link.example.com.", subnet, ecsOff)
	batch("ChaosRefused", "(Prohibited)", func(int) []byte { return ask(t, "version.server.", dns.TypeTXT, chaosClass, edns(1232)) })
	return all
}

// validCookie is a cookie that clientEU gets from the answer path of a workload.
func validCookie(t testing.TB) string {
	t.Helper()
	r := (&workload{}).responder(t, testWorld(t))
	query := ask(t, "static.example.com.", dns.TypeA, edns(1232, cookie(clientCookie)))
	_, back, _ := cookieOf(t, r.Answer(server.UDP, clientEU, query, server.BufferLen))
	return back
}

func TestAnswerNoAllocs(t *testing.T) {
	w := testWorld(t)
	for _, load := range workloads(t) {
		r := load.responder(t, w)
		if got := text(t, r.Answer(server.UDP, clientEU, load.queries[0], server.BufferLen)); !strings.Contains(got, load.want) {
			t.Errorf("%s: no %q in %s", load.about, load.want, got)
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
			r := load.responder(b, w)
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
