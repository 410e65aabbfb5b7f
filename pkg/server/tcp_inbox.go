package server

import (
	"encoding/binary"
	"io"

	"geodns/pkg/dnswire"
)

// tcpFirst is the octets that a connection can read into without a buffer: most queries with all their options, a padded
// one (128 octets and a length) among them. It is what each silent connection costs.
const tcpFirst = 256

// inbox is what was received on one connection and not yet answered. Its zero value is empty.
type inbox struct {
	start, end int        // of what is there, in first or more
	cut        bool       // it is one long message, of which only length and header were kept
	more       *tcpBuffer // nil: first is used
	first      [tcpFirst]byte
}

// longKept is what is kept of a message that does not fit: enough to answer that it is malformed.
const longKept = 2 + dnswire.HeaderLen

func (in *inbox) empty() bool { return in.start == in.end }

// buf is where octets are.
func (in *inbox) buf() []byte {
	if in.more != nil {
		return in.more[:]
	}
	return in.first[:]
}

// missing is the octets of the first message, with its length, that are not there yet; without its length, those of that.
func (in *inbox) missing() int {
	b := in.buf()[in.start:in.end]
	if len(b) < 2 {
		return 2 - len(b)
	}
	return max(0, 2+int(binary.BigEndian.Uint16(b))-len(b))
}

// whole says whether all of a message is there.
func (in *inbox) whole() bool { return in.cut || in.missing() == 0 }

// take gives the first message, which is there until the next fill, without its length. cut says that it is the beginning
// of a longer one.
func (in *inbox) take() (message []byte, cut bool) {
	b := in.buf()[in.start:in.end]
	if in.cut {
		in.start, in.end, in.cut = 0, 0, false
		return b[2:], true
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	in.start += n
	return b[2:n], false
}

// fill reads once, or to the end of a long message. It is called when no whole message is there.
func (in *inbox) fill(r io.Reader, buffers *pool[tcpBuffer]) error {
	size := in.end - in.start + in.missing()
	if in.start+size > len(in.buf()) || in.end == len(in.buf()) {
		in.move(buffers)
	}
	b := in.buf()
	if have := in.end - in.start; size > len(b) && have >= longKept {
		return in.skip(r, size-have)
	}
	n, err := r.Read(b[in.end:])
	in.end += n
	switch {
	case n > 0:
		return nil
	case err == nil:
		return io.ErrNoProgress
	}
	return err
}

// move brings what is there to the beginning of a buffer.
func (in *inbox) move(buffers *pool[tcpBuffer]) {
	b := in.buf()[in.start:in.end]
	if in.more == nil {
		in.more = buffers.get()
	}
	in.start, in.end = 0, copy(in.more[:], b)
}

// skip reads the rest of a message that does not fit, so that the next one is found, and keeps its beginning.
func (in *inbox) skip(r io.Reader, rest int) error {
	b := in.buf()
	in.end = in.start + longKept
	for rest > 0 {
		n, err := r.Read(b[in.end:min(len(b), in.end+rest)])
		if n == 0 {
			if err == nil {
				err = io.ErrNoProgress
			}
			return err
		}
		rest -= n
	}
	in.cut = true
	return nil
}

// free gives the buffer back, and all that is in it.
func (in *inbox) free(buffers *pool[tcpBuffer]) {
	in.start, in.end = 0, 0
	if in.more != nil {
		buffers.put(in.more)
		in.more = nil
	}
}
