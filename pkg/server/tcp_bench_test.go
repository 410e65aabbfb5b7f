package server_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"

	"geodns/pkg/server"
)

// BenchmarkTCP asks over one connection, so many queries at once: an op is one query and its answer.
func BenchmarkTCP(b *testing.B) {
	query := framed(ask(b, "www.example.com.", dns.TypeA, edns(1232)))
	for _, depth := range []int{1, 8, 32, 100} {
		b.Run(fmt.Sprintf("pipelined=%d", depth), func(b *testing.B) {
			s := serve(b, server.Config{}, testWorld(b))
			c := dialTCP(b, s)
			_ = c.SetDeadline(time.Time{})
			write(b, c, query)
			answers := make([]byte, depth*(2+len(receive(b, c))))
			stream := bytes.Repeat(query, depth)
			r := bufio.NewReaderSize(c, 1<<16)
			b.ResetTimer()
			for i := 0; i < b.N; i += depth {
				if _, err := c.Write(stream); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(r, answers); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkTCPConnect asks one query on each connection, as most resolvers do after a truncated answer.
func BenchmarkTCPConnect(b *testing.B) {
	s := serve(b, server.Config{}, testWorld(b))
	query := framed(ask(b, "www.example.com.", dns.TypeA, edns(1232)))
	buf := make([]byte, 4096)
	for b.Loop() {
		c, err := net.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			b.Fatal(err)
		}
		write(b, c, query)
		if _, err := c.Read(buf); err != nil {
			b.Fatal(err)
		}
		_ = c.Close()
	}
}
