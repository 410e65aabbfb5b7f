package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/dchest/siphash"

	"geodns/pkg/dnswire"
	"geodns/pkg/steering"
)

// CookieSecret is a key that server cookies are made with (RFC 9018 section 4.4). All servers that answer at an address
// share it.
type CookieSecret [16]byte

// CookieSecretsMax is how many secrets are valid at once: while one is replaced, the old and the new one (RFC 9018 section 5).
const CookieSecretsMax = 2

// A server cookie (RFC 9018 section 4): version 1, three zero octets, 32 bits of time in seconds, the hash.
const (
	cookieLen     = dnswire.CookieClientLen + 16
	cookieVersion = 1
	cookieStamp   = dnswire.CookieClientLen + 4 // offset of the time
	cookieHash    = cookieStamp + 4

	// Ages in seconds (RFC 9018 section 4.3), by serial number arithmetic: a cookie is good for an hour, and five minutes
	// ahead of our clock; past half an hour the client gets a new one.
	cookieAgeMax = 3600
	cookieAhead  = 300
	cookieRenew  = 1800
)

// cookies makes and checks server cookies for all responders of a server.
type cookies struct {
	keys atomic.Pointer[cookieKeys] // nil: cookies are not spoken
	now  func() time.Time
}

// cookieKeys is the secrets in force: the first makes, all of them check.
type cookieKeys struct {
	n    int
	keys [CookieSecretsMax][2]uint64
}

// set replaces the secrets; none turns cookies off.
func (c *cookies) set(secrets []CookieSecret) error {
	if len(secrets) > CookieSecretsMax {
		return fmt.Errorf("%d cookie secrets; at most %d", len(secrets), CookieSecretsMax)
	}
	if len(secrets) == 0 {
		c.keys.Store(nil)
		return nil
	}
	keys := &cookieKeys{n: len(secrets)}
	for i, s := range secrets {
		keys.keys[i] = [2]uint64{binary.LittleEndian.Uint64(s[:]), binary.LittleEndian.Uint64(s[8:])}
	}
	c.keys.Store(keys)
	return nil
}

// SetCookieSecrets replaces the secrets of server cookies while the server runs: the first makes cookies, all of them are
// accepted. Cookies that were turned off by Config cannot be turned on, nor the other way round.
func (s *Server) SetCookieSecrets(secrets []CookieSecret) error {
	if (len(secrets) == 0) != (len(s.cfg.CookieSecrets) == 0) {
		return errors.New("cookies are turned on or off only at the start")
	}
	return s.cfg.cookies.set(secrets)
}

// cookieHashInput is the octets that a cookie's hash is made of: its own before the hash, and an address.
const cookieHashInput = cookieHash + 16

// hash is a cookie's hash by key i: of what stands before it, and of the client's address.
func (k *cookieKeys) hash(i int, cookie *[cookieLen]byte, client *steering.Client) uint64 {
	var in [cookieHashInput]byte
	n := copy(in[:], cookie[:cookieHash])
	if client.V4 {
		binary.BigEndian.PutUint32(in[n:], uint32(client.Hi>>32))
		n += 4
	} else {
		binary.BigEndian.PutUint64(in[n:], client.Hi)
		binary.BigEndian.PutUint64(in[n+8:], client.Lo)
		n += 16
	}
	return siphash.Hash(k.keys[i][0], k.keys[i][1], in[:n])
}

// answer writes the cookie that a query is answered with, and says whether the query's own was a valid one of ours.
func (k *cookieKeys) answer(out *[cookieLen]byte, q *dnswire.Query, client *steering.Client, now uint32) (valid bool) {
	copy(out[:], q.Cookie[:cookieLen])
	if int(q.CookieLen) == cookieLen && out[dnswire.CookieClientLen] == cookieVersion {
		age := int32(now - binary.BigEndian.Uint32(out[cookieStamp:])) // RFC 1982: past 2106 as well
		if age >= -cookieAhead && age <= cookieAgeMax {
			given := binary.LittleEndian.Uint64(out[cookieHash:])
			for i := range k.n {
				if k.hash(i, out, client)^given == 0 {
					valid = true
					if i == 0 && age <= cookieRenew {
						return true
					}
				}
			}
		}
	}
	binary.BigEndian.PutUint32(out[dnswire.CookieClientLen:], cookieVersion<<24)
	binary.BigEndian.PutUint32(out[cookieStamp:], now)
	binary.LittleEndian.PutUint64(out[cookieHash:], k.hash(0, out, client))
	return valid
}

// cookie puts a cookie into the answer's OPT record, if the query brought one and cookies are on. It says whether they are.
func (r *responder) cookie(p *packet) bool {
	keys := r.cookies.keys.Load()
	if keys == nil {
		return false
	}
	if r.seconds == 0 {
		r.seconds = uint32(r.cookies.now().Unix())
	}
	q := r.q
	switch valid := keys.answer(&r.cookieOut, q, &p.source, r.seconds); {
	case valid:
		r.cookieValid, r.verified = true, true
		r.tally[countCookies+int(CookieValid)]++
	case q.CookieLen == dnswire.CookieClientLen:
		r.tally[countCookies+int(CookieClient)]++
	default:
		r.tally[countCookies+int(CookieInvalid)]++
	}
	r.opt.Cookie = r.cookieOut[:]
	return true
}
