package main

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// readAll reads the events of a stream until it ends.
func readAll(r io.Reader) (events []event, err error) {
	reader := newEventReader(r)
	for {
		e, err := reader.next(func() {})
		if err != nil {
			return events, err
		}
		events = append(events, e)
	}
}

// compareEvents lets cmp see the fields.
func compareEvents() cmp.Option { return cmp.AllowUnexported(event{}) }

// TestEvents covers the forms of a stream.
func TestEvents(t *testing.T) {
	for _, tt := range []struct {
		name, stream string
		want         []event
	}{
		{"comments and two events", ": connected\n\nid: 1\nevent: load\ndata: {}\n\n: still here\n\nid: 2\nevent: swap\ndata: x\n\n", []event{{"1", "load", "{}"}, {"2", "swap", "x"}}},
		{"lines of data, ends of all kinds", "data: a\r\ndata:b\rdata\n\n", []event{{"", "", "a\nb\n"}}},
		{"an id stays", "id: 7\ndata: a\n\ndata: b\n\n", []event{{"7", "", "a"}, {"7", "", "b"}}},
		{"a kind does not", "event: load\n\ndata: a\n\n", []event{{"", "", "a"}}},
		{"an event that is cut off", "data: a\n\ndata: b\n", []event{{"", "", "a"}}},
		{"a byte order mark", "\ufeffdata: a\n\n", []event{{"", "", "a"}}},
		{"fields of no meaning", "retry: 10\nnonsense\ndata: a\n\n", []event{{"", "", "a"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tt.stream), iotest.OneByteReader(strings.NewReader(tt.stream))} {
				got, err := readAll(r)
				if !errors.Is(err, io.EOF) {
					t.Errorf("ended by %v", err)
				}
				if diff := cmp.Diff(tt.want, got, compareEvents()); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// TestEventsLong checks that what is no stream of ours uses no memory up.
func TestEventsLong(t *testing.T) {
	for _, text := range []string{strings.Repeat("x", 2*eventBytesMax), "data: " + strings.Repeat("data: x\n", eventBytesMax/7)} {
		if _, err := readAll(strings.NewReader(text)); !errors.Is(err, errEventLong) {
			t.Errorf("ended by %v", err)
		}
	}
}

// FuzzEvents compares the reader with one that has all of the stream before it.
func FuzzEvents(f *testing.F) {
	for _, seed := range []string{"id: 1\nevent: load\ndata: {}\n\n", "data\r\r\n\n", "\ufeff:\n\ndata: a\rdata:b\n\n", "id: \x00\ndata: x\n\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, stream string) {
		got, err := readAll(iotest.HalfReader(strings.NewReader(stream)))
		if !errors.Is(err, io.EOF) && !errors.Is(err, errEventLong) {
			t.Fatal(err)
		}
		if errors.Is(err, io.EOF) {
			if diff := cmp.Diff(slowEvents(stream), got, compareEvents()); diff != "" {
				t.Error(diff)
			}
		}
	})
}

// slowEvents reads a whole stream as the standard describes it, line by line.
func slowEvents(stream string) []event {
	stream = strings.ReplaceAll(strings.TrimPrefix(stream, "\ufeff"), "\r\n", "\n")
	lines := strings.Split(strings.ReplaceAll(stream, "\r", "\n"), "\n")
	var events []event
	id, kind, data := "", "", ""
	for _, line := range lines[:len(lines)-1] { // the last has no end
		if line == "" {
			if data != "" {
				events = append(events, event{id, kind, strings.TrimSuffix(data, "\n")})
			}
			kind, data = "", ""
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case field == "event":
			kind = value
		case field == "data":
			data += value + "\n"
		case field == "id" && !strings.Contains(value, "\x00"):
			id = value
		}
	}
	return events
}
