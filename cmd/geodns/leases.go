package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"geodns/internal/source"
	"geodns/pkg/api"
	"geodns/pkg/operator"
)

// stillListedMax is how many targets are named that another lease holds.
const stillListedMax = 5

// newLeases builds `geodns leases` and what is below it.
func newLeases() *cobra.Command {
	cmd := group("leases", "List, show and end the leases of a running server")
	unknown := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknown(cmd, args)
		}
		return listLeases(cmd)
	}
	addList(cmd)
	list := &cobra.Command{
		Use:   "list",
		Short: "List the leases that have not ended",
		Args:  arguments(0, 0, "no arguments"),
		RunE:  func(cmd *cobra.Command, _ []string) error { return listLeases(cmd) },
	}
	addList(list)
	cmd.AddCommand(list)
	one := &cobra.Command{
		Use:               "show ID",
		Short:             "Show all of a lease",
		Args:              arguments(1, 1, "the id of a lease"),
		RunE:              func(cmd *cobra.Command, args []string) error { return showLease(cmd, args[0]) },
		ValidArgsFunction: completeLease,
	}
	end := &cobra.Command{
		Use:               "end ID",
		Short:             "End a lease before its time",
		Args:              arguments(1, 1, "the id of a lease"),
		RunE:              func(cmd *cobra.Command, args []string) error { return endLease(cmd, args[0]) },
		ValidArgsFunction: completeLease,
	}
	addEndReason(end)
	addDryRun(end)
	for _, c := range []*cobra.Command{one, end} {
		addFile(c)
		addOutput(c)
		addAPI(c)
		cmd.AddCommand(c)
	}
	return cmd
}

// addList adds what a list of leases takes.
func addList(cmd *cobra.Command) {
	addFile(cmd)
	addOutput(cmd)
	addAPI(cmd)
	cmd.Flags().BoolP("all", "a", false, "those that ended as well, as long as they are kept")
}

// newEnd builds `geodns undrain` and `geodns unset`.
func newEnd(name string, of operator.Action, short string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   name + " KIND NAME",
		Short: short,
		Long: short + `. Leases over other objects stay, also where they hold the same targets: they are named. That
there was no such lease is no failure.`,
		Example:           "  geodns " + name + " region fra --reason \"kernel is done\"",
		Args:              arguments(2, 2, objectWords),
		RunE:              func(cmd *cobra.Command, args []string) error { return endAll(cmd, of, args) },
		ValidArgsFunction: completeHeld(of),
	}
	addFile(cmd)
	addOutput(cmd)
	addAPI(cmd)
	addEndReason(cmd)
	addDryRun(cmd)
	return cmd
}

// addEndReason adds --reason for the end of a lease.
func addEndReason(cmd *cobra.Command) {
	cmd.Flags().String("reason", "ended by hand", "why, in a line: for the audit log")
}

// listLeases prints the leases.
func listLeases(cmd *cobra.Command) error {
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	document, err := c.leases(cmd.Context(), isSet(cmd, "all"))
	if err != nil {
		return err
	}
	return show(cmd, document, func(p *page) error {
		if len(document.Leases) == 0 {
			p.line("no leases")
			return nil
		}
		var t table
		addLeases(&t, document.Leases, time.Now())
		return p.write(t)
	})
}

// showLease prints all of a lease.
func showLease(cmd *cobra.Command, id string) error {
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	var lease api.Lease
	if err := c.get(cmd.Context(), "/v1/leases/"+url.PathEscape(id), &lease); err != nil {
		return err
	}
	return show(cmd, lease, func(p *page) error { return writeLease(p, &lease, time.Now()) })
}

// endLease ends the lease with an id.
func endLease(cmd *cobra.Command, id string) error {
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	change, err := deleteLease(cmd, c, id)
	if err != nil {
		return err
	}
	return show(cmd, change, func(p *page) error { return writeChange(p, &change) })
}

// deleteLease asks the server to end a lease.
func deleteLease(cmd *cobra.Command, c *client, id string) (change api.LeaseChange, err error) {
	reason := strings.TrimSpace(cmd.Flag("reason").Value.String())
	if reason == "" {
		return change, usagef("--reason: whoever reads the audit log has to know why")
	}
	err = c.call(cmd.Context(), http.MethodDelete, leasePath(cmd, id, url.Values{"reason": {reason}}), nil, &change)
	if err != nil {
		return change, guarded(cmd, err)
	}
	return change, nil
}

// endDocument is what ending the leases over an object did.
type endDocument struct {
	Ended []api.LeaseChange `json:"ended"`
	Still []holding         `json:"still"` // what other leases hold

	unknown bool     // no target is or has the object
	known   []string // objects of its kind
}

// holding is a lease that holds targets of an object.
type holding struct {
	Lease   api.Lease `json:"lease"`
	Targets []string  `json:"targets"` // of the object
}

// endAll ends every active lease with an action over exactly an object, and prints which others hold its targets still.
func endAll(cmd *cobra.Command, of operator.Action, args []string) error {
	object, err := objectOf(args)
	if err != nil {
		return err
	}
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	all, err := c.leases(cmd.Context(), false)
	if err != nil {
		return err
	}
	document := endDocument{Ended: []api.LeaseChange{}, Still: []holding{}}
	var others []api.Lease
	for i := range all.Leases {
		l := &all.Leases[i]
		if !l.Active || l.Action != string(of) {
			continue
		}
		if l.Kind != string(object.Kind) || l.Name != object.Name {
			others = append(others, *l)
			continue
		}
		change, endErr := deleteLease(cmd, c, l.ID)
		if p, ok := errors.AsType[*problem](endErr); ok && p.Status == http.StatusNotFound {
			continue // it ended meanwhile
		}
		if endErr != nil {
			return endErr
		}
		document.Ended = append(document.Ended, change)
	}
	if len(others) > 0 || len(document.Ended) == 0 {
		targets, err := c.targets(cmd.Context())
		if p, ok := errors.AsType[*problem](err); ok && p.Status == http.StatusForbidden {
			// What was asked for is done; whoever may not see the targets is not told more.
			return show(cmd, document, func(p *page) error { return document.write(p, of, object) })
		}
		if err != nil {
			return err
		}
		document.Still = stillHeld(targets, object, others)
		document.unknown = len(document.Ended) == 0 && !slices.ContainsFunc(targets, func(t api.Target) bool { return touches(object, &t) })
		document.known = objects(object.Kind, targets)
	}
	return show(cmd, document, func(p *page) error { return document.write(p, of, object) })
}

// targets asks for the targets.
func (c *client) targets(ctx context.Context) ([]api.Target, error) {
	var document targetsDocument
	err := c.get(ctx, "/v1/targets", &document)
	return document.Targets, err
}

// stillHeld finds the targets of an object that leases hold, by lease.
func stillHeld(targets []api.Target, object operator.Object, leases []api.Lease) []holding {
	still := []holding{}
	for i := range leases {
		held := holding{Lease: leases[i]}
		for j := range targets {
			t := &targets[j]
			if touches(object, t) && slices.Contains(t.Leases, leases[i].ID) {
				held.Targets = append(held.Targets, t.ID)
			}
		}
		if len(held.Targets) > 0 {
			still = append(still, held)
		}
	}
	return still
}

// touches says whether a target is the object, or belongs to it.
func touches(o operator.Object, t *api.Target) bool {
	switch o.Kind {
	case operator.KindTarget:
		return t.ID == o.Name
	case operator.KindPool:
		pool, _, _ := strings.Cut(t.ID, "/")
		return pool == o.Name
	case operator.KindRegion:
		return t.Region == o.Name
	case operator.KindTag:
		return slices.Contains(t.Tags, o.Name)
	}
	return false
}

// write prints what ended, and what holds still.
func (d *endDocument) write(p *page, of operator.Action, object operator.Object) error {
	if len(d.Ended) == 0 {
		p.line("no lease of %s over %s: nothing to end", of, object)
	}
	if d.unknown {
		text := fmt.Sprintf("no target is there of %s", object)
		if near := source.Nearest(object.Name, d.known); near != "" {
			text += fmt.Sprintf("; did you mean %q?", near)
		}
		p.line("%s", text)
	}
	for i := range d.Ended {
		if err := writeChange(p, &d.Ended[i]); err != nil {
			return err
		}
	}
	for i := range d.Still {
		h := &d.Still[i]
		l := &h.Lease
		p.line("still held by lease %s (%s %s %s, %s, until %s): %s", l.ID, action(l), l.Kind, l.Name, l.Owner, stamp(l.Expires), some(h.Targets))
	}
	return nil
}

// some names the first of many.
func some(names []string) string {
	if len(names) <= stillListedMax {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:stillListedMax], ", ") + fmt.Sprintf(" and %d more", len(names)-stillListedMax)
}
