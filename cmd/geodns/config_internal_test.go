package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"geodns/internal/node"
)

// TestDocumentedSettings: docs/configuration.md has a row for each key of the server's file, with its variable and its flag, and
// none for a key that there is not.
func TestDocumentedSettings(t *testing.T) {
	data, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, begins := strings.Cut(string(data), "\n| key | default | variable | flag |")
	text, _, ends := strings.Cut(text, "\n\n")
	if !begins || !ends {
		t.Fatal("there is no table of keys")
	}
	rows := map[string]string{} // by key: variable and flag
	for line := range strings.Lines(text) {
		if cells := strings.Split(line, "|"); len(cells) > 4 && strings.HasPrefix(line, "| `") {
			key := strings.Trim(cells[1], " `")
			if _, doubled := rows[key]; doubled {
				t.Errorf("%s stands twice", key)
			}
			rows[key] = strings.TrimSpace(cells[3]) + " " + strings.TrimSpace(cells[4])
		}
	}
	for _, s := range settings() {
		key := strings.ReplaceAll(s.key, keyDelimiter, ".")
		if want := fmt.Sprintf("`%s` `--%s`", s.env, s.flag); rows[key] != want {
			t.Errorf("%s: the row has %q, want %q", key, rows[key], want)
		}
		delete(rows, key)
	}
	for key := range rows {
		t.Errorf("%s is documented, and there is no such key", key)
	}
}

// TestDeployedConfig: the file that people begin with is one, as it is and with each of its examples, of which some stand for what a line
// without a # has.
func TestDeployedConfig(t *testing.T) {
	data, err := os.ReadFile("../../deploy/geodns.yaml")
	if err != nil {
		t.Fatal(err)
	}
	load := func(text string) node.Config {
		t.Helper()
		file := filepath.Join(t.TempDir(), "geodns.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := new(cobra.Command)
		addConfig(cmd)
		if err := cmd.ParseFlags([]string{"-c", file}); err != nil {
			t.Fatal(err)
		}
		cfg, findings, err := loadConfig(cmd)
		if err != nil || len(findings) > 0 {
			t.Errorf("%v, %v in\n%s", err, findings, text)
		}
		return cfg
	}
	load(string(data))
	var listens []string
	for _, example := range regexp.MustCompile(`(?m)^# ([a-z]+): ["{].*$`).FindAllSubmatch(data, -1) {
		line, key := string(example[0]), string(example[1])
		base := regexp.MustCompile(`(?m)^`+key+`: .*\n`).ReplaceAllString(string(data), "")
		cfg := load(strings.Replace(base, line, strings.TrimPrefix(line, "# "), 1))
		if key == "rum" {
			listens = append(listens, cfg.RUM.Listen.String())
		}
	}
	if want := "[::]:8443 192.0.2.1:8080"; strings.Join(listens, " ") != want {
		t.Errorf("the examples of rum listen at %v, want %s", listens, want)
	}
}
