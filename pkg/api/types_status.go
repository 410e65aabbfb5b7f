package api

import "time"

// RegionStatus is a region of a Status: what its targets are like, and what part of the answers they get.
type RegionStatus struct {
	Name       string  `json:"name"`
	Targets    int     `json:"targets_total"`
	Up         int     `json:"up_total"        doc:"Targets by state, drained ones too"`
	Degraded   int     `json:"degraded_total"`
	Down       int     `json:"down_total"`
	Unknown    int     `json:"unknown_total"   doc:"Never probed"`
	Drained    int     `json:"drained_total"   doc:"As good as absent, whatever their state"`
	Admit      float64 `json:"admit"           doc:"The part of its traffic that a target takes, 0 to 1, the mean of all: 0 where one is down or drained"`
	Answers    uint64  `json:"answers_total"   doc:"Targets of the region in answers, since this process began"`
	Share      float64 `json:"share"           doc:"... of all targets in answers in the last 5 minutes, 0 to 1"`
	ShareKnown bool    `json:"share_known"     doc:"False: nothing was steered in this time, or there were more regions than are counted apart"`
}

// Input is a file or folder of a Status, as far as it is in use: not what is there now.
type Input struct {
	Name     string    `json:"name"               enum:"zones,geo database,geo overrides,tokens,roles,cookie secrets,binary"`
	Path     string    `json:"path"`
	Commit   string    `json:"commit,omitempty"   doc:"Of the git work tree that it is in, as files there say; a binary's own, with +dirty if there were other changes"`
	Modified time.Time `json:"modified,omitzero"  doc:"When the last of its files was changed; of a binary, when that was committed"`
	Hash     string    `json:"hash,omitempty"     doc:"Of its content: equal where the content is; none of what is secret"`
	Loaded   time.Time `json:"loaded,omitzero"    doc:"When it was read"`
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
