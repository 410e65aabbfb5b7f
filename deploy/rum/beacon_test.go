// Package rum_test runs the beacon in a real browser, on a page with a strict policy, against probe end points that have a delay,
// that are dead, or that never answer.
package rum_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"geodns/internal/dnstest"
)

const (
	// sizeMax is what the script may weigh on the wire, in octets: it is on every page.
	sizeMax = 2000
	// delay is what the far region takes longer than the near one.
	delay = 80 * time.Millisecond
	// differenceMin and differenceMax are what may come of it on a busy machine.
	differenceMin, differenceMax = 60.0, 150.0 // ms
	// warmUp is what the first request of the near region takes: if it counted, near would be farther than far.
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
	hidden bool          // it does not allow its timing to be seen
	mute   bool          // it never answers
	asked  atomic.Int32
}

// ServeHTTP answers late, or never.
func (p *probe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	wait := p.delay
	if p.asked.Add(1) == 1 && p.first > 0 {
		wait = p.first
	}
	timer := time.NewTimer(wait)
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
	w.WriteHeader(http.StatusNoContent)
}

// region is a probe by the name of its region, and where it is.
type region struct {
	name string
	url  string
}

// collector is where the plan comes from, and where beacons go.
type collector struct {
	plan    string
	down    bool
	beacons chan string // their bodies, behind method, path and content type
}

// ServeHTTP gives the plan and takes beacons.
func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	switch {
	case c.down:
		w.WriteHeader(http.StatusServiceUnavailable)
	case r.Method == http.MethodGet && r.URL.Path == "/v1/rum/plan":
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, c.plan) // the page is then without a plan
	default:
		body, err := io.ReadAll(r.Body)
		c.beacons <- fmt.Sprintf("%s %s %s %s %v", r.Method, r.URL.Path, r.Header.Get("Content-Type"), body, err)
		w.WriteHeader(http.StatusAccepted)
	}
}

// watcher is run before anything else of a page: it notes what the page's scripts do, and what goes wrong in them.
const watcher = `
window.seen = {asked: [], settled: 0, sent: 0, done: false, problems: []};
addEventListener('error', e => seen.problems.push('error: ' + e.message));
addEventListener('unhandledrejection', e => seen.problems.push('rejection: ' + e.reason));
for (const name of ['debug', 'log', 'info', 'warn', 'error'])
	console[name] = (...args) => seen.problems.push('console: ' + args.join(' '));
const realFetch = window.fetch, realSend = Navigator.prototype.sendBeacon, realEnd = PerformanceObserver.prototype.disconnect;
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
	name       string
	near, far  *probe // nil: dead
	sample     float64
	down       bool   // the collector is
	attribute  string // of the script, with %s for the collector; empty: the usual one
	noConnect  bool   // the page's policy permits the collector, and no probe
	prepare    string // runs before the page's scripts
	saveData   bool
	until      when
	difference bool   // far takes longer than near by the delay
	errors     string // regions with their errors
}

// scenes is what may happen.
func scenes() []scene {
	near := func() *probe { return &probe{first: warmUp} }
	far := func() *probe { return &probe{delay: delay} }
	getter := func(name, value string) string {
		return fmt.Sprintf("Object.defineProperty(Navigator.prototype, %q, {get: () => %s});", name, value)
	}
	return []scene{
		{name: "two regions", near: near(), far: far(), sample: 1, difference: true},
		{
			name: "timing is not allowed to be seen", near: &probe{first: warmUp, hidden: true}, far: &probe{delay: delay, hidden: true},
			sample: 1, difference: true,
		},
		{name: "a dead region", near: near(), sample: 1, errors: "far error"},
		{name: "all are dead", sample: 1, errors: "near error, far error"},
		{name: "a region that never answers", near: near(), far: &probe{mute: true}, sample: 1, errors: "far timeout"},
		{
			name: "no requestIdleCallback", near: near(), far: far(), sample: 1, difference: true,
			prepare: "delete window.requestIdleCallback;",
		},
		{name: "not sampled", near: near(), far: far(), sample: 0, until: afterPlan},
		{name: "the collector is down", near: near(), far: far(), sample: 1, down: true, until: afterPlan},
		{name: "no collector there", near: near(), far: far(), sample: 1, attribute: `data-rum="http://127.0.0.1:1"`, until: afterPlan},
		{name: "the page forbids probes", near: near(), far: far(), sample: 1, noConnect: true, until: afterMeasure},
		{
			name: "the page is left", near: near(), far: far(), sample: 1, until: afterMeasure,
			prepare: "addEventListener('load', () => dispatchEvent(new Event('pagehide')));",
		},
		{name: "the browser is offline", sample: 1, prepare: getter("onLine", "false"), until: afterMeasure},
		{name: "Do Not Track", near: near(), far: far(), sample: 1, prepare: getter("doNotTrack", "'1'"), until: afterIdle},
		{name: "Global Privacy Control", near: near(), far: far(), sample: 1, prepare: getter("globalPrivacyControl", "true"), until: afterIdle},
		{name: "Save-Data", near: near(), far: far(), sample: 1, saveData: true, until: afterIdle},
		{name: "no attribute", near: near(), far: far(), sample: 1, attribute: "async", until: afterIdle},
		{name: "no sendBeacon", near: near(), far: far(), sample: 1, prepare: "delete Navigator.prototype.sendBeacon;", until: afterIdle},
		{name: "no fetch", near: near(), far: far(), sample: 1, prepare: "window.fetch = undefined;", until: afterIdle},
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
		chromedp.Flag("no-proxy-server", true))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...) //nolint:usetesting // it ends by Cancel, below
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
	regions := []region{{"near", serveProbe(t, s.near)}, {"far", serveProbe(t, s.far)}}
	c := &collector{plan: plan(t, regions, s.sample), down: s.down, beacons: make(chan string, 10)}
	rum := httptest.NewServer(c)
	t.Cleanup(rum.Close)
	tab, closeTab := chromedp.NewContext(browser)
	defer closeTab()
	ctx, cancel := context.WithTimeout(tab, caseLimit)
	defer cancel()
	prepare := func(ctx context.Context, tab *chromedp.Target) (chromedp.Void, error) {
		first := page.AddScriptToEvaluateOnNewDocumentParams{Source: watcher + s.prepare}
		if _, err := cdp.Call(ctx, tab, page.AddScriptToEvaluateOnNewDocument, first); err != nil {
			return chromedp.Void{}, err
		}
		saving := emulation.SetDataSaverOverrideParams{DataSaverEnabled: new(s.saveData)}
		_, err := cdp.Call(ctx, tab, emulation.SetDataSaverOverride, saving)
		return chromedp.Void{}, err
	}
	err := chromedp.Do(ctx, prepare, chromedp.Navigate(s.servePage(t, rum.URL, regions)))
	if err != nil {
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
	case beacon := <-c.beacons:
		s.check(t, beacon)
	case <-ctx.Done():
		t.Fatal("no beacon came")
	}
	if got.Sent != 1 {
		t.Errorf("sent %d beacons, want one", got.Sent)
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
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	return server.URL + "/probe?of=us"
}

// plan is what the collector says is to be measured.
func plan(t *testing.T, regions []region, sample float64) string {
	t.Helper()
	probes := make([]map[string]string, len(regions))
	for i, r := range regions {
		probes[i] = map[string]string{"region": r.name, "url": r.url}
	}
	text, err := json.Marshal(map[string]any{"v": 1, "probes": probes, "sample": sample})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// servePage gives the URL of a page with the script, whose policy permits nothing but that, the collector and the probes.
func (s *scene) servePage(t *testing.T, rum string, regions []region) string {
	t.Helper()
	connect := rum + " http://127.0.0.1:1"
	for _, r := range regions {
		if !s.noConnect {
			origin, _, _ := strings.Cut(r.url, "/probe")
			connect += " " + origin
		}
	}
	attribute := s.attribute
	if attribute == "" {
		attribute = fmt.Sprintf("async data-rum=%q", rum+"/")
	}
	text := script(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; connect-src "+connect)
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
	}))
	t.Cleanup(server.Close)
	return server.URL + "/"
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

// check holds a beacon against what is wanted.
func (s *scene) check(t *testing.T, beacon string) {
	t.Helper()
	body, ok := strings.CutPrefix(beacon, "POST /v1/rum text/plain;charset=UTF-8 ")
	if body, ok = strings.CutSuffix(body, " <nil>"); !ok {
		t.Fatalf("beacon %s", beacon)
	}
	var got struct {
		V       int
		Samples []sample
	}
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.DisallowUnknownFields() // an identifier would be one
	if err := decoder.Decode(&got); err != nil || got.V != 1 {
		t.Fatalf("beacon %s: version %d, %v", body, got.V, err)
	}
	var names, failed []string
	for _, m := range got.Samples {
		names = append(names, m.Region)
		if m.Error != "" {
			failed = append(failed, m.Region+" "+m.Error)
		}
		if (m.Error == "") != (m.MS > 0) {
			t.Errorf("beacon %s: a time or an error, one of them", body)
		}
	}
	if diff := cmp.Diff([]string{"near", "far"}, names); diff != "" {
		t.Errorf("beacon %s: regions (-want +got):\n%s", body, diff)
	}
	if got := strings.Join(failed, ", "); got != s.errors {
		t.Errorf("beacon %s: errors %q, want %q", body, got, s.errors)
	}
	if s.difference && len(got.Samples) == 2 {
		if more := got.Samples[1].MS - got.Samples[0].MS; more < differenceMin || more > differenceMax {
			t.Errorf("beacon %s: far takes %.1f ms longer than near, want %.0f to %.0f", body, more, differenceMin, differenceMax)
		}
	}
}
