package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"geodns/pkg/api"
	"geodns/pkg/operator"
)

// leaseDefault is how long a lease lasts that does not say: a deployment is over by then, and what is forgotten ends by itself.
const leaseDefault = time.Hour

// objectWords says what commands about an object want.
const objectWords = "a kind and a name, such as region fra, target web/fra1, tag blue or pool web"

// kinds are the kinds of objects, in the order of a help text.
func kinds() []string {
	return []string{string(operator.KindRegion), string(operator.KindTarget), string(operator.KindTag), string(operator.KindPool)}
}

// newDrain builds `geodns drain`.
func newDrain() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drain KIND NAME --reason TEXT",
		Short: "Take a target, region, tag or pool out of answers for a while",
		Long: `Take a target, or all targets that a region, a tag or a pool has, out of answers until a time. It is a lease: it has an owner, a
reason and an end, it stands in the audit log, and "geodns undrain" ends it before its time. Draining the same again changes the
lease that is there. A guard refuses what would leave clients without an answer; --override does it all the same.`,
		Example: `  geodns drain region fra --for 2h --reason "kernel" --ticket OPS-12
  geodns drain target web/fra1 --until 2026-12-01T06:00:00Z --reason "disk" --dry-run`,
		Args: arguments(2, 2, objectWords),
		RunE: func(cmd *cobra.Command, args []string) error {
			return putLease(cmd, args, &api.PutLease{Action: string(operator.Drain)})
		},
	}
	addPut(cmd)
	return cmd
}

// newSet builds `geodns set`.
func newSet() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set KIND NAME (--state STATE | --admit PART) --reason TEXT",
		Short: "Hold a target, region, tag or pool at a state or at a part of its traffic for a while",
		Long: `Hold a target, or all targets that a region, a tag or a pool has, at a state, at a part of their traffic, or both, until a time.
Of several leases the most cautious counts: the worst state, the least part. "geodns unset" ends it before its time.`,
		Example: `  geodns set region fra --admit 0.5 --for 30m --reason "one uplink"
  geodns set target web/fra1 --state down --reason "answers are wrong, the check does not see it"`,
		Args: arguments(2, 2, objectWords),
		RunE: func(cmd *cobra.Command, args []string) error {
			lease := &api.PutLease{Action: string(operator.Set), State: cmd.Flag("state").Value.String()}
			if cmd.Flags().Changed("admit") {
				admit, err := cmd.Flags().GetFloat64("admit")
				if err != nil {
					return err
				}
				if !(admit >= 0 && admit <= 1) {
					return usagef("--admit: %v is no part of the traffic: from 0 to 1", admit)
				}
				lease.Admit = &admit
			}
			switch lease.State {
			case "", "up", "degraded", "down":
			default:
				return usagef("--state is up, degraded or down, not %q", lease.State)
			}
			if lease.State == "" && lease.Admit == nil {
				return usagef("set to what? Give --state, --admit or both")
			}
			return putLease(cmd, args, lease)
		},
	}
	cmd.Flags().String("state", "", "hold at this state: up, degraded or down (as health has it)")
	cmd.Flags().Float64("admit", 1, "the part of its traffic that each target takes at most, 0 to 1")
	complete(cmd, "state", "up", "degraded", "down")
	addPut(cmd)
	return cmd
}

// addPut adds what drain and set share.
func addPut(cmd *cobra.Command) {
	addFile(cmd)
	addOutput(cmd)
	addAPI(cmd)
	cmd.Flags().Duration("for", leaseDefault, "how long it lasts")
	cmd.Flags().String("until", "", "when it ends, such as 2026-12-01T06:00:00Z, in place of --for")
	cmd.Flags().String("reason", "", "why, in a line: for the audit log and for whoever finds it")
	cmd.Flags().String("ticket", "", "number of a ticket")
	cmd.Flags().String("id", "", "id of the lease (made of what it does and what to, so that the same again is the same lease)")
	cmd.Flags().Bool("override", false, "do it although a guard refuses")
	addDryRun(cmd)
	cmd.ValidArgsFunction = completeObject
}

// addDryRun adds --dry-run.
func addDryRun(cmd *cobra.Command) {
	cmd.Flags().Bool("dry-run", false, "change nothing; show which share of clients would move, from where to where")
}

// isSet gives a flag of truth.
func isSet(cmd *cobra.Command, flag string) bool { return cmd.Flag(flag).Value.String() == "true" }

// objectOf reads the object that a command is about.
func objectOf(args []string) (operator.Object, error) {
	o := operator.Object{Kind: operator.Kind(args[0]), Name: args[1]}
	switch o.Kind {
	case operator.KindRegion, operator.KindTag, operator.KindPool:
		if o.Name == "" {
			return o, usagef("which %s? Its name is empty", o.Kind)
		}
		return o, nil
	case operator.KindTarget:
		if pool, target, ok := strings.Cut(o.Name, "/"); !ok || pool == "" || target == "" {
			return o, usagef("%q is not a target such as web/fra1", o.Name)
		}
		return o, nil
	}
	return o, usagef("there is no kind %q; there are %s", args[0], strings.Join(kinds(), ", "))
}

// leaseExpiry is when a lease ends, by --until or --for. It is a time and no span, so that a request that is sent twice means the same.
func leaseExpiry(cmd *cobra.Command, now time.Time) (time.Time, error) {
	until := cmd.Flag("until").Value.String()
	if until != "" && cmd.Flags().Changed("for") {
		return time.Time{}, usagef("--for and --until both say when it ends; give one")
	}
	if until != "" {
		t, err := time.Parse(time.RFC3339, until)
		if err != nil {
			return t, usagef("--until: %q is not a time such as 2026-12-01T06:00:00Z", until)
		}
		if !t.After(now) {
			return t, usagef("--until: %s is over", stamp(t))
		}
		return t.UTC(), nil
	}
	span, err := cmd.Flags().GetDuration("for")
	if err != nil {
		return time.Time{}, err
	}
	if span < time.Second {
		return time.Time{}, usagef("--for: %s is no time to last: a second at least", span)
	}
	return now.Add(span).UTC().Truncate(time.Second), nil
}

// putLease sends a lease and prints what came of it.
func putLease(cmd *cobra.Command, args []string, lease *api.PutLease) error {
	object, err := objectOf(args)
	if err != nil {
		return err
	}
	lease.Kind, lease.Name = string(object.Kind), object.Name
	lease.Reason, lease.Ticket = strings.TrimSpace(cmd.Flag("reason").Value.String()), cmd.Flag("ticket").Value.String()
	if lease.Reason == "" {
		return usagef("%s needs --reason: whoever finds it has to know why", cmd.CommandPath())
	}
	if lease.Expires, err = leaseExpiry(cmd, time.Now()); err != nil {
		return err
	}
	lease.Override = isSet(cmd, "override")
	id := cmd.Flag("id").Value.String()
	if id == "" {
		id = operator.LeaseID(operator.Action(lease.Action), object)
	}
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	var change api.LeaseChange
	if err := c.call(cmd.Context(), http.MethodPut, leasePath(cmd, id, url.Values{}), lease, &change); err != nil {
		return guarded(cmd, err)
	}
	if err := show(cmd, change, func(p *page) error { return writeChange(p, &change) }); err != nil {
		return err
	}
	if change.DryRun && len(change.Breaks) > 0 && !lease.Override {
		return errors.New("the server's guards would refuse it; --override would do it all the same")
	}
	return nil
}

// leasePath is where a lease is.
func leasePath(cmd *cobra.Command, id string, query url.Values) string {
	if isSet(cmd, "dry-run") {
		query.Set("dry_run", "true")
	}
	path := "/v1/leases/" + url.PathEscape(id)
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path
}

// guardError is a change that a guard refuses.
type guardError struct{ breaks []string }

// Error gives what it would break, one a line, and the way around.
func (e *guardError) Error() string {
	return "the server's guards refuse it:\n  " + strings.Join(firstBreaks(e.breaks), "\n  ") + "\ngeodns: --override does it all the same"
}

// guarded makes a guard's refusal one for people; programs get its document.
func guarded(cmd *cobra.Command, err error) error {
	refused, ok := errors.AsType[*problem](err)
	if !ok || refused.Status != http.StatusConflict {
		return err
	}
	breaks := refused.guards()
	if len(breaks) == 0 {
		return err
	}
	if wantsDocument(cmd) {
		if err := writeDocument(cmd, refused); err != nil {
			return err
		}
	}
	return &guardError{breaks}
}

// guards are what guards said in a problem.
func (p *problem) guards() []string {
	var breaks []string
	for _, e := range p.Errors {
		if e.Location == "guard" {
			breaks = append(breaks, printable(e.Message))
		}
	}
	return breaks
}

// leasesDocument is what GET /v1/leases answers.
type leasesDocument struct {
	Leases []api.Lease `json:"leases"`
}

// leases asks for the leases that have not ended, or for tombstones as well.
func (c *client) leases(ctx context.Context, all bool) (leasesDocument, error) {
	var document leasesDocument
	path := "/v1/leases"
	if all {
		path += "?all=true"
	}
	err := c.get(ctx, path, &document)
	return document, err
}
