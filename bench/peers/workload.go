//go:build linux

package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
)

// size says how large the workloads are.
type size struct {
	hosts     int // static names of each kind in the small zone
	steered   int // steered names
	million   int // names of the large zone
	questions int // of each workload
	slash16   int // of the geo database: every n-th /16 is in it
	cities    int // of it: for each unit of a country's weight
}

// fullSize is what is measured: a City database of a million networks, a zone of a million names.
func fullSize() size {
	return size{hosts: 1000, steered: 100, million: 1_000_000, questions: 500_000, slash16: 1, cities: 20}
}

// The streams of random numbers that one seed gives, so that one workload does not depend on whether another is made.
const (
	streamStatic = iota + 1
	streamGeo
	streamSteered
	streamMillion
)

// record is a line of a zone file; its owner is relative to the origin, or "@".
type record struct{ owner, kind, data string }

// workload is a zone with the questions that are asked of it.
type workload struct {
	name, about string
	origin      string
	records     []record
	steered     []string // owners of records that the policy stands for
	database    string   // file of the geo database, where names are steered
	questions   questions
}

// workloadNames are all workloads.
func workloadNames() []string { return []string{"w1", "w2", "w3"} }

// newWorkload makes a workload by its name; its geo database, if it has one, goes into dir.
func newWorkload(name, dir string, s size, seed uint64) (*workload, error) {
	switch name {
	case "w1":
		return staticWorkload(s, seed), nil
	case "w2":
		return steeredWorkload(dir, s, seed)
	default:
		return millionWorkload(s, seed), nil
	}
}

func hostAddress(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}) }

func hostAddress6(i int) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 14: byte(i >> 8), 15: byte(i)})
}

// apex is what every zone here begins with.
func apex() []record {
	return []record{
		{"@", "SOA", "ns1 hostmaster 1 7200 1800 1209600 300"},
		{"@", "NS", "ns1"},
		{"@", "NS", "ns2"},
		{"ns1", "A", "192.0.2.1"},
		{"ns2", "A", "192.0.2.2"},
	}
}

// aliases is how many hosts there are for each alias.
const aliases = 10

// staticZone has addresses of both families, aliases, mail, text, a wildcard and a delegation.
func staticZone(hosts int) []record {
	records := append(apex(),
		record{"@", "MX", "10 mail"},
		record{"@", "TXT", `"v=spf1 -all"`},
		record{"mail", "A", "192.0.2.3"},
		record{"*.any", "A", "192.0.2.4"},
		record{"child", "NS", "ns.child"},
		record{"ns.child", "A", "192.0.2.5"})
	for i := range hosts {
		records = append(records,
			record{fmt.Sprintf("host%d", i), "A", hostAddress(i).String()},
			record{fmt.Sprintf("six%d", i), "AAAA", hostAddress6(i).String()})
		if i%aliases == 0 {
			records = append(records, record{fmt.Sprintf("alias%d", i), "CNAME", fmt.Sprintf("host%d", i)})
		}
	}
	return records
}

// staticWorkload is w1: of a hundred questions 60 are for A, 16 for AAAA, 5 for aliases, 6 for names that are not there, 3 for
// types that are not there, 4 below the wildcard, 3 below the delegation, 3 for mail and text.
func staticWorkload(s size, seed uint64) *workload {
	w := &workload{name: "w1", about: "a small static zone: mixed types, misses, a wildcard, a delegation", origin: "example.com", records: staticZone(s.hosts)}
	r := rand.New(rand.NewPCG(seed, streamStatic))
	ask := func(owner string, kind uint16, want want) {
		w.questions.add(owner+"."+w.origin, kind, netip.Prefix{}, want)
	}
	wildcard := netip.MustParseAddr("192.0.2.4")
	for range s.questions {
		i := r.IntN(s.hosts)
		switch p := r.IntN(100); {
		case p < 60:
			ask(fmt.Sprintf("host%d", i), typeA, wantAddress(hostAddress(i), 1))
		case p < 76:
			ask(fmt.Sprintf("six%d", i), typeAAAA, wantAddress(hostAddress6(i), 1))
		case p < 81:
			i -= i % aliases
			ask(fmt.Sprintf("alias%d", i), typeA, wantAddress(hostAddress(i), 2))
		case p < 87:
			ask(fmt.Sprintf("none%d", r.Uint32()), typeA, want{rcode: rcodeNXDomain})
		case p < 90:
			ask(fmt.Sprintf("host%d", i), typeMX, want{})
		case p < 94:
			ask(fmt.Sprintf("x%d.any", r.Uint32()), typeA, wantAddress(wildcard, 1))
		case p < 97:
			ask(fmt.Sprintf("x%d.child", r.Uint32()), typeA, want{referral: true})
		case p < 98:
			w.questions.add(w.origin, typeMX, netip.Prefix{}, want{answers: 1, kind: typeMX})
		default:
			w.questions.add(w.origin, typeTXT, netip.Prefix{}, want{answers: 1, kind: typeTXT, data: [16]byte([]byte("\x0bv=spf1 -all\x00\x00\x00\x00")), size: 12})
		}
	}
	return w
}

// millionWorkload is w3: questions for random names of a zone so large that no cache holds it.
func millionWorkload(s size, seed uint64) *workload {
	w := &workload{name: "w3", about: fmt.Sprintf("a zone of %d names, asked at random", s.million), origin: "big.example", records: apex()}
	// An odd factor gives every i another number of 48 bits, and looks random.
	label := func(i int) string { return strconv.FormatUint(uint64(i+1)*0x9E3779B97F4A7C15&(1<<48-1), 36) }
	address := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	for i := range s.million {
		w.records = append(w.records, record{label(i), "A", address(i).String()})
	}
	r := rand.New(rand.NewPCG(seed, streamMillion))
	for range s.questions {
		i := r.IntN(s.million)
		w.questions.add(label(i)+"."+w.origin, typeA, netip.Prefix{}, wantAddress(address(i), 1))
	}
	return w
}

// writeZone writes the zone as a master file, with the lines that steer gives for the steered owners.
func (w *workload) writeZone(file string, steer func(owner string) string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(f)
	fmt.Fprintf(b, "$ORIGIN %s.\n$TTL %d\n", w.origin, zoneTTL)
	for _, r := range w.records {
		fmt.Fprintf(b, "%s\t%d\t%s\t%s\n", r.owner, zoneTTL, r.kind, r.data)
	}
	for _, owner := range w.steered {
		fmt.Fprintf(b, "%s\t%d\t%s\n", owner, zoneTTL, steer(owner))
	}
	if err := b.Flush(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// zoneTTL is the TTL of every record, in seconds.
const zoneTTL = 300
