package dnstest

import "syscall"

// peerAttributes makes a peer end with a test run that could not clean up.
func peerAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
