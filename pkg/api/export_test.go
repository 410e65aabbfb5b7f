package api

import (
	"context"
	"net/netip"
	"time"
)

// WrongAddrsMax bounds the addresses that a door remembers.
const WrongAddrsMax = wrongAddrsMax

// The limits of a stream.
const (
	EventQueue     = eventQueue
	FlushTick      = flushTick
	FlushTogether  = flushTogether
	FlushEvery     = flushEvery
	FlushBytes     = flushBytes
	HeartbeatEarly = heartbeatEarly
)

// Heartbeat is how often an idle stream says something.
const Heartbeat = heartbeat

// Door lets in who has a token.
type Door = door

// NewDoor makes one that lets nobody in.
func NewDoor() *Door { return &door{accept: func(string) bool { return false }} }

// Failed counts a wrong token.
func (d *door) Failed(from string, now time.Time) { d.failed(netip.MustParseAddr(from), now) }

// Locked says whether an address is locked out.
func (d *door) Locked(from string, now time.Time) bool {
	return d.locked(netip.MustParseAddr(from), now) > 0
}

// Remembered counts the addresses remembered.
func (d *door) Remembered() int { return len(d.wrong) }

// Listening counts the streams.
func (e *Events) Listening() int {
	n, _ := e.Streams()
	return n
}

// Stream listens until the stream ends, and gives why; send gets each piece. False: nobody is let in.
func (e *Events) Stream(ctx context.Context, last string, send func([]byte) error, kinds ...string) (bool, error) {
	s := e.subscribe(last, kinds)
	if s == nil {
		return false, nil
	}
	defer e.leave(s)
	return true, e.stream(ctx, s, send)
}
