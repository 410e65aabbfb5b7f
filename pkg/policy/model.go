package policy

import (
	"crypto/sha256"
	"math"
	"net/netip"
	"slices"
	"time"

	"geodns/internal/source"
	"geodns/pkg/geo"
	"geodns/pkg/health"
	"geodns/pkg/rum"
)

// Document is all policy files of a folder, joined and checked. Every list but a pool's targets, a policy's rules and
// what stands in them is in the order of names; an Index is a position in such a list. Immutable.
type Document struct {
	Regions  []*Region
	Checks   []*health.Check
	Pools    []*Pool
	Maps     []*Map
	Policies []*Policy
	// Targets are all pools' targets, pool by pool, each pool's in file order; Targets[t.Index] == t.
	Targets []*Target
	// Sum is a hash of all files that Load read: equal files make equal Documents. Zero if they came otherwise.
	Sum [sha256.Size]byte
}

// ref is a name in a file that stands for something that may be in another.
type ref struct {
	name  string
	place source.Place
}

// Region is where targets live.
type Region struct {
	Name  string
	Place source.Place // of the name
	Index int
	// HasLocation says that Lat and Lon, in degrees, are given.
	HasLocation   bool
	Lat, Lon      float64
	Pair          *Region // nil: none
	Jurisdictions []string
	Cost          float64 // in units of the operator's own; 0 if none is given
	Capacity      float64 // 0: not limited
	// Probe is the absolute URL that users' browsers time to learn how far the region is from them; "": none.
	Probe string

	pair          ref
	jurisdictions []ref
	broken        bool
}

// Meets says whether one of the region's jurisdictions is in a fence.
func (r *Region) Meets(fence []string) bool {
	return slices.ContainsFunc(r.Jurisdictions, func(j string) bool { return slices.Contains(fence, j) })
}

// Pool is targets that may answer, their check, and where to turn when they cannot.
type Pool struct {
	Name     string
	Place    source.Place // of the name
	Index    int
	Check    *health.Check // nil: always up
	Fallback *Pool         // nil: none
	MinUp    MinUp
	Targets  []*Target // one or more, in file order

	check, fallback ref
	broken          bool
}

// MinUp is how many usable targets a pool needs: a number, or a part of them.
type MinUp struct {
	Count     int
	Percent   float64 // in [0, 100]
	IsPercent bool
}

// Of gives the least number of usable targets for a pool of n.
func (m MinUp) Of(n int) int {
	if m.IsPercent {
		// What binary fractions add to a decimal percentage must not cost a target: 64.4 % of 250 is 161.
		return int(math.Ceil(float64(n)*m.Percent/100 - 1e-9))
	}
	return m.Count
}

// Target is one place that can serve: addresses, or a host name.
type Target struct {
	Name     string
	ID       string       // "pool/target"
	Place    source.Place // of the name
	Index    int          // in Document.Targets
	Pool     *Pool
	Region   *Region
	V4, V6   []netip.Addr // in file order
	Host     string       // absolute, lower-case, with its final dot; "" where there are addresses
	Weight   uint32       // 1 if none is given
	Tags     []string
	Capacity float64 // 0: not limited
	// Check is the pool's, with what the target has of its own; nil: always up.
	Check *health.Check

	region    ref
	check     *checkEntry // nil: nothing of its own
	hasWeight bool
}

// Map is an ordered list of regions per client area.
type Map struct {
	Name    string
	Place   source.Place // of the name
	Index   int
	Areas   []Area        // in file order; one of them is the default
	Subnets []SubnetOrder // in file order; they beat areas, the longest first

	broken bool
}

// Area is the order of regions for the clients of a geo code, or for all that no other area of the map has.
type Area struct {
	Default bool // Code is empty
	Code    geo.Code
	Order   Order
	Place   source.Place // of the code
}

// SubnetOrder is the order of regions for the clients of a subnet.
type SubnetOrder struct {
	Prefix netip.Prefix
	Order  Order
	Place  source.Place // of the prefix
}

// Order is regions by preference, each a tier; those that are not in it are not used.
type Order struct {
	Regions []*Region
	// Star is the index in Regions before which all other regions stand as one tier (len(Regions): behind them all);
	// -1: they are not used.
	Star int

	regions []ref
}

// Pick is how targets are drawn from a tier.
type Pick uint8

// PickWeighted draws anew for each query, PickHash the same for each client network.
const (
	PickWeighted Pick = iota
	PickHash
)

// AllDown is what is answered when nothing in a plan is usable.
type AllDown uint8

// The three ways, in the order of how much they still answer.
const (
	ServeAll AllDown = iota
	ServeFirst
	ServFail
)

// String gives the word of the files.
func (a AllDown) String() string {
	switch a {
	case ServeFirst:
		return "serve-first"
	case ServFail:
		return "servfail"
	case ServeAll:
	}
	return "serve-all"
}

// Policy is what a STEER record names.
type Policy struct {
	Name             string
	Place            source.Place // of the name
	Index            int
	TTLMin, TTLMax   uint32 // seconds
	Answers          int    // 1 to 16
	Pick             Pick
	FamiliesSeparate bool
	Flatten          bool
	Rules            []*Rule // one or more; the last has no conditions
	AllDown          AllDown

	flattenPlace, answersPlace, familiesPlace source.Place
	broken                                    bool
}

// Hosts says whether the policy's targets are host names.
func (p *Policy) Hosts() bool { return p.Rules[0].Pool.Targets[0].Host != "" }

// Rule is one line of a policy. A client matches if it matches every kind of condition that is given, and of a kind one
// value.
type Rule struct {
	Name    string
	Place   source.Place // of the name
	Geos    []geo.Code
	Unknown bool // geos has `unknown`: clients that no database places
	Subnets []netip.Prefix
	ASNs    []uint32
	Pool    *Pool
	Rank    []Ranker // none: one tier
	// FenceSet says that `fence` is given, FenceNone that it is given as none. Fence is empty unless the rule is fenced.
	Fence     []string
	FenceSet  bool
	FenceNone bool

	pool       ref
	fence      []ref
	fencePlace source.Place
	broken     bool
}

// Fenced says whether the rule keeps to jurisdictions.
func (r *Rule) Fenced() bool { return r.FenceSet && !r.FenceNone }

// MatchesAll says whether the rule has no conditions.
func (r *Rule) MatchesAll() bool { return !r.hasGeos() && len(r.Subnets) == 0 && len(r.ASNs) == 0 }

func (r *Rule) hasGeos() bool { return len(r.Geos) > 0 || r.Unknown }

// rankMap is the map that the rule ranks by first, or nil.
func (r *Rule) rankMap() *Map {
	if len(r.Rank) > 0 {
		return r.Rank[0].Map
	}
	return nil
}

// RankerKind is a way to order a pool's targets for a client.
type RankerKind uint8

// The rankers. RankMap stands first in a rank or nowhere.
const (
	RankMap RankerKind = iota
	RankNearest
	RankLatency
	RankCost
	RankListed
)

// String gives the word of the files.
func (k RankerKind) String() string {
	switch k {
	case RankMap:
		return "map"
	case RankNearest:
		return "nearest"
	case RankLatency:
		return "latency"
	case RankCost:
		return "cost"
	case RankListed:
	}
	return "listed"
}

// Ranker is one step of a rank.
type Ranker struct {
	Kind    RankerKind
	Place   source.Place
	Map     *Map    // of RankMap alone
	Band    float64 // as given: kilometers (nearest), cost units (cost) or milliseconds (latency)
	HasBand bool
	Latency rum.Options // of RankLatency alone; defaults filled in

	mapRef ref
}

// LatencyDefaults are what a ranking by measured latency goes by where its options are not given.
func LatencyDefaults() rum.Options {
	return rum.Options{
		Percentile: 75, Band: 15 * time.Millisecond, Dwell: time.Minute, MinSamples: 50,
		JitterWeight: 0.5, ErrorWeight: 500 * time.Millisecond, MaxAge: 15 * time.Minute,
	}
}

// LatencyOptions lists what the Document's policies rank by measured latency with, each once: what orders are wanted for.
func LatencyOptions(d *Document) (out []rum.Options) {
	for _, p := range d.Policies {
		for _, r := range p.Rules {
			for _, k := range r.Rank {
				if k.Kind == RankLatency && !slices.Contains(out, k.Latency) {
					out = append(out, k.Latency)
				}
			}
		}
	}
	return out
}
