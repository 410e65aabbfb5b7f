package rum_test

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"geodns/pkg/geo"
	"geodns/pkg/rum"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is where tests are: a clock, a map and a Collector.
//
// In it the second octet of an IPv4 address is its ASN, and the first one its country: 20 is Germany, 21 France, 22 the United
// States, the rest is unknown. IPv6 is all of one ASN in Germany.
type world struct {
	*rum.Collector
	t     testing.TB
	clock *atomic.Int64 // nanoseconds since 1970
}

// begin is when tests begin: at the begin of a window.
var begin = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)

// place is the map of the world.
func place(a netip.Addr) geo.Place {
	if a.Is6() {
		return geo.Place{Continent: "EU", Country: "DE", ASN: 600, HasLocation: true, Lat: 50, Lon: 8}
	}
	b := a.As4()
	p := geo.Place{ASN: uint32(b[1])}
	switch b[0] {
	case 20:
		p.Continent, p.Country, p.HasLocation, p.Lat, p.Lon = "EU", "DE", true, 50, 8
	case 21:
		p.Continent, p.Country, p.HasLocation, p.Lat, p.Lon = "EU", "FR", true, 48, 2
	case 22:
		p.Continent, p.Country = "NA", "US"
	default:
		p.ASN = 0
	}
	return p
}

// served is the regions of the world.
var served = map[string]rum.Location{
	"fra":     {Lat: 50.1, Lon: 8.7, Known: true},
	"iad":     {Lat: 38.9, Lon: -77.4, Known: true},
	"nowhere": {},
}

func regions() map[string]rum.Location { return served }

// newWorld makes a world; change may change the configuration.
func newWorld(t testing.TB, change func(*rum.Config)) *world {
	t.Helper()
	w := &world{t: t, clock: &atomic.Int64{}}
	w.clock.Store(begin.UnixNano())
	cfg := rum.Config{Place: place, Regions: regions, Now: w.now}
	if change != nil {
		change(&cfg)
	}
	c, err := rum.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.Collector = c
	return w
}

func (w *world) now() time.Time { return time.Unix(0, w.clock.Load()) }

// pass lets time pass, a tick at each interval.
func (w *world) pass(d time.Duration) {
	for end := w.now().Add(d); w.now().Before(end); {
		w.clock.Add(int64(rum.IntervalDefault))
		w.Tick(w.now())
	}
}

// sends adds one sample of a client, and gives the reason where it is refused.
func (w *world) sends(client, region string, latency time.Duration) rum.Refusal {
	return w.adds(rum.Sample{Client: netip.MustParseAddr(client), Region: region, Latency: latency})
}

// adds adds one sample, and gives the reason where it is refused.
func (w *world) adds(s rum.Sample) rum.Refusal {
	counts := w.Add([]rum.Sample{s})
	for reason := range counts.Refused {
		return reason
	}
	return ""
}

// shown gives the summary of a rung as a map of its regions; nil where nothing is shown.
func (w *world) shown(rung string) map[string]rum.RegionSummary {
	for _, s := range w.View().Rungs() {
		if s.Rung.String() == rung {
			byName := map[string]rum.RegionSummary{}
			for _, r := range s.Regions {
				byName[r.Region] = r
			}
			return byName
		}
	}
	return nil
}

// near reports whether two times are alike to the accuracy of a sketch.
func near(got, want time.Duration) bool {
	diff := (got - want).Abs()
	return float64(diff) <= float64(want)*rum.Accuracy*1.01+float64(time.Microsecond)
}

// german writes an IPv4 address in Germany: its ASN, a network and a host.
func german(asn, network, host int) string { return fmt.Sprintf("20.%d.%d.%d", asn, network, host) }

const ms = time.Millisecond
