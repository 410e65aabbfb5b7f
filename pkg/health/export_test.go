package health

import (
	"context"
	"crypto/x509"
	"net/netip"
	"time"

	"geodns/pkg/steering"
)

// SetProbe replaces the probes of a Checker that has not been given targets yet.
func (c *Checker) SetProbe(probe func(ctx context.Context, name string, check Check) Result) {
	c.probe = func(ctx context.Context, p *prober) Result { return probe(ctx, p.dest.name(), p.check) }
}

// SetProbesMax lowers the bound of probes under way.
func (c *Checker) SetProbesMax(n int) { c.probesMax = n }

// Probe makes one probe of an address, or of a host name if addr is invalid.
func Probe(ctx context.Context, check Check, addr netip.Addr, host string, dial DialFunc, roots *x509.CertPool) Result {
	return newProber(check.WithDefaults(), destination{addr: addr, host: host}, newCommon(dial, roots)).probe(ctx)
}

// SystemDial is the default of Config.Dial.
func SystemDial(allow func(netip.Addr) error) DialFunc { return systemDial(allow, nil) }

// Tested is the line that verdicts carry over by.
func (c Check) Tested() string { return c.tested() }

// Combine gives the verdict of a target.
func Combine(verdicts []steering.Verdict) steering.Verdict { return combine(verdicts) }

// Fraction gives where in an interval an address is probed.
func Fraction(target, address string, interval time.Duration) time.Duration {
	c, err := New(Config{})
	if err != nil {
		return -1
	}
	check := (Check{Kind: TCP, Port: 1}).WithDefaults()
	s := c.makeSubject(&checked{id: target, check: check}, destination{host: address}, 0)
	return s.part(interval)
}

// checked names the type beside the parameter target.
type checked = target

// HeaderMax and FirstRound are limits that tests go to.
const (
	HeaderMax  = headerMax
	FirstRound = firstRound
	SaveDelay  = saveDelay
	SaveEvery  = saveEvery
)

// SystemDialOwn is the default of Config.Dial, with name servers that it may not ask.
func SystemDialOwn(own func(netip.AddrPort) bool) DialFunc { return systemDial(nil, own) }

// ResolverDial is how the default of Config.Dial reaches name servers.
func ResolverDial(own func(netip.AddrPort) bool) DialFunc { return resolverDial(own) }

// NewProber makes a prober of an address; what it returns makes a probe each time.
func NewProber(check Check, addr netip.Addr, dial DialFunc, roots *x509.CertPool) func(context.Context) Result {
	return newProber(check.WithDefaults(), destination{addr: addr}, newCommon(dial, roots)).probe
}

// Days writes a time as warnings do.
func Days(d time.Duration) string { return days(d) }

// JudgeDNS says what comes of a message as the answer to a query.
func JudgeDNS(query DNSQuery, answer []byte, id uint16) (good string, err error) {
	q, err := query.compile()
	if err != nil {
		return "", err
	}
	message := q.parse(answer, id)
	if message == nil {
		return "", unwantedError("no answer")
	}
	return q.judge(message)
}
