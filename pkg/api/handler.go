package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"geodns/pkg/policy"
)

// NewHandler gives the API without a listener.
func NewHandler(cfg Config) (http.Handler, error) {
	missing := cfg.Status == nil || cfg.Targets == nil || cfg.Ready == nil || cfg.Explain == nil || cfg.Reload == nil || cfg.Log == nil ||
		cfg.Metrics.Server == nil || cfg.Metrics.Regions == nil || cfg.Metrics.Health == nil || cfg.Metrics.Loads == nil || !cfg.Health.complete() ||
		!cfg.Leases.complete() || !cfg.Audit.complete() || !cfg.Listing.complete() || !cfg.RUM.complete()
	if missing {
		return nil, errors.New("api: a func of the config is missing")
	}
	metrics, err := metricsHandler(&cfg)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	config := huma.DefaultConfig("geodns", cfg.Version)
	config.Info.Description = "The operators' API of one geodns server. Errors are problem documents (RFC 9457)."
	// No page that loads scripts from elsewhere, no links to schemas in the documents.
	config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", nil
	config.RejectUnknownQueryParameters = true
	config.Components.SecuritySchemes = securitySchemes(cfg.Access.Issuer)
	operations := humago.New(mux, config)
	register(operations, &cfg)
	table, err := declaredNeeds(operations.OpenAPI(), cfg.Access.Issuer)
	if err != nil {
		return nil, err
	}
	table[patternMetrics] = need{"metrics", "read"}
	mux.Handle(patternMetrics, metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := cfg.Ready(); err != nil {
			writeText(w, http.StatusServiceUnavailable, "not ready: "+err.Error())
			return
		}
		writeText(w, http.StatusOK, "ready")
	})
	return guard(mux, &cfg, &door{access: cfg.Access, needs: table, log: cfg.Log}), nil
}

// register adds the operations under /v1.
func register(api huma.API, cfg *Config) {
	type statusOutput struct{ Body Status }
	huma.Register(api, needs(huma.Operation{
		OperationID: "status", Method: http.MethodGet, Path: "/v1/status", Summary: "What this node is and what it serves",
		Description: "Leases are those that who asks may read, and so are events.",
	}, "status", "read"), func(ctx context.Context, _ *struct{}) (*statusOutput, error) {
		s := cfg.Status()
		cfg.Leases.leaveReadable(ctx, &s)
		s.RUM = cfg.RUM.Status()
		s.Listen, s.Geo, s.Regions, s.Inputs = nonNil(s.Listen), nonNil(s.Geo), nonNil(s.Regions), nonNil(s.Inputs)
		s.World.Zones, s.LastLoad.Findings, s.Cookies.Secrets = nonNil(s.World.Zones), nonNil(s.LastLoad.Findings), nonNil(s.Cookies.Secrets)
		s.Regions, s.Inputs, s.Leases, s.Events = nonNil(s.Regions), nonNil(s.Inputs), nonNil(s.Leases), nonNil(s.Events)
		return &statusOutput{s}, nil
	})

	type targetsOutput struct{ Body TargetList }
	huma.Register(api, needs(huma.Operation{
		OperationID: "targets", Method: http.MethodGet, Path: "/v1/targets", Summary: "Every target with its state",
		Description: "A grant with patterns shows the targets that they match.",
	}, "targets", "read"), func(ctx context.Context, _ *struct{}) (*targetsOutput, error) {
		out := new(targetsOutput)
		p := principalOf(ctx)
		out.Body.Targets = nonNil(slices.DeleteFunc(cfg.Targets(), func(t Target) bool { return !p.May("targets", "read", cfg.attributesOf(t.ID)) }))
		return out, nil
	})

	registerExplain(api, cfg)
	registerHealth(api, cfg)
	registerLeases(api, &cfg.Leases)
	registerAudit(api, &cfg.Audit)
	registerListing(api, &cfg.Listing)
	registerRUM(api, &cfg.RUM)

	type reloadOutput struct{ Body Load }
	huma.Register(api, needs(huma.Operation{
		OperationID: "reload", Method: http.MethodPost, Path: "/v1/reload", Summary: "Load the files again and wait for the result",
		Description:  "A load that is refused is a 422 whose errors hold the findings; the world before it keeps serving.",
		Errors:       []int{http.StatusUnprocessableEntity, http.StatusServiceUnavailable},
		MaxBodyBytes: bodyBytesMax,
	}, "reload", "write"), func(ctx context.Context, _ *struct{}) (*reloadOutput, error) {
		ctx, cancel := context.WithTimeout(ctx, ReloadTimeout)
		defer cancel()
		load, err := cfg.Reload(ctx, principalOf(ctx).Name)
		if err != nil {
			return nil, huma.Error503ServiceUnavailable("reload: " + err.Error())
		}
		load.Findings = nonNil(load.Findings)
		if load.Result == LoadRefused {
			return nil, refused(load)
		}
		return &reloadOutput{load}, nil
	})
}

// refused makes a problem of a load that was refused.
func refused(load Load) error {
	details := make([]error, 0, len(load.Findings))
	for _, f := range load.Findings {
		details = append(details, &huma.ErrorDetail{
			Location: fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Col),
			Message:  f.Severity + ": " + f.Message,
		})
	}
	return huma.Error422UnprocessableEntity(fmt.Sprintf("the load is refused, errors: %d; what was served before is served on", load.Errors), details...)
}

// explainInput is the question of GET /v1/explain.
type explainInput struct {
	Name   string `query:"name"   required:"true" maxLength:"1024" example:"www.example.com" doc:"Domain name, with or without its final dot"`
	Type   string `query:"type"   default:"A"     maxLength:"16"   doc:"Type of the question"`
	Client string `query:"client" required:"true" maxLength:"64"   example:"203.0.113.0/24" doc:"The client's address, or its EDNS Client Subnet prefix"`
	Accept string `header:"Accept" doc:"text/plain for the explanation as text"`
}

// explainOutput is an explanation in the form asked for, written out here: as text it is not JSON.
type explainOutput struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

// registerExplain adds GET /v1/explain, in JSON or, for `Accept: text/plain`, as text.
func registerExplain(api huma.API, cfg *Config) {
	schema := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[policy.Explanation](), true, "Explanation")
	huma.Register(api, needs(huma.Operation{
		OperationID: "explain", Method: http.MethodGet, Path: "/v1/explain", Summary: "How a question would be answered now, and why",
		Errors: []int{http.StatusBadRequest},
		Responses: map[string]*huma.Response{"200": {
			Description: "The decision, step by step",
			Content: map[string]*huma.MediaType{
				"application/json": {Schema: schema},
				"text/plain":       {Schema: &huma.Schema{Type: huma.TypeString}},
			},
		}},
	}, "explain", "read"), func(ctx context.Context, in *explainInput) (*explainOutput, error) {
		question, err := in.question()
		if err != nil {
			return nil, huma.Error400BadRequest(err.Error())
		}
		explanation, err := cfg.Explain(ctx, question)
		if err != nil {
			return nil, huma.Error400BadRequest("explain: " + err.Error())
		}
		of := Attributes{}
		if explanation.Policy != "" { // else the name is static, and no policy's
			of["policy"] = []string{explanation.Policy}
		}
		if err = permit(ctx, "explain", "read", of); err != nil {
			return nil, err
		}
		if strings.HasPrefix(in.Accept, "text/plain") {
			return &explainOutput{"text/plain; charset=utf-8", []byte(strings.TrimSuffix(explanation.Text(), "\n") + "\n")}, nil
		}
		body, err := json.MarshalIndent(explanation, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("writing the explanation: %w", err)
		}
		return &explainOutput{"application/json", append(body, '\n')}, nil
	})
}

// question reads the parameters into policy's form.
func (in *explainInput) question() (policy.Question, error) {
	client, err := ParseClient(in.Client)
	if err != nil {
		return policy.Question{}, err
	}
	return policy.Question{Name: in.Name, Type: in.Type, Client: client}, nil
}

// ParseClient reads a client: an address, or the prefix that a resolver sends for it (RFC 7871), whose host bits must be zero.
// An IPv4 address in IPv6 form is the IPv4 address.
func ParseClient(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("client %q is neither an address nor a prefix such as 203.0.113.0/24", s)
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil || prefix.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("client %q is neither an address nor a prefix such as 203.0.113.0/24", s)
	}
	if prefix != prefix.Masked() {
		return netip.Prefix{}, fmt.Errorf("client %q has bits set behind its length; the prefix is %s", s, prefix.Masked())
	}
	return prefix, nil
}

// patternMetrics is what a scraper asks.
const patternMetrics = "GET /metrics"

// public says which patterns need no credential: what a load balancer asks, and the description of the API; on loopback also what
// a scraper asks. Everything else needs one, also what there is not.
func public(pattern string, loopback bool) bool {
	switch pattern {
	case "GET /healthz", "GET /readyz", "GET /openapi.json", "GET /openapi.yaml", "GET /openapi-3.0.json", "GET /openapi-3.0.yaml":
		return true
	case patternMetrics:
		return loopback
	}
	return false
}

// unhurried says which operations take longer than the listener allows: one waits for work, the other for events.
func unhurried(pattern string) bool {
	return pattern == "POST /v1/reload" || pattern == "GET /v1/events"
}

// guard stands before everything: it bounds the body, refuses what a page of another origin could make a browser send and who
// has no credential or may not do this, and turns the mux's own refusals into problem documents.
func guard(mux *http.ServeMux, cfg *Config, d *door) http.Handler {
	origin := http.NewCrossOriginProtection()
	loopback := cfg.Listen.Addr().IsLoopback()
	// With TLS and credentials a page needs a certificate for its name and a credential; then any name is fine.
	anyHost := cfg.TLS != nil && cfg.Access.Configured()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		// A name that leads to loopback by someone else's DNS (rebinding) would pass for same-origin.
		if !anyHost && !loopbackHost(r.Host) {
			writeProblem(w, http.StatusForbidden, fmt.Sprintf("host %q: this API is asked by a loopback address or as localhost", r.Host))
			return
		}
		if err := origin.Check(r); err != nil {
			writeProblem(w, http.StatusForbidden, "a page of another origin may not ask for this")
			return
		}
		_, pattern := mux.Handler(r)
		if !public(pattern, loopback) {
			p := d.pass(w, r, time.Now())
			if p == nil || pattern != "" && !d.may(w, pattern, p) {
				return
			}
			r = r.WithContext(withPrincipal(r.Context(), p))
		}
		most := int64(bodyBytesMax)
		if pattern == patternBulk {
			most = bulkBytesMax
			control, end := http.NewResponseController(w), time.Now().Add(bulkTimeout)
			_ = errors.Join(control.SetReadDeadline(end), control.SetWriteDeadline(end.Add(answerTimeout))) // as below
		}
		if r.ContentLength > most {
			writeProblem(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("a body has at most %d bytes here", most))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, most)
		if wrong := wrongQuery(r.URL.RawQuery); wrong != "" {
			writeProblem(w, http.StatusBadRequest, wrong)
			return
		}
		if pattern == "" {
			unmatched(mux, w, r)
			return
		}
		if unhurried(pattern) {
			// Where the connection has no deadline, none needs to be moved.
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(ReloadTimeout + answerTimeout))
		}
		mux.ServeHTTP(w, r)
	})
}

// wrongQuery says what is wrong with a query; "": nothing. What cannot be read would be passed over, and of two values of a parameter
// one: a dry run that was asked for so, or by a script whose variable is empty, would be none.
func wrongQuery(text string) string {
	values, err := url.ParseQuery(text)
	if err != nil {
		return fmt.Sprintf("the query %.200q cannot be read: %v", text, err)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(values[name]) > 1 {
			return fmt.Sprintf("the parameter %.80q stands %d times, and once is wanted", name, len(values[name]))
		}
	}
	for part := range strings.SplitSeq(text, "&") {
		// As a word alone it is true.
		if name, value, given := strings.Cut(part, "="); given && value == "" && name == "dry_run" {
			return "dry_run has no value: it is true or false"
		}
	}
	return ""
}

// loopbackHost reports whether a Host header names this machine by itself.
func loopbackHost(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.IsLoopback()
}

// unmatched answers what no pattern is for: 404, 405 or a redirect as the mux has it, an error as a problem.
func unmatched(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	seen := &refusal{header: http.Header{}}
	mux.ServeHTTP(seen, r)
	for _, name := range []string{"Allow", "Location"} {
		if value := seen.header.Get(name); value != "" {
			w.Header().Set(name, value)
		}
	}
	if seen.status < http.StatusBadRequest {
		w.WriteHeader(seen.status)
		return
	}
	writeProblem(w, seen.status, fmt.Sprintf("%s %s: %s", r.Method, r.URL.Path, strings.TrimSpace(seen.body.String())))
}

// refusal keeps what the mux would have written.
type refusal struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header gives the headers to set.
func (r *refusal) Header() http.Header { return r.header }

// WriteHeader keeps the status.
func (r *refusal) WriteHeader(status int) { r.status = status }

// Write keeps the text; the mux writes a line at most.
func (r *refusal) Write(text []byte) (int, error) { return r.body.Write(text) }

// writeProblem writes an RFC 9457 document as huma does.
func writeProblem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	// The client may be gone; there is nobody else to tell.
	_ = json.NewEncoder(w).Encode(huma.ErrorModel{Title: http.StatusText(status), Status: status, Detail: detail})
}

// writeText writes a line of text.
func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text)
}

// nonNil makes an absent list an empty one, which is [] in JSON where nil would be null.
func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
