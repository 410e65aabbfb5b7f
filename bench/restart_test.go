package bench_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"geodns/internal/dnstest"
	"geodns/internal/node"
	"geodns/pkg/geo"
)

// restartZones is how many zones there are of 100 records each.
const restartZones = 1000

// BenchmarkRestart starts a server on 1000 zones with 100,000 records, up to its first answer by a policy: without a database, with
// three million networks to be compiled, and with the table of them kept in the state folder.
func BenchmarkRestart(b *testing.B) {
	zones := b.TempDir()
	for z := range restartZones {
		var text strings.Builder
		text.WriteString("$TTL 300\n@ SOA ns hostmaster 1 2 3 4 5\n NS ns\nns A 192.0.2.53\n")
		for i := range 97 {
			fmt.Fprintf(&text, "h%d A 10.%d.%d.%d\n", i, z>>8, z&255, i)
		}
		if z == 0 {
			text.WriteString("www STEER near\n")
		}
		writeFile(b, filepath.Join(zones, fmt.Sprintf("z%d.example.zone", z)), text.String())
	}
	writeFile(b, filepath.Join(zones, "p.yaml"), cityPolicyText())
	cfg := node.Config{Node: "bench", Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Workers: 1, Zones: zones}
	b.Run("no-database", func(b *testing.B) { restart(b, cfg, func() {}) })
	cfg.Geo = geo.Config{Databases: []string{cityDatabase(b)}}
	b.Run("compiled", func(b *testing.B) { restart(b, cfg, func() {}) })
	b.Run("kept", func(b *testing.B) {
		cfg := cfg
		cfg.State = b.TempDir()
		restart(b, cfg, func() {
			ticker := time.NewTicker(10 * time.Millisecond)
			defer ticker.Stop()
			for ; ; <-ticker.C { // the first run keeps it
				if _, err := os.Stat(filepath.Join(cfg.State, "table")); err == nil {
					return
				}
			}
		})
	})
}

// restart starts a server again and again, and ends each when ready returns; only what is before the first answer is measured.
func restart(b *testing.B, cfg node.Config, ready func()) {
	b.Helper()
	cpu := -dnstest.CPUTime(b)
	start := func() {
		n, stop := startNode(b, cfg)
		firstAnswer(b, n)
		b.StopTimer()
		cpu += dnstest.CPUTime(b)
		ready()
		stop()
		cpu -= dnstest.CPUTime(b)
		b.StartTimer()
	}
	start()
	b.ResetTimer()
	cpu = -dnstest.CPUTime(b)
	for range b.N {
		start()
	}
	cpu += dnstest.CPUTime(b)
	b.ReportMetric(cpu.Seconds()/float64(b.N), "cpu-s/op")
}

// firstAnswer waits for an answer by a policy.
func firstAnswer(b *testing.B, n *node.Node) {
	b.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(n.Addrs()[0]))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	wire, err := new(dns.Msg).SetQuestion("www.z0.example.", dns.TypeA).Pack()
	if err != nil {
		b.Fatal(err)
	}
	if _, err := conn.Write(wire); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 1500)
	if size, err := conn.Read(buf); err != nil || size < 12 || buf[3]&15 != 0 || buf[7] == 0 {
		b.Fatalf("answer % x, %v", buf[:size], err)
	}
}

// writeFile writes a file.
func writeFile(b *testing.B, path, text string) {
	b.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
}
