package server

import (
	"math/bits"
	"sync/atomic"

	"geodns/pkg/dnswire"
)

// Family is the address family that a query came over.
type Family uint8

// The families.
const (
	IPv4 Family = iota
	IPv6
	families
)

// String gives the word used in metrics.
func (f Family) String() string {
	if f == IPv6 {
		return "ipv6"
	}
	return "ipv4"
}

// Kind is what an answer was made of.
type Kind uint8

// The kinds of answers.
const (
	Static   Kind = iota // records of a zone
	Steered              // decided by a policy
	Referral             // to the name servers of a delegated zone
	Negative             // NXDOMAIN, or a name without the type
	Refused              // not ours to answer
	Chaos                // class CH
	Failed               // FORMERR, NOTIMP, BADVERS, NOTAUTH, SERVFAIL
	Cookies              // a cookie alone: BADCOOKIE, or no question was asked
	kinds
)

// String gives the word used in metrics.
func (k Kind) String() string {
	return [...]string{"static", "steered", "referral", "negative", "refused", "chaos", "failed", "cookies"}[k%kinds]
}

// Drop is why a query got no answer.
type Drop uint8

// The reasons.
const (
	DropShort    Drop = iota // no whole header
	DropResponse             // a response, not a query
	DropRcode                // a query with an RCODE
	drops
)

// String gives the word used in metrics.
func (d Drop) String() string {
	return [...]string{"short", "response", "rcode"}[d%drops]
}

// Cookie is what a query's cookie was worth (RFC 7873 section 5.2).
type Cookie uint8

// The worths.
const (
	CookieClient  Cookie = iota // the client's part alone
	CookieValid                 // one of ours
	CookieInvalid               // not one of ours, or too old
	cookieKinds
)

// String gives the word used in metrics.
func (c Cookie) String() string {
	return [...]string{"client", "valid", "invalid"}[c%cookieKinds]
}

// rcodesCounted is how many response codes have a counter of their own: all that we send are below.
const rcodesCounted = 24

// Places of the counters in one block.
const (
	countQueries       = 0 // by transport and family
	countRcodes        = countQueries + int(transports)*int(families)
	countKinds         = countRcodes + rcodesCounted
	countDrops         = countKinds + int(kinds)
	countTruncated     = countDrops + int(drops)
	countECS           = countTruncated + 1
	countCookies       = countECS + 1
	countBatches       = countCookies + int(cookieKinds)
	countReceiveErrors = countBatches + 1
	countSendErrors    = countReceiveErrors + 1
	counters           = countSendErrors + 1
)

// cacheLine keeps what one worker writes away from what others read or write; two, as lines are fetched in pairs.
const cacheLine = 128

// block is the counters of one worker as others read them. One goroutine adds to a UDP worker's block; TCP connections
// share a few.
type block struct {
	_ [cacheLine]byte
	n [counters]atomic.Uint64
	// regions is the answers by the slots of their targets' regions.
	regions [RegionsCounted]atomic.Uint64
	_       [cacheLine]byte
}

// tally is the counters of a batch, owned by the goroutine that answers it.
type tally [counters]uint64

// flush adds a batch to its block. Most of a batch's counters are zero, and an add that shares no cache line is cheap.
func (t *tally) flush(b *block) {
	for i, n := range t {
		if n != 0 {
			b.n[i].Add(n)
			t[i] = 0
		}
	}
}

// RegionsCounted is how many slots there are to count targets' regions in: as many as a word has bits.
const RegionsCounted = 64

// regionTally is the targets of a batch's answers by the slots of their regions. Most batches touch few of them, and those that
// answer one packet are to cost no more for the rest.
type regionTally struct {
	n    [RegionsCounted]uint64
	seen uint64 // a bit for each slot that is not 0
}

// count counts a target's slot.
func (t *regionTally) count(slot uint8) {
	slot %= RegionsCounted
	t.n[slot]++
	t.seen |= 1 << slot
}

// flush adds a batch to its block.
func (t *regionTally) flush(b *block) {
	for ; t.seen != 0; t.seen &= t.seen - 1 {
		slot := bits.TrailingZeros64(t.seen)
		b.regions[slot].Add(t.n[slot])
		t.n[slot] = 0
	}
}

// query counts a query by where it came from.
func (t *tally) query(p *packet) {
	i := countQueries + int(p.transport)*int(families)
	if !p.source.V4 {
		i += int(IPv6)
	}
	t[i]++
}

// drop counts a packet that is not answered.
func (t *tally) drop(out dnswire.Outcome) {
	d := DropShort
	switch out {
	case dnswire.DropResponse:
		d = DropResponse
	case dnswire.DropRcode:
		d = DropRcode
	default:
	}
	t[countDrops+int(d)]++
}

// hits is how often each policy answered, one block for each worker. Its size follows the policies of a world.
type hits [][]atomic.Uint64

// newHits makes hits for n policies, each worker's apart from the next one's.
func newHits(blocks, n int) hits {
	const pad = cacheLine / 8
	h := make(hits, blocks)
	for i := range h {
		h[i] = make([]atomic.Uint64, n+2*pad)[pad : pad+n]
	}
	return h
}

// Stats is the counters of a server since it was made.
type Stats struct {
	Queries       [transports][families]uint64
	Rcodes        [rcodesCounted]uint64 // answers by response code
	Kinds         [kinds]uint64         // answers by what they were made of
	Drops         [drops]uint64         // queries without an answer
	Truncated     uint64                // answers with TC set
	ECS           uint64                // queries with a client subnet
	Cookies       [cookieKinds]uint64   // queries with a cookie, while cookies are on
	Batches       uint64                // receives that brought datagrams
	ReceiveErrors uint64
	SendErrors    uint64            // answers that the system would not send
	Policies      map[string]uint64 // answers by policy
	// Regions is the targets that steered answers brought, by the slots that World.WithRegions gave their regions.
	Regions [RegionsCounted]uint64
	TCP     TCPStats
}

// TCPStats is the counters of TCP connections.
type TCPStats struct {
	Open         uint64 // now
	Accepted     uint64
	Evicted      uint64 // the longest silent, closed to make room
	TimedOut     uint64 // closed for silence, an unfinished message or an answer not taken
	AcceptErrors uint64
}

// add sums a block up.
func (s *Stats) add(b *block) {
	at := func(i int) uint64 { return b.n[i].Load() }
	for t := range int(transports) {
		for f := range int(families) {
			s.Queries[t][f] += at(countQueries + t*int(families) + f)
		}
	}
	for i := range s.Rcodes {
		s.Rcodes[i] += at(countRcodes + i)
	}
	for i := range s.Kinds {
		s.Kinds[i] += at(countKinds + i)
	}
	for i := range s.Drops {
		s.Drops[i] += at(countDrops + i)
	}
	s.Truncated += at(countTruncated)
	s.ECS += at(countECS)
	for i := range s.Cookies {
		s.Cookies[i] += at(countCookies + i)
	}
	s.Batches += at(countBatches)
	s.ReceiveErrors += at(countReceiveErrors)
	s.SendErrors += at(countSendErrors)
	for i := range s.Regions {
		s.Regions[i] += b.regions[i].Load()
	}
}
