//go:build amd64 || arm64

package steering

import "unsafe"

// prefetch begins to fetch the cache line at p and does not wait for it. A read in its place would do, but for the processor's
// window: it is full after some ten reads that wait, and sooner where a branch was guessed wrong.
//
//go:noescape
func prefetch(p unsafe.Pointer)
