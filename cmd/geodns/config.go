package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
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
	"geodns/pkg/api"
	"geodns/pkg/dnswire"
	"geodns/pkg/geo"
	"geodns/pkg/operator"
	"geodns/pkg/rum"
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
	// allowMax bounds the prefixes of health.allow and of explain.allow.
	allowMax = 1024
	// ecsOffMax bounds the zones of ecs.off: a switch for some, not a list of everything that is served.
	ecsOffMax = 10_000
	// originsMax bounds the origins of rum.allow_origins: a site has some.
	originsMax = 256
	// sourcesMax bounds rum.min_sources: more are no network of which anything would be known.
	sourcesMax = 10_000
	// scopesMax bounds ecs.max_scopes: there are no more /24 than that.
	scopesMax = 1 << 24
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

	lo, hi int // range of a whole number
}

// settings lists what can be set. Variables are bound one by one: GEODNS_API, GEODNS_TOKEN and the files of a client's certificate
// belong to the commands that ask a running server, and must not reach the keys of the same name.
func settings() []setting {
	return append([]setting{
		{key: "node", env: "GEODNS_NODE", flag: "node", value: "", usage: "name of this node (the host's name)"},
		{key: "version", env: "GEODNS_VERSION", flag: "version", value: version(), usage: "text of version.server and version.bind (this version); empty refuses them"},
		{key: "listen", env: "GEODNS_LISTEN", flag: "listen", value: []string{"127.0.0.1:5300"}, usage: "addresses to serve, UDP and TCP"},
		{key: "workers", env: "GEODNS_WORKERS", flag: "workers", value: 0, usage: "UDP workers; 0 is one a core", hi: server.WorkersMax},
		{
			key: "udp_payload", env: "GEODNS_UDP_PAYLOAD", flag: "udp-payload", value: server.UDPPayloadDefault,
			usage: "octets of the largest answer over UDP", lo: dnswire.UDPMin, hi: server.UDPPayloadMax,
		},
		{key: "zones", env: "GEODNS_ZONES", flag: "zones", value: "zones", usage: "folder of zone files and policies"},
		{key: "state", env: "GEODNS_STATE", flag: "state", value: "state", usage: "folder of what is kept over a restart"},
		{key: "geo::databases", env: "GEODNS_GEO_DATABASES", flag: "geo-databases", value: []string{}, usage: "geo databases, the first that knows wins"},
		{key: "geo::overrides", env: "GEODNS_GEO_OVERRIDES", flag: "geo-overrides", value: "", usage: "file of geo overrides"},
		{
			key: "geo::max_moved", env: "GEODNS_GEO_MAX_MOVED", flag: "geo-max-moved", value: geo.MaxMovedDefault,
			usage: "share of addresses that a new database may move to another country",
		},
		{key: "api::listen", env: "GEODNS_API_LISTEN", flag: "api-listen", value: "127.0.0.1:8053", usage: "address of the HTTP API, or none; beyond loopback it needs TLS and credentials"},
		// GEODNS_API_CERT and GEODNS_API_KEY are a client's.
		{key: "api::certificate", env: "GEODNS_API_TLS_CERTIFICATE", flag: "api-certificate", value: "", usage: "file of the API's certificate, with its chain (none: plain HTTP)"},
		{key: "api::key", env: "GEODNS_API_TLS_KEY", flag: "api-key", value: "", usage: "file of its private key"},
		{key: "api::client_ca", env: "GEODNS_API_CLIENT_CA", flag: "api-client-ca", value: "", usage: "file of the CAs of client certificates (none: there are none)"},
		{key: "health::allow", env: "GEODNS_HEALTH_ALLOW", flag: "health-allow", value: []string{}, usage: "loopback prefixes that may be probed"},
		{
			key: "health::canaries", env: "GEODNS_HEALTH_CANARIES", flag: "health-canaries", value: []string{},
			usage: "what is probed to tell this node's own trouble from that of targets, such as tcp://192.0.2.1:443",
		},
		{
			key: "auth::tokens", env: "GEODNS_AUTH_TOKENS", flag: "auth-tokens", value: "",
			usage: "file of the API's tokens (none; without any credentials who reaches its loopback address needs none)",
		},
		{key: "auth::roles", env: "GEODNS_AUTH_ROLES", flag: "auth-roles", value: "", usage: "file of the API's roles, and of who has them"},
		{key: "auth::oidc_issuer", env: "GEODNS_AUTH_OIDC_ISSUER", flag: "auth-oidc-issuer", value: "", usage: "URL of the OIDC issuer whose tokens the API takes (none)"},
		{key: "auth::oidc_audience", env: "GEODNS_AUTH_OIDC_AUDIENCE", flag: "auth-oidc-audience", value: "", usage: "audience that they must be for"},
		{key: "auth::oidc_name", env: "GEODNS_AUTH_OIDC_NAME", flag: "auth-oidc-name", value: "sub", usage: "claim that names the owner of what is done"},
		{key: "auth::oidc_ca", env: "GEODNS_AUTH_OIDC_CA", flag: "auth-oidc-ca", value: "", usage: "file of the CAs of the issuer's certificate (the system's)"},
		{
			key: "leases::max", env: "GEODNS_LEASES_MAX", flag: "leases-max", value: operator.LeaseForDefault.String(),
			usage: "longest time that a lease may be made for",
		},
		{key: "cookies::enabled", env: "GEODNS_COOKIES_ENABLED", flag: "cookies-enabled", value: true, usage: "speak DNS cookies"},
		{
			key: "cookies::secret_file", env: "GEODNS_COOKIES_SECRET_FILE", flag: "cookies-secret-file", value: "",
			usage: "file of the cookie secrets that nodes share (none: each node makes its own)",
		},
		{
			key: "cookies::require", env: "GEODNS_COOKIES_REQUIRE", flag: "cookies-require", value: false,
			usage: "over UDP, have clients that speak cookies come back with one of ours",
		},
		{key: "ecs::off", env: "GEODNS_ECS_OFF", flag: "ecs-off", value: []string{}, usage: "zones that ignore EDNS Client Subnet"},
		{
			key: "ecs::max_scopes", env: "GEODNS_ECS_MAX_SCOPES", flag: "ecs-max-scopes", value: 0,
			usage: "most ECS scopes that a policy may publish; 0 is no limit", hi: scopesMax,
		},
		{
			key: "explain::allow", env: "GEODNS_EXPLAIN_ALLOW", flag: "explain-allow", value: []string{},
			usage: "who may ask NAME.explain.geodns (loopback, while every listener is there)",
		},
	}, rumSettings()...)
}

// rumSettings are those of what users measure.
func rumSettings() []setting {
	return []setting{
		{key: "rum::listen", env: "GEODNS_RUM_LISTEN", flag: "rum-listen", value: none, usage: "address that takes what users' browsers measured, or none"},
		{key: "rum::certificate", env: "GEODNS_RUM_CERTIFICATE", flag: "rum-certificate", value: "", usage: "file of its certificate, with its chain (none: plain HTTP)"},
		{key: "rum::key", env: "GEODNS_RUM_KEY", flag: "rum-key", value: "", usage: "file of its private key"},
		{key: "rum::plain", env: "GEODNS_RUM_PLAIN", flag: "rum-plain", value: false, usage: "plain HTTP beyond loopback, as a proxy ends TLS"},
		{
			key: "rum::allow_origins", env: "GEODNS_RUM_ALLOW_ORIGINS", flag: "rum-allow-origins", value: []string{},
			usage: "origins whose pages may send, such as https://www.example.com, or * for any",
		},
		{
			key: "rum::proxies", env: "GEODNS_RUM_PROXIES", flag: "rum-proxies", value: []string{},
			usage: "proxies before it, whose X-Forwarded-For is believed",
		},
		{key: "rum::sample", env: "GEODNS_RUM_SAMPLE", flag: "rum-sample", value: api.PlanSampleDefault, usage: "part of page views that are to measure"},
		{key: "rum::interval", env: "GEODNS_RUM_INTERVAL", flag: "rum-interval", value: rum.IntervalDefault.String(), usage: "time between two counts of what was measured"},
		{key: "rum::window", env: "GEODNS_RUM_WINDOW", flag: "rum-window", value: rum.WindowDefault.String(), usage: "what is older does not count; a multiple of the interval"},
		{
			key: "rum::min_sources", env: "GEODNS_RUM_MIN_SOURCES", flag: "rum-min-sources", value: rum.MinSourcesDefault,
			usage: "client networks with fewer sources are neither shown nor used", lo: 1, hi: sourcesMax,
		},
		{
			key: "rum::max_sketches", env: "GEODNS_RUM_MAX_SKETCHES", flag: "rum-max-sketches", value: rum.SketchesDefault,
			usage: "most pairs of a client network and a region that are kept", lo: 1, hi: rum.SketchesMax,
		},
	}
}

// fileConfig is the server's file as written.
type fileConfig struct {
	Node    string   `mapstructure:"node"`
	Version string   `mapstructure:"version"`
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
		Listen      string `mapstructure:"listen"`
		Certificate string `mapstructure:"certificate"`
		Key         string `mapstructure:"key"`
		ClientCA    string `mapstructure:"client_ca"`
	} `mapstructure:"api"`
	Auth struct {
		Tokens       string `mapstructure:"tokens"`
		Roles        string `mapstructure:"roles"`
		OIDCIssuer   string `mapstructure:"oidc_issuer"`
		OIDCAudience string `mapstructure:"oidc_audience"`
		OIDCName     string `mapstructure:"oidc_name"`
		OIDCCA       string `mapstructure:"oidc_ca"`
	} `mapstructure:"auth"`
	Leases struct {
		Max string `mapstructure:"max"`
	} `mapstructure:"leases"`
	Health struct {
		Allow    []string `mapstructure:"allow"`
		Canaries []string `mapstructure:"canaries"`
	} `mapstructure:"health"`
	UDPPayload int `mapstructure:"udp_payload"`
	Cookies    struct {
		Enabled    bool   `mapstructure:"enabled"`
		SecretFile string `mapstructure:"secret_file"`
		Require    bool   `mapstructure:"require"`
	} `mapstructure:"cookies"`
	ECS struct {
		Off       []string `mapstructure:"off"`
		MaxScopes int      `mapstructure:"max_scopes"`
	} `mapstructure:"ecs"`
	Explain struct {
		Allow []string `mapstructure:"allow"`
	} `mapstructure:"explain"`
	RUM struct {
		Listen       string   `mapstructure:"listen"`
		Certificate  string   `mapstructure:"certificate"`
		Key          string   `mapstructure:"key"`
		Plain        bool     `mapstructure:"plain"`
		AllowOrigins []string `mapstructure:"allow_origins"`
		Proxies      []string `mapstructure:"proxies"`
		Sample       float64  `mapstructure:"sample"`
		Interval     string   `mapstructure:"interval"`
		Window       string   `mapstructure:"window"`
		MinSources   int      `mapstructure:"min_sources"`
		MaxSketches  int      `mapstructure:"max_sketches"`
	} `mapstructure:"rum"`
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
		case bool:
			cmd.Flags().Bool(s.flag, value, s.usage)
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
	completeFiles(cmd, "config")
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
	cfg.Build = version()
	return cfg, findings, r.err
}

// readFile finds, reads and checks the file. No file at all is fine where none was named.
func (l *loader) readFile(findings *source.Findings) ([]byte, error) {
	name, named := defaultFile, false
	if given := l.flags.Lookup("config"); given.Changed {
		name, named = given.Value.String(), true
	}
	data, err := node.ReadSmall(name, configBytesMax)
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

// fromEnvironment reads the text of a variable as a list, a number or a truth value. The file's values have these kinds already.
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
	case reflect.Bool:
		switch strings.TrimSpace(text) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return nil, fmt.Errorf("%q is neither true nor false", text)
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
