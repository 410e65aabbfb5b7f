package node

import (
	"fmt"
	"strings"
	"time"

	"geodns/pkg/health"
	"geodns/pkg/operator"
	"geodns/pkg/policy"
	"geodns/pkg/steering"
)

// targetNotes say why a target's state is what it is, a line each: its check's verdict, the votes that it came of, and the leases that
// lie over it.
func (n *Node) targetNotes(t *policy.Target) []string {
	lines := n.checkNotes(t)
	for _, l := range n.overrides().Of(t) {
		lines = append(lines, leaseNote(&l))
	}
	return lines
}

// leaseNote is what an operator did.
func leaseNote(l *operator.Lease) string {
	what := "drains " + l.Object.String()
	if l.Action == operator.Set {
		what = "sets " + l.Object.String()
		if l.State != "" {
			what += " " + l.State
		}
		if l.Admit != nil {
			what += fmt.Sprintf(" to %.0f %% of its traffic at most", 100**l.Admit)
		}
	}
	return strings.TrimSuffix(fmt.Sprintf("lease %s of %s %s until %s: %s, %s", l.ID, l.Owner, what, stamp(l.Expires), l.Reason, l.Ticket), ", ")
}

// checkNotes tell what health says of a target.
func (n *Node) checkNotes(t *policy.Target) []string {
	if t.Check == nil {
		return []string{"no check, so health has it up"}
	}
	s, known := n.health.Status(t.ID)
	if !known {
		return []string{"check " + t.Check.Name + ": not begun"}
	}
	return healthNotes(&s)
}

// healthNotes tell a checked target's status.
func healthNotes(s *health.Status) []string {
	line := fmt.Sprintf("check %s: %s since %s", s.Check, s.Verdict.State, stamp(s.Since))
	if s.Reason != health.NoReason {
		line += ", by " + s.Reason.String()
	}
	if s.Detail != "" {
		line += ": " + s.Detail
	}
	if s.Decision != "" {
		line += " (decision " + s.Decision + ")"
	}
	lines := []string{line}
	if s.Doubt != health.NoDoubt {
		lines = append(lines, "in doubt: "+s.Doubt.String())
	}
	if s.Hold != health.NoHold {
		lines = append(lines, fmt.Sprintf("held down: %s, for %s more if nothing fails; penalty %.1f", s.Hold, s.HoldEnds.Round(time.Second), s.Penalty))
	}
	if s.Verdict.Admit < steering.AdmitAll {
		lines = append(lines, fmt.Sprintf("admits %.1f %% of its traffic", 100*float64(s.Verdict.Admit)/steering.AdmitAll))
	}
	for i := range s.Addresses {
		lines = append(lines, "own vote: "+addressNote(&s.Addresses[i]))
	}
	fresh := 0
	for i := range s.Votes {
		if v := &s.Votes[i]; v.Fresh {
			fresh++
			lines = append(lines, "vote of "+voteNote(&v.Vote))
		}
	}
	if fresh > 0 {
		lines = append(lines, fmt.Sprintf("votes down that it takes: %d", s.Need))
	}
	return lines
}

// addressNote is what this node's probes say of one address.
func addressNote(a *health.AddressStatus) string {
	if a.Probe.IsZero() {
		return a.Address + " never probed"
	}
	line := fmt.Sprintf("%s %s, probed at %s", a.Address, a.State, stamp(a.Probe))
	if a.Reason != "" {
		line += ": " + a.Reason
	}
	switch {
	case a.Failed > 0:
		line += fmt.Sprintf("; failed in a row: %d", a.Failed)
	case a.Good > 0:
		line += fmt.Sprintf("; good in a row: %d", a.Good)
	}
	return line
}

// voteNote is what another vantage point says.
func voteNote(v *health.Vote) string {
	line := fmt.Sprintf("%s: %s, %s old", v.PoP, v.State, v.Age.Round(time.Second))
	if v.Admit < steering.AdmitAll {
		line += fmt.Sprintf(", admit %.2f", float64(v.Admit)/steering.AdmitAll)
	}
	return strings.TrimSuffix(line+": "+v.Reason, ": ")
}

// stamp is a time as notes have it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
