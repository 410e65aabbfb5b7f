package dnstest

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// peerIdentity is what every peer calls itself: as id.server, and in the NSID option.
const peerIdentity = "peer"

// CookieSecret is what every peer makes its server cookies with that lets one be set (RFC 9018; gdnsd makes its own kind), in hex.
const CookieSecret = "e5e973e5a6b2a43f48e7dc849e37bfcf"

// Every peer is set up alike: one worker, no rate limit, no transfers, no additional records but those that are needed, and
// all that its version knows of cookies, NSID and client subnet. Its zone files come by origin, in any order.

// StartNSD starts NSD with zone files by origin, and stops it when the test ends.
func StartNSD(t testing.TB, zones map[string]string) *Peer {
	t.Helper()
	program, dir, port := NeedPeer(t, "nsd"), t.TempDir(), freePort(t)
	var conf strings.Builder
	fmt.Fprintf(&conf, "server:\n  ip-address: 127.0.0.1@%d\n  server-count: 1\n  zonesdir: %q\n  zonelistfile: %q\n  xfrdfile: %q\n  xfrdir: %q\n"+
		"  pidfile: %q\n  username: \"\"\n  database: \"\"\n  minimal-responses: yes\n  rrl-ratelimit: 0\n  round-robin: no\n"+
		"  identity: %s\n  version: %s\n  nsid: ascii_%s\n  answer-cookie: yes\n  cookie-secret: %s\n  cookie-secret-file: %q\n"+
		"remote-control:\n  control-enable: no\n",
		port, dir, dir+"/zone.list", dir+"/xfrd.state", dir, dir+"/nsd.pid", peerIdentity, peerIdentity, peerIdentity, CookieSecret, dir+"/cookies")
	for _, origin := range slices.Sorted(maps.Keys(zones)) {
		fmt.Fprintf(&conf, "zone:\n  name: %q\n  zonefile: %q\n", origin, zones[origin])
	}
	file := filepath.Join(dir, "nsd.conf")
	return startPeer(t, setup{
		name: "nsd", program: program, version: []string{"-v"}, dir: dir, port: port, conf: conf.String(), file: file,
		args: []string{"-d", "-c", file},
	})
}

// StartKnot starts Knot DNS with zone files by origin, and stops it when the test ends. Asked with a cookie that it did not
// make, it answers BADCOOKIE and nothing else.
func StartKnot(t testing.TB, zones map[string]string) *Peer {
	t.Helper()
	program, dir, port := NeedPeer(t, "knotd"), t.TempDir(), freePort(t)
	var conf strings.Builder
	fmt.Fprintf(&conf, "server:\n  rundir: %q\n  listen: 127.0.0.1@%d\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n"+
		"  identity: %q\n  version: %q\n  nsid: %q\n  edns-client-subnet: on\n"+
		"log:\n  - target: stderr\n    any: warning\ndatabase:\n  storage: %q\nmod-cookies:\n  - id: default\n    secret: 0x%s\n"+
		"template:\n  - id: default\n    storage: %q\n    zonefile-sync: -1\n    zonefile-load: whole\n    journal-content: none\n    semantic-checks: off\n"+
		"    global-module: mod-cookies/default\nzone:\n", dir, port, peerIdentity, peerIdentity, peerIdentity, dir, CookieSecret, dir)
	for _, origin := range slices.Sorted(maps.Keys(zones)) {
		fmt.Fprintf(&conf, "  - domain: %q\n    file: %q\n", origin, zones[origin])
	}
	file := filepath.Join(dir, "knot.conf")
	return startPeer(t, setup{
		name: "knotd", program: program, version: []string{"--version"}, dir: dir, port: port, conf: conf.String(), file: file,
		args: []string{"-c", file},
	})
}

// StartBIND starts BIND's named with zone files by origin, and stops it when the test ends. It checks no more of a zone than
// it must to serve it.
func StartBIND(t testing.TB, zones map[string]string) *Peer {
	t.Helper()
	dir, port := t.TempDir(), freePort(t)
	// Where AppArmor is in force, Debian's profile for /usr/sbin/named keeps it from reading a test's folder.
	program := copyProgram(t, NeedPeer(t, "named"), dir)
	var conf strings.Builder
	fmt.Fprintf(&conf, "options {\n  directory %q;\n  listen-on port %d { 127.0.0.1; };\n  listen-on-v6 { none; };\n  pid-file none;\n  session-keyfile none;\n"+
		"  lock-file none;\n  recursion no;\n  minimal-responses yes;\n  dnssec-validation no;\n  notify no;\n  empty-zones-enable no;\n"+
		"  allow-transfer { none; };\n  check-names primary ignore;\n  check-integrity no;\n  check-wildcard no;\n  check-mx ignore;\n"+
		"  check-sibling no;\n  check-spf ignore;\n  check-dup-records ignore;\n  check-mx-cname ignore;\n  check-srv-cname ignore;\n"+
		"  server-id %q;\n  hostname %q;\n  version %q;\n  answer-cookie yes;\n  cookie-secret \"%s\";\n};\ncontrols { };\n", dir, port, peerIdentity, peerIdentity, peerIdentity,
		CookieSecret)
	for _, origin := range slices.Sorted(maps.Keys(zones)) {
		fmt.Fprintf(&conf, "zone %q { type primary; file %q; };\n", origin, zones[origin])
	}
	file := filepath.Join(dir, "named.conf")
	return startPeer(t, setup{
		name: "named", program: program, version: []string{"-v"}, dir: dir, port: port, conf: conf.String(), file: file,
		args: []string{"-g", "-n", "1", "-c", file}, ready: "all zones loaded",
	})
}

// StartGdnsd starts gdnsd with zone files by origin, and stops it when the test ends. It follows CNAME chains, which it would
// not by default. It reads master files of its own kind: no DNAME, no DS but as TYPE43, no zone inside another.
func StartGdnsd(t testing.TB, zones map[string]string) *Peer {
	t.Helper()
	program, dir, port := NeedPeer(t, "gdnsd"), t.TempDir(), freePort(t)
	folder := filepath.Join(dir, "zones")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for origin, file := range zones { // a zone file's name is its origin there
		name := strings.ReplaceAll(strings.TrimSuffix(origin, "."), "/", "@")
		if name == "" {
			name = "ROOT_ZONE"
		}
		if err := os.Symlink(file, filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	conf := fmt.Sprintf("options => {\n listen => { 127.0.0.1:%d => { udp_threads = 1, tcp_threads = 1 } }\n run_dir = %q\n state_dir = %q\n"+
		" nsid_ascii = %q\n chaos_response = %q\n edns_client_subnet = true\n experimental_no_chain = false\n}\n",
		port, dir+"/run", dir+"/state", peerIdentity, peerIdentity)
	return startPeer(t, setup{
		name: "gdnsd", program: program, version: []string{"-V"}, dir: dir, port: port, conf: conf, file: filepath.Join(dir, "config"),
		args: []string{"-c", dir, "start"},
	})
}

// StartPowerDNS starts PowerDNS with its bind backend and zone files by origin, and stops it when the test ends. Its caches
// are off: an answer is made for its own query.
func StartPowerDNS(t testing.TB, zones map[string]string) *Peer {
	t.Helper()
	program, dir, port := NeedPeer(t, "pdns_server"), t.TempDir(), freePort(t)
	var named strings.Builder
	for _, origin := range slices.Sorted(maps.Keys(zones)) {
		fmt.Fprintf(&named, "zone %q { type master; file %q; };\n", origin, zones[origin])
	}
	if err := os.WriteFile(filepath.Join(dir, "named.conf"), []byte(named.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	conf := fmt.Sprintf("launch=bind\nbind-config=%s/named.conf\nbind-check-interval=0\nlocal-address=127.0.0.1\nlocal-port=%d\n"+
		"socket-dir=%s\nwrite-pid=no\nreceiver-threads=1\ndistributor-threads=1\nwebserver=no\napi=no\nloglevel=4\nsecurity-poll-suffix=\n"+
		"cache-ttl=0\nquery-cache-ttl=0\nnegquery-cache-ttl=0\ndisable-axfr=yes\nallow-axfr-ips=\n8bit-dns=yes\ndname-processing=yes\n"+
		"edns-subnet-processing=yes\nedns-cookie-secret=%s\nserver-id=%s\nversion-string=%s\n",
		dir, port, dir, CookieSecret, peerIdentity, peerIdentity)
	return startPeer(t, setup{
		name: "pdns_server", program: program, version: []string{"--version"}, dir: dir, port: port, conf: conf, file: filepath.Join(dir, "pdns.conf"),
		args: []string{"--config-dir=" + dir, "--daemon=no", "--guardian=no", "--disable-syslog"},
	})
}

// copyProgram copies a program into dir.
func copyProgram(t testing.TB, path, dir string) string {
	t.Helper()
	from, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(dir, filepath.Base(path)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = io.Copy(to, from); err == nil {
		err = to.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return to.Name()
}
