package zone_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"geodns/internal/dnstest"
	"geodns/internal/source"
	"geodns/pkg/zone"
)

// richZone is a zone with a bit of everything.
func richZone(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("testdata/peers/rich/example.com.zone")
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "steered 60 STEER www\n*.steered STEER \"www\"\ntosteered CNAME steered\n$GENERATE 1-9/2 gen-${0,3,d} A 192.0.2.$\n"
}

// checkLoad checks what must hold after any load: a Set or an error, findings with a place in a file that there is, and answers
// that parse.
func checkLoad(t *testing.T, dir string, set *zone.Set, found source.Findings) {
	t.Helper()
	if (set == nil) != found.HasErrors() {
		t.Fatalf("a Set: %v, findings: %v", set != nil, found)
	}
	for _, f := range found {
		text, err := os.ReadFile(f.File)
		lines := max(bytes.Count(text, []byte("\n")), bytes.Count(text, []byte("\r"))) + 1 // old systems end lines with "\r"
		if f.Message == "" || f.Line < 1 || f.Col < 1 || err == nil && f.Line > lines || err != nil && f.File != dir {
			t.Fatalf("a finding without a good place or message: %v (%d lines, %v)", f, lines, err)
		}
	}
	if set == nil {
		return
	}
	for _, q := range []question{
		{name: "example.com.", qtype: dns.TypeSOA},
		{name: "www.example.com.", qtype: dns.TypeA},
		{name: "three.example.com.", qtype: dns.TypeA},
		{name: "x.y.old.example.com.", qtype: dns.TypeTXT},
		{name: "x.sub1.example.com.", qtype: dns.TypeA},
		{name: "nope.example.com.", qtype: dns.TypeA},
		{name: "a.b.wcname.example.com.", qtype: dns.TypeMX},
		{name: "tosteered.example.com.", qtype: dns.TypeA, firstLink: true},
	} {
		msg, _ := ask(t, set, q)
		unpack(t, msg)
	}
}

// mutate changes a text in one to four places: letters, lines, tokens, pieces of it.
func mutate(rnd *rand.Rand, text string) string {
	b := []byte(text)
	for range 1 + rnd.IntN(4) {
		lines := bytes.SplitAfter(b, []byte("\n"))
		i, j := rnd.IntN(len(lines)), rnd.IntN(len(lines))
		switch rnd.IntN(8) {
		case 0:
			b[rnd.IntN(len(b))] = byte(rnd.IntN(256))
		case 1:
			b[rnd.IntN(len(b))] = "\"();\\$@ \n\t.*0"[rnd.IntN(13)]
		case 2:
			b = bytes.Join(slices.Delete(slices.Clone(lines), i, i+1), nil)
		case 3:
			b = bytes.Join(slices.Insert(slices.Clone(lines), i, lines[j]), nil)
		case 4:
			at := rnd.IntN(len(b))
			b = slices.Delete(slices.Clone(b), at, min(len(b), at+1+rnd.IntN(20)))
		case 5:
			b = b[:rnd.IntN(len(b))]
		case 6: // the rdata of another line
			f, g := bytes.Fields(lines[i]), bytes.Fields(lines[j])
			if len(f) > 1 && len(g) > 1 {
				f[len(f)-1] = g[len(g)-1]
				lines[i] = append(bytes.Join(f, []byte(" ")), '\n')
				b = bytes.Join(lines, nil)
			}
		case 7: // the owner of another line
			f, g := bytes.Fields(lines[i]), bytes.Fields(lines[j])
			if len(f) > 1 && len(g) > 1 {
				f[0] = g[0]
				lines[i] = append(bytes.Join(f, []byte(" ")), '\n')
				b = bytes.Join(lines, nil)
			}
		}
		if len(b) == 0 {
			return "\n"
		}
	}
	return string(b)
}

// TestMutatedZones loads a thousand damaged zone files.
func TestMutatedZones(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(dnstest.Seed(t), 3))
	text := richZone(t)
	good, dir := 0, writeZones(t, map[string]string{"example.com.zone": text, "other.example.zone": strings.ReplaceAll(text, "www", "ftp")})
	path := filepath.Join(dir, "example.com.zone")
	for range 1000 {
		mutated := mutate(rnd, text)
		if err := os.WriteFile(path, []byte(mutated), 0o600); err != nil {
			t.Fatal(err)
		}
		set, found := zone.Load(dir, 0)
		checkLoad(t, dir, set, found)
		if set != nil {
			good++
			if n := len(set.Zones()); n != 2 {
				t.Fatalf("a Set of %d zones", n)
			}
		}
	}
	t.Logf("%d of 1000 were loaded", good)
}

// FuzzLoad loads any text as a zone file, with another that it may include.
func FuzzLoad(f *testing.F) {
	f.Add(richZone(f), "a A 192.0.2.1\n")
	f.Add("$INCLUDE other.inc sub\n$INCLUDE other.inc\n", "$INCLUDE example.com.zone\n@ SOA a b 1 2 3 4 5\n")
	for _, c := range checkCases(f) {
		for _, file := range c.files() {
			f.Add(string(file.Data), "")
		}
	}
	for _, text := range madeZones() {
		if len(text) < 4096 { // longer ones slow it down
			f.Add(text, "")
		}
	}
	f.Fuzz(func(t *testing.T, text, included string) {
		dir := writeZones(t, map[string]string{"example.com.zone": text, "other.inc": included})
		set, found := zone.Load(dir, testSeed)
		checkLoad(t, dir, set, found)
		if set == nil {
			return
		}
		again, _ := zone.Load(dir, testSeed+1)
		if again == nil || again.ID() != set.ID() {
			t.Fatal("loaded twice, it differs")
		}
	})
}

// TestSameFilesSameBytes loads the same files with different seeds, and in another folder.
func TestSameFilesSameBytes(t *testing.T) {
	t.Parallel()
	rich := richZone(t)
	files := map[string]string{
		"example.com.zone": rich, "example.org.zone": strings.ReplaceAll(rich, "example.com.", "example.org."),
		"sub1.example.com.zone": strings.ReplaceAll(rich, "example.com.", "sub1.example.com."),
	}
	first := loadZones(t, files)
	for seed := range uint64(5) {
		set, found := zone.Load(writeZones(t, files), seed)
		if set == nil {
			t.Fatal(found)
		}
		if set.ID() != first.ID() || !bytes.Equal(zone.Arena(set), zone.Arena(first)) {
			t.Errorf("seed %d gives other bytes", seed)
		}
	}
	files["example.org.zone"] += "more A 192.0.2.99\n"
	if loadZones(t, files).ID() == first.ID() {
		t.Error("other zones have the same id")
	}
	files["example.org.zone"] = strings.ReplaceAll(strings.ReplaceAll(rich, "STEER www", "STEER ftp"), "example.com.", "example.org.")
	if loadZones(t, files).ID() == first.ID() {
		t.Error("other policies have the same id")
	}
}

// TestLinks loads a folder with symbolic links: one to a file within is followed, one that leads out is refused, for zones and
// for $INCLUDE.
func TestLinks(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("secret A 192.0.2.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := writeZones(t, map[string]string{
		"..data/example.com.zone": "$TTL 300\n@ SOA ns h 1 2 3 4 5\n NS ns.example.net.\n", "example.org.zone": "$TTL 300\n@ SOA ns h 1 2 3 4 5\n NS ns.example.net.\n$INCLUDE inside.inc\n$INCLUDE outside.inc\n", "more/x.inc": "x A 192.0.2.1\n",
	})
	for link, to := range map[string]string{
		"example.com.zone": "..data/example.com.zone", "example.net.zone": outside, "outside.inc": outside, "inside.inc": "more/x.inc",
	} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	set, found := zone.Load(dir, testSeed)
	want := "example.net.zone:1:1: error: reading the zone: path escapes from parent\n" +
		"example.org.zone:5:10: error: $INCLUDE outside.inc: reading outside.inc in the zones folder: path escapes from parent\n"
	if diff := cmp.Diff(want, findingLines(dir, found)); diff != "" || set != nil {
		t.Errorf("findings differ (-want +got):\n%s", diff)
	}
}

// TestNoFolder loads what is no folder.
func TestNoFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "nope")
	if set, found := zone.Load(dir, 0); set != nil || !found.HasErrors() {
		t.Errorf("loaded: %v", found)
	}
}

// TestSet checks what a Set says of itself.
func TestSet(t *testing.T) {
	t.Parallel()
	set := loadZones(t, map[string]string{
		"example.com.zone": "$TTL 300\n@ SOA ns h 77 2 3 4 5\n NS ns.example.net.\n@ 30 STEER apex\n*.a STEER www\nb STEER www\nb TXT x\n",
		"a.zone":           "$TTL 300\n@ SOA ns h 78 2 3 4 5\n NS ns.example.net.\n",
	})
	for i, want := range []zone.Info{{Origin: "a.", Serial: 78, Records: 2, Names: 1}, {Origin: "example.com.", Serial: 77, Records: 6, Names: 4}} {
		got := set.Zones()[i]
		if base := filepath.Base(got.File); base != want.Origin+"zone" {
			t.Errorf("zone %d is in %s", i, base)
		}
		got.File = ""
		if got != want {
			t.Errorf("zone %d: %+v, want %+v", i, got, want)
		}
	}
	if diff := cmp.Diff([]string{"apex", "www"}, set.SteerPolicies()); diff != "" {
		t.Error(diff)
	}
	var got strings.Builder
	for _, s := range set.Steers() {
		fmt.Fprintln(&got, s.Policy, s.Owner, s.Zone, s.TTL, filepath.Base(s.Place.File), s.Place.Line, s.Place.Col, s.Apex, s.Alone)
	}
	want := "apex example.com. example.com. 30 example.com.zone 4 1 true false\nwww *.a.example.com. example.com. 300 example.com.zone 5 1 false true\n" +
		"www b.example.com. example.com. 300 example.com.zone 6 1 false false\n"
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("steers differ (-want +got):\n%s", diff)
	}
}

// TestResolve resolves hosts of the zones.
func TestResolve(t *testing.T) {
	t.Parallel()
	set := loadZones(t, map[string]string{
		"example.com.zone": "$TTL 300\n@ SOA ns h 1 2 3 4 5\n NS ns.example.net.\nhost A 192.0.2.1\nhost 60 AAAA 2001:db8::1\nalias 30 CNAME host\n" +
			"away CNAME www.example.org.\nother CNAME host.example.net.\nsteered STEER www\ntosteered CNAME steered\ntxt TXT x\nsub NS ns.example.net.\n" +
			"*.wild A 192.0.2.2\nold DNAME example.net.\nloop CNAME loop\n",
		"example.net.zone": "$TTL 300\n@ SOA ns h 1 2 3 4 5\n NS ns.example.org.\nns A 192.0.2.5\nhost A 192.0.2.3\n",
	})
	for host, want := range map[string]string{
		"host.example.com.":      "192.0.2.1 2001:db8::1 ttl 60",
		"HOST.example.com":       "192.0.2.1 2001:db8::1 ttl 60",
		"alias.example.com.":     "192.0.2.1 2001:db8::1 ttl 30",
		"other.example.com.":     "192.0.2.3 ttl 300",
		"x.wild.example.com.":    "192.0.2.2 ttl 300",
		"host.old.example.com.":  "192.0.2.3 ttl 300",
		"away.example.com.":      "outside",
		"www.example.org.":       "outside",
		"x.sub.example.com.":     "outside",
		"loop.example.com.":      "outside",
		"a..b":                   "outside",
		"steered.example.com.":   "steered",
		"tosteered.example.com.": "steered",
		"txt.example.com.":       "ttl 0",
		"nope.example.com.":      "ttl 0",
	} {
		r := set.Resolve(host)
		got := ""
		switch {
		case r.Outside:
			got = "outside"
		case r.Steered:
			got = "steered"
		default:
			for _, a := range r.Addrs {
				got += a.String() + " "
			}
			got += fmt.Sprintf("ttl %d", r.TTL)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}
