package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"geodns/pkg/steering"
)

// How a worker waits. System calls are made by RawSyscall, which the scheduler does not see, and so must never block: a
// thread in a blocking raw call holds up every garbage collection (with an idle socket, for ever). So they all carry
// MSG_DONTWAIT, and when there is nothing to read the worker parks in the runtime's poller, by syscall.RawConn.Read: it
// calls the worker's function, and again each time that the socket turns readable, until the function says that it is
// done. A receive that filled only part of the batch has emptied the socket; the poller is edge-triggered and was armed
// before, so what comes after that receive wakes it, and an idle worker need not ask once more for nothing.

// mmsghdr is the kernel's struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32 // octets received or sent
}

const (
	// controlLen holds one control message with an in_pktinfo or in6_pktinfo.
	controlLen = 64
	// Where the fields are in struct in_pktinfo and in6_pktinfo.
	pktinfo4Index = 0
	pktinfo6Addr  = 0
	pktinfo6Index = 16
)

// batchWorker receives, answers and sends in batches. It is owned by one goroutine. The arrays are allocated once, and
// the kernel reads and writes them only during a call; headers point to the buffers, names and control messages of
// their slot for ever, and the same ones are used to send.
type batchWorker struct {
	conn      syscall.RawConn
	responder *responder
	view      *atomic.Pointer[view]
	stopping  *atomic.Bool
	v6        bool
	wildcard  bool // control messages say which address was asked

	got, next int           // slots of the batch: filled, and not yet sent from here on
	fault     syscall.Errno // that ends the worker

	headers  [BatchMax]mmsghdr
	vectors  [BatchMax]unix.Iovec
	names    [BatchMax]unix.RawSockaddrInet6 // or, with its beginning, RawSockaddrInet4
	controls [BatchMax][controlLen]byte
	packets  [BatchMax]packet
	buffers  [BatchMax][bufferLen]byte
}

// newUDPWorker makes the loop of one worker.
func newUDPWorker(
	cfg *Config, conn *net.UDPConn, addr netip.Addr, r *responder, v *atomic.Pointer[view], stopping *atomic.Bool,
) (func() error, error) {
	if cfg.portable {
		return newPacketWorker(conn, addr, r, v, stopping)
	}
	w, err := newBatchWorker(conn, addr, r, v, stopping)
	if err != nil {
		return nil, err
	}
	return w.run, nil
}

func newBatchWorker(
	conn *net.UDPConn, addr netip.Addr, r *responder, v *atomic.Pointer[view], stopping *atomic.Bool,
) (*batchWorker, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("reaching the socket: %w", err)
	}
	w := &batchWorker{conn: raw, responder: r, view: v, stopping: stopping, v6: addr.Is6(), wildcard: addr.IsUnspecified()}
	for i := range w.headers {
		h := &w.headers[i].hdr
		w.vectors[i].Base = &w.buffers[i][0]
		h.Iov = &w.vectors[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&w.names[i]))
		if w.wildcard {
			h.Control = &w.controls[i][0]
		}
		w.packets[i].buf = w.buffers[i][:]
		w.reset(i)
	}
	return w, nil
}

// reset makes a slot ready to receive.
func (w *batchWorker) reset(i int) {
	h := &w.headers[i].hdr
	w.vectors[i].SetLen(bufferLen)
	h.Namelen = unix.SizeofSockaddrInet4
	if w.v6 {
		h.Namelen = unix.SizeofSockaddrInet6
	}
	if w.wildcard {
		h.SetControllen(controlLen)
	}
	h.Flags = 0
}

// run answers until the socket is closed.
func (w *batchWorker) run() error {
	// Made once: a method value allocates.
	serve, flush := w.serve, w.flush
	for {
		err := w.conn.Read(serve)
		for err == nil && w.fault == 0 && w.next < w.got {
			err = w.conn.Write(flush)
		}
		switch {
		case errors.Is(err, net.ErrClosed) || w.stopping.Load():
			return nil
		case err != nil:
			return fmt.Errorf("waiting for queries: %w", err)
		case w.fault != 0:
			return fmt.Errorf("receiving queries: %w", w.fault)
		}
	}
}

// serve answers batches until there is nothing to read (false: wait for more), or something to wait for or to stop for.
func (w *batchWorker) serve(fd uintptr) bool {
	for !w.stopping.Load() {
		n, errno := receive(fd, w.headers[:])
		switch errno {
		case 0:
		case unix.EAGAIN:
			return false
		case unix.EINTR:
			continue
		case unix.EBADF, unix.ENOTSOCK, unix.EFAULT, unix.EINVAL:
			w.fault = errno // ours: it would never end
			return true
		default:
			// A shortage of memory. Wait for the next datagram rather than ask again at once.
			w.responder.count(countReceiveErrors)
			return false
		}
		w.answer(n)
		if !w.flush(fd) {
			return true
		}
		if n < BatchMax {
			return false
		}
	}
	return true
}

// answer answers the first n slots in place.
func (w *batchWorker) answer(n int) {
	w.got, w.next = n, 0
	for i := range n {
		p, h := &w.packets[i], &w.headers[i]
		p.n = int(h.n)
		p.cut = h.hdr.Flags&unix.MSG_TRUNC != 0
		if w.v6 {
			p.source = steering.Client6(w.names[i].Addr, 128)
		} else {
			p.source = steering.Client4((*unix.RawSockaddrInet4)(unsafe.Pointer(&w.names[i])).Addr, 32)
		}
	}
	w.responder.tally[countBatches]++
	w.responder.answer(w.view.Load(), w.packets[:n])
	for i := range n {
		w.vectors[i].SetLen(w.packets[i].n)
		if w.wildcard {
			w.replyFrom(i)
		}
	}
}

// replyFrom turns the control message that says which address was asked into one that says to answer from it. The
// interface is left to the routing table, as the way back need not be the way in, but for a link-local address, which
// means nothing without it.
func (w *batchWorker) replyFrom(i int) {
	h, c := &w.headers[i].hdr, &w.controls[i]
	info := c[unix.CmsgLen(0):]
	want, index := unix.CmsgSpace(unix.SizeofInet4Pktinfo), pktinfo4Index
	if w.v6 {
		want, index = unix.CmsgSpace(unix.SizeofInet6Pktinfo), pktinfo6Index
	}
	if int(h.Controllen) < want || h.Flags&unix.MSG_CTRUNC != 0 {
		h.SetControllen(0)
		return
	}
	if w.v6 && info[pktinfo6Addr] == 0xFE && info[pktinfo6Addr+1]&0xC0 == 0x80 {
		return
	}
	binary.NativeEndian.PutUint32(info[index:], 0)
}

// flush sends the answers of the batch, and is false where it must wait to go on. Slots without an answer are left out.
// The kernel may take fewer than it was given; an answer that it refuses is counted and skipped.
func (w *batchWorker) flush(fd uintptr) bool {
	for w.next < w.got {
		if w.packets[w.next].n == 0 {
			w.next++
			continue
		}
		end := w.next + 1
		for end < w.got && w.packets[end].n > 0 {
			end++
		}
		n, errno := send(fd, w.headers[w.next:end])
		switch {
		case errno == unix.EAGAIN:
			return false
		case errno == unix.EINTR:
		case errno != 0 || n <= 0:
			w.responder.count(countSendErrors)
			w.next++
		default:
			w.next += n
		}
	}
	for i := range w.got {
		w.reset(i)
	}
	w.got, w.next = 0, 0
	return true
}

// receive takes up to len(headers) datagrams that are there already.
func receive(fd uintptr, headers []mmsghdr) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&headers[0])), uintptr(len(headers)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// send hands over datagrams, one at least or an error.
func send(fd uintptr, headers []mmsghdr) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&headers[0])), uintptr(len(headers)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}
