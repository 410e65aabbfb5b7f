package operator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
)

// EntriesMax is how many entries one call gives at most.
const EntriesMax = 10_000

// Entries gives the first n entries after one that keep wants (nil: all), oldest first, EntriesMax at most. It reads what is on disk,
// and holds up nobody who writes; a line that cannot be read is passed over, for VerifyLog to say.
func (l *Log) Entries(after uint64, n int, keep func(*Entry) bool) ([]Entry, error) {
	segments := l.snapshot()
	from := 0
	for from+1 < len(segments) && segments[from+1].first <= after+1 {
		from++
	}
	n = min(n, EntriesMax)
	var out []Entry
	for i := from; i < len(segments) && len(out) < n; i++ {
		err := l.readSegment(segments, i, func(e *Entry) bool {
			if e.Seq > after && (keep == nil || keep(e)) {
				out = append(out, *e)
			}
			return len(out) < n
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Last gives the last n entries that keep wants, as Entries does: oldest first.
func (l *Log) Last(n int, keep func(*Entry) bool) ([]Entry, error) {
	segments := l.snapshot()
	n = min(n, EntriesMax)
	var out []Entry
	for i := len(segments) - 1; i >= 0 && len(out) < n; i-- {
		var here []Entry
		err := l.readSegment(segments, i, func(e *Entry) bool {
			if keep == nil || keep(e) {
				here = append(here, *e)
			}
			if len(here) > 2*n { // the last n of them are enough, and are all that is held
				here = append(here[:0], here[len(here)-n:]...)
			}
			return true
		})
		if err != nil {
			return nil, err
		}
		out = append(here, out...)
	}
	return out[max(len(out)-n, 0):], nil
}

// snapshot is which files have what is on disk.
func (l *Log) snapshot() []segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.segments)
}

// readSegment hands the entries of a segment to a func, until that says false. A segment that was removed meanwhile has none.
func (l *Log) readSegment(segments []segment, i int, see func(*Entry) bool) error {
	end := uint64(math.MaxUint64)
	if i+1 < len(segments) {
		end = segments[i+1].first // what is behind in this file was given up
	}
	file, err := os.Open(l.path(segmentName(segments[i].first)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the audit log: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	scan := scanLines(io.LimitReader(file, segments[i].size))
	for {
		ok, err := scan.next()
		if err != nil {
			return fmt.Errorf("reading the audit log: %w", err)
		}
		if !ok {
			return nil
		}
		e := new(Entry)
		if json.Unmarshal(scan.line, e) != nil {
			continue
		}
		if e.Seq >= end || !see(e) {
			return nil
		}
	}
}
