package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"geodns/pkg/api"
	"geodns/pkg/operator"
)

// movesMax is how many moves of a policy are shown; the largest come first, and the rest is small.
const movesMax = 5

// breaksMax is how many guards' words are shown: they must not push the first, which says most, off a screen.
const breaksMax = 12

// action says in a few words what a lease does.
func action(l *api.Lease) string {
	if l.Action != string(operator.Set) {
		return l.Action
	}
	var to []string
	if l.State != "" {
		to = append(to, l.State)
	}
	if l.Admit != nil {
		to = append(to, "admit "+strconv.FormatFloat(*l.Admit, 'g', -1, 64))
	}
	return l.Action + " " + strings.Join(to, ", ")
}

// ends says when a lease ends, or how it did.
func ends(l *api.Lease, now time.Time) string {
	switch {
	case !l.Ended.IsZero() && l.EndedBy == "":
		return "expired " + ago(now, l.Ended) + " ago"
	case !l.Ended.IsZero():
		return "ended " + ago(now, l.Ended) + " ago by " + l.EndedBy
	case !l.Expires.After(now):
		return "expired"
	}
	return "in " + lasting(l.Expires.Sub(now))
}

// share gives a part of all, as people read it.
func share(part float64) string {
	switch {
	case part <= 0:
		return "-"
	case part < 0.0005:
		return "<0.1 %"
	}
	return strconv.FormatFloat(100*part, 'f', 1, 64) + " %"
}

// shareOrNone is share in a sentence.
func shareOrNone(part float64) string {
	if part <= 0 {
		return "none"
	}
	return share(part)
}

// writeChange prints what a change of a lease did, or would do.
func writeChange(p *page, c *api.LeaseChange) error {
	l := &c.Lease
	what := fmt.Sprintf("%s %s %s until %s", action(l), l.Kind, l.Name, stamp(l.Expires))
	if !l.Ended.IsZero() {
		what = fmt.Sprintf("end of %s %s %s", action(l), l.Kind, l.Name)
	}
	what += fmt.Sprintf(" (lease %s, %s)", l.ID, count(l.Targets, "target"))
	switch {
	case c.DryRun:
		p.line("dry run: %s", what)
	case !c.Changed:
		p.line("nothing changed, it was so already: %s", what)
	default:
		p.line("%s", what)
	}
	if b := c.Before; b != nil && c.Changed && l.Ended.IsZero() {
		p.line("in place of: %s until %s by %s: %s", action(b), stamp(b.Expires), b.Owner, b.Reason)
	}
	for _, b := range firstBreaks(c.Breaks) {
		if c.DryRun {
			p.line("guard: %s", b)
		} else {
			p.line("overridden: %s", b)
		}
	}
	if c.DryRun {
		return writeImpact(p, c.Impact)
	}
	if c.Changed {
		p.line("served after %.3f s, audit entry %d", c.Seconds, c.Audit)
	}
	return nil
}

// firstBreaks are as many breaks as are shown, and how many there are beside them.
func firstBreaks(breaks []string) []string {
	if len(breaks) <= breaksMax {
		return breaks
	}
	return append(slices.Clone(breaks[:breaksMax]), fmt.Sprintf("and %d more, which -o json has", len(breaks)-breaksMax))
}

// writeImpact prints which clients would move.
func writeImpact(p *page, impact *api.Impact) error {
	if impact == nil {
		p.line("nothing was done")
		return nil
	}
	p.line("clients whose answer would change: %s; who would get SERVFAIL: %s; %s tried for each policy",
		shareOrNone(impact.Share), shareOrNone(impact.Failed), count(impact.Sampled, "client"))
	var t table
	t.title("POLICY", "MOVE", "FAIL", "FROM", "TO", "SHARE")
	still := 0
	for i := range impact.Policies {
		if pi := &impact.Policies[i]; len(pi.Moves) > 0 || pi.Share+pi.Failed > 0 {
			addPolicyImpact(&t, pi)
		} else {
			still++
		}
	}
	if still > 0 {
		t.add(fmt.Sprintf("and %s where nobody moves", policies(still)))
	}
	if impact.Left > 0 {
		t.add(fmt.Sprintf("... and %s that were not tried", policies(impact.Left)))
	}
	if len(t) > 1 {
		if err := p.write(t); err != nil {
			return err
		}
	}
	p.line("nothing was done")
	return nil
}

// addPolicyImpact adds the moves of a policy, a row each.
func addPolicyImpact(t *table, i *api.PolicyImpact) {
	failed := cell{share(i.Failed), plain}
	if i.Failed > 0 {
		failed.hue = bad
	}
	first := []any{i.Policy, share(i.Share), failed}
	for n, m := range i.Moves {
		if n == movesMax {
			t.add("", "", "", fmt.Sprintf("and %d more", len(i.Moves)-n))
			return
		}
		t.add(append(first, m.From, m.To, share(m.Share))...)
		first = []any{"", "", ""}
	}
}

// addLeases adds leases, a row each. What a narrow terminal cuts off is at the end: an id mostly says what is held.
func addLeases(t *table, leases []api.Lease, now time.Time) {
	t.title("LEASE", "ACTION", "ENDS", "OWNER", "TICKET", "REASON", "OBJECT", "TARGETS")
	for i := range leases {
		l := &leases[i]
		t.add(l.ID, action(l), ends(l, now), l.Owner, dash(l.Ticket), l.Reason, l.Kind+" "+l.Name, l.Targets)
	}
}

// dash stands for nothing.
func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// writeLease prints all of a lease.
func writeLease(p *page, l *api.Lease, now time.Time) error {
	var t table
	t.add("lease", l.ID)
	t.add("does", action(l)+" "+l.Kind+" "+l.Name+", now "+count(l.Targets, "target"))
	t.add("owner", l.Owner)
	t.add("reason", l.Reason)
	if l.Ticket != "" {
		t.add("ticket", l.Ticket)
	}
	for _, o := range l.Override {
		t.add("overrides", cell{o, wary})
	}
	t.add("created", stamp(l.Created))
	t.add("updated", stamp(l.Updated)+", revision "+strconv.FormatUint(l.Revision, 10))
	t.add("expires", stamp(l.Expires))
	t.add("ends", ends(l, now))
	if l.EndReason != "" {
		t.add("ended for", l.EndReason)
	}
	return p.write(t)
}
