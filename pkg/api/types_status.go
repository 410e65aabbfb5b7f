package api

import "time"

// RegionStatus is what a Status says of one region.
type RegionStatus struct {
	Name       string  `json:"name"`
	Targets    int     `json:"targets_total"   doc:"Targets in it; the next four add up to this, drained ones are counted by their state as well"`
	Up         int     `json:"up_total"`
	Degraded   int     `json:"degraded_total"`
	Down       int     `json:"down_total"`
	Unknown    int     `json:"unknown_total"`
	Drained    int     `json:"drained_total"   doc:"Targets that a lease drains"`
	Admit      float64 `json:"admit"           doc:"The part of its traffic that its targets take, on average, 0 to 1"`
	Answers    uint64  `json:"answers_total"   doc:"Steered answers with one of its targets, since the process began"`
	Share      float64 `json:"share"           doc:"... of those of all regions, lately, 0 to 1"`
	ShareKnown bool    `json:"share_known"     doc:"Whether there were enough answers lately to say so"`
}

// Input is something that a node reads: a folder or a file, with the version of it that is in use.
type Input struct {
	Name     string    `json:"name"               doc:"What it is: zones, geo, overrides, tokens, cookies, config"`
	Path     string    `json:"path"`
	Commit   string    `json:"commit,omitempty"   doc:"Of the repository that it is a checkout of"`
	Modified time.Time `json:"modified,omitzero"  doc:"When the newest file of it was written"`
	Hash     string    `json:"hash,omitempty"     doc:"Of what it says, the first 16 digits"`
	Loaded   time.Time `json:"loaded,omitzero"    doc:"When it came into use as it is"`
	Error    string    `json:"error,omitempty"    doc:"Why what is there now is not what is in use"`
}

// EventLine is one of the last events, in a line for people.
type EventLine struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind" doc:"As at GET /v1/events: verdict, lease, load, swap"`
	ID   string    `json:"id"   doc:"The event's, to go on from"`
	Text string    `json:"text"`
}

// AuditStatus is what a Status says of the audit log.
type AuditStatus struct {
	Seq           uint64    `json:"seq"                      doc:"Of the last entry"`
	CheckpointSeq uint64    `json:"checkpoint_seq,omitempty" doc:"Of the last checkpoint, a signature over all entries before it"`
	CheckpointAt  time.Time `json:"checkpoint_at,omitzero"   doc:"When it was signed"`
	Key           string    `json:"key,omitempty"            doc:"Public key of the signatures, Ed25519, base64"`
	Broken        string    `json:"broken,omitempty"         doc:"What is wrong with the log that was found at the start"`
	Failed        string    `json:"failed,omitempty"         doc:"Why entries cannot be written; changes are refused until they can"`
}

// What a Status lists of lists that have no bound.
const (
	// LeasesListedMax is how many leases a Status lists: more than people hold at a time.
	LeasesListedMax = 100
	// EventsListedMax is how many of the last events a Status lists: what fits a screen beside the rest.
	EventsListedMax = 10
)
