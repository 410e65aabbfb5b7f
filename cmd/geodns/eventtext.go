package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"geodns/pkg/api"
)

// eventLine is an event for people.
type eventLine struct {
	at   time.Time // zero: the event does not say
	kind cell
	text string
}

// writeEvent prints an event as a line: when, what kind, what.
func writeEvent(p *page, e *event) error {
	line := lineOf(e)
	at := "-"
	if !line.at.IsZero() {
		at = stamp(line.at)
	}
	_, err := fmt.Fprintf(p.w, "%-20s  %s%s  %s\n", at, p.paint(printable(line.kind.text), line.kind.hue),
		strings.Repeat(" ", max(0, len(api.EventVerdict)-len(line.kind.text))), printable(line.text))
	return err
}

// lineOf reads an event. One of a kind or form that is not known is shown as it is.
func lineOf(e *event) eventLine {
	var line eventLine
	var err error
	switch e.kind {
	case api.EventVerdict:
		line, err = read(e, verdictLine)
	case api.EventLease:
		line, err = read(e, leaseLine)
	case api.EventLoad:
		line, err = read(e, loadEventLine)
	case api.EventSwap:
		line, err = read(e, swapLine)
	default:
		line.text = e.data
	}
	if err != nil {
		line.text = e.data
	}
	line.kind.text = e.kind
	return line
}

// read gives the line of an event whose data is a D.
func read[D any](e *event, line func(*D) eventLine) (eventLine, error) {
	document := new(D)
	if err := json.Unmarshal([]byte(e.data), document); err != nil {
		return eventLine{}, err
	}
	return line(document), nil
}

// stateHue is the color of a state.
func stateHue(state string) hue {
	switch state {
	case "up":
		return good
	case "down":
		return bad
	}
	return wary
}

// verdictLine is the line of a verdict.
func verdictLine(v *api.VerdictEvent) eventLine {
	text := fmt.Sprintf("%s %s -> %s: %s", v.Target, v.From, v.To, v.Reason)
	if v.Detail != "" {
		text += ", " + v.Detail
	}
	return eventLine{v.At, cell{hue: stateHue(v.To)}, text}
}

// leaseLine is the line of a lease's event.
func leaseLine(e *api.LeaseEvent) eventLine {
	l := &e.Lease
	what := fmt.Sprintf("%s %s %s", action(l), l.Kind, l.Name)
	switch e.Kind {
	case "put":
		text := fmt.Sprintf("%s until %s by %s: %s", what, stamp(l.Expires), e.Who, l.Reason)
		if l.Ticket != "" {
			text += " (" + l.Ticket + ")"
		}
		return eventLine{l.Updated, cell{hue: wary}, text}
	case "over":
		return eventLine{l.Ended, cell{hue: good}, what + " expired"}
	}
	text := what + " ended by " + e.Who
	if l.EndReason != "" {
		text += ": " + l.EndReason
	}
	return eventLine{l.Ended, cell{hue: good}, text}
}

// loadEventLine is the line of a load.
func loadEventLine(l *api.Load) eventLine {
	text := fmt.Sprintf("%s in %.3f s", l.Result, l.Seconds)
	if l.Errors+l.Warnings > 0 {
		text += ", " + count(l.Errors, "error") + ", " + count(l.Warnings, "warning")
	}
	// The first that matters.
	first := slices.IndexFunc(l.Findings, func(f api.Finding) bool { return f.Severity == "error" || l.Errors == 0 })
	if first >= 0 {
		f := &l.Findings[first]
		text += fmt.Sprintf(": %s:%d:%d: %s", f.File, f.Line, f.Col, f.Message)
	}
	c := cell{hue: good}
	if l.Errors > 0 {
		c.hue = bad
	}
	if l.World != "" && l.Errors == 0 {
		text += ", world " + l.World
	}
	return eventLine{l.At, c, text}
}

// swapLine is the line of a swap.
func swapLine(s *api.SwapEvent) eventLine {
	return eventLine{s.At, cell{}, fmt.Sprintf("generation %d by %s, world %s", s.Generation, s.Cause, s.World)}
}
