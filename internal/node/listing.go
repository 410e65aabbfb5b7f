package node

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"geodns/pkg/api"
	"geodns/pkg/policy"
	"geodns/pkg/steering"
	"geodns/pkg/zone"
)

// namesListedMax is how many owner names a policy's document lists: a policy may steer a million.
const namesListedMax = 100

// listing is what is served as the API lists it.
func (n *Node) listing() api.Listing {
	return api.Listing{Pools: n.pools, Policies: n.policies, Zones: n.zones}
}

// pools are the documents of all pools, by name.
func (n *Node) pools() []api.Pool {
	l, states := n.currentStates()
	users := poolUsers(l.compiled.Document)
	out := make([]api.Pool, 0, len(l.compiled.Document.Pools))
	for _, p := range l.compiled.Document.Pools {
		d := api.Pool{
			Name: p.Name, At: p.Place.String(), MinUp: p.MinUp.Of(len(p.Targets)), Targets: make([]string, 0, len(p.Targets)), Policies: users[p],
		}
		if d.Policies == nil {
			d.Policies = []string{}
		}
		if p.Check != nil {
			d.Check = p.Check.Name
		}
		if p.Fallback != nil {
			d.Fallback = p.Fallback.Name
		}
		for _, t := range p.Targets {
			d.Targets = append(d.Targets, t.ID)
			if usable(states.Verdict(steering.TargetID(t.Index))) {
				d.Usable++
			}
		}
		out = append(out, d)
	}
	return out
}

// usable says whether a target may answer in the passes before all_down.
func usable(v steering.Verdict) bool { return v.State != steering.Down && !v.Drained }

// poolUsers are the policies that reach each pool, by name.
func poolUsers(doc *policy.Document) map[*policy.Pool][]string {
	users := map[*policy.Pool][]string{}
	for _, p := range doc.Policies {
		for _, r := range p.Rules {
			for pool := r.Pool; pool != nil && !slices.Contains(users[pool], p.Name); pool = pool.Fallback {
				users[pool] = append(users[pool], p.Name)
			}
		}
	}
	return users
}

// policies are the documents of all policies, by name.
func (n *Node) policies() []api.Policy {
	l := n.currentLoad()
	names := map[string][]string{}
	total := map[string]int{}
	for _, s := range l.zones.Steers() {
		if total[s.Policy]++; total[s.Policy] <= namesListedMax {
			names[s.Policy] = append(names[s.Policy], s.Owner)
		}
	}
	out := make([]api.Policy, 0, len(l.compiled.Document.Policies))
	for i, p := range l.compiled.Document.Policies {
		d := api.Policy{
			Name: p.Name, At: p.Place.String(), Names: slices.Concat([]string{}, names[p.Name]), NameN: total[p.Name], TTLMin: p.TTLMin, TTLMax: p.TTLMax,
			Answers: p.Answers, Pick: "weighted", AllDown: p.AllDown.String(), Scopes: l.compiled.Table.Scopes(steering.PolicyID(i)), Rules: []api.PolicyRule{},
		}
		if p.Pick == policy.PickHash {
			d.Pick = "hash"
		}
		for _, r := range p.Rules {
			d.Rules = append(d.Rules, ruleDocument(r))
		}
		out = append(out, d)
	}
	return out
}

// ruleDocument is a rule as the API shows it.
func ruleDocument(r *policy.Rule) api.PolicyRule {
	d := api.PolicyRule{Name: r.Name, At: r.Place.String(), Match: []string{}, Pool: r.Pool.Name, Rank: []string{}, Fence: slices.Concat([]string{}, r.Fence)}
	for _, g := range r.Geos {
		d.Match = append(d.Match, "geo "+g.String())
	}
	if r.Unknown {
		d.Match = append(d.Match, "geo unknown")
	}
	for _, s := range r.Subnets {
		d.Match = append(d.Match, "subnet "+s.String())
	}
	for _, a := range r.ASNs {
		d.Match = append(d.Match, "asn "+strconv.FormatUint(uint64(a), 10))
	}
	for _, k := range r.Rank {
		text := k.Kind.String()
		if k.Map != nil {
			text += " " + k.Map.Name
		}
		if k.HasBand {
			text += fmt.Sprintf(" band %g", k.Band)
		}
		d.Rank = append(d.Rank, text)
	}
	return d
}

// zones are the documents of at most count zones after a name, and how many there are.
func (n *Node) zones(after string, count int) ([]api.Zone, int) {
	all := n.currentLoad().zones.Zones()
	slices.SortFunc(all, func(a, b zone.Info) int { return cmp.Compare(a.Origin, b.Origin) })
	from, _ := slices.BinarySearchFunc(all, after, func(z zone.Info, name string) int {
		if z.Origin <= name {
			return -1
		}
		return 1
	})
	if after == "" {
		from = 0
	}
	return api.ZonesOf(all[from:min(from+count, len(all))]), len(all)
}
