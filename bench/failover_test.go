package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"geodns/internal/dnstest"
	"geodns/internal/node"
)

const (
	// failoverLimit is how long a death may stay unseen before the benchmark gives up.
	failoverLimit = 30 * time.Second
	// pollEvery is how often the answer is looked at, and so how fine the figures are.
	pollEvery = 5 * time.Millisecond
	// killEvery is the mean time between two deaths.
	killEvery = 100 * time.Millisecond
)

// victim is a back end with a name of its own.
type victim struct {
	check string // of the policy file
	kind  string // of that check
	port  uint16
	kill  func()
}

// httpVictim starts a web server, and tlsVictim one with TLS.
func httpVictim(b *testing.B) victim { return webVictim(b, "http", httptest.NewServer) }

func tlsVictim(b *testing.B) victim { return webVictim(b, "tls", httptest.NewTLSServer) }

// webVictim starts a web server.
func webVictim(b *testing.B, check string, start func(http.Handler) *httptest.Server) victim {
	b.Helper()
	server := start(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	b.Cleanup(server.Close)
	server.Config.ErrorLog = nil
	return victim{check, check, portOf(b, server.Listener.Addr()), func() {
		server.Listener.Close()
		server.CloseClientConnections()
	}}
}

// dnsVictim starts Knot DNS with a zone.
func dnsVictim(b *testing.B) victim {
	b.Helper()
	file := filepath.Join(b.TempDir(), "zone")
	text := "$ORIGIN example.net.\n@ 60 IN SOA ns1 h 1 1 1 1 1\n@ 60 IN NS ns1\nns1 60 IN A 192.0.2.1\nhealth 60 IN A 192.0.2.7\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	peer := dnstest.StartKnot(b, map[string]string{"example.net.": file})
	at := netip.MustParseAddrPort(peer.Addr)
	return victim{"dns", "dns", at.Port(), peer.Kill}
}

// portOf gives the port of an address.
func portOf(b *testing.B, addr net.Addr) uint16 {
	b.Helper()
	at, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		b.Fatal(err)
	}
	return at.Port()
}

// failoverNode runs a node with a name for each victim, n0.example.com and so on: 127.0.0.1 while it lives, else 127.0.1.1.
func failoverNode(b *testing.B, victims []victim) *node.Node {
	b.Helper()
	dir := b.TempDir()
	var zoneText, pools, policies strings.Builder
	zoneText.WriteString("@ 60 IN SOA ns1 hostmaster 1 7200 1800 259200 300\n@ 60 IN NS ns1\nns1 60 IN A 192.0.2.1\n")
	for i, v := range victims {
		fmt.Fprintf(&zoneText, "n%d 60 IN STEER n%d\n", i, i)
		fmt.Fprintf(&pools, "  - {name: p%d, check: %s, fallback: rescue, targets: [{name: t, region: r, values: [127.0.0.1], check: {%s: {port: %d}}}]}\n", i, v.check, v.kind, v.port)
		fmt.Fprintf(&policies, "  - {name: n%d, rules: [{name: all, pool: p%d}], all_down: serve-all}\n", i, i)
	}
	for name, text := range map[string]string{
		"example.com.zone": zoneText.String(),
		"p.yaml": `regions: [{name: r}]
profiles: [{name: quick, interval: 2s, timeout: 1s, fall: 2, rise: 2}]
checks:
  - {name: http, profile: quick, http: {path: /}}
  - {name: tls, profile: quick, tls: {port: 443, verify: false}}
  - {name: dns, profile: quick, dns: {name: health.example.net, answer: [192.0.2.7]}}
  - {name: vote, profile: quick, http: {path: /}, damping: off, votes: {need: 1}}
pools:
  - {name: rescue, targets: [{name: t, region: r, values: [127.0.1.1]}]}
` + pools.String() + "policies:\n" + policies.String(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	loopback := netip.MustParseAddrPort("127.0.0.1:0")
	return runNode(b, node.Config{Node: "bench", Listen: []netip.AddrPort{loopback}, Workers: 1, Zones: dir, State: b.TempDir(), API: loopback})
}

// runNode runs a node until the benchmark ends.
func runNode(b *testing.B, cfg node.Config) *node.Node {
	b.Helper()
	n, stop := startNode(b, cfg)
	b.Cleanup(stop)
	return n
}

// startNode runs a node until stop is called.
func startNode(b *testing.B, cfg node.Config) (n *node.Node, stop func()) {
	b.Helper()
	n, err := node.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	return n, func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}
}

// watcher asks for one name again and again.
type watcher struct {
	client dns.Client
	conn   *dns.Conn
	query  *dns.Msg
}

// newWatcher makes one for the i-th victim.
func newWatcher(b *testing.B, n *node.Node, i int) *watcher {
	b.Helper()
	conn, err := dns.DialTimeout("udp", n.Addrs()[0].String(), time.Second)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return &watcher{dns.Client{Timeout: time.Second}, conn, new(dns.Msg).SetQuestion(fmt.Sprintf("n%d.example.com.", i), dns.TypeA)}
}

// until asks until the answer is the wanted address, not in doubt, and gives the time that this took.
func (w *watcher) until(address string) (time.Duration, error) {
	began := time.Now()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for ; time.Since(began) < failoverLimit; <-ticker.C {
		w.query.Id = dns.Id()
		if err := w.conn.WriteMsg(w.query); err != nil {
			return 0, err
		}
		if err := w.conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return 0, err
		}
		answer, err := w.conn.ReadMsg()
		if err != nil || answer.Id != w.query.Id || len(answer.Answer) == 0 {
			continue // on a busy machine one may get lost
		}
		if a, ok := answer.Answer[0].(*dns.A); ok && a.A.String() == address && a.Hdr.Ttl == 60 {
			return time.Since(began), nil
		}
	}
	return 0, fmt.Errorf("no answer %s within %v", address, failoverLimit)
}

// report prints the middle, the 99th percentile and the worst of what was measured.
func report(b *testing.B, took []time.Duration, unit time.Duration, name string) {
	b.Helper()
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1)+0.5)]) / float64(unit) }
	b.ReportMetric(at(0.5), "p50-"+name)
	b.ReportMetric(at(0.99), "p99-"+name)
	b.ReportMetric(at(1), "max-"+name)
	b.ReportMetric(float64(len(took)), "samples")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkFailover kills back ends of three kinds once each, at interval 2 s and fall 2, and looks when the answer changes: a web
// server that closes, one with TLS, and a Knot DNS that is killed. With GEODNS_PROVE there are 100 of them.
func BenchmarkFailover(b *testing.B) {
	count := 9
	if os.Getenv("GEODNS_PROVE") != "" {
		count = 100
	}
	kinds := []func(*testing.B) victim{httpVictim, tlsVictim, dnsVictim}
	var victims []victim
	for i := range count {
		victims = append(victims, kinds[i%len(kinds)](b))
	}
	n := failoverNode(b, victims)
	watchers := make([]*watcher, count)
	for i := range victims {
		watchers[i] = newWatcher(b, n, i)
		if _, err := watchers[i].until("127.0.0.1"); err != nil {
			b.Fatal(err)
		}
	}
	took, errs := make([]time.Duration, count), make([]error, count)
	var dying sync.WaitGroup
	for i := range victims {
		dying.Go(func() {
			timer := time.NewTimer(rand.N(time.Duration(count) * killEvery))
			defer timer.Stop()
			<-timer.C
			victims[i].kill()
			took[i], errs[i] = watchers[i].until("127.0.1.1")
		})
	}
	dying.Wait()
	for i, err := range errs {
		if err != nil {
			b.Fatalf("%s: %v", victims[i].check, err)
		}
	}
	report(b, took, time.Second, "s")
}

// BenchmarkVote pushes votes that change the answer there and back, through the API, and looks when it changes: polled without a
// pause, so that the figure is that of the way.
func BenchmarkVote(b *testing.B) {
	v := httpVictim(b)
	v.check = "vote"
	n := failoverNode(b, []victim{v})
	w := newWatcher(b, n, 0)
	if _, err := w.until("127.0.0.1"); err != nil {
		b.Fatal(err)
	}
	votes := 20
	if os.Getenv("GEODNS_PROVE") != "" {
		votes = 500
	}
	var took []time.Duration
	for i := range votes {
		state, want := "down", "127.0.1.1"
		if i%2 == 1 {
			state, want = "up", "127.0.0.1"
		}
		began := time.Now()
		push(b, n, i, state)
		if _, err := w.until(want); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	report(b, took, time.Millisecond, "ms")
}

// push pushes a vote.
func push(b *testing.B, n *node.Node, sequence int, state string) {
	b.Helper()
	body, err := json.Marshal(map[string]any{"boot": 1, "sequence": sequence + 1, "age_seconds": 0, "state": state, "admit": 1, "reason": "bench"})
	if err != nil {
		b.Fatal(err)
	}
	request, err := http.NewRequestWithContext(b.Context(), http.MethodPut, "http://"+n.APIAddr().String()+"/v1/votes/bench/p0/t", bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	if text, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusOK || !strings.Contains(string(text), "true") {
		b.Fatalf("%s: %s", response.Status, text)
	}
}
