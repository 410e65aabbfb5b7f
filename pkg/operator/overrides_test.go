package operator_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"geodns/internal/dnstest"
	"geodns/pkg/operator"
	"geodns/pkg/policy"
	"geodns/pkg/steering"
)

// seededLeases gives a generator whose seed is logged.
func seededLeases(t testing.TB) *rand.Rand {
	t.Helper()
	return rand.New(rand.NewPCG(dnstest.Seed(t), 0))
}

// noon is the time of tests.
func noon() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// slowApply is Overrides.Apply as one would say it.
func slowApply(leases []operator.Lease, t *policy.Target, v steering.Verdict, now time.Time) steering.Verdict {
	words := []string{"up", "degraded", "down"}
	worst, least := -1, uint16(steering.AdmitAll)
	for i := range leases {
		l := &leases[i]
		if !l.Active(now) || !l.Object.Touches(t) {
			continue
		}
		if l.Action == operator.Drain {
			v.Drained = true
		}
		worst = max(worst, slices.Index(words, l.State))
		if l.Admit != nil {
			least = min(least, uint16(*l.Admit*steering.AdmitAll+0.5))
		}
	}
	if worst >= 0 {
		state := []steering.State{steering.Up, steering.Degraded, steering.Down}[worst]
		if state != steering.Degraded || v.State != steering.Degraded {
			v.Admit = steering.AdmitAll
		}
		v.State, v.InDoubt = state, false
	}
	v.Admit = min(v.Admit, least)
	return v
}

// randomObject is something that a target is or has, or nothing is.
func randomObject(random *rand.Rand, x *policy.Target) operator.Object {
	tags := slices.Concat(x.Tags, []string{"none"})
	return []operator.Object{
		{Kind: operator.KindTarget, Name: x.ID},
		{Kind: operator.KindPool, Name: x.Pool.Name},
		{Kind: operator.KindRegion, Name: x.Region.Name},
		{Kind: operator.KindTag, Name: tags[random.IntN(len(tags))]},
	}[random.IntN(4)]
}

// randomLease is a lease that is active at noon two times of three.
func randomLease(random *rand.Rand, id int, x *policy.Target) operator.Lease {
	l := operator.Lease{ID: fmt.Sprint("l", id), Action: operator.Drain, Object: randomObject(random, x), Expires: noon().Add(time.Hour)}
	if random.IntN(3) > 0 {
		l.Action, l.State = operator.Set, []string{"", "up", "degraded", "down"}[random.IntN(4)]
		if l.State == "" || random.IntN(2) == 0 {
			l.Admit = new(float64(random.IntN(11)) / 10)
		}
	}
	switch random.IntN(6) {
	case 0:
		l.Expires = noon()
	case 1:
		l.Ended = noon().Add(-time.Minute)
	}
	return l
}

// TestOverridesTwin compares Apply and Of with going over all leases.
func TestOverridesTwin(t *testing.T) {
	random := seededLeases(t)
	targets := compile(t, sitesText).Document.Targets
	for range 3000 {
		var leases []operator.Lease
		for i := range random.IntN(8) {
			leases = append(leases, randomLease(random, i, targets[random.IntN(len(targets))]))
		}
		o := operator.NewOverrides(pointers(leases), noon())
		for _, x := range targets {
			v := steering.Verdict{
				State: steering.State(random.IntN(4)), InDoubt: random.IntN(2) == 0, Drained: random.IntN(9) == 0, Admit: uint16(random.Uint32()),
			}
			if got, want := o.Apply(x, v), slowApply(leases, x, v, noon()); got != want {
				t.Fatalf("target %s, %+v:\ngot  %+v\nwant %+v\n%+v", x.ID, v, got, want, leases)
			}
			var ids []string
			for _, l := range leases {
				if l.Active(noon()) && l.Object.Touches(x) {
					ids = append(ids, l.ID)
				}
			}
			var got []string
			for _, l := range o.Of(x) {
				got = append(got, l.ID)
			}
			if !slices.Equal(got, ids) {
				t.Fatalf("target %s is touched by %v, got %v", x.ID, ids, got)
			}
		}
	}
}

// pointers goes over leases.
func pointers(leases []operator.Lease) func(func(*operator.Lease) bool) {
	return func(yield func(*operator.Lease) bool) {
		for i := range leases {
			if !yield(&leases[i]) {
				return
			}
		}
	}
}

// TestNoOverrides holds that nil does nothing, and that a small part is not none.
func TestNoOverrides(t *testing.T) {
	x := target(t, compile(t, sitesText), "web/fra1")
	var o *operator.Overrides
	if v := o.Apply(x, down()); v != down() || o.Of(x) != nil {
		t.Errorf("nil made %+v and %v", v, o.Of(x))
	}
	l := operator.Lease{Action: operator.Set, Object: object("target web/fra1"), Admit: new(1e-9), Expires: noon().Add(1)}
	if v := operator.NewOverrides(pointers([]operator.Lease{l}), noon()).Apply(x, steering.Unchecked()); v.Admit != 1 {
		t.Errorf("a billionth became %d", v.Admit)
	}
}

// fleetText is a fleet of many targets, as a large owner has it.
func fleetText(pools int) string {
	var text strings.Builder
	text.WriteString("regions:\n")
	for i := range 20 {
		fmt.Fprintf(&text, "  - {name: r%d, location: [%d, %d]}\n", i, i*5-50, i*17-170)
	}
	text.WriteString("pools:\n")
	for i := range pools {
		fmt.Fprintf(&text, "  - name: p%d\n    targets:\n", i)
		for j := range 10 {
			fmt.Fprintf(&text, "      - {name: t%d, region: r%d, values: [10.%d.%d.%d], tags: [x%d, y%d]}\n", j, (i+j)%20, i/250, i%250, j+1, i%7, j)
		}
	}
	text.WriteString("policies:\n")
	for i := range pools {
		fmt.Fprintf(&text, "  - {name: q%d, all_down: serve-all, rules: [{name: all, pool: p%d, rank: [nearest]}]}\n", i, i)
	}
	return text.String()
}

// BenchmarkApply applies 1,000 leases to 10,000 targets.
func BenchmarkApply(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 1))
	targets := compile(b, fleetText(1000)).Document.Targets
	var leases []operator.Lease
	for i := range 1000 {
		leases = append(leases, randomLease(random, i, targets[random.IntN(len(targets))]))
	}
	o := operator.NewOverrides(pointers(leases), noon())
	b.ReportAllocs()
	for b.Loop() {
		for _, x := range targets {
			o.Apply(x, steering.Unchecked())
		}
	}
}

// BenchmarkGuards compares 10,000 targets of 1,000 policies.
func BenchmarkGuards(b *testing.B) {
	c := compile(b, fleetText(1000))
	o := operator.NewOverrides(pointers([]operator.Lease{{Action: operator.Drain, Object: object("region r3"), Expires: noon().Add(1)}}), noon())
	before := func(*policy.Target) steering.Verdict { return steering.Unchecked() }
	for b.Loop() {
		operator.Guards(c, before, func(t *policy.Target) steering.Verdict { return o.Apply(t, steering.Unchecked()) })
	}
}
