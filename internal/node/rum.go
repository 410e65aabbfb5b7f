package node

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"geodns/internal/source"
	"geodns/pkg/api"
	"geodns/pkg/geo"
	"geodns/pkg/policy"
	"geodns/pkg/rum"
)

// RUM says what is made of what users measure.
type RUM struct {
	Listen      netip.AddrPort // of beacons; zero: none come in, and a feed may all the same
	Certificate string         // file of the listener's certificate with its chain, PEM; "": plain HTTP
	Key         string
	Plain       bool           // plain HTTP beyond loopback, as a proxy ends TLS
	Origins     []string       // whose pages may send
	Proxies     []netip.Prefix // whose X-Forwarded-For is believed

	// Sample is the part of page views that are to measure; 0 is the default of package api.
	Sample float64

	// Zero is the default of package rum.
	Interval, Window        time.Duration
	MinSources, MaxSketches int
}

// measurable is what a load says to those who measure. Immutable.
type measurable struct {
	regions map[string]rum.Location // by name
	probed  []*policy.Region        // those with a probe URL, by name
}

// measurableOf lists the regions of a document.
func measurableOf(doc *policy.Document) *measurable {
	m := &measurable{regions: make(map[string]rum.Location, len(doc.Regions))}
	for _, r := range doc.Regions {
		m.regions[r.Name] = rum.Location{Lat: r.Lat, Lon: r.Lon, Known: r.HasLocation}
		if r.Probe != "" {
			m.probed = append(m.probed, r)
		}
	}
	return m
}

// openRUM makes what counts measurements. The first load is there.
func (n *Node) openRUM() error {
	var err error
	n.rum, err = rum.New(rum.Config{
		Place:    n.place,
		Regions:  func() map[string]rum.Location { return n.served.Load().now.measurable.regions },
		Interval: n.cfg.RUM.Interval, Window: n.cfg.RUM.Window, MinSources: n.cfg.RUM.MinSources, MaxSketches: n.cfg.RUM.MaxSketches,
		Loopback: n.cfg.onLoopback(), StatePath: n.cfg.stateFile("rum"), Log: n.log,
	})
	n.decider.Window = n.cfg.RUM.Window
	return err
}

// place is where the geo data of now has an address.
func (n *Node) place(addr netip.Addr) geo.Place { return n.served.Load().now.geo.Networks.At(addr) }

// listenRUM binds the listener of beacons.
func (n *Node) listenRUM() error {
	at := n.cfg.RUM.Listen
	if !at.IsValid() {
		return nil
	}
	if err := api.CheckBeaconListen(at, n.access.beacons != nil, n.cfg.RUM.Plain); err != nil {
		return fmt.Errorf("rum.listen: %w", err)
	}
	var err error
	n.beacons, err = api.NewBeacons(api.BeaconConfig{
		Listen: at, TLS: n.access.beaconTLS(), Origins: n.cfg.RUM.Origins, Proxies: n.cfg.RUM.Proxies, Sample: n.cfg.RUM.Sample,
		Add: n.rum.Add, Probes: n.probes, Log: n.log,
	})
	if err != nil {
		return err
	}
	n.beaconServer, err = n.beacons.Listen()
	return err
}

// RUMAddr is the address of beacons, zero if there is none.
func (n *Node) RUMAddr() netip.AddrPort {
	if n.beaconServer == nil {
		return netip.AddrPort{}
	}
	return n.beaconServer.Addr()
}

// apiRUM is what the API asks of what users measured.
func (n *Node) apiRUM() api.RUM {
	return api.RUM{
		Add:     n.rum.Add,
		Propose: n.propose,
		Report:  func() api.RUMReport { return api.RUMReportOf(n.rum.View()) },
		Status: func() api.RUMStatus {
			stats, view := n.rum.Stats(), n.rum.View()
			s := api.RUMStatusOf(&stats, view)
			s.Limited = append(s.Limited, n.served.Load().now.compiled.Limited()...)
			if n.beacons != nil {
				s.Listen, s.Beacons, s.Plans = n.RUMAddr().String(), n.beacons.Results(), n.beacons.Plans()
				s.TurnedAway = n.beacons.ConnectionsRefused()
			}
			return s
		},
	}
}

// propose gives the change of the maps that what is measured now supports, against the files of the load that is served.
func (n *Node) propose(percentile float64, band time.Duration, minSamples int) (api.RUMProposals, error) {
	o := n.planOptions()
	o.Percentile, o.Band, o.MinSamples = percentile, band, minSamples
	view := n.rum.View()
	orders := rum.NewDecider().Step(time.Now(), []rum.Options{o}, view.Scored)
	proposals := policy.Propose(n.currentLoad().compiled.Document, orders, o)
	diff, err := policy.ProposalDiff(proposals, func(file string) ([]byte, error) { return ReadSmall(file, source.YAMLBytesMax) })
	return api.RUMProposals{Proposals: len(proposals), Diff: diff}, err
}

// planOptions are by what a plan's regions are ordered: those of a latency ranker that says nothing else.
func (n *Node) planOptions() rum.Options {
	o := policy.LatencyDefaults()
	o.MaxAge = cmp.Or(n.cfg.RUM.Window, o.MaxAge)
	return o
}

// probes gives the regions that a client may measure, those first that are best for it: by what was measured, then by distance.
func (n *Node) probes(client netip.Addr) []api.Probed {
	if !client.IsValid() {
		client = netip.IPv4Unspecified() // of which nothing is known
	}
	p := n.place(client)
	_, scores, _ := n.rum.View().Scores(netip.PrefixFrom(client, client.BitLen()), p, n.planOptions())
	return orderProbes(n.served.Load().now.measurable.probed, p, scores)
}

// nowhere is the nearness of what has no place: below that of any that has.
const nowhere = -2

// orderProbes puts regions in order, scored ones first, then those that are nearer, then those without a place, and says which is nearest.
func orderProbes(regions []*policy.Region, p geo.Place, scores []rum.Score) []api.Probed {
	type ranked struct {
		api.Probed

		score int
		near  float64
	}
	all := make([]ranked, 0, len(regions))
	for _, r := range regions {
		one := ranked{Probed: api.Probed{Region: r.Name, URL: r.Probe}, near: nowhere}
		if one.score = slices.IndexFunc(scores, func(s rum.Score) bool { return s.Region == r.Name }); one.score < 0 {
			one.score = len(scores)
		}
		if r.HasLocation && p.HasLocation {
			one.near = nearness(r.Lat, r.Lon, p.Lat, p.Lon)
		}
		all = append(all, one)
	}
	nearest := -1
	for i := range all {
		if all[i].near > nowhere && (nearest < 0 || all[i].near > all[nearest].near) {
			nearest = i
		}
	}
	if nearest >= 0 {
		all[nearest].Nearest = true
	}
	slices.SortStableFunc(all, func(a, b ranked) int { return cmp.Or(cmp.Compare(a.score, b.score), cmp.Compare(b.near, a.near)) })
	out := make([]api.Probed, len(all))
	for i := range all {
		out[i] = all[i].Probed
	}
	return out
}

// nearness is the cosine of the angle between two places on a globe, in degrees: 1 for the same one, -1 for the other end of the Earth.
func nearness(lat1, lon1, lat2, lon2 float64) float64 {
	const radian = math.Pi / 180
	return math.Sin(lat1*radian)*math.Sin(lat2*radian) + math.Cos(lat1*radian)*math.Cos(lat2*radian)*math.Cos((lon1-lon2)*radian)
}
