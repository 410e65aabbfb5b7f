package node

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"geodns/pkg/api"
	"geodns/pkg/geo"
	"geodns/pkg/operator"
	"geodns/pkg/policy"
	"geodns/pkg/steering"
)

// ready is nil when answers are right.
func (n *Node) ready() error {
	data := n.currentLoad().geo
	for _, db := range data.Databases() {
		if db.Refused != "" && db.Built.IsZero() && db.Bytes == 0 {
			return errors.New("geo database " + db.Path + ": " + db.Refused)
		}
	}
	return nil
}

// status is the document of what this node is and serves.
func (n *Node) status() api.Status {
	n.mu.Lock()
	l, since, generation, last, cookies := n.current, n.since, n.generation, n.last, n.cookies
	n.mu.Unlock()
	checks := n.health.Stats()
	s := api.Status{
		Node: n.cfg.Node, Version: n.cfg.Build, Started: n.started.UTC(), Ready: true, Workers: n.server.Workers(), LastLoad: last,
		Cookies: n.cfg.Cookies.document(&cookies, n.own), Auth: n.access.document(), Checker: api.CheckerOf(&checks),
		World: api.World{
			ID: l.id(), Table: l.compiled.Table.ID(), Since: since.UTC(), Generation: generation, Policies: l.compiled.Table.Policies(),
			Targets: len(l.compiled.Document.Targets), Cells: l.compiled.Table.Cells(),
		},
	}
	s.Regions, s.Inputs = n.regionDocuments(), n.inputDocuments()
	if err := n.ready(); err != nil {
		s.Ready, s.NotReady = false, err.Error()
	}
	now := time.Now()
	for i, lease := range n.activeLeases(now) {
		if s.LeaseN++; i < api.LeasesListedMax {
			s.Leases = append(s.Leases, api.LeaseOf(&lease, now, n.touches(lease.Object)))
		}
	}
	s.Events = n.lines.list()
	record := n.auditStatus()
	s.Audit = api.AuditStatusOf(&record)
	for _, a := range n.Addrs() {
		s.Listen = append(s.Listen, a.String())
	}
	s.World.SetZones(l.zones.Zones())
	if len(l.geo.Databases()) == 0 {
		s.Geo = append(s.Geo, api.Database{Type: "built-in continents (IANA)", Networks: len(l.geo.Networks.V4) + len(l.geo.Networks.V6), State: geo.Current.String()})
	}
	for _, db := range l.geo.Databases() {
		s.Geo = append(s.Geo, api.DatabaseOf(db))
	}
	return s
}

// targets are the documents of all targets, by id: what health says, and what answers go by.
func (n *Node) targets() []api.Target {
	checked := map[string]api.Target{}
	for _, s := range n.health.Snapshot() {
		checked[s.Target] = api.TargetOf(&s)
	}
	l, states := n.currentStates()
	leases := n.overrides()
	var out []api.Target
	for _, t := range l.compiled.Document.Targets {
		doc, ok := checked[t.ID]
		if !ok {
			doc = api.UncheckedTarget(t.ID)
		}
		doc.Region, doc.Tags = t.Region.Name, t.Tags
		doc.SetVerdict(states.Verdict(steering.TargetID(t.Index)))
		for _, lease := range leases.Of(t) {
			doc.Leases = append(doc.Leases, lease.ID)
		}
		out = append(out, doc)
	}
	return out
}

// currentStates are what is served, and the states that answers go by. Both are of one World: another may come between the two.
func (n *Node) currentStates() (*loaded, *steering.States) {
	for {
		w := n.server.World()
		if l := n.loadOf(w); l != nil {
			return l, w.States()
		}
	}
}

// activeLeases are the leases in effect, those that end first.
func (n *Node) activeLeases(now time.Time) []operator.Lease {
	if n.book == nil {
		return nil
	}
	list := slices.DeleteFunc(n.book.List(), func(l operator.Lease) bool { return !l.Active(now) })
	slices.SortStableFunc(list, func(a, b operator.Lease) int { return a.Expires.Compare(b.Expires) })
	return list
}

// explain answers a question from the World that is served now.
func (n *Node) explain(_ context.Context, q policy.Question) (*policy.Explanation, error) {
	q.Random = rand.Uint64()
	return n.explainWorld(n.server.World(), q)
}

// loadCounts counts loads by their results.
func (n *Node) loadCounts() api.LoadCounts {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.counts
}
