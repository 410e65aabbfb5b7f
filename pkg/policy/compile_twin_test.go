package policy_test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"net/netip"
	"slices"
	"sort"
	"strconv"
	"strings"

	"geodns/pkg/geo"
	"geodns/pkg/policy"
	"geodns/pkg/steering"
)

// twin decides answers once more, from the design's section 5 alone: no cells, classes, layouts or tables, but lists of
// prefixes, plans of texts and numbers as people write them. It is slow and means to be obvious. Of the real thing it uses
// the parsed files, what clients' places are, and the hash of names.
//
// Where the design leaves something open, it goes by this:
//   - unknown targets of a tier are drawn only where no other usable and admitted target of that tier is;
//   - serve-all draws from the first tier with undrained targets;
//   - a plan keeps 16 tiers, and the rest is one more, in the order of pools and files as any tier is;
//   - distances count to the nearest 100 m;
//   - of the subnets longer than a block, those that the policy names always have their own scope, and overrides where
//     they change the plan.
type twin struct {
	doc      *policy.Document
	networks *geo.Networks
	lost     bool                        // of the geo data
	addrs    func(string) []netip.Addr   // of a host name, for `flatten`
	verdicts map[string]steering.Verdict // by target
	known    map[string]string           // plans worked out before
	places   map[netip.Prefix]geo.Place  // of clients, looked up before
	cuts     map[string][]netip.Prefix   // what blocks gave before
	cutTexts map[string][]string         // what texts gave before
	noScope  bool                        // answer is not to find scopes: it takes long, and no draw changes them
}

// twinQuestion is a query as it comes from the network.
type twinQuestion struct {
	policy string
	typ    steering.Type
	source netip.Addr
	ecs    netip.Prefix // invalid: no ECS option
	ttl    uint32
	random uint64
}

// twinAnswer is the answer to it. If close, a draw hung on a difference that is too small to be sure of in floating point.
type twinAnswer struct {
	targets []string // sorted
	ttl     uint32
	scope   int
	failed  bool
	pass    int
	close   bool
}

// client is step 1: whom the answer is for, and whether it carries a scope.
func (q *twinQuestion) client() (netip.Prefix, bool) {
	if q.ecs.IsValid() && q.ecs.Bits() > 0 {
		return q.ecs.Masked(), true
	}
	return netip.PrefixFrom(q.source, q.source.BitLen()), false
}

// twinBlockBits is where blocks end.
func twinBlockBits(a netip.Addr) int {
	if a.Is4() {
		return 24
	}
	return 56
}

// twinLong says whether a subnet is longer than a block.
func twinLong(p netip.Prefix) bool { return p.Bits() > twinBlockBits(p.Addr()) }

// twinIn says whether a client is in an operator's subnet. In one longer than a block it must wholly be known to be.
func twinIn(subnet, client netip.Prefix) bool {
	return subnet.Contains(client.Addr()) && (!twinLong(subnet) || client.Bits() >= subnet.Bits())
}

// twinStart is the first address of a run of blocks.
func twinStart(r geo.Run, v4 bool) netip.Addr {
	var b [16]byte
	if v4 {
		binary.BigEndian.PutUint32(b[:], uint32(r.Start<<8))
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	binary.BigEndian.PutUint64(b[:], r.Start<<8)
	return netip.AddrFrom16(b)
}

// runs are the client networks of an address's family.
func (w *twin) runs(a netip.Addr) []geo.Run {
	if a.Is4() {
		return w.networks.V4
	}
	return w.networks.V6
}

// place is the client's: its block's, or that of the longest override that it is known to be in.
func (w *twin) place(client netip.Prefix) (place geo.Place) {
	if known, ok := w.places[client]; ok {
		return known
	}
	runs := w.runs(client.Addr())
	behind := sort.Search(len(runs), func(i int) bool { return client.Addr().Less(twinStart(runs[i], client.Addr().Is4())) })
	if behind > 0 {
		place = w.networks.Places[runs[behind-1].Place]
	}
	longest := -1
	for _, l := range w.networks.Long {
		if twinIn(l.Prefix, client) && l.Prefix.Bits() > longest {
			place, longest = w.networks.Places[l.Place], l.Prefix.Bits()
		}
	}
	if w.places == nil {
		w.places = map[netip.Prefix]geo.Place{}
	}
	w.places[client] = place
	return place
}

// twinCodes are the geo codes that a place answers to, the least specific first.
func twinCodes(p geo.Place) (codes []string) {
	continent := p.Continent
	if continent == "" {
		continent = geo.ContinentOf(p.Country)
	}
	if continent != "" {
		codes = append(codes, continent)
	}
	// In a code with a country the country decides: such a code begins with the continent of the built-in table.
	if of := geo.ContinentOf(p.Country); of != "" {
		codes = append(codes, of+"-"+p.Country)
		if p.Subdivision != "" {
			codes = append(codes, of+"-"+p.Country+"-"+p.Subdivision)
		}
	}
	return codes
}

// rule is the first that matches the client.
func (w *twin) rule(p *policy.Policy, client netip.Prefix) *policy.Rule {
	place := w.place(client)
	for _, r := range p.Rules {
		geos := len(r.Geos) == 0 && !r.Unknown || r.Unknown && place.Continent == "" && place.Country == ""
		for _, g := range r.Geos {
			geos = geos || slices.Contains(twinCodes(place), g.String())
		}
		subnets := len(r.Subnets) == 0
		for _, s := range r.Subnets {
			subnets = subnets || twinIn(s, client)
		}
		asns := len(r.ASNs) == 0 || slices.Contains(r.ASNs, place.ASN)
		if geos && subnets && asns {
			return r
		}
	}
	panic("no rule matches")
}

// order is the regions that a map lists for the client: of its longest subnet, else of its most specific area.
func (w *twin) order(m *policy.Map, client netip.Prefix) (order policy.Order) {
	codes := append([]string{"default"}, twinCodes(w.place(client))...)
	for _, code := range codes {
		for _, a := range m.Areas {
			if a.Code.String() == code || a.Default && code == "default" {
				order = a.Order
			}
		}
	}
	longest := -1
	for _, s := range m.Subnets {
		if twinIn(s.Prefix, client) && s.Prefix.Bits() > longest {
			order, longest = s.Order, s.Prefix.Bits()
		}
	}
	return order
}

// kilometers is the distance from the client to a region (haversine); false if nobody knows where the client is.
func (w *twin) kilometers(client netip.Prefix, to *policy.Region) (string, bool) {
	place := w.place(client)
	lat, lon, ok := place.Lat, place.Lon, place.HasLocation
	if !ok {
		lat, lon, ok = geo.CountryMiddle(place.Country)
	}
	if codes := twinCodes(place); !ok && len(codes) > 0 {
		lat, lon, ok = geo.ContinentMiddle(codes[0][:2])
	}
	rad := func(degrees float64) float64 { return degrees * math.Pi / 180 }
	sin2 := func(x float64) float64 { return math.Pow(math.Sin(x/2), 2) }
	h := sin2(rad(to.Lat-lat)) + math.Cos(rad(lat))*math.Cos(rad(to.Lat))*sin2(rad(to.Lon-lon))
	return fmt.Sprintf("%.1f", 2*6371.0088*math.Asin(math.Sqrt(math.Min(1, h)))), ok
}

// twinNumber is a number as it stands in a file, exactly.
func twinNumber(text string) *big.Rat {
	n, ok := new(big.Rat).SetString(text)
	if !ok {
		panic(text)
	}
	return n
}

func twinDecimal(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// banded splits a tier by a number: the best of what remains and all within band of it, and so on.
func banded(tier []*policy.Target, band string, text func(*policy.Target) string) (out [][]*policy.Target) {
	number := map[*policy.Target]*big.Rat{}
	for _, t := range tier {
		number[t] = twinNumber(text(t))
	}
	for len(tier) > 0 {
		best := number[tier[0]]
		for _, t := range tier {
			if number[t].Cmp(best) < 0 {
				best = number[t]
			}
		}
		limit := new(big.Rat).Add(best, twinNumber(band))
		var in, rest []*policy.Target
		for _, t := range tier {
			if number[t].Cmp(limit) <= 0 {
				in = append(in, t)
			} else {
				rest = append(rest, t)
			}
		}
		out, tier = append(out, in), rest
	}
	return out
}

// split is one ranker on one tier. Empty tiers are nothing.
func (w *twin) split(k policy.Ranker, tier []*policy.Target, client netip.Prefix) (out [][]*policy.Target) {
	switch k.Kind {
	case policy.RankMap:
		order := w.order(k.Map, client)
		names := []string{}
		for _, r := range order.Regions {
			names = append(names, r.Name)
		}
		listed := slices.Clone(names)
		if order.Star >= 0 {
			names = slices.Insert(names, order.Star, "*")
		}
		for _, name := range names {
			var in []*policy.Target
			for _, t := range tier {
				if t.Region.Name == name || name == "*" && !slices.Contains(listed, t.Region.Name) {
					in = append(in, t)
				}
			}
			if len(in) > 0 {
				out = append(out, in)
			}
		}
		return out
	case policy.RankNearest:
		if _, ok := w.kilometers(client, tier[0].Region); !ok {
			return [][]*policy.Target{tier}
		}
		return banded(tier, twinDecimal(k.Band), func(t *policy.Target) string {
			km, _ := w.kilometers(client, t.Region)
			return km
		})
	case policy.RankCost:
		return banded(tier, twinDecimal(k.Band), func(t *policy.Target) string { return twinDecimal(t.Region.Cost) })
	case policy.RankListed:
		for _, t := range tier {
			out = append(out, []*policy.Target{t})
		}
		return out
	case policy.RankLatency: // nothing is measured
	}
	return [][]*policy.Target{tier}
}

// pool ranks one pool: the fence, the rankers from left to right, then behind each tier its regions' pairs.
func (w *twin) pool(pool *policy.Pool, r *policy.Rule, client netip.Prefix) (out [][]*policy.Target) {
	var open []*policy.Target
	for _, t := range pool.Targets {
		met := !r.FenceSet || r.FenceNone
		for _, j := range t.Region.Jurisdictions {
			met = met || slices.Contains(r.Fence, j)
		}
		if met {
			open = append(open, t)
		}
	}
	if len(open) == 0 {
		return nil
	}
	tiers := [][]*policy.Target{open}
	for _, k := range r.Rank {
		var next [][]*policy.Target
		for _, tier := range tiers {
			next = append(next, w.split(k, tier, client)...)
		}
		tiers = next
	}
	ranked, placed := slices.Concat(tiers...), map[*policy.Target]bool{}
	take := func(want func(*policy.Target) bool) (tier []*policy.Target) {
		for _, t := range pool.Targets {
			if slices.Contains(ranked, t) && !placed[t] && want(t) {
				tier = append(tier, t)
			}
		}
		for _, t := range tier {
			placed[t] = true
		}
		if len(tier) > 0 {
			out = append(out, tier)
		}
		return tier
	}
	for _, tier := range tiers {
		now := take(func(t *policy.Target) bool { return slices.Contains(tier, t) })
		take(func(t *policy.Target) bool {
			return slices.ContainsFunc(now, func(n *policy.Target) bool { return n.Region.Pair == t.Region })
		})
	}
	return out
}

// plan is the client's ordered tiers, fallbacks included.
func (w *twin) plan(p *policy.Policy, client netip.Prefix) (tiers [][]*policy.Target) {
	r := w.rule(p, client)
	for pool := r.Pool; pool != nil; pool = pool.Fallback {
		tiers = append(tiers, w.pool(pool, r, client)...)
	}
	if len(tiers) > 16 {
		rest := slices.Concat(tiers[16:]...)
		tiers = append(slices.Clone(tiers[:16]), nil)
		for pool := r.Pool; pool != nil; pool = pool.Fallback {
			for _, t := range pool.Targets {
				if slices.Contains(rest, t) {
					tiers[16] = append(tiers[16], t)
				}
			}
		}
	}
	return tiers
}

// text is the client's plan to be compared and kept.
func (w *twin) text(p *policy.Policy, client netip.Prefix) string {
	key := fmt.Sprint(p.Name, w.place(client)) // all that a plan can hang on: the place, and the subnets that are named
	for _, subnet := range twinNamed(p) {
		key += fmt.Sprint(" ", twinIn(subnet, client))
	}
	if text, ok := w.known[key]; ok {
		return text
	}
	var b strings.Builder
	for _, tier := range w.plan(p, client) {
		b.WriteString("|")
		for _, t := range tier {
			b.WriteString(" " + t.ID)
		}
	}
	if w.known == nil {
		w.known = map[string]string{}
	}
	w.known[key] = b.String()
	return b.String()
}

// named lists the subnets that a policy's rules and maps name.
func twinNamed(p *policy.Policy) (out []netip.Prefix) {
	for _, r := range p.Rules {
		out = append(out, r.Subnets...)
		for _, k := range r.Rank {
			if k.Kind == policy.RankMap {
				for _, s := range k.Map.Subnets {
					out = append(out, s.Prefix)
				}
			}
		}
	}
	return out
}

// blocks cuts a family where the place changes or a subnet of the policy begins or ends: the first block of each piece.
func (w *twin) blocks(p *policy.Policy, v4 bool) (out []netip.Prefix) {
	key := fmt.Sprint(p.Name, v4)
	if known, ok := w.cuts[key]; ok {
		return known
	}
	family := netip.IPv6Unspecified()
	if v4 {
		family = netip.IPv4Unspecified()
	}
	var starts []netip.Addr
	for _, r := range w.runs(family) {
		starts = append(starts, twinStart(r, v4))
	}
	for _, s := range twinNamed(p) {
		if s.Addr().Is4() == v4 && !twinLong(s) {
			starts = append(starts, s.Addr())
			if behind := last(s).Next(); behind.IsValid() {
				starts = append(starts, behind)
			}
		}
	}
	slices.SortFunc(starts, netip.Addr.Compare)
	for _, a := range slices.Compact(starts) {
		out = append(out, netip.PrefixFrom(a, twinBlockBits(a)))
	}
	if w.cuts == nil {
		w.cuts = map[string][]netip.Prefix{}
	}
	w.cuts[key] = out
	return out
}

// texts are the plans of the blocks.
func (w *twin) texts(p *policy.Policy, v4 bool) (out []string) {
	key := fmt.Sprint(p.Name, v4)
	if known, ok := w.cutTexts[key]; ok {
		return known
	}
	for _, b := range w.blocks(p, v4) {
		out = append(out, w.text(p, b))
	}
	if w.cutTexts == nil {
		w.cutTexts = map[string][]string{}
	}
	w.cutTexts[key] = out
	return out
}

// last is a prefix's last address.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// longs lists the subnets longer than blocks that the policy names and the overrides, the longest first.
func (w *twin) longs(p *policy.Policy) (out []netip.Prefix) {
	for _, s := range twinNamed(p) {
		if twinLong(s) {
			out = append(out, s)
		}
	}
	for _, l := range w.networks.Long {
		out = append(out, l.Prefix)
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int { return b.Bits() - a.Bits() })
	return out
}

// byClient says whether the policy's text depends on the client.
func twinByClient(p *policy.Policy) bool {
	for _, r := range p.Rules {
		if len(r.Geos) > 0 || r.Unknown || len(r.Subnets) > 0 || len(r.ASNs) > 0 {
			return true
		}
		for _, k := range r.Rank {
			if k.Kind == policy.RankMap || k.Kind == policy.RankNearest || k.Kind == policy.RankLatency {
				return true
			}
		}
	}
	return false
}

// scope is step 11 for a client with ECS.
func (w *twin) scope(p *policy.Policy, client netip.Prefix) int {
	v4 := client.Addr().Is4()
	least, hash := 16, 48
	if v4 {
		least, hash = 8, 24
	}
	if p.Pick != policy.PickHash {
		hash = 0
	}
	for _, l := range w.longs(p) {
		if !twinIn(l, client) {
			continue
		}
		inside, outside := netip.PrefixFrom(client.Addr(), l.Bits()).Masked(), netip.PrefixFrom(client.Addr(), l.Bits()-1).Masked()
		if slices.Contains(twinNamed(p), l) || w.text(p, inside) != w.text(p, outside) {
			return l.Bits()
		}
	}
	switch {
	case !twinByClient(p):
		return hash
	case w.lost:
		return min(client.Bits(), twinBlockBits(client.Addr()))
	}
	mine := w.text(p, netip.PrefixFrom(client.Addr(), twinBlockBits(client.Addr())).Masked())
	blocks := w.blocks(p, v4)
	widest := netip.PrefixFrom(client.Addr(), least).Masked()
	first := sort.Search(len(blocks), func(i int) bool { return widest.Addr().Less(blocks[i].Addr()) })
	behind := sort.Search(len(blocks), func(i int) bool { return last(widest).Less(blocks[i].Addr()) })
	from, to := max(0, first-1), min(len(blocks), behind+1) // the others lie outside of every prefix that is tried
	blocks, texts := blocks[from:to], w.texts(p, v4)[from:to]
	for n := least; ; n++ {
		around := netip.PrefixFrom(client.Addr(), n).Masked()
		same := true
		for i, b := range blocks {
			begins := !last(around).Less(b.Addr())
			ends := i+1 == len(blocks) || around.Addr().Less(blocks[i+1].Addr())
			if begins && ends && texts[i] != mine {
				same = false
			}
		}
		if same || n == twinBlockBits(client.Addr()) {
			return max(n, hash)
		}
	}
}

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
