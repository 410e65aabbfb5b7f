//go:build linux

package main

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// batchMax is how many datagrams a system call takes, as in the servers that take several.
	batchMax = 32
	// datagramMax is more than any answer here has.
	datagramMax = 2048
)

// message is the kernel's struct mmsghdr.
type message struct {
	header unix.Msghdr
	n      uint32
}

// batch is the datagrams of one system call. Its headers point to its own arrays, so it is made by newBatch and stays where it is.
type batch struct {
	messages [batchMax]message
	vectors  [batchMax]unix.Iovec
	names    [batchMax]unix.RawSockaddrInet4
	buffers  [batchMax][datagramMax]byte
}

// newBatch makes a batch; named ones keep whom a datagram came from, and send it back there.
func newBatch(named bool) *batch {
	b := new(batch)
	for i := range b.messages {
		h := &b.messages[i].header
		b.vectors[i].Base = &b.buffers[i][0]
		b.vectors[i].SetLen(datagramMax)
		h.Iov = &b.vectors[i]
		h.SetIovlen(1)
		if named {
			h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
			h.Namelen = unix.SizeofSockaddrInet4
		}
	}
	return b
}

// receive fills the batch with what is there, and gives how many.
func (b *batch) receive(fd int) (int, unix.Errno) {
	// Raw: the scheduler need not hear of a call that does not block.
	n, _, e := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.messages[0])), batchMax, unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}

// receiveWaiting is receive, but it waits for the first datagram.
func (b *batch) receiveWaiting(fd int) (int, unix.Errno) {
	n, _, e := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.messages[0])), batchMax, unix.MSG_WAITFORONE, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}

// send sends the datagrams from i to n, of the lengths in their vectors.
func (b *batch) send(fd, i, n int) error {
	for i < n {
		sent, _, e := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.messages[i])), uintptr(n-i), unix.MSG_DONTWAIT, 0, 0)
		switch e {
		case 0:
			i += int(sent)
		case unix.EAGAIN, unix.ENOBUFS, unix.EINTR:
		default:
			return fmt.Errorf("sending: %w", e)
		}
	}
	return nil
}
