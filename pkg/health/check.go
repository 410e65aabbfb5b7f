package health

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is the protocol that a check speaks. The zero value is no kind.
type Kind uint8

// The kinds of checks. More are added behind them, so that numbers in
// metrics keep their meaning.
const (
	HTTP  Kind = iota + 1 // GET over a clear connection
	HTTPS                 // GET over TLS, the certificate verified
	TCP                   // a connection is made, and what it says may be looked at
	TLS                   // a TLS handshake, the certificate verified
	DNS                   // a query
)

// kindEnd is one more than the last kind.
const kindEnd = int(DNS) + 1

// String gives the word used in policy files, metrics and logs.
func (k Kind) String() string {
	switch k {
	case HTTP:
		return "http"
	case HTTPS:
		return "https"
	case TCP:
		return "tcp"
	case TLS:
		return "tls"
	case DNS:
		return "dns"
	}
	return "kind " + strconv.Itoa(int(k))
}

// Defaults of a check's keys.
const (
	DefaultInterval = 5 * time.Second
	DefaultTimeout  = 2 * time.Second
	DefaultFall     = 3
	DefaultRise     = 4

	DefaultExpiryWarning = 14 * 24 * time.Hour
	DefaultAdmitMin      = 0.1
	DefaultHalfLife      = 5 * time.Minute
	DefaultSuppress      = 2.0
	DefaultReuse         = 0.75
	DefaultCeiling       = 6.0
	DefaultVoteAge       = time.Minute

	// recheckPart: while a failure is in doubt, probes come this many times as often.
	recheckPart = 5
)

// Limits of a check's keys.
const (
	// IntervalMin keeps a slip of the pen (5ms for 5s) from flooding back ends.
	IntervalMin = 100 * time.Millisecond
	// IntervalMax: a check that runs less than once an hour protects nobody.
	IntervalMax = time.Hour
	// TimeoutMin is below any real round trip, above a forgotten unit.
	TimeoutMin = time.Millisecond
	// CountMax bounds fall and rise: 100 probes of 5 s are more than 8 minutes.
	CountMax = 100
	// PathMax bounds a path, in bytes, by what common servers take as a request line.
	PathMax = 4096
	// StatusesMax bounds the list of statuses: there are not more from 100 to 599.
	StatusesMax = 500
	// BodyMax bounds what is read of a body, and so the text looked for in it,
	// in bytes. A health page that says so later than that is no health page.
	BodyMax = 64 << 10
)

// Check is a configured test: what is tested, how often, and how much it takes
// to believe it. The zero value of every field is its default. Immutable once
// handed over.
type Check struct {
	Name string // as in the policy file; no part of what is tested
	Kind Kind
	Port uint16 // required

	// HTTP and HTTPS only.

	Method  string      // a token (RFC 9110 section 9); empty: GET
	Path    string      // begins with a slash, may hold a query; empty: "/"
	Host    string      // Host header and SNI, with or without a port; empty: the target's host name, else its address
	Headers []Header    // sent beside Host and User-Agent
	Status  []int       // good statuses; nil: 200 to 299. Redirects are not followed, so list them where they are good
	Body    string      // must occur in the first BodyMax bytes of the body; empty: not looked for
	Match   string      // regular expression (RE2) that must match in the first BodyMax bytes of the body; empty: none
	Version HTTPVersion // spoken

	// HTTPS and TLS only.

	SNI           string        // name that is asked for and verified; empty: that of Host, else the target's host name, else its address
	Insecure      bool          // the certificate is not verified
	ExpiryWarning time.Duration // a certificate that ends sooner is warned of; 0: DefaultExpiryWarning, negative: never

	// TCP only.

	Send   string // sent once connected; empty: nothing
	Expect string // must occur in the first ExpectMax bytes that come; empty: nothing need come

	// DNS only.

	Query DNSQuery

	// Of every kind.

	Interval time.Duration // between the starts of two probes of an address; 0: DefaultInterval
	Timeout  time.Duration // of a whole probe, at most Interval; 0: the lesser of DefaultTimeout and Interval
	Fall     int           // failed probes in a row that make a target down; 0: DefaultFall
	Rise     int           // good probes in a row that make it up again; 0: DefaultRise
	Recheck  time.Duration // between probes while a failure is in doubt, at most Interval; 0: Interval / recheckPart
	WarmUp   time.Duration // after a recovery the part admitted rises to all over this time; 0: at once
	Dwell    time.Duration // a target that is down stays so at least this long; 0: no such time
	Latency  Latency
	Damping  Damping
	Votes    Votes
}

// Header is one header of a request.
type Header struct{ Name, Value string }

// HTTPVersion is what a probe speaks.
type HTTPVersion uint8

// The versions. With AnyHTTP, HTTPS takes what ALPN (RFC 7301) agrees on, and
// HTTP speaks HTTP/1.1; HTTP2 without TLS is by prior knowledge (RFC 9113
// section 3.3).
const (
	AnyHTTP HTTPVersion = iota
	HTTP1
	HTTP2
)

// DNSQuery is what a dns check asks, and what it expects.
type DNSQuery struct {
	Name    string   // absolute, the final dot is optional
	Type    string   // "A", "TYPE65"; empty: "A"
	Rcode   string   // "NOERROR", "NXDOMAIN"; empty: NOERROR
	Answers []string // rdata in presentation form that must be among the answers of Type; none: any answer will do
	TCP     bool     // over TCP; a truncated answer over UDP is good as it is
}

// Latency says when a target is slow. The zero value: latency decides nothing.
type Latency struct {
	Slow     time.Duration // smoothed latency of probes from which on less than all is admitted
	Worst    time.Duration // from which on no more than AdmitMin is admitted; more than Slow
	AdmitMin float64       // in (0, 1); 0: DefaultAdmitMin
}

// Damping holds flapping targets down (RFC 2439 section 4.2): each down
// verdict adds 1 to a penalty that decays. The zero value is the default.
type Damping struct {
	Off      bool
	HalfLife time.Duration // in which a penalty halves; 0: DefaultHalfLife
	Suppress float64       // penalty from which on a target is held down, more than 1: one failure is never suppressed; 0: DefaultSuppress
	Reuse    float64       // penalty below which it is let up again, less than Suppress; 0: DefaultReuse
	Ceiling  float64       // the penalty rises no further, at least Suppress; 0: DefaultCeiling
}

// Votes says how the votes of several vantage points make a verdict.
type Votes struct {
	Need   int           // votes that it takes to call a target down, at most those that are fresh; 0: more than half of these
	MaxAge time.Duration // of a vote that was pushed; 0: DefaultVoteAge
}

// WithDefaults returns the check with its zero values replaced.
func (c Check) WithDefaults() Check {
	if c.Path == "" && c.Kind != TCP {
		c.Path = "/"
	}
	if c.Interval == 0 {
		c.Interval = DefaultInterval
	}
	if c.Timeout == 0 {
		c.Timeout = min(DefaultTimeout, c.Interval)
	}
	if c.Fall == 0 {
		c.Fall = DefaultFall
	}
	if c.Rise == 0 {
		c.Rise = DefaultRise
	}
	return c
}

// Validate says what is impossible in the check, zero values standing for
// their defaults. The error names the key as users write it.
func (c Check) Validate() error {
	c = c.WithDefaults()
	switch {
	case c.Kind == 0 || int(c.Kind) >= kindEnd:
		return fmt.Errorf("no such kind of check: %d", c.Kind)
	case c.Port == 0:
		return errors.New("port must be from 1 to 65535")
	case c.Interval < IntervalMin || c.Interval > IntervalMax:
		return fmt.Errorf("interval %v is not within %v and %v", c.Interval, IntervalMin, IntervalMax)
	case c.Timeout < TimeoutMin:
		return fmt.Errorf("timeout %v is less than %v", c.Timeout, TimeoutMin)
	case c.Timeout > c.Interval:
		return fmt.Errorf("timeout %v is longer than interval %v", c.Timeout, c.Interval)
	case c.Fall < 1 || c.Fall > CountMax:
		return fmt.Errorf("fall %d is not within 1 and %d", c.Fall, CountMax)
	case c.Rise < 1 || c.Rise > CountMax:
		return fmt.Errorf("rise %d is not within 1 and %d", c.Rise, CountMax)
	case c.Kind == TCP:
		return nil
	}
	return c.validateHTTP()
}

// validateHTTP is the part of Validate for the keys of HTTP and HTTPS.
func (c Check) validateHTTP() error {
	if len(c.Path) > PathMax {
		return fmt.Errorf("path has %d bytes, at most %d are allowed", len(c.Path), PathMax)
	}
	if _, err := url.ParseRequestURI(c.Path); err != nil || c.Path[0] != '/' {
		return fmt.Errorf("path %q is not a path that begins with a slash", c.Path)
	}
	if strings.ContainsAny(c.Path, " #") {
		return fmt.Errorf("path %q holds a space or a fragment", c.Path)
	}
	if len(c.Status) > StatusesMax {
		return fmt.Errorf("status lists %d numbers, at most %d are allowed", len(c.Status), StatusesMax)
	}
	for _, status := range c.Status {
		if status < 200 || status > 599 {
			return fmt.Errorf("status %d is not within 200 and 599", status)
		}
	}
	if len(c.Body) > BodyMax {
		return fmt.Errorf("body has %d bytes, only %d of an answer are read", len(c.Body), BodyMax)
	}
	if c.Host != "" {
		if parsed, err := url.Parse("http://" + c.Host + "/"); err != nil || parsed.Host != c.Host || parsed.Hostname() == "" {
			return fmt.Errorf("host %q is not a host name or address, with or without a port", c.Host)
		}
	}
	return nil
}

// tested says what the check tests, in one readable line. Verdicts carry over
// between two checks if and only if these lines are equal: name, interval,
// timeout and thresholds say how the test is run, not what it is.
func (c *Check) tested() string {
	line := c.Kind.String() + " " + strconv.Itoa(int(c.Port))
	if c.Kind == TCP {
		return line
	}
	line += " " + c.Path
	if c.Host != "" {
		line += " host=" + c.Host
	}
	if c.Status != nil {
		statuses := slices.Sorted(slices.Values(c.Status))
		line += " status=" + strings.Trim(fmt.Sprint(slices.Compact(statuses)), "[]")
	}
	if c.Body != "" {
		line += " body=" + strconv.Quote(c.Body)
	}
	return line
}

// good reports whether an HTTP status is one that the check expects.
func (c *Check) good(status int) bool {
	if c.Status == nil {
		return status >= 200 && status <= 299
	}
	return slices.Contains(c.Status, status)
}

// wanted names the expected statuses for people.
func (c *Check) wanted() string {
	if c.Status == nil {
		return "200 to 299"
	}
	words := make([]string, len(c.Status))
	for i, status := range c.Status {
		words[i] = strconv.Itoa(status)
	}
	return strings.Join(words, ", ")
}

// Target is something to be probed: addresses, or one host name. Immutable
// once handed over.
type Target struct {
	ID    string       // "pool/target"
	Addrs []netip.Addr // each is probed by itself
	Host  string       // of a target without addresses: absolute, the final dot is optional
	Check *Check       // nil: the target is not probed, and has no verdict here
}

// Allowed reports whether a probe may be sent to addr: nil, or the reason why
// not. It is what [Config].Allow is made of. Unspecified and multicast
// addresses are no targets (an unspecified one would reach this very host);
// link-local ones, among them the metadata services of clouds, must be in
// allow; loopback ones too, unless the server itself listens on loopback
// alone, as on a developer's machine.
func Allowed(addr netip.Addr, listenOnLoopback bool, allow []netip.Prefix) error {
	addr = addr.Unmap().WithZone("")
	switch {
	case !addr.IsValid() || addr.IsUnspecified():
		return fmt.Errorf("address %v is no address of a host", addr)
	case addr.IsMulticast() || addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("address %v stands for many hosts", addr)
	case addr.IsLoopback() && listenOnLoopback:
		return nil
	case !addr.IsLoopback() && !addr.IsLinkLocalUnicast():
		return nil
	}
	for _, prefix := range allow {
		if prefix.Contains(addr) {
			return nil
		}
	}
	if addr.IsLoopback() {
		return fmt.Errorf("address %v is on loopback, and not in health.allow", addr)
	}
	return fmt.Errorf("address %v is link-local, and not in health.allow", addr)
}

// hostHeader gives the Host header of a probe of dest, and the name that TLS
// asks for and verifies.
func (c *Check) hostHeader(dest destination) (header, server string) {
	if c.Host != "" {
		host := (&url.URL{Host: c.Host}).Hostname()
		return c.Host, strings.TrimSuffix(host, ".")
	}
	server = dest.name()
	if (c.Kind == HTTP && c.Port != 80) || (c.Kind == HTTPS && c.Port != 443) {
		return net.JoinHostPort(server, strconv.Itoa(int(c.Port))), server
	}
	if dest.addr.Is6() {
		return "[" + server + "]", server
	}
	return server, server
}
