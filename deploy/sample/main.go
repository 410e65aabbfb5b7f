// Command sample is what `make run` runs beside the server: three HTTP back ends on loopback, which the policy zones/www.yaml
// checks and answers with, around a command. They end together: with the command, or at an interrupt.
//
//	sample bin/geodns serve
//
// The back ends are at port 8080 of 127.0.0.11, .12 and .13 (Linux has all of 127.0.0.0/8). Port 8080 of 127.0.0.1 stops and
// starts them: POST /eu1/stop, POST /eu1/start. A stopped one has no listener, so a connection to it is refused.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

// controlAddress is where back ends are stopped and started.
const controlAddress = "127.0.0.1:8080"

// headerTimeout bounds how long a client may take to ask; all clients are on this machine.
const headerTimeout = 2 * time.Second

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: sample COMMAND [ARGUMENT...]")
		os.Exit(2)
	}
	code, err := run(os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sample:", err)
	}
	os.Exit(code)
}

// run starts the back ends and the command, and gives the command's exit code when it ends. An interrupt from the terminal
// reaches the command by itself, as it is in the same process group; other signals that end a process are handed on.
func run(args []string, stdout, stderr io.Writer) (int, error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	sites := newSites()
	defer sites.closeAll()
	for _, s := range sites {
		if err := s.start(); err != nil {
			return 1, fmt.Errorf("starting back end %s: %w", s.name, err)
		}
	}
	control, err := (&net.ListenConfig{}).Listen(ctx, "tcp", controlAddress)
	if err != nil {
		return 1, fmt.Errorf("starting the control of the back ends: %w", err)
	}
	server := &http.Server{Handler: sites.control(), ReadHeaderTimeout: headerTimeout}
	go server.Serve(control) //nolint:errcheck // ends with Close below, and has nothing to say
	defer server.Close()
	fmt.Fprintln(stderr, sites)

	command := exec.Command(args[0], args[1:]...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, stdout, stderr
	if err = command.Start(); err != nil {
		return 1, err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		// A second signal does no harm to a command that is on its way out.
		if signalErr := command.Process.Signal(syscall.SIGTERM); signalErr != nil && !errors.Is(signalErr, os.ErrProcessDone) {
			return 1, signalErr
		}
		err = <-ended
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}

// site is one back end.
type site struct {
	name, address string

	mu     sync.Mutex // guards the following
	server *http.Server
}

// sites are all of them.
type sites []*site

// newSites lists the targets of zones/www.yaml.
func newSites() sites {
	return sites{
		{name: "eu1", address: "127.0.0.11:8080"},
		{name: "na1", address: "127.0.0.12:8080"},
		{name: "as1", address: "127.0.0.13:8080"},
	}
}

// String tells how to use them.
func (all sites) String() string {
	var names []string
	for _, s := range all {
		names = append(names, s.name+" "+s.address)
	}
	return "sample: back ends " + strings.Join(names, ", ") + "\n" +
		"sample: curl -X POST " + controlAddress + "/eu1/stop stops one, .../eu1/start starts it again"
}

// start listens; a running site stays as it is.
func (s *site) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		return nil
	}
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return err
	}
	s.server = &http.Server{ReadHeaderTimeout: headerTimeout, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok from", s.name)
	})}
	go s.server.Serve(listener) //nolint:errcheck // ends with Close in stop, and has nothing to say
	return nil
}

// stop closes the listener and every connection; a stopped site stays as it is.
func (s *site) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return nil
	}
	err := s.server.Close()
	s.server = nil
	return err
}

// closeAll ends all of them.
func (all sites) closeAll() {
	for _, s := range all {
		if err := s.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "sample:", err)
		}
	}
}

// control serves POST /NAME/stop and POST /NAME/start.
func (all sites) control() http.Handler {
	mux := http.NewServeMux()
	for _, s := range all {
		for verb, act := range map[string]func() error{"stop": s.stop, "start": s.start} {
			mux.HandleFunc("POST /"+s.name+"/"+verb, func(w http.ResponseWriter, _ *http.Request) {
				if err := act(); err != nil {
					http.Error(w, err.Error(), http.StatusInternalServerError)
					return
				}
				fmt.Fprintf(w, "%s: %s\n", s.name, verb)
			})
		}
	}
	return mux
}
