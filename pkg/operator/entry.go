package operator

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"
)

// The kinds of entries of the audit log.
const (
	EntryStart      = "start"      // a server began to write the log
	EntryStop       = "stop"       // ... and ended in order
	EntryLeasePut   = "lease.put"  // Before, After: the Lease
	EntryLeaseEnd   = "lease.end"  // by hand; Before, After: the Lease
	EntryLeaseOver  = "lease.over" // it expired; Before, After: the Lease
	EntryLoad       = "load"       // other files are served; Before, After: {"world": id}
	EntryVerdict    = "verdict"    // a checker's decision; Before, After: {"state": state}
	EntryTokens     = "tokens"     // the API's tokens changed; Before, After: {"tokens": [those that are other, with their scopes]}
	EntryRoles      = "roles"      // who has which role, or what a role may, changed; Before, After: {"roles": [lines]}
	EntryCheckpoint = "checkpoint" // a signature over all before it; by the log alone
	EntryLog        = "log"        // what the log has to say of itself, in Why; by the log alone
)

// What an entry may be at most, in bytes. The worst case of all of them, with each byte of text escaped as six, is below lineMax.
const (
	lineMax   = 64 << 10 // a line without its line feed: what a reader has to be ready for
	kindMax   = 32
	objectMax = 512 // two names of 255 with a word before them
	idMax     = 128
	whyMax    = 2048     // a reason is some sentences
	ticketMax = 256      // ... and a ticket a URL at most
	valueMax  = 20 << 10 // Before, After: a lease or a world, compact
)

// WhoMax is the longest name of who did something, in bytes: an owner's is that of a credential, and one of a certificate has 255 bytes
// with a word and a colon before them.
const WhoMax = 272

// yearMax is the last year that RFC 3339 can write.
const yearMax = 9999

// hashLen is the length of a hash, in hex digits.
const hashLen = 2 * sha256.Size

// hashKey is what a line has between what is hashed and the hash, hashTail what follows the hash.
const (
	hashKey  = `,"hash":"`
	hashTail = `"}`
)

// noHash is the Prev of the very first entry.
const noHash = "0000000000000000000000000000000000000000000000000000000000000000"

// Entry is one line of the audit log.
type Entry struct {
	Seq    uint64          `json:"seq"`
	Time   time.Time       `json:"time"`
	Prev   string          `json:"prev"` // the hash of the entry before; of the first, zeros
	Kind   string          `json:"kind"`
	Who    string          `json:"who"`              // who did it: the owner of a credential, local, checker, geodns
	Object string          `json:"object,omitempty"` // what it is about: "region fra", "zones"
	ID     string          `json:"id,omitempty"`     // the change's own: a lease's, a verdict's, a world's; also in metrics, logs and events
	Why    string          `json:"why,omitempty"`
	Ticket string          `json:"ticket,omitempty"`
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
	// Checkpoint is of EntryCheckpoint alone.
	Checkpoint *Checkpoint `json:"checkpoint,omitempty"`
	// Hash is the SHA-256 of the line up to it, hex. It stands last.
	Hash string `json:"hash"`
}

// Checkpoint is a signature over the log up to an entry: whoever has the public key and this can tell whether anything before it
// was changed or taken away.
type Checkpoint struct {
	Seq       uint64 `json:"seq"`       // of the entry before the checkpoint's own
	Chain     string `json:"chain"`     // its hash
	First     uint64 `json:"first"`     // the first entry that is kept
	FirstPrev string `json:"firstprev"` // the hash of the entry before that one
	Key       string `json:"key"`       // the public key, Ed25519, base64
	Signature string `json:"signature"` // over the fields before, base64
}

// prepare makes the form of an entry that its line gives back, and checks that a line can have it. The log fills the rest.
func (e *Entry) prepare() error {
	if e.Kind == EntryCheckpoint || e.Kind == EntryLog || e.Checkpoint != nil {
		return errors.New("checkpoints, and entries about the log, are written by the log alone")
	}
	if e.Kind == "" || e.Who == "" {
		return errors.New("an entry needs a kind and who did it")
	}
	if year := e.Time.UTC().Year(); year < 0 || year > yearMax {
		return fmt.Errorf("time: year %d, at most %d can be written", year, yearMax)
	}
	for _, field := range []struct {
		name, text string
		max        int
	}{
		{"kind", e.Kind, kindMax},
		{"who", e.Who, WhoMax},
		{"object", e.Object, objectMax},
		{"id", e.ID, idMax},
		{"why", e.Why, whyMax},
		{"ticket", e.Ticket, ticketMax},
	} {
		if len(field.text) > field.max {
			return fmt.Errorf("%s: %d bytes, at most %d are allowed", field.name, len(field.text), field.max)
		}
		if !utf8.ValidString(field.text) {
			return fmt.Errorf("%s: %q is no valid UTF-8", field.name, field.text)
		}
	}
	var err error
	if e.Before, err = compactValue(e.Before); err != nil {
		return fmt.Errorf("before: %w", err)
	}
	if e.After, err = compactValue(e.After); err != nil {
		return fmt.Errorf("after: %w", err)
	}
	// The same property by another route: what is written must be what verification takes.
	trial := *e
	trial.Seq, trial.Prev, trial.Time = math.MaxUint64, noHash, wallTime(e.Time)
	line, err := trial.encode()
	if err == nil {
		_, err = parseEntry(line)
	}
	return err
}

// compactValue gives a JSON value as a line has it; none for null.
func compactValue(value json.RawMessage) (json.RawMessage, error) {
	if len(value) == 0 {
		return nil, nil
	}
	if !utf8.Valid(value) {
		return nil, errors.New("no valid UTF-8")
	}
	short, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	if string(short) == "null" {
		return nil, nil
	}
	if len(short) > valueMax {
		return nil, fmt.Errorf("%d bytes of JSON, at most %d are allowed", len(short), valueMax)
	}
	return short, nil
}

// wallTime is a time as a line has it: UTC, without the process's own clock.
func wallTime(t time.Time) time.Time { return t.Round(0).UTC() }

// encode fills Hash and gives the line, without a line feed. Hash is the SHA-256 of the line up to `,"hash":"`, so that whoever has
// a line and sha256sum can check it.
func (e *Entry) encode() ([]byte, error) {
	e.Hash = ""
	line, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	line = line[:len(line)-len(hashKey)-len(hashTail)]
	sum := sha256.Sum256(line)
	e.Hash = hex.EncodeToString(sum[:])
	line = append(line, hashKey...)
	line = append(line, e.Hash...)
	line = append(line, hashTail...)
	if len(line) > lineMax {
		return nil, fmt.Errorf("a line of %d bytes, at most %d are allowed", len(line), lineMax)
	}
	return line, nil
}

// errHash says that a line is not the one its hash was made of.
var errHash = errors.New("the line was changed: its hash is not that of its text")

// parseEntry reads a line, without its line feed. There is one spelling of an entry, that of encode: a line with other spaces, order
// or keys was not written by the log. With errHash the entry is given too, so that a reader can go on behind it.
func parseEntry(line []byte) (*Entry, error) {
	if len(line) > lineMax {
		return nil, fmt.Errorf("a line of more than %d bytes was not written by this log", lineMax)
	}
	e := new(Entry)
	if err := json.Unmarshal(line, e); err != nil {
		return nil, fmt.Errorf("the line is no entry: %w", err)
	}
	again, err := json.Marshal(e)
	if err != nil || !bytes.Equal(line, again) {
		return nil, errors.New("the line is not as this log writes it: it was changed, or comes from elsewhere")
	}
	if !isHash(e.Prev) || !isHash(e.Hash) {
		return nil, errors.New("the line was changed: its hashes are no SHA-256")
	}
	sum := sha256.Sum256(line[:len(line)-len(hashKey)-hashLen-len(hashTail)])
	if e.Hash != hex.EncodeToString(sum[:]) {
		return e, errHash
	}
	return e, nil
}

// isHash says whether a text is a SHA-256 as we write it.
func isHash(text string) bool {
	sum, err := hex.DecodeString(text)
	return err == nil && len(sum) == sha256.Size && hex.EncodeToString(sum) == text
}
