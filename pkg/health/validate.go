package health

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Validate says what is impossible in the check, zero values standing for
// their defaults. The error names the key as users write it. Keys of other
// kinds are not looked at.
func (c Check) Validate() error {
	c = c.WithDefaults()
	if c.Kind == 0 || int(c.Kind) >= kindEnd {
		return fmt.Errorf("no such kind of check: %d", c.Kind)
	}
	if c.Port == 0 {
		return errors.New("port must be from 1 to 65535")
	}
	for _, validate := range []func() error{
		c.validateTimes, c.validateKind, c.validateLatency, c.validateDamping, c.validateVotes,
	} {
		if err := validate(); err != nil {
			return err
		}
	}
	return nil
}

// validateTimes is the part of Validate for when and how often is probed.
func (c *Check) validateTimes() error {
	switch {
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
	case c.Recheck < RecheckMin:
		return fmt.Errorf("recheck %v is less than %v", c.Recheck, RecheckMin)
	case c.Recheck > c.Interval:
		return fmt.Errorf("recheck %v is longer than interval %v", c.Recheck, c.Interval)
	case c.WarmUp < 0 || c.WarmUp > DwellMax:
		return fmt.Errorf("warm_up %v is not within 0s and %v", c.WarmUp, DwellMax)
	case c.Dwell < 0 || c.Dwell > DwellMax:
		return fmt.Errorf("dwell %v is not within 0s and %v", c.Dwell, DwellMax)
	}
	return nil
}

// validateLatency is the part of Validate for when a target is slow.
func (c *Check) validateLatency() error {
	l := c.Latency
	switch {
	case l == Latency{}:
		return nil
	case l.Slow <= 0:
		return fmt.Errorf("latency: slow %v must be more than 0s", l.Slow)
	case l.Slow >= c.Timeout:
		return fmt.Errorf("latency: slow %v is not less than timeout %v: no probe that slow is good", l.Slow, c.Timeout)
	case l.Worst <= l.Slow:
		return fmt.Errorf("latency: worst %v must be more than slow %v", l.Worst, l.Slow)
	case !(l.AdmitMin > 0 && l.AdmitMin < 1): // so that no NaN passes
		return fmt.Errorf("latency: admit_min %v is not between 0 and 1", l.AdmitMin)
	}
	return nil
}

// validateDamping is the part of Validate for flap damping. Comparisons are
// such that no NaN passes.
func (c *Check) validateDamping() error {
	d := c.Damping
	switch {
	case d.HalfLife < HalfLifeMin || d.HalfLife > HalfLifeMax:
		return fmt.Errorf("damping: half_life %v is not within %v and %v", d.HalfLife, HalfLifeMin, HalfLifeMax)
	case !(d.Suppress > 1):
		return fmt.Errorf("damping: suppress %v must be more than 1: one failure is never suppressed", d.Suppress)
	case !(d.Reuse > 0 && d.Reuse < d.Suppress):
		return fmt.Errorf("damping: reuse %v is not between 0 and suppress %v", d.Reuse, d.Suppress)
	case !(d.Ceiling >= d.Suppress && d.Ceiling <= PenaltyMax):
		return fmt.Errorf("damping: ceiling %v is not within suppress %v and %d", d.Ceiling, d.Suppress, PenaltyMax)
	}
	return nil
}

// validateVotes is the part of Validate for the votes of vantage points.
func (c *Check) validateVotes() error {
	v := c.Votes
	switch {
	case v.Need < 0 || v.Need > VantagesMax:
		return fmt.Errorf("votes: need %d is not within 0 and %d", v.Need, VantagesMax)
	case v.MaxAge < VoteAgeMin || v.MaxAge > VoteAgeMax:
		return fmt.Errorf("votes: max_age %v is not within %v and %v", v.MaxAge, VoteAgeMin, VoteAgeMax)
	}
	return nil
}

// validateKind is the part of Validate for the keys of one kind.
func (c *Check) validateKind() error {
	switch c.Kind {
	case HTTP, HTTPS:
		for _, validate := range []func() error{c.validateRequest, c.validateHeaders, c.validateAnswer, c.validateSNI} {
			if err := validate(); err != nil {
				return err
			}
		}
	case TLS:
		return c.validateSNI()
	case TCP:
		if len(c.Send) > SendMax {
			return fmt.Errorf("send has %d bytes, at most %d are allowed", len(c.Send), SendMax)
		}
		if len(c.Expect) > ExpectMax {
			return fmt.Errorf("expect has %d bytes, only %d of what comes are read", len(c.Expect), ExpectMax)
		}
	case DNS:
		_, err := c.Query.compile()
		return err
	}
	return nil
}

// validateRequest is the part of Validate for the first line of a request, and its Host.
func (c *Check) validateRequest() error {
	if len(c.Method) > MethodMax || !isToken(c.Method) || c.Method == "CONNECT" {
		return fmt.Errorf("method %.40q is not one such as GET or HEAD", c.Method)
	}
	if c.Version > HTTP2 {
		return fmt.Errorf("no such version of HTTP: %d", c.Version)
	}
	if len(c.Path) > PathMax {
		return fmt.Errorf("path has %d bytes, at most %d are allowed", len(c.Path), PathMax)
	}
	if _, err := url.ParseRequestURI(c.Path); err != nil || c.Path[0] != '/' {
		return fmt.Errorf("path %q is not a path that begins with a slash", c.Path)
	}
	if strings.ContainsAny(c.Path, " #") {
		return fmt.Errorf("path %q holds a space or a fragment", c.Path)
	}
	if c.Host == "" {
		return nil
	}
	if parsed, err := url.Parse("http://" + c.Host + "/"); err != nil || parsed.Host != c.Host || parsed.Hostname() == "" {
		return fmt.Errorf("host %q is not a host name or address, with or without a port", c.Host)
	}
	return nil
}

// validateAnswer is the part of Validate for what an HTTP answer must be.
func (c *Check) validateAnswer() error {
	if len(c.Status) > StatusesMax {
		return fmt.Errorf("status lists %d numbers, at most %d are allowed", len(c.Status), StatusesMax)
	}
	for _, status := range c.Status {
		if status < 200 || status > 599 {
			return fmt.Errorf("status %d is not within 200 and 599", status)
		}
	}
	if c.Method == "HEAD" && (c.Body != "" || c.Match != "") {
		return errors.New("an answer to HEAD has no body to look for body or match in")
	}
	if len(c.Body) > BodyMax {
		return fmt.Errorf("body has %d bytes, only %d of an answer are read", len(c.Body), BodyMax)
	}
	if c.Match == "" {
		return nil
	}
	_, err := compileMatch(c.Match)
	return err
}

// compileMatch compiles a check's regular expression, if it is not too costly.
func compileMatch(text string) (*regexp.Regexp, error) {
	if len(text) > MatchMax {
		return nil, fmt.Errorf("match has %d bytes, at most %d are allowed", len(text), MatchMax)
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("match %q is not a regular expression (RE2): %w", text, err)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, fmt.Errorf("match %q: %w", text, err)
	}
	if size := len(program.Inst); size > matchSizeMax {
		return nil, fmt.Errorf("match %q is too costly: it makes %d steps for each byte, at most %d are allowed", text, size, matchSizeMax)
	}
	return regexp.Compile(text)
}

// validateHeaders is the part of Validate for the headers that are sent.
func (c *Check) validateHeaders() error {
	if len(c.Headers) > HeadersMax {
		return fmt.Errorf("headers: there are %d, at most %d are allowed", len(c.Headers), HeadersMax)
	}
	size := 0
	for _, h := range c.Headers {
		size += len(h.Name) + len(h.Value)
		switch name := strings.ToLower(h.Name); {
		case !isToken(h.Name):
			return fmt.Errorf("headers: name %.40q holds other characters than a header's name may", h.Name)
		case name == "host":
			return errors.New("headers: Host is what the key host is for")
		case slices.Contains(framing(), name):
			return fmt.Errorf("headers: %s is not for a check to set: it says how the connection is used", h.Name)
		case !isFieldValue(h.Value):
			return fmt.Errorf("headers: the value of %s holds a control character, or begins or ends with a space", h.Name)
		}
	}
	if size > HeadersBytesMax {
		return fmt.Errorf("headers have %d bytes, at most %d are allowed", size, HeadersBytesMax)
	}
	return nil
}

// framing are the headers that say how a message is framed and a connection
// used (RFC 9110 section 7.6.1, RFC 9113 section 8.2.2), which is not up to a check.
func framing() []string {
	return []string{
		"connection", "content-length", "expect", "http2-settings", "keep-alive", "proxy-connection", "te", "trailer",
		"transfer-encoding", "upgrade",
	}
}

// isToken reports whether text is a token (RFC 9110 section 5.6.2).
func isToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		letter := (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') || (r >= '0' && r <= '9')
		return !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// isFieldValue reports whether text is a header's value (RFC 9110 section 5.5).
func isFieldValue(text string) bool {
	for i := range len(text) {
		if b := text[i]; (b < ' ' && b != '\t') || b == 0x7F {
			return false
		}
	}
	return strings.Trim(text, " \t") == text
}

// validateSNI is the part of Validate for the name that TLS asks for.
func (c *Check) validateSNI() error {
	if c.SNI == "" {
		return nil
	}
	if _, err := netip.ParseAddr(c.SNI); err == nil {
		return nil
	}
	if !isDomainName(dns.Fqdn(c.SNI)) || c.SNI == "." || strings.ContainsFunc(c.SNI, func(r rune) bool {
		return !isToken(string(r)) || r > 0x7E // a host name's characters are some of these
	}) {
		return fmt.Errorf("sni %q is neither a host name nor an address", c.SNI)
	}
	return nil
}
