package zone_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"geodns/pkg/zone"
)

// benchZone is a zone of n hosts, with a delegation, a wildcard, a chain, a DNAME, a chain of DNAMEs, a ring of wildcards and a
// steered name.
func benchZone(n int) string {
	var b strings.Builder
	b.WriteString("$TTL 300\n@ SOA ns hostmaster 1 2 3 4 5\n NS ns\nns A 192.0.2.53\nsub NS ns.sub\nns.sub A 192.0.2.54\n*.wild A 192.0.2.1\n" +
		"one CNAME two\ntwo CNAME host-0\nold DNAME ns\n" +
		"d1 DNAME d2\nd2 DNAME d3\nd3 DNAME d4\nd5 DNAME r1\nh.d4 A 192.0.2.55\n*.r1 CNAME own.r2\n*.r2 CNAME own.r1\nsteered STEER www\ntosteered CNAME steered\n")
	for i := range n {
		fmt.Fprintf(&b, "host-%d A 192.%d.%d.%d\n", i, i>>16&255, i>>8&255, i&255)
	}
	return b.String()
}

// query is a packed question with what Answer wants beside it.
type query struct {
	msg    []byte
	name   []byte
	labels int
	qtype  uint16
}

func newQuery(t testing.TB, name string, qtype uint16) query {
	t.Helper()
	wire := wireName(t, name)
	msg := append(make([]byte, 12, 1232), wire...)
	msg = binary.BigEndian.AppendUint16(msg, qtype)
	return query{append(msg, 0, 1), wire, dns.CountLabel(name), qtype}
}

// cases are the kinds of answers.
func cases(t testing.TB) map[string]query {
	t.Helper()
	return map[string]query{
		"hit":       newQuery(t, "host-7.example.com.", dns.TypeA),
		"nodata":    newQuery(t, "host-7.example.com.", dns.TypeAAAA),
		"nxdomain":  newQuery(t, "nope.example.com.", dns.TypeA),
		"deep":      newQuery(t, strings.Repeat("a.", 110)+"nope.example.com.", dns.TypeA),
		"referral":  newQuery(t, "www.sub.example.com.", dns.TypeA),
		"wildcard":  newQuery(t, "x.y.wild.example.com.", dns.TypeA),
		"chain":     newQuery(t, "one.example.com.", dns.TypeA),
		"dname":     newQuery(t, "x.old.example.com.", dns.TypeA),
		"dnames":    newQuery(t, "h.d1.example.com.", dns.TypeA),
		"ring":      newQuery(t, "x.r1.example.com.", dns.TypeA),
		"dnamering": newQuery(t, "x.d5.example.com.", dns.TypeA),
		"steered":   newQuery(t, "steered.example.com.", dns.TypeA),
		"any":       newQuery(t, "host-7.example.com.", dns.TypeANY),
		"outside":   newQuery(t, "www.example.org.", dns.TypeA),
	}
}

// TestAnswerAllocates checks that no answer allocates, whatever its kind.
func TestAnswerAllocates(t *testing.T) { //nolint:paralleltest // AllocsPerRun counts those of all goroutines
	set := loadZones(t, map[string]string{"example.com.zone": benchZone(1000)})
	for name, q := range cases(t) {
		for _, limit := range []int{1232, 60} {
			if n := testing.AllocsPerRun(100, func() { set.Answer(q.msg, q.name, q.labels, q.qtype, limit, true) }); n != 0 {
				t.Errorf("%s, limit %d: %v allocations", name, limit, n)
			}
		}
	}
	q := cases(t)["steered"]
	n := testing.AllocsPerRun(100, func() {
		msg, r := set.Answer(q.msg, q.name, q.labels, q.qtype, 1232, false)
		other := r
		set.NoData(msg, &r, len(q.name), 1232)
		set.AppendANY(msg, &other, len(q.name), 1232)
	})
	if n != 0 {
		t.Errorf("steered: %v allocations", n)
	}
}

// BenchmarkAnswer measures one answer of each kind, again and again: all in the caches.
func BenchmarkAnswer(b *testing.B) {
	for _, n := range []int{1000, 100000} {
		set := loadZones(b, map[string]string{"example.com.zone": benchZone(n)})
		for name, q := range cases(b) {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					set.Answer(q.msg, q.name, q.labels, q.qtype, 1232, false)
				}
			})
		}
	}
}

// BenchmarkAnswerRandom measures answers for random names, which lie in memory one behind the other, written into the same few messages
// as a server's are: one by one, in batches of 32 with read-ahead as a server does (staged), and of these the read-ahead alone, which waits
// for the memory that a look-up reads (find). What a name takes beside its own octets and its record's is B/name.
func BenchmarkAnswerRandom(b *testing.B) {
	for _, n := range []int{1000, 100_000, 1_000_000, 10_000_000} {
		set := loadZones(b, map[string]string{"example.com.zone": benchZone(n)})
		for _, c := range []struct{ kind, format string }{{"hit", "host-%d.example.com."}, {"nxdomain", "nope-%d.example.com."}} {
			b.Run(fmt.Sprintf("%s/%d", c.kind, n), func(b *testing.B) {
				names := makeNames(b, c.format, n)
				msgs := make([][]byte, batch)
				for i := range msgs {
					msgs[i] = make([]byte, 64, 1232)
				}
				b.ReportAllocs()
				b.ResetTimer()
				for i := range b.N {
					at := names[i%count*stride:][:stride]
					name := at[1 : 1+at[0]]
					set.Answer(msgs[i%batch][:16+len(name)], name, 3, dns.TypeA, 1232, false)
				}
			})
			b.Run(fmt.Sprintf("staged/%s/%d", c.kind, n), func(b *testing.B) {
				stagedAnswers(b, set, makeNames(b, c.format, n), true)
				own := len(wireName(b, fmt.Sprintf(c.format, n-1))) + 16 // a pointer, type, class, TTL, length, address
				b.ReportMetric(float64(set.Size())/float64(n)-float64(own), "B/name")
			})
			b.Run(fmt.Sprintf("find/%s/%d", c.kind, n), func(b *testing.B) {
				stagedAnswers(b, set, makeNames(b, c.format, n), false)
			})
		}
	}
}

// stride is the room of a name in makeNames, count how many they are, batch how many are answered at a time.
const (
	stride = 64
	count  = 1 << 18
	batch  = 32
)

// makeNames makes random names, each behind its length.
func makeNames(b *testing.B, format string, n int) []byte {
	b.Helper()
	rnd := rand.New(rand.NewPCG(1, 1))
	names := make([]byte, count*stride)
	for i := range count {
		name := wireName(b, fmt.Sprintf(format, rnd.IntN(n)))
		names[i*stride] = byte(len(name))
		copy(names[i*stride+1:], name)
	}
	return names
}

// stagedAnswers reads ahead in batches, in stages, and answers them, or not.
func stagedAnswers(b *testing.B, set *zone.Set, names []byte, answer bool) {
	b.Helper()
	var hashes [batch]uint64
	var refs [batch]uint32
	msgs := make([][]byte, batch)
	for i := range msgs {
		msgs[i] = make([]byte, 64, 1232)
	}
	b.ReportAllocs()
	b.ResetTimer()
	sum, reply := byte(0), zone.Reply{}
	for i := 0; i < b.N; i += batch {
		some := names[i%count*stride:][:batch*stride]
		for j := range hashes {
			at := some[j*stride:][:stride]
			hashes[j] = set.Hash(at[1 : 1+at[0]])
		}
		for j, h := range hashes {
			refs[j] = set.Slot(h)
		}
		for _, r := range refs {
			sum += set.Record(r)
		}
		if !answer {
			continue
		}
		for j, h := range hashes {
			at := some[j*stride:][:stride]
			name := at[1 : 1+at[0]]
			set.AnswerHashed(msgs[j][:16+len(name)], name, 3, h, dns.TypeA, 1232, false, &reply)
		}
	}
	b.StopTimer()
	runtime.KeepAlive(sum)
}

// BenchmarkLoadZones measures the loading of many zones, small ones and less small ones.
func BenchmarkLoadZones(b *testing.B) {
	for _, size := range []struct{ zones, hosts int }{{1000, 84}, {100000, 1}} {
		b.Run(fmt.Sprint(size.zones), func(b *testing.B) {
			files, text := map[string]string{}, benchZone(size.hosts)
			for i := range size.zones {
				files[fmt.Sprintf("%d/z%d.example.zone", i%100, i)] = text
			}
			dir := writeZones(b, files)
			records := 0
			b.ResetTimer()
			for range b.N {
				set, _ := zone.Load(dir, testSeed)
				for _, z := range set.Zones() {
					records += z.Records
				}
			}
			b.ReportMetric(float64(records)/float64(b.N), "records")
		})
	}
}

// BenchmarkLoad measures the loading of a zone of addresses, and the memory that is in use afterwards.
func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := writeZones(b, map[string]string{"example.com.zone": benchZone(n)})
			var set *zone.Set
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			for b.Loop() {
				set, _ = zone.Load(dir, testSeed)
			}
			start := time.Now()
			runtime.GC()
			b.ReportMetric(float64(time.Since(start).Microseconds()), "gc-us")
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(set.Size())/float64(n), "B/record")
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "heap-B/record")
			runtime.KeepAlive(set)
		})
	}
}
