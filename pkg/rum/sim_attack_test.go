package rum_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"geodns/internal/dnstest"
	"geodns/pkg/rum"
)

const (
	// simLies is the part of the networks that lie, one in so many.
	simLies = 10
	// simFlood is how many samples a network that lies sends in an interval: more than its budget for the whole window.
	simFlood = 500
	// simWanted is the region that liars want others to be sent to, by number: far from most.
	simWanted = 3
	// simBelieved is what liars claim of other regions, in milliseconds, and what lies beyond the light's own time to theirs.
	simBelieved, simBeyond = 800, 1
)

// TestSimAttack has a tenth of the networks lie, at random or whole ASNs of them, and compares what the others are answered with what they are
// answered without. Two loops without liars differ a bit too, by which sources share a budget, and so there are two of them.
func TestSimAttack(t *testing.T) {
	seed, scale := dnstest.Seed(t), newSimScale()
	random := rand.New(rand.NewPCG(seed, 1<<32))
	w := newSimWorld(t, random, scale.networks, scale.clients)
	scattered := random.Perm(len(w.networks))[:len(w.networks)/simLies]
	names := []string{"control", "second control", "scattered liars", "liars of whole ASNs"}
	liars := [][]int{nil, nil, scattered, simASNs(w, random)}
	if !scale.whole {
		names = names[:3]
	}
	systems := make([]*simSystem, len(names))
	for k := range systems {
		systems[k] = newSimSystem(t, w, seed)
	}
	step := func() {
		for _, s := range systems {
			s.step()
		}
	}
	for systems[0].now.Before(simStart.Add(scale.warm)) {
		step()
	}
	for k, s := range systems {
		s.lies = map[int]simLiar{}
		for _, i := range liars[k] {
			s.lies[i] = w.lie
		}
	}
	// By system: answers, those that differ from the control's, and of these the ones that are what liars want, in all intervals.
	var answers, differ, wanted [4]float64
	var kinds [4][simNone + 1]float64 // those that differ, by the kind of rung that answers
	for end := systems[0].now.Add(scale.attacking); systems[0].now.Before(end); {
		step()
		for k, s := range systems {
			simTargets(t, s)
			for i := range w.networks {
				if s.lies[i] != nil {
					continue
				}
				answers[k]++
				if s.answers[i] != systems[0].answers[i] {
					differ[k]++
					kinds[k][s.rungs[i]]++
					if s.answers[i] == simWanted {
						wanted[k]++
					}
				}
			}
		}
	}
	for k, name := range names {
		if k == 0 {
			continue
		}
		// Networks that know by themselves hear no liar. Those that live on a rung above may: honest networks measure a far region seldom, so
		// that a tenth of the networks has more than a tenth of the votes on it, and of the few networks of a small country two can be a third.
		// In the short run one such country is more than a percent of all.
		bound := 6.0
		if scale.whole {
			bound = 1
		}
		if part, noise := 100*differ[k]/answers[k], 100*differ[1]/answers[1]; part > bound+noise {
			t.Errorf("%s: %.2f %% of the others' answers are not the control's, want %g %% or less, and %.2f %% without liars", name, part, bound, noise)
		}
		by := kinds[k]
		for kind := range by {
			by[kind] *= 100 / answers[k]
		}
		t.Logf("%-20s %4d of %d lie; of the others' answers %5.2f %% are not the control's (by prefix, asn, country, continent, none: %.2f %%), %5.2f %% are the region that liars want; last interval refused %v",
			name, len(liars[k]), len(w.networks), 100*differ[k]/answers[k], by, 100*wanted[k]/answers[k], systems[k].counts.Refused)
	}
}

// lie makes what a network sends that wants others to be sent to one region: as fast as light lets it be, all else slow, from every address.
func (w *simWorld) lie(n *simNetwork) []rum.Sample {
	out := make([]rum.Sample, 0, simFlood)
	for k := range simFlood {
		region := k % len(simRegionNames)
		ms := float64(simBelieved)
		if region == simWanted {
			at := w.locations[simRegionNames[region]]
			// The light of two ways in glass, less the kilometers by which a place may be wrong.
			ms = simBeyond + max(2*(simKilometers(n.place.Lat, n.place.Lon, at.Lat, at.Lon)-1000)/200, 0)
		}
		address := n.prefix.Addr().As4()
		address[3] = byte(1 + k/len(simRegionNames)%254)
		out = append(out, rum.Sample{
			Client: netip.AddrFrom4(address), Region: simRegionNames[region],
			Latency: time.Duration(ms * float64(time.Millisecond)),
		})
	}
	return out
}

// simASNs picks whole ASNs at random until a tenth of the networks is theirs.
func simASNs(w *simWorld, random *rand.Rand) (out []int) {
	members, asns := map[uint32][]int{}, []uint32{}
	for i := range w.networks {
		asn := w.networks[i].place.ASN
		if members[asn] == nil {
			asns = append(asns, asn)
		}
		members[asn] = append(members[asn], i)
	}
	random.Shuffle(len(asns), func(a, b int) { asns[a], asns[b] = asns[b], asns[a] })
	for _, asn := range asns {
		if len(out)+len(members[asn]) <= len(w.networks)/simLies {
			out = append(out, members[asn]...)
		}
	}
	slices.Sort(out)
	return out
}
