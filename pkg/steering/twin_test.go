package steering_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"sort"

	"geodns/pkg/steering"
)

// twin is Decide once more: slow, and written from the design's section 5 step by step, over the Spec as the compiler
// filled it. It shares nothing with Decide but the hash of draws.
type twin struct {
	spec     *steering.Spec
	verdicts []steering.Verdict
}

// cellPrefixes lists a family's cells as prefixes.
func (w twin) cellPrefixes(v4 bool) (out []netip.Prefix, first int) {
	cells := w.spec.Cells6
	if v4 {
		cells = w.spec.Cells4
	} else {
		first = len(w.spec.Cells4)
	}
	for _, c := range cells {
		out = append(out, c.Prefix(v4))
	}
	return out, first
}

// class finds the client's class by looking at every subnet and every cell. long is the subnet that applies, if any.
func (w twin) class(l *steering.Layout, client netip.Prefix) (class uint32, long netip.Prefix) {
	for _, s := range l.Long {
		if s.Prefix.Bits() <= client.Bits() && s.Prefix.Contains(client.Addr()) && (!long.IsValid() || s.Prefix.Bits() > long.Bits()) {
			class, long = s.Class, s.Prefix
		}
	}
	if long.IsValid() {
		return class, long
	}
	cells, first := w.cellPrefixes(client.Addr().Is4())
	for i, c := range cells {
		if c.Contains(client.Addr()) {
			return l.Classes[first+i], netip.Prefix{}
		}
	}
	panic("no cell")
}

// scope tries every length, the shortest first, for a prefix whose cells all have the client's plan.
func (w twin) scope(p *steering.Policy, client netip.Prefix) int {
	l := &w.spec.Layouts[p.Layout]
	v4 := client.Addr().Is4()
	least, most, hash := 16, 56, 48
	if v4 {
		least, most, hash = 8, 24, 24
	}
	if p.Pick != steering.PickHash {
		hash = 0
	}
	class, long := w.class(l, client)
	switch {
	case long.IsValid():
		return max(long.Bits(), hash)
	case w.spec.GeoLost && l.ByClient:
		return min(client.Bits(), most)
	case !l.ByClient:
		return hash
	}
	cells, first := w.cellPrefixes(v4)
	for n := least; n <= most; n++ {
		around, err := client.Addr().Prefix(n)
		if err != nil {
			panic(err)
		}
		same := true
		for i, c := range cells {
			if around.Overlaps(c) {
				same = same && reflect.DeepEqual(l.Plans[l.Classes[first+i]], l.Plans[class])
			}
		}
		if same || n == most {
			return max(n, hash)
		}
	}
	panic("no scope")
}

func (w twin) exists(id steering.TargetID, y steering.Type) bool {
	t := w.spec.Targets[id]
	return map[steering.Type]bool{steering.A: len(t.V4) > 0, steering.AAAA: len(t.V6) > 0, steering.Host: len(t.Host) > 0}[y]
}

func (w twin) usable(id steering.TargetID) bool {
	return !w.verdicts[id].Drained && w.verdicts[id].State != steering.Down
}

// starved says whether the target's pool is under its min_up.
func (w twin) starved(id steering.TargetID) bool {
	pool := w.spec.Targets[id].Pool
	n := 0
	for i := range w.spec.Targets {
		if w.spec.Targets[i].Pool == pool && w.usable(steering.TargetID(i)) {
			n++
		}
	}
	return w.spec.Pools[pool].HasFallback && n < int(w.spec.Pools[pool].MinUp)
}

// decide answers a query.
func (w twin) decide(q *steering.Query) steering.Decision {
	p := &w.spec.Policies[q.Policy]
	l := &w.spec.Layouts[p.Layout]
	client := q.Client.Prefix()
	key := q.Random
	if p.Pick == steering.PickHash {
		key = q.Client.Network()
	}
	var d steering.Decision
	if q.ECS {
		d.Scope = uint8(w.scope(p, client))
	}
	class, _ := w.class(l, client)
	var tiers [][]steering.TargetID // of the targets that exist and are not drained
	for _, tier := range l.Plans[class] {
		var ids []steering.TargetID
		for _, e := range tier {
			if id := p.Targets[e]; !w.verdicts[id].Drained && (!p.Separate || w.exists(id, q.Type)) {
				ids = append(ids, id)
			}
		}
		tiers = append(tiers, ids)
	}
	finish := func(pass, tier int, from []steering.TargetID) steering.Decision {
		from = w.draw(p, from, key)
		doubt := pass == 3
		for _, id := range slices.Concat(append([][]steering.TargetID{from}, tiers[:tier]...)...) {
			doubt = doubt || w.verdicts[id].InDoubt
		}
		d.TTL = min(q.TTL, p.TTLMax)
		if doubt {
			d.TTL = min(q.TTL, p.TTLMin)
		}
		slices.Sort(from)
		d.N, d.Pass = copy(d.Targets[:], from), uint8(pass)
		return d
	}
	for pass := 1; pass <= 2; pass++ {
		for i, tier := range tiers {
			groups := map[bool][]steering.TargetID{} // by: unknown
			for _, id := range tier {
				switch {
				case !w.usable(id):
				case pass == 1 && w.starved(id):
				case pass == 1 && !steering.Admitted(w.verdicts[id].Admit, p.Hash, w.spec.Targets[id].Hash, key):
				default:
					unknown := w.verdicts[id].State == steering.Unknown
					groups[unknown] = append(groups[unknown], id)
				}
			}
			for _, unknown := range []bool{false, true} {
				if len(groups[unknown]) > 0 {
					return finish(pass, i, groups[unknown])
				}
			}
		}
	}
	if p.AllDown != steering.ServFail {
		for i, tier := range tiers {
			if len(tier) == 0 {
				continue
			}
			if p.AllDown == steering.ServeFirst {
				return finish(3, i, tier[:1])
			}
			var pool []steering.TargetID // of the plan's first pool that has any
			for _, id := range tier {
				if w.spec.Targets[id].Pool == w.spec.Targets[tier[0]].Pool {
					pool = append(pool, id)
				}
			}
			return finish(3, i, pool)
		}
	}
	d.Outcome = steering.Failed
	return d
}

// draw sorts all candidates by score and takes the policy's `answers`.
func (w twin) draw(p *steering.Policy, from []steering.TargetID, key uint64) []steering.TargetID {
	from = slices.Clone(from)
	score := func(id steering.TargetID) uint64 {
		t := w.spec.Targets[id]
		return steering.Score(t.Weight, p.Hash, t.Hash, key)
	}
	sort.Slice(from, func(i, j int) bool {
		a, b := score(from[i]), score(from[j])
		return a < b || (a == b && from[i] < from[j])
	})
	return from[:min(len(from), int(p.Answers))]
}

// randomSpec makes a small table in which everything occurs often.
func randomSpec(r *rand.Rand) *steering.Spec {
	s := &steering.Spec{GeoLost: r.IntN(10) == 0}
	s.Cells4, s.Cells6 = randomCells(r, steering.CellBitsMax4), randomCells(r, steering.CellBitsMax6)
	for i := range 1 + r.IntN(3) {
		s.Pools = append(s.Pools, steering.Pool{MinUp: uint32(r.IntN(4)), HasFallback: r.IntN(2) == 0})
		for j := range 1 + r.IntN(5) {
			t := steering.Target{Hash: steering.NameHash(fmt.Sprintf("%d/%d", i, j)), Pool: uint32(i), Weight: 1 + uint32(r.IntN(3))*uint32(r.IntN(100))}
			a4, a6 := netip.AddrFrom4([4]byte{192, 0, 2, byte(r.Uint32())}), netip.MustParseAddr("2001:db8::1")
			switch r.IntN(4) { // half of them have both
			case 0:
				t.V4 = []netip.Addr{a4}
			case 1:
				t.V6 = []netip.Addr{a6}
			default:
				t.V4, t.V6 = []netip.Addr{a4}, []netip.Addr{a6}
			}
			s.Targets = append(s.Targets, t)
		}
	}
	for range 1 + r.IntN(3) {
		s.Layouts = append(s.Layouts, randomLayout(r, s))
	}
	for i := range 1 + r.IntN(6) {
		l := r.IntN(len(s.Layouts))
		p := steering.Policy{
			Hash: steering.NameHash(fmt.Sprint("policy", i)), Layout: uint32(l), TTLMin: uint32(r.IntN(50)), TTLMax: 50 + uint32(r.IntN(50)),
			Answers: uint8(1 + r.IntN(4)), Pick: steering.Pick(r.IntN(2)), AllDown: steering.AllDown(r.IntN(3)), Separate: true,
		}
		for range s.Layouts[l].Entries {
			p.Targets = append(p.Targets, steering.TargetID(len(p.Targets)%len(s.Targets)))
		}
		s.Policies = append(s.Policies, p)
	}
	return s
}

// randomCells splits the whole space, more deeply here and there.
func randomCells(r *rand.Rand, width uint8) (out []steering.Cell) {
	var split func(start uint64, n uint8, odds float64)
	split = func(start uint64, n uint8, odds float64) {
		if n == width || r.Float64() > odds {
			out = append(out, steering.Cell{Start: start, Bits: n})
			return
		}
		half := uint64(1) << (width - n - 1)
		left, right := odds*0.55, odds*0.99
		if r.IntN(2) == 0 {
			left, right = right, left
		}
		split(start, n+1, left)
		split(start+half, n+1, right)
	}
	split(0, 0, 1)
	return out
}

func randomLayout(r *rand.Rand, s *steering.Spec) steering.Layout {
	l := steering.Layout{Entries: len(s.Targets), ByClient: r.IntN(5) > 0}
	for range 1 + r.IntN(4) {
		perm := r.Perm(l.Entries)
		var plan steering.Plan
		for len(perm) > 0 && len(plan) < 1+r.IntN(steering.PlanTiersMax) {
			n := 1 + r.IntN(len(perm))
			var tier []uint16
			for _, e := range perm[:n] {
				tier = append(tier, uint16(e))
			}
			plan, perm = append(plan, tier), perm[n:]
		}
		l.Plans = append(l.Plans, plan)
	}
	for range len(s.Cells4) + len(s.Cells6) {
		l.Classes = append(l.Classes, uint32(r.IntN(len(l.Plans))))
	}
	seen := map[netip.Prefix]bool{}
	for range r.IntN(6) {
		p := randomClient(r).Prefix()
		width := 56
		if p.Addr().Is4() {
			width = 24
		}
		q, err := p.Addr().Prefix(width + 1 + r.IntN(p.Addr().BitLen()-width))
		if err == nil && !seen[q] {
			seen[q] = true
			l.Long = append(l.Long, steering.LongCell{Prefix: q, Class: uint32(r.IntN(len(l.Plans)))})
		}
	}
	return l
}

// randomClient draws from few enough addresses that subnets and clients meet.
func randomClient(r *rand.Rand) steering.Client {
	bits := []int{0, 8, 16, 20, 24, 25, 28, 32}[r.IntN(8)]
	hi := r.Uint64()
	if r.IntN(2) == 0 {
		hi = []uint64{0x2001_0db8_0000_0000, 0xc000_0200_0000_0000, 0, ^uint64(0)}[r.IntN(4)] ^ r.Uint64()&0x1f<<r.IntN(60)
	}
	if r.IntN(2) == 0 {
		a := netip.AddrFrom4([4]byte{byte(hi >> 56), byte(hi >> 48), byte(hi >> 40), byte(hi >> 32)})
		return steering.ClientFrom(netip.PrefixFrom(a, bits))
	}
	var a [16]byte
	for i := range 8 {
		a[i] = byte(hi >> (56 - 8*i))
	}
	a[15] = byte(r.IntN(4))
	return steering.ClientFrom(netip.PrefixFrom(netip.AddrFrom16(a), bits*4))
}

func randomVerdicts(r *rand.Rand, n int) []steering.Verdict {
	out := make([]steering.Verdict, n)
	bad := r.Float64()
	for i := range out {
		out[i] = steering.Verdict{State: steering.Up, Admit: steering.AdmitAll}
		if r.Float64() < bad {
			out[i].State = steering.State(r.IntN(4))
			out[i].InDoubt = r.IntN(3) == 0
			out[i].Drained = r.IntN(4) == 0
			out[i].Admit = []uint16{0, 1 << 14, 1 << 15, steering.AdmitAll}[r.IntN(4)]
		}
	}
	return out
}
