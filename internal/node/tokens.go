package node

import (
	"fmt"
	"os"
	"slices"
	"strings"

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

// Bounds on what the record has of a change of tokens, in bytes of JSON. An entry's value has at most 20 KiB.
const (
	tokenTextMax  = 1 << 10 // of a token: some scopes; one may have 64 long ones
	tokenTextsMax = 16 << 10
)

// changedTokens are those of a list that another does not have as they are: their names with what they may, and not what they are
// known by. What there is no room for is counted.
func changedTokens(of, without []api.Token) []string {
	have := map[string]bool{}
	for i := range without {
		have[without[i].Line()] = true
	}
	changed := []string{}
	for i := range of {
		if !have[of[i].Line()] {
			changed = append(changed, tokenText(&of[i]))
		}
	}
	return fitting(changed)
}

// changedLines are those of a list that another does not have, cut as changedTokens is.
func changedLines(of, without []string) []string {
	return fitting(slices.DeleteFunc(slices.Clone(of), func(line string) bool { return slices.Contains(without, line) }))
}

// fitting cuts a list to what an entry of the audit log has room for.
func fitting(lines []string) []string {
	out := []string{}
	for i, line := range lines {
		if len(note(append(out, line))) > tokenTextsMax {
			return append(out, fmt.Sprintf("and %d more", len(lines)-i))
		}
		out = append(out, line)
	}
	return out
}

// tokenText is a token's line without its hash.
func tokenText(t *api.Token) string {
	words := strings.Fields(t.Line())
	text := strings.Join(slices.DeleteFunc(words, func(w string) bool { return strings.HasPrefix(w, "sha256=") }), " ")
	if len(text) > tokenTextMax {
		text = text[:tokenTextMax] + "..." // it is ASCII
	}
	return text
}
