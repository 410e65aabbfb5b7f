package server_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"geodns/internal/dnstest"
	"geodns/pkg/server"
)

// pieces is a stream that arrives in pieces of some size.
type pieces struct {
	rest []byte
	rng  *rand.Rand
	most int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), 1+p.rng.IntN(p.most))], p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// messagesTwin takes a stream apart that is all there.
func messagesTwin(stream []byte) []server.Message {
	var all []server.Message
	for len(stream) >= 2 {
		n := 2 + int(binary.BigEndian.Uint16(stream))
		if n > len(stream) {
			break
		}
		m := server.Message{Octets: string(stream[2:n])}
		if n > server.TCPReadBuffer {
			m = server.Message{Octets: string(stream[2:14]), Cut: true}
		}
		all = append(all, m)
		stream = stream[n:]
	}
	return all
}

// FuzzMessages takes a stream of messages of any lengths apart, whose last ones are cut off, in whatever pieces it arrives
// . A length stands for its message, so that there is little to vary.
func FuzzMessages(f *testing.F) {
	lengths := func(all ...uint16) []byte {
		var b []byte
		for _, n := range all {
			b = binary.BigEndian.AppendUint16(b, n)
		}
		return b
	}
	const first, buffer = server.TCPFirst, server.TCPReadBuffer
	f.Add(lengths(), uint16(0), uint64(0), uint16(1))
	f.Add(lengths(0, 0, 1), uint16(1), uint64(1), uint16(1))
	f.Add(lengths(1, 20, first-2, first-1, 30), uint16(0), uint64(2), uint16(300))
	f.Add(lengths(buffer-2, 3, buffer-1, 5), uint16(3), uint64(3), uint16(5000))
	f.Add(lengths(200, 40, 4000, 65535, 12), uint16(0), uint64(4), uint16(4096))
	f.Add(slices.Repeat(lengths(47), 100), uint16(40), uint64(5), uint16(4096))
	f.Fuzz(func(t *testing.T, lengths []byte, missing uint16, seed uint64, most uint16) {
		var stream []byte
		for ; len(lengths) >= 2 && len(stream) < 1<<18; lengths = lengths[2:] {
			n := int(binary.BigEndian.Uint16(lengths))
			stream = append(stream, framed(bytes.Repeat([]byte{byte(len(lengths))}, n))...)
		}
		stream = stream[:max(0, len(stream)-int(missing))]
		got := server.Messages(&pieces{stream, rand.New(rand.NewPCG(seed, 0)), 1 + int(most)})
		if want := messagesTwin(stream); !slices.Equal(got, want) {
			t.Fatalf("%d messages, want %d", len(got), len(want))
		}
	})
}

// TestMessagesRandom does the same with streams that look like streams.
func TestMessagesRandom(t *testing.T) {
	t.Run("A-60 streams in pieces", func(t *testing.T) {
		rng := rand.New(rand.NewPCG(dnstest.Seed(t), 1))
		sizes := []int{0, 1, 11, 40, 100, server.TCPFirst, 1000, server.TCPReadBuffer, 10_000}
		for range 500 {
			var stream []byte
			for range rng.IntN(60) {
				m := make([]byte, rng.IntN(1+sizes[rng.IntN(len(sizes))]))
				for i := range m {
					m[i] = byte(rng.Uint32())
				}
				stream = append(stream, framed(m)...)
			}
			got := server.Messages(&pieces{stream, rng, 1 + rng.IntN(5000)})
			if want := messagesTwin(stream); !slices.Equal(got, want) {
				t.Fatalf("%d messages, want %d", len(got), len(want))
			}
		}
	})
}
