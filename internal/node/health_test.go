package node_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"geodns/pkg/api"
)

// TestVerdictEvents covers that a verdict has one id: in the event, in the target's document and, by way of the exemplar, in the
// metrics.
func TestVerdictEvents(t *testing.T) {
	b := startBackends(t, "127.0.0.1")[0]
	n, stop := run(t, config(t, map[string]string{
		"example.com.zone": "@ 60 IN SOA a a 1 60 60 60 60\n@ 60 IN NS a.example.net.\nwww 60 IN STEER www\n",
		"www.yaml": fmt.Sprintf(`
checks: [{name: http, http: {port: %d}, interval: 1s, timeout: 1s, fall: 2, rise: 2}]
regions: [{name: eu}]
pools: [{name: web, check: http, targets: [{name: eu1, region: eu, values: [127.0.0.1]}]}]
policies: [{name: www, rules: [{name: all, pool: web}], all_down: serve-all}]
`, b.addr.Port()),
	}))
	defer stop()
	eventually(t, "up", func() bool { return n.TargetState("web/eu1") == "up" })
	b.stop()
	eventually(t, "down", func() bool { return n.TargetState("web/eu1") == "down" })

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.APIAddr().String()+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Last-Event-ID", "none") // all that are kept
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var id string
	var event api.VerdictEvent
	for lines := bufio.NewScanner(response.Body); event.To != "down" && lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			id = text
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if err = json.Unmarshal([]byte(data), &event); err != nil {
				t.Fatal(err)
			}
		}
	}
	if event.ID != id || event.Target != "web/eu1" || event.From != "up" || event.Reason != "fall" || event.Onset.IsZero() || time.Since(event.At) > soon {
		t.Errorf("id %s, event %+v", id, event)
	}
	scrape, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.APIAddr().String()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	scrape.Header.Set("Accept", "application/openmetrics-text;version=1.0.0")
	metrics, err := client.Do(scrape)
	if err != nil {
		t.Fatal(err)
	}
	defer metrics.Body.Close()
	found := false
	for lines := bufio.NewScanner(metrics.Body); lines.Scan(); {
		found = found || strings.HasPrefix(lines.Text(), "geodns_failover_detect_seconds_bucket") && strings.Contains(lines.Text(), `{verdict="`+id+`"}`)
	}
	if !found {
		t.Errorf("no exemplar of %s", id)
	}
}

// TestChangedChecks shows that a load which changes checks alone is one that changed something, although all answers are made of
// the same: it came into use, whoever began it.
func TestChangedChecks(t *testing.T) {
	text := steered(1)
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": text})
	n, _ := run(t, cfg)
	first, _, _ := n.Loads()
	write(t, cfg.Zones, map[string]string{"www.yaml": strings.Replace(text, "fall: 2", "fall: 7", 1)})
	if l, err := n.Reload(t.Context(), "test"); err != nil || l.Errors > 0 {
		t.Fatal(l, err)
	}
	if loaded, _, refused := n.Loads(); loaded != first+1 || refused != 0 {
		t.Errorf("%d loads changed something, %d before", loaded, first)
	}
	if l, err := n.Reload(t.Context(), "test"); err != nil || l.Result != "unchanged" {
		t.Errorf("the same again: %+v, %v", l, err)
	}
}
