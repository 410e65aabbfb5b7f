package api_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"geodns/pkg/api"
	"geodns/pkg/rum"
)

// measured takes every sample that has a region, fra or iad.
func measured() api.RUM {
	return api.RUM{
		Propose: func(percentile float64, band time.Duration, minSamples int) (api.RUMProposals, error) {
			if minSamples == 13 {
				return api.RUMProposals{}, errors.New("the file has changed")
			}
			return api.RUMProposals{Proposals: 1, Diff: fmt.Sprintf("--- %g %s %d\n", percentile, band, minSamples)}, nil
		},
		Add: count,
		Report: func() api.RUMReport {
			return api.RUMReport{At: time.Unix(1700000000, 0).UTC(), Version: 7, Rungs: []api.RUMRung{
				{Rung: "EU", Kind: "continent", Sources: 40, Prefixes: 12, Regions: []api.RUMRegion{{Region: "fra", Samples: 90, P75: 0.03}, {Region: "iad", Samples: 70}}},
				{Rung: "NL", Kind: "country", Sources: 20, Prefixes: 5, Held: "moved", Regions: []api.RUMRegion{{Region: "fra", Samples: 60}}},
			}}
		},
		Status: func() api.RUMStatus {
			return api.RUMStatus{
				Accepted: 5, Refused: map[string]uint64{"region": 2}, Beacons: map[string]uint64{api.BeaconTaken: 3}, Rungs: map[string]int{"country": 1},
				Sketches: 3, Held: 1,
			}
		},
	}
}

// count is a collector that knows two regions.
func count(samples []rum.Sample) rum.Counts {
	c := rum.Counts{Refused: map[rum.Refusal]int{}}
	for _, s := range samples {
		switch {
		case s.Latency < 0 || s.Region == "":
			c.Refused[rum.RefusedMalformed]++
		case !s.Client.IsValid():
			c.Refused[rum.RefusedClient]++
		case s.Region != "fra" && s.Region != "iad":
			c.Refused[rum.RefusedRegion]++
		default:
			c.Accepted++
		}
	}
	return c
}

// packed is a text packed by gzip.
func packed(t testing.TB, text string) string {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestBulk(t *testing.T) {
	const line = `{"client": "203.0.113.7", "region": "fra", "ms": 41.5, "time": "2026-01-02T03:04:05Z"}` + "\n"
	many := strings.Repeat(line, 2000)
	for _, tt := range []struct {
		name, kind, encoding, body string
		status                     int
		want                       string
	}{
		{"lines", "application/x-ndjson", "", line + "\r\n\n" + line + `{"client":"2001:db8::1","region":"iad","error":"timeout"}`, 202, `{"accepted":3,"refused":{}}`},
		{"refused lines", "application/x-ndjson", "", "no\n" + `{"client":"here","region":"fra","ms":1}` + "\n" + `{"region":"fra","ms":1}` + "\n" + `{"client":"192.0.2.1","region":"xxx","ms":1}` + "\n[]\n", 202, `{"accepted":0,"refused":{"client":1,"malformed":3,"region":1}}`},
		{"nothing", "application/x-ndjson", "", "", 202, `{"accepted":0,"refused":{}}`},
		{"many, packed", "application/x-ndjson; charset=utf-8", "gzip", packed(t, many), 202, `{"accepted":2000,"refused":{}}`},
		{"packed, in capitals", "application/x-ndjson", "GZIP", packed(t, many), 202, `{"accepted":2000,"refused":{}}`},
		{"csv", "text/csv", "", "\ufeffregion,client,ms,x,error\r\nfra,203.0.113.7,41.5,,\r\n\"fra\",\"203.0.113.7\",,\"a,b\",timeout\r\nfra,203.0.113.7\r\nfra,203.0.113.7,NaN,,\r\n", 202, `{"accepted":2,"refused":{"malformed":2}}`},
		{"csv without names", "text/csv", "", "fra,203.0.113.7,41.5\n", 400, "a CSV begins with a line of names"},
		{"csv of nothing", "text/csv", "", "", 400, "a CSV begins with a line of names"},
		{"another kind", "application/json", "", "[]", 415, "a feed is application/x-ndjson or text/csv"},
		{"no kind", "", "", "", 415, "a feed is"},
		{"another encoding", "text/csv", "br", "", 415, "packed by gzip"},
		{"not packed", "text/csv", "gzip", "client,region,ms\n", 400, "not packed"},
		{"cut", "application/x-ndjson", "gzip", packed(t, many)[:300], 400, "ends too soon"},
		{"long line", "application/x-ndjson", "", line + strings.Repeat("x", 5000), 413, "a line has at most 4096 bytes; 1 lines before it were taken, with 1 samples that count"},
		{"bomb", "application/x-ndjson", "gzip", packed(t, strings.Repeat("\n", 9<<20)), 413, "a feed has at most 8388608 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			response := ask(t, config(), "POST", "/v1/rum/bulk", body(tt.body), func(r *http.Request) {
				r.Header.Set("Content-Type", tt.kind)
				r.Header.Set("Content-Encoding", tt.encoding)
			})
			if got := text(t, response); response.StatusCode != tt.status || !strings.Contains(got, tt.want) {
				t.Errorf("status %d: %s, want %d: %s", response.StatusCode, got, tt.status, tt.want)
			}
		})
	}
}

func TestReport(t *testing.T) {
	for query, want := range map[string]string{
		"":                        "EU NL of 2: fra,iad fra",
		"?kind=country":           "NL of 1: fra",
		"?region=iad":             "EU of 1: iad",
		"?n=1":                    "EU of 2: fra,iad",
		"?kind=asn":               " of 0:",
		"?region=iad&kind=prefix": " of 0:",
	} {
		var report api.RUMReport
		if err := json.Unmarshal([]byte(text(t, ask(t, config(), "GET", "/v1/rum"+query))), &report); err != nil {
			t.Fatal(err)
		}
		var rungs []string
		var regions strings.Builder
		for _, r := range report.Rungs {
			rungs = append(rungs, r.Rung)
			var names []string
			for _, region := range r.Regions {
				names = append(names, region.Region)
			}
			regions.WriteString(" " + strings.Join(names, ","))
		}
		if got := fmt.Sprintf("%s of %d:%s", strings.Join(rungs, " "), report.RungN, regions.String()); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

// beacons takes beacons of two origins, and believes a proxy.
func beacons(t testing.TB, got *[]rum.Sample) *api.Beacons {
	t.Helper()
	probes := []api.Probed{
		{Region: "fra", URL: "https://fra.example.com/"}, {Region: "ams", URL: "https://ams.example.com/"}, {Region: "iad", URL: "https://iad.example.com/"},
	}
	b, err := api.NewBeacons(api.BeaconConfig{
		Listen:  netip.MustParseAddrPort("127.0.0.1:0"),
		Origins: []string{"https://www.example.com", "http://localhost:8080"},
		Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Add: func(samples []rum.Sample) rum.Counts {
			if got != nil {
				*got = append(*got, samples...)
			}
			return count(samples)
		},
		Probes: func(netip.Addr) []api.Probed { return probes },
		Log:    config().Log,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRUMProposals: what is asked for reaches the proposer, and what it cannot do is a conflict.
func TestRUMProposals(t *testing.T) {
	for target, want := range map[string]string{
		"/v1/rum/proposals": `{"proposals_total":1,"diff":"--- 75 15ms 50\n"}`,
		"/v1/rum/proposals?percentile=50&band_seconds=0.5&min_samples=7": `"--- 50 500ms 7\n"`,
		"/v1/rum/proposals?min_samples=13":                               "nothing can be proposed: the file has changed",
		"/v1/rum/proposals?percentile=100":                               "query.percentile",
	} {
		if got := text(t, ask(t, config(), "GET", target)); !strings.Contains(got, want) {
			t.Errorf("%s: %s", target, got)
		}
	}
}
