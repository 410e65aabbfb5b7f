package health_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
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

// probe makes one probe of a loopback port over the system's sockets.
func probe(t *testing.T, check health.Check, at netip.AddrPort, roots *x509.CertPool) health.Result {
	t.Helper()
	check.Port = at.Port()
	return health.Probe(t.Context(), check, at.Addr(), "", health.SystemDial(nil), roots)
}

// timeoutOf is the time-out of a probe that shall end with a reason. Where it is the time-out itself, a busy machine comes within it as far
// as the probe shall; else nothing comes near it.
func timeoutOf(reason string) time.Duration {
	if strings.HasPrefix(reason, "timeout") {
		return time.Second
	}
	return 5 * time.Second
}

// wantResult checks how a probe ended and that its reason holds text.
func wantResult(t *testing.T, got health.Result, ok bool, text string) {
	t.Helper()
	if got.OK != ok || !strings.Contains(got.Reason, text) {
		t.Errorf("got %v %q, want %v %q", got.OK, got.Reason, ok, text)
	}
}

// addressOf is where a listener or test server listens.
func addressOf(t *testing.T, addr net.Addr) netip.AddrPort {
	t.Helper()
	at, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// TestProbeStatus covers which statuses are good, redirects among them: they
// are never followed.
func TestProbeStatus(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var status int
		if _, err := fmt.Sscanf(r.URL.Path, "/%d", &status); err != nil {
			t.Errorf("followed to %q", r.URL.Path)
		}
		if status >= 300 && status < 400 {
			w.Header().Set("Location", "/followed")
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(server.Close)
	at := addressOf(t, server.Listener.Addr())
	for _, tt := range []struct {
		status int
		want   []int
		ok     bool
		reason string
	}{
		{200, nil, true, "status 200"},
		{204, nil, true, "status 204"},
		{299, nil, true, "status 299"},
		{301, nil, false, "status 301, want 200 to 299"},
		{302, []int{200, 302}, true, "status 302"},
		{404, nil, false, "status 404, want 200 to 299"},
		{503, []int{200}, false, "status 503, want 200"},
		{200, []int{201, 503}, false, "status 200, want 201, 503"},
		{503, []int{503}, true, "status 503"},
	} {
		check := health.Check{Kind: health.HTTP, Path: fmt.Sprintf("/%d", tt.status), Status: tt.want}
		got := probe(t, check, at, nil)
		wantResult(t, got, tt.ok, tt.reason)
		if got.Latency <= 0 {
			t.Errorf("latency %v", got.Latency)
		}
	}
}

// TestProbeRequest covers what a back end gets to see.
func TestProbeRequest(t *testing.T) {
	t.Parallel()
	requests := make(chan *http.Request, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { requests <- r }))
	t.Cleanup(server.Close)
	at := addressOf(t, server.Listener.Addr())
	for _, tt := range []struct{ name, path, host, wantURI, wantHost string }{
		{"defaults", "", "", "/", at.String()},
		{"query", "/healthz?deep=1&x=%20", "", "/healthz?deep=1&x=%20", at.String()},
		{"host", "/h", "www.example.com", "/h", "www.example.com"},
		{"host and port", "/h", "www.example.com:8443", "/h", "www.example.com:8443"},
	} {
		wantResult(t, probe(t, health.Check{Kind: health.HTTP, Path: tt.path, Host: tt.host}, at, nil), true, "status 200")
		r := <-requests
		if r.Method != http.MethodGet || r.RequestURI != tt.wantURI || r.Host != tt.wantHost {
			t.Errorf("%s: %s %s of %s, want %s of %s", tt.name, r.Method, r.RequestURI, r.Host, tt.wantURI, tt.wantHost)
		}
		if r.UserAgent() != "geodns-health-check" || !r.Close || len(r.Header["Accept-Encoding"]) > 0 {
			t.Errorf("%s: header %v, close %v", tt.name, r.Header, r.Close)
		}
	}
}

// TestProbeNoProxy covers that the environment's proxy, which TestMain sets, is
// not asked: a request to one would name the whole URL.
func TestProbeNoProxy(t *testing.T) {
	t.Parallel()
	uris := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { uris <- r.RequestURI }))
	t.Cleanup(server.Close)
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, server.Listener.Addr().String())
	}
	check := health.Check{Kind: health.HTTP, Port: 80, Path: "/h"}
	wantResult(t, health.Probe(t.Context(), check, netip.MustParseAddr("192.0.2.1"), "", dial, nil), true, "status 200")
	if uri := <-uris; uri != "/h" {
		t.Errorf("request for %q", uri)
	}
}

// TestProbeNewConnection covers that no connection is used twice: a back end
// that accepts no new ones is found dead although the last probe was good.
func TestProbeNewConnection(t *testing.T) {
	t.Parallel()
	opened := make(chan struct{}, 10)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened <- struct{}{}
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	for range 3 {
		wantResult(t, probe(t, health.Check{Kind: health.HTTP}, addressOf(t, server.Listener.Addr()), nil), true, "status 200")
	}
	if len(opened) != 3 {
		t.Errorf("%d connections for 3 probes", len(opened))
	}
}

// TestProbeBody covers the text that must be in the body, around the bound of
// what is read, over several reads, and in bodies without end.
func TestProbeBody(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		flush := func() { _ = http.NewResponseController(w).Flush() }
		switch r.URL.Path {
		case "/small":
			_, _ = io.WriteString(w, "all is ok here")
		case "/split":
			for _, b := range []byte("... o") {
				_, _ = w.Write([]byte{b})
				flush()
			}
			_, _ = io.WriteString(w, "k ...")
		case "/last":
			_, _ = io.WriteString(w, strings.Repeat(".", health.BodyMax-2)+"ok")
		case "/beyond":
			_, _ = io.WriteString(w, strings.Repeat(".", health.BodyMax-1)+"ok")
		case "/endless":
			for r.Context().Err() == nil {
				_, _ = w.Write(make([]byte, 4096))
			}
		case "/begins":
			_, _ = io.WriteString(w, "ok")
			flush()
			<-r.Context().Done()
		case "/hangs":
			_, _ = io.WriteString(w, "o")
			flush()
			<-r.Context().Done()
		case "/broken":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "o")
		}
	}))
	t.Cleanup(server.Close)
	at := addressOf(t, server.Listener.Addr())
	for _, tt := range []struct {
		path, body string
		ok         bool
		reason     string
	}{
		{"/small", "ok", true, "status 200"},
		{"/small", "all is ok here", true, "status 200"},
		{"/small", "OK", false, `status 200, but "OK" is not in the body`},
		{"/split", "ok", true, "status 200"},
		{"/last", "ok", true, "status 200"},
		{"/beyond", "ok", false, "not in the body"},
		{"/endless", "ok", false, "not in the body"},
		{"/begins", "ok", true, "status 200"},
		{"/hangs", "ok", false, "timeout after 1s while reading the body"},
		{"/hangs", "", true, "status 200"},
		{"/broken", "ok", false, "connection closed while reading the body"},
	} {
		check := health.Check{Kind: health.HTTP, Path: tt.path, Body: tt.body}
		if tt.path == "/hangs" {
			check.Timeout = timeoutOf(tt.reason)
		}
		got := probe(t, check, at, nil)
		if got.OK != tt.ok || !strings.Contains(got.Reason, tt.reason) {
			t.Errorf("%s %q: got %v %q, want %v %q", tt.path, tt.body, got.OK, got.Reason, tt.ok, tt.reason)
		}
	}
}

// rawServer accepts connections on loopback and hands each to serve.
func rawServer(t *testing.T, serve func(conn net.Conn)) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serve(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-ended
	})
	return addressOf(t, listener.Addr())
}

// readRequest reads a request's header, so that closing does not reset.
func readRequest(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	data := make([]byte, 4096)
	for n := 0; n < len(data) && !strings.Contains(string(data[:n]), "\r\n\r\n"); {
		m, err := conn.Read(data[n:])
		if err != nil {
			return
		}
		n += m
	}
}

// TestProbeBadServers covers servers that break the rules.
func TestProbeBadServers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		kind   health.Kind
		serve  func(conn net.Conn)
		reason string
	}{
		{"closes", health.HTTP, readRequest, "connection closed while waiting for the answer"},
		{"resets", health.HTTP, func(conn net.Conn) {
			readRequest(conn)
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
		}, "connection reset while waiting for the answer"},
		{"talks nonsense", health.HTTP, func(conn net.Conn) {
			readRequest(conn)
			_, _ = io.WriteString(conn, "220 mail\x1b[31m.example.com\u202e ESMTP\r\n"+strings.Repeat("x", 1000)+"\r\n")
		}, "malformed HTTP"},
		{"header without end", health.HTTP, func(conn net.Conn) {
			readRequest(conn)
			_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
			for err == nil {
				_, err = io.WriteString(conn, "X-More: "+strings.Repeat("x", 1000)+"\r\n")
			}
		}, "exceeded 65536 bytes"},
		{"early hints without end", health.HTTP, func(conn net.Conn) {
			readRequest(conn)
			var err error
			for err == nil {
				_, err = io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\n\r\n")
			}
		}, ""},
		{"hangs", health.HTTP, func(conn net.Conn) {
			readRequest(conn)
			_, _ = io.Copy(io.Discard, conn)
		}, "timeout after 1s while waiting for the answer"},
		{"hangs in the handshake", health.HTTPS, func(conn net.Conn) {
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			_, _ = io.Copy(io.Discard, conn)
		}, "timeout after 1s while in the TLS handshake"},
		{"no TLS", health.HTTPS, func(conn net.Conn) {
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
		}, "no TLS is spoken there"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			at := rawServer(t, tt.serve)
			got := probe(t, health.Check{Kind: tt.kind, Timeout: timeoutOf(tt.reason)}, at, nil)
			wantResult(t, got, false, tt.reason)
			if len(got.Reason) > 210 || strings.ContainsAny(got.Reason, "\x1b\r\n\u202e") {
				t.Errorf("unfit for a log: %q", got.Reason)
			}
		})
	}
}

// TestProbeTCP covers the TCP kind.
func TestProbeTCP(t *testing.T) {
	t.Parallel()
	at := rawServer(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	wantResult(t, probe(t, health.Check{Kind: health.TCP}, at, nil), true, "connected")

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := addressOf(t, listener.Addr())
	_ = listener.Close()
	wantResult(t, probe(t, health.Check{Kind: health.TCP}, gone, nil), false, "connection refused")
	wantResult(t, probe(t, health.Check{Kind: health.HTTP}, gone, nil), false, "connection refused")
}

// TestProbeHangingDial covers a connection that is never made.
func TestProbeHangingDial(t *testing.T) {
	t.Parallel()
	hang := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for _, tt := range []struct {
		kind health.Kind
		addr netip.Addr
		want string
	}{
		{health.TCP, netip.MustParseAddr("192.0.2.1"), "timeout after 50ms while connecting"},
		{health.HTTP, netip.MustParseAddr("192.0.2.1"), "timeout after 50ms while connecting"},
		{health.HTTPS, netip.Addr{}, "timeout after 50ms while resolving the name"},
	} {
		check := health.Check{Kind: tt.kind, Port: 80, Timeout: 50 * time.Millisecond}
		wantResult(t, health.Probe(t.Context(), check, tt.addr, "www.example.com", hang, nil), false, tt.want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	check := health.Check{Kind: health.HTTP, Port: 80}
	wantResult(t, health.Probe(ctx, check, netip.MustParseAddr("192.0.2.1"), "", hang, nil), false, "stopped")
}

// TestProbeDials covers what is dialed: the target, whatever the check's host
// is, and a host name by its name.
func TestProbeDials(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		addr, host string
		check      health.Check
		want       string
	}{
		{"192.0.2.1", "", health.Check{Kind: health.HTTPS, Port: 443, Host: "www.example.com:8443"}, "192.0.2.1:443"},
		{"2001:db8::1", "", health.Check{Kind: health.HTTP, Port: 8080}, "[2001:db8::1]:8080"},
		{"2001:db8::1", "", health.Check{Kind: health.TCP, Port: 53}, "[2001:db8::1]:53"},
		{"", "lb.example.net", health.Check{Kind: health.HTTP, Port: 80, Host: "www.example.com"}, "lb.example.net:80"},
	} {
		var dialed []string
		dial := func(_ context.Context, _, address string) (net.Conn, error) {
			dialed = append(dialed, address)
			return nil, errors.New("no network here")
		}
		var addr netip.Addr
		if tt.addr != "" {
			addr = netip.MustParseAddr(tt.addr)
		}
		wantResult(t, health.Probe(t.Context(), tt.check, addr, tt.host, dial, nil), false, "no network here")
		if len(dialed) != 1 || dialed[0] != tt.want {
			t.Errorf("dialed %q, want %q", dialed, tt.want)
		}
	}
}

// TestProbeAllow covers that a refused address is never connected to, for an
// address as for a name that resolves to one.
func TestProbeAllow(t *testing.T) {
	t.Parallel()
	at := rawServer(t, func(net.Conn) { t.Error("connected") })
	dial := health.SystemDial(func(addr netip.Addr) error { return health.Allowed(addr, false, nil) })
	check := health.Check{Kind: health.TCP, Port: at.Port()}
	wantResult(t, health.Probe(t.Context(), check, at.Addr(), "", dial, nil), false, "refused: address 127.0.0.1 is on loopback")
	wantResult(t, health.Probe(t.Context(), check, netip.Addr{}, "localhost", dial, nil), false, "refused: ")
	check.Kind = health.HTTP
	wantResult(t, health.Probe(t.Context(), check, at.Addr(), "", dial, nil), false, "refused: address 127.0.0.1 is on loopback")
}

// TestProbeInvalidCheck covers a check that no policy file can hold.
func TestProbeInvalidCheck(t *testing.T) {
	t.Parallel()
	check := health.Check{Kind: health.HTTP, Port: 80, Path: "no slash"}
	got := health.Probe(t.Context(), check, netip.MustParseAddr("192.0.2.1"), "", nil, nil)
	wantResult(t, got, false, `check: path "no slash"`)
}
