//go:build linux

package main

import (
	"fmt"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// floorCommand is the argument that makes this program the Go floor.
const floorCommand = "floor"

// fixedRecord is what the floors put into every answer: an A record for the question's name.
func fixedRecord() []byte {
	return []byte("\xC0\x0C\x00\x01\x00\x01\x00\x00\x01\x2C\x00\x04\xC0\x00\x02\x01")
}

// floorAnswer turns a query of n octets into an answer with one record, and gives its length; 0 is none.
func floorAnswer(b, record []byte, n int) int {
	end := headerLen
	for end < n && b[end] != 0 {
		end += int(b[end]) + 1
	}
	end += 1 + questionTail
	if end > n || n+len(record) > len(b) {
		return 0
	}
	copy(b[end+len(record):], b[end:n])
	copy(b[end:], record)
	b[2] |= 0x84
	b[7] = 1
	return n + len(record)
}

// runFloor answers on a port of loopback until the process is killed. It is floor.c in Go: it shows what Go's way to the sockets
// costs before a server does any work.
func runFloor(port string) error {
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: number, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return fmt.Errorf("port %d: %w", number, err)
	}
	b, record := newBatch(true), fixedRecord()
	for {
		for i := range b.messages {
			b.vectors[i].SetLen(datagramMax)
		}
		// Only an empty socket takes the call that the scheduler must hear of.
		n, e := b.receive(fd)
		if e == unix.EAGAIN {
			n, e = b.receiveWaiting(fd)
		}
		if e != 0 && e != unix.EINTR {
			return fmt.Errorf("receiving: %w", e)
		}
		for i := range n {
			b.vectors[i].SetLen(floorAnswer(b.buffers[i][:], record, int(b.messages[i].n)))
		}
		if err := b.send(fd, 0, n); err != nil {
			return err
		}
	}
}
