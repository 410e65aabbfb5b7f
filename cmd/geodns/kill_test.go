package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"geodns/internal/dnstest"
	"geodns/pkg/api"
	"geodns/pkg/operator"
)

const (
	// killTargets is how many targets, and leases over one each, there are.
	killTargets = 8
	// killWithin is within what time after its first change a server is killed: some dozen more.
	killWithin = 60 * time.Millisecond
)

// acked is what a server acknowledged of one lease, and what it may have done beyond that before it was killed.
type acked struct {
	reason  string // "": ended, or never made
	pending bool   // a change was asked for and not acknowledged
	asked   string // what reason would be by that
}

// killed is a server that is killed again and again, and what it said.
type killed struct {
	dir    string
	dns    netip.AddrPort
	url    string
	r      *rand.Rand
	leases [killTargets]acked
	record map[uint64]string // reasons of acknowledged entries, "end" for ends
	puts   int
}

// TestKilled kills a server at random moments while leases are made and ended: whatever it acknowledged is in effect from its next
// start on, in its answers too, and in its audit log, which holds.
func TestKilled(t *testing.T) {
	rounds := 12
	if os.Getenv("GEODNS_PROVE") != "" {
		rounds = 1000
	}
	seed := dnstest.Seed(t)
	k := newKilled(t, rand.New(rand.NewPCG(seed, 0)))
	for range rounds {
		k.round(t)
	}
	report, err := operator.VerifyLog(filepath.Join(k.dir, "state", "audit"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Findings {
		t.Error(f)
	}
	k.start(t, func(context.Context, func()) { k.compareAudit(t) })
	t.Logf("%d changes acknowledged over %d kills", len(k.record), rounds)
}

// newKilled writes the files of a server.
func newKilled(t *testing.T, r *rand.Rand) *killed {
	t.Helper()
	at := fieldPort(t)
	k := &killed{dir: t.TempDir(), dns: fieldPort(t), url: "http://" + at.String(), r: r, record: map[uint64]string{}}
	var targets strings.Builder
	for i := range killTargets {
		fmt.Fprintf(&targets, "      - {name: t%d, region: r, values: [192.0.2.%d]}\n", i, i+1)
	}
	for name, text := range map[string]string{
		"geodns.yaml": fmt.Sprintf("listen: [%q]\napi: {listen: %q}\nworkers: 1\n", k.dns.String(), at.String()),
		"zones/example.com.zone": "@ 60 IN SOA ns1 hostmaster 1 7200 1800 259200 300\n@ 60 IN NS ns1\nns1 60 IN A 192.0.2.53\n" +
			"all 60 IN STEER all\n",
		"zones/p.yaml": "regions: [{name: r}]\npools:\n  - name: p\n    targets:\n" + targets.String() + "      - {name: last, region: r, values: [192.0.2.99]}\n" +
			"policies: [{name: all, answers: 16, rules: [{name: all, pool: p}], all_down: serve-all}]\n",
	} {
		path := filepath.Join(k.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

// round starts the server, holds it to what it acknowledged before, changes leases, and kills it in the middle.
func (k *killed) round(t *testing.T) {
	t.Helper()
	k.start(t, func(ctx context.Context, kill func()) {
		k.compare(t)
		if !k.change(ctx, t) {
			t.Fatal("the server is gone before it was killed")
		}
		kill()
		for k.change(ctx, t) {
		}
	})
}

// start runs the server while do runs, which may have it killed within killWithin; it must end when its context does.
func (k *killed) start(t *testing.T, do func(ctx context.Context, kill func())) {
	t.Helper()
	cmd := exec.Command("geodns", "serve", "--config", filepath.Join(k.dir, "geodns.yaml")) //nolint:noctx // it is killed below
	var log syncBuffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it was killed
	}()
	defer func() {
		_ = cmd.Process.Kill()
		<-ended
		http.DefaultClient.CloseIdleConnections() // those to this server
		if t.Failed() {
			t.Logf("the server's log:\n%s", &log)
		}
	}()
	awaitField(t, k.dns, ended)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	do(ctx, func() {
		time.AfterFunc(time.Duration(k.r.Int64N(int64(killWithin))), func() {
			_ = cmd.Process.Kill()
			<-ended
			cancel()
		})
	})
}

// change asks for a random change of a lease, and notes what came of it. False: the server is gone.
func (k *killed) change(ctx context.Context, t *testing.T) bool {
	t.Helper()
	i := k.r.IntN(killTargets)
	l := &k.leases[i]
	asked := ""
	url, method, body := fmt.Sprintf("%s/v1/leases/l%d", k.url, i), http.MethodDelete, ""
	if l.reason == "" || k.r.IntN(3) > 0 {
		k.puts++
		asked = fmt.Sprintf("reason %d", k.puts)
		method = http.MethodPut
		body = fmt.Sprintf(`{"action": "drain", "kind": "target", "name": "p/t%d", "reason": %q, "for_seconds": 3600}`, i, asked)
	}
	l.pending, l.asked = true, asked
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return false
	}
	var change api.LeaseChange
	if err := json.Unmarshal(text, &change); err != nil || response.StatusCode != http.StatusOK || !change.Changed || change.Audit == 0 {
		t.Fatalf("%s %s: %s: %s", method, body, response.Status, text)
	}
	*l = acked{reason: asked}
	k.record[change.Audit] = l.reason
	return true
}

// compare holds what the server says and answers against what it acknowledged.
func (k *killed) compare(t *testing.T) {
	t.Helper()
	var document struct{ Leases []api.Lease }
	k.get(t, "/v1/leases", &document)
	got := map[string]string{}
	for _, l := range document.Leases {
		got[l.ID] = l.Reason
	}
	client := dns.Client{Timeout: fieldStart}
	answer, _, err := client.Exchange(new(dns.Msg).SetQuestion("all.example.com.", dns.TypeA), k.dns.String())
	if err != nil {
		t.Fatal(err)
	}
	for i := range k.leases {
		l := &k.leases[i]
		reason := got[fmt.Sprintf("l%d", i)]
		if reason != l.reason && (!l.pending || reason != l.asked) {
			t.Fatalf("lease l%d: %q after the kill; acknowledged was %q, pending %t %q", i, reason, l.reason, l.pending, l.asked)
		}
		*l = acked{reason: reason}
		if strings.Contains(answer.String(), fmt.Sprintf("192.0.2.%d\n", i+1)) != (reason == "") {
			t.Fatalf("lease l%d: %q, and the answer is\n%s", i, reason, answer)
		}
	}
}

// compareAudit looks for every acknowledged entry.
func (k *killed) compareAudit(t *testing.T) {
	t.Helper()
	found := map[uint64]string{}
	entries := entriesOf(t, filepath.Join(k.dir, "state", "audit"))
	for _, e := range entries {
		var after operator.Lease
		if err := json.Unmarshal(e.After, &after); err == nil && e.Kind == operator.EntryLeasePut {
			found[e.Seq] = after.Reason
		} else if e.Kind == operator.EntryLeaseEnd {
			found[e.Seq] = ""
		}
	}
	for seq, reason := range k.record {
		if got, ok := found[seq]; !ok || got != reason {
			t.Errorf("entry %d of %q was acknowledged, and the log has %q (%t)", seq, reason, got, ok)
		}
	}
}

// entriesOf reads a log's files.
func entriesOf(t *testing.T, dir string) []operator.Entry {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var out []operator.Entry
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			var e operator.Entry
			if err := json.Unmarshal(line, &e); err == nil { // the last may be under way
				out = append(out, e)
			}
		}
	}
	return out
}

// get asks for a document.
func (k *killed) get(t *testing.T, path string, document any) {
	t.Helper()
	response, err := http.Get(k.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v: %s", path, response.Status, err, text)
	}
	if err := json.Unmarshal(text, document); err != nil {
		t.Fatal(err)
	}
}
