package node

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"runtime"

	"geodns/pkg/api"
	"geodns/pkg/geo"
	"geodns/pkg/policy"
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
	l, since, last, cookies := n.current, n.since, n.last, n.cookies
	n.mu.Unlock()
	checks := n.health.Stats()
	s := api.Status{
		Node: n.cfg.Node, Version: n.cfg.Build, Started: n.started.UTC(), Ready: true, Workers: cmp.Or(n.cfg.Workers, runtime.GOMAXPROCS(0)), LastLoad: last,
		Cookies: n.cfg.Cookies.document(&cookies, n.own), Auth: n.tokens.document(), Checker: api.CheckerOf(&checks),
		World: api.World{
			ID: l.id(), Table: l.compiled.Table.ID(), Since: since.UTC(), Policies: l.compiled.Table.Policies(),
			Targets: len(l.compiled.Document.Targets), Cells: l.compiled.Table.Cells(),
		},
	}
	if err := n.ready(); err != nil {
		s.Ready, s.NotReady = false, err.Error()
	}
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

// targets are the documents of all targets, by id.
func (n *Node) targets() []api.Target {
	checked := map[string]api.Target{}
	for _, s := range n.health.Snapshot() {
		checked[s.Target] = api.TargetOf(&s)
	}
	var out []api.Target
	for _, t := range n.currentLoad().compiled.Document.Targets {
		doc, ok := checked[t.ID]
		if !ok {
			doc = api.UncheckedTarget(t.ID)
		}
		doc.Region, doc.Tags = t.Region.Name, t.Tags
		out = append(out, doc)
	}
	return out
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
