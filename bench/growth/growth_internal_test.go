package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// output is a benchmark's: load grows with n, a query with its square root, memory not at all.
func output(points ...float64) string {
	var b strings.Builder
	for _, n := range points {
		fmt.Fprintf(&b, "BenchmarkGrowth/names/%.0f-2 \t 1 \t 1000 heap-B \t %g load-s \t 0 ns/op \t %g ns/hit\n", n, n/4, math.Sqrt(n))
	}
	return b.String()
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	var echo strings.Builder
	text := output(1, 100, 10_000) + "PASS\nok  \tgeodns/pkg/server\t1s\n"
	if err := run(strings.NewReader(text), &echo, dir); err != nil {
		t.Fatal(err)
	}
	if echo.String() != text {
		t.Errorf("passed on %q, want %q", echo.String(), text)
	}
	table, err := os.ReadFile(filepath.Join(dir, "names.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| names | ns/hit | heap-B | load-s |",
		"| 10000 | 100 (0.50) | 1000 (0.00) | 2500 (1.00) |",
		"| slope of all | 0.50 | 0.00 | 1.00 |",
		"| one more, at the end | 0.00909 | 0 | 0.250 |",
	} {
		if !strings.Contains(string(table), want+"\n") {
			t.Errorf("no line %q in\n%s", want, table)
		}
	}
	plot, err := os.Open(filepath.Join(dir, "names.svg"))
	if err != nil {
		t.Fatal(err)
	}
	defer plot.Close()
	lines := 0
	for d := xml.NewDecoder(plot); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the plot is no XML: %v", err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "polyline" {
			lines++
		}
	}
	if lines != 3 {
		t.Errorf("%d lines in the plot, want 3", lines)
	}
}

func TestRunRefuses(t *testing.T) {
	for _, c := range []struct{ about, text, want string }{
		{"a failure", output(1) + "--- FAIL: BenchmarkGrowth\nFAIL\n", "failed"},
		{"no end", output(1, 10), "did not end"},
		{"no number", "BenchmarkGrowth/names/many-2 1 1 heap-B\n", "the point of"},
		{"no figure", "BenchmarkGrowth/names/1-2 1 x heap-B\n", "heap-B of"},
	} {
		t.Run(c.about, func(t *testing.T) {
			dir := t.TempDir()
			if err := run(strings.NewReader(c.text), io.Discard, dir); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want an error with %q", err, c.want)
			}
			if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
				t.Errorf("%d files were written, %v", len(files), err)
			}
		})
	}
}
