package zone_test

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"geodns/internal/dnstest"
	"geodns/pkg/zone"
)

// shared gives the path of a file of the data shared between checkouts, or skips the test.
func shared(t testing.TB, name string) string {
	t.Helper()
	dir := cmp.Or(os.Getenv("GEODNS_SHARED"), "../../../shared")
	path, err := filepath.Abs(filepath.Join(dir, filepath.FromSlash(name)))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Skipf("no shared data: %v", err)
	}
	return path
}

// TestPeers asks NSD, Knot and our Set the same questions: every name of the zones with every type at it and some more, and
// as many names that do not exist. The answers are equal but for the differences that exceptions lists.
func TestPeers(t *testing.T) {
	t.Parallel()
	dirs, err := filepath.Glob("testdata/peers/*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			abs, err := filepath.Abs(dir)
			if err != nil {
				t.Fatal(err)
			}
			comparePeers(t, abs)
		})
	}
	t.Run("root", func(t *testing.T) {
		t.Parallel()
		if testing.Short() {
			t.Skip("the root zone takes a while")
		}
		text, err := os.ReadFile(shared(t, "data/rootzone/root.clean.zone"))
		if err != nil {
			t.Fatal(err)
		}
		comparePeers(t, writeZones(t, map[string]string{"@.zone": string(text)}))
	})
}

// comparePeers loads the zones of a folder here and at each peer, and compares.
func comparePeers(t *testing.T, dir string) {
	t.Helper()
	set, found := zone.Load(dir, 0)
	if set == nil {
		t.Fatalf("loading: %v", found)
	}
	files := map[string]string{}
	var questions []question
	for _, z := range set.Zones() {
		files[z.Origin] = z.File
		text, err := os.ReadFile(z.File)
		if err != nil {
			t.Fatal(err)
		}
		questions = append(questions, questionsOf(t, text, z.Origin)...)
	}
	starts := map[string]func(testing.TB, map[string]string) *dnstest.Peer{"nsd": dnstest.StartNSD, "knot": dnstest.StartKnot}
	for name, start := range starts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			comparePeer(t, set, start(t, files).Dial(t), name, questions)
		})
	}
}

// comparePeer asks one peer.
func comparePeer(t *testing.T, set *zone.Set, client *dnstest.Client, peer string, questions []question) {
	t.Helper()
	queries := make([]*dns.Msg, len(questions))
	for i, q := range questions {
		queries[i] = &dns.Msg{Question: []dns.Question{{Name: q.name, Qtype: q.qtype, Qclass: dns.ClassINET}}}
	}
	answers, err := client.Ask(queries)
	if err != nil {
		t.Fatal(err)
	}
	reasons, bad := map[string]int{}, 0
	for i, q := range questions {
		raw, r := ask(t, set, q)
		ours, theirs := unpack(t, raw), answers[i]
		if r.Kind == zone.Outside {
			ours.Rcode, ours.Authoritative = dns.RcodeRefused, false
		}
		if diff := difference(ours, theirs); diff != "" {
			if why := explained(peer, q, ours, theirs); why != "" {
				reasons[why]++
				continue
			}
			if bad++; bad <= 10 {
				t.Errorf("%s %s: %s\nours:\n%v\ntheirs:\n%v", q.name, dns.Type(q.qtype), diff, ours, theirs)
			}
		}
	}
	t.Logf("%d questions, %d unexplained differences", len(questions), bad)
	for why, n := range reasons {
		t.Logf("%d explained: %s", n, why)
	}
}

// alwaysAsked are the types that are asked at every name.
func alwaysAsked() []uint16 {
	return []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeMX, dns.TypeTXT, dns.TypeDS, dns.TypeNS, dns.TypeSOA, dns.TypeCNAME, dns.TypeANY, 731}
}

// questionsOf gives the questions of a zone: all its names and their ancestors with their types, and names that are near
// them but mostly do not exist.
func questionsOf(t *testing.T, text []byte, origin string) []question {
	t.Helper()
	types := map[string]map[uint16]bool{}
	zp := dns.NewZoneParser(bytes.NewReader(text), origin, "")
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		name := rr.Header().Name
		for off, end := 0, false; !end; off, end = dns.NextLabel(name, off) {
			if up := name[off:]; dns.IsSubDomain(origin, up) && types[up] == nil {
				types[up] = map[uint16]bool{}
			}
		}
		types[name][rr.Header().Rrtype] = true
	}
	if err := zp.Err(); err != nil {
		t.Fatal(err)
	}
	names := make([]string, 0, len(types))
	for name := range types {
		names = append(names, name)
	}
	slices.Sort(names)
	rnd := rand.New(rand.NewPCG(dnstest.Seed(t), 1))
	var out []question
	for _, name := range names {
		all := types[name]
		for _, typ := range alwaysAsked() {
			all[typ] = true
		}
		for typ := range all {
			out = append(out, question{name: name, qtype: typ})
		}
		for range len(all) {
			typ := alwaysAsked()[rnd.IntN(len(alwaysAsked()))]
			out = append(out, question{name: near(rnd, name, names), qtype: typ})
		}
	}
	return out
}

// near makes a name from one of a zone: below it, beside it, a parent's, with a "*", or with other letters.
func near(rnd *rand.Rand, name string, names []string) string {
	labels := dns.SplitDomainName(name)
	label := func() string {
		return []string{"a", "www", "*", "x" + fmt.Sprint(rnd.IntN(1000)), "ns", "new", "wild"}[rnd.IntN(7)]
	}
	switch rnd.IntN(6) {
	case 0:
		labels = append([]string{label()}, labels...)
	case 1:
		labels = append([]string{label(), label()}, labels...)
	case 2:
		if len(labels) > 0 {
			labels[0] = label()
		}
	case 3:
		if len(labels) > 1 {
			labels = append([]string{label()}, labels[1:]...)
		}
	case 4:
		other := dns.SplitDomainName(names[rnd.IntN(len(names))])
		if len(other) > 0 {
			labels = append([]string{other[0]}, labels...)
		}
	default:
		if len(labels) > 0 {
			labels[0] = strings.ToUpper(labels[0])
		}
	}
	out := dns.Fqdn(strings.Join(labels, "."))
	if _, ok := dns.IsDomainName(out); !ok || len(out) > 250 {
		return name
	}
	return out
}

// difference says in what two answers differ; "" if in nothing that matters. Sections are sets. Of the additional section only
// the glue that a referral must have counts (RFC 9471).
func difference(a, b *dns.Msg) string {
	switch {
	case a.Rcode != b.Rcode:
		return "rcode"
	case a.Authoritative != b.Authoritative:
		return "AA"
	case !sameSet(a.Answer, b.Answer):
		return "answer"
	case !sameSet(a.Ns, b.Ns):
		return "authority"
	case !sameSet(glueOf(a), glueOf(b)):
		return "glue"
	}
	return ""
}

// sameSet compares two sections as sets.
func sameSet(a, b []dns.RR) bool {
	if len(a) == len(b) && holdsAll(a, b) && holdsAll(b, a) { // the usual case, without texts
		return true
	}
	return slices.Equal(rrSet(a), rrSet(b))
}

// holdsAll says whether all records of some are among all.
func holdsAll(all, some []dns.RR) bool {
	return !slices.ContainsFunc(some, func(rr dns.RR) bool {
		return !slices.ContainsFunc(all, func(o dns.RR) bool { return o.Header().Ttl == rr.Header().Ttl && dns.IsDuplicate(o, rr) })
	})
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

// glueOf gives the addresses of name servers below the cut of a referral.
func glueOf(m *dns.Msg) []dns.RR {
	need := map[string]bool{}
	for _, rr := range m.Ns {
		if ns, ok := rr.(*dns.NS); ok && dns.IsSubDomain(ns.Hdr.Name, ns.Ns) {
			need[strings.ToLower(ns.Ns)] = true
		}
	}
	var rrs []dns.RR
	for _, rr := range m.Extra {
		if need[strings.ToLower(rr.Header().Name)] {
			rrs = append(rrs, rr)
		}
	}
	return rrs
}

// exception is a difference that is meant, and why.
type exception struct {
	why   string
	peer  string // "": both
	holds func(q question, ours, theirs *dns.Msg) bool
}

// exceptions is the table of all differences that are meant.
func exceptions() []exception {
	return []exception{
		{
			why: "RFC 8482 section 4: a responder that receives an ANY query may answer with one RRset or an HINFO made for it",
			holds: func(q question, ours, theirs *dns.Msg) bool {
				n := len(ours.Answer)
				if q.qtype != dns.TypeANY || n == 0 || len(theirs.Answer) < n || ours.Rcode != theirs.Rcode || !theirs.Authoritative {
					return false
				}
				return ours.Answer[n-1].Header().Rrtype == dns.TypeHINFO && slices.Equal(rrSet(ours.Answer[:n-1]), rrSet(theirs.Answer[:n-1]))
			},
		},
		{
			why: "RFC 1034 section 3.6.2: CNAME loops are an error to signal, not where to stop; a DNAME onto names below itself " +
				"never ends, and Knot follows it further",
			peer: "knot",
			holds: func(_ question, ours, theirs *dns.Msg) bool {
				their := rrSet(theirs.Answer)
				further := slices.ContainsFunc(rrSet(ours.Answer), func(rr string) bool { return !slices.Contains(their, rr) })
				return !further && ours.Rcode == theirs.Rcode && slices.ContainsFunc(ours.Answer, func(rr dns.RR) bool {
					d, ok := rr.(*dns.DNAME)
					return ok && dns.IsSubDomain(d.Hdr.Name, d.Target)
				})
			},
		},
	}
}

// explained gives the reason for a difference that is meant; "" if there is none.
func explained(peer string, q question, ours, theirs *dns.Msg) string {
	for _, e := range exceptions() {
		if (e.peer == "" || e.peer == peer) && e.holds(q, ours, theirs) {
			return e.why
		}
	}
	return ""
}
