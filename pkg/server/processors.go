package server

import (
	"runtime"
	"sync"
)

// processors is what GOMAXPROCS was raised by. It is the process's, so servers that run at once share it.
//
//nolint:gochecknoglobals // as GOMAXPROCS is
var processors raised

// raised counts the processors that waiting workers hold: each has one more for it, so that all others have as many as
// they would have without workers.
type raised struct {
	mu sync.Mutex
	by int // guarded by mu
}

// add raises, or with n below 0 lowers again. It stops the world for some microseconds.
func (p *raised) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.by += n
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + n)
}

// others is GOMAXPROCS without what was added.
func (p *raised) others() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return runtime.GOMAXPROCS(0) - p.by
}
