package health

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"geodns/pkg/steering"
)

const (
	// VantagesMax bounds the vantage points that may vote about a target.
	VantagesMax = 16
	// PoPMax bounds the name of one, in bytes, as a DNS label is.
	PoPMax = 63
	// VoteReasonMax bounds the reason of a vote, in bytes.
	VoteReasonMax = 200
)

// Errors of [Checker.Vote].
var (
	ErrNoTarget = errors.New("no such target is checked")
	ErrVote     = errors.New("a vote is not as it should be")
)

// Vote is what one vantage point says of a target. Of two votes of a PoP the
// one with the greater (Boot, Sequence) is the later.
type Vote struct {
	PoP      string        // the vantage point's name
	Boot     uint64        // of the process that voted, greater for a later one: the seconds since 1970 at its start will do
	Sequence uint64        // of the vote, within the boot
	Age      time.Duration // of what it says, when it is handed over
	State    steering.State
	Admit    uint16 // the part of its traffic that the target should take, of steering.AdmitAll
	Reason   string // for people
}

// Validate says what is wrong with a vote; the error wraps [ErrVote].
func (v *Vote) Validate() error {
	switch {
	case v.PoP == "" || len(v.PoP) > PoPMax:
		return fmt.Errorf("%w: the pop has %d bytes, 1 to %d are wanted", ErrVote, len(v.PoP), PoPMax)
	case v.PoP != clean(v.PoP):
		return fmt.Errorf("%w: the pop %q holds what cannot be printed", ErrVote, v.PoP)
	case v.Age < 0 || v.Age > VoteAgeMax:
		return fmt.Errorf("%w: the age %v is not within 0 and %v", ErrVote, v.Age, VoteAgeMax)
	case v.State != steering.Up && v.State != steering.Degraded && v.State != steering.Down:
		return fmt.Errorf("%w: the state is up, degraded or down, not %v", ErrVote, v.State)
	case v.State == steering.Degraded && v.Admit == steering.AdmitAll:
		return fmt.Errorf("%w: degraded says what part of its traffic the target should take: an admit of less than 1", ErrVote)
	case len(v.Reason) > VoteReasonMax:
		return fmt.Errorf("%w: the reason has %d bytes, at most %d are wanted", ErrVote, len(v.Reason), VoteReasonMax)
	}
	return nil
}

// ballot is the last vote of a vantage point.
type ballot struct {
	Vote

	observed time.Duration // when what it says was seen, by the time of this process
}

// fresh reports whether the ballot counts at now.
func (b *ballot) fresh(r *Rules, now time.Duration) bool { return now-b.observed < r.Votes.MaxAge }

// later reports whether a vote comes after the one that the ballot holds.
func (b *ballot) later(v *Vote) bool {
	return cmp.Or(cmp.Compare(v.Boot, b.Boot), cmp.Compare(v.Sequence, b.Sequence)) > 0
}

// tally is what the votes that count say together.
type tally struct {
	votes, down, need int
	own               bool // this node's is among them
	void              bool // ... would be, but does not count
	admit             float64
}

// state gives what the votes call for; false: nothing, for there are none, or
// this node's is void and the others are not enough for either.
func (t *tally) state() (steering.State, bool) {
	switch {
	case t.votes == 0:
		return steering.Unknown, false
	case t.down >= t.need:
		return steering.Down, true
	case t.void && t.votes-t.down < t.need:
		return steering.Unknown, false
	}
	return steering.Up, true
}

// callsDown is the vote of a vantage point that calls a target down: less than
// any part of its traffic, none included.
const callsDown = -1.0

// count counts votes: each is the part of its traffic that a vantage point
// would have a target take, or callsDown. What it takes in
// the end is the part that so many want at most as could call it down: with
// one vantage its own, with three the middle one.
func (v Votes) count(parts []float64) tally {
	t := tally{votes: len(parts), need: v.need(len(parts))}
	for _, part := range parts {
		if part == callsDown {
			t.down++
		}
	}
	if t.votes > 0 {
		slices.Sort(parts)
		t.admit = parts[t.need-1]
	}
	return t
}
