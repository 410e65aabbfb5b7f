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
	"unsafe"

	"golang.org/x/sys/unix"

	"geodns/pkg/steering"
)

// How a worker waits, and what was found. A worker has a thread of its own and waits in recvmmsg itself, as a C server
// does, by RawSyscall, which the scheduler does not see: to Go it computes. So the thread keeps its processor (a P of the
// runtime), need not win one back behind the process's other goroutines, and nothing else wakes or runs between a datagram
// and its answer. Figures are medians of interleaved rounds on one core, CPU per query (gdnsd, or a C loop of
// recvmmsg and sendmmsg, is 1):
//
//	waiting                                           20,000 queries/s (gdnsd)   saturation (C)
//	in the runtime's poller (syscall.RawConn.Read)    1.00 to 1.09               1.05
//	by syscall.Syscall, the scheduler told            1.43 to 1.63               1.02
//	by RawSyscall, at most waitMax                    0.96 to 1.01               0.99
//	this server: in the poller before, now as above   1.11, now 1.00             1.09, now 1.03
//
// A socket in the poller costs its epoll entry's wake-up for each datagram, even when nobody waits. A goroutine that
// tells the scheduler and never yields is robbed of its processor by sysmon at each wait once it is 10 ms old, so sysmon
// never rests: three context switches where one would do, and 8 µs. Turning asynchronous preemption off, huge pages for
// the buffers and an array layout as C's change nothing that can be measured.
//
// What makes this safe. A raw call that blocks would hold up every garbage collection, for ever on an idle socket. But to
// stop a thread the runtime sends it a signal, again each 100 µs until it has stopped, and with SO_RCVTIMEO set a signal ends
// recvmmsg with EINTR in spite of SA_RESTART (signal(7)). The worker then yields to the runtime. Where a signal is missed
// or turned off the timeout ends the call: after waitMax without a datagram the worker waits in poll, of which the
// scheduler is told, and holds nothing; so a server that nobody asks does nothing. TestGCWhileWaiting collects in both
// states. As the processors of waiting workers are not there for others, Run adds one for each to GOMAXPROCS.
//
// Who comes first is then the kernel's to say, so a worker asks to be preferred to the process's other threads (hurry). With
// 100,000 beacons a second (BenchmarkBeacons) the 99th percentile of the time from a query's arrival to its answer's
// leaving was 4 to 14 times as long as without them, and is 1.8 to 2.1 times; the median was 14 µs and is 10 µs, and is 1.1
// times as long with beacons as without, before and now. Without the right to be preferred (RLIMIT_NICE or CAP_SYS_NICE)
// the percentile is as it was: more processors alone do not help.

// mmsghdr is the kernel's struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32 // octets received or sent
}

const (
	// waitMax is how long a waiting worker keeps its processor, and what a collection that cannot interrupt it has to
	// wait (with GODEBUG=asyncpreemptoff=1). Below a tick of the kernel's clock (1 to 10 ms) it is one tick.
	waitMax = 4 // milliseconds
	// forever is no bound of a wait.
	forever = -1
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
			most := unix.Timeval{Usec: waitMax * 1000}
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
			wait(fd, unix.POLLIN, forever) // for longer than it may hold a processor
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

// wait waits for something on the socket for a time, or forever, and lets the processor go. What
// it waited for may not be there: who called tries again. A signal does not end it, as the runtime sends one to have
// the processor back, which it takes once the thread waits again.
func wait(fd uintptr, event int16, milliseconds int) {
	for {
		poll := []unix.PollFd{{Fd: int32(fd), Events: event}}
		if _, err := unix.Poll(poll, milliseconds); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// hurry has the kernel prefer this thread to others of the process, if it may.
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
