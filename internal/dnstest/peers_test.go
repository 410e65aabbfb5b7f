package dnstest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/miekg/dns"

	"geodns/internal/dnstest"
)

// TestPeersServe starts every peer with many zones, and asks each for its last one.
func TestPeersServe(t *testing.T) {
	const zones = 300
	files := map[string]string{}
	dir := t.TempDir()
	for i := range zones {
		origin := fmt.Sprintf("z%d.example.", i)
		files[origin] = filepath.Join(dir, origin+"zone")
		text := fmt.Sprintf("$TTL 300\n@ SOA ns1 hostmaster %d 7200 3600 1209600 60\n@ NS ns1\nns1 A 192.0.2.53\n", i+1)
		if err := os.WriteFile(files[origin], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	starts := map[string]func(testing.TB, map[string]string) *dnstest.Peer{
		"nsd": dnstest.StartNSD, "knot": dnstest.StartKnot, "bind": dnstest.StartBIND, "gdnsd": dnstest.StartGdnsd, "powerdns": dnstest.StartPowerDNS,
	}
	for name, start := range starts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			peer := start(t, files)
			if peer.Version == "unknown" {
				t.Errorf("%s does not say its version", peer.Name)
			}
			var queries []*dns.Msg
			for i := range zones {
				queries = append(queries, new(dns.Msg).SetQuestion(fmt.Sprintf("z%d.example.", i), dns.TypeSOA))
			}
			answers, err := peer.Dial(t).Ask(queries)
			if err != nil {
				t.Fatal(err)
			}
			for i, m := range answers {
				if m.Rcode != dns.RcodeSuccess || !m.Authoritative || len(m.Answer) != 1 {
					t.Fatalf("zone %d: %v", i, m)
				}
				if soa, ok := m.Answer[0].(*dns.SOA); !ok || soa.Serial != uint32(i+1) {
					t.Errorf("zone %d: %v", i, m.Answer)
				}
			}
			t.Logf("%s %s", peer.Name, peer.Version)
		})
	}
}
