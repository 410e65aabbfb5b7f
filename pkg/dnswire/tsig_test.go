package dnswire_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"geodns/pkg/dnswire"
)

// TestTSIGError checks what a query's TSIG becomes in the answer, by how miekg/dns reads it (RFC 8945 section 5.3.2).
func TestTSIGError(t *testing.T) {
	for _, c := range []struct{ about, owner, key string }{
		{"plain", "\x03kEy\x00", "kEy."},
		{"compressed", "\x03key\xC0\x0C", "key.www.example.com."},
		{"the question's name", "\xC0\x0C", "www.example.com."},
	} {
		t.Run(c.about, func(t *testing.T) {
			query := one(opt(), record(c.owner, 250, 255, 0, tsigData("hmac-sha256", "a mac", "")))
			var q dnswire.Query
			if out := q.Parse(query); out != dnswire.OK || q.TSIG == 0 {
				t.Fatalf("outcome %d, TSIG at %d", out, q.TSIG)
			}
			var sig dnswire.TSIG
			if !sig.Read(query, &q) {
				t.Fatal("not read")
			}
			msg := bytes.Clone(query[:q.QuestionEnd])
			before := len(msg)
			if msg = sig.AppendError(msg, dnswire.TSIGBadKey); len(msg) != before+sig.Len() {
				t.Errorf("%d octets, Len says %d", len(msg)-before, sig.Len())
			}
			dnswire.PutHeader(msg, q.AnswerFlags(dnswire.RcodeNotAuth, 0), 1, 0, 0, 1)
			var m dns.Msg
			if err := m.Unpack(msg); err != nil {
				t.Fatal(err)
			}
			got := m.IsTsig()
			if got == nil || got.Hdr.Name != c.key || got.Hdr.Class != dns.ClassANY || got.Hdr.Ttl != 0 || got.Algorithm != "hmac-sha256." ||
				got.TimeSigned != 0x66000001 || got.Fudge != 300 || got.MACSize != 0 || got.OrigId != 0x1234 || got.Error != 17 || got.OtherLen != 0 {
				t.Errorf("TSIG %v", got)
			}
		})
	}
}

// TestTSIGNames holds Read against miekg/dns on owners that lead nowhere, or too far.
func TestTSIGNames(t *testing.T) {
	for about, owner := range map[string]string{
		"itself":         "\x03key\xC0\x21",
		"forward":        "\xC0\x30",
		"the header":     "\xC0\x02",
		"behind the end": "\xFF\xFF",
		"too long":       strings.Repeat("\x3f"+strings.Repeat("x", 63), 3) + "\x37" + strings.Repeat("x", 55) + "\xC0\x0C",
	} {
		query := one(record(owner, 250, 255, 0, tsigData("alg", "", "")))
		var q dnswire.Query
		var sig dnswire.TSIG
		if out := q.Parse(query); out != dnswire.OK || sig.Read(query, &q) {
			t.Errorf("%s: outcome %d, or its name was read", about, out)
		}
	}
}
