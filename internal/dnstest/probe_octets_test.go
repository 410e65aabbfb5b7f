package dnstest_test

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// octets reads words that stand for octets:
//
//	0a1b             hex digits
//	'text'           letters
//	40*00            as many times what follows
//	name=a.example.  a name in wire form
//	ecs=A/LEN        the data of a client subnet option, as it should be
//	client, other    a client cookie, and another one
//	server           the server cookie that the server gives for `client`
//	aged=N           the server cookie that is N seconds old, by RFC 9018 and the secret that all have
//	flip             the last bit of what is before it turned over
//	now48            the time as TSIG has it
//	id               the query's id
func octets(text string, env *environment) ([]byte, error) {
	var out []byte
	for word := range strings.FieldsSeq(text) {
		if word == "flip" {
			if len(out) == 0 {
				return nil, errors.New("nothing to flip")
			}
			out[len(out)-1] ^= 1
			continue
		}
		b, err := octetsOf(word, env)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", word, err)
		}
		out = append(out, b...)
	}
	return out, nil
}

// octetsOf reads one word.
func octetsOf(word string, env *environment) ([]byte, error) {
	if times, what, ok := strings.Cut(word, "*"); ok && !strings.HasPrefix(word, "'") {
		n, err := strconv.Atoi(times)
		if err != nil {
			return nil, err
		}
		once, err := octetsOf(what, env)
		return []byte(strings.Repeat(string(once), n)), err
	}
	key, value, _ := strings.Cut(word, "=")
	switch {
	case len(word) >= 2 && word[0] == '\'' && word[len(word)-1] == '\'':
		return []byte(word[1 : len(word)-1]), nil
	case key == "name":
		return wireName(value)
	case key == "ecs":
		return ecsOctets(value)
	case word == "now48":
		return binary.BigEndian.AppendUint64(nil, uint64(time.Now().Unix()))[2:], nil
	case word == "id":
		return binary.BigEndian.AppendUint16(nil, env.id), nil
	case word == "client":
		return env.client, nil
	case word == "other":
		return []byte("another!"), nil
	case word == "server":
		return env.server()
	case key == "aged":
		n, err := strconv.Atoi(value)
		if err != nil || env.aged == nil {
			return make([]byte, 16), err
		}
		return env.aged(n), nil
	}
	return hex.DecodeString(word)
}

// ecsOctets is the data of a client subnet option (RFC 7871 section 6): family, source, scope 0, and the octets of the
// address that the prefix needs.
func ecsOctets(text string) ([]byte, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return nil, err
	}
	family := byte(1)
	if p.Addr().Is6() {
		family = 2
	}
	return append([]byte{0, family, byte(p.Bits()), 0}, p.Masked().Addr().AsSlice()[:(p.Bits()+7)/8]...), nil
}

// hexText shows a message in hex, the header, then what follows; long ones are cut.
func hexText(msg []byte) string {
	const most = 160
	if len(msg) <= 12 {
		return hex.EncodeToString(msg)
	}
	text := hex.EncodeToString(msg[:12]) + " " + hex.EncodeToString(msg[12:min(len(msg), most)])
	if len(msg) > most {
		text += fmt.Sprintf("... (%d octets)", len(msg))
	}
	return text
}
