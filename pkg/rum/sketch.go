package rum

import (
	"math"
	"math/bits"
	"slices"
	"time"
)

// A sketch is a DDSketch of fixed parameters with a store of our own: the bins that hold something, sorted, four bytes each. Most
// client networks send a few samples, and the dense store of a library has kilobytes for each of them.

const (
	// accuracy is the relative error of a quantile: 1 % of 50 ms is far below any band. It is fixed, for sketches of other
	// parameters do not add up.
	accuracy = 0.01

	// latencyMin is the width of the first bin: nothing that crosses the Internet is faster, and a browser's clock has no finer steps.
	latencyMin = 100 * time.Microsecond

	// LatencyMax is the longest time that is a measurement. A browser gives up, and so does a user, long before.
	LatencyMax = 60 * time.Second

	// binsMax bounds the bins of one sketch: 128 neighbors span a factor of 13, more than one network's times to one region.
	// Beyond it the lightest neighbors are put together.
	binsMax = 128

	// weightOne is the weight of a fresh sample. Weights are fixed-point numbers, so that one takes two bytes and decay ends at 0.
	// It holds 511 samples, more than networkBudget allows one window and what is left of those before.
	weightOne = 128
	weightMax = math.MaxUint16

	// trim is the part of the weight left out at either end of what a rung has heard: a tenth of liars is not heard at all.
	trim = 0.1

	// percentiles is the number of steps of a distribution; a finer quantile than a hundredth is noise at some 50 samples.
	percentiles = 100
)

// gamma is the ratio of the bounds of a bin.
const gamma = (1 + accuracy) / (1 - accuracy)

// logGamma is ln(gamma), about 0.02.
var logGamma = math.Log(gamma) //nolint:gochecknoglobals // a constant that the language cannot compute

// binCount is how many bins there are from latencyMin to LatencyMax: ln(600,000)/ln(gamma) is 665.2.
const binCount = 667

// binOf gives the bin of a time: bin i holds what lies in (latencyMin gamma^(i-1), latencyMin gamma^i].
func binOf(d time.Duration) uint16 {
	if d <= latencyMin {
		return 0
	}
	i := math.Ceil(math.Log(float64(d)/float64(latencyMin)) / logGamma)
	return uint16(min(max(i, 0), binCount-1))
}

// binValue gives the time that stands for all in a bin, off by accuracy at most.
func binValue(i uint16) time.Duration {
	return time.Duration(float64(latencyMin) * math.Exp(float64(i)*logGamma) * 2 / (1 + gamma))
}

// bin is a bin that holds something.
type bin struct {
	index  uint16
	weight uint16 // of weightOne
}

// sketch is what one client network measured to one region.
type sketch struct {
	region string
	bins   []bin  // by index
	failed uint16 // weight of failed measurements
	last   uint32 // when the youngest sample was measured, seconds since 1970

	// heard is the registers of the sources that measured the region in this window, a bit each, and prior how many did in the last one.
	heard uint64
	prior uint16

	// failers is the registers of the sources that failed in this window, a bit each. One failure of each counts: an error rate has no
	// ends to trim, and by all that one source may send it could make its network believe that a region fails.
	failers uint64
}

// add counts a measured time.
func (s *sketch) add(index, weight uint16) {
	at, found := slices.BinarySearchFunc(s.bins, index, func(b bin, i uint16) int { return int(b.index) - int(i) })
	if found {
		s.bins[at].weight = saturated(s.bins[at].weight, weight)
		return
	}
	if len(s.bins) == binsMax {
		s.collapse()
		at, _ = slices.BinarySearchFunc(s.bins, index, func(b bin, i uint16) int { return int(b.index) - int(i) })
	}
	s.bins = slices.Insert(s.bins, at, bin{index, weight})
}

// saturated gives a + b, at most weightMax.
func saturated(a, b uint16) uint16 { return uint16(min(uint32(a)+uint32(b), weightMax)) }

// collapse puts the two neighbors together that weigh least, in the place of the heavier.
func (s *sketch) collapse() {
	least, at := uint32(math.MaxUint32), 0
	for i := range len(s.bins) - 1 {
		if w := uint32(s.bins[i].weight) + uint32(s.bins[i+1].weight); w < least {
			least, at = w, i
		}
	}
	kept := s.bins[at]
	if s.bins[at+1].weight > kept.weight {
		kept = s.bins[at+1]
	}
	kept.weight = saturated(s.bins[at].weight, s.bins[at+1].weight)
	s.bins[at] = kept
	s.bins = slices.Delete(s.bins, at+1, at+2)
}

// merge adds what another sketch of the same network and region holds.
func (s *sketch) merge(o *sketch) {
	for _, b := range o.bins {
		s.add(b.index, b.weight)
	}
	s.failed = saturated(s.failed, o.failed)
	s.last = max(s.last, o.last)
	s.prior = max(s.prior, o.prior)
}

// decay multiplies all weights by factor, rounding down: what is old ends at nothing.
func (s *sketch) decay(factor float64) {
	kept := s.bins[:0]
	for _, b := range s.bins {
		if b.weight = uint16(float64(b.weight) * factor); b.weight > 0 {
			kept = append(kept, b)
		}
	}
	s.bins = kept
	s.failed = uint16(float64(s.failed) * factor)
}

// distinct is how many sources measured the region in this window or in the last, whichever is more, by linear counting.
func (s *sketch) distinct() int {
	zero := registers - bits.OnesCount64(s.heard)
	now := registers * math.Log(registers/math.Max(float64(zero), 1))
	return max(int(s.prior), int(math.Round(now)))
}

// roll begins a window.
func (s *sketch) roll() {
	s.prior = 0
	s.prior = uint16(s.distinct())
	s.heard, s.failers = 0, 0
}

// median is about the middle of the measured times. There is one at least.
func (s *sketch) median() time.Duration {
	left := 0
	for _, b := range s.bins {
		left += int(b.weight)
	}
	left = (left + 1) / 2
	for _, b := range s.bins {
		if left -= int(b.weight); left <= 0 {
			return binValue(b.index)
		}
	}
	return 0
}

// weights gives the weight of the measured times and of the failures, in samples.
func (s *sketch) weights() (measured, failed float64) {
	sum := 0
	for _, b := range s.bins {
		sum += int(b.weight)
	}
	return float64(sum) / weightOne, float64(s.failed) / weightOne
}

// total is the weight of all, of weightOne.
func (s *sketch) total() int {
	sum := int(s.failed)
	for _, b := range s.bins {
		sum += int(b.weight)
	}
	return sum
}

// histogram is a distribution under way: a weight for each bin.
type histogram struct {
	weights   [binCount]float64
	low, high int // all bins with a weight are in [low, high)
}

// add counts a sketch with that weight, whatever its own.
func (h *histogram) add(s *sketch, weight float64) {
	measured, _ := s.weights()
	if measured == 0 {
		return
	}
	low, high := int(s.bins[0].index), int(s.bins[len(s.bins)-1].index)+1
	if h.high == 0 {
		h.low = low
	}
	h.low, h.high = min(h.low, low), max(h.high, high)
	scale := weight / measured / weightOne
	for _, b := range s.bins {
		h.weights[b.index] += float64(b.weight) * scale
	}
}

// distribution is the bins at the percentiles of a trimmed histogram.
type distribution [percentiles + 1]uint16

// trimmed gives the percentiles of what is left of the histogram without trim at either end.
func (h *histogram) trimmed() (d distribution) {
	sum := 0.0
	for _, w := range h.weights[h.low:h.high] {
		sum += w
	}
	i, below := h.low, 0.0
	for p := range d {
		// A percentile stands in the first bin up to whose end there is its part of the weight. The slack is for sums that
		// are off in the last digit.
		want := sum * (trim + (1-2*trim)*float64(p)/percentiles) * (1 - 1e-12)
		for i < h.high-1 && below+h.weights[i] < want {
			below += h.weights[i]
			i++
		}
		d[p] = uint16(i)
	}
	return d
}

// at gives the time at a percentile, to the nearest whole one.
func (d *distribution) at(percentile float64) time.Duration {
	p := int(math.Round(min(max(percentile, 0), percentiles)))
	return binValue(d[p])
}

// spread is the standard error of a percentile of n observations: half of what lies between the percentiles that a draw of as many
// has in its place, one standard deviation to either side.
func (d *distribution) spread(percentile, n float64) time.Duration {
	p := percentile / 100
	off := 100 * math.Sqrt(p*(1-p)/n) / (1 - 2*trim)
	return (d.at(percentile+off) - d.at(percentile-off)) / 2
}

// jitter is the spread of the middle half.
func (d *distribution) jitter() time.Duration { return d.at(75) - d.at(25) }
