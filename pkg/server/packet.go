package server

import (
	"geodns/pkg/steering"
)

// Transport is how a query came.
type Transport uint8

// The transports.
const (
	UDP Transport = iota
	TCP
	transports
)

// String gives the word used in metrics.
func (t Transport) String() string {
	if t == TCP {
		return "tcp"
	}
	return "udp"
}

// packet is one query in its receive buffer, and then its answer there.
type packet struct {
	buf       []byte          // len(buf) is the room for the answer
	n         int             // octets of the query in buf; then octets of the answer, 0 where there is none to send
	source    steering.Client // who sent it, all bits known
	transport Transport
	keepalive uint16 // TCP: how long the connection may be silent from now on, in 100 ms; 0: it shall be closed
	cut       bool   // the query was longer than buf; what is there is its beginning
}
