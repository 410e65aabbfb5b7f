package operator

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"

	"geodns/pkg/policy"
	"geodns/pkg/steering"
)

// An impact is found by asking: clients that stand for all are answered before and after, with the same draws, by the function that
// answers queries. Sampling is systematic over the addresses, so the error comes from the draws alone, as in any poll: with 65,536
// clients it is below 0.6 % of them 99 times of 100, and with 1,024, for one of hundreds of policies, below 4 %.
const (
	// decisionsMax bounds the work of one impact: 0.3 s of one core or so.
	decisionsMax = 2_000_000
	// clientsMax and clientsMin are how many clients of a policy are asked. More would not be told apart by people, fewer would
	// say nothing; policies for which there is no room are left out.
	clientsMax = 1 << 16
	clientsMin = 1 << 10
	// impactSeed is of the draws: the same each time, so that two looks at one change agree.
	impactSeed = 1
)

// failedRegion stands for a region where there is no answer.
const failedRegion = "SERVFAIL"

// Impact is which clients would be answered otherwise. Clients are the IPv4 addresses that the geo data places, by their /24.
type Impact struct {
	Share    float64        // of the clients of all policies that were tried, in [0, 1]
	Failed   float64        // ... who would get SERVFAIL, and do not now
	Policies []PolicyImpact // the most moved first; those at equal shares by name
	Sampled  int            // clients of each policy
	Left     int            // policies that are touched, and were not tried as there are too many
}

// PolicyImpact is the Impact on one policy.
type PolicyImpact struct {
	Policy string
	Share  float64 // of its clients
	Failed float64
	Moves  []Move // the largest first
}

// Move is a share of clients that goes from one region to another, or within one to another target. Where an answer has several
// targets, a client counts in parts.
type Move struct {
	From, To string // SERVFAIL: no answer
	Share    float64
}

// ImpactOf tells what becomes of clients where states change. affected says which targets the change is about: policies whose plans
// hold none of them are not looked at.
func ImpactOf(c *policy.Compiled, before, after *steering.States, affected func(*policy.Target) bool) *Impact {
	var touched []*policy.Policy
	for i, p := range c.Document.Policies {
		if slices.ContainsFunc(c.Table.Reaches(steering.PolicyID(i)), func(id steering.TargetID) bool { return affected(c.Targets[id].Target) }) {
			touched = append(touched, p)
		}
	}
	im := &Impact{}
	if len(touched) == 0 {
		return im
	}
	const pairs = decisionsMax / 2
	if most := pairs / clientsMin; len(touched) > most {
		im.Left = len(touched) - most
		touched = touched[:most]
	}
	step := 1 // between the clients of a policy
	for clientsMax/step*len(touched) > pairs {
		step *= 2
	}
	im.Sampled = clientsMax / step
	s := newSample(c, before, after)
	for i, p := range touched {
		pi := s.policy(p, i%step, step) // another part of the clients for each policy: what one misses the next has
		im.Share += pi.Share / float64(len(touched))
		im.Failed += pi.Failed / float64(len(touched))
		im.Policies = append(im.Policies, pi)
	}
	slices.SortStableFunc(im.Policies, func(a, b PolicyImpact) int { return cmp.Compare(b.Share, a.Share) })
	return im
}

// sample is the clients that are asked.
type sample struct {
	c             *policy.Compiled
	before, after *steering.States
	clients       []steering.Client
	random        []uint64 // by client: the key of its draws
}

func newSample(c *policy.Compiled, before, after *steering.States) *sample {
	s := &sample{c: c, before: before, after: after}
	random := rand.New(rand.NewPCG(impactSeed, 0))
	for _, p := range c.SampleClients(clientsMax) {
		s.clients = append(s.clients, steering.ClientFrom(p))
		s.random = append(s.random, random.Uint64())
	}
	return s
}

// policy asks every step'th client of a policy, beginning with the first'th.
func (s *sample) policy(p *policy.Policy, first, step int) PolicyImpact {
	q := steering.Query{Policy: steering.PolicyID(p.Index), Type: s.typeOf(p), ECS: true}
	moves := map[[2]string]float64{}
	n, moved, failed := 0, 0, 0
	var was, is steering.Decision
	for i := first; i < len(s.clients); i += step {
		n++
		q.Client, q.Random = s.clients[i], s.random[i]
		steering.Decide(s.c.Table, s.before, &q, &was, nil)
		steering.Decide(s.c.Table, s.after, &q, &is, nil)
		if slices.Equal(was.Targets[:was.N], is.Targets[:is.N]) {
			continue
		}
		moved++
		if is.Outcome == steering.Failed {
			failed++
		}
		s.move(&was, &is, moves)
	}
	out := PolicyImpact{Policy: p.Name, Share: float64(moved) / float64(n), Failed: float64(failed) / float64(n)}
	for way, clients := range moves {
		out.Moves = append(out.Moves, Move{From: way[0], To: way[1], Share: clients / float64(n)})
	}
	slices.SortFunc(out.Moves, func(a, b Move) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	return out
}

// typeOf is the type that clients of a policy ask for.
func (s *sample) typeOf(p *policy.Policy) steering.Type {
	for _, y := range []steering.Type{steering.A, steering.AAAA} {
		if s.c.Table.Offers(steering.PolicyID(p.Index), y) {
			return y
		}
	}
	return steering.Host
}

// move counts a client from the regions of the targets that it lost to those of the targets that it got. Where it only lost some,
// it goes to all that are left, and where it only got some, it comes from all that it had.
func (s *sample) move(was, is *steering.Decision, moves map[[2]string]float64) {
	from, to := s.regions(was, is), s.regions(is, was)
	n := max(len(from), len(to))
	for i := range n {
		moves[[2]string{from[i%len(from)], to[i%len(to)]}] += 1 / float64(n)
	}
}

// regions lists the regions of those targets of a decision that another does not have; if there are none, of all.
func (s *sample) regions(of, without *steering.Decision) []string {
	if of.N == 0 {
		return []string{failedRegion}
	}
	var room [steering.AnswersMax]string
	own, all := room[:0], of.Targets[:of.N]
	for _, id := range all {
		if !slices.Contains(without.Targets[:without.N], id) {
			own = append(own, s.c.Targets[id].Region.Name)
		}
	}
	if len(own) == 0 {
		for _, id := range all {
			own = append(own, s.c.Targets[id].Region.Name)
		}
	}
	return own
}

// statesOf makes the States of a table from verdicts by Target.Index.
func statesOf(c *policy.Compiled, verdicts []steering.Verdict) (*steering.States, error) {
	all := make([]steering.Verdict, len(c.Targets))
	for i := range c.Targets {
		all[i] = verdicts[c.Targets[i].Index]
	}
	states, err := steering.NewStates(c.Table, all)
	if err != nil {
		return nil, fmt.Errorf("states of the policies' targets: %w", err)
	}
	return states, nil
}
