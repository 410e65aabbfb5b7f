package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"geodns/pkg/api"
)

// TestEventLines covers the line of each kind of event.
func TestEventLines(t *testing.T) {
	for _, tt := range []struct {
		e    event
		want string
	}{
		{event{"v-1", "verdict", `{"at":"2040-01-02T01:00:00Z","target":"web/fra1","from":"up","to":"down","reason":"fall","detail":"status 503"}`}, "2040-01-02T01:00:00Z  verdict  web/fra1 up -> down: fall, status 503"},
		{event{"a-1", "lease", `{"kind":"put","who":"ann","lease":{"action":"drain","kind":"region","name":"fra","reason":"kernel","ticket":"OPS-12","updated":"2040-01-02T01:00:00Z","expires":"2040-01-02T03:00:00Z"}}`}, "2040-01-02T01:00:00Z  lease    drain region fra until 2040-01-02T03:00:00Z by ann: kernel (OPS-12)"},
		{event{"a-2", "lease", `{"kind":"end","who":"ann","lease":{"action":"set","state":"down","kind":"tag","name":"blue","ended":"2040-01-02T01:00:00Z","end_reason":"done"}}`}, "2040-01-02T01:00:00Z  lease    set down tag blue ended by ann: done"},
		{event{"a-3", "lease", `{"kind":"over","who":"geodns","lease":{"action":"drain","kind":"tag","name":"blue","ended":"2040-01-02T01:00:00Z"}}`}, "2040-01-02T01:00:00Z  lease    drain tag blue expired"},
		{event{"l-1", "load", `{"result":"loaded","at":"2040-01-02T01:00:00Z","duration_seconds":0.5,"world":"w"}`}, "2040-01-02T01:00:00Z  load     loaded in 0.500 s, world w"},
		{event{"l-2", "load", `{"result":"refused","at":"2040-01-02T01:00:00Z","duration_seconds":0.5,"world":"w","errors_total":2,"warnings_total":1,"findings":[{"severity":"warning","message":"hm"},{"file":"a.zone","line":4,"col":1,"severity":"error","message":"no"}]}`}, "2040-01-02T01:00:00Z  load     refused in 0.500 s, 2 errors, 1 warning: a.zone:4:1: no"},
		{event{"s-1", "swap", `{"at":"2040-01-02T01:00:00Z","generation":7,"world":"w","cause":"verdicts"}`}, "2040-01-02T01:00:00Z  swap     generation 7 by verdicts, world w"},
		{event{"x", "gossip", "{\"a\":1}\x1b[2J"}, "-                     gossip   {\"a\":1}\ufffd[2J"},
		{event{"x", "verdict", "nonsense"}, "-                     verdict  nonsense"},
	} {
		var got strings.Builder
		if err := writeEvent(&page{w: &got}, &tt.e); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want+"\n", got.String()); diff != "" {
			t.Error(diff)
		}
	}
}

// streams is a server whose streams of events are cut after what they have.
type streams struct {
	mu    sync.Mutex
	asked []string // the query and Last-Event-ID of each
	texts []string // of one after the other; then the server is full
}

// ServeHTTP writes the next stream.
func (s *streams) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.URL.RawQuery+" "+r.Header.Get("Last-Event-ID"))
	if len(s.texts) == 0 {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	if s.texts[0] == "" {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprint(w, s.texts[0])
	s.texts = s.texts[1:]
}

// swap is the text of an event.
func swap(n int) string {
	return fmt.Sprintf("id: s-%d\nevent: swap\ndata: {\"generation\":%d,\"cause\":\"load\"}\n\n", n, n)
}

// TestWatch covers a stream that is cut and taken up again, a server that is full for a while, and the ends of a watch.
func TestWatch(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) }) // the cases run beside each other, until after this function
	for _, tt := range []struct {
		name   string
		args   []string
		texts  []string
		asked  []string
		want   string
		errors []string
		code   int
	}{
		{
			"enough events",
			[]string{"-n", "3", "-o", "json"},
			[]string{swap(1) + swap(2), "", ": connected\n\n" + swap(3) + swap(4)},
			[]string{" ", " s-2", " s-2"},
			`{"id":"s-1","kind":"swap","data":{"generation":1,"cause":"load"}}
{"id":"s-2","kind":"swap","data":{"generation":2,"cause":"load"}}
{"id":"s-3","kind":"swap","data":{"generation":3,"cause":"load"}}
`,
			[]string{"(the server ended it); again in 1s, from after s-2\n", "(the server says: 503 Service Unavailable); again in 2s, from after s-2\n"},
			0,
		},
		{"never there", nil, []string{""}, []string{" "}, "", []string{"geodns: the server says: 503 Service Unavailable\n"}, 1},
		{
			"no longer allowed",
			[]string{"--kinds", "lease,load", "-o", "yaml"},
			[]string{"id: l-1\nevent: load\ndata: {}\n\n"},
			[]string{"kinds=lease%2Cload ", "kinds=lease%2Cload l-1"},
			"---\nid: l-1\nkind: load\ndata: {}\n",
			[]string{"again in 1s", "geodns: the server says: 403 Forbidden\n"},
			1,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			handler := &streams{texts: tt.texts}
			server := httptest.NewServer(handler)
			defer server.Close()
			var out, errs strings.Builder
			code := run(t.Context(), append([]string{"watch", "--api", server.URL}, tt.args...), &out, &errs)
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Error(diff)
			}
			for _, want := range tt.errors {
				if !strings.Contains(errs.String(), want) {
					t.Errorf("%q is not in\n%s", want, &errs)
				}
			}
			if diff := cmp.Diff(tt.asked, handler.asked); diff != "" {
				t.Error(diff)
			}
			if code != tt.code {
				t.Errorf("exit code %d, want %d: %s", code, tt.code, &errs)
			}
		})
	}
}

// TestWatchInterrupted checks that an interrupted watch is no failure, whatever it waits for.
func TestWatchInterrupted(t *testing.T) {
	defer goleak.VerifyNone(t)
	for _, tt := range []struct{ name, text string }{{"for an event", ""}, {"for the server", swap(1)}} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, tt.text)
				if tt.text == "" {
					_ = http.NewResponseController(w).Flush()
					cancel()
					<-r.Context().Done()
				}
			}))
			defer server.Close()
			if tt.text != "" {
				timer := time.AfterFunc(watchAgain/4, cancel)
				defer timer.Stop()
			}
			var out, errs strings.Builder
			if code := run(ctx, []string{"watch", "--api", server.URL}, &out, &errs); code != 0 {
				t.Errorf("exit code %d: %s", code, &errs)
			}
		})
	}
}

// TestLists covers what `list` makes of pools, policies, zones and targets.
func TestLists(t *testing.T) {
	server := &fakeServer{answers: map[string]answer{
		"GET /v1/targets": {document: fleetTargets()},
		"GET /v1/pools": {document: poolsDocument{[]api.Pool{
			{Name: "web", At: "www.yaml:3:5", Check: "http", MinUp: 2, Usable: 1, Targets: []string{"web/a", "web/b"}, Policies: []string{"www", "api"}},
		}}},
		"GET /v1/policies": {document: policiesDocument{[]api.Policy{
			{Name: "www", At: "www.yaml:9:5", NameN: 3, TTLMin: 5, TTLMax: 60, Answers: 2, Pick: "hash", AllDown: "servfail", Scopes: 12, Rules: make([]api.PolicyRule, 2)},
		}}},
		"GET /v1/zones": {document: zonesDocument{[]api.Zone{{Origin: "example.com.", Serial: 7, Records: 9, File: "a.zone"}}, 2001}},
	}}
	for what, want := range map[string]string{
		"targets": `TARGET    STATE  ADDRESS  SINCE  PROBED  DRAINED  LEASES                                              WHAT THE LAST PROBE SAW
web/fra1  up     -        -      -       yes      drain.region.fra,other,drain.tag.blue,set.pool.web  no check
web/fra2  up     -        -      -       yes      drain.region.fra,other,set.pool.web                 no check
web/iad1  up     -        -      -       yes      drain.tag.blue,set.pool.web                         no check
`,
		"pools": `POOL  USABLE  MIN UP  CHECK  FALLBACK  POLICIES  AT
web   1 of 2  2       http   -         www,api   www.yaml:3:5
`,
		"policies": `POLICY  NAMES  RULES  ANSWERS  PICK  TTL   ALL DOWN  SCOPES  AT
www     3      2      2        hash  5-60  servfail  12      www.yaml:9:5
`,
		"zones": `ZONE          SERIAL  RECORDS  FILE
example.com.  7       9        a.zone
and 2000 more
`,
	} {
		stdout, stderr, code := server.command(t, "list", what)
		if diff := cmp.Diff(want, stdout); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
		if code != 0 || stderr != "" {
			t.Errorf("%s: exit code %d: %s", what, code, stderr)
		}
	}
}
