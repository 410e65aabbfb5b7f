package policy_test

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"

	"geodns/pkg/policy"
	"geodns/pkg/rum"
)

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

// blocks cuts a family where the place changes, or a subnet of the policy or a measured network begins or ends: the first block of
// each piece.
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
	subnets := twinNamed(p)
	for _, m := range w.measured {
		if m.rung.Kind == rum.RungPrefix {
			subnets = append(subnets, m.rung.Prefix)
		}
	}
	for _, s := range subnets {
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
