package bench_test

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"geodns/internal/node"
)

// BenchmarkLease drains a target and ends that, through the API, and asks when the call has returned: the answer is another with
// the first query. The figure is the time from the call to that answer.
func BenchmarkLease(b *testing.B) {
	n := failoverNode(b, []victim{httpVictim(b)})
	w := newWatcher(b, n, 0)
	if _, err := w.until("127.0.0.1"); err != nil {
		b.Fatal(err)
	}
	calls := 20
	if os.Getenv("GEODNS_PROVE") != "" {
		calls = 1000
	}
	var took []time.Duration
	for i := range calls {
		began := time.Now()
		if i%2 == 0 {
			lease(b, n, http.MethodPut, `{"action": "drain", "kind": "target", "name": "p0/t", "reason": "bench", "for_seconds": 600, "override": true}`)
			w.at(b, "127.0.1.1")
		} else {
			lease(b, n, http.MethodDelete, "")
			w.at(b, "127.0.0.1")
		}
		took = append(took, time.Since(began))
	}
	report(b, took, time.Millisecond, "ms")
}

// at asks once, and wants an address.
func (w *watcher) at(b *testing.B, address string) {
	b.Helper()
	for range 5 { // an answer may be lost
		w.query.Id++
		answer, _, err := w.client.ExchangeWithConn(w.query, w.conn)
		if err != nil {
			continue
		}
		if len(answer.Answer) != 1 || !strings.HasSuffix(answer.Answer[0].String(), "\t"+address) {
			b.Fatalf("the call has returned, and the answer is not %s: %v", address, answer.Answer)
		}
		return
	}
	b.Fatal("no answer")
}

// lease asks for a change of the lease of the benchmark.
func lease(b *testing.B, n *node.Node, method, body string) {
	b.Helper()
	request, err := http.NewRequestWithContext(b.Context(), method, "http://"+n.APIAddr().String()+"/v1/leases/bench", strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	if text, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusOK || !strings.Contains(string(text), `"changed":true`) {
		b.Fatalf("%s: %s", response.Status, text)
	}
}
