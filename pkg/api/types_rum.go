package api

import (
	"time"

	"geodns/pkg/rum"
)

// RUMStatus is what a Status says of what users measure.
type RUMStatus struct {
	Listen     string            `json:"listen,omitempty" doc:"Address that takes beacons; none: a feed alone is taken"`
	At         time.Time         `json:"at,omitzero"      doc:"When the summaries were counted"`
	Version    uint64            `json:"version"          doc:"Of the summaries: counts them"`
	Accepted   uint64            `json:"accepted_total"   doc:"Samples that count, since this process began"`
	Refused    map[string]uint64 `json:"refused_total"    doc:"Samples that do not, by reason"`
	Beacons    map[string]uint64 `json:"beacons_total"    doc:"Requests with beacons, by what became of them"`
	Plans      uint64            `json:"plans_total"      doc:"Plans of what to measure that were given"`
	TurnedAway uint64            `json:"connections_refused_total" doc:"Connections of beacons that were closed at once, as their sources had as many as one may have"`
	Rungs      map[string]int    `json:"rungs"            doc:"Groups of client networks that may be shown, by kind"`
	Networks   int               `json:"networks"         doc:"Client networks that are kept, shown or not"`
	Sketches   int               `json:"sketches"         doc:"Summaries of a region's times that are kept"`
	Bytes      int64             `json:"bytes"            doc:"Memory of all of it, about"`
	Held       int               `json:"held"             doc:"Groups that moved faster than is believed, and say what they said before"`
	Saves      uint64            `json:"saves_total"`
	SaveErrors uint64            `json:"save_errors_total"`
}

// RUMReport is what GET /v1/rum answers.
type RUMReport struct {
	At      time.Time `json:"at,omitzero"  doc:"When it was counted; what came in since is in the next"`
	Version uint64    `json:"version"      doc:"Counts the reports"`
	Rungs   []RUMRung `json:"rungs"        doc:"Those with the most samples first; a group with few sources is not shown"`
	RungN   int       `json:"rungs_total"  doc:"How many there are of what was asked for"`
}

// RUMRung is one group of client networks.
type RUMRung struct {
	Rung     string      `json:"rung"           doc:"193.0.6.0/24, AS3333 in NL, NL, EU"`
	Kind     string      `json:"kind"           enum:"prefix,asn,country,continent"`
	Sources  int         `json:"sources"        doc:"How many addresses it has heard, about"`
	Prefixes int         `json:"prefixes"       doc:"... of how many prefixes, /24 or /48"`
	Held     string      `json:"held,omitempty" doc:"Why it says what it said before, and not what came in since"`
	Regions  []RUMRegion `json:"regions"`
}

// RUMRegion is what the clients of a rung measured of a region.
type RUMRegion struct {
	Region  string  `json:"region"`
	Samples float64 `json:"samples"        doc:"How many measurements it has the weight of, after caps and decay"`
	Errors  float64 `json:"errors"         doc:"The part of them that failed, 0 to 1"`
	P50     float64 `json:"p50_seconds"`
	P75     float64 `json:"p75_seconds"`
	P95     float64 `json:"p95_seconds"`
	Jitter  float64 `json:"jitter_seconds"`
	Age     float64 `json:"age_seconds"    doc:"Of the youngest"`
}

// RUMCounts are what became of a feed.
type RUMCounts struct {
	Accepted int                 `json:"accepted" doc:"Samples that count"`
	Refused  map[rum.Refusal]int `json:"refused"  doc:"Samples that do not, by reason"`
}

// add counts some more.
func (c *RUMCounts) add(more rum.Counts) {
	c.Accepted += more.Accepted
	for why, n := range more.Refused {
		c.Refused[why] += n
	}
}
