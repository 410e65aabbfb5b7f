package node

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"geodns/internal/source"
)

// loadTries is how often a load begins anew because files changed under it. A checkout ends within one or two; whoever writes all
// the time gets what was there at the last.
const loadTries = 5

// loadStable loads, and loads again if any file changed meanwhile: what is published was all on disk at one time.
func loadStable(cfg *Config, prev *loaded) (l *loaded, found source.Findings) {
	before := cfg.fingerprint()
	for range loadTries {
		l, found = load(cfg, prev)
		after := cfg.fingerprint()
		if after == before {
			break
		}
		before = after
	}
	return l, found
}

// fingerprint changes when any file that a load may read does: names, sizes, times of change and identities, links followed.
func (c *Config) fingerprint() [sha256.Size]byte {
	h := sha256.New()
	note := func(path string) {
		info, err := os.Stat(path)
		if err != nil {
			fmt.Fprintf(h, "%q %v\n", path, err)
			return
		}
		fmt.Fprintf(h, "%q %d %d %v %d\n", path, info.Size(), info.ModTime().UnixNano(), info.Mode(), inode(info))
	}
	err := filepath.WalkDir(c.Zones, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			note(path)
		}
		return nil //nolint:nilerr // what cannot be listed is not read either, or the load says so
	})
	if err != nil {
		fmt.Fprintln(h, err)
	}
	note(c.Geo.Overrides)
	for _, f := range c.Geo.Databases {
		note(f)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
