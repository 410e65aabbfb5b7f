package node

import (
	"geodns/pkg/api"
	"geodns/pkg/server"
)

// Status is the document of what the node is and serves.
func (n *Node) Status() api.Status { return n.status() }

// CommitOf is the commit that a folder's files are of.
func CommitOf(folder string) (commit string, dirs []string) { return commitOf(folder) }

// Shares counts answers for some regions alone, each sample of them given by name.
type Shares struct{ t *regionTable }

// NewShares makes one with slots for these regions, as many as there are.
func NewShares(names []string) *Shares {
	t := newRegionTable()
	t.assign(names)
	return &Shares{t}
}

// Assign gives more regions slots.
func (s *Shares) Assign(names []string) { s.t.assign(names) }

// Slot is the slot of a region; 0: it shares one with others.
func (s *Shares) Slot(name string) uint8 { return s.t.slots[name] }

// Sample notes what the counters are.
func (s *Shares) Sample(now [server.RegionsCounted]uint64) { s.t.sample(now) }

// Of tells of a region.
func (s *Shares) Of(name string, now [server.RegionsCounted]uint64) api.RegionStatus {
	r := []api.RegionStatus{{Name: name}}
	s.t.fill(r, &now)
	return r[0]
}

// Names gives the counters their regions.
func (s *Shares) Names(now [server.RegionsCounted]uint64) map[string]uint64 { return s.t.names(&now) }

// ShareSamples is how many samples are of the last minutes.
const ShareSamples = shareSamples
