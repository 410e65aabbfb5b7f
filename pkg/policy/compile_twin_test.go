package policy_test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"slices"
	"sort"
	"strconv"
	"strings"

	"geodns/pkg/geo"
	"geodns/pkg/policy"
	"geodns/pkg/rum"
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
	lost     bool // of the geo data
	measured []measurement
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
		return twinUnmapped(q.ecs.Masked()), true
	}
	return twinUnmapped(netip.PrefixFrom(q.source, q.source.BitLen())), false
}

// twinUnmapped takes an IPv4-mapped IPv6 address for the IPv4 address that it holds.
func twinUnmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
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
		place = w.networks.Places.At(runs[behind-1].Place)
	}
	longest := -1
	for _, l := range w.networks.Long {
		if twinIn(l.Prefix, client) && l.Prefix.Bits() > longest {
			place, longest = w.networks.Places.At(l.Place), l.Prefix.Bits()
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
	case policy.RankLatency:
		return w.byLatency(k, tier, client)
	}
	return [][]*policy.Target{tier}
}

// regionsTold counts the regions of the Document that a rung says something of.
func (w *twin) regionsTold(rung rum.Rung, o rum.Options) int {
	regions := map[string]bool{}
	for _, m := range w.measured {
		served := slices.ContainsFunc(w.doc.Regions, func(r *policy.Region) bool { return r.Name == m.region })
		if served && m.rung == rung && m.told(o) {
			regions[m.region] = true
		}
	}
	return len(regions)
}

// twinSpread is by how much the networks of a rung differ in its two best regions.
func twinSpread(all []measurement) int {
	slices.SortFunc(all, func(a, b measurement) int {
		return cmp.Or(cmp.Compare(a.tenths, b.tenths), cmp.Compare(a.region, b.region))
	})
	return int(math.Round(math.Hypot(float64(all[0].spread()), float64(all[1].spread()))))
}

// byLatency splits a tier by what the finest rung says that knows the client; what it does not know is one tier behind. A rung that
// knows one region alone knows nothing.
func (w *twin) byLatency(k policy.Ranker, tier []*policy.Target, client netip.Prefix) [][]*policy.Target {
	place := w.place(client)
	score, spread := map[string]string{}, 0
	for _, kind := range []rum.RungKind{rum.RungContinent, rum.RungCountry, rum.RungASN, rum.RungPrefix} {
		of, all := map[string]string{}, []measurement(nil)
		for _, m := range w.measured {
			its := m.rung.Kind == kind && m.told(k.Latency) && w.regionsTold(m.rung, k.Latency) > 1
			switch kind {
			case rum.RungPrefix:
				its = its && m.rung.Prefix.Contains(client.Addr())
			case rum.RungASN:
				its = its && m.rung.ASN == place.ASN && m.rung.Code == place.Country
			case rum.RungCountry:
				its = its && m.rung.Code == place.Country
			case rum.RungContinent:
				codes := twinCodes(place)
				its = its && len(codes) > 0 && m.rung.Code == codes[0]
			}
			if its {
				all = append(all, m)
				of[m.region] = fmt.Sprintf("%d.%d", m.tenths/10, m.tenths%10)
			}
		}
		if len(of) > 1 { // of one region alone nothing follows
			score, spread = of, twinSpread(all)
		}
	}
	var known, rest []*policy.Target
	for _, t := range tier {
		if score[t.Region.Name] != "" {
			known = append(known, t)
		} else {
			rest = append(rest, t)
		}
	}
	if len(known) == 0 {
		return [][]*policy.Target{tier}
	}
	band := twinDecimal(float64(k.Latency.Band.Microseconds()) / 1000)
	if float64(spread)/10 > float64(k.Latency.Band.Microseconds())/1000 {
		band = fmt.Sprintf("%d.%d", spread/10, spread%10)
	}
	out := banded(known, band, func(t *policy.Target) string { return score[t.Region.Name] })
	if len(rest) > 0 {
		out = append(out, rest)
	}
	return out
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
	var key strings.Builder
	fmt.Fprint(&key, p.Name, w.place(client)) // all that a plan can hang on: the place, and the subnets that are named
	for _, subnet := range twinNamed(p) {
		fmt.Fprint(&key, " ", twinIn(subnet, client))
	}
	for _, m := range w.measured {
		if m.rung.Kind == rum.RungPrefix && m.rung.Prefix.Contains(client.Addr()) {
			fmt.Fprint(&key, m.rung.Prefix)
		}
	}
	if text, ok := w.known[key.String()]; ok {
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
	w.known[key.String()] = b.String()
	return b.String()
}
