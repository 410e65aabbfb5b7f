package policy

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"geodns/internal/source"
	"geodns/pkg/health"
)

// httpKeys are the keys of http and https that are about the request and its answer, but for the port.
func (r *layerReader) httpKeys() []checkKey {
	return []checkKey{
		plain(r, "path", r.path, func(c *health.Check, s string) { c.Path = s }),
		plain(r, "host", r.checkHost, func(c *health.Check, s string) { c.Host = s }),
		plain(r, "method", r.method, func(c *health.Check, s string) { c.Method = s }),
		plain(r, "headers", r.headers, func(c *health.Check, hs []health.Header) { c.Headers = hs }),
		plain(r, "status", r.statuses, func(c *health.Check, s []int) { c.Status = s }),
		plain(r, "body", r.line("body"), func(c *health.Check, s string) { c.Body = s }),
		plain(r, "match", r.match, func(c *health.Check, s string) { c.Match = s }),
		plain(r, "http", r.upTo(2), func(c *health.Check, n int) {
			if c.Version = health.HTTP1; n == 2 {
				c.Version = health.HTTP2
			}
		}),
	}
}

// path reads the path, with a query if there is one, that a probe asks for.
func (p *parser) path(v source.Value) (string, bool) {
	s := p.text(v, "path")
	if s == "" {
		return "", false
	}
	if !strings.HasPrefix(s, "/") {
		p.errorf(v, "a path begins with a slash: write /%s", clip(strings.TrimPrefix(s, "./")))
		return "", false
	}
	if _, err := url.ParseRequestURI(s); err != nil || strings.ContainsAny(s, " #") {
		p.errorf(v, "%q is no path of a URL; escape what may not stand in one, a space as %%20", clip(s))
		return "", false
	}
	return s, true
}

// checkHost reads the host, with a port or without, that a probe asks for and, with https, whose certificate it wants.
func (p *parser) checkHost(v source.Value) (string, bool) {
	s, ok := v.String(p.fs)
	if !ok {
		return "", false
	}
	host := s
	if h, port, err := net.SplitHostPort(s); err == nil {
		if n, portErr := strconv.ParseUint(port, 10, 16); portErr == nil && n > 0 {
			host = h
		}
	}
	if err := hostOrAddress(strings.Trim(host, "[]")); err != nil {
		p.errorf(v, "%q is no host: %s; write one such as www.example.com, without scheme and path", clip(s), err)
		return "", false
	}
	return s, true
}

// hostOrAddress says what keeps a text from being a host name, with or without its final dot, or an address.
func hostOrAddress(s string) error {
	if _, err := netip.ParseAddr(s); err == nil {
		return nil
	}
	_, err := hostName(strings.TrimSuffix(s, ".") + ".")
	return err
}

// method reads a method (RFC 9110 section 9).
func (p *parser) method(v source.Value) (string, bool) {
	s := p.text(v, "method")
	switch upper := strings.ToUpper(s); {
	case s == "":
		return "", false
	case !isToken(s):
		p.errorf(v, "%q is no method; write one such as HEAD", clip(s))
	case len(s) > health.MethodMax:
		p.errorf(v, "a method of %d bytes; at most %d are allowed", len(s), health.MethodMax)
	case upper == "CONNECT":
		p.errorf(v, "CONNECT asks for a tunnel, not for an answer; write one such as GET")
	case s != upper:
		p.errorf(v, "methods are told apart by case, and are in upper case: write %s", clip(upper))
	default:
		return s, true
	}
	return "", false
}

// isToken says whether a text is a token (RFC 9110 section 5.6.2).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r > 'z' && r != '|' && r != '~' || r <= 'z' && !isAlphanumeric(byte(r)) && !strings.ContainsRune("!#$%&'*+-.^_`", r)
	})
}

// headers reads the headers that are sent, in the file's order. Every key is one here, those that begin with "x-" too.
func (p *parser) headers(v source.Value) ([]health.Header, bool) {
	es, ok := v.Entries(p.fs)
	switch {
	case !ok:
		return nil, false
	case len(es) == 0:
		return []health.Header{}, true // a target's way to send none of its pool's
	case len(es) > health.HeadersMax:
		p.errorf(v, "%d headers; at most %d are allowed", len(es), health.HeadersMax)
		return nil, false
	}
	out := make([]health.Header, 0, len(es))
	size := 0
	first := map[string]source.Place{}
	for _, e := range es {
		h, good := p.header(e)
		if !good {
			continue
		}
		lower := strings.ToLower(h.Name)
		if at, doubled := first[lower]; doubled {
			p.fs.Errorf(e.KeyPlace, "header %s stands twice, as case does not tell headers apart; the first is at %d:%d", clip(h.Name), at.Line, at.Col)
			continue
		}
		first[lower] = e.KeyPlace
		size += len(h.Name) + len(h.Value)
		out = append(out, h)
	}
	if size > health.HeadersBytesMax {
		p.errorf(v, "headers of %d bytes; at most %d are allowed", size, health.HeadersBytesMax)
	}
	return out, true
}

// header reads one header.
func (p *parser) header(e source.Entry) (h health.Header, ok bool) {
	if why := badHeader(e.Key); why != "" {
		p.fs.Errorf(e.KeyPlace, "%s", why)
		return h, false
	}
	s, ok := e.Value.String(p.fs)
	switch {
	case !ok:
		return h, false
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		p.errorf(e.Value, "a header's value has no line ends, tabs or other control characters")
		return h, false
	case strings.TrimSpace(s) != s:
		p.errorf(e.Value, "a header's value neither begins nor ends with white space: it would not arrive")
		return h, false
	}
	return health.Header{Name: e.Key, Value: s}, true
}

// badHeader says what is wrong with a header's name, or "".
func badHeader(name string) string {
	switch strings.ToLower(name) {
	case "host":
		return "the Host header is what the key `host` says: write host beside headers"
	case "user-agent":
		return "User-Agent is not to be changed: by it people find probes in the logs of what they probe"
	case "connection", "content-length", "expect", "http2-settings", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade":
		return name + " is about the connection, and up to the probe; leave it out"
	}
	if !isToken(name) {
		return strconv.Quote(clip(name)) + " is no name of a header; use letters, digits and '-'"
	}
	return ""
}

// statuses reads the statuses that are a success.
func (p *parser) statuses(v source.Value) ([]int, bool) {
	items, ok := p.list(v, "status", ListMax)
	if !ok {
		return nil, false
	}
	var out []int
	for _, item := range items {
		n, good := item.Int(p.fs, 200, 599)
		if !good {
			continue
		}
		if slices.Contains(out, int(n)) {
			p.errorf(item, "status %d stands twice", n)
			continue
		}
		out = append(out, int(n))
	}
	return out, out != nil
}

// match reads a regular expression.
func (p *parser) match(v source.Value) (string, bool) {
	s := p.text(v, "match")
	if s == "" {
		return "", false
	}
	if _, err := regexp.Compile(s); err != nil {
		why := err.Error()
		if fault, ok := errors.AsType[*syntax.Error](err); ok {
			why = fault.Code.String()
			if fault.Expr != s {
				why += ": " + clip(fault.Expr)
			}
		}
		p.errorf(v, "%q is no regular expression as RE2 has them: %s", clip(s), why)
		return "", false
	}
	return s, true
}
