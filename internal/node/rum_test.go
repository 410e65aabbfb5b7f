package node_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"geodns/internal/node"
	"geodns/pkg/api"
	"geodns/pkg/geo"
	"geodns/pkg/policy"
	"geodns/pkg/rum"
)

// sendTo sends one request, and gives the status and the body.
func sendTo(t *testing.T, method, url, kind, body string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon}
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// TestRUM: a beacon and a feed come in, are counted, shown, kept over a restart, and make the plan of the next page; no address is
// logged or kept.
func TestRUM(t *testing.T) {
	logged := new(logText)
	cfg := config(t, map[string]string{
		"example.com.zone": "@ 60 IN SOA a a 1 60 60 60 60\n@ 60 IN NS a.example.net.\nwww 60 IN STEER www\n",
		"www.yaml": `
regions:
  - {name: ams, location: [52.4, 4.9], probe: "https://ams.example.com/rum.gif"}
  - {name: fra, location: [50.1, 8.7], probe: "https://fra.example.com/rum.gif"}
  - {name: iad, location: [39.0, -77.5]}
pools: [{name: web, targets: [{name: a, region: ams, values: [192.0.2.1]}, {name: f, region: fra, values: [192.0.2.2]}, {name: i, region: iad, values: [192.0.2.3]}]}]
policies: [{name: www, rules: [{name: all, pool: web}], all_down: serve-all}]
`,
	})
	cfg.Log = slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg.RUM = node.RUM{
		Listen: netip.MustParseAddrPort("127.0.0.1:0"), Origins: []string{"*"}, Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Interval: time.Second, Window: time.Hour, MinSources: 2,
	}

	n, stop := run(t, cfg)
	public, operators := "http://"+n.RUMAddr().String(), "http://"+n.APIAddr().String()

	// Through a proxy that says nothing there is no client.
	status, got := sendTo(t, "POST", public+"/v1/rum", "text/plain", `{"v":1,"samples":[{"region":"fra","ms":20}]}`)
	if status != 202 || got != `{"accepted":0,"refused":{"client":1}}`+"\n" {
		t.Errorf("beacon: %d %s", status, got)
	}
	status, got = sendTo(t, "GET", public+"/v1/rum/plan", "", "")
	const byName = `{"v":1,"probes":[{"region":"ams","url":"https://ams.example.com/rum.gif"},{"region":"fra","url":"https://fra.example.com/rum.gif"}],"sample":0.1}`
	if status != 200 || strings.TrimSpace(got) != byName {
		t.Errorf("plan: %d %s", status, got)
	}
	var feed strings.Builder
	for i := range 60 {
		fmt.Fprintf(&feed, `{"client":"193.0.6.%d","region":"fra","ms":%d}`+"\n", i+1, 20+i%5)
		fmt.Fprintf(&feed, `{"client":"193.0.6.%d","region":"ams","ms":%d}`+"\n", i+1, 50+i%5)
	}
	feed.WriteString(`{"client":"193.0.6.1","region":"xxx","ms":20}` + "\n")
	status, got = sendTo(t, "POST", operators+"/v1/rum/bulk", "application/x-ndjson", feed.String())
	var counts api.RUMCounts
	if err := json.Unmarshal([]byte(got), &counts); err != nil || status != 202 || counts.Accepted != 120 || counts.Refused[rum.RefusedRegion] != 1 {
		t.Fatalf("bulk: %d %s", status, got)
	}
	shown := func(n *node.Node) bool {
		_, report := sendTo(t, "GET", "http://"+n.APIAddr().String()+"/v1/rum?kind=prefix", "", "")
		return strings.Contains(report, `"rung":"193.0.6.0/24"`)
	}
	eventually(t, "shown", func() bool { return shown(n) })
	if _, got = sendTo(t, "GET", operators+"/v1/status", "", ""); !strings.Contains(got, `"accepted_total":120`) || !strings.Contains(got, `"plans_total":1`) {
		t.Errorf("status %s", got)
	}
	if _, got = sendTo(t, "GET", operators+"/metrics", "", ""); !strings.Contains(got, `geodns_rum_samples_total{result="accepted"} 120`) ||
		!strings.Contains(got, `geodns_rum_beacons_total{result="taken"} 1`) || !strings.Contains(got, `geodns_rum_rungs{kind="prefix"} 1`) {
		t.Errorf("metrics %s", got)
	}
	probes := n.Probes(netip.MustParseAddr("193.0.6.200"))
	if len(probes) != 2 || probes[0].Region != "fra" {
		t.Errorf("probes %v", probes)
	}
	stop()
	n, stop = run(t, cfg)
	defer stop()
	eventually(t, "shown after a restart", func() bool { return shown(n) })
	if text := logged.String(); strings.Contains(text, "193.0.6") {
		t.Errorf("an address is logged:\n%s", text)
	}
}

// TestOrderProbes: what was measured comes before what is near, and that before what has no place; the nearest is marked wherever it stands.
func TestOrderProbes(t *testing.T) {
	regions := []*policy.Region{
		{Name: "ams", HasLocation: true, Lat: 52.4, Lon: 4.9, Probe: "a"},
		{Name: "any", Probe: "x"},
		{Name: "fra", HasLocation: true, Lat: 50.1, Lon: 8.7, Probe: "f"},
		{Name: "syd", HasLocation: true, Lat: -33.9, Lon: 151.2, Probe: "s"},
	}
	munich := geo.Place{HasLocation: true, Lat: 48.1, Lon: 11.6}
	for _, tt := range []struct {
		name   string
		at     geo.Place
		scores []rum.Score
		want   string
	}{
		{"nothing is known", geo.Place{}, nil, "ams any fra syd"},
		{"by distance", munich, nil, "fra* ams syd any"},
		{"measured", munich, []rum.Score{{Region: "syd"}, {Region: "gone"}, {Region: "ams"}}, "syd ams fra* any"},
		{"measured, at no known place", geo.Place{}, []rum.Score{{Region: "syd"}}, "syd ams any fra"},
		{"on the other side", geo.Place{HasLocation: true, Lat: -34, Lon: 151}, []rum.Score{{Region: "any"}}, "any syd* fra ams"},
	} {
		var got []string
		for _, p := range node.OrderProbes(regions, tt.at, tt.scores) {
			if p.Nearest {
				p.Region += "*"
			}
			got = append(got, p.Region)
		}
		if !slices.Equal(got, strings.Fields(tt.want)) {
			t.Errorf("%s: %v, want %s", tt.name, got, tt.want)
		}
	}
}

// TestRUMListen: beacons beyond loopback come by TLS, unless somebody says otherwise.
func TestRUMListen(t *testing.T) {
	cfg := config(t, map[string]string{"example.com.zone": "@ 60 IN SOA a a 1 60 60 60 60\n@ 60 IN NS a.example.net.\n"})
	cfg.RUM = node.RUM{Listen: netip.MustParseAddrPort("0.0.0.0:0"), Origins: []string{"*"}}
	if _, err := node.New(cfg); err == nil || !strings.Contains(err.Error(), "rum.plain") {
		t.Errorf("plain HTTP for all: %v", err)
	}
	cfg.RUM.Plain = true
	_, stop := run(t, cfg)
	stop()
	cfg.RUM.Certificate, cfg.RUM.Key = "none.pem", "none.key"
	if _, err := node.New(cfg); err == nil || !strings.Contains(err.Error(), "the certificate for beacons cannot be read") {
		t.Errorf("no certificate: %v", err)
	}
}

// TestRUMTLS: browsers come by TLS 1.3 and HTTP/2.
func TestRUMTLS(t *testing.T) {
	dir := t.TempDir()
	ca := issue(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	server := issue(t, &x509.Certificate{DNSNames: []string{"localhost"}}, ca)
	write(t, dir, map[string]string{"rum.pem": string(server.Text), "rum.key": string(server.KeyText)})
	cfg := config(t, map[string]string{"example.com.zone": "@ 60 IN SOA a a 1 60 60 60 60\n@ 60 IN NS a.example.net.\n"})
	cfg.RUM = node.RUM{
		Listen: netip.MustParseAddrPort("127.0.0.1:0"), Origins: []string{"https://www.example.com"},
		Certificate: filepath.Join(dir, "rum.pem"), Key: filepath.Join(dir, "rum.key"),
	}
	n, stop := run(t, cfg)
	defer stop()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.Text)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+n.RUMAddr().String()+"/v1/rum/plan", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Transport: transport, Timeout: soon}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != 200 || response.Proto != "HTTP/2.0" || response.TLS.Version != tls.VersionTLS13 {
		t.Errorf("%s %s, TLS %x", response.Status, response.Proto, response.TLS.Version)
	}
}
