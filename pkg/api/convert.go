package api

import (
	"math"

	"geodns/internal/source"
	"geodns/pkg/geo"
	"geodns/pkg/health"
	"geodns/pkg/steering"
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
func TargetOf(s *health.Status) Target {
	t := Target{
		ID: s.Target, Check: s.Check, State: s.Verdict.State.String(), Health: s.Verdict.State.String(), InDoubt: s.Verdict.InDoubt, Doubt: s.Doubt.String(),
		Admit: part(s.Verdict.Admit), Drained: s.Verdict.Drained, Since: s.Since, Decision: s.Decision, Reason: s.Reason.String(),
		Detail: s.Detail, Hold: s.Hold.String(), HoldEnds: s.HoldEnds.Seconds(), Penalty: s.Penalty, Need: s.Need,
		Votes: make([]Vote, 0, len(s.Votes)), Addresses: make([]Address, 0, len(s.Addresses)),
	}
	for _, v := range s.Votes {
		t.Votes = append(t.Votes, Vote{
			PoP: v.PoP, Boot: v.Boot, Sequence: v.Sequence, Age: v.Age.Seconds(), State: v.State.String(), Admit: part(v.Admit),
			Reason: v.Reason, Fresh: v.Fresh,
		})
	}
	for _, a := range s.Addresses {
		t.Addresses = append(t.Addresses, Address{
			Address: a.Address, State: a.State.String(), Doubt: a.Doubt.String(), LastProbe: a.Probe, LastGood: a.OK,
			Reason: a.Reason, Latency: a.Latency.Seconds(), Smooth: a.Smooth.Seconds(), Expires: a.Expires, Warning: a.Warning,
		})
	}
	return t
}

// SetVerdict makes a target's document say what answers go by: where leases hold it, that is not what health says.
func (t *Target) SetVerdict(v steering.Verdict) {
	t.State, t.Drained, t.Admit = v.State.String(), v.Drained, part(v.Admit)
	if t.InDoubt = v.InDoubt; !v.InDoubt {
		t.Doubt = health.NoDoubt.String()
	}
}

// part gives a part of traffic as a number from 0 to 1.
func part(admit uint16) float64 { return float64(admit) / math.MaxUint16 }

// UncheckedTarget gives the document of a target that no check watches: it is up, and nobody doubts it.
func UncheckedTarget(id string) Target {
	return Target{ID: id, State: "up", Health: "up", Doubt: health.NoDoubt.String(), Admit: 1, Votes: []Vote{}, Addresses: []Address{}}
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
	for _, z := range zones {
		w.Records += z.Records
	}
	w.Zones = ZonesOf(zones[:min(len(zones), ZonesListedMax)])
}

// ZonesOf gives zones their documents.
func ZonesOf(zones []zone.Info) []Zone {
	out := make([]Zone, 0, len(zones))
	for _, z := range zones {
		out = append(out, Zone{Origin: z.Origin, Serial: z.Serial, Records: z.Records, File: z.File})
	}
	return out
}
