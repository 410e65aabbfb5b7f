package node_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"geodns/internal/node"
)

// git runs git in a folder, away from anybody's configuration, and gives what it prints.
func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "HOME="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// repository makes one with a folder zones and a commit.
func repository(t *testing.T, args ...string) (root, zones string) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git here")
	}
	root = t.TempDir()
	git(t, root, append([]string{"init", "-q", "-b", "main"}, args...)...)
	zones = filepath.Join(root, "zones")
	write(t, zones, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(1)})
	commit(t, root, "first")
	return root, zones
}

// commit commits all that there is.
func commit(t *testing.T, root, about string) string {
	t.Helper()
	git(t, root, "add", "-A")
	git(t, root, "commit", "-q", "--allow-empty", "-m", about)
	return git(t, root, "rev-parse", "HEAD")
}

// TestCommitOfGit holds what we read against what git says, for the ways in which git keeps a head.
func TestCommitOfGit(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, root, zones string) string{
		"loose":    func(_ *testing.T, _, zones string) string { return zones },
		"the root": func(_ *testing.T, root, _ string) string { return root },
		"packed": func(t *testing.T, root, zones string) string {
			git(t, root, "tag", "-a", "-m", "x", "v1")
			git(t, root, "pack-refs", "--all")
			return zones
		},
		"packed, then committed": func(t *testing.T, root, zones string) string {
			git(t, root, "pack-refs", "--all")
			commit(t, root, "second")
			return zones
		},
		"detached": func(t *testing.T, root, zones string) string {
			commit(t, root, "second")
			git(t, root, "checkout", "-q", "HEAD~1")
			return zones
		},
		"a branch with a slash": func(t *testing.T, root, zones string) string {
			git(t, root, "checkout", "-q", "-b", "feature/x/y")
			commit(t, root, "second")
			return zones
		},
		"a link": func(t *testing.T, _, zones string) string {
			link := filepath.Join(t.TempDir(), "current")
			if err := os.Symlink(zones, link); err != nil {
				t.Fatal(err)
			}
			return link
		},
		"a work tree": func(t *testing.T, root, _ string) string {
			other := filepath.Join(t.TempDir(), "other")
			git(t, root, "worktree", "add", "-q", "-b", "side", other)
			commit(t, other, "second")
			return filepath.Join(other, "zones")
		},
		"a work tree, packed": func(t *testing.T, root, _ string) string {
			other := filepath.Join(t.TempDir(), "other")
			git(t, root, "worktree", "add", "-q", "-b", "side", other)
			commit(t, other, "second")
			git(t, root, "pack-refs", "--all")
			return filepath.Join(other, "zones")
		},
		"as git-sync has it": func(t *testing.T, root, _ string) string {
			head := git(t, root, "rev-parse", "HEAD")
			git(t, root, "worktree", "add", "-q", "--detach", filepath.Join(".worktrees", head))
			if err := os.Symlink(filepath.Join(".worktrees", head), filepath.Join(root, "current")); err != nil {
				t.Fatal(err)
			}
			return filepath.Join(root, "current", "zones")
		},
		"a submodule": func(t *testing.T, root, _ string) string {
			outer := t.TempDir()
			git(t, outer, "init", "-q")
			git(t, outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", root, "sub")
			return filepath.Join(outer, "sub", "zones")
		},
	} {
		t.Run(name, func(t *testing.T) {
			root, zones := repository(t)
			folder := change(t, root, zones)
			got, dirs := node.CommitOf(folder)
			if want := git(t, folder, "rev-parse", "HEAD"); got != want {
				t.Errorf("commit %q, and git says %s", got, want)
			}
			if len(dirs) == 0 {
				t.Error("nothing is to be watched")
			}
		})
	}
}

// TestCommitOfForms covers other kinds of repositories, where this git knows them.
func TestCommitOfForms(t *testing.T) {
	for _, form := range []struct{ option, want string }{{"--object-format=sha256", "HEAD"}, {"--ref-format=reftable", ""}} {
		t.Run(form.option, func(t *testing.T) {
			if err := exec.CommandContext(t.Context(), "git", "init", "-q", form.option, t.TempDir()).Run(); err != nil {
				t.Skipf("this git has no %s", form.option)
			}
			root, zones := repository(t, form.option)
			want := ""
			if form.want != "" {
				want = git(t, root, "rev-parse", form.want)
			}
			if got, _ := node.CommitOf(zones); got != want {
				t.Errorf("commit %q, want %q", got, want)
			}
		})
	}
}

// TestCommitOfOther covers what is no repository, or a broken one: none of it is an error, and nothing waits.
func TestCommitOfOther(t *testing.T) {
	const a, b = "0123456789abcdef0123456789abcdef01234567", "89abcdef0123456789abcdef0123456789abcdef"
	for name, c := range map[string]struct {
		files map[string]string
		in    string
		want  string
	}{
		"nothing":                {nil, ".", ""},
		"no such folder":         {nil, "none/zones", ""},
		"named by git-sync":      {nil, "root/" + a + "/zones", a},
		"named by its elders":    {nil, "root/rev-" + a, a},
		"named almost so":        {nil, "root/" + a + "0/zones", ""},
		"the repository is away": {map[string]string{a + "/.git": "gitdir: /nowhere/.git/worktrees/" + a + "\n"}, a + "/zones", a},
		"two names":              {map[string]string{a + "/.git/HEAD": b + "\n"}, a + "/zones", b},
		"no commit yet":          {map[string]string{".git/HEAD": "ref: refs/heads/main\n"}, "zones", ""},
		"a ref elsewhere":        {map[string]string{".git/HEAD": "ref: refs/../../secret\n", "secret": a}, "zones", ""},
		"no ref at all":          {map[string]string{".git/HEAD": "ref: HEAD\n"}, "zones", ""},
		"refs in a ring":         {map[string]string{".git/HEAD": "ref: refs/heads/a\n", ".git/refs/heads/a": "ref: refs/heads/a\n"}, "zones", ""},
		"a ref to a ref":         {map[string]string{".git/HEAD": "ref: refs/heads/a\n", ".git/refs/heads/a": "ref: refs/heads/b\n", ".git/refs/heads/b": a + "\n"}, "zones", a},
		"a reftable":             {map[string]string{".git/HEAD": "ref: refs/heads/.invalid\n", ".git/refs/heads": "this repository uses the reftable format\n"}, "zones", ""},
		"half a commit":          {map[string]string{".git/HEAD": a[:20]}, "zones", ""},
		"no hex":                 {map[string]string{".git/HEAD": strings.Repeat("z", 40)}, "zones", ""},
		"too long":               {map[string]string{".git/HEAD": a + strings.Repeat(" ", 1<<20)}, "zones", ""},
		"a strange file":         {map[string]string{".git": "what is this"}, "zones", ""},
		"loose before packed":    {map[string]string{".git/HEAD": "ref: refs/heads/a", ".git/refs/heads/a": a, ".git/packed-refs": b + " refs/heads/a\n"}, "zones", a},
		"packed, its kind": {map[string]string{
			".git/HEAD": "ref: refs/heads/a", ".git/packed-refs": "# pack-refs with: peeled fully-peeled sorted\n" + b + " refs/heads/ab\n^" + b + "\n" + a + " refs/heads/a\n",
		}, "zones", a},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, c.files)
			folder := filepath.Join(dir, c.in)
			if c.in != "none/zones" {
				if err := os.MkdirAll(folder, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if got, _ := node.CommitOf(folder); got != c.want {
				t.Errorf("commit %q, want %q", got, c.want)
			}
		})
	}
	dir := t.TempDir()
	write(t, dir, map[string]string{".git/x": ""})
	if err := syscall.Mkfifo(filepath.Join(dir, ".git", "HEAD"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, _ := node.CommitOf(dir); got != "" { // and it does not wait for a writer
		t.Errorf("commit %q of a pipe", got)
	}
}

// FuzzCommitOf writes anything where git keeps its head: a commit comes of it, or none.
func FuzzCommitOf(f *testing.F) {
	f.Add("ref: refs/heads/a\n", "89abcdef0123456789abcdef0123456789abcdef\n", "# pack-refs\n89abcdef0123456789abcdef0123456789abcdef refs/heads/a\n")
	f.Add("ref: refs/heads/b\n", "", "89abcdef0123456789abcdef0123456789abcdef refs/heads/b\n^x\n")
	f.Add("89abcdef0123456789abcdef0123456789abcdef", "", "")
	f.Add("ref: refs/../HEAD", "ref: refs/heads/a", "\x00 refs/heads/a")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, head, loose, packed string) {
		write(t, dir, map[string]string{".git/HEAD": head, ".git/refs/heads/a": loose, ".git/packed-refs": packed})
		got, _ := node.CommitOf(dir)
		if hex := strings.Trim(got, "0123456789abcdef") == ""; !hex || len(got) != 0 && len(got) != 40 && len(got) != 64 {
			t.Errorf("commit %q", got)
		}
		if got != "" && !strings.Contains(head+loose+packed, got) {
			t.Errorf("commit %q, which nobody wrote", got)
		}
	})
}
