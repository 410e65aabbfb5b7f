package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"geodns/internal/node"
	"geodns/internal/source"
	"geodns/pkg/api"
	"geodns/pkg/dnswire"
	"geodns/pkg/health"
	"geodns/pkg/server"
)

// What leases.max may be: shorter than a minute nobody could use, and what is to hold for longer than a quarter belongs into the files.
const (
	leaseMaxMin = time.Minute
	leaseMaxMax = 90 * 24 * time.Hour
)

// What rum.interval and rum.window may be: a count takes a processor some milliseconds, and a network that was measured a day ago is
// another one now.
const (
	rumIntervalMin = time.Second
	rumIntervalMax = time.Hour
	rumWindowMax   = 24 * time.Hour
)

// resolver reads values and says what is wrong where: in the file as a finding, elsewhere as the first error.
type resolver struct {
	*loader

	findings *source.Findings
	err      error
}

// resolve turns what was written into a node.Config.
func (r *resolver) resolve(raw *fileConfig) node.Config {
	cfg := node.Config{
		Node: r.nodeName(raw.Node), Version: r.versionText(raw.Version), Workers: raw.Workers, UDPPayload: raw.UDPPayload, MaxScopes: raw.ECS.MaxScopes,
	}
	r.inRange("workers", raw.Workers)
	r.inRange("udp_payload", raw.UDPPayload)
	r.inRange("ecs::max_scopes", raw.ECS.MaxScopes)
	r.check("listen", len(raw.Listen) > 0 && len(raw.Listen) <= server.ListenMax, "1 to %d addresses are wanted, not %d", server.ListenMax, len(raw.Listen))
	for i, text := range raw.Listen {
		if at, ok := r.addrPort(itemKey("listen", i), text); ok {
			r.check(itemKey("listen", i), !slices.Contains(cfg.Listen, at), "%s stands twice", at)
			cfg.Listen = append(cfg.Listen, at)
		}
	}
	cfg.Zones = r.path("zones", raw.Zones)
	cfg.State = r.path("state", raw.State)
	r.check("geo::databases", len(raw.Geo.Databases) <= databasesMax, "at most %d databases can be asked, not %d", databasesMax, len(raw.Geo.Databases))
	for _, name := range raw.Geo.Databases {
		cfg.Geo.Databases = append(cfg.Geo.Databases, r.path("geo::databases", name))
	}
	if raw.Geo.Overrides != "" {
		cfg.Geo.Overrides = r.path("geo::overrides", raw.Geo.Overrides)
	}
	r.check("geo::max_moved", raw.Geo.MaxMoved > 0 && raw.Geo.MaxMoved <= 1, "%g is no share above 0 and at most 1", raw.Geo.MaxMoved)
	cfg.Geo.MaxMoved = raw.Geo.MaxMoved
	r.api(raw, &cfg)
	cfg.LeaseMax = r.duration("leases::max", raw.Leases.Max, leaseMaxMin, leaseMaxMax)
	cfg.HealthAllow = r.prefixes("health::allow", raw.Health.Allow)
	cfg.HealthCanaries = r.canaries("health::canaries", raw.Health.Canaries, &cfg)
	cfg.Cookies = r.cookies(raw)
	cfg.ECSOff = r.zoneNames("ecs::off", raw.ECS.Off)
	if r.given("explain::allow") {
		cfg.ExplainAllow = r.prefixes("explain::allow", raw.Explain.Allow)
	}
	cfg.RUM = r.rum(raw)
	return cfg
}

// rum reads what is made of what users measure.
func (r *resolver) rum(raw *fileConfig) node.RUM {
	in := &raw.RUM
	cfg := node.RUM{
		Certificate: r.file("rum::certificate", in.Certificate), Key: r.file("rum::key", in.Key), Plain: in.Plain, Origins: in.AllowOrigins,
		Proxies: r.prefixes("rum::proxies", in.Proxies), Sample: in.Sample, MinSources: in.MinSources, MaxSketches: in.MaxSketches,
		Interval: r.duration("rum::interval", in.Interval, rumIntervalMin, rumIntervalMax),
		Window:   r.duration("rum::window", in.Window, rumIntervalMin, rumWindowMax),
	}
	r.check("rum::sample", in.Sample > 0 && in.Sample <= 1, "%g is no part above 0 and at most 1", in.Sample)
	r.inRange("rum::min_sources", in.MinSources)
	r.inRange("rum::max_sketches", in.MaxSketches)
	whole := cfg.Interval == 0 || cfg.Window >= cfg.Interval && cfg.Window%cfg.Interval == 0
	r.check("rum::window", whole, "a window of %s is no multiple of the interval, %s", cfg.Window, cfg.Interval)
	encrypted := cfg.Certificate != ""
	r.check("rum::certificate", !encrypted || cfg.Key != "", "a certificate is of use with its private key: set rum.key")
	r.check("rum::key", encrypted || cfg.Key == "", "a private key is of use with its certificate: set rum.certificate")
	r.check("rum::plain", !encrypted || !cfg.Plain, "beacons come by TLS or plain, not both: leave out rum.certificate or this")
	r.check("rum::allow_origins", len(in.AllowOrigins) <= originsMax, "at most %d origins, not %d", originsMax, len(in.AllowOrigins))
	for i, origin := range in.AllowOrigins {
		err := api.CheckOrigin(origin)
		r.check(itemKey("rum::allow_origins", i), err == nil, "%v", err)
	}
	if in.Listen == none {
		return cfg
	}
	if at, ok := r.addrPort("rum::listen", in.Listen); ok {
		err := api.CheckBeaconListen(at, encrypted, cfg.Plain)
		r.check("rum::listen", err == nil, "%v", err)
		r.check("rum::listen", len(in.AllowOrigins) > 0, "no page may send there: set rum.allow_origins, such as [https://www.example.com]")
		cfg.Listen = at
	}
	return cfg
}

// api reads where the API listens, and who may use it.
func (r *resolver) api(raw *fileConfig, cfg *node.Config) {
	cfg.APITLS = node.APITLS{
		Certificate: r.file("api::certificate", raw.API.Certificate), Key: r.file("api::key", raw.API.Key), ClientCA: r.file("api::client_ca", raw.API.ClientCA),
	}
	cfg.AuthTokens = r.file("auth::tokens", raw.Auth.Tokens)
	cfg.AuthRoles = r.file("auth::roles", raw.Auth.Roles)
	cfg.OIDC = node.OIDC{
		Issuer: raw.Auth.OIDCIssuer, Audience: raw.Auth.OIDCAudience, Name: raw.Auth.OIDCName, CA: r.file("auth::oidc_ca", raw.Auth.OIDCCA),
	}
	encrypted := cfg.APITLS.Certificate != ""
	r.check("api::certificate", !encrypted || cfg.APITLS.Key != "", "a certificate is of use with its private key: set api.key")
	r.check("api::key", encrypted || cfg.APITLS.Key == "", "a private key is of use with its certificate: set api.certificate")
	r.check("api::client_ca", encrypted || cfg.APITLS.ClientCA == "", "client certificates come with TLS: set api.certificate and api.key")
	if raw.Auth.OIDCIssuer != "" || r.given("auth::oidc_issuer") {
		_, err := api.NewOIDC(api.OIDCConfig{Issuer: cfg.OIDC.Issuer, Audience: cfg.OIDC.Audience})
		r.check("auth::oidc_issuer", err == nil, "%v", err)
	} else {
		for _, key := range []string{"auth::oidc_audience", "auth::oidc_name", "auth::oidc_ca"} {
			r.check(key, !r.given(key), "without auth.oidc_issuer this means nothing")
		}
	}
	r.check("auth::oidc_name", cfg.OIDC.Name != "", "a claim is wanted, such as sub or email")
	if raw.API.Listen == none {
		return
	}
	if at, ok := r.addrPort("api::listen", raw.API.Listen); ok {
		err := api.CheckListen(at, encrypted, cfg.AuthTokens != "" || cfg.APITLS.ClientCA != "" || cfg.OIDC.Issuer != "")
		r.check("api::listen", err == nil, "%v", err)
		cfg.API = at
	}
}

// file reads the path of a file that need not be given; "" if it is not.
func (r *resolver) file(key, name string) string {
	if name == "" {
		r.check(key, !r.given(key), "a path is wanted")
		return ""
	}
	return r.path(key, name)
}

// duration reads a time such as 24h.
func (r *resolver) duration(key, text string, lo, hi time.Duration) time.Duration {
	d, err := time.ParseDuration(text)
	r.check(key, err == nil && d >= lo && d <= hi, "%q is no time from %s to %s, such as 24h", text, lo, hi)
	return d
}

// cookies reads how DNS cookies are made.
func (r *resolver) cookies(raw *fileConfig) node.Cookies {
	c := node.Cookies{Off: !raw.Cookies.Enabled, Require: raw.Cookies.Require}
	r.check("cookies::require", raw.Cookies.Enabled || !c.Require, "cookies cannot be required where `enabled` is false")
	if raw.Cookies.SecretFile != "" || r.given("cookies::secret_file") {
		c.SecretFile = r.path("cookies::secret_file", raw.Cookies.SecretFile)
		if c.Off && raw.Cookies.SecretFile != "" {
			r.findings.Warnf(r.place("cookies::secret_file"), "cookies.secret_file is not read, as cookies.enabled is false")
		}
	}
	return c
}

// canaries reads what is probed to tell the node's own trouble. Each must be an address that may be probed at all: one that is
// refused at each probe would have the checker doubt itself for ever.
func (r *resolver) canaries(key string, list []string, cfg *node.Config) []health.Target {
	r.check(key, len(list) <= health.CanariesMax, "at most %d canaries, not %d", health.CanariesMax, len(list))
	onLoopback := !slices.ContainsFunc(cfg.Listen, func(a netip.AddrPort) bool { return !a.Addr().IsLoopback() })
	var out []health.Target
	for i, text := range list {
		at := itemKey(key, i)
		canary, err := health.ParseCanary(text)
		if err != nil {
			r.check(at, false, "%v", err)
			continue
		}
		r.check(at, !slices.Contains(list[:i], text), "%s stands twice", text)
		for _, addr := range canary.Addrs {
			err := health.Allowed(addr, onLoopback, cfg.HealthAllow)
			r.check(at, err == nil, "canary %s: %v", text, err)
		}
		out = append(out, canary)
	}
	return out
}

// given says whether a setting stands anywhere, rather than being its default.
func (r *resolver) given(key string) bool {
	flag, env := r.origin(settingOf(key))
	_, inFile := r.places[key]
	return flag || env || inFile
}

// inRange reports a number out of its setting's range. The file's were checked before.
func (r *resolver) inRange(key string, n int) {
	s := settingOf(key)
	r.check(key, n >= s.lo && n <= s.hi, "%d is out of range: from %d to %d", n, s.lo, s.hi)
}

// check reports the value of a key, or of a list's item, unless ok.
func (r *resolver) check(key string, ok bool, format string, a ...any) {
	if ok {
		return
	}
	message := fmt.Sprintf(format, a...)
	s := settingOf(key)
	place, inFile := r.places[key]
	switch flag, env := r.origin(s); {
	case flag:
		r.fail(usagef("--%s: %s", s.flag, message))
	case env:
		r.fail(fmt.Errorf("%s in the environment: %s", s.env, message))
	case inFile:
		r.findings.Errorf(place, "%s: %s", strings.ReplaceAll(s.key, keyDelimiter, "."), message)
	default:
		r.fail(fmt.Errorf("%s: %s", strings.ReplaceAll(s.key, keyDelimiter, "."), message))
	}
}

// settingOf finds the setting that a key, or an item of its list, belongs to.
func settingOf(key string) setting {
	for _, s := range settings() {
		if key == s.key || strings.HasPrefix(key, s.key+keyDelimiter) {
			return s
		}
	}
	return setting{key: key}
}

// origin says whether a setting's value comes from its flag or its variable; else it is the file's or the default.
func (r *resolver) origin(s setting) (flag, env bool) {
	if f := r.flags.Lookup(s.flag); f != nil && f.Changed {
		return true, false
	}
	return false, os.Getenv(s.env) != ""
}

// fail keeps the first error.
func (r *resolver) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// path makes a path of the file relative to the file's folder, one of a flag or a variable to the current one.
func (r *resolver) path(key, name string) string {
	r.check(key, name != "", "a path is wanted")
	if flag, env := r.origin(settingOf(key)); flag || env || filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(r.dir, name)
}

// nodeName checks the node's name; the host's name is used where none is given.
func (r *resolver) nodeName(name string) string {
	if name == "" {
		if host, err := os.Hostname(); err == nil {
			name = host
		}
		if name == "" {
			name = "geodns"
		}
		return name[:min(len(name), server.IdentityMax)]
	}
	printable := !strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' })
	r.check("node", printable && len(name) <= server.IdentityMax, "%q is no name: 1 to %d printable ASCII characters without a space", name, server.IdentityMax)
	return name
}

// versionText checks what version.server says; empty is fine.
func (r *resolver) versionText(text string) string {
	printable := !strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' })
	r.check("version", printable && len(text) <= server.VersionMax, "%q cannot be said: at most %d printable ASCII characters are wanted", text, server.VersionMax)
	return text
}

// addrPort reads an address with its port.
func (r *resolver) addrPort(key, text string) (netip.AddrPort, bool) {
	at, err := netip.ParseAddrPort(text)
	r.check(key, err == nil, "%q is not an address with a port such as 127.0.0.1:5300 or [::1]:5300", text)
	return at, err == nil
}

// zoneNames reads names of zones, and where they stand, so that a finding about one has its place.
func (r *resolver) zoneNames(key string, names []string) []node.ZoneName {
	r.check(key, len(names) <= ecsOffMax, "at most %d zones, not %d", ecsOffMax, len(names))
	var out []node.ZoneName
	for i, text := range names {
		name := strings.ToLower(strings.TrimSuffix(text, ".")) + "."
		at := itemKey(key, i)
		known := slices.ContainsFunc(out, func(z node.ZoneName) bool { return z.Name == name })
		r.check(at, isZoneName(name), "%q is not a zone's name such as example.com", text)
		r.check(at, !known, "%s stands twice", name)
		out = append(out, node.ZoneName{Name: name, Place: r.place(at)})
	}
	return out
}

// isZoneName says whether a name with its final dot may be a zone's: labels of 1 to 63 octets (RFC 1035 section 2.3.4), in the form
// that master files have them.
func isZoneName(name string) bool {
	if name == "." {
		return true
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label == "" || len(label) > dnswire.LabelMax || strings.ContainsFunc(label, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return false
		}
	}
	return len(name) < dnswire.NameMax
}

// place is where an item stands: in the file, else the name of the flag or the variable.
func (r *resolver) place(key string) source.Place {
	if at, inFile := r.places[key]; inFile {
		return at
	}
	s := settingOf(key)
	if flag, _ := r.origin(s); flag {
		return source.WholeFile("--" + s.flag)
	}
	return source.WholeFile(s.env)
}

// prefixes reads a list of prefixes; it is nil only if there is none to read.
func (r *resolver) prefixes(key string, list []string) []netip.Prefix {
	r.check(key, len(list) <= allowMax, "at most %d prefixes, not %d", allowMax, len(list))
	out := []netip.Prefix{}
	for i, text := range list {
		if prefix, ok := r.prefix(itemKey(key, i), text); ok {
			out = append(out, prefix)
		}
	}
	return out
}

// prefix reads a prefix, or an address, which is a prefix of its own length.
func (r *resolver) prefix(key, text string) (netip.Prefix, bool) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	prefix, err := netip.ParsePrefix(text)
	ok := err == nil && prefix == prefix.Masked()
	r.check(key, ok, "%q is not a prefix such as 127.0.0.0/8", text)
	return prefix, ok
}
