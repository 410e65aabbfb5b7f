package node

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"geodns/pkg/api"
	"geodns/pkg/health"
	"geodns/pkg/operator"
)

// lines are the last events, for a status. Safe for concurrent use.
type lines struct {
	mu   sync.Mutex
	last []api.EventLine // oldest first
}

// add keeps a line.
func (l *lines) add(line api.EventLine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.last) == api.EventsListedMax {
		l.last = slices.Delete(l.last, 0, 1)
	}
	l.last = append(l.last, line)
}

// list gives them.
func (l *lines) list() []api.EventLine {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.last)
}

// tell passes on what happened: to those who listen, and to the next status.
func (n *Node) tell(kind, id, text string, document any) {
	n.lines.add(api.EventLine{At: time.Now().UTC(), Kind: kind, ID: id, Text: text})
	n.publishEvent(kind, id, document)
}

// publishEvent passes on what happened to those who listen.
func (n *Node) publishEvent(kind, id string, document any) {
	if err := n.events.Publish(kind, id, document); err != nil {
		n.log.Error("an event was not sent", "error", err.Error())
	}
}

// verdictHappened tells those who listen to the API, and has the verdict recorded. It does not block.
func (n *Node) verdictHappened(e health.Event) {
	n.tell(api.EventVerdict, e.ID, fmt.Sprintf("%s %s -> %s (%s)", e.Target, e.From, e.To, e.Reason), api.VerdictEventOf(e))
	state := func(s string) json.RawMessage { return note(map[string]string{"state": s}) }
	n.later(operator.Entry{
		Time: e.At.UTC(), Kind: operator.EntryVerdict, Who: whoChecker, Object: "target " + e.Target, ID: e.ID, Why: e.Reason,
		Before: state(e.From.String()), After: state(e.To.String()),
	})
}

// leaseHappened tells of a lease that was made or changed (put), ended by hand (end) or by itself (over).
func (n *Node) leaseHappened(kind, who string, l *operator.Lease, seq uint64) {
	does := fmt.Sprintf("%s %s", l.Action, l.Object)
	if l.State != "" {
		does += " " + l.State
	}
	if l.Admit != nil {
		does += fmt.Sprintf(" admit %g", *l.Admit)
	}
	text := fmt.Sprintf("%s until %s by %s: %s", does, l.Expires.UTC().Format(time.RFC3339), who, l.Reason)
	switch kind {
	case "end":
		text = fmt.Sprintf("%s ended by %s", does, who)
	case "over":
		text = does + " is over"
	}
	n.tell(api.EventLease, fmt.Sprintf("lease-%d", l.Revision), text, api.LeaseEvent{
		Kind: kind, Who: who, Audit: seq, Lease: api.LeaseOf(l, time.Now(), n.touches(l.Object)),
	})
	signal(n.expiry)
}
