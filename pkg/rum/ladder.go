package rum

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"
)

// The rungs above the prefix are not counted when samples come: they are made of the client networks at each interval. So new geo
// data moves networks to their rungs at once, two nodes' networks add up to the rungs of both, and what a network counts for in a
// rung is known.
//
// In a rung above the prefix every client network has one vote for a region, split over what it measured, however much that is (and
// less than one once it has decayed below a sample). So a tenth of the networks has a tenth of the weight, whatever it sends, and
// what is trimmed at either end is that tenth.

const (
	// groupsMin is of how many ASNs a country or continent must be made before one of them is cut to half: with fewer the cut would
	// hand the rung to the smaller ones.
	groupsMin = 4

	// allocationVotes is what the networks of one IPv6 /32 count for together, however many of its 65,536 have something to say:
	// as many as those of an IPv4 /20 have. A /32 costs no more than that.
	allocationVotes = 16

	// partMax is what one client network, or one ASN, may be of a rung.
	partMax = 0.5
)

// seen is a client network as it was at one interval. Immutable; it shares nothing with the network that goes on.
type seen struct {
	key     networkKey
	place   place
	sources int
	regions []sketch
}

// seen copies what a rung needs.
func (n *network) seen(key networkKey) seen {
	s := seen{key: key, place: n.place, sources: n.distinct(), regions: slices.Clone(n.regions)}
	for i := range s.regions {
		s.regions[i].bins = slices.Clone(s.regions[i].bins)
	}
	return s
}

// vote is what one client network says of a region in a rung above the prefix.
type vote struct {
	sketch  *sketch
	key     networkKey
	group   group
	weight  float64 // of its vote
	samples float64
	errors  float64 // part of them
	loss    float64 // by how much the region is slower than the network's best, in ns; NaN: it measured no two
}

// newView makes the View of all networks. prev may be nil.
func newView(all []seen, prev *View, served map[string]Location, minSources int, now time.Time) *View {
	v := &View{version: 1, at: now, networks: len(all), rungs: map[Rung]*rungView{}}
	members := map[Rung][]int32{}
	for i := range all {
		for kind := RungASN; kind <= RungContinent; kind++ {
			if rung, ok := all[i].place.rung(kind); ok {
				members[rung] = append(members[rung], int32(i))
			}
		}
		if all[i].sources >= minSources {
			if r := prefixView(&all[i], served, minSources); len(r.regions) > 0 {
				v.rungs[Rung{Kind: RungPrefix, Prefix: all[i].key.prefix()}] = r
			}
		}
	}
	for rung, indexes := range members {
		if r := upperView(rung.Kind, all, indexes, served, minSources); r.sources >= minSources && len(r.regions) > 0 {
			v.rungs[rung] = r
		}
	}
	if prev != nil {
		v.version = prev.version + 1
		v.hold(prev)
	}
	return v
}

// prefixView makes what a client network says by itself.
func prefixView(n *seen, served map[string]Location, minSources int) *rungView {
	r := &rungView{sources: n.sources, prefixes: 1}
	for i := range n.regions {
		s := &n.regions[i]
		if _, ok := served[s.region]; !ok || 2*s.distinct() < minSources {
			continue
		}
		measured, failed := s.weights()
		g := regionView{region: s.region, samples: measured + failed, votes: measured + failed, errors: failed / (measured + failed), measured: measured > 0, last: int64(s.last)}
		if g.measured {
			var h histogram
			h.add(s, measured)
			g.dist = h.trimmed()
		}
		r.regions = append(r.regions, g)
	}
	slices.SortFunc(r.regions, func(a, b regionView) int { return cmp.Compare(a.region, b.region) })
	return r
}

// upperView makes what client networks say together.
func upperView(kind RungKind, all []seen, indexes []int32, served map[string]Location, minSources int) *rungView {
	r := &rungView{prefixes: len(indexes)}
	votes, sources := map[string][]vote{}, map[string]int{}
	for _, i := range indexes {
		n := &all[i]
		// A source is in one network, and so the sources of two are different ones.
		r.sources += n.sources
		best := n.best(served)
		for j := range n.regions {
			s := &n.regions[j]
			if _, ok := served[s.region]; !ok {
				continue
			}
			measured, failed := s.weights()
			total := measured + failed
			sources[s.region] += s.distinct()
			votes[s.region] = append(votes[s.region], vote{
				sketch: s, key: n.key, group: n.place.group(n.key), weight: min(total, 1), samples: total, errors: failed / total,
				loss: s.loss(best),
			})
		}
	}
	for _, region := range slices.Sorted(maps.Keys(votes)) {
		if len(votes[region]) >= prefixesMin && 2*sources[region] >= minSources {
			r.regions = append(r.regions, regionOf(kind, region, votes[region]))
		}
	}
	return r
}

// regionOf makes what votes say of a region.
func regionOf(kind RungKind, region string, votes []vote) regionView {
	capAllocations(votes)
	if kind != RungASN {
		capGroup(votes)
	}
	capVote(votes)
	g := regionView{
		region: region, errors: trimmedErrors(votes), samples: cappedSamples(votes), votes: independent(votes), spread: spreadOf(votes),
	}
	var h histogram
	for i := range votes {
		v := &votes[i]
		g.last = max(g.last, int64(v.sketch.last))
		if len(v.sketch.bins) > 0 {
			g.measured = true
			h.add(v.sketch, v.weight*(1-v.errors))
		}
	}
	if g.measured {
		g.dist = h.trimmed()
	}
	return g
}

// capVote cuts the heaviest vote to partMax of all.
func capVote(votes []vote) {
	heaviest, sum := 0, 0.0
	for i := range votes {
		sum += votes[i].weight
		if votes[i].weight > votes[heaviest].weight {
			heaviest = i
		}
	}
	votes[heaviest].weight = capped(votes[heaviest].weight, sum)
}

// capped cuts a part of a sum so that it is partMax of what the sum is then.
func capped(part, sum float64) float64 {
	return min(part, (sum-part)*partMax/(1-partMax))
}

// capAllocations cuts the votes of each IPv6 /32 to allocationVotes.
func capAllocations(votes []vote) {
	sums := map[networkKey]float64{}
	for i := range votes {
		if allocation, ok := votes[i].key.allocation(); ok {
			sums[allocation] += votes[i].weight
		}
	}
	for i := range votes {
		if allocation, ok := votes[i].key.allocation(); ok {
			votes[i].weight *= min(1, allocationVotes/sums[allocation])
		}
	}
}

// capGroup cuts the heaviest ASN to partMax of all.
func capGroup(votes []vote) {
	groups, sum := map[group]float64{}, 0.0
	for i := range votes {
		groups[votes[i].group] += votes[i].weight
		sum += votes[i].weight
	}
	if len(groups) < groupsMin {
		return
	}
	for g, weight := range groups { // one at most is above half
		cut := capped(weight, sum) / weight
		if cut >= 1 {
			continue
		}
		for i := range votes {
			if votes[i].group == g {
				votes[i].weight *= cut
			}
		}
		return
	}
}

// best is the median of the region that is the quickest to the network, in ns; NaN where it measured no two of those served.
func (n *seen) best(served map[string]Location) float64 {
	best, measured := math.Inf(1), 0
	for i := range n.regions {
		s := &n.regions[i]
		if _, ok := served[s.region]; ok && len(s.bins) > 0 {
			best, measured = min(best, float64(s.median())), measured+1
		}
	}
	if measured < regionsMin {
		return math.NaN()
	}
	return best
}

// loss is by how much the region is slower than the network's best, in ns; NaN where that is not known.
func (s *sketch) loss(best float64) float64 {
	if len(s.bins) == 0 {
		return math.NaN()
	}
	return float64(s.median()) - best
}

// spreadOf is how far networks differ in what they lose by a region: half of what the middle half of them spans. Where they are as far
// from each other as New York and Los Angeles, one says nothing of the other, and no mean of both does. What is slow for all regions,
// such as a last mile, is no part of it.
func spreadOf(votes []vote) time.Duration {
	known := slices.DeleteFunc(slices.Clone(votes), func(v vote) bool { return math.IsNaN(v.loss) })
	slices.SortFunc(known, func(a, b vote) int { return cmp.Compare(a.loss, b.loss) })
	sum := 0.0
	for i := range known {
		sum += known[i].weight
	}
	at := func(part float64) float64 {
		below := 0.0
		for i := range known {
			if below += known[i].weight; below >= part*sum {
				return known[i].loss
			}
		}
		return 0
	}
	return time.Duration(at(0.75)-at(0.25)) / 2
}

// independent is of how many equal votes a mean is as good as that of these (Kish's effective sample size).
func independent(votes []vote) float64 {
	sum, squares := 0.0, 0.0
	for i := range votes {
		sum, squares = sum+votes[i].weight, squares+votes[i].weight*votes[i].weight
	}
	return sum * sum / squares
}

// cappedSamples counts the samples behind votes, no network for more than partMax of them.
func cappedSamples(votes []vote) float64 {
	most, sum := 0.0, 0.0
	for i := range votes {
		most, sum = max(most, votes[i].samples), sum+votes[i].samples
	}
	return sum - most + capped(most, sum)
}

// trimmedErrors is the mean of the votes' error rates without trim of the weight at either end: a tenth of liars is not heard.
func trimmedErrors(votes []vote) float64 {
	slices.SortFunc(votes, func(a, b vote) int { return cmp.Compare(a.errors, b.errors) })
	sum := 0.0
	for i := range votes {
		sum += votes[i].weight
	}
	from, to := sum*trim, sum*(1-trim)
	below, errors := 0.0, 0.0
	for i := range votes {
		v := &votes[i]
		inside := min(below+v.weight, to) - max(below, from)
		errors += max(inside, 0) * v.errors
		below += v.weight
	}
	return min(errors/(to-from), 1) // sums are off in the last digit, and of more than all there is no noise
}

const (
	// What a network, a sketch and a bin take in memory, with their part of maps and of what the allocator rounds up.
	networkBytes = 320
	sketchBytes  = 72
	binBytes     = 4
)

// bytesOf is about what networks take in memory.
func bytesOf(all []seen) (bytes int64) {
	for i := range all {
		bytes += networkBytes
		for j := range all[i].regions {
			bytes += sketchBytes + binBytes*int64(cap(all[i].regions[j].bins))
		}
	}
	return bytes
}
