package node

import (
	"os"

	"geodns/internal/source"
	"geodns/pkg/api"
)

// readTokens reads the file of tokens that is configured; what is wrong with it is reported. False: it cannot be used.
func (c *Config) readTokens(findings *source.Findings) ([]api.Token, bool) {
	path := c.AuthTokens
	data, err := ReadSmall(path, api.TokensBytesMax)
	if err != nil {
		findings.Errorf(source.WholeFile(path), "the API's tokens cannot be read: %v; `geodns token create NAME` begins the file", err)
		return nil, false
	}
	warnWritable(path, "add a token", findings)
	return api.ParseTokens(path, data, findings)
}

// warnWritable warns of a file that gives rights and that anybody may change.
func warnWritable(path, what string, findings *source.Findings) {
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o002 != 0 {
		findings.Warnf(source.WholeFile(path), "anybody on this machine can %s here (mode %#o): take that away by chmod o-w", what, info.Mode().Perm())
	}
}

// warnReadable warns of a private key that anybody may read.
func warnReadable(path string, findings *source.Findings) {
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o006 != 0 {
		findings.Warnf(source.WholeFile(path), "anybody on this machine can read or change this private key (mode %#o): take that away by chmod o-rw", info.Mode().Perm())
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
