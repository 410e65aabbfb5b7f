package policy

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"geodns/internal/source"
	"geodns/pkg/health"
)

// check reads one entry of `checks`. A default timeout is never longer than the interval.
func (p *parser) check(v source.Value) (*checkEntry, bool) {
	mark := p.mark()
	m, ok := v.Map(p.fs, "name", "http", "https", "tcp", "interval", "timeout", "fall", "rise", "recheck", "warm_up", "dwell")
	if !ok {
		return nil, false
	}
	e := &checkEntry{check: &health.Check{Interval: health.DefaultInterval, Fall: health.DefaultFall, Rise: health.DefaultRise}}
	e.name, e.place = p.name(m)
	e.check.Name = e.name
	p.checkKind(m, e.check)
	p.checkTimes(m, e.check)
	if f := m.Get("fall"); f.Exists() {
		e.check.Fall = p.count(f, 1, health.CountMax)
	}
	if r := m.Get("rise"); r.Exists() {
		e.check.Rise = p.count(r, 1, health.CountMax)
	}
	if !p.failed(mark) {
		if err := e.check.Validate(); err != nil {
			p.fs.Errorf(e.place, "%s", err) // a rule of health's that is not checked above
		}
	}
	e.broken = p.failed(mark)
	return e, e.name != ""
}

// count reads an integer that fits an int.
func (p *parser) count(v source.Value, lo, hi int64) int {
	n, _ := v.Int(p.fs, lo, hi)
	return int(n)
}

// checkTimes reads interval, timeout and the times that later versions act on.
func (p *parser) checkTimes(m source.Map, c *health.Check) {
	intervalOK := true
	if v := m.Get("interval"); v.Exists() {
		c.Interval, intervalOK = v.Duration(p.fs, health.IntervalMin, health.IntervalMax)
	}
	c.Timeout = min(health.DefaultTimeout, c.Interval)
	if v := m.Get("timeout"); v.Exists() {
		t, ok := v.Duration(p.fs, health.TimeoutMin, health.IntervalMax)
		if ok && intervalOK && t > c.Interval {
			p.errorf(v, "timeout %s is longer than the interval, %s: probes of a target would overlap", t, c.Interval)
		}
		c.Timeout = t
	}
	if v := m.Get("recheck"); v.Exists() {
		t, ok := v.Duration(p.fs, recheckMin, health.IntervalMax)
		if ok && intervalOK && t > c.Interval {
			p.errorf(v, "recheck %s is longer than the interval, %s; it is meant to be shorter", t, c.Interval)
		}
		p.later(v, "recheck")
	}
	for _, key := range []string{"warm_up", "dwell"} {
		if v := m.Get(key); v.Exists() {
			if t, ok := v.Duration(p.fs, 0, pauseMax); ok && t > 0 {
				p.later(v, key)
			}
		}
	}
}

// later warns that a key is read and checked but says nothing yet.
func (p *parser) later(v source.Value, key string) {
	p.fs.Warnf(v.Place(), "%s says nothing yet in this version", key)
}

// checkKind reads the one of http, https and tcp that a check has.
func (p *parser) checkKind(m source.Map, c *health.Check) {
	var kind string
	for _, k := range []string{"http", "https", "tcp"} {
		v := m.Get(k)
		switch {
		case !v.Exists():
		case kind != "":
			p.errorf(v, "a check has one of http, https and tcp, and this one has %s already", kind)
		default:
			kind = k
		}
	}
	v := m.Get(kind)
	switch kind {
	case "http":
		c.Kind, c.Port = health.HTTP, 80
		p.checkHTTP(v, c)
	case "https":
		c.Kind, c.Port = health.HTTPS, 443
		p.checkHTTP(v, c)
	case "tcp":
		c.Kind = health.TCP
		keys, ok := v.Map(p.fs, "port")
		if !ok {
			return
		}
		if port, given := p.need(keys, "port", "the one to connect to, from 1 to 65535"); given {
			c.Port = p.port(port)
		}
	default:
		p.fs.Errorf(m.Place(), "a check needs one of http, https and tcp, such as http: {path: /healthz}")
	}
}

// checkHTTP reads the keys of http and https.
func (p *parser) checkHTTP(v source.Value, c *health.Check) {
	c.Path = "/"
	m, ok := v.Map(p.fs, "port", "path", "host", "status", "body")
	if !ok {
		return
	}
	if port := m.Get("port"); port.Exists() {
		c.Port = p.port(port)
	}
	if path := m.Get("path"); path.Exists() {
		c.Path = p.path(path)
	}
	if host := m.Get("host"); host.Exists() {
		c.Host = p.checkHost(host)
	}
	if status := m.Get("status"); status.Exists() {
		c.Status = p.statuses(status)
	}
	if body := m.Get("body"); body.Exists() {
		c.Body = p.text(body, "body")
	}
}

// port reads a port number.
func (p *parser) port(v source.Value) uint16 {
	n, _ := v.Int(p.fs, 1, 65535)
	return uint16(n)
}

// path reads the path, with a query if there is one, that a probe asks for.
func (p *parser) path(v source.Value) string {
	s := p.text(v, "path")
	if s == "" {
		return s
	}
	if !strings.HasPrefix(s, "/") {
		p.errorf(v, "a path begins with a slash: write /%s", clip(strings.TrimPrefix(s, "./")))
		return s
	}
	if _, err := url.ParseRequestURI(s); err != nil || strings.ContainsAny(s, " #") {
		p.errorf(v, "%q is no path of a URL; escape what may not stand in one, a space as %%20", clip(s))
	}
	return s
}

// checkHost reads the host, with a port or without, that a probe asks for and, with https, whose certificate it wants.
func (p *parser) checkHost(v source.Value) string {
	s, ok := v.String(p.fs)
	if !ok {
		return ""
	}
	host := s
	if h, port, err := net.SplitHostPort(s); err == nil {
		if n, portErr := strconv.ParseUint(port, 10, 16); portErr == nil && n > 0 {
			host = h
		}
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return s
	}
	if _, err := hostName(strings.TrimSuffix(host, ".") + "."); err != nil {
		p.errorf(v, "%q is no host: %s; write one such as www.example.com, without scheme and path", clip(s), err)
		return ""
	}
	return s
}

// statuses reads the statuses that are a success.
func (p *parser) statuses(v source.Value) []int {
	items, ok := p.list(v, "status", ListMax)
	if !ok {
		return nil
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
	return out
}

// duration reads a time, 0 if the key is absent.
func (p *parser) duration(v source.Value, lo, hi time.Duration) time.Duration {
	if !v.Exists() {
		return 0
	}
	d, _ := v.Duration(p.fs, lo, hi)
	return d
}
