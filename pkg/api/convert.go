package api

import (
	"math"

	"geodns/internal/source"
	"geodns/pkg/geo"
	"geodns/pkg/health"
	"geodns/pkg/zone"
)

// FindingsOf gives findings their documents, all of them, in the order of their places.
func FindingsOf(findings source.Findings) []Finding {
	findings.Sort()
	out := make([]Finding, 0, len(findings))
	for _, f := range findings {
		out = append(out, Finding{File: f.File, Line: f.Line, Col: f.Col, Severity: f.Severity.String(), Message: f.Message})
	}
	return out
}

// SetFindings counts findings into a Load and lists the first of them.
func (l *Load) SetFindings(findings source.Findings) {
	l.Errors = findings.Errors()
	l.Warnings = len(findings) - l.Errors
	l.Findings = FindingsOf(findings)
	l.Findings = l.Findings[:min(len(l.Findings), FindingsListedMax)]
}

// TargetOf gives the document of a target that is checked.
func TargetOf(s health.Status) Target {
	t := Target{
		ID: s.Target, Check: s.Check, State: s.Verdict.State.String(), InDoubt: s.Verdict.InDoubt,
		Admit: float64(s.Verdict.Admit) / math.MaxUint16, Drained: s.Verdict.Drained,
		Addresses: make([]Address, 0, len(s.Addresses)),
	}
	for _, a := range s.Addresses {
		t.Addresses = append(t.Addresses, Address{
			Address: a.Address, State: a.State.String(), Doubt: a.Doubt.String(), Since: a.Since, Decision: a.Decision,
			LastProbe: a.Probe, LastGood: a.OK, Reason: a.Reason, Latency: a.Latency.Seconds(),
		})
	}
	return t
}

// UncheckedTarget gives the document of a target that no check watches: it is up, and nobody doubts it.
func UncheckedTarget(id string) Target {
	return Target{ID: id, State: "up", Admit: 1, Addresses: []Address{}}
}

// DatabaseOf gives a geo database its document.
func DatabaseOf(info geo.Info) Database {
	return Database{
		Path: info.Path, Type: info.Type, Built: info.Built, Networks: info.Networks, Hash: info.Hash,
		State: info.State.String(), Refused: info.Refused,
	}
}

// SetZones counts zones into a World and lists the first of them.
func (w *World) SetZones(zones []zone.Info) {
	w.ZoneN, w.Records = len(zones), 0
	w.Zones = make([]Zone, 0, min(len(zones), ZonesListedMax))
	for _, z := range zones {
		w.Records += z.Records
		if len(w.Zones) < ZonesListedMax {
			w.Zones = append(w.Zones, Zone{Origin: z.Origin, Serial: z.Serial, Records: z.Records, File: z.File})
		}
	}
}
