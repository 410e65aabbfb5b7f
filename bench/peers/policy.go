//go:build linux

package main

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// The one policy, in each server's language.

// eachAddress calls f for every steered owner and area with the address that stands there.
func eachAddress(w *workload, begin func(owner string), f func(owner string, a area, address netip.Addr)) {
	list := areas()
	for i, owner := range w.steered {
		begin(owner)
		for j, a := range list {
			f(owner, a, steeredAddress(i, j))
		}
	}
}

// ourPolicy is a region, and a line of one map, for each area; a pool and a policy for each owner.
func ourPolicy(w *workload) string {
	var regions, lines, pools, policies strings.Builder
	for _, a := range areas() {
		fmt.Fprintf(&regions, "  - {name: %s}\n", strings.ToLower(a.name()))
		fmt.Fprintf(&lines, "      %s: [%s]\n", a.name(), strings.ToLower(a.name()))
	}
	eachAddress(w, func(owner string) {
		fmt.Fprintf(&pools, "  - name: %s\n    targets:\n", owner)
		fmt.Fprintf(&policies, "  - {name: %s, ttl: {min: %d, max: %d}, rules: [{name: all, pool: %s, rank: [{map: world}]}], all_down: serve-all}\n",
			owner, zoneTTL, zoneTTL, owner)
	}, func(_ string, a area, address netip.Addr) {
		region := strings.ToLower(a.name())
		fmt.Fprintf(&pools, "      - {name: %s, region: %s, values: [%s]}\n", region, region, address)
	})
	return "regions:\n" + regions.String() + "maps:\n  - name: world\n    areas:\n" + lines.String() + "pools:\n" + pools.String() +
		"policies:\n" + policies.String()
}

// gdnsdPolicy is a data center for each area, one map from places to them, and a resource for each owner.
func gdnsdPolicy(w *workload) string {
	var b strings.Builder
	fmt.Fprintf(&b, "plugins => { geoip => {\n maps => { world => {\n  geoip2_db = %s\n  datacenters = [", w.database)
	byContinent := map[string]string{}
	var continents []string
	for i, a := range areas() {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(a.name())
		switch {
		case a.country != "":
			byContinent[a.continent] += fmt.Sprintf(", %s = [ %s ]", a.country, a.name())
		case a.continent != "":
			continents = append(continents, a.continent)
			byContinent[a.continent] = fmt.Sprintf("default = [ %s ]", a.name())
		}
	}
	b.WriteString("]\n  map => {\n   default = [ default ]\n")
	for _, c := range continents {
		fmt.Fprintf(&b, "   %s => { %s }\n", c, byContinent[c])
	}
	b.WriteString("  }\n } }\n resources => {\n")
	first := true
	eachAddress(w, func(owner string) {
		if !first {
			b.WriteString(" } }\n")
		}
		first = false
		fmt.Fprintf(&b, "  %s => { map = world, dcmap => {", owner)
	}, func(_ string, a area, address netip.Addr) { fmt.Fprintf(&b, " %s = %s,", a.name(), address) })
	b.WriteString(" } }\n }\n} }\n")
	return b.String()
}

// knotPolicy is an address for each owner and area but the default, which the zone has.
func knotPolicy(w *workload) string {
	var b strings.Builder
	eachAddress(w, func(owner string) { fmt.Fprintf(&b, "%s.%s:\n", owner, w.origin) }, func(_ string, a area, address netip.Addr) {
		country := a.country
		if country == "" {
			country = "*"
		}
		if a.continent != "" {
			fmt.Fprintf(&b, "  - geo: \"%s;%s\"\n    A: %s\n", a.continent, country, address)
		}
	})
	return b.String()
}

// powerDNSPolicy is the whole zone, for its backend reads no master file: a hidden name for each owner and area, and services
// that try the country's, the continent's, and the one for all.
func powerDNSPolicy(w *workload) string {
	var b, services strings.Builder
	fmt.Fprintf(&b, "domains:\n- domain: %s\n  ttl: %d\n  records:\n", w.origin, zoneTTL)
	lines := map[string]string{} // of an owner: it may be named once
	for _, r := range w.records {
		lines[r.owner] += fmt.Sprintf("      - %s: %q\n", strings.ToLower(r.kind), absoluteData(r, w.origin))
	}
	for _, owner := range slices.Sorted(maps.Keys(lines)) {
		fmt.Fprintf(&b, "    %q:\n%s", absolute(owner, w.origin), lines[owner])
	}
	eachAddress(w, func(owner string) {
		fmt.Fprintf(&services, "    %[1]s.%[2]s: [ 'country-%%cc.%[1]s.at.%[2]s', 'continent-%%cn.%[1]s.at.%[2]s', 'all.%[1]s.at.%[2]s' ]\n", owner, w.origin)
	}, func(owner string, a area, address netip.Addr) {
		label := "all"
		if a.continent != "" {
			label = "continent-" + strings.ToLower(a.continent)
		}
		if a.country != "" {
			label = "country-" + strings.ToLower(a.country)
		}
		fmt.Fprintf(&b, "    %s.%s.at.%s:\n      - a: %s\n", label, owner, w.origin, address)
	})
	return b.String() + "  services:\n" + services.String()
}

// absolute is an owner with its origin.
func absolute(owner, origin string) string {
	if owner == "@" {
		return origin
	}
	return owner + "." + origin
}

// absoluteData is a record's data with every name in it absolute.
func absoluteData(r record, origin string) string {
	words := strings.Fields(r.data)
	switch r.kind {
	case "NS", "CNAME", "MX":
		words[len(words)-1] += "." + origin + "."
	case "SOA":
		words[0] += "." + origin + "."
		words[1] += "." + origin + "."
	}
	return strings.Join(words, " ")
}
