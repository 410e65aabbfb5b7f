package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"geodns/internal/node"
	"geodns/internal/source"
	"geodns/pkg/geo"
	"geodns/pkg/server"
)

// defaultFile is the server's file if none is named; it need not be there.
const defaultFile = "geodns.yaml"

// configBytesMax bounds the server's file; a page of text is usual.
const configBytesMax = 1 << 20

// Limits on what the file says, beside the server's own.
const (
	// databasesMax bounds the geo databases; City and ASN are the usual two.
	databasesMax = 16
	// allowMax bounds the prefixes of health.allow.
	allowMax = 1024
)

// keyDelimiter keeps viper from reading dots as levels.
const keyDelimiter = "::"

// none is what turns a listener off.
const none = "none"

// setting is one key of the server's file, with its variable, its flag and its default.
type setting struct {
	key   string // levels joined by keyDelimiter
	env   string
	flag  string
	value any // default; its type is the setting's
	usage string
}

// settings lists what can be set. Variables are bound one by one: GEODNS_API and GEODNS_TOKEN belong to the commands that ask
// a running server, and must not reach the keys of the same name.
func settings() []setting {
	return []setting{
		{"node", "GEODNS_NODE", "node", "", "name of this node (the host's name)"},
		{"listen", "GEODNS_LISTEN", "listen", []string{"127.0.0.1:5300"}, "addresses to serve, UDP and TCP"},
		{"workers", "GEODNS_WORKERS", "workers", 0, "UDP workers; 0 is one a core"},
		{"zones", "GEODNS_ZONES", "zones", "zones", "folder of zone files and policies"},
		{"state", "GEODNS_STATE", "state", "state", "folder of what is kept over a restart"},
		{"geo::databases", "GEODNS_GEO_DATABASES", "geo-databases", []string{}, "geo databases, the first that knows wins"},
		{"geo::overrides", "GEODNS_GEO_OVERRIDES", "geo-overrides", "", "file of geo overrides"},
		{"geo::max_moved", "GEODNS_GEO_MAX_MOVED", "geo-max-moved", geo.MaxMovedDefault, "share of addresses that a new database may move to another country"},
		{"api::listen", "GEODNS_API_LISTEN", "api-listen", "127.0.0.1:8053", "loopback address of the HTTP API, or none"},
		{"health::allow", "GEODNS_HEALTH_ALLOW", "health-allow", []string{}, "loopback prefixes that may be probed"},
	}
}

// fileConfig is the server's file as written.
type fileConfig struct {
	Node    string   `mapstructure:"node"`
	Listen  []string `mapstructure:"listen"`
	Workers int      `mapstructure:"workers"`
	Zones   string   `mapstructure:"zones"`
	State   string   `mapstructure:"state"`
	Geo     struct {
		Databases []string `mapstructure:"databases"`
		Overrides string   `mapstructure:"overrides"`
		MaxMoved  float64  `mapstructure:"max_moved"`
	} `mapstructure:"geo"`
	API struct {
		Listen string `mapstructure:"listen"`
	} `mapstructure:"api"`
	Health struct {
		Allow []string `mapstructure:"allow"`
	} `mapstructure:"health"`
}

// addConfig adds --config and the flags that override the file.
func addConfig(cmd *cobra.Command) {
	addFile(cmd)
	for _, s := range settings() {
		switch value := s.value.(type) {
		case []string:
			cmd.Flags().StringSlice(s.flag, nil, s.usage)
		case int:
			cmd.Flags().Int(s.flag, value, s.usage)
		case float64:
			cmd.Flags().Float64(s.flag, value, s.usage)
		case string:
			cmd.Flags().String(s.flag, "", s.usage)
		}
	}
}

// addFile adds --config alone.
func addFile(cmd *cobra.Command) {
	cmd.Flags().StringP("config", "c", "", "the server's file (./"+defaultFile+" if there is one)")
}

// loader reads one configuration.
type loader struct {
	flags  *pflag.FlagSet
	dir    string // the file's folder
	places places // of what stands in the file
}

// places has the place of each key that the file has, and of each item of its lists: "listen", "listen::0".
type places map[string]source.Place

// itemKey names an item of a list.
func itemKey(key string, i int) string { return key + keyDelimiter + strconv.Itoa(i) }

// loadConfig reads the server's file, the environment and the flags, in rising order of strength. What is wrong in the file is
// a finding; what is wrong elsewhere is an error.
func loadConfig(cmd *cobra.Command) (node.Config, source.Findings, error) {
	l := &loader{flags: cmd.Flags(), dir: ".", places: places{}}
	var findings source.Findings
	data, err := l.readFile(&findings)
	if err != nil || findings.HasErrors() {
		return node.Config{}, findings, err
	}
	raw, err := l.merge(data)
	if err != nil {
		return node.Config{}, findings, err
	}
	r := &resolver{loader: l, findings: &findings}
	cfg := r.resolve(raw)
	cfg.Version = version()
	return cfg, findings, r.err
}

// readFile finds, reads and checks the file. No file at all is fine where none was named.
func (l *loader) readFile(findings *source.Findings) ([]byte, error) {
	name, named := defaultFile, false
	if given := l.flags.Lookup("config"); given.Changed {
		name, named = given.Value.String(), true
	}
	data, err := readBounded(name, configBytesMax)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the server's file: %w", err)
	}
	l.dir = filepath.Dir(name)
	checkFile(name, data, l.places, findings)
	return data, nil
}

// readBounded reads a file of at most limit bytes.
func readBounded(name string, limit int64) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s: want a regular file of at most %d bytes", name, limit)
	}
	return os.ReadFile(name)
}

// merge puts the file, the environment and the flags over the defaults. The file was checked key by key before, so that a
// mistake has its place; this pass is strict as well, so that the two cannot drift apart.
func (l *loader) merge(data []byte) (*fileConfig, error) {
	v := viper.NewWithOptions(viper.KeyDelimiter(keyDelimiter))
	v.SetConfigType("yaml")
	if err := v.ReadConfig(bytes.NewReader(data)); err != nil {
		return nil, fmt.Errorf("reading the server's file: %w", err)
	}
	for _, s := range settings() {
		v.SetDefault(s.key, s.value)
		if err := v.BindEnv(s.key, s.env); err != nil {
			return nil, fmt.Errorf("binding %s: %w", s.env, err)
		}
		if flag := l.flags.Lookup(s.flag); flag != nil && flag.Changed {
			if err := v.BindPFlag(s.key, flag); err != nil {
				return nil, fmt.Errorf("binding --%s: %w", s.flag, err)
			}
		}
	}
	if err := l.checkEnvironment(); err != nil {
		return nil, err
	}
	all := v.AllSettings()
	dropFree(all)
	raw := new(fileConfig)
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result: raw, ErrorUnused: true, WeaklyTypedInput: false, DecodeHook: fromEnvironment,
	})
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	if err := decoder.Decode(all); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return raw, nil
}

// checkEnvironment reports a variable whose text is not of its setting's kind, by the variable's name.
func (l *loader) checkEnvironment() error {
	for _, s := range settings() {
		text := os.Getenv(s.env)
		if flag := l.flags.Lookup(s.flag); text == "" || flag != nil && flag.Changed {
			continue
		}
		if _, err := fromEnvironment(reflect.TypeFor[string](), reflect.TypeOf(s.value), text); err != nil {
			return fmt.Errorf("%s in the environment: %w", s.env, err)
		}
	}
	return nil
}

// dropFree takes out the keys that begin with "x-", which are the writer's own.
func dropFree(settings map[string]any) {
	maps.DeleteFunc(settings, func(key string, value any) bool {
		if inner, ok := value.(map[string]any); ok {
			dropFree(inner)
		}
		return strings.HasPrefix(key, "x-")
	})
}

// fromEnvironment reads the text of a variable as a list or a number. The file's values have these kinds already.
func fromEnvironment(from, to reflect.Type, value any) (any, error) {
	text, ok := value.(string)
	if !ok || from == to {
		return value, nil
	}
	switch to.Kind() {
	case reflect.Slice:
		return splitList(text), nil
	case reflect.Int:
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("%q is not a whole number", text)
		}
		return n, nil
	case reflect.Float64:
		f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number", text)
		}
		return f, nil
	default:
		return value, nil
	}
}

// splitList reads a list with commas.
func splitList(text string) []string {
	items := strings.Split(text, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return slices.DeleteFunc(items, func(item string) bool { return item == "" })
}

// resolver reads values and says what is wrong where: in the file as a finding, elsewhere as the first error.
type resolver struct {
	*loader

	findings *source.Findings
	err      error
}

// resolve turns what was written into a node.Config.
func (r *resolver) resolve(raw *fileConfig) node.Config {
	cfg := node.Config{Node: r.nodeName(raw.Node), Workers: raw.Workers}
	r.check("workers", raw.Workers >= 0 && raw.Workers <= server.WorkersMax, "%d is out of range: from 0 to %d", raw.Workers, server.WorkersMax)
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
	if raw.API.Listen != none {
		if at, ok := r.addrPort("api::listen", raw.API.Listen); ok {
			r.check("api::listen", at.Addr().IsLoopback(), "%s is not a loopback address; the API has no authentication yet and stays on loopback", at)
			cfg.API = at
		}
	}
	r.check("health::allow", len(raw.Health.Allow) <= allowMax, "at most %d prefixes, not %d", allowMax, len(raw.Health.Allow))
	for i, text := range raw.Health.Allow {
		if prefix, ok := r.prefix(itemKey("health::allow", i), text); ok {
			cfg.HealthAllow = append(cfg.HealthAllow, prefix)
		}
	}
	return cfg
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

// addrPort reads an address with its port.
func (r *resolver) addrPort(key, text string) (netip.AddrPort, bool) {
	at, err := netip.ParseAddrPort(text)
	r.check(key, err == nil, "%q is not an address with a port such as 127.0.0.1:5300 or [::1]:5300", text)
	return at, err == nil
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
