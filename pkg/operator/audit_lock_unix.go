//go:build unix && !aix && !solaris

package operator

import (
	"errors"
	"os"
	"syscall"
)

// lockFile takes the lock of an open file, for as long as it is open; false: another process has it.
func lockFile(file *os.File) (bool, error) {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// unlockFile gives the lock free. Closing the file alone does not while a process that is about to be started has a copy of it.
func unlockFile(file *os.File) error { return syscall.Flock(int(file.Fd()), syscall.LOCK_UN) }
