package node

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"geodns/internal/source"
	"geodns/pkg/api"
	"geodns/pkg/operator"
	"geodns/pkg/server"
)

// built is a load on its way to the writer of the World.
type built struct {
	reading

	began time.Time
	again bool            // nobody asked for it, and it found what the one before did: said already
	who   []string        // asked for it; none: files changed
	done  chan<- api.Load // gets the outcome; has room for it
}

// loadRequest is one caller of Reload.
type loadRequest struct {
	who  string
	done chan<- api.Load
}

// verdictsChanged tells the writer that states are to be made anew. It does not block: one signal stands for all.
func (n *Node) verdictsChanged() { signal(n.verdicts) }

// signal leaves one message in a channel of size 1.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// publish is the one writer of the World: it swaps in what the loader compiled, and new states when verdicts change.
func (n *Node) publish(ctx context.Context) error {
	defer close(n.stopped) // at once: other parts, and answers of the API, wait for it, and Run waits for them
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.verdicts:
			if err := n.publishStates(api.CauseVerdicts); err != nil {
				n.log.Error("verdicts were not published; the states before them keep serving", "error", err.Error())
			}
		case done := <-n.leases:
			done <- n.publishStates(api.CauseLeases)
		case o := <-n.ordered:
			o.done <- n.publishOrders(o.loaded)
		case b := <-n.built:
			b.done <- n.publishLoad(b)
		}
	}
}

// publishStates swaps in the World of now with the verdicts and leases of now.
func (n *Node) publishStates(cause string) error {
	mark := n.health.Mark()
	states, err := n.currentLoad().states(n.verdict())
	if err != nil {
		return err
	}
	w, err := n.server.World().WithStates(states)
	if err != nil {
		return err
	}
	n.server.Publish(w)
	n.health.Served(mark)
	n.swapped(w, cause)
	return nil
}

// swapped counts a swap, and tells those who listen of it.
func (n *Node) swapped(w *server.World, cause string) {
	n.mu.Lock()
	n.generation++
	e := api.SwapEvent{At: time.Now().UTC(), Generation: n.generation, World: w.ID(), Cause: cause}
	n.mu.Unlock()
	e.ID = fmt.Sprintf("s-%s-%d", n.boot, e.Generation)
	n.log.Debug("swapped", "id", e.ID, "world", e.World, "cause", cause)
	n.publishEvent(api.EventSwap, e.ID, e) // in a status, what caused it says more
}

// publishLoad swaps in a new World, or tells why not.
func (n *Node) publishLoad(b built) api.Load {
	before, mark := n.currentLoad(), n.health.Mark()
	n.takeSecrets(b.reading)
	if b.loaded == nil {
		return n.refused(b)
	}
	w, err := n.world(b.loaded)
	if err != nil { // join checked the same by another route
		b.findings.Errorf(source.WholeFile(n.cfg.Zones), "%v", err)
		b.again = false
		return n.refused(b)
	}
	result := api.LoadLoaded
	if b.loaded.same(before) {
		result = api.LoadUnchanged
	}
	n.served.Store(n.served.Load().followed(b.loaded))
	n.server.Publish(w)
	n.health.Served(mark)
	n.swapped(w, api.CauseLoad)
	return n.took(b, result)
}

// recordLoad records that other files are about to be served, and by whose word. It is called by the loader: it waits for the disk,
// and verdicts and leases, which the writer of the World serves, shall not.
func (n *Node) recordLoad(b *built) {
	before := n.currentLoad()
	if b.loaded == nil || b.loaded.same(before) {
		return
	}
	who := whoWatcher
	if len(b.who) > 0 {
		who = joinNames(slices.Compact(slices.Sorted(slices.Values(b.who))), operator.WhoMax)
	}
	n.record(operator.Entry{
		Kind: operator.EntryLoad, Who: who, Object: "files", ID: b.loaded.id(), Before: note(map[string]string{"world": before.id()}),
		After: note(map[string]string{"world": b.loaded.id(), "commit": b.print.commit}),
	})
}

// joinNames lists names in so many bytes at most, and counts those that there is no room for. One has room by itself.
func joinNames(names []string, most int) string {
	for n := len(names); n > 0; n-- {
		text := strings.Join(names[:n], ", ")
		if n < len(names) {
			text += fmt.Sprintf(" and %d more", len(names)-n)
		}
		if len(text) <= most {
			return text
		}
	}
	return fmt.Sprintf("%d credentials", len(names))
}

// took notes a load that is served now.
func (n *Node) took(b built, result string) api.Load {
	n.mu.Lock()
	defer n.mu.Unlock()
	if result == api.LoadLoaded {
		n.since = time.Now()
		n.counts.Loaded++
	} else {
		n.counts.Unchanged++
	}
	n.current = b.loaded
	n.counts.Success = time.Now()
	return n.noteLoad(b, result)
}

// refused notes a load that changed nothing.
func (n *Node) refused(b built) api.Load {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counts.Refused++
	return n.noteLoad(b, api.LoadRefused)
}

// noteLoad is the record of a load's end. n.mu is held.
func (n *Node) noteLoad(b built, result string) api.Load {
	all := n.counts.Loaded + n.counts.Unchanged + n.counts.Refused
	n.last = api.Load{ID: fmt.Sprintf("n-%s-%d", n.boot, all), Result: result, At: time.Now().UTC(), Seconds: time.Since(b.began).Seconds(), Commit: b.print.commit}
	if n.current != nil {
		n.last.World = n.current.id()
	}
	n.last.SetFindings(b.findings)
	n.noteInputs(&b.reading, n.last.At)
	log := n.log.Info
	switch {
	case b.again && result != api.LoadLoaded:
		log = n.log.Debug
	case result == api.LoadRefused:
		log = n.log.Error
	}
	log("load ended", "id", n.last.ID, "result", result, "world", n.last.World, "commit", n.last.Commit, "seconds", n.last.Seconds, "errors", n.last.Errors, "warnings", n.last.Warnings)
	told := n.last
	told.Findings = told.Findings[:min(len(told.Findings), api.EventFindingsMax)]
	n.tell(api.EventLoad, told.ID, fmt.Sprintf("%s in %.3f s, errors: %d, warnings: %d", result, told.Seconds, told.Errors, told.Warnings), told)
	return n.last
}

// logFindings logs each finding of a load, up to as many as anybody reads.
func (n *Node) logFindings(fs source.Findings) {
	for i, f := range fs {
		if i == api.FindingsListedMax {
			n.log.Warn("more findings", "count", len(fs)-i)
			return
		}
		log := n.log.Warn
		if f.Severity == source.Error {
			log = n.log.Error
		}
		log(f.Message, "at", f.Place.String())
	}
}

// loadLoop is the loader: one load at a time, for callers of Reload and for changed files. Requests that come during a load wait
// for the next one, and all that wait share it.
func (n *Node) loadLoop(ctx context.Context) error {
	if err := n.complete(ctx); err != nil {
		return err
	}
	close(n.whole)
	n.keepTable(n.currentLoad())
	debug.FreeOSMemory() // a load leaves several times of garbage what it keeps, and the next may be months away
	views := n.viewTicker()
	defer views.Stop()
	for {
		var callers []loadRequest
		select {
		case <-ctx.Done():
			if n.orders.Load().Len() > 0 {
				n.saveOrders() // that none changed for days does not mean that all was known days ago
			}
			return nil
		case <-views.C:
			n.decide(ctx)
			continue
		case <-n.touched:
		case r := <-n.requests:
			callers = append(callers, r)
		}
		for more := true; more; {
			select {
			case r := <-n.requests:
				callers = append(callers, r)
			default:
				more = false
			}
		}
		n.rewatch() // before reading: what changes while we read is loaded again
		if len(callers) == 0 {
			if print := n.cfg.fingerprint(); n.read.same(print) {
				n.noteCommit(print.commit)
				continue // something else changed in a folder that we watch, such as our own log
			}
		}
		var who []string
		for _, c := range callers {
			who = append(who, c.who)
		}
		outcome, err := n.loadOnce(ctx, who)
		if err != nil {
			return err
		}
		for _, c := range callers {
			c.done <- outcome
		}
		n.keepTable(n.currentLoad())
		n.viewed = 0 // policies may want orders by other options now
		n.decide(ctx)
		debug.FreeOSMemory()
	}
}

// loadOnce loads and has it published. Where nobody asked for it, findings are not logged again as long as they are the same.
func (n *Node) loadOnce(ctx context.Context, who []string) (api.Load, error) {
	b := built{began: time.Now(), who: who}
	b.reading = loadStable(&n.cfg, func() (*loaded, source.Findings) { return load(&n.cfg, n.currentLoad()) })
	n.read = b.print
	b.again = len(who) == 0 && slices.Equal(b.findings, n.logged)
	if n.logged = slices.Clone(b.findings); !b.again {
		n.logFindings(b.findings)
	}
	n.recordLoad(&b)
	return n.hand(ctx, b)
}

// hand has a load published, and waits for it.
func (n *Node) hand(ctx context.Context, b built) (api.Load, error) {
	done := make(chan api.Load, 1)
	b.done = done
	select {
	case n.built <- b:
	case <-ctx.Done():
		return api.Load{}, ctx.Err()
	}
	select {
	case outcome := <-done:
		return outcome, nil
	case <-ctx.Done():
		return api.Load{}, ctx.Err()
	}
}

// Reload begins a load for someone, by name, and waits for its end. A refused load is no error: the outcome says so. An error means that none ended.
func (n *Node) Reload(ctx context.Context, who string) (api.Load, error) {
	done := make(chan api.Load, 1)
	select {
	case n.requests <- loadRequest{who, done}:
	case <-n.stopped:
		return api.Load{}, errors.New("the node has stopped")
	case <-ctx.Done():
		return api.Load{}, fmt.Errorf("waiting for another load to end: %w", ctx.Err())
	}
	select {
	case outcome := <-done:
		return outcome, nil
	case <-n.stopped:
		return api.Load{}, errors.New("the node has stopped")
	case <-ctx.Done():
		return api.Load{}, fmt.Errorf("waiting for the load to end, which goes on: %w", ctx.Err())
	}
}
