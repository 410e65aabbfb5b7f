// Package durable keeps small files that must survive a crash: last known
// verdicts, leases, compiled state.
//
// A file is one header line and the payload behind it:
//
//	geodns-durable 1 <payload length in bytes> <SHA-256 of the payload, hex>\n
//
// Invariants:
//   - Write replaces a file whole or not at all. A crash at any point leaves
//     the old payload or the new one, and at most one temporary file beside
//     it, which the next Write of the same path removes.
//   - Read returns exactly what one Write was given, or an error. A file whose
//     length or checksum does not hold is set aside, so that its owner starts
//     afresh and a person can still look at it.
//   - Litter is bounded: for each path there are at most path+".tmp" and
//     path+".corrupt".
//
// A payload has at most [SizeMax] bytes. The caller serializes the writes of
// one path; reads may go on beside them. The package is for the control plane:
// Write waits for the disk, so it is never called where an answer is waited for.
package durable

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

const (
	// SizeMax bounds a payload, in bytes. It is far above all that is kept
	// here (a compiled table of some 100 MB is the largest), and keeps a
	// foreign file at our path from taking all memory.
	SizeMax = 1 << 30

	// headerMax bounds the header line, in bytes: the words, a length of at
	// most ten digits and 64 hex digits are about 90.
	headerMax = 128

	// magic begins each file; the number is the version of the format.
	magic = "geodns-durable 1"

	// fileMode and dirMode: state names targets and owners of leases, which
	// are nobody else's business on a shared machine.
	fileMode fs.FileMode = 0o600
	dirMode  fs.FileMode = 0o700
)

// CorruptError says that a file is not what a Write left there.
type CorruptError struct {
	// Path is the file that was read.
	Path string
	// Reason says what does not hold.
	Reason string
	// Aside is where the file was moved; empty where it was not.
	Aside string
	// Err is why it could not be moved; nil where it was, or was not to be.
	Err error
}

// Error says what is wrong with the file and where it is now.
func (e *CorruptError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("corrupt file %q: %s (not set aside: %v)", e.Path, e.Reason, e.Err)
	}
	if e.Aside == "" {
		return fmt.Sprintf("corrupt file %q: %s", e.Path, e.Reason)
	}
	return fmt.Sprintf("corrupt file %q: %s (set aside as %q)", e.Path, e.Reason, e.Aside)
}

// Unwrap returns why the file could not be set aside, if so.
func (e *CorruptError) Unwrap() error { return e.Err }

// Write replaces the file at path by payload: a temporary file in the same
// folder is written, synced and renamed, then the folder is synced. The folder
// is made where it is missing. When Write returns nil the payload is on disk;
// when it returns an error the old file is still there, unless only the sync
// of the folder went wrong.
func Write(path string, payload []byte) error {
	if len(payload) > SizeMax {
		return fmt.Errorf("writing %q: %d bytes, at most %d are allowed", path, len(payload), SizeMax)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return fmt.Errorf("writing %q: %w", path, err)
	}
	temp := path + ".tmp"
	// A crashed Write may have left its file; O_EXCL below then guards against
	// writing through a link that somebody put there.
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("writing %q: %w", path, err)
	}
	if err := writeSynced(temp, payload); err != nil {
		return errors.Join(fmt.Errorf("writing %q: %w", path, err), removeIfThere(temp))
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(fmt.Errorf("writing %q: %w", path, err), removeIfThere(temp))
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("writing %q: syncing its folder: %w", path, err)
	}
	return nil
}

// Read returns the payload of the file at path. The error wraps
// [fs.ErrNotExist] where there is no file, and is a [*CorruptError] where its
// content does not hold: then the file has been renamed to path+".corrupt",
// over an earlier one.
func Read(path string) ([]byte, error) {
	payload, reason, err := read(path)
	if err == nil && reason != "" {
		return nil, SetAside(path, reason)
	}
	return payload, err
}

// Load is Read for whoever knows what a payload must be: one that decode gives
// an error for is set aside as well, and is a [*CorruptError] with that reason.
// With any error the value is the zero one.
func Load[T any](path string, decode func(payload []byte) (T, error)) (T, error) {
	var none T
	payload, err := Read(path)
	if err != nil {
		return none, err
	}
	value, err := decode(payload)
	if err != nil {
		return none, SetAside(path, err.Error())
	}
	return value, nil
}

// Peek is Read for whoever may not change the folder: a file whose content does
// not hold stays where it is, and the [*CorruptError] has no Aside.
func Peek(path string) ([]byte, error) {
	payload, reason, err := read(path)
	if err == nil && reason != "" {
		return nil, &CorruptError{Path: path, Reason: reason}
	}
	return payload, err
}

// read returns the payload, or the reason why the content does not hold, or the
// error of reading it.
func read(path string) (payload []byte, reason string, err error) {
	data, reason, err := readBounded(path)
	if err != nil {
		return nil, "", fmt.Errorf("reading %q: %w", path, err)
	}
	if reason == "" {
		payload, reason = decode(data)
	}
	return payload, reason, nil
}

// SetAside renames a file whose content its owner cannot use to
// path+".corrupt", over an earlier one, and gives the [*CorruptError] that says
// so: a person can still look at it, and the next Write does not replace it.
func SetAside(path, reason string) error {
	corrupt := &CorruptError{Path: path, Reason: reason}
	aside := path + ".corrupt"
	if err := os.Rename(path, aside); err != nil {
		corrupt.Err = err
	} else {
		corrupt.Aside = aside
	}
	return corrupt
}

// readBounded returns the whole file, or the reason why it cannot be one of
// ours, or the error of reading it.
func readBounded(path string) (data []byte, reason string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = file.Close() }() // only read: closing loses nothing
	info, err := file.Stat()
	if err != nil {
		return nil, "", err
	}
	if !info.Mode().IsRegular() {
		return nil, "", fmt.Errorf("it is no regular file (%s)", info.Mode())
	}
	if info.Size() > SizeMax+headerMax {
		return nil, fmt.Sprintf("it has %d bytes, more than any file of ours", info.Size()), nil
	}
	data = make([]byte, info.Size())
	if _, err := io.ReadFull(file, data); err != nil {
		return nil, "", err
	}
	return data, "", nil
}

// encodeHeader returns the header line of payload, with its line feed.
func encodeHeader(payload []byte) []byte {
	sum := sha256.Sum256(payload)
	return fmt.Appendf(nil, "%s %d %s\n", magic, len(payload), hex.EncodeToString(sum[:]))
}

// decode returns the payload of a whole file, or the reason why it does not
// hold. The header must be byte for byte what Write makes of the payload: then
// no damage to it can go unseen, and there is no second spelling to allow for.
func decode(data []byte) (payload []byte, reason string) {
	head := data[:min(len(data), headerMax)]
	end := bytes.IndexByte(head, '\n')
	if end < 0 {
		return nil, "it has no header line"
	}
	header, payload := data[:end+1], data[end+1:]
	if bytes.Equal(header, encodeHeader(payload)) {
		return payload, ""
	}
	rest, found := bytes.CutPrefix(header, []byte(magic+" "))
	if !found {
		return nil, "its header is not " + strconv.Quote(magic)
	}
	digits, _, _ := bytes.Cut(rest, []byte(" "))
	if length, err := strconv.Atoi(string(digits)); err != nil || length != len(payload) {
		return nil, fmt.Sprintf("its header says %q bytes, it has %d", digits, len(payload))
	}
	return nil, "its checksum does not match"
}

// writeSynced creates the file temp with payload behind its header and waits
// until it is on disk.
func writeSynced(temp string, payload []byte) (err error) {
	file, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
	}()
	if _, err := file.Write(encodeHeader(payload)); err != nil {
		return err
	}
	if _, err := file.Write(payload); err != nil {
		return err
	}
	return file.Sync()
}

// syncDir waits until the entries of dir, the rename among them, are on disk.
func syncDir(dir string) (err error) {
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
	}()
	return file.Sync()
}

// removeIfThere removes the temporary file of a Write that went wrong.
func removeIfThere(temp string) error {
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing its temporary file: %w", err)
	}
	return nil
}
