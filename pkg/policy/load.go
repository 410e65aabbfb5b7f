package policy

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"geodns/internal/source"
)

// Names of files: those with fileSuffix are read, but for those with testSuffix, which hold policy tests.
const (
	fileSuffix = ".yaml"
	testSuffix = ".test.yaml"
)

// Load reads every **/*.yaml below a folder, but *.test.yaml, and joins them. Nothing outside of the folder is read,
// whatever links say. Findings are in the order of files and places; the Document is nil if one of them is an error.
//
// Entries whose names begin with a dot are passed over: they belong to git, to editors, or to Kubernetes, which keeps the
// files of a volume in folders such as `..2026_11_23` and links to them.
func Load(dir string) (*Document, source.Findings) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		var found source.Findings
		found.Errorf(source.WholeFile(dir), "the folder cannot be read: %s", reason(err))
		return nil, found
	}
	defer root.Close()
	return LoadFS(root.FS(), dir)
}

// LoadFS is Load for any file system; findings show its files below dir.
func LoadFS(fsys fs.FS, dir string) (*Document, source.Findings) {
	l := &loader{fsys: fsys, dir: dir}
	names := l.list(func(name string, d fs.DirEntry) bool {
		base := path.Base(name)
		if !strings.HasSuffix(base, fileSuffix) {
			l.passedOver(name, d)
			return false
		}
		return !strings.HasSuffix(base, testSuffix)
	})
	if len(names) > FilesMax {
		l.found.Errorf(source.WholeFile(dir), "%d policy files; at most %d are read", len(names), FilesMax)
		return nil, l.found
	}
	files, sum := make([]*File, 0, len(names)), sha256.New()
	for _, name := range names {
		if data, ok := l.read(name); ok {
			fmt.Fprintf(sum, "%q %d\n%s", name, len(data), data)
			files = append(files, Parse(l.shown(name), data, &l.found))
		} else {
			files = append(files, &File{Name: l.shown(name), opaque: true})
		}
	}
	doc := Join(files, &l.found)
	if doc != nil {
		doc.Sum = [sha256.Size]byte(sum.Sum(nil))
	}
	l.found.Sort()
	return doc, l.found
}

// loader reads one folder.
type loader struct {
	fsys  fs.FS
	dir   string
	found source.Findings
}

// shown is a file's name as people can open it.
func (l *loader) shown(name string) string {
	return filepath.Join(l.dir, filepath.FromSlash(name))
}

// list finds the files that are wanted, in the order of their paths.
func (l *loader) list(wanted func(name string, d fs.DirEntry) bool) []string {
	var names []string
	err := fs.WalkDir(l.fsys, ".", func(name string, d fs.DirEntry, err error) error {
		base := path.Base(name)
		switch {
		case err != nil:
			l.found.Errorf(source.WholeFile(l.shown(name)), "it cannot be read: %s", reason(err))
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
		case name == ".":
		case strings.HasPrefix(base, "."):
			if d.IsDir() {
				return fs.SkipDir
			}
		case d.IsDir():
		case wanted(name, d):
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		l.found.Errorf(source.WholeFile(l.dir), "the folder cannot be read: %s", reason(err))
	}
	slices.Sort(names)
	return names
}

// passedOver warns of a file that its owner may think is read, but is not.
func (l *loader) passedOver(name string, d fs.DirEntry) {
	ext := path.Ext(name)
	stem := strings.TrimSuffix(path.Base(name), ext)
	if lower := strings.ToLower(ext); lower == ".yml" || lower == fileSuffix {
		l.found.Warnf(source.WholeFile(l.shown(name)), "this file is not read; name it %s%s", stem, fileSuffix)
		return
	}
	if d.Type()&fs.ModeSymlink == 0 {
		return
	}
	if info, err := fs.Stat(l.fsys, name); err == nil && info.IsDir() {
		l.found.Warnf(source.WholeFile(l.shown(name)), "this link to a folder is not followed")
	}
}

// read reads one file. It must be a regular one, or a link to one: a pipe would have us wait.
func (l *loader) read(name string) ([]byte, bool) {
	data, err := readRegular(l.fsys, name)
	if err != nil {
		l.found.Errorf(source.WholeFile(l.shown(name)), "it cannot be read: %s", reason(err))
	}
	return data, err == nil
}

// readRegular reads a file up to one byte more than ParseYAML takes.
func readRegular(fsys fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("it is no regular file (%s)", info.Mode().Type())
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, source.YAMLBytesMax+1))
}

// reason is an error without the path, which the finding's place has.
func reason(err error) string {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathErr.Err
	}
	return err.Error()
}
