// Package rum_test runs the beacon in a real browser, on a page with a strict policy, against the server's listener and probe end
// points that have a delay, that are dead, or that never answer.
package rum_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"geodns/internal/dnstest"
	"geodns/pkg/api"
	"geodns/pkg/rum"
)

const (
	// sizeMax is what the script may weigh on the wire, in octets: it is on every page.
	sizeMax = 2000
	// delay is what the far region takes longer than the near one.
	delay = 80 * time.Millisecond
	// coarse is what two readings of a browser's clock, and what a report rounds, may be off by.
	coarse = time.Millisecond
	// warmUp is what the first request of the near region takes: if it counted, near would take longer than was left for it.
	warmUp = 400 * time.Millisecond
	// caseLimit is how long a case may take: two time-outs of the script, and a browser on a busy machine.
	caseLimit = time.Minute
)

// TestSize checks that the script, as it is, is small enough.
func TestSize(t *testing.T) {
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = w.Write(script(t)); err != nil {
		t.Fatal(err)
	}
	if err = w.Close(); err != nil {
		t.Fatal(err)
	}
	if packed.Len() >= sizeMax {
		t.Errorf("beacon.js has %d octets in gzip, fewer than %d are wanted", packed.Len(), sizeMax)
	}
}

// TestWords checks that the script has none of what it promises not to use, nor of what an old browser could not parse.
func TestWords(t *testing.T) {
	code := regexp.MustCompile(`//.*`).ReplaceAll(script(t), nil)
	for _, word := range []string{
		`\beval\b`, `\bFunction\b`, `\bcookie\b`, `[sS]torage\b`, `\bindexedDB\b`, `\bcaches\b`, `\bconsole\b`, `\buserAgent\b`,
		`=>`, "`", `\blet\b`, `\bconst\b`, `\bclass\b`, `\basync\b`, `\?\.`, `\?\?`, `\.\.\.`,
	} {
		if found := regexp.MustCompile(word).Find(code); found != nil {
			t.Errorf("beacon.js has %q", found)
		}
	}
}

// script is the beacon's text.
func script(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("beacon.js")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// sample is one measurement of a beacon.
type sample struct {
	Region string
	MS     float64
	Error  string
}

// probe is the probe end of one region.
type probe struct {
	delay  time.Duration // of every answer
	first  time.Duration // of the first answer instead
	secure bool          // it speaks TLS and HTTP/2
	hidden bool          // it does not allow its timing to be seen
	mute   bool          // it never answers
	healed atomic.Bool   // it has no delay any more

	mu       sync.Mutex  // guards the following
	asked    []time.Time // when each request came
	answered []time.Time // when each answer began, after its delay
}

// times are when requests came, and when their answers began.
func (p *probe) times() (asked, answered []time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked), slices.Clone(p.answered)
}

// came notes a request, and says how long its answer is to take.
func (p *probe) came() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, time.Now())
	switch {
	case p.healed.Load():
		return 0
	case len(p.asked) == 1 && p.first > 0:
		return p.first
	}
	return p.delay
}

// answers notes that an answer begins.
func (p *probe) answers() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answered = append(p.answered, time.Now())
}

// ServeHTTP answers late, or never.
func (p *probe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	timer := time.NewTimer(p.came())
	defer timer.Stop()
	if p.mute {
		<-r.Context().Done()
		return
	}
	select {
	case <-timer.C:
	case <-r.Context().Done():
		return
	}
	if !p.hidden {
		w.Header().Set("Timing-Allow-Origin", "*")
	}
	p.answers()
	w.WriteHeader(http.StatusNoContent)
}

// collector is the server's own listener, with an ear at it.
type collector struct {
	http.Handler

	down    bool
	beacons chan string // requests to it but those for the plan: method, path, content type, body
	taken   chan []rum.Sample
}

// newCollector makes one whose plans have these regions, for pages of an origin.
func newCollector(t *testing.T, regions []api.Probed, origin string) *collector {
	t.Helper()
	c := &collector{beacons: make(chan string, 10), taken: make(chan []rum.Sample, 10)}
	handler, err := api.NewBeacons(api.BeaconConfig{
		Origins: []string{origin},
		Add: func(samples []rum.Sample) rum.Counts {
			c.taken <- slices.Clone(samples)
			return rum.Counts{Accepted: len(samples)}
		},
		Probes: func(netip.Addr) []api.Probed { return regions },
		Log:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Handler = handler
	return c
}

// ServeHTTP notes what comes.
func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c.down {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if r.Method != http.MethodGet {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			body = []byte(err.Error())
		}
		c.beacons <- fmt.Sprintf("%s %s %s %s", r.Method, r.URL.Path, r.Header.Get("Content-Type"), body)
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	c.Handler.ServeHTTP(w, r)
}

// watcher is run before anything else of a page: it notes what the page's scripts do, and what goes wrong in them.
const watcher = `
window.seen = {asked: [], settled: 0, sent: 0, done: false, problems: []};
addEventListener('error', e => seen.problems.push('error: ' + e.message));
addEventListener('unhandledrejection', e => seen.problems.push('rejection: ' + e.reason));
for (const name of ['debug', 'log', 'info', 'warn', 'error'])
	console[name] = (...args) => seen.problems.push('console: ' + args.join(' '));
const realFetch = window.fetch, realSend = Navigator.prototype.sendBeacon, realEnd = PerformanceObserver.prototype.disconnect;
const realRandom = Math.random;
Math.random = () => { Math.random = realRandom; return chance; }; // the first decides whether a page is of the sample
window.fetch = (url, options) => {
	seen.asked.push(url);
	const answer = realFetch(url, options), settle = () => seen.settled++;
	answer.then(settle, settle);
	return answer;
};
Navigator.prototype.sendBeacon = function (...args) { seen.sent++; return realSend.apply(this, args); };
PerformanceObserver.prototype.disconnect = function () { seen.done = true; return realEnd.apply(this); };
`

// seen is what the watcher noted.
type seen struct {
	Asked    []string `json:"asked"`
	Settled  int      `json:"settled"`
	Sent     int      `json:"sent"`
	Done     bool     `json:"done"`
	Problems []string `json:"problems"`
}

// when says at what point of a page all that the script will do is done.
type when int

const (
	// afterBeacon: it sends one.
	afterBeacon when = iota
	// afterMeasure: it measures, and sends nothing.
	afterMeasure
	// afterPlan: it asks for the plan, and no more.
	afterPlan
	// afterIdle: it asks nothing at all.
	afterIdle
)

// scene is a page with the script on it, and what must come of it.
type scene struct {
	name      string
	near, far *probe // nil: dead
	unlucky   bool   // the page is not of the sample
	down      bool   // the collector is
	attribute string // of the script, with %s for the collector; empty: the usual one
	noConnect bool   // the page's policy permits the collector, and no probe
	prepare   string // runs before the page's scripts
	saveData  bool
	until     when
	timed     bool   // both regions answer, and the times must be those of their second requests
	errors    string // regions with their errors
}

// scenes is what may happen.
func scenes() []scene {
	near := func() *probe { return &probe{first: warmUp} }
	far := func() *probe { return &probe{delay: delay} }
	getter := func(name, value string) string {
		return fmt.Sprintf("Object.defineProperty(Navigator.prototype, %q, {get: () => %s});", name, value)
	}
	return []scene{
		{name: "two regions", near: near(), far: far(), timed: true},
		{
			name: "timing is not allowed to be seen", near: &probe{first: warmUp, hidden: true}, far: &probe{delay: delay, hidden: true},
			timed: true,
		},
		{
			name: "TLS", near: &probe{first: warmUp, secure: true}, far: &probe{delay: delay, secure: true},
			timed: true,
		},
		{name: "a dead region", near: near(), errors: "far error"},
		{name: "all are dead", errors: "near error, far error"},
		{name: "a region that never answers", near: near(), far: &probe{mute: true}, errors: "far timeout"},
		{
			name: "no requestIdleCallback", near: near(), far: far(), timed: true,
			prepare: "delete window.requestIdleCallback;",
		},
		{
			name: "added after the page", near: near(), far: far(), timed: true, attribute: `type="text/plain" data-rum="%s"`,
			prepare: `addEventListener('load', () => setTimeout(() => {
				const agreed = document.createElement('script'), waits = document.querySelector('script');
				agreed.src = waits.src;
				agreed.dataset.rum = waits.dataset.rum;
				document.head.append(agreed);
			}));`,
		},
		{name: "not of the sample", near: near(), far: far(), unlucky: true, until: afterPlan},
		{name: "the collector is down", near: near(), far: far(), down: true, until: afterPlan},
		{name: "no collector there", near: near(), far: far(), attribute: `data-rum="http://127.0.0.1:1"`, until: afterPlan},
		{name: "the page forbids probes", near: near(), far: far(), noConnect: true, until: afterMeasure},
		{
			name: "the page is left", near: near(), far: far(), until: afterMeasure,
			prepare: "addEventListener('load', () => dispatchEvent(new Event('pagehide')));",
		},
		{name: "the browser is offline", prepare: getter("onLine", "false"), until: afterMeasure},
		{name: "Do Not Track", near: near(), far: far(), prepare: getter("doNotTrack", "'1'"), until: afterIdle},
		{name: "Global Privacy Control", near: near(), far: far(), prepare: getter("globalPrivacyControl", "true"), until: afterIdle},
		{name: "Save-Data", near: near(), far: far(), saveData: true, until: afterIdle},
		{name: "no attribute", near: near(), far: far(), attribute: "async", until: afterIdle},
		{name: "no sendBeacon", near: near(), far: far(), prepare: "delete Navigator.prototype.sendBeacon;", until: afterIdle},
		{name: "no fetch", near: near(), far: far(), prepare: "window.fetch = undefined;", until: afterIdle},
	}
}

// TestBeacon runs the script in Chromium.
func TestBeacon(t *testing.T) {
	browser := startBrowser(t)
	for _, s := range scenes() {
		t.Run(s.name, func(t *testing.T) { s.run(t, browser) })
	}
}

// startBrowser starts a browser that is gone when the test ends.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(dnstest.NeedPeer(t, "chromium")),
		chromedp.NoSandbox, // CI is root in a container
		chromedp.Flag("ignore-certificate-errors", true), // of the probes: their CA is the test's
		chromedp.Flag("no-proxy-server", true))
	// Not the test's context, which ends before the browser is asked to.
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	browser, closeBrowser := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		if err := chromedp.Cancel(browser); err != nil {
			t.Logf("ending chromium: %v", err)
		}
		closeBrowser()
	})
	if err := chromedp.Do(browser); err != nil {
		t.Fatalf("starting chromium: %v", err)
	}
	return browser
}

// run opens the page in a tab of its own and holds what it did against what is wanted.
func (s *scene) run(t *testing.T, browser context.Context) {
	server := httptest.NewUnstartedServer(nil) // the page is told its address, and it is told the page's
	t.Cleanup(server.Close)
	regions := []api.Probed{{Region: "near", URL: serveProbe(t, s.near)}, {Region: "far", URL: serveProbe(t, s.far)}}
	site := s.servePage(t, "http://"+server.Listener.Addr().String(), regions)
	c := newCollector(t, regions, site)
	c.down = s.down
	server.Config.Handler = c
	server.Start()
	chance := 0.0
	if s.unlucky {
		chance = 0.999
	}
	tab, closeTab := chromedp.NewContext(browser)
	defer closeTab()
	ctx, cancel := context.WithTimeout(tab, caseLimit)
	defer cancel()
	if err := chromedp.Do(ctx, s.prepareTab(chance), chromedp.Navigate(site+"/")); err != nil {
		t.Fatal(err)
	}

	got := s.wait(ctx, t)
	if len(got.Problems) != 0 {
		t.Errorf("the page has problems: %q", got.Problems)
	}
	if s.until != afterBeacon {
		if got.Sent != 0 || len(c.beacons) != 0 {
			t.Errorf("sent %d beacons, none are wanted", got.Sent)
		}
		return
	}
	select {
	case samples := <-c.taken:
		s.check(t, <-c.beacons, samples)
	case <-ctx.Done():
		t.Fatal("the server took no beacon")
	}
	if got.Sent != 1 {
		t.Errorf("sent %d beacons, want one", got.Sent)
	}
}

// prepareTab has a tab run the watcher, and what the scene wants, before the scripts of every page that it opens.
func (s *scene) prepareTab(chance float64) func(context.Context, *chromedp.Target) (chromedp.Void, error) {
	return func(ctx context.Context, tab *chromedp.Target) (chromedp.Void, error) {
		first := page.AddScriptToEvaluateOnNewDocumentParams{Source: fmt.Sprintf("const chance = %v;", chance) + watcher + s.prepare}
		if _, err := cdp.Call(ctx, tab, page.AddScriptToEvaluateOnNewDocument, first); err != nil {
			return chromedp.Void{}, err
		}
		saving := emulation.SetDataSaverOverrideParams{DataSaverEnabled: new(s.saveData)}
		_, err := cdp.Call(ctx, tab, emulation.SetDataSaverOverride, saving)
		return chromedp.Void{}, err
	}
}

// serveProbe gives the URL of a probe, on which nothing listens if it is nil.
func serveProbe(t *testing.T, p *probe) string {
	t.Helper()
	if p == nil {
		gone := httptest.NewServer(http.NotFoundHandler())
		gone.Close()
		return gone.URL + "/probe"
	}
	server := httptest.NewUnstartedServer(p)
	t.Cleanup(server.Close)
	if p.secure {
		server.EnableHTTP2 = true
		server.StartTLS()
	} else {
		server.Start()
	}
	return server.URL + "/probe?of=us"
}

// servePage gives the origin of a site with the page.
func (s *scene) servePage(t *testing.T, collector string, regions []api.Probed) string {
	t.Helper()
	server := httptest.NewServer(s.site(t, collector, regions))
	t.Cleanup(server.Close)
	return server.URL
}

// site has a page with the script, whose policy permits nothing but that, the collector and the probes.
func (s *scene) site(t *testing.T, collector string, regions []api.Probed) http.Handler {
	t.Helper()
	connect := []string{collector, "http://127.0.0.1:1"}
	for _, r := range regions {
		if !s.noConnect {
			origin, _, _ := strings.Cut(r.URL, "/probe")
			connect = append(connect, origin)
		}
	}
	attribute := s.attribute
	if attribute == "" {
		attribute = `async data-rum="%s/"`
	}
	attribute = strings.ReplaceAll(attribute, "%s", collector)
	text := script(t)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; connect-src "+strings.Join(connect, " "))
		switch r.URL.Path {
		case "/":
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = fmt.Fprintf(w, "<!doctype html><title>page</title><script src=\"/beacon.js\" %s></script><p>text", attribute)
		case "/beacon.js":
			w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
			_, _ = w.Write(text)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
}

// wait gives what the page did once all is done that it will do.
func (s *scene) wait(ctx context.Context, t *testing.T) seen {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		// The script's idle time was asked for before this one, and comes before it.
		now, err := chromedp.Run(ctx, chromedp.Evaluate[seen](`new Promise(idle => {
			const give = () => idle(JSON.parse(JSON.stringify(seen)));
			window.requestIdleCallback ? requestIdleCallback(give, {timeout: 20000}) : give();
		})`, chromedp.EvalAwaitPromise))
		if err != nil {
			t.Fatalf("%v, after %+v", err, now)
		}
		switch s.until {
		case afterBeacon, afterMeasure:
			if now.Done {
				return now
			}
		case afterPlan:
			if now.Settled > 0 {
				if len(now.Asked) != 1 {
					t.Errorf("asked for %q, wanted is the plan alone", now.Asked)
				}
				return now
			}
		case afterIdle:
			if len(now.Asked) != 0 {
				t.Errorf("asked for %q", now.Asked)
			}
			return now
		}
		select {
		case <-ctx.Done():
			t.Fatalf("nothing more happens after %+v", now)
		case <-ticker.C:
		}
	}
}

// check holds a beacon, and what the server read in it, against what is wanted.
func (s *scene) check(t *testing.T, beacon string, taken []rum.Sample) {
	t.Helper()
	body, ok := strings.CutPrefix(beacon, "POST /v1/rum text/plain;charset=UTF-8 ")
	if !ok {
		t.Fatalf("beacon %s", beacon)
	}
	var got struct {
		V       int
		Samples []sample
	}
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.DisallowUnknownFields() // an identifier would be one
	if err := decoder.Decode(&got); err != nil || got.V != 1 || len(got.Samples) != 2 || len(taken) != 2 {
		t.Fatalf("beacon %s: version %d, %d samples, %d taken, %v", body, got.V, len(got.Samples), len(taken), err)
	}
	var failed []string
	for i, name := range []string{"near", "far"} {
		m := got.Samples[i]
		if m.Error != "" {
			failed = append(failed, m.Region+" "+m.Error)
		}
		if m.Region != name || (m.Error == "") != (m.MS > 0) {
			t.Errorf("beacon %s: sample %d is not of %s, with a time or an error", body, i, name)
		}
		want := rum.Sample{
			Client: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Region: name,
			Latency: time.Duration(m.MS * float64(time.Millisecond)), Failed: m.Error != "",
		}
		taken[i].Latency, want.Latency = taken[i].Latency.Round(time.Microsecond), want.Latency.Round(time.Microsecond)
		if taken[i] != want {
			t.Errorf("beacon %s: sample %d was taken as %+v, want %+v", body, i, taken[i], want)
		}
	}
	if all := strings.Join(failed, ", "); all != s.errors {
		t.Errorf("beacon %s: errors %q, want %q", body, all, s.errors)
	}
	if s.timed {
		s.checkTimes(t, got.Samples[0].MS, got.Samples[1].MS)
	}
}

// checkTimes holds what the page measured against what the probe ends saw. However busy the machine is, a second request takes no less
// than its delay, begins after the first one is answered, and is answered before the page goes on: with far after near, with its beacon
// after far.
func (s *scene) checkTimes(t *testing.T, near, far float64) {
	t.Helper()
	_, nearAnswered := s.near.times()
	farAsked, farAnswered := s.far.times()
	if len(nearAnswered) != 2 || len(farAsked) != 2 || len(farAnswered) != 2 {
		t.Fatalf("near answered %d requests, far %d of %d, want two of each", len(nearAnswered), len(farAnswered), len(farAsked))
	}
	for _, m := range []struct {
		region      string
		ms          float64
		least, most time.Duration
	}{
		{"near", near, s.near.delay, farAsked[0].Sub(nearAnswered[0])},
		{"far", far, s.far.delay, time.Since(farAnswered[0])},
	} {
		if took := time.Duration(m.ms * float64(time.Millisecond)); took < m.least-coarse || took > m.most+coarse {
			t.Errorf("%s took %s, which cannot be: want %s to %s", m.region, took, m.least, m.most)
		}
	}
}
