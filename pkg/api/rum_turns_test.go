package api_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"geodns/pkg/api"
	"geodns/pkg/rum"
)

const oneLine = `{"client":"203.0.113.7","region":"fra","ms":41.5}` + "\n"

// feedTo sends a feed to a handler, and gives the answer.
func feedTo(t *testing.T, handler http.Handler, body io.Reader) *http.Response {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), "POST", "http://127.0.0.1:8053/v1/rum/bulk", body)
	request.Header.Set("Content-Type", "application/x-ndjson")
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	return recorder.Result()
}

// TestBulkTurns: feeds are read and counted by half of the processors at most; one that has no turn in time comes again later, and
// nothing of it is taken.
func TestBulkTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards the following
		under, most, calls := 0, 0, 0
		held := make(chan struct{})
		cfg := config()
		cfg.RUM.Add = func(samples []rum.Sample) rum.Counts {
			mu.Lock()
			under, calls = under+1, calls+1
			most = max(most, under)
			mu.Unlock()
			<-held
			mu.Lock()
			under--
			mu.Unlock()
			return count(samples)
		}
		handler, err := api.NewHandler(cfg)
		if err != nil {
			t.Fatal(err)
		}
		turns := max(runtime.GOMAXPROCS(0)/2, 1)
		var feeds sync.WaitGroup
		for range turns {
			feeds.Go(func() {
				if response := feedTo(t, handler, strings.NewReader(oneLine)); response.StatusCode != http.StatusAccepted {
					t.Errorf("a feed with a turn: status %d", response.StatusCode)
				}
			})
		}
		synctest.Wait()
		response := feedTo(t, handler, strings.NewReader(oneLine))
		if got := text(t, response); response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") != "5" ||
			!strings.Contains(got, "nothing was taken") {
			t.Errorf("without a turn: status %d, Retry-After %q: %s", response.StatusCode, response.Header.Get("Retry-After"), got)
		}
		if most != turns || calls != turns {
			t.Errorf("%d feeds at once, %d in all; %d are wanted", most, calls, turns)
		}
		for range 3 * turns { // they wait for a moment, and have their turns
			feeds.Go(func() {
				if response := feedTo(t, handler, strings.NewReader(oneLine)); response.StatusCode != http.StatusAccepted {
					t.Errorf("a feed that waited: status %d", response.StatusCode)
				}
			})
		}
		synctest.Wait()
		close(held)
		feeds.Wait()
		if most != turns || calls != 4*turns {
			t.Errorf("%d feeds at once, %d in all; %d and %d are wanted", most, calls, turns, 4*turns)
		}
	})
}

// TestBulkSlow: feeds whose senders are slow, or gone, have no turn while they wait.
func TestBulkSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler, err := api.NewHandler(config())
		if err != nil {
			t.Fatal(err)
		}
		var feeds sync.WaitGroup
		var senders []*io.PipeWriter
		for i := range 4 * runtime.GOMAXPROCS(0) {
			body, sender := io.Pipe()
			senders = append(senders, sender)
			feeds.Go(func() {
				want := []int{http.StatusAccepted, http.StatusBadRequest}[i%2]
				if response := feedTo(t, handler, body); response.StatusCode != want {
					t.Errorf("a slow feed: status %d, want %d", response.StatusCode, want)
				}
			})
			if _, err := io.WriteString(sender, oneLine); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if response := feedTo(t, handler, strings.NewReader(oneLine)); response.StatusCode != http.StatusAccepted {
			t.Errorf("beside slow ones: status %d", response.StatusCode)
		}
		for i, sender := range senders {
			if err := sender.CloseWithError([]error{nil, io.ErrUnexpectedEOF}[i%2]); err != nil {
				t.Fatal(err)
			}
		}
		feeds.Wait()
		if response := feedTo(t, handler, strings.NewReader(oneLine)); response.StatusCode != http.StatusAccepted {
			t.Errorf("behind slow ones: status %d", response.StatusCode)
		}
	})
}
