package node

import (
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"geodns/internal/source"
	"geodns/pkg/api"
)

// tokensSettle is how old a file's time of change must be before it is believed to tell the file from what it may become: some
// file systems count in whole seconds.
const tokensSettle = 2 * time.Second

// readTokens reads the file of tokens that is configured; what is wrong with it is reported. False: it cannot be used.
func (c *Config) readTokens(findings *source.Findings) ([]api.Token, bool) {
	path := c.AuthTokens
	data, err := ReadSmall(path, api.TokensBytesMax)
	if err != nil {
		findings.Errorf(source.WholeFile(path), "the API's tokens cannot be read: %v; `geodns token create NAME` begins the file", err)
		return nil, false
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o002 != 0 {
		findings.Warnf(source.WholeFile(path), "anybody on this machine can add a token here (mode %#o): take that away by chmod o-w", info.Mode().Perm())
	}
	return api.ParseTokens(path, data, findings)
}

// tokenStore holds the tokens in use. The file is looked at whenever a token is, so that one that is revoked is worth nothing from
// the next request on; a file that cannot be used leaves those before it. Safe for concurrent use.
type tokenStore struct {
	cfg *Config
	log *slog.Logger

	mu sync.Mutex // guards the following

	tokens  []api.Token
	seen    fs.FileInfo // of the file when it was read; nil: there was none
	settled bool        // it cannot have changed within the tick of its time
	refused string      // why the file is not what is in use
	used    api.Input   // the file as it was when those in use were read
}

// newTokenStore reads the tokens for the first time. nil: none are configured. False: the file cannot be used.
func newTokenStore(cfg *Config, log *slog.Logger, findings *source.Findings) (*tokenStore, bool) {
	if cfg.AuthTokens == "" {
		return nil, true
	}
	s := &tokenStore{cfg: cfg, log: log}
	s.look(time.Now())
	var ok bool
	if s.tokens, ok = cfg.readTokens(findings); ok {
		s.use(time.Now())
	}
	return s, ok
}

// use notes that the file is in use as it was looked at last. s.mu is held, or s is nobody else's.
func (s *tokenStore) use(now time.Time) {
	s.used = api.Input{Name: api.InputTokens, Path: s.cfg.AuthTokens, Loaded: now.UTC()}
	if s.seen != nil {
		s.used.Modified = s.seen.ModTime().UTC()
	}
}

// input tells where the tokens came from.
func (s *tokenStore) input() api.Input {
	if s == nil {
		return api.Input{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refresh(time.Now())
	in := s.used
	in.Error = s.refused
	return in
}

// look says whether the file is another than the one that was read, and remembers it. s.mu is held, or s is nobody else's.
func (s *tokenStore) look(now time.Time) (changed bool) {
	info, err := os.Stat(s.cfg.AuthTokens)
	if err != nil {
		changed = s.seen != nil
		s.seen, s.settled = nil, true
		return changed
	}
	before := s.seen
	same := before != nil && s.settled && os.SameFile(before, info) && before.Size() == info.Size() &&
		before.ModTime().Equal(info.ModTime()) && before.Mode() == info.Mode()
	s.seen, s.settled = info, now.Sub(info.ModTime()) > tokensSettle
	return !same
}

// refresh reads the file again if it has changed. s.mu is held.
func (s *tokenStore) refresh(now time.Time) {
	if !s.look(now) {
		return
	}
	var findings source.Findings
	tokens, ok := s.cfg.readTokens(&findings)
	was := s.refused
	s.refused = ""
	if ok {
		if was != "" || !sameTokens(tokens, s.tokens) {
			s.log.Info("tokens changed", "file", s.cfg.AuthTokens, "tokens", len(tokens))
		}
		s.tokens = tokens
		s.use(now)
		return
	}
	if err := findings.Err(); err != nil {
		s.refused = err.Error()
	}
	if s.refused != was {
		s.log.Error("the file of tokens is refused; those before it stay", "error", s.refused)
	}
}

// sameTokens says whether two lists are of the same tokens.
func sameTokens(a, b []api.Token) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Line() != b[i].Line() {
			return false
		}
	}
	return true
}

// accept says whether who sent this token may use the API.
func (s *tokenStore) accept(token string) bool {
	now := time.Now()
	s.mu.Lock()
	s.refresh(now)
	tokens := s.tokens // replaced, never changed
	s.mu.Unlock()
	return api.AcceptToken(tokens, token, now)
}

// document tells of the tokens without telling them.
func (s *tokenStore) document() api.Auth {
	if s == nil {
		return api.Auth{}
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refresh(now)
	d := api.Auth{File: s.cfg.AuthTokens, Tokens: len(s.tokens), Refused: s.refused}
	for i := range s.tokens {
		if s.tokens[i].Expired(now) {
			d.Expired++
		}
	}
	return d
}
