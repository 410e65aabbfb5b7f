package node_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestUDPPayload shows that `udp_payload` is what answers over UDP keep to, and what the OPT record says.
func TestUDPPayload(t *testing.T) {
	cfg := config(t, map[string]string{
		"example.com.zone": strings.Replace(zoneText, "www", ";www", 1) + fmt.Sprintf("t IN TXT %s\n", strings.Repeat("x", 200)) +
			fmt.Sprintf("t IN TXT %s\nt IN TXT %s\nt IN TXT %s\n", strings.Repeat("a", 200), strings.Repeat("b", 200), strings.Repeat("c", 200)),
	})
	for payload, cut := range map[int]bool{0: false, 512: true, 1400: false} {
		cfg.UDPPayload = payload
		n, stop := run(t, cfg)
		m := new(dns.Msg).SetQuestion("t.example.com.", dns.TypeTXT)
		m.SetEdns0(4096, false)
		r, _, err := (&dns.Client{UDPSize: 4096}).Exchange(m, n.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		want := payload
		if payload == 0 {
			want = 1232
		}
		if int(r.IsEdns0().UDPSize()) != want || r.Truncated != cut || (len(r.Answer) == 4) == cut {
			t.Errorf("udp_payload %d: OPT says %d, TC %t, %d answers", payload, r.IsEdns0().UDPSize(), r.Truncated, len(r.Answer))
		}
		stop()
	}
}

// TestNSID shows that the NSID names node and world, if it is asked for, and fits its 64 octets with the longest name.
func TestNSID(t *testing.T) {
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(1)})
	for _, name := range []string{"a", strings.Repeat("n", 46)} {
		cfg.Node = name
		n, stop := run(t, cfg)
		zones, table, _ := strings.Cut(n.World().ID(), "-")
		want := fmt.Sprintf("%x", name+"/"+zones[:8]+"-"+table[:8])
		for _, asked := range []bool{true, false} {
			m := new(dns.Msg).SetQuestion("example.com.", dns.TypeSOA)
			m.SetEdns0(1232, false)
			if asked {
				m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID})
			}
			// Over UDP the longest is left out of a short answer, unless a cookie shows that the source is not forged.
			tcp := dns.Client{Net: "tcp"}
			r, _, err := tcp.Exchange(m, n.Addrs()[0].String())
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, o := range r.IsEdns0().Option {
				if id, ok := o.(*dns.EDNS0_NSID); ok {
					got = id.Nsid
				}
			}
			if asked && (got != want || len(got) > 2*64) || !asked && got != "" {
				t.Errorf("asked: %t, NSID %q, want %q", asked, got, want)
			}
		}
		stop()
	}
}
