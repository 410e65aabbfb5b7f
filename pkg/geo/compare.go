package geo

import (
	"fmt"
	"math/rand/v2"
)

const (
	// sampleMax is how many addresses of each family a new database is compared
	// with its predecessor at. Of 4096, a share of 10 % has a standard error of
	// half a percent.
	sampleMax = 4096

	// placedMin is the share of the sampled addresses that a new database must
	// still know, of those that its predecessor knows: a database cut short, of
	// a smaller edition or of one family alone falls below it; no update does.
	placedMin = 0.9

	// MaxMovedDefault is the share of the world that a new database may have in
	// other countries than its predecessor, where the configuration gives none.
	// Monthly updates move one or two in a hundred; one in four is another
	// vendor's world or a mix-up, and all caches and targets would feel it at
	// once.
	MaxMovedDefault = 0.25
)

// compare says why next must not take prev's place in its slot, or "" if it
// may. Each family is judged by itself: a database that has lost all of IPv6 is
// refused although most of the world's clients are as they were.
func compare(prev, next *layer, maxMoved float64) string {
	for _, f := range []family{ipv4, ipv6} {
		addrs := sample(prev, f)
		known, moved := 0, 0
		for _, a := range addrs {
			p, n := prev.at(f, a), next.at(f, a)
			if !knows(n, p) {
				continue
			}
			known++
			if isMoved(p, n) {
				moved++
			}
		}
		if float64(known) < placedMin*float64(len(addrs)) {
			return fmt.Sprintf("it places %d of %d sampled %s addresses that the database in use places: at least %d %% are wanted", known, len(addrs), f, int(placedMin*100))
		}
		if share := float64(moved) / float64(max(known, 1)); share > maxMoved {
			return fmt.Sprintf("it moves %d of %d sampled %s addresses to another country: %.1f %% of them, and geo.max_moved is %.1f %%", moved, known, f, 100*share, 100*maxMoved)
		}
	}
	return ""
}

// knows says whether n tells as much as p does: a place if p is placed, else an
// ASN if p has one (an ASN database places nothing), else a location.
func knows(n, p Place) bool {
	switch {
	case p.Placed():
		return n.Placed()
	case p.ASN != 0:
		return n.ASN != 0
	default:
		return n.HasLocation
	}
}

// isMoved says whether two places that are known are another country, or
// continent where a country is not known to both; of an ASN database another AS.
func isMoved(p, n Place) bool {
	switch {
	case !p.Placed():
		return p.ASN != n.ASN
	case p.Country != "" && n.Country != "":
		return p.Country != n.Country
	default:
		return p.continent() != n.continent()
	}
}

// sample picks up to sampleMax addresses that a layer knows something of, in
// address order, the same for the same layer. IPv4 addresses are picked evenly
// over all that are known, so that a share of them is a share of the Internet.
// IPv6 addresses are picked evenly over the runs, and within each: nearly all of
// an IPv6 network is empty, and its size says nothing of how much it is used.
func sample(l *layer, f family) []address {
	runs := l.runs(f)
	weight := func(i int) uint64 {
		switch {
		case runs[i].place == 0:
			return 0
		case f == ipv6:
			return sampleMax // so that a few runs get all of the samples too
		default:
			return end(runs, i, f).sub(runs[i].start).lo + 1
		}
	}
	var total uint64
	for i := range runs {
		total += weight(i)
	}
	n := min(total, sampleMax)
	rng := rand.New(rand.NewPCG(uint64(f), sampleMax)) // fixed: the same files must be judged alike everywhere
	addrs := make([]address, 0, n)
	passed, i := uint64(0), 0
	for k := range n {
		// One out of each of n equal parts of the total. Not total*k/n, which
		// could overflow.
		at := total/n*k + total%n*k/n
		next := total/n*(k+1) + total%n*(k+1)/n
		at += rng.Uint64N(next - at)
		for w := weight(i); passed+w <= at; w = weight(i) {
			passed += w
			i++
		}
		addrs = append(addrs, within(runs[i].start, end(runs, i, f), rng))
	}
	return addrs
}

// within picks an address from first to last.
func within(first, last address, rng *rand.Rand) address {
	span := last.sub(first)
	offset := address{lo: rng.Uint64()}
	if span.hi > 0 {
		offset.hi = rng.Uint64() % span.hi
	} else if span.lo+1 != 0 {
		offset.lo %= span.lo + 1
	}
	return first.add(offset)
}
