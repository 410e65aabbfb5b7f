package bench_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"geodns/internal/dnstest"
	"geodns/pkg/api"
	"geodns/pkg/health"
	"geodns/pkg/operator"
	"geodns/pkg/policy"
	"geodns/pkg/rum"
	"geodns/pkg/server"
)

const (
	// listeners is how many listen to events at once, of whom one in tenth never reads.
	listeners, tenth = 1000, 10
	// eventsEvery is the time between two events.
	eventsEvery = 100 * time.Millisecond
	// listenersVariable makes this program listen to events, askerVariable makes it ask queries; each says at what address.
	listenersVariable = "GEODNS_BENCH_LISTENERS"
	askerVariable     = "GEODNS_BENCH_ASKER"
)

// BenchmarkEvents answers queries with and without a thousand listeners to events, ten of which come in a second: in turn, so that
// both meet the same machine, and what is reported is ratios of medians, with listeners to without. Who asks and who listens are
// other processes, the listeners' of the least priority, as they would be on another machine; but their kernel is ours.
func BenchmarkEvents(b *testing.B) {
	pairs, phase := 3, 300*time.Millisecond
	if os.Getenv("GEODNS_PROVE") != "" {
		pairs, phase = 15, time.Second
	}
	events := api.NewEvents()
	asker := startHelper(b, askerVariable, startServer(b).String())
	all := startHelper(b, listenersVariable, startEvents(b, events).String())
	stop := publishEvents(b, events)
	defer stop()
	var with, without struct{ qps, p50, p99, cpu []float64 }
	var each []float64
	for i := range 2 * pairs {
		m := &without
		if i%4 == 1 || i%4 == 2 { // who comes first changes
			m = &with
			before := observe(b)
			all.say(b, "true")
			if n, _ := events.Streams(); n != listeners {
				b.Fatalf("%d listen", n)
			}
			watch(b, time.Second, nil)
			runtime.GC()
			each = append(each, (float64(observe(b).memory)-float64(before.memory))/listeners)
		} else {
			watch(b, time.Second, nil)
			runtime.GC()
		}
		used, began := dnstest.CPUTime(b), time.Now()
		watch(b, phase, nil)
		m.cpu = append(m.cpu, float64(dnstest.CPUTime(b)-used)/float64(time.Since(began)))
		a := askOnce(b, asker, phase)
		m.qps, m.p50, m.p99 = append(m.qps, a.qps), append(m.p50, a.p50), append(m.p99, a.p99)
		if m == &with {
			all.say(b, "false")
		}
	}
	b.ReportMetric(median(with.qps)/median(without.qps), "qps-ratio")
	b.ReportMetric(median(with.p50)/median(without.p50), "p50-ratio")
	b.ReportMetric(median(with.p99)/median(without.p99), "p99-ratio")
	b.ReportMetric(median(without.qps), "qps")
	b.ReportMetric(median(without.p50), "p50-µs")
	b.ReportMetric(median(without.p99), "p99-µs")
	b.ReportMetric(100*(median(with.cpu)-median(without.cpu)), "cpu-%")
	b.ReportMetric(median(each)/1e3, "kB/listener")
	b.ReportMetric(0, "ns/op")
}

// median is the middle of some figures.
func median(figures []float64) float64 {
	sorted := slices.Sorted(slices.Values(figures))
	return sorted[len(sorted)/2]
}

// startEvents serves an API that has events alone.
func startEvents(b *testing.B, events *api.Events) netip.AddrPort {
	b.Helper()
	s, err := api.New(api.Config{
		Listen: netip.MustParseAddrPort("127.0.0.1:0"), Log: slog.New(slog.DiscardHandler),
		Status: func() api.Status { return api.Status{} }, Targets: func() []api.Target { return nil }, Ready: func() error { return nil },
		Explain: func(context.Context, policy.Question) (*policy.Explanation, error) { return nil, io.EOF },
		Reload:  func(context.Context, string) (api.Load, error) { return api.Load{}, nil },
		Health: api.Health{
			Events: events, Checks: func() []api.Check { return nil },
			Vote:    func(context.Context, string, health.Vote) (bool, error) { return false, nil },
			History: func(string) ([]api.Probe, bool) { return nil, false },
			Tune:    func(string, health.Thresholds) (api.Tune, bool) { return api.Tune{}, false },
		},
		Leases: api.Leases{
			Put: func(context.Context, operator.Request) (api.LeaseResult, error) { return api.LeaseResult{}, io.EOF },
			End: func(context.Context, string, string, string, bool) (api.LeaseResult, error) {
				return api.LeaseResult{}, io.EOF
			},
			List: func() []operator.Lease { return nil },
			Get:  func(string) (operator.Lease, bool) { return operator.Lease{}, false }, Touched: func(operator.Object) int { return 0 },
			Attributes: func(operator.Object) api.Attributes { return nil },
		},
		Audit: api.Audit{
			After:  func(uint64, int, func(*operator.Entry) bool) ([]operator.Entry, error) { return nil, io.EOF },
			Last:   func(int, func(*operator.Entry) bool) ([]operator.Entry, error) { return nil, io.EOF },
			Status: func() operator.LogStatus { return operator.LogStatus{} },
		},
		Listing: api.Listing{
			Pools: func() []api.Pool { return nil }, Policies: func() []api.Policy { return nil },
			Zones: func(string, int) ([]api.Zone, int) { return nil, 0 },
		},
		RUM: api.RUM{
			Add: func([]rum.Sample) rum.Counts { return rum.Counts{} }, Report: func() api.RUMReport { return api.RUMReport{} },
			Status:  func() api.RUMStatus { return api.RUMStatus{} },
			Propose: func(float64, time.Duration, int) (api.RUMProposals, error) { return api.RUMProposals{}, io.EOF },
		},
		Metrics: api.Metrics{
			Server: func() server.Stats { return server.Stats{} }, Health: func() health.Stats { return health.Stats{} },
			Loads: func() api.LoadCounts { return api.LoadCounts{} }, Regions: func() map[string]uint64 { return nil },
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return s.Addr()
}

// publishEvents publishes verdicts until the func is called.
func publishEvents(b *testing.B, events *api.Events) func() {
	b.Helper()
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(eventsEvery)
		defer ticker.Stop()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
			id := fmt.Sprintf("v-0123abcd-%d", i)
			if err := events.Publish(api.EventVerdict, id, api.VerdictEvent{
				ID: id, At: time.Now(), Target: "web/fra1", From: "up", To: "down", Reason: "fall", Detail: "192.0.2.10: connection refused", Onset: time.Now(),
			}); err != nil {
				b.Error(err)
				return
			}
		}
	}()
	return func() { close(stop); <-ended }
}

// helper is a process beside the benchmark, which answers a line with a line.
type helper struct {
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

// startHelper starts the one that a variable makes of this program; it ends with the benchmark.
func startHelper(b *testing.B, variable, value string) *helper {
	b.Helper()
	program, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), program) //nolint:gosec // ourselves
	cmd.Env = append(os.Environ(), variable+"="+value)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe() // it ends when this does
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err = cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	return &helper{stdin, bufio.NewReader(stdout)}
}

// say says a line and waits for the answer.
func (h *helper) say(b *testing.B, line string) string {
	b.Helper()
	if _, err := fmt.Fprintln(h.stdin, line); err != nil {
		b.Fatal(err)
	}
	answer, err := h.stdout.ReadString('\n')
	if err != nil {
		b.Fatalf("%q was answered %q, %v", line, answer, err)
	}
	return answer
}

// asked is what an asker found: the answers in a second with a window of questions under way, and with one, in µs, the median and the 99th
// percentile of the time to an answer, and of the part of it that the server has it: from the query's sending, which on loopback is its
// arrival, to the answer's arrival at the socket, which is its sending. The other part is the asker's own waking.
type asked struct{ qps, p50, p99, held50, held99 float64 }

// parse reads what askAll prints.
func (a *asked) parse(line string) error {
	_, err := fmt.Sscan(line, &a.qps, &a.p50, &a.p99, &a.held50, &a.held99)
	return err
}

// askAll asks for as long as each line of stdin says, twice: with a window of questions under way, and with one. It prints what it found.
func askAll(at string) error {
	queries, err := makeQuestions("g", true)
	if err != nil {
		return err
	}
	to, err := net.ResolveUDPAddr("udp", at)
	if err != nil {
		return err
	}
	conn, err := net.DialUDP("udp", nil, to)
	if err != nil {
		return err
	}
	if err = stampAnswers(conn); err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		d, err := time.ParseDuration(lines.Text())
		if err != nil {
			return err
		}
		if err = conn.SetDeadline(time.Now().Add(2*d + time.Minute)); err != nil {
			return err
		}
		took, _, err := askFor(conn, queries, window, d)
		if err != nil {
			return err
		}
		qps := float64(len(took)) / d.Seconds()
		took, held, err := askFor(conn, queries, 1, d)
		if err != nil {
			return err
		}
		slices.Sort(took)
		slices.Sort(held)
		µs := func(all []time.Duration, percent int) float64 {
			return float64(all[len(all)*percent/100].Nanoseconds()) / 1e3
		}
		if _, err = fmt.Fprintln(os.Stdout, qps, µs(took, 50), µs(took, 99), µs(held, 50), µs(held, 99)); err != nil {
			return err
		}
	}
	return nil
}

// askFor keeps some questions under way for a time, and gives how long each answer took after the one before it, and how long after the
// last question was sent the kernel had it.
func askFor(conn *net.UDPConn, queries [][]byte, underWay int, d time.Duration) (took, held []time.Duration, err error) {
	buf, control, sent, began := make([]byte, 1500), make([]byte, 64), 0, time.Now()
	asked := began
	for last := began; last.Sub(began) < d; {
		for ; sent-len(took) < underWay; sent++ {
			asked = time.Now()
			if _, err = conn.Write(queries[sent%len(queries)]); err != nil {
				return nil, nil, err
			}
		}
		var n int
		if _, n, _, _, err = conn.ReadMsgUDPAddrPort(buf, control); err != nil {
			return nil, nil, err
		}
		now := time.Now()
		var at time.Time
		if at, err = stamp(control[:n]); err != nil {
			return nil, nil, err
		}
		took, held, last = append(took, now.Sub(last)), append(held, at.Sub(asked)), now
	}
	for range sent - len(took) { // so that the next begins with none under way
		if _, err = conn.Read(buf); err != nil {
			return nil, nil, err
		}
	}
	return took, held, nil
}

// stampAnswers has the kernel say when a datagram came to the socket.
func stampAnswers(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	if err = raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) }); err != nil {
		return err
	}
	return set
}

// stamp reads when that was. It is a time of the wall clock alone.
func stamp(control []byte) (time.Time, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return time.Time{}, err
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) == 16 {
			return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:]))), nil
		}
	}
	return time.Time{}, errors.New("the kernel does not say when an answer came")
}

// listenAll listens and leaves as stdin says, until it ends.
func listenAll(at string) error {
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, 19); err != nil {
		return err
	}
	var conns []net.Conn
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		for _, c := range conns {
			_ = c.Close()
		}
		conns = nil
		for i := range listeners {
			if lines.Text() != "true" {
				break
			}
			c, err := listenOne(at, i%tenth != 0)
			if err != nil {
				return err
			}
			conns = append(conns, c)
		}
		if _, err := fmt.Fprintln(os.Stdout, lines.Text()); err != nil {
			return err
		}
	}
	return nil
}

// listenOne is a listener, which reads until its connection is closed, or never reads on.
func listenOne(at string, reads bool) (net.Conn, error) {
	c, err := net.Dial("tcp", at)
	if err != nil {
		return nil, err
	}
	if _, err = fmt.Fprintf(c, "GET /v1/events HTTP/1.1\r\nHost: %s\r\n\r\n", at); err != nil {
		return nil, err
	}
	answer := make([]byte, 4096)
	n, err := c.Read(answer)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 200 ") {
		return nil, fmt.Errorf("answered %q", answer[:n])
	}
	if reads {
		go func() { _, _ = io.Copy(io.Discard, c) }()
	}
	return c, nil
}
