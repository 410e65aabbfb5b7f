package node

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"

	"geodns/internal/source"
	"geodns/pkg/server"
)

// Limits of a file of cookie secrets.
const (
	// secretsBytesMax bounds the file: two lines, and what people write about them.
	secretsBytesMax = 64 << 10
	// secretDigits is the hex digits of a secret: the 128 bits of SipHash's key (RFC 9018 section 4.4).
	secretDigits = 2 * len(secret{})
)

// secret makes and verifies server cookies. Whoever has it can take on the address of any client, so it is never shown: not
// in a log, not in an error, not by a slip of fmt.
type secret [16]byte

// Format prints a word in place of the secret, whatever the verb.
func (secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "(secret)") }

// LogValue is what slog shows.
func (secret) LogValue() slog.Value { return slog.StringValue("(secret)") }

// id is by what people tell whether two nodes have the same secret: some digits of a hash, from which there is no way back to
// 128 random bits.
func (s secret) id() string {
	sum := sha256.Sum256(append([]byte("geodns cookie secret\x00"), s[:]...))
	return hex.EncodeToString(sum[:4])
}

// readSecrets reads the file of secrets that is configured, a line each, the first to make cookies and all to accept. What is wrong
// with it is reported, never quoted; with an error there are none.
func (c *Config) readSecrets(fs *source.Findings) []secret {
	path := c.Cookies.SecretFile
	if path == "" || c.Cookies.Off {
		return nil
	}
	data, err := ReadSmall(path, secretsBytesMax)
	if err != nil {
		fs.Errorf(source.WholeFile(path), "the cookie secrets cannot be read: %v", err)
		return nil
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o006 != 0 {
		fs.Warnf(source.WholeFile(path), "anybody on this machine can read or change these cookie secrets (mode %#o): take that away by chmod o-rw", info.Mode().Perm())
	}
	return parseSecrets(path, data, fs)
}

// ReadSmall reads a regular file of at most limit bytes. Nothing else is opened: opening a pipe waits for its writer.
func ReadSmall(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file (%s)", path, info.Mode())
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read: closing loses nothing
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return data, err
}

// parseSecrets reads the lines of a file of secrets: blank, a comment from '#' on, or a secret of 32 hex digits.
func parseSecrets(file string, data []byte, fs *source.Findings) []secret {
	var out []secret
	var lines []int
	before := fs.Errors()
	n := 0
	for line := range bytes.Lines(data) {
		n++
		text, _, _ := bytes.Cut(line, []byte("#"))
		col := len(text) - len(bytes.TrimLeft(text, " \t")) + 1
		text = bytes.TrimSpace(text)
		if len(text) == 0 {
			continue
		}
		at := source.Place{File: file, Line: n, Col: col}
		s, ok := parseSecret(at, text, fs)
		switch {
		case !ok:
		case slices.Contains(out, s):
			fs.Errorf(at, "this is the secret of line %d again; a second one is what comes after it or came before it", lines[slices.Index(out, s)])
		case len(out) == server.CookieSecretsMax:
			fs.Errorf(at, "a third secret; there are at most %d: the one that makes cookies, and one more that is accepted", server.CookieSecretsMax)
			return nil // what is this file?
		default:
			out, lines = append(out, s), append(lines, n)
		}
	}
	if fs.Errors() > before {
		return nil
	}
	if len(out) == 0 {
		fs.Errorf(source.WholeFile(file), "there is no cookie secret here; one is a line of %d hex digits, such as `openssl rand -hex 16` makes", secretDigits)
	}
	return out
}

// parseSecret reads one secret.
func parseSecret(at source.Place, text []byte, fs *source.Findings) (secret, bool) {
	var s secret
	if bad := bytes.IndexFunc(text, func(c rune) bool { return !isHex(c) }); bad >= 0 {
		at.Col += bad
		fs.Errorf(at, "a secret is %d hex digits alone on its line, and this is none of 0-9, a-f, A-F", secretDigits)
		return s, false
	}
	if len(text) != secretDigits {
		fs.Errorf(at, "a secret has %d hex digits, and here are %d; `openssl rand -hex 16` makes one", secretDigits, len(text))
		return s, false
	}
	if _, err := hex.Decode(s[:], text); err != nil { // cannot be: they are hex digits, and as many as needed
		fs.Errorf(at, "a secret is %d hex digits alone on its line", secretDigits)
		return s, false
	}
	if len(slices.Compact(slices.Clone(s[:]))) == 1 {
		fs.Errorf(at, "one octet 16 times is no secret: everybody tries that first; `openssl rand -hex 16` makes one")
		return s, false
	}
	return s, true
}

func isHex(c rune) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
