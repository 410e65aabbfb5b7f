package zone_test

import (
	"testing"

	"github.com/miekg/dns"
)

// FuzzAnswer asks for anything: names that are none, wrong label counts, any type and limit. Whatever comes back fits the limit.
func FuzzAnswer(f *testing.F) {
	set := loadZones(f, map[string]string{"example.com.zone": richZone(f)})
	for _, name := range []string{"www.example.com.", "a.b.old.example.com.", "x.sub1.example.com.", "nope.", ".", "x.steered.example.com."} {
		f.Add(wireName(f, name), dns.CountLabel(name), dns.TypeA, 512, false)
	}
	f.Add([]byte{}, 0, uint16(0), 0, true)
	f.Add([]byte{63, 'a'}, -1, uint16(255), 65535, true)
	f.Fuzz(func(t *testing.T, name []byte, labels int, qtype uint16, limit int, firstLink bool) {
		if len(name) > 255 {
			name = name[:255]
		}
		msg := append(make([]byte, 12, 4096), name...)
		msg = append(msg, byte(qtype>>8), byte(qtype), 0, 1)
		out, r := set.Answer(msg, name, labels, qtype, limit, firstLink)
		if len(out) > max(limit, len(msg)) || len(out) > cap(msg) {
			t.Fatalf("%d bytes with limit %d", len(out), limit)
		}
		other := r
		set.NoData(out, &r, len(name), limit)
		set.AppendANY(out, &other, len(name), limit)
	})
}
