package operator

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"geodns/internal/durable"
)

// The files of the folder beside the segments.
const (
	headFile     = "head"
	headNextFile = "head.next"
	keyFile      = "key"
	publicFile   = "key.pub"
	lockName     = "lock"
	brokenFile   = "broken" // what did not hold at a start, for people: they remove it when they have looked into it
)

// brokenMax bounds what is read and kept of brokenFile, in bytes: some lines, one for each start that found something.
const brokenMax = 16 << 10

// fileMode and dirMode: the log says who did what, and its key signs it.
const (
	fileMode fs.FileMode = 0o600
	dirMode  fs.FileMode = 0o700
)

// signedMagic begins what a checkpoint signs, so that a signature for anything else is none here; the number is the version.
const signedMagic = "geodns audit checkpoint 1"

// keyBlock is the type of the PEM block in the file of the private key, PKCS #8.
const keyBlock = "PRIVATE KEY"

// publicMax bounds what is read of key.pub, in bytes: a key has 44, and a line feed.
const publicMax = 1024

// signed is the text that a checkpoint's signature is over: one field a line, none of which can have a line feed in it.
func (c *Checkpoint) signed(at time.Time) []byte {
	return fmt.Appendf(nil, "%s\n%d\n%s\n%d\n%s\n%s\n%s\n",
		signedMagic, c.Seq, c.Chain, c.First, c.FirstPrev, c.Key, wallTime(at).Format(time.RFC3339Nano))
}

// sign fills the signature. The time is that of the checkpoint's entry: with it all of the entry's line is either signed or fixed.
func (c *Checkpoint) sign(key ed25519.PrivateKey, at time.Time) {
	c.Signature = base64.StdEncoding.EncodeToString(ed25519.Sign(key, c.signed(at)))
}

// verify says why an entry is no checkpoint of this key over what is before it; "": it is one.
func (e *Entry) verifyCheckpoint(key ed25519.PublicKey) string {
	c := e.Checkpoint
	if c == nil {
		return "the checkpoint has nothing in it"
	}
	plain := Entry{Seq: e.Seq, Time: e.Time, Prev: e.Prev, Kind: EntryCheckpoint, Who: logWho, Checkpoint: c}
	if _, err := plain.encode(); err != nil || plain.Hash != e.Hash || c.Seq+1 != e.Seq || c.Chain != e.Prev {
		return "the checkpoint is not one that this log would write"
	}
	if c.Key != publicText(key) {
		return fmt.Sprintf("the checkpoint is signed with the key %q, not with %q: somebody else wrote it, or the key was replaced", c.Key, publicText(key))
	}
	signature, err := base64.StdEncoding.Strict().DecodeString(c.Signature)
	if err != nil || !ed25519.Verify(key, c.signed(e.Time), signature) || !isHash(c.FirstPrev) || c.First == 0 || c.First > e.Seq {
		return "the checkpoint's signature does not hold: what it says was changed"
	}
	return ""
}

// publicOf is the public key of a private one.
func publicOf(key ed25519.PrivateKey) ed25519.PublicKey {
	return ed25519.PublicKey(key[ed25519.SeedSize:])
}

// ParseLogKey reads a public key as key.pub has it: base64, with or without a line feed.
func ParseLogKey(text []byte) (ed25519.PublicKey, error) {
	key, err := base64.StdEncoding.Strict().DecodeString(string(bytes.TrimSuffix(text, []byte("\n"))))
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("no public key of an audit log: %.60q (want the content of its %s: 32 bytes in base64)", text, publicFile)
	}
	return key, nil
}

// readPublic reads a key.pub; the key is nil where it is missing or is none, with what to say about that.
func readPublic(path string) (key ed25519.PublicKey, wrong string, err error) {
	text, err := readSmall(path, publicMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "the public key is missing", nil
	}
	if err != nil {
		return nil, "", err
	}
	key, err = ParseLogKey(text)
	if err != nil || string(text) != publicText(key)+"\n" {
		return nil, "the public key was changed: this is no key", nil //nolint:nilerr // a finding, not an error of reading
	}
	return key, "", nil
}

// readSmall reads a file that has to be regular; of one that is larger it gives no more than max+1 bytes.
func readSmall(path string, limit int64) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: it is no regular file (%s)", path, info.Mode())
	}
	if info.Size() > limit {
		return make([]byte, limit+1), nil
	}
	return os.ReadFile(path)
}

// loadKey reads the private key; nil: there is none, or what there is is no key and was set aside.
func (l *Log) loadKey() (ed25519.PrivateKey, error) {
	text, err := durable.Read(l.path(keyFile))
	if _, corrupt := errors.AsType[*durable.CorruptError](err); corrupt || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(text); block != nil && block.Type == keyBlock {
		if key, parseErr := x509.ParsePKCS8PrivateKey(block.Bytes); parseErr == nil {
			if private, ok := key.(ed25519.PrivateKey); ok {
				return private, nil
			}
		}
	}
	l.conf.Logger.Warn("the audit log's key", "error", durable.SetAside(l.path(keyFile), "it is no Ed25519 key in PEM"))
	return nil, nil
}

// makeKey makes a private key and keeps it.
func (l *Log) makeKey() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, durable.Write(l.path(keyFile), pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}))
}

// writePublic writes key.pub, which has no header: people copy it.
func (l *Log) writePublic() error {
	temp := l.path(publicFile + ".tmp")
	file, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	_, err = file.WriteString(l.public + "\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err = os.Rename(temp, l.path(publicFile)); err != nil {
		return err
	}
	return l.conf.disk.syncDir(l.conf.Dir)
}

// trimLine is a line without its line feed.
func trimLine(line []byte) []byte { return bytes.TrimSuffix(line, []byte("\n")) }

// checkpointFile is what head or head.next says.
type checkpointFile struct {
	line  string // without its line feed; "": there is none
	entry *Entry // nil: there is none that holds
	wrong string // why not; "" where there is no file too
}

// seq is the number of the checkpoint's entry; 0: there is none.
func (c *checkpointFile) seq() uint64 {
	if c.entry == nil {
		return 0
	}
	return c.entry.Seq
}

// readCheckpoint reads head or head.next, without a change to it.
func readCheckpoint(path string, key ed25519.PublicKey) (checkpointFile, error) {
	text, err := durable.Peek(path)
	if errors.Is(err, fs.ErrNotExist) {
		return checkpointFile{}, nil
	}
	if corrupt, ok := errors.AsType[*durable.CorruptError](err); ok {
		return checkpointFile{wrong: "the file was changed: " + corrupt.Reason}, nil
	}
	if err != nil {
		return checkpointFile{}, err
	}
	file := checkpointFile{line: string(trimLine(text))}
	entry, err := parseEntry(trimLine(text))
	switch {
	case err != nil || len(file.line)+1 != len(text):
		file.wrong = "the file was changed: it has no entry of this log"
	case entry.Kind != EntryCheckpoint:
		file.wrong = "the file was changed: its entry is no checkpoint"
	default:
		if file.wrong = entry.verifyCheckpoint(key); file.wrong == "" {
			file.entry = entry
		}
	}
	return file, nil
}
