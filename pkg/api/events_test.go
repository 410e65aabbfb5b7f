package api_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
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

// TestEventsHeartbeat covers idle streams: each says something often enough, and they do not speak all at once.
func TestEventsHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := api.NewEvents()
		ctx, cancel := context.WithTimeout(t.Context(), 10*api.Heartbeat)
		defer cancel()
		var all sync.WaitGroup
		first := make([]time.Duration, 50)
		for i := range first {
			all.Go(func() {
				var got strings.Builder
				began, last := time.Now(), time.Now()
				_, err := e.Stream(ctx, "", func(b []byte) error {
					gap := time.Since(last)
					if last = time.Now(); got.Len() > 0 && (gap > api.Heartbeat || gap < api.Heartbeat-api.HeartbeatEarly) {
						t.Errorf("a heartbeat after %v", gap)
					}
					if got.Len() > 0 && first[i] == 0 {
						first[i] = time.Since(began)
					}
					got.Write(b)
					return nil
				})
				text, beats := strings.CutPrefix(got.String(), ": connected\n\n")
				if n := strings.Count(text, ": still here\n\n"); !errors.Is(err, context.DeadlineExceeded) || !beats || n < 10 || len(text) != n*len(": still here\n\n") {
					t.Errorf("%v:\n%s", err, &got)
				}
			})
		}
		all.Wait()
		slices.Sort(first)
		if n := len(slices.Compact(first)); n < 40 {
			t.Errorf("50 listeners heard of each other's silence at %d times", n)
		}
		if n := e.Listening(); n != 0 {
			t.Errorf("%d listen", n)
		}
	})
}

// pass lets time pass.
func pass(d time.Duration) { <-time.NewTimer(d).C }

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
			pass(time.Millisecond)
		}
		if n, dropped := e.Streams(); n != 1 || dropped != 1 {
			t.Errorf("%d listen, %d were dropped", n, dropped)
		}
		close(stuck)
		pass(time.Second)
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

// TestEventsKept covers how many can be had again, and in what pieces they come.
func TestEventsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const last = 5*api.EventsKept + 3
		e := api.NewEvents()
		publish(t, e, 1, last)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var got bytes.Buffer
		_, err := e.Stream(ctx, "gone", func(b []byte) error {
			if len(b) > api.FlushBytes {
				t.Errorf("a write of %d bytes", len(b))
			}
			got.Write(b)
			if got.Len() == len(b) { // what comes meanwhile is behind them
				publish(t, e, last+1, last+1)
			}
			if strings.HasSuffix(got.String(), fmt.Sprintf("{\"n\":%d}\n\n", last+1)) {
				cancel()
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("ended by %v", err)
		}
		ids := strings.Fields(received(got.String()))
		if len(ids) < api.EventsKept || len(ids) > 2*api.EventsKept+1 {
			t.Errorf("%d events are kept", len(ids))
		}
		for i, id := range ids {
			if want := fmt.Sprint(last + 1 - (len(ids) - 1 - i)); id != want {
				t.Fatalf("event %s where %s belongs", id, want)
			}
		}
	})
}

// TestEventsTurns covers when a thousand listeners are written to: the first few at once, all within their turns, few at one time, and
// none more often than it should be however many events there are. None of them misses an event or gets one twice.
func TestEventsTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const listeners, events, every = 1000, 100, 30 * time.Millisecond
		const round = listeners / api.FlushTogether * api.FlushTick
		e := api.NewEvents()
		var all sync.WaitGroup
		var mu sync.Mutex
		writes := map[time.Time]int{}
		got := make([]strings.Builder, listeners)
		last := make([]time.Time, listeners)
		for i := range listeners {
			all.Go(func() {
				_, _ = e.Stream(t.Context(), "", func(b []byte) error {
					mu.Lock()
					defer mu.Unlock()
					now := time.Now()
					if got[i].Len() > 0 { // not the greeting
						writes[now]++
					}
					if now.Sub(last[i]) < api.FlushEvery {
						t.Errorf("listener %d is written to after %v", i, now.Sub(last[i]))
					}
					last[i] = now
					got[i].Write(b)
					return nil
				})
			})
		}
		synctest.Wait()
		pass(time.Second)
		for i := 1; i <= events; i++ {
			publish(t, e, i, i)
			synctest.Wait()
			mu.Lock()
			if n := writes[time.Now()]; i == 1 && n != api.FlushTogether {
				t.Errorf("%d listeners had the first event at once, not %d", n, api.FlushTogether)
			}
			mu.Unlock()
			pass(every)
		}
		pass(2 * round)
		e.Close()
		all.Wait()
		total := 0
		for at, n := range writes {
			if total += n; n > 2*api.FlushTogether {
				t.Errorf("%d listeners are written to at %v", n, at)
			}
		}
		if most := int((events*every+2*round)/api.FlushTick+1) * api.FlushTogether; total > most {
			t.Errorf("%d writes, of at most %d", total, most)
		}
		want := received(got[0].String())
		for i := range got {
			if ids := received(got[i].String()); len(strings.Fields(ids)) != events || ids != want {
				t.Fatalf("listener %d got %s", i, ids)
			}
		}
	})
}

// TestEventsKinds covers listeners to some kinds alone: what others want does not wake them, and does not count as waiting.
func TestEventsKinds(t *testing.T) {
	for _, tt := range []struct {
		kinds []string
		want  string
	}{
		{nil, "lease load verdict"}, {[]string{"lease"}, "lease"}, {[]string{"verdict", "load"}, "load verdict"}, {[]string{"swap"}, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			e := api.NewEvents()
			ended := make(chan error, 1)
			kinds := map[string]bool{}
			go func() {
				_, err := e.Stream(t.Context(), "", func(b []byte) error {
					for line := range strings.Lines(string(b)) {
						if kind, ok := strings.CutPrefix(line, "event: "); ok {
							kinds[strings.TrimSpace(kind)] = true
						}
					}
					return nil
				}, tt.kinds...)
				ended <- err
			}()
			synctest.Wait()
			for i := range 3 * api.EventsKept {
				for _, kind := range []string{"verdict", "load"} {
					if err := e.Publish(kind, fmt.Sprint(kind, i), i); err != nil {
						t.Fatal(err)
					}
				}
				pass(time.Millisecond)
			}
			if err := e.Publish("lease", "l", 1); err != nil {
				t.Fatal(err)
			}
			pass(time.Second)
			e.Close()
			if err := <-ended; !errors.Is(err, io.EOF) {
				t.Errorf("ended by %v", err)
			}
			if got := strings.Join(slices.Sorted(maps.Keys(kinds)), " "); got != tt.want {
				t.Errorf("kinds %v: came %s", tt.kinds, got)
			}
		})
	}
	for _, target := range []string{"/v1/events?kinds=verdicts", "/v1/events?kinds=lease,", "/v1/events?kind=lease"} {
		if response := ask(t, config(), "GET", target); response.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s: status %d", target, response.StatusCode)
		}
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
