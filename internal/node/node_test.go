package node_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"geodns/internal/node"
	"geodns/internal/source"
	"geodns/pkg/api"
	"geodns/pkg/geo"
	"geodns/pkg/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon is how long a test polls for what must happen; it is no bound on how fast it does.
const soon = 20 * time.Second

// eventually polls until f is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(soon); time.Now().Before(end); <-ticker.C {
		if f() {
			return
		}
	}
	t.Fatalf("%s: not within %s", what, soon)
}

// write puts files below dir; each by a rename, as an operator's tools do, from where nobody watches: a load that begins in the middle
// finds the file as it was or as it will be.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	aside := filepath.Join(t.TempDir(), "file")
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(aside, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(aside, path); err != nil {
			t.Fatal(err)
		}
	}
}

// mount puts files into a new folder of dir and swaps the link ..data to it in one step, as Kubernetes mounts a ConfigMap.
func mount(t *testing.T, dir, version string, files map[string]string) {
	t.Helper()
	write(t, filepath.Join(dir, version), files)
	if err := os.Symlink(version, filepath.Join(dir, "..data_tmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
}

// backend is one HTTP back end on loopback.
type backend struct {
	addr   netip.AddrPort
	server *http.Server
	done   chan struct{}
}

// startBackend serves 200 at addr (port 0: a free one).
func startBackend(t *testing.T, addr netip.AddrPort) *backend {
	t.Helper()
	l, err := net.Listen("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{addr: netip.MustParseAddrPort(l.Addr().String()), done: make(chan struct{})}
	b.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }), ReadHeaderTimeout: time.Second}
	go func() {
		defer close(b.done)
		if err := b.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("back end %s: %v", b.addr, err)
		}
	}()
	t.Cleanup(b.stop)
	return b
}

// stop ends the back end as a crash would: no connection is answered any more.
func (b *backend) stop() { b.server.Close(); <-b.done }

// startBackends serves on several loopback addresses at one port.
func startBackends(t *testing.T, addrs ...string) []*backend {
	t.Helper()
	first := startBackend(t, netip.AddrPortFrom(netip.MustParseAddr(addrs[0]), 0))
	out := []*backend{first}
	for _, a := range addrs[1:] {
		out = append(out, startBackend(t, netip.AddrPortFrom(netip.MustParseAddr(a), first.addr.Port())))
	}
	return out
}

// config is a node on free ports with its files in a folder of the test's own.
func config(t testing.TB, files map[string]string) node.Config {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "zones"), files)
	loopback := netip.MustParseAddrPort("127.0.0.1:0")
	return node.Config{
		Node: "test", Listen: []netip.AddrPort{loopback}, Workers: 2, Zones: filepath.Join(dir, "zones"), State: filepath.Join(dir, "state"),
		API: loopback, Build: "test",
	}
}

// run starts a node and ends it with the test, or before by calling the func.
func run(t testing.TB, cfg node.Config) (*node.Node, func()) {
	t.Helper()
	n, err := node.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return n, start(t, n)
}

// start runs a node that New made. The func ends it; the test's end does, too.
func start(t testing.TB, n *node.Node) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// serveOnly serves DNS and nothing else until the test ends: nothing is probed, loaded or watched.
func serveOnly(t *testing.T, n *node.Node) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.ServeOnly(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serving: %v", err)
		}
	})
}

// allUp waits until all targets of steered are up, in what is answered.
func allUp(t *testing.T, n *node.Node) {
	t.Helper()
	eventually(t, "all are up", func() bool {
		return !slices.ContainsFunc(n.Status().Regions, func(r api.RegionStatus) bool { return r.Up != r.Targets })
	})
}

// ask sends one query and gives the answer; subnet "" is without ECS.
func ask(t *testing.T, n *node.Node, name string, qtype uint16, subnet string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, qtype)
	if subnet != "" {
		m.SetEdns0(1232, false)
		p := netip.MustParsePrefix(subnet)
		e := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(p.Bits()), Address: p.Addr().AsSlice()}
		if p.Addr().Is6() {
			e.Family = 2
		}
		m.IsEdns0().Option = append(m.IsEdns0().Option, e)
	}
	c := dns.Client{Timeout: 5 * time.Second}
	r, _, err := c.Exchange(m, n.Addrs()[0].String())
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return r
}

// addrs are the A records of an answer.
func addrs(m *dns.Msg) string {
	var out []string
	for _, rr := range m.Answer {
		if a, ok := rr.(*dns.A); ok {
			out = append(out, a.A.String())
		}
	}
	return strings.Join(out, " ")
}

const zoneText = `$TTL 300
@    IN SOA ns1 hostmaster 1 7200 1800 259200 300
     IN NS  ns1
ns1  IN A   127.0.0.1
     IN AAAA ::1
www  60 IN STEER www
`

// steered is a policy over three back ends at one port: EU clients to .21, others to .22, then .23. Each is probed within a second, at a
// random moment: until all are, the answer may be any.
func steered(port uint16) string {
	return fmt.Sprintf(`
regions:
  - {name: eu, location: [50, 8]}
  - {name: us, location: [39, -77]}
  - {name: as, location: [1.3, 103.8]}
checks:
  - {name: web, http: {port: %d, path: /}, interval: 1s, timeout: 1s, fall: 2, rise: 2}
pools:
  - name: web
    check: web
    targets:
      - {name: eu1, region: eu, values: [127.0.0.21]}
      - {name: us1, region: us, values: [127.0.0.22]}
      - {name: as1, region: as, values: [127.0.0.23]}
maps:
  - name: world
    areas: {default: [us, eu, as], EU: [eu, us, as]}
policies:
  - name: www
    rules: [{name: all, pool: web, rank: [{map: world}]}]
    all_down: serve-all
`, port)
}

const (
	clientEU = "193.0.0.0/24" // RIPE NCC
	clientUS = "8.8.8.0/24"   // ARIN
)

// TestFailover kills back ends and brings them back, and watches the answer follow. It prints how long that took.
func TestFailover(t *testing.T) {
	b := startBackends(t, "127.0.0.21", "127.0.0.22", "127.0.0.23")
	port := b[0].addr.Port()
	n, _ := run(t, config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(port)}))
	await := func(what, want string, ttl uint32) {
		t.Helper()
		began := time.Now()
		eventually(t, what, func() bool {
			m := ask(t, n, "www.example.com.", dns.TypeA, clientEU)
			return addrs(m) == want && (ttl == 0 || m.Answer[0].Header().Ttl == ttl)
		})
		t.Logf("%s: %s", what, time.Since(began).Round(10*time.Millisecond))
	}
	await("up", "127.0.0.21", 60)
	if got := addrs(ask(t, n, "www.example.com.", dns.TypeA, clientUS)); got != "127.0.0.22" {
		t.Errorf("a client in North America gets %s", got)
	}
	b[0].stop()
	await("eu1 died, answer changed", "127.0.0.22", 60)
	b[1].stop()
	await("us1 died, answer changed", "127.0.0.23", 60)
	b[2].stop()
	await("all died, serve-all answers with the first tier at the least TTL", "127.0.0.21", 15)
	b[0] = startBackend(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.21"), port))
	await("eu1 came back", "127.0.0.21", 60)
}

// TestTargetsOwnCheck: a target is probed where its own keys say, and the others where the pool's check does.
func TestTargetsOwnCheck(t *testing.T) {
	own, others := startBackends(t, "127.0.0.21")[0], startBackends(t, "127.0.0.22")[0]
	others.stop() // nobody is at the port of the pool's check
	text := strings.Replace(steered(others.addr.Port()), "values: [127.0.0.21]",
		fmt.Sprintf("values: [127.0.0.21], check: {http: {port: %d}, timeout: 1s}", own.addr.Port()), 1)
	n, _ := run(t, config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": text}))
	for _, client := range []string{clientEU, clientUS} {
		eventually(t, "the one that answers is used", func() bool {
			m := ask(t, n, "www.example.com.", dns.TypeA, client)
			return addrs(m) == "127.0.0.21" && m.Answer[0].Header().Ttl == 60
		})
	}
}

// TestAllDown shows the other two ways to answer when nothing is usable.
func TestAllDown(t *testing.T) {
	for way, want := range map[string]int{"servfail": dns.RcodeServerFailure, "serve-first": dns.RcodeSuccess} {
		b := startBackends(t, "127.0.0.21")
		port := b[0].addr.Port()
		b[0].stop()
		text := strings.Replace(steered(port), "serve-all", way, 1)
		n, _ := run(t, config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": text}))
		eventually(t, way, func() bool {
			m := ask(t, n, "www.example.com.", dns.TypeA, clientEU)
			return m.Rcode == want && (want != dns.RcodeSuccess || (addrs(m) == "127.0.0.21" && m.Answer[0].Header().Ttl == 15))
		})
	}
}

// TestRestart shows that verdicts survive, in doubt until probed.
func TestRestart(t *testing.T) {
	b := startBackends(t, "127.0.0.21", "127.0.0.22", "127.0.0.23")
	b[0].stop()
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(b[1].addr.Port())})
	n, stop := run(t, cfg)
	eventually(t, "eu1 is down", func() bool { return addrs(ask(t, n, "www.example.com.", dns.TypeA, clientEU)) == "127.0.0.22" })
	stop()
	n, err := node.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	serveOnly(t, n)
	m := ask(t, n, "www.example.com.", dns.TypeA, clientEU)
	if addrs(m) != "127.0.0.22" || m.Answer[0].Header().Ttl != 15 {
		t.Errorf("the first answer after the restart is %v, want 127.0.0.22 at TTL 15", m.Answer)
	}
}

// TestRefusedLoad shows that a bad file changes nothing, and says where it is bad.
func TestRefusedLoad(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"zone":           {"example.com.zone", zoneText + "bad IN A 1.2.3\n", "example.com.zone:7:"},
		"policy":         {"www.yaml", "policies: [{name: www}]\n", "www.yaml:1:"},
		"unknown policy": {"example.com.zone", zoneText + "x IN STEER wwww\n", `example.com.zone:7:`},
		"no zone's name": {"a..b.zone", zoneText, "a..b.zone:1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t, operatorFiles())
			n, _ := run(t, cfg)
			before := ask(t, n, "www.example.com.", dns.TypeA, clientEU)
			write(t, cfg.Zones, map[string]string{c.file: c.text})
			load, err := n.Reload(context.Background(), "test")
			if err != nil || load.Result != "refused" || load.Errors == 0 {
				t.Fatalf("reload: %+v, %v", load, err)
			}
			f := load.Findings[0]
			if at := fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Col); !strings.Contains(at, c.want) {
				t.Errorf("found at %s, want %s: %s", at, c.want, f.Message)
			}
			after := ask(t, n, "www.example.com.", dns.TypeA, clientEU)
			if addrs(after) != addrs(before) || addrs(after) == "" {
				t.Errorf("answers changed from %v to %v", before.Answer, after.Answer)
			}
			if _, err := node.New(cfg); err == nil {
				t.Error("a node starts with it")
			}
		})
	}
}

// TestEmptiedFolder shows that zones which all went at once, as when a volume is not mounted, are served on.
func TestEmptiedFolder(t *testing.T) {
	cfg := config(t, operatorFiles())
	n, _ := run(t, cfg)
	for _, name := range []string{"example.com.zone", "www.yaml"} {
		if err := os.Remove(filepath.Join(cfg.Zones, name)); err != nil {
			t.Fatal(err)
		}
	}
	load, err := n.Reload(context.Background(), "test")
	if err != nil || load.Result != "refused" || load.Errors != 1 || !strings.Contains(load.Findings[len(load.Findings)-1].Message, "no zone file any more") {
		t.Errorf("reload of nothing: %+v, %v", load, err)
	}
	if addrs(ask(t, n, "www.example.com.", dns.TypeA, clientEU)) != "127.0.0.21" {
		t.Error("nothing is served any more")
	}
}

// TestDatabases shows what a database does at the start, when it comes, and when it is spoilt.
func TestDatabases(t *testing.T) {
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(1)})
	db := filepath.Join(t.TempDir(), "countries.csv")
	cfg.Geo = geo.Config{Databases: []string{db}}
	n, _ := run(t, cfg)
	ready := func() bool {
		r, err := http.Get("http://" + n.APIAddr().String() + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		http.DefaultClient.CloseIdleConnections()
		return r.StatusCode == http.StatusOK
	}
	scope := func() uint8 {
		for _, o := range ask(t, n, "www.example.com.", dns.TypeA, clientEU).IsEdns0().Option {
			if e, ok := o.(*dns.EDNS0_SUBNET); ok {
				return e.SourceScope
			}
		}
		return 255
	}
	if ready() {
		t.Error("ready without its database")
	}
	if got := scope(); got != 24 {
		t.Errorf("scope %d with the geo data lost, want the 24 that was asked for", got)
	}
	write(t, filepath.Dir(db), map[string]string{"countries.csv": "8.0.0.0,8.255.255.255,US\n193.0.0.0,193.255.255.255,DE\n"})
	eventually(t, "the database is read once it is there", ready)
	eventually(t, "the German client goes to eu1", func() bool {
		return addrs(ask(t, n, "www.example.com.", dns.TypeA, clientEU)) == "127.0.0.21" && scope() == 8
	})
	write(t, filepath.Dir(db), map[string]string{"countries.csv": "193.0.0.0,192.0.0.0,DE\n"})
	load, err := n.Reload(context.Background(), "test")
	if err != nil || load.Errors == 0 {
		t.Fatalf("reload with a spoilt database: %+v, %v", load, err)
	}
	eventually(t, "the database before it stays", func() bool {
		return ready() && addrs(ask(t, n, "www.example.com.", dns.TypeA, clientEU)) == "127.0.0.21"
	})
}

// TestUnknownPolicy shows what is said of a STEER record whose policy is nowhere.
func TestUnknownPolicy(t *testing.T) {
	for files, want := range map[string]string{
		"":                      `STEER names policy "www", and no file *.yaml in the zones folder has a policy`,
		"regions: [{name: eu}]": `STEER names policy "www", and no file *.yaml in the zones folder has a policy`,
		strings.Replace(steered(1), "name: www", "name: ww", 1): `STEER names policy "www", which is in no policy file; did you mean "ww"?`,
	} {
		cfg := config(t, map[string]string{"example.com.zone": zoneText})
		if files != "" {
			write(t, cfg.Zones, map[string]string{"p.yaml": files})
		}
		fs := node.Check(cfg).Findings
		if i := slices.IndexFunc(fs, func(f source.Finding) bool { return f.Message == want }); i < 0 || fs.Errors() != 1 || fs[i].Line != 6 {
			t.Errorf("%q: %v, want %s", files, fs, want)
		}
	}
}

// TestExplainServed holds the explanation of a running node against what it answers.
func TestExplainServed(t *testing.T) {
	b := startBackends(t, "127.0.0.21", "127.0.0.22", "127.0.0.23")
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(b[0].addr.Port())})
	n, _ := run(t, cfg)
	eventually(t, "up", func() bool {
		m := ask(t, n, "www.example.com.", dns.TypeA, clientEU)
		return m.Answer[0].Header().Ttl == 60
	})
	r, err := http.Get("http://" + n.APIAddr().String() + "/v1/explain?name=www.example.com&type=A&client=" + clientEU)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	body := r.Status + " " + string(text)
	for _, want := range []string{"200 OK", "www.example.com. 60 IN A 127.0.0.21", "web/us1", "area EU"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in %s", want, body)
		}
	}
	e, fs, err := node.Explain(cfg, policy.Question{Name: "www.example.com", Type: "A", Client: netip.MustParsePrefix(clientEU)})
	if err != nil || fs.HasErrors() {
		t.Fatal(err, fs)
	}
	if len(e.Answer) != 1 || !strings.HasSuffix(e.Answer[0], "IN A 127.0.0.21") || e.TTL != 15 || !strings.Contains(e.Text(), "unknown, in doubt") {
		t.Errorf("offline, nothing probed:\n%s", e.Text())
	}
}

// TestLoopbackTargets shows that a server for others does not probe its own host.
func TestLoopbackTargets(t *testing.T) {
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(1)})
	cfg.Listen = append(cfg.Listen, netip.MustParseAddrPort("0.0.0.0:5300"))
	if fs := node.Check(cfg).Findings; fs.Errors() != 3 || !strings.Contains(fs[0].String(), "loopback") {
		t.Errorf("got %v", fs)
	}
	cfg.HealthAllow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	if fs := node.Check(cfg).Findings; fs.HasErrors() {
		t.Errorf("allowed by health.allow, and got %v", fs)
	}
}
