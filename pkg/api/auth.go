package api

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits of who may try tokens. A token cannot be guessed; this keeps a program with an old one, or a person with a list, from
// filling the log and the processor.
const (
	// WrongTokensMax is how many wrong tokens an address may send within wrongWindow before it is locked out.
	WrongTokensMax = 5
	// wrongWindow is the time that they are counted in, and lockTime how long the address is locked out then.
	wrongWindow = time.Minute
	lockTime    = time.Minute
	// wrongAddrsMax bounds the addresses remembered, at some 100 bytes each. Beyond it those are forgotten that would be
	// forgotten first anyway.
	wrongAddrsMax = 4096
	// wrongPrefix6 is what counts as one address of IPv6: a host has a whole /64 to choose from.
	wrongPrefix6 = 64
	// unavailableRetry is when a client should try again whose issuer's keys cannot be had.
	unavailableRetry = 10 * time.Second
	// jwtDots is how many dots a JWT has (RFC 7515 section 3.1).
	jwtDots = 2
)

// bearer is what WWW-Authenticate asks for (RFC 6750 section 3). It is the same whatever was wrong.
const bearer = `Bearer realm="geodns"`

// ErrUnavailable is said of a credential that cannot be judged now: nothing is wrong with it as far as is known.
var ErrUnavailable = errors.New("who this is cannot be told now")

// Access says whose a credential is. A func is nil where no such credentials are configured; where all are nil, nobody needs one,
// which is for loopback alone. All must be safe for concurrent use, and what they give is not changed any more.
type Access struct {
	// Token tells of a static token's text; false: it is none, or is over.
	Token func(text string) (*Principal, bool)
	// JWT tells of an issuer's token. The error wraps ErrUnavailable where that is not the token's fault.
	JWT func(ctx context.Context, text string) (*Principal, error)
	// Certificate tells of a client certificate that a handshake accepted, the leaf first; false: it is accepted no more.
	Certificate func(chain []*x509.Certificate) (*Principal, bool)
	// Issuer is the URL of who signs the JWTs, for the API's description.
	Issuer string
}

// Configured says whether there are credentials at all.
func (a *Access) Configured() bool { return a.Token != nil || a.JWT != nil || a.Certificate != nil }

// wanted says in a line what a client should send.
func (a *Access) wanted() string {
	const token = "a valid token is needed, as Authorization: Bearer TOKEN; the commands send the one in GEODNS_TOKEN"
	const certificate = "the commands show the one in GEODNS_API_CERT and GEODNS_API_KEY"
	switch {
	case a.Certificate == nil:
		return token
	case a.Token == nil && a.JWT == nil:
		return "a valid client certificate is needed; " + certificate
	}
	return token + ", or a client certificate; " + certificate
}

// door lets in who has a credential. Safe for concurrent use.
type door struct {
	access Access
	needs  map[string]need // by pattern; what is not here, nobody may
	log    *slog.Logger

	mu    sync.Mutex // guards the following
	wrong map[netip.Addr]attempts
}

// attempts are the wrong tokens of one address.
type attempts struct {
	count int
	until time.Time // they are forgotten; while count is WrongTokensMax the address is locked out
}

// pass gives who asks, or answers the request and gives nil. Without a token, with a wrong one and with one that is over the words
// are the same: who has none learns nothing of those that there are.
func (d *door) pass(w http.ResponseWriter, r *http.Request, now time.Time) *Principal {
	if !d.access.Configured() {
		return localPrincipal()
	}
	from := tokenSource(r)
	if wait := d.locked(from, now); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
		writeProblem(w, http.StatusTooManyRequests, "too many wrong tokens came from this address; try again in a minute")
		return nil
	}
	p, err := d.identify(r)
	switch {
	case err == nil:
		return p
	case errors.Is(err, ErrUnavailable):
		w.Header().Set("Retry-After", strconv.Itoa(int(unavailableRetry/time.Second)))
		writeProblem(w, http.StatusServiceUnavailable, "the keys of the OIDC issuer that this token needs cannot be had now; static tokens and certificates work")
		return nil
	case errors.Is(err, errWrong):
		if d.failed(from, now) {
			d.log.Warn("an address is locked out of the API after wrong tokens", "address", from.String(), "for", lockTime.String())
		}
	}
	w.Header().Set("WWW-Authenticate", bearer)
	writeProblem(w, http.StatusUnauthorized, d.access.wanted())
	return nil
}

// What pass makes of a request that it does not let in.
var (
	errNone  = errors.New("no credential")
	errWrong = errors.New("a wrong credential")
)

// identify tells whose the credential of a request is. Where there is a header it decides, so that a wrong token is not forgiven
// for the certificate beside it. A certificate that is accepted no more is not counted as wrong: its key cannot be guessed either,
// and whoever gets a new one shall not wait.
func (d *door) identify(r *http.Request) (*Principal, error) {
	if len(r.Header.Values("Authorization")) == 0 && r.TLS != nil && len(r.TLS.PeerCertificates) > 0 && d.access.Certificate != nil {
		if p, ok := d.access.Certificate(r.TLS.PeerCertificates); ok {
			return p, nil
		}
		return nil, errNone
	}
	text := bearerToken(r)
	switch {
	case text == "":
		return nil, errNone
	case strings.HasPrefix(text, tokenPrefix):
		if d.access.Token != nil {
			if p, ok := d.access.Token(text); ok {
				return p, nil
			}
		}
	case d.access.JWT != nil && strings.Count(text, ".") == jwtDots:
		p, err := d.access.JWT(r.Context(), text)
		if err == nil || errors.Is(err, ErrUnavailable) {
			return p, err
		}
		d.log.Debug("a token of the OIDC issuer is refused", "error", err.Error())
	}
	return nil, errWrong
}

// may answers a request of somebody whose grants do not permit what a pattern stands for, and says no. Handlers look at the object.
func (d *door) may(w http.ResponseWriter, pattern string, p *Principal) bool {
	n, known := d.needs[pattern]
	if known && p.MaySome(n.resource, n.verb) {
		return true
	}
	if !known {
		writeProblem(w, http.StatusForbidden, "nobody may do this: it has no permission that could be granted")
		return false
	}
	writeProblem(w, http.StatusForbidden, p.lacks(n.resource, n.verb))
	return false
}

// bearerToken gives the token of a request (RFC 6750 section 2.1), "" if there is none.
func bearerToken(r *http.Request) string {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// tokenSource is where a request came from, as far as wrong tokens are counted together.
func tokenSource(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{} // all that cannot be told apart count as one
	}
	addr := at.Addr().Unmap().WithZone("")
	if addr.Is6() {
		if prefix, err := addr.Prefix(wrongPrefix6); err == nil {
			return prefix.Addr()
		}
	}
	return addr
}

// locked says for how long an address is locked out still.
func (d *door) locked(from netip.Addr, now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a := d.wrong[from]; a.count >= WrongTokensMax {
		return max(0, a.until.Sub(now))
	}
	return 0
}

// failed counts a wrong token, and says whether it was the one that locks the address out.
func (d *door) failed(from netip.Addr, now time.Time) (locked bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a, known := d.wrong[from]
	if !known && len(d.wrong) >= wrongAddrsMax {
		d.forget(now)
	}
	if !now.Before(a.until) {
		a = attempts{until: now.Add(wrongWindow)}
	}
	if a.count++; a.count == WrongTokensMax {
		a.until = now.Add(lockTime)
	}
	if d.wrong == nil {
		d.wrong = map[netip.Addr]attempts{}
	}
	d.wrong[from] = a
	return a.count == WrongTokensMax
}

// forget makes room: those that are over go, and if there are none, the one that would be next. d.mu is held.
func (d *door) forget(now time.Time) {
	var next netip.Addr
	var at time.Time
	for addr, a := range d.wrong {
		if !now.Before(a.until) {
			delete(d.wrong, addr)
		} else if at.IsZero() || a.until.Before(at) {
			next, at = addr, a.until
		}
	}
	if len(d.wrong) >= wrongAddrsMax {
		delete(d.wrong, next)
	}
}
