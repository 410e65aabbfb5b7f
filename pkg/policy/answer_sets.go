package policy

import (
	"encoding/binary"
	"slices"

	"geodns/pkg/steering"
)

// AnswerSetsMax is the most sets of targets that a policy should be able to answer with, over all clients and states: each would
// be an RRset to sign beforehand in a signed zone (design: section 3).
const AnswerSetsMax = 4096

// answerSetsTries bounds the search for them, to about 0.1 s for a layout: tiers of many clients overlap, and give the same sets
// over and over.
const answerSetsTries = 1 << 20

// answerSets counts the sets that the policies of a layout with this `answers` can answer with: whatever is usable, what is
// drawn is so many targets of one tier, or all that are left of it. It counts no further than AnswerSetsMax + 1, and stops where
// the search takes too long, with what it found.
func (l *layout) answerSets(answers int) int {
	s := answerSets{found: map[answerSet]struct{}{}, most: answers}
	seen, key := map[string]bool{}, []byte{}
	for class := range l.plans.len() {
		for tier := range l.tiers(class) {
			key = key[:0]
			for _, e := range tier {
				key = binary.BigEndian.AppendUint16(key, e)
			}
			if seen[string(key)] {
				continue
			}
			seen[string(key)] = true
			if !s.add(slices.Sorted(slices.Values(tier)), 0) {
				return len(s.found)
			}
		}
	}
	return len(s.found)
}

// answerSet is a set of entries in ascending order, each one more than its number so that 0 is none.
type answerSet [steering.AnswersMax]uint16

// answerSets is a search.
type answerSets struct {
	found map[answerSet]struct{}
	most  int // entries of a set
	tries int
	set   answerSet // in the making
}

// add finds the sets that have the first n entries of s.set and some of a tier's; false: it is enough.
func (s *answerSets) add(tier []uint16, n int) bool {
	if n == s.most {
		return true
	}
	defer func() { s.set[n] = 0 }()
	for i, e := range tier {
		s.set[n] = e + 1
		s.found[s.set] = struct{}{}
		if s.tries++; len(s.found) > AnswerSetsMax || s.tries > answerSetsTries {
			return false
		}
		if !s.add(tier[i+1:], n+1) {
			return false
		}
	}
	return true
}

// checkAnswerSets warns of a policy that has too many.
func (c *compiler) checkAnswerSets(p *Policy, at int) {
	l := c.out.layouts[at]
	n, known := l.counts[p.Answers]
	if !known {
		n = l.answerSets(p.Answers)
		l.counts[p.Answers] = n
	}
	if n > AnswerSetsMax {
		at := p.Place
		if p.answersPlace.Line > 0 {
			at = p.answersPlace
		}
		c.fs.Warnf(at, "policy %q can answer with more than %d different sets of targets: a signed zone could not have it; lower its answers, which are %d, or rank its targets into smaller tiers",
			p.Name, AnswerSetsMax, p.Answers)
	}
}
