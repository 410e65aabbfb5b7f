package policy_test

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/big"
	"math/bits"
	"net/netip"
	"slices"

	"geodns/pkg/policy"
	"geodns/pkg/steering"
)

// exists says whether a target has what a question of a type wants.
func (w *twin) exists(p *policy.Policy, t *policy.Target, typ steering.Type) bool {
	v4, v6 := len(t.V4) > 0, len(t.V6) > 0
	if p.Flatten && t.Host != "" {
		for _, a := range w.addrs(t.Host) {
			v4, v6 = v4 || a.Is4(), v6 || a.Is6()
		}
	}
	return typ == steering.A && v4 || typ == steering.AAAA && v6 || typ == steering.Host && t.Host != "" && !p.Flatten
}

// clients are those that the geo data and the policy tell apart, and one of whom nothing is known, since there may always
// be such: the zero Prefix, which is in no run and no subnet.
func (w *twin) clients(p *policy.Policy) []netip.Prefix {
	return append(slices.Concat(w.blocks(p, true), w.blocks(p, false), w.longs(p)), netip.Prefix{})
}

// offers says whether some and whether all clients have a target of a type.
func (w *twin) offers(p *policy.Policy, typ steering.Type) (some, all bool) {
	all = true
	for _, c := range w.clients(p) {
		has := slices.ContainsFunc(slices.Concat(w.plan(p, c)...), func(t *policy.Target) bool { return w.exists(p, t, typ) })
		some, all = some || has, all && has
	}
	return some, all
}

// sound says whether a policy leaves nobody without targets, and nobody without a type that others have.
func (w *twin) sound(p *policy.Policy) bool {
	for _, c := range w.clients(p) {
		if len(w.plan(p, c)) == 0 {
			return false
		}
	}
	for _, typ := range []steering.Type{steering.A, steering.AAAA, steering.Host} {
		if some, all := w.offers(p, typ); some && !all {
			return false
		}
	}
	return true
}

// verdict is what is known of a target: of one without a verdict, that it is up.
func (w *twin) verdict(t *policy.Target) steering.Verdict {
	if v, ok := w.verdicts[t.ID]; ok {
		return v
	}
	return steering.Unchecked()
}

// usable: up, degraded, unknown; and drained is as good as absent.
func (w *twin) usable(t *policy.Target) bool {
	v := w.verdict(t)
	return !v.Drained && v.State != steering.Down
}

// starved says whether the first pass skips a pool.
func (w *twin) starved(pool *policy.Pool) bool {
	usable := 0
	for _, t := range pool.Targets {
		if w.usable(t) {
			usable++
		}
	}
	need := new(big.Rat).SetInt64(int64(pool.MinUp.Count))
	if pool.MinUp.IsPercent {
		need = twinNumber(twinDecimal(pool.MinUp.Percent))
		need.Mul(need, big.NewRat(int64(len(pool.Targets)), 100))
	}
	return pool.Fallback != nil && new(big.Rat).SetInt64(int64(usable)).Cmp(need) < 0
}

// answer decides a question.
func (w *twin) answer(q *twinQuestion) (a twinAnswer) {
	p := w.doc.Policy(q.policy)
	client, ecs := q.client()
	if ecs && !w.noScope {
		a.scope = w.scope(p, client)
	}
	key := q.random
	if p.Pick == policy.PickHash {
		key = twinNetwork(client.Addr())
	}
	var tiers [][]*policy.Target // of what exists for the question
	for _, tier := range w.plan(p, client) {
		tiers = append(tiers, slices.DeleteFunc(slices.Clone(tier), func(t *policy.Target) bool {
			return !w.exists(p, t, q.typ) || w.verdict(t).Drained
		}))
	}
	for pass := 1; pass <= 2; pass++ {
		for i, tier := range tiers {
			var known, unknown []*policy.Target
			for _, t := range tier {
				v := w.verdict(t)
				switch {
				case v.State == steering.Down:
				case pass == 1 && (w.starved(t.Pool) || !twinAdmits(v.Admit, p, t, key)):
				case v.State == steering.Unknown:
					unknown = append(unknown, t)
				default:
					known = append(known, t)
				}
			}
			if len(known) == 0 {
				known = unknown
			}
			if len(known) > 0 {
				return w.finish(a, q, p, pass, known, slices.Concat(tiers[:i]...), key)
			}
		}
	}
	if p.AllDown != policy.ServFail {
		for i, tier := range tiers {
			if len(tier) == 0 {
				continue
			}
			if p.AllDown == policy.ServeFirst {
				return w.finish(a, q, p, 3, tier[:1], nil, key)
			}
			pool := tier[0].Pool // tiers are in the order of pools, so this is the first with undrained targets
			up := slices.DeleteFunc(slices.Clone(tier), func(t *policy.Target) bool { return t.Pool != pool })
			return w.finish(a, q, p, 3, up, slices.Concat(tiers[:i]...), key)
		}
	}
	a.failed = true
	return a
}

// finish draws and finds the TTL.
func (w *twin) finish(a twinAnswer, q *twinQuestion, p *policy.Policy, pass int, from, before []*policy.Target, key uint64) twinAnswer {
	drawn, tooClose := twinDraw(p, from, key)
	doubt := pass == 3
	for _, t := range slices.Concat(before, drawn) {
		doubt = doubt || w.verdict(t).InDoubt
	}
	most := p.TTLMax
	if doubt {
		most = p.TTLMin
	}
	a.ttl, a.pass, a.close = min(q.ttl, most), pass, tooClose
	for _, t := range drawn {
		a.targets = append(a.targets, t.ID)
	}
	slices.Sort(a.targets)
	return a
}

// twinNetwork is the key of `pick: hash`: the /24 or /48 as a number, IPv4 with the top bit set.
func twinNetwork(a netip.Addr) uint64 {
	if b := a.AsSlice(); a.Is4() {
		return 1<<63 | uint64(b[0])<<16 | uint64(b[1])<<8 | uint64(b[2])
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]) >> 16
}

// twinHash is H(version, purpose, policy, target, key).
func twinHash(purpose uint64, p *policy.Policy, t *policy.Target, key uint64) uint64 {
	return xxh64([4]uint64{1<<32 | purpose, steering.NameHash(p.Name), steering.NameHash(t.ID), key})
}

// twinAdmits says whether a target that takes admit/65535 of its traffic takes this query.
func twinAdmits(admit uint16, p *policy.Policy, t *policy.Target, key uint64) bool {
	return admit == steering.AdmitAll || twinHash(1, p, t, key)>>48 < uint64(admit)
}

// twinDraw takes the policy's `answers` targets with the lowest exponential scores.
func twinDraw(p *policy.Policy, from []*policy.Target, key uint64) (drawn []*policy.Target, tooClose bool) {
	score := map[*policy.Target]float64{}
	for _, t := range from {
		score[t] = (64 - math.Log2(float64(twinHash(2, p, t, key)|1))) / float64(t.Weight)
	}
	drawn = slices.Clone(from)
	slices.SortStableFunc(drawn, func(a, b *policy.Target) int { return cmp.Compare(score[a], score[b]) })
	n := min(len(drawn), p.Answers)
	if n < len(drawn) {
		in, out := score[drawn[n-1]], score[drawn[n]]
		tooClose = out-in < 1e-5*out
	}
	return drawn[:n], tooClose
}

// xxh64 is XXH64 with seed 0 of 32 bytes, four little-endian numbers (the algorithm's specification, version 0.1.1).
func xxh64(lanes [4]uint64) uint64 {
	const p1, p2, p3, p4 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63
	round := func(acc, lane uint64) uint64 { return bits.RotateLeft64(acc+lane*p2, 31) * p1 }
	one, two := uint64(p1), uint64(p2)
	acc := [4]uint64{round(one+two, lanes[0]), round(two, lanes[1]), round(0, lanes[2]), round(-one, lanes[3])}
	h := bits.RotateLeft64(acc[0], 1) + bits.RotateLeft64(acc[1], 7) + bits.RotateLeft64(acc[2], 12) + bits.RotateLeft64(acc[3], 18)
	for _, a := range acc {
		h = (h^round(0, a))*p1 + p4
	}
	h += 32
	h = (h ^ h>>33) * p2
	h = (h ^ h>>29) * p3
	return h ^ h>>32
}
