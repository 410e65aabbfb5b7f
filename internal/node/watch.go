package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// quiet is how long no file may have changed before a load begins: a git checkout or a copy writes many files in a row.
const quiet = 200 * time.Millisecond

// quietMax is when a load begins although files still change.
const quietMax = 2 * time.Second

// linksMax is how many links are followed to a file or folder, as many as the kernel follows.
const linksMax = 40

// watcher watches folders, never files: a rename over a file, or the swap of a symlink on the way to it, ends a file's own
// watch without a word.
type watcher struct {
	notify *fsnotify.Watcher
}

// newWatcher makes a watcher of nothing.
func newWatcher() (*watcher, error) {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watching files: %w", err)
	}
	return &watcher{notify}, nil
}

// set watches these folders, which are sorted, and no others. One that cannot be watched does not keep the rest from it.
func (w *watcher) set(dirs []string) error {
	for _, d := range w.notify.WatchList() {
		if _, wanted := slices.BinarySearch(dirs, d); !wanted {
			_ = w.notify.Remove(d) // it may have gone by itself
		}
	}
	var errs []error
	for _, d := range dirs {
		// Also where it is watched: the path may be another folder by now. One that went since was seen to go in the folder above.
		if err := w.notify.Add(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("watching %s: %w", d, err))
		}
	}
	return errors.Join(errs...)
}

// watched lists the folders, without links in their paths, in which a change can change what a load reads: all below the zones
// folder, those of the other files, and those that hold a link on the way to any of them, such as `current` in
// `current/zones`, or the `..data` by which Kubernetes mounts a volume.
func (n *Node) watched() []string {
	dirs := wayTo(n.cfg.Zones, 0)
	root := linkless(n.cfg.Zones)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil: // a folder that went while we walked is not watched
		case d.IsDir() && path != root && n.cfg.unread(path):
			return fs.SkipDir
		case d.IsDir():
			dirs = append(dirs, path)
		case d.Type()&fs.ModeSymlink != 0:
			dirs = append(dirs, wayTo(path, 0)...)
		}
		return nil
	})
	if err != nil {
		n.log.Warn("listing folders to watch", "error", err.Error())
	}
	for _, f := range n.cfg.files() {
		dirs = append(dirs, wayTo(f, 0)...)
	}
	if _, git := commitOf(root); git != nil { // by which no load begins, but the commit of what is served is told anew
		dirs = append(dirs, git...)
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// wayTo lists the folders in which a change can make a path lead elsewhere: the one that holds it, or the next above that
// exists, and those that hold a link on the way.
func wayTo(path string, links int) []string {
	holder := filepath.Dir(path)
	for !exists(holder) && holder != filepath.Dir(holder) {
		holder = filepath.Dir(holder)
	}
	dirs := []string{linkless(holder)}
	for at := path; ; at = filepath.Dir(at) {
		target, err := os.Readlink(at)
		if err == nil && links < linksMax {
			in := linkless(filepath.Dir(at))
			if dirs = append(dirs, in); !filepath.IsAbs(target) {
				target = filepath.Join(in, target)
			}
			dirs = append(dirs, wayTo(target, links+1)...)
		}
		if at == filepath.Dir(at) {
			return dirs
		}
	}
}

// exists says whether there is something at a path, links followed.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// linkless is a path without links in it; where it leads nowhere, the path itself.
func linkless(path string) string {
	if at, err := filepath.EvalSymlinks(path); err == nil {
		return at
	}
	return filepath.Clean(path)
}

// rewatch watches the folders that matter now.
func (n *Node) rewatch() {
	if n.watch == nil {
		return
	}
	if err := n.watch.set(n.watched()); err != nil && !errors.Is(err, fsnotify.ErrClosed) {
		n.log.Warn("some changes will not be noticed; reload by `geodns reload` or SIGHUP", "error", err.Error())
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
			if e.Op == fsnotify.Chmod {
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
