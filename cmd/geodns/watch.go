package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"geodns/pkg/api"
)

// How a stream of events is followed.
const (
	// watchAgain is how long after the end of a stream it is asked for again, at first; then twice as long each time.
	watchAgain = time.Second
	// watchAgainMax bounds that: who waits at a screen does not want to wait longer for a server that is back.
	watchAgainMax = 10 * time.Second
	// watchSilence ends a stream that is silent: the server sends something every 15 s.
	watchSilence = 45 * time.Second
)

// errSilent is why a stream is asked for anew that is silent.
var errSilent = fmt.Errorf("nothing came for %s", watchSilence)

// errEnough ends a watch that has shown as many events as were asked for.
var errEnough = errors.New("enough events")

// eventKinds are the kinds of events that there are.
func eventKinds() []string {
	return []string{api.EventVerdict, api.EventLease, api.EventLoad, api.EventSwap}
}

// newWatch builds `geodns watch`.
func newWatch() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Follow what happens in a running server: verdicts, leases, loads, swaps",
		Long: `Follow what happens in a running server, a line an event, until it is interrupted, which is exit code 0. When the server or the
connection goes away, watch says so, comes back by itself and misses nothing that the server keeps. With -o json each event is a
line of JSON.`,
		Example: `  geodns watch --kinds verdict,lease
  geodns watch -o json | jq 'select(.kind == "load")'`,
		Args: arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return watch(cmd) },
	}
	addFile(cmd)
	addOutput(cmd)
	addAPI(cmd)
	cmd.Flags().StringSlice("kinds", nil, "only these kinds: "+strings.Join(eventKinds(), ", ")+" (all)")
	complete(cmd, "kinds", eventKinds()...)
	cmd.Flags().IntP("number", "n", 0, "end after so many events; 0: never")
	return cmd
}

// watcher follows the events of one server.
type watcher struct {
	client *client
	kinds  []string // empty: all
	last   string   // id of the last event that was shown
	left   int      // events to show still; below 0: without end
	emit   func(*event) error
	warn   io.Writer
}

// watch shows events until a signal.
func watch(cmd *cobra.Command) error {
	w, err := newWatcher(cmd)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err = w.run(ctx)
	if ctx.Err() != nil || errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// newWatcher reads the flags.
func newWatcher(cmd *cobra.Command) (*watcher, error) {
	kinds, err := cmd.Flags().GetStringSlice("kinds")
	if err != nil {
		return nil, err
	}
	for _, kind := range kinds {
		if !slices.Contains(eventKinds(), kind) {
			return nil, usagef("--kinds: there is no kind %q; there are %s", kind, strings.Join(eventKinds(), ", "))
		}
	}
	n, err := cmd.Flags().GetInt("number")
	if err != nil {
		return nil, err
	}
	if n < 0 {
		return nil, usagef("-n: %d is no count of events", n)
	}
	if n == 0 {
		n = -1
	}
	c, err := newClient(cmd)
	if err != nil {
		return nil, err
	}
	p := newPage(cmd)
	p.width = 0 // a line that is cut would hide why
	emit := func(e *event) error { return writeEvent(p, e) }
	switch cmd.Flag("output").Value.String() {
	case outputJSON:
		emit = func(e *event) error { return writeEventJSON(p.w, e) }
	case outputYAML:
		emit = func(e *event) error { return writeEventYAML(p.w, e) }
	}
	return &watcher{client: c, kinds: kinds, left: n, emit: emit, warn: cmd.ErrOrStderr()}, nil
}

// run follows one stream after the other, until ctx ends, enough was shown, or the server does not want us. A server that was
// never there is an error; one that was is waited for.
func (w *watcher) run(ctx context.Context) error {
	met := false
	wait := watchAgain
	for {
		began, err := w.follow(ctx)
		if began {
			met, wait = true, watchAgain
		}
		if _, final := errors.AsType[*writeError](err); !met || final || errors.Is(err, errEnough) || refuses(err) || ctx.Err() != nil {
			return err
		}
		fmt.Fprintf(w.warn, "geodns: the stream of events ended (%s); again in %s%s\n", printable(err.Error()), wait, w.from())
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		wait = min(2*wait, watchAgainMax)
	}
}

// from says where the next stream goes on.
func (w *watcher) from() string {
	if w.last == "" {
		return ""
	}
	return ", from after " + printable(w.last)
}

// refuses says whether a server's answer will be the same next time: a credential that is not enough, a stream that is not there.
func refuses(err error) bool {
	p, ok := errors.AsType[*problem](err)
	return ok && p.Status/100 == 4 && p.Status != http.StatusTooManyRequests
}

// writeError is a standard output that is gone.
type writeError struct{ err error }

// Error gives what became of the output.
func (e *writeError) Error() string { return "writing an event: " + e.err.Error() }

// Unwrap gives the error behind it.
func (e *writeError) Unwrap() error { return e.err }

// follow shows the events of one stream until it ends, and says whether it began at all.
func (w *watcher) follow(ctx context.Context) (began bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(watchSilence, func() { cancel(errSilent) })
	defer silence.Stop()
	response, err := w.open(ctx)
	if err != nil {
		return false, because(ctx, err)
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		_, err := readAnswer(response)
		return false, err
	}
	stream := newEventReader(response.Body)
	for {
		e, err := stream.next(func() { silence.Reset(watchSilence) })
		if err != nil {
			return true, because(ctx, err)
		}
		if e.id != "" {
			w.last = e.id
		}
		if err := w.emit(&e); err != nil {
			return true, &writeError{err}
		}
		if w.left--; w.left == 0 {
			return true, errEnough
		}
	}
}

// because gives why a context ended, where that is why there is an error.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if errors.Is(err, io.EOF) {
		return errors.New("the server ended it")
	}
	return err
}

// open asks for a stream that goes on after the last event.
func (w *watcher) open(ctx context.Context) (*http.Response, error) {
	path := "/v1/events"
	if len(w.kinds) > 0 {
		path += "?" + url.Values{"kinds": {strings.Join(w.kinds, ",")}}.Encode()
	}
	request, err := w.client.request(ctx, http.MethodGet, path, "text/event-stream", nil)
	if err != nil {
		return nil, err
	}
	if w.last != "" {
		request.Header.Set("Last-Event-ID", w.last)
	}
	return w.client.send(request)
}

// eventDocument is an event for programs.
type eventDocument struct {
	ID   string          `json:"id"`
	Kind string          `json:"kind"`
	Data json.RawMessage `json:"data"`
}

// document is the event for programs. Data that is no JSON becomes a string of it.
func (e *event) document() (eventDocument, error) {
	data := json.RawMessage(e.data)
	if !json.Valid(data) {
		var err error
		if data, err = json.Marshal(e.data); err != nil {
			return eventDocument{}, err
		}
	}
	return eventDocument{e.id, e.kind, data}, nil
}

// writeEventJSON prints an event as a line of JSON.
func writeEventJSON(w io.Writer, e *event) error {
	document, err := e.document()
	if err != nil {
		return err
	}
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err = encoder.Encode(document); err != nil {
		return err
	}
	_, err = w.Write(line.Bytes())
	return err
}

// writeEventYAML prints an event as a YAML document of a stream of them.
func writeEventYAML(w io.Writer, e *event) error {
	document, err := e.document()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, "---\n"); err != nil {
		return err
	}
	return writeYAML(w, document)
}
