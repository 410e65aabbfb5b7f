package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"geodns/pkg/operator"
)

// Audit is what the API asks of the audit log. All funcs are needed; without a state folder there is no log, and they say so.
type Audit struct {
	// After gives entries after a sequence number, oldest first; Last the last ones, oldest first. Both at most n of those that keep
	// wants.
	After func(after uint64, n int, keep func(*operator.Entry) bool) ([]operator.Entry, error)
	Last  func(n int, keep func(*operator.Entry) bool) ([]operator.Entry, error)
	// Status is how the log stands.
	Status func() operator.LogStatus
}

// complete says whether nothing is missing.
func (a *Audit) complete() bool { return a.After != nil && a.Last != nil && a.Status != nil }

// AuditLog is what GET /v1/audit answers.
type AuditLog struct {
	Entries []AuditEntry `json:"entries" doc:"Oldest first"`
	Status  AuditStatus  `json:"status"  doc:"How the log stands"`
}

// registerAudit adds GET /v1/audit.
func registerAudit(api huma.API, a *Audit) {
	// By default a screen or two, at most some megabytes.
	type input struct {
		After uint64 `query:"after" doc:"Entries after this sequence number, oldest first, to read on; without it the last ones"`
		Kind  string `query:"kind"  maxLength:"32" doc:"Of this kind alone"`
		N     int    `query:"last"  minimum:"1" maximum:"1000" default:"100" doc:"How many entries at most"`
	}
	type output struct{ Body AuditLog }
	// One is read at a time: where few entries are of the kind that is wanted, a log of a gigabyte is read whole, which takes a
	// processor ten seconds, and the answers to queries need those too.
	reading := make(chan struct{}, 1)
	huma.Register(api, needs(huma.Operation{
		OperationID: "audit", Method: http.MethodGet, Path: "/v1/audit", Summary: "What was changed, when, by whom and why",
		Description: "The log is a chain of hashes with signed checkpoints; `geodns audit verify` holds the files themselves against it.",
		Errors:      []int{http.StatusServiceUnavailable},
	}, "audit", "read"), func(ctx context.Context, in *input) (*output, error) {
		select {
		case reading <- struct{}{}:
			defer func() { <-reading }()
		case <-ctx.Done():
			return nil, huma.Error503ServiceUnavailable("the audit log is read for somebody else")
		}
		var keep func(*operator.Entry) bool
		if in.Kind != "" {
			keep = func(e *operator.Entry) bool { return e.Kind == in.Kind }
		}
		read := func() ([]operator.Entry, error) { return a.Last(in.N, keep) }
		if in.After > 0 {
			read = func() ([]operator.Entry, error) { return a.After(in.After, in.N, keep) }
		}
		entries, err := read()
		if err != nil {
			return nil, huma.Error503ServiceUnavailable("the audit log cannot be read: " + err.Error())
		}
		out := new(output)
		out.Body.Entries = make([]AuditEntry, 0, len(entries))
		for i := range entries {
			out.Body.Entries = append(out.Body.Entries, auditEntryOf(&entries[i]))
		}
		status := a.Status()
		out.Body.Status = AuditStatusOf(&status)
		return out, nil
	})
}

// auditEntryOf gives an entry its document.
func auditEntryOf(e *operator.Entry) AuditEntry {
	d := AuditEntry{
		Seq: e.Seq, Time: e.Time, Kind: e.Kind, Who: e.Who, Object: e.Object, ID: e.ID, Why: e.Why, Ticket: e.Ticket, Prev: e.Prev, Hash: e.Hash,
	}
	if len(e.Before) > 0 {
		d.Before = e.Before
	}
	if len(e.After) > 0 {
		d.After = e.After
	}
	if e.Checkpoint != nil {
		d.After = e.Checkpoint
	}
	return d
}

// AuditStatusOf gives the standing of the audit log its document.
func AuditStatusOf(s *operator.LogStatus) AuditStatus {
	return AuditStatus{
		Seq: s.Seq, CheckpointSeq: s.Checkpoint, CheckpointAt: s.CheckpointTime, Key: s.PublicKey, Broken: s.Broken, Failed: s.Failed,
	}
}
