package health

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// reasonMax bounds a reason, in bytes: it is kept for each address, and part
// of it (a certificate's names, a malformed status line) is the back end's text.
const reasonMax = 200

// unwantedError is a reason that needs no more words: the answer was not the
// wanted one, or the probe was refused.
type unwantedError string

// Error is the reason itself.
func (e unwantedError) Error() string { return string(e) }

// describe says in a few words what went wrong with a probe. contextErr is the
// error of its context when it ended, reached how far it came.
func describe(err, contextErr error, timeout time.Duration, reached phase) string {
	if unwanted, ok := errors.AsType[unwantedError](err); ok {
		return clean(string(unwanted))
	}
	if errors.Is(contextErr, context.Canceled) {
		return "stopped"
	}
	// The socket's deadline may fire a little before that of the context.
	if contextErr != nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return "timeout after " + timeout.String() + " while " + reached.String()
	}
	return clean(cause(err, reached))
}

// cause names the errors that back ends commonly cause; others keep their text.
func cause(err error, reached phase) string {
	var (
		lookup      *net.DNSError
		certificate *tls.CertificateVerificationError
		invalid     x509.CertificateInvalidError
		record      tls.RecordHeaderError
		errno       syscall.Errno
		op          *net.OpError
	)
	switch {
	case errors.As(err, &lookup):
		return "resolving the name: " + lookup.Err
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		// Its own text has the time of now, and so is another one each second.
		return "certificate: " + validity(invalid.Cert)
	case errors.As(err, &certificate):
		return "certificate: " + strings.TrimPrefix(certificate.Err.Error(), "x509: ")
	case errors.As(err, &record):
		return "no TLS is spoken there"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset while " + reached.String()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed while " + reached.String()
	case errors.As(err, &op) && op.Err != nil && strings.HasSuffix(op.Err.Error(), "no application protocol"): // an alert, of no type to ask for
		return "the server does not speak the version of HTTP that is asked for (ALPN)"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &op) && op.Err != nil:
		return op.Err.Error()
	}
	return err.Error()
}

// validity says on which side of now a certificate's time lies.
func validity(cert *x509.Certificate) string {
	if time.Now().After(cert.NotAfter) {
		return "it has expired, on " + cert.NotAfter.UTC().Format(time.RFC3339)
	}
	return "it is not valid yet, but from " + cert.NotBefore.UTC().Format(time.RFC3339)
}

// clean makes foreign text fit for a log line: printable and bounded.
func clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	if len(text) > reasonMax {
		text = strings.ToValidUTF8(text[:reasonMax], "") + "..."
	}
	return text
}
