package api

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"geodns/internal/source"
)

// Limits of tokens and their file.
const (
	// TokensMax bounds the tokens of a file: each request is compared with all of them, which takes some 50 µs then.
	TokensMax = 1000
	// TokensBytesMax bounds the file: lines of some 180 bytes, and what people write about them.
	TokensBytesMax = 1 << 20
	// TokenNameMax bounds a token's name, in bytes, as a DNS label is.
	TokenNameMax = 63

	// tokenPrefix lets people, and programs that look for secrets in the wrong places, see what it is.
	tokenPrefix = "gdt_"
	// tokenNever stands where a token does not expire.
	tokenNever = "never"
	// tokenKeyMax bounds how much of an unknown field's name is quoted.
	tokenKeyMax = 32
)

// TokenSecret is what a token is made of: as many random bits as nobody can try.
type TokenSecret [32]byte

// Text is the token itself, as who has it sends it. It is shown once, and kept nowhere.
func (s TokenSecret) Text() string { return tokenPrefix + base64.RawURLEncoding.EncodeToString(s[:]) }

// Token is what is kept of a token. Its text has 256 random bits, so that a plain hash of it is enough: there is no way back
// and nothing to guess, and whoever reads the file can do nothing with it.
type Token struct {
	Name    string            // by what people know whose it is
	Hash    [sha256.Size]byte // of the text
	Created time.Time
	Expires time.Time // zero: never
	Scopes  []Grant   // what it may do
	Roles   []string  // ... and what these may, by their names in the file of roles
}

// HashToken is what is kept of a token's text.
func HashToken(text string) [sha256.Size]byte { return sha256.Sum256([]byte(text)) }

// Expired says whether the token is over.
func (t *Token) Expired(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }

// Line is the token's line in the file, with its line feed.
func (t *Token) Line() string {
	expires := tokenNever
	if !t.Expires.IsZero() {
		expires = tokenTime(t.Expires)
	}
	var line strings.Builder
	fmt.Fprintf(&line, "%s sha256=%x created=%s expires=%s", t.Name, t.Hash, tokenTime(t.Created), expires)
	for _, g := range t.Scopes {
		line.WriteString(" scope=" + g.word())
	}
	for _, role := range t.Roles {
		line.WriteString(" role=" + role)
	}
	line.WriteByte('\n')
	return line.String()
}

// tokenTime writes a time as the file has it.
func tokenTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// FindToken gives the token whose text this is, nil if there is none or it is over. How long it takes says nothing of how much of
// it was right, nor which one it was: hashes are compared, each whole, and all of them.
func FindToken(tokens []Token, text string, now time.Time) *Token {
	return findToken(tokens, text, now, subtle.ConstantTimeCompare)
}

// findToken is FindToken with a compare of its own.
func findToken(tokens []Token, text string, now time.Time, same func(a, b []byte) int) *Token {
	sum := HashToken(text)
	found := -1
	for i := range tokens {
		found = subtle.ConstantTimeSelect(same(sum[:], tokens[i].Hash[:]), i, found)
	}
	if found < 0 || tokens[found].Expired(now) {
		return nil
	}
	return &tokens[found]
}

// CheckTokenName says what is wrong with a name, nil if nothing is.
func CheckTokenName(name string) error {
	fits := func(c rune) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' }
	if name == "" || len(name) > TokenNameMax || strings.ContainsFunc(name, func(c rune) bool { return !fits(c) }) {
		return fmt.Errorf("a token's name is 1 to %d of a-z, 0-9 and '-', such as deploy-ci", TokenNameMax)
	}
	if slices.Contains([]string{LocalOwner, "checker", "geodns", "watcher", "signal"}, name) {
		return fmt.Errorf("%q is what the server itself is called where a token's name would stand; take another", name)
	}
	return nil
}

// ParseTokens reads the lines of a file of tokens: blank, a comment from '#' on, or
//
//	deploy-ci sha256=<64 hex digits> created=2026-11-27T14:30:00Z expires=2026-12-27T14:30:00Z scope=leases:write,pool=web* role=viewer
//
// with `never` for a token that does not expire. The fields stand in any order, each once but scope and role; a token without
// either may do nothing. Unknown fields are errors, so that one that takes rights away in a later version is not passed over by
// this one. An empty file is fine: then nobody may do anything.
// Findings quote no value, as somebody may have put a token itself there. False: there was an error, and there are no tokens.
func ParseTokens(file string, data []byte, fs *source.Findings) ([]Token, bool) {
	p := tokenParser{fs: fs, names: map[string]int{}, hashes: map[[sha256.Size]byte]int{}}
	before := fs.Errors()
	n := 0
	for line := range bytes.Lines(data) {
		n++
		text, _, _ := bytes.Cut(line, []byte("#"))
		fields := tokenFields(source.Place{File: file, Line: n}, string(text))
		if len(fields) == 0 {
			continue
		}
		if len(p.tokens) == TokensMax {
			fs.Errorf(fields[0].at, "more than %d tokens; revoke those that nobody uses", TokensMax)
			break
		}
		p.line(fields)
	}
	if fs.Errors() > before {
		return nil, false
	}
	return p.tokens, true
}

// tokenField is a word of a line and where it begins.
type tokenField struct {
	text string
	at   source.Place
}

// tokenFields splits a line at blanks.
func tokenFields(at source.Place, line string) []tokenField {
	var fields []tokenField
	for rest := 0; rest < len(line); {
		begin := strings.IndexFunc(line[rest:], func(c rune) bool { return !isBlank(c) })
		if begin < 0 {
			break
		}
		begin += rest
		end := strings.IndexFunc(line[begin:], isBlank)
		if end < 0 {
			end = len(line) - begin
		}
		at.Col = begin + 1
		fields = append(fields, tokenField{line[begin : begin+end], at})
		rest = begin + end
	}
	return fields
}

// isBlank says what stands between the words of a line, its end included.
func isBlank(c rune) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// tokenParser has what was read so far.
type tokenParser struct {
	fs     *source.Findings
	tokens []Token
	names  map[string]int // their lines
	hashes map[[sha256.Size]byte]int
}

// line reads one token.
func (p *tokenParser) line(fields []tokenField) {
	before := p.fs.Errors()
	name := fields[0]
	if strings.HasPrefix(name.text, tokenPrefix) {
		p.fs.Errorf(name.at, "this looks like a token itself; take it out, and revoke it: the file has hashes of tokens, written by `geodns token create NAME`")
		return
	}
	if err := CheckTokenName(name.text); err != nil {
		p.fs.Errorf(name.at, "%v", err)
		return
	}
	t := Token{Name: name.text}
	seen := map[string]bool{}
	for _, f := range fields[1:] {
		key, value, found := strings.Cut(f.text, "=")
		switch {
		case !found:
			p.fs.Errorf(f.at, "a field such as expires=never is wanted here")
		case seen[key] && key != "scope" && key != "role":
			p.fs.Errorf(f.at, "%s stands twice", shownKey(key))
		default:
			p.field(&t, f.at, key, value)
		}
		seen[key] = true
	}
	for _, key := range []string{"sha256", "created", "expires"} {
		if !seen[key] {
			p.fs.Errorf(name.at, "token %q has no %s", t.Name, key)
		}
	}
	if p.fs.Errors() > before {
		return
	}
	if !t.Expires.IsZero() && !t.Expires.After(t.Created) {
		p.fs.Errorf(name.at, "token %q expires before it was created", t.Name)
	}
	if at, doubled := p.names[t.Name]; doubled {
		p.fs.Errorf(name.at, "token %q stands in line %d already", t.Name, at)
	}
	if at, doubled := p.hashes[t.Hash]; doubled {
		p.fs.Errorf(name.at, "this is the hash of line %d again; each token has its own", at)
	}
	if len(t.Scopes)+len(t.Roles) == 0 {
		p.fs.Warnf(name.at, "token %q has neither scope nor role, and may do nothing; revoke it and make another, or add what it may, such as scope=*:read", t.Name)
	}
	p.names[t.Name], p.hashes[t.Hash] = name.at.Line, name.at.Line
	p.tokens = append(p.tokens, t)
}

// field reads one field of a token.
func (p *tokenParser) field(t *Token, at source.Place, key, value string) {
	at.Col += len(key) + 1
	switch key {
	case "sha256":
		if len(value) != hex.EncodedLen(len(t.Hash)) {
			p.fs.Errorf(at, "sha256 has %d hex digits, and here are %d characters", hex.EncodedLen(len(t.Hash)), len(value))
		} else if _, err := hex.Decode(t.Hash[:], []byte(value)); err != nil {
			p.fs.Errorf(at, "sha256 is %d hex digits, and nothing else", hex.EncodedLen(len(t.Hash)))
		}
	case "created":
		t.Created = p.time(at, key, value)
	case "expires":
		if value != tokenNever {
			t.Expires = p.time(at, key, value)
		}
	case "scope":
		if strings.Contains(value, tokenPrefix) { // which is not quoted
			p.fs.Errorf(at, "this looks like a token itself; take it out, and revoke it")
			return
		}
		g, err := ParseGrant(value)
		p.check(at, len(t.Scopes) < GrantsMax, "a token has at most %d scopes", GrantsMax)
		if p.check(at, err == nil, "%v", err) {
			t.Scopes = append(t.Scopes, g)
		}
	case "role":
		err := CheckRoleName(value) // which quotes nothing
		p.check(at, len(t.Roles) < GrantsMax, "a token has at most %d roles", GrantsMax)
		if p.check(at, err == nil, "%v", err) {
			t.Roles = append(t.Roles, value)
		}
	default:
		at.Col -= len(key) + 1
		p.fs.Errorf(at, "unknown field %s; there are sha256, created, expires, scope, role", shownKey(key))
	}
}

// check reports an error unless ok.
func (p *tokenParser) check(at source.Place, ok bool, format string, a ...any) bool {
	if !ok {
		p.fs.Errorf(at, format, a...)
	}
	return ok
}

// time reads a time.
func (p *tokenParser) time(at source.Place, key, value string) time.Time {
	t, err := time.Parse(time.RFC3339, value)
	t = t.UTC().Truncate(time.Second) // as it is written
	if err != nil || t.Year() < 1970 || t.Year() > 9999 {
		p.fs.Errorf(at, "%s is a time such as 2026-11-27T14:30:00Z", key)
		return time.Time{}
	}
	return t
}

// shownKey quotes a field's name as far as it may be one.
func shownKey(key string) string {
	if len(key) > tokenKeyMax {
		key = key[:tokenKeyMax] + "..."
	}
	return fmt.Sprintf("%q", key)
}

// AddToken gives the file's text with one line more.
func AddToken(data []byte, t *Token) []byte {
	out := bytes.Clone(data)
	if len(out) == 0 {
		out = []byte("# Tokens of the API, by their hashes: a line each. `geodns token` writes and takes them out.\n")
	}
	if out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	return append(out, t.Line()...)
}

// RemoveToken gives the file's text without the line of a token, and whether there was one.
func RemoveToken(data []byte, name string) (out []byte, found bool) {
	for line := range bytes.Lines(data) {
		text, _, _ := bytes.Cut(line, []byte("#"))
		if fields := tokenFields(source.Place{}, string(text)); len(fields) > 0 && fields[0].text == name {
			found = true
			continue
		}
		out = append(out, line...)
	}
	return out, found
}
