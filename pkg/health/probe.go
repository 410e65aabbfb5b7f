package health

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Result is what came of one probe.
type Result struct {
	OK      bool
	Reason  string        // in a few words, for people: "status 200", "connection refused"
	Latency time.Duration // from the start to the end of the probe
	Expires time.Time     // when the first certificate of the chain ends that the target showed; zero without TLS
	Warning string        // of a good probe, for people: "certificate ends in 9d2h"; empty: none
}

// DialFunc makes a connection, as [net.Dialer.DialContext] does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// destination is where a prober's connections go: an address, or a host name
// that the system's resolver is asked for at each probe.
type destination struct {
	addr netip.Addr // invalid for a host name
	host string     // without the final dot
}

// name is the address or host name as text.
func (d destination) name() string {
	if d.addr.IsValid() {
		return d.addr.String()
	}
	return d.host
}

// phase is how far a probe has come. It tells a person which part of the path
// to a back end hangs.
type phase int32

// The phases of a probe, in order.
const (
	resolving phase = iota
	connecting
	handshaking
	waiting
	reading
)

// String gives the words that stand behind "timeout after 2s while".
func (p phase) String() string {
	switch p {
	case resolving:
		return "resolving the name"
	case connecting:
		return "connecting"
	case handshaking:
		return "in the TLS handshake"
	case waiting:
		return "waiting for the answer"
	case reading:
		return "reading the body"
	}
	return "probing"
}

// common is what the probers of one Checker share.
type common struct {
	// Immutable.
	dial  DialFunc
	reach reachFunc      // of plain tcp probes; nil: they dial
	roots *x509.CertPool // nil: the system's
	http2 *http.Transport

	readers sync.Pool // of *bufio.Reader

	mu      sync.Mutex     // guards the following
	pattern string         // of the last match, for targets of one check come one after the other
	match   *regexp.Regexp // nil: there was none
}

// newCommon makes it.
func newCommon(dial DialFunc, roots *x509.CertPool) *common {
	return &common{dial: dial, roots: roots, http2: newHTTP2()}
}

// compile gives the regular expression of a check.
func (c *common) compile(pattern string) (*regexp.Regexp, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.match == nil || c.pattern != pattern {
		match, err := compileMatch(pattern)
		if err != nil {
			return nil, err
		}
		c.pattern, c.match = pattern, match
	}
	return c.match, nil
}

// prober probes one destination by one check. It may be used again and again,
// for one probe at a time; it holds no connection between probes.
type prober struct {
	common  *common
	check   Check // with defaults
	dest    destination
	address string // what is dialed: the target itself, whatever the check's host is
	broken  string // not empty: why no probe can be made

	// By kind.
	url      string         // HTTP and HTTPS
	request  []byte         // HTTP and HTTPS
	match    *regexp.Regexp // HTTP and HTTPS; nil: none
	tls      *tls.Config    // HTTPS and TLS
	session  session        // HTTPS
	question *question      // DNS
}

// newProber makes a prober of a check with its defaults. It starts nothing.
func newProber(check Check, dest destination, shared *common) *prober {
	p := &prober{common: shared, check: check, dest: dest}
	if err := p.prepare(); err != nil {
		// Policy files cannot hold such a check; whoever made it sees it here.
		p.broken = "check: " + err.Error()
	}
	return p
}

// prepare does once what is the same for all probes.
func (p *prober) prepare() error {
	err := p.check.Validate()
	if err != nil {
		return err
	}
	p.address = net.JoinHostPort(p.dest.name(), strconv.Itoa(int(p.check.Port)))
	switch p.check.Kind {
	case HTTP, HTTPS:
		p.url = p.check.Kind.String() + "://" + p.address + p.check.Path
		p.request = p.makeRequest()
		if p.check.Match != "" {
			if p.match, err = p.common.compile(p.check.Match); err != nil {
				return err
			}
		}
	case DNS:
		p.question, err = p.check.Query.compile()
	case TCP, TLS:
	}
	if p.check.Kind == HTTPS || p.check.Kind == TLS {
		p.tls = p.tlsConfig()
	}
	return err
}

// fits reports whether the prober serves for a check that tests the same as its own.
func (p *prober) fits(check Check) bool {
	return p.broken == "" && p.check.Timeout == check.Timeout && p.check.ExpiryWarning == check.ExpiryWarning
}

// run is what is noted of one probe while it is made.
type run struct {
	reached atomic.Int32 // a phase; a dialer's goroutines may note it after the probe has ended
	note    string       // what came before the end of a failed probe, for people
	expires time.Time    // Result's
}

// reach notes how far the probe has come.
func (r *run) reach(p phase) { r.reached.Store(int32(p)) }

// probe makes one probe. It returns after the check's timeout at the latest, or
// when ctx is done; then the result says nothing about the target.
func (p *prober) probe(ctx context.Context) Result {
	if p.broken != "" {
		return Result{Reason: p.broken}
	}
	start := time.Now()
	r := new(run)
	if p.dest.addr.IsValid() {
		r.reach(connecting)
	} else {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			ConnectStart: func(string, string) { r.reached.CompareAndSwap(int32(resolving), int32(connecting)) },
		})
	}
	good, err := "connected", error(nil)
	if p.reaches() {
		err = p.common.reach(ctx, netip.AddrPortFrom(p.dest.addr, p.check.Port), start.Add(p.check.Timeout))
	} else {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.check.Timeout)
		defer cancel()
		good, err = p.try(ctx, r)
	}
	end := time.Now()
	result := Result{OK: err == nil, Reason: good, Latency: end.Sub(start), Expires: r.expires}
	if err != nil {
		if phase(r.reached.Load()) == handshaking && ctx.Err() == nil {
			p.session.forget() // it may be what the server does not get along with
		}
		result.Reason = describe(err, ctx.Err(), p.check.Timeout, phase(r.reached.Load()))
		if r.note != "" {
			result.Reason = clean(result.Reason + ", " + r.note)
		}
		return result
	}
	result.Warning = expiryWarning(r.expires, p.check.ExpiryWarning, end)
	return result
}

// try is the part of probe that the kinds differ in. The error is one of the
// network, or an unwanted answer.
func (p *prober) try(ctx context.Context, r *run) (good string, err error) {
	switch p.check.Kind {
	case HTTP, HTTPS:
		return p.probeHTTP(ctx, r)
	case TCP:
		return p.probeTCP(ctx, r)
	case TLS:
		return p.probeTLS(ctx, r)
	case DNS:
		return p.probeDNS(ctx, r)
	}
	return "", fmt.Errorf("no such kind of check: %d", p.check.Kind)
}

// line is the connection of one probe: reading and writing end when the time
// of the probe does.
type line struct {
	net.Conn

	stop func() bool
}

// connect makes a connection to the target.
func (p *prober) connect(ctx context.Context, network string) (*line, error) {
	conn, err := p.common.dial(ctx, network, p.address)
	if err != nil {
		return nil, err
	}
	past := time.Unix(1, 0)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) }) // the next operation says what is wrong with it
	return &line{Conn: conn, stop: stop}, nil
}

// Close closes the connection.
func (l *line) Close() error {
	l.stop()
	return l.Conn.Close()
}

// drop closes the connection of which nothing more is wanted, by a reset where
// it has one: closing it in order would leave a socket behind, ours, for a
// minute of TIME_WAIT, thousands of them in all.
func (l *line) drop() {
	if resetting, ok := l.Conn.(interface{ SetLinger(sec int) error }); ok {
		_ = resetting.SetLinger(0) // else it is closed in order
	}
	_ = l.Close() // nothing is left to be said on it
}
