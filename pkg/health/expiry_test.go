package health_test

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"geodns/pkg/health"
)

// secureServer serves 200 over TLS by one configuration; shakes gets, for each
// request, whether its session was resumed, protocols its protocol.
func secureServer(t *testing.T, config *tls.Config, http2 bool) (at netip.AddrPort, resumed chan bool, protocols chan string) {
	t.Helper()
	resumed, protocols = make(chan bool, 100), make(chan string, 100)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case resumed <- r.TLS.DidResume:
			protocols <- r.Proto
		default: // nobody looks at them any more
		}
		if r.URL.Path == "/bad" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	config.MinVersion = tls.VersionTLS12
	server.TLS = config
	server.EnableHTTP2 = http2
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	server.StartTLS()
	t.Cleanup(server.Close)
	return addressOf(t, server.Listener.Addr()), resumed, protocols
}

// TestProbeExpiry covers what is told of a certificate's end, of every kind
// that sees one.
func TestProbeExpiry(t *testing.T) {
	t.Parallel()
	own := newAuthority(t)
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name    string
		left    time.Duration // of the server's certificate
		check   health.Check
		ok      bool
		reason  string
		warning string
	}{
		{"soon", 30 * time.Minute, health.Check{}, true, "", "certificate ends in "},
		{"not within", 50 * time.Minute, health.Check{ExpiryWarning: time.Minute}, true, "", ""},
		{"never warned", 30 * time.Minute, health.Check{ExpiryWarning: -1}, true, "", ""},
		{"over, insecure", -2*time.Hour - time.Minute, health.Check{Insecure: true}, true, "", "certificate ended 2h ago"},
		{"long, insecure", 9*day + 2*time.Hour + time.Minute, health.Check{Insecure: true}, true, "", "certificate ends in 9d2h"},
		{"over", -time.Hour, health.Check{}, false, "certificate: it has expired, on 2", ""},
		{"other name", 30 * time.Minute, health.Check{SNI: "other.example.com"}, false, "certificate: certificate is valid for", ""},
		{"other name, insecure", 30 * time.Minute, health.Check{SNI: "other.example.com", Insecure: true}, true, "", "certificate ends in "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cert := own.issue(t, time.Now().Add(tt.left), []string{"www.example.com"}, "127.0.0.1")
			at, _, _ := secureServer(t, &tls.Config{Certificates: []tls.Certificate{cert}}, true)
			for _, kind := range []health.Kind{health.HTTPS, health.TLS} {
				check := tt.check
				check.Kind = kind
				got := probe(t, check, at, own.pool)
				wantResult(t, got, tt.ok, tt.reason)
				if !got.Expires.Equal(cert.Leaf.NotAfter) {
					t.Errorf("%v: expires %v, want %v", kind, got.Expires, cert.Leaf.NotAfter)
				}
				if len(got.Warning) < len(tt.warning) || got.Warning[:len(tt.warning)] != tt.warning || (tt.warning == "") != (got.Warning == "") {
					t.Errorf("%v: warning %q, want %q", kind, got.Warning, tt.warning)
				}
			}
		})
	}
	at := rawServer(t, func(net.Conn) {})
	if got := probe(t, health.Check{Kind: health.TCP}, at, nil); !got.Expires.IsZero() || got.Warning != "" {
		t.Errorf("without TLS: %v, %q", got.Expires, got.Warning)
	}
}

// TestProbeChainExpiry covers a chain whose intermediate ends before its leaf.
func TestProbeChainExpiry(t *testing.T) {
	t.Parallel()
	root, middle := newAuthority(t), newAuthority(t)
	template := *middle.cert
	template.NotAfter = time.Now().Add(10 * time.Minute)
	template.Subject.CommonName = "test middle"
	middle.cert = root.sign(t, &template, root.cert, middle.key, root.key)
	cert := middle.issue(t, time.Now().Add(30*time.Minute), nil, "127.0.0.1")
	cert.Certificate = append(cert.Certificate, middle.cert.Raw, newAuthority(t).cert.Raw) // the last has nothing to do with it
	at, _, _ := secureServer(t, &tls.Config{Certificates: []tls.Certificate{cert}}, false)
	got := probe(t, health.Check{Kind: health.TLS}, at, root.pool)
	wantResult(t, got, true, "TLS 1.3 handshake")
	if !got.Expires.Equal(middle.cert.NotAfter) {
		t.Errorf("expires %v, want %v", got.Expires, middle.cert.NotAfter)
	}
}

// TestProbeALPN covers which version of HTTP is spoken over TLS.
func TestProbeALPN(t *testing.T) {
	t.Parallel()
	own := newAuthority(t)
	cert := own.issue(t, time.Now().Add(time.Hour), nil, "127.0.0.1")
	for _, tt := range []struct {
		version health.HTTPVersion
		http2   bool
		want    string // protocol; empty: the probe fails
	}{
		{health.AnyHTTP, true, "HTTP/2.0"},
		{health.AnyHTTP, false, "HTTP/1.1"},
		{health.HTTP1, true, "HTTP/1.1"},
		{health.HTTP1, false, "HTTP/1.1"},
		{health.HTTP2, true, "HTTP/2.0"},
		{health.HTTP2, false, ""},
	} {
		at, _, protocols := secureServer(t, &tls.Config{Certificates: []tls.Certificate{cert}}, tt.http2)
		got := probe(t, health.Check{Kind: health.HTTPS, Version: tt.version}, at, own.pool)
		if tt.want == "" {
			wantResult(t, got, false, "(ALPN)")
			continue
		}
		wantResult(t, got, true, "status 200")
		if protocol := <-protocols; protocol != tt.want {
			t.Errorf("version %d: %s, want %s", tt.version, protocol, tt.want)
		}
	}
}

// TestProbeResumes covers that https probes resume their session, and that
// what is known of the certificate stays.
func TestProbeResumes(t *testing.T) {
	t.Parallel()
	own := newAuthority(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, http2 := range []bool{false, true} {
			cert := own.issue(t, time.Now().Add(time.Hour), nil, "127.0.0.1")
			at, resumed, _ := secureServer(t, &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: version}, http2)
			check := health.Check{Kind: health.HTTPS, Port: at.Port()}
			prober := health.NewProber(check, at.Addr(), health.SystemDial(nil), own.pool)
			for i := range 3 {
				got := prober(t.Context())
				wantResult(t, got, true, "status 200")
				if !got.Expires.Equal(cert.Leaf.NotAfter) || got.Warning == "" {
					t.Errorf("%s: expires %v, warning %q", tls.VersionName(version), got.Expires, got.Warning)
				}
				if did := <-resumed; did != (i > 0) {
					t.Errorf("%s, HTTP/2 %v: probe %d resumed: %v", tls.VersionName(version), http2, i, did)
				}
			}
			check.Path = "/bad" // its handshakes are good
			prober = health.NewProber(check, at.Addr(), health.SystemDial(nil), own.pool)
			for i := range 3 {
				wantResult(t, prober(t.Context()), false, "status 503")
				if did := <-resumed; did != (i > 0) {
					t.Errorf("%s, HTTP/2 %v: bad probe %d resumed: %v", tls.VersionName(version), http2, i, did)
				}
			}
		}
	}
}

// TestProbeResumeEnds covers a certificate that ends while its session could
// still be resumed.
func TestProbeResumeEnds(t *testing.T) {
	t.Parallel()
	own := newAuthority(t)
	ends := time.Now().Add(4 * time.Second)
	cert := own.issue(t, ends, nil, "127.0.0.1")
	at, _, _ := secureServer(t, &tls.Config{Certificates: []tls.Certificate{cert}}, false)
	prober := health.NewProber(health.Check{Kind: health.HTTPS, Port: at.Port()}, at.Addr(), health.SystemDial(nil), own.pool)
	wantResult(t, prober(t.Context()), true, "status 200")
	var got health.Result
	for got = prober(t.Context()); got.OK && time.Now().Before(ends.Add(5*time.Second)); got = prober(t.Context()) {
	}
	wantResult(t, got, false, "it has expired")
}

// TestProbeTLSKind covers servers that do not shake hands to the end.
func TestProbeTLSKind(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		serve  func(conn net.Conn)
		reason string
	}{
		{func(net.Conn) {}, "connection closed while in the TLS handshake"},
		{func(conn net.Conn) { _, _ = io.WriteString(conn, "SSH-2.0-x\r\n") }, "no TLS is spoken there"},
		{func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, "timeout after 1s while in the TLS handshake"},
	} {
		at := rawServer(t, func(conn net.Conn) {
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			_, _ = conn.Read(make([]byte, 4096)) // the hello, so that closing does not reset
			tt.serve(conn)
		})
		wantResult(t, probe(t, health.Check{Kind: health.TLS, Timeout: timeoutOf(tt.reason)}, at, nil), false, tt.reason)
	}
}

// TestDays covers how times are written in warnings.
func TestDays(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for d, want := range map[time.Duration]string{
		9*day + 2*time.Hour + time.Minute: "9d2h", 3 * day: "3d0h", 5*time.Hour + time.Minute: "5h", 59 * time.Second: "59s", 0: "0s",
	} {
		if got := health.Days(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
