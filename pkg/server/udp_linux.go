package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
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
	// waitMax is how long a waiting worker keeps its processor, and what a collection that cannot interrupt it has to
	// wait (with GODEBUG=asyncpreemptoff=1). Below a tick of the kernel's clock (1 to 10 ms) it is one tick.
	waitMax = 4 * time.Millisecond
	// hurryBy is the steps of niceness between a worker and the rest of the process.
	hurryBy = 10
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

	got, next int // slots of the batch: filled, and not yet sent from here on

	headers  [BatchMax]mmsghdr
	vectors  [BatchMax]unix.Iovec
	names    [BatchMax]unix.RawSockaddrInet6 // or, with its beginning, RawSockaddrInet4
	controls [BatchMax][controlLen]byte
	packets  [BatchMax]packet
	buffers  [BatchMax][bufferLen]byte
}

// ownThreads: each worker has a thread for itself and holds a processor of the runtime while it waits.
const ownThreads = true

// ownUDP takes a socket out of the runtime's poller, which each datagram would wake.
func ownUDP(cfg *Config, conn *net.UDPConn) (udpSocket, error) {
	if cfg.portable {
		return conn, nil
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("reaching the socket: %w", err)
	}
	var socket *os.File
	own := func(fd uintptr) {
		var other int
		if other, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return
		}
		if err = unix.SetNonblock(other, false); err == nil {
			most := unix.NsecToTimeval(waitMax.Nanoseconds())
			err = unix.SetsockoptTimeval(other, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &most)
		}
		socket = os.NewFile(uintptr(other), "UDP socket")
	}
	if e := raw.Control(own); err != nil || e != nil {
		return nil, errors.Join(fmt.Errorf("making the socket one that blocks: %w", errors.Join(err, e)), conn.Close())
	}
	return socket, conn.Close()
}

// closeUDP closes a socket, for which who waits for it must be woken: it is closed when the last has left it.
func closeUDP(socket udpSocket) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	// The kernel says that it is not connected, and does what was asked.
	_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RD) })
	return socket.Close()
}

// newUDPWorker makes the loop of one worker.
func newUDPWorker(
	cfg *Config, socket udpSocket, addr netip.Addr, r *responder, v *atomic.Pointer[view], stopping *atomic.Bool,
) (func() error, error) {
	if cfg.portable {
		return newPacketWorker(socket, addr, r, v, stopping)
	}
	w, err := newBatchWorker(socket, addr, r, v, stopping)
	if err != nil {
		return nil, err
	}
	return w.run, nil
}

func newBatchWorker(
	socket udpSocket, addr netip.Addr, r *responder, v *atomic.Pointer[view], stopping *atomic.Bool,
) (*batchWorker, error) {
	raw, err := socket.SyscallConn()
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

// run answers until the server stops. Its thread ends with it, as it is no longer like the others.
func (w *batchWorker) run() error {
	runtime.LockOSThread()
	hurry()
	var fault error
	if err := w.conn.Control(func(fd uintptr) { fault = w.serve(fd) }); err != nil && !w.stopping.Load() {
		return fmt.Errorf("reaching the socket: %w", err)
	}
	return fault
}

// serve answers batches.
func (w *batchWorker) serve(fd uintptr) error {
	for !w.stopping.Load() {
		n, errno := receive(fd, w.headers[:])
		switch errno {
		case 0:
			w.answer(n)
			w.flush(fd)
		case unix.EAGAIN:
			wait(fd, unix.POLLIN, -1) // for longer than it may hold a processor
		case unix.EINTR:
			runtime.Gosched() // the runtime wants this thread to stop
		case unix.EBADF, unix.ENOTSOCK, unix.EFAULT, unix.EINVAL:
			return fmt.Errorf("receiving queries: %w", errno) // ours: it would never end
		default:
			// A shortage of memory: not again at once.
			w.responder.count(countReceiveErrors)
			wait(fd, 0, waitMax)
		}
	}
	return nil
}

// wait waits for something on the socket for a time, or with a negative one for ever, and lets the processor go.
func wait(fd uintptr, event int16, most time.Duration) {
	// What it says does not matter: who called tries again.
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: event}}, int(max(most.Milliseconds(), -1)))
}

// hurry has the kernel prefer this thread to others of the process, as far as it may.
func hurry() {
	kind, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // 20 less the niceness
	if err != nil {
		return
	}
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 20-kind-hurryBy)
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

// flush sends the answers of the batch. Slots without an answer are left out. The kernel may take fewer than it was
// given; an answer that it refuses is counted and skipped.
func (w *batchWorker) flush(fd uintptr) {
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
		case errno == unix.EAGAIN && !w.stopping.Load():
			wait(fd, unix.POLLOUT, waitMax)
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
}

// receive waits for a datagram, waitMax at most, and takes up to len(headers) that are there.
func receive(fd uintptr, headers []mmsghdr) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&headers[0])), uintptr(len(headers)), unix.MSG_WAITFORONE, 0, 0)
	return int(n), errno
}

// send hands over datagrams, one at least or an error.
func send(fd uintptr, headers []mmsghdr) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&headers[0])), uintptr(len(headers)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}
