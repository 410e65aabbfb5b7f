package node

import (
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"geodns/internal/source"
	"geodns/pkg/geo"
	"geodns/pkg/health"
	"geodns/pkg/policy"
	"geodns/pkg/rum"
	"geodns/pkg/steering"
	"geodns/pkg/zone"
)

// Config is a node's configuration, checked for form by whoever read it. Not modified after New.
type Config struct {
	Node        string           // the node's name: NSID, id.server
	Listen      []netip.AddrPort // UDP and TCP
	Workers     int              // UDP workers an address; 0: one a core
	Zones       string           // folder of zone and policy files
	State       string           // folder of what is kept over a restart; "": nothing is
	LeaseMax    time.Duration    // the longest lease; 0: operator.LeaseForDefault
	Geo         geo.Config
	API         netip.AddrPort // zero: no API
	APITLS      APITLS
	AuthTokens  string // file of the API's static tokens; "": there are none
	AuthRoles   string // file of its roles; "": there are none
	OIDC        OIDC
	HealthAllow []netip.Prefix // loopback and link-local targets that may be used all the same
	// HealthCanaries are probed to tell the node's own trouble from that of the targets. Each has its check.
	HealthCanaries []health.Target
	UDPPayload     int // octets of the largest answer over UDP; 0: the server's default
	Cookies        Cookies
	ECSOff         []ZoneName // zones that ignore ECS
	MaxScopes      int        // the most scopes that a policy may publish; 0: any number
	// ExplainAllow may ask explain.geodns and the like of class CH. nil: loopback while every listener is there, else nobody.
	ExplainAllow []netip.Prefix
	RUM          RUM
	Version      string       // what version.server and version.bind say; "": they are refused
	Build        string       // the program's version, for the API
	Log          *slog.Logger // nil: nothing is logged
}

// Cookies says how DNS cookies are made (RFC 7873). The zero value makes them with a secret of the node's own.
type Cookies struct {
	Off        bool
	SecretFile string // the secrets that nodes share; "": the node makes its own
	Require    bool   // over UDP, who has a cookie but no valid one gets BADCOOKIE and a fresh one
}

// ZoneName is a zone that the configuration names.
type ZoneName struct {
	Name  string // absolute, lower-case
	Place source.Place
}

// explainers are who may ask explain.geodns.
func (c *Config) explainers() []netip.Prefix {
	if c.ExplainAllow == nil && c.onLoopback() {
		return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	return c.ExplainAllow
}

// logger is where the node logs to.
func (c *Config) logger() *slog.Logger {
	if c.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Log
}

// onLoopback says whether all listeners are on loopback: then targets may be, too.
func (c *Config) onLoopback() bool {
	return !slices.ContainsFunc(c.Listen, func(a netip.AddrPort) bool { return !a.Addr().IsLoopback() })
}

// loaded is everything that a load read and compiled; its parts belong together. Immutable.
type loaded struct {
	zones    *zone.Set
	geo      *geo.Data
	compiled *policy.Compiled

	measurable *measurable
	orders     *rum.Orders // by which the table ranks; nil: nothing is measured

	// plain is the table without orders, which is kept for the next start: that begins without them. nil after other orders.
	plain *steering.Table
	// from names all that plain was compiled from; zero where it is not worth keeping, or not known.
	from tableKey
	// rest compiles what was restored; nil where nothing was. Until then nobody is placed or explained.
	rest func() (*loaded, source.Findings)
}

// id names the content: the same files and databases give the same on every node.
func (l *loaded) id() string {
	return fmt.Sprintf("%s-%s", l.zones.ID(), l.compiled.Table.ID())
}

// load reads and checks everything. Of what prev has, refused databases are used again. With an error in zones, policies
// or overrides there is no result; a refused database is an error among the findings, and the result is without it.
func load(cfg *Config, prev *loaded) (*loaded, source.Findings) {
	return read(cfg, prev).compile(prev)
}

// inMemory is what a load read, before it is compiled.
type inMemory struct {
	cfg   *Config
	files *geo.Files
	zones *zone.Set        // nil: refused
	doc   *policy.Document // nil: refused
	// findings are of zones and policies.
	findings source.Findings
}

// read reads everything, the geo data beside the zones, and checks zones and policies.
func read(cfg *Config, prev *loaded) *inMemory {
	m := &inMemory{cfg: cfg}
	var wg sync.WaitGroup
	wg.Go(func() { m.files = geo.Read(cfg.Geo) })
	m.readZones(prev)
	wg.Wait()
	return m
}

// readZones reads and checks zones and policies.
func (m *inMemory) readZones(prev *loaded) {
	cfg := m.cfg
	zones, fs := zone.Load(cfg.Zones, 0)
	doc, docFindings := policy.Load(cfg.Zones)
	fs = append(fs, docFindings...)
	if doc != nil {
		cfg.checkTargets(doc, &fs)
	}
	if zones != nil && prev != nil && len(zones.Zones()) == 0 && len(prev.zones.Zones()) > 0 {
		fs.Errorf(source.WholeFile(cfg.Zones), "there is no zone file any more, and zones are served: an emptied folder is taken for a mistake; restart the server if it is none")
	}
	if zones != nil {
		cfg.checkZoneNames(zones, &fs)
	}
	if zones != nil && doc != nil {
		join(zones, doc, &fs)
	}
	m.zones, m.doc, m.findings = zones, doc, fs
}

// refused says that zones or policies cannot be used.
func (m *inMemory) refused() bool { return m.findings.HasErrors() || m.zones == nil || m.doc == nil }

// compile is the second half of load.
func (m *inMemory) compile(prev *loaded) (*loaded, source.Findings) {
	var before *geo.Data
	if prev != nil {
		before = prev.geo
	}
	data, geoFindings := m.files.Compile(before)
	fs := slices.Clone(m.findings)
	if m.refused() || data.OverridesRefused {
		return nil, sorted(append(fs, geoFindings...))
	}
	l := &loaded{zones: m.zones, geo: data, measurable: measurableOf(m.doc)}
	if !data.Degraded { // what the next start would compile
		l.from = m.key()
	}
	compiled, compileFindings := policy.Compile(m.doc, policy.Input{Networks: data.Networks, GeoLost: data.Lost, Zones: m.zones, MaxScopes: m.cfg.MaxScopes})
	if compiled != nil {
		l.plain = compiled.Table
		if prev != nil && prev.orders != nil {
			l.orders = prev.orders
			compiled, compileFindings = compiled.WithOrders(l.orders)
		}
	}
	fs = append(fs, compileFindings...)
	fs = append(fs, geoFindings...)
	if compiled == nil {
		return nil, sorted(fs)
	}
	l.compiled = compiled
	return l, sorted(fs)
}

func sorted(fs source.Findings) source.Findings {
	fs.Sort()
	return fs
}

// checkTargets reports targets at addresses that this node must not touch.
func (c *Config) checkTargets(doc *policy.Document, fs *source.Findings) {
	loopback := c.onLoopback()
	for _, t := range doc.Targets {
		for _, a := range slices.Concat(t.V4, t.V6) {
			if err := health.Allowed(a, loopback, c.HealthAllow); err != nil {
				fs.Errorf(t.Place, "target %s: %v", t.ID, err)
			}
		}
	}
}

// join checks what zones and policies say of each other.
func join(zones *zone.Set, doc *policy.Document, fs *source.Findings) {
	policies := map[string]*policy.Policy{}
	var names []string
	for _, p := range doc.Policies {
		policies[p.Name] = p
		names = append(names, p.Name)
	}
	used := map[string]bool{}
	for _, s := range zones.Steers() {
		p := policies[s.Policy]
		used[s.Policy] = true
		switch {
		case p == nil && len(names) == 0:
			fs.Errorf(s.Place, "STEER names policy %q, and no file *.yaml in the zones folder has a policy", s.Policy)
		case p == nil:
			fs.Errorf(s.Place, "STEER names policy %q, which is in no policy file; %s", s.Policy, meant(s.Policy, names))
		case p.Hosts() && !p.Flatten && s.Apex:
			fs.Errorf(s.Place, "policy %q answers with host names, and a zone's apex cannot be a CNAME: give its targets addresses, or the policy `flatten: true`", s.Policy)
		case p.Hosts() && !p.Flatten && !s.Alone:
			fs.Errorf(s.Place, "policy %q answers every type with a CNAME, so nothing may stand beside the STEER record at %s", s.Policy, s.Owner)
		}
	}
	for _, p := range doc.Policies {
		if !used[p.Name] {
			fs.Warnf(p.Place, "no STEER record names policy %q", p.Name)
		}
	}
}

// meant suggests a name.
func meant(name string, known []string) string {
	if n := source.Nearest(name, known); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	return "there are " + strings.Join(known[:min(len(known), 5)], ", ")
}

// checkZoneNames warns of zones that the configuration names and the files do not have: they may come later.
func (c *Config) checkZoneNames(zones *zone.Set, fs *source.Findings) {
	var known []string
	for _, z := range zones.Zones() {
		known = append(known, z.Origin)
	}
	for _, z := range c.ECSOff {
		if slices.Contains(known, z.Name) {
			continue
		}
		hint := ""
		if near := source.Nearest(z.Name, known); near != "" {
			hint = fmt.Sprintf("; did you mean %q?", near)
		}
		fs.Warnf(z.Place, "ecs.off names %q, and no zone file is of that zone%s", z.Name, hint)
	}
}

// Checked is what Check found.
type Checked struct {
	Findings source.Findings
	// Tests are the policy tests; Ran says that they were run: with an error in what they test they are not.
	Tests []policy.TestResult
	Ran   bool
}

// Check reads and checks everything that a server would, and the policy tests, which a server leaves alone.
func Check(cfg Config) Checked {
	l, fs := load(&cfg, nil)
	cfg.readSecrets(&fs)
	newAccess(&cfg, cfg.logger(), nil, &fs)
	tests, testFindings := policy.LoadTests(cfg.Zones)
	c := Checked{Ran: l != nil && !fs.HasErrors() && !testFindings.HasErrors()}
	fs = append(fs, testFindings...)
	if c.Ran {
		c.Tests, testFindings = policy.RunTests(cfg.scene(l, nil), tests)
		fs = append(fs, testFindings...)
	} else {
		for _, t := range tests {
			c.Tests = append(c.Tests, policy.TestResult{Test: t})
		}
	}
	c.Findings = sorted(fs)
	return c
}

// Explain answers a question from the files alone, every checked target never probed. Findings with an error mean that the files
// cannot be used; the error is the question's.
func Explain(cfg Config, q policy.Question) (*policy.Explanation, source.Findings, error) {
	l, fs := load(&cfg, nil)
	if l == nil {
		return nil, fs, nil
	}
	fs = slices.DeleteFunc(fs, func(f source.Finding) bool { return f.Severity == source.Error }) // a refused database: shown by the scope
	states, err := l.states(neverProbed)
	if err != nil {
		return nil, fs, err
	}
	e, err := policy.Explain(cfg.scene(l, states), q)
	return e, fs, err
}

// states makes the States of a load's targets from what is decided of each.
func (l *loaded) states(verdict func(*policy.Target) steering.Verdict) (*steering.States, error) {
	vs := make([]steering.Verdict, len(l.compiled.Targets))
	for i := range l.compiled.Targets {
		vs[i] = verdict(l.compiled.Targets[i].Target)
	}
	return steering.NewStates(l.compiled.Table, vs)
}

// neverProbed is what is known of a target where nothing probes.
func neverProbed(t *policy.Target) steering.Verdict {
	if t.Check == nil {
		return steering.Unchecked()
	}
	return steering.Verdict{State: steering.Unknown, InDoubt: true, Admit: steering.AdmitAll}
}

// scene is what explain looks at.
func (l *loaded) scene(states *steering.States) policy.Scene {
	return policy.Scene{Zones: l.zones, Compiled: l.compiled, States: states, Records: func(a netip.Addr) []string { return records(l.geo, a) }}
}

// records tells what the geo data has of an address, a line each.
func records(data *geo.Data, a netip.Addr) []string {
	r := data.Lookup(a)
	var out []string
	if r.BuiltIn {
		out = append(out, "built-in continents (IANA's registries): "+placeText(r.BuiltInPlace))
	}
	for _, db := range r.Databases {
		line := fmt.Sprintf("%s (%s) %s: %s", db.Path, db.Type, db.Network, placeText(db.Place))
		if db.Err != "" {
			line += "; its record cannot be shown: " + db.Err
		}
		out = append(out, line)
		for _, f := range db.Fields {
			out = append(out, "  "+f.Key+": "+f.Value)
		}
	}
	for _, o := range r.Overrides {
		out = append(out, fmt.Sprintf("override %s at %s: %s", o.Prefix, o.At, placeText(o.Place)))
	}
	return append(out, fmt.Sprintf("decided for %s: %s", r.Decided, placeText(r.Place)))
}

// placeText is a place in a line.
func placeText(p geo.Place) string {
	words := []string{"unknown"}
	if p.Placed() {
		words[0] = p.Code().String()
	}
	if p.HasLocation {
		words = append(words, fmt.Sprintf("at %.4f, %.4f", p.Lat, p.Lon))
	}
	if p.ASN != 0 {
		words = append(words, fmt.Sprintf("AS%d", p.ASN))
	}
	return strings.Join(words, ", ")
}

// same reports whether nothing is other than in another load: in what is answered, what is probed, and what leases lie over.
func (l *loaded) same(other *loaded) bool {
	return l.id() == other.id() && l.sameChecks(other) && l.sameObjects(other)
}

// sameChecks reports whether the same is probed in the same way. It is no part of the id: that names what answers are made of.
func (l *loaded) sameChecks(other *loaded) bool {
	return reflect.DeepEqual(l.healthTargets(), other.healthTargets())
}

// sameObjects reports whether leases and guards go by the same: which targets a pool, a region and a tag have, which regions are a
// pair, and which a fence lets in. Tags are no part of the id, and who takes one away undoes what a lease over it does.
func (l *loaded) sameObjects(other *loaded) bool {
	return reflect.DeepEqual(l.objects(), other.objects())
}

// objects lists what leases and guards go by.
func (l *loaded) objects() (all [][]string) {
	for _, t := range l.compiled.Document.Targets {
		all = append(all, append([]string{t.ID, t.Region.Name}, t.Tags...))
	}
	for _, r := range l.compiled.Document.Regions {
		pair := ""
		if r.Pair != nil {
			pair = r.Pair.Name
		}
		all = append(all, append([]string{r.Name, pair}, r.Jurisdictions...))
	}
	return all
}

// healthTargets lists what is to be probed.
func (l *loaded) healthTargets() []health.Target {
	var out []health.Target
	for _, t := range l.compiled.Document.Targets {
		if t.Check != nil {
			out = append(out, health.Target{ID: t.ID, Addrs: slices.Concat(t.V4, t.V6), Host: t.Host, Check: t.Check})
		}
	}
	return out
}
