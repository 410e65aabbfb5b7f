package health

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// reachTCP makes a connection to an address by a deadline, and drops it by a
// reset; nil: it was made. It is what a plain tcp probe comes to, at a good part less than
// net's dialer: that registers each socket with the poller, starts a goroutine
// to watch the context, and asks for both ends' addresses, which nobody wants
// to know. Here the poller is asked only where the answer is not there at once.
func reachTCP(ctx context.Context, to netip.AddrPort, deadline time.Time) error {
	family, address := sockaddr(to)
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	// A reset leaves no socket behind that waits for a minute.
	if err = syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1}); err != nil {
		_ = syscall.Close(fd)
		return os.NewSyscallError("setsockopt", err)
	}
	err = syscall.Connect(fd, address)
	if underWay(err) {
		err = syscall.Connect(fd, address) // what has become of it
	}
	if !underWay(err) {
		_ = syscall.Close(fd)
		return os.NewSyscallError("connect", err)
	}
	return await(ctx, fd, address, deadline)
}

// await waits for the end of a connect that is under way, and closes fd.
func await(ctx context.Context, fd int, address syscall.Sockaddr, deadline time.Time) (err error) {
	file := os.NewFile(uintptr(fd), "probe") // registers it with the poller
	defer func() { _ = file.Close() }()
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	if err = file.SetWriteDeadline(deadline); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = file.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	ended := error(syscall.EALREADY) // as was just seen
	first := true
	err = raw.Write(func(fd uintptr) bool {
		if !first {
			ended = syscall.Connect(int(fd), address)
		}
		first = false
		return !underWay(ended)
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("connect", ended)
}

// underWay reports whether a connect has not ended.
func underWay(err error) bool {
	return errors.Is(err, syscall.EINPROGRESS) || errors.Is(err, syscall.EALREADY) || errors.Is(err, syscall.EINTR)
}

// sockaddr gives an address as the kernel wants it. It has no zone.
func sockaddr(to netip.AddrPort) (family int, address syscall.Sockaddr) {
	if addr := to.Addr().Unmap(); addr.Is4() {
		return syscall.AF_INET, &syscall.SockaddrInet4{Port: int(to.Port()), Addr: addr.As4()}
	}
	return syscall.AF_INET6, &syscall.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
}
