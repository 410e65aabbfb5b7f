package zone

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"geodns/internal/source"
)

// fileSuffix ends the name of a zone file; before it stands the zone's origin.
const fileSuffix = ".zone"

// Load reads every zone file below dir, checks all of them and compiles them into a Set. A file's name is its zone's
// origin and ".zone"; "@" in it stands for "/", and "@.zone" is the root zone. Files and folders whose name begins with
// a dot are passed over. seed seeds the hash table; 0 draws one. The findings are sorted; if one is an error, the Set
// is nil.
func Load(dir string, seed uint64) (*Set, source.Findings) {
	var found source.Findings
	root, err := os.OpenRoot(dir)
	if err != nil {
		found.Errorf(source.WholeFile(dir), "opening the zones folder: %v", pathCause(err))
		return nil, found
	}
	defer root.Close()
	h := newHasher(seed)
	files := findFiles(root, &found)
	zones := make([]*zoneData, len(files))
	parallel(len(files), func(i int) {
		f := files[i]
		zones[i] = readZone(root, f.path, f.text, f.origin, h)
		zones[i].partial = zones[i].errors > 0
	})
	slices.SortFunc(zones, func(a, b *zoneData) int { return compareNames(a.origin, b.origin) })
	all := link(zones)
	parallel(len(zones), func(i int) {
		zones[i].index()
		zones[i].check()
	})
	all.check()
	var set *Set
	if !all.hasErrors() && !found.HasErrors() {
		if set, err = compile(all, h, dir); err != nil && !errors.Is(err, errCompile) {
			found.Errorf(source.WholeFile("."), "compiling the zones: %v", err)
		}
	}
	for _, z := range zones {
		if more := z.errors - z.fs.Errors(); more > 0 {
			z.fs.Errorf(source.WholeFile(z.file), "%d more errors are not shown", more)
		}
		found = append(found, z.fs...)
	}
	for i := range found {
		found[i].File = path.Join(dir, found[i].File)
	}
	found.Sort()
	return set, found
}

// hasErrors says whether any zone has errors.
func (all *zones) hasErrors() bool {
	return slices.ContainsFunc(all.list, func(z *zoneData) bool { return z.errors > 0 })
}

// zoneFile is a zone file's path below the zones folder and the origin that its name gives.
type zoneFile struct {
	path   string
	text   string // origin in presentation form
	origin []byte // folded
}

// findFiles gives all zone files below root in the order of their paths.
func findFiles(root *os.Root, found *source.Findings) []zoneFile {
	var files []zoneFile
	first := map[string]string{}
	err := fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			found.Errorf(source.WholeFile(p), "reading the zones folder: %v", pathCause(err))
			return nil
		case p != "." && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir() || !strings.HasSuffix(p, fileSuffix):
			return nil
		}
		base := strings.TrimSuffix(d.Name(), fileSuffix)
		name := strings.ReplaceAll(base, "@", "/")
		if base == "@" {
			name = "."
		}
		origin, err := appendName(nil, []byte(name), []byte{0})
		if err != nil {
			found.Errorf(source.WholeFile(p), "the file's name gives no origin: %q: %v", base, err)
			return nil
		}
		fold(origin)
		if other, ok := first[string(origin)]; ok {
			found.Errorf(source.WholeFile(p), "zone %s is in %s already", nameText(origin), other)
			return nil
		}
		first[string(origin)] = p
		files = append(files, zoneFile{path: p, text: nameText(origin), origin: origin})
		return nil
	})
	if err != nil {
		found.Errorf(source.WholeFile("."), "reading the zones folder: %v", pathCause(err))
	}
	if len(files) == 0 && !found.HasErrors() {
		found.Warnf(source.WholeFile("."), "there is no zone file here; one is named as in example.com%s", fileSuffix)
	}
	return files
}

// parallel calls f for 0 to n-1 on as many goroutines as there are cores, and returns when all calls have.
func parallel(n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}

// zones is all zones of a load.
type zones struct {
	list     []*zoneData // in canonical order: a zone before those below it
	byOrigin map[string]*zoneData
}

// link numbers the zones and finds each one's parent, in whose tree its apex then is a name: queries for DS there are the
// parent's (RFC 4035 section 3.1.4.1), and the names between exist.
func link(list []*zoneData) *zones {
	all := &zones{list: list, byOrigin: make(map[string]*zoneData, len(list))}
	for i, z := range list {
		z.id = uint32(i)
		all.byOrigin[string(z.origin)] = z
	}
	for _, z := range list {
		if len(z.origin) == 1 {
			continue
		}
		up := all.find(parent(z.origin))
		if up == nil {
			continue
		}
		z.parent = up
		if up.children == nil {
			up.children = map[uint32]*zoneData{}
		}
		up.children[up.tree.intern(z.origin)] = z
	}
	return all
}

// find gives the deepest zone that a folded name is in, or nil.
func (all *zones) find(name []byte) *zoneData {
	for {
		if z := all.byOrigin[string(name)]; z != nil || len(name) == 1 {
			return z
		}
		name = parent(name)
	}
}

// owns says whether the zone itself, not one below it that is loaded too, answers for a name at or below its apex.
func (z *zoneData) owns(id uint32) bool { return z.flags[id]&flagShadow == 0 }
