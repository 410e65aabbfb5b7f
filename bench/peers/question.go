//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
)

// Types and codes of DNS that the questions and zones here have.
const (
	typeA    = 1
	typeMX   = 15
	typeTXT  = 16
	typeAAAA = 28
	typeOPT  = 41

	rcodeNXDomain = 3

	headerLen    = 12
	questionTail = 4    // QTYPE and QCLASS
	udpPayload   = 1232 // octets that the questions say they take
	optionECS    = 8
)

// want is what a right answer holds.
type want struct {
	rcode    uint8
	referral bool     // not authoritative
	answers  uint8    // the least number of answer records; 0: there are none, but records in the authority section
	kind     uint16   // of the last answer record
	data     [16]byte // its RDATA, if size is not 0
	size     uint8
}

// question is a query in wire form, its ID 0, and what answers it.
type question struct {
	at   uint32 // in the wire octets of all questions
	size uint16
	name uint16 // octets of the question section
	want want
}

// questions are many questions in arrays without pointers, which a garbage collection need not look at.
type questions struct {
	list []question
	wire []byte
}

// add appends a question with EDNS, and with the client's subnet if ecs is valid.
func (q *questions) add(name string, kind uint16, ecs netip.Prefix, w want) {
	at := len(q.wire)
	b := append(q.wire, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1)
	for label := range strings.SplitSeq(name, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	b = append(b, 0)
	b = binary.BigEndian.AppendUint16(b, kind)
	b = append(b, 0, 1)
	section := len(b) - at - headerLen
	b = append(b, 0, 0, typeOPT)
	b = binary.BigEndian.AppendUint16(b, udpPayload)
	b = append(b, 0, 0, 0, 0)
	if ecs.IsValid() {
		address := ecs.Addr().As4()
		octets := byte(ecs.Bits()+7) / 8
		b = append(b, 0, 8+octets, 0, optionECS, 0, 4+octets, 0, 1, byte(ecs.Bits()), 0)
		b = append(b, address[:octets]...)
	} else {
		b = append(b, 0, 0)
	}
	q.wire = b
	q.list = append(q.list, question{at: uint32(at), size: uint16(len(b) - at), name: uint16(section), want: w})
}

// bytes gives the wire form of question i.
func (q *questions) bytes(i int) []byte {
	x := &q.list[i]
	return q.wire[x.at : x.at+uint32(x.size)]
}

// echoes reports whether msg is a response to question i at all, and not truncated: the right bits, the same question.
func (q *questions) echoes(i int, msg []byte) bool {
	section := int(q.list[i].name)
	sent := q.bytes(i)
	return len(msg) >= headerLen+section && msg[2]&0x82 == 0x80 && binary.BigEndian.Uint16(msg[4:]) == 1 &&
		bytes.Equal(msg[headerLen:headerLen+section], sent[headerLen:headerLen+section])
}

// right reports whether msg is the answer that question i wants.
func (q *questions) right(i int, msg []byte) bool {
	if !q.echoes(i, msg) {
		return false
	}
	w := &q.list[i].want
	answers := binary.BigEndian.Uint16(msg[6:])
	authoritative := msg[2]&0x04 != 0
	switch {
	case msg[3]&0x0F != w.rcode, authoritative == w.referral:
		return false
	case w.answers == 0:
		return answers == 0 && binary.BigEndian.Uint16(msg[8:]) > 0
	case answers < uint16(w.answers):
		return false
	}
	kind, data, ok := lastRecord(msg, headerLen+int(q.list[i].name), int(answers))
	return ok && kind == w.kind && (w.size == 0 || bytes.Equal(data, w.data[:w.size]))
}

// lastRecord reads n records from off on, and gives the last one's type and data.
func lastRecord(msg []byte, off, n int) (kind uint16, data []byte, ok bool) {
	const fixed = 10 // octets from a record's type to the length of its data
	for range n {
		for off < len(msg) && msg[off] != 0 && msg[off] < 0xC0 {
			off += int(msg[off]) + 1
		}
		if off < len(msg) && msg[off] >= 0xC0 {
			off++
		}
		off++
		if off+fixed > len(msg) {
			return 0, nil, false
		}
		kind = binary.BigEndian.Uint16(msg[off:])
		size := int(binary.BigEndian.Uint16(msg[off+8:]))
		off += fixed
		if off+size > len(msg) {
			return 0, nil, false
		}
		data = msg[off : off+size]
		off += size
	}
	return kind, data, n > 0
}

// wantAddress is a positive answer whose last record has this address.
func wantAddress(a netip.Addr, answers uint8) want {
	w := want{answers: answers, kind: typeA, size: 4}
	if a.Is6() {
		w.kind, w.size = typeAAAA, 16
	}
	copy(w.data[:], a.AsSlice())
	return w
}
