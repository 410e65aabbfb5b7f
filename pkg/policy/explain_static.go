package policy

import (
	"encoding/binary"
	"fmt"
	"strings"

	"geodns/pkg/zone"
)

// sections are the names of a message's sections after the question.
func sections() []string { return []string{"answer", "authority", "additional"} }

// static tells what an answer from a zone file is made of. msg is the answer, whose records begin at the offset start.
func (e *Explanation) static(msg []byte, start int, reply *zone.Reply) {
	counts := []int{int(reply.AN), int(reply.NS), int(reply.AR)}
	var cut string
	at := start
	for section, n := range counts {
		var last string
		of := 0
		for range n {
			var rr record
			if rr, at = recordAt(msg, at); at < 0 {
				e.Note = "the zone's answer cannot be read: a fault of this program"
				return
			}
			if section == 1 && rr.typ == typeNS { // no other answer has one there
				cut = rr.owner
			}
			text := fmt.Sprintf("%s: %s %d IN %s", sections()[section], rr.owner, rr.ttl, typeName(rr.typ))
			if of++; text != last {
				e.RRsets, of, last = append(e.RRsets, ""), 1, text
			}
			e.RRsets[len(e.RRsets)-1] = fmt.Sprintf("%s, %s", text, records(of))
		}
	}
	e.Note = "from the zone file: " + found(reply, cut) + "; the scope of a static answer is 0"
}

// found says what a zone's answer is.
func found(reply *zone.Reply, cut string) string {
	switch {
	case reply.TC:
		return "it does not fit the largest message"
	case reply.AN > 0 && cut != "":
		return "a chain that ends in a referral to the servers of " + cut
	case reply.AN > 0:
		return "an answer"
	case cut != "":
		return "a referral to the servers of " + cut
	case reply.Rcode != 0:
		return "the name does not exist"
	}
	return "the name exists, and has nothing of this type"
}

// records counts records.
func records(n int) string {
	if n == 1 {
		return "1 record"
	}
	return fmt.Sprintf("%d records", n)
}

// record is one record of a message.
type record struct {
	owner string
	typ   uint16
	ttl   uint32
}

// recordAt reads a record of a message that we made, and where the next one begins; -1 if it does not hold.
func recordAt(msg []byte, at int) (r record, next int) {
	r.owner = nameAt(msg, at)
	for at < len(msg) && msg[at] != 0 && msg[at] < 0xC0 {
		at += 1 + int(msg[at])
	}
	if at < len(msg) && msg[at] >= 0xC0 {
		at++
	}
	const fixed = 10 // type, class, TTL and RDLENGTH
	if at++; at+fixed > len(msg) {
		return r, -1
	}
	r.typ, r.ttl = binary.BigEndian.Uint16(msg[at:]), binary.BigEndian.Uint32(msg[at+4:])
	next = at + fixed + int(binary.BigEndian.Uint16(msg[at+8:]))
	if next > len(msg) {
		return r, -1
	}
	return r, next
}

// typeName is a type as people write it.
func typeName(typ uint16) string {
	for name, n := range typeNumbers() {
		if n == typ && name != "" {
			return name
		}
	}
	return fmt.Sprintf("TYPE%d", typ)
}

// zoneText tells which zone a reply is from.
func zoneText(z *zone.Info) string {
	return fmt.Sprintf("%s serial %d, from %s", z.Origin, z.Serial, strings.TrimSpace(z.File))
}

// zoneOf is the zone that a reply is from: the one that has the name, but for DS at an apex the one above, if that is served too (RFC 4035
// section 3.1.4.1). Anywhere else that one has the name as well.
func (s Scene) zoneOf(q *asked, reply *zone.Reply) zone.Info {
	if q.qtype == typeDS && q.labels > 0 {
		up := asked{name: q.name[1+q.name[0]:], labels: q.labels - 1, qtype: typeSOA}
		if _, above := s.ask(&up, false); above.Kind != zone.Outside {
			reply = &above
		}
	}
	return s.Zones.Zones()[reply.Zone]
}
