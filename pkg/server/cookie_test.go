package server_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"geodns/pkg/dnswire"
	"geodns/pkg/server"
)

// secret reads a secret in hexadecimal.
func secret(t testing.TB, text string) (s server.CookieSecret) {
	t.Helper()
	if n, err := hex.Decode(s[:], []byte(text)); err != nil || n != len(s) {
		t.Fatalf("secret %q: %d octets, %v", text, n, err)
	}
	return s
}

// jar is an answer path with cookies, and a clock.
type jar struct {
	*server.Responder
	now time.Time
}

func newJar(t testing.TB, require bool, secrets ...server.CookieSecret) *jar {
	t.Helper()
	j := &jar{now: time.Unix(1_800_000_000, 0)}
	cfg := server.At(server.Config{CookieSecrets: secrets, RequireCookie: require}, func() time.Time { return j.now })
	r, err := server.NewResponder(cfg, testWorld(t))
	if err != nil {
		t.Fatal(err)
	}
	j.Responder = r
	return j
}

// ask sends a cookie in hexadecimal along and gives the response code and the cookie that comes back.
func (j *jar) ask(t testing.TB, over server.Transport, source netip.Addr, cookie string) (rcode int, back string) {
	t.Helper()
	query := ask(t, "static.example.com.", dns.TypeA, edns(1232, &dns.EDNS0_COOKIE{Code: dnswire.OptionCookie, Cookie: cookie}))
	rcode, back, records := cookieOf(t, j.Answer(over, source, query, server.BufferLen))
	if (rcode == dns.RcodeSuccess) != (records == 1) {
		t.Errorf("%s with %d records", dns.RcodeToString[rcode], records)
	}
	return rcode, back
}

// cookieOf reads an answer's response code, cookie and number of answer records.
func cookieOf(t testing.TB, wire []byte) (rcode int, cookie string, records int) {
	t.Helper()
	var m dns.Msg
	if err := m.Unpack(wire); err != nil {
		t.Fatalf("answer %x: %v", wire, err)
	}
	if o := m.IsEdns0(); o != nil {
		for _, option := range o.Option {
			if c, ok := option.(*dns.EDNS0_COOKIE); ok {
				cookie += c.Cookie
			}
		}
	}
	return m.Rcode, cookie, len(m.Answer)
}

const (
	clientCookie = "2464c4abcf10c957"
	secretA      = "e5e973e5a6b2a43f48e7dc849e37bfcf"
	secretB      = "445536bcd2513298075a5d379663c962"
)

// TestA40CookieVectors is the examples of RFC 9018 appendix A.
func TestA40CookieVectors(t *testing.T) {
	for _, c := range []struct {
		about         string
		secrets       []string
		source        string
		time          int64
		cookie, reply string
		valid         bool
	}{
		{
			"A.1 learning a new server cookie",
			[]string{secretA},
			"198.51.100.100", 1559731985,
			clientCookie, clientCookie + "010000005cf79f111f8130c3eee29480", false,
		},
		{
			"A.2 the same client learning a renewed one",
			[]string{secretA},
			"198.51.100.100", 1559734385,
			clientCookie + "010000005cf79f111f8130c3eee29480", clientCookie + "010000005cf7a871d4a564a1442aca77", true,
		},
		{
			"A.3 another client learning a renewed one",
			[]string{secretA},
			"203.0.113.203", 1559734700,
			"fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e", false, // older than an hour
		},
		{
			"A.4 IPv6 and a renewed secret",
			[]string{secretB, "dd3bdf9344b678b185a6f5cb60fca715"},
			"2001:db8:220:1:59de:d0f4:8769:82b8", 1559741961,
			"22681ab97d52c298010000005cf7c57926556bd0934c72f8", "22681ab97d52c298010000005cf7c609a6bb79d16625507a", true,
		},
	} {
		t.Run(c.about, func(t *testing.T) {
			var secrets []server.CookieSecret
			for _, s := range c.secrets {
				secrets = append(secrets, secret(t, s))
			}
			j := newJar(t, false, secrets...)
			j.now = time.Unix(c.time, 0)
			rcode, got := j.ask(t, server.UDP, netip.MustParseAddr(c.source), c.cookie)
			if rcode != dns.RcodeSuccess || got != c.reply {
				t.Errorf("%s, cookie %s; want %s", dns.RcodeToString[rcode], got, c.reply)
			}
			if valid := j.Stats().Cookies[server.CookieValid] == 1; valid != c.valid {
				t.Errorf("valid: %t, want %t", valid, c.valid)
			}
		})
	}
}

// TestA40CookieAges walks a cookie through its life, on both sides of 2038 and of 2106.
func TestA40CookieAges(t *testing.T) {
	for _, born := range []int64{1_800_000_000, 1<<31 - 10, 1<<32 - 10, 1<<32 + 5} {
		j := newJar(t, true, secret(t, secretA))
		j.now = time.Unix(born, 0)
		rcode, cookie := j.ask(t, server.UDP, clientEU, clientCookie)
		if rcode != dns.RcodeBadCookie || len(cookie) != 48 {
			t.Fatalf("%s %s", dns.RcodeToString[rcode], cookie)
		}
		for _, c := range []struct {
			age          int64
			valid, fresh bool
		}{
			{-301, false, true},
			{-300, true, false},
			{0, true, false},
			{1800, true, false},
			{1801, true, true},
			{3600, true, true},
			{3601, false, true},
			{1 << 20, false, true},
		} {
			j.now = time.Unix(born+c.age, 0)
			rcode, back := j.ask(t, server.UDP, clientEU, cookie)
			if (rcode == dns.RcodeSuccess) != c.valid || (back != cookie) != c.fresh {
				t.Errorf("born %d, age %d: %s, fresh %t", born, c.age, dns.RcodeToString[rcode], back != cookie)
			}
		}
	}
}

// TestA40CookieForged changes each octet of a good cookie, its source and its client's part: none is taken for ours.
func TestA40CookieForged(t *testing.T) {
	j := newJar(t, true, secret(t, secretA), secret(t, secretB))
	_, good := j.ask(t, server.UDP, clientEU, clientCookie)
	if rcode, _ := j.ask(t, server.UDP, clientEU, good); rcode != dns.RcodeSuccess {
		t.Fatalf("its own cookie: %s", dns.RcodeToString[rcode])
	}
	wire, _ := hex.DecodeString(good)
	for i := range wire {
		for bit := range 8 {
			bad := append([]byte(nil), wire...)
			bad[i] ^= 1 << bit
			if rcode, _ := j.ask(t, server.UDP, clientEU, hex.EncodeToString(bad)); rcode != dns.RcodeBadCookie {
				t.Errorf("octet %d bit %d: %s", i, bit, dns.RcodeToString[rcode])
			}
		}
	}
	for _, source := range []string{"192.0.2.2", "2001:db8::1"} {
		if rcode, _ := j.ask(t, server.UDP, netip.MustParseAddr(source), good); rcode != dns.RcodeBadCookie {
			t.Errorf("from %s: %s", source, dns.RcodeToString[rcode])
		}
	}
	for _, long := range []string{good + "00", good[:40], good + strings.Repeat("00", 16)} {
		if rcode, back := j.ask(t, server.UDP, clientEU, long); rcode != dns.RcodeBadCookie || len(back) != 48 {
			t.Errorf("cookie of %d octets: %s", len(long)/2, dns.RcodeToString[rcode])
		}
	}
}

// TestA40CookieRoll rolls a secret in the three steps of RFC 9018 section 5 between two servers that are never at the same
// step: no client loses its cookie.
func TestA40CookieRoll(t *testing.T) {
	a, b := secret(t, secretA), secret(t, secretB)
	steps := [][]server.CookieSecret{{a}, {a, b}, {b, a}, {b}}
	for i := range len(steps) - 1 {
		for _, pair := range [][2]int{{i, i}, {i, i + 1}, {i + 1, i}} {
			first, second := newJar(t, true, steps[pair[0]]...), newJar(t, true, steps[pair[1]]...)
			_, cookie := first.ask(t, server.UDP, clientEU, clientCookie)
			rcode, cookie := second.ask(t, server.UDP, clientEU, cookie)
			if rcode != dns.RcodeSuccess {
				t.Errorf("steps %v: %s", pair, dns.RcodeToString[rcode])
			}
			if rcode, _ = first.ask(t, server.UDP, clientEU, cookie); rcode != dns.RcodeSuccess {
				t.Errorf("steps %v, back: %s", pair, dns.RcodeToString[rcode])
			}
		}
	}
}

// TestA40CookiePolicy is what is answered to which cookie, over which transport.
func TestA40CookiePolicy(t *testing.T) {
	bad := clientCookie + strings.Repeat("5a", 16)
	for _, c := range []struct {
		about   string
		require bool
		over    server.Transport
		cookie  string
		rcode   int
	}{
		{"client's part", false, server.UDP, clientCookie, dns.RcodeSuccess},
		{"a wrong one", false, server.UDP, bad, dns.RcodeSuccess},
		{"required: client's part", true, server.UDP, clientCookie, dns.RcodeBadCookie},
		{"required: a wrong one", true, server.UDP, bad, dns.RcodeBadCookie},
		{"required, over TCP", true, server.TCP, bad, dns.RcodeSuccess},
	} {
		j := newJar(t, c.require, secret(t, secretA))
		rcode, back := j.ask(t, c.over, clientEU, c.cookie)
		if rcode != c.rcode || len(back) != 48 || back[:16] != clientCookie || back == c.cookie {
			t.Errorf("%s: %s, cookie %s", c.about, dns.RcodeToString[rcode], back)
		}
	}
	j := newJar(t, true, secret(t, secretA))
	if got := text(t, j.Answer(server.UDP, clientEU, ask(t, "static.example.com.", dns.TypeA, edns(1232)), server.BufferLen)); !strings.HasPrefix(got, "NOERROR") {
		t.Errorf("required, a client without cookies: %s", got)
	}
	off := newJar(t, false)
	if rcode, back := off.ask(t, server.UDP, clientEU, clientCookie); rcode != dns.RcodeSuccess || back != "" {
		t.Errorf("cookies off: %s, cookie %s", dns.RcodeToString[rcode], back)
	}
}

// TestA40CookieOnly asks for a cookie and nothing else (RFC 7873 section 5.4).
func TestA40CookieOnly(t *testing.T) {
	query := func(cookie string) []byte {
		q := ask(t, "a.", dns.TypeA, edns(1232, &dns.EDNS0_COOKIE{Code: dnswire.OptionCookie, Cookie: cookie}))
		const question = 1 + 1 + 1 + 4
		binary.BigEndian.PutUint16(q[4:], 0)
		return append(q[:dnswire.HeaderLen:dnswire.HeaderLen], q[dnswire.HeaderLen+question:]...)
	}
	j := newJar(t, false, secret(t, secretA))
	rcode, good, _ := cookieOf(t, j.Answer(server.UDP, clientEU, query(clientCookie), server.BufferLen))
	if rcode != dns.RcodeSuccess || len(good) != 48 {
		t.Fatalf("client's part: %s, cookie %s", dns.RcodeToString[rcode], good)
	}
	if rcode, back, _ := cookieOf(t, j.Answer(server.UDP, clientEU, query(good), server.BufferLen)); rcode != dns.RcodeSuccess || back != good {
		t.Errorf("its own: %s, cookie %s", dns.RcodeToString[rcode], back)
	}
	if rcode, back, _ := cookieOf(t, j.Answer(server.UDP, clientUS, query(good), server.BufferLen)); rcode != dns.RcodeBadCookie || len(back) != 48 || back == good {
		t.Errorf("another's: %s, cookie %s", dns.RcodeToString[rcode], back)
	}
	if got := text(t, newJar(t, false).Answer(server.UDP, clientEU, query(clientCookie), server.BufferLen)); !strings.HasPrefix(got, "FORMERR") {
		t.Errorf("cookies off: %s", got)
	}
}

// TestCookieVerifies asks for what only those may have whose source is not forged: an NSID where it makes the answer longer than three queries.
func TestCookieVerifies(t *testing.T) {
	node := strings.Repeat("n", server.IdentityMax)
	r, err := server.NewResponder(server.Config{Identity: node, CookieSecrets: []server.CookieSecret{secret(t, secretA)}}, testWorld(t))
	if err != nil {
		t.Fatal(err)
	}
	query := func(cookie string) []byte {
		nsid := &dns.EDNS0_NSID{Code: dns.EDNS0NSID}
		return r.Answer(server.UDP, clientEU, ask(t, "none.example.com.", dns.TypeA,
			edns(1232, &dns.EDNS0_COOKIE{Code: dnswire.OptionCookie, Cookie: cookie}, nsid)), server.BufferLen)
	}
	first := query(clientCookie)
	if bytes.Contains(first, []byte(node)) {
		t.Error("an NSID without a cookie of ours")
	}
	_, cookie, _ := cookieOf(t, first)
	if !bytes.Contains(query(cookie), []byte(node)) {
		t.Error("no NSID with a cookie of ours")
	}
}

// TestSetCookieSecrets changes the secrets of a running server.
func TestSetCookieSecrets(t *testing.T) {
	s := serve(t, server.Config{CookieSecrets: []server.CookieSecret{secret(t, secretA)}}, testWorld(t))
	get := func() string {
		t.Helper()
		query := ask(t, "static.example.com.", dns.TypeA, edns(1232, &dns.EDNS0_COOKIE{Code: dnswire.OptionCookie, Cookie: clientCookie}))
		wire, err := roundTrip("udp", s.Addrs()[0], query, patience)
		if err != nil {
			t.Fatal(err)
		}
		_, cookie, _ := cookieOf(t, wire)
		return cookie
	}
	before := get()
	if err := s.SetCookieSecrets([]server.CookieSecret{secret(t, secretB)}); err != nil {
		t.Fatal(err)
	}
	if after := get(); len(after) != 48 || before == after {
		t.Errorf("cookie %s, then %s", before, after)
	}
	if err := s.SetCookieSecrets(make([]server.CookieSecret, 3)); err == nil {
		t.Error("three secrets are taken")
	}
	if err := s.SetCookieSecrets(nil); err == nil {
		t.Error("cookies can be turned off")
	}
}
