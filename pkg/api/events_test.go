package api_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"geodns/pkg/api"
)

// publish sends the events from to to, each with its number.
func publish(t *testing.T, e *api.Events, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		if err := e.Publish("verdict", fmt.Sprintf("v-%d", i), map[string]int{"n": i}); err != nil {
			t.Fatal(err)
		}
	}
}

// received gives the ids of what came.
func received(text string) string {
	var ids []string
	for line := range strings.Lines(text) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "id: v-"); ok {
			ids = append(ids, id)
		}
	}
	return strings.Join(ids, " ")
}

// TestEventsResume covers where a stream begins.
func TestEventsResume(t *testing.T) {
	for _, tt := range []struct{ last, want string }{
		{"", "4 5"}, {"v-1", "2 3 4 5"}, {"v-3", "4 5"}, {"v-none", "1 2 3 4 5"},
	} {
		synctest.Test(t, func(t *testing.T) {
			e := api.NewEvents()
			publish(t, e, 1, 3)
			var got bytes.Buffer
			ended := make(chan error, 1)
			go func() {
				_, err := e.Stream(t.Context(), tt.last, func(b []byte) error { got.Write(b); return nil })
				ended <- err
			}()
			synctest.Wait()
			publish(t, e, 4, 5)
			synctest.Wait()
			e.Close()
			if err := <-ended; !errors.Is(err, io.EOF) {
				t.Errorf("ended by %v", err)
			}
			if ids := received(got.String()); ids != tt.want {
				t.Errorf("after %q came %s", tt.last, ids)
			}
			if !strings.HasSuffix(got.String(), "id: v-5\nevent: verdict\ndata: {\"n\":5}\n\n") {
				t.Errorf("form:\n%s", &got)
			}
			if in, _ := e.Stream(t.Context(), "", nil); in {
				t.Error("somebody was let in at the end")
			}
			publish(t, e, 6, 6)
		})
	}
}

// TestEventsHeartbeat covers an idle stream.
func TestEventsHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := api.NewEvents()
		ctx, cancel := context.WithTimeout(t.Context(), 3*api.Heartbeat+time.Second)
		defer cancel()
		var got strings.Builder
		_, err := e.Stream(ctx, "", func(b []byte) error { got.Write(b); return nil })
		if !errors.Is(err, context.DeadlineExceeded) || got.String() != ": connected\n\n"+strings.Repeat(": still here\n\n", 3) {
			t.Errorf("%v:\n%s", err, &got)
		}
		if n := e.Listening(); n != 0 {
			t.Errorf("%d listen", n)
		}
	})
}

// TestEventsSlow covers a subscriber that does not read: it is dropped, gets what waited, and the others miss nothing.
func TestEventsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := api.NewEvents()
		stuck := make(chan struct{})
		var slow, quick bytes.Buffer
		var all sync.WaitGroup
		all.Go(func() {
			_, err := e.Stream(t.Context(), "", func(b []byte) error { <-stuck; slow.Write(b); return nil })
			if !errors.Is(err, io.EOF) {
				t.Errorf("the slow one ended by %v", err)
			}
		})
		all.Go(func() { _, _ = e.Stream(t.Context(), "", func(b []byte) error { quick.Write(b); return nil }) })
		synctest.Wait()
		for i := 1; i <= 2*api.EventQueue; i++ {
			publish(t, e, i, i)
			synctest.Wait()
		}
		if n := e.Listening(); n != 1 {
			t.Errorf("%d listen", n)
		}
		close(stuck)
		synctest.Wait()
		e.Close()
		all.Wait()
		if n := len(strings.Fields(received(slow.String()))); n != api.EventQueue {
			t.Errorf("the slow one got %d events", n)
		}
		if n := len(strings.Fields(received(quick.String()))); n != 2*api.EventQueue {
			t.Errorf("the quick one got %d events", n)
		}
	})
}

// TestEventsKept covers how many can be had again.
func TestEventsKept(t *testing.T) {
	e := api.NewEvents()
	publish(t, e, 1, 5*api.EventsKept+3)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got bytes.Buffer
	_, err := e.Stream(ctx, "gone", func(b []byte) error { got.Write(b); cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("ended by %v", err)
	}
	ids := strings.Fields(received(got.String()))
	if len(ids) < api.EventsKept || len(ids) > 2*api.EventsKept || ids[len(ids)-1] != fmt.Sprint(5*api.EventsKept+3) {
		t.Errorf("%d events are kept", len(ids))
	}
}

// TestEventsMax covers the bound on streams, and a document that cannot be sent.
func TestEventsMax(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := api.NewEvents()
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range api.SubscribersMax {
			all.Go(func() { _, _ = e.Stream(ctx, "", func([]byte) error { return nil }) })
		}
		synctest.Wait()
		if in, _ := e.Stream(ctx, "", nil); in {
			t.Error("one too many was let in")
		}
		cfg := config()
		cfg.Health.Events = e
		if response := ask(t, cfg, "GET", "/v1/events"); response.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("status %d", response.StatusCode)
		}
		cancel()
		all.Wait()
		if n := e.Listening(); n != 0 {
			t.Errorf("%d listen", n)
		}
		if e.Publish("a", "b", func() {}) == nil || e.Publish("a\n", "b", 1) == nil || e.Publish("a", "b\ndata: x", 1) == nil {
			t.Error("what cannot be sent was sent")
		}
	})
}

// TestEvents streams over a real connection: with a token, from the last id on, until the server ends.
func TestEvents(t *testing.T) {
	cfg, tokens := guarded(time.Now)
	s, err := api.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	events := cfg.Health.Events
	publish(t, events, 1, 2)
	listen := func(ctx context.Context, last string) *http.Response {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addr().String()+"/v1/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		bearer(tokens[sendGood])(request)
		request.Header.Set("Last-Event-ID", last)
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if kind := response.Header.Get("Content-Type"); response.StatusCode != 200 || kind != "text/event-stream" {
			t.Errorf("status %d, content type %q", response.StatusCode, kind)
		}
		return response
	}
	leaving, leave := context.WithCancel(t.Context())
	defer leave()
	gone := listen(leaving, "")
	staying := listen(t.Context(), "v-1")
	defer staying.Body.Close()
	leave() // who leaves is noticed
	gone.Body.Close()
	eventually(t, "one listens", func() bool { return events.Listening() == 1 })
	publish(t, events, 3, 3)
	lines := bufio.NewScanner(staying.Body)
	var got strings.Builder
	for lines.Scan() {
		got.WriteString(lines.Text() + "\n")
		if lines.Text() == `data: {"n":3}` {
			cancel()
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if ids := received(got.String()); ids != "2 3" {
		t.Errorf("came %s", ids)
	}
	if n := events.Listening(); n != 0 {
		t.Errorf("%d listen", n)
	}
}

// eventually polls until f is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-ticker.C {
		if f() {
			return
		}
	}
	t.Fatalf("%s: not within 20 s", what)
}
