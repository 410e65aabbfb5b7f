package server_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"geodns/internal/dnstest"
	"geodns/pkg/server"
)

// TestReadAhead holds the answers of batches, which are read ahead, against those to the same queries one at a time, which are not.
func TestReadAhead(t *testing.T) {
	r := rand.New(rand.NewPCG(dnstest.Seed(t), 0))
	w := testWorld(t)
	names := []string{"static", "www", "a.wild", "v4", "many", "dead", "host", "link", "far", "x.sub", "x.star", "none"}
	types := []uint16{dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeANY}
	for range 100 {
		queries := make([][]byte, 1+r.IntN(3*server.BatchMax))
		for i := range queries {
			name := names[r.IntN(len(names))] + ".example.com."
			q := ask(t, name, types[r.IntN(len(types))])
			var a [16]byte
			for j := range a {
				a[j] = byte(r.Uint32())
			}
			switch r.IntN(5) {
			case 0:
				q = ask(t, name, dns.TypeA, edns(1232, ecs(netip.PrefixFrom(netip.AddrFrom4([4]byte(a[:])), r.IntN(33)).Masked().String())))
			case 1:
				q = ask(t, name, dns.TypeAAAA, edns(1232, ecs(netip.PrefixFrom(netip.AddrFrom16(a), r.IntN(129)).Masked().String())))
			case 2:
				q = q[:r.IntN(len(q)+1)]
			}
			queries[i] = q
		}
		batch, single := (&workload{}).responder(t, w), (&workload{}).responder(t, w)
		batch.Fill(queries, clientEU)
		batch.AnswerBatch()
		for i, got := range batch.Batch() {
			if want := single.Answer(server.UDP, clientEU, queries[i], server.BufferLen); !bytes.Equal(got, want) {
				t.Fatalf("query %d of %d, %x: %x in a batch, %x alone", i, len(queries), queries[i], got, want)
			}
		}
		if got, want := fmt.Sprint(batch.Stats()), fmt.Sprint(single.Stats()); got != want {
			t.Fatalf("counted %s in a batch, %s one at a time", got, want)
		}
	}
}

// TestWorkersApart looks at where workers write: no two of them to one cache line.
func TestWorkersApart(t *testing.T) {
	all, err := server.NewResponders(server.Config{}, testWorld(t), 8)
	if err != nil {
		t.Fatal(err)
	}
	owner := map[uintptr]int{}
	for i, r := range all {
		for n, span := range r.Written() {
			for line := span[0] / server.CacheLine; line <= (span[1]-1)/server.CacheLine; line++ {
				if other, taken := owner[line]; taken && other != i {
					t.Errorf("place %d of worker %d: %x to %x shares a cache line with worker %d", n, i, span[0], span[1], other)
				}
				owner[line] = i
			}
		}
	}
}
