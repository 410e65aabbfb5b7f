//go:build !linux

package dnstest

import "syscall"

// peerAttributes leaves a peer to the test's own cleaning up.
func peerAttributes() *syscall.SysProcAttr { return nil }
