package rum

import (
	"fmt"
	"net/netip"
	"time"
)

// Sample is one measurement of one client: how long it took to a region, or that it failed.
type Sample struct {
	Client  netip.Addr    // as the server saw it, never as a beacon says; forgotten once its network is known
	Region  string        // by name
	Latency time.Duration // of a measurement that did not fail
	Failed  bool
	Time    time.Time // when it was measured; zero: now
}

// Refusal is why a sample does not count: a word, as in metrics and in the answer to who sent it.
type Refusal string

// The refusals.
const (
	RefusedMalformed  Refusal = "malformed"  // not a number, negative, no region
	RefusedRegion     Refusal = "region"     // no such region is served
	RefusedClient     Refusal = "client"     // an address that no client on the Internet has
	RefusedTime       Refusal = "time"       // too old, or of the future
	RefusedImpossible Refusal = "impossible" // faster than light between the client's place and the region, or slower than anything
	RefusedSource     Refusal = "source"     // its source has sent enough for now
	RefusedPrefix     Refusal = "prefix"     // ... its prefix
	RefusedFull       Refusal = "full"       // no room for another sketch, and none that is less useful
)

// Counts are what became of samples.
type Counts struct {
	Accepted int
	Refused  map[Refusal]int
}

// RungKind is a step of the ladder on which a client network's samples are counted, the finest first.
type RungKind uint8

// The steps.
const (
	RungPrefix RungKind = iota // /24 or /48
	RungASN                    // an ASN in a country
	RungCountry
	RungContinent
)

// String gives the word used in metrics and documents.
func (k RungKind) String() string {
	return [...]string{"prefix", "asn", "country", "continent"}[k%4]
}

// Rung is one group of client networks. Comparable.
type Rung struct {
	Kind   RungKind
	Prefix netip.Prefix // of RungPrefix
	ASN    uint32       // of RungASN
	Code   string       // country (ISO 3166) of RungASN and RungCountry, continent of RungContinent
}

// String gives the rung as people write it: "193.0.6.0/24", "AS3333 in NL", "NL", "EU".
func (r Rung) String() string {
	switch r.Kind {
	case RungPrefix:
		return r.Prefix.String()
	case RungASN:
		return fmt.Sprintf("AS%d in %s", r.ASN, r.Code)
	case RungCountry, RungContinent:
	}
	return r.Code
}

// Options are what a latency ranker makes of what was measured. No field is zero but Dwell and the weights.
type Options struct {
	Percentile   float64       // of the measured times, in (0, 100)
	Band         time.Duration // differences below it are none
	Dwell        time.Duration // how long another order must be better before it is taken
	MinSamples   int
	JitterWeight float64       // of the jitter, added to the quantile
	ErrorWeight  time.Duration // added in full where every measurement fails
	MaxAge       time.Duration // of the youngest sample
}

// Score is what a rung says of one region.
type Score struct {
	Region   string
	Score    time.Duration // Quantile and penalties
	Quantile time.Duration
	Jitter   time.Duration
	Errors   float64       // part of the measurements that failed, 0 to 1
	Samples  float64       // weight, after caps and decay
	Noise    time.Duration // how far Score may be off by chance: its standard error
	Spread   time.Duration // above the prefix, how far its networks differ in what they lose by the region
	Age      time.Duration
}
