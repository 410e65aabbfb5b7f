package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// eventBytesMax bounds an event of a stream: a load with a hundred findings is some tens of kilobytes.
const eventBytesMax = 1 << 20

// errEventLong says that an event is not one of ours.
var errEventLong = fmt.Errorf("an event of the stream is longer than %d bytes", eventBytesMax)

// event is a server-sent event (HTML standard, section 9.2).
type event struct {
	id   string // the last that the stream gave
	kind string // "" is the standard's "message"
	data string // its lines, with \n between
}

// eventReader reads a stream of events.
type eventReader struct {
	lines *bufio.Reader
	id    string
	first bool // no line has been read
}

// newEventReader begins to read a stream.
func newEventReader(r io.Reader) *eventReader {
	return &eventReader{lines: bufio.NewReader(r), first: true}
}

// next gives the next event. alive is called for every line, also for those that are no event but say that the server is there. An
// event that the stream's end cuts off is none.
func (r *eventReader) next(alive func()) (event, error) {
	var e event
	var data []string
	size := 0
	for {
		line, err := r.line()
		if err != nil {
			return event{}, err
		}
		alive()
		if size += len(line); size > eventBytesMax {
			return event{}, errEventLong
		}
		if line == "" {
			if data == nil { // an event without data is none, and its kind is forgotten
				e, size = event{}, 0
				continue
			}
			e.id, e.data = r.id, strings.Join(data, "\n")
			return e, nil
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			e.kind = value
		case "data":
			data = append(data, value)
		case "id":
			if !strings.Contains(value, "\x00") {
				r.id = value
			}
		}
	}
}

// line reads a line without its end, which is \r\n, \n or \r. What the end of the stream cuts off is none.
func (r *eventReader) line() (string, error) {
	var line []byte
	for {
		b, err := r.lines.ReadByte()
		if err != nil {
			return "", err
		}
		switch b {
		case '\n':
			return r.begun(line), nil
		case '\r':
			if err := r.skipNewline(); err != nil {
				return "", err
			}
			return r.begun(line), nil
		}
		if line = append(line, b); len(line) > eventBytesMax {
			return "", errEventLong
		}
	}
}

// begun takes a byte order mark from the stream's first line.
func (r *eventReader) begun(line []byte) string {
	text := string(line)
	if r.first {
		r.first = false
		text = strings.TrimPrefix(text, "\ufeff")
	}
	return text
}

// skipNewline takes the \n behind a \r.
func (r *eventReader) skipNewline() error {
	next, err := r.lines.Peek(1)
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	if next[0] == '\n' {
		_, err = r.lines.Discard(1)
	}
	return err
}
