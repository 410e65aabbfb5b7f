package node

// TargetState is the state of a checked target, "" if there is none.
func (n *Node) TargetState(id string) string {
	for _, t := range n.targets() {
		if t.ID == id {
			return t.State
		}
	}
	return ""
}

// Touch does what the watcher does when a file has changed.
func (n *Node) Touch() { signal(n.touched) }

// Loads counts the loads by their results.
func (n *Node) Loads() (loaded, unchanged, refused uint64) {
	c := n.loadCounts()
	return c.Loaded, c.Unchanged, c.Refused
}
