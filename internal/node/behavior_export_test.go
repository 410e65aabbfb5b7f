package node

import (
	"context"
	"errors"
	"fmt"

	"geodns/pkg/steering"
)

// ServeOnly serves DNS as Run does, without what else a node does: no probes, no watching, no loads, so that the states are those
// of PublishStates alone. It ends with ctx; the node is not run beside it.
func (n *Node) ServeOnly(ctx context.Context) error {
	err := n.server.Run(ctx)
	n.askers.Wait()
	if n.watch != nil {
		err = errors.Join(err, n.watch.notify.Close())
	}
	if n.api != nil {
		err = errors.Join(err, n.api.Close())
	}
	return errors.Join(err, n.closeOperator())
}

// PublishStates publishes the world with the verdicts of all its targets, checked or not, by id ("pool/target").
func (n *Node) PublishStates(verdict func(id string) steering.Verdict) error {
	l := n.currentLoad()
	verdicts := make([]steering.Verdict, len(l.compiled.Targets))
	for i := range l.compiled.Targets {
		verdicts[i] = verdict(l.compiled.Targets[i].ID)
	}
	states, err := steering.NewStates(l.compiled.Table, verdicts)
	if err != nil {
		return fmt.Errorf("target states: %w", err)
	}
	w, err := n.server.World().WithStates(states)
	if err != nil {
		return err
	}
	n.server.Publish(w)
	return nil
}

// WorldID names the content that is served.
func (n *Node) WorldID() string { return n.currentLoad().id() }
