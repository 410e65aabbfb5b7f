package operator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"geodns/internal/durable"
)

// write adds prepared entries to the log and gives them as they are there. The caller holds writing.
func (l *Log) write(entries []Entry) ([]Entry, error) {
	if l.closed {
		return nil, ErrLogClosed
	}
	if err := l.settle(); err != nil {
		return nil, l.fail(err)
	}
	if l.file != nil && l.segments[len(l.segments)-1].size >= l.conf.SegmentBytes {
		if err := l.rotate(); err != nil {
			return nil, err
		}
	}
	written, err := l.put(entries)
	if err == nil && l.uncovered >= checkpointEntries {
		select {
		case l.wake <- struct{}{}:
		default: // Run knows already
		}
	}
	return written, err
}

// put numbers entries, chains them to the last one, and waits until they are on disk: one write, one sync. Where there is no segment
// to write to they begin one, behind the note that is due.
func (l *Log) put(entries []Entry) ([]Entry, error) {
	begins := l.file == nil
	all := make([]Entry, 0, len(entries)+1)
	if begins && l.note != nil {
		all = append(all, *l.note)
	}
	noted := len(all)
	all = append(all, entries...)
	if len(all) == 0 {
		return nil, nil
	}
	text, err := l.chainUp(all)
	if err != nil {
		return nil, l.fail(err)
	}
	at := int64(0)
	if begins {
		// A file that is there is one that we could not begin before: nothing in it was ever acknowledged.
		if l.file, err = os.OpenFile(l.path(segmentName(all[0].Seq)), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode); err != nil {
			l.file = nil
			return nil, l.fail(err)
		}
	} else {
		at = l.segments[len(l.segments)-1].size
	}
	if _, err = l.conf.disk.writeAt(l.file, text, at); err != nil {
		return nil, l.undo(begins, false, err)
	}
	if err = l.conf.disk.sync(l.file); err != nil {
		return nil, l.undo(begins, true, err)
	}
	if begins {
		if err = l.conf.disk.syncDir(l.conf.Dir); err != nil {
			return nil, l.undo(begins, true, err)
		}
		l.note = nil
	}
	l.publish(all, int64(len(text)), begins)
	return all[noted:], nil
}

// chainUp fills what the log gives to entries, and makes their lines.
func (l *Log) chainUp(entries []Entry) ([]byte, error) {
	var text []byte
	seq, prev := l.seq, l.hash
	for i := range entries {
		e := &entries[i]
		seq++
		e.Seq, e.Prev = seq, prev
		if e.Time.IsZero() {
			e.Time = l.conf.Now()
		}
		e.Time = wallTime(e.Time)
		line, err := e.encode()
		if err != nil {
			return nil, fmt.Errorf("entry %q: %w", e.Kind, err)
		}
		prev = e.Hash
		text = append(append(text, line...), '\n')
	}
	return text, nil
}

// publish makes entries that are on disk the log's state, and hands them on.
func (l *Log) publish(entries []Entry, bytes int64, begins bool) {
	l.mu.Lock()
	if begins {
		l.segments = append(l.segments, segment{first: entries[0].Seq})
	}
	l.segments[len(l.segments)-1].size += bytes
	for i := range entries {
		e := &entries[i]
		l.seq, l.hash = e.Seq, e.Hash
		if e.Kind == EntryCheckpoint {
			l.checkpoint, l.checkpointTime, l.uncovered = e.Seq, e.Time, 0
			l.first, l.firstPrev = e.Checkpoint.First, e.Checkpoint.FirstPrev
			continue
		}
		if l.uncovered == 0 {
			l.oldest = l.conf.Now()
		}
		l.uncovered++
	}
	l.failed = ""
	l.mu.Unlock()
	if l.conf.OnAppend != nil {
		l.conf.OnAppend(slices.Clone(entries))
	}
}

// undo brings the segment back to its last good length after a write that went wrong. Where that is not sure, because a sync lost
// something or the file cannot be cut, the segment is given up, and the next write begins another.
func (l *Log) undo(begins, lost bool, cause error) error {
	if begins {
		_ = l.file.Close() // nothing in it counts; what stays of it is overwritten when the segment is begun again
		_ = os.Remove(l.file.Name())
		l.file = nil
		return l.fail(cause)
	}
	last := l.segments[len(l.segments)-1]
	err := l.conf.disk.truncate(l.file, last.size)
	if lost || err != nil {
		_ = l.file.Close() // all that counts was synced before
		l.file = nil
		name := segmentName(last.first)
		l.note = logEntry(fmt.Sprintf("%s ends after %d bytes, for it could not be written any more: %v", name, last.size, cause),
			&segmentEnd{File: name, Bytes: last.size})
	}
	return l.fail(errors.Join(cause, err))
}

// fail keeps an error for Status, and returns it.
func (l *Log) fail(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = err.Error()
	return err
}

// logEntry is what the log has to say of itself.
func logEntry(why string, end *segmentEnd) *Entry {
	e := &Entry{Kind: EntryLog, Who: logWho, Why: strings.ToValidUTF8(why[:min(len(why), whyMax)], "")}
	if end != nil {
		e.After, _ = json.Marshal(end) // a name and a number
	}
	return e
}

// writeCheckpoint signs all that is in the log, and that it begins with the entry first.
func (l *Log) writeCheckpoint(first uint64, firstPrev string) error {
	if l.file == nil && l.note != nil {
		if _, err := l.put(nil); err != nil {
			return err
		}
	}
	e := Entry{Kind: EntryCheckpoint, Who: logWho, Time: wallTime(l.conf.Now())}
	e.Checkpoint = &Checkpoint{Seq: l.seq, Chain: l.hash, First: first, FirstPrev: firstPrev, Key: l.public}
	e.Checkpoint.sign(l.key, e.Time)
	line, err := l.chainUp([]Entry{e})
	if err != nil {
		return l.fail(err)
	}
	l.settled = false
	if err := durable.Write(l.path(headNextFile), line); err != nil {
		return l.fail(err)
	}
	if _, err := l.put([]Entry{e}); err != nil {
		return err
	}
	if err := l.settle(); err != nil {
		return l.fail(err)
	}
	return nil
}

// settle ends what a checkpoint left half done: head.next becomes head if its line is the log's last, and goes if it is not there.
// Nothing is written to the log before.
func (l *Log) settle() error {
	if l.settled {
		return nil
	}
	line, err := durable.Peek(l.path(headNextFile))
	_, corrupt := errors.AsType[*durable.CorruptError](err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = nil // only the sync of the folder is left to do
	case corrupt:
		err = l.conf.disk.remove(l.path(headNextFile))
	case err != nil:
	default:
		if e, parseErr := parseEntry(trimLine(line)); parseErr == nil && e.Hash == l.hash {
			err = l.conf.disk.rename(l.path(headNextFile), l.path(headFile))
		} else {
			err = l.conf.disk.remove(l.path(headNextFile))
		}
	}
	if err == nil {
		err = l.conf.disk.syncDir(l.conf.Dir)
	}
	if err != nil {
		return fmt.Errorf("keeping the last checkpoint: %w", err)
	}
	l.settled = true
	return nil
}

// rotate ends a full segment. Its last entry is a checkpoint, which takes away the oldest segments if there is too much of them.
func (l *Log) rotate() error {
	first, firstPrev := l.first, l.firstPrev
	if e := l.cut(); e != nil {
		first, firstPrev = e.Seq, e.Prev
	}
	if l.uncovered > 0 || first != l.first {
		if err := l.writeCheckpoint(first, firstPrev); err != nil {
			return err
		}
	}
	err := l.file.Close()
	l.file = nil
	if err != nil { // all that counts was synced before
		l.conf.Logger.Warn("closing a full segment of the audit log", "error", err)
	}
	l.prune()
	return nil
}

// cut chooses the entry that the log is to begin with, the first of a segment; nil: as it does.
func (l *Log) cut() *Entry {
	keep := 0
	for keep < len(l.segments)-1 && totalBytes(l.segments[keep:]) > l.conf.KeepBytes {
		keep++
	}
	if l.segments[keep].first <= l.first {
		return nil
	}
	// A segment that somebody changed at its beginning cannot be where the log begins.
	for ; keep < len(l.segments); keep++ {
		e, err := firstEntry(l.conf.Dir, l.segments[keep].first)
		if err != nil {
			l.conf.Logger.Warn("removing old segments of the audit log", "error", err)
			return nil
		}
		if e != nil && e.Seq == l.segments[keep].first {
			return e
		}
	}
	return nil
}

// prune removes the segments before the first entry of the last checkpoint. What cannot be removed is tried again with the next
// segment.
func (l *Log) prune() {
	for len(l.segments) > 1 && l.segments[0].first < l.first {
		if err := os.Remove(l.path(segmentName(l.segments[0].first))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.conf.Logger.Warn("removing an old segment of the audit log", "error", err)
			return
		}
		l.mu.Lock()
		l.segments = l.segments[1:]
		l.mu.Unlock()
	}
}
