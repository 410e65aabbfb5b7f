package api

import "geodns/pkg/rum"

// RUMReportOf gives what users measured its document.
func RUMReportOf(v *rum.View) RUMReport {
	all := v.Rungs()
	report := RUMReport{At: v.At().UTC(), Version: v.Version(), Rungs: make([]RUMRung, 0, len(all))}
	for i := range all {
		report.Rungs = append(report.Rungs, rungOf(&all[i]))
	}
	return report
}

// rungOf gives a rung its document.
func rungOf(s *rum.Summary) RUMRung {
	r := RUMRung{
		Rung: s.Rung.String(), Kind: s.Rung.Kind.String(), Sources: s.Sources, Prefixes: s.Prefixes, Held: s.Held,
		Regions: make([]RUMRegion, 0, len(s.Regions)),
	}
	for _, g := range s.Regions {
		r.Regions = append(r.Regions, RUMRegion{
			Region: g.Region, Samples: g.Samples, Errors: g.Errors, P50: g.P50.Seconds(), P75: g.P75.Seconds(), P95: g.P95.Seconds(),
			Jitter: g.Jitter.Seconds(), Age: g.Age.Seconds(),
		})
	}
	return r
}

// RUMStatusOf gives the collector's counts their document; those of beacons are not in it.
func RUMStatusOf(s *rum.Stats, v *rum.View) RUMStatus {
	d := RUMStatus{
		At: v.At().UTC(), Version: v.Version(), Accepted: s.Accepted, Refused: map[string]uint64{}, Limited: []string{}, Beacons: map[string]uint64{}, Rungs: map[string]int{},
		Networks: s.Networks, Sketches: s.Sketches, Bytes: s.Bytes, Held: s.Held, Saves: s.Saves, SaveErrors: s.SaveErrors,
	}
	for why, n := range s.Refused {
		d.Refused[string(why)] = n
	}
	for kind, n := range s.Rungs {
		d.Rungs[kind.String()] = n
	}
	return d
}
