// Package source says where in an operator's files something stands and what was found there: places, findings with a
// severity, and YAML read by walking its nodes so that keys are strict and every error has its place.
//
// It knows nothing of what the files mean. Loaders collect Findings while they read on, so that one run shows all that
// is wrong; a file with an error is refused as a whole. Nothing here is safe for concurrent use.
package source

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Place is a place in a file. Line and Col count from 1, Col in characters in YAML and in bytes elsewhere. A whole file is
// 1:1; in a binary file Line is 1 and Col the byte offset.
type Place struct {
	File string
	Line int
	Col  int
}

// WholeFile is the place of a finding that concerns a file as such.
func WholeFile(file string) Place { return Place{File: file, Line: 1, Col: 1} }

// Offset is a place in a binary file, off bytes from its beginning.
func Offset(file string, off int64) Place { return Place{File: file, Line: 1, Col: int(off)} }

// String gives file:line:col.
func (p Place) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col) }

// compare orders places by file, line and column.
func (p Place) compare(q Place) int {
	return cmp.Or(strings.Compare(p.File, q.File), cmp.Compare(p.Line, q.Line), cmp.Compare(p.Col, q.Col))
}

// Severity says whether a finding forbids to use what was read.
type Severity uint8

// An Error refuses the whole load; a Warning does not.
const (
	Error Severity = iota
	Warning
)

// String gives the word that stands in a finding's line.
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// Finding is one thing that a loader found: where, how bad, and what would be right.
type Finding struct {
	Place

	Severity Severity
	Message  string
}

// String gives "file:line:col: error: message", one line whatever the message quotes.
func (f Finding) String() string {
	return f.Place.String() + ": " + f.Severity.String() + ": " + strings.NewReplacer("\n", `\n`, "\r", `\r`).Replace(f.Message)
}

// Findings are collected while a loader reads on. The zero value is ready.
type Findings []Finding

// Errorf adds an error.
func (fs *Findings) Errorf(p Place, format string, a ...any) {
	*fs = append(*fs, Finding{Place: p, Severity: Error, Message: fmt.Sprintf(format, a...)})
}

// Warnf adds a warning.
func (fs *Findings) Warnf(p Place, format string, a ...any) {
	*fs = append(*fs, Finding{Place: p, Severity: Warning, Message: fmt.Sprintf(format, a...)})
}

// Errors counts the errors.
func (fs Findings) Errors() int {
	n := 0
	for _, f := range fs {
		if f.Severity == Error {
			n++
		}
	}
	return n
}

// HasErrors says whether anything forbids the load.
func (fs Findings) HasErrors() bool { return fs.Errors() > 0 }

// Sort orders findings by place; those at one place keep their order.
func (fs Findings) Sort() {
	slices.SortStableFunc(fs, func(a, b Finding) int { return a.compare(b.Place) })
}

// Err is nil without errors, else a *LoadError.
func (fs Findings) Err() error {
	for _, f := range fs {
		if f.Severity == Error {
			return &LoadError{First: f, More: fs.Errors() - 1}
		}
	}
	return nil
}

// LoadError is a refused load, as one error: its first finding and how many there are beside it.
type LoadError struct {
	First Finding
	More  int
}

// Error gives the first finding's line and the count of the others.
func (e *LoadError) Error() string {
	switch e.More {
	case 0:
		return e.First.String()
	case 1:
		return e.First.String() + " (and 1 more error)"
	}
	return fmt.Sprintf("%s (and %d more errors)", e.First, e.More)
}

// Nearest gives the name of known that an operator may have meant by name: the one with the fewest edits, if they are
// few for its length; "" if none is near.
func Nearest(name string, known []string) string {
	best, bestDist := "", len(name)/3+1
	for _, k := range known {
		d := distance(strings.ToLower(name), strings.ToLower(k))
		if d >= len(name) {
			continue // nothing of the name is left
		}
		if d <= bestDist && (best == "" || d < bestDist) {
			best, bestDist = k, d
		}
	}
	return best
}

// nameMax bounds distance's work: a longer string is no misspelled name.
const nameMax = 256

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	if len(a) > nameMax || len(b) > nameMax {
		return nameMax
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diag
			if a[i] != b[j] {
				change++
			}
			diag = row[j+1]
			row[j+1] = min(change, row[j]+1, diag+1)
		}
	}
	return row[len(b)]
}
