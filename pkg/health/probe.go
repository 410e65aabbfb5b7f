package health

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// headerMax bounds the header of an answer, in bytes. Servers themselves
	// send a few kilobytes; the rest is somebody's attempt at our memory.
	headerMax = 64 << 10

	// userAgent lets operators of back ends find probes in their logs.
	userAgent = "geodns-health-check"
)

// Result is what came of one probe.
type Result struct {
	OK      bool
	Reason  string        // in a few words, for people: "status 200", "connection refused"
	Latency time.Duration // from the start to the end of the probe
	Expires time.Time     // when the first certificate of the chain that was shown ends; zero without TLS
	Warning string        // of a probe that is good, and soon may not be: "certificate ends in 9d2h"; empty: none
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

// prober probes one destination by one check. It may be used again and again, for one
// probe at a time; it holds no connection
// between probes.
type prober struct {
	check     Check // with defaults
	dest      destination
	dial      DialFunc
	transport *http.Transport // HTTP and HTTPS only
	url       string
	hostport  string // Host header
	broken    string // not empty: why no probe can be made
}

// newProber makes a prober. It starts nothing. roots verify certificates; nil
// stands for the system's.
func newProber(check Check, dest destination, dial DialFunc, roots *x509.CertPool) *prober {
	p := &prober{check: check, dest: dest, dial: dial}
	if err := check.Validate(); err != nil {
		// Policy files cannot hold such a check; whoever made it sees it here.
		p.broken = "check: " + err.Error()
		return p
	}
	if check.Kind == TCP {
		return p
	}
	address := p.address()
	header, server := check.hostHeader(dest)
	p.url = check.Kind.String() + "://" + address + check.Path
	p.hostport = header
	p.transport = &http.Transport{
		Proxy: nil, // the environment's proxy would answer for a back end that is dead
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dial(ctx, network, address)
		},
		TLSClientConfig: &tls.Config{ServerName: server, RootCAs: roots, MinVersion: tls.VersionTLS12},
		// A kept connection would hide that a back end accepts no new ones.
		DisableKeepAlives:      true,
		DisableCompression:     true, // body texts are looked for in what is sent
		MaxResponseHeaderBytes: headerMax,
	}
	return p
}

// address is what is dialed: the target itself, whatever the check's host is.
func (p *prober) address() string {
	return net.JoinHostPort(p.dest.name(), strconv.Itoa(int(p.check.Port)))
}

// probe makes one probe. It returns after the check's timeout at the latest,
// or when ctx is done; then the result says nothing about the target.
func (p *prober) probe(ctx context.Context) Result {
	if p.broken != "" {
		return Result{Reason: p.broken}
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, p.check.Timeout)
	defer cancel()
	var reached atomic.Int32
	if p.dest.addr.IsValid() {
		reached.Store(int32(connecting))
	}
	ctx = httptrace.WithClientTrace(ctx, trace(&reached))
	var good string
	var err error
	switch p.check.Kind {
	case HTTP, HTTPS:
		good, err = p.probeHTTP(ctx, &reached)
	case TCP:
		good, err = p.probeTCP(ctx)
	default:
		err = fmt.Errorf("no such kind of check: %d", p.check.Kind)
	}
	latency := time.Since(start)
	if err != nil {
		return Result{Reason: describe(err, ctx.Err(), p.check.Timeout, phase(reached.Load())), Latency: latency}
	}
	return Result{OK: true, Reason: good, Latency: latency}
}

// trace notes how far a probe has come. The functions run on the transport's
// goroutines, some of them after the probe has ended.
func trace(reached *atomic.Int32) *httptrace.ClientTrace {
	note := func(p phase) { reached.Store(int32(p)) }
	return &httptrace.ClientTrace{
		ConnectStart:         func(string, string) { note(connecting) },
		TLSHandshakeStart:    func() { note(handshaking) },
		WroteRequest:         func(httptrace.WroteRequestInfo) { note(waiting) },
		GotFirstResponseByte: func() { note(waiting) },
	}
}

// probeTCP makes a connection and closes it. The error is that of the dialer.
func (p *prober) probeTCP(ctx context.Context) (good string, err error) {
	conn, err := p.dial(ctx, "tcp", p.address())
	if err != nil {
		return "", err
	}
	_ = conn.Close() // the connection was made: what becomes of it is of no interest
	return "connected", nil
}

// probeHTTP makes one request and judges the answer. The error is that of the
// transport, or an unwanted answer.
func (p *prober) probeHTTP(ctx context.Context, reached *atomic.Int32) (good string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, http.NoBody)
	if err != nil {
		return "", err
	}
	request.Host = p.hostport
	request.Header.Set("User-Agent", userAgent)
	// A connection of our own: the transport's pool would go on dialing, and
	// shaking hands, behind a request that has timed out, so that a back end
	// that hangs would collect sockets of ours.
	conn, err := p.transport.NewClientConn(ctx, p.check.Kind.String(), p.address())
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // the answer is judged by then
	// RoundTrip, for it follows no redirects and keeps no cookies.
	response, err := conn.RoundTrip(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	if !p.check.good(response.StatusCode) {
		return "", unwantedError(fmt.Sprintf("status %d, want %s", response.StatusCode, p.check.wanted()))
	}
	good = "status " + strconv.Itoa(response.StatusCode)
	if p.check.Body == "" {
		return good, nil
	}
	reached.Store(int32(reading))
	found, err := holds(response.Body, []byte(p.check.Body))
	if err != nil {
		return "", err
	}
	if !found {
		return "", unwantedError(fmt.Sprintf("%s, but %.40q is not in the body", good, p.check.Body))
	}
	return good, nil
}

// holds reports whether text occurs in the first BodyMax bytes of body. It
// reads no further than to the end of text.
func holds(body io.Reader, text []byte) (bool, error) {
	data := make([]byte, BodyMax)
	for end := 0; end < len(data); {
		n, err := body.Read(data[end:])
		from := max(0, end-len(text)+1) // what was there before, but for a beginning of text, is searched
		end += n
		if bytes.Contains(data[from:end], text) {
			return true, nil
		}
		if err == io.EOF { // itself, as io.Reader promises; one wrapped is a broken connection
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// systemDial dials over the system's sockets and resolver. allow is asked
// about each address before anything is sent to it, so a host name that
// resolves to a forbidden address is refused as that address is.
func systemDial(allow func(netip.Addr) error, _ func(netip.AddrPort) bool) DialFunc {
	dialer := &net.Dialer{
		KeepAlive: -1, // no connection lives long enough for one
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			if allow == nil {
				return nil
			}
			// A zone is no part of what is allowed, and ParseAddrPort takes it.
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return unwantedError("refused: " + strings.TrimSpace(err.Error()))
			}
			if err := allow(to.Addr()); err != nil {
				return unwantedError("refused: " + err.Error())
			}
			return nil
		},
	}
	return dialer.DialContext
}
