package health

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"net/netip"
	"strconv"
	"time"
)

// SetProbe replaces the probes of a Checker that has not been given targets yet.
func (c *Checker) SetProbe(probe func(ctx context.Context, name string, check Check) Result) {
	c.probe = func(ctx context.Context, p *prober) Result { return probe(ctx, p.dest.name(), p.check) }
}

// SetSlots lowers the bound of probes under way.
func (c *Checker) SetSlots(n int) { c.slots, c.limit = n, n }

// Probe makes one probe of an address, or of a host name if addr is invalid.
func Probe(ctx context.Context, check Check, addr netip.Addr, host string, dial DialFunc, roots *x509.CertPool) Result {
	return newProber(check.WithDefaults(), destination{addr: addr, host: host}, newCommon(dial, roots)).probe(ctx)
}

// SystemDial is the default of Config.Dial.
func SystemDial(allow func(netip.Addr) error) DialFunc { return systemDial(allow, nil) }

// Reach makes a plain tcp probe as a Checker without a Dial of its own does.
func Reach(ctx context.Context, to netip.AddrPort, timeout time.Duration, allow func(netip.Addr) error) Result {
	shared := newCommon(systemDial(allow, nil), nil)
	shared.reach = systemReach(allow)
	check := Check{Kind: TCP, Port: to.Port(), Interval: max(timeout, IntervalMin), Timeout: timeout}
	return newProber(check.WithDefaults(), destination{addr: to.Addr()}, shared).probe(ctx)
}

// Tested is the line that verdicts carry over by.
func (c Check) Tested() string { return c.tested() }

// Rules are the check's.
func (c Check) Rules() Rules {
	c = c.WithDefaults()
	return c.rules(DefaultMaxAge)
}

// Fraction gives where in an interval an address is probed.
func Fraction(target, address string, interval time.Duration) time.Duration {
	return newSubject(target, 0, destination{host: address}).part(interval)
}

// View is what a test may see of a machine's view of an address.
type View struct {
	State   string
	Doubt   Doubt
	Failing bool
	Failed  int
	Penalty float64
}

// View gives the view of an address.
func (m *Machine) View(address int, now time.Duration) View {
	v := &m.views[address]
	return View{v.state.String(), v.doubt(&m.rules, now), v.failing(), v.failed, m.rules.Damping.decayed(m.penalty, now-m.penaltyAt)}
}

// Doubt is the machine's.
func (m *Machine) Doubt() Doubt { return m.doubt }

// Hold is the machine's.
func (m *Machine) Hold() Hold { return m.hold }

// Down counts the votes for down that count, and those needed.
func (m *Machine) Down() (down, need int) { return m.counted.down, m.counted.need }

// Save gives what of a machine would be in the state file, read back.
func Save(m *Machine, wall time.Time, now time.Duration) ([]byte, error) {
	t := targetOf(m)
	saved, ok := t.save(wall, now)
	if !ok {
		return nil, nil
	}
	return json.Marshal(saved)
}

// Restore gives a new machine what Save kept, as a later process would.
func Restore(m *Machine, saved []byte, wall time.Time, now time.Duration) error {
	if saved == nil {
		return nil
	}
	var s savedTarget
	if err := json.Unmarshal(saved, &s); err != nil {
		return err
	}
	c := &Checker{cfg: Config{MaxAge: DefaultMaxAge}, restored: map[string]savedTarget{s.key(): s}}
	keep := make([]int, len(m.views))
	for i := range keep {
		keep[i] = -1
	}
	c.restore(targetOf(m), true, keep, wall, now)
	return nil
}

// targetOf wraps a machine whose addresses have the names of their numbers.
func targetOf(m *Machine) *target {
	t := &target{id: m.ID, machine: m}
	for i := range m.views {
		t.subjects = append(t.subjects, newSubject(m.ID, i, destination{host: strconv.Itoa(i)}))
	}
	return t
}

// Limits that tests go to.
const (
	HeaderMax    = headerMax
	FirstRound   = firstRound
	SaveDelay    = saveDelay
	SaveEvery    = saveEvery
	MassHold     = massHold
	MassTargets  = massTargets
	MassNetworks = massNetworks
	ReasonsKept  = reasonsKept
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
