package node

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"geodns/internal/durable"
	"geodns/internal/source"
	"geodns/pkg/api"
	"geodns/pkg/policy"
	"geodns/pkg/rum"
)

// viewPolls is how often in an interval the loader looks whether there is a new View, and viewPollMax how seldom at most: a changed order is
// on its way that long after it was measured at the latest.
const (
	viewPolls   = 5
	viewPollMax = 5 * time.Second
)

// openOrders reads what was decided before the start. What cannot be read is decided anew.
func (n *Node) openOrders() {
	n.decider = rum.NewDecider()
	path := n.cfg.stateFile("orders")
	if path == "" {
		return
	}
	switch before, err := durable.Load(path, rum.DecodeDecider); {
	case err == nil:
		n.decider = before
	case !errors.Is(err, fs.ErrNotExist):
		n.log.Warn("the orders of before cannot be read, and are made anew", "error", err.Error())
	}
}

// beginOrders is reordered for a start, or nil: what was decided before it goes on where something is measured. The geo data are there.
func (n *Node) beginOrders(l *loaded) *loaded {
	n.decider.Retain(n.rum.View().Scored)
	return n.reordered(l)
}

// viewTicker says when to look for a new View.
func (n *Node) viewTicker() *time.Ticker {
	return time.NewTicker(min(cmp.Or(n.cfg.RUM.Interval, rum.IntervalDefault)/viewPolls, viewPollMax))
}

// reordered makes orders of what users measured, if there is a new View, and gives a load by them, if an order is another than that
// load's; else nil. It is the loader's: files are not loaded meanwhile.
func (n *Node) reordered(l *loaded) *loaded {
	view := n.rum.View()
	options := policy.LatencyOptions(l.compiled.Document)
	was := n.orders.Load()
	if view.Version() == n.viewed || len(options) == 0 && was.Len() == 0 {
		return nil
	}
	n.viewed = view.Version()
	orders := n.decider.Step(time.Now(), options, view.Scored)
	n.orders.Store(orders)
	if orders.Version() != was.Version() {
		n.saveOrders()
	}
	// What a load refused is tried again with the next load, or with other orders.
	tried := triedOrders{l, orders.Version()}
	if orders.Version() == l.orders.Version() || n.tried == tried {
		return nil
	}
	n.tried = tried
	compiled, findings := l.compiled.WithOrders(orders)
	if compiled == nil {
		n.log.Error("what users measured cannot be served; what was served before is served on", "error", findings.Err().Error())
		return nil
	}
	n.logNew(findings)
	return &loaded{zones: l.zones, geo: l.geo, measurable: l.measurable, orders: orders, compiled: compiled}
}

// decide has a Table by other orders served, if what users measured makes others.
func (n *Node) decide(ctx context.Context) {
	began := time.Now()
	if next := n.reordered(n.currentLoad()); next != nil {
		n.serveOrders(ctx, next, began)
	}
}

// serveOrders has a load by other orders served.
func (n *Node) serveOrders(ctx context.Context, next *loaded, began time.Time) {
	done := make(chan error, 1)
	select {
	case n.ordered <- ordered{next, done}:
	case <-ctx.Done():
		return
	}
	select {
	case err := <-done:
		if err != nil {
			n.log.Error("what users measured cannot be served; what was served before is served on", "error", err.Error())
			return
		}
	case <-ctx.Done():
		return
	}
	n.log.Info("orders changed", "version", next.orders.Version(), "orders", next.orders.Len(), "world", next.id(), "seconds", time.Since(began).Seconds())
}

// logNew logs the findings of orders that neither the files' last load nor the orders before had, such as that ecs.max_scopes leaves some out.
func (n *Node) logNew(findings source.Findings) {
	n.logFindings(slices.DeleteFunc(slices.Clone(findings), func(f source.Finding) bool {
		return slices.Contains(n.logged, f) || slices.Contains(n.warned, f)
	}))
	n.warned = findings
}

// triedOrders are orders that a table of a load was to be made by.
type triedOrders struct {
	load    *loaded
	version uint64
}

// saveOrders keeps what was decided over a restart.
func (n *Node) saveOrders() {
	path := n.cfg.stateFile("orders")
	if path == "" {
		return
	}
	data, err := n.decider.Encode()
	if err == nil {
		err = durable.Write(path, data)
	}
	if err != nil {
		n.log.Error("the orders were not saved", "error", err.Error())
	}
}

// ordered is a load with other orders, on its way to the writer of the World.
type ordered struct {
	loaded *loaded
	done   chan<- error // has room
}

// publishOrders swaps in a World with other orders.
func (n *Node) publishOrders(l *loaded) error {
	mark := n.health.Mark()
	w, err := n.world(l)
	if err != nil {
		return err
	}
	n.served.Store(n.served.Load().followed(l))
	n.server.Publish(w)
	n.health.Served(mark)
	n.swapped(w, api.CauseOrders)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.current, n.since = l, time.Now()
	return nil
}
