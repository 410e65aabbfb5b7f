package server

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"geodns/pkg/steering"
)

// packetWorker is the UDP path for systems without recvmmsg: one datagram at a time from a socket that workers share.
type packetWorker struct {
	conn      *net.UDPConn
	responder *responder
	view      *atomic.Pointer[view]
	stopping  *atomic.Bool
	buf       [bufferLen + 1]byte // one octet more than is accepted shows a longer datagram
	batch     [1]packet
}

// newPacketWorker makes the loop of one worker. It cannot tell which address was asked on an unspecified one.
func newPacketWorker(
	socket udpSocket, addr netip.Addr, r *responder, v *atomic.Pointer[view], stopping *atomic.Bool,
) (func() error, error) {
	if addr.IsUnspecified() {
		return nil, errors.New("on this system answers cannot leave from the address that was asked; listen on each address by name")
	}
	conn, ok := socket.(*net.UDPConn)
	if !ok {
		return nil, fmt.Errorf("a socket of type %T", socket)
	}
	w := &packetWorker{conn: conn, responder: r, view: v, stopping: stopping}
	return w.run, nil
}

// receiveErrorsMax is how many receives may fail one after another before it is no longer taken for an accident.
const receiveErrorsMax = 1000

// run answers until the socket is closed.
func (w *packetWorker) run() error {
	for inRow := 0; ; {
		n, _, _, from, err := w.conn.ReadMsgUDPAddrPort(w.buf[:], nil)
		if errors.Is(err, net.ErrClosed) || w.stopping.Load() {
			return nil
		}
		if err != nil {
			// An error that belongs to a datagram sent before (ICMP), or a shortage: either way the next one may do.
			w.responder.count(countReceiveErrors)
			if inRow++; inRow == receiveErrorsMax {
				return fmt.Errorf("receiving queries: %w", err)
			}
			continue
		}
		inRow = 0
		p := &w.batch[0]
		*p = packet{buf: w.buf[:bufferLen], n: min(n, bufferLen), cut: n > bufferLen, source: clientOf(from.Addr())}
		w.responder.tally[countBatches]++
		w.responder.answer(w.view.Load(), w.batch[:])
		if p.n == 0 {
			continue
		}
		if _, _, err := w.conn.WriteMsgUDPAddrPort(p.buf[:p.n], nil, from); err != nil {
			w.responder.count(countSendErrors)
		}
	}
}

// clientOf is the client at an address, all of it known.
func clientOf(a netip.Addr) steering.Client {
	a = a.Unmap()
	if a.Is4() {
		return steering.Client4(a.As4(), 32)
	}
	return steering.Client6(a.As16(), 128)
}
