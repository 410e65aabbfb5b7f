package health

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// CanaryInterval is how often a canary is probed: several times within the
	// least time that a check takes to believe in an outage by default.
	CanaryInterval = time.Second
	// CanaryTimeout is how long a probe of a canary may take.
	CanaryTimeout = CanaryInterval
)

// ParseCanary makes the target that a canary's URL names: something that
// answers as long as this node's own network works. Its host is an address,
// for a name would make a canary of the resolver too.
//
//	tcp://192.0.2.1:443                      a connection is made
//	tls://192.0.2.1:853                      ... and a TLS handshake
//	https://192.0.2.1/path                   a request is answered, with whatever status; http likewise
//	dns://192.0.2.53/example.com?type=NS     a query is answered with NOERROR, over UDP
//
// Ports are 80, 443 and 53 unless said; tcp and tls have none of their own.
// Certificates are verified, for the address, unless there is ?verify=false,
// which is not sent.
func ParseCanary(text string) (Target, error) {
	wrong := func(format string, arguments ...any) (Target, error) {
		return Target{}, fmt.Errorf("canary %.300q: "+format, append([]any{text}, arguments...)...)
	}
	parsed, err := url.Parse(text)
	if err != nil {
		return wrong("it is not a URL such as tcp://192.0.2.1:443")
	}
	kinds := []Kind{HTTP, HTTPS, TCP, TLS, DNS}
	i := slices.IndexFunc(kinds, func(k Kind) bool { return k.String() == parsed.Scheme })
	switch {
	case i < 0 || parsed.Opaque != "" || parsed.Host == "":
		return wrong("it must begin with tcp://, tls://, http://, https:// or dns://, and an address")
	case parsed.User != nil || parsed.Fragment != "":
		return wrong("it may not hold a user or a fragment")
	}
	addr, err := netip.ParseAddr(parsed.Hostname())
	if err != nil {
		return wrong("host %.80q must be an address: a name would have to be resolved", parsed.Hostname())
	}
	if stands := embedded(addr); stands.IsUnspecified() || stands.IsMulticast() {
		return wrong("address %v is not that of one host", addr)
	}
	check := Check{Name: text, Kind: kinds[i], Interval: CanaryInterval, Timeout: CanaryTimeout}
	port := cmp.Or(parsed.Port(), defaultPort(check.Kind))
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return wrong("a port from 1 to 65535 must stand behind the address")
	}
	check.Port = uint16(number)
	if err := check.setCanary(parsed); err != nil {
		return wrong("%w", err)
	}
	if err := check.Validate(); err != nil {
		return wrong("%w", err)
	}
	return Target{ID: text, Addrs: []netip.Addr{addr}, Check: &check}, nil
}

// defaultPort is a kind's port, as text; empty: it has none.
func defaultPort(k Kind) string {
	switch k {
	case HTTP:
		return "80"
	case HTTPS:
		return "443"
	case DNS:
		return "53"
	case TCP, TLS:
	}
	return ""
}

// setCanary sets what a canary's path and query say.
func (c *Check) setCanary(from *url.URL) error {
	query := from.RawQuery
	if c.Kind == HTTPS || c.Kind == TLS {
		var err error
		if query, c.Insecure, err = cutVerify(query); err != nil {
			return err
		}
	}
	switch c.Kind {
	case HTTP, HTTPS:
		c.Path = cmp.Or(from.EscapedPath(), "/")
		if query != "" {
			c.Path += "?" + query
		}
		c.Status = anyStatus()
		return nil
	case DNS:
		name, err := url.PathUnescape(strings.TrimPrefix(from.EscapedPath(), "/"))
		if err != nil {
			return err
		}
		c.Query.Name = cmp.Or(name, ".")
		if key, value, _ := strings.Cut(query, "="); key == "type" {
			c.Query.Type, query = value, ""
		}
	case TCP, TLS:
		if strings.Trim(from.Path, "/") != "" {
			return fmt.Errorf("path %.80q means nothing to %v", from.Path, c.Kind)
		}
	}
	if query != "" {
		return fmt.Errorf("query %.80q means nothing to %v", query, c.Kind)
	}
	return nil
}

// cutVerify takes verify=true or verify=false out of a query, and leaves the
// rest as it is written.
func cutVerify(query string) (rest string, insecure bool, err error) {
	var left []string
	for part := range strings.SplitSeq(query, "&") {
		value, is := strings.CutPrefix(part, "verify=")
		switch {
		case !is:
			left = append(left, part)
		case value != "true" && value != "false":
			return "", false, fmt.Errorf("verify %.40q must be true or false", value)
		default:
			insecure = value == "false"
		}
	}
	return strings.Join(left, "&"), insecure, nil
}

// anyStatus lists every status of an answer: whatever it says, it came over
// the network that is in question.
func anyStatus() []int {
	var all []int
	for status := 200; status <= 599; status++ {
		all = append(all, status)
	}
	return all
}
