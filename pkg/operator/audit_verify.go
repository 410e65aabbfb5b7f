package operator

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"geodns/internal/durable"
)

const (
	// findingsMax bounds the findings of a report: who has read a thousand knows enough.
	findingsMax = 1000

	// verifyTries is how often a log is read anew because its server removed old segments meanwhile.
	verifyTries = 3
)

// LogFinding is something in a log that the server that wrote it did not leave so.
type LogFinding struct {
	File    string
	Line    int // 0: the whole file
	Message string
}

// String gives the finding as compilers do: file:line: message.
func (f LogFinding) String() string {
	if f.Line == 0 {
		return f.File + ": " + f.Message
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Message)
}

// LogReport is what verifying a log found. Any finding means that it was changed, by a person or by its disk.
type LogReport struct {
	Entries        int
	First, Last    uint64 // the first entry that is there, and the last
	Segments       int
	Bytes          int64
	Checkpoint     uint64 // the last checkpoint's own entry; 0: there is none
	CheckpointTime time.Time
	Uncovered      int    // entries after it, which nobody has signed yet
	Key            string // the public key that signatures were held against, base64
	Pinned         bool   // it was given, and not taken from the folder, where who changes the log can change it too
	Findings       []LogFinding
	Notes          []string // what is no sign of a change, but may be of interest
}

// VerifyLog reads a log from its beginning and says what does not hold: each line is as it was written, follows from the one before, and
// is covered by a signature of the key, up to the last checkpoint, which is the one that the file head has. Without a key it takes the
// folder's, and then finds only what was changed by somebody without the private key. It writes nothing, and may run on a copy or
// beside the server. The error is that of a folder that cannot be read.
func VerifyLog(dir string, key ed25519.PublicKey) (LogReport, error) {
	if key != nil && len(key) != ed25519.PublicKeySize {
		return LogReport{}, fmt.Errorf("verifying the audit log in %q: a public key has %d bytes, this one %d", dir, ed25519.PublicKeySize, len(key))
	}
	for try := 1; ; try++ {
		v := &verification{dir: dir}
		err := v.run(key)
		if err == nil {
			return v.report, nil
		}
		if !errors.Is(err, fs.ErrNotExist) || try == verifyTries {
			return LogReport{}, fmt.Errorf("verifying the audit log in %q: %w", dir, err)
		}
	}
}

// verification is one reading of a log. Its server may write meanwhile: what is read of head before the segments must be in them, and
// what is read after them must not be older than they are.
type verification struct {
	dir        string
	report     LogReport
	key        ed25519.PublicKey
	head, next checkpointFile // as they were before the segments were read
	walk       walker
	met        bool              // head's line was met
	starts     map[uint64]string // the Prev of each segment's first entry
}

// run reads everything once.
func (v *verification) run(key ed25519.PublicKey) (err error) {
	if err = v.chooseKey(key); err != nil {
		return err
	}
	if v.head, v.next, err = v.heads(); err != nil {
		return err
	}
	segments, strange, err := listSegments(v.dir)
	if err != nil {
		return err
	}
	for _, name := range strange {
		v.find(name, 0, "this is no segment of the log: it was renamed, or put here")
	}
	v.starts = map[uint64]string{}
	v.walk = walker{dir: v.dir, chain: chain{key: v.key}, see: v.see, ignored: func(file string, bytes int64) {
		v.note("%s: %d bytes at its end are no part of the log: they could not be written in full, as the next segment says", file, bytes)
	}}
	if len(segments) > 0 {
		v.walk.begin(segments[0].first)
	}
	for i, s := range segments {
		var next *segment
		if i+1 < len(segments) {
			next = &segments[i+1]
		}
		if err = v.walk.segment(s, next); err != nil {
			return err
		}
		v.report.Bytes += v.walk.whole
	}
	if v.walk.torn > 0 {
		v.note("the last line has no end (%d bytes): the server writes it now, or ended while it did", v.walk.torn)
	}
	v.report.Segments = len(segments)
	v.beginning(segments)
	return v.ending()
}

// chooseKey takes the key that was given, or else the folder's, and holds key.pub against it.
func (v *verification) chooseKey(key ed25519.PublicKey) error {
	own, wrong, err := readPublic(filepath.Join(v.dir, publicFile))
	if err != nil {
		return err
	}
	if wrong != "" {
		v.find(publicFile, 0, wrong)
	}
	v.key, v.report.Pinned = key, key != nil
	switch {
	case key == nil && own == nil:
		v.key = v.claimedKey()
	case key == nil:
		v.key = own
	case own != nil && !own.Equal(key):
		v.find(publicFile, 0, fmt.Sprintf("the log's own key is %q, not the one that it is verified with, %q: it was replaced, or this is another server's log", publicText(own), publicText(key)))
	}
	v.report.Key = publicText(v.key)
	return nil
}

// claimedKey is the key that head says it is signed with, for a log without key.pub: that is a finding, and the rest can be held
// against itself still. Without a head it is one that signs nothing.
func (v *verification) claimedKey() ed25519.PublicKey {
	payload, err := durable.Peek(filepath.Join(v.dir, headFile))
	var e Entry
	if err == nil {
		err = json.Unmarshal(payload, &e)
	}
	if err == nil && e.Checkpoint != nil {
		if key, err := ParseLogKey([]byte(e.Checkpoint.Key)); err == nil {
			return key
		}
	}
	return make(ed25519.PublicKey, ed25519.PublicKeySize)
}

// heads reads head.next and head, in this order: a checkpoint that is in the log is in one of them at least.
func (v *verification) heads() (head, next checkpointFile, err error) {
	if next, err = readCheckpoint(filepath.Join(v.dir, headNextFile), v.key); err != nil {
		return head, next, err
	}
	head, err = readCheckpoint(filepath.Join(v.dir, headFile), v.key)
	return head, next, err
}

// find adds a finding.
func (v *verification) find(file string, line int, message string) {
	switch path := filepath.Join(v.dir, file); {
	case len(v.report.Findings) < findingsMax:
		v.report.Findings = append(v.report.Findings, LogFinding{path, line, message})
	case len(v.report.Findings) == findingsMax:
		v.report.Findings = append(v.report.Findings, LogFinding{path, line, "there is more from here on"})
	}
}

// note adds a note.
func (v *verification) note(format string, args ...any) {
	v.report.Notes = append(v.report.Notes, fmt.Sprintf(format, args...))
}

// see counts a line, and keeps what is wrong with it.
func (v *verification) see(file string, line int, text []byte, e *Entry, wrong string) {
	if wrong != "" {
		v.find(file, line, wrong)
	}
	if text != nil {
		v.report.Entries++
	}
	if e == nil {
		return
	}
	if v.report.First == 0 {
		v.report.First = e.Seq
	}
	v.report.Last = e.Seq
	if line == 1 {
		v.starts[e.Seq] = e.Prev
	}
	if v.head.line != "" && string(text) == v.head.line {
		v.met = true
	}
}

// beginning holds the first entry against the last checkpoint, which says where the log begins.
func (v *verification) beginning(segments []segment) {
	checkpoint := v.walk.chain.checkpoint
	if checkpoint == nil {
		checkpoint = v.head.entry
	}
	if checkpoint == nil || len(segments) == 0 {
		return // ending says that there is no checkpoint that holds
	}
	c := checkpoint.Checkpoint
	name := segmentName(segments[0].first)
	switch prev, ok := v.starts[c.First]; {
	case segments[0].first > c.First:
		v.find(name, 1, fmt.Sprintf("the log begins with entry %d, but should begin with entry %d: older segments were removed, and not by the server", segments[0].first, c.First))
	case !ok:
		v.find(name, 1, fmt.Sprintf("entry %d, with which the log should begin, is not at the beginning of a segment", c.First))
	case prev != c.FirstPrev:
		v.find(segmentName(c.First), 1, fmt.Sprintf("entry %d, with which the log begins, is not the one that was signed", c.First))
	case segments[0].first < c.First:
		v.note("segments before entry %d are there still, which the server was about to remove", c.First)
	case c.First == 1 && c.FirstPrev != noHash, c.First > 1 && c.FirstPrev == noHash:
		v.find(name, 1, fmt.Sprintf("the log begins anew at entry %d: what was before it is gone, and not by the server", c.First))
	}
}

// ending holds the end of the log against head.
func (v *verification) ending() error {
	head, next, err := v.heads()
	if err != nil {
		return err
	}
	c := &v.walk.chain
	v.report.Uncovered = c.uncovered
	if c.checkpoint != nil {
		v.report.Checkpoint, v.report.CheckpointTime = c.checkpoint.Seq, c.checkpoint.Time
	}
	switch {
	case head.wrong != "":
		v.find(headFile, 0, head.wrong)
	case head.entry == nil:
		v.find(headFile, 0, "the file is missing: nothing says where the log ends")
	case v.head.entry == nil: // there since a moment ago: the server has just begun the log
	case !v.met && (head.seq() == v.head.seq() || v.head.seq() >= v.report.First):
		v.find(headFile, 0, fmt.Sprintf("entry %d, the last checkpoint, is not in the log as it was signed: the end of the log was cut off, or changed", v.head.seq()))
	case c.checkpoint == nil || head.seq() >= c.checkpoint.Seq:
	case next.entry != nil && next.entry.Hash == c.checkpoint.Hash && c.uncovered == 0 && v.walk.torn == 0:
		v.note("the last checkpoint, entry %d, is in %s still: the server writes it now, or ended while it did", c.checkpoint.Seq, headNextFile)
	default:
		v.find(headFile, 0, fmt.Sprintf("it has entry %d, but the last checkpoint in the log is entry %d: somebody put an older file back", head.seq(), c.checkpoint.Seq))
	}
	v.judgeNext(next)
	return nil
}

// judgeNext holds head.next against the end of the log: it is the last line, or is to be the next.
func (v *verification) judgeNext(next checkpointFile) {
	if next.line != v.next.line || next.wrong != v.next.wrong || next.line == "" && next.wrong == "" {
		return // the server was about to write it
	}
	if next.wrong != "" {
		v.find(headNextFile, 0, next.wrong)
		return
	}
	if c := &v.walk.chain; next.entry.Hash != c.hash && next.entry.Prev != c.hash {
		v.find(headNextFile, 0, fmt.Sprintf("entry %d does not belong to the end of the log: somebody put the file here", next.seq()))
	}
}
