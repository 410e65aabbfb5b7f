package node

import (
	"context"
	"sync"
	"time"

	"geodns/pkg/api"
	"geodns/pkg/server"
	"geodns/pkg/steering"
)

const (
	// shareWindow is what time a region's share of the answers is of: short enough to see a failover move it, long enough to be no
	// matter of chance on a quiet node.
	shareWindow = 5 * time.Minute
	// shareStep is how often the counters are looked at for it.
	shareStep = 10 * time.Second
	// shareSamples covers the window from its beginning.
	shareSamples = int(shareWindow/shareStep) + 1
	// regionOther is the slot of the regions that have none of their own.
	regionOther = 0
)

// regionCounts is targets in answers by slot.
type regionCounts = [server.RegionsCounted]uint64

// regionTable says in which of the server's slots the targets of a region are counted, and what the counters were in the last minutes.
// A name keeps its slot for the life of the process, also while no file has it: workers may still count for the world before, and a
// counter of /metrics must not go on as another's. Safe for concurrent use.
type regionTable struct {
	mu sync.Mutex // guards the following

	slots   map[string]uint8
	samples []regionCounts // oldest first, at most shareSamples; of the process's begin the zero value
}

// newRegionTable makes one of no region, at the begin of the process.
func newRegionTable() *regionTable {
	return &regionTable{slots: map[string]uint8{}, samples: make([]regionCounts, 1, shareSamples)}
}

// assign gives regions that were never seen the next free slots.
func (t *regionTable) assign(names []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range names {
		if _, known := t.slots[name]; !known && len(t.slots) < server.RegionsCounted-1 {
			t.slots[name] = uint8(len(t.slots) + 1)
		}
	}
}

// slotsOf gives the targets of a load their slots, by TargetID.
func (t *regionTable) slotsOf(l *loaded) []uint8 {
	names := make([]string, len(l.compiled.Document.Regions))
	for i, r := range l.compiled.Document.Regions {
		names[i] = r.Name
	}
	t.assign(names)
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]uint8, len(l.compiled.Targets))
	for i := range l.compiled.Targets {
		out[i] = t.slots[l.compiled.Targets[i].Region.Name]
	}
	return out
}

// sample notes what the counters are now; it is called every shareStep.
func (t *regionTable) sample(now regionCounts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.samples) == shareSamples {
		t.samples = t.samples[:copy(t.samples, t.samples[1:])]
	}
	t.samples = append(t.samples, now)
}

// names gives the counters their regions, api.RegionOther among them.
func (t *regionTable) names(now *regionCounts) map[string]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := map[string]uint64{api.RegionOther: now[regionOther]}
	for name, slot := range t.slots {
		out[name] = now[slot]
	}
	return out
}

// fill adds answers and shares to the documents of regions.
func (t *regionTable) fill(regions []api.RegionStatus, now *regionCounts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all uint64
	for slot, n := range now {
		all += n - t.samples[0][slot]
	}
	for i := range regions {
		r := &regions[i]
		slot, own := t.slots[r.Name]
		if !own {
			continue
		}
		r.Answers, r.ShareKnown = now[slot], all > 0
		if all > 0 {
			r.Share = float64(now[slot]-t.samples[0][slot]) / float64(all)
		}
	}
}

// sampleRegions notes the counters until ctx ends.
func (n *Node) sampleRegions(ctx context.Context) error {
	ticker := time.NewTicker(shareStep)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			n.regions.sample(n.server.Stats().Regions)
		}
	}
}

// regionAnswers counts answers by region.
func (n *Node) regionAnswers() map[string]uint64 {
	now := n.server.Stats().Regions
	return n.regions.names(&now)
}

// regionDocuments are the regions of what is served; none where it was replaced this moment.
func (n *Node) regionDocuments() []api.RegionStatus {
	w := n.server.World()
	l := n.loadOf(w)
	if l == nil {
		return nil
	}
	out := regionsOf(l, w.States())
	now := n.server.Stats().Regions
	n.regions.fill(out, &now)
	return out
}

// regionsOf counts the targets of each region by their states.
func regionsOf(l *loaded, states *steering.States) []api.RegionStatus {
	out := make([]api.RegionStatus, len(l.compiled.Document.Regions))
	for i, r := range l.compiled.Document.Regions {
		out[i].Name = r.Name
	}
	for id := range l.compiled.Targets {
		r := &out[l.compiled.Targets[id].Region.Index]
		v := states.Verdict(steering.TargetID(id))
		r.Targets++
		switch v.State {
		case steering.Up:
			r.Up++
		case steering.Degraded:
			r.Degraded++
		case steering.Down:
			r.Down++
		case steering.Unknown:
			r.Unknown++
		}
		if v.Drained {
			r.Drained++
		}
		if !v.Drained && v.State != steering.Down {
			r.Admit += float64(v.Admit) / steering.AdmitAll
		}
	}
	for i := range out {
		if out[i].Targets > 0 {
			out[i].Admit /= float64(out[i].Targets)
		}
	}
	return out
}
