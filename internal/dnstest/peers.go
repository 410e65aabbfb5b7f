// Package dnstest is support for tests alone: it runs other name servers beside ours, to hold the answers against each other.
//
// Nothing here is used by the product. Peers listen on loopback, on a free port, in a folder of the test, and are gone when the
// test ends.
package dnstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// peerStart is how long a peer may take until it answers: a large zone on a busy machine.
const peerStart = 30 * time.Second

// peerStop is how long a peer may take to end before it is killed.
const peerStop = 5 * time.Second

// NeedPeer gives the path of a peer's program. Where it is missing the test is skipped, or fails if GEODNS_PEERS is
// "require".
func NeedPeer(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path
		}
	}
	if os.Getenv("GEODNS_PEERS") == "require" {
		t.Fatalf("%s is not installed and GEODNS_PEERS=require", program)
	}
	t.Skipf("%s is not installed", program)
	return ""
}

// Peer is another name server, started for a test and serving on UDP and TCP.
type Peer struct {
	Name    string // the program's
	Addr    string // address:port, on loopback
	Version string // what the program says of itself: one line

	out  *lockedBuffer
	kill func()
}

// Kill ends the peer at once, as a crash would.
func (p *Peer) Kill() { p.kill() }

// Log is what the peer has written so far.
func (p *Peer) Log() string { return p.out.String() }

// setup is how a peer is started.
type setup struct {
	name    string   // of the peer
	program string   // its path
	version []string // arguments that make it say its version
	dir     string   // where it runs
	port    int
	conf    string   // what its configuration says
	file    string   // where that is written
	args    []string // of the program
	ready   string   // what its log says when all zones are loaded; empty: the first answer says that
}

// startPeer writes the configuration, runs the program, and waits until it answers.
func startPeer(t testing.TB, s setup) *Peer {
	t.Helper()
	if err := os.WriteFile(s.file, []byte(s.conf), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &Peer{Name: s.name, Addr: fmt.Sprintf("127.0.0.1:%d", s.port), Version: versionOf(t, s), out: new(lockedBuffer)}
	cmd := exec.Command(s.program, s.args...) //nolint:gosec,noctx // a fixed program; it is stopped below
	cmd.Dir = s.dir
	cmd.SysProcAttr = peerAttributes()
	cmd.Stdout, cmd.Stderr = p.out, p.out
	exited, err := runPeer(cmd)
	if err != nil {
		t.Fatalf("starting %s: %v", s.name, err)
	}
	p.kill = func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // its group: there is nothing to do if it has ended
		<-exited
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		timer := time.NewTimer(peerStop)
		defer timer.Stop()
		select {
		case <-exited:
		case <-timer.C:
		}
		p.kill() // its children, if it left any
	})
	if err := p.wait(t.Context(), s.ready, exited); err != nil {
		t.Fatalf("%s on %s: %v\n%s", s.name, p.Addr, err, p.Log())
	}
	return p
}

// runPeer starts a program, and gives a channel that is closed when it has ended. A thread is kept for it alone: the kernel kills a program
// of [peerAttributes] when the thread ends that started it, and any other may, as one does with each UDP worker of ours.
func runPeer(cmd *exec.Cmd) (exited <-chan struct{}, err error) {
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread() // it is like the others
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended does not matter
		}
	}()
	return ended, <-started
}

// versionOf asks a program for its version.
func versionOf(t testing.TB, s setup) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), peerStop)
	defer cancel()
	out, _ := exec.CommandContext(ctx, s.program, s.version...).CombinedOutput() //nolint:gosec // a fixed program; some exit with 1
	for line := range strings.Lines(string(out)) {
		if number := versionNumber(line); number != "" {
			return number
		}
	}
	return "unknown"
}

// versionNumber is the first word of a line that is a version, such as 9.18.49.
func versionNumber(line string) string {
	for word := range strings.FieldsSeq(line) {
		if major, rest, dotted := strings.Cut(word, "."); dotted && strings.Trim(major, "0123456789") == "" && rest != "" && major != "" {
			return word
		}
	}
	return ""
}

// wait polls the peer until its log says ready and it answers over TCP.
func (p *Peer) wait(ctx context.Context, ready string, exited <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, peerStart)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	q := new(dns.Msg).SetQuestion("wait.invalid.", dns.TypeA)
	for {
		c := dns.Client{Net: "tcp", Timeout: time.Second}
		if strings.Contains(p.Log(), ready) {
			if _, _, err := c.ExchangeContext(ctx, q, p.Addr); err == nil {
				return nil
			}
		}
		select {
		case <-exited:
			return errors.New("it ended")
		case <-ctx.Done():
			return errors.New("it does not answer")
		case <-ticker.C:
		}
	}
}

// Client asks a peer many questions. It is not safe for concurrent use.
type Client struct {
	peer *Peer
	udp  *dns.Conn
	tcp  *dns.Conn // opened when needed
}

// Dial makes a client, closed when the test ends.
func (p *Peer) Dial(t testing.TB) *Client {
	t.Helper()
	conn, err := dns.DialTimeout("udp", p.Addr, peerStop)
	if err != nil {
		t.Fatalf("dialing %s: %v", p.Name, err)
	}
	conn.UDPSize = ednsSize
	c := &Client{peer: p, udp: conn}
	t.Cleanup(func() {
		_ = conn.Close() // nothing is left to be said on it
		c.closeTCP()
	})
	return c
}

// closeTCP closes the TCP connection; the next question opens another.
func (c *Client) closeTCP() {
	if c.tcp != nil {
		_ = c.tcp.Close() // nothing is left to be said on it
		c.tcp = nil
	}
}

const (
	// askBatch is how many queries are under way at once: few enough for the socket's buffer.
	askBatch = 32
	// ednsSize is the size of answers over UDP that the client takes.
	ednsSize = 4096
	// udpWait is how long to wait for the answers of a batch before the missing ones are asked for over TCP.
	udpWait = 2 * time.Second
)

// Ask sends queries and gives their answers, in the order of the queries: over UDP, and over TCP those that are truncated or get
// lost. It sets the queries' ids and adds EDNS to them; the answers' OPT is taken away.
func (c *Client) Ask(queries []*dns.Msg) ([]*dns.Msg, error) {
	all := make([]*dns.Msg, 0, len(queries))
	for batch := range slices.Chunk(queries, askBatch) {
		answers, err := c.askUDP(batch)
		for i := 0; i < len(batch) && err == nil; i++ {
			if answers[i] == nil || answers[i].Truncated {
				answers[i], err = c.askTCP(batch[i])
			}
		}
		if err != nil {
			return nil, fmt.Errorf("asking %s for %s: %w", c.peer.Name, batch[0].Question[0].String(), err)
		}
		for _, m := range answers {
			m.Extra = slices.DeleteFunc(m.Extra, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeOPT })
		}
		all = append(all, answers...)
	}
	return all, nil
}

// askUDP sends queries and gives the answers that come, nil for those that do not.
func (c *Client) askUDP(queries []*dns.Msg) ([]*dns.Msg, error) {
	for i, q := range queries {
		q.Id = uint16(i)
		q.SetEdns0(ednsSize, false)
		if err := c.udp.WriteMsg(q); err != nil {
			return nil, err
		}
	}
	if err := c.udp.SetReadDeadline(time.Now().Add(udpWait)); err != nil {
		return nil, err
	}
	answers := make([]*dns.Msg, len(queries))
	for left := len(queries); left > 0; {
		m, err := c.udp.ReadMsg()
		if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() {
			break
		}
		if err != nil {
			return nil, err
		}
		i := int(m.Id)
		if i < len(queries) && answers[i] == nil && len(m.Question) == 1 && m.Question[0] == queries[i].Question[0] { // else it is late
			answers[i] = m
			left--
		}
	}
	return answers, nil
}

// askTCP sends one query. A connection that the peer closed is opened again.
func (c *Client) askTCP(q *dns.Msg) (*dns.Msg, error) {
	var err error
	for range 2 {
		if c.tcp == nil {
			if c.tcp, err = dns.DialTimeout("tcp", c.peer.Addr, peerStop); err != nil {
				c.tcp = nil
				return nil, err
			}
		}
		if err = c.tcp.SetDeadline(time.Now().Add(peerStop)); err == nil {
			err = c.tcp.WriteMsg(q)
		}
		var m *dns.Msg
		if err == nil {
			if m, err = c.tcp.ReadMsg(); err == nil {
				return m, nil
			}
		}
		c.closeTCP()
	}
	return nil, err
}

// freePort is FreePort for a test that needs one.
func freePort(t testing.TB) int {
	t.Helper()
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// lockedBuffer collects a program's output.
type lockedBuffer struct {
	mu  sync.Mutex
	buf strings.Builder
}

var _ io.Writer = (*lockedBuffer)(nil)

// Write appends.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String gives what was written so far.
func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
