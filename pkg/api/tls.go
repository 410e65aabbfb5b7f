package api

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
)

// CertificatesBytesMax bounds each file of certificates or keys; a chain has some 10 KiB, and a large list of CAs some 300.
const CertificatesBytesMax = 1 << 20

// Serving is what a listener shows, and whose client certificates it believes. Immutable.
type Serving struct {
	TLS *tls.Config
	// CAs are those of client certificates; nil: no client certificate is asked for.
	CAs *x509.CertPool
	// Ends is when the server's certificate ends, CAEnds when the first of CAs does.
	Ends, CAEnds time.Time

	sum [sha256.Size]byte // of the files
}

// Same says whether two are of the same files.
func (s *Serving) Same(o *Serving) bool { return s.sum == o.sum }

// ParseServing reads the server's certificate with the chain above it, its key, and, unless nil, the CAs of client certificates.
// All are PEM. No error quotes the key.
func ParseServing(certificate, key, cas []byte) (*Serving, error) {
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("the server's certificate and key: %w", err)
	}
	sums := [3][sha256.Size]byte{sha256.Sum256(certificate), sha256.Sum256(key), sha256.Sum256(cas)}
	s := &Serving{Ends: pair.Leaf.NotAfter.UTC(), sum: sha256.Sum256(slices.Concat(sums[0][:], sums[1][:], sums[2][:])), TLS: &tls.Config{
		Certificates: []tls.Certificate{pair},
		// Everything that asks this API speaks 1.3: our commands, browsers, scrapers. It leaves no choice of ciphers to get wrong, and a
		// client's certificate, which has a person's name, is encrypted on the way.
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2", "http/1.1"},
	}}
	if cas == nil {
		return s, nil
	}
	if s.CAs, s.CAEnds, err = ParseCAs(cas); err != nil {
		return nil, fmt.Errorf("the CAs of client certificates: %w", err)
	}
	s.TLS.ClientCAs = s.CAs
	// Who has a token needs no certificate.
	s.TLS.ClientAuth = tls.VerifyClientCertIfGiven
	return s, nil
}

// ParseCAs reads the certificates of CAs, and when the first of them ends. Nothing else may stand there: a leaf in their place
// would make every check fail, or worse, none.
func ParseCAs(data []byte) (*x509.CertPool, time.Time, error) {
	pool := x509.NewCertPool()
	var ends time.Time
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, time.Time{}, fmt.Errorf("only certificates are wanted, not a %s", clipped(block.Type, TokenNameMax))
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, time.Time{}, err
		}
		if !c.IsCA {
			return nil, time.Time{}, fmt.Errorf("%q is not the certificate of a CA", clipped(c.Subject.String(), certificateNameMax))
		}
		if ends.IsZero() || c.NotAfter.Before(ends) {
			ends = c.NotAfter.UTC()
		}
		pool.AddCert(c)
	}
	if ends.IsZero() {
		return nil, time.Time{}, errors.New("there is no certificate in PEM form")
	}
	return pool, ends, nil
}
