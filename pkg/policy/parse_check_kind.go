package policy

import (
	"slices"
	"strings"
	"time"

	"geodns/internal/source"
	"geodns/pkg/health"
)

// checkKinds are the kinds of checks; their words are the keys under which what only they have stands.
func checkKinds() []health.Kind {
	return []health.Kind{health.HTTP, health.HTTPS, health.TCP, health.TLS, health.DNS}
}

// kindWords are the words of the kinds.
func kindWords() []string {
	var words []string
	for _, k := range checkKinds() {
		words = append(words, k.String())
	}
	return words
}

// oneKind is how a message lists the kinds.
func oneKind() string {
	words := kindWords()
	return "one of " + strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// kind reads the one kind that a check has, and that a target may repeat.
func (r *layerReader) kind(m source.Map) {
	e := r.entry
	for _, k := range checkKinds() {
		v := m.Get(k.String())
		switch {
		case !v.Exists():
		case e.kind != 0:
			r.errorf(v, "a check has %s, and this one has %s already", oneKind(), e.kind)
		default:
			e.kind, e.kindPlace = k, v.Place()
		}
	}
	if e.kind == 0 {
		if r.whole {
			r.fs.Errorf(m.Place(), "a check needs %s, such as http: {path: /healthz}", oneKind())
		}
		return
	}
	r.section(m.Get(e.kind.String()), e.kind.String()+".", r.kindKeys(e.kind))
}

// kindKeys are the keys that only checks of a kind have.
func (r *layerReader) kindKeys(k health.Kind) []checkKey {
	port := plain(r, "port", r.port, setPort)
	if defaultPort(k) == 0 {
		port.need = "the one to connect to, from 1 to 65535"
	}
	switch k {
	case health.HTTP:
		return append([]checkKey{port}, r.httpKeys()...)
	case health.HTTPS:
		return append(append([]checkKey{port}, r.httpKeys()...), r.tlsKeys()...)
	case health.TLS:
		return append([]checkKey{port}, r.tlsKeys()...)
	case health.DNS:
		return append([]checkKey{port}, r.dnsKeys()...)
	case health.TCP:
	}
	return []checkKey{
		port,
		plain(r, "send", r.octets("send", health.SendMax), func(c *health.Check, s string) { c.Send = s }),
		plain(r, "expect", r.octets("expect", health.ExpectMax), func(c *health.Check, s string) { c.Expect = s }),
	}
}

// defaultPort is the port of a kind's protocol; 0 where the protocol could be any.
func defaultPort(k health.Kind) uint16 {
	switch k {
	case health.HTTP:
		return 80
	case health.HTTPS:
		return 443
	case health.DNS:
		return 53
	case health.TCP, health.TLS:
	}
	return 0
}

func setPort(c *health.Check, port uint16) { c.Port = port }

// port reads a port number.
func (p *parser) port(v source.Value) (uint16, bool) {
	n, ok := v.Int(p.fs, 1, 65535)
	return uint16(n), ok
}

// octets makes a reader of what is sent or looked for as it stands, line ends and all.
func (p *parser) octets(what string, most int) func(source.Value) (string, bool) {
	return func(v source.Value) (string, bool) {
		s, ok := v.String(p.fs)
		switch {
		case !ok:
			return "", false
		case s == "":
			p.errorf(v, "an empty %s; leave it out", what)
			return "", false
		case len(s) > most:
			p.errorf(v, "a %s of %d bytes; at most %d are allowed", what, len(s), most)
			return "", false
		}
		return s, true
	}
}

// line makes a reader of a text that is not empty and can be printed.
func (p *parser) line(what string) func(source.Value) (string, bool) {
	return func(v source.Value) (string, bool) {
		s := p.text(v, what)
		return s, s != ""
	}
}

// tlsKeys are the keys of https and tls that are about the handshake.
func (r *layerReader) tlsKeys() []checkKey {
	return []checkKey{
		plain(r, "sni", r.serverName, func(c *health.Check, s string) { c.SNI = s }),
		plain(r, "verify", r.verify, func(c *health.Check, verify bool) { c.Insecure = !verify }),
		plain(r, "expiry_warning", r.span(0, expiryWarningMax), func(c *health.Check, d time.Duration) {
			if c.ExpiryWarning = d; d == 0 {
				c.ExpiryWarning = -1 // never; health's 0 is the default
			}
		}),
	}
}

// serverName reads the name that a handshake asks for and a certificate must have.
func (p *parser) serverName(v source.Value) (string, bool) {
	s, ok := v.String(p.fs)
	if !ok {
		return "", false
	}
	if err := hostOrAddress(s); err != nil {
		p.errorf(v, "%q is no name that a certificate could have: %s; write one such as www.example.com, without a port", clip(s), err)
		return "", false
	}
	return s, true
}

// verify reads whether certificates are verified.
func (p *parser) verify(v source.Value) (verify, ok bool) {
	verify, ok = v.Bool(p.fs)
	if ok && !verify {
		p.fs.Warnf(v.Place(), "the certificate is not verified: whoever answers at the target's address passes")
	}
	return verify, ok
}

// dnsKeys are the keys of dns but for its port.
func (r *layerReader) dnsKeys() []checkKey {
	name := plain(r, "name", r.queryName, func(c *health.Check, s string) { c.Query.Name = s })
	name.need = "the name to ask for, such as example.com"
	return []checkKey{
		name,
		plain(r, "type", r.queryType, func(c *health.Check, s string) { c.Query.Type = s }),
		plain(r, "rcode", r.rcode, func(c *health.Check, s string) { c.Query.Rcode = s }),
		plain(r, "answer", r.answers, func(c *health.Check, a []string) { c.Query.Answers = a }),
		plain(r, "transport", r.transport, func(c *health.Check, tcp bool) { c.Query.TCP = tcp }),
	}
}

// queryName reads a name to ask for, with or without its final dot.
func (p *parser) queryName(v source.Value) (string, bool) {
	s, ok := v.String(p.fs)
	if !ok {
		return "", false
	}
	if s == "." {
		return s, true
	}
	if _, err := hostName(strings.TrimSuffix(s, ".") + "."); err != nil {
		p.errorf(v, "%q is no name to ask for: %s", clip(s), err)
		return "", false
	}
	return s, true
}

// queryType reads a type. Whether there is one of that name, health knows.
func (p *parser) queryType(v source.Value) (string, bool) {
	s := strings.ToUpper(p.text(v, "type"))
	if s == "" {
		return "", false
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r != '-' && (r > 'z' || !isAlphanumeric(byte(r))) }) {
		p.errorf(v, "%q is no type; write one such as A, SOA or TYPE65", clip(s))
		return "", false
	}
	return s, true
}

// rcode reads the rcode of a good answer.
func (p *parser) rcode(v source.Value) (string, bool) {
	// RFC 1035 section 4.1.1 and RFC 2136 section 2.2; the others need EDNS or TSIG, which a probe does not send.
	known := []string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE"}
	s := strings.ToUpper(p.text(v, "rcode"))
	if s == "" {
		return "", false
	}
	if slices.Contains(known, s) {
		return s, true
	}
	p.errorf(v, "%q is no rcode; %s", clip(s), oneOf(s, known))
	return "", false
}

// answers reads data that must be among the answers.
func (p *parser) answers(v source.Value) ([]string, bool) {
	var out []string
	for _, t := range p.texts(v, "answer") {
		out = append(out, t.name)
	}
	return out, out != nil
}

// transport reads how a query is sent, and says whether it is over TCP.
func (p *parser) transport(v source.Value) (tcp, ok bool) {
	mark := p.mark()
	n := p.choice(v, "udp", "tcp")
	return n == 1, !p.failed(mark)
}
