package api

import (
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
)

// bearer is what WWW-Authenticate asks for (RFC 6750 section 3). It is the same whatever was wrong.
const bearer = `Bearer realm="geodns"`

// door lets in who has a token. Safe for concurrent use.
type door struct {
	accept func(token string) bool // nil: everybody is let in

	mu    sync.Mutex // guards the following
	wrong map[netip.Addr]attempts
}

// attempts are the wrong tokens of one address.
type attempts struct {
	count int
	until time.Time // they are forgotten; while count is WrongTokensMax the address is locked out
}

// pass lets a request in, or answers it and says no. Without a token, with a wrong one and with one that is over the words are
// the same: who has none learns nothing of those that there are.
func (d *door) pass(w http.ResponseWriter, r *http.Request, now time.Time) bool {
	if d.accept == nil {
		return true
	}
	from := tokenSource(r)
	if wait := d.locked(from, now); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
		writeProblem(w, http.StatusTooManyRequests, "too many wrong tokens came from this address; try again in a minute")
		return false
	}
	token := bearerToken(r)
	if token != "" && d.accept(token) {
		return true
	}
	if token != "" {
		d.failed(from, now)
	}
	w.Header().Set("WWW-Authenticate", bearer)
	writeProblem(w, http.StatusUnauthorized, "a valid token is needed, as Authorization: Bearer TOKEN; the commands send the one in GEODNS_TOKEN")
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

// failed counts a wrong token.
func (d *door) failed(from netip.Addr, now time.Time) {
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
