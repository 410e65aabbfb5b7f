package node

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"geodns/internal/source"
)

// loadTries is how often a load begins anew because files changed under it. A checkout ends within one or two; whoever writes all
// the time gets what was there at the last.
const loadTries = 5

// clockTick is more than the step of the clock that files' times come from (10 ms at the slowest kernel).
const clockTick = 50 * time.Millisecond

// reading is what a load gives.
type reading struct {
	loaded   *loaded  // nil: refused
	secrets  []secret // of the file that is configured; nil: none is, or it is refused
	findings source.Findings
	print    fingerprint // of the files, from before they were read; its commit from after that
	// overrides is the hash of that file; "": there is none.
	overrides string
}

// loadStable loads, and loads again if any file changed meanwhile: what is published was all on disk at one time. The file of
// cookie secrets belongs to nothing else: neither is refused for the other's sake.
func loadStable(cfg *Config, load func() (*loaded, source.Findings)) reading {
	var r reading
	r.print = cfg.settled()
	for range loadTries {
		r.loaded, r.findings = load()
		r.secrets = cfg.readSecrets(&r.findings)
		r.overrides = cfg.overridesHash()
		if now := cfg.fingerprint(); now.sum == r.print.sum {
			r.print.commit = now.commit // git writes it last
			break
		}
		r.print = cfg.settled()
	}
	return r
}

// settled is the fingerprint once files that changed this very moment are old enough to be told from what they may become: waiting
// that long costs less than to load a large zone twice.
func (c *Config) settled() fingerprint {
	now := c.fingerprint()
	if now.fresh {
		<-time.NewTimer(clockTick).C
		now = c.fingerprint()
	}
	return now
}

// fingerprint tells the files of one load from those of another.
type fingerprint struct {
	sum [sha256.Size]byte
	// fresh: a file changed within clockTick before the print was taken, so that it may change again without a trace.
	fresh bool
	// No part of the sum, as no load reads them: the commit that the zones folder is of, when the last of the files there changed, and
	// when each of the others did, by path.
	commit string
	zones  time.Time
	files  map[string]time.Time
}

// same says that nothing changed between two prints, of which f is the earlier.
func (f fingerprint) same(g fingerprint) bool { return !f.fresh && f.sum == g.sum }

// fingerprint changes when any file that a load may read does: names, sizes, times of change and identities, links followed.
func (c *Config) fingerprint() fingerprint {
	w := prints{now: time.Now(), sum: sha256.New()}
	root := linkless(c.Zones)
	fmt.Fprintf(w.sum, "%q\n", root)
	var newest time.Time
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil: // what cannot be listed is not read either, or the load says so
		case d.IsDir() && path != root && c.unread(path):
			return fs.SkipDir
		default:
			if at := w.note(path); at.After(newest) && isInput(strings.TrimPrefix(path, root)) {
				newest = at
			}
		}
		return nil
	})
	if err != nil {
		fmt.Fprintln(w.sum, err)
	}
	files := map[string]time.Time{}
	for _, f := range c.files() {
		files[f] = w.note(f)
	}
	commit, _ := commitOf(root)
	return fingerprint{sum: [sha256.Size]byte(w.sum.Sum(nil)), fresh: w.fresh, commit: commit, zones: newest, files: files}
}

// isInput says whether a file is one of those that are read, by its path below the zones folder: hidden ones are not.
func isInput(path string) bool {
	if strings.Contains(filepath.ToSlash(path), "/.") {
		return false
	}
	return strings.HasSuffix(path, ".zone") || strings.HasSuffix(path, ".yaml") && !strings.HasSuffix(path, ".test.yaml")
}

// files are the files that a load reads beside those of the zones folder.
func (c *Config) files() []string {
	var out []string
	for _, f := range append([]string{c.Geo.Overrides, c.Cookies.SecretFile}, c.Geo.Databases...) {
		if f != "" {
			out = append(out, f)
		}
	}
	return out
}

// unread says whether a folder below the zones changes without any load's reading it: git's own, and the state folder, which the
// node itself writes.
func (c *Config) unread(path string) bool {
	if filepath.Base(path) == ".git" {
		return true
	}
	if c.State == "" {
		return false
	}
	a, errA := os.Stat(path)
	b, errB := os.Stat(c.State)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// prints is a fingerprint in the making.
type prints struct {
	now   time.Time
	sum   hash.Hash
	fresh bool
}

// note adds a file or folder, and gives when it was changed; the zero time if it is not there.
func (w *prints) note(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		fmt.Fprintf(w.sum, "%q %v\n", path, err)
		return time.Time{}
	}
	w.fresh = w.fresh || w.now.Sub(info.ModTime()) < clockTick
	fmt.Fprintf(w.sum, "%q %d %d %v %d\n", path, info.Size(), info.ModTime().UnixNano(), info.Mode(), inode(info))
	return info.ModTime()
}
