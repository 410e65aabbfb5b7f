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
	// inUseWait is how long a start waits for another server to let go of the state folder: one that ends takes some seconds for its
	// last answers, and clients ask again meanwhile. inUsePoll is how often it looks.
	inUseWait = 5 * time.Second
	inUsePoll = 50 * time.Millisecond
	// recordsMax is how many verdicts may wait to be recorded. A mass failure of a large fleet is some thousands; what is more than
	// the disk takes is counted in their place.
	recordsMax = 8192
)

// errNoState is said where nothing can be recorded.
var errNoState = errors.New("there is no state folder (state in the server's file), and no change is made that is not recorded there first")

// errStopped is said to who waits for something that will not happen any more.
var errStopped = errors.New("the node has stopped")

// openOperator opens the audit log and the leases. A server answers without them, and by the leases of its file: where nothing can be
// recorded, nothing is changed, and a full disk does not keep it from starting.
func (n *Node) openOperator() {
	if n.cfg.State == "" {
		n.unrecordable = errNoState
		n.log.Warn("nothing is kept over a restart: no leases can be made, and there is no audit log")
		return
	}
	var err error
	if n.audit, err = n.openAudit(); err != nil {
		n.unrecordable = err
		n.log.Error("the audit log cannot be opened: no leases can be made, and nothing is recorded until the next start", "error", err.Error())
	}
	cfg := operator.BookConfig{Path: n.cfg.stateFile("leases"), ReadOnly: n.audit == nil, MaxFor: n.cfg.LeaseMax, Log: n.log, Record: n.recordNothing}
	if n.audit != nil {
		cfg.Record, cfg.Replay = n.audit.Append, n.replay
	}
	n.openBook(cfg)
}

// openBook reads the leases.
func (n *Node) openBook(cfg operator.BookConfig) {
	var err error
	if n.book, err = operator.OpenBook(cfg); err == nil {
		return
	}
	// What the audit log has behind the file is not known, so nothing may be put behind that; what the file has holds all the same.
	n.unrecordable = errors.Join(n.unrecordable, err)
	n.log.Error("not all leases can be read: those of their file are in effect, and no others can be made until the next start", "error", err.Error())
	cfg.Record, cfg.Replay, cfg.ReadOnly = n.recordNothing, nil, true
	if n.book, err = operator.OpenBook(cfg); err != nil {
		n.log.Error("the file of leases cannot be read: none are in effect", "error", err.Error())
	}
}

// openAudit opens the audit log. A server that ends, and holds it still, is waited for.
func (n *Node) openAudit() (*operator.Log, error) {
	cfg := operator.LogConfig{Dir: filepath.Join(n.cfg.State, "audit"), Logger: n.log}
	poll := time.NewTicker(inUsePoll)
	defer poll.Stop()
	for end := time.Now().Add(inUseWait); ; <-poll.C {
		log, err := operator.OpenLog(cfg)
		if !errors.Is(err, operator.ErrLogInUse) || time.Now().After(end) {
			return log, err
		}
	}
}

// recordNothing refuses every change.
func (n *Node) recordNothing(...operator.Entry) ([]operator.Entry, error) {
	return nil, n.unrecordable
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

// replay gives all entries of the audit log after one that concern leases. The file of leases is written at each change, so that
// there is one at most, or all of a log whose file of leases is lost.
func (n *Node) replay(after uint64) ([]operator.Entry, error) {
	var all []operator.Entry
	for {
		some, err := n.audit.Entries(after, operator.EntriesMax, func(e *operator.Entry) bool {
			return e.Kind == operator.EntryLeasePut || e.Kind == operator.EntryLeaseEnd || e.Kind == operator.EntryLeaseOver
		})
		if all = append(all, some...); err != nil || len(some) < operator.EntriesMax {
			return all, err
		}
		after = some[len(some)-1].Seq
	}
}

// record writes entries that are no condition of what they tell of: a full disk must not keep files from being loaded.
func (n *Node) record(entries ...operator.Entry) {
	if n.audit == nil {
		return
	}
	if _, err := n.audit.Append(entries...); err != nil {
		n.log.Error("not recorded in the audit log", "kind", entries[0].Kind, "id", entries[0].ID, "entries", len(entries), "error", err.Error())
	}
}

// note is what entries have of before and after.
func note(document any) json.RawMessage {
	text, err := json.Marshal(document)
	if err != nil { // of strings: it cannot be
		return nil
	}
	return text
}

// rightsChanged has a change of the API's tokens or roles recorded: what is gone or was other, and what is new or is other now. The
// store's lock is held.
func (n *Node) rightsChanged(kind string, before, after []string) {
	n.later(operator.Entry{
		Kind: kind, Who: whoWatcher, Object: kind, Before: note(map[string][]string{kind: before}), After: note(map[string][]string{kind: after}),
	})
}

// later has an entry recorded soon: by who cannot wait for the disk.
func (n *Node) later(e operator.Entry) {
	if n.audit == nil {
		return
	}
	select {
	case n.records <- e:
	default:
		n.unrecorded.Add(1)
	}
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
		return api.LeaseResult{}, n.unrecordable
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
		return api.LeaseResult{}, n.unrecordable
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
		over, next, _ := n.book.Expire(now) // where it cannot be recorded, the book says so once and tries again
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

// recordLoop records what came by later.
func (n *Node) recordLoop(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-n.records:
			n.recordWaiting(e)
		}
	}
}

// recordWaiting records entries with all that wait behind them, in one write.
func (n *Node) recordWaiting(entries ...operator.Entry) {
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
			Kind: operator.EntryVerdict, Who: whoChecker, Why: fmt.Sprintf("%d entries came faster than they could be recorded, and are in the server's log alone", lost),
		})
	}
	n.record(entries...)
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
		Get: func(id string) (operator.Lease, bool) {
			if n.book == nil {
				return operator.Lease{}, false
			}
			return n.book.Get(id)
		},
		List: func() []operator.Lease {
			if n.book == nil {
				return nil
			}
			return n.book.List()
		},
	}
}

// auditStatus is how the record stands.
func (n *Node) auditStatus() operator.LogStatus {
	if n.audit == nil {
		return operator.LogStatus{Failed: n.unrecordable.Error()}
	}
	return n.audit.Status()
}

// apiAudit is the audit log as the API asks it.
func (n *Node) apiAudit() api.Audit {
	if n.audit == nil {
		return api.Audit{
			After:  func(uint64, int, func(*operator.Entry) bool) ([]operator.Entry, error) { return nil, n.unrecordable },
			Last:   func(int, func(*operator.Entry) bool) ([]operator.Entry, error) { return nil, n.unrecordable },
			Status: n.auditStatus,
		}
	}
	return api.Audit{After: n.audit.Entries, Last: n.audit.Last, Status: n.auditStatus}
}
