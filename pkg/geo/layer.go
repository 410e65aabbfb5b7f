package geo

import "slices"

// run is a run of addresses that have one place: from start to the address
// before the next run's start, or to the family's last.
type run struct {
	start address
	place uint32 // index into the places that belong to the list
}

// layer is what one database says: the runs of both families, each list
// covering its family from the first address to the last in order, neighbors
// with different places. Immutable once built.
type layer struct {
	places Places
	v4, v6 []run
	// networks counts the networks (or ranges) with data, as the file has them.
	networks int
}

// runs gives one family's list.
func (l *layer) runs(f family) []run {
	if f == ipv4 {
		return l.v4
	}
	return l.v6
}

// at gives the place of an address.
func (l *layer) at(f family, a address) Place {
	runs := l.runs(f)
	return l.places.At(runs[find(runs, a)].place)
}

// find gives the index of the run that holds a.
func find(runs []run, a address) int {
	i, exact := slices.BinarySearchFunc(runs, a, func(r run, a address) int { return r.start.compare(a) })
	if !exact {
		i-- // never below 0: the first run starts at address 0
	}
	return i
}

// end gives the last address of run i.
func end(runs []run, i int, f family) address {
	if i+1 < len(runs) {
		return runs[i+1].start.prev()
	}
	return f.max()
}

// runBuilder makes a list of runs from ranges in address order, with place 0 in
// between.
type runBuilder struct {
	family family
	runs   []run
	next   address // the first address that is not covered yet
	full   bool    // the last address of the family is covered
}

// add appends the range first to last, both included. It must lie behind all
// that was added.
func (b *runBuilder) add(first, last address, place uint32) {
	if first != b.next {
		b.runs = push(b.runs, b.next, 0)
	}
	b.runs = push(b.runs, first, place)
	b.next, b.full = last.next(), last == b.family.max()
}

// finish covers the rest with place 0 and gives the list.
func (b *runBuilder) finish() []run {
	if !b.full {
		b.runs = push(b.runs, b.next, 0)
	}
	return slices.Clip(b.runs)
}

// push appends a run, unless the last one has the same place and so goes on.
func push(runs []run, start address, place uint32) []run {
	if n := len(runs); n > 0 && runs[n-1].place == place {
		return runs
	}
	return append(runs, run{start, place})
}

// zip sweeps over two lists at once and gives the runs in which neither
// changes, with the place that pair makes of the two.
func zip(a, b []run, pair func(a, b uint32) uint32) []run {
	out := make([]run, 0, max(len(a), len(b)))
	for i, j := 0, 0; ; {
		start := a[i].start
		if start.compare(b[j].start) < 0 {
			start = b[j].start
		}
		out = push(out, start, pair(a[i].place, b[j].place))
		moreA, moreB := i+1 < len(a), j+1 < len(b)
		switch {
		case !moreA && !moreB:
			return slices.Clip(out)
		case !moreB:
			i++
		case !moreA:
			j++
		default:
			order := a[i+1].start.compare(b[j+1].start)
			if order <= 0 {
				i++
			}
			if order >= 0 {
				j++
			}
		}
	}
}

// pairing merges the places of two lists and remembers each pair, as the same
// ones come again and again: a list for those where one side knows nothing, which
// are nearly all of them, and a map for the others.
type pairing struct {
	in         *interner
	above      []Place
	below      []Place
	make       func(above, below Place) Place
	aloneAbove []uint32 // by index into above: the pair with nothing below; 0 if not made yet
	aloneBelow []uint32
	both       map[[2]uint32]uint32
}

// newPairing returns a pairing that numbers, in in, what mk makes of two places.
// Of two zero Places it must make one.
func newPairing(in *interner, above, below []Place, mk func(above, below Place) Place) *pairing {
	return &pairing{
		in: in, above: above, below: below, make: mk,
		aloneAbove: make([]uint32, len(above)), aloneBelow: make([]uint32, len(below)), both: map[[2]uint32]uint32{},
	}
}

// pair gives the number of the place made of above[a] and below[b].
func (p *pairing) pair(a, b uint32) uint32 {
	if a != 0 && b != 0 {
		id, ok := p.both[[2]uint32{a, b}]
		if !ok {
			id = p.in.id(p.make(p.above[a], p.below[b]))
			p.both[[2]uint32{a, b}] = id
		}
		return id
	}
	slot := &p.aloneAbove[a]
	if a == 0 {
		slot = &p.aloneBelow[b]
	}
	if *slot == 0 && a != b {
		*slot = p.in.id(p.make(p.above[a], p.below[b]))
	}
	return *slot
}

// mergeLayers puts layers on top of one another, the first on top, and finishes
// the places. It takes one or more layers.
func mergeLayers(layers []*layer) *layer {
	merged := layers[0]
	for _, below := range layers[1:] {
		in := newInterner()
		p := newPairing(in, merged.places.List(), below.places.List(), merge)
		v4, v6 := zip(merged.v4, below.v4, p.pair), zip(merged.v6, below.v6, p.pair)
		merged = &layer{places: NewPlaces(in.places), v4: v4, v6: v6}
	}
	return merged.finished()
}

// finished is the layer with every place finished, and those that are equal
// then made one.
func (l *layer) finished() *layer {
	places := l.places.List()
	if !slices.ContainsFunc(places, func(p Place) bool { return p != p.finished() }) {
		return l
	}
	in := newInterner()
	ids := make([]uint32, len(places))
	for i, p := range places {
		ids[i] = in.id(p.finished())
	}
	renumber := func(runs []run) []run {
		out := make([]run, 0, len(runs))
		for _, r := range runs {
			out = push(out, r.start, ids[r.place])
		}
		return out
	}
	return &layer{places: NewPlaces(in.places), v4: renumber(l.v4), v6: renumber(l.v6), networks: l.networks}
}
