package bench_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"geodns/internal/dnstest"
	"geodns/internal/node"
	"geodns/pkg/api"
	"geodns/pkg/geo"
	"geodns/pkg/rum"
)

const (
	// postsEvery is the time between two POSTs, and postLines the beacons of one: 100,000 a second.
	postsEvery, postLines = time.Millisecond, 100
	// postConns is how many connections the POSTs come over: some feeds, each of which waits for its answers.
	postConns = 16
	// feedNetworks and feedRegions are the client networks and the regions that they measure: more pairs than are kept, so that room must
	// be made, and networks enough that none of them uses up what it may send.
	feedNetworks, feedRegions = 30_000, 4
	// feedVariable makes this program send a feed; it says to what address.
	feedVariable = "GEODNS_BENCH_FEED"
	// heldRatio is how much longer an answer may take while beacons come in.
	heldRatio = 1.2
	// feedMemoryMax is what beacons may cost in memory that is in use, in bytes: the 30 MB of the sketches and the 45 MB of a View
	// (rum.SketchesDefault), and a third for what lies between them. The process may have more of the kernel, as garbage is let lie until
	// there is as much of it as of what is in use.
	feedMemoryMax = 100_000_000
)

// BenchmarkBeacons answers queries with and without a feed of 100,000 beacons a second, in turn, so that both meet the same machine. The
// ratios are medians of pairs, with the feed to without it; held is the time from a query's arrival to the leaving of its answer, as the
// kernel sees it. Who asks and who feeds are other processes, the feed's of the least priority, as they would be on another machine.
func BenchmarkBeacons(b *testing.B) {
	pairs, phase, prove := 2, 150*time.Millisecond, os.Getenv("GEODNS_PROVE") != ""
	if prove {
		pairs, phase = 15, time.Second
	}
	dir, database := files(b)
	loopback := netip.MustParseAddrPort("127.0.0.1:0")
	n := runNode(b, node.Config{
		Node: "bench", Listen: []netip.AddrPort{loopback}, Zones: dir, State: b.TempDir(), API: loopback, Geo: geo.Config{Databases: []string{database}},
	})
	asker := startHelper(b, askerVariable, n.Addrs()[0].String())
	feed := startHelper(b, feedVariable, n.APIAddr().String())
	askFed(b, asker, feed, 50*time.Millisecond) // connections and buffers are made
	debug.FreeOSMemory()
	before, after, peak := observe(b), sample{}, sample{}
	var f feedFigures
	for i := range pairs {
		var with, without asked
		for turn := range 2 {
			runtime.GC()
			if turn == i%2 { // who comes first changes
				without = askOnce(b, asker, phase)
			} else {
				with = f.add(askFed(b, asker, feed, phase))
			}
		}
		f.compare(with, without)
		peak = peak.max(observe(b))
		runtime.GC()
		after = observe(b)
		b.Logf("pair %d: with %.1f, without %.1f; %d MB in use, %d MB resident", i, with, without, after.memory/1e6, after.resident/1e6)
	}
	f.report(b)
	status := rumStatus(b, n)
	b.ReportMetric(float64(status.Sketches), "sketches")
	b.ReportMetric(float64(status.Bytes)/1e6, "sketches-MB")
	grown := int64(after.memory) - int64(before.memory)
	b.ReportMetric(float64(grown)/1e6, "growth-MB")
	b.ReportMetric(float64(peak.resident)/1e6, "RSS-MB")
	b.ReportMetric((float64(peak.resident)-float64(before.resident))/1e6, "RSS-growth-MB")
	b.ReportMetric(0, "ns/op")
	if status.Sketches > rum.SketchesDefault {
		b.Errorf("%d sketches, %d at most are wanted", status.Sketches, rum.SketchesDefault)
	}
	if grown > feedMemoryMax {
		b.Errorf("memory has grown by %d bytes, %d at most are wanted", grown, feedMemoryMax)
	}
	if ratio := median(f.held50); prove && ratio > heldRatio {
		b.Errorf("answers take %.2f times as long while beacons come in, %.1f at most are wanted", ratio, heldRatio)
	}
}

// askOnce asks for a time.
func askOnce(b *testing.B, asker *helper, phase time.Duration) asked {
	b.Helper()
	var a asked
	if err := a.parse(asker.say(b, phase.String())); err != nil {
		b.Fatal(err)
	}
	return a
}

// fed is what came of a feed.
type fed struct {
	seconds                           float64
	posts, accepted, refused, shunned int           // shunned: POSTs that were to come again later
	cpu                               time.Duration // a second, of what served it, while nobody asked
}

// askFed asks for a time while beacons come in.
func askFed(b *testing.B, asker, feed *helper, phase time.Duration) (asked, fed) {
	b.Helper()
	feed.say(b, "true")
	used, began := dnstest.CPUTime(b), time.Now()
	watch(b, phase, nil)
	used = time.Duration(float64(dnstest.CPUTime(b)-used) / time.Since(began).Seconds())
	a := askOnce(b, asker, phase)
	f := fed{cpu: used}
	if _, err := fmt.Sscan(feed.say(b, "false"), &f.seconds, &f.posts, &f.accepted, &f.refused, &f.shunned); err != nil {
		b.Fatal(err)
	}
	if f.posts == 0 || f.accepted+f.refused != f.posts*postLines {
		b.Fatalf("of %d POSTs %d beacons were accepted and %d refused", f.posts, f.accepted, f.refused)
	}
	return a, f
}

// feedFigures are the figures of all pairs.
type feedFigures struct {
	qps, p50, p99, held50, held99 []float64 // ratios
	alone50, alone99              []float64 // held without a feed, in µs
	taken, accepted, shunned, cpu []float64
}

// add notes what came of a feed.
func (f *feedFigures) add(a asked, o fed) asked {
	f.taken = append(f.taken, float64(o.accepted+o.refused)/o.seconds)
	f.accepted = append(f.accepted, float64(o.accepted)/o.seconds)
	f.shunned = append(f.shunned, float64(o.shunned)/o.seconds)
	f.cpu = append(f.cpu, o.cpu.Seconds())
	return a
}

// compare notes a pair.
func (f *feedFigures) compare(with, without asked) {
	f.qps = append(f.qps, with.qps/without.qps)
	f.p50, f.p99 = append(f.p50, with.p50/without.p50), append(f.p99, with.p99/without.p99)
	f.held50, f.held99 = append(f.held50, with.held50/without.held50), append(f.held99, with.held99/without.held99)
	f.alone50, f.alone99 = append(f.alone50, without.held50), append(f.alone99, without.held99)
}

// report reports medians.
func (f *feedFigures) report(b *testing.B) {
	b.Helper()
	b.ReportMetric(median(f.qps), "qps-ratio")
	b.ReportMetric(median(f.p50), "p50-ratio")
	b.ReportMetric(median(f.p99), "p99-ratio")
	b.ReportMetric(median(f.held50), "held-p50-ratio")
	b.ReportMetric(median(f.held99), "held-p99-ratio")
	b.ReportMetric(median(f.alone50), "held-p50-µs")
	b.ReportMetric(median(f.alone99), "held-p99-µs")
	b.ReportMetric(median(f.taken), "beacons/s")
	b.ReportMetric(median(f.accepted), "accepted/s")
	b.ReportMetric(median(f.shunned), "shunned-POSTs/s")
	b.ReportMetric(100*median(f.cpu), "cpu-%")
	b.ReportMetric(median(f.taken)/median(f.cpu), "beacons/cpu-s")
}

// rumStatus is how a node's measurements stand.
func rumStatus(b *testing.B, n *node.Node) api.RUMStatus {
	b.Helper()
	request, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://"+n.APIAddr().String()+"/v1/status", nil)
	if err != nil {
		b.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	var status api.Status
	if err = json.NewDecoder(response.Body).Decode(&status); err != nil {
		b.Fatal(err)
	}
	return status.RUM
}

// feedAll feeds and ends as stdin says, until it ends. A line "false" is answered with the seconds, the POSTs that were taken, the beacons
// of them that were accepted and that were refused, and the POSTs that were to come again later.
func feedAll(at string) error {
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, 19); err != nil {
		return err
	}
	feeders := make([]*feeder, postConns)
	for i := range feeders {
		conn, err := net.Dial("tcp", at)
		if err != nil {
			return err
		}
		feeders[i] = &feeder{conn: conn, answers: bufio.NewReader(conn), r: rand.New(rand.NewPCG(7, uint64(i)))}
	}
	var under sync.WaitGroup
	stop, began := make(chan struct{}), time.Now()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if lines.Text() == "true" {
			stop, began = make(chan struct{}), time.Now()
			for i, f := range feeders {
				under.Go(func() { f.run(stop, began.Add(time.Duration(i)*postsEvery)) })
			}
			if _, err := fmt.Fprintln(os.Stdout, "true"); err != nil {
				return err
			}
			continue
		}
		close(stop)
		under.Wait()
		seconds := time.Since(began).Seconds()
		var all fed
		for _, f := range feeders {
			if f.err != nil {
				return f.err
			}
			all.posts, all.accepted, all.refused, all.shunned = all.posts+f.posts, all.accepted+f.accepted, all.refused+f.refused, all.shunned+f.shunned
			f.fed = fed{}
		}
		if _, err := fmt.Fprintln(os.Stdout, seconds, all.posts, all.accepted, all.refused, all.shunned); err != nil {
			return err
		}
	}
	return nil
}

// feeder sends a part of the feed over a connection.
type feeder struct {
	conn    net.Conn
	answers *bufio.Reader
	r       *rand.Rand
	body    []byte
	request []byte

	fed
	err error
}

// run sends a POST when it is due, or as soon as the one before it is answered, until it is told to stop.
func (f *feeder) run(stop <-chan struct{}, due time.Time) {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	for f.err == nil {
		select {
		case <-stop:
			return
		case <-timer.C:
		}
		f.err = f.post()
		due = due.Add(postConns * postsEvery)
		timer.Reset(time.Until(due))
	}
}

// post sends one and reads what became of it.
func (f *feeder) post() error {
	f.body = f.body[:0]
	for range postLines {
		network := f.r.IntN(feedNetworks)
		f.body = append(f.body, `{"client":"5.`...)
		f.body = strconv.AppendInt(f.body, int64(network>>8), 10)
		f.body = strconv.AppendInt(append(f.body, '.'), int64(network&255), 10)
		f.body = strconv.AppendInt(append(f.body, '.'), int64(1+f.r.IntN(254)), 10)
		f.body = strconv.AppendInt(append(f.body, `","region":"r`...), int64(f.r.IntN(feedRegions)), 10)
		f.body = strconv.AppendFloat(append(f.body, `","ms":`...), 20*(1+f.r.ExpFloat64()), 'f', 2, 64)
		f.body = append(f.body, "}\n"...)
	}
	f.request = fmt.Appendf(f.request[:0], "POST /v1/rum/bulk HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n",
		f.conn.RemoteAddr(), len(f.body))
	if _, err := f.conn.Write(append(f.request, f.body...)); err != nil {
		return err
	}
	response, err := http.ReadResponse(f.answers, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusAccepted:
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		f.shunned++
		_, err = io.Copy(io.Discard, response.Body)
		return err
	default:
		return fmt.Errorf("a POST is answered with %s", response.Status)
	}
	var counts api.RUMCounts
	if err = json.NewDecoder(response.Body).Decode(&counts); err != nil {
		return err
	}
	f.posts, f.accepted = f.posts+1, f.accepted+counts.Accepted
	for _, n := range counts.Refused {
		f.refused += n
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}
