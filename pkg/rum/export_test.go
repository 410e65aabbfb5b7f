package rum

import (
	"time"
)

// What tests compare with their twins.
const (
	Trim          = trim
	Accuracy      = accuracy
	SourceBudget  = sourceBudget
	NetworkBudget = networkBudget
	BinsMax       = binsMax
	HeldFor       = heldFor
)

// Sketch is a sketch on its own.
type Sketch struct{ sketch }

// Add counts a time.
func (s *Sketch) Add(d time.Duration) { s.add(binOf(d), weightOne) }

// Merge adds another sketch.
func (s *Sketch) Merge(o *Sketch) { s.merge(&o.sketch) }

// Bins is how many bins hold something.
func (s *Sketch) Bins() int { return len(s.bins) }

// Weight is that of all samples.
func (s *Sketch) Weight() float64 { measured, failed := s.weights(); return measured + failed }

// At gives a percentile of the trimmed distribution.
func (s *Sketch) At(percentile float64) time.Duration {
	var h histogram
	h.add(&s.sketch, s.Weight())
	d := h.trimmed()
	return d.at(percentile)
}

// Sources counts hashes of sources.
type Sources struct{ sources }

// Add counts a sample, false where its source has sent enough.
func (s *Sources) Add(hash uint64) bool {
	if s.full(hash) {
		return false
	}
	s.add(hash)
	return true
}

// Count estimates the number of sources.
func (s *Sources) Count() int { return s.count() }

// State is what would be saved at a time.
func (c *Collector) State(now time.Time) []byte {
	c.ticking.Lock()
	defer c.ticking.Unlock()
	return encodeState(c.tick(now), c.last)
}

// Merge adds what another Collector would save.
func (c *Collector) Merge(state []byte, now time.Time) error {
	all, at, err := decodeState(state, SketchesMax)
	if err != nil {
		return err
	}
	c.merge(all, at, now)
	return nil
}

// Recode reads a state and writes it.
func Recode(state []byte, sketchesMax int) ([]byte, int, error) {
	all, at, err := decodeState(state, sketchesMax)
	if err != nil {
		return nil, 0, err
	}
	sketches := 0
	for i := range all {
		sketches += len(all[i].regions)
	}
	return encodeState(all, at), sketches, nil
}

// TrimmedErrors is the error rate of networks of these weights in which everything failed.
func TrimmedErrors(weights []float64) float64 {
	votes := make([]vote, len(weights))
	for i, w := range weights {
		votes[i] = vote{weight: w, errors: 1}
	}
	return trimmedErrors(votes)
}

// Step is what Run does at each interval.
func (c *Collector) Step() { c.step() }
