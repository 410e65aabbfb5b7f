package rum_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"geodns/pkg/rum"
)

// honest fills networks of ASNs in Germany: from fra some 20 ms, from iad some 95.
func (w *world) honest(asns, networks, sources int) {
	random := rand.New(rand.NewPCG(1, 1))
	for asn := range asns {
		for i := range networks {
			for source := range sources {
				client := netip.MustParseAddr(german(1+asn, i, source))
				w.adds(rum.Sample{Client: client, Region: "fra", Latency: time.Duration((18 + random.ExpFloat64()*4) * float64(ms))})
				w.adds(rum.Sample{Client: client, Region: "iad", Latency: time.Duration((92 + random.ExpFloat64()*6) * float64(ms))})
			}
		}
	}
}

// lie is what an attacker says of the regions.
type lie struct {
	fra, iad rum.Sample
}

var lies = map[string]lie{
	"swapped":    {rum.Sample{Latency: 400 * ms}, rum.Sample{Latency: 61 * ms}},
	"slow":       {rum.Sample{Latency: time.Minute}, rum.Sample{Latency: time.Minute}},
	"failed":     {rum.Sample{Failed: true}, rum.Sample{Latency: 61 * ms}},
	"all failed": {rum.Sample{Failed: true}, rum.Sample{Failed: true}},
	"fast":       {rum.Sample{Latency: ms}, rum.Sample{Latency: 61 * ms}},
}

// floods sends a lie from all sources of a network until nothing more counts.
func (w *world) floods(network string, l lie, sources int) {
	base := netip.MustParseAddr(network).As4()
	for range 30 {
		for source := range sources {
			base[3] = byte(255 - source)
			l.fra.Client, l.iad.Client = netip.AddrFrom4(base), netip.AddrFrom4(base)
			l.fra.Region, l.iad.Region = "fra", "iad"
			w.Add([]rum.Sample{l.fra, l.iad})
		}
	}
}

// pours sends that many copies of a sample from 20 to 64 sources in turn; some may be refused, as sources share registers.
func (w *world) pours(network string, count int, s rum.Sample) {
	base := netip.MustParseAddr(network).As4()
	for i := range count {
		base[3] = byte(i % max(20, min(count/5, 64)))
		s.Client = netip.AddrFrom4(base)
		w.Add([]rum.Sample{s})
	}
}

// TestPoisonTenth covers attackers with a tenth of all networks who send without end: no order changes, no quantile moves by as much
// as a band, no error is believed, and the networks of others say what they said.
func TestPoisonTenth(t *testing.T) {
	t.Parallel()
	options := rum.Options{Percentile: 75, MinSamples: 50, JitterWeight: 0.5, ErrorWeight: 500 * ms, MaxAge: time.Minute}
	for name, l := range lies {
		clean, poisoned := newWorld(t, nil), newWorld(t, nil)
		for _, w := range []*world{clean, poisoned} {
			w.honest(9, 20, 3)
		}
		for i := range 18 {
			poisoned.floods(german(1+i%9, 100+i, 0), l, 256)
		}
		clean.Tick(clean.now())
		poisoned.Tick(poisoned.now())
		for _, rung := range []string{"DE", "EU", "AS1 in DE", "AS9 in DE"} {
			before, after := clean.shown(rung), poisoned.shown(rung)
			for region := range before {
				for _, moved := range []time.Duration{after[region].P50 - before[region].P50, after[region].P75 - before[region].P75} {
					if moved.Abs() > 5*ms {
						t.Errorf("%s: %s of %s has moved by %v", name, region, rung, moved)
					}
				}
				if errors := after[region].Errors; errors > 0 {
					t.Errorf("%s: errors of %s in %s are %v", name, region, rung, errors)
				}
			}
		}
		p := netip.MustParsePrefix("20.1.1.0/24")
		rung, scores, ok := poisoned.View().Scores(p, place(p.Addr()), options)
		if !ok || scores[0].Region != "fra" || scores[1].Score-scores[0].Score < 40*ms {
			t.Errorf("%s: %v says %+v", name, rung, scores)
		}
	}
}

// TestPoisonNetworksOfOthers covers that what others send changes nothing of what a network itself says.
func TestPoisonNetworksOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.honest(1, 10, 20)
	w.Tick(w.now())
	before := w.shown("20.1.3.0/24")
	for i := range 100 {
		w.floods(german(1, 100+i, 0), lies["swapped"], 50)
	}
	w.Tick(w.now())
	if after := w.shown("20.1.3.0/24"); before == nil || after["fra"].P75 != before["fra"].P75 || after["iad"].P95 != before["iad"].P95 {
		t.Errorf("%+v, want %+v", after, before)
	}
}

// TestPoisonSource covers one source that floods its own network.
func TestPoisonSource(t *testing.T) {
	t.Parallel()
	for name, l := range lies {
		w := newWorld(t, nil)
		w.honest(1, 1, 60)
		w.Tick(w.now())
		before := w.shown("20.1.0.0/24")
		w.floods("20.1.0.0", l, 1)
		w.Tick(w.now())
		after := w.shown("20.1.0.0/24")
		for region := range before {
			if moved := (after[region].P75 - before[region].P75).Abs(); moved > 5*ms {
				t.Errorf("%s: %s has moved by %v", name, region, moved)
			}
			if added := after[region].Errors - before[region].Errors; added > 0.02 {
				t.Errorf("%s: of %s one source has %v fail", name, region, added)
			}
			if added := after[region].Samples - before[region].Samples; added > rum.SourceBudget {
				t.Errorf("%s: %v samples of one source count", name, added)
			}
		}
	}
}

// TestPoisonNetwork covers one network of four that floods: it is a quarter of the rung's weight and half of its samples at most.
func TestPoisonNetwork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.honest(1, 3, 5)
	w.floods("20.1.9.0", lies["swapped"], 256)
	w.Tick(w.now())
	fra := w.shown("AS1 in DE")["fra"]
	if fra.P50 > 30*ms || fra.P75 > 40*ms || fra.Samples > 30 {
		t.Errorf("one of four networks moves the rung: %+v", fra)
	}
}

// TestPoisonASN covers one ASN with more networks than all others: it is half of its country.
func TestPoisonASN(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.honest(4, 10, 3)
	for i := range 200 {
		w.floods(german(200, i, 0), lies["swapped"], 10)
	}
	w.Tick(w.now())
	if fra := w.shown("DE")["fra"]; fra.P50 > 60*ms {
		t.Errorf("one of five ASNs moves its country: %+v", fra)
	}
}

// TestPoisonAllocation covers one IPv6 allocation of which thousands of networks lie.
func TestPoisonAllocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.honest(9, 20, 3)
	for i := range 5000 {
		client := netip.AddrFrom16([16]byte{0x2a, 0, 0, 0, byte(i >> 8), byte(i), 15: 1})
		w.Add([]rum.Sample{{Client: client, Region: "fra", Latency: 400 * ms}, {Client: client, Region: "iad", Latency: 61 * ms}})
	}
	w.Tick(w.now())
	for _, rung := range []string{"DE", "EU"} {
		if fra := w.shown(rung)["fra"]; fra.P75 > 30*ms {
			t.Errorf("one allocation moves %s: %+v", rung, fra)
		}
	}
}

// TestHeld covers that a rung that moves too fast is held, shown as held, counted, and believed once it lasts.
func TestHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.fill("20.1.1.0", 60, "fra", 20*ms)
	w.pass(rum.IntervalDefault)
	before := w.shown("20.1.1.0/24")["fra"]
	w.pours("20.1.1.0", 64*5, rum.Sample{Region: "fra", Latency: 800 * ms})
	w.pass(rum.IntervalDefault)
	held := func() string {
		at := slices.IndexFunc(w.View().Rungs(), func(s rum.Summary) bool { return s.Rung.String() == "20.1.1.0/24" })
		if at < 0 {
			return "gone"
		}
		return w.View().Rungs()[at].Held
	}
	after := w.shown("20.1.1.0/24")["fra"]
	if held() == "" || after.P75 != before.P75 || w.Stats().Held != 1 || after.Age <= before.Age {
		t.Errorf("held %q, %+v, want %+v; %+v", held(), after, before, w.Stats())
	}
	w.pass(rum.HeldFor - rum.IntervalDefault)
	if held() == "" {
		t.Error("it is not held for long")
	}
	w.pass(rum.IntervalDefault)
	if got := w.shown("20.1.1.0/24")["fra"]; held() != "" || !near(got.P75, 800*ms) || w.Stats().Held != 0 {
		t.Errorf("after %v: held %q, %+v", rum.HeldFor, held(), got)
	}
}

// TestHeldErrors covers the same for errors, and that what goes back is not held on.
func TestHeldErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.fill("20.1.1.0", 20, "fra", 20*ms)
	w.Tick(w.now())
	w.fails("20.1.1.0", 40, "fra")
	w.Tick(w.now())
	if got := w.shown("20.1.1.0/24")["fra"]; got.Errors != 0 || w.Stats().Held != 1 {
		t.Errorf("errors are believed at once: %+v", got)
	}
	w.pours("20.1.1.0", 20*3, rum.Sample{Region: "fra", Latency: 20 * ms})
	w.Tick(w.now())
	if got := w.shown("20.1.1.0/24")["fra"]; got.Errors < 0.3 || got.Errors > 0.5 || w.Stats().Held != 0 {
		t.Errorf("%+v is held on", got)
	}
}

// TestPoisonDelegation covers one line of IPv6 that has a /56 of its own: it does not speak for the rest of its /48.
func TestPoisonDelegation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	client := netip.MustParseAddr("2a00:1:2:300::1").As16()
	accepted := 0
	for range 10 {
		for network := range 256 {
			client[7] = byte(network)
			accepted += w.Add([]rum.Sample{{Client: netip.AddrFrom16(client), Region: "fra", Latency: 400 * ms}}).Accepted
		}
	}
	w.Tick(w.now())
	if got := w.shown("2a00:1:2::/48"); got != nil || accepted != rum.SourceBudget {
		t.Errorf("%d samples count, and it says %+v", accepted, got)
	}
}

// TestPoisonRegion: a network with sources enough says nothing of a region that one of them alone measures, however often.
func TestPoisonRegion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	network := german(1, 1, 0)
	base := netip.MustParseAddr(network).As4()
	for source := range 20 {
		base[3] = byte(source)
		w.Add([]rum.Sample{{Client: netip.AddrFrom4(base), Region: "fra", Latency: 20 * ms}})
	}
	for range rum.SourceBudget {
		w.Add([]rum.Sample{{Client: netip.AddrFrom4(base), Region: "iad", Latency: 61 * ms}})
	}
	w.Tick(w.now())
	shown := w.shown(netip.PrefixFrom(netip.AddrFrom4(base), 24).Masked().String())
	if _, says := shown["iad"]; says || len(shown) != 1 {
		t.Errorf("the network says %v, want what all of them measured alone", shown)
	}
}
