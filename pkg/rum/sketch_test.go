package rum_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/DataDog/sketches-go/ddsketch"

	"geodns/pkg/rum"
)

// TestSketchTwin compares quantiles with those of the library's DDSketch, and both with the exact ones.
func TestSketchTwin(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		library, err := ddsketch.NewDefaultDDSketch(rum.Accuracy)
		if err != nil {
			t.Fatal(err)
		}
		var ours rum.Sketch
		var exact []time.Duration
		for range 1 + random.IntN(100) {
			d := time.Duration((20 + random.ExpFloat64()*40) * float64(ms))
			exact = append(exact, d)
			ours.Add(d)
			if err := library.Add(float64(d)); err != nil {
				t.Fatal(err)
			}
		}
		slices.Sort(exact)
		n := float64(len(exact))
		for p := range 101 {
			q := rum.Trim + (1-2*rum.Trim)*float64(p)/100
			// Ranks of the library are those of a list from 0 to n-1; ours is the first up to which there is the part wanted.
			rank := 0
			for float64(rank+1) < n*q*(1-1e-9) {
				rank++
			}
			got := ours.At(float64(p))
			if !near(got, exact[rank]) {
				t.Errorf("seed %d: percentile %d of %d is %v, exactly %v", seed, p, len(exact), got, exact[rank])
			}
			if n == 1 {
				continue
			}
			// In the middle between two ranks, so that rounding does not matter.
			theirs, err := library.GetValueAtQuantile(min((float64(rank)+0.5)/(n-1), 1))
			if err != nil {
				t.Fatal(err)
			}
			if math.Abs(float64(got)-theirs) > theirs*2.1*rum.Accuracy {
				t.Errorf("seed %d: percentile %d of %d is %v, the library's %v", seed, p, len(exact), got, time.Duration(theirs))
			}
		}
	}
}

// TestSketchBounds covers the ends of the scale.
func TestSketchBounds(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{100 * time.Microsecond, 101 * time.Microsecond, ms, 50 * ms, time.Second, rum.LatencyMax} {
		var s rum.Sketch
		s.Add(d)
		if got := s.At(50); !near(got, d) {
			t.Errorf("%v is kept as %v", d, got)
		}
	}
	var s rum.Sketch
	s.Add(1)
	if got := s.At(50); got > 100*time.Microsecond {
		t.Errorf("1 ns is kept as %v", got)
	}
}

// TestSketchMerge covers that two sketches add up to the sketch of both.
func TestSketchMerge(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	var a, b, both rum.Sketch
	for i := range 90 {
		d := time.Duration(random.IntN(300)+1) * ms
		both.Add(d)
		if i%3 == 0 {
			a.Add(d)
		} else {
			b.Add(d)
		}
	}
	a.Merge(&b)
	for p := range 101 {
		if got, want := a.At(float64(p)), both.At(float64(p)); got != want {
			t.Errorf("percentile %d: %v, want %v", p, got, want)
		}
	}
}

// TestSketchCollapse covers that bins are bounded and that no weight is lost by it.
func TestSketchCollapse(t *testing.T) {
	t.Parallel()
	var s rum.Sketch
	random := rand.New(rand.NewPCG(3, 4))
	var exact []time.Duration
	for range 384 {
		d := time.Duration((30 + random.ExpFloat64()*300) * float64(ms))
		exact = append(exact, d)
		s.Add(d)
	}
	slices.Sort(exact)
	if s.Bins() > rum.BinsMax {
		t.Errorf("%d bins, at most %d are wanted", s.Bins(), rum.BinsMax)
	}
	if s.Weight() != 384 {
		t.Errorf("a weight of %v, want 384", s.Weight())
	}
	// The lightest neighbors are put together, and so the middle stays near.
	got, want := s.At(50), exact[192]
	if diff := float64((got - want).Abs()) / float64(want); diff > 0.05 {
		t.Errorf("the median is %v, exactly %v", got, want)
	}
}

// TestSources covers the estimate of distinct sources and their budgets.
func TestSources(t *testing.T) {
	t.Parallel()
	for _, want := range []int{0, 1, 5, 10, 20, 50, 100, 256} {
		worst := 0.0
		sum := 0
		for seed := range uint64(100) {
			random := rand.New(rand.NewPCG(seed, 5))
			var s rum.Sources
			for range want {
				hash := random.Uint64()
				s.Add(hash)
				s.Add(hash)
			}
			sum += s.Count()
			worst = max(worst, float64((s.Count()-want)*(s.Count()-want)))
		}
		mean := float64(sum) / 100
		if slack := 0.06*float64(want) + 0.01; mean < float64(want)-slack || mean > float64(want)+slack {
			t.Errorf("%d sources: %v on average", want, mean)
		}
		if limit := 0.5*float64(want) + 2; worst > limit*limit {
			t.Errorf("%d sources: off by more than %v", want, limit)
		}
	}
	var s rum.Sources
	accepted := 0
	for range 1000 {
		if s.Add(12345) {
			accepted++
		}
	}
	if accepted != rum.SourceBudget || s.Count() != 1 {
		t.Errorf("one source: %d samples of %d sources, want %d of 1", accepted, s.Count(), rum.SourceBudget)
	}
}
