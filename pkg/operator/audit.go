package operator

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The audit log is a folder:
//
//	00000000000000000001.jsonl   segments, named by their first entry; one entry a line
//	00000000000000031870.jsonl
//	head        the last checkpoint's line
//	head.next   ... of one that is being written
//	key         the private key that signs checkpoints
//	key.pub     its public key, for people to copy to where this machine cannot write
//	lock        held by the process that writes
//
// Each line has the hash of the line before, so a change anywhere changes all that follows. That alone keeps out accidents only:
// whoever can write the folder can hash it all again. So every few entries a checkpoint signs the chain, and the file head says which
// checkpoint is the last, lest the end be cut off with its signature. What is in no checkpoint yet is at most checkpointEntries
// entries, or checkpointAge old. Who has the private key too can forge; who has kept key.pub and a checkpoint elsewhere can tell.
//
// A line counts when it is on disk: Append writes, syncs, and only then answers. A sync that went wrong may have lost what was written
// and will not say so twice, so the segment is given up at its last good length, and the next one begins with an entry that says
// where the old one ends.
//
// A checkpoint is written in three steps: its line to head.next, its line to the log, head.next renamed to head. Nothing else is
// written before all three are done, so after a crash at any point head is that of the last checkpoint in the log, or head.next is.
//
// Old segments go when there is too much of them: first a checkpoint says at which entry the log begins from now on, then the files
// are removed.

const (
	// segmentBytes is the default size of a segment: read whole in a blink, and a gigabyte has 128 of them.
	segmentBytes = 8 << 20

	// keepBytes is the default size of the log: years of leases, weeks of a fleet in trouble.
	keepBytes = 1 << 30

	// checkpointEntries and checkpointAge bound what is not signed yet: a signature and two small files are nothing beside 32
	// syncs, and ten seconds are less than it takes to log in.
	checkpointEntries = 32
	checkpointAge     = 10 * time.Second

	// checkpointTick is how often Run looks at the age.
	checkpointTick = time.Second

	// batchMax bounds the entries that share a sync, but for one call of Append that has more: a batch is then 16 MiB at most.
	batchMax = 256

	// logWho is who does what the log does by itself.
	logWho = "geodns"
)

// ErrLogInUse says that another process writes to the folder of a log.
var ErrLogInUse = errors.New("another process writes there")

// ErrLogClosed says that a log was used after its Close.
var ErrLogClosed = errors.New("the audit log is closed")

// LogConfig is what a log is opened with. It is not modified afterwards.
type LogConfig struct {
	Dir          string           // made where it is missing; its own, state/audit
	SegmentBytes int64            // a segment that has as many is followed by another; 0: 8 MiB
	KeepBytes    int64            // when a segment is full, the oldest are removed while all have more; 0: 1 GiB
	Now          func() time.Time // nil: time.Now
	Logger       *slog.Logger     // nil: none
	// OnAppend is given entries that are on disk, in order, the log's own too. It must not block or call the log; nil: nobody.
	OnAppend func([]Entry)

	disk disk
}

// disk is how the log writes; tests have one that goes wrong.
type disk struct {
	writeAt  func(*os.File, []byte, int64) (int, error)
	sync     func(*os.File) error
	truncate func(*os.File, int64) error
	syncDir  func(string) error
	rename   func(from, to string) error
	remove   func(string) error
}

// LogStatus is what there is to say about a log.
type LogStatus struct {
	Seq            uint64 // of the last entry
	Hash           string // its hash
	First          uint64 // the first entry that is kept
	Bytes          int64  // of all segments
	Segments       int
	Checkpoint     uint64 // the last one's own entry
	CheckpointTime time.Time
	Uncovered      int    // entries after it
	PublicKey      string // Ed25519, base64: the content of key.pub
	Broken         string // why what was found at start does not hold; "": it does
	Failed         string // why the last write went wrong; "": it did not
}

// Log is an open audit log, the only one of its folder. All methods may be called at the same time.
type Log struct {
	conf   LogConfig
	key    ed25519.PrivateKey
	public string // base64
	lock   *os.File
	wake   chan struct{} // for Run: many entries are without a checkpoint

	queueMu sync.Mutex
	queue   []*appendRequest

	// writing is held by who writes, through the waits for the disk. It is taken before mu.
	writing sync.Mutex
	file    *os.File // the last segment; nil: the next write begins another
	note    *Entry   // that begins it, if it has to say something
	settled bool     // head.next is gone
	closed  bool

	// mu guards the following, which is what is on disk.
	mu             sync.Mutex
	segments       []segment
	seq            uint64
	hash           string
	first          uint64
	firstPrev      string
	checkpoint     uint64
	checkpointTime time.Time
	uncovered      int
	oldest         time.Time // when the first of the uncovered was written
	broken, failed string
}

// appendRequest is a call of Append that waits. Its fields are those of who holds Log.writing, once it is in the queue.
type appendRequest struct {
	entries []Entry
	err     error
	done    bool
}

// Append adds entries, and returns them with Seq, Time (UTC; now, if zero), Prev and Hash once they are on disk, all or none. After an
// error none of them counts, and the next call tries anew; only if the machine dies before that, they may be found in the log. Calls
// at the same time share a sync.
func (l *Log) Append(entries ...Entry) ([]Entry, error) {
	r := &appendRequest{entries: make([]Entry, len(entries))}
	copy(r.entries, entries)
	for i := range r.entries {
		if err := r.entries[i].prepare(); err != nil {
			return nil, fmt.Errorf("audit log: entry %q: %w", r.entries[i].Kind, err)
		}
	}
	if len(entries) == 0 {
		return nil, nil
	}
	l.queueMu.Lock()
	l.queue = append(l.queue, r)
	l.queueMu.Unlock()
	l.writing.Lock()
	defer l.writing.Unlock()
	// Whoever comes first writes for all who wait behind it.
	for !r.done {
		l.writeBatch()
	}
	if r.err != nil {
		return nil, fmt.Errorf("audit log: %w", r.err)
	}
	return r.entries, nil
}

// writeBatch takes requests from the queue and writes them. The caller holds writing.
func (l *Log) writeBatch() {
	var batch []*appendRequest
	var entries []Entry
	l.queueMu.Lock()
	for len(l.queue) > 0 && (len(batch) == 0 || len(entries)+len(l.queue[0].entries) <= batchMax) {
		batch = append(batch, l.queue[0])
		entries = append(entries, l.queue[0].entries...)
		l.queue = l.queue[1:]
	}
	l.queueMu.Unlock()
	written, err := l.write(entries)
	for _, r := range batch {
		r.done, r.err = true, err
		if err == nil {
			copy(r.entries, written)
			written = written[len(r.entries):]
		}
	}
}

// Status says how the log is. It does not wait for the disk.
func (l *Log) Status() LogStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	return LogStatus{
		Seq: l.seq, Hash: l.hash, First: l.first, Bytes: totalBytes(l.segments), Segments: len(l.segments),
		Checkpoint: l.checkpoint, CheckpointTime: l.checkpointTime, Uncovered: l.uncovered,
		PublicKey: l.public, Broken: l.broken, Failed: l.failed,
	}
}

// Checkpoint signs what no checkpoint covers yet, if there is any.
func (l *Log) Checkpoint() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.closed {
		return ErrLogClosed
	}
	return l.cover()
}

// cover writes a checkpoint if there is something without one. The caller holds writing.
func (l *Log) cover() error {
	if err := l.settle(); err != nil {
		return l.fail(err)
	}
	if l.uncovered == 0 && l.note == nil {
		return nil
	}
	return l.writeCheckpoint(l.first, l.firstPrev)
}

// due says whether it is time for a checkpoint.
func (l *Log) due() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.uncovered >= checkpointEntries || l.uncovered > 0 && l.conf.Now().Sub(l.oldest) >= checkpointAge
}

// Run writes checkpoints when they are due, until the context ends; it then returns nil. One that goes wrong is said once and tried
// again.
func (l *Log) Run(ctx context.Context) error {
	ticker := time.NewTicker(checkpointTick)
	defer ticker.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-l.wake:
		}
		if !l.due() {
			continue
		}
		err := l.Checkpoint()
		switch {
		case err == nil:
			said = ""
		case errors.Is(err, ErrLogClosed):
			return nil
		case err.Error() != said:
			said = err.Error()
			l.conf.Logger.Warn("the audit log has no checkpoint for its last entries", "error", err)
		}
	}
}

// Close writes a last checkpoint and gives the folder free. Closing again does nothing.
func (l *Log) Close() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.closed {
		return nil
	}
	err := l.cover()
	l.closed = true
	return errors.Join(err, l.release())
}

// release closes all files.
func (l *Log) release() error {
	var err error
	if l.file != nil {
		err = l.file.Close()
		l.file = nil
	}
	return errors.Join(err, unlockFile(l.lock), l.lock.Close())
}

// path is that of a file of the folder.
func (l *Log) path(name string) string { return filepath.Join(l.conf.Dir, name) }

// publicText is a public key as key.pub and checkpoints have it.
func publicText(key ed25519.PublicKey) string { return base64.StdEncoding.EncodeToString(key) }
