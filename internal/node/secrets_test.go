package node_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"geodns/internal/node"
)

// Secrets for tests.
const (
	secretA = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
	secretB = "A1B2C3D4E5F60718293A4B5C6D7E8F90"
	secretC = "00112233445566778899aabbccddeeff"
)

// TestParseSecrets reads files of secrets, good and bad. What is wrong has its place, and nothing of a secret is in the words.
func TestParseSecrets(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want int
		at   string
		why  string
	}{
		"one":              {secretA + "\n", 1, "", ""},
		"two":              {secretA + "\n" + secretB + "\n", 2, "", ""},
		"no last newline":  {secretA + "\n" + secretB, 2, "", ""},
		"DOS":              {secretA + "\r\n" + secretB + "\r\n", 2, "", ""},
		"comments":         {"# first\n\n  \t\n" + secretA + " # makes\n\t" + secretB + "\t#accepted\n#" + secretC + "\n", 2, "", ""},
		"empty":            {"", 0, "s:1:1", "there is no cookie secret here"},
		"comments alone":   {"# " + secretA + "\n", 0, "s:1:1", "there is no cookie secret here"},
		"short":            {"#\n  " + secretA[:30] + "\n", 0, "s:2:3", "here are 30"},
		"long":             {secretA + "00\n", 0, "s:1:1", "here are 34"},
		"no hex":           {secretA + "\n" + secretB[:7] + "g" + secretB[8:] + "\n", 0, "s:2:8", "none of 0-9"},
		"NSD's config":     {"cookie-secret: \"" + secretA + "\"\n", 0, "s:1:2", "alone on its line"},
		"not ASCII":        {"é" + secretA[2:] + "\n", 0, "s:1:1", "none of 0-9"},
		"the same twice":   {secretA + "\n\n" + strings.ToUpper(secretA) + "\n", 0, "s:3:1", "line 1 again"},
		"three":            {secretA + "\n" + secretB + "\n" + secretC + "\n", 0, "s:3:1", "a third secret"},
		"no secret at all": {strings.Repeat("0", 32) + "\n", 0, "s:1:1", "no secret"},
		"binary":           {"\x00\xff\xfe", 0, "s:1:1", "none of 0-9"},
	} {
		t.Run(name, func(t *testing.T) {
			got, fs := node.ParseSecrets("s", []byte(c.text))
			if len(got) != c.want || fs.HasErrors() != (c.at != "") {
				t.Fatalf("%d secrets, %v; want %d", len(got), fs, c.want)
			}
			if c.at != "" && (fs[0].Place.String() != c.at || !strings.Contains(fs[0].Message, c.why)) {
				t.Errorf("%s, want %q at %s", fs[0], c.why, c.at)
			}
			if c.want > 0 && hex.EncodeToString(got[0][:]) != secretA {
				t.Errorf("the first is %x", got[0])
			}
			if c.want > 1 && !strings.EqualFold(hex.EncodeToString(got[1][:]), secretB) {
				t.Errorf("the second is %x", got[1])
			}
			for _, f := range fs {
				hides(t, f.String())
			}
		})
	}
}

// hides fails where a text has eight digits in a row of one of the tests' secrets.
func hides(t *testing.T, text string) {
	t.Helper()
	for _, s := range []string{secretA, secretB, secretC} {
		for i := 0; i+8 <= len(s); i++ {
			if strings.Contains(strings.ToLower(text), strings.ToLower(s[i:i+8])) {
				t.Fatalf("a secret shows in %q", text)
			}
		}
	}
}

// TestSecretPrints shows that a secret does not slip into a text by fmt, whatever the verb.
func TestSecretPrints(t *testing.T) {
	var s [16]byte
	if _, err := hex.Decode(s[:], []byte(secretC)); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		text := node.ShowSecret(s, verb)
		if strings.Contains(text, "0x11") || strings.Contains(text, "17 34") || strings.Contains(strings.ToLower(text), "001122") || !strings.Contains(text, "secret") {
			t.Errorf("%s: %s", verb, text)
		}
	}
}

// FuzzSecrets reads anything. What is read is read again from its own plain text; what is refused says where and shows nothing.
func FuzzSecrets(f *testing.F) {
	f.Add([]byte(secretA + "\n" + secretB))
	f.Add([]byte("# comment\r\n\t" + secretA + " # x\n"))
	f.Add([]byte("cookie-secret: " + secretA))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, fs := node.ParseSecrets("s", data)
		if fs.HasErrors() == (len(got) > 0) || len(got) > 2 {
			t.Fatalf("%d secrets and %v", len(got), fs)
		}
		var plain bytes.Buffer
		for _, s := range got {
			fmt.Fprintf(&plain, "%x\n", s)
		}
		if len(got) == 0 {
			return
		}
		again, fs := node.ParseSecrets("s", plain.Bytes())
		if fs.HasErrors() || fmt.Sprint(again) != fmt.Sprint(got) {
			t.Fatalf("%x became %x, %v", got, again, fs)
		}
	})
}

// TestSecretFiles checks what is said of the file itself.
func TestSecretFiles(t *testing.T) {
	cfg := config(t, map[string]string{"example.com.zone": zoneText, "www.yaml": steered(1)})
	dir := t.TempDir()
	for name, c := range map[string]struct {
		prepare func(path string) error
		want    string
	}{
		"fine":        {func(p string) error { return os.WriteFile(p, []byte(secretA), 0o600) }, ""},
		"for a group": {func(p string) error { return os.WriteFile(p, []byte(secretA), 0o640) }, ""},
		"for all": {func(p string) error {
			if err := os.WriteFile(p, []byte(secretA), 0o600); err != nil {
				return err
			}
			return os.Chmod(p, 0o644)
		}, "warning: anybody on this machine can read"},
		"missing": {func(string) error { return nil }, "error: the cookie secrets cannot be read"},
		"folder":  {func(p string) error { return os.Mkdir(p, 0o700) }, "is no regular file"},
		"large":   {func(p string) error { return os.WriteFile(p, make([]byte, 65<<10), 0o600) }, "has more than 65536 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Cookies.SecretFile = filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			if err := c.prepare(cfg.Cookies.SecretFile); err != nil {
				t.Fatal(err)
			}
			var said []string
			for _, f := range node.Check(cfg).Findings {
				if f.File == cfg.Cookies.SecretFile {
					said = append(said, f.String())
				}
			}
			if text := strings.Join(said, "\n"); !strings.Contains(text, c.want) || (c.want == "") != (text == "") {
				t.Errorf("said %q, want %q", text, c.want)
			}
		})
	}
}
