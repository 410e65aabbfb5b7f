package health_test

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/miekg/dns"

	"geodns/pkg/health"
)

// FuzzAnswer checks that whatever a back end sends, a probe over HTTP ends in
// time with a reason fit for a log, and is good only for a status and body as
// wanted.
func FuzzAnswer(f *testing.F) {
	for _, answer := range []string{
		"", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.0 200\r\n\r\nall ok", "HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", "HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
		"HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\no", "220 mail ESMTP\r\n",
	} {
		f.Add([]byte(answer))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		for _, version := range []health.HTTPVersion{health.HTTP1, health.HTTP2} {
			got := probeAnswer(t, health.Check{Kind: health.HTTP, Body: "ok", Match: "o+k", Version: version}, answer)
			if got.OK && (!strings.HasPrefix(got.Reason, "status 2") || (version == health.HTTP1 && !strings.Contains(string(answer), "HTTP/"))) {
				t.Errorf("good: %q", got.Reason)
			}
		}
	})
}

// FuzzExpect checks the same of tcp checks, which are good if and only if the
// expected text is in what came first.
func FuzzExpect(f *testing.F) {
	f.Add([]byte("+PONG\r\n"))
	f.Add(append(make([]byte, health.ExpectMax-3), "PONG"...))
	f.Fuzz(func(t *testing.T, answer []byte) {
		got := probeAnswer(t, health.Check{Kind: health.TCP, Expect: "PONG"}, answer)
		if want := strings.Contains(string(answer[:min(len(answer), health.ExpectMax)]), "PONG"); got.OK != want {
			t.Errorf("%v: %q", got.OK, got.Reason)
		}
	})
}

// FuzzHandshake checks the same of what comes in place of a TLS handshake.
func FuzzHandshake(f *testing.F) {
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Add([]byte{21, 3, 3, 0, 2, 2, 40})
	f.Fuzz(func(t *testing.T, answer []byte) {
		if got := probeAnswer(t, health.Check{Kind: health.TLS}, answer); got.OK {
			t.Errorf("good: %q", got.Reason)
		}
	})
}

// FuzzDNSAnswer checks that a message is taken for an answer only if it has
// the ID and the question, and that it is good only with the record expected.
func FuzzDNSAnswer(f *testing.F) {
	query := new(dns.Msg).SetQuestion("www.example.", dns.TypeA)
	query.Id = 7
	for _, rcode := range []int{dns.RcodeSuccess, dns.RcodeNameError} {
		m := new(dns.Msg).SetRcode(query, rcode)
		m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: "www.example.", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(192, 0, 2, 1)})
		data, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		good, err := health.JudgeDNS(health.DNSQuery{Name: "www.example", Type: "A", Rcode: "NOERROR", Answers: []string{"192.0.2.1"}}, answer, 7)
		if err != nil {
			return
		}
		m := new(dns.Msg)
		if m.Unpack(answer) != nil || m.Id != 7 || !m.Response || m.Rcode != dns.RcodeSuccess || good != "answered NOERROR" ||
			len(m.Question) != 1 || !strings.EqualFold(m.Question[0].Name, "www.example.") || !strings.Contains(m.String(), "192.0.2.1") {
			t.Errorf("good: %v", m)
		}
	})
}

// FuzzParseCanary checks that every canary that is taken is a valid target
// with a line of its own.
func FuzzParseCanary(f *testing.F) {
	for _, text := range []string{
		"tcp://192.0.2.1:443", "tls://[2001:db8::1]:853?verify=false", "https://192.0.2.1/path?b&verify=false", "dns://192.0.2.53/example.com?type=NS",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		target, err := health.ParseCanary(text)
		if err != nil {
			return
		}
		if target.ID != text || len(target.Addrs) != 1 || !target.Addrs[0].IsValid() || target.Check.Validate() != nil ||
			strings.ContainsAny(target.Check.Tested(), "\r\n") {
			t.Errorf("%+v, %+v", target, target.Check)
		}
	})
}

// probeAnswer probes a back end that sends an answer whatever it is asked, and
// checks what holds for each probe.
func probeAnswer(t *testing.T, check health.Check, answer []byte) health.Result {
	t.Helper()
	dial := func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, far) }()
		go func() {
			_, _ = far.Write(answer)
			_ = far.Close()
		}()
		return near, nil
	}
	check.Port, check.Timeout = 80, time.Second
	got := health.Probe(t.Context(), check, netip.MustParseAddr("192.0.2.1"), "", dial, nil)
	if got.Reason == "" || len(got.Reason) > 210 || strings.ContainsFunc(got.Reason, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("unfit for a log: %q", got.Reason)
	}
	if got.Latency > 3*time.Second {
		t.Errorf("took %v", got.Latency)
	}
	return got
}
