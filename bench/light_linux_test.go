package bench_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"geodns/internal/dnstest"
)

const (
	// pacerVariable makes this program ask at a rate; it says what address.
	pacerVariable = "GEODNS_BENCH_PACER"
	// lightRate is queries a second: what leaves a worker idle between most of them.
	lightRate = 20_000
)

// BenchmarkLight compares what a query costs under light load, when most of it is waiting and waking: of one worker, and of the floor, a
// goroutine that parks in the runtime's poller and looks nothing up. They take turns, and the ratios are medians of pairs.
func BenchmarkLight(b *testing.B) {
	pairs, phase := 2, 150*time.Millisecond
	if os.Getenv("GEODNS_PROVE") != "" {
		pairs, phase = 15, 800*time.Millisecond
	}
	served, floor := startHelper(b, pacerVariable, startServer(b).String()), startHelper(b, pacerVariable, startFloor(b).String())
	var cpus, p50s, p99s, alone []float64
	for i := range pairs {
		var s, f paced
		for turn := range 2 {
			if turn == i%2 { // who comes first changes
				s = pace(b, served, phase)
			} else {
				f = pace(b, floor, phase)
			}
		}
		cpus, p50s, p99s = append(cpus, s.cpu/f.cpu), append(p50s, s.p50/f.p50), append(p99s, s.p99/f.p99)
		alone = append(alone, s.cpu)
	}
	b.ReportMetric(median(cpus), "cpu-ratio")
	b.ReportMetric(median(p50s), "p50-ratio")
	b.ReportMetric(median(p99s), "p99-ratio")
	b.ReportMetric(median(alone), "cpu-µs/query")
	b.ReportMetric(0, "ns/op")
}

// paced is what a query cost this process, and when it was answered after it was due, in µs.
type paced struct{ cpu, p50, p99 float64 }

// pace has a pacer ask for a time.
func pace(b *testing.B, pacer *helper, phase time.Duration) (p paced) {
	b.Helper()
	before := dnstest.CPUTime(b)
	answered := 0
	if _, err := fmt.Sscan(pacer.say(b, phase.String()), &answered, &p.p50, &p.p99); err != nil {
		b.Fatal(err)
	}
	p.cpu = float64((dnstest.CPUTime(b) - before).Nanoseconds()) / 1e3 / float64(answered)
	return p
}

// paceAll asks at lightRate, at random times, for as long as each line of stdin says, and prints what came of it.
func paceAll(at string) error {
	queries, err := makeQuestions("h", false)
	if err != nil {
		return err
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
	if err != nil {
		return err
	}
	var due [1 << 16]atomic.Int64 // by the query's ID: since began
	began := time.Now()
	took := make(chan time.Duration, len(due))
	go func() {
		buf := make([]byte, 1500)
		for {
			if n, err := conn.Read(buf); err == nil && n > 2 {
				took <- time.Since(began) - time.Duration(due[int(buf[0])<<8|int(buf[1])].Load())
			}
		}
	}()
	r := rand.New(rand.NewPCG(9, 10))
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		d, err := time.ParseDuration(lines.Text())
		if err != nil {
			return err
		}
		next := time.Since(began)
		for sent, end := 0, next+d; next < end; sent++ {
			for time.Since(began) < next { // a timer is too coarse
			}
			q := queries[sent%len(queries)]
			q[0], q[1] = byte(sent>>8), byte(sent)
			due[sent&0xFFFF].Store(int64(next))
			if _, err = conn.Write(q); err != nil {
				return err
			}
			next += time.Duration(r.ExpFloat64() * float64(time.Second) / lightRate)
		}
		all := drain(took)
		if len(all) == 0 {
			return fmt.Errorf("%s does not answer", at)
		}
		slices.Sort(all)
		if _, err = fmt.Fprintln(os.Stdout, len(all), all[len(all)/2].Seconds()*1e6, all[len(all)*99/100].Seconds()*1e6); err != nil {
			return err
		}
	}
	return nil
}

// drain takes what comes until nothing does.
func drain(took <-chan time.Duration) (all []time.Duration) {
	late := time.NewTimer(20 * time.Millisecond)
	defer late.Stop()
	for {
		select {
		case t := <-took:
			all = append(all, t)
		case <-late.C:
			if len(took) == 0 {
				return all
			}
			late.Reset(20 * time.Millisecond)
		}
	}
}
