package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"geodns/internal/source"
	"geodns/pkg/geo"
	"geodns/pkg/rum"
)

// Proposal is another order of regions for an area or a subnet of a map, as measurements support it.
type Proposal struct {
	Map      string
	For      string // the area's code or the subnet
	Place    source.Place
	Was, Now []string // regions, without "*"
	Gain     time.Duration
	Evidence string // of each region that was measured

	edits []edit
}

// edit is one region's name in a file and what it becomes.
type edit struct {
	at       source.Place
	old, new string
}

// Propose finds what orders say otherwise than the Document's maps, for areas that are a country or a continent and for subnets that have a
// rung of their own. Regions that were measured change places among each other, on one side of "*"; a map keeps its regions, and
// what differs by no more than the band its order.
func Propose(doc *Document, orders *rum.Orders, o rum.Options) (out []Proposal) {
	for _, m := range doc.Maps {
		for i := range m.Areas {
			a := &m.Areas[i]
			if rung, ok := areaRung(a.Code); ok {
				out = propose(out, Proposal{Map: m.Name, For: a.Code.String(), Place: a.Place}, &a.Order, orders.Rung(o, rung), o)
			}
		}
		for i := range m.Subnets {
			s := &m.Subnets[i]
			rung := rum.Rung{Kind: rum.RungPrefix, Prefix: s.Prefix}
			out = propose(out, Proposal{Map: m.Name, For: s.Prefix.String(), Place: s.Place}, &s.Order, orders.Rung(o, rung), o)
		}
	}
	return out
}

// areaRung is the rung of exactly the clients of a geo code.
func areaRung(c geo.Code) (rum.Rung, bool) {
	switch {
	case c.Subdivision != "" || c == geo.Code{}:
		return rum.Rung{}, false
	case c.Country != "":
		return rum.Rung{Kind: rum.RungCountry, Code: c.Country}, true
	}
	return rum.Rung{Kind: rum.RungContinent, Code: c.Continent}, true
}

// propose appends a proposal if what is measured orders a map's regions otherwise.
func propose(out []Proposal, p Proposal, was *Order, measured *rum.Order, o rum.Options) []Proposal {
	if measured == nil {
		return out
	}
	for _, r := range was.regions {
		p.Was = append(p.Was, r.name)
	}
	star := was.Star
	if star < 0 {
		star = len(p.Was)
	}
	p.Now = slices.Concat(better(p.Was[:star], measured, o.Band), better(p.Was[star:], measured, o.Band))
	first := -1
	for i, r := range was.regions {
		if r.name == p.Now[i] {
			continue
		}
		if first < 0 {
			first = i
		}
		p.edits = append(p.edits, edit{at: r.place, old: r.name, new: p.Now[i]})
	}
	if first < 0 {
		return out
	}
	before, _ := settledOf(measured, p.Was[first])
	after, _ := settledOf(measured, p.Now[first])
	p.Gain = before - after
	var evidence []string
	for _, s := range measured.Scores {
		if slices.Contains(p.Was, s.Region) {
			evidence = append(evidence, fmt.Sprintf("%s %s ms (p%g %s ms, jitter %s ms, errors %.3g %%, %.0f samples)", s.Region, tenths(s.Score), o.Percentile,
				tenths(s.Quantile), tenths(s.Jitter), s.Errors*100, s.Samples))
		}
	}
	p.Evidence = fmt.Sprintf("%s: %s; %s before %s gains %s ms", measured.Rung, strings.Join(evidence, ", "), p.Now[first], p.Was[first], tenths(p.Gain))
	return append(out, p)
}

// better orders the regions that are measured among the places that they have.
func better(was []string, measured *rum.Order, band time.Duration) []string {
	var known []string
	for _, name := range was {
		if _, ok := settledOf(measured, name); ok {
			known = append(known, name)
		}
	}
	left := slices.Clone(known)
	slices.SortStableFunc(left, func(a, b string) int {
		sa, _ := settledOf(measured, a)
		sb, _ := settledOf(measured, b)
		return cmp.Compare(sa, sb)
	})
	var ranked []string
	for len(left) > 0 { // the best and all within the band of it, in the order that they had
		best, _ := settledOf(measured, left[0])
		n := 1
		for ; n < len(left); n++ {
			if s, _ := settledOf(measured, left[n]); s > best+band {
				break
			}
		}
		tier := left[:n]
		slices.SortFunc(tier, func(a, b string) int { return slices.Index(known, a) - slices.Index(known, b) })
		ranked, left = append(ranked, tier...), left[n:]
	}
	out := slices.Clone(was)
	for i, name := range was {
		if slices.Contains(known, name) {
			out[i], ranked = ranked[0], ranked[1:]
		}
	}
	return out
}

// settledOf is an order's score of a region; false: it knows none.
func settledOf(o *rum.Order, region string) (time.Duration, bool) {
	for _, r := range o.Regions {
		if r.Region == region {
			return r.Score, true
		}
	}
	return 0, false
}

// diffContext is how many unchanged lines stand around a change, as git has it.
const diffContext = 3

// ProposalDiff writes proposals as a unified diff that `git apply` takes, with a comment line of evidence above each change. text gives a
// file as it was when the Document was read. An error means that it is no longer so, or that two areas share a list.
func ProposalDiff(proposals []Proposal, text func(file string) ([]byte, error)) (string, error) {
	by := map[string][]Proposal{}
	var files []string
	for _, p := range proposals {
		if by[p.Place.File] == nil {
			files = append(files, p.Place.File)
		}
		by[p.Place.File] = append(by[p.Place.File], p)
	}
	slices.Sort(files)
	var b strings.Builder
	for _, file := range files {
		data, err := text(file)
		if err != nil {
			return "", err
		}
		was := strings.SplitAfter(string(data), "\n")
		now, comments, err := editLines(was, by[file])
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "--- a/%s\n+++ b/%s\n", file, file)
		writeHunks(&b, was, now, comments)
	}
	return b.String(), nil
}

// editLines makes the lines of a file after its proposals, and the comments that go before lines.
func editLines(was []string, proposals []Proposal) (now []string, comments map[int][]string, err error) {
	now, comments = slices.Clone(was), map[int][]string{}
	var edits []edit
	for _, p := range proposals {
		edits = append(edits, p.edits...)
		line := p.edits[0].at.Line - 1
		if line >= len(was) {
			return nil, nil, fmt.Errorf("%s: the file is shorter than when it was read; load it again", p.edits[0].at)
		}
		indent := was[line][:len(was[line])-len(strings.TrimLeft(was[line], " "))]
		comments[line] = append(comments[line], indent+"# measured: "+p.Evidence+"\n")
	}
	// From the end of each line, so that places before stay true.
	slices.SortFunc(edits, func(a, b edit) int { return cmp.Or(cmp.Compare(a.at.Line, b.at.Line), cmp.Compare(b.at.Col, a.at.Col)) })
	for i, e := range edits {
		if i > 0 && edits[i-1].at == e.at {
			return nil, nil, fmt.Errorf("%s: two areas share this list by an alias; write it out for each", e.at)
		}
		line := []rune("")
		if e.at.Line <= len(now) {
			line = []rune(now[e.at.Line-1])
		}
		from := e.at.Col - 1
		if from < len(line) && (line[from] == '"' || line[from] == '\'') {
			from++
		}
		to := from + len([]rune(e.old))
		if to > len(line) || string(line[from:to]) != e.old {
			return nil, nil, fmt.Errorf("%s: region %q is wanted here; the file has changed since it was read, load it again", e.at, e.old)
		}
		now[e.at.Line-1] = string(line[:from]) + e.new + string(line[to:])
	}
	return now, comments, nil
}

// writeHunks writes what differs between two files of as many lines, where comments go before lines of the second.
func writeHunks(b *strings.Builder, was, now []string, comments map[int][]string) {
	changed := func(i int) bool { return was[i] != now[i] || comments[i] != nil }
	added := 0 // lines by the hunks before
	lines := len(was)
	if was[lines-1] == "" {
		lines--
	}
	for i := 0; i < lines; i++ {
		if !changed(i) {
			continue
		}
		from, end, quiet := max(0, i-diffContext), i+1, 0
		for j := i + 1; j < lines && quiet <= 2*diffContext; j++ {
			if quiet++; changed(j) {
				end, quiet = j+1, 0
			}
		}
		to := min(lines, end+diffContext)
		var body strings.Builder
		more := 0
		for j := from; j < to; j++ {
			for _, c := range comments[j] {
				body.WriteString("+" + c)
				more++
			}
			if was[j] == now[j] {
				writeLine(&body, " ", was[j])
				continue
			}
			writeLine(&body, "-", was[j])
			writeLine(&body, "+", now[j])
		}
		fmt.Fprintf(b, "@@ -%d,%d +%d,%d @@\n%s", from+1, to-from, from+1+added, to-from+more, body.String())
		added += more
		i = to - 1
	}
}

// writeLine writes one line of a diff.
func writeLine(b *strings.Builder, sign, line string) {
	b.WriteString(sign + line)
	if !strings.HasSuffix(line, "\n") {
		b.WriteString("\n\\ No newline at end of file\n")
	}
}
