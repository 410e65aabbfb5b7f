package zone_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"geodns/internal/source"
	"geodns/pkg/zone"
)

// testSeed is the hash seed of tests that do not draw one.
const testSeed = 42

// writeZones makes a zones folder of files by name.
func writeZones(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// loadZones loads files and fails on any error found.
func loadZones(t testing.TB, files map[string]string) *zone.Set {
	t.Helper()
	set, found := zone.Load(writeZones(t, files), testSeed)
	if set == nil {
		t.Fatalf("loading: %v", found)
	}
	return set
}

// findingLines gives findings one a line, without the folder.
func findingLines(dir string, found source.Findings) string {
	var b strings.Builder
	for _, f := range found {
		b.WriteString(strings.TrimPrefix(strings.TrimPrefix(f.String(), dir+"/"), dir) + "\n")
	}
	return b.String()
}

// question is a query as tests ask it.
type question struct {
	name      string
	qtype     uint16
	limit     int
	firstLink bool
}

// wireName packs a presentation name.
func wireName(t testing.TB, name string) []byte {
	t.Helper()
	buf := make([]byte, 256)
	n, err := dns.PackDomainName(dns.Fqdn(name), buf, 0, nil, false)
	if err != nil {
		t.Fatalf("packing %q: %v", name, err)
	}
	return buf[:n]
}

// ask asks a Set as a server does: a message with the question in its own case, the folded name beside it. It gives the
// finished message.
func ask(t testing.TB, set *zone.Set, q question) ([]byte, zone.Reply) {
	t.Helper()
	name := wireName(t, q.name)
	msg := make([]byte, 12, 65535)
	binary.BigEndian.PutUint16(msg[4:], 1)
	msg = append(msg, name...)
	msg = binary.BigEndian.AppendUint16(msg, q.qtype)
	msg = append(msg, 0, 1)
	limit := q.limit
	if limit == 0 {
		limit = 65535
	}
	folded := []byte(strings.ToLower(string(name)))
	start := len(msg)
	out, r := set.Answer(msg, folded, dns.CountLabel(dns.Fqdn(q.name)), q.qtype, limit, q.firstLink)
	if len(out) > limit {
		t.Fatalf("%s %s: %d bytes with limit %d", q.name, dns.Type(q.qtype), len(out), limit)
	}
	if (r.Kind == zone.Outside || r.TC) && len(out) != start {
		t.Fatalf("%s %s: %+v but %d bytes appended", q.name, dns.Type(q.qtype), r, len(out)-start)
	}
	finish(out, r)
	return out, r
}

// finish writes a reply into its message's header.
func finish(msg []byte, r zone.Reply) {
	flags := uint16(0x8000) | uint16(r.Rcode)
	if r.AA {
		flags |= 0x0400
	}
	if r.TC {
		flags |= 0x0200
	}
	binary.BigEndian.PutUint16(msg[2:], flags)
	for i, n := range []uint16{r.AN, r.NS, r.AR} {
		binary.BigEndian.PutUint16(msg[6+2*i:], n)
	}
}

// unpack reads a message and fails if it does not parse to its end.
func unpack(t testing.TB, msg []byte) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(msg); err != nil {
		t.Fatalf("unpacking %x: %v", msg, err)
	}
	if n := len(m.Answer) + len(m.Ns) + len(m.Extra); n != int(binary.BigEndian.Uint16(msg[6:]))+int(binary.BigEndian.Uint16(msg[8:]))+int(binary.BigEndian.Uint16(msg[10:])) {
		t.Fatalf("the message holds %d records, its header says otherwise: %x", n, msg)
	}
	return m
}

// answerText asks and gives the answer as text: outcome, then the sections.
func answerText(t testing.TB, set *zone.Set, q question) string {
	t.Helper()
	msg, r := ask(t, set, q)
	var b strings.Builder
	switch r.Kind {
	case zone.Outside:
		return "OUTSIDE\n"
	case zone.Steered:
		owner, _, err := dns.UnpackDomainName(msg, int(r.Owner))
		if err != nil {
			t.Fatalf("owner of a steered reply: %v", err)
		}
		fmt.Fprintf(&b, "STEERED %s by %s ttl %d", owner, set.SteerPolicies()[r.Steer], r.TTL)
	case zone.Answered:
		b.WriteString(dns.RcodeToString[int(r.Rcode)])
	}
	if r.AA {
		b.WriteString(" aa")
	}
	if r.TC {
		b.WriteString(" tc")
	}
	b.WriteByte('\n')
	m := unpack(t, msg)
	for _, section := range []struct {
		name string
		rrs  []dns.RR
	}{{"answer", m.Answer}, {"authority", m.Ns}, {"additional", m.Extra}} {
		for _, rr := range section.rrs {
			fmt.Fprintf(&b, "  %-10s %s\n", section.name, strings.Join(strings.Fields(rr.String()), " "))
		}
	}
	return b.String()
}
