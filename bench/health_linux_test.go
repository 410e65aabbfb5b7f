package bench_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"geodns/internal/dnstest"
	"geodns/pkg/health"
)

// fleet is how many back ends are probed, and for how long that is measured.
type fleet struct {
	size              int
	interval, timeout time.Duration
	measured          time.Duration
}

// theFleet is the fleet of the budgets with GEODNS_PROVE, else one that is soon done with.
func theFleet() fleet {
	if os.Getenv("GEODNS_PROVE") != "" {
		return fleet{size: 10_000, interval: 5 * time.Second, timeout: 2 * time.Second, measured: 30 * time.Second}
	}
	return fleet{size: 200, interval: time.Second, timeout: 400 * time.Millisecond, measured: time.Second}
}

// BenchmarkHealth probes a fleet on loopback, each target at an address of its own, with none of them and with half of them
// hanging. The back ends are another process; what is reported is of the probing one, the samples' own cost included. The last kind is
// https over HTTP/2; the others speak HTTP/1.1, and https resumes its sessions.
func BenchmarkHealth(b *testing.B) {
	for _, kind := range []string{"tcp", "http", "https", "https2"} {
		for _, hanging := range []string{"none", "half"} {
			b.Run(kind+"/hanging="+hanging, func(b *testing.B) {
				f := theFleet()
				port := startBackEnds(b, kind, f.size, hanging == "half")
				for range b.N {
					probeFleet(b, f, kind, port)
				}
			})
		}
	}
}

// backEnd is the address of one back end.
func backEnd(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)})
}

// hangs reports whether a back end is one that hangs, if half of them do.
func hangs(i int) bool { return i%2 == 1 }

// probeFleet runs a Checker over the fleet and reports what it takes.
func probeFleet(b *testing.B, f fleet, kind string, port uint16) {
	b.Helper()
	check := health.Check{Kind: health.TCP, Port: port, Interval: f.interval, Timeout: f.timeout}
	switch kind {
	case "http":
		check.Kind = health.HTTP
	case "https", "https2":
		check.Kind, check.Insecure = health.HTTPS, true // the certificate is verified no more than once a minute in either case
	}
	targets := make([]health.Target, f.size)
	for i := range targets {
		targets[i] = health.Target{ID: fmt.Sprintf("fleet/t%d", i), Addrs: []netip.Addr{backEnd(i)}, Check: &check}
	}
	debug.FreeOSMemory()
	checker, err := health.New(health.Config{})
	if err != nil {
		b.Fatal(err)
	}
	checker.Update(targets)
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- checker.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			b.Error(err)
		}
	}()
	// Behind the first round, and one by the interval, in which every session was made.
	watch(b, time.Second+f.interval, nil)

	var peak sample
	early := checker.Stats().Lateness
	before, used, start := probes(checker), dnstest.CPUTime(b), time.Now()
	watch(b, f.measured, func() { peak = peak.max(observe(b)) })
	took, made := time.Since(start), probes(checker)-before
	used = dnstest.CPUTime(b) - used
	b.ReportMetric(100*used.Seconds()/took.Seconds(), "cpu-%")
	b.ReportMetric(float64(used.Microseconds())/float64(made), "cpu-µs/probe")
	b.ReportMetric(float64(made)/took.Seconds(), "probes/s")
	b.ReportMetric(float64(peak.memory)/1e6, "MB")
	b.ReportMetric(float64(peak.resident)/1e6, "RSS-MB")
	b.ReportMetric(float64(peak.descriptors), "descriptors")
	late := latenessSince(checker, &early)
	b.ReportMetric(1000*late.Quantile(0.5), "late-p50-ms")
	b.ReportMetric(1000*late.Quantile(0.99), "late-p99-ms")
	if made == 0 {
		b.Error("nothing was probed")
	}
}

// probes is how many probes have ended.
func probes(checker *health.Checker) (all uint64) {
	for _, counts := range checker.Stats().Probes {
		all += counts.Good + counts.Failed
	}
	return all
}

// latenessSince is how late regular probes started since a first look: upper bounds of buckets.
func latenessSince(checker *health.Checker, first *health.Histogram) health.Histogram {
	now := checker.Stats().Lateness
	for i := range now.Counts {
		now.Counts[i] -= first.Counts[i]
	}
	return now
}

// watch lets time pass, and calls look now and then: often enough to see a
// peak that lasts, and seldom enough to be no part of what it measures.
func watch(b *testing.B, d time.Duration, look func()) {
	b.Helper()
	ticker, end := time.NewTicker(max(d/8, 200*time.Millisecond)), time.NewTimer(d)
	defer ticker.Stop()
	defer end.Stop()
	for {
		select {
		case <-ticker.C:
			if look != nil {
				look()
			}
		case <-end.C:
			return
		}
	}
}

// sample is what the process holds at one moment.
type sample struct {
	memory      uint64 // heap and stacks in use, in bytes
	resident    uint64 // in bytes
	descriptors int
}

// max gives the greater of each.
func (s sample) max(o sample) sample {
	return sample{max(s.memory, o.memory), max(s.resident, o.resident), max(s.descriptors, o.descriptors)}
}

// observe takes a sample.
func observe(b *testing.B) sample {
	b.Helper()
	read := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"},
	}
	metrics.Read(read)
	var s sample
	for _, m := range read {
		s.memory += m.Value.Uint64()
	}
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	if words := strings.Fields(string(status)); len(words) > 1 {
		pages, _ := strconv.ParseUint(words[1], 10, 64)
		s.resident = pages * uint64(os.Getpagesize())
	}
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		b.Fatal(err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		b.Fatal(err)
	}
	s.descriptors = len(names)
	return s
}

// backEndsVariable makes this program serve the back ends, and says which.
const backEndsVariable = "GEODNS_BENCH_BACK_ENDS"

// TestMain runs the benchmarks, or is one of the processes that they need beside them.
func TestMain(m *testing.M) {
	for variable, run := range map[string]func(string) error{
		backEndsVariable: serveBackEnds, listenersVariable: listenAll, askerVariable: askAll, feedVariable: feedAll, pacerVariable: paceAll,
	} {
		what := os.Getenv(variable)
		if what == "" {
			continue
		}
		if err := run(what); err != nil {
			fmt.Fprintln(os.Stderr, variable+":", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// startBackEnds starts the back ends in a process of their own and gives their port.
func startBackEnds(b *testing.B, kind string, size int, half bool) uint16 {
	b.Helper()
	line, err := startHelper(b, backEndsVariable, fmt.Sprintf("%s %d %v", kind, size, half)).stdout.ReadString('\n')
	if err != nil {
		b.Fatalf("the back ends do not start: %v", err)
	}
	port, err := strconv.ParseUint(strings.TrimSpace(line), 10, 16)
	if err != nil {
		b.Fatal(err)
	}
	return uint16(port)
}

// serveBackEnds serves until stdin ends.
func serveBackEnds(what string) error {
	var (
		kind string
		size int
		half bool
	)
	if _, err := fmt.Sscan(what, &kind, &size, &half); err != nil {
		return err
	}
	config, err := certificate()
	if err != nil {
		return err
	}
	first, err := net.Listen("tcp", netip.AddrPortFrom(backEnd(size), 0).String())
	if err != nil {
		return err
	}
	at, _ := netip.ParseAddrPort(first.Addr().String())
	two := &http.Server{ReadHeaderTimeout: time.Minute, TLSConfig: config, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	for i := range size {
		to := netip.AddrPortFrom(backEnd(i), at.Port())
		if kind == "tcp" && half && hangs(i) {
			if err = listenFull(to); err != nil {
				return err
			}
			continue
		}
		var listener net.Listener
		if listener, err = net.Listen("tcp", to.String()); err != nil {
			return err
		}
		switch {
		case half && hangs(i):
			go accept(listener, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
		case kind == "https":
			go accept(listener, func(conn net.Conn) { answer(tls.Server(conn, config)) })
		case kind == "https2":
			go func() { _ = two.ServeTLS(listener, "", "") }()
		case kind == "http":
			go accept(listener, answer)
		default:
			go accept(listener, func(net.Conn) {})
		}
	}
	if _, err = fmt.Fprintln(os.Stdout, at.Port()); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// accept serves one connection after the other: a back end gets one in five seconds.
func accept(listener net.Listener, serve func(net.Conn)) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		serve(conn)
		_ = conn.Close()
	}
}

// answer reads a request and answers it.
func answer(conn net.Conn) {
	data := make([]byte, 4096)
	for n := 0; !bytes.Contains(data[:n], []byte("\r\n\r\n")); {
		m, err := conn.Read(data[n:])
		if err != nil {
			return
		}
		n += m
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
}

// listenFull listens where no connection gets through: its queue is full, so
// that the kernel drops what comes.
func listenFull(at netip.AddrPort) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	to := &syscall.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	if err = syscall.Bind(fd, to); err != nil {
		return err
	}
	if err = syscall.Listen(fd, 0); err != nil { // one is queued nevertheless
		return err
	}
	filler, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return syscall.Connect(filler, to)
}

// certificate makes a configuration with a certificate of its own.
func certificate() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, nil
}
