package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"geodns/pkg/api"
	"geodns/pkg/operator"
)

// versionDigits is how much of a commit or a hash is shown: enough to tell any two apart that people mean.
const versionDigits = 10

// inputsLeast is how many inputs are shown in any case: what is served has to be seen whatever goes on, and a node has this many.
const inputsLeast = 5

// regionsLeast is how many regions are shown in any case: one, and how many more there are.
const regionsLeast = 2

// section is a list of a status, below its title.
type section struct {
	title []string
	rows  table
	least int  // rows that it has in any case
	lines int  // how many rows are shown; where that is not all, the last says how many more there are
	last  bool // the rows are the last of many in any case, so that nothing is said of more
}

// table is the section as it is shown.
func (s *section) table() table {
	var t table
	t.title(s.title...)
	if s.lines >= len(s.rows) {
		return append(t, s.rows...)
	}
	if s.last {
		return append(t, s.rows[:s.lines]...)
	}
	kept := max(s.lines-1, 0)
	t = append(t, s.rows[:kept]...)
	t.add(fmt.Sprintf("and %d more", len(s.rows)-kept))
	return t
}

// fit gives each section some of so many lines, its title included: first the least that it has in any case, then one to each by
// turns, until all is shown or no line is left. The least is one: a list that is not shown at all would be taken for an empty one.
func fit(sections []section, lines int) {
	for i := range sections {
		s := &sections[i]
		s.lines = min(max(s.least, 1), len(s.rows))
		lines -= 1 + s.lines
	}
	for more := true; more && lines > 0; {
		more = false
		for i := range sections {
			if s := &sections[i]; s.lines < len(s.rows) && lines > 0 {
				s.lines, more = s.lines+1, true
				lines--
			}
		}
	}
}

// sections are the lists that are not empty.
func (d *statusDocument) sections(now time.Time) []section {
	all := []section{d.unwell(now), d.leases(now), d.regions(), d.events(), d.inputs(now)}
	all = slices.DeleteFunc(all, func(s section) bool { return len(s.rows) == 0 })
	for i := range all {
		all[i].lines = len(all[i].rows)
	}
	return all
}

// unwell are the targets that are not plainly up, those that are down first. Drained ones are not among them: the leases say so.
func (d *statusDocument) unwell(now time.Time) section {
	var found []*api.Target
	for i := range d.Targets {
		if t := &d.Targets[i]; t.State != "up" || t.InDoubt || t.Admit < 1 {
			found = append(found, t)
		}
	}
	rank := map[string]int{"down": -2, "degraded": -1}
	slices.SortStableFunc(found, func(a, b *api.Target) int { return cmp.Compare(rank[a.State], rank[b.State]) })
	s := section{title: []string{"DOWN OR IN DOUBT", "STATE", "SINCE", "WHY"}}
	for _, t := range found {
		s.rows.add(t.ID, stateCell(t), age(now, t.Since), d.why(t))
	}
	return s
}

// why says what a target's state comes of: what an address showed last, a lease that holds it so, or its verdict.
func (d *statusDocument) why(t *api.Target) string {
	for _, a := range t.Addresses {
		if !a.LastGood && a.Reason != "" {
			return a.Reason
		}
	}
	for i := range d.Status.Leases {
		if l := &d.Status.Leases[i]; l.Action == string(operator.Set) && slices.Contains(t.Leases, l.ID) {
			return "lease " + l.ID
		}
	}
	return cmp.Or(t.Detail, t.Reason)
}

// leases are the leases that have an effect.
func (d *statusDocument) leases(now time.Time) section {
	s := section{title: []string{"LEASE", "ENDS", "OWNER", "TICKET", "REASON"}}
	for i := range d.Status.Leases {
		l := &d.Status.Leases[i]
		s.rows.add(cell{action(l) + " " + l.Kind + " " + l.Name, wary}, ends(l, now), l.Owner, dash(l.Ticket), l.Reason)
	}
	return s
}

// regions are the regions with their targets by state, and their share of answers.
func (d *statusDocument) regions() section {
	s := section{least: regionsLeast, title: []string{"REGION", "UP", "DEGRADED", "DOWN", "UNKNOWN", "DRAINED", "ADMITS", "ANSWERS"}}
	// Where not all fit, those that something is the matter with have to be seen.
	found := slices.Clone(d.Status.Regions)
	slices.SortStableFunc(found, func(a, b api.RegionStatus) int {
		return cmp.Or(cmp.Compare(a.Admit, b.Admit), cmp.Compare(a.Up-a.Targets, b.Up-b.Targets), cmp.Compare(b.Drained, a.Drained))
	})
	for i := range found {
		r := &found[i]
		answers := "-"
		if r.ShareKnown {
			answers = share(r.Share)
		}
		s.rows.add(r.Name, amount(r.Up, good), amount(r.Degraded, wary), amount(r.Down, bad), amount(r.Unknown, wary), amount(r.Drained, wary),
			strconv.FormatFloat(100*r.Admit, 'f', 0, 64)+" %", answers)
	}
	return s
}

// amount is a number with a color, or none of something.
func amount(n int, h hue) cell {
	if n == 0 {
		return cell{"-", plain}
	}
	return cell{strconv.Itoa(n), h}
}

// events are the last events, the last first: those are the ones that are not cut.
func (d *statusDocument) events() section {
	s := section{title: []string{"LAST EVENTS", "", ""}, last: true}
	for _, e := range slices.Backward(d.Status.Events) {
		s.rows.add(stamp(e.At), e.Kind, e.Text)
	}
	return s
}

// inputs are what the node reads, those first that it could not read.
func (d *statusDocument) inputs(now time.Time) section {
	found := slices.Clone(d.Status.Inputs)
	slices.SortStableFunc(found, func(a, b api.Input) int { return cmp.Compare(min(1, len(b.Error)), min(1, len(a.Error))) })
	s := section{title: []string{"INPUT", "VERSION", "AGE", "LOADED", "PATH"}, least: inputsLeast}
	for i := range found {
		in := &found[i]
		version := cmp.Or(in.Commit, in.Hash)
		path := cell{in.Path, plain}
		if in.Error != "" {
			path = cell{in.Path + ": " + in.Error, bad}
		}
		s.rows.add(in.Name, dash(version[:min(len(version), versionDigits)]), age(now, in.Modified), ago(now, in.Loaded)+" ago", path)
	}
	return s
}
