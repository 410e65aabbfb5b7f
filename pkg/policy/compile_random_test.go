package policy_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"geodns/internal/source"
	"geodns/pkg/geo"
	"geodns/pkg/policy"
	"geodns/pkg/rum"
	"geodns/pkg/steering"
)

// scene is a random world for compiling: few addresses and places, so that everything meets everything often.
type scene struct {
	r        *rand.Rand
	hot      []netip.Addr   // addresses around which prefixes lie
	prefixes []netip.Prefix // that rules, maps and overrides name
	networks *geo.Networks
	measured []measurement
	kind     string // of the targets: both, v4, mixed, hosts
	regions  []string
	pools    []string
	maps     []string
}

// newScene makes the networks and names of a world.
func newScene(r *rand.Rand) *scene {
	s := &scene{r: r, kind: []string{"both", "both", "both", "v4", "mixed", "mixed", "hosts"}[r.IntN(7)]}
	for range 5 {
		s.hot = append(s.hot, netip.AddrFrom4([4]byte{byte(r.IntN(2) + 198), byte(r.IntN(3)), byte(r.Uint32()), byte(r.Uint32())}))
		b := [16]byte{0x20, 0x01, 0x0d, 0xb8, byte(r.IntN(2))}
		for i := 5; i < 16; i++ {
			b[i] = byte(r.Uint32())
		}
		s.hot = append(s.hot, netip.AddrFrom16(b))
	}
	s.hot = append(s.hot, netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("255.255.255.255"), netip.MustParseAddr("::"))
	for len(s.prefixes) < 24 {
		if p := s.prefix(); !slices.Contains(s.prefixes, p) {
			s.prefixes = append(s.prefixes, p)
		}
	}
	s.makeNetworks()
	s.measure()
	return s
}

// allRegions are the names of which a world has the first few.
var allRegions = []string{"fra", "ams", "iad", "sfo", "gru", "nrt", "sin", "syd"}

// measurement is what one rung says of one region.
type measurement struct {
	rung   rum.Rung
	region string
	tenths int // of a millisecond
}

// told says whether a measurement counts under some Options: of each rung something is missing for some.
func (m *measurement) told(o rum.Options) bool {
	return o.Percentile == 75 || (len(m.rung.String())+len(m.region)+m.tenths)%4 != int(o.Percentile)%4
}

// measure makes what users measured, in many rungs or none.
func (s *scene) measure() {
	if s.r.IntN(4) == 0 {
		return
	}
	seen := map[rum.Rung]bool{}
	for range s.r.IntN(25) {
		a, p := one(s.r, s.hot...), randomPlace(s.r)
		if s.r.IntN(2) == 0 {
			a = s.address()
		}
		bits := 48
		if a.Is4() {
			bits = 24
		}
		rung := one(s.r, rum.Rung{Kind: rum.RungPrefix, Prefix: netip.PrefixFrom(a, bits).Masked()}, rum.Rung{Kind: rum.RungASN, ASN: 64500 + uint32(s.r.IntN(4)), Code: p.Country},
			rum.Rung{Kind: rum.RungCountry, Code: p.Country}, rum.Rung{Kind: rum.RungContinent, Code: p.Code().Continent})
		if seen[rung] || rung.Code == "" && rung.Kind != rum.RungPrefix {
			continue
		}
		seen[rung] = true
		if n := len(s.measured); n > 0 && s.r.IntN(2) == 0 { // in the order of another rung, but farther apart
			like, times := s.measured[s.r.IntN(n)].rung, one(s.r, 1, 2, 3)
			for _, m := range s.measured[:n] {
				if m.rung == like {
					s.measured = append(s.measured, measurement{rung, m.region, times * m.tenths})
				}
			}
			continue
		}
		for _, name := range some(s.r, len(allRegions), allRegions) {
			s.measured = append(s.measured, measurement{rung, name, one(s.r, 1, 20, 50)*s.r.IntN(20) + s.r.IntN(2)})
		}
	}
}

// spread is by how much networks differ, in tenths of a millisecond: of some rungs, in any way that depends on the measurement alone.
func (m *measurement) spread() int {
	if len(m.rung.String())%3 > 0 {
		return 0
	}
	return (len(m.region) + m.tenths) % 7 * 31
}

// orders are those of a Document, taken at once.
func (s *scene) orders(doc *policy.Document) *rum.Orders {
	return rum.NewDecider().Step(time.Unix(0, 0), policy.LatencyOptions(doc), func(o rum.Options) []rum.Scored {
		by := map[rum.Rung][]rum.Score{}
		for _, m := range s.measured {
			if m.told(o) {
				by[m.rung] = append(by[m.rung], rum.Score{Region: m.region, Score: time.Duration(m.tenths) * 100 * time.Microsecond, Spread: time.Duration(m.spread()) * 100 * time.Microsecond, Samples: 1e9})
			}
		}
		var out []rum.Scored
		for rung, scores := range by {
			out = append(out, rum.Scored{Rung: rung, Scores: scores})
		}
		return out
	})
}

// one picks an element.
func one[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// some picks up to n distinct elements, at least one.
func some[T any](r *rand.Rand, n int, of []T) []T {
	of = slices.Clone(of)
	r.Shuffle(len(of), func(i, j int) { of[i], of[j] = of[j], of[i] })
	return of[:min(len(of), 1+r.IntN(n))]
}

// prefix is a prefix around a hot address, often one longer than a block.
func (s *scene) prefix() netip.Prefix {
	a := one(s.r, s.hot...)
	n := 1 + s.r.IntN(a.BitLen())
	if s.r.IntN(3) == 0 {
		n = twinBlockBits(a) + s.r.IntN(a.BitLen()-twinBlockBits(a)+1)
	}
	if s.r.IntN(4) == 0 {
		n = min(n, twinBlockBits(a)-s.r.IntN(10))
	}
	return netip.PrefixFrom(a, n).Masked()
}

// randomPlace is a place of which more or less is known.
func randomPlace(r *rand.Rand) geo.Place {
	p := one(r, geo.Place{}, geo.Place{Continent: "EU"}, geo.Place{Continent: "EU", Country: "DE"}, geo.Place{Continent: "EU", Country: "DE", Subdivision: "BY"},
		geo.Place{Country: "FR"}, geo.Place{Continent: "AS", Country: "DE"}, geo.Place{Continent: "NA"}, geo.Place{Continent: "NA", Country: "US"},
		geo.Place{Continent: "NA", Country: "US", Subdivision: "CA"}, geo.Place{Continent: "AS", Country: "JP"}, geo.Place{Continent: "AF"},
		geo.Place{Continent: "OC", Country: "AU"}, geo.Place{Country: "ZZ"}, geo.Place{Continent: "AN"}, geo.Place{Continent: "SA", Country: "BR", Subdivision: "SP"})
	if r.IntN(3) == 0 {
		p.ASN = 64500 + uint32(r.IntN(4))
	}
	if r.IntN(3) == 0 {
		p.HasLocation, p.Lat, p.Lon = true, float64(r.IntN(1800))/10-90, float64(r.IntN(3600))/10-180
	}
	return p
}

// makeNetworks places runs of blocks whose ends are those of prefixes, and some overrides longer than blocks.
func (s *scene) makeNetworks() {
	n, places := &geo.Networks{}, []geo.Place{{}}
	number := func(p geo.Place) uint32 {
		i := slices.Index(places, p)
		if i < 0 {
			i = len(places)
			places = append(places, p)
		}
		return uint32(i)
	}
	for _, v4 := range []bool{true, false} {
		starts := []netip.Addr{netip.IPv6Unspecified()}
		if v4 {
			starts[0] = netip.IPv4Unspecified()
		}
		for range s.r.IntN(30) {
			p := s.prefix()
			if p.Addr().Is4() != v4 || twinLong(p) {
				continue
			}
			starts = append(starts, p.Addr())
			if behind := last(p).Next(); behind.IsValid() && s.r.IntN(2) == 0 {
				starts = append(starts, behind)
			}
		}
		slices.SortFunc(starts, netip.Addr.Compare)
		var runs []geo.Run
		for _, a := range slices.Compact(starts) {
			run := geo.Run{Start: steering.ClientFrom(netip.PrefixFrom(a, a.BitLen())).Hi >> 8, Place: number(randomPlace(s.r))}
			if v4 {
				run.Start >>= 32
			}
			if len(runs) == 0 || runs[len(runs)-1].Place != run.Place {
				runs = append(runs, run)
			}
		}
		if v4 {
			n.V4 = runs
		} else {
			n.V6 = runs
		}
	}
	for _, p := range s.prefixes {
		if twinLong(p) && s.r.IntN(3) == 0 {
			n.Long = append(n.Long, geo.LongPlace{Prefix: p, Place: number(randomPlace(s.r))})
		}
	}
	slices.SortFunc(n.Long, func(a, b geo.LongPlace) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), a.Prefix.Bits()-b.Prefix.Bits())
	})
	n.Places = geo.NewPlaces(places)
	s.networks = n
}

// list writes a YAML flow list of quoted texts.
func list[T any](of []T) string {
	var b strings.Builder
	for i, v := range of {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", fmt.Sprint(v))
	}
	return "[" + b.String() + "]"
}

// header writes the regions, pools and maps of a policy file.
func (s *scene) header() string {
	var b strings.Builder
	s.regions = allRegions[:2+s.r.IntN(7)]
	b.WriteString("regions:\n")
	for _, name := range s.regions {
		fmt.Fprintf(&b, "  - {name: %s, cost: %g, location: [%.2f, %.2f]", name, one(s.r, 0, 0.02, 0.05, 0.1, 0.1, 0.3, 0.7, 0.8),
			s.r.Float64()*180-90, s.r.Float64()*360-180)
		if pair := one(s.r, s.regions...); pair != name && s.r.IntN(3) > 0 {
			fmt.Fprintf(&b, ", pair: %s", pair)
		}
		if s.r.IntN(5) > 0 {
			fmt.Fprintf(&b, ", jurisdictions: %s", list(some(s.r, 2, []string{"eu", "us", "x"})))
		}
		b.WriteString("}\n")
	}
	b.WriteString("pools:\n")
	for i := range 1 + s.r.IntN(5) {
		s.pools = append(s.pools, fmt.Sprint("pool", i))
	}
	for i, name := range s.pools {
		s.pool(&b, i, name)
	}
	b.WriteString("maps:\n")
	s.maps = []string{"one", "two", "three"}[:1+s.r.IntN(3)]
	for _, name := range s.maps {
		fmt.Fprintf(&b, "  - name: %s\n    areas: {default: %s", name, s.order())
		for _, code := range some(s.r, 6, []string{"EU", "EU-DE", "EU-DE-BY", "EU-FR", "NA", "NA-US", "NA-US-CA", "AS", "AS-JP", "AF", "OC-AU", "SA-BR-SP"}) {
			fmt.Fprintf(&b, ", %s: %s", code, s.order())
		}
		b.WriteString("}\n")
		if s.r.IntN(2) == 0 {
			b.WriteString("    subnets:\n")
			for _, p := range some(s.r, 5, s.prefixes) {
				fmt.Fprintf(&b, "      %q: %s\n", p, s.order())
			}
		}
	}
	return b.String()
}

// order writes a map's list of regions.
func (s *scene) order() string {
	names := some(s.r, len(s.regions), s.regions)
	if s.r.IntN(3) > 0 {
		names = slices.Insert(names, s.r.IntN(len(names)+1), "*")
	}
	return list(names)
}

// pool writes one pool, which may fall back on those behind it.
func (s *scene) pool(b *strings.Builder, i int, name string) {
	n := 1 + s.r.IntN(6)
	if s.r.IntN(5) == 0 {
		n += 20 // more than a plan has tiers
	}
	fmt.Fprintf(b, "  - name: %s\n", name)
	if i+1 < len(s.pools) && s.r.IntN(2) == 0 {
		fmt.Fprintf(b, "    fallback: %s\n", one(s.r, s.pools[i+1:]...))
		switch s.r.IntN(3) {
		case 0:
			fmt.Fprintf(b, "    min_up: %d\n", s.r.IntN(n+1))
		case 1:
			fmt.Fprintf(b, "    min_up: %d%%\n", s.r.IntN(101))
		}
	}
	b.WriteString("    targets:\n")
	weights := s.r.IntN(2) == 0
	for j := range n {
		v4, v6, host := fmt.Sprintf("10.%d.%d.1", i, j), fmt.Sprintf("2001:db8:ffff::%x:%x", i, j), fmt.Sprintf("h%d.flat.example.", s.r.IntN(flatHosts))
		values := map[string][]string{"both": {v4, v6}, "v4": {v4}, "hosts": {host}}[s.kind]
		if s.kind == "mixed" {
			values = one(s.r, []string{v4}, []string{v6}, []string{v4, v6}, []string{v6, v4})
		}
		fmt.Fprintf(b, "      - {name: t%d, region: %s, values: %s", j, one(s.r, s.regions...), list(values))
		if weights {
			fmt.Fprintf(b, ", weight: %d", one(s.r, 1, 2, 50, 100, steering.WeightMax))
		}
		b.WriteString("}\n")
	}
}

// rank writes a rule's rankers.
func (s *scene) rank() string {
	var out []string
	if s.r.IntN(2) == 0 {
		out = append(out, fmt.Sprintf("{map: %s}", one(s.r, s.maps...)))
	}
	for range s.r.IntN(4) {
		out = append(out, one(s.r, "nearest", fmt.Sprintf("{nearest: {band: %dkm}}", 1+s.r.IntN(6000)), "latency", fmt.Sprintf("{latency: {band: %s, percentile: %d}}", one(s.r, "0.3ms", "5ms", "15ms", "40ms"), 75+s.r.IntN(4)), "cost",
			fmt.Sprintf("{cost: {band: %g}}", one(s.r, 0.01, 0.03, 0.1, 0.2, 0.5)), "listed"))
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// policy writes one policy. It need not be right.
func (s *scene) policy(name string) string {
	var b strings.Builder
	least := s.r.IntN(60)
	fmt.Fprintf(&b, "  - name: %s\n    ttl: {min: %d, max: %d}\n    pick: %s\n    all_down: %s\n", name, least, least+s.r.IntN(60),
		one(s.r, "weighted", "hash"), one(s.r, "serve-all", "serve-first", "servfail"))
	flatten := s.kind == "hosts" && s.r.IntN(2) == 0
	if s.kind != "hosts" || flatten {
		fmt.Fprintf(&b, "    answers: %d\n", 1+s.r.IntN(4))
	}
	if flatten {
		b.WriteString("    flatten: true\n")
	}
	if s.kind == "mixed" || flatten {
		b.WriteString("    families: separate\n")
	}
	fences := s.r.IntN(3) == 0
	fence := func() string {
		if !fences {
			return ""
		}
		return ", fence: " + one(s.r, "none", list(some(s.r, 3, []string{"eu", "us", "x"})), list([]string{"eu", "us"}))
	}
	b.WriteString("    rules:\n")
	rule := func(name, conditions string) {
		fmt.Fprintf(&b, "      - {name: %s, %spool: %s, rank: %s%s}\n", name, conditions, one(s.r, s.pools...), s.rank(), fence())
	}
	for i := range s.r.IntN(4) {
		var c string
		kinds := 1 + s.r.IntN(7)
		if kinds&1 > 0 {
			c += "geos: " + list(some(s.r, 3, []string{"EU", "EU-DE", "EU-DE-BY", "EU-FR", "NA", "NA-US", "NA-US-CA", "AS", "AS-JP", "AF", "OC-AU", "SA-BR-SP", "unknown"})) + ", "
		}
		if kinds&2 > 0 {
			c += "subnets: " + list(some(s.r, 4, s.prefixes)) + ", "
		}
		if kinds == 4 || kinds == 5 {
			c += "asns: " + strings.ReplaceAll(list(some(s.r, 2, []int{64500, 64501, 64502})), `"`, "") + ", "
		}
		rule(fmt.Sprint("r", i), c)
	}
	if fences {
		rule("unplaced", "geos: [unknown], ")
	}
	rule("world", "")
	return b.String()
}

// document makes a Document of policies that the parser and keep take, and gives its text.
func (s *scene) document(keep func(*policy.Document, string) bool) (*policy.Document, string) {
	header := s.header() + "policies:\n"
	var body, before string
	for i := range 1 + s.r.IntN(3) {
		for range 20 {
			p := s.policy(fmt.Sprint("p", i))
			if before != "" && s.r.IntN(2) == 0 {
				p = s.varied(before, fmt.Sprint("p", i))
			}
			if doc, _ := parseText(header + p); doc != nil && keep(doc, header+p) {
				body, before = body+p, p
				break
			}
		}
	}
	doc, _ := parseText(header + body)
	return doc, header + body
}

// varied is a policy once more, but for one thing: much that must not be taken for the same layout, and some that must.
func (s *scene) varied(p, name string) string {
	_, p, _ = strings.Cut(p, "\n")
	change := one(s.r, `["us"]`, `["eu"]`, `["x"]`, "none", `"EU"`, `"NA"`, `"EU-DE"`, "unknown", "64500", "64501", "pool: pool0", "pool: pool1", "pool: pool2", "cost", "nearest", "listed",
		"map: one", "map: two", "band: 0.1", "band: 0.2", "hash", "weighted", "serve-all", "serve-first")
	to := one(s.r, `["us", "x"]`, `["eu"]`, "none", `"EU"`, `"AS"`, "64502", "pool: pool0", "pool: pool3", "cost", "nearest", "latency", "map: two", "map: three", "band: 0.3", "hash", "servfail")
	return "  - name: " + name + "\n" + strings.Replace(p, change, to, 1+s.r.IntN(2))
}

// parseText reads a Document of files; nil if they are refused.
func parseText(texts ...string) (*policy.Document, source.Findings) {
	var found source.Findings
	var files []*policy.File
	for i, text := range texts {
		files = append(files, policy.Parse(fmt.Sprintf("%d.yaml", i), []byte(text), &found))
	}
	return policy.Join(files, &found), found
}

// address is an address that is likely to be near something.
func (s *scene) address() netip.Addr {
	p := one(s.r, s.prefixes...)
	if s.r.IntN(2) == 0 {
		p = s.prefix()
	}
	b := p.Addr().AsSlice()
	for i := range b {
		random := byte(s.r.Uint32())
		if at := 8*i + 8 - p.Bits(); at <= 0 {
			random = 0
		} else if at < 8 {
			random &= 1<<at - 1
		}
		if s.r.IntN(8) > 0 || p.Bits() <= 8*i {
			b[i] |= random
		}
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// question is a random query to a policy.
func (s *scene) question(p *policy.Policy, typ steering.Type) twinQuestion {
	q := twinQuestion{policy: p.Name, typ: typ, source: s.address(), ttl: uint32(s.r.IntN(120)), random: s.r.Uint64()}
	switch a := s.address(); s.r.IntN(4) {
	case 0: // its own source
	case 1:
		q.ecs = netip.PrefixFrom(a, s.r.IntN(a.BitLen()+1)).Masked()
	case 2:
		q.ecs = netip.PrefixFrom(a, twinBlockBits(a)).Masked()
	default:
		q.ecs = one(s.r, s.prefixes...)
	}
	return q
}

// verdicts are random, of a fleet that is more or less well.
func (s *scene) verdicts(doc *policy.Document) map[string]steering.Verdict {
	out := map[string]steering.Verdict{}
	bad := s.r.Float64()
	for _, t := range doc.Targets {
		v := steering.Unchecked()
		if s.r.Float64() < bad {
			v = steering.Verdict{
				State: one(s.r, steering.Unknown, steering.Up, steering.Degraded, steering.Down, steering.Down), InDoubt: s.r.IntN(3) == 0,
				Drained: s.r.IntN(6) == 0, Admit: one[uint16](s.r, 0, 1<<14, 1<<15, 1<<15, steering.AdmitAll, steering.AdmitAll),
			}
			v.InDoubt = v.InDoubt || v.State == steering.Unknown // never probed
		}
		out[t.ID] = v
	}
	return out
}
