package node_test

import (
	"context"
	"encoding/hex"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"geodns/internal/node"
)

// cookieClient is one resolver with its client cookie.
const cookieClient = "0123456789abcdef"

// cookie asks over UDP with a cookie and gives the answer's; accepted is false if the node wants to see a better one first.
func cookie(t *testing.T, n *node.Node, with string) (given string, accepted bool) {
	t.Helper()
	m := new(dns.Msg).SetQuestion("example.com.", dns.TypeSOA)
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: with})
	r, _, err := (&dns.Client{Timeout: 5 * time.Second}).Exchange(m, n.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range r.IsEdns0().Option {
		if c, ok := o.(*dns.EDNS0_COOKIE); ok {
			given = c.Cookie
		}
	}
	if !strings.HasPrefix(given, with[:16]) || len(given) != 48 || (r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeBadCookie) {
		t.Fatalf("cookie %q was answered %q, %s", with, given, dns.RcodeToString[r.Rcode])
	}
	return given, r.Rcode == dns.RcodeSuccess && len(r.Answer) == 1
}

// site is two nodes of an anycast site, each with its copy of the file of secrets. They require cookies, so that it shows
// which are accepted.
func site(t *testing.T, secrets string) (nodes []*node.Node, files []string) {
	t.Helper()
	for range 2 {
		cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(1)})
		file := filepath.Join(filepath.Dir(cfg.Zones), "cookies.txt")
		write(t, filepath.Dir(file), map[string]string{"cookies.txt": secrets})
		cfg.Cookies = node.Cookies{SecretFile: file, Require: true}
		n, _ := run(t, cfg)
		nodes, files = append(nodes, n), append(files, file)
	}
	return nodes, files
}

// TestCookiesRoll rolls the secret of two nodes, one node after the other, by the steps of RFC 9018 section 5: add the new one, let it make
// cookies, drop the old one. Between any two steps, and while the nodes differ in one, a cookie of either is accepted by both.
func TestCookiesRoll(t *testing.T) {
	nodes, files := site(t, secretA+"\n")
	var held []string // by a client that has not been back for up to an hour: since the step before
	for _, step := range []struct{ name, text string }{
		{"add the new one", secretA + "\n" + secretB + "\n"},
		{"the new one makes cookies", secretB + "\n" + secretA + "\n"},
		{"drop the old one, an hour later", secretB + "\n"},
	} {
		var last []string
		for _, n := range nodes {
			given, _ := cookie(t, n, cookieClient)
			last = append(last, given)
		}
		if held = append(held, last...); strings.HasPrefix(step.name, "drop") {
			held = last // who holds an older one has been away for longer than cookies hold
		}
		for i, file := range files {
			write(t, filepath.Dir(file), map[string]string{"cookies.txt": "# " + step.name + "\n" + step.text})
			if load, err := nodes[i].Reload(context.Background(), "test"); err != nil || load.Errors > 0 {
				t.Fatalf("%s: %+v, %v", step.name, load, err)
			}
			for j, n := range nodes {
				given, _ := cookie(t, n, cookieClient)
				for k, other := range nodes {
					for _, c := range append(held, given) {
						if _, ok := cookie(t, other, c); !ok {
							t.Errorf("%s, done on %d of 2 nodes: cookie %s is not accepted by node %d; node %d makes %s", step.name, i+1, c, k, j, given)
						}
					}
				}
			}
		}
	}
	// The old secret is out of use: a cookie that it made is none any more.
	n, _ := site(t, secretA+"\n")
	given, _ := cookie(t, n[0], cookieClient)
	for i, other := range nodes {
		renewed, ok := cookie(t, other, given)
		if ok {
			t.Errorf("node %d accepts a cookie of the secret that was dropped", i)
		}
		if _, ok := cookie(t, other, renewed); !ok {
			t.Errorf("node %d does not accept the cookie that it gave with BADCOOKIE", i)
		}
	}
}

// TestCookiesRefused shows that a bad file of secrets changes nothing, is said with its place, and holds nothing up.
func TestCookiesRefused(t *testing.T) {
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(1)})
	cfg.Cookies = node.Cookies{SecretFile: filepath.Join(filepath.Dir(cfg.Zones), "cookies.txt"), Require: true}
	var log logText
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	secrets := func(text string) {
		write(t, filepath.Dir(cfg.Zones), map[string]string{"cookies.txt": text})
	}
	secrets("no secret\n")
	if n, err := node.New(cfg); err == nil || !strings.Contains(err.Error(), "cookies.txt:1:1: error: a secret is 32 hex digits") {
		t.Fatalf("a node starts with a bad file: %v, %v", n, err)
	}
	secrets(secretA + "\n" + secretB + "\n")
	n, _ := run(t, cfg)
	given, _ := cookie(t, n, cookieClient)
	for name, text := range map[string]string{"short": secretB + "\n" + secretC[1:], "empty": "", "three": secretA + "\n" + secretB + "\n" + secretC} {
		secrets(text)
		write(t, cfg.Zones, map[string]string{"example.com.zone": zoneText + "t IN TXT " + name + "\n"})
		load, err := n.Reload(context.Background(), "test")
		if err != nil || load.Errors != 1 || load.Result == "refused" || !strings.HasSuffix(load.Findings[0].File, "cookies.txt") {
			t.Errorf("%s: %+v, %v; want the zone loaded and an error of the secrets", name, load, err)
		}
		if _, ok := cookie(t, n, given); !ok {
			t.Errorf("%s: the secrets before it are not used any more", name)
		}
		if r := ask(t, n, "t.example.com.", dns.TypeTXT, ""); len(r.Answer) != 1 || !strings.Contains(r.Answer[0].String(), name) {
			t.Errorf("%s: the zone beside it is not served: %v", name, r.Answer)
		}
		if text := status(t, n); !strings.Contains(text, `"refused":"`) || strings.Count(text, "cookies.txt") < 2 {
			t.Errorf("%s: the status does not say so: %s", name, text)
		} else {
			hides(t, text)
		}
	}
	if err := os.Remove(cfg.Cookies.SecretFile); err != nil {
		t.Fatal(err)
	}
	if load, err := n.Reload(context.Background(), "test"); err != nil || load.Errors != 1 {
		t.Errorf("a file that went: %+v, %v", load, err)
	}
	if _, ok := cookie(t, n, given); !ok {
		t.Error("a file that went took the secrets along")
	}
	// A bad zone does not hold up the secrets.
	secrets(secretC + "\n" + secretA + "\n")
	write(t, cfg.Zones, map[string]string{"example.com.zone": "bad"})
	if load, err := n.Reload(context.Background(), "test"); err != nil || load.Result != "refused" {
		t.Errorf("a bad zone: %+v, %v", load, err)
	}
	if renewed, ok := cookie(t, n, given); !ok || renewed == given {
		t.Errorf("beside a bad zone, a cookie of the second secret is answered %s, %t; want a new one", renewed, ok)
	}
	if text := status(t, n); strings.Contains(text, `"refused":"`+cfg.Cookies.SecretFile) {
		t.Errorf("the status still says that the file is refused: %s", text)
	}
	hides(t, log.text.String())
}

// status is the API's document.
func status(t *testing.T, n *node.Node) string {
	t.Helper()
	r, err := http.Get("http://" + n.APIAddr().String() + "/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer r.Body.Close()
	var text strings.Builder
	if err := r.Write(&text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// TestCookiesWatched shows that a changed file of secrets is taken up by itself, where it is written and where it is mounted.
func TestCookiesWatched(t *testing.T) {
	dir := t.TempDir()
	mount(t, dir, "..1", map[string]string{"cookies.txt": secretA})
	if err := os.Symlink("..data/cookies.txt", filepath.Join(dir, "cookies.txt")); err != nil {
		t.Fatal(err)
	}
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(1)})
	cfg.Cookies = node.Cookies{SecretFile: filepath.Join(dir, "cookies.txt"), Require: true}
	n, _ := run(t, cfg)
	accepted := func(with string) func() bool {
		return func() bool {
			_, ok := cookie(t, n, with)
			return ok
		}
	}
	old, _ := cookie(t, n, cookieClient)
	mount(t, dir, "..2", map[string]string{"cookies.txt": secretB})
	eventually(t, "a mounted file", func() bool { return !accepted(old)() })
	write(t, filepath.Join(dir, "..2"), map[string]string{"cookies.txt": secretC + "\n" + secretA})
	eventually(t, "a changed file", accepted(old))
}

// TestCookiesRestart shows that cookies are on without any word of them, and hold over a restart by the secret in the state folder.
func TestCookiesRestart(t *testing.T) {
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(1)})
	cfg.Cookies.Require = true
	n, stop := run(t, cfg)
	given, _ := cookie(t, n, cookieClient)
	if raw, err := hex.DecodeString(given[16:24]); err != nil || raw[0] != 1 {
		t.Errorf("a server cookie of version %x", raw)
	}
	if text := status(t, n); !strings.Contains(text, `"from":"state"`) {
		t.Errorf("the status has no word of the secret: %s", text)
	}
	stop()
	n, stop = run(t, cfg)
	if _, ok := cookie(t, n, given); !ok {
		t.Error("a cookie does not hold over a restart")
	}
	stop()
	cfg.State = ""
	n, stop = run(t, cfg)
	if _, ok := cookie(t, n, given); ok {
		t.Error("a cookie holds though its secret is nowhere")
	}
	if text := status(t, n); !strings.Contains(text, `"from":"memory"`) {
		t.Errorf("the status has no word of the secret: %s", text)
	}
	stop()
	cfg.Cookies = node.Cookies{Off: true}
	n, _ = run(t, cfg)
	m := new(dns.Msg).SetQuestion("example.com.", dns.TypeSOA)
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookieClient})
	r, err := dns.Exchange(m, n.Addrs()[0].String())
	if err != nil || r.IsEdns0() == nil || len(r.IsEdns0().Option) != 0 {
		t.Errorf("cookies are off, and a query with one gets %v, %v", r, err)
	}
	if text := status(t, n); !strings.Contains(text, `"from":"off"`) {
		t.Errorf("the status has no word of it: %s", text)
	}
}
