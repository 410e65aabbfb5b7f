package health_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"geodns/pkg/health"
)

// TestValidate covers each limit of a check, from both sides.
func TestValidate(t *testing.T) {
	t.Parallel()
	base := health.Check{Kind: health.HTTP, Port: 80}
	for _, tt := range []struct {
		name   string
		change func(c *health.Check)
		want   string // empty: valid
	}{
		{"defaults", func(*health.Check) {}, ""},
		{"tcp", func(c *health.Check) { c.Kind = health.TCP }, ""},
		{"no kind", func(c *health.Check) { c.Kind = 0 }, "no such kind"},
		{"unknown kind", func(c *health.Check) { c.Kind = 200 }, "no such kind"},
		{"no port", func(c *health.Check) { c.Port = 0 }, "port must be"},
		{"least interval", func(c *health.Check) { c.Interval = health.IntervalMin }, ""},
		{"short interval", func(c *health.Check) { c.Interval = health.IntervalMin - 1 }, "interval 99.999999ms"},
		{"negative interval", func(c *health.Check) { c.Interval = -time.Second }, "interval -1s"},
		{"greatest interval", func(c *health.Check) { c.Interval = health.IntervalMax }, ""},
		{"long interval", func(c *health.Check) { c.Interval = health.IntervalMax + 1 }, "interval 1h0m0.000000001s"},
		{"interval below the default timeout", func(c *health.Check) { c.Interval = time.Second }, ""},
		{"timeout as long", func(c *health.Check) { c.Interval, c.Timeout = time.Second, time.Second }, ""},
		{"timeout longer", func(c *health.Check) { c.Interval, c.Timeout = time.Second, 2*time.Second }, "timeout 2s is longer than interval 1s"},
		{"short timeout", func(c *health.Check) { c.Timeout = time.Microsecond }, "timeout 1µs is less"},
		{"negative timeout", func(c *health.Check) { c.Timeout = -1 }, "timeout -1ns is less"},
		{"negative fall", func(c *health.Check) { c.Fall = -1 }, "fall -1"},
		{"fall 1", func(c *health.Check) { c.Fall = 1 }, ""},
		{"fall 100", func(c *health.Check) { c.Fall = 100 }, ""},
		{"fall 101", func(c *health.Check) { c.Fall = 101 }, "fall 101"},
		{"rise 101", func(c *health.Check) { c.Rise = 101 }, "rise 101"},
		{"path", func(c *health.Check) { c.Path = "/a/b?c=d" }, ""},
		{"relative path", func(c *health.Check) { c.Path = "healthz" }, `path "healthz" is not a path`},
		{"whole URL", func(c *health.Check) { c.Path = "http://example.com/" }, "is not a path"},
		{"broken escape", func(c *health.Check) { c.Path = "/%zz" }, "is not a path"},
		{"line break", func(c *health.Check) { c.Path = "/a\r\nX: y" }, "is not a path"},
		{"space", func(c *health.Check) { c.Path = "/a b" }, "a space"},
		{"fragment", func(c *health.Check) { c.Path = "/a#b" }, "a fragment"},
		{"long path", func(c *health.Check) { c.Path = "/" + strings.Repeat("a", health.PathMax) }, "path has 4097 bytes"},
		{"host", func(c *health.Check) { c.Host = "www.example.com" }, ""},
		{"host and port", func(c *health.Check) { c.Host = "www.example.com:8080" }, ""},
		{"IPv6 host", func(c *health.Check) { c.Host = "[2001:db8::1]" }, ""},
		{"host with path", func(c *health.Check) { c.Host = "www.example.com/x" }, "host "},
		{"host with user", func(c *health.Check) { c.Host = "me@www.example.com" }, "host "},
		{"host with line break", func(c *health.Check) { c.Host = "www\r\nX: y" }, "host "},
		{"host of port alone", func(c *health.Check) { c.Host = ":80" }, "host "},
		{"status", func(c *health.Check) { c.Status = []int{200, 599} }, ""},
		{"status 199", func(c *health.Check) { c.Status = []int{199} }, "status 199"},
		{"status 600", func(c *health.Check) { c.Status = []int{200, 600} }, "status 600"},
		{"many statuses", func(c *health.Check) { c.Status = make([]int, 501) }, "status lists 501"},
		{"body", func(c *health.Check) { c.Body = strings.Repeat("x", health.BodyMax) }, ""},
		{"long body", func(c *health.Check) { c.Body = strings.Repeat("x", health.BodyMax+1) }, "body has 65537"},
	} {
		check := base
		tt.change(&check)
		err := check.Validate()
		if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestTested covers what a verdict carries over by.
func TestTested(t *testing.T) {
	t.Parallel()
	base := health.Check{Name: "web", Kind: health.HTTPS, Port: 443, Path: "/h", Host: "www.example.com", Status: []int{200, 204}, Body: "ok"}
	if got, want := base.Tested(), `https 443 /h host=www.example.com status=200 204 body="ok"`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for name, tt := range map[string]struct {
		change func(c *health.Check)
		same   bool
	}{
		"name":         {func(c *health.Check) { c.Name = "other" }, true},
		"interval":     {func(c *health.Check) { c.Interval = time.Minute }, true},
		"timeout":      {func(c *health.Check) { c.Timeout = time.Second }, true},
		"fall":         {func(c *health.Check) { c.Fall = 9 }, true},
		"rise":         {func(c *health.Check) { c.Rise = 9 }, true},
		"status order": {func(c *health.Check) { c.Status = []int{204, 200, 204} }, true},
		"kind":         {func(c *health.Check) { c.Kind = health.HTTP }, false},
		"port":         {func(c *health.Check) { c.Port = 8443 }, false},
		"path":         {func(c *health.Check) { c.Path = "/" }, false},
		"host":         {func(c *health.Check) { c.Host = "" }, false},
		"status":       {func(c *health.Check) { c.Status = []int{200} }, false},
		"any status":   {func(c *health.Check) { c.Status = nil }, false},
		"body":         {func(c *health.Check) { c.Body = "OK" }, false},
	} {
		check := base
		tt.change(&check)
		if (check.Tested() == base.Tested()) != tt.same {
			t.Errorf("%s: %q", name, check.Tested())
		}
	}
}

// TestAllowed covers where probes may go.
func TestAllowed(t *testing.T) {
	t.Parallel()
	allow := []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32"), netip.MustParsePrefix("169.254.1.0/24"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("0.0.0.0/0")}
	for _, tt := range []struct {
		addr             string
		loopback, public bool // allowed while listening on loopback alone, and else
		listed           bool // allowed by allow[:3]
	}{
		{"192.0.2.1", true, true, true},
		{"10.0.0.1", true, true, true},
		{"2001:db8::1", true, true, true},
		{"fd00::1", true, true, true},
		{"127.0.0.1", true, false, false},
		{"127.0.0.2", true, false, true},
		{"::ffff:127.0.0.1", true, false, false},
		{"::ffff:127.0.0.2", true, false, true},
		{"::1", true, false, true},
		{"169.254.169.254", false, false, false},
		{"169.254.1.1", false, false, true},
		{"fe80::1", false, false, false},
		{"fe80::1%eth0", false, false, false},
		{"0.0.0.0", false, false, false},
		{"::", false, false, false},
		{"224.0.0.1", false, false, false},
		{"ff02::1", false, false, false},
		{"255.255.255.255", false, false, false},
		{"64:ff9b::192.0.2.1", true, true, true},
		{"64:ff9b::127.0.0.1", true, false, false},
		{"64:ff9b::127.0.0.2", true, false, true},
		{"64:ff9b::169.254.169.254", false, false, false},
		{"64:ff9b::0.0.0.0", false, false, false},
		{"64:ff9b::224.0.0.1", false, false, false},
		{"::ffff:0.0.0.0", false, false, false},
		{"fd00:ec2::254", false, false, false},
		{"fd00:ec2::253", true, true, true},
		{"100.100.100.200", false, false, false},
		{"168.63.129.16", false, false, false},
		{"192.0.0.192", false, false, false},
		{"::ffff:192.0.0.192", false, false, false},
		{"64:ff9b::192.0.0.192", false, false, false},
	} {
		addr := netip.MustParseAddr(tt.addr)
		for _, c := range []struct {
			what  string
			got   error
			allow bool
		}{
			{"on loopback", health.Allowed(addr, true, nil), tt.loopback},
			{"in public", health.Allowed(addr, false, nil), tt.public},
			{"listed", health.Allowed(addr, false, allow[:3]), tt.listed},
		} {
			if (c.got == nil) != c.allow {
				t.Errorf("%s %s: %v", tt.addr, c.what, c.got)
			}
		}
	}
	for _, text := range []string{"192.0.0.192", "::ffff:169.254.169.254", "64:ff9b::100.100.100.200"} {
		if err := health.Allowed(netip.MustParseAddr(text), false, allow); err != nil {
			t.Errorf("0.0.0.0/0 is not enough for %s: %v", text, err)
		}
	}
	if err := health.Allowed(netip.MustParseAddr("64:ff9b::192.0.0.192"), false, []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96")}); err != nil {
		t.Error(err)
	}
	for _, text := range []string{"0.0.0.0", "224.0.0.1"} {
		if health.Allowed(netip.MustParseAddr(text), true, allow) == nil {
			t.Errorf("%s allowed by 0.0.0.0/0", text)
		}
	}
	if health.Allowed(netip.Addr{}, true, nil) == nil {
		t.Error("no address at all is allowed")
	}
}
