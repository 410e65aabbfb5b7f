package node_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/dchest/siphash"
	"github.com/miekg/dns"
)

// serverCookie is the server cookie that a query is sent with, in hex digits: of `server` the one that the server gives, of `made` one
// that is made here by its secret, or what the file says.
func (s *behaviorServer) serverCookie(q *query, transport string) (string, error) {
	switch {
	case q.server == "server":
		fetched, err := s.cookie(q, transport, "")
		if err != nil {
			return "", err
		}
		return fetched[16:], nil
	case strings.HasPrefix(q.server, "made:"):
		return s.madeCookie(q, strings.Split(q.server, ":")[1:])
	}
	_, err := hex.DecodeString(q.server)
	return q.server, err
}

// madeCookie makes a server cookie (RFC 9018 section 4) by AGE[:SECRET[:ADDRESS]]: so many seconds old, by the secret of that number
// (1), for a client at that address (127.0.0.1).
func (s *behaviorServer) madeCookie(q *query, words []string) (string, error) {
	words = append(words, []string{"", "1", "127.0.0.1"}[min(len(words), 3):]...)
	age, err := strconv.Atoi(words[0])
	if err != nil {
		return "", err
	}
	number, err := strconv.Atoi(words[1])
	if err != nil || number < 1 || number > len(s.secrets) {
		return "", fmt.Errorf("there is no cookie secret %q", words[1])
	}
	client, err := netip.ParseAddr(words[2])
	if err != nil {
		return "", err
	}
	secret, err := hex.DecodeString(s.secrets[number-1])
	if err != nil {
		return "", err
	}
	cookie, err := hex.DecodeString(q.client)
	if err != nil {
		return "", err
	}
	cookie = append(cookie, 1, 0, 0, 0)
	cookie = binary.BigEndian.AppendUint32(cookie, uint32(time.Now().Unix()-int64(age)))
	le := binary.LittleEndian
	sum := siphash.Hash(le.Uint64(secret), le.Uint64(secret[8:]), append(bytes.Clone(cookie), client.AsSlice()...))
	return hex.EncodeToString(le.AppendUint64(cookie, sum)[8:]), nil
}

// serverCookieTime is how far the time in a server cookie that was just made may be from ours.
const serverCookieTime = 10 * time.Second

// checkCookie checks a fresh server cookie: its form (RFC 9018 section 4), and that the server knows it again.
func (s *behaviorServer) checkCookie(q *query, transport, server string) error {
	data, err := hex.DecodeString(server)
	if err != nil {
		return err
	}
	if len(data) != 16 || !bytes.Equal(data[:4], []byte{1, 0, 0, 0}) {
		return fmt.Errorf("server cookie %s is not of version 1 with 16 octets", server)
	}
	made := time.Unix(int64(binary.BigEndian.Uint32(data[4:])), 0)
	if off := time.Since(made).Abs(); off > serverCookieTime {
		return fmt.Errorf("server cookie %s was made at %s, which is %s off", server, made, off)
	}
	again, err := s.cookie(q, transport, server)
	if err != nil {
		return fmt.Errorf("asking with the fresh cookie: %w", err)
	}
	if again[16:] != server {
		return fmt.Errorf("server cookie %s is not taken: it is answered with %s", server, again[16:])
	}
	return nil
}

// cookie asks with a client cookie, and a server cookie or none, and gives both that the answer holds, in hex digits.
func (s *behaviorServer) cookie(q *query, transport, server string) (string, error) {
	asked, err := q.pack(server)
	if err != nil {
		return "", err
	}
	got, err := s.exchange(q, transport, asked)
	if err != nil {
		return "", err
	}
	if got == nil {
		return "", errors.New("no answer")
	}
	for _, o := range options(got) {
		if o.code == dns.EDNS0COOKIE && len(o.data) > 8 {
			return hex.EncodeToString(o.data), nil
		}
	}
	return "", errors.New("the answer holds no server cookie")
}
