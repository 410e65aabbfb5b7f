package main_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// The field tests run the real command as an operator does, and look at it from outside.

const (
	// fieldStart is how long a server may take until it answers: a busy machine.
	fieldStart = 20 * time.Second
	// fieldStop is how long it may take to end before it is killed.
	fieldStop = 5 * time.Second
	// fieldPoll is the time between two looks at whether it answers.
	fieldPoll = 20 * time.Millisecond
)

// startField runs `geodns serve` with a server's file in a folder of the test, waits until it answers at every address of listen,
// and stops it when the test ends. The file is what settings says, and where to listen and keep state.
func startField(t *testing.T, zones string, listen []netip.AddrPort, settings string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "geodns.yaml")
	var text strings.Builder
	fmt.Fprintf(&text, "zones: %q\nstate: %q\napi: {listen: none}\n%slisten:\n", zones, filepath.Join(dir, "state"), settings)
	for _, at := range listen {
		fmt.Fprintf(&text, "  - %q\n", at)
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	// This test binary, by another name: see TestMain.
	cmd := exec.Command("geodns", "serve", "--config", file) //nolint:noctx // it is stopped below
	var log syncBuffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ended stands in its log
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		timer := time.NewTimer(fieldStop)
		defer timer.Stop()
		select {
		case <-ended:
		case <-timer.C:
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("the server's log:\n%s", &log)
		}
	})
	for _, at := range listen {
		awaitField(t, at, ended)
	}
}

// awaitField polls a server until it answers.
func awaitField(t *testing.T, at netip.AddrPort, ended <-chan struct{}) {
	t.Helper()
	ticker := time.NewTicker(fieldPoll)
	defer ticker.Stop()
	client := dns.Client{Net: "tcp", Timeout: time.Second}
	for end := time.Now().Add(fieldStart); ; <-ticker.C {
		_, _, err := client.Exchange(new(dns.Msg).SetQuestion("wait.invalid.", dns.TypeA), at.String())
		if err == nil {
			return
		}
		select {
		case <-ended:
			t.Fatalf("the server ended before it answered at %s: %v", at, err)
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("no answer from %s within %s: %v", at, fieldStart, err)
		}
	}
}

// syncBuffer collects a program's output.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write appends.
func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String gives what was written so far.
func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
