package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Limits of the stream of events.
const (
	// SubscribersMax bounds the streams at once: dashboards, a recorder or two, people. Each is a connection of ConnectionsMax,
	// which shall not be used up by those who only listen.
	SubscribersMax = 32
	// EventsKept is how many of the latest events can be had again by who was away, at least; up to twice as many are kept, of
	// some 500 bytes each. A thousand targets that go down at once are in it.
	EventsKept = 1024
	// eventQueue is how many events may wait for a subscriber. Who is further behind is dropped, comes back with the last id
	// that it has, and misses nothing that is kept.
	eventQueue = 256
	// heartbeat is how often something is sent when nothing happens, so that both sides notice when the other is gone, and
	// proxies keep the connection: the usual limit is a minute.
	heartbeat = 15 * time.Second
	// streamLife is how long a stream lasts: a credential is looked at when it begins, and shall not be of use long after it is
	// revoked or over. Who comes back with the last id misses nothing.
	streamLife = 15 * time.Minute
	// eventWriteTimeout bounds one write to a subscriber.
	eventWriteTimeout = 10 * time.Second
)

// Events passes on what happens to all who listen at GET /v1/events (server-sent events, as the HTML standard has them). Whoever
// publishes never waits: a subscriber that does not keep up is dropped. Safe for concurrent use.
type Events struct {
	mu sync.Mutex // guards the following

	kept        []sentEvent // oldest first
	subscribers map[*subscriber]struct{}
	closed      bool
}

// sentEvent is an event as it is sent.
type sentEvent struct {
	id   string
	text []byte // immutable
}

// subscriber is one stream.
type subscriber struct {
	queue chan []byte // closed when it is dropped, or at the end of everything
}

// NewEvents makes the stream of a server. Nothing runs, so nothing need be closed that is not served.
func NewEvents() *Events { return &Events{subscribers: map[*subscriber]struct{}{}} }

// Publish sends an event of a kind: one word, an id to go on from, and a document. It does not block.
func (e *Events) Publish(kind, id string, document any) error {
	body, err := json.Marshal(document)
	if err != nil {
		return fmt.Errorf("writing event %s: %w", id, err)
	}
	if strings.ContainsAny(kind+id, "\r\n\x00") {
		return fmt.Errorf("event %q of kind %q: neither may hold the end of a line", id, kind)
	}
	text := fmt.Appendf(nil, "id: %s\nevent: %s\ndata: %s\n\n", id, kind, body)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	if len(e.kept) == 2*EventsKept {
		e.kept = append(e.kept[:0], e.kept[EventsKept:]...)
	}
	e.kept = append(e.kept, sentEvent{id, text})
	for s := range e.subscribers {
		select {
		case s.queue <- text:
		default:
			e.drop(s)
		}
	}
	return nil
}

// Close ends all streams, and lets nobody in any more.
func (e *Events) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	for s := range e.subscribers {
		e.drop(s)
	}
}

// drop ends a stream; what waits in its queue is sent still. e.mu is held.
func (e *Events) drop(s *subscriber) {
	delete(e.subscribers, s)
	close(s.queue)
}

// subscribe begins a stream, with the events that came after the one with id last as the first of it, if any was named. If that
// one is not known (any more), all that are kept come. nil: there are too many streams, or none any more.
func (e *Events) subscribe(last string) (s *subscriber, missed []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || len(e.subscribers) >= SubscribersMax {
		return nil, nil
	}
	s = &subscriber{queue: make(chan []byte, eventQueue)}
	e.subscribers[s] = struct{}{}
	if last == "" {
		return s, nil
	}
	after := 0
	for i := range e.kept {
		if e.kept[i].id == last {
			after = i + 1
		}
	}
	var text bytes.Buffer
	for _, k := range e.kept[after:] {
		text.Write(k.text)
	}
	return s, text.Bytes()
}

// leave ends a stream from the subscriber's side.
func (e *Events) leave(s *subscriber) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, in := e.subscribers[s]; in {
		e.drop(s)
	}
}

// listening counts the streams.
func (e *Events) listening() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.subscribers)
}

// stream writes a subscriber's events until it is dropped, ctx ends or a write does not succeed. send writes and flushes.
func (s *subscriber) stream(ctx context.Context, missed []byte, send func([]byte) error) error {
	// Something goes out at once, so that the other side sees that it is connected.
	if err := send(append([]byte(": connected\n\n"), missed...)); err != nil {
		return err
	}
	idle := time.NewTicker(heartbeat)
	defer idle.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case text, open := <-s.queue:
			if !open {
				return io.EOF
			}
			if err := send(text); err != nil {
				return err
			}
		case <-idle.C:
			if err := send([]byte(": still here\n\n")); err != nil {
				return err
			}
		}
	}
}
