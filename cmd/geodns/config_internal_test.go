package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
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
