package rum_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/miekg/dns"

	"geodns/internal/node"
	"geodns/pkg/api"
)

const (
	// window is what the node looks back. A measurement has lost half of its weight after a third of it, so that three loads of four
	// seconds each, on a busy machine, still weigh as much as minSamples.
	window = 18 * time.Second
	// visitEvery is how often a source's budget allows a load: 12 samples in a window, and each load has two.
	visitEvery = window / 6
	// minSamples is what the policy wants of a region. A load has one of each.
	minSamples = 2
	// poll is how often the node is asked: its orders come no faster than once a second.
	poll = 20 * time.Millisecond

	ofListed, ofOther = "127.0.0.21", "127.0.0.22"
)

// steered is a zone with one name for two regions, the policy by what users measured, and else as they are listed. The band is half of
// the delay: what a busy machine adds to one probe and not to the other is less, and so is what it takes from the delay.
func steered(regions []api.Probed) map[string]string {
	return map[string]string{
		"example.com.zone": "@ 60 IN SOA a a 1 60 60 60 60\n@ 60 IN NS a.example.net.\nwww 60 IN STEER www\n",
		"www.yaml": fmt.Sprintf(`
regions:
  - {name: %q, probe: %q}
  - {name: %q, probe: %q}
pools:
  - name: web
    targets:
      - {name: a, region: %q, values: [%s]}
      - {name: b, region: %q, values: [%s]}
policies:
  - name: www
    rules: [{name: all, pool: web, rank: [{latency: {band: %s, dwell: 1s, min_samples: %d}}, listed]}]
    all_down: serve-all
`, regions[0].Region, regions[0].URL, regions[1].Region, regions[1].URL, regions[0].Region, ofListed, regions[1].Region, ofOther, delay/2, minSamples),
	}
}

// runNode runs a node with two regions, to which the pages of an origin may send. It ends with the test.
func runNode(t *testing.T, origin string, regions []api.Probed) *node.Node {
	t.Helper()
	zones := t.TempDir()
	for name, text := range steered(regions) {
		if err := os.WriteFile(filepath.Join(zones, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	loopback := netip.MustParseAddrPort("127.0.0.1:0") // every listener: so clients there count
	n, err := node.New(node.Config{
		Node: "test", Listen: []netip.AddrPort{loopback}, Workers: 1, Zones: zones,
		RUM: node.RUM{Listen: loopback, Origins: []string{origin}, Interval: time.Second, Window: window, MinSources: 1},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return n
}

// visitor is a user of the page, whose network the node answers.
type visitor struct {
	*scene

	t    *testing.T
	node *node.Node
	site string // the page's origin
	tab  context.Context
}

// answer is what the node has for the user's network, which it knows by the query's source alone.
func (v *visitor) answer() string {
	v.t.Helper()
	query := new(dns.Msg).SetQuestion("www.example.com.", dns.TypeA)
	reply, err := dns.ExchangeContext(v.t.Context(), query, v.node.Addrs()[0].String())
	if err != nil {
		v.t.Fatal(err)
	}
	if len(reply.Answer) != 1 {
		v.t.Fatalf("the answer is\n%v", reply)
	}
	a, ok := reply.Answer[0].(*dns.A)
	if !ok {
		v.t.Fatalf("the answer is\n%v", reply)
	}
	return a.A.String()
}

// visit loads the page, and gives the answer at the time when the next load is due, or as soon as it is another one.
func (v *visitor) visit(every time.Duration) string {
	v.t.Helper()
	due := time.NewTimer(every)
	defer due.Stop()
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	before := v.answer()
	if err := chromedp.Do(v.tab, chromedp.Navigate(v.site+"/")); err != nil {
		v.t.Fatalf("loading the page while the answer is %s: %v", before, err)
	}
	if got := v.wait(v.tab, v.t); got.Sent != 1 || len(got.Problems) != 0 {
		v.t.Fatalf("the page sent %d beacons, want one, and has problems: %q", got.Sent, got.Problems)
	}
	for {
		if now := v.answer(); now != before {
			return now
		}
		select {
		case <-due.C:
			return before
		case <-v.tab.Done():
			v.t.Fatalf("the answer is still %s", before)
		case <-ticker.C:
		}
	}
}

// TestNode goes all the way: a browser measures two regions for a node, the listed one is late, and after the policy's samples the
// answer for the browser's network is the other one, for as long as the delay is there.
func TestNode(t *testing.T) {
	browser := startBrowser(t)
	late := &probe{delay: delay}
	regions := []api.Probed{{Region: "listed", URL: serveProbe(t, late)}, {Region: "other", URL: serveProbe(t, &probe{})}}
	server := httptest.NewUnstartedServer(nil) // the node is told its address, and it is told the node's
	t.Cleanup(server.Close)
	n := runNode(t, "http://"+server.Listener.Addr().String(), regions)
	s := &scene{}
	server.Config.Handler = s.site(t, "http://"+n.RUMAddr().String(), regions)
	server.Start()
	tab, closeTab := chromedp.NewContext(browser)
	defer closeTab()
	ctx, cancel := context.WithTimeout(tab, caseLimit)
	defer cancel()
	if err := chromedp.Do(ctx, s.prepareTab(0)); err != nil { // each load is of the sample
		t.Fatal(err)
	}
	v := &visitor{scene: s, t: t, node: n, site: server.URL, tab: ctx}

	if got := v.answer(); got != ofListed {
		t.Fatalf("before anything is measured the answer is %s, want %s", got, ofListed)
	}
	if v.visit(visitEvery) != ofListed {
		t.Fatalf("the answer changed after one load, want that after %d", minSamples)
	}
	// Twice as often as the budget allows for long: they are enough before it is spent.
	for v.visit(visitEvery/2) == ofListed { // visit fails when the time is over
		t.Log("loaded once more")
	}
	for range 2 {
		if v.visit(visitEvery) != ofOther {
			t.Fatal("the answer changed back while the delay was there")
		}
	}
	late.healed.Store(true)
	for v.visit(visitEvery) == ofOther {
		t.Log("loaded once more, without the delay")
	}
}
