package operator

import (
	"encoding/json"
	"time"
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
	EntryTokens     = "tokens"     // the API's tokens changed; Before, After: {"tokens": [names]}
	EntryCheckpoint = "checkpoint" // a signature over all before it
)

// Entry is one line of the audit log.
type Entry struct {
	Seq    uint64          `json:"seq"`
	Time   time.Time       `json:"time"`
	Prev   string          `json:"prev"` // the hash of the entry before
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
