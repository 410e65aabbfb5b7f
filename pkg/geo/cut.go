package geo

import "net/netip"

// cutter turns runs of addresses into runs of whole blocks. Where a block holds
// more than one place, one of them gets it whole: the one that most of the
// block's placed addresses have. Places are counted as wholes, so that the
// winner is one that a database really has, not a mixture; at a tie the one that
// holds the lowest address wins. Addresses that no database places have no vote
// unless no address of the block is placed (an ASN database alone places none).
type cutter struct {
	family family
	places []Place
	out    []run
	counts []address // by place: addresses of the block at hand
	seen   []uint32  // places with a count, in address order
}

// cut gives the runs with every start at a block's first address.
func cut(runs []run, places []Place, f family) []run {
	c := &cutter{family: f, places: places, out: make([]run, 0, len(runs)), counts: make([]address, len(places))}
	for i, r := range runs {
		c.run(r.start, end(runs, i, f), r.place)
	}
	return c.out
}

// run takes the next run, from first to last.
func (c *cutter) run(first, last address, place uint32) {
	for {
		block := c.family.block(first)
		blockFirst, blockLast := c.family.blockRange(block)
		if first != blockFirst || last.compare(blockLast) < 0 {
			c.piece(first, last, blockLast, place)
			if last.compare(blockLast) <= 0 {
				return
			}
			first = blockLast.next()
			continue
		}
		c.out = push(c.out, first, place) // whole blocks, as many as there are
		lastBlock := c.family.block(last)
		tailFirst, tailLast := c.family.blockRange(lastBlock)
		if tailLast == last {
			return
		}
		first = tailFirst
	}
}

// piece counts the part of a run that lies in a block which it does not fill,
// and decides on the block if it is the last part.
func (c *cutter) piece(first, last, blockLast address, place uint32) {
	complete := last.compare(blockLast) >= 0
	if complete {
		last = blockLast
	}
	if c.counts[place] == (address{}) {
		c.seen = append(c.seen, place)
	}
	c.counts[place] = c.counts[place].add(last.sub(first).next())
	if complete {
		blockFirst, _ := c.family.blockRange(c.family.block(blockLast))
		c.out = push(c.out, blockFirst, c.decide())
	}
}

// decide picks the place of the block at hand and forgets the counts.
func (c *cutter) decide() uint32 {
	var best, bestUnplaced uint32
	for _, p := range c.seen {
		switch {
		case p == 0:
		case c.places[p].Placed():
			if c.counts[p].compare(c.counts[best]) > 0 || best == 0 {
				best = p
			}
		case bestUnplaced == 0 || c.counts[p].compare(c.counts[bestUnplaced]) > 0:
			bestUnplaced = p
		}
	}
	for _, p := range c.seen {
		c.counts[p] = address{}
	}
	c.seen = c.seen[:0]
	if best == 0 {
		return bestUnplaced
	}
	return best
}

// compile makes the client networks of what the databases say (nil: nothing)
// and of the overrides.
func compile(layers []*layer, overrides []override) *Networks {
	base := &layer{places: NewPlaces([]Place{{}}), v4: []run{{}}, v6: []run{{}}}
	if len(layers) > 0 {
		base = mergeLayers(layers)
	}
	places := base.places.List()
	base = &layer{places: base.places, v4: cut(base.v4, places, ipv4), v6: cut(base.v6, places, ipv6)}
	resolved := resolve(overrides)
	top := paint(resolved)
	in := newInterner()
	p := newPairing(in, top.places.List(), places, func(above, below Place) Place { return merge(above, below).finished() })
	v4, v6 := zip(top.v4, base.v4, p.pair), zip(top.v6, base.v6, p.pair)
	var longs []LongPlace
	for _, o := range resolved {
		if !isLong(o.prefix) {
			continue
		}
		below := base.at(number(o.prefix.Addr())) // the block's, by its majority
		longs = append(longs, LongPlace{Prefix: o.prefix, Place: in.id(merge(o.place, below).finished())})
	}
	d := densePlaces{from: in.places, ids: make([]uint32, len(in.places)), places: []Place{{}}}
	n := &Networks{V4: d.blocks(v4, ipv4), V6: d.blocks(v6, ipv6), Long: longs}
	for i := range longs {
		longs[i].Place = d.id(longs[i].Place)
	}
	n.Places = NewPlaces(d.places)
	return n
}

// densePlaces numbers places anew, in the order of their first use: those that
// lost every block to a majority or an override are gone then.
type densePlaces struct {
	from   []Place
	ids    []uint32 // new number by old number, 0 if it has none yet
	places []Place  // by new number
}

// id gives a place's new number.
func (d *densePlaces) id(old uint32) uint32 {
	if old != 0 && d.ids[old] == 0 {
		d.ids[old] = uint32(len(d.places))
		d.places = append(d.places, d.from[old])
	}
	return d.ids[old]
}

// blocks turns runs that begin at blocks into a list of Networks.
func (d *densePlaces) blocks(runs []run, f family) []Run {
	out := make([]Run, len(runs))
	for i, r := range runs {
		out[i] = Run{Start: f.block(r.start), Place: d.id(r.place)}
	}
	return out
}

// isLong says whether a prefix is longer than a block.
func isLong(p netip.Prefix) bool {
	if p.Addr().Is4() {
		return p.Bits() > block4Bits
	}
	return p.Bits() > block6Bits
}
