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
