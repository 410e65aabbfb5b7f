package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"geodns/internal/durable"
	"geodns/internal/source"
	"geodns/pkg/policy"
	"geodns/pkg/steering"
)

// tableKey names all that a table is compiled from: equal keys are equal tables. The zero key is none's.
type tableKey [sha256.Size]byte

// tableMax bounds the file of a table: one of 10 million cells has some 30 MB, and reading it back takes its size many times in memory.
const tableMax = 64 << 20

// program is a hash of this program's own file: another version may compile another table of the same files. It can be had on Linux
// alone, where the file that runs can be told from one that an upgrade has put in its place. It stays the same, and is read once.
//
//nolint:gochecknoglobals // it is the process's
var program = sync.OnceValues(func() (sum [sha256.Size]byte, err error) {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return sum, fmt.Errorf("finding the program: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err = io.Copy(h, f); err != nil {
		return sum, fmt.Errorf("reading the program: %w", err)
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
})

// key names what a start would compile the table from. Databases are told by all that is in them: sizes and times of change are equal
// for two that one tool wrote within a tick, or set back to the vendor's date. Of zones the table holds addresses alone, which Restore
// compares. It is zero where a table is not kept: without a database it is compiled sooner than read.
func (m *inMemory) key() tableKey {
	files, ok := m.files.Sum()
	if m.cfg.State == "" || len(m.cfg.Geo.Databases) == 0 || !ok {
		return tableKey{}
	}
	self, err := program()
	if err != nil {
		return tableKey{}
	}
	h := sha256.New()
	fmt.Fprintf(h, "%x %x %x %d", self, files, m.doc.Sum, m.cfg.MaxScopes)
	return tableKey(h.Sum(nil))
}

// loadFirst is load for a start: with the table kept in the state folder, if it is what would be compiled. The geo data are then left
// for later.
func loadFirst(cfg *Config) (*loaded, source.Findings) {
	m := read(cfg, nil)
	if l := m.restore(); l != nil {
		return l, sorted(slices.Clone(m.findings))
	}
	return m.compile(nil)
}

// restore makes a load with the table that was kept; nil if none is kept of these files. Whatever is wrong with the file costs only the
// time that it would have saved.
func (m *inMemory) restore() *loaded {
	if m.refused() {
		return nil
	}
	key := m.key()
	if key == (tableKey{}) {
		return nil
	}
	log := m.cfg.logger()
	data, err := durable.Peek(m.cfg.stateFile("table")) // not set aside: the next one replaces it
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			log.Warn("the table that was kept cannot be read: it is compiled", "error", err.Error())
		}
		return nil
	}
	data, ours := bytes.CutPrefix(data, key[:])
	if !ours || len(data) > tableMax {
		log.Debug("the table that was kept is of other files: it is compiled")
		return nil
	}
	table, err := steering.Decode(data)
	if err != nil {
		log.Warn("the table that was kept cannot be used: it is compiled", "error", err.Error())
		return nil
	}
	compiled, same := policy.Restore(m.doc, m.zones, table)
	if !same {
		log.Debug("the table that was kept has other addresses: it is compiled")
		return nil
	}
	return &loaded{
		zones: m.zones, geo: m.files.Uncompiled(), compiled: compiled, measurable: measurableOf(m.doc), from: key,
		rest: func() (*loaded, source.Findings) { return m.compile(nil) },
	}
}

// whenWhole delays a part that goes by geo data until those are there. It runs in any case, as it has something to close.
func (n *Node) whenWhole(run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-n.whole:
		case <-ctx.Done():
		}
		return run(ctx)
	}
}

// keepTable keeps the table of a load for the next start, unless it is kept already.
func (n *Node) keepTable(l *loaded) {
	if n.audit == nil || l.from == (tableKey{}) || l.from == n.kept { // without the record the folder is another server's
		return
	}
	data := append(l.from[:len(l.from):len(l.from)], l.plain.Encode()...)
	if len(data) > tableMax {
		return
	}
	if err := durable.Write(n.cfg.stateFile("table"), data); err != nil {
		n.log.Warn("the table was not kept: the next start compiles it", "error", err.Error())
		return
	}
	n.kept = l.from
}

// complete compiles what a restored load left for later, and has it served: the same answers, which can be explained from then on.
// What the first load found of zones and policies is not logged again.
func (n *Node) complete(ctx context.Context) error {
	b := built{began: time.Now(), reading: n.first}
	n.first = reading{}
	restored := b.loaded
	if restored.rest == nil {
		return nil
	}
	var findings source.Findings
	if b.loaded, findings = restored.rest(); b.loaded == nil {
		return &LoadError{findings}
	}
	n.kept = restored.from
	if b.loaded.id() != restored.id() {
		n.log.Error("the table that was kept is not what its files are compiled to; it is replaced", "kept", restored.id(), "compiled", b.loaded.id())
		n.kept = tableKey{}
	}
	findings = slices.DeleteFunc(findings, func(f source.Finding) bool { return slices.Contains(b.findings, f) })
	n.logFindings(findings)
	b.findings = sorted(append(b.findings, findings...))
	n.logged = slices.Clone(b.findings)
	n.recordLoad(&b)
	if _, err := n.hand(ctx, b); err != nil {
		return err
	}
	began := time.Now()
	n.rum.Tick(began) // now that there are places for what was measured before
	if next := n.beginOrders(n.currentLoad()); next != nil {
		n.serveOrders(ctx, next, began)
	}
	return nil
}
