package server_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"geodns/pkg/server"
	"geodns/pkg/steering"
	"geodns/pkg/zone"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const exampleZone = `
$TTL 300
@       SOA   ns1 hostmaster 1 7200 3600 1209600 60
@       NS    ns1
ns1     A     192.0.2.53
static  A     192.0.2.1
static  TXT   "hello"
www     60 STEER www
*.wild  60 STEER www
v4      STEER v4only
many    STEER many
dead    STEER dead
host    STEER host
link    CNAME www
far     CNAME www.example.org.
sub     NS    ns.sub
ns.sub  A     192.0.2.99
*.star  A     192.0.2.7
` // and a set that does not fit 512 octets: see bigSet

// bigSet is an RRset of 100 addresses, 1,600 octets.
func bigSet() string {
	var b strings.Builder
	for i := range 100 {
		b.WriteString("big A 10.0.0." + string(rune('0'+i/10)) + string(rune('0'+i%10)) + "\n")
	}
	return strings.ReplaceAll(strings.ReplaceAll(b.String(), "10.0.0.0", "10.0.1."), "10.0.1.\n", "10.0.1.0\n")
}

// loadSet compiles zone files given by name.
func loadSet(t testing.TB, files map[string]string) *zone.Set {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set, findings := zone.Load(dir, 1)
	if set == nil {
		t.Fatalf("loading zones: %v", findings)
	}
	return set
}

// The policies of testTable, by number.
var testPolicies = map[string]steering.PolicyID{"www": 0, "v4only": 1, "many": 2, "dead": 3, "host": 4}

// Targets of testTable, by number: those of "many" begin at manyFirst.
const (
	targetEU = iota
	targetUS
	targetDead
	targetHost
	manyFirst
	manyCount = steering.AnswersMax
)

// testTable steers the lower half of each address space to EU and the upper half to US.
func testTable(t testing.TB) *steering.Table {
	t.Helper()
	v4 := func(s string) []netip.Addr { return []netip.Addr{netip.MustParseAddr(s)} }
	spec := &steering.Spec{
		Cells4: []steering.Cell{{Start: 0, Bits: 1}, {Start: 1 << 23, Bits: 1}},
		Cells6: []steering.Cell{{Start: 0, Bits: 1}, {Start: 1 << 55, Bits: 1}},
		Pools:  []steering.Pool{{}},
		Targets: []steering.Target{
			targetEU:   {Hash: 1, Weight: 1, V4: v4("192.0.2.10"), V6: v4("2001:db8:1::10")},
			targetUS:   {Hash: 2, Weight: 1, V4: v4("198.51.100.10"), V6: v4("2001:db8:2::10")},
			targetDead: {Hash: 3, Weight: 1, V4: v4("203.0.113.1")},
			targetHost: {Hash: 4, Weight: 1, Host: []byte("\x03cdn\x07example\x03net\x00")},
		},
		Layouts: []steering.Layout{
			{Entries: 2, ByClient: true, Classes: []uint32{0, 1, 0, 1}, Plans: []steering.Plan{{{0}, {1}}, {{1}, {0}}}},
			{Entries: 1, Classes: []uint32{0, 0, 0, 0}, Plans: []steering.Plan{{{0}}}},
			{Entries: manyCount, Classes: []uint32{0, 0, 0, 0}, Plans: []steering.Plan{{nil}}},
		},
	}
	all := make([]steering.TargetID, manyCount)
	for i := range all {
		all[i] = steering.TargetID(manyFirst + i)
		spec.Layouts[2].Plans[0][0] = append(spec.Layouts[2].Plans[0][0], uint16(i))
		var a4, a6 []netip.Addr
		for j := range 5 {
			a4 = append(a4, netip.AddrFrom4([4]byte{10, 1, byte(i), byte(j)}))
			a6 = append(a6, netip.AddrFrom16([16]byte{0x20, 1, 14: byte(i), 15: byte(j)}))
		}
		spec.Targets = append(spec.Targets, steering.Target{Hash: uint64(100 + i), Weight: 1, V4: a4, V6: a6})
	}
	spec.Policies = []steering.Policy{
		{Hash: 1, Layout: 0, Targets: []steering.TargetID{targetEU, targetUS}, TTLMin: 15, TTLMax: 30, Answers: 1},
		{Hash: 2, Layout: 1, Targets: []steering.TargetID{targetDead}, TTLMin: 15, TTLMax: 30, Answers: 1, AllDown: steering.ServeAll},
		{Hash: 3, Layout: 2, Targets: all, TTLMin: 15, TTLMax: 30, Answers: manyCount},
		{Hash: 4, Layout: 1, Targets: []steering.TargetID{targetDead}, TTLMin: 15, TTLMax: 30, Answers: 1, AllDown: steering.ServFail},
		{Hash: 5, Layout: 1, Targets: []steering.TargetID{targetHost}, TTLMin: 15, TTLMax: 30, Answers: 1},
	}
	table, err := steering.Build(spec)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// testStates has every target up but the given ones.
func testStates(t testing.TB, table *steering.Table, down ...steering.TargetID) *steering.States {
	t.Helper()
	verdicts := make([]steering.Verdict, table.Targets())
	for i := range verdicts {
		verdicts[i] = steering.Unchecked()
	}
	for _, id := range down {
		verdicts[id].State = steering.Down
	}
	states, err := steering.NewStates(table, verdicts)
	if err != nil {
		t.Fatal(err)
	}
	return states
}

func testWorld(t testing.TB) *server.World {
	t.Helper()
	table := testTable(t)
	set := loadSet(t, map[string]string{"example.com.zone": exampleZone + bigSet()})
	w, err := server.NewWorld(set, table, testStates(t, table, targetDead), testPolicies)
	if err != nil {
		t.Fatal(err)
	}
	if w, err = w.WithRegions(testSlots(w)); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestNewWorldRefuses(t *testing.T) {
	table, other := testTable(t), testTable(t)
	states := testStates(t, table)
	set := loadSet(t, map[string]string{"example.com.zone": exampleZone})
	fewer := map[string]steering.PolicyID{"www": 0}
	beyond := map[string]steering.PolicyID{"www": 0, "v4only": 1, "many": 2, "dead": 3, "host": 99}
	hostAtApex := loadSet(t, map[string]string{"example.org.zone": `
@ 60 SOA ns1 hostmaster 1 7200 3600 1209600 60
@ 60 NS ns1
ns1 60 A 192.0.2.53
@ 60 STEER host
`})
	for _, c := range []struct {
		about    string
		set      *zone.Set
		table    *steering.Table
		states   *steering.States
		policies map[string]steering.PolicyID
		want     string
	}{
		{"no zones", nil, table, states, testPolicies, "without zones"},
		{"no table", set, nil, states, testPolicies, "without a steering table"},
		{"no states", set, table, nil, testPolicies, "without target states"},
		{"states of another table", set, other, states, testPolicies, "of another steering table"},
		{"unknown policy", set, table, states, fewer, "which the steering table does not have; it has www"},
		{"policy number beyond the table", set, table, states, beyond, `policy "host"`},
		{"host name at the apex", hostAtApex, table, states, testPolicies, "apex"},
	} {
		t.Run(c.about, func(t *testing.T) {
			if w, err := server.NewWorld(c.set, c.table, c.states, c.policies); err == nil || w != nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("NewWorld gives %v, %v; want an error with %q", w, err, c.want)
			}
		})
	}
	w, err := server.NewWorld(set, table, states, testPolicies)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = w.WithStates(testStates(t, other)); err == nil {
		t.Error("WithStates takes states of another table")
	}
	if _, err = w.WithStates(nil); err == nil {
		t.Error("WithStates takes no states")
	}
	next, err := w.WithStates(testStates(t, table, targetEU))
	if err != nil || next.Set() != set || next.Table() != table || next.States() == states || w.States() != states {
		t.Errorf("WithStates: %v", err)
	}
}
