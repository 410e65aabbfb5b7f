package health_test

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"geodns/pkg/health"
)

// TestValidateKinds covers the limits of the keys of single kinds, and of what
// is common to all of them, from both sides.
func TestValidateKinds(t *testing.T) {
	t.Parallel()
	header := func(name, value string) health.Check {
		return health.Check{Kind: health.HTTP, Headers: []health.Header{{Name: name, Value: value}}}
	}
	dns := func(q health.DNSQuery) health.Check {
		if q.Name == "" {
			q.Name = "www.example.com"
		}
		return health.Check{Kind: health.DNS, Query: q}
	}
	every := func(change func(c *health.Check)) health.Check {
		c := health.Check{Kind: health.TLS}
		change(&c)
		return c
	}
	long := strings.Repeat("x", 5000)
	for _, tt := range []struct {
		check health.Check
		want  string // empty: valid
	}{
		{health.Check{Kind: health.HTTP, Method: "PURGE"}, ""},
		{health.Check{Kind: health.HTTP, Method: "GET /"}, `method "GET /"`},
		{health.Check{Kind: health.HTTP, Method: "CONNECT"}, `method "CONNECT"`},
		{health.Check{Kind: health.HTTP, Method: long[:33]}, `method "xxx`},
		{health.Check{Kind: health.HTTP, Method: "HEAD", Body: "ok"}, "HEAD has no body"},
		{health.Check{Kind: health.HTTP, Method: "HEAD", Match: "ok"}, "HEAD has no body"},
		{health.Check{Kind: health.HTTP, Version: 3}, "no such version of HTTP: 3"},
		{health.Check{Kind: health.HTTP, Match: "o+k$"}, ""},
		{health.Check{Kind: health.HTTP, Match: "o(k"}, "is not a regular expression (RE2): error parsing regexp: missing closing )"},
		{health.Check{Kind: health.HTTP, Match: `(a)\1`}, "is not a regular expression"},
		{health.Check{Kind: health.HTTP, Match: long[:1025]}, "match has 1025 bytes"},
		{health.Check{Kind: health.HTTP, Match: "(ab?c){300}"}, "match \"(ab?c){300}\" is too costly"},

		{header("X-Probe", "a b\tc\xe4"), ""},
		{header("Authorization", "Bearer x"), ""},
		{header("User-Agent", "mine"), ""},
		{header("", "x"), "headers: name"},
		{header("X Probe", "x"), "headers: name"},
		{header("X:", "x"), "headers: name"},
		{header("Xä", "x"), "headers: name"},
		{header("X", "a\r\nY: b"), "headers: the value of X"},
		{header("X", " a"), "headers: the value of X"},
		{header("hOST", "x"), "is what the key host is for"},
		{header("Connection", "x"), "Connection is not for a check to set"},
		{header("content-length", "0"), "content-length is not for a check to set"},
		{header("Transfer-Encoding", "chunked"), "Transfer-Encoding is not for a check to set"},
		{header("Upgrade", "h2c"), "Upgrade is not for a check to set"},
		{header("X", long), "headers have 5001 bytes"},
		{health.Check{Kind: health.HTTP, Headers: make([]health.Header, 33)}, "headers: there are 33"},

		{health.Check{Kind: health.HTTPS, SNI: "www.example.com"}, ""},
		{health.Check{Kind: health.TLS, SNI: "2001:db8::1"}, ""},
		{health.Check{Kind: health.TLS, SNI: "a b"}, `sni "a b"`},
		{health.Check{Kind: health.TLS, SNI: "."}, `sni "."`},
		{health.Check{Kind: health.HTTPS, SNI: "www.example.com:443"}, `sni "www.example.com:443"`},

		{health.Check{Kind: health.TCP, Send: long[:4096], Expect: long[:4096]}, ""},
		{health.Check{Kind: health.TCP, Send: long[:4097]}, "send has 4097 bytes"},
		{health.Check{Kind: health.TCP, Expect: long[:4097]}, "expect has 4097 bytes"},

		{dns(health.DNSQuery{}), ""},
		{dns(health.DNSQuery{Name: "."}), ""},
		{health.Check{Kind: health.DNS}, `name "" is not a domain name`},
		{dns(health.DNSQuery{Name: "a..b"}), `name "a..b"`},
		{dns(health.DNSQuery{Name: "a b"}), `name "a b"`},
		{dns(health.DNSQuery{Name: strings.Repeat("a.", 128)}), "is not a domain name"},
		{dns(health.DNSQuery{Type: "type65", Answers: []string{"1 . alpn=h2"}}), ""},
		{dns(health.DNSQuery{Type: "TYPE65536"}), `type "TYPE65536"`},
		{dns(health.DNSQuery{Type: "ANY"}), `type "ANY"`},
		{dns(health.DNSQuery{Type: "AXFR"}), `type "AXFR"`},
		{dns(health.DNSQuery{Type: "OPT"}), `type "OPT"`},
		{dns(health.DNSQuery{Type: "TYPE0"}), `type "TYPE0"`},
		{dns(health.DNSQuery{Type: "Q"}), `type "Q"`},
		{dns(health.DNSQuery{Rcode: "nxdomain"}), ""},
		{dns(health.DNSQuery{Rcode: "OK"}), `rcode "OK"`},
		{dns(health.DNSQuery{Rcode: "BADVERS"}), `rcode "BADVERS"`},
		{dns(health.DNSQuery{Answers: []string{"192.0.2.1"}}), ""},
		{dns(health.DNSQuery{Answers: []string{"2001:db8::1"}}), `answer "2001:db8::1" is not rdata of type A`},
		{dns(health.DNSQuery{Answers: []string{""}}), "it is empty"},
		{dns(health.DNSQuery{Answers: []string{" ; 192.0.2.1"}}), "is not rdata of type A"},
		{dns(health.DNSQuery{Type: "TXT", Answers: []string{"; text"}}), "is not rdata of type TXT"},
		{dns(health.DNSQuery{Answers: []string{"192.0.2.1\n$INCLUDE /etc/passwd"}}), "it holds a control character"},
		{dns(health.DNSQuery{Type: "MX", Answers: []string{"mail.example.com."}}), "is not rdata of type MX"},
		{dns(health.DNSQuery{Type: "TXT", Answers: []string{long}}), "it has 5000 bytes"},
		{dns(health.DNSQuery{Answers: make([]string, 101)}), "answers: there are 101"},

		{every(func(c *health.Check) { c.Recheck = 20 * time.Millisecond }), ""},
		{every(func(c *health.Check) { c.Recheck = 19 * time.Millisecond }), "recheck 19ms is less than 20ms"},
		{every(func(c *health.Check) { c.Recheck = 6 * time.Second }), "recheck 6s is longer than interval 5s"},
		{every(func(c *health.Check) { c.Interval = health.IntervalMin }), ""},
		{every(func(c *health.Check) { c.WarmUp, c.Dwell = health.DwellMax, health.DwellMax }), ""},
		{every(func(c *health.Check) { c.WarmUp = -1 }), "warm_up -1ns"},
		{every(func(c *health.Check) { c.Dwell = health.DwellMax + 1 }), "dwell 168h0m0.000000001s"},
		{every(func(c *health.Check) { c.Latency = health.Latency{Slow: time.Second, Worst: 2 * time.Second} }), ""},
		{every(func(c *health.Check) { c.Latency = health.Latency{Slow: time.Second} }), "latency: worst 0s must be more than slow 1s"},
		{every(func(c *health.Check) { c.Latency = health.Latency{Worst: time.Second} }), "latency: slow 0s"},
		{every(func(c *health.Check) { c.Latency = health.Latency{AdmitMin: 0.5} }), "latency: slow 0s"},
		{every(func(c *health.Check) { c.Latency = health.Latency{Slow: 2 * time.Second, Worst: 3 * time.Second} }), "is not less than timeout 2s"},
		{every(func(c *health.Check) {
			c.Latency = health.Latency{Slow: time.Second, Worst: 2 * time.Second, AdmitMin: 1}
		}), "latency: admit_min 1"},
		{every(func(c *health.Check) {
			c.Latency = health.Latency{Slow: time.Second, Worst: 2 * time.Second, AdmitMin: math.NaN()}
		}), "latency: admit_min NaN"},
		{every(func(c *health.Check) { c.Damping.HalfLife = time.Millisecond }), "damping: half_life 1ms"},
		{every(func(c *health.Check) { c.Damping.HalfLife = 25 * time.Hour }), "damping: half_life 25h"},
		{every(func(c *health.Check) { c.Damping.Suppress = 1 }), "damping: suppress 1 must be more than 1"},
		{every(func(c *health.Check) { c.Damping.Suppress = math.NaN() }), "damping: suppress NaN"},
		{every(func(c *health.Check) { c.Damping.Reuse = 2 }), "damping: reuse 2 is not between 0 and suppress 2"},
		{every(func(c *health.Check) { c.Damping.Reuse = -1 }), "damping: reuse -1"},
		{every(func(c *health.Check) { c.Damping.Ceiling = 1.5 }), "damping: ceiling 1.5 is not within suppress 2 and 1000"},
		{every(func(c *health.Check) { c.Damping.Ceiling = math.Inf(1) }), "damping: ceiling +Inf"},
		{every(func(c *health.Check) { c.Damping.Suppress, c.Damping.Ceiling = 8, 8 }), ""},
		{every(func(c *health.Check) { c.Votes.Need = -1 }), "votes: need -1"},
		{every(func(c *health.Check) { c.Votes.Need = 101 }), "votes: need 101"},
		{every(func(c *health.Check) { c.Votes.MaxAge = time.Millisecond }), "votes: max_age 1ms"},
		{every(func(c *health.Check) { c.Votes.MaxAge = 2 * time.Hour }), "votes: max_age 2h"},
	} {
		tt.check.Port = 1
		err := tt.check.Validate()
		if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: %v, want %q", tt.check, err, tt.want)
		}
	}
}

// TestWithDefaults covers the defaults of each kind.
func TestWithDefaults(t *testing.T) {
	t.Parallel()
	want := health.Check{
		Interval: 5 * time.Second, Timeout: 2 * time.Second, Fall: 3, Rise: 4, Recheck: time.Second,
		Damping: health.Damping{HalfLife: 5 * time.Minute, Suppress: 2, Reuse: 0.75, Ceiling: 6},
		Votes:   health.Votes{MaxAge: time.Minute},
	}
	for _, kind := range []health.Kind{health.HTTP, health.HTTPS, health.TCP, health.TLS, health.DNS} {
		want := want
		want.Kind = kind
		switch kind {
		case health.HTTP:
			want.Method, want.Path = "GET", "/"
		case health.HTTPS:
			want.Method, want.Path, want.ExpiryWarning = "GET", "/", 14*24*time.Hour
		case health.TLS:
			want.ExpiryWarning = 14 * 24 * time.Hour
		case health.TCP:
		case health.DNS:
			want.Query = health.DNSQuery{Type: "A", Rcode: "NOERROR"}
		}
		if got := (health.Check{Kind: kind}).WithDefaults(); !reflect.DeepEqual(got, want) {
			t.Errorf("%v: got %+v\nwant %+v", kind, got, want)
		}
		if again := want.WithDefaults(); !reflect.DeepEqual(again, want) {
			t.Errorf("%v: defaults of defaults are %+v", kind, again)
		}
	}
	check := health.Check{Kind: health.TCP, Interval: health.IntervalMin, Latency: health.Latency{Slow: 1, Worst: 2}}.WithDefaults()
	if check.Recheck != health.RecheckMin || check.Timeout != health.IntervalMin || check.Latency.AdmitMin != 0.1 {
		t.Errorf("got recheck %v, timeout %v, admit %v", check.Recheck, check.Timeout, check.Latency.AdmitMin)
	}
}

// TestTestedKinds covers the lines of each kind: those of checks with none of
// the later keys are what an earlier version wrote.
func TestTestedKinds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		check health.Check
		want  string
	}{
		{health.Check{Kind: health.HTTP, Port: 80}, "http 80 /"},
		{health.Check{Kind: health.HTTP, Port: 80, Path: "/h", Method: "GET"}, "http 80 /h"},
		{health.Check{Kind: health.HTTPS, Port: 443, Host: "a", Status: []int{204, 200, 204}, Body: "ok"}, `https 443 / host=a status=200 204 body="ok"`},
		{health.Check{Kind: health.TCP, Port: 25, Path: "/"}, "tcp 25"},
		{health.Check{Kind: health.TCP, Port: 25, Send: "a\r\n", Expect: "220 "}, `tcp 25 send="a\r\n" expect="220 "`},
		{
			health.Check{
				Kind: health.HTTPS, Port: 443, Match: "o.k", Method: "HEAD", Version: health.HTTP2, SNI: "a", Insecure: true,
				Headers: []health.Header{{Name: "X", Value: "y"}, {Name: "X", Value: "z"}},
			},
			`https 443 / match="o.k" method=HEAD header="X: y" header="X: z" version=2 sni=a insecure`,
		},
		{health.Check{Kind: health.HTTP, Port: 80, SNI: "a", Insecure: true}, "http 80 /"},
		{health.Check{Kind: health.TLS, Port: 853, SNI: "a"}, "tls 853 sni=a"},
		{health.Check{Kind: health.DNS, Port: 53, Query: health.DNSQuery{Name: "A.example"}}, "dns 53 a.example. A"},
		{
			health.Check{Kind: health.DNS, Port: 53, Query: health.DNSQuery{Name: ".", Type: "ns", Rcode: "refused", Answers: []string{"b.", "a."}, TCP: true}},
			`dns 53 . NS rcode=REFUSED answer="a." answer="b." over tcp`,
		},
	} {
		for range 2 {
			if got := tt.check.Tested(); got != tt.want && tt.check.Path != "" {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			tt.check = tt.check.WithDefaults()
		}
		tt.check.WarmUp, tt.check.Dwell, tt.check.Recheck, tt.check.ExpiryWarning = 1, 2, 3, 4
		tt.check.Votes.Need, tt.check.Damping.Off, tt.check.Latency.Slow = 2, true, 5
		if got := tt.check.Tested(); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// TestParseCanary covers canaries of each kind, and texts that are none.
func TestParseCanary(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, addr, want string }{
		{"tcp://192.0.2.1:443", "192.0.2.1", "tcp 443"},
		{"tcp://[2001:db8::1]:443", "2001:db8::1", "tcp 443"},
		{"tls://192.0.2.1:853", "192.0.2.1", "tls 853"},
		{"tls://192.0.2.1:853?verify=false", "192.0.2.1", "tls 853 insecure"},
		{"http://192.0.2.1", "192.0.2.1", "http 80 /"},
		{"http://192.0.2.1/a%20b?c=d&verify=false", "192.0.2.1", "http 80 /a%20b?c=d&verify=false"},
		{"https://192.0.2.1:8443/path?verify=true", "192.0.2.1", "https 8443 /path"},
		{"https://192.0.2.1/path?b=%2f&verify=false&a", "192.0.2.1", "https 443 /path?b=%2f&a insecure"},
		{"dns://192.0.2.53/example.com?type=NS", "192.0.2.53", "dns 53 example.com. NS"},
		{"dns://192.0.2.53:5300/example.com.", "192.0.2.53", "dns 5300 example.com. A"},
		{"dns://192.0.2.53", "192.0.2.53", "dns 53 . A"},
	} {
		target, err := health.ParseCanary(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		check := *target.Check
		if target.ID != tt.text || len(target.Addrs) != 1 || target.Addrs[0].String() != tt.addr || target.Host != "" {
			t.Errorf("%s: %+v", tt.text, target)
		}
		if check.Interval != time.Second || check.Timeout != time.Second || check.Validate() != nil {
			t.Errorf("%s: %+v", tt.text, check)
		}
		if check.Kind == health.HTTP || check.Kind == health.HTTPS {
			if len(check.Status) != 400 {
				t.Errorf("%s: %d statuses", tt.text, len(check.Status))
			}
			check.Status = nil
		}
		if got := check.Tested(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.text, got, tt.want)
		}
	}
	for text, want := range map[string]string{
		"":                                  "must begin with",
		"192.0.2.1:443":                     "not a URL",
		"tcp:192.0.2.1:443":                 "must begin with",
		"ftp://192.0.2.1":                   "must begin with tcp://",
		"https:///path":                     "must begin with",
		"https://www.example.com/":          `host "www.example.com" must be an address`,
		"tcp://192.0.2.1":                   "a port from 1 to 65535",
		"tls://192.0.2.1":                   "a port from 1 to 65535",
		"tcp://192.0.2.1:0":                 "a port from 1 to 65535",
		"tcp://192.0.2.1:65536":             "a port from 1 to 65535",
		"tcp://0.0.0.0:1":                   "not that of one host",
		"tcp://[ff02::1]:1":                 "not that of one host",
		"tcp://192.0.2.1:1/path":            `path "/path" means nothing to tcp`,
		"tcp://192.0.2.1:1?verify=false":    `query "verify=false" means nothing to tcp`,
		"tls://192.0.2.1:1?verify=no":       `verify "no" must be true or false`,
		"https://me@192.0.2.1/":             "may not hold a user",
		"https://192.0.2.1/#a":              "may not hold a user or a fragment",
		"dns://192.0.2.53/a..b":             `name "a..b" is not a domain name`,
		"dns://192.0.2.53/a?type=ANY":       `type "ANY"`,
		"dns://192.0.2.53/a?type=A&class=C": `type "A&class=C"`,
		"dns://192.0.2.53/a?rcode=REFUSED":  `query "rcode=REFUSED" means nothing to dns`,
	} {
		if _, err := health.ParseCanary(text); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "canary ") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
