package health

import (
	"slices"
	"sort"
	"time"
)

// Histogram counts times in buckets, as Prometheus has them.
type Histogram struct {
	Bounds    []float64  // upper bounds in seconds, ascending; the last bucket has none
	Counts    []uint64   // of each bucket, one more than Bounds
	Sum       float64    // of all times, seconds
	Exemplars []Exemplar // the last of each bucket that has an id; nil: there are none
}

// Exemplar is one observation with the id of what it was of.
type Exemplar struct {
	ID    string
	Value float64 // seconds
	At    time.Time
}

// The bounds of our histograms, in seconds.
func probeBounds() []float64 {
	return []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
}

func latenessBounds() []float64 {
	return []float64{0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5}
}

func detectBounds() []float64 {
	return []float64{0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 15, 30, 60, 120, 300}
}

func publishBounds() []float64 {
	return []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 1}
}

// newHistogram makes an empty one.
func newHistogram(bounds []float64) Histogram {
	return Histogram{Bounds: bounds, Counts: make([]uint64, len(bounds)+1)}
}

// observe counts a time. id may be empty.
func (h *Histogram) observe(d time.Duration, id string, at time.Time) {
	seconds := d.Seconds()
	i := sort.SearchFloat64s(h.Bounds, seconds)
	h.Counts[i]++
	h.Sum += seconds
	if id == "" {
		return
	}
	if h.Exemplars == nil {
		h.Exemplars = make([]Exemplar, len(h.Counts))
	}
	h.Exemplars[i] = Exemplar{ID: id, Value: seconds, At: at}
}

// clone gives a copy that nobody writes to.
func (h *Histogram) clone() Histogram {
	return Histogram{Bounds: h.Bounds, Counts: slices.Clone(h.Counts), Sum: h.Sum, Exemplars: slices.Clone(h.Exemplars)}
}

// Count gives the number of times counted.
func (h *Histogram) Count() (n uint64) {
	for _, count := range h.Counts {
		n += count
	}
	return n
}

// Quantile gives the upper bound, in seconds, of the bucket that the q-th part
// of all times ends in; 0 without any, and the last bound for those beyond it.
func (h *Histogram) Quantile(q float64) float64 {
	want := q * float64(h.Count())
	var n uint64
	for i, count := range h.Counts {
		if n += count; n > 0 && float64(n) >= want {
			return h.Bounds[min(i, len(h.Bounds)-1)]
		}
	}
	return 0
}
