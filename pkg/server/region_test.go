package server_test

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"geodns/pkg/dnswire"
	"geodns/pkg/server"
)

// Slots of the regions of testTable's targets.
const (
	slotEU   = 1
	slotUS   = 2
	slotMany = server.RegionsCounted - 1
)

// testSlots are the slots by target: those that no test names are in slot 0.
func testSlots(w *server.World) []uint8 {
	slots := make([]uint8, w.Table().Targets())
	slots[targetEU], slots[targetUS] = slotEU, slotUS
	for i := range manyCount {
		slots[manyFirst+i] = slotMany
	}
	return slots
}

// regions makes the counters of a test's expectation.
func regions(counts map[int]uint64) (all [server.RegionsCounted]uint64) {
	for slot, n := range counts {
		all[slot] = n
	}
	return all
}

// TestRegions covers what is counted of each kind of answer: a target for each time that it is in one that is sent.
func TestRegions(t *testing.T) {
	nsid := &dns.EDNS0_NSID{Code: dns.EDNS0NSID}
	for _, c := range []struct {
		about  string
		query  []byte
		source netip.Addr
		want   map[int]uint64
	}{
		{"near EU", ask(t, "www.example.com.", dns.TypeA), clientEU, map[int]uint64{slotEU: 1}},
		{"near US by ECS", ask(t, "www.example.com.", dns.TypeAAAA, edns(1232, ecs("203.0.113.0/24"))), clientEU, map[int]uint64{slotUS: 1}},
		{"by an alias", ask(t, "link.example.com.", dns.TypeA), clientEU, map[int]uint64{slotEU: 1}},
		{"an alias alone", ask(t, "link.example.com.", dns.TypeA, edns(1232, ecs("203.0.113.0/24"))), clientEU, nil},
		{"all down, served all the same", ask(t, "v4.example.com.", dns.TypeA), clientEU, map[int]uint64{0: 1}},
		{"a host name", ask(t, "host.example.com.", dns.TypeA), clientEU, map[int]uint64{0: 1}},
		{"several targets", ask(t, "many.example.com.", dns.TypeA), clientEU, map[int]uint64{slotMany: manyCount}},
		{"cut off", ask(t, "many.example.com.", dns.TypeAAAA), clientEU, nil},
		{"no target", ask(t, "dead.example.com.", dns.TypeA), clientEU, nil},
		{"no such type", ask(t, "www.example.com.", dns.TypeMX), clientEU, nil},
		{"static", ask(t, "static.example.com.", dns.TypeA, edns(1232, nsid)), clientEU, nil},
	} {
		w := testWorld(t)
		r, err := server.NewResponder(server.Config{Identity: "pop-1"}, w)
		if err != nil {
			t.Fatal(err)
		}
		transport, room := server.UDP, server.BufferLen
		if c.about == "several targets" {
			transport, room = server.TCP, dnswire.MessageMax
		}
		r.Answer(transport, c.source, c.query, room)
		if got := r.Stats().Regions; got != regions(c.want) {
			t.Errorf("%s: counted %v", c.about, got)
		}
	}
}

// TestRegionsOverSwaps shows that counts go on with newer states and other slots, and that workers are summed up.
func TestRegionsOverSwaps(t *testing.T) {
	w := testWorld(t)
	s := serve(t, server.Config{Workers: 2}, w)
	query := ask(t, "www.example.com.", dns.TypeA)
	for range 8 {
		exchange(t, "udp", s.Addrs()[0], query)
		exchange(t, "tcp", s.Addrs()[0], query)
	}
	next, err := w.WithStates(testStates(t, w.Table(), targetEU))
	if err != nil {
		t.Fatal(err)
	}
	s.Publish(next)
	exchange(t, "udp", s.Addrs()[0], query)
	other := testSlots(w)
	other[targetUS] = slotMany
	if next, err = next.WithRegions(other); err != nil {
		t.Fatal(err)
	}
	s.Publish(next)
	exchange(t, "udp", s.Addrs()[0], query)
	local := uint64(8 + 8) // 127.0.0.1 is in the lower half
	if got := s.Stats().Regions; got != regions(map[int]uint64{slotEU: local, slotUS: 1, slotMany: 1}) {
		t.Errorf("counted %v", got)
	}
}

func TestWithRegionsRefuses(t *testing.T) {
	w := testWorld(t)
	if _, err := w.WithRegions(nil); err == nil {
		t.Error("no slots are taken")
	}
	slots := testSlots(w)
	slots[0] = server.RegionsCounted
	if _, err := w.WithRegions(slots); err == nil {
		t.Error("a slot that there is not is taken")
	}
}
