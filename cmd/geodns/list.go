package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"geodns/pkg/api"
)

// newList builds `geodns list` and what is below it.
func newList() *cobra.Command {
	cmd := group("list", "List what a running server has: targets, pools, policies, zones, checks")
	for _, l := range []struct {
		name, short string
		run         func(*cobra.Command) error
	}{
		{"targets", "List the targets with their states, and what the last probes saw", listTargets},
		{"pools", "List the pools, and how many of their targets may answer", listPools},
		{"policies", "List the policies, and what they steer", listPolicies},
		{"zones", "List the zones with their serials", listZones},
		{"checks", "List the checks, with what they leave to defaults", listChecks},
	} {
		c := &cobra.Command{
			Use: l.name, Short: l.short, Args: arguments(0, 0, "no arguments"),
			RunE: func(cmd *cobra.Command, _ []string) error { return l.run(cmd) },
		}
		addFile(c)
		addOutput(c)
		addAPI(c)
		cmd.AddCommand(c)
	}
	return cmd
}

// list asks for a document and prints it.
func list[D any](cmd *cobra.Command, path string, add func(*table, *D)) error {
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	document := new(D)
	if err := c.get(cmd.Context(), path, document); err != nil {
		return err
	}
	return show(cmd, document, func(p *page) error {
		var t table
		add(&t, document)
		return p.write(t)
	})
}

// targetsDocument is what GET /v1/targets answers.
type targetsDocument struct {
	Targets []api.Target `json:"targets"`
}

// listTargets prints the targets.
func listTargets(cmd *cobra.Command) error {
	return list(cmd, "/v1/targets", func(t *table, d *targetsDocument) {
		now := time.Now()
		t.title("TARGET", "STATE", "ADDRESS", "SINCE", "PROBED", "DRAINED", "LEASES", "WHAT THE LAST PROBE SAW")
		for i := range d.Targets {
			addTarget(t, &d.Targets[i], now)
		}
	})
}

// addTarget adds a target, a row for each address that is probed.
func addTarget(t *table, target *api.Target, now time.Time) {
	drained := cell{"-", plain}
	if target.Drained {
		drained = cell{"yes", wary}
	}
	state, leases := stateCell(target), dash(strings.Join(target.Leases, ","))
	if len(target.Addresses) == 0 {
		t.add(target.ID, state, "-", "-", "-", drained, leases, "no check")
	}
	for _, a := range target.Addresses {
		t.add(target.ID, state, a.Address, ago(now, target.Since), ago(now, a.LastProbe), drained, leases, probeText(&a))
	}
}

// stateCell is a target's state with its color.
func stateCell(t *api.Target) cell {
	c := cell{targetState(t), wary}
	switch {
	case t.State == "down":
		c.hue = bad
	case t.State == "up" && !t.InDoubt && !t.Drained && t.Admit >= 1:
		c.hue = good
	}
	return c
}

// poolsDocument is what GET /v1/pools answers.
type poolsDocument struct {
	Pools []api.Pool `json:"pools"`
}

// listPools prints the pools.
func listPools(cmd *cobra.Command) error {
	return list(cmd, "/v1/pools", func(t *table, d *poolsDocument) {
		t.title("POOL", "USABLE", "MIN UP", "CHECK", "FALLBACK", "POLICIES", "AT")
		for i := range d.Pools {
			p := &d.Pools[i]
			usable := cell{fmt.Sprintf("%d of %d", p.Usable, len(p.Targets)), good}
			switch {
			case p.Usable < max(p.MinUp, 1):
				usable.hue = bad
			case p.Usable < len(p.Targets):
				usable.hue = wary
			}
			t.add(p.Name, usable, p.MinUp, dash(p.Check), dash(p.Fallback), dash(strings.Join(p.Policies, ",")), p.At)
		}
	})
}

// policiesDocument is what GET /v1/policies answers.
type policiesDocument struct {
	Policies []api.Policy `json:"policies"`
}

// listPolicies prints the policies.
func listPolicies(cmd *cobra.Command) error {
	return list(cmd, "/v1/policies", func(t *table, d *policiesDocument) {
		t.title("POLICY", "NAMES", "RULES", "ANSWERS", "PICK", "TTL", "ALL DOWN", "SCOPES", "AT")
		for i := range d.Policies {
			p := &d.Policies[i]
			t.add(p.Name, p.NameN, len(p.Rules), p.Answers, p.Pick, fmt.Sprintf("%d-%d", p.TTLMin, p.TTLMax), p.AllDown, p.Scopes, p.At)
		}
	})
}

// zonesDocument is what GET /v1/zones answers.
type zonesDocument struct {
	Zones []api.Zone `json:"zones"`
	ZoneN int        `json:"zones_total"`
}

// listZones prints the zones.
func listZones(cmd *cobra.Command) error {
	return list(cmd, "/v1/zones", func(t *table, d *zonesDocument) {
		t.title("ZONE", "SERIAL", "RECORDS", "FILE")
		for _, z := range d.Zones {
			t.add(z.Origin, z.Serial, z.Records, z.File)
		}
		if n := d.ZoneN - len(d.Zones); n > 0 {
			t.add(fmt.Sprintf("and %d more", n))
		}
	})
}
