package node_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"geodns/internal/node"
	"geodns/pkg/geo"
)

// TestReloadsUnderLoad swaps 100 worlds under a load of 10,000 queries a second, and with GEODNS_PROVE until a million are asked. Each generation changes zone, policy and database
// together, so that an answer made of parts of two shows: the TTL is the zone's generation, the address holds the policy's, and
// which of two targets answers is the database's. No query may stay without an answer, and no target may forget its state.
func TestReloadsUnderLoad(t *testing.T) {
	b := startBackends(t, "127.0.0.21", "127.0.0.22")
	b[1].stop()
	port := b[0].addr.Port()
	cfg := config(t, nil)
	mount(t, cfg.Zones, "..0", generation(0, port))
	for name := range generation(0, port) {
		if err := os.Symlink("..data/"+name, filepath.Join(cfg.Zones, name)); err != nil {
			t.Fatal(err)
		}
	}
	cfg.Geo = geo.Config{Databases: []string{filepath.Join(cfg.Zones, "countries.csv")}, MaxMoved: 1}
	n, _ := run(t, cfg)
	eventually(t, "both verdicts", func() bool { return states(t, n) == "up down" })

	l := startLoad(t, n, 10_000)
	whole := 0
	if os.Getenv("GEODNS_PROVE") != "" {
		whole = 1_000_000
	}
	for i := 1; i <= 100 || int(l.asked.Load()) < whole; i++ {
		g := i % 101
		mount(t, cfg.Zones, fmt.Sprintf("..%d", i), generation(g, port))
		if load, err := n.Reload(context.Background(), "test"); err != nil || load.Errors > 0 {
			t.Fatalf("reload %d: %+v, %v", g, load, err)
		}
		if s := states(t, n); s != "up down" {
			t.Fatalf("after reload %d the targets are %s", g, s)
		}
	}
	l.stop()
	t.Logf("%d queries in %s, %d answered, answers of %d generations", l.sent, l.took.Round(time.Millisecond), l.answered, len(l.generations))
	if l.answered != l.sent {
		t.Errorf("%d of %d queries stayed without an answer", l.sent-l.answered, l.sent)
	}
	for _, bad := range l.bad {
		t.Error(bad)
	}
	if len(l.generations) < 20 {
		t.Errorf("answers of %d generations alone", len(l.generations))
	}
}

// states are the states of the two checked targets.
func states(t *testing.T, n *node.Node) string {
	t.Helper()
	var out strings.Builder
	for _, id := range []string{"checked/one", "checked/two"} {
		out.WriteString(" " + n.TargetState(id))
	}
	return out.String()[1:]
}

// generation is the files of one generation. The client is in Germany in even ones, in France in odd ones.
func generation(g int, port uint16) map[string]string {
	order := []string{"[even]", "[odd]"}
	return map[string]string{
		"example.com.zone": fmt.Sprintf(`$TTL 300
@    IN SOA ns1 hostmaster %d 7200 1800 259200 300
     IN NS  ns1
ns1  IN A   127.0.0.1
www  %d IN STEER www
other IN STEER checked
`, g+1, 1000+g),
		"www.yaml": fmt.Sprintf(`
regions: [{name: even}, {name: odd}]
checks: [{name: web, http: {port: %d, path: /}, interval: 1s, timeout: 1s, fall: 2, rise: 2}]
pools:
  - {name: plain, targets: [{name: e, region: even, values: [10.0.0.%d]}, {name: o, region: odd, values: [10.0.1.%d]}]}
  - {name: checked, check: web, targets: [{name: one, region: even, values: [127.0.0.21]}, {name: two, region: odd, values: [127.0.0.22]}]}
maps: [{name: m, areas: {default: [even, odd], EU-DE: %s, EU-FR: %s}}]
policies:
  - {name: www, ttl: {min: 0, max: 100000}, rules: [{name: all, pool: plain, rank: [{map: m}]}], all_down: serve-all}
  - {name: checked, rules: [{name: all, pool: checked}], all_down: serve-all}
`, port, g, g, order[0], order[1]),
		"countries.csv": "193.0.0.0,193.255.255.255," + []string{"DE", "FR"}[g%2] + "\n",
	}
}

// load is a steady stream of queries whose answers are checked.
type load struct {
	sent, answered int
	took           time.Duration
	generations    map[int]bool
	bad            []string

	conn    net.Conn
	quit    chan struct{}
	wg      sync.WaitGroup
	asked   atomic.Int64 // so far
	waiting atomic.Int64 // for their answers
}

// waitingMax keeps what is on its way within the kernel's default socket buffers, which hold some 270 small packets: what is lost
// then is lost by the server.
const waitingMax = 128

// startLoad sends rate queries a second until it is stopped.
func startLoad(t *testing.T, n *node.Node, rate int) *load {
	t.Helper()
	conn, err := net.Dial("udp", n.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	l := &load{generations: map[int]bool{}, conn: conn, quit: make(chan struct{})}
	m := new(dns.Msg).SetQuestion("www.example.com.", dns.TypeA)
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_SUBNET{
		Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(193, 0, 0, 0).To4(),
	})
	query, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan int, 1)
	l.wg.Go(func() { sent <- l.send(query, rate) })
	l.wg.Go(func() { l.receive(sent) })
	return l
}

// send keeps to the rate in bursts of a millisecond, or to what is answered if that is less.
func (l *load) send(query []byte, rate int) int {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	began, n := time.Now(), 0
	for {
		select {
		case <-l.quit:
			l.took = time.Since(began)
			return n
		case <-ticker.C:
		}
		for due := int(time.Since(began).Seconds() * float64(rate)); n < due && l.waiting.Load() < waitingMax; n++ {
			l.asked.Add(1)
			l.waiting.Add(1)
			query[0], query[1] = byte(n>>8), byte(n)
			if _, err := l.conn.Write(query); err != nil {
				return n
			}
		}
	}
}

// receive checks every answer. It ends when all that was sent is answered, or nothing comes any more.
func (l *load) receive(sent <-chan int) {
	buf := make([]byte, 1500)
	l.sent = -1
	for l.answered != l.sent {
		select {
		case l.sent = <-sent:
			continue
		default:
		}
		if err := l.conn.SetReadDeadline(time.Now().Add(soon)); err != nil {
			return
		}
		n, err := l.conn.Read(buf)
		if err != nil {
			if l.sent < 0 {
				l.sent = <-sent
			}
			return
		}
		l.answered++
		l.waiting.Add(-1)
		l.check(buf[:n])
	}
}

// check finds the generation in an answer's parts.
func (l *load) check(answer []byte) {
	var m dns.Msg
	if err := m.Unpack(answer); err != nil || len(m.Answer) != 1 {
		l.bad = append(l.bad, fmt.Sprintf("answer %v, %v", m.String(), err))
		return
	}
	a, ok := m.Answer[0].(*dns.A)
	if !ok {
		l.bad = append(l.bad, m.Answer[0].String())
		return
	}
	zone, policy, database := int(a.Hdr.Ttl)-1000, int(a.A.To4()[3]), int(a.A.To4()[2])
	if zone == policy && policy%2 == database {
		l.generations[zone] = true
	} else if len(l.bad) < 10 {
		l.bad = append(l.bad, fmt.Sprintf("zone of generation %d, policy of %d, database of parity %d", zone, policy, database))
	}
}

// stop ends the stream and waits for the last answer.
func (l *load) stop() {
	close(l.quit)
	l.wg.Wait()
	l.conn.Close()
}
