package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"geodns/pkg/api"
	"geodns/pkg/operator"
)

// TestAuditVerify covers a log that holds, by the folder's key and by a given one, and one that was changed.
func TestAuditVerify(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	log, err := operator.OpenLog(operator.LogConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = log.Append(operator.Entry{Kind: operator.EntryLoad, Who: "geodns", Object: "zones", Why: "reload"}); err != nil {
		t.Fatal(err)
	}
	key := log.Status().PublicKey
	if err = log.Close(); err != nil {
		t.Fatal(err)
	}
	check := func(name string, args []string, code int, wants ...string) {
		t.Helper()
		var out, errs strings.Builder
		if got := run(t.Context(), append([]string{"audit", "verify", dir}, args...), &out, &errs); got != code {
			t.Errorf("%s: exit code %d, want %d", name, got, code)
		}
		for _, want := range wants {
			if !regexp.MustCompile("(?m)" + want).MatchString(out.String() + errs.String()) {
				t.Errorf("%s: no %q in\n%s%s", name, want, &out, &errs)
			}
		}
	}
	check("the folder's key", nil, 0, `^\d+ entries read, 1 to \d+, in 1 file of \d+ bytes$`, `^signed up to entry \d+ at 2.*Z; 0 after it`, "^key "+regexp.QuoteMeta(key)+", from the folder")
	check("a given key", []string{"--key", key}, 0, "^key .*, as given$")
	check("a document", []string{"-o", "yaml"}, 0, "^folder: ", "^unsigned_total: 0$", `^findings: \[\]$`)
	check("no key", []string{"--key", "nonsense"}, 2, "^geodns: --key: ")

	segments, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("%v %v", segments, err)
	}
	text, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	if err = os.WriteFile(segments[0], bytes.Replace(text, []byte(`"reload"`), []byte(`"unload"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	check("changed", nil, 1, `\.jsonl:\d+: `, "^geodns: the log in .* does not hold: ")
	dir = filepath.Join(dir, "none")
	check("nothing there", nil, 1, "^geodns: ")
}

// TestAuditShow covers the question and the table.
func TestAuditShow(t *testing.T) {
	document := auditDocument{api.AuditLog{Status: api.AuditStatus{Seq: 19, Failed: "no space left on device"}, Entries: []api.AuditEntry{
		{Seq: 17, Time: at(1), Kind: "lease.put", Who: "ann", Object: "region fra", Why: "kernel", Ticket: "OPS-12", After: map[string]any{"action": "drain"}},
		{Seq: 18, Time: at(2), Kind: "verdict", Who: "checker", Object: "web/fra1", Before: map[string]any{"state": "up"}, After: map[string]any{"state": "down"}},
		{Seq: 19, Time: at(3), Kind: "stop", Who: "geodns"},
		{
			Seq: 20, Time: at(3), Kind: "lease.put", Who: "ann", Object: "pool web", Why: "slow", Before: map[string]any{"action": "set", "admit": 0.5},
			After: map[string]any{"action": "set", "state": "degraded", "admit": 0.2, "expires": "2040-01-02T09:00:00Z", "override": []string{"pool web"}},
		},
		{Seq: 21, Time: at(3), Kind: "lease.end", Who: "ann", Object: "region fra", Why: "done", Before: map[string]any{"action": "drain"}, After: map[string]any{"action": "drain"}},
	}}}
	server := &fakeServer{answers: map[string]answer{"GET /v1/audit": {document: document}}}
	stdout, stderr, code := server.command(t, "audit", "show", "-n", "3", "--after", "16", "--kind", "verdict")
	want := `SEQ  TIME                  KIND       WHO      OBJECT      WHAT AND WHY
17   2040-01-02T01:00:00Z  lease.put  ann      region fra  drain kernel (OPS-12)
18   2040-01-02T02:00:00Z  verdict    checker  web/fra1    up -> down
19   2040-01-02T03:00:00Z  stop       geodns   -           -
20   2040-01-02T03:00:00Z  lease.put  ann      pool web    set degraded, admit 0.2 until 2040-01-02T09:00:00Z, overriding guards, slow
21   2040-01-02T03:00:00Z  lease.end  ann      region fra  drain done
entries cannot be written: no space left on device
`
	if diff := cmp.Diff(want, stdout); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"GET /v1/audit?after=16&kind=verdict&last=3"}, server.asked); diff != "" {
		t.Error(diff)
	}
	if code != 0 || stderr != "" {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if got := auditLine(&api.AuditStatus{Seq: 9, CheckpointSeq: 8, CheckpointAt: at(1), Broken: "entry 3"}); got != "entry 9, signed up to 8 at 2040-01-02T01:00:00Z; BROKEN: entry 3" {
		t.Error(got)
	}
}
