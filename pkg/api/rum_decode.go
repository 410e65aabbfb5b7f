package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"time"

	"geodns/pkg/rum"
)

// Limits of what users measured.
const (
	// BeaconSamplesMax bounds the samples of a beacon: a page measures three or four regions, now and then a few more.
	BeaconSamplesMax = 32
	// jsonDepthMax bounds lists and mappings in one another, of keys that we do not know; our own take three.
	jsonDepthMax = 16
	// millisecondsMax bounds a time before it becomes a time.Duration: 11 days are more than anybody believes, and no overflow.
	millisecondsMax = 1e9
)

// beaconVersion is the version of beacons and plans. Keys may come without another; one whose meaning changes needs one.
const beaconVersion = 1

// What is wrong with a beacon, for its sender.
var (
	errJSON    = errors.New("the body is no JSON text of one beacon")
	errVersion = fmt.Errorf(`a beacon has "v": %d`, beaconVersion)
	errSamples = errors.New(`a beacon has "samples", a list`)
	errMany    = fmt.Errorf("a beacon has at most %d samples", BeaconSamplesMax)
)

// decodeBeacon appends the samples of a beacon, whose client is who sent it. A sample that is none becomes one without a region, which the
// collector counts as malformed; an error is for a body that is no beacon. Unknown keys are passed over, so that scripts may be ahead of
// servers. It is a scanner of its own: encoding/json takes four times as long, most of it for what is allocated.
func decodeBeacon(body []byte, client netip.Addr, to []rum.Sample) ([]rum.Sample, error) {
	s, kept := scanner{data: body}, len(to)
	version, listed, many := 0.0, false, false
	ok := s.object(func(key []byte) (ok bool) {
		switch string(key) {
		case "v":
			version = 0
			if !s.atNumber() {
				return s.skip(1)
			}
			version, ok = s.number()
			return ok
		case "samples":
			listed = s.next() == '[' // of two the last counts, as everywhere
			if to, many = to[:kept], false; !listed {
				return s.skip(1)
			}
			to, ok = s.samples(client, to)
			many = len(to)-kept > BeaconSamplesMax
			return ok
		}
		return s.skip(1)
	})
	switch {
	case !ok || !s.ended():
		return to[:kept], errJSON
	case version != beaconVersion:
		return to[:kept], errVersion
	case !listed:
		return to[:kept], errSamples
	case many:
		return to[:kept], errMany
	}
	return to, nil
}

// samples appends the samples of a list, one more than a beacon may have at most.
func (s *scanner) samples(client netip.Addr, to []rum.Sample) ([]rum.Sample, bool) {
	kept := len(to)
	ok := s.array(func() bool {
		if len(to)-kept > BeaconSamplesMax {
			return s.skip(2)
		}
		one, ok := s.sample(false)
		one.Client = client
		to = append(to, one)
		return ok
	})
	return to, ok
}

// decodeLine reads a line of NDJSON. What is none becomes a sample without a region.
func decodeLine(line []byte) rum.Sample {
	s := scanner{data: line}
	one, ok := s.sample(true)
	if !ok || !s.ended() {
		return malformed()
	}
	return one
}

// malformed is a sample that the collector counts as such.
func malformed() rum.Sample { return rum.Sample{Latency: -1} }

// sample reads one sample; false: it is no JSON. One that is JSON and nothing else becomes malformed. Only one of a feed has a client
// and a time: a beacon's are what we see.
func (s *scanner) sample(feed bool) (rum.Sample, bool) {
	if s.next() != '{' {
		return malformed(), s.skip(2)
	}
	var one rum.Sample
	var wrong [fieldCount]bool
	measured := false
	ok := s.object(func(key []byte) bool {
		f := fieldOf(key, feed)
		wrong[f] = false // of two the last counts
		switch c := s.next(); {
		case f == fieldUnknown:
		case c == 'n': // null, as if it were not there
			f.clear(&one, &measured)
		case f == fieldMS && s.atNumber():
			ms, ok := s.number()
			one.Latency, measured = duration(ms), true
			return ok
		case f != fieldMS && c == '"':
			text, ok := s.text()
			wrong[f] = !f.set(&one, text)
			return ok
		default:
			wrong[f] = true
		}
		return s.skip(3)
	})
	if wrong != [fieldCount]bool{} || !measured && !one.Failed {
		return malformed(), ok
	}
	return one, ok
}

// field is a key of a sample.
type field uint8

// The keys that are known.
const (
	fieldUnknown field = iota
	fieldRegion
	fieldMS
	fieldError
	fieldClient
	fieldTime
	fieldCount
)

// fieldOf knows a key; those of a feed's samples only there.
func fieldOf(key []byte, feed bool) field {
	switch string(key) {
	case "region":
		return fieldRegion
	case "ms":
		return fieldMS
	case "error":
		return fieldError
	case "client":
		if feed {
			return fieldClient
		}
	case "time":
		if feed {
			return fieldTime
		}
	}
	return fieldUnknown
}

// clear makes a field what it is when it is not given.
func (f field) clear(one *rum.Sample, measured *bool) {
	switch f {
	case fieldRegion:
		one.Region = ""
	case fieldMS:
		one.Latency, *measured = 0, false
	case fieldError:
		one.Failed = false
	case fieldClient:
		one.Client = netip.Addr{}
	case fieldTime:
		one.Time = time.Time{}
	case fieldUnknown, fieldCount:
	}
}

// set reads a field's text; false: it is none.
func (f field) set(one *rum.Sample, text []byte) bool {
	var err error
	switch f {
	case fieldRegion:
		one.Region = string(text)
	case fieldError:
		one.Failed = len(text) > 0
	case fieldClient:
		one.Client, err = netip.ParseAddr(string(text))
		one.Client = one.Client.Unmap()
	case fieldTime:
		one.Time, err = time.Parse(time.RFC3339, string(text))
	case fieldMS, fieldUnknown, fieldCount:
		return false
	}
	return err == nil
}

// duration makes a time of milliseconds. What is out of every range stays so: the collector says why it is refused.
func duration(ms float64) time.Duration {
	return time.Duration(max(-millisecondsMax, min(ms, millisecondsMax)) * float64(time.Millisecond))
}

// scanner reads one JSON text (RFC 8259) that is in memory. Each method reads one thing, with the blanks before it, and says whether it
// was there; after a false nothing more is asked.
type scanner struct {
	data []byte
	at   int
}

// next is the byte that follows, behind blanks; 0 at the end.
func (s *scanner) next() byte {
	for s.at < len(s.data) {
		switch c := s.data[s.at]; c {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return c
		}
	}
	return 0
}

// atNumber says whether a number follows.
func (s *scanner) atNumber() bool {
	c := s.next()
	return c == '-' || c >= '0' && c <= '9'
}

// take reads one byte of syntax.
func (s *scanner) take(c byte) bool {
	if s.next() != c {
		return false
	}
	s.at++
	return true
}

// ended says whether nothing but blanks is left.
func (s *scanner) ended() bool {
	s.next()
	return s.at == len(s.data)
}

// object reads an object; each is called where a value is to be read.
func (s *scanner) object(each func(key []byte) bool) bool {
	if !s.take('{') {
		return false
	}
	if s.take('}') {
		return true
	}
	for {
		key, ok := s.text()
		if !ok || !s.take(':') || !each(key) {
			return false
		}
		if s.take('}') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

// array reads a list; each is called where a value is to be read.
func (s *scanner) array(each func() bool) bool {
	if !s.take('[') {
		return false
	}
	if s.take(']') {
		return true
	}
	for {
		if !each() {
			return false
		}
		if s.take(']') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

// text reads a string. Those with escapes, or that are not ASCII, are left to encoding/json: none of ours has any.
func (s *scanner) text() ([]byte, bool) {
	if !s.take('"') {
		return nil, false
	}
	begin, plain := s.at, true
	for ; s.at < len(s.data); s.at++ {
		switch c := s.data[s.at]; {
		case c == '"':
			s.at++
			if plain {
				return s.data[begin : s.at-1], true
			}
			var out string
			err := json.Unmarshal(s.data[begin-1:s.at], &out)
			return []byte(out), err == nil
		case c == '\\':
			plain = false
			s.at++
		case c < ' ':
			return nil, false
		case c > '~':
			plain = false
		}
	}
	return nil, false
}

// number reads a number. One that is too large for a float64 is infinite.
func (s *scanner) number() (float64, bool) {
	s.next()
	begin := s.at
	if s.at < len(s.data) && s.data[s.at] == '-' {
		s.at++
	}
	whole := s.digits()
	if whole == 0 || whole > 1 && s.data[s.at-whole] == '0' {
		return 0, false
	}
	mantissa, places := s.at, 0
	if s.at < len(s.data) && s.data[s.at] == '.' {
		s.at++
		if places = s.digits(); places == 0 {
			return 0, false
		}
	}
	exact := whole+places <= exactDigits
	if s.at < len(s.data) && (s.data[s.at] == 'e' || s.data[s.at] == 'E') {
		exact = false
		s.at++
		if s.at < len(s.data) && (s.data[s.at] == '+' || s.data[s.at] == '-') {
			s.at++
		}
		if s.digits() == 0 {
			return 0, false
		}
	}
	if !exact {
		f, _ := strconv.ParseFloat(string(s.data[begin:s.at]), 64) // out of range it is infinite, and that will do
		return f, true
	}
	var n int64
	for _, c := range s.data[mantissa-whole : s.at] {
		if c != '.' {
			n = n*10 + int64(c-'0')
		}
	}
	f := float64(n) / math.Pow10(places)
	if s.data[begin] == '-' {
		f = -f
	}
	return f, true
}

// exactDigits is how many digits a float64 has for sure, and 10 to that power too: one division rounds as it should.
const exactDigits = 15

// digits reads digits and counts them.
func (s *scanner) digits() (n int) {
	for s.at < len(s.data) && s.data[s.at] >= '0' && s.data[s.at] <= '9' {
		s.at++
		n++
	}
	return n
}

// skip reads a value of any kind, which stands in so many lists and mappings.
func (s *scanner) skip(depth int) bool {
	if depth > jsonDepthMax {
		return false
	}
	switch s.next() {
	case '{':
		return s.object(func([]byte) bool { return s.skip(depth + 1) })
	case '[':
		return s.array(func() bool { return s.skip(depth + 1) })
	case '"':
		_, ok := s.text()
		return ok
	case 't', 'f', 'n':
		for _, word := range []string{"true", "false", "null"} {
			if bytes.HasPrefix(s.data[s.at:], []byte(word)) {
				s.at += len(word)
				return true
			}
		}
		return false
	default:
		_, ok := s.number()
		return ok
	}
}
