package operator

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// segmentExt ends the names of segments.
const segmentExt = ".jsonl"

// segment is a file of the log.
type segment struct {
	first uint64 // its first entry, which gives its name
	size  int64  // bytes
}

// segmentName is the name of the segment that begins with an entry; names sort as their entries do.
func segmentName(first uint64) string { return fmt.Sprintf("%020d%s", first, segmentExt) }

// parseSegmentName is the reverse of segmentName.
func parseSegmentName(name string) (uint64, bool) {
	digits, found := strings.CutSuffix(name, segmentExt)
	first, err := strconv.ParseUint(digits, 10, 64)
	return first, found && err == nil && first > 0 && segmentName(first) == name
}

// listSegments gives the segments of a folder in order, and the names of files that pretend to be some.
func listSegments(dir string) (segments []segment, strange []string, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, file := range files { // sorted by name
		first, ok := parseSegmentName(file.Name())
		if !ok || !file.Type().IsRegular() {
			if ok || strings.HasSuffix(file.Name(), segmentExt) {
				strange = append(strange, file.Name())
			}
			continue
		}
		info, err := file.Info()
		if err != nil {
			return nil, nil, err
		}
		segments = append(segments, segment{first, info.Size()})
	}
	return segments, strange, nil
}

// totalBytes is the size of segments.
func totalBytes(segments []segment) int64 {
	var sum int64
	for _, s := range segments {
		sum += s.size
	}
	return sum
}

// segmentEnd is the After of the first entry of a segment that was begun because the one before could not be written any more: what
// is in that file behind these bytes is no part of the log.
type segmentEnd struct {
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
}

// lineScan is a walk through the lines of a segment.
type lineScan struct {
	reader *bufio.Reader
	number int    // of the line, from 1
	offset int64  // of its first byte
	line   []byte // without its line feed; valid until the next line. One that is too long is cut, but still too long
	torn   int64  // bytes of a last line without a line feed
	size   int64  // of the line with its line feed
}

// scanLines walks through what a reader has.
func scanLines(r io.Reader) *lineScan {
	return &lineScan{reader: bufio.NewReaderSize(r, lineMax+2)} // one byte more than the longest line with its line feed
}

// next goes to the next line; false: there is none.
func (s *lineScan) next() (bool, error) {
	s.number++
	s.offset += s.size
	line, err := s.reader.ReadSlice('\n')
	s.size = int64(len(line))
	if errors.Is(err, bufio.ErrBufferFull) {
		line = bytes.Clone(line)
		for errors.Is(err, bufio.ErrBufferFull) {
			var rest []byte
			rest, err = s.reader.ReadSlice('\n')
			s.size += int64(len(rest))
		}
		line = append(line, '\n')
	}
	if errors.Is(err, io.EOF) {
		s.torn = s.size
		return false, nil
	}
	if err != nil {
		return false, err
	}
	s.line = line[:len(line)-1]
	return true, nil
}

// firstEntry reads the first entry of a segment; nil: it has none that can be read.
func firstEntry(dir string, first uint64) (*Entry, error) {
	file, err := os.Open(filepath.Join(dir, segmentName(first)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read
	scan := scanLines(file)
	ok, err := scan.next()
	if !ok || err != nil {
		return nil, err
	}
	if e, parseErr := parseEntry(scan.line); parseErr == nil {
		return e, nil
	}
	return nil, nil // said by whoever reads the segment itself
}

// syncDir waits until the names in a folder are on disk.
func syncDir(dir string) error {
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
