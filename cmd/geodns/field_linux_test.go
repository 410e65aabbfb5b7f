package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"geodns/internal/dnstest"
)

const (
	// fieldLimit bounds the whole field test; it takes seconds.
	fieldLimit = 2 * time.Minute
	// fieldToolLimit bounds one run of a tool.
	fieldToolLimit = 30 * time.Second
	// fieldInside says to a process that it is in the namespace.
	fieldInside = "GEODNS_FIELD_INSIDE"
)

// The addresses of the field's name servers: the parents' (the root, com, test and what tools look up beside) and the children's,
// which are under test.
var (
	fieldParents  = []string{"203.0.113.1", "198.51.100.1", "2001:db8:a::1", "2001:db8:b::1"}
	fieldChildren = []string{
		"192.0.2.53", "198.51.100.53", "2001:db8:53::1", "2001:db8:53::2", // of zones/example.com.zone
		"203.0.113.53", "192.0.2.54", "2001:db8:1::53", "2001:db8:2::53", // of testdata/field/child
	}
	// fieldTargets are those of zones/www.yaml.
	fieldTargets = []string{"127.0.0.11:8080", "127.0.0.12:8080", "127.0.0.13:8080"}
)

// exemption is a finding of a tool that is not ours to mend.
type exemption struct {
	tool string
	tag  string         // the tool's word for it
	text *regexp.Regexp // what is with it: the arguments as JSON, or the description
	why  string
}

// exemptions is all of them. One that no run needs is a mistake.
func exemptions() []exemption {
	return []exemption{
		{
			"zonemaster", "NAMESERVER_IP_PRIVATE_NETWORK", regexp.MustCompile(`"reference":"\[RFC(5737|3849)\]"`),
			"the sample and this test use addresses of documentation; no others are free for it",
		},
	}
}

// TestField delegates zones to two servers of ours, in a network of their own, and has zonemaster-cli and dnsviz look for faults.
func TestField(t *testing.T) {
	if os.Getenv(fieldInside) != "" {
		lookAtField(t)
		return
	}
	for _, program := range []string{"ip", "zonemaster-cli", "dnsviz"} {
		dnstest.NeedPeer(t, program)
	}
	attributes, err := fieldNamespace(t.Context())
	if err != nil {
		t.Skipf("no namespace can be made: %v", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), fieldLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "-test.run=^TestField$", "-test.v", "-test.count=1")
	cmd.SysProcAttr = attributes
	cmd.Env = append(os.Environ(), fieldInside+"=1")
	out, err := cmd.CombinedOutput()
	t.Logf("inside:\n%s", out)
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestField (")) {
		t.Errorf("in the namespace: %v", err)
	}
}

// fieldNamespace finds out how to make a process that has a network of its own. It has its process ids as well: when it ends, so do
// all that it started.
func fieldNamespace(ctx context.Context) (*syscall.SysProcAttr, error) {
	const own = syscall.CLONE_NEWNET | syscall.CLONE_NEWPID
	var errs []error
	for _, attributes := range []*syscall.SysProcAttr{
		{Cloneflags: own, Pdeathsig: syscall.SIGKILL},
		{
			Cloneflags:  own | syscall.CLONE_NEWUSER,
			Pdeathsig:   syscall.SIGKILL,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		},
	} {
		trial := exec.CommandContext(ctx, "ip", "link", "set", "lo", "up")
		trial.SysProcAttr = attributes
		err := trial.Run()
		if err == nil {
			return attributes, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// lookAtField is what runs in the namespace.
func lookAtField(t *testing.T) {
	t.Helper()
	f := newField(t)
	sample := []string{"ns1.example.com/192.0.2.53", "ns1.example.com/2001:db8:53::1", "ns2.example.com/198.51.100.53", "ns2.example.com/2001:db8:53::2"}
	static := []string{"ns1.static.test/203.0.113.53", "ns1.static.test/2001:db8:1::53", "ns2.static.test/192.0.2.54", "ns2.static.test/2001:db8:2::53"}
	t.Run("by default", func(t *testing.T) {
		f.startChildren(t, "")
		for _, run := range []struct {
			name, zone string
			servers    []string
		}{
			{"sample", "example.com", nil},
			{"sample undelegated", "example.com", sample},
			{"static", "static.test", nil},
			{"static undelegated", "static.test", static},
			{"zone below", "sub.static.test", nil},
		} {
			t.Run("zonemaster "+run.name, func(t *testing.T) { f.judge(t, f.zonemaster(t, run.zone, run.servers)) })
		}
		t.Run("dnsviz", func(t *testing.T) { f.judge(t, f.dnsviz(t, false, fieldNames()...)) })
		// What finds no fault anywhere would pass all of the above.
		t.Run("faults are found", func(t *testing.T) {
			wantFinding(t, f.zonemaster(t, "broken.test", nil), "EXTRA_NAME_PARENT")
			wantFinding(t, f.dnsviz(t, false, "broken.test"), "NO_ADDRESS_FOR_NS_NAME")
		})
	})
	// The cookies that dnsviz sends then are none, a wrong one and a right one, and the first two are to be refused.
	t.Run("cookies required", func(t *testing.T) {
		f.startChildren(t, "cookies: {require: true}\n")
		t.Run("zonemaster", func(t *testing.T) { f.judge(t, f.zonemaster(t, "example.com", nil)) })
		t.Run("dnsviz", func(t *testing.T) { f.judge(t, f.dnsviz(t, true, "example.com", "www.example.com", "static.test")) })
	})
	for i, e := range exemptions() {
		if !f.used[i] {
			t.Errorf("nothing needs the exemption of %s %s", e.tool, e.tag)
		}
	}
}

// fieldNames is what dnsviz is to look at: names of all kinds that the zones have.
func fieldNames() []string {
	return []string{
		"example.com", "www.example.com", "store.example.com", "ns1.example.com", "mail.example.com", "no.example.com",
		"static.test", "www.static.test", "any.wild.static.test", "alias.static.test", "chain.static.test", "old.static.test",
		"x.old.static.test", "below.static.test", "deep.below.static.test", "x.deep.below.static.test", "long.static.test",
		"_sip._udp.static.test", "_25._tcp.mail.static.test", "no.static.test", "sub.static.test", "www.sub.static.test",
	}
}

// wantFinding wants an error among findings.
func wantFinding(t *testing.T, findings []finding, tag string) {
	t.Helper()
	if !slices.ContainsFunc(findings, func(g finding) bool { return g.level == "ERROR" && g.tag == tag }) {
		t.Errorf("no %s for a zone that is delegated wrongly, but %v", tag, findings)
	}
}

// field is the servers and the files that tools want.
type field struct {
	dir   string
	zones string // of the children
	used  []bool // by exemption
}

// newField sets the network up, starts the parents and the targets.
func newField(t *testing.T) *field {
	t.Helper()
	data, err := filepath.Abs("testdata/field")
	if err != nil {
		t.Fatal(err)
	}
	fieldNetwork(t)
	for _, at := range fieldTargets {
		fieldTarget(t, at)
	}
	// The zones under test are those of the sample and of this test: a folder of both.
	zones := t.TempDir()
	for _, from := range []string{"../../zones", filepath.Join(data, "child")} {
		if err := os.CopyFS(zones, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	startField(t, filepath.Join(data, "parent"), port53(fieldParents), "node: parent\n")
	return &field{dir: data, zones: zones, used: make([]bool, len(exemptions()))}
}

// startChildren starts the servers under test, until the test ends.
func (f *field) startChildren(t *testing.T, settings string) {
	t.Helper()
	startField(t, f.zones, port53(fieldChildren), "node: child\nhealth: {allow: [127.0.0.0/8]}\n"+settings)
}

// fieldNetwork gives the namespace's loopback all addresses, and routes to everywhere: nothing is there, but dnsviz asks nobody
// where there is no route to the world.
func fieldNetwork(t *testing.T) {
	t.Helper()
	var batch strings.Builder
	batch.WriteString("link set lo up\n")
	for _, a := range slices.Concat(fieldParents, fieldChildren) {
		addr := netip.MustParseAddr(a)
		fmt.Fprintf(&batch, "addr add %s/%d dev lo", addr, addr.BitLen())
		if addr.Is6() {
			batch.WriteString(" nodad") // at once: nobody else can have it
		}
		batch.WriteString("\n")
	}
	batch.WriteString("route add 0.0.0.0/0 dev lo\nroute add ::/0 dev lo\n")
	cmd := exec.CommandContext(t.Context(), "ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(batch.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("setting the network up: %v\n%s", err, out)
	}
}

// fieldTarget is a target that is well.
func fieldTarget(t *testing.T, at string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }),
		ReadHeaderTimeout: time.Second,
	}
	go server.Serve(listener) //nolint:errcheck // ends with Close below, and has nothing to say
	t.Cleanup(func() { server.Close() })
}

// port53 is where name servers are.
func port53(addrs []string) (list []netip.AddrPort) {
	for _, a := range addrs {
		list = append(list, netip.AddrPortFrom(netip.MustParseAddr(a), 53))
	}
	return list
}

// finding is what a tool says.
type finding struct {
	tool, level, tag, text string
}

// judge wants nothing worse than a notice but what is exempted.
func (f *field) judge(t *testing.T, findings []finding) {
	t.Helper()
	exempted := map[string]int{}
	for _, g := range findings {
		if g.level != "WARNING" && g.level != "ERROR" && g.level != "CRITICAL" {
			if g.level == "NOTICE" {
				t.Logf("%s %s %s %s", g.tool, g.level, g.tag, g.text)
			}
			continue
		}
		i := slices.IndexFunc(exemptions(), func(e exemption) bool {
			return e.tool == g.tool && e.tag == g.tag && e.text.MatchString(g.text)
		})
		if i < 0 {
			t.Errorf("%s %s %s %s", g.tool, g.level, g.tag, g.text)
			continue
		}
		f.used[i] = true
		exempted[fmt.Sprintf("%s %s %s: %s", g.tool, g.level, g.tag, exemptions()[i].why)]++
	}
	for what, n := range exempted {
		t.Logf("%d times exempted: %s", n, what)
	}
}

// zonemasterSeen is what zonemaster says of a zone when its tests have come to something, from the first to the last.
var zonemasterSeen = []string{
	"HAS_PARENT", "HAS_NAMESERVERS", "NAMESERVERS_IP_WITH_REVERSE", "IPV4_DIFFERENT_ASN", "IPV6_DIFFERENT_ASN", "ONE_SOA_SERIAL", "ONE_NS_SET",
	"ADDRESSES_MATCH", "ENOUGH_IPV4_NS_DEL", "ENOUGH_IPV6_NS_DEL", "REFERRAL_SIZE_OK", "ARE_AUTHORITATIVE", "NAMES_MATCH", "NO_RECURSOR",
	"EDNS0_SUPPORT", "AXFR_FAILURE", "SAME_SOURCE_IP", "CAN_BE_RESOLVED", "NO_UPWARD_REFERRAL", "QNAME_CASE_SENSITIVE", "CASE_QUERIES_RESULTS_OK",
	"NAMESERVER_SYNTAX_OK", "MX_SYNTAX_OK", "MNAME_IS_NOT_CNAME", "Z09_MX_DATA", "ONE_SOA",
}

// zonemaster runs all tests of zonemaster on a zone: as it is delegated, or by what the servers (name/address) say.
func (f *field) zonemaster(t *testing.T, zone string, servers []string) (findings []finding) {
	t.Helper()
	args := []string{
		"--profile", filepath.Join(f.dir, "zonemaster.json"), "--hints", filepath.Join(f.dir, "root.hints"),
		"--level", "INFO", "--json-stream", "--ipv4", "--ipv6", "--no-progress",
	}
	for _, s := range servers {
		args = append(args, "--ns", s)
	}
	scanner := bufio.NewScanner(bytes.NewReader(runTool(t, nil, "zonemaster-cli", append(args, zone)...)))
	missing := slices.Clone(zonemasterSeen)
	for scanner.Scan() {
		var m struct {
			Level, Tag string
			Args       json.RawMessage
		}
		if !bytes.HasPrefix(scanner.Bytes(), []byte("{")) {
			continue // which profile it loads
		}
		if err := json.Unmarshal(scanner.Bytes(), &m); err != nil {
			t.Fatalf("zonemaster says %q: %v", scanner.Text(), err)
		}
		findings = append(findings, finding{"zonemaster", m.Level, m.Tag, string(m.Args)})
		missing = slices.DeleteFunc(missing, func(tag string) bool { return tag == m.Tag })
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
	if len(missing) > 0 && zone != "broken.test" {
		t.Errorf("zonemaster does not come to say %v of %s", missing, zone)
	}
	return findings
}

// dnsviz probes names from the root on, with all its queries of EDNS, and has what it got examined; with cookies, whether they
// are insisted on.
func (f *field) dnsviz(t *testing.T, cookies bool, names ...string) []finding {
	t.Helper()
	grok := []string{"grok", "-l", "info"}
	if cookies {
		grok = append(grok, "--enforce-cookies")
	}
	root := ".:a.root.test=203.0.113.1,a.root.test=[2001:db8:a::1],b.root.test=198.51.100.1,b.root.test=[2001:db8:b::1]"
	probed := runTool(t, nil, "dnsviz", append([]string{"probe", "-d", "1", "-A", "-a", ".", "-E", "-n", "-x", root, "-t", "2"}, names...)...)
	var all map[string]any
	if err := json.Unmarshal(runTool(t, probed, "dnsviz", grok...), &all); err != nil {
		t.Fatalf("reading what dnsviz says: %v", err)
	}
	for _, name := range names {
		if _, ok := all[name+"."]; !ok {
			t.Errorf("dnsviz does not speak of %s", name)
		}
	}
	var findings []finding
	dnsvizFindings(all, "", &findings)
	return findings
}

// dnsvizFindings collects the errors and warnings of a tree.
func dnsvizFindings(node any, at string, findings *[]finding) {
	switch node := node.(type) {
	case map[string]any:
		for key, value := range node {
			level := map[string]string{"errors": "ERROR", "warnings": "WARNING"}[key]
			list, isList := value.([]any)
			if level == "" || !isList {
				dnsvizFindings(value, at+"/"+key, findings)
				continue
			}
			for _, item := range list {
				tag := "?"
				if m, ok := item.(map[string]any); ok {
					tag = fmt.Sprint(m["code"])
				}
				text, err := json.Marshal(item)
				if err != nil {
					text = []byte(err.Error())
				}
				*findings = append(*findings, finding{"dnsviz", level, tag, at + ": " + string(text)})
			}
		}
	case []any:
		for i, value := range node {
			dnsvizFindings(value, fmt.Sprintf("%s/%d", at, i), findings)
		}
	}
}

// runTool runs a tool and gives what it writes.
func runTool(t *testing.T, in []byte, name string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), fieldToolLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &errOut
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, &errOut)
	}
	return out.Bytes()
}
