package zone

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"path"
	"slices"

	"github.com/miekg/dns"

	"geodns/internal/source"
)

// Set is the compiled answers of all zones of a folder. It never changes.
type Set struct {
	arena  []byte   // records and pieces
	slots  []uint64 // hash table
	mask   uint64
	hasher hasher
	root   uint32   // record of the root name
	soa    []uint32 // by zone: its negative piece

	zones    []Info
	policies []string
	steers   []Steer
	id       [8]byte
}

// Info describes one zone. Its index in Zones is its number in a Reply.
type Info struct {
	Origin  string // absolute, lower-case
	File    string
	Serial  uint32
	Records int // as in the file, without duplicates; STEER among them
	Names   int // that exist, empty non-terminals among them, without those of zones below that are loaded too
}

// Steer is one STEER record.
type Steer struct {
	Policy string
	Owner  string // absolute, lower-case
	Zone   string // the zone's origin
	TTL    uint32
	Place  source.Place
	Apex   bool // the owner is its zone's apex
	Alone  bool // the owner has no other record
}

// info describes a zone that owns so many names.
func (z *zoneData) info(dir string, names int) Info {
	soa := z.data(z.first(z.set(0, dns.TypeSOA)))
	return Info{
		Origin: z.text, File: path.Join(dir, z.file), Serial: binary.BigEndian.Uint32(soa[len(soa)-20:]), Records: len(z.order), Names: names,
	}
}

// Zones gives all zones in canonical order, a zone before those below it.
func (s *Set) Zones() []Info { return slices.Clone(s.zones) }

// Steers gives all STEER records, in the order of their zones.
func (s *Set) Steers() []Steer { return slices.Clone(s.steers) }

// SteerPolicies gives the names of all policies that STEER records name, each once. Reply.Steer is an index into it.
func (s *Set) SteerPolicies() []string { return slices.Clone(s.policies) }

// ID is a hash of all that answers are made of: equal files give equal ids, on every node.
func (s *Set) ID() string { return hex.EncodeToString(s.id[:]) }

// Size gives the bytes of memory that the answers and the hash table take.
func (s *Set) Size() int { return len(s.arena) + 8*len(s.slots) }

// Resolved is what the zones say of a host's addresses.
type Resolved struct {
	Outside bool         // the name, or what its CNAMEs lead to, is in none of the zones
	Steered bool         // it is steered, by a policy: its addresses are not fixed
	Addrs   []netip.Addr // IPv4 first; none: the name has none, or does not exist
	TTL     uint32       // the lowest of all records used; 0 without addresses
}

// Resolve gives the addresses of a host of the zones. host is a name in presentation form. CNAMEs are followed from zone to
// zone.
func (s *Set) Resolve(host string) Resolved {
	name, err := appendName(nil, []byte(host), []byte{0})
	if err != nil {
		return Resolved{Outside: true}
	}
	fold(name)
	var out Resolved
	for _, typ := range []uint16{dns.TypeA, dns.TypeAAAA} {
		next := name
		for range chainMax {
			if next = s.resolveStep(next, typ, &out); next == nil {
				break
			}
		}
		if next != nil || out.Outside || out.Steered {
			return Resolved{Outside: out.Outside || next != nil, Steered: out.Steered}
		}
	}
	if len(out.Addrs) == 0 {
		out.TTL = 0
	}
	return out
}

// resolveStep asks for one type of address and adds what is found. It gives the name at which to go on, if the answer is a
// chain that leaves its zone, or nil.
func (s *Set) resolveStep(name []byte, typ uint16, out *Resolved) []byte {
	msg := append(make([]byte, questionAt, msgMax), name...)
	msg = append(msg, byte(typ>>8), byte(typ), 0, 1)
	msg, r := s.Answer(msg, name, labelCount(name), typ, msgMax, false)
	if r.Kind != Answered {
		out.Outside, out.Steered = r.Kind == Outside, r.Kind == Steered
		return nil
	}
	for i, n := range []uint16{1, r.AN, r.NS, r.AR} {
		binary.BigEndian.PutUint16(msg[4+2*i:], n)
	}
	var m dns.Msg
	if err := m.Unpack(msg); err != nil {
		return nil
	}
	last, found := "", false
	for _, rr := range m.Answer {
		addr := netip.Addr{}
		switch rr := rr.(type) {
		case *dns.A:
			addr, _ = netip.AddrFromSlice(rr.A.To4())
		case *dns.AAAA:
			addr, _ = netip.AddrFromSlice(rr.AAAA.To16())
		case *dns.CNAME:
			last = rr.Target
		}
		if addr.IsValid() {
			out.Addrs, found = append(out.Addrs, addr), true
		}
		if ttl := rr.Header().Ttl; out.TTL == 0 || ttl < out.TTL {
			out.TTL = ttl
		}
	}
	if found || len(m.Ns) > 0 && m.Ns[0].Header().Rrtype == dns.TypeSOA {
		return nil
	}
	next, err := appendName(nil, []byte(last), []byte{0})
	if last == "" || r.NS > 0 || err != nil { // a referral
		out.Outside = true
		return nil
	}
	fold(next)
	return next
}
