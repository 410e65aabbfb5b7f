package node

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
)

// Limits of reading what git keeps. None of it is ours to refuse: what is larger or stranger than this has no commit that we know.
const (
	// gitUpMax bounds the folders above the zones folder that are looked into: more than any path has.
	gitUpMax = 128
	// gitLineMax bounds the files of one line, which name a path or a commit.
	gitLineMax = 8 << 10
	// gitPackedMax bounds packed-refs: a hundred thousand refs.
	gitPackedMax = 16 << 20
	// gitRefsMax is how many refs a ref may lead through, as many as git follows.
	gitRefsMax = 5
	// A commit is named by its SHA-1, or by its SHA-256 in repositories of that kind, in hex.
	sha1Digits, sha256Digits = 40, 64
)

// commitOf is the commit that a folder's files are of, "" where it cannot be told: the head of the git work tree that the folder is in, as
// the files of git say, without git. Where that is out of reach, as in a container that sees no more than its own volume, it is
// the commit that git-sync and its like name a folder after. dirs are the folders in which a change can change it.
func commitOf(folder string) (commit string, dirs []string) {
	root := linkless(folder)
	if g, found := findGit(root); found {
		if commit, dirs = g.head(); commit != "" {
			return commit, dirs
		}
	}
	for at := root; at != filepath.Dir(at); at = filepath.Dir(at) {
		if name := strings.TrimPrefix(filepath.Base(at), "rev-"); isCommit(name) {
			return name, dirs
		}
	}
	return "", dirs
}

// gitDir is where git keeps what it knows of a work tree.
type gitDir struct {
	own    string // of this work tree
	common string // of all work trees of the repository; often the same
}

// findGit finds the repository of a work tree from a folder in it: a folder .git, or a file of that name that says where.
func findGit(folder string) (gitDir, bool) {
	at := folder
	for range gitUpMax {
		git := filepath.Join(at, ".git")
		if info, err := os.Stat(git); err == nil {
			if !info.IsDir() {
				path, named := strings.CutPrefix(gitLine(git), "gitdir: ")
				if !named {
					return gitDir{}, false
				}
				git = within(at, path)
			}
			common := git
			if path := gitLine(filepath.Join(git, "commondir")); path != "" {
				common = within(git, path)
			}
			return gitDir{git, common}, true
		}
		if at == filepath.Dir(at) {
			break
		}
		at = filepath.Dir(at)
	}
	return gitDir{}, false
}

// head is the commit that is checked out. Refs in a form that we do not read (reftable) lead to none.
func (g gitDir) head() (commit string, dirs []string) {
	dirs = []string{g.own, g.common}
	text := gitLine(filepath.Join(g.own, "HEAD"))
	for range gitRefsMax {
		name, isRef := strings.CutPrefix(text, "ref: ")
		if !isRef {
			break
		}
		if !strings.HasPrefix(name, "refs/") || !filepath.IsLocal(name) {
			return "", dirs
		}
		loose := filepath.Join(g.common, name)
		dirs = append(dirs, filepath.Dir(loose))
		if text = gitLine(filepath.Join(g.own, name)); text == "" { // only refs of this work tree alone are there
			text = gitLine(loose)
		}
		if text == "" {
			text = g.packed(name)
		}
	}
	if !isCommit(text) {
		return "", dirs
	}
	return text, dirs
}

// packed is what packed-refs says of a ref that has no file of its own.
func (g gitDir) packed(name string) string {
	data, err := ReadSmall(filepath.Join(g.common, "packed-refs"), gitPackedMax)
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(data) {
		if commit, ref, _ := strings.Cut(strings.TrimSpace(string(line)), " "); ref == name {
			return commit
		}
	}
	return ""
}

// gitLine reads a file of one line; "" if there is none.
func gitLine(path string) string {
	data, err := ReadSmall(path, gitLineMax)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// within is a path that may be relative to a folder.
func within(folder, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(folder, path)
}

// isCommit says whether this is the name of a commit.
func isCommit(s string) bool {
	return (len(s) == sha1Digits || len(s) == sha256Digits) && strings.Trim(s, "0123456789abcdef") == ""
}
