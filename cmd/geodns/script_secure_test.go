package main_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"

	"geodns/internal/dnstest"
)

// certificates makes a CA, a server's certificate and one for each address of a client: certificates FOLDER ADDRESS...
func certificates(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: certificates folder address...")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	ca := certify(ts, dir, "ca", &x509.Certificate{
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "test CA"},
	}, nil)
	certify(ts, dir, "server", &x509.Certificate{
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca)
	for _, address := range args[1:] {
		certify(ts, dir, address, &x509.Certificate{
			EmailAddresses: []string{address}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}, ca)
	}
}

// certify writes a certificate and its key. Without a CA it signs itself.
func certify(ts *testscript.TestScript, dir, name string, template *x509.Certificate, ca *dnstest.Certificate) *dnstest.Certificate {
	c, err := dnstest.Issue(template, ca)
	ts.Check(err)
	for file, text := range map[string][]byte{name + ".pem": c.Text, name + ".key": c.KeyText} {
		ts.Check(os.WriteFile(filepath.Join(dir, file), text, 0o600))
	}
	return c
}
