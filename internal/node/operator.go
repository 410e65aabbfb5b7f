package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"geodns/pkg/api"
	"geodns/pkg/operator"
	"geodns/pkg/policy"
	"geodns/pkg/steering"
)

// Who does what nobody asks for, in the audit log.
const (
	whoServer  = "geodns"  // the server by itself
	whoChecker = "checker" // its health checks
	whoWatcher = "watcher" // files changed, and were loaded
)

const (
	// expiryWake bounds how long the end of a lease is waited for at once: the clock of the wall may be set meanwhile.
	expiryWake = 30 * time.Second
	// recordsMax is how many verdicts may wait to be recorded. A mass failure of a large fleet is some thousands; what is more than
	// the disk takes is counted in their place.
	recordsMax = 8192
)

// errNoState is said where nothing can be recorded.
var errNoState = errors.New("there is no state folder (state in the server's file), and no change is made that is not recorded there first")

// errStopped is said to who waits for something that will not happen any more.
var errStopped = errors.New("the node has stopped")

// openOperator opens the audit log and the leases. Without a state folder there are none.
func (n *Node) openOperator() error {
	if n.cfg.State == "" {
		n.log.Warn("nothing is kept over a restart: no leases can be made, and there is no audit log")
		return nil
	}
	var err error
	n.audit, err = operator.OpenLog(operator.LogConfig{Dir: filepath.Join(n.cfg.State, "audit"), Logger: n.log})
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	n.book, err = operator.OpenBook(operator.BookConfig{
		Path: n.cfg.stateFile("leases"), Record: n.audit.Append, Replay: n.replay, MaxFor: n.cfg.LeaseMax, Log: n.log,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("leases: %w", err), n.audit.Close())
	}
	return nil
}

// closeOperator closes the audit log, with a signature over all of it.
func (n *Node) closeOperator() error {
	if n.audit == nil {
		return nil
	}
	if err := n.audit.Close(); err != nil {
		return fmt.Errorf("closing the audit log: %w", err)
	}
	return nil
}

// replay gives the entries of the audit log that concern leases.
func (n *Node) replay(after uint64) ([]operator.Entry, error) {
	return n.audit.Entries(after, replayMax, func(e *operator.Entry) bool {
		return e.Kind == operator.EntryLeasePut || e.Kind == operator.EntryLeaseEnd || e.Kind == operator.EntryLeaseOver
	})
}

// replayMax bounds what is read of the log at the start: the file of leases is written at each change, so that there is one entry
// after it at most, or all of a log whose file of leases is lost.
const replayMax = 1 << 20

// record writes entries that are no condition of what they tell of: a full disk must not keep files from being loaded.
func (n *Node) record(entries ...operator.Entry) {
	if n.audit == nil {
		return
	}
	if _, err := n.audit.Append(entries...); err != nil {
		n.log.Error("not recorded in the audit log", "kind", entries[0].Kind, "id", entries[0].ID, "error", err.Error())
	}
}

// worldJSON is a world's id as entries have it.
func worldJSON(id string) json.RawMessage {
	text, err := json.Marshal(map[string]string{"world": id})
	if err != nil { // of a map of strings: it cannot be
		return nil
	}
	return text
}

// overrides are the leases of now; nil is none.
func (n *Node) overrides() *operator.Overrides {
	if n.book == nil {
		return nil
	}
	return n.book.Overrides()
}

// checked is what health says of a target.
func (n *Node) checked(t *policy.Target) steering.Verdict {
	if t.Check != nil {
		if v, known := n.health.Verdict(t.ID); known {
			return v
		}
	}
	return neverProbed(t)
}

// verdict is what answers go by: what health says, under the leases.
func (n *Node) verdict() func(*policy.Target) steering.Verdict {
	leases := n.overrides()
	return func(t *policy.Target) steering.Verdict { return leases.Apply(t, n.checked(t)) }
}

// scene is what a change of leases is judged by.
func (n *Node) leaseScene() operator.Scene {
	return operator.Scene{Compiled: n.currentLoad().compiled, Verdict: n.checked}
}

// putLease makes or changes a lease, and returns when the sockets answer by it.
func (n *Node) putLease(_ context.Context, r operator.Request) (api.LeaseResult, error) {
	if n.book == nil {
		return api.LeaseResult{}, errNoState
	}
	began := time.Now()
	change, err := n.book.Put(r, n.leaseScene())
	if err != nil {
		return api.LeaseResult{}, err
	}
	return n.leaseChanged(change, "put", r.Owner, r.DryRun, began)
}

// endLease ends a lease, and returns when the sockets answer without it.
func (n *Node) endLease(_ context.Context, id, owner, reason string, dryRun bool) (api.LeaseResult, error) {
	if n.book == nil {
		return api.LeaseResult{}, errNoState
	}
	began := time.Now()
	change, err := n.book.End(id, owner, reason, dryRun, n.leaseScene())
	if err != nil {
		return api.LeaseResult{}, err
	}
	return n.leaseChanged(change, "end", owner, dryRun, began)
}

// leaseChanged has a change of leases served, and tells of it. A request that changed nothing waits for the world as well: the one
// that it repeats may be under way still.
func (n *Node) leaseChanged(c operator.Change, kind, who string, dryRun bool, began time.Time) (api.LeaseResult, error) {
	if !dryRun {
		if err := n.publishLeases(); err != nil {
			return api.LeaseResult{}, fmt.Errorf("it is recorded, and not served: %w", err)
		}
	}
	if c.Changed && !dryRun {
		n.log.Info("lease changed", "change", kind, "lease", c.Lease.ID, "revision", c.Lease.Revision, "action", string(c.Lease.Action), "object", c.Lease.Object.String(),
			"owner", who, "reason", c.Lease.Reason, "ticket", c.Lease.Ticket, "expires", c.Lease.Expires, "breaks", len(c.Breaks), "audit", c.Entry.Seq)
		n.leaseHappened(kind, who, &c.Lease, c.Entry.Seq)
	}
	return api.LeaseResult{Change: c, World: n.currentLoad().id(), Elapsed: time.Since(began)}, nil
}

// publishLeases has the publisher swap in states by the leases of now, and waits for it.
func (n *Node) publishLeases() error {
	done := make(chan error, 1)
	select {
	case n.leases <- done:
	case <-n.stopped:
		return errStopped
	}
	select {
	case err := <-done:
		return err
	case <-n.stopped:
		return errStopped
	}
}

// expireLoop ends leases when their time has come. Who changes leases wakes it, as another may be the next then.
func (n *Node) expireLoop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-n.expiry:
		}
		now := time.Now()
		over, next, err := n.book.Expire(now)
		if err != nil {
			n.log.Error("the end of a lease was not recorded", "error", err.Error())
		}
		if len(over) > 0 {
			if err := n.publishLeases(); err != nil && ctx.Err() == nil {
				n.log.Error("leases are over, and the states before keep serving", "error", err.Error())
			}
		}
		for i := range over {
			n.log.Info("lease over", "lease", over[i].ID, "revision", over[i].Revision, "object", over[i].Object.String(), "owner", over[i].Owner)
			n.leaseHappened("over", whoServer, &over[i], 0)
		}
		wait := expiryWake
		if !next.IsZero() {
			wait = min(wait, max(time.Until(next), 0))
		}
		timer.Reset(wait)
	}
}

// recordLoop records verdicts, all that wait in one write.
func (n *Node) recordLoop(ctx context.Context) error {
	for {
		var entries []operator.Entry
		select {
		case <-ctx.Done():
			return nil
		case e := <-n.records:
			entries = append(entries, e)
		}
		for more := true; more; {
			select {
			case e := <-n.records:
				entries = append(entries, e)
			default:
				more = false
			}
		}
		if lost := n.unrecorded.Swap(0); lost > 0 {
			entries = append(entries, operator.Entry{
				Kind: operator.EntryVerdict, Who: whoChecker, Why: fmt.Sprintf("%d verdicts came faster than they could be recorded, and are in the log alone", lost),
			})
		}
		n.record(entries...)
	}
}

// attributes are what grants are held against for a lease over an object.
func (n *Node) attributes(o operator.Object) api.Attributes {
	of := api.Attributes{string(o.Kind): {o.Name}}
	if o.Kind == operator.KindTarget {
		for _, t := range n.currentLoad().compiled.Document.Targets {
			if t.ID == o.Name {
				return api.Attributes{"target": {t.ID}, "pool": {t.Pool.Name}, "region": {t.Region.Name}, "tag": t.Tags}
			}
		}
	}
	return of
}

// touches counts the targets that a lease over an object touches.
func (n *Node) touches(o operator.Object) int {
	count := 0
	for _, t := range n.currentLoad().compiled.Document.Targets {
		if o.Touches(t) {
			count++
		}
	}
	return count
}

// apiLeases is the book of leases as the API asks it.
func (n *Node) apiLeases() api.Leases {
	return api.Leases{
		Put: n.putLease, End: n.endLease, Touched: n.touches, Attributes: n.attributes,
		List: func() []operator.Lease {
			if n.book == nil {
				return nil
			}
			return n.book.List()
		},
	}
}

// apiAudit is the audit log as the API asks it.
func (n *Node) apiAudit() api.Audit {
	if n.audit == nil {
		none := func(uint64, int, func(*operator.Entry) bool) ([]operator.Entry, error) { return nil, errNoState }
		return api.Audit{
			After: none, Status: func() operator.LogStatus { return operator.LogStatus{} },
			Last: func(int, func(*operator.Entry) bool) ([]operator.Entry, error) { return nil, errNoState },
		}
	}
	return api.Audit{After: n.audit.Entries, Last: n.audit.Last, Status: n.audit.Status}
}
