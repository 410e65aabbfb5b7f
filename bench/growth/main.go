package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

func main() {
	out := flag.String("out", "bench/growth", "folder that is written to")
	flag.Parse()
	if err := run(os.Stdin, os.Stdout, *out); err != nil {
		fmt.Fprintln(os.Stderr, "growth:", err)
		os.Exit(1)
	}
}

// run passes a benchmark's output on and draws the curves in it.
func run(in io.Reader, echo io.Writer, dir string) error {
	curves, err := read(in, echo)
	if err != nil {
		return err
	}
	for _, c := range curves {
		if err := os.WriteFile(filepath.Join(dir, c.name+".svg"), []byte(c.plot()), 0o644); err != nil { //nolint:gosec // a document
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, c.name+".md"), []byte(c.table()), 0o644); err != nil { //nolint:gosec // a document
			return err
		}
	}
	return nil
}

// point is what was measured for one number of things: by unit.
type point struct {
	n      float64
	values map[string]float64
}

// curve is points in the order of their numbers.
type curve struct {
	name   string
	units  []string // in the order of their panels
	points []point
}

// quantity is what a panel shows: all units with its prefix.
type quantity struct{ prefix, title string }

// quantities are the panels, from the top.
func quantities() []quantity {
	return []quantity{
		{"ns/", "a query, ns"},
		{"heap-B", "memory at rest, bytes"},
		{"load-s", "load, seconds of CPU"},
		{"swap-us", "swap to a new world, µs"},
		{"verdict-us", "new states at a verdict, µs"},
		{"gc-us", "a garbage collection, µs of CPU"},
	}
}

// read takes the points from lines such as
//
//	BenchmarkGrowth/names/10000-2   338   1130648 heap-B   158.4 ns/hit
//
// An output that does not end well is an error.
func read(in io.Reader, echo io.Writer) (curves []*curve, err error) {
	failed := errors.New("the benchmark did not end")
	for lines := bufio.NewScanner(in); ; {
		if !lines.Scan() {
			return curves, errors.Join(lines.Err(), failed)
		}
		fmt.Fprintln(echo, lines.Text())
		words := strings.Fields(lines.Text())
		if len(words) > 0 && (words[0] == "PASS" || words[0] == "ok") {
			failed = nil
		}
		if len(words) > 0 && (words[0] == "FAIL" || words[0] == "---") {
			return nil, errors.New("the benchmark failed")
		}
		if len(words) < 4 || !strings.HasPrefix(words[0], "BenchmarkGrowth/") {
			continue
		}
		path := strings.Split(words[0], "/")
		number, _, _ := strings.Cut(path[len(path)-1], "-") // behind it is GOMAXPROCS
		p := point{values: map[string]float64{}}
		if p.n, err = strconv.ParseFloat(number, 64); err != nil {
			return nil, fmt.Errorf("the point of %s: %w", words[0], err)
		}
		for i := 2; i+1 < len(words); i += 2 {
			if p.values[words[i+1]], err = strconv.ParseFloat(words[i], 64); err != nil {
				return nil, fmt.Errorf("%s of %s: %w", words[i+1], words[0], err)
			}
		}
		curves = add(curves, path[1], p)
	}
}

// add adds a point to the curve of a name.
func add(curves []*curve, name string, p point) []*curve {
	i := slices.IndexFunc(curves, func(c *curve) bool { return c.name == name })
	if i < 0 {
		i = len(curves)
		curves = append(curves, &curve{name: name})
		for _, q := range quantities() {
			at := len(curves[i].units)
			for unit := range p.values {
				if strings.HasPrefix(unit, q.prefix) && unit != "ns/op" {
					curves[i].units = append(curves[i].units, unit)
				}
			}
			slices.Sort(curves[i].units[at:])
		}
	}
	curves[i].points = append(curves[i].points, p)
	return curves
}

// slope is that between two points of a unit in a plot with logarithmic axes; NaN where there is none.
func slope(from, to point, unit string) float64 {
	if from.n >= to.n || from.values[unit] <= 0 || to.values[unit] <= 0 {
		return math.NaN()
	}
	return math.Log(to.values[unit]/from.values[unit]) / math.Log(to.n/from.n)
}

// fit is the slope of the line that lies nearest to all points in a plot with logarithmic axes.
func fit(points []point, unit string) float64 {
	var sx, sy, sxx, sxy, count float64
	for _, p := range points {
		if p.n <= 0 || p.values[unit] <= 0 {
			continue
		}
		x, y := math.Log(p.n), math.Log(p.values[unit])
		sx, sy, sxx, sxy, count = sx+x, sy+y, sxx+x*x, sxy+x*y, count+1
	}
	return (count*sxy - sx*sy) / (count*sxx - sx*sx)
}

// table is the figures, in parentheses the slope from the point above; below them the slope of all, and what one thing more costs where
// there are most.
func (c *curve) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\nWritten by `make bench-growth`. In parentheses: the slope from the row above, with logarithmic axes.\n\n| %s |", c.name, c.name)
	for _, unit := range c.units {
		fmt.Fprintf(&b, " %s |", unit)
	}
	b.WriteString("\n|--:|" + strings.Repeat("--:|", len(c.units)) + "\n")
	for i, p := range c.points {
		fmt.Fprintf(&b, "| %.0f |", p.n)
		for _, unit := range c.units {
			fmt.Fprintf(&b, " %s", figure(p.values[unit]))
			if i > 0 {
				fmt.Fprintf(&b, " (%.2f)", slope(c.points[i-1], p, unit))
			}
			b.WriteString(" |")
		}
		b.WriteString("\n")
	}
	if len(c.points) < 2 {
		return b.String()
	}
	b.WriteString("| slope of all |")
	for _, unit := range c.units {
		fmt.Fprintf(&b, " %.2f |", fit(c.points, unit))
	}
	from, to := c.points[len(c.points)-2], c.points[len(c.points)-1]
	b.WriteString("\n| one more, at the end |")
	for _, unit := range c.units {
		fmt.Fprintf(&b, " %s |", figure((to.values[unit]-from.values[unit])/(to.n-from.n)))
	}
	return b.String() + "\n"
}

// figure is a number with three digits that count, without an exponent where there need not be one.
func figure(v float64) string {
	if math.Abs(v) < 1e-3 {
		return fmt.Sprintf("%.2g", v)
	}
	return strconv.FormatFloat(v, 'f', max(0, 2-int(math.Floor(math.Log10(math.Abs(v))))), 64)
}
