package api

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// certificateNameMax bounds a name that a certificate gives, in bytes: an e-mail address has at most 254 (RFC 5321 section 4.5.3.1.3),
// a SPIFFE id may have more, and nobody reads them.
const certificateNameMax = 255

// CertificateName is the name of who has a certificate: its first URI, else its first e-mail address, its first DNS name, its
// common name. The first that is there counts, even if it is no good: nobody gets another's name by a broken one of their own.
func CertificateName(leaf *x509.Certificate) (string, error) {
	name := leaf.Subject.CommonName
	switch {
	case len(leaf.URIs) > 0:
		name = leaf.URIs[0].String()
	case len(leaf.EmailAddresses) > 0:
		name = leaf.EmailAddresses[0]
	case len(leaf.DNSNames) > 0:
		name = leaf.DNSNames[0]
	}
	if !printable(name, certificateNameMax) {
		return "", fmt.Errorf("the client's certificate has no name of 1 to %d printable characters", certificateNameMax)
	}
	return name, nil
}

// VerifyClient says whether a client's certificate, the leaf first, holds now: a handshake looked at it once, and its connection
// may outlive it, or the CA that it was accepted for.
func VerifyClient(chain []*x509.Certificate, cas *x509.CertPool, now time.Time) error {
	if len(chain) == 0 {
		return errors.New("there is no client certificate")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: cas, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return fmt.Errorf("the client's certificate: %w", err)
	}
	return nil
}
