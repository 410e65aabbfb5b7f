package api

import (
	"cmp"
	"compress/gzip"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"

	"geodns/pkg/rum"
)

// Limits of the listener for beacons, which is open to the world. What is tight here costs a beacon, of which there are more.
const (
	// beaconConnectionsMax bounds its connections; more wait in the kernel's queue. One costs some 20 kB, and lives for seconds.
	beaconConnectionsMax = 8192
	// beaconSourceConnectionsMax bounds those of one source: eight page views a second behind one address, each of which keeps its
	// connection for beaconIdle. Of one source twelve samples count in a window, so that more would tell nothing new.
	beaconSourceConnectionsMax = 256
	// beaconStreamsMax bounds the requests at once of one connection: a page asks for the plan, and sends a beacon.
	beaconStreamsMax = 8
	// beaconHeaderMax bounds a request's headers: a browser's are some 2 kB, with a large site's cookies 8, which we do not read.
	beaconHeaderMax = 16 << 10
	// beaconBytesMax bounds a body, both as it is sent and unpacked; sendBeacon has the same limit.
	beaconBytesMax = 64 << 10
	// beaconTimeout bounds a request, and its answer.
	beaconTimeout = 10 * time.Second
	// beaconIdle keeps a connection from the plan to the beacon of a page, and no longer.
	beaconIdle = 30 * time.Second
	// preflightAge is how long a browser remembers what a preflight said; Chromium takes 2 hours at most.
	preflightAge = 2 * time.Hour
	// forwardedMax bounds the proxies in a row that are looked through for the client.
	forwardedMax = 16
)

// What a plan is like.
const (
	// planAge is how long a browser may use a plan again: regions' order seldom changes within it, and a visit is often shorter.
	planAge = 5 * time.Minute
	// PlanSampleDefault is the part of page views that are to measure: enough for the busy networks, and nothing that a user would notice.
	PlanSampleDefault = 0.1
	// planBest is how many of the best regions are in each plan: what answers are by, and what they would be by next.
	planBest = 2
	// planOther is how often a plan has one more region, one in so many: often enough that one that is not used stays known.
	planOther = 4
)

// BeaconConfig says where beacons come in. It is not changed after NewBeacons. The funcs must be safe for concurrent use.
type BeaconConfig struct {
	Listen netip.AddrPort
	// TLS has the server's certificate. nil: plain HTTP, which is for loopback, or for behind a proxy of one's own.
	TLS *tls.Config
	// Origins may send beacons: "https://www.example.com", or "*" for any.
	Origins []string
	// Proxies are believed about who asks them, by X-Forwarded-For.
	Proxies []netip.Prefix
	// Sample is the part of page views that are to measure, above 0 and at most 1; 0 is PlanSampleDefault.
	Sample float64
	// Add takes samples. Probes are the regions with a probe URL, those first that are best for a client.
	Add    func([]rum.Sample) rum.Counts
	Probes func(client netip.Addr) []Probed
	Log    *slog.Logger
}

// Probed is a region that can be measured.
type Probed struct {
	Region  string
	URL     string
	Nearest bool // to the client, by distance; none is where its place is not known
}

// Results of requests with beacons.
const (
	BeaconTaken     = "taken"     // well-formed, whatever became of its samples
	BeaconMalformed = "malformed" // no beacon, or one that cannot be unpacked
	BeaconLarge     = "large"
	BeaconType      = "type" // its content type or encoding is none of those that are taken
	BeaconOrigin    = "origin"
)

// beaconResults are all of them.
var beaconResults = [...]string{BeaconTaken, BeaconMalformed, BeaconLarge, BeaconType, BeaconOrigin} //nolint:gochecknoglobals // a constant, but for the language

// Beacons takes beacons and gives plans. It reads no cookie, and logs and keeps no address.
type Beacons struct {
	cfg     BeaconConfig // immutable
	buffers sync.Pool    // of *beaconBuffer
	results [len(beaconResults)]atomic.Uint64
	plans   atomic.Uint64
	refused atomic.Uint64 // connections
}

// beaconBuffer is what a request needs for a moment.
type beaconBuffer struct {
	body    [beaconBytesMax + 1]byte
	samples []rum.Sample
	gzip    gzip.Reader
	answer  []byte
}

// CheckBeaconListen says what is missing before beacons may come in at an address, nil if nothing is. Beyond loopback they come by TLS, or
// plain where somebody says that a proxy ends it: a page of https cannot send to a plain address.
func CheckBeaconListen(listen netip.AddrPort, withTLS, plain bool) error {
	if withTLS || plain || listen.Addr().IsLoopback() {
		return nil
	}
	return fmt.Errorf("%s is not a loopback address, where beacons come by TLS; set rum.certificate and rum.key, or rum.plain where a proxy ends it", listen)
}

// CheckOrigin says what is wrong with an origin that is to be allowed.
func CheckOrigin(text string) error {
	if text == "*" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || text != u.Scheme+"://"+strings.ToLower(u.Host) {
		return fmt.Errorf("%q is no origin such as https://www.example.com, in lower case and without a path; \"*\" is any", text)
	}
	return nil
}

// NewBeacons makes the handler. It has no goroutine.
func NewBeacons(cfg BeaconConfig) (*Beacons, error) {
	if cfg.Add == nil || cfg.Probes == nil || cfg.Log == nil {
		return nil, errors.New("beacons: a func of the config is missing")
	}
	for _, origin := range cfg.Origins {
		if err := CheckOrigin(origin); err != nil {
			return nil, err
		}
	}
	if cfg.Sample = cmp.Or(cfg.Sample, PlanSampleDefault); !(cfg.Sample > 0 && cfg.Sample <= 1) {
		return nil, fmt.Errorf("beacons: a sample of %g is no part above 0 and at most 1", cfg.Sample)
	}
	b := &Beacons{cfg: cfg}
	b.buffers.New = func() any { return &beaconBuffer{samples: make([]rum.Sample, 0, BeaconSamplesMax+1)} }
	return b, nil
}

// Listen binds the address. It starts nothing: the Server's Run does. One that is not run must be closed.
func (b *Beacons) Listen() (*Server, error) {
	listener, err := listenTCP(b.cfg.Listen, true) // users have either, and there is one address for them
	if err != nil {
		return nil, fmt.Errorf("rum.listen: %w", err)
	}
	// Behind a proxy of ours are all of its users.
	sources := limitSources(listener, beaconSourceConnectionsMax, b.proxied, &b.refused)
	return &Server{
		name:     "rum",
		listener: netutil.LimitListener(sources, beaconConnectionsMax),
		http: &http.Server{
			Handler:           b,
			TLSConfig:         b.cfg.TLS.Clone(),
			HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: beaconStreamsMax},
			ReadHeaderTimeout: headerTimeout,
			ReadTimeout:       beaconTimeout,
			WriteTimeout:      beaconTimeout,
			IdleTimeout:       beaconIdle,
			MaxHeaderBytes:    beaconHeaderMax,
			// What http says of a broken connection has the client's address in it.
			ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		},
		secure:  b.cfg.TLS != nil,
		closing: func() {},
		log:     b.cfg.Log,
	}, nil
}

// Results counts requests with beacons by what became of them, and Plans those for a plan.
func (b *Beacons) Results() map[string]uint64 {
	out := map[string]uint64{}
	for i, result := range beaconResults {
		out[result] = b.results[i].Load()
	}
	return out
}

// Plans counts the plans that were given.
func (b *Beacons) Plans() uint64 { return b.plans.Load() }

// ConnectionsRefused counts the connections that were closed at once, as their sources had as many as one may have.
func (b *Beacons) ConnectionsRefused() uint64 { return b.refused.Load() }

// count notes what became of a request.
func (b *Beacons) count(result string) { b.results[slices.Index(beaconResults[:], result)].Add(1) }

// ServeHTTP answers a request of a page whose origin is allowed, or of no page.
func (b *Beacons) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer b.broken()
	header := w.Header()
	header["X-Content-Type-Options"] = headerNosniff
	header["Cache-Control"] = headerNoStore
	header["Vary"] = headerVary
	if origin := r.Header.Get("Origin"); origin != "" {
		if !b.allowed(origin) {
			b.count(BeaconOrigin)
			writeProblem(w, http.StatusForbidden, "pages of this origin may not send beacons here; rum.allow_origins has those that may")
			return
		}
		header["Access-Control-Allow-Origin"] = []string{origin}
		// sendBeacon always asks with credentials, and a browser wants this word for it. Nothing here looks at any.
		header["Access-Control-Allow-Credentials"] = headerTrue
	}
	switch r.Method + " " + r.URL.Path {
	case "POST /v1/rum":
		b.beacon(w, r)
	case "GET /v1/rum/plan":
		b.plan(w, r)
	case "OPTIONS /v1/rum", "OPTIONS /v1/rum/plan":
		preflight(w)
	default:
		writeProblem(w, http.StatusNotFound, "here are POST /v1/rum and GET /v1/rum/plan, and nothing else")
	}
}

// broken logs what broke, which net/http would do with the client's address, and so is not heard.
func (b *Beacons) broken() {
	if v := recover(); v != nil {
		b.cfg.Log.Error("a request with a beacon broke off", "error", fmt.Sprint(v), "stack", callers())
		panic(http.ErrAbortHandler)
	}
}

// callers names the functions that led to a panic. A stack as package debug writes it has their arguments too, and among those is
// the client's address.
func callers() string {
	const most = 32 // the rest is net/http's
	var at [most]uintptr
	frames := runtime.CallersFrames(at[:runtime.Callers(0, at[:])])
	var b strings.Builder
	for more := true; more; {
		var frame runtime.Frame
		frame, more = frames.Next()
		fmt.Fprintf(&b, "%s %s:%d\n", frame.Function, frame.File, frame.Line)
	}
	return b.String()
}

// Headers that are the same in each answer.
//
//nolint:gochecknoglobals // constants, but for the language: a slice for each answer would be garbage
var (
	headerNosniff = []string{"nosniff"}
	headerNoStore = []string{"no-store"}
	headerVary    = []string{"Origin"}
	headerTrue    = []string{"true"}
	headerJSON    = []string{"application/json"}
)

// allowed says whether pages of an origin may come.
func (b *Beacons) allowed(origin string) bool {
	return slices.ContainsFunc(b.cfg.Origins, func(o string) bool { return o == "*" || strings.EqualFold(o, origin) })
}

// preflight answers a browser that asks before it sends; ServeHTTP has looked at its origin.
func preflight(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Access-Control-Allow-Methods", "GET, POST")
	header.Set("Access-Control-Allow-Headers", "Content-Type, Content-Encoding")
	header.Set("Access-Control-Max-Age", strconv.Itoa(int(preflightAge.Seconds())))
	w.WriteHeader(http.StatusNoContent)
}

// beacon answers POST /v1/rum.
func (b *Beacons) beacon(w http.ResponseWriter, r *http.Request) {
	buffer, _ := b.buffers.Get().(*beaconBuffer)
	defer func() {
		clear(buffer.samples[:cap(buffer.samples)]) // no address is kept, not even here
		b.buffers.Put(buffer)
	}()
	if !beaconType(r.Header.Get("Content-Type")) {
		b.count(BeaconType)
		writeProblem(w, http.StatusUnsupportedMediaType, "a beacon is application/json or text/plain")
		return
	}
	body, result, err := buffer.read(w, r)
	if err == nil {
		buffer.samples, err = decodeBeacon(body, b.client(r), buffer.samples[:0])
		if result = BeaconTaken; err != nil {
			result = BeaconMalformed
		}
	}
	b.count(result)
	if err != nil {
		status := map[string]int{BeaconLarge: http.StatusRequestEntityTooLarge, BeaconType: http.StatusUnsupportedMediaType, BeaconMalformed: http.StatusBadRequest}
		writeProblem(w, status[result], err.Error())
		return
	}
	counts := b.cfg.Add(buffer.samples)
	buffer.answer = appendCounts(buffer.answer[:0], &counts)
	w.Header()["Content-Type"] = headerJSON
	w.WriteHeader(http.StatusAccepted)
	_, _ = w.Write(buffer.answer) // the page may be gone already
}

// beaconType says whether a content type is one that beacons have: JSON by its name, or as sendBeacon and fetch send a text. A form is
// refused: nobody's script sends one, and any page can have a browser send it.
func beaconType(text string) bool {
	switch text {
	case "application/json", "text/plain;charset=UTF-8":
		return true
	}
	kind, _, err := mime.ParseMediaType(text)
	return err == nil && (kind == "application/json" || kind == "text/plain")
}

// Errors of bodies, for their senders.
var (
	errBodyLarge    = fmt.Errorf("a beacon has at most %d bytes, unpacked too", beaconBytesMax)
	errBodyEncoding = errors.New("a body is sent as it is, or packed by gzip")
	errBodyBroken   = errors.New("the body ends too soon, or is not packed as it says")
)

// read gives the body, unpacked, or what to say instead. The body is the buffer's.
func (b *beaconBuffer) read(w http.ResponseWriter, r *http.Request) (body []byte, result string, err error) {
	if r.ContentLength > beaconBytesMax {
		return nil, BeaconLarge, errBodyLarge
	}
	reader := http.MaxBytesReader(w, r.Body, beaconBytesMax)
	var from io.Reader = reader
	switch strings.ToLower(r.Header.Get("Content-Encoding")) { // RFC 9110 section 8.4.1
	case "", "identity":
	case "gzip":
		if err := b.gzip.Reset(reader); err != nil {
			return nil, BeaconMalformed, errBodyBroken
		}
		from = &b.gzip
	default:
		return nil, BeaconType, errBodyEncoding
	}
	for n := 0; n < len(b.body); {
		got, err := from.Read(b.body[n:])
		n += got
		_, large := errors.AsType[*http.MaxBytesError](err)
		switch {
		case large || n == len(b.body):
			return nil, BeaconLarge, errBodyLarge
		case errors.Is(err, io.EOF):
			return b.body[:n], "", nil
		case err != nil:
			return nil, BeaconMalformed, errBodyBroken
		}
	}
	return nil, BeaconLarge, errBodyLarge
}

// client is who sends a request: who is connected, or, where that is one of our proxies, who the proxy says. The zero address where
// that is nobody; the collector refuses it.
func (b *Beacons) client(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	client := at.Addr().Unmap().WithZone("")
	if !b.proxied(client) {
		return client
	}
	// Each proxy adds on the right who asked it; what stands left of the first that is no proxy may be anybody's invention.
	list := strings.Join(r.Header.Values("X-Forwarded-For"), ",")
	for range forwardedMax {
		i := strings.LastIndexByte(list, ',')
		if client, err = forwardedAddr(strings.TrimSpace(list[i+1:])); err != nil {
			return netip.Addr{}
		}
		if !b.proxied(client) {
			return client
		}
		if i < 0 {
			break
		}
		list = list[:i]
	}
	return netip.Addr{}
}

// forwardedAddr reads an address, which some proxies write with its port.
func forwardedAddr(text string) (netip.Addr, error) {
	if at, err := netip.ParseAddrPort(text); err == nil {
		return at.Addr().Unmap().WithZone(""), nil
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	return addr.Unmap().WithZone(""), err
}

// proxied says whether an address is one of our proxies.
func (b *Beacons) proxied(addr netip.Addr) bool {
	return slices.ContainsFunc(b.cfg.Proxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// appendCounts writes what became of samples, refusals by their names in order.
func appendCounts(to []byte, c *rum.Counts) []byte {
	to = append(to, `{"accepted":`...)
	to = strconv.AppendInt(to, int64(c.Accepted), 10)
	to = append(to, `,"refused":{`...)
	var names [8]rum.Refusal
	order := names[:0]
	for name, n := range c.Refused {
		if n > 0 {
			order = append(order, name)
		}
	}
	slices.Sort(order)
	for i, name := range order {
		if i > 0 {
			to = append(to, ',')
		}
		to = append(to, '"')
		to = append(to, name...)
		to = append(to, `":`...)
		to = strconv.AppendInt(to, int64(c.Refused[name]), 10)
	}
	return append(to, "}}\n"...)
}

// planDocument is what GET /v1/rum/plan answers.
type planDocument struct {
	V      int         `json:"v"`
	Probes []planProbe `json:"probes"`
	Sample float64     `json:"sample"`
}

// planProbe is one region to measure.
type planProbe struct {
	Region string `json:"region"`
	URL    string `json:"url"`
}

// plan answers GET /v1/rum/plan: what a page of this client is to measure.
func (b *Beacons) plan(w http.ResponseWriter, r *http.Request) {
	document := planDocument{V: beaconVersion, Probes: []planProbe{}, Sample: b.cfg.Sample}
	for _, p := range choosePlan(b.cfg.Probes(b.client(r)), rand.Uint64()) {
		document.Probes = append(document.Probes, planProbe{p.Region, p.URL})
	}
	b.plans.Add(1)
	header := w.Header()
	header["Cache-Control"] = []string{"private, max-age=" + strconv.Itoa(int(planAge.Seconds()))}
	header["Content-Type"] = headerJSON
	_ = json.NewEncoder(w).Encode(document) // the page may be gone already
}

// choosePlan gives the best regions, the nearest and now and then another. Best first in, random any number.
//
// The nearest is always there: where measurements of a wide group prefer another region, that one alone would be measured from then on,
// and what is near would never be known well enough to come back.
func choosePlan(regions []Probed, random uint64) []Probed {
	best := min(planBest, len(regions))
	plan, others := slices.Clone(regions[:best]), slices.Clone(regions[best:])
	if i := slices.IndexFunc(others, func(p Probed) bool { return p.Nearest }); i >= 0 {
		plan, others = append(plan, others[i]), slices.Delete(others, i, i+1)
	}
	if len(others) > 0 && random%planOther == 0 {
		plan = append(plan, others[random/planOther%uint64(len(others))])
	}
	return plan
}
