package rum

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"geodns/pkg/geo"
)

// savedMax bounds what is read back: more rungs than any number of sketches has, by several Options.
const savedMax = 1 << 22

// savedOrders is a Decider as it is saved.
type savedOrders struct {
	Version uint64
	Options []savedOptions
}

type savedOptions struct {
	Options Options
	Rungs   []savedRung
}

type savedRung struct {
	Rung    Rung
	Settled []Settled     `json:",omitempty"` // by name
	Spread  time.Duration `json:",omitempty"`
	Pending []deviation   `json:",omitempty"`
}

// Encode gives all that the Decider holds, hysteresis included, the same bytes for the same.
func (d *Decider) Encode() ([]byte, error) {
	out := savedOrders{Version: d.version}
	for o, rungs := range d.by {
		saved := savedOptions{Options: o}
		for _, rung := range slices.SortedFunc(maps.Keys(rungs), compareRungs) {
			saved.Rungs = append(saved.Rungs, savedRung{rung, rungs[rung].settled, rungs[rung].spread, rungs[rung].pending})
		}
		out.Options = append(out.Options, saved)
	}
	slices.SortFunc(out.Options, func(a, b savedOptions) int { return compareOptions(a.Options, b.Options) })
	data, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("orders: %w", err)
	}
	return data, nil
}

// DecodeDecider reads what Encode gave. An error means that it is nothing of the kind.
func DecodeDecider(data []byte) (*Decider, error) {
	var in savedOrders
	if err := json.Unmarshal(data, &in); err != nil {
		return nil, fmt.Errorf("saved orders: %w", err)
	}
	d, n := NewDecider(), 0
	d.version = in.Version
	for _, o := range in.Options {
		if o.Options.Band < 0 || o.Options.Dwell < 0 || o.Options.MinSamples < 0 {
			return nil, fmt.Errorf("saved orders: options %+v cannot be", o.Options)
		}
		rungs := map[Rung]*holding{}
		d.by[o.Options] = rungs
		for i := range o.Rungs {
			if n++; n > savedMax {
				return nil, fmt.Errorf("saved orders: more than %d rungs", savedMax)
			}
			if err := o.Rungs[i].check(); err != nil {
				return nil, fmt.Errorf("saved orders: rung %d: %w", n, err)
			}
			rungs[o.Rungs[i].Rung] = &holding{o.Rungs[i].Settled, o.Rungs[i].Spread, o.Rungs[i].Pending}
		}
	}
	return d, nil
}

// check says what is wrong with a saved rung, on which a Decider would rely.
func (r *savedRung) check() error {
	switch {
	case r.Rung.Kind > RungContinent:
		return fmt.Errorf("kind %d is none", r.Rung.Kind)
	case (r.Rung.Kind == RungPrefix) != r.Rung.Prefix.IsValid(), r.Rung.Prefix != r.Rung.Prefix.Masked():
		return fmt.Errorf("a rung of kind %s has the prefix %s", r.Rung.Kind, r.Rung.Prefix)
	case r.Rung.Kind == RungPrefix:
		if ladder, n := rungsOf(r.Rung.Prefix, geo.Place{}); n == 0 || ladder[0] != r.Rung {
			return fmt.Errorf("%s is no network that has a rung of its own", r.Rung.Prefix)
		}
	}
	if r.Spread < 0 || r.Spread > scoreMax {
		return fmt.Errorf("networks cannot differ by %s", r.Spread)
	}
	for i, s := range r.Settled {
		if s.Region == "" || s.Score < 0 || s.Score > scoreMax || i > 0 && r.Settled[i-1].Region >= s.Region {
			return fmt.Errorf("region %q cannot stand with %s at place %d", s.Region, s.Score, i+1)
		}
	}
	return nil
}

// compareOptions orders Options in any fixed way.
func compareOptions(a, b Options) int {
	return cmp.Or(cmp.Compare(a.Percentile, b.Percentile), cmp.Compare(a.Band, b.Band), cmp.Compare(a.Dwell, b.Dwell), cmp.Compare(a.MinSamples, b.MinSamples),
		cmp.Compare(a.JitterWeight, b.JitterWeight), cmp.Compare(a.ErrorWeight, b.ErrorWeight), cmp.Compare(a.MaxAge, b.MaxAge))
}

// scoreMax is far above any score, and keeps sums of two from overflow.
const scoreMax = 24 * time.Hour
