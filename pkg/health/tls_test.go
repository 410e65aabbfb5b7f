package health_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"geodns/pkg/health"
)

// authority is a certificate authority of its own.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

// newAuthority makes one.
func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = newKey(t)
	a.cert = a.sign(t, template, template, a.key, a.key)
	a.pool.AddCert(a.cert)
	return a
}

// newKey makes a key.
func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign makes a certificate.
func (*authority) sign(t *testing.T, template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// issue makes a server's certificate for these names and addresses.
func (a *authority) issue(t *testing.T, until time.Time, names []string, addrs ...string) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test server"},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until, DNSNames: names,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, addr := range addrs {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(addr))
	}
	key := newKey(t)
	cert := a.sign(t, template, a.cert, key, a.key)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// tlsServer serves 200 over TLS with a certificate; hellos gets each SNI, hosts each Host header.
func tlsServer(t *testing.T, cert tls.Certificate) (at netip.AddrPort, hellos, hosts chan string) {
	t.Helper()
	hellos, hosts = make(chan string, 10), make(chan string, 10)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { hosts <- r.Host }))
	server.TLS = &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			hellos <- hello.ServerName
			return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}, nil
		},
	}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	server.StartTLS()
	t.Cleanup(server.Close)
	return addressOf(t, server.Listener.Addr()), hellos, hosts
}

// TestProbeTLS covers the name that is asked for and verified.
func TestProbeTLS(t *testing.T) {
	t.Parallel()
	own := newAuthority(t)
	hour := time.Now().Add(time.Hour)
	named := own.issue(t, hour, []string{"www.example.com"}, "127.0.0.1")
	for _, tt := range []struct {
		name       string
		cert       tls.Certificate
		roots      *x509.CertPool
		host       string
		ok         bool
		reason     string
		sni, hosts string
	}{
		{"host", named, own.pool, "www.example.com", true, "status 200", "www.example.com", "www.example.com"},
		{"host with port", named, own.pool, "www.example.com:8443", true, "status 200", "www.example.com", "www.example.com:8443"},
		{"address", named, own.pool, "", true, "status 200", "", "127.0.0.1:"},
		{"other name", named, own.pool, "api.example.com", false, "certificate: certificate is valid for www.example.com", "api.example.com", ""},
		{"system roots", named, nil, "www.example.com", false, "certificate: certificate signed by unknown authority", "www.example.com", ""},
		{"other authority", named, newAuthority(t).pool, "www.example.com", false, "certificate: ", "www.example.com", ""},
		{
			"expired", own.issue(t, time.Now().Add(-time.Hour), []string{"www.example.com"}), own.pool, "www.example.com", false,
			"certificate: it has expired", "www.example.com", "",
		},
		{"no address in it", own.issue(t, hour, []string{"www.example.com"}), own.pool, "", false, "certificate: ", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			at, hellos, hosts := tlsServer(t, tt.cert)
			wantResult(t, probe(t, health.Check{Kind: health.HTTPS, Host: tt.host}, at, tt.roots), tt.ok, tt.reason)
			if sni := <-hellos; sni != tt.sni {
				t.Errorf("SNI %q, want %q", sni, tt.sni)
			}
			if !tt.ok {
				return
			}
			want := tt.hosts
			if tt.host == "" {
				want = at.String()
			}
			if host := <-hosts; host != want {
				t.Errorf("Host %q, want %q", host, want)
			}
		})
	}
}

// TestProbeTLSHostName covers a target that is a host name: it is what SNI,
// certificate and Host are about.
func TestProbeTLSHostName(t *testing.T) {
	t.Parallel()
	own := newAuthority(t)
	at, hellos, hosts := tlsServer(t, own.issue(t, time.Now().Add(time.Hour), []string{"localhost"}))
	check := health.Check{Kind: health.HTTPS, Port: at.Port()}
	got := health.Probe(t.Context(), check, netip.Addr{}, "localhost", health.SystemDial(nil), own.pool)
	wantResult(t, got, true, "status 200")
	if sni, host := <-hellos, <-hosts; sni != "localhost" || host != net.JoinHostPort("localhost", at.String()[len("127.0.0.1:"):]) {
		t.Errorf("SNI %q, Host %q", sni, host)
	}
}
