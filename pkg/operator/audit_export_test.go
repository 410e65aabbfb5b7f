package operator

import (
	"crypto/ed25519"
	"os"
	"time"
)

// Bounds of the log, for tests.
const (
	CheckpointEntries = checkpointEntries
	CheckpointAge     = checkpointAge
	NoHash            = noHash
	WhyMax            = whyMax
	ValueMax          = valueMax
	LineMax           = lineMax
)

// Disk is how a log writes.
type Disk struct {
	WriteAt  func(*os.File, []byte, int64) (int, error)
	Sync     func(*os.File) error
	Truncate func(*os.File, int64) error
	SyncDir  func(string) error
	Rename   func(from, to string) error
	Remove   func(string) error
}

// NewDisk is the real one.
func NewDisk() Disk {
	return Disk{(*os.File).WriteAt, (*os.File).Sync, (*os.File).Truncate, syncDir, os.Rename, os.Remove}
}

// Use makes a log write so.
func (c *LogConfig) Use(d Disk) {
	c.disk = disk{d.WriteAt, d.Sync, d.Truncate, d.SyncDir, d.Rename, d.Remove}
}

// Waiting is how many calls of Append wait for another to write.
func (l *Log) Waiting() int {
	l.queueMu.Lock()
	defer l.queueMu.Unlock()
	return len(l.queue)
}

// Due says whether it is time for a checkpoint.
func (l *Log) Due() bool { return l.due() }

// SegmentName is the name of the segment that begins with an entry.
func SegmentName(first uint64) string { return segmentName(first) }

// ParseEntry reads a line.
func ParseEntry(line []byte) (*Entry, error) { return parseEntry(line) }

// Encode makes the line of an entry, with a hash that fits.
func (e *Entry) Encode() ([]byte, error) { return e.encode() }

// Prepare checks an entry that is to be appended.
func (e *Entry) Prepare() error { return e.prepare() }

// Sign signs a checkpoint of an entry with this time.
func (c *Checkpoint) Sign(key ed25519.PrivateKey, at time.Time) { c.sign(key, at) }
