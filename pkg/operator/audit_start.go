package operator

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"geodns/internal/durable"
)

const (
	// startSegmentsMax bounds what is read at start. The last checkpoint is in the last segment or in the one before; after writes
	// that went wrong there may be some short ones behind it.
	startSegmentsMax = 4

	// unbornBytes: a first segment that is no larger has the two lines at most that are written before key.pub.
	unbornBytes = 4 << 10

	// believeMax bounds how far a number in a file that somebody changed may be from the last one that is sure: no more entries fit in
	// the files, and a log that believed any number would have none left.
	believeMax = 1 << 40
)

// OpenLog opens the log of a folder for writing, and begins one where there is none. What is there is checked from the last checkpoint
// on. A line that a crash cut short is taken away. If anything else does not hold the files stay as they are, Status says so in
// Broken, and the log goes on in a new segment that begins with the reason. Nobody else may write to the folder meanwhile.
func OpenLog(conf LogConfig) (*Log, error) {
	if conf.Dir == "" || conf.SegmentBytes < 0 || conf.KeepBytes < 0 {
		return nil, errors.New("audit log: a folder is needed, and sizes of 0 or more")
	}
	if conf.SegmentBytes == 0 {
		conf.SegmentBytes = segmentBytes
	}
	if conf.KeepBytes == 0 {
		conf.KeepBytes = keepBytes
	}
	if conf.Now == nil {
		conf.Now = time.Now
	}
	if conf.Logger == nil {
		conf.Logger = slog.New(slog.DiscardHandler)
	}
	if conf.disk.writeAt == nil {
		conf.disk = disk{(*os.File).WriteAt, (*os.File).Sync, (*os.File).Truncate, syncDir, os.Rename, os.Remove}
	}
	l := &Log{conf: conf, wake: make(chan struct{}, 1)}
	if err := l.lockDir(); err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	if err := l.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("audit log in %q: %w", conf.Dir, err), l.release())
	}
	return l, nil
}

// lockDir makes the folder and takes its lock.
func (l *Log) lockDir() error {
	if _, err := os.Stat(l.conf.Dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(l.conf.Dir, dirMode); err != nil {
			return err
		}
		if err := l.conf.disk.syncDir(filepath.Dir(l.conf.Dir)); err != nil {
			return err
		}
	}
	file, err := os.OpenFile(l.path(lockName), os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return err
	}
	ok, err := lockFile(file)
	if err == nil && !ok {
		err = fmt.Errorf("%q: %w: stop it, or give this one a state folder of its own", l.conf.Dir, ErrLogInUse)
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	l.lock = file
	return nil
}

// open reads the key and begins the log, or goes on with it.
func (l *Log) open() error {
	segments, strange, err := listSegments(l.conf.Dir)
	if err != nil {
		return err
	}
	key, err := l.loadKey()
	if err != nil {
		return err
	}
	born, err := l.born(segments)
	if err != nil {
		return err
	}
	fresh := key == nil
	if fresh {
		if key, err = l.makeKey(); err != nil {
			return err
		}
	}
	l.key, l.public = key, publicText(publicOf(key))
	if !born {
		l.hash, l.first, l.firstPrev = noHash, 1, noHash
		l.note = logEntry("the audit log begins here", nil)
		if err := l.writeCheckpoint(l.first, l.firstPrev); err != nil {
			return err
		}
		return l.writePublic() // the last step: with it the log is there
	}
	l.broken = l.brokenBefore()
	r := &resumption{l: l, segments: segments, strange: strange}
	if fresh {
		r.complain("its private key is missing: a new one signs from here on")
	}
	return r.run()
}

// brokenBefore is what earlier starts found that did not hold: a restart must not make it forgotten. "": nothing, or somebody has
// looked into it and removed the file.
func (l *Log) brokenBefore() string {
	text, err := readSmall(l.path(brokenFile), brokenMax)
	if err != nil { // none, or it cannot be read: then verification tells
		return ""
	}
	return strings.TrimSpace(string(text))
}

// keepBroken notes what does not hold, behind what did not before. That it cannot be kept must not stop the server.
func (l *Log) keepBroken(wrong string) {
	line := l.conf.Now().UTC().Format(time.RFC3339) + " " + wrong
	l.broken = strings.TrimSpace(l.broken + "\n" + line)
	if len(l.broken) > brokenMax {
		l.broken = line[:min(len(line), brokenMax)]
	}
	if err := os.WriteFile(l.path(brokenFile), []byte(l.broken+"\n"), fileMode); err != nil {
		l.conf.Logger.Warn("audit log: that it is broken would not be known after a restart", "error", err.Error())
	}
}

// born says whether there is a log, and not only what a crash left of the first steps towards one.
func (l *Log) born(segments []segment) (bool, error) {
	for _, name := range []string{publicFile, headFile} {
		if _, err := os.Lstat(l.path(name)); !errors.Is(err, fs.ErrNotExist) {
			return true, err
		}
	}
	return len(segments) > 1 || len(segments) == 1 && (segments[0].first != 1 || segments[0].size > unbornBytes), nil
}

// resumption is how a log that is there is gone on with.
type resumption struct {
	l          *Log
	segments   []segment
	strange    []string // files that pretend to be segments; nobody reads them
	head, next checkpointFile
	walk       walker
	met        bool   // head's line was met
	far        uint64 // numbers from here on are not believed
	highest    uint64 // the highest number below it
	wrong      string // the first thing that does not hold
}

// complain keeps the first thing that does not hold.
func (r *resumption) complain(wrong string) {
	if r.wrong == "" {
		r.wrong = wrong
	}
}

// run checks what is there and makes it the log's state, then writes what has to be said about it.
func (r *resumption) run() (err error) {
	public := publicOf(r.l.key)
	if r.head, err = readCheckpoint(r.l.path(headFile), public); err != nil {
		return err
	}
	if r.next, err = readCheckpoint(r.l.path(headNextFile), public); err != nil {
		return err
	}
	r.dropFar()
	r.walk = walker{dir: r.l.conf.Dir, chain: chain{key: public}, see: r.see}
	if err := r.read(); err != nil {
		return err
	}
	r.judge()
	r.l.segments = r.segments
	if r.wrong != "" {
		return r.anew()
	}
	return r.goOn()
}

// dropFar leaves out segments with a number that the log cannot have come to.
func (r *resumption) dropFar() {
	r.highest = r.head.seq()
	if r.head.entry == nil && len(r.segments) > 0 && r.segments[0].first < math.MaxUint64/2 {
		r.highest = r.segments[0].first
	}
	r.far = r.highest + uint64(min(totalBytes(r.segments), believeMax)) + startSegmentsMax
	near := make([]segment, 0, len(r.segments))
	for _, s := range r.segments {
		if s.first < r.far {
			near = append(near, s)
		} else {
			r.strange = append(r.strange, segmentName(s.first))
		}
	}
	r.segments = near
}

// see compares head with the log, and keeps what is wrong.
func (r *resumption) see(file string, line int, text []byte, e *Entry, wrong string) {
	if wrong != "" {
		r.complain(fmt.Sprintf("%s:%d: %s", file, line, wrong))
	}
	if e != nil && e.Seq == r.head.seq() && string(text) == r.head.line {
		r.met = true
	}
	if e != nil && e.Seq < r.far {
		r.highest = max(r.highest, e.Seq)
	}
}

// read walks from the segment with the last checkpoint to the end.
func (r *resumption) read() error {
	if len(r.segments) == 0 {
		return nil
	}
	from := len(r.segments) - 1
	for from > 0 && r.head.entry != nil && r.segments[from].first > r.head.seq() {
		from--
	}
	from = max(from, len(r.segments)-startSegmentsMax)
	r.walk.begin(r.segments[from].first)
	for i := from; i < len(r.segments); i++ {
		var next *segment
		if i+1 < len(r.segments) {
			next = &r.segments[i+1]
		}
		if err := r.walk.segment(r.segments[i], next); err != nil {
			return err
		}
		r.highest = max(r.highest, r.segments[i].first+uint64(r.walk.lines))
	}
	return nil
}

// judge says what does not hold in what was read.
func (r *resumption) judge() {
	c := &r.walk.chain
	switch {
	case r.head.wrong != "":
		r.complain(headFile + ": " + r.head.wrong)
	case r.head.entry == nil:
		r.complain("the file " + headFile + " is missing")
	case r.wrong != "":
	case !r.met:
		r.complain(fmt.Sprintf("entry %d, the last checkpoint that %s has, is not where it belongs: the end of the log was cut off, or %s is an older one", r.head.seq(), headFile, headFile))
	case c.checkpoint.Hash == r.head.entry.Hash:
	case r.next.entry == nil || r.next.entry.Hash != c.checkpoint.Hash || c.uncovered > 0:
		r.complain(fmt.Sprintf("%s has entry %d, but the log's last checkpoint is entry %d: somebody put an older file back", headFile, r.head.seq(), c.checkpoint.Seq))
	}
	if r.next.line != "" || r.next.wrong != "" {
		e := r.next.entry
		if e == nil || e.Hash != c.hash && e.Prev != c.hash {
			r.complain(headNextFile + " is not of this log")
		}
	}
}

// goOn makes what was read the log's state.
func (r *resumption) goOn() error {
	l, c := r.l, &r.walk.chain
	l.seq, l.hash, l.uncovered, l.oldest = c.seq, c.hash, c.uncovered, l.conf.Now()
	l.checkpoint, l.checkpointTime = c.checkpoint.Seq, c.checkpoint.Time
	l.first, l.firstPrev = c.checkpoint.Checkpoint.First, c.checkpoint.Checkpoint.FirstPrev
	last := &l.segments[len(l.segments)-1]
	last.size = r.walk.whole
	var err error
	if l.file, err = os.OpenFile(l.path(segmentName(last.first)), os.O_WRONLY, 0); err != nil {
		return err
	}
	if err = l.settle(); err != nil {
		return err
	}
	var notes []Entry
	if r.walk.torn > 0 {
		if err = errors.Join(l.conf.disk.truncate(l.file, last.size), l.conf.disk.sync(l.file)); err != nil {
			return err
		}
		notes = r.say(notes, fmt.Sprintf("%s ended in the middle of a line: the server had ended while it wrote it; its %d bytes were removed", segmentName(last.first), r.walk.torn))
	}
	key, wrong, err := readPublic(l.path(publicFile))
	if err != nil {
		return err
	}
	if wrong != "" || publicText(key) != l.public {
		if err = l.writePublic(); err != nil {
			return err
		}
		notes = r.say(notes, publicFile+" was missing or not the log's: it was written anew")
	}
	for _, name := range r.strange {
		notes = r.say(notes, name+" is no segment of this log, and is not read")
	}
	l.prune()
	_, err = l.put(notes)
	return err
}

// say adds an entry about the log, and logs it.
func (r *resumption) say(notes []Entry, what string) []Entry {
	r.l.conf.Logger.Warn("audit log: "+what, "folder", r.l.conf.Dir)
	return append(notes, *logEntry(what, nil))
}

// anew leaves a log that does not hold as it is, and begins a segment behind it. It leaves out a number, so that verification finds
// the place for as long as it is kept, even if the cause was mended by then.
func (r *resumption) anew() error {
	l, c := r.l, &r.walk.chain
	l.keepBroken(r.wrong)
	l.conf.Logger.Error("the audit log does not hold; it goes on in a new segment", "folder", l.conf.Dir, "reason", r.wrong)
	l.seq, l.hash = r.highest+1, noHash
	if c.held > 0 {
		l.hash = c.heldHash
	} else if r.head.entry != nil {
		l.hash = r.head.entry.Hash
	}
	r.first()
	if r.head.wrong != "" {
		// The next checkpoint would replace it, and somebody may want to see it. That it cannot be kept must not stop the server.
		l.conf.Logger.Warn("audit log", "error", durable.SetAside(l.path(headFile), r.head.wrong))
	}
	l.note = logEntry(r.wrong, nil)
	if err := l.settle(); err != nil {
		return err
	}
	if err := l.writeCheckpoint(l.first, l.firstPrev); err != nil {
		return err
	}
	return l.writePublic()
}

// first chooses where a log that does not hold begins.
func (r *resumption) first() {
	l := r.l
	checkpoint := r.walk.chain.checkpoint
	if checkpoint == nil || r.head.seq() > checkpoint.Seq {
		checkpoint = r.head.entry
	}
	if checkpoint != nil {
		l.first, l.firstPrev = checkpoint.Checkpoint.First, checkpoint.Checkpoint.FirstPrev
		return
	}
	l.first, l.firstPrev = l.seq+1, l.hash
	if len(l.segments) > 0 {
		l.first, l.firstPrev = l.segments[0].first, noHash
		if e, err := firstEntry(l.conf.Dir, l.first); err == nil && e != nil {
			l.firstPrev = e.Prev
		}
	}
}
