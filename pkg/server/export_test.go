package server

import (
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"geodns/pkg/steering"
)

// Responder is the answer path without sockets.
type Responder struct {
	r       *responder
	v       *view
	packets []packet
}

// NewResponder makes a Responder with its own counters.
func NewResponder(cfg Config, w *World) (*Responder, error) {
	all, err := NewResponders(cfg, w, 1)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// NewResponders makes the Responders of so many workers.
func NewResponders(cfg Config, w *World, workers int) (all []*Responder, err error) {
	cfg.Listen = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	if cfg, err = cfg.withDefaults(); err != nil {
		return nil, err
	}
	v := newView(&cfg, w, newHits(workers, len(w.names)))
	for i := range workers {
		all = append(all, &Responder{r: newResponder(&cfg, &block{}, i, BatchMax), v: v})
	}
	return all, nil
}

// Written is where the memory is that answers write to, the packets apart: from, and up to.
func (r *Responder) Written() [][2]uintptr {
	span := func(p unsafe.Pointer, size uintptr) [2]uintptr { return [2]uintptr{uintptr(p), uintptr(p) + size} }
	slots := r.v.hits[r.r.number]
	return [][2]uintptr{
		span(unsafe.Pointer(r.r), unsafe.Sizeof(*r.r)),
		span(unsafe.Pointer(&r.r.block.n), unsafe.Sizeof(r.r.block.n)+unsafe.Sizeof(r.r.block.regions)),
		span(unsafe.Pointer(&r.r.batch[0]), unsafe.Sizeof(r.r.batch[0])*uintptr(len(r.r.batch))),
		span(unsafe.Pointer(&r.r.steered[0]), unsafe.Sizeof(r.r.steered[0])*uintptr(len(r.r.steered))),
		span(unsafe.Pointer(&slots[0]), unsafe.Sizeof(slots[0])*uintptr(len(slots))),
	}
}

// CacheLine is what two workers must not both write to.
const CacheLine = cacheLine

// Answer answers one query as it came from source; nil is a drop. Room is the length of its buffer.
func (r *Responder) Answer(t Transport, source netip.Addr, query []byte, room int) []byte {
	buf := make([]byte, room)
	n := copy(buf, query)
	p := []packet{{buf: buf, n: n, cut: n < len(query), source: clientOf(source), transport: t, keepalive: 100}}
	r.r.answer(r.v, p)
	if p[0].n == 0 {
		return nil
	}
	return buf[:p[0].n]
}

// Fill makes a batch of the queries, as UDP from one source.
func (r *Responder) Fill(queries [][]byte, source netip.Addr) {
	r.packets = make([]packet, len(queries))
	for i := range queries {
		r.packets[i] = packet{buf: make([]byte, bufferLen), source: clientOf(source)}
	}
	r.Refill(queries)
}

// Refill puts the queries back where answers were written.
func (r *Responder) Refill(queries [][]byte) {
	for i, q := range queries {
		r.packets[i].n = copy(r.packets[i].buf, q)
	}
}

// AnswerBatch answers what Fill made.
func (r *Responder) AnswerBatch() { r.r.answer(r.v, r.packets) }

// Batch is the answers of AnswerBatch; an empty one is a drop.
func (r *Responder) Batch() (answers [][]byte) {
	for _, p := range r.packets {
		answers = append(answers, p.buf[:p.n])
	}
	return answers
}

// Stats is what was counted.
func (r *Responder) Stats() Stats {
	s := Stats{Policies: map[string]uint64{}}
	s.add(r.r.block)
	r.v.sum(s.Policies)
	return s
}

// BufferLen, TCPReadBuffer and PortTries are limits that tests go up to.
const (
	BufferLen     = bufferLen
	TCPReadBuffer = tcpReadBuffer
)

// Portable makes cfg use the path for systems without recvmmsg.
func Portable(cfg Config) Config {
	cfg.portable = true
	return cfg
}

// Sockets is the raw sockets of an endpoint.
func Sockets(s *Server, endpoint int, network string) (raw []syscall.RawConn) {
	e := s.endpoints[endpoint]
	conns := []syscall.Conn{e.tcp}
	if network == "udp" {
		conns = conns[:0]
		for _, c := range e.udp {
			conns = append(conns, c)
		}
	}
	for _, c := range conns {
		if r, err := c.SyscallConn(); err == nil {
			raw = append(raw, r)
		}
	}
	return raw
}

// SourceOf says what counts as one TCP source.
func SourceOf(a netip.Addr) netip.Prefix { return sourceOf(a) }

// ClientOf is a packet's source.
func ClientOf(a netip.Addr) steering.Client { return clientOf(a) }

// At makes cfg's cookies tell the time by a func.
func At(cfg Config, now func() time.Time) Config {
	cfg.cookies = &cookies{now: now}
	return cfg
}
