package dnstest_test

import (
	"encoding/binary"
	"encoding/hex"
	"math/bits"
	"net/netip"
	"testing"
)

// serverCookie makes the server cookie of RFC 9018 section 4: version 1, three octets of 0, the time, and SipHash-2-4 of the client
// cookie, those eight octets and the client's address. The secret is 32 hex digits.
func serverCookie(client []byte, unix int64, address, secret string) []byte {
	key, _ := hex.DecodeString(secret) // a constant
	out := binary.BigEndian.AppendUint32([]byte{1, 0, 0, 0}, uint32(unix))
	in := append(append([]byte{}, client...), out...)
	in = append(in, netip.MustParseAddr(address).AsSlice()...)
	return binary.LittleEndian.AppendUint64(out, sipHash24(key, in))
}

// sipHash24 is SipHash-2-4 with a key of 16 octets, as its authors wrote it down.
func sipHash24(key, in []byte) uint64 {
	k0, k1 := binary.LittleEndian.Uint64(key), binary.LittleEndian.Uint64(key[8:])
	v0, v1, v2, v3 := k0^0x736f6d6570736575, k1^0x646f72616e646f6d, k0^0x6c7967656e657261, k1^0x7465646279746573
	round := func() {
		v0, v2 = v0+v1, v2+v3
		v1, v3 = bits.RotateLeft64(v1, 13)^v0, bits.RotateLeft64(v3, 16)^v2
		v0, v2 = bits.RotateLeft64(v0, 32)+v3, v2+v1
		v3, v1 = bits.RotateLeft64(v3, 21)^v0, bits.RotateLeft64(v1, 17)^v2
		v2 = bits.RotateLeft64(v2, 32)
	}
	word := func(m uint64) {
		v3 ^= m
		round()
		round()
		v0 ^= m
	}
	rest := in
	for ; len(rest) >= 8; rest = rest[8:] {
		word(binary.LittleEndian.Uint64(rest))
	}
	last := uint64(len(in)) << 56
	for i, b := range rest {
		last |= uint64(b) << (8 * i)
	}
	word(last)
	v2 ^= 0xFF
	for range 4 {
		round()
	}
	return v0 ^ v1 ^ v2 ^ v3
}

// TestServerCookie holds our making of cookies against RFC 9018's test vectors (appendices A.1 and A.4).
func TestServerCookie(t *testing.T) {
	for _, c := range []struct {
		client  string
		unix    int64
		address string
		secret  string
		cookie  string
	}{
		{"2464c4abcf10c957", 1559731985, "198.51.100.100", "e5e973e5a6b2a43f48e7dc849e37bfcf", "010000005cf79f111f8130c3eee29480"},
		{"22681ab97d52c298", 1559741961, "2001:db8:220:1:59de:d0f4:8769:82b8", "445536bcd2513298075a5d379663c962", "010000005cf7c609a6bb79d16625507a"},
	} {
		client, err := hex.DecodeString(c.client)
		if err != nil {
			t.Fatal(err)
		}
		if got := hexOf(serverCookie(client, c.unix, c.address, c.secret)); got != c.cookie {
			t.Errorf("cookie for %s of %s: %s, want %s", c.client, c.address, got, c.cookie)
		}
	}
}
