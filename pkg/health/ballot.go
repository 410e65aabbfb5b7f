package health

import (
	"context"
	"errors"
)

// errEnded is said of a vote that no loop takes in any more.
var errEnded = errors.New("health checks have ended")

// voteRequest is a vote on its way to Run's goroutine.
type voteRequest struct {
	target string
	vote   Vote
	answer chan<- voteAnswer // has room for it
}

// voteAnswer is what became of it.
type voteAnswer struct {
	accepted bool
	err      error
}

// Vote takes in what another vantage point says of a target, and returns when
// answers are about to follow it. Not accepted, without an error: the vote is
// not later than one of the same PoP that is known, or older than the check
// keeps votes; it changed nothing. The error is ErrNoTarget, or wraps ErrVote,
// or says that Run has ended or that ctx is done. Before Run it waits.
func (c *Checker) Vote(ctx context.Context, targetID string, v Vote) (accepted bool, err error) {
	v.Reason = clean(v.Reason)
	if err := v.Validate(); err != nil {
		c.countVote(&c.counts.Votes.Refused)
		return false, err
	}
	answer := make(chan voteAnswer, 1)
	select {
	case c.votes <- voteRequest{targetID, v, answer}:
	case <-c.ended:
		return false, errEnded
	case <-ctx.Done():
		return false, ctx.Err()
	}
	a := <-answer // the loop answers what it took
	return a.accepted, a.err
}

// countVote counts a vote that came to nothing before the loop saw it.
func (c *Checker) countVote(n *uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*n++
}

// vote is Run's part of Vote.
func (c *Checker) vote(r *voteRequest) (out outcome, answer voteAnswer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.targets[r.target]
	if t == nil {
		c.counts.Votes.Refused++
		return out, voteAnswer{err: ErrNoTarget}
	}
	now := c.now()
	if r.vote.Age >= t.machine.rules.Votes.MaxAge || !c.fleet.Vote(t.machine, &r.vote, now) {
		c.counts.Votes.Stale++
		return out, voteAnswer{}
	}
	c.counts.Votes.Accepted++
	c.schedule(t, now)
	c.note(&out, now)
	return out, voteAnswer{accepted: true}
}
