package api_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"geodns/internal/dnstest"
	"geodns/pkg/api"
)

// issue signs a certificate; without a CA it signs itself.
func issue(t *testing.T, template *x509.Certificate, ca *dnstest.Certificate) *dnstest.Certificate {
	t.Helper()
	c, err := dnstest.Issue(template, ca)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// authority makes a CA.
func authority(t *testing.T) *dnstest.Certificate {
	t.Helper()
	return issue(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "test CA"}}, nil)
}

// person is the template of a client's certificate.
func person(email string) *x509.Certificate {
	return &x509.Certificate{EmailAddresses: []string{email}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
}

func TestCertificateName(t *testing.T) {
	spiffe := &url.URL{Scheme: "spiffe", Host: "example.com", Path: "/ci"}
	for _, tt := range []struct {
		c    x509.Certificate
		want string // "": it is refused
	}{
		{x509.Certificate{URIs: []*url.URL{spiffe}, EmailAddresses: []string{"a@b"}, DNSNames: []string{"d"}, Subject: pkix.Name{CommonName: "c"}}, "spiffe://example.com/ci"},
		{x509.Certificate{EmailAddresses: []string{"a@b", "c@d"}, DNSNames: []string{"d"}, Subject: pkix.Name{CommonName: "c"}}, "a@b"},
		{x509.Certificate{DNSNames: []string{"d"}, Subject: pkix.Name{CommonName: "c"}}, "d"},
		{x509.Certificate{Subject: pkix.Name{CommonName: "Ann Example"}}, "Ann Example"},
		{x509.Certificate{}, ""},
		{x509.Certificate{Subject: pkix.Name{CommonName: "a\nb"}}, ""},
		{x509.Certificate{Subject: pkix.Name{CommonName: strings.Repeat("a", 256)}}, ""},
		{x509.Certificate{EmailAddresses: []string{""}, Subject: pkix.Name{CommonName: "c"}}, ""},
	} {
		if got, err := api.CertificateName(&tt.c); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%q, %v, want %q", got, err, tt.want)
		}
	}
}

func TestVerifyClient(t *testing.T) {
	ca, other := authority(t), authority(t)
	between := issue(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, ca)
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate)
	good := issue(t, person("a@b"), ca)
	below := issue(t, person("a@b"), between)
	server := issue(t, &x509.Certificate{DNSNames: []string{"a"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, ca)
	foreign := issue(t, person("a@b"), other)
	now := time.Now()
	for _, tt := range []struct {
		name  string
		chain []*x509.Certificate
		at    time.Time
		want  bool
	}{
		{"good", []*x509.Certificate{good.Certificate}, now, true},
		{"with what is between", []*x509.Certificate{below.Certificate, between.Certificate}, now, true},
		{"without what is between", []*x509.Certificate{below.Certificate}, now, false},
		{"over", []*x509.Certificate{good.Certificate}, now.Add(2 * time.Hour), false},
		{"a server's", []*x509.Certificate{server.Certificate}, now, false},
		{"of another CA", []*x509.Certificate{foreign.Certificate}, now, false},
		{"of another CA that comes along", []*x509.Certificate{foreign.Certificate, other.Certificate}, now, false},
		{"none", nil, now, false},
	} {
		if err := api.VerifyClient(tt.chain, pool, tt.at); (err == nil) != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestParseServing(t *testing.T) {
	ca := authority(t)
	server, other := issue(t, &x509.Certificate{DNSNames: []string{"a"}}, ca), issue(t, &x509.Certificate{DNSNames: []string{"b"}}, ca)
	for _, tt := range []struct {
		name                  string
		certificate, key, cas []byte
		err                   string
	}{
		{"plain", server.Text, server.KeyText, nil, ""},
		{"clients", server.Text, server.KeyText, append(ca.Text, ca.Text...), ""},
		{"another's key", server.Text, other.KeyText, nil, "private key does not match"},
		{"no key", server.Text, nil, nil, "failed to find any PEM data in key input"},
		{"no certificate", nil, server.KeyText, nil, "failed to find any PEM data in certificate input"},
		{"no CA", server.Text, server.KeyText, []byte{}, "there is no certificate in PEM form"},
		{"a leaf for a CA", server.Text, server.KeyText, server.Text, "is not the certificate of a CA"},
		{"a key for a CA", server.Text, server.KeyText, ca.KeyText, "only certificates are wanted, not a PRIVATE KEY"},
	} {
		s, err := api.ParseServing(tt.certificate, tt.key, tt.cas)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err == nil && ((s.CAs != nil) != (tt.cas != nil) || s.Ends.IsZero() || s.TLS.MinVersion != tls.VersionTLS13) {
			t.Errorf("%s: %+v", tt.name, s)
		}
	}
	one, _ := api.ParseServing(server.Text, server.KeyText, nil)
	same, _ := api.ParseServing(server.Text, server.KeyText, nil)
	clients, _ := api.ParseServing(server.Text, server.KeyText, ca.Text)
	if !one.Same(same) || one.Same(clients) {
		t.Error("the same files are others, or others the same")
	}
}

// TestListenFamily checks that every address of IPv4 is none of IPv6: rules of a firewall are by family.
func TestListenFamily(t *testing.T) {
	ca := authority(t)
	server := issue(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, ca)
	serving, err := api.ParseServing(server.Text, server.KeyText, ca.Text)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config()
	cfg.TLS = serving.TLS
	cfg.Access.Certificate = func([]*x509.Certificate) (*api.Principal, bool) { return nil, false }
	for listen, want := range map[string]string{"0.0.0.0:0": "0.0.0.0", "[::ffff:127.0.0.1]:0": "127.0.0.1"} {
		cfg.Listen = netip.MustParseAddrPort(listen)
		s, err := api.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Addr().Addr().String(); got != want {
			t.Errorf("%s listens to %s", listen, got)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestSecureRun serves TLS on a real socket: HTTP/2, client certificates, and nothing older than 1.3.
func TestSecureRun(t *testing.T) {
	ca := authority(t)
	server := issue(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, ca)
	serving, err := api.ParseServing(server.Text, server.KeyText, ca.Text)
	if err != nil {
		t.Fatal(err)
	}
	roles := parseRoles(t, someRoles)
	cfg := config()
	cfg.TLS = serving.TLS
	cfg.Access.Certificate = func(chain []*x509.Certificate) (*api.Principal, bool) {
		name, bad := api.CertificateName(chain[0])
		return roles.Certificate(name), bad == nil
	}
	s, err := api.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	fetch := func(most uint16, who *dnstest.Certificate, change ...func(*http.Request)) (*http.Response, error) {
		secure := &tls.Config{RootCAs: serving.CAs, MaxVersion: most}
		if who != nil {
			secure.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &tls.Certificate{Certificate: [][]byte{who.Raw}, PrivateKey: who.Key}, nil
			}
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: secure, DisableKeepAlives: true, ForceAttemptHTTP2: true}, Timeout: 10 * time.Second}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.Addr().String()+"/v1/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range change {
			c(request)
		}
		response, err := client.Do(request)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		return response, err
	}
	named := func(r *http.Request) { r.Host = "geodns.example.com" }
	alice := issue(t, person("alice@example.com"), ca)
	for _, tt := range []struct {
		name   string
		who    *dnstest.Certificate
		change func(*http.Request)
		status int
	}{
		{"nobody", nil, named, 401},
		{"alice", alice, named, 200},
		{"somebody without a role", issue(t, person("mallory@example.net"), ca), named, 403},
		{"alice with a wrong token", alice, bearer("gdt_wrong"), 401},
	} {
		response, err := fetch(0, tt.who, tt.change)
		if err != nil || response.StatusCode != tt.status || response.ProtoMajor != 2 {
			t.Errorf("%s: %v, %v", tt.name, response, err)
		}
	}
	if _, err := fetch(tls.VersionTLS12, alice); err == nil {
		t.Error("TLS 1.2 is spoken")
	}
	if _, err := fetch(0, issue(t, person("alice@example.com"), authority(t))); err == nil {
		t.Error("a certificate of another CA is accepted")
	}
	over := person("alice@example.com")
	over.NotBefore, over.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	if _, err := fetch(0, issue(t, over, ca)); err == nil {
		t.Error("a certificate that is over is accepted")
	}
}

func TestCheckListen(t *testing.T) {
	for _, tt := range []struct {
		listen               string
		withTLS, credentials bool
		err                  string
	}{
		{"127.0.0.1:1", false, false, ""},
		{"[::1]:1", false, false, ""},
		{"0.0.0.0:1", true, true, ""},
		{"192.0.2.1:1", false, true, "set api.certificate and api.key"},
		{"[::]:1", true, false, "set one of auth.tokens, api.client_ca and auth.oidc_issuer"},
		{"0.0.0.0:1", false, false, "set api.certificate and api.key, and one of auth.tokens, api.client_ca and auth.oidc_issuer"},
	} {
		err := api.CheckListen(netip.MustParseAddrPort(tt.listen), tt.withTLS, tt.credentials)
		if (err == nil) != (tt.err == "") || err != nil && !strings.HasSuffix(err.Error(), tt.err) {
			t.Errorf("%s: %v", tt.listen, err)
		}
	}
}
