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

	"geodns/pkg/health"
)

// FuzzAnswer checks that whatever a back end sends, a probe ends in time with
// a reason fit for a log, and is good only for a status and body as wanted.
func FuzzAnswer(f *testing.F) {
	for _, answer := range []string{
		"", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.0 200\r\n\r\nall ok", "HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", "HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
		"HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\no", "220 mail ESMTP\r\n",
	} {
		f.Add([]byte(answer))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		dial := func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, far) }()
			go func() {
				_, _ = far.Write(answer)
				_ = far.Close()
			}()
			return near, nil
		}
		check := health.Check{Kind: health.HTTP, Port: 80, Body: "ok", Timeout: time.Second}
		got := health.Probe(t.Context(), check, netip.MustParseAddr("192.0.2.1"), "", dial, nil)
		if got.OK && (!strings.Contains(string(answer), "HTTP/") || !strings.HasPrefix(got.Reason, "status 2")) {
			t.Errorf("good: %q", got.Reason)
		}
		if got.Reason == "" || len(got.Reason) > 210 || strings.ContainsFunc(got.Reason, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("unfit for a log: %q", got.Reason)
		}
		if got.Latency > 3*time.Second {
			t.Errorf("took %v", got.Latency)
		}
	})
}
