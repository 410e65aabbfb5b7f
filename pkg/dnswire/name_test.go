package dnswire_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"geodns/pkg/dnswire"
)

func TestLowerWordTwin(t *testing.T) {
	check := func(b [8]byte) {
		t.Helper()
		var want [8]byte
		for i, c := range b {
			want[i] = dnswire.LowerByte(c)
		}
		var got [8]byte
		binary.LittleEndian.PutUint64(got[:], dnswire.LowerWord(binary.LittleEndian.Uint64(b[:])))
		if got != want {
			t.Fatalf("%x folds to %x, want %x", b, got, want)
		}
	}
	for c := range 256 { // each octet in each place, among neighbors that would carry
		for place := range 8 {
			for _, other := range []byte{0, 0x7F, 0xFF, 'A', 'Z'} {
				b := [8]byte{other, other, other, other, other, other, other, other}
				b[place] = byte(c)
				check(b)
			}
		}
	}
	for range 100_000 {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], rand.Uint64())
		check(b)
	}
}

func TestLowerByte(t *testing.T) {
	for c := range 256 {
		want := byte(c)
		if strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZ", rune(c)) {
			want = bytes.ToLower([]byte{byte(c)})[0]
		}
		if got := dnswire.LowerByte(byte(c)); got != want {
			t.Errorf("%#x folds to %#x, want %#x", c, got, want)
		}
	}
}

func TestNameLen(t *testing.T) {
	most := strings.Repeat("\x01a", 127) + "\x00" // 255 octets, 127 labels
	for _, c := range []struct {
		wire           string
		length, labels int
	}{
		{"", -1, 0},
		{"\x00", 1, 0},
		{"\x00rest", 1, 0},
		{"\x03www\x00", 5, 1},
		{"\x03www", -1, 0},
		{"\x03ww", -1, 0},
		{"\x40", -1, 0},
		{"\x01a\xC0\x0C", -1, 0},
		{most, 255, 127},
		{"\x01a" + most, -1, 0},
		{"\x02aa" + most[2:], -1, 0},
	} {
		if length, labels := dnswire.NameLen([]byte(c.wire)); length != c.length || labels != c.labels {
			t.Errorf("NameLen(%q) = %d, %d; want %d, %d", c.wire, length, labels, c.length, c.labels)
		}
	}
}
