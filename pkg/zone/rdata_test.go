package zone_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"geodns/pkg/zone"
)

// rdataOf gives the type and rdata of a line of a case: what stands behind the owner.
func rdataOf(line string) (string, bool) {
	_, entry, ok := strings.Cut(strings.TrimSpace(line), " ")
	if !ok || strings.ContainsAny(line, "$(") || strings.HasPrefix(entry, "CLASS") || strings.HasPrefix(entry, "IN ") {
		return "", false
	}
	return entry, true
}

// rdataLines gives the rdata of all cases whose lines stand for themselves.
func rdataLines(t testing.TB) []string {
	t.Helper()
	var out []string
	for _, c := range checkCases(t) {
		if !c.is(eachLine) {
			continue
		}
		lines := strings.Split(string(c.files()[0].Data), "\n")
		for _, line := range lines[headLines:] {
			if entry, ok := rdataOf(line); ok {
				out = append(out, entry)
			}
		}
	}
	return out
}

// TestRdataTwin holds the wire form of all rdata of the cases against that of miekg/dns, where both take it.
func TestRdataTwin(t *testing.T) {
	t.Parallel()
	same, ours := 0, 0
	for _, entry := range rdataLines(t) {
		got, err := zone.Rdata(entry, "example.com.")
		if err != nil {
			continue
		}
		ours++
		want := miekgRdata(entry)
		if want == nil {
			continue
		}
		same++
		if !bytes.Equal(got, want) && !twinErrs(entry) {
			t.Errorf("%s\n got %x\nwant %x", entry, got, want)
		}
	}
	t.Logf("%d of the %d that we take are taken by both", same, ours)
	if same < 200 {
		t.Error("too few to be a test")
	}
}

// twinErrs says whether miekg/dns is known to write an entry otherwise: NXT's bit map as NSEC's, and always two strings of ISDN (RFC
// 1183 section 3.2: one or two).
func twinErrs(entry string) bool {
	entry = strings.ToUpper(entry)
	return strings.HasPrefix(entry, "NXT ") || strings.HasPrefix(entry, "ISDN ")
}

// twinRefuses says whether miekg/dns may not read what we write: those, an IPv4 address in ipv6hint, and octets of UINFO, which
// no RFC describes, other than one string.
func twinRefuses(entry string) bool {
	upper := strings.ToUpper(entry)
	return twinErrs(entry) || strings.HasPrefix(upper, "HTTPS ") || strings.HasPrefix(upper, "SVCB ") || strings.HasPrefix(upper, "UINFO")
}

// miekgRdata gives what miekg/dns makes of an entry, nil if it refuses.
func miekgRdata(entry string) []byte {
	rr, err := dns.NewRR("$ORIGIN example.com.\n. 0 IN " + entry)
	if err != nil || rr == nil {
		return nil
	}
	buf := make([]byte, 70000)
	end, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return nil
	}
	return buf[11:end]
}

// checkRdataForms checks what must hold of rdata that was taken: written as octets it is taken too and gives the same octets, and
// miekg/dns reads them.
func checkRdataForms(t *testing.T, entry string) {
	t.Helper()
	data, err := zone.Rdata(entry, "example.com.")
	if err != nil {
		return
	}
	typ := strings.FieldsFunc(entry, func(c rune) bool { // a parenthesis or a quote may end it, too
		return !strings.ContainsRune("-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", c)
	})[0]
	generic := fmt.Sprintf(`%s \# %d %x`, typ, len(data), data)
	if again, err := zone.Rdata(generic, "."); err != nil || !bytes.Equal(again, data) {
		t.Fatalf("%s\nas octets %s\ngives %x, %v", entry, generic, again, err)
	}
	if code, ok := dns.StringToType[strings.ToUpper(typ)]; ok && len(data) > 0 {
		wire := append([]byte{0, byte(code >> 8), byte(code), 0, 1, 0, 0, 0, 0, byte(len(data) >> 8), byte(len(data))}, data...)
		if _, _, err := dns.UnpackRR(wire, 0); err != nil && !twinRefuses(entry) {
			t.Fatalf("%s\ngives %x, which miekg/dns does not read: %v", entry, data, err)
		}
	}
}

// TestRdataForms writes all rdata of the cases as octets.
func TestRdataForms(t *testing.T) {
	t.Parallel()
	for _, entry := range rdataLines(t) {
		checkRdataForms(t, entry)
	}
}

// FuzzRdata reads any rdata.
func FuzzRdata(f *testing.F) {
	for _, entry := range rdataLines(f) {
		if len(entry) < 1000 {
			f.Add(entry)
		}
	}
	f.Fuzz(checkRdataForms)
}
