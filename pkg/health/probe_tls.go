package health

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// resumeMax is how long a session is resumed after its full handshake, at
// most: a certificate that was exchanged for a wrong one is noticed within a
// minute, and at the default interval eight handshakes of nine are cheap. Once
// it is over, handshakes are full ones until one is good.
const resumeMax = time.Minute

// ALPN's names of the versions of HTTP (RFC 7301 section 6, RFC 9113 section 3.2).
const (
	alpnHTTP1 = "http/1.1"
	alpnHTTP2 = "h2"
)

// tlsConfig is how a prober shakes hands.
func (p *prober) tlsConfig() *tls.Config {
	config := &tls.Config{
		ServerName:         p.check.serverName(p.dest),
		RootCAs:            p.common.roots,
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: p.check.Insecure, //nolint:gosec // the check says so
	}
	if p.check.Kind == TLS {
		return config // the handshake is what is tested: a whole one each time
	}
	config.ClientSessionCache = &p.session
	switch p.check.Version {
	case AnyHTTP:
		config.NextProtos = []string{alpnHTTP2, alpnHTTP1}
	case HTTP1:
		config.NextProtos = []string{alpnHTTP1}
	case HTTP2:
		config.NextProtos = []string{alpnHTTP2}
	}
	return config
}

// probeTLS makes a connection and shakes hands on it.
func (p *prober) probeTLS(ctx context.Context, r *run) (good string, err error) {
	conn, err := p.connect(ctx, "tcp")
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // in order, so that the server's handshake ends well too
	secured, err := p.handshake(conn, r)
	if err != nil {
		return "", err
	}
	return tls.VersionName(secured.ConnectionState().Version) + " handshake", nil
}

// handshake shakes hands on a connection, and notes when the certificate ends.
// The connection is to be closed, not what is returned: that would say goodbye
// and wait to be rid of it.
func (p *prober) handshake(conn *line, r *run) (*tls.Conn, error) {
	r.reach(handshaking)
	secured := tls.Client(conn, p.tls)
	// The line's own deadline ends it; HandshakeContext would take a goroutine for that.
	if err := secured.Handshake(); err != nil {
		if unverified, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			r.expires = earliest(unverified.UnverifiedCertificates)
		}
		return nil, err
	}
	state := secured.ConnectionState()
	if !state.DidResume {
		p.session.begin(time.Now())
	}
	r.expires = expiry(state)
	return secured, nil
}

// expiry is when the chain ends that a handshake was verified by: of several,
// that which ends last; of its certificates, that which ends first. The trust
// anchor is not counted unless it was presented: others may trust another.
// Without verification it is the certificate of those presented that ends first.
func expiry(state tls.ConnectionState) time.Time {
	var last time.Time
	for _, chain := range state.VerifiedChains {
		used := slices.DeleteFunc(slices.Clone(chain), func(c *x509.Certificate) bool {
			return !slices.ContainsFunc(state.PeerCertificates, c.Equal)
		})
		if ends := earliest(used); ends.After(last) {
			last = ends
		}
	}
	if last.IsZero() {
		return earliest(state.PeerCertificates)
	}
	return last
}

// earliest is when the first of certificates ends; zero if there are none.
func earliest(certs []*x509.Certificate) time.Time {
	if len(certs) == 0 {
		return time.Time{}
	}
	return slices.MinFunc(certs, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) }).NotAfter
}

// expiryWarning says that a certificate ends within a time, or nothing.
func expiryWarning(ends time.Time, within time.Duration, now time.Time) string {
	left := ends.Sub(now)
	switch {
	case ends.IsZero() || within < 0 || left >= within:
		return ""
	case left < 0:
		return "certificate ended " + days(-left) + " ago"
	}
	return "certificate ends in " + days(left)
}

// days writes a time for people: its days and hours, or what is below.
func days(d time.Duration) string {
	const day = 24 * time.Hour
	if d < time.Hour {
		return d.Round(time.Second).String()
	}
	hours := fmt.Sprintf("%dh", d%day/time.Hour)
	if d < day {
		return cmp.Or(hours, "0h")
	}
	return fmt.Sprintf("%dd", d/day) + hours
}

// session is the TLS session that a prober's next handshake resumes: the
// [tls.ClientSessionCache] of one server. crypto/tls itself looks at the
// certificates of a session again before it resumes it, so one that has ended
// since leads to a full handshake. The zero value is ready for use.
type session struct {
	mu    sync.Mutex // guards the following
	state *tls.ClientSessionState
	until time.Time // when it is too old
}

var _ tls.ClientSessionCache = (*session)(nil)

// Get gives the session, unless it is too old.
func (s *session) Get(string) (*tls.ClientSessionState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == nil || !time.Now().Before(s.until) {
		return nil, false
	}
	return s.state, true
}

// Put keeps a session; nil forgets it.
func (s *session) Put(_ string, state *tls.ClientSessionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state
}

// begin notes a full handshake. TLS 1.2 has put its session by then, TLS 1.3
// does so later. Sessions that begin together, as after a start, end at random
// times, so that full handshakes do not come all at once.
func (s *session) begin(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = now.Add(resumeMax/2 + rand.N(resumeMax/2))
}

// forget has the next handshake be a full one.
func (s *session) forget() { s.Put("", nil) }
