//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"geodns/pkg/api"
)

// terminalPair is a pseudo-terminal: what is written to screen comes out of the other side.
type terminalPair struct {
	screen *os.File
	other  *os.File
	mu     sync.Mutex // guards seen
	seen   strings.Builder
	ended  chan struct{}
}

// openTerminal opens a pseudo-terminal of a size, as pty(7) says.
func openTerminal(t *testing.T, width, height uint16) *terminalPair {
	t.Helper()
	other, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	fd := int(other.Fd())
	if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}); err != nil {
		t.Fatal(err)
	}
	screen, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		other.Close()
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	p := &terminalPair{screen: screen, other: other, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		part := make([]byte, 4096)
		for {
			n, err := other.Read(part)
			p.mu.Lock()
			p.seen.Write(part[:n])
			p.mu.Unlock()
			if err != nil {
				return // EIO: the screen was closed
			}
		}
	}()
	return p
}

// close ends the terminal and gives all that was written to it.
func (p *terminalPair) close() string {
	p.screen.Close()
	<-p.ended
	p.other.Close()
	return p.seen.String()
}

// until waits until something was written, and says whether it was.
func (p *terminalPair) until(text string) bool {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-ticker.C {
		p.mu.Lock()
		found := strings.Contains(p.seen.String(), text)
		p.mu.Unlock()
		if found {
			return true
		}
	}
	return false
}

// TestTerminal runs the command on a terminal: colors are there, unless somebody does not want them, and lines are cut at its width.
func TestTerminal(t *testing.T) {
	const red = "\x1b[31mdown\x1b[0m"
	target := api.Target{ID: "web/fra1", State: "down", Admit: 1, Addresses: []api.Address{{Address: "192.0.2.1", Reason: "a reason that is long"}}}
	server := &fakeServer{answers: map[string]answer{"GET /v1/targets": {document: targetsDocument{[]api.Target{target}}}}}
	for _, tt := range []struct {
		name, noColor, term string
		width               uint16
		args                []string
		has, hasNot         string
	}{
		{"colors", "", "xterm", 200, nil, red, "…"},
		{"narrow", "", "xterm", 64, nil, "a r…", "long"},
		{"no color", "1", "xterm", 200, nil, "down", "\x1b"},
		{"dumb", "", "dumb", 200, nil, "down", "\x1b"},
		{"a document", "", "xterm", 200, []string{"-o", "json"}, `"state": "down"`, "\x1b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("NO_COLOR", tt.noColor)
			t.Setenv("TERM", tt.term)
			terminal := openTerminal(t, tt.width, 24)
			var stderr strings.Builder
			code := server.commandTo(t, terminal.screen, &stderr, append([]string{"list", "targets"}, tt.args...)...)
			got := terminal.close()
			if !strings.Contains(got, tt.has) || strings.Contains(got, tt.hasNot) || code != 0 {
				t.Errorf("exit code %d, %s: %q", code, &stderr, got)
			}
		})
	}
}

// TestTerminalProgress checks that a server that takes its time is waited for with a line that is gone in the end.
func TestTerminalProgress(t *testing.T) {
	t.Setenv("TERM", "xterm")
	terminal := openTerminal(t, 80, 24)
	stop := progress(terminal.screen, "waiting for the server")
	if !terminal.until("waiting for the server, 1 s ") {
		t.Error("no progress is shown")
	}
	stop()
	if got := terminal.close(); !strings.HasSuffix(got, lineErase) {
		t.Errorf("something is left: %q", got)
	}
}
