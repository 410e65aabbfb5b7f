package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// quiet is how long no file may have changed before a load begins: a git checkout or a copy writes many files in a row.
const quiet = 200 * time.Millisecond

// quietMax is when a load begins although files still change.
const quietMax = 2 * time.Second

// watcher watches folders, never files: a rename over a file, or the swap of the symlink that Kubernetes mounts a volume by, ends a
// file's own watch without a word.
type watcher struct {
	notify *fsnotify.Watcher
}

// newWatcher watches the folders.
func newWatcher(dirs []string) (*watcher, error) {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watching files: %w", err)
	}
	w := &watcher{notify}
	if err := w.add(dirs); err != nil {
		return nil, errors.Join(err, notify.Close())
	}
	return w, nil
}

// add watches folders; those that are watched already stay so.
func (w *watcher) add(dirs []string) error {
	for _, d := range dirs {
		if err := w.notify.Add(d); err != nil {
			return fmt.Errorf("watching %s: %w", d, err)
		}
	}
	return nil
}

// watched lists the folders whose changes matter: all below the zones folder, and those of the geo files.
func (n *Node) watched() []string {
	var dirs []string
	err := filepath.WalkDir(n.cfg.Zones, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // a folder that went while we walked is not watched
		}
		if d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	if err != nil {
		n.log.Warn("listing folders to watch", "error", err.Error())
	}
	for _, f := range append([]string{n.cfg.Geo.Overrides}, n.cfg.Geo.Databases...) {
		if f != "" {
			dirs = append(dirs, filepath.Dir(f))
		}
	}
	return dirs
}

// rewatch watches folders that have come since.
func (n *Node) rewatch() {
	if n.watch == nil {
		return
	}
	if err := n.watch.add(n.watched()); err != nil && !errors.Is(err, fsnotify.ErrClosed) {
		n.log.Warn("a folder is not watched", "error", err.Error())
	}
}

// runWatch asks for a load when files have changed and then been left alone for a moment.
func (n *Node) runWatch(ctx context.Context) error {
	defer n.watch.notify.Close()
	var calm <-chan time.Time // nil: nothing changed
	var since time.Time
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, open := <-n.watch.notify.Events:
			if !open {
				return nil
			}
			if e.Op == fsnotify.Chmod || n.inState(e.Name) {
				continue
			}
			if calm == nil {
				since, calm = time.Now(), timer.C
			}
			timer.Reset(max(0, min(quiet, quietMax-time.Since(since))))
		case err, open := <-n.watch.notify.Errors:
			if !open {
				return nil
			}
			n.log.Warn("watching files; some changes may have been missed", "error", err.Error())
			signal(n.touched)
		case <-calm:
			calm = nil
			signal(n.touched)
		}
	}
}

// inState says whether a path is in the state folder, which the node itself writes.
func (n *Node) inState(path string) bool {
	return n.cfg.State != "" && filepath.Dir(filepath.Clean(path)) == filepath.Clean(n.cfg.State)
}
