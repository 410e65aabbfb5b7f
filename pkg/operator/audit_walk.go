package operator

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// walker goes through the segments of a log in order, line by line. What starts the log and what verifies it see the same.
type walker struct {
	dir   string
	chain chain
	// see is told of each line: its entry, nil if it cannot be read, and what is wrong, "" if nothing is. Some wrongs are about the
	// file and have no line (text is nil).
	see func(file string, line int, text []byte, e *Entry, wrong string)
	// ignored is told of bytes behind the end of a segment that the log itself says was given up.
	ignored func(file string, bytes int64)

	// Of the segment that was read last.
	lines int
	whole int64 // bytes of its lines
	torn  int64 // bytes behind them, of a line without an end
}

// begin is called before the first segment: with any entry that the file's name has.
func (w *walker) begin(first uint64) { w.chain.seq, w.chain.hash = first-1, "" }

// segment reads a segment; next is the one behind it, nil for the last, which may end in the middle of a line.
func (w *walker) segment(s segment, next *segment) error {
	name := segmentName(s.first)
	file, err := os.Open(filepath.Join(w.dir, name))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // only read
	end, err := w.endOf(name, next)
	if err != nil {
		return err
	}
	var from io.Reader = file
	if end != nil {
		from = io.LimitReader(file, end.Bytes)
		if more := s.size - end.Bytes; more > 0 && w.ignored != nil {
			w.ignored(name, more)
		}
	}
	expected := w.chain.seq + 1
	scan := scanLines(from)
	for {
		ok, err := scan.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		e, wrong := w.chain.step(scan.line)
		if scan.number == 1 && e != nil && e.Seq != s.first && wrong == "" {
			w.chain.broken = true
			wrong = fmt.Sprintf("the file's name says entry %d, but it begins with entry %d: it was renamed", s.first, e.Seq)
		}
		w.see(name, scan.number, scan.line, e, wrong)
	}
	w.lines, w.whole, w.torn = scan.number-1, scan.offset, scan.torn
	w.judgeEnd(name, s, next != nil, expected)
	return nil
}

// judgeEnd says what is wrong with the end of a segment that has been read.
func (w *walker) judgeEnd(name string, s segment, more bool, expected uint64) {
	wrong := ""
	switch {
	case more && w.torn > 0:
		wrong = "the last line has no end: the file was cut, or something was put behind it"
	case more && w.lines == 0:
		wrong = "the file is empty: its entries were removed"
	case w.lines == 0 && s.first != expected:
		wrong = fmt.Sprintf("the file's name says entry %d, where entry %d belongs: this log did not write it", s.first, expected)
	default:
		return
	}
	w.chain.broken = true
	w.see(name, w.lines+1, nil, nil, wrong)
}

// endOf gives the end of a segment if the one behind it says that it was given up there.
func (w *walker) endOf(name string, next *segment) (*segmentEnd, error) {
	if next == nil {
		return nil, nil
	}
	e, err := firstEntry(w.dir, next.first)
	if err != nil || e == nil || e.Kind != EntryLog || e.After == nil {
		return nil, err
	}
	end := new(segmentEnd)
	if err := json.Unmarshal(e.After, end); err != nil || end.File != name {
		return nil, nil //nolint:nilerr // it says something else
	}
	return end, nil
}
