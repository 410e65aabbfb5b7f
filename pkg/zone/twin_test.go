package zone_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"geodns/internal/dnstest"
	"geodns/internal/source"
	"geodns/pkg/zone"
)

// A twin answers as a Set does, slowly and straight from RFC 1034 section 4.3.2, RFC 4592, RFC 6672 and design.md, on records in
// maps.
type twin struct {
	zones map[string]map[string][]dns.RR // by origin, by owner; an existing name without data has an empty list
}

// steerRR stands for a STEER record in a twin.
type steerRR struct {
	dns.RR

	policy string
}

// twinAnswer is what a twin answers.
type twinAnswer struct {
	source     string // of the last link: the name itself, or the wildcard that stands for it
	outside    bool
	rcode      int
	aa         bool
	answer, ns []dns.RR
	steer      *steerRR
	steerOwner string
}

// newTwin reads the records that makeZones wrote.
func newTwin(t testing.TB, files map[string]string) *twin {
	t.Helper()
	tw := &twin{zones: map[string]map[string][]dns.RR{}}
	for file, text := range files {
		origin := strings.TrimSuffix(file, "zone")
		names := map[string][]dns.RR{}
		tw.zones[origin] = names
		for line := range strings.Lines(text) {
			f := strings.Fields(line)
			if f[2] == "STEER" {
				rr := steerRR{RR: &dns.RFC3597{Hdr: dns.RR_Header{Name: f[0], Rrtype: 65400, Ttl: 60}}, policy: f[3]}
				names[f[0]] = append(names[f[0]], &rr)
				continue
			}
			rr, err := dns.NewRR(line)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			low := rr.Header().Ttl
			for _, o := range names[f[0]] {
				if o.Header().Rrtype == rr.Header().Rrtype {
					low = min(low, o.Header().Ttl)
				}
			}
			if !slices.ContainsFunc(names[f[0]], func(o dns.RR) bool { return dns.IsDuplicate(o, rr) }) {
				names[f[0]] = append(names[f[0]], rr)
			}
			for _, o := range names[f[0]] {
				if o.Header().Rrtype == rr.Header().Rrtype {
					o.Header().Ttl = low
				}
			}
		}
	}
	for origin, names := range tw.zones {
		for other := range tw.zones { // the names down to a zone below exist
			if parent := tw.above(other); parent == origin && names[other] == nil {
				names[other] = []dns.RR{}
			}
		}
		for name := range names {
			for up := up(name); dns.IsSubDomain(origin, up) && up != name && names[up] == nil; up = upOf(up) {
				names[up] = []dns.RR{}
			}
		}
	}
	return tw
}

// up and upOf give a name without its first label.
func up(name string) string {
	off, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[off:]
}

func upOf(name string) string { return up(name) }

// zoneOf gives the deepest zone that a name is in, "" if there is none.
func (tw *twin) zoneOf(name string) string {
	best := ""
	for origin := range tw.zones {
		if dns.IsSubDomain(origin, name) && len(origin) > len(best) {
			best = origin
		}
	}
	return best
}

// above gives the zone above a zone.
func (tw *twin) above(origin string) string {
	best := ""
	for o := range tw.zones {
		if o != origin && dns.IsSubDomain(o, origin) && len(o) > len(best) {
			best = o
		}
	}
	return best
}

// pick gives the records of a type with another owner.
func pick(rrs []dns.RR, typ uint16, owner string) []dns.RR {
	var out []dns.RR
	for _, rr := range rrs {
		if rr.Header().Rrtype == typ {
			rr = dns.Copy(rr)
			rr.Header().Name = owner
			out = append(out, rr)
		}
	}
	return out
}

// soa gives the authority section of a negative answer.
func (tw *twin) soa(origin string) []dns.RR {
	rr := pick(tw.zones[origin][origin], dns.TypeSOA, origin)[0]
	if soa, ok := rr.(*dns.SOA); ok {
		soa.Hdr.Ttl = min(soa.Hdr.Ttl, soa.Minttl)
	}
	return []dns.RR{rr}
}

// answer answers a question; name is lower-case.
func (tw *twin) answer(name string, qtype uint16) twinAnswer {
	origin := tw.zoneOf(name)
	if origin == "" {
		return twinAnswer{outside: true}
	}
	if qtype == dns.TypeDS && name == origin && tw.above(origin) != "" {
		origin = tw.above(origin)
		if len(pick(tw.zones[origin][name], dns.TypeCNAME, name)) > 0 {
			return twinAnswer{aa: true, ns: tw.soa(origin)} // no delegation, no chain
		}
	}
	a := twinAnswer{aa: true}
	seen := map[string]bool{}
	for first := true; ; first = false {
		if !first && tw.zoneOf(name) != origin {
			return a
		}
		before := a
		next, redirected := tw.step(&a, origin, name, qtype)
		if linked := next != "" || a.rcode == dns.RcodeYXDomain; linked && (seen[a.source] || len(seen) == 8) {
			return before
		}
		if next == "" || redirected && qtype == dns.TypeCNAME {
			return a
		}
		seen[a.source] = true
		name = strings.ToLower(next)
	}
}

// step answers for one name. It gives the name to go on with, and whether it comes from a DNAME.
func (tw *twin) step(a *twinAnswer, origin, name string, qtype uint16) (next string, redirected bool) {
	names := tw.zones[origin]
	labels := dns.SplitDomainName(name)
	for i := len(labels) - dns.CountLabel(origin); i >= 0; i-- {
		at := dns.Fqdn(strings.Join(labels[i:], "."))
		rrs, exists := names[at]
		switch {
		case !exists:
			wild, ok := names["*."+dns.Fqdn(strings.Join(labels[i+1:], "."))]
			if !ok {
				a.rcode, a.ns = dns.RcodeNameError, tw.soa(origin)
				return "", false
			}
			return tw.node(a, origin, name, wild, qtype), false
		case at != origin && len(pick(rrs, dns.TypeNS, at)) > 0:
			if at == name && qtype == dns.TypeDS {
				return tw.node(a, origin, name, pick(rrs, dns.TypeDS, at), qtype), false
			}
			a.ns = pick(rrs, dns.TypeNS, at)
			a.aa = len(a.answer) > 0
			return "", false
		case at == name:
			return tw.node(a, origin, name, rrs, qtype), false
		}
		if d := pick(rrs, dns.TypeDNAME, at); len(d) > 0 {
			return tw.dname(a, name, at, d[0]), true
		}
	}
	panic("not reached")
}

// dname applies a DNAME, which is in an answer once. One that leads to names below itself is applied once, too.
func (tw *twin) dname(a *twinAnswer, name, at string, rr dns.RR) (next string) {
	d, _ := rr.(*dns.DNAME)
	again := slices.ContainsFunc(a.answer, func(o dns.RR) bool { return o.Header().Rrtype == dns.TypeDNAME && o.Header().Name == d.Hdr.Name })
	switch {
	case !again:
		a.answer = append(a.answer, d)
	case dns.IsSubDomain(at, d.Target):
		return ""
	}
	made := strings.TrimSuffix(name, at) + d.Target
	a.source = name
	if len(made) > 254 {
		a.rcode = dns.RcodeYXDomain
		return ""
	}
	a.answer = append(a.answer, &dns.CNAME{
		Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeCNAME, Class: 1, Ttl: d.Hdr.Ttl}, Target: made,
	})
	return made
}

// node answers with the records that stand for a name. It gives the target of a CNAME to follow.
func (tw *twin) node(a *twinAnswer, origin, name string, rrs []dns.RR, qtype uint16) string {
	if got := pick(rrs, qtype, name); len(got) > 0 && qtype != 65400 {
		for _, rr := range got {
			if !slices.ContainsFunc(a.answer, func(o dns.RR) bool { return dns.IsDuplicate(o, rr) }) {
				a.answer = append(a.answer, rr)
			}
		}
		return ""
	}
	if c := pick(rrs, dns.TypeCNAME, name); len(c) > 0 {
		a.answer, a.source = append(a.answer, c...), rrs[0].Header().Name
		if qtype == dns.TypeANY {
			return ""
		}
		return strings.ToLower(c[0].(*dns.CNAME).Target) //nolint:errcheck // it is one
	}
	for _, rr := range rrs {
		if s, ok := rr.(*steerRR); ok && qtype != 65400 {
			a.steer, a.steerOwner = s, name
			return ""
		}
	}
	if qtype == dns.TypeANY && len(rrs) > 0 {
		a.answer = append(a.answer, &dns.HINFO{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeHINFO, Class: 1, Ttl: 3600}, Cpu: "RFC8482"})
		return ""
	}
	a.ns = tw.soa(origin)
	return ""
}

// makeZones makes zone files of random records on few names, so that everything meets everything.
func makeZones(rnd *rand.Rand) map[string]string {
	label := func() string { return []string{"a", "b", "c", "*"}[rnd.IntN(4)] }
	nameIn := func(origin string) string {
		for range rnd.IntN(4) {
			origin = label() + "." + origin
		}
		return origin
	}
	origins := []string{"example."}
	for range rnd.IntN(3) {
		origins = append(origins, strings.ReplaceAll(nameIn(origins[rnd.IntN(len(origins))]), "*", "b"))
	}
	files := map[string]string{}
	for _, origin := range origins {
		var b strings.Builder
		fmt.Fprintf(&b, "%s 300 SOA ns.test. host.test. 1 2 3 4 %d\n%s 300 NS ns.test.\n", origin, rnd.IntN(600), origin)
		for range 5 + rnd.IntN(25) {
			owner, to := nameIn(origin), nameIn("example.")
			ip := rnd.IntN(250)
			rdata := []string{
				fmt.Sprintf("A 192.0.2.%d", ip), fmt.Sprintf("AAAA 2001:db8::%x", ip), "CNAME " + to, "CNAME " + to, "TXT \"t" + strconv.Itoa(ip) + "\"",
				"MX 10 " + to, "NS ns.test.", "DNAME " + to, "STEER p" + strconv.Itoa(ip%3), "DS 1 13 9 aabb",
			}[rnd.IntN(10)]
			if owner == origin && strings.HasPrefix(rdata, "CNAME") {
				continue // the error would be at the SOA
			}
			fmt.Fprintf(&b, "%s 60 %s\n", owner, rdata)
		}
		files[origin+"zone"] = b.String()
	}
	return files
}

// mend takes the lines out of which Load says that they are wrong, until nothing is.
func mend(t *testing.T, files map[string]string) (*zone.Set, map[string]string) {
	t.Helper()
	for range 100 {
		dir := writeZones(t, files)
		set, found := zone.Load(dir, 0)
		if set != nil {
			return set, files
		}
		gone := map[string]map[int]bool{}
		for _, f := range found {
			if f.Severity == source.Error {
				file := strings.TrimPrefix(f.File, dir+"/")
				if gone[file] == nil {
					gone[file] = map[int]bool{}
				}
				gone[file][f.Line] = true
			}
		}
		for file, lines := range gone {
			if lines[1] { // the whole zone is wrong
				delete(files, file)
				continue
			}
			var b strings.Builder
			n := 0
			for line := range strings.Lines(files[file]) {
				if n++; !lines[n] || n <= 2 {
					b.WriteString(line)
				}
			}
			files[file] = b.String()
		}
	}
	t.Fatal("the zones cannot be mended")
	return nil, nil
}

// TestTwin compares a Set with its twin on random zones, on every name of few labels and every type.
func TestTwin(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(dnstest.Seed(t), 2))
	rounds := 150
	if testing.Short() {
		rounds = 20
	}
	names := namesUpTo(4)
	types := []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeCNAME, dns.TypeTXT, dns.TypeNS, dns.TypeDS, dns.TypeDNAME, dns.TypeANY, dns.TypeSOA, 65400, 999}
	for range rounds {
		set, files := mend(t, makeZones(rnd))
		tw := newTwin(t, files)
		for range 300 {
			name := names[rnd.IntN(len(names))]
			q := question{name: name, qtype: types[rnd.IntN(len(types))], firstLink: rnd.IntN(3) == 0}
			if !compareTwin(t, set, tw, q) {
				t.Fatalf("zones: %s", filesText(files))
			}
			compareLimit(t, set, q, rnd)
		}
	}
}

// filesText shows zone files.
func filesText(files map[string]string) string {
	var b strings.Builder
	for name, text := range files {
		fmt.Fprintf(&b, "-- %s --\n%s", name, text)
	}
	return b.String()
}

// namesUpTo gives all names of up to n labels of those that makeZones uses, and one more, below "example." and beside it.
func namesUpTo(n int) []string {
	all := []string{".", "test.", "example.", "xexample."}
	last := []string{"example."}
	for range n {
		var next []string
		for _, name := range last {
			for _, l := range []string{"a", "b", "c", "*", "D"} {
				next = append(next, l+"."+name)
			}
		}
		all, last = append(all, next...), next
	}
	return all
}

// rrSet gives records as sorted texts, letters folded, each once.
func rrSet(rrs []dns.RR) []string {
	out := make([]string, 0, len(rrs))
	for _, rr := range rrs {
		out = append(out, strings.ToLower(rr.String()))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// compareTwin asks both.
func compareTwin(t *testing.T, set *zone.Set, tw *twin, q question) bool {
	t.Helper()
	raw, r := ask(t, set, q)
	m := unpack(t, raw)
	want := tw.answer(strings.ToLower(q.name), q.qtype)
	if q.firstLink && want.steer != nil && len(want.answer) > 0 { // one link, which is two records if a DNAME makes it
		want.answer = want.answer[:1+min(1, len(pick(want.answer[:1], dns.TypeDNAME, "")))]
		want.steer = nil
	}
	got := twinAnswer{outside: r.Kind == zone.Outside, rcode: int(r.Rcode), aa: r.AA, answer: m.Answer, ns: m.Ns}
	steer, wantSteer := "", ""
	if r.Kind == zone.Steered {
		owner, _, err := dns.UnpackDomainName(raw, int(r.Owner))
		if err != nil {
			t.Fatal(err)
		}
		steer = fmt.Sprintf("%s %s %d", strings.ToLower(owner), set.SteerPolicies()[r.Steer], r.TTL)
	}
	if want.steer != nil {
		wantSteer = fmt.Sprintf("%s %s %d", want.steerOwner, want.steer.policy, want.steer.Header().Ttl)
	}
	if got.outside != want.outside || got.rcode != want.rcode || got.aa != want.aa && !want.outside || steer != wantSteer ||
		!slices.Equal(rrSet(got.answer), rrSet(want.answer)) || len(got.answer) != len(want.answer) || !slices.Equal(rrSet(got.ns), rrSet(want.ns)) {
		t.Errorf("%s %s: got %+v steer %q\n%v\nwant %+v steer %q\n%v", q.name, dns.Type(q.qtype), r, steer, m, want, wantSteer,
			cmp.Diff(append(rrSet(want.answer), rrSet(want.ns)...), append(rrSet(got.answer), rrSet(got.ns)...)))
		return false
	}
	return true
}

// compareLimit asks with a limit: an answer that fits is the same, one that does not is empty with TC or lacks what is not
// required.
func compareLimit(t *testing.T, set *zone.Set, q question, rnd *rand.Rand) {
	t.Helper()
	q.firstLink = false // which may be cut short before it is known that one link would do
	full, fr := ask(t, set, q)
	q.limit = 12 + len(wireName(t, q.name)) + 4 + rnd.IntN(len(full))
	msg, r := ask(t, set, q)
	switch {
	case len(full) <= q.limit:
		if !slices.Equal(full, msg) || r != fr {
			t.Fatalf("%s: limit %d changes an answer of %d bytes", q.name, q.limit, len(full))
		}
	case !r.TC && (r.AN != fr.AN || r.NS != fr.NS || r.AR >= fr.AR):
		t.Fatalf("%s: limit %d gives %+v for %+v", q.name, q.limit, r, fr)
	}
	unpack(t, msg)
}

// TestSteeredBehindSynthesis covers a chain of a DNAME and a wildcard's CNAME that ends at a steered apex: the name that the DNAME
// makes is compressed, and the steered owner is a suffix of it that has to be looked for.
func TestSteeredBehindSynthesis(t *testing.T) {
	t.Parallel()
	set, files := mend(t, map[string]string{"example.zone": `example. 300 SOA ns.test. host.test. 1 2 3 4 537
example. 300 NS ns.test.
example. 60 STEER p1
*.*.*.example. 60 CNAME example.
a.*.example. 60 DNAME *.*.example.
`})
	tw := newTwin(t, files)
	for _, name := range []string{"D.c.a.*.example.", "c.a.*.example.", "a.b.c.a.*.example.", "b.*.*.example.", "example."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeDS} {
			compareTwin(t, set, tw, question{name: name, qtype: qtype})
		}
	}
}

// TestLastLink covers a chain of DNAMEs of as many links as are followed that comes to a name with a CNAME.
func TestLastLink(t *testing.T) {
	t.Parallel()
	set, files := mend(t, map[string]string{"example.zone": `example. 300 SOA ns.test. host.test. 1 2 3 4 386
example. 300 NS ns.test.
a.example. 60 DNAME b.b.b.example.
b.example. 60 DNAME example.
c.example. 60 NS ns.test.
*.example. 60 CNAME *.c.example.
www.example. 60 CNAME c.c.example.
`})
	tw := newTwin(t, files)
	for _, name := range []string{
		"*.a.a.example.", "x.a.a.example.", "*.a.example.", "*.b.a.a.example.", "*.a.b.b.example.", "*.b.b.b.a.example.", "*.a.a.b.example.",
		"www.a.a.example.", "x.b.a.a.example.", "x.a.a.b.example.", "*.b.b.a.a.example.",
	} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeDS, dns.TypeCNAME, dns.TypeTXT} {
			compareTwin(t, set, tw, question{name: name, qtype: qtype})
		}
	}
}
