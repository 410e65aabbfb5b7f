package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// The screen that output is made for where none is known, and the smallest that is believed.
const (
	screenWidth  = 80
	screenHeight = 24
	// screenMin: below this many columns or rows, cutting would leave nothing to read.
	screenMin = 10
)

// hue is a color of a word. The zero hue is none.
type hue string

// The hues, as the parameters of SGR (ECMA-48): each says one thing, and a word says it as well.
const (
	plain  hue = ""
	good   hue = "32" // green
	wary   hue = "33" // yellow: in doubt, degraded, drained
	bad    hue = "31" // red
	strong hue = "1"  // bold: titles
)

// page is where people read: a terminal, with its colors and size, or a file without either.
type page struct {
	w             io.Writer
	color         bool
	width, height int // in columns and rows; width 0: lines are not cut
}

// newPage makes the page of a command's standard output.
func newPage(cmd *cobra.Command) *page {
	p := &page{w: cmd.OutOrStdout(), height: screenHeight}
	file, ok := terminal(p.w)
	if !ok {
		return p
	}
	// https://no-color.org; a dumb terminal would print the sequences.
	p.color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	p.width = screenWidth
	if width, height, err := term.GetSize(int(file.Fd())); err == nil && width >= screenMin && height >= screenMin {
		p.width, p.height = width, height
	}
	return p
}

// terminal gives the file behind a writer, if that is a terminal.
func terminal(w io.Writer) (*os.File, bool) {
	file, ok := w.(*os.File)
	return file, ok && term.IsTerminal(int(file.Fd()))
}

// cell is a word of a table, or a few.
type cell struct {
	text string
	hue  hue
}

// printable is a text without what could steer a terminal: much of what is printed comes from back ends and other people.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// table is rows of cells in columns. A row of one cell is a line of its own, which makes no column wider.
type table [][]cell

// add adds a row; its cells are texts or cells.
func (t *table) add(cells ...any) {
	row := make([]cell, 0, len(cells))
	for _, c := range cells {
		switch c := c.(type) {
		case cell:
			row = append(row, cell{printable(c.text), c.hue})
		default:
			row = append(row, cell{text: printable(fmt.Sprint(c))})
		}
	}
	*t = append(*t, row)
}

// title adds the row with the names of columns.
func (t *table) title(names ...string) {
	row := make([]cell, 0, len(names))
	for _, name := range names {
		row = append(row, cell{name, strong})
	}
	*t = append(*t, row)
}

// columnLeast is what a column may take on any page: half of a narrow one would leave nothing of a name.
const columnLeast = 20

// columnGap stands between two columns.
const columnGap = "  "

// write prints a table.
func (p *page) write(t table) error {
	var widths []int
	for _, row := range t {
		if len(row) == 1 {
			continue
		}
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], columns(c.text))
		}
	}
	t = p.narrow(t, widths)
	var out strings.Builder
	for _, row := range t {
		out.WriteString(strings.TrimRight(p.row(row, widths), " ") + "\n")
	}
	_, err := io.WriteString(p.w, out.String())
	return err
}

// narrow cuts what is long in a table that is wider than the page, in any column but the last, and the columns' widths with it: one
// long name would push the states of all others off the screen.
func (p *page) narrow(t table, widths []int) table {
	total := -len(columnGap)
	for _, w := range widths {
		total += w + len(columnGap)
	}
	most := max(p.width/2, columnLeast)
	if p.width == 0 || total <= p.width || len(widths) < 2 || slices.Max(widths[:len(widths)-1]) <= most {
		return t
	}
	out := make(table, len(t))
	for i, row := range t {
		out[i] = slices.Clone(row)
		for j := 0; len(row) > 1 && j < len(widths)-1 && j < len(row); j++ {
			out[i][j].text = cut(row[j].text, most)
		}
	}
	for j := range widths[:len(widths)-1] {
		widths[j] = min(widths[j], most)
	}
	return out
}

// row is a row as it is printed, cut at the page's width.
func (p *page) row(row []cell, widths []int) string {
	var out strings.Builder
	column := 0
	for i, c := range row {
		text, taken := c.text, columns(c.text)
		if p.width > 0 && column+taken > p.width {
			text = cut(text, p.width-column)
			taken = columns(text)
		}
		out.WriteString(p.paint(text, c.hue))
		if i < len(row)-1 {
			gap := strings.Repeat(" ", widths[i]-min(taken, widths[i])) + columnGap
			if p.width > 0 && column+taken+len(gap) >= p.width {
				break
			}
			out.WriteString(gap)
			taken += len(gap)
		}
		column += taken
	}
	return out.String()
}

// cut makes a text at most so many columns wide; an ellipsis stands for the rest.
func cut(text string, most int) string {
	if most < 1 {
		return ""
	}
	if columns(text) <= most {
		return text
	}
	taken := 0
	for i, r := range text {
		if taken += runeColumns(r); taken > most-1 {
			return text[:i] + "…"
		}
	}
	return text
}

// columns is how many columns of a terminal a text takes.
func columns(text string) (n int) {
	for _, r := range text {
		n += runeColumns(r)
	}
	return n
}

// runeColumns is how many columns of a terminal a rune takes: none if it stands over the one before, two if it is wide.
func runeColumns(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case isWide(r):
		return 2
	}
	return 1
}

// isWide says whether a rune takes two columns (W and F of Unicode's UAX 11), nearly: by blocks, so that one that is narrow among wide
// ones costs a blank.
func isWide(r rune) bool {
	for _, block := range [][2]rune{
		{0x1100, 0x115f},                                       // Hangul Jamo
		{0x2e80, 0x303e}, {0x3041, 0xa4cf}, {0x20000, 0x3fffd}, // CJK, Kana, Yi
		{0xa960, 0xa97f}, {0xac00, 0xd7a3}, // Hangul
		{0xf900, 0xfaff}, {0xfe30, 0xfe6f}, {0xff01, 0xff60}, {0xffe0, 0xffe6}, // CJK and full width forms
		{0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, // pictures
	} {
		if block[0] <= r && r <= block[1] {
			return true
		}
	}
	return false
}

// paint colors a text, where there are colors.
func (p *page) paint(text string, h hue) string {
	if !p.color || h == plain || text == "" {
		return text
	}
	return "\x1b[" + string(h) + "m" + text + "\x1b[0m"
}

// line prints one line as it is.
func (p *page) line(format string, a ...any) {
	fmt.Fprintln(p.w, printable(fmt.Sprintf(format, a...)))
}
