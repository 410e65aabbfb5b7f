package health_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"geodns/pkg/health"
)

// TestProbeSends covers method and headers over both versions of HTTP.
func TestProbeSends(t *testing.T) {
	t.Parallel()
	requests := make(chan *http.Request, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { requests <- r }))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	at := addressOf(t, server.Listener.Addr())
	for _, version := range []health.HTTPVersion{health.AnyHTTP, health.HTTP1, health.HTTP2} {
		for _, method := range []string{"", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PURGE"} {
			check := health.Check{
				Kind: health.HTTP, Method: method, Version: version, Path: "/h?a=b", Host: "www.example.com",
				Headers: []health.Header{{Name: "x-probe", Value: "a b\tc"}, {Name: "Accept", Value: ""}, {Name: "x-probe", Value: "2"}},
			}
			wantResult(t, probe(t, check, at, nil), true, "status 200")
			r := <-requests
			want, major := method, 1
			if method == "" {
				want = "GET"
			}
			if version == health.HTTP2 {
				major = 2
			}
			if r.Method != want || r.ProtoMajor != major || r.Host != "www.example.com" || r.RequestURI != "/h?a=b" || r.ContentLength != 0 {
				t.Errorf("version %d: %s %s %s of %s, length %d", version, r.Method, r.RequestURI, r.Proto, r.Host, r.ContentLength)
			}
			if got := r.Header["X-Probe"]; len(got) != 2 || got[0] != "a b\tc" || got[1] != "2" {
				t.Errorf("version %d: headers %q", version, got)
			}
			if r.UserAgent() != "geodns-health-check" || len(r.Header["Accept-Encoding"]) > 0 {
				t.Errorf("version %d: headers %v", version, r.Header)
			}
		}
		check := health.Check{Kind: health.HTTP, Version: version, Headers: []health.Header{{Name: "user-agent", Value: "mine"}}}
		wantResult(t, probe(t, check, at, nil), true, "status 200")
		if got := (<-requests).Header["User-Agent"]; len(got) != 1 || got[0] != "mine" {
			t.Errorf("version %d: User-Agent %q", version, got)
		}
	}
}

// TestProbeMatch covers regular expressions, alone and beside a text.
func TestProbeMatch(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/lag":
			_, _ = io.WriteString(w, `{"lag": 12, "state": "ok"}`)
		case "/last":
			_, _ = io.WriteString(w, strings.Repeat(".", health.BodyMax-2)+"ok")
		case "/beyond":
			_, _ = io.WriteString(w, strings.Repeat(".", health.BodyMax-1)+"ok")
		case "/hangs":
			_, _ = io.WriteString(w, "ok")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	}))
	t.Cleanup(server.Close)
	at := addressOf(t, server.Listener.Addr())
	for _, tt := range []struct {
		path, match, body string
		ok                bool
		reason            string
	}{
		{"/lag", `"lag": [0-9]{1,2},`, "", true, "status 200"},
		{"/lag", `"lag": [0-9],`, "", false, `status 200, but the body does not match "\"lag\"`},
		{"/lag", `^\{.*\}$`, "ok", true, "status 200"},
		{"/lag", `^\{.*\}$`, "OK", false, `"OK" is not in the body`},
		{"/lag", `(?i)STATE`, "", true, "status 200"},
		{"/last", `ok$`, "ok", true, "status 200"},
		{"/beyond", `ok`, "", false, "does not match"},
		{"/none", `^$`, "", true, "status 200"},
		{"/hangs", `ok`, "", false, "timeout after 1s while reading the body"},
		{"/hangs", `ok`, "ok", false, "timeout after 1s while reading the body"},
	} {
		check := health.Check{Kind: health.HTTP, Path: tt.path, Match: tt.match, Body: tt.body}
		if tt.path == "/hangs" {
			check.Timeout = timeoutOf(tt.reason)
		}
		wantResult(t, probe(t, check, at, nil), tt.ok, tt.reason)
	}
}

// TestProbeHTTP2Server covers answers over HTTP/2 without TLS.
func TestProbeHTTP2Server(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case "/hangs":
			<-r.Context().Done()
		case "/begins":
			_, _ = io.WriteString(w, "o")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case "/endless":
			for r.Context().Err() == nil {
				_, _ = w.Write(make([]byte, 4096))
			}
		case "/header":
			w.Header().Set("X-Long", strings.Repeat("x", health.HeaderMax))
		case "/breaks":
			panic(http.ErrAbortHandler)
		case "/elsewhere":
			t.Error("followed")
		default:
			_, _ = io.WriteString(w, "ok")
		}
	}))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	at := addressOf(t, server.Listener.Addr())
	for _, tt := range []struct {
		path   string
		ok     bool
		reason string
	}{
		{"/", true, "status 200"},
		{"/moved", false, "status 302"},
		{"/hangs", false, "timeout after 1s while waiting for the answer"},
		{"/begins", false, "timeout after 1s while reading the body"},
		{"/endless", false, `"ok" is not in the body`},
		{"/header", false, ""},
		{"/breaks", false, ""},
	} {
		check := health.Check{Kind: health.HTTP, Version: health.HTTP2, Path: tt.path, Body: "ok", Timeout: timeoutOf(tt.reason)}
		wantResult(t, probe(t, check, at, nil), tt.ok, tt.reason)
	}
	old := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(old.Close)
	check := health.Check{Kind: health.HTTP, Version: health.HTTP2, Timeout: time.Second}
	if got := probe(t, check, addressOf(t, old.Listener.Addr()), nil); got.OK {
		t.Errorf("a server of HTTP/1.1 alone is good: %q", got.Reason)
	}
}

// TestProbeExpect covers what a tcp check sends and expects.
func TestProbeExpect(t *testing.T) {
	t.Parallel()
	at := rawServer(t, func(conn net.Conn) {
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		line, _ := bufio.NewReader(conn).ReadString('\n')
		switch strings.TrimSpace(line) {
		case "PING":
			_, _ = io.WriteString(conn, "+PO")
			_, _ = io.WriteString(conn, "NG\r\n")
		case "CLOSE":
		case "PART":
			_, _ = io.WriteString(conn, "+PO\x1b")
		case "HANG":
			_, _ = io.WriteString(conn, "+PO")
			_, _ = io.Copy(io.Discard, conn)
		case "FLOOD":
			for err := error(nil); err == nil; {
				_, err = io.WriteString(conn, strings.Repeat("x", 1000))
			}
		case "LAST":
			_, _ = io.WriteString(conn, strings.Repeat("x", health.ExpectMax-4)+"PONG")
		}
	})
	for _, tt := range []struct {
		send, expect string
		ok           bool
		reason       string
	}{
		{"PING\r\n", "PONG", true, "expected text came"},
		{"PING\r\n", "", true, "connected and sent"},
		{"PING\r\n", "PANG", false, `connection closed while waiting for the answer, after "+PONG\r\n"`},
		{"CLOSE\r\n", "PONG", false, "connection closed while waiting for the answer"},
		{"PART\r\n", "PONG", false, `connection closed while waiting for the answer, after "+PO\x1b"`},
		{"HANG\r\n", "PONG", false, `timeout after 1s while waiting for the answer, after "+PO"`},
		{"FLOOD\r\n", "PONG", false, `"PONG" is not in the first 4096 bytes, which begin with "xxx`},
		{"LAST\r\n", "PONG", true, "expected text came"},
	} {
		check := health.Check{Kind: health.TCP, Send: tt.send, Expect: tt.expect, Timeout: timeoutOf(tt.reason)}
		wantResult(t, probe(t, check, at, nil), tt.ok, tt.reason)
	}
	banner := rawServer(t, func(conn net.Conn) { _, _ = io.WriteString(conn, "220 mail ESMTP\r\n") })
	wantResult(t, probe(t, health.Check{Kind: health.TCP, Expect: "220 "}, banner, nil), true, "expected text came")
}

// TestProbeStopped covers that a probe that is stopped ends at once, wherever it stands.
func TestProbeStopped(t *testing.T) {
	t.Parallel()
	for _, check := range []health.Check{
		{Kind: health.HTTP},
		{Kind: health.HTTP, Version: health.HTTP2},
		{Kind: health.HTTPS},
		{Kind: health.TLS},
		{Kind: health.TCP, Expect: "x"},
		{Kind: health.DNS, Query: health.DNSQuery{Name: ".", TCP: true}},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		at := rawServer(t, func(conn net.Conn) {
			cancel()
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			_, _ = io.Copy(io.Discard, conn)
		})
		check.Port, check.Timeout = at.Port(), 5*time.Second
		got := health.Probe(ctx, check, at.Addr(), "", health.SystemDial(nil), nil)
		wantResult(t, got, false, "stopped")
		if got.Latency > 4*time.Second {
			t.Errorf("%v: ended after %v", check.Kind, got.Latency)
		}
		cancel()
	}
}

// TestOwnListeners covers which name servers are this very server.
func TestOwnListeners(t *testing.T) {
	t.Parallel()
	host := netip.MustParseAddr("192.0.2.99") // on no interface
	own := health.OwnListeners([]netip.AddrPort{
		netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("0.0.0.0:5300"), netip.MustParseAddrPort("[::1]:54"),
	})
	for _, tt := range []struct {
		to   string
		want bool
	}{
		{"192.0.2.1:53", true},
		{"[::ffff:192.0.2.1]:53", true},
		{"192.0.2.1:54", false},
		{"192.0.2.2:53", false},
		{"127.0.0.1:53", false},
		{"127.0.0.1:5300", true},
		{"127.0.0.53:5300", true},
		{"[::1]:5300", true},
		{"0.0.0.0:5300", true},
		{"0.0.0.0:54", true},
		{"[::1]:54", true},
		{netip.AddrPortFrom(host, 5300).String(), false},
	} {
		if got := own(netip.MustParseAddrPort(tt.to)); got != tt.want {
			t.Errorf("%s: %v", tt.to, got)
		}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		prefix := netip.MustParsePrefix(a.String())
		if !own(netip.AddrPortFrom(prefix.Addr(), 5300)) {
			t.Errorf("%v is not seen to be ours", prefix.Addr())
		}
	}
}

// TestProbeResolver covers that names are never resolved by this server: all
// name servers are it here, so that none is asked.
func TestProbeResolver(t *testing.T) {
	t.Parallel()
	dial := health.SystemDialOwn(func(netip.AddrPort) bool { return true })
	check := health.Check{Kind: health.TCP, Port: 1}
	got := health.Probe(t.Context(), check, netip.Addr{}, "host.invalid", dial, nil)
	wantResult(t, got, false, "resolving the name: ")
	wantResult(t, got, false, "is this server itself")

	at := rawServer(t, func(net.Conn) {})
	resolver := health.ResolverDial(func(to netip.AddrPort) bool { return to != at })
	conn, err := resolver(t.Context(), "tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if _, err := resolver(t.Context(), "udp", "127.0.0.1:53"); err == nil {
		t.Error("this server was asked")
	}
}
