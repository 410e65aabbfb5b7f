package server_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/miekg/dns"
)

const (
	// diffWindow is how many queries to one server are under way at once: few enough for its socket's buffer.
	diffWindow = 64
	// diffUDPSize is the size of answers over UDP that is asked for: what all of the servers give at most by themselves.
	diffUDPSize = 1232
	// diffWait is how long to wait for an answer before what is under way is sent again, diffTries times.
	diffWait  = 2 * time.Second
	diffTries = 5
)

// diffQuery is one question.
type diffQuery struct {
	name  labels
	qtype uint16
}

// pack gives the query in wire form, with EDNS.
func (q diffQuery) pack() []byte {
	msg := append(make([]byte, 0, 300), 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1)
	msg = append(msg, q.name.wire()...)
	msg = binary.BigEndian.AppendUint16(msg, q.qtype)
	msg = append(msg, 0, 1)
	return append(msg, 0, 0, 41, diffUDPSize>>8, diffUDPSize&255, 0, 0, 0, 0, 0, 0)
}

// String shows the query as dig takes it.
func (q diffQuery) String() string { return fmt.Sprintf("%s %s", q.name.text(), dns.Type(q.qtype)) }

// diffReplies is what one server answers to a list of queries.
type diffReplies struct {
	wire      [][]byte // by query
	truncated []bool   // by query: UDP gave TC, wire is TCP's answer
}

// askAll asks a server all queries: over UDP, and over TCP what is truncated. With errSilent, what came before is there.
func askAll(addr string, queries [][]byte) (*diffReplies, error) {
	out := &diffReplies{wire: make([][]byte, len(queries)), truncated: make([]bool, len(queries))}
	if err := out.udp(addr, queries); err != nil {
		for i, answer := range out.wire {
			if len(answer) > 2 && answer[2]&2 != 0 { // nobody is there to be asked again
				out.wire[i] = nil
			}
		}
		return out, err
	}
	var conn *dns.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close()
		}
	}()
	for i, answer := range out.wire {
		if answer[2]&2 == 0 {
			continue
		}
		out.truncated[i] = true
		var err error
		for range 2 { // a server may have closed the connection meanwhile
			if conn == nil {
				if conn, err = dns.DialTimeout("tcp", addr, diffWait); err != nil {
					conn = nil
					continue
				}
			}
			if out.wire[i], err = askTCP(conn, queries[i]); err == nil {
				break
			}
			_ = conn.Close()
			conn = nil
		}
		if err != nil {
			return out, fmt.Errorf("asking by TCP: %w", err)
		}
	}
	return out, nil
}

// askTCP asks one query on a connection.
func askTCP(conn *dns.Conn, query []byte) ([]byte, error) {
	if err := conn.SetDeadline(time.Now().Add(diffWait)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	answer, err := conn.ReadMsgHeader(nil)
	return answer, err
}

// errSilent is a server that leaves queries unanswered.
var errSilent = errors.New("no answer")

// udp asks all queries, diffWindow at once. The ID of a query is its number's low bits.
func (out *diffReplies) udp(addr string, queries [][]byte) error {
	c, err := net.Dial("udp", addr) //nolint:noctx // closed below
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	var room []byte // for answers
	buf, query := make([]byte, 4096), make([]byte, 0, 512)
	send := func(i int) error {
		query = append(query[:0], queries[i]...)
		binary.BigEndian.PutUint16(query, uint16(i))
		_, err := c.Write(query)
		return err
	}
	tries, deadline := 0, time.Time{}
	done, sent, first := 0, 0, 0 // first: all before it are answered
	for done < len(queries) {
		for ; sent < len(queries) && sent-done < diffWindow && sent-first < 1<<15; sent++ {
			if err := send(sent); err != nil {
				return err
			}
		}
		if now := time.Now(); deadline.Sub(now) < diffWait/2 {
			deadline = now.Add(diffWait)
			if err := c.SetReadDeadline(deadline); err != nil {
				return err
			}
		}
		n, err := c.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) && tries < diffTries {
			tries++
			for i := first; i < sent; i++ {
				if out.wire[i] == nil {
					if err = send(i); err != nil {
						return err
					}
				}
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("%d of %d queries answered, then: %w", done, len(queries), errors.Join(err, errSilent))
		}
		if n < 12 {
			continue
		}
		i := first&^0xFFFF | int(binary.BigEndian.Uint16(buf))
		if i < first {
			i += 1 << 16
		}
		if i >= sent || out.wire[i] != nil || !bytes.HasPrefix(buf[12:n], queries[i][12:len(queries[i])-11]) {
			continue // the answer to a query that was sent twice
		}
		if len(room)+n > cap(room) {
			room = make([]byte, 0, 1<<18)
		}
		room = append(room, buf[:n]...)
		out.wire[i] = room[len(room)-n : len(room) : len(room)]
		done++
		tries = 0
		for first < len(queries) && out.wire[first] != nil {
			first++
		}
	}
	return nil
}
