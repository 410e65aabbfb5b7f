package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// A thousand dashboards may listen while this process answers queries, and an event is for all of them at once. Written to one after
// the other without a pause it would keep the processors from the answers for as long as that takes, some 30 ms. So each listener
// has a timer, and Publish sets the timers to turns that a few listeners share: nobody is woken before its turn, and what waits for
// a listener by then goes out in one write. A listener that does not read blocks its own goroutine alone.
//
// Nothing is copied for a listener: it has a place in the one list of events that are kept.

// Limits of the stream of events.
const (
	// SubscribersMax bounds the streams at once: a thousand dashboards and recorders, with room. Each is a connection of
	// ConnectionsMax, of which those who only listen shall not use up the last 500.
	SubscribersMax = 1500
	// EventsKept is how many of the latest events can be had again by who was away, at least; up to twice as many are kept, of
	// some 400 bytes each. Thousands of targets that go down at once are in it.
	EventsKept = 4096
	// eventQueue is how many events may wait for a subscriber. Who is further behind is dropped, comes back with the last id
	// that it has, and misses nothing that is kept: so it is less than EventsKept.
	eventQueue = EventsKept / 2
	// flushTick is the time between two turns, and flushTogether how many listeners have one: 400 writes a second are some 1.5 % of
	// one processor, at 35 µs each with what the kernel does for them. The tenth listener has an event at once, the hundredth a
	// quarter of a second later, the thousandth, and nobody watches on a thousand screens, 2.5 s later. Turns of one listener each,
	// ten times as often, cost half as much again, and answers came a fifth later.
	flushTick     = 25 * time.Millisecond
	flushTogether = 10
	// flushEvery is how often one listener is written to at most, so that a burst of events costs it a few writes. The first event
	// after a pause goes at once.
	flushEvery = 100 * time.Millisecond
	// flushBytes is how much is written at once, if one event is not longer: some 150 events.
	flushBytes = 64 << 10
	// heartbeat is how often something is sent when nothing happens, so that both sides notice when the other is gone, and
	// proxies keep the connection: the usual limit is a minute.
	heartbeat = 15 * time.Second
	// streamLife is how long a stream lasts: a credential is looked at when it begins, and shall not be of use long after it is
	// revoked or over. Who comes back with the last id misses nothing.
	streamLife = 15 * time.Minute
	// heartbeatEarly is by how much a heartbeat may come early: events reach all listeners together, and what is sent when none
	// comes should not.
	heartbeatEarly = heartbeat / 4
	// eventWriteTimeout bounds one write to a subscriber.
	eventWriteTimeout = 10 * time.Second
)

// Events passes on what happens to all who listen at GET /v1/events (server-sent events, as the HTML standard has them). Whoever
// publishes never waits: a subscriber that does not keep up is dropped. Safe for concurrent use.
type Events struct {
	buffers sync.Pool // of *[]byte, for what is about to be written

	mu sync.Mutex // guards the following, and what subscribers say it does

	// kept is the latest events, oldest first: only appended to, or replaced, so that a part of it stays what it is. first is the
	// number of the first of them; numbers begin at 0 with the process.
	kept        []sentEvent
	first       uint64
	subscribers map[*subscriber]struct{}
	turn        time.Time // the last that was given
	taken       int       // listeners that have it
	dropped     uint64    // listeners that did not keep up
	closed      bool
}

// sentEvent is an event as it is sent. Immutable.
type sentEvent struct {
	kind, id string
	text     []byte
}

// subscriber is one stream.
type subscriber struct {
	kinds []string    // that are sent, immutable; none: all
	wake  *time.Timer // when there is something to do for its goroutine

	// Guarded by Events.mu.
	missed  []sentEvent // what comes before next
	next    uint64      // number of the event that comes next
	waiting bool        // a turn is its
	wrote   time.Time   // its last turn
	over    bool        // it was dropped, or everything ends: nothing from end on is sent
	end     uint64
}

// wants says whether events of a kind are sent.
func (s *subscriber) wants(kind string) bool {
	return len(s.kinds) == 0 || slices.Contains(s.kinds, kind)
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
	now := time.Now()
	for s := range e.subscribers {
		switch {
		case s.waiting && e.head()-s.next >= eventQueue:
			e.dropped++
			e.drop(s)
		case s.waiting:
		case s.wants(kind):
			e.await(s, now)
		default:
			s.next = e.head() + 1
		}
	}
	if len(e.kept) == 2*EventsKept {
		e.kept = append(make([]sentEvent, 0, 2*EventsKept), e.kept[EventsKept:]...)
		e.first += EventsKept
	}
	e.kept = append(e.kept, sentEvent{kind, id, text})
	return nil
}

// head is the number of the event to come. e.mu is held.
func (e *Events) head() uint64 { return e.first + uint64(len(e.kept)) }

// await gives a subscriber the next turn that has room. e.mu is held.
func (e *Events) await(s *subscriber, now time.Time) {
	switch {
	case now.Sub(e.turn) >= flushTick:
		e.turn, e.taken = now, 0
	case e.taken == flushTogether:
		e.turn, e.taken = e.turn.Add(flushTick), 0
	}
	e.taken++
	at := e.turn
	if again := s.wrote.Add(flushEvery); again.After(at) {
		at = again
	}
	s.waiting = true
	s.wake.Reset(at.Sub(now))
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

// drop ends a stream; what waits for it is sent still. e.mu is held.
func (e *Events) drop(s *subscriber) {
	delete(e.subscribers, s)
	s.over, s.end = true, e.head()
	s.wake.Reset(0)
}

// subscribe begins a stream of some kinds of events, of all where none is named, with those that came after the one with id last, if
// any was named. If that one is not known (any more), all that are kept come. nil: there are too many streams, or none any more.
func (e *Events) subscribe(last string, kinds []string) *subscriber {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || len(e.subscribers) >= SubscribersMax {
		return nil
	}
	s := &subscriber{kinds: kinds, wake: time.NewTimer(heartbeat), next: e.head()}
	e.subscribers[s] = struct{}{}
	if last == "" {
		return s
	}
	s.missed = e.kept
	for i := range e.kept {
		if e.kept[i].id == last {
			s.missed = e.kept[i+1:]
		}
	}
	return s
}

// leave ends a stream from the subscriber's side.
func (e *Events) leave(s *subscriber) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.subscribers, s)
	s.wake.Stop()
}

// Streams counts the listeners, and those that were cut off so far as they did not keep up.
func (e *Events) Streams() (listening int, dropped uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.subscribers), e.dropped
}

// take appends to text what is to be written now, and sets the subscriber's timer to when it is to ask again. True: that was the
// end of the stream.
func (e *Events) take(s *subscriber, text []byte) ([]byte, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	add := func(event *sentEvent) bool {
		switch {
		case !s.wants(event.kind):
		case len(text) > 0 && len(text)+len(event.text) > flushBytes:
			return false
		default:
			text = append(text, event.text...)
		}
		return true
	}
	for len(s.missed) > 0 && add(&s.missed[0]) {
		s.missed = s.missed[1:]
	}
	end := e.head()
	if s.over {
		end = s.end
	}
	if len(s.missed) == 0 {
		s.missed = nil // it keeps a list in memory
		for s.next >= e.first && s.next < end && add(&e.kept[s.next-e.first]) {
			s.next++
		}
	}
	s.waiting = false
	switch now := time.Now(); {
	case s.over && len(s.missed) == 0 && (s.next < e.first || s.next == end):
		return text, true
	case s.over:
		s.wake.Reset(0)
	case len(s.missed) > 0 || s.next < end:
		s.wrote = now
		e.await(s, now)
	default:
		s.wrote = now
		s.wake.Reset(heartbeat - rand.N(heartbeatEarly))
	}
	return text, false
}

// stream writes a subscriber's events until it is dropped, ctx ends or a write does not succeed. send writes and flushes.
func (e *Events) stream(ctx context.Context, s *subscriber, send func([]byte) error) error {
	// Something goes out at once, so that the other side sees that it is connected.
	first := ": connected\n\n"
	for {
		buffer, ok := e.buffers.Get().(*[]byte)
		if !ok {
			buffer = new([]byte)
		}
		text, over := e.take(s, append((*buffer)[:0], first...))
		if len(text) == 0 && !over {
			text = append(text, ": still here\n\n"...)
		}
		var err error
		if len(text) > 0 {
			err = send(text)
		}
		*buffer = text
		e.buffers.Put(buffer)
		switch {
		case err != nil:
			return err
		case over:
			return io.EOF
		}
		first = ""
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.wake.C:
		}
	}
}
