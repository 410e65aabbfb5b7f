package geo

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"geodns/internal/source"
)

// DatabaseBytesMax is the largest database that is read, in bytes. The largest
// known (GeoIP2 Enterprise) has some 500 MB; two of them, the old and the new,
// must fit in memory at a reload.
const DatabaseBytesMax = 2 << 30

// Config says what to load.
type Config struct {
	// Databases are the paths of MMDB and range CSV files, the one that is asked
	// first first. A path's position is its slot. None: the built-in continents.
	Databases []string
	// Overrides is the path of the operator's overrides, or "".
	Overrides string
	// MaxMoved is the share, above 0 and at most 1, of the addresses known to a
	// database's predecessor that it may have in another country; 0 means
	// MaxMovedDefault, 1 that any move is taken.
	MaxMoved float64
}

// State says what became of a configured file.
type State uint8

// The states of a slot.
const (
	Current State = iota // the file as it was at the last load
	Kept                 // the file was refused; the one before it stays
	Missing              // the file was refused, and there is none before it
)

// String gives the state as it stands in status output.
func (s State) String() string {
	switch s {
	case Kept:
		return "kept"
	case Missing:
		return "missing"
	case Current:
	}
	return "current"
}

// Info describes a database in use, or one that could not be loaded.
type Info struct {
	Path     string
	State    State
	Type     string    // as the file says ("GeoLite2-City"); "range CSV"; "" if missing
	Built    time.Time // when the vendor built it; of a range CSV file when it was written. UTC, zero if missing
	Networks int       // networks with data, as the file has them
	Bytes    int64
	Hash     string // SHA-256 of the file in hex, its first 16 digits
	Refused  string // why the file at Path is not the one in use; "" if it is
}

// database is one that was read and checked. Immutable.
type database struct {
	info     Info
	hash     [sha256.Size]byte
	mmdb     *mmdb // nil for range CSV
	layer    *layer
	warnings source.Findings
}

// Data is all that Load made. It is immutable and safe for concurrent readers.
type Data struct {
	Networks *Networks
	// Lost says that a configured database could not be loaded, and there is none
	// before it: clients that only it knows have no place, and whoever publishes
	// wide scopes for them spoils what other nodes say of the same clients.
	Lost bool
	// Degraded says that a configured file is not the one in use: a database or
	// the overrides were refused.
	Degraded bool
	// OverridesRefused says that the overrides were refused, and those before
	// them, if any, are in use.
	OverridesRefused bool

	slots     []*database // by position in Config.Databases; nil if missing
	infos     []Info      // the same, as they are shown
	overrides []override
}

// Databases describes the configured databases, in their order; none with the
// built-in one.
func (d *Data) Databases() []Info { return append([]Info(nil), d.infos...) }

// Files are what a Config names, read into memory, whether they can be used or
// not.
type Files struct {
	cfg       Config
	databases []content
	overrides content
}

// content is a file as it was read, or why it was not.
type content struct {
	data []byte
	hash [sha256.Size]byte
	err  error
}

// Read reads all that cfg names.
func Read(cfg Config) *Files {
	f := &Files{cfg: cfg}
	for _, path := range cfg.Databases {
		f.databases = append(f.databases, readContent(path, DatabaseBytesMax))
	}
	if cfg.Overrides != "" {
		f.overrides = readContent(cfg.Overrides, source.YAMLBytesMax)
	}
	return f
}

// readContent reads one file.
func readContent(path string, limit int64) content {
	data, err := readFile(path, limit)
	return content{data, sha256.Sum256(data), err}
}

// Sum is a hash of all that the files say; false if one of them could not be
// read.
func (f *Files) Sum() (sum [sha256.Size]byte, ok bool) {
	h := sha256.New()
	ok = f.overrides.err == nil
	for _, c := range append(slices.Clip(f.databases), f.overrides) {
		h.Write(c.hash[:])
		ok = ok && c.err == nil
	}
	return [sha256.Size]byte(h.Sum(nil)), ok
}

// Uncompiled is the Data of files that are good, as who uses them knows, before
// they are compiled: it describes them and places nobody.
func (f *Files) Uncompiled() *Data {
	d := &Data{Networks: compile(nil, nil), slots: make([]*database, len(f.databases))}
	for i, c := range f.databases {
		d.infos = append(d.infos, Info{Path: f.cfg.Databases[i], Bytes: int64(len(c.data)), Hash: fmt.Sprintf("%x", c.hash[:8])})
	}
	return d
}

// Load reads what cfg names and compiles it: Read and Compile.
func Load(cfg Config, prev *Data) (*Data, source.Findings) { return Read(cfg).Compile(prev) }

// Compile compiles the files. prev is what is in use, nil at the start. A
// database that is refused is reported, and prev's database in the same slot is
// used again; so are prev's overrides. The Data is never nil: whether to publish
// one that is degraded is for the caller to say. An unchanged file is not parsed
// again.
func (f *Files) Compile(prev *Data) (*Data, source.Findings) {
	var fs source.Findings
	if prev == nil {
		prev = &Data{}
	}
	maxMoved := f.cfg.MaxMoved
	if maxMoved <= 0 || maxMoved > 1 {
		maxMoved = MaxMovedDefault
	}
	d := &Data{slots: make([]*database, len(f.databases))}
	var layers []*layer
	for i, path := range f.cfg.Databases {
		var before *database
		if i < len(prev.slots) {
			before = prev.slots[i]
		}
		db, refused := loadDatabase(path, &f.databases[i], before, maxMoved, &fs)
		info := Info{Path: path, State: Missing}
		if db != nil {
			info = db.info
			layers = append(layers, db.layer)
		} else {
			d.Lost = true
		}
		if refused != "" {
			d.Degraded = true
			info.Refused = refused
			if db != nil {
				info.State = Kept
			}
		}
		d.slots[i], d.infos = db, append(d.infos, info)
	}
	if len(f.databases) == 0 {
		layers = []*layer{builtIn()}
	}
	d.loadOverrides(f, prev.overrides, &fs)
	d.Networks = compile(layers, d.overrides)
	return d, fs
}

// loadOverrides parses the overrides, or keeps those of before.
func (d *Data) loadOverrides(f *Files, before []override, fs *source.Findings) {
	path, data, err := f.cfg.Overrides, f.overrides.data, f.overrides.err
	if path == "" {
		return
	}
	if err != nil {
		fs.Errorf(source.WholeFile(path), "the overrides cannot be read: %v", err)
		d.overrides, d.OverridesRefused, d.Degraded = before, true, true
		return
	}
	overrides, found := parseOverrides(path, data)
	*fs = append(*fs, found...)
	if found.HasErrors() {
		d.overrides, d.OverridesRefused, d.Degraded = before, true, true
		return
	}
	d.overrides = overrides
}

// loadDatabase gives the database for a slot: the file's, or before with the
// reason why the file was refused.
func loadDatabase(path string, file *content, before *database, maxMoved float64, fs *source.Findings) (*database, string) {
	consequence := "clients that only it knows are unknown"
	if before != nil {
		consequence = "the one in use stays"
	}
	refuse := func(at source.Place, reason string) (*database, string) {
		fs.Errorf(at, "database refused, %s: %s", consequence, reason)
		return before, reason
	}
	data, hash := file.data, file.hash
	if file.err != nil {
		return refuse(source.WholeFile(path), file.err.Error())
	}
	if before != nil && before.hash == hash {
		same := *before
		same.info.Path = path
		*fs = append(*fs, same.warnings...)
		return &same, ""
	}
	db, found := parseDatabase(path, data)
	if found.HasErrors() {
		// A wrong file has many errors; the first one says what is refused.
		found.Sort()
		reason := ""
		for _, f := range found {
			if f.Severity == source.Error && reason == "" {
				reason = f.Message
				refuse(f.Place, reason)
				continue
			}
			*fs = append(*fs, f)
		}
		return before, reason
	}
	db.hash = hash
	db.info.Path, db.info.Bytes, db.info.Hash = path, int64(len(data)), fmt.Sprintf("%x", hash[:8])
	db.info.Networks = db.layer.networks
	if db.mmdb == nil {
		if stat, err := os.Stat(path); err == nil {
			db.info.Built = stat.ModTime().UTC()
		}
	}
	if before != nil {
		if reason := compare(before.layer, db.layer, maxMoved); reason != "" {
			return refuse(source.WholeFile(path), reason+"; a restart takes it as it is")
		}
	}
	db.warnings = found
	*fs = append(*fs, found...)
	return db, ""
}

// parseDatabase reads a database of either form, which is told by its content.
func parseDatabase(path string, data []byte) (*database, source.Findings) {
	if !isMMDB(data) {
		l, fs := parseRanges(path, data)
		return &database{info: Info{Type: kindRanges.String()}, layer: l}, fs
	}
	var fs source.Findings
	m, err := openMMDB(data)
	if err != nil {
		fs.Errorf(placeOf(path, err), "%v", err)
		return nil, fs
	}
	var odd oddities
	l, err := m.layer(&odd)
	if err != nil {
		fs.Errorf(placeOf(path, err), "%v", err)
		return nil, fs
	}
	if odd.count > 0 {
		fs.Warnf(source.WholeFile(path), "%s", &odd)
	}
	return &database{info: Info{Type: m.reader.Metadata.DatabaseType, Built: m.built()}, mmdb: m, layer: l}, fs
}

// readFile reads a file of at most limit bytes into memory. It notices a file
// that is written at the same time, as tools do that replace one in place.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch {
	case !before.Mode().IsRegular():
		return nil, errors.New("this is not a file")
	case before.Size() > limit:
		return nil, fmt.Errorf("%d bytes are more than %d", before.Size(), limit)
	}
	var b bytes.Buffer
	b.Grow(int(before.Size()) + bytes.MinRead) // so that ReadFrom does not grow it at the end
	if _, err = b.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, err
	}
	after, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if int64(b.Len()) != before.Size() || after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		return nil, errors.New("the file changed while it was read: replace it by renaming a new one over it")
	}
	return b.Bytes(), nil
}
