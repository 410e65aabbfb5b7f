package health

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Kind is the protocol that a check speaks. The zero value is no kind.
type Kind uint8

// The kinds of checks. More are added behind them, so that numbers in
// metrics keep their meaning.
const (
	HTTP  Kind = iota + 1 // a request over a clear connection
	HTTPS                 // a request over TLS, the certificate verified
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
	// MethodMax bounds a method, in bytes: the longest that is registered has 17.
	MethodMax = 32
	// HeadersMax bounds the headers that a check sends, HeadersBytesMax their
	// bytes: together with a path they still fit into what common servers take.
	HeadersMax      = 32
	HeadersBytesMax = 4096
	// MatchMax bounds a regular expression, in bytes, and matchSizeMax the
	// instructions that it compiles to: BodyMax bytes times as many steps are a
	// third of a second of one core, and more is somebody else's probe delayed.
	MatchMax     = 1024
	matchSizeMax = 1000
	// SendMax bounds what a tcp check sends, in bytes: it fits any socket's buffer.
	SendMax = 4096
	// ExpectMax bounds what is read of what comes in a tcp check, and so the
	// text looked for in it, in bytes. Banners are shorter.
	ExpectMax = 4096
	// AnswersMax bounds the answers that a dns check expects, AnswerMax the
	// bytes of one: the longest that a zone reasonably holds is a key in a TXT.
	AnswersMax = 100
	AnswerMax  = 4096
	// RecheckMin: sooner than that a fault on the path has not passed, and a
	// back end in trouble is not helped.
	RecheckMin = 20 * time.Millisecond
	// DwellMax bounds dwell and warm_up: what lasts longer than a week is a
	// decision of people.
	DwellMax = 7 * 24 * time.Hour
	// HalfLifeMin and HalfLifeMax bound the decay of damping: within a second
	// nothing is damped, and after a day nobody knows why something still is.
	HalfLifeMin = time.Second
	HalfLifeMax = 24 * time.Hour
	// PenaltyMax bounds the ceiling of damping: at the default half-life it
	// takes an hour to decay to the default reuse.
	PenaltyMax = 1000
	// VoteAgeMin and VoteAgeMax bound the age of a vote: a vote needs some time
	// to get here, and one that is an hour old says nothing.
	VoteAgeMin = time.Second
	VoteAgeMax = time.Hour
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
	Headers []Header    // sent beside Host and User-Agent, or in the place of the latter
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
	TCP     bool     // over TCP; over UDP a truncated answer is judged as it is
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
	switch c.Kind {
	case HTTP, HTTPS:
		c.Method = cmp.Or(c.Method, http.MethodGet)
		c.Path = cmp.Or(c.Path, "/")
	case DNS:
		c.Query.Type = cmp.Or(c.Query.Type, "A")
		c.Query.Rcode = cmp.Or(c.Query.Rcode, "NOERROR")
	case TCP, TLS:
	}
	if c.Kind == HTTPS || c.Kind == TLS {
		c.ExpiryWarning = cmp.Or(c.ExpiryWarning, DefaultExpiryWarning)
	}
	c.Interval = cmp.Or(c.Interval, DefaultInterval)
	c.Timeout = cmp.Or(c.Timeout, min(DefaultTimeout, c.Interval))
	c.Fall = cmp.Or(c.Fall, DefaultFall)
	c.Rise = cmp.Or(c.Rise, DefaultRise)
	c.Recheck = cmp.Or(c.Recheck, min(max(c.Interval/recheckPart, RecheckMin), c.Interval))
	if c.Latency.Slow > 0 {
		c.Latency.AdmitMin = cmp.Or(c.Latency.AdmitMin, DefaultAdmitMin)
	}
	c.Damping.HalfLife = cmp.Or(c.Damping.HalfLife, DefaultHalfLife)
	c.Damping.Suppress = cmp.Or(c.Damping.Suppress, DefaultSuppress)
	c.Damping.Reuse = cmp.Or(c.Damping.Reuse, DefaultReuse)
	c.Damping.Ceiling = cmp.Or(c.Damping.Ceiling, DefaultCeiling)
	c.Votes.MaxAge = cmp.Or(c.Votes.MaxAge, DefaultVoteAge)
	return c
}

// tested says what the check tests, in one readable line. Verdicts carry over
// between two checks if and only if these lines are equal: name, interval,
// timeout and thresholds say how the test is run, not what it is. A key that
// is not set, or set to its default, has no word here, so that the lines that
// an earlier version wrote stay true.
func (c *Check) tested() string {
	words := []string{c.Kind.String(), strconv.Itoa(int(c.Port))}
	add := func(set bool, key, value string) {
		if set {
			words = append(words, key+value)
		}
	}
	switch c.Kind {
	case HTTP, HTTPS:
		add(true, "", c.Path)
		add(c.Host != "", "host=", c.Host)
		statuses := slices.Compact(slices.Sorted(slices.Values(c.Status)))
		add(c.Status != nil, "status=", strings.Trim(fmt.Sprint(statuses), "[]"))
		add(c.Body != "", "body=", strconv.Quote(c.Body))
		add(c.Match != "", "match=", strconv.Quote(c.Match))
		add(c.Method != "" && c.Method != http.MethodGet, "method=", c.Method)
		for _, h := range c.Headers {
			add(true, "header=", strconv.Quote(h.Name+": "+h.Value))
		}
		add(c.Version != AnyHTTP, "version=", strconv.Itoa(int(c.Version)))
	case TCP:
		add(c.Send != "", "send=", strconv.Quote(c.Send))
		add(c.Expect != "", "expect=", strconv.Quote(c.Expect))
	case DNS:
		add(true, "", dns.CanonicalName(c.Query.Name)+" "+cmp.Or(strings.ToUpper(c.Query.Type), "A"))
		rcode := cmp.Or(strings.ToUpper(c.Query.Rcode), "NOERROR")
		add(rcode != "NOERROR", "rcode=", rcode)
		for _, answer := range slices.Compact(slices.Sorted(slices.Values(c.Query.Answers))) {
			add(true, "answer=", strconv.Quote(answer))
		}
		add(c.Query.TCP, "over ", "tcp")
	case TLS:
	}
	if c.Kind == HTTPS || c.Kind == TLS {
		add(c.SNI != "", "sni=", c.SNI)
		add(c.Insecure, "", "insecure")
	}
	return strings.Join(words, " ")
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

// hostHeader gives the Host header of a probe of dest.
func (c *Check) hostHeader(dest destination) string {
	if c.Host != "" {
		return c.Host
	}
	name := dest.name()
	if (c.Kind == HTTP && c.Port != 80) || (c.Kind == HTTPS && c.Port != 443) {
		return net.JoinHostPort(name, strconv.Itoa(int(c.Port)))
	}
	if dest.addr.Is6() {
		return "[" + name + "]"
	}
	return name
}

// serverName gives the name that TLS asks dest for, and verifies.
func (c *Check) serverName(dest destination) string {
	name := c.SNI
	if name == "" && c.Host != "" && c.Kind == HTTPS {
		name = (&url.URL{Host: c.Host}).Hostname()
	}
	return strings.TrimSuffix(cmp.Or(name, dest.name()), ".")
}
