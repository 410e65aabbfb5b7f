package node

import (
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"geodns/internal/source"
	"geodns/pkg/api"
)

// settle is how old a file's time of change must be before it is believed to tell the file from what it may become: some file
// systems count in whole seconds.
const settle = 2 * time.Second

// reread holds what some files say that belong together. They are looked at whenever it is used, so that a change counts from the
// next use on; files that cannot be used leave what was before them. Safe for concurrent use.
type reread[T any] struct {
	// Immutable.
	what  string   // what they are, for the log
	paths []string // "" for one that is not configured
	read  func(*source.Findings) (T, bool)
	same  func(a, b T) bool
	// changed is told of each change, with the mutex held: it must not ask for the value.
	changed func(before, after T)
	log     *slog.Logger

	mu sync.Mutex // guards the following

	value   T
	seen    []fs.FileInfo // of the files when they were read; nil: there was none
	settled bool          // none can have changed within the tick of its time
	refused string        // why the files are not what is in use
	used    api.Input     // of the files as they were when the value was read
}

// first reads the files for the first time. False: they cannot be used.
func (s *reread[T]) first(findings *source.Findings) bool {
	s.look(time.Now())
	var ok bool
	if s.value, ok = s.read(findings); ok {
		s.use()
	}
	return ok
}

// look says whether a file is another than the one that was read, and remembers them. s.mu is held, or s is nobody else's.
func (s *reread[T]) look(now time.Time) (changed bool) {
	seen, settled := make([]fs.FileInfo, len(s.paths)), true
	for i, path := range s.paths {
		if path == "" {
			continue
		}
		if info, err := os.Stat(path); err == nil {
			seen[i], settled = info, settled && now.Sub(info.ModTime()) > settle
		}
	}
	same := s.settled && slices.EqualFunc(s.seen, seen, sameFile)
	s.seen, s.settled = seen, settled
	return !same
}

// sameFile says whether a file is as it was; nil is none.
func sameFile(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && a.Mode() == b.Mode()
}

// use notes that the files are in use as they were looked at last. s.mu is held, or s is nobody else's.
func (s *reread[T]) use() {
	s.used = api.Input{Loaded: time.Now().UTC()}
	for i, info := range s.seen {
		if info != nil && info.ModTime().After(s.used.Modified) {
			s.used.Path, s.used.Modified = s.paths[i], info.ModTime().UTC()
		}
	}
}

// input tells where what is in use came from; the zero value if there are no such files.
func (s *reread[T]) input(name string) api.Input {
	if s == nil {
		return api.Input{}
	}
	_, refused := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	in := s.used
	in.Name, in.Error = name, refused
	return in
}

// now gives what the files say, and why they are refused as they are, "" if they are not.
func (s *reread[T]) now() (value T, refused string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.look(time.Now()) {
		return s.value, s.refused
	}
	var findings source.Findings
	value, ok := s.read(&findings)
	was := s.refused
	s.refused = ""
	if ok {
		if was != "" {
			s.log.Info("the file of " + s.what + " is as it should be again")
		}
		if !s.same(s.value, value) { // what is the same is kept: sessions of TLS go on with it
			s.changed(s.value, value)
			s.value = value
		}
		s.use()
		return s.value, ""
	}
	if err := findings.Err(); err != nil {
		s.refused = err.Error()
	}
	if s.refused != was {
		s.log.Error("the file of "+s.what+" is refused; what was before it stays", "error", s.refused)
	}
	return s.value, s.refused
}
