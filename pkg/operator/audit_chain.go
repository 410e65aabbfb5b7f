package operator

import (
	"crypto/ed25519"
	"fmt"
)

// chain follows the entries of a log one by one and says where one does not follow from the one before. After that it goes on from
// what the entry says of itself, so that one change is one finding or two, and not one for each line behind it.
type chain struct {
	key        ed25519.PublicKey
	seq        uint64 // of the entry before
	hash       string // ... and its hash; "": anything may follow
	checkpoint *Entry // the last one whose signature holds
	uncovered  int    // entries after it, or from the beginning
	held       uint64 // the last entry that all before it hold for
	heldHash   string
	broken     bool
}

// step takes the next line. The entry is nil if the line cannot be read; wrong is "" if it follows.
func (c *chain) step(line []byte) (e *Entry, wrong string) {
	e, wrong = c.follow(line)
	if e == nil {
		c.seq, c.hash = c.seq+1, ""
	} else {
		c.seq, c.hash = e.Seq, e.Hash
	}
	if e != nil && e.Kind == EntryCheckpoint && wrong == "" {
		c.checkpoint, c.uncovered = e, 0
	} else {
		c.uncovered++
	}
	c.broken = c.broken || wrong != ""
	if !c.broken {
		c.held, c.heldHash = c.seq, c.hash
	}
	return e, wrong
}

// follow judges the next line.
func (c *chain) follow(line []byte) (e *Entry, wrong string) {
	e, err := parseEntry(line)
	if err != nil {
		return e, err.Error()
	}
	if wrong := c.place(e); wrong != "" {
		return e, wrong
	}
	if c.hash != "" && e.Prev != c.hash {
		return e, fmt.Sprintf("entry %d does not follow from entry %d: one of the two was changed and hashed anew", e.Seq, c.seq)
	}
	if (e.Kind == EntryCheckpoint) != (e.Checkpoint != nil) {
		return e, "the entry was not written by this log: a checkpoint is where none belongs, or has nothing in it"
	}
	if e.Checkpoint == nil {
		return e, ""
	}
	if wrong := e.verifyCheckpoint(c.key); wrong != "" {
		return e, wrong
	}
	if c.checkpoint != nil && e.Checkpoint.First < c.checkpoint.Checkpoint.First {
		return e, "the checkpoint lets the log begin before the one before it: it is an older log's"
	}
	return e, ""
}

// place says what is wrong with an entry's number.
func (c *chain) place(e *Entry) string {
	switch want := c.seq + 1; {
	case e.Seq == want:
		return ""
	case e.Seq < want:
		return fmt.Sprintf("entry %d is where entry %d belongs: lines were doubled, put in or put in another order", e.Seq, want)
	case e.Kind == EntryLog:
		return fmt.Sprintf("entries %d to %d are not there; the server itself says: %s", want, e.Seq-1, e.Why)
	default:
		return fmt.Sprintf("entry %d is where entry %d belongs: lines before it were removed, or put in another order", e.Seq, want)
	}
}
